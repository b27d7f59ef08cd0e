/* queues.c - see queues.h. */
#include "queues.h"

static struct ipcr_queue *handles[PROCESSES];
static struct ipcr_segment *segments[PROCESSES];
struct record record;
static struct record of_set_up;
uint64_t message_length;

struct ipcr_queue *queue(void) { return handles[model_self()->process]; }

static struct ipcr_queue *open_on(struct ipcr_segment *segment)
{
    const int process = model_self()->process;
    segments[process] = segment;
    MUST(core()->queue_open(segment, 0, &handles[process]) == IPCR_OK); /* spins for 0 ns: parks at once */
    return handles[process];
}

/* The laps begin anew after the first one. */
struct ipcr_queue *make_queue(uint32_t lanes, const struct ipcr_queue_options *options)
{
    struct ipcr_queue_options o = *options;
    struct ipcr_segment *segment;
    o.slots = o.slots == 0 ? 2 : o.slots;
    o.lanes_each = o.lanes_each == 0 ? 1 : o.lanes_each;
    message_length = 8;
    record = of_set_up = (struct record){ .comes_back = false };
    MUST(core()->segment_create_queue("/", "queue", IPCR_KIND_RELIABLE, LANE, lanes, &o, (IPCR_LAP_MASK - 1) * o.slots,
                                      &segment) == IPCR_OK);
    for (uint32_t i = 0; i < lanes; i++) /* see note_backlogs */
        store_relaxed64(&ipcr_queue_header(segment)->lane[i].high_water, UINT64_MAX);
    return open_on(segment);
}

void note_backlogs(void)
{
    struct ipcr_segment *s = segments[model_self()->process];
    for (uint32_t i = 0; i < s->lanes; i++)
        store_relaxed64(&ipcr_queue_header(s)->lane[i].high_water, 0);
}

struct ipcr_queue *join_queue(void)
{
    struct ipcr_segment *segment;
    int fd;
    MUST(ipcr_os_open("/", "queue", &fd) == IPCR_OK);
    MUST(core()->segment_attach(fd, "/", "queue", IPCR_KIND_RELIABLE, false, &segment) == IPCR_OK);
    return open_on(segment);
}

void take_lane(void) { MUST(core()->queue_take_lane(queue(), true) == IPCR_OK); }

void take_number(void)
{
    struct ipcr_lease none;
    MUST(core()->queue_lease(queue(), 0, &none) == IPCR_EMPTY);
}

/* --- the record ------------------------------------------------------------------------------------------------------- */

void keep_record(void) { of_set_up = record; }
void begin_record(void) { record = of_set_up; }

uint32_t count_of(uint32_t bits) { return (uint32_t)__builtin_popcount(bits); }

/* done: what others were done with; a lease that may run out may be lost to them before the call returns. */
static void must_be_new(uint64_t number, const uint32_t *newest_before, uint32_t done)
{
    MUST(number < MOST_NUMBERS);
    const uint32_t bit = 1u << number, producer = number >= SECOND_PRODUCER;
    MUST((record.begun & bit) != 0); /* no invention */
    if ((done & bit) != 0)
        model_fail("message %d is delivered, and somebody is done with it", (int)number);
    if (!record.comes_back) {
        if ((record.taken & bit) != 0)
            model_fail("message %d is delivered twice", (int)number);
        if (number < newest_before[producer])
            model_fail("message %d is delivered after %d was", (int)number, (int)newest_before[producer] - 1);
    }
    record.taken |= bit;
    record.deliveries[number]++;
    if (number >= record.newest[producer])
        record.newest[producer] = (uint32_t)number + 1;
}

/* --- putting ----------------------------------------------------------------------------------------------------------- */

int try_put(uint64_t number, uint64_t *id)
{
    record.begun |= 1u << number;
    for (;;) {
        const int64_t rc =
            core()->queue_put_one(queue(), message(number, message_length), message_length, IPCR_INFO(number, IPCR_BYTES), 0);
        if (rc == IPCR_NOT_TAKEN) {
            const int taken = core()->queue_take_lane(queue(), true);
            if (taken != IPCR_OK)
                return taken;
            continue;
        }
        if (rc >= 0) {
            record.put |= 1u << number;
            *id = (uint64_t)rc;
            return IPCR_OK;
        }
        return (int)rc;
    }
}

int put_unless_closed(uint64_t number)
{
    uint64_t id;
    for (;;) {
        int rc = try_put(number, &id);
        if (rc == IPCR_TAKEN) { /* all lanes are in use: Python says so, we look again */
            look_later();
            continue;
        }
        if (rc != IPCR_FULL)
            return rc;
        rc = core()->queue_wait_for_room(queue(), message_length, IPCR_FOREVER);
        if (rc != IPCR_OK && rc != IPCR_AGAIN)
            return rc;
    }
}

uint64_t put(uint64_t number)
{
    uint64_t id = 0;
    int rc;
    while ((rc = try_put(number, &id)) == IPCR_FULL || rc == IPCR_TAKEN) {
        if (rc == IPCR_TAKEN) {
            look_later();
            continue;
        }
        rc = core()->queue_wait_for_room(queue(), message_length, IPCR_FOREVER);
        MUST(rc == IPCR_OK || rc == IPCR_AGAIN);
    }
    if (rc != IPCR_OK)
        model_fail("a put comes to %d", rc);
    return id;
}

/* --- taking ------------------------------------------------------------------------------------------------------------- */

uint64_t number_of(const struct ipcr_lease *lease) { return IPCR_INFO_TYPE(lease->info); }

/* IPCR_OK: look again. */
static int wait_for_message(void)
{
    const int rc = core()->queue_wait_for_message(queue(), IPCR_FOREVER);
    return rc == IPCR_AGAIN ? IPCR_OK : rc;
}

int try_get(uint64_t *number)
{
    const uint32_t newest[2] = { record.newest[0], record.newest[1] };
    struct ipcr_lease l;
    char bytes[64];
    const int rc = core()->queue_get(queue(), bytes, sizeof bytes, &l);
    if (rc != IPCR_OK)
        return rc;
    *number = number_of(&l);
    MUST(l.length == message_length && is_message(bytes, *number, l.length));
    must_be_new(*number, newest, record.done);
    record.done |= 1u << *number;
    return rc;
}

int get(uint64_t *number)
{
    for (;;) {
        int rc = try_get(number);
        if (rc == IPCR_EMPTY && (rc = wait_for_message()) == IPCR_OK)
            continue;
        if (rc != IPCR_AGAIN)
            return rc;
    }
}

int try_lease(uint64_t lease_ns, struct ipcr_lease *out)
{
    const uint32_t newest[2] = { record.newest[0], record.newest[1] }, done = record.done;
    char bytes[64];
    int rc = core()->queue_lease(queue(), lease_ns, out);
    if (rc != IPCR_OK)
        return rc;
    MUST(out->length <= sizeof bytes);
    rc = core()->lease_copy(queue(), out, bytes);
    if (rc != IPCR_OK) {
        MUST(rc == IPCR_LEASE_LOST && lease_ns != 0);
        return IPCR_AGAIN; /* Python looks for the next one */
    }
    if (out->length != message_length || !is_message(bytes, number_of(out), out->length))
        model_fail("message %d: its bytes are another's", (int)number_of(out));
    must_be_new(number_of(out), newest, lease_ns == 0 ? record.done : done);
    return IPCR_OK;
}

int try_lease_many(uint64_t most, uint64_t fit, struct ipcr_lease *out, uint64_t *count)
{
    const uint32_t newest[2] = { record.newest[0], record.newest[1] };
    int64_t results[4];
    char bytes[4 * 64];
    MUST(most <= 4 && fit * message_length <= sizeof bytes);
    const int64_t n = core()->queue_lease_many(queue(), bytes, fit * message_length, out, results, most);
    if (n < 0)
        return (int)n;
    *count = (uint64_t)n;
    for (uint64_t i = 0; i < *count; i++) {
        const bool lent = (results[i] & IPCR_RESULT_LENT) != 0;
        MUST(lent == (i == fit) && out[i].length == message_length);
        MUST(is_message(lent ? out[i].payload : bytes + i * message_length, number_of(&out[i]), message_length));
        must_be_new(number_of(&out[i]), newest, record.done);
    }
    return IPCR_OK;
}

int lease(uint64_t lease_ns, struct ipcr_lease *out)
{
    for (;;) {
        int rc = try_lease(lease_ns, out);
        if (rc == IPCR_EMPTY && (rc = wait_for_message()) == IPCR_OK)
            continue;
        if (rc != IPCR_AGAIN)
            return rc;
    }
}

int ack(const struct ipcr_lease *l)
{
    const uint32_t bit = 1u << number_of(l);
    const int rc = core()->lease_ack(queue(), l);
    if (rc != IPCR_OK)
        return rc;
    if ((record.done & bit) != 0)
        model_fail("message %d is acknowledged twice", (int)number_of(l));
    record.done |= bit;
    return rc;
}

int nack(const struct ipcr_lease *l) { return core()->lease_nack(queue(), l, 0); }

void work_off(void)
{
    struct ipcr_lease l;
    for (;;) {
        int rc = try_lease(0, &l);
        if (rc == IPCR_OK)
            MUST(ack(&l) == IPCR_OK); /* without an end, and we live */
        else if (rc == IPCR_EMPTY && core()->queue_depth(queue()) == 0)
            return;
        else
            MUST(rc == IPCR_AGAIN || (rc == IPCR_EMPTY && wait_for_message() == IPCR_OK));
    }
}

void work_off_some(int n)
{
    struct ipcr_lease l;
    for (int i = 0; i < n; i++) {
        MUST(lease(0, &l) == IPCR_OK);
        MUST(ack(&l) == IPCR_OK);
    }
}

void make_queue_of_held(const struct ipcr_queue_options *options, int messages, int holds, uint64_t lease_ns,
                        struct ipcr_lease *held)
{
    act_as(0);
    make_queue(1, options);
    take_lane();
    for (int process = 1; process < 3; process++) {
        act_as(process);
        join_queue();
        take_number();
    }
    act_as(0);
    for (int i = 0; i < messages; i++)
        (void)put((uint64_t)i);
    for (int i = 0; i < holds; i++)
        MUST(try_lease(lease_ns, &held[i]) == IPCR_OK);
    record.comes_back = true;
    keep_record();
}

/* --- afterwards --------------------------------------------------------------------------------------------------------- */

void look_at_stats(struct ipcr_lane_stats *out)
{
    struct ipcr_queue_stats all;
    struct ipcr_lane_stats lanes[8];
    *out = (struct ipcr_lane_stats){ .put = 0 };
    MUST(core()->queue_stats(segments[model_self()->process], &all, lanes, 8) == IPCR_OK);
    for (uint32_t i = 0; i < all.lanes; i++) {
        out->put += lanes[i].put;
        out->delivered += lanes[i].delivered;
        out->redelivered += lanes[i].redelivered;
        out->acknowledged += lanes[i].acknowledged;
        out->dead += lanes[i].dead;
        out->ready += lanes[i].ready;
        out->leased += lanes[i].leased;
        out->kept += lanes[i].kept;
        out->bytes += lanes[i].bytes;
    }
}

void must_be_all_done(void)
{
    struct ipcr_lane_stats sum;
    look_at_stats(&sum);
    if (sum.ready + sum.leased + sum.kept != 0)
        model_fail("%d messages are ready, %d leased and %d kept, and nobody comes for them", (int)sum.ready,
                   (int)sum.leased, (int)sum.kept);
    sum.put -= record.before;
    sum.acknowledged -= record.before;
    MUST(sum.put >= count_of(record.put) && sum.put <= count_of(record.begun));
    MUST(sum.acknowledged + sum.dead == sum.put && sum.put >= count_of(record.done));
}

/* taking.c - finding the oldest message, leasing it, and copying it out.
 *
 * A scan looks in each lane at the messages from the hint `take` on, and picks the one with the earliest stamp among the
 * lanes' first ones.  It may lose the race for it, and looks again: then somebody else got one.
 *
 * Empty is said only after a double collect: a scan of all lanes found nothing, and after it no lane had got a message
 * since the scan began, none had come back, and no lane had come into use.  Then there was a moment without any.
 *
 * `take` goes up by whoever saw that nothing below can be taken, and down by whoever makes something below takeable:
 *
 *     scan                                       return (repair.c)
 *     returns, then the messages                 state = READY
 *     take = where the first of them begins      returns + 1
 *     full fence                                 full fence
 *     returns changed?  take back down           take above it?  take down
 *
 * At least one of the two sees the other's store (edge N): without the second look a message that comes back below a hint
 * that is low enough already, and is raised just then, would be seen by nobody.
 *
 * Between the raise and that second look the hint is wrong, and stays so for a while if its raiser is killed there.  So once
 * anything ever came back, Empty is said only after a scan that begins at `settled` instead, and moves that up.
 */
#include "queue.h"

enum { RAISE_EVERY = 8, MOST_PASSES = 1000 };

/* What a scan must know of the moment before it began. */
struct search {
    uint64_t now_ns;
    uint64_t returns;
    uint32_t lanes; /* in use; checked */
    bool fully;     /* not from the hints on */
};

struct found {
    uint64_t sequence;
    uint64_t state;
    uint64_t stamp;
    uint32_t lane;
    bool any;
};

static void raise_hint(struct ipcr_queue *q, ipcr_word64 *hint, uint64_t seen, uint64_t upto, uint64_t returns)
{
    uint64_t was = seen;
    if (!compare_exchange64(hint, &was, upto))
        return;
    fence_store_load(); /* N */
    if (load_acquire64(&q->header->returns) != returns) {
        ipcr_lower_hint(hint, seen);
        ipcr_gate_signal(&q->header->consumers_parked, 1); /* for whoever looked in between, and sleeps */
    }
}

/* Where a scan that doesn't rely on `take` begins: all below is done, whatever comes back. */
static uint64_t settled_of(const struct ipcr_lane *l)
{
    const uint64_t freed = load_acquire64(&l->words->freed), settled = load_acquire64(&l->words->settled);
    return settled - freed <= l->mask + 1 ? settled : freed; /* a hint: believed only where it makes sense */
}

/* All messages below `upto` are done. */
static void settle(const struct ipcr_lane *l, uint64_t upto)
{
    uint64_t seen = load_acquire64(&l->words->settled);
    if ((int64_t)(upto - seen) > 0)
        compare_exchange64(&l->words->settled, &seen, upto);
}

/* The first message of a lane that can be taken now, in *out if it is older than what stands there.  q->ends: where the
 * next message will appear. */
static int look_into(struct ipcr_queue *q, uint32_t index, const struct search *s, struct found *out)
{
    const struct ipcr_lane *l = &q->segment->lane[index];
    const uint64_t hint = s->fully ? settled_of(l) : load_acquire64(&l->words->take), slots = l->mask + 1;
    uint64_t at = hint, upto = hint, done = hint;
    uint32_t jumps = 0;
    bool all_taken = true, all_done = true;
    for (uint64_t steps = 0; steps <= slots; steps++, at++) {
        const uint64_t state = load_acquire64(&ipcr_slot_at(l, at)->state); /* L */
        if (ipcr_is_yet_to_come(l, at, state))
            break;
        if (!ipcr_is_there(l, at, state)) { /* the hint is more than a lap behind: whatever it speaks of was freed */
            const uint64_t freed = load_acquire64(&l->words->freed);
            if ((int64_t)(freed - at) <= 0)
                return IPCR_CORRUPT;
            if (++jumps > MOST_PASSES) /* we are always too late: let the caller look after signals */
                return IPCR_AGAIN;
            upto = done = freed;
            at = freed - 1;
            steps = 0;
            continue;
        }
        if (ipcr_is_takeable(state, s->now_ns)) {
            const uint64_t stamp = load_relaxed64(&ipcr_slot_at(l, at)->stamp);
            if (!out->any || (int64_t)(stamp - out->stamp) < 0)
                *out = (struct found){ .sequence = at, .state = state, .stamp = stamp, .lane = index, .any = true };
            break;
        }
        if (!ipcr_is_sound(state))
            return IPCR_CORRUPT;
        all_taken = all_taken && ipcr_phase_of(state) != IPCR_READY;
        if (all_taken)
            upto = at + 1;
        all_done = all_done && ipcr_is_done(state);
        if (all_done)
            done = at + 1;
    }
    q->ends[index] = (struct ipcr_lane_end){ .sequence = at, .seen = true };
    if (s->fully)
        settle(l, done);
    else if (upto - hint >= RAISE_EVERY || jumps > 0) /* a hint that was lapped would keep those awake who wait (queue_waits.c) */
        raise_hint(q, &l->words->take, hint, upto, s->returns);
    return IPCR_OK;
}

/* One pass over all lanes. */
static int scan(struct ipcr_queue *q, const struct search *s, struct found *out)
{
    out->any = false;
    for (uint32_t i = 0; i < s->lanes; i++) {
        struct ipcr_lane *l;
        int rc = ipcr_lane_see(q->segment, i, &l);
        q->ends[i].seen = false;
        if (rc == IPCR_NOT_FOUND)
            continue;
        if (rc == IPCR_OK)
            rc = look_into(q, i, s, out);
        if (rc != IPCR_OK)
            return rc;
    }
    return IPCR_OK;
}

/* Has any lane got a message since the scan?  (It may have gone on by laps since: what counts is that there was one.) */
static bool something_came(const struct ipcr_queue *q, const struct search *s)
{
    if (load_acquire32(&q->header->lanes_high) != s->lanes)
        return true;
    if (load_acquire64(&q->header->returns) != s->returns)
        return true;
    for (uint32_t i = 0; i < s->lanes; i++) {
        const struct ipcr_lane *l = &q->segment->lane[i];
        const uint64_t end = q->ends[i].sequence;
        if (q->ends[i].seen ? !ipcr_is_yet_to_come(l, end, load_acquire64(&ipcr_slot_at(l, end)->state))
                            : load_acquire32(&l->words->used) != 0)
            return true;
    }
    return false;
}

static int find(struct ipcr_queue *q, uint64_t now_ns, struct found *out)
{
    bool fully = false;
    for (int pass = 0; pass < MOST_PASSES; pass++) {
        const bool shut = load_acquire32(&q->header->shutdown) != IPCR_OPEN; /* before the look at what is left */
        if (shut)
            fence_store_load(); /* D: queue.c */
        const struct search s = { .now_ns = now_ns, .lanes = load_acquire32(&q->header->lanes_high),
                                  .returns = load_acquire64(&q->header->returns), .fully = fully };
        const int rc = s.lanes > q->segment->lanes ? IPCR_CORRUPT : scan(q, &s, out);
        if (rc != IPCR_OK || out->any)
            return rc;
        if (!something_came(q, &s) && (fully || s.returns == 0))
            return shut ? IPCR_SHUT_DOWN : IPCR_EMPTY;
        fully = s.returns != 0;
    }
    return IPCR_AGAIN; /* others take whatever comes: let the caller look after signals */
}

/* Each word is loaded once, and checked. */
int ipcr_queue_describe(struct ipcr_queue *q, uint32_t lane, uint64_t sequence, uint64_t held, struct ipcr_lease *out)
{
    const struct ipcr_lane *l = &q->segment->lane[lane];
    const struct ipcr_slot *slot = ipcr_slot_at(l, sequence);
    const uint64_t length = load_relaxed64(&slot->length), position = load_relaxed64(&slot->position);
    const bool sound = length <= q->segment->capacity && (position & 7) == 0 && load_relaxed64(&slot->sequence) == sequence;
    const uint64_t offset = position & (q->segment->capacity - 1);
    *out = (struct ipcr_lease){
        .held = held, .sequence = sequence, .id = IPCR_QUEUE_ID(q, lane, sequence), .length = length,
        .info = load_relaxed64(&slot->info), .stamp_ns = load_relaxed64(&slot->stamp),
        .payload = (const char *)l->data + offset, .lane = lane, .source = load_relaxed32(&slot->source),
        .deliveries = ipcr_deliveries_of(held), .skew = (uint32_t)(offset & (IPCR_DATA_ALIGNMENT - 1)),
        .generation = load_relaxed32(&q->generation),
    };
    fence_load_load(); /* V: stopped for longer than the lease, we have read another message's words */
    if (load_relaxed64(&slot->state) != held)
        return IPCR_LEASE_LOST;
    return sound ? IPCR_OK : IPCR_CORRUPT;
}

static int lease(struct ipcr_queue *q, uint64_t now, uint64_t lease_ns, struct ipcr_lease *out)
{
    struct found f = { .any = false };
    uint64_t held = 0;
    int rc = ipcr_queue_register(q);
    if (rc == IPCR_OK && now >= q->next_repair_ns)
        rc = ipcr_queue_repair(q, now);
    if (rc != IPCR_OK)
        return rc;
    for (;;) {
        rc = find(q, now, &f);
        if (rc != IPCR_OK)
            return rc;
        if (ipcr_queue_expire(q, f.lane, f.sequence, f.state, now) ||
            !ipcr_lease(ipcr_slot_at(&q->segment->lane[f.lane], f.sequence), f.state, q->holder,
                        ipcr_units_until(now, lease_ns), &held))
            continue;
        rc = ipcr_queue_describe(q, f.lane, f.sequence, held, out);
        if (rc != IPCR_LEASE_LOST)
            return rc;
    }
}

int ipcr_queue_lease(struct ipcr_queue *q, uint64_t lease_ns, struct ipcr_lease *out)
{
    pthread_mutex_lock(&q->consuming);
    int rc = ipcr_queue_ready(q);
    if (rc == IPCR_OK)
        rc = ipcr_queue_checked(q, lease(q, ipcr_os_now_ns(), lease_ns, out));
    pthread_mutex_unlock(&q->consuming);
    ipcr_queue_pass_on(q, rc);
    return rc;
}

/* --- copies ------------------------------------------------------------------------------------------------------ */

/* Whoever was stalled beyond its lease, or whose handle was closed by another thread, may be copying memory that belongs to
 * another message by now. */
int ipcr_lease_copy(struct ipcr_queue *q, const struct ipcr_lease *lease, char *out)
{
    const struct ipcr_slot *slot = ipcr_slot_at(&q->segment->lane[lease->lane], lease->sequence);
    racy_copy(out, (const uint8_t *)lease->payload, lease->length);
    fence_load_load(); /* V */
    return load_relaxed64(&slot->state) == lease->held ? IPCR_OK : IPCR_LEASE_LOST;
}

static int get(struct ipcr_queue *q, uint64_t now, char *out, uint64_t room, struct ipcr_lease *l)
{
    int rc;
    do {
        rc = lease(q, now, 0, l);
        if (rc != IPCR_OK)
            return rc;
        if (l->length > room)
            return IPCR_TOO_LARGE;
        copy_out(out, (const uint8_t *)l->payload, l->length);
    } while (!ipcr_finish(ipcr_slot_at(&q->segment->lane[l->lane], l->sequence), l->held, IPCR_ACKED)); /* A */
    ipcr_queue_tell_done(q, l->lane, l->sequence);
    return IPCR_OK;
}

int ipcr_queue_get(struct ipcr_queue *q, char *out, uint64_t room, struct ipcr_lease *l)
{
    pthread_mutex_lock(&q->consuming);
    int rc = ipcr_queue_ready(q);
    if (rc == IPCR_OK)
        rc = ipcr_queue_checked(q, get(q, ipcr_os_now_ns(), out, room, l));
    pthread_mutex_unlock(&q->consuming);
    ipcr_queue_pass_on(q, rc == IPCR_TOO_LARGE ? IPCR_OK : rc);
    return rc;
}

/* Nothing in bytes and plain pickles is aligned: the hottest callers compare what stands above the length. */
static int64_t result_of(const struct ipcr_lease *l)
{
    const uint64_t encoding = IPCR_INFO_ENCODING(l->info);
    if (encoding == IPCR_BYTES || encoding == IPCR_PICKLE)
        return (int64_t)(l->length | encoding << IPCR_RESULT_ENCODING_SHIFT);
    return (int64_t)(l->length | encoding << IPCR_RESULT_ENCODING_SHIFT |
                     (uint64_t)(l->skew / 8) << IPCR_RESULT_SKEW_SHIFT);
}

int64_t ipcr_queue_lease_many(struct ipcr_queue *q, char *out, uint64_t room, struct ipcr_lease *leases,
                              int64_t *results, uint64_t most)
{
    uint64_t done = 0, used = 0;
    pthread_mutex_lock(&q->consuming);
    const uint64_t now = ipcr_os_now_ns();
    int rc = ipcr_queue_ready(q);
    while (rc == IPCR_OK && done < most) {
        struct ipcr_lease *l = &leases[done];
        rc = ipcr_queue_checked(q, lease(q, now, 0, l));
        if (rc != IPCR_OK)
            break;
        if (l->length > room - used) { /* given back, it would come behind what others have taken meanwhile */
            results[done++] = result_of(l) | IPCR_RESULT_LENT;
            break;
        }
        copy_out(out + used, (const uint8_t *)l->payload, l->length);
        used += l->length;
        results[done++] = result_of(l);
    }
    pthread_mutex_unlock(&q->consuming);
    ipcr_queue_pass_on(q, done > 0 ? IPCR_OK : rc);
    return done > 0 ? (int64_t)done : rc;
}

int64_t ipcr_queue_try_get_into(struct ipcr_queue_inbox *inbox)
{
    const int rc = ipcr_queue_get(inbox->queue, inbox->bytes, IPCR_SMALL, &inbox->lease);
    if (rc == IPCR_TOO_LARGE)
        return result_of(&inbox->lease) | IPCR_RESULT_LENT;
    return rc == IPCR_OK ? result_of(&inbox->lease) : rc;
}

int64_t ipcr_queue_get_into(struct ipcr_queue_inbox *inbox)
{
    const int64_t result = ipcr_queue_try_get_into(inbox);
    return result == IPCR_EMPTY && ipcr_queue_spin_for_message(inbox->queue) ? ipcr_queue_try_get_into(inbox) : result;
}

int64_t ipcr_queue_lease_into(struct ipcr_queue_inbox *inbox, struct ipcr_lease *lease, uint64_t lease_ns)
{
    for (;;) {
        int rc = ipcr_queue_lease(inbox->queue, lease_ns, lease);
        if (rc == IPCR_OK && lease->length > IPCR_SMALL)
            return result_of(lease) | IPCR_RESULT_LENT;
        if (rc == IPCR_OK)
            rc = ipcr_lease_copy(inbox->queue, lease, inbox->bytes);
        if (rc != IPCR_LEASE_LOST) /* we were stopped for longer than the lease: the next one, then */
            return rc == IPCR_OK ? result_of(lease) : rc;
    }
}

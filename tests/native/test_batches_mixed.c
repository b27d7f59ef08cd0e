/* test_batches_mixed.c - batches of every kind after and among each other, in and out, in one thread and in two. */
#include "messages.h"

#include <pthread.h>

enum { MOST = 64 };

/* --- messages by number: raw or encoded in runs, of one piece or of several ----------------------------------- */

struct shape {
    uint64_t count;
    uint64_t lengths[IPCR_MOST_PIECES];
    uint64_t info;
};

static struct shape shape_of(uint64_t number)
{
    uint64_t random = mixed(number ^ UINT64_C(0x123456));
    struct shape s = { .count = 1 };
    const bool raw = mixed(number / 5) % 2 == 0;
    if (!raw && random_next(&random) % 2 == 0)
        s.count = random_next(&random) % 10 == 0 ? IPCR_MOST_PIECES : random_next(&random) % 4;
    for (uint64_t i = 0; i < s.count; i++)
        s.lengths[i] = random_next(&random) % (s.count > 4 ? 20 : 150);
    s.info = IPCR_INFO(number, raw ? IPCR_BYTES : 1 + number % 3);
    return s;
}

/* Messages from `number` on, as ipcr_send_many wants them. */
struct batch {
    char messages[MOST * 600];
    uint64_t lengths[MOST * IPCR_MOST_PIECES], counts[MOST], infos[MOST];
};

static void make_batch(struct batch *b, uint64_t number, uint64_t count)
{
    char *at = b->messages;
    uint64_t *length = b->lengths;
    for (uint64_t i = 0; i < count; i++) {
        const struct shape s = shape_of(number + i);
        b->counts[i] = s.count;
        b->infos[i] = s.info;
        for (uint64_t piece = 0; piece < s.count; piece++) {
            stamp((uint8_t *)at, s.lengths[piece], (number + i) * IPCR_MOST_PIECES + piece);
            at += s.lengths[piece];
            *length++ = s.lengths[piece];
        }
    }
    CHECK(at <= b->messages + sizeof b->messages);
}

static int64_t send_numbers(struct ipcr_end *w, uint64_t number, uint64_t count)
{
    static struct batch b; /* one sender at a time */
    make_batch(&b, number, count);
    return ipcr_send_many(w, b.messages, b.lengths, b.counts, b.infos, count);
}

static void check_number(const char *payload, int64_t result, uint64_t number)
{
    const struct shape s = shape_of(number);
    const uint64_t skew = SKEW_OF(result);
    uint64_t at = 0;
    for (uint64_t i = 0; i < s.count; at += s.lengths[i++]) {
        if (i > 0)
            at = ipcr_align_data(at + skew) - skew;
        CHECK(is_stamped((const uint8_t *)payload + at, s.lengths[i], number * IPCR_MOST_PIECES + i));
    }
    CHECK_IS(LENGTH_OF(result), at);
    CHECK_IS(ENCODING_OF(result), IPCR_INFO_ENCODING(s.info));
}

static bool is_raw(uint64_t number) { return IPCR_INFO_ENCODING(shape_of(number).info) == IPCR_BYTES; }

/* What ipcr_recv_many put at `out`. */
static void check_run(const char *out, const int64_t *results, int64_t count, uint64_t number)
{
    for (int64_t i = 0; i < count; i++) {
        check_number(out, results[i], number + (uint64_t)i);
        CHECK(is_raw(number) == is_raw(number + (uint64_t)i)); /* one kind at a time */
        out += LENGTH_OF(results[i]);
    }
}

/* Some messages from `number` on, by one of the ways there are; how many. */
static uint64_t send_some(struct ipcr_end *w, uint64_t number, uint64_t *random)
{
    const uint64_t most = 1 + random_next(random) % MOST;
    uint64_t done = 0;
    char one[600];
    if (random_next(random) % 2 == 0) {
        const int64_t sent = send_numbers(w, number, most);
        CHECK(sent > 0 || sent == IPCR_FULL);
        return sent > 0 ? (uint64_t)sent : 0;
    }
    CHECK_IS(ipcr_batch_begin(w), IPCR_OK);
    for (; done < most && shape_of(number + done).count == 1; done++) {
        const struct shape s = shape_of(number + done);
        stamp((uint8_t *)one, s.lengths[0], (number + done) * IPCR_MOST_PIECES);
        const int rc = ipcr_batch_add(w, one, s.lengths[0], s.info);
        CHECK(rc == IPCR_OK || rc == IPCR_FULL);
        if (rc != IPCR_OK)
            break;
    }
    ipcr_batch_end(w);
    return done;
}

static uint64_t receive_some(struct ipcr_end *r, uint64_t number, uint64_t *random)
{
    static char out[16384];
    int64_t results[MOST], got;
    const char *payload = NULL;
    const uint64_t choice = random_next(random), most = 1 + choice / 8 % MOST, room = choice / 1024 % sizeof out;
    const bool take_raw = choice % 8 < 4;
    uint64_t done = 0;
    switch (choice % 3) {
    case 0:
        got = ipcr_recv_many(r, out, room, results, most, take_raw, &run_start);
        CHECK(got >= 0 || got == IPCR_EMPTY);
        if (got <= 0)
            return 0;
        CHECK((uint64_t)got <= most);
        check_run(out, results, got, number);
        if (is_raw(number) && take_raw)
            return (uint64_t)got;
        done = choice / 4096 % ((uint64_t)got + 1); /* as many as could be decoded */
        CHECK_IS(ipcr_skip(r, r->reader.position, done), IPCR_OK);
        return done;
    case 1:
        got = ipcr_reading_begin(r, &payload);
        CHECK(got >= 0 || got == IPCR_EMPTY);
        if (got < 0)
            return 0;
        for (; got >= 0 && done < most; done++) {
            check_number(payload, got, number + done);
            CHECK_IS(ipcr_last_sequence(r), number + done);
            CHECK_IS(ipcr_last_info(r), shape_of(number + done).info);
            got = ipcr_reading_next(r, &payload);
        }
        CHECK(got >= 0 || got == IPCR_EMPTY || got == IPCR_END_OF_CHANNEL);
        ipcr_reading_end(r, got >= 0 && take_raw);
        return done + (got >= 0 && take_raw);
    default:
        got = ipcr_recv(r, out);
        if (got == IPCR_EMPTY)
            return 0;
        check_number(out, got, number);
        return 1;
    }
}

static void batches_mix_with_everything_and_keep_their_order(void)
{
    static const uint64_t starts[] = { 0, SMALLEST - 8, (UINT64_C(1) << 32) - 20000, 0 - UINT64_C(20000),
                                       (UINT64_C(1) << 32) - 8, 0 - UINT64_C(8) };
    for (size_t i = 0; i < sizeof starts / sizeof starts[0]; i++) {
        struct ends p = ends_at(SMALLEST, starts[i]);
        uint64_t sent = 0, received = 0, random = i;
        for (int step = 0; step < FEWER(20000, 3000); step++) {
            if (random_next(&random) % 2 == 0)
                sent += send_some(p.w, sent, &random);
            else
                received += receive_some(p.r, received, &random);
            CHECK(received <= sent);
            CHECK_IS(p.w->writer.sequence, sent);
            CHECK_IS(p.r->reader.sequence, received);
            CHECK_IS(position_of(p.segment, IPCR_SENDER), p.w->writer.position);
            CHECK_IS(position_of(p.segment, IPCR_RECEIVER), p.r->reader.position);
        }
        CHECK(received > 1000);
        ends_finish(&p);
    }
}

static void a_batch_ends_before_what_does_not_fit_and_can_go_on_there(void)
{
    struct ends p = ends_at(SMALLEST, 24);
    static char out[IPCR_SMALL];
    uint64_t sent = 0, received = 0, full = 0;
    while (received < 500) {
        const int64_t n = send_numbers(p.w, sent, MOST);
        CHECK(n > 0 || n == IPCR_FULL);
        sent += n > 0 ? (uint64_t)n : 0;
        full += n < MOST;
        if (n == IPCR_FULL) {
            while (received < sent - (sent > 3 ? 3 : 0)) {
                const int64_t result = ipcr_recv(p.r, out);
                check_number(out, result, received++);
            }
        }
    }
    CHECK(full > 0);
    ends_finish(&p);
}

/* --- two threads ---------------------------------------------------------------------------------------------- */

struct course {
    struct ipcr_end *w;
    uint64_t messages;
};

static void *send_in_batches(void *arg)
{
    const struct course *c = arg;
    uint64_t random = 1, sent = 0;
    while (sent < c->messages) {
        const uint64_t n = send_some(c->w, sent, &random);
        if (n == 0 && shape_of(sent).count == 1) /* full, perhaps: sleep until the receiver releases its batch */
            while (ipcr_room_wait(c->w, shape_of(sent).lengths[0], IPCR_FOREVER, 0) == IPCR_AGAIN)
                ipcr_stop_waiting(c->w);
        sent += n;
    }
    finish(c->w, true);
    return NULL;
}

static void batches_go_from_thread_to_thread(void)
{
    for (int round = 0; round < 2; round++) {
        struct ends p = ends_at(SMALLEST, round == 0 ? 0 : 0 - UINT64_C(1000000));
        struct course c = { .w = p.w, .messages = FEWER(400000, 30000) };
        pthread_t sender;
        uint64_t random = 2, received = 0;
        CHECK(pthread_create(&sender, NULL, send_in_batches, &c) == 0);
        for (;;) {
            const int rc = data_until(p.r, IPCR_FOREVER);
            if (rc == IPCR_END_OF_CHANNEL)
                break;
            CHECK_IS(rc, IPCR_OK);
            received += receive_some(p.r, received, &random);
        }
        CHECK(received >= c.messages);
        CHECK(pthread_join(sender, NULL) == 0);
        finish(p.r, true);
        ipcr_segment_release(p.segment);
    }
}

int main(void)
{
    check_begin();
    run("batches mix with everything, and keep their order", batches_mix_with_everything_and_keep_their_order);
    run("a batch ends before what does not fit, and can go on there",
        a_batch_ends_before_what_does_not_fit_and_can_go_on_there);
    run("batches go from thread to thread", batches_go_from_thread_to_thread);
    return check_finish();
}

/* test_take_over.c - what a killed sender or receiver leaves to its successor. */
#include "sides.h"

/* --- take-over ------------------------------------------------------------------------------------------ */

struct storm {
    struct ipcr_segment *segment;
    uint64_t *published; /* shared: messages whose send has returned */
    uint64_t *seen;      /* shared: messages that a reader began to look at, and ... */
    uint64_t *released;  /* ... has given back */
    uint64_t seed;
};

static uint64_t length_of(uint64_t sequence) { return mixed(sequence) % 400; }

static void write_until_killed(int ear, int mouth, void *arg)
{
    const struct storm *storm = arg;
    struct ipcr_end *e = taken(storm->segment, IPCR_SENDER);
    static uint8_t messages[4 * 400];
    uint64_t lengths[4], random = storm->seed;
    (void)ear;
    say(mouth, 'w');
    for (;;) {
        const uint64_t sequence = e->writer.sequence;
        switch (random_next(&random) % 3) {
        case 0: {
            uint64_t n = 0, used = 0;
            for (; n < 4; n++) {
                lengths[n] = length_of(sequence + n);
                stamp(messages + used, lengths[n], sequence + n);
                used += lengths[n];
            }
            const int64_t sent = send_batch(e, (const char *)messages, lengths, n, 0);
            CHECK(sent > 0 || sent == IPCR_FULL);
            break;
        }
        case 1: {
            const int rc = ipcr_claim(e, length_of(sequence));
            CHECK(rc == IPCR_OK || rc == IPCR_FULL);
            if (rc == IPCR_OK) {
                stamp((uint8_t *)ipcr_lent(e), length_of(sequence), sequence);
                CHECK_IS(ipcr_commit(e, length_of(sequence), 0), IPCR_OK);
            }
            break;
        }
        default:
            stamp(messages, length_of(sequence), sequence);
            CHECK_IS(send_until(e, (const char *)messages, length_of(sequence), IPCR_FOREVER), IPCR_OK);
        }
        __atomic_store_n(storm->published, e->writer.sequence, __ATOMIC_RELEASE);
    }
}

static void check_message(struct ipcr_end *r, int64_t length, uint64_t sequence)
{
    CHECK_IS(ipcr_last_sequence(r), sequence);
    CHECK_IS(length, length_of(sequence));
    CHECK(is_stamped((const uint8_t *)received, (uint64_t)length, sequence));
}

static void a_successor_of_a_killed_sender_loses_nothing_that_was_published(void)
{
    uint64_t *shared = shared_memory(4096), random = 5, expected = 0;
    struct storm storm = { .segment = anonymous(CAPACITY, 0 - UINT64_C(400000)), .published = shared };
    struct ipcr_end *r = taken(storm.segment, IPCR_RECEIVER);
    for (int round = 0; round < FEWER(300, 60); round++) {
        storm.seed = (uint64_t)round << 32;
        struct child c = child_start(write_until_killed, &storm);
        if (round % 8 != 0) /* otherwise perhaps before it has taken the end */
            CHECK_IS(hear(c.ear), 'w');
        const uint64_t until = expected + random_next(&random) % 300;
        while (expected < until) {
            const int64_t length = recv_until(r, in_ms(1000));
            if (length == IPCR_PEER_DIED)
                continue; /* the previous one: this one hasn't taken the end yet */
            if (length == IPCR_END_OF_CHANNEL && expected == 0)
                continue; /* the first child has not even claimed it */
            CHECK(length >= 0);
            check_message(r, length, expected++);
        }
        child_kill(&c);
        int64_t length;
        while ((length = ipcr_recv(r, received)) >= 0)
            check_message(r, length, expected++);
        CHECK_IS(length, IPCR_EMPTY);
        if (round % 8 == 1) { /* a death is noticed at the end of a slice: not every time */
            length = recv_until(r, IPCR_FOREVER);
            CHECK(length == IPCR_PEER_DIED || (length == IPCR_END_OF_CHANNEL && expected == 0));
        }
        CHECK(expected >= __atomic_load_n(storm.published, __ATOMIC_ACQUIRE));
    }
    finish(r, true);
    ipcr_segment_release(storm.segment);
    munmap(shared, 4096);
}

static void read_until_killed(int ear, int mouth, void *arg)
{
    const struct storm *storm = arg;
    struct ipcr_end *e = taken(storm->segment, IPCR_RECEIVER);
    uint64_t random = storm->seed;
    (void)ear;
    const uint64_t first = e->reader.sequence;
    CHECK(first >= __atomic_load_n(storm->released, __ATOMIC_ACQUIRE));
    CHECK(first <= __atomic_load_n(storm->seen, __ATOMIC_ACQUIRE));
    say(mouth, 'r');
    for (;;) {
        const uint64_t sequence = e->reader.sequence;
        if (random_next(&random) % 2 == 0) {
            const int64_t length = ipcr_peek(e);
            if (length == IPCR_EMPTY)
                continue;
            memcpy(received, ipcr_lent(e), (size_t)length);
            check_message(e, length, sequence);
            __atomic_store_n(storm->seen, sequence + 1, __ATOMIC_RELEASE);
            CHECK_IS(ipcr_release(e), IPCR_OK);
        } else {
            __atomic_store_n(storm->seen, sequence + 1, __ATOMIC_RELEASE);
            const int64_t length = recv_until(e, IPCR_FOREVER);
            CHECK(length >= 0);
            check_message(e, length, sequence);
        }
        __atomic_store_n(storm->released, sequence + 1, __ATOMIC_RELEASE);
    }
}

static void a_successor_of_a_killed_receiver_gets_what_was_not_released(void)
{
    uint64_t *shared = shared_memory(4096), random = 6, sequence = 0;
    struct storm storm = { .segment = anonymous(CAPACITY, 0), .seen = shared, .released = shared + 1 };
    struct ipcr_end *w = taken(storm.segment, IPCR_SENDER);
    static uint8_t message[400];
    for (int round = 0; round < FEWER(300, 60); round++) {
        storm.seed = (uint64_t)round << 32;
        struct child c = child_start(read_until_killed, &storm);
        CHECK_IS(hear(c.ear), 'r');
        for (uint64_t n = random_next(&random) % 300; n > 0; n--) {
            stamp(message, length_of(sequence), sequence);
            CHECK_IS(send_until(w, (const char *)message, length_of(sequence), IPCR_FOREVER), IPCR_OK);
            sequence++;
        }
        child_kill(&c);
    }
    fill(w);
    CHECK_IS(send_until(w, (const char *)message, 100, IPCR_FOREVER), IPCR_PEER_DIED);
    finish(w, true);
    ipcr_segment_release(storm.segment);
    munmap(shared, 4096);
}

static void a_waiting_receiver_goes_on_with_a_successor(void)
{
    struct ipcr_segment *s = anonymous(CAPACITY, 0);
    struct ipcr_end *r = taken(s, IPCR_RECEIVER);
    struct child c = child_start(send_and_wait, s);
    CHECK_IS(hear(c.ear), 's');
    child_kill(&c);
    struct ipcr_end *w = taken(s, IPCR_SENDER);
    CHECK_IS(side_of(s, IPCR_SENDER).generation, 2);
    check_receives(r, "one");
    check_receives(r, "two");
    CHECK_IS(recv_until(r, in_ms(1)), IPCR_EMPTY); /* alive again */
    CHECK_IS(send_text(w, "three"), IPCR_OK);
    check_receives(r, "three");
    CHECK_IS(ipcr_last_sequence(r), 2);
    finish(w, true);
    finish(r, true);
    ipcr_segment_release(s);
}

int main(void)
{
    check_begin();
    run("a successor of a killed sender loses nothing that was published",
        a_successor_of_a_killed_sender_loses_nothing_that_was_published);
    run("a successor of a killed receiver gets what was not released",
        a_successor_of_a_killed_receiver_gets_what_was_not_released);
    run("a waiting receiver goes on with a successor", a_waiting_receiver_goes_on_with_a_successor);
    return check_finish();
}

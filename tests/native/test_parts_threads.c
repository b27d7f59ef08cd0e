/* test_parts_threads.c - messages in parts from thread to thread, through the smallest ring: each arrives whole or
 * not at all, whoever gives up or closes meanwhile. */
#include "numbered.h"

#include <pthread.h>

/* --- nobody gives up ------------------------------------------------------------------------------------------ */

struct course {
    struct ipcr_end *w;
    uint64_t messages;
    uint64_t patience_ns;
    uint8_t *sent; /* [messages]: how each send ended, 1 for well */
};

static void *send_all(void *arg)
{
    const struct course *c = arg;
    struct manner m = { .random = 4, .patience_ns = c->patience_ns };
    for (uint64_t number = 0; number < c->messages; number++) {
        const bool patient = number % 8 < 2 || number + 1 == c->messages;
        const int rc = send_numbered(c->w, number, patient ? IPCR_FOREVER : until(&m));
        CHECK(rc == IPCR_OK || (rc == IPCR_FULL && !patient));
        c->sent[number] = rc == IPCR_OK;
    }
    finish(c->w, true);
    return NULL;
}

static void check_course(uint64_t start_position, uint64_t messages, struct manner m)
{
    struct ends p = ends_at(SMALLEST, start_position);
    struct course c = { .w = p.w, .messages = messages, .patience_ns = m.patience_ns, .sent = calloc(messages, 1) };
    uint8_t *got = calloc(messages, 1);
    pthread_t sender;
    uint64_t number = 0, next = 0;
    int rc;
    CHECK(c.sent != NULL && got != NULL);
    CHECK(pthread_create(&sender, NULL, send_all, &c) == 0);
    while ((rc = recv_numbered(p.r, &m, &number)) == IPCR_OK) {
        CHECK(number >= next && number < messages);
        CHECK(m.patience_ns != 0 || number == next);
        CHECK(m.patience_ns != 0 || ipcr_last_sequence(p.r) == number);
        next = number + 1;
        got[number] = 1;
    }
    CHECK_IS(rc, IPCR_END_OF_CHANNEL);
    CHECK(pthread_join(sender, NULL) == 0);
    for (number = 0; number < messages; number++)
        CHECK(got[number] || !c.sent[number]); /* who was told that it was taken was told the truth */
    CHECK_IS(next, messages);
    finish(p.r, true);
    ipcr_segment_release(p.segment);
    free(c.sent);
    free(got);
}

static void messages_larger_than_the_ring_stream_through_it(void)
{
    check_course(0, FEWER(4000, 600), (struct manner){ .random = 1 });
    check_course(0, FEWER(4000, 600), (struct manner){ .random = 2, .skips = true });
}

static void parts_cross_2_to_the_32_and_2_to_the_64(void)
{
    for (uint64_t before = 8; before < 3 * SMALLEST; before += FEWER(264, 1032)) {
        check_course((UINT64_C(1) << 32) - before, 16, (struct manner){ .random = before });
        check_course(0 - before, 16, (struct manner){ .random = before, .skips = true });
    }
}

static void who_gives_up_on_either_side_leaves_whole_messages(void)
{
    check_course(0, FEWER(4000, 500), (struct manner){ .random = 3, .patience_ns = 100000 });
    check_course(0 - UINT64_C(800000), FEWER(4000, 500),
                 (struct manner){ .random = 5, .patience_ns = 1000000, .skips = true });
}

/* --- both ends closed at once, by other threads --------------------------------------------------------------- */

struct contest {
    pthread_barrier_t start, end;
    struct ipcr_end *w, *r;
    bool over;
};

static void *contest_send(void *arg)
{
    struct contest *c = arg;
    for (;;) {
        pthread_barrier_wait(&c->start);
        if (c->over)
            return NULL;
        int rc = IPCR_OK;
        for (uint64_t number = 1; rc == IPCR_OK; number++)
            rc = send_numbered(c->w, number, IPCR_FOREVER);
        CHECK(rc == IPCR_CLOSED || rc == IPCR_END_OF_CHANNEL);
        pthread_barrier_wait(&c->end);
    }
}

static int take_one(struct ipcr_end *r)
{
    const int64_t result = ipcr_peek(r);
    return result < 0 ? (int)result : ipcr_release(r);
}

static void *contest_receive(void *arg)
{
    struct contest *c = arg;
    struct manner m = { .random = 21, .skips = true };
    for (;;) {
        pthread_barrier_wait(&c->start);
        if (c->over)
            return NULL;
        uint64_t number = 0;
        int rc = IPCR_OK;
        while (rc == IPCR_OK) { /* its close may fall between any two calls */
            rc = data_until(c->r, IPCR_FOREVER);
            if (rc == IPCR_OK)
                rc = take_one(c->r);
            else if (rc == IPCR_IN_PARTS)
                rc = read_numbered(c->r, &m, &number);
        }
        CHECK(rc == IPCR_CLOSED || rc == IPCR_END_OF_CHANNEL);
        pthread_barrier_wait(&c->end);
    }
}

static void *contest_close(void *arg)
{
    struct contest *c = arg;
    for (;;) {
        pthread_barrier_wait(&c->start);
        if (c->over)
            return NULL;
        ipcr_end_close(c->r, true);
        pthread_barrier_wait(&c->end);
    }
}

static void both_ends_may_be_closed_in_the_middle_of_a_message(void)
{
    struct contest c = { .over = false };
    pthread_t threads[3];
    CHECK(pthread_barrier_init(&c.start, NULL, 4) == 0 && pthread_barrier_init(&c.end, NULL, 4) == 0);
    CHECK(pthread_create(&threads[0], NULL, contest_send, &c) == 0);
    CHECK(pthread_create(&threads[1], NULL, contest_receive, &c) == 0);
    CHECK(pthread_create(&threads[2], NULL, contest_close, &c) == 0);
    for (int round = 0; round < FEWER(2000, 300); round++) {
        struct ipcr_segment *s = anonymous(SMALLEST, 0);
        c.w = taken(s, IPCR_SENDER);
        c.r = taken(s, IPCR_RECEIVER);
        pthread_barrier_wait(&c.start);
        if (round % 2 == 0) /* in the middle, not before anything was sent */
            while (position_of(s, IPCR_RECEIVER) == 0 && load_acquire32(&c.r->closing) == 0)
                sched_yield();
        ipcr_end_close(c.w, true);
        pthread_barrier_wait(&c.end);
        ipcr_end_free(c.w);
        ipcr_end_free(c.r);
        ipcr_segment_release(s);
    }
    c.over = true;
    pthread_barrier_wait(&c.start);
    for (int i = 0; i < 3; i++)
        CHECK(pthread_join(threads[i], NULL) == 0);
    pthread_barrier_destroy(&c.start);
    pthread_barrier_destroy(&c.end);
}

int main(void)
{
    check_begin();
    run("messages larger than the ring stream through it", messages_larger_than_the_ring_stream_through_it);
    run("parts cross 2^32 and 2^64", parts_cross_2_to_the_32_and_2_to_the_64);
    run("who gives up on either side leaves whole messages", who_gives_up_on_either_side_leaves_whole_messages);
    run("both ends may be closed in the middle of a message", both_ends_may_be_closed_in_the_middle_of_a_message);
    return check_finish();
}

/* test_queue_threads.c - threads with a handle each on one segment, so that ThreadSanitizer sees all of them: what they
 * may never see of each other's half-done work.
 *
 * Proves nothing about memory order that x86 keeps anyway; that is for the explorer.
 */
#include "queues.h"

#include <pthread.h>

static const struct ipcr_queue_options plain = { .max_deliveries = 0 };
static const struct ipcr_queue_options shortest = { .slots = 2 };

struct team {
    struct ipcr_segment *segment;
    const void *arg;
    ipcr_word32 over;
    ipcr_word64 acknowledged;
};

static void start(pthread_t *threads, int n, void *(*body)(void *), void *arg)
{
    for (int i = 0; i < n; i++)
        CHECK(pthread_create(&threads[i], NULL, body, arg) == 0);
}

static void finish(pthread_t *threads, int n)
{
    for (int i = 0; i < n; i++)
        CHECK(pthread_join(threads[i], NULL) == 0);
}

/* --- a message that comes back ------------------------------------------------------------------------------------ */

/* Lease and nack, most often out of order, until nothing is there. */
static void *take_and_return(void *arg)
{
    struct team *t = arg;
    struct ipcr_queue *q = handle_on(t->segment);
    uint64_t random = mixed((uint64_t)(uintptr_t)q);
    struct ipcr_lease held[4];
    uint64_t holding = 0;
    for (;;) {
        const int rc = holding < 4 ? ipcr_queue_lease(q, 0, &held[holding]) : IPCR_FULL;
        holding += rc == IPCR_OK;
        if (rc == IPCR_EMPTY && holding == 0)
            break;
        if (holding == 0)
            continue;
        const uint64_t choice = random_next(&random), which = choice % holding;
        CHECK_IS(choice / 8 % 8 == 0 ? ipcr_lease_ack(q, &held[which]) : ipcr_lease_nack(q, &held[which], 0), IPCR_OK);
        held[which] = held[--holding];
    }
    ipcr_queue_free(q);
    return NULL;
}

/* The hint where to look is raised by those who saw it held, and lowered by who gave it back. */
static void what_came_back_can_be_taken_at_once(void)
{
    struct ipcr_queue *q = handle_on(reliable(&plain));
    struct team t = { .segment = q->segment };
    pthread_t threads[3];
    for (int round = 0; round < FEWER(3000, 300); round++) {
        struct ipcr_lease l;
        for (uint64_t i = 0; i < 31; i++)
            put(q, i);
        start(threads, 3, take_and_return, &t);
        finish(threads, 3);
        while (ipcr_queue_depth(q) > 0) {
            CHECK_IS(ipcr_queue_lease(q, 0, &l), IPCR_OK);
            CHECK_IS(ipcr_lease_ack(q, &l), IPCR_OK);
        }
    }
    finish_queue(q);
}

/* --- empty means empty ----------------------------------------------------------------------------------------------- */

/* Two lanes of two slots, so that they are lapped in no time.  Before a message is taken another one was put. */
static void *always_leave_one(void *arg)
{
    struct team *t = arg;
    struct ipcr_queue *p[2] = { handle_on(t->segment), handle_on(t->segment) }, *c = handle_on(t->segment);
    uint64_t got;
    put(p[0], 0);
    store_release32(&t->over, 1);
    for (uint64_t i = 0; i < FEWER(1000000, 100000); i++) {
        if (try_put(p[i & 1], i) != IPCR_OK)
            CHECK_IS(try_put(p[~i & 1], i), IPCR_OK);
        CHECK_IS(try_get(c, &got), IPCR_OK);
    }
    store_release32(&t->over, 2);
    ipcr_queue_free(p[0]);
    ipcr_queue_free(p[1]);
    ipcr_queue_free(c);
    return NULL;
}

static void empty_is_never_said_of_a_queue_that_never_was(void)
{
    struct ipcr_queue *q = handle_on(queue_of(IPCR_KIND_QUEUE, 2, &shortest, 0));
    struct team t = { .segment = q->segment };
    struct ipcr_lease l;
    pthread_t thread;
    start(&thread, 1, always_leave_one, &t);
    while (load_acquire32(&t.over) == 0)
        sched_yield();
    int rc;
    while ((rc = ipcr_queue_lease(q, 0, &l)) != IPCR_EMPTY) {
        CHECK(rc == IPCR_OK || rc == IPCR_AGAIN);
        if (rc == IPCR_OK)
            CHECK_IS(ipcr_lease_nack(q, &l, 0), IPCR_OK);
        if (load_acquire32(&t.over) == 2)
            break;
    }
    CHECK(rc != IPCR_EMPTY);
    finish(&thread, 1);
    finish_queue(q);
}

/* --- counts ------------------------------------------------------------------------------------------------------------ */

/* Always one message at least that is not done, and one task that is not finished. */
static void *never_be_finished(void *arg)
{
    struct team *t = arg;
    struct ipcr_queue *q = handle_on(t->segment);
    put(q, 0);
    store_release32(&t->over, 1);
    for (uint64_t i = 0; i < FEWER(1000000, 100000); i++) {
        put(q, i + 1);
        check_gets(q, i);
        CHECK_IS(ipcr_queue_finish_many(q, 1), IPCR_OK);
    }
    store_release32(&t->over, 2);
    ipcr_queue_free(q);
    return NULL;
}

static void a_count_is_never_too_low_however_fast_a_lane_moves_on(void)
{
    struct ipcr_queue *q = handle_on(queue_of(IPCR_KIND_QUEUE, 2, &shortest, 0));
    struct team t = { .segment = q->segment };
    pthread_t thread;
    start(&thread, 1, never_be_finished, &t);
    while (load_acquire32(&t.over) == 0)
        sched_yield();
    while (load_acquire32(&t.over) == 1) {
        const bool all = ipcr_queue_all_finished(q);
        CHECK(!all);
    }
    finish(&thread, 1);
    finish_queue(q);
}

int main(void)
{
    check_begin();
    run("what came back can be taken at once", what_came_back_can_be_taken_at_once);
    run("empty is never said of a queue that never was", empty_is_never_said_of_a_queue_that_never_was);
    run("a count is never too low, however fast a lane moves on",
        a_count_is_never_too_low_however_fast_a_lane_moves_on);
    return check_finish();
}

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
    struct ipcr_queue *handles[3];
    ipcr_word32 over;
    ipcr_word64 next;
    ipcr_word64 acknowledged;
};

static uint64_t next_of(ipcr_word64 *counter)
{
    uint64_t seen = load_relaxed64(counter);
    while (!compare_exchange64(counter, &seen, seen + 1))
        ;
    return seen;
}

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
    struct ipcr_queue *q = t->handles[next_of(&t->next) % 3];
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
    return NULL; /* its handle stays: a close would look at all messages */
}

/* The hint where to look is raised by those who saw it held, and lowered by who gave it back. */
static void what_came_back_can_be_taken_at_once(void)
{
    struct ipcr_queue *q = handle_on(reliable(&plain));
    struct team t = { .segment = q->segment };
    pthread_t threads[3];
    q->next_repair_ns = UINT64_MAX; /* nobody mends what was left wrong */
    for (int i = 0; i < 3; i++) {
        t.handles[i] = handle_on(t.segment);
        t.handles[i]->next_repair_ns = UINT64_MAX;
    }
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
    for (int i = 0; i < 3; i++)
        ipcr_queue_free(t.handles[i]);
    finish_queue(q);
}

/* --- empty means empty -------------------------------------------------------------------------------------------- */

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

/* --- counts ------------------------------------------------------------------------------------------------------- */

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

/* --- everybody at once -------------------------------------------------------------------------------------------- */

enum { EACH = FEWER(40000, 5000), TEAM = 2 };

static void *produce(void *arg)
{
    struct team *t = arg;
    struct ipcr_queue *q = handle_on(t->segment);
    const uint64_t me = next_of(&t->next);
    for (uint64_t i = 0; i < EACH; i++) {
        int rc;
        while ((rc = put_with(q, me << 24 | i, mixed(i) % 700, 0, NULL)) == IPCR_FULL)
            sched_yield();
        CHECK_IS(rc, IPCR_OK);
    }
    ipcr_queue_free(q);
    return NULL;
}

static void *take_singly_and_in_batches(void *arg)
{
    struct team *t = arg;
    struct ipcr_queue *q = handle_on(t->segment);
    uint64_t random = mixed((uint64_t)(uintptr_t)q), last[TEAM] = { 0 }, number = 0;
    char bytes[LANE];
    int64_t results[8];
    while (load_acquire64(&t->acknowledged) < TEAM * EACH) {
        int64_t n = 1;
        if (random_next(&random) % 4 == 0) {
            n = get_many(q, bytes, sizeof bytes, results, 8);
            CHECK(n > 0 || n == IPCR_EMPTY || n == IPCR_AGAIN);
        } else {
            const int rc = try_get(q, &number);
            CHECK(rc == IPCR_OK || rc == IPCR_EMPTY || rc == IPCR_AGAIN);
            n = rc == IPCR_OK;
            if (rc == IPCR_OK) { /* each producer's come in order */
                CHECK((number & 0xffffff) + 1 > last[number >> 24]);
                last[number >> 24] = (number & 0xffffff) + 1;
            }
        }
        for (int64_t i = 0; i < n; i++)
            (void)next_of(&t->acknowledged);
        if (n <= 0)
            sched_yield();
    }
    ipcr_queue_free(q);
    return NULL;
}

static void everybody(const struct ipcr_queue_options *options, uint32_t kind, void *(*take)(void *), int others,
                      void *(*other)(void *), uint64_t dead)
{
    struct ipcr_queue *q = handle_on(queue_of(kind, TEAM, options, 0));
    struct team t = { .segment = q->segment };
    pthread_t threads[2 * TEAM + 2];
    start(threads, TEAM, produce, &t);
    start(threads + TEAM, TEAM, take, &t);
    start(threads + 2 * TEAM, others, other, &t);
    finish(threads, 2 * TEAM + others);
    const struct ipcr_lane_stats sum = totals(t.segment);
    CHECK_IS(sum.put, TEAM * EACH);
    CHECK_IS(sum.ready + sum.leased + sum.kept, 0);
    CHECK(dead == UINT64_MAX || sum.dead == dead);
    CHECK_IS(sum.delivered - sum.redelivered, TEAM * EACH);
    finish_queue(q);
}

static void two_producers_and_two_consumers_lose_and_double_nothing(void)
{
    everybody(&plain, IPCR_KIND_QUEUE, take_singly_and_in_batches, 0, NULL, 0);
    everybody(&shortest, IPCR_KIND_QUEUE, take_singly_and_in_batches, 0, NULL, 0);
}

/* Copies that were begun while the lease lasted, and may end when its memory is another message's. */
static void *take_slowly(void *arg)
{
    struct team *t = arg;
    struct ipcr_queue *q = handle_on(t->segment);
    uint64_t random = mixed((uint64_t)(uintptr_t)q);
    struct ipcr_lease l;
    char bytes[LANE];
    while (load_acquire64(&t->acknowledged) < TEAM * EACH) {
        int rc = ipcr_queue_lease(q, SECONDS(30), &l);
        if (rc == IPCR_EMPTY || rc == IPCR_AGAIN) {
            sched_yield();
            continue;
        }
        CHECK_IS(rc, IPCR_OK);
        if (random_next(&random) % 16 == 0)
            sched_yield();
        rc = ipcr_lease_copy(q, &l, bytes);
        CHECK(rc == IPCR_OK || rc == IPCR_LEASE_LOST);
        if (rc == IPCR_OK)
            check_message(&l, bytes, IPCR_INFO_TYPE(l.info));
        rc = ipcr_lease_ack(q, &l);
        CHECK(rc == IPCR_OK || rc == IPCR_LEASE_LOST);
        if (rc == IPCR_OK)
            (void)next_of(&t->acknowledged);
    }
    ipcr_queue_free(q);
    return NULL;
}

/* One whose clock is an hour ahead: to it, every lease has run out. */
static void *end_all_leases(void *arg)
{
    struct team *t = arg;
    struct ipcr_queue *q = handle_on(t->segment);
    while (load_acquire64(&t->acknowledged) < TEAM * EACH) {
        pthread_mutex_lock(&q->consuming);
        const int rc = ipcr_queue_repair(q, now_ns() + SECONDS(3600));
        pthread_mutex_unlock(&q->consuming);
        CHECK(rc == IPCR_OK || rc == IPCR_AGAIN);
        sched_yield();
    }
    ipcr_queue_free(q);
    return NULL;
}

static void whoever_is_late_delivers_nothing_that_is_not_its_own(void)
{
    const struct ipcr_queue_options four = { .slots = 4 };
    everybody(&plain, IPCR_KIND_RELIABLE, take_slowly, 1, end_all_leases, 0);
    everybody(&four, IPCR_KIND_RELIABLE, take_slowly, 1, end_all_leases, 0);
}

static void *give_up_most(void *arg)
{
    struct team *t = arg;
    struct ipcr_queue *q = handle_on(t->segment);
    struct ipcr_lease l;
    while (load_acquire64(&t->acknowledged) < TEAM * EACH) {
        const int rc = ipcr_queue_lease(q, 0, &l);
        CHECK(rc == IPCR_OK || rc == IPCR_EMPTY || rc == IPCR_AGAIN);
        if (rc == IPCR_OK && l.id % 8 == 0)
            CHECK_IS(ipcr_lease_ack(q, &l), IPCR_OK);
        else if (rc == IPCR_OK)
            CHECK_IS(ipcr_lease_nack(q, &l, 0), IPCR_OK);
        else
            sched_yield();
        if (rc == IPCR_OK && l.id % 8 == 0)
            (void)next_of(&t->acknowledged);
    }
    ipcr_queue_free(q);
    return NULL;
}

static void *bury_what_is_kept(void *arg)
{
    struct team *t = arg;
    struct ipcr_queue *q = handle_on(t->segment);
    uint64_t random = mixed((uint64_t)(uintptr_t)q);
    struct ipcr_lease l;
    uint32_t why;
    while (load_acquire64(&t->acknowledged) < TEAM * EACH) {
        const int rc = ipcr_queue_next_kept(q, 0, &l, &why);
        CHECK(rc == IPCR_OK || rc == IPCR_EMPTY);
        if (rc != IPCR_OK) {
            sched_yield();
            continue;
        }
        CHECK_IS(why, IPCR_KEPT_DELIVERIES);
        CHECK_IS(l.deliveries, 1);
        const bool bury = random_next(&random) % 4 != 0;
        CHECK_IS(bury ? ipcr_lease_bury(q, &l) : ipcr_lease_keep(q, &l, why), IPCR_OK);
        if (bury)
            (void)next_of(&t->acknowledged);
    }
    ipcr_queue_free(q);
    return NULL;
}

static void what_is_given_up_is_kept_until_it_is_buried(void)
{
    const struct ipcr_queue_options once = { .slots = 2, .max_deliveries = 1 };
    everybody(&once, IPCR_KIND_RELIABLE, give_up_most, 2, bury_what_is_kept, UINT64_MAX);
}

int main(void)
{
    check_begin();
    run("what came back can be taken at once", what_came_back_can_be_taken_at_once);
    run("empty is never said of a queue that never was", empty_is_never_said_of_a_queue_that_never_was);
    run("a count is never too low, however fast a lane moves on",
        a_count_is_never_too_low_however_fast_a_lane_moves_on);
    run("two producers and two consumers lose and double nothing",
        two_producers_and_two_consumers_lose_and_double_nothing);
    run("whoever is late delivers nothing that is not its own", whoever_is_late_delivers_nothing_that_is_not_its_own);
    run("what is given up is kept until it is buried", what_is_given_up_is_kept_until_it_is_buried);
    return check_finish();
}

/* test_multicast_threads.c - a publisher, three readers, and joiners that come and go, as threads on one mapping, so that
 * ThreadSanitizer sees all of them: sequences without a gap that was not told, and messages that are whole.
 *
 * Readers that view look at the payload by plain loads, and claims are written by plain stores: what orders them is edges B
 * and C, or ThreadSanitizer says so.  Where messages may be overwritten, both sides go by relaxed words (edge V).  Proves
 * nothing about memory order that x86 keeps anyway; that is for the explorer.
 */
#include "multicasts.h"

#include <pthread.h>

enum { START = 1000, ENTRIES = 16, MOST_THREADS = 12 };

struct team {
    struct ipcr_segment *segment;
    uint64_t messages;
    uint32_t publishers;     /* one after the other */
    ipcr_word32 readers;     /* that have joined */
    ipcr_word32 wanted;      /* of them before the first message */
    ipcr_word32 over;        /* the publisher has closed */
    ipcr_word64 gaps;        /* messages that somebody lost */
    ipcr_word64 lagged;      /* subscribers that were evicted */
    ipcr_word64 visits;      /* joiners that came and went */
    ipcr_word64 seed;
    pthread_t threads[MOST_THREADS];
    int n;
};

static void add(ipcr_word64 *counter, uint64_t n)
{
    uint64_t seen = load_relaxed64(counter);
    while (!compare_exchange64(counter, &seen, seen + n))
        ;
}

static void start(struct team *t, int n, void *(*body)(void *))
{
    for (int i = 0; i < n; i++)
        CHECK(pthread_create(&t->threads[t->n++], NULL, body, t) == 0);
}

static void finish(struct team *t)
{
    while (t->n > 0)
        CHECK(pthread_join(t->threads[--t->n], NULL) == 0);
    ipcr_segment_release(t->segment);
}

static uint64_t length_of(uint64_t number) { return mixed(number) % 7 == 0 ? mixed(number) % 1500 : mixed(number) % 100; }

/* --- publishing ------------------------------------------------------------------------------------------------------------- */

static int64_t claim_and_commit(struct ipcr_publisher *p, uint64_t length)
{
    int rc;
    const uint64_t number = p->next;
    while ((rc = ipcr_publisher_claim(p, NULL, length + 50)) == IPCR_FULL)
        CHECK_IS(wait_for_room(p, IPCR_FOREVER), IPCR_OK);
    CHECK_IS(rc, IPCR_OK);
    stamp((uint8_t *)ipcr_publisher_lent(p), length, number);
    return ipcr_publisher_commit(p, length, IPCR_INFO(0, IPCR_BYTES));
}

static void *publish_all(void *arg)
{
    struct team *t = arg;
    uint64_t number = START;
    while (load_acquire32(&t->readers) < load_acquire32(&t->wanted))
        sched_yield();
    for (uint32_t life = 0; life < t->publishers; life++) {
        struct ipcr_publisher *p = publisher_on(t->segment);
        const bool lossless_one = t->segment->multicast.policy == IPCR_LOSSLESS;
        const bool evicts = t->segment->multicast.on_laggard == IPCR_EVICT_LAGGARDS;
        CHECK_IS(p->next, number);
        for (uint64_t i = 0; i < t->messages / t->publishers; i++, number++)
            CHECK_IS(lossless_one && !evicts && number % 3 == 0 ? claim_and_commit(p, length_of(number))
                                                                : publish_waiting(p, length_of(number)),
                     number);
        if (life + 1 == t->publishers) {
            ipcr_publisher_free(p);
            store_release32(&t->over, 1);
        } else {
            die_publishing(p);
        }
    }
    return NULL;
}

/* --- reading ------------------------------------------------------------------------------------------------------------------ */

/* Begins at START, as who joined before the first message does; the last thing that it gets is the end. */
static struct ipcr_subscriber *join_first(struct team *t)
{
    struct ipcr_subscriber *r = subscriber_on(t->segment, IPCR_START_LATEST);
    uint32_t seen = load_relaxed32(&t->readers);
    CHECK_IS(r->next, START);
    while (!compare_exchange32(&t->readers, &seen, seen + 1))
        ;
    return r;
}

static void *read_copies(void *arg)
{
    struct team *t = arg;
    struct ipcr_subscriber *r = join_first(t);
    uint64_t number = START;
    int64_t got;
    while ((got = receive_waiting(r)) != IPCR_END_OF_CHANNEL && got != IPCR_PEER_DIED)
        CHECK_IS(got, number++);
    while (number < START + t->messages) { /* between two publishers */
        got = receive_waiting(r);
        if (got != IPCR_PEER_DIED && got != IPCR_END_OF_CHANNEL)
            CHECK_IS(got, number++);
    }
    CHECK_IS(ipcr_subscriber_lost(r), 0);
    ipcr_subscriber_free(r);
    return NULL;
}

static void *read_in_place(void *arg)
{
    struct team *t = arg;
    struct ipcr_subscriber *r = join_first(t);
    uint64_t number = START;
    while (number < START + t->messages) {
        const int64_t result = ipcr_subscriber_peek(r);
        if (result == IPCR_EMPTY) {
            const int rc = wait_for_message(r, IPCR_FOREVER);
            CHECK(rc == IPCR_OK || rc == IPCR_PEER_DIED);
            continue;
        }
        CHECK_IS(result, length_of(number));
        CHECK(is_stamped((const uint8_t *)ipcr_subscriber_lent(r), (uint64_t)result, number));
        if (number % 11 == 0) { /* once more */
            CHECK_IS(ipcr_subscriber_put_back(r), IPCR_OK);
            CHECK_IS(ipcr_subscriber_peek(r), length_of(number));
        }
        CHECK_IS(ipcr_subscriber_release(r), IPCR_OK);
        CHECK_IS(ipcr_subscriber_last_sequence(r), number++);
    }
    ipcr_subscriber_free(r);
    return NULL;
}

static void *read_batches(void *arg)
{
    static _Thread_local char out[DATA];
    struct team *t = arg;
    struct ipcr_subscriber *r = join_first(t);
    uint64_t number = START, sequences[8], lost[8];
    int64_t results[8];
    while (number < START + t->messages) {
        const int64_t n = ipcr_subscriber_recv_many(r, out, sizeof out, results, sequences, lost, 8);
        if (n == IPCR_EMPTY) {
            const int rc = wait_for_message(r, IPCR_FOREVER);
            CHECK(rc == IPCR_OK || rc == IPCR_PEER_DIED);
            continue;
        }
        CHECK(n > 0);
        uint64_t at = 0;
        for (int64_t i = 0; i < n; i++) {
            CHECK_IS(sequences[i], number + (uint64_t)i);
            CHECK_IS(results[i], length_of(sequences[i]));
            CHECK(is_stamped((const uint8_t *)out + at, (uint64_t)results[i], sequences[i]));
            at += (uint64_t)results[i];
        }
        const uint64_t taken = (uint64_t)n - (number % 5 == 0 && n > 1);
        CHECK_IS(ipcr_subscriber_settle(r, taken, sequences[taken - 1] + 1, lost[taken - 1]), IPCR_OK);
        number += taken;
    }
    ipcr_subscriber_free(r);
    return NULL;
}

/* Come, read a few, and go: what is read is contiguous, but for what is told as lost. */
static void *come_and_go(void *arg)
{
    struct team *t = arg;
    add(&t->seed, 1);
    uint64_t random = load_relaxed64(&t->seed) * 1000;
    while (load_acquire32(&t->over) == 0) {
        const struct ipcr_subscription wanted = {
            .start = random_next(&random) % 2 == 0 ? IPCR_START_OLDEST : IPCR_START_LATEST,
            .on_lap = random_next(&random) % 2 == 0 ? IPCR_LAP_TO_OLDEST : IPCR_LAP_TO_LATEST,
            .observe = random_next(&random) % 4 == 0,
            .interval_ns = 1000,
        };
        struct ipcr_subscriber *r = subscribe(t->segment, wanted, NULL);
        uint64_t next = r->next;
        for (uint64_t reads = random_next(&random) % 40; reads > 0; reads--) {
            const int64_t got = try_receive(r);
            if (got == IPCR_END_OF_CHANNEL || got == IPCR_LAGGED_OUT) {
                add(&t->lagged, got == IPCR_LAGGED_OUT);
                break;
            }
            if (got == IPCR_EMPTY || got == IPCR_AGAIN)
                continue;
            CHECK_IS(got, next + ipcr_subscriber_last_lost(r));
            CHECK(r->lossy || ipcr_subscriber_last_lost(r) == 0);
            add(&t->gaps, ipcr_subscriber_last_lost(r));
            next = (uint64_t)got + 1;
        }
        ipcr_subscriber_free(r);
        add(&t->visits, 1);
    }
    return NULL;
}

/* To the end of it, whatever is lost on the way: all that is missing is told. */
static void *read_what_is_left(void *arg)
{
    struct team *t = arg;
    struct ipcr_subscriber *r = join_first(t);
    uint64_t next = START, told = 0;
    int64_t got;
    while ((got = receive_waiting(r)) != IPCR_END_OF_CHANNEL) {
        CHECK_IS(got, next + ipcr_subscriber_last_lost(r));
        told += ipcr_subscriber_last_lost(r);
        next = (uint64_t)got + 1;
        if (got % 64 == 0)
            sched_yield();
    }
    CHECK_IS(next, START + t->messages); /* the last one is never lost */
    CHECK_IS(ipcr_subscriber_lost(r), told);
    CHECK_IS(r->received + told, t->messages);
    add(&t->gaps, told);
    ipcr_subscriber_free(r);
    return NULL;
}

static void *read_until_evicted(void *arg)
{
    struct team *t = arg;
    struct ipcr_subscriber *r = join_first(t);
    uint64_t next = START;
    int64_t got;
    while ((got = receive_waiting(r)) != IPCR_END_OF_CHANNEL) {
        if (got == IPCR_LAGGED_OUT) {
            add(&t->lagged, 1);
            ipcr_subscriber_free(r);
            r = subscriber_on(t->segment, IPCR_START_OLDEST);
            CHECK(r->next + t->segment->lanes >= next); /* what it was evicted for may still be there */
            next = r->next;
            continue;
        }
        CHECK_IS(got, next++);
        if (got % 64 == 0)
            sched_yield();
    }
    CHECK_IS(next, START + t->messages);
    ipcr_subscriber_free(r);
    return NULL;
}

/* Looks on, from a thread of its own. */
static void *count_all(void *arg)
{
    struct team *t = arg;
    struct ipcr_multicast_stats stats;
    struct ipcr_subscriber_stats all[16];
    uint64_t published = 0;
    while (load_acquire32(&t->over) == 0) {
        CHECK_IS(ipcr_multicast_stats(t->segment, &stats, all, 16), IPCR_OK);
        CHECK(stats.published >= published && stats.published <= t->messages && stats.oldest <= stats.published);
        published = stats.published;
        for (uint32_t i = 0; i < stats.subscribers; i++)
            CHECK(all[i].state != IPCR_CURSOR_ACTIVE || all[i].next <= stats.published);
        sched_yield();
    }
    return NULL;
}

static struct team team_of(const struct ipcr_multicast_options *options, uint32_t entries, uint64_t messages)
{
    return (struct team){ .segment = multicast_of(DATA, entries, options, START), .messages = messages,
                          .publishers = 1, .wanted = 3 };
}

static void three_readers_get_every_message_while_others_come_and_go(void)
{
    for (int asymmetric = 0; asymmetric < 2; asymmetric++) {
        struct team t = team_of(&lossless, ENTRIES, FEWER(100000, 12000));
        if (!asymmetric)
            t.segment->flags &= ~IPCR_FLAG_ASYMMETRIC;
        start(&t, 1, read_copies);
        start(&t, 1, read_in_place);
        start(&t, 1, read_batches);
        start(&t, 2, come_and_go);
        start(&t, 1, count_all);
        start(&t, 1, publish_all);
        finish(&t);
        CHECK(load_relaxed64(&t.visits) > 0);
        CHECK_IS(load_relaxed64(&t.lagged), 0);
    }
}

static void publishers_die_and_are_replaced_and_nobody_misses_a_message(void)
{
    struct team t = team_of(&lossless, ENTRIES, FEWER(20000, 4000));
    t.publishers = 10;
    start(&t, 1, read_copies);
    start(&t, 1, read_in_place);
    start(&t, 1, read_batches);
    start(&t, 1, come_and_go);
    start(&t, 1, publish_all);
    finish(&t);
}

/* A ring of 2 to 4 messages, and a publisher flat out. */
static void lapped_readers_are_told_of_every_gap_and_never_see_a_torn_message(void)
{
    for (uint32_t entries = 2; entries <= 16; entries *= 2) {
        struct team t = team_of(&lossy, entries, FEWER(300000, 30000));
        start(&t, 3, read_what_is_left);
        start(&t, 1, come_and_go);
        start(&t, 1, count_all);
        start(&t, 1, publish_all);
        finish(&t);
        CHECK(load_relaxed64(&t.gaps) > 0);
    }
}

static void laggards_are_evicted_in_the_middle_of_a_message_and_never_hand_it_on(void)
{
    struct team t = team_of(&evicting, 4, FEWER(100000, 20000));
    start(&t, 3, read_until_evicted);
    start(&t, 2, come_and_go);
    start(&t, 1, count_all);
    start(&t, 1, publish_all);
    finish(&t);
    CHECK(load_relaxed64(&t.lagged) > 0);
}

int main(void)
{
    check_begin();
    run("three readers get every message while others come and go",
        three_readers_get_every_message_while_others_come_and_go);
    run("publishers die and are replaced, and nobody misses a message",
        publishers_die_and_are_replaced_and_nobody_misses_a_message);
    run("lapped readers are told of every gap, and never see a torn message",
        lapped_readers_are_told_of_every_gap_and_never_see_a_torn_message);
    run("laggards are evicted in the middle of a message, and never hand it on",
        laggards_are_evicted_in_the_middle_of_a_message_and_never_hand_it_on);
    return check_finish();
}

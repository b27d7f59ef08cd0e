/* test_multicast_wakes.c - a publisher that sleeps until there is room, and who wakes it. */
#include "multicasts.h"

#include <pthread.h>

enum { START = 77 };

static void *publish_many_waiting(void *publisher)
{
    for (uint64_t n = START; n < START + FEWER(20000, 2000); n++)
        CHECK_IS(publish_waiting(publisher, LENGTH), n);
    return NULL;
}

static void a_publisher_that_sleeps_for_room_is_woken_by_who_makes_it(void)
{
    for (int asymmetric = 0; asymmetric < 2; asymmetric++) {
        struct ipcr_segment *s = multicast_of(DATA, 8, &lossless, START);
        if (!asymmetric)
            s->flags &= ~IPCR_FLAG_ASYMMETRIC;
        struct ipcr_publisher *p = publisher_on(s);
        struct ipcr_subscriber *r = subscriber_on(s, IPCR_START_LATEST), *q = subscriber_on(s, IPCR_START_LATEST);
        pthread_t thread;
        CHECK(pthread_create(&thread, NULL, publish_many_waiting, p) == 0);
        while (load_acquire32(&header_of(s)->room_parked) == 0) /* once at least; later it may find room while it spins */
            sched_yield();
        for (uint64_t n = START; n < START + FEWER(20000, 2000); n++) {
            CHECK_IS(receive_waiting(r), n);
            CHECK_IS(receive_waiting(q), n);
        }
        CHECK(pthread_join(thread, NULL) == 0);
        CHECK(load_relaxed64(&header_of(s)->parked_ns) > 0);
        ipcr_subscriber_free(r);
        ipcr_subscriber_free(q);
        ipcr_publisher_free(p);
        ipcr_segment_release(s);
    }
}

static void *wait_once(void *publisher)
{
    const int rc = wait_for_room(publisher, IPCR_FOREVER);
    return (void *)(intptr_t)rc;
}

static void a_publisher_that_sleeps_is_woken_by_who_leaves_or_reads_on(void)
{
    for (int how = 0; how < 2; how++) {
        struct ipcr_segment *s = multicast_of(DATA, 8, &lossless, START);
        struct ipcr_publisher *p = publisher_on(s);
        struct ipcr_subscriber *r = subscriber_on(s, IPCR_START_LATEST);
        pthread_t thread;
        void *rc;
        until_full(p);
        CHECK(pthread_create(&thread, NULL, wait_once, p) == 0);
        while (load_acquire32(&header_of(s)->room_parked) == 0)
            sched_yield();
        if (how == 0)
            ipcr_subscriber_free(r);
        else
            check_receives(r, START, 8);
        CHECK(pthread_join(thread, &rc) == 0);
        CHECK_IS((intptr_t)rc, IPCR_OK);
        publish(p, 1);
        if (how == 1)
            ipcr_subscriber_free(r);
        ipcr_publisher_free(p);
        ipcr_segment_release(s);
    }
}

/* What it leaves in shared memory before it sleeps; nobody need sleep to see who would wake it. */
static void say_that_it_sleeps(struct ipcr_segment *s, uint32_t subscriber, uint64_t until)
{
    store_relaxed32(&header_of(s)->blocked_by, subscriber);
    store_relaxed64(&header_of(s)->wake_at, until);
    store_release32(&header_of(s)->room_parked, 1);
}

static bool sleeps_on(const struct ipcr_segment *s) { return load_acquire32(&header_of(s)->room_parked) == 1; }

static void it_is_woken_by_the_one_it_waits_for_and_not_before_that_has_come_far_enough(void)
{
    struct ipcr_segment *s = multicast_of(DATA, 16, &lossless, START);
    struct ipcr_publisher *p = publisher_on(s);
    struct ipcr_subscriber *r = subscriber_on(s, IPCR_START_LATEST), *other = subscriber_on(s, IPCR_START_LATEST);
    char out[4 * LENGTH];
    int64_t results[4];
    uint64_t sequences[4], lost[4];
    publish(p, 10);
    say_that_it_sleeps(s, r->number, START + 2);
    check_receives(other, START, 10);
    check_receives(r, START, 1);
    CHECK(sleeps_on(s));
    check_receives(r, START + 1, 1);
    CHECK(!sleeps_on(s));
    say_that_it_sleeps(s, r->number, START + 4);
    CHECK_IS(ipcr_subscriber_recv_many(r, out, sizeof out, results, sequences, lost, 4), 4);
    CHECK(sleeps_on(s)); /* it may yet give them back */
    CHECK_IS(ipcr_subscriber_settle(r, 4, sequences[3] + 1, lost[3]), IPCR_OK);
    CHECK(!sleeps_on(s));
    say_that_it_sleeps(s, r->number, START + 7);
    CHECK_IS(ipcr_subscriber_peek(r), LENGTH);
    CHECK(sleeps_on(s));
    CHECK_IS(ipcr_subscriber_release(r), IPCR_OK);
    CHECK(!sleeps_on(s));
    say_that_it_sleeps(s, r->number, UINT64_MAX);
    ipcr_subscriber_free(r); /* as far as it could come */
    CHECK(!sleeps_on(s));
    ipcr_subscriber_free(other);
    ipcr_publisher_free(p);
    ipcr_segment_release(s);
}

/* It waits for one who has not said yet where it begins. */
static void it_is_woken_by_who_has_joined_where_that_is_far_enough(void)
{
    for (int far_enough = 0; far_enough < 2; far_enough++) {
        struct ipcr_segment *s = multicast_of(DATA, 16, &lossless, START);
        struct ipcr_publisher *p = publisher_on(s);
        publish(p, 10);
        say_that_it_sleeps(s, 0, far_enough ? START + 10 : START + 11);
        struct ipcr_subscriber *r = subscriber_on(s, IPCR_START_LATEST);
        CHECK_IS(r->number, 0);
        CHECK_IS(sleeps_on(s), !far_enough);
        store_relaxed32(&header_of(s)->room_parked, 0);
        ipcr_subscriber_free(r);
        ipcr_publisher_free(p);
        ipcr_segment_release(s);
    }
}

int main(void)
{
    check_begin();
    run("a publisher that sleeps for room is woken by who makes it",
        a_publisher_that_sleeps_for_room_is_woken_by_who_makes_it);
    run("a publisher that sleeps is woken by who leaves, or reads on",
        a_publisher_that_sleeps_is_woken_by_who_leaves_or_reads_on);
    run("it is woken by the one it waits for, and not before that has come far enough",
        it_is_woken_by_the_one_it_waits_for_and_not_before_that_has_come_far_enough);
    run("it is woken by who has joined, where that is far enough",
        it_is_woken_by_who_has_joined_where_that_is_far_enough);
    return check_finish();
}

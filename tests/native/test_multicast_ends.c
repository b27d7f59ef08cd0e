/* test_multicast_ends.c - how publishers and subscribers come and go: closed from any thread, dead, and replaced.
 */
#include "multicasts.h"

#include <pthread.h>

enum { START = 9 };

/* --- the end of it ----------------------------------------------------------------------------------------------------------- */

static void what_was_published_before_a_close_comes_before_the_end(void)
{
    const struct ipcr_multicast_options *const all[] = { &lossless, &lossy, &evicting };
    for (int kind = 0; kind < 3; kind++) {
        struct ipcr_segment *s = multicast_of(DATA, 8, all[kind], START);
        struct ipcr_publisher *p = publisher_on(s);
        struct ipcr_subscriber *r = subscriber_on(s, IPCR_START_LATEST), *o = observer_on(s, IPCR_START_LATEST);
        publish(p, 2);
        ipcr_publisher_free(p);
        struct ipcr_subscriber *late = subscriber_on(s, IPCR_START_OLDEST);
        struct ipcr_subscriber *const readers[] = { r, o, late };
        for (int i = 0; i < 3; i++) {
            check_receives(readers[i], START, 2);
            CHECK_IS(try_receive(readers[i]), IPCR_END_OF_CHANNEL);
            CHECK_IS(try_receive(readers[i]), IPCR_END_OF_CHANNEL);
            CHECK_IS(wait_for_message(readers[i], IPCR_FOREVER), IPCR_OK); /* at once */
            ipcr_subscriber_free(readers[i]);
        }
        ipcr_segment_release(s);
    }
}

/* The end is the end only as long as nobody begins anew. */
static void a_new_publisher_goes_on_where_the_last_one_ended(void)
{
    struct ipcr_segment *s = multicast_of(DATA, 8, &lossless, START);
    struct ipcr_subscriber *r = subscriber_on(s, IPCR_START_LATEST);
    uint64_t next = START;
    for (int life = 0; life < 20; life++) {
        struct ipcr_publisher *p = publisher_on(s);
        CHECK_IS(p->generation, life + 1);
        check_has_nothing(r);
        for (int i = 0; i < life % 4; i++) {
            publish(p, 1);
            check_receives(r, next++, 1);
        }
        if (life % 2 == 0) {
            ipcr_publisher_free(p);
            CHECK_IS(try_receive(r), IPCR_END_OF_CHANNEL);
        } else {
            die_publishing(p);
            check_has_nothing(r);
        }
    }
    struct ipcr_multicast_stats stats;
    CHECK_IS(ipcr_multicast_stats(s, &stats, NULL, 0), IPCR_OK);
    CHECK_IS(stats.published, next - START);
    CHECK_IS(stats.bytes, (next - START) * LENGTH);
    ipcr_subscriber_free(r);
    ipcr_segment_release(s);
}

static void there_is_one_publisher_at_a_time(void)
{
    struct ipcr_segment *s = multicast_of(DATA, 8, &lossless, START);
    struct ipcr_publisher *p = publisher_on(s), *second = NULL;
    uint32_t by = 0;
    CHECK_IS(ipcr_publisher_open(s, 0, &by, &second), IPCR_TAKEN);
    CHECK_IS(by, getpid());
    CHECK(second == NULL);
    publish(p, 1);
    ipcr_publisher_free(p);
    p = publisher_on(s);
    ipcr_publisher_free(p);
    ipcr_segment_release(s);
}

/* --- a death -------------------------------------------------------------------------------------------------------------------- */

static void a_dead_publisher_is_noticed_by_who_waits_and_by_who_polls(void)
{
    for (int observe = 0; observe < 2; observe++) {
        struct ipcr_segment *s = multicast_of(DATA, 8, &lossless, START);
        struct ipcr_publisher *p = publisher_on(s);
        struct ipcr_subscriber *r = observe ? observer_on(s, IPCR_START_LATEST) : subscriber_on(s, IPCR_START_LATEST);
        CHECK_IS(ipcr_subscriber_look_around(r), IPCR_OK);
        publish(p, 1);
        die_publishing(p);
        r->slice_end_ns = 0;
        CHECK_IS(ipcr_subscriber_look_around(r), IPCR_OK); /* what it left comes first */
        CHECK_IS(wait_for_message(r, IPCR_FOREVER), IPCR_OK);
        check_receives(r, START, 1);
        CHECK_IS(wait_for_message(r, IPCR_FOREVER), IPCR_PEER_DIED);
        check_has_nothing(r);
        r->slice_end_ns = 0; /* the next slice */
        CHECK_IS(ipcr_subscriber_look_around(r), IPCR_PEER_DIED);
        CHECK_IS(ipcr_subscriber_look_around(r), IPCR_OK); /* once in a slice */
        p = publisher_on(s);
        publish(p, 1);
        check_receives(r, START + 1, 1);
        r->slice_end_ns = 0;
        CHECK_IS(ipcr_subscriber_look_around(r), IPCR_OK);
        ipcr_subscriber_free(r);
        ipcr_publisher_free(p);
        ipcr_segment_release(s);
    }
}

static void a_first_publisher_is_waited_for(void)
{
    struct ipcr_segment *s = multicast_of(DATA, 8, &lossless, START);
    struct ipcr_subscriber *r = subscriber_on(s, IPCR_START_LATEST);
    CHECK_IS(wait_for_message(r, in_ms(200)), IPCR_EMPTY); /* longer than a slice */
    ipcr_subscriber_free(r);
    ipcr_segment_release(s);
}

struct killed {
    struct ipcr_segment *segment;
    bool claims;
};

static void publish_until_killed(int ear, int mouth, void *arg)
{
    const struct killed *k = arg;
    (void)ear;
    struct ipcr_publisher *p = publisher_on(k->segment);
    publish(p, 5);
    if (k->claims) {
        CHECK_IS(ipcr_publisher_claim(p, NULL, DATA - 300), IPCR_OK);
        memset(ipcr_publisher_lent(p), 0xee, DATA - 300); /* over what was published, where nobody is in the way */
    }
    say(mouth, 'p');
    wait_for_end();
}

static void a_publisher_that_is_killed_is_replaced_without_a_gap(void)
{
    for (int kind = 0; kind < 4; kind++) {
        struct killed k = { .segment = multicast_of(DATA, 8, kind / 2 == 0 ? &lossless : &lossy, START),
                            .claims = kind % 2 == 1 };
        struct ipcr_subscriber *r = subscriber_on(k.segment, IPCR_START_LATEST);
        for (uint64_t life = 0; life < 5; life++) {
            struct child c = child_start(publish_until_killed, &k);
            CHECK_IS(hear(c.ear), 'p');
            if (!k.claims || kind / 2 == 0) {
                if (!k.claims)
                    check_receives(r, START + 6 * life, 5);
            } else { /* lossy: overwritten by the claim */
                while (try_receive(r) >= 0)
                    ;
                CHECK_IS(r->next, START + 6 * life + 5);
            }
            child_kill(&c);
            if (k.claims && kind / 2 == 0)
                check_receives(r, START + 6 * life, 5);
            struct ipcr_publisher *p = publisher_on(k.segment);
            CHECK_IS(try_publish(p), START + 6 * life + 5); /* the number that was not published */
            check_receives(r, START + 6 * life + 5, 1);
            die_publishing(p);
        }
        ipcr_subscriber_free(r);
        ipcr_segment_release(k.segment);
    }
}

/* A dead one's intent stands: nobody reads below it, and its successor asks all who are before it uses that room. */
static void what_a_dead_publisher_announced_is_not_taken_back(void)
{
    struct ipcr_segment *s = multicast_of(DATA, 8, &lossless, START);
    struct ipcr_publisher *p = publisher_on(s);
    struct ipcr_subscriber *r = subscriber_on(s, IPCR_START_LATEST);
    publish(p, 8);
    store_release64(&header_of(s)->oldest, START + 3); /* it announced, met r, and died */
    die_publishing(p);
    p = publisher_on(s);
    CHECK_IS(load_relaxed64(&header_of(s)->oldest), START + 3);
    CHECK_IS(try_publish(p), IPCR_FULL);
    CHECK_IS(p->blocked_by, r->number);
    struct ipcr_subscriber *late = subscriber_on(s, IPCR_START_OLDEST);
    check_receives(late, START + 3, 5);
    check_receives(r, START, 2);
    CHECK_IS(try_publish(p), IPCR_FULL);
    check_receives(r, START + 2, 1);
    CHECK_IS(until_full(p), 3);
    check_receives(r, START + 3, 8);
    check_receives(late, START + 8, 3);
    ipcr_subscriber_free(late);
    ipcr_subscriber_free(r);
    ipcr_publisher_free(p);
    ipcr_segment_release(s);
}

/* --- closing from another thread -------------------------------------------------------------------------------------------------- */

static void *wait_for_a_message(void *subscriber)
{
    return (void *)(intptr_t)wait_for_message(subscriber, IPCR_FOREVER);
}

static void *wait_for_some_room(void *publisher) { return (void *)(intptr_t)wait_for_room(publisher, IPCR_FOREVER); }

static void whoever_waits_is_woken_by_a_close_of_its_end(void)
{
    for (int kind = 0; kind < 6; kind++) {
        struct ipcr_segment *s = multicast_of(DATA, 8, &lossless, START);
        if (kind % 2 == 1)
            s->flags &= ~IPCR_FLAG_ASYMMETRIC;
        struct ipcr_publisher *p = publisher_on(s);
        struct ipcr_subscriber *r = kind / 2 == 2 ? observer_on(s, IPCR_START_LATEST)
                                                  : subscriber_on(s, IPCR_START_LATEST);
        pthread_t thread;
        void *rc;
        if (kind / 2 == 0) {
            until_full(p);
            CHECK(pthread_create(&thread, NULL, wait_for_some_room, p) == 0);
            while (load_acquire32(&p->seat.busy) != IPCR_SEAT_WAITING)
                sched_yield();
            ipcr_publisher_close(p);
        } else {
            CHECK(pthread_create(&thread, NULL, wait_for_a_message, r) == 0);
            while (load_acquire32(&r->seat.busy) != IPCR_SEAT_WAITING)
                sched_yield();
            ipcr_subscriber_close(r);
        }
        CHECK(pthread_join(thread, &rc) == 0);
        CHECK_IS((intptr_t)rc, IPCR_CLOSED);
        ipcr_subscriber_free(r);
        ipcr_publisher_free(p);
        ipcr_segment_release(s);
    }
}

static void a_subscriber_that_sleeps_is_woken_by_a_message_and_by_the_end(void)
{
    for (int asymmetric = 0; asymmetric < 2; asymmetric++)
        for (int how = 0; how < 3; how++) {
            struct ipcr_segment *s = multicast_of(DATA, 8, &lossless, START);
            if (!asymmetric)
                s->flags &= ~IPCR_FLAG_ASYMMETRIC;
            struct ipcr_publisher *p = publisher_on(s);
            struct ipcr_subscriber *r[2] = { subscriber_on(s, 0), subscriber_on(s, 0) };
            pthread_t threads[2];
            for (int i = 0; i < 2; i++)
                CHECK(pthread_create(&threads[i], NULL, wait_for_a_message, r[i]) == 0);
            while (load_acquire32(&r[0]->seat.busy) != IPCR_SEAT_WAITING ||
                   load_acquire32(&r[1]->seat.busy) != IPCR_SEAT_WAITING)
                sched_yield();
            if (how == 0) {
                publish(p, 1);
            } else if (how == 1) {
                ipcr_publisher_close(p);
            } else {
                CHECK_IS(ipcr_publisher_claim(p, NULL, 8), IPCR_OK);
                CHECK_IS(ipcr_publisher_commit(p, 8, 0), START);
            }
            for (int i = 0; i < 2; i++) {
                void *rc;
                CHECK(pthread_join(threads[i], &rc) == 0);
                CHECK_IS((intptr_t)rc, IPCR_OK);
                ipcr_subscriber_free(r[i]);
            }
            ipcr_publisher_free(p);
            ipcr_segment_release(s);
        }
}

struct rally {
    struct ipcr_publisher *there;
    struct ipcr_subscriber *back;
    int n;
};

static void *return_all(void *arg)
{
    const struct rally *const r = arg;
    for (int i = 0; i < r->n; i++) {
        CHECK_IS(receive_waiting(r->back), START + i);
        publish(r->there, 1);
    }
    return NULL;
}

/* Answers come sooner than one could sleep: they are spun for, in the call that finds nothing or in the wait. */
static void an_answer_that_is_spun_for_is_as_good_as_any(void)
{
    const uint64_t spin_ns = 50000000;
    struct ipcr_segment *s = multicast_of(DATA, 8, &lossless, START), *t = multicast_of(DATA, 8, &lossless, START);
    struct ipcr_publisher *p = NULL;
    uint32_t by;
    CHECK_IS(ipcr_publisher_open(s, spin_ns, &by, &p), IPCR_OK);
    struct ipcr_subscriber_inbox inbox = {
        .subscriber = subscribe(t, (struct ipcr_subscription){ .spin_ns = spin_ns }, NULL),
    };
    struct rally r = { .there = publisher_on(t), .back = subscriber_on(s, IPCR_START_LATEST), .n = FEWER(300, 100) };
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, return_all, &r) == 0);
    for (int i = 0; i < r.n; i++) {
        int64_t rc;
        CHECK_IS(publish_waiting(p, LENGTH), START + i);
        if (i % 2 == 0)
            while (wait_for_message(inbox.subscriber, IPCR_FOREVER) != IPCR_OK)
                ;
        while ((rc = ipcr_subscriber_recv_into(&inbox)) == IPCR_EMPTY)
            ;
        CHECK_IS(rc, LENGTH);
        CHECK(is_stamped((const uint8_t *)inbox.bytes, LENGTH, START + (uint64_t)i));
    }
    CHECK(pthread_join(thread, NULL) == 0);
    ipcr_subscriber_free(inbox.subscriber);
    ipcr_subscriber_free(r.back);
    ipcr_publisher_free(r.there);
    ipcr_publisher_free(p);
    ipcr_segment_release(t);
    ipcr_segment_release(s);
}

static void what_is_closed_says_so_and_leaves_at_once(void)
{
    struct ipcr_segment *s = multicast_of(DATA, 8, &lossless, START);
    struct ipcr_publisher *p = publisher_on(s);
    struct ipcr_subscriber *r = subscriber_on(s, IPCR_START_LATEST);
    struct ipcr_subscriber_inbox inbox = { .subscriber = r };
    char out[8];
    ipcr_publisher_close(p);
    ipcr_publisher_close(p);
    ipcr_subscriber_close(r);
    ipcr_subscriber_close(r);
    CHECK_IS(load_relaxed32(&header_of(s)->cursor[0].state) & IPCR_CURSOR_MASK, IPCR_CURSOR_FREE);
    CHECK_IS(ipcr_publish_bytes(p, "", 0), IPCR_CLOSED);
    CHECK_IS(ipcr_publish(p, NULL, NULL, 0, 0), IPCR_CLOSED);
    CHECK_IS(ipcr_publish_many(p, NULL, "", NULL, NULL, 0), IPCR_CLOSED);
    CHECK_IS(ipcr_publisher_claim(p, NULL, 0), IPCR_CLOSED);
    CHECK_IS(ipcr_publisher_commit(p, 0, 0), IPCR_CLOSED);
    CHECK_IS(ipcr_publisher_abort(p), IPCR_CLOSED);
    CHECK_IS(ipcr_publisher_wait(p, IPCR_FOREVER, 0), IPCR_CLOSED);
    CHECK_IS(ipcr_publisher_wait(p, IPCR_FOREVER, 1), IPCR_CLOSED);
    CHECK_IS(ipcr_publisher_look_around(p), IPCR_CLOSED);
    CHECK_IS(ipcr_subscriber_copy(r, out, sizeof out), IPCR_CLOSED);
    CHECK_IS(ipcr_subscriber_recv_into(&inbox), IPCR_CLOSED);
    CHECK_IS(ipcr_subscriber_recv_many(r, out, sizeof out, NULL, NULL, NULL, 0), IPCR_CLOSED);
    CHECK_IS(ipcr_subscriber_settle(r, 0, 0, 0), IPCR_CLOSED);
    CHECK_IS(ipcr_subscriber_peek(r), IPCR_CLOSED);
    CHECK_IS(ipcr_subscriber_release(r), IPCR_CLOSED);
    CHECK_IS(ipcr_subscriber_put_back(r), IPCR_CLOSED);
    CHECK_IS(ipcr_subscriber_wait(r, IPCR_FOREVER, 0), IPCR_CLOSED);
    CHECK_IS(ipcr_subscriber_look_around(r), IPCR_CLOSED);
    ipcr_subscriber_stop_waiting(r);
    ipcr_subscriber_free(r);
    ipcr_publisher_free(p);
    ipcr_segment_release(s);
}

int main(void)
{
    check_begin();
    run("what was published before a close comes before the end", what_was_published_before_a_close_comes_before_the_end);
    run("a new publisher goes on where the last one ended", a_new_publisher_goes_on_where_the_last_one_ended);
    run("there is one publisher at a time", there_is_one_publisher_at_a_time);
    run("a dead publisher is noticed by who waits and by who polls",
        a_dead_publisher_is_noticed_by_who_waits_and_by_who_polls);
    run("a first publisher is waited for", a_first_publisher_is_waited_for);
    run("a publisher that is killed is replaced without a gap", a_publisher_that_is_killed_is_replaced_without_a_gap);
    run("what a dead publisher announced is not taken back", what_a_dead_publisher_announced_is_not_taken_back);
    run("whoever waits is woken by a close of its end", whoever_waits_is_woken_by_a_close_of_its_end);
    run("a subscriber that sleeps is woken by a message, and by the end",
        a_subscriber_that_sleeps_is_woken_by_a_message_and_by_the_end);
    run("an answer that is spun for is as good as any", an_answer_that_is_spun_for_is_as_good_as_any);
    run("what is closed says so, and leaves at once", what_is_closed_says_so_and_leaves_at_once);
    return check_finish();
}

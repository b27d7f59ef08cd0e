/* test_multicast_room.c - a lossless publisher and the slowest of its subscribers: whom it waits for, whom it evicts,
 * and what it says of the one that is in the way. */
#include "multicasts.h"

enum { START = 77 };

/* --- the slowest ------------------------------------------------------------------------------------------------------ */

static void the_publisher_waits_for_the_slowest_and_for_nobody_else(void)
{
    for (int by_bytes = 0; by_bytes < 2; by_bytes++) {
        struct ipcr_segment *s = multicast_of(DATA, by_bytes ? 256 : 8, &lossless, START);
        struct ipcr_publisher *p = publisher_on(s);
        struct ipcr_subscriber *slow = subscriber_on(s, IPCR_START_LATEST), *fast = subscriber_on(s, IPCR_START_LATEST);
        const int room = by_bytes ? DATA / LENGTH : 8;
        CHECK_IS(until_full(p), room);
        check_receives(fast, START, (uint64_t)room);
        CHECK_IS(try_publish(p), IPCR_FULL);
        for (uint64_t n = 0; n < 5 * (uint64_t)room; n++) { /* each one that it reads is room for one more */
            check_receives(slow, START + n, 1);
            CHECK_IS(until_full(p), 1);
            CHECK_IS(p->blocked_by, slow->number);
            check_receives(fast, START + n + (uint64_t)room, 1);
        }
        ipcr_subscriber_free(slow); /* who leaves is in nobody's way */
        CHECK_IS(until_full(p), room);
        CHECK_IS(p->blocked_by, fast->number);
        ipcr_subscriber_free(fast);
        publish(p, 3 * room);
        ipcr_publisher_free(p);
        ipcr_segment_release(s);
    }
}

static void who_joined_at_the_oldest_is_waited_for_from_there(void)
{
    struct ipcr_segment *s = multicast_of(DATA, 8, &lossless, START);
    struct ipcr_publisher *p = publisher_on(s);
    publish(p, 20);
    struct ipcr_subscriber *r = subscriber_on(s, IPCR_START_OLDEST);
    CHECK_IS(until_full(p), 0);
    check_receives(r, START + 12, 3);
    CHECK_IS(until_full(p), 3);
    check_receives(r, START + 15, 8);
    check_has_nothing(r);
    ipcr_subscriber_free(r);
    ipcr_publisher_free(p);
    ipcr_segment_release(s);
}

/* Room is given up somewhat ahead of need, but not over somebody who has joined since all were looked at. */
static void no_more_is_given_up_than_who_joined_late_has_read(void)
{
    struct ipcr_segment *s = multicast_of(4 * DATA, 64, &lossless, START);
    struct ipcr_publisher *p = publisher_on(s);
    struct ipcr_subscriber *r = subscriber_on(s, IPCR_START_LATEST);
    CHECK_IS(until_full(p), 64);
    check_receives(r, START, 64);
    publish(p, 1);
    CHECK(p->oldest > START + 1); /* ahead of need */
    struct ipcr_subscriber *late = subscriber_on(s, IPCR_START_OLDEST);
    const uint64_t from = late->next;
    check_receives(late, from, 2);
    check_receives(r, START + 64, 1);
    until_full(p);
    CHECK_IS(p->next, late->next + 64);
    check_receives(late, from + 2, 64);
    ipcr_subscriber_free(late);
    ipcr_subscriber_free(r);
    ipcr_publisher_free(p);
    ipcr_segment_release(s);
}

static void an_observer_is_in_nobodys_way(void)
{
    struct ipcr_segment *s = multicast_of(DATA, 8, &lossless, START);
    struct ipcr_publisher *p = publisher_on(s);
    struct ipcr_subscriber *o = observer_on(s, IPCR_START_LATEST), *r = subscriber_on(s, IPCR_START_LATEST);
    for (uint64_t n = START; n < START + 30; n++) {
        publish(p, 1);
        check_receives(r, n, 1);
    }
    CHECK_IS(try_receive(o), START + 22);
    CHECK_IS(ipcr_subscriber_last_lost(o), 22);
    CHECK_IS(load_relaxed32(&header_of(s)->subscribers_high), 1); /* it has no number */
    ipcr_subscriber_free(o);
    ipcr_subscriber_free(r);
    ipcr_publisher_free(p);
    ipcr_segment_release(s);
}

/* --- who is in the way -------------------------------------------------------------------------------------------------- */

static void a_publisher_in_want_of_room_says_who_is_in_the_way_and_how_far_behind(void)
{
    struct ipcr_segment *s = multicast_of(DATA, 8, &lossless, START);
    struct ipcr_publisher *p = publisher_on(s);
    struct ipcr_subscriber *fast = subscriber_on(s, IPCR_START_LATEST), *slow = subscriber_on(s, IPCR_START_LATEST);
    struct ipcr_laggard laggard;
    const uint64_t begun = now_ns();
    ipcr_publisher_laggard(p, &laggard);
    CHECK_IS(laggard.subscriber, IPCR_NO_SUBSCRIBER);
    until_full(p);
    check_receives(fast, START, 8);
    check_receives(slow, START, 3);
    CHECK_IS(until_full(p), 3);
    CHECK_IS(wait_for_room(p, now_ns() + 1000000), IPCR_FULL);
    ipcr_publisher_laggard(p, &laggard);
    CHECK_IS(laggard.subscriber, slow->number);
    CHECK_IS(laggard.pid, getpid());
    CHECK_IS(laggard.behind, 8);
    CHECK_IS(laggard.must_reach, 4); /* messages from 0, as those are that are sent */
    CHECK(laggard.since_ns >= 1000000 && laggard.since_ns <= now_ns() - begun);
    const uint64_t before = now_ns();
    check_receives(slow, START + 3, 1);
    CHECK_IS(until_full(p), 1);
    CHECK_IS(try_publish(p), IPCR_FULL);
    struct ipcr_laggard moved;
    ipcr_publisher_laggard(p, &moved);
    CHECK_IS(moved.must_reach, 5);
    CHECK(moved.since_ns <= now_ns() - before); /* counted anew: it has moved */
    ipcr_subscriber_free(slow);
    ipcr_subscriber_free(fast);
    ipcr_publisher_free(p);
    ipcr_segment_release(s);
}

static void the_dead_are_evicted_at_the_end_of_a_slice_and_the_living_are_not(void)
{
    for (int polling = 0; polling < 2; polling++) {
        struct ipcr_segment *s = multicast_of(DATA, 8, &lossless, START);
        struct ipcr_publisher *p = publisher_on(s);
        struct ipcr_subscriber *first = subscriber_on(s, IPCR_START_LATEST), *r = subscriber_on(s, IPCR_START_LATEST);
        ipcr_word32 *const state = &header_of(s)->cursor[first->number].state;
        die_subscribed(first);
        until_full(p);
        check_receives(r, START, 8);
        CHECK_IS(try_publish(p), IPCR_FULL);
        if (polling)
            CHECK_IS(ipcr_publisher_look_around(p), IPCR_OK);
        else
            CHECK_IS(wait_for_room(p, IPCR_FOREVER), IPCR_OK);
        CHECK_IS(load_relaxed32(state) & IPCR_CURSOR_MASK, IPCR_CURSOR_EVICTED);
        CHECK_IS(load_relaxed64(&header_of(s)->evicted), 0); /* those are the living */
        CHECK_IS(until_full(p), 8);
        CHECK_IS(ipcr_publisher_look_around(p), IPCR_OK);
        CHECK_IS(wait_for_room(p, in_ms(1)), IPCR_FULL);
        check_receives(r, START + 8, 8);
        struct ipcr_subscriber *next = subscriber_on(s, IPCR_START_LATEST); /* the number is free, for all to use */
        CHECK_IS(next->number, 0);
        publish(p, 1);
        check_receives(next, START + 16, 1);
        ipcr_subscriber_free(next);
        ipcr_subscriber_free(r);
        ipcr_publisher_free(p);
        ipcr_segment_release(s);
    }
}

/* Between its JOINING and its place, as by a kill there. */
static void who_died_while_joining_is_waited_for_until_that_is_known(void)
{
    struct ipcr_segment *s = multicast_of(DATA, 8, &lossless, START);
    struct ipcr_publisher *p = publisher_on(s);
    struct ipcr_subscriber *dead = subscriber_on(s, IPCR_START_LATEST);
    struct ipcr_laggard laggard;
    const uint32_t number = dead->number;
    ipcr_word32 *const state = &header_of(s)->cursor[number].state;
    publish(p, 1);
    store_relaxed32(state, (load_relaxed32(state) & ~IPCR_CURSOR_MASK) | IPCR_CURSOR_JOINING);
    die_subscribed(dead);
    CHECK_IS(until_full(p), 7); /* what is free needs nobody's leave */
    CHECK_IS(try_publish(p), IPCR_FULL); /* again: now by the one that was in the way before */
    ipcr_publisher_laggard(p, &laggard);
    CHECK_IS(laggard.subscriber, number);
    CHECK_IS(wait_for_room(p, IPCR_FOREVER), IPCR_OK);
    CHECK_IS(load_relaxed32(state) & IPCR_CURSOR_MASK, IPCR_CURSOR_EVICTED);
    publish(p, 20);
    ipcr_publisher_free(p);
    store_relaxed32(state, (load_relaxed32(state) & ~IPCR_CURSOR_MASK) | IPCR_CURSOR_JOINING);
    p = publisher_on(s); /* which doesn't know yet what it may overwrite */
    CHECK_IS(try_publish(p), IPCR_FULL);
    CHECK_IS(try_publish(p), IPCR_FULL);
    CHECK_IS(wait_for_room(p, IPCR_FOREVER), IPCR_OK);
    publish(p, 20);
    ipcr_publisher_free(p);
    ipcr_segment_release(s);
}

/* --- evicting the living -------------------------------------------------------------------------------------------------- */

static void a_laggard_is_evicted_alive_told_so_and_may_come_back(void)
{
    struct ipcr_segment *s = multicast_of(DATA, 8, &evicting, START);
    struct ipcr_publisher *p = publisher_on(s);
    struct ipcr_subscriber *slow = subscriber_on(s, IPCR_START_LATEST), *fast = subscriber_on(s, IPCR_START_LATEST);
    for (uint64_t n = START; n < START + 8; n++) {
        publish(p, 1);
        check_receives(fast, n, 1);
    }
    CHECK_IS(state_of(slow), IPCR_CURSOR_ACTIVE); /* nothing of it is needed yet */
    publish(p, 1);
    CHECK_IS(state_of(slow), IPCR_CURSOR_EVICTED);
    CHECK_IS(state_of(fast), IPCR_CURSOR_ACTIVE);
    CHECK_IS(load_relaxed64(&header_of(s)->evicted), 1);
    char out[LENGTH];
    int64_t result;
    uint64_t sequence, lost;
    CHECK_IS(try_receive(slow), IPCR_LAGGED_OUT);
    CHECK_IS(ipcr_subscriber_recv_many(slow, out, sizeof out, &result, &sequence, &lost, 1), IPCR_LAGGED_OUT);
    CHECK_IS(wait_for_message(slow, IPCR_FOREVER), IPCR_OK); /* at once: there is something to be told */
    CHECK_IS(try_receive(slow), IPCR_LAGGED_OUT);
    publish(p, 20);
    struct ipcr_subscriber *again = subscriber_on(s, IPCR_START_OLDEST); /* `slow` still has its number */
    CHECK_IS(again->number, 2);
    check_receives(again, START + 21, 8);
    ipcr_subscriber_free(slow);
    CHECK_IS(load_relaxed32(&header_of(s)->cursor[0].state) & IPCR_CURSOR_MASK, IPCR_CURSOR_FREE);
    ipcr_subscriber_free(again);
    ipcr_subscriber_free(fast);
    ipcr_publisher_free(p);
    ipcr_segment_release(s);
}

/* Evicted when all was read: there is nothing to read, and it is told all the same. */
static void who_was_evicted_without_a_message_before_it_is_told_too(void)
{
    struct ipcr_segment *s = multicast_of(DATA, 8, &evicting, START);
    struct ipcr_publisher *p = publisher_on(s);
    struct ipcr_subscriber *r = subscriber_on(s, IPCR_START_LATEST);
    ipcr_word32 *const state = &header_of(s)->cursor[0].state;
    store_relaxed32(state, (load_relaxed32(state) & ~IPCR_CURSOR_MASK) | IPCR_CURSOR_EVICTED);
    CHECK_IS(try_receive(r), IPCR_LAGGED_OUT);
    ipcr_subscriber_free(r);
    ipcr_publisher_free(p);
    ipcr_segment_release(s);
}

static void a_joiner_that_is_stopped_blocks_nobody_where_laggards_are_evicted(void)
{
    struct ipcr_segment *s = multicast_of(DATA, 8, &evicting, START);
    struct ipcr_publisher *p = publisher_on(s);
    struct ipcr_subscriber *stopped = subscriber_on(s, IPCR_START_LATEST);
    ipcr_word32 *const state = &header_of(s)->cursor[0].state;
    publish(p, 1);
    store_relaxed32(state, (load_relaxed32(state) & ~IPCR_CURSOR_MASK) | IPCR_CURSOR_JOINING);
    CHECK_IS(until_full(p), 7);
    CHECK_IS(wait_for_room(p, IPCR_FOREVER), IPCR_OK);
    CHECK_IS(state_of(stopped), IPCR_CURSOR_EVICTED);
    publish(p, 20);
    ipcr_subscriber_free(stopped);
    ipcr_publisher_free(p);
    ipcr_segment_release(s);
}

static void nobody_may_be_further_behind_than_max_lag(void)
{
    for (uint64_t max_lag = 1; max_lag <= 10; max_lag++) {
        const struct ipcr_multicast_options out = { .on_laggard = IPCR_EVICT_LAGGARDS, .max_lag = max_lag };
        const struct ipcr_multicast_options in = { .on_laggard = IPCR_WAIT_FOR_LAGGARDS, .max_lag = max_lag };
        const int room = max_lag < 8 ? (int)max_lag : 8;
        struct ipcr_segment *s = multicast_of(DATA, 8, &out, START);
        struct ipcr_publisher *p = publisher_on(s);
        struct ipcr_subscriber *r = subscriber_on(s, IPCR_START_LATEST);
        publish(p, room);
        CHECK_IS(state_of(r), IPCR_CURSOR_ACTIVE);
        publish(p, 1);
        CHECK_IS(state_of(r), IPCR_CURSOR_EVICTED);
        ipcr_subscriber_free(r);
        ipcr_publisher_free(p);
        ipcr_segment_release(s);

        s = multicast_of(DATA, 8, &in, START);
        p = publisher_on(s);
        r = subscriber_on(s, IPCR_START_LATEST);
        CHECK_IS(until_full(p), room);
        check_receives(r, START, 1);
        CHECK_IS(until_full(p), 1);
        struct ipcr_subscriber *late = subscriber_on(s, IPCR_START_OLDEST); /* further behind than may be: waited for */
        CHECK_IS(until_full(p), 0);
        check_receives(late, late->next, p->next - late->next);
        check_receives(r, START + 1, (uint64_t)room);
        CHECK_IS(until_full(p), room);
        ipcr_subscriber_free(late);
        ipcr_subscriber_free(r);
        ipcr_publisher_free(p);
        ipcr_segment_release(s);
    }
}

/* --- between two slices ------------------------------------------------------------------------------------------------------ */

static void a_wait_that_is_given_up_leaves_the_publisher_free(void)
{
    struct ipcr_segment *s = multicast_of(DATA, 8, &lossless, START);
    struct ipcr_publisher *p = publisher_on(s);
    struct ipcr_subscriber *r = subscriber_on(s, IPCR_START_LATEST);
    until_full(p);
    CHECK_IS(ipcr_publisher_wait(p, IPCR_FOREVER, 0), IPCR_AGAIN); /* a slice */
    CHECK_IS(try_publish(p), IPCR_BUSY);
    CHECK_IS(ipcr_publisher_look_around(p), IPCR_BUSY);
    ipcr_publisher_stop_waiting(p);
    CHECK_IS(try_publish(p), IPCR_FULL);
    CHECK_IS(ipcr_publisher_wait(p, now_ns() - 1, 0), IPCR_FULL);
    check_receives(r, START, 1);
    CHECK_IS(ipcr_publisher_wait(p, now_ns() - 1, 0), IPCR_OK);
    publish(p, 1);
    ipcr_subscriber_free(r);
    ipcr_publisher_free(p);
    ipcr_segment_release(s);
}

int main(void)
{
    check_begin();
    run("the publisher waits for the slowest, and for nobody else",
        the_publisher_waits_for_the_slowest_and_for_nobody_else);
    run("who joined at the oldest is waited for from there", who_joined_at_the_oldest_is_waited_for_from_there);
    run("no more is given up than who joined late has read", no_more_is_given_up_than_who_joined_late_has_read);
    run("an observer is in nobody's way", an_observer_is_in_nobodys_way);
    run("a publisher in want of room says who is in the way, and how far behind",
        a_publisher_in_want_of_room_says_who_is_in_the_way_and_how_far_behind);
    run("the dead are evicted at the end of a slice, and the living are not",
        the_dead_are_evicted_at_the_end_of_a_slice_and_the_living_are_not);
    run("who died while joining is waited for until that is known",
        who_died_while_joining_is_waited_for_until_that_is_known);
    run("a laggard is evicted alive, told so, and may come back", a_laggard_is_evicted_alive_told_so_and_may_come_back);
    run("who was evicted without a message before it is told too",
        who_was_evicted_without_a_message_before_it_is_told_too);
    run("a joiner that is stopped blocks nobody where laggards are evicted",
        a_joiner_that_is_stopped_blocks_nobody_where_laggards_are_evicted);
    run("nobody may be further behind than max_lag", nobody_may_be_further_behind_than_max_lag);
    run("a wait that is given up leaves the publisher free", a_wait_that_is_given_up_leaves_the_publisher_free);
    return check_finish();
}

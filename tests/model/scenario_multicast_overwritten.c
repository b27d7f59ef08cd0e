/* scenario_multicast_overwritten.c - bytes that are overwritten while they are read, and who is evicted while it leaves. */
#include "multicasts.h"

enum { FIRST = 1, SECOND = 2, THIRD = 3, MESSAGES = 2, ENTRIES = 4 };

static struct ipcr_publisher *publisher;
static struct ipcr_subscriber *one;
static bool is_over;

static void two_are_there(uint64_t policy, uint64_t on_laggard, uint32_t entries)
{
    is_over = false;
    act_as(0);
    make_multicast(entries, policy, on_laggard);
    publisher = new_publisher();
    for (int process = 1; process < 3; process++) {
        act_as(process);
        join_multicast();
    }
    act_as(1);
    one = new_subscriber(IPCR_START_LATEST);
    act_as(0);
    for (int i = 0; i < MESSAGES; i++)
        MUST(publish_next(publisher, START_SEQUENCE + i) == IPCR_OK);
}

/* --- raw bytes, over what a lossy subscriber may be copying ---------------------------------------------------------------- */

static void lossy(void) { two_are_there(IPCR_LOSSY, IPCR_WAIT_FOR_LAGGARDS, ENTRIES); }

/* The claim takes the room that is left, and more; nobody writes there.  What follows lies over the first two. */
static void publish_round_the_ring(void)
{
    MUST(core()->publisher_claim(publisher, NULL, NEARLY_ALL) == IPCR_OK);
    MUST(core()->publisher_commit(publisher, NEARLY_ALL - 128, 0) == START_SEQUENCE + MESSAGES);
    for (int i = 1; i < 4; i++)
        MUST(core()->publish_bytes(publisher, message(publisher->next, 64), 64) == START_SEQUENCE + MESSAGES + i);
    core()->publisher_close(publisher);
}

/* Messages whose bytes were written: the claim's is passed over by its length. */
static void read_what_is_whole(void)
{
    char bytes[64];
    for (;;) {
        const int64_t rc = core()->subscriber_copy(one, bytes, sizeof bytes);
        const uint64_t sequence = core()->subscriber_last_sequence(one);
        if (rc == IPCR_END_OF_CHANNEL)
            return;
        if (rc == IPCR_EMPTY) {
            MUST(wait_for_message_of(one) == IPCR_OK);
        } else if (rc >= 0 && (rc & IPCR_RESULT_LENT) != 0) {
            return; /* long: the claim's */
        } else {
            MUST(rc == (sequence < START_SEQUENCE + MESSAGES ? LENGTH_OF_ALL : 64));
            MUST(is_message(bytes, sequence, (uint64_t)rc));
        }
    }
}

static void perform_round_the_ring(void)
{
    model_start(FIRST, 0, publish_round_the_ring);
    model_start(SECOND, 1, read_what_is_whole);
}

/* --- a message that lies over the end of the ring, as an observer copies it ------------------------------------------------ */

enum { OVER_THE_END = 80 };
static const struct ipcr_topic topic = { .name = "abcdefgh", .length = 8, .number = 7 };
static struct ipcr_subscriber *observer;

static void observed_by_topic(void)
{
    const struct ipcr_subscription wanted = { .start = IPCR_START_LATEST, .topics = 1, .observe = 1, .interval_ns = 1000 };
    uint64_t oldest, next;
    act_as(0);
    make_multicast(ENTRIES, IPCR_LOSSY, IPCR_WAIT_FOR_LAGGARDS);
    publisher = new_publisher();
    act_as(2);
    join_multicast();
    MUST(core()->subscriber_open(multicast(), &wanted, &topic, &oldest, &next, &observer) == IPCR_OK);
}

/* Each behind a claim that nobody reads, so that both lie over the end of the ring. */
static void publish_over_the_end(void)
{
    for (uint64_t n = START_SEQUENCE + 1; n < START_SEQUENCE + 4; n += 2) {
        const uint64_t used = n == START_SEQUENCE + 1 ? CAPACITY_OF_ALL - 64 : CAPACITY_OF_ALL - 96;
        MUST(core()->publisher_claim(publisher, NULL, NEARLY_ALL) == IPCR_OK);
        MUST(core()->publisher_commit(publisher, used, 0) == (int64_t)n - 1);
        const struct ipcr_piece piece = { .data = message(n, OVER_THE_END), .length = OVER_THE_END };
        MUST(core()->publish(publisher, &topic, &piece, 1, IPCR_INFO(0, IPCR_BYTES)) == (int64_t)n);
    }
    core()->publisher_close(publisher);
}

static void observe_the_topic(void)
{
    char bytes[OVER_THE_END];
    for (;;) {
        const int64_t rc = core()->subscriber_copy(observer, bytes, sizeof bytes);
        if (rc == IPCR_END_OF_CHANNEL)
            break;
        if (rc == IPCR_EMPTY) {
            MUST(wait_for_message_of(observer) == IPCR_OK);
            continue;
        }
        MUST(rc == OVER_THE_END);
        MUST(is_message(bytes, core()->subscriber_last_sequence(observer), OVER_THE_END));
    }
    MUST(core()->subscriber_last_sequence(observer) == START_SEQUENCE + 3); /* the last one is never overwritten */
}

static void perform_over_the_end(void)
{
    model_start(FIRST, 0, publish_over_the_end);
    model_start(THIRD, 2, observe_the_topic);
}

/* --- a successor, over what is being read where it lies ------------------------------------------------------------------ */

static void in_place(void) { two_are_there(IPCR_LOSSLESS, IPCR_WAIT_FOR_LAGGARDS, 2); }

static int publish_over_both(struct ipcr_publisher *p)
{
    int rc;
    while ((rc = core()->publisher_claim(p, NULL, NEARLY_ALL)) == IPCR_FULL)
        MUST(wait_for_room_of(p) == IPCR_OK);
    if (rc == IPCR_OK) {
        copy_in((uint8_t *)core()->publisher_lent(p) + NEARLY_ALL - USED_OF_IT, "overtake", USED_OF_IT);
        MUST(core()->publisher_commit(p, USED_OF_IT, 0) >= 0);
    }
    return rc;
}

static void publish_and_die(void)
{
    MUST(publish_over_both(publisher) == IPCR_OK);
    core()->publisher_close(publisher);
}

static void succeed(void)
{
    struct ipcr_publisher *p;
    int rc;
    while ((rc = open_publisher(&p)) == IPCR_TAKEN)
        look_later();
    MUST(rc == IPCR_OK);
    if (p->next == START_SEQUENCE + MESSAGES)
        MUST(publish_over_both(p) == IPCR_OK);
    is_over = true;
}

static void read_both_in_place(void)
{
    char bytes[LENGTH_OF_ALL];
    for (uint64_t n = START_SEQUENCE; n < START_SEQUENCE + MESSAGES; n++) {
        MUST(core()->subscriber_peek(one) == LENGTH_OF_ALL);
        copy_out(bytes, (const uint8_t *)core()->subscriber_lent(one), LENGTH_OF_ALL);
        MUST(is_message(bytes, n, LENGTH_OF_ALL));
        MUST(core()->subscriber_release(one) == IPCR_OK);
    }
}

static void perform_in_place(void)
{
    model_start(FIRST, 0, publish_and_die);
    model_start(SECOND, 1, read_both_in_place);
    model_start(THIRD, 2, succeed);
    model_fibers[FIRST].mortal = true;
}

/* --- one that lags is evicted, or leaves, and another one gets its number ---------------------------------------------------- */

static void one_lags(void) { two_are_there(IPCR_LOSSLESS, IPCR_EVICT_LAGGARDS, 2); }

static void publish_one_more(void)
{
    int64_t rc;
    while ((rc = core()->publish_bytes(publisher, message(publisher->next, LENGTH_OF_ALL), LENGTH_OF_ALL)) == IPCR_FULL)
        MUST(wait_for_room_of(publisher) == IPCR_OK); /* for somebody who joins */
    MUST(rc == START_SEQUENCE + MESSAGES);
    core()->publisher_close(publisher);
}

static void one_leaves(void) { core()->subscriber_close(one); }

static void come_at_the_latest(void)
{
    struct ipcr_subscriber *s = new_subscriber(IPCR_START_LATEST);
    int64_t sequence;
    while ((sequence = receive_next(s)) >= 0)
        MUST(sequence == START_SEQUENCE + MESSAGES);
    MUST(sequence == IPCR_END_OF_CHANNEL); /* and not LAGGED_OUT: it never was behind */
}

static void perform_one_lags(void)
{
    model_start(FIRST, 0, publish_one_more);
    model_start(SECOND, 1, one_leaves);
    model_start(THIRD, 2, come_at_the_latest);
}

/* --- two threads want to wait with one subscriber: whoever is told that it is busy gives up, as Python does --------------------- */

static void none_is_there(void)
{
    act_as(0);
    make_multicast(2, IPCR_LOSSLESS, IPCR_WAIT_FOR_LAGGARDS);
    publisher = new_publisher();
    act_as(1);
    join_multicast();
    one = new_subscriber(IPCR_START_LATEST);
}

static void publish_one(void)
{
    MUST(publish_next(publisher, START_SEQUENCE) == IPCR_OK);
    is_over = true;
}

static void wait_now_and_then(void)
{
    for (int i = 0; i < 2; i++) {
        const int rc = core()->subscriber_wait(one, model_now + 1000, 0);
        MUST(rc == IPCR_OK || rc == IPCR_EMPTY || rc == IPCR_AGAIN || rc == IPCR_BUSY);
        core()->subscriber_stop_waiting(one);
    }
}

static void wait_for_it(void)
{
    for (int rc = IPCR_AGAIN, resume = 0; rc != IPCR_OK;) {
        rc = core()->subscriber_wait(one, IPCR_FOREVER, resume);
        MUST(rc == IPCR_OK || rc == IPCR_AGAIN || (rc == IPCR_BUSY && !resume));
        resume = rc == IPCR_AGAIN;
        if (rc == IPCR_BUSY)
            look_later();
    }
}

static void perform_both_wait(void)
{
    model_start(FIRST, 0, publish_one);
    model_start(SECOND, 1, wait_now_and_then);
    model_start(THIRD, 1, wait_for_it);
}

/* --- two threads close it ---------------------------------------------------------------------------------------------- */

static void close_one(void) { core()->subscriber_close(one); }
static void close_publisher(void) { core()->publisher_close(publisher); }

static void perform_close_twice(void)
{
    model_start(FIRST, 1, close_one);
    model_start(SECOND, 1, close_one);
    model_start(THIRD, 0, close_publisher);
}

#define SCENARIO(name_, says_, set_up_, perform_)                                                                      \
    .name = (name_), .says = (says_), .set_up = (set_up_), .perform = (perform_)
static const struct scenario scenarios[] = {
    { SCENARIO("multicast-round-the-ring", "Bytes that are written over those that somebody copies are not believed.", lossy,
               perform_round_the_ring), .both = true },
    { SCENARIO("multicast-successor-in-place", "Nor does a successor overwrite what is read where it lies.", in_place,
               perform_in_place), .deaths = 1, .patience_ns = IPCR_SLICE_NS },
    { SCENARIO("multicast-both-wait", "Nobody who was told that another thread waits takes its place away.", none_is_there,
               perform_both_wait), .patience_ns = 1000000 },
    { SCENARIO("multicast-close-twice", "Two threads that close it give back what it held once.", none_is_there,
               perform_close_twice), .patience_ns = 1000000 },
    { SCENARIO("multicast-over-the-end", "Nor are those that an observer copies from both ends of the ring.",
               observed_by_topic, perform_over_the_end), .patience_ns = 1000000, .both = true },
    { SCENARIO("multicast-lags-and-leaves", "Who gets the number of one that was to be evicted is not evicted for it.",
               one_lags, perform_one_lags), .patience_ns = IPCR_SLICE_NS },
};
ADD_SCENARIOS(scenarios)

/* scenario_multicast_slices.c - slices end while those whom somebody waits for are stopped, and live: time passes here when a
 * third one says so, and not only when nobody can go on.
 */
#include "multicasts.h"

enum { FIRST = 1, SECOND = 2, THIRD = 3, MESSAGES = 4 };

static struct ipcr_publisher *publisher;
static struct ipcr_subscriber *one;
static int64_t returned; /* messages of which the publisher knew that they were published */

static void set_up(uint64_t on_laggard)
{
    act_as(0);
    make_multicast(2, IPCR_LOSSLESS, on_laggard);
    publisher = new_publisher();
    for (int process = 1; process < 3; process++) {
        act_as(process);
        join_multicast();
    }
}

static void subscribe_one(void)
{
    act_as(1);
    one = new_subscriber(IPCR_START_LATEST);
}

static void waited_for(void)
{
    set_up(IPCR_WAIT_FOR_LAGGARDS);
    subscribe_one();
}

static void end_slices(void)
{
    model_pass_time(IPCR_SLICE_NS);
    model_pass_time(IPCR_SLICE_NS);
}

static void publish_all(void)
{
    for (int i = (int)(publisher->next - START_SEQUENCE); i < MESSAGES; i++) {
        MUST(publish_next(publisher, START_SEQUENCE + i) == IPCR_OK);
        returned = i + 1;
    }
    core()->publisher_close(publisher);
}

/* --- slow, and alive -------------------------------------------------------------------------------------------------- */

static void read_all(void)
{
    receive_all(one, START_SEQUENCE, MESSAGES);
    MUST(receive_next(one) == IPCR_END_OF_CHANNEL);
}

static void perform_slow(void)
{
    model_start(FIRST, 0, publish_all);
    model_start(SECOND, 1, read_all);
    model_start(THIRD, 2, end_slices);
}

/* --- stopped while it joins -------------------------------------------------------------------------------------------- */

static void full(void)
{
    set_up(IPCR_EVICT_LAGGARDS);
    act_as(0);
    MUST(publish_next(publisher, START_SEQUENCE) == IPCR_OK && publish_next(publisher, START_SEQUENCE + 1) == IPCR_OK);
}

/* Whoever was evicted meanwhile begins anew, where there are messages. */
static void join_until_evicted(void)
{
    struct ipcr_subscriber *s = new_subscriber(IPCR_START_OLDEST);
    int64_t expected = (int64_t)s->next, sequence;
    while ((sequence = receive_next(s)) >= 0)
        MUST(sequence == expected++);
    MUST(sequence == IPCR_LAGGED_OUT || (sequence == IPCR_END_OF_CHANNEL && expected == START_SEQUENCE + MESSAGES));
}

static void perform_joiner(void)
{
    model_start(FIRST, 0, publish_all);
    model_start(SECOND, 1, join_until_evicted);
    model_start(THIRD, 2, end_slices);
}

/* --- the publisher dies, and is looked for ------------------------------------------------------------------------------ */

static void read_until_told(void)
{
    int64_t expected = START_SEQUENCE, sequence;
    while ((sequence = receive_next(one)) >= 0)
        MUST(sequence == expected++);
    MUST(sequence == IPCR_PEER_DIED || sequence == IPCR_END_OF_CHANNEL);
    MUST(expected - START_SEQUENCE >= returned);
}

static void perform_told(void)
{
    returned = 0;
    model_start(FIRST, 0, publish_all);
    model_start(SECOND, 1, read_until_told);
    model_start(THIRD, 2, end_slices);
    model_fibers[FIRST].mortal = true;
}

#define SCENARIO(name_, says_, set_up_, perform_)                                                                      \
    .name = (name_), .says = (says_), .set_up = (set_up_), .perform = (perform_), .patience_ns = IPCR_SLICE_NS
static const struct scenario scenarios[] = {
    { SCENARIO("multicast-slices-slow", "Whoever is alive is waited for, however long it takes.", waited_for, perform_slow) },
    { SCENARIO("multicast-slices-joiner", "Who lets others wait while it joins begins anew.", full, perform_joiner) },
    { SCENARIO("multicast-slices-told", "Who finds the publisher dead has got everything that it published.", waited_for,
               perform_told), .deaths = 1 },
};
ADD_SCENARIOS(scenarios)

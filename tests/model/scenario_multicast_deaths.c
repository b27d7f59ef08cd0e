/* scenario_multicast_deaths.c - the publisher or a subscriber dies between any two accesses, and others go on; whoever
 * lags too far is evicted alive.
 *
 * Sleeps are cut into slices here, as they are in life: a death makes no wake-up.
 */
#include "multicasts.h"

enum { FIRST = 1, SECOND = 2, THIRD = 3, MESSAGES = 3 };

static struct ipcr_publisher *publisher;
static struct ipcr_subscriber *one, *two;
static int64_t returned; /* messages of which the dead publisher knew that they were published */

static void set_up(uint64_t on_laggard)
{
    act_as(0);
    make_multicast(2, IPCR_LOSSLESS, on_laggard);
    publisher = new_publisher();
    act_as(1);
    join_multicast();
    one = new_subscriber(IPCR_START_LATEST);
    act_as(2);
    join_multicast();
}

static void one_waits(void) { set_up(IPCR_WAIT_FOR_LAGGARDS); }

static void both_wait(void)
{
    one_waits();
    two = new_subscriber(IPCR_START_LATEST);
}

static void one_may_be_evicted(void) { set_up(IPCR_EVICT_LAGGARDS); }

/* --- a subscriber dies ------------------------------------------------------------------------------------------------ */

static void publish_all(void)
{
    for (int i = 0; i < MESSAGES; i++)
        MUST(publish_next(publisher, START_SEQUENCE + i) == IPCR_OK);
}

static void read_one(void) { receive_all(one, START_SEQUENCE, MESSAGES); }
static void read_two(void) { receive_all(two, START_SEQUENCE, MESSAGES); }

static void perform_subscriber_dies(void)
{
    model_start(FIRST, 0, publish_all);
    model_start(SECOND, 1, read_one);
    model_start(THIRD, 2, read_two);
    model_fibers[SECOND].mortal = true;
}

/* Whoever joins meanwhile may get the dead one's number, and is not taken for it. */
static void publish_all_and_close(void)
{
    publish_all();
    core()->publisher_close(publisher);
}

static void join_and_read(void)
{
    struct ipcr_subscriber *s = new_subscriber(IPCR_START_OLDEST);
    int64_t from = (int64_t)s->next, sequence;
    for (; (sequence = receive_next(s)) >= 0; from++)
        if (sequence != from)
            model_fail("message %d comes to %d", (int)from, (int)sequence);
    MUST(sequence == IPCR_END_OF_CHANNEL && from == START_SEQUENCE + MESSAGES);
}

static void perform_number_again(void)
{
    model_start(FIRST, 0, publish_all_and_close);
    model_start(SECOND, 1, read_one);
    model_start(THIRD, 2, join_and_read);
    model_fibers[SECOND].mortal = true;
}

/* It dies while it joins. */
static void join_and_die(void)
{
    struct ipcr_subscriber *s = new_subscriber(IPCR_START_OLDEST);
    (void)receive_next(s);
    core()->subscriber_close(s);
}

static void publish_more(void)
{
    for (int i = 0; i < 4; i++)
        MUST(publish_next(publisher, START_SEQUENCE + i) == IPCR_OK);
}

static void nobody(void)
{
    one_waits();
    act_as(1);
    core()->subscriber_close(one);
}

static void perform_joiner_dies(void)
{
    model_start(FIRST, 0, publish_more);
    model_start(SECOND, 1, join_and_die);
    model_fibers[SECOND].mortal = true;
}

/* --- the publisher dies ------------------------------------------------------------------------------------------------ */

static void publish_until_death(void)
{
    for (int i = 0; i < MESSAGES; i++) {
        MUST(publish_next(publisher, START_SEQUENCE + i) == IPCR_OK);
        returned = i + 1;
    }
    core()->publisher_close(publisher);
}

/* What the dead one knew of is there, and perhaps one more. */
static void publish_the_rest(void)
{
    struct ipcr_publisher *p;
    int rc;
    while ((rc = open_publisher(&p)) == IPCR_TAKEN)
        look_later();
    MUST(rc == IPCR_OK);
    const int64_t there = (int64_t)p->next - START_SEQUENCE;
    MUST(there == returned || there == returned + 1);
    for (int64_t i = there; i < MESSAGES + 1; i++)
        MUST(publish_next(p, START_SEQUENCE + i) == IPCR_OK);
}

static void read_across(void)
{
    for (int64_t expected = START_SEQUENCE; expected < START_SEQUENCE + MESSAGES + 1;) {
        const int64_t sequence = receive_next(one);
        if (sequence == IPCR_PEER_DIED || sequence == IPCR_END_OF_CHANNEL) {
            look_later();
            continue;
        }
        if (sequence != expected)
            model_fail("message %d comes to %d", (int)expected, (int)sequence);
        expected++;
    }
}

static void perform_publisher_dies(void)
{
    returned = 0;
    model_start(FIRST, 0, publish_until_death);
    model_start(SECOND, 1, read_across);
    model_start(THIRD, 2, publish_the_rest);
    model_fibers[FIRST].mortal = true;
}

/* Nobody is told of a death where there was none, nor is the end told before the last message. */
static void read_until_told(void)
{
    int64_t expected = START_SEQUENCE, sequence;
    while ((sequence = receive_next(one)) >= 0)
        MUST(sequence == expected++);
    MUST(sequence == IPCR_PEER_DIED || sequence == IPCR_END_OF_CHANNEL);
    MUST(expected - START_SEQUENCE >= returned);
}

static void perform_told_of_death(void)
{
    returned = 0;
    model_start(FIRST, 0, publish_until_death);
    model_start(SECOND, 1, read_until_told);
    model_fibers[FIRST].mortal = true;
}

/* --- evicted alive ------------------------------------------------------------------------------------------------------ */

static void read_until_evicted(void)
{
    int64_t expected = START_SEQUENCE, sequence;
    while ((sequence = receive_next(one)) >= 0) /* which checks the bytes */
        MUST(sequence == expected++);
    MUST(sequence == IPCR_LAGGED_OUT || sequence == IPCR_END_OF_CHANNEL);
    if (sequence == IPCR_END_OF_CHANNEL)
        MUST(expected == START_SEQUENCE + 4);
}

static void publish_more_and_close(void)
{
    publish_more();
    core()->publisher_close(publisher);
}

static void perform_evicted(void)
{
    model_start(FIRST, 0, publish_more_and_close);
    model_start(SECOND, 1, read_until_evicted);
}

static void join_until_evicted(void)
{
    struct ipcr_subscriber *s = new_subscriber(IPCR_START_OLDEST);
    int64_t expected = (int64_t)s->next, sequence;
    while ((sequence = receive_next(s)) >= 0)
        MUST(sequence == expected++);
    MUST(sequence == IPCR_LAGGED_OUT || (sequence == IPCR_END_OF_CHANNEL && expected == START_SEQUENCE + 4));
}

static void perform_joiner_evicted(void)
{
    model_start(FIRST, 0, publish_more_and_close);
    model_start(THIRD, 2, join_until_evicted);
}

#define SCENARIO(name_, says_, set_up_, perform_)                                                                      \
    .name = (name_), .says = (says_), .set_up = (set_up_), .perform = (perform_), .patience_ns = IPCR_SLICE_NS
static const struct scenario scenarios[] = {
    { SCENARIO("multicast-subscriber-dies", "A dead subscriber is not waited for, and nobody else notices.", both_wait,
               perform_subscriber_dies), .deaths = 1 },
    { SCENARIO("multicast-number-again", "A dead subscriber's number may be taken again at any time.", one_waits,
               perform_number_again), .deaths = 1 },
    { SCENARIO("multicast-joiner-dies", "Nor is one waited for that died while it joined.", nobody, perform_joiner_dies),
      .deaths = 1 },
    { SCENARIO("multicast-publisher-dies", "A successor goes on without a gap, and nothing is torn.", one_waits,
               perform_publisher_dies), .deaths = 1 },
    { SCENARIO("multicast-told-of-death", "Everything that was published comes before the death.", one_waits,
               perform_told_of_death), .deaths = 1 },
    { SCENARIO("multicast-evicted", "Whoever is evicted alive is told so, and never gets what has overwritten its "
               "messages.", one_may_be_evicted, perform_evicted) },
    { SCENARIO("multicast-joiner-evicted", "The same of one that joins meanwhile.", one_may_be_evicted,
               perform_joiner_evicted) },
};
ADD_SCENARIOS(scenarios)

/* scenario_multicast_wrapped.c - the ring has more entries than it has room: what is overwritten is the bytes, and not the
 * entry that leads to them, whose sequence would tell.
 *
 * Of one topic are the messages that count; between them stands one that fills the ring, which nobody reads, because the
 * explorer has to remember each word that is.
 */
#include "multicasts.h"

enum { FIRST = 1, SECOND = 2, THIRD = 3, MESSAGES = 4, FILLER = 1, ENTRIES = 4 };

static struct ipcr_publisher *publisher;
static struct ipcr_subscriber *one, *observer;
static const struct ipcr_topic topic = { .name = "abcdefgh", .length = 8, .number = 7 };
static const struct ipcr_topic other_topic = { .name = "ijklmnop", .length = 8, .number = 7 }; /* as if its hash were the same */
static int64_t of_the_other = -1; /* the message that is of that */

static int publish(struct ipcr_publisher *p, uint64_t n)
{
    const struct ipcr_piece piece = { .data = message(n, LENGTH_OF_ALL), .length = LENGTH_OF_ALL };
    int64_t rc;
    while ((rc = core()->publish(p, (int64_t)n == of_the_other ? &other_topic : &topic, &piece, 1, 0)) == IPCR_FULL) {
        const int waited = wait_for_room_of(p);
        if (waited != IPCR_OK)
            return waited;
    }
    MUST(rc < 0 || rc == (int64_t)n);
    return rc < 0 ? (int)rc : IPCR_OK;
}

static struct ipcr_subscriber *of_the_topic(const struct ipcr_subscription *wanted)
{
    struct ipcr_subscriber *s;
    uint64_t oldest, next;
    MUST(core()->subscriber_open(multicast(), wanted, &topic, &oldest, &next, &s) == IPCR_OK);
    return s;
}

static const struct ipcr_subscription subscribed = { .start = IPCR_START_LATEST, .topics = 1 };
static const struct ipcr_subscription observing = { .start = IPCR_START_LATEST, .topics = 1, .observe = 1,
                                                    .interval_ns = 1000 };

static void open_all(uint64_t policy, uint64_t on_laggard)
{
    of_the_other = -1;
    act_as(0);
    make_multicast(ENTRIES, policy, on_laggard);
    publisher = new_publisher();
    for (int process = 1; process < 3; process++) {
        act_as(process);
        join_multicast();
    }
    act_as(1);
    one = of_the_topic(&subscribed);
}

/* Whatever comes behind these two overwrites the first of them. */
static void fill(void)
{
    const uint64_t length = CAPACITY_OF_ALL - IPCR_DATA_ALIGNMENT;
    act_as(0);
    MUST(publish(publisher, START_SEQUENCE) == IPCR_OK);
    MUST(core()->publisher_claim(publisher, NULL, length) == IPCR_OK);
    MUST(core()->publisher_commit(publisher, length, 0) == START_SEQUENCE + FILLER);
    MUST(publisher->position % CAPACITY_OF_ALL == 0);
}

static void lossy(void)
{
    open_all(IPCR_LOSSY, IPCR_WAIT_FOR_LAGGARDS);
    fill();
}

/* What overwrites the first message's topic is another topic's name. */
static void lossy_by_topic(void)
{
    lossy();
    of_the_other = START_SEQUENCE + FILLER + 1;
}

static void laggards_go(void)
{
    open_all(IPCR_LOSSLESS, IPCR_EVICT_LAGGARDS);
    fill();
}

static void lossless(void)
{
    open_all(IPCR_LOSSLESS, IPCR_WAIT_FOR_LAGGARDS);
    fill();
}

static void observed(void)
{
    open_all(IPCR_LOSSLESS, IPCR_WAIT_FOR_LAGGARDS);
    act_as(2);
    observer = of_the_topic(&observing);
    fill();
}

static void publish_the_rest(struct ipcr_publisher *p)
{
    while (p->next < START_SEQUENCE + MESSAGES)
        MUST(publish(p, p->next) == IPCR_OK);
    core()->publisher_close(p);
}

static void publish_and_close(void) { publish_the_rest(publisher); }

static bool is_between(int64_t n, int64_t from, int64_t to) { return n >= from && n < to; }

/* What of the topic stands in [from, to). */
static uint64_t of_topic(int64_t from, int64_t to)
{
    return (uint64_t)(to - from) - is_between(START_SEQUENCE + FILLER, from, to) - is_between(of_the_other, from, to);
}

/* Each whole, which receive_next sees to, and what didn't come was lost. */
static int64_t read_with_gaps(struct ipcr_subscriber *s, int64_t expected, int64_t *stopped)
{
    int64_t sequence;
    while ((sequence = receive_next(s)) >= 0) {
        const uint64_t lost = core()->subscriber_last_lost(s);
        MUST(sequence >= expected && of_topic(sequence, sequence + 1) == 1);
        MUST(lost >= of_topic(expected, sequence) && lost <= (uint64_t)(sequence - expected));
        expected = sequence + 1;
    }
    *stopped = sequence;
    return expected;
}

static void read_to_the_end_of(struct ipcr_subscriber *s)
{
    int64_t stopped;
    MUST(read_with_gaps(s, START_SEQUENCE, &stopped) == START_SEQUENCE + MESSAGES && stopped == IPCR_END_OF_CHANNEL);
}

static void read_one(void) { read_to_the_end_of(one); }
static void observe(void) { read_to_the_end_of(observer); }

static void perform_lossy(void)
{
    model_start(FIRST, 0, publish_and_close);
    model_start(SECOND, 1, read_one);
}

/* --- evicted alive, waited for, or neither ------------------------------------------------------------------------------ */

static const int64_t all_of_topic[] = { START_SEQUENCE, START_SEQUENCE + FILLER + 1, START_SEQUENCE + FILLER + 2 };
enum { ALL_OF_TOPIC = sizeof all_of_topic / sizeof all_of_topic[0] };

static void read_until_evicted(void)
{
    int64_t sequence;
    int got = 0;
    while ((sequence = receive_next(one)) >= 0)
        MUST(got < ALL_OF_TOPIC && sequence == all_of_topic[got++]);
    MUST(sequence == IPCR_LAGGED_OUT || (sequence == IPCR_END_OF_CHANNEL && got == ALL_OF_TOPIC));
}

static void perform_evicted(void)
{
    model_start(FIRST, 0, publish_and_close);
    model_start(SECOND, 1, read_until_evicted);
}

/* Plainly, as who has a view does. */
static void read_in_place(void)
{
    char bytes[LENGTH_OF_ALL];
    for (int i = 0; i < ALL_OF_TOPIC; i++) {
        int64_t rc;
        while ((rc = core()->subscriber_peek(one)) == IPCR_EMPTY)
            MUST(wait_for_message_of(one) == IPCR_OK);
        MUST(rc == LENGTH_OF_ALL);
        copy_out(bytes, (const uint8_t *)core()->subscriber_lent(one), LENGTH_OF_ALL);
        MUST(is_message(bytes, (uint64_t)all_of_topic[i], LENGTH_OF_ALL));
        MUST(core()->subscriber_release(one) == IPCR_OK);
    }
}

static void perform_in_place(void)
{
    model_start(FIRST, 0, publish_and_close);
    model_start(SECOND, 1, read_in_place);
}

static void read_all(void)
{
    for (int i = 0; i < ALL_OF_TOPIC; i++)
        MUST(receive_next(one) == all_of_topic[i]);
}

static void perform_observed(void)
{
    model_start(FIRST, 0, publish_and_close);
    model_start(SECOND, 1, read_all);
    model_start(THIRD, 2, observe);
}

/* --- across a death ------------------------------------------------------------------------------------------------------ */

static void succeed(void)
{
    struct ipcr_publisher *p;
    int rc;
    while ((rc = open_publisher(&p)) == IPCR_TAKEN)
        look_later();
    MUST(rc == IPCR_OK);
    publish_the_rest(p);
}

static void read_across(void)
{
    int64_t expected = START_SEQUENCE, stopped;
    while (expected < START_SEQUENCE + MESSAGES) {
        expected = read_with_gaps(one, expected, &stopped);
        MUST(stopped == IPCR_PEER_DIED || stopped == IPCR_END_OF_CHANNEL);
        look_later();
    }
}

static void perform_successor(void)
{
    model_start(FIRST, 0, publish_and_close);
    model_start(SECOND, 1, read_across);
    model_start(THIRD, 2, succeed);
    model_fibers[FIRST].mortal = true;
}

/* Who has overwritten nothing yet, but said that it will, goes; its successor doesn't have to say it. */
static void claim_and_close(void)
{
    MUST(core()->publisher_claim(publisher, &topic, LENGTH_OF_ALL) == IPCR_OK);
    core()->publisher_close(publisher);
}

static void perform_claimed(void)
{
    model_start(FIRST, 0, claim_and_close);
    model_start(SECOND, 1, read_across);
    model_start(THIRD, 2, succeed);
}

#define SCENARIO(name_, says_, set_up_, perform_)                                                                      \
    .name = (name_), .says = (says_), .set_up = (set_up_), .perform = (perform_)
static const struct scenario scenarios[] = {
    { SCENARIO("multicast-wrapped", "No bytes are taken for a message that others have overwritten.", lossy, perform_lossy) },
    { SCENARIO("multicast-wrapped-topic", "Nor is a message passed over because its topic was overwritten.", lossy_by_topic,
               perform_lossy) },
    { SCENARIO("multicast-wrapped-evicted", "The same of one that may be evicted alive.", laggards_go, perform_evicted) },
    { SCENARIO("multicast-wrapped-in-place", "What is read in place is not overwritten before it is given back.", lossless,
               perform_in_place), .both = true },
    { SCENARIO("multicast-wrapped-observed", "No bytes of others come to an observer beside one that is waited for.",
               observed, perform_observed), .patience_ns = 1000000 },
    { SCENARIO("multicast-wrapped-successor", "No bytes are taken for a message that a dead one's successor has "
               "overwritten.", lossy, perform_successor), .deaths = 1, .patience_ns = IPCR_SLICE_NS },
    { SCENARIO("multicast-wrapped-claimed", "The same where its predecessor had room for a message, and published none.",
               lossy, perform_claimed), .patience_ns = IPCR_SLICE_NS },
};
ADD_SCENARIOS(scenarios)

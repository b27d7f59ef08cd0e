/* scenario_multicast_lossy.c - the publisher waits for nobody: what is read is whole, and what is lost is counted.
 *
 * Lossy subscribers, and observers beside lossless ones; topics, whose names are read where they may be overwritten.
 */
#include "multicasts.h"

enum { FIRST = 1, SECOND = 2, THIRD = 3, MESSAGES = 4 };

static struct ipcr_publisher *publisher;
static struct ipcr_subscriber *one, *observer;

static void lossy(uint32_t on_lap)
{
    const struct ipcr_subscription wanted = { .start = IPCR_START_LATEST, .on_lap = on_lap };
    uint64_t oldest, next;
    act_as(0);
    make_multicast(2, IPCR_LOSSY, IPCR_WAIT_FOR_LAGGARDS);
    publisher = new_publisher();
    act_as(1);
    join_multicast();
    MUST(core()->subscriber_open(multicast(), &wanted, NULL, &oldest, &next, &one) == IPCR_OK);
}

static void lossy_to_oldest(void) { lossy(IPCR_LAP_TO_OLDEST); }
static void lossy_to_latest(void) { lossy(IPCR_LAP_TO_LATEST); }

static void publish_all(void)
{
    for (int i = 0; i < MESSAGES; i++)
        MUST(core()->publish_bytes(publisher, message(publisher->next, LENGTH_OF_ALL), LENGTH_OF_ALL) == START_SEQUENCE + i);
    core()->publisher_close(publisher);
}

/* Each message whole, later than the one before, and as many lost as its number says. */
static void read_to_the_end_of(struct ipcr_subscriber *s)
{
    int64_t expected = START_SEQUENCE, sequence;
    while ((sequence = receive_next(s)) >= 0) {
        MUST(sequence >= expected);
        MUST(core()->subscriber_last_lost(s) == (uint64_t)(sequence - expected));
        expected = sequence + 1;
    }
    MUST(sequence == IPCR_END_OF_CHANNEL);
    MUST(expected == START_SEQUENCE + MESSAGES); /* the last one is never overwritten */
}

static void read_one(void) { read_to_the_end_of(one); }
static void observe(void)
{
    read_to_the_end_of(observer);
    core()->subscriber_close(observer);
}

static void perform_lossy(void)
{
    model_start(FIRST, 0, publish_all);
    model_start(SECOND, 1, read_one);
}

/* --- a batch ------------------------------------------------------------------------------------------------------------ */

static void read_batches(void)
{
    char bytes[2 * LENGTH_OF_ALL];
    uint64_t sequences[2], lost[2], expected = START_SEQUENCE, lost_so_far = 0;
    int64_t results[2], count;
    for (;;) {
        count = core()->subscriber_recv_many(one, bytes, sizeof bytes, results, sequences, lost, 2);
        if (count == IPCR_EMPTY) {
            MUST(wait_for_message_of(one) == IPCR_OK);
            continue;
        }
        if (count < 0)
            break;
        MUST(count > 0);
        for (int64_t i = 0; i < count; i++) {
            MUST(is_message(bytes + i * LENGTH_OF_ALL, sequences[i], LENGTH_OF_ALL));
            lost_so_far += sequences[i] - expected;
            MUST(lost[i] == lost_so_far);
            expected = sequences[i] + 1;
        }
        MUST(core()->subscriber_settle(one, (uint64_t)count, sequences[count - 1] + 1, lost[count - 1]) == IPCR_OK);
    }
    MUST(count == IPCR_END_OF_CHANNEL && expected == START_SEQUENCE + MESSAGES);
}

static void perform_batches(void)
{
    model_start(FIRST, 0, publish_all);
    model_start(SECOND, 1, read_batches);
}

/* --- observers ---------------------------------------------------------------------------------------------------------- */

static void observed(void)
{
    act_as(0);
    make_multicast(2, IPCR_LOSSLESS, IPCR_WAIT_FOR_LAGGARDS);
    publisher = new_publisher();
    act_as(1);
    join_multicast();
    one = new_subscriber(IPCR_START_LATEST);
    act_as(2);
    join_multicast();
    observer = new_observer(IPCR_START_LATEST);
}

static void publish_lossless(void)
{
    for (int i = 0; i < MESSAGES; i++)
        MUST(publish_next(publisher, START_SEQUENCE + i) == IPCR_OK);
    core()->publisher_close(publisher);
}

static void read_all(void) { receive_all(one, START_SEQUENCE, MESSAGES); }

static void perform_observed(void)
{
    model_start(FIRST, 0, publish_lossless);
    model_start(SECOND, 1, read_all);
    model_start(THIRD, 2, observe);
}

/* --- a successor overwrites what its predecessor's readers are reading ---------------------------------------------------- */

static void publish_until_death(void)
{
    for (int i = 0; i < 3; i++) /* the third overwrites */
        MUST(core()->publish_bytes(publisher, message(publisher->next, LENGTH_OF_ALL), LENGTH_OF_ALL) >= 0);
    core()->publisher_close(publisher);
}

static void publish_the_rest(void)
{
    struct ipcr_publisher *p;
    int rc;
    while ((rc = open_publisher(&p)) == IPCR_TAKEN)
        look_later();
    MUST(rc == IPCR_OK);
    while (p->next < START_SEQUENCE + MESSAGES)
        MUST(core()->publish_bytes(p, message(p->next, LENGTH_OF_ALL), LENGTH_OF_ALL) >= 0);
}

static void read_across(void)
{
    for (int64_t expected = START_SEQUENCE; expected < START_SEQUENCE + MESSAGES;) {
        const int64_t sequence = receive_next(one);
        if (sequence == IPCR_PEER_DIED || sequence == IPCR_END_OF_CHANNEL) {
            look_later();
            continue;
        }
        MUST(sequence >= expected && core()->subscriber_last_lost(one) == (uint64_t)(sequence - expected));
        expected = sequence + 1;
    }
}

static void lossy_with_successor(void)
{
    lossy(IPCR_LAP_TO_OLDEST);
    act_as(2);
    join_multicast();
}

static void perform_successor(void)
{
    model_start(FIRST, 0, publish_until_death);
    model_start(SECOND, 1, read_across);
    model_start(THIRD, 2, publish_the_rest);
    model_fibers[FIRST].mortal = true;
}

/* --- each message takes the whole ring: `oldest` comes as far as `published` was ------------------------------------------ */

static void whole_ring(void)
{
    lossy(IPCR_LAP_TO_OLDEST);
    act_as(2);
    join_multicast();
}

static void publish_them_and_close(void)
{
    publish_whole_rings(publisher, MESSAGES);
    core()->publisher_close(publisher);
}

static void count_to_the_end(struct ipcr_subscriber *s, int64_t expected)
{
    char bytes[64];
    for (;;) {
        const int64_t rc = core()->subscriber_copy(s, bytes, sizeof bytes);
        if (rc == IPCR_EMPTY) {
            MUST(wait_for_message_of(s) == IPCR_OK);
            continue;
        }
        if (rc == IPCR_END_OF_CHANNEL)
            break;
        MUST(rc == USED_OF_IT);
        const int64_t sequence = (int64_t)core()->subscriber_last_sequence(s);
        MUST(sequence >= expected && core()->subscriber_last_lost(s) == (uint64_t)(sequence - expected));
        expected = sequence + 1;
    }
    MUST(expected == START_SEQUENCE + MESSAGES);
}

static void count_one(void) { count_to_the_end(one, START_SEQUENCE); }

static void count_what_is_kept(void)
{
    struct ipcr_subscriber *s = new_observer(IPCR_START_OLDEST);
    count_to_the_end(s, (int64_t)s->next);
}

static void perform_whole_ring(void)
{
    model_start(FIRST, 0, publish_them_and_close);
    model_start(SECOND, 1, count_one);
    model_start(THIRD, 2, count_what_is_kept);
}

/* --- topics ------------------------------------------------------------------------------------------------------------- */

static const struct ipcr_topic wanted_topic = { .name = "abcdefgh", .length = 8, .number = 7 };
static const struct ipcr_topic other_topic = { .name = "ijklmnop", .length = 8, .number = 7 }; /* as if its hash were the same */

static void by_topic(void)
{
    const struct ipcr_subscription wanted = { .start = IPCR_START_LATEST, .topics = 1 };
    uint64_t oldest, next;
    act_as(0);
    make_multicast(2, IPCR_LOSSY, IPCR_WAIT_FOR_LAGGARDS);
    publisher = new_publisher();
    act_as(1);
    join_multicast();
    MUST(core()->subscriber_open(multicast(), &wanted, &wanted_topic, &oldest, &next, &one) == IPCR_OK);
}

static void publish_topics(void)
{
    for (uint64_t n = START_SEQUENCE; n < START_SEQUENCE + MESSAGES; n++) {
        const struct ipcr_piece piece = { .data = message(n, LENGTH_OF_ALL), .length = LENGTH_OF_ALL };
        MUST(core()->publish(publisher, n % 2 == 0 ? &wanted_topic : &other_topic, &piece, 1, 0) == (int64_t)n);
    }
    core()->publisher_close(publisher);
}

/* A message of the topic that doesn't come was lost; others may have been lost with it. */
static void read_topic(void)
{
    int64_t sequence, after = START_SEQUENCE;
    uint64_t lost = 0;
    while ((sequence = receive_next(one)) >= 0) {
        MUST(sequence % 2 == 0 && sequence >= after);
        MUST(one->last_topic_length == 8 && memcmp(one->last_topic, "abcdefgh", 8) == 0);
        const uint64_t now = core()->subscriber_last_lost(one);
        MUST(now >= (uint64_t)(sequence - after) / 2 && now <= (uint64_t)(sequence - after));
        after = sequence + 1;
        lost += now;
    }
    MUST(sequence == IPCR_END_OF_CHANNEL);
    MUST(core()->subscriber_lost(one) - lost >= (uint64_t)(START_SEQUENCE + MESSAGES - after) / 2);
}

static void perform_topics(void)
{
    model_start(FIRST, 0, publish_topics);
    model_start(SECOND, 1, read_topic);
}

#define SCENARIO(name_, says_, set_up_, perform_)                                                                      \
    .name = (name_), .says = (says_), .set_up = (set_up_), .perform = (perform_)
static const struct scenario scenarios[] = {
    { SCENARIO("multicast-lossy", "What a lossy subscriber gets is whole and in order, and what it has lost is counted.",
               lossy_to_oldest, perform_lossy), .both = true },
    { SCENARIO("multicast-lossy-latest", "The same of one that goes on at the newest message.", lossy_to_latest,
               perform_lossy), .both = true },
    { SCENARIO("multicast-lossy-batches", "The same in batches.", lossy_to_oldest, perform_batches) },
    { SCENARIO("multicast-observed", "An observer gets whole messages, and nobody waits for it.", observed,
               perform_observed), .patience_ns = 1000000 },
    { SCENARIO("multicast-lossy-successor", "The same across the death of a publisher.", lossy_with_successor,
               perform_successor), .deaths = 1, .patience_ns = IPCR_SLICE_NS },
    { SCENARIO("multicast-lossy-whole-ring", "Who begins, or goes on, at the oldest message finds it not newer than the newest.",
               whole_ring, perform_whole_ring), .patience_ns = 1000000, .both = true },
    { SCENARIO("multicast-topics", "Only messages of a topic come, by its name, and whole.", by_topic, perform_topics) },
};
ADD_SCENARIOS(scenarios)

/* scenario_multicast_numbers.c - numbers that are used again, and statistics, of a multicast that goes on meanwhile. */
#include "multicasts.h"
#include "multicast_stats.h"

enum { FIRST = 1, SECOND = 2, THIRD = 3, MESSAGES = 4 };

static struct ipcr_publisher *publisher;

/* --- a number is used again by who begins before the place where its last user ended ------------------------------------ */

static void used_number(void)
{
    act_as(0);
    make_multicast(2, IPCR_LOSSLESS, IPCR_WAIT_FOR_LAGGARDS);
    publisher = new_publisher();
    act_as(1);
    join_multicast();
    struct ipcr_subscriber *one = new_subscriber(IPCR_START_LATEST);
    for (int i = 0; i < 2; i++) {
        act_as(0);
        MUST(publish_next(publisher, START_SEQUENCE + i) == IPCR_OK);
        act_as(1);
        MUST(receive_next(one) == START_SEQUENCE + i);
    }
    core()->subscriber_close(one);
}

static void publish_two_more(void)
{
    MUST(publish_next(publisher, START_SEQUENCE + 2) == IPCR_OK);
    MUST(publish_next(publisher, START_SEQUENCE + 3) == IPCR_OK);
    core()->publisher_close(publisher);
}

static void join_at_oldest(void)
{
    struct ipcr_subscriber *s = new_subscriber(IPCR_START_OLDEST);
    int64_t from = (int64_t)s->next, sequence;
    MUST(s->number == 0);
    for (; (sequence = receive_next(s)) >= 0; from++)
        if (sequence != from)
            model_fail("message %d comes to %d", (int)from, (int)sequence);
    MUST(sequence == IPCR_END_OF_CHANNEL && from == START_SEQUENCE + MESSAGES);
}

static void perform_used_number(void)
{
    model_start(FIRST, 0, publish_two_more);
    model_start(SECOND, 1, join_at_oldest);
}

/* --- a publisher dies when it has said what it will overwrite, and somebody joins at the oldest message ------------------ */

static void two_are_there(void)
{
    act_as(0);
    make_multicast(2, IPCR_LOSSLESS, IPCR_WAIT_FOR_LAGGARDS);
    publisher = new_publisher();
    for (int i = 0; i < 2; i++)
        MUST(publish_next(publisher, START_SEQUENCE + i) == IPCR_OK);
    for (int process = 1; process < 3; process++) {
        act_as(process);
        join_multicast();
    }
}

static void publish_one_and_die(void)
{
    MUST(publish_next(publisher, START_SEQUENCE + 2) == IPCR_OK);
    core()->publisher_close(publisher);
}

static void succeed(void)
{
    struct ipcr_publisher *p;
    int rc;
    while ((rc = open_publisher(&p)) == IPCR_TAKEN)
        look_later();
    MUST(rc == IPCR_OK);
    while (p->next < START_SEQUENCE + MESSAGES)
        MUST(publish_next(p, (int64_t)p->next) == IPCR_OK);
}

static void join_at_oldest_and_stay(void)
{
    struct ipcr_subscriber *s = new_subscriber(IPCR_START_OLDEST);
    for (int64_t expected = (int64_t)s->next; expected < START_SEQUENCE + MESSAGES;) {
        const int64_t sequence = receive_next(s);
        if (sequence == IPCR_PEER_DIED || sequence == IPCR_END_OF_CHANNEL) {
            look_later();
            continue;
        }
        if (sequence != expected)
            model_fail("message %d comes to %d", (int)expected, (int)sequence);
        expected++;
    }
}

static void perform_successor_and_joiner(void)
{
    model_start(FIRST, 0, publish_one_and_die);
    model_start(SECOND, 1, join_at_oldest_and_stay);
    model_start(THIRD, 2, succeed);
    model_fibers[FIRST].mortal = true;
}

/* --- who leaves has read what it read, also where it lies ---------------------------------------------------------------- */

static struct ipcr_subscriber *leaving;

static void one_is_lent(void)
{
    used_number();
    act_as(1);
    leaving = new_subscriber(IPCR_START_OLDEST);
    MUST(core()->subscriber_peek(leaving) == LENGTH_OF_ALL);
}

static void look_and_leave(void)
{
    char bytes[LENGTH_OF_ALL];
    copy_out(bytes, (const uint8_t *)core()->subscriber_lent(leaving), LENGTH_OF_ALL);
    MUST(is_message(bytes, START_SEQUENCE, LENGTH_OF_ALL));
    core()->subscriber_close(leaving);
}

/* A claim whose end lies over the one that is lent. */
static void publish_over_it(void)
{
    int rc;
    while ((rc = core()->publisher_claim(publisher, NULL, NEARLY_ALL)) == IPCR_FULL)
        MUST(wait_for_room_of(publisher) == IPCR_OK);
    MUST(rc == IPCR_OK);
    copy_in((uint8_t *)core()->publisher_lent(publisher) + NEARLY_ALL - 8, "overtake", 8);
    MUST(core()->publisher_commit(publisher, USED_OF_IT, 0) == START_SEQUENCE + 2);
}

static void perform_leave_lent(void)
{
    model_start(FIRST, 0, publish_over_it);
    model_start(SECOND, 1, look_and_leave);
}

/* --- one thread publishes while another one closes: what was published comes before the end ----------------------------- */

static int returned;
static bool is_done;

static void publish_until_closed(void)
{
    int rc;
    while ((rc = publish_next(publisher, -1)) == IPCR_OK && ++returned < 2)
        ;
    MUST(rc == IPCR_OK || rc == IPCR_CLOSED);
    is_done = true;
}

static void close_it(void) { core()->publisher_close(publisher); }

static void read_to_the_end(void)
{
    struct ipcr_subscriber *s = new_subscriber(IPCR_START_OLDEST);
    int read = 0;
    while (receive_next(s) >= 0)
        read++;
    while (!is_done)
        look_later();
    MUST(read == returned);
}

static void still_empty(void)
{
    act_as(0);
    make_multicast(2, IPCR_LOSSLESS, IPCR_WAIT_FOR_LAGGARDS);
    publisher = new_publisher();
    act_as(1);
    join_multicast();
}

static void perform_close_meanwhile(void)
{
    returned = 0;
    is_done = false;
    model_start(FIRST, 0, publish_until_closed);
    model_start(SECOND, 0, close_it);
    model_start(THIRD, 1, read_to_the_end);
}

/* --- statistics --------------------------------------------------------------------------------------------------------- */

static void looked_at(void)
{
    act_as(0);
    make_multicast(2, IPCR_LOSSY, IPCR_WAIT_FOR_LAGGARDS);
    publisher = new_publisher();
    act_as(1);
    join_multicast();
}

static void publish_them(void) { publish_whole_rings(publisher, MESSAGES); }

static void look(void)
{
    struct ipcr_subscriber_stats subscribers[1];
    struct ipcr_multicast_stats now, before = { .oldest = 0 };
    for (int i = 0; i < 3; i++) {
        MUST(core()->multicast_stats(multicast(), &now, subscribers, 1) == IPCR_OK);
        MUST(now.oldest <= now.published && now.published <= MESSAGES);
        MUST(now.published >= before.published && now.oldest >= before.oldest);
        MUST(now.bytes == 0 || now.bytes == USED_OF_IT * now.published); /* 0: it went on too fast */
        before = now;
    }
}

static void perform_looked_at(void)
{
    model_start(FIRST, 0, publish_them);
    model_start(SECOND, 1, look);
}

#define SCENARIO(name_, says_, set_up_, perform_)                                                                      \
    .name = (name_), .says = (says_), .set_up = (set_up_), .perform = (perform_)
static const struct scenario scenarios[] = {
    { SCENARIO("multicast-used-number", "What the last user of a number has read is not taken for what its next one has.",
               used_number, perform_used_number), .both = true },
    { SCENARIO("multicast-successor-joiner", "Whoever joins while one publisher follows on a dead one gets all from where it "
               "begins.", two_are_there, perform_successor_and_joiner), .deaths = 1, .patience_ns = IPCR_SLICE_NS },
    { SCENARIO("multicast-leave-lent", "What lies where somebody who leaves has looked is overwritten afterwards.",
               one_is_lent, perform_leave_lent) },
    { SCENARIO("multicast-close-meanwhile", "What one thread publishes while another one closes comes before the end.",
               still_empty, perform_close_meanwhile), .both = true, .patience_ns = 1000000 },
    { SCENARIO("multicast-stats-whole-ring", "Statistics are those of some moment, or later ones.", looked_at, perform_looked_at),
      .both = true },
};
ADD_SCENARIOS(scenarios)

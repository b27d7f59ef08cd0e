/* scenario_multicast_joins.c - joining in bad moments: beside a publisher that has announced, and goes; with a dead one's
 * number; where nobody is waited for; and then not to read.
 */
#include "multicasts.h"

enum { FIRST = 1, SECOND = 2, THIRD = 3, MESSAGES = 5, BEFORE = 2 };

static struct ipcr_publisher *publisher;

/* The ring is full.  Process 0 publishes; 1 and 2 are attached. */
static void set_up(uint64_t policy)
{
    act_as(0);
    make_multicast(BEFORE, policy, IPCR_WAIT_FOR_LAGGARDS);
    publisher = new_publisher();
    for (int i = 0; i < BEFORE; i++)
        MUST(publish_next(publisher, START_SEQUENCE + i) == IPCR_OK);
    for (int process = 1; process < 3; process++) {
        act_as(process);
        join_multicast();
    }
}

static void lossless(void) { set_up(IPCR_LOSSLESS); }
static void lossy(void) { set_up(IPCR_LOSSY); }

static void publish_the_rest(struct ipcr_publisher *p)
{
    for (int64_t n = (int64_t)p->next; n < START_SEQUENCE + MESSAGES; n++)
        MUST(publish_next(p, n) == IPCR_OK);
    core()->publisher_close(p);
}

static void publish_and_close(void) { publish_the_rest(publisher); }

static void join_and_read(void)
{
    struct ipcr_subscriber *s = new_subscriber(IPCR_START_OLDEST);
    int64_t from = (int64_t)s->next, sequence;
    for (; (sequence = receive_next(s)) >= 0; from++)
        if (sequence != from)
            model_fail("message %d comes to %d", (int)from, (int)sequence);
    MUST(sequence == IPCR_END_OF_CHANNEL && from == START_SEQUENCE + MESSAGES);
}

/* --- and not to read -------------------------------------------------------------------------------------------------- */

static void publish_one(void) { MUST(publish_next(publisher, START_SEQUENCE + BEFORE) == IPCR_OK); }
static void join_at_latest(void) { (void)new_subscriber(IPCR_START_LATEST); }

static void perform_idle(void)
{
    model_start(FIRST, 0, publish_one);
    model_start(SECOND, 1, join_at_latest);
}

/* --- announced, and gone ----------------------------------------------------------------------------------------------- */

/* Perhaps it has announced a new oldest, and there was somebody below it.  Its successor waits for that one. */
static void try_and_hand_over(void)
{
    struct ipcr_publisher *p;
    const int64_t rc = core()->publish_bytes(publisher, message(publisher->next, LENGTH_OF_ALL), LENGTH_OF_ALL);
    MUST(rc == START_SEQUENCE + BEFORE || rc == IPCR_FULL);
    core()->publisher_close(publisher);
    MUST(open_publisher(&p) == IPCR_OK);
    publish_the_rest(p);
}

/* Between the two publishers is an end as well. */
static void join_and_read_on(void)
{
    struct ipcr_subscriber *s = new_subscriber(IPCR_START_OLDEST);
    for (int64_t from = (int64_t)s->next; from < START_SEQUENCE + MESSAGES;) {
        const int64_t sequence = receive_next(s);
        if (sequence == IPCR_END_OF_CHANNEL)
            look_later();
        else
            MUST(sequence == from++);
    }
}

static void perform_announced(void)
{
    model_start(FIRST, 0, try_and_hand_over);
    model_start(SECOND, 1, join_and_read_on);
}

/* --- a dead one's number ------------------------------------------------------------------------------------------------ */

/* The first number is of one who has read nothing; all others are in use, by who has read everything. */
static struct ipcr_subscriber *with_the_last_number(void)
{
    act_as(0);
    make_multicast(BEFORE, IPCR_LOSSLESS, IPCR_WAIT_FOR_LAGGARDS);
    publisher = new_publisher();
    for (int process = 1; process < 3; process++) {
        act_as(process);
        join_multicast();
    }
    struct ipcr_subscriber *first = new_subscriber(IPCR_START_LATEST);
    act_as(0);
    for (int i = 0; i < BEFORE; i++)
        MUST(publish_next(publisher, START_SEQUENCE + i) == IPCR_OK);
    for (uint32_t number = 1; number < IPCR_MOST_SUBSCRIBERS; number++)
        (void)new_subscriber(IPCR_START_LATEST);
    MUST(core()->publish_bytes(publisher, message(publisher->next, LENGTH_OF_ALL), LENGTH_OF_ALL) == IPCR_FULL);
    return first;
}

static void dead_with_the_last_number(void)
{
    (void)with_the_last_number();
    model_kill(2);
}

static struct ipcr_subscriber *leaving;
static void about_to_leave(void) { leaving = with_the_last_number(); }

/* Needs what the dead one had not read, and looks for the dead as who polls does; the others have read as much as that. */
static void look_and_publish_two(void)
{
    MUST(core()->publisher_look_around(publisher) == IPCR_OK);
    publish_one();
    MUST(publish_next(publisher, START_SEQUENCE + BEFORE + 1) == IPCR_OK);
}

static void join_and_read_two(void)
{
    struct ipcr_subscriber *s = new_subscriber(IPCR_START_OLDEST);
    receive_all(s, (int64_t)s->next, (int)(START_SEQUENCE + BEFORE - (int64_t)s->next));
    receive_all(s, (int64_t)s->next, 1);
}

static void leave_at_once(void) { core()->subscriber_close(leaving); }

static void wait_for_a_number(void)
{
    const struct ipcr_subscription wanted = { .start = IPCR_START_OLDEST };
    struct ipcr_subscriber *s;
    uint64_t oldest, next;
    int rc;
    while ((rc = core()->subscriber_open(multicast(), &wanted, NULL, &oldest, &next, &s)) == IPCR_TAKEN)
        look_later();
    MUST(rc == IPCR_OK);
    receive_all(s, (int64_t)s->next, (int)(START_SEQUENCE + BEFORE - (int64_t)s->next));
    receive_all(s, (int64_t)s->next, 1);
}

static void perform_left_number(void)
{
    model_start(FIRST, 0, look_and_publish_two);
    model_start(SECOND, 1, wait_for_a_number);
    model_start(THIRD, 2, leave_at_once);
}

static void perform_dead_number(void)
{
    model_start(FIRST, 0, look_and_publish_two);
    model_start(SECOND, 1, join_and_read_two);
}

/* --- where nobody is waited for ------------------------------------------------------------------------------------------ */

static void read_with_gaps(struct ipcr_subscriber *s)
{
    int64_t expected = (int64_t)s->next, sequence;
    MUST(expected >= START_SEQUENCE);
    while ((sequence = receive_next(s)) >= 0) {
        MUST(sequence >= expected && core()->subscriber_last_lost(s) == (uint64_t)(sequence - expected));
        expected = sequence + 1;
    }
    MUST(sequence == IPCR_END_OF_CHANNEL && expected == START_SEQUENCE + MESSAGES);
}

static void join_where_it_is_lossy(void) { read_with_gaps(new_subscriber(IPCR_START_OLDEST)); }
static void observe(void) { read_with_gaps(new_observer(IPCR_START_OLDEST)); }

static void perform_lossy(void)
{
    model_start(FIRST, 0, publish_and_close);
    model_start(SECOND, 1, join_where_it_is_lossy);
}

static void perform_observer(void)
{
    model_start(FIRST, 0, publish_and_close);
    model_start(SECOND, 1, observe);
}

static void perform_two(void)
{
    model_start(FIRST, 0, publish_and_close);
    model_start(SECOND, 1, join_and_read);
    model_start(THIRD, 2, join_and_read);
}

#define SCENARIO(name_, says_, set_up_, perform_)                                                                      \
    .name = (name_), .says = (says_), .set_up = (set_up_), .perform = (perform_)
static const struct scenario scenarios[] = {
    { SCENARIO("multicast-join-idle", "A publisher that waits for somebody to join is woken when it has.", lossless,
               perform_idle), .both = true },
    { SCENARIO("multicast-join-oldest-two", "Two who join at the oldest message get it, and all behind it.", lossless,
               perform_two) },
    { SCENARIO("multicast-join-announced", "Who has joined below what a publisher announced gets all from its successor.",
               lossless, perform_announced), .patience_ns = IPCR_SLICE_NS },
    { SCENARIO("multicast-join-dead-number", "Whoever gets a dead one's number is not taken for it.",
               dead_with_the_last_number, perform_dead_number), .patience_ns = IPCR_SLICE_NS },
    { SCENARIO("multicast-join-left-number", "Nor is whoever gets the number of one that leaves.", about_to_leave,
               perform_left_number), .patience_ns = IPCR_SLICE_NS },
    { SCENARIO("multicast-join-lossy", "Who joins where nobody is waited for is told what it has lost since.", lossy,
               perform_lossy), .both = true },
    { SCENARIO("multicast-join-observer", "The same of an observer.", lossless, perform_observer), .patience_ns = 1000000 },
};
ADD_SCENARIOS(scenarios)

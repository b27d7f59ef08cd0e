/* scenario_queue_edges.c - small scenarios, each for one order that larger ones come to too seldom: two wakers at one gate, memory and
 * slots that are used again, hints that two move at once, words that a late holder reads.
 */
#include "queues.h"

enum { FIRST = 1, SECOND = 2, THIRD = 3, FOURTH = 4 };

static struct ipcr_lease held[8];

static void get_one(void)
{
    uint64_t number;
    MUST(get(&number) == IPCR_OK);
}

static void put_0(void) { (void)put(0); }
static void put_other(void) { (void)put(SECOND_PRODUCER); }

static void look(void)
{
    act_as(1);
    must_be_all_done();
}

/* --- two wakers, two sleepers ---------------------------------------------------------------------------------------------------- */

/* Processes 0 and 2 have lanes, 1 has a number. */
static void two_producers(uint64_t maxsize)
{
    act_as(0);
    make_queue(2, &(struct ipcr_queue_options){ .slots = 4, .maxsize = maxsize });
    take_lane();
    act_as(2);
    join_queue();
    take_lane();
    act_as(1);
    join_queue();
    take_number();
    keep_record();
}

static void two_that_put(void) { two_producers(0); }

static void perform_two_wakers(void)
{
    begin_record();
    model_start(FIRST, 0, put_0);
    model_start(SECOND, 2, put_other);
    model_start(THIRD, 1, get_one);
    model_start(FOURTH, 1, get_one);
}

/* Two threads of one process and another process wait for the same room: a thread passes on what the other one was told. */
static void one_that_waits(void)
{
    two_producers(1);
    act_as(0);
    (void)put(0);
    keep_record();
}

static void put_1(void) { (void)put(1); }
static void put_2(void) { (void)put(2); }

static void get_until_four_are_done(void)
{
    while (count_of(record.done) < 4) {
        uint64_t number;
        MUST(get(&number) == IPCR_OK);
    }
}

static void perform_threads_wait_for_fewer(void)
{
    begin_record();
    model_start(FIRST, 0, put_1);
    model_start(SECOND, 0, put_2);
    model_start(THIRD, 2, put_other);
    model_start(FOURTH, 1, get_until_four_are_done);
    record.comes_back = true; /* the numbers of two threads have no order */
}

/* --- first uses ------------------------------------------------------------------------------------------------------------------- */

/* Two threads of a process that has not yet mapped the lane where two messages are. */
static void not_mapped(void)
{
    act_as(0);
    make_queue(2, &(struct ipcr_queue_options){ .slots = 2 });
    act_as(1);
    join_queue();
    act_as(0);
    (void)put(0);
    (void)put(1);
    keep_record();
}

static void perform_threads_map(void)
{
    begin_record();
    model_start(FIRST, 1, get_one);
    model_start(SECOND, 1, get_one);
}

/* The same where one of them puts: whoever takes a lane looks at all of them. */
static void perform_threads_map_both(void)
{
    begin_record();
    model_start(FIRST, 1, put_other);
    model_start(SECOND, 1, get_one);
}

/* --- memory and slots that are used again -------------------------------------------------------------------------------------------- */

/* What is put next goes to the memory of message 0, for which process 1 comes; what fills up the rest is done with. */
static void wrapped(void)
{
    act_as(0);
    make_queue(1, &(struct ipcr_queue_options){ .slots = 4 });
    take_lane();
    act_as(1);
    join_queue();
    take_number();
    act_as(0);
    (void)put(0);
    message_length = LANE - 8;
    (void)put(1);
    act_as(1);
    struct ipcr_lease first, second;
    MUST(core()->queue_lease(queue(), 0, &first) == IPCR_OK && core()->queue_lease(queue(), 0, &second) == IPCR_OK);
    MUST(core()->lease_ack(queue(), &second) == IPCR_OK && core()->lease_nack(queue(), &first, 0) == IPCR_OK);
    message_length = 8;
    record.done = 2;
    keep_record();
}

static void get_two(void)
{
    get_one();
    get_one();
}

static void perform_recycled(void)
{
    begin_record();
    model_start(FIRST, 0, put_2);
    model_start(SECOND, 1, get_two);
}

/* The slot's last message was requeued once, and had a delivery more; the next one in it has not. */
static void forgiven_before(void)
{
    struct ipcr_lease l;
    uint32_t why;
    act_as(0);
    make_queue(1, &(struct ipcr_queue_options){ .slots = 2, .max_deliveries = 1 });
    (void)put(0);
    act_as(1);
    join_queue();
    record.comes_back = true;
    MUST(try_lease(0, &l) == IPCR_OK && nack(&l) == IPCR_OK);
    MUST(core()->queue_next_kept(queue(), 0, &l, &why) == IPCR_OK && core()->lease_requeue(queue(), &l) == IPCR_OK);
    MUST(try_lease(0, &l) == IPCR_OK && ack(&l) == IPCR_OK);
    act_as(0);
    (void)put(1);
    act_as(1);
    MUST(try_lease(0, &l) == IPCR_OK && ack(&l) == IPCR_OK);
    keep_record();
}

static void nack_what_comes(void)
{
    struct ipcr_lease l;
    MUST(lease(0, &l) == IPCR_OK && nack(&l) == IPCR_OK);
}

static void perform_forgiven(void)
{
    begin_record();
    model_start(FIRST, 0, put_2);
    model_start(SECOND, 1, nack_what_comes);
}

static void look_for_one_kept(void)
{
    struct ipcr_lane_stats sum;
    act_as(1);
    look_at_stats(&sum);
    MUST(sum.put == 3 && sum.acknowledged == 2 && sum.kept == 1);
}

/* A lease that runs out while its holder still reads what belongs to the message; the slot is another's by then. */
static void one_slot_is_free(void)
{
    struct ipcr_lease first, second;
    act_as(0);
    make_queue(1, &(struct ipcr_queue_options){ .slots = 2 });
    take_number();
    act_as(1);
    join_queue();
    take_number();
    act_as(2);
    join_queue();
    (void)put(0);
    (void)put(1);
    record.comes_back = true;
    act_as(1);
    MUST(try_lease(0, &first) == IPCR_OK && try_lease(0, &second) == IPCR_OK && ack(&second) == IPCR_OK);
    MUST(nack(&first) == IPCR_OK);
    keep_record();
}

static void lease_late(void)
{
    struct ipcr_lease l;
    int rc = try_lease(LEASE_NS, &l);
    MUST(rc == IPCR_OK || rc == IPCR_AGAIN || rc == IPCR_EMPTY);
    if (rc != IPCR_OK)
        return;
    rc = ack(&l);
    MUST(rc == IPCR_OK || rc == IPCR_LEASE_LOST);
}

static void take_it_away(void)
{
    struct ipcr_lease l;
    model_pass_time(2 * LEASE_NS);
    const int rc = try_lease(0, &l);
    MUST((rc == IPCR_OK && ack(&l) == IPCR_OK) || rc == IPCR_EMPTY);
}

static void try_to_put_2(void)
{
    uint64_t id;
    const int rc = try_put(2, &id);
    MUST(rc == IPCR_OK || rc == IPCR_FULL);
}

static void perform_late(void)
{
    begin_record();
    model_start(FIRST, 0, lease_late);
    model_start(SECOND, 1, take_it_away);
    model_start(THIRD, 2, try_to_put_2);
}

/* --- a hint that two lower at once -------------------------------------------------------------------------------------------------- */

/* Processes 0 and 2 hold four each, and the hint is beyond them all. */
static void two_hold_four(void)
{
    struct ipcr_lease l;
    act_as(1);
    make_queue(1, &(struct ipcr_queue_options){ .slots = 16 });
    take_number();
    act_as(0);
    join_queue();
    act_as(2);
    join_queue();
    act_as(1);
    for (uint64_t number = 0; number < 9; number++)
        (void)put(number);
    for (int i = 0; i < 8; i++) {
        act_as(i < 4 ? 0 : 2);
        MUST(try_lease(0, &held[i]) == IPCR_OK);
    }
    act_as(1);
    MUST(try_lease(0, &l) == IPCR_OK && ack(&l) == IPCR_OK);
    record.comes_back = true;
    keep_record();
}

static void nack_third(void) { MUST(nack(&held[2]) == IPCR_OK); }
static void nack_seventh(void) { MUST(nack(&held[6]) == IPCR_OK); }
static void work_off_one(void) { work_off_some(1); }

static void perform_two_nack(void)
{
    begin_record();
    model_start(FIRST, 0, nack_third);
    model_start(SECOND, 2, nack_seventh);
    model_start(THIRD, 1, work_off_one); /* two sleep, and may have to wake each other */
    model_start(FOURTH, 1, work_off_one);
}

#define EDGE(name_, says_, set_up_, perform_, look_)                                                                     \
    .name = name_, .says = (says_), .set_up = (set_up_), .perform = (perform_), .look = (look_)
static const struct scenario scenarios[] = {
    { EDGE("queue-two-wakers", "Two put at once, and two that sleep are woken.", two_that_put, perform_two_wakers, look) },
    { EDGE("queue-threads-fewer", "Threads and another process wait for fewer messages than maxsize.", one_that_waits,
           perform_threads_wait_for_fewer, look) },
    { EDGE("queue-threads-map", "Two threads map a lane at once.", not_mapped, perform_threads_map, look) },
    { EDGE("queue-threads-map-both", "The same where one of them takes a lane.", not_mapped, perform_threads_map_both,
           NULL) },
    { EDGE("queue-recycled", "Memory is written again only when it was read.", wrapped, perform_recycled, look) },
    { EDGE("lease-forgiven", "A message has nothing of what its slot had before.", forgiven_before, perform_forgiven,
           look_for_one_kept) },
    { EDGE("lease-late", "Who is late knows so, before it believes what stands in the slot.", one_slot_is_free,
           perform_late, NULL) },
    { EDGE("lease-two-nack", "Two messages that come back at once, below the hint, are both found.", two_hold_four,
           perform_two_nack, NULL) },
};
ADD_SCENARIOS(scenarios)

/* scenario_receipts.c - what somebody waits for that others do to messages: receipts, and join().
 *
 * Threads of the producer's process wait; sleeps have no end, so a lost wake-up is found as such.
 */
#include "queues.h"

enum { FIRST = 1, SECOND = 2, THIRD = 3, FOURTH = 4 };

static uint64_t ids[3];
static struct ipcr_lease held[2];
static uint32_t finished; /* a bit for each message whose task_done was called */

static void look(void)
{
    act_as(0);
    must_be_all_done();
}

static void put_two(void) { MUST(try_put(0, &ids[0]) == IPCR_OK && try_put(1, &ids[1]) == IPCR_OK); }

/* Process 0 has put two, which fill the lane; 1 and 2 are ready to take; or 1 holds both. */
static void set_up(const struct ipcr_queue_options *options, bool are_held)
{
    act_as(0);
    make_queue(1, options);
    take_lane();
    for (int process = 1; process < 3; process++) {
        act_as(process);
        join_queue();
        take_number();
    }
    act_as(0);
    put_two();
    act_as(1);
    if (are_held)
        MUST(try_lease(0, &held[0]) == IPCR_OK && try_lease(0, &held[1]) == IPCR_OK);
    record.comes_back = true;
    keep_record();
}

static void two_ready(void) { set_up(&(struct ipcr_queue_options){ .slots = 2 }, false); }
static void two_held(void) { set_up(&(struct ipcr_queue_options){ .slots = 2 }, true); }
static void two_held_once(void) { set_up(&(struct ipcr_queue_options){ .slots = 2, .max_deliveries = 1 }, true); }

static enum ipcr_phase outcome_of(int which)
{
    int rc;
    while ((rc = core()->queue_outcome(queue(), ids[which])) == IPCR_READY || rc == IPCR_LEASED) {
        rc = core()->queue_wait_for_outcome(queue(), ids[which], IPCR_FOREVER);
        MUST(rc == IPCR_OK || rc == IPCR_AGAIN);
    }
    MUST(rc >= 0);
    return (enum ipcr_phase)rc;
}

static void acked_0(void) { MUST(outcome_of(0) == IPCR_ACKED); }
static void acked_1(void) { MUST(outcome_of(1) == IPCR_ACKED); }

static void acked_both(void)
{
    acked_1();
    acked_0();
}

static void ack_backwards(void)
{
    MUST(ack(&held[1]) == IPCR_OK);
    MUST(ack(&held[0]) == IPCR_OK);
}

static void work_off_two(void) { work_off_some(2); }

static void perform_two_wait(void)
{
    begin_record();
    model_start(FIRST, 0, acked_0);
    model_start(SECOND, 0, acked_1);
    model_start(THIRD, 1, ack_backwards);
}

static void perform_one_waits(void)
{
    begin_record();
    model_start(FIRST, 0, acked_both);
    model_start(SECOND, 1, work_off_two);
}

/* Three wait, one of them for two: the word that says for what goes to and fro. */
static void perform_three_wait(void)
{
    begin_record();
    model_start(FIRST, 0, acked_0);
    model_start(SECOND, 0, acked_both);
    model_start(THIRD, 1, ack_backwards);
    model_start(FOURTH, 0, acked_1);
}

/* --- kept, dead, moved on --------------------------------------------------------------------------------------------------- */

static void kept_0(void) { MUST(outcome_of(0) == IPCR_KEPT); }

static void nack_and_ack(void)
{
    MUST(nack(&held[0]) == IPCR_OK);
    MUST(ack(&held[1]) == IPCR_OK);
}

static void perform_kept(void)
{
    begin_record();
    model_start(FIRST, 0, kept_0);
    model_start(SECOND, 0, acked_1);
    model_start(THIRD, 1, nack_and_ack);
}

static void look_for_one_kept(void)
{
    struct ipcr_lane_stats sum;
    act_as(0);
    look_at_stats(&sum);
    MUST(sum.put == 2 && sum.kept == 1 && sum.acknowledged == 1);
}

static void dead_0(void) { MUST(outcome_of(0) == IPCR_DEAD); }

static void bury_and_ack(void)
{
    record.done |= 1;
    MUST(core()->lease_bury(queue(), &held[0]) == IPCR_OK);
    MUST(ack(&held[1]) == IPCR_OK);
}

/* Another thread uses the slots again: what became of their messages is remembered. */
static void put_on(void)
{
    for (uint64_t number = 2; number < 4; number++)
        (void)put(number);
}

static void get_two(void)
{
    uint64_t number;
    for (int i = 0; i < 2; i++)
        MUST(get(&number) == IPCR_OK);
}

static void bury_ack_and_get(void)
{
    bury_and_ack();
    get_two();
}

static void perform_moved_on(void)
{
    begin_record();
    model_start(FIRST, 0, dead_0);
    model_start(SECOND, 0, put_on);
    model_start(THIRD, 1, bury_ack_and_get);
}

/* --- join ----------------------------------------------------------------------------------------------------------------------- */

static void task_done(uint64_t number)
{
    finished |= 1u << number;
    MUST(core()->queue_task_done(queue()) == IPCR_OK);
}

static void get_and_finish(void)
{
    uint64_t number;
    MUST(get(&number) == IPCR_OK);
    task_done(number);
}

/* The first so many are known to have been put; perhaps there are more. */
static void join_after(uint32_t puts)
{
    while (!core()->queue_all_finished(queue())) {
        const int rc = core()->queue_wait_for_finish(queue(), IPCR_FOREVER);
        MUST(rc == IPCR_OK || rc == IPCR_AGAIN);
    }
    MUST((finished & ((1u << puts) - 1)) == (1u << puts) - 1);
}

static void join(void) { join_after(2); }

static void get_and_finish_twice(void)
{
    get_and_finish();
    get_and_finish();
}

static void put_another_and_join(void)
{
    (void)put(2);
    join_after(3);
}

static void perform_join(void)
{
    begin_record();
    finished = 0;
    model_start(FIRST, 0, join);
    model_start(SECOND, 1, get_and_finish);
    model_start(THIRD, 2, get_and_finish);
}

static void perform_join_twice(void)
{
    begin_record();
    finished = 0;
    model_start(FIRST, 0, join);
    model_start(SECOND, 0, put_another_and_join);
    model_start(THIRD, 1, get_and_finish_twice);
    model_start(FOURTH, 2, get_and_finish);
}

/* Numbers and all are had at the first message. */
static void two_for_beginners(void)
{
    act_as(0);
    make_queue(1, &(struct ipcr_queue_options){ .slots = 2 });
    put_two();
    act_as(1);
    join_queue();
    act_as(2);
    join_queue();
    keep_record();
}

/* --- what was done before is visible ------------------------------------------------------------------------------------------- */

static uint8_t *results; /* of those who work: memory that is not the queue's, a word for each message */

static void two_ready_and_results(void)
{
    results = own_structure(16);
    two_ready();
}

static void write_result(uint64_t number) { copy_in(results + 8 * number, &number, sizeof number); }

static void must_have_result(uint64_t number)
{
    uint64_t result;
    copy_out(&result, results + 8 * number, sizeof result);
    MUST(result == number);
}

static void lease_and_write(void)
{
    struct ipcr_lease l;
    MUST(lease(0, &l) == IPCR_OK);
    write_result(number_of(&l));
    MUST(ack(&l) == IPCR_OK);
}

static void read_when_acked(void)
{
    acked_0();
    must_have_result(0);
    acked_1();
    must_have_result(1);
}

static void perform_results(void)
{
    begin_record();
    model_start(FIRST, 0, read_when_acked);
    model_start(SECOND, 1, lease_and_write);
    model_start(THIRD, 2, lease_and_write);
}

static void get_write_and_finish(void)
{
    uint64_t number;
    MUST(get(&number) == IPCR_OK);
    write_result(number);
    task_done(number);
}

static void read_when_joined(void)
{
    join();
    must_have_result(0);
    must_have_result(1);
}

static void perform_joined_results(void)
{
    begin_record();
    finished = 0;
    model_start(FIRST, 0, read_when_joined);
    model_start(SECOND, 1, get_write_and_finish);
    model_start(THIRD, 2, get_write_and_finish);
}

#define RECEIPTS(name_, says_, set_up_, perform_)                                                                        \
    .name = "receipt-" name_, .says = (says_), .set_up = (set_up_), .perform = (perform_)
static const struct scenario scenarios[] = {
    { RECEIPTS("one", "Who waits for receipts, one after the other, is woken for each.", two_ready, perform_one_waits),
      .look = look },
    { RECEIPTS("two", "Two who wait for two receipts are both woken.", two_held, perform_two_wait), .look = look },
    { RECEIPTS("three", "The same with three.", two_held, perform_three_wait), .look = look },
    { RECEIPTS("kept", "Who waits is told of a message that is kept.", two_held_once, perform_kept),
      .look = look_for_one_kept },
    { RECEIPTS("moved-on", "A message that was given up is known as such when its slot is another's.", two_held,
               perform_moved_on), .look = look },
    { RECEIPTS("join", "join() waits for as many task_done() as there were messages.", two_ready, perform_join),
      .look = look },
    { RECEIPTS("join-twice", "The same with two who wait, while there are still puts.", two_ready, perform_join_twice),
      .look = look },
    { RECEIPTS("join-beginners", "The same where those who finish have never taken a message before.", two_for_beginners,
               perform_join), .look = look },
    { RECEIPTS("results", "Who has a receipt sees what was done before the message was acknowledged.",
               two_ready_and_results, perform_results), .look = look },
    { RECEIPTS("join-results", "After join() all is seen that was done before task_done().", two_ready_and_results,
               perform_joined_results), .look = look },
};
ADD_SCENARIOS(scenarios)

/* scenario_queue_late.c - somebody is stopped between the two halves of what must be one step, or has not yet seen what
 * others did, and everybody else goes on: gates, hints, lanes that come into use, duties that threads share.
 *
 * Sleeps have no end: whoever is not woken, and whatever is not found, is found as such.
 */
#include "queues.h"

enum { FIRST = 1, SECOND = 2, THIRD = 3, FOURTH = 4 };

static struct ipcr_lease held[12];

static void get_one(void)
{
    uint64_t number;
    MUST(get(&number) == IPCR_OK);
}

static void get_two(void)
{
    get_one();
    get_one();
}

static void put_0(void) { (void)put(0); }
static void put_1(void) { (void)put(1); }
static void put_2(void) { (void)put(2); }
static void put_other(void) { (void)put(SECOND_PRODUCER); }

static void put_three(void)
{
    put_0();
    put_1();
    put_2();
}

static void look(void)
{
    act_as(1);
    must_be_all_done();
}

/* Processes 0 and 2 have lanes, all have numbers; and the gate is armed by a wait that was over at once, which also left
 * process 1 a duty: to look whether others want what it was woken for. */
static void armed(void)
{
    act_as(0);
    make_queue(2, &(struct ipcr_queue_options){ .slots = 4 });
    take_lane();
    take_number();
    act_as(2);
    join_queue();
    take_lane();
    take_number();
    act_as(1);
    join_queue();
    take_number();
    MUST(core()->queue_wait_for_message(queue(), model_now) == IPCR_OK);
    keep_record();
}

/* --- gates ------------------------------------------------------------------------------------------------------------------- */

/* One opens the gate, or all of it, late: meanwhile it was opened and armed by others, and must not seem to be as before. */
static void put_three_others(void)
{
    for (uint64_t number = SECOND_PRODUCER; number < SECOND_PRODUCER + 3; number++)
        (void)put(number);
}

static void perform_late_waker(void)
{
    begin_record();
    model_start(FIRST, 0, put_0);
    model_start(SECOND, 2, put_three_others);
    model_start(THIRD, 1, get_two);
    model_start(FOURTH, 0, get_two);
}

static void close_it(void) { core()->queue_close(queue()); }

static void perform_late_closer(void)
{
    begin_record();
    model_start(FIRST, 0, close_it);
    model_start(SECOND, 2, put_three_others);
    model_start(THIRD, 1, get_two);
    model_start(FOURTH, 2, get_one);
}

/* --- duties that threads of one process share ---------------------------------------------------------------------------------- */

static void perform_threads_sleep_again(void)
{
    begin_record();
    model_start(FIRST, 0, put_three);
    model_start(SECOND, 1, get_one);
    model_start(THIRD, 1, get_one);
    model_start(FOURTH, 2, get_one);
}

/* The same for room: message 0 is all that maxsize allows, and process 0 has waited. */
static void crowded(void)
{
    act_as(0);
    make_queue(2, &(struct ipcr_queue_options){ .slots = 4, .maxsize = 1 });
    take_lane();
    act_as(2);
    join_queue();
    take_lane();
    act_as(1);
    join_queue();
    take_number();
    act_as(0);
    put_0();
    MUST(core()->queue_wait_for_room(queue(), message_length, model_now) == IPCR_OK);
    record.comes_back = true; /* the numbers of two threads have no order */
    keep_record();
}

static void get_four(void)
{
    get_two();
    get_two();
}

static void perform_threads_wait_again(void)
{
    begin_record();
    model_start(FIRST, 0, put_1);
    model_start(SECOND, 0, put_2);
    model_start(THIRD, 2, put_other);
    model_start(FOURTH, 1, get_four);
}

/* --- a lane that comes into use ------------------------------------------------------------------------------------------------- */

static void unused(void)
{
    act_as(0);
    make_queue(2, &(struct ipcr_queue_options){ .slots = 2 });
    act_as(1);
    join_queue();
    keep_record();
}

static void put_until_shut(void)
{
    for (uint64_t number = 0; number < 3; number++) {
        const int rc = put_unless_closed(number);
        MUST(rc == IPCR_SHUT_DOWN || (rc == IPCR_OK && number < 2)); /* there is room for two */
        if (rc == IPCR_SHUT_DOWN)
            return;
    }
}

static void shut(void) { MUST(core()->queue_shut(queue(), IPCR_DRAINING) == IPCR_OK); }

static void perform_shutdown(void)
{
    begin_record();
    model_start(FIRST, 0, put_until_shut);
    model_start(SECOND, 1, shut);
}

/* --- hints ------------------------------------------------------------------------------------------------------------------------ */

/* Process 0 holds the first six of twelve, 2 the others; the hint is at the fourth, because that one has come back once.
 * Process 1 will raise it. */
static void twelve_held(void)
{
    act_as(1);
    make_queue(1, &(struct ipcr_queue_options){ .slots = 16 });
    take_lane();
    take_number();
    act_as(0);
    join_queue();
    act_as(2);
    join_queue();
    for (uint64_t number = 0; number < 12; number++) {
        act_as(1);
        (void)put(number);
        act_as(number < 6 ? 0 : 2);
        MUST(try_lease(0, &held[number]) == IPCR_OK);
    }
    record.comes_back = true;
    act_as(0);
    MUST(nack(&held[3]) == IPCR_OK && try_lease(0, &held[3]) == IPCR_OK && number_of(&held[3]) == 3);
    keep_record();
}

static void nack_below(void) { MUST(nack(&held[1]) == IPCR_OK); }
static void nack_just_above(void) { MUST(nack(&held[4]) == IPCR_OK); }
static void nack_last(void) { MUST(nack(&held[11]) == IPCR_OK); }
static void work_off_two(void) { work_off_some(2); }

static void put_and_work_off_two(void)
{
    (void)put(12);
    work_off_two();
}

/* One comes back below the hint while it is raised. */
static void perform_nack_below(void)
{
    begin_record();
    model_start(FIRST, 0, nack_below);
    model_start(SECOND, 1, put_and_work_off_two);
}

/* Two come back at once: each must be noticed. */
static void perform_nacks_above(void)
{
    begin_record();
    model_start(FIRST, 0, nack_just_above);
    model_start(SECOND, 2, nack_last);
    model_start(THIRD, 1, work_off_two);
}

#define LATE(name_, says_, set_up_, perform_)                                                                            \
    .name = name_, .says = (says_), .set_up = (set_up_), .perform = (perform_)
static const struct scenario scenarios[] = {
    { LATE("queue-late-waker", "A gate that is opened late does not seem to be as it was before.", armed,
           perform_late_waker), .look = look },
    { LATE("queue-late-closer", "The same where all of it is opened, because a handle is closed.", armed,
           perform_late_closer), .look = look },
    { LATE("queue-threads-sleep-again", "A thread that does another's duty knows what that one knew.", armed,
           perform_threads_sleep_again), .look = look },
    { LATE("queue-threads-wait-again", "The same for those who wait for room.", crowded, perform_threads_wait_again),
      .look = look },
    { LATE("queue-shutdown-new-lane", "Who waits for room in a lane that just came into use is told of the shutdown.",
           unused, perform_shutdown) },
    { LATE("lease-nack-below", "A message that comes back below the hint is found, though the hint is just raised.",
           twelve_held, perform_nack_below) },
    { LATE("lease-nacks-above", "Two come back at once while the hint is raised over one of them: both are found.",
           twelve_held, perform_nacks_above) },
};
ADD_SCENARIOS(scenarios)

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

/* Who has come how far; where a schedule depends on it, the others wait for each other outside of the core. */
static bool first_is_done, second_is_done;
static const char told; /* what they wait on */

static void wait_until(const bool *it)
{
    while (!*it)
        model_block(&told, IPCR_FOREVER);
}

static void tell(bool *it)
{
    *it = true;
    model_wake(&told, FIBERS);
}

static void begin(void)
{
    begin_record();
    first_is_done = second_is_done = false;
    record.comes_back = true; /* what two threads of a process put has no order */
}

/* One opens the gate late, or all of it: meanwhile another has opened it, and one that is about to sleep armed it, and it must
 * not seem to that one, once it is armed again, to be as it was.  Here three messages are to be finished; who waits for that
 * sleeps at the same gate all the time. */
static void three_to_finish(void)
{
    act_as(0);
    make_queue(1, &(struct ipcr_queue_options){ .slots = 4 });
    take_number();
    act_as(1);
    join_queue();
    take_number();
    act_as(2);
    join_queue();
    act_as(0);
    put_three();
    const int rc = core()->queue_wait_for_finish(queue(), model_now);
    MUST(rc == IPCR_OK || rc == IPCR_AGAIN); /* armed */
    keep_record();
}

static void finish(uint64_t n) { MUST(core()->queue_finish_many(queue(), n) == IPCR_OK); }

static void finish_late(void)
{
    finish(1);
    finish(1);
    tell(&first_is_done);
}

static void shut_late_and_finish(void)
{
    MUST(core()->queue_shut(queue(), IPCR_DRAINING) == IPCR_OK);
    finish(2);
    tell(&first_is_done);
}

static void wait_for_all(void)
{
    while (!core()->queue_all_finished(queue()))
        MUST(core()->queue_wait_for_finish(queue(), IPCR_FOREVER) == IPCR_OK);
}

static void finish_and_wait(void)
{
    finish(1);
    tell(&second_is_done);
    wait_until(&first_is_done);
    MUST(core()->queue_wait_for_finish(queue(), IPCR_FOREVER) == IPCR_OK);
}

static void wait_in_between(void)
{
    wait_until(&second_is_done);
    wait_for_all();
}

static void perform_late(void (*first)(void))
{
    begin();
    model_start(FIRST, 0, first);
    model_start(SECOND, 1, finish_and_wait);
    model_start(THIRD, 2, wait_in_between);
}

static void perform_late_waker(void) { perform_late(finish_late); }
static void perform_late_shutdown(void) { perform_late(shut_late_and_finish); }

/* --- duties that threads of one process share ---------------------------------------------------------------------------------- */

/* One was woken; the other does its duty, to look whether there is more, and must know what the first one has missed. */
static void get_after_the_other(void)
{
    uint64_t number;
    int rc = try_get(&number);
    if (rc == IPCR_OK)
        return;
    rc = core()->queue_wait_for_message(queue(), IPCR_FOREVER);
    MUST(rc == IPCR_OK || rc == IPCR_AGAIN);
    wait_until(&second_is_done);
    get_one();
}

static void put_when_they_sleep(void)
{
    look_later();
    put_three();
    tell(&first_is_done);
}

static void lease_and_tell(void)
{
    struct ipcr_lease l;
    wait_until(&first_is_done);
    int rc = try_lease(0, &l);
    tell(&second_is_done);
    if (rc != IPCR_OK)
        rc = lease(0, &l);
    MUST(rc == IPCR_OK && ack(&l) == IPCR_OK);
}

static void perform_threads_sleep_again(void)
{
    begin();
    model_start(FIRST, 1, get_after_the_other);
    model_start(SECOND, 2, get_one);
    model_start(THIRD, 0, put_when_they_sleep);
    model_start(FOURTH, 1, lease_and_tell);
}

/* The same for room: three messages are all that maxsize allows, and process 0 has waited before. */
static void crowded(void)
{
    act_as(0);
    make_queue(2, &(struct ipcr_queue_options){ .slots = 4, .maxsize = 3 });
    take_lane();
    act_as(2);
    join_queue();
    take_lane();
    act_as(1);
    join_queue();
    take_number();
    act_as(0);
    put_three();
    MUST(core()->queue_wait_for_room(queue(), message_length, model_now) == IPCR_OK);
    keep_record();
}

static void get_when_they_sleep(void)
{
    look_later();
    get_two();
    get_one();
    tell(&first_is_done);
}

static void put_after_the_other(void)
{
    const int rc = core()->queue_wait_for_room(queue(), message_length, IPCR_FOREVER);
    MUST(rc == IPCR_OK || rc == IPCR_AGAIN);
    wait_until(&second_is_done);
    (void)put(3);
}

/* What it does before it waits for room in its lane: there is some. */
static void look_and_put(void)
{
    wait_until(&first_is_done);
    const int rc = core()->queue_wait_for_room(queue(), message_length, model_now);
    MUST(rc == IPCR_OK || rc == IPCR_AGAIN);
    tell(&second_is_done);
    (void)put(4);
}

static void perform_threads_wait_again(void)
{
    begin();
    model_start(FIRST, 0, put_after_the_other);
    model_start(SECOND, 2, put_other);
    model_start(THIRD, 1, get_when_they_sleep);
    model_start(FOURTH, 0, look_and_put);
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

#define A_MOMENT 1000 /* of look_later(): slices are longer */
#define LATE(name_, says_, set_up_, perform_)                                                                            \
    .name = name_, .says = (says_), .set_up = (set_up_), .perform = (perform_)
static const struct scenario scenarios[] = {
    { LATE("queue-late-waker", "A gate that is opened late does not seem to be as it was before.", three_to_finish,
           perform_late_waker) },
    { LATE("queue-late-shutdown", "The same where all of it is opened, because the queue is shut down.", three_to_finish,
           perform_late_shutdown) },
    { LATE("queue-threads-sleep-again", "A thread that does another's duty knows what that one knew.", armed,
           perform_threads_sleep_again), .look = look, .patience_ns = A_MOMENT },
    { LATE("queue-threads-wait-again", "The same for those who wait for room.", crowded, perform_threads_wait_again),
      .patience_ns = A_MOMENT },
    { LATE("queue-shutdown-new-lane", "Who waits for room in a lane that just came into use is told of the shutdown.",
           unused, perform_shutdown) },
    { LATE("lease-nack-below", "A message that comes back below the hint is found, though the hint is just raised.",
           twelve_held, perform_nack_below) },
    { LATE("lease-nacks-above", "Two come back at once while the hint is raised over one of them: both are found.",
           twelve_held, perform_nacks_above) },
};
ADD_SCENARIOS(scenarios)

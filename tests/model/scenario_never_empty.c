/* scenario_never_empty.c - whoever passes over messages that others are done with, because a hint or what was freed says so,
 * knows all the same what those others did before.
 *
 * Lane 1 had some messages, of which one is left, and lane 0 gets one before that one is taken.  Somebody notes that all
 * of those are done with, in one of several ways; and somebody else must not believe that there is nothing.
 */
#include "queues.h"

enum { FIRST = 1, SECOND = 2, THIRD = 3, MANY = 8 };

static struct ipcr_lease last; /* of lane 1 */
static bool is_taken;
static const char told;

/* Process 0 has lane 0, 1 lane 1; all have numbers.  Process 2 holds all but the last of lane 1, or is done with them; then
 * process 0 holds the last one. */
static void set_up(bool are_done, uint64_t slots, uint64_t many)
{
    struct ipcr_lease l;
    act_as(0);
    make_queue(2, &(struct ipcr_queue_options){ .slots = slots });
    take_lane();
    take_number();
    act_as(1);
    join_queue();
    take_lane();
    take_number();
    act_as(2);
    join_queue();
    take_number();
    record.comes_back = true;
    model_now -= 1000;
    for (uint64_t number = SECOND_PRODUCER; number < SECOND_PRODUCER + many; number++) {
        act_as(1);
        (void)put(number);
        act_as(2);
        if (number == SECOND_PRODUCER + many - 1) {
            act_as(0);
            MUST(!are_done || try_lease(0, &last) == IPCR_OK);
            continue;
        }
        MUST(try_lease(0, &l) == IPCR_OK);
        if (are_done && number == SECOND_PRODUCER) /* so that something has come back, ever */
            MUST(nack(&l) == IPCR_OK && try_lease(0, &l) == IPCR_OK);
        if (are_done)
            MUST(ack(&l) == IPCR_OK);
    }
    model_now += 1000;
    keep_record();
}

static void one_left(void) { set_up(true, 16, MANY); }
static void one_left_of_two(void) { set_up(true, 16, 2); } /* too few to raise a hint over, which has a fence */
static void one_left_beside_held(void) { set_up(false, 16, MANY); }
static void one_left_in_full_lane(void) { set_up(true, MANY, MANY); }

static void must_get(void)
{
    uint64_t number;
    MUST(try_get(&number) == IPCR_OK);
}

static void put_and_get(void)
{
    (void)put(0);
    (void)put(1);
    must_get();
    is_taken = true;
    model_wake(&told, FIBERS);
}


/* It raises the hint over all that are taken, and takes one of lane 0. */
static void wait_until_taken(void)
{
    while (!is_taken)
        model_block(&told, IPCR_FOREVER);
}

static void get_when_taken(void)
{
    wait_until_taken();
    must_get();
}

static void perform_raised(void)
{
    begin_record();
    is_taken = false;
    model_start(FIRST, 0, put_and_get);
    model_start(SECOND, 2, get_when_taken);
    model_start(THIRD, 1, must_get);
}

/* --- counts ------------------------------------------------------------------------------------------------------------------- */

static void put_and_ack(void)
{
    (void)put(0);
    MUST(ack(&last) == IPCR_OK);
    is_taken = true;
    model_wake(&told, FIBERS);
}

static void must_count_some(void) { MUST(core()->queue_depth(queue()) > 0); }

static void count(void)
{
    wait_until_taken();
    (void)core()->queue_depth(queue());
}

static void repair(void)
{
    wait_until_taken();
    MUST(core()->queue_repair(queue(), model_now) == IPCR_OK);
}

/* Whoever holds all there is finds nothing, and settles what is done. */
static void lease_all(void)
{
    struct ipcr_lease l;
    wait_until_taken();
    for (int i = 0; i < 2; i++) {
        const int rc = try_lease(0, &l);
        MUST(rc == IPCR_OK || rc == IPCR_EMPTY);
    }
}

static void put_more(void)
{
    wait_until_taken();
    (void)put(SECOND_PRODUCER + MANY);
}

static void perform(void (*second)(void))
{
    begin_record();
    is_taken = false;
    model_start(FIRST, 0, put_and_ack);
    model_start(SECOND, 1, second);
    model_start(THIRD, 2, must_count_some);
}

static void perform_counted(void) { perform(count); }
static void perform_repaired(void) { perform(repair); }
static void perform_scanned(void) { perform(lease_all); }
static void perform_freed(void) { perform(put_more); }

#define NEVER(name_, says_, set_up_, perform_)                                                                           \
    .name = "queue-never-empty-" name_, .says = (says_), .set_up = (set_up_), .perform = (perform_)
static const struct scenario scenarios[] = {
    { NEVER("raised", "Empty is not said where a hint was raised over the last but one message.", one_left_beside_held,
            perform_raised) },
    { NEVER("counted", "Nobody counts no message where somebody else has counted.", one_left, perform_counted) },
    { NEVER("repaired", "The same where somebody has looked for leases that are over.", one_left, perform_repaired) },
    { NEVER("scanned", "The same where somebody has looked for messages.", one_left_of_two,
            perform_scanned) },
    { NEVER("freed", "The same where the slots were freed.", one_left_in_full_lane, perform_freed) },
};
ADD_SCENARIOS(scenarios)

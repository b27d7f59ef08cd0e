/* scenario_settled.c - the hint `settled`, below which nobody looks for leases any more, never passes a message that is held.
 *
 * A message below it that is not done with would be lost: its lease may run out, or its holder die, and no repair finds it.
 * The hint goes up to where the lane has come, so this is about `head` not being seen before the messages below it.
 */
#include "queues.h"

enum { FIRST = 1, SECOND = 2, THIRD = 3, BEFORE = 7 };


/* Process 0 puts, 1 takes, 2 looks.  `before` messages came and went. */
static void set_up(int before)
{
    act_as(0);
    make_queue(1, &(struct ipcr_queue_options){ .slots = 16 });
    take_lane();
    for (int process = 1; process < 3; process++) {
        act_as(process);
        join_queue();
        take_number();
    }
    for (int i = 0; i < before; i++) {
        uint64_t number;
        act_as(0);
        (void)put((uint64_t)i);
        act_as(1);
        MUST(try_get(&number) == IPCR_OK);
    }
    record.comes_back = true;
    keep_record();
}

static void nothing_before(void) { set_up(0); }
static void seven_before(void) { set_up(BEFORE); }

static void put_two_at_once(void)
{
    const uint64_t lengths[2] = { 8, 8 }, infos[2] = { IPCR_INFO(0, IPCR_BYTES), IPCR_INFO(1, IPCR_BYTES) };
    char both[16];
    memcpy(both, message(0, 8), 8);
    memcpy(both + 8, message(1, 8), 8);
    record.begun |= 3;
    MUST(core()->queue_put_many(queue(), both, lengths, infos, 2, 0, NULL) == 2);
    record.put |= 3;
}

static void put_the_eighth(void) { (void)put(BEFORE); }

/* What is held until its lease runs out, which it does when all is over. */
static void hold(void)
{
    struct ipcr_lease first;
    MUST(lease(LEASE_NS, &first) == IPCR_OK);
}

static void hold_one_ack_one(void)
{
    struct ipcr_lease second;
    hold();
    MUST(lease(LEASE_NS, &second) == IPCR_OK);
    MUST(ack(&second) == IPCR_OK);
}

static void repair(void) { MUST(core()->queue_repair(queue(), model_now) == IPCR_OK); }
static void count(void) { MUST(core()->queue_depth(queue()) <= 1); }

static void perform_repair(void)
{
    begin_record();
    model_start(FIRST, 0, put_two_at_once);
    model_start(SECOND, 1, hold_one_ack_one);
    model_start(THIRD, 2, repair);
}

static void perform_count(void)
{
    begin_record();
    model_start(FIRST, 0, put_the_eighth);
    model_start(SECOND, 1, hold);
    model_start(THIRD, 2, count);
}

static void look(void)
{
    struct ipcr_lease again;
    act_as(2);
    model_now += 2 * LEASE_NS;
    MUST(core()->queue_depth(queue()) == 1);
    MUST(core()->queue_repair(queue(), model_now) == IPCR_OK);
    if (try_lease(0, &again) != IPCR_OK)
        model_fail("the lease ran out, and nobody gets the message");
    MUST(ack(&again) == IPCR_OK);
    must_be_all_done();
}

static const struct scenario scenarios[] = {
    {
        .name = "queue-settled-repair",
        .says = "Repair beside a batch: what is held then is found when its lease has run out.",
        .set_up = nothing_before,
        .perform = perform_repair,
        .look = look,
    },
    {
        .name = "queue-settled-count",
        .says = "The same of one who only counts.",
        .set_up = seven_before,
        .perform = perform_count,
        .look = look,
    },
};
ADD_SCENARIOS(scenarios)

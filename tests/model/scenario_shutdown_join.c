/* scenario_shutdown_join.c - a put that overtook a shutdown takes its message back; whoever waits in join() then waits for what
 * was put, and for nothing else.
 */
#include "queues.h"

enum { FIRST = 1, SECOND = 2, THIRD = 3 };

/* Process 0 puts, 1 shuts down, 2 takes; all have what they need from the beginning. */
static void one_lane(void)
{
    act_as(0);
    make_queue(2, &(struct ipcr_queue_options){ .slots = 4 });
    take_lane();
    for (int process = 1; process < 3; process++) {
        act_as(process);
        join_queue();
        take_number();
    }
    keep_record();
}

static void put_two(void)
{
    uint64_t id;
    int rc = IPCR_OK;
    for (uint64_t number = 0; rc == IPCR_OK && number < 2; number++)
        rc = try_put(number, &id);
    MUST(rc == IPCR_OK || rc == IPCR_SHUT_DOWN);
}

static void put_two_at_once(void)
{
    const uint64_t lengths[] = { 8, 8 }, infos[] = { IPCR_INFO(0, IPCR_BYTES), IPCR_INFO(1, IPCR_BYTES) };
    char bytes[16];
    memcpy(bytes, message(0, 8), 8);
    memcpy(bytes + 8, message(1, 8), 8);
    record.begun = 3;
    const int64_t n = core()->queue_put_many(queue(), bytes, lengths, infos, 2, 0, NULL);
    MUST(n == 1 || n == 2 || n == IPCR_SHUT_DOWN);
    record.put = n < 0 ? 0 : (1u << n) - 1;
}

static void shut(void) { MUST(core()->queue_shut(queue(), IPCR_DRAINING) == IPCR_OK); }

static void take_and_finish(void)
{
    uint64_t number;
    while (get(&number) == IPCR_OK)
        MUST(core()->queue_task_done(queue()) == IPCR_OK);
}

static void perform(void)
{
    begin_record();
    model_start(FIRST, 0, put_two);
    model_start(SECOND, 1, shut);
    model_start(THIRD, 2, take_and_finish);
}

static void perform_batch(void)
{
    begin_record();
    model_start(FIRST, 0, put_two_at_once);
    model_start(SECOND, 1, shut);
    model_start(THIRD, 2, take_and_finish);
}

static void look(void)
{
    act_as(0);
    MUST(record.put == record.taken);
    MUST(core()->queue_depth(queue()) == 0);
    MUST(core()->queue_all_finished(queue()));
    MUST(core()->queue_task_done(queue()) == IPCR_EMPTY);
}

#define SHUT(name_, says_, perform_)                                                                                     \
    .name = "queue-join-shut" name_, .says = (says_), .set_up = one_lane, .perform = (perform_), .look = look
static const struct scenario scenarios[] = {
    { SHUT("", "What is put while a queue is shut down is taken and finished, or was not put.", perform) },
    { SHUT("-batch", "The same for a batch.", perform_batch) },
};
ADD_SCENARIOS(scenarios)

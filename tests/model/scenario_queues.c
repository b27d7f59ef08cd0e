/* scenario_queues.c - producers and consumers in processes of their own: nothing lost, nothing twice, in order; and who sleeps at
 * a gate is woken.
 *
 * Sleeps are not cut into slices here: a wake-up that is lost leaves somebody asleep for ever, and is found as such.
 */
#include "queues.h"

enum { FIRST = 1, SECOND = 2, THIRD = 3, FOURTH = 4, BEFORE = 0 };

static void get_some(int n)
{
    uint64_t number;
    for (int i = 0; i < n; i++)
        MUST(get(&number) == IPCR_OK);
}

static void get_one(void) { get_some(1); }
static void get_two(void) { get_some(2); }
static void get_three(void) { get_some(3); }

static void put_some(uint64_t first, int n)
{
    for (int i = 0; i < n; i++)
        (void)put(first + (uint64_t)i);
}

static void put_one(void) { put_some(0, 1); }
static void put_two(void) { put_some(0, 2); }
static void put_three(void) { put_some(0, 3); }
static void put_four(void) { put_some(0, 4); }
static void put_two_others(void) { put_some(SECOND_PRODUCER, 2); }

static void look(void)
{
    act_as(0);
    MUST(record.put == record.begun && record.done == record.put);
    must_be_all_done();
}

/* --- one producer, two consumers --------------------------------------------------------------------------------------- */

/* Process 0 puts, 1 and 2 take; all have what they need from the beginning. */
static void set_up_slots(uint64_t slots)
{
    act_as(0);
    make_queue(2, &(struct ipcr_queue_options){ .slots = slots });
    take_lane();
    for (int process = 1; process < 3; process++) {
        act_as(process);
        join_queue();
        take_number();
    }
    for (uint64_t i = 0; i < 2 * slots; i++) { /* no slot is unused, and each has had other laps */
        uint64_t number;
        act_as(0);
        (void)put(BEFORE);
        act_as(1);
        MUST(try_get(&number) == IPCR_OK);
        record = (struct record){ .before = record.before + 1 };
    }
    keep_record();
}

static void two_slots(void) { set_up_slots(2); }
static void four_slots(void) { set_up_slots(4); }

static void perform_fifo(void)
{
    begin_record();
    model_start(FIRST, 0, put_three);
    model_start(SECOND, 1, get_two);
    model_start(THIRD, 2, get_one);
}

/* The lane is full again and again: it has two slots. */
static void perform_full(void)
{
    begin_record();
    model_start(FIRST, 0, put_four);
    model_start(SECOND, 1, get_two);
    model_start(THIRD, 2, get_two);
}

static void perform_sleepers(void)
{
    begin_record();
    model_start(FIRST, 0, put_two);
    model_start(SECOND, 1, get_one);
    model_start(THIRD, 2, get_one);
}

/* Both sleep when two messages come with one wake-up for both. */
static void put_two_at_once(void)
{
    const uint64_t lengths[] = { 8, 8 }, infos[] = { IPCR_INFO(0, IPCR_BYTES), IPCR_INFO(1, IPCR_BYTES) };
    char bytes[16];
    memcpy(bytes, message(0, 8), 8);
    memcpy(bytes + 8, message(1, 8), 8);
    record.begun = 3;
    MUST(core()->queue_put_many(queue(), bytes, lengths, infos, 2, 0, NULL) == 2);
    record.put = 3;
}

static void perform_batch(void)
{
    begin_record();
    model_start(FIRST, 0, put_two_at_once);
    model_start(SECOND, 1, get_one);
    model_start(THIRD, 2, get_one);
}

/* Three sleepers, two of them threads of one process: they share what a handle remembers. */
static void perform_threads_sleep(void)
{
    begin_record();
    model_start(FIRST, 0, put_three);
    model_start(SECOND, 1, get_one);
    model_start(THIRD, 1, get_one);
    model_start(FOURTH, 2, get_one);
}

/* The first use of everything: the lane, the numbers, the memory. */
static void from_scratch(void)
{
    act_as(0);
    make_queue(2, &(struct ipcr_queue_options){ .slots = 2 });
    for (int process = 1; process < 3; process++) {
        act_as(process);
        join_queue();
    }
}

static void perform_from_scratch(void)
{
    begin_record();
    model_start(FIRST, 0, put_one);
    model_start(SECOND, 1, put_two_others);
    model_start(THIRD, 2, get_three);
}

/* --- Empty is never said of a queue that was never empty ------------------------------------------------------------------ */

static struct ipcr_lease held;

/* Process 0 has lane 0, process 1 lane 1, where the one message is; it is older than whatever comes. */
static void one_in_the_second_lane(void)
{
    act_as(0);
    make_queue(2, &(struct ipcr_queue_options){ .slots = 2 });
    take_lane();
    take_number();
    act_as(1);
    join_queue();
    take_lane();
    take_number();
    model_now -= 1000;
    (void)put(SECOND_PRODUCER);
    model_now += 1000;
    keep_record();
}

/* Process 0 has no lane yet: its first put brings another lane into use. */
static void one_in_the_only_lane(void)
{
    act_as(0);
    make_queue(2, &(struct ipcr_queue_options){ .slots = 2 });
    take_number();
    act_as(1);
    join_queue();
    take_number();
    model_now -= 1000;
    (void)put(SECOND_PRODUCER);
    model_now += 1000;
    keep_record();
}

/* Process 0 holds what was in lane 0. */
static void one_of_two_is_held(void)
{
    act_as(0);
    make_queue(2, &(struct ipcr_queue_options){ .slots = 2 });
    (void)put(0);
    MUST(try_lease(0, &held) == IPCR_OK);
    act_as(1);
    join_queue();
    take_lane();
    take_number();
    model_now -= 1000;
    (void)put(SECOND_PRODUCER);
    model_now += 1000;
    record.comes_back = true;
    keep_record();
}

static void must_get(void)
{
    uint64_t number;
    MUST(try_get(&number) == IPCR_OK); /* there was one all the time */
}

static void put_then_get(void)
{
    (void)put(0);
    must_get();
}

static void nack_then_get(void)
{
    MUST(nack(&held) == IPCR_OK);
    must_get();
}

static void perform_never_empty(void)
{
    begin_record();
    model_start(FIRST, 0, put_then_get);
    model_start(SECOND, 1, must_get);
}

static void perform_comes_back(void)
{
    begin_record();
    model_start(FIRST, 0, nack_then_get);
    model_start(SECOND, 1, must_get);
}

/* --- maxsize -------------------------------------------------------------------------------------------------------------- */

/* Two that put, one that takes; one message at a time, and one more, because there are two producers. */
static void one_at_a_time(void)
{
    act_as(0);
    make_queue(2, &(struct ipcr_queue_options){ .slots = 4, .maxsize = 1 });
    take_lane();
    act_as(1);
    join_queue();
    take_lane();
    act_as(2);
    join_queue();
    take_number();
    keep_record();
}

static void get_four(void) { get_some(4); }

static void perform_maxsize(void)
{
    begin_record();
    model_start(FIRST, 0, put_two);
    model_start(SECOND, 1, put_two_others);
    model_start(THIRD, 2, get_four);
}

/* One producer alone never puts more. */
static void put_three_counted(void)
{
    for (uint64_t number = 0; number < 3; number++) {
        (void)put(number);
        MUST(count_of(record.put) - count_of(record.taken) <= 2); /* one is just being taken */
    }
}

static void perform_maxsize_exact(void)
{
    begin_record();
    model_start(FIRST, 0, put_three_counted);
    model_start(SECOND, 2, get_three);
}

/* Two threads of one process wait for room in its lane; another takes. */
static void put_first_two(void) { put_some(0, 2); }
static void put_last_two(void) { put_some(SECOND_PRODUCER, 2); } /* numbers in an order of their own */

static void perform_threads_wait_for_room(void)
{
    begin_record();
    model_start(FIRST, 0, put_first_two);
    model_start(SECOND, 0, put_last_two);
    model_start(THIRD, 1, get_four);
}

#define QUEUE(name_, says_, set_up_, perform_)                                                                           \
    .name = "queue-" name_, .says = (says_), .set_up = (set_up_), .perform = (perform_), .look = look
static const struct scenario scenarios[] = {
    { QUEUE("fifo", "Two consumers get what one producer puts: each once, in order.", four_slots, perform_fifo) },
    { QUEUE("full", "The same where the lane is always full, and the producer waits for room.", two_slots, perform_full) },
    { QUEUE("sleepers", "Of two that sleep, each is woken when there is a message for it.", four_slots, perform_sleepers) },
    { QUEUE("batch", "The same for two messages at once.", four_slots, perform_batch) },
    { QUEUE("threads-sleep", "The same where two of three are threads of one process.", four_slots,
            perform_threads_sleep) },
    { QUEUE("from-scratch", "First uses: lanes, their memory, numbers.", from_scratch, perform_from_scratch) },
    { QUEUE("never-empty", "Empty is not said of a queue that was never empty.", one_in_the_second_lane,
            perform_never_empty) },
    { QUEUE("new-lane", "The same where a lane comes into use.", one_in_the_only_lane, perform_never_empty) },
    { QUEUE("comes-back", "The same where a message comes back.", one_of_two_is_held, perform_comes_back) },
    { QUEUE("maxsize", "Two producers wait for fewer messages than maxsize.", one_at_a_time, perform_maxsize) },
    { QUEUE("maxsize-exact", "One producer alone never overshoots it.", one_at_a_time, perform_maxsize_exact) },
    { QUEUE("threads-room", "Two threads wait for room in the lane of their process.", two_slots,
            perform_threads_wait_for_room) },
};
ADD_SCENARIOS(scenarios)

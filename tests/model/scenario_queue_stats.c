/* scenario_queue_stats.c - what an observer sees of a queue that others use.
 *
 * The sums are those of no single moment, but each lies between what it was when the look began and what it was at its end,
 * as far as the observer can know; and none goes back.
 */
#include "queues.h"

enum { FIRST = 1, SECOND = 2, THIRD = 3, MESSAGES = 4 };

static uint32_t gets_begun;
static int64_t file_of_process_2;

/* Process 0 puts, 1 takes, 2 looks. */
static void set_up(void)
{
    act_as(0);
    make_queue(1, &(struct ipcr_queue_options){ .slots = 2 });
    take_lane();
    act_as(1);
    join_queue();
    take_number();
    act_as(2);
    join_queue();
    struct ipcr_lane_stats sum;
    look_at_stats(&sum); /* maps the lane */
    int fd;
    MUST(ipcr_os_open("/", "queue", &fd) == IPCR_OK);
    file_of_process_2 = fd;
    keep_record();
}

static void put_all(void)
{
    for (uint64_t number = 0; number < MESSAGES; number++)
        (void)put(number);
}

static void get_all(void)
{
    for (int i = 0; i < MESSAGES; i++) {
        uint64_t number;
        gets_begun++;
        MUST(get(&number) == IPCR_OK);
    }
}

static void must_be_possible(const struct ipcr_lane_stats *s, const struct ipcr_lane_stats *before)
{
    const uint32_t begun = count_of(record.begun);
    if (s->put > begun || s->delivered > gets_begun || s->acknowledged > gets_begun || s->redelivered != 0 || s->dead != 0 ||
        s->ready + s->leased > 2 || s->kept != 0 ||
        s->put != s->acknowledged + s->ready + s->leased || s->put < before->put || s->delivered < before->delivered ||
        s->acknowledged < before->acknowledged)
        model_fail("after %d puts and %d gets were begun: put %d, delivered %d, acknowledged %d, redelivered %d, dead %d, "
                   "ready %d, leased %d, kept %d; before: put %d, delivered %d, acknowledged %d",
                   (int)begun, (int)gets_begun, (int)s->put, (int)s->delivered, (int)s->acknowledged,
                   (int)s->redelivered, (int)s->dead, (int)s->ready, (int)s->leased, (int)s->kept, (int)before->put,
                   (int)before->delivered, (int)before->acknowledged);
}

static void look_twice(void)
{
    struct ipcr_lane_stats first, second, none = { .put = 0 };
    look_at_stats(&first);
    must_be_possible(&first, &none);
    look_at_stats(&second);
    must_be_possible(&second, &first);
}

static void look_at_the_file(void)
{
    struct ipcr_queue_stats all;
    struct ipcr_lane_stats sum, none = { .put = 0 };
    MUST(core()->queue_stats_of_file((int)file_of_process_2, &all, &sum, 1) == IPCR_OK);
    must_be_possible(&sum, &none);
}

static void count_twice(void)
{
    for (int i = 0; i < 2; i++)
        MUST(core()->queue_depth(queue()) <= 2 && !core()->queue_is_full(queue()));
}

/* --- two lanes, and always a message in one of them ---------------------------------------------------------------- */

/* Process 1 has the second lane, with one message; process 0 the first, and a consumer's number. */
static void set_up_in_turns(void)
{
    act_as(0);
    make_queue(2, &(struct ipcr_queue_options){ .slots = 2 });
    take_lane();
    take_number();
    act_as(1);
    join_queue();
    take_lane();
    model_now -= 1000;
    (void)put(SECOND_PRODUCER);
    model_now += 1000;
    act_as(2);
    join_queue();
    MUST(core()->queue_depth(queue()) == 1); /* maps the lanes */
    keep_record();
}

/* A message comes to the first lane before that of the second is taken. */
static void bring_and_take(void)
{
    uint64_t number;
    (void)put(0);
    MUST(get(&number) == IPCR_OK && number == SECOND_PRODUCER);
}

static void bring_another(void) { (void)put(SECOND_PRODUCER + 1); }

static void never_nothing(void)
{
    for (int i = 0; i < 2; i++)
        MUST(core()->queue_depth(queue()) > 0);
}

static void perform_in_turns(void)
{
    begin_record();
    model_start(FIRST, 0, bring_and_take);
    model_start(SECOND, 1, bring_another);
    model_start(THIRD, 2, never_nothing);
}

static void look_at_rest(void)
{
    act_as(2);
    MUST(core()->queue_depth(queue()) == 2);
}

static void perform(void (*observer)(void))
{
    begin_record();
    gets_begun = 0;
    model_start(FIRST, 0, put_all);
    model_start(SECOND, 1, get_all);
    model_start(THIRD, 2, observer);
}

static void perform_look(void) { perform(look_twice); }
static void perform_file(void) { perform(look_at_the_file); }
static void perform_count(void) { perform(count_twice); }

static void look(void)
{
    struct ipcr_lane_stats sum;
    act_as(2);
    must_be_all_done();
    look_at_stats(&sum);
    MUST(sum.put == MESSAGES && sum.delivered == MESSAGES && sum.acknowledged == MESSAGES);
}

#define STATS(name_, says_, perform_)                                                                                    \
    .name = "queue-" name_, .says = (says_), .set_up = set_up, .perform = (perform_), .look = look
static const struct scenario scenarios[] = {
    { STATS("stats", "An observer's sums are possible ones, and don't go back.", perform_look) },
    { STATS("stats-of-file", "The same of one who is no participant.", perform_file) },
    { STATS("depth", "Nobody ever counts more messages than fit.", perform_count) },
    { .name = "queue-depth-never-empty", .says = "Nobody counts no message in two lanes of which one had a message at every moment.",
      .set_up = set_up_in_turns, .perform = perform_in_turns, .look = look_at_rest },
};
ADD_SCENARIOS(scenarios)

/* scenario_queue_stats.c - what an observer sees of a queue that others use.
 *
 * The sums are those of no single moment, but each lies between what it was when the look began and what it was at its end,
 * as far as the observer can know; and none goes back.
 */
#include "queues.h"

enum { FIRST = 1, SECOND = 2, THIRD = 3, BEFORE = 2, MESSAGES = BEFORE + 4 };

static uint32_t gets_begun; /* deliveries, rather */
static uint32_t returns;    /* messages that came back, and then were thrown away */
static int64_t file_of_process_2;

/* Process 0 puts, 1 takes, 2 looks. */
static void set_up(void)
{
    act_as(0);
    make_queue(1, &(struct ipcr_queue_options){ .slots = 2 });
    note_backlogs();
    take_lane();
    act_as(1);
    join_queue();
    for (uint64_t number = 0; number < BEFORE; number++) { /* so that no slot is unused */
        uint64_t got;
        act_as(0);
        (void)put(number);
        act_as(1);
        MUST(try_get(&got) == IPCR_OK);
    }
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
    for (uint64_t number = BEFORE; number < MESSAGES; number++)
        (void)put(number);
}

static void get_all(void)
{
    for (int i = BEFORE; i < MESSAGES; i++) {
        uint64_t number;
        gets_begun++;
        MUST(get(&number) == IPCR_OK);
    }
}

static void must_be_possible(const struct ipcr_lane_stats *s, const struct ipcr_lane_stats *before)
{
    const uint32_t begun = count_of(record.begun);
    if (s->put > begun || s->delivered > gets_begun || s->acknowledged > gets_begun || s->redelivered > returns ||
        s->dead > returns || s->redelivered < before->redelivered || s->dead < before->dead || s->bytes != 8 * s->put ||
        s->ready + s->leased > 2 || s->kept != 0 ||
        s->put != s->acknowledged + s->dead + s->ready + s->leased || s->put < before->put || s->delivered < before->delivered ||
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
    gets_begun = BEFORE;
    returns = 0;
    model_start(FIRST, 0, put_all);
    model_start(SECOND, 1, get_all);
    model_start(THIRD, 2, observer);
}

/* Each is delivered twice, and then thrown away. */
static void bury_all(void)
{
    struct ipcr_lease l;
    for (int i = BEFORE; i < MESSAGES; i++) {
        gets_begun++;
        MUST(lease(0, &l) == IPCR_OK && nack(&l) == IPCR_OK);
        gets_begun++;
        returns++;
        MUST(lease(0, &l) == IPCR_OK && core()->lease_bury(queue(), &l) == IPCR_OK);
    }
}

static void perform_returned(void)
{
    perform(look_twice);
    record.comes_back = true;
    model_start(SECOND, 1, bury_all);
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

static void look_for_the_dead(void)
{
    struct ipcr_lane_stats sum;
    const uint64_t all = MESSAGES, more = MESSAGES - BEFORE;
    act_as(2);
    look_at_stats(&sum);
    MUST(sum.put == all && sum.delivered == all + more && sum.redelivered == more && sum.dead == more &&
         sum.acknowledged == BEFORE);
}

/* --- what was freed ------------------------------------------------------------------------------------------------------------- */

static struct ipcr_lease held[3];

/* Four messages; three of them are held, and have come back once. */
static void three_held(void)
{
    act_as(0);
    make_queue(1, &(struct ipcr_queue_options){ .slots = 8 });
    for (uint64_t number = 0; number < 4; number++)
        (void)put(number);
    record.comes_back = true;
    for (int i = 0; i < 3; i++) {
        MUST(try_lease(0, &held[i]) == IPCR_OK && nack(&held[i]) == IPCR_OK);
        MUST(try_lease(0, &held[i]) == IPCR_OK && number_of(&held[i]) == (uint64_t)i);
    }
    act_as(2);
    join_queue();
    struct ipcr_lane_stats sum;
    look_at_stats(&sum); /* maps the lane */
    keep_record();
}

/* They are thrown away one by one, and freed by somebody who wants more room than there is. */
static void bury_and_free(void)
{
    for (int i = 0; i < 3; i++) {
        MUST(core()->lease_bury(queue(), &held[i]) == IPCR_OK);
        MUST(core()->queue_put_one(queue(), message(0, LANE), LANE, 0, 0) == IPCR_FULL);
    }
}

/* Whatever of it has been freed, these sums are always the same. */
static void look_at_sums(void)
{
    struct ipcr_lane_stats s;
    look_at_stats(&s);
    if (s.put != 4 || s.delivered != 6 || s.redelivered != 3 || s.bytes != 8 * 4 || s.dead > 3 ||
        s.put != s.acknowledged + s.dead + s.ready + s.leased)
        model_fail("put %d, delivered %d, redelivered %d, bytes %d, dead %d, acknowledged %d, ready %d, leased %d",
                   (int)s.put, (int)s.delivered, (int)s.redelivered, (int)s.bytes, (int)s.dead, (int)s.acknowledged,
                   (int)s.ready, (int)s.leased);
}

static void perform_freed(void)
{
    begin_record();
    model_start(FIRST, 2, look_at_sums);
    model_start(SECOND, 0, bury_and_free);
}

/* --- counts that are remembered --------------------------------------------------------------------------------------------------- */

/* Eight are done with, and nobody has counted them yet: whoever does so notes how far all are done. */
static void eight_done(void)
{
    act_as(0);
    make_queue(1, &(struct ipcr_queue_options){ .slots = 16 });
    for (uint64_t number = 0; number < 8; number++) {
        uint64_t got;
        (void)put(number);
        MUST(try_get(&got) == IPCR_OK);
    }
    act_as(1);
    join_queue();
    keep_record();
}

static void put_ninth(void) { (void)put(8); }
static void count(void) { MUST(core()->queue_depth(queue()) <= 1); }

static void perform_ninth(void)
{
    begin_record();
    model_start(FIRST, 0, put_ninth);
    model_start(SECOND, 1, count);
}

static void look_for_the_ninth(void)
{
    act_as(1);
    MUST(core()->queue_depth(queue()) == 1);
}

/* --- first uses ---------------------------------------------------------------------------------------------------------------- */

static void unused(void)
{
    act_as(0);
    make_queue(1, &(struct ipcr_queue_options){ .slots = 2 });
    act_as(1);
    join_queue();
    keep_record();
}

/* A thread looks while another one of its process takes the first lane, and maps it. */
static void put_first(void) { (void)put(0); }

static void look_at_one(void)
{
    struct ipcr_lane_stats sum;
    look_at_stats(&sum);
    MUST(sum.put <= 1 && sum.ready == sum.put && sum.bytes == 8 * sum.put);
}

static void perform_look_at_the_first(void)
{
    begin_record();
    model_start(FIRST, 0, put_first);
    model_start(SECOND, 0, look_at_one);
}

/* Whoever is seen to have a number is seen with its pid. */
static void look_at_the_holders(void)
{
    struct ipcr_queue_stats all;
    struct ipcr_lane_stats lane;
    MUST(core()->queue_stats(queue()->segment, &all, &lane, 1) == IPCR_OK && all.holders_count <= 1);
    for (uint32_t i = 0; i < all.holders_count; i++)
        MUST(all.holders[i].pid != 0);
}

static void perform_look_at_the_holders(void)
{
    begin_record();
    model_start(FIRST, 0, take_number);
    model_start(SECOND, 1, look_at_the_holders);
}

#define STATS(name_, says_, perform_)                                                                                    \
    .name = "queue-" name_, .says = (says_), .set_up = set_up, .perform = (perform_), .look = look
static const struct scenario scenarios[] = {
    { STATS("stats", "An observer's sums are possible ones, and don't go back.", perform_look) },
    { .name = "queue-stats-returned", .says = "The same where all come back, and are thrown away.", .set_up = set_up,
      .perform = perform_returned, .look = look_for_the_dead },
    { STATS("stats-of-file", "The same of one who is no participant.", perform_file) },
    { .name = "queue-stats-freed", .says = "Sums stay what they are while messages are freed.", .set_up = three_held,
      .perform = perform_freed },
    { .name = "queue-depth-ninth", .says = "Whoever counts while a message comes does not hide it from those who count later.",
      .set_up = eight_done, .perform = perform_ninth, .look = look_for_the_ninth },
    { .name = "queue-stats-first", .says = "The same while the first lane comes into use.", .set_up = unused,
      .perform = perform_look_at_the_first },
    { .name = "queue-stats-holders", .says = "A consumer that is seen is seen with its pid.", .set_up = unused,
      .perform = perform_look_at_the_holders },
    { STATS("depth", "Nobody ever counts more messages than fit.", perform_count) },
    { .name = "queue-depth-never-empty", .says = "Nobody counts no message in two lanes of which one had a message at every moment.",
      .set_up = set_up_in_turns, .perform = perform_in_turns, .look = look_at_rest },
};
ADD_SCENARIOS(scenarios)

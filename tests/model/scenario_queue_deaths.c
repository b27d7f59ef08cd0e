/* scenario_queue_deaths.c - whoever puts or holds messages dies between any two accesses, and others go on.
 *
 * Sleeps are cut into slices here, as they are in life: a death makes no wake-up.
 */
#include "queues.h"

enum { FIRST = 1, SECOND = 2, THIRD = 3, FOURTH = 4, MESSAGES = 3 };

static struct ipcr_lease held[9];
static void look(void)
{
    act_as(2);
    must_be_all_done();
}

/* --- a producer dies --------------------------------------------------------------------------------------------------------- */

/* Process 0 puts until it dies, 2 has its lane afterwards, 1 takes. */
static void one_lane(void)
{
    act_as(0);
    make_queue(1, &(struct ipcr_queue_options){ .slots = 2 });
    take_lane();
    act_as(1);
    join_queue();
    take_number();
    act_as(2);
    join_queue();
}

static void put_until_death(void)
{
    for (uint64_t number = 0; number < MESSAGES; number++)
        (void)put(number);
    core()->queue_close(queue());
}

/* The slots say how many messages the dead one has published: all that put returned from, and perhaps one more. */
static void put_the_rest(void)
{
    struct ipcr_lane_stats sum;
    int rc;
    while ((rc = core()->queue_take_lane(queue(), true)) == IPCR_TAKEN)
        look_later();
    MUST(rc == IPCR_OK);
    look_at_stats(&sum);
    const uint32_t returned = count_of(record.put);
    MUST(sum.put == returned || sum.put == returned + 1);
    record.put |= (1u << sum.put) - 1;
    for (uint64_t number = sum.put; number < MESSAGES; number++)
        (void)put(number);
}

static void get_all(void)
{
    for (uint64_t expected = 0; expected < MESSAGES; expected++) {
        uint64_t number;
        MUST(get(&number) == IPCR_OK && number == expected);
    }
}

static void perform_producer_dies(void)
{
    begin_record();
    model_start(FIRST, 0, put_until_death);
    model_start(SECOND, 1, get_all);
    model_start(THIRD, 2, put_the_rest);
    model_fibers[FIRST].mortal = true;
}

/* The same with pieces, in a message that is longer than one word. */
static void put_pieces_until_death(void)
{
    for (uint64_t number = 0; number < MESSAGES; number++) {
        const char *bytes = message(number, message_length);
        const struct ipcr_piece piece = { .data = bytes, .length = message_length };
        struct ipcr_put put_it = { .info = IPCR_INFO(number, IPCR_BYTES) };
        int rc;
        record.begun |= 1u << number;
        while ((rc = core()->queue_put_pieces(queue(), &piece, 1, &put_it)) == IPCR_FULL)
            MUST(core()->queue_wait_for_room(queue(), message_length, IPCR_FOREVER) == IPCR_OK);
        MUST(rc == IPCR_OK);
        record.put |= 1u << number;
    }
    core()->queue_close(queue());
}

static void perform_producer_dies_in_pieces(void)
{
    begin_record();
    model_start(FIRST, 0, put_pieces_until_death);
    model_start(SECOND, 1, get_all);
    model_start(THIRD, 2, put_the_rest);
    model_fibers[FIRST].mortal = true;
}

/* The first put of all, which brings the lane into use, and reserves its memory. */
static void unused_lane(void)
{
    act_as(0);
    make_queue(1, &(struct ipcr_queue_options){ .slots = 2 });
    act_as(1);
    join_queue();
    take_number();
    act_as(2);
    join_queue();
}

static void put_first_until_death(void)
{
    const int rc = core()->queue_take_lane(queue(), true);
    MUST(rc == IPCR_OK || rc == IPCR_TAKEN);
    if (rc == IPCR_OK)
        put_until_death();
}

static void perform_producer_dies_first(void)
{
    begin_record();
    model_start(FIRST, 0, put_first_until_death);
    model_start(SECOND, 1, get_all);
    model_start(THIRD, 2, put_the_rest);
    model_fibers[FIRST].mortal = true;
}

/* --- a consumer dies --------------------------------------------------------------------------------------------------------- */

/* Process 0 has put two messages; 1 dies; 2 takes what is left, and has a number, or not. */
static void two_messages(bool numbers)
{
    act_as(0);
    make_queue(1, &(struct ipcr_queue_options){ .slots = 2 });
    take_lane();
    act_as(1);
    join_queue();
    if (numbers)
        take_number();
    act_as(2);
    join_queue();
    if (numbers)
        take_number();
    act_as(0);
    (void)put(0);
    (void)put(1);
    record.comes_back = true;
    keep_record();
}

static void with_numbers(void) { two_messages(true); }
static void without_numbers(void) { two_messages(false); }

static void get_until_death(void)
{
    uint64_t number;
    for (int i = 0; i < 2; i++) {
        const int rc = try_get(&number);
        MUST(rc == IPCR_OK || rc == IPCR_EMPTY);
    }
}

static void get_what_is_left(void)
{
    uint64_t number;
    while (core()->queue_depth(queue()) != 0) {
        const int rc = try_get(&number);
        MUST(rc == IPCR_OK || (rc == IPCR_EMPTY && core()->queue_wait_for_message(queue(), IPCR_FOREVER) == IPCR_OK));
    }
}

static void perform_getter_dies(void)
{
    begin_record();
    model_start(FIRST, 1, get_until_death);
    model_start(SECOND, 2, get_what_is_left);
    model_fibers[FIRST].mortal = true;
}

static void lease_until_death(void)
{
    struct ipcr_lease l;
    int rc = try_lease(0, &l);
    MUST(rc == IPCR_OK || rc == IPCR_EMPTY);
    if (rc == IPCR_OK)
        MUST(nack(&l) == IPCR_OK);
    rc = try_lease(0, &l);
    MUST(rc == IPCR_OK || rc == IPCR_EMPTY);
    if (rc == IPCR_OK)
        MUST(ack(&l) == IPCR_OK);
}

static void perform_holder_dies(void)
{
    begin_record();
    model_start(FIRST, 1, lease_until_death);
    model_start(SECOND, 2, work_off);
    model_fibers[FIRST].mortal = true;
}

/* Two bury the dead one at once, one of them the producer.  Without numbers of their own, they may get the dead one's, before
 * somebody has swept it, or while. */
static void perform_two_repairers(void)
{
    begin_record();
    model_start(FIRST, 1, lease_until_death);
    model_start(SECOND, 2, work_off);
    model_start(THIRD, 0, work_off);
    model_fibers[FIRST].mortal = true;
}

/* It dies while it gives back what is below a hint that it has raised itself, or that others raise. */
static void eight_held(void)
{
    act_as(0);
    make_queue(1, &(struct ipcr_queue_options){ .slots = 16 });
    take_lane();
    act_as(1);
    join_queue();
    take_number();
    act_as(2);
    join_queue();
    take_number();
    act_as(0);
    for (uint64_t number = 0; number < 9; number++)
        (void)put(number);
    act_as(1);
    for (int i = 0; i < 8; i++)
        MUST(try_lease(0, &held[i]) == IPCR_OK);
    act_as(2);
    struct ipcr_lease l;
    MUST(try_lease(0, &l) == IPCR_OK && ack(&l) == IPCR_OK); /* the hint is beyond them now */
    record.comes_back = true;
    keep_record();
}

static void nack_one(void)
{
    MUST(nack(&held[6]) == IPCR_OK);
    for (int i = 0; i < 8; i++)
        MUST(i == 6 || ack(&held[i]) == IPCR_OK);
}

static void perform_nacker_dies(void)
{
    begin_record();
    model_start(FIRST, 1, nack_one);
    model_start(SECOND, 2, work_off);
    model_fibers[FIRST].mortal = true;
}

/* Lives on: the others must not touch what it holds. */
static void ack_all(void)
{
    for (int i = 0; i < 8; i++)
        MUST(ack(&held[i]) == IPCR_OK);
}

static void perform_holder_lives(void)
{
    begin_record();
    model_start(FIRST, 1, ack_all);
    model_start(SECOND, 2, work_off);
}

/* --- those who repair die as well ------------------------------------------------------------------------------------------------- */

static void one_is_dead(void)
{
    two_messages(true);
    act_as(1);
    MUST(try_lease(0, &held[0]) == IPCR_OK && try_lease(0, &held[1]) == IPCR_OK);
    keep_record();
}

static void die_at_once(void) { model_kill(1); }

static void perform_repairer_dies(void)
{
    begin_record();
    model_start(FIRST, 1, die_at_once);
    model_start(SECOND, 2, work_off);
    model_start(THIRD, 0, work_off);
    model_fibers[THIRD].mortal = true;
}

/* Or whoever buries dies, and a third one, who has no number yet, gets that of the first. */
static void one_is_dead_and_one_new(void)
{
    act_as(1);
    make_queue(1, &(struct ipcr_queue_options){ .slots = 2 });
    (void)put(0);
    (void)put(1);
    MUST(try_lease(0, &held[0]) == IPCR_OK && try_lease(0, &held[1]) == IPCR_OK);
    act_as(2);
    join_queue();
    take_number();
    act_as(0);
    join_queue();
    record.comes_back = true;
    keep_record();
}

static void work_off_later(void)
{
    model_block(NULL, model_now + SLICE_NS + SLICE_NS / 2); /* the death has been noticed by then */
    work_off();
}

static void perform_burier_dies(void)
{
    begin_record();
    model_start(FIRST, 1, die_at_once);
    model_start(SECOND, 2, work_off);
    model_start(THIRD, 0, work_off_later);
    model_fibers[SECOND].mortal = true;
}

static void look_as_the_new_one(void)
{
    act_as(0);
    must_be_all_done();
}

/* Or the new one has that number, and messages of its own, before the burial is over. */
static void bury(void) { MUST(core()->queue_repair(queue(), model_now) == IPCR_OK); }

static void perform_buried_again(void)
{
    begin_record();
    model_start(FIRST, 1, die_at_once);
    model_start(SECOND, 2, bury);
    model_start(THIRD, 0, work_off);
}

#define SLICES (3 * SLICE_NS)
#define DEATHS(name_, says_, set_up_, perform_)                                                                          \
    .name = "queue-" name_, .says = (says_), .set_up = (set_up_), .perform = (perform_), .look = look, .deaths = 1,      \
    .patience_ns = SLICES
static const struct scenario scenarios[] = {
    { DEATHS("producer-dies", "A dead producer's lane goes on: what was put is there once, in order, and whole.", one_lane,
             perform_producer_dies) },
    { DEATHS("producer-dies-pieces", "The same with messages in pieces.", one_lane, perform_producer_dies_in_pieces) },
    { DEATHS("producer-dies-first", "The same at the first use of its lane.", unused_lane,
             perform_producer_dies_first) },
    { DEATHS("getter-dies", "Who dies in a get has got the message, or somebody else gets it.", with_numbers,
             perform_getter_dies) },
    { DEATHS("holder-dies", "A dead holder's messages are delivered again.", with_numbers, perform_holder_dies) },
    { DEATHS("two-repairers", "The same with two who notice.", with_numbers, perform_two_repairers) },
    { DEATHS("number-again", "The same where its number is another's by then.", without_numbers,
             perform_two_repairers) },
    { DEATHS("nacker-dies", "Who dies giving back a message leaves it to be found.", eight_held, perform_nacker_dies) },
    { DEATHS("holder-lives", "What a live holder has stays its own.", eight_held, perform_holder_lives) },
    { DEATHS("repairer-dies", "Who dies repairing leaves it to others.", one_is_dead, perform_repairer_dies) },
    { .name = "queue-buried-again", .says = "Who got a dead one's number keeps what it holds, also if the dead one is buried late.",
      .set_up = one_is_dead_and_one_new, .perform = perform_buried_again, .look = look_as_the_new_one,
      .patience_ns = SLICES },
    { .name = "queue-burier-dies", .says = "The same where the next one gets the number of the first dead one.",
      .set_up = one_is_dead_and_one_new, .perform = perform_burier_dies, .look = look_as_the_new_one, .deaths = 1,
      .patience_ns = SLICES },
};
ADD_SCENARIOS(scenarios)

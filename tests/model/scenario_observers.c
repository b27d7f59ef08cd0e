/* scenario_observers.c - who looks from outside, at counters that others are writing, sees what once was true. */
#include "stage.h"

enum { SENDER = 1, RECEIVER = 2, OBSERVER = 3, MESSAGES = 4 };

static struct ipcr_end *sender, *receiver;
static struct ipcr_segment *seen;
static char out[LONGEST_MESSAGE];

static uint64_t length_of(uint64_t number) { return 100 + 8 * number; }

static uint64_t bytes_of(uint64_t messages)
{
    uint64_t sum = 0;
    for (uint64_t i = 0; i < messages; i++)
        sum += length_of(i);
    return sum;
}

static void set_up(void)
{
    act_as(0);
    sender = taken_end(make_channel(UINT64_MAX - 4095), IPCR_SENDER);
    act_as(1);
    receiver = taken_end(attach_channel(), IPCR_RECEIVER);
    act_as(2);
    seen = attach_channel();
}

static void send_all(void)
{
    for (uint64_t i = 0; i < MESSAGES; i++)
        MUST(core()->send(sender, message(i, length_of(i)), length_of(i), i) == IPCR_OK);
}

static void receive_all(void)
{
    for (uint64_t i = 0; i < MESSAGES; i++)
        MUST(receive(receiver, out) == (int64_t)length_of(i) && is_message(out, i, length_of(i)));
}

/* Never more taken than given; bytes that belong to the messages; nothing goes back. */
static void observe(void)
{
    uint64_t before[IPCR_SIDES] = { 0, 0 };
    for (int i = 0; i < 3; i++) {
        struct ipcr_stats stats;
        MUST(core()->stats_of_segment(seen, &stats) == IPCR_OK);
        for (int side = 0; side < IPCR_SIDES; side++) {
            MUST(stats.side[side].messages <= MESSAGES && stats.side[side].messages >= before[side]);
            MUST(stats.side[side].bytes == bytes_of(stats.side[side].messages));
            MUST(stats.side[side].state == IPCR_END_TAKEN && stats.side[side].alive);
            before[side] = stats.side[side].messages;
        }
        MUST(stats.side[IPCR_RECEIVER].messages <= stats.side[IPCR_SENDER].messages);
        MUST(stats.present && stats.named);
    }
}

static void perform(void)
{
    model_start(SENDER, 0, send_all);
    model_start(RECEIVER, 1, receive_all);
    model_start(OBSERVER, 2, observe);
}

/* --- one side, one look: few enough schedules to run them nearly all ---------------------------------------------- */

static void send_three(void)
{
    for (uint64_t i = 0; i < 3; i++)
        MUST(core()->send(sender, message(i, length_of(i)), length_of(i), i) == IPCR_OK);
}

static void look_once(void)
{
    struct ipcr_stats stats;
    MUST(core()->stats_of_segment(seen, &stats) == IPCR_OK);
    MUST(stats.side[IPCR_SENDER].bytes == bytes_of(stats.side[IPCR_SENDER].messages));
}

static void perform_small(void)
{
    model_start(SENDER, 0, send_three);
    model_start(OBSERVER, 2, look_once);
}

/* --- who has it --------------------------------------------------------------------------------------------------- */

static struct ipcr_end *first, *second;

static void set_up_untaken(void)
{
    act_as(0);
    first = open_end(make_channel(0), IPCR_SENDER);
    act_as(1);
    second = open_end(attach_channel(), IPCR_SENDER);
    act_as(2);
    seen = attach_channel();
}

static void take_and_give_up(void)
{
    uint32_t by;
    core()->end_take(first, &by); /* unless the other one came first */
    leave(first, false);
}

static void take_next(void)
{
    uint32_t by;
    while (core()->end_take(second, &by) != IPCR_OK)
        look_later();
}

/* The pid is never older than the generation beside it; the second generation can only be of process 1. */
static void look_who(void)
{
    for (int i = 0; i < 2; i++) {
        struct ipcr_stats stats;
        MUST(core()->stats_of_segment(seen, &stats) == IPCR_OK);
        MUST(stats.side[IPCR_SENDER].generation == 0 || stats.side[IPCR_SENDER].pid != 0);
        MUST(stats.side[IPCR_SENDER].generation < 2 || stats.side[IPCR_SENDER].pid == 2);
    }
}

static void perform_who(void)
{
    model_start(SENDER, 0, take_and_give_up);
    model_start(RECEIVER, 1, take_next);
    model_start(OBSERVER, 2, look_who);
}

static const struct scenario scenarios[] = {
    {
        .name = "observer-once",
        .says = "One look at one side: the bytes are those of the messages.",
        .set_up = set_up,
        .perform = perform_small,
        .both = true,
    },
    {
        .name = "observer-who",
        .says = "An end changes hands: the pid in the statistics is not older than the generation.",
        .set_up = set_up_untaken,
        .perform = perform_who,
        .patience_ns = 1000000,
    },
    {
        .name = "observer",
        .says = "Statistics read meanwhile: never more taken than given, bytes as many as the messages have.",
        .set_up = set_up,
        .perform = perform,
        .both = true,
    },
};
ADD_SCENARIOS(scenarios)

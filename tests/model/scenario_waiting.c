/* scenario_waiting.c - who parks is woken, in both directions: the smallest cases, so that nearly all of their
 * schedules can be run.  There is no patience here: a sleep that nobody ends is a deadlock, and found as such.
 */
#include "stage.h"

enum { SENDER = 1, RECEIVER = 2, HALF = CAPACITY / 2 - IPCR_RECORD_HEADER, ALL = CAPACITY - IPCR_RECORD_HEADER };

static struct ipcr_end *sender, *receiver;
static char out[LONGEST_MESSAGE];

static void both_ends(void)
{
    act_as(0);
    sender = taken_end(make_channel(UINT64_MAX - 4095), IPCR_SENDER);
    act_as(1);
    receiver = taken_end(attach_channel(), IPCR_RECEIVER);
}

static void start(void (*sends)(void), void (*receives)(void))
{
    model_start(SENDER, 0, sends);
    model_start(RECEIVER, 1, receives);
}

static void take(uint64_t number, uint64_t length)
{
    MUST(receive(receiver, out) == (int64_t)length && is_message(out, number, length));
}

/* --- the receiver sleeps ------------------------------------------------------------------------------------------ */

static void send_one(void) { MUST(core()->send(sender, message(0, 40), 40, 0) == IPCR_OK); }
static void take_one(void) { take(0, 40); }
static void perform_receiver_parks(void) { start(send_one, take_one); }

/* --- the sender sleeps -------------------------------------------------------------------------------------------- */

static void full_ring(void)
{
    both_ends();
    act_as(0);
    MUST(core()->send(sender, message(0, HALF), HALF, 0) == IPCR_OK);
    MUST(core()->send(sender, message(1, HALF), HALF, 0) == IPCR_OK);
    MUST(core()->send(sender, message(2, 1), 1, 0) == IPCR_FULL);
}

static void send_third(void) { MUST(send_message(sender, 2, HALF) == IPCR_OK); }

/* Only the first: the sender gets its room now, not when everything was taken. */
static void take_first(void) { MUST(core()->recv(receiver, out) == HALF && is_message(out, 0, HALF)); }

static void third_is_there(void)
{
    act_as(1);
    take(1, HALF);
    take(2, HALF);
    MUST(core()->recv(receiver, out) == IPCR_EMPTY);
}

static void perform_sender_parks(void) { start(send_third, take_first); }

/* A sender that asked for much is not woken for little, and then is, by the last release that it needs. */
static void send_as_large_as_the_ring(void) { MUST(send_message(sender, 2, ALL) == IPCR_OK); }

static void take_all(void)
{
    take(0, HALF);
    take(1, HALF);
    take(2, ALL);
}

/* One release is not enough, for want of eight bytes. */
static void send_a_little_more(void) { MUST(send_message(sender, 2, HALF + 8) == IPCR_OK); }

static void take_a_little_more(void)
{
    take(0, HALF);
    take(1, HALF);
    take(2, HALF + 8);
}

static void perform_sender_needs_more(void) { start(send_a_little_more, take_a_little_more); }
static void perform_sender_needs_all(void) { start(send_as_large_as_the_ring, take_all); }

/* --- both sleep in turn ------------------------------------------------------------------------------------------- */

static void send_two_of_all(void)
{
    for (uint64_t i = 0; i < 2; i++)
        MUST(send_message(sender, i, ALL) == IPCR_OK);
}

static void take_two_of_all(void)
{
    for (uint64_t i = 0; i < 2; i++)
        take(i, ALL);
}

static void perform_both_park(void) { start(send_two_of_all, take_two_of_all); }

/* --- signals ------------------------------------------------------------------------------------------------------ */

/* After a signal the caller may give the wait up; the end is then as before. */
static void wait_and_give_up(void)
{
    while (core()->data_wait(receiver, IPCR_FOREVER, 0) == IPCR_AGAIN)
        core()->stop_waiting(receiver);
    take(0, 40);
}

static void perform_signals(void) { start(send_one, wait_and_give_up); }

static const struct scenario scenarios[] = {
    {
        .name = "park-receiver",
        .says = "A message published while the receiver parks wakes it.",
        .set_up = both_ends,
        .perform = perform_receiver_parks,
        .both = true,
    },
    {
        .name = "park-sender",
        .says = "Space given back while the sender parks on a full ring wakes it.",
        .set_up = full_ring,
        .perform = perform_sender_parks,
        .look = third_is_there,
        .both = true,
    },
    {
        .name = "park-sender-all",
        .says = "A sender that needs the whole ring is woken by the release that makes the last room.",
        .set_up = full_ring,
        .perform = perform_sender_needs_all,
        .both = true,
    },
    {
        .name = "park-sender-more",
        .says = "A message that lacks eight bytes of room waits, and overwrites nothing.",
        .set_up = full_ring,
        .perform = perform_sender_needs_more,
        .both = true,
    },
    {
        .name = "park-both",
        .says = "Messages as large as the ring: both sides sleep in turn, and each wakes the other.",
        .set_up = both_ends,
        .perform = perform_both_park,
        .both = true,
    },
    {
        .name = "park-signals",
        .says = "Signals end sleeps early: no wake-up is lost between giving a wait up and the next.",
        .set_up = both_ends,
        .perform = perform_signals,
        .signals = true,
        .both = true,
    },
};
ADD_SCENARIOS(scenarios)

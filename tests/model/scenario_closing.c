/* scenario_closing.c - the end of a channel: what was sent before it arrives, what was taken before it counts, and
 * everybody who waits is told.
 */
#include "stage.h"

enum { SENDER = 1, RECEIVER = 2, LENGTH = 1300 };

static struct ipcr_end *sender, *receiver;
static char out[LONGEST_MESSAGE];
static uint64_t got;

static void both_ends(void)
{
    act_as(0);
    sender = taken_end(make_channel(UINT64_MAX - 4095), IPCR_SENDER);
    act_as(1);
    receiver = taken_end(attach_channel(), IPCR_RECEIVER);
}

static void start(void (*sends)(void), void (*receives)(void))
{
    got = 0;
    model_start(SENDER, 0, sends);
    model_start(RECEIVER, 1, receives);
}

/* Messages that the receiver has given back, as the ring says. */
static uint64_t taken(void)
{
    struct ipcr_stats stats;
    MUST(core()->stats_of_segment(sender->segment, &stats) == IPCR_OK);
    return stats.side[IPCR_RECEIVER].messages;
}

/* --- the sender closes -------------------------------------------------------------------------------------------- */

static void send_and_close(void)
{
    MUST(send_message(sender, 0, LENGTH) == IPCR_OK);
    MUST(send_message(sender, 1, LENGTH) == IPCR_OK);
    leave(sender, true);
}

static void receive_to_the_end(void)
{
    int64_t length;
    while ((length = receive(receiver, out)) >= 0)
        MUST(length == LENGTH && is_message(out, got++, LENGTH));
    MUST(length == IPCR_END_OF_CHANNEL && got == 2);
    leave(receiver, true);
}

/* Without waiting: each look says a message, nothing yet, or the end, and the end only when there is no more. */
static void look_to_the_end(void)
{
    int64_t length;
    while ((length = core()->recv(receiver, out)) != IPCR_END_OF_CHANNEL) {
        if (length == IPCR_EMPTY)
            look_later();
        else
            MUST(length == LENGTH && is_message(out, got++, LENGTH));
    }
    MUST(got == 2);
    leave(receiver, true);
}

static void perform_sender_closes(void) { start(send_and_close, receive_to_the_end); }
static void perform_sender_closes_looked(void) { start(send_and_close, look_to_the_end); }
/* The segment itself stays: the set-up's references to it are not ours to give up. */
static void nothing_is_left(void) { MUST(got == 2 && model_names() == 1); }

/* --- flush -------------------------------------------------------------------------------------------------------- */

static void send_and_flush(void)
{
    for (uint64_t i = 0; i < 2; i++) {
        MUST(send_message(sender, i, LENGTH) == IPCR_OK);
        MUST(flush(sender) == IPCR_OK);
        MUST(taken() == i + 1);
    }
}

static void receive_two(void)
{
    for (; got < 2; got++)
        MUST(receive(receiver, out) == LENGTH && is_message(out, got, LENGTH));
}

static void perform_flush(void) { start(send_and_flush, receive_two); }

/* --- the receiver closes ------------------------------------------------------------------------------------------ */

static uint64_t wanted; /* messages that the receiver takes before it closes */

/* What the receiver did before it gave a message back happened before flush returns: here it leaves a note, in
 * memory that nothing else guards. */
static char *note;

static void with_a_note(void)
{
    both_ends();
    note = own_structure(64);
}

static void flush_to_the_end(void)
{
    MUST(core()->send(sender, message(0, LENGTH), LENGTH, 0) == IPCR_OK);
    int rc = core()->send(sender, message(1, LENGTH), LENGTH, 0);
    MUST(rc == IPCR_OK || (rc == IPCR_END_OF_CHANNEL && wanted < 2));
    if (rc == IPCR_OK)
        rc = flush(sender);
    MUST(rc == (wanted == 2 ? IPCR_OK : IPCR_END_OF_CHANNEL));
    if (rc == IPCR_OK) {
        char says[8];
        model_read(says, note, 8, __FILE__, __LINE__);
        MUST(memcmp(says, "received", 8) == 0);
    }
}

static void receive_and_close(void)
{
    model_write(note, "received", 8, __FILE__, __LINE__);
    for (; got < wanted; got++)
        MUST(receive(receiver, out) == LENGTH && is_message(out, got, LENGTH));
    leave(receiver, true);
}

static void perform_receiver_closes(void)
{
    wanted = 2;
    start(flush_to_the_end, receive_and_close);
}

static void perform_receiver_closes_early(void)
{
    wanted = 1;
    start(flush_to_the_end, receive_and_close);
}

/* A sender that waits for room is told, too. */
static void send_until_told(void)
{
    int rc;
    uint64_t number = 0;
    while ((rc = send_message(sender, number, LENGTH)) == IPCR_OK)
        number++;
    MUST(rc == IPCR_END_OF_CHANNEL && number >= 1);
}

static void perform_told(void)
{
    wanted = 1;
    start(send_until_told, receive_and_close);
}

#define CLOSING .set_up = both_ends, .both = true
static const struct scenario scenarios[] = {
    {
        .name = "close-last",
        .says = "What was sent before a close arrives before the end of the channel.",
        .perform = perform_sender_closes,
        .look = nothing_is_left,
        CLOSING,
    },
    {
        .name = "close-last-looked",
        .says = "The same for a receiver that looks without waiting.",
        .perform = perform_sender_closes_looked,
        .look = nothing_is_left,
        .patience_ns = 2000,
        CLOSING,
    },
    {
        .name = "close-flush",
        .says = "flush returns when everything was given back, and not before.",
        .perform = perform_flush,
        CLOSING,
    },
    {
        .name = "close-flush-all",
        .says = "A receiver that takes everything and closes at once: flush says that it was taken.",
        .set_up = with_a_note,
        .perform = perform_receiver_closes,
        .both = true,
    },
    {
        .name = "close-flush-some",
        .says = "A receiver that closes before it took everything: flush never says that it was taken.",
        .set_up = with_a_note,
        .perform = perform_receiver_closes_early,
        .both = true,
    },
    {
        .name = "close-full",
        .says = "A receiver closes while the sender parks on a full ring: the sender is told.",
        .set_up = with_a_note,
        .perform = perform_told,
        .both = true,
    },
};
ADD_SCENARIOS(scenarios)

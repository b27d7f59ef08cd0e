/* scenario_messages.c - one sender, one receiver, each way of moving messages, across the wrap. */
#include "stage.h"

enum { SENDER = 1, RECEIVER = 2 };

static struct ipcr_end *sender, *receiver;
static char out[LONGEST_MESSAGE];
static uint64_t got; /* messages that arrived */

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

/* Three fit, so that the fourth waits; lengths that are no multiple of 8 cross the end at odd places. */
static uint64_t length_of(uint64_t number) { return 1300 + number; }

static void send_four(void)
{
    for (uint64_t i = 0; i < 4; i++)
        MUST(send_message(sender, i, length_of(i)) == IPCR_OK);
}

static void receive_four(void)
{
    for (; got < 4; got++) {
        MUST(receive(receiver, out) == (int64_t)length_of(got));
        MUST(is_message(out, got, length_of(got)));
        MUST(IPCR_INFO_TYPE(core()->last_info(receiver)) == got && core()->last_sequence(receiver) == got);
    }
}

/* And were given back, to the last byte: a flush would not wait. */
static void four_arrived(void)
{
    MUST(got == 4);
    MUST(load_acquire64(&sender->segment->header->at[IPCR_SENDER].position) ==
         load_acquire64(&sender->segment->header->at[IPCR_RECEIVER].position));
}

static void perform_copies(void) { start(send_four, receive_four); }

/* --- zero copy: the memory that is lent is written and read by the caller --------------------------------------- */

static void claim_and_commit(void)
{
    struct core *c = core();
    for (uint64_t i = 0; i < 4; i++) {
        int rc;
        while ((rc = c->claim(sender, length_of(i) + 64)) == IPCR_FULL)
            MUST(wait_for_room(sender, length_of(i) + 64) == IPCR_OK);
        MUST(rc == IPCR_OK);
        model_write(c->lent(sender), message(i, length_of(i)), length_of(i), __FILE__, __LINE__);
        MUST(c->commit(sender, length_of(i), i) == IPCR_OK); /* less than was claimed */
    }
}

static void peek_and_release(void)
{
    struct core *c = core();
    for (; got < 4; got++) {
        int64_t length;
        while ((length = c->peek(receiver)) == IPCR_EMPTY)
            MUST(wait_for_data(receiver) == IPCR_OK);
        MUST(length == (int64_t)length_of(got));
        model_read(out, c->lent(receiver), (size_t)length, __FILE__, __LINE__);
        MUST(is_message(out, got, (uint64_t)length));
        MUST(c->release(receiver) == IPCR_OK);
    }
}

static void perform_lent(void) { start(claim_and_commit, peek_and_release); }

/* --- batches ---------------------------------------------------------------------------------------------------- */

static void send_batches(void)
{
    static char joined[4 * 1400];
    uint64_t lengths[4], infos[4], at = 0;
    const uint64_t counts[4] = { 1, 1, 1, 1 };
    for (uint64_t i = 0; i < 4; at += lengths[i++]) {
        lengths[i] = length_of(i);
        infos[i] = i;
        memcpy(joined + at, message(i, length_of(i)), length_of(i));
    }
    for (uint64_t done = 0, byte = 0; done < 4;) {
        const int64_t sent = core()->send_many(sender, joined + byte, lengths + done, counts, infos + done, 4 - done);
        if (sent == IPCR_FULL) {
            MUST(wait_for_room(sender, lengths[done]) == IPCR_OK);
            continue;
        }
        MUST(sent > 0);
        for (int64_t i = 0; i < sent; i++)
            byte += lengths[done++];
    }
}

static void receive_batches(void)
{
    int64_t results[4];
    uint64_t from;
    while (got < 4) {
        const int64_t n = core()->recv_many(receiver, out, sizeof out, results, 4, true, &from);
        if (n == IPCR_EMPTY) {
            MUST(wait_for_data(receiver) == IPCR_OK);
            continue;
        }
        MUST(n > 0);
        const char *at = out;
        for (int64_t i = 0; i < n; i++, got++) {
            MUST(results[i] == (int64_t)length_of(got) && is_message(at, got, length_of(got)));
            at += results[i];
        }
    }
}

static void read_in_place(void)
{
    struct core *c = core();
    while (got < 4) {
        const char *payload;
        int64_t length = c->reading_begin(receiver, &payload);
        if (length == IPCR_EMPTY) {
            MUST(wait_for_data(receiver) == IPCR_OK);
            continue;
        }
        for (int n = 0; length >= 0 && n < 2; n++) {
            MUST(length == (int64_t)length_of(got));
            model_read(out, payload, (size_t)length, __FILE__, __LINE__);
            MUST(is_message(out, got++, (uint64_t)length));
            if (n == 0)
                length = c->reading_next(receiver, &payload);
        }
        MUST(length >= 0 || length == IPCR_EMPTY);
        c->reading_end(receiver, length >= 0);
    }
}

static void perform_batches(void) { start(send_batches, receive_batches); }
static void perform_reading(void) { start(send_batches, read_in_place); }

/* Messages that the receiver has given back, as the ring says. */
static uint64_t taken(void)
{
    struct ipcr_stats stats;
    MUST(core()->stats_of_segment(sender->segment, &stats) == IPCR_OK);
    return stats.side[IPCR_RECEIVER].messages;
}

/* --- parts ------------------------------------------------------------------------------------------------------ */

enum { IN_PARTS = 5000 };

static void send_large(void)
{
    MUST(send_message(sender, 0, 100) == IPCR_OK);
    MUST(send_in_parts(sender, 1, IN_PARTS) == IPCR_OK);
    MUST(taken() == 2); /* it returns when the receiver has taken it */
    MUST(send_message(sender, 2, 100) == IPCR_OK);
}

static void receive_large(void)
{
    MUST(receive(receiver, out) == 100 && is_message(out, 0, 100));
    got = 1;
    MUST(receive(receiver, out) == IPCR_IN_PARTS);
    const int64_t total = receive_parts(receiver, out);
    MUST(total == IN_PARTS && is_message(out, 1, IN_PARTS));
    MUST(receive(receiver, out) == 100 && is_message(out, 2, 100));
    MUST(core()->last_sequence(receiver) == 2);
    got = 4;
}

static void perform_parts(void) { start(send_large, receive_large); }

/* The first message may be given up at any part, because its time is over. */
static void send_and_give_up(void)
{
    const struct ipcr_piece piece = { .data = message(0, IN_PARTS), .length = IN_PARTS };
    const int rc = core()->send_parts_wait(sender, &piece, 1, 0, model_now, 0);
    MUST(rc == IPCR_OK || rc == IPCR_FULL);
    MUST(send_message(sender, 1, 100) == IPCR_OK);
}

static void receive_perhaps(void)
{
    int64_t length;
    while ((length = receive(receiver, out)) == IPCR_IN_PARTS) {
        length = receive_parts(receiver, out);
        MUST(length == IPCR_GIVEN_UP || (length == IN_PARTS && is_message(out, 0, IN_PARTS)));
    }
    MUST(length == 100 && is_message(out, 1, 100));
    MUST(core()->last_sequence(receiver) <= 1);
    got = 4;
}

static void perform_given_up(void) { start(send_and_give_up, receive_perhaps); }

/* --- scenarios --------------------------------------------------------------------------------------------------- */

#define LIKE_COPIES .set_up = both_ends, .look = four_arrived, .both = true
static const struct scenario scenarios[] = {
    {
        .name = "copies",
        .says = "Messages arrive once, in order and whole; who waits is woken.",
        .perform = perform_copies,
        LIKE_COPIES,
    },
    {
        .name = "copies-holes",
        .says = "The same where membarrier misses a CPU: the second look after a millisecond is enough.",
        .set_up = both_ends,
        .perform = perform_copies,
        .look = four_arrived,
        .asymmetric = true,
        .holes = true,
        .patience_ns = 2000000,
    },
    {
        .name = "lent",
        .says = "What is lent belongs to one side at a time, also when less is sent than was claimed.",
        .perform = perform_lent,
        LIKE_COPIES,
    },
    {
        .name = "batches",
        .says = "Batches arrive as single messages do.",
        .perform = perform_batches,
        LIKE_COPIES,
    },
    {
        .name = "reading",
        .says = "Messages read in place are not overwritten meanwhile; the last one of a batch is taken.",
        .perform = perform_reading,
        LIKE_COPIES,
    },
    {
        .name = "parts",
        .says = "A message larger than the ring streams through whole, and send returns when it was taken.",
        .perform = perform_parts,
        LIKE_COPIES,
    },
    {
        .name = "parts-given-up",
        .says = "A message given up half way is never half received, and what is sent next arrives.",
        .set_up = both_ends,
        .perform = perform_given_up,
        .look = four_arrived,
        .patience_ns = UINT64_MAX,
    },
};
ADD_SCENARIOS(scenarios)

/* scenario_threads.c - two threads of one process at one handle: one is told that it is busy, or both go one after the other.
 *
 * What a handle keeps in private memory is checked for races here (races.c), so that these scenarios hold the edges of the
 * busy word (B in docs/memory-model.md) and of the flags that other threads raise.
 */
#include "stage.h"

enum { OTHER = 1, FIRST = 2, SECOND = 3, THIRD = 4, LENGTH = 600, MESSAGES = 4 };

static struct ipcr_end *sender, *receiver;
static char outs[FIBERS][LONGEST_MESSAGE];
static uint64_t sent, got;
static unsigned seen; /* a bit for each message */
static bool closed;

static char *out(void) { return outs[model_running]; }

/* The threads share the sender's process, or the receiver's; the other side is alone in process 1. */
static void set_up(uint32_t side)
{
    act_as(0);
    struct ipcr_end *ours = taken_end(make_channel(UINT64_MAX - 4095), side);
    act_as(1);
    struct ipcr_end *theirs = taken_end(attach_channel(), 1 - side);
    sender = side == IPCR_SENDER ? ours : theirs;
    receiver = side == IPCR_RECEIVER ? ours : theirs;
}

static void sending_threads(void) { set_up(IPCR_SENDER); }
static void receiving_threads(void) { set_up(IPCR_RECEIVER); }

static void start(void (*other)(void), void (*first)(void), void (*second)(void))
{
    sent = got = seen = 0;
    closed = false;
    if (other != NULL)
        model_start(OTHER, 1, other);
    model_start(FIRST, 0, first);
    model_start(SECOND, 0, second);
}

static void note_message(const char *bytes, int64_t length, uint64_t number)
{
    MUST(length == LENGTH && number < MESSAGES && is_message(bytes, number, LENGTH));
    MUST((seen & 1u << number) == 0);
    seen |= 1u << number;
    got++;
}

/* --- both use it -------------------------------------------------------------------------------------------------------- */

static void send_numbers(uint64_t first)
{
    for (uint64_t i = first; i < first + 2; i++) {
        int rc;
        while ((rc = core()->send(sender, message(i, LENGTH), LENGTH, i)) == IPCR_BUSY)
            look_later();
        MUST(rc == IPCR_OK);
    }
}

static void send_zero_and_one(void) { send_numbers(0); }
static void send_two_and_three(void) { send_numbers(2); }

static void receive_four(void)
{
    while (got < MESSAGES) {
        const int64_t length = receive(receiver, out());
        note_message(out(), length, IPCR_INFO_TYPE(core()->last_info(receiver)));
        MUST(core()->last_sequence(receiver) == got - 1);
    }
}

static void perform_both_send(void) { start(receive_four, send_zero_and_one, send_two_and_three); }

static void send_four(void)
{
    for (uint64_t i = 0; i < MESSAGES; i++)
        MUST(send_message(sender, i, LENGTH) == IPCR_OK);
}

/* Peeks, so that one thread also meets what the other has lent out. */
static void take_some(void)
{
    struct core *c = core();
    while (got < MESSAGES) {
        const int64_t length = c->peek(receiver);
        if (length >= 0) {
            model_read(out(), c->lent(receiver), (size_t)length, __FILE__, __LINE__);
            note_message(out(), length, IPCR_INFO_TYPE(c->last_info(receiver)));
            int rc;
            while ((rc = c->release(receiver)) == IPCR_BUSY) /* the other one looks why it can't have it */
                look_later();
            MUST(rc == IPCR_OK);
        } else {
            MUST(length == IPCR_EMPTY || length == IPCR_BUSY || length == IPCR_LENT);
            look_later();
        }
    }
}

static void perform_both_receive(void) { start(send_four, take_some, take_some); }

/* --- one waits, the other tries ---------------------------------------------------------------------------------------- */

/* What last_info says may already be of the other thread's message. */
static void wait_for_two(void)
{
    for (int i = 0; i < 2; i++) {
        int64_t length;
        uint64_t number = 0;
        while ((length = receive(receiver, out())) == IPCR_BUSY)
            look_later();
        while (number < MESSAGES && !is_message(out(), number, LENGTH))
            number++;
        note_message(out(), length, number);
    }
}

static void perform_both_wait(void) { start(send_four, wait_for_two, wait_for_two); }

/* --- first use ---------------------------------------------------------------------------------------------------------- */

static void untaken_sender(void)
{
    act_as(0);
    sender = open_end(make_channel(UINT64_MAX - 4095), IPCR_SENDER);
    act_as(1);
    receiver = taken_end(attach_channel(), IPCR_RECEIVER);
}

static void take_and_send(uint64_t number)
{
    uint32_t by;
    int rc;
    while ((rc = core()->send(sender, message(number, LENGTH), LENGTH, number)) != IPCR_OK) {
        MUST(rc == IPCR_BUSY || rc == IPCR_NOT_TAKEN);
        if (rc == IPCR_NOT_TAKEN) {
            rc = core()->end_take(sender, &by);
            MUST(rc == IPCR_OK || rc == IPCR_BUSY);
        }
        if (rc == IPCR_BUSY)
            look_later();
    }
}

static void take_and_send_zero(void) { take_and_send(0); }
static void take_and_send_one(void) { take_and_send(1); }

static void receive_two(void)
{
    while (got < 2) {
        const int64_t length = receive(receiver, out());
        note_message(out(), length, IPCR_INFO_TYPE(core()->last_info(receiver)));
    }
}

static void perform_first_use(void) { start(receive_two, take_and_send_zero, take_and_send_one); }

/* --- one closes --------------------------------------------------------------------------------------------------------- */

static void close_it(struct ipcr_end *end)
{
    core()->end_close(end, true);
    closed = true;
}

static void close_receiver(void) { close_it(receiver); }
static void close_sender(void) { close_it(sender); }

static void send_two(void)
{
    int rc = IPCR_OK;
    while (sent < 2 && (rc = send_message(sender, sent, LENGTH)) == IPCR_OK)
        sent++;
    MUST(rc == IPCR_OK || rc == IPCR_END_OF_CHANNEL);
}

/* It gets messages until it is told; and nothing but that once close has returned. */
static void receive_until_closed(void)
{
    int64_t length;
    while ((length = receive(receiver, out())) >= 0)
        MUST(length == LENGTH && is_message(out(), got++, LENGTH));
    while (length == IPCR_BUSY) { /* closing, and not yet said so */
        look_later();
        length = core()->recv(receiver, out());
    }
    MUST(length == IPCR_CLOSED);
    while (!closed)
        look_later();
    MUST(core()->recv(receiver, out()) == IPCR_CLOSED);
}

static void perform_close_while_receiving(void) { start(send_two, receive_until_closed, close_receiver); }

static void send_until_closed(void)
{
    int rc = IPCR_OK;
    while (sent < 3 && (rc = send_message(sender, sent, LENGTH)) == IPCR_OK)
        sent++;
    while (!closed)
        look_later();
    rc = core()->send(sender, message(0, LENGTH), LENGTH, 0);
    MUST(rc == IPCR_CLOSED);
}

/* What send returned OK for arrives, and nothing else. */
static void count_to_the_end(void)
{
    int64_t length;
    while ((length = receive(receiver, out())) >= 0)
        MUST(length == LENGTH && is_message(out(), got++, LENGTH));
    MUST(length == IPCR_END_OF_CHANNEL);
}

static void perform_close_while_sending(void) { start(count_to_the_end, send_until_closed, close_sender); }
static void as_many_got_as_sent(void) { MUST(got == sent && closed); }
static void is_closed(void) { MUST(closed); }

/* The other thread's is the first use. */
static void take_and_be_closed(void)
{
    uint32_t by;
    int rc;
    while ((rc = core()->end_take(sender, &by)) == IPCR_BUSY)
        look_later();
    MUST(rc == IPCR_OK || rc == IPCR_CLOSED);
}

static void perform_close_while_taking(void) { start(NULL, take_and_be_closed, close_sender); }

/* Two close: one does it, and the message that is lent stays where it is until it is given back. */
static void one_message_sent(void)
{
    receiving_threads();
    act_as(1);
    MUST(core()->send(sender, message(0, LENGTH), LENGTH, 0) == IPCR_OK);
}

static void hold_a_message(void)
{
    struct core *c = core();
    int64_t length;
    while ((length = c->peek(receiver)) == IPCR_BUSY)
        look_later();
    if (length == IPCR_CLOSED)
        return;
    MUST(length == LENGTH);
    const char *payload = c->lent(receiver);
    model_read(out(), payload, LENGTH / 2, __FILE__, __LINE__);
    ipcr_os_sleep_ns(1000);
    model_read(out() + LENGTH / 2, payload + LENGTH / 2, LENGTH - LENGTH / 2, __FILE__, __LINE__);
    MUST(is_message(out(), 0, LENGTH));
    int rc;
    while ((rc = c->release(receiver)) == IPCR_BUSY)
        look_later();
    MUST(rc == IPCR_OK || rc == IPCR_CLOSED);
}

static void close_while_lent(void)
{
    core()->segment_release(receiver->segment); /* the end's own reference is the last one */
    close_receiver();
}

static void perform_lent(void) { start(NULL, hold_a_message, close_while_lent); }

/* A third thread takes back what it has lent, after an interruption: nothing. */
static void take_own_back(void)
{
    const int rc = core()->take_back(receiver);
    MUST(rc == IPCR_OK || rc == IPCR_BUSY || rc == IPCR_LENT || rc == IPCR_CLOSED);
}

static void perform_lent_and_return(void)
{
    start(NULL, hold_a_message, close_while_lent);
    model_start(THIRD, 0, take_own_back);
}

/* --- slices ------------------------------------------------------------------------------------------------------------- */

/* As Python drives it: whatever came of a wait, it is given up behind it; also by a thread that never got in. */
static void wait_shortly(void)
{
    int64_t length;
    for (int i = 0; i < 2; i++) {
        length = core()->recv_wait(receiver, out(), IPCR_FOREVER, 0);
        core()->stop_waiting(receiver);
        if (length == IPCR_BUSY || length == IPCR_AGAIN)
            look_later();
        else if (length != IPCR_CLOSED)
            MUST(length == LENGTH);
    }
}

static void perform_give_up(void) { start(NULL, wait_shortly, wait_shortly); }
static void perform_give_up_closed(void) { start(NULL, wait_shortly, close_receiver); }
static void perform_close_twice(void) { start(NULL, close_receiver, close_receiver); }

/* --- an end that nobody has taken yet ----------------------------------------------------------------------------------- */

static void take_it(void)
{
    uint32_t by;
    int rc;
    while ((rc = core()->end_take(sender, &by)) == IPCR_BUSY)
        look_later();
    MUST(rc == IPCR_OK);
}

static void return_nothing(void)
{
    const int rc = core()->abort(sender);
    MUST(rc == IPCR_NOTHING_LENT || rc == IPCR_BUSY);
}

static void perform_take_and_return(void) { start(NULL, take_it, return_nothing); }

static void hand_over_and_take_back(void)
{
    int fd;
    const int rc = core()->end_hand_over(sender, true, false, &fd);
    MUST(rc == IPCR_OK || rc == IPCR_CLOSED);
    if (rc == IPCR_OK)
        core()->end_take_back(sender, fd, true);
}

static void close_for_good(void)
{
    core()->segment_release(sender->segment); /* the end's own reference is the last one */
    close_sender();
}

static void perform_take_back(void) { start(NULL, hand_over_and_take_back, close_for_good); }

/* --- one asks it to finish ----------------------------------------------------------------------------------------------- */

static void drain(void) { core()->end_drain(receiver); }

static void send_three(void)
{
    for (; sent < 3; sent++)
        MUST(send_message(sender, sent, LENGTH) == IPCR_OK);
}

static void receive_until_drained(void)
{
    int64_t length;
    while ((length = receive(receiver, out())) >= 0)
        note_message(out(), length, IPCR_INFO_TYPE(core()->last_info(receiver)));
    MUST(length == IPCR_END_OF_CHANNEL);
}

static void perform_drain(void) { start(send_three, receive_until_drained, drain); }

/* --- the registry ------------------------------------------------------------------------------------------------------- */

static struct ipcr_segment *shared_segment;

static void one_segment(void)
{
    act_as(0);
    shared_segment = make_channel(0);
}

static void open_and_close(uint32_t side)
{
    struct ipcr_end *end = taken_end(shared_segment, side);
    leave(end, true);
}

static void open_sender(void) { open_and_close(IPCR_SENDER); }
static void open_receiver(void) { open_and_close(IPCR_RECEIVER); }
static void perform_registry(void) { start(NULL, open_sender, open_receiver); }

static void released_with_the_last(void)
{
    act_as(0);
    MUST(shared_segment->references == 1 && shared_segment->ends == NULL);
    core()->segment_release(shared_segment);
    MUST(model_names() == 0 && model_files() == 0);
}

#define POLLING .patience_ns = 1000000 /* the loops that look again, and a close's */
static const struct scenario scenarios[] = {
    {
        .name = "threads-send",
        .says = "Two threads send through one end: each message arrives once, or its sender is told that it is busy.",
        .set_up = sending_threads,
        .perform = perform_both_send,
        POLLING,
    },
    {
        .name = "threads-peek",
        .says = "Two threads peek and release at one end: no message is had twice, or by nobody.",
        .set_up = receiving_threads,
        .perform = perform_both_receive,
        POLLING,
    },
    {
        .name = "threads-wait",
        .says = "Two threads wait at one end, one after the other.",
        .set_up = receiving_threads,
        .perform = perform_both_wait,
        .both = true,
        POLLING,
    },
    {
        .name = "threads-take",
        .says = "Two threads' first uses of an end: it is taken once.",
        .set_up = untaken_sender,
        .perform = perform_first_use,
        POLLING,
    },
    {
        .name = "threads-close-receiver",
        .says = "Another thread closes the end that a thread receives from: it is woken and told.",
        .set_up = receiving_threads,
        .perform = perform_close_while_receiving,
        .look = is_closed,
        .both = true,
        POLLING,
    },
    {
        .name = "threads-close-sender",
        .says = "Another thread closes the end that a thread sends to: what send answered for arrives.",
        .set_up = sending_threads,
        .perform = perform_close_while_sending,
        .look = as_many_got_as_sent,
        .both = true,
        POLLING,
    },
    {
        .name = "threads-close-taken",
        .says = "Another thread closes the end while a thread takes it.",
        .set_up = untaken_sender,
        .perform = perform_close_while_taking,
        .look = is_closed,
        POLLING,
    },
    {
        .name = "threads-close-sliced",
        .says = "Another thread closes the end between two slices of a wait, or in one.",
        .set_up = receiving_threads,
        .perform = perform_close_while_receiving,
        .look = is_closed,
        .signals = true,
        .both = true,
        POLLING,
    },
    {
        .name = "threads-close-sliced-send",
        .says = "The same for a sender.",
        .set_up = sending_threads,
        .perform = perform_close_while_sending,
        .look = as_many_got_as_sent,
        .signals = true,
        POLLING,
    },
    {
        .name = "threads-give-up",
        .says = "A thread gives its wait up between slices, while another one tries and gives up what is not its own.",
        .set_up = receiving_threads,
        .perform = perform_give_up,
        .signals = true,
        .patience_ns = UINT64_MAX, /* slices end */
    },
    {
        .name = "threads-give-up-closed",
        .says = "A thread gives its wait up between slices, while another one closes the end.",
        .set_up = receiving_threads,
        .perform = perform_give_up_closed,
        .signals = true,
        .patience_ns = UINT64_MAX,
    },
    {
        .name = "threads-close-twice",
        .says = "Two threads close one end: it is closed once, and both calls return.",
        .set_up = receiving_threads,
        .perform = perform_close_twice,
        .look = is_closed,
        POLLING,
    },
    {
        .name = "threads-take-return",
        .says = "A thread gives back what it doesn't have, while another takes the end.",
        .set_up = untaken_sender,
        .perform = perform_take_and_return,
        POLLING,
    },
    {
        .name = "threads-take-back",
        .says = "A thread takes an end back that no child got, while another closes it.",
        .set_up = untaken_sender,
        .perform = perform_take_back,
        .look = is_closed,
        POLLING,
    },
    {
        .name = "threads-lent-return",
        .says = "One thread holds a message, one closes the end, one takes back what is its own: nothing.",
        .set_up = one_message_sent,
        .perform = perform_lent_and_return,
        .look = is_closed,
        POLLING,
    },
    {
        .name = "threads-lent",
        .says = "Another thread closes the end while a message is lent: its memory stays until it is given back.",
        .set_up = one_message_sent,
        .perform = perform_lent,
        .look = is_closed,
        POLLING,
    },
    {
        .name = "threads-drain",
        .says = "Another thread asks the receiver to finish: it is woken, and gets what was there.",
        .set_up = receiving_threads,
        .perform = perform_drain,
        .both = true,
        POLLING,
    },
    {
        .name = "threads-registry",
        .says = "Two threads open and close ends of one segment: its list and its count stay right.",
        .set_up = one_segment,
        .perform = perform_registry,
        .look = released_with_the_last,
        POLLING,
    },
};
ADD_SCENARIOS(scenarios)

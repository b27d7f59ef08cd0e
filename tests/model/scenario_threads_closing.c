/* scenario_threads_closing.c - a thread closes the end that another one uses, waits at, or has a message of. */
#include "threads.h"

static bool closed;

static void start(void (*other)(void), void (*first)(void), void (*second)(void))
{
    closed = false;
    start_threads(other, first, second);
}

/* --- one closes --------------------------------------------------------------------------------------------------- */

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

static void close_receiver_for_good(void)
{
    core()->segment_release(receiver->segment); /* the end's own reference is the last one */
    close_receiver();
}

static void perform_lent(void) { start(NULL, hold_a_message, close_receiver_for_good); }

/* A third thread takes back what it has lent, after an interruption: nothing. */
static void take_own_back(void)
{
    const int rc = core()->take_back(receiver);
    MUST(rc == IPCR_OK || rc == IPCR_BUSY || rc == IPCR_LENT || rc == IPCR_CLOSED);
}

static void perform_lent_and_return(void)
{
    start(NULL, hold_a_message, close_receiver_for_good);
    model_start(THIRD, 0, take_own_back);
}

/* Two threads give one message back, while a third one closes: it is given back once, and the segment left once. */
static bool looked_at;

static void peek_and_return(void)
{
    while (core()->peek(receiver) == IPCR_BUSY)
        look_later();
    looked_at = true;
    core()->release(receiver);
}

static void return_it_too(void)
{
    while (!looked_at)
        look_later();
    const int rc = core()->release(receiver);
    MUST(rc == IPCR_OK || rc == IPCR_NOTHING_LENT || rc == IPCR_BUSY || rc == IPCR_CLOSED);
}

static void perform_returned_twice(void)
{
    looked_at = false;
    start(NULL, peek_and_return, close_receiver_for_good);
    model_start(THIRD, 0, return_it_too);
}

/* --- slices ------------------------------------------------------------------------------------------------------- */

/* As Python drives it: whatever came of a wait, it is given up behind it; also by a thread that never got in.  A
 * wait that goes on finds its place kept. */
static void wait_shortly(void)
{
    for (int i = 0; i < 3; i++) {
        int64_t length = core()->recv_wait(receiver, out(), IPCR_FOREVER, 0);
        const bool begun = length == IPCR_AGAIN;
        if (begun)
            length = core()->recv_wait(receiver, out(), IPCR_FOREVER, 1);
        core()->stop_waiting(receiver);
        MUST(length == IPCR_AGAIN || length == IPCR_CLOSED || (length == IPCR_BUSY && !begun));
        if (!begun)
            look_later();
    }
}

/* A message was lent before, and given back. */
static void return_and_wait(void)
{
    int64_t length;
    if ((length = core()->peek(receiver)) == LENGTH) {
        model_read(out(), core()->lent(receiver), LENGTH, __FILE__, __LINE__);
        const int rc = core()->release(receiver);
        MUST(rc == IPCR_OK || rc == IPCR_CLOSED || rc == IPCR_BUSY);
    }
    wait_shortly();
}

/* A wait that goes on finds its place kept, whatever the other thread gives up that is not its own, and was once. */
static void wait_on(void)
{
    int64_t length = IPCR_BUSY;
    for (int i = 0; i < 3 && length == IPCR_BUSY; i++) {
        length = core()->recv_wait(receiver, out(), IPCR_FOREVER, 0);
        if (length == IPCR_BUSY)
            look_later();
    }
    if (length == IPCR_AGAIN)
        MUST(core()->recv_wait(receiver, out(), IPCR_FOREVER, 1) == IPCR_AGAIN);
    core()->stop_waiting(receiver);
}

static void meddle(void)
{
    for (int i = 0; i < 3; i++) {
        core()->recv_wait(receiver, out(), IPCR_FOREVER, 0);
        core()->stop_waiting(receiver);
    }
}

static void perform_give_up(void) { start(NULL, wait_on, meddle); }
static void perform_give_up_closed(void) { start(NULL, wait_shortly, close_receiver_for_good); }
static void perform_return_closed(void) { start(NULL, return_and_wait, close_receiver_for_good); }
static void perform_close_twice(void) { start(NULL, close_receiver, close_receiver); }

/* --- an end that nobody has taken yet -------------------------------------------------------- */

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

static const struct scenario scenarios[] = {
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
        .name = "threads-return-closed",
        .says = "The same after a message was lent and given back.",
        .set_up = one_message_sent,
        .perform = perform_return_closed,
        .look = is_closed,
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
        .name = "threads-take-back",
        .says = "A thread takes an end back that no child got, while another closes it.",
        .set_up = untaken_sender,
        .perform = perform_take_back,
        .look = is_closed,
        POLLING,
    },
    {
        .name = "threads-lent-twice",
        .says = "Two threads give one message back while a third one closes: the segment is left once.",
        .set_up = one_message_sent,
        .perform = perform_returned_twice,
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
};
ADD_SCENARIOS(scenarios)

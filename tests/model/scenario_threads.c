/* scenario_threads.c - two threads of one process at one handle: one is told that it is busy, or both go one after the
 * other.
 *
 * What a handle keeps in private memory is checked for races here (races.c), so that these scenarios hold the edges of
 * the busy word (B in docs/memory-model.md) and of the flags that other threads raise.
 */
#include "threads.h"

/* --- both use it -------------------------------------------------------------------------------------------------- */

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

static void perform_both_send(void) { start_threads(receive_four, send_zero_and_one, send_two_and_three); }

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

static void perform_both_receive(void) { start_threads(send_four, take_some, take_some); }

/* --- one waits, the other tries ----------------------------------------------------------------------------------- */

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

static void perform_both_wait(void) { start_threads(send_four, wait_for_two, wait_for_two); }

/* --- first use ---------------------------------------------------------------------------------------------------- */

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

static void perform_first_use(void) { start_threads(receive_two, take_and_send_zero, take_and_send_one); }

/* --- an end that nobody has taken yet ----------------------------------------------------------------------------- */

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

static void perform_take_and_return(void) { start_threads(NULL, take_it, return_nothing); }

/* --- one asks it to finish ---------------------------------------------------------------------------------------- */

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

static void perform_drain(void) { start_threads(send_three, receive_until_drained, drain); }

/* --- the registry ------------------------------------------------------------------------------------------------- */

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
static void perform_registry(void) { start_threads(NULL, open_sender, open_receiver); }

static void released_with_the_last(void)
{
    act_as(0);
    MUST(shared_segment->references == 1 && shared_segment->ends == NULL);
    core()->segment_release(shared_segment);
    MUST(model_names() == 0 && model_files() == 0);
}

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
        .name = "threads-take-return",
        .says = "A thread gives back what it doesn't have, while another takes the end.",
        .set_up = untaken_sender,
        .perform = perform_take_and_return,
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

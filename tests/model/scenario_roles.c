/* scenario_roles.c - who has an end: taken once, handed to a child, given up; and what the other side is told. */
#include "stage.h"

enum { FIRST = 1, OTHER = 2, SECOND = 3, LENGTH = 1300 };

static struct ipcr_segment *segment;
static struct ipcr_end *sender, *receiver, *rival;
static char out[LONGEST_MESSAGE];
static int takes; /* calls that said: it is yours */
static uint64_t got;
static int held, passed; /* what a child gets: the lock's and the segment's descriptor, by their numbers there */

static int take(struct ipcr_end *end)
{
    uint32_t by = 0;
    const int rc = core()->end_take(end, &by);
    if (rc == IPCR_TAKEN)
        MUST(by <= PROCESSES);
    takes += rc == IPCR_OK;
    return rc;
}

static void start(void (*first)(void), void (*other)(void), void (*second)(void))
{
    takes = 0;
    got = 0;
    held = -1;
    model_start(FIRST, 0, first);
    if (other != NULL)
        model_start(OTHER, 1, other);
    if (second != NULL)
        model_start(SECOND, 2, second);
}

/* --- two want it -------------------------------------------------------------------------------------------------- */

static void two_handles(void)
{
    act_as(0);
    sender = open_end(make_channel(UINT64_MAX - 4095), IPCR_SENDER);
    act_as(1);
    receiver = taken_end(attach_channel(), IPCR_RECEIVER);
    act_as(2);
    rival = open_end(attach_channel(), IPCR_SENDER);
}

/* In one process: the locks must hold between handles, too. */
static void two_handles_of_one_process(void)
{
    act_as(0);
    struct ipcr_segment *here = make_channel(UINT64_MAX - 4095);
    sender = open_end(here, IPCR_SENDER);
    rival = open_end(here, IPCR_SENDER);
}

static void take_and_keep(struct ipcr_end *end)
{
    const int rc = take(end);
    MUST(rc == IPCR_OK || rc == IPCR_TAKEN);
}

static void first_takes(void) { take_and_keep(sender); }
static void second_takes(void) { take_and_keep(rival); }
static void perform_take(void) { start(first_takes, NULL, second_takes); }
static void taken_once(void) { MUST(takes == 1); }

static void perform_take_in_one_process(void)
{
    takes = 0;
    model_start(FIRST, 0, first_takes);
    model_start(SECOND, 0, second_takes);
}

/* --- one closes, another wants it --------------------------------------------------------------------------------- */

static void taken_with_rival(void)
{
    two_handles();
    act_as(0);
    uint32_t by;
    MUST(core()->end_take(sender, &by) == IPCR_OK);
}

static void send_and_close(void)
{
    MUST(send_message(sender, 0, LENGTH) == IPCR_OK);
    leave(sender, true);
}

/* Either it is still taken, or it is closed for ever. */
static void want_it(void)
{
    for (int i = 0; i < 3; i++) {
        const int rc = take(rival);
        MUST(rc == IPCR_TAKEN || rc == IPCR_END_OF_CHANNEL);
    }
}

static void receive_to_the_end(void)
{
    int64_t length;
    while ((length = receive(receiver, out)) >= 0)
        MUST(length == LENGTH && is_message(out, got++, LENGTH));
    MUST(length == IPCR_END_OF_CHANNEL);
}

static void perform_close(void) { start(send_and_close, receive_to_the_end, want_it); }
static void one_arrived(void) { MUST(got == 1 && takes == 0); }

/* Not cleanly, as when a process's function raised: the rival may go on, and the receiver is told of a death, or of
 * nothing. */
static void send_and_give_up(void)
{
    MUST(send_message(sender, 0, LENGTH) == IPCR_OK);
    leave(sender, false);
}

static void go_on(void)
{
    int rc;
    while ((rc = take(rival)) == IPCR_TAKEN)
        look_later();
    MUST(rc == IPCR_OK);
    MUST(send_message(rival, 1, LENGTH) == IPCR_OK);
    leave(rival, true);
}

static void receive_past_deaths(void)
{
    int64_t length;
    while ((length = receive(receiver, out)) != IPCR_END_OF_CHANNEL) {
        if (length == IPCR_PEER_DIED) {
            MUST(got == 1); /* what it had sent came first */
            MUST(receiver->peer_pid == 1); /* process 0, and not the rival, who closed */
            continue;
        }
        MUST(length == LENGTH && is_message(out, got++, LENGTH));
    }
}

static void perform_give_up(void) { start(send_and_give_up, receive_past_deaths, go_on); }
static void two_arrived(void) { MUST(got == 2 && takes == 1); }

/* --- who has died ------------------------------------------------------------------------------------------------- */

static void take_and_vanish(void)
{
    MUST(take(sender) == IPCR_OK);
    leave(sender, false);
}

/* A look at once, and then a wait, which ends long after everything has come to be seen. */
static void learn_who(void)
{
    int64_t rc = core()->peer_sometimes(receiver);
    if (rc == IPCR_OK)
        rc = receive(receiver, out);
    MUST(rc == IPCR_PEER_DIED);
    MUST(receiver->peer_pid == 1); /* of process 0 */
}

static void perform_blame(void) { start(take_and_vanish, learn_who, NULL); }

/* --- a successor meets a live other side -------------------------------------------------------------------------- */

/* The ring is full when the sender has gone; while its successor opens the ring, the receiver gives room back. */
static void full_and_abandoned(void)
{
    taken_with_rival();
    act_as(0);
    for (uint64_t i = 0; i < 3; i++)
        MUST(core()->send(sender, message(i, LENGTH), LENGTH, i) == IPCR_OK);
    leave(sender, false);
}

static void take_and_overwrite(void)
{
    MUST(take(rival) == IPCR_OK);
    for (uint64_t i = 3; i < 5; i++)
        MUST(send_message(rival, i, LENGTH) == IPCR_OK);
}

static void receive_five(void)
{
    while (got < 5) {
        const int64_t length = receive(receiver, out);
        if (length == IPCR_PEER_DIED)
            continue;
        MUST(length == LENGTH && is_message(out, got, LENGTH) && core()->last_sequence(receiver) == got);
        got++;
    }
}

static void nothing(void) {}
static void perform_successor(void) { start(nothing, receive_five, take_and_overwrite); }

/* --- both ends in one process ------------------------------------------------------------------------------------- */

static void one_process(void)
{
    act_as(0);
    segment = make_channel(UINT64_MAX - 4095);
    sender = taken_end(segment, IPCR_SENDER);
    receiver = taken_end(segment, IPCR_RECEIVER);
}

/* Its own life never looks like a death to it, however long it waits. */
static void wait_in_vain(void)
{
    for (int slice = 0; slice < 2; slice++)
        MUST(core()->recv_wait(receiver, out, IPCR_FOREVER, slice > 0) == IPCR_AGAIN);
    core()->stop_waiting(receiver);
    MUST(core()->end_peer(sender) == IPCR_OK && core()->end_peer(receiver) == IPCR_OK);
}

static void perform_one_process(void) { start(wait_in_vain, NULL, NULL); }

/* --- handed to a child -------------------------------------------------------------------------------------------- */

static void anonymous(void)
{
    act_as(0);
    segment = make_anonymous(UINT64_MAX - 4095);
    sender = open_end(segment, IPCR_SENDER);
    const int fd = model_pass(segment->fd, 1);
    act_as(1);
    receiver = taken_end(attach_passed(fd), IPCR_RECEIVER);
}

/* As a parent starts a child: hand the end over, let it come, forget the own copy. */
static void hand_over(void)
{
    int fd;
    MUST(core()->end_hand_over(sender, true, false, &fd) == IPCR_OK);
    passed = model_pass(segment->fd, 2);
    held = model_pass(fd, 2);
    core()->parcel_close(fd);
    core()->end_close(sender, true); /* only the claim: the end is the child's */
}

static void child_sends(void)
{
    struct ipcr_end *end;
    while (held == -1)
        look_later();
    model_got();
    MUST(core()->end_adopt(attach_passed(passed), IPCR_SENDER, 0, held, true, &end) == IPCR_OK);
    MUST(send_message(end, 0, LENGTH) == IPCR_OK);
    leave(end, true);
}

static void perform_hand_over(void) { start(hand_over, receive_to_the_end, child_sends); }
static void child_was_heard(void) { MUST(got == 1); }

/* The child dies anywhere: the receiver gets what it sent, and then is told of its death. */
static void receive_until_death(void)
{
    int64_t length;
    while ((length = receive(receiver, out)) >= 0)
        MUST(length == LENGTH && is_message(out, got++, LENGTH));
    MUST(length == IPCR_PEER_DIED || (length == IPCR_END_OF_CHANNEL && got == 1));
}

static void perform_child_dies(void)
{
    start(hand_over, receive_until_death, child_sends);
    model_fibers[SECOND].mortal = true;
}

/* It could not be started: the parent takes the end back, and uses it itself. */
static void hand_over_in_vain(void)
{
    int fd;
    MUST(core()->end_hand_over(sender, true, false, &fd) == IPCR_OK);
    core()->end_take_back(sender, fd, true);
    MUST(take(sender) == IPCR_OK);
    MUST(send_message(sender, 0, LENGTH) == IPCR_OK);
    leave(sender, true);
}

static void perform_take_back(void) { start(hand_over_in_vain, receive_to_the_end, NULL); }

/* --- nobody can come any more ------------------------------------------------------------------------------------- */

static void give_claim_up(void) { leave(sender, true); }

static void wait_for_the_end(void)
{
    MUST(receive(receiver, out) == IPCR_END_OF_CHANNEL);
}

static void perform_claim(void) { start(give_claim_up, wait_for_the_end, NULL); }

#define SLICES .patience_ns = UINT64_MAX
static const struct scenario scenarios[] = {
    {
        .name = "roles-take",
        .says = "Two processes take one end at the same time: one gets it.",
        .set_up = two_handles,
        .perform = perform_take,
        .look = taken_once,
        SLICES,
    },
    {
        .name = "roles-take-here",
        .says = "Two handles of one process take one end at the same time: one gets it.",
        .set_up = two_handles_of_one_process,
        .perform = perform_take_in_one_process,
        .look = taken_once,
        SLICES,
    },
    {
        .name = "roles-close",
        .says = "An end that is being closed is taken, or closed, for whoever wants it, and never free.",
        .set_up = taken_with_rival,
        .perform = perform_close,
        .look = one_arrived,
        SLICES,
    },
    {
        .name = "roles-give-up",
        .says = "An end given up without a close goes to its successor; who is told of a death is told whose.",
        .set_up = taken_with_rival,
        .perform = perform_give_up,
        .look = two_arrived,
        SLICES,
    },
    {
        .name = "roles-blame",
        .says = "Who is told of a death is told whose, also when the end was taken only just before.",
        .set_up = two_handles,
        .perform = perform_blame,
        .both = true,
        SLICES,
    },
    {
        .name = "roles-successor",
        .says = "A successor opens a full ring while the receiver gives room back, and overwrites nothing unread.",
        .set_up = full_and_abandoned,
        .perform = perform_successor,
        .both = true,
        SLICES,
    },
    {
        .name = "roles-one-process",
        .says = "A process with both ends never takes itself for dead.",
        .set_up = one_process,
        .perform = perform_one_process,
        SLICES,
    },
    {
        .name = "roles-hand-over",
        .says = "An end on its way to a child is never without a living owner.",
        .set_up = anonymous,
        .perform = perform_hand_over,
        .look = child_was_heard,
        .both = true,
        SLICES,
    },
    {
        .name = "roles-child-dies",
        .says = "A child that was handed an end dies anywhere: what it sent arrives, then its death.",
        .set_up = anonymous,
        .perform = perform_child_dies,
        .deaths = 1,
        SLICES,
    },
    {
        .name = "roles-take-back",
        .says = "A child that could not be started: the end is taken back, and nobody is told of a death.",
        .set_up = anonymous,
        .perform = perform_take_back,
        .look = child_was_heard,
        SLICES,
    },
    {
        .name = "roles-claim",
        .says = "The last claim on an untaken end goes: the other side is told of the end.",
        .set_up = anonymous,
        .perform = perform_claim,
        SLICES,
    },
};
ADD_SCENARIOS(scenarios)

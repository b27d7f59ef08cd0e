/* operations.c - each operation of the core that makes system calls, as its callers use it, and what must work after. */
#include "operations.h"
#include "inject.h"
#include "registry.h"
#include "scene.h"
#include "stats.h"

void operations_begin(const char *where) { dir = where; }

/* --- creating --------------------------------------------------------------------------------------------- */

static int create_anonymous(void) { return create_in(NULL, &segment); }
static int create_named(void) { return create_in(dir, &segment); }
static void prove_anonymous(void) { message_through(segment, segment); }

static void prove_named(void)
{
    CHECK_IS(attach_to(&second), IPCR_OK);
    message_through(segment, second);
    release(&second);
}

static void lose_tmpfile(void) { inject_no_tmpfile(true); }
static void regain_tmpfile(void) { inject_no_tmpfile(false); }

static void make_with_unread(void)
{
    make();
    sender = taken(segment, IPCR_SENDER);
    CHECK_IS(ipcr_send(sender, "unread", 6, 0), IPCR_OK);
}

static void orphan(void) { die_after(make_with_unread); }

static void unmake_and_orphan(void)
{
    unmake();
    orphan();
}

static void prove_gone(void) { CHECK_IS(attach_to(&second), IPCR_NOT_FOUND); }

/* --- attaching, ends ---------------------------------------------------------------------------------------- */

static int attach(void) { return attach_to(&second); }
static void prove_attached(void) { message_through(segment, second); }
static void unattach(void) { release(&second); }

static int open_end(void)
{
    const int rc = ipcr_end_open(segment, IPCR_SENDER, 0, &sender);
    CHECK(rc != IPCR_TAKEN); /* claims are shared */
    return rc;
}

static void prove_end(void)
{
    uint32_t by;
    CHECK_IS(ipcr_end_take(sender, &by), IPCR_OK);
    receiver = taken(segment, IPCR_RECEIVER);
    one_message(sender, receiver);
    drop(&receiver, false);
}

static void drop_sender(void) { drop(&sender, false); }

static uint32_t sender_state(void) { return load_acquire32(&segment->header->signals[IPCR_SENDER].end_state); }

static int take_end(void)
{
    uint32_t by;
    const uint32_t before = sender_state();
    const int rc = ipcr_end_take(sender, &by);
    CHECK(rc == IPCR_OK ? (sender_state() & IPCR_END_MASK) == IPCR_END_TAKEN : sender_state() == before);
    return rc;
}

static void make_and_open(void)
{
    make();
    sender = opened(segment, IPCR_SENDER);
}

static void reopen_end(void)
{
    drop_sender();
    sender = opened(segment, IPCR_SENDER);
}

static void unmake_with_sender(void)
{
    drop(&sender, true);
    unmake();
}

/* As in a child whose parent had no descriptor left for its presence. */
static void make_and_be_absent(void)
{
    make_and_open();
    ipcr_hold_drop(&segment->presence);
}

static int take_end_absent(void)
{
    const int rc = take_end();
    if (rc != IPCR_OK)
        ipcr_hold_drop(&segment->presence); /* by which it may have become present: that is no leak */
    return rc;
}

static void reopen_absent(void)
{
    reopen_end();
    ipcr_hold_drop(&segment->presence);
}

/* Parent and child of a start in one process: hand over, attach, adopt; after a failure all goes back. */
static int hand_over(void)
{
    int held;
    const uint32_t before = sender_state();
    int rc = ipcr_end_hand_over(sender, true, false, &held);
    if (rc != IPCR_OK) {
        CHECK(sender_state() == before);
        return rc;
    }
    rc = attach_handed_over(IPCR_KIND_RING);
    if (rc != IPCR_OK) {
        ipcr_end_take_back(sender, held, true);
        CHECK_IS(sender_state() & IPCR_END_MASK, IPCR_END_UNTAKEN);
        return rc;
    }
    CHECK_IS(ipcr_parcel_keep(held), IPCR_OK);
    struct ipcr_end *adopted;
    rc = ipcr_end_adopt(second, IPCR_SENDER, 0, held, true, &adopted); /* has the descriptor, whatever it says */
    if (rc != IPCR_OK) {
        release(&second);
        return rc;
    }
    drop(&sender, false);
    sender = adopted;
    return IPCR_OK;
}

static void prove_handed_over(void)
{
    receiver = taken(segment, IPCR_RECEIVER);
    one_message(sender, receiver);
    drop(&receiver, false);
}

static void hand_back(void)
{
    drop_sender();
    release(&second);
    sender = opened(segment, IPCR_SENDER);
}

/* --- waiting, waking ---------------------------------------------------------------------------------------- */

static int wait_for_message(void)
{
    char got[IPCR_SMALL];
    const uint64_t until = in_ms(SOON_MS);
    int64_t rc;
    for (int resume = 0; (rc = ipcr_recv_wait(receiver, got, until, resume)) == IPCR_AGAIN; resume = 1)
        ;
    ipcr_stop_waiting(receiver);
    CHECK(rc != IPCR_EMPTY || now_ns() >= until); /* not early */
    return (int)rc;
}

static void make_full(void)
{
    make_with_ends();
    while (ipcr_send(sender, "filling", 7, 0) == IPCR_OK)
        ;
}

static int wait_for_room(void)
{
    const uint64_t until = in_ms(SOON_MS);
    int rc;
    for (int resume = 0; (rc = ipcr_send_wait(sender, "message", 7, 0, until, resume)) == IPCR_AGAIN; resume = 1)
        ;
    ipcr_stop_waiting(sender);
    CHECK(rc != IPCR_FULL || now_ns() >= until);
    return rc;
}

static void unmake_full(void)
{
    unmake_with_ends(); /* something is unread, so the name stays */
    collect();
}

static void prove_stream(void) { one_message(sender, receiver); }

static void prove_drained_and_filled(void)
{
    char got[IPCR_SMALL];
    int taken_out = 0;
    while (ipcr_recv(receiver, got) == 7)
        taken_out++;
    CHECK_IS(taken_out, CAPACITY / 24);
    one_message(sender, receiver);
    while (ipcr_send(sender, "filling", 7, 0) == IPCR_OK)
        ;
}

static int send_to_a_sleeper(void)
{
    store_relaxed32(&sender->theirs->parked, 1);
    return ipcr_send(sender, "message", 7, 0);
}

static void prove_woken(void)
{
    char got[IPCR_SMALL];
    CHECK_IS(load_relaxed32(&sender->theirs->parked), 0);
    CHECK_IS(ipcr_recv(receiver, got), 7);
}

/* --- ending, looking, forking ----------------------------------------------------------------------------------- */

static int close_all(void)
{
    unmake_with_ends();
    return IPCR_OK;
}

static int unlink_name(void) { return ipcr_segment_unlink(segment); }

static void make_again(void)
{
    unmake();
    make();
}

static int look_at_file(void)
{
    int fd;
    struct ipcr_stats stats = { 0 };
    int rc = ipcr_os_open(dir, NAME, &fd);
    if (rc != IPCR_OK)
        return rc;
    rc = ipcr_stats_of_file(fd, &stats);
    ipcr_os_close(fd);
    CHECK(rc != IPCR_OK || (stats.capacity == CAPACITY && stats.present == 1 && stats.side[0].alive == 1));
    return rc;
}

static int look_at_segment(void)
{
    struct ipcr_stats stats = { 0 };
    const int rc = ipcr_stats_of_segment(segment, &stats);
    CHECK(rc != IPCR_OK || (stats.capacity == CAPACITY && stats.side[1].alive == 1));
    return rc;
}

/* What came down by fork and was not in use can be used, however little the fork handlers got done; and what
 * is in use stays with the parent. */
static void use_inherited(void)
{
    uint32_t by;
    CHECK_IS(ipcr_send(sender, "message", 7, 0), IPCR_FORKED);
    CHECK_IS(ipcr_end_take(receiver, &by), IPCR_OK);
    drop(&receiver, false);
    drop(&sender, false);
    unmake();
}

static int fork_with_ends(void) { return fork_to(use_inherited); }

static void make_half_used(void)
{
    make();
    sender = taken(segment, IPCR_SENDER);
    receiver = opened(segment, IPCR_RECEIVER);
}

static void prove_half_used(void)
{
    uint32_t by;
    prove_forked();
    CHECK_IS(ipcr_end_take(receiver, &by), IPCR_OK);
    one_message(sender, receiver);
    drop(&receiver, false);
    receiver = opened(segment, IPCR_RECEIVER);
}

const struct operation channel_operations[] = {
    { "create, anonymous", nothing, create_anonymous, prove_anonymous, unmake, nothing, false, false, 0 },
    { "create, named", nothing, create_named, prove_named, unmake, nothing, false, false, 0 },
    { "create without O_TMPFILE", lose_tmpfile, create_named, prove_named, unmake, regain_tmpfile, false, false, 0 },
    { "create over an orphan", orphan, create_named, prove_named, unmake_and_orphan, collect, true, false, 0 },
    { "attach", make, attach, prove_attached, unattach, unmake, false, false, 0 },
    { "open an end", make, open_end, prove_end, drop_sender, unmake, false, false, 0 },
    { "take an end", make_and_open, take_end, prove_handed_over, reopen_end, unmake_with_sender, false, false, 0 },
    { "take an end, absent", make_and_be_absent, take_end_absent, prove_handed_over, reopen_absent, unmake_with_sender,
      false, false, 0 },
    { "hand over and adopt", make_and_open, hand_over, prove_handed_over, hand_back, unmake_with_sender, false, false,
      0 },
    { "wait for a message", make_with_ends, wait_for_message, prove_stream, nothing, unmake_with_ends, false, false,
      IPCR_EMPTY },
    { "wait for room", make_full, wait_for_room, prove_drained_and_filled, nothing, unmake_full, false, false,
      IPCR_FULL },
    { "wake", make_with_ends, send_to_a_sleeper, prove_woken, nothing, unmake_with_ends, false, false, 0 },
    { "fork", make_half_used, fork_with_ends, prove_half_used, nothing, unmake_with_ends, false, false, 0 },
    { "close", make_with_ends, close_all, prove_left, nothing, nothing, true, true, 0 },
    { "unlink", make, unlink_name, prove_gone, make_again, unmake, true, false, 0 },
    { "collect an orphan", orphan, remove_orphan, prove_gone, orphan, collect, true, false, 0 },
    { "look at a file", make_with_ends, look_at_file, prove_stream, nothing, unmake_with_ends, false, false, 0 },
    { "look at a segment", make_with_ends, look_at_segment, prove_stream, nothing, unmake_with_ends, false, false, 0 },
    { .name = NULL },
};

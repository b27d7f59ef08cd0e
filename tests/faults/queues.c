/* queues.c - each operation on a queue as a whole that makes system calls, as its callers use it, and what must work after:
 * making, attaching, handing over, looking, forking, ending.  What passes through it: queue_traffic.c.
 */
#include "operations.h"
#include "queue_scene.h"
#include "queue_stats.h"
#include "registry.h"

/* --- the scene ------------------------------------------------------------------------------------------------ */

static int create_nameless(void) { return create_queue_in(NULL, 0); }
static int create_named(void) { return create_queue_in(dir, 0); }
static void make_queue(void) { CHECK_IS(create_named(), IPCR_OK); }
static void unmake_queue(void) { release(&segment); }

static void queue_through(struct ipcr_segment *in, struct ipcr_segment *out)
{
    producer = handle_on(in);
    consumer = handle_on(out);
    one_message_through();
    finish(&consumer);
    finish(&producer);
}

static void make_with_unread(void)
{
    make_queue();
    producer = handle_on(segment);
    check_puts(producer);
}

static void orphan(void) { die_after(make_with_unread); }

static void unmake_and_orphan(void)
{
    unmake_queue();
    orphan();
}

/* --- making, attaching, handing over ------------------------------------------------------------------------------ */

static void prove_nameless(void) { queue_through(segment, segment); }
static void prove_attached(void) { queue_through(segment, second); }

static void prove_created(void)
{
    CHECK_IS(attach_to_queue(), IPCR_OK);
    prove_attached();
    release(&second);
}

/* The segment has the lanes mapped that it was proved with: made anew as well. */
static void unattach(void)
{
    release(&second);
    unmake_queue();
    make_queue();
}

/* Parent and child of a start in one process; after a failure all goes back. */
static int hand_over(void)
{
    int held;
    int rc = ipcr_segment_hand_over(segment, &held);
    if (rc != IPCR_OK)
        return rc;
    rc = attach_handed_over(IPCR_KIND_RELIABLE);
    ipcr_parcel_close(held);
    return rc;
}

static int open_handle(void) { return ipcr_queue_open(segment, 0, &producer); }

static void prove_handle(void)
{
    consumer = handle_on(segment);
    one_message_through();
    finish(&consumer);
}

static void drop_handle(void) { finish(&producer); }

/* --- looking, forking, ending --------------------------------------------------------------------------------------- */

static void check_stats(int rc, const struct ipcr_queue_stats *all, const struct ipcr_lane_stats *lanes)
{
    CHECK(rc != IPCR_OK || (all->present == 1 && all->lanes == LANES && lanes[0].alive == 1 && lanes[0].put == 1 &&
                            lanes[0].ready == 1));
}

/* Attached for this look alone, so that the lanes are not mapped yet. */
static int look_at_segment(void)
{
    struct ipcr_queue_stats all = { 0 };
    struct ipcr_lane_stats lanes[LANES];
    struct ipcr_segment *const others = second;
    int rc = attach_to_queue();
    if (rc == IPCR_OK) {
        rc = ipcr_queue_stats(second, &all, lanes, LANES);
        release(&second);
        check_stats(rc, &all, lanes);
    }
    second = others;
    return rc;
}

static int look_at_file(void)
{
    struct ipcr_queue_stats all = { 0 };
    struct ipcr_lane_stats lanes[LANES];
    int fd;
    int rc = ipcr_os_open(dir, NAME, &fd);
    if (rc != IPCR_OK)
        return rc;
    rc = ipcr_queue_stats_of_file(fd, &all, lanes, LANES);
    ipcr_os_close(fd);
    check_stats(rc, &all, lanes);
    return rc;
}

static void prove_message(void)
{
    check_gets(consumer, "message");
    prove_used();
}

/* The child has a lane and a number of its own, however little the fork handlers got done. */
static void use_inherited(void)
{
    CHECK_IS(put_by(producer, "message"), IPCR_OK);
    CHECK(producer->own[0].index != 0); /* that one is the parent's */
    CHECK_IS(get_by(consumer, "message"), IPCR_OK);
    unmake_with_handles();
}

static int fork_with_handles(void) { return fork_to(use_inherited); }

static void prove_forked_and_used(void)
{
    prove_forked();
    prove_used();
}

static void remake_used(void) { anew(make_used); }

static int close_all(void)
{
    unmake_with_handles();
    return IPCR_OK;
}

const struct operation queue_operations[] = {
    { "queue: create, nameless", nothing, create_nameless, prove_nameless, unmake_queue, nothing, false, false, 0 },
    { "queue: create, named", nothing, create_named, prove_created, unmake_queue, nothing, false, false, 0 },
    { "queue: create over orphan", orphan, create_named, prove_created, unmake_and_orphan, collect, true, false, 0 },
    { "queue: attach", make_queue, attach_to_queue, prove_attached, unattach, unmake_queue, false, false, 0 },
    { "queue: hand over", make_queue, hand_over, prove_attached, unattach, unmake_queue, false, false, 0 },
    { "queue: open a handle", make_queue, open_handle, prove_handle, drop_handle, unmake_queue, false, false, 0 },
    { "queue: look at segment", make_with_message, look_at_segment, prove_message, remake_with_message, unmake_full,
      false, false, 0 },
    { "queue: look at file", make_with_message, look_at_file, prove_message, remake_with_message, unmake_full, false,
      false, 0 },
    { "queue: fork", make_used, fork_with_handles, prove_forked_and_used, remake_used, unmake_with_handles, false, false,
      0 },
    { "queue: close", make_used, close_all, prove_left, nothing, nothing, true, true, 0 },
    { .name = NULL },
};

/* queues.c - each operation of a queue that makes system calls, as its callers use it, and what must work after.
 *
 * `producer` works through `segment`, `consumer` through `second`, as another process would have it: nothing that one of
 * them has mapped or locked does for the other.
 */
#include "operations.h"
#include "queue.h"
#include "queue_stats.h"
#include "registry.h"
#include "scene.h"

enum { SOON_MS = 10, LANES = 4, SLOTS = 32, MESSAGE_BYTES = 7 };

static struct ipcr_queue *producer, *consumer;
static struct ipcr_lease lease;
static uint64_t put_id;

/* --- the scene ------------------------------------------------------------------------------------------------ */

static int create_in_with(const char *where, uint64_t maxsize)
{
    const struct ipcr_queue_options options = { .slots = SLOTS, .lanes_each = 1, .maxsize = maxsize };
    const int rc = ipcr_segment_create_queue(where, where != NULL ? NAME : "ipc:test", IPCR_KIND_RELIABLE, CAPACITY, LANES,
                                             &options, 0, &segment);
    CHECK(rc != IPCR_TAKEN);
    return rc;
}

static int create_nameless(void) { return create_in_with(NULL, 0); }
static int create_named(void) { return create_in_with(dir, 0); }
static int attach(void) { return attach_as(IPCR_KIND_RELIABLE, &second); }
static int open_handle(void) { return ipcr_queue_open(segment, 0, &producer); }

static struct ipcr_queue *handle_on(struct ipcr_segment *s)
{
    struct ipcr_queue *q;
    CHECK_IS(ipcr_queue_open(s, 0, &q), IPCR_OK);
    return q;
}

static void finish(struct ipcr_queue **q)
{
    ipcr_queue_free(*q);
    *q = NULL;
}

/* As the binding does: a lane is taken when the first message asks for it. */
static int put_by(struct ipcr_queue *q, const char *message)
{
    const struct ipcr_piece piece = { .data = message, .length = MESSAGE_BYTES };
    struct ipcr_put options = { .info = 0 };
    int rc = ipcr_queue_put_pieces(q, &piece, 1, &options);
    if (rc == IPCR_NOT_TAKEN) {
        rc = ipcr_queue_take_lane(q, false);
        if (rc == IPCR_NOT_FOUND)
            rc = ipcr_queue_take_lane(q, true);
        if (rc == IPCR_OK)
            rc = ipcr_queue_put_pieces(q, &piece, 1, &options);
    }
    put_id = options.id;
    return rc;
}

static int get_by(struct ipcr_queue *q, const char *message)
{
    char got[IPCR_SMALL];
    struct ipcr_lease l;
    const int rc = ipcr_queue_get(q, got, sizeof got, &l);
    CHECK(rc != IPCR_OK || (l.length == MESSAGE_BYTES && memcmp(got, message, MESSAGE_BYTES) == 0));
    return rc;
}

static void check_puts(struct ipcr_queue *q) { CHECK_IS(put_by(q, "message"), IPCR_OK); }
static void check_gets(struct ipcr_queue *q, const char *message) { CHECK_IS(get_by(q, message), IPCR_OK); }
static void check_is_empty(struct ipcr_queue *q) { CHECK_IS(get_by(q, ""), IPCR_EMPTY); }

static void one_message_through(void)
{
    check_puts(producer);
    check_gets(consumer, "message");
}

static void queue_through(struct ipcr_segment *in, struct ipcr_segment *out)
{
    producer = handle_on(in);
    consumer = handle_on(out);
    one_message_through();
    finish(&consumer);
    finish(&producer);
}

static void make_queue(void) { CHECK_IS(create_named(), IPCR_OK); }
static void unmake_queue(void) { release(&segment); }

static void make_with_handles_of(uint64_t maxsize)
{
    CHECK_IS(create_in_with(dir, maxsize), IPCR_OK);
    CHECK_IS(attach(), IPCR_OK);
    producer = handle_on(segment);
    consumer = handle_on(second);
}

static void make_with_handles(void) { make_with_handles_of(0); }

static void unmake_with_handles(void)
{
    finish(&consumer);
    finish(&producer);
    release(&second);
    release(&segment);
}

/* Both have what they need: a lane, a number, and the lane's memory. */
static void make_used(void)
{
    make_with_handles();
    one_message_through();
}

static void remake_with_handles(void)
{
    unmake_with_handles();
    make_with_handles();
}

/* What another has made of it meanwhile, a new lane for example, goes as well. */
static void remake_used(void)
{
    unmake_with_handles();
    make_used();
}

static void leave_orphan(int ear, int mouth, void *arg)
{
    (void)ear, (void)mouth, (void)arg;
    make_queue();
    producer = handle_on(segment);
    check_puts(producer);
    _exit(0);
}

static void orphan(void)
{
    struct child c = child_start(leave_orphan, NULL);
    child_finish(&c);
}

static int remove_orphan(void) { return ipcr_name_remove(dir, NAME, IPCR_REMOVE_ORPHAN); }
static void collect(void) { CHECK_IS(remove_orphan(), IPCR_OK); }

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
    CHECK_IS(attach(), IPCR_OK);
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
    int held, fd;
    int rc = ipcr_segment_hand_over(segment, &held);
    if (rc != IPCR_OK)
        return rc;
    rc = ipcr_os_reopen(segment->fd, segment->id, &fd);
    if (rc == IPCR_OK) {
        rc = ipcr_segment_attach(fd, dir, NAME, IPCR_KIND_RELIABLE, true, &second);
        if (rc != IPCR_OK)
            ipcr_os_close(fd);
    }
    ipcr_parcel_close(held);
    return rc;
}

static void prove_handle(void)
{
    consumer = handle_on(segment);
    one_message_through();
    finish(&consumer);
}

static void drop_handle(void) { finish(&producer); }

/* --- the first put, the first get ----------------------------------------------------------------------------------- */

static int first_put(void) { return put_by(producer, "message"); }

static void prove_put(void)
{
    check_gets(consumer, "message");
    check_is_empty(consumer);
    one_message_through();
}

/* A lane that somebody has left is taken over: the message in it stays. */
static void make_with_abandoned_lane(void)
{
    make_with_handles();
    struct ipcr_queue *former = handle_on(segment);
    CHECK_IS(put_by(former, "earlier"), IPCR_OK);
    finish(&former);
}

static void prove_put_behind_another(void)
{
    check_gets(consumer, "earlier");
    prove_put();
}

static void remake_with_abandoned_lane(void)
{
    unmake_with_handles();
    make_with_abandoned_lane();
}

static void make_with_message(void)
{
    make_with_handles();
    check_puts(producer);
}

/* A handle keeps its number, and what it has mapped, when it fails later: all that goes with it, and is no leak. */
static int first_get(void)
{
    const int rc = get_by(consumer, "message");
    if (rc != IPCR_OK) {
        finish(&consumer);
        release(&second);
        CHECK_IS(attach(), IPCR_OK);
        consumer = handle_on(second);
    }
    return rc;
}

static void prove_got(void)
{
    check_is_empty(consumer);
    one_message_through();
}

static void remake_with_message(void)
{
    unmake_with_handles();
    make_with_message();
}

/* --- waking, waiting ------------------------------------------------------------------------------------------------ */

static int put_to_a_sleeper(void)
{
    store_relaxed32(&producer->header->consumers_parked, 1);
    return put_by(producer, "message");
}

static void prove_woken(void)
{
    CHECK_IS(load_relaxed32(&producer->header->consumers_parked), 2);
    prove_put();
}

static int wait_for_message(void)
{
    const uint64_t until = in_ms(SOON_MS);
    int rc;
    while ((rc = get_by(consumer, "")) == IPCR_EMPTY && now_ns() < until) {
        rc = ipcr_queue_wait_for_message(consumer, until);
        if (rc != IPCR_OK && rc != IPCR_AGAIN)
            return rc;
    }
    return rc;
}

static void prove_used(void)
{
    check_is_empty(consumer);
    one_message_through();
}

/* Waits until there may be room; "never" must not have gone in. */
static int put_in_vain(void)
{
    const uint64_t until = in_ms(SOON_MS);
    int rc;
    while ((rc = put_by(producer, "never..")) == IPCR_FULL && now_ns() < until) {
        rc = ipcr_queue_wait_for_room(producer, MESSAGE_BYTES, until);
        if (rc != IPCR_OK && rc != IPCR_AGAIN)
            return rc;
    }
    return rc;
}

static int fill(void)
{
    int n = 0;
    while (put_by(producer, "filling") == IPCR_OK)
        n++;
    return n;
}

static void make_full(void)
{
    make_used();
    CHECK_IS(fill(), SLOTS - 1 + 1); /* what was got is freed */
}

static void prove_drained_and_filled(void)
{
    for (int i = 0; i < SLOTS; i++)
        check_gets(consumer, "filling");
    prove_used();
    CHECK_IS(fill(), SLOTS);
}

static void unmake_full(void)
{
    unmake_with_handles(); /* something is unread, so the name stays */
    collect();
}

/* maxsize=1, and the message is in a lane that the producer, who has one, has not looked at yet. */
static void make_full_by_another(void)
{
    make_with_handles_of(1);
    one_message_through();
    CHECK_IS(put_by(consumer, "another"), IPCR_OK);
}

static int put_beyond_maxsize(void) { return put_by(producer, "never.."); }

static void make_full_and_looked_at(void)
{
    make_full_by_another();
    CHECK_IS(put_beyond_maxsize(), IPCR_FULL);
}

static void prove_full_by_another(void)
{
    CHECK_IS(put_by(producer, "never.."), IPCR_FULL);
    check_gets(consumer, "another");
    prove_used();
}

static void remake_full_by_another(void)
{
    unmake_with_handles();
    make_full_by_another();
}

static void remake_full_and_looked_at(void)
{
    unmake_with_handles();
    make_full_and_looked_at();
}

static int wait_for_receipt(void)
{
    const int rc = ipcr_queue_wait_for_outcome(producer, put_id, in_ms(SOON_MS));
    return rc == IPCR_AGAIN ? IPCR_OK : rc;
}

static void prove_unacknowledged(void)
{
    CHECK_IS(ipcr_queue_outcome(producer, put_id), IPCR_READY);
    check_gets(consumer, "message");
    CHECK_IS(ipcr_queue_outcome(producer, put_id), IPCR_ACKED);
    one_message_through();
}

static int wait_for_finish(void)
{
    const int rc = ipcr_queue_wait_for_finish(consumer, in_ms(SOON_MS));
    return rc == IPCR_AGAIN ? IPCR_OK : rc;
}

static void prove_unfinished(void)
{
    CHECK(!ipcr_queue_all_finished(consumer));
    check_gets(consumer, "message");
    CHECK_IS(ipcr_queue_task_done(consumer), IPCR_OK);
    CHECK(ipcr_queue_all_finished(consumer));
}

/* --- leases ------------------------------------------------------------------------------------------------------- */

static void make_leased(void)
{
    make_with_message();
    CHECK_IS(ipcr_queue_lease(consumer, 0, &lease), IPCR_OK);
    store_relaxed32(&producer->own[0].lane->words->outcome_parked, 1);
    store_relaxed64(&producer->own[0].lane->words->outcome_at, lease.sequence);
}

static int acknowledge(void) { return ipcr_lease_ack(consumer, &lease); }

static void prove_acknowledged(void)
{
    CHECK_IS(ipcr_queue_outcome(producer, put_id), IPCR_ACKED);
    CHECK_IS(ipcr_lease_ack(consumer, &lease), IPCR_LEASE_LOST);
    prove_got();
}

static void remake_leased(void)
{
    unmake_with_handles();
    make_leased();
}

static int give_back(void)
{
    store_relaxed32(&producer->header->consumers_parked, 1);
    return ipcr_lease_nack(consumer, &lease, 0);
}

static void prove_given_back(void)
{
    CHECK_IS(ipcr_lease_nack(consumer, &lease, 0), IPCR_LEASE_LOST);
    check_gets(consumer, "message");
    prove_got();
}

static void die_with_lease(int ear, int mouth, void *arg)
{
    (void)ear, (void)mouth, (void)arg;
    struct ipcr_queue *q = handle_on(second);
    CHECK_IS(ipcr_queue_lease(q, 0, &lease), IPCR_OK);
    _exit(0);
}

/* The consumer has a number of its own already, and not the dead one's. */
static void make_with_dead_holder(void)
{
    make_with_handles();
    check_is_empty(consumer);
    check_puts(producer);
    CHECK_IS(ipcr_queue_depth(consumer), 1); /* has seen the lane */
    struct child c = child_start(die_with_lease, NULL);
    child_finish(&c);
}

static void remake_with_dead_holder(void)
{
    unmake_with_handles();
    make_with_dead_holder();
}

/* The first one to get takes the dead one's number, and ends its leases before anything else. */
static void make_with_dead_number(void)
{
    make_with_message();
    struct child c = child_start(die_with_lease, NULL);
    child_finish(&c);
}

static void remake_with_dead_number(void)
{
    unmake_with_handles();
    make_with_dead_number();
}

/* It finds the death, and has the message; unless somebody else is burying the dead just then: then soon. */
static int get_from_the_dead(void)
{
    int rc = IPCR_EMPTY;
    for (int i = 0; rc == IPCR_EMPTY && i < 2; i++) {
        consumer->next_repair_ns = 0;
        rc = get_by(consumer, "message");
    }
    return rc;
}

/* --- ending, looking, forking --------------------------------------------------------------------------------------- */

static int close_all(void)
{
    unmake_with_handles();
    return IPCR_OK;
}

static int close_with_lease(void)
{
    ipcr_queue_close(consumer);
    return IPCR_OK;
}

/* What it held, another gets; at the latest after it has looked who is alive. */
static void prove_returned(void)
{
    struct ipcr_queue *other = handle_on(segment);
    check_gets(other, "message");
    finish(&other);
}

/* The name may have stayed: then it is an orphan, which is collected. */
static void prove_left(void)
{
    const int rc = remove_orphan();
    CHECK(rc == IPCR_OK || rc == IPCR_NOT_FOUND);
    CHECK_IS(attach(), IPCR_NOT_FOUND);
}

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
    int rc = attach();
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
    prove_got();
}

/* The child has a lane and a number of its own, however little the fork handlers got done. */
static pid_t forked;

static int fork_with_handles(void)
{
    forked = fork();
    if (forked != 0)
        return forked > 0 ? IPCR_OK : IPCR_FROM_ERRNO(errno);
    check_running = "in the forked child";
    CHECK_IS(put_by(producer, "message"), IPCR_OK);
    CHECK(producer->own[0].index != 0); /* that one is the parent's */
    CHECK_IS(get_by(consumer, "message"), IPCR_OK);
    unmake_with_handles();
    _exit(0);
}

static void prove_forked(void)
{
    int status;
    CHECK(waitpid(forked, &status, 0) == forked);
    CHECK(WIFEXITED(status));
    CHECK_IS(WEXITSTATUS(status), 0);
    prove_used();
}

static void nothing(void) {}

const struct operation queue_operations[] = {
    { "queue: create, nameless", nothing, create_nameless, prove_nameless, unmake_queue, nothing, false, false, 0 },
    { "queue: create, named", nothing, create_named, prove_created, unmake_queue, nothing, false, false, 0 },
    { "queue: create over orphan", orphan, create_named, prove_created, unmake_and_orphan, collect, true, false, 0 },
    { "queue: attach", make_queue, attach, prove_attached, unattach, unmake_queue, false, false, 0 },
    { "queue: hand over", make_queue, hand_over, prove_attached, unattach, unmake_queue, false, false, 0 },
    { "queue: open a handle", make_queue, open_handle, prove_handle, drop_handle, unmake_queue, false, false, 0 },
    { "queue: first put", make_with_handles, first_put, prove_put, remake_with_handles, unmake_with_handles, false, false,
      0 },
    { "queue: put, lane of old", make_with_abandoned_lane, first_put, prove_put_behind_another,
      remake_with_abandoned_lane, unmake_full, false, false, 0 },
    { "queue: first get", make_with_message, first_get, prove_got, remake_with_message, unmake_full, false, false, 0 },
    { "queue: first get, dead", make_with_dead_number, first_get, prove_got, remake_with_dead_number, unmake_full, false,
      false, 0 },
    { "queue: put, wake", make_used, put_to_a_sleeper, prove_woken, nothing, unmake_with_handles, false, false, 0 },
    { "queue: wait, empty", make_used, wait_for_message, prove_used, nothing, unmake_with_handles, false, false,
      IPCR_EMPTY },
    { "queue: wait, full", make_full, put_in_vain, prove_drained_and_filled, nothing, unmake_full, false, false,
      IPCR_FULL },
    { "queue: put, maxsize", make_full_by_another, put_beyond_maxsize, prove_full_by_another, remake_full_by_another,
      unmake_full, false, false, IPCR_FULL },
    { "queue: wait, maxsize", make_full_and_looked_at, put_in_vain, prove_full_by_another, remake_full_and_looked_at,
      unmake_full, false, false, IPCR_FULL },
    { "queue: wait, receipt", make_with_message, wait_for_receipt, prove_unacknowledged, remake_with_message, unmake_full,
      false, false, 0 },
    { "queue: wait, join", make_with_message, wait_for_finish, prove_unfinished, remake_with_message, unmake_full, false,
      false, 0 },
    { "queue: ack", make_leased, acknowledge, prove_acknowledged, remake_leased, unmake_full, false, false, 0 },
    { "queue: nack", make_leased, give_back, prove_given_back, remake_leased, unmake_full, false, false, 0 },
    { "queue: get from the dead", make_with_dead_holder, get_from_the_dead, prove_got, remake_with_dead_holder,
      unmake_full, false, false, 0 },
    { "queue: look at segment", make_with_message, look_at_segment, prove_message, remake_with_message, unmake_full,
      false, false, 0 },
    { "queue: look at file", make_with_message, look_at_file, prove_message, remake_with_message, unmake_full, false,
      false, 0 },
    { "queue: fork", make_used, fork_with_handles, prove_forked, remake_used, unmake_with_handles, false, false, 0 },
    { "queue: close with lease", make_leased, close_with_lease, prove_returned, remake_leased, unmake_full, false, false,
      0 },
    { "queue: close", make_used, close_all, prove_left, nothing, nothing, true, true, 0 },
};
const int queue_operations_count = sizeof queue_operations / sizeof queue_operations[0];

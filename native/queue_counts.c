/* queue_counts.c - how many messages there are, derived from the lanes: no counter that a death could leave wrong.
 *
 * What was put is how far the lanes have come; what is left is the messages that are not done.  Both are read while others
 * go on, lane by lane: with n producers a bound of maxsize may be overshot by n - 1.
 */
#include "queue.h"
#include "registry.h"

#include <errno.h>

enum { FULL_TRIES = 64 /* then others put all the time */ };

struct count {
    uint64_t left; /* messages that are not done */
    uint64_t put;  /* ever */
};

/* Messages of a lane that are not done, and how many it ever had.  exactly: look at each; otherwise those behind the
 * first that waits are taken for waiting as well, which may be too many but never too few. */
static int left_in(const struct ipcr_lane *l, bool exactly, uint64_t start, struct count *sum)
{
    uint64_t at, next, left = 0;
    const int rc = ipcr_lane_bounds(l, &at, &next);
    if (rc != IPCR_OK)
        return rc;
    const uint64_t settled = load_acquire64(&l->words->settled), hint = settled;
    if (settled - at <= next - at)
        at = settled;
    sum->put += next - start;
    uint64_t upto = at;
    bool all_done = true;
    for (; at != next; at++) {
        const uint64_t state = load_acquire64(&ipcr_slot_at(l, at)->state);
        const bool done = !ipcr_is_there(l, at, state) || ipcr_is_done(state);
        if (!exactly && !done && ipcr_phase_of(state) == IPCR_READY) {
            left += next - at;
            break;
        }
        left += !done;
        all_done = all_done && done;
        if (all_done)
            upto = at + 1;
    }
    uint64_t seen = hint;
    if ((int64_t)(upto - hint) >= 8) /* the next count begins there */
        compare_exchange64(&l->words->settled, &seen, upto);
    sum->left += left;
    return IPCR_OK;
}

/* Not IPCR_OK: there are lanes that can't be read, and the sum is worth nothing. */
static int count(struct ipcr_queue *q, bool exactly, struct count *sum)
{
    const uint32_t high = load_acquire32(&q->header->lanes_high);
    const uint64_t start = q->segment->start_position + q->segment->options.slots;
    int rc = IPCR_OK;
    *sum = (struct count){ .put = 0 };
    for (uint32_t i = 0; rc == IPCR_OK && i < high && i < q->segment->lanes; i++) {
        struct ipcr_lane *l;
        rc = ipcr_lane_see(q->segment, i, &l);
        if (rc == IPCR_OK)
            rc = left_in(l, exactly, start, sum);
        else if (rc == IPCR_NOT_FOUND)
            rc = IPCR_OK;
    }
    return rc;
}

/* Lanes are looked at one after the other, so nothing left in any of them doesn't mean nothing left in all: unless none has
 * got a message since, as the second count tells (what was put only grows).  Otherwise there was one just now. */
int64_t ipcr_queue_depth(struct ipcr_queue *q)
{
    struct count sum, again;
    int rc = count(q, true, &sum);
    if (rc != IPCR_OK || sum.left != 0)
        return rc == IPCR_OK ? (int64_t)sum.left : rc;
    rc = count(q, true, &again);
    if (rc != IPCR_OK)
        return rc;
    return again.left != 0 || again.put == sum.put ? (int64_t)again.left : 1;
}

/* As many in all lanes doesn't mean as many at a time, for the same reason: but those that were put before the second count
 * began, and were left when it came to them, all were there at its beginning.  While it can't be told, others put: then it
 * is counted anew, and in the end taken for full, so that they can't keep each other above the limit. */
int ipcr_queue_is_full(struct ipcr_queue *q)
{
    struct count sum, again;
    const uint64_t maxsize = q->segment->options.maxsize;
    if (maxsize == 0)
        return 0;
    int rc = count(q, false, &sum);
    if (rc == IPCR_OK && sum.left < maxsize)
        return 0;
    for (int i = 0; rc == IPCR_OK && i < FULL_TRIES; i++) {
        rc = count(q, true, &again);
        if (rc != IPCR_OK)
            break;
        if (again.left < maxsize)
            return 0;
        if (again.left - maxsize >= again.put - sum.put)
            return 1;
        sum = again;
    }
    return rc == IPCR_OK || rc == IPCR_AGAIN ? 1 : rc;
}

/* --- task_done and join ------------------------------------------------------------------------------------------- */

static uint64_t finished(const struct ipcr_queue *q)
{
    const uint32_t high = load_acquire32(&q->header->holders_high);
    uint64_t sum = 0;
    for (uint32_t i = 0; i < high && i < IPCR_MOST_HOLDERS; i++)
        sum += load_acquire64(&q->header->holders[i].finished);
    return sum;
}

/* Finished first: both only grow, so if the later one is no larger, they were equal in between. */
bool ipcr_queue_all_finished(struct ipcr_queue *q)
{
    struct count sum;
    const uint64_t done = finished(q);
    return count(q, false, &sum) == IPCR_OK && done >= sum.put;
}

int ipcr_queue_finish_many(struct ipcr_queue *q, uint64_t n)
{
    pthread_mutex_lock(&q->consuming);
    int rc = ipcr_queue_ready(q);
    if (rc == IPCR_OK)
        rc = ipcr_queue_register(q);
    if (rc == IPCR_OK) {
        ipcr_word64 *own = &q->header->holders[q->holder].finished; /* ours alone, and kept by our successors */
        store_release64(own, load_relaxed64(own) + n);
    }
    pthread_mutex_unlock(&q->consuming);
    if (rc == IPCR_OK)
        ipcr_gate_signal(&q->header->finished_parked, IPCR_ALL);
    return rc;
}

int ipcr_queue_task_done(struct ipcr_queue *q)
{
    return ipcr_queue_all_finished(q) ? IPCR_EMPTY : ipcr_queue_finish_many(q, 1);
}

static bool all_finished(const void *what)
{
    struct ipcr_queue *q = *(struct ipcr_queue *const *)what;
    return load_acquire32(&q->closing) != 0 || ipcr_queue_all_finished(q);
}

int ipcr_queue_wait_for_finish(struct ipcr_queue *q, uint64_t deadline_ns)
{
    const uint64_t slice = ipcr_os_now_ns() + IPCR_SLICE_NS;
    bool slept = false;
    if (load_acquire32(&q->closing) != 0)
        return IPCR_CLOSED;
    return ipcr_gate_wait(&q->header->finished_parked, all_finished, &q, slice < deadline_ns ? slice : deadline_ns,
                          &slept);
}

/* --- purge and shutdown --------------------------------------------------------------------------------------------- */

static int64_t purge_lane(struct ipcr_queue *q, uint32_t lane, bool with_kept)
{
    struct ipcr_lane *l;
    uint64_t at, next;
    int64_t thrown_away = 0;
    int rc = ipcr_lane_see(q->segment, lane, &l);
    if (rc == IPCR_NOT_FOUND)
        return 0;
    if (rc == IPCR_OK)
        rc = ipcr_lane_bounds(l, &at, &next);
    for (; rc == IPCR_OK && at != next; at++) {
        struct ipcr_slot *slot = ipcr_slot_at(l, at);
        const uint64_t state = load_acquire64(&slot->state);
        const uint32_t phase = ipcr_phase_of(state);
        if (!ipcr_is_there(l, at, state) || (phase != IPCR_READY && (phase != IPCR_KEPT || !with_kept)) ||
            !ipcr_finish(slot, state, IPCR_DEAD))
            continue;
        ipcr_queue_tell_done(q, lane, at);
        thrown_away++;
    }
    return rc == IPCR_OK ? thrown_away : rc;
}

int64_t ipcr_queue_purge(struct ipcr_queue *q, bool with_kept)
{
    const uint32_t high = load_acquire32(&q->header->lanes_high);
    int64_t thrown_away = 0;
    pthread_mutex_lock(&q->consuming);
    int rc = ipcr_queue_ready(q);
    for (uint32_t i = 0; rc == IPCR_OK && i < high && i < q->segment->lanes; i++) {
        const int64_t n = purge_lane(q, i, with_kept);
        rc = n < 0 ? (int)n : IPCR_OK;
        thrown_away += n < 0 ? 0 : n;
    }
    pthread_mutex_unlock(&q->consuming);
    return rc == IPCR_OK ? thrown_away : rc;
}

int ipcr_queue_shut(struct ipcr_queue *q, uint32_t how)
{
    uint32_t seen = load_acquire32(&q->header->shutdown);
    while (seen < how && !compare_exchange32(&q->header->shutdown, &seen, how))
        ;
    fence_store_load(); /* G */
    ipcr_gate_open_wide(&q->header->consumers_parked);
    ipcr_gate_open_wide(&q->header->room_parked);
    ipcr_gate_open_wide(&q->header->finished_parked);
    const uint32_t high = load_acquire32(&q->header->lanes_high);
    for (uint32_t i = 0; i < high && i < q->segment->lanes; i++)
        ipcr_gate_open_wide(&q->header->lane[i].room_parked);
    return IPCR_OK;
}

uint64_t ipcr_queue_returns(const struct ipcr_queue *q) { return load_acquire64(&q->header->returns); }
uint32_t ipcr_queue_shutdown_state(const struct ipcr_queue *q) { return load_acquire32(&q->header->shutdown); }

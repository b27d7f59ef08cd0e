/* calls.c - the edges of calls, and the waiting loop. */
#include "calls.h"
#include "transfer.h"

/* A wait's later slices find the word as they left it; close() may have taken it in between. */
int ipcr_enter_wait(struct ipcr_end *e, int resume)
{
    if (!resume)
        return ipcr_enter(e);
    uint32_t expected = IPCR_BETWEEN_SLICES;
    if (!compare_exchange32(&e->busy, &expected, IPCR_INSIDE))
        return load_acquire32(&e->closing) != 0 ? IPCR_CLOSED : IPCR_BUSY;
    const int rc = ipcr_end_why_not_ready(e);
    if (rc != IPCR_OK)
        ipcr_leave(e);
    return rc;
}

/* Giving back what was lent is allowed also when the end is draining, or its peer's words are corrupt: the
 * record was checked when it was lent.  After a close it goes now; only_own: unless another thread has it. */
int ipcr_enter_to_return(struct ipcr_end *e, bool only_own)
{
    uint32_t expected = IPCR_IDLE;
    if (!compare_exchange32(&e->busy, &expected, IPCR_INSIDE)) {
        if (load_acquire32(&e->closing) == 0)
            return IPCR_BUSY;
        /* leave_later: nobody gets in any more, so that lent_to stays as it is */
        if (!only_own || (load_acquire32(&e->leave_later) != 0 && e->lent_to == ipcr_this_thread()))
            ipcr_end_leave_now(e);
        return IPCR_CLOSED;
    }
    if (e->taken_generation == ipcr_fork_generation)
        return IPCR_OK;
    const int rc = e->taken_generation == 0 ? IPCR_NOTHING_LENT : IPCR_FORKED;
    store_release32(&e->busy, IPCR_IDLE);
    return rc;
}

static void ipcr_leave_between_slices(struct ipcr_end *e)
{
    store_relaxed64(&e->waiter, ipcr_this_thread());
    store_release32(&e->busy, IPCR_BETWEEN_SLICES);
}

void ipcr_stop_waiting(struct ipcr_end *e)
{
    uint32_t expected = IPCR_BETWEEN_SLICES;
    /* only the thread that left it so may clear it: it can't be inside at the same time */
    if (load_acquire32(&e->busy) == IPCR_BETWEEN_SLICES && load_relaxed64(&e->waiter) == ipcr_this_thread())
        compare_exchange32(&e->busy, &expected, IPCR_IDLE);
}

int ipcr_peer_sometimes(struct ipcr_end *e)
{
    const uint64_t now = ipcr_os_now_ns(); /* no system call: vDSO */
    if (now < e->next_probe_ns)
        return IPCR_OK;
    int rc = ipcr_enter(e);
    if (rc != IPCR_OK)
        return rc == IPCR_BUSY ? IPCR_OK : rc;
    e->next_probe_ns = now + IPCR_SLICE_NS;
    rc = ipcr_end_peer(e);
    /* what it published before it went comes first */
    if (rc != IPCR_OK && e->side == IPCR_RECEIVER && e->reader.position != load_acquire64(&e->reader.peer->position))
        rc = IPCR_OK;
    ipcr_leave(e);
    return rc;
}

bool ipcr_reader_has_reached(const void *wish)
{
    const struct ipcr_wish *w = wish;
    return (int64_t)(load_acquire64(&w->end->writer.peer->position) - w->position) >= 0 || ipcr_they_closed(w->end) ||
           load_acquire32(&w->end->closing) != 0;
}

bool ipcr_writer_has_moved(const void *wish)
{
    const struct ipcr_wish *w = wish;
    return load_acquire64(&w->end->reader.peer->position) != w->position || ipcr_they_closed(w->end) ||
           load_acquire32(&w->end->closing) != 0 || load_acquire32(&w->end->draining) != 0;
}

uint64_t ipcr_aim_at_room(const struct ipcr_end *e, uint64_t length)
{
    const uint64_t need = e->writer.position + ipcr_record_bytes(length) - e->writer.capacity;
    /* Ask to be woken only when a quarter of the ring is free as well: waking for one record at a time
     * costs two context switches per message.  Spinning and the end of a slice look at `need` alone. */
    const uint64_t quarter = e->writer.position - e->writer.capacity + e->writer.capacity / 4;
    store_relaxed64(&e->mine->wake_at, (int64_t)(quarter - need) > 0 ? quarter : need);
    return need;
}

uint64_t ipcr_aim_at_empty(const struct ipcr_end *e)
{
    store_relaxed64(&e->mine->wake_at, e->writer.position);
    return e->writer.position;
}

/* Spinning pays only if the other side runs meanwhile: it is there, and not bound to our one CPU. */
bool ipcr_may_spin(const struct ipcr_end *e)
{
    const uint32_t here = load_relaxed32(&e->mine->pinned_cpu);
    return (load_relaxed32(&e->theirs->end_state) & IPCR_END_MASK) == IPCR_END_TAKEN &&
           (here == 0 || here != load_relaxed32(&e->theirs->pinned_cpu));
}

int ipcr_wait_for(struct ipcr_end *e, ipcr_attempt *try, void *work, ipcr_ready *ready, struct ipcr_wish *wish,
                  ipcr_aim *aim, uint64_t deadline_ns, int resume)
{
    if (!resume) /* a slice that a signal has cut short goes on: timers must not put the look at the peer off */
        e->slice_end_ns = ipcr_os_now_ns() + IPCR_SLICE_NS;
    const uint64_t slice = e->slice_end_ns < deadline_ns ? e->slice_end_ns : deadline_ns;
    bool spin = !resume && !e->spun && ipcr_may_spin(e);
    e->spun = false;
    uint64_t parked_ns = 0;
    int rc;
    for (;;) {
        rc = try(e, work);
        if (rc == IPCR_AGAIN && ipcr_os_now_ns() >= deadline_ns) { /* it has moved much, and is not done */
            rc = e->side == IPCR_SENDER ? IPCR_FULL : IPCR_EMPTY;
            break;
        }
        if (rc != IPCR_FULL && rc != IPCR_EMPTY)
            break;
        if (load_acquire32(&e->draining) != 0) {
            rc = try(e, work); /* what was published before we were asked to finish */
            if (rc == IPCR_EMPTY) /* and that was all, or the sender's word has gone backwards */
                rc = ipcr_end_drained(e) ? IPCR_END_OF_CHANNEL : ipcr_checked(e, IPCR_CORRUPT);
            break;
        }
        const uint64_t now = ipcr_os_now_ns();
        if (now >= slice) {
            const int empty = rc;
            rc = ipcr_checked(e, ipcr_end_peer(e));
            e->slice_end_ns = now + IPCR_SLICE_NS;
            if (rc == IPCR_OK)
                rc = now >= deadline_ns ? empty : IPCR_AGAIN;
            else if (rc != IPCR_CORRUPT) { /* what was published, or released, before the end and after our look */
                const int last = try(e, work);
                rc = last == IPCR_FULL || last == IPCR_EMPTY ? rc : last;
            }
            break;
        }
        wish->position = aim(e, work);
        rc = ipcr_wait(&e->mine->parked, (e->segment->flags & IPCR_FLAG_ASYMMETRIC) != 0, &e->spin, spin, ready,
                       wish, slice, &parked_ns);
        if (load_acquire32(&e->closing) != 0)
            rc = IPCR_CLOSED;
        if (rc != IPCR_OK)
            break;
        spin = spin && e->spin.budget_ns != 0;
    }
    if (parked_ns != 0)
        store_relaxed64(&e->mine->parked_ns, load_relaxed64(&e->mine->parked_ns) + parked_ns);
    if (rc == IPCR_AGAIN)
        ipcr_leave_between_slices(e);
    else
        ipcr_leave(e);
    return rc;
}

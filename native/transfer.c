/* transfer.c - messages in and out of a taken end: try, then wait.
 *
 * The try functions make no system call but the wake of a parked peer, and allocate nothing.
 */
#include "transfer.h"
#include "registry.h"

/* Take the busy word and see whether the end may be used. */
static inline int enter(struct ipcr_end *e)
{
    uint32_t expected = IPCR_IDLE;
    if (!compare_exchange32(&e->busy, &expected, IPCR_INSIDE))
        return load_acquire32(&e->closing) != 0 ? IPCR_CLOSED : IPCR_BUSY;
    if (load_relaxed32(&e->ready_generation) != ipcr_fork_generation) {
        const int rc = ipcr_end_why_not_ready(e);
        if (rc != IPCR_OK) {
            store_release32(&e->busy, IPCR_IDLE);
            return rc;
        }
    }
    return IPCR_OK;
}

/* Giving back what was lent is allowed also when the end is draining, or its peer's words are corrupt: the
 * record was checked when it was lent. */
static int enter_to_return(struct ipcr_end *e)
{
    uint32_t expected = IPCR_IDLE;
    if (!compare_exchange32(&e->busy, &expected, IPCR_INSIDE)) {
        if (load_acquire32(&e->closing) == 0)
            return IPCR_BUSY;
        ipcr_end_leave_now(e);
        return IPCR_CLOSED;
    }
    if (e->taken_generation == ipcr_fork_generation)
        return IPCR_OK;
    store_release32(&e->busy, IPCR_IDLE);
    return IPCR_FORKED;
}

static inline void leave(struct ipcr_end *e) { store_release32(&e->busy, IPCR_IDLE); }

/* A wait's later slices find the word as they left it; close() may have taken it in between. */
static int enter_wait(struct ipcr_end *e, int resume)
{
    if (!resume)
        return enter(e);
    uint32_t expected = IPCR_BETWEEN_SLICES;
    if (!compare_exchange32(&e->busy, &expected, IPCR_INSIDE))
        return load_acquire32(&e->closing) != 0 ? IPCR_CLOSED : IPCR_BUSY;
    const int rc = ipcr_end_why_not_ready(e);
    if (rc != IPCR_OK)
        leave(e);
    return rc;
}

static void leave_between_slices(struct ipcr_end *e)
{
    e->waiter = ipcr_this_thread();
    store_release32(&e->busy, IPCR_BETWEEN_SLICES);
}

int ipcr_peer_sometimes(struct ipcr_end *e)
{
    const uint64_t now = ipcr_os_now_ns(); /* no system call: vDSO */
    if (now < e->next_probe_ns)
        return IPCR_OK;
    int rc = enter(e);
    if (rc != IPCR_OK)
        return rc == IPCR_BUSY ? IPCR_OK : rc;
    e->next_probe_ns = now + IPCR_SLICE_NS;
    rc = ipcr_end_peer(e);
    /* what it published before it went comes first */
    if (rc != IPCR_OK && e->side == IPCR_RECEIVER && e->reader.position != load_acquire64(&e->reader.peer->position))
        rc = IPCR_OK;
    leave(e);
    return rc;
}

void ipcr_stop_waiting(struct ipcr_end *e)
{
    uint32_t expected = IPCR_BETWEEN_SLICES;
    /* only the thread that left it so may clear it: it can't be inside at the same time */
    if (load_acquire32(&e->busy) == IPCR_BETWEEN_SLICES && e->waiter == ipcr_this_thread())
        compare_exchange32(&e->busy, &expected, IPCR_IDLE);
}

static inline int checked(struct ipcr_end *e, int rc)
{
    if (rc == IPCR_CORRUPT)
        ipcr_end_poison(e);
    return rc;
}

static inline bool they_closed(const struct ipcr_end *e)
{
    return (load_acquire32(&e->theirs->end_state) & IPCR_END_MASK) == IPCR_END_CLOSED;
}

/* --- waiting, common to both sides ------------------------------------------------------------- */

struct wish {
    const struct ipcr_end *end;
    uint64_t position; /* of the other side: reached (sender), or moved away from (receiver) */
};

static bool reader_has_reached(const void *what)
{
    const struct wish *w = what;
    return (int64_t)(load_acquire64(&w->end->writer.peer->position) - w->position) >= 0 || they_closed(w->end) ||
           load_acquire32(&w->end->closing) != 0;
}

static bool writer_has_moved(const void *what)
{
    const struct wish *w = what;
    return load_acquire64(&w->end->reader.peer->position) != w->position || they_closed(w->end) ||
           load_acquire32(&w->end->closing) != 0 || load_acquire32(&w->end->draining) != 0;
}

/* Spinning pays only if the other side runs meanwhile: it is there, and not bound to our one CPU. */
static bool may_spin(const struct ipcr_end *e)
{
    const uint32_t here = load_relaxed32(&e->mine->pinned_cpu);
    return (load_relaxed32(&e->theirs->end_state) & IPCR_END_MASK) == IPCR_END_TAKEN &&
           (here == 0 || here != load_relaxed32(&e->theirs->pinned_cpu));
}

typedef int attempt(struct ipcr_end *e, void *work);

/* Try, wait, try again, for one slice.  `gone_first`: a sender's end beats its room; a receiver drains. */
static int wait_for(struct ipcr_end *e, attempt *try, void *work, ipcr_ready *ready, struct wish *wish,
                    uint64_t (*aim)(const struct ipcr_end *, const void *), uint64_t deadline_ns, int resume)
{
    if (!resume) /* a slice that a signal has cut short goes on: timers must not put the look at the peer off */
        e->slice_end_ns = ipcr_os_now_ns() + IPCR_SLICE_NS;
    const uint64_t slice = e->slice_end_ns < deadline_ns ? e->slice_end_ns : deadline_ns;
    bool spin = !resume && may_spin(e);
    uint64_t parked_ns = 0;
    int rc;
    for (;;) {
        rc = try(e, work);
        if (rc != IPCR_FULL && rc != IPCR_EMPTY)
            break;
        if (load_acquire32(&e->draining) != 0) {
            rc = try(e, work); /* what was published before we were asked to finish */
            if (rc == IPCR_EMPTY) /* and that was all, or the sender's word has gone backwards */
                rc = ipcr_end_drained(e) ? IPCR_END_OF_CHANNEL : checked(e, IPCR_CORRUPT);
            break;
        }
        const uint64_t now = ipcr_os_now_ns();
        if (now >= slice) {
            const int empty = rc;
            rc = checked(e, ipcr_end_peer(e));
            e->slice_end_ns = now + IPCR_SLICE_NS;
            if (rc == IPCR_OK)
                rc = now >= deadline_ns ? empty : IPCR_AGAIN;
            else if (rc != IPCR_CORRUPT && try(e, work) == IPCR_OK)
                rc = IPCR_OK; /* published, or released, before the end and after our look */
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
        leave_between_slices(e);
    else
        leave(e);
    return rc;
}

/* --- sender -------------------------------------------------------------------------------------- */

struct outgoing {
    const char *message;
    uint64_t length;
    uint64_t info;
};

static inline int may_send(struct ipcr_end *e)
{
    if (e->lent)
        return IPCR_LENT;
    return they_closed(e) ? IPCR_END_OF_CHANNEL : IPCR_OK;
}

static inline int try_send(struct ipcr_end *e, const char *message, uint64_t length, uint64_t info)
{
    int rc = may_send(e);
    if (rc == IPCR_OK)
        rc = ipcr_ring_try_write(&e->writer, message, length, info);
    if (rc == IPCR_OK)
        ipcr_wake_if_parked(&e->theirs->parked, e->fence_needed);
    return checked(e, rc);
}

static int attempt_send(struct ipcr_end *e, void *work)
{
    const struct outgoing *out = work;
    return try_send(e, out->message, out->length, out->info);
}

static int attempt_room(struct ipcr_end *e, void *work)
{
    const struct outgoing *out = work;
    uint8_t *payload;
    const int rc = may_send(e);
    return rc != IPCR_OK ? rc : checked(e, ipcr_ring_claim(&e->writer, out->length, &payload));
}

/* Where read_position must be for the message to fit. */
static uint64_t aim_at_room(const struct ipcr_end *e, const void *work)
{
    const struct outgoing *out = work;
    const uint64_t need = e->writer.position + ipcr_record_bytes(out->length) - e->writer.capacity;
    /* Ask to be woken only when a quarter of the ring is free as well: waking for one record at a time
     * costs two context switches per message.  Spinning and the end of a slice look at `need` alone. */
    const uint64_t quarter = e->writer.position - e->writer.capacity + e->writer.capacity / 4;
    store_relaxed64(&e->mine->wake_at, (int64_t)(quarter - need) > 0 ? quarter : need);
    return need;
}

static int attempt_flushed(struct ipcr_end *e, void *work)
{
    (void)work;
    const uint64_t read = load_acquire64(&e->writer.peer->position);
    if (e->writer.position - read > e->writer.capacity)
        return checked(e, IPCR_CORRUPT);
    if (e->writer.position == read)
        return IPCR_OK;
    if (!they_closed(e))
        return IPCR_FULL;
    /* they may have released the last record just before they closed */
    return e->writer.position == load_acquire64(&e->writer.peer->position) ? IPCR_OK : IPCR_END_OF_CHANNEL;
}

static uint64_t aim_at_empty(const struct ipcr_end *e, const void *work)
{
    (void)work;
    store_relaxed64(&e->mine->wake_at, e->writer.position);
    return e->writer.position;
}

int ipcr_send(struct ipcr_end *e, const char *message, uint64_t length, uint64_t info)
{
    int rc = enter(e);
    if (rc != IPCR_OK)
        return rc;
    rc = try_send(e, message, length, info);
    leave(e);
    return rc;
}

int ipcr_send_wait(struct ipcr_end *e, const char *message, uint64_t length, uint64_t info, uint64_t deadline_ns,
                   int resume)
{
    const int rc = enter_wait(e, resume);
    if (rc != IPCR_OK)
        return rc;
    struct outgoing out = { .message = message, .length = length, .info = info };
    struct wish wish = { .end = e };
    return wait_for(e, attempt_send, &out, reader_has_reached, &wish, aim_at_room, deadline_ns, resume);
}

int ipcr_room_wait(struct ipcr_end *e, uint64_t length, uint64_t deadline_ns, int resume)
{
    const int rc = enter_wait(e, resume);
    if (rc != IPCR_OK)
        return rc;
    struct outgoing out = { .length = length };
    struct wish wish = { .end = e };
    return wait_for(e, attempt_room, &out, reader_has_reached, &wish, aim_at_room, deadline_ns, resume);
}

int ipcr_flush_wait(struct ipcr_end *e, uint64_t deadline_ns, int resume)
{
    const int rc = enter_wait(e, resume);
    if (rc != IPCR_OK)
        return rc;
    struct wish wish = { .end = e };
    return wait_for(e, attempt_flushed, NULL, reader_has_reached, &wish, aim_at_empty, deadline_ns, resume);
}

int64_t ipcr_send_many(struct ipcr_end *e, const char *messages, const uint64_t *lengths, uint64_t count,
                       uint64_t info)
{
    int rc = enter(e);
    if (rc != IPCR_OK)
        return rc;
    rc = may_send(e);
    uint64_t done = 0;
    while (rc == IPCR_OK && done < count) {
        rc = ipcr_ring_stage(&e->writer, messages, lengths[done], info);
        if (rc == IPCR_OK)
            messages += lengths[done++];
    }
    if (done > 0) { /* one publication and one look for a sleeper, however many */
        ipcr_ring_publish(&e->writer);
        ipcr_wake_if_parked(&e->theirs->parked, e->fence_needed);
    }
    checked(e, rc);
    leave(e);
    return done > 0 ? (int64_t)done : rc;
}

int ipcr_claim(struct ipcr_end *e, uint64_t length)
{
    int rc = enter(e);
    if (rc != IPCR_OK)
        return rc;
    rc = may_send(e);
    if (rc == IPCR_OK)
        rc = checked(e, ipcr_ring_claim(&e->writer, length, &e->lent_payload));
    if (rc == IPCR_OK) {
        e->lent = true;
        e->lent_length = length;
        e->last_sequence = e->writer.sequence;
    }
    leave(e);
    return rc;
}

int ipcr_commit(struct ipcr_end *e, uint64_t length, uint64_t info)
{
    int rc = enter(e);
    if (rc != IPCR_OK)
        return rc;
    if (!e->lent) {
        rc = IPCR_NOTHING_LENT;
    } else if (length > e->lent_length) {
        rc = IPCR_TOO_LARGE;
    } else {
        e->lent = false;
        ipcr_ring_stage_claimed(&e->writer, e->lent_payload, length, info);
        ipcr_ring_publish(&e->writer);
        ipcr_wake_if_parked(&e->theirs->parked, e->fence_needed);
    }
    leave(e);
    return rc;
}

int ipcr_abort(struct ipcr_end *e)
{
    int rc = enter_to_return(e);
    if (rc != IPCR_OK)
        return rc;
    rc = e->lent ? IPCR_OK : IPCR_NOTHING_LENT;
    e->lent = false; /* a claim is private until it is committed: nothing to undo */
    leave(e);
    return rc;
}

/* --- receiver ------------------------------------------------------------------------------------ */

/* Give space back, and wake a sender that sleeps for it. */
static inline void release_space(struct ipcr_end *e)
{
    ipcr_ring_release(&e->reader);
    ipcr_order_publish_before_look(e->fence_needed);
    if (load_acquire32(&e->theirs->parked) != 0 &&
        (int64_t)(e->reader.position - load_relaxed64(&e->theirs->wake_at)) >= 0)
        ipcr_wake(&e->theirs->parked);
}

/* Empty, but perhaps for good. */
static inline int nothing_there(struct ipcr_end *e, struct ipcr_record_view *view)
{
    if (!they_closed(e))
        return IPCR_EMPTY;
    const int rc = ipcr_ring_next(&e->reader, view); /* what was published before the close */
    return rc == IPCR_EMPTY ? IPCR_END_OF_CHANNEL : rc;
}

static inline int next_record(struct ipcr_end *e, struct ipcr_record_view *view)
{
    if (e->lent)
        return IPCR_LENT;
    int rc = ipcr_ring_next(&e->reader, view);
    if (rc == IPCR_EMPTY)
        rc = nothing_there(e, view);
    if (rc == IPCR_OK) {
        e->last_info = view->info;
        e->last_sequence = e->reader.sequence;
    }
    return checked(e, rc);
}

static inline int64_t result_of(const struct ipcr_record_view *view)
{
    return (int64_t)(view->length | (uint64_t)IPCR_INFO_ENCODING(view->info) << IPCR_RESULT_ENCODING_SHIFT);
}

static inline void lend(struct ipcr_end *e, const struct ipcr_record_view *view)
{
    e->lent = true;
    e->lent_payload = e->segment->data + (e->reader.position & e->reader.mask) + IPCR_RECORD_HEADER;
    e->lent_length = view->length;
}

static inline int64_t try_recv(struct ipcr_end *e, char *out)
{
    struct ipcr_record_view view;
    const int rc = next_record(e, &view);
    if (rc != IPCR_OK)
        return rc;
    if (view.length > IPCR_SMALL) {
        lend(e, &view);
        return result_of(&view) | IPCR_RESULT_LENT;
    }
    copy_out(out, view.payload, view.length);
    ipcr_ring_consume(&e->reader, view.length);
    release_space(e);
    return result_of(&view);
}

struct incoming {
    char *out;
    int64_t result;
};

static int attempt_recv(struct ipcr_end *e, void *work)
{
    struct incoming *in = work;
    in->result = try_recv(e, in->out);
    return in->result >= 0 ? IPCR_OK : (int)in->result;
}

static int attempt_data(struct ipcr_end *e, void *work)
{
    struct ipcr_record_view view;
    (void)work;
    return next_record(e, &view);
}

static uint64_t aim_at_data(const struct ipcr_end *e, const void *work)
{
    (void)work;
    return e->reader.position;
}

int64_t ipcr_recv(struct ipcr_end *e, char *out)
{
    const int rc = enter(e);
    if (rc != IPCR_OK)
        return rc;
    const int64_t result = try_recv(e, out);
    leave(e);
    return result;
}

int64_t ipcr_recv_wait(struct ipcr_end *e, char *out, uint64_t deadline_ns, int resume)
{
    int rc = enter_wait(e, resume);
    if (rc != IPCR_OK)
        return rc;
    struct incoming in = { .out = out };
    struct wish wish = { .end = e };
    rc = wait_for(e, attempt_recv, &in, writer_has_moved, &wish, aim_at_data, deadline_ns, resume);
    return rc == IPCR_OK ? in.result : rc;
}

int ipcr_data_wait(struct ipcr_end *e, uint64_t deadline_ns, int resume)
{
    const int rc = enter_wait(e, resume);
    if (rc != IPCR_OK)
        return rc;
    struct wish wish = { .end = e };
    return wait_for(e, attempt_data, NULL, writer_has_moved, &wish, aim_at_data, deadline_ns, resume);
}

int64_t ipcr_recv_many(struct ipcr_end *e, char *out, uint64_t room, uint64_t *lengths, uint64_t *infos,
                       uint64_t most)
{
    int rc = enter(e);
    if (rc != IPCR_OK)
        return rc;
    uint64_t done = 0, used = 0;
    bool too_large = false;
    while (done < most) {
        struct ipcr_record_view view;
        rc = next_record(e, &view);
        if (rc != IPCR_OK)
            break;
        if (view.length > room - used) {
            too_large = true;
            break;
        }
        copy_out(out + used, view.payload, view.length);
        used += view.length;
        lengths[done] = view.length;
        infos[done] = view.info;
        done++;
        ipcr_ring_consume(&e->reader, view.length);
        if (ipcr_end_drained(e))
            break;
    }
    if (done > 0)
        release_space(e);
    leave(e);
    return done > 0 || too_large ? (int64_t)done : rc;
}

int64_t ipcr_peek(struct ipcr_end *e)
{
    const int rc = enter(e);
    if (rc != IPCR_OK)
        return rc;
    struct ipcr_record_view view;
    int64_t result = next_record(e, &view);
    if (result == IPCR_OK) {
        lend(e, &view);
        result = result_of(&view);
    }
    leave(e);
    return result;
}

int ipcr_release(struct ipcr_end *e)
{
    int rc = enter_to_return(e);
    if (rc != IPCR_OK)
        return rc;
    if (!e->lent) {
        rc = IPCR_NOTHING_LENT;
    } else {
        e->lent = false;
        ipcr_ring_consume(&e->reader, e->lent_length);
        release_space(e);
    }
    leave(e);
    return rc;
}

char *ipcr_lent(struct ipcr_end *e) { return (char *)e->lent_payload; }
uint64_t ipcr_last_info(struct ipcr_end *e) { return e->last_info; }
uint64_t ipcr_last_sequence(struct ipcr_end *e) { return e->last_sequence; }

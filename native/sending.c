/* sending.c - messages into a taken end: try, then wait.
 *
 * The try functions make no system call but the wake of a parked receiver, and allocate nothing.
 */
#include "calls.h"
#include "transfer.h"

static bool ipcr_reader_has_reached(const void *what)
{
    const struct ipcr_wish *w = what;
    return (int64_t)(load_acquire64(&w->end->writer.peer->position) - w->position) >= 0 || ipcr_they_closed(w->end) ||
           load_acquire32(&w->end->closing) != 0;
}

struct outgoing {
    const char *message;
    uint64_t length;
    uint64_t info;
};

static inline int may_send(struct ipcr_end *e)
{
    if (e->lent)
        return IPCR_LENT;
    return ipcr_they_closed(e) ? IPCR_END_OF_CHANNEL : IPCR_OK;
}

static inline int try_send(struct ipcr_end *e, const char *message, uint64_t length, uint64_t info)
{
    int rc = may_send(e);
    if (rc == IPCR_OK)
        rc = ipcr_ring_try_write(&e->writer, message, length, info);
    if (rc == IPCR_OK) {
        ipcr_wake_if_parked(&e->theirs->parked, e->fence_needed);
        ipcr_ring_prefetch_room(&e->writer);
    }
    return ipcr_checked(e, rc);
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
    return rc != IPCR_OK ? rc : ipcr_checked(e, ipcr_ring_claim(&e->writer, out->length, &payload));
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
    if (e->writer.position - read > e->writer.capacity || (read & 7) != 0)
        return ipcr_checked(e, IPCR_CORRUPT);
    if (e->writer.position == read)
        return IPCR_OK;
    if (!ipcr_they_closed(e))
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
    int rc = ipcr_enter(e);
    if (rc != IPCR_OK)
        return rc;
    rc = try_send(e, message, length, info);
    ipcr_leave(e);
    return rc;
}

int ipcr_send_bytes(struct ipcr_end *e, const char *message, uint64_t length)
{
    return ipcr_send(e, message, length, IPCR_INFO(0, IPCR_BYTES));
}

int ipcr_send_wait(struct ipcr_end *e, const char *message, uint64_t length, uint64_t info, uint64_t deadline_ns,
                   int resume)
{
    const int rc = ipcr_enter_wait(e, resume);
    if (rc != IPCR_OK)
        return rc;
    struct outgoing out = { .message = message, .length = length, .info = info };
    struct ipcr_wish wish = { .end = e };
    return ipcr_wait_for(e, attempt_send, &out, ipcr_reader_has_reached, &wish, aim_at_room, deadline_ns, resume);
}

int ipcr_room_wait(struct ipcr_end *e, uint64_t length, uint64_t deadline_ns, int resume)
{
    const int rc = ipcr_enter_wait(e, resume);
    if (rc != IPCR_OK)
        return rc;
    struct outgoing out = { .length = length };
    struct ipcr_wish wish = { .end = e };
    return ipcr_wait_for(e, attempt_room, &out, ipcr_reader_has_reached, &wish, aim_at_room, deadline_ns, resume);
}

int ipcr_flush_wait(struct ipcr_end *e, uint64_t deadline_ns, int resume)
{
    const int rc = ipcr_enter_wait(e, resume);
    if (rc != IPCR_OK)
        return rc;
    struct ipcr_wish wish = { .end = e };
    return ipcr_wait_for(e, attempt_flushed, NULL, ipcr_reader_has_reached, &wish, aim_at_empty, deadline_ns, resume);
}

int64_t ipcr_send_many(struct ipcr_end *e, const char *messages, const uint64_t *lengths, uint64_t count,
                       uint64_t info)
{
    int rc = ipcr_enter(e);
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
    ipcr_checked(e, rc);
    ipcr_leave(e);
    return done > 0 ? (int64_t)done : rc;
}

int ipcr_claim(struct ipcr_end *e, uint64_t length)
{
    int rc = ipcr_enter(e);
    if (rc != IPCR_OK)
        return rc;
    rc = may_send(e);
    if (rc == IPCR_OK)
        rc = ipcr_checked(e, ipcr_ring_claim(&e->writer, length, &e->lent_payload));
    if (rc == IPCR_OK) {
        e->lent = true;
        e->lent_length = length;
        e->last_sequence = e->writer.sequence;
    }
    ipcr_leave(e);
    return rc;
}

int ipcr_commit(struct ipcr_end *e, uint64_t length, uint64_t info)
{
    int rc = ipcr_enter(e);
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
    ipcr_leave(e);
    return rc;
}

int ipcr_abort(struct ipcr_end *e)
{
    int rc = ipcr_enter_to_return(e);
    if (rc != IPCR_OK)
        return rc;
    rc = e->lent ? IPCR_OK : IPCR_NOTHING_LENT;
    e->lent = false; /* a claim is private until it is committed: nothing to undo */
    ipcr_leave(e);
    return rc;
}

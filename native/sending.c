/* sending.c - messages into a taken end: try, then wait.
 *
 * The try functions make no system call but the wake of a parked receiver, and allocate nothing.
 */
#include "calls.h"
#include "parts.h"
#include "transfer.h"

enum { PUBLISH_EVERY = 16384 }; /* bytes of a batch after which the receiver may begin with it */

static inline int try_send(struct ipcr_end *e, const char *message, uint64_t length, uint64_t info)
{
    int rc = ipcr_may_send(e);
    if (rc == IPCR_OK)
        rc = ipcr_ring_stage(&e->writer, message, length, info);
    if (rc == IPCR_OK) {
        ipcr_publish(e);
        ipcr_ring_prefetch_room(&e->writer);
    }
    return ipcr_checked(e, rc);
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

/* --- messages made of pieces ---------------------------------------------------------------------------------- */

struct outgoing {
    const struct ipcr_piece *pieces;
    uint64_t count;
    uint64_t info;
};

/* Its length at the place where it would stand now. */
static uint64_t length_here(const struct ipcr_end *e, const struct outgoing *out)
{
    return ipcr_pieces_length(out->pieces, out->count, ipcr_skew_at(e->writer.position));
}

static int stage_pieces(struct ipcr_end *e, const struct outgoing *out)
{
    uint8_t *payload;
    const uint64_t length = length_here(e, out);
    const int rc = ipcr_ring_claim(&e->writer, length, &payload);
    if (rc == IPCR_OK) {
        ipcr_pieces_copy(payload, out->pieces, out->count, ipcr_skew_at(e->writer.position), 0, length);
        ipcr_ring_stage_claimed(&e->writer, payload, length, out->info);
    }
    return rc;
}

static int attempt_send(struct ipcr_end *e, void *work)
{
    int rc = ipcr_may_send(e);
    if (rc == IPCR_OK)
        rc = stage_pieces(e, work);
    if (rc == IPCR_OK)
        ipcr_publish(e);
    return ipcr_checked(e, rc);
}

static int attempt_room(struct ipcr_end *e, void *work)
{
    uint8_t *payload;
    const int rc = ipcr_may_send(e);
    return rc != IPCR_OK ? rc : ipcr_checked(e, ipcr_ring_claim(&e->writer, length_here(e, work), &payload));
}

static uint64_t aim_at_room(const struct ipcr_end *e, const void *work)
{
    return ipcr_aim_at_room(e, length_here(e, work));
}

static int wait_for_room(struct ipcr_end *e, ipcr_attempt *attempt, struct outgoing *out, uint64_t deadline_ns,
                         int resume)
{
    struct ipcr_wish wish = { .end = e };
    const int rc = ipcr_enter_wait(e, resume);
    if (rc != IPCR_OK)
        return rc;
    return ipcr_wait_for(e, attempt, out, ipcr_reader_has_reached, &wish, aim_at_room, deadline_ns, resume);
}

int ipcr_send_pieces(struct ipcr_end *e, const struct ipcr_piece *pieces, uint64_t count, uint64_t info)
{
    struct outgoing out = { .pieces = pieces, .count = count, .info = info };
    int rc = ipcr_enter(e);
    if (rc != IPCR_OK)
        return rc;
    rc = attempt_send(e, &out);
    ipcr_leave(e);
    return rc;
}

int ipcr_send_pieces_wait(struct ipcr_end *e, const struct ipcr_piece *pieces, uint64_t count, uint64_t info,
                          uint64_t deadline_ns, int resume)
{
    struct outgoing out = { .pieces = pieces, .count = count, .info = info };
    return wait_for_room(e, attempt_send, &out, deadline_ns, resume);
}

int ipcr_send_wait(struct ipcr_end *e, const char *message, uint64_t length, uint64_t info, uint64_t deadline_ns,
                   int resume)
{
    const struct ipcr_piece piece = { .data = message, .length = length };
    return ipcr_send_pieces_wait(e, &piece, 1, info, deadline_ns, resume);
}

int ipcr_room_wait(struct ipcr_end *e, uint64_t length, uint64_t deadline_ns, int resume)
{
    const struct ipcr_piece piece = { .length = length };
    struct outgoing out = { .pieces = &piece, .count = 1 };
    return wait_for_room(e, attempt_room, &out, deadline_ns, resume);
}

/* --- flush ---------------------------------------------------------------------------------------------------- */

int ipcr_everything_taken(struct ipcr_end *e)
{
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

static int attempt_flushed(struct ipcr_end *e, void *work)
{
    (void)work;
    return e->lent ? IPCR_LENT : ipcr_everything_taken(e);
}

static uint64_t aim_at_empty(const struct ipcr_end *e, const void *work)
{
    (void)work;
    return ipcr_aim_at_empty(e);
}

int ipcr_flush_wait(struct ipcr_end *e, uint64_t deadline_ns, int resume)
{
    const int rc = ipcr_enter_wait(e, resume);
    if (rc != IPCR_OK)
        return rc;
    struct ipcr_wish wish = { .end = e };
    return ipcr_wait_for(e, attempt_flushed, NULL, ipcr_reader_has_reached, &wish, aim_at_empty, deadline_ns, resume);
}

/* --- batches: many messages, few publications, one look for a sleeper each ---------------------------------------
 * Between begin and end the end is busy, and what was added may be published at any time. */

int ipcr_batch_begin(struct ipcr_end *e)
{
    int rc = ipcr_enter(e);
    if (rc == IPCR_OK) {
        rc = ipcr_may_send(e);
        e->batch_published = e->writer.position;
        if (rc != IPCR_OK)
            ipcr_leave(e);
    }
    return rc;
}

/* Let the receiver begin while we go on. */
static inline int publish_in_batch(struct ipcr_end *e, int rc)
{
    if (e->writer.position - e->batch_published >= PUBLISH_EVERY) {
        e->batch_published = e->writer.position;
        ipcr_publish(e);
    }
    return ipcr_checked(e, rc);
}

int ipcr_batch_add(struct ipcr_end *e, const char *message, uint64_t length, uint64_t info)
{
    return publish_in_batch(e, ipcr_ring_stage(&e->writer, message, length, info));
}

void ipcr_batch_end(struct ipcr_end *e)
{
    if (e->writer.position != e->batch_published)
        ipcr_publish(e);
    ipcr_leave(e);
}

/* A message in a batch whose pieces stand end to end. */
static int add_joined(struct ipcr_end *e, const char *message, const uint64_t *lengths, uint64_t count, uint64_t info)
{
    struct ipcr_piece pieces[IPCR_MOST_PIECES];
    if (count == 1)
        return ipcr_batch_add(e, message, lengths[0], info);
    if (count > IPCR_MOST_PIECES)
        return IPCR_TOO_LARGE;
    for (uint64_t i = 0; i < count; message += lengths[i++])
        pieces[i] = (struct ipcr_piece){ .data = message, .length = lengths[i] };
    const int rc = stage_pieces(e, &(struct outgoing){ .pieces = pieces, .count = count, .info = info });
    return publish_in_batch(e, rc);
}

int64_t ipcr_send_many(struct ipcr_end *e, const char *messages, const uint64_t *lengths, const uint64_t *counts,
                       const uint64_t *infos, uint64_t messages_count)
{
    int rc = ipcr_batch_begin(e);
    if (rc != IPCR_OK)
        return rc;
    uint64_t done = 0;
    while (done < messages_count) {
        const uint64_t pieces = counts[done];
        rc = add_joined(e, messages, lengths, pieces, infos[done]);
        if (rc != IPCR_OK)
            break;
        for (uint64_t i = 0; i < pieces; i++)
            messages += lengths[i];
        lengths += pieces;
        done++;
    }
    ipcr_batch_end(e);
    return done > 0 ? (int64_t)done : rc;
}

/* --- claims --------------------------------------------------------------------------------------------------- */

int ipcr_claim(struct ipcr_end *e, uint64_t length)
{
    int rc = ipcr_enter(e);
    if (rc != IPCR_OK)
        return rc;
    rc = ipcr_may_send(e);
    if (rc == IPCR_OK)
        rc = ipcr_checked(e, ipcr_ring_claim(&e->writer, length, &e->lent_payload));
    if (rc == IPCR_OK) {
        e->lent = true;
        e->lent_to = ipcr_this_thread();
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
        ipcr_publish(e);
    }
    ipcr_leave(e);
    return rc;
}

int ipcr_abort(struct ipcr_end *e)
{
    int rc = ipcr_enter_to_return(e, false);
    if (rc != IPCR_OK)
        return rc;
    rc = e->lent ? IPCR_OK : IPCR_NOTHING_LENT;
    e->lent = false; /* a claim is private until it is committed: nothing to undo */
    ipcr_leave(e);
    return rc;
}

int ipcr_take_back(struct ipcr_end *e)
{
    int rc = ipcr_enter_to_return(e, true);
    if (rc != IPCR_OK)
        return rc;
    if (e->lent && e->lent_to == ipcr_this_thread())
        e->lent = false;
    rc = e->lent ? IPCR_LENT : IPCR_OK;
    ipcr_leave(e);
    return rc;
}

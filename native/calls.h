/* calls.h - what every call on an end does at its edges: take the busy word, look, leave; and the loop in
 * which the waiting ones wait.  For sending.c, receiving.c and parts.c only.
 */
#ifndef IPCR_CALLS_H
#define IPCR_CALLS_H

#include "ends.h"
#include "registry.h"

/* Take the busy word and see whether the end may be used. */
static inline int ipcr_enter(struct ipcr_end *e)
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

static inline void ipcr_leave(struct ipcr_end *e) { store_release32(&e->busy, IPCR_IDLE); }

/* The same for a later slice of a wait, which finds the word as it left it; and for giving back what was lent. */
int ipcr_enter_wait(struct ipcr_end *e, int resume);
int ipcr_enter_to_return(struct ipcr_end *e, bool only_own);

static inline int ipcr_checked(struct ipcr_end *e, int rc)
{
    if (rc == IPCR_CORRUPT)
        ipcr_end_poison(e);
    return rc;
}

static inline bool ipcr_they_closed(const struct ipcr_end *e)
{
    return (load_acquire32(&e->theirs->end_state) & IPCR_END_MASK) == IPCR_END_CLOSED;
}

static inline int ipcr_may_send(const struct ipcr_end *e)
{
    if (e->lent || e->side != IPCR_SENDER)
        return e->side == IPCR_SENDER ? IPCR_LENT : IPCR_WRONG_SIDE;
    return ipcr_they_closed(e) ? IPCR_END_OF_CHANNEL : IPCR_OK;
}

/* Make what was staged visible, and wake a receiver that sleeps for it. */
static inline void ipcr_publish(struct ipcr_end *e)
{
    ipcr_ring_publish(&e->writer);
    ipcr_wake_if_parked(&e->theirs->parked, e->fence_needed);
}

/* Give space back, and wake a sender that sleeps for it. */
static inline void ipcr_release_space(struct ipcr_end *e)
{
    ipcr_ring_release(&e->reader);
    ipcr_order_publish_before_look(e->fence_needed);
    if (load_acquire32(&e->theirs->parked) != 0 &&
        (int64_t)(e->reader.position - load_relaxed64(&e->theirs->wake_at)) >= 0)
        ipcr_wake(&e->theirs->parked);
}

/* The record at the read position.  Empty may be for good; then what was published before the close comes first. */
static inline int ipcr_look(struct ipcr_end *e, struct ipcr_record_view *view)
{
    int rc = ipcr_ring_next(&e->reader, view);
    if (rc != IPCR_EMPTY || !ipcr_they_closed(e))
        return rc;
    rc = ipcr_ring_next(&e->reader, view);
    return rc == IPCR_EMPTY ? IPCR_END_OF_CHANNEL : rc;
}

/* The next message, when the record at the read position is a part or comes after one: IPCR_OK for a whole
 * message, IPCR_IN_PARTS for one that ipcr_parts_begin takes. */
int ipcr_look_at_parts(struct ipcr_end *e, struct ipcr_record_view *view);

/* The next message in *view, checked; or IPCR_IN_PARTS. */
static inline int ipcr_next_message(struct ipcr_end *e, struct ipcr_record_view *view)
{
    if (e->lent || e->side != IPCR_RECEIVER)
        return e->side == IPCR_RECEIVER ? IPCR_LENT : IPCR_WRONG_SIDE;
    int rc = ipcr_look(e, view);
    if (rc == IPCR_OK && (IPCR_INFO_PART(view->info) != IPCR_WHOLE || e->assembling))
        rc = ipcr_look_at_parts(e, view);
    if (rc == IPCR_OK || rc == IPCR_IN_PARTS) {
        e->last_info = view->info;
        e->last_sequence = e->reader.sequence;
    }
    return ipcr_checked(e, rc);
}

struct ipcr_wish {
    const struct ipcr_end *end;
    uint64_t position; /* of the other side: reached (sender), or moved away from (receiver) */
};

typedef int ipcr_attempt(struct ipcr_end *e, void *work);

typedef uint64_t ipcr_aim(const struct ipcr_end *e, const void *work);

bool ipcr_may_spin(const struct ipcr_end *e);

/* What the two sides wait for: the wish's position was reached, or left; or no wait makes sense any more. */
bool ipcr_reader_has_reached(const void *wish);
bool ipcr_writer_has_moved(const void *wish);

/* Where read_position must be for a record of this length to fit; tells the reader when to wake us. */
uint64_t ipcr_aim_at_room(const struct ipcr_end *e, uint64_t length);
uint64_t ipcr_aim_at_empty(const struct ipcr_end *e);

/* Try, wait until `ready`, try again, for one slice at most.  `aim` says which position of the other side to
 * wait for, each time before it does. */
int ipcr_wait_for(struct ipcr_end *e, ipcr_attempt *try, void *work, ipcr_ready *ready, struct ipcr_wish *wish,
                  ipcr_aim *aim, uint64_t deadline_ns, int resume);

#endif

/* calls.h - what every call on an end does at its edges: take the busy word, look, leave; and the loop in
 * which the waiting ones wait.  For sending.c and receiving.c only.
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
int ipcr_enter_to_return(struct ipcr_end *e);

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

struct ipcr_wish {
    const struct ipcr_end *end;
    uint64_t position; /* of the other side: reached (sender), or moved away from (receiver) */
};

typedef int ipcr_attempt(struct ipcr_end *e, void *work);

typedef uint64_t ipcr_aim(const struct ipcr_end *e, const void *work);

bool ipcr_may_spin(const struct ipcr_end *e);

/* Try, wait until `ready`, try again, for one slice at most.  `aim` says which position of the other side to
 * wait for, each time before it does. */
int ipcr_wait_for(struct ipcr_end *e, ipcr_attempt *try, void *work, ipcr_ready *ready, struct ipcr_wish *wish,
                  ipcr_aim *aim, uint64_t deadline_ns, int resume);

#endif

/* seats.h - one thread of one process at a time, and a close() that may come from any thread.
 *
 * For publishers and subscribers, which are taken when they are made.  `busy` goes
 *
 *   FREE -> INSIDE    a call; it is short, or else
 *   INSIDE -> WAITING it sleeps, or is between two slices of its wait, and touches nothing of the end
 *   WAITING -> INSIDE the waiter comes back, or whoever closes takes its place
 *   INSIDE -> CLOSED  closed; what the end held has been given back
 *
 * A forked child has a copy that it may not use, and whose locks it doesn't hold.
 */
#ifndef IPCR_SEATS_H
#define IPCR_SEATS_H

#include "atomics.h"

#include <stdbool.h>

enum ipcr_seat_state { IPCR_SEAT_FREE = 0, IPCR_SEAT_INSIDE = 1, IPCR_SEAT_WAITING = 2, IPCR_SEAT_CLOSED = 3 };

struct ipcr_seat {
    ipcr_word32 busy;
    ipcr_word32 closing;
    uint32_t generation; /* forks before it was made */
    ipcr_word64 waiter;  /* thread that is WAITING */
};

void ipcr_seat_make(struct ipcr_seat *seat);

/* IPCR_OK, IPCR_BUSY, IPCR_CLOSED or IPCR_FORKED. */
int ipcr_seat_enter(struct ipcr_seat *seat);
static inline void ipcr_seat_leave(struct ipcr_seat *seat) { store_release32(&seat->busy, IPCR_SEAT_FREE); }

/* Begin a wait, or go on with one: resume says which.  Inside afterwards. */
int ipcr_seat_enter_wait(struct ipcr_seat *seat, int resume);
void ipcr_seat_wait(struct ipcr_seat *seat);    /* INSIDE -> WAITING */
int ipcr_seat_return(struct ipcr_seat *seat);   /* WAITING -> INSIDE; IPCR_CLOSED: somebody else has taken our place */
void ipcr_seat_give_up(struct ipcr_seat *seat); /* a wait of this thread that won't go on */

/* True: the caller has the seat for good, and gives back what the end holds; false: somebody closed it before, or this is
 * a forked child.  `wake` is called until whoever is inside has come out. */
bool ipcr_seat_close(struct ipcr_seat *seat, void (*wake)(void *end), void *end);

static inline bool ipcr_seat_is_closing(const struct ipcr_seat *seat) { return load_acquire32(&seat->closing) != 0; }

#endif

/* gates.h - where any number of threads and processes wait for an event of a queue.
 *
 *     waiter                               whoever makes the event
 *     parked |= 1, which says *expected*   the event, one store or compare-and-swap
 *     full fence                           full fence
 *     look again, sleep while expected     parked odd ?  parked + 1, wake n
 *
 * At least one of the two sees the other's store (edge G in docs/memory-model.md).  Both sides pay for the full fence:
 * a queue's call costs several times as much, and the asymmetric twin of waiting.h would cost each sleep more
 * (docs/decisions/0005-queue-gates-and-holders.md).
 *
 * Bit 0 says "somebody may be asleep", not how many: a number would stay wrong after a death.  So whoever was woken
 * sets it again at once, for those that still sleep, and when it has taken what it was woken for, and leaves some, wakes
 * the next (queue_waits.c).  A woken one that dies before that costs the others the rest of a slice.
 *
 * The bits above count how often the gate was opened: between a waiter's look and its sleep the gate may be opened for
 * it, and another waiter set bit 0 again.  Were the word then as before, the first one would sleep through its event.
 */
#ifndef IPCR_GATES_H
#define IPCR_GATES_H

#include "waiting.h"

#define IPCR_ALL 0x7fffffff

/* Sleep until woken, a signal (IPCR_AGAIN) or the deadline, unless `ready` says so.  *slept: whether we did, or meant to. */
int ipcr_gate_wait(ipcr_word32 *parked, ipcr_ready *ready, const void *what, uint64_t deadline_ns, bool *slept);

/* The same where whoever makes the event is spared its full fence, as in waiting.h: the waiter runs membarrier, and looks a
 * second time after a millisecond.  For gates that are opened for all: the word isn't armed anew after a wake-up. */
int ipcr_gate_wait_asymmetric(ipcr_word32 *parked, ipcr_ready *ready, const void *what, uint64_t deadline_ns, bool *slept);

void ipcr_gate_open(ipcr_word32 *parked, int n); /* wake up to n, if the word says so */

/* For what concerns all who sleep, and is not passed on: wake them whatever the word says.  It is even while some sleep when
 * one of them was woken and has not set it again yet. */
void ipcr_gate_open_wide(ipcr_word32 *parked);

static inline bool ipcr_gate_is_armed(const ipcr_word32 *parked) { return (load_acquire32(parked) & 1) != 0; }

/* After the event's store: look whether somebody sleeps. */
static inline void ipcr_gate_signal(ipcr_word32 *parked, int n)
{
    fence_store_load();
    if (ipcr_gate_is_armed(parked))
        ipcr_gate_open(parked, n);
}

#endif

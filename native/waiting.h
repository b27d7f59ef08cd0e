/* waiting.h - spin, then park on a futex; and the wake that ends every event somebody may wait for.
 *
 * Parking is a Dekker handshake, edge K in docs/memory-model.md:
 *
 *     waiter                                publisher
 *     parked = 1                            position = p   (release)
 *     HEAVY: membarrier, or a full fence    LIGHT: compiler fence, or a full fence
 *     look again, sleep while parked == 1   parked == 1 ?  parked = 0, wake
 *
 * At least one of the two sees the other's store.  On an asymmetric segment the waiter's membarrier
 * executes a full fence on every CPU that runs a registered process, so a registered publisher pays
 * nothing per message; one that could not register pays the full fence, which is right with either
 * waiter.  Linux's barrier has a hole (a CPU on which a thread of the process has just exited is skipped),
 * so that an asymmetric waiter's first sleep is short and ends with a second look: store buffers drain in
 * far less (time-bounded TSO; Morrison and Afek, ASPLOS 2015).  The decision, the hole and the figures:
 * docs/decisions/0001-asymmetric-wake.md.
 *
 * The waker clears the word before it wakes: the other order could clear the next parking's flag, and
 * with it lose a wake-up.  A waker killed between the two costs the sleeper the rest of a slice.
 */
#ifndef IPCR_WAITING_H
#define IPCR_WAITING_H

#include "os.h"

/* At most this long before a wait looks for death and signals.  A death is to be noticed within 200 ms; and a wake-up with
 * cold caches costs some 100 us, which is to be at most a thousandth of a CPU. */
#define IPCR_SLICE_NS UINT64_C(150000000)
#define IPCR_SECOND_LOOK_NS UINT64_C(1000000) /* of an asymmetric waiter */
#define IPCR_FOREVER UINT64_MAX

#define IPCR_SPIN_AUTO UINT64_MAX

/* How long to spin before parking.  Automatic: grows while spinning finds something, halves when it
 * doesn't, down to none, with a short try now and then. */
struct ipcr_spin {
    uint64_t setting_ns; /* IPCR_SPIN_AUTO, or fixed */
    uint64_t budget_ns;
    uint32_t rests; /* waits to go before the next try, once the budget is spent */
};

void ipcr_spin_init(struct ipcr_spin *spin, uint64_t setting_ns);

typedef bool ipcr_ready(const void *what);

/* Spin for the budget, or until the deadline; whether `ready` came true. */
bool ipcr_spin_until(struct ipcr_spin *spin, ipcr_ready *ready, const void *what, uint64_t deadline_ns);

/* Return IPCR_OK when `ready` says so or after any wake-up or at the deadline: the caller looks again.
 * IPCR_AGAIN for a signal.  Time asleep is added to
 * *parked_ns.  may_spin: the other side has a CPU of its own. */
int ipcr_wait(ipcr_word32 *parked, bool asymmetric, struct ipcr_spin *spin, bool may_spin, ipcr_ready *ready,
              const void *what, uint64_t deadline_ns, uint64_t *parked_ns);

void ipcr_wake(ipcr_word32 *parked);

/* After a publishing store, before looking whether somebody is parked. */
static inline void ipcr_order_publish_before_look(bool fence_needed)
{
    if (fence_needed)
        fence_store_load();
    else
        fence_compiler();
}

static inline void ipcr_wake_if_parked(ipcr_word32 *parked, bool fence_needed)
{
    ipcr_order_publish_before_look(fence_needed);
    if (load_relaxed32(parked) != 0)
        ipcr_wake(parked);
}

#endif

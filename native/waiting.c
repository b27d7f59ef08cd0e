/* waiting.c - see waiting.h for the protocol. */
#include "waiting.h"
#include "status.h"

enum {
    SPIN_START_NS = 20000,
    SPIN_MOST_NS = 50000, /* about what two sleeps and wake-ups through the kernel cost */
    SPIN_LEAST_NS = 1000,
    SPIN_RETRY_NS = 5000,
    SPIN_RESTS = 16,
    LOOKS_PER_CLOCK = 8,
};

void ipcr_spin_init(struct ipcr_spin *spin, uint64_t setting_ns)
{
    *spin = (struct ipcr_spin){ .setting_ns = setting_ns,
                                .budget_ns = setting_ns == IPCR_SPIN_AUTO ? SPIN_START_NS : setting_ns };
}

static void spin_found(struct ipcr_spin *spin)
{
    if (spin->setting_ns == IPCR_SPIN_AUTO && spin->budget_ns < SPIN_MOST_NS)
        spin->budget_ns += spin->budget_ns / 4 + SPIN_LEAST_NS;
}

static void spin_failed(struct ipcr_spin *spin)
{
    if (spin->setting_ns != IPCR_SPIN_AUTO)
        return;
    spin->budget_ns /= 2;
    if (spin->budget_ns < SPIN_LEAST_NS) {
        spin->budget_ns = 0;
        spin->rests = SPIN_RESTS;
    }
}

bool ipcr_spin_until(struct ipcr_spin *spin, ipcr_ready *ready, const void *what, uint64_t deadline_ns)
{
    if (spin->budget_ns == 0) {
        if (spin->setting_ns != IPCR_SPIN_AUTO || spin->rests-- > 0)
            return false;
        spin->budget_ns = SPIN_RETRY_NS;
        spin->rests = 0;
    }
    uint64_t until = ipcr_os_now_ns() + spin->budget_ns;
    if (until > deadline_ns)
        until = deadline_ns;
    do {
        for (int i = 0; i < LOOKS_PER_CLOCK; i++) {
            if (ready(what)) {
                spin_found(spin);
                return true;
            }
            cpu_relax();
        }
    } while (ipcr_os_now_ns() < until);
    spin_failed(spin);
    return false;
}

int ipcr_wait(ipcr_word32 *parked, bool asymmetric, struct ipcr_spin *spin, bool may_spin, ipcr_ready *ready,
              const void *what, uint64_t deadline_ns, uint64_t *parked_ns)
{
    if (may_spin && ipcr_spin_until(spin, ready, what, deadline_ns))
        return IPCR_OK;
    store_release32(parked, 1); /* release: a writer's wake_at goes before it */
    if (asymmetric)
        ipcr_os_membarrier(); /* forbidden since we attached?  Then the second look is all there is */
    fence_store_load();
    int rc = IPCR_OK;
    if (!ready(what)) {
        const uint64_t asleep = ipcr_os_now_ns();
        const uint64_t second_look = asleep + IPCR_SECOND_LOOK_NS;
        if (asymmetric && second_look < deadline_ns) {
            rc = ipcr_os_futex_wait(parked, 1, second_look);
            /* `parked` has stood for a millisecond: whoever publishes from now on sees it, and who didn't see
             * it has long since drained the store that we look for */
            if (rc == IPCR_OK && load_relaxed32(parked) == 1 && !ready(what))
                rc = ipcr_os_futex_wait(parked, 1, deadline_ns);
        } else {
            rc = ipcr_os_futex_wait(parked, 1, deadline_ns);
        }
        *parked_ns += ipcr_os_now_ns() - asleep;
    }
    store_relaxed32(parked, 0);
    return rc;
}

void ipcr_wake(ipcr_word32 *parked)
{
    if (exchange_acq_rel32(parked, 0) != 0)
        ipcr_os_futex_wake(parked, 1);
}

/* gates.c - see gates.h. */
#include "gates.h"
#include "status.h"

/* A store in any case, also when it changes nothing: what is looked at behind the fence was there before, or finds it. */
static uint32_t arm(ipcr_word32 *parked)
{
    uint32_t seen = load_relaxed32(parked);
    while (!compare_exchange32(parked, &seen, seen | 1))
        ;
    fence_store_load(); /* G */
    return seen | 1;
}

int ipcr_gate_wait(ipcr_word32 *parked, ipcr_ready *ready, const void *what, uint64_t deadline_ns, bool *slept)
{
    const uint32_t expected = arm(parked);
    if (ready(what))
        return IPCR_OK;
    *slept = true;
    const int rc = ipcr_os_futex_wait(parked, expected, deadline_ns);
    arm(parked); /* whoever woke us has opened it for one, and others may still sleep; what came meanwhile was not announced */
    return rc;
}

int ipcr_gate_wait_asymmetric(ipcr_word32 *parked, ipcr_ready *ready, const void *what, uint64_t deadline_ns, bool *slept)
{
    const uint32_t expected = arm(parked);
    ipcr_os_membarrier(); /* forbidden since we attached?  Then the second look is all there is */
    if (ready(what))
        return IPCR_OK;
    *slept = true;
    const uint64_t second_look = ipcr_os_now_ns() + IPCR_SECOND_LOOK_NS;
    if (second_look >= deadline_ns)
        return ipcr_os_futex_wait(parked, expected, deadline_ns);
    const int rc = ipcr_os_futex_wait(parked, expected, second_look);
    if (rc != IPCR_OK || load_relaxed32(parked) != expected || ready(what))
        return rc;
    return ipcr_os_futex_wait(parked, expected, deadline_ns);
}

void ipcr_gate_open(ipcr_word32 *parked, int n)
{
    uint32_t seen = load_relaxed32(parked);
    /* changed first: the other order could open the gate of the next sleeper, who has not been woken.  Where this fails,
     * somebody else opens it, and wakes */
    if ((seen & 1) != 0 && compare_exchange32(parked, &seen, seen + 1))
        ipcr_os_futex_wake(parked, n);
}

void ipcr_gate_open_wide(ipcr_word32 *parked)
{
    uint32_t seen = load_relaxed32(parked);
    while (!compare_exchange32(parked, &seen, (seen | 1) + 1))
        ;
    ipcr_os_futex_wake(parked, IPCR_ALL);
}

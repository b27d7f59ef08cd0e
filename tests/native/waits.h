/* waits.h - sleeping without a safety net.
 *
 * A lost wake-up normally hides: the sleeper looks again at the end of its slice.  Here syscall() is
 * replaced, and a patient sleep has no slice: it lasts until it is woken, and one that is not woken for
 * PATIENCE_NS is a failure.  The same hook delays callers at the points where the handshake of
 * waiting.h could go wrong, counts sleeps, and can make membarrier fail.
 */
#ifndef IPCR_TESTS_WAITS_H
#define IPCR_TESTS_WAITS_H

#include "batches.h"
#include "check.h"
#include "ends.h"
#include "stats.h"
#include "transfer.h"

#include <dlfcn.h>
#include <linux/futex.h>
#include <pthread.h>
#include <stdarg.h>
#include <sys/syscall.h>
#include <time.h>

#define PATIENCE_NS UINT64_C(10000000000)
#define SECOND_LOOK_NS UINT64_C(1000000) /* a first sleep this short is part of the handshake; see waiting.h */

/* --- the hook ------------------------------------------------------------------------------------------ */

struct watch { /* shared with forked children */
    ipcr_word32 patient;
    ipcr_word32 delays; /* one call in so many is held up; 0: none */
    ipcr_word32 no_membarrier;
    ipcr_word64 waits;  /* futex waits begun */
    ipcr_word64 slept;  /* ... that were ended by a wake-up */
    ipcr_word64 longest_ns; /* sleep that was asked for, patience aside */
    ipcr_word64 random;
};

static struct watch *watch;

static inline void count(ipcr_word64 *what) { atomic_fetch_add_explicit(what, 1, memory_order_relaxed); }

static inline void maybe_delay(void)
{
    const uint32_t one_in = load_relaxed32(&watch->delays);
    if (one_in == 0)
        return;
    const uint64_t dice = mixed(atomic_fetch_add_explicit(&watch->random, 1, memory_order_relaxed));
    if (dice % one_in != 0)
        return;
    if (dice >> 32 & 1) {
        sched_yield();
    } else {
        const uint64_t until = ipcr_os_now_ns() + (dice >> 40) % 30000;
        while (ipcr_os_now_ns() < until)
            cpu_relax();
    }
}

typedef long system_call(long number, ...);

long syscall(long number, ...)
{
    static _Atomic(system_call *) next;
    long a[6];
    va_list more;
    va_start(more, number);
    for (int i = 0; i < 6; i++)
        a[i] = va_arg(more, long);
    va_end(more);
    system_call *call = atomic_load(&next);
    if (call == NULL) {
        void *found = dlsym(RTLD_NEXT, "syscall");
        memcpy(&call, &found, sizeof call);
        atomic_store(&next, call);
    }
    if (watch == NULL || (number != SYS_futex && number != SYS_membarrier))
        return call(number, a[0], a[1], a[2], a[3], a[4], a[5]);
    maybe_delay();
    if (number == SYS_membarrier && load_relaxed32(&watch->no_membarrier) != 0) {
        errno = EPERM;
        return -1;
    }
    const bool waits = number == SYS_futex && (a[1] & FUTEX_CMD_MASK) == FUTEX_WAIT_BITSET;
    struct timespec until;
    bool patient = false;
    if (waits) {
        count(&watch->waits);
        memcpy(&until, (const void *)(uintptr_t)a[3], sizeof until);
        const uint64_t at = (uint64_t)until.tv_sec * UINT64_C(1000000000) + (uint64_t)until.tv_nsec;
        const uint64_t now = ipcr_os_now_ns(), asked = at > now ? at - now : 0;
        if (asked > load_relaxed64(&watch->longest_ns))
            store_relaxed64(&watch->longest_ns, asked);
        if (load_relaxed32(&watch->patient) != 0 && asked > SECOND_LOOK_NS) {
            patient = true;
            until.tv_sec += (time_t)(PATIENCE_NS / UINT64_C(1000000000));
            a[3] = (long)(uintptr_t)&until;
        }
    }
    const long rc = call(number, a[0], a[1], a[2], a[3], a[4], a[5]);
    const int error = errno;
    if (waits && rc == 0)
        count(&watch->slept);
    if (waits && rc != 0 && error == ETIMEDOUT && load_relaxed32(&watch->patient) != 0 && patient)
        check_failed(__FILE__, __LINE__, "a wake-up was lost");
    maybe_delay();
    errno = error;
    return rc;
}

static inline void be_patient(uint32_t delays)
{
    store_relaxed64(&watch->waits, 0);
    store_relaxed64(&watch->slept, 0);
    store_relaxed64(&watch->longest_ns, 0);
    store_relaxed32(&watch->delays, delays);
    store_relaxed32(&watch->patient, 1);
}

static inline void be_impatient(void)
{
    store_relaxed32(&watch->patient, 0);
    store_relaxed32(&watch->delays, 0);
}

/* --- ends ------------------------------------------------------------------------------------------------ */

static inline struct ipcr_end *taken(struct ipcr_segment *s, uint32_t side, uint64_t spin_ns)
{
    struct ipcr_end *e = NULL;
    uint32_t by;
    CHECK_IS(ipcr_end_open(s, side, spin_ns, &e), IPCR_OK);
    CHECK_IS(ipcr_end_take(e, &by), IPCR_OK);
    return e;
}

static inline void finish(struct ipcr_end *e)
{
    ipcr_end_close(e, true);
    ipcr_end_free(e);
}

static inline int64_t recv_until(struct ipcr_end *e, char *out, uint64_t deadline_ns)
{
    int64_t rc = ipcr_recv_wait(e, out, deadline_ns, 0);
    while (rc == IPCR_AGAIN)
        rc = ipcr_recv_wait(e, out, deadline_ns, 1);
    return rc;
}

static inline int send_until(struct ipcr_end *e, const char *message, uint64_t length, uint64_t deadline_ns)
{
    int rc = ipcr_send_wait(e, message, length, 0, deadline_ns, 0);
    while (rc == IPCR_AGAIN)
        rc = ipcr_send_wait(e, message, length, 0, deadline_ns, 1);
    return rc;
}

struct channel {
    struct ipcr_segment *segment;
    struct ipcr_end *w, *r;
};

static inline struct channel new_channel(uint64_t capacity, uint64_t spin_ns)
{
    struct channel c = { .segment = anonymous(capacity, 0) };
    c.w = taken(c.segment, IPCR_SENDER, spin_ns);
    c.r = taken(c.segment, IPCR_RECEIVER, spin_ns);
    return c;
}

static inline void end_channel(struct channel *c)
{
    finish(c->w);
    finish(c->r);
    ipcr_segment_release(c->segment);
}

static inline void wait_until_parked(struct channel *c, uint32_t side)
{
    while (load_acquire32(&c->segment->header->signals[side].parked) == 0)
        sched_yield();
}

static inline void fill(struct ipcr_end *w)
{
    static char message[100];
    int rc;
    do
        rc = ipcr_send(w, message, sizeof message, 0);
    while (rc == IPCR_OK);
    CHECK_IS(rc, IPCR_FULL);
}

#endif

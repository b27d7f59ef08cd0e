/* sleeps.h - the kernel as a test of waiting wants it: sleeps without a deadline, so that a wake-up that was lost is a hang;
 * delays put in at random, and signals on demand; and a team of threads to use it.
 *
 * All of it at the one place where the core enters the kernel to sleep and to wake: syscall(), which is the program's own.
 */
#ifndef IPCR_TESTS_SLEEPS_H
#define IPCR_TESTS_SLEEPS_H

#include "queues.h"

#include <dlfcn.h>
#include <linux/futex.h>
#include <pthread.h>
#include <stdarg.h>
#include <sys/syscall.h>

/* --- the kernel, as this program sees it -------------------------------------------------------------------------- */

static long (*real_syscall)(long, ...);
static ipcr_word32 endless;     /* sleeps have no deadline */
static ipcr_word32 interrupted; /* so many of the next sleeps end with a signal */
static ipcr_word32 asleep;      /* threads in a sleep, or about to */
static ipcr_word64 shaken;      /* a seed: sleeps and wakes are put off at random; 0: they aren't */

static inline void shake(void)
{
    uint64_t seen = load_relaxed64(&shaken);
    if (seen == 0)
        return;
    compare_exchange64(&shaken, &seen, seen + 2); /* odd, so never 0 */
    for (uint64_t n = mixed(seen) % 8; n > 4; n--)
        sched_yield();
}

static inline bool take_interruption(void)
{
    uint32_t seen = load_relaxed32(&interrupted);
    while (seen != 0)
        if (compare_exchange32(&interrupted, &seen, seen - 1))
            return true;
    return false;
}

static inline void count(ipcr_word32 *word, uint32_t by)
{
    uint32_t seen = load_relaxed32(word);
    while (!compare_exchange32(word, &seen, seen + by))
        ;
}

long syscall(long number, ...)
{
    long a[6];
    va_list list;
    va_start(list, number);
    for (int i = 0; i < 6; i++)
        a[i] = va_arg(list, long);
    va_end(list);
    if (number != SYS_futex)
        return real_syscall(number, a[0], a[1], a[2], a[3], a[4], a[5]);
    shake();
    if (a[1] != FUTEX_WAIT_BITSET)
        return real_syscall(number, a[0], a[1], a[2], a[3], a[4], a[5]);
    if (take_interruption()) {
        errno = EINTR;
        return -1;
    }
    count(&asleep, 1);
    const long rc = real_syscall(number, a[0], a[1], a[2], load_relaxed32(&endless) != 0 ? 0 : a[3], a[4], a[5]);
    count(&asleep, UINT32_MAX);
    return rc;
}

static inline void sleeps_begin(void) { *(void **)&real_syscall = dlsym(RTLD_NEXT, "syscall"); }

static inline void without_time(void)
{
    store_relaxed32(&endless, 1);
    store_relaxed64(&shaken, 1);
}

static inline void with_time(void)
{
    store_relaxed32(&endless, 0);
    store_relaxed64(&shaken, 0);
}

static inline void wait_until_asleep(uint32_t n)
{
    while (load_acquire32(&asleep) != n)
        sched_yield();
}

/* --- threads ------------------------------------------------------------------------------------------------------ */

enum { MOST_THREADS = 8 };

struct team {
    struct ipcr_queue *queue, *own[3];
    pthread_t threads[MOST_THREADS];
    int n;
    uint64_t messages;
    ipcr_word64 taken, put;
};

static inline void start(struct team *t, int n, void *(*body)(void *))
{
    for (int i = 0; i < n; i++)
        CHECK(pthread_create(&t->threads[t->n++], NULL, body, t) == 0);
}

static inline void finish(struct team *t)
{
    while (t->n > 0)
        CHECK(pthread_join(t->threads[--t->n], NULL) == 0);
}

static inline uint64_t next_of(ipcr_word64 *counter)
{
    uint64_t seen = load_relaxed64(counter);
    while (!compare_exchange64(counter, &seen, seen + 1))
        ;
    return seen;
}

static inline int put_waiting(struct ipcr_queue *q, uint64_t number, uint64_t length)
{
    int rc;
    while ((rc = put_with(q, number, length, 0, NULL)) == IPCR_FULL)
        CHECK(ipcr_queue_wait_for_room(q, length, IPCR_FOREVER) <= IPCR_OK);
    return rc;
}

static inline int get_waiting(struct ipcr_queue *q, uint64_t *number)
{
    int rc;
    while ((rc = try_get(q, number)) == IPCR_EMPTY || rc == IPCR_AGAIN)
        CHECK(ipcr_queue_wait_for_message(q, IPCR_FOREVER) <= IPCR_OK);
    return rc;
}

#endif

/* clock_shift.c - a preload in which the time of day jumps a day forwards or two days back every 20 ms.
 *
 * clock_gettime(CLOCK_REALTIME and its kin), gettimeofday, time and timespec_get answer with the true time plus or minus
 * one day, in turns of 20 ms by the monotonic clock: whatever waits longer than that meets a jump of two days.
 * CLOCK_MONOTONIC and everything else are left alone.  This is what ntpdate, a resumed laptop or an operator does, and
 * needs no privilege.  The vDSO is no way around it: it is called through these functions.
 *
 *     gcc -shared -fPIC -O2 -o clock_shift.so clock_shift.c && LD_PRELOAD=./clock_shift.so python3 ...
 */
#include <stddef.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define DAY 86400
#define TURN_NS 20000000

static int kernel_says(clockid_t clock, struct timespec *out) { return (int)syscall(SYS_clock_gettime, clock, out); }

static time_t shift(void)
{
    struct timespec t = { 0 };
    kernel_says(CLOCK_MONOTONIC, &t);
    return ((uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec) / TURN_NS % 2 == 0 ? DAY : -DAY;
}

int clock_gettime(clockid_t clock, struct timespec *out)
{
    const int rc = kernel_says(clock, out);
    if (rc == 0 && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE || clock == CLOCK_TAI))
        out->tv_sec += shift();
    return rc;
}

int gettimeofday(struct timeval *restrict out, void *restrict zone)
{
    struct timespec t;
    (void)zone;
    if (clock_gettime(CLOCK_REALTIME, &t) != 0)
        return -1;
    out->tv_sec = t.tv_sec;
    out->tv_usec = t.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *out)
{
    struct timespec t = { 0 };
    clock_gettime(CLOCK_REALTIME, &t);
    if (out != NULL)
        *out = t.tv_sec;
    return t.tv_sec;
}

int timespec_get(struct timespec *out, int base)
{
    return base == TIME_UTC && clock_gettime(CLOCK_REALTIME, out) == 0 ? base : 0;
}

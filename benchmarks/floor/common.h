/* common.h - what the floor programs share: clock, pins, percentiles, arguments.
 *
 * A floor program is what C does without Python.  Each is called as  PROGRAM MODE CPU_A CPU_B COUNT PARAMETER
 * (a CPU of -1 is not pinned; the parameter is a capacity in bytes or a pause in nanoseconds), warms up, and prints one JSON object.
 */
#ifndef FLOOR_COMMON_H
#define FLOOR_COMMON_H

#include <errno.h>
#include <inttypes.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define LINE 128 /* two lines of 64: the adjacent-line prefetcher pulls lines in pairs */

struct arguments {
    const char *mode;
    int cpu[2];
    uint64_t count;
    uint64_t parameter;
};

static inline void require(int condition, const char *what)
{
    if (!condition) {
        fprintf(stderr, "%s: %s\n", what, strerror(errno));
        exit(1);
    }
}

static inline struct arguments parse(int argc, char **argv)
{
    if (argc != 6) {
        fprintf(stderr, "usage: %s MODE CPU_A CPU_B COUNT PARAMETER\n", argv[0]);
        exit(2);
    }
    struct arguments given = {
        .mode = argv[1],
        .cpu = {atoi(argv[2]), atoi(argv[3])},
        .count = strtoull(argv[4], NULL, 10),
        .parameter = strtoull(argv[5], NULL, 10),
    };
    return given;
}

/* The calling thread. */
static inline void pin(int cpu)
{
    if (cpu < 0)
        return;
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET((size_t)cpu, &set);
    require(sched_setaffinity(0, sizeof set, &set) == 0, "sched_setaffinity");
}

static inline uint64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * UINT64_C(1000000000) + (uint64_t)now.tv_nsec;
}

static int by_value(const void *a, const void *b)
{
    const uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

static inline void sort(uint64_t *values, uint64_t count) { qsort(values, count, sizeof *values, by_value); }

/* Nearest rank, in thousandths. */
static inline uint64_t percentile(const uint64_t *sorted, uint64_t count, uint64_t per_mille)
{
    const uint64_t rank = (count * per_mille + 999) / 1000;
    return sorted[rank > 0 ? rank - 1 : 0];
}

#endif

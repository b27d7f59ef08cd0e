/* spsc.h - one engine for every single-producer single-consumer queue of 8-byte records.
 *
 * Include it after the definition of
 *     struct queue;
 *     static struct queue *queue_new(uint64_t capacity_bytes);
 *     static inline int queue_try_put(struct queue *q, uint64_t value);   1 if done, 0 if full
 *     static inline int queue_try_get(struct queue *q, uint64_t *value);  1 if done, 0 if empty
 * and each queue runs through the same two loops:
 *     stream       one thread puts 1..COUNT, the other takes and checks them
 *     round_trip   one thread puts a number and waits for the other to send it back
 * Whoever meets full or empty tries again at once.  Both threads are pinned; both spin.
 */
#ifndef FLOOR_SPSC_H
#define FLOOR_SPSC_H

#include "common.h"

#include <pthread.h>

#define TRIPS_PER_STAMP 100 /* so that the clock is not part of what is measured */

struct run {
    struct queue *there;
    struct queue *back;
    uint64_t warm_up;
    uint64_t count;
    int cpu;
    int round_trip;
    pthread_barrier_t *start;
};

static inline void put(struct queue *q, uint64_t value)
{
    while (!queue_try_put(q, value)) {
    }
}

static inline uint64_t take(struct queue *q)
{
    uint64_t value;
    while (!queue_try_get(q, &value)) {
    }
    return value;
}

static void check(int good)
{
    if (!good) {
        fprintf(stderr, "a record did not arrive as it was sent\n");
        exit(1);
    }
}

static void echo(struct queue *there, struct queue *back, uint64_t count)
{
    for (uint64_t i = 0; i < count; i++)
        put(back, take(there));
}

static void put_all(struct queue *q, uint64_t count)
{
    for (uint64_t i = 1; i <= count; i++)
        put(q, i);
}

/* The second thread: the producer of a stream, the echo of a round trip. */
static void *second(void *argument)
{
    struct run *run = argument;
    pin(run->cpu);
    pthread_barrier_wait(run->start);
    for (int round = 0; round < 2; round++) {
        const uint64_t count = round == 0 ? run->warm_up : run->count;
        if (run->round_trip)
            echo(run->there, run->back, count);
        else
            put_all(run->there, count);
        pthread_barrier_wait(run->start);
    }
    return NULL;
}

static void take_all(struct queue *q, uint64_t count)
{
    uint64_t sum = 0;
    for (uint64_t i = 1; i <= count; i++)
        sum += take(q);
    check(sum == count * (count + 1) / 2);
}

/* COUNT is rounded up to whole stamps.  Each stamp is the time of TRIPS_PER_STAMP trips. */
static void trips(struct queue *there, struct queue *back, uint64_t stamps, uint64_t *took_ns)
{
    for (uint64_t stamp = 0; stamp < stamps; stamp++) {
        const uint64_t before = now_ns();
        for (uint64_t i = 0; i < TRIPS_PER_STAMP; i++) {
            put(there, i);
            check(take(back) == i);
        }
        took_ns[stamp] = now_ns() - before;
    }
}

int main(int argc, char **argv)
{
    const struct arguments given = parse(argc, argv);
    const int round_trip = strcmp(given.mode, "round_trip") == 0;
    const uint64_t stamps = given.count / TRIPS_PER_STAMP + 1, warm_up_stamps = stamps / 10 + 1;
    uint64_t *took_ns = calloc(stamps + warm_up_stamps, sizeof *took_ns);
    require(took_ns != NULL, "calloc");
    pthread_barrier_t start;
    pthread_barrier_init(&start, NULL, 2);
    struct run run = {
        .there = queue_new(given.parameter),
        .back = queue_new(given.parameter),
        .warm_up = round_trip ? warm_up_stamps * TRIPS_PER_STAMP : given.count / 10 + 1,
        .count = round_trip ? stamps * TRIPS_PER_STAMP : given.count,
        .cpu = given.cpu[0], /* the producer's, as in every question */
        .round_trip = round_trip,
        .start = &start,
    };
    pthread_t thread;
    require(pthread_create(&thread, NULL, second, &run) == 0, "pthread_create");
    pin(given.cpu[1]);
    pthread_barrier_wait(&start);
    uint64_t begun = 0, total = 0;
    for (int round = 0; round < 2; round++) {
        begun = now_ns();
        if (round_trip)
            trips(run.there, run.back, round == 0 ? warm_up_stamps : stamps, took_ns);
        else
            take_all(run.there, round == 0 ? run.warm_up : run.count);
        total = now_ns() - begun;
        pthread_barrier_wait(&start);
    }
    pthread_join(thread, NULL);

    const double seconds = (double)total / 1e9;
    if (round_trip) {
        sort(took_ns, stamps);
        const double per_trip = TRIPS_PER_STAMP;
        printf("{\"seconds\": %.9f, \"metrics\": {\"round_trip_ns\": %.1f, \"round_trip_mean_ns\": %.1f}}\n", seconds,
               (double)percentile(took_ns, stamps, 500) / per_trip, (double)total / (double)run.count);
    } else {
        printf("{\"seconds\": %.9f, \"metrics\": {\"records_per_second\": %.0f}}\n", seconds,
               (double)run.count / seconds);
    }
    return 0;
}

#endif

/* lend.c - the floor of zero copy: 1 MiB records through our ring of PARAMETER bytes.  One thread claims and copies an
 * array of doubles into the ring, the other sums it where it lies and gives the space back.  Both are pinned and spin.
 * What a sum costs in cache is measured beforehand, and taken out in `net_gigabytes_per_second`. */
#include "our_ring.h"

#include <pthread.h>

enum { RECORD = 1 << 20, DOUBLES = RECORD / 8, LANES = 16, STRETCHES = 21, SUMS = 10 };

struct run {
    struct queue *queue;
    const double *source;
    uint64_t warm_up, count;
    int cpu;
    pthread_barrier_t *start;
};

static double sum(const double *values)
{
    double lanes[LANES] = { 0 };
    for (int i = 0; i < DOUBLES; i += LANES)
        for (int lane = 0; lane < LANES; lane++)
            lanes[lane] += values[i + lane];
    double all = 0;
    for (int lane = 0; lane < LANES; lane++)
        all += lanes[lane];
    return all;
}

static void write_all(struct run *run, uint64_t count)
{
    for (uint64_t i = 0; i < count; i++) {
        uint8_t *payload;
        int result;
        while ((result = ipcr_ring_claim(&run->queue->writer, RECORD, &payload)) == IPCR_FULL) {
        }
        require(result == IPCR_OK, "claim: is the ring too small?");
        memcpy(payload, run->source, RECORD);
        ipcr_ring_stage_claimed(&run->queue->writer, payload, RECORD, IPCR_INFO(0, IPCR_BYTES));
        ipcr_ring_publish(&run->queue->writer);
    }
}

static void read_all(struct run *run, uint64_t count)
{
    double found = 0;
    for (uint64_t i = 0; i < count; i++) {
        struct ipcr_record_view view;
        int result;
        while ((result = ipcr_ring_next(&run->queue->reader, &view)) == IPCR_EMPTY) {
        }
        require(result == IPCR_OK, "next");
        found += sum((const double *)(const void *)view.payload);
        ipcr_ring_consume(&run->queue->reader, view.length);
        ipcr_ring_release(&run->queue->reader);
    }
    require(found == (double)count * DOUBLES, "a record did not arrive as it was sent");
}

static void *writer(void *argument)
{
    struct run *run = argument;
    pin(run->cpu);
    for (int round = 0; round < 2; round++) {
        pthread_barrier_wait(run->start);
        write_all(run, round == 0 ? run->warm_up : run->count);
        pthread_barrier_wait(run->start);
    }
    return NULL;
}

/* The median of several stretches, as in arrays.py. */
static double sum_seconds(const double *values)
{
    uint64_t took[STRETCHES];
    volatile double kept = sum(values);
    for (int stretch = 0; stretch < STRETCHES; stretch++) {
        const uint64_t start = now_ns();
        for (int i = 0; i < SUMS; i++)
            kept = kept + sum(values);
        took[stretch] = now_ns() - start;
    }
    sort(took, STRETCHES);
    return (double)percentile(took, STRETCHES, 500) / 1e9 / SUMS;
}

int main(int argc, char **argv)
{
    const struct arguments given = parse(argc, argv);
    double *source = aligned_alloc(4096, RECORD);
    require(source != NULL, "aligned_alloc");
    for (int i = 0; i < DOUBLES; i++)
        source[i] = 1;
    pthread_barrier_t start;
    struct run run = { .queue = queue_new(given.parameter), .source = source, .warm_up = given.count / 10 + 1,
                       .count = given.count, .cpu = given.cpu[0], .start = &start };
    pthread_t thread;
    pin(given.cpu[1]);
    const double a_sum = sum_seconds(source);
    require(pthread_barrier_init(&start, NULL, 2) == 0 && pthread_create(&thread, NULL, writer, &run) == 0, "thread");
    uint64_t took = 0;
    for (int round = 0; round < 2; round++) {
        pthread_barrier_wait(&start);
        const uint64_t before = now_ns();
        read_all(&run, round == 0 ? run.warm_up : run.count);
        took = now_ns() - before;
        pthread_barrier_wait(&start);
    }
    pthread_join(thread, NULL);
    const double seconds = (double)took / 1e9, bytes = (double)RECORD * (double)run.count;
    const double left = seconds - a_sum * (double)run.count, net = left > 1e-9 ? left : 1e-9;
    printf("{\"seconds\": %.9f, \"metrics\": {\"gigabytes_per_second\": %.3f, \"net_gigabytes_per_second\": %.3f, "
           "\"sum_us\": %.3f}}\n",
           seconds, bytes / seconds / 1e9, bytes / net / 1e9, a_sum * 1e6);
    return 0;
}

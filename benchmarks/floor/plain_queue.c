/* plain_queue.c - the fastest queue there is to compare with: two indices, each with the other side's last seen value
 * kept privately, power-of-two slots of 8 bytes, every word on a line of its own.  No records, no crash recovery, no
 * checks, one process.  After rigtorp/SPSCQueue. */
#include "common.h"

#include <stdalign.h>
#include <stdatomic.h>

struct queue {
    alignas(LINE) _Atomic uint64_t write_index;
    alignas(LINE) uint64_t cached_read; /* the producer's copy of read_index */
    alignas(LINE) _Atomic uint64_t read_index;
    alignas(LINE) uint64_t cached_write; /* the consumer's copy of write_index */
    alignas(LINE) uint64_t *slots;
    uint64_t mask;
};

static struct queue *queue_new(uint64_t capacity_bytes)
{
    uint64_t slots = 2;
    while (slots * 2 * sizeof(uint64_t) <= capacity_bytes)
        slots *= 2;
    struct queue *q = aligned_alloc(LINE, sizeof *q);
    require(q != NULL, "aligned_alloc");
    memset(q, 0, sizeof *q);
    q->mask = slots - 1;
    const size_t bytes = slots * sizeof *q->slots;
    q->slots = aligned_alloc(4096, (bytes + 4095) & ~(size_t)4095);
    require(q->slots != NULL, "aligned_alloc");
    memset(q->slots, 0, bytes);
    return q;
}

static inline int queue_try_put(struct queue *q, uint64_t value)
{
    const uint64_t write = atomic_load_explicit(&q->write_index, memory_order_relaxed);
    if (write - q->cached_read > q->mask) {
        q->cached_read = atomic_load_explicit(&q->read_index, memory_order_acquire);
        if (write - q->cached_read > q->mask)
            return 0;
    }
    q->slots[write & q->mask] = value;
    atomic_store_explicit(&q->write_index, write + 1, memory_order_release);
    return 1;
}

static inline int queue_try_get(struct queue *q, uint64_t *value)
{
    const uint64_t read = atomic_load_explicit(&q->read_index, memory_order_relaxed);
    if (read == q->cached_write) {
        q->cached_write = atomic_load_explicit(&q->write_index, memory_order_acquire);
        if (read == q->cached_write)
            return 0;
    }
    *value = q->slots[read & q->mask];
    atomic_store_explicit(&q->read_index, read + 1, memory_order_release);
    return 1;
}

#include "spsc.h"

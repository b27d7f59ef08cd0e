/* ring_core.c - 8-byte records through our ring, without Python. */
#include "our_ring.h"

static inline int queue_try_put(struct queue *q, uint64_t value)
{
    return ipcr_ring_try_write(&q->writer, &value, sizeof value, IPCR_INFO(0, IPCR_BYTES)) == IPCR_OK;
}

static inline int queue_try_get(struct queue *q, uint64_t *value)
{
    uint64_t length, info;
    return ipcr_ring_try_read(&q->reader, value, sizeof *value, &length, &info) == IPCR_OK;
}

#include "spsc.h"

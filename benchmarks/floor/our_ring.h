/* our_ring.h - our ring without Python: native/ring.h, its memory laid out as in a segment. */
#ifndef FLOOR_OUR_RING_H
#define FLOOR_OUR_RING_H

#include "common.h"

#include <stdalign.h>
#include <sys/mman.h>
#include <unistd.h>

#include "ring.h"

struct queue {
    alignas(LINE) struct ipcr_ring_writer writer;
    alignas(LINE) struct ipcr_ring_reader reader;
};

static void *map_at(void *where, size_t bytes, int fd)
{
    void *at = mmap(where, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | (where != NULL ? MAP_FIXED : 0), fd, 0);
    require(at != MAP_FAILED, "mmap");
    return at;
}

/* `bytes` of shared memory, mapped twice in a row. */
static uint8_t *map_twice(size_t bytes)
{
    const int fd = memfd_create("floor", MFD_CLOEXEC);
    require(fd >= 0 && ftruncate(fd, (off_t)bytes) == 0, "memfd");
    uint8_t *data = mmap(NULL, 2 * bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    require(data != MAP_FAILED, "mmap");
    map_at(data, bytes, fd);
    map_at(data + bytes, bytes, fd);
    close(fd);
    memset(data, 0, bytes);
    return data;
}

static struct queue *queue_new(uint64_t capacity_bytes)
{
    uint64_t capacity = 4096;
    while (capacity * 2 <= capacity_bytes)
        capacity *= 2;
    struct queue *q = aligned_alloc(LINE, sizeof *q);
    struct ipcr_header *shared = aligned_alloc(LINE, sizeof *shared);
    require(q != NULL && shared != NULL, "aligned_alloc");
    memset(shared, 0, sizeof *shared); /* positions, marks and sequences of zero: a fresh ring */
    uint8_t *data = map_twice(capacity);
    require(ipcr_ring_writer_open(&q->writer, shared, data, capacity) == IPCR_OK &&
                ipcr_ring_reader_open(&q->reader, shared, data, capacity) == IPCR_OK,
            "opening the ring");
    return q;
}

#endif

/* ring.c - opening a ring's sides; the rest is inline in ring.h. */
#include "ring.h"

/* What belongs to a position, and the index of the mark that says so. */
struct found {
    uint64_t sequence;
    uint64_t bytes;
    uint32_t index;
};

static int find_mark(const struct ipcr_side_marks *side, uint64_t position, struct found *out)
{
    for (uint32_t i = 0; i < 2; i++) {
        if (load_acquire64(&side->mark[i].position) == position) {
            out->sequence = load_acquire64(&side->mark[i].sequence);
            out->bytes = load_acquire64(&side->mark[i].bytes);
            out->index = i;
            return IPCR_OK;
        }
    }
    return IPCR_CORRUPT;
}

static int check_positions(uint64_t write, uint64_t read, uint64_t capacity)
{
    return write - read <= capacity && ((write | read) & 7) == 0 ? IPCR_OK : IPCR_CORRUPT;
}

int ipcr_ring_writer_open(struct ipcr_ring_writer *w, struct ipcr_header *shared, uint8_t *data, uint64_t capacity)
{
    struct ipcr_side_position *own = &shared->at[IPCR_SENDER];
    struct ipcr_side_marks *marks = &shared->marks[IPCR_SENDER];
    const struct ipcr_side_position *peer = &shared->at[IPCR_RECEIVER];
    const uint64_t write = load_acquire64(&own->position); /* the lock byte ordered us after its last writer */
    const uint64_t read = load_acquire64(&peer->position);
    struct found mark;
    if (check_positions(write, read, capacity) != IPCR_OK || find_mark(marks, write, &mark) != IPCR_OK)
        return IPCR_CORRUPT;
    struct ipcr_side_signals *signals = &shared->signals[IPCR_SENDER];
    *w = (struct ipcr_ring_writer){
        .data = data, .mask = capacity - 1, .capacity = capacity, .position = write, .cached_read = read,
        .sequence = mark.sequence, .bytes = mark.bytes, .next_mark = mark.index ^ 1u, .own = own, .marks = marks, .peer = peer, .signals = signals,
        .high_water = load_relaxed64(&signals->high_water),
    };
    return IPCR_OK;
}

int ipcr_ring_reader_open(struct ipcr_ring_reader *r, struct ipcr_header *shared, const uint8_t *data,
                          uint64_t capacity)
{
    struct ipcr_side_position *own = &shared->at[IPCR_RECEIVER];
    struct ipcr_side_marks *marks = &shared->marks[IPCR_RECEIVER];
    const struct ipcr_side_position *peer = &shared->at[IPCR_SENDER];
    const uint64_t read = load_acquire64(&own->position);
    const uint64_t write = load_acquire64(&peer->position);
    struct found mark;
    if (check_positions(write, read, capacity) != IPCR_OK || find_mark(marks, read, &mark) != IPCR_OK)
        return IPCR_CORRUPT;
    struct ipcr_side_signals *signals = &shared->signals[IPCR_RECEIVER];
    *r = (struct ipcr_ring_reader){
        .data = data, .mask = capacity - 1, .capacity = capacity, .position = read, .cached_write = read,
        .sequence = mark.sequence, .bytes = mark.bytes, .next_mark = mark.index ^ 1u, .own = own, .marks = marks, .peer = peer, .signals = signals,
        .high_water = load_relaxed64(&signals->high_water),
    };
    return IPCR_OK;
}

/* ring.h - one writer, one reader, variable-size records in a twice-mapped data area.
 *
 * Positions are free-running 64-bit counters, compared only by unsigned difference; the offset of a
 * position is its low bits.
 *   I1: 0 <= write_position - read_position <= capacity
 *   I2: both are multiples of 8
 *   I3: [read_position, write_position) is a whole number of records
 *
 * Edges (docs/memory-model.md):
 *   W: record bytes and mark, then write_position (release)  ->  acquire in ipcr_ring_next
 *   R: loads of the record, then read_position (release)     ->  acquire in ipcr_ring_stage
 * Storing read_position is the writer's licence to overwrite the bytes, so the reader's loads of them
 * must be complete: release, not relaxed.
 *
 * Each side keeps a private copy of its own position and the last seen position of the other, and reads
 * the other's cache line only when the copy says full or empty (the idea of rigtorp's SPSCQueue).
 *
 * Crash: a record exists once write_position has moved over it: one aligned store.  A writer that dies
 * before it leaves nothing; a reader that dies before its store leaves the record for its successor.
 *
 * Progress: wait-free.  Full and empty are results, not errors.  No system calls, no allocation.
 * The functions are inline because a call per record would cost as much as the record.
 */
#ifndef IPCR_RING_H
#define IPCR_RING_H

#include "format.h"
#include "status.h"

struct ipcr_ring_writer {
    uint8_t *data;
    uint64_t mask;
    uint64_t capacity;
    uint64_t position;    /* end of what was staged; write_position once published */
    uint64_t cached_read; /* last seen read_position */
    uint64_t sequence;    /* of the next message */
    uint64_t bytes;       /* payload staged since the segment began */
    uint32_t next_mark;   /* the mark that does not describe the published position */
    struct ipcr_side_position *own;
    struct ipcr_side_marks *marks;
    const struct ipcr_side_position *peer;
    struct ipcr_side_signals *signals;
    uint64_t high_water;
};

struct ipcr_ring_reader {
    const uint8_t *data;
    uint64_t mask;
    uint64_t capacity;
    uint64_t position;     /* end of what was consumed; read_position once released */
    uint64_t cached_write; /* last seen write_position */
    uint64_t sequence;     /* of the message at position */
    uint64_t bytes;        /* payload consumed since the segment began */
    uint32_t next_mark;
    struct ipcr_side_position *own;
    struct ipcr_side_marks *marks;
    const struct ipcr_side_position *peer;
    struct ipcr_side_signals *signals;
    uint64_t high_water;
};

/* One record as the reader sees it; valid until it is released. */
struct ipcr_record_view {
    const uint8_t *payload;
    uint64_t length;
    uint64_t info;
};

/* Continue from the shared words, as a first user or as a successor.  IPCR_CORRUPT if they break I1,
 * I2, or if no mark describes the side's own position. */
int ipcr_ring_writer_open(struct ipcr_ring_writer *w, struct ipcr_header *shared, uint8_t *data, uint64_t capacity);
int ipcr_ring_reader_open(struct ipcr_ring_reader *r, struct ipcr_header *shared, const uint8_t *data,
                          uint64_t capacity);

static inline uint64_t ipcr_record_bytes(uint64_t length) { return (IPCR_RECORD_HEADER + length + 7) & ~UINT64_C(7); }
static inline uint64_t ipcr_max_length(uint64_t capacity) { return capacity - IPCR_RECORD_HEADER; }

/* Keep the high-water mark: called only when the other side's word was loaded anyway. */
static inline void ipcr_note_backlog(uint64_t backlog, uint64_t *high, struct ipcr_side_signals *signals)
{
    if (backlog > *high) {
        *high = backlog;
        store_relaxed64(&signals->high_water, backlog);
    }
}

/* Room for a record of `length` bytes at w->position?  *payload is where its bytes go. */
static inline int ipcr_ring_claim(struct ipcr_ring_writer *w, uint64_t length, uint8_t **payload)
{
    if (length > ipcr_max_length(w->capacity))
        return IPCR_TOO_LARGE;
    const uint64_t need = ipcr_record_bytes(length);
    if (need > w->capacity - (w->position - w->cached_read)) {
        const uint64_t read = load_acquire64(&w->peer->position); /* R: the reader has finished with the bytes */
        const uint64_t used = w->position - read;
        if (used > w->capacity || (read & 7) != 0)
            return IPCR_CORRUPT;
        w->cached_read = read;
        ipcr_note_backlog(used, &w->high_water, w->signals);
        if (need > w->capacity - used)
            return IPCR_FULL;
    }
    *payload = w->data + (w->position & w->mask) + IPCR_RECORD_HEADER;
    return IPCR_OK;
}

/* Finish the record whose payload stands at `payload`.  Not visible before ipcr_ring_publish. */
static inline void ipcr_ring_stage_claimed(struct ipcr_ring_writer *w, uint8_t *payload, uint64_t length,
                                           uint64_t info)
{
    struct ipcr_record *record = (struct ipcr_record *)(void *)(payload - IPCR_RECORD_HEADER);
    store_relaxed64(&record->length, length);
    store_relaxed64(&record->info, info);
    w->position += ipcr_record_bytes(length);
    w->sequence++;
    w->bytes += length;
}

/* The same for a part of a message: only the last one counts as a message. */
static inline void ipcr_ring_stage_part(struct ipcr_ring_writer *w, uint8_t *payload, uint64_t length, uint64_t info,
                                        enum ipcr_part part)
{
    ipcr_ring_stage_claimed(w, payload, length, IPCR_INFO_OF_PART(info, part));
    w->sequence -= part != IPCR_LAST;
    w->bytes -= part == IPCR_FIRST ? IPCR_PART_PREFIX : 0;
}

/* Distance of the prefetches: a few small records, and far less than a page. */
#define IPCR_AHEAD 256

/* After a publication: fetch what will be written soon, unless the reader may be at it. */
static inline void ipcr_ring_prefetch_room(const struct ipcr_ring_writer *w)
{
    if (w->position - w->cached_read + 2 * IPCR_AHEAD < w->capacity)
        prefetch_to_write(w->data + (w->position & w->mask) + IPCR_AHEAD);
}

static inline int ipcr_ring_stage(struct ipcr_ring_writer *w, const void *src, uint64_t length, uint64_t info)
{
    uint8_t *payload;
    const int rc = ipcr_ring_claim(w, length, &payload);
    if (rc != IPCR_OK)
        return rc;
    copy_in(payload, src, length);
    ipcr_ring_stage_claimed(w, payload, length, info);
    return IPCR_OK;
}

/* Move a side's position by one store.  The mark goes first: whenever we die, the mark of the published
 * position is whole, because only the other one was being written.  Release keeps a mark's first store
 * behind the publication before it, for observers (M in docs/memory-model.md; free on x86). */
static inline void ipcr_side_move(struct ipcr_side_position *own, struct ipcr_side_marks *marks, uint32_t *next_mark,
                                  uint64_t position, uint64_t sequence, uint64_t bytes)
{
    struct ipcr_mark *mark = &marks->mark[*next_mark];
    store_release64(&mark->position, position);
    store_release64(&mark->sequence, sequence);
    store_release64(&mark->bytes, bytes);
    *next_mark ^= 1u;
    store_release64(&own->position, position);
}

/* Make everything staged visible (W). */
static inline void ipcr_ring_publish(struct ipcr_ring_writer *w)
{
    ipcr_side_move(w->own, w->marks, &w->next_mark, w->position, w->sequence, w->bytes);
}

static inline int ipcr_ring_try_write(struct ipcr_ring_writer *w, const void *src, uint64_t length, uint64_t info)
{
    const int rc = ipcr_ring_stage(w, src, length, info);
    if (rc == IPCR_OK)
        ipcr_ring_publish(w);
    return rc;
}

/* The record at r->position, checked.  The peer's words are input: each is loaded once. */
static inline int ipcr_ring_next(struct ipcr_ring_reader *r, struct ipcr_record_view *out)
{
    if (r->position == r->cached_write) {
        const uint64_t write = load_acquire64(&r->peer->position); /* W: the bytes below it are complete */
        const uint64_t there = write - r->position;
        if (there > r->capacity || (write & 7) != 0)
            return IPCR_CORRUPT;
        r->cached_write = write;
        if (there == 0)
            return IPCR_EMPTY;
        ipcr_note_backlog(there, &r->high_water, r->signals);
    }
    const uint64_t there = r->cached_write - r->position; /* at least 8: I2 */
    const struct ipcr_record *record =
        (const struct ipcr_record *)(const void *)(r->data + (r->position & r->mask));
    if (there < IPCR_RECORD_HEADER)
        return IPCR_CORRUPT;
    const uint64_t length = load_relaxed64(&record->length);
    if (length > there - IPCR_RECORD_HEADER)
        return IPCR_CORRUPT;
    /* `there` is a multiple of 8, so the padded record fits as well */
    out->payload = (const uint8_t *)record + IPCR_RECORD_HEADER;
    out->length = length;
    out->info = load_relaxed64(&record->info);
    return IPCR_OK;
}

/* Step over a record.  Its space is the reader's until ipcr_ring_release. */
static inline void ipcr_ring_consume(struct ipcr_ring_reader *r, uint64_t length)
{
    r->position += ipcr_record_bytes(length);
    r->sequence++;
    r->bytes += length;
}

static inline void ipcr_ring_consume_part(struct ipcr_ring_reader *r, uint64_t length, enum ipcr_part part)
{
    ipcr_ring_consume(r, length);
    r->sequence -= part != IPCR_LAST;
    r->bytes -= part == IPCR_FIRST ? IPCR_PART_PREFIX : 0;
}

/* Give the space of everything consumed back to the writer (R). */
static inline void ipcr_ring_release(struct ipcr_ring_reader *r)
{
    ipcr_side_move(r->own, r->marks, &r->next_mark, r->position, r->sequence, r->bytes);
}

/* After a release: fetch what will be read soon, unless the writer may be at it. */
static inline void ipcr_ring_prefetch_next(const struct ipcr_ring_reader *r)
{
    if (r->cached_write - r->position > 2 * IPCR_AHEAD)
        prefetch_to_read(r->data + (r->position & r->mask) + IPCR_AHEAD);
}

/* Copy one record out and release it.  IPCR_TOO_LARGE if it is longer than `room`: it stays. */
static inline int ipcr_ring_try_read(struct ipcr_ring_reader *r, void *dst, uint64_t room, uint64_t *length,
                                     uint64_t *info)
{
    struct ipcr_record_view view;
    const int rc = ipcr_ring_next(r, &view);
    if (rc != IPCR_OK)
        return rc;
    *length = view.length;
    *info = view.info;
    if (view.length > room)
        return IPCR_TOO_LARGE;
    copy_out(dst, view.payload, view.length);
    ipcr_ring_consume(r, view.length);
    ipcr_ring_release(r);
    return IPCR_OK;
}

#endif

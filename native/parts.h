/* parts.h - messages made of pieces of memory, and messages larger than the ring.
 *
 * A message in parts is published part by part and released part by part, so that it streams through.  Each
 * part is a record, and each publication one store, as with any record.  What a death leaves behind:
 *
 *   sender, between parts      a message without its last part: the receiver gives it up when something else
 *                              comes, or the sender's end is found dead or closed
 *   receiver, between parts    parts without a beginning: the successor throws them away up to the next whole
 *                              message or first part, says where in `thrown_away` *before* it releases the last
 *                              one (P in docs/memory-model.md), and so the sender, which waits for that
 *                              release, knows that nobody has the message
 *
 * Giving up (timeout, signal) needs no store: whatever the sender sends next says it.  Only the last part
 * counts as a message, so that the numbers of a message given up are used again.
 */
#ifndef IPCR_PARTS_H
#define IPCR_PARTS_H

#include "ends.h"

/* A piece of a message.  All but the first begin at a multiple of IPCR_DATA_ALIGNMENT in memory; a message in
 * parts is put together at such a place. */
struct ipcr_piece {
    const char *data;
    uint64_t length;
};

/* The payload of a record at `position` begins so many bytes behind a multiple of the alignment.  (The data
 * area begins at a page, in every process.) */
static inline uint64_t ipcr_skew_at(uint64_t position)
{
    return (position + IPCR_RECORD_HEADER) & (IPCR_DATA_ALIGNMENT - 1);
}

static inline uint64_t ipcr_align_data(uint64_t at)
{
    return (at + IPCR_DATA_ALIGNMENT - 1) & ~(uint64_t)(IPCR_DATA_ALIGNMENT - 1);
}

/* Bytes of the message, with the gaps before its pieces. */
uint64_t ipcr_pieces_length(const struct ipcr_piece *pieces, uint64_t count, uint64_t skew);
/* Its bytes [from, from + n) to `to`; what stands there in gaps stays. */
void ipcr_pieces_copy(uint8_t *to, const struct ipcr_piece *pieces, uint64_t count, uint64_t skew, uint64_t from,
                      uint64_t n);

/* All of it, where somebody may read meanwhile, and finds out afterwards (edge V). */
void ipcr_pieces_write(uint8_t *to, const struct ipcr_piece *pieces, uint64_t count, uint64_t skew);

/* IPCR_OK when the receiver has released all that was sent, IPCR_FULL before.  In sending.c. */
int ipcr_everything_taken(struct ipcr_end *e);

#endif

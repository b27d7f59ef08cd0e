/* lanes.h - one producer's ring of messages, seen by everybody; and the producer's side of it.
 *
 *   L1: freed <= next <= freed + slots; a slot's sequence is in [next - slots, next)
 *   L2: payloads stand in the order of their sequences, in at most `capacity` bytes
 *   L3: `freed` is published before any slot or payload below it is written again
 *
 * A lane belongs to whoever holds its lock byte.  A successor goes on from the slots: `head` says where to look for the
 * last message that was published, that message says where its payload ends, and the first that is not freed says where
 * the room ends.  What a dead producer had begun to write stands in the slot of `next` and behind the last payload: it
 * is written again.
 *
 * Progress: wait-free, but for taking a lane.
 */
#ifndef IPCR_LANES_H
#define IPCR_LANES_H

#include "leases.h"
#include "parts.h"
#include "segment.h"

/* This process's view of a lane. */
struct ipcr_lane {
    ipcr_word32 mapped; /* 1: the two below are there */
    struct ipcr_slot *slots;
    uint8_t *data;
    struct ipcr_lane_words *words;
    uint64_t mask; /* of slots */
    uint32_t lap_shift;
};

static inline struct ipcr_slot *ipcr_slot_at(const struct ipcr_lane *l, uint64_t sequence)
{
    return &l->slots[sequence & l->mask];
}
static inline uint64_t ipcr_lap_at(const struct ipcr_lane *l, uint64_t sequence)
{
    return (sequence >> l->lap_shift) & IPCR_LAP_MASK;
}

/* Is the message of this number there (whatever became of it), by the word in its slot? */
static inline bool ipcr_is_there(const struct ipcr_lane *l, uint64_t sequence, uint64_t state)
{
    return state != 0 && ipcr_lap_of(state) == ipcr_lap_at(l, sequence);
}

/* Is it not there yet: was the slot never used, or has it the message of one lap before? */
static inline bool ipcr_is_yet_to_come(const struct ipcr_lane *l, uint64_t sequence, uint64_t state)
{
    return state == 0 || ((ipcr_lap_of(state) - ipcr_lap_at(l, sequence)) & IPCR_LAP_MASK) == IPCR_LAP_MASK;
}

/* For segment.c, naming.c and queue_stats.c. */
int ipcr_lanes_open(struct ipcr_segment *s);
void ipcr_lanes_close(struct ipcr_segment *s);
void ipcr_lanes_initialise(struct ipcr_segment *s);
bool ipcr_lanes_nothing_unread(struct ipcr_segment *s); /* registry lock held, or nobody else uses the segment */

/* The lane, mapped; IPCR_NOT_FOUND: never used.  The second with the registry lock held. */
int ipcr_lane_see(struct ipcr_segment *s, uint32_t index, struct ipcr_lane **out);
int ipcr_lane_see_locked(struct ipcr_segment *s, uint32_t index, struct ipcr_lane **out);

/* How far the lane has come: *next is how far at some moment of this call.  IPCR_CORRUPT when its words contradict its
 * slots; IPCR_AGAIN when it goes on too fast for us. */
int ipcr_lane_bounds(const struct ipcr_lane *l, uint64_t *freed, uint64_t *next);

/* What a producer process knows of its lane. */
#define IPCR_REMEMBERED_DEAD 256u
struct ipcr_producer {
    struct ipcr_lane *lane; /* NULL: none */
    uint32_t index;
    uint32_t next_mark;
    struct ipcr_hold hold;
    uint64_t capacity;
    uint64_t first;     /* sequence of the first message that was ours */
    uint64_t next;      /* sequence of the next message */
    uint64_t freed;     /* as published */
    uint64_t position;  /* where the next payload goes */
    uint64_t free_upto; /* payload room ends `capacity` behind this */
    uint64_t taken;      /* messages below it don't wait any more, for all that was seen; for the statistics */
    uint64_t high_water; /* as published */
    uint64_t deliveries, redeliveries, dead, bytes; /* of what was freed */
    uint64_t remembered; /* of the dead: the last so many, if it's more than there is room for */
    uint64_t dead_sequences[IPCR_REMEMBERED_DEAD];
};

/* Take a lane: IPCR_TAKEN when all are in use; IPCR_FROM_ERRNO(ENOSPC) when there is no memory for a new one.  Without
 * may_allocate only one that has its memory, and is empty: IPCR_NOT_FOUND when there is none. */
int ipcr_producer_take(struct ipcr_producer *p, struct ipcr_segment *s, bool may_allocate);
void ipcr_producer_give_back(struct ipcr_producer *p);

/* Room for a payload of this length?  IPCR_OK, IPCR_FULL, IPCR_TOO_LARGE or IPCR_CORRUPT. */
int ipcr_producer_room(struct ipcr_producer *p, uint64_t length);
static inline uint8_t *ipcr_producer_payload(const struct ipcr_producer *p)
{
    return p->lane->data + (p->position & (p->capacity - 1));
}
/* Make the message whose payload was written there visible (L); returns its sequence.  After IPCR_OK from room. */
uint64_t ipcr_producer_publish(struct ipcr_producer *p, uint64_t length, uint64_t info, uint64_t stamp,
                               uint64_t expires, uint32_t source);
/* The message whose end a producer without room must wait for. */
uint64_t ipcr_producer_obstacle(const struct ipcr_producer *p, uint64_t length);
/* What became of a message of ours: its phase.  Only the last IPCR_REMEMBERED_DEAD are remembered as IPCR_DEAD after their
 * slots moved on: IPCR_FREE for what may have been one of those before.  IPCR_NOT_FOUND: it wasn't ours. */
int ipcr_producer_outcome(const struct ipcr_producer *p, uint64_t sequence);

#endif

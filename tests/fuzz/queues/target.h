/* target.h - what is fuzzed of queues: a segment of arbitrary words, and a program of operations on it.
 *
 * The first byte of an input says what the segment is before the program begins:
 *   bit 0      pages of data in a lane: 1 or 4        bit 4      handles may spin
 *   bits 1-2   slots: 2, 4, 16, 64                    bit 5      reliable
 *   bit 3      it has a name                          bit 6      sequences begin just below 2^64
 *                                                     bit 7      a producer may have two lanes
 * and the second: bits 0-1 lanes (0: 3), bits 2-3 most deliveries (any, 1, 2, 254), bit 4 at most 3 messages.
 * Each byte then is an operation, modulo their number, and takes its arguments from the bytes behind it; bytes that are
 * missing are 0.  The segment is attached by the first operation that needs it: what the peer wrote before, it finds.
 */
#ifndef IPCR_TESTS_FUZZ_QUEUES_TARGET_H
#define IPCR_TESTS_FUZZ_QUEUES_TARGET_H

#include "input.h"
#include "queue.h"

enum {
    SETUP_LARGE = 1,
    SETUP_SLOTS = 2,   /* times 0 to 3 */
    SETUP_NAMED = 8,
    SETUP_SPIN = 16,
    SETUP_RELIABLE = 32,
    SETUP_NEAR_WRAP = 64,
    SETUP_TWO_LANES = 128,
};
enum { MOST_OPERATIONS = 64, MOST_LOOKS = 3, MOST_PAGES = 20 /* of the file */, LANES = 3 };
enum { HANDLES = 3, ATTACHED = 2, HELD = 6 };

/* Three handles: the first on one mapping, two on another.  Each is a producer and a consumer of its own, as if it were
 * a process; `held` are the leases that it got last, also those that are over. */
struct stage {
    uint8_t setup, options;
    struct ipcr_segment *segment[ATTACHED];
    struct ipcr_queue *queue[HANDLES];
    struct ipcr_lease held[HANDLES][HELD];
    uint32_t taken[HANDLES];  /* leases, in all */
    uint64_t last_id[HANDLES]; /* of what it put */
    uint32_t looks; /* by whatever may try a thousand times where words contradict each other: a few are enough */
};

static inline uint32_t place_of(uint32_t handle) { return handle == 0 ? 0 : 1; }

void stage_create(struct stage *stage); /* the segment that `setup` and `options` say, attached as the first handle's */
struct ipcr_segment *stage_segment(struct stage *stage, uint32_t place); /* attached if it can be, or NULL */
struct ipcr_queue *stage_queue(struct stage *stage, uint32_t handle);    /* opened if it can be, or NULL */
/* clean: it gives back what it has; otherwise its process dies. */
void stage_free(struct stage *stage, uint32_t handle, bool clean);
void stage_detach(struct stage *stage, uint32_t place);
void stage_hold(struct stage *stage, uint32_t handle, const struct ipcr_lease *lease);
struct ipcr_lease *stage_held(struct stage *stage, uint32_t handle, uint8_t pick); /* NULL: it never had one */

/* One operation.  Their numbers are what seeds are made of, so they stay; new ones go to the end. */
enum operation {
    OP_WORD, OP_HALF, OP_ANY_WORD, OP_SLOT, OP_STATE, OP_BYTES, OP_WORD_LATER, OP_SLOT_LATER, OP_LENGTH_LATER,
    OP_GEOMETRY, OP_TIME, OP_STORM,
    OP_PUT, OP_PUT_PIECES, OP_PUT_MANY, OP_TAKE_LANE, OP_ROOM, OP_OUTCOME,
    OP_LEASE, OP_GET, OP_GET_INTO, OP_LEASE_MANY, OP_LEASE_INTO, OP_NEXT_KEPT, OP_WAIT, OP_SPIN,
    OP_COPY, OP_ACK, OP_NACK, OP_EXTEND, OP_BURY, OP_KEEP, OP_REQUEUE,
    OP_TASK_DONE, OP_JOIN, OP_COUNTS, OP_STATS, OP_STATS_OF_FILE, OP_PURGE, OP_REPAIR, OP_SHUT, OP_CLOSE, OP_FREE,
    OP_CRASH, OP_DETACH, OPERATIONS
};

void peer_operation(enum operation op, struct input *in);                      /* writes of another process */
void put_operation(struct stage *stage, enum operation op, struct input *in);  /* queue.c's, and waits for it */
void take_operation(struct stage *stage, enum operation op, struct input *in); /* taking.c's */
void end_operation(struct stage *stage, enum operation op, struct input *in);  /* ending.c's: of a lease */
void life_operation(struct stage *stage, enum operation op, struct input *in); /* counts, repair, coming and going */

#endif

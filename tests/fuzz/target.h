/* target.h - what is fuzzed: an input is a segment of arbitrary bytes and a program of operations on it.
 *
 * The first byte says what the segment is before the program begins:
 *   bits 0-1   pages of data: 1, 2, 4; or a file that consists of the rest of the input, to look at and to attach
 *   bit 2      positions begin just below 2^64
 *   bit 3      it has a name
 *   bit 4      ends may spin
 * Each byte then is an operation, modulo their number, and takes its arguments from the bytes behind it; bytes that
 * are missing are 0.  The first operations may be the peer's, so that the segment is hostile before it is attached.
 */
#ifndef IPCR_TESTS_FUZZ_TARGET_H
#define IPCR_TESTS_FUZZ_TARGET_H

#include "ends.h"
#include "input.h"

enum {
    SETUP_PAGES = 3,
    SETUP_ARBITRARY = 3,
    SETUP_NEAR_WRAP = 4,
    SETUP_NAMED = 8,
    SETUP_SPIN = 16,
};
enum { MOST_OPERATIONS = 64, MOST_LOOKS = 2, MOST_PAGES = 5 /* of the file */ };

/* The two sides of one process, each through a mapping of its own. */
struct stage {
    uint8_t setup;
    struct ipcr_segment *segment[IPCR_SIDES];
    struct ipcr_end *end[IPCR_SIDES];
    uint32_t looks; /* by stats, which try 10,000 times where the marks are wrong: a few are enough for one input */
};

void stage_create(struct stage *stage); /* the segment that `setup` says, attached as the sender's */
/* The end of a side, attached, opened and taken if it can be; NULL if it can't. */
struct ipcr_end *stage_end(struct stage *stage, uint32_t side);
void stage_close(struct stage *stage, uint32_t side, bool clean);
void stage_detach(struct stage *stage, uint32_t side);

/* One operation.  Their numbers are what seeds are made of, so they stay; new ones go to the end. */
enum operation {
    OP_WORD, OP_ANY_WORD, OP_RECORD, OP_BYTES, OP_WORD_LATER, OP_LENGTH_LATER, OP_STORM,
    OP_SEND, OP_SEND_WAIT, OP_SEND_PIECES, OP_SEND_PARTS, OP_SEND_MANY, OP_BATCH, OP_ROOM, OP_FLUSH, OP_CLAIM,
    OP_COMMIT, OP_ABORT,
    OP_RECV, OP_RECV_SPIN, OP_RECV_WAIT, OP_RECV_MANY, OP_READING, OP_PARTS_BEGIN, OP_PARTS_READ, OP_DATA, OP_PEEK,
    OP_RELEASE, OP_SPIN,
    OP_TAKE_BACK, OP_PEER, OP_CLOSE, OP_CRASH, OP_DETACH, OP_DRAIN, OP_STATS, OP_STATS_OF_FILE, OP_HAND_OVER,
    OP_UNLINK, OP_REMOVE, OP_SECOND, OPERATIONS
};

void send_operation(struct stage *stage, enum operation op, struct input *in);    /* sending.c's */
void receive_operation(struct stage *stage, enum operation op, struct input *in); /* receiving.c's */
void life_operation(struct stage *stage, enum operation op, struct input *in);    /* ends.c's and segment.c's */
void peer_operation(enum operation op, struct input *in);                         /* writes of the other process */

#endif

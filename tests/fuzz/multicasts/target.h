/* target.h - what is fuzzed of multicasts: a segment of arbitrary words, and a program of operations on it.
 *
 * The first byte of an input says what the segment is before the program begins:
 *   bit 0      pages of data: 1 or 4                  bit 4      ends may spin
 *   bits 1-2   entries: 2, 4, 16, 64                  bit 5      numbers begin just below 2^62
 *   bit 3      it has a name                          bits 6-7   lossless, lossless with eviction, lossy, lossless
 * and the second: bits 0-1 max_lag (any, 1, 3, 40; lossless ones).
 * Each byte then is an operation, modulo their number, and takes its arguments from the bytes behind it; bytes that are
 * missing are 0.  The segment is attached by the first operation that needs it: what the peer wrote before, it finds.
 *
 * IPCR_MOST_SUBSCRIBERS is small here: the numbers run out, and the words behind the last cursor are entries.
 */
#ifndef IPCR_TESTS_FUZZ_MULTICASTS_TARGET_H
#define IPCR_TESTS_FUZZ_MULTICASTS_TARGET_H

#include "input.h"
#include "multicast.h"

enum {
    SETUP_LARGE = 1,
    SETUP_ENTRIES = 2, /* times 0 to 3 */
    SETUP_NAMED = 8,
    SETUP_SPIN = 16,
    SETUP_NEAR_END = 32, /* of the numbers that a publisher takes over */
    SETUP_POLICY = 64, /* times 0 to 3 */
};
enum { MOST_OPERATIONS = 64, MOST_LOOKS = 3, MOST_PAGES = 8 /* of the file */ };
enum { PUBLISHERS = 2, SUBSCRIBERS = 6, ATTACHED = 2 };
_Static_assert(SUBSCRIBERS > IPCR_MOST_SUBSCRIBERS, "else no joiner finds all numbers taken");

/* Two mappings: on each one publisher, and every second subscriber.  Each is an end of its own, as if it were a
 * process.  Of the publishers one at most is open: it has the lock byte. */
struct stage {
    uint8_t setup, options;
    struct ipcr_segment *segment[ATTACHED];
    struct ipcr_publisher *publisher[PUBLISHERS];
    struct ipcr_subscriber *subscriber[SUBSCRIBERS];
    uint32_t looks; /* by stats, which try a hundred times where words contradict each other: a few are enough */
};

static inline uint32_t place_of(uint32_t handle) { return handle % ATTACHED; }

/* What is subscribed to: bits that OP_SUBSCRIBE takes from the input, and a value for a start by number. */
enum {
    WANT_START = 3, /* enum ipcr_start; 3: as 0 */
    WANT_TO_LATEST = 4,
    WANT_OBSERVE = 8,
    WANT_TOPICS = 16, /* times 0 to 4: none, one, two, ... of `topics` */
};
enum { TOPICS = 5, TOPIC_TOO_LONG = TOPICS - 1 };
/* The last one is longer than any may be; the one before says another's number. */
extern struct ipcr_topic topics[TOPICS];

void stage_create(struct stage *stage); /* the segment that `setup` and `options` say, attached as the first place's */
struct ipcr_segment *stage_segment(struct stage *stage, uint32_t place);         /* attached if it can be, or NULL */
struct ipcr_publisher *stage_publisher(struct stage *stage, uint32_t handle);    /* opened if it can be, or NULL */
struct ipcr_subscriber *stage_subscriber(struct stage *stage, uint32_t handle);  /* the same, by what its number says */
void stage_subscribe(struct stage *stage, uint32_t handle, uint8_t want, uint64_t sequence);
/* clean: it gives back what it has; otherwise its process dies. */
void stage_free_publisher(struct stage *stage, uint32_t handle, bool clean);
void stage_free_subscriber(struct stage *stage, uint32_t handle, bool clean);
void stage_detach(struct stage *stage, uint32_t place);

/* One operation.  Their numbers are what seeds are made of, so they stay; new ones go to the end. */
enum operation {
    OP_WORD, OP_HALF, OP_ANY_WORD, OP_ENTRY, OP_MESSAGE, OP_CURSOR, OP_BYTES, OP_WORD_LATER, OP_ENTRY_LATER,
    OP_LENGTH_LATER, OP_GEOMETRY, OP_TIME, OP_STORM,
    OP_PUBLISH, OP_PUBLISH_PIECES, OP_PUBLISH_MANY, OP_CLAIM, OP_COMMIT, OP_ABORT, OP_ROOM, OP_PUBLISHER_LOOKS,
    OP_SUBSCRIBE, OP_RECV, OP_COPY, OP_RECV_MANY, OP_PEEK, OP_RELEASE, OP_WAIT, OP_SUBSCRIBER_LOOKS,
    OP_STATS, OP_STATS_OF_FILE, OP_CLOSE_PUBLISHER, OP_CLOSE_SUBSCRIBER, OP_FREE_PUBLISHER, OP_FREE_SUBSCRIBER,
    OP_CRASH_PUBLISHER, OP_CRASH_SUBSCRIBER, OP_DETACH, OP_UNLINK,
    OP_LAPS /* the peer's */, OPERATIONS
};

void peer_operation(enum operation op, struct input *in);                           /* writes of another process */
void publish_operation(struct stage *stage, enum operation op, struct input *in);   /* the publisher's */
void subscribe_operation(struct stage *stage, enum operation op, struct input *in); /* subscribers' */
void life_operation(struct stage *stage, enum operation op, struct input *in);      /* stats, coming and going */

#endif

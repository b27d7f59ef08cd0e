/* format.h - every byte that lives in shared memory, and nothing else.
 *
 * A segment is one file:  [ header, header_bytes ][ data, capacity bytes ]   (queues: queue_format.h; multicast: multicast_format.h)
 * The data area is mapped twice, back to back, so that every record is contiguous in virtual memory.
 *
 * Rules: fixed-width types, no pointers (offsets and positions only), little-endian.  The geometry (the
 * first block) is written before the segment can be found, and never again; every process copies it to
 * private memory at attach and never re-reads it.  Each other word names its writer and its readers.
 * Byte offsets and validity conditions for humans: docs/shm-format.md.
 */
#ifndef IPCR_FORMAT_H
#define IPCR_FORMAT_H

#include "atomics.h"

#define IPCR_MAGIC UINT64_C(0x315347524350490a) /* "\nIPCRGS1" as bytes: the newline catches text-mode copies */
#define IPCR_FORMAT_VERSION 1u
#define IPCR_BYTE_ORDER UINT32_C(0x01020304)

/* Two lines of 64: the adjacent-line prefetcher pulls lines in pairs. */
#define IPCR_LINE 128

/* Larger than any machine's memory, small enough that no sum of sizes overflows. */
#define IPCR_MAX_CAPACITY (UINT64_C(1) << 46)

/* Unfinished segments where the file system has no O_TMPFILE; never a legal name. */
#define IPCR_TEMPORARY_PREFIX ".ipc-unfinished-"

enum ipcr_kind {
    IPCR_KIND_RING = 1, IPCR_KIND_CHANNEL = 2, IPCR_KIND_QUEUE = 3, IPCR_KIND_RELIABLE = 4, IPCR_KIND_MULTICAST = 5
};

/* header.flags */
#define IPCR_FLAG_ASYMMETRIC 1u /* whoever parks runs membarrier; registered publishers need no fence */
#define IPCR_FLAG_NAMED 2u

/* Word-sized header words first, so that an attacher of any version can read magic and version. */
struct ipcr_geometry {
    uint64_t magic;
    uint32_t format_version;
    uint32_t byte_order;
    uint64_t layout_hash;  /* of every offset below: catches a build with other sizes */
    uint32_t kind;         /* enum ipcr_kind */
    uint32_t flags;
    uint64_t header_bytes; /* offset of the data area; a multiple of the page size */
    uint64_t capacity;     /* bytes of data (of queues: in each lane); a power of two, a multiple of the page size */
    uint64_t total_bytes;  /* header_bytes + capacity; of queues, + all lanes */
    uint64_t start_position; /* where both positions began (0 but in tests) */
    uint64_t uuid[2];      /* random: tells a re-created segment from its predecessor */
    uint64_t time_namespace; /* inode of /proc/self/ns/time of the creator; 0 when unknown */
    uint32_t creator_pid;  /* for people; proves nothing */
    uint32_t lanes;        /* queues: how many.  Multicast: entries of its index.  Else 0 */
};

/* An exclusive end.  Writer: whoever holds the end's role lock byte.  Readers: everybody.
 * state = generation << 2 | IPCR_END_*; valid when the low bits are one of the three. */
enum ipcr_end_state { IPCR_END_UNTAKEN = 0, IPCR_END_TAKEN = 1, IPCR_END_CLOSED = 2 };
#define IPCR_END_MASK 3u

/* What one side must look at once per operation of its own: the *other* side's wish to be woken and
 * the state of its end.  Rarely written, so the line stays shared. */
struct ipcr_side_signals {
    ipcr_word32 parked;     /* 1: a waiter of this side sleeps on this very word (a futex).
                               Writer: this side (1), the other side's waker (exchange to 0). */
    ipcr_word32 end_state;
    ipcr_word32 taker_pid;  /* for error messages; proves nothing */
    ipcr_word32 pinned_cpu; /* 1 + the only CPU its taker may run on, 0 for many: two ends on one CPU don't spin */
    ipcr_word64 wake_at;    /* writer side only: wake me once read_position has reached this */
    uint8_t pad0[64 - 24];
    /* A line of their own: the peer looks at the words above with every message. */
    ipcr_word64 parked_ns;  /* statistics: time this side has slept, waiting */
    ipcr_word64 high_water; /* statistics: largest backlog in bytes that this side has seen */
    uint8_t pad1[IPCR_LINE - 64 - 16];
};

/* What belongs to a position.  Two of them, written in turn before the position is published, so that
 * one always matches the published position, whenever its writer dies. */
struct ipcr_mark {
    ipcr_word64 position;
    ipcr_word64 sequence; /* messages that ended before the position, since the segment began */
    ipcr_word64 bytes;    /* payload bytes before it */
};

/* Writer: this side alone.  Reader: the other side, which polls the position; so nothing else may be
 * written to its line. */
struct ipcr_side_position {
    ipcr_word64 position; /* free-running; compared by unsigned difference only */
    uint8_t pad[IPCR_LINE - 8];
};

/* Writer: this side alone.  Readers: a successor, and observers. */
struct ipcr_side_marks {
    struct ipcr_mark mark[2];
    /* Receiver's side only: the position behind the last part that was thrown away because its message's
     * beginning had gone with a dead receiver; IPCR_NOWHERE before that.  Read by the sender that waits for
     * this very part to be taken. */
    ipcr_word64 thrown_away;
    uint8_t pad[IPCR_LINE - 56];
};
#define IPCR_NOWHERE UINT64_C(1) /* no position: those are multiples of 8 */

enum ipcr_side { IPCR_SENDER = 0, IPCR_RECEIVER = 1, IPCR_SIDES = 2 };

struct ipcr_header {
    struct ipcr_geometry geometry;
    uint8_t pad[2 * IPCR_LINE - sizeof(struct ipcr_geometry)];
    struct ipcr_side_position at[IPCR_SIDES];     /* write position, read position */
    struct ipcr_side_signals signals[IPCR_SIDES]; /* the sender's, the receiver's */
    struct ipcr_side_marks marks[IPCR_SIDES];
};

_Static_assert(sizeof(struct ipcr_geometry) == 96, "format 1");
_Static_assert(sizeof(struct ipcr_side_position) == IPCR_LINE, "format 1");
_Static_assert(sizeof(struct ipcr_side_signals) == IPCR_LINE, "format 1");
_Static_assert(offsetof(struct ipcr_geometry, format_version) == 8, "readable by every version");
_Static_assert(offsetof(struct ipcr_header, at) == 256, "format 1");
_Static_assert(offsetof(struct ipcr_header, signals) == 512, "format 1");
_Static_assert(offsetof(struct ipcr_header, marks) == 768, "format 1");
_Static_assert(sizeof(struct ipcr_side_marks) == IPCR_LINE, "format 1");
_Static_assert(sizeof(struct ipcr_header) == 1024, "format 1");

/* A record: this header, then length bytes of payload, padded to 8.  Written by the sender before its
 * position is published; read by the receiver after.  length is loaded once and checked. */
struct ipcr_record {
    ipcr_word64 length;
    ipcr_word64 info; /* type (32 bits) | encoding (8) << 32 | enum ipcr_part (2) << 40 | 0 */
};
#define IPCR_RECORD_HEADER 16u
_Static_assert(sizeof(struct ipcr_record) == IPCR_RECORD_HEADER, "format 1");

/* A message larger than the ring travels in parts, one record each.  The payload of the first begins with the
 * message's length, 8 bytes; every other record of the ring is a whole message.  Parts stand in a row, and a
 * message whose last part doesn't come (another message, or another first part, comes instead) was given up. */
enum ipcr_part { IPCR_WHOLE = 0, IPCR_FIRST = 1, IPCR_MIDDLE = 2, IPCR_LAST = 3 };
#define IPCR_PART_PREFIX 8u

/* What the payload is; docs/shm-format.md has the layouts.  The core only carries the number. */
enum ipcr_encoding { IPCR_BYTES = 0, IPCR_PICKLE = 1, IPCR_ARRAY = 2, IPCR_PICKLE_BUFFERS = 3 };

/* Where the data of an array, and each buffer of a pickle, begin: at the next multiple of this in memory. */
#define IPCR_DATA_ALIGNMENT 64u
#define IPCR_INFO(type, encoding) ((uint64_t)(type) | (uint64_t)(encoding) << 32)
#define IPCR_INFO_TYPE(info) ((uint32_t)(info))
#define IPCR_INFO_ENCODING(info) ((uint32_t)((info) >> 32) & 0xffu)
#define IPCR_INFO_PART(info) ((uint32_t)((info) >> 40)) /* valid: an ipcr_part; the bits above are 0 */
#define IPCR_INFO_OF_PART(info, part) ((info) | (uint64_t)(part) << 40)

/* Lock bytes, far beyond the end of the file (OFD locks need no bytes there). */
#define IPCR_LOCK_BASE (INT64_C(1) << 40)
#define IPCR_LOCK_PRESENCE (IPCR_LOCK_BASE + 0)
#define IPCR_LOCK_NAME (IPCR_LOCK_BASE + 1)
#define IPCR_LOCK_ROLE(side) (IPCR_LOCK_BASE + 16 + 2 * (side))
#define IPCR_LOCK_CLAIM(side) (IPCR_LOCK_BASE + 17 + 2 * (side))

static inline uint64_t ipcr_padded(uint64_t length) { return (length + 7) & ~UINT64_C(7); }

/* FNV-1a over the numbers that two builds must agree on. */
static inline uint64_t ipcr_layout_hash(void)
{
    const uint64_t facts[] = {
        sizeof(struct ipcr_header), offsetof(struct ipcr_header, at), offsetof(struct ipcr_header, signals),
        sizeof(struct ipcr_side_position), sizeof(struct ipcr_side_signals), sizeof(struct ipcr_record),
        offsetof(struct ipcr_header, marks), sizeof(struct ipcr_mark), offsetof(struct ipcr_side_signals, wake_at),
        offsetof(struct ipcr_side_signals, end_state), (uint64_t)IPCR_LOCK_BASE,
        offsetof(struct ipcr_side_marks, thrown_away),
    };
    uint64_t hash = UINT64_C(0xcbf29ce484222325);
    for (size_t i = 0; i < sizeof facts / sizeof facts[0]; i++) {
        hash ^= facts[i];
        hash *= UINT64_C(0x100000001b3);
    }
    return hash;
}

#endif

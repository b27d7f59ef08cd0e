/* multicast_format.h - what a multicast keeps in shared memory; beside format.h, whose rules hold here too.
 *
 * Its segment:  [ header ][ entries ][ data, capacity bytes ]   header_bytes reaches to the data, as everywhere.
 *
 * A message is an entry of the index, and the payload that it leads to.  Message n stands in entry n modulo their number,
 * and is there once `published` has passed n: one store.  Whatever is below `oldest` may be overwritten at any time.
 */
#ifndef IPCR_MULTICAST_FORMAT_H
#define IPCR_MULTICAST_FORMAT_H

#include "format.h"

#ifndef IPCR_MOST_SUBSCRIBERS /* the explorer has fewer: each is memory to be put back */
#define IPCR_MOST_SUBSCRIBERS 1024u
#endif
#define IPCR_ENTRY_BYTES 64u
#define IPCR_MOST_ENTRIES (UINT32_C(1) << 30)
#define IPCR_MOST_TOPIC 1024u /* bytes of a topic's name */

/* Writer: the publisher, before `published`.  Readers load each word once, check it, and, where the message may have been
 * overwritten meanwhile, look at `oldest` (or at their own state) before they believe it. */
struct ipcr_entry {
    ipcr_word64 sequence;
    ipcr_word64 position; /* of the topic's name, free-running, in the data; the payload follows at the next multiple of 8 */
    ipcr_word64 length;   /* of the payload */
    ipcr_word64 info;     /* topic's number (32 bits; 0: none) | encoding << 32 */
    ipcr_word64 bytes;    /* of payload, in all messages before this one */
    ipcr_word32 topic_length;
    uint32_t reserved[5];
};
_Static_assert(sizeof(struct ipcr_entry) == IPCR_ENTRY_BYTES, "format 1");

/* A subscriber.  The writer of all words is whoever holds the lock byte of this number, but for one transition: the
 * publisher takes JOINING or ACTIVE to EVICTED, by compare-and-swap, of one that died or lags too far behind.
 *
 *   FREE -> JOINING   no `next` yet: no message may be overwritten that isn't free already (edge J)
 *   JOINING -> ACTIVE `next` is there, and not below the `oldest` that was read behind the fence
 *   ACTIVE -> FREE    it left
 */
enum ipcr_cursor_state { IPCR_CURSOR_FREE = 0, IPCR_CURSOR_JOINING = 1, IPCR_CURSOR_ACTIVE = 2, IPCR_CURSOR_EVICTED = 3 };
#define IPCR_CURSOR_MASK 3u

struct ipcr_cursor {
    ipcr_word32 state;    /* generation << 2 | enum ipcr_cursor_state */
    ipcr_word32 pid;      /* for people; proves nothing */
    ipcr_word64 next;     /* the message that is to be read next; those below it are the publisher's */
    ipcr_word64 received; /* statistics, as is the next one */
    ipcr_word64 lost;
    ipcr_word64 high_water; /* most messages that any subscriber of this number was behind, as it noticed */
    uint8_t pad[IPCR_LINE - 40];
};
_Static_assert(sizeof(struct ipcr_cursor) == IPCR_LINE, "format 1");

enum ipcr_policy { IPCR_LOSSLESS = 0, IPCR_LOSSY = 1 };
enum ipcr_on_laggard { IPCR_WAIT_FOR_LAGGARDS = 0, IPCR_EVICT_LAGGARDS = 1 };

/* Written before the segment can be found, and copied at attach, as the geometry is. */
struct ipcr_multicast_options {
    uint64_t policy;     /* enum ipcr_policy */
    uint64_t on_laggard; /* enum ipcr_on_laggard */
    uint64_t max_lag;    /* messages; 0: as many as there is room for */
    uint64_t reserved[5];
};

struct ipcr_multicast_header {
    struct ipcr_geometry geometry;
    uint8_t pad0[IPCR_LINE - sizeof(struct ipcr_geometry)];
    struct ipcr_multicast_options options;
    uint8_t pad1[IPCR_LINE - sizeof(struct ipcr_multicast_options)];
    /* Writer: whoever holds the publisher's role byte. */
    ipcr_word64 published; /* the next message's sequence number */
    ipcr_word64 oldest;    /* its *intent*: what is below may be overwritten.  Never goes back, whoever publishes */
    uint8_t pad2[IPCR_LINE - 16];
    /* Rarely written, looked at with every message. */
    ipcr_word32 readers_parked;   /* gate (gates.h): subscribers that wait for a message */
    ipcr_word32 publisher_state;  /* generation << 2 | enum ipcr_end_state.  Writer: the role byte's holder */
    ipcr_word32 publisher_pid;    /* for people */
    ipcr_word32 room_parked;      /* 1: the publisher sleeps on this word (waiting.h), until ... */
    ipcr_word32 blocked_by;       /* ... this subscriber ... */
    ipcr_word32 subscribers_high; /* numbers from here on were never used.  Only upwards, by compare-and-swap */
    ipcr_word64 wake_at;          /* ... has come so far, or has gone */
    uint8_t pad3[64 - 32];
    ipcr_word64 parked_ns;        /* statistics: time the publishers have slept, waiting for room */
    ipcr_word64 evicted;          /* statistics: subscribers evicted because they were too far behind */
    uint8_t pad4[64 - 16];
    struct ipcr_cursor cursor[IPCR_MOST_SUBSCRIBERS];
};
_Static_assert(offsetof(struct ipcr_multicast_header, published) == 2 * IPCR_LINE, "format 1");
_Static_assert(offsetof(struct ipcr_multicast_header, readers_parked) == 3 * IPCR_LINE, "format 1");
_Static_assert(offsetof(struct ipcr_multicast_header, cursor) == 4 * IPCR_LINE, "format 1");

#define IPCR_LOCK_PUBLISHER (IPCR_LOCK_BASE + 16)
#define IPCR_LOCK_SUBSCRIBER(i) (IPCR_LOCK_BASE + 4096 + (int64_t)(i))

static inline uint64_t ipcr_multicast_header_bytes(uint32_t entries, uint64_t page)
{
    const uint64_t all = sizeof(struct ipcr_multicast_header) + (uint64_t)entries * IPCR_ENTRY_BYTES;
    return (all + page - 1) / page * page;
}

static inline uint64_t ipcr_multicast_layout_hash(void)
{
    return ipcr_layout_hash() * 37 + sizeof(struct ipcr_entry) * 1000003 + sizeof(struct ipcr_cursor) * 1009 +
           offsetof(struct ipcr_multicast_header, cursor) * 101 + offsetof(struct ipcr_entry, topic_length) * 11 +
           (uint64_t)IPCR_LOCK_SUBSCRIBER(0) * 3 + sizeof(struct ipcr_multicast_options);
}

static inline struct ipcr_entry *ipcr_entries(struct ipcr_multicast_header *header)
{
    return (struct ipcr_entry *)(void *)(header + 1);
}

#endif

/* queue_format.h - what queues keep in shared memory; beside format.h, whose rules hold here too.
 *
 * A queue's segment:  [ header, header_bytes ][ lane 0 ][ lane 1 ] ... each lane [ slots ][ data, capacity bytes ]
 * The file has its full size from the start, but a lane's memory is reserved only when a producer takes it for the
 * first time.  In memory a lane's data stands twice, back to back, so that every payload is contiguous.
 *
 * A message is a slot and the payload that it leads to.  It is there once the slot's `state` says READY in the lap of
 * its sequence number, by one store; everything that happens to it later is one compare-and-swap of that word.
 */
#ifndef IPCR_QUEUE_FORMAT_H
#define IPCR_QUEUE_FORMAT_H

#include "format.h"

/* state, from the top: lap 19, phase 3, holder 10, deliveries 8, when 24.
 *
 *   FREE    never used (0 in all fields: sequences begin at one lap)
 *   READY   may be taken from `when` on (IPCR_NO_TIME: now); `deliveries` so far
 *           `holder` is IPCR_REQUEUED in one that was requeued: whoever saw it expired before finds another word
 *   LEASED  by `holder`, until `when` (IPCR_NO_TIME: until it dies); `deliveries` with this one
 *   ACKED   done with
 *   DEAD    done with, without having been acknowledged
 *   KEPT    not to be delivered any more; `holder` says why (enum ipcr_kept); waits to be moved, requeued or purged
 *
 * Writer of READY in a new lap: the lane's producer, when the slot's last message is ACKED or DEAD.  Every other
 * change: whoever's compare-and-swap succeeds. */
enum ipcr_phase { IPCR_FREE = 0, IPCR_READY = 1, IPCR_LEASED = 2, IPCR_ACKED = 3, IPCR_DEAD = 4, IPCR_KEPT = 5 };
enum ipcr_kept { IPCR_KEPT_DELIVERIES = 1, IPCR_KEPT_EXPIRED = 2 };

#define IPCR_REQUEUED 1u
#define IPCR_LAP_BITS 19
#define IPCR_MOST_HOLDERS 1023u /* slot numbers 0 to 1,022 */
#define IPCR_MOST_DELIVERIES 254u
#define IPCR_NO_TIME UINT32_C(0xffffff)
#define IPCR_TIME_UNIT_NS UINT64_C(100000000)
#define IPCR_MOST_LANES 1024u
#define IPCR_SLOT_BYTES 64u
#define IPCR_MOST_SLOTS (UINT64_C(1) << 30)
#define IPCR_MOST_LANES_EACH 16u

/* Written by the producer before it stores `state`; read by whoever has leased the message, and by nobody else but as
 * a hint.  Each word is loaded once, and checked. */
struct ipcr_slot {
    ipcr_word64 state;
    ipcr_word64 sequence;
    ipcr_word64 position; /* of its payload, free-running, in the lane's data */
    ipcr_word64 stamp;    /* CLOCK_MONOTONIC at put: between lanes, the oldest goes first */
    ipcr_word64 length;
    ipcr_word64 info;     /* as in a ring's record: type | encoding << 32 */
    ipcr_word64 expires;  /* CLOCK_MONOTONIC ns; 0: never */
    ipcr_word32 source;   /* pid of its producer, who may be gone and its lane another's */
    ipcr_word32 forgiven; /* deliveries that don't count against the most; written by whoever requeues it, leased */
};
_Static_assert(sizeof(struct ipcr_slot) == IPCR_SLOT_BYTES, "format 1");

/* What the messages below a sequence came to.  Two, written in turn before `freed`, as a ring's marks are. */
struct ipcr_lane_mark {
    ipcr_word64 freed;
    ipcr_word64 deliveries;   /* leases granted */
    ipcr_word64 redeliveries; /* of them, those that were not a message's first */
    ipcr_word64 dead;         /* messages that ended DEAD */
    ipcr_word64 bytes;        /* of payload */
};

struct ipcr_lane_words {
    /* Hints of the consumers, and repairable: they may lag behind, and a process may die between a change and them. */
    ipcr_word64 take;    /* no message below it can be taken.  Writer: consumers, by compare-and-swap; edge N */
    ipcr_word64 settled; /* every message below it is done.  Writer: the same, only upwards */
    uint8_t pad0[IPCR_LINE - 16];
    /* Writer: whoever holds the lane's lock byte. */
    ipcr_word64 head;    /* hint: sequence of the next message; may be behind, never ahead: stored after it, with release */
    ipcr_word64 freed;   /* slots below it are free for the next lap; published after its mark */
    struct ipcr_lane_mark mark[2];
    uint8_t pad1[IPCR_LINE - 16 - 80];
    /* Rarely written. */
    ipcr_word32 used;          /* 1: its memory is reserved.  Writer: the lane's producer, once */
    ipcr_word32 producer_pid;  /* for people; proves nothing */
    ipcr_word32 room_parked;   /* gate (gates.h): producers that wait for room */
    ipcr_word32 outcome_parked;/* gate: threads that wait for a receipt */
    ipcr_word64 room_at;       /* the message whose end they wait for */
    ipcr_word64 outcome_at;    /* the same; IPCR_ANY_OUTCOME for several */
    /* Statistics.  Writer: the lane's producer. */
    ipcr_word64 parked_ns;     /* time that producers have slept, waiting for room */
    ipcr_word64 high_water;    /* most messages from the first that waited to the newest, as producers noticed */
    uint8_t pad2[IPCR_LINE - 48];
};
_Static_assert(sizeof(struct ipcr_lane_words) == 3 * IPCR_LINE, "format 1");
#define IPCR_ANY_OUTCOME UINT64_MAX

/* A consumer process.  Writer: whoever holds the lock byte of this number. */
struct ipcr_holder_words {
    ipcr_word32 active;   /* 1: leases of this holder may exist.  Back to 0 only when none is left */
    ipcr_word32 pid;      /* for people */
    ipcr_word64 finished; /* calls of task_done, over all processes that ever had this number; never reset */
};
_Static_assert(sizeof(struct ipcr_holder_words) == 16, "format 1");

/* Written before the segment can be found, and copied at attach, as the geometry is. */
struct ipcr_queue_options {
    uint64_t slots;          /* in each lane; a power of two, at least 2 */
    uint64_t maxsize;        /* messages in all; 0: as many as fit */
    uint64_t lease_ns;       /* 0: until the holder dies */
    uint64_t max_deliveries; /* 0: any number */
    uint64_t lanes_each;     /* lanes that one producer process takes */
    uint64_t reserved[3];
};

struct ipcr_queue_header {
    struct ipcr_geometry geometry;
    uint8_t pad0[IPCR_LINE - sizeof(struct ipcr_geometry)];
    struct ipcr_queue_options options;
    uint8_t pad1[IPCR_LINE - sizeof(struct ipcr_queue_options)];
    /* What every put looks at; rarely written. */
    ipcr_word32 consumers_parked; /* gate: consumers that wait for a message */
    ipcr_word32 shutdown;         /* enum ipcr_shutdown, only upwards */
    ipcr_word32 room_parked;      /* gate: producers that wait for fewer than maxsize messages */
    ipcr_word32 finished_parked;  /* gate: threads in join() */
    ipcr_word32 lanes_high;       /* lanes from here on were never used.  Only upwards, by compare-and-swap */
    ipcr_word32 holders_high;     /* the same of holders */
    uint8_t pad2[IPCR_LINE - 24];
    ipcr_word64 returns;          /* messages that became READY again: what was seen before may be out of date */
    uint8_t pad3[IPCR_LINE - 8];
    struct ipcr_holder_words holders[IPCR_MOST_HOLDERS + 1];
    struct ipcr_lane_words lane[];
};
enum ipcr_shutdown { IPCR_OPEN = 0, IPCR_DRAINING = 1, IPCR_SHUT = 2 };
_Static_assert(offsetof(struct ipcr_queue_header, lane) == 4 * IPCR_LINE + 16384, "format 1");

#define IPCR_LOCK_LANE(i) (IPCR_LOCK_BASE + 4096 + (int64_t)(i))
#define IPCR_LOCK_HOLDER(i) (IPCR_LOCK_BASE + 8192 + (int64_t)(i))

static inline uint64_t ipcr_to_pages(uint64_t bytes, uint64_t page) { return (bytes + page - 1) / page * page; }

static inline uint64_t ipcr_queue_header_bytes(uint32_t lanes, uint64_t page)
{
    return ipcr_to_pages(sizeof(struct ipcr_queue_header) + lanes * sizeof(struct ipcr_lane_words), page);
}

static inline uint64_t ipcr_lane_bytes(uint64_t slots, uint64_t capacity, uint64_t page)
{
    return ipcr_to_pages(slots * IPCR_SLOT_BYTES, page) + capacity;
}

static inline uint64_t ipcr_queue_layout_hash(void)
{
    return ipcr_layout_hash() * 31 + sizeof(struct ipcr_slot) * 1000003 + offsetof(struct ipcr_queue_header, lane) * 101 +
           sizeof(struct ipcr_lane_words) * 1009 + (uint64_t)IPCR_LOCK_LANE(0) + (uint64_t)IPCR_LOCK_HOLDER(0) * 3 +
           sizeof(struct ipcr_queue_options);
}

#endif

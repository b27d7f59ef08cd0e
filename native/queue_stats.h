/* queue_stats.h - a queue's numbers, readable from any process, also while its users hang.
 *
 * All of them are derived from the slots and from what the producers noted when they freed some: no counter can be wrong
 * after a death.  At a quiet point, for each lane:  put = acknowledged + dead + ready + leased + kept.
 */
#ifndef IPCR_QUEUE_STATS_H
#define IPCR_QUEUE_STATS_H

#include "segment.h"

struct ipcr_lane_stats {
    uint64_t put;
    uint64_t delivered;    /* leases granted */
    uint64_t redelivered;  /* of them, those that were not the message's first */
    uint64_t acknowledged;
    uint64_t dead;         /* thrown away, or moved to a dead-letter queue */
    uint64_t ready;
    uint64_t leased;
    uint64_t kept;
    uint64_t bytes;        /* of payload, put */
    uint64_t bytes_left;   /* of them, those of messages that are not done */
    uint64_t blocking_id;  /* the oldest message that is not done, if any is leased or kept; else 0 */
    uint64_t blocking_ns;  /* its age */
    uint64_t parked_ns;    /* time that producers have slept, waiting for room */
    uint64_t high_water;   /* most messages from the first that waited to the newest, as they noticed */
    uint32_t blocking_pid; /* its holder */
    uint32_t producer_pid;
    uint32_t used;
    uint32_t alive; /* somebody has the lane */
};

/* A consumer that has a number.  alive: it holds it still. */
struct ipcr_holder_stats {
    uint32_t pid;
    uint32_t alive;
};

struct ipcr_queue_stats {
    uint32_t kind;
    uint32_t creator_pid;
    uint64_t capacity; /* of each lane */
    uint32_t lanes;
    uint32_t present;
    uint32_t named;
    uint32_t shutdown;
    uint32_t holders_count;
    struct ipcr_holder_stats holders[64]; /* the first so many */
    struct ipcr_queue_options options;
};

/* Fills `lanes` up to `most`.  The file is only read; its user need not be present. */
int ipcr_queue_stats(const struct ipcr_segment *segment, struct ipcr_queue_stats *out, struct ipcr_lane_stats *lanes,
                     uint32_t most);
int ipcr_queue_stats_of_file(int fd, struct ipcr_queue_stats *out, struct ipcr_lane_stats *lanes, uint32_t most);

#endif

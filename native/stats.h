/* stats.h - what a segment says about itself, read from any process, attached or not. */
#ifndef IPCR_STATS_H
#define IPCR_STATS_H

#include "segment.h"

struct ipcr_side_stats {
    uint64_t messages; /* sent, or received */
    uint64_t bytes;    /* of payload */
    uint64_t parked_ns;
    uint64_t high_water;
    uint32_t state; /* enum ipcr_end_state */
    uint32_t generation;
    uint32_t pid;   /* of its last taker */
    uint32_t alive; /* its role byte is held */
    uint32_t claimed;
    uint32_t reserved;
};

struct ipcr_stats {
    uint32_t kind;
    uint32_t creator_pid;
    uint64_t capacity;
    uint64_t total_bytes;
    uint64_t uuid[2];
    uint32_t present; /* somebody is attached */
    uint32_t named;
    struct ipcr_side_stats side[IPCR_SIDES];
};

/* Maps read-only, takes no presence.  Statuses as for attach. */
int ipcr_stats_of_file(int fd, struct ipcr_stats *out);
int ipcr_stats_of_segment(const struct ipcr_segment *segment, struct ipcr_stats *out);

#endif

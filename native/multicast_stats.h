/* multicast_stats.h - a multicast's numbers, readable from any process, also while its users hang.
 *
 * No counters but the messages' own numbers: what was published is `published`, and each subscriber's lag is how far its
 * cursor is behind.
 */
#ifndef IPCR_MULTICAST_STATS_H
#define IPCR_MULTICAST_STATS_H

#include "segment.h"

struct ipcr_subscriber_stats {
    uint32_t number;
    uint32_t pid;
    uint32_t state; /* enum ipcr_cursor_state */
    uint32_t alive; /* its lock byte is held */
    uint64_t next;  /* the message that it reads next, counted from 0 */
    uint64_t received;
    uint64_t lost;
};

struct ipcr_multicast_stats {
    uint32_t creator_pid;
    uint32_t present;
    uint32_t named;
    uint32_t entries;
    uint64_t capacity;
    uint64_t published; /* messages, ever */
    uint64_t oldest;    /* number of the oldest that is kept, from 0 */
    uint64_t bytes;     /* of payload, published */
    uint64_t parked_ns; /* the publishers' */
    uint64_t evicted;   /* subscribers, for being too far behind */
    uint64_t high_water; /* most messages that a subscriber was behind, as it noticed */
    uint32_t publisher_pid;
    uint32_t publisher_state; /* enum ipcr_end_state */
    uint32_t publisher_alive;
    uint32_t subscribers; /* how many entries of the table were filled */
    struct ipcr_multicast_options options;
};

/* Fills `subscribers` with those that have not left, up to `most`.  The file is only read; nobody need be present. */
int ipcr_multicast_stats(const struct ipcr_segment *segment, struct ipcr_multicast_stats *out,
                         struct ipcr_subscriber_stats *subscribers, uint32_t most);
int ipcr_multicast_stats_of_file(int fd, struct ipcr_multicast_stats *out, struct ipcr_subscriber_stats *subscribers,
                                 uint32_t most);

#endif

/* multicast.h - one publisher, many subscribers, one copy of each message.
 *
 *   M1: published - oldest <= entries, and the payloads of [oldest, published) stand in at most `capacity` bytes
 *   M2: nothing at or above `oldest` is overwritten
 *   M3: lossless: `oldest` has been stored, and every cursor been seen at or above it behind a full fence, before
 *       anything below it is overwritten
 *
 * Edges (docs/memory-model.md):
 *   B  entry and payload, then published (release)           ->  acquire by a subscriber
 *   C  loads of the message, then next (release)             ->  acquire by the publisher, which overwrites
 *   V  oldest, fence, payload  |  copy, fence, oldest        lossy subscribers and observers
 *      EVICTED, fence, payload |  copy, fence, own state     subscribers that may be evicted alive
 *   J  JOINING, full fence, oldest  |  oldest, full fence, all states
 *      Either the joiner reads the new `oldest`, and starts there, or the publisher sees it joining, and waits.
 *
 * Crash: a message exists once `published` has passed it.  A publisher that dies leaves what it had begun below `oldest`
 * or behind the last payload; its successor never lowers `oldest`, and uses the unpublished number again.  A subscriber
 * that dies leaves a cursor whose lock byte is free: the publisher evicts it when it is in the way.
 */
#ifndef IPCR_MULTICAST_H
#define IPCR_MULTICAST_H

#include "gates.h"
#include "multicast_format.h"
#include "parts.h"
#include "seats.h"
#include "segment.h"
#include "transfer.h"

/* What a name of a topic is told by first; 0 only for none. */
uint32_t ipcr_topic_number(const char *name, uint64_t length);

struct ipcr_topic {
    const char *name;
    uint64_t length;
    uint32_t number;
};

/* --- publishing ---------------------------------------------------------------------------------------------------- */

struct ipcr_laggard {
    uint32_t subscriber; /* its number; IPCR_NO_SUBSCRIBER: none */
    uint32_t pid;
    uint64_t behind;     /* messages */
    uint64_t since_ns;   /* it has not moved for so long, at least */
    uint64_t must_reach; /* number of the message, counted from 0, up to which all must have read */
};
#define IPCR_NO_SUBSCRIBER UINT32_MAX

struct ipcr_publisher {
    struct ipcr_seat seat;
    struct ipcr_segment *segment;
    struct ipcr_multicast_header *header;
    struct ipcr_entry *entries;
    struct ipcr_hold hold;
    uint64_t mask;     /* of entries */
    uint64_t next;     /* sequence of the next message */
    uint64_t position; /* where its room begins */
    uint64_t bytes;    /* payload published so far, in all */
    uint64_t oldest;   /* what is below may be overwritten now (M3) */
    uint64_t oldest_position;
    uint64_t announced;  /* header.oldest; ahead of `oldest` while somebody is in the way */
    uint64_t floor;      /* no subscriber is below it, when last looked at */
    uint32_t generation; /* of our being the publisher */
    bool fence_needed;
    bool corrupt;
    bool has_quit; /* the segment */
    bool lent; /* a claim is outstanding */
    uint64_t lent_length;
    uint64_t lent_position; /* of its topic */
    struct ipcr_topic lent_topic;
    uint32_t blocked_by; /* the subscriber that was in the way last */
    uint64_t blocked_next; /* where it was ... */
    uint64_t blocked_ns;   /* ... when first seen there */
    uint64_t need; /* where every subscriber must be, for the message that had no room */
    uint64_t slice_end_ns;
    struct ipcr_spin spin;
};

/* IPCR_TAKEN: another publisher is alive; *by is its process. */
int ipcr_publisher_open(struct ipcr_segment *segment, uint64_t spin_ns, uint32_t *by, struct ipcr_publisher **out);
void ipcr_publisher_close(struct ipcr_publisher *p);
void ipcr_publisher_free(struct ipcr_publisher *p);

/* The sequence number, or IPCR_FULL, IPCR_TOO_LARGE, IPCR_LENT, ...  topic NULL: none. */
int64_t ipcr_publish_bytes(struct ipcr_publisher *p, const char *message, uint64_t length);
int64_t ipcr_publish(struct ipcr_publisher *p, const struct ipcr_topic *topic, const struct ipcr_piece *pieces,
                     uint64_t count, uint64_t info);
/* Messages that stand end to end, as encoded pieces of one each; how many went. */
int64_t ipcr_publish_many(struct ipcr_publisher *p, const struct ipcr_topic *topic, const char *messages,
                          const uint64_t *lengths, const uint64_t *infos, uint64_t count);
/* Lend room for `length` bytes, behind a multiple of IPCR_DATA_ALIGNMENT; publish the first `length`, or nothing. */
int ipcr_publisher_claim(struct ipcr_publisher *p, const struct ipcr_topic *topic, uint64_t length);
char *ipcr_publisher_lent(const struct ipcr_publisher *p);
int64_t ipcr_publisher_commit(struct ipcr_publisher *p, uint64_t length, uint64_t info);
int ipcr_publisher_abort(struct ipcr_publisher *p);

/* One slice of waiting for the room that the last call lacked: IPCR_OK (try again), IPCR_AGAIN (a slice is over, or a
 * signal came: call again with resume = 1), IPCR_FULL at the deadline.  Evicts the dead. */
int ipcr_publisher_wait(struct ipcr_publisher *p, uint64_t deadline_ns, int resume);
void ipcr_publisher_stop_waiting(struct ipcr_publisher *p);
/* The same look for the dead without waiting, for callers that poll; at most every slice. */
int ipcr_publisher_look_around(struct ipcr_publisher *p);
void ipcr_publisher_laggard(struct ipcr_publisher *p, struct ipcr_laggard *out);

/* --- subscribing --------------------------------------------------------------------------------------------------- */

enum ipcr_start { IPCR_START_LATEST = 0, IPCR_START_OLDEST = 1, IPCR_START_SEQUENCE = 2 };
enum ipcr_on_lap { IPCR_LAP_TO_OLDEST = 0, IPCR_LAP_TO_LATEST = 1 };

struct ipcr_subscription {
    uint32_t start;       /* enum ipcr_start */
    uint32_t on_lap;      /* enum ipcr_on_lap */
    uint64_t sequence;    /* for IPCR_START_SEQUENCE */
    uint32_t observe;     /* 1: gates nobody, is seen by nobody, and polls */
    uint32_t topics;      /* how many; 0: every message */
    uint64_t interval_ns; /* of an observer */
    uint64_t spin_ns;
};

struct ipcr_subscriber {
    struct ipcr_seat seat;
    struct ipcr_segment *segment;
    struct ipcr_multicast_header *header; /* an observer's is mapped read-only */
    const struct ipcr_entry *entries;
    const uint8_t *data;
    struct ipcr_cursor *cursor; /* NULL: an observer's */
    struct ipcr_hold hold;
    uint64_t mask;
    uint64_t capacity;
    uint64_t next;
    uint64_t cached_published;
    uint64_t lost;     /* in all */
    uint64_t lost_before; /* when the message before was handed out */
    uint64_t received;
    uint64_t high_water; /* as published */
    uint64_t batch_next, batch_lost, batch_lost_before, batch_received; /* what they were before a batch that is not settled */
    uint64_t batch_end; /* `next` behind it */
    uint64_t last_sequence, last_lost; /* of the message received last, as is the next */
    int32_t last_topic_length; /* -1: it has no topic */
    char last_topic[IPCR_MOST_TOPIC];
    uint32_t number;
    uint32_t state;    /* ACTIVE, with our generation */
    uint32_t on_lap;
    bool lossy;        /* or an observer */
    bool evictable;
    bool fence_needed;
    bool corrupt;
    bool spun;
    bool has_quit;
    bool lent;
    uint64_t lent_at;
    uint64_t slice_end_ns, interval_ns;
    struct ipcr_spin spin;
    const uint8_t *mapped; /* an observer's own */
    uint64_t mapped_bytes;
    uint32_t topics;
    struct ipcr_topic topic[];
};

/* IPCR_NOT_FOUND: start = sequence, and that is not there (any more, or yet): *next and *oldest say what is.
 * IPCR_TAKEN: all numbers are in use. */
int ipcr_subscriber_open(struct ipcr_segment *segment, const struct ipcr_subscription *wanted,
                         const struct ipcr_topic *topics, uint64_t *oldest, uint64_t *next,
                         struct ipcr_subscriber **out);
void ipcr_subscriber_close(struct ipcr_subscriber *s);
void ipcr_subscriber_free(struct ipcr_subscriber *s);

/* Results as for receive (transfer.h).  With IPCR_RESULT_LENT the message is longer than the inbox: it is still the next
 * one, to be copied by ipcr_subscriber_copy, or lent.
 * IPCR_EMPTY; IPCR_END_OF_CHANNEL: the publisher closed, and that was all; IPCR_LAGGED_OUT: evicted. */
struct ipcr_subscriber_inbox {
    struct ipcr_subscriber *subscriber;
    char bytes[IPCR_SMALL];
};
int64_t ipcr_subscriber_recv_into(struct ipcr_subscriber_inbox *inbox);     /* spins before it says IPCR_EMPTY */
int64_t ipcr_subscriber_try_recv_into(struct ipcr_subscriber_inbox *inbox); /* doesn't */
/* The next message, of any length up to `room`; IPCR_RESULT_LENT in the result: it is longer, and stays. */
int64_t ipcr_subscriber_copy(struct ipcr_subscriber *s, char *out, uint64_t room);
/* Whole messages end to end, up to `room` bytes or `most`; each with its result, its number, and how many were lost until
 * then.  How many; 0: the first alone is longer than `room`.  They count as read when ipcr_subscriber_settle says how many
 * of them do: up to `next`, which is the number behind the last one, with `lost` before it; none with taken = 0.
 * IPCR_BUSY: another thread has received since, and nothing was changed. */
int64_t ipcr_subscriber_recv_many(struct ipcr_subscriber *s, char *out, uint64_t room, int64_t *results, uint64_t *sequences,
                                  uint64_t *lost, uint64_t most);
int ipcr_subscriber_settle(struct ipcr_subscriber *s, uint64_t taken, uint64_t next, uint64_t lost);
/* Lend the next message in place, until it is released; or leave it the next one.  Not where it may be overwritten. */
int64_t ipcr_subscriber_peek(struct ipcr_subscriber *s);
int64_t ipcr_subscriber_spin_and_peek(struct ipcr_subscriber *s); /* spins before it says IPCR_EMPTY */
const char *ipcr_subscriber_lent(const struct ipcr_subscriber *s);
int ipcr_subscriber_release(struct ipcr_subscriber *s);
int ipcr_subscriber_put_back(struct ipcr_subscriber *s);

/* One slice of waiting for a message: IPCR_OK, IPCR_AGAIN, IPCR_EMPTY at the deadline, IPCR_PEER_DIED,
 * IPCR_END_OF_CHANNEL. */
int ipcr_subscriber_wait(struct ipcr_subscriber *s, uint64_t deadline_ns, int resume);
void ipcr_subscriber_stop_waiting(struct ipcr_subscriber *s);
/* For callers that poll: has the publisher died?  A system call at most every slice. */
int ipcr_subscriber_look_around(struct ipcr_subscriber *s);
uint32_t ipcr_multicast_publisher_pid(const struct ipcr_segment *segment);
uint64_t ipcr_subscriber_last_sequence(const struct ipcr_subscriber *s);
uint64_t ipcr_subscriber_last_lost(const struct ipcr_subscriber *s);
/* Its topic's name; the length is -1 for none. */
int32_t ipcr_subscriber_last_topic(const struct ipcr_subscriber *s, const char **name);
uint64_t ipcr_subscriber_lost(const struct ipcr_subscriber *s);

/* --- within the core: publishing.c, multicast_room.c, subscribing.c, joining.c, multicast_waits.c --------------------- */

static inline struct ipcr_entry *ipcr_entry_at(struct ipcr_entry *entries, uint64_t mask, uint64_t sequence)
{
    return &entries[sequence & mask];
}
/* IPCR_OK: this thread is the one inside, and nothing is wrong with what is there. */
int ipcr_publisher_enter(struct ipcr_publisher *p);
int ipcr_subscriber_enter(struct ipcr_subscriber *s);
/* Room for one more message that ends at `end`?  IPCR_FULL: p->need says where everybody must be first. */
int ipcr_publisher_make_room(struct ipcr_publisher *p, uint64_t end);
/* Evict who is in the way and dead (and a stopped joiner, where the publisher waits for nobody): a probe for each. */
int ipcr_publisher_evict_the_dead(struct ipcr_publisher *p);
/* For a message; true: there may be one.  What follows on a spin in vain doesn't spin again. */
bool ipcr_subscriber_spin(struct ipcr_subscriber *s);
/* Take a number and a place among the messages; set s->next. */
int ipcr_subscriber_join(struct ipcr_subscriber *s, const struct ipcr_subscription *wanted, uint64_t *oldest, uint64_t *next);
void ipcr_subscriber_depart(struct ipcr_subscriber *s);
/* After a cursor moved, or went. */
void ipcr_tell_publisher(const struct ipcr_subscriber *s);

#endif

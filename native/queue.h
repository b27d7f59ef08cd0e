/* queue.h - a process's handle on a queue: many producers, many consumers, any number of threads.
 *
 * Everybody who puts takes a lane (lanes.h) at the first put, everybody who takes messages a holder's number
 * (repair.c) at the first try.  After a fork the child begins anew, with a lane and a number of its own.
 *
 * Two private locks, `producing` and `consuming`, are held for one message or batch at a time, and never while waiting.
 * A closing thread takes both, so that nobody is inside when the lane and the number are given back.
 */
#ifndef IPCR_QUEUE_H
#define IPCR_QUEUE_H

#include "gates.h"
#include "lanes.h"
#include "transfer.h"

#include <pthread.h>

struct ipcr_lane_end {
    uint64_t sequence;
    bool seen; /* else it had no memory yet */
};

struct ipcr_queue {
    struct ipcr_segment *segment;
    struct ipcr_queue_header *header;
    ipcr_word32 generation; /* fork generation that the rest belongs to */
    ipcr_word32 present; /* fork generation in which the process is known to be present */
    ipcr_word32 closing;
    ipcr_word32 corrupt;
    bool has_quit; /* the segment */
    pthread_mutex_t producing;
    pthread_mutex_t consuming;

    struct ipcr_producer own[IPCR_MOST_LANES_EACH];
    uint32_t pid;
    uint32_t lanes_taken;
    bool enough_lanes; /* no more can be had, or are wanted */
    uint32_t turn; /* the lane that the next message goes to */
    uint32_t room_waiters, outcome_waiters; /* threads at the lanes' gates */
    uint64_t parked_ns; /* slept, waiting for room, and not noted yet */
    ipcr_word32 put_woken; /* a thread was woken for room, and has not looked after the others yet */

    bool registered;
    uint32_t holder;
    struct ipcr_hold hold;
    uint64_t next_repair_ns;
    uint32_t repair_lane; /* where the next look at messages begins */
    struct ipcr_lane_end *ends; /* scratch of a scan: how far each lane had come */
    ipcr_word32 get_woken; /* the same for a message */

    struct ipcr_spin get_spin, put_spin;
    struct ipcr_queue *next; /* registry lock */
};

int ipcr_queue_open(struct ipcr_segment *segment, uint64_t spin_ns, struct ipcr_queue **out);
/* Gives back what the messages that are held, the lane and the number.  Wakes this handle's threads: IPCR_CLOSED. */
void ipcr_queue_close(struct ipcr_queue *q);
void ipcr_queue_free(struct ipcr_queue *q);

/* --- putting: IPCR_FULL: the lane is, or there are maxsize messages; IPCR_NOT_TAKEN: take a lane, then try again;
 *     IPCR_TOO_LARGE; IPCR_SHUT_DOWN */

/* See ipcr_producer_take: the caller makes sure that there is memory before it allows an allocation. */
int ipcr_queue_take_lane(struct ipcr_queue *q, bool may_allocate);
static inline bool ipcr_queue_has_lane(const struct ipcr_queue *q) { return q->lanes_taken > 0; }

struct ipcr_put {
    uint64_t info;
    uint64_t ttl_ns; /* 0: for ever */
    uint64_t id;     /* out: of the message */
};
/* Its id, or why not. */
int64_t ipcr_queue_put_one(struct ipcr_queue *q, const char *message, uint64_t length, uint64_t info, uint64_t ttl_ns);
int ipcr_queue_put_pieces(struct ipcr_queue *q, const struct ipcr_piece *pieces, uint64_t count, struct ipcr_put *put);
/* Messages that stand end to end; how many were put. */
int64_t ipcr_queue_put_many(struct ipcr_queue *q, const char *messages, const uint64_t *lengths, const uint64_t *infos,
                            uint64_t count, uint64_t ttl_ns, uint64_t *ids);
/* One slice of waiting until there may be room for `length` bytes: IPCR_OK, or IPCR_AGAIN at its end or on a signal. */
int ipcr_queue_wait_for_room(struct ipcr_queue *q, uint64_t length, uint64_t deadline_ns);

/* --- taking */

struct ipcr_lease {
    uint64_t held; /* the word that proves it */
    uint64_t sequence;
    uint64_t id;
    uint64_t length;
    uint64_t info;
    uint64_t stamp_ns;
    const char *payload;
    uint32_t lane;
    uint32_t deliveries;
    uint32_t source;
    uint32_t skew; /* of the payload, behind a multiple of 64 */
    uint32_t generation; /* forks before it was made: a child may get the number of its dead parent */
};

/* The oldest message that can be taken, leased until now + lease_ns (0: until we die).  IPCR_EMPTY is true: there was
 * a moment without any.  IPCR_SHUT_DOWN: empty, and nothing will come. */
int ipcr_queue_lease(struct ipcr_queue *q, uint64_t lease_ns, struct ipcr_lease *out);
/* Copy the payload; IPCR_LEASE_LOST when it may have been overwritten meanwhile. */
int ipcr_lease_copy(struct ipcr_queue *q, const struct ipcr_lease *lease, char *out);
/* At most once: lease, copy, ack, for a message of up to `room` bytes.  A longer one stays leased, IPCR_TOO_LARGE. */
int ipcr_queue_get(struct ipcr_queue *q, char *out, uint64_t room, struct ipcr_lease *lease);
/* Lease, until we die, and copy, end to end, until `room` or `most` is reached; *results as for receive.  The last may be longer
 * than what is left of `room`: with IPCR_RESULT_LENT it stands at its lease's payload.  How many, or why none.  To be followed by
 * ipcr_lease_end_many. */
int64_t ipcr_queue_lease_many(struct ipcr_queue *q, char *out, uint64_t room, struct ipcr_lease *leases,
                              int64_t *results, uint64_t most);

/* The same as one argument, which the binding converts fastest.  The result is that of receive (transfer.h); with
 * IPCR_RESULT_LENT the message is longer than the inbox, still leased, and stands at lease.payload. */
struct ipcr_queue_inbox {
    struct ipcr_queue *queue;
    struct ipcr_lease lease;
    char bytes[IPCR_SMALL];
};
int64_t ipcr_queue_get_into(struct ipcr_queue_inbox *inbox);     /* spins before it says IPCR_EMPTY */
int64_t ipcr_queue_try_get_into(struct ipcr_queue_inbox *inbox); /* doesn't */
/* Lease the next message into *lease; its bytes go to the inbox if they fit. */
int64_t ipcr_queue_lease_into(struct ipcr_queue_inbox *inbox, struct ipcr_lease *lease, uint64_t lease_ns);

/* IPCR_LEASE_LOST: the message is somebody else's now, or done with. */
int ipcr_lease_ack(struct ipcr_queue *q, const struct ipcr_lease *lease);
int ipcr_lease_nack(struct ipcr_queue *q, const struct ipcr_lease *lease, uint64_t delay_ns);
/* Acknowledge the first `taken` of them and give back the others.  How many were acknowledged: all of those, unless the
 * handle is being closed, which gives back what it still holds. */
uint64_t ipcr_lease_end_many(struct ipcr_queue *q, const struct ipcr_lease *leases, uint64_t count, uint64_t taken);
int ipcr_lease_extend(struct ipcr_queue *q, struct ipcr_lease *lease, uint64_t lease_ns);
/* Is it ours, and not over?  (One that ran out may still be acknowledged, if nobody else has the message.) */
bool ipcr_lease_is_held(struct ipcr_queue *q, const struct ipcr_lease *lease);
/* Not to be delivered, and not to be kept: it was moved to another queue, say. */
int ipcr_lease_bury(struct ipcr_queue *q, const struct ipcr_lease *lease);

/* One slice of waiting for a message; *soonest_ns is when a delayed one comes up. */
int ipcr_queue_wait_for_message(struct ipcr_queue *q, uint64_t deadline_ns);
bool ipcr_queue_spin_for_message(struct ipcr_queue *q);

/* --- messages that are kept */

/* The first kept message with an id above `after` (0: any), leased to us; *why is an enum ipcr_kept. */
int ipcr_queue_next_kept(struct ipcr_queue *q, uint64_t after, struct ipcr_lease *out, uint32_t *why);
/* Back to where next_kept found it; or READY, with its deliveries counted from 0. */
int ipcr_lease_keep(struct ipcr_queue *q, const struct ipcr_lease *lease, uint32_t why);
int ipcr_lease_requeue(struct ipcr_queue *q, const struct ipcr_lease *lease);
/* Throw away what can be taken (with_kept: and what is kept); how many. */
int64_t ipcr_queue_purge(struct ipcr_queue *q, bool with_kept);

/* --- receipts, for messages that this handle put */

/* enum ipcr_phase; IPCR_FREE: it is done with, but too many were given up since to tell whether it was acknowledged.
 * IPCR_NOT_FOUND: this handle has not put it. */
int ipcr_queue_outcome(struct ipcr_queue *q, uint64_t id);
int ipcr_queue_wait_for_outcome(struct ipcr_queue *q, uint64_t id, uint64_t deadline_ns);

/* --- counting */

/* Messages that are not done with, leased ones included; whether (1, or 0) there are maxsize of them.  Or why that can't be
 * told: a lane that can't be mapped, say. */
int64_t ipcr_queue_depth(struct ipcr_queue *q);
int ipcr_queue_is_full(struct ipcr_queue *q);
int ipcr_queue_task_done(struct ipcr_queue *q);  /* IPCR_EMPTY: once too often */
int ipcr_queue_finish_many(struct ipcr_queue *q, uint64_t count);
bool ipcr_queue_all_finished(struct ipcr_queue *q);
int ipcr_queue_wait_for_finish(struct ipcr_queue *q, uint64_t deadline_ns);
int ipcr_queue_shut(struct ipcr_queue *q, uint32_t how); /* enum ipcr_shutdown */
uint32_t ipcr_queue_shutdown_state(const struct ipcr_queue *q);
uint64_t ipcr_queue_returns(const struct ipcr_queue *q); /* changes whenever a message came back, or was kept */
void ipcr_queue_get_options(const struct ipcr_queue *q, struct ipcr_queue_options *out);

/* --- within the core: queue.c, queue_counts.c, queue_waits.c, taking.c, ending.c, repair.c */

#define IPCR_QUEUE_ID(q, lane, sequence) ((sequence) * (q)->segment->lanes + (lane))

/* May this handle be used?  Begins anew after a fork. */
int ipcr_queue_ready(struct ipcr_queue *q);
int ipcr_queue_checked(struct ipcr_queue *q, int rc);
/* Take a number, if we have none.  `consuming` held, as for all below. */
int ipcr_queue_register(struct ipcr_queue *q);
/* What belongs to a message that we have leased. */
int ipcr_queue_describe(struct ipcr_queue *q, uint32_t lane, uint64_t sequence, uint64_t held, struct ipcr_lease *out);
/* A message is done with: whoever waits for that. */
void ipcr_queue_tell_done(struct ipcr_queue *q, uint32_t lane, uint64_t sequence);
void ipcr_queue_tell_kept(struct ipcr_queue *q, uint32_t lane, uint64_t sequence);
/* After the call that a woken thread came back for: unless there was nothing, and if it left something, another one is
 * woken. */
void ipcr_queue_pass_on(struct ipcr_queue *q, int rc);
/* Lets a hint say at most `to`. */
void ipcr_lower_hint(ipcr_word64 *hint, uint64_t to);
/* We were woken for room, and have used it or can't: if there is more, others may wait for it as well. */
void ipcr_queue_pass_room_on(struct ipcr_queue *q);
/* Statistics: to a lane of ours, once there is one; a queue may be full before our first message.  `producing` is held. */
void ipcr_queue_note_sleep(struct ipcr_queue *q);
/* A message can be taken again. */
void ipcr_queue_tell_returned(struct ipcr_queue *q, uint32_t lane, uint64_t sequence);
/* End a lease without an ack; false: it was not there any more. */
bool ipcr_queue_return(struct ipcr_queue *q, uint32_t lane, uint64_t sequence, uint64_t held, uint32_t from);
/* A message that waits, `seen` being its word, and whose time is over, is not delivered any more; false: it isn't over. */
bool ipcr_queue_expire(struct ipcr_queue *q, uint32_t lane, uint64_t sequence, uint64_t seen, uint64_t now_ns);
/* All leases of a holder, whose lock byte we hold. */
int ipcr_queue_sweep(struct ipcr_queue *q, uint32_t holder);
/* Whatever others have left undone; to be called once in a slice. */
int ipcr_queue_repair(struct ipcr_queue *q, uint64_t now_ns);
/* Hints that were lost with a process, in all lanes at once. */
int ipcr_queue_fix_hints(struct ipcr_queue *q);

/* Fork handler; registry lock held.  The next one of the segment. */
struct ipcr_queue *ipcr_queue_after_fork_in_child(struct ipcr_queue *q);

#endif

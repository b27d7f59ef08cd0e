/* ends.h - a handle on one exclusive end of a ring: claimed, taken at first use, closed or orphaned.
 *
 *   handle made     claim byte (shared)                      the other side may hope
 *   first use       role byte (exclusive), state = TAKEN     the other side can tell death from silence
 *   close           state = CLOSED, both bytes given up      the other side sees EndOfChannel
 *   death           state stays TAKEN, role byte free        the other side sees PeerDied; a successor
 *                                                            takes the end and continues
 * Window: a kill between the role lock and the state leaves UNTAKEN and a free byte: as never taken.
 *
 * One thread at a time: `busy` is taken by every call, so that a second thread gets IPCR_BUSY while the
 * first is in C without the GIL.  close() may come from any thread.
 */
#ifndef IPCR_ENDS_H
#define IPCR_ENDS_H

#include "ring.h"
#include "segment.h"
#include "waiting.h"

/* A message in parts, on its way in: what has been read of it.  Private; gone with the process. */
struct ipcr_assembly {
    uint64_t total; /* bytes of the message, as its first part said */
    uint64_t done;  /* handed to the caller */
    uint64_t info;
    uint64_t length; /* of the part at reader.position, as it was checked */
    uint64_t at;     /* how much of that has been read; == length: all, and it was released */
    uint32_t part;
};

/* The same on its way out. */
struct ipcr_departure {
    uint64_t done; /* bytes of the message that were published */
};

enum ipcr_busy { IPCR_IDLE = 0, IPCR_INSIDE = 1, IPCR_BETWEEN_SLICES = 2 };

struct ipcr_end {
    /* hot: one or two cache lines */
    ipcr_word32 busy;          /* enum ipcr_busy */
    ipcr_word32 ready_generation; /* == ipcr_fork_generation: taken here, open, sound, not draining */
    struct ipcr_side_signals *mine;
    struct ipcr_side_signals *theirs;
    union {
        struct ipcr_ring_writer writer;
        struct ipcr_ring_reader reader;
    };
    uint32_t side;
    bool fence_needed;
    bool spun;             /* the call before this one has spun in vain */
    bool lent;             /* a claim or a peek is outstanding */
    bool assembling;       /* receiver: the first part of a message was begun; `assembly` says how far */
    uint8_t *lent_payload;
    uint64_t lent_length;
    uint64_t batch_published; /* sender: where the receiver may read up to, while a batch is being added */
    uint64_t looked_at;       /* receiver: length of the message that a batch is at */
    uint64_t last_info;     /* of the record received last */
    uint64_t last_sequence;

    /* cold */
    ipcr_word32 closing;
    ipcr_word32 draining;
    bool corrupt;
    uint32_t taken_generation; /* fork generation in which this handle was taken; 0: never */
    uint32_t end_generation;   /* the shared one, as we stored it */
    uint32_t handed_state;     /* the TAKEN word that hand_over stored in a child's name */
    uint32_t peer_pid;         /* of the taker that a verdict was about */
    ipcr_word32 leave_later;   /* closed while a message was lent: the segment goes when that comes back */
    uint64_t drain_position;
    uint64_t slice_end_ns;     /* of the wait in progress: signals don't put the look at the peer off */
    ipcr_word64 waiter;        /* thread that is between slices; others look whether it is theirs */
    uint64_t lent_to;          /* thread that made the claim, or the peek */
    uint64_t next_probe_ns;
    union {
        struct ipcr_assembly assembly;
        struct ipcr_departure departure;
    };
    struct ipcr_spin spin;
    struct ipcr_hold claim;
    struct ipcr_hold role;
    struct ipcr_segment *segment;
    struct ipcr_end *next; /* registry lock */
    int fork_fd;
};

/* Claim an end; the handle refers to the segment until it is closed. */
int ipcr_end_open(struct ipcr_segment *segment, uint32_t side, uint64_t spin_ns, struct ipcr_end **out);
/* The same in a child that was handed `held`, with the role if `taken`.  Closes `held` in every case. */
int ipcr_end_adopt(struct ipcr_segment *segment, uint32_t side, uint64_t spin_ns, int held, bool taken,
                   struct ipcr_end **out);
int ipcr_end_adopt_role(struct ipcr_end *end, int held); /* a forked child's copy of the handle */

/* IPCR_TAKEN: by somebody alive (its pid is in *by).  IPCR_END_OF_CHANNEL: this end was closed. */
int ipcr_end_take(struct ipcr_end *end, uint32_t *by);

/* A descriptor that carries presence, claim, and (with_role) the end itself to a child about to start.
 * IPCR_IN_USE when this process has taken the end. */
int ipcr_end_hand_over(struct ipcr_end *end, bool with_role, bool for_fork, int *held);
/* The child could not be started: the end is as before. */
void ipcr_end_take_back(struct ipcr_end *end, int held, bool with_role);

/* clean: the other side sees EndOfChannel.  Otherwise it sees what it would after a crash. */
void ipcr_end_close(struct ipcr_end *end, bool clean);
void ipcr_end_free(struct ipcr_end *end); /* closed before */

/* Hand out what is in the ring now, then IPCR_END_OF_CHANNEL. */
void ipcr_end_drain(struct ipcr_end *end);

static inline bool ipcr_end_is_lent(const struct ipcr_end *e) { return e->lent; }
bool ipcr_end_is_ours(const struct ipcr_end *end); /* taken by this process, not by the one it was forked from */
static inline bool ipcr_end_in_use(const struct ipcr_end *e) { return e->taken_generation != 0; }
/* The process that the last PEER_DIED was about. */
static inline uint32_t ipcr_end_peer_pid(const struct ipcr_end *e) { return e->peer_pid; }

/* How is the other side?  IPCR_OK, IPCR_END_OF_CHANNEL, IPCR_PEER_DIED, or a failed system call.  The caller
 * holds `busy`. */
int ipcr_end_peer(struct ipcr_end *end);

/* What a close left to the return of a lent message. */
void ipcr_end_leave_now(struct ipcr_end *end);

/* Asked to finish, and has handed out what was there when it was asked. */
static inline bool ipcr_end_drained(const struct ipcr_end *e)
{
    return e->side == IPCR_RECEIVER && load_acquire32(&e->draining) != 0 &&
           (int64_t)(e->reader.position - e->drain_position) >= 0;
}

/* Entering and leaving, for sending.c, receiving.c, parts.c and calls.{h,c}.  IPCR_OK, or why not. */
int ipcr_end_why_not_ready(struct ipcr_end *end);
uint64_t ipcr_this_thread(void);
void ipcr_end_poison(struct ipcr_end *end);

/* Fork handlers; registry lock held. */
void ipcr_end_before_fork(struct ipcr_end *end);
void ipcr_end_after_fork_in_parent(struct ipcr_end *end);
bool ipcr_end_after_fork_in_child(struct ipcr_end *end); /* false: drop it, it was being closed */

#endif

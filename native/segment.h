/* segment.h - one file of shared memory: made whole or not at all, checked before it is believed,
 * and gone when nobody needs it.
 *
 * Anonymous: a sealed memfd, handed to children by descriptor; nothing to leak, even after SIGKILL.
 * Named: a file in IPC_DIR (usually /dev/shm), mode 0600, that any process of the same user attaches.
 *
 * Lock bytes of the inode (format.h): presence, shared, by every process that is attached; name,
 * exclusive, by whoever is unlinking.  "Nobody present" is the only orphan test.
 */
#ifndef IPCR_SEGMENT_H
#define IPCR_SEGMENT_H

#include "geometry.h"
#include "liveness.h"

struct ipcr_end;
struct ipcr_lane;
struct ipcr_queue;

/* Process-local.  The geometry fields are private copies, checked at attach, never read again. */
struct ipcr_segment {
    struct ipcr_header *header; /* of queues, a struct ipcr_queue_header; of multicast, a struct ipcr_multicast_header */
    uint8_t *data;              /* capacity bytes, twice; of queues NULL: see lanes.h */
    uint64_t header_bytes;
    uint64_t capacity;
    uint64_t start_position;
    uint64_t uuid[2];
    uint32_t kind;
    uint32_t flags;
    uint32_t lanes;                    /* of queues, as is the next one; of multicast, entries */
    struct ipcr_queue_options options;
    struct ipcr_multicast_options multicast;
    struct ipcr_lane *lane;            /* this process's view of each lane */
    int fd; /* never locks: it probes, and new descriptions are opened from it */
    struct ipcr_file_id id;
    struct ipcr_hold presence;
    char *dir; /* NULL: anonymous */
    char *name;
    uint32_t users;        /* registry lock: what is open; with the last of them the process leaves the segment */
    uint32_t references;   /* registry lock: what needs the memory; users, and what they have lent */
    struct ipcr_end *ends;     /* registry lock */
    struct ipcr_queue *queues; /* registry lock */
    struct ipcr_segment *next;
    int fork_fd;
};

/* dir == NULL: anonymous, and name is only a label for tools.  Otherwise IPCR_EXISTS when somebody is
 * present under that name; an orphan is replaced.  start_position is 0 but in tests of counter wrap. */
int ipcr_segment_create(const char *dir, const char *name, uint32_t kind, uint64_t capacity, uint64_t start_position,
                        struct ipcr_segment **out);

/* The same for the queue kinds; `capacity` bytes in each lane.  start_sequence is 0 but in tests. */
int ipcr_segment_create_queue(const char *dir, const char *name, uint32_t kind, uint64_t capacity, uint32_t lanes,
                              const struct ipcr_queue_options *options, uint64_t start_sequence,
                              struct ipcr_segment **out);

/* The same for multicast; `entries`, a power of two, is the most messages that are kept. */
int ipcr_segment_create_multicast(const char *dir, const char *name, uint64_t capacity, uint32_t entries,
                                  const struct ipcr_multicast_options *options, uint64_t start_sequence,
                                  struct ipcr_segment **out);

/* Attach what `fd` leads to; takes the descriptor over on success.  dir and name as for create.
 * IPCR_AGAIN: the name was being replaced, open it anew.  handed_over: a process that is present sent us
 * the descriptor, so it doesn't matter whether the name still leads here. */
int ipcr_segment_attach(int fd, const char *dir, const char *name, uint32_t kind, bool handed_over,
                        struct ipcr_segment **out);

/* One more user, with a reference.  A handle that is closed while others may still look at it gives them back apart: it
 * quits, and when nobody can look any more, the segment is forgotten. */
void ipcr_segment_reference(struct ipcr_segment *segment);
/* The last user of this process detaches; the last process to detach from a named segment unlinks it if nothing is unread.
 * Once for each user: `has_quit` is its own, changed with the registry lock held, so that a fork copies it as it is. */
void ipcr_segment_quit(struct ipcr_segment *segment, bool *has_quit);
/* The same in two steps: count down with the registry lock held, then, if that was the last, leave. */
bool ipcr_segment_quit_locked(struct ipcr_segment *segment);
void ipcr_segment_leave(struct ipcr_segment *segment);
/* With the last reference the memory goes. */
void ipcr_segment_forget(struct ipcr_segment *segment);
void ipcr_segment_release(struct ipcr_segment *segment); /* both */

static inline struct ipcr_queue_header *ipcr_queue_header(const struct ipcr_segment *s)
{
    return (struct ipcr_queue_header *)(void *)s->header;
}

static inline struct ipcr_multicast_header *ipcr_multicast_header(const struct ipcr_segment *s)
{
    return (struct ipcr_multicast_header *)(void *)s->header;
}

static inline void ipcr_segment_multicast_options(const struct ipcr_segment *s, struct ipcr_multicast_options *out)
{
    *out = s->multicast;
}

/* A descriptor that keeps a child present that is about to start, until it is so itself; a parcel. */
int ipcr_segment_hand_over(struct ipcr_segment *segment, int *held);

static inline int ipcr_segment_fd(const struct ipcr_segment *s) { return s->fd; }
static inline uint32_t ipcr_segment_lanes(const struct ipcr_segment *s) { return s->lanes; }
static inline uint64_t ipcr_segment_capacity(const struct ipcr_segment *s) { return s->capacity; }

/* Of a file that is open.  IPCR_TAKEN: somebody is unlinking it. */
int ipcr_segment_become_present(struct ipcr_segment *segment);

/* With the registry lock held, before an end is taken: a child that could not be made present when it was
 * forked (no descriptor left, say) becomes so now.  IPCR_NOT_FOUND: the name went meanwhile. */
int ipcr_segment_be_present(struct ipcr_segment *segment);

/* Remove the name, if it still leads here.  Those attached go on.  IPCR_NOT_FOUND if it was gone. */
int ipcr_segment_unlink(struct ipcr_segment *segment);

enum ipcr_removal { IPCR_REMOVE_ALWAYS = 0, IPCR_REMOVE_ORPHAN = 1 };
/* Remove a name without attaching.  IPCR_EXISTS: not an orphan.  IPCR_NOT_OURS: no segment of ours. */
int ipcr_name_remove(const char *dir, const char *name, int removal);

/* Fork handlers; registry lock held. */
void ipcr_segment_before_fork(struct ipcr_segment *segment);
void ipcr_segment_after_fork_in_parent(struct ipcr_segment *segment);
void ipcr_segment_after_fork_in_child(struct ipcr_segment *segment);

#endif

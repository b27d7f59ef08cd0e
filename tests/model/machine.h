/* machine.h - the machine that the explorer runs the core on: fibers in processes, a memory whose loads may be stale,
 * and a small kernel.  Each part has its own file:
 *
 *   explore.c    decides: every "which one?" of the others is a choice, made by depth-first search, at random, or
 *                from a record of an earlier run
 *   count.c      how many of the schedules were different
 *   report.c     remembers what a schedule did, and says it when it failed
 *   fibers.c     who runs, who is blocked, who is dead, what time it is
 *   memory.c     what a load may return
 *   races.c      whether plain accesses race
 *   kernel.c     the state of a small kernel: files, descriptors, locks, mappings
 *   kernel_os.c  its calls: the back end of native/os.h
 *   processes.c  a copy of the core for each process, and putting everything back before the next schedule
 */
#ifndef MODEL_MACHINE_H
#define MODEL_MACHINE_H

#include "atomics.h"
#include "multicast.h"
#include "multicast_stats.h"
#include "naming.h"
#include "queue.h"
#include "queue_stats.h"
#include "registry.h"
#include "stats.h"
#include "transfer.h"

#include <stdbool.h>
#include <stdnoreturn.h>

enum {
    FIBERS = 5,      /* the first one is the stage: it sets up before, and looks after */
    STAGE = 0,
    PROCESSES = 3,
    LOCATIONS = 256, /* shared words that one schedule may touch */
    HISTORY = 2048,  /* stores to one of them: as many as a schedule can make before it counts as endless */
    ARENA = 262144,  /* what all processes may allocate */
    WRITABLE = 16384, /* statics of one */
    ENDLESS = 4000,  /* accesses: several times what the longest scenario makes when all goes well */
};

/* --- explore.c ------------------------------------------------------------------------------------------------ */

/* What is chosen, because each kind has its own budget in a depth-first search. */
enum choice {
    CHOOSE_NEXT,   /* who runs when the running one can't go on: free */
    CHOOSE_SWITCH, /* who runs although it could: a preemption */
    CHOOSE_VALUE,  /* which older value a load returns */
    CHOOSE_DEATH,  /* whether a mortal process dies here */
    CHOOSE_HAZARD, /* whether a rare thing happens: a signal, a membarrier that misses a CPU */
    CHOICES,
};

/* One of n; 0 is what happens when nothing special does. */
int model_choose(enum choice kind, int n);
int model_choose_runner(enum choice kind, const int *candidates, int n, int running);

/* The schedule is wrong: say why, with its trace. */
noreturn void model_fail(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* The explorer can't go on: that is not the core's fault. */
noreturn void model_limit(const char *format, ...) __attribute__((format(printf, 1, 2)));
void model_tick(void); /* one more access: fails when there is no end to them */

/* --- report.c ------------------------------------------------------------------------------------------------- */

void model_note(const char *what, const void *word, uint64_t value, const char *extra, const char *file, int line);
void report_begin(void); /* a new schedule */
void report_trace(void);

/* --- fibers.c ------------------------------------------------------------------------------------------------- */

/* What a fiber knows: of each location, the oldest store that it may still read; of each fiber, how far its doings
 * happened before ours (a vector clock). */
struct knowledge {
    uint16_t seen[LOCATIONS];
    uint32_t clock[FIBERS];
};

enum fiber_state { ABSENT, READY, BLOCKED, DONE, DEAD };

struct fiber {
    enum fiber_state state;
    int process;
    bool mortal;
    void (*body)(void);
    struct knowledge knows;
    struct knowledge may_acquire;     /* what relaxed loads brought, for a fence to acquire */
    struct knowledge fenced;          /* known at the last fence: what relaxed stores release */
    bool stored;                      /* since its last compiler fence: a load behind may have moved before */
    bool barrier_pending;             /* somebody's membarrier counts from the next compiler fence on */
    struct knowledge barrier;
    const void *waits_for;            /* a futex's key, a mutex; NULL for mere sleep */
    uint64_t deadline;
    bool timed_out;
};

extern struct fiber model_fibers[FIBERS];
extern int model_running;
extern uint64_t model_now;

static inline struct fiber *model_self(void) { return &model_fibers[model_running]; }

void model_fibers_reset(void);
void model_start(int fiber, int process, void (*body)(void));
void model_run(void);                    /* from the stage: until all fibers are done */
void model_yield(void);                  /* before anything that others may see or have done */
void model_block(const void *what, uint64_t deadline);
int model_wake(const void *what, int n); /* how many were woken */
void model_kill(int process);
void model_pass_time(uint64_t ns);       /* a step: who sleeps until then has slept */
bool model_is_alone(int process);        /* only one fiber ever runs in it */
bool model_on_stack(const void *address);
extern uint64_t model_patience;          /* a sleep that would last longer must be ended by a wake-up */

/* --- memory.c ------------------------------------------------------------------------------------------------- */

void model_memory_reset(void);
void model_join(struct knowledge *to, const struct knowledge *from);
void model_full_fence(struct fiber *fiber);
void model_barrier(void);    /* membarrier of the running fiber */
void model_drain(void);      /* time passes: no store stays unseen for a millisecond */
void model_fork_knowledge(int fiber);

/* --- races.c -------------------------------------------------------------------------------------------------- */

void model_races_reset(void);
void model_check_access(const void *address, size_t n, bool write, bool atomic, const char *file, int line);
void model_check_free(const void *address, size_t n);

/* --- kernel.c ------------------------------------------------------------------------------------------------- */

/* Where an address leads: an inode's number and an offset, or -1 and the address itself; and how far that goes on. */
struct place {
    int inode;
    uint64_t offset, bytes;
};
struct place model_place(const void *address);
void model_name_word(const uint8_t *segment, uint64_t at, char *room, size_t n);
struct place model_place_once(const void *address); /* also when it is unmapped meanwhile: for reports */

void model_kernel_start(void);
void model_kernel_reset(void); /* before a scenario sets up */
void model_kernel_save(void);
void model_kernel_restore(void);
void model_kernel_bury(int process);     /* its descriptors, mappings and locks go */
int model_names(void);                   /* how many names there are */
const char *model_name(int n);           /* NULL: no such */
int model_files(void);                   /* how many inodes somebody still has, by name, descriptor or mapping */
int model_pass(int fd, int process);     /* the same description in another process, by a message or a start */
void model_got(void);                    /* there: what the passing process did is known */
extern bool model_membarrier_works, model_membarrier_holes, model_signals, model_no_nameless;

/* From core/ring_calls.c. */
int ipcr_try_write(struct ipcr_ring_writer *w, const void *src, uint64_t length, uint64_t info);
int ipcr_try_read(struct ipcr_ring_reader *r, void *dst, uint64_t room, uint64_t *length, uint64_t *info);

/* --- processes.c ---------------------------------------------------------------------------------------------- */

/* The core of each process, as the scenarios call it. */
#define MODEL_CALLS(X)                                                                                                 \
    X(segment_create) X(segment_attach) X(segment_release) X(segment_unlink) X(name_remove) X(end_open) X(end_take)    \
    X(end_close) X(end_free) X(end_peer) X(end_drain) X(end_hand_over) X(end_take_back) X(end_adopt) X(parcel_close)   \
    X(send) X(send_wait) X(send_many) X(send_parts_wait) X(room_wait) X(flush_wait) X(claim) X(commit) X(abort)        \
    X(recv) X(recv_wait) X(recv_many) X(skip) X(reading_begin) X(reading_next) X(reading_end) X(parts_begin)           \
    X(parts_read) X(data_wait) X(peek) X(release) X(lent) X(last_info) X(last_sequence) X(peer_sometimes)              \
    X(stop_waiting) X(take_back) X(stats_of_segment) X(ring_writer_open) X(ring_reader_open) X(try_write) X(try_read)  \
    X(segment_create_queue) X(queue_open) X(queue_close) X(queue_free) X(queue_take_lane) X(queue_put_one)             \
    X(queue_put_pieces) X(queue_put_many) X(queue_wait_for_room) X(queue_lease) X(lease_copy) X(queue_get)             \
    X(queue_lease_many) X(lease_ack) X(lease_nack) X(lease_extend) X(lease_bury) X(lease_keep) X(lease_requeue)          \
    X(queue_next_kept) X(queue_wait_for_message) X(queue_purge) X(queue_outcome) X(queue_wait_for_outcome)             \
    X(queue_depth) X(queue_is_full) X(queue_task_done) X(queue_all_finished) X(queue_wait_for_finish) X(queue_shut)    \
    X(queue_finish_many) X(queue_stats) X(queue_stats_of_file) X(queue_repair)                                         \
    X(segment_create_multicast) X(publisher_open) X(publisher_close) X(publisher_free) X(publish_bytes) X(publish)       \
    X(publish_many) X(publisher_claim) X(publisher_lent) X(publisher_commit) X(publisher_wait) X(publisher_look_around)   \
    X(subscriber_open) X(subscriber_close) X(subscriber_free) X(subscriber_copy) X(subscriber_recv_many)                  \
    X(subscriber_settle) X(subscriber_peek) X(subscriber_lent) X(subscriber_release) X(subscriber_wait)                   \
    X(subscriber_look_around) X(subscriber_last_sequence) X(subscriber_last_lost) X(subscriber_lost) X(multicast_stats)  \
    X(topic_number) X(publisher_stop_waiting) X(subscriber_stop_waiting)
#define MODEL_CALL(name) __typeof__(ipcr_##name) *name;
struct core {
    MODEL_CALLS(MODEL_CALL)
};
extern struct core model_core[PROCESSES];

void model_processes_start(const char *core);
void model_processes_reset(void); /* as loaded */
void model_processes_save(void);
void model_processes_restore(void);
int model_private(const void *address); /* a number for each byte of the processes' own memory; -1: none of that */
const char *model_line_of(const void *code); /* of the core's source */

#endif

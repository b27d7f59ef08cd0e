/* crash.h - die at every instruction: the shape of a scenario, and what its functions find on the stage.
 *
 * A parent single-steps a victim through one operation of the core.  At each boundary between two
 * instructions it takes the state that a death right there would leave (state.h), and lets a process of its
 * own recover from each distinct one (recovery.h).
 *
 * What proves something here: no boundary is left out, the states are bytes that really stood in shared
 * memory, and whoever recovers uses the core as anybody does.  What it can't show: what a *weaker* machine
 * than this one leaves (stores of the dead process leave its CPU in program order on x86, and the kernel's
 * switch is a full barrier anywhere: what stepping sees is what a death leaves), and races between two
 * processes that both live; for those there is tests/model.
 *
 * A scenario is an `operation` at one of its `starts`:
 *
 *     prepare    in the parent: segment, history, and who goes on living (the peer's end, say)
 *     approach   in the victim, not stepped: its end, a look, whatever comes before
 *     operate    in the victim, stepped; what it returns is a promise from then on
 *     meanwhile  in the parent, after every instruction: what the living do to the victim's segment
 *     observe    in the parent, after every instruction: the victim lives, and nobody may doubt it
 *     check      in a process of its own, on a copy in which only the living hold locks; once with them,
 *                and once more when they have died as well
 *
 * Only operate and check must be there.
 */
#ifndef IPCR_TESTS_CRASH_H
#define IPCR_TESTS_CRASH_H

#include "messages.h"
#include "stats.h"

enum {
    MOST_LIVING = 8,
    MOST_PLANNED = 4096, /* messages whose length a scenario can choose */
    HAND_BYTES = 64 * 1024,
    DIR_ROOM = 128,
};

#define NAME "ring" /* of the segment, in scenarios that have a directory */

struct start {
    const char *name;
    uint64_t position; /* where the positions of the ring began */
    int filled;        /* what is there already; each room has its own enum */
};

struct stage;
struct play;
struct queue_shape;
struct broadcast;
struct multicast_shape;

struct operation {
    const char *name;
    const struct start *starts;
    size_t starts_count;
    uint32_t side;     /* of the end that dies */
    uint64_t capacity;
    uint64_t messages; /* that it sends, or takes */
    int ways;          /* of going on from a state, each checked on a copy of its own; 0 is 1 */
    const struct queue_shape *shape; /* of queues; else NULL */
    const struct multicast_shape *multicast; /* of multicasts; else NULL */
    void (*plan)(struct stage *s);   /* of queues and multicasts: see queue_ledger.h, multicast_stage.h */
    void (*prepare)(struct stage *s);
    void (*approach)(struct stage *s);
    int64_t (*operate)(struct stage *s);
    void (*meanwhile)(struct stage *s);
    const char *(*observe)(struct stage *s); /* what is wrong, or NULL */
    void (*check)(struct stage *s);
};

/* Shared by victim and parent. */
struct between {
    ipcr_word32 phase; /* enum phase */
    int64_t result;
    uint8_t hand[HAND_BYTES]; /* the caller's buffer, into which the operation copies what it receives */
};
enum phase { APPROACHING = 0, READY = 1, RETURNED = 2 };

/* A lock byte of somebody who lives on. */
struct living {
    struct ipcr_hold *hold;
    struct ipcr_lock_byte byte;
};

struct stage {
    const struct operation *operation;
    const struct start *start;
    struct between *between;

    /* made by prepare; in a check they lead to the copy */
    struct ipcr_segment *segment; /* of the living, if there are any */
    struct ipcr_end *peer;        /* taken, and not the victim's */
    char dir[DIR_ROOM];           /* empty; names go here */
    struct living living[MOST_LIVING];
    int living_count;

    struct play *play;            /* of queues: who is on the stage, and what they do (queue_ledger.h) */
    struct broadcast *broadcast;  /* the same of multicasts (multicast_stage.h) */

    struct ipcr_end *end;     /* the victim's, made by approach */
    struct ipcr_queue *queue; /* the same of a queue */

    /* the ledger: messages are numbered from 0, as the segment counts them */
    uint64_t first; /* number of the first that is unread at the start */
    uint64_t next;  /* of the next to be sent */
    uint64_t lengths[MOST_PLANNED];
    uint64_t peer_acts; /* counted by meanwhile: a state in which the living know more is another state */

    /* for meanwhile and observe: what is private to a scenario */
    uint64_t seen, note[2];
    uint8_t peer_hand[HAND_BYTES];

    /* for check */
    bool returned; /* the operation had returned before the death, with: */
    int64_t result;
    bool all_died; /* peer and segment are NULL */
    int way;
};

/* Tables, ended by one without a name. */
extern const struct operation sending_operations[], receiving_operations[], parts_operations[], end_operations[],
    name_operations[], putting_operations[], taking_operations[], lease_operations[], repair_operations[],
    queue_name_operations[], publishing_operations[], publishing_beside_operations[], subscribing_operations[],
    subscribing_beside_operations[],
    joining_operations[], joining_beside_operations[], multicast_name_operations[];

#define STARTS(list) .starts = (list), .starts_count = sizeof(list) / sizeof(list)[0]

/* --- for prepare ---------------------------------------------------------------------------------------------- */

static inline void lives_on(struct stage *s, struct ipcr_hold *hold, int64_t byte, bool exclusive)
{
    CHECK(s->living_count < MOST_LIVING);
    s->living[s->living_count++] =
        (struct living){ .hold = hold, .byte = { .byte = byte, .exclusive = exclusive } };
}

static inline void segment_lives_on(struct stage *s, struct ipcr_segment *segment)
{
    s->segment = segment;
    lives_on(s, &segment->presence, IPCR_LOCK_PRESENCE, false);
}

static inline void peer_lives_on(struct stage *s, struct ipcr_end *peer)
{
    s->peer = peer;
    lives_on(s, &peer->claim, IPCR_LOCK_CLAIM(peer->side), false);
    lives_on(s, &peer->role, IPCR_LOCK_ROLE(peer->side), true);
}

/* --- for check ------------------------------------------------------------------------------------------------ */

/* A handle of our own on the copy: the scenario's when somebody lives, else one attached just now. */
struct ipcr_segment *segment_of_copy(struct stage *s);

/* How many names there are. */
int names_in(const char *dir);

#endif

/* queue_ledger.h - what a queue must say about itself after any death.
 *
 * The ledger knows each message by number, and where it stands: not put, ready, leased by whom, acknowledged, dead,
 * kept; how often it was delivered; whether its date has come.  What an operation does is a *script*: changes of one
 * message each, in order, foretold by a small model of a queue (which message goes first, what a repair gives back).  A
 * death leaves the ledger after some number of those changes: nothing in between, nothing skipped, nothing else.  An
 * operation that has returned has done them all.
 *
 * So the words of a state tell how far the dead one came; and from there on everything that the living will see is
 * known in advance (queue_recovery.c).
 */
#ifndef IPCR_TESTS_CRASH_QUEUE_LEDGER_H
#define IPCR_TESTS_CRASH_QUEUE_LEDGER_H

#include "ledger.h"
#include "queue.h"

enum { MOST_MESSAGES = 256, MOST_STEPS = 32, LANES_ON_STAGE = 3 };
#define NONE UINT32_MAX

/* What the segment is like; in each operation's line. */
struct queue_shape {
    uint32_t kind;
    uint32_t lanes;
    uint64_t slots;
    uint64_t most_deliveries;
    uint64_t maxsize;
};

enum date { NEVER = 0, LATER, PAST };

struct standing {
    uint32_t phase; /* IPCR_FREE: not put yet */
    uint32_t deliveries;
    uint32_t holder; /* of LEASED; of KEPT, why */
    enum date date;
};

struct message {
    uint32_t lane;
    struct standing now;
    bool perished;     /* its time is over, or it would be delivered too late */
    uint32_t forgiven; /* deliveries that don't count any more; as the slot has it */
};

struct step {
    uint32_t number;
    struct standing becomes;
    bool in_hand; /* whoever does this has the message */
};

struct play {
    struct ipcr_queue *mate; /* who lives on, if anybody does */
    bool quiet;              /* no holder is dead, and no lease has run out: a repair changes nothing */
    struct message messages[MOST_MESSAGES];
    uint32_t count;          /* numbers below it were put, or will be by the script */
    struct lane_story {
        uint32_t count;
        uint32_t numbers[MOST_MESSAGES]; /* in the order of their sequences */
    } lanes[LANES_ON_STAGE];
    struct ipcr_lease leases[MOST_MESSAGES]; /* of whoever lives on, by number of the message */

    struct standing foreseen[MOST_MESSAGES]; /* at the end of the script so far */
    struct step script[MOST_STEPS];
    int steps;
    int64_t promised;      /* what the operation returns */
    uint32_t victim_lane;  /* the lane that it takes, or has */
    uint32_t victim_holder; /* the same of its number */
    uint64_t finished;     /* calls of task_done before the operation, and in it */
    uint64_t finishes;
    uint32_t shuts; /* to what the operation shuts the queue down */
};

void play_end(struct stage *s);

/* --- the model --------------------------------------------------------------------------------------------------- */

/* The next message that a consumer gets from these standings, or NONE. */
uint32_t next_takeable(const struct play *p, const struct standing at[]);
/* What becomes of a lease that ends without an ack. */
struct standing given_back(const struct stage *s, uint32_t number, struct standing leased);
/* Is there room for one more message in the lane, once its producer has looked? */
bool has_room(const struct stage *s, const struct standing at[], uint32_t lane, uint64_t length);

/* Whose lock byte is free: he is dead, or there is none of this number. */
bool is_free(const struct ipcr_segment *segment, int64_t byte);

/* --- the script: for `plan`, from what stands there already; these only foretell ---------------------------------- */

void script_step(struct stage *s, uint32_t number, struct standing becomes, bool in_hand);
/* What was foretold so far the victim does before its operation begins. */
void script_begins(struct stage *s);

uint32_t will_put(struct stage *s, uint64_t length); /* its number; NONE: there is no room */
void will_register(struct stage *s);
void will_repair(struct stage *s, bool registered);
uint32_t will_lease(struct stage *s, enum date until); /* NONE: nothing there */
void will_ack(struct stage *s, uint32_t number, bool in_hand);
void will_return(struct stage *s, uint32_t number, enum date from);
void will_sweep(struct stage *s, uint32_t holder);

/* --- after a death ------------------------------------------------------------------------------------------------ */

/* All words against the ledger; how many steps were done.  From then on `now` is what stood there. */
int check_queue_words(struct stage *s);
/* Statistics against `now`. */
void check_queue_stats(struct stage *s, struct ipcr_segment *segment);

/* The check of operations on queues: words, promises, and that everything goes on (queue_recovery.c). */
void check_queue(struct stage *s);
enum { WAYS_OF_QUEUES = 3 };

#endif

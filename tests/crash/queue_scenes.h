/* queue_scenes.h - what there is before the victim enters: queues with a past, the dead and the living.
 *
 * Scenes are played by handles of this process, and written into the ledger as they go.  "Dies" means: locks are gone,
 * words stay.
 */
#ifndef IPCR_TESTS_CRASH_QUEUE_SCENES_H
#define IPCR_TESTS_CRASH_QUEUE_SCENES_H

#include "queue_ledger.h"

enum queue_scene {
    NO_MESSAGE,    /* some came and went */
    ONE_READY,
    LANE_FULL,     /* all ready */
    TWO_LANES,     /* messages in both, turn by turn; one producer is dead */
    SECOND_LANE,   /* one, in the second */
    BEHIND_HELD,   /* the first is held by somebody who lives */
    OVER_DONE,     /* the first is held, the second is done with, the third ready */
    LAPPED,        /* the hint for consumers is laps behind */
    BELOW_HINT,    /* a dead man holds two; the hint is above the first */
    HINT_ABOVE,    /* the same; the first has come back from him, who died before he said so */
    DEAD_NUMBER,   /* two messages are held by a dead man, whose number is the next to be given */
    DEAD_TO_BURY,  /* the same, with another number */
    TWO_DEAD,      /* the one, and the other, in two lanes */
    HALF_BURIED,   /* a repairer has given back one of a dead man's two messages, and died before he said so */
    BURIED_BUT_ONE_WORD, /* a repairer has given back both, and died before he said that */
    RAN_OUT,       /* somebody alive holds two for too long */
    DELAYED,       /* the first comes later */
    PERISHED,      /* the first's time is over */
    EXHAUSTED,     /* a dead man holds one that was delivered as often as it may be */
    KEPT,          /* two are kept, one is held, one ready */

    NEW_LANE,      /* nobody has put anything yet */
    LEFT_EMPTY,    /* a lane whose producer has closed, and whose messages are done with */
    LEFT_UNREAD,   /* a dead producer's lane with messages */
    LEFT_HELD,     /* the same, of which the first is held by the living, the second by the dead */
    HEAD_BEHIND,   /* the same; he died before he moved `head` */
    SCRIBBLED,     /* the same; he had begun to write the next message, and to free the first */
    NEARLY_FULL,   /* room for one more */
    RECLAIM_ALL,   /* no room, and all is done with */
    RECLAIM_ONE,   /* no room; the first is done with, the second held */
    NO_ROOM,       /* all ready */
    ONE_TO_GO,     /* one more, and there are maxsize */
    DEAD_CONSUMER, /* no room: a dead man holds all */
    BYTES_BEFORE_END, /* payloads end so many bytes before the end of the data: the start's `position` */
    SCENES
};

extern void (*const producer_scenes[SCENES])(struct stage *s); /* NEW_LANE and those after it */

/* For starts of BYTES_BEFORE_END, whose first sequence is 0. */
#define DATA_ENDS_IN(bytes) { #bytes " bytes before the end of the data", (bytes), BYTES_BEFORE_END }

/* prepare of all operations on queues: segment, scene, and what the operation will do. */
void prepare_queue(struct stage *s);
/* approach: a handle; the second also takes a lane. */
void open_queue(struct stage *s);
void open_with_lane(struct stage *s);

const char *observe_repairing(struct stage *s);

/* --- players ------------------------------------------------------------------------------------------------------ */

struct ipcr_queue *enters(struct stage *s);
/* Lives on: at most one. */
void stays(struct stage *s, struct ipcr_queue *q);
void leaves(struct ipcr_queue *q);
void dies(struct ipcr_queue *q);

/* With nothing but a lane, or a holder's number. */
struct ipcr_queue *mere_producer(struct stage *s);
struct ipcr_queue *with_a_number(struct stage *s);

void takes_a_lane(struct ipcr_queue *q);
/* Their lengths are as planned, unless told otherwise. */
void brings(struct stage *s, struct ipcr_queue *q, uint32_t count);
void brings_sized(struct stage *s, struct ipcr_queue *q, uint64_t length, uint64_t ttl_ns);
/* The next message, for so many seconds (0: for ever); its number. */
uint32_t leases(struct stage *s, struct ipcr_queue *q, uint64_t seconds);
void acks(struct stage *s, struct ipcr_queue *q, uint32_t number);
void takes(struct stage *s, struct ipcr_queue *q, uint32_t count);

static inline uint32_t slots_of(const struct stage *s) { return (uint32_t)s->operation->shape->slots; }
static inline struct ipcr_lane_words *lane_words(const struct stage *s) { return s->segment->lane[0].words; }

/* A message of this number from a handle; the caller knows that it is its turn. */
int put_number(struct stage *s, struct ipcr_queue *q, uint32_t number, uint64_t ttl_ns, uint64_t *id);

#endif

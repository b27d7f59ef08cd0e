/* multicast_stage.h - multicasts on the stage: who publishes, who hears it, and what must hold after any death.
 *
 * Messages have numbers, counted from 0, which the segment's sequences are as well (less the first).  A number tells
 * the message's length, bytes, topic and encoding, so whoever reads a message knows whether it is whole, and which one
 * it should have been.
 *
 * A multicast that somebody died in is in order when
 *
 *   - `published` says a whole number of messages, those that were promised among them, and each that somebody may
 *     still read is there: its entry, its name of a topic, its payload;
 *   - `oldest` has not gone back, and nothing that an active subscriber of a lossless one has yet to read was
 *     overwritten;
 *   - each cursor stands where its owner left it, or where the dead one was by then, and what a cursor has passed is in
 *     its caller's hand;
 *
 * and when everything goes on from there (multicast_recovery.c).
 */
#ifndef IPCR_TESTS_CRASH_MULTICAST_STAGE_H
#define IPCR_TESTS_CRASH_MULTICAST_STAGE_H

#include "ledger.h"
#include "multicast.h"

enum { MOST_LISTENERS = IPCR_MOST_SUBSCRIBERS };
#define NOBODYS_NUMBER UINT32_MAX

/* What the segment is like; in each operation's line. */
struct multicast_shape {
    uint32_t entries;
    struct ipcr_multicast_options options;
    bool topics;       /* messages of odd numbers have the one, all others another */
    uint32_t encoding; /* of all messages */
};

enum multicast_scene {
    NOT_YET,       /* nobody has published, and one listens */
    NOBODY,        /* messages, and nobody listens */
    ONE_UNREAD,    /* of many; one listens */
    USED,          /* laps have gone, and all is read */
    TWO_UNREAD,
    NEARLY_FULL_OF_UNREAD,
    FULL_OF_UNREAD,
    FULL_OF_READ,
    FIRST_READ,    /* full, and the first is read */
    TWO_LISTEN,    /* one has read all, the other nothing of what is there */
    OBSERVED,      /* the same, and an observer who is as far behind */
    BYTES_UNREAD,  /* two messages leave no room in the data, although there are entries */
    BYTES_READ,
    LAGGARD_DIED,  /* full; the living have read all, a dead one nothing */
    JOINER_DIED,   /* full of read messages; somebody died in the middle of joining */
    BOTH_DIED,
    NUMBERS_OF_THE_DEAD, /* all but those of the living, some active, some joining, some evicted */
    ALL_NUMBERS,   /* the living have all but one, which a dead one has */
    ANNOUNCED,     /* the last publisher died when it had moved `oldest` above who still reads */
    SCRIBBLED,     /* the last publisher died in the middle of the next message */
    CLOSED_ONE_UNREAD, /* the last publisher closed */
    DEAD_ONE_UNREAD,   /* the last publisher died, in subscribers' operations as well */
    DEAD_ALL_READ,
    LAPPED_TWICE,  /* one listens who is two laps behind, where that is possible */
    POSITIONS_PASS_ZERO, /* the next payload's position, which is free-running, passes 2^64 */
    PAYLOAD_ENDS_IN, /* so many bytes before the end of the data, all is read: the start's `position` */
    MULTICAST_SCENES
};

#define PAYLOADS_END_IN(bytes) { #bytes " bytes before the end of the data", (bytes), PAYLOAD_ENDS_IN }

/* What a process that lives has in hand. */
struct listener {
    struct ipcr_subscriber *handle;
    uint64_t heard;    /* the number of the message that comes next */
    uint64_t received; /* since it joined */
    uint64_t lost;
};

struct broadcast {
    struct ipcr_publisher *publisher; /* who lives on, if anybody does */
    struct listener listeners[MOST_LISTENERS];
    int count;
    bool quiet;          /* nobody on the stage is dead */
    bool closed;         /* the last publisher said that it goes */

    /* what the words say before the operation */
    uint64_t published;  /* grows with what the living publish meanwhile */
    uint64_t oldest;
    uint32_t publisher_state;
    struct ipcr_cursor cursors[IPCR_MOST_SUBSCRIBERS];

    /* what the operation does */
    uint64_t will_publish; /* at most */
    int64_t promised;      /* what it returns */
    uint32_t victim_number; /* as a subscriber */
    uint64_t victim_from;   /* the message at which the victim began */
    bool takes_role, closes;
};

void broadcast_end(struct stage *s);

/* prepare of all operations on multicasts: segment, scene, and what the operation will do. */
void prepare_multicast(struct stage *s);

static inline struct ipcr_multicast_header *words_of(const struct stage *s)
{
    return ipcr_multicast_header(s->segment);
}
static inline uint64_t sequence_of(const struct stage *s, uint64_t number)
{
    return s->segment->start_position + number;
}
static inline uint64_t number_of(const struct stage *s, uint64_t sequence)
{
    return sequence - s->segment->start_position;
}
static inline bool is_lossy(const struct stage *s) { return s->operation->multicast->options.policy == IPCR_LOSSY; }
static inline bool evicts(const struct stage *s)
{
    return s->operation->multicast->options.on_laggard == IPCR_EVICT_LAGGARDS;
}

/* --- messages --------------------------------------------------------------------------------------------------- */

struct ipcr_topic topic_called(const char *name);
const struct ipcr_topic *topic_of_number(const struct stage *s, uint64_t number); /* NULL: none */
uint64_t info_of_number(const struct stage *s, uint64_t number);
/* Publish the next message, of this number; what the core says. */
int64_t publish_number(struct stage *s, struct ipcr_publisher *p, uint64_t number);

/* Behind the message before this one, by the words; and where this one would end, if it began there. */
uint64_t position_for(const struct stage *s, uint64_t number);
uint64_t end_of(const struct stage *s, uint64_t number, uint64_t position);

/* Would one more message fit behind `published`, if everybody had read those below `floor`?  By the words. */
bool would_fit(struct stage *s, uint64_t published, uint64_t floor);
/* How many of `most` messages fit, as subscribers stand who are there, dead or alive; for plans. */
uint64_t room_for(struct stage *s, uint64_t most);

/* --- players ---------------------------------------------------------------------------------------------------- */

struct ipcr_publisher *begins_to_publish(struct stage *s);
void publishes(struct stage *s, struct ipcr_publisher *p, uint64_t count);
void dies_publishing(struct ipcr_publisher *p);

struct ipcr_subscriber *joins(struct stage *s, uint32_t start, uint32_t on_lap);
void listens_on(struct stage *s, struct ipcr_subscriber *handle); /* lives on, and has heard what it has */
void hears(struct stage *s, struct ipcr_subscriber *handle, uint64_t count);
void dies_listening(struct ipcr_subscriber *handle);

/* --- after a death ---------------------------------------------------------------------------------------------- */

/* All words against what is known; how many messages there are. */
uint64_t check_multicast_words(struct stage *s);
/* One message, as the words have it. */
void check_message(struct stage *s, uint64_t number);

/* Its victim is, or becomes, a subscriber: the number that it has or will get, and where it begins. */
void will_subscribe(struct stage *s, uint64_t from);
static inline const struct ipcr_cursor *cursor_of_victim(const struct stage *s)
{
    return &words_of(s)->cursor[s->broadcast->victim_number];
}
static inline uint64_t next_of_victim(const struct stage *s)
{
    return number_of(s, load_acquire64(&cursor_of_victim(s)->next));
}
static inline uint32_t state_of_victim(const struct stage *s)
{
    return load_acquire32(&cursor_of_victim(s)->state) & IPCR_CURSOR_MASK;
}

/* In meanwhile: whoever publishes does so, as far as there is room. */
void publishes_meanwhile(struct stage *s, uint64_t count);

/* From there on: see multicast_recovery.c. */
void check_multicast_goes_on(struct stage *s, uint64_t published);
enum { WAYS_OF_MULTICASTS = 3 };

/* The victim lives: nobody may doubt it. */
const char *observe_publisher(struct stage *s);
const char *observe_subscriber(struct stage *s);

/* Of living listeners and of those who come later. */
struct ipcr_subscription subscription_to(uint32_t start, uint32_t on_lap, bool observe);

#endif

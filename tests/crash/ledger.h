/* ledger.h - what a ring must say about itself after any death, and that messages pass through it to the end.
 *
 * Messages have numbers; a number tells its length, its bytes and its type, and is the sequence that the marks
 * count.  So whoever reads knows which message it has, and that it is whole.
 */
#ifndef IPCR_TESTS_CRASH_LEDGER_H
#define IPCR_TESTS_CRASH_LEDGER_H

#include "crash.h"

enum fill {
    AS_NEEDED = 0, /* sender's scenario: nothing; receiver's: what it takes */
    NOTHING,
    ONE,
    FULL,  /* the sender's first message doesn't fit */
    EXACT, /* what the sender sends fits to the byte */
};

void ledger_begin(struct stage *s);
uint64_t length_of(const struct stage *s, uint64_t number);
int send_number(struct stage *s, struct ipcr_end *w, uint64_t number);
/* Whole or in parts; never waits. */
void receive_number(struct stage *s, struct ipcr_end *r, uint64_t number);
/* How receiving fails when there is nothing more. */
int64_t receive_nothing(struct ipcr_end *r);

/* Messages laid end to end, as batches are sent and as they come back in hand. */
uint64_t lay_out(const struct stage *s, uint8_t *to, uint64_t from, uint64_t count);
/* These are in the buffer of the victim's caller. */
void check_in_hand(const struct stage *s, uint64_t from, uint64_t count);

/* A ring with its history, the victim's side left as by a crash, the peer living. */
void prepare_ring(struct stage *s);
/* The same, with the victim's predecessor still there. */
struct ipcr_end *prepare_both(struct stage *s);
/* In the victim. */
void take_end(struct stage *s);

struct span {
    uint64_t first, next; /* unread are the messages first <= number < next */
    bool halfway;         /* the first of them has lost its beginning: who didn't read that throws the rest away */
};

/* I1 to I3 of ring.h, a mark for each position, statistics that agree with what is in the ring. */
struct span check_ring(struct ipcr_segment *segment);

/* Everything from then on, for a ring of which one end died or both: first, the unread messages of `span`, with
 * what was the living receiver's or a new one; then a new pair of processes' worth of messages, clean to the end. */
void check_goes_on(struct stage *s, struct span span);

/* The check of operations that move messages: all or nothing of each, in order, promises kept. */
void check_transfer(struct stage *s);

/* The victim lives and is at work: nobody may say otherwise. */
const char *observe_alive(struct stage *s);
/* It lives until it says that it goes, and then stays gone. */
const char *observe_closing(struct stage *s);

#endif

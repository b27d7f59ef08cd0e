/* threads.h - what the scenarios of threads share: two or three threads of process 0 at one end, and the other side. */
#ifndef MODEL_THREADS_H
#define MODEL_THREADS_H

#include "stage.h"

enum { OTHER = 1, FIRST = 2, SECOND = 3, THIRD = 4, LENGTH = 600, MESSAGES = 4 };

/* The threads share the sender's process, or the receiver's; the other side is alone in process 1. */
extern struct ipcr_end *sender, *receiver;
void sending_threads(void);
void receiving_threads(void);
void untaken_sender(void); /* the threads' end, but nobody has taken it yet */

extern uint64_t sent, got;
char *out(void); /* room for a message, one for each thread */

/* NULL: nobody on the other side. */
void start_threads(void (*other)(void), void (*first)(void), void (*second)(void));

/* It is whole, and comes for the first time. */
void note_message(const char *bytes, int64_t length, uint64_t number);

#define POLLING .patience_ns = 1000000 /* the loops that look again, and a close's */

#endif

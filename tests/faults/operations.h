/* operations.h - what is made to fail: each operation of the core that makes system calls; see operations.c, multicasts.c,
 * queues.c, queue_traffic.c. */
#ifndef IPCR_TESTS_OPERATIONS_H
#define IPCR_TESTS_OPERATIONS_H

#include "check.h"

struct operation {
    const char *name;
    void (*prepare)(void); /* what must be there; NULL: nothing */
    int (*act)(void);      /* the operation itself: IPCR_OK or below 0.  After a failure it has cleaned up as its
                              callers do. */
    void (*prove)(void);   /* after success: what it made works */
    void (*undo)(void);    /* after success: back to where prepare left it */
    void (*tidy)(void);    /* undo what was prepared */
    bool names_may_go;     /* a failure may have removed a name that nobody used */
    bool ends;             /* act undoes prepare: it is prepared anew each time */
    int empty_handed;      /* the result that is no failure although there is nothing to prove; or IPCR_OK */
};

/* Each ends with one that has no name. */
extern const struct operation channel_operations[];
extern const struct operation multicast_operations[];
extern const struct operation queue_operations[];
extern const struct operation queue_traffic_operations[];

void operations_begin(const char *dir); /* where the segments live */

#endif

/* theatre.h - stages, one after the other, in a directory of shared memory that goes with this process. */
#ifndef IPCR_TESTS_CRASH_THEATRE_H
#define IPCR_TESTS_CRASH_THEATRE_H

#include "crash.h"

/* Tables of operations, NULL at the end. */
extern const struct operation *const all_rooms[], *const rooms_with_system_calls[];

void theatre_open(void);
void theatre_close(void);

/* Is this operation among those that were asked for (a list that ends with NULL; an empty one means all)? */
bool is_wanted(char **names, const char *name);

/* A stage on which `prepare` has been. */
struct stage *stage_new(const struct operation *operation, const struct start *start);
void stage_end(struct stage *s);

#endif

/* names.h - what stands under a name before an operation on it, and what must hold of the name after a death:
 * nothing, or a complete segment; whoever lives goes on; the next creator succeeds; nothing is left in the end. */
#ifndef IPCR_TESTS_CRASH_NAMES_H
#define IPCR_TESTS_CRASH_NAMES_H

#include "ledger.h"

enum under_the_name { NO_NAME = 200, ORPHAN, ORPHAN_UNREAD, LIVE, LIVE_UNREAD };

/* How the world goes on. */
enum way { WAY_ATTACH = 0, WAY_CREATE, WAY_GC, WAYS };

/* May the name be there, by now? */
enum name_is { STANDS, MAY_BE_GONE, IS_GONE };

void prepare_name(struct stage *s);
int create_name(const char *dir, struct ipcr_segment **out);
int attach_name(const char *dir, uint32_t kind, struct ipcr_segment **out);
/* Whether there is one, and which. */
bool read_uuid_of_name(const char *dir, uint64_t uuid[2]);
/* `ipc gc`: removes what nobody is present in; returns how many. */
int collect_garbage(const char *dir);

static inline bool somebody_lives(const struct stage *s) { return s->start->filled >= LIVE; }

/* The only name that a living creator gives leads to a whole segment in which it is present. */
const char *observe_name(struct stage *s);

/* replaced: a new segment may stand there by now (or must, if the operation has returned). */
void check_name(struct stage *s, enum name_is is, bool replaced);

/* As if this file system had no O_TMPFILE. */
extern bool without_nameless_files;

#endif

/* inject.h - make the n-th use of one system call fail; see inject.c. */
#ifndef IPCR_TESTS_INJECT_H
#define IPCR_TESTS_INJECT_H

#include <stdbool.h>

/* What can fail, and with what: 0 .. inject_calls() - 1, each with its plausible errnos, which end with 0. */
int inject_calls(void);
const char *inject_name(int call);
int inject_errno(int call, int i);

/* Calls are counted from here on, and the nth use of `call` (1 is the first) fails with `error`; call -1: none. */
void inject_begin(int call, int nth, int error);
/* The end of that: did it fail?  The counts stay. */
bool inject_end(void);
int inject_count(int call);
/* How often a descriptor was closed meanwhile that was not open: it may be somebody else's by then. */
int inject_bad_closes(void);

/* From now on there is no O_TMPFILE. */
void inject_no_tmpfile(bool missing);

/* For replacements that stand elsewhere (heap.c): count a use, and say whether it fails, errno set. */
int inject_find(const char *name);
bool inject_fails(int call);

#endif

/* state.h - what a process leaves that dies now: bytes of files, and the names that lead to them.
 *
 * Nothing else outlives a process here.  Its private memory is gone; its locks are gone, because the kernel
 * lets go of them with its last description; a nameless file that only it had is gone.  So a state is the
 * files of the scenario's directory, and the file that the living have mapped, whether it still has a name or
 * not.  A *copy* of such a state is files of the same bytes under the same names in another directory, on
 * which only the living hold locks: this is how death differs from a process that was merely stopped, whose
 * locks would still be held.  The copies' inodes are others than the originals', which no word in shared
 * memory says.
 */
#ifndef IPCR_TESTS_CRASH_STATE_H
#define IPCR_TESTS_CRASH_STATE_H

#include "crash.h"

enum { MOST_FILES = 4, LISTING_ROOM = 1024 };

struct file {
    char name[64]; /* "": none leads to it */
    struct ipcr_file_id id;
    int fd;
    uint64_t bytes;
    uint8_t *now;  /* the file itself */
    uint8_t *then; /* as it was when we looked last */
};

struct state {
    int directory;
    char listing[LISTING_ROOM]; /* as the kernel gave it */
    long listed;
    struct file files[MOST_FILES];
    int count;
};

void state_begin(struct state *state, const struct stage *s);
/* Has anything changed since the last look?  Remembers it as it is now. */
bool state_look(struct state *state, const struct stage *s);
uint64_t state_hash(const struct state *state, const struct stage *s);
void state_end(struct state *state);

/* Hashes that were seen. */
struct seen {
    uint64_t *slots;
    size_t room, count;
};
bool seen_first(struct seen *seen, uint64_t hash);
void seen_end(struct seen *seen);

/* In a process that may change them: make the stage's handles lead to a copy of the state, with the living or
 * without.  copy_dir is made here. */
void copy_enter(struct stage *s, const struct state *state, const char *copy_dir, bool with_living);
void copy_remove(const char *copy_dir);

#endif

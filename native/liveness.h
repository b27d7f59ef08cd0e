/* liveness.h - who is alive is a kernel fact: a lock byte held by an open file description.
 *
 * A hold is a description that locks some bytes of the segment's inode and is kept alive by one
 * PROT_NONE page mapped through it, its descriptor closed.  So it survives closerange(), costs no
 * descriptor, is not inherited by a forked child, and ends with the process or with the page.
 *
 * A probe asks through a description that never locks anything: through the locking one the kernel
 * answers "free".
 */
#ifndef IPCR_LIVENESS_H
#define IPCR_LIVENESS_H

#include "os.h"

struct ipcr_hold {
    void *page; /* NULL: holds nothing */
};

struct ipcr_lock_byte {
    int64_t byte;
    bool exclusive;
};

/* Lock `n` bytes on a new description; the descriptor comes back, to be mapped, or passed to another
 * process.  IPCR_TAKEN when one of the bytes is held in the way: then nothing is locked. */
int ipcr_hold_open(int fd, struct ipcr_file_id id, const struct ipcr_lock_byte *bytes, int n, int *held);

/* Turn such a descriptor into a hold of this process.  Closes it in every case. */
int ipcr_hold_adopt(struct ipcr_hold *hold, int held);

int ipcr_hold_take(struct ipcr_hold *hold, int fd, struct ipcr_file_id id, const struct ipcr_lock_byte *bytes, int n);
void ipcr_hold_drop(struct ipcr_hold *hold);

/* Does anybody (this process included) hold the byte? */
int ipcr_probe(int fd, struct ipcr_file_id id, int64_t byte, bool *held);

#endif

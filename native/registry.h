/* registry.h - what this process has attached, and what must happen to it around fork().
 *
 * The only file with mutable statics (a test with nm holds that): two shared objects that each compile
 * the core would otherwise have two of everything.
 */
#ifndef IPCR_REGISTRY_H
#define IPCR_REGISTRY_H

#include "atomics.h"

#include <stdbool.h>

struct ipcr_segment;

/* Raised by one in every forked child: handles remember the value under which they were taken. */
extern uint32_t ipcr_fork_generation;

/* One mutex for all slow paths: lists, takes, closes.  Never held while waiting for a peer.
 * Whoever locks a byte through a descriptor holds it until the descriptor is mapped and closed, or is a
 * parcel: a thread that forks in between would give the child the description, and a dead owner would look
 * alive for as long as that child lives. */
void ipcr_registry_lock(void);
void ipcr_registry_unlock(void);

/* Once per process: fork handlers, membarrier registration. */
int ipcr_registry_start(void);
bool ipcr_has_membarrier(void); /* publishers of this process are reached by everybody's membarrier */

/* Both with the lock held. */
void ipcr_registry_add(struct ipcr_segment *segment);
void ipcr_registry_remove(struct ipcr_segment *segment);

/* Descriptors on their way to a child.  A forked child closes them all, because it would keep a dead
 * process's lock alive, except those meant for exactly this fork. */
struct ipcr_parcel {
    int fd;
    bool for_fork;
    uint64_t thread; /* who is about to fork */
    struct ipcr_parcel *next;
};
int ipcr_parcel_add(int fd, bool for_fork);        /* takes the lock */
int ipcr_parcel_add_locked(int fd, bool for_fork); /* the caller has it */
void ipcr_parcel_close(int fd); /* forget it, and close it */
int ipcr_parcel_keep(int fd);   /* forget it, and leave it open: its new owner adopts it */

#endif

/* liveness.c - holds and probes; the reasons are in liveness.h. */
#include "liveness.h"
#include "status.h"

#include <errno.h>

int ipcr_hold_open(int fd, struct ipcr_file_id id, const struct ipcr_lock_byte *bytes, int n, int *held)
{
    int fresh;
    int rc = ipcr_os_reopen(fd, id, &fresh);
    for (int i = 0; rc == IPCR_OK && i < n; i++) {
        rc = ipcr_os_lock(fresh, bytes[i].byte, bytes[i].exclusive);
        if (rc != IPCR_OK)
            ipcr_os_close(fresh); /* the only descriptor of its description: every lock goes with it */
    }
    if (rc == IPCR_OK)
        *held = fresh;
    return rc;
}

int ipcr_hold_adopt(struct ipcr_hold *hold, int held)
{
    const int rc = ipcr_os_map_hold(held, &hold->page);
    ipcr_os_close(held);
    return rc;
}

int ipcr_hold_take(struct ipcr_hold *hold, int fd, struct ipcr_file_id id, const struct ipcr_lock_byte *bytes, int n)
{
    int held;
    const int rc = ipcr_hold_open(fd, id, bytes, n, &held);
    return rc == IPCR_OK ? ipcr_hold_adopt(hold, held) : rc;
}

void ipcr_hold_drop(struct ipcr_hold *hold)
{
    ipcr_os_unmap(hold->page, ipcr_os_page_bytes());
    hold->page = NULL;
}

int ipcr_probe(int fd, struct ipcr_file_id id, int64_t byte, bool *held)
{
    /* A program that closed all descriptors may have reused this number for another file, whose free
     * bytes would look like everybody's death. */
    struct ipcr_file_facts facts = { .size = 0 };
    int rc = ipcr_os_facts(fd, &facts);
    if (rc == IPCR_OK && !ipcr_same_file(facts.id, id))
        rc = IPCR_FROM_ERRNO(EBADF);
    return rc == IPCR_OK ? ipcr_os_locked(fd, byte, held) : rc;
}

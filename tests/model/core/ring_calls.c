/* ring_calls.c - compiled with the core, for the explorer: functions of ring.h that nothing in the core calls, so that
 * they are explored, and mutated, as the rest is.
 */
#include "ring.h"

int ipcr_try_write(struct ipcr_ring_writer *w, const void *src, uint64_t length, uint64_t info);
int ipcr_try_read(struct ipcr_ring_reader *r, void *dst, uint64_t room, uint64_t *length, uint64_t *info);

int ipcr_try_write(struct ipcr_ring_writer *w, const void *src, uint64_t length, uint64_t info)
{
    return ipcr_ring_try_write(w, src, length, info);
}

int ipcr_try_read(struct ipcr_ring_reader *r, void *dst, uint64_t room, uint64_t *length, uint64_t *info)
{
    return ipcr_ring_try_read(r, dst, room, length, info);
}

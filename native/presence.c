/* presence.c - a process is present in a segment from its creation or attach on, or from a fork, until it leaves. */
#include "naming.h"
#include "queue.h"
#include "registry.h"
#include "segment.h"

static const struct ipcr_lock_byte presence_shared = { .byte = IPCR_LOCK_PRESENCE, .exclusive = false };

int ipcr_segment_become_present(struct ipcr_segment *s)
{
    ipcr_registry_lock();
    const int rc = ipcr_hold_take(&s->presence, s->fd, s->id, &presence_shared, 1);
    ipcr_registry_unlock();
    return rc;
}

int ipcr_segment_be_present(struct ipcr_segment *s)
{
    if (s->presence.page != NULL)
        return IPCR_OK;
    int rc = ipcr_hold_take(&s->presence, s->fd, s->id, &presence_shared, 1);
    if (rc == IPCR_TAKEN)
        rc = IPCR_NOT_FOUND;
    if (rc == IPCR_OK && s->dir != NULL)
        rc = ipcr_still_named(s->dir, s->name, s->id);
    if (rc != IPCR_OK)
        ipcr_hold_drop(&s->presence);
    return rc;
}

int ipcr_segment_hand_over(struct ipcr_segment *s, int *held)
{
    ipcr_registry_lock();
    int rc = ipcr_hold_open(s->fd, s->id, &presence_shared, 1, held);
    if (rc == IPCR_OK) {
        rc = ipcr_parcel_add_locked(*held, false);
        if (rc != IPCR_OK)
            ipcr_os_close(*held);
    }
    ipcr_registry_unlock();
    return rc;
}

void ipcr_segment_before_fork(struct ipcr_segment *s)
{
    if (s->users == 0) /* closed, and perhaps about to leave */
        return;
    /* EMFILE leaves -1: the child becomes present when it takes an end, or that fails */
    if (ipcr_hold_open(s->fd, s->id, &presence_shared, 1, &s->fork_fd) != IPCR_OK)
        s->fork_fd = -1;
    for (struct ipcr_end *e = s->ends; e != NULL; e = e->next)
        ipcr_end_before_fork(e);
}

void ipcr_segment_after_fork_in_parent(struct ipcr_segment *s)
{
    ipcr_os_close(s->fork_fd);
    s->fork_fd = -1;
    for (struct ipcr_end *e = s->ends; e != NULL; e = e->next)
        ipcr_end_after_fork_in_parent(e);
}

void ipcr_segment_after_fork_in_child(struct ipcr_segment *s)
{
    s->presence.page = NULL; /* not mapped here: MADV_DONTFORK */
    if (s->fork_fd >= 0 && ipcr_hold_adopt(&s->presence, s->fork_fd) != IPCR_OK)
        s->presence.page = NULL;
    s->fork_fd = -1;
    for (struct ipcr_queue *q = s->queues; q != NULL; q = ipcr_queue_after_fork_in_child(q))
        ;
    for (struct ipcr_end **at = &s->ends; *at != NULL;) {
        struct ipcr_end *e = *at;
        if (ipcr_end_after_fork_in_child(e)) {
            at = &e->next;
            continue;
        }
        *at = e->next; /* it was being closed by a thread that this process doesn't have */
        s->references--;
        if (ipcr_segment_quit_locked(s))
            ipcr_hold_drop(&s->presence); /* the mapping stays: the list is being walked */
    }
}

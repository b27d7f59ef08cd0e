/* registry.c - the process-wide state, and the fork handlers.
 *
 * fork(), in order:
 *   prepare  new descriptions that hold presence and claims for the child are opened and locked
 *   parent   closes its copies of them
 *   child    maps them, closes its copies, and counts one fork generation up
 * At no moment is the child unknown: the description is held by both until the parent lets go.
 * subprocess and posix_spawn run no handlers and need none: exec drops mappings and descriptors.
 */
#include "registry.h"
#include "os.h"
#include "segment.h"
#include "status.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

uint32_t ipcr_fork_generation = 1;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct ipcr_segment *segments;
static struct ipcr_parcel *parcels;
static bool started;
static bool membarrier_works;

void ipcr_registry_lock(void) { pthread_mutex_lock(&lock); }
void ipcr_registry_unlock(void) { pthread_mutex_unlock(&lock); }
bool ipcr_has_membarrier(void) { return membarrier_works; }

static uint64_t this_thread(void) { return (uint64_t)pthread_self(); } /* the same in the child's only thread */

static void before_fork(void)
{
    ipcr_registry_lock();
    for (struct ipcr_segment *s = segments; s != NULL; s = s->next)
        ipcr_segment_before_fork(s);
}

static void after_fork_in_parent(void)
{
    for (struct ipcr_segment *s = segments; s != NULL; s = s->next)
        ipcr_segment_after_fork_in_parent(s);
    ipcr_registry_unlock();
}

static void after_fork_in_child(void)
{
    ipcr_fork_generation++;
    if (membarrier_works) /* a registration belongs to an address space; this one is new */
        membarrier_works = ipcr_os_membarrier_register();
    for (struct ipcr_segment *s = segments; s != NULL; s = s->next)
        ipcr_segment_after_fork_in_child(s);
    for (struct ipcr_parcel **at = &parcels; *at != NULL;) {
        struct ipcr_parcel *parcel = *at;
        if (parcel->for_fork && parcel->thread == this_thread()) {
            at = &parcel->next;
            continue;
        }
        *at = parcel->next;
        ipcr_os_close(parcel->fd);
        free(parcel);
    }
    ipcr_registry_unlock();
}

int ipcr_registry_start(void)
{
    int rc = IPCR_OK;
    ipcr_registry_lock();
    if (!started) {
        const int e = pthread_atfork(before_fork, after_fork_in_parent, after_fork_in_child);
        if (e != 0) {
            rc = IPCR_FROM_ERRNO(e);
        } else {
            started = true;
            membarrier_works = ipcr_os_membarrier_register() && ipcr_os_membarrier();
        }
    }
    ipcr_registry_unlock();
    return rc;
}

void ipcr_registry_add(struct ipcr_segment *segment)
{
    segment->next = segments;
    segments = segment;
}

void ipcr_registry_remove(struct ipcr_segment *segment)
{
    for (struct ipcr_segment **at = &segments; *at != NULL; at = &(*at)->next)
        if (*at == segment) {
            *at = segment->next;
            return;
        }
}

int ipcr_parcel_add_locked(int fd, bool for_fork)
{
    struct ipcr_parcel *parcel = malloc(sizeof *parcel);
    if (parcel == NULL)
        return IPCR_FROM_ERRNO(ENOMEM);
    *parcel = (struct ipcr_parcel){ .fd = fd, .for_fork = for_fork, .thread = this_thread(), .next = parcels };
    parcels = parcel;
    return IPCR_OK;
}

int ipcr_parcel_add(int fd, bool for_fork)
{
    ipcr_registry_lock();
    const int rc = ipcr_parcel_add_locked(fd, for_fork);
    ipcr_registry_unlock();
    return rc;
}

static int forget_parcel(int fd, bool close_it)
{
    int rc = IPCR_NOT_FOUND;
    ipcr_registry_lock();
    for (struct ipcr_parcel **at = &parcels; *at != NULL; at = &(*at)->next)
        if ((*at)->fd == fd) {
            struct ipcr_parcel *gone = *at;
            *at = gone->next;
            free(gone);
            if (close_it)
                ipcr_os_close(fd);
            rc = IPCR_OK;
            break;
        }
    ipcr_registry_unlock();
    return rc;
}

void ipcr_parcel_close(int fd) { forget_parcel(fd, true); }
int ipcr_parcel_keep(int fd) { return forget_parcel(fd, false); }

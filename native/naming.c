/* naming.c - taking a name away from an inode, and from no other.
 *
 * Lock the name byte, re-check the name, unlink.  Without the re-check two cleaners who both saw orphan X
 * lose: A replaces it, B's unlink then removes A's live name.
 */
#include "naming.h"
#include "lanes.h"
#include "registry.h"
#include "status.h"

#include <errno.h>

enum { NAME_LOCK_TRIES = 2000 }; /* of 1 ms: whoever holds it needs a few microseconds, unless stopped */

int ipcr_still_named(const char *dir, const char *name, struct ipcr_file_id id)
{
    struct ipcr_file_id now;
    const int rc = ipcr_os_named(dir, name, &now);
    if (rc == IPCR_FROM_ERRNO(ENOENT))
        return IPCR_NOT_FOUND;
    if (rc != IPCR_OK)
        return rc;
    return ipcr_same_file(now, id) ? IPCR_OK : IPCR_NOT_FOUND;
}

bool ipcr_nothing_unread(struct ipcr_segment *s)
{
    const struct ipcr_header *header = s->header;
    if (s->lane != NULL)
        return ipcr_lanes_nothing_unread(s);
    if (s->kind == IPCR_KIND_MULTICAST) /* whoever subscribed has gone, and who comes later has no claim on old messages */
        return true;
    return load_acquire64(&header->at[IPCR_SENDER].position) == load_acquire64(&header->at[IPCR_RECEIVER].position);
}

/* One try to unlink `name` if it still leads to the inode behind fd.  The locks go with `fresh`, a
 * description of their own, and no fork may copy it meanwhile.  IPCR_TAKEN: somebody else is at it.
 * read: unlink only if nothing is unread there. */
static int try_unlink(int fd, struct ipcr_file_id id, const char *dir, const char *name, bool orphans_only,
                      struct ipcr_segment *read)
{
    int fresh;
    ipcr_registry_lock();
    int rc = ipcr_os_reopen(fd, id, &fresh);
    if (rc == IPCR_OK) {
        rc = ipcr_os_lock(fresh, IPCR_LOCK_NAME, true);
        if (rc == IPCR_OK && orphans_only) {
            rc = ipcr_os_lock(fresh, IPCR_LOCK_PRESENCE, true);
            if (rc == IPCR_TAKEN)
                rc = IPCR_EXISTS;
        }
        if (rc == IPCR_OK && read != NULL && !ipcr_nothing_unread(read))
            rc = IPCR_EXISTS;
        if (rc == IPCR_OK)
            rc = ipcr_still_named(dir, name, id);
        if (rc == IPCR_OK)
            rc = ipcr_os_unlink(dir, name);
        if (rc == IPCR_FROM_ERRNO(ENOENT)) /* by somebody who needs no lock: rm, or the creator of a temporary name */
            rc = IPCR_NOT_FOUND;
        ipcr_os_close(fresh);
    }
    ipcr_registry_unlock();
    return rc;
}

int ipcr_unlink_checked(int fd, struct ipcr_file_id id, const char *dir, const char *name, bool orphans_only,
                          struct ipcr_segment *read)
{
    for (int i = 0; i < NAME_LOCK_TRIES; i++) {
        const int rc = try_unlink(fd, id, dir, name, orphans_only, read);
        if (rc != IPCR_TAKEN)
            return rc;
        ipcr_os_sleep_ns(1000000);
    }
    return IPCR_NAME_BUSY;
}

static int has_magic(int fd, const struct ipcr_file_facts *facts)
{
    const uint8_t *at;
    uint64_t magic;
    if (!facts->regular || facts->size < sizeof(struct ipcr_header))
        return IPCR_NOT_OURS;
    const int rc = ipcr_os_map_read_only(fd, sizeof(struct ipcr_header), &at);
    if (rc != IPCR_OK)
        return rc;
    copy_out(&magic, at, sizeof magic);
    ipcr_os_unmap(at, sizeof(struct ipcr_header));
    return magic == IPCR_MAGIC ? IPCR_OK : IPCR_NOT_OURS;
}

int ipcr_name_remove(const char *dir, const char *name, int removal)
{
    int fd;
    int rc = ipcr_os_open(dir, name, &fd);
    if (rc == IPCR_FROM_ERRNO(ENOENT))
        return IPCR_NOT_FOUND;
    if (rc == IPCR_FROM_ERRNO(EACCES))
        return IPCR_UNTRUSTED;
    if (rc == IPCR_FROM_ERRNO(EISDIR) || rc == IPCR_FROM_ERRNO(ELOOP) || rc == IPCR_FROM_ERRNO(ENXIO))
        return IPCR_NOT_OURS; /* a directory, a symbolic link, a socket */
    if (rc != IPCR_OK)
        return rc;
    struct ipcr_file_facts facts;
    rc = ipcr_os_facts(fd, &facts);
    if (rc == IPCR_OK && facts.owner != ipcr_os_user())
        rc = IPCR_UNTRUSTED;
    if (rc == IPCR_OK && strncmp(name, IPCR_TEMPORARY_PREFIX, sizeof IPCR_TEMPORARY_PREFIX - 1) != 0)
        rc = has_magic(fd, &facts);
    if (rc == IPCR_OK) /* presence and name bytes stand at the same place in every format version */
        rc = ipcr_unlink_checked(fd, facts.id, dir, name, removal == IPCR_REMOVE_ORPHAN, NULL);
    ipcr_os_close(fd);
    return rc;
}

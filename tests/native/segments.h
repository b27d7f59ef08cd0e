/* segments.h - a directory of our own for segments with names, and system calls that can be made to fail or to kill.
 *
 * "The other process" is a forked child.  A directory without O_TMPFILE, a full file system and a kill at an exact moment
 * need no preparation.
 */
#ifndef IPCR_TESTS_SEGMENTS_H
#define IPCR_TESTS_SEGMENTS_H

#include "check.h"
#include "ends.h"
#include "registry.h"
#include "stats.h"
#include "transfer.h"

#include <dirent.h>
#include <pthread.h>
#include <stdarg.h>
#include <sys/stat.h>
#include <sys/syscall.h>

enum { CAPACITY = 4096 };

/* --- replaced system calls -------------------------------------------------------------------------- */

enum moment { NEVER, AT_ALLOCATE, BEFORE_LINK, AFTER_LINK, BEFORE_RENAME, AFTER_RENAME, BEFORE_UNLINK, AFTER_UNLINK };

static bool no_tmpfile;
static int interruptions;
static int no_room;
static enum moment die_at;

static inline void maybe_die(enum moment moment)
{
    if (die_at == moment)
        kill(getpid(), SIGKILL);
}

int open(const char *path, int flags, ...)
{
    va_list more;
    va_start(more, flags);
    const int mode = (flags & (O_CREAT | O_TMPFILE)) != 0 ? va_arg(more, int) : 0;
    va_end(more);
    if (no_tmpfile && (flags & O_TMPFILE) == O_TMPFILE) {
        errno = EOPNOTSUPP;
        return -1;
    }
    return (int)syscall(SYS_openat, AT_FDCWD, path, flags, mode);
}

int posix_fallocate(int fd, off_t offset, off_t length)
{
    maybe_die(AT_ALLOCATE);
    if (no_room)
        return ENOSPC;
    if (interruptions > 0) {
        interruptions--;
        return EINTR;
    }
    return syscall(SYS_fallocate, fd, 0, offset, length) == 0 ? 0 : errno;
}

int linkat(int from_dir, const char *from, int to_dir, const char *to, int flags)
{
    maybe_die(BEFORE_LINK);
    const int rc = (int)syscall(SYS_linkat, from_dir, from, to_dir, to, flags);
    maybe_die(AFTER_LINK);
    return rc;
}

int renameat2(int from_dir, const char *from, int to_dir, const char *to, unsigned int flags)
{
    maybe_die(BEFORE_RENAME);
    const int rc = (int)syscall(SYS_renameat2, from_dir, from, to_dir, to, flags);
    maybe_die(AFTER_RENAME);
    return rc;
}

int unlink(const char *path)
{
    maybe_die(BEFORE_UNLINK);
    const int rc = (int)syscall(SYS_unlinkat, AT_FDCWD, path, 0);
    maybe_die(AFTER_UNLINK);
    return rc;
}

/* --- a private directory ---------------------------------------------------------------------------- */

static char dir[] = "/dev/shm/ipcr-test-XXXXXX";

static inline int files_in_dir(char first[256])
{
    DIR *d = opendir(dir);
    int n = 0;
    CHECK(d != NULL);
    for (const struct dirent *e; (e = readdir(d)) != NULL;)
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0 && n++ == 0)
            snprintf(first, 256, "%s", e->d_name);
    closedir(d);
    return n;
}

static inline void check_nothing_left(void)
{
    char first[256];
    CHECK_IS(files_in_dir(first), 0);
}

static inline void remove_dir(void)
{
    char name[256], path[512];
    for (int i = 0; i < 1000 && files_in_dir(name) > 0; i++) {
        snprintf(path, sizeof path, "%s/%s", dir, name);
        (void)remove(path);
    }
    (void)rmdir(dir);
}

static inline int create_as(const char *name, struct ipcr_segment **out)
{
    return ipcr_segment_create(dir, name, IPCR_KIND_RING, CAPACITY, 0, out);
}

static inline struct ipcr_segment *create(const char *name)
{
    struct ipcr_segment *s = NULL;
    CHECK_IS(create_as(name, &s), IPCR_OK);
    return s;
}

/* As a binding does: open, attach, and once more when the name was being replaced. */
static inline int attach_as(const char *name, uint32_t kind, struct ipcr_segment **out)
{
    for (;;) {
        int fd;
        int rc = ipcr_os_open(dir, name, &fd);
        if (rc != IPCR_OK)
            return rc == IPCR_FROM_ERRNO(ENOENT) ? IPCR_NOT_FOUND : rc;
        rc = ipcr_segment_attach(fd, dir, name, kind, false, out);
        if (rc != IPCR_OK)
            ipcr_os_close(fd);
        if (rc != IPCR_AGAIN)
            return rc;
    }
}

static inline struct ipcr_segment *attach(const char *name)
{
    struct ipcr_segment *s = NULL;
    CHECK_IS(attach_as(name, IPCR_KIND_RING, &s), IPCR_OK);
    return s;
}

static inline void path_of(char out[512], const char *name) { snprintf(out, 512, "%s/%s", dir, name); }

static inline bool leads_to(const char *name, const struct ipcr_segment *s)
{
    struct ipcr_file_id id;
    return ipcr_os_named(dir, name, &id) == IPCR_OK && ipcr_same_file(id, s->id);
}

static inline bool exists(const char *name)
{
    struct ipcr_file_id id;
    return ipcr_os_named(dir, name, &id) == IPCR_OK;
}

static inline bool is_held(const struct ipcr_segment *s, int64_t byte)
{
    bool held;
    CHECK_IS(ipcr_probe(s->fd, s->id, byte, &held), IPCR_OK);
    return held;
}

static inline void send_one(struct ipcr_segment *s, const char *text)
{
    struct ipcr_end *e;
    uint32_t by;
    CHECK_IS(ipcr_end_open(s, IPCR_SENDER, 0, &e), IPCR_OK);
    CHECK_IS(ipcr_end_take(e, &by), IPCR_OK);
    CHECK_IS(ipcr_send(e, text, strlen(text), 0), IPCR_OK);
    ipcr_end_close(e, true);
    ipcr_end_free(e);
}

static inline void receive_one(struct ipcr_segment *s, const char *text)
{
    struct ipcr_end *e;
    uint32_t by;
    char got[IPCR_SMALL];
    CHECK_IS(ipcr_end_open(s, IPCR_RECEIVER, 0, &e), IPCR_OK);
    CHECK_IS(ipcr_end_take(e, &by), IPCR_OK);
    CHECK_IS(ipcr_recv(e, got), strlen(text));
    CHECK(memcmp(got, text, strlen(text)) == 0);
    ipcr_end_close(e, true);
    ipcr_end_free(e);
}

#endif

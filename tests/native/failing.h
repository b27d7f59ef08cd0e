/* failing.h - every system call and allocation of the core fails once, each in its turn: the call that needed it says so
 * with a status, nothing is kept that was taken for it, and the next try works.
 *
 * The linker puts us between the core and libc (--wrap, see the Makefile).  Not failed here: munmap, close, and what
 * runs once per process (pthread_atfork).
 */
#ifndef IPCR_TESTS_FAILING_H
#define IPCR_TESTS_FAILING_H

#include "check.h"

#include <dirent.h>
#include <pthread.h>
#include <stdarg.h>
#include <sys/stat.h>

/* --- the calls ----------------------------------------------------------------------------------------------------- */

static uint64_t countdown; /* 0: nothing fails */
static bool no_tmpfile;
static const char *has_failed; /* which call */
static unsigned variant; /* which of the errors that a call may have */

static bool fails(const char *call, int first, int second)
{
    if (countdown == 0 || --countdown != 0)
        return false;
    has_failed = call;
    errno = variant == 0 ? first : second;
    return true;
}

#define WRAPPED(type, name, parameters, arguments, first, second, failed) \
    type __real_##name parameters;                                       \
    type __wrap_##name parameters;                                       \
    type __wrap_##name parameters { return fails(#name, first, second) ? failed : __real_##name arguments; }

WRAPPED(void *, mmap, (void *at, size_t n, int protection, int flags, int fd, off_t offset),
        (at, n, protection, flags, fd, offset), ENOMEM, EACCES, MAP_FAILED)
WRAPPED(int, madvise, (void *at, size_t n, int advice), (at, n, advice), EINVAL, ENOMEM, -1)
WRAPPED(int, memfd_create, (const char *name, unsigned flags), (name, flags), EMFILE, EINVAL, -1)
WRAPPED(int, fchmod, (int fd, mode_t mode), (fd, mode), EPERM, EIO, -1)
WRAPPED(int, fstat, (int fd, struct stat *st), (fd, st), EIO, ENOMEM, -1)
WRAPPED(int, lstat, (const char *path, struct stat *st), (path, st), EACCES, EIO, -1)
WRAPPED(int, stat, (const char *path, struct stat *st), (path, st), ENOENT, EACCES, -1)
WRAPPED(int, linkat, (int a, const char *from, int b, const char *to, int flags), (a, from, b, to, flags), ENOSPC,
        EDQUOT, -1)
WRAPPED(int, renameat2, (int a, const char *from, int b, const char *to, unsigned flags), (a, from, b, to, flags),
        ENOSPC, ENOENT, -1)
WRAPPED(int, unlink, (const char *path), (path), EACCES, EROFS, -1)
WRAPPED(int, posix_fallocate, (int fd, off_t from, off_t n), (fd, from, n), ENOSPC, EFBIG, errno)
WRAPPED(int, ftruncate, (int fd, off_t n), (fd, n), EFBIG, EINTR, -1) /* the second is no failure: called again */
WRAPPED(ssize_t, getrandom, (void *out, size_t n, unsigned flags), (out, n, flags), ENOSYS, EINTR, -1)
WRAPPED(int, sched_getaffinity, (pid_t pid, size_t n, cpu_set_t *set), (pid, n, set), EINVAL, EINVAL, -1)
WRAPPED(void *, malloc, (size_t n), (n), ENOMEM, ENOMEM, NULL)
WRAPPED(void *, calloc, (size_t count, size_t n), (count, n), ENOMEM, ENOMEM, NULL)
WRAPPED(void *, aligned_alloc, (size_t alignment, size_t n), (alignment, n), ENOMEM, ENOMEM, NULL)
WRAPPED(int, pthread_create, (pthread_t *t, const pthread_attr_t *a, void *(*body)(void *), void *arg),
        (t, a, body, arg), EAGAIN, EPERM, errno)

int __real_open(const char *path, int flags, ...);
int __wrap_open(const char *path, int flags, ...);
int __wrap_open(const char *path, int flags, ...)
{
    if ((flags & O_TMPFILE) == O_TMPFILE && no_tmpfile) {
        errno = EOPNOTSUPP;
        return -1;
    }
    return fails("open", EMFILE, EACCES) ? -1 : __real_open(path, flags, 0600);
}

int __real_fcntl(int fd, int command, ...);
int __wrap_fcntl(int fd, int command, ...);
int __wrap_fcntl(int fd, int command, ...) /* locks have a pointer, seals an int */
{
    va_list rest;
    va_start(rest, command);
    void *argument = va_arg(rest, void *);
    va_end(rest);
    return fails("fcntl", ENOLCK, EAGAIN) ? -1 : __real_fcntl(fd, command, argument);
}

long __real_syscall(long number, ...);
long __wrap_syscall(long number, ...);
long __wrap_syscall(long number, ...)
{
    va_list rest;
    va_start(rest, number);
    void *a = va_arg(rest, void *), *b = va_arg(rest, void *), *c = va_arg(rest, void *);
    void *d = va_arg(rest, void *), *e = va_arg(rest, void *), *f = va_arg(rest, void *);
    va_end(rest);
    return fails("syscall", EINTR, ENOSYS) ? -1 : __real_syscall(number, a, b, c, d, e, f);
}

/* The lifeline ends a process inside the core, where coverage would not be written down. */
_Noreturn void __real__exit(int code);
_Noreturn void __wrap__exit(int code);
_Noreturn void __wrap__exit(int code)
{
#ifdef IPC_COVERAGE
    countdown = 0; /* not a call of its own */
    __gcov_dump();
#endif
    __real__exit(code);
}

/* --- what is held ---------------------------------------------------------------------------------------------------- */

static char dir[64];

static void remove_dir(void)
{
    DIR *d = opendir(dir);
    if (d == NULL)
        return;
    for (struct dirent *entry = readdir(d); entry != NULL; entry = readdir(d))
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            unlinkat(dirfd(d), entry->d_name, 0);
    closedir(d);
    rmdir(dir);
}

static int entries(const char *path)
{
    int n = 0;
    DIR *d = opendir(path);
    CHECK(d != NULL);
    while (readdir(d) != NULL)
        n++;
    closedir(d);
    return n;
}

static int mappings(void) /* of segments, held pages among them */
{
    char line[512];
    int n = 0;
    FILE *f = fopen("/proc/self/maps", "r");
    CHECK(f != NULL);
    while (fgets(line, sizeof line, f) != NULL)
        n += strstr(line, "ipc:test") != NULL || strstr(line, dir) != NULL;
    fclose(f);
    return n;
}

static bool is_status(int64_t rc)
{
    return rc >= IPCR_WRONG_SIDE || (IPCR_IS_ERRNO(rc) && IPCR_TO_ERRNO(rc) > 0 && IPCR_TO_ERRNO(rc) < 200);
}

typedef int64_t a_story(void); /* IPCR_OK, or the first status that was in its way; leaves nothing in any case */

/* The story with the first call failing, the second, and so on, until all of them worked. */
static void tell_with_failures(a_story *story)
{
    CHECK_IS(story(), IPCR_OK); /* whatever is made once per process */
    int open_before = entries("/proc/self/fd");
    const int mapped_before = mappings(), named_before = entries(dir);
    for (variant = 0; variant < 2; variant++) {
        for (uint64_t n = 1;; n++) {
            has_failed = NULL;
            countdown = n;
            const int64_t rc = story();
            countdown = 0;
            check_running = has_failed != NULL ? has_failed : "nothing"; /* for the report */
            CHECK(is_status(rc));
            if (rc == IPCR_OK && has_failed != NULL && strcmp(has_failed, "fstat") == 0)
                open_before = entries("/proc/self/fd"); /* unsure whether it is still ours, a close leaves it open */
            CHECK_IS(entries("/proc/self/fd"), open_before);
            CHECK_IS(mappings(), mapped_before);
            if (has_failed == NULL) {
                CHECK_IS(rc, IPCR_OK);
                CHECK(n > 3);
                break;
            }
            /* a name may be left where removing it was what failed: by rule an orphan, which the next creator frees */
            CHECK_IS(story(), IPCR_OK);
            CHECK_IS(entries(dir), named_before);
        }
    }
}

/* --- what stories are made of --------------------------------------------------------------------------------------- */

typedef int64_t a_making(struct ipcr_segment **out);
typedef int64_t a_use(struct ipcr_segment *s);

/* A segment is made, used, and released; the first status that was in the way. */
static int64_t life_of(a_making *make, a_use *use)
{
    struct ipcr_segment *s = NULL;
    int64_t rc = make(&s);
    if (rc != IPCR_OK)
        return rc;
    rc = use(s);
    ipcr_segment_release(s);
    return rc;
}

static int64_t attached(uint32_t kind, struct ipcr_segment **out)
{
    int fd = -1;
    int64_t rc = ipcr_os_open(dir, "name", &fd);
    if (rc == IPCR_OK)
        rc = ipcr_segment_attach(fd, dir, "name", kind, false, out);
    if (rc != IPCR_OK)
        ipcr_os_close(fd);
    return rc;
}

typedef int64_t a_look(int fd);
typedef int64_t a_talk(struct ipcr_segment *first, struct ipcr_segment *second);

/* "name", mapped already, is mapped once more as by another process, looked at as a file, and used. */
static int64_t with_second_mapping(struct ipcr_segment *first, uint32_t kind, a_look *look, a_talk *talk)
{
    struct ipcr_segment *second = NULL;
    int fd = -1;
    int64_t rc = attached(kind, &second);
    if (rc == IPCR_OK)
        rc = ipcr_os_open(dir, "name", &fd);
    if (rc == IPCR_OK)
        rc = look(fd);
    ipcr_os_close(fd);
    if (rc == IPCR_OK)
        rc = talk(first, second);
    if (second != NULL)
        ipcr_segment_release(second);
    return rc;
}

typedef int64_t an_attempt(void *handle);

/* A child that is forked while something fails does it, or is told why not. */
static void attempted_in_a_child(an_attempt *attempt, void *handle)
{
    int status = 0;
    const pid_t pid = fork();
    if (pid == 0) {
        const int64_t there = attempt(handle);
        countdown = 0; /* coverage is written down */
        _exit(there == IPCR_OK ? 0 : is_status(there) ? 1 : 2);
    }
    CHECK(pid > 0 && waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) < 2);
}

/* --- the program ---------------------------------------------------------------------------------------------------- */

static inline void failing_begin(void)
{
    check_begin();
    snprintf(dir, sizeof dir, "/dev/shm/ipc-failing-%d", (int)getpid());
    CHECK(mkdir(dir, 0700) == 0);
    check_tidy = remove_dir;
}

static inline int failing_finish(void)
{
    remove_dir();
    return check_finish();
}

#endif

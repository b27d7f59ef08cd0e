/* inject.c - stands between a program and libc: counts system calls, and lets one of them fail.
 *
 * A shared object that is found before libc: linked first (test_core.c), or preloaded (python_calls.py).  It fails one
 * use of one function at a time, the n-th after inject_begin(), and hands everything else on.  A call that fails did
 * nothing, with one exception: close() has closed, as on Linux, whatever it says.
 *
 * What it cannot: calls that libc makes of itself (posix_fallocate's own writes), and the child of a vfork.
 */
#include "inject.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <poll.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <unistd.h>

enum call {
    OPEN, CLOSE, FSTAT, LSTAT, STAT, STATVFS, FCHMOD, LOCK, SEAL, FCNTL, FALLOCATE, FTRUNCATE, MMAP, MADVISE, MEMFD, LINKAT,
    RENAMEAT2, UNLINK, GETRANDOM, FUTEX_WAITING, FUTEX_WAKING, MEMBARRIER, POLL, PTHREAD_CREATE, PIPE, DUP, FORK, MALLOC,
    CALLS
};

enum { MOST_ERRNOS = 12 };

/* The manual pages' errors, less those that only a wrong argument of ours could cause (EBADF, EFAULT) and those that
 * need a file system that we refuse.  EPERM, EACCES, ENOSYS: a seccomp filter or a security module.
 *
 * ftruncate, which only makes a file longer here: tmpfs reserves no page for that, and knows EFBIG (a limit on the size of
 * files) and EPERM (a seal); EACCES is Landlock's word.  IPC_DIR may lead to a file system that needs room or a disk for
 * it, or lets signals interrupt it: the others. */
static const struct {
    const char *name;
    int errnos[MOST_ERRNOS]; /* up to 0 */
} calls[CALLS] = {
    [OPEN] = { "open", { EINTR, EMFILE, ENFILE, ENOMEM, ENOSPC, EACCES, EPERM, EIO, ENOENT, EINVAL } },
    [CLOSE] = { "close", { EINTR, EIO, ENOSPC } },
    [FSTAT] = { "fstat", { ENOMEM, EIO, EACCES } },
    [LSTAT] = { "lstat", { ENOENT, ENOMEM, EIO, EACCES } },
    [STAT] = { "stat", { ENOENT, ENOMEM, EIO, EACCES } },
    [STATVFS] = { "statvfs", { ENOMEM, EIO, EACCES, ENOSYS } },
    [FCHMOD] = { "fchmod", { EPERM, EIO, ENOMEM } },
    [LOCK] = { "lock", { EAGAIN, EACCES, EINTR, ENOLCK, ENOMEM, EINVAL, EPERM, EIO } },
    [SEAL] = { "seal", { EPERM, EBUSY, EINVAL } },
    [FCNTL] = { "fcntl", { EMFILE, EINVAL, EPERM } },
    [FALLOCATE] = { "posix_fallocate", { ENOSPC, EINTR, EFBIG, EIO, ENODEV, EOPNOTSUPP, ENOMEM, EPERM } },
    [FTRUNCATE] = { "ftruncate", { EFBIG, EPERM, EACCES, EINTR, ENOSPC, ENOMEM, EIO } },
    [MMAP] = { "mmap", { ENOMEM, EAGAIN, ENFILE, EACCES, EPERM, ENODEV } },
    [MADVISE] = { "madvise", { ENOMEM, EAGAIN, EINVAL } },
    [MEMFD] = { "memfd_create", { EMFILE, ENFILE, ENOMEM, ENOSYS, EINVAL, EPERM, EACCES } },
    [LINKAT] = { "linkat", { EEXIST, ENOSPC, ENOMEM, EACCES, EPERM, EIO, ENOENT, EROFS } },
    [RENAMEAT2] = { "renameat2", { EEXIST, ENOSPC, ENOMEM, EACCES, EPERM, EIO, ENOENT, EINVAL, ENOSYS } },
    [UNLINK] = { "unlink", { ENOENT, EACCES, EPERM, EIO, ENOMEM, EBUSY, EROFS } },
    [GETRANDOM] = { "getrandom", { EINTR, EAGAIN, ENOSYS, EPERM } },
    [FUTEX_WAITING] = { "futex wait", { EINTR, EAGAIN, ETIMEDOUT, ENOMEM, EINVAL, ENOSYS, EPERM } },
    [FUTEX_WAKING] = { "futex wake", { ENOMEM, EINVAL, ENOSYS, EPERM } },
    [MEMBARRIER] = { "membarrier", { ENOSYS, EPERM, EINVAL, ENOMEM } },
    [POLL] = { "poll", { EINTR, EAGAIN, ENOMEM } },
    [PTHREAD_CREATE] = { "pthread_create", { EAGAIN, ENOMEM, EPERM } },
    [PIPE] = { "pipe", { EMFILE, ENFILE, ENOMEM } },
    [DUP] = { "dup", { EMFILE, ENOMEM } },
    [FORK] = { "fork", { EAGAIN, ENOMEM, ENOSYS } },
    [MALLOC] = { "malloc", { ENOMEM } },
};

static bool counting, missing_tmpfile, has_failed;
static int failing_call, failing_use, failing_errno;
static int counts[CALLS], bad_closes;
static pid_t counted_process;

int inject_calls(void) { return CALLS; }
const char *inject_name(int call) { return calls[call].name; }
int inject_errno(int call, int i) { return i < MOST_ERRNOS ? calls[call].errnos[i] : 0; }
int inject_count(int call) { return counts[call]; }
int inject_bad_closes(void) { return bad_closes; }
void inject_no_tmpfile(bool missing) { missing_tmpfile = missing; }

int inject_find(const char *name)
{
    for (int call = 0; call < CALLS; call++)
        if (strcmp(calls[call].name, name) == 0)
            return call;
    return -1;
}

void inject_begin(int call, int nth, int error)
{
    memset(counts, 0, sizeof counts);
    has_failed = false;
    bad_closes = 0;
    counted_process = getpid();
    failing_call = call;
    failing_use = nth;
    failing_errno = error;
    counting = true;
}

bool inject_end(void)
{
    counting = false;
    return has_failed;
}

/* A child made by vfork runs on our memory; what it does before its exec is none of ours. */
static bool here(void) { return counting && getpid() == counted_process; }

bool inject_fails(int call)
{
    if (!here())
        return false;
    const int use = __atomic_add_fetch(&counts[call], 1, __ATOMIC_RELAXED);
    if (call != failing_call || use != failing_use)
        return false;
    has_failed = true;
    errno = failing_errno;
    return true;
}

/* The next definition of a function: libc's. */
static void *next(const char *name) { return dlsym(RTLD_NEXT, name); }

/* Written so that no cast of an object pointer to a function pointer is needed. */
#define NEXT(type, name)                      \
    static type *real;                        \
    if (real == NULL) {                       \
        void *const found = next(name);       \
        memcpy(&real, &found, sizeof real);   \
    }

typedef int open_call(const char *, int, ...);
int open(const char *path, int flags, ...)
{
    NEXT(open_call, "open")
    va_list more;
    va_start(more, flags);
    const int mode = (flags & (O_CREAT | O_TMPFILE)) != 0 ? va_arg(more, int) : 0;
    va_end(more);
    if (missing_tmpfile && (flags & O_TMPFILE) == O_TMPFILE) {
        errno = EOPNOTSUPP;
        return -1;
    }
    return inject_fails(OPEN) ? -1 : real(path, flags, mode);
}

typedef int shm_open_call(const char *, int, mode_t);
int shm_open(const char *name, int flags, mode_t mode) /* of posix_ipc */
{
    NEXT(shm_open_call, "shm_open")
    return inject_fails(OPEN) ? -1 : real(name, flags, mode);
}

typedef int close_call(int);
int close(int fd)
{
    NEXT(close_call, "close")
    const int rc = real(fd);
    if (rc != 0 && errno == EBADF && here())
        bad_closes++;
    return rc == 0 && inject_fails(CLOSE) ? -1 : rc;
}

typedef int fstat_call(int, struct stat *);
int fstat(int fd, struct stat *out)
{
    NEXT(fstat_call, "fstat")
    return inject_fails(FSTAT) ? -1 : real(fd, out);
}

typedef int stat_call(const char *, struct stat *);
int lstat(const char *path, struct stat *out)
{
    NEXT(stat_call, "lstat")
    return inject_fails(LSTAT) ? -1 : real(path, out);
}

int stat(const char *path, struct stat *out)
{
    NEXT(stat_call, "stat")
    return inject_fails(STAT) ? -1 : real(path, out);
}

typedef int statvfs_call(const char *, struct statvfs *);
int statvfs(const char *path, struct statvfs *out)
{
    NEXT(statvfs_call, "statvfs")
    return inject_fails(STATVFS) ? -1 : real(path, out);
}

typedef int fchmod_call(int, mode_t);
int fchmod(int fd, mode_t mode)
{
    NEXT(fchmod_call, "fchmod")
    return inject_fails(FCHMOD) ? -1 : real(fd, mode);
}

typedef int fcntl_call(int, int, ...);
int fcntl(int fd, int command, ...)
{
    NEXT(fcntl_call, "fcntl")
    va_list more;
    va_start(more, command);
    void *const argument = va_arg(more, void *); /* an int arrives in the same register */
    va_end(more);
    const int call = command == F_OFD_SETLK || command == F_OFD_GETLK ? LOCK : command == F_ADD_SEALS ? SEAL : FCNTL;
    return inject_fails(call) ? -1 : real(fd, command, argument);
}

typedef int fallocate_call(int, off_t, off_t);
int posix_fallocate(int fd, off_t offset, off_t length)
{
    NEXT(fallocate_call, "posix_fallocate")
    return inject_fails(FALLOCATE) ? failing_errno : real(fd, offset, length);
}

typedef int ftruncate_call(int, off_t);
int ftruncate(int fd, off_t length)
{
    NEXT(ftruncate_call, "ftruncate")
    return inject_fails(FTRUNCATE) ? -1 : real(fd, length);
}

typedef void *mmap_call(void *, size_t, int, int, int, off_t);
void *mmap(void *at, size_t length, int protection, int flags, int fd, off_t offset)
{
    NEXT(mmap_call, "mmap")
    return inject_fails(MMAP) ? MAP_FAILED : real(at, length, protection, flags, fd, offset);
}

typedef int madvise_call(void *, size_t, int);
int madvise(void *at, size_t length, int advice)
{
    NEXT(madvise_call, "madvise")
    return inject_fails(MADVISE) ? -1 : real(at, length, advice);
}

typedef int memfd_call(const char *, unsigned int);
int memfd_create(const char *label, unsigned int flags)
{
    NEXT(memfd_call, "memfd_create")
    return inject_fails(MEMFD) ? -1 : real(label, flags);
}

typedef int linkat_call(int, const char *, int, const char *, int);
int linkat(int from_dir, const char *from, int to_dir, const char *to, int flags)
{
    NEXT(linkat_call, "linkat")
    return inject_fails(LINKAT) ? -1 : real(from_dir, from, to_dir, to, flags);
}

typedef int renameat2_call(int, const char *, int, const char *, unsigned int);
int renameat2(int from_dir, const char *from, int to_dir, const char *to, unsigned int flags)
{
    NEXT(renameat2_call, "renameat2")
    return inject_fails(RENAMEAT2) ? -1 : real(from_dir, from, to_dir, to, flags);
}

typedef int unlink_call(const char *);
int unlink(const char *path)
{
    NEXT(unlink_call, "unlink")
    return inject_fails(UNLINK) ? -1 : real(path);
}

typedef ssize_t getrandom_call(void *, size_t, unsigned int);
ssize_t getrandom(void *out, size_t n, unsigned int flags)
{
    NEXT(getrandom_call, "getrandom")
    return inject_fails(GETRANDOM) ? -1 : real(out, n, flags);
}

typedef long syscall_call(long, ...);
long syscall(long number, ...)
{
    NEXT(syscall_call, "syscall")
    long a[6];
    va_list more;
    va_start(more, number);
    for (int i = 0; i < 6; i++)
        a[i] = va_arg(more, long);
    va_end(more);
    if (number == SYS_membarrier && inject_fails(MEMBARRIER))
        return -1;
    if (number == SYS_futex && inject_fails((a[1] & FUTEX_CMD_MASK) == FUTEX_WAKE ? FUTEX_WAKING : FUTEX_WAITING))
        return -1;
    return real(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}

typedef int poll_call(struct pollfd *, nfds_t, int);
int poll(struct pollfd *fds, nfds_t n, int milliseconds)
{
    NEXT(poll_call, "poll")
    return inject_fails(POLL) ? -1 : real(fds, n, milliseconds);
}

typedef int thread_call(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);
int pthread_create(pthread_t *out, const pthread_attr_t *attributes, void *(*body)(void *), void *argument)
{
    NEXT(thread_call, "pthread_create")
    return inject_fails(PTHREAD_CREATE) ? failing_errno : real(out, attributes, body, argument);
}

typedef int pipe2_call(int *, int);
int pipe2(int fds[2], int flags)
{
    NEXT(pipe2_call, "pipe2")
    return inject_fails(PIPE) ? -1 : real(fds, flags);
}

typedef int dup_call(int);
int dup(int fd)
{
    NEXT(dup_call, "dup")
    return inject_fails(DUP) ? -1 : real(fd);
}

typedef pid_t fork_call(void);
pid_t fork(void)
{
    NEXT(fork_call, "fork")
    if (inject_fails(FORK))
        return -1;
    const pid_t pid = real(); /* fork handlers run in here, in parent and child */
    if (pid == 0)
        counting = false;
    return pid;
}

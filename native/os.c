/* os.c - the system calls, each once, with EINTR and error numbers dealt with. */
#include "os.h"
#include "status.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <linux/membarrier.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 0x0008U
#endif
#ifndef F_OFD_SETLK
#define F_OFD_GETLK 36
#define F_OFD_SETLK 37
#endif

enum { PATH_ROOM = 4096 };

static int failed(void) { return IPCR_FROM_ERRNO(errno); }

uint64_t ipcr_os_now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * UINT64_C(1000000000) + (uint64_t)t.tv_nsec;
}

static struct timespec to_timespec(uint64_t ns)
{
    return (struct timespec){ .tv_sec = (time_t)(ns / UINT64_C(1000000000)),
                              .tv_nsec = (long)(ns % UINT64_C(1000000000)) };
}

void ipcr_os_sleep_ns(uint64_t ns)
{
    const struct timespec t = to_timespec(ns);
    nanosleep(&t, NULL);
}

uint32_t ipcr_os_pid(void) { return (uint32_t)getpid(); }
uint32_t ipcr_os_user(void) { return (uint32_t)geteuid(); }
uint64_t ipcr_os_page_bytes(void) { return (uint64_t)sysconf(_SC_PAGESIZE); }

uint32_t ipcr_os_cpus(uint32_t *only)
{
    cpu_set_t set;
    *only = 0;
    if (sched_getaffinity(0, sizeof set, &set) != 0)
        return 2; /* more than 1,024 CPUs: certainly not alone */
    const int count = CPU_COUNT(&set);
    for (uint32_t cpu = 0; count == 1 && *only == 0 && cpu < CPU_SETSIZE; cpu++)
        if (CPU_ISSET(cpu, &set))
            *only = cpu + 1;
    return (uint32_t)count;
}

uint64_t ipcr_os_time_namespace(void)
{
    struct stat st;
    return stat("/proc/self/ns/time", &st) == 0 ? (uint64_t)st.st_ino : 0;
}

int ipcr_os_random(void *out, size_t n) /* up to 256 bytes come whole */
{
    ssize_t got;
    do
        got = getrandom(out, n, 0);
    while (got < 0 && errno == EINTR);
    return got == (ssize_t)n ? IPCR_OK : failed();
}

/* Absolute and monotonic: a slice that is interrupted and resumed ends when it should.  Not
 * FUTEX_PRIVATE: the word is shared between address spaces. */
int ipcr_os_futex_wait(ipcr_word32 *word, uint32_t expected, uint64_t deadline_ns)
{
    const struct timespec until = to_timespec(deadline_ns);
    const long rc = syscall(SYS_futex, word, FUTEX_WAIT_BITSET, expected, &until, NULL, FUTEX_BITSET_MATCH_ANY);
    return rc != 0 && errno == EINTR ? IPCR_AGAIN : IPCR_OK;
}

void ipcr_os_futex_wake(ipcr_word32 *word, int n) { syscall(SYS_futex, word, FUTEX_WAKE, n, NULL, NULL, 0); }

bool ipcr_os_membarrier_register(void)
{
    return syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED, 0, 0) == 0;
}
bool ipcr_os_membarrier(void) { return syscall(SYS_membarrier, MEMBARRIER_CMD_GLOBAL_EXPEDITED, 0, 0) == 0; }

int ipcr_os_memfd(const char *label, int *fd)
{
    *fd = memfd_create(label, MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_NOEXEC_SEAL);
    if (*fd < 0 && errno == EINVAL) /* before Linux 6.3 */
        *fd = memfd_create(label, MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (*fd < 0)
        return failed();
    if (fchmod(*fd, 0600) != 0) {
        const int rc = failed();
        close(*fd);
        return rc;
    }
    return IPCR_OK;
}

int ipcr_os_seal(int fd)
{
    return fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) == 0 ? IPCR_OK : failed();
}

/* dir + "/" + name, or ENAMETOOLONG. */
static int join(char out[PATH_ROOM], const char *dir, const char *name)
{
    const int n = snprintf(out, PATH_ROOM, "%s/%s", dir, name);
    return n > 0 && n < PATH_ROOM ? IPCR_OK : IPCR_FROM_ERRNO(ENAMETOOLONG);
}

/* A FUSE file system lets signals interrupt it. */
static int open_whole(const char *path, int flags, mode_t mode)
{
    int fd;
    do
        fd = open(path, flags, mode);
    while (fd < 0 && errno == EINTR);
    return fd;
}

/* umask can only take bits away from 0600; fchmod gives them back. */
static int made(int fd, int *out)
{
    if (fd < 0)
        return failed();
    if (fchmod(fd, 0600) != 0) {
        const int rc = failed();
        close(fd);
        return rc;
    }
    *out = fd;
    return IPCR_OK;
}

int ipcr_os_open_nameless(const char *dir, int *fd)
{
    return made(open_whole(dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600), fd);
}

int ipcr_os_open_exclusive(const char *dir, const char *name, int *fd)
{
    char path[PATH_ROOM];
    int rc = join(path, dir, name);
    if (rc != IPCR_OK)
        return rc;
    const int new = open_whole(path, O_CREAT | O_EXCL | O_NOFOLLOW | O_RDWR | O_CLOEXEC, 0600);
    rc = made(new, fd);
    if (rc != IPCR_OK && new >= 0)
        unlink(path); /* ours since a moment */
    return rc;
}

int ipcr_os_open(const char *dir, const char *name, int *fd)
{
    char path[PATH_ROOM];
    const int rc = join(path, dir, name);
    if (rc != IPCR_OK)
        return rc;
    /* O_NONBLOCK: a FIFO of that name must not make us wait for its other end */
    *fd = open_whole(path, O_RDWR | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK, 0);
    return *fd >= 0 ? IPCR_OK : failed();
}

int ipcr_os_reopen(int fd, struct ipcr_file_id id, int *fresh)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    const int copy = open_whole(path, O_RDWR | O_CLOEXEC, 0);
    if (copy < 0)
        return failed();
    struct ipcr_file_facts facts = { .size = 0 };
    int rc = ipcr_os_facts(copy, &facts);
    if (rc == IPCR_OK && !ipcr_same_file(facts.id, id))
        rc = IPCR_FROM_ERRNO(EBADF); /* the program closed our descriptor, and its number leads elsewhere */
    if (rc != IPCR_OK) {
        close(copy);
        return rc;
    }
    *fresh = copy;
    return IPCR_OK;
}

int ipcr_os_link(int fd, const char *dir, const char *name)
{
    char path[PATH_ROOM], self[64];
    const int rc = join(path, dir, name);
    if (rc != IPCR_OK)
        return rc;
    snprintf(self, sizeof self, "/proc/self/fd/%d", fd);
    return linkat(AT_FDCWD, self, AT_FDCWD, path, AT_SYMLINK_FOLLOW) == 0 ? IPCR_OK : failed();
}

int ipcr_os_rename_new(const char *dir, const char *from, const char *to)
{
    char old[PATH_ROOM], new[PATH_ROOM];
    int rc = join(old, dir, from);
    if (rc == IPCR_OK)
        rc = join(new, dir, to);
    if (rc != IPCR_OK)
        return rc;
    return renameat2(AT_FDCWD, old, AT_FDCWD, new, RENAME_NOREPLACE) == 0 ? IPCR_OK : failed();
}

int ipcr_os_unlink(const char *dir, const char *name)
{
    char path[PATH_ROOM];
    const int rc = join(path, dir, name);
    if (rc != IPCR_OK)
        return rc;
    return unlink(path) == 0 ? IPCR_OK : failed();
}

/* A signal makes tmpfs give up and undo the whole allocation, so a timer shorter than the allocation
 * would keep it from ever ending: signals wait for one attempt. */
int ipcr_os_allocate_range(int fd, uint64_t offset, uint64_t bytes)
{
    sigset_t all, before;
    int e;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    do
        e = posix_fallocate(fd, (off_t)offset, (off_t)bytes);
    while (e == EINTR);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return e == 0 ? IPCR_OK : IPCR_FROM_ERRNO(e);
}

int ipcr_os_allocate(int fd, uint64_t bytes) { return ipcr_os_allocate_range(fd, 0, bytes); }

int ipcr_os_set_size(int fd, uint64_t bytes)
{
    int rc;
    do
        rc = ftruncate(fd, (off_t)bytes);
    while (rc != 0 && errno == EINTR);
    return rc == 0 ? IPCR_OK : failed();
}

static void keep_facts(const struct stat *st, struct ipcr_file_facts *out)
{
    *out = (struct ipcr_file_facts){
        .id = { .device = (uint64_t)st->st_dev, .inode = (uint64_t)st->st_ino },
        .size = (uint64_t)st->st_size,
        .owner = (uint32_t)st->st_uid,
        .mode = (uint32_t)st->st_mode & 07777u,
        .links = (uint32_t)st->st_nlink,
        .regular = S_ISREG(st->st_mode),
    };
}

int ipcr_os_facts(int fd, struct ipcr_file_facts *out)
{
    struct stat st;
    if (fstat(fd, &st) != 0)
        return failed();
    keep_facts(&st, out);
    return IPCR_OK;
}

int ipcr_os_named(const char *dir, const char *name, struct ipcr_file_id *out)
{
    char path[PATH_ROOM];
    struct stat st;
    struct ipcr_file_facts facts;
    const int rc = join(path, dir, name);
    if (rc != IPCR_OK)
        return rc;
    if (lstat(path, &st) != 0)
        return failed();
    keep_facts(&st, &facts);
    *out = facts.id;
    return IPCR_OK;
}

void ipcr_os_close(int fd)
{
    if (fd >= 0)
        close(fd);
}

static struct flock byte_lock(short type, int64_t byte)
{
    return (struct flock){ .l_type = type, .l_whence = SEEK_SET, .l_start = (off_t)byte, .l_len = 1 };
}

static int about_lock(int fd, int command, struct flock *lock)
{
    int rc;
    do
        rc = fcntl(fd, command, lock);
    while (rc != 0 && errno == EINTR);
    return rc;
}

/* Linux says EAGAIN when somebody is in the way; EACCES is a security module's word. */
int ipcr_os_lock(int fd, int64_t byte, bool exclusive)
{
    struct flock lock = byte_lock(exclusive ? F_WRLCK : F_RDLCK, byte);
    if (about_lock(fd, F_OFD_SETLK, &lock) == 0)
        return IPCR_OK;
    return errno == EAGAIN ? IPCR_TAKEN : failed();
}

int ipcr_os_locked(int fd, int64_t byte, bool *locked)
{
    struct flock lock = byte_lock(F_WRLCK, byte);
    if (about_lock(fd, F_OFD_GETLK, &lock) != 0)
        return failed();
    *locked = lock.l_type != F_UNLCK;
    return IPCR_OK;
}

int ipcr_os_reserve(uint64_t bytes, uint8_t **at)
{
    void *p = mmap(NULL, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p == MAP_FAILED)
        return failed();
    *at = p;
    return IPCR_OK;
}

int ipcr_os_map(uint8_t *at, int fd, uint64_t offset, uint64_t bytes)
{
    void *p = mmap(at, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, (off_t)offset);
    return p != MAP_FAILED ? IPCR_OK : failed();
}

int ipcr_os_map_read_only(int fd, uint64_t bytes, const uint8_t **at)
{
    void *p = mmap(NULL, bytes, PROT_READ, MAP_SHARED, fd, 0);
    if (p == MAP_FAILED)
        return failed();
    *at = p;
    return IPCR_OK;
}

int ipcr_os_map_hold(int fd, void **page)
{
    const size_t bytes = (size_t)ipcr_os_page_bytes();
    void *p = mmap(NULL, bytes, PROT_NONE, MAP_SHARED, fd, 0);
    if (p == MAP_FAILED)
        return failed();
    if (madvise(p, bytes, MADV_DONTFORK) != 0) {
        const int rc = failed();
        munmap(p, bytes);
        return rc;
    }
    *page = p;
    return IPCR_OK;
}

void ipcr_os_unmap(const void *at, uint64_t bytes)
{
    if (at != NULL)
        munmap((void *)(uintptr_t)at, bytes);
}

struct lifeline {
    int fd;
    int exit_code;
};

static void *watch_lifeline(void *arg)
{
    const struct lifeline line = *(struct lifeline *)arg;
    free(arg);
    struct pollfd p = { .fd = line.fd, .events = POLLIN };
    for (;;) {
        const int n = poll(&p, 1, -1);
        if (n > 0 && (p.revents & (POLLHUP | POLLERR | POLLNVAL | POLLIN)) != 0)
            _exit(line.exit_code);
        if (n < 0 && errno != EINTR && errno != EAGAIN && errno != ENOMEM)
            return NULL;
    }
}

int ipcr_os_end_with(int fd, int exit_code)
{
    struct lifeline *line = malloc(sizeof *line);
    if (line == NULL)
        return IPCR_FROM_ERRNO(ENOMEM);
    *line = (struct lifeline){ .fd = fd, .exit_code = exit_code };
    /* signals belong to Python's main thread */
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    pthread_attr_t detached;
    pthread_attr_init(&detached);
    pthread_attr_setdetachstate(&detached, PTHREAD_CREATE_DETACHED);
    pthread_attr_setstacksize(&detached, 64 * 1024);
    pthread_t thread;
    int e = pthread_create(&thread, &detached, watch_lifeline, line);
    pthread_attr_destroy(&detached);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (e != 0)
        free(line);
    return e == 0 ? IPCR_OK : IPCR_FROM_ERRNO(e);
}

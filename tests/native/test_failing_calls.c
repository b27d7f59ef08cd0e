/* test_failing_calls.c - every system call and allocation of the core fails once, each in its turn: the call that
 * needed it says so with a status, nothing is kept that was taken for it, and the next try works.
 *
 * The linker puts us between the core and libc (--wrap, see the Makefile).  Not failed here: munmap, close, and what
 * runs once per process (pthread_atfork).
 */
#include "ends.h"
#include "messages.h"
#include "registry.h"
#include "stats.h"

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

/* --- stories ---------------------------------------------------------------------------------------------------------- */

static int64_t take(struct ipcr_segment *s, uint32_t side, struct ipcr_end **out)
{
    uint32_t by;
    const int rc = ipcr_end_open(s, side, 0, out);
    return rc == IPCR_OK ? ipcr_end_take(*out, &by) : rc;
}

static void drop(struct ipcr_end *e)
{
    if (e != NULL)
        finish(e, true);
}

static int64_t talk(struct ipcr_segment *s)
{
    struct ipcr_end *w = NULL, *r = NULL;
    struct ipcr_stats stats;
    char out[IPCR_SMALL];
    int64_t rc = take(s, IPCR_SENDER, &w);
    if (rc == IPCR_OK)
        rc = take(s, IPCR_RECEIVER, &r);
    if (rc == IPCR_OK)
        rc = ipcr_stats_of_segment(s, &stats);
    if (rc == IPCR_OK) { /* parks, is woken by nobody, and looks after its peer */
        rc = ipcr_recv_wait(r, out, in_ms(3), 0);
        if (rc == IPCR_AGAIN)
            ipcr_stop_waiting(r);
        rc = rc == IPCR_EMPTY || rc == IPCR_AGAIN ? IPCR_OK : rc;
    }
    if (rc == IPCR_OK)
        rc = ipcr_send(w, "text", 4, 0);
    if (rc == IPCR_OK)
        rc = ipcr_recv(r, out) == 4 ? IPCR_OK : IPCR_EMPTY;
    drop(w);
    drop(r);
    return rc;
}

static int64_t anonymous_life(void)
{
    struct ipcr_segment *s = NULL;
    int64_t rc = ipcr_segment_create(NULL, "ipc:test", IPCR_KIND_RING, SMALLEST, 0, &s);
    if (rc != IPCR_OK)
        return rc;
    rc = talk(s);
    ipcr_segment_release(s);
    return rc;
}

static int64_t attached(struct ipcr_segment **out)
{
    int fd = -1;
    int64_t rc = ipcr_os_open(dir, "name", &fd);
    if (rc == IPCR_OK)
        rc = ipcr_segment_attach(fd, dir, "name", IPCR_KIND_RING, false, out);
    if (rc != IPCR_OK)
        ipcr_os_close(fd);
    return rc;
}

static int64_t named_life(void)
{
    struct ipcr_segment *s = NULL, *other = NULL;
    struct ipcr_stats stats;
    int fd = -1;
    int64_t rc = ipcr_segment_create(dir, "name", IPCR_KIND_RING, SMALLEST, 0, &s);
    if (rc != IPCR_OK)
        return rc;
    rc = attached(&other);
    if (rc == IPCR_OK)
        rc = ipcr_os_open(dir, "name", &fd);
    if (rc == IPCR_OK)
        rc = ipcr_stats_of_file(fd, &stats);
    ipcr_os_close(fd);
    if (rc == IPCR_OK)
        rc = talk(other);
    if (other != NULL)
        ipcr_segment_release(other);
    ipcr_segment_release(s);
    return rc;
}

static int64_t life_without_tmpfile(void)
{
    no_tmpfile = true;
    const int64_t rc = named_life();
    no_tmpfile = false;
    return rc;
}

/* What is unread keeps the name when the last one leaves. */
static int64_t orphan_and_removal(void)
{
    struct ipcr_segment *s = NULL;
    struct ipcr_end *w = NULL;
    int64_t rc = ipcr_segment_create(dir, "name", IPCR_KIND_RING, SMALLEST, 0, &s);
    if (rc != IPCR_OK)
        return rc;
    rc = take(s, IPCR_SENDER, &w);
    if (rc == IPCR_OK)
        rc = ipcr_send(w, "unread", 6, 0);
    drop(w);
    ipcr_segment_release(s);
    if (rc == IPCR_OK)
        rc = ipcr_segment_create(dir, "name", IPCR_KIND_RING, SMALLEST, 0, &s);
    if (rc != IPCR_OK) {
        const int removed = ipcr_name_remove(dir, "name", IPCR_REMOVE_ORPHAN);
        return removed == IPCR_OK || removed == IPCR_NOT_FOUND ? rc : removed;
    }
    rc = ipcr_segment_unlink(s);
    ipcr_segment_release(s);
    return rc;
}

static int64_t hand_over(struct ipcr_segment *s, bool with_role)
{
    struct ipcr_end *e = NULL, *child = NULL;
    int held;
    int64_t rc = ipcr_end_open(s, IPCR_SENDER, 0, &e);
    if (rc == IPCR_OK)
        rc = ipcr_end_hand_over(e, with_role, false, &held);
    if (rc == IPCR_OK) {
        ipcr_end_take_back(e, held, with_role);
        rc = ipcr_end_hand_over(e, with_role, false, &held);
    }
    if (rc == IPCR_OK) {
        ipcr_parcel_keep(held);
        rc = ipcr_end_adopt(s, IPCR_SENDER, 0, held, with_role, &child);
    }
    drop(e);
    drop(child);
    return rc;
}

static int64_t ends_that_move(void)
{
    struct ipcr_segment *s = NULL;
    int64_t rc = ipcr_segment_create(NULL, "ipc:test", IPCR_KIND_RING, SMALLEST, 0, &s);
    if (rc != IPCR_OK)
        return rc;
    rc = hand_over(s, false);
    if (rc == IPCR_OK)
        rc = hand_over(s, true);
    ipcr_segment_release(s);
    return rc;
}

/* A child for which presence or claim could not be had is not present until it uses the end. */
static int64_t forks(void)
{
    struct ipcr_segment *s = NULL;
    struct ipcr_end *e = NULL;
    uint32_t by;
    int status = 0;
    int64_t rc = ipcr_segment_create(dir, "name", IPCR_KIND_RING, SMALLEST, 0, &s);
    if (rc != IPCR_OK)
        return rc;
    rc = ipcr_end_open(s, IPCR_SENDER, 0, &e);
    if (rc == IPCR_OK) {
        const pid_t pid = fork();
        if (pid == 0) {
            const int taken_there = ipcr_end_take(e, &by);
            _exit(taken_there == IPCR_OK ? 0 : is_status(taken_there) ? 1 : 2);
        }
        CHECK(pid > 0 && waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) < 2);
    }
    drop(e);
    ipcr_segment_release(s);
    return rc;
}

static void an_anonymous_segment_survives_every_failure(void) { tell_with_failures(anonymous_life); }
static void a_named_segment_survives_every_failure(void) { tell_with_failures(named_life); }
static void a_name_without_tmpfile_survives_every_failure(void) { tell_with_failures(life_without_tmpfile); }
static void an_orphan_is_replaced_or_reported_whatever_fails(void) { tell_with_failures(orphan_and_removal); }
static void an_end_that_moves_survives_every_failure(void) { tell_with_failures(ends_that_move); }
static void a_fork_survives_every_failure(void) { tell_with_failures(forks); }

/* --- the lifeline of a child ------------------------------------------------------------------------------------------- */

static void hold_on(int ear, int mouth, void *arg)
{
    (void)mouth;
    (void)arg;
    for (countdown = 1; countdown < 3; countdown++) { /* no memory, no thread */
        const uint64_t n = countdown;
        CHECK(IPCR_IS_ERRNO(ipcr_os_end_with(ear, 7)));
        countdown = n;
    }
    countdown = 0;
    CHECK_IS(ipcr_os_end_with(ear, 7), IPCR_OK);
    wait_for_end();
}

static void a_child_ends_with_its_parents_descriptor(void)
{
    struct child c = child_start(hold_on, NULL);
    close(c.mouth);
    int status;
    CHECK(waitpid(c.pid, &status, 0) == c.pid);
    CHECK(WIFEXITED(status));
    CHECK_IS(WEXITSTATUS(status), 7);
    close(c.ear);
}

int main(void)
{
    check_begin();
    snprintf(dir, sizeof dir, "/dev/shm/ipc-failing-%d", (int)getpid());
    CHECK(mkdir(dir, 0700) == 0);
    check_tidy = remove_dir;
    run("an anonymous segment survives every failure", an_anonymous_segment_survives_every_failure);
    run("a named segment survives every failure", a_named_segment_survives_every_failure);
    run("a name without O_TMPFILE survives every failure", a_name_without_tmpfile_survives_every_failure);
    run("an orphan is replaced or reported, whatever fails", an_orphan_is_replaced_or_reported_whatever_fails);
    run("an end that moves survives every failure", an_end_that_moves_survives_every_failure);
    run("a fork survives every failure", a_fork_survives_every_failure);
    run("a child ends with its parent's descriptor", a_child_ends_with_its_parents_descriptor);
    remove_dir();
    return check_finish();
}

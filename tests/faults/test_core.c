/* test_core.c - each system call of each operation of the core fails, with each plausible errno, at its first three uses.
 *
 * Which calls an operation makes is not written down here: it runs once and they are counted.  Then, for each of them,
 * for each errno that inject.c thinks plausible and for n up to 3, in a fresh process:
 *
 *   - the operation says so by that errno, or by the verdict that it stands for, or may get by without the call (tables
 *     below);
 *   - whatever it says is true: success means that what it made works, failure means that it has left nothing:
 *     no descriptor, mapping, block of the heap, lock or name (stock.c), no end that looks taken;
 *   - right afterwards the same operation works.
 *
 * What this cannot find: what a call that failed has done half (a kernel's business), and what happens between two
 * system calls, for which there are kill points and single steps.
 */
#include "inject.h"
#include "operations.h"
#include "stock.h"

enum { MOST_USES = 3, UNUSED = 77 /* exit code: the call was not made often enough this time */ };

static char dir[] = "/dev/shm/ipcr-faults-XXXXXX";

/* What an errno of a call means, where it is not handed on as it is. */
static const struct {
    const char *call;
    int error;
    int verdict;
} verdicts[] = {
    { "open", ENOENT, IPCR_NOT_FOUND },    /* of the name */
    { "open", EACCES, IPCR_UNTRUSTED },    /* of the name: not ours to remove */
    { "lstat", ENOENT, IPCR_NOT_FOUND },   /* the name has gone */
    { "unlink", ENOENT, IPCR_NOT_FOUND },
    { "lock", EAGAIN, IPCR_TAKEN },       /* a lock: somebody else has it */
    { "lock", EAGAIN, IPCR_EXISTS },      /* the presence byte of what should have been an orphan */
    { "lock", EAGAIN, IPCR_NOT_FOUND },   /* the presence byte: it is being removed */
};

static bool says_so(int rc, const char *call, int error)
{
    if (rc == IPCR_FROM_ERRNO(error))
        return error != EINTR; /* os.c calls again */
    for (size_t i = 0; i < sizeof verdicts / sizeof verdicts[0]; i++)
        if (verdicts[i].error == error && verdicts[i].verdict == rc && strcmp(verdicts[i].call, call) == 0)
            return true;
    return false;
}

/* Failures that an operation may get by without a word, and why.  0: any errno; NULL: any operation, any call. */
static const struct {
    const char *call;
    int error;
    const char *operation; /* a part of its name */
} got_by[] = {
    { "close", 0, NULL },               /* it has closed, and nothing was written that could be lost */
    { "futex wait", 0, NULL },          /* every return means: look again */
    { "futex wake", 0, NULL },          /* the sleeper looks again at the end of its slice */
    { "membarrier", 0, NULL },          /* fences, or a second look, instead */
    { "stat", 0, NULL },                /* the time namespace is unknown */
    { "open", EINTR, NULL },            /* called again, as are the next four */
    { "lock", EINTR, NULL },
    { "getrandom", EINTR, NULL },
    { "posix_fallocate", EINTR, NULL },
    { "ftruncate", EINTR, NULL },
    { "memfd_create", EINVAL, NULL },   /* Linux before 6.3: tried with fewer flags */
    { "linkat", EEXIST, NULL },         /* and then there was nobody: tried again */
    { "renameat2", EEXIST, NULL },
    { "renameat2", ENOENT, NULL },      /* somebody has collected what was unfinished: made again */
    { "open", ENOENT, "create " },
    { "lstat", ENOENT, "create over" }, /* the orphan has gone by itself */
    { "unlink", ENOENT, "create over" },
    { "lstat", ENOENT, "attach" },      /* the name was replaced: opened anew */
    { "lock", EAGAIN, "attach" },       /* it is being removed: tried again */
    { "lock", EAGAIN, "orphan" },       /* somebody else is at the name: tried again */
    { "lock", EAGAIN, "unlink" },
    { "lock", EAGAIN, "O_TMPFILE" },
    { "lock", EAGAIN, "subscribe" },    /* the number is somebody else's: the next one */
    { "lock", EAGAIN, "queue: first" }, /* so is a lane, or a consumer's number */
    { "lock", EAGAIN, "lane of old" },
    { "lock", EAGAIN, "the dead" },     /* somebody else is burying them: looked for again */
    { "fstat", 0, "join" },             /* what can't be looked at is not finished: looked at again */
    { "mmap", 0, "join" },
    { "lstat", ENOENT, "look at segment" }, /* attaches: the name was replaced */
    { "lock", EAGAIN, "look at segment" },
    { NULL, 0, "close" },               /* what it can't remove is an orphan */
    { NULL, 0, "fork" },                /* the child has no claim until it uses the end */
};

static bool may_get_by(const struct operation *op, const char *call, int error)
{
    for (size_t i = 0; i < sizeof got_by / sizeof got_by[0]; i++)
        if ((got_by[i].call == NULL || strcmp(got_by[i].call, call) == 0) &&
            (got_by[i].error == 0 || got_by[i].error == error) &&
            (got_by[i].operation == NULL || strstr(op->name, got_by[i].operation) != NULL))
            return true;
    return false;
}

static int acted(const struct operation *op)
{
    const int rc = op->act();
    return rc == op->empty_handed ? IPCR_OK : rc;
}

/* In a process of its own. */
static void attempt(const struct operation *op, int call, int nth, int error)
{
    struct stock at_first, before, now;
    stock_take(&at_first, dir);
    op->prepare();
    stock_take(&before, dir);

    inject_begin(call, nth, error);
    const int rc = acted(op);
    if (!inject_end())
        _exit(UNUSED);
    if (rc < 0 && !says_so(rc, inject_name(call), error))
        check_failed_is(op->name, 0, "the result", rc, IPCR_FROM_ERRNO(error));
    CHECK_IS(inject_bad_closes(), 0);
    if (rc == IPCR_OK) {
        CHECK(may_get_by(op, inject_name(call), error));
        op->prove();
        op->undo();
    }
    stock_take(&now, dir);
    stock_compare(op->ends ? &at_first : &before, &now,
                  rc == IPCR_OK ? SAME_NAMES : op->names_may_go ? FEWER_FILES : SAME_FILES);

    if (op->ends)
        op->prepare();
    CHECK_IS(acted(op), IPCR_OK);
    op->prove();
    op->undo();
    op->tidy();
    stock_take(&now, dir);
    stock_compare(&at_first, &now, SAME_FILES);
}

static pid_t attempting(const struct operation *op, int call, int nth, int error)
{
    fflush(NULL);
    const pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        check_running = op->name;
        alarm(WATCHDOG_SECONDS);
        attempt(op, call, nth, error);
        fflush(NULL);
        _exit(0);
    }
    return pid;
}

static void empty_directory(void)
{
    char command[128];
    snprintf(command, sizeof command, "rm -rf %s/* %s/.ipc-*", dir, dir);
    CHECK(system(command) == 0);
}

/* How often the operation makes each call, found out in a process of its own. */
static void count_calls(const struct operation *op, int *counts)
{
    fflush(NULL);
    const pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
        check_running = op->name;
        op->prepare();
        inject_begin(-1, 0, 0);
        CHECK_IS(acted(op), IPCR_OK);
        inject_end();
        for (int call = 0; call < inject_calls(); call++)
            counts[call] = inject_count(call);
        op->prove();
        op->undo();
        op->tidy();
        _exit(0);
    }
    int status;
    CHECK(waitpid(pid, &status, 0) == pid);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

struct tally {
    int combinations;
    int wrong;
    int unused;
};

static void try_all(const struct operation *op, const char *only, struct tally *all)
{
    int *const counts = shared_memory(4096);
    struct tally here = { 0 };
    count_calls(op, counts);
    for (int call = 0; call < inject_calls(); call++) {
        if (only != NULL && strcmp(only, inject_name(call)) != 0)
            continue;
        for (int nth = 1; nth <= MOST_USES && nth <= counts[call]; nth++)
            for (int i = 0; inject_errno(call, i) != 0; i++) {
                int status;
                const pid_t pid = attempting(op, call, nth, inject_errno(call, i));
                CHECK(waitpid(pid, &status, 0) == pid);
                if (WIFEXITED(status) && WEXITSTATUS(status) == UNUSED) {
                    here.unused++;
                } else {
                    here.combinations++;
                    here.wrong += status != 0;
                }
                if (status != 0 && WEXITSTATUS(status) != UNUSED)
                    printf("  that was %s, where %s failed at use %d: %s (status %d)\n", op->name, inject_name(call),
                           nth, strerror(inject_errno(call, i)), status);
                if (status != 0)
                    empty_directory();
            }
    }
    munmap(counts, 4096);
    printf("%-24s %5d combinations, %d wrong\n", op->name, here.combinations, here.wrong);
    fflush(stdout);
    all->combinations += here.combinations;
    all->wrong += here.wrong;
    all->unused += here.unused;
}

/* The lifeline: ipcr_os_end_with starts a thread that can't be taken back, so this has a shape of its own.  A process
 * that was told of a failure has nothing left over, and one that was not ends with its parent's descriptor. */
static void hold_lifeline(int call, int error, int fd)
{
    struct stock before, now;
    stock_take(&before, dir);
    inject_begin(call, 1, error);
    int rc = ipcr_os_end_with(fd, 113);
    if (rc != IPCR_OK) {
        CHECK(inject_end());
        CHECK_IS(rc, IPCR_FROM_ERRNO(error));
        stock_take(&now, dir);
        stock_compare(&before, &now, SAME_FILES);
        rc = ipcr_os_end_with(fd, 113);
    }
    CHECK_IS(rc, IPCR_OK);
    wait_for_end();
}

static void try_lifeline(struct tally *all)
{
    const char *const names[] = { "pthread_create", "malloc", "poll" };
    const int before = all->combinations;
    for (size_t k = 0; k < sizeof names / sizeof names[0]; k++) {
        const int call = inject_find(names[k]);
        for (int i = 0; inject_errno(call, i) != 0; i++) {
            int line[2], status;
            CHECK(pipe2(line, O_CLOEXEC) == 0);
            const pid_t pid = fork();
            CHECK(pid >= 0);
            if (pid == 0) {
                prctl(PR_SET_PDEATHSIG, SIGKILL);
                close(line[1]);
                hold_lifeline(call, inject_errno(call, i), line[0]);
            }
            close(line[0]);
            close(line[1]);
            CHECK(waitpid(pid, &status, 0) == pid);
            all->combinations++;
            if (WIFEXITED(status) && WEXITSTATUS(status) == 113)
                continue;
            all->wrong++;
            printf("  that was the lifeline, where %s failed (status %d)\n", names[k], status);
        }
    }
    printf("%-24s %5d combinations\n", "end with a descriptor", all->combinations - before);
}

static void remove_dir(void)
{
    empty_directory();
    (void)rmdir(dir);
}

/* Arguments: a word that the operation's name contains, a call. */
int main(int argc, char **argv)
{
    struct tally all = { 0 };
    check_begin();
    CHECK(mkdtemp(dir) != NULL);
    check_tidy = remove_dir;
    operations_begin(dir);
    const struct operation *const tables[] = {
        channel_operations,
        multicast_operations,
        queue_operations,
        queue_traffic_operations,
    };
    for (size_t t = 0; t < sizeof tables / sizeof tables[0]; t++)
        for (const struct operation *op = tables[t]; op->name != NULL; op++)
            if (argc < 2 || strstr(op->name, argv[1]) != NULL)
                try_all(op, argc > 2 ? argv[2] : NULL, &all);
    if (argc < 2)
        try_lifeline(&all);
    remove_dir();
    printf("%d (call, errno, n) combinations, %d wrong or leaking", all.combinations, all.wrong);
    printf(all.unused != 0 ? ", %d not met again\n" : "\n", all.unused);
    return all.wrong != 0 || all.combinations == 0;
}

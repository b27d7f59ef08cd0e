/* check.h - what the C test programs share: CHECK, a runner, other processes, and private directories.
 *
 * The first failed check ends the program: what follows it would be guesswork.  Children die with
 * their parent, so nothing is left behind.  A test that hangs is ended by a watchdog that names it (each test
 * gets its own time, however long the others took); nothing else here bounds time.
 */
#ifndef IPCR_TESTS_CHECK_H
#define IPCR_TESTS_CHECK_H

#include "os.h"
#include "segment.h"
#include "status.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* Sanitizers are 5 to 20 times slower: fewer iterations, same tests. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#define FEWER(native, sanitized) (sanitized)
#else
#define SANITIZED 0
#define FEWER(native, sanitized) (native)
#endif

/* _exit writes down no counters of coverage; without this, what only children do would never count. */
#ifdef IPC_COVERAGE
void __gcov_dump(void);
_Noreturn static inline void exit_counted(int code)
{
    __gcov_dump();
    _exit(code);
}
#define _exit exit_counted
#endif

enum { WATCHDOG_SECONDS = 300 };

/* Weak: a program of several files has one of each. */
#define CHECK_SHARED __attribute__((weak))
CHECK_SHARED int check_passed;
CHECK_SHARED pid_t check_main_process;
CHECK_SHARED const char *volatile check_running = "(between tests)";
CHECK_SHARED void (*check_tidy)(void); /* what a failed program must not leave behind */

static inline void check_end(void)
{
    if (getpid() == check_main_process) {
        printf("%d passed, 1 failed\n", check_passed);
        if (check_tidy != NULL)
            check_tidy();
    }
    fflush(NULL);
    _exit(1);
}

static inline void check_failed(const char *file, int line, const char *what)
{
    printf("FAILED %s\n%s:%d: %s\n", check_running, file, line, what);
    check_end();
}

static inline void check_failed_is(const char *file, int line, const char *what, int64_t got, int64_t wanted)
{
    printf("FAILED %s\n%s:%d: %s is %" PRId64 ", not %" PRId64 "\n", check_running, file, line, what, got, wanted);
    check_end();
}

#define CHECK(expression) ((expression) ? (void)0 : check_failed(__FILE__, __LINE__, #expression))
#define CHECK_IS(expression, wanted)                                                                      \
    do {                                                                                                  \
        const int64_t check_got = (int64_t)(expression), check_wanted = (int64_t)(wanted);                \
        if (check_got != check_wanted)                                                                    \
            check_failed_is(__FILE__, __LINE__, #expression, check_got, check_wanted);                    \
    } while (0)

static void check_watchdog(int signal_number)
{
    (void)signal_number;
    static const char text[] = "FAILED, hangs: ";
    const char *name = check_running;
    if (write(1, text, sizeof text - 1) < 0 || write(1, name, strlen(name)) < 0 || write(1, "\n", 1) < 0)
        _exit(2);
    _exit(1);
}

typedef void check_test(void);

static inline time_t seconds_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec;
}

static inline void run(const char *sentence, check_test *test)
{
    const time_t begun = seconds_now();
    check_running = sentence;
    alarm(WATCHDOG_SECONDS);
    test();
    alarm(0);
    check_running = "(between tests)";
    check_passed++;
    const time_t took = seconds_now() - begun;
    if (took >= 5)
        printf("ok  %s (%d s)\n", sentence, (int)took);
    else
        printf("ok  %s\n", sentence);
    fflush(stdout);
}

static inline void check_begin(void)
{
    check_main_process = getpid();
    signal(SIGALRM, check_watchdog);
    signal(SIGPIPE, SIG_IGN);
}

static inline int check_finish(void)
{
    printf("%d passed, 0 failed\n", check_passed);
    return 0;
}

/* --- random numbers: seeded, so that a failure comes back --------------------------------------- */

static inline uint64_t mixed(uint64_t x) /* splitmix64 */
{
    x += UINT64_C(0x9e3779b97f4a7c15);
    x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
    return x ^ (x >> 31);
}

static inline uint64_t random_next(uint64_t *state) { return mixed((*state)++); }

/* --- payloads that know which message they belong to ---------------------------------------------- */

static inline void stamp(uint8_t *out, uint64_t length, uint64_t seed)
{
    uint64_t word = mixed(seed);
    while (length >= 8) {
        memcpy(out, &word, 8);
        word += UINT64_C(0x9e3779b97f4a7c15);
        out += 8;
        length -= 8;
    }
    memcpy(out, &word, length);
}

static inline bool is_stamped(const uint8_t *at, uint64_t length, uint64_t seed)
{
    uint64_t word = mixed(seed);
    while (length >= 8) {
        if (memcmp(at, &word, 8) != 0)
            return false;
        word += UINT64_C(0x9e3779b97f4a7c15);
        at += 8;
        length -= 8;
    }
    return memcmp(at, &word, length) == 0;
}

/* --- other processes -------------------------------------------------------------------------------- */

struct child {
    pid_t pid;
    int ear;   /* what the child says */
    int mouth; /* what the child hears */
};

static inline void say(int fd, char word) { CHECK(write(fd, &word, 1) == 1); }

/* The next word, or 0 when the other side is gone. */
static inline char hear(int fd)
{
    char word;
    ssize_t n;
    do
        n = read(fd, &word, 1);
    while (n < 0 && errno == EINTR);
    return n == 1 ? word : (char)0;
}

typedef void child_body(int ear, int mouth, void *arg);

static inline struct child child_start(child_body *body, void *arg)
{
    int down[2], up[2];
    const pid_t parent = getpid();
    CHECK(pipe2(down, O_CLOEXEC) == 0 && pipe2(up, O_CLOEXEC) == 0);
    fflush(NULL);
    const pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != parent)
            _exit(1);
        close(down[1]);
        close(up[0]);
        body(down[0], up[1], arg);
        fflush(NULL);
        _exit(0);
    }
    close(down[0]);
    close(up[1]);
    return (struct child){ .pid = pid, .ear = up[0], .mouth = down[1] };
}

static inline int child_wait(struct child *c)
{
    int status;
    pid_t got;
    do
        got = waitpid(c->pid, &status, 0);
    while (got < 0 && errno == EINTR);
    CHECK(got == c->pid);
    close(c->ear);
    close(c->mouth);
    c->pid = 0;
    return status;
}

static inline void child_finish(struct child *c)
{
    const int status = child_wait(c);
    CHECK(WIFEXITED(status));
    CHECK_IS(WEXITSTATUS(status), 0);
}

/* When this returns the kernel has closed the child's files and mappings. */
static inline void child_kill(struct child *c)
{
    CHECK(kill(c->pid, SIGKILL) == 0);
    const int status = child_wait(c);
    CHECK(WIFSIGNALED(status));
}

static inline void wait_for_end(void) /* of a child that is to be killed */
{
    for (;;)
        pause();
}

/* Memory that forked children share. */
static inline void *shared_memory(size_t bytes)
{
    void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(p != MAP_FAILED);
    return p;
}

/* --- segments --------------------------------------------------------------------------------------- */

static inline struct ipcr_segment *anonymous(uint64_t capacity, uint64_t start_position)
{
    struct ipcr_segment *s = NULL;
    CHECK_IS(ipcr_segment_create(NULL, "ipc:test", IPCR_KIND_RING, capacity, start_position, &s), IPCR_OK);
    return s;
}

static inline uint64_t now_ns(void) { return ipcr_os_now_ns(); }
static inline uint64_t in_ms(uint64_t ms) { return now_ns() + ms * UINT64_C(1000000); }

#endif

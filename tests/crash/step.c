/* step.c - see step.h.
 *
 * A process with PTRACE_SINGLESTEP stops after each instruction of its own, and after each round of a repeated
 * one (rep movsb), in the C library and in the vDSO as well.  What it does inside the kernel is one step; what
 * it leaves *within* a system call is kill_points.c's.  On aarch64 a load-exclusive loop can't be stepped
 * through: build for machines with atomic instructions there (-march=armv8.1-a).
 */
#include "step.h"

#include <sys/ptrace.h>

enum { AT_SYSCALL = SIGTRAP | 0x80 };

void step_pin(void)
{
    cpu_set_t one;
    const int cpu = sched_getcpu();
    CPU_ZERO(&one);
    CPU_SET((size_t)(cpu >= 0 ? cpu : 0), &one);
    sched_setaffinity(0, sizeof one, &one); /* not allowed?  Then it is slower, and not wrong */
}

static _Noreturn void be_victim(struct stage *s)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) != 0)
        _exit(MAY_NOT_TRACE);
    if (s->operation->approach != NULL)
        s->operation->approach(s);
    fflush(NULL);
    store_release32(&s->between->phase, READY);
    raise(SIGSTOP);
    s->between->result = s->operation->operate(s);
    store_release32(&s->between->phase, RETURNED);
    for (;;)
        raise(SIGSTOP);
}

static int wait_for_stop(struct victim *v)
{
    int status;
    pid_t got;
    do
        got = waitpid(v->pid, &status, 0);
    while (got < 0 && errno == EINTR);
    CHECK(got == v->pid);
    return status;
}

bool victim_start(struct victim *v, struct stage *s)
{
    store_release32(&s->between->phase, APPROACHING);
    memset(s->between->hand, 0, sizeof s->between->hand);
    fflush(NULL);
    v->pid = fork();
    CHECK(v->pid >= 0);
    if (v->pid == 0)
        be_victim(s);
    const int status = wait_for_stop(v);
    if (!WIFSTOPPED(status)) { /* a failed check in approach has been printed, and ends with 1 */
        v->pid = 0;
        CHECK(WIFEXITED(status) && WEXITSTATUS(status) == MAY_NOT_TRACE);
        return false;
    }
    CHECK(WSTOPSIG(status) == SIGSTOP && load_acquire32(&s->between->phase) == READY);
    CHECK(ptrace(PTRACE_SETOPTIONS, v->pid, NULL, (void *)(PTRACE_O_EXITKILL | PTRACE_O_TRACESYSGOOD)) == 0);
    return true;
}

void victim_step(struct victim *v)
{
    CHECK(ptrace(PTRACE_SINGLESTEP, v->pid, NULL, NULL) == 0);
    CHECK(WIFSTOPPED(wait_for_stop(v)));
}

bool victim_to_syscall(struct victim *v, const struct stage *s)
{
    for (;;) {
        CHECK(ptrace(PTRACE_SYSCALL, v->pid, NULL, NULL) == 0);
        const int status = wait_for_stop(v);
        CHECK(WIFSTOPPED(status));
        if (has_returned(s))
            return false;
        if (WSTOPSIG(status) == AT_SYSCALL)
            return true;
    }
}

void victim_kill(struct victim *v)
{
    if (v->pid == 0)
        return;
    CHECK(kill(v->pid, SIGKILL) == 0);
    CHECK(WIFSIGNALED(wait_for_stop(v)));
    v->pid = 0;
}

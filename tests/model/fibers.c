/* fibers.c - who runs, one at a time; and time, which passes only when nobody can run. */
#include "machine.h"

#include <setjmp.h>
#include <sys/mman.h>
#include <ucontext.h>

enum { STACK = 128 * 1024, GUARD = 4096 };

struct fiber model_fibers[FIBERS];
int model_running;
uint64_t model_now;

static ucontext_t contexts[FIBERS];
static jmp_buf saved[FIBERS]; /* where a fiber goes on that has run before; faster than its context */
static bool has_run[FIBERS];
static uint8_t *stacks; /* one behind the other, with a page between that faults */
static int in_process[PROCESSES];

uint64_t model_patience;

void model_fibers_reset(void)
{
    memset(model_fibers, 0, sizeof model_fibers);
    memset(has_run, 0, sizeof has_run);
    memset(in_process, 0, sizeof in_process);
    has_run[STAGE] = true;
    model_running = STAGE;
    model_fibers[STAGE].state = READY;
    model_fibers[STAGE].process = -1;
}

static void begin(int fiber)
{
    model_fibers[fiber].body();
    model_fibers[fiber].state = DONE;
    model_block(NULL, UINT64_MAX); /* never comes back */
}

static uint8_t *stack_of(int fiber)
{
    const size_t all = FIBERS * (size_t)(STACK + GUARD);
    if (stacks == NULL) {
        stacks = mmap(NULL, all, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (stacks == MAP_FAILED)
            abort();
        for (int i = 0; i < FIBERS; i++)
            mprotect(stacks + (size_t)i * (STACK + GUARD) + GUARD, STACK, PROT_READ | PROT_WRITE);
    }
    return stacks + (size_t)fiber * (STACK + GUARD) + GUARD;
}

bool model_on_stack(const void *address)
{
    const uint8_t *at = address;
    return stacks != NULL && at >= stacks && at < stacks + FIBERS * (size_t)(STACK + GUARD);
}

void model_start(int fiber, int process, void (*body)(void))
{
    struct fiber *f = &model_fibers[fiber];
    f->state = READY;
    f->process = process;
    f->body = body;
    in_process[process]++;
    getcontext(&contexts[fiber]);
    contexts[fiber].uc_stack.ss_sp = stack_of(fiber);
    contexts[fiber].uc_stack.ss_size = STACK;
    contexts[fiber].uc_link = NULL;
    makecontext(&contexts[fiber], (void (*)(void))begin, 1, fiber);
    model_fork_knowledge(fiber);
}

bool model_is_alone(int process) { return process < 0 || in_process[process] <= 1; }

static void switch_to(int next)
{
    const int before = model_running;
    if (next == before)
        return;
    model_running = next;
    if (_setjmp(saved[before]) != 0)
        return;
    if (has_run[next])
        _longjmp(saved[next], 1);
    has_run[next] = true;
    setcontext(&contexts[next]);
}

static int candidates(int *found)
{
    int n = 0;
    for (int i = 1; i < FIBERS; i++)
        if (model_fibers[i].state == READY && i != model_running)
            found[n++] = i;
    return n;
}

static void come_to(uint64_t when)
{
    if (when > model_now)
        model_now = when;
    model_drain();
    for (int i = 1; i < FIBERS; i++)
        if (model_fibers[i].state == BLOCKED && model_fibers[i].deadline <= model_now) {
            model_fibers[i].state = READY;
            model_fibers[i].waits_for = NULL;
            model_fibers[i].timed_out = true;
        }
}

/* Nobody can run: the next deadline comes, if there is one that counts. */
static bool let_time_pass(void)
{
    uint64_t next = UINT64_MAX;
    for (int i = 1; i < FIBERS; i++)
        if (model_fibers[i].state == BLOCKED && model_fibers[i].deadline < next)
            next = model_fibers[i].deadline;
    if (next == UINT64_MAX || next - model_now > model_patience)
        return false;
    come_to(next);
    return true;
}

static bool all_over(void)
{
    for (int i = 1; i < FIBERS; i++)
        if (model_fibers[i].state == READY || model_fibers[i].state == BLOCKED)
            return false;
    return true;
}

/* The running fiber can't go on. */
static void run_another(void)
{
    int found[FIBERS], n;
    model_tick();
    while ((n = candidates(found)) == 0 && model_self()->state != READY) {
        if (all_over()) {
            switch_to(STAGE);
            return;
        }
        if (!let_time_pass())
            model_fail("nobody can go on: a wake-up was lost, or a lock is never given back");
    }
    if (model_running != STAGE && model_self()->state == READY)
        found[n++] = model_running; /* time has passed for it, too */
    switch_to(found[model_choose_runner(CHOOSE_NEXT, found, n, -1)]);
}

void model_run(void) { run_another(); }

static void perhaps_die(void)
{
    struct fiber *self = model_self();
    if (self->mortal && model_choose(CHOOSE_DEATH, 2) == 1) {
        model_note("dies", NULL, 0, "", "", 0);
        model_kill(self->process);
        run_another();
    }
}

void model_yield(void)
{
    if (model_running == STAGE)
        return;
    perhaps_die();
    int found[FIBERS];
    const int n = candidates(found);
    if (n == 0)
        return;
    const int next = model_choose_runner(CHOOSE_SWITCH, found, n, model_running);
    if (next != -1)
        switch_to(found[next]);
}

void model_block(const void *what, uint64_t deadline)
{
    struct fiber *self = model_self();
    if (self->state == READY)
        self->state = BLOCKED;
    self->waits_for = what;
    self->deadline = deadline;
    self->timed_out = false;
    run_another();
}

int model_wake(const void *what, int n)
{
    int woken = 0;
    for (int i = 1; i < FIBERS && woken < n; i++)
        if (model_fibers[i].state == BLOCKED && model_fibers[i].waits_for == what) {
            model_fibers[i].state = READY;
            model_fibers[i].waits_for = NULL;
            woken++;
        }
    return woken;
}

void model_pass_time(uint64_t ns)
{
    model_yield();
    model_note("time passes", NULL, ns, "", "", 0);
    come_to(model_now + ns);
}

void model_kill(int process)
{
    for (int i = 1; i < FIBERS; i++)
        if (model_fibers[i].process == process && model_fibers[i].state != ABSENT && model_fibers[i].state != DONE)
            model_fibers[i].state = DEAD;
    model_kernel_bury(process);
}

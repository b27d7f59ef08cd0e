/* fibers.c - who runs, one at a time; and time, which passes only when nobody can run. */
#include "machine.h"

#include <stdio.h>
#include <ucontext.h>

#undef malloc
#undef free

struct fiber model_fibers[FIBERS];
int model_running;
uint64_t model_now;

static ucontext_t contexts[FIBERS];
static char *stacks[FIBERS];

uint64_t model_patience;

void model_fibers_reset(void)
{
    memset(model_fibers, 0, sizeof model_fibers);
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

void model_start(int fiber, int process, void (*body)(void))
{
    struct fiber *f = &model_fibers[fiber];
    if (stacks[fiber] == NULL)
        stacks[fiber] = malloc(STACK);
    f->state = READY;
    f->process = process;
    f->body = body;
    getcontext(&contexts[fiber]);
    contexts[fiber].uc_stack.ss_sp = stacks[fiber];
    contexts[fiber].uc_stack.ss_size = STACK;
    contexts[fiber].uc_link = NULL;
    makecontext(&contexts[fiber], (void (*)(void))begin, 1, fiber);
    model_fork_knowledge(fiber);
}

bool model_is_alone(int process)
{
    int n = 0;
    for (int i = 1; i < FIBERS; i++)
        n += model_fibers[i].state != ABSENT && model_fibers[i].process == process;
    return n <= 1;
}

static void switch_to(int next)
{
    const int before = model_running;
    if (next == before)
        return;
    model_running = next;
    swapcontext(&contexts[before], &contexts[next]);
}

static int candidates(int *found)
{
    int n = 0;
    for (int i = 1; i < FIBERS; i++)
        if (model_fibers[i].state == READY && i != model_running)
            found[n++] = i;
    return n;
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
    if (next > model_now)
        model_now = next;
    model_drain();
    for (int i = 1; i < FIBERS; i++)
        if (model_fibers[i].state == BLOCKED && model_fibers[i].deadline <= model_now) {
            model_fibers[i].state = READY;
            model_fibers[i].waits_for = NULL;
            model_fibers[i].timed_out = true;
        }
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

void model_kill(int process)
{
    for (int i = 1; i < FIBERS; i++)
        if (model_fibers[i].process == process && model_fibers[i].state != ABSENT && model_fibers[i].state != DONE)
            model_fibers[i].state = DEAD;
    model_kernel_bury(process);
}

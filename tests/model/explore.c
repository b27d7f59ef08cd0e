/* explore.c - which schedules are run, and what is said of one that fails. */
#include "explore.h"
#include "machine.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <time.h>

#undef malloc
#undef free

enum { LONGEST = 4096, TRACED = 4096 };

static struct decision {
    uint16_t taken, of;
} decisions[LONGEST];
static int depth, recorded; /* of the schedule at hand; of what it begins with */

static enum { SEARCH, RANDOM, REPLAY } mode;
static int budget[CHOICES], left[CHOICES];
static uint64_t random_state;
static int priorities[FIBERS], next_low;
static int change_points[8], changes, steps;

static struct event {
    const char *what, *extra, *file;
    const void *word;
    uint64_t value;
    int fiber, line;
} trace[TRACED];
static int traced;

static jmp_buf after_failure;
static bool quiet, failed;
static char reason[400];

/* --- choices -------------------------------------------------------------------------------------------------- */

/* Steele, Lea and Flood's SplitMix64 (OOPSLA 2014). */
static uint64_t random_number(void)
{
    uint64_t z = random_state += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

static int decide(enum choice kind, int n, int otherwise)
{
    if (depth == LONGEST)
        model_fail("the scenario makes more than %d choices", LONGEST);
    int taken = 0;
    if (mode == RANDOM)
        taken = otherwise;
    else if (depth < recorded)
        taken = decisions[depth].taken;
    else if (mode == REPLAY)
        taken = 0;
    if (taken >= n)
        model_fail("the record doesn't fit the scenario");
    const bool free = left[kind] != 0; /* without a budget the choice is noted all the same: a replay has none */
    decisions[depth++] = (struct decision){ (uint16_t)taken, (uint16_t)(free ? n : 1) };
    if (taken != 0)
        left[kind]--;
    return taken;
}

int model_choose(enum choice kind, int n)
{
    static const int one_in[CHOICES] = { 1, 1, 5, 40, 8 };
    if (n == 1 || model_running == STAGE)
        return 0;
    const bool special = mode == RANDOM && left[kind] != 0 && random_number() % (uint64_t)one_in[kind] == 0;
    return decide(kind, n, special ? 1 + (int)(random_number() % (uint64_t)(n - 1)) : 0);
}

/* Probabilistic concurrency testing (Burckhardt et al., ASPLOS 2010): run the fiber of the highest priority, and at a
 * few random steps make the running one the lowest. */
static int by_priority(const int *candidates, int n, int running)
{
    steps++;
    for (int i = 0; running > 0 && i < changes; i++)
        if (change_points[i] == steps)
            priorities[running] = --next_low;
    int best = -1;
    for (int i = 0; i < n; i++)
        if (best < 0 || priorities[candidates[i]] > priorities[candidates[best]])
            best = i;
    if (running > 0 && priorities[running] > priorities[candidates[best]])
        return -1;
    return best;
}

int model_choose_runner(enum choice kind, const int *candidates, int n, int running)
{
    if (kind == CHOOSE_NEXT) {
        if (n == 1)
            return 0;
        return decide(kind, n, mode == RANDOM ? by_priority(candidates, n, running) : 0);
    }
    return decide(kind, n + 1, mode == RANDOM ? by_priority(candidates, n, running) + 1 : 0) - 1;
}

/* --- failures ------------------------------------------------------------------------------------------------- */

void model_note(const char *what, const void *word, uint64_t value, const char *extra, const char *file, int line)
{
    trace[traced++ % TRACED] = (struct event){ what, extra, file, word, value, model_running, line };
}

static const char *name_of(const void *word, char *room, size_t n)
{
    static const char *const sides[] = { "sender", "receiver" };
    const struct place place = word == NULL ? (struct place){ -1, 0, 0 } : model_place(word);
    if (word == NULL)
        return "";
    if (place.inode < 0)
        snprintf(room, n, "private %04" PRIx64, place.offset & 0xffff);
    else if (place.offset >= 768 && place.offset < 1024)
        snprintf(room, n, "%s's mark +%" PRIu64, sides[(place.offset - 768) / IPCR_LINE], (place.offset - 768) % IPCR_LINE);
    else if (place.offset >= 512 && place.offset < 768) {
        static const char *const words[] = { "parked", "end_state", "taker_pid", "pinned_cpu", "wake_at", "wake_at" };
        const uint64_t at = (place.offset - 512) % IPCR_LINE;
        snprintf(room, n, "%s's %s", sides[(place.offset - 512) / IPCR_LINE],
                 at < 24 ? words[at / 4] : at == 64 ? "parked_ns" : "high_water");
    } else if (place.offset >= 256 && place.offset < 512)
        snprintf(room, n, "%s's position", sides[(place.offset - 256) / IPCR_LINE]);
    else
        snprintf(room, n, "data %" PRIu64, place.offset - 4096);
    return room;
}

static void print_trace(void)
{
    char room[64];
    const int first = traced > TRACED ? traced - TRACED : 0;
    for (int i = first; i < traced; i++) {
        const struct event *e = &trace[i % TRACED];
        const char *file = e->file == NULL ? "" : strrchr(e->file, '/') != NULL ? strrchr(e->file, '/') + 1 : e->file;
        printf("  %4d  %*sfiber %d  %-16s %-20s %" PRIu64 "%s", i, 2 * e->fiber, "", e->fiber, e->what,
               name_of(e->word, room, sizeof room), e->value, e->extra);
        printf(e->line != 0 ? "   %s:%d\n" : "\n", file, e->line);
    }
}

static void print_record(const char *scenario)
{
    int last = depth;
    while (last > 0 && decisions[last - 1].taken == 0)
        last--;
    printf("again: --scenario %s --replay ", scenario);
    for (int i = 0; i < last; i++) {
        int same = 1;
        while (i + same < last && decisions[i + same].taken == decisions[i].taken)
            same++;
        printf(same > 1 ? "%s%dx%d" : "%s%d", i > 0 ? "," : "", decisions[i].taken, same);
        i += same - 1;
    }
    printf(last == 0 ? "0\n" : "\n");
}

void model_fail(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(reason, sizeof reason, format, arguments);
    va_end(arguments);
    failed = true;
    longjmp(after_failure, 1); /* from the fiber's stack to the stage's: never returns there */
}

/* --- runs ----------------------------------------------------------------------------------------------------- */

static void prepare(const struct scenario *scenario)
{
    extern bool model_membarrier_works, model_membarrier_holes, model_signals;
    model_patience = scenario->patience_ns;
    model_membarrier_holes = scenario->holes;
    model_membarrier_works = scenario->asymmetric;
    model_signals = scenario->signals;
    model_kernel_reset();
    model_processes_reset();
    model_fibers_reset();
    model_memory_reset();
    mode = REPLAY;
    depth = recorded = traced = 0;
    scenario->set_up();
    model_kernel_save();
    model_processes_save();
}

static bool run_once(const struct scenario *scenario)
{
    model_kernel_restore();
    model_processes_restore();
    model_fibers_reset();
    model_memory_reset();
    model_now = UINT64_C(1000000000);
    depth = traced = steps = 0;
    failed = false;
    memcpy(left, budget, sizeof left);
    if (setjmp(after_failure) == 0) {
        scenario->perform();
        model_run();
        model_running = STAGE;
        scenario->look();
    }
    return !failed;
}

/* The next record in order; false when there is none. */
static bool advance(void)
{
    while (depth > 0 && decisions[depth - 1].taken + 1 == decisions[depth - 1].of)
        depth--;
    if (depth == 0)
        return false;
    decisions[depth - 1].taken++;
    recorded = depth;
    return true;
}

static bool say_failure(const struct scenario *scenario)
{
    if (quiet)
        return false;
    printf("%s: %s\n", scenario->name, reason);
    model_running = STAGE;
    print_trace();
    print_record(scenario->name);
    return false;
}

/* Depth first, with more and more preemptions and stale values, for at most `most` schedules. */
static bool search(const struct scenario *scenario, uint64_t most, uint64_t *done)
{
    static const int rounds[][2] = { { 0, 0 }, { 1, 0 }, { 0, 1 }, { 1, 1 }, { 2, 1 }, { 2, 2 }, { 3, 2 } };
    mode = SEARCH;
    for (size_t round = 0; round < sizeof rounds / sizeof rounds[0] && *done < most; round++) {
        budget[CHOOSE_NEXT] = -1;
        budget[CHOOSE_SWITCH] = rounds[round][0];
        budget[CHOOSE_VALUE] = rounds[round][1];
        budget[CHOOSE_DEATH] = scenario->deaths;
        budget[CHOOSE_HAZARD] = 1;
        recorded = 0;
        uint64_t here = 0;
        bool more = true;
        while (more && *done < most) {
            if (!run_once(scenario))
                return say_failure(scenario);
            (*done)++;
            here++;
            more = advance();
        }
        if (!quiet)
            printf("%s: %" PRIu64 " schedules with at most %d preemptions and %d stale values%s\n", scenario->name, here,
                   rounds[round][0], rounds[round][1], more ? ", not all" : "");
    }
    return true;
}

static bool at_random(const struct scenario *scenario, uint64_t seed, uint64_t most, uint64_t *done)
{
    int longest = 200;
    mode = RANDOM;
    for (uint64_t i = 0; *done < most; i++, (*done)++) {
        random_state = seed + i;
        for (int kind = 0; kind < CHOICES; kind++)
            budget[kind] = -1;
        budget[CHOOSE_DEATH] = scenario->deaths;
        budget[CHOOSE_HAZARD] = 2;
        next_low = 0;
        for (int f = 0; f < FIBERS; f++)
            priorities[f] = 1 + (int)(random_number() % 1000);
        changes = 1 + (int)(random_number() % 5);
        for (int c = 0; c < changes; c++)
            change_points[c] = 1 + (int)(random_number() % (uint64_t)longest);
        recorded = 0;
        if (!run_once(scenario))
            return say_failure(scenario);
        if (steps > longest)
            longest = steps;
    }
    return true;
}

bool explore(const struct scenario *scenario, uint64_t schedules, uint64_t seed, uint64_t *done)
{
    prepare(scenario);
    *done = 0;
    return search(scenario, schedules / 2, done) && at_random(scenario, seed, schedules, done);
}

bool replay(const struct scenario *scenario, const char *record)
{
    prepare(scenario);
    recorded = 0;
    while (*record != '\0') {
        char *end;
        const long taken = strtol(record, &end, 10);
        long same = 1;
        if (*end == 'x')
            same = strtol(end + 1, &end, 10);
        while (same-- > 0 && recorded < LONGEST)
            decisions[recorded++].taken = (uint16_t)taken;
        record = *end == ',' ? end + 1 : end + strlen(end);
    }
    mode = REPLAY;
    for (int kind = 0; kind < CHOICES; kind++)
        budget[kind] = -1;
    if (run_once(scenario)) {
        printf("%s: nothing wrong in this schedule\n", scenario->name);
        print_trace();
        return true;
    }
    return say_failure(scenario);
}

void explore_quietly(void) { quiet = true; }

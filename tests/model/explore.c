/* explore.c - which schedules are run, and what is said of one that fails.
 *
 * Half of them depth first, with at most 0, 1, 2, 3 preemptions and a few stale values, as far as the number goes;
 * half at random by PCT, each from its own seed.  Both keep a record of their choices, from which the schedule comes
 * back.
 */
#include "explore.h"
#include "machine.h"

#include <inttypes.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/time.h>
#include <time.h>

enum { LONGEST = 4096 };
#define BEGIN_NS UINT64_C(1000000000)

static struct decision {
    uint16_t taken, of;
} decisions[LONGEST];
static int depth, recorded; /* of the schedule at hand; of what it begins with */

static enum { SEARCH, RANDOM, REPLAY } mode;
static int budget[CHOICES], left[CHOICES], one_in[CHOICES];
static uint64_t random_state;
static int priorities[FIBERS], next_low;
static int change_points[8], changes, steps;
static int ticks;
static uint64_t seed_of_run;

static sigjmp_buf after_failure;
static enum verdict verdict;
static char reason[400];
static volatile uint64_t runs; /* schedules begun, ever */

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
        model_limit("the scenario makes more than %d choices", LONGEST);
    int taken = 0;
    if (mode == RANDOM)
        taken = otherwise;
    else if (depth < recorded)
        taken = decisions[depth].taken;
    else if (mode == REPLAY)
        taken = 0;
    if (taken >= n)
        model_limit("the record doesn't fit the scenario");
    const bool free = left[kind] != 0; /* without a budget the choice is noted all the same: a replay has none */
    decisions[depth++] = (struct decision){ (uint16_t)taken, (uint16_t)(free ? n : 1) };
    if (taken != 0)
        left[kind]--;
    return taken;
}

int model_choose(enum choice kind, int n)
{
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

static bool telling;

static enum verdict say_failure(const struct scenario *scenario)
{
    if (scenario->wrong && !telling)
        return verdict;
    printf("%s: %s\n", scenario->name, reason);
    if (verdict == LIMITED)
        return LIMITED;
    report_trace();
    if (mode == RANDOM)
        printf("again: --scenario %s --schedules 1 --seed %" PRIu64 "\n", scenario->name, seed_of_run);
    print_record(scenario->name);
    return WRONG;
}

static noreturn void end_schedule(enum verdict how, const char *format, va_list arguments)
{
    vsnprintf(reason, sizeof reason, format, arguments);
    verdict = how;
    siglongjmp(after_failure, 1); /* from the fiber's stack to the stage's: never returns there */
}

void model_fail(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    end_schedule(WRONG, format, arguments);
}

void model_limit(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    end_schedule(LIMITED, format, arguments);
}

void model_tick(void)
{
    if (ticks++ == ENDLESS)
        model_fail("there is no end to it: %d accesses", ENDLESS);
}

/* A schedule that makes the core crash is a failing schedule as well: the same record crashes again. */
static void on_crash(int number) { model_fail("the core crashed: %s", strsignal(number)); }

/* A loop that looks at no shared word never comes to model_tick. */
static void on_alarm(int number)
{
    static uint64_t before;
    (void)number;
    if (runs == before)
        model_fail("there is no end to it: a loop without an access");
    before = runs;
}

static void watch_out(void)
{
    static uint8_t stack[65536];
    static const int crashes[] = { SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT };
    static const struct itimerval often = { { 2, 0 }, { 2, 0 } };
    struct sigaction crash = { .sa_handler = on_crash, .sa_flags = SA_ONSTACK | SA_NODEFER };
    struct sigaction bell = { .sa_handler = on_alarm, .sa_flags = SA_ONSTACK | SA_RESTART };
    sigaltstack(&(stack_t){ .ss_sp = stack, .ss_size = sizeof stack }, NULL);
    for (size_t i = 0; i < sizeof crashes / sizeof crashes[0]; i++)
        sigaction(crashes[i], &crash, NULL);
    sigaction(SIGVTALRM, &bell, NULL);
    setitimer(ITIMER_VIRTUAL, &often, NULL); /* our own time: a busy machine is no reason */
}

/* --- runs ----------------------------------------------------------------------------------------------------- */

static bool run_once(const struct scenario *scenario)
{
    runs++;
    model_kernel_restore();
    model_processes_restore();
    model_fibers_reset();
    model_memory_reset();
    model_now = BEGIN_NS;
    depth = steps = ticks = 0;
    report_begin();
    verdict = RIGHT;
    memcpy(left, budget, sizeof left);
    if (sigsetjmp(after_failure, 0) == 0) {
        scenario->perform();
        model_run();
        model_running = STAGE;
        if (scenario->look != NULL)
            scenario->look();
    }
    return verdict == RIGHT;
}

static bool prepare(const struct scenario *scenario)
{
    watch_out();
    model_patience = scenario->patience_ns;
    model_membarrier_holes = scenario->holes;
    model_membarrier_works = scenario->asymmetric;
    model_signals = scenario->signals;
    model_no_nameless = scenario->no_nameless;
    model_kernel_reset();
    model_processes_reset();
    model_fibers_reset();
    model_memory_reset();
    model_now = BEGIN_NS;
    mode = REPLAY;
    depth = recorded = ticks = 0;
    report_begin();
    verdict = RIGHT;
    if (sigsetjmp(after_failure, 0) == 0)
        scenario->set_up();
    model_kernel_save();
    model_processes_save();
    return verdict == RIGHT;
}

static uint64_t sum_of_record(void)
{
    uint64_t sum = UINT64_C(0xcbf29ce484222325);
    int last = depth;
    while (last > 0 && decisions[last - 1].taken == 0)
        last--;
    for (int i = 0; i < last; i++)
        sum = (sum ^ (uint64_t)decisions[i].taken) * UINT64_C(0x100000001b3);
    return (sum ^ (uint64_t)last) * UINT64_C(0x9e3779b97f4a7c15);
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

/* Depth first, with more and more preemptions and stale values, for at most `most` schedules. */
static enum verdict search(const struct scenario *scenario, uint64_t most, struct result *result)
{
    static const int rounds[][2] = { { 0, 0 }, { 1, 0 }, { 0, 1 }, { 1, 1 }, { 2, 1 }, { 2, 2 }, { 3, 2 } };
    mode = SEARCH;
    for (size_t round = 0; round < sizeof rounds / sizeof rounds[0]; round++) {
        budget[CHOOSE_NEXT] = -1;
        budget[CHOOSE_SWITCH] = rounds[round][0];
        budget[CHOOSE_VALUE] = rounds[round][1];
        budget[CHOOSE_DEATH] = scenario->deaths;
        budget[CHOOSE_HAZARD] = scenario->signals ? 2 : 1;
        recorded = 0;
        for (bool more = true; more; more = advance()) {
            if (result->done == most)
                return RIGHT;
            if (!run_once(scenario))
                return say_failure(scenario);
            result->done++;
            count_schedule(sum_of_record());
        }
        result->preemptions = rounds[round][0];
        result->stale = rounds[round][1];
    }
    return RIGHT;
}

static void draw(const struct scenario *scenario, uint64_t seed, int longest)
{
    static const int rarities[] = { 2, 5, 20, 100 };
    random_state = seed_of_run = seed;
    for (int kind = 0; kind < CHOICES; kind++)
        budget[kind] = -1;
    budget[CHOOSE_DEATH] = scenario->deaths;
    budget[CHOOSE_HAZARD] = 4;
    one_in[CHOOSE_VALUE] = rarities[random_number() % 4];
    one_in[CHOOSE_DEATH] = 10 << random_number() % 5;
    one_in[CHOOSE_HAZARD] = 8;
    next_low = 0;
    for (int f = 0; f < FIBERS; f++)
        priorities[f] = 1 + (int)(random_number() % 1000);
    changes = 1 + (int)(random_number() % 5);
    for (int c = 0; c < changes; c++)
        change_points[c] = 1 + (int)(random_number() % (uint64_t)longest);
    recorded = 0;
}

/* The change points fall into a run as long as the usual one; it must not depend on the runs before, or a seed alone
 * would not bring a schedule back. */
static int usual_length(const struct scenario *scenario)
{
    mode = RANDOM;
    draw(scenario, 0, 1);
    budget[CHOOSE_DEATH] = budget[CHOOSE_HAZARD] = budget[CHOOSE_VALUE] = 0;
    run_once(scenario);
    return steps < 20 ? 20 : steps;
}

static enum verdict at_random(const struct scenario *scenario, const struct effort *effort, struct result *result)
{
    const int longest = usual_length(scenario);
    mode = RANDOM;
    for (uint64_t i = 0; effort->until != 0 ? seconds() < effort->until : result->done < effort->schedules; i++) {
        draw(scenario, effort->seed + i, longest);
        if (!run_once(scenario))
            return say_failure(scenario);
        result->done++;
        count_schedule(sum_of_record());
    }
    return RIGHT;
}

enum verdict explore(const struct scenario *scenario, const struct effort *effort, struct result *result)
{
    *result = (struct result){ .preemptions = -1 };
    telling = effort->tell;
    count_begin();
    if (!prepare(scenario))
        return say_failure(scenario);
    /* for so long: the search would be the same each time, and know no end but its own */
    enum verdict found = effort->until != 0 ? RIGHT : search(scenario, effort->schedules / 2, result);
    if (found == RIGHT)
        found = at_random(scenario, effort, result);
    result->different = count_different();
    return found;
}

static void read_record(const char *record)
{
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
}

enum verdict replay(const struct scenario *scenario, const char *record)
{
    telling = true;
    if (!prepare(scenario))
        return say_failure(scenario);
    read_record(record);
    mode = REPLAY;
    for (int kind = 0; kind < CHOICES; kind++)
        budget[kind] = -1;
    if (!run_once(scenario))
        return say_failure(scenario);
    report_trace();
    printf("%s: nothing wrong in this schedule\n", scenario->name);
    return RIGHT;
}

double seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

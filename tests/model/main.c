/* main.c - the explorer's command line.
 *
 * Ends with 0 when nothing was wrong, 1 after a failing schedule, 2 for wrong usage, 3 when the explorer has not
 * enough room for a scenario, which says nothing about the core.
 */
#include "stage.h"

#include <fnmatch.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

enum { MOST = 512 };

static struct scenario all[MOST];
static char names[MOST][40];
static int scenarios;

static void add(const struct scenario *scenario, const char *behind, bool asymmetric)
{
    if (scenarios == MOST)
        abort();
    snprintf(names[scenarios], sizeof names[0], "%s%s", scenario->name, behind);
    all[scenarios] = *scenario;
    all[scenarios].name = names[scenarios];
    all[scenarios].asymmetric = asymmetric;
    scenarios++;
}

void add_scenarios(const struct scenario *some, int n)
{
    for (int i = 0; i < n; i++) {
        add(&some[i], "", some[i].asymmetric);
        if (some[i].both)
            add(&some[i], "-asymmetric", true);
    }
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct scenario *)a)->name, ((const struct scenario *)b)->name);
}

static noreturn void usage(void)
{
    puts("explorer CORE.so [--schedules N] [--minutes M] [--seed N] [--jobs N] [--growing] [--scenario NAME]...\n"
         "         [--except NAME]... [--replay RECORD]\n\n"
         "  --schedules   of each scenario, half of them depth first, half at random (100000)\n"
         "  --minutes     go on at random for so long in all\n"
         "  --jobs        as so many processes, each with its share of the scenarios (1)\n"
         "  --scenario    only this one; NAME may be a pattern, as of the shell\n"
         "  --except      not this one\n"
         "  --growing     all scenarios with few schedules first, then again with more, up to --schedules\n");
    for (int i = 0; i < scenarios; i++)
        printf("  %-26s %s\n", all[i].name, all[i].says);
    exit(2);
}

static struct {
    uint64_t schedules, seed;
    double minutes;
    const char *only[MOST], *except[MOST], *record;
    int onlys, excepts, jobs;
    bool growing;
} wanted = { .schedules = 100000, .seed = 1, .jobs = 1 };
static uint64_t *totals; /* of the jobs */

static void read_arguments(int argc, char **argv)
{
    for (int i = 2; i < argc; i++) {
        const bool has_value = i + 1 < argc;
        if (strcmp(argv[i], "--schedules") == 0 && has_value)
            wanted.schedules = strtoull(argv[++i], NULL, 10);
        else if (strcmp(argv[i], "--minutes") == 0 && has_value)
            wanted.minutes = strtod(argv[++i], NULL);
        else if (strcmp(argv[i], "--jobs") == 0 && has_value)
            wanted.jobs = atoi(argv[++i]);
        else if (strcmp(argv[i], "--seed") == 0 && has_value)
            wanted.seed = strtoull(argv[++i], NULL, 10);
        else if (strcmp(argv[i], "--scenario") == 0 && has_value && wanted.onlys < MOST)
            wanted.only[wanted.onlys++] = argv[++i];
        else if (strcmp(argv[i], "--except") == 0 && has_value && wanted.excepts < MOST)
            wanted.except[wanted.excepts++] = argv[++i];
        else if (strcmp(argv[i], "--replay") == 0 && has_value)
            wanted.record = argv[++i];
        else if (strcmp(argv[i], "--growing") == 0)
            wanted.growing = true;
        else
            usage();
    }
}

static bool is_one_of(const char *name, const char *const *patterns, int n)
{
    bool found = false;
    for (int i = 0; i < n; i++)
        found = found || fnmatch(patterns[i], name, 0) == 0;
    return found;
}

static int matching(const char *pattern)
{
    int n = 0;
    for (int i = 0; i < scenarios; i++)
        n += is_one_of(all[i].name, &pattern, 1);
    return n;
}

/* What was asked for comes first in the list. */
static int choose_scenarios(void)
{
    int chosen = 0;
    bool sound = true;
    for (int i = 0; i < wanted.onlys; i++)
        sound = sound && matching(wanted.only[i]) > 0;
    for (int i = 0; i < scenarios; i++)
        if ((wanted.onlys == 0 || is_one_of(all[i].name, wanted.only, wanted.onlys)) &&
            !is_one_of(all[i].name, wanted.except, wanted.excepts)) {
            const struct scenario found = all[i];
            all[i] = all[chosen];
            all[chosen++] = found;
        }
    if (!sound || chosen == 0 || (wanted.record != NULL && chosen != 1)) {
        puts("no such scenario, or several where one is needed; `explorer` alone, without a core, lists them");
        exit(2);
    }
    return chosen;
}

static void say(const struct scenario *scenario, enum verdict verdict, const struct result *result, double took)
{
    if (verdict == LIMITED)
        return;
    printf("%-26s %-13s %8llu schedules, %llu different", scenario->name,
           verdict == WRONG ? scenario->wrong ? "WRONG, rightly" : "WRONG" : "nothing wrong",
           (unsigned long long)result->done, (unsigned long long)result->different);
    if (result->preemptions >= 0)
        printf(", all of <= %d preemptions and <= %d stale values", result->preemptions, result->stale);
    printf(", %.1f s\n", took);
}

/* 0, or how the program must end. */
static int explore_one(const struct scenario *scenario, const struct effort *effort, int job)
{
    struct result result;
    const double start = seconds();
    const enum verdict verdict = explore(scenario, effort, &result);
    totals[job] += result.done;
    say(scenario, verdict, &result, seconds() - start);
    fflush(stdout);
    if (verdict == LIMITED)
        return 3;
    if (scenario->wrong && verdict == RIGHT)
        printf("%s must fail, and did not\n", scenario->name);
    return (verdict == WRONG) != scenario->wrong;
}

static int explore_share(int chosen, int job)
{
    const double start = seconds();
    uint64_t schedules = wanted.growing && wanted.schedules > 500 ? 500 : wanted.schedules;
    for (;;) {
        for (int i = job; i < chosen; i += wanted.jobs) {
            struct effort effort = { .schedules = schedules, .seed = wanted.seed, .tell = wanted.onlys > 0 };
            if (wanted.minutes > 0)
                effort.until = start + wanted.minutes * 60 * (i + 1) / chosen;
            const int rc = explore_one(&all[i], &effort, job);
            if (rc != 0)
                return rc;
        }
        if (schedules == wanted.schedules || wanted.minutes > 0)
            return 0;
        schedules = schedules * 8 < wanted.schedules ? schedules * 8 : wanted.schedules;
    }
}

static noreturn void be_job(const char *core, int chosen, int job)
{
    static char lines[1 << 20]; /* a trace stays in one piece */
    prctl(PR_SET_PDEATHSIG, SIGKILL); /* whoever stops the explorer stops its jobs */
    setvbuf(stdout, lines, _IOFBF, sizeof lines);
    model_kernel_start();
    model_processes_start(core);
    const int rc = explore_share(chosen, job);
    fflush(stdout);
    _exit(rc);
}

static int explore_all(const char *core, int chosen)
{
    const double start = seconds();
    uint64_t total = 0;
    int worst = 0;
    fflush(stdout);
    for (int job = 0; job < wanted.jobs; job++)
        if (fork() == 0)
            be_job(core, chosen, job);
    for (int job = 0, status; job < wanted.jobs; job++) {
        if (wait(&status) < 0 || !WIFEXITED(status))
            worst = 3;
        else if (WEXITSTATUS(status) > worst)
            worst = WEXITSTATUS(status);
    }
    for (int job = 0; job < wanted.jobs; job++)
        total += totals[job];
    printf("%llu schedules of %d scenarios, %s, %.0f per second\n", (unsigned long long)total, chosen,
           worst == 0 ? "0 violations" : "NOT RIGHT", (double)total / (seconds() - start));
    return worst;
}

int main(int argc, char **argv)
{
    qsort(all, (size_t)scenarios, sizeof all[0], by_name);
    if (argc < 2 || argv[1][0] == '-')
        usage();
    read_arguments(argc, argv);
    const int chosen = choose_scenarios();
    if (wanted.jobs < 1)
        usage();
    if (wanted.record == NULL) {
        const size_t bytes = sizeof *totals * (size_t)wanted.jobs;
        totals = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        if (totals == MAP_FAILED)
            abort();
        return explore_all(argv[1], chosen);
    }
    model_kernel_start();
    model_processes_start(argv[1]);
    return (int)replay(&all[0], wanted.record);
}

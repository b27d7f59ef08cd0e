/* main.c - the explorer's command line. */
#include "stage.h"

#include <stdio.h>
#include <time.h>

#undef malloc
#undef free

static const struct scenario *all[64];

static void collect(const struct scenario *const *some)
{
    int n = 0;
    while (all[n] != NULL)
        n++;
    while (*some != NULL)
        all[n++] = *some++;
}

static double seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static noreturn void usage(void)
{
    puts("explorer CORE.so [--schedules N] [--seed N] [--scenario NAME] [--replay RECORD] [--quiet]\n");
    for (int i = 0; all[i] != NULL; i++)
        printf("  %-20s %s\n", all[i]->name, all[i]->says);
    exit(2);
}

int main(int argc, char **argv)
{
    uint64_t schedules = 100000, seed = 1, total = 0;
    const char *only = NULL, *record = NULL;
    bool found = false;
    collect(message_scenarios);
    collect(death_scenarios);
    collect(name_scenarios);
    if (argc < 2 || argv[1][0] == '-')
        usage();
    for (int i = 2; i < argc; i++) {
        const bool has_value = i + 1 < argc;
        if (strcmp(argv[i], "--schedules") == 0 && has_value)
            schedules = strtoull(argv[++i], NULL, 10);
        else if (strcmp(argv[i], "--seed") == 0 && has_value)
            seed = strtoull(argv[++i], NULL, 10);
        else if (strcmp(argv[i], "--scenario") == 0 && has_value)
            only = argv[++i];
        else if (strcmp(argv[i], "--replay") == 0 && has_value)
            record = argv[++i];
        else if (strcmp(argv[i], "--quiet") == 0)
            explore_quietly();
        else
            usage();
    }
    model_kernel_start();
    model_processes_start(argv[1]);
    for (int i = 0; all[i] != NULL; i++) {
        if (only != NULL && strcmp(only, all[i]->name) != 0)
            continue;
        found = true;
        if (record != NULL)
            return replay(all[i], record) ? 0 : 1;
        const double start = seconds();
        uint64_t done;
        const bool right = explore(all[i], schedules, seed, &done);
        total += done;
        printf("%s: %s after %llu schedules, %.1f s\n", all[i]->name, right ? "nothing wrong" : "WRONG",
               (unsigned long long)done, seconds() - start);
        if (!right)
            return 1;
    }
    if (!found)
        usage();
    printf("%llu schedules, 0 violations\n", (unsigned long long)total);
    return 0;
}

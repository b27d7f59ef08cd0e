/* explore.h - a scenario: processes and fibers, what they do, and what must hold afterwards. */
#ifndef MODEL_EXPLORE_H
#define MODEL_EXPLORE_H

#include <stdbool.h>
#include <stdint.h>

struct scenario {
    const char *name;
    const char *says;       /* the property, in words */
    void (*set_up)(void);   /* once: makes segments and ends, unobserved */
    void (*perform)(void);  /* each time: starts the fibers */
    void (*look)(void);     /* each time, when all fibers are done: whether all is as it must be; or NULL */
    bool asymmetric;        /* membarrier works */
    bool both;              /* once more, under the name with "-asymmetric" behind it, where membarrier works */
    uint64_t patience_ns;   /* 0: whoever sleeps must be woken.  Otherwise sleeps of up to so long may just end */
    bool holes;             /* a membarrier may miss a CPU */
    bool signals;           /* a sleep may end by a signal */
    bool no_nameless;       /* the file system has no O_TMPFILE */
    int deaths;             /* how many mortal processes may die */
    bool wrong;             /* on purpose, as an example or a test of the explorer: a failing schedule must be found */
};

/* Each file of scenarios adds its own, in a constructor: nothing else names them. */
void add_scenarios(const struct scenario *some, int n);
#define ADD_SCENARIOS(array)                                                                                           \
    __attribute__((constructor)) static void add_these_scenarios(void)                                                 \
    {                                                                                                                  \
        add_scenarios((array), (int)(sizeof(array) / sizeof(array)[0]));                                               \
    }

enum verdict {
    RIGHT,
    WRONG,   /* a failing schedule was found, and printed */
    LIMITED = 3, /* the explorer has not enough room for the scenario: that says nothing about the core */
};

struct effort {
    uint64_t schedules; /* to run: half of them depth first, half at random */
    double until;       /* or random ones up to this time, if not 0 */
    uint64_t seed;
    bool tell; /* also the trace of a schedule that had to fail */
};

struct result {
    uint64_t done, different;         /* schedules; an estimate when there are too many to remember */
    int preemptions, stale;           /* all schedules with so many at most were run; -1: not even those without */
};

enum verdict explore(const struct scenario *scenario, const struct effort *effort, struct result *result);
enum verdict replay(const struct scenario *scenario, const char *record);
double seconds(void);

void count_begin(void); /* count.c */
void count_schedule(uint64_t sum);
uint64_t count_different(void);

#endif

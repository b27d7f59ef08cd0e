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
    void (*look)(void);     /* each time, when all fibers are done: whether all is as it must be */
    bool asymmetric;        /* membarrier works */
    uint64_t patience_ns;   /* 0: whoever sleeps must be woken.  Otherwise sleeps of up to so long may just end */
    bool holes;             /* a membarrier may miss a CPU */
    bool signals;           /* a sleep may end by a signal */
    int deaths;             /* how many mortal processes may die */
};

/* Half of the schedules depth-first, half at random; false when one failed, which was printed. */
bool explore(const struct scenario *scenario, uint64_t schedules, uint64_t seed, uint64_t *done);
bool replay(const struct scenario *scenario, const char *record);
void explore_quietly(void);

#endif

/* every_instruction.c - every operation, from every start, to every instruction: what a death there leaves, and
 * whether the world goes on from it.
 *
 *     every_instruction [-v] [--deaths N] [OPERATION...]
 *
 * States are recovered from as copies, which is fast.  That copies tell the truth is shown by real deaths: of the
 * boundaries at which a new state arose, N per start (all with --deaths 0; 2 unless told otherwise) are walked to
 * once more, the victim is killed there, its memory must be what it was while it stood there, and recovery starts
 * from the segment itself.  (Not where others live in a named segment; kill_points.c has those.)
 */
#include "recovery.h"
#include "step.h"
#include "theatre.h"

enum { SHOWN = 3 }; /* failures of an operation that are told in full */

struct options {
    uint64_t deaths; /* per start */
    bool verbose;
    char **only; /* names of operations, NULL at the end; none: all */
};

struct tally {
    uint64_t starts, boundaries, states, deaths, bad;
};

struct walk {
    struct stage *s;
    struct state state;
    struct seen seen;
    struct tally *tally;
    uint64_t boundary;
    uint64_t *news; /* boundaries at which a state was new */
};

static void complain(struct walk *w, const char *what)
{
    const struct stage *s = w->s;
    if (w->tally->bad++ < SHOWN)
        printf("BAD %s, %s, after instruction %" PRIu64 "%s:\n%s\n", s->operation->name, s->start->name, w->boundary,
               has_returned(s) ? " (it has returned)" : "", what);
}

/* --- copies --------------------------------------------------------------------------------------------------- */

static void remember_new(struct walk *w)
{
    w->news = realloc(w->news, w->seen.count * sizeof *w->news);
    CHECK(w->news != NULL);
    w->news[w->seen.count - 1] = w->boundary;
}

/* A death here: is it one that nobody has recovered from yet? */
static void die_here(struct walk *w, bool look_closely)
{
    char answer[ANSWER_ROOM];
    const bool changed = state_look(&w->state, w->s);
    if (!changed && !look_closely)
        return;
    if (!seen_first(&w->seen, state_hash(&w->state, w->s)))
        return;
    alarm(WATCHDOG_SECONDS);
    remember_new(w);
    w->tally->states++;
    if (!recovers(w->s, &w->state, answer))
        complain(w, answer);
}

/* Between two instructions. */
static void stand_here(struct walk *w)
{
    struct stage *s = w->s;
    const char *wrong = s->operation->observe != NULL ? s->operation->observe(s) : NULL;
    if (wrong != NULL)
        complain(w, wrong);
    die_here(w, w->boundary == 0 || has_returned(s));
    if (s->operation->meanwhile != NULL) {
        const uint64_t acts = s->peer_acts;
        s->operation->meanwhile(s);
        if (s->peer_acts != acts)
            die_here(w, true);
    }
}

/* False: we may not trace. */
static bool walk_through(struct walk *w, const struct operation *operation, const struct start *start)
{
    struct victim victim;
    w->s = stage_new(operation, start);
    const bool allowed = victim_start(&victim, w->s);
    if (allowed) {
        state_begin(&w->state, w->s);
        for (stand_here(w); !has_returned(w->s); stand_here(w)) {
            victim_step(&victim);
            w->boundary++;
        }
        w->tally->boundaries += w->boundary + 1;
        victim_kill(&victim);
        state_end(&w->state);
    }
    stage_end(w->s);
    return allowed;
}

/* --- real deaths ---------------------------------------------------------------------------------------------- */

static void die_really(struct walk *w, uint64_t boundary)
{
    char answer[ANSWER_ROOM];
    struct victim victim;
    struct stage *s = w->s = stage_new(w->s->operation, w->s->start);
    CHECK(victim_start(&victim, s));
    for (w->boundary = 0; w->boundary < boundary && !has_returned(s); w->boundary++) {
        if (s->operation->meanwhile != NULL)
            s->operation->meanwhile(s);
        victim_step(&victim);
    }
    state_begin(&w->state, s);
    victim_kill(&victim);
    if (state_look(&w->state, s))
        complain(w, "its death has changed what it left");
    s->way = s->operation->ways == 0 ? 0 : (int)(boundary % (uint64_t)s->operation->ways); /* there is one death only */
    if (!recovers_for_real(s, answer))
        complain(w, answer);
    state_end(&w->state);
    w->tally->deaths++;
    stage_end(s);
}

static bool others_live_under_a_name(const struct stage *s) { return s->segment != NULL && s->segment->dir != NULL; }

static void die_some_deaths(struct walk *w, const struct operation *operation, const struct start *start,
                            uint64_t deaths)
{
    struct stage *probe = stage_new(operation, start);
    const bool possible = !others_live_under_a_name(probe);
    stage_end(probe);
    const uint64_t count = !possible ? 0 : deaths == 0 || deaths > w->seen.count ? w->seen.count : deaths;
    uint64_t random = (uint64_t)(start - operation->starts);
    for (uint64_t i = 0; i < count; i++) {
        const uint64_t at = count == w->seen.count ? i : random_next(&random) % w->seen.count;
        struct stage scene = { .operation = operation, .start = start };
        w->s = &scene;
        die_really(w, w->news[at]);
    }
}

/* --- everything ----------------------------------------------------------------------------------------------- */

static void add_up(struct tally *all, const struct tally *one)
{
    all->starts += one->starts;
    all->boundaries += one->boundaries;
    all->states += one->states;
    all->deaths += one->deaths;
    all->bad += one->bad;
}

static void report(const char *name, const struct tally *t)
{
    printf("%-20s %3" PRIu64 " starts, %7" PRIu64 " boundaries, %5" PRIu64 " distinct states, %4" PRIu64
           " real deaths, %" PRIu64 " bad recoveries\n",
           name, t->starts, t->boundaries, t->states, t->deaths, t->bad);
    fflush(stdout);
}

static bool walk_from(const struct operation *operation, const struct start *start, const struct options *o,
                      struct tally *tally)
{
    struct tally one = { .starts = 1 };
    struct walk w = { .tally = &one };
    const bool allowed = walk_through(&w, operation, start);
    if (allowed)
        die_some_deaths(&w, operation, start, o->deaths);
    seen_end(&w.seen);
    free(w.news);
    if (o->verbose)
        report(start->name, &one);
    add_up(tally, &one);
    return allowed;
}

static int walk_all(const struct options *o)
{
    struct tally all = { .starts = 0 };
    for (const struct operation *const *room = all_rooms; *room != NULL; room++)
        for (const struct operation *op = *room; op->name != NULL; op++) {
            struct tally tally = { .starts = 0 };
            if (!is_wanted(o->only, op->name))
                continue;
            check_running = op->name;
            for (size_t i = 0; i < op->starts_count; i++)
                if (!walk_from(op, &op->starts[i], o, &tally)) {
                    printf("skipped: this process may not trace its children\n");
                    return MAY_NOT_TRACE;
                }
            report(op->name, &tally);
            add_up(&all, &tally);
        }
    report("all", &all);
    return all.bad != 0 || all.starts == 0;
}

int main(int argc, char **argv)
{
    struct options o = { .deaths = 2 };
    int i = 1;
    for (; i < argc && argv[i][0] == '-'; i++) {
        if (strcmp(argv[i], "-v") == 0)
            o.verbose = true;
        else if (strcmp(argv[i], "--deaths") == 0 && i + 1 < argc)
            o.deaths = strtoull(argv[++i], NULL, 10);
        else
            return fprintf(stderr, "usage: %s [-v] [--deaths N] [OPERATION...]\n", argv[0]), 2;
    }
    o.only = argv + i;
    theatre_open();
    const int code = walk_all(&o);
    alarm(0);
    theatre_close();
    return code;
}

/* main.c - every operation, from every start, to every instruction. */
#include "recovery.h"
#include "step.h"

#include <dirent.h>
#include <sys/stat.h>

enum { SHOWN = 3 }; /* failures of an operation that are told in full */

static const struct operation *const rooms[] = { sending_operations, receiving_operations, parts_operations,
                                               end_operations };

struct options {
    const char *only; /* name of an operation */
    bool verbose;
};

struct tally {
    uint64_t starts, boundaries, states, bad;
};

static char base[DIR_ROOM / 2];

static void tidy(void)
{
    DIR *stream = base[0] != 0 ? opendir(base) : NULL;
    if (stream == NULL)
        return;
    for (const struct dirent *entry = readdir(stream); entry != NULL; entry = readdir(stream)) {
        char path[sizeof base + sizeof entry->d_name];
        snprintf(path, sizeof path, "%s/%s", base, entry->d_name);
        if (entry->d_name[0] != '.')
            copy_remove(path);
    }
    closedir(stream);
    rmdir(base);
}

static void tidy_and_end(int signal_number)
{
    if (getpid() == check_main_process)
        tidy();
    _exit(128 + signal_number);
}

/* --- a stage -------------------------------------------------------------------------------------------------- */

static struct stage *stage_new(const struct operation *operation, const struct start *start)
{
    static uint64_t number;
    struct stage *s = calloc(1, sizeof *s);
    CHECK(s != NULL);
    s->operation = operation;
    s->start = start;
    s->between = shared_memory(sizeof *s->between);
    snprintf(s->dir, sizeof s->dir, "%s/%" PRIu64, base, number++);
    CHECK(mkdir(s->dir, 0700) == 0);
    if (operation->prepare != NULL)
        operation->prepare(s);
    return s;
}

static void stage_end(struct stage *s)
{
    if (s->peer != NULL)
        finish(s->peer, false);
    if (s->segment != NULL)
        ipcr_segment_release(s->segment);
    copy_remove(s->dir);
    munmap(s->between, sizeof *s->between);
    free(s);
}

/* --- one start ------------------------------------------------------------------------------------------------ */

static void complain(struct tally *tally, const struct stage *s, uint64_t boundary, const char *what)
{
    if (tally->bad++ < SHOWN)
        printf("BAD %s, %s, after instruction %" PRIu64 "%s:\n%s\n", s->operation->name, s->start->name, boundary,
               has_returned(s) ? " (it has returned)" : "", what);
}

struct walk {
    struct stage *s;
    struct state state;
    struct seen seen;
    struct tally *tally;
    uint64_t boundary;
};

/* A death here: is it one that nobody has recovered from yet? */
static void die_here(struct walk *w, bool first)
{
    char answer[ANSWER_ROOM];
    const bool changed = state_look(&w->state, w->s);
    if (!changed && !first && !has_returned(w->s))
        return;
    if (!seen_first(&w->seen, state_hash(&w->state, w->s)))
        return;
    w->tally->states++;
    if (!recovers(w->s, &w->state, answer))
        complain(w->tally, w->s, w->boundary, answer);
}

static void stand_here(struct walk *w)
{
    struct stage *s = w->s;
    w->tally->boundaries++;
    const char *wrong = s->operation->observe != NULL ? s->operation->observe(s) : NULL;
    if (wrong != NULL)
        complain(w->tally, s, w->boundary, wrong);
    die_here(w, w->boundary == 0);
    if (s->operation->meanwhile != NULL) {
        const uint64_t acts = s->peer_acts;
        s->operation->meanwhile(s);
        if (s->peer_acts != acts)
            die_here(w, true);
    }
}

static bool walk(const struct operation *operation, const struct start *start, struct tally *tally)
{
    struct victim victim;
    struct walk w = { .s = stage_new(operation, start), .tally = tally };
    tally->starts++;
    const bool allowed = victim_start(&victim, w.s);
    if (allowed) {
        state_begin(&w.state, w.s);
        for (stand_here(&w); !has_returned(w.s); stand_here(&w)) {
            victim_step(&victim);
            w.boundary++;
        }
        victim_kill(&victim);
        state_end(&w.state);
    }
    seen_end(&w.seen);
    stage_end(w.s);
    return allowed;
}

/* --- everything ----------------------------------------------------------------------------------------------- */

static void report(const char *name, const struct tally *t)
{
    printf("%-28s %4" PRIu64 " starts %9" PRIu64 " boundaries, %7" PRIu64 " distinct states, %" PRIu64
           " bad recoveries\n",
           name, t->starts, t->boundaries, t->states, t->bad);
    fflush(stdout);
}

static int walk_all(const struct options *o)
{
    struct tally all = { .starts = 0 };
    for (size_t room = 0; room < sizeof rooms / sizeof rooms[0]; room++)
        for (const struct operation *op = rooms[room]; op->name != NULL; op++) {
            struct tally t = { .starts = 0 };
            if (o->only != NULL && strcmp(o->only, op->name) != 0)
                continue;
            check_running = op->name;
            for (size_t i = 0; i < op->starts_count; i++) {
                struct tally one = { .starts = 0 };
                if (!walk(op, &op->starts[i], &one)) {
                    printf("skipped: this process may not trace its children\n");
                    return 77;
                }
                if (o->verbose)
                    report(op->starts[i].name, &one);
                t = (struct tally){ t.starts + one.starts, t.boundaries + one.boundaries, t.states + one.states,
                                    t.bad + one.bad };
            }
            report(op->name, &t);
            all = (struct tally){ all.starts + t.starts, all.boundaries + t.boundaries, all.states + t.states,
                                  all.bad + t.bad };
        }
    report("all", &all);
    return all.bad != 0 || all.starts == 0;
}

int main(int argc, char **argv)
{
    struct options o = { .only = NULL };
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "-v") == 0)
            o.verbose = true;
        else
            o.only = argv[i];
    }
    check_begin();
    check_tidy = tidy;
    signal(SIGINT, tidy_and_end);
    signal(SIGTERM, tidy_and_end);
    step_pin();
    snprintf(base, sizeof base, "/dev/shm/ipc-crash-XXXXXX");
    CHECK(mkdtemp(base) != NULL);
    const int code = walk_all(&o);
    tidy();
    return code;
}

/* kill_points.c - SIGKILL at the entry and at the exit of every system call, for the operations that live by
 * system calls: creating, attaching, detaching, unlinking, removing, replacing an orphan, taking an end, closing it;
 * and for those of queues and multicasts, where taking a lane or a number is a lock, and so is telling who is dead.
 *
 *     kill_points [OPERATION...]
 *
 * Here nothing is copied: the death is real, the locks are the kernel's, and this process is the one that lives on.
 * After each death the world goes on in each of its ways, and no name and no descriptor is left.
 * What can't be told from here is whether the kernel does half of a system call; it promises not to.
 */
#include "step.h"
#include "theatre.h"

struct tally {
    uint64_t starts, points, deaths;
};

static int open_descriptors(void) { return names_in("/proc/self/fd"); }

/* Die at this system call stop and go on; false when the operation has returned before it. */
static bool die_at(const struct operation *operation, const struct start *start, uint64_t point, int way,
                   struct tally *tally)
{
    const int before = open_descriptors();
    struct victim victim;
    struct stage *s = stage_new(operation, start);
    CHECK(victim_start(&victim, s));
    bool inside = true;
    for (uint64_t i = 0; inside && i <= point; i++) {
        inside = victim_to_syscall(&victim, s);
        const char *wrong = operation->observe != NULL ? operation->observe(s) : NULL;
        if (wrong != NULL) {
            printf("%s, %s, at system call stop %" PRIu64 ": %s\n", operation->name, start->name, i, wrong);
            CHECK(wrong == NULL);
        }
    }
    victim_kill(&victim);
    s->returned = has_returned(s);
    s->result = s->between->result;
    s->way = way;
    s->all_died = s->living_count == 0;
    operation->check(s);
    stage_end(s);
    tally->deaths++;
    CHECK_IS(open_descriptors(), before);
    return inside;
}

static void die_everywhere(const struct operation *operation, const struct start *start, struct tally *tally)
{
    bool inside = true;
    tally->starts++;
    for (uint64_t point = 0; inside; point++) {
        for (int way = 0; way < (operation->ways == 0 ? 1 : operation->ways); way++) {
            static char where[160];
            snprintf(where, sizeof where, "%s, %s, killed at system call stop %" PRIu64 ", way %d", operation->name,
                     start->name, point, way);
            check_running = where;
            inside = die_at(operation, start, point, way, tally);
        }
        tally->points++;
    }
}

/* The first bad recovery ends the program, with what was wrong. */
static void report(const char *name, const struct tally *t)
{
    printf("%-20s %3" PRIu64 " starts, %4" PRIu64 " kill points, %4" PRIu64 " deaths, 0 bad recoveries\n", name,
           t->starts, t->points, t->deaths);
    fflush(stdout);
}

static bool may_trace(void)
{
    struct victim victim;
    struct stage *s = stage_new(&name_operations[0], &name_operations[0].starts[0]);
    const bool allowed = victim_start(&victim, s);
    victim_kill(&victim);
    stage_end(s);
    return allowed;
}

int main(int argc, char **argv)
{
    struct tally all = { .starts = 0 };
    theatre_open();
    const bool allowed = may_trace();
    for (const struct operation *const *room = rooms_with_system_calls; allowed && *room != NULL; room++)
        for (const struct operation *op = *room; op->name != NULL; op++) {
            struct tally tally = { .starts = 0 };
            if (argc > 1 && !is_wanted(argv + 1, op->name))
                continue;
            for (size_t i = 0; i < op->starts_count; i++)
                die_everywhere(op, &op->starts[i], &tally);
            report(op->name, &tally);
            all = (struct tally){ all.starts + tally.starts, all.points + tally.points, all.deaths + tally.deaths };
        }
    theatre_close();
    if (!allowed) {
        printf("skipped: this process may not trace its children\n");
        return MAY_NOT_TRACE;
    }
    report("all", &all);
    return all.deaths == 0;
}

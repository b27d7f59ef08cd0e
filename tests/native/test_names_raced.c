/* test_names_raced.c - many processes create, attach and unlink one name. */
#include "segments.h"

/* --- R7, R22: one name, many processes -------------------------------------------------------------------- */

enum { CREW = 8 };

/* What the crew shares. */
struct name_contest {
    ipcr_word32 visits;
    ipcr_word32 created;
    ipcr_word32 visitor[CREW]; /* pid of who is visiting now, 0 for nobody */
};

struct crew {
    uint64_t seed;
    int number;
    int rounds;
    bool unlinking; /* also unlink on purpose, announced in the segment itself */
    struct name_contest *contest;
};

static uint32_t one_more(ipcr_word32 *word) { return __atomic_add_fetch((uint32_t *)word, 1, __ATOMIC_RELAXED); }

/* Set before an intended unlink: whoever sees the name gone, or elsewhere, finds it set. */
static ipcr_word32 *farewell(struct ipcr_segment *s) { return (ipcr_word32 *)(void *)s->header->pad; }

/* While anybody is present, the name leads here, unless somebody present unlinked it on purpose. */
static void check_no_split(struct ipcr_segment *s)
{
    if (!leads_to("name", s))
        CHECK(load_acquire32(farewell(s)) == 1);
}

/* Where all take turns on one core, somebody is nearly always present, and hardly any segment is made.  So in every
 * other stretch of visits nobody attaches or lingers: then the name is fought for. */
enum { STRETCH = 256 };

static void one_visit(const struct crew *crew, uint64_t *random)
{
    struct ipcr_segment *s = NULL;
    const bool fight = one_more(&crew->contest->visits) / STRETCH % 2 == 1;
    const uint64_t choice = random_next(random) % (fight ? 5 : 8);
    int rc;
    if (choice == 0) {
        rc = ipcr_name_remove(dir, "name", IPCR_REMOVE_ORPHAN);
        CHECK(rc == IPCR_OK || rc == IPCR_NOT_FOUND || rc == IPCR_EXISTS);
        return;
    }
    rc = choice < 5 ? create_as("name", &s) : attach_as("name", IPCR_KIND_RING, &s);
    if (rc != IPCR_OK) {
        CHECK_IS(rc, choice < 5 ? IPCR_EXISTS : IPCR_NOT_FOUND);
        return;
    }
    if (choice < 5)
        one_more(&crew->contest->created);
    for (uint64_t looks = fight ? 0 : random_next(random) % 4; looks > 0; looks--) {
        check_no_split(s);
        sched_yield();
    }
    check_no_split(s);
    if (crew->unlinking && random_next(random) % 4 == 0) {
        store_release32(farewell(s), 1);
        rc = ipcr_segment_unlink(s);
        CHECK(rc == IPCR_OK || rc == IPCR_NOT_FOUND);
        CHECK(!leads_to("name", s));
    }
    if (random_next(random) % 8 == 0) /* unread: the last one out leaves an orphan */
        store_release64(&s->header->at[IPCR_SENDER].position, 16);
    if (random_next(random) % 8 == 0)
        _exit(0); /* a crash, as far as anybody can tell */
    ipcr_segment_release(s);
}

static void visit(int ear, int mouth, void *arg)
{
    const struct crew *crew = arg;
    uint64_t random = crew->seed;
    (void)mouth;
    (void)hear(ear); /* all at once */
    ipcr_word32 *const visitor = &crew->contest->visitor[crew->number];
    for (int i = 0; i < crew->rounds; i++) {
        if (random_next(&random) % 8 != 0) {
            /* one_visit may _exit: in a process of its own */
            random += 1000;
            const pid_t pid = fork();
            CHECK(pid >= 0);
            if (pid == 0) {
                prctl(PR_SET_PDEATHSIG, SIGKILL);
                for (int n = 0; n < 8; n++)
                    one_visit(crew, &random);
                _exit(0);
            }
            int status;
            store_release32(visitor, (uint32_t)pid);
            CHECK(waitpid(pid, &status, 0) == pid);
            store_release32(visitor, 0);
            CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
            i += 7;
        } else {
            const int rc = ipcr_name_remove(dir, "name", IPCR_REMOVE_ORPHAN);
            CHECK(rc == IPCR_OK || rc == IPCR_NOT_FOUND || rc == IPCR_EXISTS);
        }
    }
}

/* A scheduler that takes the processor away at the worst moments: stops visitors, wherever they are, for up to 3 ms. */
static void throttle(int ear, int mouth, void *arg)
{
    struct name_contest *contest = arg;
    uint64_t random = 7;
    (void)ear;
    (void)mouth;
    for (;;) {
        const pid_t pid = (pid_t)load_acquire32(&contest->visitor[random_next(&random) % CREW]);
        if (pid != 0 && kill(pid, SIGSTOP) == 0) {
            ipcr_os_sleep_ns(random_next(&random) % 3000000);
            kill(pid, SIGCONT);
        }
        ipcr_os_sleep_ns(random_next(&random) % 300000);
    }
}

static void many_processes_at_one_name(int rounds, bool unlinking, bool throttled)
{
    struct crew crew[CREW];
    struct child children[CREW], throttler;
    struct name_contest *contest = shared_memory(sizeof *contest);
    for (int i = 0; i < CREW; i++) {
        crew[i] = (struct crew){ .seed = 1000000 * (uint64_t)(i + 1), .number = i, .rounds = rounds,
                                 .unlinking = unlinking, .contest = contest };
        children[i] = child_start(visit, &crew[i]);
    }
    if (throttled)
        throttler = child_start(throttle, contest);
    for (int i = 0; i < CREW; i++)
        say(children[i].mouth, 'g');
    for (int i = 0; i < CREW; i++)
        child_finish(&children[i]);
    if (throttled)
        child_kill(&throttler);
    printf("    %d processes, %u visits, %u times made, 0 splits\n", CREW, load_relaxed32(&contest->visits),
           load_relaxed32(&contest->created));
    CHECK(load_relaxed32(&contest->created) > CREW);
    munmap(contest, sizeof *contest);
    const int rc = ipcr_name_remove(dir, "name", IPCR_REMOVE_ORPHAN);
    CHECK(rc == IPCR_OK || rc == IPCR_NOT_FOUND); /* nobody is left */
    check_nothing_left();
}

enum { ROUNDS = FEWER(4000, 500), ROUNDS_THROTTLED = FEWER(1000, 200) };

static void many_processes_at_one_name_never_split(void) { many_processes_at_one_name(ROUNDS, false, false); }
static void not_even_when_some_unlink_it(void) { many_processes_at_one_name(ROUNDS, true, false); }
static void nor_when_they_are_stopped_again_and_again(void) { many_processes_at_one_name(ROUNDS_THROTTLED, true, true); }
static void nor_without_o_tmpfile(void)
{
    no_tmpfile = true;
    many_processes_at_one_name(ROUNDS, true, false);
    many_processes_at_one_name(ROUNDS_THROTTLED, true, true);
    no_tmpfile = false;
}

int main(void)
{
    check_begin();
    CHECK(mkdtemp(dir) != NULL);
    check_tidy = remove_dir;
    run("many processes at one name never split", many_processes_at_one_name_never_split);
    run("not even when some unlink it", not_even_when_some_unlink_it);
    run("nor when they are stopped again and again", nor_when_they_are_stopped_again_and_again);
    run("nor without O_TMPFILE", nor_without_o_tmpfile);
    check_nothing_left();
    CHECK(rmdir(dir) == 0);
    return check_finish();
}

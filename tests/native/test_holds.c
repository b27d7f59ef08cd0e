/* test_holds.c - the locks that all rests on, and what a fork does to them. */
#include "segments.h"

/* --- holds ----------------------------------------------------------------------------------------------- */

static const struct ipcr_lock_byte some_byte = { .byte = IPCR_LOCK_BASE + 1000, .exclusive = true };

static void a_hold_is_exclusive_and_ends_with_its_drop(void)
{
    struct ipcr_segment *s = anonymous(CAPACITY, 0);
    struct ipcr_hold hold = { 0 }, other = { 0 };
    CHECK(!is_held(s, some_byte.byte));
    CHECK_IS(ipcr_hold_take(&hold, s->fd, s->id, &some_byte, 1), IPCR_OK);
    CHECK(is_held(s, some_byte.byte)); /* this process's own hold as well */
    CHECK_IS(ipcr_hold_take(&other, s->fd, s->id, &some_byte, 1), IPCR_TAKEN);
    CHECK(other.page == NULL);
    ipcr_hold_drop(&hold);
    CHECK(!is_held(s, some_byte.byte));
    ipcr_hold_drop(&hold); /* harmless */
    /* several bytes are taken together or not at all */
    const struct ipcr_lock_byte two[2] = { { .byte = IPCR_LOCK_BASE + 1001, .exclusive = true }, some_byte };
    CHECK_IS(ipcr_hold_take(&hold, s->fd, s->id, &some_byte, 1), IPCR_OK);
    CHECK_IS(ipcr_hold_take(&other, s->fd, s->id, two, 2), IPCR_TAKEN);
    CHECK(!is_held(s, two[0].byte));
    ipcr_hold_drop(&hold);
    ipcr_segment_release(s);
}

static void shared_holds_go_together(void)
{
    struct ipcr_segment *s = anonymous(CAPACITY, 0);
    const struct ipcr_lock_byte shared = { .byte = IPCR_LOCK_BASE + 1000, .exclusive = false };
    struct ipcr_hold a = { 0 }, b = { 0 }, c = { 0 };
    CHECK_IS(ipcr_hold_take(&a, s->fd, s->id, &shared, 1), IPCR_OK);
    CHECK_IS(ipcr_hold_take(&b, s->fd, s->id, &shared, 1), IPCR_OK);
    CHECK_IS(ipcr_hold_take(&c, s->fd, s->id, &some_byte, 1), IPCR_TAKEN);
    ipcr_hold_drop(&a);
    CHECK(is_held(s, shared.byte));
    ipcr_hold_drop(&b);
    CHECK(!is_held(s, shared.byte));
    ipcr_segment_release(s);
}

/* R15: the trap of POSIX record locks. */
static void opening_and_closing_the_file_does_not_drop_a_hold(void)
{
    struct ipcr_segment *s = create("n");
    struct ipcr_hold hold = { 0 };
    char path[512];
    path_of(path, "n");
    CHECK_IS(ipcr_hold_take(&hold, s->fd, s->id, &some_byte, 1), IPCR_OK);
    for (int i = 0; i < 1000; i++) {
        const int fd = open(path, O_RDWR | O_CLOEXEC);
        CHECK(fd >= 0);
        close(fd);
    }
    CHECK(is_held(s, some_byte.byte));
    CHECK(is_held(s, IPCR_LOCK_PRESENCE));
    ipcr_hold_drop(&hold);
    ipcr_segment_release(s);
}

/* The other process's segment comes down by fork: the pointer is the same in both. */
struct holder {
    struct ipcr_segment *segment;
    bool close_all;
};

static void hold_some_byte(int ear, int mouth, void *arg)
{
    const struct holder *h = arg;
    struct ipcr_hold hold = { 0 };
    CHECK_IS(ipcr_hold_take(&hold, h->segment->fd, h->segment->id, &some_byte, 1), IPCR_OK);
    if (h->close_all) {
        CHECK(dup2(ear, 0) == 0 && dup2(mouth, 1) == 1);
        CHECK(syscall(SYS_close_range, 3U, ~0U, 0U) == 0);
        ear = 0;
        mouth = 1;
    }
    say(mouth, 'h');
    (void)hear(ear);
}

static void a_hold_survives_the_closing_of_all_descriptors(void)
{
    struct holder h = { .segment = anonymous(CAPACITY, 0), .close_all = true };
    struct child c = child_start(hold_some_byte, &h);
    CHECK_IS(hear(c.ear), 'h');
    CHECK(is_held(h.segment, some_byte.byte));
    say(c.mouth, 'q');
    child_finish(&c);
    CHECK(!is_held(h.segment, some_byte.byte));
    ipcr_segment_release(h.segment);
}

static void a_hold_ends_with_its_process(void)
{
    struct holder h = { .segment = anonymous(CAPACITY, 0) };
    for (int i = 0; i < FEWER(100, 20); i++) {
        struct child c = child_start(hold_some_byte, &h);
        CHECK_IS(hear(c.ear), 'h');
        CHECK(is_held(h.segment, some_byte.byte));
        child_kill(&c);
        CHECK(!is_held(h.segment, some_byte.byte));
    }
    ipcr_segment_release(h.segment);
}

static void hold_and_fork(int ear, int mouth, void *arg)
{
    const struct holder *h = arg;
    struct ipcr_hold hold = { 0 };
    CHECK_IS(ipcr_hold_take(&hold, h->segment->fd, h->segment->id, &some_byte, 1), IPCR_OK);
    const pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) { /* lives on until the pipe is closed over there */
        say(mouth, 'g');
        while (hear(ear) != 0)
            ;
        _exit(0);
    }
    say(mouth, 'h');
    wait_for_end();
}

static void a_hold_is_not_inherited_by_a_forked_child(void)
{
    struct holder h = { .segment = anonymous(CAPACITY, 0) };
    struct child c = child_start(hold_and_fork, &h);
    const char one = hear(c.ear), two = hear(c.ear);
    CHECK((one == 'g' && two == 'h') || (one == 'h' && two == 'g'));
    CHECK(is_held(h.segment, some_byte.byte));
    child_kill(&c); /* its child goes on */
    CHECK(!is_held(h.segment, some_byte.byte));
    ipcr_segment_release(h.segment);
}

static void a_probe_through_a_reused_descriptor_number_is_an_error(void)
{
    struct ipcr_segment *s = anonymous(CAPACITY, 0), *other = anonymous(CAPACITY, 0);
    bool held = false;
    int fresh;
    CHECK_IS(ipcr_probe(other->fd, s->id, IPCR_LOCK_PRESENCE, &held), IPCR_FROM_ERRNO(EBADF));
    CHECK_IS(ipcr_os_reopen(other->fd, s->id, &fresh), IPCR_FROM_ERRNO(EBADF));
    CHECK(IPCR_IS_ERRNO(ipcr_probe(-1, s->id, IPCR_LOCK_PRESENCE, &held)));
    ipcr_segment_release(s);
    ipcr_segment_release(other);
}

/* --- fork ---------------------------------------------------------------------------------------------- */

static void stay_present(int ear, int mouth, void *arg)
{
    say(mouth, 'p');
    (void)hear(ear);
    ipcr_segment_release(arg);
}

static void a_forked_child_is_present_from_its_first_instant(void)
{
    for (int i = 0; i < FEWER(200, 40); i++) {
        struct ipcr_segment *s = create("n"), *other = NULL;
        struct child c = child_start(stay_present, s);
        ipcr_segment_release(s); /* at once, and it is not the last */
        CHECK(exists("n"));
        CHECK_IS(create_as("n", &other), IPCR_EXISTS);
        CHECK_IS(hear(c.ear), 'p');
        CHECK_IS(create_as("n", &other), IPCR_EXISTS);
        say(c.mouth, 'q');
        child_finish(&c);
        CHECK(!exists("n"));
    }
    check_nothing_left();
}

static ipcr_word32 forks_over;

static void *remove_in_vain(void *arg)
{
    while (load_acquire32(&forks_over) == 0)
        CHECK_IS(ipcr_name_remove(dir, arg, IPCR_REMOVE_ORPHAN), IPCR_EXISTS);
    return NULL;
}

static void live_until_told(int ear, int mouth, void *arg)
{
    (void)mouth;
    (void)arg;
    (void)hear(ear);
}

static void a_fork_while_another_thread_unlinks_keeps_no_lock_in_the_child(void)
{
    enum { CHILDREN = FEWER(200, 60) };
    static struct child children[CHILDREN];
    struct ipcr_segment *s = create("n");
    pthread_t thread;
    store_release32(&forks_over, 0);
    CHECK(pthread_create(&thread, NULL, remove_in_vain, "n") == 0);
    for (int i = 0; i < CHILDREN; i++)
        children[i] = child_start(live_until_told, NULL);
    store_release32(&forks_over, 1);
    CHECK(pthread_join(thread, NULL) == 0);
    CHECK(!is_held(s, IPCR_LOCK_NAME));
    for (int i = 0; i < CHILDREN; i++)
        child_kill(&children[i]);
    ipcr_segment_release(s);
    check_nothing_left();
}

static void *open_and_close_ends(void *arg)
{
    struct ipcr_segment *s = arg;
    while (load_acquire32(&forks_over) == 0) {
        struct ipcr_end *e;
        CHECK_IS(ipcr_end_open(s, IPCR_SENDER, 0, &e), IPCR_OK);
        ipcr_end_close(e, true);
        ipcr_end_free(e);
    }
    return NULL;
}

static void close_every_end(int ear, int mouth, void *arg)
{
    struct ipcr_segment *s = arg;
    for (struct ipcr_end *e = s->ends, *next; e != NULL; e = next) {
        next = e->next;
        ipcr_end_close(e, true);
    }
    say(mouth, 'c');
    (void)hear(ear);
}

static void a_fork_while_another_thread_opens_and_closes_keeps_no_claim_in_the_child(void)
{
    enum { CHILDREN = FEWER(200, 60) };
    static struct child children[CHILDREN];
    struct ipcr_segment *s = anonymous(CAPACITY, 0);
    pthread_t thread;
    store_release32(&forks_over, 0);
    CHECK(pthread_create(&thread, NULL, open_and_close_ends, s) == 0);
    for (int i = 0; i < CHILDREN; i++)
        children[i] = child_start(close_every_end, s);
    store_release32(&forks_over, 1);
    CHECK(pthread_join(thread, NULL) == 0);
    for (int i = 0; i < CHILDREN; i++)
        CHECK_IS(hear(children[i].ear), 'c');
    CHECK(!is_held(s, IPCR_LOCK_CLAIM(IPCR_SENDER)));
    for (int i = 0; i < CHILDREN; i++)
        child_kill(&children[i]);
    ipcr_segment_release(s);
}

int main(void)
{
    check_begin();
    CHECK(mkdtemp(dir) != NULL);
    check_tidy = remove_dir;
    run("a hold is exclusive, and ends with its drop", a_hold_is_exclusive_and_ends_with_its_drop);
    run("shared holds go together", shared_holds_go_together);
    run("opening and closing the file does not drop a hold", opening_and_closing_the_file_does_not_drop_a_hold);
    run("a hold survives the closing of all descriptors", a_hold_survives_the_closing_of_all_descriptors);
    run("a hold ends with its process", a_hold_ends_with_its_process);
    run("a hold is not inherited by a forked child", a_hold_is_not_inherited_by_a_forked_child);
    run("a probe through a reused descriptor number is an error",
        a_probe_through_a_reused_descriptor_number_is_an_error);
    run("a forked child is present from its first instant", a_forked_child_is_present_from_its_first_instant);
    run("a fork while another thread unlinks keeps no lock in the child",
        a_fork_while_another_thread_unlinks_keeps_no_lock_in_the_child);
    run("a fork while another thread opens and closes keeps no claim in the child",
        a_fork_while_another_thread_opens_and_closes_keeps_no_claim_in_the_child);
    check_nothing_left();
    CHECK(rmdir(dir) == 0);
    return check_finish();
}

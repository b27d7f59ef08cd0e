/* test_names.c - names: in use, orphaned, replaced, adopted, left by a creator that was killed, and seen from outside. */
#include "segments.h"

/* --- names: in use, orphaned, replaced, adopted -------------------------------------------------------- */

static void hold_name(int ear, int mouth, void *name)
{
    struct ipcr_segment *s = create(name);
    say(mouth, 'c');
    switch (hear(ear)) {
    case 'm': /* leave a message, and go without a word */
        send_one(s, "left behind");
        say(mouth, 'd');
        wait_for_end();
        break;
    case 'r':
        ipcr_segment_release(s);
        say(mouth, 'd');
        break;
    default:
        break;
    }
}

static void attach_name(int ear, int mouth, void *name)
{
    CHECK_IS(hear(ear), 'g');
    struct ipcr_segment *s = attach(name);
    say(mouth, 'a');
    (void)hear(ear);
    ipcr_segment_release(s);
}

static void a_name_in_use_is_refused_to_a_second_creator(void)
{
    struct ipcr_segment *s = create("n"), *other = NULL;
    CHECK_IS(create_as("n", &other), IPCR_EXISTS);
    CHECK_IS(ipcr_name_remove(dir, "n", IPCR_REMOVE_ORPHAN), IPCR_EXISTS);
    ipcr_segment_release(s);
    struct child c = child_start(hold_name, "n");
    CHECK_IS(hear(c.ear), 'c');
    CHECK_IS(create_as("n", &other), IPCR_EXISTS);
    CHECK_IS(ipcr_name_remove(dir, "n", IPCR_REMOVE_ORPHAN), IPCR_EXISTS);
    CHECK(kill(c.pid, SIGSTOP) == 0); /* stopped is not dead */
    CHECK_IS(create_as("n", &other), IPCR_EXISTS);
    CHECK(kill(c.pid, SIGCONT) == 0);
    say(c.mouth, 'r');
    CHECK_IS(hear(c.ear), 'd');
    child_finish(&c);
    check_nothing_left();
}

static void an_orphan_is_replaced_by_a_creator(void)
{
    struct child c = child_start(hold_name, "n");
    CHECK_IS(hear(c.ear), 'c');
    struct ipcr_segment *old = attach("n");
    child_kill(&c);
    struct ipcr_segment *other = NULL;
    CHECK_IS(create_as("n", &other), IPCR_EXISTS); /* we are present in it */
    int fd;
    CHECK_IS(ipcr_os_reopen(old->fd, old->id, &fd), IPCR_OK);
    send_one(old, "unread"); /* so that our leaving doesn't take the name along */
    const struct ipcr_file_id id = old->id;
    ipcr_segment_release(old);
    CHECK(exists("n"));
    struct ipcr_segment *s = create("n");
    CHECK(!ipcr_same_file(s->id, id)); /* the old inode can't be reused: fd keeps it */
    CHECK(leads_to("n", s));
    close(fd);
    ipcr_segment_release(s);
    check_nothing_left();
}

static void an_orphan_is_adopted_with_its_unread_messages(void)
{
    struct child c = child_start(hold_name, "n");
    CHECK_IS(hear(c.ear), 'c');
    say(c.mouth, 'm');
    CHECK_IS(hear(c.ear), 'd');
    child_kill(&c);
    struct ipcr_segment *s = attach("n");
    CHECK_IS(ipcr_name_remove(dir, "n", IPCR_REMOVE_ORPHAN), IPCR_EXISTS);
    receive_one(s, "left behind");
    ipcr_segment_release(s);
    check_nothing_left();
}

static void gc_removes_an_orphan_and_nothing_else(void)
{
    struct child c = child_start(hold_name, "n");
    CHECK_IS(hear(c.ear), 'c');
    CHECK_IS(ipcr_name_remove(dir, "n", IPCR_REMOVE_ORPHAN), IPCR_EXISTS);
    CHECK(exists("n"));
    child_kill(&c);
    CHECK_IS(ipcr_name_remove(dir, "n", IPCR_REMOVE_ORPHAN), IPCR_OK);
    CHECK_IS(ipcr_name_remove(dir, "n", IPCR_REMOVE_ORPHAN), IPCR_NOT_FOUND);
    check_nothing_left();
}

/* R1: an attacher's exit takes nothing away from the creator. */
static void attachers_come_and_go_and_the_segment_stays(void)
{
    struct ipcr_segment *s = create("n");
    for (int i = 0; i < 6; i++) {
        struct child c = child_start(attach_name, "n");
        say(c.mouth, 'g');
        CHECK_IS(hear(c.ear), 'a');
        if (i % 2 == 0) {
            say(c.mouth, 'q');
            child_finish(&c);
        } else {
            child_kill(&c);
        }
        CHECK(leads_to("n", s));
    }
    ipcr_segment_release(s);
    check_nothing_left();
}

static void unlinking_takes_the_name_and_those_attached_go_on(void)
{
    struct ipcr_segment *s = create("n"), *other = attach("n");
    CHECK_IS(ipcr_segment_unlink(s), IPCR_OK);
    CHECK(!exists("n"));
    CHECK_IS(ipcr_segment_unlink(s), IPCR_NOT_FOUND);
    CHECK_IS(ipcr_segment_unlink(other), IPCR_NOT_FOUND);
    send_one(s, "still here");
    receive_one(other, "still here");
    ipcr_segment_release(s);
    ipcr_segment_release(other);
    check_nothing_left();
}

/* R8: an old generation's late unlink, or last close, must not remove the new file. */
static void unlinking_spares_a_name_that_leads_elsewhere_by_now(void)
{
    struct ipcr_segment *old = create("n");
    CHECK_IS(ipcr_name_remove(dir, "n", IPCR_REMOVE_ALWAYS), IPCR_OK);
    struct ipcr_segment *s = create("n");
    CHECK_IS(ipcr_segment_unlink(old), IPCR_NOT_FOUND);
    CHECK(leads_to("n", s));
    ipcr_segment_release(old);
    CHECK(leads_to("n", s));
    ipcr_segment_release(s);
    check_nothing_left();
}

static void a_descriptor_opened_before_the_replacement_must_be_opened_anew(void)
{
    struct ipcr_segment *old = create("n"), *other = NULL;
    int fd;
    CHECK_IS(ipcr_os_open(dir, "n", &fd), IPCR_OK);
    CHECK_IS(ipcr_segment_unlink(old), IPCR_OK);
    CHECK_IS(ipcr_segment_attach(fd, dir, "n", 0, false, &other), IPCR_AGAIN);
    struct ipcr_segment *s = create("n");
    CHECK_IS(ipcr_segment_attach(fd, dir, "n", 0, false, &other), IPCR_AGAIN);
    /* unless a process that is present sent it */
    CHECK_IS(ipcr_segment_attach(fd, dir, "n", 0, true, &other), IPCR_OK);
    CHECK(ipcr_same_file(other->id, old->id));
    ipcr_segment_release(other);
    ipcr_segment_release(old);
    CHECK(leads_to("n", s));
    ipcr_segment_release(s);
    check_nothing_left();
}

static void the_last_clean_close_takes_the_name_along_only_if_nothing_is_unread(void)
{
    struct child c = child_start(attach_name, "n"); /* before the segment, or it would inherit our handle */
    struct ipcr_segment *s = create("n");
    say(c.mouth, 'g');
    CHECK_IS(hear(c.ear), 'a');
    ipcr_segment_release(s);
    CHECK(exists("n")); /* not the last */
    say(c.mouth, 'q');
    child_finish(&c);
    CHECK(!exists("n"));

    s = create("n");
    send_one(s, "unread");
    ipcr_segment_release(s);
    CHECK(exists("n"));
    s = attach("n");
    ipcr_segment_release(s); /* read nothing */
    CHECK(exists("n"));
    s = attach("n");
    receive_one(s, "unread");
    ipcr_segment_release(s);
    check_nothing_left();
}

static void a_segment_is_kept_by_references_and_ends(void)
{
    struct ipcr_segment *s = create("n");
    struct ipcr_end *e;
    ipcr_segment_reference(s);
    CHECK_IS(ipcr_end_open(s, IPCR_SENDER, 0, &e), IPCR_OK);
    ipcr_segment_release(s);
    ipcr_segment_release(s);
    CHECK(exists("n"));
    ipcr_end_close(e, true);
    ipcr_end_free(e);
    check_nothing_left();
}

/* --- killed in the middle ---------------------------------------------------------------------------------- */

static void create_and_die(int ear, int mouth, void *moment)
{
    (void)ear;
    (void)mouth;
    die_at = *(enum moment *)moment;
    struct ipcr_segment *s = create("n");
    ipcr_segment_release(s);
}

static void killed_at(enum moment moment)
{
    struct child c = child_start(create_and_die, &moment);
    const int status = child_wait(&c);
    CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

static void a_creator_killed_at_any_moment_leaves_nothing_or_a_whole_orphan(void)
{
    struct ipcr_segment *s = NULL;
    killed_at(AT_ALLOCATE);
    check_nothing_left();
    killed_at(BEFORE_LINK);
    check_nothing_left();
    killed_at(AFTER_LINK);
    CHECK_IS(attach_as("n", IPCR_KIND_RING, &s), IPCR_OK); /* whole */
    send_one(s, "x");
    receive_one(s, "x");
    ipcr_segment_release(s);
    check_nothing_left();
    killed_at(AFTER_LINK);
    ipcr_segment_release(create("n")); /* replaces it */
    check_nothing_left();
    killed_at(BEFORE_UNLINK); /* of the last close */
    CHECK_IS(ipcr_name_remove(dir, "n", IPCR_REMOVE_ORPHAN), IPCR_OK);
    killed_at(AFTER_UNLINK);
    check_nothing_left();
}

static void without_o_tmpfile_a_killed_creator_leaves_at_most_what_gc_removes(void)
{
    const enum moment moments[] = { AT_ALLOCATE, BEFORE_RENAME };
    char left[256];
    no_tmpfile = true;
    for (size_t i = 0; i < 2; i++) {
        killed_at(moments[i]);
        CHECK_IS(files_in_dir(left), 1);
        CHECK(strncmp(left, IPCR_TEMPORARY_PREFIX, sizeof IPCR_TEMPORARY_PREFIX - 1) == 0);
        CHECK_IS(ipcr_name_remove(dir, left, IPCR_REMOVE_ORPHAN), IPCR_OK);
        check_nothing_left();
    }
    killed_at(AFTER_RENAME);
    CHECK_IS(files_in_dir(left), 1);
    ipcr_segment_release(create("n"));
    check_nothing_left();
    no_tmpfile = false;
}

static void without_o_tmpfile_names_work_alike(void)
{
    no_tmpfile = true;
    a_name_in_use_is_refused_to_a_second_creator();
    an_orphan_is_replaced_by_a_creator();
    an_orphan_is_adopted_with_its_unread_messages();
    no_tmpfile = false;
}

/* --- statistics ------------------------------------------------------------------------------------------ */

static void statistics_show_who_is_there_without_being_there(void)
{
    struct child c = child_start(hold_name, "n");
    CHECK_IS(hear(c.ear), 'c');
    say(c.mouth, 'm');
    CHECK_IS(hear(c.ear), 'd');
    int fd;
    struct ipcr_stats stats;
    CHECK_IS(ipcr_os_open(dir, "n", &fd), IPCR_OK);
    CHECK_IS(ipcr_stats_of_file(fd, &stats), IPCR_OK);
    CHECK_IS(stats.kind, IPCR_KIND_RING);
    CHECK_IS(stats.creator_pid, c.pid);
    CHECK_IS(stats.capacity, CAPACITY);
    CHECK_IS(stats.present, 1);
    CHECK_IS(stats.named, 1);
    CHECK_IS(stats.side[IPCR_SENDER].messages, 1);
    CHECK_IS(stats.side[IPCR_SENDER].bytes, strlen("left behind"));
    CHECK_IS(stats.side[IPCR_SENDER].state, IPCR_END_CLOSED);
    CHECK_IS(stats.side[IPCR_SENDER].alive, 0);
    CHECK_IS(stats.side[IPCR_RECEIVER].messages, 0);
    CHECK_IS(stats.side[IPCR_RECEIVER].state, IPCR_END_UNTAKEN);
    child_kill(&c);
    CHECK_IS(ipcr_stats_of_file(fd, &stats), IPCR_OK);
    CHECK_IS(stats.present, 0);
    close(fd);
    CHECK_IS(ipcr_name_remove(dir, "n", IPCR_REMOVE_ORPHAN), IPCR_OK);
    check_nothing_left();
}

int main(void)
{
    check_begin();
    CHECK(mkdtemp(dir) != NULL);
    check_tidy = remove_dir;
    run("a name in use is refused to a second creator", a_name_in_use_is_refused_to_a_second_creator);
    run("an orphan is replaced by a creator", an_orphan_is_replaced_by_a_creator);
    run("an orphan is adopted with its unread messages", an_orphan_is_adopted_with_its_unread_messages);
    run("gc removes an orphan and nothing else", gc_removes_an_orphan_and_nothing_else);
    run("attachers come and go, and the segment stays", attachers_come_and_go_and_the_segment_stays);
    run("unlinking takes the name, and those attached go on", unlinking_takes_the_name_and_those_attached_go_on);
    run("unlinking spares a name that leads elsewhere by now",
        unlinking_spares_a_name_that_leads_elsewhere_by_now);
    run("a descriptor opened before the replacement must be opened anew",
        a_descriptor_opened_before_the_replacement_must_be_opened_anew);
    run("the last clean close takes the name along only if nothing is unread",
        the_last_clean_close_takes_the_name_along_only_if_nothing_is_unread);
    run("a segment is kept by references and ends", a_segment_is_kept_by_references_and_ends);
    run("a creator killed at any moment leaves nothing, or a whole orphan",
        a_creator_killed_at_any_moment_leaves_nothing_or_a_whole_orphan);
    run("without O_TMPFILE a killed creator leaves at most what gc removes",
        without_o_tmpfile_a_killed_creator_leaves_at_most_what_gc_removes);
    run("without O_TMPFILE names work alike", without_o_tmpfile_names_work_alike);
    run("statistics show who is there, without being there", statistics_show_who_is_there_without_being_there);
    check_nothing_left();
    CHECK(rmdir(dir) == 0);
    return check_finish();
}

/* test_failing_calls.c - channels while system calls fail, as failing.h lets them; and the lifeline of a child. */
#include "ends.h"
#include "failing.h"
#include "messages.h"
#include "registry.h"
#include "stats.h"

/* --- stories ---------------------------------------------------------------------------------------------------------- */

static int64_t created(const char *where, const char *name, struct ipcr_segment **out)
{
    return ipcr_segment_create(where, name, IPCR_KIND_RING, SMALLEST, 0, out);
}

static int64_t anonymous_ring(struct ipcr_segment **out) { return created(NULL, "ipc:test", out); }
static int64_t named_ring(struct ipcr_segment **out) { return created(dir, "name", out); }

static int64_t take(struct ipcr_segment *s, uint32_t side, struct ipcr_end **out)
{
    uint32_t by;
    const int rc = ipcr_end_open(s, side, 0, out);
    return rc == IPCR_OK ? ipcr_end_take(*out, &by) : rc;
}

static void drop(struct ipcr_end *e)
{
    if (e != NULL)
        finish(e, true);
}

static int64_t talk(struct ipcr_segment *s)
{
    struct ipcr_end *w = NULL, *r = NULL;
    struct ipcr_stats stats;
    char out[IPCR_SMALL];
    int64_t rc = take(s, IPCR_SENDER, &w);
    if (rc == IPCR_OK)
        rc = take(s, IPCR_RECEIVER, &r);
    if (rc == IPCR_OK)
        rc = ipcr_stats_of_segment(s, &stats);
    if (rc == IPCR_OK) { /* parks, is woken by nobody, and looks after its peer */
        rc = ipcr_recv_wait(r, out, in_ms(3), 0);
        if (rc == IPCR_AGAIN)
            ipcr_stop_waiting(r);
        rc = rc == IPCR_EMPTY || rc == IPCR_AGAIN ? IPCR_OK : rc;
    }
    if (rc == IPCR_OK)
        rc = ipcr_send(w, "text", 4, 0);
    if (rc == IPCR_OK)
        rc = ipcr_recv(r, out) == 4 ? IPCR_OK : IPCR_EMPTY;
    drop(w);
    drop(r);
    return rc;
}

static int64_t talk_on_the_second(struct ipcr_segment *first, struct ipcr_segment *second)
{
    (void)first;
    return talk(second);
}

static int64_t look_at(int fd)
{
    struct ipcr_stats stats;
    return ipcr_stats_of_file(fd, &stats);
}

static int64_t talk_as_another(struct ipcr_segment *s)
{
    return with_second_mapping(s, IPCR_KIND_RING, look_at, talk_on_the_second);
}

static int64_t anonymous_life(void) { return life_of(anonymous_ring, talk); }
static int64_t named_life(void) { return life_of(named_ring, talk_as_another); }

static int64_t life_without_tmpfile(void)
{
    no_tmpfile = true;
    const int64_t rc = named_life();
    no_tmpfile = false;
    return rc;
}

/* What is unread keeps the name when the last one leaves. */
static int64_t orphan_and_removal(void)
{
    struct ipcr_segment *s = NULL;
    struct ipcr_end *w = NULL;
    int64_t rc = named_ring(&s);
    if (rc != IPCR_OK)
        return rc;
    rc = take(s, IPCR_SENDER, &w);
    if (rc == IPCR_OK)
        rc = ipcr_send(w, "unread", 6, 0);
    drop(w);
    ipcr_segment_release(s);
    if (rc == IPCR_OK)
        rc = named_ring(&s);
    if (rc != IPCR_OK) {
        const int removed = ipcr_name_remove(dir, "name", IPCR_REMOVE_ORPHAN);
        return removed == IPCR_OK || removed == IPCR_NOT_FOUND ? rc : removed;
    }
    rc = ipcr_segment_unlink(s);
    ipcr_segment_release(s);
    return rc;
}

static int64_t hand_over(struct ipcr_segment *s, bool with_role)
{
    struct ipcr_end *e = NULL, *child = NULL;
    int held;
    int64_t rc = ipcr_end_open(s, IPCR_SENDER, 0, &e);
    if (rc == IPCR_OK)
        rc = ipcr_end_hand_over(e, with_role, false, &held);
    if (rc == IPCR_OK) {
        ipcr_end_take_back(e, held, with_role);
        rc = ipcr_end_hand_over(e, with_role, false, &held);
    }
    if (rc == IPCR_OK) {
        ipcr_parcel_keep(held);
        rc = ipcr_end_adopt(s, IPCR_SENDER, 0, held, with_role, &child);
    }
    drop(e);
    drop(child);
    return rc;
}

static int64_t hand_over_both_ways(struct ipcr_segment *s)
{
    const int64_t rc = hand_over(s, false);
    return rc == IPCR_OK ? hand_over(s, true) : rc;
}

static int64_t ends_that_move(void) { return life_of(anonymous_ring, hand_over_both_ways); }

static int64_t take_sender(void *end)
{
    uint32_t by;
    return ipcr_end_take(end, &by);
}

/* A child for which presence or claim could not be had is not present until it uses the end. */
static int64_t fork_with_sender(struct ipcr_segment *s)
{
    struct ipcr_end *e = NULL;
    const int64_t rc = ipcr_end_open(s, IPCR_SENDER, 0, &e);
    if (rc == IPCR_OK)
        attempted_in_a_child(take_sender, e);
    drop(e);
    return rc;
}

static int64_t forks(void) { return life_of(named_ring, fork_with_sender); }

static void an_anonymous_segment_survives_every_failure(void) { tell_with_failures(anonymous_life); }
static void a_named_segment_survives_every_failure(void) { tell_with_failures(named_life); }
static void a_name_without_tmpfile_survives_every_failure(void) { tell_with_failures(life_without_tmpfile); }
static void an_orphan_is_replaced_or_reported_whatever_fails(void) { tell_with_failures(orphan_and_removal); }
static void an_end_that_moves_survives_every_failure(void) { tell_with_failures(ends_that_move); }
static void a_fork_survives_every_failure(void) { tell_with_failures(forks); }

/* --- the lifeline of a child ---------------------------------------------------------------------------------------- */

static void hold_on(int ear, int mouth, void *arg)
{
    (void)mouth;
    (void)arg;
    for (countdown = 1; countdown < 3; countdown++) { /* no memory, no thread */
        const uint64_t n = countdown;
        CHECK(IPCR_IS_ERRNO(ipcr_os_end_with(ear, 7)));
        countdown = n;
    }
    countdown = 0;
    CHECK_IS(ipcr_os_end_with(ear, 7), IPCR_OK);
    wait_for_end();
}

static void a_child_ends_with_its_parents_descriptor(void)
{
    struct child c = child_start(hold_on, NULL);
    close(c.mouth);
    int status;
    CHECK(waitpid(c.pid, &status, 0) == c.pid);
    CHECK(WIFEXITED(status));
    CHECK_IS(WEXITSTATUS(status), 7);
    close(c.ear);
}

int main(void)
{
    failing_begin();
    run("an anonymous segment survives every failure", an_anonymous_segment_survives_every_failure);
    run("a named segment survives every failure", a_named_segment_survives_every_failure);
    run("a name without O_TMPFILE survives every failure", a_name_without_tmpfile_survives_every_failure);
    run("an orphan is replaced or reported, whatever fails", an_orphan_is_replaced_or_reported_whatever_fails);
    run("an end that moves survives every failure", an_end_that_moves_survives_every_failure);
    run("a fork survives every failure", a_fork_survives_every_failure);
    run("a child ends with its parent's descriptor", a_child_ends_with_its_parents_descriptor);
    return failing_finish();
}

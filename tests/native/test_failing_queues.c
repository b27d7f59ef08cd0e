/* test_failing_queues.c - queues while system calls fail, as failing.h lets them. */
#include "failing.h"
#include "queues.h"

static const struct ipcr_queue_options options = { .slots = 32, .lanes_each = 1, .maxsize = 2 };

static int64_t created(const char *where, const char *name, struct ipcr_segment **out)
{
    return ipcr_segment_create_queue(where, name, IPCR_KIND_RELIABLE, LANE, 2, &options, 0, out);
}

static int64_t anonymous_queue(struct ipcr_segment **out) { return created(NULL, "ipc:test", out); }
static int64_t named_queue(struct ipcr_segment **out) { return created(dir, "name", out); }

static void drop(struct ipcr_queue *q)
{
    if (q != NULL)
        ipcr_queue_free(q);
}

/* Parks, is woken by nobody, and looks after the others. */
static int64_t waited_for_message(struct ipcr_queue *q)
{
    struct ipcr_lease l;
    const int64_t rc = ipcr_queue_lease(q, 0, &l);
    if (rc != IPCR_EMPTY)
        return rc;
    const int waited = ipcr_queue_wait_for_message(q, in_ms(3));
    return waited == IPCR_AGAIN ? IPCR_OK : waited;
}

/* The queue is full, and stays so. */
static int64_t waited_for_room(struct ipcr_queue *q)
{
    const int64_t rc = try_put(q, 99);
    CHECK(rc != IPCR_OK);
    if (rc != IPCR_FULL)
        return rc;
    const int waited = ipcr_queue_wait_for_room(q, 24, in_ms(3));
    return waited == IPCR_AGAIN ? IPCR_OK : waited;
}

/* What was leased is acknowledged, or given back by closing. */
static int64_t leased_and_done(struct ipcr_queue *q)
{
    struct ipcr_lease l;
    const int64_t rc = try_lease(q, 0, &l);
    return rc == IPCR_OK ? ipcr_lease_ack(q, &l) : rc;
}

static int64_t talk(struct ipcr_segment *in, struct ipcr_segment *out)
{
    struct ipcr_queue *putting = NULL, *getting = NULL;
    struct ipcr_queue_stats stats;
    struct ipcr_lane_stats lanes[2];
    int64_t rc = ipcr_queue_open(in, 0, &putting);
    if (rc == IPCR_OK)
        rc = ipcr_queue_open(out, 0, &getting);
    if (rc == IPCR_OK)
        rc = waited_for_message(getting);
    for (uint64_t i = 0; rc == IPCR_OK && i < options.maxsize; i++)
        rc = try_put(putting, i);
    if (rc == IPCR_OK)
        rc = waited_for_room(putting);
    if (rc == IPCR_OK)
        rc = ipcr_queue_stats(out, &stats, lanes, 2);
    for (uint64_t i = 0; rc == IPCR_OK && i < options.maxsize; i++)
        rc = leased_and_done(getting);
    drop(putting);
    drop(getting);
    return rc;
}

static int64_t talk_alone(struct ipcr_segment *s) { return talk(s, s); }

static int64_t look_at(int fd)
{
    struct ipcr_queue_stats stats;
    struct ipcr_lane_stats lanes[2];
    return ipcr_queue_stats_of_file(fd, &stats, lanes, 2);
}

/* What is unread, because something failed, keeps the name: an orphan, which the next creator replaces. */
static int64_t talk_to_another(struct ipcr_segment *s)
{
    return with_second_mapping(s, IPCR_KIND_RELIABLE, look_at, talk);
}

static int64_t put_one(void *queue) { return try_put(queue, 1); }

static int64_t fork_with_handle(struct ipcr_segment *s)
{
    struct ipcr_queue *q = NULL;
    const int64_t rc = ipcr_queue_open(s, 0, &q);
    if (rc == IPCR_OK) {
        attempted_in_a_child(put_one, q);
        (void)ipcr_queue_purge(q, true);
    }
    drop(q);
    return rc;
}

static int64_t anonymous_life(void) { return life_of(anonymous_queue, talk_alone); }
static int64_t named_life(void) { return life_of(named_queue, talk_to_another); }
static int64_t forks(void) { return life_of(named_queue, fork_with_handle); }

static void an_anonymous_queue_survives_every_failure(void) { tell_with_failures(anonymous_life); }
static void a_named_queue_survives_every_failure(void) { tell_with_failures(named_life); }
static void a_fork_survives_every_failure(void) { tell_with_failures(forks); }

int main(void)
{
    failing_begin();
    run("an anonymous queue survives every failure", an_anonymous_queue_survives_every_failure);
    run("a named queue survives every failure", a_named_queue_survives_every_failure);
    run("a fork survives every failure", a_fork_survives_every_failure);
    return failing_finish();
}

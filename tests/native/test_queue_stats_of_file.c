/* test_queue_stats_of_file.c - a queue's numbers, read from its file by somebody who takes no part in it.
 *
 * What the file says is compared with what the segment says, and both with what was done.  Files that are no queues:
 * test_queue_files_refused.c.  Numbers of a lane that moves meanwhile: the last test.
 */
#include "queues.h"

#include <pthread.h>

enum { LANES = 4, SLOTS = 32 };

static const struct ipcr_queue_options plain = { .slots = SLOTS };

struct view {
    struct ipcr_queue_stats all;
    struct ipcr_lane_stats lane[LANES];
};

static int look(int fd, struct view *v)
{
    *v = (struct view){ .all = { .kind = 0 } };
    return ipcr_queue_stats_of_file(fd, &v->all, v->lane, LANES);
}

/* At a quiet point. */
static void check_sums(const struct ipcr_lane_stats *l)
{
    CHECK_IS(l->put, l->acknowledged + l->dead + l->ready + l->leased + l->kept);
}

/* --- what is there ------------------------------------------------------------------------------------------------ */

static void a_file_says_what_its_segment_says_and_both_what_was_done(void)
{
    const struct ipcr_queue_options two = {
        .slots = SLOTS, .max_deliveries = 2, .maxsize = 20, .lease_ns = SECONDS(9),
    };
    struct ipcr_queue *q = handle_on(reliable(&two)), *p = handle_on(q->segment);
    struct view outside, inside;
    put_with(q, 0, 100, 0, NULL); /* acknowledged */
    put_with(p, 1, 200, 0, NULL); /* kept: delivered as often as it may be */
    const uint64_t oldest = put(q, 2); /* leased */
    put_with(p, 3, 300, 0, NULL); /* buried */
    put_with(q, 4, 50, 0, NULL);  /* ready */
    check_gets(q, 0);
    struct ipcr_lease l = leased(q, 0, 1, 1);
    CHECK_IS(ipcr_lease_nack(q, &l, 0), IPCR_OK);
    l = leased(q, 0, 1, 2);
    CHECK_IS(ipcr_lease_nack(q, &l, 0), IPCR_OK);
    leased(p, 0, 2, 1);
    l = leased(q, 0, 3, 1);
    CHECK_IS(ipcr_lease_bury(q, &l), IPCR_OK);
    CHECK_IS(ipcr_queue_stats(q->segment, &inside.all, inside.lane, LANES), IPCR_OK);
    CHECK_IS(look(q->segment->fd, &outside), IPCR_OK);

    CHECK_IS(outside.all.kind, IPCR_KIND_RELIABLE);
    CHECK_IS(outside.all.creator_pid, getpid());
    CHECK_IS(outside.all.capacity, LANE);
    CHECK_IS(outside.all.lanes, LANES);
    CHECK_IS(outside.all.present, 1);
    CHECK_IS(outside.all.named, 0);
    CHECK_IS(outside.all.shutdown, IPCR_OPEN);
    CHECK_IS(outside.all.holders_count, 2);
    CHECK_IS(outside.all.holders[0].alive, 1);
    CHECK_IS(outside.all.options.maxsize, 20);
    CHECK_IS(outside.all.options.max_deliveries, 2);
    CHECK(memcmp(&outside.all.options, &inside.all.options, sizeof inside.all.options) == 0);
    const struct ipcr_lane_stats *mine = &outside.lane[0], *other = &outside.lane[1];
    CHECK_IS(mine->put, 3);
    CHECK_IS(mine->acknowledged, 1);
    CHECK_IS(mine->leased, 1);
    CHECK_IS(mine->ready, 1);
    CHECK_IS(mine->delivered, 2);
    CHECK_IS(mine->bytes, 100 + 24 + 50);
    CHECK_IS(mine->bytes_left, 24 + 50);
    CHECK_IS(mine->blocking_id, oldest);
    CHECK_IS(mine->blocking_pid, getpid());
    CHECK_IS(mine->producer_pid, getpid());
    CHECK_IS(mine->alive, 1);
    CHECK_IS(other->put, 2);
    CHECK_IS(other->kept, 1);
    CHECK_IS(other->dead, 1);
    CHECK_IS(other->delivered, 3);
    CHECK_IS(other->redelivered, 1);
    CHECK_IS(other->bytes_left, 200);
    CHECK_IS(other->blocking_pid, 0); /* kept by nobody */
    CHECK_IS(outside.lane[2].used, 0);
    for (int i = 0; i < LANES; i++) {
        CHECK(outside.lane[i].blocking_ns >= inside.lane[i].blocking_ns); /* later */
        outside.lane[i].blocking_ns = inside.lane[i].blocking_ns;
        CHECK(memcmp(&outside.lane[i], &inside.lane[i], sizeof inside.lane[i]) == 0);
        check_sums(&outside.lane[i]);
    }
    ipcr_queue_free(p);
    CHECK_IS(look(q->segment->fd, &outside), IPCR_OK);
    CHECK_IS(outside.all.holders_count, 1); /* whoever closed is none any more */
    CHECK_IS(outside.lane[1].alive, 0);
    CHECK_IS(outside.lane[0].leased, 0);
    finish_queue(q);
}

static void what_was_freed_long_ago_is_still_in_the_sums(void)
{
    const struct ipcr_queue_options few = { .slots = 4 };
    struct ipcr_queue *q = handle_on(queue_of(IPCR_KIND_QUEUE, LANES, &few, 1 << 20));
    struct view v;
    uint64_t dead = 0, again = 0, bytes = 0;
    for (uint64_t i = 0; i < 100; i++) {
        CHECK_IS(put_with(q, i, i, 0, NULL), IPCR_OK);
        struct ipcr_lease l = leased(q, 0, i, 1);
        if (i % 5 == 0) {
            CHECK_IS(ipcr_lease_nack(q, &l, 0), IPCR_OK);
            l = leased(q, 0, i, 2);
            again++;
        }
        if (i % 3 == 0)
            dead++;
        CHECK_IS(i % 3 == 0 ? ipcr_lease_bury(q, &l) : ipcr_lease_ack(q, &l), IPCR_OK);
        bytes += i;
        CHECK_IS(look(q->segment->fd, &v), IPCR_OK);
        CHECK_IS(v.lane[0].put, i + 1);
        CHECK_IS(v.lane[0].acknowledged, i + 1 - dead);
        CHECK_IS(v.lane[0].dead, dead);
        CHECK_IS(v.lane[0].delivered, i + 1 + again);
        CHECK_IS(v.lane[0].redelivered, again);
        CHECK_IS(v.lane[0].bytes, bytes);
        CHECK_IS(v.lane[0].bytes_left, 0);
        CHECK_IS(v.lane[0].blocking_id, 0);
    }
    finish_queue(q);
}

static void live_beside_the_parent(int ear, int mouth, void *arg)
{
    struct ipcr_queue *q = arg;
    CHECK_IS(hear(ear), 'b');
    put(q, 1);
    put(q, 2);
    leased(q, 0, 1, 1);
    say(mouth, 'd');
    wait_for_end();
}

static void a_file_whose_user_was_killed_shows_what_it_held_and_that_it_is_dead(void)
{
    struct ipcr_queue *q = handle_on(reliable(&plain));
    struct view v;
    const int fd = dup(q->segment->fd);
    CHECK(fd >= 0);
    struct child c = child_start(live_beside_the_parent, q);
    finish_queue(q);
    say(c.mouth, 'b');
    CHECK_IS(hear(c.ear), 'd');
    for (uint32_t alive = 1;; alive--) {
        CHECK_IS(look(fd, &v), IPCR_OK);
        CHECK_IS(v.all.present, alive);
        CHECK_IS(v.all.holders_count, 1);
        CHECK_IS(v.all.holders[0].alive, alive);
        CHECK_IS(v.lane[0].alive, alive);
        CHECK_IS(v.lane[0].leased, 1);
        CHECK_IS(v.lane[0].ready, 1);
        CHECK(v.lane[0].blocking_pid != (uint32_t)getpid());
        CHECK_IS(v.lane[0].blocking_pid, v.all.holders[0].pid);
        if (alive == 0)
            break;
        CHECK_IS(v.lane[0].blocking_pid, c.pid);
        child_kill(&c);
    }
    close(fd);
}

static void of_more_consumers_than_there_is_room_for_the_first_are_listed(void)
{
    enum { MANY = 70 };
    struct ipcr_queue *q = handle_on(reliable(&plain)), *more[MANY];
    struct ipcr_lease l;
    struct view v;
    for (int i = 0; i < MANY; i++) {
        more[i] = handle_on(q->segment);
        CHECK_IS(ipcr_queue_lease(more[i], 0, &l), IPCR_EMPTY); /* takes a number */
    }
    CHECK_IS(look(q->segment->fd, &v), IPCR_OK);
    CHECK_IS(v.all.holders_count, 64);
    for (int i = 0; i < MANY; i++)
        ipcr_queue_free(more[i]);
    finish_queue(q);
}

static void no_more_lanes_are_filled_than_were_asked_for(void)
{
    struct ipcr_queue *q = handle_on(reliable(&plain)), *p = handle_on(q->segment);
    struct view v = { .lane = { { .put = 0 }, { .put = 77 } } };
    put(q, 1);
    put(p, 2);
    CHECK_IS(ipcr_queue_stats_of_file(q->segment->fd, &v.all, v.lane, 1), IPCR_OK);
    CHECK_IS(v.all.lanes, LANES);
    CHECK_IS(v.lane[0].put, 1);
    CHECK_IS(v.lane[1].put, 77);
    ipcr_queue_free(p);
    finish_queue(q);
}

/* --- while it moves ----------------------------------------------------------------------------------------------- */

struct mover {
    struct ipcr_queue *q;
    ipcr_word64 begun, done; /* puts */
    ipcr_word32 stop;
};

static void *move(void *arg)
{
    struct mover *m = arg;
    for (uint64_t i = 0; load_acquire32(&m->stop) == 0; i++) {
        store_release64(&m->begun, i + 1);
        put(m->q, i);
        store_release64(&m->done, i + 1);
        check_gets(m->q, i);
    }
    return NULL;
}

static void a_lane_that_never_rests_is_counted_between_what_was_put_before_and_after(void)
{
    const struct ipcr_queue_options few = { .slots = 2 };
    struct mover m = { .q = handle_on(reliable(&few)) };
    struct view v;
    pthread_t thread;
    uint64_t looks = 0;
    CHECK_IS(pthread_create(&thread, NULL, move, &m), 0);
    while (looks < FEWER(20000, 2000)) {
        const uint64_t before = load_acquire64(&m.done);
        const int rc = look(m.q->segment->fd, &v);
        if (rc == IPCR_AGAIN || (rc == IPCR_OK && v.lane[0].used == 0))
            continue; /* too fast for us; or not begun */
        CHECK_IS(rc, IPCR_OK);
        CHECK(v.lane[0].put >= before);
        CHECK(v.lane[0].put <= load_acquire64(&m.begun));
        CHECK(v.lane[0].ready + v.lane[0].leased <= 2);
        CHECK_IS(v.lane[0].dead + v.lane[0].kept, 0);
        looks++;
    }
    store_release32(&m.stop, 1);
    CHECK_IS(pthread_join(thread, NULL), 0);
    CHECK_IS(look(m.q->segment->fd, &v), IPCR_OK);
    CHECK_IS(v.lane[0].put, load_acquire64(&m.done));
    CHECK_IS(v.lane[0].acknowledged, v.lane[0].put);
    CHECK_IS(v.lane[0].delivered, v.lane[0].put);
    finish_queue(m.q);
}

int main(void)
{
    check_begin();
    run("a file says what its segment says and both what was done",
        a_file_says_what_its_segment_says_and_both_what_was_done);
    run("what was freed long ago is still in the sums", what_was_freed_long_ago_is_still_in_the_sums);
    run("a file whose user was killed shows what it held and that it is dead",
        a_file_whose_user_was_killed_shows_what_it_held_and_that_it_is_dead);
    run("of more consumers than there is room for the first are listed",
        of_more_consumers_than_there_is_room_for_the_first_are_listed);
    run("no more lanes are filled than were asked for", no_more_lanes_are_filled_than_were_asked_for);
    run("a lane that never rests is counted between what was put before and after",
        a_lane_that_never_rests_is_counted_between_what_was_put_before_and_after);
    return check_finish();
}

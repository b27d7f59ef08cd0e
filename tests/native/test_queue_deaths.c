/* test_queue_deaths.c - producers and consumers that are killed: what they held comes back, what they had put stays,
 * and whoever comes next goes on.
 *
 * Named windows are left by hand, as a kill at that instruction would leave them; kills at any instruction are the crash
 * tests' part.  No time is asserted: whoever would notice at the end of a slice is made to look now.
 */
#include "queues.h"

static const struct ipcr_queue_options plain = { .max_deliveries = 0 };
static const struct ipcr_queue_options shortest = { .slots = 2 };

struct order {
    struct ipcr_queue *queue; /* opened before the fork: a child's is its own from then on */
    uint64_t first, count;
    uint64_t lease_ns;
};

/* --- holders ------------------------------------------------------------------------------------------------------ */

static void lease_and_wait(int ear, int mouth, void *arg)
{
    const struct order *o = arg;
    for (uint64_t i = 0; i < o->count; i++)
        leased(o->queue, o->lease_ns, o->first + i, 1);
    say(mouth, 'l');
    (void)hear(ear);
    ipcr_queue_close(o->queue);
}

static struct child leaser(struct order *o)
{
    struct child c = child_start(lease_and_wait, o);
    CHECK_IS(hear(c.ear), 'l');
    return c;
}

static void what_a_dead_holder_held_comes_back_and_before_what_is_newer(void)
{
    struct ipcr_queue *q = handle_on(reliable(&plain));
    struct order o = { .queue = q, .count = 3, .lease_ns = SECONDS(300) };
    for (uint64_t i = 0; i < 5; i++)
        put(q, i);
    struct child c = leaser(&o);
    repair(q);
    CHECK_IS(totals(q->segment).leased, 3);
    child_kill(&c);
    repair(q);
    for (uint64_t i = 0; i < 5; i++)
        leased(q, 0, i, i < 3 ? 2 : 1);
    finish_queue(q);
}

static void a_stopped_holder_is_not_dead(void)
{
    struct ipcr_queue *q = handle_on(reliable(&plain));
    struct order o = { .queue = q, .count = 1, .lease_ns = SECONDS(300) };
    int status;
    put(q, 0);
    struct child c = leaser(&o);
    CHECK(kill(c.pid, SIGSTOP) == 0 && waitpid(c.pid, &status, WUNTRACED) == c.pid && WIFSTOPPED(status));
    repair(q);
    check_is_empty(q);
    CHECK(kill(c.pid, SIGCONT) == 0);
    say(c.mouth, 'q');
    child_finish(&c);
    leased(q, 0, 0, 2); /* it closed cleanly, and gave it back itself */
    finish_queue(q);
}

static void a_death_is_noticed_by_a_producer_that_waits_for_room(void)
{
    struct ipcr_queue *q = handle_on(reliable(&plain)), *fresh = handle_on(q->segment);
    struct order o = { .queue = q, .count = 5 };
    uint64_t number = 0;
    while (try_put(q, number) == IPCR_OK)
        number++;
    struct child c = leaser(&o);
    child_kill(&c);
    while (totals(q->segment).leased != 0)
        CHECK_IS(ipcr_queue_wait_for_room(q, 24, IPCR_FOREVER), IPCR_OK);
    for (uint64_t i = 0; i < number; i++)
        check_gets(fresh, i);
    CHECK_IS(try_put(q, number), IPCR_OK);
    check_gets(fresh, number);
    ipcr_queue_free(fresh);
    finish_queue(q);
}

static void a_death_is_noticed_by_a_consumer_that_waits_while_nobody_puts(void)
{
    struct ipcr_queue *q = handle_on(reliable(&plain));
    struct order o = { .queue = q, .count = 1 };
    struct ipcr_lease l;
    put(q, 0);
    struct child c = leaser(&o);
    child_kill(&c);
    store_relaxed32(&q->header->consumers_parked, 0);
    q->next_repair_ns = UINT64_MAX; /* so that only the end of a slice can tell */
    while (ipcr_queue_lease(q, 0, &l) == IPCR_EMPTY)
        CHECK_IS(ipcr_queue_wait_for_message(q, IPCR_FOREVER), IPCR_OK);
    CHECK_IS(l.deliveries, 2);
    finish_queue(q);
}

static void a_number_is_swept_before_it_is_used_again(void)
{
    struct ipcr_queue *q = handle_on(reliable(&plain)), *next = handle_on(q->segment);
    struct order o = { .queue = q, .count = 2 };
    put(q, 0);
    put(q, 1);
    put(q, 2);
    struct child c = leaser(&o);
    child_kill(&c);
    next->next_repair_ns = UINT64_MAX; /* not by repair, but by taking the number */
    const struct ipcr_lease l = leased(next, 0, 0, 2);
    CHECK_IS(next->holder, 0);
    CHECK_IS(ipcr_holder_of(l.held), 0);
    leased(next, 0, 1, 2);
    repair(q);
    repair(q);
    CHECK_IS(totals(q->segment).leased, 2); /* those of the new one stay */
    leased(q, 0, 2, 1);
    CHECK_IS(q->holder, 1);
    ipcr_queue_free(next);
    finish_queue(q);
}

/* A kill between a sweep and `active` = 0, and one in the middle of the sweep. */
static void a_repair_that_was_cut_short_is_done_by_the_next(void)
{
    struct ipcr_queue *q = handle_on(reliable(&plain));
    struct order o = { .queue = q, .count = 4 };
    for (uint64_t i = 0; i < 4; i++)
        put(q, i);
    struct child c = leaser(&o);
    child_kill(&c);
    const struct ipcr_lease first = { .lane = 0, .sequence = q->own[0].freed };
    CHECK(ipcr_queue_return(q, 0, first.sequence, state_of(q, &first), IPCR_NO_TIME));
    CHECK_IS(load_acquire32(&q->header->holders[0].active), 1);
    repair(q);
    CHECK_IS(load_acquire32(&q->header->holders[0].active), 0);
    for (uint64_t i = 0; i < 4; i++)
        leased(q, 0, i, 2);
    finish_queue(q);
}

struct repairs {
    struct ipcr_queue *queue;
    ipcr_word32 *go;
};

static void repair_on_command(int ear, int mouth, void *arg)
{
    const struct repairs *r = arg;
    say(mouth, 'r');
    while (load_acquire32(r->go) == 0)
        cpu_relax();
    repair(r->queue);
    say(mouth, 'd');
    (void)hear(ear);
}

static void two_who_repair_at_once_give_each_message_back_once(void)
{
    for (int round = 0; round < FEWER(60, 10); round++) {
        struct ipcr_queue *q = handle_on(reliable(&plain));
        struct order o = { .queue = q, .count = 30 };
        struct repairs r = { .queue = q, .go = shared_memory(sizeof(ipcr_word32)) };
        struct child repairers[2];
        for (uint64_t i = 0; i < 30; i++)
            put(q, i);
        struct child c = leaser(&o);
        for (int i = 0; i < 2; i++) {
            repairers[i] = child_start(repair_on_command, &r);
            CHECK_IS(hear(repairers[i].ear), 'r');
        }
        child_kill(&c);
        const uint64_t returns = ipcr_queue_returns(q);
        store_release32(r.go, 1);
        for (int i = 0; i < 2; i++)
            CHECK_IS(hear(repairers[i].ear), 'd');
        repair(q);
        CHECK_IS(ipcr_queue_returns(q) - returns, 30);
        for (uint64_t i = 0; i < 30; i++)
            leased(q, 0, i, 2);
        for (int i = 0; i < 2; i++) {
            say(repairers[i].mouth, 'q');
            child_finish(&repairers[i]);
        }
        munmap(r.go, sizeof(ipcr_word32));
        finish_queue(q);
    }
}

/* --- hints -------------------------------------------------------------------------------------------------------- */

/* Killed between giving a message back and saying so: `take` stands above it. */
static void a_message_below_a_hint_is_found_while_the_queue_is_busy(void)
{
    struct ipcr_queue *q = handle_on(reliable(&plain));
    struct ipcr_lease l = { .id = 0 };
    for (uint64_t i = 0; i < 3; i++)
        put(q, i);
    const uint64_t first = q->own[0].freed;
    q->next_repair_ns = UINT64_MAX;
    store_relaxed64(&words_of(q, 0)->take, first + 2);
    leased(q, 0, 2, 1);
    repair(q);
    for (uint64_t i = 0; i < 2; i++) {
        put(q, 3 + i); /* never empty, so that nobody ever sleeps a slice */
        CHECK_IS(ipcr_queue_lease(q, 0, &l), IPCR_OK);
        CHECK_IS(IPCR_INFO_TYPE(l.info), i);
    }
    finish_queue(q);
}

static void hints_are_mended_at_the_end_of_a_slice_in_every_lane(void)
{
    struct ipcr_queue *q = handle_on(reliable(&plain)), *other = handle_on(q->segment);
    for (uint64_t i = 0; i < 6; i++)
        put(i % 2 == 0 ? q : other, i);
    q->next_repair_ns = UINT64_MAX;
    store_relaxed64(&words_of(q, 0)->take, q->own[0].freed + 3);
    store_relaxed64(&words_of(q, 1)->take, other->own[0].freed + 20); /* beyond the last one */
    check_is_empty(q);
    pthread_mutex_lock(&q->consuming);
    CHECK_IS(ipcr_queue_fix_hints(q), IPCR_OK);
    pthread_mutex_unlock(&q->consuming);
    for (uint64_t i = 0; i < 6; i++)
        leased(q, 0, i, 1);
    ipcr_queue_free(other);
    finish_queue(q);
}

/* --- forks -------------------------------------------------------------------------------------------------------- */

struct inheritance {
    struct ipcr_queue *queue;
    struct ipcr_lease lease;
    int pipe[2];   /* the grandchild's life line */
    ipcr_word32 *verdict;
};

/* Its parent is dead; it gets the parent's number, and leases the same message at the end of what can be counted, so
 * that the words are the same. */
_Noreturn static void outlive(struct inheritance *h)
{
    char word;
    while (read(h->pipe[0], &word, 1) < 0 && errno == EINTR)
        ;
    struct ipcr_lease l;
    int rc = ipcr_queue_lease(h->queue, 0, &l);
    const bool same = rc == IPCR_OK && l.held == h->lease.held;
    rc = ipcr_lease_ack(h->queue, &h->lease);
    store_release32(h->verdict, !same ? 3 : rc == IPCR_LEASE_LOST && ipcr_lease_ack(h->queue, &l) == IPCR_OK ? 1 : 2);
    _exit(0);
}

static void lease_fork_and_wait(int ear, int mouth, void *arg)
{
    struct inheritance *h = arg;
    h->lease = leased(h->queue, 0, 1, 1);
    const uint64_t held = h->lease.held;
    h->lease.held = ipcr_with(held, IPCR_LEASED, ipcr_holder_of(held), IPCR_MOST_DELIVERIES, IPCR_NO_TIME);
    CHECK(ipcr_change(slot_of_lease(h->queue, &h->lease), held, h->lease.held));
    const pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
        close(h->pipe[1]);
        close(mouth);
        close(ear);
        outlive(h);
    }
    say(mouth, 'f');
    (void)ear;
    wait_for_end();
}

static void a_forked_child_with_its_dead_parents_number_has_none_of_its_leases(void)
{
    struct ipcr_queue *q = handle_on(reliable(&plain));
    struct inheritance h = { .queue = q, .verdict = shared_memory(sizeof(ipcr_word32)) };
    CHECK(pipe2(h.pipe, O_CLOEXEC) == 0);
    put(q, 1);
    struct child c = child_start(lease_fork_and_wait, &h);
    CHECK_IS(hear(c.ear), 'f');
    child_kill(&c);
    close(h.pipe[0]);
    close(h.pipe[1]); /* go */
    while (load_acquire32(h.verdict) == 0)
        sched_yield();
    CHECK_IS(load_acquire32(h.verdict), 1);
    CHECK_IS(ipcr_queue_depth(q), 0);
    munmap(h.verdict, sizeof(ipcr_word32));
    finish_queue(q);
}

static void use_in_child(int ear, int mouth, void *arg)
{
    const struct inheritance *h = arg;
    CHECK_IS(ipcr_lease_ack(h->queue, &h->lease), IPCR_LEASE_LOST);
    CHECK_IS(ipcr_queue_outcome(h->queue, h->lease.id), IPCR_NOT_FOUND);
    put(h->queue, 11);
    CHECK_IS(h->queue->own[0].index, 1);
    leased(h->queue, 0, 2, 1);
    CHECK_IS(h->queue->holder, 1);
    say(mouth, 'd');
    (void)hear(ear);
    ipcr_queue_free(h->queue);
}

static void a_forked_child_has_a_lane_and_a_number_of_its_own(void)
{
    struct ipcr_queue *q = handle_on(reliable(&plain));
    struct inheritance h = { .queue = q };
    put(q, 1);
    put(q, 2);
    h.lease = leased(q, 0, 1, 1);
    struct child c = child_start(use_in_child, &h);
    CHECK_IS(hear(c.ear), 'd');
    put(q, 12);
    say(c.mouth, 'q');
    child_finish(&c);
    CHECK_IS(ipcr_lease_ack(q, &h.lease), IPCR_OK);
    leased(q, 0, 2, 2);
    leased(q, 0, 11, 1);
    leased(q, 0, 12, 1);
    finish_queue(q);
}

int main(void)
{
    check_begin();
    run("what a dead holder held comes back, and before what is newer",
        what_a_dead_holder_held_comes_back_and_before_what_is_newer);
    run("a stopped holder is not dead", a_stopped_holder_is_not_dead);
    run("a death is noticed by a producer that waits for room", a_death_is_noticed_by_a_producer_that_waits_for_room);
    run("a death is noticed by a consumer that waits while nobody puts",
        a_death_is_noticed_by_a_consumer_that_waits_while_nobody_puts);
    run("a number is swept before it is used again", a_number_is_swept_before_it_is_used_again);
    run("a repair that was cut short is done by the next", a_repair_that_was_cut_short_is_done_by_the_next);
    run("two who repair at once give each message back once", two_who_repair_at_once_give_each_message_back_once);
    run("a message below a hint is found while the queue is busy",
        a_message_below_a_hint_is_found_while_the_queue_is_busy);
    run("hints are mended at the end of a slice, in every lane", hints_are_mended_at_the_end_of_a_slice_in_every_lane);
    run("a forked child with its dead parent's number has none of its leases",
        a_forked_child_with_its_dead_parents_number_has_none_of_its_leases);
    run("a forked child has a lane and a number of its own", a_forked_child_has_a_lane_and_a_number_of_its_own);
    (void)shortest;
    return check_finish();
}

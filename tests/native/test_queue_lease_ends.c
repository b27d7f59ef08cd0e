/* test_queue_lease_ends.c - who may end a lease, and what becomes of the others: runs of leases, closed handles, forked
 * children, kept messages, and puts beside a shutdown.
 *
 * Each refusal is also looked at from outside: it must have changed nothing.
 */
#include "queues.h"

#include <pthread.h>
#include <sys/resource.h>

static const struct ipcr_queue_options plain = { .slots = 32 };

/* --- runs of leases ----------------------------------------------------------------------------------------------- */

static int64_t lease_all(struct ipcr_queue *q, struct ipcr_lease *leases, uint64_t most)
{
    static char bytes[LANE];
    int64_t results[16];
    CHECK(most <= 16);
    return ipcr_queue_lease_many(q, bytes, sizeof bytes, leases, results, most);
}

static void of_a_run_the_first_are_acknowledged_and_the_others_come_again_in_their_order(void)
{
    struct ipcr_queue *q = handle_on(reliable(&plain));
    struct ipcr_lease l[16];
    for (uint64_t taken = 0; taken <= 6; taken++) {
        for (uint64_t i = 0; i < 6; i++)
            put(q, i);
        CHECK_IS(lease_all(q, l, 16), 6);
        CHECK_IS(ipcr_lease_end_many(q, l, 6, taken), taken);
        for (uint64_t i = taken; i < 6; i++) {
            l[0] = leased(q, 0, i, 2);
            CHECK_IS(ipcr_lease_ack(q, &l[0]), IPCR_OK);
        }
        check_is_empty(q);
    }
    finish_queue(q);
}

static void a_run_stops_being_acknowledged_at_the_first_lease_that_was_lost(void)
{
    struct ipcr_queue *q = handle_on(reliable(&plain));
    struct ipcr_lease l[16];
    for (uint64_t i = 0; i < 5; i++)
        put(q, i);
    CHECK_IS(lease_all(q, l, 16), 5);
    CHECK_IS(ipcr_lease_nack(q, &l[2], 0), IPCR_OK); /* not ours any more */
    CHECK_IS(ipcr_lease_end_many(q, l, 5, 4), 2);
    const struct ipcr_lane_stats now = totals(q->segment);
    CHECK_IS(now.acknowledged, 2);
    CHECK_IS(now.ready, 2);  /* the lost one, and the one behind those taken */
    CHECK_IS(now.leased, 1); /* what was not acknowledged is still ours */
    CHECK_IS(ipcr_lease_ack(q, &l[3]), IPCR_OK);
    finish_queue(q);
}

/* --- whoever has no lease ----------------------------------------------------------------------------------------- */

static void check_every_end_says(struct ipcr_queue *q, const struct ipcr_lease *held, int wanted)
{
    struct ipcr_lease l = *held;
    CHECK_IS(ipcr_lease_ack(q, &l), wanted);
    CHECK_IS(ipcr_lease_bury(q, &l), wanted);
    CHECK_IS(ipcr_lease_nack(q, &l, 0), wanted);
    CHECK_IS(ipcr_lease_nack(q, &l, SECONDS(1)), wanted);
    CHECK_IS(ipcr_lease_extend(q, &l, SECONDS(1)), wanted);
    CHECK_IS(ipcr_lease_keep(q, &l, IPCR_KEPT_EXPIRED), wanted);
    CHECK_IS(ipcr_lease_requeue(q, &l), wanted);
    CHECK(!ipcr_lease_is_held(q, &l));
    CHECK_IS(ipcr_lease_end_many(q, &l, 1, 1), 0);
    CHECK_IS(ipcr_lease_end_many(q, &l, 1, 0), 0);
    CHECK_IS(l.held, held->held);
}

static void a_closed_handle_ends_nothing_and_its_messages_are_there_for_others(void)
{
    struct ipcr_queue *q = handle_on(reliable(&plain)), *other = handle_on(q->segment);
    struct ipcr_lease l[16], none;
    uint32_t why;
    for (uint64_t i = 0; i < 3; i++)
        put(q, i);
    CHECK_IS(lease_all(q, l, 16), 3);
    ipcr_queue_close(q);
    CHECK_IS(ipcr_lease_end_many(q, l, 3, 2), 0);
    check_every_end_says(q, &l[0], IPCR_CLOSED);
    CHECK_IS(ipcr_queue_next_kept(q, 0, &none, &why), IPCR_CLOSED);
    CHECK_IS(ipcr_queue_purge(q, true), IPCR_CLOSED);
    CHECK_IS(ipcr_queue_finish_many(q, 1), IPCR_CLOSED);
    CHECK_IS(ipcr_queue_wait_for_finish(q, in_ms(1)), IPCR_CLOSED);
    CHECK_IS(ipcr_queue_take_lane(q, true), IPCR_CLOSED);
    CHECK_IS(ipcr_queue_put_one(q, "", 0, 0, 0), IPCR_CLOSED);
    CHECK_IS(ipcr_queue_wait_for_room(q, 1, in_ms(1)), IPCR_CLOSED);
    CHECK_IS(ipcr_queue_outcome(q, l[0].id), IPCR_CLOSED);
    CHECK_IS(ipcr_queue_wait_for_outcome(q, l[0].id, in_ms(1)), IPCR_CLOSED);
    for (uint64_t i = 0; i < 3; i++)
        check_gets(other, i);
    ipcr_queue_free(q);
    finish_queue(other);
}

static void another_handle_and_an_older_lease_end_nothing(void)
{
    struct ipcr_queue *q = handle_on(reliable(&plain)), *other = handle_on(q->segment);
    put(q, 1);
    const struct ipcr_lease old = leased(q, 0, 1, 1);
    check_every_end_says(other, &old, IPCR_LEASE_LOST); /* it has no number at all */
    check_is_empty(other);
    check_every_end_says(other, &old, IPCR_LEASE_LOST); /* it has another one */
    CHECK_IS(ipcr_lease_nack(q, &old, 0), IPCR_OK);
    const struct ipcr_lease now = leased(q, 0, 1, 2);
    check_every_end_says(q, &old, IPCR_LEASE_LOST);
    CHECK(ipcr_lease_is_held(q, &now));
    CHECK_IS(totals(q->segment).leased, 1);
    ipcr_queue_free(other);
    finish_queue(q);
}

struct inherited {
    struct ipcr_queue *q;
    struct ipcr_lease lease;
};

static void end_what_the_parent_holds(int ear, int mouth, void *arg)
{
    const struct inherited *of = arg;
    (void)ear;
    check_every_end_says(of->q, &of->lease, IPCR_LEASE_LOST);
    check_is_empty(of->q);
    check_every_end_says(of->q, &of->lease, IPCR_LEASE_LOST);
    say(mouth, 'd');
}

static void a_forked_child_ends_nothing_of_its_parent(void)
{
    struct inherited of = { .q = handle_on(reliable(&plain)) };
    put(of.q, 1);
    of.lease = leased(of.q, 0, 1, 1);
    struct child c = child_start(end_what_the_parent_holds, &of);
    CHECK_IS(hear(c.ear), 'd');
    child_finish(&c);
    CHECK(ipcr_lease_is_held(of.q, &of.lease));
    CHECK_IS(ipcr_lease_ack(of.q, &of.lease), IPCR_OK);
    finish_queue(of.q);
}

static void put_one_in_the_child(int ear, int mouth, void *arg)
{
    (void)ear;
    struct rlimit most;
    CHECK(getrlimit(RLIMIT_NOFILE, &most) == 0);
    most.rlim_cur = most.rlim_max;
    CHECK(setrlimit(RLIMIT_NOFILE, &most) == 0);
    put(arg, 7);
    say(mouth, 'd');
}

static void a_child_for_which_there_was_no_descriptor_at_the_fork_becomes_present_later(void)
{
    struct ipcr_queue *q = handle_on(reliable(&plain));
    struct rlimit before;
    put(q, 6);
    CHECK(getrlimit(RLIMIT_NOFILE, &before) == 0);
    int down[2], up[2];
    CHECK(pipe2(down, O_CLOEXEC) == 0 && pipe2(up, O_CLOEXEC) == 0);
    const struct rlimit none = { .rlim_cur = 0, .rlim_max = before.rlim_max };
    CHECK(setrlimit(RLIMIT_NOFILE, &none) == 0);
    fflush(NULL);
    const pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
        put_one_in_the_child(down[0], up[1], q);
        _exit(0);
    }
    CHECK(setrlimit(RLIMIT_NOFILE, &before) == 0);
    close(down[0]);
    close(up[1]);
    struct child c = { .pid = pid, .ear = up[0], .mouth = down[1] };
    CHECK_IS(hear(c.ear), 'd');
    child_finish(&c);
    check_gets(q, 6);
    check_gets(q, 7);
    finish_queue(q);
}

/* --- kept --------------------------------------------------------------------------------------------------------- */

static void kept_messages_are_walked_through_by_id_and_requeued_only_by_a_lease_without_end(void)
{
    struct ipcr_queue *q = handle_on(reliable(&plain)), *other = handle_on(q->segment);
    struct ipcr_lease l, next;
    uint32_t why = 0;
    CHECK_IS(ipcr_queue_next_kept(q, 0, &next, &why), IPCR_EMPTY);
    for (uint64_t i = 0; i < 6; i++)
        put(i % 2 == 0 ? q : other, i);
    for (uint64_t i = 0; i < 6; i++) {
        l = leased(q, 0, i, 1);
        CHECK_IS(ipcr_lease_keep(q, &l, i < 3 ? IPCR_KEPT_DELIVERIES : IPCR_KEPT_EXPIRED), IPCR_OK);
    }
    uint64_t after = 0, seen = 0;
    while (ipcr_queue_next_kept(q, after, &next, &why) == IPCR_OK) {
        const uint32_t number = IPCR_INFO_TYPE(next.info);
        CHECK(next.id > after);
        CHECK_IS(why, number < 3 ? IPCR_KEPT_DELIVERIES : IPCR_KEPT_EXPIRED);
        CHECK_IS(ipcr_lease_keep(q, &next, why), IPCR_OK);
        after = next.id;
        seen |= UINT64_C(1) << number;
    }
    CHECK_IS(seen, 0x3f);
    CHECK_IS(ipcr_queue_next_kept(other, 0, &next, &why), IPCR_OK);
    CHECK_IS(ipcr_lease_extend(other, &next, SECONDS(5)), IPCR_OK);
    CHECK_IS(ipcr_lease_requeue(other, &next), IPCR_LEASE_LOST);
    CHECK_IS(totals(q->segment).leased, 1);
    CHECK_IS(ipcr_lease_extend(other, &next, 0), IPCR_OK);
    CHECK_IS(ipcr_lease_requeue(other, &next), IPCR_OK);
    check_gets(q, IPCR_INFO_TYPE(next.info));
    CHECK_IS(ipcr_queue_purge(q, false), 0);
    CHECK_IS(ipcr_queue_purge(q, true), 5);
    ipcr_queue_free(other);
    finish_queue(q);
}

/* --- puts beside a shutdown --------------------------------------------------------------------------------------- */

static void *put_until_it_is_shut(void *arg)
{
    struct ipcr_queue *q = handle_on(arg);
    uint64_t lengths[8], infos[8] = { 0 }, put_by_us = 0;
    int64_t n = ipcr_queue_take_lane(q, true);
    CHECK_IS(n, IPCR_OK);
    for (int i = 0; i < 8; i++)
        lengths[i] = 1;
    for (uint64_t i = 0; n != IPCR_SHUT_DOWN; i++) {
        n = i % 2 == 0 ? ipcr_queue_put_many(q, "12345678", lengths, infos, 8, 0, NULL)
                       : ipcr_queue_put_one(q, "x", 1, 0, 0);
        CHECK(n >= 0 || n == IPCR_FULL || n == IPCR_SHUT_DOWN);
        put_by_us += n < 0 ? 0 : i % 2 == 0 ? (uint64_t)n : 1;
    }
    ipcr_queue_free(q);
    return (void *)(uintptr_t)put_by_us;
}

static void what_is_put_beside_a_shutdown_is_delivered_or_refused_and_never_both(void)
{
    for (int round = 0; round < FEWER(300, 60); round++) {
        struct ipcr_queue *q = handle_on(reliable(&plain));
        char bytes[LANE];
        struct ipcr_lease l;
        uint64_t got = 0;
        pthread_t thread;
        void *put_by_it;
        int rc;
        CHECK_IS(pthread_create(&thread, NULL, put_until_it_is_shut, q->segment), 0);
        while ((rc = ipcr_queue_get(q, bytes, sizeof bytes, &l)) != IPCR_SHUT_DOWN) {
            CHECK(rc == IPCR_OK || rc == IPCR_EMPTY || rc == IPCR_AGAIN);
            got += rc == IPCR_OK;
            if (got > (uint64_t)round % 50)
                CHECK_IS(ipcr_queue_shut(q, IPCR_DRAINING), IPCR_OK);
        }
        CHECK_IS(pthread_join(thread, &put_by_it), 0);
        CHECK_IS(ipcr_queue_lease(q, 0, &l), IPCR_SHUT_DOWN); /* nothing came after the last look */
        CHECK_IS(got, (uintptr_t)put_by_it);
        finish_queue(q);
    }
}

int main(void)
{
    check_begin();
    run("of a run the first are acknowledged and the others come again in their order",
        of_a_run_the_first_are_acknowledged_and_the_others_come_again_in_their_order);
    run("a run stops being acknowledged at the first lease that was lost",
        a_run_stops_being_acknowledged_at_the_first_lease_that_was_lost);
    run("a closed handle ends nothing and its messages are there for others",
        a_closed_handle_ends_nothing_and_its_messages_are_there_for_others);
    run("another handle and an older lease end nothing", another_handle_and_an_older_lease_end_nothing);
    run("a forked child ends nothing of its parent", a_forked_child_ends_nothing_of_its_parent);
    run("a child for which there was no descriptor at the fork becomes present later",
        a_child_for_which_there_was_no_descriptor_at_the_fork_becomes_present_later);
    run("kept messages are walked through by id and requeued only by a lease without end",
        kept_messages_are_walked_through_by_id_and_requeued_only_by_a_lease_without_end);
    run("what is put beside a shutdown is delivered or refused and never both",
        what_is_put_beside_a_shutdown_is_delivered_or_refused_and_never_both);
    return check_finish();
}

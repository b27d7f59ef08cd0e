/* test_leases.c - the life of one message: every arrow of leases.h, and every refusal of one.
 *
 * Proves what a single process can see; that two can't both make an arrow is test_queue_threads.c, and what a death
 * leaves is test_queue_deaths.c.  No time passes here: leases are made to run out by hand.
 */
#include "queues.h"

static const struct ipcr_queue_options plain = { .max_deliveries = 0 };

/* --- the word -------------------------------------------------------------------------------------------------- */

static void a_state_keeps_its_five_fields_apart(void)
{
    uint64_t random = 1;
    for (int i = 0; i < 10000; i++) {
        const uint64_t lap = random_next(&random) & IPCR_LAP_MASK;
        const uint32_t phase = (uint32_t)random_next(&random) % 6, holder = (uint32_t)random_next(&random) & 1023;
        const uint32_t deliveries = (uint32_t)random_next(&random) & 255;
        const uint32_t when = (uint32_t)random_next(&random) & IPCR_NO_TIME;
        const uint64_t state = ipcr_state(lap, (enum ipcr_phase)phase, holder, deliveries, when);
        CHECK_IS(ipcr_lap_of(state), lap);
        CHECK_IS(ipcr_phase_of(state), phase);
        CHECK_IS(ipcr_holder_of(state), holder);
        CHECK_IS(ipcr_deliveries_of(state), deliveries);
        CHECK_IS(ipcr_when_of(state), when);
    }
}

static void a_lease_never_ends_early_and_at_most_a_unit_late(void)
{
    uint64_t random = 2;
    for (int i = 0; i < 10000; i++) {
        const uint64_t until = random_next(&random) >> 2;
        const uint32_t when = ipcr_to_units(until);
        CHECK(when != IPCR_NO_TIME);
        CHECK(!ipcr_is_past(when, until - 1));
        CHECK(ipcr_is_past(when, until + 2 * IPCR_TIME_UNIT_NS)); /* 2: one unit's name means "never" */
        CHECK(!ipcr_is_past(when, until - IPCR_LONGEST_LEASE_NS));
        CHECK(!ipcr_is_past(IPCR_NO_TIME, until));
    }
}

/* --- taking ------------------------------------------------------------------------------------------------------ */

static void a_message_is_leased_once_and_gone_when_it_is_acknowledged(void)
{
    struct ipcr_queue *q = handle_on(reliable(&plain)), *other = handle_on(q->segment);
    const uint64_t id = put(q, 1);
    const struct ipcr_lease l = leased(other, SECONDS(30), 1, 1);
    CHECK_IS(l.id, id);
    CHECK_IS(l.source, getpid());
    check_is_empty(q);
    check_is_empty(other);
    CHECK_IS(ipcr_queue_depth(q), 1);
    CHECK_IS(ipcr_lease_ack(other, &l), IPCR_OK);
    CHECK_IS(ipcr_queue_depth(q), 0);
    check_is_empty(q);
    ipcr_queue_free(other);
    finish_queue(q);
}

static void a_nacked_message_comes_again_before_newer_ones(void)
{
    struct ipcr_queue *q = handle_on(reliable(&plain));
    for (uint64_t i = 0; i < 5; i++)
        put(q, i);
    const struct ipcr_lease first = leased(q, 0, 0, 1), second = leased(q, 0, 1, 1);
    CHECK_IS(ipcr_lease_nack(q, &second, 0), IPCR_OK);
    CHECK_IS(ipcr_lease_nack(q, &first, 0), IPCR_OK);
    leased(q, 0, 0, 2);
    leased(q, 0, 1, 2);
    for (uint64_t i = 2; i < 5; i++)
        leased(q, 0, i, 1);
    check_is_empty(q);
    finish_queue(q);
}

static void a_message_that_comes_back_late_is_found_behind_a_hint_that_went_on(void)
{
    struct ipcr_queue *q = handle_on(reliable(&plain));
    struct ipcr_lease held[31];
    for (uint64_t i = 0; i < 31; i++)
        put(q, i);
    for (uint64_t i = 0; i < 30; i++)
        held[i] = leased(q, 0, i, 1);
    for (uint64_t i = 30; i-- > 0;) {
        CHECK_IS(ipcr_lease_nack(q, &held[i], 0), IPCR_OK);
        held[i] = leased(q, 0, i, 2);
    }
    leased(q, 0, 30, 1);
    check_is_empty(q);
    finish_queue(q);
}

static void a_nack_with_a_delay_keeps_the_message_back_and_lets_newer_ones_pass(void)
{
    struct ipcr_queue *q = handle_on(reliable(&plain));
    put(q, 1);
    put(q, 2);
    const struct ipcr_lease l = leased(q, 0, 1, 1);
    CHECK_IS(ipcr_lease_nack(q, &l, SECONDS(3600)), IPCR_OK);
    leased(q, 0, 2, 1);
    check_is_empty(q);
    CHECK_IS(ipcr_queue_depth(q), 2);
    const uint64_t waiting = state_of(q, &l);
    CHECK_IS(ipcr_phase_of(waiting), IPCR_READY);
    CHECK(!ipcr_is_past(ipcr_when_of(waiting), now_ns() + SECONDS(3599)));
    CHECK(ipcr_is_past(ipcr_when_of(waiting), now_ns() + SECONDS(3601)));
    const uint32_t now = (uint32_t)(now_ns() / IPCR_TIME_UNIT_NS) & IPCR_NO_TIME;
    CHECK(ipcr_change(slot_of_lease(q, &l), waiting, ipcr_with(waiting, IPCR_READY, 0, 1, now))); /* an hour later */
    leased(q, 0, 1, 2);
    finish_queue(q);
}

static void a_lease_that_ran_out_is_given_to_the_next_and_its_holder_can_change_nothing(void)
{
    struct ipcr_queue *q = handle_on(reliable(&plain)), *slow = handle_on(q->segment);
    char bytes[LANE];
    put(q, 1);
    struct ipcr_lease late = leased(slow, SECONDS(30), 1, 1);
    repair(q);
    check_is_empty(q);
    let_it_run_out(q, &late);
    repair(q);
    const struct ipcr_lease l = leased(q, SECONDS(30), 1, 2);
    const uint64_t state = state_of(q, &l);
    CHECK_IS(ipcr_lease_copy(slow, &late, bytes), IPCR_LEASE_LOST);
    CHECK_IS(ipcr_lease_ack(slow, &late), IPCR_LEASE_LOST);
    CHECK_IS(ipcr_lease_bury(slow, &late), IPCR_LEASE_LOST);
    CHECK_IS(ipcr_lease_nack(slow, &late, 0), IPCR_LEASE_LOST);
    CHECK_IS(ipcr_lease_extend(slow, &late, SECONDS(60)), IPCR_LEASE_LOST);
    CHECK_IS(ipcr_lease_keep(slow, &late, IPCR_KEPT_DELIVERIES), IPCR_LEASE_LOST);
    CHECK_IS(ipcr_lease_requeue(slow, &late), IPCR_LEASE_LOST);
    CHECK_IS(state_of(q, &l), state);
    CHECK_IS(ipcr_lease_ack(q, &l), IPCR_OK);
    ipcr_queue_free(slow);
    finish_queue(q);
}

static void a_lease_that_ran_out_may_still_be_acknowledged_while_nobody_has_noticed(void)
{
    struct ipcr_queue *q = handle_on(reliable(&plain));
    put(q, 1);
    struct ipcr_lease l = leased(q, SECONDS(30), 1, 1);
    let_it_run_out(q, &l);
    CHECK_IS(ipcr_lease_ack(q, &l), IPCR_OK);
    repair(q);
    check_is_empty(q);
    finish_queue(q);
}

static void an_extended_lease_ends_when_the_last_extension_says(void)
{
    struct ipcr_queue *q = handle_on(reliable(&plain));
    put(q, 1);
    struct ipcr_lease l = leased(q, SECONDS(30), 1, 1), before = l;
    CHECK_IS(ipcr_lease_extend(q, &l, SECONDS(300)), IPCR_OK);
    CHECK(!ipcr_is_past(ipcr_when_of(state_of(q, &l)), now_ns() + SECONDS(299)));
    CHECK(ipcr_is_past(ipcr_when_of(state_of(q, &l)), now_ns() + SECONDS(301)));
    CHECK_IS(ipcr_lease_ack(q, &before), IPCR_LEASE_LOST); /* the word of the shorter lease */
    CHECK_IS(ipcr_lease_extend(q, &l, 0), IPCR_OK);
    CHECK_IS(ipcr_when_of(state_of(q, &l)), IPCR_NO_TIME);
    CHECK_IS(ipcr_lease_ack(q, &l), IPCR_OK);
    finish_queue(q);
}

static void every_end_of_a_lease_is_its_last(void)
{
    struct ipcr_queue *q = handle_on(reliable(&plain));
    for (uint64_t how = 0; how < 3; how++) {
        put(q, how);
        const struct ipcr_lease l = leased(q, 0, how, 1);
        CHECK_IS(how == 0 ? ipcr_lease_ack(q, &l) : how == 1 ? ipcr_lease_bury(q, &l) : ipcr_lease_nack(q, &l, 0), IPCR_OK);
        const uint64_t state = state_of(q, &l);
        CHECK_IS(ipcr_phase_of(state), how == 0 ? IPCR_ACKED : how == 1 ? IPCR_DEAD : IPCR_READY);
        CHECK_IS(ipcr_lease_ack(q, &l), IPCR_LEASE_LOST);
        CHECK_IS(ipcr_lease_bury(q, &l), IPCR_LEASE_LOST);
        CHECK_IS(ipcr_lease_nack(q, &l, 0), IPCR_LEASE_LOST);
        CHECK_IS(state_of(q, &l), state);
    }
    finish_queue(q);
}

static void a_closed_handle_gives_back_what_it_held(void)
{
    struct ipcr_queue *q = handle_on(reliable(&plain)), *other = handle_on(q->segment);
    for (uint64_t i = 0; i < 3; i++)
        put(q, i);
    const struct ipcr_lease l = leased(other, 0, 0, 1);
    leased(other, SECONDS(30), 1, 1);
    ipcr_queue_close(other);
    CHECK_IS(ipcr_lease_ack(other, &l), IPCR_CLOSED);
    leased(q, 0, 0, 2);
    leased(q, 0, 1, 2);
    leased(q, 0, 2, 1);
    ipcr_queue_free(other);
    finish_queue(q);
}

/* The slot belongs to somebody else's lease, or to another message: not even its other words may change. */
static void requeuing_what_is_not_ours_any_more_changes_nothing(void)
{
    struct ipcr_queue *q = handle_on(reliable(&plain));
    CHECK_IS(put_with(q, 1, 24, SECONDS(3600), NULL), IPCR_OK);
    const struct ipcr_lease before = leased(q, 0, 1, 1);
    CHECK_IS(ipcr_lease_nack(q, &before, 0), IPCR_OK);
    const struct ipcr_lease l = leased(q, 0, 1, 2);
    const struct ipcr_slot *slot = slot_of_lease(q, &l);
    const uint64_t expires = load_relaxed64(&slot->expires);
    CHECK_IS(ipcr_lease_requeue(q, &before), IPCR_LEASE_LOST);
    CHECK_IS(load_relaxed64(&slot->expires), expires);
    CHECK_IS(load_relaxed32(&slot->forgiven), 0);
    finish_queue(q);
}

static void whoever_copies_when_the_handle_was_closed_gets_no_other_messages_bytes(void)
{
    struct ipcr_queue *q = handle_on(queue_of(IPCR_KIND_RELIABLE, 1, &plain, 0)), *other = handle_on(q->segment);
    char bytes[LANE];
    CHECK_IS(put_with(q, 1, LANE, 0, NULL), IPCR_OK);
    const struct ipcr_lease l = leased(other, 0, 1, 1);
    ipcr_queue_close(other); /* as another thread may, between the lease and the copy */
    check_gets(q, 1);
    CHECK_IS(put_with(q, 2, LANE, 0, NULL), IPCR_OK);
    CHECK_IS(ipcr_lease_copy(other, &l, bytes), IPCR_LEASE_LOST);
    ipcr_queue_free(other);
    finish_queue(q);
}

/* The same between taking a lease and reading what belongs to it. */
static void whoever_was_stopped_just_after_taking_a_lease_does_not_call_the_queue_corrupt(void)
{
    const struct ipcr_queue_options shortest = { .slots = 2 };
    struct ipcr_queue *q = handle_on(queue_of(IPCR_KIND_RELIABLE, 1, &shortest, 0)), *slow = handle_on(q->segment);
    struct ipcr_lease l;
    put(q, 1);
    struct ipcr_lease late = leased(slow, SECONDS(30), 1, 1);
    let_it_run_out(q, &late);
    repair(q);
    for (uint64_t i = 1; i < 5; i++) {
        check_gets(q, i);
        put(q, i + 1);
    }
    CHECK_IS(ipcr_queue_describe(slow, late.lane, late.sequence, late.held, &l), IPCR_LEASE_LOST);
    ipcr_queue_free(slow);
    finish_queue(q);
}

/* What the clock of 24 bits can't tell is shortened, and never over at once. */
static void times_beyond_the_clock_are_long(void)
{
    const uint64_t days = SECONDS(4 * 24 * 3600);
    struct ipcr_queue *q = handle_on(reliable(&plain));
    const uint64_t times[] = { SECONDS(10 * 24 * 3600), SECONDS(19 * 24 * 3600), UINT64_MAX / 2, UINT64_MAX };
    for (size_t i = 0; i < 4; i++) {
        CHECK_IS(put_with(q, i, 24, times[i], NULL), IPCR_OK);
        struct ipcr_lease l = leased(q, times[i], i, 1);
        CHECK(!ipcr_has_run_out(state_of(q, &l), now_ns() + days));
        CHECK_IS(ipcr_lease_extend(q, &l, times[i]), IPCR_OK);
        CHECK(!ipcr_has_run_out(state_of(q, &l), now_ns() + days));
        CHECK_IS(ipcr_lease_nack(q, &l, times[i]), IPCR_OK);
        CHECK(!ipcr_is_past(ipcr_when_of(state_of(q, &l)), now_ns() + days));
        check_is_empty(q);
    }
    finish_queue(q);
}

/* --- giving up ---------------------------------------------------------------------------------------------------- */

static void a_message_delivered_too_often_is_kept_and_not_delivered(void)
{
    const struct ipcr_queue_options three = { .max_deliveries = 3 };
    struct ipcr_queue *q = handle_on(reliable(&three));
    struct ipcr_lease l;
    uint32_t why;
    const uint64_t id = put(q, 1), returns = ipcr_queue_returns(q);
    for (uint32_t n = 1; n <= 3; n++) {
        l = leased(q, 0, 1, n);
        CHECK_IS(ipcr_lease_nack(q, &l, 0), IPCR_OK);
    }
    check_is_empty(q);
    CHECK(ipcr_queue_returns(q) != returns);
    CHECK_IS(ipcr_queue_outcome(q, id), IPCR_KEPT);
    CHECK_IS(ipcr_queue_depth(q), 1);
    CHECK_IS(ipcr_queue_next_kept(q, 0, &l, &why), IPCR_OK);
    CHECK_IS(l.id, id);
    CHECK_IS(why, IPCR_KEPT_DELIVERIES);
    CHECK_IS(l.deliveries, 3); /* looking is no delivery */
    CHECK_IS(ipcr_lease_keep(q, &l, why), IPCR_OK);
    CHECK_IS(ipcr_queue_next_kept(q, id, &l, &why), IPCR_EMPTY);
    CHECK_IS(totals(q->segment).delivered, 3);
    finish_queue(q);
}

static void a_lease_that_ran_out_counts_as_a_delivery(void)
{
    const struct ipcr_queue_options one = { .max_deliveries = 1 };
    struct ipcr_queue *q = handle_on(reliable(&one));
    const uint64_t id = put(q, 1);
    struct ipcr_lease l = leased(q, SECONDS(30), 1, 1);
    let_it_run_out(q, &l);
    repair(q);
    check_is_empty(q);
    CHECK_IS(ipcr_queue_outcome(q, id), IPCR_KEPT);
    finish_queue(q);
}

static void kept_messages_are_found_in_the_order_of_their_ids(void)
{
    const struct ipcr_queue_options one = { .max_deliveries = 1 };
    struct ipcr_queue *q = handle_on(reliable(&one)), *other = handle_on(q->segment);
    struct ipcr_lease l;
    uint64_t last = 0;
    uint32_t why;
    for (uint64_t i = 0; i < 6; i++)
        put(i % 2 == 0 ? q : other, i);
    for (int i = 0; i < 6; i++) {
        CHECK_IS(ipcr_queue_lease(q, 0, &l), IPCR_OK);
        CHECK_IS(ipcr_lease_nack(q, &l, 0), IPCR_OK);
    }
    for (int i = 0; i < 6; i++) {
        CHECK_IS(ipcr_queue_next_kept(q, last, &l, &why), IPCR_OK);
        CHECK(l.id > last);
        last = l.id;
        CHECK_IS(ipcr_lease_keep(q, &l, why), IPCR_OK);
    }
    CHECK_IS(ipcr_queue_next_kept(q, last, &l, &why), IPCR_EMPTY);
    ipcr_queue_free(other);
    finish_queue(q);
}

static void a_kept_message_can_be_buried_or_delivered_as_often_again(void)
{
    const struct ipcr_queue_options two = { .max_deliveries = 2 };
    struct ipcr_queue *q = handle_on(reliable(&two));
    struct ipcr_lease l;
    uint32_t why, deliveries = 0;
    const uint64_t id = put(q, 1);
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < 2; i++) {
            l = leased(q, 0, 1, ++deliveries);
            CHECK_IS(ipcr_lease_nack(q, &l, 0), IPCR_OK);
        }
        check_is_empty(q);
        CHECK_IS(ipcr_queue_next_kept(q, 0, &l, &why), IPCR_OK);
        CHECK_IS(ipcr_lease_requeue(q, &l), IPCR_OK);
    }
    for (int i = 0; i < 2; i++) {
        l = leased(q, 0, 1, ++deliveries);
        CHECK_IS(ipcr_lease_nack(q, &l, 0), IPCR_OK);
    }
    CHECK_IS(ipcr_queue_next_kept(q, 0, &l, &why), IPCR_OK);
    CHECK_IS(ipcr_lease_bury(q, &l), IPCR_OK);
    CHECK_IS(ipcr_queue_next_kept(q, 0, &l, &why), IPCR_EMPTY);
    CHECK_IS(ipcr_queue_outcome(q, id), IPCR_DEAD);
    CHECK_IS(totals(q->segment).dead, 1);
    finish_queue(q);
}

/* The count ends at 254.  A message that is beyond it is kept after each delivery that it is allowed. */
static void a_message_requeued_beyond_what_can_be_counted_is_kept_all_the_same(void)
{
    const struct ipcr_queue_options most = { .max_deliveries = 200 };
    struct ipcr_queue *q = handle_on(reliable(&most));
    uint32_t why;
    put(q, 1);
    struct ipcr_lease l = leased(q, 0, 1, 1);
    const uint64_t often = ipcr_with(l.held, IPCR_LEASED, ipcr_holder_of(l.held), IPCR_MOST_DELIVERIES, IPCR_NO_TIME);
    CHECK(ipcr_change(slot_of_lease(q, &l), l.held, often));
    l.held = often;
    for (int i = 0; i < 3; i++) {
        CHECK_IS(ipcr_lease_nack(q, &l, 0), IPCR_OK);
        check_is_empty(q);
        CHECK_IS(ipcr_queue_next_kept(q, 0, &l, &why), IPCR_OK);
        CHECK_IS(ipcr_lease_requeue(q, &l), IPCR_OK);
        l = leased(q, 0, 1, IPCR_MOST_DELIVERIES);
    }
    finish_queue(q);
}

static void an_expired_message_is_kept_and_lives_for_ever_when_it_is_put_back(void)
{
    struct ipcr_queue *q = handle_on(reliable(&plain));
    struct ipcr_lease l;
    uint32_t why;
    CHECK_IS(put_with(q, 1, 24, 1, NULL), IPCR_OK);
    CHECK_IS(put_with(q, 2, 24, SECONDS(3600), NULL), IPCR_OK);
    leased(q, 0, 2, 1);
    check_is_empty(q);
    CHECK_IS(ipcr_queue_next_kept(q, 0, &l, &why), IPCR_OK);
    CHECK_IS(why, IPCR_KEPT_EXPIRED);
    CHECK_IS(l.deliveries, 0);
    CHECK_IS(ipcr_lease_requeue(q, &l), IPCR_OK);
    l = leased(q, 0, 1, 1);
    CHECK_IS(ipcr_lease_nack(q, &l, 0), IPCR_OK);
    leased(q, 0, 1, 2);
    finish_queue(q);
}

/* --- throwing away ---------------------------------------------------------------------------------------------- */

static void purge_throws_away_what_waits_and_leaves_what_is_held(void)
{
    const struct ipcr_queue_options one = { .max_deliveries = 1 };
    struct ipcr_queue *q = handle_on(reliable(&one)), *other = handle_on(q->segment);
    for (uint64_t i = 0; i < 8; i++)
        put(i % 2 == 0 ? q : other, i);
    const struct ipcr_lease kept = leased(q, 0, 0, 1), held = leased(q, 0, 1, 1);
    CHECK_IS(ipcr_lease_nack(q, &kept, 0), IPCR_OK);
    CHECK_IS(ipcr_queue_purge(q, false), 6);
    check_is_empty(q);
    CHECK_IS(ipcr_queue_depth(q), 2);
    CHECK_IS(ipcr_queue_purge(q, true), 1);
    CHECK_IS(ipcr_queue_purge(q, true), 0);
    CHECK_IS(ipcr_lease_ack(q, &held), IPCR_OK);
    const struct ipcr_lane_stats sum = totals(q->segment);
    CHECK_IS(sum.dead, 7);
    CHECK_IS(sum.acknowledged, 1);
    CHECK_IS(ipcr_queue_depth(q), 0);
    ipcr_queue_free(other);
    finish_queue(q);
}

int main(void)
{
    check_begin();
    run("a state keeps its five fields apart", a_state_keeps_its_five_fields_apart);
    run("a lease never ends early, and at most a unit late", a_lease_never_ends_early_and_at_most_a_unit_late);
    run("a message is leased once, and gone when it is acknowledged",
        a_message_is_leased_once_and_gone_when_it_is_acknowledged);
    run("a nacked message comes again before newer ones", a_nacked_message_comes_again_before_newer_ones);
    run("a message that comes back late is found behind a hint that went on",
        a_message_that_comes_back_late_is_found_behind_a_hint_that_went_on);
    run("a nack with a delay keeps the message back and lets newer ones pass",
        a_nack_with_a_delay_keeps_the_message_back_and_lets_newer_ones_pass);
    run("a lease that ran out is given to the next, and its holder can change nothing",
        a_lease_that_ran_out_is_given_to_the_next_and_its_holder_can_change_nothing);
    run("a lease that ran out may still be acknowledged while nobody has noticed",
        a_lease_that_ran_out_may_still_be_acknowledged_while_nobody_has_noticed);
    run("an extended lease ends when the last extension says", an_extended_lease_ends_when_the_last_extension_says);
    run("every end of a lease is its last", every_end_of_a_lease_is_its_last);
    run("a closed handle gives back what it held", a_closed_handle_gives_back_what_it_held);
    run("requeuing what is not ours any more changes nothing", requeuing_what_is_not_ours_any_more_changes_nothing);
    run("whoever copies when the handle was closed gets no other message's bytes",
        whoever_copies_when_the_handle_was_closed_gets_no_other_messages_bytes);
    run("whoever was stopped just after taking a lease does not call the queue corrupt",
        whoever_was_stopped_just_after_taking_a_lease_does_not_call_the_queue_corrupt);
    run("times beyond the clock are long", times_beyond_the_clock_are_long);
    run("a message delivered too often is kept and not delivered",
        a_message_delivered_too_often_is_kept_and_not_delivered);
    run("a lease that ran out counts as a delivery", a_lease_that_ran_out_counts_as_a_delivery);
    run("kept messages are found in the order of their ids", kept_messages_are_found_in_the_order_of_their_ids);
    run("a kept message can be buried, or delivered as often again",
        a_kept_message_can_be_buried_or_delivered_as_often_again);
    run("a message requeued beyond what can be counted is kept all the same",
        a_message_requeued_beyond_what_can_be_counted_is_kept_all_the_same);
    run("an expired message is kept, and lives for ever when it is put back",
        an_expired_message_is_kept_and_lives_for_ever_when_it_is_put_back);
    run("purge throws away what waits and leaves what is held", purge_throws_away_what_waits_and_leaves_what_is_held);
    return check_finish();
}

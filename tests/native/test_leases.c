/* test_leases.c - the life of one message: every arrow of leases.h, and every refusal of one.
 *
 * Messages that are given up are test_kept.c.  Proves what a single process can see; that two can't both make an arrow
 * is test_queue_threads.c, and what a death leaves is test_queue_deaths.c.  No time passes here: leases are made to run out by hand.
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
        CHECK(ipcr_is_past(when, until + 2 * IPCR_LONGEST_LEASE_NS + IPCR_TIME_UNIT_NS)); /* nobody looked for so long */
        CHECK(ipcr_is_past(when, until + 29 * (IPCR_LONGEST_LEASE_NS / 10)));
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
        CHECK_IS(how == 0 ? ipcr_lease_ack(q, &l)
                          : how == 1 ? ipcr_lease_bury(q, &l) : ipcr_lease_nack(q, &l, 0), IPCR_OK);
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
    return check_finish();
}

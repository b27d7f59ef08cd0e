/* test_kept.c - messages that are not delivered any more: given up, expired, thrown away; kept, and what becomes of them.
 *
 * One process, and no time passes: see test_leases.c.
 */
#include "queues.h"

static const struct ipcr_queue_options plain = { .max_deliveries = 0 };

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

/* Whoever saw it expired, and was stopped before it said so. */
static void a_requeued_message_is_not_expired_by_one_who_looked_before(void)
{
    struct ipcr_queue *q = handle_on(reliable(&plain));
    struct ipcr_lease l;
    uint32_t why;
    CHECK_IS(put_with(q, 1, 24, 1, NULL), IPCR_OK);
    repair(q);
    CHECK_IS(ipcr_queue_next_kept(q, 0, &l, &why), IPCR_OK);
    const uint64_t seen = ipcr_with(l.held, IPCR_READY, 0, l.deliveries, IPCR_NO_TIME); /* as it was put */
    CHECK_IS(ipcr_lease_requeue(q, &l), IPCR_OK);
    CHECK(!ipcr_change(slot_of_lease(q, &l), seen, ipcr_with(seen, IPCR_KEPT, why, l.deliveries, IPCR_NO_TIME)));
    l = leased(q, 0, 1, 1);
    CHECK_IS(ipcr_lease_ack(q, &l), IPCR_OK);
    finish_queue(q);
}

int main(void)
{
    check_begin();
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
    run("a requeued message is not expired by one who looked before",
        a_requeued_message_is_not_expired_by_one_who_looked_before);
    return check_finish();
}

/* test_lane_owners.c - lanes change hands, a producer may have several, and remembers what became of its messages; in one
 * process. */
#include "queues.h"

static const struct ipcr_queue_options plain = { .max_deliveries = 0 };

/* --- taking and giving back --------------------------------------------------------------------------------------- */

static void more_producers_than_lanes_are_refused_until_one_goes(void)
{
    struct ipcr_segment *s = queue_of(IPCR_KIND_QUEUE, 2, &plain, 0);
    struct ipcr_queue *a = handle_on(s), *b = handle_on(s), *c = handle_on(s);
    CHECK_IS(ipcr_queue_take_lane(a, false), IPCR_NOT_FOUND); /* none has memory yet */
    CHECK_IS(ipcr_queue_take_lane(a, true), IPCR_OK);
    CHECK_IS(ipcr_queue_take_lane(b, true), IPCR_OK);
    CHECK_IS(ipcr_queue_take_lane(c, true), IPCR_TAKEN);
    CHECK_IS(try_put(c, 1), IPCR_TAKEN);
    CHECK(!ipcr_queue_has_lane(c));
    put(a, 1);
    ipcr_queue_close(a);
    CHECK_IS(ipcr_queue_take_lane(c, false), IPCR_NOT_FOUND); /* not empty */
    check_gets(c, 1);
    CHECK_IS(ipcr_queue_take_lane(c, false), IPCR_OK);
    CHECK_IS(c->own[0].index, 0);
    ipcr_queue_free(a);
    ipcr_queue_free(b);
    finish_queue(c);
}

static void a_lane_with_messages_left_is_taken_last_and_keeps_them(void)
{
    struct ipcr_segment *s = queue_of(IPCR_KIND_RELIABLE, 2, &plain, 0);
    struct ipcr_queue *a = handle_on(s), *b = handle_on(s), *c = handle_on(s);
    struct ipcr_lease l;
    for (uint64_t i = 0; i < 40; i++) {
        put(a, i);
        check_gets(c, i);
    }
    for (uint64_t i = 40; i < 45; i++)
        put(a, i);
    l = leased(c, 0, 40, 1);
    const uint64_t next = a->own[0].next, position = a->own[0].position;
    ipcr_queue_free(a);
    put(b, 45);
    CHECK_IS(b->own[0].index, 1); /* a new one, rather */
    ipcr_queue_close(b);
    check_gets(c, 41);
    put(c, 46);
    CHECK_IS(c->own[0].index, 0);
    CHECK_IS(c->own[0].next, next + 1);
    CHECK_IS(c->own[0].position, position + 24);
    for (uint64_t i = 42; i < 47; i++)
        check_gets(c, i);
    CHECK_IS(ipcr_lease_nack(c, &l, 0), IPCR_OK);
    leased(c, 0, 40, 2);
    const struct ipcr_lane_stats sum = totals(s);
    CHECK_IS(sum.put, 47);
    CHECK_IS(sum.delivered, 48);
    CHECK_IS(sum.redelivered, 1);
    ipcr_queue_free(b);
    finish_queue(c);
}

/* Whatever the fill of the lane, a successor has the same room as the producer would have had. */
static void successors_go_on_exactly_where_the_last_one_stopped(void)
{
    const struct ipcr_queue_options eight = { .slots = 8 };
    struct ipcr_segment *s = queue_of(IPCR_KIND_QUEUE, 1, &eight, 0 - UINT64_C(500));
    struct ipcr_queue *c = handle_on(s), *p = handle_on(s);
    uint64_t random = 8, next = 0, expected = 0;
    for (int i = 0; i < FEWER(20000, 3000); i++) {
        const uint64_t choice = random_next(&random);
        uint64_t got;
        if (choice % 4 == 0) {
            const struct ipcr_producer before = p->own[0];
            const bool had = p->lanes_taken > 0;
            ipcr_queue_free(p);
            p = handle_on(s);
            CHECK_IS(ipcr_queue_take_lane(p, true), IPCR_OK);
            CHECK(!had || (p->own[0].next == before.next && p->own[0].freed == before.freed &&
                           p->own[0].position == before.position && p->own[0].free_upto == before.free_upto &&
                           p->own[0].deliveries == before.deliveries && p->own[0].dead == before.dead));
        } else if (choice % 4 == 1) {
            if (try_get(c, &got) == IPCR_OK)
                CHECK_IS(got, expected++);
        } else {
            next += put_with(p, next, choice / 4 % 1200, 0, NULL) == IPCR_OK;
        }
    }
    CHECK_IS(ipcr_queue_depth(c), next - expected);
    ipcr_queue_free(p);
    finish_queue(c);
}

static void several_lanes_of_one_producer_go_round_one_that_is_held_up(void)
{
    const struct ipcr_queue_options three = { .slots = 4, .lanes_each = 3 };
    struct ipcr_queue *q = handle_on(queue_of(IPCR_KIND_RELIABLE, 3, &three, 0)), *other = handle_on(q->segment);
    put(q, 0);
    const struct ipcr_lease held = leased(q, 0, 0, 1);
    for (uint64_t i = 1; i < 100; i++) {
        put(q, i);
        check_gets(q, i);
    }
    CHECK_IS(q->lanes_taken, 2); /* as many as were needed */
    CHECK_IS(ipcr_lease_ack(q, &held), IPCR_OK);
    put(other, 100);
    for (uint64_t i = 101; i < 109; i++)
        put(q, i);
    CHECK_IS(try_put(q, 109), IPCR_FULL); /* the third lane is another's: they make do with two */
    CHECK_IS(q->lanes_taken, 2);
    for (uint64_t i = 100; i < 109; i++)
        check_gets(q, i);
    ipcr_queue_free(other);
    finish_queue(q);
}

/* --- receipts ----------------------------------------------------------------------------------------------------- */

static void a_receipt_never_calls_acknowledged_what_was_given_up(void)
{
    enum { MESSAGES = 2 * IPCR_REMEMBERED_DEAD * 3 };
    static uint64_t ids[MESSAGES];
    struct ipcr_queue *q = handle_on(reliable(&plain)), *other = handle_on(q->segment);
    uint64_t unknown = 0;
    for (uint64_t i = 0; i < MESSAGES; i++) {
        ids[i] = put(q, i);
        CHECK_IS(ipcr_queue_outcome(q, ids[i]), IPCR_READY);
        const struct ipcr_lease l = leased(other, 0, i, 1);
        CHECK_IS(ipcr_queue_outcome(q, ids[i]), IPCR_LEASED);
        CHECK_IS(i % 3 == 0 ? ipcr_lease_bury(other, &l) : ipcr_lease_ack(other, &l), IPCR_OK);
        for (uint64_t back = 0; back <= i && back < 500; back += 50)
            CHECK_IS(ipcr_queue_outcome(q, ids[i - back]), (i - back) % 3 == 0 ? IPCR_DEAD : IPCR_ACKED);
    }
    for (uint64_t i = 0; i < MESSAGES; i++) {
        const int outcome = ipcr_queue_outcome(q, ids[i]);
        unknown += outcome == IPCR_FREE;
        CHECK(outcome == (i % 3 == 0 ? IPCR_DEAD : IPCR_ACKED) || (outcome == IPCR_FREE && i < MESSAGES / 2));
    }
    CHECK(unknown > MESSAGES / 3);
    CHECK_IS(ipcr_queue_outcome(other, ids[MESSAGES - 1]), IPCR_NOT_FOUND);
    CHECK_IS(ipcr_queue_outcome(q, ids[MESSAGES - 1] + 1), IPCR_NOT_FOUND);               /* a lane of nobody's */
    CHECK_IS(ipcr_queue_outcome(q, ids[MESSAGES - 1] + q->segment->lanes), IPCR_NOT_FOUND); /* not put yet */
    ipcr_queue_close(q);
    put(other, 1);
    CHECK_IS(other->own[0].index, 0);
    CHECK_IS(ipcr_queue_outcome(other, ids[MESSAGES - 1]), IPCR_NOT_FOUND); /* its lane's former owner's */
    ipcr_queue_free(q);
    finish_queue(other);
}

int main(void)
{
    check_begin();
    run("more producers than lanes are refused until one goes", more_producers_than_lanes_are_refused_until_one_goes);
    run("a lane with messages left is taken last, and keeps them",
        a_lane_with_messages_left_is_taken_last_and_keeps_them);
    run("successors go on exactly where the last one stopped", successors_go_on_exactly_where_the_last_one_stopped);
    run("several lanes of one producer go round one that is held up",
        several_lanes_of_one_producer_go_round_one_that_is_held_up);
    run("a receipt never calls acknowledged what was given up", a_receipt_never_calls_acknowledged_what_was_given_up);
    return check_finish();
}

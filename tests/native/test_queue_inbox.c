/* test_queue_inbox.c - messages taken through an inbox: copied when they are small, lent when they are not.
 *
 * What a call returns is compared with what was put: length, encoding, and where in memory the payload stood.
 */
#include "queues.h"

#include <pthread.h>

enum { WIDE = 4 * IPCR_SMALL };

static struct ipcr_queue *wide_queue(uint64_t spin_ns)
{
    const struct ipcr_queue_options o = { .slots = 64, .lanes_each = 1 };
    struct ipcr_segment *s = NULL;
    struct ipcr_queue *q = NULL;
    CHECK_IS(ipcr_segment_create_queue(NULL, "ipc:test", IPCR_KIND_RELIABLE, WIDE, 4, &o, 0, &s), IPCR_OK);
    CHECK_IS(ipcr_queue_open(s, spin_ns, &q), IPCR_OK);
    CHECK_IS(ipcr_queue_take_lane(q, true), IPCR_OK);
    return q;
}

static void put_of(struct ipcr_queue *q, uint64_t number, uint64_t length, enum ipcr_encoding encoding)
{
    static uint8_t message[WIDE];
    stamp(message, length, number);
    CHECK(ipcr_queue_put_one(q, (const char *)message, length, IPCR_INFO(number, encoding), 0) >= 0);
}

static uint64_t length_of(int64_t result)
{
    return (uint64_t)result & ((UINT64_C(1) << IPCR_RESULT_ENCODING_SHIFT) - 1);
}

static uint64_t encoding_of(int64_t result) { return ((uint64_t)result >> IPCR_RESULT_ENCODING_SHIFT) & 0xff; }
static uint64_t skew_of(int64_t result) { return (((uint64_t)result >> IPCR_RESULT_SKEW_SHIFT) & 0x3f) * 8; }

static bool is_message(const char *bytes, uint64_t length, uint64_t number)
{
    return is_stamped((const uint8_t *)bytes, length, number);
}

/* --- what is taken ------------------------------------------------------------------------------------------------ */

static void a_small_message_is_copied_and_acknowledged_in_one_call(void)
{
    struct ipcr_queue *q = wide_queue(0);
    struct ipcr_queue_inbox inbox = { .queue = q };
    for (uint64_t i = 0; i < 200; i++) {
        put_of(q, i, i % 150, i % 2 == 0 ? IPCR_BYTES : IPCR_PICKLE);
        const int64_t result = i % 3 == 0 ? ipcr_queue_get_into(&inbox) : ipcr_queue_try_get_into(&inbox);
        CHECK(result >= 0);
        CHECK_IS(length_of(result), i % 150);
        CHECK_IS(encoding_of(result), i % 2 == 0 ? IPCR_BYTES : IPCR_PICKLE);
        CHECK_IS(skew_of(result), 0); /* of those two nobody asks */
        CHECK_IS(result & IPCR_RESULT_LENT, 0);
        CHECK_IS(IPCR_INFO_TYPE(inbox.lease.info), i);
        CHECK(is_message(inbox.bytes, i % 150, i));
        CHECK_IS(totals(q->segment).acknowledged, i + 1);
    }
    CHECK_IS(ipcr_queue_try_get_into(&inbox), IPCR_EMPTY);
    CHECK_IS(ipcr_queue_get_into(&inbox), IPCR_EMPTY);
    finish_queue(q);
}

static void an_array_says_how_far_it_stood_behind_a_multiple_of_64(void)
{
    struct ipcr_queue *q = wide_queue(0);
    struct ipcr_queue_inbox inbox = { .queue = q };
    struct ipcr_lease l;
    uint64_t seen = 0;
    for (uint64_t i = 0; i < 64; i++) {
        put_of(q, i, 8 + i % 7 * 8, IPCR_ARRAY);
        const int64_t result = i % 2 == 0 ? ipcr_queue_lease_into(&inbox, &l, 0) : ipcr_queue_try_get_into(&inbox);
        const struct ipcr_lease *of = i % 2 == 0 ? &l : &inbox.lease;
        CHECK_IS(encoding_of(result), IPCR_ARRAY);
        CHECK_IS(skew_of(result), (uintptr_t)of->payload % 64);
        CHECK_IS(skew_of(result), of->skew);
        seen |= UINT64_C(1) << of->skew / 8;
        if (i % 2 == 0)
            CHECK_IS(ipcr_lease_ack(q, &l), IPCR_OK);
    }
    CHECK_IS(seen, 0xff); /* it was not the same each time */
    finish_queue(q);
}

static void a_message_longer_than_the_inbox_is_lent_in_place_and_stays_leased(void)
{
    struct ipcr_queue *q = wide_queue(0);
    struct ipcr_queue_inbox inbox = { .queue = q };
    int64_t (*const gets[])(struct ipcr_queue_inbox *) = { ipcr_queue_try_get_into, ipcr_queue_get_into };
    for (uint64_t i = 0; i < 2; i++) {
        put_of(q, i, IPCR_SMALL, IPCR_BYTES);
        CHECK_IS(gets[i](&inbox), IPCR_SMALL); /* the longest that is copied */
        put_of(q, i, IPCR_SMALL + 1, IPCR_BYTES);
        CHECK_IS(gets[i](&inbox), (IPCR_SMALL + 1) | IPCR_RESULT_LENT);
        CHECK(is_message(inbox.lease.payload, IPCR_SMALL + 1, i));
        CHECK(ipcr_lease_is_held(q, &inbox.lease));
        CHECK_IS(ipcr_queue_try_get_into(&inbox), IPCR_EMPTY);
        CHECK_IS(totals(q->segment).leased, 1);
        CHECK_IS(ipcr_lease_nack(q, &inbox.lease, 0), IPCR_OK);
        CHECK_IS(gets[i](&inbox), (IPCR_SMALL + 1) | IPCR_RESULT_LENT);
        CHECK_IS(inbox.lease.deliveries, 2);
        CHECK_IS(ipcr_lease_ack(q, &inbox.lease), IPCR_OK);
        CHECK_IS(totals(q->segment).leased, 0);
    }
    finish_queue(q);
}

static void a_lease_through_the_inbox_is_held_until_it_is_ended(void)
{
    struct ipcr_queue *q = wide_queue(0), *other = handle_on(q->segment);
    struct ipcr_queue_inbox inbox = { .queue = q };
    struct ipcr_lease small, large, none;
    put_of(q, 1, 500, IPCR_PICKLE);
    put_of(q, 2, IPCR_SMALL + 8, IPCR_PICKLE);
    int64_t result = ipcr_queue_lease_into(&inbox, &small, SECONDS(100));
    CHECK_IS(length_of(result), 500);
    CHECK(is_message(inbox.bytes, 500, 1));
    result = ipcr_queue_lease_into(&inbox, &large, 0);
    CHECK(result >= 0 && (result & IPCR_RESULT_LENT) != 0);
    CHECK_IS(length_of(result), IPCR_SMALL + 8);
    CHECK_IS(encoding_of(result), IPCR_PICKLE);
    CHECK(is_message(large.payload, large.length, 2));
    CHECK(is_message(inbox.bytes, 500, 1)); /* nothing was copied over it */
    CHECK_IS(ipcr_queue_lease_into(&inbox, &none, 0), IPCR_EMPTY);
    CHECK(ipcr_lease_is_held(q, &small) && ipcr_lease_is_held(q, &large));
    let_it_run_out(q, &small);
    inbox.queue = other;
    other->next_repair_ns = 0;
    CHECK_IS(length_of(ipcr_queue_lease_into(&inbox, &none, 0)), 500); /* somebody else's now */
    CHECK_IS(none.deliveries, 2);
    CHECK_IS(ipcr_lease_ack(q, &small), IPCR_LEASE_LOST);
    CHECK_IS(ipcr_lease_ack(q, &large), IPCR_OK);
    ipcr_queue_free(other);
    finish_queue(q);
}

static void an_inbox_of_a_queue_that_is_shut_down_or_closed_says_so(void)
{
    struct ipcr_queue *q = wide_queue(0), *kept = handle_on(q->segment);
    struct ipcr_queue_inbox inbox = { .queue = q };
    struct ipcr_lease l;
    put_of(q, 1, 9, IPCR_BYTES);
    CHECK_IS(ipcr_queue_shut(q, IPCR_DRAINING), IPCR_OK);
    CHECK_IS(ipcr_queue_get_into(&inbox), 9);
    CHECK_IS(ipcr_queue_get_into(&inbox), IPCR_SHUT_DOWN);
    CHECK_IS(ipcr_queue_try_get_into(&inbox), IPCR_SHUT_DOWN);
    CHECK_IS(ipcr_queue_lease_into(&inbox, &l, 0), IPCR_SHUT_DOWN);
    ipcr_queue_close(q);
    CHECK_IS(ipcr_queue_get_into(&inbox), IPCR_CLOSED);
    CHECK_IS(ipcr_queue_try_get_into(&inbox), IPCR_CLOSED);
    CHECK_IS(ipcr_queue_lease_into(&inbox, &l, 0), IPCR_CLOSED);
    ipcr_queue_free(q);
    finish_queue(kept);
}

/* --- spinning ----------------------------------------------------------------------------------------------------- */

enum { ANSWERS = FEWER(20000, 2000) };

static void *answer(void *arg)
{
    struct ipcr_queue **q = arg;
    struct ipcr_queue_inbox inbox = { .queue = q[1] };
    for (uint64_t i = 0; i < ANSWERS; i++) {
        int64_t result;
        while ((result = ipcr_queue_get_into(&inbox)) == IPCR_EMPTY)
            CHECK(ipcr_queue_wait_for_message(inbox.queue, IPCR_FOREVER) <= 0);
        CHECK_IS(result, 24);
        CHECK(is_message(inbox.bytes, 24, i));
        put_of(q[0], i, 32, IPCR_BYTES);
    }
    return NULL;
}

static void an_answer_on_its_way_is_waited_for_and_none_is_missed(void)
{
    struct ipcr_queue *q[] = { wide_queue(IPCR_SPIN_AUTO), wide_queue(SECONDS(1) / 10000) };
    struct ipcr_queue_inbox inbox = { .queue = q[0] };
    pthread_t thread;
    CHECK_IS(pthread_create(&thread, NULL, answer, q), 0);
    for (uint64_t i = 0; i < ANSWERS; i++) {
        char question[24];
        int64_t result;
        stamp((uint8_t *)question, sizeof question, i);
        CHECK(ipcr_queue_put_one(q[1], question, sizeof question, IPCR_INFO(i, IPCR_BYTES), 0) >= 0);
        while ((result = ipcr_queue_get_into(&inbox)) == IPCR_EMPTY)
            CHECK(ipcr_queue_wait_for_message(q[0], IPCR_FOREVER) <= 0);
        CHECK_IS(result, 32);
        CHECK_IS(IPCR_INFO_TYPE(inbox.lease.info), i);
        CHECK(is_message(inbox.bytes, 32, i));
    }
    CHECK_IS(pthread_join(thread, NULL), 0);
    finish_queue(q[0]);
    finish_queue(q[1]);
}

int main(void)
{
    check_begin();
    run("a small message is copied and acknowledged in one call",
        a_small_message_is_copied_and_acknowledged_in_one_call);
    run("an array says how far it stood behind a multiple of 64",
        an_array_says_how_far_it_stood_behind_a_multiple_of_64);
    run("a message longer than the inbox is lent in place and stays leased",
        a_message_longer_than_the_inbox_is_lent_in_place_and_stays_leased);
    run("a lease through the inbox is held until it is ended", a_lease_through_the_inbox_is_held_until_it_is_ended);
    run("an inbox of a queue that is shut down or closed says so",
        an_inbox_of_a_queue_that_is_shut_down_or_closed_says_so);
    run("an answer on its way is waited for and none is missed", an_answer_on_its_way_is_waited_for_and_none_is_missed);
    return check_finish();
}

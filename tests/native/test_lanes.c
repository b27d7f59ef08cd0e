/* test_lanes.c - one producer's ring: order, room, laps, taking and giving back; in one process.
 *
 * Who has a lane is test_lane_owners.c; that its words are in order for a successor whenever a kill comes,
 * test_queue_deaths.c.
 */
#include "queues.h"

static const struct ipcr_queue_options plain = { .max_deliveries = 0 };
static const struct ipcr_queue_options shortest = { .slots = 2 };

/* --- order -------------------------------------------------------------------------------------------------------- */

static void messages_of_all_lanes_come_in_the_order_in_which_they_were_put(void)
{
    struct ipcr_segment *s = queue_of(IPCR_KIND_QUEUE, 4, &plain, 0);
    struct ipcr_queue *p[4];
    uint64_t random = 3, number = 0;
    for (int i = 0; i < 4; i++)
        p[i] = handle_on(s);
    for (int round = 0; round < 200; round++) {
        const uint64_t first = number, count = random_next(&random) % 30;
        while (number < first + count)
            put(p[random_next(&random) % 4], number++);
        for (uint64_t i = first; i < number; i++)
            check_gets(p[random_next(&random) % 4], i);
        check_is_empty(p[0]);
    }
    for (int i = 1; i < 4; i++)
        ipcr_queue_free(p[i]);
    finish_queue(p[0]);
}

/* --- room --------------------------------------------------------------------------------------------------------- */

static void a_lane_holds_as_many_messages_as_it_has_slots_also_empty_ones(void)
{
    struct ipcr_queue *q = handle_on(queue_of(IPCR_KIND_QUEUE, 1, &plain, 0));
    uint64_t got;
    for (uint64_t i = 0; i < 32; i++)
        CHECK_IS(put_with(q, i, 0, 0, NULL), IPCR_OK);
    CHECK_IS(put_with(q, 99, 0, 0, NULL), IPCR_FULL);
    CHECK_IS(ipcr_queue_depth(q), 32);
    for (uint64_t i = 0; i < 32; i++) {
        CHECK_IS(try_get(q, &got), IPCR_OK);
        CHECK_IS(got, i);
        CHECK_IS(put_with(q, 32 + i, 0, 0, NULL), IPCR_OK);
    }
    CHECK_IS(put_with(q, 99, 0, 0, NULL), IPCR_FULL);
    finish_queue(q);
}

static void a_message_as_large_as_a_lane_fits_when_it_is_empty(void)
{
    struct ipcr_queue *q = handle_on(queue_of(IPCR_KIND_QUEUE, 1, &plain, 0));
    for (uint64_t i = 0; i < 10; i++) {
        CHECK_IS(put_with(q, i, i % 2 == 0 ? LANE : LANE - 7, 0, NULL), IPCR_OK);
        CHECK_IS(put_with(q, 99, 1, 0, NULL), IPCR_FULL);
        CHECK_IS(put_with(q, 98, 0, 0, NULL), IPCR_OK); /* an empty one needs no bytes */
        check_gets(q, i);
        check_gets(q, 98);
        CHECK_IS(put_with(q, 100, 8, 0, NULL), IPCR_OK); /* so that the next begins elsewhere, and wraps */
        check_gets(q, 100);
    }
    finish_queue(q);
}

static void a_message_larger_than_a_lane_is_refused_at_once(void)
{
    const struct ipcr_queue_options two = { .maxsize = 2 };
    struct ipcr_queue *q = handle_on(queue_of(IPCR_KIND_QUEUE, 1, &two, 0));
    CHECK_IS(put_with(q, 1, LANE + 1, 0, NULL), IPCR_TOO_LARGE);
    put(q, 1);
    put(q, 2);
    CHECK_IS(try_put(q, 3), IPCR_FULL);
    CHECK_IS(put_with(q, 1, LANE + 1, 0, NULL), IPCR_TOO_LARGE); /* also where it would have to wait */
    finish_queue(q);
}

static void room_comes_back_in_the_order_of_putting_whatever_the_order_of_acks(void)
{
    const struct ipcr_queue_options four = { .slots = 4 };
    struct ipcr_queue *q = handle_on(queue_of(IPCR_KIND_RELIABLE, 1, &four, 0));
    struct ipcr_lease held[4];
    for (uint64_t i = 0; i < 4; i++)
        put(q, i);
    for (uint64_t i = 0; i < 4; i++)
        held[i] = leased(q, 0, i, 1);
    for (uint64_t i = 3; i > 0; i--) {
        CHECK_IS(ipcr_lease_ack(q, &held[i]), IPCR_OK);
        CHECK_IS(try_put(q, 9), IPCR_FULL);
        CHECK_IS(ipcr_producer_obstacle(&q->own[0], 24), q->own[0].freed);
    }
    CHECK_IS(ipcr_lease_ack(q, &held[0]), IPCR_OK);
    for (uint64_t i = 4; i < 8; i++)
        put(q, i);
    CHECK_IS(try_put(q, 9), IPCR_FULL);
    finish_queue(q);
}

static void every_length_and_order_of_acks_keeps_payloads_apart(void)
{
    struct ipcr_queue *q = handle_on(queue_of(IPCR_KIND_RELIABLE, 1, &plain, 0));
    struct ipcr_lease held[32];
    uint64_t random = 5, number = 0, holding = 0;
    for (int i = 0; i < FEWER(200000, 20000); i++) {
        const uint64_t choice = random_next(&random);
        const uint64_t length = choice / 64 % 16 == 0 ? choice % (LANE + 1) : choice / 1024 % 300;
        if (choice % 2 == 0)
            number += put_with(q, number, length, 0, NULL) == IPCR_OK;
        else if (choice % 8 < 6 && holding < 32)
            holding += try_lease(q, 0, &held[holding]) == IPCR_OK;
        else if (holding > 0) {
            char bytes[LANE];
            const uint64_t which = choice / 8 % holding;
            CHECK_IS(ipcr_lease_copy(q, &held[which], bytes), IPCR_OK); /* still what it was */
            check_message(&held[which], bytes, IPCR_INFO_TYPE(held[which].info));
            CHECK_IS(ipcr_lease_ack(q, &held[which]), IPCR_OK);
            held[which] = held[--holding];
        }
    }
    CHECK(number > 1000);
    finish_queue(q);
}

enum { PIECES = 3 };

static int put_in_pieces(struct ipcr_queue *q, uint64_t number)
{
    static uint8_t bytes[PIECES][LANE];
    struct ipcr_piece pieces[PIECES];
    struct ipcr_put to_put = { .info = IPCR_INFO(number, IPCR_PICKLE_BUFFERS) };
    for (uint64_t i = 0; i < PIECES; i++) {
        const uint64_t length = mixed(number * PIECES + i) % (number % 4 == 0 ? 900 : 80);
        pieces[i] = (struct ipcr_piece){ .data = (const char *)bytes[i], .length = length };
        stamp(bytes[i], length, number * PIECES + i);
    }
    return ipcr_queue_put_pieces(q, pieces, PIECES, &to_put);
}

static void check_pieces(const struct ipcr_lease *l)
{
    const uint64_t number = IPCR_INFO_TYPE(l->info);
    uint64_t end = 0;
    for (uint64_t i = 0; i < PIECES; i++) {
        const uint64_t length = mixed(number * PIECES + i) % (number % 4 == 0 ? 900 : 80);
        const uint64_t start = i == 0 ? 0 : ipcr_align_data(end + l->skew) - l->skew;
        CHECK(is_stamped((const uint8_t *)l->payload + start, length, number * PIECES + i));
        CHECK(i == 0 || ((uintptr_t)l->payload + start) % IPCR_DATA_ALIGNMENT == 0);
        end = start + length;
    }
    CHECK_IS(end, l->length);
}

static void pieces_stand_aligned_and_touch_no_neighbour(void)
{
    struct ipcr_queue *q = handle_on(queue_of(IPCR_KIND_RELIABLE, 1, &plain, 0));
    struct ipcr_lease held[32];
    uint64_t holding = 0, random = 12;
    CHECK_IS(ipcr_queue_take_lane(q, true), IPCR_OK);
    for (uint64_t number = 0; number < FEWER(20000, 3000);) {
        const int rc = put_in_pieces(q, number);
        CHECK(rc == IPCR_OK || rc == IPCR_FULL);
        number += rc == IPCR_OK;
        if (rc == IPCR_OK)
            CHECK_IS(ipcr_queue_lease(q, 0, &held[holding++]), IPCR_OK);
        for (uint64_t i = 0; i < holding; i++)
            check_pieces(&held[i]);
        for (uint64_t n = rc == IPCR_OK ? 0 : 1 + random_next(&random) % 3; n > 0 && holding > 0; n--) {
            CHECK_IS(ipcr_lease_ack(q, &held[0]), IPCR_OK);
            memmove(held, held + 1, --holding * sizeof held[0]);
        }
    }
    finish_queue(q);
}

/* --- numbers that wrap -------------------------------------------------------------------------------------------- */

static void pass_through(struct ipcr_queue *q, uint64_t messages)
{
    struct ipcr_lease l;
    for (uint64_t i = 0; i < messages; i += 2) {
        CHECK_IS(try_put(q, i & 0xffff), IPCR_OK);
        CHECK_IS(try_put(q, (i + 1) & 0xffff), IPCR_OK);
        l = leased(q, 0, i & 0xffff, 1);
        CHECK_IS(ipcr_lease_nack(q, &l, 0), IPCR_OK);
        l = leased(q, 0, i & 0xffff, 2);
        CHECK_IS(ipcr_lease_ack(q, &l), IPCR_OK);
        check_gets(q, (i + 1) & 0xffff);
        check_is_empty(q);
    }
    const struct ipcr_lane_stats sum = totals(q->segment);
    CHECK_IS(sum.put, messages);
    CHECK_IS(sum.acknowledged, messages);
    CHECK_IS(sum.delivered, messages + messages / 2);
    CHECK_IS(sum.redelivered, messages / 2);
    CHECK(ipcr_queue_depth(q) == 0);
}

static void sequences_wrap(void)
{
    for (uint64_t before = 90; before < 110; before++) {
        struct ipcr_queue *q = handle_on(queue_of(IPCR_KIND_RELIABLE, 1, &plain, 0 - before));
        pass_through(q, 200);
        finish_queue(q);
    }
}

static void laps_wrap(void)
{
    for (uint64_t slots = 2; slots <= 8; slots *= 2)
        for (uint64_t off = 0; off < slots; off++) {
            const struct ipcr_queue_options o = { .slots = slots };
            const uint64_t start = slots * ((1 << IPCR_LAP_BITS) - 4) - off;
            struct ipcr_queue *q = handle_on(queue_of(IPCR_KIND_RELIABLE, 1, &o, start));
            pass_through(q, 10 * slots);
            finish_queue(q);
        }
}

static void a_lane_of_two_slots_goes_through_all_its_laps(void)
{
    struct ipcr_queue *q = handle_on(queue_of(IPCR_KIND_RELIABLE, 1, &shortest, 0));
    pass_through(q, FEWER(UINT64_C(2) << IPCR_LAP_BITS, 20000) + 100);
    finish_queue(q);
}

/* --- hints -------------------------------------------------------------------------------------------------------- */

/* A hint that was lapped says "look", and would never let anybody sleep. */
static void whoever_waits_at_an_empty_lane_of_two_slots_sleeps(void)
{
    struct ipcr_queue *q = handle_on(queue_of(IPCR_KIND_QUEUE, 1, &shortest, 0));
    for (uint64_t i = 0; i < 20; i++) {
        put(q, i);
        check_gets(q, i);
        check_is_empty(q);
        store_relaxed32(&q->get_woken, 0);
        CHECK_IS(ipcr_queue_wait_for_message(q, now_ns() + 1000000), IPCR_OK);
        CHECK_IS(load_relaxed32(&q->get_woken), 1); /* it slept */
    }
    finish_queue(q);
}

/* Given back by one who then stood still, while the lane went on: `take` falls behind by laps. */
static void a_hint_that_falls_behind_by_laps_costs_nothing_but_a_look(void)
{
    for (uint64_t behind = 0; behind < 200; behind += 7) {
        struct ipcr_queue *q = handle_on(queue_of(IPCR_KIND_QUEUE, 1, &plain, 0));
        for (uint64_t i = 0; i < 200; i++) {
            put(q, i);
            check_gets(q, i);
        }
        put(q, 200);
        ipcr_lower_hint(&words_of(q, 0)->take, q->own[0].next - behind);
        check_gets(q, 200);
        check_is_empty(q);
        finish_queue(q);
    }
}

/* --- bounds ------------------------------------------------------------------------------------------------------- */

static void maxsize_is_exact_with_one_producer(void)
{
    const struct ipcr_queue_options five = { .maxsize = 5 };
    struct ipcr_queue *q = handle_on(queue_of(IPCR_KIND_RELIABLE, 2, &five, 0));
    uint64_t next = 0, random = 4;
    struct ipcr_lease l;
    for (int i = 0; i < 2000; i++) {
        const int64_t depth = ipcr_queue_depth(q);
        CHECK_IS(ipcr_queue_is_full(q), depth == 5);
        const bool took = try_put(q, next) == IPCR_OK;
        CHECK_IS(took, depth < 5);
        next += took;
        if (random_next(&random) % 2 == 0 && ipcr_queue_lease(q, 0, &l) == IPCR_OK)
            CHECK_IS(random % 3 == 0 ? ipcr_lease_nack(q, &l, 0) : ipcr_lease_ack(q, &l), IPCR_OK);
    }
    finish_queue(q);
}

static void a_message_too_long_for_the_rest_of_a_batch_is_lent_and_the_last(void)
{
    struct ipcr_queue *q = handle_on(reliable(&(struct ipcr_queue_options){ .max_deliveries = 1 }));
    struct ipcr_lease leases[8];
    char bytes[512];
    int64_t results[8];
    for (uint64_t i = 0; i < 3; i++)
        CHECK_IS(put_with(q, i, i == 0 ? 100 : 500, 0, NULL), IPCR_OK);
    CHECK_IS(ipcr_queue_lease_many(q, bytes, sizeof bytes, leases, results, 8), 2);
    CHECK(is_stamped((const uint8_t *)bytes, 100, 0));
    CHECK_IS(results[0] & IPCR_RESULT_LENT, 0);
    CHECK_IS(results[1], 500 | IPCR_RESULT_LENT);
    CHECK(is_stamped((const uint8_t *)leases[1].payload, 500, 1));
    CHECK_IS(ipcr_lease_end_many(q, leases, 2, 2), 2);
    CHECK_IS(ipcr_queue_lease_many(q, bytes, 100, leases, results, 8), 1); /* the first may be that as well */
    CHECK(results[0] == (500 | IPCR_RESULT_LENT) && is_stamped((const uint8_t *)leases[0].payload, 500, 2));
    CHECK_IS(ipcr_lease_end_many(q, leases, 1, 1), 1);
    check_is_empty(q);
    CHECK_IS(totals(q->segment).delivered, 3);
    CHECK_IS(totals(q->segment).redelivered, 0);
    finish_queue(q);
}

int main(void)
{
    check_begin();
    run("messages of all lanes come in the order in which they were put",
        messages_of_all_lanes_come_in_the_order_in_which_they_were_put);
    run("a lane holds as many messages as it has slots, also empty ones",
        a_lane_holds_as_many_messages_as_it_has_slots_also_empty_ones);
    run("a message as large as a lane fits when it is empty", a_message_as_large_as_a_lane_fits_when_it_is_empty);
    run("a message larger than a lane is refused at once", a_message_larger_than_a_lane_is_refused_at_once);
    run("room comes back in the order of putting, whatever the order of acks",
        room_comes_back_in_the_order_of_putting_whatever_the_order_of_acks);
    run("every length and order of acks keeps payloads apart", every_length_and_order_of_acks_keeps_payloads_apart);
    run("pieces stand aligned and touch no neighbour", pieces_stand_aligned_and_touch_no_neighbour);
    run("sequences wrap", sequences_wrap);
    run("laps wrap", laps_wrap);
    run("a lane of two slots goes through all its laps", a_lane_of_two_slots_goes_through_all_its_laps);
    run("whoever waits at an empty lane of two slots sleeps", whoever_waits_at_an_empty_lane_of_two_slots_sleeps);
    run("a hint that falls behind by laps costs nothing but a look",
        a_hint_that_falls_behind_by_laps_costs_nothing_but_a_look);
    run("maxsize is exact with one producer", maxsize_is_exact_with_one_producer);
    run("a message too long for the rest of a batch is lent, and the last",
        a_message_too_long_for_the_rest_of_a_batch_is_lent_and_the_last);
    return check_finish();
}

/* test_queue_hostile.c - nonsense in every shared word of a queue: a named status in bounded time, and nothing touched
 * outside of the mappings (under AddressSanitizer).
 *
 * Words are written as another process of the same user could, before or during the calls.  That a message is lost or
 * comes twice by nonsense is no failure here.
 */
#include "queues.h"

#include <pthread.h>

static const struct ipcr_queue_options plain = { .max_deliveries = 0 };

/* Two producers, and messages in every phase. */
static struct ipcr_queue *furnished(struct ipcr_queue **other)
{
    const struct ipcr_queue_options two = { .max_deliveries = 2 };
    struct ipcr_queue *q = handle_on(reliable(&two)), *p = handle_on(q->segment);
    struct ipcr_lease l;
    for (uint64_t i = 0; i < 40; i++) {
        put(i % 2 == 0 ? q : p, i);
        if (i < 20)
            check_gets(q, i);
    }
    for (int i = 0; i < 2; i++) {
        CHECK_IS(ipcr_queue_lease(q, 0, &l), IPCR_OK);
        CHECK_IS(ipcr_lease_nack(q, &l, 0), IPCR_OK);
        CHECK_IS(ipcr_queue_lease(p, 0, &l), IPCR_OK);
        CHECK_IS(i == 0 ? ipcr_lease_nack(p, &l, 0) : ipcr_lease_bury(p, &l), IPCR_OK);
    }
    CHECK_IS(ipcr_queue_lease(q, SECONDS(30), &l), IPCR_OK);
    CHECK_IS(ipcr_queue_lease(p, 0, &l), IPCR_OK);
    *other = p;
    return q;
}

static struct ipcr_slot *first_slot(const struct ipcr_queue *q)
{
    return ipcr_slot_at(&q->segment->lane[q->own[0].index], q->own[0].freed);
}

/* --- one word at a time ------------------------------------------------------------------------------------------- */

static void a_state_that_is_none_is_told_to_whoever_meets_it(void)
{
    for (uint32_t phase = 0; phase < 8; phase++) {
        if (phase >= IPCR_READY && phase <= IPCR_KEPT)
            continue;
        struct ipcr_queue *q = handle_on(reliable(&plain));
        struct ipcr_queue *other = handle_on(q->segment), *third = handle_on(q->segment);
        struct ipcr_lease l;
        const uint64_t id = put(q, 1);
        struct ipcr_slot *slot = first_slot(q);
        const uint64_t state = load_relaxed64(&slot->state);
        store_relaxed64(&slot->state, (state & ~(UINT64_C(7) << 42)) | (uint64_t)phase << 42);
        CHECK_IS(ipcr_queue_lease(other, 0, &l), IPCR_CORRUPT);
        CHECK_IS(ipcr_queue_lease(other, 0, &l), IPCR_CORRUPT);
        store_relaxed64(&slot->state, state);
        CHECK_IS(ipcr_queue_lease(other, 0, &l), IPCR_CORRUPT); /* it stays: nothing of this handle is believed again */
        store_relaxed64(&slot->state, (state & ~(UINT64_C(7) << 42)) | (uint64_t)phase << 42);
        pthread_mutex_lock(&third->consuming);
        CHECK_IS(ipcr_queue_repair(third, now_ns()), IPCR_CORRUPT);
        pthread_mutex_unlock(&third->consuming);
        CHECK_IS(ipcr_queue_outcome(q, id), IPCR_CORRUPT);
        ipcr_queue_free(other);
        ipcr_queue_free(third);
        finish_queue(q);
    }
}

static void a_producer_that_needs_room_meets_nonsense_in_its_slots(void)
{
    for (int word = 0; word < 3; word++) {
        struct ipcr_queue *q = handle_on(queue_of(IPCR_KIND_QUEUE, 1, &plain, 0)), *c = handle_on(q->segment);
        uint64_t number = 0;
        while (try_put(q, number) == IPCR_OK)
            number++;
        check_gets(c, 0);
        struct ipcr_slot *slot = first_slot(q);
        if (word == 0)
            store_relaxed64(&slot->state, ipcr_state(77, IPCR_ACKED, 0, 1, IPCR_NO_TIME));
        else if (word == 1)
            store_relaxed64(&slot->length, UINT64_MAX / 2);
        else
            store_relaxed64(&slot->position, 4);
        CHECK_IS(try_put(q, number), IPCR_CORRUPT);
        CHECK_IS(try_put(q, number), IPCR_CORRUPT);
        ipcr_queue_free(c);
        finish_queue(q);
    }
}

static void a_message_whose_words_contradict_each_other_is_not_delivered(void)
{
    for (int word = 0; word < 4; word++) {
        struct ipcr_queue *q = handle_on(reliable(&plain)), *c = handle_on(q->segment);
        struct ipcr_lease l;
        put(q, 1);
        struct ipcr_slot *slot = first_slot(q);
        if (word == 0)
            store_relaxed64(&slot->length, LANE + 1);
        else if (word == 1)
            store_relaxed64(&slot->length, UINT64_MAX);
        else if (word == 2)
            store_relaxed64(&slot->position, 1);
        else
            store_relaxed64(&slot->sequence, 5);
        CHECK_IS(ipcr_queue_lease(c, 0, &l), IPCR_CORRUPT);
        ipcr_queue_free(c);
        finish_queue(q);
    }
}

static void a_successor_does_not_take_over_nonsense(void)
{
    for (int word = 0; word < 7; word++) {
        struct ipcr_queue *q = handle_on(queue_of(IPCR_KIND_QUEUE, 1, &plain, 0)), *next = handle_on(q->segment);
        for (uint64_t i = 0; i < 40; i++) {
            put(q, i);
            if (i < 35)
                check_gets(q, i);
        }
        const uint64_t freed = q->own[0].freed, head = q->own[0].next;
        struct ipcr_lane_words *w = words_of(q, 0);
        ipcr_queue_close(q);
        switch (word) {
        case 0: store_relaxed64(&w->freed, freed + 5); break; /* no mark has it */
        case 1: store_relaxed64(&w->freed, freed - 100); break;
        case 2: store_relaxed64(&w->head, head + 4); break; /* a gap: what stands behind it would be found by nobody */
        case 3: store_relaxed64(&w->mark[0].freed, 1), store_relaxed64(&w->mark[1].freed, 2); break;
        case 4: store_relaxed64(&ipcr_slot_at(next->segment->lane, head - 1)->sequence, 3); break;
        case 5: store_relaxed64(&ipcr_slot_at(next->segment->lane, head - 1)->position, 12); break;
        default: store_relaxed64(&ipcr_slot_at(next->segment->lane, head - 1)->length, UINT64_C(1) << 60); break;
        }
        CHECK_IS(ipcr_queue_take_lane(next, true), IPCR_CORRUPT);
        CHECK(!ipcr_queue_has_lane(next));
        ipcr_queue_free(q);
        finish_queue(next);
    }
}

/* All words of a lane agree that it has had 2^63 messages: an id of the next one would be no id, but a status. */
static void a_lane_that_has_come_further_than_any_can_is_not_taken_over(void)
{
    const uint64_t numbers[] = { UINT64_C(1) << 63, UINT64_C(1) << 62, UINT64_MAX - 100, UINT64_C(1) << 53 };
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        struct ipcr_queue *q = handle_on(queue_of(IPCR_KIND_QUEUE, 1, &plain, 0)), *next = handle_on(q->segment);
        const uint64_t at = numbers[i] & ~UINT64_C(31);
        put(q, 1);
        check_gets(q, 1);
        struct ipcr_lane *lane = q->own[0].lane;
        struct ipcr_slot *last = ipcr_slot_at(lane, at - 1);
        store_relaxed64(&lane->words->freed, at);
        store_relaxed64(&lane->words->mark[0].freed, at);
        store_relaxed64(&lane->words->head, at);
        store_relaxed64(&last->sequence, at - 1);
        store_relaxed64(&last->state, ipcr_state(ipcr_lap_at(lane, at - 1), IPCR_ACKED, 0, 1, IPCR_NO_TIME));
        store_relaxed64(&ipcr_slot_at(lane, at)->state, 0);
        ipcr_queue_close(q);
        CHECK_IS(ipcr_queue_take_lane(next, true), IPCR_CORRUPT);
        ipcr_queue_free(q);
        finish_queue(next);
    }
}

static void a_number_of_lanes_beyond_the_table_is_told(void)
{
    const uint32_t nonsense[] = { 5, 1025, 1u << 31, UINT32_MAX };
    for (size_t i = 0; i < 4; i++) {
        struct ipcr_queue *p, *q = furnished(&p), *third = handle_on(q->segment);
        struct ipcr_lease l;
        uint32_t why;
        store_relaxed32(&q->header->lanes_high, nonsense[i]);
        CHECK_IS(ipcr_queue_lease(third, 0, &l), IPCR_CORRUPT);
        pthread_mutex_lock(&q->consuming);
        for (int n = 0; n < 50; n++)
            CHECK_IS(ipcr_queue_repair(q, now_ns()), IPCR_CORRUPT);
        CHECK_IS(ipcr_queue_fix_hints(q), IPCR_CORRUPT);
        pthread_mutex_unlock(&q->consuming);
        (void)ipcr_queue_depth(q);
        (void)ipcr_queue_purge(p, true);
        (void)ipcr_queue_next_kept(p, 0, &l, &why);
        CHECK_IS(ipcr_queue_shut(p, IPCR_SHUT), IPCR_OK);
        ipcr_queue_free(third);
        ipcr_queue_free(p);
        finish_queue(q);
    }
}

static void a_lane_that_is_half_in_use_is_told_and_keeps_nobody_awake(void)
{
    struct ipcr_queue *p, *q = furnished(&p);
    struct ipcr_lease l;
    store_relaxed32(&q->header->lanes_high, 3);
    store_relaxed32(&words_of(q, 2)->used, 2);
    CHECK_IS(ipcr_queue_lease(q, 0, &l), IPCR_CORRUPT);
    ipcr_queue_free(p);
    finish_queue(q);
}

static void a_lease_of_a_number_that_nobody_has_is_ended(void)
{
    const uint32_t numbers[] = { 2, 500, 1022, 1023 };
    for (size_t i = 0; i < 4; i++) {
        struct ipcr_queue *q = handle_on(reliable(&plain));
        put(q, 1);
        struct ipcr_slot *slot = first_slot(q);
        const uint64_t state = load_relaxed64(&slot->state);
        store_relaxed64(&slot->state, ipcr_with(state, IPCR_LEASED, numbers[i], 1, IPCR_NO_TIME));
        leased(q, 0, 1, 2);
        repair(q);
        CHECK_IS(totals(q->segment).leased, 1); /* ours stays */
        finish_queue(q);
    }
}

/* --- any words ---------------------------------------------------------------------------------------------------- */

static bool is_named(int64_t rc) { return rc >= IPCR_SHUT_DOWN || IPCR_IS_ERRNO(rc); }

#define CHECK_NAMED(call) CHECK(is_named(call))

/* Every call once or a few times, in some order. */
static void do_everything(struct ipcr_queue *q, uint64_t *random, int steps)
{
    static _Thread_local char bytes[2 * LANE];
    struct ipcr_lease l[4];
    int64_t results[16];
    uint32_t why;
    uint64_t n = 0;
    int rc;
    for (int i = 0; i < steps; i++) {
        const uint64_t choice = random_next(random);
        switch (choice % 14) {
        case 0: case 1: CHECK_NAMED(put_with(q, choice, choice / 16 % 600, choice % 3, NULL)); break;
        case 2: case 3:
            if (ipcr_queue_lease(q, choice % 3, &l[n % 4]) == IPCR_OK)
                CHECK_NAMED(ipcr_lease_copy(q, &l[n++ % 4], bytes));
            break;
        case 4: CHECK_NAMED(n == 0 ? 0 : ipcr_lease_ack(q, &l[(n - 1) % 4])); break;
        case 5: CHECK_NAMED(n == 0 ? 0 : ipcr_lease_nack(q, &l[(n - 1) % 4], choice % 2 * SECONDS(1))); break;
        case 6: CHECK_NAMED(n == 0 ? 0 : ipcr_lease_requeue(q, &l[(n - 1) % 4])); break;
        case 7: CHECK_NAMED(get_many(q, bytes, sizeof bytes, results, 1 + choice % 16)); break;
        case 8:
            rc = ipcr_queue_next_kept(q, choice % 3, &l[n % 4], &why);
            CHECK_NAMED(rc);
            n += rc == IPCR_OK;
            break;
        case 9: CHECK_NAMED(ipcr_queue_wait_for_message(q, now_ns() + 1000)); break;
        case 10: CHECK_NAMED(ipcr_queue_wait_for_room(q, 100, now_ns() + 1000)); break;
        case 11: CHECK_NAMED(choice / 16 % 8 == 0 ? ipcr_queue_purge(q, true) : ipcr_queue_depth(q));
            break;
        case 12: CHECK_NAMED(ipcr_queue_wait_for_outcome(q, choice % 400, now_ns() + 1000)); break;
        default: q->next_repair_ns = 0; (void)ipcr_queue_all_finished(q); break;
        }
    }
}

static uint64_t nonsense(uint64_t was, uint64_t *random)
{
    const uint64_t choice = random_next(random);
    switch (choice % 8) {
    case 0: return 0;
    case 1: return UINT64_MAX;
    case 2: return was + 1;
    case 3: return was - 1;
    case 4: return was + choice / 8 % 200 - 100;
    case 5: return random_next(random);
    default: return was ^ UINT64_C(1) << choice / 8 % 64;
    }
}

/* The words of one queue that others may write: of the header, of two lanes, and of their slots. */
static ipcr_word64 *some_word(const struct ipcr_queue *q, uint64_t *random)
{
    const uint64_t choice = random_next(random), lane = choice / 4 % 2, at = choice / 8;
    struct ipcr_lane_words *w = words_of(q, (uint32_t)lane);
    ipcr_word64 *const words[] = { &w->take, &w->settled, &w->head, &w->freed, &w->mark[0].freed, &w->mark[1].freed,
                                   &w->room_at, &w->outcome_at, (ipcr_word64 *)(void *)&w->used,
                                   (ipcr_word64 *)(void *)&w->room_parked };
    if (choice % 4 == 0)
        return words[at % (sizeof words / sizeof words[0])];
    if (choice % 4 == 1 && at % 4 == 0) /* the gates, shutdown, what is in use; returns; some holders */
        return (ipcr_word64 *)(void *)&q->header->consumers_parked + at / 4 % 3;
    if (choice % 4 == 1)
        return (ipcr_word64 *)(void *)&q->header->holders[at / 4 % 4];
    return &q->segment->lane[lane].slots[at % 32].state + at / 32 % (at % 2 == 0 ? 1 : 8);
}

static void any_words_of_nonsense_end_in_a_named_status(void)
{
    for (uint64_t seed = 1; seed <= FEWER(4000, 1000); seed++) {
        struct ipcr_queue *p, *q = furnished(&p), *third = handle_on(q->segment);
        uint64_t random = seed * 1000;
        for (uint64_t n = 1 + random_next(&random) % 4; n > 0; n--) {
            ipcr_word64 *word = some_word(q, &random);
            store_relaxed64(word, nonsense(load_relaxed64(word), &random));
        }
        do_everything(q, &random, 30);
        do_everything(third, &random, 30);
        do_everything(p, &random, 10);
        ipcr_queue_free(third);
        ipcr_queue_free(p);
        finish_queue(q);
    }
}

struct scribbling {
    struct ipcr_queue *queue;
    ipcr_word32 over;
};

static void *scribble(void *arg)
{
    struct scribbling *s = arg;
    uint64_t random = 77;
    while (load_acquire32(&s->over) == 0) {
        ipcr_word64 *word = some_word(s->queue, &random);
        const uint64_t was = load_relaxed64(word);
        store_relaxed64(word, nonsense(was, &random));
        if (random_next(&random) % 4 != 0)
            store_relaxed64(word, was); /* gone again before most have seen it: what is loaded twice differs */
        if (random_next(&random) % 64 == 0)
            sched_yield();
    }
    return NULL;
}

static void words_that_change_between_two_looks_end_in_a_named_status(void)
{
    for (uint64_t seed = 1; seed <= FEWER(1500, 300); seed++) {
        struct ipcr_queue *p, *q = furnished(&p);
        struct scribbling s = { .queue = p };
        uint64_t random = seed * 1000;
        pthread_t thread;
        CHECK(pthread_create(&thread, NULL, scribble, &s) == 0);
        for (int i = 0; i < 5; i++) {
            struct ipcr_queue *fresh = handle_on(q->segment); /* one that has not met nonsense yet */
            do_everything(fresh, &random, 20);
            ipcr_queue_free(fresh);
        }
        do_everything(q, &random, 20);
        store_release32(&s.over, 1);
        CHECK(pthread_join(thread, NULL) == 0);
        ipcr_queue_free(p);
        finish_queue(q);
    }
}

int main(void)
{
    check_begin();
    run("a state that is none is told to whoever meets it", a_state_that_is_none_is_told_to_whoever_meets_it);
    run("a producer that needs room meets nonsense in its slots",
        a_producer_that_needs_room_meets_nonsense_in_its_slots);
    run("a message whose words contradict each other is not delivered",
        a_message_whose_words_contradict_each_other_is_not_delivered);
    run("a successor does not take over nonsense", a_successor_does_not_take_over_nonsense);
    run("a lane that has come further than any can is not taken over",
        a_lane_that_has_come_further_than_any_can_is_not_taken_over);
    run("a number of lanes beyond the table is told", a_number_of_lanes_beyond_the_table_is_told);
    run("a lane that is half in use is told, and keeps nobody awake",
        a_lane_that_is_half_in_use_is_told_and_keeps_nobody_awake);
    run("a lease of a number that nobody has is ended", a_lease_of_a_number_that_nobody_has_is_ended);
    run("any words of nonsense end in a named status", any_words_of_nonsense_end_in_a_named_status);
    run("words that change between two looks end in a named status",
        words_that_change_between_two_looks_end_in_a_named_status);
    return check_finish();
}

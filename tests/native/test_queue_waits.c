/* test_queue_waits.c - every wait of a queue, many threads of shared and of own handles at once, with slices that never
 * end: whoever should have been woken and was not, hangs.
 */
#include "sleeps.h"

/* --- messages and room -------------------------------------------------------------------------------------------- */

static void *put_all(void *arg)
{
    struct team *t = arg;
    struct ipcr_queue *own = handle_on(t->queue->segment);
    uint64_t number;
    while ((number = next_of(&t->put)) < t->messages)
        CHECK_IS(put_waiting(number % 3 == 0 ? t->queue : own, number, 24), IPCR_OK); /* handles shared, and not */
    ipcr_queue_free(own);
    return NULL;
}

static void *get_all(void *arg)
{
    struct team *t = arg;
    struct ipcr_queue *own = handle_on(t->queue->segment);
    uint64_t number;
    int rc = IPCR_OK;
    for (uint64_t i = 0; rc == IPCR_OK; i++) {
        rc = get_waiting(i % 3 == 0 ? t->queue : own, &number);
        if (rc == IPCR_OK && next_of(&t->taken) + 1 == t->messages)
            CHECK_IS(ipcr_queue_shut(t->queue, IPCR_DRAINING), IPCR_OK);
    }
    CHECK_IS(rc, IPCR_SHUT_DOWN);
    ipcr_queue_free(own);
    return NULL;
}

static void check_nobody_is_left(const struct ipcr_queue_options *options, int producers, int consumers)
{
    struct ipcr_segment *s = queue_of(IPCR_KIND_QUEUE, 4, options, 0);
    struct team t = { .queue = handle_on(s), .messages = FEWER(60000, 6000) };
    without_time();
    start(&t, producers, put_all);
    start(&t, consumers, get_all);
    finish(&t);
    with_time();
    CHECK_IS(load_relaxed64(&t.taken), t.messages);
    finish_queue(t.queue);
}

static void nobody_sleeps_on_in_lanes_that_are_always_full_or_empty(void)
{
    const struct ipcr_queue_options short_lanes = { .slots = 4 };
    check_nobody_is_left(&short_lanes, 1, 1);
    check_nobody_is_left(&short_lanes, 2, 2);
    check_nobody_is_left(&short_lanes, 1, 4);
    check_nobody_is_left(&short_lanes, 3, 1);
}

static void nobody_sleeps_on_in_a_queue_of_at_most_two_messages(void)
{
    const struct ipcr_queue_options two = { .maxsize = 2 };
    check_nobody_is_left(&two, 1, 1);
    check_nobody_is_left(&two, 3, 2);
    check_nobody_is_left(&two, 2, 3);
}

static void nobody_sleeps_on_when_both_the_lane_and_the_queue_are_full(void)
{
    const struct ipcr_queue_options tight = { .slots = 2, .maxsize = 3 };
    check_nobody_is_left(&tight, 3, 2);
}

static void *get_one(void *arg)
{
    struct team *t = arg;
    uint64_t number;
    CHECK_IS(get_waiting(t->own[next_of(&t->taken) % 3], &number), IPCR_OK);
    return NULL; /* its handle stays: a close would wake the others */
}

/* Nobody comes back who could take what others were not woken for. */
static void as_many_as_there_are_messages_wake_up(void)
{
    for (int round = 0; round < FEWER(500, 60); round++) {
        const struct ipcr_queue_options plain = { .maxsize = 0 };
        struct team t = { .queue = handle_on(queue_of(IPCR_KIND_QUEUE, 4, &plain, 0)) };
        char bytes[6 * 24] = { 0 };
        uint64_t lengths[6], infos[6] = { 0 };
        for (int i = 0; i < 6; i++) {
            lengths[i] = 24;
            stamp((uint8_t *)bytes + (size_t)i * 24, 24, 0);
        }
        CHECK_IS(ipcr_queue_take_lane(t.queue, true), IPCR_OK);
        for (int i = 0; i < 3; i++)
            t.own[i] = handle_on(t.queue->segment);
        without_time();
        start(&t, 6, get_one);
        if (round % 4 != 0)
            wait_until_asleep(6);
        for (int i = 0; round % 2 == 0 && i < 6; i++)
            put(t.queue, 0);
        if (round % 2 != 0)
            CHECK_IS(ipcr_queue_put_many(t.queue, bytes, lengths, infos, 6, 0, NULL), 6);
        finish(&t);
        with_time();
        for (int i = 0; i < 3; i++)
            ipcr_queue_free(t.own[i]);
        finish_queue(t.queue);
    }
}

/* --- the ends of messages ----------------------------------------------------------------------------------------- */

static void *put_and_wait_for_the_ack(void *arg)
{
    struct team *t = arg;
    uint64_t number, id;
    while ((number = next_of(&t->put)) < t->messages) {
        int rc;
        while ((rc = put_with(t->queue, number, 24, 0, &id)) == IPCR_FULL)
            CHECK(ipcr_queue_wait_for_room(t->queue, 24, IPCR_FOREVER) <= IPCR_OK);
        CHECK_IS(rc, IPCR_OK);
        if (next_of(&t->taken) + 1 == t->messages) /* the others have put what they drew, and not only drawn it */
            CHECK_IS(ipcr_queue_shut(t->queue, IPCR_DRAINING), IPCR_OK);
        while ((rc = ipcr_queue_outcome(t->queue, id)) == IPCR_READY || rc == IPCR_LEASED)
            CHECK_IS(ipcr_queue_wait_for_outcome(t->queue, id, IPCR_FOREVER), IPCR_OK);
        CHECK(rc == (number % 5 == 0 ? IPCR_DEAD : IPCR_ACKED) || rc == IPCR_FREE); /* we may have slept for long */
    }
    return NULL;
}

static void *ack_all(void *arg)
{
    struct team *t = arg;
    struct ipcr_queue *own = handle_on(t->queue->segment);
    struct ipcr_lease held[2];
    int rc = IPCR_OK, n = 0;
    while (rc != IPCR_SHUT_DOWN || n > 0) {
        rc = n < 2 ? ipcr_queue_lease(own, 0, &held[n]) : IPCR_EMPTY;
        n += rc == IPCR_OK;
        if (rc == IPCR_OK && n < 2)
            continue;
        if (n == 0) {
            CHECK_IS(ipcr_queue_wait_for_message(own, IPCR_FOREVER), IPCR_OK);
            continue;
        }
        const struct ipcr_lease *l = &held[--n]; /* the newer one first */
        CHECK_IS(IPCR_INFO_TYPE(l->info) % 5 == 0 ? ipcr_lease_bury(own, l) : ipcr_lease_ack(own, l), IPCR_OK);
    }
    ipcr_queue_free(own);
    return NULL;
}

static void every_receipt_is_told_however_many_threads_wait(void)
{
    for (int waiters = 1; waiters <= 4; waiters++) {
        struct ipcr_queue *q = handle_on(reliable(&(struct ipcr_queue_options){ .slots = 8 }));
        struct team t = { .queue = q, .messages = FEWER(20000, 2000) };
        without_time();
        start(&t, waiters, put_and_wait_for_the_ack);
        start(&t, 2, ack_all);
        finish(&t);
        with_time();
        CHECK_IS(ipcr_queue_depth(q), 0);
        finish_queue(q);
    }
}

static void *join_all(void *arg)
{
    struct team *t = arg;
    while (!ipcr_queue_all_finished(t->queue))
        CHECK_IS(ipcr_queue_wait_for_finish(t->queue, IPCR_FOREVER), IPCR_OK);
    return NULL;
}

static void whoever_joins_is_told_when_all_is_finished(void)
{
    for (int round = 0; round < FEWER(2000, 200); round++) {
        struct ipcr_queue *q = handle_on(queue_of(IPCR_KIND_QUEUE, 2, &(struct ipcr_queue_options){ .maxsize = 0 }, 0));
        struct team t = { .queue = q };
        without_time();
        put(q, 0);
        start(&t, 3, join_all);
        if (round % 2 == 0)
            wait_until_asleep(3);
        check_gets(q, 0);
        CHECK_IS(ipcr_queue_finish_many(q, 1), IPCR_OK);
        finish(&t);
        with_time();
        finish_queue(q);
    }
}

int main(void)
{
    check_begin();
    sleeps_begin();
    run("nobody sleeps on in lanes that are always full or empty",
        nobody_sleeps_on_in_lanes_that_are_always_full_or_empty);
    run("nobody sleeps on in a queue of at most two messages", nobody_sleeps_on_in_a_queue_of_at_most_two_messages);
    run("nobody sleeps on when both the lane and the queue are full",
        nobody_sleeps_on_when_both_the_lane_and_the_queue_are_full);
    run("as many as there are messages wake up", as_many_as_there_are_messages_wake_up);
    run("every receipt is told, however many threads wait", every_receipt_is_told_however_many_threads_wait);
    run("whoever joins is told when all is finished", whoever_joins_is_told_when_all_is_finished);
    return check_finish();
}

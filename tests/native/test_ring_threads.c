/* test_ring_threads.c - a writer's and a reader's thread on one mapping (so that ThreadSanitizer sees
 * both): every message is stamped with its sequence, and nothing is lost, doubled, reordered or torn. */
#include "check.h"
#include "ring.h"
#include "stats.h"

#include <pthread.h>

enum { MESSAGES = FEWER(1200000, 120000) };

struct course {
    struct ipcr_segment *segment;
    uint64_t messages;
    uint64_t most;     /* bytes of payload */
    uint64_t batch;    /* staged or consumed before one publication or release, at most */
    bool in_place;     /* claims and peeks beside copies */
    bool changing;     /* each side is reopened now and then, as by a successor */
    ipcr_word32 over;
};

static uint64_t size_of(const struct course *c, uint64_t sequence) { return mixed(sequence * 3 + 1) % (c->most + 1); }

static void *write_all(void *arg)
{
    struct course *c = arg;
    struct ipcr_segment *s = c->segment;
    struct ipcr_ring_writer w;
    uint8_t *payload, *copy = malloc(c->most + 1);
    uint64_t random = 77, staged = 0;
    CHECK_IS(ipcr_ring_writer_open(&w, s->header, s->data, s->capacity), IPCR_OK);
    const uint64_t end = w.sequence + c->messages;
    while (w.sequence < end) {
        const uint64_t sequence = w.sequence, size = size_of(c, sequence), info = IPCR_INFO(sequence, IPCR_ARRAY);
        const uint64_t choice = random_next(&random);
        int rc;
        if (c->in_place && choice % 3 == 0) {
            const uint64_t claimed = choice % 2 == 0 && size + 24 <= c->most ? size + 24 : size;
            rc = ipcr_ring_claim(&w, claimed, &payload);
            if (rc == IPCR_OK) {
                stamp(payload, size, sequence);
                ipcr_ring_stage_claimed(&w, payload, size, info);
            }
        } else {
            stamp(copy, size, sequence);
            rc = ipcr_ring_stage(&w, copy, size, info);
        }
        staged += rc == IPCR_OK;
        if (staged > 0 && (rc != IPCR_OK || choice % c->batch == 0)) {
            ipcr_ring_publish(&w);
            staged = 0;
            if (c->changing && choice % 64 == 0)
                CHECK_IS(ipcr_ring_writer_open(&w, s->header, s->data, s->capacity), IPCR_OK);
        }
        if (rc != IPCR_OK) {
            CHECK_IS(rc, IPCR_FULL);
            sched_yield();
        }
    }
    ipcr_ring_publish(&w);
    free(copy);
    return NULL;
}

static void *read_all(void *arg)
{
    struct course *c = arg;
    struct ipcr_segment *s = c->segment;
    struct ipcr_ring_reader r;
    struct ipcr_record_view view;
    uint8_t *copy = malloc(c->most + 1);
    uint64_t random = 99, consumed = 0;
    CHECK_IS(ipcr_ring_reader_open(&r, s->header, s->data, s->capacity), IPCR_OK);
    const uint64_t end = r.sequence + c->messages;
    while (r.sequence < end) {
        const uint64_t sequence = r.sequence, choice = random_next(&random);
        const int rc = ipcr_ring_next(&r, &view);
        if (rc == IPCR_OK) {
            CHECK_IS(view.length, size_of(c, sequence));
            CHECK_IS(view.info, IPCR_INFO(sequence, IPCR_ARRAY));
            if (c->in_place && choice % 3 != 0) {
                CHECK(is_stamped(view.payload, view.length, sequence));
            } else {
                copy_out(copy, view.payload, view.length);
                CHECK(is_stamped(copy, view.length, sequence));
            }
            ipcr_ring_consume(&r, view.length);
            consumed++;
        } else {
            CHECK_IS(rc, IPCR_EMPTY);
        }
        if (consumed > 0 && (rc != IPCR_OK || choice % c->batch == 0)) {
            ipcr_ring_release(&r);
            consumed = 0;
            if (c->changing && choice % 64 == 0)
                CHECK_IS(ipcr_ring_reader_open(&r, s->header, s->data, s->capacity), IPCR_OK);
        }
        if (rc != IPCR_OK)
            sched_yield();
    }
    ipcr_ring_release(&r);
    CHECK_IS(ipcr_ring_next(&r, &view), IPCR_EMPTY);
    free(copy);
    return NULL;
}

static void both(struct course *c)
{
    pthread_t writer, reader;
    CHECK(pthread_create(&writer, NULL, write_all, c) == 0);
    CHECK(pthread_create(&reader, NULL, read_all, c) == 0);
    CHECK(pthread_join(writer, NULL) == 0);
    CHECK(pthread_join(reader, NULL) == 0);
}

static void alone(struct course c, uint64_t capacity, uint64_t start)
{
    c.segment = anonymous(capacity, start);
    both(&c);
    ipcr_segment_release(c.segment);
}

static void small_messages_arrive_in_order(void)
{
    alone((struct course){ .messages = MESSAGES, .most = 64, .batch = 1 }, 65536, 0);
}

static void messages_of_any_size_arrive_whole_through_the_smallest_ring(void)
{
    alone((struct course){ .messages = MESSAGES / 4, .most = 4096 - IPCR_RECORD_HEADER, .batch = 1 }, 4096, 0);
}

static void batches_claims_and_peeks_mix(void)
{
    alone((struct course){ .messages = MESSAGES, .most = 300, .batch = 16, .in_place = true }, 16384, 0);
}

static void positions_cross_2_to_the_64_under_way(void)
{
    alone((struct course){ .messages = MESSAGES / 4, .most = 200, .batch = 4, .in_place = true }, 4096,
          0 - UINT64_C(1000000) * 8);
}

static void sides_reopened_under_way_lose_nothing(void)
{
    alone((struct course){ .messages = MESSAGES / 2, .most = 100, .batch = 3, .in_place = true, .changing = true },
          4096, 0);
}

/* R19: the role moves between threads; what orders them is the join (in life: the role's lock byte). */
static void both_roles_may_move_from_thread_to_thread(void)
{
    struct course c = { .messages = 500, .most = 48, .batch = 4 };
    c.segment = anonymous(4096, 0);
    for (int round = 0; round < FEWER(1000, 100); round++)
        both(&c);
    CHECK_IS(load_relaxed64(&c.segment->header->at[IPCR_SENDER].position),
             load_relaxed64(&c.segment->header->at[IPCR_RECEIVER].position));
    ipcr_segment_release(c.segment);
}

/* M: statistics taken meanwhile never show more received than sent, nor anything going backwards. */
static void *observe(void *arg)
{
    struct course *c = arg;
    struct ipcr_stats now, last;
    uint64_t looks = 0;
    memset(&last, 0, sizeof last);
    while (load_acquire32(&c->over) == 0 || looks == 0) {
        CHECK_IS(ipcr_stats_of_segment(c->segment, &now), IPCR_OK);
        CHECK(now.side[IPCR_RECEIVER].messages <= now.side[IPCR_SENDER].messages);
        CHECK(now.side[IPCR_RECEIVER].bytes <= now.side[IPCR_SENDER].bytes);
        for (int side = 0; side < IPCR_SIDES; side++) {
            CHECK(now.side[side].messages >= last.side[side].messages);
            CHECK(now.side[side].bytes >= last.side[side].bytes);
            CHECK(now.side[side].bytes == now.side[side].messages * 40); /* one consistent pair */
        }
        last = now;
        looks++;
    }
    return NULL;
}

static void *write_forties(void *arg)
{
    struct course *c = arg;
    struct ipcr_ring_writer w;
    const uint8_t message[40] = { 0 };
    CHECK_IS(ipcr_ring_writer_open(&w, c->segment->header, c->segment->data, c->segment->capacity), IPCR_OK);
    while (w.sequence < c->messages)
        if (ipcr_ring_try_write(&w, message, sizeof message, 0) != IPCR_OK)
            sched_yield();
    return NULL;
}

static void *read_forties(void *arg)
{
    struct course *c = arg;
    struct ipcr_ring_reader r;
    uint8_t message[40];
    uint64_t length, info;
    CHECK_IS(ipcr_ring_reader_open(&r, c->segment->header, c->segment->data, c->segment->capacity), IPCR_OK);
    while (r.sequence < c->messages)
        if (ipcr_ring_try_read(&r, message, sizeof message, &length, &info) != IPCR_OK)
            sched_yield();
    return NULL;
}

static void statistics_taken_meanwhile_are_consistent(void)
{
    struct course c = { .messages = MESSAGES, .segment = anonymous(4096, 0) };
    pthread_t writer, reader, observer;
    CHECK(pthread_create(&observer, NULL, observe, &c) == 0);
    CHECK(pthread_create(&writer, NULL, write_forties, &c) == 0);
    CHECK(pthread_create(&reader, NULL, read_forties, &c) == 0);
    CHECK(pthread_join(writer, NULL) == 0 && pthread_join(reader, NULL) == 0);
    store_release32(&c.over, 1);
    CHECK(pthread_join(observer, NULL) == 0);
    struct ipcr_stats stats;
    CHECK_IS(ipcr_stats_of_segment(c.segment, &stats), IPCR_OK);
    CHECK_IS(stats.side[IPCR_SENDER].messages, MESSAGES);
    CHECK_IS(stats.side[IPCR_RECEIVER].messages, MESSAGES);
    ipcr_segment_release(c.segment);
}

int main(void)
{
    check_begin();
    run("small messages arrive in order", small_messages_arrive_in_order);
    run("messages of any size arrive whole through the smallest ring",
        messages_of_any_size_arrive_whole_through_the_smallest_ring);
    run("batches, claims and peeks mix", batches_claims_and_peeks_mix);
    run("positions cross 2^64 under way", positions_cross_2_to_the_64_under_way);
    run("sides reopened under way lose nothing", sides_reopened_under_way_lose_nothing);
    run("both roles may move from thread to thread", both_roles_may_move_from_thread_to_thread);
    run("statistics taken meanwhile are consistent", statistics_taken_meanwhile_are_consistent);
    return check_finish();
}

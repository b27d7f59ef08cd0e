/* queues.h - queues with messages in them: opened, put, leased, and looked at from outside. */
#ifndef IPCR_TESTS_QUEUES_H
#define IPCR_TESTS_QUEUES_H

#include "check.h"
#include "lanes.h"
#include "queue.h"
#include "queue_stats.h"

enum { LANE = 4096, MOST_HELD = 4096 }; /* bytes of data in the smallest lane; messages that a test may hold */

#define SECONDS(n) ((uint64_t)(n) * UINT64_C(1000000000))

static inline struct ipcr_segment *queue_of(uint32_t kind, uint32_t lanes, const struct ipcr_queue_options *options,
                                            uint64_t start)
{
    struct ipcr_segment *s = NULL;
    struct ipcr_queue_options o = *options;
    o.slots = o.slots == 0 ? 32 : o.slots;
    o.lanes_each = o.lanes_each == 0 ? 1 : o.lanes_each;
    CHECK_IS(ipcr_segment_create_queue(NULL, "ipc:test", kind, LANE, lanes, &o, start, &s), IPCR_OK);
    return s;
}

static inline struct ipcr_segment *reliable(const struct ipcr_queue_options *options)
{
    return queue_of(IPCR_KIND_RELIABLE, 4, options, 0);
}

/* Each handle is a producer and a consumer of its own, as if it were a process. */
static inline struct ipcr_queue *handle_on(struct ipcr_segment *s)
{
    struct ipcr_queue *q = NULL;
    CHECK_IS(ipcr_queue_open(s, 0, &q), IPCR_OK);
    return q;
}

/* The last handle, and the segment with it. */
static inline void finish_queue(struct ipcr_queue *q)
{
    struct ipcr_segment *s = q->segment;
    ipcr_queue_free(q);
    ipcr_segment_release(s);
}

/* --- messages that know their number ---------------------------------------------------------------------------- */

/* Takes lanes as they are needed.  The number is in `info`, so that a message may be empty. */
static inline int put_with(struct ipcr_queue *q, uint64_t number, uint64_t length, uint64_t ttl_ns, uint64_t *id)
{
    uint8_t message[LANE + 64];
    const struct ipcr_piece piece = { .data = (const char *)message, .length = length };
    struct ipcr_put put = { .info = IPCR_INFO(number, IPCR_BYTES), .ttl_ns = ttl_ns };
    CHECK(length <= sizeof message);
    stamp(message, length, number);
    int rc;
    while ((rc = ipcr_queue_put_pieces(q, &piece, 1, &put)) == IPCR_NOT_TAKEN) {
        rc = ipcr_queue_take_lane(q, true);
        if (rc == IPCR_TAKEN && ipcr_queue_has_lane(q))
            continue; /* there are no more: make do with those */
        if (rc != IPCR_OK)
            return rc;
    }
    if (id != NULL)
        *id = put.id;
    return rc;
}

static inline int try_put(struct ipcr_queue *q, uint64_t number) { return put_with(q, number, 24, 0, NULL); }

static inline uint64_t put(struct ipcr_queue *q, uint64_t number)
{
    uint64_t id = 0;
    CHECK_IS(put_with(q, number, 24, 0, &id), IPCR_OK);
    return id;
}

static inline void check_message(const struct ipcr_lease *l, const char *bytes, uint64_t number)
{
    CHECK_IS(IPCR_INFO_TYPE(l->info), number);
    CHECK(is_stamped((const uint8_t *)bytes, l->length, number));
}

static inline int try_lease(struct ipcr_queue *q, uint64_t lease_ns, struct ipcr_lease *out)
{
    char bytes[LANE];
    int rc = ipcr_queue_lease(q, lease_ns, out);
    if (rc == IPCR_OK)
        rc = ipcr_lease_copy(q, out, bytes);
    if (rc == IPCR_OK)
        check_message(out, bytes, IPCR_INFO_TYPE(out->info));
    return rc;
}

/* The next message, which must be this one, in its `deliveries`th delivery. */
static inline struct ipcr_lease leased(struct ipcr_queue *q, uint64_t lease_ns, uint64_t number, uint32_t deliveries)
{
    struct ipcr_lease l = { .id = 0 };
    CHECK_IS(try_lease(q, lease_ns, &l), IPCR_OK);
    CHECK_IS(IPCR_INFO_TYPE(l.info), number);
    CHECK_IS(l.deliveries, deliveries);
    return l;
}

static inline int try_get(struct ipcr_queue *q, uint64_t *number)
{
    char bytes[LANE];
    struct ipcr_lease l;
    const int rc = ipcr_queue_get(q, bytes, sizeof bytes, &l);
    if (rc != IPCR_OK)
        return rc;
    *number = IPCR_INFO_TYPE(l.info);
    check_message(&l, bytes, *number);
    return rc;
}

/* As many as fit into the memory; acknowledged. */
static inline int64_t get_many(struct ipcr_queue *q, char *out, uint64_t room, int64_t *results, uint64_t most)
{
    struct ipcr_lease leases[64];
    CHECK(most <= 64);
    const int64_t n = ipcr_queue_lease_many(q, out, room, leases, results, most);
    return n <= 0 ? n : (int64_t)ipcr_lease_end_many(q, leases, (uint64_t)n, (uint64_t)n);
}

static inline void check_gets(struct ipcr_queue *q, uint64_t number)
{
    uint64_t got = 0;
    CHECK_IS(try_get(q, &got), IPCR_OK);
    CHECK_IS(got, number);
}

static inline void check_is_empty(struct ipcr_queue *q)
{
    struct ipcr_lease l;
    CHECK_IS(ipcr_queue_lease(q, 0, &l), IPCR_EMPTY);
}

/* --- from outside ------------------------------------------------------------------------------------------------- */

static inline struct ipcr_slot *slot_of_lease(const struct ipcr_queue *q, const struct ipcr_lease *l)
{
    return ipcr_slot_at(&q->segment->lane[l->lane], l->sequence);
}

static inline uint64_t state_of(const struct ipcr_queue *q, const struct ipcr_lease *l)
{
    return load_acquire64(&slot_of_lease(q, l)->state);
}

static inline struct ipcr_lane_words *words_of(const struct ipcr_queue *q, uint32_t lane)
{
    return q->segment->lane[lane].words;
}

/* As if the lease had been made so long ago: its end has come. */
static inline void let_it_run_out(const struct ipcr_queue *q, struct ipcr_lease *l)
{
    const uint32_t past = (uint32_t)(now_ns() / IPCR_TIME_UNIT_NS) & IPCR_NO_TIME;
    const uint64_t late = ipcr_with(l->held, IPCR_LEASED, ipcr_holder_of(l->held), ipcr_deliveries_of(l->held), past);
    CHECK(ipcr_change(slot_of_lease(q, l), l->held, late));
    l->held = late;
}

static inline void repair(struct ipcr_queue *q)
{
    pthread_mutex_lock(&q->consuming);
    CHECK_IS(ipcr_queue_repair(q, now_ns()), IPCR_OK);
    pthread_mutex_unlock(&q->consuming);
}

/* The numbers of all lanes together. */
static inline struct ipcr_lane_stats totals(const struct ipcr_segment *s)
{
    struct ipcr_queue_stats all;
    struct ipcr_lane_stats lanes[64], sum = { .put = 0 };
    CHECK(s->lanes <= 64);
    CHECK_IS(ipcr_queue_stats(s, &all, lanes, s->lanes), IPCR_OK);
    for (uint32_t i = 0; i < s->lanes; i++) {
        sum.put += lanes[i].put;
        sum.delivered += lanes[i].delivered;
        sum.redelivered += lanes[i].redelivered;
        sum.acknowledged += lanes[i].acknowledged;
        sum.dead += lanes[i].dead;
        sum.ready += lanes[i].ready;
        sum.leased += lanes[i].leased;
        sum.kept += lanes[i].kept;
    }
    return sum;
}

#endif

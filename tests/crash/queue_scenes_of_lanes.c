/* queue_scenes_of_lanes.c - scenes for producers: what lane they find.  The victim has, or will have, lane 0, whose
 * predecessor has left it or died; a consumer with another number lives on.  See queue_scenes.h. */
#include "queue_scenes.h"

/* As many messages as there may be. */
static uint32_t fill_of(const struct stage *s)
{
    const uint64_t maxsize = s->operation->shape->maxsize;
    return maxsize != 0 && maxsize < s->operation->shape->slots ? (uint32_t)maxsize : slots_of(s);
}

static void new_lane(struct stage *s) { stays(s, with_a_number(s)); }

/* One who dies; the past is in its lane, and a consumer of another number lives on. */
static struct ipcr_queue *predecessor(struct stage *s, struct ipcr_queue **consumer)
{
    struct ipcr_queue *q = mere_producer(s);
    *consumer = enters(s);
    for (uint32_t i = 0; i < slots_of(s) + 1; i++) {
        brings(s, q, 1);
        takes(s, *consumer, 1);
    }
    return q;
}

static void left_empty(struct stage *s)
{
    struct ipcr_queue *c, *q = predecessor(s, &c);
    leaves(q);
    stays(s, c);
}

/* So many are put, of which the consumer acknowledges and holds some. */
static struct ipcr_queue *left(struct stage *s, uint32_t unread, uint32_t acked, uint32_t held)
{
    struct ipcr_queue *c, *q = predecessor(s, &c);
    brings(s, q, unread);
    takes(s, c, acked);
    while (held-- > 0)
        leases(s, c, 0);
    dies(q);
    return c;
}

static void left_unread(struct stage *s) { stays(s, left(s, 2, 0, 0)); }

static void left_held(struct stage *s)
{
    struct ipcr_queue *c = left(s, slots_of(s), 0, 1), *dead = enters(s);
    leases(s, dead, 0);
    dies(dead);
    stays(s, c);
}

static void head_behind(struct stage *s)
{
    struct ipcr_queue *c = left(s, slots_of(s) - 1, 0, 0);
    store_relaxed64(&lane_words(s)->head, load_relaxed64(&lane_words(s)->head) - 1);
    stays(s, c);
}

static void scribbled(struct stage *s)
{
    struct ipcr_queue *c = left(s, 2, 0, 0);
    struct ipcr_lane_words *w = lane_words(s);
    const struct ipcr_lane *lane = &s->segment->lane[0];
    const uint64_t next = load_relaxed64(&w->head), freed = load_relaxed64(&w->freed);
    CHECK(next - freed < slots_of(s)); /* so that the slot is free */
    struct ipcr_slot *slot = ipcr_slot_at(lane, next);
    const struct ipcr_slot *last = ipcr_slot_at(lane, next - 1);
    memset(lane->data + ((load_relaxed64(&last->position) + ipcr_padded(load_relaxed64(&last->length))) &
                         (s->segment->capacity - 1)),
           0xee, 100);
    store_relaxed64(&slot->sequence, next);
    store_relaxed64(&slot->position, UINT64_MAX);
    store_relaxed64(&slot->length, UINT64_MAX);
    struct ipcr_lane_mark *mark = &w->mark[load_relaxed64(&w->mark[0].freed) == freed];
    store_relaxed64(&mark->freed, freed + 1);
    store_relaxed64(&mark->deliveries, UINT64_MAX);
    stays(s, c);
}

static void nearly_full(struct stage *s) { stays(s, left(s, slots_of(s) - 1, 0, 0)); }
static void reclaim_all(struct stage *s) { stays(s, left(s, fill_of(s), fill_of(s), 0)); }
static void reclaim_one(struct stage *s) { stays(s, left(s, slots_of(s), 1, 1)); }
static void no_room(struct stage *s) { stays(s, left(s, fill_of(s), 0, 0)); }
static void one_to_go(struct stage *s) { stays(s, left(s, fill_of(s) - 1, 0, 0)); }

static void dead_consumer(struct stage *s)
{
    struct ipcr_queue *c = left(s, slots_of(s), 0, 0), *dead = enters(s);
    for (uint32_t i = 0; i < slots_of(s); i++)
        leases(s, dead, 0);
    dies(dead);
    stays(s, c);
}

/* Two messages that leave no room in the data, although there are slots; both done with. */
static void bytes_before_end(struct stage *s)
{
    struct ipcr_queue *q = mere_producer(s), *c = enters(s);
    const uint64_t all = s->operation->capacity - s->start->position;
    brings_sized(s, q, all - 2000, 0);
    brings_sized(s, q, 2000, 0);
    takes(s, c, 2);
    dies(q);
    stays(s, c);
}

void (*const producer_scenes[SCENES])(struct stage *s) = {
    [NEW_LANE] = new_lane,
    [LEFT_EMPTY] = left_empty,
    [LEFT_UNREAD] = left_unread,
    [LEFT_HELD] = left_held,
    [HEAD_BEHIND] = head_behind,
    [SCRIBBLED] = scribbled,
    [NEARLY_FULL] = nearly_full,
    [RECLAIM_ALL] = reclaim_all,
    [RECLAIM_ONE] = reclaim_one,
    [NO_ROOM] = no_room,
    [ONE_TO_GO] = one_to_go,
    [DEAD_CONSUMER] = dead_consumer,
    [BYTES_BEFORE_END] = bytes_before_end,
};

/* queue_scenes.c - scenes for consumers, and how each begins; see queue_scenes.h. */
#include "queue_scenes.h"
#include "clock.h"

enum { SHORT = 100, LONG = 1000 }; /* seconds */

static struct standing *now_of(struct stage *s, uint32_t number) { return &s->play->messages[number].now; }

/* A producer who also takes what it has put, so that lane and marks have a past. */
static struct ipcr_queue *producer(struct stage *s)
{
    struct ipcr_queue *q = enters(s);
    for (uint32_t i = 0; i < slots_of(s) + 1; i++) {
        brings(s, q, 1);
        takes(s, q, 1);
    }
    return q;
}

/* --- consumers ---------------------------------------------------------------------------------------------------- */

static void no_message(struct stage *s) { stays(s, producer(s)); }

static void one_ready(struct stage *s)
{
    struct ipcr_queue *q = producer(s);
    brings(s, q, 1);
    stays(s, q);
}

static void lane_full(struct stage *s)
{
    struct ipcr_queue *q = producer(s);
    brings(s, q, slots_of(s));
    stays(s, q);
}

static void two_lanes(struct stage *s)
{
    struct ipcr_queue *first = producer(s), *second = mere_producer(s);
    brings(s, second, 1);
    brings(s, first, 1);
    brings(s, second, 1);
    dies(second);
    stays(s, first);
}

static void second_lane(struct stage *s)
{
    struct ipcr_queue *first = producer(s), *second = mere_producer(s);
    brings(s, second, 1);
    dies(second);
    stays(s, first);
}

static void behind_held(struct stage *s)
{
    struct ipcr_queue *q = producer(s);
    brings(s, q, slots_of(s));
    leases(s, q, 0);
    stays(s, q);
}

static void over_done(struct stage *s)
{
    struct ipcr_queue *q = producer(s);
    brings(s, q, slots_of(s));
    leases(s, q, 0);
    takes(s, q, 1);
    stays(s, q);
}

/* Whole laps that nobody has looked at: messages that are thrown away move no hint of the consumers. */
static void go_by(struct stage *s, struct ipcr_queue *q, uint32_t laps)
{
    while (laps-- > 0) {
        const uint32_t from = s->play->count;
        brings(s, q, slots_of(s));
        CHECK_IS(ipcr_queue_purge(q, false), slots_of(s));
        for (uint32_t n = from; n < s->play->count; n++)
            now_of(s, n)->phase = IPCR_DEAD;
    }
}

static void lapped(struct stage *s)
{
    struct ipcr_queue *q = mere_producer(s);
    go_by(s, q, 3);
    brings(s, q, slots_of(s));
    stays(s, q);
}

static void comes_back_unsaid(struct stage *s, uint32_t number)
{
    struct play *p = s->play;
    struct ipcr_slot *slot = ipcr_slot_at(&s->segment->lane[p->leases[number].lane], p->leases[number].sequence);
    const uint64_t held = p->leases[number].held;
    CHECK(ipcr_change(slot, held, ipcr_after_return(held, IPCR_NO_TIME, s->operation->shape->most_deliveries, 0)));
    *now_of(s, number) = given_back(s, number, *now_of(s, number));
}

/* Somebody will die who holds two messages, and the hint is above the first of them: those in between are done with,
 * and the second stands where the hint was, a lap later. */
static struct ipcr_queue *with_a_high_hint(struct stage *s, uint32_t *first)
{
    struct ipcr_queue *q = producer(s), *dead = with_a_number(s);
    dead->next_repair_ns = UINT64_MAX; /* it has just looked after others, and so moved no hint since */
    brings(s, q, slots_of(s));
    takes(s, q, 1);
    *first = leases(s, dead, 0);
    takes(s, q, slots_of(s) - 2);
    brings(s, q, 1);
    leases(s, dead, 0);
    CHECK((int64_t)(load_acquire64(&lane_words(s)->take) - s->play->leases[*first].sequence) > 0);
    stays(s, q);
    return dead;
}

static void below_hint(struct stage *s)
{
    uint32_t first;
    dies(with_a_high_hint(s, &first));
}

static void hint_above(struct stage *s)
{
    uint32_t first;
    struct ipcr_queue *dead = with_a_high_hint(s, &first);
    comes_back_unsaid(s, first);
    dies(dead);
}

static void dead_number(struct stage *s)
{
    struct ipcr_queue *q = mere_producer(s), *dead = enters(s);
    brings(s, q, slots_of(s));
    leases(s, dead, 0);
    leases(s, dead, LONG);
    dies(dead);
    stays(s, q);
}

static struct ipcr_queue *with_two_held(struct stage *s, struct ipcr_queue *q)
{
    struct ipcr_queue *goes = with_a_number(s), *dead = with_a_number(s);
    brings(s, q, slots_of(s));
    leases(s, dead, 0);
    leases(s, dead, 0);
    leaves(goes);
    return dead;
}

static void dead_to_bury(struct stage *s)
{
    struct ipcr_queue *q = producer(s);
    dies(with_two_held(s, q));
    stays(s, q);
}

static void two_dead(struct stage *s)
{
    struct ipcr_queue *q = producer(s), *other = mere_producer(s), *first = with_a_number(s),
                      *second = with_a_number(s);
    brings(s, q, 1);
    brings(s, other, 1);
    brings(s, q, 1);
    leases(s, first, 0);
    leases(s, second, 0);
    leases(s, first, 0);
    dies(first);
    dies(second);
    dies(other);
    stays(s, q);
}

static void half_buried(struct stage *s)
{
    struct ipcr_queue *q = producer(s), *dead = with_two_held(s, q);
    comes_back_unsaid(s, s->play->count - slots_of(s));
    dies(dead);
    stays(s, q);
}

static void buried_but_one_word(struct stage *s)
{
    struct ipcr_queue *q = producer(s), *dead = with_two_held(s, q);
    comes_back_unsaid(s, s->play->count - slots_of(s));
    comes_back_unsaid(s, s->play->count - slots_of(s) + 1);
    dies(dead);
    stays(s, q);
}

static void ran_out(struct stage *s)
{
    struct ipcr_queue *q = producer(s);
    brings(s, q, slots_of(s));
    now_of(s, leases(s, q, SHORT))->date = PAST;
    now_of(s, leases(s, q, SHORT))->date = PAST;
    time_passes(LONG);
    stays(s, q);
}

static void delayed(struct stage *s)
{
    struct ipcr_queue *q = producer(s);
    brings(s, q, 2);
    const uint32_t number = leases(s, q, 0);
    CHECK_IS(ipcr_lease_nack(q, &s->play->leases[number], UINT64_C(1000000000) * LONG), IPCR_OK);
    *now_of(s, number) = (struct standing){ .phase = IPCR_READY, .deliveries = 1, .date = LATER };
    stays(s, q);
}

static void perished(struct stage *s)
{
    struct ipcr_queue *q = producer(s);
    brings_sized(s, q, 24, UINT64_C(1000000000));
    s->play->messages[s->play->count - 1].perished = true;
    brings(s, q, 1);
    time_passes(LONG);
    stays(s, q);
}

/* Delivered, and given back, as often as it may be; the last time to `last`. */
static uint32_t delivered_too_often(struct stage *s, struct ipcr_queue *q, struct ipcr_queue *last)
{
    brings(s, q, 1);
    for (uint64_t i = 1; i < s->operation->shape->most_deliveries; i++) {
        const uint32_t number = leases(s, q, 0);
        CHECK_IS(ipcr_lease_nack(q, &s->play->leases[number], 0), IPCR_OK);
        *now_of(s, number) = given_back(s, number, *now_of(s, number));
    }
    return leases(s, last, 0);
}

static void exhausted(struct stage *s)
{
    struct ipcr_queue *q = producer(s), *dead = with_a_number(s);
    delivered_too_often(s, q, dead);
    brings(s, q, 1);
    dies(dead);
    stays(s, q);
}

static void kept(struct stage *s)
{
    struct ipcr_queue *q = producer(s);
    const uint32_t number = delivered_too_often(s, q, q);
    CHECK_IS(ipcr_lease_nack(q, &s->play->leases[number], 0), IPCR_OK);
    *now_of(s, number) = given_back(s, number, *now_of(s, number));
    brings_sized(s, q, 24, UINT64_C(1000000000));
    brings(s, q, 1);
    time_passes(LONG);
    *now_of(s, number + 1) = (struct standing){ .phase = IPCR_KEPT, .holder = IPCR_KEPT_EXPIRED };
    leases(s, q, 0); /* finds out that the second's time is over, and gets the third */
    brings(s, q, 1);
    stays(s, q);
}

static void (*const consumer_scenes[SCENES])(struct stage *s) = {
    [NO_MESSAGE] = no_message,
    [ONE_READY] = one_ready,
    [LANE_FULL] = lane_full,
    [TWO_LANES] = two_lanes,
    [SECOND_LANE] = second_lane,
    [BEHIND_HELD] = behind_held,
    [OVER_DONE] = over_done,
    [LAPPED] = lapped,
    [BELOW_HINT] = below_hint,
    [HINT_ABOVE] = hint_above,
    [DEAD_NUMBER] = dead_number,
    [DEAD_TO_BURY] = dead_to_bury,
    [TWO_DEAD] = two_dead,
    [HALF_BURIED] = half_buried,
    [BURIED_BUT_ONE_WORD] = buried_but_one_word,
    [RAN_OUT] = ran_out,
    [DELAYED] = delayed,
    [PERISHED] = perished,
    [EXHAUSTED] = exhausted,
    [KEPT] = kept,
};

/* --- the stage ---------------------------------------------------------------------------------------------------- */

/* Would a repair do anything? */
static bool is_quiet(const struct stage *s)
{
    const struct ipcr_queue_header *header = ipcr_queue_header(s->segment);
    for (uint32_t i = 0; i < load_acquire32(&header->holders_high); i++)
        if (load_acquire32(&header->holders[i].active) != 0 && is_free(s->segment, IPCR_LOCK_HOLDER(i)))
            return false;
    for (uint32_t n = 0; n < s->play->count; n++)
        if (s->play->messages[n].now.date == PAST)
            return false;
    return true;
}

void prepare_queue(struct stage *s)
{
    const struct queue_shape *shape = s->operation->shape;
    const struct ipcr_queue_options options = {
        .slots = shape->slots, .maxsize = shape->maxsize, .max_deliveries = shape->most_deliveries, .lanes_each = 1,
    };
    const uint64_t first = s->start->filled == BYTES_BEFORE_END ? 0 : s->start->position;
    CHECK(shape->lanes <= LANES_ON_STAGE);
    ledger_begin(s);
    s->play = calloc(1, sizeof *s->play);
    CHECK(s->play != NULL);
    CHECK_IS(ipcr_segment_create_queue(NULL, "ipc:test", shape->kind, s->operation->capacity, shape->lanes, &options,
                                       first, &s->segment),
             IPCR_OK);
    segment_lives_on(s, s->segment);
    const enum queue_scene scene = (enum queue_scene)s->start->filled;
    (scene < NEW_LANE ? consumer_scenes : producer_scenes)[scene](s);
    for (uint32_t n = 0; n < s->play->count; n++)
        s->play->foreseen[n] = s->play->messages[n].now;
    s->play->quiet = is_quiet(s);
    if (s->operation->plan != NULL)
        s->operation->plan(s);
}

void open_queue(struct stage *s) { s->queue = enters(s); }

void open_with_lane(struct stage *s)
{
    open_queue(s);
    takes_a_lane(s->queue);
    CHECK_IS(s->queue->own[0].index, s->play->victim_lane);
}

/* A repair finds nothing to do as long as nobody is dead, whatever the victim is about to do. */
const char *observe_repairing(struct stage *s)
{
    if (!s->play->quiet || s->play->mate == NULL)
        return NULL;
    return ipcr_queue_repair(s->play->mate, now_ns()) == IPCR_OK ? NULL : "the living can't repair";
}

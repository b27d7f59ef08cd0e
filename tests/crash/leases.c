/* leases.c - somebody who holds messages dies: acknowledging, giving back, extending, burying; and those that are kept.
 *
 * The operation begins with leases that the victim has got before, in peace.
 */
#include "queue_scenes.h"

enum { MOST_HELD = 4 };
#define A_LONG_TIME_NS UINT64_C(1000000000000)

static struct ipcr_lease held[MOST_HELD];
static uint32_t why;

static void approach_with_lease(struct stage *s)
{
    open_queue(s);
    CHECK_IS(ipcr_queue_lease(s->queue, 0, &held[0]), IPCR_OK);
}

static void approach_with_lease_for_a_time(struct stage *s)
{
    open_queue(s);
    CHECK_IS(ipcr_queue_lease(s->queue, A_LONG_TIME_NS, &held[0]), IPCR_OK);
}

/* Somebody waits for this very message's end, as far as their words say. */
static void approach_with_sleepers(struct stage *s)
{
    approach_with_lease(s);
    struct ipcr_lane_words *w = s->segment->lane[held[0].lane].words;
    store_release64(&w->room_at, held[0].sequence);
    store_release64(&w->outcome_at, IPCR_ANY_OUTCOME);
    store_release32(&w->room_parked, 1);
    store_release32(&w->outcome_parked, 1);
    store_release32(&s->queue->header->room_parked, 1);
    store_release32(&s->queue->header->consumers_parked, 1);
}

static void approach_with_kept(struct stage *s)
{
    open_queue(s);
    CHECK_IS(ipcr_queue_next_kept(s->queue, 0, &held[0], &why), IPCR_OK);
}

/* The second of them: its time was over. */
static void approach_with_expired(struct stage *s)
{
    approach_with_kept(s);
    const uint64_t first = held[0].id;
    CHECK_IS(ipcr_lease_keep(s->queue, &held[0], why), IPCR_OK);
    CHECK_IS(ipcr_queue_next_kept(s->queue, first, &held[0], &why), IPCR_OK);
}

static int64_t ack(struct stage *s) { return ipcr_lease_ack(s->queue, &held[0]); }
static int64_t bury(struct stage *s) { return ipcr_lease_bury(s->queue, &held[0]); }
static int64_t nack(struct stage *s) { return ipcr_lease_nack(s->queue, &held[0], 0); }
static int64_t nack_for_later(struct stage *s) { return ipcr_lease_nack(s->queue, &held[0], A_LONG_TIME_NS); }
static int64_t set_an_end(struct stage *s) { return ipcr_lease_extend(s->queue, &held[0], A_LONG_TIME_NS); }
static int64_t take_the_end_away(struct stage *s) { return ipcr_lease_extend(s->queue, &held[0], 0); }
static int64_t keep(struct stage *s) { return ipcr_lease_keep(s->queue, &held[0], why); }
static int64_t requeue(struct stage *s) { return ipcr_lease_requeue(s->queue, &held[0]); }
static int64_t next_kept(struct stage *s) { return ipcr_queue_next_kept(s->queue, 0, &held[0], &why); }

/* Two messages, in the order in which they came. */
static void approach_with_two(struct stage *s)
{
    approach_with_lease(s);
    CHECK_IS(ipcr_queue_lease(s->queue, 0, &held[1]), IPCR_OK);
}

static int64_t ack_the_other_way_round(struct stage *s)
{
    CHECK_IS(ipcr_lease_ack(s->queue, &held[1]), IPCR_OK);
    return ipcr_lease_ack(s->queue, &held[0]);
}

/* Another was as slow as that: his lease is over, and so somebody has the message; nothing that he does changes it. */
static void approach_too_late(struct stage *s)
{
    approach_with_lease(s);
    held[0].held = ipcr_with(held[0].held, IPCR_LEASED, ipcr_holder_of(held[0].held), 2, IPCR_NO_TIME);
}

static int64_t everything_too_late(struct stage *s)
{
    CHECK_IS(ipcr_lease_ack(s->queue, &held[0]), IPCR_LEASE_LOST);
    CHECK_IS(ipcr_lease_nack(s->queue, &held[0], 0), IPCR_LEASE_LOST);
    CHECK_IS(ipcr_lease_extend(s->queue, &held[0], 0), IPCR_LEASE_LOST);
    return ipcr_lease_bury(s->queue, &held[0]);
}

/* --- what they will do -------------------------------------------------------------------------------------------- */

static uint32_t holds(struct stage *s, enum date until)
{
    will_register(s);
    will_repair(s, true);
    const uint32_t number = will_lease(s, until);
    script_begins(s);
    return number;
}

static void plan_ack(struct stage *s) { will_ack(s, holds(s, NEVER), false); }
static void plan_nack(struct stage *s) { will_return(s, holds(s, NEVER), NEVER); }
static void plan_nack_for_later(struct stage *s) { will_return(s, holds(s, NEVER), LATER); }

static void plan_becomes(struct stage *s, uint32_t number, uint32_t phase, enum date date)
{
    struct standing it = s->play->foreseen[number];
    it.phase = phase;
    it.date = date;
    script_step(s, number, it, false);
}

static void plan_bury(struct stage *s) { plan_becomes(s, holds(s, NEVER), IPCR_DEAD, NEVER); }
static void plan_an_end(struct stage *s) { plan_becomes(s, holds(s, NEVER), IPCR_LEASED, LATER); }
static void plan_no_end(struct stage *s) { plan_becomes(s, holds(s, LATER), IPCR_LEASED, NEVER); }

static void plan_two(struct stage *s)
{
    will_register(s);
    will_repair(s, true);
    const uint32_t first = will_lease(s, NEVER), second = will_lease(s, NEVER);
    script_begins(s);
    will_ack(s, second, false);
    will_ack(s, first, false);
}

static void plan_nothing(struct stage *s)
{
    holds(s, NEVER);
    s->play->promised = IPCR_LEASE_LOST;
}

/* Kept messages are leased without being counted. */
static uint32_t will_lease_kept(struct stage *s, uint32_t count)
{
    uint32_t number = 0;
    for (;; number++)
        if (s->play->foreseen[number].phase == IPCR_KEPT && count-- == 0)
            break;
    struct standing it = s->play->foreseen[number];
    it.phase = IPCR_LEASED;
    it.holder = s->play->victim_holder;
    script_step(s, number, it, false);
    return number;
}

static void plan_next_kept(struct stage *s)
{
    will_register(s);
    will_lease_kept(s, 0);
}

static uint32_t holds_kept(struct stage *s, uint32_t count)
{
    will_register(s);
    const uint32_t number = will_lease_kept(s, count);
    script_begins(s);
    return number;
}

static void plan_keep(struct stage *s)
{
    const uint32_t number = holds_kept(s, 0);
    script_step(s, number, given_back(s, number, s->play->foreseen[number]), false);
}

static void plan_requeue_first(struct stage *s) { plan_becomes(s, holds_kept(s, 0), IPCR_READY, NEVER); }
static void plan_requeue_second(struct stage *s) { plan_becomes(s, holds_kept(s, 1), IPCR_READY, NEVER); }
static void plan_bury_kept(struct stage *s) { plan_becomes(s, holds_kept(s, 1), IPCR_DEAD, NEVER); }

/* --- where -------------------------------------------------------------------------------------------------------- */

#define COUNTERS(scene)                                                                                       \
    { "at lap 2^19", UINT64_C(524288) * 4 - 4 - 6, scene }, { "sequences pass 2^64", UINT64_C(0) - 4 - 6, scene }

static const struct start starts[] = {
    { "one message", 0, ONE_READY },       { "full", 0, LANE_FULL },
    { "two lanes", 0, TWO_LANES },         { "behind one that is held", 0, BEHIND_HELD },
    { "over one that is done with", 0, OVER_DONE }, { "laps behind", 0, LAPPED },
    COUNTERS(LANE_FULL),
};
static const struct start few[] = { { "one message", 0, ONE_READY }, { "full", 0, LANE_FULL } };
static const struct start several[] = { { "full", 0, LANE_FULL }, { "two lanes", 0, TWO_LANES } };
static const struct start kept[] = { { "two are kept", 0, KEPT } };

static const struct queue_shape again = { IPCR_KIND_RELIABLE, 2, 4, 3, 0 };
static const struct queue_shape narrow = { IPCR_KIND_RELIABLE, 2, 2, 0, 0 };
static const struct queue_shape only_once = { IPCR_KIND_RELIABLE, 2, 4, 1, 0 };

#define HOLDER                                                                                                \
    .capacity = SMALLEST, .ways = WAYS_OF_QUEUES, .prepare = prepare_queue, .observe = observe_repairing,         \
    .check = check_queue

const struct operation lease_operations[] = {
    { .name = "ack", HOLDER, STARTS(starts), .shape = &again, .plan = plan_ack, .approach = approach_with_lease,
      .operate = ack },
    { .name = "ack-for-sleepers", HOLDER, STARTS(few), .shape = &narrow, .plan = plan_ack,
      .approach = approach_with_sleepers, .operate = ack },
    { .name = "ack-two", HOLDER, STARTS(several), .shape = &again, .plan = plan_two, .approach = approach_with_two,
      .operate = ack_the_other_way_round },
    { .name = "nack", HOLDER, STARTS(starts), .shape = &again, .plan = plan_nack, .approach = approach_with_lease,
      .operate = nack },
    { .name = "nack-for-sleepers", HOLDER, STARTS(few), .shape = &narrow, .plan = plan_nack,
      .approach = approach_with_sleepers, .operate = nack },
    { .name = "nack-for-later", HOLDER, STARTS(starts), .shape = &again, .plan = plan_nack_for_later,
      .approach = approach_with_lease, .operate = nack_for_later },
    { .name = "nack-too-often", HOLDER, STARTS(few), .shape = &only_once, .plan = plan_nack,
      .approach = approach_with_lease, .operate = nack },
    { .name = "extend", HOLDER, STARTS(starts), .shape = &again, .plan = plan_an_end, .approach = approach_with_lease,
      .operate = set_an_end },
    { .name = "extend-for-ever", HOLDER, STARTS(few), .shape = &again, .plan = plan_no_end,
      .approach = approach_with_lease_for_a_time, .operate = take_the_end_away },
    { .name = "bury", HOLDER, STARTS(few), .shape = &again, .plan = plan_bury, .approach = approach_with_lease,
      .operate = bury },
    { .name = "too-late", HOLDER, STARTS(few), .shape = &again, .plan = plan_nothing, .approach = approach_too_late,
      .operate = everything_too_late },
    { .name = "next-kept", HOLDER, STARTS(kept), .shape = &again, .plan = plan_next_kept, .approach = open_queue,
      .operate = next_kept },
    { .name = "keep", HOLDER, STARTS(kept), .shape = &again, .plan = plan_keep, .approach = approach_with_kept,
      .operate = keep },
    { .name = "requeue", HOLDER, STARTS(kept), .shape = &again, .plan = plan_requeue_first,
      .approach = approach_with_kept, .operate = requeue },
    { .name = "requeue-expired", HOLDER, STARTS(kept), .shape = &again, .plan = plan_requeue_second,
      .approach = approach_with_expired, .operate = requeue },
    { .name = "bury-kept", HOLDER, STARTS(kept), .shape = &again, .plan = plan_bury_kept,
      .approach = approach_with_expired, .operate = bury },
    { .name = NULL },
};

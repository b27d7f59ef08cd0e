/* putting.c - a producer dies: taking a lane, putting messages, waiting for room, leaving.
 *
 * The promise: what `put` returned from is there; a put that had not returned is there whole, or not at all.
 */
#include "queue_scenes.h"

enum { PATIENCE_MS = 40, IN_A_ROW = 3 };

static uint8_t message[HAND_BYTES]; /* laid out before the operation begins */
static struct ipcr_piece pieces[2];

static void lay_out_next(struct stage *s, uint64_t count)
{
    lay_out(s, message, s->next, count);
    pieces[0].data = (const char *)message;
    pieces[1].data = (const char *)message + pieces[0].length;
}

static void approach_with_lane(struct stage *s)
{
    open_with_lane(s);
    lay_out_next(s, IN_A_ROW);
}

static void approach_with_both(struct stage *s)
{
    approach_with_lane(s);
    CHECK_IS(ipcr_queue_register(s->queue), IPCR_OK);
}

static void approach_without_lane(struct stage *s)
{
    open_queue(s);
    lay_out_next(s, 1);
}

/* The consumers sleep, as far as their word says. */
static void approach_sleepers(struct stage *s)
{
    approach_with_lane(s);
    store_release32(&s->queue->header->consumers_parked, 1);
}

static int64_t was_put(int64_t rc)
{
    CHECK(rc >= 0 || rc == IPCR_FULL);
    return rc >= 0;
}

static int64_t put_one(struct stage *s)
{
    return was_put(ipcr_queue_put_one(s->queue, (const char *)message, length_of(s, s->next),
                                      IPCR_INFO(s->next, IPCR_BYTES), 0));
}

static int64_t take_lane_and_put(struct stage *s)
{
    CHECK_IS(ipcr_queue_take_lane(s->queue, true), IPCR_OK);
    return put_one(s);
}

static int64_t take_empty_lane(struct stage *s) { return ipcr_queue_take_lane(s->queue, false); }

static int64_t put_many(struct stage *s)
{
    uint64_t lengths[IN_A_ROW], infos[IN_A_ROW];
    for (uint64_t i = 0; i < IN_A_ROW; i++) {
        lengths[i] = length_of(s, s->next + i);
        infos[i] = IPCR_INFO(s->next + i, IPCR_BYTES);
    }
    const int64_t done = ipcr_queue_put_many(s->queue, (const char *)message, lengths, infos, IN_A_ROW, 0, NULL);
    return done == IPCR_FULL ? 0 : done;
}

static int64_t put_pieces(struct stage *s)
{
    struct ipcr_put put = { .info = IPCR_INFO(s->next, IPCR_BYTES) };
    return was_put(ipcr_queue_put_pieces(s->queue, pieces, 2, &put));
}

/* A process that is both, turn by turn: what it frees, it writes again. */
static int64_t put_and_get(struct stage *s)
{
    const uint8_t *at = message;
    char *hand = (char *)s->between->hand;
    for (uint64_t i = 0; i < IN_A_ROW; i++) {
        struct ipcr_lease lease;
        const uint64_t number = s->next + i, length = length_of(s, number);
        CHECK(ipcr_queue_put_one(s->queue, (const char *)at, length, IPCR_INFO(number, IPCR_BYTES), 0) >= 0);
        CHECK_IS(ipcr_queue_get(s->queue, hand, HAND_BYTES, &lease), IPCR_OK);
        at += length;
        hand += lease.length;
    }
    return IPCR_OK;
}

static int64_t wait_for_room(struct stage *s)
{
    return ipcr_queue_wait_for_room(s->queue, length_of(s, s->next), in_ms(PATIENCE_MS));
}

static int64_t leave(struct stage *s)
{
    ipcr_queue_close(s->queue);
    return 0;
}

/* --- what they will do -------------------------------------------------------------------------------------------- */

static void plan_none(struct stage *s) { s->next = s->play->count; }

static void plan_row(struct stage *s, int64_t most)
{
    plan_none(s);
    while (s->play->promised < most && will_put(s, length_of(s, s->play->count)) != NONE)
        s->play->promised++;
}

static void plan_one(struct stage *s) { plan_row(s, 1); }
static void plan_many(struct stage *s) { plan_row(s, IN_A_ROW); }

static void plan_turns(struct stage *s)
{
    plan_none(s);
    will_register(s);
    for (int i = 0; i < IN_A_ROW; i++) {
        CHECK(will_put(s, length_of(s, s->play->count)) != NONE);
        will_ack(s, will_lease(s, NEVER), true);
    }
}

static void plan_in_new_lane(struct stage *s)
{
    s->play->victim_lane = 1;
    plan_one(s);
}

/* Two pieces without a gap between them: the second begins where the first one's end is a multiple of 64. */
static void plan_pieces(struct stage *s)
{
    uint64_t freed, next, position = 0;
    struct ipcr_lane *lane;
    if (ipcr_lane_see(s->segment, 0, &lane) == IPCR_OK) {
        CHECK_IS(ipcr_lane_bounds(lane, &freed, &next), IPCR_OK);
        const struct ipcr_slot *last = ipcr_slot_at(lane, next - 1);
        position = load_relaxed64(&last->position) + ipcr_padded(load_relaxed64(&last->length));
    }
    pieces[0].length = IPCR_DATA_ALIGNMENT - (position & (IPCR_DATA_ALIGNMENT - 1));
    pieces[1].length = 21;
    s->lengths[s->play->count] = pieces[0].length + pieces[1].length;
    plan_one(s);
}

static void plan_repair(struct stage *s)
{
    plan_none(s);
    will_repair(s, false);
}

static void plan_not_found(struct stage *s)
{
    plan_none(s);
    s->play->promised = IPCR_NOT_FOUND;
}

/* --- where -------------------------------------------------------------------------------------------------------- */

#define AT_LAP(slots, laps, before) (UINT64_C(laps) * (slots) - (slots) - (before))
#define AT_END_OF_LAPS(scene) { "at lap 2^19", AT_LAP(4, 524288, 7), scene }

static const struct start starts[] = {
    { "new lane", 0, NEW_LANE },
    { "left empty", 0, LEFT_EMPTY },
    { "two unread", 0, LEFT_UNREAD },
    { "two held", 0, LEFT_HELD },
    { "its predecessor died before `head`", 0, HEAD_BEHIND },
    { "its predecessor died in the middle", 0, SCRIBBLED },
    { "nearly full", 0, NEARLY_FULL },
    { "all to be reclaimed", 0, RECLAIM_ALL },
    { "one to be reclaimed", 0, RECLAIM_ONE },
    { "no room", 0, NO_ROOM },
    AT_END_OF_LAPS(RECLAIM_ALL),
    AT_END_OF_LAPS(NEARLY_FULL),
    DATA_ENDS_IN(8),
    DATA_ENDS_IN(24),
    DATA_ENDS_IN(56),
    DATA_ENDS_IN(64),
};
static const struct start more_starts[] = {
    { "new lane", 0, NEW_LANE },
    { "two unread", 0, LEFT_UNREAD },
    { "nearly full", 0, NEARLY_FULL },
    { "all to be reclaimed", 0, RECLAIM_ALL },
    { "one to be reclaimed", 0, RECLAIM_ONE },
    AT_END_OF_LAPS(LEFT_EMPTY),
    AT_END_OF_LAPS(RECLAIM_ALL),
    DATA_ENDS_IN(8),
    DATA_ENDS_IN(40),
};
static const struct start two_slots[] = {
    { "new lane", 0, NEW_LANE },
    { "nearly full", 0, NEARLY_FULL },
    { "all to be reclaimed", 0, RECLAIM_ALL },
    { "one to be reclaimed", 0, RECLAIM_ONE },
    { "two held", 0, LEFT_HELD },
};
static const struct start turn_starts[] = {
    { "new lane", 0, NEW_LANE },
    { "nearly full", 0, NEARLY_FULL },
    { "all to be reclaimed", 0, RECLAIM_ALL },
    { "at lap 2^19", AT_LAP(2, 524288, 5), RECLAIM_ALL },
};
static const struct start sleeping_starts[] = { { "new lane", 0, NEW_LANE }, { "nearly full", 0, NEARLY_FULL } };
static const struct start bounded_starts[] = { { "one to go", 0, ONE_TO_GO }, { "no room", 0, NO_ROOM },
                                               { "all to be reclaimed", 0, RECLAIM_ALL } };
static const struct start empty_starts[] = { { "left empty", 0, LEFT_EMPTY } };
static const struct start no_empty_starts[] = { { "new lane", 0, NEW_LANE }, { "two unread", 0, LEFT_UNREAD } };
static const struct start beside_starts[] = { { "two unread", 0, LEFT_UNREAD }, { "two held", 0, LEFT_HELD } };
static const struct start waiting_starts[] = { { "the dead hold all", 0, DEAD_CONSUMER }, { "no room", 0, NO_ROOM } };
static const struct start leaving_starts[] = { { "new lane", 0, NEW_LANE }, { "two unread", 0, LEFT_UNREAD } };

static const struct queue_shape one_lane = { IPCR_KIND_QUEUE, 1, 4, 0, 0 };
static const struct queue_shape one_narrow = { IPCR_KIND_RELIABLE, 1, 2, 3, 0 };
static const struct queue_shape two_lanes = { IPCR_KIND_RELIABLE, 2, 4, 3, 0 };
static const struct queue_shape bounded = { IPCR_KIND_QUEUE, 1, 4, 0, 3 };

#define PRODUCER                                                                                              \
    .capacity = SMALLEST, .ways = WAYS_OF_QUEUES, .prepare = prepare_queue, .observe = observe_repairing,         \
    .check = check_queue

const struct operation putting_operations[] = {
    { .name = "put", PRODUCER, STARTS(starts), .shape = &one_lane, .plan = plan_one, .approach = approach_with_lane,
      .operate = put_one },
    { .name = "put-in-two-slots", PRODUCER, STARTS(two_slots), .shape = &one_narrow, .plan = plan_one,
      .approach = approach_with_lane, .operate = put_one },
    { .name = "put-bounded", PRODUCER, STARTS(bounded_starts), .shape = &bounded, .plan = plan_one,
      .approach = approach_with_lane, .operate = put_one },
    { .name = "put-to-a-sleeper", PRODUCER, STARTS(sleeping_starts), .shape = &one_lane, .plan = plan_one,
      .approach = approach_sleepers, .operate = put_one },
    { .name = "put-many", PRODUCER, STARTS(more_starts), .shape = &one_lane, .plan = plan_many,
      .approach = approach_with_lane, .operate = put_many },
    { .name = "put-and-get", PRODUCER, STARTS(turn_starts), .shape = &one_narrow, .plan = plan_turns,
      .approach = approach_with_both, .operate = put_and_get },
    { .name = "put-pieces", PRODUCER, STARTS(more_starts), .shape = &one_lane, .plan = plan_pieces,
      .approach = approach_with_lane, .operate = put_pieces },
    { .name = "adopt-lane-and-put", PRODUCER, STARTS(starts), .shape = &one_lane, .plan = plan_one,
      .approach = approach_without_lane, .operate = take_lane_and_put },
    { .name = "take-lane-and-put", PRODUCER, STARTS(beside_starts), .shape = &two_lanes, .plan = plan_in_new_lane,
      .approach = approach_without_lane, .operate = take_lane_and_put },
    { .name = "take-empty-lane", PRODUCER, STARTS(empty_starts), .shape = &two_lanes, .plan = plan_none,
      .approach = approach_without_lane, .operate = take_empty_lane },
    { .name = "take-no-empty-lane", PRODUCER, STARTS(no_empty_starts), .shape = &two_lanes, .plan = plan_not_found,
      .approach = approach_without_lane, .operate = take_empty_lane },
    { .name = "wait-for-queue-room", PRODUCER, STARTS(waiting_starts), .shape = &one_narrow, .plan = plan_repair,
      .approach = approach_with_lane, .operate = wait_for_room },
    { .name = "leave-queue", PRODUCER, STARTS(leaving_starts), .shape = &one_lane, .plan = plan_none,
      .approach = approach_with_lane, .operate = leave },
    { .name = NULL },
};

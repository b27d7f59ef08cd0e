/* taking.c - a consumer dies: finding a message, leasing it, and at most once, copying and acknowledging it.
 *
 * What it has acknowledged is in the hand of its caller, which the check can see; everything else goes to somebody who
 * lives, with the number of leases that were granted.
 */
#include "queue_scenes.h"

enum { PATIENCE_MS = 40, IN_A_ROW = 3, ROOM_FOR_TWO = 50 };

static int64_t got(int64_t rc)
{
    CHECK(rc >= 0 || rc == IPCR_EMPTY);
    return rc >= 0;
}

static int64_t get_one(struct stage *s)
{
    struct ipcr_lease lease;
    return got(ipcr_queue_get(s->queue, (char *)s->between->hand, HAND_BYTES, &lease));
}

static int64_t take_many(struct stage *s, uint64_t room)
{
    struct ipcr_lease leases[IN_A_ROW];
    int64_t results[IN_A_ROW];
    const int64_t done = ipcr_queue_lease_many(s->queue, (char *)s->between->hand, room, leases, results, IN_A_ROW);
    uint64_t used = 0;
    for (int64_t i = 0; i < done; used += leases[i++].length)
        if ((results[i] & IPCR_RESULT_LENT) != 0)
            CHECK_IS(ipcr_lease_copy(s->queue, &leases[i], (char *)s->between->hand + used), IPCR_OK);
    if (done > 0)
        CHECK_IS(ipcr_lease_end_many(s->queue, leases, (uint64_t)done, (uint64_t)done), done);
    return done == IPCR_EMPTY ? 0 : done;
}

static int64_t get_many(struct stage *s) { return take_many(s, HAND_BYTES); }

/* The third doesn't fit any more, and is lent. */
static int64_t get_what_fits(struct stage *s) { return take_many(s, ROOM_FOR_TWO); }

static int64_t lease_one(struct stage *s)
{
    struct ipcr_lease lease;
    return got(ipcr_queue_lease(s->queue, 0, &lease));
}

static int64_t lease_copy_ack(struct stage *s)
{
    struct ipcr_lease lease;
    if (got(ipcr_queue_lease(s->queue, UINT64_C(1000000000000), &lease)) == 0)
        return 0;
    CHECK_IS(ipcr_lease_copy(s->queue, &lease, (char *)s->between->hand), IPCR_OK);
    CHECK_IS(ipcr_lease_ack(s->queue, &lease), IPCR_OK);
    return 1;
}

/* A process's whole life. */
static int64_t attach_and_get(struct stage *s)
{
    struct ipcr_segment *segment;
    int fd;
    CHECK_IS(ipcr_os_reopen(s->segment->fd, s->segment->id, &fd), IPCR_OK);
    CHECK_IS(ipcr_segment_attach(fd, NULL, "ipc:test", 0, true, &segment), IPCR_OK);
    CHECK_IS(ipcr_queue_open(segment, 0, &s->queue), IPCR_OK);
    const int64_t result = get_one(s);
    ipcr_queue_free(s->queue);
    ipcr_segment_release(segment);
    return result;
}

/* It has looked, in vain; and if there was somebody to be repaired, that was just before his death. */
static void approach_in_vain(struct stage *s)
{
    struct ipcr_lease none;
    open_queue(s);
    CHECK_IS(ipcr_queue_register(s->queue), IPCR_OK);
    s->queue->next_repair_ns = UINT64_MAX;
    CHECK_IS(ipcr_queue_lease(s->queue, 0, &none), IPCR_EMPTY);
}

/* In vain again, but not for nothing: it sleeps until the deadline, and then looks after others. */
static int64_t wait_for_message(struct stage *s)
{
    const uint64_t deadline = in_ms(PATIENCE_MS);
    CHECK_IS(ipcr_queue_wait_for_message(s->queue, deadline), IPCR_OK);
    return now_ns() >= deadline ? IPCR_OK : IPCR_AGAIN;
}

/* --- a queue that is never empty ---------------------------------------------------------------------------------- */

/* Its scan can be watched: how far each lane had come. */
static void approach_watched(struct stage *s)
{
    open_queue(s);
    s->queue->ends = (struct ipcr_lane_end *)(void *)s->between->hand;
}

/* When the victim has looked into the first lane, which is empty, and comes to the second, a message comes to the first;
 * then the second lane's goes, and the first lane goes on for more than a lap, with one message in it all the time. */
static void move_meanwhile(struct stage *s)
{
    struct ipcr_queue *mate = s->play->mate;
    const struct ipcr_lane_end *ends = (const struct ipcr_lane_end *)(const void *)s->between->hand;
    if (s->seen != 0 || !ends[0].seen)
        return;
    s->seen = 1;
    for (uint64_t i = 0; i <= s->operation->shape->slots; i++) {
        brings(s, mate, 1);
        takes(s, mate, 1);
    }
}

static void check_found(struct stage *s) { CHECK(!s->returned || s->result == 1); }

/* --- what they will do -------------------------------------------------------------------------------------------- */

static void plan_begin(struct stage *s)
{
    will_register(s);
    will_repair(s, true);
}

static void plan_lease(struct stage *s)
{
    plan_begin(s);
    s->play->promised = will_lease(s, NEVER) != NONE;
}

/* All are leased before the first is acknowledged. */
static void plan_get(struct stage *s, int64_t most, enum date until)
{
    uint32_t held[IN_A_ROW], n;
    plan_begin(s);
    while (s->play->promised < most && (n = will_lease(s, until)) != NONE)
        held[s->play->promised++] = n;
    for (int64_t i = 0; i < s->play->promised; i++)
        will_ack(s, held[i], true);
}

static void plan_one(struct stage *s) { plan_get(s, 1, NEVER); }
static void plan_many(struct stage *s) { plan_get(s, IN_A_ROW, NEVER); }
static void plan_one_for_a_time(struct stage *s) { plan_get(s, 1, LATER); }

static void plan_repair(struct stage *s)
{
    will_register(s);
    script_begins(s);
    will_repair(s, true);
}

/* --- where -------------------------------------------------------------------------------------------------------- */

#define COUNTERS(scene)                                                                                       \
    { "at lap 2^19", UINT64_C(524288) * 4 - 4 - 6, scene }, { "sequences pass 2^64", UINT64_C(0) - 4 - 6, scene }

static const struct start at_most_once[] = {
    { "no message", 0, NO_MESSAGE },
    { "one message", 0, ONE_READY },
    { "full", 0, LANE_FULL },
    { "two lanes", 0, TWO_LANES },
    { "behind one that is held", 0, BEHIND_HELD },
    { "behind one that is done with", 0, OVER_DONE },
    { "laps behind", 0, LAPPED },
    { "below a hint", 0, BELOW_HINT },
    { "below a hint, unsaid", 0, HINT_ABOVE },
    { "a dead man's number", 0, DEAD_NUMBER },
    { "a dead man", 0, DEAD_TO_BURY },
    { "two dead men", 0, TWO_DEAD },
    { "a dead man, half buried", 0, HALF_BURIED },
    { "a dead man, nearly buried", 0, BURIED_BUT_ONE_WORD },
    { "the first is delayed", 0, DELAYED },
    { "the first one's time is over", 0, PERISHED },
    COUNTERS(LANE_FULL),
};
static const struct start at_least_once[] = {
    { "no message", 0, NO_MESSAGE },
    { "full", 0, LANE_FULL },
    { "two lanes", 0, TWO_LANES },
    { "behind one that is done with", 0, OVER_DONE },
    { "laps behind", 0, LAPPED },
    { "below a hint", 0, BELOW_HINT },
    { "below a hint, unsaid", 0, HINT_ABOVE },
    { "a dead man's number", 0, DEAD_NUMBER },
    { "two dead men", 0, TWO_DEAD },
    { "leases that ran out", 0, RAN_OUT },
    { "the first is delayed", 0, DELAYED },
    { "the first one's time is over", 0, PERISHED },
    { "the first was delivered too often", 0, EXHAUSTED },
    { "two are kept", 0, KEPT },
    COUNTERS(LANE_FULL),
};
static const struct start full[] = { { "full", 0, LANE_FULL } };
static const struct start some[] = {
    { "no message", 0, NO_MESSAGE },
    { "two lanes", 0, TWO_LANES },
    { "a dead man's number", 0, DEAD_NUMBER },
};
static const struct start second_lane[] = { { "one in the second lane", 0, SECOND_LANE } };
static const struct start nothing_ready[] = {
    { "no message", 0, NO_MESSAGE },  { "a dead man", 0, DEAD_TO_BURY },
    { "leases that ran out", 0, RAN_OUT },
};

static const struct queue_shape once = { IPCR_KIND_QUEUE, 2, 4, 0, 0 };
static const struct queue_shape again = { IPCR_KIND_RELIABLE, 2, 4, 3, 0 };
static const struct queue_shape narrow = { IPCR_KIND_RELIABLE, 2, 2, 3, 0 };

#define CONSUMER                                                                                              \
    .capacity = SMALLEST, .ways = WAYS_OF_QUEUES, .prepare = prepare_queue, .observe = observe_repairing,         \
    .check = check_queue

const struct operation taking_operations[] = {
    { .name = "get", CONSUMER, STARTS(at_most_once), .shape = &once, .plan = plan_one, .approach = open_queue,
      .operate = get_one },
    { .name = "get-many", CONSUMER, STARTS(at_most_once), .shape = &once, .plan = plan_many, .approach = open_queue,
      .operate = get_many },
    { .name = "get-what-fits", CONSUMER, STARTS(full), .shape = &once, .plan = plan_many, .approach = open_queue,
      .operate = get_what_fits },
    { .name = "lease", CONSUMER, STARTS(at_least_once), .shape = &again, .plan = plan_lease, .approach = open_queue,
      .operate = lease_one },
    { .name = "lease-copy-ack", CONSUMER, STARTS(at_least_once), .shape = &again, .plan = plan_one_for_a_time,
      .approach = open_queue, .operate = lease_copy_ack },
    { .name = "attach-and-get", CONSUMER, STARTS(some), .shape = &once, .plan = plan_one, .operate = attach_and_get },
    { .name = "lease-what-moves", STARTS(second_lane), .shape = &narrow, .capacity = SMALLEST,
      .prepare = prepare_queue, .approach = approach_watched, .operate = lease_one, .meanwhile = move_meanwhile,
      .check = check_found },
    { .name = "wait-for-message", CONSUMER, STARTS(nothing_ready), .shape = &narrow, .plan = plan_repair,
      .approach = approach_in_vain, .operate = wait_for_message },
    { .name = NULL },
};

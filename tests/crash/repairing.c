/* repairing.c - somebody dies who does no message's work: repairs, takes a number, leaves, throws away, shuts down. */
#include "queue_scenes.h"

static void approach_with_number(struct stage *s)
{
    open_queue(s);
    CHECK_IS(ipcr_queue_register(s->queue), IPCR_OK);
}

static int64_t repair(struct stage *s) { return ipcr_queue_repair(s->queue, now_ns()); }
static int64_t take_number(struct stage *s) { return ipcr_queue_register(s->queue); }
static int64_t purge(struct stage *s) { return ipcr_queue_purge(s->queue, false); }
static int64_t purge_all(struct stage *s) { return ipcr_queue_purge(s->queue, true); }
static int64_t finish_task(struct stage *s) { return ipcr_queue_task_done(s->queue); }
static int64_t drain_queue(struct stage *s) { return ipcr_queue_shut(s->queue, IPCR_DRAINING); }
static int64_t shut_queue(struct stage *s) { return ipcr_queue_shut(s->queue, IPCR_SHUT); }

/* A producer and a consumer, with two messages in its hands. */
static void approach_with_all(struct stage *s)
{
    struct ipcr_lease lease;
    open_queue(s);
    takes_a_lane(s->queue);
    CHECK_IS(ipcr_queue_lease(s->queue, 0, &lease), IPCR_OK);
    CHECK_IS(ipcr_queue_lease(s->queue, 0, &lease), IPCR_OK);
}

static int64_t leave(struct stage *s)
{
    ipcr_queue_close(s->queue);
    return 0;
}

/* --- what they will do -------------------------------------------------------------------------------------------- */

static void plan_register(struct stage *s) { will_register(s); }

static void plan_repair(struct stage *s)
{
    will_register(s);
    script_begins(s);
    will_repair(s, true);
}

static void plan_repair_without_number(struct stage *s) { will_repair(s, false); }

static void plan_leave(struct stage *s)
{
    will_register(s);
    will_repair(s, true);
    will_lease(s, NEVER);
    will_lease(s, NEVER);
    script_begins(s);
    will_sweep(s, s->play->victim_holder);
}

/* Lane by lane. */
static void plan_to_purge(struct stage *s, bool with_kept)
{
    for (uint32_t lane = 0; lane < LANES_ON_STAGE; lane++)
        for (uint32_t i = 0; i < s->play->lanes[lane].count; i++) {
            const uint32_t number = s->play->lanes[lane].numbers[i];
            struct standing it = s->play->foreseen[number];
            if (it.phase != IPCR_READY && (it.phase != IPCR_KEPT || !with_kept))
                continue;
            it.phase = IPCR_DEAD;
            it.date = NEVER;
            script_step(s, number, it, false);
            s->play->promised++;
        }
}

static void plan_purge(struct stage *s) { plan_to_purge(s, false); }
static void plan_purge_all(struct stage *s) { plan_to_purge(s, true); }

static void plan_finish(struct stage *s)
{
    will_register(s);
    s->play->finishes = 1;
}

static void plan_drain(struct stage *s) { s->play->shuts = IPCR_DRAINING; }
static void plan_shut(struct stage *s) { s->play->shuts = IPCR_SHUT; }

/* --- two at once -------------------------------------------------------------------------------------------------- */

/* As soon as the victim has given the first message back, the other repairs as well, between all of its instructions:
 * what one of them does the other need not. */
static void repair_meanwhile(struct stage *s)
{
    const struct play *p = s->play;
    const struct step *first = &p->script[0];
    const struct ipcr_lane *lane = &s->segment->lane[p->messages[first->number].lane];
    uint64_t state = 0;
    for (uint64_t n = 0; n <= lane->mask; n++)
        if (load_relaxed64(&lane->slots[n].info) == IPCR_INFO(first->number, IPCR_BYTES))
            state = load_acquire64(&lane->slots[n].state);
    if (ipcr_phase_of(state) == IPCR_LEASED)
        return;
    const uint64_t before = load_acquire64(&ipcr_queue_header(s->segment)->returns);
    CHECK_IS(ipcr_queue_repair(p->mate, now_ns()), IPCR_OK);
    s->peer_acts += load_acquire64(&ipcr_queue_header(s->segment)->returns) != before;
}

/* --- where -------------------------------------------------------------------------------------------------------- */

static const struct start to_repair[] = {
    { "nobody is dead", 0, BEHIND_HELD },
    { "a dead man's number", 0, DEAD_NUMBER },
    { "a dead man", 0, DEAD_TO_BURY },
    { "two dead men", 0, TWO_DEAD },
    { "a dead man, half buried", 0, HALF_BURIED },
    { "a dead man, nearly buried", 0, BURIED_BUT_ONE_WORD },
    { "leases that ran out", 0, RAN_OUT },
    { "delivered too often", 0, EXHAUSTED },
    { "sequences pass 2^64", UINT64_C(0) - 4 - 6, DEAD_TO_BURY },
    { "at lap 2^19", UINT64_C(524288) * 4 - 4 - 6, DEAD_TO_BURY },
};
static const struct start to_register[] = {
    { "nobody is dead", 0, NEW_LANE },
    { "a dead man's number", 0, DEAD_NUMBER },
    { "two dead men", 0, TWO_DEAD },
};
static const struct start to_leave[] = { { "full", 0, LANE_FULL }, { "behind one that is held", 0, BEHIND_HELD } };
static const struct start to_purge[] = {
    { "no message", 0, NO_MESSAGE }, { "full", 0, LANE_FULL },       { "two lanes", 0, TWO_LANES },
    { "a dead man", 0, DEAD_TO_BURY }, { "the first is delayed", 0, DELAYED }, { "two are kept", 0, KEPT },
};
static const struct start kept[] = { { "two are kept", 0, KEPT } };
static const struct start to_finish[] = { { "one message", 0, ONE_READY }, { "a dead man's number", 0, DEAD_NUMBER } };
static const struct start to_shut[] = {
    { "no message", 0, NO_MESSAGE },
    { "behind one that is held", 0, BEHIND_HELD },
};
static const struct start two_at_once[] = {
    { "a dead man", 0, DEAD_TO_BURY }, { "two dead men", 0, TWO_DEAD }, { "leases that ran out", 0, RAN_OUT },
};

static const struct queue_shape again = { IPCR_KIND_RELIABLE, 2, 4, 3, 0 };
static const struct queue_shape three_lanes = { IPCR_KIND_RELIABLE, 3, 4, 0, 0 };

#define ALIKE                                                                                                 \
    .capacity = SMALLEST, .ways = WAYS_OF_QUEUES, .prepare = prepare_queue, .check = check_queue, .shape = &again
#define OBSERVED ALIKE, .observe = observe_repairing

const struct operation repair_operations[] = {
    { .name = "register", OBSERVED, STARTS(to_register), .plan = plan_register, .approach = open_queue,
      .operate = take_number },
    { .name = "repair", OBSERVED, STARTS(to_repair), .plan = plan_repair, .approach = approach_with_number,
      .operate = repair },
    { .name = "repair-without-number", OBSERVED, STARTS(to_repair), .plan = plan_repair_without_number,
      .approach = open_queue, .operate = repair },
    { .name = "repair-beside-another", ALIKE, STARTS(two_at_once), .plan = plan_repair,
      .approach = approach_with_number, .operate = repair, .meanwhile = repair_meanwhile },
    { .name = "leave-with-leases", .capacity = SMALLEST, .ways = WAYS_OF_QUEUES, .prepare = prepare_queue,
      .check = check_queue, .shape = &three_lanes, .observe = observe_repairing, STARTS(to_leave), .plan = plan_leave,
      .approach = approach_with_all, .operate = leave },
    { .name = "purge", OBSERVED, STARTS(to_purge), .plan = plan_purge, .approach = open_queue, .operate = purge },
    { .name = "purge-all", OBSERVED, STARTS(kept), .plan = plan_purge_all, .approach = open_queue,
      .operate = purge_all },
    { .name = "task-done", OBSERVED, STARTS(to_finish), .plan = plan_finish, .approach = open_queue,
      .operate = finish_task },
    { .name = "shut-down", OBSERVED, STARTS(to_shut), .plan = plan_drain, .approach = open_queue,
      .operate = drain_queue },
    { .name = "shut-down-at-once", OBSERVED, STARTS(to_shut), .plan = plan_shut, .approach = open_queue,
      .operate = shut_queue },
    { .name = NULL },
};

/* test_queue_model.c - random programs over several handles, beside a model that a child could follow: which message comes
 * next, what every call says, and all counts after every step.
 *
 * A program is its seed.  One thread: what happens at once is for the other tests.
 */
#include "queues.h"

enum { HANDLES = 4, LANES = 3, SLOTS = 8, MOST_MESSAGES = 4096 };

struct message {
    uint64_t id;
    struct ipcr_lease lease;
    enum ipcr_phase phase;
    uint32_t holder; /* handle */
    uint32_t why;    /* kept, or leased from there */
    uint32_t deliveries, forgiven;
    bool delayed, mortal, expired, was_kept;
};

struct program {
    struct ipcr_segment *segment;
    struct ipcr_queue *handles[HANDLES];
    uint64_t random, most, count;
    struct message *messages; /* in the order in which they were put */
};

static uint64_t choose(struct program *g, uint64_t n) { return random_next(&g->random) % n; }
static uint32_t lane_of(const struct message *m) { return (uint32_t)(m->id % LANES); }
static bool is_done(const struct message *m) { return m->phase == IPCR_ACKED || m->phase == IPCR_DEAD; }

/* --- the model ---------------------------------------------------------------------------------------------------- */

static struct message *next_message(const struct program *g)
{
    for (uint64_t i = 0; i < g->count; i++) {
        struct message *m = &g->messages[i];
        if (m->phase == IPCR_READY && !m->delayed)
            return m;
    }
    return NULL;
}

/* From the first one of the lane that is not done. */
static uint64_t filled(const struct program *g, uint32_t lane)
{
    uint64_t n = 0;
    for (uint64_t i = 0; i < g->count; i++) {
        const struct message *m = &g->messages[i];
        n += lane_of(m) == lane && (n > 0 || !is_done(m));
    }
    return n;
}

static void comes_back(const struct program *g, struct message *m)
{
    m->was_kept = false;
    if (g->most != 0 && m->deliveries >= g->most + m->forgiven) {
        m->phase = IPCR_KEPT;
        m->why = IPCR_KEPT_DELIVERIES;
    } else {
        m->phase = IPCR_READY;
    }
}

static struct message *some_lease(struct program *g)
{
    struct message *all[MOST_MESSAGES];
    uint64_t n = 0;
    for (uint64_t i = 0; i < g->count; i++)
        if (g->messages[i].phase == IPCR_LEASED)
            all[n++] = &g->messages[i];
    return n == 0 ? NULL : all[choose(g, n)];
}

/* --- the steps ---------------------------------------------------------------------------------------------------- */

static void step_put(struct program *g)
{
    struct ipcr_queue *q = g->handles[choose(g, HANDLES)];
    const bool had_lane = q->lanes_taken > 0, mortal = choose(g, 8) == 0;
    const uint64_t full = had_lane ? filled(g, q->own[0].index) : 0;
    struct message *m = &g->messages[g->count];
    *m = (struct message){ .phase = IPCR_READY, .mortal = mortal };
    const int rc = put_with(q, g->count, 24, mortal ? SECONDS(3600) : 0, &m->id);
    if (rc == IPCR_TAKEN) {
        CHECK(!had_lane);
        return;
    }
    CHECK_IS(rc, (had_lane ? full : filled(g, q->own[0].index)) == SLOTS ? IPCR_FULL : IPCR_OK);
    g->count += rc == IPCR_OK;
}

static void step_lease(struct program *g)
{
    const uint32_t handle = (uint32_t)choose(g, HANDLES);
    struct ipcr_queue *q = g->handles[handle];
    struct ipcr_lease l;
    struct message *m = next_message(g);
    const int rc = try_lease(q, choose(g, 2) * SECONDS(30), &l);
    CHECK_IS(rc, m == NULL ? IPCR_EMPTY : IPCR_OK);
    if (m == NULL)
        return;
    CHECK_IS(l.id, m->id);
    CHECK_IS(IPCR_INFO_TYPE(l.info), m - g->messages);
    CHECK_IS(l.deliveries, ++m->deliveries);
    m->phase = IPCR_LEASED;
    m->holder = handle;
    m->lease = l;
    m->was_kept = false;
}

static void check_is_lost(struct ipcr_queue *q, struct ipcr_lease stale)
{
    CHECK_IS(ipcr_lease_ack(q, &stale), IPCR_LEASE_LOST);
    CHECK_IS(ipcr_lease_nack(q, &stale, 0), IPCR_LEASE_LOST);
    CHECK_IS(ipcr_lease_extend(q, &stale, SECONDS(9)), IPCR_LEASE_LOST);
    CHECK_IS(ipcr_lease_requeue(q, &stale), IPCR_LEASE_LOST);
}

static void step_end(struct program *g)
{
    struct message *m = some_lease(g);
    if (m == NULL)
        return;
    struct ipcr_queue *q = g->handles[m->holder];
    const bool late = !m->was_kept && choose(g, 8) == 0;
    if (late) { /* no matter, as long as nobody has noticed */
        let_it_run_out(q, &m->lease);
        if (choose(g, 2) == 0) {
            repair(g->handles[choose(g, HANDLES)]);
            comes_back(g, m);
            check_is_lost(q, m->lease);
            return;
        }
    }
    switch (choose(g, 5)) {
    case 0:
        CHECK_IS(ipcr_lease_bury(q, &m->lease), IPCR_OK);
        m->phase = IPCR_DEAD;
        break;
    case 1:
        if (m->was_kept) {
            CHECK_IS(ipcr_lease_keep(q, &m->lease, m->why), IPCR_OK);
            m->phase = IPCR_KEPT;
            return; /* the same holder's next look has the same word: no stale lease to try */
        }
        m->delayed = choose(g, 2) == 0;
        CHECK_IS(ipcr_lease_nack(q, &m->lease, m->delayed ? SECONDS(3600) : 0), IPCR_OK);
        comes_back(g, m);
        m->delayed = m->delayed && m->phase == IPCR_READY;
        break;
    case 2:
        CHECK_IS(ipcr_lease_extend(q, &m->lease, SECONDS(60)), IPCR_OK);
        return;
    default:
        if (m->was_kept) {
            CHECK_IS(ipcr_lease_requeue(q, &m->lease), ipcr_when_of(m->lease.held) == IPCR_NO_TIME ? IPCR_OK
                                                                                                  : IPCR_LEASE_LOST);
            if (ipcr_when_of(m->lease.held) != IPCR_NO_TIME)
                return;
            m->phase = IPCR_READY;
            m->forgiven = m->deliveries;
            m->mortal = m->expired = m->was_kept = false;
        } else {
            CHECK_IS(ipcr_lease_ack(q, &m->lease), IPCR_OK);
            m->phase = IPCR_ACKED;
        }
    }
    check_is_lost(q, m->lease);
}

static void step_kept(struct program *g)
{
    const uint32_t handle = (uint32_t)choose(g, HANDLES);
    struct message *first = NULL;
    struct ipcr_lease l;
    uint32_t why;
    for (uint64_t i = 0; i < g->count; i++) {
        struct message *m = &g->messages[i];
        if (m->phase == IPCR_KEPT && (first == NULL || m->id < first->id))
            first = m;
    }
    const int rc = ipcr_queue_next_kept(g->handles[handle], 0, &l, &why);
    CHECK_IS(rc, first == NULL ? IPCR_EMPTY : IPCR_OK);
    if (first == NULL)
        return;
    CHECK_IS(l.id, first->id);
    CHECK_IS(why, first->why);
    CHECK_IS(l.deliveries, first->deliveries);
    first->phase = IPCR_LEASED;
    first->holder = handle;
    first->lease = l;
    first->was_kept = true;
}

/* A message's time comes: as if an hour had gone by. */
static void step_time(struct program *g)
{
    for (uint64_t i = 0; i < g->count; i++) {
        struct message *m = &g->messages[i];
        if (m->phase != IPCR_READY || (!m->delayed && !m->mortal) || choose(g, 2) == 0)
            continue;
        struct ipcr_lane *l = &g->segment->lane[lane_of(m)];
        struct ipcr_slot *slot = ipcr_slot_at(l, m->id / LANES);
        const uint64_t state = load_acquire64(&slot->state);
        if (m->delayed) {
            const uint32_t now = (uint32_t)(now_ns() / IPCR_TIME_UNIT_NS) & IPCR_NO_TIME;
            CHECK(ipcr_change(slot, state, ipcr_with(state, IPCR_READY, 0, m->deliveries, now)));
            m->delayed = false;
        } else {
            store_relaxed64(&slot->expires, 1);
            m->expired = true;
        }
    }
}

static void step_purge(struct program *g)
{
    const bool with_kept = choose(g, 2) == 0;
    int64_t n = 0;
    for (uint64_t i = 0; i < g->count; i++) {
        struct message *m = &g->messages[i];
        if (m->phase == IPCR_READY || (with_kept && m->phase == IPCR_KEPT)) {
            m->phase = IPCR_DEAD;
            n++;
        }
    }
    CHECK_IS(ipcr_queue_purge(g->handles[choose(g, HANDLES)], with_kept), n);
}

static void step_close(struct program *g)
{
    const uint32_t handle = (uint32_t)choose(g, HANDLES);
    ipcr_queue_free(g->handles[handle]);
    g->handles[handle] = handle_on(g->segment);
    for (uint64_t i = 0; i < g->count; i++) {
        struct message *m = &g->messages[i];
        if (m->phase == IPCR_LEASED && m->holder == handle)
            comes_back(g, m);
    }
}

/* What has expired may be noticed at any call: let it be noticed now. */
static void notice_what_expired(struct program *g)
{
    bool any = false;
    for (uint64_t i = 0; i < g->count; i++) {
        struct message *m = &g->messages[i];
        if (m->phase != IPCR_READY || !m->expired)
            continue;
        any = true;
        m->phase = IPCR_KEPT;
        m->why = IPCR_KEPT_EXPIRED;
        m->delayed = false;
    }
    if (any)
        repair(g->handles[choose(g, HANDLES)]);
}

/* --- after every step --------------------------------------------------------------------------------------------- */

static void check_counts(const struct program *g)
{
    struct ipcr_lane_stats is[LANES] = { { .put = 0 } }, got[LANES];
    struct ipcr_queue_stats all;
    uint64_t depth = 0;
    for (uint64_t i = 0; i < g->count; i++) {
        const struct message *m = &g->messages[i];
        struct ipcr_lane_stats *lane = &is[lane_of(m)];
        lane->put++;
        lane->delivered += m->deliveries;
        lane->redelivered += m->deliveries > 1 ? m->deliveries - 1 : 0;
        lane->acknowledged += m->phase == IPCR_ACKED;
        lane->dead += m->phase == IPCR_DEAD;
        lane->ready += m->phase == IPCR_READY;
        lane->leased += m->phase == IPCR_LEASED;
        lane->kept += m->phase == IPCR_KEPT;
        depth += !is_done(m);
    }
    CHECK_IS(ipcr_queue_stats(g->segment, &all, got, LANES), IPCR_OK);
    for (int i = 0; i < LANES; i++) {
        CHECK_IS(got[i].put, is[i].put);
        CHECK_IS(got[i].delivered, is[i].delivered);
        CHECK_IS(got[i].redelivered, is[i].redelivered);
        CHECK_IS(got[i].acknowledged, is[i].acknowledged);
        CHECK_IS(got[i].dead, is[i].dead);
        CHECK_IS(got[i].ready, is[i].ready);
        CHECK_IS(got[i].leased, is[i].leased);
        CHECK_IS(got[i].kept, is[i].kept);
    }
    CHECK_IS(ipcr_queue_depth(g->handles[0]), depth);
}

static void run_program(uint64_t seed, uint64_t steps, uint64_t start)
{
    const struct ipcr_queue_options o = { .slots = SLOTS, .max_deliveries = seed % 4 };
    struct program g = { .random = seed * 1000000, .most = o.max_deliveries };
    g.segment = queue_of(IPCR_KIND_RELIABLE, LANES, &o, start);
    g.messages = calloc(MOST_MESSAGES, sizeof *g.messages);
    CHECK(g.messages != NULL);
    for (int i = 0; i < HANDLES; i++)
        g.handles[i] = handle_on(g.segment);
    for (uint64_t i = 0; i < steps && g.count < MOST_MESSAGES; i++) {
        const uint64_t what = choose(&g, 100);
        if (what < 35)
            step_put(&g);
        else if (what < 65)
            step_lease(&g);
        else if (what < 88)
            step_end(&g);
        else if (what < 93)
            step_kept(&g);
        else if (what < 96)
            step_time(&g);
        else if (what < 98)
            step_close(&g);
        else if (choose(&g, 4) == 0)
            step_purge(&g);
        notice_what_expired(&g);
        check_counts(&g);
    }
    for (int i = 0; i < HANDLES; i++)
        ipcr_queue_free(g.handles[i]);
    ipcr_segment_release(g.segment);
    free(g.messages);
}

static void random_programs_agree_with_a_simple_model(void)
{
    for (uint64_t seed = 0; seed < FEWER(400, 60); seed++)
        run_program(seed, 400, 0);
}

static void so_they_do_where_laps_wrap(void)
{
    for (uint64_t seed = 1000; seed < FEWER(1400, 1060); seed++)
        run_program(seed, 400, SLOTS * ((1 << IPCR_LAP_BITS) - 3) - seed % SLOTS);
}

static void so_does_a_long_one(void)
{
    run_program(7, 4000, 0);
}

int main(void)
{
    check_begin();
    run("random programs agree with a simple model", random_programs_agree_with_a_simple_model);
    run("so they do where laps wrap", so_they_do_where_laps_wrap);
    run("so does a long one", so_does_a_long_one);
    return check_finish();
}

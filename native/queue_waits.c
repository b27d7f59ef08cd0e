/* queue_waits.c - waiting for messages, room and receipts, one slice at a time; and telling those who wait.
 *
 * The gates are gates.h's.  Whoever was woken and took something, or can't, looks whether there is more for the others.
 */
#include "queue.h"

enum { SLICES_AT_ONCE = 2 }; /* a signal that another thread has got is seen by Python after these */

/* --- the end of a message: room, receipts -------------------------------------------------------------------------- */

static void tell(ipcr_word32 *parked, const ipcr_word64 *which, uint64_t sequence)
{
    if (!ipcr_gate_is_armed(parked)) /* acquire: what they wait for was written before */
        return;
    const uint64_t at = load_relaxed64(which);
    if (at == sequence || at == IPCR_ANY_OUTCOME)
        ipcr_gate_open(parked, IPCR_ALL);
}

void ipcr_queue_tell_kept(struct ipcr_queue *q, uint32_t lane, uint64_t sequence)
{
    struct ipcr_lane_words *w = q->segment->lane[lane].words;
    fence_store_load(); /* G */
    tell(&w->outcome_parked, &w->outcome_at, sequence);
}

void ipcr_queue_tell_done(struct ipcr_queue *q, uint32_t lane, uint64_t sequence)
{
    struct ipcr_lane_words *w = q->segment->lane[lane].words;
    fence_store_load(); /* G: for all three */
    tell(&w->room_parked, &w->room_at, sequence);
    tell(&w->outcome_parked, &w->outcome_at, sequence);
    if (ipcr_gate_is_armed(&q->header->room_parked))
        ipcr_gate_open(&q->header->room_parked, 1);
}

/* --- waiting ------------------------------------------------------------------------------------------------------ */

struct wish {
    struct ipcr_queue *q;
    const struct ipcr_lane *lane;
    uint64_t sequence;
    uint64_t now_ns;
};

static uint64_t slice_end(uint64_t now_ns, uint64_t deadline_ns)
{
    const uint64_t slice = now_ns + IPCR_SLICE_NS;
    return slice < deadline_ns ? slice : deadline_ns;
}

static bool is_over(const struct ipcr_queue *q)
{
    return load_acquire32(&q->closing) != 0 || load_acquire32(&q->header->shutdown) != IPCR_OPEN;
}

/* What spins and sleeps look at: the first message of each lane by its hint, without moving it. */
static bool message_is_there(const void *what)
{
    const struct wish *w = what;
    const struct ipcr_queue *q = w->q;
    if (is_over(q))
        return true;
    const uint32_t high = load_acquire32(&q->header->lanes_high);
    for (uint32_t i = 0; i < high && i < q->segment->lanes; i++) {
        const struct ipcr_lane *l = &q->segment->lane[i];
        if (load_acquire32(&l->mapped) == 0) {
            if (load_acquire32(&l->words->used) != 0)
                return true;
            continue;
        }
        uint64_t at = load_acquire64(&l->words->take);
        for (uint64_t steps = 0; steps <= l->mask; steps++, at++) {
            const uint64_t state = load_acquire64(&ipcr_slot_at(l, at)->state);
            if (ipcr_is_yet_to_come(l, at, state))
                break;
            if (!ipcr_is_there(l, at, state) || ipcr_is_takeable(state, w->now_ns))
                return true; /* where the hint lags, a real look finds out */
        }
    }
    return false;
}

/* Spin for as long as it has paid lately, where somebody else can run meanwhile.  The budget is the handle's, and its
 * threads share it. */
static bool spin_for(pthread_mutex_t *lock, struct ipcr_spin *budget, ipcr_ready *ready, const struct wish *wish)
{
    uint32_t only;
    pthread_mutex_lock(lock);
    struct ipcr_spin mine = *budget;
    pthread_mutex_unlock(lock);
    if ((mine.budget_ns == 0 && mine.setting_ns != IPCR_SPIN_AUTO) || ipcr_os_cpus(&only) < 2)
        return false;
    const bool found = ipcr_spin_until(&mine, ready, wish, UINT64_MAX);
    pthread_mutex_lock(lock);
    *budget = mine;
    pthread_mutex_unlock(lock);
    return found;
}

bool ipcr_queue_spin_for_message(struct ipcr_queue *q)
{
    const struct wish wish = { .q = q, .now_ns = ipcr_os_now_ns() };
    return spin_for(&q->consuming, &q->get_spin, message_is_there, &wish);
}

void ipcr_queue_pass_on(struct ipcr_queue *q, int rc)
{
    if (rc == IPCR_EMPTY || load_relaxed32(&q->get_woken) == 0)
        return;
    const struct wish wish = { .q = q, .now_ns = ipcr_os_now_ns() };
    store_relaxed32(&q->get_woken, 0);
    fence_store_load(); /* G: the gate was armed anew before; what came before that, unannounced, is seen here */
    if (ipcr_gate_is_armed(&q->header->consumers_parked) && message_is_there(&wish))
        ipcr_gate_open(&q->header->consumers_parked, 1);
}

/* At the end of a slice without a message: deaths, late leases, lost hints. */
static int look_after_others(struct ipcr_queue *q)
{
    pthread_mutex_lock(&q->consuming);
    int rc = ipcr_queue_ready(q);
    if (rc == IPCR_OK)
        rc = ipcr_queue_repair(q, ipcr_os_now_ns());
    if (rc == IPCR_OK)
        rc = ipcr_queue_fix_hints(q);
    rc = ipcr_queue_checked(q, rc);
    pthread_mutex_unlock(&q->consuming);
    return rc;
}

int ipcr_queue_wait_for_message(struct ipcr_queue *q, uint64_t deadline_ns)
{
    struct wish wish = { .q = q };
    int rc = IPCR_OK;
    /* Not back to the caller after each slice: a Python frame with cold caches costs as much as all of this. */
    for (int slices = 0; rc == IPCR_OK && slices < SLICES_AT_ONCE; slices++) {
        bool slept = false;
        wish.now_ns = ipcr_os_now_ns();
        const uint64_t until = slice_end(wish.now_ns, deadline_ns);
        rc = ipcr_gate_wait(&q->header->consumers_parked, message_is_there, &wish, until, &slept);
        if (slept)
            store_relaxed32(&q->get_woken, 1);
        if (rc == IPCR_AGAIN) /* a signal, whose handler may raise: the wake-up that we may have eaten goes on */
            ipcr_queue_pass_on(q, IPCR_OK);
        if (!slept || ipcr_os_now_ns() < until)
            break; /* something is there, or was */
        if (rc == IPCR_OK)
            rc = look_after_others(q);
        if (until == deadline_ns)
            break;
    }
    return rc;
}

static bool there_is_room(const void *what)
{
    const struct wish *w = what;
    return is_over(w->q) || ipcr_queue_is_full(w->q) != 1; /* who can't tell tries, and is told why */
}

static bool is_done(const void *what)
{
    const struct wish *w = what;
    const uint64_t state = load_acquire64(&ipcr_slot_at(w->lane, w->sequence)->state);
    return is_over(w->q) || !ipcr_is_there(w->lane, w->sequence, state) || ipcr_is_done(state);
}

/* A receipt's holder also wants to know that nobody will get the message any more. */
static bool is_decided(const void *what)
{
    const struct wish *w = what;
    const uint64_t state = load_acquire64(&ipcr_slot_at(w->lane, w->sequence)->state);
    return load_acquire32(&w->q->closing) != 0 || !ipcr_is_there(w->lane, w->sequence, state) || ipcr_is_done(state) ||
           ipcr_phase_of(state) == IPCR_KEPT;
}

/* Until a message of our lane is done with, one slice at most.  All who wait at a lane's gate are threads of this process:
 * while there is only one, it is woken by the end of just that message, otherwise all are by the end of any. */
static int wait_for_end(struct ipcr_queue *q, ipcr_word32 *parked, ipcr_word64 *which, uint32_t *waiters,
                        ipcr_ready *ready, struct wish *wish, uint64_t deadline_ns, bool *slept)
{
    const uint64_t until = slice_end(ipcr_os_now_ns(), deadline_ns);
    pthread_mutex_lock(&q->producing);
    int rc = ipcr_queue_ready(q); /* a closed handle's lane, and the word, are another producer's */
    if (rc == IPCR_OK)
        store_relaxed64(which, ++*waiters == 1 ? wish->sequence : IPCR_ANY_OUTCOME);
    pthread_mutex_unlock(&q->producing);
    if (rc != IPCR_OK)
        return rc;
    rc = ipcr_gate_wait(parked, ready, wish, until, slept); /* its fence also stands behind `which` */
    pthread_mutex_lock(&q->producing);
    --*waiters;
    pthread_mutex_unlock(&q->producing);
    if (rc == IPCR_OK && *slept && ipcr_os_now_ns() >= until)
        rc = look_after_others(q);
    return rc;
}

static int wait_for_fewer(struct ipcr_queue *q, struct wish *wish, uint64_t deadline_ns, bool *slept)
{
    const uint64_t until = slice_end(ipcr_os_now_ns(), deadline_ns);
    int rc = ipcr_gate_wait(&q->header->room_parked, there_is_room, wish, until, slept);
    if (*slept)
        store_relaxed32(&q->put_woken, 1);
    if (rc == IPCR_AGAIN) /* a signal: as when waiting for a message */
        ipcr_queue_pass_room_on(q);
    if (rc == IPCR_OK && *slept && ipcr_os_now_ns() >= until)
        rc = look_after_others(q);
    return rc;
}

void ipcr_queue_note_sleep(struct ipcr_queue *q)
{
    if (q->parked_ns == 0 || q->lanes_taken == 0)
        return;
    ipcr_word64 *noted = &q->own[q->turn].lane->words->parked_ns;
    store_relaxed64(noted, load_relaxed64(noted) + q->parked_ns);
    q->parked_ns = 0;
}

int ipcr_queue_wait_for_room(struct ipcr_queue *q, uint64_t length, uint64_t deadline_ns)
{
    struct wish wish = { .q = q };
    struct ipcr_lane_words *words = NULL;
    pthread_mutex_lock(&q->producing);
    int rc = ipcr_queue_ready(q);
    const bool crowded = ipcr_queue_is_full(q) == 1;
    if (rc == IPCR_OK && !crowded && q->lanes_taken > 0) {
        const struct ipcr_producer *p = &q->own[q->turn];
        wish.lane = p->lane;
        wish.sequence = ipcr_producer_obstacle(p, length);
        words = p->lane->words;
    }
    pthread_mutex_unlock(&q->producing);
    if (!crowded) /* our lane is full, whatever we were woken for */
        ipcr_queue_pass_room_on(q);
    if (rc != IPCR_OK || (!crowded && words == NULL))
        return rc;
    if (spin_for(&q->producing, &q->put_spin, crowded ? there_is_room : is_done, &wish))
        return IPCR_OK;
    bool slept = false;
    const uint64_t since = ipcr_os_now_ns();
    rc = crowded ? wait_for_fewer(q, &wish, deadline_ns, &slept)
                 : wait_for_end(q, &words->room_parked, &words->room_at, &q->room_waiters, is_done, &wish, deadline_ns,
                                &slept);
    if (slept) {
        pthread_mutex_lock(&q->producing);
        q->parked_ns += ipcr_os_now_ns() - since;
        ipcr_queue_note_sleep(q);
        pthread_mutex_unlock(&q->producing);
    }
    return rc;
}

/* --- receipts ------------------------------------------------------------------------------------------------------ */

static struct ipcr_producer *producer_of(struct ipcr_queue *q, uint64_t id)
{
    for (uint32_t i = 0; i < q->lanes_taken; i++)
        if (q->own[i].index == id % q->segment->lanes)
            return &q->own[i];
    return NULL;
}

static int outcome(struct ipcr_queue *q, uint64_t id, struct ipcr_lane **lane)
{
    pthread_mutex_lock(&q->producing);
    int rc = ipcr_queue_ready(q);
    if (rc == IPCR_OK) {
        const struct ipcr_producer *p = producer_of(q, id);
        rc = p == NULL ? IPCR_NOT_FOUND : ipcr_queue_checked(q, ipcr_producer_outcome(p, id / q->segment->lanes));
        *lane = p == NULL ? NULL : p->lane;
    }
    pthread_mutex_unlock(&q->producing);
    return rc;
}

int ipcr_queue_outcome(struct ipcr_queue *q, uint64_t id)
{
    struct ipcr_lane *lane;
    return outcome(q, id, &lane);
}

int ipcr_queue_wait_for_outcome(struct ipcr_queue *q, uint64_t id, uint64_t deadline_ns)
{
    struct wish wish = { .q = q, .sequence = id / q->segment->lanes };
    struct ipcr_lane *lane = NULL;
    int rc = outcome(q, id, &lane);
    if (rc < 0 || (rc != IPCR_READY && rc != IPCR_LEASED))
        return rc < 0 ? rc : IPCR_OK;
    wish.lane = lane;
    bool slept = false;
    return wait_for_end(q, &lane->words->outcome_parked, &lane->words->outcome_at, &q->outcome_waiters, is_decided,
                        &wish, deadline_ns, &slept);
}

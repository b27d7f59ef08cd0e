/* queue.c - a handle's life, putting, and waiting. */
#include "queue.h"
#include "registry.h"

#include <errno.h>
#include <stdlib.h>

/* --- the handle --------------------------------------------------------------------------------------------------- */

int ipcr_queue_open(struct ipcr_segment *segment, uint64_t spin_ns, struct ipcr_queue **out)
{
    struct ipcr_queue *q = calloc(1, sizeof *q);
    struct ipcr_lane_end *ends = calloc(segment->lanes, sizeof *ends);
    if (q == NULL || ends == NULL) {
        free(q);
        free(ends);
        return IPCR_FROM_ERRNO(ENOMEM);
    }
    q->segment = segment;
    q->header = ipcr_queue_header(segment);
    q->ends = ends;
    q->pid = ipcr_os_pid();
    pthread_mutex_init(&q->producing, NULL);
    pthread_mutex_init(&q->consuming, NULL);
    ipcr_spin_init(&q->get_spin, spin_ns);
    ipcr_spin_init(&q->put_spin, spin_ns);
    ipcr_registry_lock();
    store_relaxed32(&q->generation, ipcr_fork_generation);
    segment->references++;
    q->next = segment->queues;
    segment->queues = q;
    ipcr_registry_unlock();
    *out = q;
    return IPCR_OK;
}

int ipcr_queue_ready(struct ipcr_queue *q)
{
    if (load_acquire32(&q->closing) != 0)
        return IPCR_CLOSED;
    if (load_relaxed32(&q->corrupt) != 0)
        return IPCR_CORRUPT;
    if (q->segment->presence.page != NULL)
        return IPCR_OK;
    ipcr_registry_lock(); /* a child for which no descriptor was left at the fork */
    const int rc = ipcr_segment_be_present(q->segment);
    ipcr_registry_unlock();
    return rc;
}

int ipcr_queue_checked(struct ipcr_queue *q, int rc)
{
    if (rc == IPCR_CORRUPT)
        store_relaxed32(&q->corrupt, 1);
    return rc;
}

/* Both locks are held: give back what others may go on with. */
static void give_back(struct ipcr_queue *q)
{
    if (q->registered) {
        if (ipcr_queue_sweep(q, q->holder) == IPCR_OK)
            store_release32(&q->header->holders[q->holder].active, 0);
        ipcr_registry_lock();
        ipcr_hold_drop(&q->hold);
        ipcr_registry_unlock();
        q->registered = false;
    }
    for (; q->lanes_taken > 0; q->lanes_taken--) {
        ipcr_registry_lock();
        ipcr_producer_give_back(&q->own[q->lanes_taken - 1]);
        ipcr_registry_unlock();
    }
}

static void wake_own_threads(struct ipcr_queue *q)
{
    ipcr_gate_open_wide(&q->header->consumers_parked);
    ipcr_gate_open_wide(&q->header->room_parked);
    ipcr_gate_open_wide(&q->header->finished_parked);
    for (uint32_t i = 0; i < q->lanes_taken; i++) {
        ipcr_gate_open_wide(&q->own[i].lane->words->room_parked);
        ipcr_gate_open_wide(&q->own[i].lane->words->outcome_parked);
    }
}

void ipcr_queue_close(struct ipcr_queue *q)
{
    if (exchange_acq_rel32(&q->closing, 1) != 0)
        return;
    pthread_mutex_lock(&q->producing);
    pthread_mutex_lock(&q->consuming);
    fence_store_load(); /* G: whoever goes to sleep after this sees `closing` */
    wake_own_threads(q);
    give_back(q);
    pthread_mutex_unlock(&q->consuming);
    pthread_mutex_unlock(&q->producing);
}

void ipcr_queue_free(struct ipcr_queue *q)
{
    struct ipcr_segment *s = q->segment;
    ipcr_queue_close(q);
    ipcr_registry_lock();
    for (struct ipcr_queue **at = &s->queues; *at != NULL; at = &(*at)->next)
        if (*at == q) {
            *at = q->next;
            break;
        }
    const bool last = ipcr_segment_release_locked(s);
    ipcr_registry_unlock();
    if (last)
        ipcr_segment_leave(s);
    pthread_mutex_destroy(&q->producing);
    pthread_mutex_destroy(&q->consuming);
    free(q->ends);
    free(q);
}

/* Holds are not mapped in a child, and whoever was inside is no thread of it. */
struct ipcr_queue *ipcr_queue_after_fork_in_child(struct ipcr_queue *q)
{
    pthread_mutex_init(&q->producing, NULL);
    pthread_mutex_init(&q->consuming, NULL);
    for (uint32_t i = 0; i < IPCR_MOST_LANES_EACH; i++)
        q->own[i] = (struct ipcr_producer){ .lane = NULL };
    q->pid = ipcr_os_pid();
    q->lanes_taken = 0;
    q->enough_lanes = false;
    q->room_waiters = q->outcome_waiters = 0;
    q->registered = false;
    q->hold.page = NULL;
    store_relaxed32(&q->generation, ipcr_fork_generation);
    return q->next;
}

void ipcr_queue_get_options(const struct ipcr_queue *q, struct ipcr_queue_options *out) { *out = q->segment->options; }

/* --- putting ------------------------------------------------------------------------------------------------------ */

int ipcr_queue_take_lane(struct ipcr_queue *q, bool may_allocate)
{
    pthread_mutex_lock(&q->producing);
    int rc = ipcr_queue_ready(q);
    if (rc == IPCR_OK && q->lanes_taken < q->segment->options.lanes_each) {
        rc = ipcr_queue_checked(q, ipcr_producer_take(&q->own[q->lanes_taken], q->segment, may_allocate));
        if (rc == IPCR_OK)
            q->turn = q->lanes_taken++;
        else if (may_allocate && q->lanes_taken > 0)
            q->enough_lanes = true; /* the others have theirs: we make do with fewer */
    }
    pthread_mutex_unlock(&q->producing);
    return rc;
}

/* A lane with room: the one at hand, or another of those that one producer may have. */
static int find_room(struct ipcr_queue *q, uint64_t length, struct ipcr_producer **out)
{
    if (load_acquire32(&q->header->shutdown) != IPCR_OPEN)
        return IPCR_SHUT_DOWN;
    if (length > q->segment->capacity) /* at once, and not only when there is room */
        return IPCR_TOO_LARGE;
    if (q->segment->options.maxsize != 0 && ipcr_queue_is_full(q))
        return IPCR_FULL;
    int rc = IPCR_FULL;
    for (uint32_t i = 0; rc == IPCR_FULL && i < q->lanes_taken; i++) {
        *out = &q->own[q->turn];
        rc = ipcr_producer_room(*out, length);
        if (rc == IPCR_FULL)
            q->turn = (q->turn + 1) % q->lanes_taken;
    }
    if (rc != IPCR_FULL || q->enough_lanes || q->lanes_taken == q->segment->options.lanes_each)
        return rc;
    return IPCR_NOT_TAKEN;
}

static uint64_t publish(struct ipcr_queue *q, struct ipcr_producer *p, uint64_t length, uint64_t info, uint64_t now,
                        uint64_t ttl_ns)
{
    const uint64_t expires = ttl_ns == 0 ? 0 : ttl_ns < UINT64_MAX - now ? now + ttl_ns : UINT64_MAX;
    const uint64_t sequence = ipcr_producer_publish(p, length, info, now, expires, q->pid);
    return IPCR_QUEUE_ID(q, p->index, sequence);
}

static int put_bytes(struct ipcr_queue *q, const char *message, uint64_t length, uint64_t info, uint64_t now,
                     uint64_t ttl_ns, uint64_t *id)
{
    struct ipcr_producer *p;
    const int rc = ipcr_queue_checked(q, find_room(q, length, &p));
    if (rc != IPCR_OK)
        return rc;
    racy_write(ipcr_producer_payload(p), message, length); /* V: a stalled holder may be copying what stood there */
    *id = publish(q, p, length, info, now, ttl_ns);
    return IPCR_OK;
}

/* We were woken for room, and have used it or can't: if there is more, others may wait for it as well. */
static void pass_room_on(struct ipcr_queue *q)
{
    if (load_relaxed32(&q->put_woken) == 0)
        return;
    store_relaxed32(&q->put_woken, 0);
    fence_store_load(); /* G: as in ipcr_queue_pass_on */
    if (ipcr_gate_is_armed(&q->header->room_parked) && !ipcr_queue_is_full(q))
        ipcr_gate_open(&q->header->room_parked, 1);
}

/* n messages have come. */
static void tell_put(struct ipcr_queue *q, int n)
{
    ipcr_gate_signal(&q->header->consumers_parked, n);
    pass_room_on(q);
}

int64_t ipcr_queue_put_one(struct ipcr_queue *q, const char *message, uint64_t length, uint64_t info, uint64_t ttl_ns)
{
    uint64_t id = 0;
    pthread_mutex_lock(&q->producing);
    int rc = ipcr_queue_ready(q);
    if (rc == IPCR_OK)
        rc = put_bytes(q, message, length, info, ipcr_os_now_ns(), ttl_ns, &id);
    pthread_mutex_unlock(&q->producing);
    if (rc != IPCR_OK)
        return rc;
    tell_put(q, 1);
    return (int64_t)id;
}

/* Bytes that the message may take, wherever it comes to lie: the gap behind its first piece is as wide as it can be.
 * (Those behind the others don't depend on that.) */
static uint64_t longest(const struct ipcr_piece *pieces, uint64_t count)
{
    const uint64_t skew = (1 - pieces[0].length) & (IPCR_DATA_ALIGNMENT - 1);
    return ipcr_pieces_length(pieces, count, skew);
}

/* As ipcr_pieces_copy does for channels, where nobody reads meanwhile. */
static void write_pieces(uint8_t *to, const struct ipcr_piece *pieces, uint64_t count, uint64_t skew)
{
    uint64_t end = skew;
    for (uint64_t i = 0; i < count; i++) {
        const uint64_t start = i == 0 ? end : ipcr_align_data(end);
        racy_write(to + (start - skew), pieces[i].data, pieces[i].length); /* V: as in put_bytes */
        end = start + pieces[i].length;
    }
}

int ipcr_queue_put_pieces(struct ipcr_queue *q, const struct ipcr_piece *pieces, uint64_t count, struct ipcr_put *put)
{
    struct ipcr_producer *p;
    pthread_mutex_lock(&q->producing);
    int rc = ipcr_queue_ready(q);
    if (rc == IPCR_OK)
        rc = ipcr_queue_checked(q, find_room(q, longest(pieces, count), &p));
    if (rc == IPCR_OK) {
        const uint64_t skew = p->position & (IPCR_DATA_ALIGNMENT - 1);
        const uint64_t length = ipcr_pieces_length(pieces, count, skew);
        write_pieces(ipcr_producer_payload(p), pieces, count, skew);
        put->id = publish(q, p, length, put->info, ipcr_os_now_ns(), put->ttl_ns);
    }
    pthread_mutex_unlock(&q->producing);
    if (rc == IPCR_OK)
        tell_put(q, 1);
    return rc;
}

int64_t ipcr_queue_put_many(struct ipcr_queue *q, const char *messages, const uint64_t *lengths, const uint64_t *infos,
                            uint64_t count, uint64_t ttl_ns, uint64_t *ids)
{
    uint64_t done = 0;
    pthread_mutex_lock(&q->producing);
    const uint64_t now = ipcr_os_now_ns();
    int rc = ipcr_queue_ready(q);
    while (rc == IPCR_OK && done < count) {
        uint64_t id;
        rc = put_bytes(q, messages, lengths[done], infos[done], now, ttl_ns, ids == NULL ? &id : &ids[done]);
        if (rc == IPCR_OK)
            messages += lengths[done++];
    }
    pthread_mutex_unlock(&q->producing);
    if (done > 0)
        tell_put(q, done < 64 ? (int)done : 64);
    return done > 0 ? (int64_t)done : rc;
}

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

static uint64_t slice_end(uint64_t deadline_ns)
{
    const uint64_t slice = ipcr_os_now_ns() + IPCR_SLICE_NS;
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
    struct wish wish = { .q = q, .now_ns = ipcr_os_now_ns() };
    bool slept = false;
    const uint64_t until = slice_end(deadline_ns);
    int rc = ipcr_gate_wait(&q->header->consumers_parked, message_is_there, &wish, until, &slept);
    if (slept)
        store_relaxed32(&q->get_woken, 1);
    if (rc == IPCR_AGAIN) /* a signal, whose handler may raise: the wake-up that we may have eaten goes on */
        ipcr_queue_pass_on(q, IPCR_OK);
    if (rc == IPCR_OK && slept && ipcr_os_now_ns() >= until)
        rc = look_after_others(q);
    return rc;
}

static bool there_is_room(const void *what)
{
    const struct wish *w = what;
    return is_over(w->q) || !ipcr_queue_is_full(w->q);
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
                        ipcr_ready *ready, struct wish *wish, uint64_t deadline_ns)
{
    bool slept = false;
    const uint64_t until = slice_end(deadline_ns);
    pthread_mutex_lock(&q->producing);
    int rc = ipcr_queue_ready(q); /* a closed handle's lane, and the word, are another producer's */
    if (rc == IPCR_OK)
        store_relaxed64(which, ++*waiters == 1 ? wish->sequence : IPCR_ANY_OUTCOME);
    pthread_mutex_unlock(&q->producing);
    if (rc != IPCR_OK)
        return rc;
    rc = ipcr_gate_wait(parked, ready, wish, until, &slept); /* its fence also stands behind `which` */
    pthread_mutex_lock(&q->producing);
    --*waiters;
    pthread_mutex_unlock(&q->producing);
    if (rc == IPCR_OK && slept && ipcr_os_now_ns() >= until)
        rc = look_after_others(q);
    return rc;
}

static int wait_for_fewer(struct ipcr_queue *q, struct wish *wish, uint64_t deadline_ns)
{
    bool slept = false;
    const uint64_t until = slice_end(deadline_ns);
    int rc = ipcr_gate_wait(&q->header->room_parked, there_is_room, wish, until, &slept);
    if (slept)
        store_relaxed32(&q->put_woken, 1);
    if (rc == IPCR_AGAIN) /* a signal: as when waiting for a message */
        pass_room_on(q);
    if (rc == IPCR_OK && slept && ipcr_os_now_ns() >= until)
        rc = look_after_others(q);
    return rc;
}

int ipcr_queue_wait_for_room(struct ipcr_queue *q, uint64_t length, uint64_t deadline_ns)
{
    struct wish wish = { .q = q };
    struct ipcr_lane_words *words = NULL;
    pthread_mutex_lock(&q->producing);
    const int rc = ipcr_queue_ready(q);
    const bool crowded = q->segment->options.maxsize != 0 && ipcr_queue_is_full(q);
    if (rc == IPCR_OK && !crowded && q->lanes_taken > 0) {
        const struct ipcr_producer *p = &q->own[q->turn];
        wish.lane = p->lane;
        wish.sequence = ipcr_producer_obstacle(p, length);
        words = p->lane->words;
    }
    pthread_mutex_unlock(&q->producing);
    if (!crowded) /* our lane is full, whatever we were woken for */
        pass_room_on(q);
    if (rc != IPCR_OK || (!crowded && words == NULL))
        return rc;
    if (spin_for(&q->producing, &q->put_spin, crowded ? there_is_room : is_done, &wish))
        return IPCR_OK;
    return crowded ? wait_for_fewer(q, &wish, deadline_ns)
                   : wait_for_end(q, &words->room_parked, &words->room_at, &q->room_waiters, is_done, &wish,
                                  deadline_ns);
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
    return wait_for_end(q, &lane->words->outcome_parked, &lane->words->outcome_at, &q->outcome_waiters, is_decided,
                        &wish, deadline_ns);
}

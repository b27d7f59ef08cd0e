/* repair.c - holders' numbers, and finishing what dead or late holders have left.
 *
 *   H1: a lease of number h exists only while active[h] = 1
 *   H2: active[h] goes to 0 only by whoever holds the lock byte of h, after a sweep: every lease of h was ended
 *   H3: whoever gets the byte and finds active[h] = 1 sweeps before anything else: the leases are a dead process's
 *
 * So "a lease whose holder is dead" is "active, and its byte is free", and one look at each number in use finds every
 * death, however many messages there are.  Leases with an end, and hints that were lost with a process, are another
 * matter: they are looked for message by message, a bounded number at a time.  Two who repair at once are held apart by the byte; a kill in the middle leaves active = 1
 * and a free byte, for the next one.
 */
#include "queue.h"
#include "registry.h"

enum { LOOKS_AT_ONCE = 4096 }; /* messages looked at, lane by lane, per slice: some 10 us */

static struct ipcr_lock_byte byte_of(uint32_t holder)
{
    return (struct ipcr_lock_byte){ .byte = IPCR_LOCK_HOLDER(holder), .exclusive = true };
}

void ipcr_lower_hint(ipcr_word64 *hint, uint64_t to)
{
    uint64_t seen = load_relaxed64(hint);
    while ((int64_t)(to - seen) < 0 && !compare_exchange64(hint, &seen, to))
        ;
}

void ipcr_queue_tell_returned(struct ipcr_queue *q, uint32_t lane, uint64_t sequence)
{
    uint64_t seen = load_relaxed64(&q->header->returns);
    while (!compare_exchange64(&q->header->returns, &seen, seen + 1))
        ;
    fence_store_load(); /* N: taking.c */
    ipcr_lower_hint(&q->segment->lane[lane].words->take, sequence);
    ipcr_gate_signal(&q->header->consumers_parked, 1);
}

bool ipcr_queue_return(struct ipcr_queue *q, uint32_t lane, uint64_t sequence, uint64_t held, uint32_t from)
{
    struct ipcr_slot *slot = ipcr_slot_at(&q->segment->lane[lane], sequence);
    const uint64_t after =
        ipcr_after_return(held, from, q->segment->options.max_deliveries, load_relaxed32(&slot->forgiven));
    if (!ipcr_change(slot, held, after))
        return false;
    ipcr_queue_tell_returned(q, lane, sequence);
    if (ipcr_phase_of(after) == IPCR_KEPT)
        ipcr_queue_tell_kept(q, lane, sequence);
    return true;
}

bool ipcr_queue_expire(struct ipcr_queue *q, uint32_t lane, uint64_t sequence, uint64_t seen, uint64_t now_ns)
{
    struct ipcr_slot *slot = ipcr_slot_at(&q->segment->lane[lane], sequence);
    const uint64_t expires = load_relaxed64(&slot->expires);
    if (expires == 0 || now_ns < expires)
        return false;
    const uint64_t kept = ipcr_with(seen, IPCR_KEPT, IPCR_KEPT_EXPIRED, ipcr_deliveries_of(seen), IPCR_NO_TIME);
    if (ipcr_change(slot, seen, kept)) {
        ipcr_queue_tell_returned(q, lane, sequence); /* those who move kept messages look for it */
        ipcr_queue_tell_kept(q, lane, sequence);
    }
    return true;
}

typedef bool unwanted(const struct ipcr_queue *q, uint64_t state, uint64_t what);

static bool is_held_by(const struct ipcr_queue *q, uint64_t state, uint64_t holder)
{
    (void)q;
    return ipcr_phase_of(state) == IPCR_LEASED && ipcr_holder_of(state) == holder;
}

/* A lease of a number that isn't active is nobody's (H1): only nonsense can be one. */
static bool is_over(const struct ipcr_queue *q, uint64_t state, uint64_t now_ns)
{
    return ipcr_has_run_out(state, now_ns) || (ipcr_phase_of(state) == IPCR_LEASED &&
                                               load_acquire32(&q->header->holders[ipcr_holder_of(state)].active) == 0);
}

static bool is_none(const struct ipcr_queue *q, uint64_t state, uint64_t what)
{
    (void)q, (void)state, (void)what;
    return false;
}

/* Look at all messages of a lane that may not be done: end those leases, and mend the hint `take`, which a death may have
 * left above a message that came back.  *looked: at how many. */
static int tend(struct ipcr_queue *q, uint32_t lane, unwanted *which, uint64_t what, uint64_t *looked)
{
    struct ipcr_lane *l;
    uint64_t at, next;
    int rc = ipcr_lane_see(q->segment, lane, &l);
    if (rc == IPCR_NOT_FOUND)
        return IPCR_OK;
    if (rc == IPCR_OK)
        rc = ipcr_lane_bounds(l, &at, &next);
    if (rc != IPCR_OK)
        return rc;
    uint64_t take = load_acquire64(&l->words->take);
    if (take - at > next - at) { /* beyond the last message, or far behind: garbage, or very old */
        uint64_t seen = take;
        take = at;
        compare_exchange64(&l->words->take, &seen, at);
    }
    const uint64_t settled = load_acquire64(&l->words->settled);
    if (settled - at <= next - at) /* a hint: believed only where it makes sense */
        at = settled;
    bool all_done = true;
    uint64_t upto = at;
    for (; at != next; at++) {
        const uint64_t state = load_acquire64(&ipcr_slot_at(l, at)->state);
        if (!ipcr_is_there(l, at, state)) /* freed and taken again since */
            continue;
        if (!ipcr_is_sound(state))
            return IPCR_CORRUPT;
        all_done = all_done && ipcr_is_done(state);
        if (all_done)
            upto = at + 1;
        if (which(q, state, what))
            ipcr_queue_return(q, lane, at, state, IPCR_NO_TIME);
        else if (which == is_over && ipcr_phase_of(state) == IPCR_READY)
            ipcr_queue_expire(q, lane, at, state, what); /* also where nobody takes: its receipt waits */
        if (ipcr_phase_of(state) == IPCR_READY && (int64_t)(at - take) < 0)
            ipcr_lower_hint(&l->words->take, at);
        (*looked)++;
    }
    uint64_t seen = settled;
    if ((int64_t)(upto - settled) > 0)
        compare_exchange64(&l->words->settled, &seen, upto);
    return IPCR_OK;
}

static int tend_all(struct ipcr_queue *q, unwanted *which, uint64_t what)
{
    const uint32_t high = load_acquire32(&q->header->lanes_high);
    uint64_t looked = 0;
    int rc = high <= q->segment->lanes ? IPCR_OK : IPCR_CORRUPT;
    for (uint32_t i = 0; rc == IPCR_OK && i < high; i++)
        rc = tend(q, i, which, what, &looked);
    return rc;
}

int ipcr_queue_sweep(struct ipcr_queue *q, uint32_t holder) { return tend_all(q, is_held_by, holder); }
int ipcr_queue_fix_hints(struct ipcr_queue *q) { return tend_all(q, is_none, 0); }

/* The byte is ours: no lease of a predecessor may be left (H3). */
static int begin_with(struct ipcr_queue *q, uint32_t holder)
{
    struct ipcr_holder_words *h = &q->header->holders[holder];
    const int rc = load_acquire32(&h->active) != 0 ? ipcr_queue_sweep(q, holder) : IPCR_OK;
    if (rc != IPCR_OK)
        return rc;
    uint32_t high = load_relaxed32(&q->header->holders_high);
    while (high <= holder && !compare_exchange32(&q->header->holders_high, &high, holder + 1))
        ;
    store_relaxed32(&h->pid, ipcr_os_pid());
    store_release32(&h->active, 1);
    return IPCR_OK;
}

static int take_number(struct ipcr_queue *q, uint32_t holder, struct ipcr_hold *hold)
{
    const struct ipcr_lock_byte byte = byte_of(holder);
    ipcr_registry_lock(); /* a fork must not copy the description before it is mapped */
    const int rc = ipcr_hold_take(hold, q->segment->fd, q->segment->id, &byte, 1);
    ipcr_registry_unlock();
    return rc;
}

int ipcr_queue_register(struct ipcr_queue *q)
{
    if (q->registered)
        return IPCR_OK;
    for (uint32_t holder = 0; holder < IPCR_MOST_HOLDERS; holder++) {
        int rc = take_number(q, holder, &q->hold);
        if (rc == IPCR_TAKEN)
            continue;
        if (rc == IPCR_OK) {
            rc = begin_with(q, holder);
            if (rc != IPCR_OK)
                ipcr_hold_drop(&q->hold);
        }
        q->holder = holder;
        q->registered = rc == IPCR_OK;
        return rc;
    }
    return IPCR_TAKEN;
}

/* Somebody is dead: if nobody else is at it, end what it held. */
static int bury_holder(struct ipcr_queue *q, uint32_t holder)
{
    struct ipcr_hold hold;
    int rc = take_number(q, holder, &hold);
    if (rc == IPCR_TAKEN)
        return IPCR_OK;
    if (rc != IPCR_OK)
        return rc;
    struct ipcr_holder_words *h = &q->header->holders[holder];
    if (load_acquire32(&h->active) != 0) {
        rc = ipcr_queue_sweep(q, holder);
        if (rc == IPCR_OK)
            store_release32(&h->active, 0); /* H2 */
    }
    ipcr_hold_drop(&hold);
    return rc;
}

static int look_for_deaths(struct ipcr_queue *q)
{
    const uint32_t high = load_acquire32(&q->header->holders_high);
    for (uint32_t i = 0; i < high && i < IPCR_MOST_HOLDERS; i++) {
        bool held;
        if ((q->registered && i == q->holder) || load_acquire32(&q->header->holders[i].active) == 0)
            continue;
        int rc = ipcr_probe(q->segment->fd, q->segment->id, IPCR_LOCK_HOLDER(i), &held);
        if (rc == IPCR_OK && !held)
            rc = bury_holder(q, i);
        if (rc != IPCR_OK)
            return rc;
    }
    return IPCR_OK;
}

static int look_at_messages(struct ipcr_queue *q, uint64_t now_ns)
{
    const uint32_t high = load_acquire32(&q->header->lanes_high);
    uint64_t looked = 0;
    int rc = high <= q->segment->lanes ? IPCR_OK : IPCR_CORRUPT;
    for (uint32_t n = 0; rc == IPCR_OK && n < high && looked < LOOKS_AT_ONCE; n++) {
        if (q->repair_lane >= high)
            q->repair_lane = 0;
        rc = tend(q, q->repair_lane++, is_over, now_ns, &looked);
    }
    return rc;
}

int ipcr_queue_repair(struct ipcr_queue *q, uint64_t now_ns)
{
    q->next_repair_ns = now_ns + IPCR_SLICE_NS;
    const int rc = look_for_deaths(q);
    return rc == IPCR_OK ? look_at_messages(q, now_ns) : rc;
}

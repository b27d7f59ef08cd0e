/* ending.c - how a lease ends; and what can be done with messages that are kept.
 *
 * All of it is for whoever holds the lease: anybody else gets IPCR_LEASE_LOST, and changes nothing.
 */
#include "queue.h"

static struct ipcr_slot *slot_of(const struct ipcr_queue *q, const struct ipcr_lease *l)
{
    return ipcr_slot_at(&q->segment->lane[l->lane], l->sequence);
}

/* A closed handle has given its leases back. */
static int enter(struct ipcr_queue *q)
{
    pthread_mutex_lock(&q->consuming);
    const int rc = ipcr_queue_ready(q);
    if (rc != IPCR_OK)
        pthread_mutex_unlock(&q->consuming);
    return rc;
}

static int leave(struct ipcr_queue *q, int rc)
{
    pthread_mutex_unlock(&q->consuming);
    return rc;
}

/* Whoever was forked from the holder has no lease, even if it has the dead one's number by now. */
static int enter_with(struct ipcr_queue *q, const struct ipcr_lease *l)
{
    const int rc = enter(q);
    const bool ours = q->registered && q->holder == ipcr_holder_of(l->held);
    if (rc != IPCR_OK || (ours && load_relaxed32(&q->generation) == l->generation))
        return rc;
    return leave(q, IPCR_LEASE_LOST);
}

static int finish(struct ipcr_queue *q, const struct ipcr_lease *l, enum ipcr_phase phase)
{
    const int rc = enter_with(q, l);
    if (rc != IPCR_OK)
        return rc;
    if (!ipcr_finish(slot_of(q, l), l->held, phase))
        return leave(q, IPCR_LEASE_LOST);
    ipcr_queue_tell_done(q, l->lane, l->sequence);
    return leave(q, IPCR_OK);
}

int ipcr_lease_ack(struct ipcr_queue *q, const struct ipcr_lease *l) { return finish(q, l, IPCR_ACKED); }
int ipcr_lease_bury(struct ipcr_queue *q, const struct ipcr_lease *l) { return finish(q, l, IPCR_DEAD); }

int ipcr_lease_nack(struct ipcr_queue *q, const struct ipcr_lease *l, uint64_t delay_ns)
{
    const int rc = enter_with(q, l);
    if (rc != IPCR_OK)
        return rc;
    const uint32_t from = ipcr_units_until(delay_ns == 0 ? 0 : ipcr_os_now_ns(), delay_ns);
    return leave(q, ipcr_queue_return(q, l->lane, l->sequence, l->held, from) ? IPCR_OK : IPCR_LEASE_LOST);
}

uint64_t ipcr_lease_end_many(struct ipcr_queue *q, const struct ipcr_lease *leases, uint64_t count, uint64_t taken)
{
    uint64_t acknowledged = 0;
    while (acknowledged < taken && ipcr_lease_ack(q, &leases[acknowledged]) == IPCR_OK)
        acknowledged++;
    for (uint64_t i = count; i-- > taken;) /* closed: it was given back already */
        ipcr_lease_nack(q, &leases[i], 0);
    return acknowledged;
}

int ipcr_lease_extend(struct ipcr_queue *q, struct ipcr_lease *l, uint64_t lease_ns)
{
    const int rc = enter_with(q, l);
    if (rc != IPCR_OK)
        return rc;
    const uint64_t longer = ipcr_with(l->held, IPCR_LEASED, ipcr_holder_of(l->held), ipcr_deliveries_of(l->held),
                                      ipcr_units_until(ipcr_os_now_ns(), lease_ns));
    if (!ipcr_change(slot_of(q, l), l->held, longer))
        return leave(q, IPCR_LEASE_LOST);
    l->held = longer;
    return leave(q, IPCR_OK);
}

bool ipcr_lease_is_held(struct ipcr_queue *q, const struct ipcr_lease *l)
{
    if (enter_with(q, l) != IPCR_OK)
        return false;
    const uint64_t state = load_acquire64(&slot_of(q, l)->state);
    return leave(q, state == l->held && !ipcr_has_run_out(state, ipcr_os_now_ns()));
}

/* --- kept messages ------------------------------------------------------------------------------------------------ */

/* The slot may have another message by now: lane bounds are those of a moment ago. */
static bool is_kept(const struct ipcr_lane *l, uint64_t sequence, uint64_t state)
{
    return ipcr_is_there(l, sequence, state) && ipcr_phase_of(state) == IPCR_KEPT;
}

static int next_kept(struct ipcr_queue *q, uint64_t after, struct ipcr_lease *out, uint32_t *why)
{
    const uint32_t high = load_acquire32(&q->header->lanes_high), lanes = q->segment->lanes;
    uint64_t best = UINT64_MAX, sequence = 0, held;
    uint32_t lane = 0;
    for (uint32_t i = 0; i < high && i < lanes; i++) {
        struct ipcr_lane *l;
        uint64_t at, next;
        int rc = ipcr_lane_see(q->segment, i, &l);
        if (rc == IPCR_NOT_FOUND)
            continue;
        if (rc == IPCR_OK)
            rc = ipcr_lane_bounds(l, &at, &next);
        if (rc != IPCR_OK)
            return rc;
        for (; at != next; at++) {
            const uint64_t id = IPCR_QUEUE_ID(q, i, at);
            if ((after == 0 || id > after) && id < best &&
                is_kept(l, at, load_acquire64(&ipcr_slot_at(l, at)->state))) {
                best = id;
                sequence = at;
                lane = i;
            }
        }
    }
    if (best == UINT64_MAX)
        return IPCR_EMPTY;
    const struct ipcr_lane *l = &q->segment->lane[lane];
    const uint64_t state = load_acquire64(&ipcr_slot_at(l, sequence)->state);
    if (!is_kept(l, sequence, state) ||
        !ipcr_lease(ipcr_slot_at(l, sequence), state, q->holder, IPCR_NO_TIME, &held))
        return IPCR_AGAIN; /* somebody else was faster */
    *why = ipcr_holder_of(state);
    return ipcr_queue_describe(q, lane, sequence, held, out);
}

int ipcr_queue_next_kept(struct ipcr_queue *q, uint64_t after, struct ipcr_lease *out, uint32_t *why)
{
    int rc = enter(q);
    if (rc != IPCR_OK)
        return rc;
    rc = ipcr_queue_register(q);
    while (rc == IPCR_OK && (rc = next_kept(q, after, out, why)) == IPCR_AGAIN)
        rc = IPCR_OK;
    return leave(q, ipcr_queue_checked(q, rc));
}

int ipcr_lease_keep(struct ipcr_queue *q, const struct ipcr_lease *l, uint32_t why)
{
    const int rc = enter_with(q, l);
    if (rc != IPCR_OK)
        return rc;
    const uint64_t kept = ipcr_with(l->held, IPCR_KEPT, why, ipcr_deliveries_of(l->held), IPCR_NO_TIME);
    return leave(q, ipcr_change(slot_of(q, l), l->held, kept) ? IPCR_OK : IPCR_LEASE_LOST);
}

int ipcr_lease_requeue(struct ipcr_queue *q, const struct ipcr_lease *l)
{
    const int rc = enter_with(q, l);
    if (rc != IPCR_OK)
        return rc;
    struct ipcr_slot *slot = slot_of(q, l);
    if (load_acquire64(&slot->state) != l->held || ipcr_when_of(l->held) != IPCR_NO_TIME)
        return leave(q, IPCR_LEASE_LOST); /* not ours, or not for as long as it takes to write the next two words */
    store_relaxed32(&slot->forgiven, ipcr_deliveries_of(l->held));
    store_relaxed64(&slot->expires, 0);
    if (!ipcr_change(slot, l->held,
                     ipcr_with(l->held, IPCR_READY, IPCR_REQUEUED, ipcr_deliveries_of(l->held), IPCR_NO_TIME)))
        return leave(q, IPCR_LEASE_LOST);
    ipcr_queue_tell_returned(q, l->lane, l->sequence);
    return leave(q, IPCR_OK);
}

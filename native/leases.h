/* leases.h - the life of one message, as one 64-bit word.
 *
 *   producer:  READY  --lease-->  LEASED  --ack-->  ACKED      space is freed by prefix, by the producer alone
 *                ^                  |
 *                +--nack, repair----+--too many deliveries-->  KEPT  --requeue-->  READY, or --purge-->  DEAD
 *
 * Every arrow is one compare-and-swap of the whole word, which has the lap of the slot, who holds the message, how
 * often it was delivered and until when the lease lasts.  So there is no moment between a lease and its date, a stale
 * compare-and-swap can't hit a later message of the same slot, and a kill leaves one state or the next.
 *
 * Edges (docs/memory-model.md):
 *   L: payload and slot, then state = READY (release)            ->  acquire by whoever leases
 *   A: the holder's loads, then state = ACKED, DEAD (acq_rel)    ->  acquire by the producer, before it writes there again
 *   V: the producer's acquire of ACKED, release fence, new bytes ->  a stalled holder's racy copy, acquire fence, state:
 *      whoever copied a single new byte sees that the word is not its own any more, and throws the copy away
 *
 * Functions here are for whoever knows that `slot` stands in a mapped lane; `seen` is always the word as it was loaded.
 */
#ifndef IPCR_LEASES_H
#define IPCR_LEASES_H

#include "os.h"
#include "queue_format.h"
#include "status.h"

#define IPCR_LAP_MASK ((UINT64_C(1) << IPCR_LAP_BITS) - 1)

static inline uint64_t ipcr_state(uint64_t lap, enum ipcr_phase phase, uint32_t holder, uint32_t deliveries,
                                  uint32_t when)
{
    return (lap & IPCR_LAP_MASK) << 45 | (uint64_t)phase << 42 | (uint64_t)(holder & 1023u) << 32 |
           (uint64_t)(deliveries & 255u) << 24 | (when & IPCR_NO_TIME);
}

static inline uint64_t ipcr_lap_of(uint64_t state) { return state >> 45; }
static inline uint32_t ipcr_phase_of(uint64_t state) { return (uint32_t)(state >> 42) & 7u; }
static inline uint32_t ipcr_holder_of(uint64_t state) { return (uint32_t)(state >> 32) & 1023u; }
static inline uint32_t ipcr_deliveries_of(uint64_t state) { return (uint32_t)(state >> 24) & 255u; }
static inline uint32_t ipcr_when_of(uint64_t state) { return (uint32_t)state & IPCR_NO_TIME; }

/* Is it a state at all that a message can be in? */
static inline bool ipcr_is_sound(uint64_t state) { return ipcr_phase_of(state) - 1 < IPCR_KEPT; }

static inline bool ipcr_is_done(uint64_t state)
{
    const uint32_t phase = ipcr_phase_of(state);
    return phase == IPCR_ACKED || phase == IPCR_DEAD;
}

/* --- time: 24 bits in units of 100 ms, of which a quarter (4.8 days) may lie ahead -------------------------------- */

/* The unit in which, or after which, `ns` lies: a lease never ends early. */
static inline uint32_t ipcr_to_units(uint64_t ns)
{
    const uint32_t units = (uint32_t)((ns + IPCR_TIME_UNIT_NS - 1) / IPCR_TIME_UNIT_NS) & IPCR_NO_TIME;
    return units == IPCR_NO_TIME ? 0 : units;
}

#define IPCR_LONGEST_LEASE_NS ((UINT64_C(1) << 22) * IPCR_TIME_UNIT_NS) /* a quarter of the range */

/* Only what may be set lies ahead (and two units, for rounding): all else is past, for as long as nobody looked. */
static inline bool ipcr_is_past(uint32_t when, uint64_t now_ns)
{
    const uint32_t now = (uint32_t)(now_ns / IPCR_TIME_UNIT_NS) & IPCR_NO_TIME;
    const uint32_t ahead = (when - now) & IPCR_NO_TIME;
    return when != IPCR_NO_TIME && (ahead == 0 || ahead > (uint32_t)(IPCR_LONGEST_LEASE_NS / IPCR_TIME_UNIT_NS) + 2);
}

/* What `when` says of something that lasts for `ns` from now on; 0: for ever. */
static inline uint32_t ipcr_units_until(uint64_t now_ns, uint64_t ns)
{
    return ns == 0 ? IPCR_NO_TIME : ipcr_to_units(now_ns + (ns < IPCR_LONGEST_LEASE_NS ? ns : IPCR_LONGEST_LEASE_NS));
}

/* --- transitions: whether it was ours ---------------------------------------------------------------------------- */

static inline uint64_t ipcr_with(uint64_t state, enum ipcr_phase phase, uint32_t holder, uint32_t deliveries,
                                 uint32_t when)
{
    return ipcr_state(ipcr_lap_of(state), phase, holder, deliveries, when);
}

static inline bool ipcr_change(struct ipcr_slot *slot, uint64_t seen, uint64_t to)
{
    return compare_exchange64(&slot->state, &seen, to);
}

/* READY or KEPT -> LEASED.  *held is the word that proves the lease. */
static inline bool ipcr_lease(struct ipcr_slot *slot, uint64_t seen, uint32_t holder, uint32_t until, uint64_t *held)
{
    const uint32_t before = ipcr_deliveries_of(seen);
    const uint32_t deliveries =
        ipcr_phase_of(seen) == IPCR_KEPT || before == IPCR_MOST_DELIVERIES ? before : before + 1;
    *held = ipcr_with(seen, IPCR_LEASED, holder, deliveries, until);
    return ipcr_change(slot, seen, *held);
}

/* LEASED -> ACKED or DEAD; false: the lease is not ours any more. */
static inline bool ipcr_finish(struct ipcr_slot *slot, uint64_t held, enum ipcr_phase phase)
{
    return ipcr_change(slot, held, ipcr_with(held, phase, 0, ipcr_deliveries_of(held), IPCR_NO_TIME));
}

/* What becomes of a lease that ended without an ack.  The count of deliveries never goes back: it is what tells one
 * lease of a message from another one of the same holder.  At the end of what can be counted each delivery that is
 * allowed again is the last. */
static inline uint64_t ipcr_after_return(uint64_t held, uint32_t from, uint64_t most, uint32_t forgiven)
{
    const uint32_t deliveries = ipcr_deliveries_of(held);
    return most != 0 && (deliveries >= most + forgiven || deliveries == IPCR_MOST_DELIVERIES)
               ? ipcr_with(held, IPCR_KEPT, IPCR_KEPT_DELIVERIES, deliveries, IPCR_NO_TIME)
               : ipcr_with(held, IPCR_READY, 0, deliveries, from);
}

static inline bool ipcr_is_takeable(uint64_t state, uint64_t now_ns)
{
    return ipcr_phase_of(state) == IPCR_READY &&
           (ipcr_when_of(state) == IPCR_NO_TIME || ipcr_is_past(ipcr_when_of(state), now_ns));
}

/* Is it over without its holder's doing?  (Its death is another matter: repair.c.) */
static inline bool ipcr_has_run_out(uint64_t state, uint64_t now_ns)
{
    return ipcr_phase_of(state) == IPCR_LEASED && ipcr_is_past(ipcr_when_of(state), now_ns);
}

#endif

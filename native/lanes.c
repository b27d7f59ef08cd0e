/* lanes.c - see lanes.h. */
#include "lanes.h"
#include "registry.h"

#include <errno.h>
#include <stdlib.h>

enum { BOUNDS_TRIES = 1000 };

/* In the life of a lane, some years at full speed: an id, which counts them for IPCR_MOST_LANES lanes, is never negative,
 * as a status is. */
#define MOST_MESSAGES (UINT64_C(1) << 52)

int ipcr_lanes_open(struct ipcr_segment *s)
{
    s->lane = calloc(s->lanes, sizeof *s->lane);
    if (s->lane == NULL)
        return IPCR_FROM_ERRNO(ENOMEM);
    uint32_t shift = 0;
    while ((UINT64_C(1) << shift) < s->options.slots)
        shift++;
    for (uint32_t i = 0; i < s->lanes; i++) {
        s->lane[i].words = &ipcr_queue_header(s)->lane[i];
        s->lane[i].mask = s->options.slots - 1;
        s->lane[i].lap_shift = shift;
    }
    return IPCR_OK;
}

static uint64_t slots_bytes(const struct ipcr_segment *s)
{
    return ipcr_to_pages(s->options.slots * IPCR_SLOT_BYTES, ipcr_os_page_bytes());
}

void ipcr_lanes_close(struct ipcr_segment *s)
{
    for (uint32_t i = 0; s->lane != NULL && i < s->lanes; i++)
        if (load_acquire32(&s->lane[i].mapped) != 0)
            ipcr_os_unmap(s->lane[i].slots, slots_bytes(s) + 2 * s->capacity);
    free(s->lane);
    s->lane = NULL;
}

/* Sequences begin at one lap, so that a slot of zeros was never used. */
void ipcr_lanes_initialise(struct ipcr_segment *s)
{
    const uint64_t first = s->start_position + s->options.slots;
    for (uint32_t i = 0; i < s->lanes; i++) {
        struct ipcr_lane_words *w = s->lane[i].words;
        store_relaxed64(&w->take, first);
        store_relaxed64(&w->settled, first);
        store_relaxed64(&w->head, first);
        store_relaxed64(&w->freed, first);
        store_relaxed64(&w->mark[0].freed, first);
    }
}

/* As a ring's data area: one reservation, then the slots and the data, and the data once more behind them. */
static int map_lane(struct ipcr_segment *s, uint32_t index)
{
    struct ipcr_lane *l = &s->lane[index];
    const uint64_t slots = slots_bytes(s), all = slots + 2 * s->capacity;
    const uint64_t offset = s->header_bytes + index * ipcr_lane_footprint(s->options.slots, s->capacity);
    uint8_t *base;
    int rc = ipcr_os_reserve(all, &base);
    if (rc != IPCR_OK)
        return rc;
    rc = ipcr_os_map(base, s->fd, offset, slots + s->capacity);
    if (rc == IPCR_OK)
        rc = ipcr_os_map(base + slots + s->capacity, s->fd, offset + slots, s->capacity);
    if (rc != IPCR_OK) {
        ipcr_os_unmap(base, all);
        return rc;
    }
    l->slots = (struct ipcr_slot *)(void *)base;
    l->data = base + slots;
    store_release32(&l->mapped, 1);
    return IPCR_OK;
}

int ipcr_lane_see_locked(struct ipcr_segment *s, uint32_t index, struct ipcr_lane **out)
{
    *out = &s->lane[index];
    if (load_acquire32(&s->lane[index].mapped) != 0)
        return IPCR_OK;
    const uint32_t used = load_acquire32(&s->lane[index].words->used);
    if (used != 1)
        return used == 0 ? IPCR_NOT_FOUND : IPCR_CORRUPT;
    struct ipcr_file_facts facts;
    const int rc = ipcr_os_facts(s->fd, &facts);
    if (rc == IPCR_OK && !ipcr_same_file(facts.id, s->id))
        return IPCR_FROM_ERRNO(EBADF); /* the program closed our descriptor, and its number leads elsewhere */
    return rc == IPCR_OK ? map_lane(s, index) : rc;
}

int ipcr_lane_see(struct ipcr_segment *s, uint32_t index, struct ipcr_lane **out)
{
    *out = &s->lane[index];
    if (load_acquire32(&s->lane[index].mapped) != 0)
        return IPCR_OK;
    if (load_acquire32(&s->lane[index].words->used) == 0) /* without the lock: most lanes never are */
        return IPCR_NOT_FOUND;
    ipcr_registry_lock();
    const int rc = ipcr_lane_see_locked(s, index, out);
    ipcr_registry_unlock();
    return rc;
}

/* `head` and `freed` are read at two moments: a lane may have gone on by more than its length in between, and then the
 * slots say so. */
int ipcr_lane_bounds(const struct ipcr_lane *l, uint64_t *freed, uint64_t *next)
{
    const uint64_t slots = l->mask + 1;
    for (int i = 0; i < BOUNDS_TRIES; i++) {
        const uint64_t first = load_acquire64(&l->words->freed);
        uint64_t at = load_acquire64(&l->words->head); /* a hint: it may be behind, and others may have written it */
        if (at - first > slots)
            at = first;
        uint64_t state = load_acquire64(&ipcr_slot_at(l, at)->state);
        while (at - first < slots && ipcr_is_there(l, at, state))
            state = load_acquire64(&ipcr_slot_at(l, ++at)->state);
        *freed = first;
        *next = at;
        if (ipcr_is_yet_to_come(l, at, state))
            return IPCR_OK;
        if (load_acquire64(&l->words->freed) == first) /* nothing was freed, so nothing was written a lap later */
            return IPCR_CORRUPT;
    }
    return IPCR_AGAIN;
}

bool ipcr_lanes_nothing_unread(struct ipcr_segment *s)
{
    for (uint32_t i = 0; i < s->lanes; i++) {
        struct ipcr_lane *l;
        uint64_t at, next;
        const int rc = ipcr_lane_see_locked(s, i, &l);
        if (rc == IPCR_NOT_FOUND)
            continue;
        if (rc != IPCR_OK || ipcr_lane_bounds(l, &at, &next) != IPCR_OK)
            return false;
        for (; at != next; at++)
            if (!ipcr_is_done(load_acquire64(&ipcr_slot_at(l, at)->state)))
                return false;
    }
    return true;
}

/* --- taking a lane ---------------------------------------------------------------------------------------------- */

/* Go on where the last producer stopped. */
static int go_on(struct ipcr_producer *p, struct ipcr_segment *s)
{
    const struct ipcr_lane *l = p->lane;
    uint32_t mark = 0;
    int rc = ipcr_lane_bounds(l, &p->freed, &p->next);
    if (rc != IPCR_OK)
        return rc;
    if (p->next - s->start_position > MOST_MESSAGES) /* no lane comes so far */
        return IPCR_CORRUPT;
    while (mark < 2 && load_acquire64(&l->words->mark[mark].freed) != p->freed)
        mark++;
    if (mark == 2)
        return IPCR_CORRUPT;
    p->next_mark = mark ^ 1u;
    p->deliveries = load_relaxed64(&l->words->mark[mark].deliveries);
    p->redeliveries = load_relaxed64(&l->words->mark[mark].redeliveries);
    p->dead = load_relaxed64(&l->words->mark[mark].dead);
    p->bytes = load_relaxed64(&l->words->mark[mark].bytes);
    p->first = p->next;
    p->taken = p->freed;
    p->high_water = load_relaxed64(&l->words->high_water);
    p->remembered = 0;
    p->capacity = s->capacity;
    p->position = 0;
    if (p->next != s->start_position + s->options.slots) {
        const struct ipcr_slot *last = ipcr_slot_at(l, p->next - 1);
        if (!ipcr_is_there(l, p->next - 1, load_acquire64(&last->state)) ||
            load_relaxed64(&last->sequence) != p->next - 1)
            return IPCR_CORRUPT;
        p->position = load_relaxed64(&last->position) + ipcr_padded(load_relaxed64(&last->length));
    }
    p->free_upto = p->freed == p->next ? p->position : load_relaxed64(&ipcr_slot_at(l, p->freed)->position);
    fence_store_store(); /* V: as in publish_freed; what is free now was freed by somebody else */
    return p->position - p->free_upto <= p->capacity && ((p->position | p->free_upto) & 7) == 0 ? IPCR_OK : IPCR_CORRUPT;
}

static void raise_to(ipcr_word32 *high, uint32_t least)
{
    uint32_t seen = load_relaxed32(high);
    while (seen < least && !compare_exchange32(high, &seen, least))
        ;
}

enum wanted { EMPTY_LANE, NEW_LANE, ANY_LANE };

static bool suits(const struct ipcr_lane *l, enum wanted wanted)
{
    uint64_t freed, next;
    const bool used = load_acquire32(&l->words->used) == 1;
    if (wanted != EMPTY_LANE)
        return used == (wanted == ANY_LANE);
    if (!used || load_acquire32(&l->mapped) == 0 || ipcr_lane_bounds(l, &freed, &next) != IPCR_OK)
        return false;
    while (freed != next && ipcr_is_done(load_acquire64(&ipcr_slot_at(l, freed)->state)))
        freed++;
    return freed == next;
}

/* Registry lock held, so that no fork copies the description that locks the byte. */
static int take_this(struct ipcr_producer *p, struct ipcr_segment *s, uint32_t index)
{
    const struct ipcr_lock_byte byte = { .byte = IPCR_LOCK_LANE(index), .exclusive = true };
    struct ipcr_lane_words *w = s->lane[index].words;
    int rc = ipcr_hold_take(&p->hold, s->fd, s->id, &byte, 1);
    if (rc != IPCR_OK)
        return rc;
    if (load_acquire32(&w->used) == 0) {
        const uint64_t bytes = ipcr_lane_footprint(s->options.slots, s->capacity);
        rc = ipcr_os_allocate_range(s->fd, s->header_bytes + index * bytes, bytes); /* never a SIGBUS later */
        if (rc == IPCR_OK) {
            raise_to(&ipcr_queue_header(s)->lanes_high, index + 1);
            store_release32(&w->used, 1);
        }
    }
    if (rc == IPCR_OK)
        rc = ipcr_lane_see_locked(s, index, &p->lane);
    if (rc == IPCR_OK)
        rc = go_on(p, s);
    if (rc != IPCR_OK) {
        ipcr_hold_drop(&p->hold);
        p->lane = NULL;
        return rc;
    }
    p->index = index;
    store_relaxed32(&w->producer_pid, ipcr_os_pid());
    return IPCR_OK;
}

/* First one that a former producer has left empty, then one that was never used, then one with messages left. */
int ipcr_producer_take(struct ipcr_producer *p, struct ipcr_segment *s, bool may_allocate)
{
    int rc = IPCR_TAKEN;
    struct ipcr_lane *seen;
    ipcr_registry_lock();
    for (uint32_t i = 0; i < s->lanes; i++)
        (void)ipcr_lane_see_locked(s, i, &seen); /* what can't be mapped is not empty */
    for (int wanted = EMPTY_LANE; rc == IPCR_TAKEN && wanted <= (may_allocate ? ANY_LANE : EMPTY_LANE); wanted++)
        for (uint32_t i = 0; rc == IPCR_TAKEN && i < s->lanes; i++)
            if (suits(&s->lane[i], (enum wanted)wanted))
                rc = take_this(p, s, i);
    ipcr_registry_unlock();
    return rc == IPCR_TAKEN && !may_allocate ? IPCR_NOT_FOUND : rc;
}

void ipcr_producer_give_back(struct ipcr_producer *p)
{
    ipcr_hold_drop(&p->hold);
    p->lane = NULL;
}

/* --- room ------------------------------------------------------------------------------------------------------- */

static bool fits(const struct ipcr_producer *p, uint64_t length)
{
    return p->next - p->freed <= p->lane->mask && ipcr_padded(length) <= p->capacity - (p->position - p->free_upto);
}

/* `freed` moves as a ring's position does: the mark first, then one store (L3). */
static void publish_freed(struct ipcr_producer *p)
{
    struct ipcr_lane_words *w = p->lane->words;
    struct ipcr_lane_mark *mark = &w->mark[p->next_mark];
    store_release64(&mark->freed, p->freed);
    store_release64(&mark->deliveries, p->deliveries);
    store_release64(&mark->redeliveries, p->redeliveries);
    store_release64(&mark->dead, p->dead);
    store_release64(&mark->bytes, p->bytes);
    p->next_mark ^= 1u;
    store_release64(&w->freed, p->freed);
    fence_store_store(); /* V: what is written from now on is seen only together with what was done to these slots */
}

static int reclaim(struct ipcr_producer *p)
{
    const uint64_t before = p->freed;
    for (; p->freed != p->next; p->freed++) {
        const struct ipcr_slot *slot = ipcr_slot_at(p->lane, p->freed);
        const uint64_t state = load_acquire64(&slot->state); /* A */
        if (!ipcr_is_there(p->lane, p->freed, state) || !ipcr_is_sound(state))
            return IPCR_CORRUPT;
        if (!ipcr_is_done(state))
            break;
        const uint64_t length = load_relaxed64(&slot->length);
        const uint64_t upto = load_relaxed64(&slot->position) + ipcr_padded(length);
        if (p->position - upto > p->capacity || (upto & 7) != 0)
            return IPCR_CORRUPT;
        const uint32_t deliveries = ipcr_deliveries_of(state);
        p->free_upto = upto;
        p->bytes += length;
        p->deliveries += deliveries;
        p->redeliveries += deliveries > 1 ? deliveries - 1 : 0;
        if (ipcr_phase_of(state) == IPCR_DEAD) {
            p->dead++;
            p->dead_sequences[p->remembered++ % IPCR_REMEMBERED_DEAD] = p->freed;
        }
    }
    if (p->freed != before)
        publish_freed(p);
    return IPCR_OK;
}

int ipcr_producer_room(struct ipcr_producer *p, uint64_t length)
{
    if (length > p->capacity)
        return IPCR_TOO_LARGE;
    if (fits(p, length))
        return IPCR_OK;
    const int rc = reclaim(p);
    if (rc != IPCR_OK)
        return rc;
    return fits(p, length) ? IPCR_OK : IPCR_FULL;
}

/* Perhaps more messages wait than ever before: how many do?  The consumers' hint lags behind by what they took last, and may
 * be garbage. */
static void note_backlog(struct ipcr_producer *p)
{
    const uint64_t hint = load_relaxed64(&p->lane->words->take);
    if (hint - p->taken <= p->next - p->taken)
        p->taken = hint;
    if ((int64_t)(p->freed - p->taken) > 0) /* a message of another lap stands there */
        p->taken = p->freed;
    while (p->taken != p->next &&
           ipcr_phase_of(load_relaxed64(&ipcr_slot_at(p->lane, p->taken)->state)) != IPCR_READY)
        p->taken++;
    if (p->next - p->taken <= p->high_water)
        return;
    p->high_water = p->next - p->taken;
    store_relaxed64(&p->lane->words->high_water, p->high_water);
}

uint64_t ipcr_producer_publish(struct ipcr_producer *p, uint64_t length, uint64_t info, uint64_t stamp,
                               uint64_t expires, uint32_t source)
{
    const uint64_t sequence = p->next;
    struct ipcr_slot *slot = ipcr_slot_at(p->lane, sequence);
    store_relaxed64(&slot->sequence, sequence);
    store_relaxed64(&slot->position, p->position);
    store_relaxed64(&slot->stamp, stamp);
    store_relaxed64(&slot->length, length);
    store_relaxed64(&slot->info, info);
    store_relaxed64(&slot->expires, expires);
    store_relaxed32(&slot->source, source);
    store_relaxed32(&slot->forgiven, 0);
    store_release64(&slot->state, ipcr_state(ipcr_lap_at(p->lane, sequence), IPCR_READY, 0, 0, IPCR_NO_TIME)); /* L */
    p->next++;
    p->position += ipcr_padded(length);
    store_release64(&p->lane->words->head, p->next); /* whoever counts up to there sees what it counts */
    if (p->next - p->taken > p->high_water)
        note_backlog(p);
    return sequence;
}

/* Wait for more than the next message needs, a quarter of the lane, or the wake-ups would cost as much as the messages:
 * for the last of those in the way that is not done yet. */
uint64_t ipcr_producer_obstacle(const struct ipcr_producer *p, uint64_t length)
{
    const uint64_t quarter = p->capacity / 4, need = ipcr_padded(length) > quarter ? ipcr_padded(length) : quarter;
    uint64_t at = p->freed, obstacle = p->freed;
    for (; at != p->next; at++) {
        const struct ipcr_slot *slot = ipcr_slot_at(p->lane, at);
        const uint64_t behind = load_relaxed64(&slot->position) + ipcr_padded(load_relaxed64(&slot->length));
        if (!ipcr_is_done(load_acquire64(&slot->state)))
            obstacle = at;
        if (p->capacity - (p->position - behind) >= need && at - p->freed >= p->lane->mask / 4)
            break;
    }
    return obstacle;
}

int ipcr_producer_outcome(const struct ipcr_producer *p, uint64_t sequence)
{
    const uint64_t state = load_acquire64(&ipcr_slot_at(p->lane, sequence)->state);
    if (sequence - p->first >= p->next - p->first)
        return IPCR_NOT_FOUND;
    if (ipcr_is_there(p->lane, sequence, state))
        return ipcr_is_sound(state) ? (int)ipcr_phase_of(state) : IPCR_CORRUPT;
    for (uint32_t i = 0; i < IPCR_REMEMBERED_DEAD && i < p->remembered; i++)
        if (p->dead_sequences[i] == sequence)
            return IPCR_DEAD;
    const bool forgot = p->remembered > IPCR_REMEMBERED_DEAD;
    const uint64_t oldest = p->dead_sequences[p->remembered % IPCR_REMEMBERED_DEAD];
    return forgot && (int64_t)(sequence - oldest) < 0 ? IPCR_FREE : IPCR_ACKED;
}

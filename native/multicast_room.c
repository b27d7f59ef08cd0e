/* multicast_room.c - the publisher's view of its subscribers: who is in the way of the next message, what may be overwritten,
 * and who is evicted. */
#include "multicast.h"

enum { AHEAD_OF_NEED = 16 }; /* an `oldest` that must move moves by a 16th of the ring at once: moving it costs a full fence */

static void blame(struct ipcr_publisher *p, uint32_t who, uint64_t next)
{
    if (p->blocked_by != who || p->blocked_next != next)
        p->blocked_ns = ipcr_os_now_ns();
    p->blocked_by = who;
    p->blocked_next = next;
}

/* Is everybody at or above `least`?  Otherwise IPCR_FULL, and the slowest is to blame.  Those who may be evicted for it are.
 * What is found stands in `floor`.  Only as far as a subscriber's word goes: a wild `next` of its own can let it be
 * overwritten, or evicted, and can block a publisher that waits; nothing else. */
static int look_at_all(struct ipcr_publisher *p, uint64_t least)
{
    const uint32_t high = load_acquire32(&p->header->subscribers_high);
    const bool evict = p->segment->multicast.on_laggard == IPCR_EVICT_LAGGARDS;
    bool joining = false;
    uint64_t floor = p->next;
    uint32_t slowest = IPCR_NO_SUBSCRIBER, evicted = 0;
    for (uint32_t i = 0; i < high && i < IPCR_MOST_SUBSCRIBERS; i++) {
        struct ipcr_cursor *c = &p->header->cursor[i];
        uint32_t state = load_acquire32(&c->state);
        if ((state & IPCR_CURSOR_MASK) == IPCR_CURSOR_JOINING) { /* nobody knows yet where it begins */
            blame(p, i, p->announced);
            joining = true;
            continue;
        }
        if ((state & IPCR_CURSOR_MASK) != IPCR_CURSOR_ACTIVE)
            continue;
        const uint64_t next = load_acquire64(&c->next); /* C */
        if ((int64_t)(next - least) < 0 && evict) {
            if (compare_exchange32(&c->state, &state, (state & ~IPCR_CURSOR_MASK) | IPCR_CURSOR_EVICTED))
                evicted++;
            else
                i--; /* it left, or somebody else has its number: look again */
            continue;
        }
        if ((int64_t)(next - floor) < 0) {
            floor = next;
            slowest = i;
        }
    }
    if (evicted > 0) {
        store_relaxed64(&p->header->evicted, load_relaxed64(&p->header->evicted) + evicted);
        fence_store_store(); /* V: what they may be reading is overwritten behind this */
    }
    p->floor = joining ? p->oldest - 1 : floor;
    if ((int64_t)(floor - least) < 0)
        blame(p, slowest, floor);
    return joining || (int64_t)(floor - least) < 0 ? IPCR_FULL : IPCR_OK;
}

/* The one that was in the way, before all others are looked at again. */
static bool is_still_in_the_way(struct ipcr_publisher *p, uint64_t least)
{
    if (p->blocked_by == IPCR_NO_SUBSCRIBER)
        return false;
    const struct ipcr_cursor *c = &p->header->cursor[p->blocked_by];
    const uint32_t state = load_acquire32(&c->state) & IPCR_CURSOR_MASK;
    if (state == IPCR_CURSOR_JOINING)
        return true;
    const uint64_t next = load_acquire64(&c->next);
    if (state != IPCR_CURSOR_ACTIVE || (int64_t)(next - least) >= 0)
        return false;
    blame(p, p->blocked_by, next);
    return true;
}

static int everybody_has_passed(struct ipcr_publisher *p, uint64_t least)
{
    p->need = least;
    if (p->segment->multicast.on_laggard == IPCR_WAIT_FOR_LAGGARDS && is_still_in_the_way(p, least))
        return IPCR_FULL;
    const int rc = look_at_all(p, least);
    if (rc == IPCR_OK)
        p->blocked_by = IPCR_NO_SUBSCRIBER;
    return rc;
}

/* From the position of an older message to that of this one. */
static int position_of(const struct ipcr_publisher *p, uint64_t sequence, uint64_t *position)
{
    const uint64_t older = *position;
    *position = sequence == p->next ? p->position
                                    : load_relaxed64(&ipcr_entry_at(p->entries, p->mask, sequence)->position);
    /* our own words, but others can write there; a step back would give room that there is not */
    return *position - older <= p->position - older && (*position & 7) == 0 ? IPCR_OK : IPCR_CORRUPT;
}

/* A message, and where it begins. */
struct place {
    uint64_t sequence;
    uint64_t position;
};

/* Let everything below `least` be overwritten, and up to `most` if nobody is there.  M3: after this store and its fence
 * nobody can join below it, and whoever had joined before is seen by the look that follows. */
static int move_oldest(struct ipcr_publisher *p, struct place least, struct place most)
{
    if ((int64_t)(most.sequence - p->announced) > 0) {
        p->announced = most.sequence;
        store_release64(&p->header->oldest, most.sequence); /* who sees it sees a `published` that is not below it */
    }
    if (p->segment->multicast.policy == IPCR_LOSSY) {
        fence_store_store(); /* V */
    } else {
        fence_store_load(); /* J; and V, for observers */
        const int rc = look_at_all(p, least.sequence);
        p->need = least.sequence;
        if (rc != IPCR_OK)
            return rc;
        if ((int64_t)(p->floor - most.sequence) < 0) /* somebody joined at the oldest meanwhile */
            most = least;
    }
    p->oldest = most.sequence;
    p->oldest_position = most.position;
    return IPCR_OK;
}

int ipcr_publisher_make_room(struct ipcr_publisher *p, uint64_t end)
{
    const uint64_t capacity = p->segment->capacity, entries = p->mask + 1, max_lag = p->segment->multicast.max_lag;
    const bool lossy = p->segment->multicast.policy == IPCR_LOSSY;
    uint64_t target = p->oldest, position = p->oldest_position;
    int rc = IPCR_OK;
    while (rc == IPCR_OK && target != p->next && (end - position > capacity || p->next + 1 - target > entries))
        rc = position_of(p, ++target, &position);
    if (rc != IPCR_OK)
        return rc;
    uint64_t least = target;
    if (max_lag != 0 && (int64_t)(p->next + 1 - max_lag - least) > 0)
        least = p->next + 1 - max_lag;
    if (!lossy && (int64_t)(least - p->floor) > 0) {
        rc = everybody_has_passed(p, least);
        if (rc != IPCR_OK)
            return rc;
    }
    if (target == p->oldest)
        return IPCR_OK;
    const struct place needed = { .sequence = target, .position = position };
    const uint64_t most = p->oldest + entries / AHEAD_OF_NEED, furthest = p->oldest_position + capacity / AHEAD_OF_NEED;
    while (target != p->next && (int64_t)(most - target) > 0 && (int64_t)(furthest - position) > 0 &&
           (lossy || (int64_t)(p->floor - target) > 0)) {
        rc = position_of(p, ++target, &position);
        if (rc != IPCR_OK)
            return rc;
    }
    return move_oldest(p, needed, (struct place){ .sequence = target, .position = position });
}

/* Whether somebody is dead is the lock byte's to say; its state tells whose death that was, and the number's next user is not
 * harmed. */
int ipcr_publisher_evict_the_dead(struct ipcr_publisher *p)
{
    const uint32_t high = load_acquire32(&p->header->subscribers_high);
    const bool evict = p->segment->multicast.on_laggard == IPCR_EVICT_LAGGARDS;
    for (uint32_t i = 0; i < high && i < IPCR_MOST_SUBSCRIBERS; i++) {
        struct ipcr_cursor *c = &p->header->cursor[i];
        uint32_t state = load_acquire32(&c->state);
        const uint32_t kind = state & IPCR_CURSOR_MASK;
        bool held;
        if (kind != IPCR_CURSOR_JOINING &&
            (kind != IPCR_CURSOR_ACTIVE || (int64_t)(load_acquire64(&c->next) - p->need) >= 0))
            continue;
        const int rc = ipcr_probe(p->segment->fd, p->segment->id, IPCR_LOCK_SUBSCRIBER(i), &held);
        if (rc != IPCR_OK)
            return rc;
        if (!held || evict) /* who lives, and has not said for a slice where it begins, begins anew */
            compare_exchange32(&c->state, &state, (state & ~IPCR_CURSOR_MASK) | IPCR_CURSOR_EVICTED);
    }
    return IPCR_OK;
}

void ipcr_publisher_laggard(struct ipcr_publisher *p, struct ipcr_laggard *out)
{
    *out = (struct ipcr_laggard){ .subscriber = p->blocked_by, .must_reach = p->need - p->segment->start_position };
    if (p->blocked_by == IPCR_NO_SUBSCRIBER)
        return;
    out->pid = load_relaxed32(&p->header->cursor[p->blocked_by].pid);
    out->behind = p->next - p->blocked_next;
    out->since_ns = ipcr_os_now_ns() - p->blocked_ns;
}

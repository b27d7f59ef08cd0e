/* joining.c - how a subscriber gets its number and its place, and how it leaves.
 *
 * A number belongs to whoever holds its lock byte.  A kill between the lock and JOINING leaves the state of the last user,
 * which is FREE, or a dead one's; a kill while JOINING leaves that, and the publisher evicts it when it waits.
 */
#include "multicast.h"
#include "registry.h"

static int lock_number(struct ipcr_subscriber *s, uint32_t number)
{
    const struct ipcr_lock_byte byte = { .byte = IPCR_LOCK_SUBSCRIBER(number), .exclusive = true };
    ipcr_registry_lock();
    int rc = ipcr_segment_be_present(s->segment);
    if (rc == IPCR_OK)
        rc = ipcr_hold_take(&s->hold, s->segment->fd, s->segment->id, &byte, 1);
    ipcr_registry_unlock();
    return rc;
}

/* Numbers whose last user has left, then all, also those of the dead: so most are found without asking the kernel in vain. */
static int take_number(struct ipcr_subscriber *s)
{
    for (int any = 0; any < 2; any++)
        for (uint32_t i = 0; i < IPCR_MOST_SUBSCRIBERS; i++) {
            const uint32_t state = load_acquire32(&s->header->cursor[i].state) & IPCR_CURSOR_MASK;
            if (!any && (state == IPCR_CURSOR_JOINING || state == IPCR_CURSOR_ACTIVE))
                continue; /* by the second time it may have left, or been evicted */
            bool held = false;
            int rc = IPCR_OK;
            if (state != IPCR_CURSOR_FREE) /* of a thousand, each lock that is refused costs five times as much */
                rc = ipcr_probe(s->segment->fd, s->segment->id, IPCR_LOCK_SUBSCRIBER(i), &held);
            if (rc == IPCR_OK)
                rc = held ? IPCR_TAKEN : lock_number(s, i);
            if (rc == IPCR_TAKEN)
                continue;
            if (rc == IPCR_OK) {
                s->number = i;
                s->cursor = &s->header->cursor[i];
            }
            return rc;
        }
    return IPCR_TAKEN;
}

static void raise_high(ipcr_word32 *high, uint32_t least)
{
    uint32_t seen = load_relaxed32(high);
    while (seen < least && !compare_exchange32(high, &seen, least))
        ;
}

/* Where to begin, by what is there now. */
static int choose(struct ipcr_subscriber *s, const struct ipcr_subscription *wanted, uint64_t *oldest, uint64_t *next)
{
    *oldest = load_acquire64(&s->header->oldest); /* first: it is never above the other */
    *next = load_acquire64(&s->header->published);
    if ((int64_t)(*next - *oldest) < 0)
        return IPCR_CORRUPT;
    s->next = wanted->start == IPCR_START_LATEST ? *next : *oldest;
    if (wanted->start == IPCR_START_SEQUENCE) {
        const bool gone = (int64_t)(wanted->sequence - *oldest) < 0; /* lossy ones are told how many are lost */
        if ((gone && !s->lossy) || (int64_t)(*next - wanted->sequence) < 0 ||
            (int64_t)(wanted->sequence - s->segment->start_position) < 0)
            return IPCR_NOT_FOUND;
        s->next = wanted->sequence;
    }
    s->cached_published = s->next;
    return IPCR_OK;
}

int ipcr_subscriber_join(struct ipcr_subscriber *s, const struct ipcr_subscription *wanted, uint64_t *oldest, uint64_t *next)
{
    if (wanted->observe)
        return choose(s, wanted, oldest, next);
    int rc = take_number(s);
    if (rc != IPCR_OK)
        return rc;
    raise_high(&s->header->subscribers_high, s->number + 1);
    store_relaxed32(&s->cursor->pid, ipcr_os_pid());
    s->high_water = load_relaxed64(&s->cursor->high_water); /* of whoever had the number before, too */
    store_relaxed64(&s->cursor->received, 0);
    store_relaxed64(&s->cursor->lost, 0);
    for (;;) {
        const uint32_t generation = (load_relaxed32(&s->cursor->state) >> 2) + 1;
        uint32_t joining = generation << 2 | IPCR_CURSOR_JOINING;
        s->state = generation << 2 | IPCR_CURSOR_ACTIVE;
        store_release32(&s->cursor->state, joining);
        fence_store_load(); /* J */
        rc = choose(s, wanted, oldest, next);
        if (rc != IPCR_OK)
            return rc; /* the caller departs */
        store_relaxed64(&s->cursor->next, s->next);
        if (compare_exchange32(&s->cursor->state, &joining, s->state)) /* else the publisher took us for dead: once more */
            break;
    }
    ipcr_tell_publisher(s); /* it may have waited for us to come so far */
    return IPCR_OK;
}

void ipcr_subscriber_depart(struct ipcr_subscriber *s)
{
    if (s->cursor == NULL)
        return;
    store_release32(&s->cursor->state, (load_relaxed32(&s->cursor->state) & ~IPCR_CURSOR_MASK) | IPCR_CURSOR_FREE);
    fence_store_load();
    if (load_relaxed32(&s->header->room_parked) != 0)
        ipcr_wake(&s->header->room_parked);
    ipcr_registry_lock();
    ipcr_hold_drop(&s->hold);
    ipcr_registry_unlock();
}

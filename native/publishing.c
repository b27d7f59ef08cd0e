/* publishing.c - the publisher's side of a multicast: room, messages, claims. */
#include "multicast.h"
#include "registry.h"

#include <errno.h>
#include <stdlib.h>

enum {
    AHEAD_OF_NEED = 16, /* an `oldest` that must move moves by a 16th of the ring at once: moving it costs a full fence */
    ANNOUNCED_AT_ONCE = 64,
};

#define LAST_NUMBER (UINT64_C(1) << 62) /* no publisher comes so far, and a number of 64 bits would be taken for a status */

uint32_t ipcr_topic_number(const char *name, uint64_t length)
{
    uint32_t hash = UINT32_C(0x811c9dc5); /* FNV-1a */
    for (uint64_t i = 0; i < length; i++)
        hash = (hash ^ (uint8_t)name[i]) * UINT32_C(0x01000193);
    return hash == 0 ? 1 : hash;
}

static int checked(struct ipcr_publisher *p, int rc)
{
    p->corrupt = p->corrupt || rc == IPCR_CORRUPT;
    return rc;
}

static int enter(struct ipcr_publisher *p)
{
    const int rc = ipcr_seat_enter(&p->seat);
    if (rc != IPCR_OK || !p->corrupt)
        return rc;
    ipcr_seat_leave(&p->seat);
    return IPCR_CORRUPT;
}

/* --- who publishes -------------------------------------------------------------------------------------------------- */

/* Behind the last message that was published.  Its entry is never overwritten before the next one is published. */
static int go_on(struct ipcr_publisher *p)
{
    p->next = load_acquire64(&p->header->published);
    p->announced = load_acquire64(&p->header->oldest);
    if (p->next > LAST_NUMBER || p->next - p->announced > p->mask + 1)
        return IPCR_CORRUPT;
    if (p->next != p->segment->start_position) {
        const struct ipcr_entry *last = ipcr_entry_at(p->entries, p->mask, p->next - 1);
        const uint64_t topic = load_relaxed32(&last->topic_length), length = load_relaxed64(&last->length);
        if (load_relaxed64(&last->sequence) != p->next - 1 || topic > IPCR_MOST_TOPIC || length > p->segment->capacity)
            return IPCR_CORRUPT;
        p->position = load_relaxed64(&last->position) + ipcr_padded(topic) + ipcr_padded(length);
        p->bytes = load_relaxed64(&last->bytes) + length;
    }
    /* Our predecessor may have announced an `oldest` and died before everybody had passed it: to be looked at before the
     * first message that needs room. */
    p->oldest = p->announced;
    p->oldest_position = p->announced == p->next
                             ? p->position
                             : load_relaxed64(&ipcr_entry_at(p->entries, p->mask, p->announced)->position);
    p->floor = p->announced - 1;
    return p->position - p->oldest_position <= p->segment->capacity && ((p->position | p->oldest_position) & 7) == 0
               ? IPCR_OK
               : IPCR_CORRUPT;
}

static int take_role(struct ipcr_publisher *p)
{
    const struct ipcr_lock_byte role = { .byte = IPCR_LOCK_PUBLISHER, .exclusive = true };
    ipcr_registry_lock();
    int rc = ipcr_segment_be_present(p->segment);
    if (rc == IPCR_OK)
        rc = ipcr_hold_take(&p->hold, p->segment->fd, p->segment->id, &role, 1);
    ipcr_registry_unlock();
    if (rc != IPCR_OK)
        return rc;
    rc = go_on(p);
    if (rc != IPCR_OK)
        return rc;
    p->generation = (load_acquire32(&p->header->publisher_state) >> 2) + 1;
    store_relaxed32(&p->header->publisher_pid, ipcr_os_pid());
    store_release32(&p->header->publisher_state, p->generation << 2 | IPCR_END_TAKEN);
    fence_store_load(); /* G; and J and V, as behind announcements of our own: the last `oldest` is our predecessor's */
    ipcr_gate_open_wide(&p->header->readers_parked); /* a new publisher is an event */
    return IPCR_OK;
}

int ipcr_publisher_open(struct ipcr_segment *segment, uint64_t spin_ns, uint32_t *by, struct ipcr_publisher **out)
{
    struct ipcr_publisher *p = calloc(1, sizeof *p);
    if (p == NULL)
        return IPCR_FROM_ERRNO(ENOMEM);
    p->segment = segment;
    p->header = ipcr_multicast_header(segment);
    p->entries = ipcr_entries(p->header);
    p->mask = segment->lanes - 1;
    p->blocked_by = IPCR_NO_SUBSCRIBER;
    p->fence_needed = (segment->flags & IPCR_FLAG_ASYMMETRIC) == 0 || !ipcr_has_membarrier();
    ipcr_spin_init(&p->spin, spin_ns);
    ipcr_seat_make(&p->seat);
    const int rc = take_role(p);
    if (rc != IPCR_OK) {
        *by = load_relaxed32(&p->header->publisher_pid);
        ipcr_registry_lock();
        ipcr_hold_drop(&p->hold);
        ipcr_registry_unlock();
        free(p);
        return rc;
    }
    ipcr_segment_reference(segment);
    *out = p;
    return IPCR_OK;
}

static void wake_publisher(void *publisher)
{
    struct ipcr_publisher *p = publisher;
    ipcr_wake(&p->header->room_parked);
}

void ipcr_publisher_close(struct ipcr_publisher *p)
{
    if (!ipcr_seat_close(&p->seat, wake_publisher, p))
        return;
    store_release32(&p->header->publisher_state, p->generation << 2 | IPCR_END_CLOSED);
    fence_store_load();
    ipcr_gate_open_wide(&p->header->readers_parked);
    ipcr_registry_lock();
    ipcr_hold_drop(&p->hold);
    ipcr_registry_unlock();
}

void ipcr_publisher_free(struct ipcr_publisher *p)
{
    ipcr_publisher_close(p);
    ipcr_segment_release(p->segment);
    free(p);
}

/* --- room ----------------------------------------------------------------------------------------------------------- */

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

/* Room for one more message that ends at `end`? */
static int make_room(struct ipcr_publisher *p, uint64_t end)
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

/* --- messages ------------------------------------------------------------------------------------------------------- */

static const struct ipcr_topic no_topic = { .name = NULL };

/* Where a message's topic is to stand, so that its payload begins at a multiple of `alignment`. */
static int find_place(struct ipcr_publisher *p, uint64_t topic_length, uint64_t length, uint64_t alignment, uint64_t *topic_at)
{
    const uint64_t topic = ipcr_padded(topic_length);
    const uint64_t payload = (p->position + topic + alignment - 1) & ~(alignment - 1);
    if (topic_length > IPCR_MOST_TOPIC || length > p->segment->capacity - topic - (alignment - 8))
        return IPCR_TOO_LARGE;
    *topic_at = payload - topic;
    return make_room(p, payload + ipcr_padded(length));
}

static uint8_t *at(const struct ipcr_publisher *p, uint64_t position)
{
    return p->segment->data + (position & (p->segment->capacity - 1));
}

/* Make a message visible whose payload is there (B).  Returns its number. */
static uint64_t tell(struct ipcr_publisher *p, const struct ipcr_topic *topic, uint64_t topic_at, uint64_t length,
                     uint64_t info)
{
    struct ipcr_entry *entry = ipcr_entry_at(p->entries, p->mask, p->next);
    if (topic->length > 0)
        racy_write(at(p, topic_at), topic->name, topic->length);
    store_relaxed64(&entry->sequence, p->next);
    store_relaxed64(&entry->position, topic_at);
    store_relaxed64(&entry->length, length);
    store_relaxed64(&entry->info, info | topic->number);
    store_relaxed64(&entry->bytes, p->bytes);
    store_relaxed32(&entry->topic_length, (uint32_t)topic->length);
    p->bytes += length;
    p->position = topic_at + ipcr_padded(topic->length) + ipcr_padded(length);
    store_release64(&p->header->published, ++p->next);
    return p->next - 1;
}

static void wake_readers(struct ipcr_publisher *p)
{
    ipcr_order_publish_before_look(p->fence_needed);
    if (ipcr_gate_is_armed(&p->header->readers_parked))
        ipcr_gate_open(&p->header->readers_parked, IPCR_ALL);
}

static int publish_one(struct ipcr_publisher *p, const struct ipcr_topic *topic, const char *message, uint64_t length,
                       uint64_t info)
{
    uint64_t topic_at;
    if (p->lent)
        return IPCR_LENT;
    const uint64_t alignment = IPCR_INFO_ENCODING(info) == IPCR_BYTES ? 8 : IPCR_DATA_ALIGNMENT;
    const int rc = checked(p, find_place(p, topic->length, length, alignment, &topic_at));
    if (rc != IPCR_OK)
        return rc;
    racy_write(at(p, topic_at + ipcr_padded(topic->length)), message, length); /* V */
    tell(p, topic, topic_at, length, info);
    return IPCR_OK;
}

int64_t ipcr_publish_bytes(struct ipcr_publisher *p, const char *message, uint64_t length)
{
    int rc = enter(p);
    if (rc != IPCR_OK)
        return rc;
    rc = publish_one(p, &no_topic, message, length, IPCR_INFO(0, IPCR_BYTES));
    const int64_t sequence = (int64_t)(p->next - 1);
    if (rc == IPCR_OK)
        wake_readers(p);
    ipcr_seat_leave(&p->seat);
    return rc == IPCR_OK ? sequence : rc;
}

int64_t ipcr_publish(struct ipcr_publisher *p, const struct ipcr_topic *topic, const struct ipcr_piece *pieces,
                     uint64_t count, uint64_t info)
{
    uint64_t topic_at;
    int64_t sequence = 0;
    int rc = enter(p);
    if (rc != IPCR_OK)
        return rc;
    if (topic == NULL)
        topic = &no_topic;
    const uint64_t length = ipcr_pieces_length(pieces, count, 0);
    const uint64_t alignment = IPCR_INFO_ENCODING(info) == IPCR_BYTES ? 8 : IPCR_DATA_ALIGNMENT;
    rc = p->lent ? IPCR_LENT : checked(p, find_place(p, topic->length, length, alignment, &topic_at));
    if (rc == IPCR_OK) {
        ipcr_pieces_write(at(p, topic_at + ipcr_padded(topic->length)), pieces, count, 0); /* V */
        sequence = (int64_t)tell(p, topic, topic_at, length, info);
        wake_readers(p);
    }
    ipcr_seat_leave(&p->seat);
    return rc == IPCR_OK ? sequence : rc;
}

int64_t ipcr_publish_many(struct ipcr_publisher *p, const struct ipcr_topic *topic, const char *messages,
                          const uint64_t *lengths, const uint64_t *infos, uint64_t count)
{
    int rc = enter(p);
    if (rc != IPCR_OK)
        return rc;
    if (topic == NULL)
        topic = &no_topic;
    uint64_t done = 0;
    while (done < count) {
        rc = publish_one(p, topic, messages, lengths[done], infos[done]);
        if (rc != IPCR_OK)
            break;
        messages += lengths[done++];
        if (done % ANNOUNCED_AT_ONCE == 0) /* let them begin while we go on */
            wake_readers(p);
    }
    if (done % ANNOUNCED_AT_ONCE != 0)
        wake_readers(p);
    ipcr_seat_leave(&p->seat);
    return done > 0 ? (int64_t)done : rc;
}

/* --- claims --------------------------------------------------------------------------------------------------------- */

int ipcr_publisher_claim(struct ipcr_publisher *p, const struct ipcr_topic *topic, uint64_t length)
{
    int rc = enter(p);
    if (rc != IPCR_OK)
        return rc;
    if (topic == NULL)
        topic = &no_topic;
    rc = p->lent ? IPCR_LENT : checked(p, find_place(p, topic->length, length, IPCR_DATA_ALIGNMENT, &p->lent_position));
    if (rc == IPCR_OK) {
        p->lent = true;
        p->lent_topic = *topic; /* and not before: one that is refused must not change the one that is out */
        p->lent_length = length;
    }
    ipcr_seat_leave(&p->seat);
    return rc;
}

char *ipcr_publisher_lent(const struct ipcr_publisher *p)
{
    return (char *)at(p, p->lent_position + ipcr_padded(p->lent_topic.length));
}

int64_t ipcr_publisher_commit(struct ipcr_publisher *p, uint64_t length, uint64_t info)
{
    int64_t result = enter(p);
    if (result != IPCR_OK)
        return result;
    if (!p->lent) {
        result = IPCR_NOTHING_LENT;
    } else if (length > p->lent_length) {
        result = IPCR_TOO_LARGE;
    } else {
        p->lent = false;
        result = (int64_t)tell(p, &p->lent_topic, p->lent_position, length, info);
        wake_readers(p);
    }
    ipcr_seat_leave(&p->seat);
    return result;
}

int ipcr_publisher_abort(struct ipcr_publisher *p)
{
    int rc = ipcr_seat_enter(&p->seat);
    if (rc != IPCR_OK)
        return rc;
    rc = p->lent ? IPCR_OK : IPCR_NOTHING_LENT;
    p->lent = false; /* private until it is committed: nothing to undo */
    ipcr_seat_leave(&p->seat);
    return rc;
}

/* --- waiting for room ------------------------------------------------------------------------------------------------ */

static bool may_be_room(const void *what)
{
    const struct ipcr_publisher *p = what;
    if (ipcr_seat_is_closing(&p->seat) || p->blocked_by == IPCR_NO_SUBSCRIBER)
        return true;
    const struct ipcr_cursor *c = &p->header->cursor[p->blocked_by];
    const uint32_t state = load_acquire32(&c->state) & IPCR_CURSOR_MASK;
    if (state == IPCR_CURSOR_ACTIVE)
        return (int64_t)(load_acquire64(&c->next) - p->need) >= 0;
    return state != IPCR_CURSOR_JOINING;
}

/* Who is in the way and dead is evicted (and a stopped joiner, by a publisher that waits for nobody): one probe for each that is in the way.  Whether it is dead is the lock byte's to
 * say; its state tells whose death that was, and the number's next user is not harmed. */
static int evict_the_dead(struct ipcr_publisher *p)
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

/* Woken for one message at a time, the publisher would cost two changes of context for each: a quarter of what is there
 * should be free as well.  Spins, and the end of a slice, look at the need alone. */
static void aim(struct ipcr_publisher *p)
{
    store_relaxed32(&p->header->blocked_by, p->blocked_by);
    store_relaxed64(&p->header->wake_at, p->need + (p->next - p->need) / 4);
}

int ipcr_publisher_wait(struct ipcr_publisher *p, uint64_t deadline_ns, int resume)
{
    uint64_t parked_ns = 0, now = ipcr_os_now_ns();
    int rc = ipcr_seat_enter_wait(&p->seat, resume);
    if (rc != IPCR_OK)
        return rc;
    if (now >= p->slice_end_ns) /* wake-ups and signals must not put the look for the dead off */
        p->slice_end_ns = now + IPCR_SLICE_NS;
    const uint64_t slice = p->slice_end_ns < deadline_ns ? p->slice_end_ns : deadline_ns;
    if (now < slice) {
        uint32_t only;
        aim(p);
        ipcr_seat_wait(&p->seat);
        const bool spin = !resume && ipcr_os_cpus(&only) > 1;
        rc = ipcr_wait(&p->header->room_parked, (p->segment->flags & IPCR_FLAG_ASYMMETRIC) != 0, &p->spin, spin,
                       may_be_room, p, slice, &parked_ns);
        const int back = ipcr_seat_return(&p->seat);
        if (back != IPCR_OK)
            return back;
        store_relaxed64(&p->header->parked_ns, load_relaxed64(&p->header->parked_ns) + parked_ns);
        now = ipcr_os_now_ns();
    }
    if (rc == IPCR_OK && !may_be_room(p) && now >= slice) {
        p->slice_end_ns = now + IPCR_SLICE_NS;
        rc = evict_the_dead(p);
        if (rc == IPCR_OK && !may_be_room(p))
            rc = now >= deadline_ns ? IPCR_FULL : IPCR_AGAIN;
    }
    if (rc == IPCR_AGAIN)
        ipcr_seat_wait(&p->seat);
    else
        ipcr_seat_leave(&p->seat);
    return rc;
}

void ipcr_publisher_stop_waiting(struct ipcr_publisher *p) { ipcr_seat_give_up(&p->seat); }

int ipcr_publisher_look_around(struct ipcr_publisher *p)
{
    const uint64_t now = ipcr_os_now_ns();
    int rc = enter(p);
    if (rc != IPCR_OK)
        return rc;
    if (now >= p->slice_end_ns) {
        p->slice_end_ns = now + IPCR_SLICE_NS;
        rc = evict_the_dead(p);
    }
    ipcr_seat_leave(&p->seat);
    return rc;
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

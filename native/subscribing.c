/* subscribing.c - the subscribers' side of a multicast: the next message, copied, in batches, or in place. */
#include "multicast.h"
#include "registry.h"

#include <errno.h>
#include <stdlib.h>

enum { LAPS_AT_ONCE = 1000 }; /* that one call follows, before it looks after signals */

/* --- life ------------------------------------------------------------------------------------------------------------ */

/* An observer writes nothing, and can't: it maps the header and the data a second time, read-only.  (The data once: who
 * reads over the end goes on at the beginning.) */
static int map_for_observer(struct ipcr_subscriber *s)
{
    struct ipcr_file_facts facts;
    int rc = ipcr_os_facts(s->segment->fd, &facts);
    if (rc == IPCR_OK && !ipcr_same_file(facts.id, s->segment->id))
        rc = IPCR_FROM_ERRNO(EBADF);
    s->mapped_bytes = s->segment->header_bytes + s->segment->capacity;
    if (rc == IPCR_OK)
        rc = ipcr_os_map_read_only(s->segment->fd, s->mapped_bytes, &s->mapped);
    if (rc != IPCR_OK)
        return rc;
    s->header = (struct ipcr_multicast_header *)(uintptr_t)s->mapped;
    s->data = s->mapped + s->segment->header_bytes;
    return IPCR_OK;
}

int ipcr_subscriber_open(struct ipcr_segment *segment, const struct ipcr_subscription *wanted,
                         const struct ipcr_topic *topics, uint64_t *oldest, uint64_t *next, struct ipcr_subscriber **out)
{
    struct ipcr_subscriber *s = calloc(1, sizeof *s + wanted->topics * sizeof *topics);
    if (s == NULL)
        return IPCR_FROM_ERRNO(ENOMEM);
    s->segment = segment;
    s->header = ipcr_multicast_header(segment);
    s->data = segment->data;
    s->capacity = segment->capacity;
    s->mask = segment->lanes - 1;
    s->lossy = segment->multicast.policy == IPCR_LOSSY || wanted->observe;
    s->evictable = segment->multicast.on_laggard == IPCR_EVICT_LAGGARDS && !wanted->observe;
    s->on_lap = wanted->on_lap;
    s->interval_ns = wanted->interval_ns;
    s->fence_needed = (segment->flags & IPCR_FLAG_ASYMMETRIC) == 0 || !ipcr_has_membarrier();
    s->topics = wanted->topics;
    for (uint32_t i = 0; i < wanted->topics; i++)
        s->topic[i] = topics[i];
    ipcr_spin_init(&s->spin, wanted->spin_ns);
    ipcr_seat_make(&s->seat);
    int rc = wanted->observe ? map_for_observer(s) : IPCR_OK;
    s->entries = ipcr_entries(s->header);
    if (rc == IPCR_OK)
        rc = ipcr_subscriber_join(s, wanted, oldest, next);
    if (rc != IPCR_OK) {
        ipcr_subscriber_depart(s);
        ipcr_os_unmap(s->mapped, s->mapped_bytes);
        free(s);
        return rc;
    }
    ipcr_segment_reference(segment);
    *out = s;
    return IPCR_OK;
}

static void wake_subscribers(void *subscriber)
{
    struct ipcr_subscriber *s = subscriber;
    if (s->cursor != NULL)
        ipcr_gate_open_wide(&s->header->readers_parked);
}

void ipcr_subscriber_close(struct ipcr_subscriber *s)
{
    if (!ipcr_seat_close(&s->seat, wake_subscribers, s))
        return;
    ipcr_subscriber_depart(s);
    ipcr_segment_quit(s->segment, &s->has_quit);
}

void ipcr_subscriber_free(struct ipcr_subscriber *s)
{
    ipcr_subscriber_close(s);
    ipcr_os_unmap(s->mapped, s->mapped_bytes);
    ipcr_segment_quit(s->segment, &s->has_quit); /* the copy of a forked child */
    ipcr_segment_forget(s->segment);
    free(s);
}

static int checked(struct ipcr_subscriber *s, int64_t rc)
{
    s->corrupt = s->corrupt || rc == IPCR_CORRUPT;
    return (int)rc;
}

static int may_receive(struct ipcr_subscriber *s)
{
    return s->corrupt ? IPCR_CORRUPT : s->lent ? IPCR_LENT : IPCR_OK;
}

int ipcr_subscriber_enter(struct ipcr_subscriber *s)
{
    int rc = ipcr_seat_enter(&s->seat);
    if (rc != IPCR_OK)
        return rc;
    rc = may_receive(s);
    if (rc != IPCR_OK)
        ipcr_seat_leave(&s->seat);
    return rc;
}

/* --- the next message ------------------------------------------------------------------------------------------------- */

/* One message as it was found; to be believed once it has been validated. */
struct found {
    uint64_t topic_at;
    uint64_t topic_length;
    uint64_t payload_at;
    uint64_t length;
    uint64_t info;
};

/* Has the message at s->next been ours until now?  Behind a copy, or a look, and before it is believed (V).  IPCR_OK;
 * IPCR_AGAIN: it may have been overwritten; IPCR_LAGGED_OUT. */
static int still_there(const struct ipcr_subscriber *s)
{
    if (!s->lossy && !s->evictable)
        return IPCR_OK;
    fence_load_load();
    if (s->evictable)
        return load_relaxed32(&s->cursor->state) == s->state ? IPCR_OK : IPCR_LAGGED_OUT;
    return (int64_t)(s->next - load_relaxed64(&s->header->oldest)) >= 0 ? IPCR_OK : IPCR_AGAIN;
}

static void copy(const struct ipcr_subscriber *s, char *out, uint64_t position, uint64_t length)
{
    const uint64_t offset = position & (s->capacity - 1);
    const uint64_t first = s->mapped == NULL || length < s->capacity - offset ? length : s->capacity - offset;
    racy_copy(out, s->data + offset, first); /* in our usual mapping the data stand twice */
    racy_copy(out + first, s->data, length - first);
}

/* Statistics: further behind than ever? */
static void note_backlog(struct ipcr_subscriber *s, uint64_t published)
{
    const uint64_t behind = published - s->next;
    if (s->cursor == NULL || behind <= s->high_water)
        return;
    s->high_water = behind;
    store_relaxed64(&s->cursor->high_water, behind);
}

/* Has it come so far?  IPCR_OK, IPCR_EMPTY, IPCR_END_OF_CHANNEL, IPCR_LAGGED_OUT or IPCR_CORRUPT. */
static int is_published(struct ipcr_subscriber *s)
{
    if (s->next != s->cached_published)
        return IPCR_OK;
    for (int look = 0; look < 2; look++) {
        const uint64_t published = load_acquire64(&s->header->published); /* B */
        if (published != s->next) {
            s->cached_published = published;
            if ((int64_t)(published - s->next) <= 0 || (!s->lossy && !s->evictable && published - s->next > s->mask + 1))
                return IPCR_CORRUPT;
            note_backlog(s, published);
            return IPCR_OK;
        }
        if (s->evictable && load_acquire32(&s->cursor->state) != s->state)
            return IPCR_LAGGED_OUT;
        if ((load_acquire32(&s->header->publisher_state) & IPCR_END_MASK) != IPCR_END_CLOSED)
            return IPCR_EMPTY;
    } /* what it published before it closed comes first */
    return IPCR_END_OF_CHANNEL;
}

/* To where there are messages that are whole.  Whoever was overtaken in the middle of a copy would be so again at the oldest
 * message, which is the next to be overwritten: it goes on in the middle of what is kept. */
static int catch_up(struct ipcr_subscriber *s, bool in_a_copy)
{
    const uint64_t oldest = load_acquire64(&s->header->oldest);
    const uint64_t published = load_acquire64(&s->header->published); /* later: not below it */
    uint64_t to = oldest;
    if (s->on_lap == IPCR_LAP_TO_LATEST && published != oldest)
        to = published - 1;
    else if (in_a_copy)
        to += (published - oldest) / 2;
    if ((int64_t)(published - oldest) < 0 || (int64_t)(to - s->next) < 0)
        return IPCR_CORRUPT;
    note_backlog(s, published);
    s->lost += to - s->next;
    s->next = to;
    s->cached_published = published;
    return IPCR_OK;
}

static bool is_wanted(const struct ipcr_subscriber *s, const struct found *m)
{
    char name[IPCR_MOST_TOPIC];
    if (s->topics == 0)
        return true;
    for (uint32_t i = 0; i < s->topics; i++) {
        const struct ipcr_topic *t = &s->topic[i];
        if (t->number != IPCR_INFO_TYPE(m->info) || t->length != m->topic_length)
            continue;
        copy(s, name, m->topic_at, t->length); /* the number is a hash: others may have it */
        if (memcmp(name, t->name, t->length) == 0)
            return true;
    }
    return false;
}

/* Read what is said about the message at s->next.  Each word once, and none believed yet. */
static bool describe(const struct ipcr_subscriber *s, struct found *m)
{
    const struct ipcr_entry *e = &s->entries[s->next & s->mask];
    m->topic_at = load_relaxed64(&e->position);
    m->topic_length = load_relaxed32(&e->topic_length);
    m->length = load_relaxed64(&e->length);
    m->info = load_relaxed64(&e->info);
    m->payload_at = m->topic_at + ipcr_padded(m->topic_length);
    return load_relaxed64(&e->sequence) == s->next && m->topic_length <= IPCR_MOST_TOPIC && (m->topic_at & 7) == 0 &&
           m->length <= s->capacity - ipcr_padded(m->topic_length);
}

void ipcr_tell_publisher(const struct ipcr_subscriber *s)
{
    ipcr_order_publish_before_look(s->fence_needed);
    if (load_acquire32(&s->header->room_parked) != 0 && load_relaxed32(&s->header->blocked_by) == s->number &&
        (int64_t)(s->next - load_relaxed64(&s->header->wake_at)) >= 0)
        ipcr_wake(&s->header->room_parked);
}

/* What is below s->next is the publisher's (C). */
static void move_cursor(struct ipcr_subscriber *s)
{
    if (s->cursor == NULL)
        return;
    store_relaxed64(&s->cursor->received, s->received);
    if (s->lossy)
        store_relaxed64(&s->cursor->lost, s->lost);
    store_release64(&s->cursor->next, s->next);
    if (!s->lossy)
        ipcr_tell_publisher(s);
}

/* The next message that this subscriber wants, found but not read.  The cursor stays where it is: in a batch, what was copied
 * before may yet have to be read again. */
static int find(struct ipcr_subscriber *s, struct found *m)
{
    int rc = IPCR_OK;
    for (int laps = 0; rc == IPCR_OK && laps < LAPS_AT_ONCE;) {
        rc = is_published(s);
        if (rc != IPCR_OK)
            break;
        const bool sound = describe(s, m);
        const bool wanted = sound && is_wanted(s, m);
        rc = still_there(s);
        if (rc == IPCR_AGAIN) {
            laps++;
            rc = catch_up(s, false);
        } else if (rc == IPCR_OK && !sound) {
            rc = IPCR_CORRUPT;
        } else if (rc == IPCR_OK && wanted) {
            return IPCR_OK;
        } else if (rc == IPCR_OK) {
            s->next++;
        }
    }
    return rc == IPCR_OK ? IPCR_AGAIN : rc;
}

static int64_t result_of(const struct found *m)
{
    const uint64_t encoding = IPCR_INFO_ENCODING(m->info);
    if (encoding == IPCR_BYTES)
        return (int64_t)m->length;
    const uint64_t skew = (m->payload_at & (IPCR_DATA_ALIGNMENT - 1)) / 8;
    return (int64_t)(m->length | encoding << IPCR_RESULT_ENCODING_SHIFT | skew << IPCR_RESULT_SKEW_SHIFT);
}

/* What its topic is, before it is known whether all this was there. */
static void note_topic(struct ipcr_subscriber *s, const struct found *m)
{
    s->last_topic_length = IPCR_INFO_TYPE(m->info) == 0 ? -1 : (int32_t)m->topic_length;
    if (m->topic_length > 0)
        copy(s, s->last_topic, m->topic_at, m->topic_length);
}

static void step(struct ipcr_subscriber *s)
{
    s->last_sequence = s->next++;
    s->last_lost = s->lost - s->lost_before;
    s->lost_before = s->lost;
    s->received++;
}

/* Copy the next message; one that is longer than `room` stays. */
static int64_t try_recv(struct ipcr_subscriber *s, char *out, uint64_t room)
{
    struct found m;
    for (int laps = 0; laps < LAPS_AT_ONCE; laps++) {
        int rc = find(s, &m);
        if (rc != IPCR_OK)
            return checked(s, rc);
        if (m.length > room)
            return result_of(&m) | IPCR_RESULT_LENT;
        copy(s, out, m.payload_at, m.length);
        note_topic(s, &m);
        rc = still_there(s);
        if (rc == IPCR_OK) {
            step(s);
            return result_of(&m);
        }
        if (rc == IPCR_AGAIN)
            rc = catch_up(s, true);
        if (rc != IPCR_OK)
            return checked(s, rc);
    }
    return IPCR_AGAIN;
}

int64_t ipcr_subscriber_copy(struct ipcr_subscriber *s, char *out, uint64_t room)
{
    const int rc = ipcr_subscriber_enter(s);
    if (rc != IPCR_OK)
        return rc;
    const uint64_t before = s->next;
    const int64_t result = try_recv(s, out, room);
    if (s->next != before)
        move_cursor(s);
    ipcr_seat_leave(&s->seat);
    return result;
}

int64_t ipcr_subscriber_try_recv_into(struct ipcr_subscriber_inbox *inbox)
{
    return ipcr_subscriber_copy(inbox->subscriber, inbox->bytes, IPCR_SMALL);
}

int64_t ipcr_subscriber_recv_into(struct ipcr_subscriber_inbox *inbox)
{
    struct ipcr_subscriber *s = inbox->subscriber;
    const int rc = ipcr_subscriber_enter(s);
    if (rc != IPCR_OK)
        return rc;
    const uint64_t before = s->next;
    int64_t result = try_recv(s, inbox->bytes, IPCR_SMALL);
    if (result == IPCR_EMPTY && ipcr_subscriber_spin(s))
        result = try_recv(s, inbox->bytes, IPCR_SMALL);
    if (s->next != before)
        move_cursor(s);
    ipcr_seat_leave(&s->seat);
    return result;
}

/* What is read from here on is settled later, or given back. */
static void begin_batch(struct ipcr_subscriber *s)
{
    s->batch_next = s->batch_end = s->next;
    s->batch_lost = s->lost;
    s->batch_lost_before = s->lost_before;
    s->batch_received = s->received;
}

int64_t ipcr_subscriber_recv_many(struct ipcr_subscriber *s, char *out, uint64_t room, int64_t *results, uint64_t *sequences,
                                  uint64_t *lost, uint64_t most)
{
    const int rc = ipcr_subscriber_enter(s);
    if (rc != IPCR_OK)
        return rc;
    uint64_t done = 0, used = 0;
    int64_t result = 0;
    begin_batch(s);
    while (done < most) {
        result = try_recv(s, out + used, room - used);
        if (result < 0 || (result & IPCR_RESULT_LENT) != 0)
            break;
        used += (uint64_t)result & ((UINT64_C(1) << IPCR_RESULT_ENCODING_SHIFT) - 1);
        sequences[done] = s->last_sequence;
        lost[done] = s->lost;
        results[done++] = result;
    }
    if (done == 0 && s->next != s->batch_next) { /* others' topics, or what was lost: no message to be read again */
        s->batch_next = s->next;
        s->batch_lost = s->lost;
        move_cursor(s);
    }
    s->batch_end = s->next;
    ipcr_seat_leave(&s->seat);
    return done > 0 || result >= 0 ? (int64_t)done : result;
}

int ipcr_subscriber_settle(struct ipcr_subscriber *s, uint64_t taken, uint64_t next, uint64_t lost)
{
    int rc = ipcr_subscriber_enter(s);
    if (rc != IPCR_OK)
        return rc;
    const bool of_the_batch = taken == 0 || next - s->batch_next - 1 < s->batch_end - s->batch_next;
    if (s->next != s->batch_end || !of_the_batch) { /* a cursor that went back could be below what is overwritten */
        rc = IPCR_BUSY;
    } else {
        s->next = taken == 0 ? s->batch_next : next;
        s->lost = taken == 0 ? s->batch_lost : lost;
        s->lost_before = taken == 0 ? s->batch_lost_before : lost;
        s->received = s->batch_received + taken;
        s->cached_published = s->next; /* to be looked at anew */
        move_cursor(s);
        begin_batch(s);
    }
    ipcr_seat_leave(&s->seat);
    return rc;
}

/* --- in place ---------------------------------------------------------------------------------------------------------- */

static int64_t peek(struct ipcr_subscriber *s, bool may_spin)
{
    struct found m;
    int rc = ipcr_subscriber_enter(s);
    if (rc != IPCR_OK)
        return rc;
    const uint64_t before = s->next;
    rc = s->lossy || s->evictable ? IPCR_WRONG_SIDE : checked(s, find(s, &m));
    if (rc == IPCR_EMPTY && may_spin && ipcr_subscriber_spin(s))
        rc = checked(s, find(s, &m));
    if (s->next != before)
        move_cursor(s);
    if (rc == IPCR_OK) {
        note_topic(s, &m);
        s->lent = true;
        s->lent_at = m.payload_at;
    }
    ipcr_seat_leave(&s->seat);
    return rc == IPCR_OK ? result_of(&m) : rc;
}

int64_t ipcr_subscriber_peek(struct ipcr_subscriber *s) { return peek(s, false); }
int64_t ipcr_subscriber_spin_and_peek(struct ipcr_subscriber *s) { return peek(s, true); }

const char *ipcr_subscriber_lent(const struct ipcr_subscriber *s)
{
    return (const char *)s->data + (s->lent_at & (s->capacity - 1));
}

static int return_lent(struct ipcr_subscriber *s, bool taken)
{
    int rc = ipcr_seat_enter(&s->seat);
    if (rc != IPCR_OK)
        return rc;
    rc = s->lent ? IPCR_OK : IPCR_NOTHING_LENT;
    if (s->lent && taken) {
        step(s);
        move_cursor(s);
    }
    s->lent = false;
    ipcr_seat_leave(&s->seat);
    return rc;
}

int ipcr_subscriber_release(struct ipcr_subscriber *s) { return return_lent(s, true); }
int ipcr_subscriber_put_back(struct ipcr_subscriber *s) { return return_lent(s, false); }

uint64_t ipcr_subscriber_last_sequence(const struct ipcr_subscriber *s) { return s->last_sequence; }
uint64_t ipcr_subscriber_last_lost(const struct ipcr_subscriber *s) { return s->last_lost; }
int32_t ipcr_subscriber_last_topic(const struct ipcr_subscriber *s, const char **name)
{
    *name = s->last_topic;
    return s->last_topic_length;
}
uint64_t ipcr_subscriber_lost(const struct ipcr_subscriber *s) { return s->lost; }
uint32_t ipcr_multicast_publisher_pid(const struct ipcr_segment *segment)
{
    return load_relaxed32(&ipcr_multicast_header(segment)->publisher_pid);
}

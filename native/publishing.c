/* publishing.c - the publisher's side of a multicast: the role, messages, claims. */
#include "multicast.h"
#include "registry.h"

#include <errno.h>
#include <stdlib.h>

enum { ANNOUNCED_AT_ONCE = 64 };

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

int ipcr_publisher_enter(struct ipcr_publisher *p)
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
    ipcr_segment_quit(p->segment, &p->has_quit);
}

void ipcr_publisher_free(struct ipcr_publisher *p)
{
    ipcr_publisher_close(p);
    ipcr_segment_quit(p->segment, &p->has_quit); /* the copy of a forked child */
    ipcr_segment_forget(p->segment);
    free(p);
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
    return ipcr_publisher_make_room(p, payload + ipcr_padded(length));
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
    int rc = ipcr_publisher_enter(p);
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
    int rc = ipcr_publisher_enter(p);
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
    int rc = ipcr_publisher_enter(p);
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
    int rc = ipcr_publisher_enter(p);
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
    int64_t result = ipcr_publisher_enter(p);
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

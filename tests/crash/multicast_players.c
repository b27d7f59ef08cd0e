/* multicast_players.c - messages, and processes on a multicast's stage, played by handles; see multicast_stage.h. */
#include "multicast_stage.h"
#include "registry.h"

/* --- messages ------------------------------------------------------------------------------------------------------- */

struct ipcr_topic topic_called(const char *name)
{
    const uint64_t length = strlen(name);
    return (struct ipcr_topic){ .name = name, .length = length, .number = ipcr_topic_number(name, length) };
}

const struct ipcr_topic *topic_of_number(const struct stage *s, uint64_t number)
{
    static struct ipcr_topic topics[2];
    topics[0] = topic_called("even numbers");
    topics[1] = topic_called("odd");
    return s->operation->multicast->topics ? &topics[number % 2] : NULL;
}

uint64_t info_of_number(const struct stage *s, uint64_t number)
{
    const struct ipcr_topic *topic = topic_of_number(s, number);
    return IPCR_INFO(topic == NULL ? 0 : topic->number, s->operation->multicast->encoding);
}

int64_t publish_number(struct stage *s, struct ipcr_publisher *p, uint64_t number)
{
    static uint8_t message[HAND_BYTES];
    const struct ipcr_topic *topic = topic_of_number(s, number);
    const uint32_t encoding = s->operation->multicast->encoding;
    const struct ipcr_piece piece = { .data = (const char *)message, .length = length_of(s, number) };
    stamp(message, piece.length, number);
    return topic == NULL && encoding == IPCR_BYTES ? ipcr_publish_bytes(p, piece.data, piece.length)
                                                   : ipcr_publish(p, topic, &piece, 1, IPCR_INFO(0, encoding));
}

/* --- room ----------------------------------------------------------------------------------------------------------- */

static const struct ipcr_entry *entry_of(const struct stage *s, uint64_t number)
{
    const struct multicast_shape *shape = s->operation->multicast;
    return ipcr_entry_at(ipcr_entries(words_of(s)), shape->entries - 1, sequence_of(s, number));
}

uint64_t position_for(const struct stage *s, uint64_t number)
{
    if (number == 0)
        return 0;
    const struct ipcr_entry *last = entry_of(s, number - 1);
    return load_relaxed64(&last->position) + ipcr_padded(load_relaxed32(&last->topic_length)) +
           ipcr_padded(load_relaxed64(&last->length));
}

uint64_t end_of(const struct stage *s, uint64_t number, uint64_t position)
{
    const struct ipcr_topic *topic = topic_of_number(s, number);
    const uint64_t alignment = s->operation->multicast->encoding == IPCR_BYTES ? 8 : IPCR_DATA_ALIGNMENT;
    const uint64_t name = topic == NULL ? 0 : ipcr_padded(topic->length);
    return ((position + name + alignment - 1) & ~(alignment - 1)) + ipcr_padded(length_of(s, number));
}

/* From `position` on, when those at `floor` and above stay, of which the first stands at `from`. */
static bool fits(const struct stage *s, uint64_t number, uint64_t position, uint64_t floor, uint64_t from)
{
    const struct multicast_shape *shape = s->operation->multicast;
    const uint64_t kept = number + 1 - floor, most = shape->options.max_lag;
    return kept <= shape->entries && (most == 0 || kept <= most) && end_of(s, number, position) - from <= s->operation->capacity;
}

static uint64_t position_of_kept(const struct stage *s, uint64_t published, uint64_t floor)
{
    return floor == published ? position_for(s, published) : load_relaxed64(&entry_of(s, floor)->position);
}

bool would_fit(struct stage *s, uint64_t published, uint64_t floor)
{
    return fits(s, published, position_for(s, published), floor, position_of_kept(s, published, floor));
}

uint64_t room_for(struct stage *s, uint64_t most)
{
    const struct ipcr_multicast_header *h = words_of(s);
    const uint64_t published = number_of(s, load_acquire64(&h->published));
    uint64_t floor = published, count = 0, position = position_for(s, published);
    for (uint32_t i = 0; i < IPCR_MOST_SUBSCRIBERS && !is_lossy(s); i++) {
        const uint32_t state = load_acquire32(&h->cursor[i].state) & IPCR_CURSOR_MASK;
        const uint64_t next = number_of(s, load_acquire64(&h->cursor[i].next));
        if (state == IPCR_CURSOR_JOINING)
            return 0;
        if (state == IPCR_CURSOR_ACTIVE && next < floor && !evicts(s))
            floor = next;
    }
    if (floor < number_of(s, load_acquire64(&h->oldest))) /* what was announced must come first */
        return is_lossy(s) || floor == published ? most : 0;
    const uint64_t from = position_of_kept(s, published, floor);
    for (; count < most && (is_lossy(s) || evicts(s) || fits(s, published + count, position, floor, from)); count++)
        position = end_of(s, published + count, position);
    return count;
}

/* --- players -------------------------------------------------------------------------------------------------------- */

struct ipcr_publisher *begins_to_publish(struct stage *s)
{
    struct ipcr_publisher *p = NULL;
    uint32_t by;
    CHECK_IS(ipcr_publisher_open(s->segment, 0, &by, &p), IPCR_OK);
    return p;
}

void publishes(struct stage *s, struct ipcr_publisher *p, uint64_t count)
{
    while (count-- > 0) {
        CHECK_IS(publish_number(s, p, s->broadcast->published), sequence_of(s, s->broadcast->published));
        s->broadcast->published++;
    }
}

/* What the kernel does, and nothing else. */
static void dies(struct ipcr_hold *hold, struct ipcr_segment *segment, void *handle)
{
    ipcr_registry_lock();
    ipcr_hold_drop(hold);
    ipcr_registry_unlock();
    ipcr_segment_release(segment);
    free(handle);
}

void dies_publishing(struct ipcr_publisher *p) { dies(&p->hold, p->segment, p); }
void dies_listening(struct ipcr_subscriber *handle) { dies(&handle->hold, handle->segment, handle); }

struct ipcr_subscription subscription_to(uint32_t start, uint32_t on_lap, bool observe)
{
    return (struct ipcr_subscription){ .start = start, .on_lap = on_lap, .observe = observe, .interval_ns = 1000 };
}

static struct ipcr_subscriber *subscribes(struct stage *s, struct ipcr_subscription wanted)
{
    struct ipcr_subscriber *handle = NULL;
    uint64_t oldest, next;
    CHECK_IS(ipcr_subscriber_open(s->segment, &wanted, NULL, &oldest, &next, &handle), IPCR_OK);
    return handle;
}

struct ipcr_subscriber *joins(struct stage *s, uint32_t start, uint32_t on_lap)
{
    return subscribes(s, subscription_to(start, on_lap, false));
}


void listens_on(struct stage *s, struct ipcr_subscriber *handle)
{
    struct broadcast *b = s->broadcast;
    CHECK(b->count < MOST_LISTENERS);
    b->listeners[b->count++] = (struct listener){ .handle = handle, .heard = number_of(s, handle->next),
                                                  .received = handle->received, .lost = handle->lost };
    if (handle->cursor != NULL)
        lives_on(s, &handle->hold, IPCR_LOCK_SUBSCRIBER(handle->number), true);
}

void hears(struct stage *s, struct ipcr_subscriber *handle, uint64_t count)
{
    static char message[HAND_BYTES];
    for (; count > 0 && number_of(s, handle->next) != s->broadcast->published; count--) {
        const int64_t result = ipcr_subscriber_copy(handle, message, sizeof message);
        const uint64_t number = number_of(s, ipcr_subscriber_last_sequence(handle));
        CHECK_IS(LENGTH_OF(result), length_of(s, number));
        CHECK(is_stamped((const uint8_t *)message, length_of(s, number), number));
    }
    CHECK(count == 0 || is_lossy(s)); /* some may have been lost, where it publishes ahead of need */
}

/* As joining.c does: numbers whose last user has left or was evicted first, then those of the dead. */
void will_subscribe(struct stage *s, uint64_t from)
{
    struct broadcast *b = s->broadcast;
    b->victim_from = from;
    for (int any = 0; any < 2; any++)
        for (uint32_t i = 0; i < IPCR_MOST_SUBSCRIBERS; i++) {
            const uint32_t state = load_acquire32(&words_of(s)->cursor[i].state) & IPCR_CURSOR_MASK;
            bool held;
            CHECK_IS(ipcr_probe(s->segment->fd, s->segment->id, IPCR_LOCK_SUBSCRIBER(i), &held), IPCR_OK);
            if (held || (!any && (state == IPCR_CURSOR_JOINING || state == IPCR_CURSOR_ACTIVE)))
                continue;
            b->victim_number = i;
            return;
        }
}

void publishes_meanwhile(struct stage *s, uint64_t count)
{
    struct broadcast *b = s->broadcast;
    for (uint64_t i = 0; i < count; i++) {
        const int64_t rc = publish_number(s, b->publisher, b->published);
        CHECK(rc == (int64_t)sequence_of(s, b->published) || rc == IPCR_FULL);
        b->published += rc >= 0;
    }
    s->peer_acts++;
}

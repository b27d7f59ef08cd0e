/* watch.c - see watch.h. */
#include "watch.h"
#include "kernel.h"
#include "peer.h"
#include "watched.h"

#include <sanitizer/asan_interface.h>

#define MEMBER(name) offsetof(struct ipcr_entry, name)
#define HEADER(name) offsetof(struct ipcr_multicast_header, name)
#define NO_ENTRY UINT64_MAX

static const struct ipcr_segment *segment;
static const struct ipcr_publisher *publisher;
static const struct ipcr_subscriber *subscriber;
static bool joining, taking_role;
static uint64_t laps;

/* Of the entry that was looked at last. */
static struct {
    uint64_t index;
    uint64_t next;   /* of the subscriber, when it looked */
    uint32_t loaded; /* a bit for each 8 bytes */
    uint64_t sequence, position, length;
    uint32_t topic_length;
} seen;

/* The data that something was opened of. */
static struct {
    const uint8_t *data;
    uint64_t bytes;
} opened;

static struct {
    uint32_t entries;
    uint64_t capacity, header_bytes;
} made;

/* --- where things are ------------------------------------------------------------------------------------------- */

void watch_lay_out(uint32_t entries, uint64_t capacity)
{
    made.entries = entries;
    made.capacity = capacity;
    made.header_bytes = ipcr_multicast_header_bytes(entries, ipcr_os_page_bytes());
}

uint64_t offset_of_cursor(uint32_t number)
{
    return HEADER(cursor) + number % IPCR_MOST_SUBSCRIBERS * sizeof(struct ipcr_cursor);
}

uint64_t offset_of_entry(uint64_t sequence)
{
    return sizeof(struct ipcr_multicast_header) + (sequence & (made.entries - 1)) * IPCR_ENTRY_BYTES;
}

uint64_t watch_near(uint8_t pick)
{
    static const uint64_t far[16] = { 0, 1, 2, 3, 8, 16, 64, 4096, 4095, 16384, 4088, UINT64_C(1) << 32, 24,
                                      UINT64_C(1) << 63, UINT64_C(1) << 52, 1024 };
    const uint64_t published = raw_word(HEADER(published));
    const uint64_t bases[4] = { 0, published, raw_word(HEADER(oldest)),
                                raw_word(offset_of_entry(published - 1) + MEMBER(position)) };
    const uint64_t by = far[pick >> 2 & 15];
    return (pick & 64) == 0 ? bases[pick & 3] + by : bases[pick & 3] - by;
}

static bool is_entry(uint64_t offset, uint32_t entries, uint64_t *index, uint64_t *member)
{
    const uint64_t from = offset - sizeof(struct ipcr_multicast_header);
    *index = from / IPCR_ENTRY_BYTES;
    *member = from % IPCR_ENTRY_BYTES;
    return offset >= sizeof(struct ipcr_multicast_header) && *index < entries;
}

static bool is_cursor(uint64_t offset, uint64_t *number, uint64_t *member)
{
    const uint64_t from = offset - HEADER(cursor);
    *number = from / sizeof(struct ipcr_cursor);
    *member = from % sizeof(struct ipcr_cursor);
    return offset >= HEADER(cursor) && *number < IPCR_MOST_SUBSCRIBERS;
}

/* A word is changed as little as keeps it believed, or nearly. */
uint64_t watch_plausible(uint64_t offset, uint64_t random)
{
    static const uint64_t by[8] = { 1, 8, 64, 2, 4096, 1024, 56, UINT64_C(1) << 32 };
    const uint64_t was = raw_word(offset), step = by[random / 8 % 8];
    uint64_t at, member;
    if (random % 4 == 0)
        return watch_near((uint8_t)(random >> 8));
    if (is_cursor(offset, &at, &member) && member == 0)
        return was ^ (random >> 8) % 4;
    if (is_entry(offset, made.entries, &at, &member) && member == MEMBER(length) && random % 4 == 1)
        return made.capacity - step;
    return random % 2 == 0 ? was + step : was - step;
}

/* --- what may be touched ---------------------------------------------------------------------------------------- */

static void open_data(const uint8_t *data, uint64_t bytes, uint64_t from, uint64_t n)
{
    opened.data = data;
    opened.bytes = bytes;
    __asan_unpoison_memory_region(data + from, n);
}

static void close_data(void)
{
    if (opened.data != NULL)
        __asan_poison_memory_region(opened.data, opened.bytes);
    opened.data = NULL;
}

static void close_between(const uint8_t *base, uint64_t from, uint64_t to)
{
    __asan_poison_memory_region(base + from, to - from);
}

void watch_know(const struct ipcr_segment *s, const uint8_t *base, uint32_t copies)
{
    const uint64_t pid = offsetof(struct ipcr_geometry, creator_pid), all = sizeof(struct ipcr_multicast_header);
    close_between(base, 0, pid);
    close_between(base, pid + 8, HEADER(published)); /* the options as well */
    close_between(base, HEADER(pad2), HEADER(readers_parked));
    close_between(base, HEADER(pad3), HEADER(parked_ns));
    close_between(base, HEADER(pad4), HEADER(cursor));
    for (uint32_t i = 0; i < IPCR_MOST_SUBSCRIBERS; i++)
        close_between(base, offset_of_cursor(i) + offsetof(struct ipcr_cursor, pad),
                      offset_of_cursor(i) + sizeof(struct ipcr_cursor));
    for (uint64_t i = 0; i < s->lanes; i++)
        close_between(base, all + i * IPCR_ENTRY_BYTES + MEMBER(reserved), all + (i + 1) * IPCR_ENTRY_BYTES);
    close_between(base, all + s->lanes * (uint64_t)IPCR_ENTRY_BYTES, s->header_bytes + copies * s->capacity);
}

void watch_mapped(uint8_t *at, uint64_t offset, uint64_t bytes)
{
    if (offset == 0) /* else the data, a second time */
        __asan_unpoison_memory_region(at, bytes);
}

static void look_anew(void) { seen.index = NO_ENTRY; }

void watch_reset(void)
{
    opened.data = NULL;
    laps = 0;
    watch_forget();
    peer_reset();
}

void watch_begin(const struct ipcr_segment *s)
{
    close_data();
    segment = s;
    publisher = NULL;
    subscriber = NULL;
    joining = taking_role = false;
    look_anew();
    peer_begin();
}

void watch_take_role(const struct ipcr_segment *s)
{
    watch_begin(s);
    taking_role = true;
}

void watch_join(const struct ipcr_segment *s)
{
    watch_begin(s);
    joining = true;
}

void watch_publish(const struct ipcr_publisher *p)
{
    watch_begin(p->segment);
    publisher = p;
}

void watch_subscribe(const struct ipcr_subscriber *s)
{
    watch_begin(s->segment);
    subscriber = s;
}

void watch_forget(void) { watch_begin(NULL); }

/* Where a publisher's next message goes.  M2: nothing at or above `oldest` is overwritten. */
static void open_room(const struct ipcr_publisher *p, const uint8_t *at, uint64_t n)
{
    const uint64_t capacity = p->segment->capacity, used = p->position - p->oldest_position;
    const uint64_t offset = (uint64_t)(at - p->segment->data), from = (offset - p->position) & (capacity - 1);
    if (at < p->segment->data || offset >= 2 * capacity || n > 2 * capacity - offset)
        violation("a payload is written where none belongs", offset);
    if (used > capacity || from > capacity - used || n > capacity - used - from)
        violation("a payload is written over others", from + n);
    open_data(p->segment->data, 2 * capacity, offset, n);
}

void watch_claim(const struct ipcr_publisher *p)
{
    watch_publish(p);
    open_room(p, (const uint8_t *)ipcr_publisher_lent(p), p->lent_length);
}

static void open_piece(uint64_t position, uint64_t n)
{
    const struct ipcr_subscriber *s = subscriber;
    const uint64_t from = position & (s->capacity - 1);
    if (s->mapped == NULL) {
        open_data(s->data, 2 * s->capacity, from, n);
        return;
    }
    const uint64_t first = n < s->capacity - from ? n : s->capacity - from;
    open_data(s->data, s->capacity, from, first);
    open_data(s->data, s->capacity, 0, n - first);
}

static void open_message(void)
{
    const uint64_t topic = ipcr_padded(seen.topic_length);
    if (seen.sequence != subscriber->next || seen.topic_length > IPCR_MOST_TOPIC || (seen.position & 7) != 0 ||
        seen.length > subscriber->capacity - topic)
        return;
    open_piece(seen.position, seen.topic_length);
    open_piece(seen.position + topic, seen.length);
}

/* --- the accesses ----------------------------------------------------------------------------------------------- */

static void load_of_entry(uint64_t index, uint64_t member, uint64_t offset)
{
    static const uint32_t all = 1u << MEMBER(sequence) / 8 | 1u << MEMBER(position) / 8 | 1u << MEMBER(length) / 8 |
                                1u << MEMBER(topic_length) / 8;
    const uint32_t bit = 1u << member / 8;
    if (taking_role) /* looks at the last message from both its ends, and compares them */
        return;
    if (seen.index != index || (subscriber != NULL && seen.next != subscriber->next)) {
        seen.index = index;
        seen.next = subscriber != NULL ? subscriber->next : 0;
        seen.loaded = 0;
    }
    if ((seen.loaded & bit) != 0)
        violation("a word of a message is loaded again", member);
    seen.loaded |= bit;
    switch (member) {
    case MEMBER(sequence): seen.sequence = raw_word(offset); break;
    case MEMBER(position): seen.position = raw_word(offset); break;
    case MEMBER(length): seen.length = raw_word(offset); break;
    case MEMBER(topic_length): seen.topic_length = raw_word32(offset); break;
    default: break;
    }
    if (subscriber != NULL && (seen.loaded & all) == all)
        open_message();
}

void watch_laps(uint64_t messages) { laps = messages; }

static void go_on_by_laps(uint64_t offset)
{
    if (laps == 0 || offset != HEADER(oldest))
        return;
    peer_write(HEADER(published), raw_word(HEADER(published)) + laps);
    peer_write(HEADER(oldest), raw_word(HEADER(oldest)) + laps);
}

const void *watch_load(const void *word, unsigned bytes)
{
    uint64_t offset = 0, index = 0, member = 0;
    (void)bytes;
    const bool shared = kernel_offset(word, &offset);
    const bool in_entry = shared && segment != NULL && is_entry(offset, segment->lanes, &index, &member);
    if (shared && segment != NULL && offset >= segment->header_bytes)
        violation("a word is loaded from the data", offset);
    peer_step();
    peer_acts(offset, shared, in_entry && member == MEMBER(length));
    if (shared)
        go_on_by_laps(offset);
    if (in_entry)
        load_of_entry(index, member, offset);
    else if (shared && offset == HEADER(published))
        look_anew();
    return word;
}

static void store_to_entry(uint64_t index)
{
    const struct ipcr_publisher *p = publisher;
    if (p == NULL || index != (p->next & p->mask))
        violation("a store into an entry, and not by its publisher", index);
    if (p->next - p->oldest > p->mask)
        violation("a store into an entry that may not be overwritten", index);
}

static void store_to_header(uint64_t offset)
{
    uint64_t number, member;
    if ((offset == HEADER(published) || offset == HEADER(oldest)) && publisher == NULL)
        violation("a store into the publisher's words by somebody else", offset);
    if (!is_cursor(offset, &number, &member) || member == offsetof(struct ipcr_cursor, state) || joining)
        return;
    if (subscriber == NULL || subscriber->number != number)
        violation("a store into a cursor by somebody else", number);
}

static void may_store(uint64_t offset)
{
    uint64_t index, member;
    if (segment == NULL)
        return;
    if (subscriber != NULL && subscriber->cursor == NULL)
        violation("an observer stores", offset);
    if (offset >= segment->header_bytes)
        violation("a word is stored into the data", offset);
    if (is_entry(offset, segment->lanes, &index, &member))
        store_to_entry(index);
    else
        store_to_header(offset);
}

void *watch_store(void *word, unsigned bytes)
{
    uint64_t offset = 0;
    (void)bytes;
    if (kernel_offset(word, &offset))
        may_store(offset);
    if (offset == HEADER(published))
        look_anew();
    peer_step();
    peer_acts(offset, false, false);
    return word;
}

uint8_t *watch_write(uint8_t *shared, uint64_t n)
{
    if (n == 0)
        return shared;
    if (publisher == NULL)
        violation("a payload is written, and not by a publisher", n);
    open_room(publisher, shared, n);
    peer_step();
    peer_acts(0, false, false);
    return shared;
}

const uint8_t *watch_read(const uint8_t *shared, uint64_t n)
{
    (void)n;
    peer_step();
    peer_acts(0, false, false);
    return shared;
}

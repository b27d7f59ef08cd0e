/* watch.c - see watch.h. */
#include "watch.h"
#include "kernel.h"
#include "peer.h"
#include "watched.h"

#include <sanitizer/asan_interface.h>

#define MEMBER(name) offsetof(struct ipcr_slot, name)
#define WORDS(name) offsetof(struct ipcr_lane_words, name)

static const struct ipcr_segment *segment;
static const struct ipcr_queue *user;
static enum watch_what doing;
static bool off, something_open;

/* Of the slot that was looked at last. */
static struct {
    const uint8_t *slot;
    bool has_length, has_position;
    uint64_t length, position;
} seen;

static struct {
    uint32_t lanes, near;
    uint64_t slots, capacity, header_bytes, slots_bytes;
} made;

/* --- where things are ------------------------------------------------------------------------------------------- */

void watch_lay_out(uint32_t lanes, uint64_t slots, uint64_t capacity)
{
    const uint64_t page = ipcr_os_page_bytes();
    made.lanes = lanes;
    made.slots = slots;
    made.capacity = capacity;
    made.header_bytes = ipcr_queue_header_bytes(lanes, page);
    made.slots_bytes = ipcr_to_pages(slots * IPCR_SLOT_BYTES, page);
}

uint64_t offset_of_lane(uint32_t lane)
{
    return offsetof(struct ipcr_queue_header, lane) + lane % made.lanes * sizeof(struct ipcr_lane_words);
}

uint64_t offset_of_slot(uint32_t lane, uint64_t sequence)
{
    return made.header_bytes + lane % made.lanes * (made.slots_bytes + made.capacity) +
           (sequence & (made.slots - 1)) * IPCR_SLOT_BYTES;
}

void watch_look_at_lane(uint32_t lane) { made.near = lane % made.lanes; }

uint64_t watch_near(uint8_t pick)
{
    static const uint64_t far[16] = { 0, 1, 2, 3, 4, 8, 16, 17, 64, 256, 4096, 8192, 4088, UINT64_C(1) << 32,
                                      UINT64_C(1) << 63, UINT64_C(1) << 46 };
    const uint64_t words = offset_of_lane(made.near);
    const uint64_t bases[4] = { 0, raw_word(words + WORDS(head)), raw_word(words + WORDS(freed)),
                                raw_word(words + WORDS(take)) };
    const uint64_t by = far[pick >> 2 & 15];
    return (pick & 64) == 0 ? bases[pick & 3] + by : bases[pick & 3] - by;
}

/* A state is changed in one of its fields, so that it is still believed. */
uint64_t watch_plausible(uint64_t offset, uint64_t random)
{
    static const uint64_t field[8] = { UINT64_C(1) << 42, UINT64_C(1) << 43, UINT64_C(1) << 32, UINT64_C(1) << 24,
                                       UINT64_C(1) << 45, UINT64_C(1) << 44, 1, UINT64_C(0xffffff) };
    const uint64_t lane = made.slots_bytes + made.capacity;
    if (offset < made.header_bytes || (offset - made.header_bytes) % lane >= made.slots_bytes || offset % 64 != 0)
        return watch_near((uint8_t)random);
    return raw_word(offset) ^ field[random % 8];
}

struct place {
    const struct ipcr_lane *lane;
    const uint8_t *slot; /* NULL: in the data */
    uint64_t member;
};

/* In a lane of this segment? */
static bool find_place(const void *where, struct place *out)
{
    const uint8_t *at = where;
    for (uint32_t i = 0; segment != NULL && segment->lane != NULL && i < segment->lanes; i++) {
        const struct ipcr_lane *l = &segment->lane[i];
        const uint8_t *slots = (const uint8_t *)l->slots;
        if (load_acquire32(&l->mapped) == 0 || at < slots || at >= l->data + 2 * segment->capacity)
            continue;
        const uint64_t from = (uint64_t)(at - slots);
        *out = (struct place){ .lane = l, .member = from % IPCR_SLOT_BYTES };
        if (at < l->data)
            out->slot = at - out->member;
        return true;
    }
    return false;
}

/* --- what may be touched ---------------------------------------------------------------------------------------- */

static void open_data(const uint8_t *at, uint64_t n)
{
    something_open = true;
    __asan_unpoison_memory_region(at, n);
}

static void close_data(void)
{
    for (uint32_t i = 0; something_open && segment->lane != NULL && i < segment->lanes; i++)
        if (load_acquire32(&segment->lane[i].mapped) != 0)
            __asan_poison_memory_region(segment->lane[i].data, 2 * segment->capacity);
    something_open = false;
}

static void close_between(const struct ipcr_segment *s, uint64_t from, uint64_t to)
{
    __asan_poison_memory_region((const uint8_t *)s->header + from, to - from);
}

void watch_know(const struct ipcr_segment *s)
{
    const uint64_t pid = offsetof(struct ipcr_geometry, creator_pid), lanes = offsetof(struct ipcr_queue_header, lane);
    if (off)
        return;
    close_between(s, 0, pid);
    close_between(s, pid + 8, offsetof(struct ipcr_queue_header, consumers_parked)); /* the options as well */
    close_between(s, offsetof(struct ipcr_queue_header, pad2), offsetof(struct ipcr_queue_header, returns));
    close_between(s, offsetof(struct ipcr_queue_header, pad3), offsetof(struct ipcr_queue_header, holders));
    for (uint32_t i = 0; i < s->lanes; i++) {
        const uint64_t words = lanes + i * sizeof(struct ipcr_lane_words);
        close_between(s, words + WORDS(pad0), words + WORDS(head));
        close_between(s, words + WORDS(pad1), words + WORDS(used));
        close_between(s, words + WORDS(pad2), words + sizeof(struct ipcr_lane_words));
    }
    close_between(s, lanes + s->lanes * sizeof(struct ipcr_lane_words), s->header_bytes);
}

void watch_mapped(uint8_t *at, uint64_t offset, uint64_t bytes)
{
    if (off || offset == 0) {
        __asan_unpoison_memory_region(at, bytes); /* a header: until it is known */
        return;
    }
    if (segment == NULL)
        violation("a lane is mapped for nobody", offset);
    if (bytes > segment->capacity) /* else its data, once more */
        __asan_unpoison_memory_region(at, segment->options.slots * IPCR_SLOT_BYTES);
}

void watch_off(void) { off = true; }

void watch_reset(void)
{
    off = false;
    segment = NULL;
    user = NULL;
    something_open = false;
    made.near = 0;
    seen.slot = NULL;
    peer_reset();
}

void watch_begin(const struct ipcr_segment *s, const struct ipcr_queue *q, enum watch_what what)
{
    close_data();
    segment = s;
    user = q;
    doing = what;
    seen.slot = NULL;
    peer_begin();
}

void watch_forget(void)
{
    segment = NULL;
    user = NULL;
    something_open = false; /* what was unmapped is poisoned */
}

void watch_lease(const struct ipcr_lease *l)
{
    const struct ipcr_lane *lane = &segment->lane[l->lane];
    const uint64_t from = (uint64_t)((const uint8_t *)l->payload - lane->data);
    if (from >= segment->capacity || l->length > segment->capacity)
        violation("a lease of a payload that can't be one", from);
    open_data(lane->data + from, l->length);
}

/* --- the accesses ----------------------------------------------------------------------------------------------- */

static void open_payload(const struct place *p)
{
    if (doing != WATCH_TAKING || seen.length > segment->capacity || (seen.position & 7) != 0)
        return;
    open_data(p->lane->data + (seen.position & (segment->capacity - 1)), seen.length);
}

static void look_anew(const uint8_t *slot)
{
    seen.slot = slot;
    seen.has_length = seen.has_position = false;
}

static void load_of_slot(const struct place *p, uint64_t offset)
{
    if (p->member == MEMBER(state) || seen.slot != p->slot)
        look_anew(p->slot);
    if (p->member != MEMBER(length) && p->member != MEMBER(position))
        return;
    const bool is_length = p->member == MEMBER(length);
    bool *has = is_length ? &seen.has_length : &seen.has_position;
    if (*has && doing != WATCH_ADOPTING)
        violation("a word of a message is loaded again", p->member);
    *has = true;
    *(is_length ? &seen.length : &seen.position) = raw_word(offset);
    if (seen.has_length && seen.has_position)
        open_payload(p);
}

const void *watch_load(const void *word, unsigned bytes)
{
    struct place p;
    uint64_t offset = 0;
    (void)bytes;
    if (off)
        return word;
    const bool shared = kernel_offset(word, &offset), in_lane = shared && find_place(word, &p);
    if (in_lane && p.slot == NULL)
        violation("a word is loaded from the data", offset);
    peer_step();
    peer_acts(offset, shared, in_lane && p.member == MEMBER(length));
    if (in_lane)
        load_of_slot(&p, offset);
    return word;
}

static const struct ipcr_producer *producer_of(const struct ipcr_lane *l)
{
    for (uint32_t i = 0; user != NULL && i < user->lanes_taken; i++)
        if (user->own[i].lane == l)
            return &user->own[i];
    return NULL;
}

static void store_to_slot(const struct place *p, uint64_t offset)
{
    const struct ipcr_producer *own = producer_of(p->lane);
    if (p->slot == NULL)
        violation("a word is stored into the data", offset);
    if (p->member == MEMBER(state))
        look_anew(p->slot);
    else if (p->member != MEMBER(expires) && p->member != MEMBER(forgiven) &&
             (own == NULL || p->slot != (const uint8_t *)ipcr_slot_at(p->lane, own->next)))
        violation("a store into a slot, and not by its lane's producer", offset);
}

void *watch_store(void *word, unsigned bytes)
{
    struct place p;
    uint64_t offset = 0;
    (void)bytes;
    if (off)
        return word;
    const bool shared = kernel_offset(word, &offset);
    if (shared && find_place(word, &p))
        store_to_slot(&p, offset);
    peer_step();
    peer_acts(offset, false, false);
    return word;
}

uint8_t *watch_write(uint8_t *shared, uint64_t n)
{
    struct place p = { .lane = NULL };
    uint64_t offset = 0;
    if (off || n == 0)
        return shared;
    if (!find_place(shared, &p) || p.slot != NULL)
        violation("a payload is written where none belongs", kernel_offset(shared, &offset) ? offset : 0);
    const struct ipcr_producer *own = producer_of(p.lane);
    if (own == NULL)
        violation("a payload is written, and not by its lane's producer", 0);
    const uint64_t from = (uint64_t)(shared - ipcr_producer_payload(own));
    const uint64_t room = own->capacity - (own->position - own->free_upto);
    if (room > own->capacity || from > room || n > room - from)
        violation("a payload is written over others", from + n);
    open_data(shared, n);
    peer_step();
    peer_acts(0, false, false);
    return shared;
}

const uint8_t *watch_read(const uint8_t *shared, uint64_t n)
{
    (void)n;
    if (!off) {
        peer_step();
        peer_acts(0, false, false);
    }
    return shared;
}

/* watch.c - see watch.h. */
#include "watch.h"
#include "kernel.h"
#include "peer.h"
#include "watched.h"

#include <sanitizer/asan_interface.h>

static const struct ipcr_end *user;
static uint64_t known_write;   /* receiver: the records below it are published, as far as it knows */
static uint64_t next_length;   /* no record before this position may have its length loaded, ... */
static uint64_t next_info;     /* ... or its info: that was done */
static uint32_t loads[sizeof(struct ipcr_header) / 4];

static bool off;

static uint64_t position_offset(uint32_t side) { return offsetof(struct ipcr_header, at) + side * IPCR_LINE; }

uint64_t watch_near(uint8_t pick)
{
    static const uint64_t far[16] = { 0, 8, 16, 24, 32, 1, 4, 64, 4096, 4080, 4088, 16384, 8192, 2048,
                                      UINT64_C(1) << 63, UINT64_C(1) << 46 };
    const uint64_t bases[4] = { 0, raw_word(position_offset(IPCR_SENDER)), raw_word(position_offset(IPCR_RECEIVER)),
                                raw_word(offsetof(struct ipcr_header, geometry.start_position)) };
    const uint64_t by = far[pick >> 2 & 15];
    return (pick & 64) == 0 ? bases[pick & 3] + by : bases[pick & 3] - by;
}

uint64_t watch_plausible(uint64_t offset, uint64_t random)
{
    (void)offset;
    return watch_near((uint8_t)random);
}

/* --- what may be touched ---------------------------------------------------------------------------------------- */

static void open_bytes(const uint8_t *at, uint64_t n) { __asan_unpoison_memory_region(at, n); }

static uint8_t *place(const struct ipcr_end *e, uint64_t position)
{
    return e->segment->data + (position & (e->segment->capacity - 1));
}

static void open_room(uint64_t read)
{
    const struct ipcr_ring_writer *w = &user->writer;
    if (w->position - read > w->capacity || (read & 7) != 0)
        return; /* it must not believe this */
    const uint64_t offset = w->position & w->mask, behind = offset + w->capacity - (w->position - read);
    open_bytes(user->segment->data + offset, behind - offset);
    if (behind > w->capacity) /* a record that begins there is reached through the first copy */
        open_bytes(user->segment->data, behind - w->capacity);
}

static void open_record(uint64_t length)
{
    const struct ipcr_ring_reader *r = &user->reader;
    if (length > known_write - r->position - IPCR_RECORD_HEADER)
        return;
    open_bytes(place(user, r->position) + IPCR_RECORD_HEADER, length);
}

static void begin_sender(const struct ipcr_ring_writer *w)
{
    if (w->position - w->cached_read > w->capacity || ((w->position | w->cached_read) & 7) != 0)
        violation("the sender believes in impossible positions", w->position - w->cached_read);
    open_room(w->cached_read);
}

static void begin_receiver(const struct ipcr_end *e)
{
    const struct ipcr_ring_reader *r = &e->reader;
    const struct ipcr_assembly *a = &e->assembly;
    const uint64_t there = r->cached_write - r->position;
    if (there > r->capacity || ((r->position | r->cached_write) & 7) != 0)
        violation("the receiver believes in impossible positions", there);
    known_write = r->cached_write;
    next_length = next_info = r->position;
    if (e->assembling && a->at < a->length) { /* a part that was checked before */
        if (a->length + IPCR_RECORD_HEADER > there || a->done > a->total)
            violation("a part is kept that is longer than what was published", a->length);
        open_record(a->length);
    }
    if (e->lent && e->lent_length + IPCR_RECORD_HEADER > there)
        violation("a message is lent that is longer than what was published", e->lent_length);
}

void watch_begin(const struct ipcr_end *e)
{
    if (user != NULL)
        __asan_poison_memory_region(user->segment->data, 2 * user->segment->capacity);
    user = e != NULL && !off && e->taken_generation != 0 && load_acquire32(&e->closing) == 0 ? e : NULL;
    peer_begin();
    memset(loads, 0, sizeof loads);
    if (user == NULL)
        return;
    if (e->side == IPCR_SENDER)
        begin_sender(&e->writer);
    else
        begin_receiver(e);
}

void watch_off(void) { off = true; }

void watch_reset(void)
{
    off = false;
    user = NULL;
    peer_reset();
}

void watch_mapped(uint8_t *at, uint64_t offset, uint64_t bytes)
{
    if (off)
        open_bytes(at, bytes);
    else if (offset == 0)
        open_bytes(at, sizeof(struct ipcr_header));
}

/* --- the accesses ----------------------------------------------------------------------------------------------- */

uint32_t watch_loads(uint64_t offset) { return loads[offset / 4]; }
uint32_t watch_peer(void) { return user == NULL ? IPCR_SIDES : 1 - user->side; }

/* A load in the ring: of the record at the receiver's position, for the first time, or wrong. */
static void load_of_record(const uint8_t *at, uint64_t offset)
{
    const struct ipcr_ring_reader *r = &user->reader;
    const uint8_t *record = place(user, r->position);
    const bool is_length = at == record;
    uint64_t *next = is_length ? &next_length : &next_info;
    if (!is_length && at != record + offsetof(struct ipcr_record, info))
        violation("a load in the ring, but not of the record that it is at", offset);
    if (known_write - r->position < IPCR_RECORD_HEADER)
        violation("a load of a record that is not published", offset);
    if ((int64_t)(r->position - *next) < 0)
        violation("a word of a record is loaded again", offset);
    *next = r->position + 8;
    open_bytes(record, IPCR_RECORD_HEADER);
    loads[(is_length ? WATCH_LENGTH : WATCH_INFO) / 4]++;
    if (is_length)
        open_record(raw_word(offset));
}

static void load_of_header(uint64_t offset)
{
    loads[offset / 4]++;
    if (offset != position_offset(1 - user->side))
        return;
    const uint64_t value = raw_word(offset);
    if (user->side == IPCR_SENDER)
        open_room(value);
    else if (value - user->reader.position <= user->reader.capacity && (value & 7) == 0)
        known_write = value;
}

const void *watch_load(const void *word, unsigned bytes)
{
    uint64_t offset = 0;
    if (off)
        return word;
    const bool shared = kernel_offset(word, &offset), in_ring = shared && offset >= sizeof(struct ipcr_header);
    if (in_ring && (user == NULL || user->side != IPCR_RECEIVER || bytes != 8))
        violation("a load in the ring, and not by its receiver", offset);
    peer_step();
    peer_acts(offset, shared, in_ring && word == place(user, user->reader.position));
    if (in_ring)
        load_of_record(word, offset);
    else if (shared && user != NULL)
        load_of_header(offset);
    return word;
}

static void may_store(const uint8_t *at)
{
    uint64_t offset = 0;
    if (off)
        return;
    if (kernel_offset(at, &offset) && offset >= sizeof(struct ipcr_header) &&
        (user == NULL || user->side != IPCR_SENDER))
        violation("a store into the ring, and not by its sender", offset);
    peer_step();
    peer_acts(offset, false, false);
}

void *watch_store(void *word, unsigned bytes)
{
    (void)bytes;
    may_store(word);
    return word;
}

uint8_t *watch_write(uint8_t *shared, uint64_t n)
{
    if (n != 0)
        may_store(shared);
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

/* memory.c - what a load may return.
 *
 * Each location keeps all stores of this schedule, in the order in which they were made.  A fiber may read any of
 * them that is not older than what it knows of: its own stores, what it has read before, and what whoever it
 * synchronised with knew (release to acquire, fences, release sequences of read-modify-writes).  That is C11 without
 * out-of-thin-air values and without loads that see a later store of another thread ("load buffering"), and with the
 * order of the stores to one location fixed by the order of execution: the view machine of Kang et al., POPL 2017,
 * without promises.
 *
 * Plain accesses to payload are checked for races by vector clocks, eight bytes at a time (records are aligned so).
 */
#include "machine.h"

#include <stdio.h>

struct message {
    uint64_t value;
    struct knowledge carries;
};

struct location {
    uint64_t key;
    int count;
    struct message history[HISTORY];
};

static struct location locations[LOCATIONS];
static int used;
static struct knowledge of_fences; /* the one order of all full fences */

enum { SLOTS = 1024, GRANULES = 4096, SHADOWED = 4 };
static struct {
    const void *address;
    uint32_t schedule;
    int location;
} slots[SLOTS];
static uint32_t schedule;

struct granule {
    uint32_t schedule;
    uint32_t written; /* clock of the last writer */
    uint32_t writer;
    bool by_atomic;
    uint32_t read[FIBERS];        /* clocks of the last plain reads */
    uint32_t read_atomic[FIBERS];
};
static struct granule shadow[SHADOWED][GRANULES];

void model_memory_reset(void)
{
    used = 0;
    schedule++;
    memset(&of_fences, 0, sizeof of_fences);
}

/* Fences order what is read; that alone makes nothing happen before anything. */
static void join_seen(struct knowledge *to, const struct knowledge *from)
{
    for (int i = 0; i < used; i++)
        if (from->seen[i] > to->seen[i])
            to->seen[i] = from->seen[i];
}

void model_join(struct knowledge *to, const struct knowledge *from)
{
    join_seen(to, from);
    for (int i = 0; i < FIBERS; i++)
        if (from->clock[i] > to->clock[i])
            to->clock[i] = from->clock[i];
}

void model_fork_knowledge(int fiber)
{
    model_fibers[fiber].knows = model_self()->knows;
    model_fibers[fiber].knows.clock[fiber] = 1;
    model_self()->knows.clock[model_running]++;
}

static uint64_t value_at(const void *word, unsigned bytes)
{
    return bytes == 4 ? ((const ipcr_word32 *)word)->now : ((const ipcr_word64 *)word)->now;
}

static struct location *locate(const void *word, unsigned bytes)
{
    uint64_t hash = ((uintptr_t)word >> 2) * UINT64_C(0x9e3779b97f4a7c15) >> 50;
    for (;; hash++) {
        const uint64_t at = hash % SLOTS;
        if (slots[at].schedule != schedule) {
            const struct place place = model_place(word);
            const uint64_t key = place.inode < 0 ? place.offset : (uint64_t)(place.inode + 1) << 56 | place.offset;
            int found = 0;
            while (found < used && locations[found].key != key)
                found++;
            if (found == used) {
                if (used == LOCATIONS)
                    model_fail("the scenario touches more than %d words", LOCATIONS);
                used++;
                locations[found].key = key;
                locations[found].count = 1;
                locations[found].history[0].value = value_at(word, bytes);
                memset(&locations[found].history[0].carries, 0, sizeof(struct knowledge));
            }
            slots[at].address = word;
            slots[at].schedule = schedule;
            slots[at].location = found;
        }
        if (slots[at].address == word)
            return &locations[slots[at].location];
    }
}

/* --- races ---------------------------------------------------------------------------------------------------- */

static void check_access(const void *address, size_t n, bool write, bool atomic, const char *file, int line)
{
    const struct place place = model_place(address);
    if (place.inode < 0 || place.inode >= SHADOWED)
        return;
    if (n > place.bytes) { /* across the end of the ring, where the second mapping goes on */
        check_access((const uint8_t *)address + place.bytes, n - place.bytes, write, atomic, file, line);
        n = place.bytes;
    }
    struct fiber *self = model_self();
    const uint32_t me = (uint32_t)model_running;
    for (uint64_t at = place.offset / 8; at <= (place.offset + n - 1) / 8; at++) {
        struct granule *g = &shadow[place.inode][at % GRANULES];
        if (g->schedule != schedule) {
            memset(g, 0, sizeof *g);
            g->schedule = schedule;
        }
        if (g->written > self->knows.clock[g->writer] && g->writer != me && !(atomic && g->by_atomic))
            model_fail("a race: %s:%d %s what fiber %u wrote, unordered, at offset %llu", file, line,
                       write ? "overwrites" : "reads", g->writer, (unsigned long long)(at * 8));
        for (uint32_t i = 0; write && i < FIBERS; i++)
            if (i != me && (g->read[i] > self->knows.clock[i] || (!atomic && g->read_atomic[i] > self->knows.clock[i])))
                model_fail("a race: %s:%d overwrites what fiber %u reads, unordered, at offset %llu", file, line, i,
                           (unsigned long long)(at * 8));
        if (write) {
            g->written = self->knows.clock[me];
            g->writer = me;
            g->by_atomic = atomic;
        } else {
            (atomic ? g->read_atomic : g->read)[me] = self->knows.clock[me];
        }
    }
}

void model_write(void *shared, const void *from, size_t n, const char *file, int line)
{
    if (n == 0)
        return;
    check_access(shared, n, true, false, file, line);
    memcpy(shared, from, n);
}

void model_read(void *to, const void *shared, size_t n, const char *file, int line)
{
    if (n == 0)
        return;
    check_access(shared, n, false, false, file, line);
    memcpy(to, shared, n);
}

/* --- words ---------------------------------------------------------------------------------------------------- */

/* A word that only one fiber can meet needs no scheduling: private memory of a process with one fiber. */
static void approach(const void *word)
{
    if (model_running != STAGE && (model_place(word).inode >= 0 || !model_is_alone(model_self()->process)))
        model_yield();
}

uint64_t model_load(const void *word, unsigned bytes, enum model_order order, const char *file, int line)
{
    approach(word);
    struct fiber *self = model_self();
    struct location *location = locate(word, bytes);
    const int number = (int)(location - locations), newest = location->count - 1, oldest = self->knows.seen[number];
    const int age = newest > oldest ? model_choose(CHOOSE_VALUE, newest - oldest + 1) : 0;
    const struct message *message = &location->history[newest - age];
    check_access(word, bytes, false, true, file, line);
    self->knows.seen[number] = (uint16_t)(newest - age);
    model_join(order == MODEL_RELAXED ? &self->may_acquire : &self->knows, &message->carries);
    model_note(order == MODEL_RELAXED ? "load" : "load.acquire", word, message->value, age > 0 ? " (stale)" : "", file,
               line);
    return message->value;
}

static void put(struct location *location, void *word, unsigned bytes, uint64_t value, enum model_order order,
                const struct knowledge *continued)
{
    struct fiber *self = model_self();
    const int number = (int)(location - locations);
    if (location->count == HISTORY)
        model_fail("the scenario stores to one word more than %d times", HISTORY);
    if (bytes == 4)
        ((ipcr_word32 *)word)->now = (uint32_t)value;
    else
        ((ipcr_word64 *)word)->now = value;
    struct message *message = &location->history[location->count];
    self->knows.seen[number] = (uint16_t)location->count++;
    self->knows.clock[model_running]++; /* what we do from now on is not part of what this store carries */
    message->value = value;
    message->carries = order == MODEL_RELAXED ? self->fenced : self->knows;
    message->carries.seen[number] = (uint16_t)(location->count - 1);
    message->carries.clock[model_running] =
        order == MODEL_RELAXED ? self->fenced.clock[model_running] : self->knows.clock[model_running] - 1;
    if (continued != NULL)
        model_join(&message->carries, continued);
    self->stored = true;
}

void model_store(void *word, unsigned bytes, uint64_t value, enum model_order order, const char *file, int line)
{
    approach(word);
    check_access(word, bytes, true, true, file, line);
    put(locate(word, bytes), word, bytes, value, order, NULL);
    model_note(order == MODEL_RELAXED ? "store" : "store.release", word, value, "", file, line);
}

/* Read-modify-writes read the newest store, and go on with what it released. */
static uint64_t modify(struct location *location, enum model_order order, const struct knowledge **continued)
{
    struct fiber *self = model_self();
    struct message *message = &location->history[location->count - 1];
    self->knows.seen[location - locations] = (uint16_t)(location->count - 1);
    model_join(order == MODEL_RELAXED ? &self->may_acquire : &self->knows, &message->carries);
    *continued = &message->carries;
    return message->value;
}

uint64_t model_exchange(void *word, unsigned bytes, uint64_t value, enum model_order order, const char *file, int line)
{
    approach(word);
    check_access(word, bytes, true, true, file, line);
    struct location *location = locate(word, bytes);
    const struct knowledge *continued;
    const uint64_t before = modify(location, order, &continued);
    put(location, word, bytes, value, order == MODEL_RELAXED ? order : MODEL_RELEASE, continued);
    model_note("exchange", word, before, value == 0 ? " for 0" : " for something", file, line);
    return before;
}

int model_compare_exchange(void *word, unsigned bytes, uint64_t *expected, uint64_t value, enum model_order order,
                           const char *file, int line)
{
    approach(word);
    check_access(word, bytes, true, true, file, line);
    struct location *location = locate(word, bytes);
    const struct knowledge *continued;
    const uint64_t before = modify(location, order, &continued);
    const int equal = before == *expected;
    *expected = before;
    if (equal)
        put(location, word, bytes, value, order == MODEL_RELAXED ? order : MODEL_RELEASE, continued);
    model_note("compare-exchange", word, before, equal ? "" : " (not expected)", file, line);
    return equal;
}

/* --- fences --------------------------------------------------------------------------------------------------- */

void model_full_fence(struct fiber *fiber)
{
    model_join(&fiber->knows, &fiber->may_acquire);
    join_seen(&fiber->knows, &of_fences);
    of_fences = fiber->knows;
    fiber->fenced = fiber->knows;
    fiber->knows.clock[fiber - model_fibers]++; /* what follows is not part of what the fence releases */
    fiber->stored = false;
}

void model_fence(const char *file, int line)
{
    if (model_running != STAGE)
        model_yield();
    model_full_fence(model_self());
    model_note("fence", NULL, 0, "", file, line);
}

void model_compiler_fence(void)
{
    struct fiber *self = model_self();
    if (self->barrier_pending) {
        join_seen(&self->knows, &self->barrier);
        self->barrier_pending = false;
    }
    self->stored = false;
}

/* A full fence on every CPU.  Where a fiber has stored since its last compiler fence, the compiler may have moved the
 * loads that follow before the store, and so before this barrier: for it the barrier counts from that fence on. */
void model_barrier(void)
{
    model_full_fence(model_self());
    for (int i = 1; i < FIBERS; i++) /* also of those that have just finished: their CPUs run on */
        join_seen(&of_fences, &model_fibers[i].knows);
    for (int i = 1; i < FIBERS; i++) {
        struct fiber *fiber = &model_fibers[i];
        if (fiber->stored && i != model_running) {
            fiber->barrier = of_fences;
            fiber->barrier_pending = true;
        } else {
            join_seen(&fiber->knows, &of_fences);
        }
    }
}

void model_drain(void)
{
    for (int i = 0; i < FIBERS; i++)
        for (int number = 0; number < used; number++)
            model_fibers[i].knows.seen[number] = (uint16_t)(locations[number].count - 1);
}

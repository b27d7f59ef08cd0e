/* memory.c - what a load may return.
 *
 * Each location keeps all stores of this schedule, in the order in which they were made.  A fiber may read any of them
 * that is not older than what it knows of: its own stores, what it has read before, and what whoever it synchronised
 * with knew (release to acquire, fences, release sequences of read-modify-writes).  That is C11 without
 * out-of-thin-air values and without loads that see a later store of another thread ("load buffering"), and with the
 * order of the stores to one location fixed by the order of execution: the view machine of Kang et al., POPL 2017,
 * without promises.
 *
 * A failed compare-exchange is a load, and may see an old value that is not the expected one.  Where two threads store
 * to one word and neither store is a read-modify-write, C11 would allow either order of the two; the model has only
 * the order of execution.  (Every shared word of the core has one such writer at a time.)
 *
 * Payload in plain memory has no old values: whoever could meet one has a race, and races.c finds it.  Payload that
 * goes by racy_write and racy_copy is words like all others.
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

enum { SLOTS = 1024 };
static struct {
    const void *address;
    uint32_t schedule;
    int location;
} slots[SLOTS];
static uint32_t schedule;

void model_memory_reset(void)
{
    used = 0;
    schedule++;
    model_races_reset();
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
                    model_limit("the scenario touches more than %d words", LOCATIONS);
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

/* --- words ---------------------------------------------------------------------------------------------------- */

/* A word that only one fiber can meet needs no scheduling: private memory of a process with one fiber. */
static void approach(const void *word)
{
    model_tick();
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
    model_check_access(word, bytes, false, true, file, line);
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
        model_limit("the scenario stores to one word more than %d times", HISTORY);
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
    model_check_access(word, bytes, true, true, file, line);
    put(locate(word, bytes), word, bytes, value, order, NULL);
    model_note(order == MODEL_RELAXED ? "store" : "store.release", word, value, "", file, line);
}

static bool acquires(enum model_order order) { return order != MODEL_RELAXED && order != MODEL_RELEASE; }
static bool releases(enum model_order order) { return order != MODEL_RELAXED && order != MODEL_ACQUIRE; }

static const struct message *take_in(struct location *location, int number, enum model_order order)
{
    struct fiber *self = model_self();
    const struct message *message = &location->history[number];
    self->knows.seen[location - locations] = (uint16_t)number;
    model_join(acquires(order) ? &self->knows : &self->may_acquire, &message->carries);
    return message;
}

/* The second half of a read-modify-write, which goes on with what the store before it released. */
static void replace(struct location *location, void *word, unsigned bytes, uint64_t value, enum model_order order,
                    const struct message *before)
{
    const enum model_order stores = releases(order) ? MODEL_RELEASE : MODEL_RELAXED;
    if (order == MODEL_TORN)
        approach(word);
    put(location, word, bytes, value, stores, order == MODEL_TORN ? NULL : &before->carries);
}

uint64_t model_exchange(void *word, unsigned bytes, uint64_t value, enum model_order order, const char *file, int line)
{
    approach(word);
    model_check_access(word, bytes, true, true, file, line);
    struct location *location = locate(word, bytes);
    const struct message *before = take_in(location, location->count - 1, order);
    const uint64_t seen = before->value;
    replace(location, word, bytes, value, order, before);
    model_note("exchange", word, seen, value == 0 ? " for 0" : " for something", file, line);
    return seen;
}

/* The newest store, or, when the compare-exchange fails, any that may still be read and is not what was expected. */
static int choose_seen(struct location *location, uint64_t expected)
{
    const int newest = location->count - 1, oldest = model_self()->knows.seen[location - locations];
    int found[HISTORY], n = 0;
    found[n++] = newest;
    for (int i = newest - 1; i >= oldest; i--)
        if (location->history[i].value != expected)
            found[n++] = i;
    return found[model_choose(CHOOSE_VALUE, n)];
}

int model_compare_exchange(void *word, unsigned bytes, uint64_t *expected, uint64_t value, enum model_order order,
                           const char *file, int line)
{
    approach(word);
    struct location *location = locate(word, bytes);
    const struct message *before = take_in(location, choose_seen(location, *expected), order);
    const uint64_t seen = before->value;
    const int equal = seen == *expected;
    model_check_access(word, bytes, equal, true, file, line);
    *expected = seen;
    if (equal)
        replace(location, word, bytes, value, order, before);
    model_note("compare-exchange", word, seen, equal ? "" : " (not expected)", file, line);
    return equal;
}

/* --- payload ----------------------------------------------------------------------------------------------------- */

/* Plain bytes over what was a word: whoever is ordered behind us reads them there. */
static void overwrite_words(uint8_t *shared, size_t n)
{
    const struct place place = model_place(shared);
    if (place.inode < 0)
        return;
    if (n > place.bytes) { /* across the end of the ring */
        overwrite_words(shared + place.bytes, n - place.bytes);
        n = place.bytes;
    }
    const uint64_t first = (uint64_t)(place.inode + 1) << 56 | place.offset;
    for (int i = 0; i < used; i++)
        if (locations[i].key >= first && locations[i].key + 8 <= first + n) {
            uint8_t *word = shared + (locations[i].key - first);
            put(&locations[i], word, 8, value_at(word, 8), MODEL_RELAXED, NULL);
        }
}

void model_write(void *shared, const void *from, size_t n, const char *file, int line)
{
    if (n == 0)
        return;
    model_check_access(shared, n, true, false, file, line);
    memcpy(shared, from, n);
    overwrite_words(shared, n);
}

void model_read(void *to, const void *shared, size_t n, const char *file, int line)
{
    if (n == 0)
        return;
    model_check_access(shared, n, false, false, file, line);
    memcpy(to, shared, n);
}

/* The bytes from `shared` on that belong to the same aligned word: *word, *first to the result's end. */
static size_t part_of_word(const uint8_t *shared, size_t n, uint8_t **word, size_t *first)
{
    *first = (uintptr_t)shared & 7;
    *word = (uint8_t *)(uintptr_t)(shared - *first);
    return n < 8 - *first ? n : 8 - *first;
}

/* The set-up is alone: nobody needs the words' history. */
void model_racy_write(void *shared, const void *from, size_t n, const char *file, int line)
{
    if (model_running == STAGE) {
        model_write(shared, from, n, file, line);
        return;
    }
    for (size_t at = 0, here, first; at < n; at += here) {
        uint8_t *word;
        uint64_t value;
        here = part_of_word((uint8_t *)shared + at, n - at, &word, &first);
        memcpy(&value, word, sizeof value);
        memcpy((uint8_t *)&value + first, (const uint8_t *)from + at, here);
        model_store(word, 8, value, MODEL_RELAXED, file, line);
    }
}

void model_racy_read(void *to, const void *shared, size_t n, const char *file, int line)
{
    if (model_running == STAGE) {
        model_read(to, shared, n, file, line);
        return;
    }
    for (size_t at = 0, here, first; at < n; at += here) {
        uint8_t *word;
        here = part_of_word((const uint8_t *)shared + at, n - at, &word, &first);
        const uint64_t value = model_load(word, 8, MODEL_RELAXED, file, line);
        memcpy((uint8_t *)to + at, (const uint8_t *)&value + first, here);
    }
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

void model_fence(enum model_fence kind, const char *file, int line)
{
    static const char *const names[] = { "", "fence.load-load", "fence.store-store", "fence.acq-rel", "fence" };
    struct fiber *self = model_self();
    if (kind == MODEL_FULL && model_running != STAGE)
        model_yield();
    if (kind == MODEL_FULL)
        model_full_fence(self);
    if ((kind & MODEL_LOAD_LOAD) != 0)
        model_join(&self->knows, &self->may_acquire);
    if ((kind & MODEL_STORE_STORE) != 0) {
        self->fenced = self->knows;
        self->knows.clock[model_running]++; /* what follows is not part of what the fence releases */
    }
    model_note(names[kind], NULL, 0, "", file, line);
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

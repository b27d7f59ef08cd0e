/* races.c - plain accesses must not race.
 *
 * Three kinds of them are checked by vector clocks: payload (copy_in, copy_out), whatever else the core reads and
 * writes in a segment, and, where several threads share a process, its handles, lists and statics.  The last two kinds
 * are seen because the core is compiled with -fsanitize=thread, whose callbacks are here instead of in libtsan.
 * Memory that was freed may not be touched at all.
 *
 * It proves: in the schedules that were run, no two accesses of which one is plain and one writes were unordered by
 * what C11 orders.  It can't see: what the compiler may make of code without races; the stacks of fibers.
 */
#include "machine.h"

#include <stdio.h>

enum { SHADOWED = 8, GRANULES = 8192, PRIVATE = ARENA + PROCESSES * WRITABLE };

/* Of eight bytes in a segment (records are aligned so), of one in private memory (flags stand side by side there). */
struct granule {
    uint32_t schedule;
    uint32_t written; /* clock of the last writer */
    uint8_t writer;
    bool by_atomic;
    bool freed;
    uint32_t read[FIBERS]; /* clocks of the last plain reads */
    uint32_t read_atomic[FIBERS];
};
static struct granule segments[SHADOWED][GRANULES], private[PRIVATE];
static uint32_t schedule;

void model_races_reset(void) { schedule++; }

struct access {
    bool write, atomic, frees;
    const char *file; /* NULL: code says where */
    int line;
    const void *code, *address;
};

static const char *where(const struct access *a)
{
    static char room[200];
    if (a->file == NULL)
        return model_line_of(a->code);
    snprintf(room, sizeof room, "%s:%d", a->file, a->line);
    return room;
}

static noreturn void fail(const struct access *a, const char *does, uint32_t other)
{
    const struct place place = model_place_once(a->address);
    if (place.inode >= 0)
        model_fail("a race: %s %s fiber %u, unordered, at offset %llu", where(a), does, other,
                   (unsigned long long)place.offset);
    model_fail("a race: %s %s fiber %u, unordered, in private memory", where(a), does, other);
}

static void check(struct granule *g, const struct access *a)
{
    const struct fiber *self = model_self();
    const uint32_t me = (uint32_t)model_running;
    if (g->schedule != schedule) {
        memset(g, 0, sizeof *g);
        g->schedule = schedule;
    }
    if (g->freed)
        model_fail("%s touches freed memory", where(a));
    if (g->writer != me && g->written > self->knows.clock[g->writer] && !(a->atomic && g->by_atomic))
        fail(a, a->write ? "overwrites the store of" : "reads the store of", g->writer);
    for (uint32_t i = 0; a->write && i < FIBERS; i++)
        if (i != me && (g->read[i] > self->knows.clock[i] || (!a->atomic && g->read_atomic[i] > self->knows.clock[i])))
            fail(a, a->frees ? "frees what is read by" : "overwrites what is read by", i);
    if (a->write) {
        g->written = self->knows.clock[me];
        g->writer = (uint8_t)me;
        g->by_atomic = a->atomic;
        g->freed = a->frees;
    } else {
        (a->atomic ? g->read_atomic : g->read)[me] = self->knows.clock[me];
    }
}

static void check_private(const void *address, size_t n, const struct access *a)
{
    const int first = model_private(address);
    if (first < 0 || model_running == STAGE || model_is_alone(model_self()->process))
        return;
    for (size_t i = 0; i < n; i++)
        check(&private[(size_t)first + i], a);
}

static void check_access(const void *address, size_t n, const struct access *a)
{
    if (n == 0 || model_on_stack(address))
        return;
    if (model_private(address) >= 0) {
        check_private(address, n, a);
        return;
    }
    const struct place place = model_place(address);
    if (place.inode < 0 || place.inode >= SHADOWED)
        return;
    if (n > place.bytes) { /* across the end of the ring, where the second mapping goes on */
        check_access((const uint8_t *)address + place.bytes, n - place.bytes, a);
        n = place.bytes;
    }
    for (uint64_t at = place.offset / 8; at <= (place.offset + n - 1) / 8; at++)
        check(&segments[place.inode][at % GRANULES], a);
}

void model_check_access(const void *address, size_t n, bool write, bool atomic, const char *file, int line)
{
    const struct access a = { .write = write, .atomic = atomic, .file = file, .line = line, .address = address };
    check_access(address, n, &a);
}

void model_check_free(const void *address, size_t n)
{
    check_private(address, n, &(struct access){ .write = true, .frees = true, .file = "free", .address = address });
}

/* --- what the compiler calls before each plain access of the core ------------------------------------------------- */

static void plain(const void *address, size_t n, bool write, const void *code)
{
    const struct access a = { .write = write, .code = code, .address = address };
    if (model_running != STAGE)
        check_access(address, n, &a);
}

void *model_copy(void *to, const void *from, size_t n)
{
    plain(from, n, false, __builtin_return_address(0));
    plain(to, n, true, __builtin_return_address(0));
    return memcpy(to, from, n);
}

void __tsan_init(void);
void __tsan_read_range(const void *address, size_t n);
void __tsan_write_range(const void *address, size_t n);
void __tsan_init(void) {}
void __tsan_read_range(const void *address, size_t n) { plain(address, n, false, __builtin_return_address(0)); }
void __tsan_write_range(const void *address, size_t n) { plain(address, n, true, __builtin_return_address(0)); }

#define CALLBACKS(name, n)                                                                                             \
    void __tsan_read##name(const void *address);                                                                       \
    void __tsan_write##name(const void *address);                                                                      \
    void __tsan_read##name(const void *address) { plain(address, n, false, __builtin_return_address(0)); }             \
    void __tsan_write##name(const void *address) { plain(address, n, true, __builtin_return_address(0)); }
CALLBACKS(1, 1)
CALLBACKS(2, 2)
CALLBACKS(4, 4)
CALLBACKS(8, 8)
CALLBACKS(16, 16)
#define UNALIGNED(n)                                                                                                   \
    void __tsan_unaligned_read##n(const void *address);                                                                \
    void __tsan_unaligned_write##n(const void *address);                                                               \
    void __tsan_unaligned_read##n(const void *address) { plain(address, n, false, __builtin_return_address(0)); }      \
    void __tsan_unaligned_write##n(const void *address) { plain(address, n, true, __builtin_return_address(0)); }
UNALIGNED(2)
UNALIGNED(4)
UNALIGNED(8)
UNALIGNED(16)

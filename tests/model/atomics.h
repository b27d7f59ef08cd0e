/* atomics.h - the explorer's back end of native/atomics.h, put before every source by the compiler's -include.
 *
 * The same names and the same guard: the core's own file is skipped, and every access to a shared word calls the
 * machine (machine.h), which decides who runs next and which of the values that C11 allows a load returns.
 */
#ifndef IPCR_ATOMICS_H
#define IPCR_ATOMICS_H

#include <pthread.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* Structures, so that an access that goes past these names doesn't compile. */
typedef struct {
    uint32_t now;
} ipcr_word32;
typedef struct {
    _Alignas(8) uint64_t now;
} ipcr_word64;

/* MODEL_TORN: a read-modify-write of the strongest order that is not one step; for mutants only. */
enum model_order { MODEL_RELAXED, MODEL_ACQUIRE, MODEL_RELEASE, MODEL_ACQ_REL, MODEL_TORN };
enum model_fence { MODEL_LOAD_LOAD = 1, MODEL_STORE_STORE = 2, MODEL_ACQ_REL_FENCE = 3, MODEL_FULL = 4 };

uint64_t model_load(const void *word, unsigned bytes, enum model_order order, const char *file, int line);
void model_store(void *word, unsigned bytes, uint64_t value, enum model_order order, const char *file, int line);
uint64_t model_exchange(void *word, unsigned bytes, uint64_t value, enum model_order order, const char *file, int line);
int model_compare_exchange(void *word, unsigned bytes, uint64_t *expected, uint64_t value, enum model_order order,
                           const char *file, int line);
void model_fence(enum model_fence kind, const char *file, int line);
void model_compiler_fence(void);
void model_write(void *shared, const void *from, size_t n, const char *file, int line);
void model_read(void *to, const void *shared, size_t n, const char *file, int line);
void model_racy_write(void *shared, const void *from, size_t n, const char *file, int line);
void model_racy_read(void *to, const void *shared, size_t n, const char *file, int line);
void *model_copy(void *to, const void *from, size_t n);

#define MODEL_HERE __FILE__, __LINE__
#define load_relaxed32(w) ((uint32_t)model_load((w), 4, MODEL_RELAXED, MODEL_HERE))
#define load_acquire32(w) ((uint32_t)model_load((w), 4, MODEL_ACQUIRE, MODEL_HERE))
#define store_relaxed32(w, v) model_store((w), 4, (v), MODEL_RELAXED, MODEL_HERE)
#define store_release32(w, v) model_store((w), 4, (v), MODEL_RELEASE, MODEL_HERE)
#define exchange_acq_rel32(w, v) model_exchange32((w), (v), MODEL_ACQ_REL, MODEL_HERE)
#define compare_exchange32(w, expected, v) model_compare_exchange32((w), (expected), (v), MODEL_ACQ_REL, MODEL_HERE)
#define load_relaxed64(w) model_load((w), 8, MODEL_RELAXED, MODEL_HERE)
#define load_acquire64(w) model_load((w), 8, MODEL_ACQUIRE, MODEL_HERE)
#define store_relaxed64(w, v) model_store((w), 8, (v), MODEL_RELAXED, MODEL_HERE)
#define store_release64(w, v) model_store((w), 8, (v), MODEL_RELEASE, MODEL_HERE)
#define compare_exchange64(w, expected, v) model_compare_exchange((w), 8, (expected), (v), MODEL_ACQ_REL, MODEL_HERE)
#define copy_in(shared, src, n) model_write((shared), (src), (n), MODEL_HERE)
#define copy_out(dst, shared, n) model_read((dst), (shared), (n), MODEL_HERE)
#define racy_write(shared, src, n) model_racy_write((shared), (src), (n), MODEL_HERE)
#define racy_copy(dst, shared, n) model_racy_read((dst), (shared), (n), MODEL_HERE)
#define fence_store_load() model_fence(MODEL_FULL, MODEL_HERE)
#define fence_load_load() model_fence(MODEL_LOAD_LOAD, MODEL_HERE)
#define fence_store_store() model_fence(MODEL_STORE_STORE, MODEL_HERE)
#define fence_compiler() model_compiler_fence()

/* What mutants.py puts in their places. */
#define exchange_weak32(w, v, order) model_exchange32((w), (v), (order), MODEL_HERE)
#define compare_exchange_weak32(w, expected, v, order)                                                                 \
    model_compare_exchange32((w), (expected), (v), (order), MODEL_HERE)
#define compare_exchange_weak64(w, expected, v, order)                                                                 \
    model_compare_exchange((w), 8, (expected), (v), (order), MODEL_HERE)
#define fence_acq_rel() model_fence(MODEL_ACQ_REL_FENCE, MODEL_HERE)

static inline uint32_t model_exchange32(ipcr_word32 *w, uint32_t v, enum model_order order, const char *file, int line)
{
    return (uint32_t)model_exchange(w, 4, v, order, file, line);
}

static inline int model_compare_exchange32(ipcr_word32 *w, uint32_t *expected, uint32_t v, enum model_order order,
                                           const char *file, int line)
{
    uint64_t seen = *expected;
    const int done = model_compare_exchange(w, 4, &seen, v, order, file, line);
    *expected = (uint32_t)seen;
    return done;
}

static inline void cpu_relax(void) {}
static inline void prefetch_to_read(const uint8_t *at) { (void)at; }
static inline void prefetch_to_write(const uint8_t *at) { (void)at; }

/* What the core asks of libc and may keep between two schedules: the machine's, so that it can be put back. */
void *model_allocate(size_t n);
void model_free(void *p);
void model_lock(pthread_mutex_t *mutex);
void model_unlock(pthread_mutex_t *mutex);
int model_new_mutex(pthread_mutex_t *mutex);
void model_old_mutex(pthread_mutex_t *mutex);
uint64_t model_this_thread(void);

static inline void *model_allocate_zeroed(size_t count, size_t n)
{
    void *p = model_allocate(count * n);
    memset(p, 0, count * n);
    return p;
}

#ifndef MODEL_HOST /* the explorer itself */
#define memcpy(to, from, n) model_copy((to), (from), (n)) /* also of shared memory, when the core attaches */

#define malloc(n) model_allocate(n)
#define calloc(count, n) model_allocate_zeroed((count), (n))
#define aligned_alloc(alignment, n) model_allocate(n)
#define free(p) model_free(p)
#define pthread_mutex_init(mutex, attributes) model_new_mutex(mutex)
#define pthread_mutex_destroy(mutex) model_old_mutex(mutex)
#define pthread_mutex_lock(mutex) model_lock(mutex)
#define pthread_mutex_unlock(mutex) model_unlock(mutex)
#define pthread_self() model_this_thread()
#define pthread_atfork(before, parent, child) ((void)(before), (void)(parent), (void)(child), 0)
#endif

#endif

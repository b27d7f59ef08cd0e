/* atomics.h - the only includer of <stdatomic.h>.
 *
 * Every access to a word that another process may write goes through these names, so that a model
 * checker can replace this one file.  Memory order sits on the operation (ThreadSanitizer understands
 * that; it does not understand bare fences).  The only fences are the named ones at the end: two for the
 * wake-up protocol, two for reads that are validated afterwards.
 *
 * acquire: what the releasing side did before its store is visible after this load.
 * release: what we did before this store is visible to whoever acquires the value.
 */
#ifndef IPCR_ATOMICS_H
#define IPCR_ATOMICS_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

typedef _Atomic uint32_t ipcr_word32;
typedef _Atomic uint64_t ipcr_word64;

_Static_assert(sizeof(ipcr_word32) == 4 && sizeof(ipcr_word64) == 8, "shared words have no hidden lock");
_Static_assert(ATOMIC_INT_LOCK_FREE == 2 && ATOMIC_LLONG_LOCK_FREE == 2, "shared words must be lock-free");

static inline uint32_t load_relaxed32(const ipcr_word32 *w) { return atomic_load_explicit(w, memory_order_relaxed); }
static inline uint32_t load_acquire32(const ipcr_word32 *w) { return atomic_load_explicit(w, memory_order_acquire); }
static inline void store_relaxed32(ipcr_word32 *w, uint32_t v) { atomic_store_explicit(w, v, memory_order_relaxed); }
static inline void store_release32(ipcr_word32 *w, uint32_t v) { atomic_store_explicit(w, v, memory_order_release); }
static inline uint32_t exchange_acq_rel32(ipcr_word32 *w, uint32_t v)
{
    return atomic_exchange_explicit(w, v, memory_order_acq_rel);
}
static inline int compare_exchange32(ipcr_word32 *w, uint32_t *expected, uint32_t v)
{
    return atomic_compare_exchange_strong_explicit(w, expected, v, memory_order_acq_rel, memory_order_acquire);
}

static inline uint64_t load_relaxed64(const ipcr_word64 *w) { return atomic_load_explicit(w, memory_order_relaxed); }
static inline uint64_t load_acquire64(const ipcr_word64 *w) { return atomic_load_explicit(w, memory_order_acquire); }
static inline void store_relaxed64(ipcr_word64 *w, uint64_t v) { atomic_store_explicit(w, v, memory_order_relaxed); }
static inline void store_release64(ipcr_word64 *w, uint64_t v) { atomic_store_explicit(w, v, memory_order_release); }
static inline int compare_exchange64(ipcr_word64 *w, uint64_t *expected, uint64_t v)
{
    return atomic_compare_exchange_strong_explicit(w, expected, v, memory_order_acq_rel, memory_order_acquire);
}

/* All payload moves through copy_in and copy_out, in and out of shared memory: one place to watch, and to replace
 * under a model checker. */
static inline void copy_in(uint8_t *shared, const void *src, size_t n)
{
    if (n != 0) /* memcpy(x, NULL, 0) is undefined, and empty messages have no source */
        memcpy(shared, src, n);
}
static inline void copy_out(void *dst, const uint8_t *shared, size_t n)
{
    if (n != 0)
        memcpy(dst, shared, n);
}

/* The same where a reader may meet a writer, and finds out afterwards (edges V in docs/memory-model.md):
 *
 *     writer                                reader
 *     intent = i   (relaxed)                p = published     (acquire)
 *     fence_store_store                     racy_copy
 *     racy_write                            fence_load_load
 *     published = i (release)               intent, still as it must be for p?  otherwise the copy is garbage
 *
 * What such a copy brought must not be looked at before it was validated, not even its lengths.  Under
 * ThreadSanitizer, and in the explorer's own back end, both go by relaxed words, which is what C11 asks for;
 * elsewhere by memcpy (twice as fast), shut in between compiler barriers: nothing can be read again
 * from the shared bytes, merged with another copy, or moved past the look at `intent`. */
#if defined(__SANITIZE_THREAD__)
/* Whole aligned words where both sides allow it, so that the race detector sees the same words on both sides. */
static inline void racy_copy(void *dst, const uint8_t *shared, size_t n)
{
    uint8_t *to = dst;
    for (; n > 0 && ((uintptr_t)shared & 7) != 0; n--)
        *to++ = atomic_load_explicit((const _Atomic uint8_t *)(const void *)shared++, memory_order_relaxed);
    for (; n >= 8; n -= 8, shared += 8, to += 8) {
        const uint64_t word = load_relaxed64((const ipcr_word64 *)(const void *)shared);
        memcpy(to, &word, 8);
    }
    for (; n > 0; n--)
        *to++ = atomic_load_explicit((const _Atomic uint8_t *)(const void *)shared++, memory_order_relaxed);
}
static inline void racy_write(uint8_t *shared, const void *src, size_t n)
{
    const uint8_t *from = src;
    for (; n > 0 && ((uintptr_t)shared & 7) != 0; n--)
        atomic_store_explicit((_Atomic uint8_t *)(void *)shared++, *from++, memory_order_relaxed);
    for (; n >= 8; n -= 8, shared += 8, from += 8) {
        uint64_t word;
        memcpy(&word, from, 8);
        store_relaxed64((ipcr_word64 *)(void *)shared, word);
    }
    for (; n > 0; n--)
        atomic_store_explicit((_Atomic uint8_t *)(void *)shared++, *from++, memory_order_relaxed);
}
#else
static inline void racy_copy(void *dst, const uint8_t *shared, size_t n)
{
    __asm__ volatile("" ::: "memory");
    if (n != 0)
        memcpy(dst, shared, n);
    __asm__ volatile("" ::: "memory");
}
static inline void racy_write(uint8_t *shared, const void *src, size_t n)
{
    __asm__ volatile("" ::: "memory");
    if (n != 0)
        memcpy(shared, src, n);
    __asm__ volatile("" ::: "memory");
}
#endif

/* Tell the core that we spin: saves power and the other hyper-thread's issue slots. */
static inline void cpu_relax(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield" ::: "memory");
#else
    atomic_signal_fence(memory_order_seq_cst);
#endif
}

/* Hints: have a cache line here before it is needed.  The other core wrote it (or read it) last, so that the
 * first touch would wait for a transfer, and the locked instructions that follow each call would wait with it. */
static inline void prefetch_to_read(const uint8_t *at) { __builtin_prefetch(at, 0, 3); }
static inline void prefetch_to_write(const uint8_t *at) { __builtin_prefetch(at, 1, 3); }

/* The store-load fence of the wake-up protocol: our earlier store is visible to everybody before our
 * later load happens.  One half of a Dekker handshake; docs/memory-model.md, edge K. */
static inline void fence_store_load(void) { atomic_thread_fence(memory_order_seq_cst); }

/* The cheap half of the asymmetric twin: the parking side runs membarrier(), which executes a full
 * fence on every CPU that runs a registered process, so here only the compiler must keep the order. */
static inline void fence_compiler(void) { atomic_signal_fence(memory_order_seq_cst); }

/* After racy_copy, before the word that validates it is loaded: earlier loads stay earlier. */
static inline void fence_load_load(void) { atomic_thread_fence(memory_order_acquire); }

/* After a writer has said what it is going to overwrite, before racy_write: whoever reads one of the new bytes, and
 * then passes fence_load_load, sees the intent. */
static inline void fence_store_store(void) { atomic_thread_fence(memory_order_release); }

#endif

/* atomics.h - the only includer of <stdatomic.h>.
 *
 * Every access to a word that another process may write goes through these names, so that a model
 * checker can replace this one file.  Memory order sits on the operation (ThreadSanitizer understands
 * that; it does not understand bare fences).  The only fences are the named ones at the end.
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

/* All payload moves through these two, in and out of shared memory: one place to watch, to replace
 * under a model checker, and to make word-wise for readers that validate afterwards. */
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

#endif

/* atomics.h - the core's own atomics.h with a window opened at every point where the wake-up handshake could go wrong.
 *
 * Put before every source of the core by the compiler's -include.  Around the stores and fences of the handshake
 * (edge K in docs/memory-model.md) the core calls waiting_window(), in which lost_wakes.c may hold the caller up.
 * The operations stay what they are; only fence-less runs, planted to see that a loss is noticed, leave the fences out.
 */
#ifndef IPCR_TESTS_WAITING_ATOMICS_H
#define IPCR_TESTS_WAITING_ATOMICS_H

#define store_release32 plain_store_release32
#define store_release64 plain_store_release64
#define exchange_acq_rel32 plain_exchange_acq_rel32
#define fence_store_load plain_fence_store_load
#define fence_compiler plain_fence_compiler
#include "../../native/atomics.h"
#undef store_release32
#undef store_release64
#undef exchange_acq_rel32
#undef fence_store_load
#undef fence_compiler

#include <stdbool.h>

extern bool waiting_without_fences;
void waiting_window(void);

static inline void store_release32(ipcr_word32 *w, uint32_t v) /* parked = 1, among others */
{
    waiting_window();
    plain_store_release32(w, v);
    waiting_window();
}

static inline void store_release64(ipcr_word64 *w, uint64_t v) /* a position */
{
    waiting_window();
    plain_store_release64(w, v);
}

static inline uint32_t exchange_acq_rel32(ipcr_word32 *w, uint32_t v) /* the waker clears, and then wakes */
{
    waiting_window();
    const uint32_t was = plain_exchange_acq_rel32(w, v);
    waiting_window();
    return was;
}

static inline void fence_store_load(void)
{
    waiting_window();
    if (!waiting_without_fences)
        plain_fence_store_load();
    waiting_window();
}

static inline void fence_compiler(void)
{
    waiting_window();
    plain_fence_compiler();
    waiting_window();
}

#endif

/* watched_atomics.h - put before every source of the core by the compiler's -include: the core's own atomics.h, with
 * each access to a shared word told to watched.h first, which may change the memory just before, as a peer could. */
#ifndef IPCR_TESTS_WATCHED_ATOMICS_H
#define IPCR_TESTS_WATCHED_ATOMICS_H

#include "atomics.h"

#include "watched.h"

/* A name is not expanded again inside its own expansion: these call the core's functions. */
#define load_relaxed32(w) load_relaxed32(watch_load((w), 4))
#define load_acquire32(w) load_acquire32(watch_load((w), 4))
#define store_relaxed32(w, v) store_relaxed32(watch_store((w), 4), (v))
#define store_release32(w, v) store_release32(watch_store((w), 4), (v))
#define exchange_acq_rel32(w, v) exchange_acq_rel32(watch_store((w), 4), (v))
#define compare_exchange32(w, expected, v) compare_exchange32(watch_store((w), 4), (expected), (v))
#define load_relaxed64(w) load_relaxed64(watch_load((w), 8))
#define load_acquire64(w) load_acquire64(watch_load((w), 8))
#define store_relaxed64(w, v) store_relaxed64(watch_store((w), 8), (v))
#define store_release64(w, v) store_release64(watch_store((w), 8), (v))
#define copy_in(shared, src, n) copy_in(watch_write((shared), (n)), (src), (n))
#define copy_out(dst, shared, n) copy_out((dst), watch_read((shared), (n)), (n))
#define racy_write(shared, src, n) racy_write(watch_write((shared), (n)), (src), (n))
#define racy_copy(dst, shared, n) racy_copy((dst), watch_read((shared), (n)), (n))

#endif

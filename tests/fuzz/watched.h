/* watched.h - what the core's accesses (watched_atomics.h) and the kernel's mappings (kernel_memory.c) are told to.
 * A target links one watch.c that has these. */
#ifndef IPCR_TESTS_FUZZ_WATCHED_H
#define IPCR_TESTS_FUZZ_WATCHED_H

#include <stdint.h>

/* Each returns the place that it was given. */
const void *watch_load(const void *word, unsigned bytes);
void *watch_store(void *word, unsigned bytes);
const uint8_t *watch_read(const uint8_t *shared, uint64_t n);
uint8_t *watch_write(uint8_t *shared, uint64_t n);

/* These bytes of the file stand there now, poisoned: open what may be touched. */
void watch_mapped(uint8_t *at, uint64_t offset, uint64_t bytes);

#endif

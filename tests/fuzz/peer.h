/* peer.h - another process that writes while an operation runs: before its n-th access, or all the time.
 *
 * Whoever watches the accesses (watch.c, queues/watch.c) tells of each one, and supplies values (watch_near, watch_plausible).
 */
#ifndef IPCR_TESTS_FUZZ_PEER_H
#define IPCR_TESTS_FUZZ_PEER_H

#include <stdbool.h>
#include <stdint.h>

void peer_reset(void);

/* Before the n-th access from now on, write `value` at this offset of the file. */
void peer_write_later(uint32_t n, uint64_t offset, uint64_t value);
void peer_write(uint64_t offset, uint64_t value); /* at once */
void peer_write_half(uint64_t offset, bool upper, uint64_t value); /* one half of a word */
/* The length of the message that is looked at, before the n-th load of one from now on. */
void peer_lie_later(uint32_t n, uint64_t length);
/* Writes before every few accesses, at the words that are looked at.  0 ends it. */
void peer_storm(uint64_t seed);

/* An access, at this offset of the file if it is one of shared memory; is_length: of a message that is looked at. */
void peer_acts(uint64_t offset, bool shared, bool is_length);
/* A futex wait: whether a signal ends it. */
bool peer_interrupts(void);

/* Accesses of one operation: more than MOST_STEPS are what an endless loop looks like. */
void peer_begin(void);
void peer_step(void);

/* A value that comes near to what would be right: picked by `pick`, seen from the words as they are. */
uint64_t watch_near(uint8_t pick);
/* The same for the word at this offset. */
uint64_t watch_plausible(uint64_t offset, uint64_t random);

/* A word of the file as it is. */
uint64_t raw_word(uint64_t offset);
uint32_t raw_word32(uint64_t offset);

#endif

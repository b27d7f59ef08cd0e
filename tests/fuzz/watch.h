/* watch.h - what one operation of one end may touch, and a peer that writes while it runs.
 *
 * Before an operation all ring bytes of the end's mapping are poisoned (AddressSanitizer reports a touch), and are
 * opened as the core earns them:
 *
 *   sender      [its position, the read position that it knows + capacity): opened further when it loads a read
 *               position that it may believe
 *   receiver    a record's header when the record is at its position and below the write position that it knows;
 *               the payload when its length has been loaded, was right, and was loaded for the first time
 *
 * A receiver that stores into the ring, or loads a record's length twice in an operation, ends the run as a
 * violation; so does an operation with more than MOST_STEPS accesses, which is what an endless loop looks like.
 */
#ifndef IPCR_TESTS_FUZZ_WATCH_H
#define IPCR_TESTS_FUZZ_WATCH_H

#include "ends.h"

void watch_reset(void);

/* For segments mapped from now on nothing is poisoned, and no access is a violation (until watch_reset). */
void watch_off(void);
bool watch_is_off(void);

/* An operation of this end begins (NULL: of none).  Bytes opened before are closed again. */
void watch_begin(const struct ipcr_end *e);

/* A futex wait: whether a signal ends it. */
bool watch_asleep(void);

/* The peer: before the n-th access from now on, write `value` at this offset of the file. */
void watch_let_peer_act(void); /* what is due now */
void watch_write_later(uint32_t n, uint64_t offset, uint64_t value);
/* The length of the record that the receiver is at, before the n-th load of a record from now on. */
void watch_lie_later(uint32_t n, uint64_t length);
/* The peer writes before every few accesses, at the words that are looked at.  0 ends it. */
void watch_storm(uint64_t seed);

/* A value that comes near to what would be right: picked by `pick`, seen from the positions as they are. */
uint64_t watch_near(uint8_t pick);

/* How often a word was loaded since watch_begin: by offset in the file, below the size of the header; the loads of
 * records' lengths and infos are counted as one word each. */
enum { WATCH_LENGTH = 0, WATCH_INFO = 8 };
uint32_t watch_loads(uint64_t offset);
uint32_t watch_peer(void); /* the other side of the end whose operation it was */

#endif

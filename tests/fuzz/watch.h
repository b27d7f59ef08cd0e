/* watch.h - what one operation of one end may touch.
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
 * violation; so does an operation with too many accesses (peer.h).
 */
#ifndef IPCR_TESTS_FUZZ_WATCH_H
#define IPCR_TESTS_FUZZ_WATCH_H

#include "ends.h"

void watch_reset(void);

/* For segments mapped from now on nothing is poisoned, and no access is a violation (until watch_reset). */
void watch_off(void);
/* An operation of this end begins (NULL: of none).  Bytes opened before are closed again. */
void watch_begin(const struct ipcr_end *e);

/* How often a word was loaded since watch_begin: by offset in the file, below the size of the header; the loads of
 * records' lengths and infos are counted as one word each. */
enum { WATCH_LENGTH = 0, WATCH_INFO = 8 };
uint32_t watch_loads(uint64_t offset);
uint32_t watch_peer(void); /* the other side of the end whose operation it was */

#endif

/* watch.h - what one operation of one handle may touch of a queue's segment.
 *
 * Poisoned, so that AddressSanitizer reports a touch: the geometry and the options once they were copied (but the
 * creator's pid), gaps between words, what stands behind the last lane's words and behind the last slot, and all data.
 * Data are opened as the core earns them:
 *
 *   putting   where the next payload goes, as far as what the producer has freed reaches
 *   taking    a payload, when its slot's length and position were loaded, were right, and each for the first time since
 *             the slot's state was looked at or changed
 *
 * A word in a slot that is stored by anybody but the lane's producer (or whoever requeues it), and a length or position
 * that is loaded twice for one decision, end the run as a violation.
 */
#ifndef IPCR_TESTS_FUZZ_QUEUES_WATCH_H
#define IPCR_TESTS_FUZZ_QUEUES_WATCH_H

#include "queue.h"

enum watch_what { WATCH_PUTTING, WATCH_TAKING, WATCH_ADOPTING /* looks at the last message from both its ends */ };

void watch_reset(void);
/* For what is mapped from now on nothing is poisoned, and no access is a violation (until watch_reset). */
void watch_off(void);
/* The header of this segment is as it should be: close what nobody has to look at again. */
void watch_know(const struct ipcr_segment *segment);

/* An operation on this segment begins (NULL: on none), by this handle if there is one.  What was opened before is closed. */
void watch_begin(const struct ipcr_segment *segment, const struct ipcr_queue *queue, enum watch_what what);
void watch_forget(void); /* the segment is gone */
/* The payload of a lease that the handle got before. */
void watch_lease(const struct ipcr_lease *lease);

/* Where watch_near (peer.h) looks at positions. */
void watch_look_at_lane(uint32_t lane);

/* Offsets in the file, by the geometry that it had when it was made. */
uint64_t offset_of_lane(uint32_t lane);                   /* its words */
uint64_t offset_of_slot(uint32_t lane, uint64_t sequence); /* whatever the sequence */
void watch_lay_out(uint32_t lanes, uint64_t slots, uint64_t capacity);

#endif

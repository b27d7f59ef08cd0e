/* watch.h - what one operation of one end may touch of a multicast's segment.
 *
 * Poisoned, so that AddressSanitizer reports a touch: the geometry and the options once they were copied (but the
 * creator's pid), gaps between words, what stands behind the last entry, and all data, in each mapping of them (an
 * observer has one of its own).  Data are opened as the core earns them:
 *
 *   publishing    where the next message goes, as far as what everybody has passed (`oldest`) reaches
 *   subscribing   a topic's name and a payload, when the words of its entry were loaded, each once, were right, and
 *                 said the number that the subscriber comes to next
 *
 * These end the run as a violation: a word of an entry that is loaded twice for one decision; a store into an entry by
 * anybody but the publisher, or into one that may not be overwritten yet; into a cursor's words (but its state) by
 * anybody but its subscriber; into `published` and `oldest` by anybody but the publisher; and any by an observer.
 */
#ifndef IPCR_TESTS_FUZZ_MULTICASTS_WATCH_H
#define IPCR_TESTS_FUZZ_MULTICASTS_WATCH_H

#include "multicast.h"

void watch_reset(void);
/* The header of this segment, mapped at `base`, is as it should be: close what nobody has to look at again.
 * copies: how often the data stand there. */
void watch_know(const struct ipcr_segment *segment, const uint8_t *base, uint32_t copies);

/* An operation begins on this segment (NULL: on none) ... */
void watch_begin(const struct ipcr_segment *segment);       /* ... of nobody, who stores nothing but gates */
void watch_take_role(const struct ipcr_segment *segment);   /* ... of who becomes publisher, and reads the last entry */
void watch_join(const struct ipcr_segment *segment);        /* ... of who becomes subscriber: it gets a cursor */
void watch_publish(const struct ipcr_publisher *p);
void watch_subscribe(const struct ipcr_subscriber *s);
void watch_forget(void); /* whoever it was is going: what was opened is closed, nothing is checked until the next one */
/* From now on another publisher publishes and overwrites so many messages before each look at `oldest`.  0 ends it. */
void watch_laps(uint64_t messages);
/* What this publisher lends now. */
void watch_claim(const struct ipcr_publisher *p);

/* Offsets in the file, by the geometry that it had when it was made. */
uint64_t offset_of_cursor(uint32_t number);
uint64_t offset_of_entry(uint64_t sequence);
void watch_lay_out(uint32_t entries, uint64_t capacity);

#endif

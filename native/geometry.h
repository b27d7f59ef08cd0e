/* geometry.h - how large a segment of each kind is, and whether what a file says of itself can be believed. */
#ifndef IPCR_GEOMETRY_H
#define IPCR_GEOMETRY_H

#include "multicast_format.h"
#include "os.h"
#include "queue_format.h"
#include "status.h"

static inline bool ipcr_is_queue(uint32_t kind) { return kind == IPCR_KIND_QUEUE || kind == IPCR_KIND_RELIABLE; }

/* The whole file's size for a capacity: what must be free.  Of queues, what the header takes, and each lane more. */
uint64_t ipcr_segment_footprint(uint64_t capacity);
uint64_t ipcr_queue_footprint(uint32_t lanes);
uint64_t ipcr_multicast_footprint(uint64_t capacity, uint32_t entries);
uint64_t ipcr_lane_footprint(uint64_t slots, uint64_t capacity);
/* The smallest legal capacity that is at least `wanted`; 0 when there is none. */
uint64_t ipcr_round_capacity(uint64_t wanted);

/* The same of any kind; `lanes` also of a multicast's entries. */
uint64_t ipcr_header_bytes(uint32_t kind, uint32_t lanes);
uint64_t ipcr_total_bytes(uint32_t kind, uint64_t capacity, uint32_t lanes, uint64_t slots);

/* Of all that builds of this format must agree on. */
uint64_t ipcr_kind_layout_hash(uint32_t kind);

bool ipcr_are_sound_for_queue(const struct ipcr_queue_options *options);
bool ipcr_are_sound_for_multicast(const struct ipcr_multicast_options *options);
bool ipcr_is_number_of_entries(uint32_t n);

/* Everything that can be told without believing the file: ours alone, regular, long enough. */
int ipcr_segment_trust(const struct ipcr_file_facts *facts);

/* Is a file with these facts and this header a segment that we can use?  Copies the geometry out. */
int ipcr_segment_check(const struct ipcr_header *header, const struct ipcr_file_facts *facts, struct ipcr_geometry *out);

/* The same of multicast. */
int ipcr_multicast_check(const struct ipcr_multicast_header *header, struct ipcr_multicast_options *out);

/* A queue's options, which belong to a checked geometry; copied out. */
int ipcr_queue_check(const struct ipcr_queue_header *header, const struct ipcr_geometry *geometry,
                     struct ipcr_queue_options *out);

#endif

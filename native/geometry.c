/* geometry.c - how large a segment of each kind is, and whether what a file says of itself can be believed. */
#include "geometry.h"
#include "leases.h"

#include <string.h>

uint64_t ipcr_header_bytes(uint32_t kind, uint32_t lanes)
{
    const uint64_t page = ipcr_os_page_bytes();
    if (kind == IPCR_KIND_MULTICAST)
        return ipcr_multicast_header_bytes(lanes, page);
    return ipcr_is_queue(kind) ? ipcr_queue_header_bytes(lanes, page) : ipcr_to_pages(sizeof(struct ipcr_header), page);
}

uint64_t ipcr_segment_footprint(uint64_t capacity) { return ipcr_header_bytes(IPCR_KIND_RING, 0) + capacity; }
uint64_t ipcr_queue_footprint(uint32_t lanes) { return ipcr_header_bytes(IPCR_KIND_QUEUE, lanes); }
uint64_t ipcr_multicast_footprint(uint64_t capacity, uint32_t entries)
{
    return ipcr_header_bytes(IPCR_KIND_MULTICAST, entries) + capacity;
}
uint64_t ipcr_lane_footprint(uint64_t slots, uint64_t capacity)
{
    return ipcr_lane_bytes(slots, capacity, ipcr_os_page_bytes());
}

uint64_t ipcr_total_bytes(uint32_t kind, uint64_t capacity, uint32_t lanes, uint64_t slots)
{
    return ipcr_header_bytes(kind, lanes) + (ipcr_is_queue(kind) ? lanes * ipcr_lane_footprint(slots, capacity) : capacity);
}

uint64_t ipcr_kind_layout_hash(uint32_t kind)
{
    if (kind == IPCR_KIND_MULTICAST)
        return ipcr_multicast_layout_hash();
    return ipcr_is_queue(kind) ? ipcr_queue_layout_hash() : ipcr_layout_hash();
}

uint64_t ipcr_round_capacity(uint64_t wanted)
{
    uint64_t capacity = ipcr_os_page_bytes();
    while (capacity < wanted && capacity < IPCR_MAX_CAPACITY)
        capacity <<= 1;
    return wanted == 0 || capacity < wanted ? 0 : capacity;
}

bool ipcr_are_sound_for_queue(const struct ipcr_queue_options *o)
{
    return o->slots >= 2 && o->slots <= IPCR_MOST_SLOTS && (o->slots & (o->slots - 1)) == 0 &&
           o->lease_ns <= IPCR_LONGEST_LEASE_NS && o->max_deliveries <= IPCR_MOST_DELIVERIES && o->lanes_each >= 1 &&
           o->lanes_each <= IPCR_MOST_LANES_EACH;
}

bool ipcr_is_number_of_entries(uint32_t n) { return n >= 2 && n <= IPCR_MOST_ENTRIES && (n & (n - 1)) == 0; }

bool ipcr_are_sound_for_multicast(const struct ipcr_multicast_options *o)
{
    return o->policy <= IPCR_LOSSY && o->on_laggard <= IPCR_EVICT_LAGGARDS &&
           (o->policy == IPCR_LOSSLESS || (o->on_laggard == IPCR_WAIT_FOR_LAGGARDS && o->max_lag == 0)) &&
           o->max_lag <= INT64_MAX;
}

int ipcr_multicast_check(const struct ipcr_multicast_header *header, struct ipcr_multicast_options *out)
{
    memcpy(out, &header->options, sizeof *out);
    return ipcr_are_sound_for_multicast(out) ? IPCR_OK : IPCR_CORRUPT;
}

int ipcr_segment_check(const struct ipcr_header *header, const struct ipcr_file_facts *facts, struct ipcr_geometry *out)
{
    memcpy(out, &header->geometry, sizeof *out);
    if (out->magic != IPCR_MAGIC)
        return IPCR_NOT_OURS;
    if (out->format_version != IPCR_FORMAT_VERSION || out->byte_order != IPCR_BYTE_ORDER ||
        out->layout_hash != ipcr_kind_layout_hash(out->kind))
        return IPCR_VERSION;
    const bool queue = ipcr_is_queue(out->kind), multicast = out->kind == IPCR_KIND_MULTICAST;
    if (queue ? out->lanes == 0 || out->lanes > IPCR_MOST_LANES
              : multicast ? !ipcr_is_number_of_entries(out->lanes) : out->lanes != 0)
        return IPCR_CORRUPT;
    if (out->header_bytes != ipcr_header_bytes(out->kind, out->lanes) || out->capacity == 0 ||
        out->capacity != ipcr_round_capacity(out->capacity) || facts->size < out->total_bytes ||
        (!queue && !multicast && (out->start_position & 7) != 0))
        return IPCR_CORRUPT;
    return queue || out->total_bytes == out->header_bytes + out->capacity ? IPCR_OK : IPCR_CORRUPT;
}

int ipcr_queue_check(const struct ipcr_queue_header *header, const struct ipcr_geometry *g,
                     struct ipcr_queue_options *out)
{
    memcpy(out, &header->options, sizeof *out);
    if (!ipcr_are_sound_for_queue(out))
        return IPCR_CORRUPT;
    return g->total_bytes == ipcr_total_bytes(g->kind, g->capacity, g->lanes, out->slots) ? IPCR_OK : IPCR_CORRUPT;
}

int ipcr_segment_trust(const struct ipcr_file_facts *facts)
{
    if (!facts->regular)
        return IPCR_NOT_OURS;
    if (facts->owner != ipcr_os_user() || (facts->mode & 0077) != 0)
        return IPCR_UNTRUSTED;
    return facts->size < sizeof(struct ipcr_header) ? IPCR_NOT_OURS : IPCR_OK;
}

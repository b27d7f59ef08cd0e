/* queue_stats.c - see queue_stats.h. */
#include "queue_stats.h"
#include "lanes.h"
#include "liveness.h"

enum { SNAPSHOT_TRIES = 1000, LOOKS = 10 };

/* What was freed, by the mark of the published `freed`: whole if that is still the same after it was read. */
static uint64_t freed_totals(const struct ipcr_lane *l, struct ipcr_lane_stats *out)
{
    uint64_t freed = 0;
    for (int i = 0; i < SNAPSHOT_TRIES; i++) {
        freed = load_acquire64(&l->words->freed);
        const struct ipcr_lane_mark *mark =
            &l->words->mark[load_acquire64(&l->words->mark[0].freed) == freed ? 0 : 1];
        const uint64_t marked = load_acquire64(&mark->freed);
        out->delivered = load_acquire64(&mark->deliveries);
        out->redelivered = load_acquire64(&mark->redeliveries);
        out->dead = load_acquire64(&mark->dead);
        out->bytes = load_acquire64(&mark->bytes);
        if (marked == freed && load_acquire64(&l->words->freed) == freed)
            break;
    }
    return freed;
}

static void add_message(const struct ipcr_lane *l, uint64_t sequence, uint64_t state, uint64_t id, uint64_t now_ns,
                        const struct ipcr_queue_header *h, struct ipcr_lane_stats *out)
{
    const uint32_t deliveries = ipcr_deliveries_of(state);
    const uint64_t length = load_relaxed64(&ipcr_slot_at(l, sequence)->length);
    out->bytes += length;
    out->bytes_left += ipcr_is_done(state) ? 0 : length;
    out->delivered += deliveries;
    out->redelivered += deliveries > 1 ? deliveries - 1 : 0;
    switch (ipcr_phase_of(state)) {
    case IPCR_READY:
        out->ready++;
        return;
    case IPCR_DEAD:
        out->dead++;
        return;
    case IPCR_ACKED:
        return;
    case IPCR_LEASED:
        out->leased++;
        break;
    default:
        out->kept++;
        break;
    }
    if (out->blocking_id != 0 || out->ready != 0)
        return;
    const uint64_t stamp = load_relaxed64(&ipcr_slot_at(l, sequence)->stamp);
    out->blocking_id = id;
    out->blocking_ns = now_ns > stamp ? now_ns - stamp : 0;
    out->blocking_pid =
        ipcr_phase_of(state) == IPCR_LEASED ? load_relaxed32(&h->holders[ipcr_holder_of(state)].pid) : 0;
}

/* All messages from what was freed on, in *out; how many of them are not there any more, because their slots moved on. */
static int look_through(const struct ipcr_lane *l, const struct ipcr_queue_header *h, uint32_t index, uint32_t lanes,
                        uint64_t *next, uint64_t *gone, struct ipcr_lane_stats *out)
{
    const uint64_t now = ipcr_os_now_ns(), slots = l->mask + 1;
    uint64_t at = freed_totals(l, out), freed_since;
    const int rc = ipcr_lane_bounds(l, &freed_since, next); /* later: no message is counted that has not been put */
    if (rc != IPCR_OK)
        return rc;
    *gone = 0;
    if (*next - at > slots) {
        *gone = *next - slots - at;
        at = *next - slots;
    }
    for (; at != *next; at++) {
        const uint64_t state = load_acquire64(&ipcr_slot_at(l, at)->state);
        if (ipcr_is_there(l, at, state))
            add_message(l, at, state, at * lanes + index, now, h, out);
        else
            ++*gone;
    }
    return IPCR_OK;
}

/* Sums of one look, if none of the slots moved on meanwhile; in a lane that never rests the last of some looks must do, with
 * those that are gone taken for acknowledged after one delivery. */
static int lane_stats(const struct ipcr_lane *l, const struct ipcr_queue_header *h, uint32_t index, uint32_t lanes,
                      uint64_t start, struct ipcr_lane_stats *out)
{
    const struct ipcr_lane_stats fresh = *out;
    uint64_t next = start, gone = 1;
    for (int i = 0; gone != 0 && i < LOOKS; i++) {
        *out = fresh;
        const int rc = look_through(l, h, index, lanes, &next, &gone, out);
        if (rc != IPCR_OK)
            return rc;
    }
    out->delivered += gone;
    out->put = next - start;
    const uint64_t left = out->ready + out->leased + out->kept + out->dead;
    out->acknowledged = out->put > left ? out->put - left : 0;
    return IPCR_OK;
}

static int fill_holders(const struct ipcr_segment *s, struct ipcr_queue_stats *out)
{
    const struct ipcr_queue_header *h = ipcr_queue_header(s);
    const uint32_t high = load_acquire32(&h->holders_high);
    const uint32_t most = sizeof out->holders / sizeof out->holders[0];
    int rc = IPCR_OK;
    for (uint32_t i = 0; rc == IPCR_OK && i < high && i < IPCR_MOST_HOLDERS && out->holders_count < most; i++) {
        bool held;
        if (load_acquire32(&h->holders[i].active) == 0)
            continue;
        rc = ipcr_probe(s->fd, s->id, IPCR_LOCK_HOLDER(i), &held);
        out->holders[out->holders_count++] = (struct ipcr_holder_stats){
            .pid = load_relaxed32(&h->holders[i].pid), .alive = rc == IPCR_OK && held,
        };
    }
    return rc;
}

static int fill(const struct ipcr_segment *s, struct ipcr_queue_stats *out, struct ipcr_lane_stats *lanes, uint32_t most)
{
    const struct ipcr_queue_header *h = ipcr_queue_header(s);
    bool held;
    *out = (struct ipcr_queue_stats){
        .kind = s->kind, .creator_pid = h->geometry.creator_pid, .capacity = s->capacity, .lanes = s->lanes,
        .named = (s->flags & IPCR_FLAG_NAMED) != 0, .shutdown = load_acquire32(&h->shutdown), .options = s->options,
    };
    int rc = ipcr_probe(s->fd, s->id, IPCR_LOCK_PRESENCE, &held);
    out->present = rc == IPCR_OK && held;
    if (rc == IPCR_OK)
        rc = fill_holders(s, out);
    for (uint32_t i = 0; rc == IPCR_OK && i < s->lanes && i < most; i++) {
        lanes[i] = (struct ipcr_lane_stats){ .used = load_acquire32(&s->lane[i].words->used) == 1 };
        if (lanes[i].used == 0 || load_acquire32(&s->lane[i].mapped) == 0)
            continue;
        lanes[i].producer_pid = load_relaxed32(&s->lane[i].words->producer_pid);
        lanes[i].parked_ns = load_relaxed64(&s->lane[i].words->parked_ns);
        lanes[i].high_water = load_relaxed64(&s->lane[i].words->high_water);
        rc = ipcr_probe(s->fd, s->id, IPCR_LOCK_LANE(i), &held);
        lanes[i].alive = rc == IPCR_OK && held;
        if (rc == IPCR_OK)
            rc = lane_stats(&s->lane[i], h, i, s->lanes, s->start_position + s->options.slots, &lanes[i]);
    }
    return rc;
}

int ipcr_queue_stats(const struct ipcr_segment *s, struct ipcr_queue_stats *out, struct ipcr_lane_stats *lanes,
                     uint32_t most)
{
    struct ipcr_lane *seen;
    for (uint32_t i = 0; i < s->lanes; i++) {
        const int rc = ipcr_lane_see((struct ipcr_segment *)(uintptr_t)s, i, &seen);
        if (rc != IPCR_OK && rc != IPCR_NOT_FOUND)
            return rc;
    }
    return fill(s, out, lanes, most);
}

/* Lanes as they stand in one mapping of the whole file; what has no memory is not touched. */
static int look_at(struct ipcr_segment *s, const uint8_t *base)
{
    s->header = (struct ipcr_header *)(uintptr_t)base;
    const int rc = ipcr_lanes_open(s);
    if (rc != IPCR_OK)
        return rc;
    for (uint32_t i = 0; i < s->lanes; i++) {
        if (load_acquire32(&s->lane[i].words->used) != 1)
            continue;
        const uint64_t offset = s->header_bytes + i * ipcr_lane_footprint(s->options.slots, s->capacity);
        s->lane[i].slots = (struct ipcr_slot *)(uintptr_t)(base + offset);
        store_release32(&s->lane[i].mapped, 1);
    }
    return IPCR_OK;
}

static void look_away(struct ipcr_segment *s)
{
    for (uint32_t i = 0; s->lane != NULL && i < s->lanes; i++)
        store_release32(&s->lane[i].mapped, 0); /* part of the one mapping */
    ipcr_lanes_close(s);
}

int ipcr_queue_stats_of_file(int fd, struct ipcr_queue_stats *out, struct ipcr_lane_stats *lanes, uint32_t most)
{
    struct ipcr_file_facts facts;
    struct ipcr_geometry g;
    struct ipcr_segment s = { .fd = fd };
    const uint8_t *base;
    int rc = ipcr_os_facts(fd, &facts);
    if (rc == IPCR_OK)
        rc = ipcr_segment_trust(&facts);
    if (rc == IPCR_OK)
        rc = ipcr_os_map_read_only(fd, facts.size, &base);
    if (rc != IPCR_OK)
        return rc;
    rc = ipcr_segment_check((const struct ipcr_header *)(const void *)base, &facts, &g);
    if (rc == IPCR_OK && g.kind != IPCR_KIND_QUEUE && g.kind != IPCR_KIND_RELIABLE)
        rc = IPCR_KIND;
    if (rc == IPCR_OK)
        rc = ipcr_queue_check((const struct ipcr_queue_header *)(const void *)base, &g, &s.options);
    if (rc == IPCR_OK) {
        s.id = facts.id;
        s.kind = g.kind;
        s.flags = g.flags;
        s.lanes = g.lanes;
        s.capacity = g.capacity;
        s.header_bytes = g.header_bytes;
        s.start_position = g.start_position;
        rc = look_at(&s, base);
        if (rc == IPCR_OK)
            rc = fill(&s, out, lanes, most);
        look_away(&s);
    }
    ipcr_os_unmap(base, facts.size);
    return rc;
}

/* stats.c - reading counters that others are writing.
 *
 * sent and received come from the marks: the pair whose position is the published one is whole, if the
 * position is still the same after it was read (edge M).  Received is read before sent, so that a
 * snapshot never shows more taken than given.
 */
#include "stats.h"
#include "status.h"

enum { SNAPSHOT_TRIES = 10000 };

/* One consistent mark of a side.  Under a storm of messages the last try is believed:
 * it is off by a message or two. */
static void snapshot(const struct ipcr_side_position *side, const struct ipcr_side_marks *marks,
                     struct ipcr_side_stats *out)
{
    for (int i = 0; i < SNAPSHOT_TRIES; i++) {
        const uint64_t at = load_acquire64(&side->position);
        const int pair = load_acquire64(&marks->mark[0].position) == at ? 0 : 1;
        const uint64_t marked = load_acquire64(&marks->mark[pair].position);
        out->messages = load_acquire64(&marks->mark[pair].sequence);
        out->bytes = load_acquire64(&marks->mark[pair].bytes);
        if (marked == at && load_acquire64(&side->position) == at)
            return;
    }
}

static int read_side(const struct ipcr_header *header, uint32_t side, int fd, struct ipcr_file_id id,
                     struct ipcr_side_stats *out)
{
    const struct ipcr_side_signals *signals = &header->signals[side];
    bool alive = false, claimed = false;
    snapshot(&header->at[side], &header->marks[side], out);
    out->parked_ns = load_relaxed64(&signals->parked_ns);
    out->high_water = load_relaxed64(&signals->high_water);
    const uint32_t state = load_acquire32(&signals->end_state);
    out->state = state & IPCR_END_MASK;
    out->generation = state >> 2;
    out->pid = load_relaxed32(&signals->taker_pid);
    int rc = ipcr_probe(fd, id, IPCR_LOCK_ROLE(side), &alive);
    if (rc == IPCR_OK)
        rc = ipcr_probe(fd, id, IPCR_LOCK_CLAIM(side), &claimed);
    out->alive = alive;
    out->claimed = claimed;
    return rc;
}

static int read_all(const struct ipcr_header *header, const struct ipcr_geometry *g, int fd, struct ipcr_file_id id,
                    struct ipcr_stats *out)
{
    bool present;
    *out = (struct ipcr_stats){
        .kind = g->kind, .creator_pid = g->creator_pid, .capacity = g->capacity, .total_bytes = g->total_bytes,
        .uuid = { g->uuid[0], g->uuid[1] }, .named = (g->flags & IPCR_FLAG_NAMED) != 0,
    };
    int rc = read_side(header, IPCR_RECEIVER, fd, id, &out->side[IPCR_RECEIVER]);
    if (rc == IPCR_OK)
        rc = read_side(header, IPCR_SENDER, fd, id, &out->side[IPCR_SENDER]);
    if (rc == IPCR_OK)
        rc = ipcr_probe(fd, id, IPCR_LOCK_PRESENCE, &present);
    if (rc == IPCR_OK)
        out->present = present;
    return rc;
}

int ipcr_stats_of_segment(const struct ipcr_segment *s, struct ipcr_stats *out)
{
    struct ipcr_geometry g;
    struct ipcr_file_facts facts;
    int rc = ipcr_os_facts(s->fd, &facts);
    if (rc == IPCR_OK)
        rc = ipcr_segment_check(s->header, &facts, &g);
    return rc == IPCR_OK ? read_all(s->header, &g, s->fd, s->id, out) : rc;
}

int ipcr_stats_of_file(int fd, struct ipcr_stats *out)
{
    struct ipcr_file_facts facts;
    struct ipcr_geometry g;
    const uint8_t *at;
    int rc = ipcr_os_facts(fd, &facts);
    if (rc == IPCR_OK)
        rc = ipcr_segment_trust(&facts);
    if (rc != IPCR_OK)
        return rc;
    rc = ipcr_os_map_read_only(fd, sizeof(struct ipcr_header), &at);
    if (rc != IPCR_OK)
        return rc;
    const struct ipcr_header *header = (const struct ipcr_header *)(const void *)at;
    rc = ipcr_segment_check(header, &facts, &g);
    if (rc == IPCR_OK && g.kind != IPCR_KIND_RING && g.kind != IPCR_KIND_CHANNEL)
        rc = IPCR_KIND; /* queue_stats.h, multicast_stats.h */
    if (rc == IPCR_OK)
        rc = read_all(header, &g, fd, facts.id, out);
    ipcr_os_unmap(at, sizeof(struct ipcr_header));
    return rc;
}

/* multicast_stats.c - see multicast_stats.h. */
#include "multicast_stats.h"
#include "status.h"

enum { SNAPSHOT_TRIES = 100 };

/* Payload bytes of all messages, as the last one says; what it says is believed if it was not overwritten meanwhile. */
static uint64_t bytes_of(struct ipcr_multicast_header *h, uint32_t entries, uint64_t published)
{
    const struct ipcr_entry *e = &ipcr_entries(h)[(published - 1) & (entries - 1)];
    const uint64_t bytes = load_relaxed64(&e->bytes) + load_relaxed64(&e->length);
    const bool sound = load_relaxed64(&e->sequence) == published - 1;
    fence_load_load();
    return sound && load_relaxed64(&h->published) - published < entries - 1 ? bytes : 0;
}

static void fill_messages(struct ipcr_multicast_header *h, const struct ipcr_segment *s, struct ipcr_multicast_stats *out)
{
    for (int i = 0; i < SNAPSHOT_TRIES; i++) {
        out->oldest = load_acquire64(&h->oldest) - s->start_position;
        const uint64_t published = load_acquire64(&h->published);
        out->published = published - s->start_position;
        out->bytes = out->published == 0 ? 0 : bytes_of(h, s->lanes, published);
        if (out->published == 0 || out->bytes != 0) /* else it goes on too fast, or has no payload */
            return;
    }
}

static int fill_subscribers(struct ipcr_multicast_header *h, const struct ipcr_segment *s, struct ipcr_multicast_stats *out,
                            struct ipcr_subscriber_stats *subscribers, uint32_t most)
{
    const uint32_t high = load_acquire32(&h->subscribers_high);
    for (uint32_t i = 0; i < high && i < IPCR_MOST_SUBSCRIBERS && out->subscribers < most; i++) {
        const struct ipcr_cursor *c = &h->cursor[i];
        const uint32_t state = load_acquire32(&c->state) & IPCR_CURSOR_MASK;
        const uint64_t high_water = load_relaxed64(&c->high_water);
        bool held;
        if (high_water > out->high_water) /* also of one that has left */
            out->high_water = high_water;
        if (state == IPCR_CURSOR_FREE)
            continue;
        const int rc = ipcr_probe(s->fd, s->id, IPCR_LOCK_SUBSCRIBER(i), &held);
        if (rc != IPCR_OK)
            return rc;
        subscribers[out->subscribers++] = (struct ipcr_subscriber_stats){
            .number = i, .pid = load_relaxed32(&c->pid), .state = state, .alive = held,
            .next = load_acquire64(&c->next) - s->start_position, .received = load_relaxed64(&c->received),
            .lost = load_relaxed64(&c->lost),
        };
    }
    return IPCR_OK;
}

int ipcr_multicast_stats(const struct ipcr_segment *s, struct ipcr_multicast_stats *out,
                         struct ipcr_subscriber_stats *subscribers, uint32_t most)
{
    struct ipcr_multicast_header *h = ipcr_multicast_header(s);
    bool present, alive;
    const uint32_t state = load_acquire32(&h->publisher_state);
    *out = (struct ipcr_multicast_stats){
        .creator_pid = h->geometry.creator_pid, .named = (s->flags & IPCR_FLAG_NAMED) != 0, .entries = s->lanes,
        .capacity = s->capacity, .parked_ns = load_relaxed64(&h->parked_ns), .evicted = load_relaxed64(&h->evicted),
        .publisher_pid = load_relaxed32(&h->publisher_pid), .publisher_state = state & IPCR_END_MASK,
        .options = s->multicast,
    };
    int rc = ipcr_probe(s->fd, s->id, IPCR_LOCK_PRESENCE, &present);
    if (rc == IPCR_OK)
        rc = ipcr_probe(s->fd, s->id, IPCR_LOCK_PUBLISHER, &alive);
    if (rc != IPCR_OK)
        return rc;
    out->present = present;
    out->publisher_alive = alive;
    rc = fill_subscribers(h, s, out, subscribers, most);
    fill_messages(h, s, out); /* last: nobody has read further than what was published */
    return rc;
}

int ipcr_multicast_stats_of_file(int fd, struct ipcr_multicast_stats *out, struct ipcr_subscriber_stats *subscribers,
                                 uint32_t most)
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
    if (rc == IPCR_OK && g.kind != IPCR_KIND_MULTICAST)
        rc = IPCR_KIND;
    if (rc == IPCR_OK)
        rc = ipcr_multicast_check((const struct ipcr_multicast_header *)(const void *)base, &s.multicast);
    if (rc == IPCR_OK) {
        s.id = facts.id;
        s.flags = g.flags;
        s.lanes = g.lanes;
        s.capacity = g.capacity;
        s.start_position = g.start_position;
        s.header = (struct ipcr_header *)(uintptr_t)base;
        rc = ipcr_multicast_stats(&s, out, subscribers, most);
    }
    ipcr_os_unmap(base, facts.size);
    return rc;
}

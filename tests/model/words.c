/* words.c - what a word of a segment is called, by the structure that the segment holds. */
#include "machine.h"
#include "multicast_format.h"
#include "queue_format.h"

#include <inttypes.h>
#include <stdio.h>

struct word {
    size_t at;
    const char *name;
};
#define WORD(type, field) { offsetof(type, field), #field }
#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static const struct word of_queue[] = {
    WORD(struct ipcr_queue_header, consumers_parked), WORD(struct ipcr_queue_header, shutdown),
    WORD(struct ipcr_queue_header, room_parked), WORD(struct ipcr_queue_header, finished_parked),
    WORD(struct ipcr_queue_header, lanes_high), WORD(struct ipcr_queue_header, holders_high),
    WORD(struct ipcr_queue_header, returns),
};
static const struct word of_holder[] = {
    WORD(struct ipcr_holder_words, active), WORD(struct ipcr_holder_words, pid), WORD(struct ipcr_holder_words, finished),
};
static const struct word of_lane[] = {
    WORD(struct ipcr_lane_words, take), WORD(struct ipcr_lane_words, settled), WORD(struct ipcr_lane_words, head),
    WORD(struct ipcr_lane_words, freed), WORD(struct ipcr_lane_words, used), WORD(struct ipcr_lane_words, producer_pid),
    WORD(struct ipcr_lane_words, room_parked), WORD(struct ipcr_lane_words, outcome_parked),
    WORD(struct ipcr_lane_words, room_at), WORD(struct ipcr_lane_words, outcome_at),
};
static const struct word of_multicast[] = {
    WORD(struct ipcr_multicast_header, published), WORD(struct ipcr_multicast_header, oldest),
    WORD(struct ipcr_multicast_header, readers_parked), WORD(struct ipcr_multicast_header, publisher_state),
    WORD(struct ipcr_multicast_header, publisher_pid), WORD(struct ipcr_multicast_header, room_parked),
    WORD(struct ipcr_multicast_header, blocked_by), WORD(struct ipcr_multicast_header, subscribers_high),
    WORD(struct ipcr_multicast_header, wake_at), WORD(struct ipcr_multicast_header, parked_ns),
    WORD(struct ipcr_multicast_header, evicted),
};
static const struct word of_cursor[] = {
    WORD(struct ipcr_cursor, state), WORD(struct ipcr_cursor, pid), WORD(struct ipcr_cursor, next),
    WORD(struct ipcr_cursor, received), WORD(struct ipcr_cursor, lost),
};
static const struct word of_entry[] = {
    WORD(struct ipcr_entry, sequence), WORD(struct ipcr_entry, position), WORD(struct ipcr_entry, length),
    WORD(struct ipcr_entry, info), WORD(struct ipcr_entry, bytes), WORD(struct ipcr_entry, topic_length),
};

struct called {
    char *room;
    size_t n;
};

static void call(struct called c, const char *of, const struct word *words, size_t count, size_t at)
{
    for (size_t i = 0; i < count; i++)
        if (words[i].at == at) {
            snprintf(c.room, c.n, "%s%s", of, words[i].name);
            return;
        }
    snprintf(c.room, c.n, "%sword at %zu", of, at);
}

/* One of several structures in a row. */
static void call_one(struct called c, const char *what, const struct word *words, size_t count, size_t at, size_t bytes)
{
    char of[32];
    snprintf(of, sizeof of, "%s %zu's ", what, at / bytes);
    call(c, of, words, count, at % bytes);
}

static void call_of_channel(struct called c, size_t at)
{
    static const char *const sides[] = { "sender", "receiver" };
    static const char *const signals[] = { "parked", "end_state", "taker_pid", "pinned_cpu", "wake_at", "wake_at" };
    static const char *const marks[] = { "mark 0 position", "mark 0 sequence", "mark 0 bytes", "mark 1 position",
                                         "mark 1 sequence", "mark 1 bytes", "thrown_away" };
    const char *side = sides[at / IPCR_LINE % 2];
    const size_t in_line = at % IPCR_LINE;
    if (at < offsetof(struct ipcr_header, at))
        snprintf(c.room, c.n, "word at %zu", at);
    else if (at < offsetof(struct ipcr_header, signals))
        snprintf(c.room, c.n, "%s's position", side);
    else if (at < offsetof(struct ipcr_header, marks))
        snprintf(c.room, c.n, "%s's %s", side,
                 in_line < 24 ? signals[in_line / 4] : in_line == 64 ? "parked_ns" : "high_water");
    else
        snprintf(c.room, c.n, "%s's %s", side, marks[in_line / 8 < 7 ? in_line / 8 : 6]);
}

static void call_of_queue(struct called c, size_t at)
{
    const size_t holders = offsetof(struct ipcr_queue_header, holders), lanes = offsetof(struct ipcr_queue_header, lane);
    if (at >= lanes)
        call_one(c, "lane", of_lane, COUNT(of_lane), at - lanes, sizeof(struct ipcr_lane_words));
    else if (at >= holders)
        call_one(c, "holder", of_holder, COUNT(of_holder), at - holders, sizeof(struct ipcr_holder_words));
    else
        call(c, "", of_queue, COUNT(of_queue), at);
}

static void call_of_multicast(struct called c, size_t at)
{
    const size_t cursors = offsetof(struct ipcr_multicast_header, cursor), entries = sizeof(struct ipcr_multicast_header);
    if (at >= entries)
        call_one(c, "entry", of_entry, COUNT(of_entry), at - entries, sizeof(struct ipcr_entry));
    else if (at >= cursors)
        call_one(c, "cursor", of_cursor, COUNT(of_cursor), at - cursors, sizeof(struct ipcr_cursor));
    else
        call(c, "", of_multicast, COUNT(of_multicast), at);
}

void model_name_word(const uint8_t *segment, uint64_t at, char *room, size_t n)
{
    const struct called c = { room, n };
    struct ipcr_geometry geometry;
    memcpy(&geometry, segment, sizeof geometry);
    if (geometry.magic != IPCR_MAGIC)
        snprintf(room, n, "word at %" PRIu64, at);
    else if (at >= geometry.header_bytes)
        snprintf(room, n, "data %" PRIu64, at - geometry.header_bytes);
    else if (geometry.kind == IPCR_KIND_MULTICAST)
        call_of_multicast(c, at);
    else if (geometry.kind == IPCR_KIND_QUEUE || geometry.kind == IPCR_KIND_RELIABLE)
        call_of_queue(c, at);
    else
        call_of_channel(c, at);
}

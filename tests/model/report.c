/* report.c - what a schedule did, for whoever must understand why it failed. */
#include "machine.h"

#include <inttypes.h>
#include <stdio.h>

enum { TRACED = 4096 };

static struct event {
    const char *what, *extra, *file;
    const void *word;
    uint64_t value;
    int fiber, line;
} trace[TRACED];
static int traced;

void report_begin(void) { traced = 0; }

void model_note(const char *what, const void *word, uint64_t value, const char *extra, const char *file, int line)
{
    trace[traced++ % TRACED] = (struct event){ what, extra, file, word, value, model_running, line };
}

static bool is_channel(int inode)
{
    extern uint8_t *model_bytes_of[];
    uint64_t magic;
    memcpy(&magic, model_bytes_of[inode], sizeof magic);
    return magic == IPCR_MAGIC;
}

/* Words of a channel's header by their names; of anything else by their offset. */
static const char *name_of(const void *word, char *room, size_t n)
{
    static const char *const sides[] = { "sender", "receiver" };
    static const char *const signals[] = { "parked", "end_state", "taker_pid", "pinned_cpu", "wake_at", "wake_at" };
    static const char *const marks[] = { "mark 0 position", "mark 0 sequence", "mark 0 bytes", "mark 1 position",
                                         "mark 1 sequence", "mark 1 bytes", "thrown_away" };
    if (word == NULL)
        return "";
    const struct place place = model_place_once(word);
    if (place.inode < 0) {
        snprintf(room, n, "private %04" PRIx64, place.offset & 0xffff);
        return room;
    }
    const char *side = sides[place.offset / IPCR_LINE % 2];
    const uint64_t at = place.offset % IPCR_LINE;
    if (!is_channel(place.inode) || place.offset < 256)
        snprintf(room, n, "word at %" PRIu64, place.offset);
    else if (place.offset < 512)
        snprintf(room, n, "%s's position", side);
    else if (place.offset < 768)
        snprintf(room, n, "%s's %s", side, at < 24 ? signals[at / 4] : at == 64 ? "parked_ns" : "high_water");
    else if (place.offset < 1024)
        snprintf(room, n, "%s's %s", side, marks[at / 8 < 7 ? at / 8 : 6]);
    else
        snprintf(room, n, "data %" PRIu64, place.offset - 4096);
    return room;
}

void report_trace(void)
{
    char room[64];
    const int first = traced > TRACED ? traced - TRACED : 0;
    model_running = STAGE;
    if (first > 0)
        printf("  (%d accesses before these)\n", first);
    for (int i = first; i < traced; i++) {
        const struct event *e = &trace[i % TRACED];
        const char *file = e->file == NULL ? "" : strrchr(e->file, '/') != NULL ? strrchr(e->file, '/') + 1 : e->file;
        printf("  %4d  %*sfiber %d  %-16s %-24s %" PRIu64 "%s", i, 2 * e->fiber, "", e->fiber, e->what,
               name_of(e->word, room, sizeof room), e->value, e->extra);
        printf(e->line != 0 ? "   %s:%d\n" : "\n", file, e->line);
    }
}

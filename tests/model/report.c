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

static const char *name_of(const void *word, char *room, size_t n)
{
    extern uint8_t *model_bytes_of[];
    if (word == NULL)
        return "";
    const struct place place = model_place_once(word);
    if (place.inode < 0)
        snprintf(room, n, "private %04" PRIx64, place.offset & 0xffff);
    else
        model_name_word(model_bytes_of[place.inode], place.offset, room, n);
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

/* loads.c - how often one operation loads each word that a peer writes: once per decision, and each word of a record
 * once.  What is loaded twice can be two different things.  Counted through the seam of atomics.h, exactly: a load
 * more or less than here is either a mistake or belongs into this table, with its reason.
 *
 * What stands in no column (all other words of the header) must not be loaded at all, but for a side's own position and CPU.
 */
#include "kernel.h"
#include "target.h"
#include "transfer.h"
#include "watch.h"

#include <stdio.h>

enum { LENGTH, INFO, POSITION, END_STATE, PARKED, WAKE_AT, PINNED, THROWN_AWAY, COLUMNS };
static const char *const names[COLUMNS] = { "length", "info", "position", "end state", "parked", "wake at", "pinned",
                                            "thrown away" };

typedef int64_t an_operation(struct ipcr_end *w, struct ipcr_end *r);
typedef void a_state(struct ipcr_end *w, struct ipcr_end *r);

static const char filler[1 << 16];
static struct ipcr_inbox inbox;
static char out[1 << 16];
static uint64_t from;

/* --- what was before -------------------------------------------------------------------------------------------- */

static void nothing(struct ipcr_end *w, struct ipcr_end *r)
{
    (void)w;
    (void)r;
}

static void three(struct ipcr_end *w, struct ipcr_end *r)
{
    (void)r;
    for (int i = 0; i < 3; i++)
        ipcr_send_bytes(w, filler, 100);
}

static void full(struct ipcr_end *w, struct ipcr_end *r)
{
    (void)r;
    ipcr_send_bytes(w, filler, ipcr_max_length(w->writer.capacity));
}

/* The sender's private copy still says full. */
static void full_and_taken(struct ipcr_end *w, struct ipcr_end *r)
{
    full(w, r);
    watch_begin(r);
    ipcr_peek(r);
    ipcr_release(r);
}

static void seen(struct ipcr_end *w, struct ipcr_end *r)
{
    three(w, r);
    watch_begin(r);
    ipcr_peek(r);
    ipcr_take_back(r);
}

static void lent(struct ipcr_end *w, struct ipcr_end *r)
{
    three(w, r);
    watch_begin(r);
    ipcr_peek(r);
}

static void claimed(struct ipcr_end *w, struct ipcr_end *r)
{
    (void)r;
    ipcr_claim(w, 100);
}

/* Three parts, of which the receiver has begun with none. */
static void parts(struct ipcr_end *w, struct ipcr_end *r)
{
    const struct ipcr_piece piece = { .data = filler, .length = w->writer.capacity / 4 * 3 - 100 };
    (void)r;
    ipcr_send_parts_wait(w, &piece, 1, 0, 0, 0);
}

static void parts_begun(struct ipcr_end *w, struct ipcr_end *r)
{
    parts(w, r);
    watch_begin(r);
    ipcr_parts_begin(r);
}

/* --- operations: what they return is checked for success ---------------------------------------------------------- */

#define ON(side, call)                                         \
    {                                                          \
        (void)w;                                               \
        (void)r;                                               \
        watch_begin(side);                                     \
        return (call);                                         \
    }
static int64_t send(struct ipcr_end *w, struct ipcr_end *r) ON(w, ipcr_send_bytes(w, filler, 100))
static int64_t claim(struct ipcr_end *w, struct ipcr_end *r) ON(w, ipcr_claim(w, 100))
static int64_t commit(struct ipcr_end *w, struct ipcr_end *r) ON(w, ipcr_commit(w, 100, 0))
static int64_t flush(struct ipcr_end *w, struct ipcr_end *r) ON(w, ipcr_flush_wait(w, 0, 0))
static int64_t receive(struct ipcr_end *w, struct ipcr_end *r) ON(r, ipcr_try_recv_into(&inbox))
static int64_t peek(struct ipcr_end *w, struct ipcr_end *r) ON(r, ipcr_peek(r))
static int64_t release(struct ipcr_end *w, struct ipcr_end *r) ON(r, ipcr_release(r))
static int64_t begin_parts(struct ipcr_end *w, struct ipcr_end *r) ON(r, ipcr_parts_begin(r))
static int64_t skip(struct ipcr_end *w, struct ipcr_end *r) ON(r, ipcr_skip(r, r->reader.position, 3))

static int64_t batch_of_three(struct ipcr_end *w, struct ipcr_end *r)
{
    static const uint64_t lengths[] = { 100, 100, 100 }, counts[] = { 1, 1, 1 }, infos[3];
    ON(w, ipcr_send_many(w, filler, lengths, counts, infos, 3))
}

static int64_t receive_three(struct ipcr_end *w, struct ipcr_end *r)
{
    int64_t results[3];
    ON(r, ipcr_recv_many(r, out, sizeof out, results, 3, true, &from))
}

static int64_t read_parts(struct ipcr_end *w, struct ipcr_end *r)
    ON(r, ipcr_parts_read(r, out, 0, r->assembly.total, 0, 0))

static int64_t read_in_place(struct ipcr_end *w, struct ipcr_end *r)
{
    const char *payload;
    (void)w;
    watch_begin(r);
    int64_t result = ipcr_reading_begin(r, &payload);
    for (int i = 0; i < 2 && result >= 0; i++)
        result = ipcr_reading_next(r, &payload);
    ipcr_reading_end(r, 1);
    return result;
}

/* --- the table ---------------------------------------------------------------------------------------------------- */

static const struct {
    const char *what;
    a_state *before;
    an_operation *operation;
    int64_t result; /* 0: any that isn't negative */
    uint32_t loads[COLUMNS];
} rows[] = {
    /*                                                          length, info, position, end state, parked, wake at */
    { "send, with room", nothing, send, 0,                    { 0, 0, 0, 1, 1 } },
    { "send, after a look whether there is room", full_and_taken, send, 0, { 0, 0, 1, 1, 1 } },
    { "send, to a full ring", full, send, IPCR_FULL,          { 0, 0, 1, 1 } },
    { "send three as a batch", nothing, batch_of_three, 0,    { 0, 0, 0, 1, 1 } },
    { "claim", nothing, claim, 0,                             { 0, 0, 0, 1 } },
    { "commit", claimed, commit, 0,                           { 0, 0, 0, 0, 1 } },
    { "flush, with all taken", nothing, flush, 0,             { 0, 0, 1, 1 } }, /* may it spin? */
    { "receive", three, receive, 0,                           { 1, 1, 1, 0, 1 } },
    { "receive what is known to be there", seen, receive, 0,  { 1, 1, 0, 0, 1 } },
    /* empty is a decision of its own, and so is: empty after the close was seen */
    { "receive from an empty ring", nothing, receive, IPCR_EMPTY, { 0, 0, 1, 1 } },
    { "receive three at once", three, receive_three, 0,       { 3, 3, 1, 0, 1 } },
    { "read three in place", three, read_in_place, 0,         { 3, 3, 1, 0, 1 } },
    { "peek", three, peek, 0,                                 { 1, 1, 1 } },
    { "release", lent, release, 0,                            { 0, 0, 0, 0, 1 } },
    { "skip three that were decoded", seen, skip, 0,          { 3, 3, 0, 0, 1 } },
    { "begin a message in parts", parts, begin_parts, 0,      { 1, 1, 1 } },
    { "read its three parts", parts_begun, read_parts, 0,     { 2, 2, 0, 1, 3 } }, /* the first was looked at before */
};

static uint64_t place_of(int column, uint32_t peer)
{
    const uint64_t signals = offsetof(struct ipcr_header, signals) + peer * IPCR_LINE;
    const uint64_t places[COLUMNS] = {
        WATCH_LENGTH, WATCH_INFO, offsetof(struct ipcr_header, at) + peer * IPCR_LINE,
        signals + offsetof(struct ipcr_side_signals, end_state), signals + offsetof(struct ipcr_side_signals, parked),
        signals + offsetof(struct ipcr_side_signals, wake_at), signals + offsetof(struct ipcr_side_signals, pinned_cpu),
        offsetof(struct ipcr_header, marks) + IPCR_LINE + offsetof(struct ipcr_side_marks, thrown_away),
    };
    return places[column];
}

/* How many loads belong to no column. */
static uint32_t loads_elsewhere(uint32_t peer)
{
    uint32_t all = 0;
    const uint64_t own_position = offsetof(struct ipcr_header, at) + (1 - peer) * IPCR_LINE;
    const uint64_t own_cpu = offsetof(struct ipcr_header, signals) + (1 - peer) * IPCR_LINE +
                             offsetof(struct ipcr_side_signals, pinned_cpu);
    for (uint64_t offset = 0; offset < sizeof(struct ipcr_header); offset += 4)
        if (offset != own_position && offset != own_cpu)
            all += watch_loads(offset);
    for (int column = 0; column < COLUMNS; column++)
        all -= watch_loads(place_of(column, peer));
    return all;
}

static int check_row(size_t i)
{
    struct stage stage = { .setup = 0 };
    kernel_reset(MOST_PAGES);
    watch_reset();
    stage_create(&stage);
    struct ipcr_end *w = stage_end(&stage, IPCR_SENDER), *r = stage_end(&stage, IPCR_RECEIVER);
    inbox.end = r;
    watch_begin(w);
    rows[i].before(w, r);
    const int64_t result = rows[i].operation(w, r);
    const uint32_t peer = watch_peer();
    int wrong = rows[i].result == 0 ? result < 0 : result != rows[i].result;
    if (wrong)
        printf("%s: returned %lld\n", rows[i].what, (long long)result);
    for (int column = 0; column < COLUMNS; column++) {
        const uint32_t found = watch_loads(place_of(column, peer));
        if (found != rows[i].loads[column]) {
            printf("%s: %s is loaded %u times, not %u\n", rows[i].what, names[column], found, rows[i].loads[column]);
            wrong = 1;
        }
    }
    if (loads_elsewhere(peer) != 0) {
        printf("%s: loads %u words that it has no use for\n", rows[i].what, loads_elsewhere(peer));
        wrong = 1;
    }
    for (uint32_t side = 0; side < IPCR_SIDES; side++)
        stage_detach(&stage, side);
    return wrong;
}

int main(void)
{
    int wrong = 0;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        wrong += check_row(i);
    printf("loads of a peer's words: %zu operations, %d wrong\n", sizeof rows / sizeof rows[0], wrong);
    return wrong != 0;
}

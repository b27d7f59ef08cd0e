/* seeds.c - the corpus that fuzzing begins with: real segments, made by the core, in every state that traffic and
 * deaths leave, and real programs on them, each with a touch of what a hostile peer does.
 *
 *     seeds DIRECTORY
 */
#include "kernel.h"
#include "seeding.h"
#include "target.h"
#include "transfer.h"
#include "watch.h"

static const char filler[1 << 16];

/* --- states of a segment ---------------------------------------------------------------------------------------- */

typedef void a_state(struct ipcr_end *w, struct ipcr_end *r);

static void send(struct ipcr_end *w, uint64_t length, uint64_t info) { ipcr_send(w, filler, length, info); }

static void empty(struct ipcr_end *w, struct ipcr_end *r)
{
    (void)w;
    (void)r;
}

static void one_message(struct ipcr_end *w, struct ipcr_end *r)
{
    (void)r;
    send(w, 100, IPCR_INFO(7, IPCR_BYTES));
}

static void some_read_some_not(struct ipcr_end *w, struct ipcr_end *r)
{
    struct ipcr_inbox inbox;
    inbox.end = r;
    for (uint32_t i = 0; i < 9; i++)
        send(w, 11 * i, IPCR_INFO(i, i % 4));
    for (int i = 0; i < 4; i++)
        ipcr_try_recv_into(&inbox);
}

static void full(struct ipcr_end *w, struct ipcr_end *r)
{
    (void)r;
    send(w, ipcr_max_length(w->writer.capacity), 0);
}

static void full_of_small_ones(struct ipcr_end *w, struct ipcr_end *r)
{
    (void)r;
    while (ipcr_send_bytes(w, filler, 500) == IPCR_OK)
        continue;
}

static void at_the_wrap(struct ipcr_end *w, struct ipcr_end *r)
{
    for (int i = 0; i < 3; i++) {
        send(w, w->writer.capacity / 2 - 40, 0);
        if (ipcr_peek(r) >= 0)
            ipcr_release(r);
    }
    send(w, w->writer.capacity / 2, IPCR_INFO(1, IPCR_ARRAY));
}

static void parts(struct ipcr_end *w, uint64_t length)
{
    const struct ipcr_piece piece = { .data = filler, .length = length };
    int rc = ipcr_send_parts_wait(w, &piece, 1, IPCR_INFO(1, IPCR_PICKLE), 0, 0);
    if (rc == IPCR_AGAIN)
        ipcr_stop_waiting(w);
}

static void parts_of_a_message(struct ipcr_end *w, struct ipcr_end *r)
{
    (void)r;
    parts(w, 2 * w->writer.capacity);
}

static void all_parts_of_a_message(struct ipcr_end *w, struct ipcr_end *r)
{
    (void)r;
    parts(w, w->writer.capacity / 2);
}

static void parts_whose_beginning_was_read(struct ipcr_end *w, struct ipcr_end *r)
{
    parts(w, w->writer.capacity / 2);
    if (ipcr_data_wait(r, 0, 0) == IPCR_IN_PARTS && ipcr_parts_begin(r) >= 0)
        ipcr_parts_read(r, NULL, 0, w->writer.capacity / 4, 0, 0);
}

static a_state *const states[] = { empty, one_message, some_read_some_not, full, full_of_small_ones, at_the_wrap,
                                   parts_of_a_message, all_parts_of_a_message, parts_whose_beginning_was_read };

/* --- as an input: what differs from a new segment is written by the peer ----------------------------------------- */

static void put_image(const uint8_t *fresh)
{
    const uint8_t *raw = kernel_raw();
    for (uint64_t at = 0, n; at < kernel_most_bytes(); at += n) {
        n = 8;
        if (memcmp(fresh + at, raw + at, 8) == 0)
            continue;
        while (n < 240 && at + n < kernel_most_bytes() && memcmp(fresh + at + n, raw + at + n, 8) != 0)
            n += 8;
        put8(OP_BYTES);
        put8((uint8_t)at);
        put8((uint8_t)(at >> 8));
        put8((uint8_t)n);
        put(raw + at, n);
    }
}

/* Both sides of a new segment go through a state, and leave: clean says which of them closed. */
static void make_image(uint8_t setup, a_state *state, uint32_t clean)
{
    static uint8_t fresh[1 << 16];
    struct stage stage = { .setup = setup };
    kernel_reset(MOST_PAGES);
    watch_reset();
    watch_off();
    stage_create(&stage);
    memcpy(fresh, kernel_raw(), kernel_most_bytes());
    struct ipcr_end *w = stage_end(&stage, IPCR_SENDER), *r = stage_end(&stage, IPCR_RECEIVER);
    state(w, r);
    for (uint32_t side = 0; side < IPCR_SIDES; side++)
        stage_close(&stage, side, (clean >> side & 1) != 0);
    seed_bytes = 0;
    put8(setup);
    put_image(fresh);
    for (uint32_t side = 0; side < IPCR_SIDES; side++)
        stage_detach(&stage, side);
}

/* --- programs --------------------------------------------------------------------------------------------------- */

#define PROGRAM(...) { .bytes = { __VA_ARGS__ }, .n = sizeof (const uint8_t[]){ __VA_ARGS__ } }
static const struct {
    uint8_t bytes[40], n;
} programs[] = {
    PROGRAM(OP_RECV, OP_RECV, OP_RECV_SPIN, OP_RECV, OP_RECV, OP_RECV_SPIN, OP_RECV, OP_RECV),
    PROGRAM(OP_RECV_MANY, 0xff, 0x3f, 15, 1, 0, OP_RECV_MANY, 0xff, 0x3f, 15, 0, 1, OP_RECV_MANY, 64, 0, 3, 1, 0),
    PROGRAM(OP_READING, 7, 1, OP_READING, 3, 0, OP_READING, 7, 1),
    PROGRAM(OP_PEEK, OP_RELEASE, OP_PEEK, OP_TAKE_BACK, 1, OP_PEEK, OP_RELEASE),
    PROGRAM(OP_RECV_WAIT, 1, OP_RECV_WAIT, 0, OP_PEER, 1, OP_RECV_WAIT, 3),
    PROGRAM(OP_DATA, 1, OP_PARTS_BEGIN, OP_PARTS_READ, 0x10, 0, 1, 1, OP_PARTS_READ, 0, 8, 1, 1, OP_PARTS_BEGIN,
            OP_PARTS_READ, 0xff, 0xff, 1, 0),
    PROGRAM(OP_DATA, 1, OP_PARTS_BEGIN, OP_PARTS_READ, 8, 0, 1, 1, OP_CRASH, 1, OP_DATA, 1, OP_DATA, 0, OP_RECV),
    PROGRAM(OP_SEND, 100, 0, OP_SEND_WAIT, 0xff, 1, 1, OP_SEND, 0xf0, 0x8f, OP_RECV, OP_RECV),
    PROGRAM(OP_SEND_PIECES, 2, 100, 0, 3, 0, 70, 0, 1, 0, OP_SEND_PIECES, 1, 0, 1, 0, 1, 1, 1, 2, OP_PEEK, OP_RELEASE),
    PROGRAM(OP_SEND_PARTS, 0, 0, 0xa0, 1, 2, OP_DATA, 1, OP_PARTS_BEGIN, OP_PARTS_READ, 0, 4, 1, 1, OP_SEND, 1, 0,
            OP_PARTS_READ, 0, 4, 1, 1),
    PROGRAM(OP_SEND_MANY, 3, 0, 0, 9, 0, 1, 1, 9, 0, 9, 0, 0, 0, 1, 0, OP_BATCH, 3, 9, 0, 0, 1, 0, 0, OP_RECV_MANY,
            0xff, 0x3f, 15, 0, 1),
    PROGRAM(OP_CLAIM, 100, 0, OP_COMMIT, 60, 0, 2, OP_CLAIM, 9, 0, OP_ABORT, OP_CLAIM, 5, 0, OP_TAKE_BACK, 0, OP_ROOM,
            0xff, 1, 1, OP_FLUSH, 1),
    PROGRAM(OP_STATS, 0, OP_STATS_OF_FILE, 0, OP_PEER, 0, OP_PEER, 1, OP_SECOND, 0, OP_SECOND, 1, OP_UNLINK, 0,
            OP_REMOVE, 0, 1),
    PROGRAM(OP_HAND_OVER, 0, 1, 1, OP_SEND, 9, 0, OP_HAND_OVER, 1, 0, 1, OP_RECV, OP_HAND_OVER, 1, 1, 0, OP_RECV),
    PROGRAM(OP_DRAIN, 1, OP_RECV_WAIT, 3, OP_RECV_WAIT, 3, OP_SEND, 4, 0, OP_RECV_WAIT, 3, OP_CLOSE, 0, OP_RECV),
    PROGRAM(OP_CRASH, 0, OP_RECV_WAIT, 3, OP_SEND, 1, 0, OP_CLOSE, 1, OP_SEND, 1, 0, OP_DETACH, 0, OP_DETACH, 1,
            OP_STATS_OF_FILE, 0),
};

static void put_program(size_t i) { put(programs[i].bytes, programs[i].n); }

enum { STATES = sizeof states / sizeof states[0], PROGRAMS = sizeof programs / sizeof programs[0] };

static void honest_ones(void)
{
    static const uint8_t setups[] = { 0, SETUP_NEAR_WRAP, 2, SETUP_NAMED | 2, SETUP_SPIN | SETUP_NEAR_WRAP | 1 };
    for (size_t state = 0; state < STATES; state++) {
        for (size_t i = 0; i < PROGRAMS; i++) {
            make_image(setups[(state + i) % sizeof setups], states[state], 0);
            put_program(i);
            keep();
        }
    }
    for (uint32_t clean = 1; clean < 4; clean++) {
        make_image(0, some_read_some_not, clean);
        put_program(clean * 3);
        keep();
    }
}

/* One hostile word, or one in the middle of an operation, or a storm of them. */
static void hostile_ones(void)
{
    for (uint8_t word = 0; word < 16; word++) {
        for (uint8_t pick = 0; pick < 0x80; pick = (uint8_t)(pick + 5)) {
            make_image(0, states[pick % STATES], 0);
            put8(pick % 2 == 0 ? OP_WORD : OP_WORD_LATER);
            if (pick % 2 != 0)
                put8(pick % 12);
            put8(word);
            put8(pick);
            put_program(((size_t)pick + word) % PROGRAMS);
            keep();
        }
    }
    for (uint8_t word = 0; word < sizeof(struct ipcr_header) / 8; word++) { /* after it was attached */
        make_image(2, states[word % STATES], 0);
        put_program(word % PROGRAMS);
        put8(OP_ANY_WORD);
        put8(word);
        put8((uint8_t)(1u << 7));
        const uint64_t value = UINT64_C(0x100000001) << word % 32;
        put(&value, sizeof value);
        put_program((word + 3u) % PROGRAMS);
        put_program((word + 4u) % PROGRAMS);
        keep();
    }
    for (size_t i = 0; i < PROGRAMS; i++) {
        make_image(SETUP_SPIN, states[i % STATES], 0);
        put8(OP_STORM);
        put8((uint8_t)(i + 1));
        put_program(i);
        put_program((i + 1) % PROGRAMS);
        keep();
        make_image(0, states[(i + 1) % STATES], 0);
        put8(OP_LENGTH_LATER);
        put8((uint8_t)(i % 3));
        put8((uint8_t)(i * 7 % 0x80));
        put_program(i);
        keep();
    }
}

/* What was found before, and takes more than luck to find again: tests/native/test_hostile_words.c tells the story. */
static void found_ones(void)
{
    static const uint8_t send_one_and_see_it[] = { OP_SEND_MANY, 0, 0, 1, 5, 0, OP_PEEK, OP_TAKE_BACK, 1 };
    static const uint8_t take_none_of_the_run[] = { OP_RECV_MANY, 0xff, 0x3f, 15, 0, 0, OP_PEEK };
    const uint64_t second = ipcr_record_bytes(5), page = ipcr_os_page_bytes(), at = page + second;
    const uint64_t record[2] = { ipcr_max_length(page), IPCR_INFO(0, IPCR_PICKLE) }, position = second + page;
    seed_bytes = 0;
    put8(0);
    put(send_one_and_see_it, sizeof send_one_and_see_it);
    put8(OP_BYTES);
    put8((uint8_t)at);
    put8((uint8_t)(at >> 8));
    put8(sizeof record);
    put(record, sizeof record);
    put8(OP_WORD);
    put8(0);
    put8(0x80);
    put(&position, sizeof position);
    put(take_none_of_the_run, sizeof take_none_of_the_run);
    keep();
}

/* Files as such: a real segment of each state, and what is none. */
static void files(void)
{
    for (size_t state = 0; state < STATES; state++) {
        make_image(0, states[state], 0);
        seed_bytes = 0;
        put8(SETUP_ARBITRARY);
        put(kernel_raw(), ipcr_os_page_bytes() * 2);
        put_program(PROGRAMS - 4);
        put_program(state);
        keep();
    }
}

int main(int argc, char **argv)
{
    if (argc != 2) {
        fprintf(stderr, "usage: seeds DIRECTORY\n");
        return 2;
    }
    directory = argv[1];
    honest_ones();
    hostile_ones();
    found_ones();
    files();
    printf("%u seeds\n", written);
    return 0;
}

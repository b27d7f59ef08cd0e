/* seeds.c - the corpus of multicasts that fuzzing begins with: real segments, made by the core, in every state that
 * traffic, laps, evictions and deaths leave, and real programs on them, each with a touch of what a hostile process
 * does.
 *
 *     seeds DIRECTORY
 */
#include "kernel.h"
#include "seeding.h"
#include "target.h"

/* --- states of a segment: programs, run by the target itself ---------------------------------------------------- */

#define PROGRAM(...) { .bytes = { __VA_ARGS__ }, .n = sizeof (const uint8_t[]){ __VA_ARGS__ } }
struct program {
    uint8_t bytes[160], n;
};

#define NO_TOPIC 7
#define PUBLISH(who, low, high) OP_PUBLISH, who, low, high, 0
#define PUBLISH4(who) PUBLISH(who, 24, 0), PUBLISH(who, 9, 0), PUBLISH(who, 0, 0), PUBLISH(who, 100, 0)
#define ON(who, topic, low) OP_PUBLISH_PIECES, who, low, 0, 0x80 | topic
#define BY_NUMBER(who, value) OP_SUBSCRIBE, who, IPCR_START_SEQUENCE, value
#define ENTER(who, want) OP_SUBSCRIBE, who, want

static const struct program states[] = {
    PROGRAM(OP_ABORT, 0),
    PROGRAM(ENTER(0, 1), PUBLISH(0, 24, 0)),
    PROGRAM(PUBLISH4(0), ENTER(0, 1), ENTER(1, 1), ENTER(2, 0), OP_RECV, 0, 0, OP_RECV, 0, 1),
    PROGRAM(ENTER(0, 0), ENTER(1, 0), PUBLISH4(0), OP_RECV_MANY, 0, 7, 0xff, 0x0f, OP_CRASH_SUBSCRIBER, 1),
            /* a dead one */
    PROGRAM(PUBLISH(0, 0, 8), PUBLISH(0, 0, 6), PUBLISH(0, 0, 4), PUBLISH(0, 0, 8), ENTER(0, 1), ENTER(4, 9)),
            /* wrapped */
    PROGRAM(PUBLISH4(0), PUBLISH4(0), PUBLISH4(0), PUBLISH4(0), PUBLISH4(0), ENTER(0, 1), ENTER(3, 0x21)),
            /* entries lapped */
    PROGRAM(ON(0, 0, 30), ON(0, 1, 31), ON(0, 2, 32), ON(0, 3, 33), ON(0, 0, 1), ENTER(3, 0x21), ENTER(5, 0x15)),
    PROGRAM(PUBLISH4(0), OP_CRASH_PUBLISHER, 0, PUBLISH4(1), OP_CRASH_PUBLISHER, 1), /* publishers that died */
    PROGRAM(ENTER(0, 1), PUBLISH4(0), OP_CLOSE_PUBLISHER, 0, OP_FREE_PUBLISHER, 0, PUBLISH(1, 7, 0)),
    PROGRAM(OP_CLAIM, 0, 0xe0, 1, 0x81, OP_COMMIT, 0, 0xd0, 1, 0x80, OP_CLAIM, 0, 100, 0, NO_TOPIC, ENTER(2, 1)),
    PROGRAM(ENTER(0, 1), ENTER(1, 1), PUBLISH4(0), PUBLISH4(0), OP_ROOM, 0, 0x43, PUBLISH4(0), PUBLISH4(0)), /* full */
    PROGRAM(PUBLISH(0, 0, 0x24), ENTER(0, 1), PUBLISH(0, 0, 0x28), ENTER(1, 1), PUBLISH(0, 8, 0x20)), /* large ones */
    PROGRAM(ENTER(0, 1), ENTER(1, 1), ENTER(2, 1), ENTER(3, 1), ENTER(5, 1), PUBLISH4(0)), /* all numbers taken */
    PROGRAM(OP_PUBLISH_MANY, 0, 0xa0, 0, 0x28, OP_PUBLISH_MANY, 0, 60, 0, 0x21, ENTER(0, 1), OP_PUBLISH_MANY,
            0, 0, 8, 0x2f),
};

static const struct program programs[] = {
    PROGRAM(OP_RECV, 0, 0, OP_RECV, 1, 1, OP_RECV, 2, 0, OP_RECV, 4, 1, OP_RECV, 3, 0, OP_RECV, 5, 1, OP_RECV, 0, 0),
    PROGRAM(OP_COPY, 0, 0, OP_COPY, 0, 1, OP_COPY, 4, 4, OP_COPY, 0, 255, OP_COPY, 4, 255, OP_COPY, 4, 1),
    PROGRAM(OP_PEEK, 0, 0, OP_RELEASE, 0, 1, OP_PEEK, 0, 0, OP_RECV, 0, 0, OP_RELEASE, 0, 0, OP_PEEK, 1, 0,
            OP_RELEASE, 1, 1),
    PROGRAM(OP_RECV_MANY, 0, 7, 0xff, 0x3f, OP_RECV_MANY, 1, 0x0b, 0xff, 0x0f, OP_RECV_MANY, 4, 0x13, 30, 0,
            OP_RECV_MANY, 2, 7, 0xff, 0x0f),
    PROGRAM(PUBLISH4(0), OP_RECV, 4, 0, PUBLISH4(0), OP_RECV, 4, 0, PUBLISH4(0), OP_RECV, 4, 1, OP_RECV, 0, 0,
            PUBLISH4(0)),
    PROGRAM(ON(0, 0, 40), ON(0, 2, 9), ON(0, 3, 8), OP_RECV, 3, 0, OP_RECV, 5, 0, OP_COPY, 3, 255,
            OP_RECV_MANY, 5, 7, 0xff, 9),
    PROGRAM(OP_WAIT, 0, 0x41, OP_WAIT, 4, 3, OP_WAIT, 3, 2, PUBLISH(0, 5, 0), OP_WAIT, 0, 1, OP_SUBSCRIBER_LOOKS, 1, 0),
    PROGRAM(PUBLISH(0, 0, 12), PUBLISH(0, 0, 12), OP_ROOM, 0, 0x87, OP_PUBLISHER_LOOKS, 0, PUBLISH(0, 0, 12),
            OP_RECV, 0, 0, OP_ROOM, 0, 2, PUBLISH(0, 0, 12)),
    PROGRAM(OP_CLAIM, 0, 0x80, 2, 0x82, OP_COMMIT, 0, 0, 2, 0x80, OP_RECV, 0, 0, OP_CLAIM, 0, 9, 0, 0, OP_ABORT, 0,
            OP_COMMIT, 0, 1, 0, 0),
    PROGRAM(OP_STATS, 0, OP_STATS_OF_FILE, 0, OP_STATS, 1, OP_CRASH_SUBSCRIBER, 0, OP_STATS, 0, PUBLISH4(0)),
    PROGRAM(OP_CRASH_PUBLISHER, 0, OP_WAIT, 0, 3, OP_RECV, 0, 0, PUBLISH4(1), OP_RECV, 0, 0, OP_WAIT, 4, 3),
    PROGRAM(OP_CRASH_SUBSCRIBER, 0, OP_CRASH_SUBSCRIBER, 1, PUBLISH4(0), OP_ROOM, 0, 7, PUBLISH4(0), OP_ROOM, 0, 0xc7,
            PUBLISH4(0)),
    PROGRAM(OP_CLOSE_SUBSCRIBER, 0, OP_RECV, 0, 0, OP_FREE_SUBSCRIBER, 0, OP_RECV, 0, 0, OP_DETACH, 1, OP_RECV, 1, 0,
            OP_RECV, 5, 1),
    PROGRAM(BY_NUMBER(0, 1), BY_NUMBER(1, 2), BY_NUMBER(2, 4), OP_RECV, 0, 0, OP_RECV, 2, 0,
            BY_NUMBER(3, 0x45), OP_RECV, 3, 0),
    PROGRAM(OP_CLOSE_PUBLISHER, 0, OP_RECV, 0, 0, OP_RECV, 4, 0, OP_WAIT, 0, 1, OP_FREE_PUBLISHER, 0,
            PUBLISH4(0), OP_UNLINK, 0),
    PROGRAM(ENTER(0, 0x0d), ENTER(1, 0x1d), PUBLISH4(0), PUBLISH4(0), OP_RECV, 0, 0, OP_RECV, 1, 0,
            PUBLISH4(0), OP_RECV, 0, 0),
    PROGRAM(OP_PUBLISH_PIECES, 0, 0, 4, 0x12, OP_PUBLISH_PIECES, 0, 0, 3, 0x97, OP_PUBLISH_PIECES, 0, 5, 0, 4,
            OP_PUBLISH_MANY, 0, 0, 6, 0x29, OP_RECV_MANY, 0, 7, 0xff, 0x3f),
    PROGRAM(OP_FREE_SUBSCRIBER, 0, ENTER(0, 1), PUBLISH4(0), ENTER(1, 0), OP_DETACH, 0, OP_DETACH, 1,
            OP_STATS_OF_FILE, 0,
            PUBLISH4(0)),
    PROGRAM(OP_CLAIM, 0, 40, 0, 0x80, OP_CLAIM, 0, 9, 0, 0x82, PUBLISH(0, 7, 0), OP_COMMIT, 0, 40, 0, 0x80,
            OP_RECV, 4, 0,
            OP_CLAIM, 1, 0, 8, NO_TOPIC, OP_COMMIT, 0, 0, 9, 0, OP_CRASH_PUBLISHER, 0, OP_CLAIM, 1, 0, 3, 1),
            /* two claims */
};

enum { STATES = sizeof states / sizeof states[0], PROGRAMS = sizeof programs / sizeof programs[0] };

static void put_program(const struct program *p) { put(p->bytes, p->n); }

/* With a setup that changes from seed to seed: all policies, all numbers of entries. */
static void begin(size_t i)
{
    static const uint8_t setups[] = { 0x02, 0x44, 0x84, 0xc2, 0x0d, 0x93, 0x60, 0x56, 0xa6, 0x35, 0x80, 0x04, 0x4b };
    seed_bytes = 0;
    put8(setups[i % sizeof setups]);
    put8((uint8_t)(i / 3 % 4));
}

static void honest_ones(void)
{
    for (size_t s = 0; s < STATES; s++) {
        for (size_t i = 0; i < PROGRAMS; i++) {
            begin(s * 5 + i);
            put_program(&states[s]);
            put_program(&programs[i]);
            put_program(&programs[(i + s) % PROGRAMS]);
            keep();
        }
    }
}

/* Segments as they stood after a state: what differs from a new one is written before anybody attaches. */
static void images(void)
{
    static const struct program all_die =
        PROGRAM(OP_CRASH_PUBLISHER, 0, OP_CRASH_PUBLISHER, 1, OP_CRASH_SUBSCRIBER, 0, OP_CRASH_SUBSCRIBER, 1,
                OP_CRASH_SUBSCRIBER, 2, OP_CRASH_SUBSCRIBER, 3, OP_CRASH_SUBSCRIBER, 4, OP_CRASH_SUBSCRIBER, 5);
    static uint8_t fresh[MOST_PAGES << 12], raw[MOST_PAGES << 12];
    for (size_t s = 0; s < STATES; s++) {
        begin(s);
        const uint8_t nothing[2] = { seed[0], seed[1] };
        LLVMFuzzerTestOneInput(nothing, sizeof nothing);
        memcpy(fresh, kernel_raw(), sizeof fresh);
        put_program(&states[s]);
        put_program(&all_die); /* or they would give back what they hold */
        LLVMFuzzerTestOneInput(seed, seed_bytes);
        memcpy(raw, kernel_raw(), sizeof raw);
        begin(s);
        for (size_t at = 0, n; at < sizeof raw; at += n) {
            for (n = 8; at + n < sizeof raw && n < 240 && memcmp(fresh + at + n - 8, raw + at + n - 8, 8) != 0;)
                n += 8;
            if (memcmp(fresh + at, raw + at, n) == 0)
                continue;
            put8(OP_BYTES);
            put8((uint8_t)at);
            put8((uint8_t)(at >> 8));
            put8((uint8_t)n);
            put(raw + at, n);
        }
        put_program(&programs[s % PROGRAMS]);
        put_program(&programs[(s + 5) % PROGRAMS]);
        keep();
    }
}

/* One hostile word, or one in the middle of an operation, or a storm of them. */
static void hostile_ones(void)
{
    for (size_t i = 0; i < 600; i++) {
        const uint8_t pick = (uint8_t)(i * 37), value = (uint8_t)(i * 11 % 0x80), later = (uint8_t)(i % 23);
        begin(i / 2);
        put_program(&states[i % STATES]);
        switch (i % 9) {
        case 0: put8(OP_WORD), put8(pick), put8(value); break;
        case 1: put8(OP_HALF), put8(pick), put8((uint8_t)(i / 8 % 2)), put8(value); break;
        case 2: put8(OP_ENTRY), put8(pick), put8((uint8_t)(i / 8)), put8(value); break;
        case 3: put8(OP_CURSOR), put8(pick), put8(value); break;
        case 4: put8(OP_WORD_LATER), put8(later), put8(pick), put8(value); break;
        case 5: put8(OP_ENTRY_LATER), put8(later), put8(pick), put8((uint8_t)(i / 8)), put8(value); break;
        case 6: put8(OP_LENGTH_LATER), put8(later), put8(value); break;
        case 7: /* at the number that comes next, near the last position */
            put8(OP_MESSAGE), put8(1), put8(3), put8(value), put8((uint8_t)(i / 9)), put8((uint8_t)(i / 45));
            break;
        default: put8(OP_STORM), put8((uint8_t)(i / 8 + 1)); break;
        }
        put_program(&programs[i % PROGRAMS]);
        put_program(&programs[(i / STATES) % PROGRAMS]);
        keep();
    }
    for (uint8_t i = 0; i < 32; i++) { /* a publisher that nobody keeps up with */
        begin(i);
        put_program(&states[i % STATES]);
        put8(OP_LAPS);
        put8(i % 5 == 0 ? i : 1);
        put_program(&programs[i % PROGRAMS]);
        put_program(&programs[(i / 2) % PROGRAMS]);
        keep();
    }
    for (uint8_t i = 0; i < 64; i++) { /* another geometry, for whoever attaches */
        begin(i);
        put8(OP_GEOMETRY);
        put8((uint8_t)(i * 5));
        put8(i / 8);
        put_program(&states[i % STATES]);
        put_program(&programs[12]);
        put_program(&programs[i % PROGRAMS]);
        keep();
    }
}

/* What was found before, and takes more than luck to find again: tests/native/test_multicast_hostile_found.c. */
static void found_ones(void)
{
    /* 2^63 messages, as all words agree, for who publishes next */
    static const uint8_t too_many[] = { 4, 0, PUBLISH(0, 24, 0), OP_CRASH_PUBLISHER, 0,
                                        OP_MESSAGE, 0x80, 0, 0, 0, 0, 0, 0, 0, 0x80, 0, 48, 0, 0, OP_WORD, 0x81, 1,
                                        PUBLISH(0, 24, 0), OP_RECV, 0, 0, PUBLISH(0, 24, 0) };
    /* the position of the last one set back to that of the oldest, when there is room to be made */
    static const uint8_t set_back[] = { 0x86, 0, PUBLISH(0, 24, 0), PUBLISH(0, 24, 0), PUBLISH(0, 24, 0),
                                        PUBLISH(0, 24, 0), PUBLISH(0, 0x88, 0x0f), OP_ENTRY, 0, 1, 0,
                                        PUBLISH(0, 32, 0), PUBLISH(0, 1, 0) };
    seed_bytes = 0;
    put(too_many, sizeof too_many);
    keep();
    seed_bytes = 0;
    put(set_back, sizeof set_back);
    keep();
}

int main(int argc, char **argv)
{
    if (argc != 2) {
        fprintf(stderr, "usage: seeds DIRECTORY\n");
        return 2;
    }
    directory = argv[1];
    honest_ones();
    images();
    hostile_ones();
    found_ones();
    printf("%u seeds\n", written);
    return 0;
}

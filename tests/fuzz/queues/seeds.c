/* seeds.c - the corpus of queues that fuzzing begins with: real segments, made by the core, in every state that traffic
 * and deaths leave, and real programs on them, each with a touch of what a hostile process does.
 *
 *     seeds DIRECTORY
 */
#include "kernel.h"
#include "seeding.h"
#include "target.h"

/* --- states of a segment: programs, run by the target itself ---------------------------------------------------- */

#define PROGRAM(...) { .bytes = { __VA_ARGS__ }, .n = sizeof (const uint8_t[]){ __VA_ARGS__ } }
struct program {
    uint8_t bytes[96], n;
};

#define PUT(who, low, high) OP_PUT, who, low, high, 0
#define PUT4(who) PUT(who, 24, 0), PUT(who, 9, 0), PUT(who, 0, 0), PUT(who, 100, 0)
#define ACK(who) OP_ACK, who, 0

/* As a whole they have every phase, leases of the living and of the dead, lapped and wrapped lanes. */
static const struct program states[] = {
    PROGRAM(OP_COUNTS, 0),
    PROGRAM(PUT(0, 24, 0)),
    PROGRAM(PUT4(0), OP_LEASE, 1, 0, OP_LEASE, 1, 3, OP_LEASE, 0, 0, ACK(0)),
    PROGRAM(PUT4(0), PUT4(1), OP_LEASE_MANY, 2, 0xc3, 0xff, 0x0f, OP_CRASH, 2), /* held by a dead one */
    PROGRAM(PUT4(1), OP_LEASE, 0, 0, OP_NACK, 0, 0, OP_LEASE, 0, 0, OP_NACK, 0, 12, OP_LEASE, 0, 0, OP_KEEP, 0, 0),
    PROGRAM(PUT(0, 0, 8), PUT(0, 0, 4), OP_GET_INTO, 1, 1, OP_GET_INTO, 1, 1, PUT(0, 0, 8), PUT(0, 0, 3),
            OP_LEASE, 1, 0), /* its data wrapped */
    PROGRAM(PUT4(0), OP_GET, 1, 9, OP_GET, 1, 9, PUT4(0), OP_GET, 1, 9, OP_GET, 1, 9, PUT4(0)), /* its slots did */
    PROGRAM(PUT4(0), OP_CRASH, 0, PUT4(0), OP_CRASH, 0), /* producers that died */
    PROGRAM(OP_PUT, 0, 30, 0, 0xd0, OP_PUT, 0, 30, 0, 0xe0, PUT(0, 1, 0), OP_TIME, 4, OP_LEASE, 1, 0), /* expired */
    PROGRAM(PUT4(0), OP_LEASE, 1, 0, OP_BURY, 1, 0, OP_LEASE, 1, 2, OP_TIME, 3, OP_REPAIR, 0, OP_SHUT, 0, 0),
    PROGRAM(OP_PUT_PIECES, 0, 70, 0, 2, OP_PUT_PIECES, 1, 0, 6, 1, OP_PUT_MANY, 2, 60, 0, 5, OP_TASK_DONE, 0, 1),
    PROGRAM(PUT(0, 0, 0x24), OP_GET_INTO, 1, 0, PUT(0, 0, 0x28), OP_LEASE_INTO, 2, 0, PUT(0, 8, 0x20)), /* large ones */
};

static const struct program programs[] = {
    PROGRAM(OP_GET, 1, 9, OP_GET_INTO, 1, 0, OP_GET_INTO, 2, 1, OP_GET, 0, 200, OP_GET, 1, 9),
    PROGRAM(OP_LEASE, 1, 0, OP_COPY, 1, 0, OP_EXTEND, 1, 6, ACK(1), OP_COPY, 1, 0, ACK(1)),
    PROGRAM(OP_LEASE, 0, 2, OP_TIME, 5, OP_REPAIR, 1, OP_LEASE, 1, 0, OP_COPY, 0, 0, ACK(0), ACK(1)),
    PROGRAM(OP_LEASE, 1, 0, OP_NACK, 1, 0, OP_LEASE, 2, 0, OP_NACK, 2, 18, OP_WAIT, 1, 1, OP_TIME, 9, OP_LEASE, 1, 0),
    PROGRAM(OP_LEASE_MANY, 1, 7, 0xff, 0x3f, OP_LEASE_MANY, 2, 0xc7, 30, 0, OP_LEASE_MANY, 1, 0x0b, 0xff, 0x0f),
    PROGRAM(OP_LEASE_INTO, 1, 0, OP_LEASE_INTO, 1, 3, ACK(1), OP_GET_INTO, 0, 0, OP_SPIN, 0, 0),
    PROGRAM(OP_NEXT_KEPT, 1, 0, OP_KEEP, 1, 6, OP_NEXT_KEPT, 1, 0, OP_REQUEUE, 1, 0, OP_LEASE, 0, 0, OP_NEXT_KEPT, 2,
            0x85, OP_BURY, 2, 0),
    PROGRAM(OP_PUT, 0, 0, 12, 0, OP_PUT_MANY, 1, 0, 3, 5, OP_ROOM, 0, 1, OP_GET, 1, 255, OP_ROOM, 1, 2),
    PROGRAM(PUT(0, 40, 0), OP_OUTCOME, 0, 0, OP_GET, 1, 9, OP_OUTCOME, 0, 1, OP_OUTCOME, 0, 0xf0, 5),
    PROGRAM(OP_STATS, 0, OP_STATS_OF_FILE, 0, OP_COUNTS, 1, OP_STATS, 1, OP_PURGE, 0, 0, OP_PURGE, 1, 1, OP_COUNTS, 0),
    PROGRAM(OP_CRASH, 1, OP_REPAIR, 0, OP_CRASH, 0, OP_REPAIR, 2, OP_LEASE, 2, 0, OP_TAKE_LANE, 2, 1, PUT(2, 5, 0)),
    PROGRAM(OP_TASK_DONE, 0, 1, OP_TASK_DONE, 1, 4, OP_JOIN, 0, 1, OP_SHUT, 1, 1, OP_GET, 0, 9, OP_WAIT, 1, 2),
    PROGRAM(OP_LEASE, 1, 0, OP_CLOSE, 1, ACK(1), OP_LEASE, 1, 0, OP_FREE, 1, OP_LEASE, 1, 0, OP_DETACH, 1, OP_LEASE, 2,
            0),
    PROGRAM(OP_FREE, 0, PUT4(1), OP_LEASE, 0, 0, OP_DETACH, 0, OP_DETACH, 1, OP_STATS_OF_FILE, 0, OP_GET, 0, 9),
    PROGRAM(OP_LEASE, 1, 2, OP_REQUEUE, 1, 0, ACK(1), OP_REQUEUE, 1, 0, OP_LEASE_INTO, 1, 0, OP_REQUEUE, 1, 0),
    PROGRAM(OP_WAIT, 0, 1, OP_WAIT, 1, 3, PUT4(2), OP_GET_INTO, 0, 0, OP_TAKE_LANE, 0, 0, PUT4(0), OP_REPAIR, 0),
};

enum { STATES = sizeof states / sizeof states[0], PROGRAMS = sizeof programs / sizeof programs[0] };

static void put_program(const struct program *p) { put(p->bytes, p->n); }

/* With a setup that changes from seed to seed. */
static void begin(size_t i)
{
    static const uint8_t setups[] = { 2, 0x24, 0, 0x62, 0x0d, 0xb2, 5, 0x26 }, options[] = { 0, 5, 0x18, 2, 0x0a, 4, 0x13 };
    seed_bytes = 0;
    put8(setups[i % sizeof setups]);
    put8(options[i % sizeof options]);
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
    static const struct program all_die = PROGRAM(OP_CRASH, 0, OP_CRASH, 1, OP_CRASH, 2);
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
    for (size_t i = 0; i < 480; i++) {
        const uint8_t pick = (uint8_t)(i * 37), value = (uint8_t)(i * 11 % 0x80), later = (uint8_t)(i % 23);
        begin(i);
        put_program(&states[i % STATES]);
        switch (i % 8) {
        case 0: put8(OP_WORD), put8(pick), put8(value); break;
        case 1: put8(OP_HALF), put8(pick), put8((uint8_t)(i / 8 % 2)), put8(value); break;
        case 2: put8(OP_SLOT), put8(pick), put8((uint8_t)(i / 8)), put8(value); break;
        case 3: put8(OP_STATE), put8(pick), put8((uint8_t)(i / 8)), put8(pick), put8(value), put8(0xff); break;
        case 4: put8(OP_WORD_LATER), put8(later), put8(pick), put8(value); break;
        case 5: put8(OP_SLOT_LATER), put8(later), put8(pick), put8((uint8_t)(i / 8)), put8(value); break;
        case 6: put8(OP_LENGTH_LATER), put8(later), put8(value); break;
        default: put8(OP_STORM), put8((uint8_t)(i / 8 + 1)); break;
        }
        put_program(&programs[i % PROGRAMS]);
        put_program(&programs[(i / STATES) % PROGRAMS]);
        keep();
    }
    for (uint8_t i = 0; i < 56; i++) { /* another geometry, for whoever attaches */
        begin(i);
        put8(OP_GEOMETRY);
        put8(i);
        put8(i / 8);
        put_program(&states[i % STATES]);
        put_program(&programs[i % PROGRAMS]);
        keep();
    }
}

/* An input that failed: numbers that began near 2^64 led a message that was taken back to a lane that is not mapped. */
static const uint8_t taken_back_elsewhere[] = {
    0x62, 0x00, 0x0c, 0x01, 0x18, 0x00, 0x00, 0x0c, 0x01, 0x09, 0x00, 0x00, 0x0c, 0x01, 0x00, 0x00, 0x00, 0x0c,
    0x01, 0x64, 0x00, 0x00, 0x12, 0x00, 0x00, 0x1c, 0x00, 0x26, 0x00, 0x0c, 0x00, 0x00, 0x24, 0x00, 0x14, 0x01,
    0x00, 0x0c, 0x00, 0x00, 0x28, 0x00, 0x16, 0x02, 0x00, 0x0c, 0x00, 0x08, 0x20, 0x00, 0x0b, 0x39, 0x0c, 0x00,
    0x00, 0x0c, 0x00, 0x12, 0x00, 0x00, 0x1c, 0x00, 0x0c, 0x12, 0x00, 0x62, 0x05, 0x0c, 0x00, 0x18, 0x00, 0x00,
    0x0c, 0x00, 0x09, 0x00, 0x00, 0x0c, 0x00, 0x00, 0x00, 0x00, 0x0c, 0x00, 0x64, 0x00, 0x00, 0x2b, 0x00, 0x0c,
    0x00, 0x18, 0x00, 0x00, 0x0c, 0x00, 0x09, 0x00, 0x00, 0x0c, 0x00, 0x00, 0x00, 0x00, 0x0c, 0x00, 0x64, 0x00,
    0x00, 0x2b, 0x00, 0x0c, 0x00, 0x28, 0x00, 0x00, 0x11, 0x00, 0x00, 0x13, 0x01, 0x09, 0x11, 0x00, 0x01, 0x11,
    0x00, 0xf0, 0x05, 0x18, 0x00, 0x01, 0xff, 0xff, 0xff, 0x3f, 0x18, 0x01, 0x03, 0x0c, 0x02, 0x18, 0x00, 0x00,
    0x0c, 0x02, 0x09, 0x00, 0x00, 0x0c, 0x02, 0x00, 0x00, 0x00, 0x0c, 0x02, 0x64, 0x00, 0x00, 0x14, 0x00, 0x00,
    0x0f, 0x00, 0x00, 0x0c, 0x00, 0x18, 0x00, 0x00, 0x1f, 0x00, 0x00, 0x18, 0x12, 0x01, 0x00, 0x0c, 0x00, 0x0c,
    0x00, 0x00, 0x00, 0x00, 0x0c, 0x00, 0x64, 0x00, 0x00, 0x2b, 0x00, 0x0c, 0x00, 0x28, 0x00, 0x00, 0x11, 0x00,
    0x00, 0x13, 0x01, 0x09, 0x11, 0x00, 0x01, 0x11, 0x00, 0xf0, 0x05, 0x18, 0x00, 0x00, 0x01, 0xff, 0xff, 0xff,
    0x3f, 0x18, 0x01, 0x03, 0x0c, 0x02, 0x18, 0x00, 0x00, 0x0c, 0x02, 0x09, 0x00, 0x00, 0x00, 0x1c, 0x0c, 0x02,
    0x00, 0x00, 0x00, 0x0c, 0x02, 0x64, 0x00, 0x00, 0x14, 0x00, 0x00, 0x0f, 0x00, 0x00, 0x0c, 0x00, 0x18, 0x00,
    0x00, 0x0c, 0x00, 0x09, 0x00, 0x00, 0x0c, 0x00, 0x00, 0x00, 0x01, 0x00, 0x12, 0x02, 0x00, 0x1c, 0x02, 0x10,
    0x0e, 0x01, 0x00, 0x03, 0x05, 0x10, 0x00, 0x01, 0x13, 0x01, 0xff, 0x10, 0x01, 0x02, 0x16, 0x01, 0x00, 0x16,
    0x01, 0x03, 0x1b, 0x01, 0x00, 0x14, 0x00, 0x00, 0x19, 0x00, 0x00,
};

/* What was found before, and takes more than luck to find again: tests/native/test_queue_hostile.c tells the story. */
static void found_ones(void)
{
    static const uint8_t a_lane_that_was_left[] = { 4, 1, PUT(0, 24, 0), OP_GET, 0, 9, OP_CRASH, 0 };
    static const uint8_t has_come_too_far[] = { OP_WORD, 3, 56, OP_WORD, 4, 56, OP_WORD, 2, 56, /* freed, mark, head: 2^63 */
                                                OP_STATE, 63, 16 | IPCR_ACKED, 0, 1, 0xff, /* and so says the last slot */
                                                OP_SLOT, 63, 1, 70, OP_SLOT, 0, 0, 0 };
    seed_bytes = 0;
    put(a_lane_that_was_left, sizeof a_lane_that_was_left);
    put(has_come_too_far, sizeof has_come_too_far);
    put_program(&states[1]);
    put_program(&programs[0]);
    keep();
    seed_bytes = 0;
    put(taken_back_elsewhere, sizeof taken_back_elsewhere);
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

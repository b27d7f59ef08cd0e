/* test_ring.c - the ring, one thread: sizes, edges, wrap of data and counters, marks, hostile words. */
#include "check.h"
#include "ring.h"

enum { CAPACITY = 4096, MOST = CAPACITY - (int)IPCR_RECORD_HEADER };

struct ring {
    struct ipcr_segment *segment;
    struct ipcr_ring_writer w;
    struct ipcr_ring_reader r;
};

static uint8_t scratch[2 * CAPACITY];
static uint8_t pattern[2 * CAPACITY];

static void reopen(struct ring *ring)
{
    struct ipcr_segment *s = ring->segment;
    CHECK_IS(ipcr_ring_writer_open(&ring->w, s->header, s->data, s->capacity), IPCR_OK);
    CHECK_IS(ipcr_ring_reader_open(&ring->r, s->header, s->data, s->capacity), IPCR_OK);
}

static struct ring new_ring(uint64_t capacity, uint64_t start)
{
    struct ring ring = { .segment = anonymous(capacity, start) };
    reopen(&ring);
    return ring;
}

static void free_ring(struct ring *ring) { ipcr_segment_release(ring->segment); }

/* An empty ring whose next record begins at `position`. */
static void place(struct ring *ring, uint64_t position)
{
    for (int side = 0; side < IPCR_SIDES; side++) {
        struct ipcr_side_marks *marks = &ring->segment->header->marks[side];
        for (int i = 0; i < 2; i++) {
            store_relaxed64(&marks->mark[i].position, position);
            store_relaxed64(&marks->mark[i].sequence, 0);
        }
        store_relaxed64(&ring->segment->header->at[side].position, position);
    }
    reopen(ring);
}

static const uint8_t *pattern_for(uint64_t size, uint64_t offset) { return pattern + (size * 7 + offset) % CAPACITY; }

static void write_one(struct ring *ring, uint64_t size, uint64_t seed)
{
    CHECK_IS(ipcr_ring_try_write(&ring->w, pattern_for(size, seed), size, IPCR_INFO(seed, IPCR_BYTES)), IPCR_OK);
}

static void read_one(struct ring *ring, uint64_t size, uint64_t seed)
{
    uint64_t length = 0, info = 0;
    CHECK_IS(ipcr_ring_try_read(&ring->r, scratch, sizeof scratch, &length, &info), IPCR_OK);
    CHECK_IS(length, size);
    CHECK_IS(IPCR_INFO_TYPE(info), seed);
    CHECK(memcmp(scratch, pattern_for(size, seed), size) == 0);
}

static void check_empty(struct ring *ring)
{
    struct ipcr_record_view view;
    CHECK_IS(ipcr_ring_next(&ring->r, &view), IPCR_EMPTY);
}

/* --- sizes and offsets ---------------------------------------------------------------------------- */

static void every_size_at_every_offset(void)
{
    struct ring ring = new_ring(CAPACITY, 0);
    for (uint64_t offset = 0; offset < CAPACITY; offset += 8) {
        const uint64_t step = FEWER(1, 13);
        place(&ring, offset);
        for (uint64_t size = offset / 8 % step; size <= MOST; size += step) {
            write_one(&ring, size, offset);
            read_one(&ring, size, offset);
            if (size + step > MOST)
                check_empty(&ring);
            place(&ring, offset);
        }
    }
    free_ring(&ring);
}

static void a_record_is_contiguous_where_the_data_wraps(void)
{
    struct ring ring = new_ring(CAPACITY, 0);
    for (uint64_t before_end = 8; before_end <= 512; before_end += 8) {
        place(&ring, CAPACITY - before_end);
        write_one(&ring, 600, 1);
        struct ipcr_record_view view;
        CHECK_IS(ipcr_ring_next(&ring.r, &view), IPCR_OK);
        CHECK(view.payload == ring.segment->data + CAPACITY - before_end + IPCR_RECORD_HEADER);
        CHECK(memcmp(view.payload, pattern_for(600, 1), 600) == 0);
        /* what went over the end stands at the beginning as well: one memory, mapped twice */
        const uint64_t over = 600 + IPCR_RECORD_HEADER - before_end;
        CHECK(memcmp(ring.segment->data, ring.segment->data + CAPACITY, over) == 0);
    }
    free_ring(&ring);
}

/* R26, R28: whatever space is left before the end, no padding is needed and no size is special. */
static void every_residual_space_at_the_end_takes_every_size(void)
{
    struct ring ring = new_ring(CAPACITY, 0);
    for (uint64_t residual = 8; residual <= 128; residual += 8)
        for (uint64_t size = 0; size <= MOST; size += FEWER(1, 5)) {
            place(&ring, UINT64_C(5) * CAPACITY - residual);
            write_one(&ring, size, residual);
            CHECK_IS(ipcr_ring_try_write(&ring.w, pattern, MOST + 1, 0), IPCR_TOO_LARGE);
            read_one(&ring, size, residual);
            check_empty(&ring);
        }
    free_ring(&ring);
}

/* R29: sizes around half of the ring, and around all of it. */
static void sizes_around_half_and_whole_capacity_end_at_every_offset(void)
{
    struct ring ring = new_ring(CAPACITY, 0);
    for (uint64_t offset = 0; offset < CAPACITY; offset += 8 * FEWER(1, 7))
        for (uint64_t size = CAPACITY / 2 - 64; size <= CAPACITY + 64; size += FEWER(3, 29)) {
            place(&ring, UINT64_C(7) * CAPACITY + offset);
            if (size > MOST) {
                CHECK_IS(ipcr_ring_try_write(&ring.w, scratch, size, 0), IPCR_TOO_LARGE);
                check_empty(&ring);
                continue;
            }
            write_one(&ring, size, 1);
            const bool second_fits = 2 * ipcr_record_bytes(size) <= CAPACITY;
            CHECK_IS(ipcr_ring_try_write(&ring.w, pattern_for(size, 2), size, 2), second_fits ? IPCR_OK : IPCR_FULL);
            read_one(&ring, size, 1);
            if (second_fits)
                read_one(&ring, size, 2);
            check_empty(&ring);
        }
    for (uint64_t size = MOST - 64; size <= CAPACITY + 64; size++) {
        place(&ring, 0);
        CHECK_IS(ipcr_ring_try_write(&ring.w, pattern_for(size, 3), size, 3), size <= MOST ? IPCR_OK : IPCR_TOO_LARGE);
    }
    volatile uint64_t absurd = UINT64_MAX; /* volatile: the compiler would see the copy that never happens */
    CHECK_IS(ipcr_ring_try_write(&ring.w, scratch, absurd, 0), IPCR_TOO_LARGE);
    CHECK_IS(ipcr_ring_try_write(&ring.w, scratch, absurd - 22, 0), IPCR_TOO_LARGE);
    free_ring(&ring);
}

static void exactly_as_many_records_fit_as_the_arithmetic_says(void)
{
    struct ring ring = new_ring(CAPACITY, 0);
    for (uint64_t size = 0; size <= MOST; size += FEWER(1, 7)) {
        place(&ring, UINT64_C(3) * CAPACITY + size * 8 % CAPACITY);
        const uint64_t fit = CAPACITY / ipcr_record_bytes(size);
        for (uint64_t i = 0; i < fit; i++)
            write_one(&ring, size, i);
        CHECK_IS(ipcr_ring_try_write(&ring.w, scratch, size, 0), IPCR_FULL);
        for (uint64_t i = 0; i < fit; i++)
            read_one(&ring, size, i);
        check_empty(&ring);
    }
    free_ring(&ring);
}

/* R27: a claim that doesn't fit fails and leaves what is unread alone. */
static void the_last_byte_of_room_is_used_and_not_one_more(void)
{
    struct ring ring = new_ring(CAPACITY, 0);
    uint8_t *payload;
    for (uint64_t taken = 0; taken + IPCR_RECORD_HEADER <= MOST; taken += 8) {
        const uint64_t left = CAPACITY - ipcr_record_bytes(taken);
        place(&ring, UINT64_C(2) * CAPACITY + taken / 3 / 8 * 8);
        write_one(&ring, taken, 1);
        CHECK_IS(ipcr_ring_claim(&ring.w, left - IPCR_RECORD_HEADER + 1, &payload), IPCR_FULL);
        CHECK_IS(ipcr_ring_claim(&ring.w, MOST, &payload), IPCR_FULL);
        CHECK_IS(ipcr_ring_try_write(&ring.w, scratch, left - IPCR_RECORD_HEADER + 1, 0), IPCR_FULL);
        write_one(&ring, left - IPCR_RECORD_HEADER, 2);
        CHECK_IS(ipcr_ring_try_write(&ring.w, NULL, 0, 0), IPCR_FULL);
        CHECK_IS(load_relaxed64(&ring.w.own->position) - load_relaxed64(&ring.r.own->position), CAPACITY);
        read_one(&ring, taken, 1);
        read_one(&ring, left - IPCR_RECORD_HEADER, 2);
        check_empty(&ring);
    }
    free_ring(&ring);
}

static void fewer_than_sixteen_bytes_of_room_are_full_even_for_an_empty_message(void)
{
    struct ring ring = new_ring(CAPACITY, 0);
    write_one(&ring, MOST - 8, 1); /* 8 bytes remain */
    CHECK_IS(ipcr_ring_try_write(&ring.w, NULL, 0, 0), IPCR_FULL);
    read_one(&ring, MOST - 8, 1);
    write_one(&ring, 0, 2);
    read_one(&ring, 0, 2);
    free_ring(&ring);
}

static void a_read_into_too_little_room_leaves_the_record(void)
{
    struct ring ring = new_ring(CAPACITY, 0);
    uint64_t length, info;
    write_one(&ring, 100, 9);
    CHECK_IS(ipcr_ring_try_read(&ring.r, scratch, 99, &length, &info), IPCR_TOO_LARGE);
    CHECK_IS(length, 100);
    CHECK_IS(ipcr_ring_try_read(&ring.r, scratch, 0, &length, &info), IPCR_TOO_LARGE);
    read_one(&ring, 100, 9);
    free_ring(&ring);
}

/* --- counters --------------------------------------------------------------------------------------- */

static void cross(uint64_t boundary)
{
    const uint64_t start = boundary - UINT64_C(20) * CAPACITY - 24;
    struct ring ring = new_ring(CAPACITY, start);
    uint64_t random = boundary + 1, sizes[512], first = 0, next = 0;
    while (load_relaxed64(&ring.r.own->position) - start < UINT64_C(60) * CAPACITY) {
        const uint64_t size = random_next(&random) % (next % 3 == 0 ? MOST + 1 : 200);
        uint8_t *payload;
        const uint64_t used = ring.w.position - ring.r.position;
        const int rc = ipcr_ring_claim(&ring.w, size, &payload);
        CHECK_IS(rc, used + ipcr_record_bytes(size) <= CAPACITY ? IPCR_OK : IPCR_FULL);
        if (rc == IPCR_OK) {
            write_one(&ring, size, next);
            sizes[next++ % 512] = size;
        }
        if (rc != IPCR_OK || random_next(&random) % 4 == 0) {
            CHECK_IS(ring.r.sequence, first);
            read_one(&ring, sizes[first % 512], first);
            first++;
        }
        if (random_next(&random) % 64 == 0)
            reopen(&ring);
        CHECK_IS(ring.w.sequence, next);
    }
    while (first < next) {
        read_one(&ring, sizes[first % 512], first);
        first++;
    }
    check_empty(&ring);
    reopen(&ring);
    free_ring(&ring);
}

static void positions_may_cross_2_to_the_32(void) { cross(UINT64_C(1) << 32); }
static void positions_may_cross_2_to_the_63(void) { cross(UINT64_C(1) << 63); }
static void positions_may_cross_2_to_the_64(void) { cross(0); }

static void a_position_that_is_exactly_zero_again_is_found_by_a_successor(void)
{
    struct ring ring = new_ring(CAPACITY, 0 - UINT64_C(64));
    write_one(&ring, 32, 0); /* 48 */
    reopen(&ring);
    write_one(&ring, 0, 1); /* 16: the write position is 0 now */
    CHECK_IS(load_relaxed64(&ring.w.own->position), 0);
    reopen(&ring);
    CHECK_IS(ring.w.sequence, 2);
    read_one(&ring, 32, 0);
    read_one(&ring, 0, 1);
    reopen(&ring);
    CHECK_IS(ring.r.sequence, 2);
    free_ring(&ring);
}

/* --- batches, claims, marks ------------------------------------------------------------------------- */

static void a_staged_batch_is_published_at_once(void)
{
    struct ring ring = new_ring(CAPACITY, 0);
    for (int round = 0; round < 100; round++) {
        const uint64_t before = load_relaxed64(&ring.w.own->position);
        for (uint64_t i = 0; i < 10; i++) {
            CHECK_IS(ipcr_ring_stage(&ring.w, pattern_for(i * 9, i), i * 9, i), IPCR_OK);
            CHECK_IS(load_relaxed64(&ring.w.own->position), before);
            check_empty(&ring);
        }
        ipcr_ring_publish(&ring.w);
        for (uint64_t i = 0; i < 10; i++)
            read_one(&ring, i * 9, i);
        check_empty(&ring);
    }
    free_ring(&ring);
}

static void a_batch_that_is_never_published_leaves_nothing(void)
{
    struct ring ring = new_ring(CAPACITY, 0);
    write_one(&ring, 50, 1);
    for (int i = 0; i < 20; i++)
        CHECK_IS(ipcr_ring_stage(&ring.w, pattern, 100, 7), IPCR_OK);
    reopen(&ring); /* the writer died here */
    CHECK_IS(ring.w.sequence, 1);
    write_one(&ring, 60, 2);
    read_one(&ring, 50, 1);
    read_one(&ring, 60, 2);
    check_empty(&ring);
    free_ring(&ring);
}

static void a_claim_may_be_staged_shorter_than_it_was_claimed(void)
{
    struct ring ring = new_ring(CAPACITY, 0);
    uint8_t *payload;
    CHECK_IS(ipcr_ring_claim(&ring.w, 1000, &payload), IPCR_OK);
    memset(payload, 0xee, 1000);
    memcpy(payload, pattern_for(41, 5), 41);
    ipcr_ring_stage_claimed(&ring.w, payload, 41, 5);
    check_empty(&ring);
    ipcr_ring_publish(&ring.w);
    CHECK_IS(load_relaxed64(&ring.w.own->position), ipcr_record_bytes(41));
    write_one(&ring, 8, 6);
    read_one(&ring, 41, 5);
    read_one(&ring, 8, 6);
    /* claimed twice without staging: the same place, and nothing visible */
    uint8_t *again;
    CHECK_IS(ipcr_ring_claim(&ring.w, 10, &payload), IPCR_OK);
    CHECK_IS(ipcr_ring_claim(&ring.w, 20, &again), IPCR_OK);
    CHECK(payload == again);
    check_empty(&ring);
    free_ring(&ring);
}

static void space_comes_back_only_with_the_release(void)
{
    struct ring ring = new_ring(CAPACITY, 0);
    struct ipcr_record_view view;
    for (uint64_t i = 0; i < 4; i++)
        write_one(&ring, CAPACITY / 4 - IPCR_RECORD_HEADER, i);
    for (uint64_t i = 0; i < 4; i++) {
        CHECK_IS(ipcr_ring_next(&ring.r, &view), IPCR_OK);
        ipcr_ring_consume(&ring.r, view.length);
        CHECK_IS(ipcr_ring_try_write(&ring.w, NULL, 0, 0), IPCR_FULL);
    }
    ipcr_ring_release(&ring.r);
    write_one(&ring, MOST, 5);
    read_one(&ring, MOST, 5);
    free_ring(&ring);
}

static void a_successor_continues_position_and_sequence_after_any_number_of_publications(void)
{
    struct ring ring = new_ring(CAPACITY, 0);
    uint64_t random = 11, sent = 0, received = 0, sizes[256];
    for (int round = 0; round < FEWER(100000, 20000); round++) {
        const uint64_t batch = random_next(&random) % 4;
        for (uint64_t i = 0; i < batch; i++) {
            const uint64_t size = random_next(&random) % 64;
            if (ipcr_ring_stage(&ring.w, pattern_for(size, sent), size, IPCR_INFO(sent, IPCR_BYTES)) == IPCR_OK)
                sizes[sent++ % 256] = size;
        }
        ipcr_ring_publish(&ring.w); /* of nothing as well */
        for (uint64_t i = random_next(&random) % 5; i > 0 && received < sent; i--) {
            read_one(&ring, sizes[received % 256], received);
            received++;
        }
        if (random_next(&random) % 2 == 0) {
            const struct ipcr_ring_writer w = ring.w;
            const struct ipcr_ring_reader r = ring.r;
            reopen(&ring);
            CHECK_IS(ring.w.position, w.position);
            CHECK_IS(ring.w.bytes, w.bytes);
            CHECK_IS(ring.r.position, r.position);
            CHECK_IS(ring.r.bytes, r.bytes);
        }
        CHECK_IS(ring.w.sequence, sent);
        CHECK_IS(ring.r.sequence, received);
    }
    free_ring(&ring);
}

/* Every place where ipcr_side_move can be cut off; the successor sees the state before, or after. */
static void a_publication_cut_off_anywhere_is_all_or_nothing(void)
{
    struct ring ring = new_ring(CAPACITY, 0);
    uint64_t sequence = 0, position = 0;
    for (int round = 0; round < 64; round++) {
        for (int cut = 0; cut < 5; cut++) {
            CHECK_IS(ipcr_ring_stage(&ring.w, pattern_for(24, sequence), 24, IPCR_INFO(sequence, IPCR_BYTES)),
                     IPCR_OK);
            struct ipcr_mark *mark = &ring.w.marks->mark[ring.w.next_mark];
            if (cut > 0)
                store_release64(&mark->position, ring.w.position);
            if (cut > 1)
                store_release64(&mark->sequence, ring.w.sequence);
            if (cut > 2)
                store_release64(&mark->bytes, ring.w.bytes);
            if (cut > 3) {
                store_release64(&ring.w.own->position, ring.w.position);
                position += ipcr_record_bytes(24);
                sequence++;
            }
            reopen(&ring);
            CHECK_IS(ring.w.sequence, sequence);
            CHECK_IS(ring.w.position, position);
            CHECK_IS(ring.w.bytes, sequence * 24);
        }
        read_one(&ring, 24, sequence - 1);
        check_empty(&ring);
    }
    free_ring(&ring);
}

static void the_high_water_mark_is_the_largest_backlog_seen(void)
{
    struct ring ring = new_ring(CAPACITY, 0);
    for (uint64_t i = 0; i < 10; i++)
        write_one(&ring, 84, i); /* 104 each */
    for (uint64_t i = 0; i < 10; i++)
        read_one(&ring, 84, i);
    CHECK_IS(load_relaxed64(&ring.segment->header->signals[IPCR_RECEIVER].high_water), 1040);
    write_one(&ring, 8, 1);
    read_one(&ring, 8, 1);
    CHECK_IS(load_relaxed64(&ring.segment->header->signals[IPCR_RECEIVER].high_water), 1040);
    free_ring(&ring);
}

/* --- hostile words ---------------------------------------------------------------------------------- */

static void a_write_position_that_breaks_the_invariants_is_corrupt(void)
{
    struct ring ring = new_ring(CAPACITY, 0);
    const uint64_t bad[] = { 1, 4, 7, 12, CAPACITY + 8, CAPACITY + 1, UINT64_C(1) << 32, UINT64_C(1) << 63,
                             UINT64_MAX, UINT64_MAX - 7, 0 - UINT64_C(8), 8 /* less than a header */ };
    struct ipcr_record_view view;
    struct ipcr_ring_writer w;
    struct ipcr_ring_reader r;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        place(&ring, 0);
        store_relaxed64(&ring.w.own->position, bad[i]);
        CHECK_IS(ipcr_ring_next(&ring.r, &view), IPCR_CORRUPT);
        CHECK_IS(ipcr_ring_next(&ring.r, &view), IPCR_CORRUPT);
        CHECK_IS(ipcr_ring_writer_open(&w, ring.segment->header, ring.segment->data, CAPACITY), IPCR_CORRUPT);
        if (bad[i] != 8)
            CHECK_IS(ipcr_ring_reader_open(&r, ring.segment->header, ring.segment->data, CAPACITY), IPCR_CORRUPT);
    }
    free_ring(&ring);
}

static void a_read_position_that_breaks_the_invariants_is_corrupt(void)
{
    struct ring ring = new_ring(CAPACITY, 0);
    struct ipcr_ring_writer w;
    struct ipcr_ring_reader r;
    uint8_t *payload;
    const uint64_t base = UINT64_C(10) * CAPACITY;
    const uint64_t bad[] = { base + 8, base + CAPACITY, base - CAPACITY - 8, base - 1, base - 4, 0, UINT64_MAX,
                             UINT64_C(1) << 63 };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        place(&ring, base);
        ring.w.cached_read = base - CAPACITY; /* seen full: look again */
        store_relaxed64(&ring.r.own->position, bad[i]);
        CHECK_IS(ipcr_ring_claim(&ring.w, 8, &payload), IPCR_CORRUPT);
        CHECK_IS(ipcr_ring_claim(&ring.w, 8, &payload), IPCR_CORRUPT);
        CHECK_IS(ipcr_ring_writer_open(&w, ring.segment->header, ring.segment->data, CAPACITY), IPCR_CORRUPT);
        CHECK_IS(ipcr_ring_reader_open(&r, ring.segment->header, ring.segment->data, CAPACITY), IPCR_CORRUPT);
    }
    free_ring(&ring);
}

static void a_side_without_a_mark_for_its_position_is_corrupt(void)
{
    struct ring ring = new_ring(CAPACITY, 0);
    struct ipcr_ring_writer w;
    struct ipcr_ring_reader r;
    write_one(&ring, 100, 1);
    for (int i = 0; i < 2; i++) {
        store_relaxed64(&ring.w.marks->mark[i].position, 4);
        store_relaxed64(&ring.r.marks->mark[i].position, UINT64_MAX);
    }
    CHECK_IS(ipcr_ring_writer_open(&w, ring.segment->header, ring.segment->data, CAPACITY), IPCR_CORRUPT);
    CHECK_IS(ipcr_ring_reader_open(&r, ring.segment->header, ring.segment->data, CAPACITY), IPCR_CORRUPT);
    free_ring(&ring);
}

static void a_record_longer_than_what_was_published_is_corrupt(void)
{
    struct ring ring = new_ring(CAPACITY, 0);
    struct ipcr_record_view view;
    for (uint64_t offset = 0; offset < CAPACITY; offset += 8) {
        const uint64_t bad[] = { 105, 106, 112, 200, CAPACITY, CAPACITY - 16, UINT64_MAX, UINT64_MAX - 15,
                                 UINT64_MAX - 7, UINT64_C(1) << 63, (UINT64_C(1) << 63) - 16 };
        for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
            place(&ring, UINT64_C(3) * CAPACITY + offset);
            write_one(&ring, 104, 1);
            struct ipcr_record *record = (struct ipcr_record *)(void *)(ring.segment->data + offset);
            store_relaxed64(&record->length, bad[i]);
            CHECK_IS(ipcr_ring_next(&ring.r, &view), IPCR_CORRUPT);
            store_relaxed64(&record->length, 104);
            read_one(&ring, 104, 1);
        }
    }
    free_ring(&ring);
}

/* Anything at all in the words and in the data: results stay in bounds, and every call ends. */
static void random_garbage_never_leads_out_of_bounds(void)
{
    struct ring ring = new_ring(CAPACITY, 0);
    struct ipcr_header *header = ring.segment->header;
    const uint8_t *data = ring.segment->data;
    uint64_t random = 3, seen[5] = { 0 };
    for (int round = 0; round < FEWER(400000, 60000); round++) {
        const uint64_t base = random_next(&random) & ~UINT64_C(7);
        place(&ring, base);
        for (int i = 0; i < 32; i++) { /* headers that are now plausible, now not */
            const uint64_t value = random_next(&random) >> (random_next(&random) % 64);
            memcpy(ring.segment->data + (random_next(&random) % CAPACITY & ~UINT64_C(7)), &value, sizeof value);
        }
        for (int i = 0; i < 12; i++) {
            const uint64_t value = random_next(&random) % 3 == 0 ? random_next(&random)
                                                                 : base + random_next(&random) % (CAPACITY + 64);
            store_relaxed64(&header->at[random_next(&random) & 1].position,
                            random_next(&random) % 8 == 0 ? value : value & ~UINT64_C(7));
            struct ipcr_record_view view;
            uint8_t *payload;
            const int rc = ipcr_ring_next(&ring.r, &view);
            CHECK(rc == IPCR_OK || rc == IPCR_EMPTY || rc == IPCR_CORRUPT);
            seen[-rc]++;
            if (rc == IPCR_OK) {
                CHECK(view.payload >= data + IPCR_RECORD_HEADER);
                CHECK(view.length <= MOST);
                CHECK(view.payload + view.length <= data + UINT64_C(2) * CAPACITY);
                memcpy(scratch, view.payload, view.length);
                ipcr_ring_consume(&ring.r, view.length);
                ipcr_ring_release(&ring.r);
            }
            const uint64_t size = random_next(&random) % (CAPACITY + 32);
            const int wrote = ipcr_ring_claim(&ring.w, size, &payload);
            CHECK(wrote == IPCR_OK || wrote == IPCR_FULL || wrote == IPCR_TOO_LARGE || wrote == IPCR_CORRUPT);
            if (wrote == IPCR_OK) {
                CHECK(payload >= data + IPCR_RECORD_HEADER && payload + size <= data + UINT64_C(2) * CAPACITY);
                memset(payload, (int)(size & 0xff), size);
                ipcr_ring_stage_claimed(&ring.w, payload, size, 0);
            }
            struct ipcr_ring_writer w;
            struct ipcr_ring_reader r;
            (void)ipcr_ring_writer_open(&w, header, ring.segment->data, CAPACITY);
            (void)ipcr_ring_reader_open(&r, header, ring.segment->data, CAPACITY);
        }
    }
    CHECK(seen[-IPCR_OK] > 1000 && seen[-IPCR_EMPTY] > 0 && seen[-IPCR_CORRUPT] > 1000); /* all were met */
    free_ring(&ring);
}

int main(void)
{
    check_begin();
    stamp(pattern, sizeof pattern, 42);
    run("every size at every offset comes out as it went in", every_size_at_every_offset);
    run("a record is contiguous where the data wraps", a_record_is_contiguous_where_the_data_wraps);
    run("every residual space at the end takes every size", every_residual_space_at_the_end_takes_every_size);
    run("sizes around half and whole capacity end, at every offset",
        sizes_around_half_and_whole_capacity_end_at_every_offset);
    run("exactly as many records fit as the arithmetic says", exactly_as_many_records_fit_as_the_arithmetic_says);
    run("the last byte of room is used, and not one more", the_last_byte_of_room_is_used_and_not_one_more);
    run("fewer than sixteen bytes of room are full even for an empty message",
        fewer_than_sixteen_bytes_of_room_are_full_even_for_an_empty_message);
    run("a read into too little room leaves the record", a_read_into_too_little_room_leaves_the_record);
    run("positions may cross 2^32", positions_may_cross_2_to_the_32);
    run("positions may cross 2^63", positions_may_cross_2_to_the_63);
    run("positions may cross 2^64", positions_may_cross_2_to_the_64);
    run("a position that is exactly zero again is found by a successor",
        a_position_that_is_exactly_zero_again_is_found_by_a_successor);
    run("a staged batch is published at once", a_staged_batch_is_published_at_once);
    run("a batch that is never published leaves nothing", a_batch_that_is_never_published_leaves_nothing);
    run("a claim may be staged shorter than it was claimed", a_claim_may_be_staged_shorter_than_it_was_claimed);
    run("space comes back only with the release", space_comes_back_only_with_the_release);
    run("a successor continues position and sequence after any number of publications",
        a_successor_continues_position_and_sequence_after_any_number_of_publications);
    run("a publication cut off anywhere is all or nothing", a_publication_cut_off_anywhere_is_all_or_nothing);
    run("the high-water mark is the largest backlog seen", the_high_water_mark_is_the_largest_backlog_seen);
    run("a write position that breaks the invariants is corrupt",
        a_write_position_that_breaks_the_invariants_is_corrupt);
    run("a read position that breaks the invariants is corrupt",
        a_read_position_that_breaks_the_invariants_is_corrupt);
    run("a side without a mark for its position is corrupt", a_side_without_a_mark_for_its_position_is_corrupt);
    run("a record longer than what was published is corrupt", a_record_longer_than_what_was_published_is_corrupt);
    run("random garbage never leads out of bounds", random_garbage_never_leads_out_of_bounds);
    return check_finish();
}

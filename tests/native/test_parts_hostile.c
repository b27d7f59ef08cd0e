/* test_parts_hostile.c - a peer that writes nonsense where messages come in parts: every word of it ends in a named
 * status, and is never believed twice. */
#include "messages.h"

#include <pthread.h>

enum { WHOLE = IPCR_WHOLE, FIRST = IPCR_FIRST, MIDDLE = IPCR_MIDDLE, LAST = IPCR_LAST };

/* What a sender may write into a record. */
struct written {
    uint64_t part;
    uint64_t length;
    uint64_t total; /* first part only */
};

static void write_record(struct ipcr_end *w, const struct written *what)
{
    uint8_t *payload;
    const uint64_t info = IPCR_INFO_OF_PART(IPCR_INFO(5, IPCR_PICKLE), what->part);
    CHECK_IS(ipcr_ring_claim(&w->writer, what->length, &payload), IPCR_OK);
    memset(payload, 'p', what->length);
    memcpy(payload, &what->total, what->part == FIRST && what->length >= 8 ? 8 : 0);
    ipcr_ring_stage_claimed(&w->writer, payload, what->length, info);
    ipcr_ring_publish(&w->writer);
}

static struct ipcr_record *record_at(const struct ipcr_segment *s, uint64_t position)
{
    return (struct ipcr_record *)(void *)(s->data + (position & (s->capacity - 1)));
}

/* Take messages until something else comes up: that is returned.  Into memory of just their length. */
static int64_t take_all(struct ipcr_end *r, uint64_t *messages)
{
    for (;;) {
        int64_t rc = data_until(r, 0);
        if (rc == IPCR_IN_PARTS)
            rc = ipcr_parts_begin(r);
        else if (rc == IPCR_OK)
            rc = ipcr_peek(r);
        if (rc < 0)
            return rc;
        const uint64_t length = LENGTH_OF(rc), room = length < 65536 ? length : 65536;
        uint8_t *out = malloc(room + 1);
        CHECK(out != NULL);
        if (ipcr_end_is_lent(r)) {
            CHECK(length <= ipcr_max_length(r->reader.capacity));
            copy_out(out, (const uint8_t *)ipcr_lent(r), length);
            rc = ipcr_release(r);
        } else {
            rc = read_until(r, room == length ? out : NULL, 0, length, 0);
        }
        free(out);
        if (rc != IPCR_OK)
            return rc;
        (*messages)++;
    }
}

static void check_stays_corrupt(struct ipcr_end *r)
{
    char none;
    int64_t result;
    CHECK_IS(ipcr_recv(r, &none), IPCR_CORRUPT);
    CHECK_IS(ipcr_recv_many(r, &none, 0, &result, 1, true, &run_start), IPCR_CORRUPT);
    CHECK_IS(ipcr_parts_begin(r), IPCR_CORRUPT);
    CHECK_IS(read_until(r, &none, 0, 1, IPCR_FOREVER), IPCR_CORRUPT);
}

static const struct {
    struct written records[4];
    uint64_t count;
    uint64_t messages;
    int64_t then;
} stories[] = {
    /* first parts whose message is no longer than they are, absurdly long, or without a length */
    { { { FIRST, 108, 0 } }, 1, 0, IPCR_CORRUPT },
    { { { FIRST, 108, 99 } }, 1, 0, IPCR_CORRUPT },
    { { { FIRST, 108, 100 } }, 1, 0, IPCR_CORRUPT },
    { { { FIRST, 108, IPCR_MOST_IN_PARTS } }, 1, 0, IPCR_CORRUPT },
    { { { FIRST, 108, UINT64_C(1) << 63 } }, 1, 0, IPCR_CORRUPT },
    { { { FIRST, 108, UINT64_MAX } }, 1, 0, IPCR_CORRUPT },
    { { { FIRST, 0, 0 } }, 1, 0, IPCR_CORRUPT },
    { { { FIRST, 7, 0 } }, 1, 0, IPCR_CORRUPT },
    { { { FIRST, 8, 100 } }, 1, 0, IPCR_CORRUPT },
    { { { FIRST, 108, IPCR_MOST_IN_PARTS - 1 } }, 1, 0, IPCR_EMPTY }, /* allowed: what is done is the caller's */
    { { { FIRST, 9, 2 }, { LAST, 1, 0 } }, 2, 1, IPCR_EMPTY },
    /* parts that are longer than what is left, or empty, or last too early or too late */
    { { { FIRST, 108, 300 }, { MIDDLE, 0, 0 } }, 2, 0, IPCR_CORRUPT },
    { { { FIRST, 108, 300 }, { LAST, 0, 0 } }, 2, 0, IPCR_CORRUPT },
    { { { FIRST, 108, 300 }, { LAST, 199, 0 } }, 2, 0, IPCR_CORRUPT },
    { { { FIRST, 108, 300 }, { LAST, 201, 0 } }, 2, 0, IPCR_CORRUPT },
    { { { FIRST, 108, 300 }, { MIDDLE, 200, 0 } }, 2, 0, IPCR_CORRUPT },
    { { { FIRST, 108, 300 }, { MIDDLE, 201, 0 } }, 2, 0, IPCR_CORRUPT },
    { { { FIRST, 108, 300 }, { MIDDLE, 100, 0 }, { MIDDLE, 100, 0 } }, 3, 0, IPCR_CORRUPT },
    { { { FIRST, 108, 300 }, { MIDDLE, 100, 0 }, { LAST, 100, 0 } }, 3, 1, IPCR_EMPTY },
    /* kinds that there are not */
    { { { 4, 100, 0 } }, 1, 0, IPCR_CORRUPT },
    { { { 1 << 23, 100, 0 } }, 1, 0, IPCR_CORRUPT },
    { { { FIRST, 108, 300 }, { 4, 100, 0 } }, 2, 0, IPCR_CORRUPT },
    { { { FIRST, 108, 300 }, { 0xffffff, 200, 0 } }, 2, 0, IPCR_CORRUPT },
    /* out of sequence */
    { { { FIRST, 108, 300 }, { FIRST, 108, 300 } }, 2, 0, IPCR_GIVEN_UP },
    { { { FIRST, 108, 300 }, { WHOLE, 100, 0 } }, 2, 0, IPCR_GIVEN_UP },
    { { { MIDDLE, 100, 0 } }, 1, 0, IPCR_EMPTY },
    { { { LAST, 100, 0 }, { MIDDLE, 0, 0 }, { LAST, 0, 0 }, { WHOLE, 100, 0 } }, 4, 1, IPCR_EMPTY },
    { { { MIDDLE, 100, 0 }, { FIRST, 108, 300 }, { LAST, 200, 0 } }, 3, 1, IPCR_EMPTY },
    { { { MIDDLE, 100, 0 }, { 5, 100, 0 } }, 2, 0, IPCR_CORRUPT },
    { { { MIDDLE, 100, 0 }, { FIRST, 8, 300 } }, 2, 0, IPCR_CORRUPT },
};

static void parts_that_tell_no_story_end_in_a_named_status(void)
{
    for (size_t i = 0; i < sizeof stories / sizeof stories[0]; i++) {
        struct ends p = ends_at(SMALLEST, i % 2 == 0 ? 0 : 0 - UINT64_C(64));
        uint64_t messages = 0;
        for (uint64_t n = 0; n < stories[i].count; n++)
            write_record(p.w, &stories[i].records[n]);
        const int64_t then = take_all(p.r, &messages);
        if (then != stories[i].then || messages != stories[i].messages)
            printf("story %zu\n", i);
        CHECK_IS(then, stories[i].then);
        CHECK_IS(messages, stories[i].messages);
        if (then == IPCR_CORRUPT)
            check_stays_corrupt(p.r);
        ends_finish(&p);
    }
}

/* A length of `n` bytes is what the word says; the ring ends before. */
static void a_part_longer_than_what_was_published_is_corrupt(void)
{
    static const uint64_t lies[] = { 101,        104,       2 * SMALLEST, UINT64_C(1) << 46, UINT64_C(1) << 63,
                                     UINT64_MAX, UINT64_MAX - 15 };
    for (size_t lie = 0; lie < sizeof lies / sizeof lies[0]; lie++) {
        for (uint64_t part = FIRST; part <= LAST; part++) {
            for (int begun = 0; begun < 2; begun++) {
                struct ends p = ends_at(SMALLEST, 0);
                uint64_t messages = 0;
                if (begun)
                    write_record(p.w, &(struct written){ FIRST, 108, 300 });
                const uint64_t at = p.w->writer.position;
                write_record(p.w, &(struct written){ part, 96, 300 });
                store_relaxed64(&record_at(p.segment, at)->length, lies[lie]);
                CHECK_IS(take_all(p.r, &messages), IPCR_CORRUPT);
                CHECK_IS(messages, 0);
                check_stays_corrupt(p.r);
                ends_finish(&p);
            }
        }
    }
}

static void a_part_that_was_checked_is_not_believed_again(void)
{
    struct ends p = ends_at(SMALLEST, 0);
    uint8_t out[300];
    write_record(p.w, &(struct written){ FIRST, 108, 300 });
    CHECK(ipcr_parts_begin(p.r) > 0);
    const uint64_t huge = UINT64_MAX;
    memcpy((uint8_t *)record_at(p.segment, 0) + IPCR_RECORD_HEADER, &huge, 8); /* the message's length */
    store_relaxed64(&record_at(p.segment, 0)->length, UINT64_MAX);
    CHECK_IS(read_until(p.r, out, 0, 50, IPCR_FOREVER), IPCR_OK);
    store_relaxed64(&record_at(p.segment, 0)->info, UINT64_MAX);
    CHECK_IS(read_until(p.r, out + 50, 50, 100, IPCR_FOREVER), IPCR_OK);
    CHECK_IS(position_of(p.segment, IPCR_RECEIVER), 128);
    write_record(p.w, &(struct written){ LAST, 200, 0 });
    CHECK_IS(read_until(p.r, out, 0, 101, IPCR_FOREVER), IPCR_OK);
    store_relaxed64(&record_at(p.segment, 128)->length, 0);
    store_relaxed64(&record_at(p.segment, 128)->info, IPCR_INFO_OF_PART(0, MIDDLE));
    CHECK_IS(read_until(p.r, out, 0, 301, IPCR_FOREVER), IPCR_TOO_LARGE);
    CHECK_IS(read_until(p.r, out, 0, 300, IPCR_FOREVER), IPCR_OK);
    CHECK_IS(position_of(p.segment, IPCR_RECEIVER), 128 + 216);
    CHECK_IS(ipcr_recv(p.r, NULL), IPCR_EMPTY);
    ends_finish(&p);
}

static void a_write_position_that_jumps_in_the_middle_is_corrupt(void)
{
    static const uint64_t jumps[] = { 0, 64, 8, 127, 129, 128 + SMALLEST + 8, UINT64_MAX, UINT64_C(1) << 63 };
    for (size_t i = 0; i < sizeof jumps / sizeof jumps[0]; i++) {
        struct ends p = ends_at(SMALLEST, 0);
        uint64_t messages = 0;
        write_record(p.w, &(struct written){ FIRST, 108, 300 });
        CHECK_IS(take_all(p.r, &messages), IPCR_EMPTY); /* has it all, and wants more */
        CHECK_IS(ipcr_parts_done(p.r), 100);
        store_release64(&p.segment->header->at[IPCR_SENDER].position, jumps[i]);
        CHECK_IS(read_until(p.r, NULL, 100, 300, IPCR_FOREVER), IPCR_CORRUPT);
        check_stays_corrupt(p.r);
        ends_finish(&p);
    }
}

static void a_sender_survives_a_receiver_that_writes_nonsense(void)
{
    static uint8_t message[3 * SMALLEST];
    static const uint64_t reads[] = { 4, 8, 3 * SMALLEST, UINT64_MAX, 0 - (uint64_t)SMALLEST, 2049 };
    const struct ipcr_piece piece = { .data = (const char *)message, .length = 3 * SMALLEST };
    const struct ipcr_piece fits = { .data = (const char *)message, .length = 2000 };
    for (size_t i = 0; i < sizeof reads / sizeof reads[0]; i++) {
        for (int all = 0; all < 2; all++) {
            struct ends p = ends_at(SMALLEST, 0);
            const struct ipcr_piece *what = all ? &fits : &piece; /* waits for the last part to be taken, or for room */
            CHECK_IS(ipcr_send_parts_wait(p.w, what, 1, 0, IPCR_FOREVER, 0), IPCR_AGAIN);
            store_release64(&p.segment->header->at[IPCR_RECEIVER].position, reads[i]);
            CHECK_IS(ipcr_send_parts_wait(p.w, what, 1, 0, 0, 1), reads[i] == 8 ? IPCR_FULL : IPCR_CORRUPT);
            store_release64(&p.segment->header->at[IPCR_RECEIVER].position, 0);
            ends_finish(&p);
        }
    }
}

static void a_lie_about_what_was_thrown_away_costs_no_more_than_a_message(void)
{
    static uint8_t message[2000];
    const struct ipcr_piece piece = { .data = (const char *)message, .length = sizeof message };
    for (uint64_t lie = 0; lie < 3; lie++) {
        struct ends p = ends_at(SMALLEST, 0);
        uint8_t out[2000];
        CHECK_IS(ipcr_send_parts_wait(p.w, &piece, 1, 0, IPCR_FOREVER, 0), IPCR_AGAIN);
        const uint64_t words[] = { p.w->writer.position, p.w->writer.position + 8, UINT64_MAX };
        store_release64(&p.segment->header->marks[IPCR_RECEIVER].thrown_away, words[lie]);
        CHECK_IS(ipcr_send_parts_wait(p.w, &piece, 1, 0, IPCR_FOREVER, 1), IPCR_AGAIN);
        CHECK_IS(recv_any(p.r, out, sizeof out, IPCR_FOREVER), sizeof out);
        CHECK_IS(ipcr_send_parts_wait(p.w, &piece, 1, 0, IPCR_FOREVER, 1), lie == 0 ? IPCR_PEER_DIED : IPCR_OK);
        CHECK_IS(send_stamped(p.w, 10, 1), IPCR_OK);
        check_receives_stamped(p.r, 10, 1);
        ends_finish(&p);
    }
}

/* --- words flipped at random ---------------------------------------------------------------------------------- */

static uint64_t nonsense(uint64_t *random)
{
    const uint64_t n = random_next(random);
    static const uint64_t favourites[] = { 0, 1, 8, 16, 100, 1008, 4080, 4096, 4112, 8192, UINT64_MAX };
    switch (n % 4) {
    case 0:
        return favourites[n / 4 % (sizeof favourites / sizeof favourites[0])];
    case 1:
        return IPCR_INFO_OF_PART(IPCR_INFO(1, n / 16 % 4), n / 64 % 6);
    case 2:
        return n / 4 % 9000;
    default:
        return n;
    }
}

static void flip_a_word(const struct ends *p, uint64_t *random)
{
    struct ipcr_header *h = p->segment->header;
    struct ipcr_record *next = record_at(p->segment, position_of(p->segment, IPCR_RECEIVER));
    const uint64_t n = random_next(random), at = random_next(random) % (SMALLEST / 8);
    if (n % 16 == 0)
        store_release64(&h->at[IPCR_SENDER].position, position_of(p->segment, IPCR_SENDER) + nonsense(random) % 5000);
    else if (n % 16 == 1)
        store_release32(&h->signals[IPCR_SENDER].end_state, (uint32_t)nonsense(random));
    else if (n % 2 == 0)
        store_relaxed64(n / 16 % 2 == 0 ? &next->length : &next->info, nonsense(random));
    else
        store_relaxed64((ipcr_word64 *)(void *)p->segment->data + at, nonsense(random));
}

static void send_something(struct ipcr_end *w, uint64_t *random)
{
    static char source[8192];
    const uint64_t n = random_next(random), length = n / 8 % (n % 3 == 0 ? 3000 : 50);
    const struct ipcr_piece piece = { .data = source, .length = length };
    const uint64_t info = IPCR_INFO(0, n / 8192 % 3);
    if (length > SMALLEST / 4)
        (void)send_parts_until(w, &piece, 1, info, 0); /* given up: wherever the room ends */
    else
        (void)ipcr_send_pieces(w, &piece, 1, info);
}

/* Something that a receiver may do, with memory of just the size that it says. */
static int64_t receive_something(struct ipcr_end *r, uint64_t *random)
{
    const uint64_t n = random_next(random), room = n / 8 % 5000;
    char *out = malloc(room + 1), *small = malloc(IPCR_SMALL);
    const char *payload = NULL;
    int64_t results[8], rc;
    CHECK(out != NULL && small != NULL);
    switch (n % 8) {
    case 0:
        rc = ipcr_recv(r, small);
        break;
    case 1:
        rc = ipcr_recv_many(r, out, room, results, 8, n / 65536 % 2, &run_start);
        for (int64_t i = 0, used = 0; i < rc; i++)
            CHECK((uint64_t)(used += (int64_t)LENGTH_OF(results[i])) <= room);
        break;
    case 2:
        rc = ipcr_skip(r, r->reader.position, n / 8 % 3);
        break;
    case 3:
        rc = ipcr_reading_begin(r, &payload);
        if (rc < 0)
            break;
        for (int more = 0; rc >= 0 && more < 4; more++) {
            copy_out(small, (const uint8_t *)payload, LENGTH_OF(rc) % IPCR_SMALL);
            rc = ipcr_reading_next(r, &payload);
        }
        ipcr_reading_end(r, rc >= 0);
        break;
    case 4:
        rc = ipcr_peek(r);
        break;
    case 5:
        rc = ipcr_parts_begin(r);
        break;
    default:
        rc = ipcr_parts_done(r) > 0 ? (int64_t)ipcr_parts_done(r) : 0;
        rc = read_until(r, n % 2 == 0 ? out : NULL, (uint64_t)rc, (uint64_t)rc + room, 0);
    }
    if (ipcr_end_is_lent(r)) {
        CHECK(r->lent_length <= ipcr_max_length(SMALLEST));
        for (uint64_t i = 0; i < r->lent_length; i += 64)
            (void)*(volatile char *)(ipcr_lent(r) + i);
        CHECK_IS(ipcr_release(r), IPCR_OK);
    }
    free(out);
    free(small);
    return rc;
}

static void words_flipped_at_random_end_in_a_named_status(void)
{
    uint64_t random = 2024, corrupt = 0;
    for (int round = 0; round < FEWER(4000, 600); round++) {
        struct ends p = ends_at(SMALLEST, random_next(&random) & ~UINT64_C(7));
        int64_t rc = IPCR_OK;
        for (int step = 0; step < 100 && rc != IPCR_CORRUPT && rc != IPCR_END_OF_CHANNEL; step++) {
            send_something(p.w, &random);
            if (random_next(&random) % 4 == 0)
                flip_a_word(&p, &random);
            rc = receive_something(p.r, &random);
            CHECK(rc >= IPCR_GIVEN_UP);
            CHECK(ipcr_parts_done(p.r) < IPCR_MOST_IN_PARTS);
        }
        corrupt += rc == IPCR_CORRUPT;
        ends_finish(&p);
    }
    CHECK(corrupt > 100);
}

/* --- parts without a beginning where nobody has died ---------------------------------------------------------- */

/* What was looked at and stays is not given back to the sender because of what stands behind it.  Otherwise the
 * receiver steps back behind the position that it has released, where more may be `there` than the ring holds, and
 * reads beyond the mapping. */
static void parts_behind_a_message_that_stays_do_not_release_it(void)
{
    struct ends p = ends_at(SMALLEST, SMALLEST - IPCR_RECORD_HEADER);
    char out[64];
    int64_t results[4];
    const uint64_t start = p.segment->start_position;
    write_record(p.w, &(struct written){ WHOLE, 0, 0 }); /* a pickle: stays until it was decoded */
    write_record(p.w, &(struct written){ MIDDLE, SMALLEST - 32, 0 });
    CHECK_IS(data_until(p.r, IPCR_FOREVER), IPCR_OK); /* knows of one ring full */
    store_release64(&p.segment->header->at[IPCR_SENDER].position, start + 2 * SMALLEST);
    CHECK_IS(ipcr_recv_many(p.r, out, sizeof out, results, 4, true, &run_start), 1);
    CHECK_IS(position_of(p.segment, IPCR_RECEIVER), start);
    store_relaxed64(&record_at(p.segment, start)->length, 2 * SMALLEST - IPCR_RECORD_HEADER);
    const int64_t again = ipcr_peek(p.r);
    CHECK(again < 0 || LENGTH_OF(again) <= ipcr_max_length(SMALLEST));
    ends_finish(&p);
}

static const uint64_t MOST_AT_ONCE = UINT64_C(12) << 20, FLOOD = UINT64_C(60) << 20; /* bytes thrown away */
static ipcr_word32 flood_runs, flood_over;

static void *flood(void *arg)
{
    const struct ipcr_segment *s = arg;
    for (uint64_t read = 0; load_acquire32(&flood_over) == 0 && read < FLOOD;) {
        read = position_of(s, IPCR_RECEIVER);
        store_release64(&s->header->at[IPCR_SENDER].position, read + SMALLEST);
        store_release32(&flood_runs, 1);
    }
    return NULL;
}

/* A try is a try: it comes back although there is always more to throw away. */
static void a_flood_of_parts_without_a_beginning_does_not_keep_a_receiver(void)
{
    struct ends p = ends_at(SMALLEST, 0);
    char out[64];
    pthread_t sender;
    for (uint64_t at = 0; at < SMALLEST; at += 128)
        write_record(p.w, &(struct written){ MIDDLE, 128 - IPCR_RECORD_HEADER, 0 });
    CHECK(pthread_create(&sender, NULL, flood, p.segment) == 0);
    while (load_acquire32(&flood_runs) == 0)
        sched_yield();
    for (uint64_t before = 0; before < FLOOD; before = position_of(p.segment, IPCR_RECEIVER)) {
        sched_yield();
        const int64_t rc = ipcr_recv(p.r, out);
        CHECK(rc == IPCR_EMPTY || rc == IPCR_AGAIN);
        CHECK(position_of(p.segment, IPCR_RECEIVER) - before <= MOST_AT_ONCE);
    }
    store_release32(&flood_over, 1);
    CHECK(pthread_join(sender, NULL) == 0);
    ends_finish(&p);
}

int main(void)
{
    check_begin();
    run("parts that tell no story end in a named status", parts_that_tell_no_story_end_in_a_named_status);
    run("a part longer than what was published is corrupt", a_part_longer_than_what_was_published_is_corrupt);
    run("a part that was checked is not believed again", a_part_that_was_checked_is_not_believed_again);
    run("a write position that jumps in the middle is corrupt", a_write_position_that_jumps_in_the_middle_is_corrupt);
    run("a sender survives a receiver that writes nonsense", a_sender_survives_a_receiver_that_writes_nonsense);
    run("a lie about what was thrown away costs no more than a message",
        a_lie_about_what_was_thrown_away_costs_no_more_than_a_message);
    run("words flipped at random end in a named status", words_flipped_at_random_end_in_a_named_status);
    run("parts behind a message that stays do not release it", parts_behind_a_message_that_stays_do_not_release_it);
    run("a flood of parts without a beginning does not keep a receiver",
        a_flood_of_parts_without_a_beginning_does_not_keep_a_receiver);
    return check_finish();
}

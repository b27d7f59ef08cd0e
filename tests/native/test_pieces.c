/* test_pieces.c - one message made of pieces: where they stand, at every skew of the ring's position. */
#include "messages.h"

enum { MOST_OF_A_MESSAGE = 16384, COUNT = 7, SKEWS = 8 };

static char source[MOST_OF_A_MESSAGE], out[IPCR_SMALL];

/* Pieces that stand end to end in `source`, which differs everywhere. */
static void cut(struct ipcr_piece *pieces, const uint64_t *lengths, uint64_t count)
{
    const char *at = source;
    for (uint64_t i = 0; i < count; at += lengths[i++])
        pieces[i] = (struct ipcr_piece){ .data = at, .length = lengths[i] };
    CHECK(at <= source + sizeof source);
}

/* The payload at an address that is `skew` behind a multiple of 64: each piece where it should be, and its end
 * where the last one ends. */
static void check_stands(const char *payload, uint64_t length, uint64_t skew, const struct ipcr_piece *pieces,
                         uint64_t count)
{
    uint64_t at = 0;
    for (uint64_t i = 0; i < count; i++) {
        while (i > 0 && (skew + at) % 64 != 0)
            at++;
        CHECK(at + pieces[i].length <= length);
        CHECK(pieces[i].length == 0 || memcmp(payload + at, pieces[i].data, pieces[i].length) == 0);
        at += pieces[i].length;
    }
    CHECK_IS(length, at);
}

static void check_arrives(struct ipcr_end *r, uint64_t info, const struct ipcr_piece *pieces, uint64_t count)
{
    const int64_t result = ipcr_peek(r);
    CHECK(result >= 0);
    const uint64_t skew = (uint64_t)(uintptr_t)ipcr_lent(r) % 64;
    CHECK_IS(ipcr_lent_skew(r), skew);
    CHECK_IS(ENCODING_OF(result), IPCR_INFO_ENCODING(info));
    CHECK_IS(SKEW_OF(result), IPCR_INFO_ENCODING(info) == IPCR_BYTES ? 0 : skew);
    CHECK_IS(ipcr_last_info(r), info);
    check_stands(ipcr_lent(r), LENGTH_OF(result), skew, pieces, count);
    CHECK_IS(ipcr_release(r), IPCR_OK);
}

static const uint64_t lengths_of[][COUNT] = {
    { 100, 200, 300, 1, 7, 64, 65 }, { 0, 1, 0, 64, 128, 0, 63 }, { 48, 64, 64, 64, 64, 64, 64 },
    { 1, 1, 1, 1, 1, 1, 0 },         { 0, 0, 0, 0, 0, 0, 0 },     { 64, 0, 0, 1000, 0, 0, 5 },
};
enum { SETS = sizeof lengths_of / sizeof lengths_of[0] };

static const uint64_t starts[] = {
    0, SMALLEST - 64, (UINT64_C(1) << 32) - 64, (UINT64_C(1) << 32) - 1024, 0 - UINT64_C(64), 0 - UINT64_C(1024),
};
enum { STARTS = sizeof starts / sizeof starts[0] };

static void every_piece_but_the_first_begins_at_a_multiple_of_64_at_every_skew(void)
{
    const uint64_t info = IPCR_INFO(77, IPCR_PICKLE_BUFFERS);
    uint64_t seen = 0; /* one bit for each skew */
    for (uint64_t n = 0; n < STARTS * SKEWS; n++) {
        struct ends p = ends_at(SMALLEST, starts[n / SKEWS] + n % SKEWS * 8);
        for (int set = 0; set < SETS; set++) {
            for (uint64_t count = 1; count <= COUNT; count++) {
                struct ipcr_piece pieces[COUNT];
                cut(pieces, lengths_of[set], count);
                seen |= UINT64_C(1) << ipcr_skew_at(p.w->writer.position) / 8;
                CHECK_IS(ipcr_send_pieces(p.w, pieces, count, info), IPCR_OK);
                check_arrives(p.r, info, pieces, count);
            }
        }
        ends_finish(&p);
    }
    CHECK_IS(seen, 0xff);
}

static void a_result_tells_encoding_and_skew_but_for_raw_bytes_the_length_alone(void)
{
    for (uint32_t encoding = 0; encoding < 256; encoding++) {
        for (uint64_t skew = 0; skew < 64; skew += 8) {
            struct ends p = ends_at(SMALLEST, skew - IPCR_RECORD_HEADER);
            const struct ipcr_piece pieces[] = { { .data = source, .length = 5 }, { .data = source, .length = 9 } };
            const uint64_t second = 64 - skew; /* where it begins */
            CHECK_IS(ipcr_send_pieces(p.w, pieces, 2, IPCR_INFO(0, encoding)), IPCR_OK);
            const int64_t result = ipcr_recv(p.r, out);
            CHECK_IS(result, encoding == IPCR_BYTES
                                 ? second + 9
                                 : (second + 9) | (uint64_t)encoding << 48 | skew / 8 << 56);
            check_stands(out, second + 9, skew, pieces, 2);
            ends_finish(&p);
        }
    }
}

static void a_message_without_pieces_is_empty(void)
{
    struct ends p = ends_at(SMALLEST, 8);
    char nothing[1] = { 'n' };
    CHECK_IS(ipcr_send_pieces(p.w, NULL, 0, 0), IPCR_OK);
    CHECK_IS(ipcr_recv(p.r, nothing), 0);
    CHECK_IS(nothing[0], 'n');
    CHECK_IS(ipcr_recv(p.r, nothing), IPCR_EMPTY);
    ends_finish(&p);
}

/* The gaps count: what fits at one position doesn't at another. */
static void whether_pieces_fit_depends_on_the_skew(void)
{
    const uint64_t room = SMALLEST - IPCR_RECORD_HEADER;
    for (uint64_t skew = 0; skew < 64; skew += 8) {
        struct ends p = ends_at(SMALLEST, skew - IPCR_RECORD_HEADER);
        const uint64_t gap = 64 - skew - 1;
        struct ipcr_piece pieces[] = { { .data = source, .length = 1 },
                                       { .data = source + 1, .length = room - 1 - gap } };
        CHECK_IS(ipcr_send_pieces(p.w, pieces, 2, 0), IPCR_OK); /* to the last byte */
        CHECK_IS(ipcr_send_pieces(p.w, pieces, 1, 0), IPCR_FULL);
        check_arrives(p.r, 0, pieces, 2);
        pieces[1].length++;
        CHECK_IS(ipcr_send_pieces(p.w, pieces, 2, 0), IPCR_TOO_LARGE);
        CHECK_IS(send_until(p.w, pieces, 2, 0, IPCR_FOREVER), IPCR_TOO_LARGE);
        CHECK_IS(ipcr_recv(p.r, out), IPCR_EMPTY);
        ends_finish(&p);
    }
}

static void a_wait_is_for_room_for_all_pieces(void)
{
    struct ends p = ends_at(SMALLEST, 0);
    const struct ipcr_piece pieces[] = { { .data = source, .length = 100 }, { .data = source, .length = 2000 } };
    for (int i = 0; i < 4; i++)
        CHECK_IS(ipcr_send(p.w, source, 1000, 0), IPCR_OK); /* 1016 each: 32 are left */
    CHECK_IS(ipcr_send_pieces(p.w, pieces, 2, 9), IPCR_FULL);
    for (int taken_already = 0; taken_already < 3; taken_already++) { /* 2160 are needed, header and gap among them */
        CHECK_IS(send_until(p.w, pieces, 2, 9, taken_already == 0 ? 0 : in_ms(1)), IPCR_FULL);
        CHECK_IS(recv_any(p.r, out, sizeof out, 0), 1000);
    }
    CHECK_IS(send_until(p.w, pieces, 2, 9, IPCR_FOREVER), IPCR_OK);
    CHECK_IS(recv_any(p.r, out, sizeof out, 0), 1000);
    check_arrives(p.r, 9, pieces, 2);
    CHECK_IS(ipcr_last_sequence(p.r), 4);
    ends_finish(&p);
}

static void pieces_are_refused_while_room_is_lent(void)
{
    struct ends p = ends_at(SMALLEST, 0);
    const struct ipcr_piece pieces[] = { { .data = source, .length = 10 }, { .data = source, .length = 2000 } };
    CHECK_IS(ipcr_claim(p.w, 8), IPCR_OK);
    CHECK_IS(ipcr_send_pieces(p.w, pieces, 2, 0), IPCR_LENT);
    CHECK_IS(send_until(p.w, pieces, 2, 0, IPCR_FOREVER), IPCR_LENT);
    CHECK_IS(send_parts_until(p.w, pieces, 2, 0, IPCR_FOREVER), IPCR_LENT);
    CHECK_IS(ipcr_abort(p.w), IPCR_OK);
    CHECK_IS(ipcr_send_pieces(p.w, pieces, 2, 0), IPCR_OK);
    check_arrives(p.r, 0, pieces, 2);
    ends_finish(&p);
}

/* Whatever [from, from + n) is asked for: what parts are made of. */
static void any_stretch_of_a_message_can_be_copied(void)
{
    uint8_t whole[2048], part[2048];
    uint64_t random = 11;
    for (uint64_t round = 0; round < FEWER(20000, 3000); round++) {
        const uint64_t skew = round % 8 * 8, count = random_next(&random) % (COUNT + 1);
        uint64_t lengths[COUNT];
        struct ipcr_piece pieces[COUNT];
        for (uint64_t i = 0; i < count; i++)
            lengths[i] = random_next(&random) % (round % 3 == 0 ? 3 : 200);
        cut(pieces, lengths, count);
        const uint64_t length = ipcr_pieces_length(pieces, count, skew);
        memset(whole, 0xee, sizeof whole);
        ipcr_pieces_copy(whole, pieces, count, skew, 0, length);
        check_stands((const char *)whole, length, skew, pieces, count);
        const uint64_t from = random_next(&random) % (length + 1), n = random_next(&random) % (length - from + 1);
        memset(part, 0xee, sizeof part);
        ipcr_pieces_copy(part + 8, pieces, count, skew, from, n);
        CHECK(memcmp(part + 8, whole + from, n) == 0);
        for (int i = 0; i < 8; i++)
            CHECK(part[i] == 0xee && part[8 + n + (uint64_t)i] == 0xee);
    }
}

int main(void)
{
    check_begin();
    stamp((uint8_t *)source, sizeof source, 1);
    run("every piece but the first begins at a multiple of 64, at every skew",
        every_piece_but_the_first_begins_at_a_multiple_of_64_at_every_skew);
    run("a result tells encoding and skew, but for raw bytes the length alone",
        a_result_tells_encoding_and_skew_but_for_raw_bytes_the_length_alone);
    run("a message without pieces is empty", a_message_without_pieces_is_empty);
    run("whether pieces fit depends on the skew", whether_pieces_fit_depends_on_the_skew);
    run("a wait is for room for all pieces", a_wait_is_for_room_for_all_pieces);
    run("pieces are refused while room is lent", pieces_are_refused_while_room_is_lent);
    run("any stretch of a message can be copied", any_stretch_of_a_message_can_be_copied);
    return check_finish();
}

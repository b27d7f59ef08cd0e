/* test_parts.c - messages larger than the ring, step by step: both ends in one thread, so that each step stands
 * where the test says.  Four parts fill the smallest ring; a sender that must wait comes back after a slice. */
#include "messages.h"
#include "stats.h"

enum {
    FOUR_PARTS = FIRST_PART + 3 * MOST_IN_PART,
    LONG = 3 * FOUR_PARTS,
};

static uint8_t message[LONG], out[LONG];

static struct ipcr_piece stamped(uint64_t length, uint64_t seed)
{
    stamp(message, length, seed);
    return (struct ipcr_piece){ .data = (const char *)message, .length = length };
}

static const uint64_t INFO = IPCR_INFO(31, IPCR_PICKLE);

/* Everything that fits, and then a slice of waiting for the rest. */
static int send_slice(struct ipcr_end *w, struct ipcr_piece piece, int resume)
{
    return ipcr_send_parts_wait(w, &piece, 1, INFO, IPCR_FOREVER, resume);
}

/* The same, given up. */
static void send_in_vain(struct ipcr_end *w, uint64_t length, uint64_t seed)
{
    const struct ipcr_piece piece = stamped(length, seed);
    CHECK_IS(send_parts_until(w, &piece, 1, INFO, in_ms(1)), IPCR_FULL);
}

static void check_begins(struct ipcr_end *r, uint64_t length)
{
    CHECK_IS(ipcr_parts_begin(r), (int64_t)length | (int64_t)IPCR_PICKLE << IPCR_RESULT_ENCODING_SHIFT);
    CHECK_IS(ipcr_last_info(r) & ((UINT64_C(1) << 40) - 1), INFO);
}

static void check_whole_follows(struct ipcr_end *r, uint64_t length, uint64_t seed, uint64_t sequence)
{
    check_receives_stamped(r, length, seed);
    CHECK_IS(ipcr_last_sequence(r), sequence);
    CHECK_IS(ipcr_parts_done(r), 0);
}

/* --- sending -------------------------------------------------------------------------------------------------- */

static void what_is_not_even_two_parts_does_not_go_in_parts(void)
{
    struct ends p = ends_at(SMALLEST, 0);
    struct ipcr_piece piece = stamped(SMALLEST / 4, 1);
    CHECK_IS(ipcr_send_parts_wait(p.w, &piece, 1, 0, IPCR_FOREVER, 0), IPCR_TOO_LARGE);
    CHECK_IS(ipcr_send_parts_wait(p.w, NULL, 0, 0, IPCR_FOREVER, 0), IPCR_TOO_LARGE);
    CHECK_IS(position_of(p.segment, IPCR_SENDER), 0);
    CHECK_IS(send_stamped(p.w, 10, 2), IPCR_OK); /* the end is idle */
    piece = stamped(SMALLEST / 4 + 1, 1);
    CHECK_IS(send_parts_until(p.w, &piece, 1, 0, 0), IPCR_FULL); /* two parts, and given up */
    check_receives_stamped(p.r, 10, 2);
    check_receives_stamped(p.r, SMALLEST / 4 + 1, 1);
    ends_finish(&p);
}

static void a_sender_returns_once_the_last_part_was_taken(void)
{
    struct ends p = ends_at(SMALLEST, 0);
    const struct ipcr_piece piece = stamped(FOUR_PARTS, 1);
    CHECK_IS(send_slice(p.w, piece, 0), IPCR_AGAIN);
    CHECK_IS(ipcr_send(p.w, "x", 1, 0), IPCR_BUSY); /* between slices */
    check_begins(p.r, FOUR_PARTS);
    CHECK_IS(read_until(p.r, out, 0, FOUR_PARTS - 1, IPCR_FOREVER), IPCR_OK);
    CHECK_IS(send_slice(p.w, piece, 1), IPCR_AGAIN);
    CHECK_IS(read_until(p.r, out + FOUR_PARTS - 1, FOUR_PARTS - 1, FOUR_PARTS, IPCR_FOREVER), IPCR_OK);
    CHECK_IS(send_slice(p.w, piece, 1), IPCR_OK);
    CHECK(is_stamped(out, FOUR_PARTS, 1));
    CHECK_IS(ipcr_recv(p.r, (char *)out), IPCR_EMPTY);
    ends_finish(&p);
}

/* Room for `parts` of a message only: a whole one stands before it. */
static uint64_t leave_room_for(struct ipcr_end *w, uint64_t parts)
{
    const uint64_t length = SMALLEST - parts * (SMALLEST / 4) - IPCR_RECORD_HEADER;
    const struct ipcr_piece piece = stamped(length, 99);
    CHECK_IS(ipcr_send_pieces(w, &piece, 1, 0), IPCR_OK);
    return length;
}

/* `parts` of a message go, then its sender gives up and sends one of `next` bytes.  Meanwhile the receiver has
 * read `reads` bytes; then it asks for the rest, or (`asks_anew`) for the next message. */
static void check_dropped(uint64_t parts, uint64_t reads, uint64_t next, bool asks_anew)
{
    struct ends p = ends_at(SMALLEST, 0 - (uint64_t)SMALLEST);
    const uint64_t before = leave_room_for(p.w, parts), there = FIRST_PART + (parts - 1) * MOST_IN_PART;
    if (asks_anew || parts > 1) {
        send_in_vain(p.w, LONG, 1);
    } else { /* by a signal, not by a deadline */
        CHECK_IS(send_slice(p.w, stamped(LONG, 1), 0), IPCR_AGAIN);
        ipcr_stop_waiting(p.w);
    }
    check_whole_follows(p.r, before, 99, 0);
    if (reads > 0) {
        check_begins(p.r, LONG);
        CHECK_IS(read_until(p.r, out, 0, reads, IPCR_FOREVER), IPCR_OK);
        CHECK(is_stamped(out, reads - reads % 8, 1));
        CHECK_IS(read_until(p.r, out, reads, LONG, in_ms(1)), IPCR_EMPTY);
        CHECK_IS(ipcr_parts_done(p.r), there);
    }
    if (next <= SMALLEST / 4)
        CHECK_IS(send_stamped(p.w, next, 2), IPCR_OK);
    else
        send_in_vain(p.w, next, 2); /* all of it is there; nobody waits until it is taken */
    if (reads == 0) /* only now does the receiver see it */
        check_begins(p.r, LONG);
    if (reads == 0 || !asks_anew) {
        CHECK_IS(read_until(p.r, out, 0, LONG, IPCR_FOREVER), IPCR_GIVEN_UP);
        CHECK_IS(read_until(p.r, out, 0, LONG, IPCR_FOREVER), IPCR_GIVEN_UP);
        CHECK_IS(ipcr_parts_done(p.r), 0);
    }
    check_whole_follows(p.r, next, 2, 1); /* the number is used again */
    CHECK_IS(ipcr_recv(p.r, (char *)out), IPCR_EMPTY);
    ends_finish(&p);
}

static void what_was_given_up_is_dropped_when_anything_else_comes(void)
{
    for (uint64_t parts = 1; parts < 3; parts++) {
        for (int asks_anew = 0; asks_anew < 2; asks_anew++) {
            for (uint64_t next = 100; next < 1100; next += SMALLEST / 4 - 90) { /* whole, and in parts */
                check_dropped(parts, 0, next, asks_anew);
                check_dropped(parts, 500, next, asks_anew);
                check_dropped(parts, FIRST_PART + (parts - 1) * MOST_IN_PART, next, asks_anew);
            }
        }
    }
}

static void what_was_given_up_behind_its_last_part_may_still_be_taken(void)
{
    struct ends p = ends_at(SMALLEST, 0);
    send_in_vain(p.w, FOUR_PARTS, 1);
    check_whole_follows(p.r, FOUR_PARTS, 1, 0);
    CHECK_IS(send_stamped(p.w, 100, 2), IPCR_OK);
    check_whole_follows(p.r, 100, 2, 1);
    ends_finish(&p);
}

static void a_sender_learns_that_the_receiver_closed_in_the_middle(void)
{
    for (int all = 0; all < 2; all++) {
        struct ends p = ends_at(SMALLEST, 0);
        const struct ipcr_piece piece = stamped(FOUR_PARTS, 1);
        CHECK_IS(send_slice(p.w, piece, 0), IPCR_AGAIN);
        check_begins(p.r, FOUR_PARTS);
        CHECK_IS(read_until(p.r, out, 0, FOUR_PARTS - !all, IPCR_FOREVER), IPCR_OK);
        finish(p.r, true);
        CHECK_IS(send_slice(p.w, piece, 1), all ? IPCR_OK : IPCR_END_OF_CHANNEL); /* taken is taken */
        CHECK_IS(send_parts_until(p.w, &piece, 1, 0, IPCR_FOREVER), IPCR_END_OF_CHANNEL);
        finish(p.w, true);
        ipcr_segment_release(p.segment);
    }
}

/* --- receiving ------------------------------------------------------------------------------------------------ */

static void every_receiving_call_says_that_a_message_comes_in_parts(void)
{
    struct ends p = ends_at(SMALLEST, 0);
    const char *payload;
    int64_t results[4];
    struct ipcr_inbox inbox = { .end = p.r };
    CHECK_IS(ipcr_parts_begin(p.r), IPCR_EMPTY);
    CHECK_IS(read_until(p.r, out, 0, 1, IPCR_FOREVER), IPCR_GIVEN_UP);
    send_in_vain(p.w, FOUR_PARTS, 1);
    CHECK_IS(ipcr_recv(p.r, (char *)out), IPCR_IN_PARTS);
    CHECK_IS(ipcr_recv_into(&inbox), IPCR_IN_PARTS);
    CHECK_IS(ipcr_try_recv_into(&inbox), IPCR_IN_PARTS);
    CHECK_IS(ipcr_recv_wait(p.r, (char *)out, IPCR_FOREVER, 0), IPCR_IN_PARTS);
    CHECK_IS(ipcr_data_wait(p.r, IPCR_FOREVER, 0), IPCR_IN_PARTS);
    CHECK_IS(ipcr_peek(p.r), IPCR_IN_PARTS);
    CHECK_IS(ipcr_recv_many(p.r, (char *)out, sizeof out, results, 4, true, &run_start), IPCR_IN_PARTS);
    CHECK_IS(ipcr_reading_begin(p.r, &payload), IPCR_IN_PARTS);
    CHECK_IS(ipcr_skip(p.r, p.r->reader.position, 1), IPCR_IN_PARTS);
    CHECK(!ipcr_end_is_lent(p.r));
    CHECK_IS(position_of(p.segment, IPCR_RECEIVER), 0);
    CHECK_IS(read_until(p.r, out, 0, 1, IPCR_FOREVER), IPCR_GIVEN_UP); /* not begun */
    check_whole_follows(p.r, FOUR_PARTS, 1, 0);
    CHECK_IS(ipcr_parts_begin(p.r), IPCR_EMPTY);
    CHECK_IS(send_stamped(p.w, 10, 2), IPCR_OK);
    CHECK_IS(ipcr_parts_begin(p.r), IPCR_GIVEN_UP); /* nothing in parts */
    check_whole_follows(p.r, 10, 2, 1);
    ends_finish(&p);
}

static void a_message_is_read_in_steps_of_any_size_some_of_them_nowhere(void)
{
    uint64_t random = 3;
    for (int round = 0; round < 60; round++) {
        struct ends p = ends_at(SMALLEST, (uint64_t)round * 8);
        const uint64_t length = FOUR_PARTS - random_next(&random) % 2500, most = round < 20 ? 30 : 1500;
        send_in_vain(p.w, length, 1);
        memset(out, 0, sizeof out);
        for (uint64_t done = 0; done < length;) {
            const uint64_t here = random_next(&random) % most, n = here < length - done ? here : length - done;
            const uint64_t from = round % 2 == 0 ? done : 0; /* the whole buffer, or the rest of it */
            uint8_t *to = n % 5 == 4 ? NULL : out + from;
            check_begins(p.r, length); /* may be called again, wherever we stand */
            CHECK_IS(ipcr_parts_done(p.r), done);
            if (done > 0) {
                CHECK_IS(ipcr_recv(p.r, (char *)out), IPCR_IN_PARTS);
                CHECK_IS(ipcr_parts_read(p.r, (char *)out, done + 1, done + 2, IPCR_FOREVER, 0), IPCR_TOO_LARGE);
            }
            CHECK_IS(ipcr_parts_read(p.r, (char *)out, done, length + 1, IPCR_FOREVER, 0), IPCR_TOO_LARGE);
            CHECK_IS(read_until(p.r, to, from, done + n, IPCR_FOREVER), IPCR_OK);
            CHECK(memcmp(out + done, message + done, n) == 0 || to == NULL);
            done += n;
        }
        CHECK_IS(ipcr_parts_done(p.r), 0);
        CHECK_IS(ipcr_recv(p.r, (char *)out), IPCR_EMPTY);
        ends_finish(&p);
    }
}

static void a_receiver_that_runs_into_its_deadline_goes_on_where_it_was(void)
{
    struct ends p = ends_at(SMALLEST, (UINT64_C(1) << 32) - 2048);
    const struct ipcr_piece piece = stamped(LONG, 1);
    int rc = send_slice(p.w, piece, 0);
    CHECK_IS(data_until(p.r, IPCR_FOREVER), IPCR_IN_PARTS);
    check_begins(p.r, LONG);
    for (uint64_t there = FOUR_PARTS; there < LONG; there += 4 * MOST_IN_PART) {
        CHECK_IS(rc, IPCR_AGAIN);
        CHECK_IS(read_until(p.r, out, 0, LONG, 0), IPCR_EMPTY);
        CHECK_IS(ipcr_parts_done(p.r), there);
        CHECK_IS(read_until(p.r, out, 0, LONG, in_ms(1)), IPCR_EMPTY);
        CHECK_IS(ipcr_recv(p.r, NULL), IPCR_EMPTY); /* neither is there another message */
        CHECK_IS(ipcr_parts_begin(p.r), IPCR_EMPTY);
        CHECK_IS(ipcr_parts_done(p.r), there);
        rc = send_slice(p.w, piece, 1);
    }
    CHECK_IS(read_until(p.r, out, 0, LONG, IPCR_FOREVER), IPCR_OK);
    CHECK(is_stamped(out, LONG, 1));
    CHECK_IS(send_slice(p.w, piece, 1), IPCR_OK);
    ends_finish(&p);
}

static void a_receiver_learns_that_the_sender_closed_or_died_in_the_middle(void)
{
    for (int way = 0; way < 4; way++) {
        const bool clean = way % 2 == 0, begun = way < 2;
        struct ends p = ends_at(SMALLEST, 0);
        CHECK_IS(send_slice(p.w, stamped(LONG, 1), 0), IPCR_AGAIN);
        if (begun) {
            check_begins(p.r, LONG);
            CHECK_IS(read_until(p.r, out, 0, 1500, IPCR_FOREVER), IPCR_OK);
        }
        finish(p.w, clean);
        check_begins(p.r, LONG); /* what was published comes first */
        CHECK_IS(read_until(p.r, out, 0, LONG, IPCR_FOREVER), clean ? IPCR_END_OF_CHANNEL : IPCR_PEER_DIED);
        CHECK_IS(ipcr_parts_done(p.r), FOUR_PARTS);
        CHECK(begun || is_stamped(out, FOUR_PARTS - FOUR_PARTS % 8, 1));
        CHECK_IS(ipcr_recv(p.r, NULL), clean ? IPCR_END_OF_CHANNEL : IPCR_EMPTY);
        if (!clean) {
            CHECK_IS(read_until(p.r, out, 0, LONG, in_ms(1)), IPCR_PEER_DIED); /* still so */
            p.w = taken(p.segment, IPCR_SENDER);
            CHECK_IS(read_until(p.r, out, 0, LONG, in_ms(1)), IPCR_EMPTY);
            CHECK_IS(send_stamped(p.w, 10, 2), IPCR_OK);
            CHECK_IS(read_until(p.r, out, 0, LONG, IPCR_FOREVER), IPCR_GIVEN_UP);
            check_whole_follows(p.r, 10, 2, 0);
            finish(p.w, true);
        }
        finish(p.r, true);
        ipcr_segment_release(p.segment);
    }
}

/* --- successors ----------------------------------------------------------------------------------------------- */

static uint64_t thrown_away(const struct ends *p)
{
    return load_acquire64(&p->segment->header->marks[IPCR_RECEIVER].thrown_away);
}

static void a_successor_of_the_receiver_gets_whole_messages_only(void)
{
    for (uint64_t released = 0; released < 4; released++) {
        for (int half = 0; half < 2; half++) {
            struct ends p = ends_at(SMALLEST, 0 - (uint64_t)SMALLEST);
            const struct ipcr_piece piece = stamped(FOUR_PARTS, 1);
            CHECK_IS(send_slice(p.w, piece, 0), IPCR_AGAIN);
            check_begins(p.r, FOUR_PARTS);
            const uint64_t reads = released == 0 ? 0 : FIRST_PART + (released - 1) * MOST_IN_PART;
            CHECK_IS(read_until(p.r, out, 0, reads + (half ? 500 : 0), IPCR_FOREVER), IPCR_OK);
            CHECK_IS(position_of(p.segment, IPCR_RECEIVER) + SMALLEST, released * (SMALLEST / 4));
            replace(p.segment, &p.r);
            if (released == 0) { /* nothing is missing */
                check_whole_follows(p.r, FOUR_PARTS, 1, 0);
                CHECK_IS(send_slice(p.w, piece, 1), IPCR_OK);
                CHECK_IS(thrown_away(&p), IPCR_NOWHERE);
            } else {
                CHECK_IS(ipcr_recv(p.r, (char *)out), IPCR_EMPTY);
                CHECK_IS(ipcr_parts_begin(p.r), IPCR_EMPTY);
                CHECK_IS(thrown_away(&p), p.w->writer.position);
                CHECK_IS(send_slice(p.w, piece, 1), IPCR_PEER_DIED); /* although the successor lives */
                CHECK_IS(ipcr_end_peer_pid(p.w), 0);
            }
            CHECK_IS(send_stamped(p.w, 10, 2), IPCR_OK); /* goes on, from one to the other */
            check_whole_follows(p.r, 10, 2, 1);
            ends_finish(&p);
        }
    }
}

static void what_one_successor_throws_away_in_part_the_next_throws_away_whole(void)
{
    struct ends p = ends_at(SMALLEST, 0);
    send_in_vain(p.w, LONG, 1); /* four parts of it */
    check_begins(p.r, LONG);
    CHECK_IS(read_until(p.r, out, 0, FIRST_PART, IPCR_FOREVER), IPCR_OK);
    for (int successor = 0; successor < 3; successor++) {
        replace(p.segment, &p.r);
        CHECK_IS(data_until(p.r, successor == 0 ? 0 : in_ms(1)), IPCR_EMPTY);
        CHECK_IS(position_of(p.segment, IPCR_RECEIVER), SMALLEST);
        CHECK_IS(thrown_away(&p), IPCR_NOWHERE); /* no last part */
    }
    send_in_vain(p.w, FOUR_PARTS, 2); /* begins where others ended */
    check_whole_follows(p.r, FOUR_PARTS, 2, 0);
    ends_finish(&p);
}

static void whatever_looks_first_throws_parts_without_a_beginning_away(void)
{
    for (int way = 0; way < 6; way++) {
        struct ends p = ends_at(SMALLEST, 0);
        const char *payload = NULL;
        int64_t results[4];
        send_in_vain(p.w, 2 * MOST_IN_PART, 1); /* three parts, the last one short */
        CHECK_IS(send_stamped(p.w, 10, 2), IPCR_OK);
        check_begins(p.r, 2 * MOST_IN_PART);
        CHECK_IS(read_until(p.r, NULL, 0, FIRST_PART, IPCR_FOREVER), IPCR_OK);
        replace(p.segment, &p.r);
        switch (way) {
        case 0:
            CHECK_IS(ipcr_recv(p.r, (char *)out), 10);
            break;
        case 1:
            CHECK_IS(ipcr_recv_many(p.r, (char *)out, sizeof out, results, 4, true, &run_start), 1);
            break;
        case 2: /* looked at, not taken */
            CHECK_IS(ipcr_recv_many(p.r, (char *)out, sizeof out, results, 4, false, &run_start), 1);
            CHECK_IS(ipcr_skip(p.r, p.r->reader.position, 1), IPCR_OK);
            break;
        case 3:
            CHECK_IS(ipcr_reading_begin(p.r, &payload), 10);
            memcpy(out, payload, 10);
            ipcr_reading_end(p.r, 1);
            break;
        case 4:
            CHECK_IS(ipcr_parts_begin(p.r), IPCR_GIVEN_UP);
            CHECK_IS(recv_any(p.r, out, 10, 0), 10);
            break;
        default:
            CHECK_IS(ipcr_peek(p.r), 10);
            memcpy(out, ipcr_lent(p.r), 10);
            CHECK_IS(ipcr_release(p.r), IPCR_OK);
        }
        CHECK(is_stamped(out, 10, 2));
        CHECK_IS(ipcr_last_sequence(p.r), 1); /* the last part had come: it was a message */
        CHECK_IS(position_of(p.segment, IPCR_RECEIVER), p.w->writer.position);
        CHECK_IS(ipcr_recv(p.r, (char *)out), IPCR_EMPTY);
        ends_finish(&p);
    }
}

/* --- to the end ----------------------------------------------------------------------------------------------- */

static void a_drained_receiver_hands_out_what_is_whole(void)
{
    for (int way = 0; way < 4; way++) {
        struct ends p = ends_at(SMALLEST, 0);
        send_in_vain(p.w, way == 0 ? FOUR_PARTS : LONG, 1);
        check_begins(p.r, way == 0 ? FOUR_PARTS : LONG);
        CHECK_IS(read_until(p.r, out, 0, way == 1 ? FIRST_PART : 20, IPCR_FOREVER), IPCR_OK);
        if (way == 2) { /* a successor, which finds no beginning */
            CHECK_IS(read_until(p.r, out, 20, FIRST_PART, IPCR_FOREVER), IPCR_OK);
            replace(p.segment, &p.r);
        }
        ipcr_end_drain(p.r);
        if (way == 0)
            CHECK_IS(read_until(p.r, out, 0, FOUR_PARTS, IPCR_FOREVER), IPCR_OK);
        else if (way != 2)
            CHECK_IS(read_until(p.r, out, 0, LONG, IPCR_FOREVER), IPCR_END_OF_CHANNEL);
        CHECK_IS(ipcr_recv(p.r, (char *)out), IPCR_END_OF_CHANNEL);
        CHECK_IS(data_until(p.r, IPCR_FOREVER), IPCR_END_OF_CHANNEL);
        CHECK_IS(ipcr_parts_begin(p.r), IPCR_END_OF_CHANNEL);
        CHECK_IS(position_of(p.segment, IPCR_RECEIVER), SMALLEST);
        ends_finish(&p);
    }
}

/* Signals and deadlines are looked after in the middle of what could go on for long. */
static void much_at_once_comes_back_in_between(void)
{
    const uint64_t capacity = UINT64_C(64) << 20, length = UINT64_C(40) << 20, half = capacity / 2;
    struct ends p = ends_at(capacity, 0 - half);
    uint8_t *much = calloc(length, 1);
    CHECK(much != NULL);
    const struct ipcr_piece piece = { .data = (const char *)much, .length = length };
    CHECK_IS(ipcr_send_parts_wait(p.w, &piece, 1, INFO, IPCR_FOREVER, 0), IPCR_AGAIN); /* although there is room */
    const uint64_t first = position_of(p.segment, IPCR_SENDER) + half;
    CHECK(first > 0 && first < length);
    CHECK_IS(ipcr_send_parts_wait(p.w, &piece, 1, INFO, 0, 1), IPCR_FULL); /* its time is over */
    const uint64_t both = position_of(p.segment, IPCR_SENDER) + half;
    CHECK(both > first && both < length);
    check_begins(p.r, length);
    CHECK_IS(ipcr_parts_read(p.r, NULL, 0, length, IPCR_FOREVER, 0), IPCR_AGAIN);
    const uint64_t done = ipcr_parts_done(p.r);
    CHECK(done > 0 && done < first);
    CHECK_IS(ipcr_parts_read(p.r, NULL, 0, length, 0, 1), IPCR_EMPTY);
    CHECK(ipcr_parts_done(p.r) > done);
    CHECK_IS(ipcr_parts_read(p.r, NULL, 0, length, in_ms(1), 0), IPCR_EMPTY);
    CHECK_IS(send_stamped(p.w, 10, 2), IPCR_OK);
    CHECK_IS(read_until(p.r, NULL, 0, length, IPCR_FOREVER), IPCR_GIVEN_UP);
    check_whole_follows(p.r, 10, 2, 0);
    ends_finish(&p);
    free(much);
}

static void statistics_count_messages_not_parts(void)
{
    struct ends p = ends_at(SMALLEST, 0);
    struct ipcr_stats stats;
    send_in_vain(p.w, FOUR_PARTS, 1);
    check_receives_stamped(p.r, FOUR_PARTS, 1);
    CHECK_IS(send_stamped(p.w, 10, 2), IPCR_OK);
    check_receives_stamped(p.r, 10, 2);
    CHECK_IS(ipcr_stats_of_segment(p.segment, &stats), IPCR_OK);
    for (int side = 0; side < IPCR_SIDES; side++) {
        CHECK_IS(stats.side[side].messages, 2);
        CHECK_IS(stats.side[side].bytes, FOUR_PARTS + 10);
    }
    ends_finish(&p);
}

int main(void)
{
    check_begin();
    run("what is not even two parts does not go in parts", what_is_not_even_two_parts_does_not_go_in_parts);
    run("a sender returns once the last part was taken", a_sender_returns_once_the_last_part_was_taken);
    run("what was given up is dropped when anything else comes",
        what_was_given_up_is_dropped_when_anything_else_comes);
    run("what was given up behind its last part may still be taken",
        what_was_given_up_behind_its_last_part_may_still_be_taken);
    run("a sender learns that the receiver closed in the middle",
        a_sender_learns_that_the_receiver_closed_in_the_middle);
    run("every receiving call says that a message comes in parts",
        every_receiving_call_says_that_a_message_comes_in_parts);
    run("a message is read in steps of any size, some of them nowhere",
        a_message_is_read_in_steps_of_any_size_some_of_them_nowhere);
    run("a receiver that runs into its deadline goes on where it was",
        a_receiver_that_runs_into_its_deadline_goes_on_where_it_was);
    run("a receiver learns that the sender closed or died in the middle",
        a_receiver_learns_that_the_sender_closed_or_died_in_the_middle);
    run("a successor of the receiver gets whole messages only", a_successor_of_the_receiver_gets_whole_messages_only);
    run("what one successor throws away in part, the next throws away whole",
        what_one_successor_throws_away_in_part_the_next_throws_away_whole);
    run("whatever looks first throws parts without a beginning away",
        whatever_looks_first_throws_parts_without_a_beginning_away);
    run("a drained receiver hands out what is whole", a_drained_receiver_hands_out_what_is_whole);
    run("much at once comes back in between", much_at_once_comes_back_in_between);
    run("statistics count messages, not parts", statistics_count_messages_not_parts);
    return check_finish();
}

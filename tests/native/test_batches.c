/* test_batches.c - many messages in one call, on either side: where a batch begins, and where it ends. */
#include "messages.h"

#include <pthread.h>

enum { CAPACITY = 65536, MOST = 64 };

/* --- sending -------------------------------------------------------------------------------------------------- */

static char source[40000], out[40000];

static int64_t send_lengths(struct ipcr_end *w, const uint64_t *lengths, const uint64_t *counts, uint64_t count)
{
    const uint64_t infos[MOST] = { 0 };
    return ipcr_send_many(w, source, lengths, counts, infos, count);
}

static void a_batch_says_too_large_only_of_its_first_message(void)
{
    struct ends p = ends_at(SMALLEST, 0);
    const uint64_t one[] = { 1, 1, 1, 1 }, lengths[] = { 10, 20, SMALLEST, 30 };
    CHECK_IS(send_lengths(p.w, lengths, one, 4), 2);
    CHECK_IS(send_lengths(p.w, lengths + 2, one, 2), IPCR_TOO_LARGE);
    CHECK_IS(send_lengths(p.w, lengths + 3, one, 1), 1);
    CHECK_IS(send_lengths(p.w, lengths, one, 0), 0);
    const uint64_t pieces[2 + IPCR_MOST_PIECES + 1] = { 4, 4 }, many[] = { 2, IPCR_MOST_PIECES + 1 };
    CHECK_IS(send_lengths(p.w, pieces, many, 2), 1);
    CHECK_IS(send_lengths(p.w, pieces + 2, many + 1, 1), IPCR_TOO_LARGE);
    const uint64_t as_many_as_may_be = IPCR_MOST_PIECES, none = 0;
    CHECK_IS(send_lengths(p.w, pieces + 2, &as_many_as_may_be, 1), 1);
    CHECK_IS(send_lengths(p.w, pieces, &none, 1), 1); /* a message without pieces is empty */
    for (int64_t length = 10; length <= 30; length += 10)
        CHECK_IS(ipcr_recv(p.r, out), length);
    CHECK(ipcr_recv(p.r, out) >= 8); /* with a gap */
    CHECK(ipcr_recv(p.r, out) > 0);
    CHECK_IS(ipcr_recv(p.r, out), 0);
    CHECK_IS(ipcr_recv(p.r, out), IPCR_EMPTY);
    ends_finish(&p);
}

static void a_batch_is_published_at_its_end_and_now_and_then_before(void)
{
    struct ends p = ends_at(CAPACITY, 0);
    CHECK_IS(ipcr_batch_begin(p.w), IPCR_OK);
    for (int i = 0; i < 20; i++)
        CHECK_IS(ipcr_batch_add(p.w, source, 1000, 0), IPCR_OK);
    CHECK_IS(ipcr_recv(p.r, out), 1000); /* meanwhile */
    CHECK_IS(ipcr_batch_add(p.w, source, CAPACITY, 0), IPCR_TOO_LARGE);
    while (ipcr_batch_add(p.w, source, 1000, 0) == IPCR_OK)
        ;
    CHECK_IS(ipcr_batch_add(p.w, source, 10000, 0), IPCR_FULL);
    ipcr_batch_end(p.w);
    CHECK_IS(position_of(p.segment, IPCR_SENDER), p.w->writer.position);
    CHECK_IS(p.w->writer.sequence, CAPACITY / 1016 + 1); /* one of them was taken */
    for (uint64_t i = 1; i < p.w->writer.sequence; i++)
        CHECK_IS(ipcr_recv(p.r, out), 1000);
    CHECK_IS(ipcr_recv(p.r, out), IPCR_EMPTY);
    CHECK_IS(ipcr_batch_begin(p.w), IPCR_OK);
    ipcr_batch_end(p.w); /* with nothing in it */
    CHECK_IS(ipcr_recv(p.r, out), IPCR_EMPTY);
    ends_finish(&p);
}

static void a_batch_that_may_not_begin_leaves_the_end_idle(void)
{
    struct ends p = ends_at(SMALLEST, 0);
    const uint64_t one = 1;
    CHECK_IS(ipcr_claim(p.w, 8), IPCR_OK);
    CHECK_IS(ipcr_batch_begin(p.w), IPCR_LENT);
    CHECK_IS(send_lengths(p.w, &one, &one, 1), IPCR_LENT);
    CHECK_IS(ipcr_abort(p.w), IPCR_OK);
    CHECK_IS(send_lengths(p.w, &one, &one, 1), 1);
    CHECK_IS(ipcr_peek(p.r), 1);
    const char *payload;
    int64_t result;
    CHECK_IS(ipcr_reading_begin(p.r, &payload), IPCR_LENT);
    CHECK_IS(ipcr_recv_many(p.r, out, 10, &result, 1, true, &run_start), IPCR_LENT);
    CHECK_IS(ipcr_skip(p.r, p.r->reader.position, 1), IPCR_LENT);
    CHECK_IS(ipcr_release(p.r), IPCR_OK);
    finish(p.r, true);
    CHECK_IS(ipcr_batch_begin(p.w), IPCR_END_OF_CHANNEL);
    CHECK_IS(ipcr_send(p.w, source, 1, 0), IPCR_END_OF_CHANNEL);
    finish(p.w, true);
    ipcr_segment_release(p.segment);
}

/* --- receiving ------------------------------------------------------------------------------------------------ */

static void send_run(struct ipcr_end *w, uint32_t encoding, int count, uint64_t length)
{
    while (count-- > 0)
        CHECK_IS(ipcr_send(w, source, length, IPCR_INFO(0, encoding)), IPCR_OK);
}

static void a_run_ends_where_raw_bytes_meet_anything_else(void)
{
    struct ends p = ends_at(CAPACITY, 0);
    int64_t results[MOST];
    send_run(p.w, IPCR_BYTES, 3, 10);
    send_run(p.w, IPCR_PICKLE, 2, 10);
    send_run(p.w, IPCR_ARRAY, 2, 10); /* encoded is encoded */
    send_run(p.w, IPCR_BYTES, 1, 10);
    send_run(p.w, IPCR_PICKLE_BUFFERS, 1, 10);
    const int runs[] = { 3, 4, 1, 1 };
    for (int run = 0; run < 4; run++) {
        const uint64_t before = position_of(p.segment, IPCR_RECEIVER);
        for (int take_raw = 0; take_raw < 2; take_raw++) {
            CHECK_IS(ipcr_recv_many(p.r, out, sizeof out, results, MOST, take_raw, &run_start), runs[run]);
            CHECK_IS(position_of(p.segment, IPCR_RECEIVER) != before, take_raw && run % 2 == 0);
        }
        if (run % 2 == 1)
            CHECK_IS(ipcr_skip(p.r, p.r->reader.position, (uint64_t)runs[run]), IPCR_OK);
    }
    CHECK_IS(ipcr_recv_many(p.r, out, sizeof out, results, MOST, true, &run_start), IPCR_EMPTY);
    CHECK_IS(p.r->reader.sequence, 9);
    CHECK_IS(p.r->reader.bytes, 90);
    ends_finish(&p);
}

static void a_run_ends_where_the_room_or_the_count_does(void)
{
    struct ends p = ends_at(CAPACITY, 0);
    int64_t results[MOST];
    send_run(p.w, IPCR_BYTES, 10, 100);
    memset(out, 'x', sizeof out);
    CHECK_IS(ipcr_recv_many(p.r, out, 0, results, MOST, true, &run_start), 0);
    CHECK_IS(ipcr_recv_many(p.r, out, 99, results, MOST, true, &run_start), 0);
    CHECK_IS(out[0], 'x');
    CHECK_IS(ipcr_recv_many(p.r, out, 100, results, 0, true, &run_start), IPCR_OK); /* none were asked for */
    CHECK_IS(ipcr_recv_many(p.r, out, 100, results, MOST, true, &run_start), 1);
    CHECK_IS(ipcr_recv_many(p.r, out, 399, results, MOST, true, &run_start), 3);
    CHECK(memcmp(out + 200, source, 100) == 0 && out[300] == 'x'); /* nothing beyond */
    CHECK_IS(ipcr_recv_many(p.r, out, sizeof out, results, 4, true, &run_start), 4);
    CHECK_IS(results[3], 100);
    send_run(p.w, IPCR_BYTES, 2, 0); /* empty ones need none */
    CHECK_IS(ipcr_recv_many(p.r, out, 200, results, MOST, true, &run_start), 4);
    CHECK_IS(ipcr_recv_many(p.r, out, 200, results, MOST, true, &run_start), IPCR_EMPTY);
    ends_finish(&p);
}

static void skipping_takes_no_more_than_there_is(void)
{
    struct ends p = ends_at(SMALLEST, 0);
    CHECK_IS(ipcr_skip(p.r, p.r->reader.position, 0), IPCR_OK);
    CHECK_IS(ipcr_skip(p.r, p.r->reader.position, 1), IPCR_EMPTY);
    send_run(p.w, IPCR_PICKLE, 5, 100);
    CHECK_IS(ipcr_skip(p.r, p.r->reader.position, 2), IPCR_OK);
    CHECK_IS(ipcr_skip(p.r, p.r->reader.position, 4), IPCR_EMPTY);
    CHECK_IS(position_of(p.segment, IPCR_RECEIVER), p.w->writer.position);
    CHECK_IS(p.r->reader.sequence, 5);
    send_run(p.w, IPCR_PICKLE, 1, 100);
    finish(p.w, true);
    CHECK_IS(ipcr_skip(p.r, p.r->reader.position, 1), IPCR_OK);
    CHECK_IS(ipcr_skip(p.r, p.r->reader.position, 1), IPCR_END_OF_CHANNEL);
    finish(p.r, true);
    ipcr_segment_release(p.segment);
}

static void a_batch_read_in_place_is_taken_as_far_as_it_was_read(void)
{
    struct ends p = ends_at(SMALLEST, 0);
    const char *payload = NULL;
    CHECK_IS(ipcr_reading_begin(p.r, &payload), IPCR_EMPTY);
    send_run(p.w, IPCR_BYTES, 3, 50);
    CHECK_IS(ipcr_reading_begin(p.r, &payload), 50);
    CHECK(memcmp(payload, source, 50) == 0);
    ipcr_reading_end(p.r, 0); /* looked at */
    CHECK_IS(p.r->reader.sequence, 0);
    CHECK_IS(ipcr_reading_begin(p.r, &payload), 50);
    CHECK_IS(ipcr_reading_next(p.r, &payload), 50);
    CHECK_IS(position_of(p.segment, IPCR_RECEIVER), 0); /* all of it may still be read */
    ipcr_reading_end(p.r, 0);
    CHECK_IS(p.r->reader.sequence, 1);
    CHECK_IS(ipcr_reading_begin(p.r, &payload), 50);
    CHECK_IS(ipcr_reading_next(p.r, &payload), 50);
    CHECK_IS(ipcr_reading_next(p.r, &payload), IPCR_EMPTY);
    ipcr_reading_end(p.r, 0);
    CHECK_IS(p.r->reader.sequence, 3);
    send_run(p.w, IPCR_BYTES, 1, 50);
    CHECK_IS(ipcr_reading_begin(p.r, &payload), 50);
    ipcr_reading_end(p.r, 1);
    CHECK_IS(position_of(p.segment, IPCR_RECEIVER), p.w->writer.position);
    finish(p.w, true);
    CHECK_IS(ipcr_reading_begin(p.r, &payload), IPCR_END_OF_CHANNEL);
    finish(p.r, true);
    ipcr_segment_release(p.segment);
}

static void a_batch_ends_before_a_message_in_parts(void)
{
    struct ends p = ends_at(SMALLEST, 0);
    const struct ipcr_piece piece = { .data = source, .length = 2 * FIRST_PART };
    int64_t results[MOST];
    const char *payload;
    send_run(p.w, IPCR_BYTES, 2, 10);
    CHECK_IS(send_parts_until(p.w, &piece, 1, 0, in_ms(1)), IPCR_FULL); /* nobody has taken it yet */
    CHECK_IS(ipcr_recv_many(p.r, out, sizeof out, results, MOST, false, &run_start), 2);
    CHECK_IS(ipcr_reading_begin(p.r, &payload), 10);
    CHECK_IS(ipcr_reading_next(p.r, &payload), 10);
    CHECK_IS(ipcr_reading_next(p.r, &payload), IPCR_IN_PARTS);
    ipcr_reading_end(p.r, 0);
    CHECK_IS(ipcr_recv_many(p.r, out, sizeof out, results, MOST, true, &run_start), IPCR_IN_PARTS);
    CHECK_IS(ipcr_skip(p.r, p.r->reader.position, 1), IPCR_IN_PARTS);
    CHECK_IS(recv_any(p.r, out, sizeof out, IPCR_FOREVER), 2 * FIRST_PART);
    ends_finish(&p);
}

static void a_drained_batch_ends_with_what_was_there_when_it_was_asked_to(void)
{
    for (int in_place = 0; in_place < 2; in_place++) {
        struct ends p = ends_at(SMALLEST, 0);
        int64_t results[MOST];
        const char *payload;
        send_run(p.w, IPCR_BYTES, 2, 10);
        ipcr_end_drain(p.r);
        send_run(p.w, IPCR_BYTES, 2, 10);
        if (in_place) {
            CHECK_IS(ipcr_reading_begin(p.r, &payload), 10);
            CHECK_IS(ipcr_reading_next(p.r, &payload), 10);
            CHECK_IS(ipcr_reading_next(p.r, &payload), IPCR_END_OF_CHANNEL);
            ipcr_reading_end(p.r, 0);
        } else {
            CHECK_IS(ipcr_recv_many(p.r, out, sizeof out, results, MOST, true, &run_start), 2);
        }
        CHECK_IS(ipcr_recv_many(p.r, out, sizeof out, results, MOST, true, &run_start), IPCR_END_OF_CHANNEL);
        CHECK_IS(ipcr_reading_begin(p.r, &payload), IPCR_END_OF_CHANNEL);
        CHECK_IS(p.r->reader.sequence, 2);
        ends_finish(&p);
    }
}

/* --- two callers, two threads --------------------------------------------------------------------------------- */

static void check_busy(struct ends *p)
{
    const uint64_t one = 1;
    const char *payload;
    int64_t result;
    uint32_t by;
    const struct ipcr_piece piece = { .data = source, .length = 2000 };
    CHECK_IS(ipcr_batch_begin(p->w), IPCR_BUSY);
    CHECK_IS(ipcr_send(p->w, source, 1, 0), IPCR_BUSY);
    CHECK_IS(send_lengths(p->w, &one, &one, 1), IPCR_BUSY);
    CHECK_IS(ipcr_send_pieces(p->w, &piece, 1, 0), IPCR_BUSY);
    CHECK_IS(send_parts_until(p->w, &piece, 1, 0, IPCR_FOREVER), IPCR_BUSY);
    CHECK_IS(ipcr_claim(p->w, 1), IPCR_BUSY);
    CHECK_IS(ipcr_abort(p->w), IPCR_BUSY);
    CHECK_IS(ipcr_end_take(p->w, &by), IPCR_BUSY);
    CHECK_IS(ipcr_recv(p->r, out), IPCR_BUSY);
    CHECK_IS(ipcr_recv_many(p->r, out, 10, &result, 1, true, &run_start), IPCR_BUSY);
    CHECK_IS(ipcr_reading_begin(p->r, &payload), IPCR_BUSY);
    CHECK_IS(ipcr_skip(p->r, p->r->reader.position, 1), IPCR_BUSY);
    CHECK_IS(ipcr_peek(p->r), IPCR_BUSY);
    CHECK_IS(ipcr_parts_begin(p->r), IPCR_BUSY);
    CHECK_IS(read_until(p->r, out, 0, 1, IPCR_FOREVER), IPCR_BUSY);
    ipcr_spin_for_data(p->r); /* has nothing to say */
}

static void *check_busy_elsewhere(void *arg)
{
    check_busy(arg);
    return NULL;
}

static void a_second_caller_finds_the_end_busy_while_a_batch_lasts(void)
{
    struct ends p = ends_at(SMALLEST, 0);
    const char *payload;
    pthread_t other;
    send_run(p.w, IPCR_BYTES, 2, 10);
    CHECK_IS(ipcr_batch_begin(p.w), IPCR_OK);
    CHECK_IS(ipcr_reading_begin(p.r, &payload), 10);
    check_busy(&p);
    CHECK(pthread_create(&other, NULL, check_busy_elsewhere, &p) == 0);
    CHECK(pthread_join(other, NULL) == 0);
    CHECK_IS(ipcr_batch_add(p.w, source, 30, 0), IPCR_OK);
    CHECK_IS(ipcr_reading_next(p.r, &payload), 10);
    ipcr_batch_end(p.w);
    CHECK_IS(ipcr_reading_next(p.r, &payload), 30);
    ipcr_reading_end(p.r, 1);
    CHECK_IS(ipcr_recv(p.r, out), IPCR_EMPTY); /* idle, both of them */
    CHECK_IS(ipcr_send(p.w, source, 1, 0), IPCR_OK);
    ends_finish(&p);
}

static void *close_both(void *arg)
{
    const struct ends *p = arg;
    ipcr_end_close(p->w, true);
    ipcr_end_close(p->r, true);
    return NULL;
}

static void a_close_waits_for_the_end_of_a_batch(void)
{
    struct ends p = ends_at(SMALLEST, 0);
    const char *payload;
    pthread_t other;
    send_run(p.w, IPCR_BYTES, 1, 10);
    CHECK_IS(ipcr_batch_begin(p.w), IPCR_OK);
    CHECK_IS(ipcr_reading_begin(p.r, &payload), 10);
    CHECK(pthread_create(&other, NULL, close_both, &p) == 0);
    while (load_acquire32(&p.w->closing) == 0)
        sched_yield();
    CHECK_IS(ipcr_batch_add(p.w, source, 20, 0), IPCR_OK);
    CHECK_IS(ipcr_send(p.w, source, 1, 0), IPCR_CLOSED);
    ipcr_batch_end(p.w);
    while (load_acquire32(&p.r->closing) == 0)
        sched_yield();
    CHECK_IS(ipcr_batch_begin(p.w), IPCR_CLOSED);
    CHECK_IS(ipcr_reading_next(p.r, &payload), 20); /* still mapped */
    CHECK(memcmp(payload, source, 20) == 0);
    CHECK_IS(ipcr_reading_next(p.r, &payload), IPCR_END_OF_CHANNEL);
    ipcr_reading_end(p.r, 0);
    CHECK(pthread_join(other, NULL) == 0);
    CHECK_IS(ipcr_reading_begin(p.r, &payload), IPCR_CLOSED);
    ipcr_end_free(p.w);
    ipcr_end_free(p.r);
    ipcr_segment_release(p.segment);
}

static void spinning_takes_nothing_and_ends(void)
{
    struct ends p = ends_at(SMALLEST, 0);
    ipcr_spin_for_data(p.r); /* nothing comes */
    CHECK_IS(ipcr_recv(p.r, out), IPCR_EMPTY);
    send_run(p.w, IPCR_BYTES, 1, 10);
    ipcr_spin_for_data(p.r);
    CHECK_IS(position_of(p.segment, IPCR_RECEIVER), 0);
    CHECK_IS(ipcr_recv(p.r, out), 10);
    struct ipcr_inbox inbox = { .end = p.r };
    CHECK_IS(ipcr_recv_into(&inbox), IPCR_EMPTY);
    finish(p.w, true);
    ipcr_spin_for_data(p.r); /* nobody there to wait for */
    CHECK_IS(ipcr_recv_into(&inbox), IPCR_END_OF_CHANNEL);
    ipcr_end_close(p.r, true);
    ipcr_spin_for_data(p.r);
    ipcr_end_free(p.r);
    ipcr_segment_release(p.segment);
}

int main(void)
{
    check_begin();
    stamp((uint8_t *)source, sizeof source, 1);
    run("a batch says too large only of its first message", a_batch_says_too_large_only_of_its_first_message);
    run("a batch is published at its end, and now and then before",
        a_batch_is_published_at_its_end_and_now_and_then_before);
    run("a batch that may not begin leaves the end idle", a_batch_that_may_not_begin_leaves_the_end_idle);
    run("a run ends where raw bytes meet anything else", a_run_ends_where_raw_bytes_meet_anything_else);
    run("a run ends where the room or the count does", a_run_ends_where_the_room_or_the_count_does);
    run("skipping takes no more than there is", skipping_takes_no_more_than_there_is);
    run("a batch read in place is taken as far as it was read", a_batch_read_in_place_is_taken_as_far_as_it_was_read);
    run("a batch ends before a message in parts", a_batch_ends_before_a_message_in_parts);
    run("a drained batch ends with what was there when it was asked to",
        a_drained_batch_ends_with_what_was_there_when_it_was_asked_to);
    run("a second caller finds the end busy while a batch lasts",
        a_second_caller_finds_the_end_busy_while_a_batch_lasts);
    run("a close waits for the end of a batch", a_close_waits_for_the_end_of_a_batch);
    run("spinning takes nothing, and ends", spinning_takes_nothing_and_ends);
    return check_finish();
}

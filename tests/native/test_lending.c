/* test_lending.c - messages that are lent, and a peer that writes nonsense. */
#include "sides.h"

/* --- lending --------------------------------------------------------------------------------------------- */

static void claims_and_peeks_are_one_at_a_time(void)
{
    struct ipcr_segment *s = anonymous(65536, 0);
    struct ipcr_end *w = taken(s, IPCR_SENDER), *r = taken(s, IPCR_RECEIVER);
    const uint64_t length = 1;
    CHECK_IS(ipcr_commit(w, 0, 0), IPCR_NOTHING_LENT);
    CHECK_IS(ipcr_abort(w), IPCR_NOTHING_LENT);
    CHECK_IS(ipcr_release(r), IPCR_NOTHING_LENT);
    CHECK_IS(ipcr_claim(w, 65536), IPCR_TOO_LARGE);
    CHECK_IS(ipcr_claim(w, 100), IPCR_OK);
    CHECK(ipcr_end_is_lent(w));
    CHECK_IS(ipcr_claim(w, 100), IPCR_LENT);
    CHECK_IS(send_text(w, "x"), IPCR_LENT);
    CHECK_IS(send_until(w, "x", 1, IPCR_FOREVER), IPCR_LENT);
    CHECK_IS(send_batch(w, "x", &length, 1, 0), IPCR_LENT);
    CHECK_IS(ipcr_commit(w, 101, 0), IPCR_TOO_LARGE);
    memcpy(ipcr_lent(w), "claimed", 7);
    CHECK_IS(ipcr_commit(w, 7, IPCR_INFO(9, IPCR_PICKLE)), IPCR_OK);
    CHECK_IS(ipcr_claim(w, 100), IPCR_OK);
    CHECK_IS(ipcr_abort(w), IPCR_OK);
    CHECK_IS(ipcr_peek(r) & ~(INT64_C(7) << IPCR_RESULT_SKEW_SHIFT),
             (int64_t)7 | (int64_t)IPCR_PICKLE << IPCR_RESULT_ENCODING_SHIFT);
    CHECK_IS(IPCR_INFO_TYPE(ipcr_last_info(r)), 9);
    CHECK(memcmp(ipcr_lent(r), "claimed", 7) == 0);
    CHECK_IS(ipcr_peek(r), IPCR_LENT);
    CHECK_IS(ipcr_recv(r, received), IPCR_LENT);
    CHECK_IS(flush_until(w, in_ms(1)), IPCR_FULL);
    CHECK_IS(ipcr_release(r), IPCR_OK);
    CHECK_IS(flush_until(w, IPCR_FOREVER), IPCR_OK);
    CHECK_IS(ipcr_recv(r, received), IPCR_EMPTY);
    finish(w, true);
    finish(r, true);
    ipcr_segment_release(s);
}

static void a_message_too_large_to_copy_is_lent(void)
{
    struct ipcr_segment *s = anonymous(65536, 0);
    struct ipcr_end *w = taken(s, IPCR_SENDER), *r = taken(s, IPCR_RECEIVER);
    static uint8_t message[IPCR_SMALL + 1];
    stamp(message, sizeof message, 3);
    CHECK_IS(ipcr_send(w, (const char *)message, IPCR_SMALL, 0), IPCR_OK);
    CHECK_IS(ipcr_send(w, (const char *)message, IPCR_SMALL + 1, 0), IPCR_OK);
    CHECK_IS(ipcr_recv(r, received), IPCR_SMALL);
    CHECK(memcmp(received, message, IPCR_SMALL) == 0);
    CHECK_IS(recv_until(r, IPCR_FOREVER), (int64_t)(IPCR_SMALL + 1) | IPCR_RESULT_LENT);
    CHECK(ipcr_end_is_lent(r));
    CHECK(memcmp(ipcr_lent(r), message, sizeof message) == 0);
    CHECK_IS(ipcr_release(r), IPCR_OK);
    finish(w, true);
    finish(r, true);
    ipcr_segment_release(s);
}

static void batches_are_cut_where_the_room_ends(void)
{
    struct ipcr_segment *s = anonymous(CAPACITY, 0);
    struct ipcr_end *w = taken(s, IPCR_SENDER), *r = taken(s, IPCR_RECEIVER);
    static char messages[100 * 100];
    uint64_t lengths[100];
    stamp((uint8_t *)messages, sizeof messages, 8);
    for (int i = 0; i < 100; i++)
        lengths[i] = 100;
    CHECK_IS(send_batch(w, messages, lengths, 0, 0), 0);
    CHECK_IS(send_batch(w, messages, lengths, 100, 5), CAPACITY / 120); /* 116, padded to 120 */
    CHECK_IS(send_batch(w, messages, lengths, 100, 5), IPCR_FULL);
    CHECK_IS(recv_batch(r, received, 99, 100), 0);   /* not even the first */
    CHECK_IS(recv_batch(r, received, 350, 100), 3);
    CHECK_IS(recv_batch(r, received, 8192, 5), 5);
    CHECK(memcmp(received, messages + 300, 500) == 0);
    CHECK_IS(IPCR_INFO_TYPE(ipcr_last_info(r)), 5);
    CHECK_IS(recv_batch(r, received, 8192, 100), CAPACITY / 120 - 8);
    CHECK_IS(recv_batch(r, received, 8192, 100), IPCR_EMPTY);
    lengths[0] = CAPACITY;
    CHECK_IS(send_batch(w, messages, lengths, 2, 0), IPCR_TOO_LARGE);
    finish(w, true);
    CHECK_IS(recv_batch(r, received, 8192, 100), IPCR_END_OF_CHANNEL);
    finish(r, true);
    ipcr_segment_release(s);
}

/* --- a peer that writes nonsense -------------------------------------------------------------------------- */

static void garbage_from_the_peer_poisons_the_handle(void)
{
    struct ipcr_segment *s = anonymous(CAPACITY, 0);
    struct ipcr_end *w = taken(s, IPCR_SENDER), *r = taken(s, IPCR_RECEIVER);
    CHECK_IS(send_text(w, "lent before"), IPCR_OK);
    CHECK_IS(ipcr_peek(r), 11);
    store_release64(&s->header->at[IPCR_SENDER].position, 12345);
    CHECK_IS(ipcr_release(r), IPCR_OK); /* it was checked when it was lent */
    CHECK_IS(ipcr_recv(r, received), IPCR_CORRUPT);
    store_release64(&s->header->at[IPCR_SENDER].position, w->writer.position);
    CHECK_IS(ipcr_recv(r, received), IPCR_CORRUPT); /* and stays so */
    CHECK_IS(recv_until(r, IPCR_FOREVER), IPCR_CORRUPT);
    store_release64(&s->header->at[IPCR_RECEIVER].position, UINT64_MAX);
    CHECK_IS(flush_until(w, IPCR_FOREVER), IPCR_CORRUPT);
    CHECK_IS(send_text(w, "x"), IPCR_CORRUPT);
    CHECK_IS(ipcr_claim(w, 1), IPCR_CORRUPT);
    finish(w, true);
    finish(r, true);
    struct ipcr_end *again = open_end(s, IPCR_RECEIVER);
    ipcr_end_close(again, true);
    ipcr_end_free(again);
    ipcr_segment_release(s);
}

static void a_peer_state_that_is_none_is_corrupt(void)
{
    struct ipcr_segment *s = anonymous(CAPACITY, 0);
    struct ipcr_end *w = taken(s, IPCR_SENDER), *r = taken(s, IPCR_RECEIVER);
    store_release32(&w->mine->end_state, 3);
    CHECK_IS(recv_until(r, IPCR_FOREVER), IPCR_CORRUPT);
    finish(r, true);
    finish(w, true);
    ipcr_segment_release(s);
}

static void a_successor_that_finds_garbage_does_not_take_the_end(void)
{
    struct ipcr_segment *s = anonymous(CAPACITY, 0);
    struct ipcr_end *w = open_end(s, IPCR_SENDER);
    uint32_t by;
    store_release64(&s->header->at[IPCR_SENDER].position, 4);
    CHECK_IS(ipcr_end_take(w, &by), IPCR_CORRUPT);
    CHECK_IS(side_of(s, IPCR_SENDER).alive, 0);
    CHECK_IS(side_of(s, IPCR_SENDER).state, IPCR_END_UNTAKEN);
    store_release64(&s->header->at[IPCR_SENDER].position, 0);
    CHECK_IS(ipcr_end_take(w, &by), IPCR_OK);
    finish(w, true);
    ipcr_segment_release(s);
}

int main(void)
{
    check_begin();
    run("claims and peeks are one at a time", claims_and_peeks_are_one_at_a_time);
    run("a message too large to copy is lent", a_message_too_large_to_copy_is_lent);
    run("batches are cut where the room ends", batches_are_cut_where_the_room_ends);
    run("garbage from the peer poisons the handle", garbage_from_the_peer_poisons_the_handle);
    run("a peer state that is none is corrupt", a_peer_state_that_is_none_is_corrupt);
    run("a successor that finds garbage does not take the end", a_successor_that_finds_garbage_does_not_take_the_end);
    return check_finish();
}

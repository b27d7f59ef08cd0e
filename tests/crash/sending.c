/* sending.c - a sender dies in the middle of its work. */
#include "starts.h"

enum { PATIENCE_MS = 40 }; /* of a wait in vain: it must come to sleeping, a step at a time */

static uint8_t message[HAND_BYTES]; /* laid out before the operation begins */

static void approach(struct stage *s)
{
    take_end(s);
    lay_out(s, message, s->next, s->operation->messages);
}

/* A number of messages: no room is none, and anything else is not expected. */
static int64_t sent(int rc)
{
    CHECK(rc == IPCR_OK || rc == IPCR_FULL);
    return rc == IPCR_OK;
}

static int64_t write_one(struct stage *s)
{
    return sent(ipcr_send(s->end, (const char *)message, length_of(s, s->next), IPCR_INFO(s->next, IPCR_BYTES)));
}

/* One after the other: what the first has left in the handle is where the second begins. */
static int64_t write_each(struct stage *s)
{
    const uint8_t *at = message;
    for (uint64_t i = 0; i < s->operation->messages; i++) {
        const uint64_t number = s->next + i, length = length_of(s, number);
        if (sent(ipcr_send(s->end, (const char *)at, length, IPCR_INFO(number, IPCR_BYTES))) == 0)
            return (int64_t)i;
        at += length;
    }
    return (int64_t)s->operation->messages;
}

/* The receiver sleeps, as far as its word says. */
static void approach_a_sleeper(struct stage *s)
{
    approach(s);
    store_release32(&s->end->theirs->parked, 1);
}

/* Two pieces without a gap between them: the second begins where the first one's end is a multiple of 64. */
static uint64_t first_piece(const struct stage *s)
{
    return IPCR_DATA_ALIGNMENT - ipcr_skew_at(position_of(s->segment, IPCR_SENDER));
}

static void prepare_pieces(struct stage *s)
{
    prepare_ring(s);
    s->lengths[s->next] = first_piece(s) + 21;
}

static int64_t write_pieces(struct stage *s)
{
    const uint64_t first = first_piece(s);
    const struct ipcr_piece pieces[] = {
        { .data = (const char *)message, .length = first },
        { .data = (const char *)message + first, .length = length_of(s, s->next) - first },
    };
    return sent(ipcr_send_pieces(s->end, pieces, 2, IPCR_INFO(s->next, IPCR_BYTES)));
}

static int64_t claim_and_commit(struct stage *s)
{
    const uint64_t length = length_of(s, s->next);
    if (sent(ipcr_claim(s->end, length)) == 0)
        return 0;
    copy_in((uint8_t *)ipcr_lent(s->end), message, length);
    return sent(ipcr_commit(s->end, length, IPCR_INFO(s->next, IPCR_BYTES)));
}

static int64_t claim_and_abort(struct stage *s)
{
    const uint64_t length = length_of(s, s->next);
    if (sent(ipcr_claim(s->end, length)) == 0)
        return 0;
    copy_in((uint8_t *)ipcr_lent(s->end), message, length);
    CHECK_IS(ipcr_abort(s->end), IPCR_OK);
    return 0;
}

static int64_t write_batch(struct stage *s)
{
    enum { MOST = 64 };
    uint64_t lengths[MOST], counts[MOST], infos[MOST];
    const uint64_t count = s->operation->messages;
    CHECK(count <= MOST);
    for (uint64_t i = 0; i < count; i++) {
        lengths[i] = length_of(s, s->next + i);
        counts[i] = 1;
        infos[i] = IPCR_INFO(s->next + i, IPCR_BYTES);
    }
    const int64_t done = ipcr_send_many(s->end, (const char *)message, lengths, counts, infos, count);
    return done >= 0 ? done : sent((int)done);
}

/* So long that the receiver gets what is there before the rest is. */
static void prepare_long(struct stage *s)
{
    prepare_ring(s);
    for (uint64_t i = 0; i < s->operation->messages; i++)
        s->lengths[s->next + i] = 1000;
}

static int64_t wait_for_room(struct stage *s)
{
    return sent(ipcr_send_wait(s->end, (const char *)message, length_of(s, s->next), IPCR_INFO(s->next, IPCR_BYTES),
                               in_ms(PATIENCE_MS), 0));
}

static int64_t flush(struct stage *s)
{
    sent(ipcr_flush_wait(s->end, in_ms(PATIENCE_MS), 0));
    return 0;
}

static const struct start pieces_starts[] = { { "empty", 0, NOTHING }, { "one message", 8, ONE }, EIGHT_RESIDUES,
                                              MORE_RESIDUES };
static const struct start long_starts[] = { { "empty", 0, NOTHING }, BEFORE_END(1016), BEFORE_END(17008) };
static const struct start waiting_starts[] = { { "full", 64, FULL } };
static const struct start flush_starts[] = { { "empty", 0, NOTHING }, { "one message", 0, ONE } };

#define SENDER .side = IPCR_SENDER, .observe = observe_alive, .check = check_transfer

const struct operation sending_operations[] = {
    { .name = "write", SENDER, STARTS(around_a_record), .capacity = SMALLEST, .messages = 1, .prepare = prepare_ring,
      .approach = approach, .operate = write_one },
    { .name = "write-each", SENDER, STARTS(around_a_row), .capacity = SMALLEST, .messages = 3,
      .prepare = prepare_ring, .approach = approach, .operate = write_each },
    { .name = "write-to-a-sleeper", SENDER, STARTS(around_a_record), .capacity = SMALLEST, .messages = 1,
      .prepare = prepare_ring, .approach = approach_a_sleeper, .operate = write_one },
    { .name = "write-pieces", SENDER, STARTS(pieces_starts), .capacity = SMALLEST, .messages = 1,
      .prepare = prepare_pieces, .approach = approach, .operate = write_pieces },
    { .name = "claim-commit", SENDER, STARTS(around_a_record), .capacity = SMALLEST, .messages = 1,
      .prepare = prepare_ring, .approach = approach, .operate = claim_and_commit },
    { .name = "claim-abort", SENDER, STARTS(around_a_record), .capacity = SMALLEST, .messages = 1,
      .prepare = prepare_ring, .approach = approach, .operate = claim_and_abort },
    { .name = "write-batch", SENDER, STARTS(around_a_row), .capacity = SMALLEST, .messages = 3,
      .prepare = prepare_ring, .approach = approach, .operate = write_batch },
    { .name = "write-long-batch", SENDER, STARTS(long_starts), .capacity = 8 * SMALLEST, .messages = 20,
      .prepare = prepare_long, .approach = approach, .operate = write_batch },
    { .name = "wait-for-room", SENDER, STARTS(waiting_starts), .capacity = SMALLEST, .messages = 1,
      .prepare = prepare_ring, .approach = approach, .operate = wait_for_room },
    { .name = "flush", SENDER, STARTS(flush_starts), .capacity = SMALLEST, .prepare = prepare_ring,
      .approach = approach, .operate = flush },
    { .name = NULL },
};

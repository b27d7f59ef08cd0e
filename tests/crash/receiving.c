/* receiving.c - a receiver dies in the middle of its work.
 *
 * What it takes, it copies into the hand of its caller, which the check can see: a message that has gone from
 * the ring must be there, whole, whenever the death comes.
 */
#include "starts.h"

enum { PATIENCE_MS = 40 }; /* of a wait in vain: it must come to sleeping, a step at a time */

/* A number of messages: nothing there is none, and anything else is not expected. */
static int64_t got(int64_t rc)
{
    CHECK(rc >= 0 || rc == IPCR_EMPTY);
    return rc >= 0;
}

static int64_t read_one(struct stage *s) { return got(ipcr_recv(s->end, (char *)s->between->hand)); }

static int64_t read_each(struct stage *s)
{
    char *hand = (char *)s->between->hand;
    for (uint64_t i = 0; i < s->operation->messages; i++) {
        const int64_t length = ipcr_recv(s->end, hand);
        if (got(length) == 0)
            return (int64_t)i;
        hand += length;
    }
    return (int64_t)s->operation->messages;
}

/* The sender sleeps until this much is free, as far as its words say. */
static void approach_a_sleeper(struct stage *s)
{
    take_end(s);
    store_release64(&s->end->theirs->wake_at, position_of(s->segment, IPCR_RECEIVER) + 8);
    store_release32(&s->end->theirs->parked, 1);
}

static int64_t peek_and_release(struct stage *s)
{
    const int64_t result = ipcr_peek(s->end);
    if (got(result) == 0)
        return 0;
    copy_out(s->between->hand, (const uint8_t *)ipcr_lent(s->end), LENGTH_OF(result));
    CHECK_IS(ipcr_release(s->end), IPCR_OK);
    return 1;
}

/* A look, and no more: the message stays. */
static int64_t peek_and_take_back(struct stage *s)
{
    const int64_t result = ipcr_peek(s->end);
    if (got(result) == 1)
        CHECK_IS(ipcr_take_back(s->end), IPCR_OK);
    return 0;
}

enum { MOST = 64 };

static int64_t read_batch(struct stage *s)
{
    int64_t results[MOST];
    uint64_t from;
    const int64_t done = ipcr_recv_many(s->end, (char *)s->between->hand, HAND_BYTES, results,
                                        s->operation->messages, true, &from);
    return done >= 0 ? done : got(done);
}

/* Decoded first, taken then. */
static int64_t read_and_skip(struct stage *s)
{
    int64_t results[MOST];
    uint64_t from;
    const int64_t done = ipcr_recv_many(s->end, (char *)s->between->hand, HAND_BYTES, results,
                                        s->operation->messages, false, &from);
    if (done < 0)
        return got(done);
    CHECK_IS(ipcr_skip(s->end, from, (uint64_t)done), IPCR_OK);
    return done;
}

static int64_t read_in_place(struct stage *s)
{
    const char *payload;
    uint8_t *hand = s->between->hand;
    int64_t result = ipcr_reading_begin(s->end, &payload), done = 0;
    if (result < 0)
        return got(result);
    for (;;) {
        copy_out(hand, (const uint8_t *)payload, LENGTH_OF(result));
        hand += LENGTH_OF(result);
        done++;
        if ((uint64_t)done == s->operation->messages) {
            ipcr_reading_end(s->end, 1);
            return done;
        }
        result = ipcr_reading_next(s->end, &payload);
        if (got(result) == 0) {
            ipcr_reading_end(s->end, 0);
            return done;
        }
    }
}

static int64_t wait_for_data(struct stage *s)
{
    return got(ipcr_recv_wait(s->end, (char *)s->between->hand, in_ms(PATIENCE_MS), 0));
}

static const struct start empty[] = { { "empty", 0, NOTHING } };

#define RECEIVER                                                                                              \
    .side = IPCR_RECEIVER, .capacity = SMALLEST, .prepare = prepare_ring, .observe = observe_alive,               \
    .check = check_transfer

const struct operation receiving_operations[] = {
    { .name = "read", RECEIVER, STARTS(around_a_record), .messages = 1, .approach = take_end, .operate = read_one },
    { .name = "read-each", RECEIVER, STARTS(around_a_row), .messages = 3, .approach = take_end,
      .operate = read_each },
    { .name = "read-for-a-sleeper", RECEIVER, STARTS(around_a_record), .messages = 1, .approach = approach_a_sleeper,
      .operate = read_one },
    { .name = "peek-release", RECEIVER, STARTS(around_a_record), .messages = 1, .approach = take_end,
      .operate = peek_and_release },
    { .name = "peek-take-back", RECEIVER, STARTS(around_a_record), .messages = 1, .approach = take_end,
      .operate = peek_and_take_back },
    { .name = "read-batch", RECEIVER, STARTS(around_a_row), .messages = 3, .approach = take_end,
      .operate = read_batch },
    { .name = "read-skip", RECEIVER, STARTS(around_a_row), .messages = 3, .approach = take_end,
      .operate = read_and_skip },
    { .name = "read-in-place", RECEIVER, STARTS(around_a_row), .messages = 3, .approach = take_end,
      .operate = read_in_place },
    { .name = "wait-for-data", RECEIVER, STARTS(empty), .messages = 1, .approach = take_end,
      .operate = wait_for_data },
    { .name = NULL },
};

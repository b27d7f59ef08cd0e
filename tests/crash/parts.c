/* parts.c - messages larger than the ring, which pass part by part: either side dies on the way.
 *
 * The promise: such a message arrives whole or not at all, and `send` returns once the receiver has taken its
 * last part.  So a sender's death leaves parts that are worth nothing, and a receiver's death costs the message,
 * of which the living sender must be told, also when the successor has thrown the rest away long before the
 * sender looks.
 */
#include "starts.h"

enum { THREE_PARTS = FIRST_PART + 2 * MOST_IN_PART, FIVE_PARTS = FIRST_PART + 3 * MOST_IN_PART + 300 };

static uint8_t message[HAND_BYTES];
static struct ipcr_piece piece;

static void lay_out_piece(const struct stage *s, uint64_t number)
{
    piece = (struct ipcr_piece){ .data = (const char *)message, .length = lay_out(s, message, number, 1) };
}

static int send_it(struct ipcr_end *w, uint64_t number, uint64_t deadline_ns, int resume)
{
    return ipcr_send_parts_wait(w, &piece, 1, IPCR_INFO(number, IPCR_BYTES), deadline_ns, resume);
}

/* --- the sender dies ------------------------------------------------------------------------------------------ */

static void prepare_three(struct stage *s)
{
    prepare_ring(s);
    s->lengths[s->next] = THREE_PARTS;
}

static void prepare_five(struct stage *s)
{
    prepare_ring(s);
    s->lengths[s->next] = FIVE_PARTS;
}

static void approach_with_piece(struct stage *s)
{
    take_end(s);
    lay_out_piece(s, s->next);
}

/* All parts fit, and nobody takes them: given up, with the last one published, nothing is promised. */
static int64_t send_and_give_up(struct stage *s)
{
    CHECK_IS(send_it(s->end, s->next, 0, 0), IPCR_FULL);
    return -1;
}

static int64_t send_parts(struct stage *s)
{
    int rc = send_it(s->end, s->next, IPCR_FOREVER, 0);
    while (rc == IPCR_AGAIN)
        rc = send_it(s->end, s->next, IPCR_FOREVER, 1);
    CHECK_IS(rc, IPCR_OK);
    return 1;
}

/* The receiver takes each part as soon as it stands there. */
static void read_meanwhile(struct stage *s)
{
    const uint64_t before = position_of(s->segment, IPCR_RECEIVER), total = length_of(s, s->next);
    if (before == position_of(s->segment, IPCR_SENDER))
        return;
    if (s->seen == 0) {
        CHECK_IS(data_until(s->peer, 0), IPCR_IN_PARTS);
        CHECK_IS(LENGTH_OF(ipcr_parts_begin(s->peer)), total);
        s->seen = 1;
    }
    const uint64_t done = ipcr_parts_done(s->peer);
    const int rc = read_until(s->peer, s->peer_hand + done, done, total, 0);
    CHECK(rc == IPCR_OK || rc == IPCR_EMPTY);
    CHECK(rc != IPCR_OK || is_stamped(s->peer_hand, total, s->next));
    s->peer_acts += position_of(s->segment, IPCR_RECEIVER) != before;
}

static const char *observe_while_reading(struct stage *s)
{
    return ipcr_end_peer(s->peer) == IPCR_OK ? NULL : "the victim works, and the receiver is told otherwise";
}

/* A receiver that has the beginning goes on behind it; what it has already is in its own hand. */
static void check_while_reading(struct stage *s)
{
    const struct span span = check_ring(segment_of_copy(s));
    CHECK(span.next - s->next <= 1 && span.first <= span.next);
    if (s->returned)
        CHECK(span.first == s->next + 1 && is_stamped(s->peer_hand, FIVE_PARTS, s->next));
    if (s->peer != NULL && ipcr_parts_done(s->peer) > 0) {
        const uint64_t done = ipcr_parts_done(s->peer);
        const int rc = read_until(s->peer, s->peer_hand + done, done, FIVE_PARTS, 0);
        CHECK_IS(rc, span.next > s->next ? IPCR_OK : IPCR_PEER_DIED);
        CHECK(rc != IPCR_OK || is_stamped(s->peer_hand, FIVE_PARTS, s->next));
        check_goes_on(s, (struct span){ .first = span.next, .next = span.next });
    } else {
        check_goes_on(s, span);
    }
}

/* --- the receiver dies ---------------------------------------------------------------------------------------- */

/* The peer has sent all parts and waits until they are taken, at the end of a slice just now.  Returns the end
 * of the victim's predecessor, or its wait would have ended. */
static struct ipcr_end *prepare_waiting_sender(struct stage *s)
{
    struct ipcr_end *predecessor = prepare_both(s);
    s->lengths[s->next] = THREE_PARTS;
    lay_out_piece(s, s->next);
    CHECK_IS(send_it(s->peer, s->next, IPCR_FOREVER, 0), IPCR_AGAIN);
    return predecessor;
}

static void prepare_sent(struct stage *s) { finish(prepare_waiting_sender(s), false); }

static int64_t read_parts(struct stage *s)
{
    CHECK_IS(data_until(s->end, 0), IPCR_IN_PARTS);
    const uint64_t length = LENGTH_OF(ipcr_parts_begin(s->end));
    CHECK_IS(read_until(s->end, s->between->hand, 0, length, 0), IPCR_OK);
    return 1;
}

/* A predecessor has read the first part, and died: the rest goes, and then there is nothing. */
static void prepare_beheaded(struct stage *s)
{
    struct ipcr_end *predecessor = prepare_waiting_sender(s);
    CHECK_IS(data_until(predecessor, 0), IPCR_IN_PARTS);
    CHECK(ipcr_parts_begin(predecessor) >= 0);
    CHECK_IS(read_until(predecessor, s->peer_hand, 0, FIRST_PART + 1, 0), IPCR_OK);
    finish(predecessor, false);
}

static int64_t throw_away(struct stage *s)
{
    CHECK_IS(ipcr_recv(s->end, (char *)s->between->hand), IPCR_EMPTY);
    return -1;
}

/* What the sender is told, once a successor has taken all that it can get. */
static void check_receipt(struct stage *s, struct span span, bool victim_has_it)
{
    struct ipcr_end *r = NULL;
    CHECK(span.first <= s->next + 1 && span.next == s->next + 1);
    if (s->peer == NULL) {
        check_goes_on(s, span);
        return;
    }
    const bool whole = span.first == s->next && !span.halfway;
    CHECK_IS(ipcr_end_open(s->segment, IPCR_RECEIVER, 0, &r), IPCR_OK);
    uint32_t by;
    CHECK_IS(ipcr_end_take(r, &by), IPCR_OK);
    if (whole)
        receive_number(s, r, s->next);
    else
        CHECK_IS(receive_nothing(r), IPCR_EMPTY);
    CHECK_IS(send_it(s->peer, s->next, IPCR_FOREVER, 1), whole || victim_has_it ? IPCR_OK : IPCR_PEER_DIED);
    finish(r, false);
    check_goes_on(s, (struct span){ .first = span.next, .next = span.next });
}

static void check_read_parts(struct stage *s)
{
    const struct span span = check_ring(segment_of_copy(s));
    const bool victim_has_it = span.first == s->next + 1;
    if (victim_has_it)
        check_in_hand(s, s->next, 1);
    CHECK(!s->returned || victim_has_it);
    lay_out_piece(s, s->next);
    check_receipt(s, span, victim_has_it);
}

static void check_thrown_away(struct stage *s)
{
    const struct span span = check_ring(segment_of_copy(s));
    CHECK(span.halfway || span.first == s->next + 1);
    lay_out_piece(s, s->next);
    check_receipt(s, span, false);
}

static const struct start across[] = {
    { "empty", 0, NOTHING }, BEFORE_END(8), BEFORE_END(16), BEFORE_END(24), BEFORE_END(520), BEFORE_END(1024),
    BEFORE_END(1032), BEFORE_END(2544), BEFORE_END(3080),
};
static const struct start across_empty[] = {
    { "empty", 0, NOTHING }, { "520 bytes before the end", UINT64_C(0) - 520, NOTHING },
    { "2544 bytes before the end", UINT64_C(0) - 2544, NOTHING },
};

#define PARTS(of) .side = of, .capacity = SMALLEST, .messages = 1

const struct operation parts_operations[] = {
    { .name = "send-parts-unread", PARTS(IPCR_SENDER), STARTS(across), .prepare = prepare_three,
      .approach = approach_with_piece, .operate = send_and_give_up, .observe = observe_alive,
      .check = check_transfer },
    { .name = "send-parts", PARTS(IPCR_SENDER), STARTS(across), .prepare = prepare_five,
      .approach = approach_with_piece, .operate = send_parts, .meanwhile = read_meanwhile,
      .observe = observe_while_reading, .check = check_while_reading },
    { .name = "read-parts", PARTS(IPCR_RECEIVER), STARTS(across_empty), .prepare = prepare_sent, .approach = take_end,
      .operate = read_parts, .observe = observe_alive, .check = check_read_parts },
    { .name = "throw-parts-away", PARTS(IPCR_RECEIVER), STARTS(across_empty), .prepare = prepare_beheaded,
      .approach = take_end, .operate = throw_away, .observe = observe_alive, .check = check_thrown_away },
    { .name = NULL },
};

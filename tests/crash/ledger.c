/* ledger.c - see ledger.h. */
#include "ledger.h"

enum { ROOM = 64 * 1024, ROUNDS = 2, HISTORY = 3 };

/* --- numbered messages ---------------------------------------------------------------------------------------- */

void ledger_begin(struct stage *s)
{
    static const uint64_t lengths[] = { 37, 0, 61, 8, 100 };
    s->first = s->next = 0;
    for (uint64_t i = 0; i < MOST_PLANNED; i++)
        s->lengths[i] = lengths[i % 5];
}

uint64_t length_of(const struct stage *s, uint64_t number)
{
    CHECK(number < MOST_PLANNED);
    return s->lengths[number];
}

uint64_t lay_out(const struct stage *s, uint8_t *to, uint64_t from, uint64_t count)
{
    uint64_t used = 0;
    for (uint64_t n = from; n < from + count; n++) {
        stamp(to + used, length_of(s, n), n);
        used += length_of(s, n);
    }
    return used;
}

void check_in_hand(const struct stage *s, uint64_t from, uint64_t count)
{
    static uint8_t wanted[ROOM];
    const uint64_t used = lay_out(s, wanted, from, count);
    CHECK(memcmp(s->between->hand, wanted, used) == 0);
}

int send_number(struct stage *s, struct ipcr_end *w, uint64_t number)
{
    static uint8_t message[ROOM];
    stamp(message, length_of(s, number), number);
    return ipcr_send(w, (const char *)message, length_of(s, number), IPCR_INFO(number, IPCR_BYTES));
}

static uint8_t received[ROOM];

void receive_number(struct stage *s, struct ipcr_end *r, uint64_t number)
{
    CHECK_IS(recv_any(r, received, sizeof received, 0), length_of(s, number));
    CHECK(is_stamped(received, length_of(s, number), number));
    CHECK_IS(IPCR_INFO_TYPE(ipcr_last_info(r)), number);
    CHECK_IS(ipcr_last_sequence(r), number);
}

int64_t receive_nothing(struct ipcr_end *r) { return recv_any(r, received, sizeof received, 0); }

/* --- before --------------------------------------------------------------------------------------------------- */

static void add(struct stage *s, struct ipcr_end *w, uint64_t count)
{
    for (uint64_t i = 0; i < count; i++)
        CHECK_IS(send_number(s, w, s->next++), IPCR_OK);
}

static uint64_t room_in(const struct ipcr_segment *segment)
{
    return segment->capacity - (position_of(segment, IPCR_SENDER) - position_of(segment, IPCR_RECEIVER));
}

/* Leave room for exactly the operation's messages, or for 8 bytes less than the first of them. */
static void fill_up(struct stage *s, struct ipcr_end *w, bool exact)
{
    uint64_t leave = 0;
    for (uint64_t i = 0; i < (exact ? s->operation->messages : 1); i++)
        leave += ipcr_record_bytes(length_of(s, s->next + 1 + i));
    s->lengths[s->next] = room_in(w->segment) - IPCR_RECORD_HEADER - (exact ? leave : leave - 8);
    add(s, w, 1);
}

static void fill(struct stage *s, struct ipcr_end *w)
{
    switch ((enum fill)s->start->filled) {
    case AS_NEEDED:
        add(s, w, s->operation->side == IPCR_RECEIVER ? s->operation->messages : 0);
        break;
    case NOTHING:
        break;
    case ONE:
        add(s, w, 1);
        break;
    case FULL:
    case EXACT:
        add(s, w, s->operation->side == IPCR_RECEIVER ? s->operation->messages : 1);
        fill_up(s, w, s->start->filled == EXACT);
    }
}

struct ipcr_end *prepare_both(struct stage *s)
{
    ledger_begin(s);
    uint64_t history = 0; /* some have passed before, so that both marks of a side say something */
    for (uint64_t n = 0; n < HISTORY; n++)
        history += ipcr_record_bytes(length_of(s, n));
    struct ipcr_segment *segment = anonymous(s->operation->capacity, s->start->position - history);
    struct ipcr_end *ends[IPCR_SIDES];
    for (uint32_t side = 0; side < IPCR_SIDES; side++)
        ends[side] = taken(segment, side);
    add(s, ends[IPCR_SENDER], HISTORY);
    while (s->first < HISTORY)
        receive_number(s, ends[IPCR_RECEIVER], s->first++);
    fill(s, ends[IPCR_SENDER]);
    segment_lives_on(s, segment);
    peer_lives_on(s, ends[1 - s->operation->side]);
    return ends[s->operation->side];
}

void prepare_ring(struct stage *s) { finish(prepare_both(s), false); }

void take_end(struct stage *s) { s->end = taken(s->segment, s->operation->side); }

/* --- while it lives ------------------------------------------------------------------------------------------- */

static const char *observed(struct stage *s, bool may_close)
{
    switch (ipcr_end_peer(s->peer)) {
    case IPCR_OK:
        return s->seen == 0 ? NULL : "the end was closed, and is not any more";
    case IPCR_END_OF_CHANNEL:
        s->seen = 1;
        return may_close ? NULL : "the victim works, and its end looks closed";
    case IPCR_PEER_DIED:
        return "the victim lives, and is taken for dead";
    default:
        return "the peer can't tell how the victim is";
    }
}

const char *observe_alive(struct stage *s) { return observed(s, false); }
const char *observe_closing(struct stage *s) { return observed(s, true); }

/* --- after ---------------------------------------------------------------------------------------------------- */

static void check_marks(struct ipcr_segment *segment)
{
    struct ipcr_ring_writer w;
    struct ipcr_ring_reader r;
    CHECK_IS(ipcr_ring_writer_open(&w, segment->header, segment->data, segment->capacity), IPCR_OK);
    CHECK_IS(ipcr_ring_reader_open(&r, segment->header, segment->data, segment->capacity), IPCR_OK);
}

struct span check_ring(struct ipcr_segment *segment)
{
    struct ipcr_stats stats;
    const uint64_t write = position_of(segment, IPCR_SENDER), read = position_of(segment, IPCR_RECEIVER);
    uint64_t messages = 0, bytes = 0, records = 0;
    bool halfway = false;
    CHECK(write - read <= segment->capacity && ((write | read) & 7) == 0);
    for (uint64_t at = read, left; (left = write - at) != 0; records++) {
        const struct ipcr_record *record = (const struct ipcr_record *)(const void *)(segment->data +
                                                                                     (at & (segment->capacity - 1)));
        CHECK(left >= IPCR_RECORD_HEADER);
        const uint64_t length = load_relaxed64(&record->length), info = load_relaxed64(&record->info);
        const uint32_t part = IPCR_INFO_PART(info);
        CHECK(length <= left - IPCR_RECORD_HEADER && part <= IPCR_LAST);
        halfway = halfway || (records == 0 && (part == IPCR_MIDDLE || part == IPCR_LAST));
        messages += part == IPCR_WHOLE || part == IPCR_LAST;
        bytes += length - (part == IPCR_FIRST ? IPCR_PART_PREFIX : 0);
        at += ipcr_record_bytes(length);
    }
    check_marks(segment);
    CHECK_IS(ipcr_stats_of_segment(segment, &stats), IPCR_OK);
    const struct ipcr_side_stats *sent = &stats.side[IPCR_SENDER], *taken_out = &stats.side[IPCR_RECEIVER];
    CHECK_IS(sent->messages - taken_out->messages, messages);
    CHECK_IS(sent->bytes - taken_out->bytes, bytes);
    CHECK(sent->state <= IPCR_END_CLOSED && taken_out->state <= IPCR_END_CLOSED);
    return (struct span){ .first = taken_out->messages, .next = sent->messages, .halfway = halfway };
}

/* Fill and drain, over the end of the data more than once, and one message as large as the ring. */
static void pass_through(struct stage *s, struct ipcr_end *w, struct ipcr_end *r, uint64_t number)
{
    s->lengths[number] = 5; /* it may have been meant for the dead one's message, which was longer than the ring */
    for (int round = 0; round < ROUNDS; round++) {
        const uint64_t from = number;
        int rc;
        while ((rc = send_number(s, w, number)) == IPCR_OK)
            number++;
        CHECK_IS(rc, IPCR_FULL);
        for (uint64_t n = from; n < number; n++)
            receive_number(s, r, n);
    }
    s->lengths[number] = ipcr_max_length(w->segment->capacity);
    CHECK_IS(send_number(s, w, number), IPCR_OK);
    receive_number(s, r, number);
    CHECK_IS(receive_nothing(r), IPCR_EMPTY);
}

static uint32_t state_of(const struct ipcr_segment *segment, uint32_t side)
{
    return load_acquire32(&segment->header->signals[side].end_state) & IPCR_END_MASK;
}

/* What the other side must hear about an end whose taker is dead. */
static int verdict_on(const struct ipcr_segment *segment, uint32_t side)
{
    switch (state_of(segment, side)) {
    case IPCR_END_TAKEN:
        return IPCR_PEER_DIED;
    case IPCR_END_CLOSED:
        return IPCR_END_OF_CHANNEL;
    default:
        return (segment->flags & IPCR_FLAG_NAMED) != 0 ? IPCR_OK : IPCR_END_OF_CHANNEL;
    }
}

/* A successor, or NULL where the end was closed. */
static struct ipcr_end *successor(struct ipcr_segment *segment, uint32_t side)
{
    struct ipcr_end *e;
    uint32_t by;
    const bool closed = state_of(segment, side) == IPCR_END_CLOSED;
    CHECK_IS(ipcr_end_open(segment, side, 0, &e), IPCR_OK);
    CHECK_IS(ipcr_end_take(e, &by), closed ? IPCR_END_OF_CHANNEL : IPCR_OK);
    if (!closed)
        return e;
    finish(e, true);
    return NULL;
}

/* How receiving ends, on a ring that is empty. */
static int nothing_more(const struct stage *s, const struct ipcr_segment *segment)
{
    const bool sender_lives = s->peer != NULL && s->peer->side == IPCR_SENDER;
    const int verdict = sender_lives ? IPCR_OK : verdict_on(segment, IPCR_SENDER);
    return verdict == IPCR_OK ? IPCR_EMPTY : verdict;
}

void check_goes_on(struct stage *s, struct span span)
{
    struct ipcr_segment *segment = segment_of_copy(s);
    struct ipcr_end *w = NULL, *r = NULL;
    if (s->peer != NULL) {
        *(s->peer->side == IPCR_SENDER ? &w : &r) = s->peer;
        CHECK_IS(ipcr_end_peer(s->peer), verdict_on(segment, 1 - s->peer->side));
    }
    const bool has_the_beginning = r != NULL;
    if (r == NULL)
        r = successor(segment, IPCR_RECEIVER);
    if (r != NULL) {
        for (uint64_t n = span.first + (span.halfway && !has_the_beginning); n < span.next; n++)
            receive_number(s, r, n);
        CHECK_IS(receive_nothing(r), nothing_more(s, segment));
    }
    if (w == NULL)
        w = successor(segment, IPCR_SENDER);
    if (w != NULL && r != NULL)
        pass_through(s, w, r, span.next);
    else if (w != NULL)
        CHECK_IS(send_number(s, w, span.next), IPCR_END_OF_CHANNEL);
    if (w != NULL)
        finish(w, true);
    if (r != NULL) {
        CHECK_IS(receive_nothing(r), IPCR_END_OF_CHANNEL);
        finish(r, true);
    }
    s->peer = NULL;
}

void check_transfer(struct stage *s)
{
    const struct span span = check_ring(segment_of_copy(s));
    const uint64_t added = span.next - s->next, away = span.first - s->first;
    if (s->operation->side == IPCR_SENDER) {
        CHECK(added <= s->operation->messages);
        CHECK(s->peer_acts == 0 ? away == 0 : away <= span.next - s->first);
    } else {
        CHECK(away <= s->operation->messages && added == 0);
        check_in_hand(s, s->first, away);
    }
    if (s->returned && s->result >= 0)
        CHECK_IS(s->operation->side == IPCR_SENDER ? added : away, s->result);
    check_goes_on(s, span);
}

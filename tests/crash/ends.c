/* ends.c - an end changes hands: taken for the first time or by a successor, handed to a child and adopted there,
 * closed, left; and its user dies on the way.
 *
 * The other side is there throughout, and asks after each instruction: once it has heard that somebody is there,
 * it may hear of a clean end, and of nothing else, as long as the victim lives.
 */
#include "registry.h"
#include "starts.h"

enum ends_filled { UNREAD = 100, ALL_READ, FIRST_USE, FIRST_USE_UNREAD };

/* --- before --------------------------------------------------------------------------------------------------- */

/* Nobody has had the victim's end yet. */
static void prepare_first_use(struct stage *s, bool unread)
{
    ledger_begin(s);
    struct ipcr_segment *segment = anonymous(s->operation->capacity, s->start->position);
    struct ipcr_end *peer = taken(segment, 1 - s->operation->side);
    if (unread && s->operation->side == IPCR_RECEIVER)
        CHECK_IS(send_number(s, peer, s->next++), IPCR_OK);
    segment_lives_on(s, segment);
    peer_lives_on(s, peer);
}

static void prepare_end(struct stage *s)
{
    if (s->start->filled == FIRST_USE || s->start->filled == FIRST_USE_UNREAD) {
        prepare_first_use(s, s->start->filled == FIRST_USE_UNREAD);
        return;
    }
    struct ipcr_end *predecessor = prepare_both(s);
    if (s->start->filled == UNREAD)
        CHECK_IS(send_number(s, s->operation->side == IPCR_SENDER ? predecessor : s->peer, s->next++), IPCR_OK);
    finish(predecessor, false);
}

static void open_end(struct stage *s)
{
    CHECK_IS(ipcr_end_open(s->segment, s->operation->side, 0, &s->end), IPCR_OK);
}

/* --- operations ----------------------------------------------------------------------------------------------- */

static int64_t open_and_take(struct stage *s)
{
    uint32_t by;
    open_end(s);
    return ipcr_end_take(s->end, &by);
}

static int64_t close_end(struct stage *s)
{
    finish(s->end, true);
    return 0;
}

static int64_t leave_end(struct stage *s)
{
    finish(s->end, false);
    return 0;
}

/* To a child that can't be started after all. */
static int64_t hand_over_and_back(struct stage *s)
{
    int held;
    CHECK_IS(ipcr_end_hand_over(s->end, true, false, &held), IPCR_OK);
    ipcr_end_take_back(s->end, held, true);
    return 0;
}

static int handed;

static void approach_handed(struct stage *s)
{
    open_end(s);
    CHECK_IS(ipcr_end_hand_over(s->end, true, false, &handed), IPCR_OK);
    CHECK_IS(ipcr_parcel_keep(handed), IPCR_OK);
}

static int64_t adopt(struct stage *s)
{
    struct ipcr_end *mine;
    return ipcr_end_adopt(s->segment, s->operation->side, 0, handed, true, &mine);
}

/* --- while it lives, and after -------------------------------------------------------------------------------- */

static const char *observe_arriving(struct stage *s)
{
    const int rc = ipcr_end_peer(s->peer);
    if (rc == IPCR_OK)
        s->seen = 1;
    return s->seen == 0 || rc == IPCR_OK ? NULL : "somebody came, lives, and is not seen any more";
}

static void check_nothing_moved(struct stage *s)
{
    const struct span span = check_ring(segment_of_copy(s));
    CHECK_IS(span.first, s->first);
    CHECK_IS(span.next, s->next);
    check_goes_on(s, span);
}

static uint32_t state_of_victim(struct stage *s)
{
    return load_acquire32(&segment_of_copy(s)->header->signals[s->operation->side].end_state) & IPCR_END_MASK;
}

static void check_taken(struct stage *s)
{
    if (s->returned) {
        CHECK_IS(s->result, IPCR_OK);
        CHECK_IS(state_of_victim(s), IPCR_END_TAKEN);
    }
    check_nothing_moved(s);
}

static void check_closed(struct stage *s)
{
    if (s->returned)
        CHECK_IS(state_of_victim(s), IPCR_END_CLOSED);
    check_nothing_moved(s);
}

static void check_left(struct stage *s)
{
    CHECK_IS(state_of_victim(s), IPCR_END_TAKEN);
    check_nothing_moved(s);
}

static const struct start taking_starts[] = {
    { "first use", 0, FIRST_USE },     { "first use, one unread", 0, FIRST_USE_UNREAD },
    { "successor", 0, ALL_READ },      { "successor, one unread", 0, UNREAD },
    { "at the end", UINT64_C(0) - 24, UNREAD },
};
static const struct start leaving_starts[] = {
    { "all read", 0, ALL_READ }, { "one unread", 0, UNREAD }, { "at the end", UINT64_C(0) - 24, UNREAD },
};
static const struct start handing_starts[] = {
    { "first use", 0, FIRST_USE }, { "first use, one unread", 0, FIRST_USE_UNREAD },
};

#define END(of) .side = of, .capacity = SMALLEST, .prepare = prepare_end
#define TAKE(of)                                                                                             \
    END(of), STARTS(taking_starts), .operate = open_and_take, .observe = observe_arriving, .check = check_taken
#define CLOSE(of)                                                                                            \
    END(of), STARTS(leaving_starts), .approach = take_end, .operate = close_end, .observe = observe_closing,     \
        .check = check_closed
#define LEAVE(of) END(of), STARTS(leaving_starts), .approach = take_end, .operate = leave_end, .check = check_left
#define HAND(of)                                                                                                \
    END(of), STARTS(handing_starts), .approach = open_end, .operate = hand_over_and_back,                          \
        .observe = observe_arriving, .check = check_nothing_moved
#define ADOPT(of)                                                                                               \
    END(of), STARTS(handing_starts), .approach = approach_handed, .operate = adopt, .observe = observe_arriving,   \
        .check = check_taken

const struct operation end_operations[] = {
    { .name = "take-sender", TAKE(IPCR_SENDER) },
    { .name = "take-receiver", TAKE(IPCR_RECEIVER) },
    { .name = "close-sender", CLOSE(IPCR_SENDER) },
    { .name = "close-receiver", CLOSE(IPCR_RECEIVER) },
    { .name = "leave-sender", LEAVE(IPCR_SENDER) },
    { .name = "leave-receiver", LEAVE(IPCR_RECEIVER) },
    { .name = "hand-over-sender", HAND(IPCR_SENDER) },
    { .name = "hand-over-receiver", HAND(IPCR_RECEIVER) },
    { .name = "adopt-sender", ADOPT(IPCR_SENDER) },
    { .name = "adopt-receiver", ADOPT(IPCR_RECEIVER) },
    { .name = NULL },
};

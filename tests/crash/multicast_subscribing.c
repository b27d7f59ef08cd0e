/* multicast_subscribing.c - a subscriber dies: receiving in each way, lapped and evicted meanwhile, waiting, leaving.
 *
 * What its cursor has passed is in the hand of its caller, whole.
 */
#include "multicast_stage.h"

enum { PATIENCE_MS = 5, IN_A_ROW = 3, SETTLED = 2, MIDDLE_OF_COPY = 1 };

static struct ipcr_subscriber *mine;

static void subscribe(struct stage *s, struct ipcr_subscription wanted, const struct ipcr_topic *topic)
{
    uint64_t oldest, next;
    wanted.topics = topic != NULL;
    CHECK_IS(ipcr_subscriber_open(s->segment, &wanted, topic, &oldest, &next, &mine), IPCR_OK);
    CHECK(mine->cursor == NULL || mine->number == s->broadcast->victim_number);
    CHECK_IS(number_of(s, mine->next), s->broadcast->victim_from);
}

static void approach(struct stage *s) { subscribe(s, subscription_to(IPCR_START_OLDEST, IPCR_LAP_TO_OLDEST, false), NULL); }

static void approach_for_latest(struct stage *s)
{
    subscribe(s, subscription_to(IPCR_START_OLDEST, IPCR_LAP_TO_LATEST, false), NULL);
}

static void approach_as_observer(struct stage *s)
{
    subscribe(s, subscription_to(IPCR_START_OLDEST, IPCR_LAP_TO_OLDEST, true), NULL);
}

static void approach_for_odd(struct stage *s)
{
    static struct ipcr_topic odd;
    odd = topic_called("odd");
    subscribe(s, subscription_to(IPCR_START_OLDEST, IPCR_LAP_TO_OLDEST, false), &odd);
}

static void approach_with_nothing_left(struct stage *s)
{
    subscribe(s, subscription_to(IPCR_START_LATEST, IPCR_LAP_TO_OLDEST, false), NULL);
}

/* The publisher sleeps until it has read one, as far as its words say. */
static void approach_in_the_way(struct stage *s)
{
    approach(s);
    store_relaxed32(&words_of(s)->blocked_by, mine->number);
    store_relaxed64(&words_of(s)->wake_at, mine->next + 1);
    store_release32(&words_of(s)->room_parked, 1);
}

/* A number of messages: nothing there is none, as at the end; one that was evicted is told so. */
static int64_t got(int64_t rc)
{
    CHECK(rc >= 0 || rc == IPCR_EMPTY || rc == IPCR_END_OF_CHANNEL || rc == IPCR_LAGGED_OUT);
    return rc >= 0 ? 1 : rc == IPCR_LAGGED_OUT ? rc : 0;
}

static int64_t copy_one(struct stage *s)
{
    return got(ipcr_subscriber_copy(mine, (char *)s->between->hand, HAND_BYTES));
}

/* It leaves no cursor behind that would tell which message it was. */
static int64_t observe_one(struct stage *s)
{
    return copy_one(s) == 1 ? 1 + (int64_t)number_of(s, ipcr_subscriber_last_sequence(mine)) : 0;
}

static int64_t copy_each(struct stage *s)
{
    char *hand = (char *)s->between->hand;
    for (uint64_t i = 0; i < IN_A_ROW; i++) {
        const int64_t result = ipcr_subscriber_copy(mine, hand, HAND_BYTES);
        if (got(result) != 1)
            return (int64_t)i;
        hand += LENGTH_OF(result);
    }
    return IN_A_ROW;
}

static int64_t peek_and_release(struct stage *s)
{
    const int64_t result = ipcr_subscriber_peek(mine);
    if (got(result) != 1)
        return got(result);
    copy_out(s->between->hand, (const uint8_t *)ipcr_subscriber_lent(mine), LENGTH_OF(result));
    CHECK_IS(ipcr_subscriber_release(mine), IPCR_OK);
    return 1;
}

static int64_t peek_and_put_back(struct stage *s)
{
    (void)s;
    if (got(ipcr_subscriber_peek(mine)) == 1)
        CHECK_IS(ipcr_subscriber_put_back(mine), IPCR_OK);
    return 0;
}

/* A batch of which some are settled, as when one of them can't be decoded. */
static int64_t batch(struct stage *s, uint64_t settled)
{
    int64_t results[IN_A_ROW];
    uint64_t sequences[IN_A_ROW], lost[IN_A_ROW];
    const int64_t n = ipcr_subscriber_recv_many(mine, (char *)s->between->hand, HAND_BYTES, results, sequences, lost, IN_A_ROW);
    if (n <= 0)
        return got(n);
    const uint64_t taken = settled < (uint64_t)n ? settled : (uint64_t)n;
    CHECK_IS(ipcr_subscriber_settle(mine, taken, sequences[taken - 1] + 1, lost[taken - 1]), IPCR_OK);
    return (int64_t)taken;
}

static int64_t batch_all(struct stage *s) { return batch(s, IN_A_ROW); }
static int64_t batch_some(struct stage *s) { return batch(s, SETTLED); }

static int64_t wait_for_message(struct stage *s)
{
    (void)s;
    const uint64_t deadline = in_ms(PATIENCE_MS);
    int rc = ipcr_subscriber_wait(mine, deadline, 0);
    while (rc == IPCR_AGAIN)
        rc = ipcr_subscriber_wait(mine, deadline, 1);
    return rc;
}

static int64_t look_around(struct stage *s)
{
    (void)s;
    return ipcr_subscriber_look_around(mine);
}

static int64_t leave(struct stage *s)
{
    (void)s;
    ipcr_subscriber_close(mine);
    return 0;
}

/* --- what they will do ---------------------------------------------------------------------------------------------- */

static void plan_up_to(struct stage *s, uint64_t most)
{
    struct broadcast *b = s->broadcast;
    const uint64_t there = b->published - b->oldest;
    will_subscribe(s, b->oldest);
    s->next = b->oldest + (there < most ? there : most); /* where it will stand */
    b->promised = (int64_t)(s->next - b->oldest);
}

static void plan_none(struct stage *s) { plan_up_to(s, 0); }
static void plan_one(struct stage *s) { plan_up_to(s, 1); }
static void plan_row(struct stage *s) { plan_up_to(s, IN_A_ROW); }
static void plan_some(struct stage *s) { plan_up_to(s, SETTLED); }

/* Those of the other topic are passed by as well. */
static void plan_odd(struct stage *s)
{
    plan_up_to(s, 1);
    s->next += (s->next - 1) % 2 == 0;
}

/* What comes meanwhile begins with a message that takes the whole ring. */
static void plan_overwritten(struct stage *s)
{
    plan_one(s);
    s->lengths[s->broadcast->published] = s->operation->capacity;
}

static void plan_observer(struct stage *s)
{
    plan_overwritten(s);
    s->broadcast->victim_number = NOBODYS_NUMBER;
}

static void plan_waiting(struct stage *s)
{
    struct broadcast *b = s->broadcast;
    will_subscribe(s, b->published);
    b->promised = s->start->filled == DEAD_ALL_READ ? IPCR_PEER_DIED : IPCR_EMPTY;
}

static void plan_looking(struct stage *s)
{
    plan_waiting(s);
    s->broadcast->promised = s->start->filled == DEAD_ALL_READ ? IPCR_PEER_DIED : IPCR_OK;
}

/* --- meanwhile ------------------------------------------------------------------------------------------------------ */

/* At the instruction that the start names, or when the copy has begun. */
static bool is_the_moment(struct stage *s)
{
    if (s->note[0] != 0)
        return false;
    const bool now = s->start->position == MIDDLE_OF_COPY ? s->between->hand[0] != 0 : s->seen == s->start->position;
    s->seen++;
    s->note[0] = now;
    return now;
}

static void lap_meanwhile(struct stage *s)
{
    if (is_the_moment(s))
        publishes_meanwhile(s, s->operation->multicast->entries + 2);
}

static void evict_meanwhile(struct stage *s)
{
    if (is_the_moment(s))
        publishes_meanwhile(s, 2);
}

/* --- after ---------------------------------------------------------------------------------------------------------- */

static const struct ipcr_cursor *cursor_of_victim(const struct stage *s)
{
    return &words_of(s)->cursor[s->broadcast->victim_number];
}

static uint32_t state_of_victim(const struct stage *s)
{
    return load_acquire32(&cursor_of_victim(s)->state) & IPCR_CURSOR_MASK;
}

/* Without loss: what it has passed is in its hand, one behind the other. */
static void check_receiving(struct stage *s)
{
    const struct broadcast *b = s->broadcast;
    segment_of_copy(s);
    const uint64_t published = check_multicast_words(s), next = number_of(s, load_acquire64(&cursor_of_victim(s)->next));
    const uint64_t received = load_relaxed64(&cursor_of_victim(s)->received);
    CHECK(next >= b->victim_from && next <= s->next);
    CHECK_IS(state_of_victim(s), IPCR_CURSOR_ACTIVE);
    check_in_hand(s, b->victim_from, next - b->victim_from);
    CHECK(received >= next - b->victim_from && received <= s->next - b->victim_from);
    CHECK_IS(load_relaxed64(&cursor_of_victim(s)->lost), 0);
    if (s->returned) {
        CHECK_IS(s->result, b->promised);
        CHECK_IS(next, s->next);
        CHECK_IS(received, next - b->victim_from);
    }
    check_multicast_goes_on(s, published);
}

static void check_receiving_in_the_way(struct stage *s)
{
    segment_of_copy(s);
    if (s->returned)
        CHECK_IS(load_acquire32(&words_of(s)->room_parked), 0);
    check_receiving(s);
}

/* One message, before which others were passed by: the last one before its cursor. */
static void check_receiving_one(struct stage *s, bool may_be_lost)
{
    const struct broadcast *b = s->broadcast;
    segment_of_copy(s);
    const uint64_t published = check_multicast_words(s), next = number_of(s, load_acquire64(&cursor_of_victim(s)->next));
    const uint64_t received = load_relaxed64(&cursor_of_victim(s)->received);
    const uint64_t lost = load_relaxed64(&cursor_of_victim(s)->lost);
    CHECK(next >= b->victim_from && next <= published);
    if (next != b->victim_from) {
        CHECK(is_stamped(s->between->hand, length_of(s, next - 1), next - 1));
        CHECK_IS(received, 1);
        CHECK_IS(lost, may_be_lost ? next - 1 - b->victim_from : 0);
    }
    if (!may_be_lost)
        CHECK(next == b->victim_from || next == s->next);
    if (s->returned) {
        CHECK_IS(s->result, 1);
        CHECK(next != b->victim_from);
    }
    check_multicast_goes_on(s, published);
}

static void check_receiving_odd(struct stage *s) { check_receiving_one(s, false); }
static void check_receiving_lossy(struct stage *s) { check_receiving_one(s, true); }

/* It is told that it was evicted, or has the message: if both is possible, never a message that it may not believe. */
static void check_receiving_evictable(struct stage *s)
{
    const struct broadcast *b = s->broadcast;
    segment_of_copy(s);
    const uint64_t published = check_multicast_words(s), next = number_of(s, load_acquire64(&cursor_of_victim(s)->next));
    const uint32_t state = state_of_victim(s);
    CHECK(next == b->victim_from || next == b->victim_from + 1);
    check_in_hand(s, b->victim_from, next - b->victim_from);
    CHECK(state == IPCR_CURSOR_ACTIVE || state == IPCR_CURSOR_EVICTED);
    if (s->returned) {
        CHECK(s->result == 1 || (s->result == IPCR_LAGGED_OUT && state == IPCR_CURSOR_EVICTED));
        CHECK_IS(next, s->result == 1 ? b->victim_from + 1 : b->victim_from);
    }
    check_multicast_goes_on(s, published);
}

/* It leaves nothing behind, so there is nothing but what it has in hand. */
static void check_observing(struct stage *s)
{
    segment_of_copy(s);
    const uint64_t published = check_multicast_words(s);
    if (s->returned) {
        const uint64_t number = (uint64_t)(s->result - 1);
        CHECK(s->result > 0 && number >= s->broadcast->victim_from && number < published);
        CHECK(is_stamped(s->between->hand, length_of(s, number), number));
    }
    check_multicast_goes_on(s, published);
}

static void check_waiting(struct stage *s)
{
    segment_of_copy(s);
    const uint64_t published = check_multicast_words(s);
    CHECK_IS(state_of_victim(s), IPCR_CURSOR_ACTIVE);
    if (s->returned)
        CHECK_IS(s->result, s->broadcast->promised);
    check_multicast_goes_on(s, published);
}

static void check_leaving(struct stage *s)
{
    segment_of_copy(s);
    const uint64_t published = check_multicast_words(s);
    const uint32_t state = state_of_victim(s);
    CHECK(state == IPCR_CURSOR_FREE || (!s->returned && state == IPCR_CURSOR_ACTIVE));
    CHECK_IS(number_of(s, load_acquire64(&cursor_of_victim(s)->next)), s->broadcast->victim_from);
    if (s->returned)
        CHECK_IS(load_acquire32(&words_of(s)->room_parked), 0);
    check_multicast_goes_on(s, published);
}

/* --- where ---------------------------------------------------------------------------------------------------------- */

static const struct start starts[] = {
    { "nothing there", 0, NOT_YET },
    { "one unread", UINT32_MAX - 3, ONE_UNREAD },
    { "full", 0, FULL_OF_UNREAD },
    { "full, the first is read", 0, FIRST_READ },
    { "no bytes", 0, BYTES_UNREAD },
    { "a dead laggard", 0, LAGGARD_DIED },
    { "closed, one unread", 0, CLOSED_ONE_UNREAD },
    { "its publisher died", 0, DEAD_ONE_UNREAD },
    PAYLOADS_END_IN(8),
    PAYLOADS_END_IN(24),
};
static const struct start few_starts[] = {
    { "one unread", 0, ONE_UNREAD },
    { "full", 0, FULL_OF_UNREAD },
    { "an observer is behind", 0, OBSERVED },
    PAYLOADS_END_IN(40),
};
static const struct start full_starts[] = { { "full", 0, FULL_OF_UNREAD }, { "two listen", 0, TWO_LISTEN } };
static const struct start moments[] = {
    { "at once", 0, FULL_OF_READ },
    { "in the middle of the copy", MIDDLE_OF_COPY, FULL_OF_READ },
    { "after 40 instructions", 40, FULL_OF_READ },
    { "after 80 instructions", 80, FULL_OF_READ },
    { "after 160 instructions", 160, FULL_OF_READ },
    { "after 240 instructions", 240, FULL_OF_READ },
};
static const struct start few_moments[] = {
    { "in the middle of the copy", MIDDLE_OF_COPY, FULL_OF_READ },
    { "after 80 instructions", 80, FULL_OF_READ },
};
static const struct start waiting_starts[] = {
    { "nothing there", 0, NOT_YET },
    { "its publisher died", 0, DEAD_ALL_READ },
};
static const struct start leaving_starts[] = {
    { "full", 0, FULL_OF_UNREAD },
    { "a dead laggard", 0, LAGGARD_DIED },
    { "a dead joiner", 0, JOINER_DIED },
    { "its publisher died", 0, DEAD_ONE_UNREAD },
};

static const struct multicast_shape waits = { .entries = 4 };
static const struct multicast_shape lossy = { .entries = 4, .options = { .policy = IPCR_LOSSY } };
static const struct multicast_shape evicting = { .entries = 4, .options = { .on_laggard = IPCR_EVICT_LAGGARDS } };
static const struct multicast_shape with_topics = { .entries = 4, .topics = true };

#define SUBSCRIBER                                                                                                       \
    .side = IPCR_RECEIVER, .capacity = SMALLEST, .ways = WAYS_OF_MULTICASTS, .prepare = prepare_multicast,               \
    .observe = observe_subscriber
#define WITHOUT_LOSS SUBSCRIBER, .multicast = &waits, .approach = approach, .check = check_receiving

const struct operation subscribing_operations[] = {
    { .name = "hear", WITHOUT_LOSS, STARTS(starts), .plan = plan_one, .operate = copy_one },
    { .name = "hear-each", WITHOUT_LOSS, STARTS(few_starts), .plan = plan_row, .operate = copy_each },
    { .name = "hear-in-the-way", SUBSCRIBER, .multicast = &waits, .check = check_receiving_in_the_way, STARTS(full_starts),
      .plan = plan_one, .approach = approach_in_the_way, .operate = copy_one },
    { .name = "hear-in-place", WITHOUT_LOSS, STARTS(few_starts), .plan = plan_one, .operate = peek_and_release },
    { .name = "look-and-put-back", WITHOUT_LOSS, STARTS(full_starts), .plan = plan_none, .operate = peek_and_put_back },
    { .name = "hear-many", WITHOUT_LOSS, STARTS(few_starts), .plan = plan_row, .operate = batch_all },
    { .name = "hear-many-settle-some", WITHOUT_LOSS, STARTS(full_starts), .plan = plan_some, .operate = batch_some },
    { .name = "hear-odd", SUBSCRIBER, .multicast = &with_topics, .check = check_receiving_odd, STARTS(full_starts),
      .plan = plan_odd, .approach = approach_for_odd, .operate = copy_one },
    { .name = "wait-to-hear", SUBSCRIBER, .multicast = &waits, .check = check_waiting, STARTS(waiting_starts),
      .plan = plan_waiting, .approach = approach_with_nothing_left, .operate = wait_for_message },
    { .name = "look-for-publisher", SUBSCRIBER, .multicast = &waits, .check = check_waiting, STARTS(waiting_starts),
      .plan = plan_looking, .approach = approach_with_nothing_left, .operate = look_around },
    { .name = "leave-multicast", SUBSCRIBER, .multicast = &waits, .check = check_leaving, STARTS(leaving_starts),
      .plan = plan_none, .approach = approach, .operate = leave },
    { .name = "leave-in-the-way", SUBSCRIBER, .multicast = &waits, .check = check_leaving, STARTS(full_starts),
      .plan = plan_none, .approach = approach_in_the_way, .operate = leave },
    { .name = NULL },
};

/* Those beside which somebody lives and acts: between two instructions, not at system calls. */
const struct operation subscribing_beside_operations[] = {
    { .name = "hear-lapped", SUBSCRIBER, .multicast = &lossy, .check = check_receiving_lossy, STARTS(moments),
      .plan = plan_overwritten, .approach = approach, .operate = copy_one, .meanwhile = lap_meanwhile },
    { .name = "hear-latest", SUBSCRIBER, .multicast = &lossy, .check = check_receiving_lossy, STARTS(moments),
      .plan = plan_overwritten, .approach = approach_for_latest, .operate = copy_one, .meanwhile = lap_meanwhile },
    { .name = "hear-evicted", SUBSCRIBER, .multicast = &evicting, .check = check_receiving_evictable, STARTS(moments),
      .plan = plan_overwritten, .approach = approach, .operate = copy_one, .meanwhile = evict_meanwhile },
    { .name = "observe-lapped", SUBSCRIBER, .multicast = &waits, .check = check_observing, STARTS(few_moments),
      .plan = plan_observer, .approach = approach_as_observer, .operate = observe_one, .meanwhile = evict_meanwhile },
    { .name = NULL },
};

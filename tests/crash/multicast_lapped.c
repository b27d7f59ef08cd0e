/* multicast_lapped.c - a subscriber dies while it reads what is overwritten: lapped where messages may be lost,
 * evicted where they may not, or an observer.
 *
 * What comes meanwhile begins with a message that takes the whole ring, so that nothing of what stood there is left.
 */
#include "multicast_stage.h"

enum { MIDDLE_OF_COPY = 1 };

static struct ipcr_subscriber *mine;

static void subscribe(struct stage *s, uint32_t on_lap, bool observe)
{
    const struct ipcr_subscription wanted = subscription_to(IPCR_START_OLDEST, on_lap, observe);
    uint64_t oldest, next;
    CHECK_IS(ipcr_subscriber_open(s->segment, &wanted, NULL, &oldest, &next, &mine), IPCR_OK);
    CHECK(observe || mine->number == s->broadcast->victim_number);
    CHECK_IS(number_of(s, mine->next), s->broadcast->victim_from);
}

static void approach(struct stage *s) { subscribe(s, IPCR_LAP_TO_OLDEST, false); }
static void approach_for_latest(struct stage *s) { subscribe(s, IPCR_LAP_TO_LATEST, false); }
static void approach_as_observer(struct stage *s) { subscribe(s, IPCR_LAP_TO_OLDEST, true); }

static int64_t copy_one(struct stage *s)
{
    const int64_t rc = ipcr_subscriber_copy(mine, (char *)s->between->hand, HAND_BYTES);
    CHECK(rc >= 0 || rc == IPCR_LAGGED_OUT);
    return rc >= 0 ? 1 : rc;
}

/* It leaves no cursor behind that would tell which message it was. */
static int64_t observe_one(struct stage *s)
{
    return copy_one(s) == 1 ? 1 + (int64_t)number_of(s, ipcr_subscriber_last_sequence(mine)) : 0;
}

static void plan(struct stage *s)
{
    will_subscribe(s, s->broadcast->oldest);
    s->lengths[s->broadcast->published] = s->operation->capacity;
}

static void plan_observer(struct stage *s)
{
    plan(s);
    s->broadcast->victim_number = NOBODYS_NUMBER;
}

/* --- meanwhile -------------------------------------------------------------------------------------------------- */

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

/* --- after ------------------------------------------------------------------------------------------------------ */

/* One message, and exactly as many lost as there were before it. */
static void check_lossy(struct stage *s)
{
    const struct broadcast *b = s->broadcast;
    segment_of_copy(s);
    const uint64_t published = check_multicast_words(s), next = next_of_victim(s);
    CHECK(next >= b->victim_from && next <= published);
    if (next != b->victim_from) {
        CHECK(is_stamped(s->between->hand, length_of(s, next - 1), next - 1));
        CHECK_IS(load_relaxed64(&cursor_of_victim(s)->received), 1);
        CHECK_IS(load_relaxed64(&cursor_of_victim(s)->lost), next - 1 - b->victim_from);
    }
    if (s->returned) {
        CHECK_IS(s->result, 1);
        CHECK(next != b->victim_from);
    }
    check_multicast_goes_on(s, published);
}

/* It is told that it was evicted, or has the message: if both is possible, never a message that it may not believe. */
static void check_evictable(struct stage *s)
{
    const struct broadcast *b = s->broadcast;
    segment_of_copy(s);
    const uint64_t published = check_multicast_words(s), next = next_of_victim(s);
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

#define MIDDLE { "in the middle of the copy", MIDDLE_OF_COPY, FULL_OF_READ }
#define AFTER(instructions) { "after " #instructions " instructions", (instructions), FULL_OF_READ }

static const struct start moments[] = {
    { "at once", 0, FULL_OF_READ }, MIDDLE, AFTER(40), AFTER(80), AFTER(160), AFTER(240),
};
static const struct start few_moments[] = { MIDDLE, AFTER(80) };

static const struct multicast_shape waits = { .entries = 4 };
static const struct multicast_shape lossy = { .entries = 4, .options = { .policy = IPCR_LOSSY } };
static const struct multicast_shape evicting = { .entries = 4, .options = { .on_laggard = IPCR_EVICT_LAGGARDS } };

#define SUBSCRIBER                                                                                                   \
    .side = IPCR_RECEIVER, .capacity = SMALLEST, .ways = WAYS_OF_MULTICASTS, .prepare = prepare_multicast,           \
    .observe = observe_subscriber

const struct operation lapped_operations[] = {
    { .name = "hear-lapped", SUBSCRIBER, STARTS(moments), .multicast = &lossy, .plan = plan, .approach = approach,
      .operate = copy_one, .meanwhile = lap_meanwhile, .check = check_lossy },
    { .name = "hear-latest", SUBSCRIBER, STARTS(moments), .multicast = &lossy, .plan = plan,
      .approach = approach_for_latest, .operate = copy_one, .meanwhile = lap_meanwhile, .check = check_lossy },
    { .name = "hear-evicted", SUBSCRIBER, STARTS(moments), .multicast = &evicting, .plan = plan, .approach = approach,
      .operate = copy_one, .meanwhile = evict_meanwhile, .check = check_evictable },
    { .name = "observe-lapped", SUBSCRIBER, STARTS(few_moments), .multicast = &waits, .plan = plan_observer,
      .approach = approach_as_observer, .operate = observe_one, .meanwhile = evict_meanwhile,
      .check = check_observing },
    { .name = NULL },
};

/* multicast_beside.c - a publisher dies while it publishes, and somebody joined or read in the middle of that.
 *
 * Who joins finds the one `oldest` or the other, and may be below what the dead one had announced: its successor has to wait
 * for it.  Who reads what is about to be overwritten has it whole, or hears that it was evicted.
 */
#include "multicast_stage.h"

static uint8_t message[HAND_BYTES];
static struct ipcr_publisher *mine;

static void approach(struct stage *s)
{
    mine = begins_to_publish(s);
    lay_out(s, message, s->next, 1);
}

static int64_t publish(struct stage *s)
{
    const int64_t rc = ipcr_publish_bytes(mine, (const char *)message, length_of(s, s->next));
    CHECK(rc == (int64_t)sequence_of(s, s->next) || rc == IPCR_FULL);
    return rc >= 0;
}

static void plan(struct stage *s) { s->broadcast->will_publish = 1; }

/* --- meanwhile ------------------------------------------------------------------------------------------------------ */

enum { WHEN_ANNOUNCED = 1 };

static bool is_the_moment(struct stage *s)
{
    const bool announced = number_of(s, load_acquire64(&words_of(s)->oldest)) != s->broadcast->oldest;
    if (s->note[0] != 0 || (s->start->position == WHEN_ANNOUNCED ? !announced : s->seen++ != s->start->position))
        return false;
    s->note[0] = 1;
    s->peer_acts++;
    return true;
}

static void remember_cursor(struct stage *s, uint32_t number)
{
    s->broadcast->cursors[number] = words_of(s)->cursor[number];
}

static void join_meanwhile(struct stage *s)
{
    if (!is_the_moment(s))
        return;
    struct ipcr_subscriber *handle = joins(s, IPCR_START_OLDEST, IPCR_LAP_TO_OLDEST);
    listens_on(s, handle);
    remember_cursor(s, handle->number);
}

static void read_meanwhile(struct stage *s)
{
    struct listener *l = &s->broadcast->listeners[0];
    if (!is_the_moment(s))
        return;
    const int64_t result = ipcr_subscriber_copy(l->handle, (char *)s->peer_hand, sizeof s->peer_hand);
    CHECK(result >= 0 || (evicts(s) && result == IPCR_LAGGED_OUT));
    if (result < 0)
        return;
    CHECK_IS(LENGTH_OF(result), length_of(s, l->heard));
    CHECK(is_stamped(s->peer_hand, LENGTH_OF(result), l->heard));
    l->heard++;
    l->received++;
    remember_cursor(s, l->handle->number);
}

/* --- after ---------------------------------------------------------------------------------------------------------- */

static void check_publishing(struct stage *s)
{
    segment_of_copy(s);
    const uint64_t published = check_multicast_words(s);
    if (s->returned)
        CHECK_IS(s->result, published - s->broadcast->published);
    check_multicast_goes_on(s, published);
}

#define AFTER(instructions, scene) { "after " #instructions " instructions", (instructions), scene }

static const struct start join_moments[] = {
    { "at once", 0, FULL_OF_READ }, { "when it has announced", WHEN_ANNOUNCED, FULL_OF_READ },
    AFTER(120, FULL_OF_READ),       AFTER(180, FULL_OF_READ),
    AFTER(200, FULL_OF_READ),       AFTER(220, FULL_OF_READ),
    AFTER(240, FULL_OF_READ),       AFTER(260, FULL_OF_READ),
    AFTER(280, FULL_OF_READ),       AFTER(300, FULL_OF_READ),
    AFTER(320, FULL_OF_READ),
};
static const struct start read_moments[] = {
    { "at once", 0, FULL_OF_UNREAD }, { "when it has announced", WHEN_ANNOUNCED, FULL_OF_UNREAD },
    AFTER(80, FULL_OF_UNREAD),        AFTER(120, FULL_OF_UNREAD),
    AFTER(160, FULL_OF_UNREAD),       AFTER(200, FULL_OF_UNREAD),
    AFTER(240, FULL_OF_UNREAD),       AFTER(280, FULL_OF_UNREAD),
};

static const struct multicast_shape waits = { .entries = 4 };
static const struct multicast_shape evicting = { .entries = 4, .options = { .on_laggard = IPCR_EVICT_LAGGARDS } };

#define PUBLISHER                                                                                                        \
    .side = IPCR_SENDER, .capacity = SMALLEST, .ways = WAYS_OF_MULTICASTS, .prepare = prepare_multicast, .plan = plan,   \
    .approach = approach, .operate = publish, .observe = observe_publisher, .check = check_publishing

const struct operation publishing_beside_operations[] = {
    { .name = "publish-beside-a-joiner", PUBLISHER, STARTS(join_moments), .multicast = &waits,
      .meanwhile = join_meanwhile },
    { .name = "publish-beside-a-reader", PUBLISHER, STARTS(read_moments), .multicast = &waits,
      .meanwhile = read_meanwhile },
    { .name = "evict-beside-a-reader", PUBLISHER, STARTS(read_moments), .multicast = &evicting,
      .meanwhile = read_meanwhile },
    { .name = NULL },
};

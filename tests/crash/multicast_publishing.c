/* multicast_publishing.c - a publisher dies: taking the role, publishing in each way, waiting for room, leaving.
 *
 * The promise: what publish returned from is there; a message that it had not returned from is there whole, or not at
 * all.
 */
#include "multicast_stage.h"

enum { PATIENCE_MS = 20, IN_A_ROW = 3 };

static uint8_t message[HAND_BYTES]; /* laid out before the operation begins */
static struct ipcr_piece pieces[2];
static struct ipcr_publisher *mine;

static void lay_out_next(struct stage *s) { lay_out(s, message, s->next, IN_A_ROW); }

static void approach(struct stage *s)
{
    mine = begins_to_publish(s);
    lay_out_next(s);
}

/* Subscribers sleep, as far as their word says. */
static void approach_sleepers(struct stage *s)
{
    approach(s);
    store_release32(&words_of(s)->readers_parked, 1);
}

static int64_t was_published(struct stage *s, uint64_t number, int64_t rc)
{
    CHECK(rc == (int64_t)sequence_of(s, number) || rc == IPCR_FULL);
    return rc >= 0;
}

static int64_t publish(struct stage *s)
{
    return was_published(s, s->next, ipcr_publish_bytes(mine, (const char *)message, length_of(s, s->next)));
}

static int64_t publish_each(struct stage *s)
{
    const char *at = (const char *)message;
    for (uint64_t i = 0; i < IN_A_ROW; i++) {
        const uint64_t length = length_of(s, s->next + i);
        if (was_published(s, s->next + i, ipcr_publish_bytes(mine, at, length)) == 0)
            return (int64_t)i;
        at += length;
    }
    return IN_A_ROW;
}

static int64_t publish_many(struct stage *s)
{
    uint64_t lengths[IN_A_ROW], infos[IN_A_ROW];
    for (uint64_t i = 0; i < IN_A_ROW; i++) {
        lengths[i] = length_of(s, s->next + i);
        infos[i] = IPCR_INFO(0, s->operation->multicast->encoding);
    }
    const int64_t rc = ipcr_publish_many(mine, NULL, (const char *)message, lengths, infos, IN_A_ROW);
    return rc == IPCR_FULL ? 0 : rc;
}

static int64_t publish_pieces(struct stage *s)
{
    const uint64_t length = length_of(s, s->next), first = IPCR_DATA_ALIGNMENT;
    pieces[0] = (struct ipcr_piece){ .data = (const char *)message, .length = first };
    pieces[1] = (struct ipcr_piece){ .data = (const char *)message + first, .length = length - first };
    return was_published(s, s->next, ipcr_publish(mine, topic_of_number(s, s->next), pieces, 2,
                                                  IPCR_INFO(0, s->operation->multicast->encoding)));
}

static int64_t claim(struct stage *s)
{
    const int rc = ipcr_publisher_claim(mine, topic_of_number(s, s->next), length_of(s, s->next));
    CHECK(rc == IPCR_OK || rc == IPCR_FULL);
    return rc == IPCR_OK;
}

static int64_t claim_and_commit(struct stage *s)
{
    const uint64_t length = length_of(s, s->next);
    if (claim(s) == 0)
        return 0;
    copy_in((uint8_t *)ipcr_publisher_lent(mine), message, length);
    const uint64_t info = IPCR_INFO(0, s->operation->multicast->encoding);
    return was_published(s, s->next, ipcr_publisher_commit(mine, length, info));
}

static int64_t claim_and_abandon(struct stage *s)
{
    if (claim(s) == 0)
        return 0;
    copy_in((uint8_t *)ipcr_publisher_lent(mine), message, length_of(s, s->next));
    CHECK_IS(ipcr_publisher_abort(mine), IPCR_OK);
    return 0;
}

static int64_t take_role(struct stage *s)
{
    mine = begins_to_publish(s);
    return 0;
}

static int64_t take_role_and_publish(struct stage *s)
{
    mine = begins_to_publish(s);
    return publish(s);
}

static void approach_with_nothing(struct stage *s) { lay_out_next(s); }

/* Publish as Python does: try, wait, try again. */
static int64_t wait_and_publish(struct stage *s, uint64_t deadline_ns)
{
    for (int64_t done = publish(s); done == 0; done = publish(s)) {
        int rc = ipcr_publisher_wait(mine, deadline_ns, 0);
        while (rc == IPCR_AGAIN)
            rc = ipcr_publisher_wait(mine, deadline_ns, 1);
        if (rc == IPCR_FULL)
            return 0;
        CHECK_IS(rc, IPCR_OK);
    }
    return 1;
}

static int64_t evict_the_dead(struct stage *s) { return wait_and_publish(s, 0); }
static int64_t sleep_for_room(struct stage *s) { return wait_and_publish(s, in_ms(PATIENCE_MS)); }

/* As who polls does. */
static int64_t look_around(struct stage *s)
{
    if (publish(s) == 1)
        return 1;
    CHECK_IS(ipcr_publisher_look_around(mine), IPCR_OK);
    return publish(s);
}

static int64_t close_publisher(struct stage *s)
{
    (void)s;
    ipcr_publisher_close(mine);
    return 0;
}

/* --- what they will do ------------------------------------------------------------------------------------------ */

static void will_publish(struct stage *s, uint64_t most)
{
    s->broadcast->will_publish = room_for(s, most);
    s->broadcast->promised = (int64_t)s->broadcast->will_publish;
}

static void plan_one(struct stage *s) { will_publish(s, 1); }

/* Two pieces without a gap between them, as each begins at a multiple of the alignment. */
static void plan_pieces(struct stage *s)
{
    s->lengths[s->next] = IPCR_DATA_ALIGNMENT + 21;
    plan_one(s);
}

static void plan_row(struct stage *s) { will_publish(s, IN_A_ROW); }

static void plan_role(struct stage *s) { s->broadcast->takes_role = true; }

static void plan_role_and_one(struct stage *s)
{
    plan_role(s);
    plan_one(s);
}

static void plan_closing(struct stage *s) { s->broadcast->closes = true; }

/* The dead are out of the way in the end. */
static void plan_evicting(struct stage *s)
{
    const bool living_are_in_the_way = s->start->filled == FULL_OF_UNREAD || s->start->filled == TWO_LISTEN;
    s->broadcast->promised = living_are_in_the_way ? 0 : 1;
    s->broadcast->will_publish = (uint64_t)s->broadcast->promised;
}

/* --- after ------------------------------------------------------------------------------------------------------ */

static void check_publishing(struct stage *s)
{
    const struct broadcast *b = s->broadcast;
    segment_of_copy(s);
    const uint64_t published = check_multicast_words(s);
    if (s->returned) {
        CHECK_IS(s->result, b->promised);
        CHECK_IS(published, b->published + b->will_publish);
    }
    check_multicast_goes_on(s, published);
}

/* --- where ------------------------------------------------------------------------------------------------------ */

static const struct start starts[] = {
    { "not yet", 0, NOT_YET },
    { "nobody listens", 0, NOBODY },
    { "one unread", UINT32_MAX - 3, ONE_UNREAD },
    { "all read", 0, USED },
    { "nearly full", 0, NEARLY_FULL_OF_UNREAD },
    { "full", 0, FULL_OF_UNREAD },
    { "full of what is read", 0, FULL_OF_READ },
    { "full, the first is read", 0, FIRST_READ },
    { "one is behind", 0, TWO_LISTEN },
    { "an observer is behind", 0, OBSERVED },
    { "no bytes", 0, BYTES_UNREAD },
    { "no bytes, all read", 0, BYTES_READ },
    { "a dead laggard", 0, LAGGARD_DIED },
    { "a dead joiner", 0, JOINER_DIED },
    { "its predecessor died when it had announced", 0, ANNOUNCED },
    { "its predecessor died in the middle", 0, SCRIBBLED },
    { "positions pass 2^64", 0, POSITIONS_PASS_ZERO },
    PAYLOADS_END_IN(8),
    PAYLOADS_END_IN(24),
    PAYLOADS_END_IN(40),
};
static const struct start more_starts[] = {
    { "one unread", 0, ONE_UNREAD },
    { "full of what is read", 0, FULL_OF_READ },
    { "full, the first is read", 0, FIRST_READ },
    { "no bytes, all read", 0, BYTES_READ },
    PAYLOADS_END_IN(16),
    PAYLOADS_END_IN(56),
    PAYLOADS_END_IN(72),
};
static const struct start few_starts[] = {
    { "one unread", 0, ONE_UNREAD },
    { "full of what is read", 0, FULL_OF_READ },
    PAYLOADS_END_IN(64),
};
static const struct start wide_starts[] = {
    { "full of what is read", 0, FULL_OF_READ },
    { "one is behind", 0, TWO_LISTEN },
    { "an observer is behind", 0, OBSERVED },
    { "full, the first is read", 0, FIRST_READ },
};
static const struct start lossy_starts[] = {
    { "all read", 0, USED },
    { "full", 0, FULL_OF_UNREAD },
    { "one is behind", 0, TWO_LISTEN },
    { "two laps behind", 0, LAPPED_TWICE },
    { "an observer is behind", 0, OBSERVED },
    { "no bytes", 0, BYTES_UNREAD },
    { "its predecessor died in the middle", 0, SCRIBBLED },
    { "a dead joiner", 0, JOINER_DIED },
    PAYLOADS_END_IN(24),
};
static const struct start evicting_starts[] = {
    { "nearly full", 0, NEARLY_FULL_OF_UNREAD },
    { "full", 0, FULL_OF_UNREAD },
    { "full, the first is read", 0, FIRST_READ },
    { "one is behind", 0, TWO_LISTEN },
    { "no bytes", 0, BYTES_UNREAD },
    { "a dead laggard", 0, LAGGARD_DIED },
    { "a dead joiner", 0, JOINER_DIED },
};
static const struct start narrow_starts[] = {
    { "all read", 0, USED },
    { "full", 0, FULL_OF_UNREAD },
    { "full of what is read", 0, FULL_OF_READ },
    { "a dead laggard", 0, LAGGARD_DIED },
};
static const struct start lagging_starts[] = {
    { "two unread", 0, TWO_UNREAD },
    { "nearly full", 0, NEARLY_FULL_OF_UNREAD },
};
static const struct start waiting_starts[] = {
    { "full", 0, FULL_OF_UNREAD },
    { "a dead laggard", 0, LAGGARD_DIED },
    { "a dead joiner", 0, JOINER_DIED },
    { "a dead laggard and a dead joiner", 0, BOTH_DIED },
    { "numbers of the dead", 0, NUMBERS_OF_THE_DEAD },
};
static const struct start sleeping_starts[] = { { "full", 0, FULL_OF_UNREAD } };
static const struct start role_starts[] = {
    { "not yet", 0, NOT_YET },
    { "one unread", 0, ONE_UNREAD },
    { "closed, one unread", 0, CLOSED_ONE_UNREAD },
    { "its predecessor died when it had announced", 0, ANNOUNCED },
    { "its predecessor died in the middle", 0, SCRIBBLED },
};

static const struct start adopting_starts[] = {
    { "its predecessor died when it had announced", 0, ANNOUNCED },
    { "its predecessor died in the middle", 0, SCRIBBLED },
};
static const struct start polling_starts[] = {
    { "full", 0, FULL_OF_UNREAD },
    { "a dead laggard and a dead joiner", 0, BOTH_DIED },
};

static const struct multicast_shape waits = { .entries = 4 };
static const struct multicast_shape narrow = { .entries = 2 };
static const struct multicast_shape lossy = { .entries = 4, .options = { .policy = IPCR_LOSSY } };
static const struct multicast_shape evicting = { .entries = 4, .options = { .on_laggard = IPCR_EVICT_LAGGARDS } };
static const struct multicast_shape max_lag = { .entries = 4, .options = { .max_lag = 3 } };
static const struct multicast_shape evicting_early = {
    .entries = 4, .options = { .on_laggard = IPCR_EVICT_LAGGARDS, .max_lag = 2 },
};
static const struct multicast_shape with_topics = { .entries = 4, .topics = true };
static const struct multicast_shape aligned = { .entries = 4, .topics = true, .encoding = IPCR_ARRAY };
static const struct multicast_shape aligned_many = { .entries = 4, .encoding = IPCR_PICKLE };
static const struct multicast_shape wide = { .entries = 32 };
static const struct multicast_shape wide_lossy = { .entries = 32, .options = { .policy = IPCR_LOSSY } };

#define PUBLISHER                                                                                                    \
    .side = IPCR_SENDER, .capacity = SMALLEST, .ways = WAYS_OF_MULTICASTS, .prepare = prepare_multicast,             \
    .approach = approach, .observe = observe_publisher, .check = check_publishing
#define NEWCOMER                                                                                                     \
    .side = IPCR_SENDER, .capacity = SMALLEST, .ways = WAYS_OF_MULTICASTS, .prepare = prepare_multicast,             \
    .approach = approach_with_nothing, .observe = observe_publisher, .check = check_publishing

const struct operation publishing_operations[] = {
    { .name = "publish", PUBLISHER, STARTS(starts), .multicast = &waits, .plan = plan_one, .operate = publish },
    { .name = "publish-in-two-entries", PUBLISHER, STARTS(narrow_starts), .multicast = &narrow, .plan = plan_one,
      .operate = publish },
    { .name = "publish-lossy", PUBLISHER, STARTS(lossy_starts), .multicast = &lossy, .plan = plan_one,
      .operate = publish },
    { .name = "publish-far-ahead", PUBLISHER, STARTS(wide_starts), .multicast = &wide, .plan = plan_one,
      .operate = publish },
    { .name = "publish-far-ahead-lossy", PUBLISHER, STARTS(wide_starts), .multicast = &wide_lossy, .plan = plan_one,
      .operate = publish },
    { .name = "publish-evicting", PUBLISHER, STARTS(evicting_starts), .multicast = &evicting, .plan = plan_one,
      .operate = publish },
    { .name = "publish-max-lag", PUBLISHER, STARTS(lagging_starts), .multicast = &max_lag, .plan = plan_one,
      .operate = publish },
    { .name = "publish-evicting-early", PUBLISHER, STARTS(lagging_starts), .multicast = &evicting_early,
      .plan = plan_one, .operate = publish },
    { .name = "publish-each", PUBLISHER, STARTS(more_starts), .multicast = &waits, .plan = plan_row,
      .operate = publish_each },
    { .name = "publish-each-lossy", PUBLISHER, STARTS(few_starts), .multicast = &lossy, .plan = plan_row,
      .operate = publish_each },
    { .name = "publish-many", PUBLISHER, STARTS(few_starts), .multicast = &aligned_many, .plan = plan_row,
      .operate = publish_many },
    { .name = "publish-pieces", PUBLISHER, STARTS(few_starts), .multicast = &with_topics, .plan = plan_pieces,
      .operate = publish_pieces },
    { .name = "publish-aligned", PUBLISHER, STARTS(few_starts), .multicast = &aligned, .plan = plan_pieces,
      .operate = publish_pieces },
    { .name = "publish-to-sleepers", .side = IPCR_SENDER, .capacity = SMALLEST, .ways = WAYS_OF_MULTICASTS,
      .prepare = prepare_multicast, .observe = observe_publisher, .check = check_publishing, STARTS(few_starts),
      .multicast = &waits, .plan = plan_one, .approach = approach_sleepers, .operate = publish },
    { .name = "claim-and-commit", PUBLISHER, STARTS(few_starts), .multicast = &aligned, .plan = plan_one,
      .operate = claim_and_commit },
    { .name = "claim-and-abandon", PUBLISHER, STARTS(few_starts), .multicast = &aligned, .operate = claim_and_abandon },
    { .name = "evict-the-dead", PUBLISHER, STARTS(waiting_starts), .multicast = &waits, .plan = plan_evicting,
      .operate = evict_the_dead },
    { .name = "sleep-for-room", PUBLISHER, STARTS(sleeping_starts), .multicast = &waits, .plan = plan_evicting,
      .operate = sleep_for_room },
    { .name = "look-around", PUBLISHER, STARTS(polling_starts), .multicast = &waits, .plan = plan_evicting,
      .operate = look_around },
    { .name = "take-publisher", NEWCOMER, STARTS(role_starts), .multicast = &waits, .plan = plan_role,
      .operate = take_role },
    { .name = "take-publisher-and-publish", NEWCOMER, STARTS(adopting_starts), .multicast = &waits,
      .plan = plan_role_and_one, .operate = take_role_and_publish },
    { .name = "close-publisher", PUBLISHER, STARTS(few_starts), .multicast = &waits, .plan = plan_closing,
      .operate = close_publisher },
    { .name = NULL },
};

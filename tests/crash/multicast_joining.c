/* multicast_joining.c - a subscriber dies while it joins: in each place, with any number, beside a publisher that goes on.
 *
 * No number is lost by it, nobody waits for it for long, and nothing was overwritten that it had found.
 */
#include "multicast_stage.h"

static struct ipcr_subscription wanted; /* of the victim: what its operation asks for */

static int64_t subscribe(struct stage *s, uint32_t start, uint64_t number)
{
    struct ipcr_subscriber *mine = NULL;
    uint64_t oldest, next;
    wanted = subscription_to(start, IPCR_LAP_TO_OLDEST, false);
    wanted.sequence = sequence_of(s, number);
    return ipcr_subscriber_open(s->segment, &wanted, NULL, &oldest, &next, &mine);
}

static int64_t join_latest(struct stage *s) { return subscribe(s, IPCR_START_LATEST, 0); }
static int64_t join_oldest(struct stage *s) { return subscribe(s, IPCR_START_OLDEST, 0); }
static int64_t join_at(struct stage *s) { return subscribe(s, IPCR_START_SEQUENCE, s->broadcast->victim_from); }

/* --- what they will do ---------------------------------------------------------------------------------------------- */

static void plan_latest(struct stage *s)
{
    will_subscribe(s, s->broadcast->published);
    if (s->broadcast->victim_number == NOBODYS_NUMBER)
        s->broadcast->promised = IPCR_TAKEN;
}

static void plan_oldest(struct stage *s) { will_subscribe(s, s->broadcast->oldest); }
static void plan_last(struct stage *s) { will_subscribe(s, s->broadcast->published - 1); }

/* One that is not there any more: where messages may be lost, these are lost. */
static void plan_gone(struct stage *s)
{
    will_subscribe(s, s->broadcast->oldest - 1);
    s->broadcast->promised = is_lossy(s) ? IPCR_OK : IPCR_NOT_FOUND;
}

/* --- meanwhile ------------------------------------------------------------------------------------------------------ */

/* The start says how many instructions behind its saying that it joins; 0: before that. */
static bool is_the_moment(struct stage *s)
{
    const uint32_t state = load_acquire32(&words_of(s)->cursor[s->broadcast->victim_number].state);
    s->seen += s->seen != 0 || (state & IPCR_CURSOR_MASK) == IPCR_CURSOR_JOINING;
    if (s->note[0] != 0 || s->seen < s->start->position)
        return false;
    s->note[0] = 1;
    return true;
}

static void publish_meanwhile(struct stage *s)
{
    if (is_the_moment(s))
        publishes_meanwhile(s, 2);
}

/* A publisher that waits for nobody takes a stopped joiner for one that won't come, and goes on: that one begins anew. */
static void evict_meanwhile(struct stage *s)
{
    struct ipcr_publisher *p = s->broadcast->publisher;
    if (!is_the_moment(s))
        return;
    p->slice_end_ns = 0;
    p->need = p->next;
    CHECK_IS(ipcr_publisher_look_around(p), IPCR_OK);
    publishes_meanwhile(s, 2);
}

/* --- after ---------------------------------------------------------------------------------------------------------- */

static void check_cursor(struct stage *s, uint64_t published)
{
    const struct broadcast *b = s->broadcast;
    const struct ipcr_cursor *c = &words_of(s)->cursor[b->victim_number], *before = &b->cursors[b->victim_number];
    const uint32_t state = load_acquire32(&c->state), was = load_relaxed32(&before->state);
    const uint64_t next = number_of(s, load_acquire64(&c->next));
    const bool fails = b->promised != IPCR_OK;
    if (state == was || state == ((was & ~IPCR_CURSOR_MASK) | IPCR_CURSOR_EVICTED)) { /* its predecessor's */
        CHECK(!s->returned);
        return;
    }
    CHECK(state >> 2 > was >> 2);
    if ((state & IPCR_CURSOR_MASK) == IPCR_CURSOR_ACTIVE) {
        CHECK(!fails);
        CHECK(s->operation->meanwhile != NULL ? next >= b->oldest && next <= published : next == b->victim_from);
        CHECK_IS(load_relaxed64(&c->received), 0);
        CHECK_IS(load_relaxed64(&c->lost), 0);
    }
    if (s->returned && !(evicts(s) && (state & IPCR_CURSOR_MASK) == IPCR_CURSOR_EVICTED)) /* then it will be told */
        CHECK_IS(state & IPCR_CURSOR_MASK, fails ? IPCR_CURSOR_FREE : IPCR_CURSOR_ACTIVE);
}

static void check_joining(struct stage *s)
{
    const struct broadcast *b = s->broadcast;
    segment_of_copy(s);
    const uint64_t published = check_multicast_words(s);
    if (b->victim_number != NOBODYS_NUMBER)
        check_cursor(s, published);
    if (s->returned)
        CHECK_IS(s->result, b->promised);
    check_multicast_goes_on(s, published);
}

/* --- where ---------------------------------------------------------------------------------------------------------- */

static const struct start starts[] = {
    { "not yet", 0, NOT_YET },
    { "nobody listens", 0, NOBODY },
    { "one unread", UINT32_MAX - 3, ONE_UNREAD },
    { "full of what is read", 0, FULL_OF_READ },
    { "a dead joiner", 0, JOINER_DIED },
    { "a dead laggard", 0, LAGGARD_DIED },
    { "its publisher died", 0, DEAD_ONE_UNREAD },
    { "numbers of the dead", 0, NUMBERS_OF_THE_DEAD },
};
static const struct start more_starts[] = {
    { "full", 0, FULL_OF_UNREAD },
    { "closed, one unread", 0, CLOSED_ONE_UNREAD },
    { "numbers of the dead", 0, NUMBERS_OF_THE_DEAD },
};
static const struct start few_starts[] = { { "full of what is read", 0, FULL_OF_READ } };
static const struct start crowded_starts[] = {
    { "all numbers but a dead one's are taken", 0, ALL_NUMBERS },
    { "every number is taken", 0, EVERY_NUMBER },
};
static const struct start moments[] = {
    { "before it joins", 0, FULL_OF_READ },        { "as it joins", 1, FULL_OF_READ },
    { "2 instructions later", 3, FULL_OF_READ },   { "10 instructions later", 11, FULL_OF_READ },
    { "20 instructions later", 21, FULL_OF_READ }, { "40 instructions later", 41, FULL_OF_READ },
};

static const struct start few_moments[] = {
    { "as it joins", 1, FULL_OF_READ },
    { "10 instructions later", 11, FULL_OF_READ },
    { "20 instructions later", 21, FULL_OF_READ },
};

static const struct multicast_shape waits = { .entries = 4 };
static const struct multicast_shape lossy = { .entries = 4, .options = { .policy = IPCR_LOSSY } };
static const struct multicast_shape evicting = { .entries = 4, .options = { .on_laggard = IPCR_EVICT_LAGGARDS } };

#define JOINER                                                                                                           \
    .side = IPCR_RECEIVER, .capacity = SMALLEST, .ways = WAYS_OF_MULTICASTS, .prepare = prepare_multicast,               \
    .observe = observe_subscriber, .check = check_joining

const struct operation joining_operations[] = {
    { .name = "join-latest", JOINER, STARTS(more_starts), .multicast = &waits, .plan = plan_latest, .operate = join_latest },
    { .name = "join-oldest", JOINER, STARTS(starts), .multicast = &waits, .plan = plan_oldest, .operate = join_oldest },
    { .name = "join-at", JOINER, STARTS(few_starts), .multicast = &waits, .plan = plan_last, .operate = join_at },
    { .name = "join-at-what-is-gone", JOINER, STARTS(few_starts), .multicast = &waits, .plan = plan_gone,
      .operate = join_at },
    { .name = "join-lossy-at-what-is-gone", JOINER, STARTS(few_starts), .multicast = &lossy, .plan = plan_gone,
      .operate = join_at },
    { .name = "join-the-crowd", JOINER, STARTS(crowded_starts), .multicast = &waits, .plan = plan_latest,
      .operate = join_latest },
    { .name = NULL },
};

/* Those beside which somebody lives and acts: between two instructions, not at system calls. */
const struct operation joining_beside_operations[] = {
    { .name = "join-beside-a-publisher", JOINER, STARTS(moments), .multicast = &waits, .plan = plan_oldest,
      .operate = join_oldest, .meanwhile = publish_meanwhile },
    { .name = "join-lossy-beside-a-publisher", JOINER, STARTS(few_moments), .multicast = &lossy, .plan = plan_oldest,
      .operate = join_oldest, .meanwhile = publish_meanwhile },
    { .name = "join-evicted", JOINER, STARTS(few_moments), .multicast = &evicting, .plan = plan_oldest,
      .operate = join_oldest, .meanwhile = evict_meanwhile },
    { .name = NULL },
};

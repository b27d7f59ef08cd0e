/* multicast_scenes.c - what there is before the victim enters; see multicast_stage.h.
 *
 * The victim is the next publisher (side: the sender), and the one before has gone; or it is a subscriber, and a publisher
 * lives on.
 */
#include "multicast_stage.h"

static uint64_t entries_of(const struct stage *s) { return s->operation->multicast->entries; }

/* A publisher, and somebody who has read everything for two laps. */
struct past {
    struct ipcr_publisher *p;
    struct ipcr_subscriber *a;
};

static struct past past(struct stage *s)
{
    struct past it = { .p = begins_to_publish(s), .a = joins(s, IPCR_START_LATEST, IPCR_LAP_TO_OLDEST) };
    for (uint64_t i = 0; i < 2 * entries_of(s) + 1; i++) {
        publishes(s, it.p, 1);
        hears(s, it.a, 1);
    }
    return it;
}

static void over(struct stage *s, struct past it)
{
    struct broadcast *b = s->broadcast;
    if (it.a != NULL)
        listens_on(s, it.a);
    if (s->operation->side == IPCR_SENDER) {
        dies_publishing(it.p);
    } else {
        b->publisher = it.p;
        lives_on(s, &it.p->hold, IPCR_LOCK_PUBLISHER, true);
    }
}

static void not_yet(struct stage *s)
{
    if (s->operation->side == IPCR_SENDER)
        listens_on(s, joins(s, IPCR_START_LATEST, IPCR_LAP_TO_OLDEST));
    else
        over(s, (struct past){ begins_to_publish(s), joins(s, IPCR_START_LATEST, IPCR_LAP_TO_OLDEST) });
}

static void nobody(struct stage *s)
{
    struct past it = past(s);
    ipcr_subscriber_free(it.a);
    it.a = NULL;
    over(s, it);
}

static void unread(struct stage *s, uint64_t count)
{
    const struct past it = past(s);
    publishes(s, it.p, count);
    over(s, it);
}

static void one_unread(struct stage *s) { unread(s, 1); }
static void two_unread(struct stage *s) { unread(s, 2); }
static void used(struct stage *s) { unread(s, 0); }
static void nearly_full(struct stage *s) { unread(s, entries_of(s) - 1); }
static void full_of_unread(struct stage *s) { unread(s, entries_of(s)); }
static void lapped_twice(struct stage *s) { unread(s, 2 * entries_of(s) + 1); }

static void full_of_read(struct stage *s)
{
    const struct past it = past(s);
    publishes(s, it.p, entries_of(s));
    hears(s, it.a, entries_of(s));
    over(s, it);
}

static void first_read(struct stage *s)
{
    const struct past it = past(s);
    publishes(s, it.p, entries_of(s));
    hears(s, it.a, 1);
    over(s, it);
}

static struct past with_a_second(struct stage *s, uint64_t behind, struct ipcr_subscriber **second)
{
    const struct past it = past(s);
    *second = joins(s, IPCR_START_LATEST, IPCR_LAP_TO_LATEST);
    publishes(s, it.p, behind);
    hears(s, it.a, behind);
    return it;
}

static void two_listen(struct stage *s)
{
    struct ipcr_subscriber *second;
    const struct past it = with_a_second(s, entries_of(s) - 1, &second);
    listens_on(s, second);
    over(s, it);
}

static void observed(struct stage *s)
{
    const struct past it = past(s);
    struct ipcr_subscription wanted = subscription_to(IPCR_START_LATEST, IPCR_LAP_TO_OLDEST, true);
    struct ipcr_subscriber *observer = NULL;
    uint64_t oldest, next;
    CHECK_IS(ipcr_subscriber_open(s->segment, &wanted, NULL, &oldest, &next, &observer), IPCR_OK);
    publishes(s, it.p, entries_of(s));
    hears(s, it.a, entries_of(s));
    listens_on(s, observer);
    over(s, it);
}

static struct past two_large(struct stage *s)
{
    const struct past it = past(s);
    s->lengths[s->broadcast->published] = s->operation->capacity - 2000;
    s->lengths[s->broadcast->published + 1] = 2000;
    publishes(s, it.p, 2);
    return it;
}

static void bytes_unread(struct stage *s) { over(s, two_large(s)); }

static void bytes_read(struct stage *s)
{
    const struct past it = two_large(s);
    hears(s, it.a, 2);
    over(s, it);
}

static void laggard_died(struct stage *s)
{
    struct ipcr_subscriber *dead;
    const struct past it = with_a_second(s, entries_of(s), &dead);
    dies_listening(dead);
    over(s, it);
}

static void dies_joining(struct ipcr_subscriber *dead)
{
    store_release32(&dead->cursor->state, (dead->state & ~IPCR_CURSOR_MASK) | IPCR_CURSOR_JOINING);
    dies_listening(dead);
}

static void joiner_died(struct stage *s)
{
    const struct past it = past(s);
    publishes(s, it.p, entries_of(s));
    hears(s, it.a, entries_of(s));
    dies_joining(joins(s, IPCR_START_OLDEST, IPCR_LAP_TO_OLDEST));
    over(s, it);
}

static void both_died(struct stage *s)
{
    struct ipcr_subscriber *dead;
    const struct past it = with_a_second(s, entries_of(s), &dead);
    dies_joining(joins(s, IPCR_START_OLDEST, IPCR_LAP_TO_OLDEST));
    dies_listening(dead);
    over(s, it);
}

static void numbers_of_the_dead(struct stage *s)
{
    const struct past it = past(s);
    struct ipcr_subscriber *dead[IPCR_MOST_SUBSCRIBERS];
    uint32_t count = 0;
    for (uint32_t i = 1; i < IPCR_MOST_SUBSCRIBERS; i++)
        dead[count++] = joins(s, IPCR_START_LATEST, IPCR_LAP_TO_OLDEST);
    for (uint32_t i = 0; i < count; i++)
        (i % 2 == 0 ? dies_listening : dies_joining)(dead[i]);
    over(s, it);
}

static void numbers_taken(struct stage *s, bool one_is_dead)
{
    const struct past it = past(s);
    struct ipcr_subscriber *others[IPCR_MOST_SUBSCRIBERS];
    uint32_t count = 0;
    while (count < IPCR_MOST_SUBSCRIBERS - 1)
        others[count++] = joins(s, IPCR_START_LATEST, IPCR_LAP_TO_OLDEST);
    publishes(s, it.p, 1);
    if (one_is_dead)
        dies_listening(others[--count]);
    for (uint32_t i = 0; i < count; i++)
        listens_on(s, others[i]);
    over(s, it);
}

static void all_numbers(struct stage *s) { numbers_taken(s, true); }
static void every_number(struct stage *s) { numbers_taken(s, false); }

static struct ipcr_entry *next_entry(struct stage *s)
{
    return ipcr_entry_at(ipcr_entries(words_of(s)), entries_of(s) - 1, sequence_of(s, s->broadcast->published));
}

static uint64_t position_now(struct stage *s) { return position_for(s, s->broadcast->published); }

/* Somebody joined in between, and is below it. */
static void announced(struct stage *s)
{
    full_of_unread(s);
    store_release64(&words_of(s)->oldest, sequence_of(s, s->broadcast->published) - entries_of(s) + 1);
}

static void scribbled(struct stage *s)
{
    full_of_read(s);
    store_release64(&words_of(s)->oldest, sequence_of(s, s->broadcast->published) - entries_of(s) + 1);
    memset(s->segment->data + (position_now(s) & (s->segment->capacity - 1)), 0xee, 100);
    store_relaxed64(&next_entry(s)->sequence, sequence_of(s, s->broadcast->published));
    store_relaxed64(&next_entry(s)->position, UINT64_MAX);
    store_relaxed64(&next_entry(s)->length, UINT64_MAX);
    store_relaxed64(&next_entry(s)->bytes, UINT64_MAX);
}

static void closed_one_unread(struct stage *s)
{
    const struct past it = past(s);
    publishes(s, it.p, 1);
    listens_on(s, it.a);
    ipcr_publisher_free(it.p);
    s->broadcast->closed = true;
}

static void dead_one_unread(struct stage *s)
{
    const struct past it = past(s);
    publishes(s, it.p, 1);
    listens_on(s, it.a);
    dies_publishing(it.p);
}

static void dead_all_read(struct stage *s)
{
    const struct past it = past(s);
    listens_on(s, it.a);
    dies_publishing(it.p);
}

static struct past ends_in(struct stage *s, uint64_t bytes)
{
    const struct past it = past(s);
    uint64_t *length = &s->lengths[s->broadcast->published];
    *length = 0;
    *length = (s->segment->capacity - bytes - end_of(s, s->broadcast->published, position_now(s))) & (s->segment->capacity - 1);
    publishes(s, it.p, 1);
    hears(s, it.a, 1);
    CHECK_IS((position_now(s) + bytes) & (s->segment->capacity - 1), 0);
    return it;
}

static void payload_ends_in(struct stage *s)
{
    struct past it = ends_in(s, s->start->position);
    if (s->operation->side != IPCR_SENDER) /* what is to be read stands there */
        publishes(s, it.p, 3);
    over(s, it);
}

/* A publisher learns its position from the last entry: here, from one of very many bytes. */
static void positions_pass_zero(struct stage *s)
{
    over(s, ends_in(s, 24));
    const uint64_t last = s->broadcast->published, far = UINT64_MAX - 23 - position_now(s);
    CHECK((far & (s->segment->capacity - 1)) == 0);
    for (uint64_t n = last - entries_of(s); n < last; n++) {
        struct ipcr_entry *e = ipcr_entry_at(ipcr_entries(words_of(s)), entries_of(s) - 1, sequence_of(s, n));
        store_relaxed64(&e->position, load_relaxed64(&e->position) + far);
    }
}

static void (*const scenes[MULTICAST_SCENES])(struct stage *s) = {
    [NOT_YET] = not_yet,
    [NOBODY] = nobody,
    [ONE_UNREAD] = one_unread,
    [TWO_UNREAD] = two_unread,
    [USED] = used,
    [NEARLY_FULL_OF_UNREAD] = nearly_full,
    [FULL_OF_UNREAD] = full_of_unread,
    [FULL_OF_READ] = full_of_read,
    [FIRST_READ] = first_read,
    [TWO_LISTEN] = two_listen,
    [OBSERVED] = observed,
    [BYTES_UNREAD] = bytes_unread,
    [BYTES_READ] = bytes_read,
    [LAGGARD_DIED] = laggard_died,
    [JOINER_DIED] = joiner_died,
    [BOTH_DIED] = both_died,
    [NUMBERS_OF_THE_DEAD] = numbers_of_the_dead,
    [ALL_NUMBERS] = all_numbers,
    [EVERY_NUMBER] = every_number,
    [ANNOUNCED] = announced,
    [SCRIBBLED] = scribbled,
    [CLOSED_ONE_UNREAD] = closed_one_unread,
    [DEAD_ONE_UNREAD] = dead_one_unread,
    [DEAD_ALL_READ] = dead_all_read,
    [LAPPED_TWICE] = lapped_twice,
    [POSITIONS_PASS_ZERO] = positions_pass_zero,
    [PAYLOAD_ENDS_IN] = payload_ends_in,
};

/* Nobody who is dead looks as if he were there. */
static bool is_quiet(struct stage *s)
{
    for (uint32_t i = 0; i < IPCR_MOST_SUBSCRIBERS; i++) {
        const uint32_t state = load_acquire32(&words_of(s)->cursor[i].state) & IPCR_CURSOR_MASK;
        bool held;
        CHECK_IS(ipcr_probe(s->segment->fd, s->segment->id, IPCR_LOCK_SUBSCRIBER(i), &held), IPCR_OK);
        if ((state == IPCR_CURSOR_ACTIVE || state == IPCR_CURSOR_JOINING) && !held)
            return false;
    }
    return true;
}

void prepare_multicast(struct stage *s)
{
    const struct multicast_shape *shape = s->operation->multicast;
    const uint64_t first = s->start->filled == PAYLOAD_ENDS_IN ? 0 : s->start->position;
    ledger_begin(s);
    struct broadcast *b = s->broadcast = calloc(1, sizeof *b);
    CHECK(b != NULL);
    CHECK_IS(ipcr_segment_create_multicast(NULL, "ipc:test", s->operation->capacity, shape->entries, &shape->options, first,
                                           &s->segment),
             IPCR_OK);
    segment_lives_on(s, s->segment);
    scenes[s->start->filled](s);
    const struct ipcr_multicast_header *h = words_of(s);
    CHECK_IS(number_of(s, load_acquire64(&h->published)), b->published);
    b->oldest = number_of(s, load_acquire64(&h->oldest));
    b->publisher_state = load_acquire32(&h->publisher_state);
    memcpy(b->cursors, h->cursor, sizeof b->cursors);
    b->quiet = is_quiet(s);
    b->victim_number = NOBODYS_NUMBER;
    s->next = b->published;
    if (s->operation->plan != NULL)
        s->operation->plan(s);
}

void broadcast_end(struct stage *s)
{
    struct broadcast *b = s->broadcast;
    if (b->publisher != NULL)
        ipcr_publisher_free(b->publisher);
    for (int i = 0; i < b->count; i++)
        ipcr_subscriber_free(b->listeners[i].handle);
    free(b);
    s->broadcast = NULL;
}

/* multicast_ledger.c - the words of a multicast against what is known of it; see multicast_stage.h. */
#include "multicast_stage.h"
#include "multicast_stats.h"

/* --- messages ------------------------------------------------------------------------------------------------------- */

static const struct ipcr_entry *entry_of(const struct stage *s, uint64_t number)
{
    return ipcr_entry_at(ipcr_entries(words_of(s)), s->operation->multicast->entries - 1, sequence_of(s, number));
}

void check_message(struct stage *s, uint64_t number)
{
    const struct ipcr_entry *e = entry_of(s, number);
    const struct ipcr_topic *topic = topic_of_number(s, number);
    const uint64_t at = load_relaxed64(&e->position), length = length_of(s, number), mask = s->segment->capacity - 1;
    const uint64_t name = topic == NULL ? 0 : topic->length, alignment = IPCR_DATA_ALIGNMENT;
    CHECK_IS(load_relaxed64(&e->sequence), sequence_of(s, number));
    CHECK_IS(load_relaxed64(&e->length), length);
    CHECK_IS(load_relaxed64(&e->info), info_of_number(s, number));
    CHECK_IS(load_relaxed32(&e->topic_length), name);
    CHECK((at & 7) == 0);
    if (s->operation->multicast->encoding != IPCR_BYTES)
        CHECK(((at + ipcr_padded(name)) & (alignment - 1)) == 0);
    if (topic != NULL)
        CHECK(memcmp(s->segment->data + (at & mask), topic->name, name) == 0);
    CHECK(is_stamped(s->segment->data + ((at + ipcr_padded(name)) & mask), length, number));
}

/* The payloads stand in a row, and fit; and each message tells how many bytes there were before it. */
static void check_row(struct stage *s, uint64_t from, uint64_t published)
{
    uint64_t bytes = 0, behind = 0;
    const uint64_t first = from == published ? 0 : load_relaxed64(&entry_of(s, from)->position);
    CHECK(published - from <= s->operation->multicast->entries);
    for (uint64_t n = 0; n < from; n++)
        bytes += length_of(s, n);
    for (uint64_t n = from; n < published; n++) {
        const struct ipcr_entry *e = entry_of(s, n);
        const uint64_t at = load_relaxed64(&e->position);
        check_message(s, n);
        CHECK_IS(load_relaxed64(&e->bytes), bytes);
        CHECK(n == from || (s->operation->multicast->encoding == IPCR_BYTES ? at == behind
                                                                             : at - behind < IPCR_DATA_ALIGNMENT));
        bytes += length_of(s, n);
        behind = at + ipcr_padded(load_relaxed32(&e->topic_length)) + ipcr_padded(length_of(s, n));
        CHECK(behind - first <= s->operation->capacity);
    }
}

/* --- cursors -------------------------------------------------------------------------------------------------------- */

static const struct listener *living_with(const struct stage *s, uint32_t number)
{
    const struct broadcast *b = s->broadcast;
    for (int i = 0; i < b->count && !s->all_died; i++)
        if (b->listeners[i].handle->cursor != NULL && b->listeners[i].handle->number == number)
            return &b->listeners[i];
    return NULL;
}

/* Whose owner has not done anything meanwhile: it may have been evicted, if it is dead or was in the way. */
static void check_other_cursor(struct stage *s, uint32_t number, uint64_t published)
{
    const struct broadcast *b = s->broadcast;
    const struct ipcr_cursor *c = &words_of(s)->cursor[number], *before = &b->cursors[number];
    const uint32_t state = load_acquire32(&c->state), was = load_relaxed32(&before->state);
    const uint64_t next = load_acquire64(&c->next);
    CHECK(next == load_relaxed64(&before->next) && load_relaxed64(&c->received) == load_relaxed64(&before->received) &&
          load_relaxed64(&c->lost) == load_relaxed64(&before->lost) &&
          load_relaxed32(&c->pid) == load_relaxed32(&before->pid));
    if (state == was)
        return;
    CHECK((was & IPCR_CURSOR_MASK) == IPCR_CURSOR_ACTIVE || (was & IPCR_CURSOR_MASK) == IPCR_CURSOR_JOINING);
    CHECK_IS(state, (was & ~IPCR_CURSOR_MASK) | IPCR_CURSOR_EVICTED);
    const bool looked_at = s->operation->side == IPCR_SENDER && s->operation->meanwhile == NULL; /* else it may have moved since */
    if (looked_at && evicts(s) && published == b->published && (was & IPCR_CURSOR_MASK) == IPCR_CURSOR_ACTIVE)
        CHECK(!would_fit(s, published, number_of(s, next)) && "only who was in the way is evicted");
    if (!evicts(s))
        for (int i = 0; i < b->count; i++)
            CHECK((b->listeners[i].handle->cursor == NULL || b->listeners[i].handle->number != number) &&
                  "who lives is waited for");
}

/* The lowest message that somebody may still read. */
static uint64_t check_cursors(struct stage *s, uint64_t oldest, uint64_t published)
{
    const struct ipcr_multicast_header *h = words_of(s);
    const uint32_t high = load_acquire32(&h->subscribers_high);
    uint64_t lowest = oldest;
    CHECK(high <= IPCR_MOST_SUBSCRIBERS);
    for (uint32_t i = 0; i < IPCR_MOST_SUBSCRIBERS; i++) {
        const struct ipcr_cursor *c = &h->cursor[i];
        const uint64_t next = number_of(s, load_acquire64(&c->next));
        CHECK((i < high || load_acquire32(&c->state) == 0) && "whoever has a number can be seen");
        if (i != s->broadcast->victim_number)
            check_other_cursor(s, i, published);
        if ((load_acquire32(&c->state) & IPCR_CURSOR_MASK) != IPCR_CURSOR_ACTIVE)
            continue;
        CHECK(next <= published);
        if (!is_lossy(s) && next < lowest)
            lowest = next;
    }
    return lowest;
}

/* --- the rest ------------------------------------------------------------------------------------------------------- */

static void check_publisher_state(struct stage *s)
{
    const struct broadcast *b = s->broadcast;
    const uint32_t state = load_acquire32(&words_of(s)->publisher_state), before = b->publisher_state;
    const uint32_t mine = ((before >> 2) + 1) << 2;
    if (s->operation->side != IPCR_SENDER) {
        CHECK(state == before);
        return;
    }
    CHECK((b->takes_role && !s->returned && state == before) ||
          (!(b->closes && s->returned) && state == (mine | IPCR_END_TAKEN)) ||
          (b->closes && state == (mine | IPCR_END_CLOSED)));
}

static void check_stats(struct stage *s, uint64_t oldest, uint64_t published)
{
    struct ipcr_multicast_stats stats;
    struct ipcr_subscriber_stats subscribers[IPCR_MOST_SUBSCRIBERS];
    uint64_t bytes = 0;
    CHECK_IS(ipcr_multicast_stats(s->segment, &stats, subscribers, IPCR_MOST_SUBSCRIBERS), IPCR_OK);
    for (uint64_t n = 0; n < published; n++)
        bytes += length_of(s, n);
    CHECK_IS(stats.published, published);
    CHECK_IS(stats.oldest, oldest);
    CHECK_IS(stats.bytes, bytes);
    CHECK_IS(stats.publisher_alive, !s->all_died && s->broadcast->publisher != NULL);
    for (uint32_t i = 0; i < stats.subscribers; i++) {
        const struct listener *l = living_with(s, subscribers[i].number);
        CHECK_IS(subscribers[i].alive, l != NULL);
        if (l == NULL)
            continue;
        CHECK_IS(subscribers[i].next, l->heard);
        CHECK_IS(subscribers[i].received, l->received);
        CHECK_IS(subscribers[i].lost, l->lost);
    }
}

uint64_t check_multicast_words(struct stage *s)
{
    const struct broadcast *b = s->broadcast;
    const struct ipcr_multicast_header *h = words_of(s);
    const uint64_t published = number_of(s, load_acquire64(&h->published));
    const uint64_t oldest = number_of(s, load_acquire64(&h->oldest));
    CHECK(published >= b->published && published <= b->published + b->will_publish);
    CHECK(oldest >= b->oldest && oldest <= published && "the oldest never goes back, nor too far");
    check_row(s, check_cursors(s, oldest, published), published);
    check_publisher_state(s);
    check_stats(s, oldest, published);
    return published;
}

/* --- while the victim lives ----------------------------------------------------------------------------------------- */

const char *observe_publisher(struct stage *s)
{
    struct broadcast *b = s->broadcast;
    if (b->takes_role && load_acquire32(&words_of(s)->publisher_state) == b->publisher_state)
        return NULL; /* the one before */
    for (int i = 0; i < b->count; i++) {
        b->listeners[i].handle->slice_end_ns = 0;
        if (ipcr_subscriber_look_around(b->listeners[i].handle) != IPCR_OK)
            return "the victim publishes, lives, and is taken for dead";
    }
    return NULL;
}

const char *observe_subscriber(struct stage *s)
{
    struct broadcast *b = s->broadcast;
    if (b->publisher == NULL || evicts(s) || !b->quiet || b->victim_number == NOBODYS_NUMBER)
        return NULL;
    b->publisher->slice_end_ns = 0;
    b->publisher->need = b->publisher->next + 1; /* it looks after everybody */
    if (ipcr_publisher_look_around(b->publisher) != IPCR_OK)
        return "the living publisher can't look after its subscribers";
    const uint32_t state = load_acquire32(&words_of(s)->cursor[b->victim_number].state);
    return (state & IPCR_CURSOR_MASK) == IPCR_CURSOR_EVICTED ? "the victim subscribes, lives, and is taken for dead" : NULL;
}

/* multicast_recovery.c - everything from a death on: those who lived, those who come, and then lap after lap.
 *
 * What each will hear is known in advance: without loss every number in turn; where messages may be lost, exactly as many as
 * the words say.  A publisher has room as soon as all that *live* have read what is in the way; and whoever is named for a
 * message that has no room is alive, and as far behind as is said.  Three ways to go on (`way`):
 *
 *   LISTENERS_FIRST  those who lived read what is there and ask whether somebody publishes; others come
 *   PUBLISHER_FIRST  the publisher who lived, or a new one, publishes; who reads is asked to only when there is no room
 *   JOINERS_FIRST    subscribers come first, and take all the numbers that nobody alive has
 */
#include "clock.h"
#include "multicast_stage.h"
#include "multicast_stats.h"

enum way { LISTENERS_FIRST, PUBLISHER_FIRST, JOINERS_FIRST };
enum { MOST_THERE = MOST_LISTENERS + IPCR_MOST_SUBSCRIBERS, KEPT_NEWCOMERS = 2, LAPS = 2 };

struct hearer {
    struct listener it;
    bool observer;
    int of_stage; /* its place there, or -1 */
};

struct world {
    struct stage *s;
    struct ipcr_segment *newcomers; /* their mapping */
    struct ipcr_publisher *publisher;
    struct hearer hearers[MOST_THERE];
    uint32_t count;
    uint32_t locked; /* numbers that were given back here, and are still locked: this process stands for another (recovery.c) */
    uint64_t published;
    bool closed;
};

static uint64_t oldest_now(const struct world *w) { return number_of(w->s, load_acquire64(&words_of(w->s)->oldest)); }

/* --- who comes ------------------------------------------------------------------------------------------------------ */

static struct ipcr_segment *attached(struct stage *s)
{
    struct ipcr_segment *segment;
    int fd;
    CHECK_IS(ipcr_os_reopen(s->segment->fd, s->segment->id, &fd), IPCR_OK);
    CHECK_IS(ipcr_segment_attach(fd, NULL, "ipc:copy", IPCR_KIND_MULTICAST, true, &segment), IPCR_OK);
    return segment;
}

/* An observer's own mapping leads to the state that is recovered from. */
static void look_at_copy(struct stage *s, struct ipcr_subscriber *observer)
{
    void *base = (void *)(uintptr_t)observer->mapped;
    CHECK(mmap(base, observer->mapped_bytes, PROT_READ, MAP_SHARED | MAP_FIXED, s->segment->fd, 0) == base);
}

static void those_who_live(struct world *w)
{
    struct broadcast *b = w->s->broadcast;
    for (int i = 0; i < b->count && !w->s->all_died; i++) {
        const bool observer = b->listeners[i].handle->cursor == NULL;
        if (observer)
            look_at_copy(w->s, b->listeners[i].handle);
        w->hearers[w->count++] = (struct hearer){ .it = b->listeners[i], .observer = observer, .of_stage = i };
    }
}

static int subscribe(struct world *w, uint32_t start, bool observe, struct ipcr_subscriber **out)
{
    struct ipcr_subscription wanted = subscription_to(start, IPCR_LAP_TO_OLDEST, observe);
    uint64_t oldest, next;
    wanted.sequence = sequence_of(w->s, oldest_now(w));
    const int rc = ipcr_subscriber_open(w->newcomers, &wanted, NULL, &oldest, &next, out);
    CHECK(rc != IPCR_OK || (number_of(w->s, oldest) == oldest_now(w) && number_of(w->s, next) == w->published));
    return rc;
}

static void comes(struct world *w, uint32_t start, bool observe)
{
    struct hearer *h = &w->hearers[w->count++];
    *h = (struct hearer){ .observer = observe, .of_stage = -1 };
    CHECK_IS(subscribe(w, start, observe, &h->it.handle), IPCR_OK);
    h->it.heard = start == IPCR_START_LATEST ? w->published : oldest_now(w);
    for (uint32_t i = 0; !observe && i + 1 < w->count; i++)
        CHECK(w->hearers[i].observer || w->hearers[i].it.handle->number != h->it.handle->number);
}

static void goes(struct world *w)
{
    w->count--;
    ipcr_subscriber_free(w->hearers[w->count].it.handle);
}

/* No number is lost: there is one for each that nobody alive has, and none for one more. */
static void joiners_come(struct world *w)
{
    struct ipcr_subscriber *one_more;
    uint32_t taken = w->locked;
    for (uint32_t i = 0; i < w->count; i++)
        taken += !w->hearers[i].observer;
    const uint32_t before = w->count, seats = IPCR_MOST_SUBSCRIBERS - taken;
    for (uint32_t i = 0; i < seats; i++)
        comes(w, i % 3 == 0 ? IPCR_START_OLDEST : i % 3 == 1 ? IPCR_START_LATEST : IPCR_START_SEQUENCE, false);
    CHECK_IS(subscribe(w, IPCR_START_LATEST, false, &one_more), IPCR_TAKEN);
    while (w->count > before + KEPT_NEWCOMERS)
        goes(w);
    comes(w, IPCR_START_OLDEST, true);
}

/* --- who reads ------------------------------------------------------------------------------------------------------ */

static bool may_lose(const struct world *w, const struct hearer *h) { return is_lossy(w->s) || h->observer; }

static bool was_evicted(const struct world *w, const struct hearer *h)
{
    if (h->observer)
        return false;
    const uint32_t state = load_acquire32(&words_of(w->s)->cursor[h->it.handle->number].state);
    CHECK_IS(state >> 2, h->it.handle->state >> 2);
    CHECK((state & IPCR_CURSOR_MASK) == IPCR_CURSOR_ACTIVE || evicts(w->s));
    return (state & IPCR_CURSOR_MASK) != IPCR_CURSOR_ACTIVE;
}

static uint8_t received[HAND_BYTES];

/* A copy, or a look that ends with a release, turn by turn. */
static int64_t receive(struct world *w, struct hearer *h)
{
    struct ipcr_subscriber *handle = h->it.handle;
    if (may_lose(w, h) || evicts(w->s) || h->it.heard % 2 == 0)
        return ipcr_subscriber_copy(handle, (char *)received, sizeof received);
    const int64_t result = ipcr_subscriber_peek(handle);
    if (result < 0)
        return result;
    copy_out(received, (const uint8_t *)ipcr_subscriber_lent(handle), LENGTH_OF(result));
    CHECK_IS(ipcr_subscriber_release(handle), IPCR_OK);
    return result;
}

static void check_received(struct world *w, const struct hearer *h, int64_t result, uint64_t number, uint64_t lost)
{
    const char *name;
    const struct ipcr_topic *topic = topic_of_number(w->s, number);
    CHECK_IS(LENGTH_OF(result), length_of(w->s, number));
    CHECK(is_stamped(received, length_of(w->s, number), number));
    CHECK_IS(number_of(w->s, ipcr_subscriber_last_sequence(h->it.handle)), number);
    CHECK_IS(ipcr_subscriber_last_lost(h->it.handle), lost);
    CHECK_IS(ENCODING_OF(result), w->s->operation->multicast->encoding);
    CHECK_IS(ipcr_subscriber_last_topic(h->it.handle, &name), topic == NULL ? -1 : (int64_t)topic->length);
    CHECK(topic == NULL || memcmp(name, topic->name, topic->length) == 0);
}

/* It was evicted, hears that, and begins anew. */
static void begins_anew(struct world *w, struct hearer *h)
{
    CHECK_IS(receive(w, h), IPCR_LAGGED_OUT);
    CHECK_IS(receive(w, h), IPCR_LAGGED_OUT);
    const uint32_t number = h->it.handle->number;
    bool held;
    ipcr_subscriber_free(h->it.handle);
    CHECK_IS(ipcr_probe(w->s->segment->fd, w->s->segment->id, IPCR_LOCK_SUBSCRIBER(number), &held), IPCR_OK);
    w->locked += held;
    CHECK_IS(subscribe(w, IPCR_START_OLDEST, false, &h->it.handle), IPCR_OK);
    h->it.heard = oldest_now(w);
    if (h->of_stage >= 0)
        w->s->broadcast->listeners[h->of_stage].handle = h->it.handle;
}

/* The next message, which is known; false: there is none, and this is said in the right way. */
static bool hears_next(struct world *w, struct hearer *h)
{
    const uint64_t oldest = oldest_now(w);
    uint64_t lost = 0;
    if (was_evicted(w, h))
        begins_anew(w, h);
    if (may_lose(w, h) && h->it.heard < oldest) {
        const bool latest = h->it.handle->on_lap == IPCR_LAP_TO_LATEST && w->published != oldest;
        lost = (latest ? w->published - 1 : oldest) - h->it.heard;
    }
    const uint64_t number = h->it.heard + lost;
    const int64_t result = receive(w, h);
    if (number == w->published) {
        CHECK_IS(result, w->closed ? IPCR_END_OF_CHANNEL : IPCR_EMPTY);
        return false;
    }
    CHECK(result >= 0);
    check_received(w, h, result, number, lost);
    h->it.lost += lost;
    CHECK_IS(ipcr_subscriber_lost(h->it.handle), h->it.lost);
    h->it.heard = number + 1;
    return true;
}

static void drain(struct world *w)
{
    for (uint32_t i = 0; i < w->count; i++)
        while (hears_next(w, &w->hearers[i]))
            ;
}

/* Whoever has read everything asks whether there is still somebody who publishes. */
static void look_for_publisher(struct world *w)
{
    const uint32_t state = load_acquire32(&words_of(w->s)->publisher_state) & IPCR_END_MASK;
    const bool dead = w->publisher == NULL && state == IPCR_END_TAKEN;
    for (uint32_t i = 0; i < w->count; i++) {
        w->hearers[i].it.handle->slice_end_ns = 0; /* a slice has gone by */
        CHECK_IS(ipcr_subscriber_look_around(w->hearers[i].it.handle), dead ? IPCR_PEER_DIED : IPCR_OK);
    }
}

/* --- who publishes -------------------------------------------------------------------------------------------------- */

static void publisher_comes(struct world *w)
{
    uint32_t by;
    if (w->publisher == NULL)
        CHECK_IS(ipcr_publisher_open(w->newcomers, 0, &by, &w->publisher), IPCR_OK);
    w->closed = false;
}

/* Of those who live. */
static uint64_t floor_of(struct world *w)
{
    uint64_t floor = w->published;
    for (uint32_t i = 0; i < w->count && !is_lossy(w->s) && !evicts(w->s); i++)
        if (!w->hearers[i].observer && w->hearers[i].it.heard < floor)
            floor = w->hearers[i].it.heard;
    return floor;
}

/* No room: the dead are evicted at the end of a slice; what is left is the living's fault, and they are named. */
static void make_room(struct world *w)
{
    struct ipcr_laggard laggard;
    w->publisher->slice_end_ns = 0;
    if (ipcr_publisher_wait(w->publisher, 0, 0) == IPCR_OK)
        return;
    const uint64_t floor = floor_of(w);
    CHECK((floor < oldest_now(w) || !would_fit(w->s, w->published, floor)) && "nobody alive is in the way");
    ipcr_publisher_laggard(w->publisher, &laggard);
    for (uint32_t i = 0; i < w->count; i++) {
        struct hearer *h = &w->hearers[i];
        if (h->observer || h->it.handle->number != laggard.subscriber)
            continue;
        CHECK_IS(laggard.behind, w->published - h->it.heard);
        CHECK(h->it.heard < laggard.must_reach);
        CHECK(hears_next(w, h));
        return;
    }
    CHECK(false && "whoever is named is alive");
}

enum { MOST_TRIES = 64 };

static void publish_next(struct world *w)
{
    for (int tries = 0; tries < MOST_TRIES; tries++) {
        const int64_t rc = publish_number(w->s, w->publisher, w->published);
        if (rc != IPCR_FULL) {
            CHECK_IS(rc, sequence_of(w->s, w->published));
            w->published++;
            return;
        }
        CHECK(!is_lossy(w->s));
        make_room(w);
    }
    CHECK(false && "the publisher gets on");
}

/* As large as there may be. */
static void publish_largest(struct world *w)
{
    const struct ipcr_topic *topic = topic_of_number(w->s, w->published);
    const uint64_t name = topic == NULL ? 0 : ipcr_padded(topic->length);
    const uint64_t skew = w->s->operation->multicast->encoding == IPCR_BYTES ? 0 : IPCR_DATA_ALIGNMENT - 8;
    w->s->lengths[w->published] = w->s->operation->capacity - name - skew;
    publish_next(w);
}

static void laps(struct world *w)
{
    for (uint32_t i = 0; i < LAPS * w->s->operation->multicast->entries + 1; i++)
        publish_next(w);
    drain(w);
    publish_largest(w);
    drain(w);
    publish_next(w);
}

/* --- the whole ------------------------------------------------------------------------------------------------------ */

static void check_left(struct world *w)
{
    struct ipcr_multicast_stats stats;
    CHECK_IS(ipcr_multicast_stats(w->s->segment, &stats, NULL, 0), IPCR_OK);
    CHECK_IS(stats.published, w->published);
    CHECK_IS(stats.publisher_state, IPCR_END_CLOSED);
    for (uint32_t i = 0; i < IPCR_MOST_SUBSCRIBERS; i++)
        CHECK_IS(load_acquire32(&words_of(w->s)->cursor[i].state) & IPCR_CURSOR_MASK, IPCR_CURSOR_FREE);
}

static void everybody_leaves(struct world *w)
{
    ipcr_publisher_close(w->publisher);
    w->closed = true;
    drain(w);
    look_for_publisher(w);
    for (uint32_t i = 0; i < w->count; i++) {
        ipcr_subscriber_close(w->hearers[i].it.handle);
        if (w->hearers[i].of_stage < 0)
            ipcr_subscriber_free(w->hearers[i].it.handle);
    }
    w->count = 0;
    if (w->publisher != w->s->broadcast->publisher || w->s->all_died)
        ipcr_publisher_free(w->publisher);
    check_left(w);
}

void check_multicast_goes_on(struct stage *s, uint64_t published)
{
    struct broadcast *b = s->broadcast;
    struct world w = { .s = s, .publisher = s->all_died ? NULL : b->publisher, .published = published };
    w.closed = (load_acquire32(&words_of(s)->publisher_state) & IPCR_END_MASK) == IPCR_END_CLOSED;
    w.newcomers = attached(s);
    those_who_live(&w);
    if (s->way == LISTENERS_FIRST) {
        drain(&w);
        look_for_publisher(&w);
    }
    if (s->way == PUBLISHER_FIRST) {
        publisher_comes(&w);
        laps(&w);
    }
    joiners_come(&w);
    if (s->way != PUBLISHER_FIRST)
        publisher_comes(&w);
    laps(&w);
    everybody_leaves(&w);
    ipcr_segment_release(w.newcomers);
}

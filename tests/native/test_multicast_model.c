/* test_multicast_model.c - random programs over a publisher and several subscribers, beside a model that a child could
 * follow: a list of all messages, and where in it each subscriber is.
 *
 * A program is its seed.  One thread: what happens at once is for the other tests.  How much is kept is the core's to choose
 * (`oldest`); that it is no more than there is room for, and nothing that somebody still wants, is checked.
 */
#include "multicasts.h"

enum { ENTRIES = 8, SEATS = 4, TOPICS = 3, MOST_MESSAGES = 4096, START = 100, MOST_CURSORS = 64 };

struct seat {
    struct ipcr_subscriber *handle; /* NULL: free */
    uint64_t next;
    uint64_t lost;
    uint64_t received;
    uint32_t wanted; /* one bit per topic, and one for none */
    bool latest, observes;
};

struct program {
    struct ipcr_segment *segment;
    struct ipcr_publisher *publisher;
    const struct ipcr_multicast_options *options;
    struct seat seats[SEATS];
    uint64_t random;
    uint64_t published; /* START and all messages */
    uint64_t length[MOST_MESSAGES];
    uint8_t topic[MOST_MESSAGES]; /* TOPICS: none */
};

static uint64_t choose(struct program *g, uint64_t n) { return random_next(&g->random) % n; }
static uint64_t oldest(const struct program *g) { return load_relaxed64(&header_of(g->segment)->oldest); }

static struct ipcr_topic topic_number(uint64_t i)
{
    static const char *const names[] = { "declinate", "macallums", "" }; /* the first two have one hash */
    return topic_of(names[i]);
}

static bool is_lossy(const struct program *g, const struct seat *s)
{
    return g->options->policy == IPCR_LOSSY || s->observes;
}

/* --- the model -------------------------------------------------------------------------------------------------------------- */

/* The message that it gets next; g->published: none.  Steps over what isn't wanted, or lost. */
static uint64_t advance(const struct program *g, struct seat *s)
{
    if (s->next != g->published && is_lossy(g, s) && s->next < oldest(g)) {
        const uint64_t to = s->latest && g->published != oldest(g) ? g->published - 1 : oldest(g);
        s->lost += to - s->next;
        s->next = to;
    }
    while (s->next != g->published && (s->wanted >> g->topic[s->next - START] & 1) == 0)
        s->next++;
    return s->next;
}

static void check_all_is_kept(const struct program *g)
{
    const struct ipcr_publisher *p = g->publisher;
    CHECK_IS(load_relaxed64(&header_of(g->segment)->published), g->published);
    CHECK(oldest(g) <= g->published && g->published - oldest(g) <= ENTRIES);
    if (p != NULL)
        CHECK(p->position - p->oldest_position <= DATA && p->oldest <= oldest(g));
    for (int i = 0; i < SEATS; i++) {
        const struct seat *s = &g->seats[i];
        if (s->handle == NULL || s->observes || g->options->policy == IPCR_LOSSY)
            continue;
        const uint32_t state = state_of(s->handle);
        if (g->options->on_laggard == IPCR_WAIT_FOR_LAGGARDS)
            CHECK_IS(state, IPCR_CURSOR_ACTIVE);
        if (p != NULL && p->floor >= p->oldest) /* and has looked at all: a successor has not yet */
            CHECK_IS(state, s->next < p->oldest ? IPCR_CURSOR_EVICTED : IPCR_CURSOR_ACTIVE);
    }
}

static void check_somebody_is_in_the_way(const struct program *g)
{
    bool found = false;
    for (int i = 0; i < MOST_CURSORS; i++) { /* the dead among them */
        const struct ipcr_cursor *c = &header_of(g->segment)->cursor[i];
        found = found || ((load_relaxed32(&c->state) & IPCR_CURSOR_MASK) == IPCR_CURSOR_ACTIVE &&
                          load_relaxed64(&c->next) < g->publisher->need);
    }
    CHECK(found);
    CHECK_IS(g->options->policy, IPCR_LOSSLESS);
    CHECK_IS(g->options->on_laggard, IPCR_WAIT_FOR_LAGGARDS);
}

/* --- steps -------------------------------------------------------------------------------------------------------------------- */

static void publish_one(struct program *g)
{
    static uint8_t message[DATA];
    struct ipcr_publisher *p = g->publisher;
    const uint64_t length = choose(g, 6) == 0 ? choose(g, 3500) : choose(g, 200), which = choose(g, TOPICS + 1);
    const struct ipcr_topic topic = which == TOPICS ? (struct ipcr_topic){ .name = NULL } : topic_number(which);
    const struct ipcr_topic *const about = which == TOPICS ? NULL : &topic;
    const struct ipcr_piece piece = { (const char *)message, length };
    const uint64_t info = IPCR_INFO(0, IPCR_BYTES), how = choose(g, 4);
    int64_t rc;
    stamp(message, length, g->published);
    if (how == 0) {
        rc = ipcr_publish(p, about, &piece, 1, info);
    } else if (how == 1) {
        rc = ipcr_publish_many(p, about, piece.data, &piece.length, &info, 1);
        rc = rc == 1 ? (int64_t)g->published : rc;
    } else {
        rc = ipcr_publisher_claim(p, about, length);
        if (rc == IPCR_OK) {
            memcpy(ipcr_publisher_lent(p), message, length);
            if (how == 2) {
                CHECK_IS(ipcr_publisher_abort(p), IPCR_OK);
                return;
            }
            rc = ipcr_publisher_commit(p, length, info);
        }
    }
    if (rc == IPCR_FULL) {
        check_somebody_is_in_the_way(g);
        return;
    }
    CHECK_IS(rc, g->published);
    g->length[g->published - START] = length;
    g->topic[g->published++ - START] = (uint8_t)which;
}

static void replace_publisher(struct program *g)
{
    if (choose(g, 2) == 0)
        die_publishing(g->publisher);
    else
        ipcr_publisher_free(g->publisher);
    g->publisher = NULL;
    check_all_is_kept(g);
    g->publisher = publisher_on(g->segment);
}

/* The dead among those in the way go at the end of a slice, which is now. */
static void look_for_the_dead(struct program *g)
{
    g->publisher->slice_end_ns = 0;
    CHECK_IS(ipcr_publisher_look_around(g->publisher), IPCR_OK);
}

static void join(struct program *g, struct seat *s)
{
    struct ipcr_topic topics[TOPICS];
    struct ipcr_subscription wanted = { .start = (uint32_t)choose(g, 3), .on_lap = (uint32_t)choose(g, 2),
                                        .observe = choose(g, 3) == 0 };
    uint64_t first, next;
    *s = (struct seat){ .latest = wanted.on_lap == IPCR_LAP_TO_LATEST, .observes = wanted.observe };
    for (uint32_t i = 0; i < TOPICS; i++)
        if (choose(g, 3) == 0) {
            topics[wanted.topics++] = topic_number(i);
            s->wanted |= 1u << i;
        }
    if (wanted.topics == 0)
        s->wanted = ~0u;
    wanted.sequence = g->published + 2 - choose(g, 12);
    const int rc = ipcr_subscriber_open(g->segment, &wanted, topics, &first, &next, &s->handle);
    s->next = wanted.start == IPCR_START_LATEST ? g->published : wanted.start == IPCR_START_OLDEST ? oldest(g)
                                                                                                   : wanted.sequence;
    const bool there = s->next <= g->published && s->next >= (is_lossy(g, s) ? START : oldest(g));
    CHECK_IS(rc, there ? IPCR_OK : IPCR_NOT_FOUND);
    CHECK_IS(first, oldest(g));
    CHECK_IS(next, g->published);
    if (rc != IPCR_OK)
        s->handle = NULL;
}

static void check_message(const struct program *g, struct seat *s, const char *bytes, int64_t result, uint64_t sequence)
{
    CHECK_IS(sequence, s->next);
    CHECK_IS(LENGTH_OF(result), g->length[sequence - START]);
    CHECK(is_stamped((const uint8_t *)bytes, LENGTH_OF(result), sequence));
    s->next++;
    s->received++;
}

static void receive(struct program *g, struct seat *s)
{
    static char out[2 * DATA];
    int64_t results[4], rc;
    uint64_t sequences[4], lost[4];
    const bool gone = g->options->on_laggard == IPCR_EVICT_LAGGARDS && !s->observes &&
                      state_of(s->handle) == IPCR_CURSOR_EVICTED;
    const uint64_t most = 1 + choose(g, 4);
    if (choose(g, 2) == 0) {
        rc = ipcr_subscriber_copy(s->handle, out, sizeof out);
        if (gone) {
            CHECK_IS(rc, IPCR_LAGGED_OUT);
            return;
        }
        if (advance(g, s) == g->published)
            CHECK_IS(rc, IPCR_EMPTY);
        else
            check_message(g, s, out, rc, ipcr_subscriber_last_sequence(s->handle));
        CHECK_IS(ipcr_subscriber_lost(s->handle), s->lost);
        return;
    }
    const struct seat before = *s;
    rc = ipcr_subscriber_recv_many(s->handle, out, sizeof out, results, sequences, lost, most);
    if (gone) {
        CHECK_IS(rc, IPCR_LAGGED_OUT);
        return;
    }
    if (rc < 0) {
        CHECK_IS(rc, IPCR_EMPTY);
        CHECK_IS(advance(g, s), g->published);
        return;
    }
    const uint64_t taken = choose(g, (uint64_t)rc + 1);
    struct seat at = *s;
    uint64_t used = 0;
    for (uint64_t i = 0; i < (uint64_t)rc; i++) {
        CHECK(advance(g, s) != g->published);
        check_message(g, s, out + used, results[i], sequences[i]);
        CHECK_IS(lost[i], s->lost);
        used += LENGTH_OF(results[i]);
        at = i + 1 == taken ? *s : at;
    }
    CHECK(rc == (int64_t)most || used + DATA > sizeof out || advance(g, s) == g->published);
    CHECK_IS(ipcr_subscriber_settle(s->handle, taken, at.next, at.lost), IPCR_OK);
    *s = taken == 0 ? before : at;
}

static void leave(struct seat *s, bool dies)
{
    if (dies && !s->observes)
        die_subscribed(s->handle);
    else
        ipcr_subscriber_free(s->handle);
    *s = (struct seat){ .handle = NULL };
}

static void step(struct program *g)
{
    struct seat *s = &g->seats[choose(g, SEATS)];
    const uint64_t what = choose(g, 40);
    if (what < 14)
        publish_one(g);
    else if (what == 14)
        replace_publisher(g);
    else if (what <= 16)
        look_for_the_dead(g);
    else if (s->handle == NULL)
        join(g, s);
    else if (what == 17)
        leave(s, choose(g, 2) == 0);
    else
        receive(g, s);
    check_all_is_kept(g);
}

static void run_program(uint64_t seed, const struct ipcr_multicast_options *options, int steps)
{
    static struct program g;
    memset(&g, 0, sizeof g);
    g.segment = multicast_of(DATA, ENTRIES, options, START);
    g.options = options;
    g.random = mixed(seed);
    g.published = START;
    g.publisher = publisher_on(g.segment);
    for (int i = 0; i < steps; i++)
        step(&g);
    for (int i = 0; i < SEATS; i++)
        if (g.seats[i].handle != NULL) {
            CHECK_IS(g.seats[i].handle->received, g.seats[i].received);
            leave(&g.seats[i], false);
        }
    ipcr_publisher_free(g.publisher);
    ipcr_segment_release(g.segment);
}

static void run_programs(const struct ipcr_multicast_options *options)
{
    for (uint64_t seed = 1; seed <= FEWER(300, 60); seed++)
        run_program(seed, options, 1000);
}

static void lossless_programs_go_as_the_model_says(void) { run_programs(&lossless); }
static void lossy_programs_go_as_the_model_says(void) { run_programs(&lossy); }
static void programs_that_evict_go_as_the_model_says(void) { run_programs(&evicting); }

int main(void)
{
    check_begin();
    run("lossless programs go as the model says", lossless_programs_go_as_the_model_says);
    run("lossy programs go as the model says", lossy_programs_go_as_the_model_says);
    run("programs that evict go as the model says", programs_that_evict_go_as_the_model_says);
    return check_finish();
}

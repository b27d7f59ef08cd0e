/* test_multicast_hostile.c - nonsense in every shared word of a multicast: a named status in bounded time, and nothing
 * touched outside of the mappings (under AddressSanitizer).
 *
 * Words are written as another process of the same user could, before or during the calls.  That a message is lost, comes
 * twice or isn't waited for by nonsense is no failure here.
 */
#include "multicasts.h"

#include <pthread.h>

enum { START = 500, ENTRIES = 8 };

/* In the order of the tree; anything else is none.  A sequence number is no status. */
static bool is_named(int64_t rc) { return rc >= IPCR_LAGGED_OUT || (IPCR_IS_ERRNO(rc) && IPCR_TO_ERRNO(rc) < 200); }

#define CHECK_NAMED(call) CHECK(is_named(call))

/* --- a multicast in the middle of its life ------------------------------------------------------------------------------------- */

struct life {
    struct ipcr_segment *segment;
    struct ipcr_publisher *publisher;
    struct ipcr_subscriber *subscribers[3]; /* behind, up to date, and an observer */
};

static const struct ipcr_multicast_options *const kinds[] = { &lossless, &lossy, &evicting };
enum { KINDS = 3 };

static void begin(struct life *l, int kind)
{
    l->segment = multicast_of(DATA, ENTRIES, kinds[kind], START);
    l->publisher = publisher_on(l->segment);
    publish(l->publisher, 13);
    l->subscribers[0] = subscriber_on(l->segment, IPCR_START_OLDEST);
    l->subscribers[1] = subscriber_on(l->segment, IPCR_START_LATEST);
    l->subscribers[2] = observer_on(l->segment, IPCR_START_OLDEST);
    check_receives(l->subscribers[0], l->subscribers[0]->next, 3);
    publish(l->publisher, 1);
}

static void end(struct life *l)
{
    for (int i = 0; i < 3; i++)
        ipcr_subscriber_free(l->subscribers[i]);
    ipcr_publisher_free(l->publisher);
    ipcr_segment_release(l->segment);
}

/* --- everything that can be done with it ------------------------------------------------------------------------------------------ */

static void publish_in_every_way(struct ipcr_publisher *p, uint64_t *random)
{
    static _Thread_local char text[DATA];
    const struct ipcr_topic topic = topic_of("declinate");
    const uint64_t length = random_next(random) % 1200, one = 1, info = IPCR_INFO(0, IPCR_PICKLE);
    const struct ipcr_piece piece = { .data = text, .length = length };
    struct ipcr_laggard laggard;
    CHECK_NAMED(ipcr_publish_bytes(p, text, length));
    CHECK_NAMED(ipcr_publish(p, &topic, &piece, 1, info));
    CHECK_NAMED(ipcr_publish_many(p, NULL, text, &one, &info, 1));
    CHECK_NAMED(ipcr_publisher_wait(p, now_ns() + random_next(random) % 8 / 7 * 1000, 0)); /* to sleep takes long */
    ipcr_publisher_stop_waiting(p);
    p->slice_end_ns = 0;
    CHECK_NAMED(ipcr_publisher_look_around(p));
    ipcr_publisher_laggard(p, &laggard);
    const int rc = ipcr_publisher_claim(p, &topic, length);
    CHECK_NAMED(rc);
    if (rc == IPCR_OK) {
        memset(ipcr_publisher_lent(p), 1, length);
        CHECK_NAMED(random_next(random) % 2 == 0 ? ipcr_publisher_abort(p) : ipcr_publisher_commit(p, length, 0));
    }
}

static void receive_in_every_way(struct ipcr_subscriber *r)
{
    static _Thread_local char out[2 * DATA];
    static _Thread_local struct ipcr_subscriber_inbox inbox;
    int64_t results[4], rc;
    uint64_t sequences[4], lost[4];
    const char *name;
    inbox.subscriber = r;
    CHECK_NAMED(ipcr_subscriber_try_recv_into(&inbox));
    CHECK_NAMED(ipcr_subscriber_copy(r, out, sizeof out));
    CHECK(ipcr_subscriber_last_topic(r, &name) <= (int32_t)IPCR_MOST_TOPIC);
    rc = ipcr_subscriber_recv_many(r, out, sizeof out, results, sequences, lost, 4);
    CHECK_NAMED(rc);
    if (rc > 0)
        CHECK_NAMED(ipcr_subscriber_settle(r, (uint64_t)rc, sequences[rc - 1] + 1, lost[rc - 1]));
    rc = ipcr_subscriber_peek(r);
    CHECK_NAMED(rc);
    if (rc >= 0) {
        memcpy(out, ipcr_subscriber_lent(r), LENGTH_OF(rc)); /* all that it is said to be is there to be read */
        CHECK_NAMED(ipcr_subscriber_release(r));
    }
    CHECK_NAMED(ipcr_subscriber_wait(r, now_ns() + r->next % 8 / 7 * 1000, 0));
    ipcr_subscriber_stop_waiting(r);
    r->slice_end_ns = 0;
    CHECK_NAMED(ipcr_subscriber_look_around(r));
}

static void look_from_outside(const struct ipcr_segment *s)
{
    struct ipcr_multicast_stats stats;
    struct ipcr_subscriber_stats all[4];
    CHECK_NAMED(ipcr_multicast_stats(s, &stats, all, 4));
    CHECK(stats.subscribers <= 4);
    CHECK_NAMED(ipcr_multicast_stats_of_file(s->fd, &stats, all, 4));
}

/* One that comes now, and meets what is there. */
static void subscribe_anew(struct ipcr_segment *s, uint32_t start, bool observe)
{
    const struct ipcr_topic topics[] = { topic_of("declinate"), topic_of("macallums") };
    const struct ipcr_subscription wanted = { .start = start, .sequence = START + 12, .observe = observe,
                                              .topics = start % 2 * 2, .interval_ns = 1000 };
    struct ipcr_subscriber *r;
    uint64_t oldest, next;
    const int rc = ipcr_subscriber_open(s, &wanted, topics, &oldest, &next, &r);
    CHECK_NAMED(rc);
    if (rc != IPCR_OK)
        return;
    receive_in_every_way(r);
    ipcr_subscriber_free(r);
}

static void replace_publisher(struct life *l, uint64_t *random)
{
    struct ipcr_publisher *next;
    uint32_t by;
    ipcr_publisher_close(l->publisher);
    const int rc = ipcr_publisher_open(l->segment, 0, &by, &next);
    CHECK_NAMED(rc);
    if (rc != IPCR_OK)
        return;
    publish_in_every_way(next, random);
    ipcr_publisher_free(next);
}

static void do_everything(struct life *l, uint64_t *random)
{
    publish_in_every_way(l->publisher, random);
    for (int i = 0; i < 3; i++)
        receive_in_every_way(l->subscribers[i]);
    for (uint32_t start = 0; start < 3; start++)
        subscribe_anew(l->segment, start, start == 1);
    look_from_outside(l->segment);
    publish_in_every_way(l->publisher, random);
    for (int i = 0; i < 3; i++)
        receive_in_every_way(l->subscribers[i]);
    replace_publisher(l, random);
    for (int i = 0; i < 3; i++)
        receive_in_every_way(l->subscribers[i]);
}

/* --- every word ---------------------------------------------------------------------------------------------------------------------- */

enum { HEADER_WORDS = 4 * IPCR_LINE / 4, CURSORS = 5 * IPCR_LINE / 4, ENTRY_WORDS = ENTRIES * (int)IPCR_ENTRY_BYTES / 4,
       WORDS = HEADER_WORDS + CURSORS + ENTRY_WORDS,
       PRIVATE_WORDS = 2 * IPCR_LINE / 4 /* geometry and options: copied at attach */ };

/* The n-th 4 bytes of the header without its cursors, of the first cursors, and of the whole index. */
static ipcr_word32 *word32_at(const struct ipcr_segment *s, uint64_t n)
{
    struct ipcr_multicast_header *h = header_of(s);
    if (n < HEADER_WORDS + CURSORS)
        return (ipcr_word32 *)(void *)h + n;
    return (ipcr_word32 *)(void *)ipcr_entries(h) + (n - HEADER_WORDS - CURSORS);
}

static uint64_t nonsense_of(uint64_t was, int which, uint64_t *random)
{
    switch (which) {
    case 0: return 0;
    case 1: return UINT64_MAX;
    case 2: return was + 1;
    case 3: return was - 1;
    case 4: return was ^ UINT64_C(0x8000000000000000);
    case 5: return was ^ UINT64_C(0x80000000);
    case 6: return was + 1000003;
    case 7: return was ^ 2;
    default: return random_next(random);
    }
}
enum { NONSENSES = 9 };

/* Stores: as a word of 4 bytes, and where it may be one, of 8. */
static void spoil(struct life *l, uint64_t n, int which, bool wide, uint64_t *random)
{
    ipcr_word32 *const at = word32_at(l->segment, n);
    if (wide) {
        ipcr_word64 *const wide_at = (ipcr_word64 *)(void *)at;
        store_relaxed64(wide_at, nonsense_of(load_relaxed64(wide_at), which, random));
    } else {
        store_relaxed32(at, (uint32_t)nonsense_of(load_relaxed32(at), which, random));
    }
}

static void every_word_of_nonsense_ends_in_a_named_status(void)
{
    uint64_t random = 1;
    for (uint64_t n = 0; n < WORDS; n++)
        for (int which = 0; which < NONSENSES; which++)
            for (int kind = 0; kind < KINDS; kind++) {
                struct life l;
                if (SANITIZED && (n + (uint64_t)which + (uint64_t)kind) % 4 != 0)
                    continue;
                begin(&l, kind);
                spoil(&l, n, which, n % 2 == 0 && which % 2 == 0, &random);
                do_everything(&l, &random);
                end(&l);
            }
}

/* In a multicast that nobody is attached to but by its descriptor: all is met for the first time. */
static void whoever_attaches_to_nonsense_is_told_so(void)
{
    uint64_t random = 2;
    int refused = 0;
    for (uint64_t n = 0; n < HEADER_WORDS; n++)
        for (int which = 0; which < NONSENSES; which++) {
            struct life l;
            struct ipcr_segment *s;
            int fd;
            begin(&l, (int)(n % KINDS));
            spoil(&l, n, which, n % 2 == 0 && which % 2 == 0, &random);
            CHECK_IS(ipcr_os_reopen(l.segment->fd, l.segment->id, &fd), IPCR_OK);
            const int rc = ipcr_segment_attach(fd, NULL, "ipc:test", IPCR_KIND_MULTICAST, true, &s);
            CHECK_NAMED(rc);
            if (rc != IPCR_OK) {
                ipcr_os_close(fd);
                refused++;
            } else {
                for (uint32_t start = 0; start < 3; start++)
                    subscribe_anew(s, start, start == 0);
                look_from_outside(s);
                ipcr_segment_release(s);
            }
            end(&l);
        }
    CHECK(refused > 100);
}

/* What stands beyond is no cursor, and nobody's memory perhaps. */
static void numbers_of_subscribers_beyond_the_table_are_not_followed(void)
{
    const uint32_t nonsense[] = { IPCR_MOST_SUBSCRIBERS, IPCR_MOST_SUBSCRIBERS + 1, 1u << 31, UINT32_MAX };
    for (size_t i = 0; i < 4; i++)
        for (int kind = 0; kind < KINDS; kind++) {
            struct life l;
            uint64_t random = i;
            begin(&l, kind);
            store_relaxed32(&header_of(l.segment)->subscribers_high, nonsense[i]);
            store_relaxed32(&header_of(l.segment)->blocked_by, nonsense[i]);
            do_everything(&l, &random);
            end(&l);
        }
}

/* --- words that change meanwhile ------------------------------------------------------------------------------------------------- */

struct scribbling {
    struct ipcr_segment *segment;
    ipcr_word32 over;
};

static void *scribble(void *arg)
{
    const struct scribbling *const s = arg;
    uint64_t random = 77;
    while (load_acquire32(&s->over) == 0) {
        const uint64_t n = PRIVATE_WORDS + random_next(&random) % (WORDS - PRIVATE_WORDS);
        ipcr_word32 *const word = word32_at(s->segment, n);
        const uint32_t was = load_relaxed32(word);
        store_relaxed32(word, (uint32_t)nonsense_of(was, (int)(random_next(&random) % NONSENSES), &random));
        if (random_next(&random) % 4 != 0)
            store_relaxed32(word, was); /* gone again before most have seen it: what is loaded twice differs */
        if (random_next(&random) % 64 == 0)
            sched_yield();
    }
    return NULL;
}

static void words_that_change_between_two_looks_end_in_a_named_status(void)
{
    for (uint64_t seed = 1; seed <= FEWER(1500, 300); seed++) {
        struct life l;
        uint64_t random = seed * 1000;
        pthread_t thread;
        begin(&l, (int)(seed % KINDS));
        struct scribbling s = { .segment = l.segment };
        CHECK(pthread_create(&thread, NULL, scribble, &s) == 0);
        do_everything(&l, &random);
        for (uint32_t start = 0; start < 6; start++) /* those have not met nonsense yet */
            subscribe_anew(l.segment, start % 3, start >= 3);
        replace_publisher(&l, &random);
        store_release32(&s.over, 1);
        CHECK(pthread_join(thread, NULL) == 0);
        end(&l);
    }
}

int main(void)
{
    check_begin();
    run("numbers of subscribers beyond the table are not followed",
        numbers_of_subscribers_beyond_the_table_are_not_followed);
    run("every word of nonsense ends in a named status", every_word_of_nonsense_ends_in_a_named_status);
    run("whoever attaches to nonsense is told so", whoever_attaches_to_nonsense_is_told_so);
    run("words that change between two looks end in a named status",
        words_that_change_between_two_looks_end_in_a_named_status);
    return check_finish();
}

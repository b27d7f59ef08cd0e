/* test_multicast.c - multicasts are made and attached, subscribers join where they asked to, and messages come to all of
 * them, whole and in order, also over the end of the data and of the index. */
#include "multicasts.h"

/* --- made, attached ------------------------------------------------------------------------------------------------ */

static void what_can_be_no_multicast_is_not_made(void)
{
    static const struct {
        uint64_t capacity;
        uint32_t entries;
        struct ipcr_multicast_options options;
    } wrong[] = {
        { 0, 16, { .policy = IPCR_LOSSLESS } },
        { DATA + 1, 16, { .policy = IPCR_LOSSLESS } },
        { 3 * DATA, 16, { .policy = IPCR_LOSSLESS } },
        { DATA, 0, { .policy = IPCR_LOSSLESS } },
        { DATA, 1, { .policy = IPCR_LOSSLESS } },
        { DATA, 12, { .policy = IPCR_LOSSLESS } },
        { DATA, 2 * IPCR_MOST_ENTRIES, { .policy = IPCR_LOSSLESS } },
        { DATA, 16, { .policy = IPCR_LOSSY + 1 } },
        { DATA, 16, { .on_laggard = IPCR_EVICT_LAGGARDS + 1 } },
        { DATA, 16, { .max_lag = UINT64_C(1) << 63 } },
        { DATA, 16, { .policy = IPCR_LOSSY, .on_laggard = IPCR_EVICT_LAGGARDS } }, /* there are no laggards */
        { DATA, 16, { .policy = IPCR_LOSSY, .max_lag = 3 } },
    };
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        struct ipcr_segment *s = NULL;
        CHECK_IS(ipcr_segment_create_multicast(NULL, "ipc:test", wrong[i].capacity, wrong[i].entries,
                                               &wrong[i].options, 0, &s),
                 IPCR_FROM_ERRNO(EINVAL));
        CHECK(s == NULL);
    }
    struct ipcr_segment *s = NULL;
    CHECK_IS(ipcr_segment_create(NULL, "ipc:test", IPCR_KIND_MULTICAST, DATA, 0, &s), IPCR_FROM_ERRNO(EINVAL));
}

static char dir[] = "/dev/shm/ipcr-multicast-XXXXXX";

static void remove_dir(void)
{
    char command[64];
    snprintf(command, sizeof command, "rm -rf %s", dir);
    (void)!system(command);
}

static int attach_as(uint32_t kind, struct ipcr_segment **out)
{
    int fd;
    int rc = ipcr_os_open(dir, "name", &fd);
    if (rc != IPCR_OK)
        return rc;
    rc = ipcr_segment_attach(fd, dir, "name", kind, false, out);
    if (rc != IPCR_OK)
        ipcr_os_close(fd);
    return rc;
}

static void whoever_attaches_by_name_has_the_same_options_and_messages(void)
{
    const struct ipcr_multicast_options wanted = { .on_laggard = IPCR_EVICT_LAGGARDS, .max_lag = 5 };
    struct ipcr_multicast_options got;
    struct ipcr_segment *s, *t;
    CHECK_IS(ipcr_segment_create_multicast(dir, "name", 2 * DATA, 64, &wanted, 7, &s), IPCR_OK);
    CHECK_IS(attach_as(IPCR_KIND_MULTICAST, &t), IPCR_OK);
    ipcr_segment_multicast_options(t, &got);
    CHECK(memcmp(&got, &wanted, sizeof got) == 0);
    CHECK_IS(ipcr_segment_lanes(t), 64);
    CHECK_IS(ipcr_segment_capacity(t), 2 * DATA);
    CHECK_IS(t->header_bytes, ipcr_multicast_header_bytes(64, 4096));
    CHECK_IS(ipcr_multicast_footprint(2 * DATA, 64), t->header_bytes + 2 * DATA);
    struct ipcr_publisher *p = publisher_on(s);
    struct ipcr_subscriber *r = subscriber_on(t, IPCR_START_LATEST);
    publish(p, 3);
    check_receives(r, 7, 3);
    CHECK_IS(ipcr_multicast_publisher_pid(t), getpid());
    ipcr_subscriber_free(r);
    ipcr_publisher_free(p);
    CHECK_IS(attach_as(IPCR_KIND_QUEUE, &(struct ipcr_segment *){ NULL }), IPCR_KIND);
    ipcr_segment_release(t);
    ipcr_segment_release(s);
    CHECK_IS(attach_as(IPCR_KIND_MULTICAST, &t), IPCR_FROM_ERRNO(ENOENT)); /* old messages keep no name */
}

/* --- joining --------------------------------------------------------------------------------------------------------- */

enum { START = 1000 };

static void latest_begins_with_what_is_published_next(void)
{
    struct ipcr_segment *s = multicast_of(DATA, 16, &lossless, START);
    struct ipcr_publisher *p = publisher_on(s);
    struct ipcr_subscriber *first = subscriber_on(s, IPCR_START_LATEST);
    check_has_nothing(first);
    publish(p, 5);
    struct ipcr_subscriber *second = subscriber_on(s, IPCR_START_LATEST);
    check_has_nothing(second);
    publish(p, 1);
    check_receives(first, START, 6);
    check_receives(second, START + 5, 1);
    ipcr_subscriber_free(first);
    ipcr_subscriber_free(second);
    ipcr_publisher_free(p);
    ipcr_segment_release(s);
}

static void oldest_begins_with_the_oldest_that_is_kept(void)
{
    for (int published = 0; published <= 9; published++) {
        struct ipcr_segment *s = multicast_of(DATA, 4, &lossless, START);
        struct ipcr_publisher *p = publisher_on(s);
        publish(p, published); /* nobody subscribed: nobody to wait for */
        struct ipcr_subscriber *r = subscriber_on(s, IPCR_START_OLDEST);
        const int kept = published < 4 ? published : 4;
        check_receives(r, (uint64_t)(START + published - kept), (uint64_t)kept);
        check_has_nothing(r);
        CHECK_IS(ipcr_subscriber_lost(r), 0);
        ipcr_subscriber_free(r);
        ipcr_publisher_free(p);
        ipcr_segment_release(s);
    }
}

static void a_sequence_is_begun_with_or_it_is_said_what_is_there(void)
{
    struct ipcr_segment *s = multicast_of(DATA, 4, &lossless, START);
    struct ipcr_publisher *p = publisher_on(s);
    uint64_t oldest = 0, next = 0;
    publish(p, 6);
    for (uint64_t wanted = START - 2; wanted < START + 9; wanted++) {
        const struct ipcr_subscription from = { .start = IPCR_START_SEQUENCE, .sequence = wanted };
        const bool there = wanted >= START + 2 && wanted <= START + 6;
        CHECK_IS(try_subscribe(s, from, &oldest, &next), there ? IPCR_OK : IPCR_NOT_FOUND);
        CHECK_IS(oldest, START + 2);
        CHECK_IS(next, START + 6);
        if (!there)
            continue;
        struct ipcr_subscriber *r = subscribe(s, from, NULL);
        check_receives(r, wanted, START + 6 - wanted);
        check_has_nothing(r);
        ipcr_subscriber_free(r);
    }
    CHECK_IS(load_relaxed32(&header_of(s)->cursor[0].state) & IPCR_CURSOR_MASK, IPCR_CURSOR_FREE); /* all have left */
    ipcr_publisher_free(p);
    ipcr_segment_release(s);
}

static void a_sequence_that_is_gone_is_lost_where_messages_may_be(void)
{
    struct ipcr_segment *s = multicast_of(DATA, 4, &lossy, START);
    struct ipcr_publisher *p = publisher_on(s);
    uint64_t oldest, next;
    publish(p, 6);
    for (uint64_t wanted = START; wanted <= START + 6; wanted++) {
        struct ipcr_subscriber *r =
            subscribe(s, (struct ipcr_subscription){ .start = IPCR_START_SEQUENCE, .sequence = wanted }, NULL);
        const uint64_t from = wanted < START + 2 ? START + 2 : wanted;
        check_receives(r, from, START + 6 - from);
        check_has_nothing(r);
        CHECK_IS(ipcr_subscriber_lost(r), from - wanted);
        ipcr_subscriber_free(r);
    }
    struct ipcr_subscription never = { .start = IPCR_START_SEQUENCE, .sequence = START - 1 };
    CHECK_IS(try_subscribe(s, never, &oldest, &next), IPCR_NOT_FOUND);
    never.sequence = START + 7;
    CHECK_IS(try_subscribe(s, never, &oldest, &next), IPCR_NOT_FOUND);
    ipcr_publisher_free(p);
    ipcr_segment_release(s);
}

/* --- in order -------------------------------------------------------------------------------------------------------- */

/* Lengths that end at each place of a line and of the data, 0 and the whole of the data among them. */
static uint64_t some_length(uint64_t number)
{
    const uint64_t random = mixed(number * 31);
    return random % 16 == 0 ? (random >> 8) % (DATA + 1) : random % 5 == 0 ? 0 : (random >> 8) % 300;
}

static void every_subscriber_gets_every_message_in_order_over_both_ends(void)
{
    const struct ipcr_multicast_options *const all[] = { &lossless, &lossy, &evicting };
    for (int kind = 0; kind < 3; kind++) {
        struct ipcr_segment *s = multicast_of(DATA, 16, all[kind], START);
        struct ipcr_publisher *p = publisher_on(s);
        struct ipcr_subscriber *r[4];
        for (int i = 0; i < 3; i++)
            r[i] = subscriber_on(s, IPCR_START_LATEST);
        r[3] = observer_on(s, IPCR_START_LATEST);
        for (uint64_t n = START; n < START + FEWER(20000, 2000); n++) {
            uint64_t length = 0;
            CHECK_IS(try_publish_of(p, some_length(n)), n);
            for (int i = 0; i < 4; i++) {
                CHECK_IS(try_receive_of(r[i], &length), n);
                CHECK_IS(length, some_length(n));
                check_has_nothing(r[i]);
            }
        }
        CHECK(p->position > 10 * DATA);
        for (int i = 0; i < 4; i++) {
            CHECK_IS(ipcr_subscriber_lost(r[i]), 0);
            ipcr_subscriber_free(r[i]);
        }
        ipcr_publisher_free(p);
        ipcr_segment_release(s);
    }
}

/* Nobody is in the way: what is kept is the newest, whole, and more than would fit with one more is not there. */
static void as_much_is_kept_as_there_is_room_for(void)
{
    struct ipcr_segment *s = multicast_of(DATA, 16, &lossless, START);
    struct ipcr_publisher *p = publisher_on(s);
    for (uint64_t n = START; n < START + FEWER(2000, 300); n++) {
        CHECK_IS(try_publish_of(p, some_length(n)), n);
        struct ipcr_subscriber *r = subscriber_on(s, IPCR_START_OLDEST);
        uint64_t length, bytes = 0, count = 0;
        int64_t first = -1, rc;
        while ((rc = try_receive_of(r, &length)) >= 0) {
            CHECK_IS(length, some_length((uint64_t)rc));
            first = first < 0 ? rc : first;
            bytes += ipcr_padded(length);
            count++;
        }
        CHECK_IS(rc, IPCR_EMPTY);
        CHECK(count >= 1 && count <= 16 && bytes <= DATA);
        CHECK_IS(n + 1 - (uint64_t)first, count);
        CHECK_IS(load_relaxed64(&header_of(s)->oldest), first);
        const uint64_t before = (uint64_t)first - 1; /* went for need, or a 16th ahead of it */
        CHECK(before < START || count == 16 || bytes + ipcr_padded(some_length(before)) + DATA / 16 > DATA);
        ipcr_subscriber_free(r);
    }
    ipcr_publisher_free(p);
    ipcr_segment_release(s);
}

static void a_message_that_can_never_fit_is_refused_and_nothing_else(void)
{
    struct ipcr_segment *s = multicast_of(DATA, 16, &lossless, START);
    struct ipcr_publisher *p = publisher_on(s);
    struct ipcr_subscriber *r = subscriber_on(s, IPCR_START_LATEST);
    const struct ipcr_topic topic = topic_of("topic");
    static char large[DATA + 1];
    const struct ipcr_piece piece = { .data = large, .length = DATA - 7 };
    uint64_t length;
    CHECK_IS(try_publish_of(p, DATA + 1), IPCR_TOO_LARGE);
    CHECK_IS(try_publish_of(p, 63 * DATA), IPCR_TOO_LARGE);
    CHECK_IS(ipcr_publish(p, &topic, &piece, 1, IPCR_INFO(0, IPCR_BYTES)), IPCR_TOO_LARGE); /* by the name's 8 bytes */
    CHECK_IS(ipcr_publisher_claim(p, NULL, DATA - 55), IPCR_TOO_LARGE);
    CHECK_IS(ipcr_publisher_claim(p, NULL, UINT64_MAX), IPCR_TOO_LARGE);
    check_has_nothing(r);
    CHECK_IS(try_publish_of(p, DATA), START);
    CHECK_IS(try_receive_of(r, &length), START);
    CHECK_IS(length, DATA);
    ipcr_subscriber_free(r);
    ipcr_publisher_free(p);
    ipcr_segment_release(s);
}

/* One that is longer than the memory for it stays, and its result says how long it is. */
static void a_message_that_is_longer_than_the_inbox_stays_until_there_is_room_for_it(void)
{
    struct ipcr_segment *s = multicast_of(4 * DATA, 16, &lossless, START);
    struct ipcr_publisher *p = publisher_on(s);
    struct ipcr_subscriber_inbox inbox = { .subscriber = subscriber_on(s, IPCR_START_LATEST) };
    struct ipcr_subscriber *r = inbox.subscriber;
    const uint64_t large = IPCR_SMALL + 1;
    uint64_t length;
    CHECK_IS(ipcr_subscriber_try_recv_into(&inbox), IPCR_EMPTY);
    CHECK_IS(ipcr_subscriber_recv_into(&inbox), IPCR_EMPTY);
    CHECK_IS(try_publish_of(p, IPCR_SMALL), START);
    CHECK_IS(ipcr_subscriber_recv_into(&inbox), IPCR_SMALL);
    CHECK(is_stamped((const uint8_t *)inbox.bytes, IPCR_SMALL, START));
    CHECK_IS(try_publish_of(p, large), START + 1);
    CHECK_IS(ipcr_subscriber_recv_into(&inbox), (int64_t)large | IPCR_RESULT_LENT);
    CHECK_IS(ipcr_subscriber_try_recv_into(&inbox), (int64_t)large | IPCR_RESULT_LENT);
    CHECK_IS(ipcr_subscriber_last_sequence(r), START);
    CHECK_IS(try_receive_of(r, &length), START + 1);
    CHECK_IS(length, large);
    CHECK_IS(ipcr_subscriber_try_recv_into(&inbox), IPCR_EMPTY);
    ipcr_subscriber_free(r);
    ipcr_publisher_free(p);
    ipcr_segment_release(s);
}

int main(void)
{
    check_begin();
    CHECK(mkdtemp(dir) != NULL);
    check_tidy = remove_dir;
    run("what can be no multicast is not made", what_can_be_no_multicast_is_not_made);
    run("whoever attaches by name has the same options and messages",
        whoever_attaches_by_name_has_the_same_options_and_messages);
    run("latest begins with what is published next", latest_begins_with_what_is_published_next);
    run("oldest begins with the oldest that is kept", oldest_begins_with_the_oldest_that_is_kept);
    run("a sequence is begun with, or it is said what is there", a_sequence_is_begun_with_or_it_is_said_what_is_there);
    run("a sequence that is gone is lost where messages may be", a_sequence_that_is_gone_is_lost_where_messages_may_be);
    run("every subscriber gets every message in order, over both ends",
        every_subscriber_gets_every_message_in_order_over_both_ends);
    run("as much is kept as there is room for", as_much_is_kept_as_there_is_room_for);
    run("a message that can never fit is refused, and nothing else",
        a_message_that_can_never_fit_is_refused_and_nothing_else);
    run("a message that is longer than the inbox stays until there is room for it",
        a_message_that_is_longer_than_the_inbox_stays_until_there_is_room_for_it);
    remove_dir();
    return check_finish();
}

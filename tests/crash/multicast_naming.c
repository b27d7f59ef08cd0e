/* multicast_naming.c - whoever gives a multicast its name, attaches to it, takes the name away, or is the last to
 * leave, dies: naming.c with a publisher and subscribers.
 *
 * What is other than with a ring: messages keep no name alive.  Whoever subscribed has gone, and who comes later has no
 * claim on what is old.  While anybody lives, it goes on under its name.
 */
#include "multicast_stage.h"
#include "multicast_stats.h"
#include "names.h"
#include "registry.h"

enum { ENTRIES = 4 };

static struct ipcr_segment *mine; /* in the victim */
static struct ipcr_publisher *my_publisher;
static struct ipcr_subscriber *my_subscriber;

static const struct multicast_shape shape = { .entries = ENTRIES };

static int create_multicast(const char *dir, struct ipcr_segment **out)
{
    return ipcr_segment_create_multicast(dir, NAME, SMALLEST, ENTRIES, &shape.options, 0, out);
}

static int attach_multicast(const char *dir, struct ipcr_segment **out)
{
    return attach_name(dir, IPCR_KIND_MULTICAST, out);
}

static int subscribe(struct ipcr_segment *segment, uint32_t start, struct ipcr_subscriber **out)
{
    const struct ipcr_subscription wanted = subscription_to(start, IPCR_LAP_TO_OLDEST, false);
    uint64_t oldest, next;
    return ipcr_subscriber_open(segment, &wanted, NULL, &oldest, &next, out);
}

static bool with_message(const struct stage *s)
{
    return s->start->filled == ORPHAN_UNREAD || s->start->filled == LIVE_UNREAD;
}

/* --- before ----------------------------------------------------------------------------------------------------- */

/* A publisher dies when it has published, or not; a subscriber of it stays. */
static struct ipcr_subscriber *begin(struct stage *s)
{
    struct ipcr_subscriber *handle = NULL;
    CHECK_IS(create_multicast(s->dir, &s->segment), IPCR_OK);
    CHECK_IS(subscribe(s->segment, IPCR_START_OLDEST, &handle), IPCR_OK);
    if (with_message(s)) {
        struct ipcr_publisher *p = begins_to_publish(s);
        CHECK_IS(publish_number(s, p, 0), 0);
        dies_publishing(p);
    }
    return handle;
}

static void leave_orphan(int ear, int mouth, void *arg)
{
    (void)ear;
    (void)mouth;
    begin(arg);
    _exit(0); /* without a word */
}

static void prepare(struct stage *s)
{
    ledger_begin(s);
    s->broadcast = calloc(1, sizeof *s->broadcast);
    CHECK(s->broadcast != NULL);
    if (s->start->filled == ORPHAN || s->start->filled == ORPHAN_UNREAD) {
        struct child orphan_maker = child_start(leave_orphan, s);
        child_finish(&orphan_maker);
    }
    if (somebody_lives(s)) {
        struct ipcr_subscriber *handle = begin(s);
        segment_lives_on(s, s->segment);
        listens_on(s, handle);
    }
    if (s->start->filled != NO_NAME)
        CHECK(read_uuid_of_name(s->dir, s->note));
}

/* --- operations ------------------------------------------------------------------------------------------------- */

static int64_t create(struct stage *s) { return create_multicast(s->dir, &mine); }

static void approach_without_nameless_files(struct stage *s)
{
    (void)s;
    without_nameless_files = true;
}

static int64_t attach(struct stage *s) { return attach_multicast(s->dir, &mine); }

static int64_t attach_and_join(struct stage *s)
{
    const int64_t rc = attach(s);
    return rc == IPCR_OK ? subscribe(mine, IPCR_START_OLDEST, &my_subscriber) : rc;
}

static int64_t attach_and_publish(struct stage *s)
{
    uint32_t by;
    const int64_t rc = attach(s);
    return rc == IPCR_OK ? ipcr_publisher_open(mine, 0, &by, &my_publisher) : rc;
}

static void approach_attached(struct stage *s) { CHECK_IS(attach(s), IPCR_OK); }

static void approach_in_use(struct stage *s)
{
    CHECK_IS(attach_and_publish(s), IPCR_OK);
    CHECK_IS(subscribe(mine, IPCR_START_LATEST, &my_subscriber), IPCR_OK);
}

static int64_t leave(struct stage *s)
{
    (void)s;
    ipcr_publisher_free(my_publisher);
    ipcr_subscriber_free(my_subscriber);
    ipcr_segment_release(mine);
    return IPCR_OK;
}

static int64_t unlink_name(struct stage *s)
{
    (void)s;
    return ipcr_segment_unlink(mine);
}

/* --- while it lives, and after ---------------------------------------------------------------------------------- */

static const char *observe(struct stage *s)
{
    struct ipcr_multicast_stats stats;
    uint64_t uuid[2];
    int fd;
    if (ipcr_os_open(s->dir, NAME, &fd) != IPCR_OK)
        return somebody_lives(s) ? "the name of a live multicast is gone" : NULL;
    const int rc = ipcr_multicast_stats_of_file(fd, &stats, NULL, 0);
    close(fd);
    if (rc != IPCR_OK || stats.capacity != SMALLEST || stats.entries != ENTRIES)
        return "the name leads to something unfinished";
    if (!read_uuid_of_name(s->dir, uuid) || memcmp(uuid, s->note, sizeof uuid) == 0)
        return NULL;
    return stats.present ? NULL : "a multicast whose creator lives looks orphaned";
}

static void hear_one(struct stage *s, struct ipcr_subscriber *handle, uint64_t number)
{
    static uint8_t received[HAND_BYTES];
    const int64_t result = ipcr_subscriber_copy(handle, (char *)received, sizeof received);
    CHECK_IS(LENGTH_OF(result), length_of(s, number));
    CHECK(is_stamped(received, length_of(s, number), number));
    CHECK_IS(ipcr_subscriber_last_sequence(handle), number);
}

/* What is there first, by those who lived and by who comes; then some more, to all of them, and over the last entry.  A
 * number of the dead is free to be taken, and in nobody's way. */
static void check_works(struct stage *s, struct ipcr_segment *segment, struct ipcr_subscriber *old, uint64_t heard,
                        uint64_t there)
{
    struct ipcr_subscriber *handle = NULL;
    struct ipcr_publisher *p = NULL;
    uint32_t by;
    CHECK_IS(subscribe(segment, IPCR_START_OLDEST, &handle), IPCR_OK);
    CHECK_IS(ipcr_publisher_open(segment, 0, &by, &p), IPCR_OK);
    for (uint64_t n = load_acquire64(&ipcr_multicast_header(segment)->oldest); n < there; n++)
        hear_one(s, handle, n);
    for (uint64_t n = heard; old != NULL && n < there; n++)
        hear_one(s, old, n);
    for (uint64_t n = there; n < there + 2 * ENTRIES; n++) {
        int64_t rc = publish_number(s, p, n);
        if (rc == IPCR_FULL) { /* the dead are in the way, once */
            p->slice_end_ns = 0;
            CHECK_IS(ipcr_publisher_wait(p, 0, 0), IPCR_OK);
            rc = publish_number(s, p, n);
        }
        CHECK_IS(rc, n);
        hear_one(s, handle, n);
        if (old != NULL)
            hear_one(s, old, n);
    }
    ipcr_publisher_free(p);
    CHECK_IS(ipcr_subscriber_peek(handle), IPCR_END_OF_CHANNEL);
    ipcr_subscriber_free(handle);
}

static void check_creating(struct stage *s, bool somebody_is_there)
{
    struct ipcr_segment *created = NULL;
    CHECK_IS(create_multicast(s->dir, &created), somebody_is_there ? IPCR_EXISTS : IPCR_OK);
    if (somebody_is_there)
        return;
    check_works(s, created, NULL, 0, 0);
    ipcr_segment_release(created);
}

/* Those who live go on in any case, and are the last to leave. */
static void check_name_of_multicast(struct stage *s, enum name_is is)
{
    struct broadcast *b = s->broadcast;
    struct ipcr_segment *found = NULL;
    const bool lives = somebody_lives(s) && !s->all_died;
    const uint64_t there = with_message(s);
    if (s->way == WAY_GC)
        collect_garbage(s->dir);
    if (s->way == WAY_CREATE)
        check_creating(s, lives && is == STANDS);
    const int rc = attach_multicast(s->dir, &found);
    CHECK(rc == IPCR_OK || rc == IPCR_NOT_FOUND);
    CHECK(s->way != WAY_ATTACH || is != STANDS || rc == IPCR_OK);
    CHECK(is != IS_GONE || rc == IPCR_NOT_FOUND);
    if (rc == IPCR_OK) {
        const bool is_old = s->start->filled != NO_NAME && memcmp(found->uuid, s->note, sizeof s->note) == 0;
        CHECK(is_old || !lives);
        check_works(s, found, lives ? b->listeners[0].handle : NULL, 0, is_old ? there : 0);
        ipcr_segment_release(found);
    }
    if (lives) {
        const uint64_t heard = rc == IPCR_OK ? there + 2 * ENTRIES : 0;
        check_works(s, s->segment, b->listeners[0].handle, heard, rc == IPCR_OK ? heard : there);
        ipcr_subscriber_free(b->listeners[0].handle);
        b->count = 0;
        ipcr_segment_release(s->segment);
        s->segment = NULL;
    }
    collect_garbage(s->dir); /* temporary names */
    CHECK_IS(names_in(s->dir), 0);
}

static void check_created(struct stage *s)
{
    if (s->returned)
        CHECK_IS(s->result, somebody_lives(s) ? IPCR_EXISTS : IPCR_OK);
    check_name_of_multicast(s, somebody_lives(s) || s->returned ? STANDS : MAY_BE_GONE);
}

static void check_attached(struct stage *s)
{
    if (s->returned)
        CHECK_IS(s->result, IPCR_OK);
    check_name_of_multicast(s, STANDS);
}

/* The last one takes the name along. */
static void check_left(struct stage *s)
{
    check_name_of_multicast(s, somebody_lives(s) ? STANDS : s->returned ? IS_GONE : MAY_BE_GONE);
}

#define NOBODY_THERE { "no name", 0, NO_NAME }
#define AN_ORPHAN { "an orphan, with a message", 0, ORPHAN_UNREAD }
#define ALIVE { "a live multicast, with a message", 0, LIVE_UNREAD }

static const struct start anything[] = { NOBODY_THERE, AN_ORPHAN, ALIVE };
static const struct start something[] = { AN_ORPHAN, ALIVE };
static const struct start to_leave[] = { { "an orphan", 0, ORPHAN }, ALIVE };
static const struct start orphans[] = { AN_ORPHAN };

#define NAMED .prepare = prepare, .capacity = SMALLEST, .ways = WAYS, .multicast = &shape, .side = IPCR_SENDER

const struct operation multicast_name_operations[] = {
    { .name = "create-multicast", NAMED, STARTS(anything), .operate = create, .observe = observe,
      .check = check_created },
    { .name = "create-multicast-by-rename", NAMED, STARTS(orphans), .approach = approach_without_nameless_files,
      .operate = create, .observe = observe, .check = check_created },
    { .name = "attach-and-join", NAMED, STARTS(something), .operate = attach_and_join, .observe = observe,
      .check = check_attached },
    { .name = "attach-and-take-publisher", NAMED, STARTS(something), .operate = attach_and_publish, .observe = observe,
      .check = check_attached },
    { .name = "leave-named-multicast", NAMED, STARTS(to_leave), .approach = approach_in_use, .operate = leave,
      .observe = observe, .check = check_left },
    { .name = "unlink-multicast", NAMED, STARTS(orphans), .approach = approach_attached, .operate = unlink_name,
      .check = check_left },
    { .name = NULL },
};

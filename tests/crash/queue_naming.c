/* queue_naming.c - whoever gives a queue its name, or is the last to leave it, dies: naming.c with lanes.
 *
 * What is other than with a ring: only the header's memory is reserved at first, a lane's when a producer comes; and
 * "nothing unread" is told by the messages of all lanes.
 */
#include "names.h"
#include "queue_scenes.h"
#include "queue_stats.h"

enum { LANES = 2, SLOTS = 2 };

static struct ipcr_segment *mine; /* in the victim */

static int create_queue(const char *dir, struct ipcr_segment **out)
{
    const struct ipcr_queue_options options = { .slots = SLOTS, .lanes_each = 1 };
    return ipcr_segment_create_queue(dir, NAME, IPCR_KIND_RELIABLE, SMALLEST, LANES, &options, 0, out);
}

static int attach_queue(const char *dir, struct ipcr_segment **out)
{
    return attach_name(dir, IPCR_KIND_RELIABLE, out);
}

static bool is_unread(const struct stage *s)
{
    return s->start->filled == ORPHAN_UNREAD || s->start->filled == LIVE_UNREAD;
}

static void put(struct stage *s, struct ipcr_queue *q, uint32_t number)
{
    uint64_t id;
    if (!ipcr_queue_has_lane(q))
        takes_a_lane(q);
    CHECK_IS(put_number(s, q, number, 0, &id), IPCR_OK);
}

static void take(struct ipcr_queue *q, uint32_t number)
{
    static uint8_t received[HAND_BYTES];
    struct ipcr_lease lease;
    CHECK_IS(ipcr_queue_get(q, (char *)received, sizeof received, &lease), IPCR_OK);
    CHECK(IPCR_INFO_TYPE(lease.info) == number && is_stamped(received, lease.length, number));
}

/* --- before --------------------------------------------------------------------------------------------------- */

static struct ipcr_queue *begin(struct stage *s)
{
    struct ipcr_queue *q;
    CHECK_IS(create_queue(s->dir, &s->segment), IPCR_OK);
    q = enters(s);
    if (is_unread(s))
        put(s, q, 0);
    return q;
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
    if (s->start->filled == ORPHAN || s->start->filled == ORPHAN_UNREAD) {
        struct child orphan_maker = child_start(leave_orphan, s);
        child_finish(&orphan_maker);
    }
    if (somebody_lives(s)) {
        s->play = calloc(1, sizeof *s->play);
        CHECK(s->play != NULL);
        stays(s, begin(s));
        segment_lives_on(s, s->segment);
    }
    if (s->start->filled != NO_NAME)
        CHECK(read_uuid_of_name(s->dir, s->note));
}

/* --- operations ----------------------------------------------------------------------------------------------- */

static int64_t create(struct stage *s) { return create_queue(s->dir, &mine); }

static void approach_without_nameless_files(struct stage *s)
{
    (void)s;
    without_nameless_files = true;
}

/* With a lane, and with what is unread in its hands. */
static void approach_in_use(struct stage *s)
{
    struct ipcr_lease lease;
    CHECK_IS(attach_queue(s->dir, &mine), IPCR_OK);
    CHECK_IS(ipcr_queue_open(mine, 0, &s->queue), IPCR_OK);
    takes_a_lane(s->queue);
    CHECK_IS(ipcr_queue_lease(s->queue, 0, &lease), is_unread(s) ? IPCR_OK : IPCR_EMPTY);
}

static int64_t leave(struct stage *s)
{
    ipcr_queue_free(s->queue);
    ipcr_segment_release(mine);
    return IPCR_OK;
}

/* --- while it lives, and after -------------------------------------------------------------------------------- */

static const char *observe(struct stage *s)
{
    struct ipcr_queue_stats stats;
    uint64_t uuid[2];
    int fd;
    if (ipcr_os_open(s->dir, NAME, &fd) != IPCR_OK)
        return somebody_lives(s) ? "the name of a live queue is gone" : NULL;
    const int rc = ipcr_queue_stats_of_file(fd, &stats, NULL, 0);
    close(fd);
    if (rc != IPCR_OK || stats.capacity != SMALLEST || stats.lanes != LANES || stats.options.slots != SLOTS)
        return "the name leads to something unfinished";
    if (!read_uuid_of_name(s->dir, uuid) || memcmp(uuid, s->note, sizeof uuid) == 0)
        return NULL;
    return stats.present ? NULL : "a queue whose creator lives looks orphaned";
}

/* What is unread first, then some more, in each lane; and in the end nothing. */
static void check_works(struct stage *s, struct ipcr_segment *segment, bool unread)
{
    struct ipcr_queue *q;
    CHECK_IS(ipcr_queue_open(segment, 0, &q), IPCR_OK);
    if (unread)
        take(q, 0);
    for (uint32_t n = 1; n < 3 * SLOTS; n++) {
        put(s, q, n);
        take(q, n);
    }
    CHECK_IS(ipcr_queue_depth(q), 0);
    ipcr_queue_free(q);
}

static void check_creating(struct stage *s, bool somebody_is_there)
{
    struct ipcr_segment *created = NULL;
    CHECK_IS(create_queue(s->dir, &created), somebody_is_there ? IPCR_EXISTS : IPCR_OK);
    if (somebody_is_there)
        return;
    check_works(s, created, false);
    ipcr_segment_release(created);
}

/* Those who live go on in any case, and are the last to leave. */
static void check_name_of_queue(struct stage *s, enum name_is is)
{
    struct ipcr_segment *found = NULL;
    const bool lives = somebody_lives(s) && !s->all_died;
    bool is_old = false;
    if (s->way == WAY_GC)
        collect_garbage(s->dir);
    if (s->way == WAY_CREATE)
        check_creating(s, lives);
    const int rc = attach_queue(s->dir, &found);
    CHECK(rc == IPCR_OK || rc == IPCR_NOT_FOUND);
    CHECK(s->way != WAY_ATTACH || is != STANDS || rc == IPCR_OK);
    CHECK(is != IS_GONE || rc == IPCR_NOT_FOUND);
    if (rc == IPCR_OK) {
        is_old = s->start->filled != NO_NAME && memcmp(found->uuid, s->note, sizeof s->note) == 0;
        check_works(s, found, is_old && is_unread(s));
        ipcr_segment_release(found);
    }
    if (lives) {
        CHECK(is_old);
        check_works(s, s->segment, false);
        ipcr_queue_free(s->play->mate);
        s->play->mate = NULL;
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
    check_name_of_queue(s, somebody_lives(s) || s->returned ? STANDS : MAY_BE_GONE);
}

/* The last one takes the name along, unless something is unread: also what was in its own hands. */
static void check_left(struct stage *s)
{
    check_name_of_queue(s, s->start->filled != ORPHAN ? STANDS : s->returned ? IS_GONE : MAY_BE_GONE);
}

#define NOBODY { "no name", 0, NO_NAME }
#define ORPHANS { "an orphan", 0, ORPHAN }, { "an orphan, one unread", 0, ORPHAN_UNREAD }
#define ALIVE { "a live queue", 0, LIVE }, { "a live queue, one unread", 0, LIVE_UNREAD }

static const struct start anything[] = { NOBODY, ORPHANS, ALIVE };
static const struct start something[] = { ORPHANS, ALIVE };

#define NAMED .prepare = prepare, .capacity = SMALLEST, .ways = WAYS, .observe = observe

const struct operation queue_name_operations[] = {
    { .name = "create-queue", NAMED, STARTS(anything), .operate = create, .check = check_created },
    { .name = "create-queue-by-rename", NAMED, STARTS(anything), .approach = approach_without_nameless_files,
      .operate = create, .check = check_created },
    { .name = "leave-named-queue", NAMED, STARTS(something), .approach = approach_in_use, .operate = leave,
      .check = check_left },
    { .name = NULL },
};

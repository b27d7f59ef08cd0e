/* naming.c - whoever gives or takes names dies: creating, attaching, unlinking, collecting garbage, and leaving as
 * the last one. */
#include "names.h"

static struct ipcr_segment *mine; /* in the victim */

/* --- operations ----------------------------------------------------------------------------------------------- */

static int64_t create(struct stage *s) { return create_name(s->dir, &mine); }

static void approach_without_nameless_files(struct stage *s)
{
    (void)s;
    without_nameless_files = true;
}

static int64_t attach(struct stage *s) { return attach_name(s->dir, IPCR_KIND_RING, &mine); }

static void approach_attached(struct stage *s)
{
    CHECK_IS(attach_name(s->dir, IPCR_KIND_RING, &mine), IPCR_OK);
}

static void approach_attached_in_use(struct stage *s)
{
    approach_attached(s);
    s->end = taken(mine, IPCR_SENDER);
}

static int64_t unlink_name(struct stage *s)
{
    (void)s;
    return ipcr_segment_unlink(mine);
}

static int64_t remove_orphan(struct stage *s) { return ipcr_name_remove(s->dir, NAME, IPCR_REMOVE_ORPHAN); }
static int64_t remove_always(struct stage *s) { return ipcr_name_remove(s->dir, NAME, IPCR_REMOVE_ALWAYS); }

static int64_t detach(struct stage *s)
{
    finish(s->end, false);
    ipcr_segment_release(mine);
    return IPCR_OK;
}

/* --- after ---------------------------------------------------------------------------------------------------- */

static void check_result(const struct stage *s, int wanted)
{
    if (s->returned)
        CHECK_IS(s->result, wanted);
}

static void check_created(struct stage *s)
{
    check_result(s, somebody_lives(s) ? IPCR_EXISTS : IPCR_OK);
    if (somebody_lives(s))
        check_name(s, STANDS, false);
    else
        check_name(s, s->returned ? STANDS : MAY_BE_GONE, true);
}

static void check_attached(struct stage *s)
{
    check_result(s, IPCR_OK);
    check_name(s, STANDS, false);
}

static void check_removed(struct stage *s)
{
    check_result(s, IPCR_OK);
    check_name(s, s->returned ? IS_GONE : MAY_BE_GONE, false);
}

static void check_orphan_removed(struct stage *s)
{
    if (!somebody_lives(s)) {
        check_removed(s);
        return;
    }
    check_result(s, IPCR_EXISTS);
    check_name(s, STANDS, false);
}

/* The last one takes the name along, unless something is unread. */
static void check_detached(struct stage *s)
{
    if (s->start->filled == ORPHAN)
        check_removed(s);
    else
        check_name(s, STANDS, false);
}

#define NOBODY { "no name", 0, NO_NAME }
#define ORPHANS { "an orphan", 0, ORPHAN }, { "an orphan, one unread", 0, ORPHAN_UNREAD }
#define ALIVE { "a live segment", 0, LIVE }, { "a live segment, one unread", 0, LIVE_UNREAD }

static const struct start anything[] = { NOBODY, ORPHANS, ALIVE };
static const struct start something[] = { ORPHANS, ALIVE };

#define NAMED .prepare = prepare_name, .capacity = SMALLEST, .side = IPCR_SENDER, .ways = WAYS

const struct operation name_operations[] = {
    { .name = "create", NAMED, STARTS(anything), .operate = create, .observe = observe_name, .check = check_created },
    { .name = "create-by-rename", NAMED, STARTS(anything), .approach = approach_without_nameless_files,
      .operate = create, .observe = observe_name, .check = check_created },
    { .name = "attach", NAMED, STARTS(something), .operate = attach, .observe = observe_name,
      .check = check_attached },
    { .name = "unlink", NAMED, STARTS(something), .approach = approach_attached, .operate = unlink_name,
      .check = check_removed },
    { .name = "remove", NAMED, STARTS(something), .operate = remove_always, .check = check_removed },
    { .name = "remove-orphan", NAMED, STARTS(something), .operate = remove_orphan, .check = check_orphan_removed },
    { .name = "detach", NAMED, STARTS(something), .approach = approach_attached_in_use, .operate = detach,
      .check = check_detached },
    { .name = NULL },
};

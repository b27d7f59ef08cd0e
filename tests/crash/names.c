/* names.c - see names.h. */
#include "names.h"
#include "segment.h"

#include <dirent.h>

bool without_nameless_files;

/* The linker leads the core here (--wrap). */
int __real_ipcr_os_open_nameless(const char *dir, int *fd);
int __wrap_ipcr_os_open_nameless(const char *dir, int *fd);
int __wrap_ipcr_os_open_nameless(const char *dir, int *fd)
{
    return without_nameless_files ? IPCR_FROM_ERRNO(EOPNOTSUPP) : __real_ipcr_os_open_nameless(dir, fd);
}

int create_name(const char *dir, struct ipcr_segment **out)
{
    return ipcr_segment_create(dir, NAME, IPCR_KIND_RING, SMALLEST, 0, out);
}

int attach_name(const char *dir, uint32_t kind, struct ipcr_segment **out)
{
    for (;;) {
        int fd, rc = ipcr_os_open(dir, NAME, &fd);
        if (rc != IPCR_OK)
            return rc == IPCR_FROM_ERRNO(ENOENT) ? IPCR_NOT_FOUND : rc;
        rc = ipcr_segment_attach(fd, dir, NAME, kind, false, out);
        if (rc == IPCR_OK)
            return rc;
        close(fd);
        if (rc != IPCR_AGAIN)
            return rc;
    }
}

bool read_uuid_of_name(const char *dir, uint64_t uuid[2])
{
    struct ipcr_geometry g;
    int fd;
    if (ipcr_os_open(dir, NAME, &fd) != IPCR_OK)
        return false;
    CHECK(pread(fd, &g, sizeof g, 0) == (ssize_t)sizeof g);
    close(fd);
    memcpy(uuid, g.uuid, sizeof g.uuid);
    return true;
}

int collect_garbage(const char *dir)
{
    int removed = 0;
    DIR *stream = opendir(dir);
    CHECK(stream != NULL);
    for (const struct dirent *entry = readdir(stream); entry != NULL; entry = readdir(stream)) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        const int rc = ipcr_name_remove(dir, entry->d_name, IPCR_REMOVE_ORPHAN);
        CHECK(rc == IPCR_OK || rc == IPCR_EXISTS);
        removed += rc == IPCR_OK;
    }
    closedir(stream);
    return removed;
}

/* --- before --------------------------------------------------------------------------------------------------- */

static struct ipcr_segment *create_with_history(struct stage *s, bool unread)
{
    struct ipcr_segment *segment = NULL;
    CHECK_IS(create_name(s->dir, &segment), IPCR_OK);
    if (unread) {
        struct ipcr_end *w = taken(segment, IPCR_SENDER);
        CHECK_IS(send_number(s, w, 0), IPCR_OK);
        finish(w, false);
    }
    return segment;
}

static void leave_orphan(int ear, int mouth, void *arg)
{
    struct stage *s = arg;
    (void)ear;
    (void)mouth;
    create_with_history(s, s->start->filled == ORPHAN_UNREAD);
    _exit(0); /* without a word */
}

void prepare_name(struct stage *s)
{
    ledger_begin(s);
    s->next = s->start->filled == ORPHAN_UNREAD || s->start->filled == LIVE_UNREAD;
    if (s->start->filled == ORPHAN || s->start->filled == ORPHAN_UNREAD) {
        struct child orphan_maker = child_start(leave_orphan, s);
        child_finish(&orphan_maker);
    }
    if (somebody_lives(s)) {
        segment_lives_on(s, create_with_history(s, s->start->filled == LIVE_UNREAD));
        peer_lives_on(s, taken(s->segment, IPCR_RECEIVER));
    }
    if (s->start->filled != NO_NAME) {
        struct ipcr_stats stats;
        int fd;
        CHECK_IS(ipcr_os_open(s->dir, NAME, &fd), IPCR_OK);
        CHECK_IS(ipcr_stats_of_file(fd, &stats), IPCR_OK);
        close(fd);
        memcpy(s->note, stats.uuid, sizeof s->note);
    }
}

/* --- while it lives ------------------------------------------------------------------------------------------- */

const char *observe_name(struct stage *s)
{
    struct ipcr_stats stats;
    int fd;
    if (ipcr_os_open(s->dir, NAME, &fd) != IPCR_OK)
        return somebody_lives(s) ? "the name of a live segment is gone" : NULL;
    const int rc = ipcr_stats_of_file(fd, &stats);
    close(fd);
    if (rc != IPCR_OK || stats.capacity != SMALLEST)
        return "the name leads to something unfinished";
    if (memcmp(stats.uuid, s->note, sizeof s->note) == 0)
        return NULL;
    return stats.present ? NULL : "a segment whose creator lives looks orphaned";
}

/* --- after ---------------------------------------------------------------------------------------------------- */

static bool is_the_old_one(const struct stage *s, const struct ipcr_segment *segment)
{
    return s->start->filled != NO_NAME && memcmp(segment->uuid, s->note, sizeof s->note) == 0;
}

/* What stood there before, with what was in it. */
static void check_old_goes_on(struct stage *s)
{
    const struct span span = check_ring(s->segment);
    CHECK_IS(span.first, s->first);
    CHECK_IS(span.next, s->next);
    check_goes_on(s, span);
}

static void check_new_works(struct stage *s, struct ipcr_segment *segment)
{
    struct stage other = *s;
    other.segment = segment;
    other.peer = NULL;
    const struct span span = check_ring(segment);
    CHECK(span.first == 0 && span.next == 0);
    check_goes_on(&other, span);
}

/* Each in its own frame: a stage is large. */
static void check_attached(struct stage *s, struct ipcr_segment *found, bool replaced)
{
    CHECK(is_the_old_one(s, found) || replaced);
    CHECK(!(is_the_old_one(s, found) && replaced && s->returned));
    if (!is_the_old_one(s, found)) {
        check_new_works(s, found);
    } else if (s->segment == NULL) {
        s->segment = found;
        check_old_goes_on(s);
        s->segment = NULL;
    }
    ipcr_segment_release(found);
}

static void check_creating(struct stage *s, bool stands)
{
    struct ipcr_segment *created = NULL;
    const bool taken_already = stands && s->segment != NULL;
    CHECK_IS(create_name(s->dir, &created), taken_already ? IPCR_EXISTS : IPCR_OK);
    if (!taken_already) {
        check_new_works(s, created);
        ipcr_segment_release(created);
    }
}

/* The name stays, whatever is in it. */
static void leave_like_a_dead_one(struct ipcr_segment *segment)
{
    free(segment->dir);
    segment->dir = NULL;
    ipcr_segment_release(segment);
}

void check_name(struct stage *s, enum name_is is, bool replaced)
{
    struct ipcr_segment *found = NULL;
    const int rc = attach_name(s->dir, IPCR_KIND_RING, &found);
    CHECK(rc == IPCR_OK || rc == IPCR_NOT_FOUND);
    CHECK(is != STANDS || rc == IPCR_OK);
    CHECK(is != IS_GONE || rc == IPCR_NOT_FOUND);
    if (s->way == WAY_ATTACH && rc == IPCR_OK) {
        check_attached(s, found, replaced);
    } else {
        if (rc == IPCR_OK)
            leave_like_a_dead_one(found);
        if (s->way == WAY_GC)
            collect_garbage(s->dir);
        check_creating(s, rc == IPCR_OK);
    }
    if (s->segment != NULL) {
        check_old_goes_on(s);
        ipcr_segment_release(s->segment);
        s->segment = NULL;
    }
    collect_garbage(s->dir); /* temporary names */
    CHECK_IS(names_in(s->dir), 0);
}

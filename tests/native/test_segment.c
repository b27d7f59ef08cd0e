/* test_segment.c - creating, attaching, finding orphans and unlinking; and the holds that all rest on.
 *
 * "The other process" is a forked child.  Some system calls are replaced below, so that a directory
 * without O_TMPFILE, a full file system and a kill at an exact moment need no preparation.
 */
#include "check.h"
#include "ends.h"
#include "registry.h"
#include "stats.h"
#include "transfer.h"

#include <dirent.h>
#include <pthread.h>
#include <stdarg.h>
#include <sys/stat.h>
#include <sys/syscall.h>

enum { CAPACITY = 4096 };

/* --- replaced system calls -------------------------------------------------------------------------- */

enum moment { NEVER, AT_ALLOCATE, BEFORE_LINK, AFTER_LINK, BEFORE_RENAME, AFTER_RENAME, BEFORE_UNLINK, AFTER_UNLINK };

static bool no_tmpfile;
static int interruptions;
static int no_room;
static enum moment die_at;

static void maybe_die(enum moment moment)
{
    if (die_at == moment)
        kill(getpid(), SIGKILL);
}

int open(const char *path, int flags, ...)
{
    va_list more;
    va_start(more, flags);
    const int mode = (flags & (O_CREAT | O_TMPFILE)) != 0 ? va_arg(more, int) : 0;
    va_end(more);
    if (no_tmpfile && (flags & O_TMPFILE) == O_TMPFILE) {
        errno = EOPNOTSUPP;
        return -1;
    }
    return (int)syscall(SYS_openat, AT_FDCWD, path, flags, mode);
}

int posix_fallocate(int fd, off_t offset, off_t length)
{
    maybe_die(AT_ALLOCATE);
    if (no_room)
        return ENOSPC;
    if (interruptions > 0) {
        interruptions--;
        return EINTR;
    }
    return syscall(SYS_fallocate, fd, 0, offset, length) == 0 ? 0 : errno;
}

int linkat(int from_dir, const char *from, int to_dir, const char *to, int flags)
{
    maybe_die(BEFORE_LINK);
    const int rc = (int)syscall(SYS_linkat, from_dir, from, to_dir, to, flags);
    maybe_die(AFTER_LINK);
    return rc;
}

int renameat2(int from_dir, const char *from, int to_dir, const char *to, unsigned int flags)
{
    maybe_die(BEFORE_RENAME);
    const int rc = (int)syscall(SYS_renameat2, from_dir, from, to_dir, to, flags);
    maybe_die(AFTER_RENAME);
    return rc;
}

int unlink(const char *path)
{
    maybe_die(BEFORE_UNLINK);
    const int rc = (int)syscall(SYS_unlinkat, AT_FDCWD, path, 0);
    maybe_die(AFTER_UNLINK);
    return rc;
}

/* --- a private directory ---------------------------------------------------------------------------- */

static char dir[] = "/dev/shm/ipcr-test-XXXXXX";

static int files_in_dir(char first[256])
{
    DIR *d = opendir(dir);
    int n = 0;
    CHECK(d != NULL);
    for (const struct dirent *e; (e = readdir(d)) != NULL;)
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0 && n++ == 0)
            snprintf(first, 256, "%s", e->d_name);
    closedir(d);
    return n;
}

static void check_nothing_left(void)
{
    char first[256];
    CHECK_IS(files_in_dir(first), 0);
}

static void remove_dir(void)
{
    char name[256], path[512];
    for (int i = 0; i < 1000 && files_in_dir(name) > 0; i++) {
        snprintf(path, sizeof path, "%s/%s", dir, name);
        (void)remove(path);
    }
    (void)rmdir(dir);
}

static int create_as(const char *name, struct ipcr_segment **out)
{
    return ipcr_segment_create(dir, name, IPCR_KIND_RING, CAPACITY, 0, out);
}

static struct ipcr_segment *create(const char *name)
{
    struct ipcr_segment *s = NULL;
    CHECK_IS(create_as(name, &s), IPCR_OK);
    return s;
}

/* As a binding does: open, attach, and once more when the name was being replaced. */
static int attach_as(const char *name, uint32_t kind, struct ipcr_segment **out)
{
    for (;;) {
        int fd;
        int rc = ipcr_os_open(dir, name, &fd);
        if (rc != IPCR_OK)
            return rc == IPCR_FROM_ERRNO(ENOENT) ? IPCR_NOT_FOUND : rc;
        rc = ipcr_segment_attach(fd, dir, name, kind, false, out);
        if (rc != IPCR_OK)
            ipcr_os_close(fd);
        if (rc != IPCR_AGAIN)
            return rc;
    }
}

static struct ipcr_segment *attach(const char *name)
{
    struct ipcr_segment *s = NULL;
    CHECK_IS(attach_as(name, IPCR_KIND_RING, &s), IPCR_OK);
    return s;
}

static void path_of(char out[512], const char *name) { snprintf(out, 512, "%s/%s", dir, name); }

static bool leads_to(const char *name, const struct ipcr_segment *s)
{
    struct ipcr_file_id id;
    return ipcr_os_named(dir, name, &id) == IPCR_OK && ipcr_same_file(id, s->id);
}

static bool exists(const char *name)
{
    struct ipcr_file_id id;
    return ipcr_os_named(dir, name, &id) == IPCR_OK;
}

static bool is_held(const struct ipcr_segment *s, int64_t byte)
{
    bool held;
    CHECK_IS(ipcr_probe(s->fd, s->id, byte, &held), IPCR_OK);
    return held;
}

static void send_one(struct ipcr_segment *s, const char *text)
{
    struct ipcr_end *e;
    uint32_t by;
    CHECK_IS(ipcr_end_open(s, IPCR_SENDER, 0, &e), IPCR_OK);
    CHECK_IS(ipcr_end_take(e, &by), IPCR_OK);
    CHECK_IS(ipcr_send(e, text, strlen(text), 0), IPCR_OK);
    ipcr_end_close(e, true);
    ipcr_end_free(e);
}

static void receive_one(struct ipcr_segment *s, const char *text)
{
    struct ipcr_end *e;
    uint32_t by;
    char got[IPCR_SMALL];
    CHECK_IS(ipcr_end_open(s, IPCR_RECEIVER, 0, &e), IPCR_OK);
    CHECK_IS(ipcr_end_take(e, &by), IPCR_OK);
    CHECK_IS(ipcr_recv(e, got), strlen(text));
    CHECK(memcmp(got, text, strlen(text)) == 0);
    ipcr_end_close(e, true);
    ipcr_end_free(e);
}

/* --- creating ---------------------------------------------------------------------------------------- */

static void capacities_are_powers_of_two_from_one_page_on(void)
{
    struct ipcr_segment *s = NULL;
    const uint64_t page = ipcr_os_page_bytes();
    CHECK_IS(ipcr_round_capacity(0), 0);
    CHECK_IS(ipcr_round_capacity(1), page);
    CHECK_IS(ipcr_round_capacity(page), page);
    CHECK_IS(ipcr_round_capacity(page + 1), 2 * page);
    CHECK_IS(ipcr_round_capacity(IPCR_MAX_CAPACITY), IPCR_MAX_CAPACITY);
    CHECK_IS(ipcr_round_capacity(IPCR_MAX_CAPACITY + 1), 0);
    CHECK_IS(ipcr_round_capacity(UINT64_MAX), 0);
    const uint64_t bad[] = { 0, 1, page - 1, page + 8, 3 * page, IPCR_MAX_CAPACITY * 2, UINT64_MAX };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        CHECK_IS(ipcr_segment_create(dir, "x", IPCR_KIND_RING, bad[i], 0, &s), IPCR_FROM_ERRNO(EINVAL));
    CHECK_IS(ipcr_segment_create(dir, "x", IPCR_KIND_RING, page, 4, &s), IPCR_FROM_ERRNO(EINVAL));
    check_nothing_left();
}

static void an_anonymous_segment_is_sealed_and_mapped_twice(void)
{
    struct ipcr_segment *s = anonymous(CAPACITY * 4, 0);
    struct stat st;
    CHECK(fstat(s->fd, &st) == 0);
    CHECK_IS(st.st_size, (int64_t)ipcr_segment_footprint(CAPACITY * 4));
    CHECK_IS(st.st_mode & 07777, 0600);
    CHECK(ftruncate(s->fd, 0) != 0 && errno == EPERM);
    CHECK(ftruncate(s->fd, st.st_size * 2) != 0 && errno == EPERM);
    CHECK((fcntl(s->fd, F_GETFD) & FD_CLOEXEC) != 0);
    for (uint64_t i = 0; i < s->capacity; i += 509) {
        s->data[i] = (uint8_t)i;
        CHECK(s->data[i + s->capacity] == (uint8_t)i);
        s->data[i + s->capacity] = (uint8_t)~i;
        CHECK(s->data[i] == (uint8_t)~i);
    }
    ipcr_segment_release(s);
}

static void an_anonymous_segment_can_be_attached_by_descriptor(void)
{
    struct ipcr_segment *s = anonymous(CAPACITY, 64), *other = NULL;
    int fd;
    CHECK_IS(ipcr_os_reopen(s->fd, s->id, &fd), IPCR_OK);
    CHECK_IS(ipcr_segment_attach(fd, NULL, NULL, IPCR_KIND_CHANNEL, false, &other), IPCR_KIND);
    CHECK_IS(ipcr_segment_attach(fd, NULL, NULL, IPCR_KIND_RING, false, &other), IPCR_OK);
    CHECK(other->uuid[0] == s->uuid[0] && other->uuid[1] == s->uuid[1] && other->start_position == 64);
    send_one(s, "through the one");
    receive_one(other, "through the one");
    ipcr_segment_release(s);
    CHECK(is_held(other, IPCR_LOCK_PRESENCE));
    ipcr_segment_release(other);
}

static void a_named_segment_is_0600_whatever_the_umask(void)
{
    const mode_t masks[] = { 0, 0777, 0022 };
    for (int way = 0; way < 2; way++) {
        no_tmpfile = way == 1;
        for (size_t i = 0; i < sizeof masks / sizeof masks[0]; i++) {
            const mode_t before = umask(masks[i]);
            struct ipcr_segment *s = create("m");
            umask(before);
            struct stat st;
            char path[512];
            path_of(path, "m");
            CHECK(stat(path, &st) == 0);
            CHECK_IS(st.st_mode, S_IFREG | 0600);
            CHECK_IS(st.st_nlink, 1);
            CHECK_IS(st.st_size, (int64_t)ipcr_segment_footprint(CAPACITY));
            ipcr_segment_release(s);
            check_nothing_left();
        }
    }
    no_tmpfile = false;
}

static void lack_of_room_is_an_error_that_leaves_nothing(void)
{
    struct ipcr_segment *s = NULL;
    no_room = 1;
    CHECK_IS(create_as("x", &s), IPCR_FROM_ERRNO(ENOSPC));
    CHECK_IS(ipcr_segment_create(NULL, "ipc:x", IPCR_KIND_RING, CAPACITY, 0, &s), IPCR_FROM_ERRNO(ENOSPC));
    no_tmpfile = true;
    CHECK_IS(create_as("x", &s), IPCR_FROM_ERRNO(ENOSPC));
    no_tmpfile = false;
    no_room = 0;
    check_nothing_left();
}

static void an_interrupted_allocation_goes_on(void)
{
    interruptions = 5;
    struct ipcr_segment *s = create("x");
    CHECK_IS(interruptions, 0);
    ipcr_segment_release(s);
}

static void a_directory_that_is_missing_or_a_name_too_long_is_an_error(void)
{
    struct ipcr_segment *s = NULL;
    char name[5000];
    memset(name, 'n', sizeof name);
    name[sizeof name - 1] = 0;
    CHECK_IS(ipcr_segment_create("/nonexistent", "x", IPCR_KIND_RING, CAPACITY, 0, &s), IPCR_FROM_ERRNO(ENOENT));
    CHECK_IS(create_as(name, &s), IPCR_FROM_ERRNO(ENAMETOOLONG));
    name[300] = 0;
    CHECK_IS(create_as(name, &s), IPCR_FROM_ERRNO(ENAMETOOLONG));
    check_nothing_left();
}

/* --- attaching: nothing is believed -------------------------------------------------------------------- */

static void write_file(const char *name, const void *bytes, size_t n, mode_t mode)
{
    char path[512];
    path_of(path, name);
    const int fd = open(path, O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, mode);
    CHECK(fd >= 0 && fchmod(fd, mode) == 0);
    CHECK(write(fd, bytes, n) == (ssize_t)n);
    close(fd);
}

static void remove_file(const char *name)
{
    char path[512];
    path_of(path, name);
    CHECK(unlink(path) == 0);
}

static void check_refused(const char *name, int wanted)
{
    struct ipcr_segment *s = NULL;
    CHECK_IS(attach_as(name, 0, &s), wanted);
    CHECK(s == NULL);
}

static void files_that_are_no_segments_are_refused(void)
{
    static uint8_t garbage[20000];
    stamp(garbage, sizeof garbage, 5);
    check_refused("none", IPCR_NOT_FOUND);
    const size_t sizes[] = { 0, 1, 8, 96, sizeof(struct ipcr_header) - 1, sizeof(struct ipcr_header), 4096, sizeof garbage };
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        write_file("g", garbage, sizes[i], 0600);
        check_refused("g", IPCR_NOT_OURS);
        CHECK_IS(ipcr_name_remove(dir, "g", IPCR_REMOVE_ALWAYS), IPCR_NOT_OURS);
        CHECK_IS(ipcr_name_remove(dir, "g", IPCR_REMOVE_ORPHAN), IPCR_NOT_OURS);
        struct ipcr_segment *s = NULL;
        CHECK_IS(create_as("g", &s), IPCR_NOT_OURS);
        remove_file("g");
    }
    /* no magic, although the rest is right */
    struct ipcr_segment *s = create("s");
    memcpy(garbage, s->header, sizeof(struct ipcr_geometry));
    garbage[0] ^= 1;
    write_file("g", garbage, sizeof garbage, 0600);
    check_refused("g", IPCR_NOT_OURS);
    remove_file("g");
    ipcr_segment_release(s);
    check_nothing_left();
}

static void special_files_are_refused_without_waiting(void)
{
    char path[512], to[512];
    struct ipcr_segment *s = create("s"), *other = NULL;
    path_of(path, "f");
    path_of(to, "s");
    CHECK(mkfifo(path, 0600) == 0);
    check_refused("f", IPCR_NOT_OURS);
    CHECK_IS(create_as("f", &other), IPCR_NOT_OURS);
    remove_file("f");
    CHECK(mkdir(path, 0700) == 0);
    check_refused("f", IPCR_FROM_ERRNO(EISDIR));
    CHECK_IS(ipcr_name_remove(dir, "f", IPCR_REMOVE_ALWAYS), IPCR_NOT_OURS);
    CHECK_IS(create_as("f", &other), IPCR_NOT_OURS);
    CHECK(rmdir(path) == 0);
    CHECK(symlink(to, path) == 0);
    check_refused("f", IPCR_FROM_ERRNO(ELOOP));
    CHECK(ipcr_name_remove(dir, "f", IPCR_REMOVE_ALWAYS) != IPCR_OK);
    CHECK(create_as("f", &other) != IPCR_OK);
    remove_file("f");
    CHECK(symlink("/nonexistent", path) == 0);
    CHECK(create_as("f", &other) != IPCR_OK);
    remove_file("f");
    CHECK(leads_to("s", s));
    ipcr_segment_release(s);
    check_nothing_left();
}

static void a_segment_that_others_may_open_is_untrusted(void)
{
    struct ipcr_segment *s = create("s");
    const mode_t loose[] = { 0644, 0660, 0602, 0601, 0610, 0640, 0666 };
    for (size_t i = 0; i < sizeof loose / sizeof loose[0]; i++) {
        CHECK(fchmod(s->fd, loose[i]) == 0);
        check_refused("s", IPCR_UNTRUSTED);
    }
    CHECK(fchmod(s->fd, 0600) == 0);
    ipcr_segment_release(attach("s"));
    if (geteuid() == 0) {
        CHECK(fchown(s->fd, 12345, (gid_t)-1) == 0);
        check_refused("s", IPCR_UNTRUSTED);
        CHECK_IS(ipcr_name_remove(dir, "s", IPCR_REMOVE_ALWAYS), IPCR_UNTRUSTED);
        CHECK(fchown(s->fd, 0, (gid_t)-1) == 0);
    }
    ipcr_segment_release(s);
    check_nothing_left();
}

static void a_wrong_geometry_is_refused_with_its_reason(void)
{
    struct ipcr_segment *s = create("s");
    struct ipcr_geometry *g = &s->header->geometry;
    const struct ipcr_geometry good = *g;
#define REFUSED_WITH(field, value, wanted)  \
    do {                                    \
        g->field = (value);                 \
        check_refused("s", wanted);         \
        *g = good;                          \
    } while (0)
    REFUSED_WITH(magic, 0, IPCR_NOT_OURS);
    REFUSED_WITH(magic, __builtin_bswap64(good.magic), IPCR_NOT_OURS);
    REFUSED_WITH(format_version, good.format_version + 1, IPCR_VERSION);
    REFUSED_WITH(format_version, 0, IPCR_VERSION);
    REFUSED_WITH(byte_order, __builtin_bswap32(good.byte_order), IPCR_VERSION);
    REFUSED_WITH(layout_hash, good.layout_hash + 1, IPCR_VERSION);
    REFUSED_WITH(header_bytes, 0, IPCR_CORRUPT);
    REFUSED_WITH(header_bytes, good.header_bytes * 2, IPCR_CORRUPT);
    REFUSED_WITH(header_bytes, 0 - good.header_bytes, IPCR_CORRUPT);
    REFUSED_WITH(capacity, 0, IPCR_CORRUPT);
    REFUSED_WITH(capacity, 2048, IPCR_CORRUPT);
    REFUSED_WITH(capacity, CAPACITY * 2, IPCR_CORRUPT);
    REFUSED_WITH(capacity, CAPACITY + 1, IPCR_CORRUPT);
    REFUSED_WITH(capacity, UINT64_MAX, IPCR_CORRUPT);
    REFUSED_WITH(capacity, UINT64_C(1) << 63, IPCR_CORRUPT);
    REFUSED_WITH(total_bytes, 0, IPCR_CORRUPT);
    REFUSED_WITH(total_bytes, good.total_bytes + 4096, IPCR_CORRUPT);
    REFUSED_WITH(start_position, 4, IPCR_CORRUPT);
    REFUSED_WITH(time_namespace, good.time_namespace + 1, IPCR_TIME_NAMESPACE);
    /* consistent within itself, but larger than the file; and without any data at all */
    g->capacity = CAPACITY * 2;
    g->total_bytes = good.header_bytes + CAPACITY * 2;
    check_refused("s", IPCR_CORRUPT);
    g->capacity = IPCR_MAX_CAPACITY;
    g->total_bytes = good.header_bytes + IPCR_MAX_CAPACITY;
    check_refused("s", IPCR_CORRUPT);
    g->capacity = 0;
    g->total_bytes = good.header_bytes;
    check_refused("s", IPCR_CORRUPT);
    *g = good;
    struct ipcr_segment *other = NULL;
    CHECK_IS(attach_as("s", IPCR_KIND_CHANNEL, &other), IPCR_KIND);
    CHECK_IS(attach_as("s", IPCR_KIND_RING, &other), IPCR_OK);
    ipcr_segment_release(other);
    ipcr_segment_release(s);
    check_nothing_left();
}

static void a_truncated_segment_is_refused(void)
{
    struct ipcr_segment *s = create("s");
    static uint8_t copy[2 * 65536];
    const size_t whole = (size_t)ipcr_segment_footprint(CAPACITY);
    memcpy(copy, s->header, whole);
    write_file("t", copy, whole - 1, 0600);
    check_refused("t", IPCR_CORRUPT);
    write_file("t", copy, (size_t)s->header_bytes, 0600);
    check_refused("t", IPCR_CORRUPT);
    write_file("t", copy, sizeof(struct ipcr_header), 0600);
    check_refused("t", IPCR_CORRUPT);
    write_file("t", copy, whole, 0600);
    ipcr_segment_release(attach("t")); /* and takes the name along */
    ipcr_segment_release(s);
    check_nothing_left();
}

static void garbage_in_any_byte_of_the_geometry_never_crashes_an_attacher(void)
{
    struct ipcr_segment *s = create("s"), *other;
    const struct ipcr_geometry good = s->header->geometry;
    uint8_t *bytes = (uint8_t *)&s->header->geometry;
    uint64_t random = 8;
    for (int round = 0; round < FEWER(20000, 4000); round++) {
        for (uint64_t n = 1 + random_next(&random) % 3; n > 0; n--)
            bytes[random_next(&random) % sizeof good] = (uint8_t)random_next(&random);
        if (attach_as("s", 0, &other) == IPCR_OK) {
            CHECK(other->capacity == CAPACITY && other->header_bytes == s->header_bytes);
            ipcr_segment_release(other);
            CHECK(leads_to("s", s));
        }
        struct ipcr_stats stats;
        (void)ipcr_stats_of_file(s->fd, &stats);
        s->header->geometry = good;
    }
    ipcr_segment_release(s);
    check_nothing_left();
}

/* --- names: in use, orphaned, replaced, adopted -------------------------------------------------------- */

static void hold_name(int ear, int mouth, void *name)
{
    struct ipcr_segment *s = create(name);
    say(mouth, 'c');
    switch (hear(ear)) {
    case 'm': /* leave a message, and go without a word */
        send_one(s, "left behind");
        say(mouth, 'd');
        wait_for_end();
        break;
    case 'r':
        ipcr_segment_release(s);
        say(mouth, 'd');
        break;
    default:
        break;
    }
}

static void attach_name(int ear, int mouth, void *name)
{
    CHECK_IS(hear(ear), 'g');
    struct ipcr_segment *s = attach(name);
    say(mouth, 'a');
    (void)hear(ear);
    ipcr_segment_release(s);
}

static void a_name_in_use_is_refused_to_a_second_creator(void)
{
    struct ipcr_segment *s = create("n"), *other = NULL;
    CHECK_IS(create_as("n", &other), IPCR_EXISTS);
    CHECK_IS(ipcr_name_remove(dir, "n", IPCR_REMOVE_ORPHAN), IPCR_EXISTS);
    ipcr_segment_release(s);
    struct child c = child_start(hold_name, "n");
    CHECK_IS(hear(c.ear), 'c');
    CHECK_IS(create_as("n", &other), IPCR_EXISTS);
    CHECK_IS(ipcr_name_remove(dir, "n", IPCR_REMOVE_ORPHAN), IPCR_EXISTS);
    CHECK(kill(c.pid, SIGSTOP) == 0); /* stopped is not dead */
    CHECK_IS(create_as("n", &other), IPCR_EXISTS);
    CHECK(kill(c.pid, SIGCONT) == 0);
    say(c.mouth, 'r');
    CHECK_IS(hear(c.ear), 'd');
    child_finish(&c);
    check_nothing_left();
}

static void an_orphan_is_replaced_by_a_creator(void)
{
    struct child c = child_start(hold_name, "n");
    CHECK_IS(hear(c.ear), 'c');
    struct ipcr_segment *old = attach("n");
    child_kill(&c);
    struct ipcr_segment *other = NULL;
    CHECK_IS(create_as("n", &other), IPCR_EXISTS); /* we are present in it */
    int fd;
    CHECK_IS(ipcr_os_reopen(old->fd, old->id, &fd), IPCR_OK);
    send_one(old, "unread"); /* so that our leaving doesn't take the name along */
    const struct ipcr_file_id id = old->id;
    ipcr_segment_release(old);
    CHECK(exists("n"));
    struct ipcr_segment *s = create("n");
    CHECK(!ipcr_same_file(s->id, id)); /* the old inode can't be reused: fd keeps it */
    CHECK(leads_to("n", s));
    close(fd);
    ipcr_segment_release(s);
    check_nothing_left();
}

static void an_orphan_is_adopted_with_its_unread_messages(void)
{
    struct child c = child_start(hold_name, "n");
    CHECK_IS(hear(c.ear), 'c');
    say(c.mouth, 'm');
    CHECK_IS(hear(c.ear), 'd');
    child_kill(&c);
    struct ipcr_segment *s = attach("n");
    CHECK_IS(ipcr_name_remove(dir, "n", IPCR_REMOVE_ORPHAN), IPCR_EXISTS);
    receive_one(s, "left behind");
    ipcr_segment_release(s);
    check_nothing_left();
}

static void gc_removes_an_orphan_and_nothing_else(void)
{
    struct child c = child_start(hold_name, "n");
    CHECK_IS(hear(c.ear), 'c');
    CHECK_IS(ipcr_name_remove(dir, "n", IPCR_REMOVE_ORPHAN), IPCR_EXISTS);
    CHECK(exists("n"));
    child_kill(&c);
    CHECK_IS(ipcr_name_remove(dir, "n", IPCR_REMOVE_ORPHAN), IPCR_OK);
    CHECK_IS(ipcr_name_remove(dir, "n", IPCR_REMOVE_ORPHAN), IPCR_NOT_FOUND);
    check_nothing_left();
}

/* R1: an attacher's exit takes nothing away from the creator. */
static void attachers_come_and_go_and_the_segment_stays(void)
{
    struct ipcr_segment *s = create("n");
    for (int i = 0; i < 6; i++) {
        struct child c = child_start(attach_name, "n");
        say(c.mouth, 'g');
        CHECK_IS(hear(c.ear), 'a');
        if (i % 2 == 0) {
            say(c.mouth, 'q');
            child_finish(&c);
        } else {
            child_kill(&c);
        }
        CHECK(leads_to("n", s));
    }
    ipcr_segment_release(s);
    check_nothing_left();
}

static void unlinking_takes_the_name_and_those_attached_go_on(void)
{
    struct ipcr_segment *s = create("n"), *other = attach("n");
    CHECK_IS(ipcr_segment_unlink(s), IPCR_OK);
    CHECK(!exists("n"));
    CHECK_IS(ipcr_segment_unlink(s), IPCR_NOT_FOUND);
    CHECK_IS(ipcr_segment_unlink(other), IPCR_NOT_FOUND);
    send_one(s, "still here");
    receive_one(other, "still here");
    ipcr_segment_release(s);
    ipcr_segment_release(other);
    check_nothing_left();
}

/* R8: an old generation's late unlink, or last close, must not remove the new file. */
static void unlinking_spares_a_name_that_leads_elsewhere_by_now(void)
{
    struct ipcr_segment *old = create("n");
    CHECK_IS(ipcr_name_remove(dir, "n", IPCR_REMOVE_ALWAYS), IPCR_OK);
    struct ipcr_segment *s = create("n");
    CHECK_IS(ipcr_segment_unlink(old), IPCR_NOT_FOUND);
    CHECK(leads_to("n", s));
    ipcr_segment_release(old);
    CHECK(leads_to("n", s));
    ipcr_segment_release(s);
    check_nothing_left();
}

static void a_descriptor_opened_before_the_replacement_must_be_opened_anew(void)
{
    struct ipcr_segment *old = create("n"), *other = NULL;
    int fd;
    CHECK_IS(ipcr_os_open(dir, "n", &fd), IPCR_OK);
    CHECK_IS(ipcr_segment_unlink(old), IPCR_OK);
    CHECK_IS(ipcr_segment_attach(fd, dir, "n", 0, false, &other), IPCR_AGAIN);
    struct ipcr_segment *s = create("n");
    CHECK_IS(ipcr_segment_attach(fd, dir, "n", 0, false, &other), IPCR_AGAIN);
    /* unless a process that is present sent it */
    CHECK_IS(ipcr_segment_attach(fd, dir, "n", 0, true, &other), IPCR_OK);
    CHECK(ipcr_same_file(other->id, old->id));
    ipcr_segment_release(other);
    ipcr_segment_release(old);
    CHECK(leads_to("n", s));
    ipcr_segment_release(s);
    check_nothing_left();
}

static void the_last_clean_close_takes_the_name_along_only_if_nothing_is_unread(void)
{
    struct child c = child_start(attach_name, "n"); /* before the segment, or it would inherit our handle */
    struct ipcr_segment *s = create("n");
    say(c.mouth, 'g');
    CHECK_IS(hear(c.ear), 'a');
    ipcr_segment_release(s);
    CHECK(exists("n")); /* not the last */
    say(c.mouth, 'q');
    child_finish(&c);
    CHECK(!exists("n"));

    s = create("n");
    send_one(s, "unread");
    ipcr_segment_release(s);
    CHECK(exists("n"));
    s = attach("n");
    ipcr_segment_release(s); /* read nothing */
    CHECK(exists("n"));
    s = attach("n");
    receive_one(s, "unread");
    ipcr_segment_release(s);
    check_nothing_left();
}

static void a_segment_is_kept_by_references_and_ends(void)
{
    struct ipcr_segment *s = create("n");
    struct ipcr_end *e;
    ipcr_segment_reference(s);
    CHECK_IS(ipcr_end_open(s, IPCR_SENDER, 0, &e), IPCR_OK);
    ipcr_segment_release(s);
    ipcr_segment_release(s);
    CHECK(exists("n"));
    ipcr_end_close(e, true);
    ipcr_end_free(e);
    check_nothing_left();
}

/* --- holds ----------------------------------------------------------------------------------------------- */

static const struct ipcr_lock_byte some_byte = { .byte = IPCR_LOCK_BASE + 1000, .exclusive = true };

static void a_hold_is_exclusive_and_ends_with_its_drop(void)
{
    struct ipcr_segment *s = anonymous(CAPACITY, 0);
    struct ipcr_hold hold = { 0 }, other = { 0 };
    CHECK(!is_held(s, some_byte.byte));
    CHECK_IS(ipcr_hold_take(&hold, s->fd, s->id, &some_byte, 1), IPCR_OK);
    CHECK(is_held(s, some_byte.byte)); /* this process's own hold as well */
    CHECK_IS(ipcr_hold_take(&other, s->fd, s->id, &some_byte, 1), IPCR_TAKEN);
    CHECK(other.page == NULL);
    ipcr_hold_drop(&hold);
    CHECK(!is_held(s, some_byte.byte));
    ipcr_hold_drop(&hold); /* harmless */
    /* several bytes are taken together or not at all */
    const struct ipcr_lock_byte two[2] = { { .byte = IPCR_LOCK_BASE + 1001, .exclusive = true }, some_byte };
    CHECK_IS(ipcr_hold_take(&hold, s->fd, s->id, &some_byte, 1), IPCR_OK);
    CHECK_IS(ipcr_hold_take(&other, s->fd, s->id, two, 2), IPCR_TAKEN);
    CHECK(!is_held(s, two[0].byte));
    ipcr_hold_drop(&hold);
    ipcr_segment_release(s);
}

static void shared_holds_go_together(void)
{
    struct ipcr_segment *s = anonymous(CAPACITY, 0);
    const struct ipcr_lock_byte shared = { .byte = IPCR_LOCK_BASE + 1000, .exclusive = false };
    struct ipcr_hold a = { 0 }, b = { 0 }, c = { 0 };
    CHECK_IS(ipcr_hold_take(&a, s->fd, s->id, &shared, 1), IPCR_OK);
    CHECK_IS(ipcr_hold_take(&b, s->fd, s->id, &shared, 1), IPCR_OK);
    CHECK_IS(ipcr_hold_take(&c, s->fd, s->id, &some_byte, 1), IPCR_TAKEN);
    ipcr_hold_drop(&a);
    CHECK(is_held(s, shared.byte));
    ipcr_hold_drop(&b);
    CHECK(!is_held(s, shared.byte));
    ipcr_segment_release(s);
}

/* R15: the trap of POSIX record locks. */
static void opening_and_closing_the_file_does_not_drop_a_hold(void)
{
    struct ipcr_segment *s = create("n");
    struct ipcr_hold hold = { 0 };
    char path[512];
    path_of(path, "n");
    CHECK_IS(ipcr_hold_take(&hold, s->fd, s->id, &some_byte, 1), IPCR_OK);
    for (int i = 0; i < 1000; i++) {
        const int fd = open(path, O_RDWR | O_CLOEXEC);
        CHECK(fd >= 0);
        close(fd);
    }
    CHECK(is_held(s, some_byte.byte));
    CHECK(is_held(s, IPCR_LOCK_PRESENCE));
    ipcr_hold_drop(&hold);
    ipcr_segment_release(s);
}

/* The other process's segment comes down by fork: the pointer is the same in both. */
struct holder {
    struct ipcr_segment *segment;
    bool close_all;
};

static void hold_some_byte(int ear, int mouth, void *arg)
{
    const struct holder *h = arg;
    struct ipcr_hold hold = { 0 };
    CHECK_IS(ipcr_hold_take(&hold, h->segment->fd, h->segment->id, &some_byte, 1), IPCR_OK);
    if (h->close_all) {
        CHECK(dup2(ear, 0) == 0 && dup2(mouth, 1) == 1);
        CHECK(syscall(SYS_close_range, 3U, ~0U, 0U) == 0);
        ear = 0;
        mouth = 1;
    }
    say(mouth, 'h');
    (void)hear(ear);
}

static void a_hold_survives_the_closing_of_all_descriptors(void)
{
    struct holder h = { .segment = anonymous(CAPACITY, 0), .close_all = true };
    struct child c = child_start(hold_some_byte, &h);
    CHECK_IS(hear(c.ear), 'h');
    CHECK(is_held(h.segment, some_byte.byte));
    say(c.mouth, 'q');
    child_finish(&c);
    CHECK(!is_held(h.segment, some_byte.byte));
    ipcr_segment_release(h.segment);
}

static void a_hold_ends_with_its_process(void)
{
    struct holder h = { .segment = anonymous(CAPACITY, 0) };
    for (int i = 0; i < FEWER(100, 20); i++) {
        struct child c = child_start(hold_some_byte, &h);
        CHECK_IS(hear(c.ear), 'h');
        CHECK(is_held(h.segment, some_byte.byte));
        child_kill(&c);
        CHECK(!is_held(h.segment, some_byte.byte));
    }
    ipcr_segment_release(h.segment);
}

static void hold_and_fork(int ear, int mouth, void *arg)
{
    const struct holder *h = arg;
    struct ipcr_hold hold = { 0 };
    CHECK_IS(ipcr_hold_take(&hold, h->segment->fd, h->segment->id, &some_byte, 1), IPCR_OK);
    const pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) { /* lives on until the pipe is closed over there */
        say(mouth, 'g');
        while (hear(ear) != 0)
            ;
        _exit(0);
    }
    say(mouth, 'h');
    wait_for_end();
}

static void a_hold_is_not_inherited_by_a_forked_child(void)
{
    struct holder h = { .segment = anonymous(CAPACITY, 0) };
    struct child c = child_start(hold_and_fork, &h);
    const char one = hear(c.ear), two = hear(c.ear);
    CHECK((one == 'g' && two == 'h') || (one == 'h' && two == 'g'));
    CHECK(is_held(h.segment, some_byte.byte));
    child_kill(&c); /* its child goes on */
    CHECK(!is_held(h.segment, some_byte.byte));
    ipcr_segment_release(h.segment);
}

static void a_probe_through_a_reused_descriptor_number_is_an_error(void)
{
    struct ipcr_segment *s = anonymous(CAPACITY, 0), *other = anonymous(CAPACITY, 0);
    bool held = false;
    int fresh;
    CHECK_IS(ipcr_probe(other->fd, s->id, IPCR_LOCK_PRESENCE, &held), IPCR_FROM_ERRNO(EBADF));
    CHECK_IS(ipcr_os_reopen(other->fd, s->id, &fresh), IPCR_FROM_ERRNO(EBADF));
    CHECK(IPCR_IS_ERRNO(ipcr_probe(-1, s->id, IPCR_LOCK_PRESENCE, &held)));
    ipcr_segment_release(s);
    ipcr_segment_release(other);
}

/* --- fork ---------------------------------------------------------------------------------------------- */

static void stay_present(int ear, int mouth, void *arg)
{
    say(mouth, 'p');
    (void)hear(ear);
    ipcr_segment_release(arg);
}

static void a_forked_child_is_present_from_its_first_instant(void)
{
    for (int i = 0; i < FEWER(200, 40); i++) {
        struct ipcr_segment *s = create("n"), *other = NULL;
        struct child c = child_start(stay_present, s);
        ipcr_segment_release(s); /* at once, and it is not the last */
        CHECK(exists("n"));
        CHECK_IS(create_as("n", &other), IPCR_EXISTS);
        CHECK_IS(hear(c.ear), 'p');
        CHECK_IS(create_as("n", &other), IPCR_EXISTS);
        say(c.mouth, 'q');
        child_finish(&c);
        CHECK(!exists("n"));
    }
    check_nothing_left();
}

static ipcr_word32 forks_over;

static void *remove_in_vain(void *arg)
{
    while (load_acquire32(&forks_over) == 0)
        CHECK_IS(ipcr_name_remove(dir, arg, IPCR_REMOVE_ORPHAN), IPCR_EXISTS);
    return NULL;
}

static void live_until_told(int ear, int mouth, void *arg)
{
    (void)mouth;
    (void)arg;
    (void)hear(ear);
}

static void a_fork_while_another_thread_unlinks_keeps_no_lock_in_the_child(void)
{
    enum { CHILDREN = FEWER(200, 60) };
    static struct child children[CHILDREN];
    struct ipcr_segment *s = create("n");
    pthread_t thread;
    store_release32(&forks_over, 0);
    CHECK(pthread_create(&thread, NULL, remove_in_vain, "n") == 0);
    for (int i = 0; i < CHILDREN; i++)
        children[i] = child_start(live_until_told, NULL);
    store_release32(&forks_over, 1);
    CHECK(pthread_join(thread, NULL) == 0);
    CHECK(!is_held(s, IPCR_LOCK_NAME));
    for (int i = 0; i < CHILDREN; i++)
        child_kill(&children[i]);
    ipcr_segment_release(s);
    check_nothing_left();
}

static void *open_and_close_ends(void *arg)
{
    struct ipcr_segment *s = arg;
    while (load_acquire32(&forks_over) == 0) {
        struct ipcr_end *e;
        CHECK_IS(ipcr_end_open(s, IPCR_SENDER, 0, &e), IPCR_OK);
        ipcr_end_close(e, true);
        ipcr_end_free(e);
    }
    return NULL;
}

static void close_every_end(int ear, int mouth, void *arg)
{
    struct ipcr_segment *s = arg;
    for (struct ipcr_end *e = s->ends, *next; e != NULL; e = next) {
        next = e->next;
        ipcr_end_close(e, true);
    }
    say(mouth, 'c');
    (void)hear(ear);
}

static void a_fork_while_another_thread_opens_and_closes_keeps_no_claim_in_the_child(void)
{
    enum { CHILDREN = FEWER(200, 60) };
    static struct child children[CHILDREN];
    struct ipcr_segment *s = anonymous(CAPACITY, 0);
    pthread_t thread;
    store_release32(&forks_over, 0);
    CHECK(pthread_create(&thread, NULL, open_and_close_ends, s) == 0);
    for (int i = 0; i < CHILDREN; i++)
        children[i] = child_start(close_every_end, s);
    store_release32(&forks_over, 1);
    CHECK(pthread_join(thread, NULL) == 0);
    for (int i = 0; i < CHILDREN; i++)
        CHECK_IS(hear(children[i].ear), 'c');
    CHECK(!is_held(s, IPCR_LOCK_CLAIM(IPCR_SENDER)));
    for (int i = 0; i < CHILDREN; i++)
        child_kill(&children[i]);
    ipcr_segment_release(s);
}

/* --- killed in the middle ---------------------------------------------------------------------------------- */

static void create_and_die(int ear, int mouth, void *moment)
{
    (void)ear;
    (void)mouth;
    die_at = *(enum moment *)moment;
    struct ipcr_segment *s = create("n");
    ipcr_segment_release(s);
}

static void killed_at(enum moment moment)
{
    struct child c = child_start(create_and_die, &moment);
    const int status = child_wait(&c);
    CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

static void a_creator_killed_at_any_moment_leaves_nothing_or_a_whole_orphan(void)
{
    struct ipcr_segment *s = NULL;
    killed_at(AT_ALLOCATE);
    check_nothing_left();
    killed_at(BEFORE_LINK);
    check_nothing_left();
    killed_at(AFTER_LINK);
    CHECK_IS(attach_as("n", IPCR_KIND_RING, &s), IPCR_OK); /* whole */
    send_one(s, "x");
    receive_one(s, "x");
    ipcr_segment_release(s);
    check_nothing_left();
    killed_at(AFTER_LINK);
    ipcr_segment_release(create("n")); /* replaces it */
    check_nothing_left();
    killed_at(BEFORE_UNLINK); /* of the last close */
    CHECK_IS(ipcr_name_remove(dir, "n", IPCR_REMOVE_ORPHAN), IPCR_OK);
    killed_at(AFTER_UNLINK);
    check_nothing_left();
}

static void without_o_tmpfile_a_killed_creator_leaves_at_most_what_gc_removes(void)
{
    const enum moment moments[] = { AT_ALLOCATE, BEFORE_RENAME };
    char left[256];
    no_tmpfile = true;
    for (size_t i = 0; i < 2; i++) {
        killed_at(moments[i]);
        CHECK_IS(files_in_dir(left), 1);
        CHECK(strncmp(left, IPCR_TEMPORARY_PREFIX, sizeof IPCR_TEMPORARY_PREFIX - 1) == 0);
        CHECK_IS(ipcr_name_remove(dir, left, IPCR_REMOVE_ORPHAN), IPCR_OK);
        check_nothing_left();
    }
    killed_at(AFTER_RENAME);
    CHECK_IS(files_in_dir(left), 1);
    ipcr_segment_release(create("n"));
    check_nothing_left();
    no_tmpfile = false;
}

static void without_o_tmpfile_names_work_alike(void)
{
    no_tmpfile = true;
    a_name_in_use_is_refused_to_a_second_creator();
    an_orphan_is_replaced_by_a_creator();
    an_orphan_is_adopted_with_its_unread_messages();
    no_tmpfile = false;
}

/* --- R7, R22: one name, many processes -------------------------------------------------------------------- */

enum { CREW = 8 };

/* What the crew shares. */
struct name_contest {
    ipcr_word32 visits;
    ipcr_word32 created;
    ipcr_word32 visitor[CREW]; /* pid of who is visiting now, 0 for nobody */
};

struct crew {
    uint64_t seed;
    int number;
    int rounds;
    bool unlinking; /* also unlink on purpose, announced in the segment itself */
    struct name_contest *contest;
};

static uint32_t one_more(ipcr_word32 *word) { return __atomic_add_fetch((uint32_t *)word, 1, __ATOMIC_RELAXED); }

/* Set before an intended unlink: whoever sees the name gone, or elsewhere, finds it set. */
static ipcr_word32 *farewell(struct ipcr_segment *s) { return (ipcr_word32 *)(void *)s->header->pad; }

/* While anybody is present, the name leads here, unless somebody present unlinked it on purpose. */
static void check_no_split(struct ipcr_segment *s)
{
    if (!leads_to("name", s))
        CHECK(load_acquire32(farewell(s)) == 1);
}

/* Where all take turns on one core, somebody is nearly always present, and hardly any segment is made.  So in every
 * other stretch of visits nobody attaches or lingers: then the name is fought for. */
enum { STRETCH = 256 };

static void one_visit(const struct crew *crew, uint64_t *random)
{
    struct ipcr_segment *s = NULL;
    const bool fight = one_more(&crew->contest->visits) / STRETCH % 2 == 1;
    const uint64_t choice = random_next(random) % (fight ? 5 : 8);
    int rc;
    if (choice == 0) {
        rc = ipcr_name_remove(dir, "name", IPCR_REMOVE_ORPHAN);
        CHECK(rc == IPCR_OK || rc == IPCR_NOT_FOUND || rc == IPCR_EXISTS);
        return;
    }
    rc = choice < 5 ? create_as("name", &s) : attach_as("name", IPCR_KIND_RING, &s);
    if (rc != IPCR_OK) {
        CHECK_IS(rc, choice < 5 ? IPCR_EXISTS : IPCR_NOT_FOUND);
        return;
    }
    if (choice < 5)
        one_more(&crew->contest->created);
    for (uint64_t looks = fight ? 0 : random_next(random) % 4; looks > 0; looks--) {
        check_no_split(s);
        sched_yield();
    }
    check_no_split(s);
    if (crew->unlinking && random_next(random) % 4 == 0) {
        store_release32(farewell(s), 1);
        rc = ipcr_segment_unlink(s);
        CHECK(rc == IPCR_OK || rc == IPCR_NOT_FOUND);
        CHECK(!leads_to("name", s));
    }
    if (random_next(random) % 8 == 0) /* unread: the last one out leaves an orphan */
        store_release64(&s->header->at[IPCR_SENDER].position, 16);
    if (random_next(random) % 8 == 0)
        _exit(0); /* a crash, as far as anybody can tell */
    ipcr_segment_release(s);
}

static void visit(int ear, int mouth, void *arg)
{
    const struct crew *crew = arg;
    uint64_t random = crew->seed;
    (void)mouth;
    (void)hear(ear); /* all at once */
    ipcr_word32 *const visitor = &crew->contest->visitor[crew->number];
    for (int i = 0; i < crew->rounds; i++) {
        if (random_next(&random) % 8 != 0) {
            /* one_visit may _exit: in a process of its own */
            random += 1000;
            const pid_t pid = fork();
            CHECK(pid >= 0);
            if (pid == 0) {
                prctl(PR_SET_PDEATHSIG, SIGKILL);
                for (int n = 0; n < 8; n++)
                    one_visit(crew, &random);
                _exit(0);
            }
            int status;
            store_release32(visitor, (uint32_t)pid);
            CHECK(waitpid(pid, &status, 0) == pid);
            store_release32(visitor, 0);
            CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
            i += 7;
        } else {
            const int rc = ipcr_name_remove(dir, "name", IPCR_REMOVE_ORPHAN);
            CHECK(rc == IPCR_OK || rc == IPCR_NOT_FOUND || rc == IPCR_EXISTS);
        }
    }
}

/* A scheduler that takes the processor away at the worst moments: stops visitors, wherever they are, for up to 3 ms. */
static void throttle(int ear, int mouth, void *arg)
{
    struct name_contest *contest = arg;
    uint64_t random = 7;
    (void)ear;
    (void)mouth;
    for (;;) {
        const pid_t pid = (pid_t)load_acquire32(&contest->visitor[random_next(&random) % CREW]);
        if (pid != 0 && kill(pid, SIGSTOP) == 0) {
            ipcr_os_sleep_ns(random_next(&random) % 3000000);
            kill(pid, SIGCONT);
        }
        ipcr_os_sleep_ns(random_next(&random) % 300000);
    }
}

static void many_processes_at_one_name(int rounds, bool unlinking, bool throttled)
{
    struct crew crew[CREW];
    struct child children[CREW], throttler;
    struct name_contest *contest = shared_memory(sizeof *contest);
    for (int i = 0; i < CREW; i++) {
        crew[i] = (struct crew){ .seed = 1000000 * (uint64_t)(i + 1), .number = i, .rounds = rounds,
                                 .unlinking = unlinking, .contest = contest };
        children[i] = child_start(visit, &crew[i]);
    }
    if (throttled)
        throttler = child_start(throttle, contest);
    for (int i = 0; i < CREW; i++)
        say(children[i].mouth, 'g');
    for (int i = 0; i < CREW; i++)
        child_finish(&children[i]);
    if (throttled)
        child_kill(&throttler);
    printf("    %d processes, %u visits, %u times made, 0 splits\n", CREW, load_relaxed32(&contest->visits),
           load_relaxed32(&contest->created));
    CHECK(load_relaxed32(&contest->created) > CREW);
    munmap(contest, sizeof *contest);
    const int rc = ipcr_name_remove(dir, "name", IPCR_REMOVE_ORPHAN);
    CHECK(rc == IPCR_OK || rc == IPCR_NOT_FOUND); /* nobody is left */
    check_nothing_left();
}

enum { ROUNDS = FEWER(4000, 500), ROUNDS_THROTTLED = FEWER(1000, 200) };

static void many_processes_at_one_name_never_split(void) { many_processes_at_one_name(ROUNDS, false, false); }
static void not_even_when_some_unlink_it(void) { many_processes_at_one_name(ROUNDS, true, false); }
static void nor_when_they_are_stopped_again_and_again(void) { many_processes_at_one_name(ROUNDS_THROTTLED, true, true); }
static void nor_without_o_tmpfile(void)
{
    no_tmpfile = true;
    many_processes_at_one_name(ROUNDS, true, false);
    many_processes_at_one_name(ROUNDS_THROTTLED, true, true);
    no_tmpfile = false;
}

/* --- statistics ------------------------------------------------------------------------------------------ */

static void statistics_show_who_is_there_without_being_there(void)
{
    struct child c = child_start(hold_name, "n");
    CHECK_IS(hear(c.ear), 'c');
    say(c.mouth, 'm');
    CHECK_IS(hear(c.ear), 'd');
    int fd;
    struct ipcr_stats stats;
    CHECK_IS(ipcr_os_open(dir, "n", &fd), IPCR_OK);
    CHECK_IS(ipcr_stats_of_file(fd, &stats), IPCR_OK);
    CHECK_IS(stats.kind, IPCR_KIND_RING);
    CHECK_IS(stats.creator_pid, c.pid);
    CHECK_IS(stats.capacity, CAPACITY);
    CHECK_IS(stats.present, 1);
    CHECK_IS(stats.named, 1);
    CHECK_IS(stats.side[IPCR_SENDER].messages, 1);
    CHECK_IS(stats.side[IPCR_SENDER].bytes, strlen("left behind"));
    CHECK_IS(stats.side[IPCR_SENDER].state, IPCR_END_CLOSED);
    CHECK_IS(stats.side[IPCR_SENDER].alive, 0);
    CHECK_IS(stats.side[IPCR_RECEIVER].messages, 0);
    CHECK_IS(stats.side[IPCR_RECEIVER].state, IPCR_END_UNTAKEN);
    child_kill(&c);
    CHECK_IS(ipcr_stats_of_file(fd, &stats), IPCR_OK);
    CHECK_IS(stats.present, 0);
    close(fd);
    CHECK_IS(ipcr_name_remove(dir, "n", IPCR_REMOVE_ORPHAN), IPCR_OK);
    check_nothing_left();
}

/* --- descriptors ------------------------------------------------------------------------------------------ */

static int open_descriptors(void)
{
    DIR *d = opendir("/proc/self/fd");
    int n = 0;
    CHECK(d != NULL);
    while (readdir(d) != NULL)
        n++;
    closedir(d);
    return n;
}

static void no_descriptor_is_left_over_by_success_or_failure(void)
{
    const int before = open_descriptors();
    struct ipcr_segment *s, *other = NULL;
    for (int i = 0; i < 20; i++) {
        s = create("n");
        CHECK_IS(open_descriptors(), before + 1);
        CHECK_IS(create_as("n", &other), IPCR_EXISTS);
        CHECK_IS(attach_as("n", IPCR_KIND_CHANNEL, &other), IPCR_KIND);
        CHECK_IS(ipcr_name_remove(dir, "n", IPCR_REMOVE_ORPHAN), IPCR_EXISTS);
        send_one(s, "x");
        receive_one(s, "x");
        CHECK_IS(open_descriptors(), before + 1);
        ipcr_segment_release(s);
        CHECK_IS(open_descriptors(), before);
    }
    check_nothing_left();
}

int main(void)
{
    check_begin();
    CHECK(mkdtemp(dir) != NULL);
    check_tidy = remove_dir;
    run("capacities are powers of two, from one page on", capacities_are_powers_of_two_from_one_page_on);
    run("an anonymous segment is sealed, and mapped twice", an_anonymous_segment_is_sealed_and_mapped_twice);
    run("an anonymous segment can be attached by descriptor", an_anonymous_segment_can_be_attached_by_descriptor);
    run("a named segment is 0600, whatever the umask", a_named_segment_is_0600_whatever_the_umask);
    run("lack of room is an error that leaves nothing", lack_of_room_is_an_error_that_leaves_nothing);
    run("an interrupted allocation goes on", an_interrupted_allocation_goes_on);
    run("a directory that is missing, or a name too long, is an error",
        a_directory_that_is_missing_or_a_name_too_long_is_an_error);
    run("files that are no segments are refused", files_that_are_no_segments_are_refused);
    run("special files are refused without waiting", special_files_are_refused_without_waiting);
    run("a segment that others may open is untrusted", a_segment_that_others_may_open_is_untrusted);
    run("a wrong geometry is refused with its reason", a_wrong_geometry_is_refused_with_its_reason);
    run("a truncated segment is refused", a_truncated_segment_is_refused);
    run("garbage in any byte of the geometry never crashes an attacher",
        garbage_in_any_byte_of_the_geometry_never_crashes_an_attacher);
    run("a name in use is refused to a second creator", a_name_in_use_is_refused_to_a_second_creator);
    run("an orphan is replaced by a creator", an_orphan_is_replaced_by_a_creator);
    run("an orphan is adopted with its unread messages", an_orphan_is_adopted_with_its_unread_messages);
    run("gc removes an orphan and nothing else", gc_removes_an_orphan_and_nothing_else);
    run("attachers come and go, and the segment stays", attachers_come_and_go_and_the_segment_stays);
    run("unlinking takes the name, and those attached go on", unlinking_takes_the_name_and_those_attached_go_on);
    run("unlinking spares a name that leads elsewhere by now",
        unlinking_spares_a_name_that_leads_elsewhere_by_now);
    run("a descriptor opened before the replacement must be opened anew",
        a_descriptor_opened_before_the_replacement_must_be_opened_anew);
    run("the last clean close takes the name along only if nothing is unread",
        the_last_clean_close_takes_the_name_along_only_if_nothing_is_unread);
    run("a segment is kept by references and ends", a_segment_is_kept_by_references_and_ends);
    run("a hold is exclusive, and ends with its drop", a_hold_is_exclusive_and_ends_with_its_drop);
    run("shared holds go together", shared_holds_go_together);
    run("opening and closing the file does not drop a hold", opening_and_closing_the_file_does_not_drop_a_hold);
    run("a hold survives the closing of all descriptors", a_hold_survives_the_closing_of_all_descriptors);
    run("a hold ends with its process", a_hold_ends_with_its_process);
    run("a hold is not inherited by a forked child", a_hold_is_not_inherited_by_a_forked_child);
    run("a probe through a reused descriptor number is an error",
        a_probe_through_a_reused_descriptor_number_is_an_error);
    run("a forked child is present from its first instant", a_forked_child_is_present_from_its_first_instant);
    run("a creator killed at any moment leaves nothing, or a whole orphan",
        a_creator_killed_at_any_moment_leaves_nothing_or_a_whole_orphan);
    run("without O_TMPFILE a killed creator leaves at most what gc removes",
        without_o_tmpfile_a_killed_creator_leaves_at_most_what_gc_removes);
    run("without O_TMPFILE names work alike", without_o_tmpfile_names_work_alike);
    run("many processes at one name never split", many_processes_at_one_name_never_split);
    run("not even when some unlink it", not_even_when_some_unlink_it);
    run("nor when they are stopped again and again", nor_when_they_are_stopped_again_and_again);
    run("nor without O_TMPFILE", nor_without_o_tmpfile);
    run("statistics show who is there, without being there", statistics_show_who_is_there_without_being_there);
    run("no descriptor is left over by success or failure", no_descriptor_is_left_over_by_success_or_failure);
    run("a fork while another thread unlinks keeps no lock in the child",
        a_fork_while_another_thread_unlinks_keeps_no_lock_in_the_child);
    run("a fork while another thread opens and closes keeps no claim in the child",
        a_fork_while_another_thread_opens_and_closes_keeps_no_claim_in_the_child);
    check_nothing_left();
    CHECK(rmdir(dir) == 0);
    return check_finish();
}

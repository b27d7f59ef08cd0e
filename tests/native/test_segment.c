/* test_segment.c - creating and attaching, and no descriptor that is left over. */
#include "segments.h"

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
    run("no descriptor is left over by success or failure", no_descriptor_is_left_over_by_success_or_failure);
    check_nothing_left();
    CHECK(rmdir(dir) == 0);
    return check_finish();
}

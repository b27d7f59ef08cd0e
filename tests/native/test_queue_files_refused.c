/* test_queue_files_refused.c - what ipcr_queue_stats_of_file says to files that are no queues, and to damaged queues.
 *
 * One word is damaged at a time, as another program of the same user could; each has its name for the refusal, nothing
 * is touched outside of the mapping (under AddressSanitizer), and once the word is whole again so is the queue.
 */
#include "queues.h"

#include <stddef.h>
#include <sys/stat.h>

enum { LANES = 4, SLOTS = 32 };

static const struct ipcr_queue_options plain = { .slots = SLOTS };

static int look(int fd)
{
    struct ipcr_queue_stats all;
    struct ipcr_lane_stats lane[LANES];
    return ipcr_queue_stats_of_file(fd, &all, lane, LANES);
}

static int file_of(const void *bytes, size_t length, size_t size)
{
    const int fd = memfd_create("ipc:test", MFD_CLOEXEC);
    CHECK(fd >= 0 && fchmod(fd, 0600) == 0);
    CHECK(pwrite(fd, bytes, length, 0) == (ssize_t)length && ftruncate(fd, (off_t)size) == 0);
    return fd;
}

static struct ipcr_queue *furnished(void)
{
    struct ipcr_queue *q = handle_on(reliable(&plain));
    put(q, 1);
    put(q, 2);
    leased(q, 0, 1, 1);
    return q;
}

/* --- files -------------------------------------------------------------------------------------------------------- */

static void what_is_no_file_or_no_segment_is_refused_by_name(void)
{
    static const char zeros[8192];
    const int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
    CHECK(null >= 0);
    CHECK_IS(look(-1), IPCR_FROM_ERRNO(EBADF));
    CHECK_IS(look(null), IPCR_NOT_OURS);
    close(null);
    for (size_t size = 0; size <= sizeof zeros; size += 512) {
        const int fd = file_of(zeros, size, size);
        CHECK_IS(look(fd), IPCR_NOT_OURS);
        close(fd);
    }
}

static void a_file_that_cannot_be_mapped_is_an_error(void)
{
    struct ipcr_queue *q = furnished();
    char path[64];
    snprintf(path, sizeof path, "/proc/self/fd/%d", q->segment->fd);
    const int fd = open(path, O_WRONLY | O_CLOEXEC);
    CHECK(fd >= 0);
    CHECK_IS(look(fd), IPCR_FROM_ERRNO(EACCES));
    close(fd);
    finish_queue(q);
}

static void a_ring_is_no_queue(void)
{
    struct ipcr_segment *s = anonymous(LANE, 0);
    CHECK_IS(look(s->fd), IPCR_KIND);
    ipcr_segment_release(s);
}

static void a_file_that_others_may_open_is_not_believed(void)
{
    struct ipcr_queue *q = furnished();
    CHECK(fchmod(q->segment->fd, 0640) == 0);
    CHECK_IS(look(q->segment->fd), IPCR_UNTRUSTED);
    CHECK(fchmod(q->segment->fd, 0600) == 0);
    CHECK_IS(look(q->segment->fd), IPCR_OK);
    finish_queue(q);
}

static void a_file_that_was_cut_short_is_refused_wherever_it_ends(void)
{
    struct ipcr_queue *q = furnished();
    const size_t header = q->segment->header_bytes, whole = q->segment->header->geometry.total_bytes;
    const size_t sizes[] = { sizeof(struct ipcr_header), 4096, header - 1, header, header + 1, whole - 1 };
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        const int fd = file_of(q->segment->header, header < sizes[i] ? header : sizes[i], sizes[i]);
        CHECK_IS(look(fd), IPCR_CORRUPT);
        close(fd);
    }
    const int fd = file_of(q->segment->header, header, whole); /* all there, but its messages */
    CHECK_IS(look(fd), IPCR_OK);
    close(fd);
    finish_queue(q);
}

/* --- words -------------------------------------------------------------------------------------------------------- */

struct damage {
    size_t at;
    size_t width;
    uint64_t value;
    int wanted;
};

#define GEOMETRY(field) \
    offsetof(struct ipcr_geometry, field), sizeof(((struct ipcr_geometry *)NULL)->field)
#define OPTION(field) \
    offsetof(struct ipcr_queue_header, options) + offsetof(struct ipcr_queue_options, field), sizeof(uint64_t)

static void a_word_of_the_header_that_makes_no_sense_is_refused_by_name(void)
{
    const struct damage all[] = {
        { GEOMETRY(magic), 1, IPCR_NOT_OURS },
        { GEOMETRY(format_version), 99, IPCR_VERSION },
        { GEOMETRY(byte_order), 1, IPCR_VERSION },
        { GEOMETRY(layout_hash), 1, IPCR_VERSION },
        { GEOMETRY(kind), IPCR_KIND_RING, IPCR_VERSION }, /* another kind, another layout */
        { GEOMETRY(kind), 77, IPCR_VERSION },
        { GEOMETRY(lanes), 0, IPCR_CORRUPT },
        { GEOMETRY(lanes), LANES + 1, IPCR_CORRUPT },
        { GEOMETRY(lanes), 64, IPCR_CORRUPT }, /* another size of the header */
        { GEOMETRY(lanes), IPCR_MOST_LANES + 1, IPCR_CORRUPT },
        { GEOMETRY(lanes), UINT32_MAX, IPCR_CORRUPT },
        { GEOMETRY(header_bytes), 0, IPCR_CORRUPT },
        { GEOMETRY(header_bytes), 4096, IPCR_CORRUPT },
        { GEOMETRY(capacity), 0, IPCR_CORRUPT },
        { GEOMETRY(capacity), LANE + 8, IPCR_CORRUPT },
        { GEOMETRY(capacity), 2 * LANE, IPCR_CORRUPT },
        { GEOMETRY(capacity), UINT64_C(1) << 63, IPCR_CORRUPT },
        { GEOMETRY(total_bytes), 0, IPCR_CORRUPT },
        { GEOMETRY(total_bytes), 8192, IPCR_CORRUPT },
        { GEOMETRY(total_bytes), UINT64_MAX, IPCR_CORRUPT },
        { OPTION(slots), 0, IPCR_CORRUPT },
        { OPTION(slots), 1, IPCR_CORRUPT },
        { OPTION(slots), 24, IPCR_CORRUPT },
        { OPTION(slots), 4096, IPCR_CORRUPT }, /* more than the file has */
        { OPTION(slots), 2 * IPCR_MOST_SLOTS, IPCR_CORRUPT },
        { OPTION(lease_ns), UINT64_MAX, IPCR_CORRUPT },
        { OPTION(max_deliveries), IPCR_MOST_DELIVERIES + 1, IPCR_CORRUPT },
        { OPTION(lanes_each), 0, IPCR_CORRUPT },
        { OPTION(lanes_each), IPCR_MOST_LANES_EACH + 1, IPCR_CORRUPT },
    };
    struct ipcr_queue *q = furnished();
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        uint8_t *word = (uint8_t *)q->segment->header + all[i].at, before[8];
        memcpy(before, word, all[i].width);
        memcpy(word, &all[i].value, all[i].width);
        const int rc = look(q->segment->fd);
        memcpy(word, before, all[i].width);
        if (rc != all[i].wanted)
            printf("word at %zu, value %" PRIu64 ":\n", all[i].at, all[i].value);
        CHECK_IS(rc, all[i].wanted);
        CHECK_IS(look(q->segment->fd), IPCR_OK);
    }
    finish_queue(q);
}

/* --- lanes -------------------------------------------------------------------------------------------------------- */

static void a_lane_whose_slots_contradict_it_is_told_outside_and_inside(void)
{
    struct ipcr_queue *q = furnished();
    struct ipcr_queue_stats all;
    struct ipcr_lane_stats lane[LANES];
    struct ipcr_slot *next = ipcr_slot_at(q->own[0].lane, q->own[0].next);
    store_relaxed64(&next->state, ipcr_state(9, IPCR_READY, 0, 0, IPCR_NO_TIME)); /* laps ahead */
    CHECK_IS(look(q->segment->fd), IPCR_CORRUPT);
    CHECK_IS(ipcr_queue_stats(q->segment, &all, lane, LANES), IPCR_CORRUPT);
    CHECK_IS(ipcr_queue_stats_of_file(q->segment->fd, &all, lane, 0), IPCR_OK); /* no lane was asked for */
    store_relaxed64(&next->state, 0);
    CHECK_IS(look(q->segment->fd), IPCR_OK);
    finish_queue(q);
}

static void hints_and_marks_of_nonsense_hold_nobody_up_and_hide_no_message(void)
{
    for (int which = 0; which < 2; which++) {
        struct ipcr_queue *q = furnished();
        struct ipcr_queue_stats all;
        struct ipcr_lane_stats lane[LANES];
        struct ipcr_lane_words *w = words_of(q, 0);
        if (which == 0)
            store_relaxed64(&w->head, UINT64_MAX / 2);
        else
            for (int i = 0; i < 2; i++)
                store_relaxed64(&w->mark[i].freed, 12345); /* neither speaks of what was freed */
        CHECK_IS(ipcr_queue_stats_of_file(q->segment->fd, &all, lane, LANES), IPCR_OK);
        CHECK_IS(lane[0].put, 2);
        CHECK_IS(lane[0].leased, 1);
        CHECK_IS(lane[0].ready, 1);
        finish_queue(q);
    }
}

static void a_stamp_in_the_future_and_a_number_beyond_the_holders_are_only_odd(void)
{
    struct ipcr_queue *q = furnished();
    struct ipcr_queue_stats all;
    struct ipcr_lane_stats lane[LANES];
    store_relaxed64(&ipcr_slot_at(q->own[0].lane, q->own[0].freed)->stamp, UINT64_MAX);
    store_relaxed32(&q->header->holders_high, UINT32_MAX);
    CHECK_IS(ipcr_queue_stats_of_file(q->segment->fd, &all, lane, LANES), IPCR_OK);
    CHECK_IS(lane[0].blocking_ns, 0);
    CHECK_IS(all.holders_count, 1);
    finish_queue(q);
}

int main(void)
{
    check_begin();
    run("what is no file or no segment is refused by name", what_is_no_file_or_no_segment_is_refused_by_name);
    run("a file that cannot be mapped is an error", a_file_that_cannot_be_mapped_is_an_error);
    run("a ring is no queue", a_ring_is_no_queue);
    run("a file that others may open is not believed", a_file_that_others_may_open_is_not_believed);
    run("a file that was cut short is refused wherever it ends", a_file_that_was_cut_short_is_refused_wherever_it_ends);
    run("a word of the header that makes no sense is refused by name",
        a_word_of_the_header_that_makes_no_sense_is_refused_by_name);
    run("a lane whose slots contradict it is told outside and inside",
        a_lane_whose_slots_contradict_it_is_told_outside_and_inside);
    run("hints and marks of nonsense hold nobody up and hide no message",
        hints_and_marks_of_nonsense_hold_nobody_up_and_hide_no_message);
    run("a stamp in the future and a number beyond the holders are only odd",
        a_stamp_in_the_future_and_a_number_beyond_the_holders_are_only_odd);
    return check_finish();
}

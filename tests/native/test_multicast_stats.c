/* test_multicast_stats.c - what can be told of a multicast from outside: through a segment, and of a file that nobody is
 * attached to. */
#include "multicasts.h"

#include <sys/stat.h>

enum { START = 600, MOST = 8 };

static struct ipcr_multicast_stats stats_of(const struct ipcr_segment *s, struct ipcr_subscriber_stats *all)
{
    struct ipcr_multicast_stats stats;
    CHECK_IS(ipcr_multicast_stats(s, &stats, all, MOST), IPCR_OK);
    return stats;
}

static void what_goes_through_is_counted(void)
{
    const struct ipcr_multicast_options wanted = { .on_laggard = IPCR_EVICT_LAGGARDS, .max_lag = 6 };
    struct ipcr_subscriber_stats all[MOST];
    struct ipcr_segment *s = multicast_of(DATA, 8, &wanted, START);
    struct ipcr_multicast_stats stats = stats_of(s, all);
    CHECK_IS(stats.creator_pid, getpid());
    CHECK_IS(stats.present, 1);
    CHECK_IS(stats.named, 0);
    CHECK_IS(stats.entries, 8);
    CHECK_IS(stats.capacity, DATA);
    CHECK_IS(stats.published, 0);
    CHECK_IS(stats.oldest, 0);
    CHECK_IS(stats.bytes, 0);
    CHECK_IS(stats.publisher_state, IPCR_END_UNTAKEN);
    CHECK_IS(stats.publisher_alive, 0);
    CHECK_IS(stats.subscribers, 0);
    CHECK(memcmp(&stats.options, &wanted, sizeof wanted) == 0);
    struct ipcr_publisher *p = publisher_on(s);
    struct ipcr_subscriber *a = subscriber_on(s, IPCR_START_LATEST), *b = subscriber_on(s, IPCR_START_LATEST);
    struct ipcr_subscriber *left = subscriber_on(s, IPCR_START_LATEST), *dead = subscriber_on(s, IPCR_START_LATEST);
    publish(p, 5);
    check_receives(a, START, 5);
    check_receives(b, START, 4);
    ipcr_subscriber_free(left);
    die_subscribed(dead);
    stats = stats_of(s, all);
    CHECK_IS(stats.published, 5);
    CHECK_IS(stats.bytes, 5 * LENGTH);
    CHECK_IS(stats.publisher_pid, getpid());
    CHECK_IS(stats.publisher_state, IPCR_END_TAKEN);
    CHECK_IS(stats.publisher_alive, 1);
    CHECK_IS(stats.subscribers, 3);
    CHECK(all[0].number == 0 && all[0].alive == 1 && all[0].next == 5 && all[0].received == 5 && all[0].lost == 0);
    CHECK(all[1].number == 1 && all[1].alive == 1 && all[1].next == 4 && all[1].received == 4);
    CHECK(all[2].number == 3 && all[2].alive == 0 && all[2].next == 0 && all[2].state == IPCR_CURSOR_ACTIVE);
    CHECK(all[0].pid == (uint32_t)getpid() && all[2].pid == all[0].pid);
    CHECK_IS(try_publish_of(p, 0), START + 5); /* max_lag of the dead one: none but it is that far behind */
    CHECK_IS(try_publish_of(p, 1), START + 6);
    publish(p, 20);
    stats = stats_of(s, all);
    CHECK_IS(stats.published, 27);
    CHECK_IS(stats.bytes, 25 * LENGTH + 1);
    CHECK_IS(stats.oldest, 27 - 8);
    CHECK_IS(stats.evicted, 3); /* as far as is known: a dead one that was a laggard first */
    CHECK(all[0].state == IPCR_CURSOR_EVICTED && all[0].alive == 1);
    CHECK_IS(ipcr_multicast_stats(s, &stats, all, 2), IPCR_OK);
    CHECK_IS(stats.subscribers, 2); /* no more than was asked for */
    ipcr_publisher_free(p);
    stats = stats_of(s, all);
    CHECK_IS(stats.publisher_state, IPCR_END_CLOSED);
    CHECK_IS(stats.publisher_alive, 0);
    ipcr_subscriber_free(a);
    ipcr_subscriber_free(b);
    ipcr_segment_release(s);
}

static void what_is_lost_is_counted_by_each(void)
{
    struct ipcr_subscriber_stats all[MOST];
    struct ipcr_segment *s = multicast_of(DATA, 8, &lossy, START);
    struct ipcr_publisher *p = publisher_on(s);
    struct ipcr_subscriber *r = subscriber_on(s, IPCR_START_LATEST);
    publish(p, 20);
    check_receives(r, START + 12, 2);
    CHECK_IS(stats_of(s, all).subscribers, 1);
    CHECK(all[0].received == 2 && all[0].lost == 12 && all[0].next == 14);
    ipcr_subscriber_free(r);
    ipcr_publisher_free(p);
    ipcr_segment_release(s);
}

/* Empty messages only: no payload, however often one looks. */
static void messages_without_a_payload_have_no_bytes(void)
{
    struct ipcr_segment *s = multicast_of(DATA, 8, &lossless, START);
    struct ipcr_publisher *p = publisher_on(s);
    for (int i = 0; i < 20; i++)
        CHECK(try_publish_of(p, 0) >= 0);
    const struct ipcr_multicast_stats stats = stats_of(s, NULL);
    CHECK_IS(stats.published, 20);
    CHECK_IS(stats.bytes, 0);
    ipcr_publisher_free(p);
    ipcr_segment_release(s);
}

/* --- of a file ------------------------------------------------------------------------------------------------------------ */

static char dir[] = "/dev/shm/ipcr-multicast-stats-XXXXXX";

static void remove_dir(void)
{
    char command[64];
    snprintf(command, sizeof command, "rm -rf %s", dir);
    (void)!system(command);
}

static void die_with_messages(int ear, int mouth, void *arg)
{
    struct ipcr_segment *s;
    (void)ear;
    (void)arg;
    CHECK_IS(ipcr_segment_create_multicast(dir, "name", DATA, 8, &lossless, START, &s), IPCR_OK);
    struct ipcr_publisher *p = publisher_on(s);
    struct ipcr_subscriber *r = subscriber_on(s, IPCR_START_LATEST);
    publish(p, 8);
    check_receives(r, START, 3);
    say(mouth, 'd');
    wait_for_end();
}

static void a_file_that_everybody_has_left_is_still_told_of_and_not_changed(void)
{
    struct ipcr_subscriber_stats all[MOST];
    struct ipcr_multicast_stats stats;
    struct child c = child_start(die_with_messages, NULL);
    const pid_t pid = c.pid;
    int fd;
    CHECK_IS(hear(c.ear), 'd');
    for (int dead = 0; dead < 2; dead++) {
        CHECK_IS(ipcr_os_open(dir, "name", &fd), IPCR_OK);
        CHECK_IS(ipcr_multicast_stats_of_file(fd, &stats, all, MOST), IPCR_OK);
        ipcr_os_close(fd);
        CHECK_IS(stats.creator_pid, pid);
        CHECK_IS(stats.named, 1);
        CHECK_IS(stats.present, !dead);
        CHECK_IS(stats.publisher_alive, !dead);
        CHECK_IS(stats.publisher_state, IPCR_END_TAKEN);
        CHECK_IS(stats.published, 8);
        CHECK_IS(stats.subscribers, 1);
        CHECK(all[0].alive == !dead && all[0].next == 3 && all[0].received == 3);
        if (!dead)
            child_kill(&c);
    }
    CHECK_IS(ipcr_name_remove(dir, "name", IPCR_REMOVE_ORPHAN), IPCR_OK);
}

static int look_at(int fd)
{
    struct ipcr_multicast_stats stats;
    const int rc = ipcr_multicast_stats_of_file(fd, &stats, NULL, 0);
    close(fd);
    return rc;
}

static void a_file_that_is_no_multicast_is_refused(void)
{
    struct ipcr_segment *ring = anonymous(4096, 0);
    CHECK_IS(look_at(dup(ring->fd)), IPCR_KIND);
    ipcr_segment_release(ring);
    int fd = memfd_create("ipc:test", MFD_CLOEXEC);
    CHECK(fd >= 0 && fchmod(fd, 0600) == 0);
    CHECK_IS(look_at(dup(fd)), IPCR_NOT_OURS);
    CHECK(ftruncate(fd, 1 << 20) == 0);
    CHECK_IS(look_at(dup(fd)), IPCR_NOT_OURS);
    CHECK(fchmod(fd, 0644) == 0);
    CHECK_IS(look_at(fd), IPCR_UNTRUSTED);
    struct ipcr_segment *s = multicast_of(DATA, 8, &lossless, 0);
    header_of(s)->options.policy = 9;
    CHECK_IS(look_at(dup(s->fd)), IPCR_CORRUPT);
    ipcr_segment_release(s);
    CHECK(IPCR_IS_ERRNO(look_at(-1)));
}

int main(void)
{
    check_begin();
    CHECK(mkdtemp(dir) != NULL);
    check_tidy = remove_dir;
    run("what goes through is counted", what_goes_through_is_counted);
    run("what is lost is counted by each", what_is_lost_is_counted_by_each);
    run("messages without a payload have no bytes", messages_without_a_payload_have_no_bytes);
    run("a file that everybody has left is still told of, and not changed",
        a_file_that_everybody_has_left_is_still_told_of_and_not_changed);
    run("a file that is no multicast is refused", a_file_that_is_no_multicast_is_refused);
    remove_dir();
    return check_finish();
}

/* operations_life.c - statistics, and ends and segments that come and go. */
#include "kernel.h"
#include "multicast_stats.h"
#include "target.h"
#include "watch.h"

static const uint64_t refused = STATUS(IPCR_CORRUPT) | STATUS(IPCR_NOT_OURS) | STATUS(IPCR_VERSION) | STATUS(IPCR_KIND);

/* Room for fewer subscribers than there may be, which must be enough for the core. */
enum { ROOM_FOR = IPCR_MOST_SUBSCRIBERS - 1 };

static void check_stats(const struct ipcr_multicast_stats *stats, const struct ipcr_subscriber_stats *subscribers)
{
    touch(stats, sizeof *stats);
    if (stats->subscribers > ROOM_FOR)
        violation("more subscribers than there is room for", stats->subscribers);
    touch(subscribers, stats->subscribers * sizeof *subscribers);
}

static void stats_of_file(void)
{
    struct ipcr_multicast_stats stats;
    struct ipcr_subscriber_stats subscribers[ROOM_FOR];
    const int fd = kernel_open();
    if (fd < 0)
        return;
    watch_begin(NULL);
    const int rc = ipcr_multicast_stats_of_file(fd, &stats, subscribers, ROOM_FOR);
    check_status(rc, refused, "stats_of_file");
    if (rc == IPCR_OK)
        check_stats(&stats, subscribers);
    ipcr_os_close(fd);
}

static void stats_of_segment(const struct ipcr_segment *s)
{
    struct ipcr_multicast_stats stats;
    struct ipcr_subscriber_stats subscribers[ROOM_FOR];
    watch_begin(s);
    const int rc = ipcr_multicast_stats(s, &stats, subscribers, ROOM_FOR);
    check_status(rc, 0, "stats");
    if (rc == IPCR_OK)
        check_stats(&stats, subscribers);
    (void)ipcr_multicast_publisher_pid(s);
}

static void look(struct stage *stage, enum operation op, uint32_t place)
{
    if (stage->looks++ >= MOST_LOOKS)
        return;
    if (op == OP_STATS_OF_FILE)
        stats_of_file();
    else if (stage_segment(stage, place) != NULL)
        stats_of_segment(stage->segment[place]);
}

void life_operation(struct stage *stage, enum operation op, struct input *in)
{
    const uint8_t which = take8(in);
    const uint32_t place = which % ATTACHED, publisher = which % PUBLISHERS, subscriber = which % SUBSCRIBERS;
    switch (op) {
    case OP_STATS:
    case OP_STATS_OF_FILE:
        look(stage, op, place);
        break;
    case OP_CLOSE_PUBLISHER: /* the handle stays, and says so */
        if (stage->publisher[publisher] != NULL) {
            watch_publish(stage->publisher[publisher]);
            ipcr_publisher_close(stage->publisher[publisher]);
        }
        break;
    case OP_CLOSE_SUBSCRIBER:
        if (stage->subscriber[subscriber] != NULL) {
            watch_subscribe(stage->subscriber[subscriber]);
            ipcr_subscriber_close(stage->subscriber[subscriber]);
        }
        break;
    case OP_FREE_PUBLISHER:
    case OP_CRASH_PUBLISHER:
        stage_free_publisher(stage, publisher, op == OP_FREE_PUBLISHER);
        break;
    case OP_FREE_SUBSCRIBER:
    case OP_CRASH_SUBSCRIBER:
        stage_free_subscriber(stage, subscriber, op == OP_FREE_SUBSCRIBER);
        break;
    case OP_DETACH:
        stage_detach(stage, place);
        break;
    default: /* OP_UNLINK */
        watch_begin(NULL);
        if (stage->segment[place] != NULL)
            check_status(ipcr_segment_unlink(stage->segment[place]), STATUS(IPCR_NOT_FOUND), "unlink");
    }
}

/* operations_life.c - counts and observers, repair, and handles that come and go. */
#include "kernel.h"
#include "queue_stats.h"
#include "target.h"
#include "watch.h"

static const uint64_t refused = STATUS(IPCR_CORRUPT) | STATUS(IPCR_NOT_OURS) | STATUS(IPCR_VERSION) |
                                STATUS(IPCR_KIND) | STATUS(IPCR_AGAIN);
static const uint64_t statuses = STATUS(IPCR_CORRUPT) | STATUS(IPCR_CLOSED) | STATUS(IPCR_AGAIN);

/* Room for fewer lanes than there may be, which must be enough for the core. */
enum { ROOM_FOR = LANES - 1 };

static void stats_of_file(void)
{
    struct ipcr_queue_stats stats;
    struct ipcr_lane_stats lanes[ROOM_FOR];
    const int fd = kernel_open();
    if (fd < 0)
        return;
    watch_begin(NULL, NULL, WATCH_TAKING);
    const int rc = ipcr_queue_stats_of_file(fd, &stats, lanes, ROOM_FOR);
    check_status(rc, refused, "stats_of_file");
    if (rc == IPCR_OK)
        touch(&stats, sizeof stats);
    ipcr_os_close(fd);
}

static void stats_of_segment(const struct ipcr_segment *s)
{
    struct ipcr_queue_stats stats;
    struct ipcr_lane_stats lanes[ROOM_FOR];
    watch_begin(s, NULL, WATCH_TAKING);
    const int rc = ipcr_queue_stats(s, &stats, lanes, ROOM_FOR);
    check_status(rc, refused, "stats");
    for (uint32_t i = 0; rc == IPCR_OK && i < s->lanes && i < ROOM_FOR; i++)
        touch(&lanes[i], sizeof lanes[i]);
}

static void repair(struct ipcr_queue *q)
{
    pthread_mutex_lock(&q->consuming);
    int rc = ipcr_queue_ready(q);
    if (rc == IPCR_OK)
        rc = ipcr_queue_repair(q, ipcr_os_now_ns());
    check_status(rc, statuses, "repair");
    watch_begin(q->segment, q, WATCH_TAKING);
    if (rc == IPCR_OK)
        rc = ipcr_queue_fix_hints(q);
    check_status(rc, statuses, "fix_hints");
    pthread_mutex_unlock(&q->consuming);
}

static void counts(struct ipcr_queue *q)
{
    check_status(ipcr_queue_depth(q), statuses, "depth");
    const int full = ipcr_queue_is_full(q);
    check_status(full, statuses, "is_full");
    if (full > 1)
        violation("neither full nor not", (uint64_t)full);
    (void)ipcr_queue_all_finished(q);
    (void)ipcr_queue_returns(q);
    (void)ipcr_queue_shutdown_state(q);
}

static void of_one_queue(struct ipcr_queue *q, enum operation op, uint8_t how)
{
    watch_begin(q->segment, q, WATCH_TAKING);
    switch (op) {
    case OP_TASK_DONE:
        check_status(how % 4 != 0 ? ipcr_queue_task_done(q) : ipcr_queue_finish_many(q, how),
                     statuses | STATUS(IPCR_EMPTY), "task_done");
        break;
    case OP_JOIN:
        check_status(ipcr_queue_wait_for_finish(q, ipcr_os_now_ns() + how % 4 * IPCR_SLICE_NS), statuses, "join");
        break;
    case OP_COUNTS:
        counts(q);
        break;
    case OP_PURGE:
        check_status(ipcr_queue_purge(q, how % 2 != 0), statuses, "purge");
        break;
    case OP_REPAIR:
        repair(q);
        break;
    case OP_SHUT:
        check_status(ipcr_queue_shut(q, how % 2 == 0 ? IPCR_DRAINING : IPCR_SHUT), 0, "shut");
        break;
    default:
        ipcr_queue_close(q);
    }
}

void life_operation(struct stage *stage, enum operation op, struct input *in)
{
    const uint32_t handle = take8(in) % HANDLES;
    const uint8_t how = op <= OP_JOIN || op == OP_PURGE || op == OP_SHUT ? take8(in) : 0;
    struct ipcr_queue *q;
    switch (op) {
    case OP_STATS:
    case OP_STATS_OF_FILE:
        if (stage->looks++ >= MOST_LOOKS)
            return;
        if (op == OP_STATS_OF_FILE)
            stats_of_file();
        else if (stage_segment(stage, place_of(handle)) != NULL)
            stats_of_segment(stage->segment[place_of(handle)]);
        return;
    case OP_FREE:
    case OP_CRASH:
        stage_free(stage, handle, op == OP_FREE);
        return;
    case OP_DETACH:
        stage_detach(stage, place_of(handle));
        return;
    default:
        q = stage_queue(stage, handle);
        if (q != NULL)
            of_one_queue(q, op, how);
    }
}

/* operations_life.c - ends that come and go, and those who only look. */
#include "kernel.h"
#include "registry.h"
#include "stats.h"
#include "target.h"
#include "transfer.h"
#include "watch.h"

static const uint64_t refused = STATUS(IPCR_CORRUPT) | STATUS(IPCR_NOT_OURS) | STATUS(IPCR_VERSION);

static void stats_of_file(void)
{
    struct ipcr_stats stats;
    const int fd = kernel_open();
    if (fd < 0)
        return;
    const int rc = ipcr_stats_of_file(fd, &stats);
    check_status(rc, refused | STATUS(IPCR_KIND), "stats_of_file");
    if (rc == IPCR_OK)
        touch(&stats, sizeof stats);
    ipcr_os_close(fd);
}

static void stats_of_segment(const struct ipcr_segment *segment)
{
    struct ipcr_stats stats;
    if (segment == NULL)
        return;
    const int rc = ipcr_stats_of_segment(segment, &stats);
    check_status(rc, refused, "stats_of_segment");
    if (rc == IPCR_OK)
        touch(&stats, sizeof stats);
}

/* An unused end goes to a child, which is us: with its claim alone, or taken already. */
static void hand_over(struct stage *stage, uint32_t side, struct input *in)
{
    struct ipcr_end *child = NULL;
    const bool with_role = take8(in) % 2 != 0, arrives = take8(in) % 4 != 0;
    int held;
    if (stage->segment[side] == NULL || (stage->end[side] != NULL && ipcr_end_in_use(stage->end[side])))
        stage_close(stage, side, true);
    if (stage->segment[side] == NULL)
        return;
    if (stage->end[side] == NULL && ipcr_end_open(stage->segment[side], side, 0, &stage->end[side]) != IPCR_OK)
        violation("an end can't be claimed", side);
    int rc = ipcr_end_hand_over(stage->end[side], with_role, false, &held);
    check_status(rc, STATUS(IPCR_TAKEN) | STATUS(IPCR_END_OF_CHANNEL), "hand_over");
    if (rc != IPCR_OK)
        return;
    if (!arrives) {
        ipcr_end_take_back(stage->end[side], held, with_role);
        return;
    }
    ipcr_parcel_keep(held);
    rc = ipcr_end_adopt(stage->segment[side], side, 0, held, with_role, &child);
    check_status(rc, STATUS(IPCR_CORRUPT), "adopt");
    stage_close(stage, side, true);
    stage->end[side] = rc == IPCR_OK ? child : NULL;
}

/* A second handle of a taken end is told so. */
static void take_twice(struct stage *stage, uint32_t side)
{
    struct ipcr_end *second;
    uint32_t by;
    if (stage_end(stage, side) == NULL)
        return;
    watch_begin(NULL);
    if (ipcr_end_open(stage->segment[side], side, 0, &second) != IPCR_OK)
        violation("an end can't be claimed", side);
    const int rc = ipcr_end_take(second, &by);
    if (rc != IPCR_TAKEN && rc != IPCR_NOT_FOUND)
        violation("an end is taken twice", (uint64_t)rc);
    ipcr_end_close(second, true);
    ipcr_end_free(second);
}

static void of_one_end(struct ipcr_end *e, enum operation op)
{
    if (e == NULL)
        return;
    watch_begin(e);
    if (op == OP_TAKE_BACK)
        check_status(ipcr_take_back(e), 0, "take_back");
    else if (op == OP_DRAIN)
        ipcr_end_drain(e);
    else
        check_status(ipcr_peer_sometimes(e),
                     STATUS(IPCR_END_OF_CHANNEL) | STATUS(IPCR_PEER_DIED) | STATUS(IPCR_CORRUPT), "peer_sometimes");
}

void life_operation(struct stage *stage, enum operation op, struct input *in)
{
    const uint32_t side = take8(in) % IPCR_SIDES;
    switch (op) {
    case OP_TAKE_BACK:
    case OP_PEER:
    case OP_DRAIN:
        of_one_end(stage_end(stage, side), op);
        return;
    case OP_CLOSE:
    case OP_CRASH:
        stage_close(stage, side, op == OP_CLOSE);
        return;
    case OP_DETACH:
        stage_detach(stage, side);
        return;
    default:
        break;
    }
    watch_begin(NULL);
    if (op == OP_STATS || op == OP_STATS_OF_FILE) {
        if (stage->looks++ >= MOST_LOOKS)
            return;
        if (op == OP_STATS)
            stats_of_segment(stage->segment[side]);
        else
            stats_of_file();
    } else if (op == OP_HAND_OVER)
        hand_over(stage, side, in);
    else if (op == OP_UNLINK && stage->segment[side] != NULL)
        check_status(ipcr_segment_unlink(stage->segment[side]), STATUS(IPCR_NOT_FOUND), "unlink");
    else if (op == OP_REMOVE)
        check_status(ipcr_name_remove(KERNEL_DIR, KERNEL_NAME, take8(in) % 2),
                     STATUS(IPCR_NOT_FOUND) | STATUS(IPCR_EXISTS) | STATUS(IPCR_NOT_OURS), "remove");
    else if (op == OP_SECOND)
        take_twice(stage, side);
}

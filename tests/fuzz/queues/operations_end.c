/* operations_end.c - the ends of leases: of those that are held, and of those that are over. */
#include "kernel.h"
#include "target.h"
#include "watch.h"

#include <stdlib.h>

static const uint64_t statuses = STATUS(IPCR_LEASE_LOST) | STATUS(IPCR_CORRUPT) | STATUS(IPCR_CLOSED);

static int copy(struct ipcr_queue *q, const struct ipcr_lease *l)
{
    char *out = malloc(l->length + 1);
    if (out == NULL)
        violation("the fuzzer itself has no memory", l->length);
    watch_lease(l);
    const int rc = ipcr_lease_copy(q, l, out);
    touch(out, l->length);
    free(out);
    return rc;
}

void end_operation(struct stage *stage, enum operation op, struct input *in)
{
    const uint32_t handle = take8(in) % HANDLES;
    const uint8_t pick = take8(in), how = pick / HELD;
    struct ipcr_queue *q = stage->queue[handle];
    struct ipcr_lease *l = stage_held(stage, handle, pick % HELD);
    if (q == NULL || l == NULL)
        return;
    watch_begin(q->segment, q, WATCH_TAKING);
    switch (op) {
    case OP_COPY:
        check_status(copy(q, l), statuses, "copy");
        break;
    case OP_ACK:
        check_status(ipcr_lease_ack(q, l), statuses, "ack");
        break;
    case OP_NACK:
        check_status(ipcr_lease_nack(q, l, how % 4 * IPCR_TIME_UNIT_NS), statuses, "nack");
        break;
    case OP_EXTEND:
        check_status(ipcr_lease_extend(q, l, how % 8 * IPCR_TIME_UNIT_NS), statuses, "extend");
        break;
    case OP_BURY:
        check_status(ipcr_lease_bury(q, l), statuses, "bury");
        break;
    case OP_KEEP:
        check_status(ipcr_lease_keep(q, l, 1 + how % 2u), statuses, "keep");
        break;
    default:
        check_status(ipcr_lease_requeue(q, l), statuses, "requeue");
    }
}

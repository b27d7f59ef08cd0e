/* operations_take.c - what consumers do to get messages.  What a call says that there is, is read to its last byte:
 * AddressSanitizer knows whether it was the core's to give. */
#include "kernel.h"
#include "peer.h"
#include "target.h"
#include "watch.h"

#include <stdlib.h>

enum { MOST_MESSAGES = 8, MOST_ROOM = 1 << 14 };
#define LENGTH_OF(result) ((uint64_t)(result) & ((UINT64_C(1) << IPCR_RESULT_ENCODING_SHIFT) - 1))

static const uint64_t take_statuses = STATUS(IPCR_EMPTY) | STATUS(IPCR_SHUT_DOWN) | STATUS(IPCR_AGAIN) |
                                      STATUS(IPCR_CORRUPT) | STATUS(IPCR_CLOSED);
static const uint64_t room_statuses = take_statuses | STATUS(IPCR_TOO_LARGE);

static void check_lease(const struct ipcr_queue *q, const struct ipcr_lease *l)
{
    if (l->length > q->segment->capacity || l->lane >= q->segment->lanes)
        violation("a message that is larger than its lane", l->length);
    touch(l->payload, l->length); /* as a view lends it */
}

static void lease(struct stage *stage, struct ipcr_queue *q, uint32_t handle, uint64_t lease_ns)
{
    struct ipcr_lease l;
    const int rc = ipcr_queue_lease(q, lease_ns, &l);
    check_status(rc, take_statuses, "lease");
    if (rc != IPCR_OK)
        return;
    check_lease(q, &l);
    stage_hold(stage, handle, &l);
}

/* Memory of just the size that is promised. */
static void get(struct stage *stage, struct ipcr_queue *q, uint32_t handle, uint64_t room)
{
    struct ipcr_lease l;
    char *out = malloc(room + 1);
    if (out == NULL)
        violation("the fuzzer itself has no memory", room);
    const int rc = ipcr_queue_get(q, out, room, &l);
    check_status(rc, room_statuses, "get");
    if (rc == IPCR_OK)
        touch(out, l.length);
    else if (rc == IPCR_TOO_LARGE) { /* leased */
        check_lease(q, &l);
        stage_hold(stage, handle, &l);
    }
    free(out);
}

static void read_inbox(struct stage *stage, uint32_t handle, const struct ipcr_queue_inbox *inbox,
                       const struct ipcr_lease *l, int64_t result, bool leased)
{
    check_status(result, take_statuses, "a get into an inbox");
    if (result < 0)
        return;
    if (LENGTH_OF(result) != l->length)
        violation("a result that is not the lease's length", (uint64_t)result);
    if ((result & IPCR_RESULT_LENT) != 0)
        check_lease(inbox->queue, l);
    else if (l->length > IPCR_SMALL)
        violation("more than the inbox holds", l->length);
    else
        touch(inbox->bytes, l->length);
    if (leased || (result & IPCR_RESULT_LENT) != 0)
        stage_hold(stage, handle, l);
}

static void get_into(struct stage *stage, struct ipcr_queue *q, uint32_t handle, enum operation op, uint8_t how)
{
    struct ipcr_queue_inbox *inbox = malloc(sizeof *inbox);
    struct ipcr_lease l = { .length = 0 };
    if (inbox == NULL)
        violation("the fuzzer itself has no memory", sizeof *inbox);
    inbox->queue = q;
    if (op == OP_LEASE_INTO) {
        const int64_t result = ipcr_queue_lease_into(inbox, &l, how * IPCR_TIME_UNIT_NS);
        read_inbox(stage, handle, inbox, &l, result, true);
    } else {
        const int64_t result = how % 2 == 0 ? ipcr_queue_get_into(inbox) : ipcr_queue_try_get_into(inbox);
        read_inbox(stage, handle, inbox, &inbox->lease, result, false);
    }
    free(inbox);
}

static void lease_many(struct stage *stage, struct ipcr_queue *q, uint32_t handle, uint64_t room, uint8_t how)
{
    struct ipcr_lease leases[MOST_MESSAGES];
    int64_t results[MOST_MESSAGES];
    const uint64_t most = how % MOST_MESSAGES + 1u;
    char *out = malloc(room + 1);
    uint64_t used = 0;
    if (out == NULL)
        violation("the fuzzer itself has no memory", room);
    const int64_t n = ipcr_queue_lease_many(q, out, room, leases, results, most);
    check_status(n, take_statuses, "lease_many");
    for (int64_t i = 0; i < n; i++) {
        if ((results[i] & IPCR_RESULT_LENT) == 0)
            used += LENGTH_OF(results[i]);
        else if (i + 1 < n)
            violation("lent, and not the last", (uint64_t)results[i]);
        else
            check_lease(q, &leases[i]);
        stage_hold(stage, handle, &leases[i]);
    }
    if (n > (int64_t)most || used > room)
        violation("more than was asked for", used);
    touch(out, used);
    free(out);
    if (n <= 0 || how >= 0xc0) /* else the holder goes on with all of them */
        return;
    watch_begin(q->segment, q, WATCH_TAKING);
    const uint64_t taken = how / 8 % 4 == 0 ? (uint64_t)n : (uint64_t)n / 2;
    if (ipcr_lease_end_many(q, leases, (uint64_t)n, taken) > taken)
        violation("more were acknowledged than was said", taken);
}

static void next_kept(struct stage *stage, struct ipcr_queue *q, uint32_t handle, uint64_t after)
{
    struct ipcr_lease l;
    uint32_t why;
    const int rc = ipcr_queue_next_kept(q, after, &l, &why);
    check_status(rc, take_statuses | STATUS(IPCR_LEASE_LOST), "next_kept");
    if (rc != IPCR_OK)
        return;
    check_lease(q, &l);
    stage_hold(stage, handle, &l);
}

void take_operation(struct stage *stage, enum operation op, struct input *in)
{
    const uint32_t handle = take8(in) % HANDLES;
    struct ipcr_queue *q = stage_queue(stage, handle);
    if (q == NULL)
        return;
    const uint8_t how = take8(in);
    watch_begin(q->segment, q, WATCH_TAKING);
    switch (op) {
    case OP_LEASE:
        lease(stage, q, handle, how % 8 * IPCR_TIME_UNIT_NS);
        break;
    case OP_GET:
        get(stage, q, handle, how * UINT64_C(33));
        break;
    case OP_LEASE_MANY:
        lease_many(stage, q, handle, take16(in) % MOST_ROOM, how);
        break;
    case OP_NEXT_KEPT:
        next_kept(stage, q, handle, how < 0x80 ? 0 : watch_near(how & 0x7f));
        break;
    case OP_WAIT:
        check_status(ipcr_queue_wait_for_message(q, ipcr_os_now_ns() + how % 4 * IPCR_SLICE_NS), take_statuses,
                     "wait_for_message");
        break;
    case OP_SPIN:
        (void)ipcr_queue_spin_for_message(q);
        break;
    default:
        get_into(stage, q, handle, op, how);
    }
}

/* operations_subscribe.c - what subscribers and observers do: join, receive, lend, wait.  What a call says that there
 * is, is read to its last byte: AddressSanitizer knows whether it was the core's to give. */
#include "kernel.h"
#include "target.h"
#include "watch.h"

#include <stdlib.h>

enum { MOST_MESSAGES = 8, MOST_ROOM = 1 << 14 };
#define LENGTH_OF(result) ((uint64_t)(result) & ((UINT64_C(1) << IPCR_RESULT_ENCODING_SHIFT) - 1))

static const uint64_t recv_statuses = STATUS(IPCR_EMPTY) | STATUS(IPCR_END_OF_CHANNEL) | STATUS(IPCR_LAGGED_OUT) |
                                      STATUS(IPCR_AGAIN) | STATUS(IPCR_CORRUPT) | STATUS(IPCR_LENT) |
                                      STATUS(IPCR_CLOSED);

static char *memory(uint64_t room) /* of just the size that is promised */
{
    char *out = malloc(room == 0 ? 1 : room);
    if (out == NULL)
        violation("the fuzzer itself has no memory", room);
    return out;
}

/* What came with the message received last. */
static void check_last(const struct ipcr_subscriber *s)
{
    const char *name;
    const int32_t length = ipcr_subscriber_last_topic(s, &name);
    if (length > (int32_t)IPCR_MOST_TOPIC)
        violation("a topic that is longer than any", (uint64_t)length);
    if (length > 0)
        touch(name, (uint64_t)length);
    (void)ipcr_subscriber_last_sequence(s);
    (void)ipcr_subscriber_last_lost(s);
    (void)ipcr_subscriber_lost(s);
}

/* A result of who has room for so much. */
static void check_result(const struct ipcr_subscriber *s, const char *out, uint64_t room, int64_t result)
{
    check_status(result, recv_statuses, "a receive");
    if (result < 0)
        return;
    const uint64_t length = LENGTH_OF(result);
    if (length > s->capacity)
        violation("a message that is larger than its ring", length);
    if (((result & IPCR_RESULT_LENT) != 0) != (length > room))
        violation("a message that was copied and had no room, or was not and had", length);
    if (length > room)
        return;
    touch(out, length);
    check_last(s);
}

static void recv_into(struct ipcr_subscriber *s, uint8_t how)
{
    struct ipcr_subscriber_inbox *inbox = malloc(sizeof *inbox);
    if (inbox == NULL)
        violation("the fuzzer itself has no memory", sizeof *inbox);
    inbox->subscriber = s;
    const int64_t result = how % 2 == 0 ? ipcr_subscriber_recv_into(inbox) : ipcr_subscriber_try_recv_into(inbox);
    check_result(s, inbox->bytes, IPCR_SMALL, result);
    free(inbox);
}

static void copy(struct ipcr_subscriber *s, uint64_t room)
{
    char *out = memory(room);
    check_result(s, out, room, ipcr_subscriber_copy(s, out, room));
    free(out);
}

static void recv_many(struct ipcr_subscriber *s, uint64_t room, uint8_t how)
{
    int64_t results[MOST_MESSAGES];
    uint64_t sequences[MOST_MESSAGES], lost[MOST_MESSAGES], used = 0;
    const uint64_t most = how % MOST_MESSAGES + 1u;
    char *out = memory(room);
    const int64_t n = ipcr_subscriber_recv_many(s, out, room, results, sequences, lost, most);
    check_status(n, recv_statuses, "recv_many");
    if (n > (int64_t)most)
        violation("more than was asked for", (uint64_t)n);
    for (int64_t i = 0; i < n; i++)
        used += LENGTH_OF(results[i]);
    if (used > room)
        violation("more than there was room for", used);
    touch(out, used);
    free(out);
    if (n <= 0)
        return;
    const uint64_t taken = how / 8 % 4 == 0 ? (uint64_t)n : how / 8 % 4 == 1 ? 0 : ((uint64_t)n + 1) / 2;
    const uint64_t last = taken == 0 ? 0 : taken - 1;
    watch_subscribe(s);
    check_status(ipcr_subscriber_settle(s, taken, sequences[last] + 1, lost[last]), recv_statuses, "settle");
}

static void peek(struct ipcr_subscriber *s)
{
    const int64_t result = ipcr_subscriber_peek(s);
    check_status(result, recv_statuses | STATUS(IPCR_WRONG_SIDE), "peek");
    if (result < 0)
        return;
    touch(ipcr_subscriber_lent(s), LENGTH_OF(result)); /* as a view lends it */
    check_last(s);
}

/* A few slices, then it is given up. */
static void wait_for_message(struct ipcr_subscriber *s, uint8_t how)
{
    static const uint64_t statuses = STATUS(IPCR_EMPTY) | STATUS(IPCR_AGAIN) | STATUS(IPCR_PEER_DIED) |
                                     STATUS(IPCR_CLOSED);
    const uint64_t deadline = ipcr_os_now_ns() + how % 8 * (IPCR_SLICE_NS / 2);
    int rc = ipcr_subscriber_wait(s, deadline, 0);
    for (int slices = how / 64; slices > 0 && rc == IPCR_AGAIN; slices--)
        rc = ipcr_subscriber_wait(s, deadline, 1);
    check_status(rc, statuses, "subscriber_wait");
    if (rc == IPCR_AGAIN)
        ipcr_subscriber_stop_waiting(s);
}

void subscribe_operation(struct stage *stage, enum operation op, struct input *in)
{
    const uint32_t handle = take8(in) % SUBSCRIBERS;
    const uint8_t how = take8(in);
    if (op == OP_SUBSCRIBE) {
        stage_subscribe(stage, handle, how, (how & WANT_START) == IPCR_START_SEQUENCE ? take_value(in) : 0);
        return;
    }
    struct ipcr_subscriber *s = stage_subscriber(stage, handle);
    if (s == NULL)
        return;
    watch_subscribe(s);
    switch (op) {
    case OP_RECV:
        recv_into(s, how);
        break;
    case OP_COPY:
        copy(s, how * UINT64_C(67));
        break;
    case OP_RECV_MANY:
        recv_many(s, take16(in) % MOST_ROOM, how);
        break;
    case OP_PEEK:
        peek(s);
        break;
    case OP_RELEASE:
        check_status(how % 4 != 0 ? ipcr_subscriber_release(s) : ipcr_subscriber_put_back(s),
                     STATUS(IPCR_NOTHING_LENT) | STATUS(IPCR_CLOSED), "release");
        break;
    case OP_WAIT:
        wait_for_message(s, how);
        break;
    default:
        check_status(ipcr_subscriber_look_around(s), recv_statuses | STATUS(IPCR_PEER_DIED), "subscriber_look_around");
    }
}

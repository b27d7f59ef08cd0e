/* operations_receive.c - every call of receiving.c and the receiver's half of parts.c.  What a call says that there
 * is, is read to its last byte: AddressSanitizer knows whether it was the core's to give. */
#include "kernel.h"
#include "target.h"
#include "transfer.h"
#include "watch.h"

#include <stdlib.h>

enum { MOST_MESSAGES = 16, MOST_SLICES = 3, MOST_READ = 1 << 14, MOST_ENCODING = 0xff };
#define LENGTH_OF(result) ((uint64_t)(result) & ((UINT64_C(1) << IPCR_RESULT_ENCODING_SHIFT) - 1))

static const uint64_t looked = STATUS(IPCR_EMPTY) | STATUS(IPCR_CORRUPT) | STATUS(IPCR_END_OF_CHANNEL) |
                               STATUS(IPCR_LENT) | STATUS(IPCR_IN_PARTS);
static const uint64_t waited = looked | STATUS(IPCR_PEER_DIED) | STATUS(IPCR_AGAIN);
static const uint64_t assembled = waited | STATUS(IPCR_GIVEN_UP) | STATUS(IPCR_TOO_LARGE);

static uint64_t run_start, run_length;

static uint64_t deadline_of(struct input *in)
{
    return ipcr_os_now_ns() + take8(in) % 4 * IPCR_SLICE_NS;
}

#define SLICES(e, rc, call)                                                    \
    do {                                                                       \
        int resume = 0;                                                        \
        do {                                                                   \
            watch_begin(e);                                                    \
            (rc) = (call);                                                     \
        } while ((rc) == IPCR_AGAIN && resume++ < MOST_SLICES);                \
        if ((rc) == IPCR_AGAIN)                                                \
            ipcr_stop_waiting(e);                                              \
    } while (0)

static void read_lent(struct ipcr_end *e, uint64_t length)
{
    if (length > ipcr_max_length(e->reader.capacity))
        violation("a message that is larger than the ring", length);
    touch(ipcr_lent(e), length);
}

static void check_received(struct ipcr_end *e, int64_t result, uint64_t allowed, const char *out)
{
    check_status(result, allowed, "a receive");
    if (result < 0)
        return;
    if ((result & IPCR_RESULT_LENT) != 0)
        read_lent(e, LENGTH_OF(result));
    else if (LENGTH_OF(result) > IPCR_SMALL)
        violation("more than was asked for", LENGTH_OF(result));
    else
        touch(out, LENGTH_OF(result));
}

/* Memory of just the size that is promised. */
static void recv_many(struct ipcr_end *e, struct input *in)
{
    const uint64_t room = take16(in) % MOST_READ, most = take8(in) % MOST_MESSAGES;
    const bool take_raw = take8(in) % 2 != 0;
    char *out = malloc(room + 1);
    int64_t *results = malloc((most + 1) * sizeof *results);
    if (out == NULL || results == NULL)
        violation("the fuzzer itself has no memory", room);
    const int64_t done = ipcr_recv_many(e, out, room, results, most, take_raw, &run_start);
    check_status(done, looked, "recv_many");
    uint64_t used = 0;
    for (int64_t i = 0; i < done; i++)
        used += LENGTH_OF(results[i]);
    if (done > (int64_t)most || used > room)
        violation("more than was asked for", used);
    touch(out, used);
    run_length = done > 0 ? (uint64_t)done : 0;
    free(out);
    free(results);
}

static void read_in_place(struct ipcr_end *e, struct input *in)
{
    const char *payload = NULL;
    int64_t result = ipcr_reading_begin(e, &payload);
    check_status(result, looked, "reading_begin");
    if (result < 0)
        return;
    for (int more = take8(in) % 8; more >= 0 && result >= 0; more--) {
        touch(payload, LENGTH_OF(result));
        if (more > 0)
            result = ipcr_reading_next(e, &payload);
    }
    check_status(result, looked, "reading_next");
    ipcr_reading_end(e, result >= 0 && take8(in) % 2 != 0);
}

static void begin_parts(struct ipcr_end *e)
{
    const int64_t result = ipcr_parts_begin(e);
    check_status(result, assembled, "parts_begin");
    if (result >= 0 && LENGTH_OF(result) >= IPCR_MOST_IN_PARTS)
        violation("a message of absurd length", LENGTH_OF(result));
}

static void read_parts(struct ipcr_end *e, struct input *in)
{
    const uint64_t from = ipcr_parts_done(e), wanted = take16(in), deadline = deadline_of(in);
    char *out = take8(in) % 4 == 0 ? NULL : malloc(wanted + 1);
    int rc;
    SLICES(e, rc, ipcr_parts_read(e, out, from, from + wanted, deadline, resume));
    check_status(rc, assembled, "parts_read");
    if (out != NULL && rc == IPCR_OK)
        touch(out, wanted);
    free(out);
}

static void wait_to_receive(struct ipcr_end *e, enum operation op, struct input *in)
{
    static char out[IPCR_SMALL];
    const uint64_t deadline = deadline_of(in);
    int64_t rc;
    if (op == OP_RECV_WAIT) {
        SLICES(e, rc, ipcr_recv_wait(e, out, deadline, resume));
        check_received(e, rc, waited, out);
    } else {
        SLICES(e, rc, ipcr_data_wait(e, deadline, resume));
        check_status(rc, waited, "data_wait");
    }
}

static void peek(struct ipcr_end *e)
{
    const int64_t result = ipcr_peek(e);
    check_status(result, looked, "peek");
    if (result >= 0)
        read_lent(e, LENGTH_OF(result));
}

/* After recv_many: those that were decoded are taken. */
static void skip(struct ipcr_end *e)
{
    watch_begin(e);
    check_status(ipcr_skip(e, run_start, run_length), looked | STATUS(IPCR_BUSY), "skip");
    run_length = 0;
}

void receive_operation(struct stage *stage, enum operation op, struct input *in)
{
    static struct ipcr_inbox inbox;
    struct ipcr_end *e = stage_end(stage, IPCR_RECEIVER);
    if (e == NULL)
        return;
    inbox.end = e;
    watch_begin(e);
    switch (op) {
    case OP_RECV:
        check_received(e, ipcr_try_recv_into(&inbox), looked, inbox.bytes);
        break;
    case OP_RECV_SPIN:
        check_received(e, ipcr_recv_into(&inbox), looked, inbox.bytes);
        break;
    case OP_RECV_MANY:
        recv_many(e, in);
        if (take8(in) % 2 != 0)
            skip(e);
        break;
    case OP_READING:
        read_in_place(e, in);
        break;
    case OP_PARTS_BEGIN:
        begin_parts(e);
        break;
    case OP_PARTS_READ:
        read_parts(e, in);
        break;
    case OP_PEEK:
        peek(e);
        break;
    case OP_RELEASE:
        check_status(ipcr_release(e), STATUS(IPCR_NOTHING_LENT), "release");
        break;
    case OP_SPIN:
        ipcr_spin_for_data(e);
        break;
    default:
        wait_to_receive(e, op, in);
    }
}

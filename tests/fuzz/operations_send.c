/* operations_send.c - every call of sending.c and the sender's half of parts.c. */
#include "kernel.h"
#include "target.h"
#include "transfer.h"
#include "watch.h"

enum { MOST_PIECES = 5, MOST_MESSAGES = 12, MOST_SLICES = 3, FILLER = 1 << 17 };

static const uint64_t tried = STATUS(IPCR_FULL) | STATUS(IPCR_TOO_LARGE) | STATUS(IPCR_CORRUPT) |
                              STATUS(IPCR_END_OF_CHANNEL) | STATUS(IPCR_LENT);
static const uint64_t waited = tried | STATUS(IPCR_PEER_DIED) | STATUS(IPCR_AGAIN);

static const char filler[FILLER]; /* what is sent */

/* Lengths up to a bit more than twice the largest ring. */
static uint64_t length_of(struct input *in)
{
    const uint16_t word = take16(in);
    return word & 0x8000 ? word & 0x7fff : word & 0x1ff;
}

static uint64_t deadline_of(struct input *in)
{
    return ipcr_os_now_ns() + take8(in) % 4 * IPCR_SLICE_NS;
}

static uint64_t pieces_of(struct input *in, struct ipcr_piece *pieces)
{
    const uint64_t count = take8(in) % MOST_PIECES + 1;
    for (uint64_t i = 0; i < count; i++)
        pieces[i] = (struct ipcr_piece){ .data = filler, .length = length_of(in) };
    return count;
}

/* The slices of one wait; `given up` after some. */
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

static int64_t send_many(struct ipcr_end *e, struct input *in)
{
    uint64_t lengths[MOST_MESSAGES * 3], counts[MOST_MESSAGES], infos[MOST_MESSAGES], pieces = 0;
    const uint64_t messages = take8(in) % MOST_MESSAGES + 1;
    for (uint64_t i = 0; i < messages; i++) {
        counts[i] = take8(in) % 3 + 1;
        infos[i] = IPCR_INFO(i, take8(in) % 4);
        for (uint64_t n = 0; n < counts[i]; n++)
            lengths[pieces++] = length_of(in) % (FILLER / (MOST_MESSAGES * 3));
    }
    return ipcr_send_many(e, filler, lengths, counts, infos, messages);
}

static int batch(struct ipcr_end *e, struct input *in)
{
    int rc = ipcr_batch_begin(e);
    if (rc != IPCR_OK)
        return rc;
    for (int i = take8(in) % 8; i >= 0 && rc == IPCR_OK; i--)
        rc = ipcr_batch_add(e, filler, length_of(in), IPCR_INFO(i, IPCR_BYTES));
    ipcr_batch_end(e);
    return rc;
}

static int claim(struct ipcr_end *e, struct input *in)
{
    const uint64_t length = length_of(in);
    const int rc = ipcr_claim(e, length);
    if (rc == IPCR_OK)
        memset(ipcr_lent(e), 'c', length);
    return rc;
}

static void send_pieces(struct ipcr_end *e, enum operation op, struct input *in)
{
    struct ipcr_piece pieces[MOST_PIECES];
    const uint64_t count = pieces_of(in, pieces), info = IPCR_INFO(1, take8(in));
    if (op == OP_SEND_PARTS) {
        const uint64_t deadline = deadline_of(in);
        int rc;
        SLICES(e, rc, ipcr_send_parts_wait(e, pieces, count, info, deadline, resume));
        check_status(rc, waited, "send_parts_wait");
    } else if (take8(in) % 2 == 0) {
        check_status(ipcr_send_pieces(e, pieces, count, info), tried, "send_pieces");
    } else {
        const uint64_t deadline = deadline_of(in);
        int rc;
        SLICES(e, rc, ipcr_send_pieces_wait(e, pieces, count, info, deadline, resume));
        check_status(rc, waited, "send_pieces_wait");
    }
}

static void wait_to_send(struct ipcr_end *e, enum operation op, struct input *in)
{
    const uint64_t length = length_of(in), deadline = deadline_of(in);
    int rc;
    if (op == OP_SEND_WAIT)
        SLICES(e, rc, ipcr_send_wait(e, filler, length, 0, deadline, resume));
    else if (op == OP_ROOM)
        SLICES(e, rc, ipcr_room_wait(e, length, deadline, resume));
    else
        SLICES(e, rc, ipcr_flush_wait(e, deadline, resume));
    check_status(rc, waited, "a wait of the sender");
}

void send_operation(struct stage *stage, enum operation op, struct input *in)
{
    struct ipcr_end *e = stage_end(stage, IPCR_SENDER);
    if (e == NULL)
        return;
    watch_begin(e);
    switch (op) {
    case OP_SEND:
        check_status(ipcr_send_bytes(e, filler, length_of(in)), tried, "send_bytes");
        break;
    case OP_SEND_PIECES:
    case OP_SEND_PARTS:
        send_pieces(e, op, in);
        break;
    case OP_SEND_MANY:
        check_status(send_many(e, in), tried, "send_many");
        break;
    case OP_BATCH:
        check_status(batch(e, in), tried, "a batch");
        break;
    case OP_CLAIM:
        check_status(claim(e, in), tried, "claim");
        break;
    case OP_COMMIT:
        check_status(ipcr_commit(e, length_of(in), IPCR_INFO(2, take8(in))),
                     STATUS(IPCR_NOTHING_LENT) | STATUS(IPCR_TOO_LARGE) | STATUS(IPCR_CORRUPT), "commit");
        break;
    case OP_ABORT:
        check_status(ipcr_abort(e), STATUS(IPCR_NOTHING_LENT), "abort");
        break;
    default:
        wait_to_send(e, op, in);
    }
}

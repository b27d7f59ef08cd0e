/* operations_put.c - what producers do: put, take lanes, wait for room and for the end of a message. */
#include "kernel.h"
#include "peer.h"
#include "target.h"
#include "watch.h"

enum { MOST_MESSAGES = 6, MOST_PIECES_HERE = 3, MOST_LENGTH = 18000 };

static const char filler[1 << 16];

static const uint64_t put_statuses = STATUS(IPCR_FULL) | STATUS(IPCR_NOT_TAKEN) | STATUS(IPCR_TOO_LARGE) |
                                     STATUS(IPCR_SHUT_DOWN) | STATUS(IPCR_CORRUPT) | STATUS(IPCR_CLOSED);
static const uint64_t wait_statuses = STATUS(IPCR_AGAIN) | STATUS(IPCR_CORRUPT) | STATUS(IPCR_CLOSED);

static int take_lane(struct ipcr_queue *q, bool may_allocate)
{
    watch_begin(q->segment, q, WATCH_ADOPTING);
    const int rc = ipcr_queue_take_lane(q, may_allocate);
    check_status(rc, STATUS(IPCR_TAKEN) | STATUS(IPCR_NOT_FOUND) | STATUS(IPCR_CORRUPT) | STATUS(IPCR_AGAIN) |
                         STATUS(IPCR_CLOSED), "take_lane");
    return rc;
}

static int64_t put_many(struct ipcr_queue *q, uint64_t count, uint64_t length, uint64_t ttl_ns, uint64_t *id)
{
    uint64_t lengths[MOST_MESSAGES], infos[MOST_MESSAGES], ids[MOST_MESSAGES] = { 0 };
    for (uint64_t i = 0; i < count; i++) {
        lengths[i] = length / (i + 1);
        infos[i] = IPCR_INFO(i, i % 4);
    }
    const int64_t done = ipcr_queue_put_many(q, filler, lengths, infos, count, ttl_ns, ids);
    if (done > (int64_t)count)
        violation("more than was given", (uint64_t)done);
    *id = done > 0 ? ids[done - 1] : 0;
    return done;
}

static int64_t put_pieces(struct ipcr_queue *q, uint64_t count, uint64_t length, uint64_t ttl_ns, uint64_t *id)
{
    struct ipcr_piece pieces[MOST_PIECES_HERE];
    struct ipcr_put put = { .info = IPCR_INFO(9, IPCR_PICKLE_BUFFERS), .ttl_ns = ttl_ns };
    for (uint64_t i = 0; i < count; i++)
        pieces[i] = (struct ipcr_piece){ .data = filler, .length = length / (i + 1) };
    const int rc = ipcr_queue_put_pieces(q, pieces, count, &put);
    *id = put.id;
    return rc;
}

static int64_t put_once(struct ipcr_queue *q, enum operation op, uint8_t count, uint64_t length, uint64_t ttl_ns,
                        uint64_t *id)
{
    watch_begin(q->segment, q, WATCH_PUTTING);
    if (op == OP_PUT_MANY)
        return put_many(q, count % MOST_MESSAGES + 1u, length, ttl_ns, id);
    if (op == OP_PUT_PIECES)
        return put_pieces(q, count % MOST_PIECES_HERE + 1u, length, ttl_ns, id);
    const int64_t rc = ipcr_queue_put_one(q, filler, length, IPCR_INFO(1, IPCR_BYTES), ttl_ns);
    *id = (uint64_t)rc;
    return rc;
}

/* As the binding does: a lane when there is none. */
static void put(struct stage *stage, struct ipcr_queue *q, uint32_t handle, enum operation op, struct input *in)
{
    const uint64_t length = take16(in) % MOST_LENGTH;
    const uint8_t count = take8(in), ttl = count / 16;
    const uint64_t ttl_ns = ttl < 12 ? 0 : (ttl - 11u) * 3 * IPCR_TIME_UNIT_NS;
    uint64_t id = 0;
    int64_t rc = put_once(q, op, count, length, ttl_ns, &id);
    if (rc == IPCR_NOT_TAKEN && take_lane(q, true) == IPCR_OK)
        rc = put_once(q, op, count, length, ttl_ns, &id);
    if (op != OP_PUT || q->segment->start_position == 0) /* else, as in tests only, an id may be negative as a status is */
        check_status(rc, put_statuses, "a put");
    if (rc >= 0)
        stage->last_id[handle] = id;
}

void put_operation(struct stage *stage, enum operation op, struct input *in)
{
    const uint32_t handle = take8(in) % HANDLES;
    struct ipcr_queue *q = stage_queue(stage, handle);
    if (q == NULL)
        return;
    const uint8_t how = op > OP_PUT_MANY ? take8(in) : 0;
    uint64_t id = stage->last_id[handle] - how % 16 * (uint64_t)q->segment->lanes;
    if (how >= 0xf0)
        id = watch_near(take8(in));
    watch_begin(q->segment, q, WATCH_PUTTING);
    switch (op) {
    case OP_TAKE_LANE:
        take_lane(q, how % 2 != 0);
        break;
    case OP_ROOM:
        check_status(ipcr_queue_wait_for_room(q, how * UINT64_C(37), ipcr_os_now_ns() + how % 4 * IPCR_SLICE_NS),
                     wait_statuses, "wait_for_room");
        break;
    case OP_OUTCOME:
        check_status(ipcr_queue_outcome(q, id), wait_statuses | STATUS(IPCR_NOT_FOUND), "outcome");
        watch_begin(q->segment, q, WATCH_PUTTING);
        check_status(ipcr_queue_wait_for_outcome(q, id, ipcr_os_now_ns() + how % 4 * IPCR_SLICE_NS),
                     wait_statuses | STATUS(IPCR_NOT_FOUND), "wait_for_outcome");
        break;
    default:
        put(stage, q, handle, op, in);
    }
}

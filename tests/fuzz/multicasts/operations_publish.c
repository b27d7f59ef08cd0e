/* operations_publish.c - what publishers do: messages, claims, waits for room. */
#include "kernel.h"
#include "target.h"
#include "watch.h"

#include <string.h>

enum { MOST_MESSAGES = 6, MOST_PIECES_HERE = 3, MOST_LENGTH = 18000 };

static const char filler[1 << 16];

static const uint64_t publish_statuses = STATUS(IPCR_FULL) | STATUS(IPCR_TOO_LARGE) | STATUS(IPCR_LENT) |
                                         STATUS(IPCR_CORRUPT) | STATUS(IPCR_CLOSED);

/* How many bytes, and what else: bits 0-2 the topic (5 and more: none), then how many pieces or messages, bit 7: an
 * encoding. */
struct wish {
    uint64_t length;
    uint8_t how;
};

static struct wish take_wish(struct input *in)
{
    const uint64_t length = take16(in) % MOST_LENGTH;
    return (struct wish){ .length = length, .how = take8(in) };
}

static const struct ipcr_topic *topic_of(struct wish w) { return w.how % 8 < TOPICS ? &topics[w.how % 8] : NULL; }
static uint64_t info_of(struct wish w) { return IPCR_INFO(0, w.how >= 0x80 ? IPCR_PICKLE_BUFFERS : IPCR_BYTES); }

static int64_t publish_pieces(struct ipcr_publisher *p, struct wish w)
{
    struct ipcr_piece pieces[MOST_PIECES_HERE];
    const uint64_t count = w.how / 8 % MOST_PIECES_HERE + 1u;
    for (uint64_t i = 0; i < count; i++)
        pieces[i] = (struct ipcr_piece){ .data = filler, .length = w.length / (i + 1) };
    return ipcr_publish(p, topic_of(w), pieces, count, info_of(w));
}

static int64_t publish_many(struct ipcr_publisher *p, struct wish w)
{
    uint64_t lengths[MOST_MESSAGES], infos[MOST_MESSAGES];
    const uint64_t count = w.how / 8 % MOST_MESSAGES + 1u;
    for (uint64_t i = 0; i < count; i++) {
        lengths[i] = w.length / (i + 1) / 2;
        infos[i] = IPCR_INFO(0, i % 2 == 0 ? IPCR_BYTES : IPCR_ARRAY);
    }
    const int64_t done = ipcr_publish_many(p, topic_of(w), filler, lengths, infos, count);
    if (done > (int64_t)count)
        violation("more than was given", (uint64_t)done);
    return done;
}

static void claim(struct ipcr_publisher *p, struct wish w)
{
    const int rc = ipcr_publisher_claim(p, topic_of(w), w.length);
    check_status(rc, publish_statuses, "claim");
    if (rc != IPCR_OK)
        return;
    watch_claim(p);
    if (w.length > 0)
        memset(ipcr_publisher_lent(p), w.how, w.length);
}

static void commit(struct ipcr_publisher *p, struct wish w)
{
    check_status(ipcr_publisher_commit(p, w.length, info_of(w)), publish_statuses | STATUS(IPCR_NOTHING_LENT), "commit");
}

/* A few slices, then it is given up. */
static void wait_for_room(struct ipcr_publisher *p, uint8_t how)
{
    const uint64_t deadline = ipcr_os_now_ns() + how % 8 * (IPCR_SLICE_NS / 2);
    int rc = ipcr_publisher_wait(p, deadline, 0);
    for (int slices = how / 64; slices > 0 && rc == IPCR_AGAIN; slices--)
        rc = ipcr_publisher_wait(p, deadline, 1);
    check_status(rc, STATUS(IPCR_FULL) | STATUS(IPCR_AGAIN) | STATUS(IPCR_CLOSED), "publisher_wait");
    if (rc == IPCR_AGAIN)
        ipcr_publisher_stop_waiting(p);
}

static void look_around(struct ipcr_publisher *p)
{
    struct ipcr_laggard laggard;
    check_status(ipcr_publisher_look_around(p), publish_statuses, "publisher_look_around");
    watch_publish(p);
    ipcr_publisher_laggard(p, &laggard);
    touch(&laggard, sizeof laggard);
    if (laggard.subscriber >= IPCR_MOST_SUBSCRIBERS && laggard.subscriber != IPCR_NO_SUBSCRIBER)
        violation("a laggard that can't be one", laggard.subscriber);
}

static void with_wish(struct ipcr_publisher *p, enum operation op, struct wish w)
{
    switch (op) {
    case OP_PUBLISH:
        check_status(ipcr_publish_bytes(p, filler, w.length), publish_statuses, "publish_bytes");
        break;
    case OP_PUBLISH_PIECES:
        check_status(publish_pieces(p, w), publish_statuses, "publish");
        break;
    case OP_PUBLISH_MANY:
        check_status(publish_many(p, w), publish_statuses, "publish_many");
        break;
    case OP_CLAIM:
        claim(p, w);
        break;
    default:
        commit(p, w);
    }
}

void publish_operation(struct stage *stage, enum operation op, struct input *in)
{
    struct ipcr_publisher *p = stage_publisher(stage, take8(in) % PUBLISHERS);
    if (p == NULL)
        return;
    watch_publish(p);
    switch (op) {
    case OP_ABORT:
        check_status(ipcr_publisher_abort(p), STATUS(IPCR_NOTHING_LENT) | STATUS(IPCR_CLOSED), "abort");
        break;
    case OP_ROOM:
        wait_for_room(p, take8(in));
        break;
    case OP_PUBLISHER_LOOKS:
        look_around(p);
        break;
    default:
        with_wish(p, op, take_wish(in));
    }
}

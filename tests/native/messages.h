/* messages.h - ends with messages in them: taken, sent and received until it works, whole or in parts. */
#ifndef IPCR_TESTS_MESSAGES_H
#define IPCR_TESTS_MESSAGES_H

#include "batches.h"
#include "check.h"
#include "ends.h"
#include "transfer.h"

#define LENGTH_OF(result) ((uint64_t)(result) & ((UINT64_C(1) << IPCR_RESULT_ENCODING_SHIFT) - 1))
#define ENCODING_OF(result) ((uint32_t)((uint64_t)(result) >> IPCR_RESULT_ENCODING_SHIFT) & 0xffu)
#define SKEW_OF(result) (((uint64_t)(result) >> IPCR_RESULT_SKEW_SHIFT & 7) * 8)

enum {
    SMALLEST = 4096, /* bytes of data that a ring can have */
    MOST_IN_PART = SMALLEST / 4 - IPCR_RECORD_HEADER,
    FIRST_PART = MOST_IN_PART - IPCR_PART_PREFIX, /* bytes of the message in its first part */
};

/* A pair of ends on one mapping: the segment goes with them. */
struct ends {
    struct ipcr_segment *segment;
    struct ipcr_end *w, *r;
};

static inline struct ipcr_end *taken(struct ipcr_segment *s, uint32_t side)
{
    struct ipcr_end *e = NULL;
    uint32_t by;
    CHECK_IS(ipcr_end_open(s, side, IPCR_SPIN_AUTO, &e), IPCR_OK);
    CHECK_IS(ipcr_end_take(e, &by), IPCR_OK);
    return e;
}

static inline void finish(struct ipcr_end *e, bool clean)
{
    ipcr_end_close(e, clean);
    ipcr_end_free(e);
}

/* As if by a crash, and a successor. */
static inline void replace(struct ipcr_segment *s, struct ipcr_end **e)
{
    const uint32_t side = (*e)->side;
    finish(*e, false);
    *e = taken(s, side);
}

static inline struct ends ends_at(uint64_t capacity, uint64_t start_position)
{
    struct ends p = { .segment = anonymous(capacity, start_position) };
    p.w = taken(p.segment, IPCR_SENDER);
    p.r = taken(p.segment, IPCR_RECEIVER);
    return p;
}

static inline void ends_finish(struct ends *p)
{
    finish(p->w, true);
    finish(p->r, true);
    ipcr_segment_release(p->segment);
}

static inline uint64_t position_of(const struct ipcr_segment *s, uint32_t side)
{
    return load_acquire64(&s->header->at[side].position);
}

/* --- until it works, or the deadline -------------------------------------------------------------------------- */

static inline int send_until(struct ipcr_end *e, const struct ipcr_piece *pieces, uint64_t count, uint64_t info,
                             uint64_t deadline_ns)
{
    int rc = ipcr_send_pieces_wait(e, pieces, count, info, deadline_ns, 0);
    while (rc == IPCR_AGAIN)
        rc = ipcr_send_pieces_wait(e, pieces, count, info, deadline_ns, 1);
    return rc;
}

static inline int send_parts_until(struct ipcr_end *e, const struct ipcr_piece *pieces, uint64_t count, uint64_t info,
                                   uint64_t deadline_ns)
{
    int rc = ipcr_send_parts_wait(e, pieces, count, info, deadline_ns, 0);
    while (rc == IPCR_AGAIN)
        rc = ipcr_send_parts_wait(e, pieces, count, info, deadline_ns, 1);
    return rc;
}

static inline int data_until(struct ipcr_end *e, uint64_t deadline_ns)
{
    int rc = ipcr_data_wait(e, deadline_ns, 0);
    while (rc == IPCR_AGAIN)
        rc = ipcr_data_wait(e, deadline_ns, 1);
    return rc;
}

static inline int read_until(struct ipcr_end *e, void *out, uint64_t from, uint64_t upto, uint64_t deadline_ns)
{
    int rc = ipcr_parts_read(e, out, from, upto, deadline_ns, 0);
    while (rc == IPCR_AGAIN)
        rc = ipcr_parts_read(e, out, from, upto, deadline_ns, 1);
    return rc;
}

/* The next message, whole or in parts, to out[room]: its length, or a status. */
static inline int64_t recv_any(struct ipcr_end *e, void *out, uint64_t room, uint64_t deadline_ns)
{
    int rc = data_until(e, deadline_ns);
    if (rc == IPCR_OK) {
        const int64_t length = (int64_t)LENGTH_OF(ipcr_peek(e));
        CHECK((uint64_t)length <= room);
        copy_out(out, (const uint8_t *)ipcr_lent(e), (uint64_t)length);
        CHECK_IS(ipcr_release(e), IPCR_OK);
        return length;
    }
    if (rc != IPCR_IN_PARTS)
        return rc;
    const int64_t result = ipcr_parts_begin(e);
    CHECK(result >= 0 && LENGTH_OF(result) <= room);
    rc = read_until(e, out, 0, LENGTH_OF(result), deadline_ns);
    return rc == IPCR_OK ? (int64_t)LENGTH_OF(result) : rc;
}

/* --- stamped messages of one piece ---------------------------------------------------------------------------- */

static inline int send_stamped(struct ipcr_end *e, uint64_t length, uint64_t seed)
{
    uint8_t *message = malloc(length + 1);
    CHECK(message != NULL);
    stamp(message, length, seed);
    const struct ipcr_piece piece = { .data = (const char *)message, .length = length };
    const int rc = length > e->writer.capacity / 4 ? send_parts_until(e, &piece, 1, 0, IPCR_FOREVER)
                                                   : send_until(e, &piece, 1, 0, IPCR_FOREVER);
    free(message);
    return rc;
}

static inline void check_receives_stamped(struct ipcr_end *e, uint64_t length, uint64_t seed)
{
    uint8_t *out = malloc(length + 1);
    CHECK(out != NULL);
    CHECK_IS(recv_any(e, out, length, IPCR_FOREVER), length);
    CHECK(is_stamped(out, length, seed));
    free(out);
}

#endif

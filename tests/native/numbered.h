/* numbered.h - messages that know their number, whole and in parts, of few and of many pieces; and receivers that
 * read them in one step or in many.
 */
#ifndef IPCR_TESTS_NUMBERED_H
#define IPCR_TESTS_NUMBERED_H

#include "messages.h"

enum { MOST_PIECES = 40, MOST_BYTES = 16 * SMALLEST };

struct shape {
    uint64_t count;
    uint64_t lengths[MOST_PIECES];
    bool in_parts;
};

static inline void share_out(struct shape *s, uint64_t total, uint64_t *random)
{
    for (uint64_t i = 0; i + 1 < s->count; i++) {
        const uint64_t most = total / 3 + 1;
        s->lengths[i] = random_next(random) % 3 == 0 ? 0 : random_next(random) % most;
        total -= s->lengths[i];
    }
    s->lengths[s->count - 1] = total;
}

static inline struct shape shape_of(uint64_t number)
{
    uint64_t random = mixed(number ^ UINT64_C(0xabcdef));
    struct shape s = { .count = 1, .in_parts = number % 4 != 0 };
    switch (number % 8) {
    case 0: /* whole, of one piece or of several */
        s.lengths[0] = 8 + random_next(&random) % 600;
        break;
    case 4:
        s.count = 2 + random_next(&random) % 4;
        share_out(&s, random_next(&random) % 400, &random);
        break;
    case 1: /* around the boundaries of parts */
    case 5:
        s.lengths[0] = FIRST_PART + (1 + random_next(&random) % 10) * MOST_IN_PART + random_next(&random) % 17 - 8;
        break;
    case 2: /* the shortest */
        s.lengths[0] = SMALLEST / 4 + 1 + random_next(&random) % 9;
        break;
    case 3: /* many pieces, many of them empty */
        s.count = MOST_PIECES;
        share_out(&s, 4 * SMALLEST + random_next(&random) % SMALLEST, &random);
        break;
    default:
        s.count = 1 + random_next(&random) % 8;
        share_out(&s, 2 * SMALLEST + random_next(&random) % (8 * SMALLEST), &random);
    }
    return s;
}

static inline uint64_t info_of(uint64_t number)
{
    return IPCR_INFO(number, number % 8 == 0 ? IPCR_BYTES : IPCR_PICKLE_BUFFERS);
}

static inline int send_numbered(struct ipcr_end *w, uint64_t number, uint64_t deadline_ns)
{
    const struct shape s = shape_of(number);
    struct ipcr_piece pieces[MOST_PIECES];
    uint8_t *memory = malloc(MOST_BYTES), *at = memory;
    CHECK(memory != NULL);
    for (uint64_t i = 0; i < s.count; at += s.lengths[i++]) {
        CHECK(at + s.lengths[i] <= memory + MOST_BYTES);
        stamp(at, s.lengths[i], number * MOST_PIECES + i);
        pieces[i] = (struct ipcr_piece){ .data = s.lengths[i] == 0 ? NULL : (const char *)at, .length = s.lengths[i] };
    }
    const int rc = s.in_parts ? send_parts_until(w, pieces, s.count, info_of(number), deadline_ns)
                              : send_until(w, pieces, s.count, info_of(number), deadline_ns);
    free(memory);
    return rc;
}

/* Bytes [from, length) of the message, whose beginning is `skew` behind a multiple of 64. */
static inline void check_numbered(const uint8_t *message, uint64_t length, uint64_t skew, uint64_t number,
                                  uint64_t from)
{
    const struct shape s = shape_of(number);
    uint64_t at = 0;
    for (uint64_t i = 0; i < s.count; at += s.lengths[i++]) {
        if (i > 0)
            at = ipcr_align_data(at + skew) - skew;
        CHECK(at + s.lengths[i] <= length);
        CHECK(at < from || is_stamped(message + at, s.lengths[i], number * MOST_PIECES + i));
    }
    CHECK_IS(length, at);
}

/* How a receiver goes about it. */
struct manner {
    uint64_t random;
    uint64_t patience_ns; /* of each wait; 0: forever */
    bool skips;           /* some messages, or beginnings of them */
};

static inline uint64_t until(struct manner *m)
{
    return m->patience_ns == 0 ? IPCR_FOREVER : now_ns() + random_next(&m->random) % m->patience_ns;
}

static inline int read_numbered(struct ipcr_end *r, struct manner *m, uint64_t *number)
{
    static uint8_t memory[MOST_BYTES]; /* one receiver at a time */
    const int64_t result = ipcr_parts_begin(r);
    if (result < 0)
        return (int)result;
    const uint64_t length = LENGTH_OF(result), choice = random_next(&m->random);
    const uint64_t step = choice % 3 == 0 ? length : 1 + choice / 4 % 3000;
    const uint64_t from = !m->skips || choice % 5 > 1 ? 0 : choice % 5 == 0 ? length : choice / 8 % length;
    *number = IPCR_INFO_TYPE(ipcr_last_info(r));
    CHECK_IS(ENCODING_OF(result), IPCR_INFO_ENCODING(info_of(*number)));
    CHECK(length <= sizeof memory && ipcr_parts_done(r) == 0);
    for (uint64_t done = 0; done < length;) {
        const uint64_t end = done < from ? from : done + step < length ? done + step : length;
        const int rc = read_until(r, done < from ? NULL : memory + done, done, end, until(m));
        if (rc == IPCR_EMPTY) { /* what was read is not read again: go on behind it */
            done = ipcr_parts_done(r);
            continue;
        }
        if (rc != IPCR_OK)
            return rc;
        done = end;
    }
    check_numbered(memory, length, 0, *number, from);
    return IPCR_OK;
}

/* The next message, whole. */
static inline int recv_numbered(struct ipcr_end *r, struct manner *m, uint64_t *number)
{
    for (;;) {
        int rc = data_until(r, until(m));
        if (rc == IPCR_OK) {
            const int64_t result = ipcr_peek(r);
            CHECK(result >= 0);
            *number = IPCR_INFO_TYPE(ipcr_last_info(r));
            check_numbered((const uint8_t *)ipcr_lent(r), LENGTH_OF(result), SKEW_OF(result), *number, 0);
            CHECK_IS(ipcr_release(r), IPCR_OK);
            return IPCR_OK;
        }
        if (rc == IPCR_IN_PARTS)
            rc = read_numbered(r, m, number);
        if (rc != IPCR_EMPTY && rc != IPCR_GIVEN_UP)
            return rc;
    }
}

#endif

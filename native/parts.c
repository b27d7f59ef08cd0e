/* parts.c - see parts.h. */
#include "parts.h"
#include "calls.h"
#include "transfer.h"

/* Bytes moved before a call looks after signals and its deadline: a millisecond or two. */
#define IPCR_AT_ONCE (UINT64_C(8) << 20)

/* --- pieces --------------------------------------------------------------------------------------------------- */

uint64_t ipcr_pieces_length(const struct ipcr_piece *pieces, uint64_t count, uint64_t skew)
{
    uint64_t at = skew;
    for (uint64_t i = 0; i < count; i++)
        at = (i == 0 ? at : ipcr_align_data(at)) + pieces[i].length;
    return at - skew;
}

void ipcr_pieces_write(uint8_t *to, const struct ipcr_piece *pieces, uint64_t count, uint64_t skew)
{
    uint64_t end = skew;
    for (uint64_t i = 0; i < count; i++) {
        const uint64_t start = i == 0 ? end : ipcr_align_data(end);
        racy_write(to + (start - skew), pieces[i].data, pieces[i].length);
        end = start + pieces[i].length;
    }
}

void ipcr_pieces_copy(uint8_t *to, const struct ipcr_piece *pieces, uint64_t count, uint64_t skew, uint64_t from,
                      uint64_t n)
{
    uint64_t end = skew; /* of the piece; all in the same measure: bytes from the last aligned address on */
    const uint64_t first = skew + from, behind = first + n;
    for (uint64_t i = 0; i < count && end < behind; i++) {
        const uint64_t start = i == 0 ? end : ipcr_align_data(end);
        end = start + pieces[i].length;
        const uint64_t low = start > first ? start : first;
        const uint64_t high = end < behind ? end : behind;
        if (low < high)
            copy_in(to + (low - first), pieces[i].data + (low - start), high - low);
    }
}

/* --- out ------------------------------------------------------------------------------------------------------ */

struct outgoing {
    const struct ipcr_piece *pieces;
    uint64_t count;
    uint64_t info;
    uint64_t total;
};

/* A quarter of the ring at a time: the receiver copies one part while we write the next. */
static uint64_t part_length(const struct ipcr_end *e, const struct outgoing *out)
{
    const uint64_t most = e->writer.capacity / 4 - IPCR_RECORD_HEADER;
    const uint64_t left = out->total - e->departure.done + (e->departure.done == 0 ? IPCR_PART_PREFIX : 0);
    return left < most ? left : most;
}

static int send_part(struct ipcr_end *e, const struct outgoing *out)
{
    uint8_t *payload;
    int rc = ipcr_may_send(e);
    if (rc != IPCR_OK)
        return rc;
    const uint64_t length = part_length(e, out), done = e->departure.done;
    rc = ipcr_ring_claim(&e->writer, length, &payload);
    if (rc != IPCR_OK)
        return ipcr_checked(e, rc);
    const uint64_t prefix = done == 0 ? IPCR_PART_PREFIX : 0;
    copy_in(payload, &out->total, prefix);
    ipcr_pieces_copy(payload + prefix, out->pieces, out->count, 0, done, length - prefix);
    e->departure.done += length - prefix;
    ipcr_ring_stage_part(&e->writer, payload, length, out->info,
                         done == 0 ? IPCR_FIRST : e->departure.done < out->total ? IPCR_MIDDLE : IPCR_LAST);
    ipcr_publish(e);
    return IPCR_OK;
}

/* Released, but by whom?  A successor of the receiver that had the beginning throws the rest away. */
static int somebody_has_it(struct ipcr_end *e)
{
    const int rc = ipcr_everything_taken(e);
    if (rc != IPCR_OK || load_acquire64(&e->segment->header->marks[IPCR_RECEIVER].thrown_away) != e->writer.position)
        return rc;
    e->peer_pid = 0; /* whoever it was */
    return IPCR_PEER_DIED;
}

static int attempt_parts(struct ipcr_end *e, void *work)
{
    const struct outgoing *out = work;
    for (uint64_t moved = 0; e->departure.done < out->total;) {
        const uint64_t before = e->departure.done;
        const int rc = send_part(e, out);
        if (rc != IPCR_OK)
            return rc;
        moved += e->departure.done - before;
        if (moved >= IPCR_AT_ONCE)
            return IPCR_AGAIN;
    }
    return somebody_has_it(e);
}

static uint64_t aim_at_next_part(const struct ipcr_end *e, const void *work)
{
    const struct outgoing *out = work;
    return e->departure.done < out->total ? ipcr_aim_at_room(e, part_length(e, out)) : ipcr_aim_at_empty(e);
}

int ipcr_send_parts_wait(struct ipcr_end *e, const struct ipcr_piece *pieces, uint64_t count, uint64_t info,
                         uint64_t deadline_ns, int resume)
{
    struct outgoing out = { .pieces = pieces, .count = count, .info = info };
    const int rc = ipcr_enter_wait(e, resume);
    if (rc != IPCR_OK)
        return rc;
    out.total = ipcr_pieces_length(pieces, count, 0);
    if (out.total <= e->writer.capacity / 4) { /* not even two parts */
        ipcr_leave(e);
        return IPCR_TOO_LARGE;
    }
    if (!resume)
        e->departure = (struct ipcr_departure){ .done = 0 };
    struct ipcr_wish wish = { .end = e };
    return ipcr_wait_for(e, attempt_parts, &out, ipcr_reader_has_reached, &wish, aim_at_next_part, deadline_ns, resume);
}

/* --- in ------------------------------------------------------------------------------------------------------- */

/* A part whose message's beginning went with a dead receiver. */
static void throw_away(struct ipcr_end *e, const struct ipcr_record_view *view, enum ipcr_part part)
{
    const uint64_t behind = e->reader.position + ipcr_record_bytes(view->length);
    if (part == IPCR_LAST)
        store_release64(&e->reader.marks->thrown_away, behind); /* before the release that the sender waits for */
    ipcr_ring_consume_part(&e->reader, view->length, part);
    ipcr_release_space(e);
}

int ipcr_look_at_parts(struct ipcr_end *e, struct ipcr_record_view *view)
{
    if (e->assembling && e->assembly.at < e->assembly.length)
        return IPCR_IN_PARTS; /* in the middle of a part */
    const uint64_t start = e->reader.position;
    for (;;) {
        const uint32_t part = IPCR_INFO_PART(view->info);
        switch (part) {
        case IPCR_WHOLE:
            e->assembling = false;
            return IPCR_OK;
        case IPCR_FIRST:
            e->assembling = false;
            return IPCR_IN_PARTS;
        case IPCR_MIDDLE:
        case IPCR_LAST:
            break;
        default:
            return IPCR_CORRUPT;
        }
        if (e->assembling)
            return IPCR_IN_PARTS;
        if (e->reader.position != load_relaxed64(&e->reader.own->position))
            return IPCR_CORRUPT; /* behind a message that we have stepped over: no beginning went with anybody */
        if (e->reader.position - start >= e->reader.capacity)
            return IPCR_EMPTY; /* what was there when we came is gone; callers look after deadlines and signals */
        throw_away(e, view, part);
        if (ipcr_end_drained(e))
            return IPCR_END_OF_CHANNEL;
        const int rc = ipcr_look(e, view);
        if (rc != IPCR_OK)
            return rc;
    }
}

static int begin(struct ipcr_end *e, const struct ipcr_record_view *view)
{
    uint64_t total;
    if (view->length <= IPCR_PART_PREFIX)
        return IPCR_CORRUPT;
    copy_out(&total, view->payload, sizeof total);
    if (total <= view->length - IPCR_PART_PREFIX || total >= IPCR_MOST_IN_PARTS)
        return IPCR_CORRUPT;
    e->assembly = (struct ipcr_assembly){
        .total = total, .info = view->info, .length = view->length, .at = IPCR_PART_PREFIX, .part = IPCR_FIRST,
    };
    e->assembling = true;
    return IPCR_OK;
}

int64_t ipcr_parts_begin(struct ipcr_end *e)
{
    struct ipcr_record_view view;
    int rc = ipcr_enter(e);
    if (rc != IPCR_OK)
        return rc;
    rc = ipcr_next_message(e, &view);
    if (rc == IPCR_OK)
        rc = IPCR_GIVEN_UP; /* a whole message stands there now */
    if (rc == IPCR_IN_PARTS)
        rc = e->assembling ? IPCR_OK : ipcr_checked(e, begin(e, &view));
    const int64_t result = (int64_t)(e->assembly.total | (uint64_t)IPCR_INFO_ENCODING(e->assembly.info)
                                                             << IPCR_RESULT_ENCODING_SHIFT);
    ipcr_leave(e);
    return rc == IPCR_OK ? result : rc;
}

uint64_t ipcr_parts_done(const struct ipcr_end *e) { return e->assembling ? e->assembly.done : 0; }

/* The next part, checked: its length and kind are loaded once, and kept. */
static int next_part(struct ipcr_end *e)
{
    struct ipcr_record_view view;
    struct ipcr_assembly *a = &e->assembly;
    const int rc = ipcr_look(e, &view);
    if (rc != IPCR_OK)
        return rc;
    const uint32_t part = IPCR_INFO_PART(view.info);
    if (part == IPCR_WHOLE || part == IPCR_FIRST) {
        e->assembling = false;
        return IPCR_GIVEN_UP;
    }
    const uint64_t left = a->total - a->done;
    if (part > IPCR_LAST || view.length == 0 || view.length > left || (part == IPCR_LAST) != (view.length == left))
        return IPCR_CORRUPT;
    a->length = view.length;
    a->at = 0;
    a->part = part;
    return IPCR_OK;
}

struct incoming {
    char *out;
    uint64_t from;
    uint64_t upto;
};

static int attempt_read(struct ipcr_end *e, void *work)
{
    const struct incoming *in = work;
    struct ipcr_assembly *a = &e->assembly;
    for (uint64_t moved = 0; a->done < in->upto;) {
        if (moved >= IPCR_AT_ONCE)
            return IPCR_AGAIN;
        if (a->at == a->length) {
            const int rc = next_part(e);
            if (rc != IPCR_OK)
                return ipcr_checked(e, rc);
        }
        const uint64_t here = a->length - a->at, wanted = in->upto - a->done;
        const uint64_t n = here < wanted ? here : wanted;
        if (in->out != NULL)
            copy_out(in->out + (a->done - in->from),
                     e->reader.data + (e->reader.position & e->reader.mask) + IPCR_RECORD_HEADER + a->at, n);
        a->at += n;
        a->done += n;
        moved += n;
        if (a->at == a->length) {
            ipcr_ring_consume_part(&e->reader, a->length, a->part);
            ipcr_release_space(e);
        }
    }
    if (a->done == a->total)
        e->assembling = false;
    return IPCR_OK;
}

static uint64_t aim_at_data(const struct ipcr_end *e, const void *work)
{
    (void)work;
    return e->reader.position;
}

int ipcr_parts_read(struct ipcr_end *e, char *out, uint64_t from, uint64_t upto, uint64_t deadline_ns, int resume)
{
    int rc = ipcr_enter_wait(e, resume);
    if (rc != IPCR_OK)
        return rc;
    if (!e->assembling || from > e->assembly.done || upto > e->assembly.total) {
        rc = e->assembling ? IPCR_TOO_LARGE : IPCR_GIVEN_UP;
        ipcr_leave(e);
        return rc;
    }
    struct incoming in = { .out = out, .from = from, .upto = upto };
    struct ipcr_wish wish = { .end = e };
    return ipcr_wait_for(e, attempt_read, &in, ipcr_writer_has_moved, &wish, aim_at_data, deadline_ns, resume);
}

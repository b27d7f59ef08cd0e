/* receiving.c - messages out of a taken end: try, then wait.
 *
 * The try functions make no system call but the wake of a parked sender, and allocate nothing.
 */
#include "calls.h"
#include "parts.h"
#include "transfer.h"

/* Raw bytes are their length alone: the hottest callers compare that, and nothing in them is aligned. */
static inline int64_t result_of(const struct ipcr_end *e, const struct ipcr_record_view *view)
{
    const uint64_t encoding = IPCR_INFO_ENCODING(view->info);
    if (encoding == IPCR_BYTES)
        return (int64_t)view->length;
    const uint64_t skew = ipcr_skew_at(e->reader.position) / 8;
    return (int64_t)(view->length | encoding << IPCR_RESULT_ENCODING_SHIFT | skew << IPCR_RESULT_SKEW_SHIFT);
}

static inline void lend(struct ipcr_end *e, const struct ipcr_record_view *view)
{
    e->lent = true;
    e->lent_to = ipcr_this_thread();
    e->lent_payload = e->segment->data + (e->reader.position & e->reader.mask) + IPCR_RECORD_HEADER;
    e->lent_length = view->length;
}

static inline int64_t try_recv(struct ipcr_end *e, char *out)
{
    struct ipcr_record_view view;
    const int rc = ipcr_next_message(e, &view);
    if (rc != IPCR_OK)
        return rc;
    if (view.length > IPCR_SMALL) {
        lend(e, &view);
        return result_of(e, &view) | IPCR_RESULT_LENT;
    }
    const int64_t result = result_of(e, &view);
    copy_out(out, view.payload, view.length);
    ipcr_ring_consume(&e->reader, view.length);
    ipcr_release_space(e);
    ipcr_ring_prefetch_next(&e->reader);
    return result;
}

struct incoming {
    char *out;
    int64_t result;
};

static int attempt_recv(struct ipcr_end *e, void *work)
{
    struct incoming *in = work;
    in->result = try_recv(e, in->out);
    return in->result >= 0 ? IPCR_OK : (int)in->result;
}

static int attempt_data(struct ipcr_end *e, void *work)
{
    struct ipcr_record_view view;
    (void)work;
    return ipcr_next_message(e, &view);
}

static uint64_t aim_at_data(const struct ipcr_end *e, const void *work)
{
    (void)work;
    return e->reader.position;
}

int64_t ipcr_recv(struct ipcr_end *e, char *out)
{
    const int rc = ipcr_enter(e);
    if (rc != IPCR_OK)
        return rc;
    const int64_t result = try_recv(e, out);
    ipcr_leave(e);
    return result;
}

int64_t ipcr_try_recv_into(struct ipcr_inbox *inbox) { return ipcr_recv(inbox->end, inbox->bytes); }

/* What follows on a spin in vain, another look or a wait, doesn't spin again. */
static bool spin_for_data(struct ipcr_end *e)
{
    if (e->spun || !ipcr_may_spin(e))
        return false;
    const struct ipcr_wish wish = { .end = e, .position = e->reader.position };
    const bool found = ipcr_spin_until(&e->spin, ipcr_writer_has_moved, &wish, ipcr_os_now_ns() + IPCR_SLICE_NS);
    e->spun = !found;
    return found;
}

int64_t ipcr_recv_into(struct ipcr_inbox *inbox)
{
    struct ipcr_end *e = inbox->end;
    const int rc = ipcr_enter(e);
    if (rc != IPCR_OK)
        return rc;
    int64_t result = try_recv(e, inbox->bytes);
    if (result == IPCR_EMPTY && spin_for_data(e))
        result = try_recv(e, inbox->bytes);
    ipcr_leave(e);
    return result;
}

void ipcr_spin_for_data(struct ipcr_end *e)
{
    if (ipcr_enter(e) != IPCR_OK)
        return; /* the next look says why */
    spin_for_data(e);
    ipcr_leave(e);
}

int64_t ipcr_recv_wait(struct ipcr_end *e, char *out, uint64_t deadline_ns, int resume)
{
    int rc = ipcr_enter_wait(e, resume);
    if (rc != IPCR_OK)
        return rc;
    struct incoming in = { .out = out };
    struct ipcr_wish wish = { .end = e };
    rc = ipcr_wait_for(e, attempt_recv, &in, ipcr_writer_has_moved, &wish, aim_at_data, deadline_ns, resume);
    return rc == IPCR_OK ? in.result : rc;
}

int ipcr_data_wait(struct ipcr_end *e, uint64_t deadline_ns, int resume)
{
    const int rc = ipcr_enter_wait(e, resume);
    if (rc != IPCR_OK)
        return rc;
    struct ipcr_wish wish = { .end = e };
    return ipcr_wait_for(e, attempt_data, NULL, ipcr_writer_has_moved, &wish, aim_at_data, deadline_ns, resume);
}

/* Step over the message that was looked at; false when we were asked to finish, and that was all. */
static inline bool step(struct ipcr_end *e, const struct ipcr_record_view *view)
{
    ipcr_ring_consume(&e->reader, view->length);
    return !ipcr_end_drained(e);
}

/* Nothing has been released since.  The write position goes back as well: what was checked against a later position
 * may be more than a ring's length ahead of this one. */
static void step_back(struct ipcr_end *e, const struct ipcr_ring_reader *before)
{
    e->reader.position = before->position;
    e->reader.cached_write = before->cached_write;
    e->reader.sequence = before->sequence;
    e->reader.bytes = before->bytes;
}

int64_t ipcr_recv_many(struct ipcr_end *e, char *out, uint64_t room, int64_t *results, uint64_t most,
                       bool take_raw, uint64_t *from)
{
    int rc = ipcr_enter(e);
    if (rc != IPCR_OK)
        return rc;
    struct ipcr_ring_reader before = { .position = 0 };
    uint64_t done = 0, used = 0;
    bool too_large = false, more = true, raw = true;
    while (more && done < most) {
        struct ipcr_record_view view;
        rc = ipcr_next_message(e, &view);
        if (rc != IPCR_OK)
            break;
        const bool this_raw = IPCR_INFO_ENCODING(view.info) == IPCR_BYTES;
        if (done == 0) {
            raw = this_raw;
            before = e->reader; /* not earlier: finding the first may have thrown parts away */
        } else if (this_raw != raw) {
            break;
        }
        if (view.length > room - used) {
            too_large = true;
            break;
        }
        copy_out(out + used, view.payload, view.length);
        used += view.length;
        results[done++] = result_of(e, &view);
        more = step(e, &view);
    }
    if (done > 0 && raw && take_raw)
        ipcr_release_space(e);
    else if (done > 0)
        step_back(e, &before);
    *from = e->reader.position;
    ipcr_leave(e);
    return done > 0 || too_large ? (int64_t)done : rc;
}

int ipcr_skip(struct ipcr_end *e, uint64_t from, uint64_t count)
{
    int rc = ipcr_enter_to_return(e, true);
    if (rc != IPCR_OK)
        return rc;
    if (count > 0 && e->reader.position != from)
        rc = IPCR_BUSY;
    for (uint64_t done = 0; rc == IPCR_OK && done < count; done++) {
        struct ipcr_record_view view;
        rc = ipcr_next_message(e, &view);
        if (rc == IPCR_OK)
            ipcr_ring_consume(&e->reader, view.length);
    }
    ipcr_release_space(e);
    ipcr_leave(e);
    return rc;
}

/* --- a batch read in place: the end is busy from begin to end --------------------------------------------------- */

static int64_t look(struct ipcr_end *e, const char **payload)
{
    struct ipcr_record_view view;
    const int rc = ipcr_next_message(e, &view);
    if (rc != IPCR_OK)
        return rc;
    e->looked_at = view.length;
    *payload = (const char *)view.payload;
    return result_of(e, &view);
}

int64_t ipcr_reading_begin(struct ipcr_end *e, const char **payload)
{
    const int rc = ipcr_enter(e);
    if (rc != IPCR_OK)
        return rc;
    const int64_t result = look(e, payload);
    if (result < 0)
        ipcr_leave(e);
    return result;
}

int64_t ipcr_reading_next(struct ipcr_end *e, const char **payload)
{
    const struct ipcr_record_view view = { .length = e->looked_at };
    return step(e, &view) ? look(e, payload) : IPCR_END_OF_CHANNEL;
}

void ipcr_reading_end(struct ipcr_end *e, int taken)
{
    if (taken)
        ipcr_ring_consume(&e->reader, e->looked_at);
    if (e->reader.position != load_relaxed64(&e->reader.own->position)) {
        ipcr_release_space(e);
        ipcr_ring_prefetch_next(&e->reader);
    }
    ipcr_leave(e);
}

int64_t ipcr_peek(struct ipcr_end *e)
{
    const int rc = ipcr_enter(e);
    if (rc != IPCR_OK)
        return rc;
    struct ipcr_record_view view;
    int64_t result = ipcr_next_message(e, &view);
    if (result == IPCR_OK) {
        lend(e, &view);
        result = result_of(e, &view);
    }
    ipcr_leave(e);
    return result;
}

int ipcr_release(struct ipcr_end *e)
{
    int rc = ipcr_enter_to_return(e, false);
    if (rc != IPCR_OK)
        return rc;
    if (!e->lent) {
        rc = IPCR_NOTHING_LENT;
    } else {
        e->lent = false;
        ipcr_ring_consume(&e->reader, e->lent_length);
        ipcr_release_space(e);
    }
    ipcr_leave(e);
    return rc;
}

char *ipcr_lent(struct ipcr_end *e) { return (char *)e->lent_payload; }
uint64_t ipcr_lent_skew(const struct ipcr_end *e)
{
    return (uint64_t)(uintptr_t)e->lent_payload & (IPCR_DATA_ALIGNMENT - 1);
}
uint64_t ipcr_last_info(struct ipcr_end *e) { return e->last_info; }
uint64_t ipcr_last_sequence(struct ipcr_end *e) { return e->last_sequence; }

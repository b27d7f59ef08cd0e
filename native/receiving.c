/* receiving.c - messages out of a taken end: try, then wait.
 *
 * The try functions make no system call but the wake of a parked sender, and allocate nothing.
 */
#include "calls.h"
#include "transfer.h"

static bool ipcr_writer_has_moved(const void *what)
{
    const struct ipcr_wish *w = what;
    return load_acquire64(&w->end->reader.peer->position) != w->position || ipcr_they_closed(w->end) ||
           load_acquire32(&w->end->closing) != 0 || load_acquire32(&w->end->draining) != 0;
}

/* Give space back, and wake a sender that sleeps for it. */
static inline void release_space(struct ipcr_end *e)
{
    ipcr_ring_release(&e->reader);
    ipcr_order_publish_before_look(e->fence_needed);
    if (load_acquire32(&e->theirs->parked) != 0 &&
        (int64_t)(e->reader.position - load_relaxed64(&e->theirs->wake_at)) >= 0)
        ipcr_wake(&e->theirs->parked);
}

/* Empty, but perhaps for good. */
static inline int nothing_there(struct ipcr_end *e, struct ipcr_record_view *view)
{
    if (!ipcr_they_closed(e))
        return IPCR_EMPTY;
    const int rc = ipcr_ring_next(&e->reader, view); /* what was published before the close */
    return rc == IPCR_EMPTY ? IPCR_END_OF_CHANNEL : rc;
}

static inline int next_record(struct ipcr_end *e, struct ipcr_record_view *view)
{
    if (e->lent)
        return IPCR_LENT;
    int rc = ipcr_ring_next(&e->reader, view);
    if (rc == IPCR_EMPTY)
        rc = nothing_there(e, view);
    if (rc == IPCR_OK) {
        e->last_info = view->info;
        e->last_sequence = e->reader.sequence;
    }
    return ipcr_checked(e, rc);
}

static inline int64_t result_of(const struct ipcr_record_view *view)
{
    return (int64_t)(view->length | (uint64_t)IPCR_INFO_ENCODING(view->info) << IPCR_RESULT_ENCODING_SHIFT);
}

static inline void lend(struct ipcr_end *e, const struct ipcr_record_view *view)
{
    e->lent = true;
    e->lent_payload = e->segment->data + (e->reader.position & e->reader.mask) + IPCR_RECORD_HEADER;
    e->lent_length = view->length;
}

static inline int64_t try_recv(struct ipcr_end *e, char *out)
{
    struct ipcr_record_view view;
    const int rc = next_record(e, &view);
    if (rc != IPCR_OK)
        return rc;
    if (view.length > IPCR_SMALL) {
        lend(e, &view);
        return result_of(&view) | IPCR_RESULT_LENT;
    }
    copy_out(out, view.payload, view.length);
    ipcr_ring_consume(&e->reader, view.length);
    release_space(e);
    ipcr_ring_prefetch_next(&e->reader);
    return result_of(&view);
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
    return next_record(e, &view);
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

int64_t ipcr_recv_into(struct ipcr_inbox *inbox)
{
    struct ipcr_end *e = inbox->end;
    const int rc = ipcr_enter(e);
    if (rc != IPCR_OK)
        return rc;
    int64_t result = try_recv(e, inbox->bytes);
    if (result == IPCR_EMPTY && ipcr_may_spin(e)) {
        const struct ipcr_wish wish = { .end = e, .position = e->reader.position };
        e->spun = true;
        if (ipcr_spin_until(&e->spin, ipcr_writer_has_moved, &wish, ipcr_os_now_ns() + IPCR_SLICE_NS))
            result = try_recv(e, inbox->bytes);
    }
    ipcr_leave(e);
    return result;
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

int64_t ipcr_recv_many(struct ipcr_end *e, char *out, uint64_t room, uint64_t *lengths, uint64_t *infos,
                       uint64_t most)
{
    int rc = ipcr_enter(e);
    if (rc != IPCR_OK)
        return rc;
    uint64_t done = 0, used = 0;
    bool too_large = false;
    while (done < most) {
        struct ipcr_record_view view;
        rc = next_record(e, &view);
        if (rc != IPCR_OK)
            break;
        if (view.length > room - used) {
            too_large = true;
            break;
        }
        copy_out(out + used, view.payload, view.length);
        used += view.length;
        lengths[done] = view.length;
        infos[done] = view.info;
        done++;
        ipcr_ring_consume(&e->reader, view.length);
        if (ipcr_end_drained(e))
            break;
    }
    if (done > 0)
        release_space(e);
    ipcr_leave(e);
    return done > 0 || too_large ? (int64_t)done : rc;
}

int64_t ipcr_peek(struct ipcr_end *e)
{
    const int rc = ipcr_enter(e);
    if (rc != IPCR_OK)
        return rc;
    struct ipcr_record_view view;
    int64_t result = next_record(e, &view);
    if (result == IPCR_OK) {
        lend(e, &view);
        result = result_of(&view);
    }
    ipcr_leave(e);
    return result;
}

int ipcr_release(struct ipcr_end *e)
{
    int rc = ipcr_enter_to_return(e);
    if (rc != IPCR_OK)
        return rc;
    if (!e->lent) {
        rc = IPCR_NOTHING_LENT;
    } else {
        e->lent = false;
        ipcr_ring_consume(&e->reader, e->lent_length);
        release_space(e);
    }
    ipcr_leave(e);
    return rc;
}

char *ipcr_lent(struct ipcr_end *e) { return (char *)e->lent_payload; }
uint64_t ipcr_last_info(struct ipcr_end *e) { return e->last_info; }
uint64_t ipcr_last_sequence(struct ipcr_end *e) { return e->last_sequence; }

/* multicast_waits.c - waiting for room, and for messages: a slice at a time, with a look for the dead at the end of each. */
#include "multicast.h"

/* --- the publisher, for room ------------------------------------------------------------------------------------------ */

static bool may_be_room(const void *what)
{
    const struct ipcr_publisher *p = what;
    if (ipcr_seat_is_closing(&p->seat) || p->blocked_by == IPCR_NO_SUBSCRIBER)
        return true;
    const struct ipcr_cursor *c = &p->header->cursor[p->blocked_by];
    const uint32_t state = load_acquire32(&c->state) & IPCR_CURSOR_MASK;
    if (state == IPCR_CURSOR_ACTIVE)
        return (int64_t)(load_acquire64(&c->next) - p->need) >= 0;
    return state != IPCR_CURSOR_JOINING;
}

/* Woken for one message at a time, the publisher would cost two changes of context for each: a quarter of what is there
 * should be free as well.  Spins, and the end of a slice, look at the need alone. */
static void aim(struct ipcr_publisher *p)
{
    store_relaxed32(&p->header->blocked_by, p->blocked_by);
    store_relaxed64(&p->header->wake_at, p->need + (p->next - p->need) / 4);
}

int ipcr_publisher_wait(struct ipcr_publisher *p, uint64_t deadline_ns, int resume)
{
    uint64_t parked_ns = 0, now = ipcr_os_now_ns();
    int rc = ipcr_seat_enter_wait(&p->seat, resume);
    if (rc != IPCR_OK)
        return rc;
    if (now >= p->slice_end_ns) /* wake-ups and signals must not put the look for the dead off */
        p->slice_end_ns = now + IPCR_SLICE_NS;
    const uint64_t slice = p->slice_end_ns < deadline_ns ? p->slice_end_ns : deadline_ns;
    if (now < slice) {
        uint32_t only;
        aim(p);
        ipcr_seat_wait(&p->seat);
        const bool spin = !resume && ipcr_os_cpus(&only) > 1;
        rc = ipcr_wait(&p->header->room_parked, (p->segment->flags & IPCR_FLAG_ASYMMETRIC) != 0, &p->spin, spin,
                       may_be_room, p, slice, &parked_ns);
        const int back = ipcr_seat_return(&p->seat);
        if (back != IPCR_OK)
            return back;
        store_relaxed64(&p->header->parked_ns, load_relaxed64(&p->header->parked_ns) + parked_ns);
        now = ipcr_os_now_ns();
    }
    if (rc == IPCR_OK && !may_be_room(p) && now >= slice) {
        p->slice_end_ns = now + IPCR_SLICE_NS;
        rc = ipcr_publisher_evict_the_dead(p);
        if (rc == IPCR_OK && !may_be_room(p))
            rc = now >= deadline_ns ? IPCR_FULL : IPCR_AGAIN;
    }
    if (rc == IPCR_AGAIN)
        ipcr_seat_wait(&p->seat);
    else
        ipcr_seat_leave(&p->seat);
    return rc;
}

void ipcr_publisher_stop_waiting(struct ipcr_publisher *p) { ipcr_seat_give_up(&p->seat); }

int ipcr_publisher_look_around(struct ipcr_publisher *p)
{
    const uint64_t now = ipcr_os_now_ns();
    int rc = ipcr_publisher_enter(p);
    if (rc != IPCR_OK)
        return rc;
    if (now >= p->slice_end_ns) {
        p->slice_end_ns = now + IPCR_SLICE_NS;
        rc = ipcr_publisher_evict_the_dead(p);
    }
    ipcr_seat_leave(&p->seat);
    return rc;
}

/* --- subscribers, for a message ---------------------------------------------------------------------------------------- */

static bool may_be_message(const void *what)
{
    const struct ipcr_subscriber *s = what;
    return load_acquire64(&s->header->published) != s->next || ipcr_seat_is_closing(&s->seat) ||
           (load_acquire32(&s->header->publisher_state) & IPCR_END_MASK) == IPCR_END_CLOSED ||
           (s->evictable && load_acquire32(&s->cursor->state) != s->state);
}

bool ipcr_subscriber_spin(struct ipcr_subscriber *s)
{
    uint32_t only;
    if (s->spun || ipcr_os_cpus(&only) < 2 ||
        (load_relaxed32(&s->header->publisher_state) & IPCR_END_MASK) != IPCR_END_TAKEN)
        return false;
    const bool found = ipcr_spin_until(&s->spin, may_be_message, s, ipcr_os_now_ns() + IPCR_SLICE_NS);
    s->spun = !found;
    return found;
}

/* Is there anybody who might publish?  A named multicast's first publisher is awaited. */
static int look_at_publisher(struct ipcr_subscriber *s)
{
    const uint32_t state = load_acquire32(&s->header->publisher_state);
    bool held = true;
    if ((state & IPCR_END_MASK) == IPCR_END_TAKEN) {
        const int rc = ipcr_probe(s->segment->fd, s->segment->id, IPCR_LOCK_PUBLISHER, &held);
        if (rc != IPCR_OK)
            return rc;
    }
    /* what it published, or said, before it went comes first; and so does a successor */
    if (held || may_be_message(s) || load_acquire32(&s->header->publisher_state) != state)
        return IPCR_OK;
    return IPCR_PEER_DIED;
}

/* An observer can't say that it sleeps, so nobody wakes it. */
static int sleep_a_while(struct ipcr_subscriber *s, uint64_t until)
{
    bool slept = false;
    if (s->cursor == NULL) {
        const uint64_t now = ipcr_os_now_ns();
        if (!may_be_message(s) && now < until)
            ipcr_os_sleep_ns(s->interval_ns < until - now ? s->interval_ns : until - now);
        return IPCR_OK;
    }
    return (s->segment->flags & IPCR_FLAG_ASYMMETRIC) != 0
               ? ipcr_gate_wait_asymmetric(&s->header->readers_parked, may_be_message, s, until, &slept)
               : ipcr_gate_wait(&s->header->readers_parked, may_be_message, s, until, &slept);
}

int ipcr_subscriber_wait(struct ipcr_subscriber *s, uint64_t deadline_ns, int resume)
{
    int rc = ipcr_seat_enter_wait(&s->seat, resume);
    if (rc != IPCR_OK)
        return rc;
    uint64_t now = ipcr_os_now_ns();
    if (now >= s->slice_end_ns)
        s->slice_end_ns = now + IPCR_SLICE_NS;
    const uint64_t slice = s->slice_end_ns < deadline_ns ? s->slice_end_ns : deadline_ns;
    if (now < slice && !(s->cursor != NULL && !resume && ipcr_subscriber_spin(s))) {
        ipcr_seat_wait(&s->seat);
        rc = sleep_a_while(s, slice);
        const int back = ipcr_seat_return(&s->seat);
        if (back != IPCR_OK)
            return back;
        now = ipcr_os_now_ns();
    }
    s->spun = false;
    if (rc == IPCR_OK && !may_be_message(s)) {
        rc = now >= slice ? look_at_publisher(s) : IPCR_OK;
        if (rc == IPCR_OK && !may_be_message(s))
            rc = now >= deadline_ns ? IPCR_EMPTY : IPCR_AGAIN;
    }
    if (rc == IPCR_AGAIN)
        ipcr_seat_wait(&s->seat);
    else
        ipcr_seat_leave(&s->seat);
    return rc;
}

void ipcr_subscriber_stop_waiting(struct ipcr_subscriber *s) { ipcr_seat_give_up(&s->seat); }

int ipcr_subscriber_look_around(struct ipcr_subscriber *s)
{
    const uint64_t now = ipcr_os_now_ns();
    int rc = ipcr_subscriber_enter(s);
    if (rc != IPCR_OK)
        return rc == IPCR_BUSY ? IPCR_OK : rc;
    if (now >= s->slice_end_ns) {
        s->slice_end_ns = now + IPCR_SLICE_NS;
        rc = look_at_publisher(s);
    }
    ipcr_seat_leave(&s->seat);
    return rc;
}

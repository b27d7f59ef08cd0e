/* ends.c - the life of an end; moving messages is in sending.c and receiving.c. */
#include "ends.h"
#include "registry.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

enum { CLOSE_POLL_NS = 100000 };

uint64_t ipcr_this_thread(void) { return (uint64_t)pthread_self(); }

static struct ipcr_lock_byte claim_byte(uint32_t side)
{
    return (struct ipcr_lock_byte){ .byte = IPCR_LOCK_CLAIM(side), .exclusive = false };
}

static struct ipcr_lock_byte role_byte(uint32_t side)
{
    return (struct ipcr_lock_byte){ .byte = IPCR_LOCK_ROLE(side), .exclusive = true };
}

static void tell_pinned_cpu(struct ipcr_end *e)
{
    uint32_t only;
    ipcr_os_cpus(&only);
    store_relaxed32(&e->mine->pinned_cpu, only);
}

static int new_end(struct ipcr_segment *segment, uint32_t side, uint64_t spin_ns, struct ipcr_end **out)
{
    struct ipcr_end *e = aligned_alloc(64, (sizeof *e + 63) / 64 * 64);
    if (e == NULL)
        return IPCR_FROM_ERRNO(ENOMEM);
    memset(e, 0, sizeof *e);
    e->side = side;
    e->segment = segment;
    e->mine = &segment->header->signals[side];
    e->theirs = &segment->header->signals[1 - side];
    e->fence_needed = (segment->flags & IPCR_FLAG_ASYMMETRIC) == 0 || !ipcr_has_membarrier();
    e->fork_fd = -1;
    ipcr_spin_init(&e->spin, spin_ns);
    *out = e;
    return IPCR_OK;
}

/* Registry lock held. */
static void join_segment(struct ipcr_end *e)
{
    e->segment->users++;
    e->segment->references++;
    e->next = e->segment->ends;
    e->segment->ends = e;
}

int ipcr_end_open(struct ipcr_segment *segment, uint32_t side, uint64_t spin_ns, struct ipcr_end **out)
{
    struct ipcr_end *e;
    int rc = new_end(segment, side, spin_ns, &e);
    if (rc != IPCR_OK)
        return rc;
    const struct ipcr_lock_byte claim = claim_byte(side);
    ipcr_registry_lock();
    rc = ipcr_hold_take(&e->claim, segment->fd, segment->id, &claim, 1);
    if (rc == IPCR_TAKEN) /* claims are shared: no user of ours is in the way */
        rc = IPCR_FROM_ERRNO(EAGAIN);
    if (rc == IPCR_OK)
        join_segment(e);
    ipcr_registry_unlock();
    if (rc != IPCR_OK) {
        free(e);
        return rc;
    }
    *out = e;
    return IPCR_OK;
}

/* Private state from the shared words, as a first user or a successor. */
static int open_ring(struct ipcr_end *e)
{
    struct ipcr_segment *s = e->segment;
    return e->side == IPCR_SENDER ? ipcr_ring_writer_open(&e->writer, s->header, s->data, s->capacity)
                                  : ipcr_ring_reader_open(&e->reader, s->header, s->data, s->capacity);
}

/* The role byte is held (by us, or by the descriptor that a parent sent us). */
static int begin_use(struct ipcr_end *e, uint32_t state)
{
    const int rc = open_ring(e);
    if (rc != IPCR_OK)
        return rc;
    e->end_generation = state >> 2;
    store_relaxed32(&e->mine->taker_pid, ipcr_os_pid());
    tell_pinned_cpu(e);
    store_release32(&e->mine->end_state, state);
    e->taken_generation = ipcr_fork_generation;
    store_relaxed32(&e->ready_generation, load_acquire32(&e->draining) == 0 ? ipcr_fork_generation : 0);
    ipcr_wake_if_parked(&e->theirs->parked, true); /* a take-over is an event */
    return IPCR_OK;
}

static uint32_t next_taken(uint32_t state) { return (((state >> 2) + 1) << 2) | IPCR_END_TAKEN; }

/* Registry lock held. */
static int adopt_role(struct ipcr_end *e, int held)
{
    const int rc = ipcr_hold_adopt(&e->role, held);
    return rc == IPCR_OK ? begin_use(e, load_acquire32(&e->mine->end_state)) : rc;
}

int ipcr_end_adopt_role(struct ipcr_end *e, int held)
{
    ipcr_registry_lock();
    const int rc = adopt_role(e, held);
    ipcr_registry_unlock();
    return rc;
}

int ipcr_end_adopt(struct ipcr_segment *segment, uint32_t side, uint64_t spin_ns, int held, bool taken,
                   struct ipcr_end **out)
{
    struct ipcr_end *e;
    int rc = new_end(segment, side, spin_ns, &e);
    if (rc != IPCR_OK) {
        ipcr_os_close(held);
        return rc;
    }
    ipcr_registry_lock();
    join_segment(e);
    rc = taken ? adopt_role(e, held) : ipcr_hold_adopt(&e->claim, held);
    ipcr_registry_unlock();
    if (rc != IPCR_OK) {
        ipcr_end_close(e, false);
        ipcr_end_free(e);
        return rc;
    }
    *out = e;
    return IPCR_OK;
}

static int take_locked(struct ipcr_end *e, uint32_t *by)
{
    if (load_acquire32(&e->closing) != 0)
        return IPCR_CLOSED;
    if (e->taken_generation != 0)
        return e->taken_generation == ipcr_fork_generation ? IPCR_OK : IPCR_FORKED;
    const struct ipcr_lock_byte role = role_byte(e->side);
    int rc = ipcr_segment_be_present(e->segment);
    if (rc != IPCR_OK)
        return rc;
    rc = ipcr_hold_take(&e->role, e->segment->fd, e->segment->id, &role, 1);
    if (rc == IPCR_TAKEN)
        *by = load_relaxed32(&e->mine->taker_pid);
    if (rc != IPCR_OK)
        return rc;
    const uint32_t state = load_acquire32(&e->mine->end_state);
    rc = (state & IPCR_END_MASK) == IPCR_END_CLOSED ? IPCR_END_OF_CHANNEL : begin_use(e, next_taken(state));
    if (rc != IPCR_OK)
        ipcr_hold_drop(&e->role);
    return rc;
}

int ipcr_end_take(struct ipcr_end *e, uint32_t *by)
{
    uint32_t idle = IPCR_IDLE; /* two threads' first uses must not both fill the private state */
    if (!compare_exchange32(&e->busy, &idle, IPCR_INSIDE))
        return load_acquire32(&e->closing) != 0 ? IPCR_CLOSED : IPCR_BUSY;
    ipcr_registry_lock();
    const int rc = take_locked(e, by);
    ipcr_registry_unlock();
    store_release32(&e->busy, IPCR_IDLE);
    return rc;
}

int ipcr_end_hand_over(struct ipcr_end *e, bool with_role, bool for_fork, int *held)
{
    ipcr_registry_lock();
    int rc = IPCR_OK;
    if (load_acquire32(&e->closing) != 0)
        rc = IPCR_CLOSED;
    else if (e->taken_generation != 0)
        rc = e->taken_generation == ipcr_fork_generation ? IPCR_IN_USE : IPCR_FORKED;
    const struct ipcr_lock_byte bytes[3] = {
        { .byte = IPCR_LOCK_PRESENCE, .exclusive = false },
        claim_byte(e->side),
        role_byte(e->side),
    };
    if (rc == IPCR_OK)
        rc = ipcr_hold_open(e->segment->fd, e->segment->id, bytes, with_role ? 3 : 2, held);
    if (rc == IPCR_OK && with_role) {
        const uint32_t state = load_acquire32(&e->mine->end_state);
        if ((state & IPCR_END_MASK) == IPCR_END_CLOSED)
            rc = IPCR_END_OF_CHANNEL;
        e->handed_state = next_taken(state);
        if (rc != IPCR_OK)
            ipcr_os_close(*held);
    }
    if (rc == IPCR_OK) {
        rc = ipcr_parcel_add_locked(*held, for_fork);
        if (rc != IPCR_OK)
            ipcr_os_close(*held);
        else if (with_role)
            store_release32(&e->mine->end_state, e->handed_state);
    }
    ipcr_registry_unlock();
    return rc;
}

/* While our description holds the role byte the word is ours: TAKEN goes back to untaken, its generation
 * stays raised.  Should the child have come to life after all, it holds the byte as well: then it keeps
 * the end. */
void ipcr_end_take_back(struct ipcr_end *e, int held, bool with_role)
{
    bool undo = false, alive = false;
    ipcr_registry_lock();
    if (with_role && load_acquire32(&e->closing) == 0 && load_acquire32(&e->mine->end_state) == e->handed_state) {
        undo = true;
        store_release32(&e->mine->end_state, (e->handed_state & ~IPCR_END_MASK) | IPCR_END_UNTAKEN);
    }
    ipcr_registry_unlock();
    ipcr_parcel_close(held);
    if (!undo)
        return;
    ipcr_registry_lock();
    if (load_acquire32(&e->closing) == 0 &&
        ipcr_probe(e->segment->fd, e->segment->id, IPCR_LOCK_ROLE(e->side), &alive) == IPCR_OK && alive)
        store_release32(&e->mine->end_state, e->handed_state);
    ipcr_registry_unlock();
}

/* Get sole use of a handle whose other thread may be waiting in C: tell it, wake it, until it is out. */
static void enter_to_close(struct ipcr_end *e)
{
    for (;;) {
        uint32_t idle = IPCR_IDLE, between = IPCR_BETWEEN_SLICES;
        if (compare_exchange32(&e->busy, &idle, IPCR_INSIDE) ||
            compare_exchange32(&e->busy, &between, IPCR_INSIDE))
            return;
        ipcr_registry_lock(); /* another thread may be taking it just now */
        const bool ours = e->taken_generation == ipcr_fork_generation;
        ipcr_registry_unlock();
        if (ours)
            ipcr_wake(&e->mine->parked);
        ipcr_os_sleep_ns(CLOSE_POLL_NS);
    }
}

static void leave_segment(struct ipcr_end *e)
{
    struct ipcr_segment *s = e->segment;
    ipcr_registry_lock(); /* off the list and counted down in one step, or a fork would copy the half of it */
    for (struct ipcr_end **at = &s->ends; *at != NULL; at = &(*at)->next)
        if (*at == e) {
            *at = e->next;
            break;
        }
    const bool last = ipcr_segment_quit_locked(s);
    ipcr_registry_unlock();
    if (last)
        ipcr_segment_leave(s);
    ipcr_segment_forget(s);
}

void ipcr_end_leave_now(struct ipcr_end *e)
{
    if (exchange_acq_rel32(&e->leave_later, 0) != 0)
        leave_segment(e);
}

void ipcr_end_close(struct ipcr_end *e, bool clean)
{
    if (exchange_acq_rel32(&e->closing, 1) != 0)
        return;
    enter_to_close(e); /* and never leave: every later call finds it busy, and then `closing` */
    store_relaxed32(&e->ready_generation, 0);
    ipcr_registry_lock(); /* a fork must not copy half a close */
    const bool ours = e->taken_generation == ipcr_fork_generation && e->role.page != NULL;
    if (ours && clean)
        store_release32(&e->mine->end_state, e->end_generation << 2 | IPCR_END_CLOSED);
    ipcr_hold_drop(&e->role);
    ipcr_hold_drop(&e->claim);
    ipcr_registry_unlock();
    /* closed, dead or no longer claimed: whoever waits over there looks again */
    ipcr_wake_if_parked(&e->theirs->parked, true);
    if (e->lent) /* another thread is reading it: unmapping would pull the memory from under it */
        exchange_acq_rel32(&e->leave_later, 1);
    else
        leave_segment(e);
}

bool ipcr_end_is_ours(const struct ipcr_end *e) { return e->taken_generation == ipcr_fork_generation; }

void ipcr_end_free(struct ipcr_end *e)
{
    ipcr_end_leave_now(e);
    free(e);
}

void ipcr_end_drain(struct ipcr_end *e)
{
    ipcr_registry_lock(); /* against a take, and against a close that unmaps */
    if (e->side == IPCR_RECEIVER && load_acquire32(&e->closing) == 0 && load_acquire32(&e->draining) == 0) {
        e->drain_position = load_acquire64(&e->segment->header->at[IPCR_SENDER].position);
        store_release32(&e->draining, 1);
        store_relaxed32(&e->ready_generation, 0); /* the fast path now asks why */
        if (e->taken_generation == ipcr_fork_generation)
            ipcr_wake_if_parked(&e->mine->parked, true); /* our own thread: edge K, with `draining` as the position */
    }
    ipcr_registry_unlock();
}

void ipcr_end_poison(struct ipcr_end *e)
{
    e->corrupt = true;
    store_relaxed32(&e->ready_generation, 0);
}

int ipcr_end_why_not_ready(struct ipcr_end *e)
{
    if (load_acquire32(&e->closing) != 0)
        return IPCR_CLOSED;
    if (e->taken_generation == 0)
        return IPCR_NOT_TAKEN;
    if (e->taken_generation != ipcr_fork_generation)
        return IPCR_FORKED;
    if (e->corrupt)
        return IPCR_CORRUPT;
    return ipcr_end_drained(e) ? IPCR_END_OF_CHANNEL : IPCR_OK;
}

/* TAKEN with a free role byte is death, unless the word has changed since: then it was a close, or a
 * successor.  UNTAKEN is the end only where nobody can come any more: anonymous, and no claim. */
int ipcr_end_peer(struct ipcr_end *e)
{
    const struct ipcr_segment *s = e->segment;
    const uint32_t other = 1 - e->side;
    const uint32_t state = load_acquire32(&e->theirs->end_state);
    bool held;
    int64_t byte;
    int verdict;
    switch (state & IPCR_END_MASK) {
    case IPCR_END_CLOSED:
        return IPCR_END_OF_CHANNEL;
    case IPCR_END_TAKEN:
        byte = IPCR_LOCK_ROLE(other);
        verdict = IPCR_PEER_DIED;
        e->peer_pid = load_relaxed32(&e->theirs->taker_pid);
        break;
    case IPCR_END_UNTAKEN:
        if ((s->flags & IPCR_FLAG_NAMED) != 0)
            return IPCR_OK;
        byte = IPCR_LOCK_CLAIM(other);
        verdict = IPCR_END_OF_CHANNEL;
        break;
    default:
        return IPCR_CORRUPT;
    }
    const int rc = ipcr_probe(s->fd, s->id, byte, &held);
    if (rc != IPCR_OK)
        return rc;
    if (held)
        return IPCR_OK;
    const uint32_t now = load_acquire32(&e->theirs->end_state);
    if (now == state)
        return verdict;
    return (now & IPCR_END_MASK) == IPCR_END_CLOSED ? IPCR_END_OF_CHANNEL : IPCR_OK;
}

void ipcr_end_before_fork(struct ipcr_end *e)
{
    const struct ipcr_lock_byte claim = claim_byte(e->side);
    e->fork_fd = -1;
    if (e->taken_generation == 0 && load_acquire32(&e->closing) == 0 &&
        ipcr_hold_open(e->segment->fd, e->segment->id, &claim, 1, &e->fork_fd) != IPCR_OK)
        e->fork_fd = -1; /* no descriptor left: the child has no claim until it takes the end */
}

void ipcr_end_after_fork_in_parent(struct ipcr_end *e)
{
    ipcr_os_close(e->fork_fd);
    e->fork_fd = -1;
}

bool ipcr_end_after_fork_in_child(struct ipcr_end *e)
{
    const bool closing = load_acquire32(&e->closing) != 0;
    e->claim.page = NULL; /* neither is mapped here: MADV_DONTFORK */
    e->role.page = NULL;
    if (closing) /* perhaps only since the prepare handler: no handle here would ever drop the claim */
        ipcr_os_close(e->fork_fd);
    else if (e->fork_fd >= 0 && ipcr_hold_adopt(&e->claim, e->fork_fd) != IPCR_OK)
        e->claim.page = NULL;
    e->fork_fd = -1;
    e->fence_needed = (e->segment->flags & IPCR_FLAG_ASYMMETRIC) == 0 || !ipcr_has_membarrier();
    if (closing) /* keep what only waits for a lent message: ipcr_end_free leaves the segment */
        return load_acquire32(&e->leave_later) != 0;
    store_release32(&e->busy, IPCR_IDLE); /* whoever was inside is not a thread of this process */
    return true;
}

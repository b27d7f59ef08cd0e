/* queue.c - a handle's life, and putting. */
#include "queue.h"
#include "registry.h"

#include <errno.h>
#include <stdlib.h>

enum { ANNOUNCED_AT_ONCE = 64 };

/* --- the handle --------------------------------------------------------------------------------------------------- */

int ipcr_queue_open(struct ipcr_segment *segment, uint64_t spin_ns, struct ipcr_queue **out)
{
    struct ipcr_queue *q = calloc(1, sizeof *q);
    struct ipcr_lane_end *ends = calloc(segment->lanes, sizeof *ends);
    if (q == NULL || ends == NULL) {
        free(q);
        free(ends);
        return IPCR_FROM_ERRNO(ENOMEM);
    }
    q->segment = segment;
    q->header = ipcr_queue_header(segment);
    q->ends = ends;
    q->pid = ipcr_os_pid();
    pthread_mutex_init(&q->producing, NULL);
    pthread_mutex_init(&q->consuming, NULL);
    ipcr_spin_init(&q->get_spin, spin_ns);
    ipcr_spin_init(&q->put_spin, spin_ns);
    ipcr_registry_lock();
    store_relaxed32(&q->generation, ipcr_fork_generation);
    segment->users++;
    segment->references++;
    q->next = segment->queues;
    segment->queues = q;
    ipcr_registry_unlock();
    *out = q;
    return IPCR_OK;
}

int ipcr_queue_ready(struct ipcr_queue *q)
{
    if (load_acquire32(&q->closing) != 0)
        return IPCR_CLOSED;
    if (load_relaxed32(&q->corrupt) != 0)
        return IPCR_CORRUPT;
    if (load_relaxed32(&q->present) == ipcr_fork_generation)
        return IPCR_OK;
    ipcr_registry_lock(); /* a child for which no descriptor was left at the fork, say */
    const int rc = q->has_quit ? IPCR_CLOSED : ipcr_segment_be_present(q->segment);
    if (rc == IPCR_OK)
        store_relaxed32(&q->present, ipcr_fork_generation);
    ipcr_registry_unlock();
    return rc;
}

int ipcr_queue_checked(struct ipcr_queue *q, int rc)
{
    if (rc == IPCR_CORRUPT)
        store_relaxed32(&q->corrupt, 1);
    return rc;
}

/* Both locks are held: give back what others may go on with. */
static void give_back(struct ipcr_queue *q)
{
    if (q->registered) {
        if (ipcr_queue_sweep(q, q->holder) == IPCR_OK)
            store_release32(&q->header->holders[q->holder].active, 0);
        ipcr_registry_lock();
        ipcr_hold_drop(&q->hold);
        ipcr_registry_unlock();
        q->registered = false;
    }
    for (; q->lanes_taken > 0; q->lanes_taken--) {
        ipcr_registry_lock();
        ipcr_producer_give_back(&q->own[q->lanes_taken - 1]);
        ipcr_registry_unlock();
    }
}

static void wake_own_threads(struct ipcr_queue *q)
{
    ipcr_gate_open_wide(&q->header->consumers_parked);
    ipcr_gate_open_wide(&q->header->room_parked);
    ipcr_gate_open_wide(&q->header->finished_parked);
    for (uint32_t i = 0; i < q->lanes_taken; i++) {
        ipcr_gate_open_wide(&q->own[i].lane->words->room_parked);
        ipcr_gate_open_wide(&q->own[i].lane->words->outcome_parked);
    }
}

void ipcr_queue_close(struct ipcr_queue *q)
{
    if (exchange_acq_rel32(&q->closing, 1) != 0)
        return;
    pthread_mutex_lock(&q->producing);
    pthread_mutex_lock(&q->consuming);
    fence_store_load(); /* G: whoever goes to sleep after this sees `closing` */
    wake_own_threads(q);
    give_back(q);
    pthread_mutex_unlock(&q->consuming);
    pthread_mutex_unlock(&q->producing);
    ipcr_segment_quit(q->segment, &q->has_quit); /* whoever still has the handle, or a delivery, only needs the memory */
}

void ipcr_queue_free(struct ipcr_queue *q)
{
    struct ipcr_segment *s = q->segment;
    ipcr_queue_close(q);
    ipcr_segment_quit(s, &q->has_quit); /* of a forked child whose parent was closing it */
    ipcr_registry_lock();
    for (struct ipcr_queue **at = &s->queues; *at != NULL; at = &(*at)->next)
        if (*at == q) {
            *at = q->next;
            break;
        }
    ipcr_registry_unlock();
    ipcr_segment_forget(s);
    pthread_mutex_destroy(&q->producing);
    pthread_mutex_destroy(&q->consuming);
    free(q->ends);
    free(q);
}

/* Holds are not mapped in a child, and whoever was inside is no thread of it. */
struct ipcr_queue *ipcr_queue_after_fork_in_child(struct ipcr_queue *q)
{
    pthread_mutex_init(&q->producing, NULL);
    pthread_mutex_init(&q->consuming, NULL);
    for (uint32_t i = 0; i < IPCR_MOST_LANES_EACH; i++)
        q->own[i] = (struct ipcr_producer){ .lane = NULL };
    q->pid = ipcr_os_pid();
    q->lanes_taken = 0;
    q->enough_lanes = false;
    q->room_waiters = q->outcome_waiters = 0;
    q->parked_ns = 0;
    q->registered = false;
    q->hold.page = NULL;
    store_relaxed32(&q->generation, ipcr_fork_generation);
    return q->next;
}

void ipcr_queue_get_options(const struct ipcr_queue *q, struct ipcr_queue_options *out) { *out = q->segment->options; }

/* --- putting ------------------------------------------------------------------------------------------------------ */

int ipcr_queue_take_lane(struct ipcr_queue *q, bool may_allocate)
{
    pthread_mutex_lock(&q->producing);
    int rc = ipcr_queue_ready(q);
    if (rc == IPCR_OK && q->lanes_taken < q->segment->options.lanes_each) {
        rc = ipcr_queue_checked(q, ipcr_producer_take(&q->own[q->lanes_taken], q->segment, may_allocate));
        if (rc == IPCR_OK) {
            q->turn = q->lanes_taken++;
            ipcr_queue_note_sleep(q);
        } else if (may_allocate && q->lanes_taken > 0) {
            q->enough_lanes = true; /* the others have theirs: we make do with fewer */
        }
    }
    pthread_mutex_unlock(&q->producing);
    return rc;
}

/* A lane with room: the one at hand, or another of those that one producer may have. */
static int find_room(struct ipcr_queue *q, uint64_t length, struct ipcr_producer **out)
{
    if (load_acquire32(&q->header->shutdown) != IPCR_OPEN)
        return IPCR_SHUT_DOWN;
    if (length > q->segment->capacity) /* at once, and not only when there is room */
        return IPCR_TOO_LARGE;
    const int full = ipcr_queue_is_full(q);
    if (full != 0)
        return full < 0 ? full : IPCR_FULL;
    int rc = IPCR_FULL;
    for (uint32_t i = 0; rc == IPCR_FULL && i < q->lanes_taken; i++) {
        *out = &q->own[q->turn];
        rc = ipcr_producer_room(*out, length);
        if (rc == IPCR_FULL)
            q->turn = (q->turn + 1) % q->lanes_taken;
    }
    if (rc != IPCR_FULL || q->enough_lanes || q->lanes_taken == q->segment->options.lanes_each)
        return rc;
    return IPCR_NOT_TAKEN;
}

/* Where a message of ours is.  (Its id says so as well, but not where garbage lets ids pass 2^64.) */
struct place {
    uint64_t sequence;
    uint32_t lane;
};

static uint64_t id_of(const struct ipcr_queue *q, struct place at) { return IPCR_QUEUE_ID(q, at.lane, at.sequence); }

static struct place publish(struct ipcr_queue *q, struct ipcr_producer *p, uint64_t length, uint64_t info, uint64_t now,
                            uint64_t ttl_ns)
{
    const uint64_t expires = ttl_ns == 0 ? 0 : ttl_ns < UINT64_MAX - now ? now + ttl_ns : UINT64_MAX;
    return (struct place){ .sequence = ipcr_producer_publish(p, length, info, now, expires, q->pid), .lane = p->index };
}

static int put_bytes(struct ipcr_queue *q, const char *message, uint64_t length, uint64_t info, uint64_t now,
                     uint64_t ttl_ns, struct place *at)
{
    struct ipcr_producer *p;
    const int rc = ipcr_queue_checked(q, find_room(q, length, &p));
    if (rc != IPCR_OK)
        return rc;
    racy_write(ipcr_producer_payload(p), message, length); /* V: a stalled holder may be copying what stood there */
    *at = publish(q, p, length, info, now, ttl_ns);
    return IPCR_OK;
}

void ipcr_queue_pass_room_on(struct ipcr_queue *q)
{
    if (load_relaxed32(&q->put_woken) == 0)
        return;
    store_relaxed32(&q->put_woken, 0);
    fence_store_load(); /* G: as in ipcr_queue_pass_on */
    if (ipcr_gate_is_armed(&q->header->room_parked) && ipcr_queue_is_full(q) == 0)
        ipcr_gate_open(&q->header->room_parked, 1);
}

/* A message that nobody has looked at yet is not there any more: false when somebody has. */
static bool take_back(struct ipcr_queue *q, struct place at)
{
    const struct ipcr_lane *l = &q->segment->lane[at.lane];
    const uint64_t ready = ipcr_state(ipcr_lap_at(l, at.sequence), IPCR_READY, 0, 0, IPCR_NO_TIME);
    if (!ipcr_finish(ipcr_slot_at(l, at.sequence), ready, IPCR_DEAD))
        return false;
    ipcr_queue_tell_done(q, at.lane, at.sequence);
    return true;
}

/* n messages have come; how many of them stay.
 *
 * Whoever says "shut down" has looked at the lanes after it saw the word; we look at the word after we have published.  At
 * least one of us sees the other's store (edge D).  So nobody leaves who should have had the message, or we take it back. */
static uint64_t tell_put(struct ipcr_queue *q, const struct place *at, uint64_t n)
{
    ipcr_gate_signal(&q->header->consumers_parked, (int)n); /* its fence also stands before `shutdown` */
    ipcr_queue_pass_room_on(q);
    const uint64_t all = n;
    if (load_relaxed32(&q->header->shutdown) != IPCR_OPEN)
        while (n > 0 && take_back(q, at[n - 1]))
            n--;
    if (n < all) /* they count as put: nobody in join() need wait for them */
        (void)ipcr_queue_finish_many(q, all - n);
    return n;
}

/* Woken for room that our lane doesn't have: this may have been the last try before its deadline. */
static int not_put(struct ipcr_queue *q, int rc)
{
    ipcr_queue_pass_room_on(q);
    return rc;
}

int64_t ipcr_queue_put_one(struct ipcr_queue *q, const char *message, uint64_t length, uint64_t info, uint64_t ttl_ns)
{
    struct place at;
    pthread_mutex_lock(&q->producing);
    int rc = ipcr_queue_ready(q);
    if (rc == IPCR_OK)
        rc = put_bytes(q, message, length, info, ipcr_os_now_ns(), ttl_ns, &at);
    pthread_mutex_unlock(&q->producing);
    if (rc != IPCR_OK)
        return not_put(q, rc);
    return tell_put(q, &at, 1) == 1 ? (int64_t)id_of(q, at) : IPCR_SHUT_DOWN;
}

/* Bytes that the message may take, wherever it comes to lie: the gap behind its first piece is as wide as it can be.
 * (Those behind the others don't depend on that.) */
static uint64_t longest(const struct ipcr_piece *pieces, uint64_t count)
{
    const uint64_t skew = (1 - pieces[0].length) & (IPCR_DATA_ALIGNMENT - 1);
    return ipcr_pieces_length(pieces, count, skew);
}

int ipcr_queue_put_pieces(struct ipcr_queue *q, const struct ipcr_piece *pieces, uint64_t count, struct ipcr_put *put)
{
    struct ipcr_producer *p;
    struct place at;
    pthread_mutex_lock(&q->producing);
    int rc = ipcr_queue_ready(q);
    if (rc == IPCR_OK)
        rc = ipcr_queue_checked(q, find_room(q, longest(pieces, count), &p));
    if (rc == IPCR_OK) {
        const uint64_t skew = p->position & (IPCR_DATA_ALIGNMENT - 1);
        const uint64_t length = ipcr_pieces_length(pieces, count, skew);
        ipcr_pieces_write(ipcr_producer_payload(p), pieces, count, skew); /* V: as in put_bytes */
        at = publish(q, p, length, put->info, ipcr_os_now_ns(), put->ttl_ns);
        put->id = id_of(q, at);
    }
    pthread_mutex_unlock(&q->producing);
    if (rc != IPCR_OK)
        return not_put(q, rc);
    return tell_put(q, &at, 1) == 1 ? IPCR_OK : IPCR_SHUT_DOWN;
}

/* As many as are announced together.  *rc: why not all. */
static uint64_t put_some(struct ipcr_queue *q, const char *messages, const uint64_t *lengths, const uint64_t *infos,
                         uint64_t count, uint64_t ttl_ns, struct place *at, int *rc)
{
    uint64_t done = 0;
    pthread_mutex_lock(&q->producing);
    const uint64_t now = ipcr_os_now_ns();
    *rc = ipcr_queue_ready(q);
    while (*rc == IPCR_OK && done < count) {
        *rc = put_bytes(q, messages, lengths[done], infos[done], now, ttl_ns, &at[done]);
        if (*rc == IPCR_OK)
            messages += lengths[done++];
    }
    pthread_mutex_unlock(&q->producing);
    return done;
}

int64_t ipcr_queue_put_many(struct ipcr_queue *q, const char *messages, const uint64_t *lengths, const uint64_t *infos,
                            uint64_t count, uint64_t ttl_ns, uint64_t *ids)
{
    struct place at[ANNOUNCED_AT_ONCE];
    uint64_t done = 0;
    int rc = IPCR_OK;
    while (rc == IPCR_OK && done < count) {
        const uint64_t left = count - done;
        const uint64_t put = put_some(q, messages, lengths + done, infos + done,
                                      left < ANNOUNCED_AT_ONCE ? left : ANNOUNCED_AT_ONCE, ttl_ns, at, &rc);
        const uint64_t stay = put == 0 ? 0 : tell_put(q, at, put);
        if (stay < put)
            rc = IPCR_SHUT_DOWN;
        for (uint64_t i = 0; i < stay; i++) {
            messages += lengths[done + i];
            if (ids != NULL)
                ids[done + i] = id_of(q, at[i]);
        }
        done += stay;
    }
    return done > 0 ? (int64_t)done : not_put(q, rc);
}

/* queue_recovery.c - everything from a death on: what the living see, until all is done, and then lap after lap.
 *
 * The ledger says in advance which message comes next and with how many deliveries, so each call has one right answer.
 * Three ways to go on (`way`), for a repair is made by whoever comes first:
 *
 *   CONSUMER_FIRST   a consumer: the one who lives, or a new one, who may get the dead one's number
 *   REPAIR_FIRST     somebody without a number repairs, and then somebody else: who must find nothing to do
 *   PRODUCERS_FIRST  new producers take the lanes and fill them, before anybody has repaired anything
 */
#include "clock.h"
#include "queue_scenes.h"
#include "registry.h"

enum way { CONSUMER_FIRST, REPAIR_FIRST, PRODUCERS_FIRST };
enum { AGES = 100000 /* seconds, longer than any lease */, LAPS = 2, NEWCOMERS = LANES_ON_STAGE + 1 };

struct world {
    struct stage *s;
    struct ipcr_queue *mate; /* or NULL */
    struct ipcr_queue *consumer;
    struct ipcr_queue *producers[NEWCOMERS];
    uint32_t producers_count;
    struct standing now[MOST_MESSAGES];
    bool shut;
};

/* --- who comes ---------------------------------------------------------------------------------------------------- */

/* A process that attaches now, with mappings of its own. */
static struct ipcr_queue *newcomer(struct stage *s)
{
    struct ipcr_segment *segment;
    struct ipcr_queue *q;
    int fd;
    CHECK_IS(ipcr_os_reopen(s->segment->fd, s->segment->id, &fd), IPCR_OK);
    CHECK_IS(ipcr_segment_attach(fd, NULL, "ipc:copy", s->operation->shape->kind, true, &segment), IPCR_OK);
    CHECK_IS(ipcr_queue_open(segment, 0, &q), IPCR_OK);
    ipcr_segment_release(segment); /* the handle keeps it */
    return q;
}

static bool is_mates(const struct world *w, struct standing it)
{
    return w->mate != NULL && w->mate->registered && it.holder == w->mate->holder;
}

/* What repairs must do, sooner or later: leases of the dead, and those that ran out. */
static void leases_end(struct world *w)
{
    const bool reliable = w->s->operation->shape->kind == IPCR_KIND_RELIABLE;
    for (uint32_t n = 0; n < w->s->play->count; n++)
        if (w->now[n].phase == IPCR_LEASED && (!is_mates(w, w->now[n]) || (reliable && w->now[n].date == PAST)))
            w->now[n] = given_back(w->s, n, w->now[n]);
}

/* --- consumers ---------------------------------------------------------------------------------------------------- */

static void time_is_over(struct world *w)
{
    for (uint32_t n = 0; n < w->s->play->count; n++)
        if (w->s->play->messages[n].perished && w->now[n].phase == IPCR_READY && w->now[n].date != LATER)
            w->now[n] = (struct standing){ .phase = IPCR_KEPT, .deliveries = w->now[n].deliveries,
                                           .holder = IPCR_KEPT_EXPIRED };
}

static uint8_t received[HAND_BYTES];

static void check_delivery(struct world *w, const struct ipcr_lease *lease, uint32_t number)
{
    CHECK_IS(IPCR_INFO_TYPE(lease->info), number);
    CHECK_IS(lease->length, length_of(w->s, number));
    CHECK_IS(lease->deliveries, w->now[number].deliveries + 1);
    CHECK(is_stamped(received, lease->length, number));
}

/* At most once, or at least once: both end with the message acknowledged. */
static int take_next(struct world *w, uint32_t number, struct ipcr_lease *lease)
{
    struct ipcr_queue *q = w->consumer;
    if (w->s->operation->shape->kind == IPCR_KIND_QUEUE && number % 2 == 0)
        return ipcr_queue_get(q, (char *)received, sizeof received, lease);
    int rc = ipcr_queue_lease(q, 0, lease);
    if (rc == IPCR_OK)
        rc = ipcr_lease_copy(q, lease, (char *)received);
    return rc == IPCR_OK ? ipcr_lease_ack(q, lease) : rc;
}

/* Whatever can be taken, in its order, and then nothing. */
static void drain(struct world *w)
{
    struct ipcr_lease lease;
    w->consumer->next_repair_ns = 0; /* a slice has gone by */
    leases_end(w);
    time_is_over(w);
    for (;;) {
        const uint32_t number = next_takeable(w->s->play, w->now);
        const int rc = take_next(w, number, &lease);
        if (number == NONE) {
            CHECK_IS(rc, w->shut ? IPCR_SHUT_DOWN : IPCR_EMPTY);
            return;
        }
        CHECK_IS(rc, IPCR_OK);
        check_delivery(w, &lease, number);
        w->now[number] = (struct standing){ .phase = IPCR_ACKED, .deliveries = lease.deliveries };
    }
}

/* All dates come; who is delayed comes up, and who held something for a time has lost it. */
static void ages_pass(struct world *w)
{
    time_passes(AGES);
    for (uint32_t n = 0; n < w->s->play->count; n++)
        if (w->now[n].date == LATER)
            w->now[n].date = PAST;
    drain(w);
}

/* Leases without an end are good as long as their holder lives; others are gone, and acknowledging changes nothing. */
static void mate_lets_go(struct world *w)
{
    if (w->mate == NULL)
        return;
    for (uint32_t n = 0; n < w->s->play->count; n++) {
        struct ipcr_lease *lease = &w->s->play->leases[n];
        if (lease->length == 0 && lease->held == 0)
            continue;
        const bool has_it = w->now[n].phase == IPCR_LEASED && is_mates(w, w->now[n]);
        CHECK_IS(ipcr_lease_ack(w->mate, lease), has_it ? IPCR_OK : IPCR_LEASE_LOST);
        if (has_it)
            w->now[n].phase = IPCR_ACKED;
    }
}

/* Kept messages are found by id; every other one is sent once more, the rest is thrown away. */
static void kept_ones_go(struct world *w)
{
    struct ipcr_lease lease;
    uint64_t after = 0;
    uint32_t why, found = 0, kept = 0;
    for (uint32_t n = 0; n < w->s->play->count; n++)
        kept += w->now[n].phase == IPCR_KEPT;
    while (kept > 0 && found < kept) {
        CHECK_IS(ipcr_queue_next_kept(w->consumer, after, &lease, &why), IPCR_OK);
        const uint32_t number = IPCR_INFO_TYPE(lease.info);
        CHECK(number < w->s->play->count && w->now[number].phase == IPCR_KEPT);
        CHECK_IS(why, w->now[number].holder);
        CHECK_IS(lease.deliveries, w->now[number].deliveries);
        CHECK(is_stamped((const uint8_t *)lease.payload, lease.length, number));
        if (found++ % 2 == 0) {
            CHECK_IS(ipcr_lease_requeue(w->consumer, &lease), IPCR_OK);
            w->now[number] = (struct standing){ .phase = IPCR_READY, .deliveries = lease.deliveries };
            w->s->play->messages[number].perished = false;
        } else {
            CHECK_IS(ipcr_lease_bury(w->consumer, &lease), IPCR_OK);
            w->now[number] = (struct standing){ .phase = IPCR_DEAD, .deliveries = lease.deliveries };
        }
        after = lease.id;
    }
    if (kept > 0)
        drain(w);
    CHECK_IS(ipcr_queue_next_kept(w->consumer, 0, &lease, &why), IPCR_EMPTY);
}

/* --- producers ---------------------------------------------------------------------------------------------------- */

static uint32_t mates_lane(const struct world *w)
{
    return w->mate != NULL && w->mate->lanes_taken > 0 ? w->mate->own[0].index : NONE;
}

/* No lane is lost: there is one for each newcomer, and none for one more. */
static void producers_come(struct world *w)
{
    const uint32_t lanes = w->s->operation->shape->lanes - (mates_lane(w) != NONE);
    bool taken[LANES_ON_STAGE] = { false };
    for (uint32_t i = 0; i <= lanes; i++) {
        struct ipcr_queue *q = w->producers[w->producers_count++] = newcomer(w->s);
        CHECK_IS(ipcr_queue_take_lane(q, true), i < lanes ? IPCR_OK : IPCR_TAKEN);
        if (i < lanes) {
            CHECK(q->own[0].index != mates_lane(w) && !taken[q->own[0].index]);
            taken[q->own[0].index] = true;
        }
    }
    w->producers_count--;
    ipcr_queue_free(w->producers[w->producers_count]);
    if (mates_lane(w) != NONE)
        w->producers[w->producers_count++] = w->mate;
}

/* As many as there is room for. */
static void fill_lane(struct world *w, struct ipcr_queue *q)
{
    struct stage *s = w->s;
    struct play *p = s->play;
    const uint32_t lane = q->own[0].index;
    for (;;) {
        uint64_t id;
        const uint32_t number = p->count;
        const bool room = has_room(s, w->now, lane, length_of(s, number));
        CHECK(number + 1 < MOST_MESSAGES);
        CHECK_IS(put_number(s, q, number, 0, &id), w->shut ? IPCR_SHUT_DOWN : room ? IPCR_OK : IPCR_FULL);
        if (!room || w->shut)
            return;
        CHECK_IS(id % s->segment->lanes, lane);
        p->lanes[lane].numbers[p->lanes[lane].count++] = number;
        p->messages[number] = (struct message){ .lane = lane };
        w->now[number] = (struct standing){ .phase = IPCR_READY };
        p->count++;
    }
}

static void fill_lanes(struct world *w)
{
    for (uint32_t i = 0; i < w->producers_count; i++)
        fill_lane(w, w->producers[i]);
}

/* Space is freed: the lanes are filled and emptied, and each takes one message as large as it is. */
static void laps(struct world *w)
{
    for (int lap = 0; lap < LAPS; lap++) {
        fill_lanes(w);
        drain(w);
    }
    for (uint32_t i = 0; i < w->producers_count && !w->shut; i++) {
        w->s->lengths[w->s->play->count] = w->s->operation->capacity;
        fill_lane(w, w->producers[i]);
        drain(w);
    }
}

/* --- repairs ------------------------------------------------------------------------------------------------------ */

static uint64_t words_hash(const struct ipcr_segment *segment)
{
    uint64_t hash = 0;
    const uint64_t slots = segment->options.slots;
    for (uint32_t i = 0; i < segment->lanes; i++)
        for (uint64_t n = 0; segment->lane[i].slots != NULL && n < slots; n++)
            hash = mixed(hash ^ load_acquire64(&segment->lane[i].slots[n].state));
    for (uint32_t i = 0; i < load_acquire32(&ipcr_queue_header(segment)->holders_high); i++)
        hash = mixed(hash ^ load_acquire32(&ipcr_queue_header(segment)->holders[i].active));
    return mixed(hash ^ load_acquire64(&ipcr_queue_header(segment)->returns));
}

/* Two, one after the other; the second has nothing to do, and both leave no number behind that is not somebody's. */
static void repairers_come(struct world *w)
{
    const struct ipcr_queue_header *header = ipcr_queue_header(w->s->segment);
    struct ipcr_queue *first = newcomer(w->s), *second = newcomer(w->s);
    CHECK_IS(ipcr_queue_repair(first, now_ns()), IPCR_OK);
    const uint64_t after_first = words_hash(w->s->segment);
    for (uint32_t i = 0; i < load_acquire32(&header->holders_high); i++)
        if (w->mate == NULL || !w->mate->registered || i != w->mate->holder)
            CHECK_IS(load_acquire32(&header->holders[i].active), 0);
    CHECK_IS(ipcr_queue_repair(second, now_ns()), IPCR_OK);
    CHECK(words_hash(w->s->segment) == after_first);
    ipcr_queue_free(first);
    ipcr_queue_free(second);
}

/* --- in the end --------------------------------------------------------------------------------------------------- */

static void note(struct world *w)
{
    for (uint32_t n = 0; n < w->s->play->count; n++)
        w->s->play->messages[n].now = w->now[n];
}

/* Each call of task_done counts once, and for ever. */
static void check_finished(struct world *w, uint64_t least, uint64_t most)
{
    const struct ipcr_queue_header *header = ipcr_queue_header(w->s->segment);
    uint64_t sum = 0;
    for (uint32_t i = 0; i < load_acquire32(&header->holders_high); i++)
        sum += load_acquire64(&header->holders[i].finished);
    CHECK(sum >= least && sum <= most);
    for (uint64_t left = w->s->play->count - sum; left > 0; left--)
        CHECK_IS(ipcr_queue_task_done(w->consumer), IPCR_OK);
    CHECK(ipcr_queue_all_finished(w->consumer));
    CHECK_IS(ipcr_queue_task_done(w->consumer), IPCR_EMPTY);
}

/* No number is lost: as many consumers as there ever were at a time get those that there were. */
static void consumers_come(struct world *w)
{
    const struct ipcr_queue_header *header = ipcr_queue_header(w->s->segment);
    const uint32_t high = load_acquire32(&header->holders_high);
    struct ipcr_queue *come[MOST_LIVING];
    uint32_t count = 0;
    CHECK(high <= MOST_LIVING);
    for (uint32_t i = 0; i < high; i++) {
        if (!is_free(w->s->segment, IPCR_LOCK_HOLDER(i)))
            continue;
        come[count] = newcomer(w->s);
        CHECK_IS(ipcr_queue_register(come[count]), IPCR_OK);
        CHECK_IS(come[count]->holder, i);
        count++;
    }
    CHECK_IS(load_acquire32(&header->holders_high), high);
    while (count-- > 0)
        ipcr_queue_free(come[count]);
}

static void everybody_leaves(struct world *w)
{
    const struct ipcr_queue_header *header = ipcr_queue_header(w->s->segment);
    consumers_come(w);
    CHECK_IS(ipcr_queue_depth(w->consumer), 0);
    note(w);
    check_queue_stats(w->s, w->s->segment);
    for (uint32_t i = 0; i < w->producers_count; i++)
        if (w->producers[i] != w->mate)
            ipcr_queue_free(w->producers[i]);
    if (w->consumer != w->mate)
        ipcr_queue_free(w->consumer);
    if (w->mate != NULL)
        ipcr_queue_close(w->mate);
    for (uint32_t i = 0; i < load_acquire32(&header->holders_high); i++)
        CHECK_IS(load_acquire32(&header->holders[i].active), 0);
    ipcr_registry_lock();
    CHECK(ipcr_lanes_nothing_unread(w->s->segment));
    ipcr_registry_unlock();
}

/* --- the whole ---------------------------------------------------------------------------------------------------- */

static void check_promises(struct stage *s, int done)
{
    const struct play *p = s->play;
    const uint8_t *hand = s->between->hand;
    for (int i = 0; i < done; i++) {
        if (!p->script[i].in_hand)
            continue;
        const uint64_t length = length_of(s, p->script[i].number);
        CHECK(is_stamped(hand, length, p->script[i].number) && "what is gone from the queue is in its taker's hand");
        hand += length;
    }
    if (!s->returned)
        return;
    CHECK_IS(s->result, p->promised);
    CHECK_IS(done, p->steps);
}

void check_queue(struct stage *s)
{
    segment_of_copy(s);
    const int done = check_queue_words(s);
    check_promises(s, done);
    struct play *p = s->play;
    const uint32_t shut = load_acquire32(&ipcr_queue_header(s->segment)->shutdown);
    CHECK(shut == IPCR_OPEN || shut == p->shuts);
    CHECK(!s->returned || shut == p->shuts);
    struct world w = { .s = s, .mate = s->all_died ? NULL : p->mate, .shut = shut != IPCR_OPEN };
    uint32_t put = 0;
    for (uint32_t n = 0; n < p->count; n++)
        put += (w.now[n] = p->messages[n].now).phase != IPCR_FREE;
    if (put < p->count) { /* the dead one's last messages were not put: their numbers are the next producers' */
        for (uint32_t i = put; i < p->count; i++)
            CHECK(w.now[i].phase == IPCR_FREE);
        p->lanes[p->victim_lane].count -= p->count - put;
        p->count = put;
    }
    if (s->way == PRODUCERS_FIRST) {
        producers_come(&w);
        fill_lanes(&w);
    }
    if (s->way == REPAIR_FIRST)
        repairers_come(&w);
    w.consumer = w.mate != NULL && s->way == CONSUMER_FIRST ? w.mate : newcomer(s);
    drain(&w);
    ages_pass(&w);
    mate_lets_go(&w);
    kept_ones_go(&w);
    if (s->way != PRODUCERS_FIRST)
        producers_come(&w);
    laps(&w);
    check_finished(&w, p->finished + (s->returned ? p->finishes : 0), p->finished + p->finishes);
    everybody_leaves(&w);
}

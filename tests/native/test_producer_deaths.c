/* test_producer_deaths.c - producers killed in each window of a put, by hand, and everybody killed at any time, at random:
 * what was put stays and comes in order, what was begun is written again, and nothing is invented.
 */
#include "queues.h"

static const struct ipcr_queue_options plain = { .max_deliveries = 0 };

/* --- windows ------------------------------------------------------------------------------------------------------ */

enum window {
    PAYLOAD,     /* the payload is written */
    WORDS,       /* the slot's words too, but not its state */
    BEFORE_HEAD, /* the message is there, and `head` speaks of the one before */
    HALF_MARK,   /* of a mark, only `freed` is written */
    MARK,        /* the mark is written, and `freed` is not */
    TAKEN_LANE,  /* the lane's byte is locked, and nothing written */
    WINDOWS
};

enum { LEFT = 5 }; /* messages that nobody has taken when the producer dies */

struct death {
    struct ipcr_queue *queue;
    enum window window;
    uint64_t before;   /* messages put before that */
    uint64_t *put;     /* what the child has put for certain; shared */
};

static void mark_by_hand(struct ipcr_producer *p, bool whole)
{
    struct ipcr_lane_mark *mark = &p->lane->words->mark[p->next_mark];
    store_release64(&mark->freed, p->freed + 1);
    if (!whole)
        return;
    store_release64(&mark->deliveries, 999);
    store_release64(&mark->redeliveries, 999);
    store_release64(&mark->dead, 999);
}

static void put_and_stop_in_the_middle(int ear, int mouth, void *arg)
{
    struct death *d = arg;
    struct ipcr_queue *q = d->queue;
    for (uint64_t i = 0; i < d->before; i++) {
        put(q, i);
        *d->put = i + 1;
        if (i >= LEFT)
            check_gets(q, i - LEFT);
    }
    CHECK_IS(d->window == TAKEN_LANE ? IPCR_OK : ipcr_producer_room(&q->own[0], 40), IPCR_OK);
    struct ipcr_producer *p = &q->own[0];
    if (d->window != TAKEN_LANE)
        memset(ipcr_producer_payload(p), 'x', 40);
    struct ipcr_slot *slot = p->lane == NULL ? NULL : ipcr_slot_at(p->lane, p->next);
    switch (d->window) {
    case WORDS:
        store_relaxed64(&slot->sequence, p->next);
        store_relaxed64(&slot->position, p->position);
        store_relaxed64(&slot->length, 40);
        store_relaxed64(&slot->expires, 1);
        store_relaxed32(&slot->forgiven, 7);
        break;
    case BEFORE_HEAD:
        put(q, d->before);
        *d->put = d->before + 1;
        store_relaxed64(&p->lane->words->head, p->next - 1);
        break;
    case HALF_MARK:
    case MARK: mark_by_hand(p, d->window == MARK); break;
    case TAKEN_LANE:
        if (d->before == 0)
            CHECK_IS(ipcr_queue_take_lane(q, true), IPCR_OK);
        break;
    default: break;
    }
    say(mouth, 'k');
    (void)ear;
    wait_for_end();
}

/* However full the lane was: before the first message, on the first lap, and behind it. */
static void a_successor_finds_what_was_put_and_writes_the_rest_again(void)
{
    for (int window = 0; window < WINDOWS; window++)
        for (uint64_t before = 0; before < 100; before += before < 4 ? 1 : 31) {
            if (before == 0 && window != TAKEN_LANE)
                continue;
            struct ipcr_segment *s = queue_of(IPCR_KIND_RELIABLE, 1, &plain, 0 - UINT64_C(70));
            struct death d = { .queue = handle_on(s), .window = (enum window)window, .before = before,
                               .put = shared_memory(sizeof *d.put) };
            struct child c = child_start(put_and_stop_in_the_middle, &d);
            CHECK_IS(hear(c.ear), 'k');
            CHECK_IS(ipcr_queue_take_lane(d.queue, true), IPCR_TAKEN);
            child_kill(&c);
            const int64_t depth = ipcr_queue_depth(d.queue);
            CHECK(depth >= 0);
            const uint64_t left = (uint64_t)depth;
            put(d.queue, 1000);
            CHECK_IS(d.queue->own[0].index, 0);
            CHECK_IS(d.queue->own[0].next - d.queue->own[0].first, 1);
            const struct ipcr_lane_stats sum = totals(s);
            CHECK_IS(sum.put, *d.put + 1);
            CHECK_IS(sum.ready, left + 1);
            CHECK_IS(sum.delivered, sum.acknowledged);
            CHECK_IS(sum.put, sum.acknowledged + sum.ready);
            for (uint64_t i = *d.put - left; i < *d.put; i++)
                leased(d.queue, 0, i, 1);
            const struct ipcr_lease l = leased(d.queue, 0, 1000, 1);
            CHECK_IS(l.length, 24);
            CHECK_IS(ipcr_lease_nack(d.queue, &l, 0), IPCR_OK);
            check_gets(d.queue, 1000); /* neither expired nor forgiven */
            munmap(d.put, sizeof *d.put);
            finish_queue(d.queue);
        }
}

/* --- at any time -------------------------------------------------------------------------------------------------- */

enum { PRODUCERS = 3, CONSUMERS = 3, EACH = 1024 };

/* What everybody says before and after each call; shared.  A message's number: producer << 20 | count. */
struct ledger {
    struct ipcr_queue *queue;
    uint32_t who;
    ipcr_word64 begun[64];      /* by each producer: puts begun */
    ipcr_word64 done[64];       /* and returned */
    ipcr_word32 acks[64][EACH]; /* of each message, acks that returned IPCR_OK */
    ipcr_word32 over;
};

static void produce(int ear, int mouth, void *arg)
{
    struct ledger *k = arg;
    const uint64_t me = k->who;
    (void)ear;
    say(mouth, 's');
    for (uint64_t i = 0; i < EACH && load_acquire32(&k->over) == 0; i++) {
        store_release64(&k->begun[me], i + 1);
        int rc;
        while ((rc = put_with(k->queue, me << 20 | i, mixed(i) % 300, 0, NULL)) == IPCR_FULL)
            CHECK(ipcr_queue_wait_for_room(k->queue, 300, IPCR_FOREVER) <= IPCR_OK);
        CHECK_IS(rc, IPCR_OK);
        store_release64(&k->done[me], i + 1);
    }
    wait_for_end();
}

static void consume(int ear, int mouth, void *arg)
{
    struct ledger *k = arg;
    uint64_t random = k->who, last[64] = { 0 };
    struct ipcr_lease l;
    (void)ear;
    say(mouth, 's');
    while (load_acquire32(&k->over) == 0) {
        const int rc = try_lease(k->queue, 0, &l);
        if (rc == IPCR_EMPTY)
            CHECK(ipcr_queue_wait_for_message(k->queue, IPCR_FOREVER) <= IPCR_OK);
        if (rc != IPCR_OK)
            continue;
        const uint64_t number = IPCR_INFO_TYPE(l.info), who = number >> 20, count = number & 0xfffff;
        CHECK(who < 64 && count < load_acquire64(&k->begun[who])); /* no invention */
        CHECK(l.deliveries > 1 || count + 1 > last[who]);          /* in order, unless it had been delivered */
        if (l.deliveries == 1)
            last[who] = count + 1;
        if (random_next(&random) % 8 == 0) {
            CHECK_IS(ipcr_lease_nack(k->queue, &l, 0), IPCR_OK);
            continue;
        }
        uint32_t seen = load_relaxed32(&k->acks[who][count]);
        CHECK_IS(ipcr_lease_ack(k->queue, &l), IPCR_OK);
        while (!compare_exchange32(&k->acks[who][count], &seen, seen + 1))
            ;
    }
    wait_for_end();
}

static struct child one_more(struct ledger *k, uint32_t who, bool producer)
{
    k->who = who;
    struct child c = child_start(producer ? produce : consume, k);
    CHECK_IS(hear(c.ear), 's');
    return c;
}

static void whoever_is_killed_whenever_nothing_put_is_lost_and_nothing_invented(void)
{
    struct ledger *k = shared_memory(sizeof *k);
    struct child p[PRODUCERS], c[CONSUMERS];
    uint64_t random = 6;
    uint32_t producers = 0, kills = 0;
    k->queue = handle_on(queue_of(IPCR_KIND_RELIABLE, PRODUCERS, &plain, 0));
    for (int i = 0; i < PRODUCERS; i++)
        p[i] = one_more(k, producers++, true);
    for (uint32_t i = 0; i < CONSUMERS; i++)
        c[i] = one_more(k, i, false);
    while (producers < 64 && kills < FEWER(120, 40)) {
        for (uint64_t n = random_next(&random) % 2000; n > 0; n--)
            sched_yield();
        const uint64_t which = random_next(&random) % (PRODUCERS + CONSUMERS);
        struct child *victim = which < PRODUCERS ? &p[which] : &c[which - PRODUCERS];
        child_kill(victim);
        kills++;
        *victim = which < PRODUCERS ? one_more(k, producers++, true) : one_more(k, (uint32_t)which, false);
    }
    for (int i = 0; i < PRODUCERS; i++)
        child_kill(&p[i]);
    while (ipcr_queue_depth(k->queue) != 0) /* the consumers that are left get the rest */
        sched_yield();
    const struct ipcr_lane_stats sum = totals(k->queue->segment);
    store_release32(&k->over, 1);
    for (int i = 0; i < CONSUMERS; i++)
        child_kill(&c[i]);
    uint64_t there = 0, unsaid = 0;
    for (uint32_t who = 0; who < producers; who++) {
        const uint64_t begun = load_acquire64(&k->begun[who]), done = load_acquire64(&k->done[who]);
        CHECK(begun - done <= 1);
        for (uint64_t i = 0; i < begun; i++)
            CHECK(load_relaxed32(&k->acks[who][i]) <= 1); /* an ack is the end */
        for (uint64_t i = 0; i < done; i++)
            unsaid += load_relaxed32(&k->acks[who][i]) == 0;
        there += done;
    }
    CHECK(unsaid <= kills + CONSUMERS); /* killed between an ack and its entry here */
    CHECK(sum.put >= there && sum.put <= there + producers);
    CHECK_IS(sum.acknowledged, sum.put);
    CHECK_IS(sum.dead + sum.ready + sum.leased + sum.kept, 0);
    finish_queue(k->queue);
    munmap(k, sizeof *k);
}

int main(void)
{
    check_begin();
    run("a successor finds what was put, and writes the rest again",
        a_successor_finds_what_was_put_and_writes_the_rest_again);
    run("whoever is killed, whenever: nothing put is lost, and nothing invented",
        whoever_is_killed_whenever_nothing_put_is_lost_and_nothing_invented);
    return check_finish();
}

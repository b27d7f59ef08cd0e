/* test_waiting.c - parking and waking: no wake-up is lost. */
#include "waits.h"

/* --- ping-pong: both park, both wake --------------------------------------------------------------------- */

struct match {
    struct ipcr_segment *there, *back;
    uint64_t rounds;
    uint64_t spin_ns;
    bool in_place; /* claims and peeks, and waits of their own, instead of copies */
    uint64_t aim_ns; /* the answering side spins, and the asking one parks after up to so long: just at the answer */
};

static void put(struct ipcr_end *e, uint64_t value, bool in_place)
{
    if (!in_place) {
        CHECK_IS(send_until(e, (const char *)&value, sizeof value, IPCR_FOREVER), IPCR_OK);
        return;
    }
    int rc = ipcr_room_wait(e, sizeof value, IPCR_FOREVER, 0);
    while (rc == IPCR_AGAIN)
        rc = ipcr_room_wait(e, sizeof value, IPCR_FOREVER, 1);
    CHECK_IS(rc, IPCR_OK);
    CHECK_IS(ipcr_claim(e, sizeof value), IPCR_OK);
    memcpy(ipcr_lent(e), &value, sizeof value);
    CHECK_IS(ipcr_commit(e, sizeof value, 0), IPCR_OK);
}

static uint64_t get(struct ipcr_end *e, bool in_place)
{
    uint64_t value = 0;
    char out[IPCR_SMALL];
    if (!in_place) {
        CHECK_IS(recv_until(e, out, IPCR_FOREVER), sizeof value);
        memcpy(&value, out, sizeof value);
        return value;
    }
    int rc = ipcr_data_wait(e, IPCR_FOREVER, 0);
    while (rc == IPCR_AGAIN)
        rc = ipcr_data_wait(e, IPCR_FOREVER, 1);
    CHECK_IS(rc, IPCR_OK);
    CHECK_IS(ipcr_peek(e), sizeof value);
    memcpy(&value, ipcr_lent(e), sizeof value);
    CHECK_IS(ipcr_release(e), IPCR_OK);
    return value;
}

static void *answer(void *arg)
{
    const struct match *m = arg;
    struct ipcr_end *r = taken(m->there, IPCR_RECEIVER, m->aim_ns != 0 ? 50000000 : m->spin_ns);
    struct ipcr_end *w = taken(m->back, IPCR_SENDER, m->spin_ns);
    for (uint64_t i = 0; i < m->rounds; i++)
        put(w, get(r, m->in_place) + 1, m->in_place);
    finish(r);
    finish(w);
    return NULL;
}

static void answer_in_a_child(int ear, int mouth, void *arg)
{
    (void)ear;
    (void)mouth;
    answer(arg);
}

static void ask(const struct match *m, struct ipcr_end *w, struct ipcr_end *r)
{
    for (uint64_t i = 0; i < m->rounds; i++) {
        put(w, i, m->in_place);
        if (m->aim_ns != 0)
            for (const uint64_t until = now_ns() + mixed(i) % m->aim_ns; now_ns() < until;)
                cpu_relax();
        CHECK_IS(get(r, m->in_place), i + 1);
    }
}

static void play(struct match m, bool with_a_child)
{
    m.there = anonymous(4096, 0);
    m.back = anonymous(4096, 0);
    pthread_t thread;
    struct child child = { .pid = 0 };
    if (with_a_child)
        child = child_start(answer_in_a_child, &m);
    struct ipcr_end *w = taken(m.there, IPCR_SENDER, m.spin_ns);
    struct ipcr_end *r = taken(m.back, IPCR_RECEIVER, m.spin_ns);
    if (!with_a_child)
        CHECK(pthread_create(&thread, NULL, answer, &m) == 0);
    else /* until the child has taken its ends, it isn't there to end the channel */
        while ((load_acquire32(&r->theirs->end_state) & IPCR_END_MASK) == IPCR_END_UNTAKEN)
            sched_yield();
    ask(&m, w, r);
    if (with_a_child)
        child_finish(&child);
    else
        CHECK(pthread_join(thread, NULL) == 0);
    finish(w);
    finish(r);
    ipcr_segment_release(m.there);
    ipcr_segment_release(m.back);
}

static void a_hundred_thousand_sleeps_between_threads_lose_no_wake_up(void)
{
    be_patient(0);
    const uint64_t wanted = FEWER(100000, 10000);
    for (int i = 0; load_relaxed64(&watch->slept) < wanted; i++)
        play((struct match){ .rounds = wanted / 4, .spin_ns = 0, .in_place = i % 2 != 0 }, false);
    be_impatient();
}

static void nor_do_sleeps_between_processes(void)
{
    be_patient(0);
    const uint64_t wanted = FEWER(40000, 4000);
    for (int i = 0; load_relaxed64(&watch->slept) < wanted; i++)
        play((struct match){ .rounds = wanted / 4, .spin_ns = 0, .in_place = i % 2 != 0 }, true);
    be_impatient();
}

static void nor_when_both_are_delayed_where_it_hurts(void)
{
    be_patient(2);
    for (int i = 0; i < 2; i++)
        play((struct match){ .rounds = FEWER(15000, 1500), .spin_ns = 0, .in_place = i != 0 }, i == 0);
    be_impatient();
}

static void nor_when_both_spin_first(void)
{
    be_patient(7);
    play((struct match){ .rounds = FEWER(30000, 3000), .spin_ns = IPCR_SPIN_AUTO }, false);
    play((struct match){ .rounds = FEWER(30000, 3000), .spin_ns = 3000 }, true);
    be_impatient();
}

/* The only chance to lose one is an answer in the few nanoseconds in which the other side parks.  Each
 * answering thread ends before the next one starts, often on the same CPU: Linux's membarrier
 * (GLOBAL_EXPEDITED) then skips that CPU until another program has run there. */
static void nor_when_the_answer_comes_just_as_the_other_parks(void)
{
    be_patient(0);
    for (int i = 0; i < 10; i++)
        play((struct match){ .rounds = FEWER(60000, 6000), .spin_ns = 0, .aim_ns = 800 + 800 * (uint64_t)(i % 4) }, false);
    be_impatient();
}

static void on_one_cpu(int ear, int mouth, void *arg)
{
    cpu_set_t all, one;
    (void)ear;
    (void)mouth;
    (void)arg;
    CHECK(sched_getaffinity(0, sizeof all, &all) == 0);
    CPU_ZERO(&one);
    for (size_t cpu = 0; cpu < CPU_SETSIZE && CPU_COUNT(&one) == 0; cpu++)
        if (CPU_ISSET(cpu, &all))
            CPU_SET(cpu, &one);
    CHECK(sched_setaffinity(0, sizeof one, &one) == 0);
    play((struct match){ .rounds = FEWER(20000, 2000), .spin_ns = IPCR_SPIN_AUTO }, true);
    play((struct match){ .rounds = FEWER(20000, 2000), .spin_ns = 0, .in_place = true }, true);
}

static void nor_when_both_share_one_cpu(void)
{
    be_patient(0);
    struct child c = child_start(on_one_cpu, NULL);
    child_finish(&c);
    be_impatient();
}

/* A process that finds membarrier forbidden makes segments on which everybody fences. */
static void without_membarrier(int ear, int mouth, void *arg)
{
    (void)ear;
    (void)mouth;
    (void)arg;
    struct ipcr_segment *s = anonymous(4096, 0);
    CHECK_IS(s->flags & IPCR_FLAG_ASYMMETRIC, 0);
    ipcr_segment_release(s);
    play((struct match){ .rounds = FEWER(15000, 1500), .spin_ns = 0 }, true);
    store_relaxed32(&watch->delays, 3);
    play((struct match){ .rounds = FEWER(10000, 1000), .spin_ns = 0 }, true);
}

static void nor_where_membarrier_is_forbidden(void) /* runs first: the registry must not have started */
{
    be_patient(0);
    store_relaxed32(&watch->no_membarrier, 1);
    struct child c = child_start(without_membarrier, NULL);
    child_finish(&c);
    store_relaxed32(&watch->no_membarrier, 0);
    be_impatient();
}

static void nor_where_membarrier_is_forbidden_later(void) /* the second look is then all there is */
{
    be_patient(0);
    store_relaxed32(&watch->no_membarrier, 1);
    play((struct match){ .rounds = FEWER(15000, 1500), .spin_ns = 0 }, true);
    play((struct match){ .rounds = FEWER(15000, 1500), .spin_ns = 0 }, false);
    be_impatient();
    struct channel c = new_channel(4096, 0);
    char out[IPCR_SMALL];
    CHECK_IS(recv_until(c.r, out, in_ms(30)), IPCR_EMPTY);
    CHECK(load_relaxed64(&watch->longest_ns) > SECOND_LOOK_NS); /* an idle waiter sleeps long all the same */
    end_channel(&c);
    store_relaxed32(&watch->no_membarrier, 0);
}

/* --- streams: one waits for room, the other for data -------------------------------------------------------- */

struct stream {
    struct ipcr_segment *segment;
    uint64_t messages, length, batch;
};

static void *stream_out(void *arg)
{
    const struct stream *s = arg;
    struct ipcr_end *w = taken(s->segment, IPCR_SENDER, 0);
    static uint8_t message[8192];
    uint64_t lengths[8], sent = 0;
    for (int i = 0; i < 8; i++)
        lengths[i] = s->length;
    while (sent < s->messages) {
        const uint64_t left = s->messages - sent, batch = left < s->batch ? left : s->batch;
        for (uint64_t i = 0; i < batch; i++)
            stamp(message + i * s->length, s->length, sent + i);
        if (s->batch == 1) {
            CHECK_IS(send_until(w, (const char *)message, s->length, IPCR_FOREVER), IPCR_OK);
            sent++;
            continue;
        }
        int64_t n = send_batch(w, (const char *)message, lengths, batch, 0);
        if (n == IPCR_FULL) {
            n = 0;
            int rc = ipcr_room_wait(w, s->length, IPCR_FOREVER, 0);
            while (rc == IPCR_AGAIN)
                rc = ipcr_room_wait(w, s->length, IPCR_FOREVER, 1);
            CHECK_IS(rc, IPCR_OK);
        }
        CHECK(n >= 0);
        sent += (uint64_t)n;
    }
    int rc = ipcr_flush_wait(w, IPCR_FOREVER, 0);
    while (rc == IPCR_AGAIN)
        rc = ipcr_flush_wait(w, IPCR_FOREVER, 1);
    CHECK_IS(rc, IPCR_OK);
    finish(w);
    return NULL;
}

static void stream_out_of_a_child(int ear, int mouth, void *arg)
{
    (void)ear;
    (void)mouth;
    stream_out(arg);
}

static void flow(struct stream s, uint64_t capacity, bool from_a_child)
{
    s.segment = anonymous(capacity, 0);
    struct ipcr_end *held = NULL;
    CHECK_IS(ipcr_end_open(s.segment, IPCR_SENDER, 0, &held), IPCR_OK); /* somebody will come */
    struct ipcr_end *r = taken(s.segment, IPCR_RECEIVER, 0);
    struct child child = { .pid = 0 };
    pthread_t thread;
    if (from_a_child)
        child = child_start(stream_out_of_a_child, &s);
    else
        CHECK(pthread_create(&thread, NULL, stream_out, &s) == 0);
    static char out[IPCR_SMALL];
    uint64_t got = 0;
    for (;;) {
        int64_t n = recv_until(r, out, IPCR_FOREVER);
        if (n == IPCR_END_OF_CHANNEL)
            break;
        CHECK_IS(n, s.length);
        CHECK(is_stamped((const uint8_t *)out, s.length, got));
        got++;
        n = s.batch == 1 ? 0 : recv_batch(r, out, sizeof out, 8);
        CHECK(n >= 0 || n == IPCR_EMPTY || n == IPCR_END_OF_CHANNEL);
        for (int64_t i = 0; i < n; i++, got++)
            CHECK(is_stamped((const uint8_t *)out + (uint64_t)i * s.length, s.length, got));
    }
    CHECK_IS(got, s.messages);
    if (from_a_child)
        child_finish(&child);
    else
        CHECK(pthread_join(thread, NULL) == 0);
    finish(held);
    finish(r);
    ipcr_segment_release(s.segment);
}

static void streams_of_small_messages_lose_no_wake_up(void)
{
    be_patient(0);
    flow((struct stream){ .messages = FEWER(300000, 30000), .length = 40, .batch = 1 }, 4096, false);
    flow((struct stream){ .messages = FEWER(300000, 30000), .length = 40, .batch = 1 }, 4096, true);
    be_impatient();
}

static void nor_do_streams_of_messages_that_fill_the_ring(void)
{
    be_patient(0);
    flow((struct stream){ .messages = FEWER(20000, 2000), .length = 4080, .batch = 1 }, 4096, false);
    flow((struct stream){ .messages = FEWER(20000, 2000), .length = 1500, .batch = 1 }, 4096, true);
    be_impatient();
}

static void nor_do_batches_and_delays(void)
{
    be_patient(3);
    flow((struct stream){ .messages = FEWER(80000, 8000), .length = 120, .batch = 8 }, 4096, false);
    flow((struct stream){ .messages = FEWER(80000, 8000), .length = 900, .batch = 4 }, 4096, true);
    be_impatient();
}

int main(void)
{
    check_begin();
    watch = shared_memory(4096);
    run("sleeps where membarrier is forbidden lose no wake-up", nor_where_membarrier_is_forbidden);
    run("a hundred thousand sleeps between threads lose no wake-up",
        a_hundred_thousand_sleeps_between_threads_lose_no_wake_up);
    run("nor do sleeps between processes", nor_do_sleeps_between_processes);
    run("nor when both are delayed where it hurts", nor_when_both_are_delayed_where_it_hurts);
    run("nor when both spin first", nor_when_both_spin_first);
    run("nor when the answer comes just as the other parks", nor_when_the_answer_comes_just_as_the_other_parks);
    run("nor when both share one CPU", nor_when_both_share_one_cpu);
    run("nor where membarrier is forbidden later", nor_where_membarrier_is_forbidden_later);
    run("streams of small messages lose no wake-up", streams_of_small_messages_lose_no_wake_up);
    run("nor do streams of messages that fill the ring", nor_do_streams_of_messages_that_fill_the_ring);
    run("nor do batches and delays", nor_do_batches_and_delays);
    return check_finish();
}

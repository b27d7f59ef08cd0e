/* test_waiting.c - parking and waking, deadlines, and everything that ends a wait.
 *
 * A lost wake-up normally hides: the sleeper looks again at the end of its slice.  Here syscall() is
 * replaced, and a patient sleep has no slice: it lasts until it is woken, and one that is not woken for
 * PATIENCE_NS is a failure.  The same hook delays callers at the points where the handshake of
 * waiting.h could go wrong, counts sleeps, and can make membarrier fail.
 */
#include "batches.h"
#include "check.h"
#include "ends.h"
#include "stats.h"
#include "transfer.h"

#include <dlfcn.h>
#include <linux/futex.h>
#include <pthread.h>
#include <stdarg.h>
#include <sys/syscall.h>
#include <time.h>

#define PATIENCE_NS UINT64_C(10000000000)
#define SECOND_LOOK_NS UINT64_C(1000000) /* a first sleep this short is part of the handshake; see waiting.h */

/* --- the hook ------------------------------------------------------------------------------------------ */

struct watch { /* shared with forked children */
    ipcr_word32 patient;
    ipcr_word32 delays; /* one call in so many is held up; 0: none */
    ipcr_word32 no_membarrier;
    ipcr_word64 waits;  /* futex waits begun */
    ipcr_word64 slept;  /* ... that were ended by a wake-up */
    ipcr_word64 longest_ns; /* sleep that was asked for, patience aside */
    ipcr_word64 random;
};

static struct watch *watch;

static void count(ipcr_word64 *what) { atomic_fetch_add_explicit(what, 1, memory_order_relaxed); }

static void maybe_delay(void)
{
    const uint32_t one_in = load_relaxed32(&watch->delays);
    if (one_in == 0)
        return;
    const uint64_t dice = mixed(atomic_fetch_add_explicit(&watch->random, 1, memory_order_relaxed));
    if (dice % one_in != 0)
        return;
    if (dice >> 32 & 1) {
        sched_yield();
    } else {
        const uint64_t until = ipcr_os_now_ns() + (dice >> 40) % 30000;
        while (ipcr_os_now_ns() < until)
            cpu_relax();
    }
}

typedef long system_call(long number, ...);

long syscall(long number, ...)
{
    static _Atomic(system_call *) next;
    long a[6];
    va_list more;
    va_start(more, number);
    for (int i = 0; i < 6; i++)
        a[i] = va_arg(more, long);
    va_end(more);
    system_call *call = atomic_load(&next);
    if (call == NULL) {
        void *found = dlsym(RTLD_NEXT, "syscall");
        memcpy(&call, &found, sizeof call);
        atomic_store(&next, call);
    }
    if (watch == NULL || (number != SYS_futex && number != SYS_membarrier))
        return call(number, a[0], a[1], a[2], a[3], a[4], a[5]);
    maybe_delay();
    if (number == SYS_membarrier && load_relaxed32(&watch->no_membarrier) != 0) {
        errno = EPERM;
        return -1;
    }
    const bool waits = number == SYS_futex && (a[1] & FUTEX_CMD_MASK) == FUTEX_WAIT_BITSET;
    struct timespec until;
    bool patient = false;
    if (waits) {
        count(&watch->waits);
        memcpy(&until, (const void *)(uintptr_t)a[3], sizeof until);
        const uint64_t at = (uint64_t)until.tv_sec * UINT64_C(1000000000) + (uint64_t)until.tv_nsec;
        const uint64_t now = ipcr_os_now_ns(), asked = at > now ? at - now : 0;
        if (asked > load_relaxed64(&watch->longest_ns))
            store_relaxed64(&watch->longest_ns, asked);
        if (load_relaxed32(&watch->patient) != 0 && asked > SECOND_LOOK_NS) {
            patient = true;
            until.tv_sec += (time_t)(PATIENCE_NS / UINT64_C(1000000000));
            a[3] = (long)(uintptr_t)&until;
        }
    }
    const long rc = call(number, a[0], a[1], a[2], a[3], a[4], a[5]);
    const int error = errno;
    if (waits && rc == 0)
        count(&watch->slept);
    if (waits && rc != 0 && error == ETIMEDOUT && load_relaxed32(&watch->patient) != 0 && patient)
        check_failed(__FILE__, __LINE__, "a wake-up was lost");
    maybe_delay();
    errno = error;
    return rc;
}

static void be_patient(uint32_t delays)
{
    store_relaxed64(&watch->waits, 0);
    store_relaxed64(&watch->slept, 0);
    store_relaxed64(&watch->longest_ns, 0);
    store_relaxed32(&watch->delays, delays);
    store_relaxed32(&watch->patient, 1);
}

static void be_impatient(void)
{
    store_relaxed32(&watch->patient, 0);
    store_relaxed32(&watch->delays, 0);
}

/* --- ends ------------------------------------------------------------------------------------------------ */

static struct ipcr_end *taken(struct ipcr_segment *s, uint32_t side, uint64_t spin_ns)
{
    struct ipcr_end *e = NULL;
    uint32_t by;
    CHECK_IS(ipcr_end_open(s, side, spin_ns, &e), IPCR_OK);
    CHECK_IS(ipcr_end_take(e, &by), IPCR_OK);
    return e;
}

static void finish(struct ipcr_end *e)
{
    ipcr_end_close(e, true);
    ipcr_end_free(e);
}

static int64_t recv_until(struct ipcr_end *e, char *out, uint64_t deadline_ns)
{
    int64_t rc = ipcr_recv_wait(e, out, deadline_ns, 0);
    while (rc == IPCR_AGAIN)
        rc = ipcr_recv_wait(e, out, deadline_ns, 1);
    return rc;
}

static int send_until(struct ipcr_end *e, const char *message, uint64_t length, uint64_t deadline_ns)
{
    int rc = ipcr_send_wait(e, message, length, 0, deadline_ns, 0);
    while (rc == IPCR_AGAIN)
        rc = ipcr_send_wait(e, message, length, 0, deadline_ns, 1);
    return rc;
}

struct channel {
    struct ipcr_segment *segment;
    struct ipcr_end *w, *r;
};

static struct channel new_channel(uint64_t capacity, uint64_t spin_ns)
{
    struct channel c = { .segment = anonymous(capacity, 0) };
    c.w = taken(c.segment, IPCR_SENDER, spin_ns);
    c.r = taken(c.segment, IPCR_RECEIVER, spin_ns);
    return c;
}

static void end_channel(struct channel *c)
{
    finish(c->w);
    finish(c->r);
    ipcr_segment_release(c->segment);
}

static void wait_until_parked(struct channel *c, uint32_t side)
{
    while (load_acquire32(&c->segment->header->signals[side].parked) == 0)
        sched_yield();
}

static void fill(struct ipcr_end *w)
{
    static char message[100];
    int rc;
    do
        rc = ipcr_send(w, message, sizeof message, 0);
    while (rc == IPCR_OK);
    CHECK_IS(rc, IPCR_FULL);
}

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

/* --- deadlines ----------------------------------------------------------------------------------------------- */

static void a_deadline_ends_a_wait_and_not_before(void)
{
    char out[IPCR_SMALL];
    const uint64_t spins[] = { 0, IPCR_SPIN_AUTO, 200000000 };
    for (int i = 0; i < 3; i++) {
        struct channel c = new_channel(4096, spins[i]);
        for (uint64_t ms = 0; ms <= 250; ms += ms < 10 ? 1 : 80) {
            const uint64_t at = in_ms(ms);
            CHECK_IS(recv_until(c.r, out, at), IPCR_EMPTY);
            CHECK(now_ns() >= at);
        }
        fill(c.w);
        for (uint64_t ms = 0; ms <= 250; ms += ms < 10 ? 1 : 80) {
            const uint64_t at = in_ms(ms);
            CHECK_IS(send_until(c.w, out, 100, at), IPCR_FULL);
            CHECK(now_ns() >= at);
        }
        const uint64_t at = in_ms(120);
        int rc = ipcr_flush_wait(c.w, at, 0);
        while (rc == IPCR_AGAIN)
            rc = ipcr_flush_wait(c.w, at, 1);
        CHECK_IS(rc, IPCR_FULL);
        CHECK(now_ns() >= at);
        CHECK_IS(ipcr_room_wait(c.w, 100, in_ms(5), 0), IPCR_FULL);
        CHECK_IS(ipcr_data_wait(c.r, in_ms(5), 0), IPCR_OK);
        end_channel(&c);
    }
}

static void a_deadline_that_is_past_still_looks_once(void)
{
    struct channel c = new_channel(4096, 0);
    char out[IPCR_SMALL];
    CHECK_IS(recv_until(c.r, out, 0), IPCR_EMPTY);
    CHECK_IS(send_until(c.w, "x", 1, 0), IPCR_OK);
    CHECK_IS(recv_until(c.r, out, 0), 1);
    fill(c.w);
    CHECK_IS(send_until(c.w, out, 100, 0), IPCR_FULL);
    end_channel(&c);
}

static void an_idle_wait_wakes_a_few_times_a_second_and_says_how_long_it_slept(void)
{
    struct channel c = new_channel(4096, 0);
    char out[IPCR_SMALL];
    struct ipcr_stats stats;
    be_patient(0);
    store_relaxed32(&watch->patient, 0);
    CHECK_IS(recv_until(c.r, out, in_ms(500)), IPCR_EMPTY);
    CHECK(load_relaxed64(&watch->waits) <= 12); /* 25 a second */
    CHECK_IS(ipcr_stats_of_segment(c.segment, &stats), IPCR_OK);
    CHECK(stats.side[IPCR_RECEIVER].parked_ns >= UINT64_C(250000000));
    CHECK_IS(stats.side[IPCR_SENDER].parked_ns, 0);
    end_channel(&c);
}

/* --- signals -------------------------------------------------------------------------------------------------- */

static ipcr_word32 storm_over;

static void nothing(int signal_number) { (void)signal_number; }

static void *make_storm(void *arg)
{
    const pthread_t *victim = arg;
    while (load_acquire32(&storm_over) == 0) {
        pthread_kill(*victim, SIGUSR1);
        ipcr_os_sleep_ns(300000);
    }
    return NULL;
}

static void send_nothing(int ear, int mouth, void *arg)
{
    (void)ear;
    (void)taken(arg, IPCR_SENDER, 0);
    say(mouth, 't');
    wait_for_end();
}

static void signals_interrupt_a_wait_without_ending_it_or_hiding_a_death(void)
{
    const struct sigaction act = { .sa_handler = nothing }; /* no SA_RESTART: as Python does */
    pthread_t self = pthread_self(), thread;
    char out[IPCR_SMALL];
    CHECK(sigaction(SIGUSR1, &act, NULL) == 0);
    struct channel c = new_channel(4096, 0);
    struct ipcr_segment *s = anonymous(4096, 0);
    struct ipcr_end *r = taken(s, IPCR_RECEIVER, 0);
    struct child child = child_start(send_nothing, s);
    CHECK_IS(hear(child.ear), 't');
    store_release32(&storm_over, 0);
    CHECK(pthread_create(&thread, NULL, make_storm, &self) == 0);
    const uint64_t at = in_ms(300);
    uint64_t slices = 0;
    int64_t rc = ipcr_recv_wait(c.r, out, at, 0);
    for (; rc == IPCR_AGAIN; slices++)
        rc = ipcr_recv_wait(c.r, out, at, 1);
    CHECK_IS(rc, IPCR_EMPTY);
    CHECK(now_ns() >= at);
    CHECK(slices > 3); /* more than slices alone: signals came through */
    const pid_t pid = child.pid; /* child_kill's reads may be interrupted, its waits not */
    CHECK(kill(pid, SIGKILL) == 0);
    const uint64_t dead = now_ns();
    CHECK_IS(recv_until(r, out, IPCR_FOREVER), IPCR_PEER_DIED);
    CHECK(now_ns() - dead < UINT64_C(1000000000)); /* five times what is promised */
    store_release32(&storm_over, 1);
    CHECK(pthread_join(thread, NULL) == 0);
    (void)child_wait(&child);
    finish(r);
    ipcr_segment_release(s);
    end_channel(&c);
}

/* --- other ways in which a wait ends ---------------------------------------------------------------------------- */

struct waiter {
    struct channel *channel;
    int way; /* 0: for data, 1: for room, 2: for a flush */
    int64_t result;
};

static void *wait_for_ever(void *arg)
{
    struct waiter *w = arg;
    char out[IPCR_SMALL];
    int resume = 0;
    do {
        w->result = w->way == 0   ? ipcr_recv_wait(w->channel->r, out, IPCR_FOREVER, resume)
                    : w->way == 1 ? ipcr_send_wait(w->channel->w, "x", 1, 0, IPCR_FOREVER, resume)
                                  : ipcr_flush_wait(w->channel->w, IPCR_FOREVER, resume);
        resume = 1;
    } while (w->result == IPCR_AGAIN);
    return NULL;
}

static pthread_t start_waiter(struct waiter *w)
{
    pthread_t thread;
    if (w->way != 0)
        fill(w->channel->w);
    while (w->way == 1 && ipcr_send(w->channel->w, "x", 1, 0) == IPCR_OK)
        ;
    CHECK(pthread_create(&thread, NULL, wait_for_ever, w) == 0);
    return thread;
}

static void closing_a_handle_wakes_the_thread_that_waits_in_it(void)
{
    be_patient(0);
    for (int round = 0; round < FEWER(600, 150); round++) {
        struct channel c = new_channel(4096, 0);
        struct waiter w = { .channel = &c, .way = round % 3 };
        const pthread_t thread = start_waiter(&w);
        if (round % 2 == 0) /* asleep; otherwise wherever it is */
            wait_until_parked(&c, w.way == 0 ? IPCR_RECEIVER : IPCR_SENDER);
        ipcr_end_close(w.way == 0 ? c.r : c.w, true);
        CHECK(pthread_join(thread, NULL) == 0);
        CHECK_IS(w.result, IPCR_CLOSED);
        end_channel(&c);
    }
    be_impatient();
}

static void a_close_over_there_wakes_at_once(void)
{
    be_patient(0);
    for (int round = 0; round < FEWER(600, 150); round++) {
        struct channel c = new_channel(4096, 0);
        struct waiter w = { .channel = &c, .way = round % 3 };
        const pthread_t thread = start_waiter(&w);
        if (round % 2 == 0)
            wait_until_parked(&c, w.way == 0 ? IPCR_RECEIVER : IPCR_SENDER);
        ipcr_end_close(w.way == 0 ? c.w : c.r, true);
        CHECK(pthread_join(thread, NULL) == 0);
        CHECK_IS(w.result, IPCR_END_OF_CHANNEL);
        end_channel(&c);
    }
    be_impatient();
}

static void a_flush_ends_with_the_release_of_the_last_message(void)
{
    be_patient(0);
    for (int round = 0; round < FEWER(200, 50); round++) {
        struct channel c = new_channel(4096, 0);
        struct waiter w = { .channel = &c, .way = 2 };
        char out[IPCR_SMALL];
        const pthread_t thread = start_waiter(&w);
        if (round % 2 == 0)
            wait_until_parked(&c, IPCR_SENDER);
        while (ipcr_recv(c.r, out) >= 0)
            ;
        CHECK(pthread_join(thread, NULL) == 0);
        CHECK_IS(w.result, IPCR_OK);
        CHECK_IS(ipcr_flush_wait(c.w, 0, 0), IPCR_OK);
        end_channel(&c);
    }
    be_impatient();
}

static void a_second_thread_in_one_end_is_told_busy(void)
{
    struct channel c = new_channel(4096, 0);
    struct waiter w = { .channel = &c, .way = 0 };
    const pthread_t thread = start_waiter(&w);
    char out[IPCR_SMALL];
    const uint64_t until = in_ms(250); /* inside, and between slices */
    uint32_t by;
    wait_until_parked(&c, IPCR_RECEIVER);
    while (now_ns() < until) {
        CHECK_IS(ipcr_recv(c.r, out), IPCR_BUSY);
        CHECK_IS(ipcr_recv_wait(c.r, out, 0, 0), IPCR_BUSY);
        CHECK_IS(ipcr_peek(c.r), IPCR_BUSY);
        CHECK_IS(ipcr_release(c.r), IPCR_BUSY);
        CHECK_IS(recv_batch(c.r, out, 1, 1), IPCR_BUSY);
        CHECK_IS(ipcr_end_take(c.r, &by), IPCR_BUSY);
        CHECK_IS(ipcr_peer_sometimes(c.r), IPCR_OK);
        ipcr_stop_waiting(c.r); /* not this thread's wait */
        ipcr_os_sleep_ns(1000000);
    }
    CHECK_IS(ipcr_send(c.w, "x", 1, 0), IPCR_OK); /* the other end is another end */
    CHECK(pthread_join(thread, NULL) == 0);
    CHECK_IS(w.result, 1);
    CHECK_IS(ipcr_recv(c.r, out), IPCR_EMPTY); /* idle again */
    end_channel(&c);
}

static void a_wait_that_is_given_up_between_slices_leaves_the_end_idle(void)
{
    struct channel c = new_channel(4096, 0);
    char out[IPCR_SMALL];
    CHECK_IS(ipcr_recv_wait(c.r, out, IPCR_FOREVER, 0), IPCR_AGAIN);
    CHECK_IS(ipcr_recv(c.r, out), IPCR_BUSY); /* the same thread, but in the middle of a wait */
    ipcr_stop_waiting(c.r);
    CHECK_IS(ipcr_recv(c.r, out), IPCR_EMPTY);
    ipcr_stop_waiting(c.r);
    CHECK_IS(ipcr_recv_wait(c.r, out, IPCR_FOREVER, 1), IPCR_BUSY); /* nothing to resume */
    /* closed between slices */
    CHECK_IS(ipcr_recv_wait(c.r, out, IPCR_FOREVER, 0), IPCR_AGAIN);
    ipcr_end_close(c.r, true);
    CHECK_IS(ipcr_recv_wait(c.r, out, IPCR_FOREVER, 1), IPCR_CLOSED);
    ipcr_stop_waiting(c.r);
    CHECK_IS(ipcr_recv(c.r, out), IPCR_CLOSED);
    end_channel(&c);
}

static void a_take_over_wakes_a_waiter_that_then_goes_on(void)
{
    struct channel c = new_channel(4096, 0);
    struct waiter w = { .channel = &c, .way = 0 };
    ipcr_end_close(c.w, false); /* as by a crash */
    struct ipcr_end *successor = taken(c.segment, IPCR_SENDER, 0);
    be_patient(0);
    const pthread_t thread = start_waiter(&w);
    wait_until_parked(&c, IPCR_RECEIVER);
    CHECK_IS(ipcr_send(successor, "on", 2, 0), IPCR_OK);
    CHECK(pthread_join(thread, NULL) == 0);
    CHECK_IS(w.result, 2);
    be_impatient();
    finish(successor);
    end_channel(&c);
}

/* --- drain ------------------------------------------------------------------------------------------------------- */

static void draining_wakes_a_waiter(void)
{
    be_patient(0);
    for (int round = 0; round < FEWER(300, 100); round++) {
        struct channel c = new_channel(4096, 0);
        struct waiter w = { .channel = &c, .way = 0 };
        const pthread_t thread = start_waiter(&w);
        if (round % 2 == 0)
            wait_until_parked(&c, IPCR_RECEIVER);
        ipcr_end_drain(c.r);
        CHECK(pthread_join(thread, NULL) == 0);
        CHECK_IS(w.result, IPCR_END_OF_CHANNEL);
        end_channel(&c);
    }
    be_impatient();
}

static void draining_hands_out_what_was_there_and_no_more(void)
{
    char out[IPCR_SMALL];
    for (int way = 0; way < 4; way++) {
        struct channel c = new_channel(4096, 0);
        for (int i = 0; i < 10; i++)
            CHECK_IS(ipcr_send(c.w, "there", 5, 0), IPCR_OK);
        ipcr_end_drain(c.r);
        for (int i = 0; i < 10; i++)
            CHECK_IS(ipcr_send(c.w, "late", 4, 0), IPCR_OK);
        ipcr_end_drain(c.r); /* again: the first one counts */
        int64_t got = 0, rc;
        do {
            rc = way == 0   ? ipcr_recv(c.r, out)
                 : way == 1 ? recv_until(c.r, out, IPCR_FOREVER)
                 : way == 2 ? recv_batch(c.r, out, sizeof out, 100)
                            : ipcr_peek(c.r);
            if (rc >= 0)
                got += way == 2 ? rc : 1;
            if (way == 3 && rc >= 0)
                CHECK_IS(ipcr_release(c.r), IPCR_OK);
        } while (rc >= 0);
        CHECK_IS(rc, IPCR_END_OF_CHANNEL);
        CHECK_IS(got, 10);
        CHECK_IS(ipcr_data_wait(c.r, IPCR_FOREVER, 0), IPCR_END_OF_CHANNEL);
        end_channel(&c);
    }
}

static void an_end_may_be_drained_before_it_is_taken(void)
{
    struct ipcr_segment *s = anonymous(4096, 0);
    struct ipcr_end *w = taken(s, IPCR_SENDER, 0), *r = NULL;
    char out[IPCR_SMALL];
    uint32_t by;
    CHECK_IS(ipcr_end_open(s, IPCR_RECEIVER, 0, &r), IPCR_OK);
    CHECK_IS(ipcr_send(w, "one", 3, 0), IPCR_OK);
    ipcr_end_drain(r);
    CHECK_IS(ipcr_recv(r, out), IPCR_NOT_TAKEN);
    CHECK_IS(ipcr_end_take(r, &by), IPCR_OK);
    CHECK_IS(ipcr_recv(r, out), 3);
    CHECK_IS(ipcr_recv(r, out), IPCR_END_OF_CHANNEL);
    finish(w);
    finish(r);
    ipcr_segment_release(s);
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
    run("a deadline ends a wait, and not before", a_deadline_ends_a_wait_and_not_before);
    run("a deadline that is past still looks once", a_deadline_that_is_past_still_looks_once);
    run("an idle wait wakes a few times a second, and says how long it slept",
        an_idle_wait_wakes_a_few_times_a_second_and_says_how_long_it_slept);
    run("signals interrupt a wait without ending it or hiding a death",
        signals_interrupt_a_wait_without_ending_it_or_hiding_a_death);
    run("closing a handle wakes the thread that waits in it", closing_a_handle_wakes_the_thread_that_waits_in_it);
    run("a close over there wakes at once", a_close_over_there_wakes_at_once);
    run("a flush ends with the release of the last message", a_flush_ends_with_the_release_of_the_last_message);
    run("a second thread in one end is told busy", a_second_thread_in_one_end_is_told_busy);
    run("a wait that is given up between slices leaves the end idle",
        a_wait_that_is_given_up_between_slices_leaves_the_end_idle);
    run("a take-over wakes a waiter, that then goes on", a_take_over_wakes_a_waiter_that_then_goes_on);
    run("draining wakes a waiter", draining_wakes_a_waiter);
    run("draining hands out what was there, and no more", draining_hands_out_what_was_there_and_no_more);
    run("an end may be drained before it is taken", an_end_may_be_drained_before_it_is_taken);
    return check_finish();
}

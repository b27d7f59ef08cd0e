/* lost_wakes.c - sleeps without a safety net: a wake-up that is lost is a hang, and is counted.
 *
 * A waiter normally looks again at the end of its slice, so that a lost wake-up costs 100 ms and is never seen.  Here
 * the core is compiled over atomics.h beside this file, and its futex wait is wrapped: a sleep has no end but a
 * wake-up.  Only the first, short sleep of an asymmetric waiter is left as it is: it belongs to the handshake
 * (docs/decisions/0001-asymmetric-wake.md); how often its second look found something is told.  A sleep that nobody
 * ends for PATIENCE_NS, with a partner that has nothing else to do, is counted as lost, and the run goes on.
 * A case in which hardly anybody sleeps has shown nothing, and fails.
 *
 * Two processes sleep and wake in both directions: a receiver for data, a sender for room; on one CPU and on two; over
 * membarrier and over full fences; left alone, where only the machine's own reordering can lose one, and delayed at
 * random around the stores and fences of the handshake, where a missing look or a wrong order loses one.
 *
 * What it cannot show: that another machine, or a compiler that moves more, keeps what this one keeps; that is the
 * explorer's and the Spin models' part.  Nobody is killed here: a waker that dies between clearing the word and waking
 * may cost a slice, which is promised.  That a loss would be noticed is shown by --plant: bugs put in on purpose.
 */
#include "check.h"
#include "ends.h"
#include "transfer.h"

#include <time.h>

enum { CAPACITY = 4096, FILLS_THE_RING = CAPACITY - 16, CASES = 8, FEWEST_SLEEPS = 100 };

#define SECOND_LOOK_NS UINT64_C(1000000) /* of waiting.c: no longer sleep is part of the handshake */
#define PATIENCE_NS UINT64_C(10000000000)
#define GRACE_NS UINT64_C(60000000000)
#define THE_END UINT64_MAX
#define SPINS_NS UINT64_C(50000000)
#define AIM_NS 1600 /* about what an answer takes */
#define LATE_ONE_IN 40

struct counts {
    ipcr_word64 asleep[2]; /* long sleeps that a wake-up ended: for data, for room */
    ipcr_word64 at_once;   /* first, short ones that a wake-up ended */
    ipcr_word64 second;    /* second looks that found something */
    ipcr_word64 lost;
};

static struct counts *counts; /* shared by all processes */

enum plant { NOTHING, NO_FENCE, NO_BARRIER, NO_SECOND_CHECK, WAKES_FIRST };

/* set before the processes of a case start */
static enum plant planted;
static bool full_fences;
static uint32_t delays; /* one window in so many is held open; 0: none */
static uint64_t patience_ns = PATIENCE_NS;
bool waiting_without_fences;

static _Thread_local uint64_t dice;
static _Thread_local int waits_for; /* index of `asleep` */
static _Thread_local bool second_look_due;

static void count(ipcr_word64 *what) { atomic_fetch_add_explicit(what, 1, memory_order_relaxed); }

static void spend(uint64_t ns)
{
    for (const uint64_t until = now_ns() + ns; now_ns() < until;)
        cpu_relax();
}

/* --- what the core calls instead of its own ------------------------------------------------------------------ */

void waiting_window(void)
{
    if (delays == 0)
        return;
    const uint64_t roll = random_next(&dice);
    if (roll % delays != 0)
        return;
    switch (roll >> 32 & 3) {
    case 0:
        sched_yield();
        break;
    case 1: /* as long as the other side needs for everything */
        spend((roll >> 40) % 60000);
        break;
    default: /* as long as it needs for one step */
        spend((roll >> 40) % 1500);
    }
}

int __real_ipcr_os_futex_wait(ipcr_word32 *word, uint32_t expected, uint64_t deadline_ns);
int __wrap_ipcr_os_futex_wait(ipcr_word32 *word, uint32_t expected, uint64_t deadline_ns);
void __real_ipcr_os_futex_wake(ipcr_word32 *word, int n);
void __wrap_ipcr_os_futex_wake(ipcr_word32 *word, int n);
bool __real_ipcr_os_membarrier(void);
bool __wrap_ipcr_os_membarrier(void);
bool __real_ipcr_os_membarrier_register(void);
bool __wrap_ipcr_os_membarrier_register(void);
void __real_ipcr_wake(ipcr_word32 *parked);
void __wrap_ipcr_wake(ipcr_word32 *parked);
int __real_ipcr_wait(ipcr_word32 *parked, bool asymmetric, struct ipcr_spin *spin, bool may_spin, ipcr_ready *ready,
                     const void *what, uint64_t deadline_ns, uint64_t *parked_ns);
int __wrap_ipcr_wait(ipcr_word32 *parked, bool asymmetric, struct ipcr_spin *spin, bool may_spin, ipcr_ready *ready,
                     const void *what, uint64_t deadline_ns, uint64_t *parked_ns);

int __wrap_ipcr_os_futex_wait(ipcr_word32 *word, uint32_t expected, uint64_t deadline_ns)
{
    waiting_window();
    const uint64_t asleep = now_ns();
    if (!full_fences && deadline_ns <= asleep + SECOND_LOOK_NS) { /* the handshake's own, or a slice's last bit */
        const int rc = __real_ipcr_os_futex_wait(word, expected, deadline_ns);
        second_look_due = load_relaxed32(word) == expected;
        if (!second_look_due)
            count(&counts->at_once);
        waiting_window();
        return rc;
    }
    second_look_due = false;
    if (load_relaxed32(word) != expected) /* woken before it slept */
        return IPCR_OK;
    const int rc = __real_ipcr_os_futex_wait(word, expected, asleep + patience_ns);
    if (now_ns() >= asleep + patience_ns)
        count(&counts->lost);
    else
        count(&counts->asleep[waits_for]);
    waiting_window();
    return rc;
}

void __wrap_ipcr_os_futex_wake(ipcr_word32 *word, int n)
{
    waiting_window();
    __real_ipcr_os_futex_wake(word, n);
}

bool __wrap_ipcr_os_membarrier(void)
{
    waiting_window();
    const bool done = __real_ipcr_os_membarrier();
    waiting_window();
    return done;
}

bool __wrap_ipcr_os_membarrier_register(void) { return !full_fences && __real_ipcr_os_membarrier_register(); }

void __wrap_ipcr_wake(ipcr_word32 *parked)
{
    if (planted != WAKES_FIRST) {
        __real_ipcr_wake(parked);
        return;
    }
    __real_ipcr_os_futex_wake(parked, 1);
    waiting_window();
    store_relaxed32(parked, 0);
}

int __wrap_ipcr_wait(ipcr_word32 *parked, bool asymmetric, struct ipcr_spin *spin, bool may_spin, ipcr_ready *ready,
                     const void *what, uint64_t deadline_ns, uint64_t *parked_ns)
{
    int rc;
    if (planted != NO_SECOND_CHECK) {
        asymmetric = asymmetric && planted != NO_BARRIER;
        rc = __real_ipcr_wait(parked, asymmetric, spin, may_spin, ready, what, deadline_ns, parked_ns);
    } else {
        store_release32(parked, 1);
        fence_store_load();
        rc = ipcr_os_futex_wait(parked, 1, deadline_ns);
        store_relaxed32(parked, 0);
    }
    if (second_look_due)
        count(&counts->second);
    second_look_due = false;
    return rc;
}

/* --- two processes that wait for each other --------------------------------------------------------------------- */

struct match {
    struct ipcr_segment *there, *back; /* no way back: the messages fill the ring, and its sender waits for room */
    bool aims;                         /* one side spins, and the other parks just as the answer comes */
    bool one_cpu;
    uint64_t sleeps_wanted, until_ns;
};

static uint64_t sleeps(void)
{
    return load_relaxed64(&counts->asleep[0]) + load_relaxed64(&counts->asleep[1]) + load_relaxed64(&counts->at_once);
}

/* A slow machine gets more time for the fewest sleeps; a case that does not sleep ends without them. */
static bool enough(const struct match *m)
{
    const uint64_t slept = sleeps(), now = now_ns();
    if (planted != NOTHING && load_relaxed64(&counts->lost) != 0)
        return true;
    if (slept >= m->sleeps_wanted)
        return true;
    return now >= m->until_ns && (slept >= FEWEST_SLEEPS || now - m->until_ns >= GRACE_NS);
}

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

static void put(struct ipcr_end *w, uint64_t value, uint64_t length)
{
    char message[FILLS_THE_RING] = { 0 };
    memcpy(message, &value, sizeof value);
    waits_for = 1;
    int rc = ipcr_send_wait(w, message, length, 0, IPCR_FOREVER, 0);
    while (rc == IPCR_AGAIN)
        rc = ipcr_send_wait(w, message, length, 0, IPCR_FOREVER, 1);
    CHECK_IS(rc, IPCR_OK);
}

static uint64_t get(struct ipcr_end *r, uint64_t length)
{
    char message[IPCR_SMALL];
    uint64_t value;
    waits_for = 0;
    int64_t rc = ipcr_recv_wait(r, message, IPCR_FOREVER, 0);
    while (rc == IPCR_AGAIN)
        rc = ipcr_recv_wait(r, message, IPCR_FOREVER, 1);
    CHECK_IS(rc, length);
    memcpy(&value, message, sizeof value);
    return value;
}

static void use_cpu(bool only_one)
{
    cpu_set_t all, one;
    if (!only_one)
        return;
    CHECK(sched_getaffinity(0, sizeof all, &all) == 0);
    CPU_ZERO(&one);
    for (size_t cpu = 0; CPU_COUNT(&one) == 0; cpu++)
        if (CPU_ISSET(cpu, &all))
            CPU_SET(cpu, &one);
    CHECK(sched_setaffinity(0, sizeof one, &one) == 0);
}

/* Now and then the other side has begun its second sleep, or is about to, when it is woken. */
static void maybe_late(void)
{
    const uint64_t roll = random_next(&dice);
    if (!full_fences && roll % LATE_ONE_IN == 0)
        ipcr_os_sleep_ns(SECOND_LOOK_NS - 150000 + (roll >> 20) % 250000);
}

static void partner(int ear, int mouth, void *arg)
{
    const struct match *m = arg;
    (void)ear;
    dice = mixed((uint64_t)getpid());
    struct ipcr_end *r = taken(m->there, IPCR_RECEIVER, m->aims ? SPINS_NS : 0);
    struct ipcr_end *w = m->back == NULL ? NULL : taken(m->back, IPCR_SENDER, 0);
    say(mouth, 't');
    if (w == NULL) {
        for (uint64_t wanted = 0, got; (got = get(r, FILLS_THE_RING)) != THE_END; wanted++) {
            CHECK_IS(got, wanted);
            maybe_late();
        }
    } else {
        for (uint64_t got; (got = get(r, sizeof got)) != THE_END;) {
            maybe_late();
            put(w, got + 1, sizeof got);
        }
        finish(w);
    }
    finish(r);
}

/* In a process of its own: whether the barrier is available is asked once per process. */
static void play(int ear, int mouth, void *arg)
{
    struct match m = *(struct match *)arg;
    const bool there_and_back = m.back != NULL;
    (void)ear;
    (void)mouth;
    dice = mixed((uint64_t)getpid());
    use_cpu(m.one_cpu);
    m.there = anonymous(CAPACITY, 0);
    m.back = there_and_back ? anonymous(CAPACITY, 0) : NULL;
    CHECK(!full_fences || (m.there->flags & IPCR_FLAG_ASYMMETRIC) == 0);
    struct child child = child_start(partner, &m);
    struct ipcr_end *w = taken(m.there, IPCR_SENDER, 0);
    struct ipcr_end *r = there_and_back ? taken(m.back, IPCR_RECEIVER, 0) : NULL;
    CHECK_IS(hear(child.ear), 't');
    uint64_t i = 0;
    for (; !enough(&m); i++) {
        put(w, i, there_and_back ? sizeof i : FILLS_THE_RING);
        if (m.aims)
            spend(random_next(&dice) % AIM_NS);
        if (there_and_back)
            CHECK_IS(get(r, sizeof i), i + 1);
    }
    put(w, THE_END, there_and_back ? sizeof i : FILLS_THE_RING);
    child_finish(&child);
    finish(w);
    if (r != NULL)
        finish(r);
}

/* --- the cases --------------------------------------------------------------------------------------------------- */

struct how {
    const char *name;
    bool one_cpu, there_and_back, full_fences, aims;
    uint32_t delays;
};

static const struct how cases[CASES] = {
    { "for data, 2 CPUs, membarrier", false, true, false, true, 0 },
    { "for data, 2 CPUs, membarrier, delayed", false, true, false, false, 5 },
    { "for data, 2 CPUs, full fences", false, true, true, true, 0 },
    { "for room and data, 2 CPUs, membarrier", false, false, false, true, 0 },
    { "for room and data, 2 CPUs, full fences, delayed", false, false, true, false, 5 },
    { "for data, 1 CPU, membarrier, delayed", true, true, false, false, 5 },
    { "for room and data, 1 CPU, membarrier", true, false, false, false, 0 },
    { "for room and data, 1 CPU, full fences, delayed", true, false, true, false, 5 },
};

static void play_case(const struct how *how, uint64_t sleeps_wanted, uint64_t until_ns)
{
    static struct ipcr_segment *const yes = (struct ipcr_segment *)&cases; /* only whether there is one */
    struct match m = {
        .back = how->there_and_back ? yes : NULL,
        .aims = how->aims,
        .one_cpu = how->one_cpu,
        .sleeps_wanted = sleeps_wanted,
        .until_ns = until_ns,
    };
    full_fences = how->full_fences;
    delays = how->delays;
    memset(counts, 0, sizeof *counts);
    struct child c = child_start(play, &m);
    child_finish(&c);
}

/* So many sleeps on one CPU, and as many on two; or so many seconds in all. */
static uint64_t play_all(uint64_t sleeps_wanted, uint64_t seconds)
{
    uint64_t cases_on[2] = { 0, 0 }, sleeps_on[2] = { 0, 0 }, lost = 0;
    for (int i = 0; i < CASES; i++)
        cases_on[cases[i].one_cpu]++;
    for (int i = 0; i < CASES; i++) {
        const bool one_cpu = cases[i].one_cpu;
        const uint64_t wanted = sleeps_wanted / cases_on[one_cpu] + (sleeps_wanted % cases_on[one_cpu] != 0);
        const uint64_t share = seconds * UINT64_C(1000000000) / CASES;
        play_case(&cases[i], wanted, share == 0 ? UINT64_MAX : now_ns() + share);
        printf("    %8" PRIu64 " for data, %8" PRIu64 " for room, %7" PRIu64 " short; the second look found %4" PRIu64
               "; %" PRIu64 " lost: %s\n",
               load_relaxed64(&counts->asleep[0]), load_relaxed64(&counts->asleep[1]), load_relaxed64(&counts->at_once),
               load_relaxed64(&counts->second), load_relaxed64(&counts->lost), cases[i].name);
        fflush(stdout);
        CHECK(sleeps() >= (wanted < FEWEST_SLEEPS ? wanted : FEWEST_SLEEPS));
        sleeps_on[one_cpu] += sleeps();
        lost += load_relaxed64(&counts->lost);
    }
    printf("%" PRIu64 " sleeps on one CPU, %" PRIu64 " on two, %" PRIu64 " lost\n", sleeps_on[true], sleeps_on[false],
           lost);
    return lost;
}

/* --- planted: what would be noticed -------------------------------------------------------------------------------- */

struct weed {
    const char *name;
    enum plant plant;
    struct how how;
};

static const struct weed weeds[] = {
    { "neither side has a fence", NO_FENCE, { "", false, true, true, true, 0 } },
    { "a fence of the waiter's own where the publisher relies on membarrier", NO_BARRIER,
      { "", false, true, false, true, 0 } },
    { "no look between saying that one is parked and sleeping", NO_SECOND_CHECK, { "", false, true, true, false, 5 } },
    { "the waker wakes before it clears the word", WAKES_FIRST, { "", false, false, true, false, 3 } },
};

static bool is_noticed(const struct weed *weed)
{
    planted = weed->plant;
    waiting_without_fences = weed->plant == NO_FENCE;
    patience_ns = UINT64_C(2000000000);
    play_case(&weed->how, UINT64_MAX, now_ns() + UINT64_C(60000000000));
    const bool noticed = load_relaxed64(&counts->lost) != 0;
    printf("    %s after %7" PRIu64 " sleeps: %s\n", noticed ? "noticed    " : "NOT NOTICED", sleeps(), weed->name);
    fflush(stdout);
    return noticed;
}

static uint64_t number(const char *text)
{
    char *end;
    const unsigned long long n = strtoull(text, &end, 10);
    if (end == text || *end != '\0') {
        fprintf(stderr, "not a number: %s\n", text);
        exit(2);
    }
    return n;
}

int main(int argc, char **argv)
{
    check_begin();
    counts = shared_memory(4096);
    if (argc == 2 && strcmp(argv[1], "--plant") == 0) {
        bool all = true;
        for (size_t i = 0; i < sizeof weeds / sizeof *weeds; i++)
            all = is_noticed(&weeds[i]) && all;
        return all ? 0 : 1;
    }
    if (argc == 3 && strcmp(argv[1], "--seconds") == 0)
        return play_all(UINT64_MAX, number(argv[2])) == 0 ? 0 : 1;
    if (argc == 3 && strcmp(argv[1], "--sleeps") == 0)
        return play_all(number(argv[2]), 0) == 0 ? 0 : 1;
    fprintf(stderr, "%s --seconds N | --sleeps N | --plant\n", argv[0]);
    return 2;
}

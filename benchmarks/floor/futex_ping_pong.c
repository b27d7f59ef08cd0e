/* futex_ping_pong.c - the floor of a parked round trip: two processes, one mapping, nothing but futexes.
 *
 * Each side stores its turn, wakes the other, and sleeps until the other's turn has come.  Nobody spins, and no wake
 * is left out, so that a round trip is two wakes and two sleeps.  Before it stores, a side keeps busy for PARAMETER
 * nanoseconds, so that the other really sleeps by then; these pauses are not part of the figures.
 */
#include "common.h"

#include <linux/futex.h>
#include <stdalign.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <signal.h>
#include <unistd.h>

struct shared {
    alignas(LINE) _Atomic uint32_t ping; /* the number of the last trip begun */
    alignas(LINE) _Atomic uint32_t pong; /* the number of the last trip answered */
    alignas(LINE) int64_t answerer_sleeps;
};

static void wake(_Atomic uint32_t *word)
{
    require(syscall(SYS_futex, word, FUTEX_WAKE, 1, NULL, NULL, 0) >= 0, "futex wake");
}

static void sleep_until(_Atomic uint32_t *word, uint32_t wanted)
{
    for (;;) {
        const uint32_t seen = atomic_load_explicit(word, memory_order_acquire);
        if (seen == wanted)
            return;
        const long rc = syscall(SYS_futex, word, FUTEX_WAIT, seen, NULL, NULL, 0);
        require(rc == 0 || errno == EAGAIN || errno == EINTR, "futex wait");
    }
}

static void keep_busy(uint64_t pause_ns)
{
    if (pause_ns == 0)
        return;
    const uint64_t until = now_ns() + pause_ns;
    while (now_ns() < until) {
    }
}

static int64_t sleeps(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return usage.ru_nvcsw;
}

static void answer(struct shared *s, uint32_t first, uint32_t trips, uint64_t pause_ns)
{
    for (uint32_t trip = first; trip < first + trips; trip++) {
        sleep_until(&s->ping, trip);
        keep_busy(pause_ns);
        atomic_store_explicit(&s->pong, trip, memory_order_release);
        wake(&s->pong);
    }
}

static void ask(struct shared *s, uint32_t first, uint32_t trips, uint64_t pause_ns, uint64_t *took_ns)
{
    for (uint32_t trip = first; trip < first + trips; trip++) {
        keep_busy(pause_ns);
        const uint64_t before = now_ns();
        atomic_store_explicit(&s->ping, trip, memory_order_release);
        wake(&s->ping);
        sleep_until(&s->pong, trip);
        took_ns[trip - first] = now_ns() - before - pause_ns; /* the other side's pause */
    }
}

int main(int argc, char **argv)
{
    const struct arguments given = parse(argc, argv);
    const uint64_t pause_ns = given.parameter;
    const uint32_t trips = (uint32_t)given.count, warm_up = trips / 10 + 1;
    struct shared *s = mmap(NULL, sizeof *s, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    require(s != MAP_FAILED, "mmap");
    uint64_t *took_ns = calloc((size_t)trips + warm_up, sizeof *took_ns);
    require(took_ns != NULL, "calloc");

    const pid_t child = fork();
    require(child >= 0, "fork");
    if (child == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        pin(given.cpu[1]);
        answer(s, 1, warm_up, pause_ns);
        const int64_t before = sleeps();
        answer(s, 1 + warm_up, trips, pause_ns);
        s->answerer_sleeps = sleeps() - before;
        _exit(0);
    }
    pin(given.cpu[0]);
    ask(s, 1, warm_up, pause_ns, took_ns);
    const int64_t before = sleeps();
    const uint64_t start = now_ns();
    ask(s, 1 + warm_up, trips, pause_ns, took_ns);
    const uint64_t total = now_ns() - start;
    int64_t fewest = sleeps() - before;
    int status;
    require(waitpid(child, &status, 0) == child && status == 0, "the answering process");
    if (s->answerer_sleeps < fewest)
        fewest = s->answerer_sleeps;

    uint64_t sum = 0;
    for (uint32_t i = 0; i < trips; i++)
        sum += took_ns[i];
    sort(took_ns, trips);
    const uint64_t median = percentile(took_ns, trips, 500);
    printf("{\"seconds\": %.9f, \"metrics\": {\"round_trip_ns\": %" PRIu64 ", \"p50_ns\": %" PRIu64, (double)total / 1e9,
           median, median);
    printf(", \"p99_ns\": %" PRIu64 ", \"p99_9_ns\": %" PRIu64 ", \"min_ns\": %" PRIu64 ", \"max_ns\": %" PRIu64,
           percentile(took_ns, trips, 990), percentile(took_ns, trips, 999), took_ns[0], took_ns[trips - 1]);
    printf(", \"mean_ns\": %.1f, \"sleeps_per_round_trip\": %.3f}}\n", (double)sum / trips, (double)fewest / trips);
    return 0;
}

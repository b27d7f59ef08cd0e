/* wake_order.c - what docs/decisions/0001 decides: a full fence with every publication, or a membarrier
 * with every park?  Streams 64-byte messages, and bounces one between two processes that sleep each time,
 * both ways in turn, through the same calls that the binding makes.
 *
 *   wake_order <stream messages> <round trips> <repetitions>
 *   cc -O3 -D_GNU_SOURCE -Inative benchmarks/floor/wake_order.c $(find native -name '[!f]*.c') -lpthread
 */
#include "api.h"

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

enum { SIZE = 64 };

static void pin(int cpu)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET((size_t)cpu, &set);
    if (sched_setaffinity(0, sizeof set, &set) != 0)
        perror("sched_setaffinity");
}

static void need(int64_t rc, const char *what)
{
    if (rc < 0) {
        fprintf(stderr, "%s: %lld\n", what, (long long)rc);
        exit(1);
    }
}

struct pair {
    struct ipcr_segment *segment;
    struct ipcr_end *sender, *receiver;
};

static struct pair make(bool asymmetric)
{
    struct pair p;
    need(ipcr_segment_create(NULL, "ipc:bench", IPCR_KIND_RING, 1 << 20, 0, &p.segment), "create");
    if (!asymmetric)
        p.segment->flags &= ~IPCR_FLAG_ASYMMETRIC;
    need(ipcr_end_open(p.segment, IPCR_SENDER, 0, &p.sender), "sender");
    need(ipcr_end_open(p.segment, IPCR_RECEIVER, 0, &p.receiver), "receiver");
    return p;
}

static void take(struct ipcr_end *e)
{
    uint32_t by;
    need(ipcr_end_take(e, &by), "take");
}

static void put(struct ipcr_end *e, const char *message)
{
    int rc = ipcr_send(e, message, SIZE, 0);
    for (int resume = 0; rc == IPCR_FULL || rc == IPCR_AGAIN; resume = rc == IPCR_AGAIN)
        rc = ipcr_send_wait(e, message, SIZE, 0, IPCR_FOREVER, resume);
    need(rc, "send");
}

static void get(struct ipcr_end *e, char *out)
{
    int64_t rc = ipcr_recv(e, out);
    for (int resume = 0; rc == IPCR_EMPTY || rc == IPCR_AGAIN; resume = rc == IPCR_AGAIN)
        rc = ipcr_recv_wait(e, out, IPCR_FOREVER, resume);
    need(rc, "recv");
}

/* The other process: counts a stream, or echoes. */
static pid_t other(struct pair there, struct pair back, long count, bool echo)
{
    const pid_t pid = fork();
    if (pid != 0)
        return pid;
    pin(1);
    char buffer[IPCR_SMALL];
    take(there.receiver);
    take(back.sender);
    for (long i = 0; i < count; i++) {
        get(there.receiver, buffer);
        if (echo)
            put(back.sender, buffer);
    }
    if (!echo)
        put(back.sender, buffer);
    _exit(0);
}

static double run(bool asymmetric, long count, bool echo)
{
    struct pair there = make(asymmetric), back = make(asymmetric);
    char buffer[IPCR_SMALL] = { 0 };
    const pid_t pid = other(there, back, count, echo);
    take(there.sender);
    take(back.receiver);
    const uint64_t start = ipcr_os_now_ns();
    for (long i = 0; i < count; i++) {
        put(there.sender, buffer);
        if (echo)
            get(back.receiver, buffer);
    }
    if (!echo)
        get(back.receiver, buffer);
    const double ns = (double)(ipcr_os_now_ns() - start);
    waitpid(pid, NULL, 0);
    struct ipcr_end *ends[] = { there.sender, there.receiver, back.sender, back.receiver };
    for (int i = 0; i < 4; i++) {
        ipcr_end_close(ends[i], true);
        ipcr_end_free(ends[i]);
    }
    ipcr_segment_release(there.segment);
    ipcr_segment_release(back.segment);
    return ns / (double)count;
}

int main(int argc, char **argv)
{
    const long stream = argc > 1 ? atol(argv[1]) : 20000000, trips = argc > 2 ? atol(argv[2]) : 20000;
    const int repetitions = argc > 3 ? atoi(argv[3]) : 5;
    pin(0);
    for (int i = 0; i < repetitions; i++)
        for (int asymmetric = 0; asymmetric < 2; asymmetric++)
            printf("%-10s  stream %7.2f ns/message   parked round trip %8.1f ns\n",
                   asymmetric ? "membarrier" : "fence", run(asymmetric, stream, false), run(asymmetric, trips, true));
    return 0;
}

/* test_close_races.c - R41: close meets everything else.  Both ends are closed at once while other threads send,
 * receive, hold what was lent, or close the same end: each handle is freed once, nothing is touched afterwards
 * (AddressSanitizer says so), and every call ends in CLOSED or END_OF_CHANNEL.
 *
 * IPC_CLOSES sets the number of rounds: `make closes` does 100,000 under AddressSanitizer.  What it can't show is an
 * order that this machine never makes; the explorer (tests/model) makes all of the small ones.
 */
#include "messages.h"

#include <pthread.h>

static uint64_t rounds(void)
{
    const char *set = getenv("IPC_CLOSES");
    return set != NULL ? strtoull(set, NULL, 10) : FEWER(3000, 400);
}

struct contest {
    pthread_barrier_t start, end;
    struct ipcr_end *w, *r;
    bool over;
};

typedef void part_in_it(struct contest *c);

/* --- what the others do until the end is closed -------------------------------------------------------------------- */

static bool is_over(int64_t rc)
{
    CHECK(rc >= 0 || rc == IPCR_AGAIN || rc == IPCR_BUSY || rc == IPCR_CLOSED || rc == IPCR_END_OF_CHANNEL);
    return rc == IPCR_CLOSED || rc == IPCR_END_OF_CHANNEL;
}

static void keeps_sending(struct contest *c)
{
    int rc;
    do {
        const struct ipcr_piece piece = { .data = "abcdefgh", .length = 8 };
        rc = send_until(c->w, &piece, 1, 0, IPCR_FOREVER);
    } while (!is_over(rc));
}

static void keeps_claiming(struct contest *c)
{
    for (;;) {
        int rc = ipcr_claim(c->w, 100);
        if (rc == IPCR_OK) {
            memset(ipcr_lent(c->w), 'c', 100); /* mapped, whoever closes meanwhile */
            rc = ipcr_commit(c->w, 100, 0);
            if (rc == IPCR_CLOSED)
                ipcr_abort(c->w);
        }
        if (rc != IPCR_FULL && is_over(rc))
            return;
    }
}

static void keeps_receiving(struct contest *c)
{
    static char out[IPCR_SMALL];
    int64_t rc = 0;
    do
        rc = ipcr_recv_wait(c->r, out, IPCR_FOREVER, rc == IPCR_AGAIN);
    while (!is_over(rc));
}

static void keeps_peeking(struct contest *c)
{
    char first;
    for (;;) {
        int64_t rc = ipcr_peek(c->r);
        if (rc >= 0) {
            copy_out(&first, (const uint8_t *)ipcr_lent(c->r), LENGTH_OF(rc) != 0);
            rc = ipcr_release(c->r);
        }
        if (rc != IPCR_EMPTY && is_over(rc))
            return;
    }
}

static void closes_the_receiver(struct contest *c) { ipcr_end_close(c->r, true); }
static void closes_the_sender(struct contest *c) { ipcr_end_close(c->w, true); }

/* --- rounds --------------------------------------------------------------------------------------------------------- */

enum { MOST_THREADS = 4 };

struct player {
    struct contest *contest;
    part_in_it *part;
};

static void *play(void *arg)
{
    const struct player *p = arg;
    for (;;) {
        pthread_barrier_wait(&p->contest->start);
        if (p->contest->over)
            return NULL;
        p->part(p->contest);
        pthread_barrier_wait(&p->contest->end);
    }
}

/* This thread closes the sender, beside the parts of all others. */
static void compete(part_in_it *const *parts, unsigned count)
{
    struct contest c = { .over = false };
    struct player players[MOST_THREADS];
    pthread_t threads[MOST_THREADS];
    CHECK(pthread_barrier_init(&c.start, NULL, count + 1) == 0 && pthread_barrier_init(&c.end, NULL, count + 1) == 0);
    for (unsigned i = 0; i < count; i++) {
        players[i] = (struct player){ .contest = &c, .part = parts[i] };
        CHECK(pthread_create(&threads[i], NULL, play, &players[i]) == 0);
    }
    for (uint64_t round = 0; round < rounds(); round++) {
        alarm(WATCHDOG_SECONDS); /* per round: how many there are is somebody else's wish */
        struct ipcr_segment *s = anonymous(SMALLEST, 0);
        c.w = taken(s, IPCR_SENDER);
        c.r = taken(s, IPCR_RECEIVER);
        ipcr_segment_release(s);
        pthread_barrier_wait(&c.start);
        ipcr_end_close(c.w, true);
        pthread_barrier_wait(&c.end);
        ipcr_end_free(c.w);
        ipcr_end_free(c.r);
    }
    c.over = true;
    pthread_barrier_wait(&c.start);
    for (unsigned i = 0; i < count; i++)
        CHECK(pthread_join(threads[i], NULL) == 0);
    pthread_barrier_destroy(&c.start);
    pthread_barrier_destroy(&c.end);
}

static void both_ends_may_be_closed_at_once_in_the_middle_of_traffic(void)
{
    part_in_it *const parts[] = { keeps_sending, keeps_receiving, closes_the_receiver };
    compete(parts, 3);
}

static void both_ends_may_be_closed_at_once_while_memory_is_lent(void)
{
    part_in_it *const parts[] = { keeps_claiming, keeps_peeking, closes_the_receiver };
    compete(parts, 3);
}

static void two_threads_may_close_the_same_end(void)
{
    part_in_it *const parts[] = { closes_the_sender, closes_the_receiver, closes_the_receiver, keeps_sending };
    compete(parts, 4);
}

int main(void)
{
    check_begin();
    run("both ends may be closed at once in the middle of traffic",
        both_ends_may_be_closed_at_once_in_the_middle_of_traffic);
    run("both ends may be closed at once while memory is lent", both_ends_may_be_closed_at_once_while_memory_is_lent);
    run("two threads may close the same end", two_threads_may_close_the_same_end);
    return check_finish();
}

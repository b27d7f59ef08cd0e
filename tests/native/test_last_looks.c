/* test_last_looks.c - what the other side does at the end of a wait's slice, between our look at the ring and
 * our look at the other side, comes before the news that it is gone.
 *
 * Waits ask for the time in between.  Here clock_gettime() is replaced: at one of its calls the other side acts,
 * and the slice is over.  Which call that is makes no difference to what is promised, so several are tried.
 */
#include "check.h"
#include "ends.h"
#include "parts.h"
#include "transfer.h"

#include <dlfcn.h>
#include <stdatomic.h>
#include <time.h>

enum { CAPACITY = 4096, LARGE = 3 * CAPACITY, FITTING = 3000 };
#define PASSED UINT64_C(1) /* a deadline */

/* --- the hook ------------------------------------------------------------------------------------------ */

typedef void act(void);

static act *acts;       /* at a call to come; NULL: at none */
static int calls_to_go; /* before that call */
static int64_t skipped_ns;

typedef int read_clock(clockid_t, struct timespec *);

int clock_gettime(clockid_t clock, struct timespec *t)
{
    static _Atomic(read_clock *) next; /* the libc's, or a sanitizer's */
    read_clock *call = atomic_load(&next);
    if (call == NULL) {
        void *found = dlsym(RTLD_NEXT, "clock_gettime");
        memcpy(&call, &found, sizeof call);
        atomic_store(&next, call);
    }
    if (acts != NULL && calls_to_go-- == 0) {
        act *now = acts;
        acts = NULL; /* it may ask for the time as well */
        now();
        skipped_ns += (int64_t)IPCR_SLICE_NS;
    }
    const int rc = call(clock, t);
    const int64_t ns = t->tv_nsec + skipped_ns;
    t->tv_sec += ns / 1000000000;
    t->tv_nsec = ns % 1000000000;
    return rc;
}

/* --- two ends ------------------------------------------------------------------------------------------ */

static struct ipcr_segment *segment;
static struct ipcr_end *tx, *rx;
static char out[LARGE], in[LARGE];

static struct ipcr_end *taken(uint32_t side)
{
    struct ipcr_end *e = NULL;
    uint32_t by;
    CHECK_IS(ipcr_end_open(segment, side, 0, &e), IPCR_OK);
    CHECK_IS(ipcr_end_take(e, &by), IPCR_OK);
    return e;
}

static void begin(void)
{
    skipped_ns = 0;
    segment = anonymous(CAPACITY, 0);
    tx = taken(IPCR_SENDER);
    rx = taken(IPCR_RECEIVER);
}

static void end(void)
{
    ipcr_end_close(tx, true);
    ipcr_end_close(rx, true);
    ipcr_end_free(tx);
    ipcr_end_free(rx);
    ipcr_segment_release(segment);
}

static bool goes_cleanly; /* or as the dead do */

static int64_t gone(void) { return goes_cleanly ? IPCR_END_OF_CHANNEL : IPCR_PEER_DIED; }

static void send_and_go(void)
{
    CHECK_IS(ipcr_send(tx, "last", 4, 0), IPCR_OK);
    ipcr_end_close(tx, goes_cleanly);
}

/* Gives up a message that is on its way. */
static void send_beginning(void)
{
    const struct ipcr_piece piece = { .data = out, .length = LARGE };
    CHECK_IS(ipcr_send_parts_wait(tx, &piece, 1, 0, PASSED, 0), IPCR_FULL);
}

static void send_beginning_and_go(void)
{
    send_beginning();
    ipcr_end_close(tx, goes_cleanly);
}

static bool took_all;

static void take_and_go(void)
{
    while (ipcr_recv(rx, in) >= 0)
        ;
    took_all = ipcr_parts_begin(rx) == FITTING && ipcr_parts_read(rx, in, 0, FITTING, PASSED, 0) == IPCR_OK;
    ipcr_end_close(rx, goes_cleanly);
}

static int64_t received(void)
{
    int64_t rc = ipcr_recv_wait(rx, in, IPCR_FOREVER, 0);
    while (rc == IPCR_AGAIN)
        rc = ipcr_recv_wait(rx, in, IPCR_FOREVER, 1);
    return rc;
}

static int64_t read_parts(void)
{
    int64_t rc = ipcr_parts_read(rx, NULL, 0, LARGE, IPCR_FOREVER, 0);
    while (rc == IPCR_AGAIN)
        rc = ipcr_parts_read(rx, NULL, 0, LARGE, IPCR_FOREVER, 1);
    return rc;
}

static void check_last_and_gone(void)
{
    CHECK_IS(received(), 4);
    CHECK(memcmp(in, "last", 4) == 0);
    skipped_ns = 0; /* the kernel knows nothing of it, and would sleep for that much longer */
    CHECK_IS(received(), gone());
}

/* Somebody acts, at one of the calls to come. */
static void let(act *what, int call)
{
    calls_to_go = call;
    acts = what;
}

/* At each call before the first sleep, and at the first two behind it; in both ways to go. */
static void at_each_call(void (*body)(int call))
{
    for (int way = 0; way < 2; way++)
        for (int call = 0; call < 5; call++) {
            goes_cleanly = way != 0;
            begin();
            body(call);
            CHECK(acts == NULL);
            end();
        }
}

/* --- the tests ----------------------------------------------------------------------------------------- */

static void receive_last(int call)
{
    let(send_and_go, call);
    check_last_and_gone();
}

static void a_message_sent_between_the_looks_is_received_before_the_end(void) { at_each_call(receive_last); }

static void wait_for_last(int call)
{
    let(send_and_go, call);
    int rc = ipcr_data_wait(rx, IPCR_FOREVER, 0);
    while (rc == IPCR_AGAIN)
        rc = ipcr_data_wait(rx, IPCR_FOREVER, 1);
    CHECK_IS(rc, IPCR_OK);
    check_last_and_gone();
}

static void a_wait_for_data_sees_a_message_sent_between_the_looks(void) { at_each_call(wait_for_last); }

static void receive_beginning(int call)
{
    let(send_beginning_and_go, call);
    CHECK_IS(received(), IPCR_IN_PARTS);
    CHECK_IS(ipcr_parts_begin(rx), LARGE);
    CHECK_IS(read_parts(), gone());
}

static void the_beginning_of_a_message_sent_between_the_looks_is_seen(void) { at_each_call(receive_beginning); }

static void receive_after_beginning(int call)
{
    send_beginning();
    CHECK_IS(ipcr_parts_begin(rx), LARGE);
    CHECK_IS(ipcr_parts_read(rx, NULL, 0, LARGE, PASSED, 0), IPCR_EMPTY);
    let(send_and_go, call);
    CHECK_IS(read_parts(), IPCR_GIVEN_UP);
    check_last_and_gone();
}

static void a_message_sent_between_the_looks_is_received_behind_one_that_was_given_up(void)
{
    at_each_call(receive_after_beginning);
}

static void send_into_room(int call)
{
    while (ipcr_send(tx, out, 100, 0) == IPCR_OK)
        ;
    let(take_and_go, call);
    int rc = ipcr_send_wait(tx, out, 100, 0, IPCR_FOREVER, 0);
    while (rc == IPCR_AGAIN)
        rc = ipcr_send_wait(tx, out, 100, 0, IPCR_FOREVER, 1);
    CHECK_IS(rc, goes_cleanly ? IPCR_END_OF_CHANNEL : IPCR_OK); /* a successor of the dead may take it */
}

static void room_made_between_the_looks_is_used(void) { at_each_call(send_into_room); }

static void flush_taken(int call)
{
    CHECK_IS(ipcr_send(tx, out, 100, 0), IPCR_OK);
    let(take_and_go, call);
    int rc = ipcr_flush_wait(tx, IPCR_FOREVER, 0);
    while (rc == IPCR_AGAIN)
        rc = ipcr_flush_wait(tx, IPCR_FOREVER, 1);
    CHECK_IS(rc, IPCR_OK);
}

static void what_was_taken_between_the_looks_counts_as_flushed(void) { at_each_call(flush_taken); }

static void send_parts_taken(int call)
{
    const struct ipcr_piece piece = { .data = out, .length = FITTING };
    let(take_and_go, call);
    int rc = ipcr_send_parts_wait(tx, &piece, 1, 0, IPCR_FOREVER, 0);
    while (rc == IPCR_AGAIN)
        rc = ipcr_send_parts_wait(tx, &piece, 1, 0, IPCR_FOREVER, 1);
    CHECK_IS(rc, took_all ? IPCR_OK : gone()); /* not all was there yet when they went */
}

static void a_message_in_parts_taken_between_the_looks_was_sent(void) { at_each_call(send_parts_taken); }

int main(void)
{
    check_begin();
    run("a message sent between the looks is received before the end",
        a_message_sent_between_the_looks_is_received_before_the_end);
    run("a wait for data sees a message sent between the looks",
        a_wait_for_data_sees_a_message_sent_between_the_looks);
    run("the beginning of a message sent between the looks is seen",
        the_beginning_of_a_message_sent_between_the_looks_is_seen);
    run("a message sent between the looks is received behind one that was given up",
        a_message_sent_between_the_looks_is_received_behind_one_that_was_given_up);
    run("room made between the looks is used", room_made_between_the_looks_is_used);
    run("what was taken between the looks counts as flushed", what_was_taken_between_the_looks_counts_as_flushed);
    run("a message in parts taken between the looks was sent", a_message_in_parts_taken_between_the_looks_was_sent);
    return check_finish();
}

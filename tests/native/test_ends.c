/* test_ends.c - the life of an end: claimed, taken, closed, dead. */
#include "sides.h"

/* --- claim and take --------------------------------------------------------------------------------- */

static void an_end_is_claimed_when_opened_and_taken_at_first_use(void)
{
    struct ipcr_segment *s = anonymous(CAPACITY, 0);
    CHECK_IS(side_of(s, IPCR_SENDER).claimed, 0);
    struct ipcr_end *e = open_end(s, IPCR_SENDER);
    CHECK_IS(side_of(s, IPCR_SENDER).claimed, 1);
    CHECK_IS(side_of(s, IPCR_SENDER).alive, 0);
    CHECK(!ipcr_end_in_use(e));
    CHECK_IS(send_text(e, "x"), IPCR_NOT_TAKEN);
    CHECK_IS(send_until(e, "x", 1, 0), IPCR_NOT_TAKEN);
    CHECK_IS(ipcr_claim(e, 1), IPCR_NOT_TAKEN);
    uint32_t by;
    CHECK_IS(ipcr_end_take(e, &by), IPCR_OK);
    CHECK_IS(ipcr_end_take(e, &by), IPCR_OK);
    CHECK(ipcr_end_in_use(e));
    CHECK_IS(send_text(e, "x"), IPCR_OK);
    CHECK_IS(side_of(s, IPCR_SENDER).alive, 1);
    CHECK_IS(side_of(s, IPCR_SENDER).state, IPCR_END_TAKEN);
    CHECK_IS(side_of(s, IPCR_SENDER).generation, 1);
    CHECK_IS(side_of(s, IPCR_SENDER).pid, getpid());
    ipcr_end_close(e, true);
    CHECK_IS(side_of(s, IPCR_SENDER).claimed, 0);
    CHECK_IS(side_of(s, IPCR_SENDER).alive, 0);
    CHECK_IS(side_of(s, IPCR_SENDER).state, IPCR_END_CLOSED);
    CHECK_IS(send_text(e, "x"), IPCR_CLOSED);
    CHECK_IS(ipcr_end_take(e, &by), IPCR_CLOSED);
    CHECK_IS(ipcr_abort(e), IPCR_CLOSED);
    ipcr_end_close(e, true); /* again: nothing */
    ipcr_end_free(e);
    ipcr_segment_release(s);
}

static void an_end_that_is_taken_is_refused_with_the_takers_pid(void)
{
    struct ipcr_segment *s = anonymous(CAPACITY, 0);
    struct ipcr_end *one = taken(s, IPCR_SENDER), *two = open_end(s, IPCR_SENDER);
    uint32_t by = 0;
    CHECK_IS(ipcr_end_take(two, &by), IPCR_TAKEN); /* in this process as well */
    CHECK_IS(by, getpid());
    finish(two, true); /* untaken: only a claim is dropped */
    CHECK_IS(send_text(one, "x"), IPCR_OK);
    finish(one, false);
    struct child c = child_start(take_and_wait, s);
    CHECK_IS(hear(c.ear), 't');
    two = open_end(s, IPCR_SENDER);
    CHECK_IS(ipcr_end_take(two, &by), IPCR_TAKEN);
    CHECK_IS(by, c.pid);
    child_kill(&c);
    CHECK_IS(ipcr_end_take(two, &by), IPCR_OK);
    CHECK_IS(send_text(two, "y"), IPCR_OK);
    finish(two, true);
    ipcr_segment_release(s);
}

static void a_closed_end_cannot_be_taken_again(void)
{
    struct ipcr_segment *s = anonymous(CAPACITY, 0);
    struct ipcr_end *one = taken(s, IPCR_SENDER), *two = open_end(s, IPCR_SENDER);
    uint32_t by;
    finish(one, true);
    CHECK_IS(ipcr_end_take(two, &by), IPCR_END_OF_CHANNEL);
    int held;
    CHECK_IS(ipcr_end_hand_over(two, true, false, &held), IPCR_END_OF_CHANNEL);
    CHECK_IS(side_of(s, IPCR_SENDER).alive, 0);
    finish(two, true);
    ipcr_segment_release(s);
}

/* --- how an end ends ------------------------------------------------------------------------------------ */

static void a_receiver_drains_a_closed_channel_before_its_end(void)
{
    struct ipcr_segment *s = anonymous(CAPACITY, 0);
    struct ipcr_end *w = taken(s, IPCR_SENDER), *r = taken(s, IPCR_RECEIVER);
    for (int i = 0; i < 10; i++)
        CHECK_IS(send_text(w, "before the close"), IPCR_OK);
    finish(w, true);
    for (int i = 0; i < 5; i++)
        check_receives(r, "before the close");
    for (int i = 0; i < 5; i++)
        CHECK_IS(ipcr_recv(r, received), strlen("before the close"));
    CHECK_IS(ipcr_recv(r, received), IPCR_END_OF_CHANNEL);
    CHECK_IS(ipcr_peek(r), IPCR_END_OF_CHANNEL);
    CHECK_IS(recv_until(r, IPCR_FOREVER), IPCR_END_OF_CHANNEL);
    CHECK_IS(ipcr_data_wait(r, IPCR_FOREVER, 0), IPCR_END_OF_CHANNEL);
    finish(r, true);
    ipcr_segment_release(s);
}

static void a_sender_learns_that_the_receiver_closed(void)
{
    struct ipcr_segment *s = anonymous(CAPACITY, 0);
    struct ipcr_end *w = taken(s, IPCR_SENDER), *r = taken(s, IPCR_RECEIVER);
    const uint64_t length = 1;
    CHECK_IS(send_text(w, "x"), IPCR_OK);
    finish(r, true);
    CHECK_IS(send_text(w, "x"), IPCR_END_OF_CHANNEL);
    CHECK_IS(send_until(w, "x", 1, IPCR_FOREVER), IPCR_END_OF_CHANNEL);
    CHECK_IS(send_batch(w, "x", &length, 1, 0), IPCR_END_OF_CHANNEL);
    CHECK_IS(ipcr_claim(w, 1), IPCR_END_OF_CHANNEL);
    CHECK_IS(ipcr_room_wait(w, 1, IPCR_FOREVER, 0), IPCR_END_OF_CHANNEL);
    CHECK_IS(flush_until(w, IPCR_FOREVER), IPCR_END_OF_CHANNEL); /* one message was never read */
    finish(w, true);
    ipcr_segment_release(s);
}

static void an_anonymous_end_that_nobody_claims_ends_the_channel(void)
{
    struct ipcr_segment *s = anonymous(CAPACITY, 0);
    struct ipcr_end *r = taken(s, IPCR_RECEIVER);
    CHECK_IS(recv_until(r, in_ms(1)), IPCR_END_OF_CHANNEL);
    struct ipcr_end *w = open_end(s, IPCR_SENDER);
    CHECK_IS(recv_until(r, in_ms(1)), IPCR_EMPTY); /* somebody may come */
    finish(w, true);
    CHECK_IS(recv_until(r, IPCR_FOREVER), IPCR_END_OF_CHANNEL);
    finish(r, true);
    ipcr_segment_release(s);

    s = anonymous(CAPACITY, 0);
    w = taken(s, IPCR_SENDER);
    r = open_end(s, IPCR_RECEIVER);
    fill(w);
    CHECK_IS(send_until(w, "x", 100, in_ms(1)), IPCR_FULL);
    CHECK_IS(flush_until(w, in_ms(1)), IPCR_FULL);
    finish(r, true);
    CHECK_IS(send_until(w, received, 100, IPCR_FOREVER), IPCR_END_OF_CHANNEL);
    CHECK_IS(flush_until(w, IPCR_FOREVER), IPCR_END_OF_CHANNEL);
    finish(w, true);
    ipcr_segment_release(s);
}

static void a_named_end_that_nobody_claims_is_awaited(void)
{
    char name[64];
    struct ipcr_segment *s = NULL;
    snprintf(name, sizeof name, "ipcr-test-ends-%d", (int)getpid());
    CHECK_IS(ipcr_segment_create("/dev/shm", name, IPCR_KIND_RING, CAPACITY, 0, &s), IPCR_OK);
    struct ipcr_end *r = taken(s, IPCR_RECEIVER);
    CHECK_IS(recv_until(r, in_ms(1)), IPCR_EMPTY);
    CHECK_IS(recv_until(r, in_ms(250)), IPCR_EMPTY);
    struct ipcr_end *w = taken(s, IPCR_SENDER);
    CHECK_IS(send_text(w, "at last"), IPCR_OK);
    check_receives(r, "at last");
    finish(w, true);
    finish(r, true);
    ipcr_segment_release(s);
}

static void an_unclean_close_looks_like_a_crash(void)
{
    struct ipcr_segment *s = anonymous(CAPACITY, 0);
    struct ipcr_end *w = taken(s, IPCR_SENDER), *r = taken(s, IPCR_RECEIVER);
    CHECK_IS(send_text(w, "last words"), IPCR_OK);
    finish(w, false);
    check_receives(r, "last words");
    CHECK_IS(recv_until(r, IPCR_FOREVER), IPCR_PEER_DIED);
    CHECK_IS(ipcr_end_peer_pid(r), getpid());
    finish(r, true);
    ipcr_segment_release(s);
}

enum { SECOND = 1000000000 }; /* five times what is promised for the notice of a death */

static void a_killed_sender_is_noticed_after_its_messages(void)
{
    struct ipcr_segment *s = anonymous(CAPACITY, 0);
    struct ipcr_end *r = taken(s, IPCR_RECEIVER);
    struct child c = child_start(send_and_wait, s);
    const pid_t pid = c.pid;
    CHECK_IS(hear(c.ear), 's');
    CHECK(kill(pid, SIGSTOP) == 0); /* stopped, or slow, is not dead */
    check_receives(r, "one");
    check_receives(r, "two");
    CHECK_IS(recv_until(r, in_ms(250)), IPCR_EMPTY);
    child_kill(&c);
    const uint64_t dead = now_ns();
    CHECK_IS(recv_until(r, IPCR_FOREVER), IPCR_PEER_DIED);
    CHECK(now_ns() - dead < SECOND);
    CHECK_IS(ipcr_end_peer_pid(r), pid);
    CHECK_IS(ipcr_recv(r, received), IPCR_EMPTY); /* a try doesn't ask the kernel */
    CHECK_IS(side_of(s, IPCR_SENDER).state, IPCR_END_TAKEN);
    CHECK_IS(side_of(s, IPCR_SENDER).alive, 0);
    finish(r, true);
    ipcr_segment_release(s);
}

static void take_receiver_and_wait(int ear, int mouth, void *arg)
{
    (void)taken(arg, IPCR_RECEIVER);
    say(mouth, 't');
    (void)hear(ear);
    wait_for_end();
}

static void *kill_soon(void *arg)
{
    struct child *c = arg;
    ipcr_os_sleep_ns(20000000); /* not a condition: before or after the sender parks, the result is the same */
    child_kill(c);
    return NULL;
}

/* R20 */
static void a_blocked_sender_is_released_when_the_receiver_is_killed(void)
{
    for (int round = 0; round < 2; round++) {
        struct ipcr_segment *s = anonymous(CAPACITY, 0);
        struct ipcr_end *w = taken(s, IPCR_SENDER);
        struct child c = child_start(take_receiver_and_wait, s);
        pthread_t killer;
        CHECK_IS(hear(c.ear), 't');
        fill(w);
        CHECK(pthread_create(&killer, NULL, kill_soon, &c) == 0);
        if (round == 0)
            CHECK_IS(send_until(w, received, 100, IPCR_FOREVER), IPCR_PEER_DIED);
        else
            CHECK_IS(flush_until(w, IPCR_FOREVER), IPCR_PEER_DIED);
        CHECK(pthread_join(killer, NULL) == 0);
        finish(w, true);
        ipcr_segment_release(s);
    }
}

/* --- two threads at one handle; closing is in test_close_races.c ------------------------------------------------ */

struct contest {
    pthread_barrier_t start, end;
    struct ipcr_end *w, *r;
    bool over;
};

/* Two threads use an untaken end for the first time: one of them takes it, and it is whole. */
static void *first_use(void *arg)
{
    struct contest *c = arg;
    for (;;) {
        pthread_barrier_wait(&c->start);
        if (c->over)
            return NULL;
        uint32_t by;
        int rc;
        do {
            rc = send_text(c->w, "12345678");
            if (rc == IPCR_NOT_TAKEN) {
                rc = ipcr_end_take(c->w, &by);
                CHECK(rc == IPCR_OK || rc == IPCR_BUSY);
                rc = IPCR_BUSY;
            }
        } while (rc == IPCR_BUSY);
        CHECK_IS(rc, IPCR_OK);
        pthread_barrier_wait(&c->end);
    }
}

static void two_threads_may_race_for_the_first_use(void)
{
    struct contest c = { .over = false };
    pthread_t threads[2];
    CHECK(pthread_barrier_init(&c.start, NULL, 3) == 0 && pthread_barrier_init(&c.end, NULL, 3) == 0);
    for (int i = 0; i < 2; i++)
        CHECK(pthread_create(&threads[i], NULL, first_use, &c) == 0);
    for (int round = 0; round < FEWER(3000, 500); round++) {
        struct ipcr_segment *s = anonymous(CAPACITY, 0);
        c.w = open_end(s, IPCR_SENDER);
        c.r = taken(s, IPCR_RECEIVER);
        pthread_barrier_wait(&c.start);
        pthread_barrier_wait(&c.end);
        check_receives(c.r, "12345678");
        check_receives(c.r, "12345678");
        CHECK_IS(ipcr_recv(c.r, received), IPCR_EMPTY);
        finish(c.w, true);
        finish(c.r, true);
        ipcr_segment_release(s);
    }
    c.over = true;
    pthread_barrier_wait(&c.start);
    for (int i = 0; i < 2; i++)
        CHECK(pthread_join(threads[i], NULL) == 0);
    pthread_barrier_destroy(&c.start);
    pthread_barrier_destroy(&c.end);
}

int main(void)
{
    check_begin();
    run("an end is claimed when opened, and taken at first use",
        an_end_is_claimed_when_opened_and_taken_at_first_use);
    run("an end that is taken is refused, with the taker's pid",
        an_end_that_is_taken_is_refused_with_the_takers_pid);
    run("a closed end cannot be taken again", a_closed_end_cannot_be_taken_again);
    run("a receiver drains a closed channel before its end", a_receiver_drains_a_closed_channel_before_its_end);
    run("a sender learns that the receiver closed", a_sender_learns_that_the_receiver_closed);
    run("an anonymous end that nobody claims ends the channel",
        an_anonymous_end_that_nobody_claims_ends_the_channel);
    run("a named end that nobody claims is awaited", a_named_end_that_nobody_claims_is_awaited);
    run("an unclean close looks like a crash", an_unclean_close_looks_like_a_crash);
    run("a killed sender is noticed, after its messages", a_killed_sender_is_noticed_after_its_messages);
    run("a blocked sender is released when the receiver is killed",
        a_blocked_sender_is_released_when_the_receiver_is_killed);
    run("two threads may race for the first use", two_threads_may_race_for_the_first_use);
    return check_finish();
}

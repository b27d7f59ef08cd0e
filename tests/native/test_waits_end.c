/* test_waits_end.c - deadlines, signals, and all else that ends a wait. */
#include "waits.h"

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

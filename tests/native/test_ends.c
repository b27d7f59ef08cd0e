/* test_ends.c - the life of an end: claimed, taken, closed, dead, taken over, forked, handed over. */
#include "batches.h"
#include "check.h"
#include "ends.h"
#include "registry.h"
#include "stats.h"
#include "transfer.h"

#include <pthread.h>
#include <sys/socket.h>

enum { CAPACITY = 4096 };

static struct ipcr_end *open_end(struct ipcr_segment *s, uint32_t side)
{
    struct ipcr_end *e = NULL;
    CHECK_IS(ipcr_end_open(s, side, IPCR_SPIN_AUTO, &e), IPCR_OK);
    return e;
}

static struct ipcr_end *taken(struct ipcr_segment *s, uint32_t side)
{
    struct ipcr_end *e = open_end(s, side);
    uint32_t by;
    CHECK_IS(ipcr_end_take(e, &by), IPCR_OK);
    return e;
}

static void finish(struct ipcr_end *e, bool clean)
{
    ipcr_end_close(e, clean);
    ipcr_end_free(e);
}

static char received[IPCR_SMALL];

static int64_t recv_until(struct ipcr_end *e, uint64_t deadline_ns)
{
    int64_t rc = ipcr_recv_wait(e, received, deadline_ns, 0);
    while (rc == IPCR_AGAIN)
        rc = ipcr_recv_wait(e, received, deadline_ns, 1);
    return rc;
}

static int send_until(struct ipcr_end *e, const char *message, uint64_t length, uint64_t deadline_ns)
{
    int rc = ipcr_send_wait(e, message, length, 0, deadline_ns, 0);
    while (rc == IPCR_AGAIN)
        rc = ipcr_send_wait(e, message, length, 0, deadline_ns, 1);
    return rc;
}

static int flush_until(struct ipcr_end *e, uint64_t deadline_ns)
{
    int rc = ipcr_flush_wait(e, deadline_ns, 0);
    while (rc == IPCR_AGAIN)
        rc = ipcr_flush_wait(e, deadline_ns, 1);
    return rc;
}

static int send_text(struct ipcr_end *e, const char *text) { return ipcr_send(e, text, strlen(text), 0); }

static void check_receives(struct ipcr_end *e, const char *text)
{
    CHECK_IS(recv_until(e, IPCR_FOREVER), strlen(text));
    CHECK(memcmp(received, text, strlen(text)) == 0);
}

static void fill(struct ipcr_end *sender)
{
    while (ipcr_send(sender, received, 100, 0) == IPCR_OK)
        ;
    CHECK_IS(ipcr_send(sender, received, 100, 0), IPCR_FULL);
}

static struct ipcr_side_stats side_of(struct ipcr_segment *s, uint32_t side)
{
    struct ipcr_stats stats;
    CHECK_IS(ipcr_stats_of_segment(s, &stats), IPCR_OK);
    return stats.side[side];
}

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

static void take_and_wait(int ear, int mouth, void *arg)
{
    struct ipcr_end *e = taken(arg, IPCR_SENDER);
    say(mouth, 't');
    const char word = hear(ear);
    if (word == 'c')
        finish(e, true);
    say(mouth, 'd');
    wait_for_end();
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

static void send_and_wait(int ear, int mouth, void *arg)
{
    struct ipcr_end *e = taken(arg, IPCR_SENDER);
    CHECK_IS(send_text(e, "one"), IPCR_OK);
    CHECK_IS(send_text(e, "two"), IPCR_OK);
    CHECK_IS(ipcr_claim(e, 50), IPCR_OK); /* never committed */
    say(mouth, 's');
    (void)hear(ear);
    wait_for_end();
}

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

/* --- take-over ------------------------------------------------------------------------------------------ */

struct storm {
    struct ipcr_segment *segment;
    uint64_t *published; /* shared: messages whose send has returned */
    uint64_t *seen;      /* shared: messages that a reader began to look at, and ... */
    uint64_t *released;  /* ... has given back */
    uint64_t seed;
};

static uint64_t length_of(uint64_t sequence) { return mixed(sequence) % 400; }

static void write_until_killed(int ear, int mouth, void *arg)
{
    const struct storm *storm = arg;
    struct ipcr_end *e = taken(storm->segment, IPCR_SENDER);
    static uint8_t messages[4 * 400];
    uint64_t lengths[4], random = storm->seed;
    (void)ear;
    say(mouth, 'w');
    for (;;) {
        const uint64_t sequence = e->writer.sequence;
        switch (random_next(&random) % 3) {
        case 0: {
            uint64_t n = 0, used = 0;
            for (; n < 4; n++) {
                lengths[n] = length_of(sequence + n);
                stamp(messages + used, lengths[n], sequence + n);
                used += lengths[n];
            }
            const int64_t sent = send_batch(e, (const char *)messages, lengths, n, 0);
            CHECK(sent > 0 || sent == IPCR_FULL);
            break;
        }
        case 1: {
            const int rc = ipcr_claim(e, length_of(sequence));
            CHECK(rc == IPCR_OK || rc == IPCR_FULL);
            if (rc == IPCR_OK) {
                stamp((uint8_t *)ipcr_lent(e), length_of(sequence), sequence);
                CHECK_IS(ipcr_commit(e, length_of(sequence), 0), IPCR_OK);
            }
            break;
        }
        default:
            stamp(messages, length_of(sequence), sequence);
            CHECK_IS(send_until(e, (const char *)messages, length_of(sequence), IPCR_FOREVER), IPCR_OK);
        }
        __atomic_store_n(storm->published, e->writer.sequence, __ATOMIC_RELEASE);
    }
}

static void check_message(struct ipcr_end *r, int64_t length, uint64_t sequence)
{
    CHECK_IS(ipcr_last_sequence(r), sequence);
    CHECK_IS(length, length_of(sequence));
    CHECK(is_stamped((const uint8_t *)received, (uint64_t)length, sequence));
}

static void a_successor_of_a_killed_sender_loses_nothing_that_was_published(void)
{
    uint64_t *shared = shared_memory(4096), random = 5, expected = 0;
    struct storm storm = { .segment = anonymous(CAPACITY, 0 - UINT64_C(400000)), .published = shared };
    struct ipcr_end *r = taken(storm.segment, IPCR_RECEIVER);
    for (int round = 0; round < FEWER(300, 60); round++) {
        storm.seed = (uint64_t)round << 32;
        struct child c = child_start(write_until_killed, &storm);
        if (round % 8 != 0) /* otherwise perhaps before it has taken the end */
            CHECK_IS(hear(c.ear), 'w');
        const uint64_t until = expected + random_next(&random) % 300;
        while (expected < until) {
            const int64_t length = recv_until(r, in_ms(1000));
            if (length == IPCR_PEER_DIED)
                continue; /* the previous one: this one hasn't taken the end yet */
            if (length == IPCR_END_OF_CHANNEL && expected == 0)
                continue; /* the first child has not even claimed it */
            CHECK(length >= 0);
            check_message(r, length, expected++);
        }
        child_kill(&c);
        int64_t length;
        while ((length = ipcr_recv(r, received)) >= 0)
            check_message(r, length, expected++);
        CHECK_IS(length, IPCR_EMPTY);
        if (round % 8 == 1) { /* a death is noticed at the end of a slice: not every time */
            length = recv_until(r, IPCR_FOREVER);
            CHECK(length == IPCR_PEER_DIED || (length == IPCR_END_OF_CHANNEL && expected == 0));
        }
        CHECK(expected >= __atomic_load_n(storm.published, __ATOMIC_ACQUIRE));
    }
    finish(r, true);
    ipcr_segment_release(storm.segment);
    munmap(shared, 4096);
}

static void read_until_killed(int ear, int mouth, void *arg)
{
    const struct storm *storm = arg;
    struct ipcr_end *e = taken(storm->segment, IPCR_RECEIVER);
    uint64_t random = storm->seed;
    (void)ear;
    const uint64_t first = e->reader.sequence;
    CHECK(first >= __atomic_load_n(storm->released, __ATOMIC_ACQUIRE));
    CHECK(first <= __atomic_load_n(storm->seen, __ATOMIC_ACQUIRE));
    say(mouth, 'r');
    for (;;) {
        const uint64_t sequence = e->reader.sequence;
        if (random_next(&random) % 2 == 0) {
            const int64_t length = ipcr_peek(e);
            if (length == IPCR_EMPTY)
                continue;
            memcpy(received, ipcr_lent(e), (size_t)length);
            check_message(e, length, sequence);
            __atomic_store_n(storm->seen, sequence + 1, __ATOMIC_RELEASE);
            CHECK_IS(ipcr_release(e), IPCR_OK);
        } else {
            __atomic_store_n(storm->seen, sequence + 1, __ATOMIC_RELEASE);
            const int64_t length = recv_until(e, IPCR_FOREVER);
            CHECK(length >= 0);
            check_message(e, length, sequence);
        }
        __atomic_store_n(storm->released, sequence + 1, __ATOMIC_RELEASE);
    }
}

static void a_successor_of_a_killed_receiver_gets_what_was_not_released(void)
{
    uint64_t *shared = shared_memory(4096), random = 6, sequence = 0;
    struct storm storm = { .segment = anonymous(CAPACITY, 0), .seen = shared, .released = shared + 1 };
    struct ipcr_end *w = taken(storm.segment, IPCR_SENDER);
    static uint8_t message[400];
    for (int round = 0; round < FEWER(300, 60); round++) {
        storm.seed = (uint64_t)round << 32;
        struct child c = child_start(read_until_killed, &storm);
        CHECK_IS(hear(c.ear), 'r');
        for (uint64_t n = random_next(&random) % 300; n > 0; n--) {
            stamp(message, length_of(sequence), sequence);
            CHECK_IS(send_until(w, (const char *)message, length_of(sequence), IPCR_FOREVER), IPCR_OK);
            sequence++;
        }
        child_kill(&c);
    }
    fill(w);
    CHECK_IS(send_until(w, (const char *)message, 100, IPCR_FOREVER), IPCR_PEER_DIED);
    finish(w, true);
    ipcr_segment_release(storm.segment);
    munmap(shared, 4096);
}

static void a_waiting_receiver_goes_on_with_a_successor(void)
{
    struct ipcr_segment *s = anonymous(CAPACITY, 0);
    struct ipcr_end *r = taken(s, IPCR_RECEIVER);
    struct child c = child_start(send_and_wait, s);
    CHECK_IS(hear(c.ear), 's');
    child_kill(&c);
    struct ipcr_end *w = taken(s, IPCR_SENDER);
    CHECK_IS(side_of(s, IPCR_SENDER).generation, 2);
    check_receives(r, "one");
    check_receives(r, "two");
    CHECK_IS(recv_until(r, in_ms(1)), IPCR_EMPTY); /* alive again */
    CHECK_IS(send_text(w, "three"), IPCR_OK);
    check_receives(r, "three");
    CHECK_IS(ipcr_last_sequence(r), 2);
    finish(w, true);
    finish(r, true);
    ipcr_segment_release(s);
}

/* --- fork ------------------------------------------------------------------------------------------------ */

struct pair {
    struct ipcr_segment *segment;
    struct ipcr_end *w, *r;
    int held;
};

static void use_what_the_parent_uses(int ear, int mouth, void *arg)
{
    const struct pair *p = arg;
    uint32_t by;
    int held;
    CHECK_IS(send_text(p->w, "from the child"), IPCR_FORKED);
    CHECK_IS(send_until(p->w, "x", 1, 0), IPCR_FORKED);
    CHECK_IS(ipcr_claim(p->w, 1), IPCR_FORKED);
    CHECK_IS(ipcr_commit(p->w, 1, 0), IPCR_FORKED);
    CHECK_IS(ipcr_abort(p->w), IPCR_FORKED);
    CHECK_IS(ipcr_recv(p->r, received), IPCR_FORKED);
    CHECK_IS(recv_batch(p->r, received, 10, 1), IPCR_FORKED);
    CHECK_IS(recv_until(p->r, IPCR_FOREVER), IPCR_FORKED);
    CHECK_IS(ipcr_release(p->r), IPCR_FORKED);
    CHECK_IS(ipcr_end_take(p->w, &by), IPCR_FORKED);
    CHECK_IS(ipcr_end_hand_over(p->w, true, true, &held), IPCR_FORKED);
    /* a handle of its own doesn't help: the parent has the end */
    struct ipcr_end *own = open_end(p->segment, IPCR_SENDER);
    CHECK_IS(ipcr_end_take(own, &by), IPCR_TAKEN);
    CHECK_IS(by, getppid());
    finish(own, true);
    finish(p->w, true); /* nothing that the parent would notice */
    finish(p->r, true);
    say(mouth, 'd');
    (void)hear(ear);
}

static void an_end_in_use_in_the_parent_is_forked_in_the_child(void)
{
    struct pair p = { .segment = anonymous(CAPACITY, 0) };
    p.w = taken(p.segment, IPCR_SENDER);
    p.r = taken(p.segment, IPCR_RECEIVER);
    CHECK_IS(send_text(p.w, "before"), IPCR_OK);
    CHECK_IS(ipcr_peek(p.r), 6);
    struct child c = child_start(use_what_the_parent_uses, &p);
    CHECK_IS(hear(c.ear), 'd');
    CHECK_IS(ipcr_release(p.r), IPCR_OK);
    CHECK_IS(send_text(p.w, "after"), IPCR_OK);
    check_receives(p.r, "after");
    say(c.mouth, 'q');
    child_finish(&c);
    CHECK_IS(send_text(p.w, "and after"), IPCR_OK);
    check_receives(p.r, "and after");
    finish(p.w, true);
    CHECK_IS(recv_until(p.r, IPCR_FOREVER), IPCR_END_OF_CHANNEL);
    finish(p.r, true);
    ipcr_segment_release(p.segment);
}

static void take_what_the_parent_claimed(int ear, int mouth, void *arg)
{
    const struct pair *p = arg;
    uint32_t by;
    const char word = hear(ear);
    if (word == 'n')
        return; /* ends without having used it */
    CHECK_IS(ipcr_end_take(p->w, &by), IPCR_OK);
    CHECK_IS(send_text(p->w, "from the child"), IPCR_OK);
    say(mouth, 's');
    if (hear(ear) == 'c')
        ipcr_end_close(p->w, true);
}

static void an_untaken_end_is_claimed_by_a_forked_child_from_its_first_instant(void)
{
    const char words[] = { 'n', 'c', 'k' };
    for (int round = 0; round < FEWER(30, 15); round++) {
        const char word = words[round % 3];
        struct pair p = { .segment = anonymous(CAPACITY, 0) };
        p.r = taken(p.segment, IPCR_RECEIVER);
        p.w = open_end(p.segment, IPCR_SENDER);
        struct child c = child_start(take_what_the_parent_claimed, &p);
        finish(p.w, true); /* at once */
        for (int i = 0; i < 20; i++)
            CHECK_IS(recv_until(p.r, 0), IPCR_EMPTY); /* each asks the kernel */
        say(c.mouth, word);
        if (word == 'n') {
            CHECK_IS(recv_until(p.r, IPCR_FOREVER), IPCR_END_OF_CHANNEL);
            child_finish(&c);
        } else {
            check_receives(p.r, "from the child");
            CHECK_IS(hear(c.ear), 's');
            if (word == 'c') {
                say(c.mouth, 'c');
                CHECK_IS(recv_until(p.r, IPCR_FOREVER), IPCR_END_OF_CHANNEL);
                child_finish(&c);
            } else {
                child_kill(&c);
                CHECK_IS(recv_until(p.r, IPCR_FOREVER), IPCR_PEER_DIED);
            }
        }
        finish(p.r, true);
        ipcr_segment_release(p.segment);
    }
}

static void take_and_fork(int ear, int mouth, void *arg)
{
    (void)taken(arg, IPCR_SENDER);
    const pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) { /* lives until the test closes the pipe */
        say(mouth, 'g');
        while (hear(ear) != 0)
            ;
        _exit(0);
    }
    wait_for_end();
}

static void a_taker_that_forks_and_is_killed_is_dead_although_its_child_lives(void)
{
    struct ipcr_segment *s = anonymous(CAPACITY, 0);
    struct ipcr_end *r = taken(s, IPCR_RECEIVER);
    struct child c = child_start(take_and_fork, s);
    CHECK_IS(hear(c.ear), 'g');
    CHECK_IS(recv_until(r, 0), IPCR_EMPTY);
    CHECK(kill(c.pid, SIGKILL) == 0 && waitpid(c.pid, NULL, 0) == c.pid);
    CHECK_IS(recv_until(r, IPCR_FOREVER), IPCR_PEER_DIED);
    close(c.mouth);
    CHECK_IS(hear(c.ear), 0); /* the grandchild lived until now */
    close(c.ear);
    finish(r, true);
    ipcr_segment_release(s);
}

static void free_ends(int ear, int mouth, void *arg)
{
    const struct pair *p = arg;
    (void)ear;
    (void)mouth;
    ipcr_end_free(p->r); /* closed in the parent, with a message lent: counts down once */
    CHECK_IS(p->segment->references, 1);
    CHECK(p->segment->data[0] == p->segment->data[CAPACITY]); /* still mapped */
    ipcr_segment_release(p->segment);
}

static void a_fork_between_close_and_return_of_a_lent_message_counts_right(void)
{
    struct pair p = { .segment = anonymous(CAPACITY, 0) };
    p.w = taken(p.segment, IPCR_SENDER);
    p.r = taken(p.segment, IPCR_RECEIVER);
    CHECK_IS(send_text(p.w, "lent"), IPCR_OK);
    CHECK_IS(ipcr_peek(p.r), 4);
    ipcr_end_close(p.r, true);
    finish(p.w, true);
    CHECK(memcmp(ipcr_lent(p.r), "lent", 4) == 0); /* mapped as long as it is lent */
    CHECK_IS(p.segment->references, 2);
    struct child c = child_start(free_ends, &p);
    child_finish(&c);
    CHECK_IS(ipcr_release(p.r), IPCR_CLOSED);
    CHECK_IS(p.segment->references, 1);
    ipcr_end_free(p.r);
    ipcr_segment_release(p.segment);
}

/* --- handing over ----------------------------------------------------------------------------------------- */

static void adopt_role(int ear, int mouth, void *arg)
{
    const struct pair *p = arg;
    CHECK_IS(ipcr_parcel_keep(p->held), IPCR_OK);
    CHECK_IS(ipcr_end_adopt_role(p->w, p->held), IPCR_OK);
    CHECK(fcntl(p->held, F_GETFD) < 0 && errno == EBADF);
    CHECK_IS(send_text(p->w, "adopted"), IPCR_OK);
    say(mouth, 'a');
    if (hear(ear) == 'c')
        ipcr_end_close(p->w, true);
}

static void an_end_can_be_taken_in_a_forked_childs_name(void)
{
    for (int round = 0; round < 2; round++) {
        struct pair p = { .segment = anonymous(CAPACITY, 0) };
        uint32_t by;
        p.r = taken(p.segment, IPCR_RECEIVER);
        p.w = open_end(p.segment, IPCR_SENDER);
        CHECK_IS(ipcr_end_hand_over(p.w, true, true, &p.held), IPCR_OK);
        CHECK_IS(side_of(p.segment, IPCR_SENDER).state, IPCR_END_TAKEN);
        CHECK_IS(ipcr_end_take(p.w, &by), IPCR_TAKEN); /* it is the child's */
        struct child c = child_start(adopt_role, &p);
        ipcr_parcel_close(p.held);
        CHECK(fcntl(p.held, F_GETFD) < 0 && errno == EBADF);
        finish(p.w, true);
        check_receives(p.r, "adopted");
        CHECK_IS(hear(c.ear), 'a');
        CHECK_IS(side_of(p.segment, IPCR_SENDER).pid, c.pid);
        CHECK_IS(recv_until(p.r, 0), IPCR_EMPTY);
        if (round == 0) {
            child_kill(&c);
            CHECK_IS(recv_until(p.r, IPCR_FOREVER), IPCR_PEER_DIED);
        } else {
            say(c.mouth, 'c');
            CHECK_IS(recv_until(p.r, IPCR_FOREVER), IPCR_END_OF_CHANNEL);
            child_finish(&c);
        }
        finish(p.r, true);
        ipcr_segment_release(p.segment);
    }
}

static void a_child_that_dies_before_it_adopts_is_a_dead_taker(void)
{
    struct pair p = { .segment = anonymous(CAPACITY, 0) };
    p.r = taken(p.segment, IPCR_RECEIVER);
    p.w = open_end(p.segment, IPCR_SENDER);
    CHECK_IS(ipcr_end_hand_over(p.w, true, true, &p.held), IPCR_OK);
    struct child c = child_start(take_and_wait, anonymous(CAPACITY, 0)); /* has the parcel, does nothing with it */
    ipcr_parcel_close(p.held);
    CHECK_IS(recv_until(p.r, in_ms(1)), IPCR_EMPTY); /* not dead yet */
    child_kill(&c);
    CHECK_IS(recv_until(p.r, IPCR_FOREVER), IPCR_PEER_DIED);
    uint32_t by;
    CHECK_IS(ipcr_end_take(p.w, &by), IPCR_OK); /* a successor */
    CHECK_IS(send_text(p.w, "instead"), IPCR_OK);
    check_receives(p.r, "instead");
    finish(p.w, true);
    finish(p.r, true);
    ipcr_segment_release(p.segment);
}

static void taking_back_leaves_the_end_as_it_was(void)
{
    struct pair p = { .segment = anonymous(CAPACITY, 0) };
    uint32_t by;
    p.r = taken(p.segment, IPCR_RECEIVER);
    p.w = open_end(p.segment, IPCR_SENDER);
    for (int round = 0; round < 3; round++) {
        const bool with_role = round != 1;
        CHECK_IS(ipcr_end_hand_over(p.w, with_role, round == 2, &p.held), IPCR_OK);
        ipcr_end_take_back(p.w, p.held, with_role);
        CHECK(fcntl(p.held, F_GETFD) < 0 && errno == EBADF);
        CHECK_IS(side_of(p.segment, IPCR_SENDER).state, IPCR_END_UNTAKEN);
        CHECK_IS(side_of(p.segment, IPCR_SENDER).alive, 0);
        CHECK_IS(recv_until(p.r, 0), IPCR_EMPTY);
    }
    CHECK_IS(ipcr_end_take(p.w, &by), IPCR_OK);
    CHECK_IS(send_text(p.w, "mine"), IPCR_OK);
    check_receives(p.r, "mine");
    /* what is in use stays here; what is closed or another's can't be given */
    CHECK_IS(ipcr_end_hand_over(p.w, true, false, &p.held), IPCR_IN_USE);
    CHECK_IS(ipcr_end_hand_over(p.w, false, false, &p.held), IPCR_IN_USE);
    struct ipcr_end *second = open_end(p.segment, IPCR_SENDER);
    CHECK_IS(ipcr_end_hand_over(second, true, false, &p.held), IPCR_TAKEN);
    ipcr_end_close(second, true);
    CHECK_IS(ipcr_end_hand_over(second, true, false, &p.held), IPCR_CLOSED);
    ipcr_end_free(second);
    finish(p.w, true);
    finish(p.r, true);
    ipcr_segment_release(p.segment);
}

static void look_for_descriptor(int ear, int mouth, void *arg)
{
    const struct pair *p = arg;
    CHECK(fcntl(p->held, F_GETFD) < 0 && errno == EBADF);
    CHECK_IS(ipcr_parcel_keep(p->held), IPCR_NOT_FOUND);
    say(mouth, 'n');
    (void)hear(ear);
}

static void a_forked_bystander_does_not_keep_a_parcel(void)
{
    struct pair p = { .segment = anonymous(CAPACITY, 0) };
    p.r = taken(p.segment, IPCR_RECEIVER);
    p.w = open_end(p.segment, IPCR_SENDER);
    CHECK_IS(ipcr_end_hand_over(p.w, true, false, &p.held), IPCR_OK); /* for a child that is exec'ed */
    struct child c = child_start(look_for_descriptor, &p);
    CHECK_IS(hear(c.ear), 'n');
    CHECK_IS(recv_until(p.r, 0), IPCR_EMPTY);
    ipcr_parcel_close(p.held); /* the receiver of the parcel never came to life */
    CHECK_IS(recv_until(p.r, IPCR_FOREVER), IPCR_PEER_DIED); /* although the bystander lives */
    say(c.mouth, 'q');
    child_finish(&c);
    finish(p.w, true);
    finish(p.r, true);
    ipcr_segment_release(p.segment);
}

/* A process that shares nothing with us but a socket, as after exec: descriptors arrive through it. */
static int stranger_socket;

static void send_descriptors(int a, int b)
{
    union {
        struct cmsghdr align;
        char room[CMSG_SPACE(2 * sizeof(int))];
    } control;
    memset(&control, 0, sizeof control);
    char word = 'f';
    struct iovec io = { .iov_base = &word, .iov_len = 1 };
    struct msghdr m = { .msg_iov = &io, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control };
    struct cmsghdr *c = CMSG_FIRSTHDR(&m);
    const int fds[2] = { a, b };
    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(sizeof fds);
    memcpy(CMSG_DATA(c), fds, sizeof fds);
    CHECK(sendmsg(stranger_socket, &m, 0) == 1);
}

static void receive_descriptors(int socket, int fds[2])
{
    union {
        struct cmsghdr align;
        char room[CMSG_SPACE(2 * sizeof(int))];
    } control;
    char word;
    struct iovec io = { .iov_base = &word, .iov_len = 1 };
    struct msghdr m = { .msg_iov = &io, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control };
    CHECK(recvmsg(socket, &m, MSG_CMSG_CLOEXEC) == 1);
    memcpy(fds, CMSG_DATA(CMSG_FIRSTHDR(&m)), 2 * sizeof(int));
}

struct acquaintance {
    int socket;
    bool taken;
};

static void be_a_stranger(int ear, int mouth, void *arg)
{
    const struct acquaintance *a = arg;
    int fds[2];
    struct ipcr_segment *s;
    struct ipcr_end *e = NULL;
    receive_descriptors(a->socket, fds);
    CHECK_IS(ipcr_segment_attach(fds[0], NULL, NULL, IPCR_KIND_RING, true, &s), IPCR_OK);
    CHECK_IS(ipcr_end_adopt(s, IPCR_SENDER, 0, fds[1], a->taken, &e), IPCR_OK);
    ipcr_segment_release(s); /* the end refers to it */
    say(mouth, 'a');
    CHECK_IS(hear(ear), 'u');
    uint32_t by;
    CHECK(ipcr_end_in_use(e) == a->taken);
    CHECK_IS(ipcr_end_take(e, &by), IPCR_OK);
    CHECK_IS(send_text(e, "from a stranger"), IPCR_OK);
    say(mouth, 's');
    CHECK_IS(hear(ear), 'q');
    finish(e, true);
}

static void an_end_can_be_handed_to_a_process_that_is_not_forked(void)
{
    for (int round = 0; round < 4; round++) {
        int sockets[2];
        CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets) == 0);
        struct acquaintance a = { .socket = sockets[1], .taken = round % 2 == 0 };
        struct child c = child_start(be_a_stranger, &a); /* before there is anything to inherit */
        stranger_socket = sockets[0];
        struct pair p = { .segment = anonymous(CAPACITY, 0) };
        p.r = taken(p.segment, IPCR_RECEIVER);
        p.w = open_end(p.segment, IPCR_SENDER);
        CHECK_IS(ipcr_end_hand_over(p.w, a.taken, false, &p.held), IPCR_OK);
        send_descriptors(p.segment->fd, p.held);
        ipcr_parcel_close(p.held);
        finish(p.w, true);
        close(sockets[1]);
        for (int i = 0; i < 10; i++)
            CHECK_IS(recv_until(p.r, 0), IPCR_EMPTY); /* on its way, or there: never unknown */
        CHECK_IS(hear(c.ear), 'a');
        CHECK_IS(recv_until(p.r, 0), IPCR_EMPTY);
        if (round < 2) {
            say(c.mouth, 'u');
            check_receives(p.r, "from a stranger");
            CHECK_IS(hear(c.ear), 's');
            say(c.mouth, 'q');
            CHECK_IS(recv_until(p.r, IPCR_FOREVER), IPCR_END_OF_CHANNEL);
            child_finish(&c);
        } else {
            child_kill(&c);
            CHECK_IS(recv_until(p.r, IPCR_FOREVER), a.taken ? IPCR_PEER_DIED : IPCR_END_OF_CHANNEL);
        }
        close(sockets[0]);
        finish(p.r, true);
        ipcr_segment_release(p.segment);
    }
}

/* --- lending --------------------------------------------------------------------------------------------- */

static void claims_and_peeks_are_one_at_a_time(void)
{
    struct ipcr_segment *s = anonymous(65536, 0);
    struct ipcr_end *w = taken(s, IPCR_SENDER), *r = taken(s, IPCR_RECEIVER);
    const uint64_t length = 1;
    CHECK_IS(ipcr_commit(w, 0, 0), IPCR_NOTHING_LENT);
    CHECK_IS(ipcr_abort(w), IPCR_NOTHING_LENT);
    CHECK_IS(ipcr_release(r), IPCR_NOTHING_LENT);
    CHECK_IS(ipcr_claim(w, 65536), IPCR_TOO_LARGE);
    CHECK_IS(ipcr_claim(w, 100), IPCR_OK);
    CHECK(ipcr_end_is_lent(w));
    CHECK_IS(ipcr_claim(w, 100), IPCR_LENT);
    CHECK_IS(send_text(w, "x"), IPCR_LENT);
    CHECK_IS(send_until(w, "x", 1, IPCR_FOREVER), IPCR_LENT);
    CHECK_IS(send_batch(w, "x", &length, 1, 0), IPCR_LENT);
    CHECK_IS(ipcr_commit(w, 101, 0), IPCR_TOO_LARGE);
    memcpy(ipcr_lent(w), "claimed", 7);
    CHECK_IS(ipcr_commit(w, 7, IPCR_INFO(9, IPCR_PICKLE)), IPCR_OK);
    CHECK_IS(ipcr_claim(w, 100), IPCR_OK);
    CHECK_IS(ipcr_abort(w), IPCR_OK);
    CHECK_IS(ipcr_peek(r) & ~(INT64_C(7) << IPCR_RESULT_SKEW_SHIFT),
             (int64_t)7 | (int64_t)IPCR_PICKLE << IPCR_RESULT_ENCODING_SHIFT);
    CHECK_IS(IPCR_INFO_TYPE(ipcr_last_info(r)), 9);
    CHECK(memcmp(ipcr_lent(r), "claimed", 7) == 0);
    CHECK_IS(ipcr_peek(r), IPCR_LENT);
    CHECK_IS(ipcr_recv(r, received), IPCR_LENT);
    CHECK_IS(flush_until(w, in_ms(1)), IPCR_FULL);
    CHECK_IS(ipcr_release(r), IPCR_OK);
    CHECK_IS(flush_until(w, IPCR_FOREVER), IPCR_OK);
    CHECK_IS(ipcr_recv(r, received), IPCR_EMPTY);
    finish(w, true);
    finish(r, true);
    ipcr_segment_release(s);
}

static void a_message_too_large_to_copy_is_lent(void)
{
    struct ipcr_segment *s = anonymous(65536, 0);
    struct ipcr_end *w = taken(s, IPCR_SENDER), *r = taken(s, IPCR_RECEIVER);
    static uint8_t message[IPCR_SMALL + 1];
    stamp(message, sizeof message, 3);
    CHECK_IS(ipcr_send(w, (const char *)message, IPCR_SMALL, 0), IPCR_OK);
    CHECK_IS(ipcr_send(w, (const char *)message, IPCR_SMALL + 1, 0), IPCR_OK);
    CHECK_IS(ipcr_recv(r, received), IPCR_SMALL);
    CHECK(memcmp(received, message, IPCR_SMALL) == 0);
    CHECK_IS(recv_until(r, IPCR_FOREVER), (int64_t)(IPCR_SMALL + 1) | IPCR_RESULT_LENT);
    CHECK(ipcr_end_is_lent(r));
    CHECK(memcmp(ipcr_lent(r), message, sizeof message) == 0);
    CHECK_IS(ipcr_release(r), IPCR_OK);
    finish(w, true);
    finish(r, true);
    ipcr_segment_release(s);
}

static void batches_are_cut_where_the_room_ends(void)
{
    struct ipcr_segment *s = anonymous(CAPACITY, 0);
    struct ipcr_end *w = taken(s, IPCR_SENDER), *r = taken(s, IPCR_RECEIVER);
    static char messages[100 * 100];
    uint64_t lengths[100];
    stamp((uint8_t *)messages, sizeof messages, 8);
    for (int i = 0; i < 100; i++)
        lengths[i] = 100;
    CHECK_IS(send_batch(w, messages, lengths, 0, 0), 0);
    CHECK_IS(send_batch(w, messages, lengths, 100, 5), CAPACITY / 120); /* 116, padded to 120 */
    CHECK_IS(send_batch(w, messages, lengths, 100, 5), IPCR_FULL);
    CHECK_IS(recv_batch(r, received, 99, 100), 0);   /* not even the first */
    CHECK_IS(recv_batch(r, received, 350, 100), 3);
    CHECK_IS(recv_batch(r, received, 8192, 5), 5);
    CHECK(memcmp(received, messages + 300, 500) == 0);
    CHECK_IS(IPCR_INFO_TYPE(ipcr_last_info(r)), 5);
    CHECK_IS(recv_batch(r, received, 8192, 100), CAPACITY / 120 - 8);
    CHECK_IS(recv_batch(r, received, 8192, 100), IPCR_EMPTY);
    lengths[0] = CAPACITY;
    CHECK_IS(send_batch(w, messages, lengths, 2, 0), IPCR_TOO_LARGE);
    finish(w, true);
    CHECK_IS(recv_batch(r, received, 8192, 100), IPCR_END_OF_CHANNEL);
    finish(r, true);
    ipcr_segment_release(s);
}

/* --- a peer that writes nonsense -------------------------------------------------------------------------- */

static void garbage_from_the_peer_poisons_the_handle(void)
{
    struct ipcr_segment *s = anonymous(CAPACITY, 0);
    struct ipcr_end *w = taken(s, IPCR_SENDER), *r = taken(s, IPCR_RECEIVER);
    CHECK_IS(send_text(w, "lent before"), IPCR_OK);
    CHECK_IS(ipcr_peek(r), 11);
    store_release64(&s->header->at[IPCR_SENDER].position, 12345);
    CHECK_IS(ipcr_release(r), IPCR_OK); /* it was checked when it was lent */
    CHECK_IS(ipcr_recv(r, received), IPCR_CORRUPT);
    store_release64(&s->header->at[IPCR_SENDER].position, w->writer.position);
    CHECK_IS(ipcr_recv(r, received), IPCR_CORRUPT); /* and stays so */
    CHECK_IS(recv_until(r, IPCR_FOREVER), IPCR_CORRUPT);
    store_release64(&s->header->at[IPCR_RECEIVER].position, UINT64_MAX);
    CHECK_IS(flush_until(w, IPCR_FOREVER), IPCR_CORRUPT);
    CHECK_IS(send_text(w, "x"), IPCR_CORRUPT);
    CHECK_IS(ipcr_claim(w, 1), IPCR_CORRUPT);
    finish(w, true);
    finish(r, true);
    struct ipcr_end *again = open_end(s, IPCR_RECEIVER);
    ipcr_end_close(again, true);
    ipcr_end_free(again);
    ipcr_segment_release(s);
}

static void a_peer_state_that_is_none_is_corrupt(void)
{
    struct ipcr_segment *s = anonymous(CAPACITY, 0);
    struct ipcr_end *w = taken(s, IPCR_SENDER), *r = taken(s, IPCR_RECEIVER);
    store_release32(&w->mine->end_state, 3);
    CHECK_IS(recv_until(r, IPCR_FOREVER), IPCR_CORRUPT);
    finish(r, true);
    finish(w, true);
    ipcr_segment_release(s);
}

static void a_successor_that_finds_garbage_does_not_take_the_end(void)
{
    struct ipcr_segment *s = anonymous(CAPACITY, 0);
    struct ipcr_end *w = open_end(s, IPCR_SENDER);
    uint32_t by;
    store_release64(&s->header->at[IPCR_SENDER].position, 4);
    CHECK_IS(ipcr_end_take(w, &by), IPCR_CORRUPT);
    CHECK_IS(side_of(s, IPCR_SENDER).alive, 0);
    CHECK_IS(side_of(s, IPCR_SENDER).state, IPCR_END_UNTAKEN);
    store_release64(&s->header->at[IPCR_SENDER].position, 0);
    CHECK_IS(ipcr_end_take(w, &by), IPCR_OK);
    finish(w, true);
    ipcr_segment_release(s);
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
    run("a successor of a killed sender loses nothing that was published",
        a_successor_of_a_killed_sender_loses_nothing_that_was_published);
    run("a successor of a killed receiver gets what was not released",
        a_successor_of_a_killed_receiver_gets_what_was_not_released);
    run("a waiting receiver goes on with a successor", a_waiting_receiver_goes_on_with_a_successor);
    run("an end in use in the parent is forked in the child", an_end_in_use_in_the_parent_is_forked_in_the_child);
    run("an untaken end is claimed by a forked child from its first instant",
        an_untaken_end_is_claimed_by_a_forked_child_from_its_first_instant);
    run("a taker that forks and is killed is dead, although its child lives",
        a_taker_that_forks_and_is_killed_is_dead_although_its_child_lives);
    run("a fork between close and return of a lent message counts right",
        a_fork_between_close_and_return_of_a_lent_message_counts_right);
    run("an end can be taken in a forked child's name", an_end_can_be_taken_in_a_forked_childs_name);
    run("a child that dies before it adopts is a dead taker", a_child_that_dies_before_it_adopts_is_a_dead_taker);
    run("taking back leaves the end as it was", taking_back_leaves_the_end_as_it_was);
    run("a forked bystander does not keep a parcel", a_forked_bystander_does_not_keep_a_parcel);
    run("an end can be handed to a process that is not forked",
        an_end_can_be_handed_to_a_process_that_is_not_forked);
    run("claims and peeks are one at a time", claims_and_peeks_are_one_at_a_time);
    run("a message too large to copy is lent", a_message_too_large_to_copy_is_lent);
    run("batches are cut where the room ends", batches_are_cut_where_the_room_ends);
    run("garbage from the peer poisons the handle", garbage_from_the_peer_poisons_the_handle);
    run("a peer state that is none is corrupt", a_peer_state_that_is_none_is_corrupt);
    run("a successor that finds garbage does not take the end", a_successor_that_finds_garbage_does_not_take_the_end);
    run("two threads may race for the first use", two_threads_may_race_for_the_first_use);
    return check_finish();
}

/* test_gates.c - nobody sleeps through an event, whoever else wakes, dies away, or keeps what was not for him.
 *
 * The gates by themselves, and the windows of a queue's waits one by one; test_queue_waits.c has them all at once.
 */
#include "sleeps.h"

/* --- a gate by itself --------------------------------------------------------------------------------------------- */

struct turnstile {
    ipcr_word32 parked;
    ipcr_word64 tokens;
    ipcr_word64 taken;
    uint64_t all;
};

static bool has_token(const void *what)
{
    const struct turnstile *t = what;
    const bool found = load_acquire64(&t->tokens) != 0 || load_acquire64(&t->taken) == t->all;
    shake(); /* so that much happens between a look and a sleep */
    return found;
}

static bool take_token(struct turnstile *t)
{
    uint64_t seen = load_acquire64(&t->tokens);
    while (seen != 0)
        if (compare_exchange64(&t->tokens, &seen, seen - 1))
            return true;
    return false;
}

/* As queue.h says: whoever slept, and has taken something, passes on what is left. */
static void *pass_through(void *arg)
{
    struct turnstile *t = arg;
    bool slept = false;
    while (load_acquire64(&t->taken) != t->all) {
        if (!take_token(t)) {
            CHECK_IS(ipcr_gate_wait(&t->parked, has_token, t, IPCR_FOREVER, &slept), IPCR_OK);
            continue;
        }
        if (next_of(&t->taken) + 1 == t->all)
            ipcr_gate_open_wide(&t->parked);
        fence_store_load();
        if (slept && ipcr_gate_is_armed(&t->parked) && load_acquire64(&t->tokens) != 0)
            ipcr_gate_open(&t->parked, 1);
        slept = false;
    }
    return NULL;
}

static void *hand_out(void *arg)
{
    struct turnstile *t = arg;
    uint64_t random = 5;
    for (uint64_t i = 0; i < t->all / 2; i++) {
        (void)next_of(&t->tokens);
        ipcr_gate_signal(&t->parked, 1);
        if (random_next(&random) % 4 == 0)
            sched_yield();
    }
    return NULL;
}

static void no_token_is_left_while_somebody_sleeps(void)
{
    for (int sleepers = 1; sleepers <= 4; sleepers++) {
        struct turnstile t = { .all = FEWER(100000, 10000) };
        pthread_t threads[6];
        without_time();
        for (int i = 0; i < sleepers + 2; i++)
            CHECK(pthread_create(&threads[i], NULL, i < sleepers ? pass_through : hand_out, &t) == 0);
        for (int i = 0; i < sleepers + 2; i++)
            CHECK(pthread_join(threads[i], NULL) == 0);
        with_time();
    }
}

/* One was woken and has not set the word again: the others must hear what concerns all. */
static void a_gate_opened_wide_wakes_all_also_when_its_word_says_none(void)
{
    struct turnstile t = { .all = 1 };
    pthread_t threads[3];
    without_time();
    for (int i = 0; i < 3; i++)
        CHECK(pthread_create(&threads[i], NULL, pass_through, &t) == 0);
    wait_until_asleep(3);
    store_relaxed32(&t.parked, 0);
    store_release64(&t.taken, 1);
    ipcr_gate_open_wide(&t.parked);
    for (int i = 0; i < 3; i++)
        CHECK(pthread_join(threads[i], NULL) == 0);
    with_time();
}

/* --- what concerns all -------------------------------------------------------------------------------------------- */

/* As it is between the waking of one and its setting the word again. */
static void say_nobody_sleeps(ipcr_word32 *parked)
{
    CHECK(ipcr_gate_is_armed(parked));
    store_relaxed32(parked, load_relaxed32(parked) + 1);
}

static void *get_until_closed(void *arg)
{
    struct team *t = arg;
    uint64_t number;
    int rc;
    while ((rc = get_waiting(t->queue, &number)) == IPCR_OK)
        ;
    CHECK_IS(rc, IPCR_CLOSED);
    return NULL;
}

static void close_wakes_every_thread_of_the_handle_whatever_else_happens(void)
{
    for (int round = 0; round < FEWER(2000, 200); round++) {
        struct ipcr_queue *q = handle_on(reliable(&(struct ipcr_queue_options){ .slots = 4 }));
        struct team t = { .queue = handle_on(q->segment) };
        without_time();
        start(&t, 4, get_until_closed);
        wait_until_asleep(4);
        if (round % 4 == 3)
            say_nobody_sleeps(&q->header->consumers_parked);
        for (int i = 0; i < round % 4 % 3; i++)
            put(q, 0); /* wakes one, whose word says none until it runs */
        ipcr_queue_close(t.queue);
        finish(&t);
        with_time();
        ipcr_queue_free(t.queue);
        finish_queue(q);
    }
}

static void *get_until_shut(void *arg)
{
    struct team *t = arg;
    struct ipcr_queue *own = handle_on(t->queue->segment);
    uint64_t number;
    int rc;
    while ((rc = get_waiting(own, &number)) == IPCR_OK)
        ;
    CHECK_IS(rc, IPCR_SHUT_DOWN);
    ipcr_queue_free(own);
    return NULL;
}

static void *put_until_shut(void *arg)
{
    struct team *t = arg;
    struct ipcr_queue *own = handle_on(t->queue->segment);
    int rc;
    while ((rc = put_waiting(own, 1, 24)) == IPCR_OK)
        ;
    CHECK_IS(rc, IPCR_SHUT_DOWN);
    ipcr_queue_free(own);
    return NULL;
}

static void shutdown_wakes_everybody_whatever_else_happens(void)
{
    const struct ipcr_queue_options kinds[] = { { .slots = 2 }, { .maxsize = 1 } };
    for (int round = 0; round < FEWER(1000, 100); round++) {
        struct ipcr_queue *q = handle_on(queue_of(IPCR_KIND_QUEUE, 8, &kinds[round & 1], 0));
        struct team t = { .queue = q };
        without_time();
        start(&t, 3, round % 3 == 0 ? put_until_shut : get_until_shut);
        wait_until_asleep(3);
        if (round % 3 == 2)
            say_nobody_sleeps(&q->header->consumers_parked);
        if (round % 3 == 1)
            put(q, 0);
        else if (round % 3 == 0)
            (void)ipcr_queue_purge(q, false);
        CHECK_IS(ipcr_queue_shut(q, IPCR_SHUT), IPCR_OK);
        finish(&t);
        with_time();
        finish_queue(q);
    }
}

/* --- wake-ups that are not ours to keep --------------------------------------------------------------------------- */

static void a_producer_woken_for_room_whose_lane_is_full_wakes_another_one(void)
{
    const struct ipcr_queue_options tight = { .slots = 2, .maxsize = 3 };
    struct ipcr_queue *q = handle_on(queue_of(IPCR_KIND_QUEUE, 2, &tight, 0));
    put(q, 0);
    put(q, 1);
    CHECK_IS(try_put(q, 2), IPCR_FULL); /* by its lane */
    store_relaxed32(&q->put_woken, 1);
    store_relaxed32(&q->header->room_parked, 1); /* another one sleeps */
    CHECK_IS(ipcr_queue_wait_for_room(q, 24, now_ns()), IPCR_OK);
    CHECK(!ipcr_gate_is_armed(&q->header->room_parked));
    finish_queue(q);
}

/* Its deadline has passed, and it won't wait again. */
static void a_producer_woken_for_room_whose_last_try_fails_wakes_another_one(void)
{
    const struct ipcr_queue_options tight = { .slots = 2, .maxsize = 3 };
    struct ipcr_queue *q = handle_on(queue_of(IPCR_KIND_QUEUE, 2, &tight, 0));
    char bytes[24] = { 0 };
    const uint64_t length = sizeof bytes, info = 0;
    put(q, 0);
    put(q, 1);
    for (int way = 0; way < 3; way++) {
        store_relaxed32(&q->put_woken, 1);
        store_relaxed32(&q->header->room_parked, 1); /* another one sleeps */
        CHECK_IS(way == 0   ? try_put(q, 2)
                 : way == 1 ? ipcr_queue_put_one(q, bytes, length, info, 0)
                            : ipcr_queue_put_many(q, bytes, &length, &info, 1, 0, NULL),
                 IPCR_FULL);
        CHECK(!ipcr_gate_is_armed(&q->header->room_parked));
    }
    finish_queue(q);
}

static void a_producer_that_a_signal_wakes_passes_on_what_it_was_woken_for(void)
{
    const struct ipcr_queue_options two = { .maxsize = 2 };
    struct ipcr_queue *q = handle_on(queue_of(IPCR_KIND_QUEUE, 2, &two, 0));
    put(q, 0);
    put(q, 1);
    store_relaxed32(&interrupted, 1);
    CHECK_IS(ipcr_queue_wait_for_room(q, 24, IPCR_FOREVER), IPCR_AGAIN);
    CHECK(ipcr_gate_is_armed(&q->header->room_parked)); /* nothing to pass on: it is still full */
    store_relaxed32(&q->put_woken, 1);
    store_relaxed32(&q->header->room_parked, 1);
    check_gets(q, 0); /* wakes: us, say */
    CHECK(!ipcr_gate_is_armed(&q->header->room_parked));
    store_relaxed32(&q->header->room_parked, 1); /* woken, we set it again for the others */
    CHECK_IS(put_with(q, 2, 24, 0, NULL), IPCR_OK);
    CHECK(ipcr_gate_is_armed(&q->header->room_parked)); /* full again */
    finish_queue(q);
}

static void a_consumer_that_a_signal_wakes_passes_on_what_it_was_woken_for(void)
{
    struct ipcr_queue *q = handle_on(reliable(&(struct ipcr_queue_options){ .slots = 8 })), *p = handle_on(q->segment);
    struct team t = { .queue = p };
    without_time();
    start(&t, 1, get_until_shut); /* sleeps, and nobody will wake it but us */
    wait_until_asleep(1);
    store_relaxed32(&interrupted, 1);
    CHECK_IS(ipcr_queue_wait_for_message(q, IPCR_FOREVER), IPCR_AGAIN);
    store_relaxed32(&p->header->consumers_parked, 0); /* the wake-up of this put is ours, and a signal comes as well */
    put(p, 0);
    store_relaxed32(&p->header->consumers_parked, 1);
    store_relaxed32(&q->get_woken, 1);
    ipcr_queue_pass_on(q, IPCR_OK);
    while (ipcr_queue_depth(q) != 0)
        sched_yield();
    CHECK_IS(ipcr_queue_shut(q, IPCR_DRAINING), IPCR_OK);
    finish(&t);
    with_time();
    ipcr_queue_free(p);
    finish_queue(q);
}

/* --- a handle that is closed between two steps of its waiting thread ---------------------------------------------- */

static struct ipcr_queue *close_this;

/* Called when a thread computes the end of its slice, that is, after it saw that there is no room, and before it says what it
 * waits for. */
int clock_gettime(clockid_t clock, struct timespec *out)
{
    if (close_this != NULL) {
        struct ipcr_queue *q = close_this;
        close_this = NULL;
        ipcr_queue_close(q);
    }
    return (int)syscall(SYS_clock_gettime, (long)clock, out);
}

static void a_thread_of_a_closed_handle_leaves_the_lanes_new_owner_alone(void)
{
    struct ipcr_segment *s = queue_of(IPCR_KIND_QUEUE, 1, &(struct ipcr_queue_options){ .slots = 2 }, 0);
    struct ipcr_queue *q = handle_on(s), *next = handle_on(s);
    put(q, 0);
    put(q, 1);
    store_relaxed64(&words_of(q, 0)->room_at, 77);
    close_this = q;
    CHECK_IS(ipcr_queue_wait_for_room(q, 24, IPCR_FOREVER), IPCR_CLOSED);
    CHECK(close_this == NULL);
    CHECK_IS(load_relaxed64(&words_of(next, 0)->room_at), 77);
    ipcr_queue_free(q);
    finish_queue(next);
}

int main(void)
{
    check_begin();
    sleeps_begin();
    run("no token is left while somebody sleeps", no_token_is_left_while_somebody_sleeps);
    run("a gate opened wide wakes all, also when its word says none",
        a_gate_opened_wide_wakes_all_also_when_its_word_says_none);
    run("close wakes every thread of the handle, whatever else happens",
        close_wakes_every_thread_of_the_handle_whatever_else_happens);
    run("shutdown wakes everybody, whatever else happens", shutdown_wakes_everybody_whatever_else_happens);
    run("a producer woken for room whose last try fails wakes another one",
        a_producer_woken_for_room_whose_last_try_fails_wakes_another_one);
    run("a producer woken for room whose lane is full wakes another one",
        a_producer_woken_for_room_whose_lane_is_full_wakes_another_one);
    run("a producer that a signal wakes passes on what it was woken for",
        a_producer_that_a_signal_wakes_passes_on_what_it_was_woken_for);
    run("a consumer that a signal wakes passes on what it was woken for",
        a_consumer_that_a_signal_wakes_passes_on_what_it_was_woken_for);
    run("a thread of a closed handle leaves the lane's new owner alone",
        a_thread_of_a_closed_handle_leaves_the_lanes_new_owner_alone);
    return check_finish();
}

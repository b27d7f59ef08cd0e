/* test_multicast_seats.c - who may use a publisher or a subscriber: one thread at a time, not a forked child, and no more
 * subscribers than there are numbers. */
#include "multicasts.h"

#include <pthread.h>
#include <sys/resource.h>

enum { START = 9 };

static void who_is_between_two_slices_of_a_wait_shuts_all_others_out(void)
{
    struct ipcr_segment *s = multicast_of(DATA, 8, &lossless, START);
    struct ipcr_publisher *p = publisher_on(s);
    struct ipcr_subscriber *r = subscriber_on(s, IPCR_START_LATEST);
    struct ipcr_subscriber_inbox inbox = { .subscriber = r };
    char out[8];
    CHECK_IS(ipcr_subscriber_wait(r, IPCR_FOREVER, 0), IPCR_AGAIN); /* a slice */
    CHECK_IS(ipcr_subscriber_copy(r, out, sizeof out), IPCR_BUSY);
    CHECK_IS(ipcr_subscriber_recv_into(&inbox), IPCR_BUSY);
    CHECK_IS(ipcr_subscriber_recv_many(r, out, sizeof out, NULL, NULL, NULL, 0), IPCR_BUSY);
    CHECK_IS(ipcr_subscriber_settle(r, 0, 0, 0), IPCR_BUSY);
    CHECK_IS(ipcr_subscriber_peek(r), IPCR_BUSY);
    CHECK_IS(ipcr_subscriber_release(r), IPCR_BUSY);
    CHECK_IS(ipcr_subscriber_wait(r, IPCR_FOREVER, 0), IPCR_BUSY);
    CHECK_IS(ipcr_subscriber_look_around(r), IPCR_OK); /* for the one that is inside to do */
    publish(p, 1);
    CHECK_IS(ipcr_subscriber_wait(r, IPCR_FOREVER, 1), IPCR_OK);
    check_receives(r, START, 1);
    CHECK_IS(ipcr_subscriber_wait(r, now_ns() + 1, 0), IPCR_EMPTY);
    CHECK_IS(ipcr_subscriber_wait(r, IPCR_FOREVER, 0), IPCR_AGAIN);
    ipcr_subscriber_stop_waiting(r);
    check_has_nothing(r);
    CHECK_IS(ipcr_subscriber_wait(r, IPCR_FOREVER, 0), IPCR_AGAIN);
    ipcr_subscriber_close(r); /* takes the waiter's place */
    CHECK_IS(ipcr_subscriber_wait(r, IPCR_FOREVER, 1), IPCR_CLOSED);
    ipcr_subscriber_free(r);
    r = subscriber_on(s, IPCR_START_LATEST);
    until_full(p);
    CHECK_IS(ipcr_publisher_wait(p, IPCR_FOREVER, 0), IPCR_AGAIN);
    CHECK_IS(ipcr_publish(p, NULL, NULL, 0, 0), IPCR_BUSY);
    CHECK_IS(ipcr_publish_many(p, NULL, NULL, NULL, NULL, 0), IPCR_BUSY);
    CHECK_IS(ipcr_publisher_claim(p, NULL, 0), IPCR_BUSY);
    CHECK_IS(ipcr_publisher_commit(p, 0, 0), IPCR_BUSY);
    CHECK_IS(ipcr_publisher_abort(p), IPCR_BUSY);
    CHECK_IS(ipcr_publisher_wait(p, IPCR_FOREVER, 0), IPCR_BUSY);
    ipcr_publisher_close(p);
    CHECK_IS(ipcr_publisher_wait(p, IPCR_FOREVER, 1), IPCR_CLOSED);
    ipcr_publisher_free(p);
    ipcr_subscriber_free(r);
    ipcr_segment_release(s);
}

static void *give_up_anothers_wait(void *subscriber)
{
    ipcr_subscriber_stop_waiting(subscriber);
    return NULL;
}

static void nobody_gives_up_anothers_wait(void)
{
    struct ipcr_segment *s = multicast_of(DATA, 8, &lossless, START);
    struct ipcr_subscriber *r = subscriber_on(s, IPCR_START_LATEST);
    pthread_t thread;
    CHECK_IS(ipcr_subscriber_wait(r, IPCR_FOREVER, 0), IPCR_AGAIN);
    CHECK(pthread_create(&thread, NULL, give_up_anothers_wait, r) == 0 && pthread_join(thread, NULL) == 0);
    CHECK_IS(try_receive(r), IPCR_BUSY);
    ipcr_subscriber_stop_waiting(r);
    check_has_nothing(r);
    ipcr_subscriber_free(r);
    ipcr_segment_release(s);
}

/* Many threads call; one closes meanwhile.  Each call is whole, or says why not. */
struct crowd {
    struct ipcr_publisher *publisher;
    struct ipcr_subscriber *subscriber;
    ipcr_word32 started;
};

static void *use_both(void *arg)
{
    struct crowd *c = arg;
    char out[DATA];
    int64_t sent, got;
    uint32_t seen = load_relaxed32(&c->started);
    while (!compare_exchange32(&c->started, &seen, seen + 1))
        ;
    do {
        sent = ipcr_publish_bytes(c->publisher, "message", 7);
        CHECK(sent >= 0 || sent == IPCR_FULL || sent == IPCR_BUSY || sent == IPCR_CLOSED);
        got = ipcr_subscriber_copy(c->subscriber, out, sizeof out);
        CHECK(got == 7 || got == IPCR_EMPTY || got == IPCR_BUSY || got == IPCR_CLOSED || got == IPCR_END_OF_CHANNEL);
        CHECK(got != 7 || memcmp(out, "message", 7) == 0);
    } while (sent != IPCR_CLOSED || got != IPCR_CLOSED);
    return NULL;
}

static void threads_that_share_an_end_are_told_so_and_a_close_ends_them_all(void)
{
    for (int round = 0; round < FEWER(40, 20); round++) {
        struct ipcr_segment *s = multicast_of(DATA, 8, &lossless, START);
        struct crowd c = { .publisher = publisher_on(s), .subscriber = subscriber_on(s, IPCR_START_LATEST) };
        pthread_t threads[3];
        for (int i = 0; i < 3; i++)
            CHECK(pthread_create(&threads[i], NULL, use_both, &c) == 0);
        while (load_acquire32(&c.started) != 3)
            sched_yield();
        if (round % 2 == 0)
            ipcr_publisher_close(c.publisher);
        ipcr_subscriber_close(c.subscriber);
        ipcr_publisher_close(c.publisher);
        for (int i = 0; i < 3; i++)
            CHECK(pthread_join(threads[i], NULL) == 0);
        ipcr_subscriber_free(c.subscriber);
        ipcr_publisher_free(c.publisher);
        ipcr_segment_release(s);
    }
}

/* --- forked ----------------------------------------------------------------------------------------------------------------- */

struct family {
    struct ipcr_segment *segment;
    struct ipcr_publisher *publisher;
    struct ipcr_subscriber *subscriber;
};

static void use_what_is_the_parents(int ear, int mouth, void *arg)
{
    struct family *f = arg;
    char out[8];
    (void)mouth;
    CHECK_IS(try_publish(f->publisher), IPCR_FORKED);
    CHECK_IS(ipcr_publisher_wait(f->publisher, IPCR_FOREVER, 0), IPCR_FORKED);
    CHECK_IS(ipcr_publisher_wait(f->publisher, IPCR_FOREVER, 1), IPCR_FORKED);
    CHECK_IS(ipcr_publisher_look_around(f->publisher), IPCR_FORKED);
    CHECK_IS(ipcr_publisher_abort(f->publisher), IPCR_FORKED);
    CHECK_IS(ipcr_subscriber_copy(f->subscriber, out, sizeof out), IPCR_FORKED);
    CHECK_IS(ipcr_subscriber_peek(f->subscriber), IPCR_FORKED);
    CHECK_IS(ipcr_subscriber_release(f->subscriber), IPCR_FORKED);
    CHECK_IS(ipcr_subscriber_look_around(f->subscriber), IPCR_FORKED);
    ipcr_subscriber_stop_waiting(f->subscriber);
    ipcr_publisher_free(f->publisher); /* nothing of it but memory is this process's */
    ipcr_subscriber_free(f->subscriber);
    CHECK_IS(hear(ear), 'g');
    struct ipcr_subscriber *own = subscriber_on(f->segment, IPCR_START_OLDEST); /* as anybody may */
    CHECK(own->number > 0);
    check_receives(own, START, 3);
    ipcr_subscriber_free(own);
}

static void a_forked_child_may_not_use_its_parents_ends_and_does_them_no_harm(void)
{
    struct ipcr_segment *s = multicast_of(DATA, 8, &lossless, START);
    struct family f = { .segment = s, .publisher = publisher_on(s), .subscriber = subscriber_on(s, IPCR_START_LATEST) };
    struct child c = child_start(use_what_is_the_parents, &f);
    publish(f.publisher, 3);
    say(c.mouth, 'g');
    child_finish(&c);
    check_receives(f.subscriber, START, 3);
    publish(f.publisher, 1);
    check_receives(f.subscriber, START + 3, 1);
    ipcr_subscriber_free(f.subscriber);
    ipcr_publisher_free(f.publisher);
    ipcr_segment_release(s);
}

/* --- numbers ------------------------------------------------------------------------------------------------------------------ */

/* A hold is no descriptor but a mapping, so that only numbers run out. */
static void the_numbers_of_subscribers_run_out_and_come_back(void)
{
    static struct ipcr_subscriber *all[IPCR_MOST_SUBSCRIBERS];
    struct ipcr_segment *s = multicast_of(DATA, 8, &lossless, START);
    struct ipcr_publisher *p = publisher_on(s);
    uint64_t oldest, next;
    for (uint32_t i = 0; i < IPCR_MOST_SUBSCRIBERS; i++) {
        all[i] = subscriber_on(s, IPCR_START_LATEST);
        CHECK_IS(all[i]->number, i);
    }
    CHECK_IS(try_subscribe(s, (struct ipcr_subscription){ .start = IPCR_START_LATEST }, &oldest, &next), IPCR_TAKEN);
    struct ipcr_subscriber *o = observer_on(s, IPCR_START_LATEST); /* needs none */
    publish(p, 1);
    for (uint32_t i = 0; i < IPCR_MOST_SUBSCRIBERS; i++)
        check_receives(all[i], START, 1);
    check_receives(o, START, 1);
    CHECK_IS(until_full(p), 8); /* nobody is below it */
    for (uint32_t i = 0; i < IPCR_MOST_SUBSCRIBERS - 1; i++)
        check_receives(all[i], START + 1, 8);
    CHECK_IS(try_publish(p), IPCR_FULL); /* the last one counts, too */
    CHECK_IS(p->blocked_by, IPCR_MOST_SUBSCRIBERS - 1);
    check_receives(all[IPCR_MOST_SUBSCRIBERS - 1], START + 1, 8);
    ipcr_subscriber_free(all[500]);
    ipcr_subscriber_free(all[700]);
    all[500] = subscriber_on(s, IPCR_START_LATEST);
    CHECK_IS(all[500]->number, 500);
    all[700] = subscriber_on(s, IPCR_START_LATEST);
    CHECK_IS(all[700]->number, 700);
    die_subscribed(all[3]);
    die_subscribed(all[1]);
    all[1] = subscriber_on(s, IPCR_START_OLDEST); /* the dead ones' numbers, in turn */
    CHECK_IS(all[1]->number, 1);
    all[3] = subscriber_on(s, IPCR_START_LATEST);
    CHECK_IS(all[3]->number, 3);
    check_receives(all[1], START + 1, 8);
    CHECK_IS(try_subscribe(s, (struct ipcr_subscription){ .start = IPCR_START_LATEST }, &oldest, &next), IPCR_TAKEN);
    for (uint32_t i = 0; i < IPCR_MOST_SUBSCRIBERS; i++)
        ipcr_subscriber_free(all[i]);
    ipcr_subscriber_free(o);
    publish(p, 20);
    ipcr_publisher_free(p);
    ipcr_segment_release(s);
}

/* Descriptors are numbers, which others can close and open anew. */
static void an_observer_does_not_map_what_has_taken_the_place_of_its_descriptor(void)
{
    struct ipcr_segment *s = multicast_of(DATA, 8, &lossless, START), *other = multicast_of(DATA, 8, &lossless, START);
    uint64_t oldest, next;
    const struct ipcr_subscription observing = { .observe = 1 };
    const int kept = dup(s->fd);
    CHECK(kept >= 0 && dup2(other->fd, s->fd) == s->fd);
    CHECK_IS(try_subscribe(s, observing, &oldest, &next), IPCR_FROM_ERRNO(EBADF));
    CHECK(dup2(kept, s->fd) == s->fd && close(kept) == 0);
    CHECK_IS(try_subscribe(s, observing, &oldest, &next), IPCR_OK);
    ipcr_segment_release(other);
    ipcr_segment_release(s);
}

/* So that who is evicted can tell its own state from its successor's. */
static void a_number_has_another_generation_with_each_subscriber(void)
{
    struct ipcr_segment *s = multicast_of(DATA, 8, &lossless, START);
    uint32_t before = 0;
    for (int i = 0; i < 5; i++) {
        struct ipcr_subscriber *r = subscriber_on(s, IPCR_START_LATEST);
        const uint32_t state = load_relaxed32(&r->cursor->state);
        CHECK_IS(state & IPCR_CURSOR_MASK, IPCR_CURSOR_ACTIVE);
        CHECK(i == 0 || state >> 2 == before + 1);
        before = state >> 2;
        ipcr_subscriber_free(r);
    }
    ipcr_segment_release(s);
}

int main(void)
{
    struct rlimit limit;
    check_begin();
    CHECK(getrlimit(RLIMIT_NOFILE, &limit) == 0);
    limit.rlim_cur = limit.rlim_max < 256 ? limit.rlim_max : 256; /* fewer than there are numbers */
    CHECK(setrlimit(RLIMIT_NOFILE, &limit) == 0);
    run("who is between two slices of a wait shuts all others out",
        who_is_between_two_slices_of_a_wait_shuts_all_others_out);
    run("nobody gives up another's wait", nobody_gives_up_anothers_wait);
    run("threads that share an end are told so, and a close ends them all",
        threads_that_share_an_end_are_told_so_and_a_close_ends_them_all);
    run("a forked child may not use its parent's ends, and does them no harm",
        a_forked_child_may_not_use_its_parents_ends_and_does_them_no_harm);
    run("the numbers of subscribers run out, and come back", the_numbers_of_subscribers_run_out_and_come_back);
    run("an observer does not map what has taken the place of its descriptor",
        an_observer_does_not_map_what_has_taken_the_place_of_its_descriptor);
    run("a number has another generation with each subscriber", a_number_has_another_generation_with_each_subscriber);
    return check_finish();
}

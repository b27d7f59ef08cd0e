/* test_multicast_lossy.c - a publisher that waits for nobody: who is lapped is told exactly how many it lost, goes on where
 * it asked to, and never sees a message that was overwritten. */
#include "multicasts.h"

enum { START = 5000, ENTRIES = 8 };

static struct ipcr_subscriber *lapped_to(struct ipcr_segment *s, uint32_t on_lap, bool observe)
{
    return subscribe(s, (struct ipcr_subscription){ .on_lap = on_lap, .observe = observe, .interval_ns = 1000 }, NULL);
}

static void check_lost(const struct ipcr_subscriber *r, uint64_t before_it, uint64_t in_all)
{
    CHECK_IS(ipcr_subscriber_last_lost(r), before_it);
    CHECK_IS(ipcr_subscriber_lost(r), in_all);
}

static void who_is_lapped_goes_on_with_the_oldest_or_the_newest_and_knows_what_it_lost(void)
{
    for (int kind = 0; kind < 4; kind++)
        for (uint64_t ahead = 0; ahead <= 4 * ENTRIES; ahead++) {
            const bool latest = kind % 2 == 1, observe = kind / 2 == 1;
            struct ipcr_segment *s = multicast_of(DATA, ENTRIES, observe ? &lossless : &lossy, START);
            struct ipcr_publisher *p = publisher_on(s);
            struct ipcr_subscriber *r = lapped_to(s, latest ? IPCR_LAP_TO_LATEST : IPCR_LAP_TO_OLDEST, observe);
            publish(p, (int)ahead);
            const uint64_t overwritten = ahead > ENTRIES ? ahead - ENTRIES : 0;
            const uint64_t lost = overwritten == 0 ? 0 : latest ? ahead - 1 : overwritten;
            if (ahead == 0) {
                check_has_nothing(r);
            } else {
                CHECK_IS(try_receive(r), START + lost);
                check_lost(r, lost, lost);
                check_receives(r, START + lost + 1, ahead - lost - 1);
                if (ahead - lost > 1)
                    check_lost(r, 0, lost);
            }
            check_has_nothing(r);
            publish(p, 1);
            CHECK_IS(try_receive(r), START + ahead);
            check_lost(r, 0, lost);
            if (!observe) {
                CHECK_IS(load_relaxed64(&r->cursor->lost), lost);
                CHECK_IS(load_relaxed64(&r->cursor->received), ahead - lost + 1);
                CHECK_IS(load_relaxed64(&r->cursor->next), START + ahead + 1);
            }
            ipcr_subscriber_free(r);
            ipcr_publisher_free(p);
            ipcr_segment_release(s);
        }
}

static void laps_add_up(void)
{
    struct ipcr_segment *s = multicast_of(DATA, ENTRIES, &lossy, START);
    struct ipcr_publisher *p = publisher_on(s);
    struct ipcr_subscriber *oldest = lapped_to(s, IPCR_LAP_TO_OLDEST, false);
    struct ipcr_subscriber *latest = lapped_to(s, IPCR_LAP_TO_LATEST, false);
    struct ipcr_subscriber *all[] = { oldest, latest };
    uint64_t random = 3, got[2] = { 0 }, told[2] = { 0 };
    int64_t last[2] = { START - 1, START - 1 };
    for (int i = 0; i < FEWER(20000, 2000); i++) {
        publish(p, (int)(random_next(&random) % (2 * ENTRIES)));
        for (int k = 0; k < 2; k++) {
            const uint64_t reads = random_next(&random) % (2 * ENTRIES);
            int64_t sequence = 0;
            for (uint64_t n = 0; n < reads && (sequence = try_receive(all[k])) >= 0; n++) {
                const uint64_t lost = ipcr_subscriber_last_lost(all[k]);
                CHECK_IS(sequence, last[k] + 1 + (int64_t)lost); /* each gap is told, exactly, and nothing else */
                last[k] = sequence;
                got[k]++;
                told[k] += lost;
            }
            CHECK(sequence >= 0 || sequence == IPCR_EMPTY);
        }
    }
    for (int k = 0; k < 2; k++) {
        CHECK(told[k] > 0);
        CHECK_IS(ipcr_subscriber_lost(all[k]), told[k]);
        CHECK_IS(last[k], START - 1 + (int64_t)(got[k] + told[k]));
        ipcr_subscriber_free(all[k]);
    }
    ipcr_publisher_free(p);
    ipcr_segment_release(s);
}

/* What a publisher does when it makes room and is then slow, or dies: the message is announced as overwritten, and what
 * follows it is not there yet. */
static void what_is_being_overwritten_is_lost_although_nothing_stands_in_its_place_yet(void)
{
    for (int on_lap = 0; on_lap < 2; on_lap++) {
        struct ipcr_segment *s = multicast_of(DATA, ENTRIES, &lossy, START);
        struct ipcr_publisher *p = publisher_on(s);
        struct ipcr_subscriber *r = lapped_to(s, (uint32_t)on_lap, false);
        publish(p, ENTRIES);
        CHECK_IS(ipcr_publisher_claim(p, NULL, DATA - 2 * 64), IPCR_OK); /* needs the room of nearly all */
        const uint64_t oldest = load_relaxed64(&header_of(s)->oldest) - START;
        CHECK(oldest > 0 && oldest <= ENTRIES);
        memset(ipcr_publisher_lent(p), 0xee, DATA - 2 * 64);
        const uint64_t left = ENTRIES - oldest, jumped = on_lap == 1 && left > 0 ? ENTRIES - 1 : oldest;
        if (left > 0) {
            CHECK_IS(try_receive(r), START + jumped);
            check_lost(r, jumped, jumped);
        }
        while (try_receive(r) >= 0)
            ;
        check_has_nothing(r);
        CHECK_IS(ipcr_publisher_abort(p), IPCR_OK);
        publish(p, 1);
        CHECK_IS(try_receive(r), START + ENTRIES);
        CHECK_IS(ipcr_subscriber_lost(r), jumped);
        ipcr_subscriber_free(r);
        ipcr_publisher_free(p);
        ipcr_segment_release(s);
    }
}

/* All that was kept is announced as overwritten: there is no newest, and no oldest. */
static void who_is_lapped_where_nothing_is_whole_waits_for_the_next(void)
{
    for (int on_lap = 0; on_lap < 2; on_lap++) {
        struct ipcr_segment *s = multicast_of(DATA, ENTRIES, &lossy, START);
        struct ipcr_publisher *p = publisher_on(s);
        struct ipcr_subscriber *r = lapped_to(s, (uint32_t)on_lap, false);
        publish(p, 3);
        CHECK_IS(ipcr_publisher_claim(p, NULL, DATA - 56), IPCR_OK);
        CHECK_IS(load_relaxed64(&header_of(s)->oldest), START + 3);
        check_has_nothing(r);
        CHECK_IS(ipcr_subscriber_lost(r), 3);
        CHECK_IS(load_relaxed64(&r->cursor->next), START + 3);
        CHECK_IS(load_relaxed64(&r->cursor->lost), 3);
        stamp((uint8_t *)ipcr_publisher_lent(p), 40, START + 3);
        CHECK_IS(ipcr_publisher_commit(p, 40, 0), START + 3);
        CHECK_IS(try_receive(r), START + 3);
        check_lost(r, 3, 3);
        ipcr_subscriber_free(r);
        ipcr_publisher_free(p);
        ipcr_segment_release(s);
    }
}

static void a_batch_tells_what_was_lost_before_each_of_its_messages(void)
{
    struct ipcr_segment *s = multicast_of(DATA, ENTRIES, &lossy, START);
    struct ipcr_publisher *p = publisher_on(s);
    struct ipcr_subscriber *r = lapped_to(s, IPCR_LAP_TO_OLDEST, false);
    char out[DATA];
    int64_t results[16];
    uint64_t sequences[16], lost[16];
    publish(p, 20);
    CHECK_IS(ipcr_subscriber_recv_many(r, out, sizeof out, results, sequences, lost, 3), 3);
    for (uint64_t i = 0; i < 3; i++) {
        CHECK_IS(sequences[i], START + 12 + i);
        CHECK_IS(lost[i], 12);
        CHECK_IS(results[i], LENGTH);
        CHECK(is_stamped((const uint8_t *)out + i * LENGTH, LENGTH, sequences[i]));
    }
    CHECK_IS(ipcr_subscriber_settle(r, 2, sequences[2], lost[1]), IPCR_OK); /* two of the three, as when decoding fails */
    CHECK_IS(load_relaxed64(&r->cursor->received), 2);
    CHECK_IS(load_relaxed64(&r->cursor->next), START + 14);
    publish(p, 7); /* now the third is gone, after all */
    CHECK_IS(ipcr_subscriber_recv_many(r, out, sizeof out, results, sequences, lost, 16), 8);
    CHECK_IS(sequences[0], START + 19);
    CHECK_IS(lost[0], 12 + 5);
    CHECK_IS(ipcr_subscriber_settle(r, 0, 0, 0), IPCR_OK); /* none: as if it had not been called */
    CHECK_IS(ipcr_subscriber_lost(r), 12);
    CHECK_IS(load_relaxed64(&r->cursor->received), 2);
    CHECK_IS(try_receive(r), START + 19);
    CHECK_IS(ipcr_subscriber_lost(r), 12 + 5);
    ipcr_subscriber_free(r);
    ipcr_publisher_free(p);
    ipcr_segment_release(s);
}

/* It was lost when there was nothing to tell it with yet. */
static void what_was_lost_before_a_batch_that_is_given_back_is_told_with_its_first_message(void)
{
    struct ipcr_segment *s = multicast_of(DATA, ENTRIES, &lossy, START);
    struct ipcr_publisher *p = publisher_on(s);
    struct ipcr_subscriber *r = lapped_to(s, IPCR_LAP_TO_OLDEST, false);
    char out[DATA];
    int64_t result;
    uint64_t sequence, lost;
    publish(p, 3);
    CHECK_IS(ipcr_publisher_claim(p, NULL, DATA - 56), IPCR_OK);
    check_has_nothing(r);
    stamp((uint8_t *)ipcr_publisher_lent(p), 40, START + 3);
    CHECK_IS(ipcr_publisher_commit(p, 40, 0), START + 3);
    CHECK_IS(ipcr_subscriber_recv_many(r, out, sizeof out, &result, &sequence, &lost, 1), 1);
    CHECK_IS(lost, 3);
    CHECK_IS(ipcr_subscriber_settle(r, 0, 0, 0), IPCR_OK);
    CHECK_IS(try_receive(r), START + 3);
    check_lost(r, 3, 3);
    ipcr_subscriber_free(r);
    ipcr_publisher_free(p);
    ipcr_segment_release(s);
}

static void who_begins_where_nothing_is_left_has_lost_what_was_there(void)
{
    struct ipcr_segment *s = multicast_of(DATA, ENTRIES, &lossless, START);
    struct ipcr_publisher *p = publisher_on(s);
    publish(p, 3 * ENTRIES);
    struct ipcr_subscriber *o = subscribe(
        s, (struct ipcr_subscription){ .start = IPCR_START_SEQUENCE, .sequence = START + 2, .observe = 1 }, NULL);
    CHECK_IS(try_receive(o), START + 2 * ENTRIES);
    check_lost(o, 2 * ENTRIES - 2, 2 * ENTRIES - 2);
    ipcr_subscriber_free(o);
    ipcr_publisher_free(p);
    ipcr_segment_release(s);
}

/* --- observers ---------------------------------------------------------------------------------------------------------- */

/* Its data stand once: a payload that goes over the end is put together. */
static void an_observer_reads_over_the_end_of_the_data(void)
{
    struct ipcr_segment *s = multicast_of(DATA, ENTRIES, &lossless, START);
    struct ipcr_publisher *p = publisher_on(s);
    struct ipcr_subscriber *o = observer_on(s, IPCR_START_LATEST);
    uint64_t length, over = 0;
    for (uint64_t n = START; n < START + 500; n++) {
        const uint64_t wanted = n * 13 % 2000;
        CHECK_IS(try_publish_of(p, wanted), n);
        over += p->position / DATA != (p->position - ipcr_padded(wanted)) / DATA && p->position % DATA != 0;
        CHECK_IS(try_receive_of(o, &length), n);
        CHECK_IS(length, wanted);
    }
    CHECK(over > 50);
    ipcr_subscriber_free(o);
    ipcr_publisher_free(p);
    ipcr_segment_release(s);
}

static void an_observer_writes_nothing_and_polls(void)
{
    struct ipcr_segment *s = multicast_of(DATA, ENTRIES, &lossless, START);
    struct ipcr_publisher *p = publisher_on(s);
    static struct ipcr_multicast_header before;
    memcpy(&before, header_of(s), sizeof before);
    struct ipcr_subscriber *o = observer_on(s, IPCR_START_OLDEST);
    CHECK_IS(wait_for_message(o, in_ms(2)), IPCR_EMPTY);
    CHECK_IS(wait_for_message(o, now_ns() - 1), IPCR_EMPTY);
    CHECK_IS(ipcr_subscriber_look_around(o), IPCR_OK);
    CHECK_IS(ipcr_subscriber_peek(o), IPCR_WRONG_SIDE); /* what it looks at may go */
    CHECK(memcmp(&before, header_of(s), sizeof before) == 0);
    publish(p, 1);
    CHECK_IS(wait_for_message(o, IPCR_FOREVER), IPCR_OK);
    check_receives(o, START, 1);
    memcpy(&before, header_of(s), sizeof before);
    ipcr_subscriber_free(o);
    CHECK(memcmp(&before, header_of(s), sizeof before) == 0);
    ipcr_publisher_free(p);
    ipcr_segment_release(s);
}

static void write_through_the_observers_mapping(int ear, int mouth, void *arg)
{
    (void)ear;
    (void)mouth;
    struct ipcr_subscriber *o = arg;
    signal(SIGSEGV, SIG_DFL); /* not a sanitizer's */
    store_relaxed64((ipcr_word64 *)(uintptr_t)o->data, 1);
}

static void an_observer_could_not_write_if_it_wanted_to(void)
{
    struct ipcr_segment *s = multicast_of(DATA, ENTRIES, &lossless, START);
    struct ipcr_subscriber *o = observer_on(s, IPCR_START_OLDEST);
    struct child c = child_start(write_through_the_observers_mapping, o);
    const int status = child_wait(&c);
    CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV);
    ipcr_subscriber_free(o);
    ipcr_segment_release(s);
}

/* Its page is closed, so that the copy stops in it, and the publisher goes on for more than a lap. */
static struct ipcr_publisher *overtaker;

static void overtake(int signal_number)
{
    (void)signal_number;
    CHECK(mprotect(overtaker->segment->data, DATA, PROT_READ | PROT_WRITE) == 0);
    for (int i = 0; i < 6; i++)
        CHECK(try_publish_of(overtaker, 3000) >= 0);
}

static void who_is_overtaken_in_a_copy_goes_on_in_the_middle_of_what_is_kept(void)
{
    struct ipcr_segment *s = multicast_of(4 * DATA, 8, &lossy, START);
    struct ipcr_subscriber *r = subscriber_on(s, IPCR_START_LATEST);
    struct sigaction before, now = { .sa_handler = overtake };
    uint64_t length;
    overtaker = publisher_on(s);
    CHECK(try_publish_of(overtaker, 3000) >= 0 && try_publish_of(overtaker, 3000) >= 0);
    CHECK(sigaction(SIGSEGV, &now, &before) == 0);
    CHECK(mprotect(s->data, DATA, PROT_NONE) == 0);
    CHECK_IS(try_receive_of(r, &length), START + 5); /* 3 to 7 are kept, and 3 is the next to be overwritten */
    CHECK(sigaction(SIGSEGV, &before, NULL) == 0);
    check_lost(r, 5, 5);
    check_receives(r, START + 6, 2);
    check_has_nothing(r);
    ipcr_subscriber_free(r);
    ipcr_publisher_free(overtaker);
    ipcr_segment_release(s);
}

int main(void)
{
    check_begin();
    run("who is lapped goes on with the oldest or the newest, and knows what it lost",
        who_is_lapped_goes_on_with_the_oldest_or_the_newest_and_knows_what_it_lost);
    run("laps add up", laps_add_up);
    run("who is overtaken in a copy goes on in the middle of what is kept",
        who_is_overtaken_in_a_copy_goes_on_in_the_middle_of_what_is_kept);
    run("what is being overwritten is lost, although nothing stands in its place yet",
        what_is_being_overwritten_is_lost_although_nothing_stands_in_its_place_yet);
    run("who is lapped where nothing is whole waits for the next",
        who_is_lapped_where_nothing_is_whole_waits_for_the_next);
    run("a batch tells what was lost before each of its messages",
        a_batch_tells_what_was_lost_before_each_of_its_messages);
    run("what was lost before a batch that is given back is told with its first message",
        what_was_lost_before_a_batch_that_is_given_back_is_told_with_its_first_message);
    run("who begins where nothing is left has lost what was there",
        who_begins_where_nothing_is_left_has_lost_what_was_there);
    run("an observer reads over the end of the data", an_observer_reads_over_the_end_of_the_data);
    run("an observer writes nothing, and polls", an_observer_writes_nothing_and_polls);
    run("an observer could not write if it wanted to", an_observer_could_not_write_if_it_wanted_to);
    return check_finish();
}

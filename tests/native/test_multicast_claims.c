/* test_multicast_claims.c - messages that are written, and read, where they stand; messages made of pieces; batches. */
#include "multicasts.h"

enum { START = 40 };

/* --- claims --------------------------------------------------------------------------------------------------------------- */

static void a_claim_is_private_until_it_is_published_and_may_be_shorter(void)
{
    struct ipcr_segment *s = multicast_of(DATA, 16, &lossless, START);
    struct ipcr_publisher *p = publisher_on(s);
    struct ipcr_subscriber *r = subscriber_on(s, IPCR_START_LATEST);
    const struct ipcr_topic topic = topic_of("a topic of 23 characters");
    for (uint64_t n = START; n < START + FEWER(5000, 500); n++) {
        const uint64_t claimed = mixed(n) % 900, used = claimed == 0 ? 0 : mixed(n + 1) % (claimed + 1);
        uint64_t length;
        CHECK_IS(ipcr_publisher_claim(p, n % 3 == 0 ? &topic : NULL, claimed), IPCR_OK);
        CHECK_IS((uintptr_t)ipcr_publisher_lent(p) % IPCR_DATA_ALIGNMENT, 0);
        memset(ipcr_publisher_lent(p), 0xee, claimed);
        check_has_nothing(r);
        stamp((uint8_t *)ipcr_publisher_lent(p), used, n);
        CHECK_IS(ipcr_publisher_commit(p, used, IPCR_INFO(0, n % 2 == 0 ? IPCR_BYTES : IPCR_ARRAY)), n);
        CHECK_IS(try_receive_of(r, &length), n);
        CHECK_IS(length, used);
        const char *name;
        CHECK_IS(ipcr_subscriber_last_topic(r, &name), n % 3 == 0 ? (int64_t)topic.length : -1);
    }
    ipcr_subscriber_free(r);
    ipcr_publisher_free(p);
    ipcr_segment_release(s);
}

static void a_claim_that_is_abandoned_leaves_its_number_and_its_room_to_the_next(void)
{
    struct ipcr_segment *s = multicast_of(DATA, 16, &lossless, START);
    struct ipcr_publisher *p = publisher_on(s);
    struct ipcr_subscriber *r = subscriber_on(s, IPCR_START_LATEST);
    publish(p, 1);
    const uint64_t position = p->position;
    for (int i = 0; i < 40; i++) { /* more than there is room for */
        CHECK_IS(ipcr_publisher_claim(p, NULL, 2000), IPCR_OK);
        CHECK_IS(ipcr_publisher_abort(p), IPCR_OK);
    }
    CHECK_IS(p->position, position);
    publish(p, 1);
    check_receives(r, START, 2);
    check_has_nothing(r);
    ipcr_subscriber_free(r);
    ipcr_publisher_free(p);
    ipcr_segment_release(s);
}

static void while_a_claim_is_out_nothing_else_is_published(void)
{
    struct ipcr_segment *s = multicast_of(DATA, 16, &lossless, START);
    struct ipcr_publisher *p = publisher_on(s);
    const struct ipcr_piece piece = { .data = "text", .length = 4 };
    const struct ipcr_topic topic = topic_of("another one's");
    const char *name;
    CHECK_IS(ipcr_publisher_commit(p, 0, 0), IPCR_NOTHING_LENT);
    CHECK_IS(ipcr_publisher_abort(p), IPCR_NOTHING_LENT);
    CHECK_IS(ipcr_publisher_claim(p, NULL, 100), IPCR_OK);
    char *const lent = ipcr_publisher_lent(p);
    stamp((uint8_t *)lent, 100, START);
    CHECK_IS(try_publish(p), IPCR_LENT);
    CHECK_IS(ipcr_publish(p, NULL, &piece, 1, 0), IPCR_LENT);
    CHECK_IS(ipcr_publish_many(p, NULL, "text", (uint64_t[]){ 4 }, (uint64_t[]){ 0 }, 1), IPCR_LENT);
    CHECK_IS(ipcr_publisher_claim(p, &topic, 8), IPCR_LENT);
    CHECK_IS(ipcr_publisher_commit(p, 101, 0), IPCR_TOO_LARGE); /* it is still out */
    CHECK(ipcr_publisher_lent(p) == lent);
    CHECK_IS(ipcr_publisher_commit(p, 100, 0), START);
    struct ipcr_subscriber *r = subscriber_on(s, IPCR_START_OLDEST);
    check_receives(r, START, 1);
    CHECK_IS(ipcr_subscriber_last_topic(r, &name), -1);
    check_has_nothing(r);
    until_full(p);
    CHECK_IS(ipcr_publisher_claim(p, NULL, DATA / 2), IPCR_FULL);
    CHECK_IS(ipcr_publisher_commit(p, 0, 0), IPCR_NOTHING_LENT);
    ipcr_subscriber_free(r);
    ipcr_publisher_free(p);
    ipcr_segment_release(s);
}

/* --- views ---------------------------------------------------------------------------------------------------------------- */

static void a_message_in_place_stays_there_until_it_is_released(void)
{
    struct ipcr_segment *s = multicast_of(DATA, 16, &lossless, START);
    struct ipcr_publisher *p = publisher_on(s);
    struct ipcr_subscriber *r = subscriber_on(s, IPCR_START_LATEST);
    const struct ipcr_topic topic = topic_of("topic");
    const struct ipcr_piece piece = { .data = "some text", .length = 9 };
    char other[LENGTH];
    CHECK_IS(ipcr_subscriber_peek(r), IPCR_EMPTY);
    CHECK_IS(ipcr_subscriber_release(r), IPCR_NOTHING_LENT);
    CHECK_IS(ipcr_subscriber_put_back(r), IPCR_NOTHING_LENT);
    CHECK_IS(ipcr_publish(p, &topic, &piece, 1, IPCR_INFO(0, IPCR_BYTES)), START);
    for (int i = 0; i < 3; i++) {
        const char *name;
        CHECK_IS(ipcr_subscriber_peek(r), 9);
        CHECK(memcmp(ipcr_subscriber_lent(r), "some text", 9) == 0);
        CHECK_IS(ipcr_subscriber_last_topic(r, &name), 5);
        CHECK_IS(ipcr_subscriber_peek(r), IPCR_LENT);
        CHECK_IS(ipcr_subscriber_copy(r, other, sizeof other), IPCR_LENT);
        CHECK_IS(ipcr_subscriber_settle(r, 0, 0, 0), IPCR_LENT);
        if (i == 0)
            CHECK_IS(until_full(p), 15);
        CHECK_IS(try_publish(p), IPCR_FULL); /* what is looked at is not overwritten */
        CHECK(memcmp(ipcr_subscriber_lent(r), "some text", 9) == 0);
        CHECK_IS(i < 2 ? ipcr_subscriber_put_back(r) : ipcr_subscriber_release(r), IPCR_OK);
        CHECK_IS(r->received, i < 2 ? 0 : 1);
    }
    CHECK_IS(ipcr_subscriber_last_sequence(r), START);
    CHECK_IS(until_full(p), 1);
    check_receives(r, START + 1, 16);
    ipcr_subscriber_free(r);
    ipcr_publisher_free(p);
    ipcr_segment_release(s);
}

static void a_view_over_the_end_of_the_data_is_in_one_piece(void)
{
    struct ipcr_segment *s = multicast_of(DATA, 16, &lossless, START);
    struct ipcr_publisher *p = publisher_on(s);
    struct ipcr_subscriber *r = subscriber_on(s, IPCR_START_LATEST);
    for (uint64_t n = START; n < START + 300; n++) {
        CHECK_IS(try_publish_of(p, n * 7 % 1500), n);
        const int64_t result = ipcr_subscriber_peek(r);
        CHECK_IS(result, n * 7 % 1500);
        CHECK(is_stamped((const uint8_t *)ipcr_subscriber_lent(r), (uint64_t)result, n));
        CHECK_IS(ipcr_subscriber_release(r), IPCR_OK);
        CHECK_IS(ipcr_subscriber_last_sequence(r), n);
    }
    ipcr_subscriber_free(r);
    ipcr_publisher_free(p);
    ipcr_segment_release(s);
}

static void nothing_is_lent_where_it_might_be_overwritten(void)
{
    const struct ipcr_multicast_options *const all[] = { &lossy, &evicting };
    for (int i = 0; i < 2; i++) {
        struct ipcr_segment *s = multicast_of(DATA, 16, all[i], START);
        struct ipcr_publisher *p = publisher_on(s);
        struct ipcr_subscriber *r = subscriber_on(s, IPCR_START_LATEST);
        publish(p, 1);
        CHECK_IS(ipcr_subscriber_peek(r), IPCR_WRONG_SIDE);
        check_receives(r, START, 1); /* it is as it was */
        ipcr_subscriber_free(r);
        ipcr_publisher_free(p);
        ipcr_segment_release(s);
    }
}

/* --- pieces, encodings ------------------------------------------------------------------------------------------------------ */

static void a_message_of_pieces_is_put_together_and_aligned(void)
{
    static const uint64_t lengths[][3] = { { 100, 200, 300 }, { 0, 1, 64 }, { 1, 0, 7 }, { 48, 64, 0 } };
    static const uint64_t encodings[] = { IPCR_PICKLE, IPCR_ARRAY, IPCR_PICKLE_BUFFERS };
    struct ipcr_segment *s = multicast_of(DATA, 16, &lossless, START);
    struct ipcr_publisher *p = publisher_on(s);
    struct ipcr_subscriber *r = subscriber_on(s, IPCR_START_LATEST);
    char source[1024];
    stamp((uint8_t *)source, sizeof source, 1);
    for (uint64_t n = START; n < START + 200; n++) {
        const uint64_t *const of = lengths[n % 4], encoding = encodings[n % 3];
        const struct ipcr_piece pieces[] = { { source, of[0] }, { source + 301, of[1] }, { source + 501, of[2] } };
        const struct ipcr_topic topic = { "abcdefghijklmnopqrstuvwxyz", n % 25, 7 };
        CHECK_IS(ipcr_publish(p, n % 5 == 0 ? NULL : &topic, pieces, 3, IPCR_INFO(0, encoding)), n);
        const int64_t result = ipcr_subscriber_peek(r);
        const char *const at = ipcr_subscriber_lent(r);
        CHECK_IS(ENCODING_OF(result), encoding);
        CHECK_IS(SKEW_OF(result), 0);
        CHECK_IS((uintptr_t)at % IPCR_DATA_ALIGNMENT, 0);
        uint64_t offset = 0;
        for (int i = 0; i < 3; i++) {
            offset = i == 0 ? 0 : ipcr_align_data(offset);
            CHECK(memcmp(at + offset, pieces[i].data, pieces[i].length) == 0);
            offset += pieces[i].length;
        }
        CHECK_IS(LENGTH_OF(result), offset);
        CHECK_IS(ipcr_subscriber_release(r), IPCR_OK);
    }
    ipcr_subscriber_free(r);
    ipcr_publisher_free(p);
    ipcr_segment_release(s);
}

/* --- batches ---------------------------------------------------------------------------------------------------------------- */

enum { MOST = 200 };

struct batch {
    uint8_t bytes[MOST * LENGTH];
    uint64_t lengths[MOST], infos[MOST];
};

static void fill(struct batch *b, uint64_t first)
{
    for (uint64_t i = 0; i < MOST; i++) {
        stamp(b->bytes + i * LENGTH, LENGTH, first + i);
        b->lengths[i] = LENGTH;
        b->infos[i] = IPCR_INFO(0, IPCR_BYTES);
    }
}

static void as_many_of_a_batch_are_published_as_there_is_room_for(void)
{
    static struct batch b;
    struct ipcr_segment *s = multicast_of(4 * DATA, 128, &lossless, START);
    struct ipcr_publisher *p = publisher_on(s);
    struct ipcr_subscriber *r = subscriber_on(s, IPCR_START_LATEST);
    fill(&b, START);
    CHECK_IS(ipcr_publish_many(p, NULL, (const char *)b.bytes, b.lengths, b.infos, 0), 0);
    CHECK_IS(ipcr_publish_many(p, NULL, (const char *)b.bytes, b.lengths, b.infos, MOST), 128);
    CHECK_IS(ipcr_publish_many(p, NULL, (const char *)b.bytes, b.lengths, b.infos, MOST), IPCR_FULL);
    check_receives(r, START, 128);
    check_has_nothing(r);
    fill(&b, START + 128);
    CHECK_IS(ipcr_publish_many(p, NULL, (const char *)b.bytes, b.lengths, b.infos, 64), 64);
    check_receives(r, START + 128, 64);
    b.lengths[2] = 4 * DATA + 1;
    CHECK_IS(ipcr_publish_many(p, NULL, (const char *)b.bytes, b.lengths, b.infos, MOST), 2);
    ipcr_subscriber_free(r);
    ipcr_publisher_free(p);
    ipcr_segment_release(s);
}

static void a_batch_is_read_when_it_is_settled_and_as_far_as_that_says(void)
{
    struct ipcr_segment *s = multicast_of(DATA, 16, &lossless, START);
    struct ipcr_publisher *p = publisher_on(s);
    struct ipcr_subscriber *r = subscriber_on(s, IPCR_START_LATEST);
    char out[16 * LENGTH];
    int64_t results[16];
    uint64_t sequences[16], lost[16];
    CHECK_IS(ipcr_subscriber_recv_many(r, out, sizeof out, results, sequences, lost, 16), IPCR_EMPTY);
    until_full(p);
    for (int settled = 0; settled <= 5; settled++) {
        const uint64_t from = r->next;
        CHECK_IS(ipcr_subscriber_recv_many(r, out, 5 * LENGTH + 3, results, sequences, lost, 16), 5);
        for (uint64_t i = 0; i < 5; i++) {
            CHECK_IS(sequences[i], from + i);
            CHECK(is_stamped((const uint8_t *)out + i * LENGTH, LENGTH, sequences[i]));
        }
        CHECK_IS(try_publish(p), IPCR_FULL); /* until they are settled they are ours */
        const uint64_t upto = settled == 0 ? 0 : sequences[settled - 1] + 1;
        CHECK_IS(ipcr_subscriber_settle(r, (uint64_t)settled, upto, 0), IPCR_OK);
        CHECK_IS(until_full(p), settled);
        CHECK_IS(r->next, from + (uint64_t)settled);
    }
    CHECK_IS(load_relaxed64(&r->cursor->received), 15);
    CHECK_IS(ipcr_subscriber_recv_many(r, out, LENGTH - 1, results, sequences, lost, 16), 0); /* the first is too long */
    CHECK_IS(ipcr_subscriber_settle(r, 0, 0, 0), IPCR_OK);
    check_receives(r, START + 15, 16);
    ipcr_subscriber_free(r);
    ipcr_publisher_free(p);
    ipcr_segment_release(s);
}

static int64_t publish_about(struct ipcr_publisher *p, const struct ipcr_topic *topic)
{
    uint8_t message[LENGTH];
    const struct ipcr_piece piece = { .data = (const char *)message, .length = LENGTH };
    stamp(message, LENGTH, p->next);
    return ipcr_publish(p, topic, &piece, 1, IPCR_INFO(0, IPCR_BYTES));
}

/* What is not wanted, and stands behind what is not settled yet, gives nothing away. */
static void what_is_not_settled_stays_whatever_others_topics_follow_it(void)
{
    const struct ipcr_topic wanted = topic_of("wanted"), other = topic_of("other");
    struct ipcr_segment *s = multicast_of(DATA, 8, &lossless, START);
    struct ipcr_publisher *p = publisher_on(s);
    struct ipcr_subscriber *r = subscribe(s, (struct ipcr_subscription){ .topics = 1 }, &wanted);
    char out[8 * LENGTH];
    int64_t results[8];
    uint64_t sequences[8], lost[8];
    for (int i = 0; i < 8; i++)
        CHECK(publish_about(p, i >= 2 && i < 5 ? &wanted : &other) >= 0);
    for (int again = 0; again < 3; again++) {
        CHECK_IS(ipcr_subscriber_recv_many(r, out, sizeof out, results, sequences, lost, 8), 3);
        CHECK_IS(sequences[0], START + 2);
        CHECK_IS(load_relaxed64(&r->cursor->next), START);
        CHECK_IS(publish_about(p, &other), IPCR_FULL);
        CHECK_IS(ipcr_subscriber_settle(r, 0, 0, 0), IPCR_OK);
    }
    CHECK_IS(ipcr_subscriber_recv_many(r, out, sizeof out, results, sequences, lost, 8), 3);
    CHECK_IS(ipcr_subscriber_settle(r, 1, sequences[0] + 1, lost[0]), IPCR_OK);
    CHECK_IS(until_full(p), 3);
    CHECK_IS(ipcr_subscriber_recv_many(r, out, sizeof out, results, sequences, lost, 8), 2);
    CHECK_IS(sequences[0], START + 3);
    CHECK(is_stamped((const uint8_t *)out, LENGTH, START + 3));
    CHECK_IS(ipcr_subscriber_settle(r, 2, sequences[1] + 1, lost[1]), IPCR_OK);
    check_has_nothing(r);
    ipcr_subscriber_free(r);
    ipcr_publisher_free(p);
    ipcr_segment_release(s);
}

/* A batch of nothing has stepped over others' topics for good, and whoever settles it says so. */
static void a_batch_of_nothing_lets_others_topics_go(void)
{
    const struct ipcr_topic wanted = topic_of("wanted"), other = topic_of("other");
    for (int too_long = 0; too_long < 2; too_long++) {
        struct ipcr_segment *s = multicast_of(DATA, 8, &lossless, START);
        struct ipcr_publisher *p = publisher_on(s);
        struct ipcr_subscriber *r = subscribe(s, (struct ipcr_subscription){ .topics = 1 }, &wanted);
        char out[LENGTH - 1];
        int64_t results[8];
        uint64_t sequences[8], lost[8];
        for (int i = 0; i < 8; i++)
            CHECK(publish_about(p, too_long && i == 4 ? &wanted : &other) >= 0);
        CHECK_IS(ipcr_subscriber_recv_many(r, out, sizeof out, results, sequences, lost, 8), too_long ? 0 : IPCR_EMPTY);
        const uint64_t at = too_long ? START + 4 : START + 8;
        CHECK_IS(load_relaxed64(&r->cursor->next), at);
        for (uint64_t n = START; n < at; n++)
            CHECK_IS(publish_about(p, &other), n + 8);
        CHECK_IS(ipcr_subscriber_settle(r, 0, 0, 0), IPCR_OK);
        CHECK_IS(load_relaxed64(&r->cursor->next), at); /* it never goes back */
        if (too_long)
            check_receives(r, START + 4, 1);
        check_has_nothing(r);
        ipcr_subscriber_free(r);
        ipcr_publisher_free(p);
        ipcr_segment_release(s);
    }
}

/* Threads that share a subscriber: what one has taken meanwhile is not given back by the other. */
static void a_batch_that_another_thread_has_read_on_from_is_not_settled(void)
{
    struct ipcr_segment *s = multicast_of(DATA, 8, &lossless, START);
    struct ipcr_publisher *p = publisher_on(s);
    struct ipcr_subscriber *r = subscriber_on(s, IPCR_START_LATEST);
    char out[8 * LENGTH];
    int64_t results[8];
    uint64_t sequences[8], lost[8];
    until_full(p);
    CHECK_IS(ipcr_subscriber_recv_many(r, out, sizeof out, results, sequences, lost, 3), 3);
    check_receives(r, START + 3, 1);
    CHECK_IS(until_full(p), 4);
    CHECK_IS(ipcr_subscriber_settle(r, 1, sequences[0] + 1, 0), IPCR_BUSY);
    CHECK_IS(ipcr_subscriber_settle(r, 0, 0, 0), IPCR_BUSY);
    CHECK_IS(ipcr_subscriber_recv_many(r, out, sizeof out, results, sequences, lost, 3), 3);
    CHECK_IS(ipcr_subscriber_recv_many(r, out, sizeof out, results, sequences, lost, 3), 3);
    CHECK_IS(ipcr_subscriber_settle(r, 3, START + 7, 0), IPCR_BUSY); /* the first of these two */
    CHECK_IS(ipcr_subscriber_settle(r, 3, START + 11, 0), IPCR_BUSY); /* none of them */
    CHECK_IS(ipcr_subscriber_settle(r, 3, START + 10, 0), IPCR_OK);
    check_receives(r, START + 10, 2);
    CHECK_IS(ipcr_subscriber_recv_many(r, out, sizeof out, results, sequences, lost, 3), IPCR_EMPTY);
    publish(p, 3);
    CHECK_IS(ipcr_subscriber_recv_many(r, out, sizeof out, results, sequences, lost, 3), 3);
    CHECK_IS(ipcr_subscriber_settle(r, 3, sequences[2] + 1, 0), IPCR_OK);
    CHECK_IS(ipcr_subscriber_settle(r, 0, 0, 0), IPCR_OK); /* there is nothing more to be given back */
    check_has_nothing(r);
    ipcr_subscriber_free(r);
    ipcr_publisher_free(p);
    ipcr_segment_release(s);
}

int main(void)
{
    check_begin();
    run("a claim is private until it is published, and may be shorter",
        a_claim_is_private_until_it_is_published_and_may_be_shorter);
    run("a claim that is abandoned leaves its number and its room to the next",
        a_claim_that_is_abandoned_leaves_its_number_and_its_room_to_the_next);
    run("while a claim is out nothing else is published", while_a_claim_is_out_nothing_else_is_published);
    run("a message in place stays there until it is released", a_message_in_place_stays_there_until_it_is_released);
    run("a view over the end of the data is in one piece", a_view_over_the_end_of_the_data_is_in_one_piece);
    run("nothing is lent where it might be overwritten", nothing_is_lent_where_it_might_be_overwritten);
    run("a message of pieces is put together, and aligned", a_message_of_pieces_is_put_together_and_aligned);
    run("as many of a batch are published as there is room for",
        as_many_of_a_batch_are_published_as_there_is_room_for);
    run("a batch is read when it is settled, and as far as that says",
        a_batch_is_read_when_it_is_settled_and_as_far_as_that_says);
    run("what is not settled stays, whatever others' topics follow it",
        what_is_not_settled_stays_whatever_others_topics_follow_it);
    run("a batch that another thread has read on from is not settled",
        a_batch_that_another_thread_has_read_on_from_is_not_settled);
    run("a batch of nothing lets others' topics go", a_batch_of_nothing_lets_others_topics_go);
    return check_finish();
}

/* test_multicast_topics.c - what is wanted by its topic: by the topic's number first, and by its name in the end. */
#include "multicasts.h"

enum { START = 300 };

static int64_t publish_on(struct ipcr_publisher *p, const struct ipcr_topic *topic, uint64_t length)
{
    uint8_t message[DATA];
    const struct ipcr_piece piece = { .data = (const char *)message, .length = length };
    stamp(message, length, p->next);
    return ipcr_publish(p, topic, &piece, 1, IPCR_INFO(0, IPCR_BYTES));
}

static void check_came_with(const struct ipcr_subscriber *r, const struct ipcr_topic *topic)
{
    const char *name;
    const int32_t length = ipcr_subscriber_last_topic(r, &name);
    CHECK_IS(length, topic == NULL ? -1 : (int64_t)topic->length);
    CHECK(topic == NULL || memcmp(name, topic->name, topic->length) == 0);
}

static struct ipcr_subscriber *wanting(struct ipcr_segment *s, const struct ipcr_topic *topics, uint32_t n, bool observe)
{
    return subscribe(s, (struct ipcr_subscription){ .topics = n, .observe = observe }, topics);
}

static void the_number_of_a_topic_is_the_published_hash_of_its_name_and_never_0(void)
{
    CHECK_IS(ipcr_topic_number("", 0), 0x811c9dc5); /* FNV-1a's own test vectors */
    CHECK_IS(ipcr_topic_number("a", 1), 0xe40c292c);
    CHECK_IS(ipcr_topic_number("foobar", 6), 0xbf9cf968);
    CHECK_IS(ipcr_topic_number("\xcc\x24\x31\xc4", 4), 1); /* whose hash is 0: that would be no topic */
}

static void a_subscriber_gets_what_it_asked_for_and_is_told_the_topic(void)
{
    const struct ipcr_topic topics[] = { topic_of("left"), topic_of("right"), topic_of(""), topic_of("left2"),
                                         { .name = "le\0ft", .length = 5, .number = ipcr_topic_number("le\0ft", 5) } };
    struct ipcr_segment *s = multicast_of(DATA, 64, &lossless, START);
    struct ipcr_publisher *p = publisher_on(s);
    struct ipcr_subscriber *all = wanting(s, NULL, 0, false);
    struct ipcr_subscriber *two = wanting(s, (struct ipcr_topic[]){ topics[0], topics[2] }, 2, false);
    struct ipcr_subscriber *odd = wanting(s, &topics[4], 1, true);
    for (uint64_t n = START; n < START + FEWER(6000, 600); n++) {
        const uint64_t which = n % 6;
        const struct ipcr_topic *topic = which == 5 ? NULL : &topics[which];
        CHECK_IS(publish_on(p, topic, n % 40), n);
        check_receives(all, n, 1);
        check_came_with(all, topic);
        if (which == 0 || which == 2) {
            check_receives(two, n, 1);
            check_came_with(two, topic);
        }
        check_has_nothing(two);
        CHECK_IS(load_relaxed64(&two->cursor->next), n + 1); /* what it doesn't want holds up nobody */
        if (which == 4) {
            check_receives(odd, n, 1);
            check_came_with(odd, topic);
        }
        check_has_nothing(odd);
    }
    CHECK_IS(ipcr_subscriber_lost(two) + ipcr_subscriber_lost(odd), 0); /* not wanted is not lost */
    CHECK_IS(load_relaxed64(&two->cursor->received), FEWER(6000, 600) / 3);
    ipcr_subscriber_free(all);
    ipcr_subscriber_free(two);
    ipcr_subscriber_free(odd);
    ipcr_publisher_free(p);
    ipcr_segment_release(s);
}

/* Pairs of words with one FNV-1a hash of 32 bits: of the same length, and of two. */
static void names_with_the_same_number_are_told_apart(void)
{
    static const char *const pairs[][2] = { { "declinate", "macallums" }, { "costarring", "liquid" },
                                            { "altarages", "zinkes" } };
    for (size_t i = 0; i < sizeof pairs / sizeof pairs[0]; i++) {
        const struct ipcr_topic both[] = { topic_of(pairs[i][0]), topic_of(pairs[i][1]) };
        CHECK_IS(both[0].number, both[1].number);
        struct ipcr_segment *s = multicast_of(DATA, 64, &lossless, START);
        struct ipcr_publisher *p = publisher_on(s);
        struct ipcr_subscriber *a = wanting(s, &both[0], 1, false), *b = wanting(s, &both[1], 1, true);
        struct ipcr_subscriber *ab = wanting(s, both, 2, false);
        for (uint64_t n = START; n < START + 20; n++) {
            CHECK_IS(publish_on(p, &both[n % 2], LENGTH), n);
            check_receives(n % 2 == 0 ? a : b, n, 1);
            check_came_with(n % 2 == 0 ? a : b, &both[n % 2]);
            check_has_nothing(a);
            check_has_nothing(b);
            check_receives(ab, n, 1);
        }
        ipcr_subscriber_free(a);
        ipcr_subscriber_free(b);
        ipcr_subscriber_free(ab);
        ipcr_publisher_free(p);
        ipcr_segment_release(s);
    }
}

static void who_waits_for_a_topic_holds_up_a_publisher_no_longer_than_it_must(void)
{
    const struct ipcr_topic wanted = topic_of("wanted"), other = topic_of("other");
    struct ipcr_segment *s = multicast_of(DATA, 8, &lossless, START);
    struct ipcr_publisher *p = publisher_on(s);
    struct ipcr_subscriber *r = wanting(s, &wanted, 1, false);
    for (int i = 0; i < 8; i++)
        CHECK(publish_on(p, &other, LENGTH) >= 0);
    CHECK_IS(publish_on(p, &wanted, LENGTH), IPCR_FULL);
    check_has_nothing(r); /* it has stepped over all of them */
    CHECK_IS(publish_on(p, &wanted, LENGTH), START + 8);
    check_receives(r, START + 8, 1);
    ipcr_subscriber_free(r);
    ipcr_publisher_free(p);
    ipcr_segment_release(s);
}

static void what_is_lost_counts_also_where_it_was_not_wanted(void)
{
    const struct ipcr_topic wanted = topic_of("wanted"), other = topic_of("other");
    struct ipcr_segment *s = multicast_of(DATA, 8, &lossy, START);
    struct ipcr_publisher *p = publisher_on(s);
    struct ipcr_subscriber *r = wanting(s, &wanted, 1, false);
    for (int i = 0; i < 20; i++)
        CHECK(publish_on(p, i == 14 ? &wanted : &other, LENGTH) >= 0);
    check_receives(r, START + 14, 1);
    CHECK_IS(ipcr_subscriber_lost(r), 12); /* what they were is not known any more */
    check_has_nothing(r);
    CHECK_IS(ipcr_subscriber_lost(r), 12);
    ipcr_subscriber_free(r);
    ipcr_publisher_free(p);
    ipcr_segment_release(s);
}

static void a_name_may_be_of_any_length_up_to_the_most(void)
{
    static char longest[IPCR_MOST_TOPIC + 1];
    memset(longest, 'x', sizeof longest);
    struct ipcr_segment *s = multicast_of(DATA, 8, &lossless, START);
    struct ipcr_publisher *p = publisher_on(s);
    struct ipcr_subscriber *all = wanting(s, NULL, 0, false);
    for (uint64_t length = 0; length <= IPCR_MOST_TOPIC; length += length < 20 ? 1 : 251) {
        const struct ipcr_topic topic = { longest, length, ipcr_topic_number(longest, length) };
        struct ipcr_subscriber *r = wanting(s, &topic, 1, false);
        CHECK_IS(publish_on(p, &topic, LENGTH), p->next - 1);
        check_receives(r, p->next - 1, 1);
        check_came_with(r, &topic);
        check_receives(all, p->next - 1, 1);
        ipcr_subscriber_free(r);
    }
    const struct ipcr_topic too_long = { longest, sizeof longest, 77 };
    CHECK_IS(publish_on(p, &too_long, 0), IPCR_TOO_LARGE);
    CHECK_IS(ipcr_publisher_claim(p, &too_long, 0), IPCR_TOO_LARGE);
    CHECK_IS(ipcr_publish_many(p, &too_long, "x", (uint64_t[]){ 1 }, (uint64_t[]){ 0 }, 1), IPCR_TOO_LARGE);
    check_has_nothing(all);
    ipcr_subscriber_free(all);
    ipcr_publisher_free(p);
    ipcr_segment_release(s);
}

int main(void)
{
    check_begin();
    run("the number of a topic is the published hash of its name, and never 0",
        the_number_of_a_topic_is_the_published_hash_of_its_name_and_never_0);
    run("a subscriber gets what it asked for, and is told the topic",
        a_subscriber_gets_what_it_asked_for_and_is_told_the_topic);
    run("names with the same number are told apart", names_with_the_same_number_are_told_apart);
    run("who waits for a topic holds up a publisher no longer than it must",
        who_waits_for_a_topic_holds_up_a_publisher_no_longer_than_it_must);
    run("what is lost counts, also where it was not wanted", what_is_lost_counts_also_where_it_was_not_wanted);
    run("a name may be of any length up to the most", a_name_may_be_of_any_length_up_to_the_most);
    return check_finish();
}

/* test_multicast_hostile_found.c - what fuzzing hostile memory (tests/fuzz/multicasts) found in multicasts. */
#include "check.h"
#include "multicast.h"

enum { CAPACITY = 4096, ENTRIES = 64 };

static const char zeros[CAPACITY];

static struct ipcr_segment *multicast(enum ipcr_policy policy)
{
    const struct ipcr_multicast_options options = { .policy = policy };
    struct ipcr_segment *s = NULL;
    CHECK_IS(ipcr_segment_create_multicast(NULL, "ipc:test", CAPACITY, ENTRIES, &options, 0, &s), IPCR_OK);
    return s;
}

static struct ipcr_publisher *publisher_of(struct ipcr_segment *s)
{
    struct ipcr_publisher *p = NULL;
    uint32_t by;
    CHECK_IS(ipcr_publisher_open(s, 0, &by, &p), IPCR_OK);
    return p;
}

static void finish(struct ipcr_publisher *p)
{
    struct ipcr_segment *s = p->segment;
    ipcr_publisher_free(p);
    ipcr_segment_release(s);
}

/* As a segment says it that has had so many messages, of which one is there. */
static void say_that_there_were(const struct ipcr_publisher *p, uint64_t messages)
{
    store_relaxed64(&ipcr_entry_at(p->entries, p->mask, messages - 1)->sequence, messages - 1);
    store_relaxed64(&p->header->oldest, messages - 1);
    store_relaxed64(&p->header->published, messages);
}

/* Numbers of 2^63 and more are negative, as statuses are: a message was published, and its caller told otherwise. */
static void a_publisher_does_not_take_over_more_messages_than_any_can_have(void)
{
    static const uint64_t too_many[] = { (UINT64_C(1) << 62) + 1, UINT64_C(1) << 63, UINT64_MAX - ENTRIES };
    struct ipcr_publisher *successor = NULL;
    uint32_t by;
    for (size_t i = 0; i < sizeof too_many / sizeof too_many[0]; i++) {
        struct ipcr_publisher *p = publisher_of(multicast(IPCR_LOSSLESS));
        say_that_there_were(p, too_many[i]);
        ipcr_publisher_close(p);
        CHECK_IS(ipcr_publisher_open(p->segment, 0, &by, &successor), IPCR_CORRUPT);
        finish(p);
    }
    struct ipcr_publisher *p = publisher_of(multicast(IPCR_LOSSLESS));
    say_that_there_were(p, UINT64_C(1) << 62); /* as many as any can have */
    ipcr_publisher_close(p);
    CHECK_IS(ipcr_publisher_open(p->segment, 0, &by, &successor), IPCR_OK);
    CHECK_IS(ipcr_publish_bytes(successor, "next", 4), INT64_C(1) << 62);
    ipcr_publisher_free(successor);
    finish(p);
}

/* It was checked to lie between the oldest message and the next one, but not behind the one before it: so the oldest
 * position could go back to where it had been, and what followed was written over messages that were still there. */
static void a_position_that_was_set_back_gives_no_room(void)
{
    struct ipcr_publisher *p = publisher_of(multicast(IPCR_LOSSY));
    for (int i = 0; i < 4; i++)
        CHECK_IS(ipcr_publish_bytes(p, zeros, 24), i);
    CHECK_IS(ipcr_publish_bytes(p, zeros, CAPACITY - 5 * 24), 4);
    store_relaxed64(&ipcr_entry_at(p->entries, p->mask, 4)->position, 0); /* where the oldest one stands */
    CHECK_IS(ipcr_publish_bytes(p, zeros, 32), IPCR_CORRUPT); /* needs the room of 0, and would take that up to 4 */
    CHECK_IS(ipcr_publish_bytes(p, zeros, 1), IPCR_CORRUPT);
    finish(p);
}

/* The one that was refused left its topic behind, with which the other was committed: another name, another length, and
 * so another place for the payload, behind the room that had been made. */
static void a_claim_that_is_refused_does_not_change_the_one_that_is_lent(void)
{
    static const char name[] = "a name that needs more room than the other's";
    const struct ipcr_topic first = { .name = "first", .length = 5, .number = ipcr_topic_number("first", 5) };
    const uint32_t number = ipcr_topic_number(name, sizeof name);
    const struct ipcr_topic other = { .name = name, .length = sizeof name, .number = number };
    const struct ipcr_topic *const refused[] = { &other, NULL };
    struct ipcr_publisher *p = publisher_of(multicast(IPCR_LOSSLESS));
    struct ipcr_subscriber *s = NULL;
    const struct ipcr_subscription wanted = { .start = IPCR_START_OLDEST };
    uint64_t oldest, next;
    CHECK_IS(ipcr_subscriber_open(p->segment, &wanted, NULL, &oldest, &next, &s), IPCR_OK);
    for (int i = 0; i < 2; i++) {
        char bytes[8] = { 0 };
        const char *topic = NULL;
        CHECK_IS(ipcr_publisher_claim(p, &first, 8), IPCR_OK);
        memcpy(ipcr_publisher_lent(p), "payload!", 8);
        CHECK_IS(ipcr_publisher_claim(p, refused[i], 100), IPCR_LENT);
        CHECK_IS(ipcr_publisher_commit(p, 8, IPCR_INFO(0, IPCR_BYTES)), i);
        CHECK_IS(ipcr_subscriber_copy(s, bytes, sizeof bytes), 8);
        CHECK(memcmp(bytes, "payload!", 8) == 0);
        CHECK_IS(ipcr_subscriber_last_topic(s, &topic), 5);
        CHECK(memcmp(topic, "first", 5) == 0);
    }
    ipcr_subscriber_free(s);
    finish(p);
}

int main(void)
{
    check_begin();
    run("a publisher does not take over more messages than any can have",
        a_publisher_does_not_take_over_more_messages_than_any_can_have);
    run("a position that was set back gives no room", a_position_that_was_set_back_gives_no_room);
    run("a claim that is refused does not change the one that is lent",
        a_claim_that_is_refused_does_not_change_the_one_that_is_lent);
    return check_finish();
}

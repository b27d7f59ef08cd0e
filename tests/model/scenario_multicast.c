/* scenario_multicast.c - one publishes, others read, join and leave; a ring of two entries, so that it is full at once. */
#include "multicasts.h"

enum { FIRST = 1, SECOND = 2, THIRD = 3, MESSAGES = 3 };

static struct ipcr_publisher *publisher;
static struct ipcr_subscriber *one, *two;

/* Process 0 publishes; 1 and 2 are attached. */
static void set_up(uint64_t policy, uint64_t on_laggard)
{
    act_as(0);
    make_multicast(2, policy, on_laggard);
    publisher = new_publisher();
    for (int process = 1; process < 3; process++) {
        act_as(process);
        join_multicast();
    }
}

static struct ipcr_subscriber *subscribed(int process)
{
    act_as(process);
    return new_subscriber(IPCR_START_LATEST);
}

static void lossless(void) { set_up(IPCR_LOSSLESS, IPCR_WAIT_FOR_LAGGARDS); }

static void lossless_two(void)
{
    lossless();
    one = subscribed(1);
    two = subscribed(2);
}

static void lossless_one(void)
{
    lossless();
    one = subscribed(1);
}

static void publish_some(void)
{
    for (int i = 0; i < MESSAGES; i++)
        MUST(publish_next(publisher, START_SEQUENCE + i) == IPCR_OK);
}

static void publish_and_close(void)
{
    publish_some();
    core()->publisher_close(publisher);
}

static void read_one(void) { receive_all(one, START_SEQUENCE, MESSAGES); }
static void read_two(void) { receive_all(two, START_SEQUENCE, MESSAGES); }

static void perform_two(void)
{
    model_start(FIRST, 0, publish_some);
    model_start(SECOND, 1, read_one);
    model_start(THIRD, 2, read_two);
}

static void perform_one(void)
{
    model_start(FIRST, 0, publish_some);
    model_start(SECOND, 1, read_one);
}

/* --- batches, pieces, claims, in place ------------------------------------------------------------------------------- */

static void publish_otherwise(void)
{
    char both[2 * LENGTH_OF_ALL];
    const uint64_t lengths[2] = { LENGTH_OF_ALL, LENGTH_OF_ALL }, infos[2] = { 0, 0 };
    memcpy(both, message(START_SEQUENCE, LENGTH_OF_ALL), LENGTH_OF_ALL);
    memcpy(both + LENGTH_OF_ALL, message(START_SEQUENCE + 1, LENGTH_OF_ALL), LENGTH_OF_ALL);
    MUST(core()->publish_many(publisher, NULL, both, lengths, infos, 2) == 2);
    while (core()->publisher_claim(publisher, NULL, LENGTH_OF_ALL) == IPCR_FULL)
        MUST(wait_for_room_of(publisher) == IPCR_OK);
    copy_in((uint8_t *)core()->publisher_lent(publisher), message(START_SEQUENCE + 2, LENGTH_OF_ALL), LENGTH_OF_ALL);
    MUST(core()->publisher_commit(publisher, LENGTH_OF_ALL, 0) == START_SEQUENCE + 2);
}

static void publish_pieces(void)
{
    for (uint64_t n = START_SEQUENCE; n < START_SEQUENCE + MESSAGES; n++) {
        const struct ipcr_piece piece = { .data = message(n, LENGTH_OF_ALL), .length = LENGTH_OF_ALL };
        int64_t rc;
        while ((rc = core()->publish(publisher, NULL, &piece, 1, 0)) == IPCR_FULL)
            MUST(wait_for_room_of(publisher) == IPCR_OK);
        MUST(rc == (int64_t)n);
    }
}

static void read_in_place(void)
{
    for (uint64_t n = START_SEQUENCE; n < START_SEQUENCE + MESSAGES; n++) {
        int64_t rc;
        char bytes[LENGTH_OF_ALL];
        while ((rc = core()->subscriber_peek(one)) == IPCR_EMPTY)
            MUST(wait_for_message_of(one) == IPCR_OK);
        MUST(rc == LENGTH_OF_ALL);
        copy_out(bytes, (const uint8_t *)core()->subscriber_lent(one), LENGTH_OF_ALL);
        MUST(is_message(bytes, n, LENGTH_OF_ALL));
        MUST(core()->subscriber_release(one) == IPCR_OK && core()->subscriber_last_sequence(one) == n);
    }
}

static void read_batches(void)
{
    uint64_t n = START_SEQUENCE, sequences[2], lost[2];
    int64_t results[2];
    char bytes[2 * LENGTH_OF_ALL];
    while (n < START_SEQUENCE + MESSAGES) {
        const int64_t count = core()->subscriber_recv_many(one, bytes, sizeof bytes, results, sequences, lost, 2);
        if (count == IPCR_EMPTY) {
            MUST(wait_for_message_of(one) == IPCR_OK);
            continue;
        }
        MUST(count > 0 && sequences[0] == n && is_message(bytes, n, LENGTH_OF_ALL));
        n++; /* only the first: the others are there once more */
        MUST(core()->subscriber_settle(one, 1, n, 0) == IPCR_OK);
    }
}

static void perform_otherwise(void)
{
    model_start(FIRST, 0, publish_otherwise);
    model_start(SECOND, 1, read_in_place);
}

static void perform_batches(void)
{
    model_start(FIRST, 0, publish_pieces);
    model_start(SECOND, 1, read_batches);
}

/* --- joining ---------------------------------------------------------------------------------------------------------- */

/* Two messages are there; more follow meanwhile.  Whoever joins at the oldest may rely on it. */
static void lossless_with_some(void)
{
    lossless();
    act_as(0);
    MUST(publish_next(publisher, START_SEQUENCE) == IPCR_OK && publish_next(publisher, START_SEQUENCE + 1) == IPCR_OK);
}

static void publish_two_more(void)
{
    MUST(publish_next(publisher, START_SEQUENCE + 2) == IPCR_OK);
    MUST(publish_next(publisher, START_SEQUENCE + 3) == IPCR_OK);
    core()->publisher_close(publisher);
}

static void join_and_read(uint32_t start)
{
    struct ipcr_subscriber *s = new_subscriber(start);
    int64_t from = (int64_t)s->next, sequence;
    MUST(from >= START_SEQUENCE && from <= START_SEQUENCE + 4);
    for (; (sequence = receive_next(s)) >= 0; from++)
        if (sequence != from)
            model_fail("message %d comes to %d", (int)from, (int)sequence);
    MUST(sequence == IPCR_END_OF_CHANNEL && from == START_SEQUENCE + 4);
    core()->subscriber_close(s);
}

static void join_oldest(void) { join_and_read(IPCR_START_OLDEST); }
static void join_latest(void) { join_and_read(IPCR_START_LATEST); }

static void perform_join_oldest(void)
{
    model_start(FIRST, 0, publish_two_more);
    model_start(SECOND, 1, join_oldest);
}

static void perform_join_latest(void)
{
    model_start(FIRST, 0, publish_two_more);
    model_start(SECOND, 1, join_latest);
    model_start(THIRD, 2, join_oldest);
}

/* --- leaving ---------------------------------------------------------------------------------------------------------- */

static void leave_at_once(void) { core()->subscriber_close(one); }

static void perform_leave(void)
{
    model_start(FIRST, 0, publish_some);
    model_start(SECOND, 1, leave_at_once);
}

/* What it published comes before its end is seen. */
static void read_to_the_end(void)
{
    read_one();
    MUST(receive_next(one) == IPCR_END_OF_CHANNEL);
}

static void perform_close(void)
{
    model_start(FIRST, 0, publish_and_close);
    model_start(SECOND, 1, read_to_the_end);
}

/* Threads of one process: one waits, another one closes. */
static void wait_for_nothing(void) { MUST(receive_next(one) == IPCR_CLOSED); }

static void perform_close_waiting(void)
{
    model_start(FIRST, 1, wait_for_nothing);
    model_start(SECOND, 1, leave_at_once);
}

static void fill_until_closed(void)
{
    for (int i = 0; i < MESSAGES; i++) {
        const int rc = publish_next(publisher, -1);
        MUST(rc == IPCR_OK || rc == IPCR_CLOSED);
        if (rc == IPCR_CLOSED)
            return;
    }
    MUST(!"there was room for all");
}

static void close_publisher(void) { core()->publisher_close(publisher); }

static void perform_close_full(void)
{
    model_start(FIRST, 0, fill_until_closed);
    model_start(SECOND, 0, close_publisher);
}

/* Two threads: whoever is second is told so, or comes later; each message comes once. */
static uint32_t read_by_threads;

static void read_as_thread(void)
{
    for (int i = 0; i < 2; i++) {
        char bytes[LENGTH_OF_ALL];
        int64_t rc;
        while ((rc = core()->subscriber_copy(one, bytes, sizeof bytes)) == IPCR_BUSY || rc == IPCR_EMPTY)
            look_later();
        MUST(rc == LENGTH_OF_ALL);
        uint64_t n = START_SEQUENCE;
        while (n < START_SEQUENCE + 4 && !is_message(bytes, n, LENGTH_OF_ALL))
            n++;
        MUST(n < START_SEQUENCE + 4 && (read_by_threads & 1u << n) == 0);
        read_by_threads |= 1u << n;
    }
}

static void lossless_read_by_threads(void)
{
    lossless_one();
    act_as(0);
    MUST(publish_next(publisher, -1) == IPCR_OK && publish_next(publisher, -1) == IPCR_OK);
}

static void publish_last_two(void)
{
    MUST(publish_next(publisher, -1) == IPCR_OK && publish_next(publisher, -1) == IPCR_OK);
}

static void perform_threads(void)
{
    read_by_threads = 0;
    model_start(FIRST, 1, read_as_thread);
    model_start(SECOND, 1, read_as_thread);
    model_start(THIRD, 0, publish_last_two);
}

/* --- statistics ------------------------------------------------------------------------------------------------------- */

static void look_at_numbers(void)
{
    struct ipcr_multicast_stats all;
    struct ipcr_subscriber_stats of[4];
    MUST(core()->multicast_stats(multicast(), &all, of, 4) == IPCR_OK);
    MUST(all.subscribers == 1 && of[0].next <= all.published && all.published <= MESSAGES);
    MUST(all.bytes == 0 || all.bytes == all.published * LENGTH_OF_ALL);
}

static void perform_stats(void)
{
    perform_one();
    model_start(THIRD, 2, look_at_numbers);
}

#define SCENARIO(name_, says_, set_up_, perform_)                                                                      \
    .name = (name_), .says = (says_), .set_up = (set_up_), .perform = (perform_)
#define POLLED .patience_ns = 1000000 /* loops that look again, and a close's */
static const struct scenario scenarios[] = {
    { SCENARIO("multicast", "Every subscriber gets every message, whole and in order, and the publisher waits for the "
               "slower one.", lossless_two, perform_two), .both = true },
    { SCENARIO("multicast-one", "The same with one, and more preemptions.", lossless_one, perform_one), .both = true },
    { SCENARIO("multicast-in-place", "Batches and claims go, and are read in place.", lossless_one, perform_otherwise) },
    { SCENARIO("multicast-batches", "Pieces go, and what is not settled of a batch is read again.", lossless_one,
               perform_batches) },
    { SCENARIO("multicast-join-oldest", "Who joins at the oldest message gets it, and all behind it.", lossless_with_some,
               perform_join_oldest) },
    { SCENARIO("multicast-join-two", "The same beside one who joins at the latest.", lossless_with_some,
               perform_join_latest) },
    { SCENARIO("multicast-leave", "Who leaves is not waited for.", lossless_one, perform_leave), .both = true },
    { SCENARIO("multicast-close", "The end comes after the last message.", lossless_one, perform_close), .both = true },
    { SCENARIO("multicast-close-waiting", "A close wakes a subscriber's thread.", lossless_one, perform_close_waiting),
      .both = true, POLLED },
    { SCENARIO("multicast-close-full", "A close wakes a publisher's thread.", lossless_one, perform_close_full),
      .both = true, POLLED },
    { SCENARIO("multicast-threads", "Of two threads one is told that it is the second.", lossless_read_by_threads,
               perform_threads), POLLED },
    { SCENARIO("multicast-stats", "The numbers fit each other while messages go.", lossless_one, perform_stats) },
};
ADD_SCENARIOS(scenarios)

/* scenario_multicast_edges.c - what the small ring of the other scenarios doesn't meet: an `oldest` that goes further than it
 * must, a publisher that lets nobody lag, observers that don't read, views where messages may be overwritten.
 */
#include "multicasts.h"

enum { FIRST = 1, SECOND = 2, THIRD = 3, MESSAGES = 3, ENTRIES = 64, BEFORE = 8, NEEDED = 2 };

static struct ipcr_publisher *publisher;
static struct ipcr_subscriber *one, *observer;

static void set_up(uint32_t entries, const struct ipcr_multicast_options *options)
{
    act_as(0);
    make_multicast_with(entries, options);
    publisher = new_publisher();
    for (int process = 1; process < 3; process++) {
        act_as(process);
        join_multicast();
    }
}

static void subscribe_one(void)
{
    act_as(1);
    one = new_subscriber(IPCR_START_LATEST);
}

static void publish_some(void)
{
    for (int i = 0; i < MESSAGES; i++)
        MUST(publish_next(publisher, START_SEQUENCE + i) == IPCR_OK);
}

/* --- further than it must -------------------------------------------------------------------------------------------- */

/* There is no room left, and entries enough that `oldest` moves by several messages at once. */
static void full(void)
{
    const uint64_t length = CAPACITY_OF_ALL - BEFORE * LENGTH_OF_ALL;
    set_up(ENTRIES, &(struct ipcr_multicast_options){ .policy = IPCR_LOSSLESS });
    act_as(0);
    for (int i = 0; i < BEFORE; i++)
        MUST(publish_next(publisher, START_SEQUENCE + i) == IPCR_OK);
    MUST(core()->publisher_claim(publisher, NULL, length) == IPCR_OK);
    MUST(core()->publisher_commit(publisher, length, 0) == START_SEQUENCE + BEFORE);
    MUST(publisher->position == CAPACITY_OF_ALL);
}

static void publish_needed(void)
{
    for (int i = 0; i < NEEDED; i++)
        MUST(publish_next(publisher, START_SEQUENCE + BEFORE + 1 + i) == IPCR_OK);
}

/* Reads what must go for those messages, and no more. */
static void join_and_read_needed(void)
{
    one = new_subscriber(IPCR_START_OLDEST);
    for (int64_t from = (int64_t)one->next; from < START_SEQUENCE + NEEDED; from++)
        MUST(receive_next(one) == from);
}

static void perform_ahead(void)
{
    model_start(FIRST, 0, publish_needed);
    model_start(SECOND, 1, join_and_read_needed);
}

static void look_at_the_next(void)
{
    act_as(1);
    const int64_t next = (int64_t)one->next;
    MUST(next >= START_SEQUENCE + NEEDED && receive_next(one) == next);
}

/* --- nobody may lag --------------------------------------------------------------------------------------------------- */

static void nobody_lags(void)
{
    set_up(4, &(struct ipcr_multicast_options){ .policy = IPCR_LOSSLESS, .max_lag = 1 });
    subscribe_one();
}

static void laggards_go(void)
{
    set_up(4, &(struct ipcr_multicast_options){ .on_laggard = IPCR_EVICT_LAGGARDS, .max_lag = 1 });
    subscribe_one();
}

/* There is room for all of them, but each waits until everybody has the one before. */
static void publish_to_the_fast(void)
{
    for (int64_t n = START_SEQUENCE; n < START_SEQUENCE + MESSAGES; n++) {
        MUST(publish_next(publisher, n) == IPCR_OK);
        MUST((int64_t)load_acquire64(&publisher->header->cursor[one->number].next) >= n);
    }
}

static void read_one(void) { receive_all(one, START_SEQUENCE, MESSAGES); }

static void perform_max_lag(void)
{
    model_start(FIRST, 0, publish_to_the_fast);
    model_start(SECOND, 1, read_one);
}

static void publish_and_close(void)
{
    publish_some();
    core()->publisher_close(publisher);
}

static void read_until_evicted(void)
{
    int64_t expected = START_SEQUENCE, sequence;
    while ((sequence = receive_next(one)) >= 0)
        MUST(sequence == expected++);
    MUST(sequence == IPCR_LAGGED_OUT || (sequence == IPCR_END_OF_CHANNEL && expected == START_SEQUENCE + MESSAGES));
}

static void perform_laggards_go(void)
{
    model_start(FIRST, 0, publish_and_close);
    model_start(SECOND, 1, read_until_evicted);
}

/* --- an observer that doesn't read ------------------------------------------------------------------------------------- */

static void observed(void)
{
    set_up(2, &(struct ipcr_multicast_options){ .policy = IPCR_LOSSLESS });
    subscribe_one();
    act_as(2);
    observer = new_observer(IPCR_START_LATEST);
}

static void perform_observed(void)
{
    model_start(FIRST, 0, publish_some);
    model_start(SECOND, 1, read_one);
}

/* It finds what is whole, and is told what it has lost. */
static void look_as_observer(void)
{
    act_as(2);
    const int64_t sequence = try_receive(observer);
    MUST(sequence > START_SEQUENCE && sequence < START_SEQUENCE + MESSAGES);
    MUST(core()->subscriber_last_lost(observer) == (uint64_t)(sequence - START_SEQUENCE));
    for (int64_t n = sequence + 1; n < START_SEQUENCE + MESSAGES; n++)
        MUST(try_receive(observer) == n && core()->subscriber_last_lost(observer) == 0);
    MUST(try_receive(observer) == IPCR_EMPTY);
}

/* --- in place, where it may be overwritten ------------------------------------------------------------------------------ */

static void may_be_evicted(void)
{
    set_up(2, &(struct ipcr_multicast_options){ .on_laggard = IPCR_EVICT_LAGGARDS });
    subscribe_one();
}

/* Whoever is lent a message sees it whole until it gives it back; who may be evicted is lent none. */
static void read_in_place(void)
{
    char bytes[LENGTH_OF_ALL];
    int64_t rc;
    while ((rc = core()->subscriber_peek(one)) == IPCR_EMPTY)
        MUST(wait_for_message_of(one) == IPCR_OK);
    if (rc >= 0) {
        copy_out(bytes, (const uint8_t *)core()->subscriber_lent(one), LENGTH_OF_ALL);
        MUST(is_message(bytes, START_SEQUENCE, LENGTH_OF_ALL));
        return;
    }
    MUST(rc == IPCR_WRONG_SIDE);
    read_until_evicted();
}

static void perform_in_place(void)
{
    model_start(FIRST, 0, publish_and_close);
    model_start(SECOND, 1, read_in_place);
}

#define SCENARIO(name_, says_, set_up_, perform_)                                                                      \
    .name = (name_), .says = (says_), .set_up = (set_up_), .perform = (perform_)
static const struct scenario scenarios[] = {
    /* the publisher is woken when there is room for more than one message, or looks at the end of a slice */
    { SCENARIO("multicast-ahead", "What a message needs is waited for, and not what would be nice.", full, perform_ahead),
      .look = look_at_the_next, .patience_ns = IPCR_SLICE_NS },
    { SCENARIO("multicast-max-lag", "No subscriber is further behind than it may be.", nobody_lags, perform_max_lag),
      .both = true },
    { SCENARIO("multicast-max-lag-evicted", "Whoever is further behind is told so.", laggards_go, perform_laggards_go) },
    { SCENARIO("multicast-observer-idle", "An observer that doesn't read is not waited for, and is told what it has lost.",
               observed, perform_observed), .look = look_as_observer },
    { SCENARIO("multicast-evicted-view", "Nobody reads in place what may be overwritten.", may_be_evicted,
               perform_in_place) },
};
ADD_SCENARIOS(scenarios)

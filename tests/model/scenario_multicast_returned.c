/* scenario_multicast_returned.c - what a subscriber is through with is the publisher's at once, not with its next call. */
#include "multicasts.h"

enum { FIRST = 1, SECOND = 2, ENTRIES = 2 };

static struct ipcr_publisher *publisher;
static struct ipcr_subscriber *one;

static void set_up(void)
{
    act_as(0);
    make_multicast(ENTRIES, IPCR_LOSSLESS, IPCR_WAIT_FOR_LAGGARDS);
    publisher = new_publisher();
    act_as(1);
    join_multicast();
    one = new_subscriber(IPCR_START_LATEST);
}

/* One more than there is room for. */
static void publish_one_more(void)
{
    for (int i = 0; i < ENTRIES + 1; i++)
        MUST(publish_next(publisher, START_SEQUENCE + i) == IPCR_OK);
}

/* One message in each way, and then no call ever again; nor is the subscriber closed. */

static void copy_one(void) { MUST(receive_next(one) == START_SEQUENCE); }

static void view_one(void)
{
    char bytes[LENGTH_OF_ALL];
    while (core()->subscriber_peek(one) == IPCR_EMPTY)
        MUST(wait_for_message_of(one) == IPCR_OK);
    copy_out(bytes, (const uint8_t *)core()->subscriber_lent(one), LENGTH_OF_ALL);
    MUST(is_message(bytes, START_SEQUENCE, LENGTH_OF_ALL) && core()->subscriber_release(one) == IPCR_OK);
}

static void settle_one(void)
{
    uint64_t sequences[1], lost[1];
    int64_t results[1], count;
    char bytes[LENGTH_OF_ALL];
    while ((count = core()->subscriber_recv_many(one, bytes, sizeof bytes, results, sequences, lost, 1)) == IPCR_EMPTY)
        MUST(wait_for_message_of(one) == IPCR_OK);
    MUST(count == 1 && core()->subscriber_settle(one, 1, START_SEQUENCE + 1, 0) == IPCR_OK);
}

static void beside(void (*take)(void))
{
    model_start(FIRST, 0, publish_one_more);
    model_start(SECOND, 1, take);
}

static void perform_copy(void) { beside(copy_one); }
static void perform_view(void) { beside(view_one); }
static void perform_settle(void) { beside(settle_one); }

#define SCENARIO(name_, says_, perform_) .name = (name_), .says = (says_), .set_up = set_up, .perform = (perform_)
static const struct scenario scenarios[] = {
    { SCENARIO("multicast-copied", "Room that a copy leaves is there for a publisher.", perform_copy) },
    { SCENARIO("multicast-returned", "So is that of a view that was given back.", perform_view), .both = true },
    { SCENARIO("multicast-settled", "And that of a batch.", perform_settle) },
};
ADD_SCENARIOS(scenarios)

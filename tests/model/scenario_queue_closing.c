/* scenario_queue_closing.c - a handle is closed, or the queue shut down, while others wait in it.
 *
 * Sleeps have no end: whoever is not told sleeps for ever, and is found as such.
 */
#include "queues.h"

enum { FIRST = 1, SECOND = 2, THIRD = 3, FOURTH = 4 };

static bool closed; /* close() has returned */
static uint64_t id_of_first;

static void set_up(const struct ipcr_queue_options *options, int messages)
{
    act_as(0);
    make_queue(2, options);
    take_lane();
    take_number();
    for (int process = 1; process < 3; process++) {
        act_as(process);
        join_queue();
        take_number();
    }
    act_as(0);
    for (int i = 0; i < messages; i++)
        MUST(try_put((uint64_t)i, &id_of_first) == IPCR_OK);
    keep_record();
}

static void empty(void) { set_up(&(struct ipcr_queue_options){ .slots = 2 }, 0); }
static void full(void) { set_up(&(struct ipcr_queue_options){ .slots = 2 }, 2); }
static void crowded(void) { set_up(&(struct ipcr_queue_options){ .slots = 4, .maxsize = 1 }, 1); }

static void lanes_for_two(void)
{
    empty();
    act_as(2);
    take_lane();
}

static void start(void)
{
    begin_record();
    closed = false;
}

static void close_it(void)
{
    core()->queue_close(queue());
    closed = true;
}

/* --- closing ----------------------------------------------------------------------------------------------------------------- */

static void get_until_closed(void)
{
    uint64_t number;
    const int rc = get(&number);
    MUST(rc == IPCR_OK || rc == IPCR_CLOSED);
    if (closed)
        MUST(try_get(&number) == IPCR_CLOSED);
}

static void perform_getting(void)
{
    start();
    model_start(FIRST, 0, get_until_closed);
    model_start(SECOND, 0, get_until_closed);
    model_start(THIRD, 0, close_it);
}

/* Another process sleeps at the same gate, and gets its message all the same; of two, the closing one takes one at most. */
static void get_one(void)
{
    uint64_t number;
    MUST(get(&number) == IPCR_OK);
}

static void put_two(void)
{
    (void)put(SECOND_PRODUCER);
    (void)put(SECOND_PRODUCER + 1);
}

static void perform_getting_with_another(void)
{
    start();
    model_start(FIRST, 0, get_until_closed);
    model_start(SECOND, 1, get_one);
    model_start(THIRD, 0, close_it);
    model_start(FOURTH, 2, put_two);
}

static void put_until_closed(uint64_t number)
{
    const int rc = put_unless_closed(number);
    MUST(rc == IPCR_OK || rc == IPCR_CLOSED);
}

static void put_2_until_closed(void) { put_until_closed(2); }
static void put_3_until_closed(void) { put_until_closed(3); }

static void perform_putting(void)
{
    start();
    model_start(FIRST, 0, put_2_until_closed);
    model_start(SECOND, 0, put_3_until_closed);
    model_start(THIRD, 0, close_it);
}

/* With maxsize; and another process waits for the same room, and gets it. */
static void put_another(void) { (void)put(SECOND_PRODUCER); }

static void get_two(void)
{
    get_one();
    get_one();
}

static void perform_putting_with_another(void)
{
    start();
    model_start(FIRST, 0, put_2_until_closed);
    model_start(SECOND, 1, put_another);
    model_start(THIRD, 0, close_it);
    model_start(FOURTH, 2, get_two);
}

static void wait_for_receipt(void)
{
    int rc;
    while ((rc = core()->queue_outcome(queue(), id_of_first)) == IPCR_READY || rc == IPCR_LEASED) {
        rc = core()->queue_wait_for_outcome(queue(), id_of_first, IPCR_FOREVER);
        MUST(rc == IPCR_OK || rc == IPCR_AGAIN || rc == IPCR_CLOSED);
    }
    MUST(rc == IPCR_CLOSED);
}

static void wait_for_all(void)
{
    int rc = IPCR_OK;
    while (rc != IPCR_CLOSED && !core()->queue_all_finished(queue()))
        rc = core()->queue_wait_for_finish(queue(), IPCR_FOREVER);
    MUST(rc == IPCR_CLOSED);
}

static void perform_waiting(void)
{
    start();
    model_start(FIRST, 0, wait_for_receipt);
    model_start(SECOND, 0, wait_for_all);
    model_start(THIRD, 0, close_it);
}

/* --- shutdown ------------------------------------------------------------------------------------------------------------------ */

static void get_until_shut(void)
{
    uint64_t number;
    int rc;
    while ((rc = get(&number)) == IPCR_OK)
        ;
    MUST(rc == IPCR_SHUT_DOWN);
}

static void put_until_shut(void)
{
    const int rc = put_unless_closed(SECOND_PRODUCER);
    MUST(rc == IPCR_OK || rc == IPCR_SHUT_DOWN);
}

static void put_two_until_shut(void)
{
    const uint64_t lengths[] = { 8, 8 };
    const uint64_t infos[] = { IPCR_INFO(SECOND_PRODUCER, IPCR_BYTES), IPCR_INFO(SECOND_PRODUCER + 1, IPCR_BYTES) };
    char bytes[16];
    memcpy(bytes, message(SECOND_PRODUCER, 8), 8);
    memcpy(bytes + 8, message(SECOND_PRODUCER + 1, 8), 8);
    record.begun |= 3u << SECOND_PRODUCER;
    const int64_t n = core()->queue_put_many(queue(), bytes, lengths, infos, 2, 0, NULL);
    MUST(n == 1 || n == 2 || n == IPCR_SHUT_DOWN);
    for (int64_t i = 0; i < n; i++)
        record.put |= 1u << (SECOND_PRODUCER + i);
}

static void put_2_until_shut(void) { MUST(put_unless_closed(2) == IPCR_SHUT_DOWN); }

static void shut(void) { MUST(core()->queue_shut(queue(), IPCR_DRAINING) == IPCR_OK); }

static void perform_shutdown(void)
{
    start();
    model_start(FIRST, 0, shut);
    model_start(SECOND, 1, get_until_shut);
    model_start(THIRD, 2, put_until_shut);
    model_start(FOURTH, 2, get_until_shut);
}

static void perform_shutdown_of_a_batch(void)
{
    start();
    model_start(FIRST, 0, shut);
    model_start(SECOND, 1, get_until_shut);
    model_start(THIRD, 2, put_two_until_shut);
}

/* Two try once each: what was put when "shut down" was said must have been got. */
static bool said;

static void try_until_shut(void)
{
    uint64_t number;
    int rc;
    for (int i = 0; i < 2; i++)
        if ((rc = try_get(&number)) == IPCR_SHUT_DOWN)
            said = true;
        else
            MUST(rc == IPCR_OK || rc == IPCR_EMPTY);
}

static void perform_shutdown_late(void)
{
    start();
    said = false;
    model_start(FIRST, 0, shut);
    model_start(SECOND, 2, put_until_shut);
    model_start(THIRD, 1, try_until_shut);
}

static void look_whether_it_was_said(void)
{
    act_as(1);
    if (said)
        must_be_all_done();
}

static void shut_at_once(void) { MUST(core()->queue_shut(queue(), IPCR_SHUT) == IPCR_OK); }

static void perform_shutdown_twice(void)
{
    start();
    model_start(FIRST, 0, shut);
    model_start(SECOND, 1, shut_at_once);
}

static void look_whether_it_is_shut(void)
{
    struct ipcr_queue_stats all;
    struct ipcr_lane_stats lanes[2];
    act_as(2);
    MUST(core()->queue_stats(queue()->segment, &all, lanes, 2) == IPCR_OK && all.shutdown == IPCR_SHUT);
}

/* All sleep, at one gate or the other. */
static void perform_shutdown_of_the_full(void)
{
    start();
    model_start(FIRST, 0, put_2_until_shut);
    model_start(SECOND, 2, put_until_shut);
    model_start(THIRD, 1, shut);
}

static void perform_shutdown_of_the_empty(void)
{
    start();
    model_start(FIRST, 0, get_until_shut);
    model_start(SECOND, 1, get_until_shut);
    model_start(THIRD, 1, get_until_shut);
    model_start(FOURTH, 2, shut);
}

/* What put returned from has been got: "shut down" is said when nothing is there, and nothing will come. */
static void look_for_all(void)
{
    act_as(1);
    must_be_all_done();
}

#define CLOSING(name_, says_, set_up_, perform_)                                                                         \
    .name = "queue-" name_, .says = (says_), .set_up = (set_up_), .perform = (perform_)
static const struct scenario scenarios[] = {
    { CLOSING("close-getting", "Two threads that wait for messages are told that the handle was closed.", empty,
              perform_getting) },
    { CLOSING("close-other-gets", "The same while another process waits, and gets what it waits for.", empty,
              perform_getting_with_another) },
    { CLOSING("close-putting", "Two threads that wait for room are told.", full, perform_putting) },
    { CLOSING("close-other-puts", "The same with maxsize, and another process that waits for the same room.", crowded,
              perform_putting_with_another) },
    { CLOSING("close-waiting", "Who waits for a receipt, or in join(), is told.", full, perform_waiting) },
    { CLOSING("shutdown", "Shut down is said when nothing is left, and nothing will come.", full, perform_shutdown),
      .look = look_for_all },
    { CLOSING("shutdown-batch", "The same with two messages at once.", lanes_for_two, perform_shutdown_of_a_batch),
      .look = look_for_all },
    { CLOSING("shutdown-late", "The same where it is asked for at once.", lanes_for_two, perform_shutdown_late),
      .look = look_whether_it_was_said },
    { CLOSING("shutdown-twice", "What is shut at once stays so.", empty, perform_shutdown_twice),
      .look = look_whether_it_is_shut },
    { CLOSING("shutdown-full", "Who waits for room is told of the shutdown.", full, perform_shutdown_of_the_full) },
    { CLOSING("shutdown-empty", "Who waits for messages is told of it.", empty, perform_shutdown_of_the_empty) },
};
ADD_SCENARIOS(scenarios)

/* scenario_leases.c - messages that are held: given back, run out, acknowledged too late, copied too late.
 *
 * Time passes only where a scenario lets it: a lease may run out while its holder is anywhere in a call.
 */
#include "queues.h"

enum { FIRST = 1, SECOND = 2, THIRD = 3, FOURTH = 4 };

static struct ipcr_lease held[9];
static uint64_t with_end; /* of the leases that set_up makes; 0: none */

static struct ipcr_lease *hold(int n)
{
    MUST(try_lease(with_end, &held[n]) == IPCR_OK);
    return &held[n];
}

static void look(void)
{
    act_as(0);
    must_be_all_done();
}

static void settle(void)
{
    record.comes_back = true;
    keep_record();
}

/* Process 0 puts `messages`, and holds the first `holds` of them; 1 and 2 are ready to take. */
static void set_up(const struct ipcr_queue_options *options, int messages, int holds)
{
    act_as(0);
    make_queue(1, options);
    take_lane();
    for (int process = 1; process < 3; process++) {
        act_as(process);
        join_queue();
        take_number();
    }
    act_as(0);
    for (int i = 0; i < messages; i++)
        (void)put((uint64_t)i);
    for (int i = 0; i < holds; i++)
        hold(i);
    settle();
}

/* --- nack ------------------------------------------------------------------------------------------------------------------ */

static void one_held(void)
{
    with_end = 0;
    set_up(&(struct ipcr_queue_options){ .slots = 2 }, 1, 1);
}

static void nack_first(void) { MUST(nack(&held[0]) == IPCR_OK); }
static void work_off_one(void) { work_off_some(1); }
static void work_off_two(void) { work_off_some(2); }

static void perform_nack_wakes(void)
{
    begin_record();
    model_start(FIRST, 0, nack_first);
    model_start(SECOND, 1, work_off_one);
}

/* Two come back, two sleep. */
static void two_held(void)
{
    with_end = 0;
    set_up(&(struct ipcr_queue_options){ .slots = 2 }, 2, 2);
}

static void nack_two(void)
{
    MUST(nack(&held[1]) == IPCR_OK);
    MUST(nack(&held[0]) == IPCR_OK);
}

static void perform_nacks_wake(void)
{
    begin_record();
    model_start(FIRST, 0, nack_two);
    model_start(SECOND, 1, work_off_one);
    model_start(THIRD, 2, work_off_one);
}

/* Closing gives back what is held. */
static void close_queue(void) { core()->queue_close(queue()); }

static void perform_close_returns(void)
{
    begin_record();
    model_start(FIRST, 0, close_queue);
    model_start(SECOND, 1, work_off_one);
    model_start(THIRD, 2, work_off_one);
}

/* The next scan finds the first eight held, and moves the hint beyond them. */
static void eight_held(void)
{
    with_end = 0;
    set_up(&(struct ipcr_queue_options){ .slots = 16 }, 9, 8);
}

static void nack_the_last_but_one(void)
{
    MUST(nack(&held[6]) == IPCR_OK);
    for (int i = 0; i < 8; i++)
        MUST(i == 6 || ack(&held[i]) == IPCR_OK);
}

static void perform_nack_hint(void)
{
    begin_record();
    model_start(FIRST, 0, nack_the_last_but_one);
    model_start(SECOND, 1, work_off_two);
}

static void perform_nack_hint_two(void)
{
    begin_record();
    model_start(FIRST, 0, nack_the_last_but_one);
    model_start(SECOND, 1, work_off_one);
    model_start(THIRD, 2, work_off_one);
}

/* --- leases that run out ----------------------------------------------------------------------------------------------------- */

static void one_runs_out(void)
{
    with_end = LEASE_NS;
    set_up(&(struct ipcr_queue_options){ .slots = 2 }, 1, 1);
}

static void ack_late(void)
{
    const int rc = ack(&held[0]);
    MUST(rc == IPCR_OK || rc == IPCR_LEASE_LOST);
}

static void nack_late(void)
{
    const int rc = nack(&held[0]);
    MUST(rc == IPCR_OK || rc == IPCR_LEASE_LOST);
}

/* From here on its lease is over, wherever the holder is. */
static void wait_and_work_off(void)
{
    model_pass_time(2 * LEASE_NS);
    work_off();
}

static void perform_stale_ack(void)
{
    begin_record();
    model_start(FIRST, 0, ack_late);
    model_start(SECOND, 1, wait_and_work_off);
}

static void perform_stale_nack(void)
{
    begin_record();
    model_start(FIRST, 0, nack_late);
    model_start(SECOND, 1, wait_and_work_off);
    model_start(THIRD, 2, work_off);
}

/* The same holder gets it again, in another thread: its second lease looks like the first, but for the count. */
static void perform_stale_of_the_same(void)
{
    begin_record();
    model_start(FIRST, 0, ack_late);
    model_start(SECOND, 0, wait_and_work_off);
}

static void perform_two_repair(void)
{
    begin_record();
    model_start(FIRST, 1, wait_and_work_off);
    model_start(SECOND, 2, wait_and_work_off);
}

static void extend_and_ack(void)
{
    struct ipcr_lease l = held[0];
    const int rc = core()->lease_extend(queue(), &l, 0);
    MUST(rc == IPCR_OK || rc == IPCR_LEASE_LOST);
    if (rc == IPCR_OK)
        MUST(ack(&l) == IPCR_OK);
    MUST(ack(&held[0]) == IPCR_LEASE_LOST); /* the word that it was */
}

static void perform_extend(void)
{
    begin_record();
    model_start(FIRST, 0, extend_and_ack);
    model_start(SECOND, 1, wait_and_work_off);
}

/* --- memory that is used again while a late holder copies --------------------------------------------------------------------- */

/* Of two words, so that it can be torn; what follows in the lane fills it up, and is done with.  Process 2 is the producer. */
static void copied_late(void)
{
    with_end = LEASE_NS;
    act_as(0);
    make_queue(1, &(struct ipcr_queue_options){ .slots = 4 });
    take_number();
    act_as(1);
    join_queue();
    take_number();
    act_as(2);
    join_queue();
    take_lane();
    message_length = 16;
    (void)put(0);
    act_as(0);
    hold(0);
    act_as(2);
    const struct ipcr_piece filler = { .data = message(1, LANE - 16), .length = LANE - 16 };
    struct ipcr_put put_it = { .info = IPCR_INFO(1, IPCR_BYTES) };
    MUST(core()->queue_put_pieces(queue(), &filler, 1, &put_it) == IPCR_OK);
    act_as(1);
    struct ipcr_lease l;
    MUST(core()->queue_lease(queue(), 0, &l) == IPCR_OK && core()->lease_ack(queue(), &l) == IPCR_OK);
    record.begun = record.put = record.done = 2;
    record.begun |= 1;
    record.put |= 1;
    settle();
}

static void copy_and_ack(void)
{
    char bytes[16];
    int rc = core()->lease_copy(queue(), &held[0], bytes);
    MUST(rc == IPCR_OK || rc == IPCR_LEASE_LOST);
    if (rc == IPCR_OK && !is_message(bytes, 0, sizeof bytes))
        model_fail("a copy that was validated is not the message");
    rc = ack(&held[0]);
    MUST(rc == IPCR_OK || rc == IPCR_LEASE_LOST);
}

/* From here on the lease is over; message 0 is ours, or its holder was quick; then comes message 2, in the same memory. */
static void work_off_after_the_end(void)
{
    struct ipcr_lease l;
    model_pass_time(2 * LEASE_NS);
    do {
        MUST(lease(0, &l) == IPCR_OK);
        MUST(ack(&l) == IPCR_OK);
    } while (number_of(&l) != 2);
}

static void put_another(void) { (void)put(2); }

static void perform_recycled(void)
{
    begin_record();
    model_start(FIRST, 0, copy_and_ack);
    model_start(SECOND, 1, work_off_after_the_end);
    model_start(THIRD, 2, put_another);
}

/* The producer dies anywhere, or goes; process 1 takes its lane, and writes there. */
static void put_and_go(void)
{
    const int rc = put_unless_closed(2);
    MUST(rc == IPCR_OK);
    core()->queue_close(queue());
}

static void work_off_until_three(void)
{
    struct ipcr_lease l;
    model_pass_time(2 * LEASE_NS);
    do {
        MUST(lease(0, &l) == IPCR_OK);
        MUST(ack(&l) == IPCR_OK);
    } while (number_of(&l) != 3);
}

static void put_a_third(void) { (void)put(3); }

static void perform_recycled_by_another(void)
{
    begin_record();
    model_start(FIRST, 0, copy_and_ack);
    model_start(SECOND, 1, work_off_until_three);
    model_start(THIRD, 2, put_and_go);
    model_start(FOURTH, 1, put_a_third);
    model_fibers[THIRD].mortal = true;
}

/* --- messages that are kept ------------------------------------------------------------------------------------------------------ */

static void one_kept_after_one(void)
{
    with_end = 0;
    set_up(&(struct ipcr_queue_options){ .slots = 2, .max_deliveries = 1 }, 1, 1);
}

/* Two look for messages that are kept, and throw them away. */
static void move_kept(void)
{
    struct ipcr_lease l;
    uint32_t why;
    while (core()->queue_depth(queue()) != 0) {
        const int rc = core()->queue_next_kept(queue(), 0, &l, &why);
        if (rc == IPCR_OK) {
            MUST(why == IPCR_KEPT_DELIVERIES && number_of(&l) == 0 && (record.done & 1) == 0);
            record.done |= 1;
            MUST(core()->lease_bury(queue(), &l) == IPCR_OK);
        } else {
            MUST(rc == IPCR_EMPTY);
            look_later();
        }
    }
}

static void perform_kept(void)
{
    begin_record();
    model_start(FIRST, 0, nack_first);
    model_start(SECOND, 1, move_kept);
    model_start(THIRD, 2, move_kept);
}

/* Put back, and back again: then somebody who sleeps gets it. */
static void keep_then_requeue(void)
{
    struct ipcr_lease l;
    uint32_t why;
    int rc;
    while ((rc = core()->queue_next_kept(queue(), 0, &l, &why)) == IPCR_EMPTY)
        look_later();
    MUST(rc == IPCR_OK && core()->lease_keep(queue(), &l, why) == IPCR_OK);
    MUST(core()->lease_requeue(queue(), &l) == IPCR_LEASE_LOST);
    MUST(core()->queue_next_kept(queue(), 0, &l, &why) == IPCR_OK && why == IPCR_KEPT_DELIVERIES);
    MUST(core()->lease_requeue(queue(), &l) == IPCR_OK);
}

static void perform_requeue(void)
{
    begin_record();
    model_start(FIRST, 0, nack_first);
    model_start(SECOND, 1, keep_then_requeue);
    model_start(THIRD, 2, work_off_one);
}

/* The stale lease of a message that was kept and requeued, and is held once more by the same process. */
static void one_runs_out_for_good(void)
{
    with_end = LEASE_NS;
    set_up(&(struct ipcr_queue_options){ .slots = 2, .max_deliveries = 1 }, 1, 1);
}

static void requeue_and_lease(void)
{
    struct ipcr_lease l;
    uint32_t why;
    model_pass_time(2 * LEASE_NS);
    int rc = try_lease(LEASE_NS, &l); /* whoever looks ends the first lease */
    MUST(rc == IPCR_EMPTY || rc == IPCR_AGAIN);
    rc = core()->queue_next_kept(queue(), 0, &l, &why);
    if (rc == IPCR_EMPTY)
        return; /* the first holder was quicker */
    MUST(rc == IPCR_OK && core()->lease_requeue(queue(), &l) == IPCR_OK);
    model_now -= 2 * LEASE_NS; /* so that only the count tells the leases apart */
    MUST(try_lease(LEASE_NS, &l) == IPCR_OK && ack(&l) == IPCR_OK);
}

static void perform_stale_requeue(void)
{
    begin_record();
    model_start(FIRST, 0, ack_late);
    model_start(SECOND, 0, requeue_and_lease);
}

/* --- purge --------------------------------------------------------------------------------------------------------------------------- */

static void none_yet(void)
{
    with_end = 0;
    set_up(&(struct ipcr_queue_options){ .slots = 2 }, 1, 0);
}

static int64_t purged;

static void purge_twice(void)
{
    purged = 0;
    for (int i = 0; i < 2; i++) {
        const int64_t n = core()->queue_purge(queue(), false);
        MUST(n >= 0);
        purged += n;
    }
}

static void try_twice(void)
{
    uint64_t number;
    for (int i = 0; i < 2; i++) {
        const int rc = try_get(&number);
        MUST(rc == IPCR_OK || rc == IPCR_EMPTY);
    }
}

static void put_two_more(void)
{
    (void)put(1);
    (void)put(2);
}

static void perform_purge(void)
{
    begin_record();
    model_start(FIRST, 0, put_two_more);
    model_start(SECOND, 1, purge_twice);
    model_start(THIRD, 2, try_twice);
}

/* What was put was thrown away, or got, or is there. */
static void look_after_purge(void)
{
    struct ipcr_lane_stats sum;
    act_as(0);
    look_at_stats(&sum);
    MUST(sum.put == 3 && sum.dead == (uint64_t)purged && sum.acknowledged == count_of(record.done));
    MUST(sum.ready == 3 - sum.dead - sum.acknowledged && sum.leased == 0 && sum.kept == 0);
}

#define SLICES (3 * SLICE_NS)
#define LEASES(name_, says_, set_up_, perform_)                                                                          \
    .name = "lease-" name_, .says = (says_), .set_up = (set_up_), .perform = (perform_), .look = look
static const struct scenario scenarios[] = {
    { LEASES("nack-wakes", "Who sleeps is woken when a message comes back.", one_held, perform_nack_wakes) },
    { LEASES("nacks-wake", "The same with two of each.", two_held, perform_nacks_wake) },
    { LEASES("close", "Closing gives back what is held, and wakes who sleeps.", two_held, perform_close_returns) },
    { LEASES("nack-hint", "A message that comes back below a hint that is just raised is found.", eight_held,
             perform_nack_hint) },
    { LEASES("nack-hint-two", "The same with two who look.", eight_held, perform_nack_hint_two) },
    { LEASES("stale-ack", "Whoever is too late to acknowledge is told so, and changes nothing.", one_runs_out,
             perform_stale_ack), .patience_ns = SLICES },
    { LEASES("stale-nack", "The same with a nack.", one_runs_out, perform_stale_nack), .patience_ns = SLICES },
    { LEASES("stale-same", "The same where its holder has the message a second time.", one_runs_out,
             perform_stale_of_the_same), .patience_ns = SLICES },
    { LEASES("stale-requeue", "The same after it was kept and requeued.", one_runs_out_for_good, perform_stale_requeue),
      .patience_ns = SLICES },
    { LEASES("two-repair", "Two who find a late lease: one of them gets the message.", one_runs_out, perform_two_repair),
      .patience_ns = SLICES },
    { LEASES("extend", "An extended lease is not taken away.", one_runs_out, perform_extend), .patience_ns = SLICES },
    { LEASES("recycled", "A late holder never takes another message's bytes for its own.", copied_late,
             perform_recycled) },
    { LEASES("recycled-adopted", "The same where a dead producer's successor wrote them.", copied_late,
             perform_recycled_by_another), .patience_ns = SLICES, .deaths = 1 },
    { LEASES("kept", "A message that is kept is moved by one of those who look for it.", one_kept_after_one,
             perform_kept), .patience_ns = SLICES },
    { LEASES("requeue", "Who sleeps is woken when a message is requeued.", one_kept_after_one, perform_requeue),
      .patience_ns = 1000000 },
    { .name = "lease-purge", .says = "A message is thrown away, or got, or there.", .set_up = none_yet,
      .perform = perform_purge, .look = look_after_purge, .patience_ns = SLICES },
};
ADD_SCENARIOS(scenarios)

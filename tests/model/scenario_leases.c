/* scenario_leases.c - messages that are held: given back, run out, acknowledged too late, copied too late.
 *
 * Time passes only where a scenario lets it: a lease may run out while its holder is anywhere in a call.
 */
#include "queues.h"

enum { FIRST = 1, SECOND = 2, THIRD = 3, FOURTH = 4 };

static struct ipcr_lease held[9];

static void look(void)
{
    act_as(0);
    must_be_all_done();
}

static void set_up(const struct ipcr_queue_options *options, int messages, int holds, uint64_t lease_ns)
{
    make_queue_of_held(options, messages, holds, lease_ns, held);
}

/* --- nack ------------------------------------------------------------------------------------------------------------------ */

static void one_held(void)
{
    set_up(&(struct ipcr_queue_options){ .slots = 2 }, 1, 1, 0);
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
    set_up(&(struct ipcr_queue_options){ .slots = 2 }, 2, 2, 0);
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
    set_up(&(struct ipcr_queue_options){ .slots = 16 }, 9, 8, 0);
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
    set_up(&(struct ipcr_queue_options){ .slots = 2 }, 1, 1, LEASE_NS);
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

/* Of two words, so that it can be torn; what follows in the lane fills it up.  Process 2 is the producer. */
static void copied_late(bool filler_is_done)
{
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
    MUST(try_lease(LEASE_NS, &held[0]) == IPCR_OK);
    act_as(2);
    const struct ipcr_piece filler = { .data = message(1, LANE - 16), .length = LANE - 16 };
    struct ipcr_put put_it = { .info = IPCR_INFO(1, IPCR_BYTES) };
    MUST(core()->queue_put_pieces(queue(), &filler, 1, &put_it) == IPCR_OK);
    act_as(1);
    struct ipcr_lease l;
    MUST(core()->queue_lease(queue(), 0, &l) == IPCR_OK);
    if (filler_is_done)
        MUST(core()->lease_ack(queue(), &l) == IPCR_OK);
    record.begun = record.put = record.done = 2;
    record.begun |= 1;
    record.put |= 1;
    record.comes_back = true;
    keep_record();
}

static void copied_late_alone(void) { copied_late(true); }
static void copied_late_beside_another(void) { copied_late(false); }

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

static void put_in_pieces(void)
{
    const char *bytes = message(2, 16);
    const struct ipcr_piece piece = { .data = bytes, .length = 16 };
    struct ipcr_put it = { .info = IPCR_INFO(2, IPCR_BYTES) };
    int rc;
    record.begun |= 1u << 2;
    while ((rc = core()->queue_put_pieces(queue(), &piece, 1, &it)) == IPCR_FULL)
        MUST(core()->queue_wait_for_room(queue(), 16, IPCR_FOREVER) == IPCR_OK);
    MUST(rc == IPCR_OK);
    record.put |= 1u << 2;
}

static void perform_recycled_in_pieces(void)
{
    begin_record();
    model_start(FIRST, 0, copy_and_ack);
    model_start(SECOND, 1, work_off_after_the_end);
    model_start(THIRD, 2, put_in_pieces);
}

/* The producer frees the memory, writes nothing, because there is too little of it, and goes; another one writes. */
static void free_and_go(void)
{
    const uint64_t length = 64;
    const int64_t rc = core()->queue_put_one(queue(), message(2, length), length, 0, 0);
    MUST(rc == IPCR_FULL);
    core()->queue_close(queue());
}

static void work_off_once(void)
{
    struct ipcr_lease l;
    model_pass_time(2 * LEASE_NS);
    const int rc = try_lease(0, &l);
    MUST(rc == IPCR_EMPTY || (rc == IPCR_OK && ack(&l) == IPCR_OK));
}

static void put_a_third(void)
{
    uint64_t id;
    int rc;
    while ((rc = try_put(3, &id)) == IPCR_TAKEN)
        look_later();
    MUST(rc == IPCR_OK || rc == IPCR_FULL); /* it came too early to find anything freed */
}

static void perform_recycled_by_another(void)
{
    begin_record();
    model_start(FIRST, 1, work_off_once);
    model_start(SECOND, 2, free_and_go);
    model_start(THIRD, 1, put_a_third);
    model_start(FOURTH, 0, copy_and_ack);
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
    { LEASES("two-repair", "Two who find a late lease: one of them gets the message.", one_runs_out, perform_two_repair),
      .patience_ns = SLICES },
    { LEASES("extend", "An extended lease is not taken away.", one_runs_out, perform_extend), .patience_ns = SLICES },
    { LEASES("recycled", "A late holder never takes another message's bytes for its own.", copied_late_alone,
             perform_recycled) },
    { LEASES("recycled-pieces", "The same where they come in pieces.", copied_late_alone, perform_recycled_in_pieces) },
    { .name = "lease-recycled-adopted", .says = "The same where another producer wrote them than the one who freed.",
      .set_up = copied_late_beside_another, .perform = perform_recycled_by_another, .patience_ns = SLICES },
};
ADD_SCENARIOS(scenarios)

/* scenario_kept.c - messages that are not delivered any more, and those that are thrown away.
 *
 * Time passes only where a scenario lets it.
 */
#include "queues.h"

enum { FIRST = 1, SECOND = 2, THIRD = 3 };

static struct ipcr_lease held[1];

static void look(void)
{
    act_as(0);
    must_be_all_done();
}

static void set_up(const struct ipcr_queue_options *options, int messages, int holds, uint64_t lease_ns)
{
    make_queue_of_held(options, messages, holds, lease_ns, held);
}

static void nack_first(void) { MUST(nack(&held[0]) == IPCR_OK); }
static void work_off_one(void) { work_off_some(1); }

static void ack_late(void)
{
    const int rc = ack(&held[0]);
    MUST(rc == IPCR_OK || rc == IPCR_LEASE_LOST);
}

/* --- messages that are kept ------------------------------------------------------------------------------------------------------ */

static void one_kept_after_one(void)
{
    set_up(&(struct ipcr_queue_options){ .slots = 2, .max_deliveries = 1 }, 1, 1, 0);
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
    set_up(&(struct ipcr_queue_options){ .slots = 2, .max_deliveries = 1 }, 1, 1, LEASE_NS);
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
    set_up(&(struct ipcr_queue_options){ .slots = 2 }, 1, 0, 0);
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
#define KEPT(name_, says_, set_up_, perform_)                                                                            \
    .name = "lease-" name_, .says = (says_), .set_up = (set_up_), .perform = (perform_), .look = look
static const struct scenario scenarios[] = {
    { KEPT("kept", "A message that is kept is moved by one of those who look for it.", one_kept_after_one,
             perform_kept), .patience_ns = SLICES },
    { KEPT("requeue", "Who sleeps is woken when a message is requeued.", one_kept_after_one, perform_requeue),
      .patience_ns = 1000000 },
    { .name = "lease-purge", .says = "A message is thrown away, or got, or there.", .set_up = none_yet,
      .perform = perform_purge, .look = look_after_purge, .patience_ns = SLICES },
    { KEPT("stale-requeue", "Whoever is too late to acknowledge is told so, also after the message was kept and requeued.", one_runs_out_for_good, perform_stale_requeue),
      .patience_ns = SLICES },
};
ADD_SCENARIOS(scenarios)

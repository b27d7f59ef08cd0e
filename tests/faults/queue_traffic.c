/* queue_traffic.c - each operation on a queue's messages that makes system calls, as its callers use it, and what must work
 * after: putting, getting, waiting, acknowledging, giving back.  The queue as a whole: queues.c.
 */
#include "operations.h"
#include "queue_scene.h"

static struct ipcr_lease lease;

/* --- the first put, the first get ----------------------------------------------------------------------------------- */

static int first_put(void) { return put_by(producer, "message"); }

static void prove_put(void)
{
    check_gets(consumer, "message");
    check_is_empty(consumer);
    one_message_through();
}

/* A lane that somebody has left is taken over: the message in it stays. */
static void make_with_abandoned_lane(void)
{
    make_with_handles();
    struct ipcr_queue *former = handle_on(segment);
    CHECK_IS(put_by(former, "earlier"), IPCR_OK);
    finish(&former);
}

static void prove_put_behind_another(void)
{
    check_gets(consumer, "earlier");
    prove_put();
}

static void remake_with_abandoned_lane(void) { anew(make_with_abandoned_lane); }
static void remake_with_handles(void) { anew(make_with_handles); }

/* A handle keeps its number, and what it has mapped, when it fails later: all that goes with it, and is no leak. */
static int first_get(void)
{
    const int rc = get_by(consumer, "message");
    if (rc != IPCR_OK) {
        finish(&consumer);
        release(&second);
        CHECK_IS(attach_to_queue(), IPCR_OK);
        consumer = handle_on(second);
    }
    return rc;
}

/* --- waking, waiting ------------------------------------------------------------------------------------------------ */

static int put_to_a_sleeper(void)
{
    store_relaxed32(&producer->header->consumers_parked, 1);
    return put_by(producer, "message");
}

static void prove_woken(void)
{
    CHECK_IS(load_relaxed32(&producer->header->consumers_parked), 2);
    prove_put();
}

static int wait_for_message(void)
{
    const uint64_t until = in_ms(SOON_MS);
    int rc;
    while ((rc = get_by(consumer, "")) == IPCR_EMPTY && now_ns() < until) {
        rc = ipcr_queue_wait_for_message(consumer, until);
        if (rc != IPCR_OK && rc != IPCR_AGAIN)
            return rc;
    }
    return rc;
}

/* Waits until there may be room; "never" must not have gone in. */
static int put_in_vain(void)
{
    const uint64_t until = in_ms(SOON_MS);
    int rc;
    while ((rc = put_by(producer, "never..")) == IPCR_FULL && now_ns() < until) {
        rc = ipcr_queue_wait_for_room(producer, MESSAGE_BYTES, until);
        if (rc != IPCR_OK && rc != IPCR_AGAIN)
            return rc;
    }
    return rc;
}

static int fill(void)
{
    int n = 0;
    while (put_by(producer, "filling") == IPCR_OK)
        n++;
    return n;
}

static void make_full(void)
{
    make_used();
    CHECK_IS(fill(), SLOTS - 1 + 1); /* what was got is freed */
}

static void prove_drained_and_filled(void)
{
    for (int i = 0; i < SLOTS; i++)
        check_gets(consumer, "filling");
    prove_used();
    CHECK_IS(fill(), SLOTS);
}

/* maxsize=1, and the message is in a lane that the producer, who has one, has not looked at yet. */
static void make_full_by_another(void)
{
    make_with_handles_of(1);
    one_message_through();
    CHECK_IS(put_by(consumer, "another"), IPCR_OK);
}

static int put_beyond_maxsize(void) { return put_by(producer, "never.."); }

static void make_full_and_looked_at(void)
{
    make_full_by_another();
    CHECK_IS(put_beyond_maxsize(), IPCR_FULL);
}

static void prove_full_by_another(void)
{
    CHECK_IS(put_by(producer, "never.."), IPCR_FULL);
    check_gets(consumer, "another");
    prove_used();
}

static void remake_full_by_another(void) { anew(make_full_by_another); }
static void remake_full_and_looked_at(void) { anew(make_full_and_looked_at); }

static int wait_for_receipt(void)
{
    const int rc = ipcr_queue_wait_for_outcome(producer, put_id, in_ms(SOON_MS));
    return rc == IPCR_AGAIN ? IPCR_OK : rc;
}

static void prove_unacknowledged(void)
{
    CHECK_IS(ipcr_queue_outcome(producer, put_id), IPCR_READY);
    check_gets(consumer, "message");
    CHECK_IS(ipcr_queue_outcome(producer, put_id), IPCR_ACKED);
    one_message_through();
}

static int wait_for_finish(void)
{
    const int rc = ipcr_queue_wait_for_finish(consumer, in_ms(SOON_MS));
    return rc == IPCR_AGAIN ? IPCR_OK : rc;
}

static void prove_unfinished(void)
{
    CHECK(!ipcr_queue_all_finished(consumer));
    check_gets(consumer, "message");
    CHECK_IS(ipcr_queue_task_done(consumer), IPCR_OK);
    CHECK(ipcr_queue_all_finished(consumer));
}

/* --- leases ------------------------------------------------------------------------------------------------------- */

static void make_leased(void)
{
    make_with_message();
    CHECK_IS(ipcr_queue_lease(consumer, 0, &lease), IPCR_OK);
    store_relaxed32(&producer->own[0].lane->words->outcome_parked, 1);
    store_relaxed64(&producer->own[0].lane->words->outcome_at, lease.sequence);
}

static int acknowledge(void) { return ipcr_lease_ack(consumer, &lease); }

static void prove_acknowledged(void)
{
    CHECK_IS(ipcr_queue_outcome(producer, put_id), IPCR_ACKED);
    CHECK_IS(ipcr_lease_ack(consumer, &lease), IPCR_LEASE_LOST);
    prove_used();
}

static void remake_leased(void) { anew(make_leased); }

static int give_back(void)
{
    store_relaxed32(&producer->header->consumers_parked, 1);
    return ipcr_lease_nack(consumer, &lease, 0);
}

static void prove_given_back(void)
{
    CHECK_IS(ipcr_lease_nack(consumer, &lease, 0), IPCR_LEASE_LOST);
    check_gets(consumer, "message");
    prove_used();
}

static void lease_one(void)
{
    struct ipcr_queue *q = handle_on(second);
    CHECK_IS(ipcr_queue_lease(q, 0, &lease), IPCR_OK);
}

/* The consumer has a number of its own already, and not the dead one's. */
static void make_with_dead_holder(void)
{
    make_with_handles();
    check_is_empty(consumer);
    check_puts(producer);
    CHECK_IS(ipcr_queue_depth(consumer), 1); /* has seen the lane */
    die_after(lease_one);
}

static void remake_with_dead_holder(void) { anew(make_with_dead_holder); }

/* The first one to get takes the dead one's number, and ends its leases before anything else. */
static void make_with_dead_number(void)
{
    make_with_message();
    die_after(lease_one);
}

static void remake_with_dead_number(void) { anew(make_with_dead_number); }

/* It finds the death, and has the message; unless somebody else is burying the dead just then: then soon. */
static int get_from_the_dead(void)
{
    int rc = IPCR_EMPTY;
    for (int i = 0; rc == IPCR_EMPTY && i < 2; i++) {
        consumer->next_repair_ns = 0;
        rc = get_by(consumer, "message");
    }
    return rc;
}

static int close_with_lease(void)
{
    ipcr_queue_close(consumer);
    return IPCR_OK;
}

/* What it held, another gets; at the latest after it has looked who is alive. */
static void prove_returned(void)
{
    struct ipcr_queue *other = handle_on(segment);
    check_gets(other, "message");
    finish(&other);
}

const struct operation queue_traffic_operations[] = {
    { "queue: first put", make_with_handles, first_put, prove_put, remake_with_handles, unmake_with_handles, false, false,
      0 },
    { "queue: put, lane of old", make_with_abandoned_lane, first_put, prove_put_behind_another,
      remake_with_abandoned_lane, unmake_full, false, false, 0 },
    { "queue: first get", make_with_message, first_get, prove_used, remake_with_message, unmake_full, false, false, 0 },
    { "queue: first get, dead", make_with_dead_number, first_get, prove_used, remake_with_dead_number, unmake_full, false,
      false, 0 },
    { "queue: put, wake", make_used, put_to_a_sleeper, prove_woken, nothing, unmake_with_handles, false, false, 0 },
    { "queue: wait, empty", make_used, wait_for_message, prove_used, nothing, unmake_with_handles, false, false,
      IPCR_EMPTY },
    { "queue: wait, full", make_full, put_in_vain, prove_drained_and_filled, nothing, unmake_full, false, false,
      IPCR_FULL },
    { "queue: put, maxsize", make_full_by_another, put_beyond_maxsize, prove_full_by_another, remake_full_by_another,
      unmake_full, false, false, IPCR_FULL },
    { "queue: wait, maxsize", make_full_and_looked_at, put_in_vain, prove_full_by_another, remake_full_and_looked_at,
      unmake_full, false, false, IPCR_FULL },
    { "queue: wait, receipt", make_with_message, wait_for_receipt, prove_unacknowledged, remake_with_message, unmake_full,
      false, false, 0 },
    { "queue: wait, join", make_with_message, wait_for_finish, prove_unfinished, remake_with_message, unmake_full, false,
      false, 0 },
    { "queue: ack", make_leased, acknowledge, prove_acknowledged, remake_leased, unmake_full, false, false, 0 },
    { "queue: nack", make_leased, give_back, prove_given_back, remake_leased, unmake_full, false, false, 0 },
    { "queue: get from the dead", make_with_dead_holder, get_from_the_dead, prove_used, remake_with_dead_holder,
      unmake_full, false, false, 0 },
    { "queue: close with lease", make_leased, close_with_lease, prove_returned, remake_leased, unmake_full, false, false,
      0 },
    { .name = NULL },
};

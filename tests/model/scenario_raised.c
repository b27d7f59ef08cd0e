/* scenario_raised.c - Empty is not said while a message that came back stands below a hint that is being raised.
 *
 * Eight messages in a row are held, so that a scan raises the hint over them; one comes back just then.  The scan takes the
 * hint back down, but until it does, or if it never does because it is killed, others must not rely on the hint.
 */
#include "queues.h"

enum { FIRST = 1, SECOND = 2, THIRD = 3, HELD = 8 };

static struct ipcr_lease held[HELD];
static bool got[2];

static void set_up(void)
{
    make_queue_of_held(&(struct ipcr_queue_options){ .slots = 16 }, HELD, HELD, 0, held);
}

static void try_once(int who)
{
    struct ipcr_lease l;
    const int rc = try_lease(0, &l);
    MUST(rc == IPCR_OK || rc == IPCR_EMPTY);
    got[who] = rc == IPCR_OK;
}

static void nack_then_try(void)
{
    MUST(nack(&held[HELD - 2]) == IPCR_OK);
    try_once(0);
}

static void only_try(void) { try_once(1); }

static void perform(void)
{
    begin_record();
    got[0] = got[1] = false;
    model_start(FIRST, 0, nack_then_try);
    model_start(SECOND, 1, only_try);
    model_fibers[SECOND].mortal = true;
}

static void look(void)
{
    struct ipcr_lane_stats sum;
    act_as(2);
    look_at_stats(&sum);
    if (!got[0] && sum.ready != 0)
        model_fail("it came back and is there, and the queue was empty for whoever had given it back");
}

/* --- and nobody sleeps beside it ---------------------------------------------------------------------------------- */

static void nack_two(void)
{
    MUST(nack(&held[HELD - 2]) == IPCR_OK);
    MUST(nack(&held[HELD - 3]) == IPCR_OK);
}

static void work_off_one(void) { work_off_some(1); }

static void perform_sleep(void)
{
    begin_record();
    model_start(FIRST, 0, nack_two);
    model_start(SECOND, 1, work_off_one);
    model_start(THIRD, 2, work_off_one);
}

/* --- the hint was raised before one comes back -------------------------------------------------------------------- */

/* All are held, and a scan has raised the hint over them. */
static void set_up_raised(void)
{
    struct ipcr_lease none;
    set_up();
    act_as(1);
    MUST(try_lease(0, &none) == IPCR_EMPTY);
}

static void nack_one(void) { MUST(nack(&held[HELD - 2]) == IPCR_OK); }

static void perform_sleep_raised(void)
{
    begin_record();
    model_start(FIRST, 0, nack_one);
    model_start(SECOND, 1, work_off_one);
}

/* The same, and a newer one stands behind them. */
static void set_up_newer(void)
{
    set_up_raised();
    act_as(0);
    (void)put(HELD);
    keep_record();
}

static void nack_then_take(void)
{
    struct ipcr_lease l;
    nack_one();
    MUST(lease(0, &l) == IPCR_OK);
    if (number_of(&l) == HELD)
        model_fail("the newer message is delivered to whoever has just given the older one back");
    MUST(ack(&l) == IPCR_OK);
}

static void perform_newer(void)
{
    begin_record();
    model_start(FIRST, 0, nack_then_take);
}

static const struct scenario scenarios[] = {
    {
        .name = "queue-raised-before-sleep",
        .says = "One comes back below a hint that was raised before: nobody sleeps beside it.",
        .set_up = set_up_raised,
        .perform = perform_sleep_raised,
    },
    {
        .name = "queue-raised-before-newer",
        .says = "The same, with a newer one behind: what came back goes first.",
        .set_up = set_up_newer,
        .perform = perform_newer,
    },
    {
        .name = "queue-raised-hint-sleep",
        .says = "Two come back while a scan raises the hint over them: nobody sleeps beside one.",
        .set_up = set_up,
        .perform = perform_sleep,
    },
    {
        .name = "queue-raised-hint",
        .says = "A message comes back while a scan raises the hint over it: Empty is not said.",
        .set_up = set_up,
        .perform = perform,
        .look = look,
        .deaths = 1,
    },
};
ADD_SCENARIOS(scenarios)

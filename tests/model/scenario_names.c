/* scenario_names.c - who creates, attaches, leaves and cleans up under one name, at the same time. */
#include "stage.h"

#include <errno.h>

static int made, met; /* of the processes: how many have created, how many have attached */

static struct ipcr_segment *set_up_segment;

static void made_by_first(void)
{
    act_as(0);
    set_up_segment = make_channel(0);
}

static void nothing(void) {}

static void made_by_the_dead(void)
{
    made_by_first();
    model_kernel_bury(0);
}

/* While a process is present under a name, the name leads to its segment. */
static void must_be_named(const struct ipcr_segment *segment)
{
    struct ipcr_file_id id;
    MUST(ipcr_os_named("/", "channel", &id) == IPCR_OK && ipcr_same_file(id, segment->id));
}

static void create_and_leave(void)
{
    struct ipcr_segment *segment;
    const int rc = core()->segment_create("/", "channel", IPCR_KIND_CHANNEL, CAPACITY, 0, &segment);
    MUST(rc == IPCR_OK || rc == IPCR_EXISTS);
    if (rc == IPCR_EXISTS)
        return;
    made++;
    must_be_named(segment);
    core()->segment_release(segment);
}

static void attach_and_leave(void)
{
    struct ipcr_segment *segment;
    int fd;
    if (ipcr_os_open("/", "channel", &fd) != IPCR_OK)
        return;
    const int rc = core()->segment_attach(fd, "/", "channel", IPCR_KIND_CHANNEL, false, &segment);
    if (rc != IPCR_OK) {
        MUST(rc == IPCR_AGAIN); /* it is being replaced, or has gone */
        ipcr_os_close(fd);
        return;
    }
    met++;
    must_be_named(segment);
    core()->segment_release(segment);
}

static void first_leaves(void) { core()->segment_release(set_up_segment); }

static void clean_up(void)
{
    const int rc = core()->name_remove("/", "channel", IPCR_REMOVE_ORPHAN);
    MUST(rc == IPCR_OK || rc == IPCR_NOT_FOUND || rc == IPCR_EXISTS);
}

static void nothing_is_left(void) { MUST(model_names() == 0); }

static void start_three(void (*first)(void), void (*second)(void), void (*third)(void))
{
    made = met = 0;
    model_start(1, 0, first);
    model_start(2, 1, second);
    if (third != NULL)
        model_start(3, 2, third);
}

static void two_create(void) { start_three(create_and_leave, create_and_leave, NULL); }
static void leave_and_attach(void) { start_three(first_leaves, attach_and_leave, attach_and_leave); }
static void clean_and_attach(void) { start_three(clean_up, attach_and_leave, clean_up); }
static void replace_an_orphan(void) { start_three(create_and_leave, create_and_leave, clean_up); }

static void create_and_die(void)
{
    start_three(create_and_leave, create_and_leave, NULL);
    model_fibers[1].mortal = true;
}

/* A dead creator may leave an orphan; whoever comes next must be able to replace it. */
static void somebody_can_create(void)
{
    struct ipcr_segment *segment;
    act_as(2);
    MUST(core()->segment_create("/", "channel", IPCR_KIND_CHANNEL, CAPACITY, 0, &segment) == IPCR_OK);
    core()->segment_release(segment);
    MUST(model_names() == 0);
}

static const struct scenario scenarios[] = {
    {
        .name = "names-create",
        .says = "Two create one name: whoever is told that it is theirs has it; the last to leave takes it along.",
        .set_up = nothing,
        .perform = two_create,
        .look = nothing_is_left,
        .patience_ns = 2000000, /* the name lock is polled */
    },
    {
        .name = "names-leave",
        .says = "The last one leaves while others come: who is attached keeps the name.",
        .set_up = made_by_first,
        .perform = leave_and_attach,
        .look = nothing_is_left,
        .patience_ns = 2000000, /* the name lock is polled */
    },
    {
        .name = "names-clean",
        .says = "Two clean up what a dead process left while somebody attaches: what is in use stays.",
        .set_up = made_by_the_dead,
        .perform = clean_and_attach,
        .look = nothing_is_left,
        .patience_ns = 2000000, /* the name lock is polled */
    },
    {
        .name = "names-replace",
        .says = "Two creators and a cleaner meet an orphan: nobody removes the name of somebody alive.",
        .set_up = made_by_the_dead,
        .perform = replace_an_orphan,
        .look = nothing_is_left,
        .patience_ns = 2000000, /* the name lock is polled */
    },
    {
        .name = "names-die",
        .says = "A creator dies anywhere: nothing stays that the next one can't replace.",
        .set_up = nothing,
        .perform = create_and_die,
        .look = somebody_can_create,
        .deaths = 1,
        .patience_ns = UINT64_MAX,
    },
};
ADD_SCENARIOS(scenarios)

/* scenario_names.c - who creates, attaches, leaves and cleans up under one name, at the same time.
 *
 * The property behind all of them: two processes that are present under one name at the same time are present in one
 * segment ("split brain" is impossible), unless somebody has unlinked the name in between.
 */
#include "stage.h"

#include <stdio.h>

static bool name_was_removed; /* by somebody who didn't look whose it was */
static int made, met, cleaned; /* of the processes: how many have created, how many have attached */

static struct ipcr_segment *set_up_segment;
static const struct ipcr_segment *present[PROCESSES]; /* where each process is, between its arrival and its leaving */

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

/* While a process is present under a name, the name leads to its segment, and so do all others' handles. */
static void arrive(struct ipcr_segment *segment)
{
    struct ipcr_file_id id;
    present[model_self()->process] = segment;
    for (int i = 0; i < PROCESSES; i++) /* process i has fiber i + 1 */
        MUST(present[i] == NULL || model_fibers[i + 1].state == DEAD || ipcr_same_file(present[i]->id, segment->id));
    MUST(ipcr_os_named("/", "channel", &id) == IPCR_OK && ipcr_same_file(id, segment->id));
}

static void depart(struct ipcr_segment *segment)
{
    present[model_self()->process] = NULL;
    core()->segment_release(segment);
}

static int create(struct ipcr_segment **segment)
{
    return core()->segment_create("/", "channel", IPCR_KIND_CHANNEL, CAPACITY, 0, segment);
}

static void create_and_leave(void)
{
    struct ipcr_segment *segment;
    const int rc = create(&segment);
    MUST(rc == IPCR_OK || rc == IPCR_EXISTS);
    if (rc == IPCR_EXISTS)
        return;
    made++;
    arrive(segment);
    depart(segment);
}

static struct ipcr_segment *attach(void)
{
    struct ipcr_segment *segment;
    int fd;
    if (ipcr_os_open("/", "channel", &fd) != IPCR_OK)
        return NULL;
    const int rc = core()->segment_attach(fd, "/", "channel", IPCR_KIND_CHANNEL, false, &segment);
    if (rc == IPCR_OK)
        return segment;
    MUST(rc == IPCR_AGAIN); /* it is being replaced, or has gone */
    ipcr_os_close(fd);
    return NULL;
}

static void attach_and_leave(void)
{
    struct ipcr_segment *segment = attach();
    if (segment == NULL)
        return;
    met++;
    arrive(segment);
    depart(segment);
}

static void first_leaves(void) { depart(set_up_segment); }

static void clean_up(void)
{
    const int rc = core()->name_remove("/", "channel", IPCR_REMOVE_ORPHAN);
    MUST(rc == IPCR_OK || rc == IPCR_NOT_FOUND || rc == IPCR_EXISTS);
}

static void nothing_is_left(void) { MUST(model_names() == 0 && model_files() == 0); }

static void start_three(void (*first)(void), void (*second)(void), void (*third)(void))
{
    made = met = cleaned = 0;
    name_was_removed = false;
    memset(present, 0, sizeof present);
    model_start(1, 0, first);
    model_start(2, 1, second);
    if (third != NULL)
        model_start(3, 2, third);
}

static void first_is_there(void) { present[0] = set_up_segment; }
static void two_create(void) { start_three(create_and_leave, create_and_leave, NULL); }
static void leave_and_attach(void)
{
    start_three(first_leaves, attach_and_leave, attach_and_leave);
    first_is_there();
}
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
    MUST(create(&segment) == IPCR_OK);
    core()->segment_release(segment);
    MUST(model_names() == 0 && model_files() == 0);
}

/* --- unlinked on purpose ------------------------------------------------------------------------------------------ */

/* Whoever is attached goes on; the name is free at once, and leads to the new segment from then on. */
static void unlink_and_create(void)
{
    struct ipcr_segment *fresh;
    int rc = core()->segment_unlink(set_up_segment);
    MUST(rc == IPCR_OK || rc == IPCR_NOT_FOUND);
    rc = create(&fresh);
    MUST(rc == IPCR_OK || rc == IPCR_EXISTS);
    if (rc == IPCR_OK) {
        made++;
        struct ipcr_file_id id;
        const int named = ipcr_os_named("/", "channel", &id);
        MUST(name_was_removed || (named == IPCR_OK && ipcr_same_file(id, fresh->id)));
        core()->segment_release(fresh);
    }
    core()->segment_release(set_up_segment);
}

static void come_and_go(void)
{
    struct ipcr_segment *segment = attach();
    if (segment != NULL)
        core()->segment_release(segment);
}

static void unlink_by_name(void)
{
    name_was_removed = true; /* perhaps the new one's */
    const int rc = core()->name_remove("/", "channel", IPCR_REMOVE_ALWAYS);
    MUST(rc == IPCR_OK || rc == IPCR_NOT_FOUND);
}

static void unlink_and_attach(void) { start_three(unlink_and_create, come_and_go, come_and_go); }
static void unlink_twice(void) { start_three(unlink_and_create, unlink_by_name, come_and_go); }

/* --- something unread --------------------------------------------------------------------------------------------- */

static struct ipcr_end *sender;
static char out[LONGEST_MESSAGE];
static int got;

static void made_with_a_message(void)
{
    made_by_first();
    sender = taken_end(set_up_segment, IPCR_SENDER);
    MUST(core()->send(sender, message(0, 40), 40, 0) == IPCR_OK);
}

static void sender_leaves(void)
{
    leave(sender, true);
    core()->segment_release(set_up_segment);
}

/* It can always be had: from a sender that is there, or from the segment that it left. */
static void fetch(void)
{
    struct ipcr_segment *segment;
    while ((segment = attach()) == NULL)
        look_later();
    struct ipcr_end *receiver = open_end(segment, IPCR_RECEIVER);
    uint32_t by;
    if (core()->end_take(receiver, &by) == IPCR_OK) {
        const int64_t length = core()->recv(receiver, out);
        MUST(length == 40 && is_message(out, 0, 40));
        got++;
        MUST(receive(receiver, out) == IPCR_END_OF_CHANNEL);
    }
    leave(receiver, true);
    core()->segment_release(segment);
}

static void leave_unread(void)
{
    got = 0;
    start_three(sender_leaves, fetch, NULL);
}

static void fetched(void)
{
    MUST(got == 1);
    nothing_is_left();
}

/* --- where there is no O_TMPFILE ---------------------------------------------------------------------------------- */

/* As gc does with whatever has the prefix. */
static void clean_temporaries(void)
{
    for (int round = 0; round < 2; round++)
        for (int i = 0; i < 4; i++) {
            char name[64];
            if (model_name(i) == NULL || strncmp(model_name(i), IPCR_TEMPORARY_PREFIX, 16) != 0)
                continue;
            snprintf(name, sizeof name, "%s", model_name(i));
            const int rc = core()->name_remove("/", name, IPCR_REMOVE_ORPHAN);
            MUST(rc == IPCR_OK || rc == IPCR_NOT_FOUND || rc == IPCR_EXISTS);
            cleaned += rc == IPCR_OK;
        }
}

static void create_by_rename(void) { start_three(create_and_leave, create_and_leave, NULL); }
static void create_and_clean(void) { start_three(create_and_leave, clean_temporaries, NULL); }

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
    {
        .name = "names-unlink",
        .says = "A name is unlinked and made anew while others attach: whoever is attached goes on.",
        .set_up = made_by_first,
        .perform = unlink_and_attach,
        .look = nothing_is_left,
        .patience_ns = 2000000,
    },
    {
        .name = "names-unlink-twice",
        .says = "Two unlink one name, and one of them makes it anew.",
        .set_up = made_by_first,
        .perform = unlink_twice,
        .look = nothing_is_left,
        .patience_ns = 2000000,
    },
    {
        .name = "names-unread",
        .says = "A sender closes and leaves: its message can be had, whenever the receiver comes; then all is gone.",
        .set_up = made_with_a_message,
        .perform = leave_unread,
        .look = fetched,
        .patience_ns = UINT64_MAX,
    },
    {
        .name = "names-rename",
        .says = "Two create one name where the file system has no O_TMPFILE.",
        .set_up = nothing,
        .perform = create_by_rename,
        .look = nothing_is_left,
        .no_nameless = true,
        .patience_ns = 2000000,
    },
    {
        .name = "names-rename-clean",
        .says = "The same while somebody cleans up temporary names: the creation begins again.",
        .set_up = nothing,
        .perform = create_and_clean,
        .look = nothing_is_left,
        .no_nameless = true,
        .patience_ns = 2000000,
    },
};
ADD_SCENARIOS(scenarios)

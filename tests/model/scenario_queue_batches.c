/* scenario_queue_batches.c - many messages by one call, beside somebody who takes them one by one. */
#include "queues.h"

enum { FIRST = 1, SECOND = 2, MESSAGES = 3, MOST = 2, A_MOMENT = 1000 };

/* Process 0 has put all; 1 and 2 are ready to take. */
static void set_up(void) { make_queue_of_held(&(struct ipcr_queue_options){ .slots = 4 }, MESSAGES, 0, 0, NULL); }

/* One is copied, and the other has no room.  Others have taken newer ones since: it must not come behind these. */
static void take_two_with_room_for_one(void)
{
    struct ipcr_lease leases[MOST];
    uint64_t count;
    const int rc = try_lease_many(MOST, 1, leases, &count);
    if (rc == IPCR_EMPTY || rc == IPCR_AGAIN)
        return;
    MUST(rc == IPCR_OK && count >= 1);
    for (uint64_t i = 0; i < count; i++)
        MUST(ack(&leases[i]) == IPCR_OK);
}

/* Until all are done with; what the other has may yet come back. */
static void take_one_by_one(void)
{
    uint64_t number;
    while (count_of(record.done) < MESSAGES) {
        const int rc = try_get(&number);
        MUST(rc == IPCR_OK || rc == IPCR_EMPTY || rc == IPCR_AGAIN);
        if (rc == IPCR_EMPTY)
            model_block(NULL, model_now + A_MOMENT);
    }
}

static void perform(void)
{
    begin_record();
    record.comes_back = false; /* nothing was held */
    model_start(FIRST, 1, take_two_with_room_for_one);
    model_start(SECOND, 2, take_one_by_one);
}

static const struct scenario scenarios[] = {
    { .name = "queue-batch-in-order", .says = "What a batch has no room for doesn't come behind what others have taken.",
      .set_up = set_up, .perform = perform, .patience_ns = A_MOMENT },
};
ADD_SCENARIOS(scenarios)

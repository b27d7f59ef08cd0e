/* batches.h - sending and taking batches of messages of one piece and one kind. */
#ifndef IPCR_TESTS_BATCHES_H
#define IPCR_TESTS_BATCHES_H

#include "transfer.h"

enum { MOST_IN_A_BATCH = 128 };

static inline int64_t send_batch(struct ipcr_end *e, const char *messages, const uint64_t *lengths, uint64_t count,
                                 uint64_t info)
{
    uint64_t counts[MOST_IN_A_BATCH], infos[MOST_IN_A_BATCH];
    for (uint64_t i = 0; i < count && i < MOST_IN_A_BATCH; i++) {
        counts[i] = 1;
        infos[i] = info;
    }
    return ipcr_send_many(e, messages, lengths, counts, infos, count);
}

static uint64_t run_start __attribute__((unused)); /* where the run began that was looked at last */

static inline int64_t recv_batch(struct ipcr_end *e, char *out, uint64_t room, uint64_t most)
{
    int64_t results[MOST_IN_A_BATCH];
    return ipcr_recv_many(e, out, room, results, most < MOST_IN_A_BATCH ? most : MOST_IN_A_BATCH, true, &run_start);
}

#endif

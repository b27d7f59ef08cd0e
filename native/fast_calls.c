/* fast_calls.c - the table that the accelerator gets; see fast_calls.h. */
#include "fast_calls.h"

static const struct ipcr_fast_calls calls = {
    .version = IPCR_FAST_CALLS_VERSION,
    .bytes = sizeof(struct ipcr_fast_calls),
    .send_bytes = ipcr_send_bytes,
    .batch_begin = ipcr_batch_begin,
    .batch_add = ipcr_batch_add,
    .batch_end = ipcr_batch_end,
    .reading_begin = ipcr_reading_begin,
    .reading_next = ipcr_reading_next,
    .reading_end = ipcr_reading_end,
    .spin_for_data = ipcr_spin_for_data,
    .queue_put = ipcr_queue_put_one,
    .queue_get = ipcr_queue_try_get_into,
    .queue_lease = ipcr_queue_lease_into,
    .queue_lease_many = ipcr_queue_lease_many,
    .lease_end_many = ipcr_lease_end_many,
    .queue_spin = ipcr_queue_spin_for_message,
    .lease_ack = ipcr_lease_ack,
    .lease_nack = ipcr_lease_nack,
    .publish = ipcr_publish,
    .subscriber_try_recv_into = ipcr_subscriber_try_recv_into,
    .subscriber_recv_into = ipcr_subscriber_recv_into,
    .subscriber_copy = ipcr_subscriber_copy,
};

const void *ipcr_fast_calls(void) { return &calls; }

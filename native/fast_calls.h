/* fast_calls.h - what the accelerator (native/fast/) may call.
 *
 * The accelerator is a shared object of its own and compiles nothing of the core: it gets the address of this
 * table from the cffi module, which has the only copy of the core and of its statics.
 */
#ifndef IPCR_FAST_CALLS_H
#define IPCR_FAST_CALLS_H

#include "multicast.h"
#include "queue.h"

#define IPCR_FAST_CALLS_VERSION 6u

struct ipcr_fast_calls {
    uint32_t version; /* an accelerator left over from another build is refused */
    uint32_t bytes;
    int (*send_bytes)(struct ipcr_end *e, const char *message, uint64_t length);
    int (*batch_begin)(struct ipcr_end *e);
    int (*batch_add)(struct ipcr_end *e, const char *message, uint64_t length, uint64_t info);
    void (*batch_end)(struct ipcr_end *e);
    int64_t (*reading_begin)(struct ipcr_end *e, const char **payload);
    int64_t (*reading_next)(struct ipcr_end *e, const char **payload);
    void (*reading_end)(struct ipcr_end *e, int taken);
    void (*spin_for_data)(struct ipcr_end *e);
    int64_t (*queue_put)(struct ipcr_queue *q, const char *message, uint64_t length, uint64_t info, uint64_t ttl_ns);
    int64_t (*queue_get)(struct ipcr_queue_inbox *inbox);
    int64_t (*queue_lease)(struct ipcr_queue_inbox *inbox, struct ipcr_lease *lease, uint64_t lease_ns);
    int64_t (*queue_lease_many)(struct ipcr_queue *q, char *out, uint64_t room, struct ipcr_lease *leases,
                                int64_t *results, uint64_t most);
    uint64_t (*lease_end_many)(struct ipcr_queue *q, const struct ipcr_lease *leases, uint64_t count, uint64_t taken);
    bool (*queue_spin)(struct ipcr_queue *q);
    int (*lease_ack)(struct ipcr_queue *q, const struct ipcr_lease *lease);
    int (*lease_nack)(struct ipcr_queue *q, const struct ipcr_lease *lease, uint64_t delay_ns);
    int64_t (*publish)(struct ipcr_publisher *p, const struct ipcr_topic *topic, const struct ipcr_piece *pieces,
                       uint64_t count, uint64_t info);
    int (*publisher_wait)(struct ipcr_publisher *p, uint64_t deadline_ns, int resume);
    void (*publisher_stop_waiting)(struct ipcr_publisher *p);
    int64_t (*subscriber_try_recv_into)(struct ipcr_subscriber_inbox *inbox);
    int64_t (*subscriber_recv_into)(struct ipcr_subscriber_inbox *inbox);
    int64_t (*subscriber_copy)(struct ipcr_subscriber *s, char *out, uint64_t room);
    int (*subscriber_wait)(struct ipcr_subscriber *s, uint64_t deadline_ns, int resume);
    void (*subscriber_stop_waiting)(struct ipcr_subscriber *s);
    int (*claim)(struct ipcr_end *e, uint64_t length);
    char *(*lent)(struct ipcr_end *e);
    uint64_t (*lent_skew)(const struct ipcr_end *e);
    int (*commit)(struct ipcr_end *e, uint64_t length, uint64_t info);
    int (*abort)(struct ipcr_end *e);
    int64_t (*peek)(struct ipcr_end *e);
    int (*release)(struct ipcr_end *e);
    int (*publisher_claim)(struct ipcr_publisher *p, const struct ipcr_topic *topic, uint64_t length);
    char *(*publisher_lent)(const struct ipcr_publisher *p);
    int64_t (*publisher_commit)(struct ipcr_publisher *p, uint64_t length, uint64_t info);
    int (*publisher_abort)(struct ipcr_publisher *p);
    int64_t (*subscriber_peek)(struct ipcr_subscriber *s);
    int64_t (*subscriber_spin_and_peek)(struct ipcr_subscriber *s);
    const char *(*subscriber_lent)(const struct ipcr_subscriber *s);
    int (*subscriber_put_back)(struct ipcr_subscriber *s);
    int (*subscriber_release)(struct ipcr_subscriber *s);
};

const void *ipcr_fast_calls(void);

#endif

/* multicasts.h - multicasts with messages in them: made, published, received and looked at from outside.
 *
 * A message's payload tells its number: what is received is checked by that, and not only by what the core says of it.
 */
#ifndef IPCR_TESTS_MULTICASTS_H
#define IPCR_TESTS_MULTICASTS_H

#include "check.h"
#include "multicast.h"
#include "multicast_stats.h"
#include "registry.h"

enum { DATA = 4096, LENGTH = 24 }; /* bytes of data in the smallest multicast; of a message where it doesn't matter */

#define LENGTH_OF(result) ((uint64_t)(result) & ((UINT64_C(1) << IPCR_RESULT_ENCODING_SHIFT) - 1))
#define ENCODING_OF(result) ((uint64_t)(result) >> IPCR_RESULT_ENCODING_SHIFT & 0xff)
#define SKEW_OF(result) (((uint64_t)(result) >> IPCR_RESULT_SKEW_SHIFT & 7) * 8)

static const struct ipcr_multicast_options lossless = { .policy = IPCR_LOSSLESS };
static const struct ipcr_multicast_options lossy = { .policy = IPCR_LOSSY };
static const struct ipcr_multicast_options evicting = { .policy = IPCR_LOSSLESS, .on_laggard = IPCR_EVICT_LAGGARDS };

/* --- making ------------------------------------------------------------------------------------------------------- */

static inline struct ipcr_segment *multicast_of(uint64_t capacity, uint32_t entries,
                                                const struct ipcr_multicast_options *options, uint64_t start)
{
    struct ipcr_segment *s = NULL;
    CHECK_IS(ipcr_segment_create_multicast(NULL, "ipc:test", capacity, entries, options, start, &s), IPCR_OK);
    return s;
}

static inline struct ipcr_publisher *publisher_on(struct ipcr_segment *s)
{
    struct ipcr_publisher *p = NULL;
    uint32_t by = 0;
    CHECK_IS(ipcr_publisher_open(s, 0, &by, &p), IPCR_OK);
    return p;
}

static inline struct ipcr_subscriber *subscribe(struct ipcr_segment *s, struct ipcr_subscription wanted,
                                                const struct ipcr_topic *topics)
{
    struct ipcr_subscriber *r = NULL;
    uint64_t oldest, next;
    CHECK_IS(ipcr_subscriber_open(s, &wanted, topics, &oldest, &next, &r), IPCR_OK);
    return r;
}

static inline struct ipcr_subscriber *subscriber_on(struct ipcr_segment *s, uint32_t start)
{
    return subscribe(s, (struct ipcr_subscription){ .start = start }, NULL);
}

static inline struct ipcr_subscriber *observer_on(struct ipcr_segment *s, uint32_t start)
{
    return subscribe(s, (struct ipcr_subscription){ .start = start, .observe = 1, .interval_ns = 100000 }, NULL);
}

static inline int try_subscribe(struct ipcr_segment *s, struct ipcr_subscription wanted, uint64_t *oldest, uint64_t *next)
{
    struct ipcr_subscriber *r = NULL;
    const int rc = ipcr_subscriber_open(s, &wanted, NULL, oldest, next, &r);
    if (rc == IPCR_OK)
        ipcr_subscriber_free(r);
    return rc;
}

static inline struct ipcr_topic topic_of(const char *name)
{
    const uint64_t length = strlen(name);
    return (struct ipcr_topic){ .name = name, .length = length, .number = ipcr_topic_number(name, length) };
}

/* --- dying: what the kernel does, and nothing else ----------------------------------------------------------------- */

static inline void die(struct ipcr_hold *hold, struct ipcr_segment *segment, void *end)
{
    ipcr_registry_lock();
    ipcr_hold_drop(hold);
    ipcr_registry_unlock();
    ipcr_segment_release(segment);
    free(end);
}

static inline void die_publishing(struct ipcr_publisher *p) { die(&p->hold, p->segment, p); }
static inline void die_subscribed(struct ipcr_subscriber *s) { die(&s->hold, s->segment, s); }

/* --- messages that know their number ------------------------------------------------------------------------------- */

/* The next message, of that length. */
static inline int64_t try_publish_of(struct ipcr_publisher *p, uint64_t length)
{
    static _Thread_local uint8_t message[64 * DATA];
    const uint64_t number = p->next;
    CHECK(length <= sizeof message);
    stamp(message, length, number);
    const int64_t rc = ipcr_publish_bytes(p, (const char *)message, length);
    CHECK(rc < 0 || rc == (int64_t)number);
    return rc;
}

static inline int64_t try_publish(struct ipcr_publisher *p) { return try_publish_of(p, LENGTH); }

static inline void publish(struct ipcr_publisher *p, int n)
{
    for (int i = 0; i < n; i++)
        CHECK(try_publish(p) >= 0);
}

static inline int until_full(struct ipcr_publisher *p)
{
    int n = 0;
    int64_t rc;
    while ((rc = try_publish(p)) >= 0)
        n++;
    CHECK_IS(rc, IPCR_FULL);
    return n;
}

static inline int64_t try_receive_of(struct ipcr_subscriber *s, uint64_t *length)
{
    static _Thread_local char message[64 * DATA];
    const int64_t result = ipcr_subscriber_copy(s, message, sizeof message);
    *length = 0;
    if (result < 0)
        return result;
    CHECK((result & IPCR_RESULT_LENT) == 0);
    *length = LENGTH_OF(result);
    CHECK(is_stamped((const uint8_t *)message, *length, ipcr_subscriber_last_sequence(s)));
    return (int64_t)ipcr_subscriber_last_sequence(s);
}

/* Its number, or a status. */
static inline int64_t try_receive(struct ipcr_subscriber *s)
{
    uint64_t length;
    return try_receive_of(s, &length);
}

static inline void check_receives(struct ipcr_subscriber *s, uint64_t from, uint64_t n)
{
    for (uint64_t i = 0; i < n; i++)
        CHECK_IS(try_receive(s), from + i);
}

static inline void check_has_nothing(struct ipcr_subscriber *s) { CHECK_IS(try_receive(s), IPCR_EMPTY); }

/* --- waiting ------------------------------------------------------------------------------------------------------- */

static inline int wait_for_room(struct ipcr_publisher *p, uint64_t deadline_ns)
{
    int resume = 0, rc;
    while ((rc = ipcr_publisher_wait(p, deadline_ns, resume)) == IPCR_AGAIN)
        resume = 1;
    return rc;
}

static inline int wait_for_message(struct ipcr_subscriber *s, uint64_t deadline_ns)
{
    int resume = 0, rc;
    while ((rc = ipcr_subscriber_wait(s, deadline_ns, resume)) == IPCR_AGAIN)
        resume = 1;
    return rc;
}

/* As Python does: the message, however long that takes. */
static inline int64_t publish_waiting(struct ipcr_publisher *p, uint64_t length)
{
    int64_t rc;
    while ((rc = try_publish_of(p, length)) == IPCR_FULL) {
        const int waited = wait_for_room(p, IPCR_FOREVER);
        if (waited != IPCR_OK)
            return waited;
    }
    return rc;
}

static inline int64_t receive_waiting(struct ipcr_subscriber *s)
{
    int64_t rc;
    while ((rc = try_receive(s)) == IPCR_EMPTY || rc == IPCR_AGAIN) {
        const int waited = wait_for_message(s, IPCR_FOREVER);
        if (waited != IPCR_OK)
            return waited;
    }
    return rc;
}

/* --- from outside --------------------------------------------------------------------------------------------------- */

static inline struct ipcr_multicast_header *header_of(const struct ipcr_segment *s) { return ipcr_multicast_header(s); }

static inline uint32_t state_of(const struct ipcr_subscriber *s)
{
    return load_acquire32(&header_of(s->segment)->cursor[s->number].state) & IPCR_CURSOR_MASK;
}

#endif

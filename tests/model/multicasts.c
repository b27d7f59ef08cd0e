/* multicasts.c - see multicasts.h. */
#include "multicasts.h"

static struct ipcr_segment *segments[PROCESSES];

struct ipcr_segment *multicast(void) { return segments[model_self()->process]; }

void make_multicast_with(uint32_t entries, const struct ipcr_multicast_options *options)
{
    MUST(core()->segment_create_multicast("/", "multicast", CAPACITY_OF_ALL, entries, options, START_SEQUENCE,
                                          &segments[model_self()->process]) == IPCR_OK);
}

void make_multicast(uint32_t entries, uint64_t policy, uint64_t on_laggard)
{
    make_multicast_with(entries, &(struct ipcr_multicast_options){ .policy = policy, .on_laggard = on_laggard });
}

void join_multicast(void)
{
    int fd;
    MUST(ipcr_os_open("/", "multicast", &fd) == IPCR_OK);
    MUST(core()->segment_attach(fd, "/", "multicast", IPCR_KIND_MULTICAST, false, &segments[model_self()->process]) ==
         IPCR_OK);
}

int open_publisher(struct ipcr_publisher **out)
{
    uint32_t by;
    return core()->publisher_open(multicast(), 0, &by, out);
}

struct ipcr_publisher *new_publisher(void)
{
    struct ipcr_publisher *p;
    MUST(open_publisher(&p) == IPCR_OK);
    return p;
}

static struct ipcr_subscriber *subscribe(const struct ipcr_subscription *wanted)
{
    struct ipcr_subscriber *s;
    uint64_t oldest, next;
    MUST(core()->subscriber_open(multicast(), wanted, NULL, &oldest, &next, &s) == IPCR_OK);
    return s;
}

struct ipcr_subscriber *new_subscriber(uint32_t start)
{
    return subscribe(&(struct ipcr_subscription){ .start = start });
}

struct ipcr_subscriber *new_observer(uint32_t start)
{
    return subscribe(&(struct ipcr_subscription){ .start = start, .observe = 1, .interval_ns = 1000 });
}

int wait_for_room_of(struct ipcr_publisher *p)
{
    int resume = 0, rc;
    while ((rc = core()->publisher_wait(p, IPCR_FOREVER, resume)) == IPCR_AGAIN)
        resume = 1;
    return rc;
}

int wait_for_message_of(struct ipcr_subscriber *s)
{
    int resume = 0, rc;
    while ((rc = core()->subscriber_wait(s, IPCR_FOREVER, resume)) == IPCR_AGAIN)
        resume = 1;
    return rc;
}

int publish_next(struct ipcr_publisher *p, int64_t sequence)
{
    for (;;) {
        const int64_t rc = core()->publish_bytes(p, message(p->next, LENGTH_OF_ALL), LENGTH_OF_ALL);
        if (rc >= 0) {
            MUST(sequence < 0 || rc == sequence);
            return IPCR_OK;
        }
        if (rc != IPCR_FULL)
            return (int)rc;
        const int waited = wait_for_room_of(p);
        if (waited != IPCR_OK)
            return waited;
    }
}

void publish_whole_rings(struct ipcr_publisher *p, int n)
{
    for (int i = 0; i < n; i++) {
        MUST(core()->publisher_claim(p, NULL, NEARLY_ALL) == IPCR_OK);
        MUST(core()->publisher_commit(p, USED_OF_IT, IPCR_INFO(0, IPCR_BYTES)) == START_SEQUENCE + i);
    }
}

int64_t try_receive(struct ipcr_subscriber *s)
{
    char bytes[64];
    const int64_t rc = core()->subscriber_copy(s, bytes, sizeof bytes);
    if (rc < 0)
        return rc;
    const uint64_t sequence = core()->subscriber_last_sequence(s);
    if (rc != LENGTH_OF_ALL || !is_message(bytes, sequence, LENGTH_OF_ALL))
        model_fail("message %d is torn", (int)sequence);
    return (int64_t)sequence;
}

int64_t receive_next(struct ipcr_subscriber *s)
{
    for (;;) {
        const int64_t rc = try_receive(s);
        if (rc != IPCR_EMPTY)
            return rc;
        const int waited = wait_for_message_of(s);
        if (waited != IPCR_OK)
            return waited;
    }
}

void receive_all(struct ipcr_subscriber *s, int64_t from, int n)
{
    for (int i = 0; i < n; i++) {
        const int64_t sequence = receive_next(s);
        if (sequence != from + i)
            model_fail("message %d comes to %d", (int)from + i, (int)sequence);
    }
}

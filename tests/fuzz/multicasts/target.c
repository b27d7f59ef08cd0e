/* target.c - one input from its beginning to its end; see target.h. */
#include "target.h"
#include "kernel.h"
#include "peer.h"
#include "registry.h"
#include "watch.h"

#include <string.h>

const uint8_t fuzzed_operations = OPERATIONS;

static char long_name[IPCR_MOST_TOPIC + 1];
struct ipcr_topic topics[TOPICS] = {
    { .name = "a", .length = 1 },
    { .name = "prices.eur", .length = 10 },
    { .name = long_name, .length = IPCR_MOST_TOPIC },
    { .name = "b", .length = 1 },
    { .name = long_name, .length = IPCR_MOST_TOPIC + 1 },
};

static void name_topics(void)
{
    if (long_name[0] != 0)
        return;
    memset(long_name, 'x', sizeof long_name);
    for (int i = 0; i < TOPICS; i++)
        topics[i].number = ipcr_topic_number(topics[i].name, topics[i].length);
    topics[3].number = topics[0].number; /* as if the hash were the same */
}

static const uint64_t attach_statuses = STATUS(IPCR_CORRUPT) | STATUS(IPCR_NOT_OURS) | STATUS(IPCR_VERSION) |
                                        STATUS(IPCR_TIME_NAMESPACE) | STATUS(IPCR_AGAIN) | STATUS(IPCR_KIND);

/* Of what was attached, and may never be believed otherwise. */
static void check_geometry(const struct ipcr_segment *s)
{
    const struct ipcr_multicast_options *o = &s->multicast;
    if (s->lanes < 2 || (s->lanes & (s->lanes - 1)) != 0)
        violation("a number of entries that can't be one", s->lanes);
    if (o->policy > IPCR_LOSSY || o->on_laggard > IPCR_EVICT_LAGGARDS || o->max_lag > INT64_MAX)
        violation("options that there are not", o->policy);
}

struct ipcr_segment *stage_segment(struct stage *stage, uint32_t place)
{
    const bool named = (stage->setup & SETUP_NAMED) != 0;
    if (stage->segment[place] != NULL)
        return stage->segment[place];
    const int fd = kernel_open();
    if (fd < 0)
        return NULL;
    watch_begin(NULL);
    const int rc = ipcr_segment_attach(fd, named ? KERNEL_DIR : NULL, named ? KERNEL_NAME : NULL, IPCR_KIND_MULTICAST,
                                       !named, &stage->segment[place]);
    check_status(rc, attach_statuses, "attach");
    if (rc != IPCR_OK) {
        ipcr_os_close(fd);
        return stage->segment[place] = NULL;
    }
    check_geometry(stage->segment[place]);
    watch_know(stage->segment[place], (const uint8_t *)stage->segment[place]->header, 2);
    return stage->segment[place];
}

struct ipcr_publisher *stage_publisher(struct stage *stage, uint32_t handle)
{
    struct ipcr_segment *s = stage_segment(stage, place_of(handle));
    uint32_t by = 0;
    if (stage->publisher[handle] != NULL || s == NULL)
        return stage->publisher[handle];
    watch_take_role(s);
    const int rc = ipcr_publisher_open(s, (stage->setup & SETUP_SPIN) != 0 ? IPCR_SPIN_AUTO : 0, &by,
                                       &stage->publisher[handle]);
    check_status(rc, STATUS(IPCR_TAKEN) | STATUS(IPCR_CORRUPT) | STATUS(IPCR_NOT_FOUND), "publisher_open");
    return stage->publisher[handle];
}

void stage_subscribe(struct stage *stage, uint32_t handle, uint8_t want, uint64_t sequence)
{
    struct ipcr_segment *s = stage_segment(stage, place_of(handle));
    uint64_t oldest = 0, next = 0;
    const struct ipcr_subscription wanted = {
        .start = (want & WANT_START) % 3u,
        .on_lap = (want & WANT_TO_LATEST) != 0 ? IPCR_LAP_TO_LATEST : IPCR_LAP_TO_OLDEST,
        .sequence = sequence,
        .observe = (want & WANT_OBSERVE) != 0,
        .topics = want / WANT_TOPICS % TOPICS,
        .interval_ns = 5000000,
        .spin_ns = (stage->setup & SETUP_SPIN) != 0 ? IPCR_SPIN_AUTO : 0,
    };
    stage_free_subscriber(stage, handle, true);
    if (s == NULL)
        return;
    watch_join(s);
    const int rc = ipcr_subscriber_open(s, &wanted, topics, &oldest, &next, &stage->subscriber[handle]);
    check_status(rc, STATUS(IPCR_TAKEN) | STATUS(IPCR_CORRUPT) | STATUS(IPCR_NOT_FOUND), "subscriber_open");
    const struct ipcr_subscriber *made = stage->subscriber[handle];
    if (rc != IPCR_OK || made->mapped == NULL)
        return;
    if (made->mapped_bytes != s->header_bytes + s->capacity)
        violation("an observer's own mapping is of another size", made->mapped_bytes);
    watch_know(s, made->mapped, 1);
}

struct ipcr_subscriber *stage_subscriber(struct stage *stage, uint32_t handle)
{
    static const uint8_t wants[SUBSCRIBERS] = {
        IPCR_START_OLDEST, IPCR_START_OLDEST, IPCR_START_LATEST, IPCR_START_OLDEST | 2 * WANT_TOPICS,
        IPCR_START_OLDEST | WANT_OBSERVE, IPCR_START_OLDEST | WANT_TO_LATEST | WANT_TOPICS,
    };
    if (stage->subscriber[handle] == NULL)
        stage_subscribe(stage, handle, wants[handle], 0);
    return stage->subscriber[handle];
}

/* What the kernel does for a process that ends at once: its locks go, and its words stay. */
static void die(struct ipcr_seat *seat, struct ipcr_hold *hold)
{
    if (exchange_acq_rel32(&seat->closing, 1) == 0)
        ipcr_hold_drop(hold);
}

void stage_free_publisher(struct stage *stage, uint32_t handle, bool clean)
{
    struct ipcr_publisher *p = stage->publisher[handle];
    if (p == NULL)
        return;
    watch_publish(p);
    if (clean)
        ipcr_publisher_close(p);
    else
        die(&p->seat, &p->hold);
    watch_forget();
    ipcr_publisher_free(p);
    stage->publisher[handle] = NULL;
}

void stage_free_subscriber(struct stage *stage, uint32_t handle, bool clean)
{
    struct ipcr_subscriber *s = stage->subscriber[handle];
    if (s == NULL)
        return;
    watch_subscribe(s);
    if (clean)
        ipcr_subscriber_close(s);
    else
        die(&s->seat, &s->hold);
    watch_forget();
    ipcr_subscriber_free(s);
    stage->subscriber[handle] = NULL;
}

void stage_detach(struct stage *stage, uint32_t place)
{
    for (uint32_t i = 0; i < PUBLISHERS; i++)
        if (place_of(i) == place)
            stage_free_publisher(stage, i, true);
    for (uint32_t i = 0; i < SUBSCRIBERS; i++)
        if (place_of(i) == place)
            stage_free_subscriber(stage, i, true);
    watch_begin(stage->segment[place]);
    watch_forget();
    if (stage->segment[place] != NULL)
        ipcr_segment_release(stage->segment[place]);
    stage->segment[place] = NULL;
}

void stage_create(struct stage *stage)
{
    static const uint32_t entries[4] = { 2, 4, 16, 64 };
    static const uint64_t lags[4] = { 0, 1, 3, 40 };
    const uint64_t capacity = ipcr_os_page_bytes() << 2 * (stage->setup & SETUP_LARGE);
    const uint8_t policy = stage->setup / SETUP_POLICY;
    const struct ipcr_multicast_options options = {
        .policy = policy == 2 ? IPCR_LOSSY : IPCR_LOSSLESS,
        .on_laggard = policy == 1 ? IPCR_EVICT_LAGGARDS : IPCR_WAIT_FOR_LAGGARDS,
        .max_lag = policy == 2 ? 0 : lags[stage->options % 4],
    };
    const bool named = (stage->setup & SETUP_NAMED) != 0;
    const uint32_t n = entries[stage->setup / SETUP_ENTRIES % 4];
    const int rc = ipcr_segment_create_multicast(named ? KERNEL_DIR : NULL, KERNEL_NAME, capacity, n, &options,
                                                 (stage->setup & SETUP_NEAR_END) != 0 ? (UINT64_C(1) << 62) - 20 : 0,
                                                 &stage->segment[0]);
    if (rc != IPCR_OK)
        violation("no segment", (uint64_t)rc);
    watch_lay_out(n, capacity);
    watch_know(stage->segment[0], (const uint8_t *)stage->segment[0]->header, 2);
}

static void operate(struct stage *stage, struct input *in)
{
    const enum operation op = take8(in) % OPERATIONS;
    if (op <= OP_STORM || op == OP_LAPS)
        peer_operation(op, in);
    else if (op <= OP_PUBLISHER_LOOKS)
        publish_operation(stage, op, in);
    else if (op <= OP_SUBSCRIBER_LOOKS)
        subscribe_operation(stage, op, in);
    else
        life_operation(stage, op, in);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input in = { .at = data, .behind = data + size };
    struct stage stage = { .setup = take8(&in), .options = take8(&in) };
    name_topics();
    kernel_reset(MOST_PAGES);
    watch_reset();
    stage_create(&stage);
    for (int i = 0; i < MOST_OPERATIONS && in.at < in.behind; i++)
        operate(&stage, &in);
    peer_storm(0);
    for (uint32_t place = 0; place < ATTACHED; place++)
        stage_detach(&stage, place);
    if (!kernel_is_idle())
        violation("something is left after everything was closed", 0);
    return 0;
}

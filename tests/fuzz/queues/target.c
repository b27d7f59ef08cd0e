/* target.c - one input from its beginning to its end; see target.h. */
#include "target.h"
#include "kernel.h"
#include "peer.h"
#include "registry.h"
#include "watch.h"

const uint8_t fuzzed_operations = OPERATIONS;

static const uint64_t attach_statuses = STATUS(IPCR_CORRUPT) | STATUS(IPCR_NOT_OURS) | STATUS(IPCR_VERSION) |
                                        STATUS(IPCR_TIME_NAMESPACE) | STATUS(IPCR_AGAIN) | STATUS(IPCR_KIND);

/* As the binding does: of the kind that it wants, or of any. */
struct ipcr_segment *stage_segment(struct stage *stage, uint32_t place)
{
    const bool named = (stage->setup & SETUP_NAMED) != 0;
    const uint32_t kind = (stage->setup & SETUP_RELIABLE) != 0 ? IPCR_KIND_RELIABLE : IPCR_KIND_QUEUE;
    if (stage->segment[place] != NULL)
        return stage->segment[place];
    const int fd = kernel_open();
    if (fd < 0)
        return NULL;
    watch_begin(NULL, NULL, WATCH_TAKING);
    const int rc = ipcr_segment_attach(fd, named ? KERNEL_DIR : NULL, named ? KERNEL_NAME : NULL, kind, !named,
                                       &stage->segment[place]);
    check_status(rc, attach_statuses, "attach");
    if (rc != IPCR_OK) {
        ipcr_os_close(fd);
        return stage->segment[place] = NULL;
    }
    watch_know(stage->segment[place]);
    return stage->segment[place];
}

struct ipcr_queue *stage_queue(struct stage *stage, uint32_t handle)
{
    struct ipcr_segment *s = stage_segment(stage, place_of(handle));
    if (stage->queue[handle] != NULL || s == NULL)
        return stage->queue[handle];
    const int rc = ipcr_queue_open(s, (stage->setup & SETUP_SPIN) != 0 ? IPCR_SPIN_AUTO : 0, &stage->queue[handle]);
    check_status(rc, 0, "open");
    return stage->queue[handle];
}

/* What the kernel does for a process that ends at once. */
static void die(struct ipcr_queue *q)
{
    if (q->registered)
        ipcr_hold_drop(&q->hold);
    q->registered = false;
    for (; q->lanes_taken > 0; q->lanes_taken--)
        ipcr_producer_give_back(&q->own[q->lanes_taken - 1]);
}

void stage_free(struct stage *stage, uint32_t handle, bool clean)
{
    struct ipcr_queue *q = stage->queue[handle];
    if (q == NULL)
        return;
    watch_begin(q->segment, q, WATCH_TAKING);
    if (!clean)
        die(q);
    ipcr_queue_free(q);
    stage->queue[handle] = NULL;
    stage->taken[handle] = 0;
    stage->last_id[handle] = 0;
}

void stage_detach(struct stage *stage, uint32_t place)
{
    for (uint32_t i = 0; i < HANDLES; i++)
        if (place_of(i) == place)
            stage_free(stage, i, true);
    watch_begin(stage->segment[place], NULL, WATCH_TAKING);
    if (stage->segment[place] != NULL)
        ipcr_segment_release(stage->segment[place]);
    stage->segment[place] = NULL;
    watch_forget();
}

void stage_hold(struct stage *stage, uint32_t handle, const struct ipcr_lease *lease)
{
    stage->held[handle][stage->taken[handle]++ % HELD] = *lease;
}

struct ipcr_lease *stage_held(struct stage *stage, uint32_t handle, uint8_t pick)
{
    const uint32_t there = stage->taken[handle] < HELD ? stage->taken[handle] : HELD;
    return there == 0 ? NULL : &stage->held[handle][(stage->taken[handle] - 1 - pick % there) % HELD];
}

void stage_create(struct stage *stage)
{
    static const uint64_t slots[4] = { 2, 4, 16, 64 }, deliveries[4] = { 0, 1, 2, IPCR_MOST_DELIVERIES };
    const uint64_t capacity = ipcr_os_page_bytes() << 2 * (stage->setup & SETUP_LARGE);
    const uint32_t lanes = stage->options % 4 == 0 ? LANES : stage->options % 4;
    const struct ipcr_queue_options options = {
        .slots = slots[stage->setup / SETUP_SLOTS % 4],
        .maxsize = (stage->options & 16) != 0 ? 3 : 0,
        .max_deliveries = deliveries[stage->options / 4 % 4],
        .lanes_each = (stage->setup & SETUP_TWO_LANES) != 0 ? 2 : 1,
    };
    const bool named = (stage->setup & SETUP_NAMED) != 0;
    const int rc = ipcr_segment_create_queue(
        named ? KERNEL_DIR : NULL, KERNEL_NAME,
        (stage->setup & SETUP_RELIABLE) != 0 ? IPCR_KIND_RELIABLE : IPCR_KIND_QUEUE, capacity, lanes, &options,
        (stage->setup & SETUP_NEAR_WRAP) != 0 ? 0 - UINT64_C(40) : 0, &stage->segment[0]);
    if (rc != IPCR_OK)
        violation("no segment", (uint64_t)rc);
    watch_lay_out(lanes, options.slots, capacity);
    watch_know(stage->segment[0]);
}

static void operate(struct stage *stage, struct input *in)
{
    const enum operation op = take8(in) % OPERATIONS;
    if (op <= OP_STORM)
        peer_operation(op, in);
    else if (op <= OP_OUTCOME)
        put_operation(stage, op, in);
    else if (op <= OP_SPIN)
        take_operation(stage, op, in);
    else if (op <= OP_REQUEUE)
        end_operation(stage, op, in);
    else
        life_operation(stage, op, in);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input in = { .at = data, .behind = data + size };
    struct stage stage = { .setup = take8(&in), .options = take8(&in) };
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

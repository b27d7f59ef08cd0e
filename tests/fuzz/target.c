/* target.c - one input from its beginning to its end; see target.h. */
#include "target.h"
#include "kernel.h"
#include "peer.h"
#include "registry.h"
#include "stats.h"
#include "watch.h"

const uint8_t fuzzed_operations = OPERATIONS;

static const uint64_t attach_statuses = STATUS(IPCR_CORRUPT) | STATUS(IPCR_NOT_OURS) | STATUS(IPCR_VERSION) |
                                        STATUS(IPCR_TIME_NAMESPACE) | STATUS(IPCR_AGAIN) | STATUS(IPCR_KIND);

static bool attach(struct stage *stage, uint32_t side)
{
    const bool named = (stage->setup & SETUP_NAMED) != 0;
    const int fd = kernel_open();
    if (fd < 0)
        return false;
    watch_begin(NULL);
    const int rc = ipcr_segment_attach(fd, named ? KERNEL_DIR : NULL, named ? KERNEL_NAME : NULL, 0, !named,
                                       &stage->segment[side]);
    check_status(rc, attach_statuses, "attach");
    if (rc != IPCR_OK)
        ipcr_os_close(fd);
    return rc == IPCR_OK;
}

struct ipcr_end *stage_end(struct stage *stage, uint32_t side)
{
    uint32_t by;
    if (stage->segment[side] == NULL && !attach(stage, side))
        return NULL;
    if (stage->end[side] == NULL) {
        const int rc = ipcr_end_open(stage->segment[side], side, (stage->setup & SETUP_SPIN) != 0 ? IPCR_SPIN_AUTO : 0,
                                     &stage->end[side]);
        check_status(rc, 0, "open");
        if (rc != IPCR_OK)
            return NULL;
    }
    if (stage->end[side]->taken_generation == 0) {
        watch_begin(NULL);
        const int rc = ipcr_end_take(stage->end[side], &by);
        check_status(rc, STATUS(IPCR_TAKEN) | STATUS(IPCR_END_OF_CHANNEL) | STATUS(IPCR_CORRUPT) |
                             STATUS(IPCR_NOT_FOUND), "take");
        if (rc != IPCR_OK)
            return NULL;
    }
    return stage->end[side];
}

void stage_close(struct stage *stage, uint32_t side, bool clean)
{
    watch_begin(NULL);
    if (stage->end[side] == NULL)
        return;
    ipcr_end_close(stage->end[side], clean);
    ipcr_end_free(stage->end[side]);
    stage->end[side] = NULL;
}

void stage_detach(struct stage *stage, uint32_t side)
{
    stage_close(stage, side, false);
    if (stage->segment[side] != NULL)
        ipcr_segment_release(stage->segment[side]);
    stage->segment[side] = NULL;
}

static void operate(struct stage *stage, struct input *in)
{
    const enum operation op = take8(in) % OPERATIONS;
    if (op <= OP_STORM)
        peer_operation(op, in);
    else if (op <= OP_ABORT)
        send_operation(stage, op, in);
    else if (op <= OP_SPIN)
        receive_operation(stage, op, in);
    else
        life_operation(stage, op, in);
}

void stage_create(struct stage *stage)
{
    const uint64_t start = (stage->setup & SETUP_NEAR_WRAP) != 0 ? 0 - UINT64_C(64) : 0;
    const int rc = ipcr_segment_create((stage->setup & SETUP_NAMED) != 0 ? KERNEL_DIR : NULL, KERNEL_NAME,
                                       IPCR_KIND_RING, ipcr_os_page_bytes() << (stage->setup & SETUP_PAGES), start,
                                       &stage->segment[IPCR_SENDER]);
    if (rc != IPCR_OK)
        violation("no segment", (uint64_t)rc);
}

/* A file of the input's own bytes, of which the last are the program as well. */
static void make_arbitrary(const struct stage *stage, struct input *in)
{
    const uint64_t there = (uint64_t)(in->behind - in->at), most = kernel_most_bytes();
    kernel_make_file(in->at, there < most ? there : most, (stage->setup & SETUP_NAMED) != 0);
    if (there > MOST_OPERATIONS)
        in->at = in->behind - MOST_OPERATIONS;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input in = { .at = data, .behind = data + size };
    struct stage stage = { .setup = take8(&in) };
    kernel_reset(MOST_PAGES);
    watch_reset();
    if ((stage.setup & SETUP_PAGES) == SETUP_ARBITRARY)
        make_arbitrary(&stage, &in);
    else
        stage_create(&stage);
    for (int i = 0; i < MOST_OPERATIONS && in.at < in.behind; i++)
        operate(&stage, &in);
    peer_storm(0);
    for (uint32_t side = 0; side < IPCR_SIDES; side++)
        stage_detach(&stage, side);
    watch_begin(NULL);
    if (!kernel_is_idle())
        violation("something is left after everything was closed", 0);
    return 0;
}

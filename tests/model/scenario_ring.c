/* scenario_ring.c - the bare ring, without ends: one writer and one reader that never wait. */
#include "stage.h"

enum { WRITER = 1, READER = 2, MESSAGES = 4 };

static struct ipcr_segment *segments[2];
static struct ipcr_ring_writer writer;
static struct ipcr_ring_reader reader;
static char out[LONGEST_MESSAGE];
static uint64_t got;

static uint64_t length_of(uint64_t number) { return 1300 + number; }

static void set_up(void)
{
    act_as(0);
    segments[0] = make_channel(UINT64_MAX - 4095);
    act_as(1);
    segments[1] = attach_channel();
}

static void write_four(void)
{
    for (uint64_t i = 0; i < MESSAGES;) {
        const int rc = core()->try_write(&writer, message(i, length_of(i)), length_of(i), i);
        MUST(rc == IPCR_OK || rc == IPCR_FULL);
        if (rc == IPCR_OK)
            i++;
        else
            look_later();
    }
}

static void read_four(void)
{
    while (got < MESSAGES) {
        uint64_t length, info;
        const int rc = core()->try_read(&reader, out, sizeof out, &length, &info);
        MUST(rc == IPCR_OK || rc == IPCR_EMPTY);
        if (rc == IPCR_EMPTY) {
            look_later();
            continue;
        }
        MUST(length == length_of(got) && info == got && is_message(out, got, length));
        got++;
        /* what was read was given back at once: whoever comes next begins behind it */
        MUST(load_relaxed64(&segments[1]->header->at[IPCR_RECEIVER].position) == reader.position);
    }
}

static void perform(void)
{
    got = 0;
    act_as(0);
    MUST(core()->ring_writer_open(&writer, segments[0]->header, segments[0]->data, CAPACITY) == IPCR_OK);
    act_as(1);
    MUST(core()->ring_reader_open(&reader, segments[1]->header, segments[1]->data, CAPACITY) == IPCR_OK);
    model_start(WRITER, 0, write_four);
    model_start(READER, 1, read_four);
}

static const struct scenario scenarios[] = {
    {
        .name = "ring",
        .says = "try_write and try_read of the bare ring, across the wrap.",
        .set_up = set_up,
        .perform = perform,
        .patience_ns = 1000000,
    },
};
ADD_SCENARIOS(scenarios)

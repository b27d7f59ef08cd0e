/* stage.c - see stage.h. */
#include "stage.h"

#include <errno.h>

void act_as(int process) { model_fibers[STAGE].process = process; }
struct core *core(void) { return &model_core[model_self()->process]; }

struct ipcr_segment *make_channel(uint64_t start_position)
{
    struct ipcr_segment *segment;
    MUST(core()->segment_create("/", "channel", IPCR_KIND_CHANNEL, CAPACITY, start_position, &segment) == IPCR_OK);
    return segment;
}

struct ipcr_segment *attach_channel(void)
{
    struct ipcr_segment *segment;
    int fd;
    MUST(ipcr_os_open("/", "channel", &fd) == IPCR_OK);
    MUST(core()->segment_attach(fd, "/", "channel", IPCR_KIND_CHANNEL, false, &segment) == IPCR_OK);
    return segment;
}

struct ipcr_segment *make_anonymous(uint64_t start_position)
{
    struct ipcr_segment *segment;
    MUST(core()->segment_create(NULL, "channel", IPCR_KIND_CHANNEL, CAPACITY, start_position, &segment) == IPCR_OK);
    return segment;
}

struct ipcr_segment *attach_passed(int fd)
{
    struct ipcr_segment *segment;
    MUST(core()->segment_attach(fd, NULL, NULL, IPCR_KIND_CHANNEL, true, &segment) == IPCR_OK);
    return segment;
}

struct ipcr_end *open_end(struct ipcr_segment *segment, uint32_t side)
{
    struct ipcr_end *end;
    MUST(core()->end_open(segment, side, 0, &end) == IPCR_OK); /* spins for 0 ns: parks at once */
    return end;
}

struct ipcr_end *taken_end(struct ipcr_segment *segment, uint32_t side)
{
    uint32_t by;
    struct ipcr_end *end = open_end(segment, side);
    MUST(core()->end_take(end, &by) == IPCR_OK);
    return end;
}

void leave(struct ipcr_end *end, bool clean)
{
    struct core *c = core();
    c->end_close(end, clean);
    c->end_free(end);
}

static uint8_t byte_of(uint64_t number, uint64_t length, uint64_t at)
{
    return (uint8_t)(number * 7 + length + at * 13);
}

const char *message(uint64_t number, uint64_t length)
{
    static uint8_t rooms[FIBERS][LONGEST_MESSAGE];
    uint8_t *room = rooms[model_running];
    for (uint64_t i = 0; i < length; i++)
        room[i] = byte_of(number, length, i);
    return (const char *)room;
}

bool is_message(const void *bytes, uint64_t number, uint64_t length)
{
    for (uint64_t i = 0; i < length; i++)
        if (((const uint8_t *)bytes)[i] != byte_of(number, length, i))
            return false;
    return true;
}

/* The waiting calls all have a last argument that says whether they go on with what they began. */
#define UNTIL_ANSWERED(rc, call)                                                                                       \
    do {                                                                                                               \
        int resume = 0;                                                                                                \
        while (((rc) = (call)) == IPCR_AGAIN)                                                                          \
            resume = 1;                                                                                                \
    } while (0)

/* As Python does: a try, which is another path in the core, and then the wait. */
int send_message(struct ipcr_end *end, uint64_t number, uint64_t length)
{
    int rc = core()->send(end, message(number, length), length, number);
    if (rc != IPCR_FULL)
        return rc;
    UNTIL_ANSWERED(rc, core()->send_wait(end, message(number, length), length, number, IPCR_FOREVER, resume));
    return rc;
}

int send_in_parts(struct ipcr_end *end, uint64_t number, uint64_t length)
{
    const struct ipcr_piece piece = { .data = message(number, length), .length = length };
    int rc;
    UNTIL_ANSWERED(rc, core()->send_parts_wait(end, &piece, 1, number, IPCR_FOREVER, resume));
    return rc;
}

int64_t receive(struct ipcr_end *end, char *out)
{
    int64_t rc;
    UNTIL_ANSWERED(rc, core()->recv_wait(end, out, IPCR_FOREVER, resume));
    return rc;
}

int64_t receive_parts(struct ipcr_end *end, char *out)
{
    const int64_t total = core()->parts_begin(end);
    if (total < 0)
        return total;
    MUST(total <= LONGEST_MESSAGE);
    int rc;
    UNTIL_ANSWERED(rc, core()->parts_read(end, out, 0, (uint64_t)total, IPCR_FOREVER, resume));
    return rc == IPCR_OK ? total : rc;
}

int wait_for_room(struct ipcr_end *end, uint64_t length)
{
    int rc;
    UNTIL_ANSWERED(rc, core()->room_wait(end, length, IPCR_FOREVER, resume));
    return rc;
}

int wait_for_data(struct ipcr_end *end)
{
    int rc;
    UNTIL_ANSWERED(rc, core()->data_wait(end, IPCR_FOREVER, resume));
    return rc;
}

int flush(struct ipcr_end *end)
{
    int rc;
    UNTIL_ANSWERED(rc, core()->flush_wait(end, IPCR_FOREVER, resume));
    return rc;
}

void look_later(void) { ipcr_os_sleep_ns(1000); }

void *own_structure(uint64_t bytes)
{
    int fd;
    uint8_t *at;
    act_as(-1); /* nobody's: it outlives every process */
    MUST(ipcr_os_memfd("", &fd) == IPCR_OK && ipcr_os_allocate(fd, bytes) == IPCR_OK);
    MUST(ipcr_os_reserve((bytes + 4095) / 4096 * 4096, &at) == IPCR_OK && ipcr_os_map(at, fd, 0, bytes) == IPCR_OK);
    return at;
}

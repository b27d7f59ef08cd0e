/* operations_peer.c - what the other process writes between two operations, or in the middle of one. */
#include "kernel.h"
#include "target.h"
#include "watch.h"

/* The words that a peer has reason to write; others by OP_ANY_WORD. */
#define SIDE(member, side) (offsetof(struct ipcr_header, member) + (side) * IPCR_LINE)
#define MARK(side, i, member) \
    (offsetof(struct ipcr_header, marks) + (side) * IPCR_LINE + (i) * sizeof(struct ipcr_mark) + \
     offsetof(struct ipcr_mark, member))

static uint64_t named_word(uint8_t pick)
{
    static const uint16_t words[16] = {
        SIDE(at, 0), SIDE(at, 1), SIDE(at, 0), SIDE(at, 1),
        SIDE(signals, 0), SIDE(signals, 1), /* parked and end_state */
        SIDE(signals, 0) + offsetof(struct ipcr_side_signals, taker_pid),
        SIDE(signals, 0) + offsetof(struct ipcr_side_signals, wake_at),
        MARK(0, 0, position), MARK(0, 1, position), MARK(1, 0, position), MARK(1, 1, position),
        MARK(0, 0, sequence), MARK(1, 0, bytes),
        SIDE(marks, 1) + offsetof(struct ipcr_side_marks, thrown_away),
        SIDE(signals, 1) + offsetof(struct ipcr_side_signals, high_water),
    };
    return words[pick % 16];
}

/* Near what would be right, or anything. */
static uint64_t value_of(struct input *in)
{
    const uint8_t pick = take8(in);
    return pick >= 0x80 ? take64(in) : watch_near(pick);
}

static void write_at(uint64_t offset, uint64_t value)
{
    watch_write_later(0, offset, value);
    watch_let_peer_act();
}

/* What a record says of itself: where the receiver stands, or behind it. */
static void write_record(struct input *in)
{
    const uint8_t where = take8(in), part = take8(in), encoding = take8(in);
    const uint64_t length = value_of(in), position = watch_near(where & 0x7e);
    const uint64_t mask = (ipcr_os_page_bytes() << (where >> 7 ? 2 : 0)) - 1;
    const uint64_t at = ipcr_os_page_bytes() + (position & mask & ~UINT64_C(7));
    write_at(at, length);
    write_at(at + 8, IPCR_INFO_OF_PART(IPCR_INFO(0, encoding), part));
    if (part == IPCR_FIRST)
        write_at(at + IPCR_RECORD_HEADER, value_of(in));
}

static void write_bytes(struct input *in)
{
    const uint64_t offset = take16(in) % kernel_most_bytes();
    const uint64_t n = take8(in), most = kernel_most_bytes() - offset;
    for (uint64_t i = 0; i < n && i < most; i++)
        kernel_raw()[offset + i] = take8(in);
}

void peer_operation(enum operation op, struct input *in)
{
    uint64_t offset;
    uint32_t n;
    switch (op) {
    case OP_WORD:
        offset = named_word(take8(in));
        write_at(offset, value_of(in));
        break;
    case OP_ANY_WORD:
        offset = take8(in) % (sizeof(struct ipcr_header) / 8) * 8;
        write_at(offset, value_of(in));
        break;
    case OP_RECORD:
        write_record(in);
        break;
    case OP_BYTES:
        write_bytes(in);
        break;
    case OP_WORD_LATER:
        n = take8(in);
        offset = named_word(take8(in));
        watch_write_later(n, offset, value_of(in));
        break;
    case OP_LENGTH_LATER:
        n = take8(in) % 8;
        watch_lie_later(n, value_of(in));
        break;
    default:
        watch_storm(take8(in) * UINT64_C(0x9e3779b97f4a7c15));
    }
}

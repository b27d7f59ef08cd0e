/* operations_peer.c - what the other process writes between two operations, or in the middle of one. */
#include "peer.h"
#include "target.h"

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

/* What a record says of itself: where the receiver stands, or behind it. */
static void write_record(struct input *in)
{
    const uint8_t where = take8(in), part = take8(in), encoding = take8(in);
    const uint64_t length = take_value(in), position = watch_near(where & 0x7e);
    const uint64_t mask = (ipcr_os_page_bytes() << (where >> 7 ? 2 : 0)) - 1;
    const uint64_t at = ipcr_os_page_bytes() + (position & mask & ~UINT64_C(7));
    peer_write(at, length);
    peer_write(at + 8, IPCR_INFO_OF_PART(IPCR_INFO(0, encoding), part));
    if (part == IPCR_FIRST)
        peer_write(at + IPCR_RECORD_HEADER, take_value(in));
}

void peer_operation(enum operation op, struct input *in)
{
    uint64_t offset;
    uint32_t n;
    switch (op) {
    case OP_WORD:
        offset = named_word(take8(in));
        peer_write(offset, take_value(in));
        break;
    case OP_ANY_WORD:
        offset = take8(in) % (sizeof(struct ipcr_header) / 8) * 8;
        peer_write(offset, take_value(in));
        break;
    case OP_RECORD:
        write_record(in);
        break;
    case OP_BYTES:
        take_bytes(in);
        break;
    case OP_WORD_LATER:
        n = take8(in);
        offset = named_word(take8(in));
        peer_write_later(n, offset, take_value(in));
        break;
    case OP_LENGTH_LATER:
        n = take8(in) % 8;
        peer_lie_later(n, take_value(in));
        break;
    default:
        peer_storm(take8(in) * UINT64_C(0x9e3779b97f4a7c15));
    }
}

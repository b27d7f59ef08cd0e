/* operations_peer.c - what another process writes into a multicast's segment between two operations, or in the middle
 * of one. */
#include "kernel.h"
#include "peer.h"
#include "target.h"
#include "watch.h"

/* The words that others have reason to write; others by OP_ANY_WORD. */
#define HEADER(name) offsetof(struct ipcr_multicast_header, name)
#define CURSOR(name) offsetof(struct ipcr_cursor, name)
#define ENTRY(name) offsetof(struct ipcr_entry, name)

static uint64_t named_word(uint8_t pick)
{
    static const uint64_t of_header[8] = { HEADER(published), HEADER(oldest), HEADER(readers_parked),
                                           HEADER(publisher_pid), HEADER(blocked_by), HEADER(wake_at),
                                           HEADER(oldest), HEADER(published) };
    static const uint64_t of_cursor[4] = { CURSOR(next), CURSOR(state), CURSOR(received), CURSOR(lost) };
    return pick >= 0x80 ? of_header[pick % 8] : offset_of_cursor(pick / 4) + of_cursor[pick % 4];
}

/* One half of a word: a state, a gate, subscribers_high. */
static void write_half(struct input *in)
{
    const uint8_t pick = take8(in), which = take8(in);
    const uint64_t offset = named_word(pick);
    peer_write_half(offset, which % 2 != 0, take_value(in));
}

/* An entry near the last one, or near the oldest one; and a word of it. */
static uint64_t word_of_entry(struct input *in)
{
    const uint8_t where = take8(in), member = take8(in);
    const uint64_t last = raw_word(HEADER(published)) - 1, oldest = raw_word(HEADER(oldest));
    return offset_of_entry(where < 0x80 ? last - where % 64 : oldest + where % 64) + member % 6 * UINT64_C(8);
}

/* A message whose words agree, as far as they say what the input says, at the number that is the next. */
static void write_message(struct input *in)
{
    const uint64_t sequence = take_value(in), position = take_value(in), length = take_value(in);
    const uint8_t info = take8(in), topic = take8(in);
    const uint64_t entry = offset_of_entry(sequence);
    peer_write(entry + ENTRY(sequence), sequence);
    peer_write(entry + ENTRY(position), position & ~UINT64_C(7));
    peer_write(entry + ENTRY(length), length);
    peer_write(entry + ENTRY(info), topics[info % TOPICS].number | (uint64_t)(info / 16) << 32);
    peer_write(entry + ENTRY(topic_length), topic < 0xf0 ? topics[topic % TOPICS].length : topic * UINT64_C(1025));
    peer_write(HEADER(published), sequence + 1);
}

/* A state that is one, with the generation that it has, or the next; and perhaps a place. */
static void write_cursor(struct input *in)
{
    const uint8_t how = take8(in);
    const uint64_t offset = offset_of_cursor(how / 16), was = raw_word(offset);
    const uint64_t state = ((was & UINT32_MAX) >> 2) + how / 4 % 2;
    peer_write(offset, (was & ~(uint64_t)UINT32_MAX) | ((state << 2 | how % 4) & UINT32_MAX));
    if (how / 8 % 2 != 0)
        peer_write(offset + CURSOR(next), take_value(in));
}

/* Another geometry, in agreement with itself: whoever attaches now may believe it. */
static void write_geometry(struct input *in)
{
    const uint8_t a = take8(in), b = take8(in);
    const uint64_t page = ipcr_os_page_bytes(), capacity = page << a % 3;
    const uint32_t entries = (2u << b % 8) + b / 8 % 2;
    const uint64_t header = ipcr_multicast_header_bytes(entries, page);
    const uint64_t wrong = b >= 0x80 ? take_value(in) : 0;
    peer_write(offsetof(struct ipcr_geometry, header_bytes), header);
    peer_write(offsetof(struct ipcr_geometry, capacity), capacity);
    peer_write(offsetof(struct ipcr_geometry, total_bytes), header + capacity + wrong);
    peer_write(offsetof(struct ipcr_geometry, creator_pid), (uint64_t)entries << 32);
    peer_write(HEADER(options.policy), a / 4 % 3);
    peer_write(HEADER(options.on_laggard), a / 16 % 3);
    peer_write(HEADER(options.max_lag), a >= 0x80 ? take_value(in) : 0);
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
    case OP_HALF:
        write_half(in);
        break;
    case OP_ANY_WORD:
        offset = take16(in) * UINT64_C(8);
        peer_write(offset, take_value(in));
        break;
    case OP_ENTRY:
        offset = word_of_entry(in);
        peer_write(offset, take_value(in));
        break;
    case OP_MESSAGE:
        write_message(in);
        break;
    case OP_CURSOR:
        write_cursor(in);
        break;
    case OP_BYTES:
        take_bytes(in);
        break;
    case OP_WORD_LATER:
        n = take8(in);
        offset = named_word(take8(in));
        peer_write_later(n, offset, take_value(in));
        break;
    case OP_ENTRY_LATER:
        n = take8(in);
        offset = word_of_entry(in);
        peer_write_later(n, offset, take_value(in));
        break;
    case OP_LENGTH_LATER:
        n = take8(in) % 8;
        peer_lie_later(n, take_value(in));
        break;
    case OP_GEOMETRY:
        write_geometry(in);
        break;
    case OP_TIME:
        kernel_pass_time(take8(in) * (IPCR_SLICE_NS / 16));
        break;
    case OP_LAPS:
        watch_laps(take8(in));
        break;
    default:
        peer_storm(take8(in) * UINT64_C(0x9e3779b97f4a7c15));
    }
}

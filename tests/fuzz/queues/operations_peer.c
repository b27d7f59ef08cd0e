/* operations_peer.c - what another process writes into a queue's segment between two operations, or in the middle of
 * one. */
#include "kernel.h"
#include "peer.h"
#include "target.h"
#include "watch.h"

/* The words that others have reason to write; others by OP_ANY_WORD. */
#define HEADER(name) offsetof(struct ipcr_queue_header, name)
#define WORDS(name) offsetof(struct ipcr_lane_words, name)

static uint64_t named_word(uint8_t pick)
{
    static const uint64_t of_lane[16] = {
        WORDS(take), WORDS(settled), WORDS(head), WORDS(freed), WORDS(mark[0].freed), WORDS(mark[1].freed),
        WORDS(mark[0].deliveries), WORDS(mark[1].bytes), WORDS(room_at), WORDS(outcome_at), WORDS(used),
        WORDS(room_parked), WORDS(take), WORDS(head), WORDS(freed), WORDS(settled),
    };
    static const uint64_t of_header[16] = {
        HEADER(consumers_parked), HEADER(room_parked), HEADER(lanes_high), HEADER(returns), HEADER(holders[0]),
        HEADER(holders[1]), HEADER(holders[2]), HEADER(holders[IPCR_MOST_HOLDERS]), HEADER(holders[0].finished),
        HEADER(holders[1].finished), HEADER(holders[500]), HEADER(lanes_high), HEADER(returns),
        HEADER(consumers_parked), HEADER(holders[0]), HEADER(holders[1]),
    };
    if (pick >= 0xc0)
        return of_header[pick % 16];
    watch_look_at_lane(pick / 16);
    return offset_of_lane(pick / 16) + of_lane[pick % 16];
}

/* One half of a word: active, lanes_high, a gate. */
static void write_half(struct input *in)
{
    const uint8_t pick = take8(in), which = take8(in);
    const uint64_t offset = named_word(pick);
    peer_write_half(offset, which % 2 != 0, take_value(in));
}

/* A slot near to where the lane has come: the lane, then how far from `freed`. */
static uint64_t slot_of(struct input *in)
{
    const uint8_t where = take8(in);
    watch_look_at_lane(where / 64);
    return offset_of_slot(where / 64, raw_word(offset_of_lane(where / 64) + WORDS(freed)) + where % 64);
}

static uint64_t member_of(struct input *in) { return take8(in) % (IPCR_SLOT_BYTES / 8) * 8; }

/* A state that is one, or near to it: of the lap that stands there, or of one before or behind. */
static void write_state(struct input *in)
{
    const uint64_t offset = slot_of(in);
    const uint8_t phase = take8(in), holder = take8(in), deliveries = take8(in), when = take8(in);
    const uint64_t lap = ipcr_lap_of(raw_word(offset)) + phase / 8 % 3 - (phase / 8 % 3 == 2 ? 3 : 0);
    peer_write(offset, ipcr_state(lap, (enum ipcr_phase)(phase % 8), holder >= 0xf0 ? 768u + holder : holder % 4,
                                  deliveries, when == 0xff ? IPCR_NO_TIME : when));
}

/* Another geometry, in agreement with itself: whoever attaches now may believe it. */
static void write_geometry(struct input *in)
{
    const uint8_t a = take8(in), b = take8(in);
    const uint64_t page = ipcr_os_page_bytes(), capacity = page << a % 2 * 2, slots = UINT64_C(2) << b % 7;
    const uint32_t lanes = a / 2 % 4 + 1;
    const uint64_t header = ipcr_queue_header_bytes(lanes, page);
    const uint64_t wrong = b >= 0x80 ? take_value(in) : 0;
    peer_write(offsetof(struct ipcr_geometry, header_bytes), header);
    peer_write(offsetof(struct ipcr_geometry, capacity), capacity);
    peer_write(offsetof(struct ipcr_geometry, total_bytes),
               header + lanes * ipcr_lane_bytes(slots, capacity, page) + wrong);
    peer_write(offsetof(struct ipcr_geometry, creator_pid), (uint64_t)lanes << 32);
    peer_write(HEADER(options.slots), slots);
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
    case OP_SLOT:
        offset = slot_of(in);
        offset += member_of(in);
        peer_write(offset, take_value(in));
        break;
    case OP_STATE:
        write_state(in);
        break;
    case OP_BYTES:
        take_bytes(in);
        break;
    case OP_WORD_LATER:
        n = take8(in);
        offset = named_word(take8(in));
        peer_write_later(n, offset, take_value(in));
        break;
    case OP_SLOT_LATER:
        n = take8(in);
        offset = slot_of(in);
        offset += member_of(in);
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
        kernel_pass_time(take8(in) * IPCR_TIME_UNIT_NS);
        break;
    default:
        peer_storm(take8(in) * UINT64_C(0x9e3779b97f4a7c15));
    }
}

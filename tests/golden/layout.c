/* layout.c - prints where every member of every struct in shared memory stands, for one compiler and one machine.
 * layout_1.txt has what all of them must print.  What only fills up is printed too: so the members of a struct leave no
 * gap, and test_layout.py sees when one is missing here.
 */
#include "multicast_format.h"
#include "queue_format.h"

#include <inttypes.h>
#include <stdio.h>

#define SIZE(type) printf("sizeof %-28s %5zu\n", #type, sizeof(struct type))
#define AT(type, member)                                                                                          \
    printf("%-35s %5zu  %zu bytes\n", #type "." #member, offsetof(struct type, member),                           \
           sizeof(((struct type *)NULL)->member))
#define AT_THE_END(type, member)                                                                                  \
    printf("%-35s %5zu  %zu bytes each\n", #type "." #member, offsetof(struct type, member),                      \
           sizeof(((struct type *)NULL)->member[0]))

static void format(void)
{
    SIZE(ipcr_geometry);
    AT(ipcr_geometry, magic);
    AT(ipcr_geometry, format_version);
    AT(ipcr_geometry, byte_order);
    AT(ipcr_geometry, layout_hash);
    AT(ipcr_geometry, kind);
    AT(ipcr_geometry, flags);
    AT(ipcr_geometry, header_bytes);
    AT(ipcr_geometry, capacity);
    AT(ipcr_geometry, total_bytes);
    AT(ipcr_geometry, start_position);
    AT(ipcr_geometry, uuid);
    AT(ipcr_geometry, time_namespace);
    AT(ipcr_geometry, creator_pid);
    AT(ipcr_geometry, lanes);
    SIZE(ipcr_side_signals);
    AT(ipcr_side_signals, parked);
    AT(ipcr_side_signals, end_state);
    AT(ipcr_side_signals, taker_pid);
    AT(ipcr_side_signals, pinned_cpu);
    AT(ipcr_side_signals, wake_at);
    AT(ipcr_side_signals, pad0);
    AT(ipcr_side_signals, parked_ns);
    AT(ipcr_side_signals, high_water);
    AT(ipcr_side_signals, pad1);
    SIZE(ipcr_mark);
    AT(ipcr_mark, position);
    AT(ipcr_mark, sequence);
    AT(ipcr_mark, bytes);
    SIZE(ipcr_side_position);
    AT(ipcr_side_position, position);
    AT(ipcr_side_position, pad);
    SIZE(ipcr_side_marks);
    AT(ipcr_side_marks, mark);
    AT(ipcr_side_marks, thrown_away);
    AT(ipcr_side_marks, pad);
    SIZE(ipcr_header);
    AT(ipcr_header, geometry);
    AT(ipcr_header, pad);
    AT(ipcr_header, at);
    AT(ipcr_header, signals);
    AT(ipcr_header, marks);
    SIZE(ipcr_record);
    AT(ipcr_record, length);
    AT(ipcr_record, info);
}

static void multicast_format(void)
{
    SIZE(ipcr_entry);
    AT(ipcr_entry, sequence);
    AT(ipcr_entry, position);
    AT(ipcr_entry, length);
    AT(ipcr_entry, info);
    AT(ipcr_entry, bytes);
    AT(ipcr_entry, topic_length);
    AT(ipcr_entry, reserved);
    SIZE(ipcr_cursor);
    AT(ipcr_cursor, state);
    AT(ipcr_cursor, pid);
    AT(ipcr_cursor, next);
    AT(ipcr_cursor, received);
    AT(ipcr_cursor, lost);
    AT(ipcr_cursor, high_water);
    AT(ipcr_cursor, pad);
    SIZE(ipcr_multicast_options);
    AT(ipcr_multicast_options, policy);
    AT(ipcr_multicast_options, on_laggard);
    AT(ipcr_multicast_options, max_lag);
    AT(ipcr_multicast_options, reserved);
    SIZE(ipcr_multicast_header);
    AT(ipcr_multicast_header, geometry);
    AT(ipcr_multicast_header, pad0);
    AT(ipcr_multicast_header, options);
    AT(ipcr_multicast_header, pad1);
    AT(ipcr_multicast_header, published);
    AT(ipcr_multicast_header, oldest);
    AT(ipcr_multicast_header, pad2);
    AT(ipcr_multicast_header, readers_parked);
    AT(ipcr_multicast_header, publisher_state);
    AT(ipcr_multicast_header, publisher_pid);
    AT(ipcr_multicast_header, room_parked);
    AT(ipcr_multicast_header, blocked_by);
    AT(ipcr_multicast_header, subscribers_high);
    AT(ipcr_multicast_header, wake_at);
    AT(ipcr_multicast_header, pad3);
    AT(ipcr_multicast_header, parked_ns);
    AT(ipcr_multicast_header, evicted);
    AT(ipcr_multicast_header, pad4);
    AT(ipcr_multicast_header, cursor);
}

static void queue_format(void)
{
    SIZE(ipcr_slot);
    AT(ipcr_slot, state);
    AT(ipcr_slot, sequence);
    AT(ipcr_slot, position);
    AT(ipcr_slot, stamp);
    AT(ipcr_slot, length);
    AT(ipcr_slot, info);
    AT(ipcr_slot, expires);
    AT(ipcr_slot, source);
    AT(ipcr_slot, forgiven);
    SIZE(ipcr_lane_mark);
    AT(ipcr_lane_mark, freed);
    AT(ipcr_lane_mark, deliveries);
    AT(ipcr_lane_mark, redeliveries);
    AT(ipcr_lane_mark, dead);
    AT(ipcr_lane_mark, bytes);
    SIZE(ipcr_lane_words);
    AT(ipcr_lane_words, take);
    AT(ipcr_lane_words, settled);
    AT(ipcr_lane_words, pad0);
    AT(ipcr_lane_words, head);
    AT(ipcr_lane_words, freed);
    AT(ipcr_lane_words, mark);
    AT(ipcr_lane_words, pad1);
    AT(ipcr_lane_words, used);
    AT(ipcr_lane_words, producer_pid);
    AT(ipcr_lane_words, room_parked);
    AT(ipcr_lane_words, outcome_parked);
    AT(ipcr_lane_words, room_at);
    AT(ipcr_lane_words, outcome_at);
    AT(ipcr_lane_words, parked_ns);
    AT(ipcr_lane_words, high_water);
    AT(ipcr_lane_words, pad2);
    SIZE(ipcr_holder_words);
    AT(ipcr_holder_words, active);
    AT(ipcr_holder_words, pid);
    AT(ipcr_holder_words, finished);
    SIZE(ipcr_queue_options);
    AT(ipcr_queue_options, slots);
    AT(ipcr_queue_options, maxsize);
    AT(ipcr_queue_options, lease_ns);
    AT(ipcr_queue_options, max_deliveries);
    AT(ipcr_queue_options, lanes_each);
    AT(ipcr_queue_options, reserved);
    SIZE(ipcr_queue_header);
    AT(ipcr_queue_header, geometry);
    AT(ipcr_queue_header, pad0);
    AT(ipcr_queue_header, options);
    AT(ipcr_queue_header, pad1);
    AT(ipcr_queue_header, consumers_parked);
    AT(ipcr_queue_header, shutdown);
    AT(ipcr_queue_header, room_parked);
    AT(ipcr_queue_header, finished_parked);
    AT(ipcr_queue_header, lanes_high);
    AT(ipcr_queue_header, holders_high);
    AT(ipcr_queue_header, pad2);
    AT(ipcr_queue_header, returns);
    AT(ipcr_queue_header, pad3);
    AT(ipcr_queue_header, holders);
    AT_THE_END(ipcr_queue_header, lane);
}

static void numbers(void)
{
    printf("magic %016" PRIx64 ", version %u\n", IPCR_MAGIC, IPCR_FORMAT_VERSION);
    printf("hashes %016" PRIx64 ", multicast %016" PRIx64 ", queue %016" PRIx64 "\n", ipcr_layout_hash(),
           ipcr_multicast_layout_hash(), ipcr_queue_layout_hash());
    printf("lock bytes %" PRId64 " %" PRId64 " %" PRId64 " %" PRId64 " %" PRId64 " %" PRId64 "\n", IPCR_LOCK_PRESENCE,
           IPCR_LOCK_NAME, IPCR_LOCK_ROLE(IPCR_SENDER), IPCR_LOCK_CLAIM(IPCR_SENDER), IPCR_LOCK_ROLE(IPCR_RECEIVER),
           IPCR_LOCK_CLAIM(IPCR_RECEIVER));
    printf("lock bytes, multicast %" PRId64 " %" PRId64 ", queue %" PRId64 " %" PRId64 "\n", IPCR_LOCK_PUBLISHER,
           IPCR_LOCK_SUBSCRIBER(0), IPCR_LOCK_LANE(0), IPCR_LOCK_HOLDER(0));
    printf("in pages of 4096: header of a multicast of 32 entries %" PRIu64 ", of a queue of 64 lanes %" PRIu64
           ", lane of 32 slots and 8192 bytes %" PRIu64 "\n",
           ipcr_multicast_header_bytes(32, 4096), ipcr_queue_header_bytes(64, 4096), ipcr_lane_bytes(32, 8192, 4096));
    const uint32_t word = IPCR_BYTE_ORDER;
    const uint8_t *bytes = (const uint8_t *)&word;
    printf("byte order %u %u %u %u\n", bytes[0], bytes[1], bytes[2], bytes[3]);
}

int main(void)
{
    format();
    multicast_format();
    queue_format();
    numbers();
    return 0;
}

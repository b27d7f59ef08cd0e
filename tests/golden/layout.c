/* layout.c - prints where every word of the format stands, for one compiler and one machine.  layout_1.txt has what all
 * of them must print.
 */
#include "multicast_format.h"

#include <inttypes.h>
#include <stdio.h>

#define SIZE(type) printf("sizeof %-28s %5zu\n", #type, sizeof(struct type))
#define AT(type, member)                                                                                          \
    printf("%-35s %5zu  %zu bytes\n", #type "." #member, offsetof(struct type, member),                           \
           sizeof(((struct type *)NULL)->member))

int main(void)
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
    SIZE(ipcr_side_position);
    AT(ipcr_side_position, position);
    SIZE(ipcr_side_signals);
    AT(ipcr_side_signals, parked);
    AT(ipcr_side_signals, end_state);
    AT(ipcr_side_signals, taker_pid);
    AT(ipcr_side_signals, pinned_cpu);
    AT(ipcr_side_signals, wake_at);
    AT(ipcr_side_signals, parked_ns);
    AT(ipcr_side_signals, high_water);
    SIZE(ipcr_mark);
    AT(ipcr_mark, position);
    AT(ipcr_mark, sequence);
    AT(ipcr_mark, bytes);
    SIZE(ipcr_side_marks);
    AT(ipcr_side_marks, mark);
    AT(ipcr_side_marks, thrown_away);
    SIZE(ipcr_header);
    AT(ipcr_header, at);
    AT(ipcr_header, signals);
    AT(ipcr_header, marks);
    SIZE(ipcr_record);
    AT(ipcr_record, length);
    AT(ipcr_record, info);
    SIZE(ipcr_entry);
    AT(ipcr_entry, sequence);
    AT(ipcr_entry, position);
    AT(ipcr_entry, length);
    AT(ipcr_entry, info);
    AT(ipcr_entry, bytes);
    AT(ipcr_entry, topic_length);
    SIZE(ipcr_cursor);
    AT(ipcr_cursor, state);
    AT(ipcr_cursor, pid);
    AT(ipcr_cursor, next);
    AT(ipcr_cursor, received);
    AT(ipcr_cursor, lost);
    SIZE(ipcr_multicast_options);
    AT(ipcr_multicast_options, policy);
    AT(ipcr_multicast_options, on_laggard);
    AT(ipcr_multicast_options, max_lag);
    SIZE(ipcr_multicast_header);
    AT(ipcr_multicast_header, options);
    AT(ipcr_multicast_header, published);
    AT(ipcr_multicast_header, oldest);
    AT(ipcr_multicast_header, readers_parked);
    AT(ipcr_multicast_header, publisher_state);
    AT(ipcr_multicast_header, publisher_pid);
    AT(ipcr_multicast_header, room_parked);
    AT(ipcr_multicast_header, blocked_by);
    AT(ipcr_multicast_header, subscribers_high);
    AT(ipcr_multicast_header, wake_at);
    AT(ipcr_multicast_header, parked_ns);
    AT(ipcr_multicast_header, evicted);
    AT(ipcr_multicast_header, cursor);
    printf("multicast hash %016" PRIx64 ", lock bytes %" PRId64 " %" PRId64 ", 32 entries in pages of 4096: %" PRIu64 "\n",
           ipcr_multicast_layout_hash(), IPCR_LOCK_PUBLISHER, IPCR_LOCK_SUBSCRIBER(0),
           ipcr_multicast_header_bytes(32, 4096));
    printf("magic %016" PRIx64 ", version %u, hash %016" PRIx64 "\n", IPCR_MAGIC, IPCR_FORMAT_VERSION,
           ipcr_layout_hash());
    printf("lock bytes %" PRId64 " %" PRId64 " %" PRId64 " %" PRId64 " %" PRId64 " %" PRId64 "\n", IPCR_LOCK_PRESENCE,
           IPCR_LOCK_NAME, IPCR_LOCK_ROLE(IPCR_SENDER), IPCR_LOCK_CLAIM(IPCR_SENDER), IPCR_LOCK_ROLE(IPCR_RECEIVER),
           IPCR_LOCK_CLAIM(IPCR_RECEIVER));
    const uint32_t word = IPCR_BYTE_ORDER;
    const uint8_t *bytes = (const uint8_t *)&word;
    printf("byte order %u %u %u %u\n", bytes[0], bytes[1], bytes[2], bytes[3]);
    return 0;
}

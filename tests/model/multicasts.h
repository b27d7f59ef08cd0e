/* multicasts.h - what scenarios of multicasts share: making one, publishing and receiving as Python does, and messages
 * that tell their numbers. */
#ifndef MODEL_MULTICASTS_H
#define MODEL_MULTICASTS_H

#include "stage.h"

enum { START_SEQUENCE = 6, LENGTH_OF_ALL = 16, CAPACITY_OF_ALL = 4096 };

/* Made by process 0, with so many entries; attached by any. */
void make_multicast(uint32_t entries, uint64_t policy, uint64_t on_laggard);
void make_multicast_with(uint32_t entries, const struct ipcr_multicast_options *options);
void join_multicast(void);
struct ipcr_segment *multicast(void); /* of the running process */

struct ipcr_publisher *new_publisher(void);
struct ipcr_subscriber *new_subscriber(uint32_t start);
struct ipcr_subscriber *new_observer(uint32_t start);
int open_publisher(struct ipcr_publisher **out);

int wait_for_room_of(struct ipcr_publisher *p);
int wait_for_message_of(struct ipcr_subscriber *s);
/* Publish the next message, whichever that is; waits for room.  Its number must be `sequence`, or -1 for any. */
int publish_next(struct ipcr_publisher *p, int64_t sequence);
/* So many messages, of which each takes the whole ring, so that `oldest` comes as far as `published` was: by claims of which
 * little is used, because there is less to explore. */
enum { NEARLY_ALL = CAPACITY_OF_ALL - 56, USED_OF_IT = 8 };
void publish_whole_rings(struct ipcr_publisher *p, int n);
/* The next message, whole, of which the number is returned; or a status.  Waits. */
int64_t receive_next(struct ipcr_subscriber *s);
int64_t try_receive(struct ipcr_subscriber *s);
/* So many, the first being `from`, without a gap. */
void receive_all(struct ipcr_subscriber *s, int64_t from, int n);

#endif

/* queue_scene.h - a queue, its two handles, and what passes between them; see queue_scene.c.
 *
 * `producer` works through `segment`, `consumer` through `second`, as another process would have it: nothing that one of
 * them has mapped or locked does for the other.
 */
#ifndef IPCR_TESTS_QUEUE_SCENE_H
#define IPCR_TESTS_QUEUE_SCENE_H

#include "queue.h"
#include "scene.h"

enum { LANES = 4, SLOTS = 32, MESSAGE_BYTES = 7 };

extern struct ipcr_queue *producer, *consumer;
extern uint64_t put_id; /* of the last message that was put */

int create_queue_in(const char *where, uint64_t maxsize);
int attach_to_queue(void);
struct ipcr_queue *handle_on(struct ipcr_segment *s);
void finish(struct ipcr_queue **q);

/* As the binding does: a lane is taken when the first message asks for it. */
int put_by(struct ipcr_queue *q, const char *message);
int get_by(struct ipcr_queue *q, const char *message);
void check_puts(struct ipcr_queue *q); /* "message" */
void check_gets(struct ipcr_queue *q, const char *message);
void check_is_empty(struct ipcr_queue *q);
void one_message_through(void);
void prove_used(void); /* nothing is left in it, and it works */

/* The queue, named, with both handles: as they are opened, after a message, and with one that is unread. */
void make_with_handles_of(uint64_t maxsize);
void make_with_handles(void);
void make_used(void);
void make_with_message(void);
void unmake_with_handles(void);
void unmake_full(void);         /* something is unread, so the name stays, and is collected */
void anew(void (*again)(void)); /* what others have made of it meanwhile, a new lane for example, goes as well */
void remake_with_message(void);

#endif

/* stage.h - what scenarios share: acting as a process, making a channel, messages that tell whether they are whole;
 * and memory for a structure of their own. */
#ifndef MODEL_STAGE_H
#define MODEL_STAGE_H

#include "explore.h"
#include "machine.h"
#include "os.h"
#include "status.h"

enum { CAPACITY = 4096, LONGEST_MESSAGE = 20000 };

#define MUST(condition)                                                                                                \
    do {                                                                                                               \
        if (!(condition))                                                                                              \
            model_fail("%s:%d: not so: %s", __FILE__, __LINE__, #condition);                                           \
    } while (0)

/* Which process the stage acts for, while it sets up or looks. */
void act_as(int process);
struct core *core(void); /* of the running process */

/* A channel under the name "channel": made by process 0, attached by any. */
struct ipcr_segment *make_channel(uint64_t start_position);
struct ipcr_segment *attach_channel(void);
/* One without a name, and what another process attaches: its descriptor, passed to that process by the acting one. */
struct ipcr_segment *make_anonymous(uint64_t start_position);
struct ipcr_segment *attach_passed(int fd);
struct ipcr_end *open_end(struct ipcr_segment *segment, uint32_t side);
struct ipcr_end *taken_end(struct ipcr_segment *segment, uint32_t side);
void leave(struct ipcr_end *end, bool clean);

/* Message `number` of some length: its bytes say both. */
const char *message(uint64_t number, uint64_t length);
bool is_message(const void *bytes, uint64_t number, uint64_t length);

/* Calls that go on with the next slice until there is an answer. */
int send_message(struct ipcr_end *end, uint64_t number, uint64_t length);
int send_in_parts(struct ipcr_end *end, uint64_t number, uint64_t length);
int64_t receive(struct ipcr_end *end, char *out);
int64_t receive_parts(struct ipcr_end *end, char *out); /* after IPCR_IN_PARTS */
int wait_for_room(struct ipcr_end *end, uint64_t length);
int wait_for_data(struct ipcr_end *end);
int flush(struct ipcr_end *end);

/* Give others a chance to run: for loops that look again. */
void look_later(void);

/* Shared memory for a structure that is not in the core: zeroed, and the same for all processes. */
void *own_structure(uint64_t bytes);

#endif

/* queues.h - what scenarios of queues share: making one, putting and taking as Python does, and a record of who was given
 * what, against which everybody is checked.
 *
 * The record is kept outside of the model, in the order in which calls return, so it knows what no process can know: that one
 * call was over before another one began.
 */
#ifndef MODEL_QUEUES_H
#define MODEL_QUEUES_H

#include "stage.h"

enum { LANE = 4096, MOST_NUMBERS = 32, SECOND_PRODUCER = 16 };
#define SLICE_NS IPCR_SLICE_NS
#define LEASE_NS IPCR_TIME_UNIT_NS

/* Made by process 0, attached by any; one handle for each process, opened by whoever acts. */
struct ipcr_queue *make_queue(uint32_t lanes, const struct ipcr_queue_options *options);
struct ipcr_queue *join_queue(void);
struct ipcr_queue *queue(void); /* the running process's handle */
/* Process 0 puts `messages`, and holds the first `holds` of them, for lease_ns; 1 and 2 are ready to take. */
void make_queue_of_held(const struct ipcr_queue_options *options, int messages, int holds, uint64_t lease_ns,
                        struct ipcr_lease *held);
/* So that a run need not begin with it: a lane, a consumer's number. */
/* Producers note how many wait only after this: each time, they look at words that others write, which would be most of the
 * schedules there are. */
void note_backlogs(void);
void take_lane(void);
void take_number(void);

/* --- putting ------------------------------------------------------------------------------------------------------- */

/* Message `number` of `message_length` bytes.  Numbers from SECOND_PRODUCER on are another producer's. */
extern uint64_t message_length;
int try_put(uint64_t number, uint64_t *id);
/* Waits for room and for a lane; returns the id.  What else there is than success is a failure. */
uint64_t put(uint64_t number);
int put_unless_closed(uint64_t number);

/* --- taking -------------------------------------------------------------------------------------------------------- */

/* One try, or until there is something.  What comes is checked: it was put, whole, and nobody has it or is done with it; and of each
 * producer, if nothing ever comes back, what this call gets is later than what others got before it began. */
int try_get(uint64_t *number);
int get(uint64_t *number);
/* A lease; the payload is copied and checked, unless the lease was lost meanwhile. */
int try_lease(uint64_t lease_ns, struct ipcr_lease *out);
int lease(uint64_t lease_ns, struct ipcr_lease *out);
uint64_t number_of(const struct ipcr_lease *lease);
/* What there is now, at most `most`, in one call with room to copy `fit` of them; *count of them are leased without an end. */
int try_lease_many(uint64_t most, uint64_t fit, struct ipcr_lease *out, uint64_t *count);
int ack(const struct ipcr_lease *lease); /* what succeeds is recorded */
int nack(const struct ipcr_lease *lease);
/* Lease without an end, and acknowledge, until no message is left that is not done with. */
void work_off(void);
/* The same until this process has acknowledged so many. */
void work_off_some(int n);

/* --- the record ---------------------------------------------------------------------------------------------------- */

struct record {
    uint32_t begun, put, taken, done; /* a bit for each number: put() begun, returned; delivered; done with */
    uint32_t deliveries[MOST_NUMBERS];
    uint32_t newest[2]; /* of each producer, the number after the last one delivered */
    uint32_t before;    /* messages put, and done with, before there was a record */
    bool comes_back; /* messages may be delivered again, if nobody is done with them */
};
extern struct record record;
/* A set-up's last words, and the first ones of each schedule. */
void keep_record(void);
void begin_record(void);
uint32_t count_of(uint32_t bits);

/* What the slots say when all is over: as many messages as were put, and all of them are done with. */
void must_be_all_done(void);
/* The sums of all lanes, as an observer sees them. */
void look_at_stats(struct ipcr_lane_stats *out);

#endif

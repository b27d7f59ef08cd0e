/* transfer.h - moving messages through a taken end.
 *
 * Every function takes the end's busy word and may return IPCR_BUSY, IPCR_CLOSED, IPCR_NOT_TAKEN (take
 * it, then call again), IPCR_FORKED or IPCR_CORRUPT beside what its comment says.
 *
 * The *_wait functions spin, then park, for one slice at most: they return IPCR_AGAIN at the end of it or
 * on a signal, so that the caller can look after signals, and must then be called again with resume = 1,
 * or ended with ipcr_stop_waiting.  In between the end stays busy for everybody else.  At the deadline
 * (CLOCK_MONOTONIC nanoseconds, IPCR_FOREVER for none) they return IPCR_FULL or IPCR_EMPTY.
 * A call that waited returns IPCR_END_OF_CHANNEL or IPCR_PEER_DIED when the other side is gone (and, for
 * a receiver, the ring is empty).
 */
#ifndef IPCR_TRANSFER_H
#define IPCR_TRANSFER_H

#include "ends.h"

/* recv copies messages up to this size; larger ones are lent, and read in place. */
#define IPCR_SMALL 8192

/* What recv and peek return: the length, the encoding above it, and whether the message is lent. */
#define IPCR_RESULT_ENCODING_SHIFT 48
#define IPCR_RESULT_LENT (INT64_C(1) << 62)

/* Sender.  ipcr_send_bytes is ipcr_send of type 0, encoding bytes: two arguments less to convert for the binding's
 * hottest call. */
int ipcr_send_bytes(struct ipcr_end *e, const char *message, uint64_t length);
int ipcr_send(struct ipcr_end *e, const char *message, uint64_t length, uint64_t info);
int ipcr_send_wait(struct ipcr_end *e, const char *message, uint64_t length, uint64_t info, uint64_t deadline_ns,
                   int resume);
/* Messages stand end to end; lengths[i] each.  Returns how many were written, published at once. */
int64_t ipcr_send_many(struct ipcr_end *e, const char *messages, const uint64_t *lengths, uint64_t count,
                       uint64_t info);
/* Room for one more message of this length?  IPCR_OK when there is. */
int ipcr_room_wait(struct ipcr_end *e, uint64_t length, uint64_t deadline_ns, int resume);
/* Until the receiver has released everything that was sent: IPCR_OK, or IPCR_FULL at the deadline. */
int ipcr_flush_wait(struct ipcr_end *e, uint64_t deadline_ns, int resume);
/* Lend room for `length` bytes in the ring; send the first `length` of them, or nothing. */
int ipcr_claim(struct ipcr_end *e, uint64_t length);
int ipcr_commit(struct ipcr_end *e, uint64_t length, uint64_t info);
int ipcr_abort(struct ipcr_end *e);

/* Receiver.  recv: up to IPCR_SMALL bytes into `out`; a larger message is lent instead, and must be
 * released.  receive results are described above; negative ones are statuses. */
int64_t ipcr_recv(struct ipcr_end *e, char *out);
/* The same as one argument, which the binding converts fastest.  ipcr_recv_into spins before it says
 * IPCR_EMPTY, so that an answer that is on its way costs one call; a wait that follows doesn't spin again. */
struct ipcr_inbox {
    struct ipcr_end *end;
    char bytes[IPCR_SMALL];
};
int64_t ipcr_recv_into(struct ipcr_inbox *inbox);
int64_t ipcr_try_recv_into(struct ipcr_inbox *inbox);
int64_t ipcr_recv_wait(struct ipcr_end *e, char *out, uint64_t deadline_ns, int resume);
/* Copy whole messages end to end into out[room], at most `most`; lengths and infos of each.  Returns
 * how many; 0 when the first alone is longer than `room` (peek it). */
int64_t ipcr_recv_many(struct ipcr_end *e, char *out, uint64_t room, uint64_t *lengths, uint64_t *infos,
                       uint64_t most);
int ipcr_data_wait(struct ipcr_end *e, uint64_t deadline_ns, int resume);
int64_t ipcr_peek(struct ipcr_end *e);
int ipcr_release(struct ipcr_end *e);

/* Of a claim or peek that is outstanding. */
char *ipcr_lent(struct ipcr_end *e);
/* Of the message received last, or claimed or peeked at. */
uint64_t ipcr_last_info(struct ipcr_end *e);
uint64_t ipcr_last_sequence(struct ipcr_end *e);

/* For callers that poll: is the other side gone?  A system call at most every slice, otherwise IPCR_OK. */
int ipcr_peer_sometimes(struct ipcr_end *e);

/* Give up a wait that returned IPCR_AGAIN to this thread. */
void ipcr_stop_waiting(struct ipcr_end *e);

#endif

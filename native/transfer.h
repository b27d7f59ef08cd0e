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
#include "parts.h"

/* recv copies messages up to this size; larger ones are lent, and read in place. */
#define IPCR_SMALL 8192

/* What recv and peek return: the length; above it, but for raw bytes, the encoding and an eighth of the skew
 * of the payload (ipcr_skew_at); and whether the message is lent. */
#define IPCR_RESULT_ENCODING_SHIFT 48
#define IPCR_RESULT_SKEW_SHIFT 56
#define IPCR_RESULT_LENT (INT64_C(1) << 62)

/* Sender.  ipcr_send_bytes is ipcr_send of type 0, encoding bytes: two arguments less to convert for the binding's
 * hottest call. */
int ipcr_send_bytes(struct ipcr_end *e, const char *message, uint64_t length);
int ipcr_send(struct ipcr_end *e, const char *message, uint64_t length, uint64_t info);
int ipcr_send_wait(struct ipcr_end *e, const char *message, uint64_t length, uint64_t info, uint64_t deadline_ns,
                   int resume);
/* The same for a message made of pieces; the wait is for room for the whole of it. */
int ipcr_send_pieces(struct ipcr_end *e, const struct ipcr_piece *pieces, uint64_t count, uint64_t info);
int ipcr_send_pieces_wait(struct ipcr_end *e, const struct ipcr_piece *pieces, uint64_t count, uint64_t info,
                          uint64_t deadline_ns, int resume);
/* A message larger than the ring, part by part.  IPCR_OK when the receiver has released the last part;
 * IPCR_PEER_DIED also when a successor threw the rest away.  After IPCR_FULL, or a wait that was given up, the
 * message is not sent, unless its last part was published and is still taken. */
int ipcr_send_parts_wait(struct ipcr_end *e, const struct ipcr_piece *pieces, uint64_t count, uint64_t info,
                         uint64_t deadline_ns, int resume);
/* Messages stand end to end, counts[i] pieces and an info each; lengths are those of the pieces.  Returns how many
 * were written: published every few KiB, so that the receiver can begin, and at the end. */
#define IPCR_MOST_PIECES 16
int64_t ipcr_send_many(struct ipcr_end *e, const char *messages, const uint64_t *lengths, const uint64_t *counts,
                       const uint64_t *infos, uint64_t messages_count);
/* The same without their standing anywhere.  The end is busy in between. */
int ipcr_batch_begin(struct ipcr_end *e);
int ipcr_batch_add(struct ipcr_end *e, const char *message, uint64_t length, uint64_t info);
void ipcr_batch_end(struct ipcr_end *e);
/* Room for one more message of this length?  IPCR_OK when there is. */
int ipcr_room_wait(struct ipcr_end *e, uint64_t length, uint64_t deadline_ns, int resume);
/* Until the receiver has released everything that was sent: IPCR_OK, or IPCR_FULL at the deadline. */
int ipcr_flush_wait(struct ipcr_end *e, uint64_t deadline_ns, int resume);
/* Lend room for `length` bytes in the ring; send the first `length` of them, or nothing. */
int ipcr_claim(struct ipcr_end *e, uint64_t length);
int ipcr_commit(struct ipcr_end *e, uint64_t length, uint64_t info);
int ipcr_abort(struct ipcr_end *e);
/* The same for this thread's own claim or peek, which it can't have any use for; IPCR_LENT: it is another's. */
int ipcr_take_back(struct ipcr_end *e);

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
/* Copy whole messages end to end into out[room], at most `most`, with the result of each.  Returns how many;
 * 0 when the first alone is longer than `room` (peek it).  A run of raw bytes is taken, if take_raw says so.  A
 * run of other messages stays, because decoding them may fail: ipcr_skip takes those that were decoded, and is told
 * where that run began; IPCR_BUSY when another thread has taken messages in between. */
int64_t ipcr_recv_many(struct ipcr_end *e, char *out, uint64_t room, int64_t *results, uint64_t most,
                       bool take_raw, uint64_t *from);
int ipcr_skip(struct ipcr_end *e, uint64_t from, uint64_t count);
/* Messages in place.  begin and next return a result and where the payload stands; when begin's is negative
 * nothing was begun, otherwise the end is busy until `end`.  next steps over the message before, and `taken`
 * says whether `end` does. */
int64_t ipcr_reading_begin(struct ipcr_end *e, const char **payload);
int64_t ipcr_reading_next(struct ipcr_end *e, const char **payload);
void ipcr_reading_end(struct ipcr_end *e, int taken);
/* Spin before the next look at an empty ring, if that makes sense. */
void ipcr_spin_for_data(struct ipcr_end *e);
/* IPCR_IN_PARTS from any of these: the next message comes in parts.  begin returns its length and encoding as a
 * result, and may be called again; IPCR_GIVEN_UP when there is none.  read copies the bytes up to `upto` to
 * out[upto - from] (NULL: nowhere), of which those below ipcr_parts_done are there already, and waits for them;
 * IPCR_GIVEN_UP when the rest will not come. */
#define IPCR_MOST_IN_PARTS (UINT64_C(1) << 47)
int64_t ipcr_parts_begin(struct ipcr_end *e);
int ipcr_parts_read(struct ipcr_end *e, char *out, uint64_t from, uint64_t upto, uint64_t deadline_ns, int resume);
uint64_t ipcr_parts_done(const struct ipcr_end *e);
int ipcr_data_wait(struct ipcr_end *e, uint64_t deadline_ns, int resume);
int64_t ipcr_peek(struct ipcr_end *e);
int ipcr_release(struct ipcr_end *e);

/* Of a claim or peek that is outstanding. */
char *ipcr_lent(struct ipcr_end *e);
uint64_t ipcr_lent_skew(const struct ipcr_end *e); /* how far it is behind a multiple of 64 */
/* Of the message received last, or claimed or peeked at. */
uint64_t ipcr_last_info(struct ipcr_end *e);
uint64_t ipcr_last_sequence(struct ipcr_end *e);

/* For callers that poll: is the other side gone?  A system call at most every slice, otherwise IPCR_OK. */
int ipcr_peer_sometimes(struct ipcr_end *e);

/* Give up a wait that returned IPCR_AGAIN to this thread. */
void ipcr_stop_waiting(struct ipcr_end *e);

#endif

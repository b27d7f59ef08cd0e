/* queues.h - what the accelerator's rooms for queues and multicasts share. */
#ifndef IPCR_FAST_QUEUES_H
#define IPCR_FAST_QUEUES_H

#include "fast.h"

/* The root of every queue's class. */
struct fast_queue {
    PyObject_HEAD
    PyObject *owner;           /* frees the handle when nobody has it any more: closing drops it while others are inside */
    struct ipcr_queue *handle; /* NULL: nothing is fast */
    uint64_t lease_ns;
    int puts, gets, acks; /* which of these are */
    struct fast_scratch *scratch; /* of get_many, kept for the next one; NULL: none, or in use */
};

/* The root of Publisher and Subscriber. */
struct fast_seat {
    PyObject_HEAD
    PyObject *owner; /* frees the handle when nobody has it any more: closing drops it while others are inside */
    void *handle;    /* NULL: nothing is fast */
    int pickles;     /* of a subscriber: whether it decodes those as well */
    struct fast_lender lender;
};

/* Sleep until a publisher may have room, or a subscriber a message, for as long as that takes; -1 and an error: it was
 * closed, the publisher died, a signal's handler raised.  The seat's handle must be open. */
enum fast_side { FAST_PUBLISHER, FAST_SUBSCRIBER };
int fast_sleep(PyObject *self, enum fast_side side);

enum fast_queue_name { PUT, PUT_READY, PUT_MANY, GET, GET_WAITING, GET_MANY, FINISH_AT, NAMES_OF_QUEUES };
extern PyObject *fast_queue_names[NAMES_OF_QUEUES]; /* interned */

/* The bytes that go for an object, and what goes along with them; NULL without an error if it is none of ours.  When
 * another thread's object has buffers meanwhile, this one may be left to Python as well. */
PyObject *fast_encoded(PyObject *obj, uint64_t *info);
/* The message's id, or why it didn't go. */
int64_t fast_put_now(const struct fast_queue *q, PyObject *data, uint64_t info);
/* It is encoded already: name(encoding, data, *rest), in Python.  Takes the reference. */
PyObject *fast_encoded_to(PyObject *name, PyObject *self, uint64_t info, PyObject *data, PyObject *const *rest,
                          Py_ssize_t count, PyObject *names);
/* Spin for a message without the interpreter lock; whether there may be one, for a handle that is still open. */
int fast_spin(const struct fast_queue *q, struct ipcr_queue *handle);
static inline int fast_skew(int64_t result) { return 8 * (int)(result >> IPCR_RESULT_SKEW_SHIFT & 7); }
static inline int fast_encoding(int64_t result) { return (int)(result >> IPCR_RESULT_ENCODING_SHIFT & 0xff); }
static inline int64_t fast_length(int64_t result) { return result & ((INT64_C(1) << IPCR_RESULT_ENCODING_SHIFT) - 1); }
/* Is the message one of ours: raw bytes, or a plain pickle, that stand in our memory? */
int fast_is_simple(int64_t result);
PyObject *fast_loads(PyObject *data); /* unpickled */
PyObject *fast_decoded(const char *bytes, int64_t result);

#endif

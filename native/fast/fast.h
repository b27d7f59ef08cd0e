/* fast.h - the CPython accelerator: the fast cases of the hottest methods, and nothing else.
 *
 * Whatever else a method here meets, it leaves as it was and calls the Python method of the same name
 * (`_send_over_cffi` and so on), which does everything.  Both drive the same handle through the same core.
 *
 * Compiles nothing of the core: the cffi module has the only copy, and gives us a table of functions (fast_calls.h).
 */
#ifndef IPCR_FAST_H
#define IPCR_FAST_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "fast_calls.h"

extern const struct ipcr_fast_calls *fast_core; /* set once, by connect() */

/* What an end that lends arrays remembers of the last one: see lending.c. */
struct fast_lender {
    PyObject *parts;       /* what it was */
    PyObject *asked_dtype; /* of a writer: by which dtype it was asked for */
    int lends;             /* of a reader: memory and arrays, to views */
};
static inline void fast_forget(struct fast_lender *lender)
{
    Py_CLEAR(lender->parts);
    Py_CLEAR(lender->asked_dtype);
}

/* The root of every end's class.  `handle` is owned by the Python part, which unbinds before it frees. */
struct fast_end {
    PyObject_HEAD
    struct ipcr_end *handle; /* NULL: nothing is fast */
    Py_ssize_t most;         /* longest message handled here; -1: none */
    struct fast_lender lender;
};

enum { KEEP_LOCK = 65536 }; /* longer ones are copied without the interpreter lock */

#define FAST(function) ((PyCFunction)(void (*)(void))(function))

/* A method for classes whose root is one of our types. */
struct fast_method {
    PyMethodDef method;
    const char *of; /* the class that has it */
    const char *signature;
};

/* The same call, to the Python method. */
PyObject *fast_leave(PyObject *name, PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *names);
/* Nothing but perhaps a timeout that nothing is wrong with (None, or a number of seconds) behind `count` arguments, the
 * last of them positional if `positional` says so. */
int fast_only_a_timeout(PyObject *const *args, Py_ssize_t nargs, PyObject *names, Py_ssize_t count, int positional);
int fast_intern(PyObject **strings, const char *const *texts, int count);

/* For methods that go through many objects: a look after signals, and now and then a turn for other threads; -1 and an
 * error if a signal's handler raised. */
int64_t fast_first_turn(void);
int fast_take_turns(int64_t *turn_ns);
/* As the Python methods do: the error on its way says how many messages went before it. */
void fast_say_how_many(const char *attribute, Py_ssize_t count);

/* ends.c, queues.c, queue_batches.c, deliveries.c, multicasts.c, lent.c, lending.c: what they add to the module. */
extern PyTypeObject *fast_end_type, *fast_queue_type, *fast_delivery_type, *fast_seat_type;
extern const struct fast_method fast_end_methods[], fast_queue_methods[], fast_queue_batch_methods[],
    fast_reliable_methods[],
    fast_delivery_methods[], fast_seat_methods[], fast_seat_lending_methods[], fast_end_lending_methods[];
int fast_ends_begin(PyObject *module);
int fast_queues_begin(PyObject *module);
int fast_deliveries_begin(PyObject *module);
int fast_seats_begin(PyObject *module);
int fast_lent_begin(void);
int fast_lending_begin(void);

#endif

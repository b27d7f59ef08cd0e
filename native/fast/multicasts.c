/* multicasts.c - the fast cases of publishing and of receiving what was published; see fast.h.
 *
 * Exact bytes, and objects of the built-in classes that go as plain pickles, without a topic, which can go or come now.
 *
 * The interpreter lock is kept but for long copies and for spinning.  A seat is ours for one message at a time: nobody
 * waits here for a thread that waits for the interpreter.
 */
#include "queues.h"

enum seat_name { PUBLISH, PUBLISH_READY, RECV, NEXT, FINISH, NAMES };
static const char *const name_texts[NAMES] = {
    "_publish_over_cffi", "_publish_ready", "_recv_over_cffi", "___next___over_cffi", "_finish",
};
static PyObject *names_of[NAMES]; /* interned */

/* --- publishing ------------------------------------------------------------------------------------------------- */

static int64_t publish_now(const struct fast_seat *seat, PyObject *data, uint64_t info)
{
    struct ipcr_publisher *publisher = seat->handle;
    const struct ipcr_piece piece = { .data = PyBytes_AS_STRING(data), .length = (uint64_t)PyBytes_GET_SIZE(data) };
    int64_t sequence = IPCR_CLOSED;
    if (publisher == NULL) /* any more: pickling may run other code */
        return sequence;
    if (piece.length <= KEEP_LOCK)
        return fast_core->publish(publisher, NULL, &piece, 1, info);
    PyObject *owner = Py_NewRef(seat->owner);
    Py_BEGIN_ALLOW_THREADS
    sequence = fast_core->publish(publisher, NULL, &piece, 1, info);
    Py_END_ALLOW_THREADS
    if (seat->handle != publisher && sequence == IPCR_FULL) /* nobody is to wait for what another thread has closed */
        sequence = IPCR_CLOSED;
    Py_DECREF(owner);
    return sequence;
}

static PyObject *publish(PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *names)
{
    const struct fast_seat *seat = (const struct fast_seat *)self;
    if (nargs == 1 && seat->handle != NULL && fast_only_a_timeout(args, nargs, names, 1, 0)) {
        uint64_t info;
        PyObject *data = fast_encoded(args[0], &info);
        if (data != NULL) {
            int64_t sequence;
            while ((sequence = publish_now(seat, data, info)) == IPCR_FULL && names == NULL)
                if (fast_sleep(self, FAST_PUBLISHER) != 0) {
                    Py_DECREF(data);
                    return NULL;
                }
            if (sequence < 0)
                return fast_encoded_to(names_of[PUBLISH_READY], self, info, data, args + 1, names == NULL ? 0 : 1, names);
            Py_DECREF(data);
            return PyLong_FromLongLong(sequence);
        }
        if (PyErr_Occurred())
            return NULL;
    }
    return fast_leave(names_of[PUBLISH], self, args, nargs, names);
}

/* --- receiving -------------------------------------------------------------------------------------------------- */

static int64_t length_of(int64_t result) { return result & ((INT64_C(1) << IPCR_RESULT_ENCODING_SHIFT) - 1); }
static int is_bytes(int64_t result) { return result >> IPCR_RESULT_ENCODING_SHIFT == IPCR_BYTES; }

/* What stood in the ring, decoded; takes the reference.  It was taken already, as by the Python method. */
static PyObject *decoded(PyObject *self, PyObject *data, int64_t result)
{
    PyObject *message;
    if (data == NULL || is_bytes(result))
        return data;
    if (((const struct fast_seat *)self)->pickles && result >> IPCR_RESULT_ENCODING_SHIFT == IPCR_PICKLE) {
        message = fast_loads(data);
    } else {
        PyObject *number = PyLong_FromLongLong(result), *stack[] = { self, data, number };
        message = number == NULL ? NULL : PyObject_VectorcallMethod(names_of[FINISH], stack, 3, NULL);
        Py_XDECREF(number);
    }
    Py_DECREF(data);
    return message;
}

/* One that is longer than the inbox, straight into the object that it becomes.  By the time of the copy another one may be
 * the next, where messages are overwritten.  NULL without an error: the Python method sees why. */
static PyObject *take_long(PyObject *self, int64_t result)
{
    const struct fast_seat *seat = (const struct fast_seat *)self;
    struct ipcr_subscriber *subscriber = seat->handle;
    PyObject *owner = Py_NewRef(seat->owner), *data = NULL;
    while (result >= 0 && (result & IPCR_RESULT_LENT) != 0) {
        const Py_ssize_t room = (Py_ssize_t)length_of(result);
        Py_XSETREF(data, PyBytes_FromStringAndSize(NULL, room));
        if (data == NULL)
            break;
        char *there = PyBytes_AS_STRING(data);
        Py_BEGIN_ALLOW_THREADS
        result = fast_core->subscriber_copy(subscriber, there, (uint64_t)room);
        Py_END_ALLOW_THREADS
    }
    Py_DECREF(owner);
    if (data != NULL && result < 0)
        Py_CLEAR(data);
    else if (data != NULL && length_of(result) < PyBytes_GET_SIZE(data))
        _PyBytes_Resize(&data, (Py_ssize_t)length_of(result));
    return decoded(self, data, result);
}

/* The next message; NULL without an error if the Python method must see to it. */
static PyObject *take(PyObject *self, int may_wait)
{
    const struct fast_seat *seat = (const struct fast_seat *)self;
    struct ipcr_subscriber_inbox inbox;
    inbox.subscriber = seat->handle;
    int64_t result = fast_core->subscriber_try_recv_into(&inbox);
    if (result == IPCR_EMPTY && may_wait) {
        PyObject *owner = Py_NewRef(seat->owner);
        Py_BEGIN_ALLOW_THREADS
        result = fast_core->subscriber_recv_into(&inbox);
        Py_END_ALLOW_THREADS
        if (seat->handle != inbox.subscriber && (result == IPCR_EMPTY || (result & IPCR_RESULT_LENT) != 0))
            result = IPCR_CLOSED; /* meanwhile, by another thread: the message stays */
        Py_DECREF(owner); /* perhaps the last one */
    }
    while (result == IPCR_EMPTY && may_wait && fast_sleep(self, FAST_SUBSCRIBER) == 0)
        result = fast_core->subscriber_try_recv_into(&inbox);
    if (result < 0)
        return NULL;
    if ((result & IPCR_RESULT_LENT) != 0)
        return take_long(self, result);
    return decoded(self, PyBytes_FromStringAndSize(inbox.bytes, (Py_ssize_t)length_of(result)), result);
}

static PyObject *receive(enum seat_name python, PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *names)
{
    if (((const struct fast_seat *)self)->handle != NULL && fast_only_a_timeout(args, nargs, names, 0, 1)) {
        PyObject *message = take(self, nargs == 0 && names == NULL);
        if (message != NULL || PyErr_Occurred())
            return message;
    }
    return fast_leave(names_of[python], self, args, nargs, names);
}

static PyObject *recv(PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *names)
{
    return receive(RECV, self, args, nargs, names);
}

static PyObject *next(PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *names)
{
    return nargs == 0 && names == NULL ? receive(NEXT, self, args, nargs, names)
                                       : fast_leave(names_of[NEXT], self, args, nargs, names);
}

/* --- the type --------------------------------------------------------------------------------------------------- */

static PyObject *bind(PyObject *self, PyObject *args)
{
    struct fast_seat *seat = (struct fast_seat *)self;
    PyObject *owner;
    unsigned long long address;
    int pickles, lends;
    if (!PyArg_ParseTuple(args, "OKpp:_bind", &owner, &address, &pickles, &lends))
        return NULL;
    const int usable = fast_core != NULL && address != 0;
    seat->handle = usable ? (void *)(uintptr_t)address : NULL; /* NOLINT: an address of the cffi module */
    seat->pickles = pickles;
    seat->lender.lends = lends;
    Py_XSETREF(seat->owner, usable ? Py_NewRef(owner) : NULL); /* last: it may free what we had, which runs other code */
    Py_RETURN_NONE;
}

static void seat_dealloc(PyObject *self)
{
    PyTypeObject *type = Py_TYPE(self);
    Py_CLEAR(((struct fast_seat *)self)->owner);
    fast_forget(&((struct fast_seat *)self)->lender);
    type->tp_free(self);
    Py_DECREF(type);
}

static PyMethodDef seat_methods[] = {
    { "_bind", bind, METH_VARARGS,
      "_bind($self, owner, address, pickles, lends, /)\n--\n\nUse the core's handle at `address` (0: none), which "
      "`owner` keeps alive." },
    { NULL, NULL, 0, NULL },
};
static PyType_Slot seat_slots[] = {
    { Py_tp_doc, "What the accelerated methods need of a publisher or a subscriber." },
    { Py_tp_methods, seat_methods },
    { Py_tp_dealloc, seat_dealloc },
    { 0, NULL },
};
static PyType_Spec seat_spec = {
    .name = "ipc._core._fast.Seat",
    .basicsize = sizeof(struct fast_seat),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE,
    .slots = seat_slots,
};
PyTypeObject *fast_seat_type;

const struct fast_method fast_seat_methods[] = {
    { { "publish", FAST(publish), METH_FASTCALL | METH_KEYWORDS, NULL }, "Publisher",
      "($self, obj, *, topic=None, timeout=None)" },
    { { "recv", FAST(recv), METH_FASTCALL | METH_KEYWORDS, NULL }, "Subscriber", "($self, timeout=None)" },
    { { "__next__", FAST(next), METH_FASTCALL | METH_KEYWORDS, NULL }, "Subscriber", "($self)" },
    { .of = NULL },
};

int fast_seats_begin(PyObject *module)
{
    fast_seat_type = (PyTypeObject *)PyType_FromSpec(&seat_spec);
    if (fast_seat_type == NULL || fast_intern(names_of, name_texts, NAMES) != 0)
        return -1;
    return PyModule_AddObjectRef(module, "Seat", (PyObject *)fast_seat_type);
}

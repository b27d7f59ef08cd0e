/* ends.c - the fast cases of sending and receiving through the ends of a channel; see fast.h.
 *
 * A method here does exact bytes, without options, that can go or come now.
 *
 * The interpreter lock is kept for copies of up to KEEP_LOCK bytes (a few microseconds), for batches up to
 * BATCH_BYTES, and given up between batches, for larger messages and for spinning.  Nothing that the collector tracks
 * is made while an end is busy: a collection may run finalizers, and one that closes this very end would wait for ever.
 */
#include "fast.h"

#include <stddef.h>

enum { BATCH_BYTES = 4 * KEEP_LOCK, MOST_AT_ONCE = 1024 };

enum fallback { SEND, SEND_MANY, SEND_MANY_FROM, RECV, RECV_MANY, NEXT, FALLBACKS };
static const char *const fallback_names[FALLBACKS] = {
    "_send_over_cffi", "_send_many_over_cffi", "_send_many_from",
    "_recv_over_cffi", "_recv_many_over_cffi", "___next___over_cffi",
};
static PyObject *fallbacks[FALLBACKS]; /* interned */

static PyObject *leave_it(enum fallback which, PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *names)
{
    return fast_leave(fallbacks[which], self, args, nargs, names);
}

/* --- send ----------------------------------------------------------------------------------------------------- */

static PyObject *send(PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *names)
{
    const struct fast_end *end = (const struct fast_end *)self;
    if (nargs == 1 && end->handle != NULL && PyBytes_CheckExact(args[0]) && fast_only_a_timeout(args, nargs, names, 1, 0)) {
        const char *message = PyBytes_AS_STRING(args[0]);
        const Py_ssize_t length = PyBytes_GET_SIZE(args[0]);
        int status;
        if (length <= KEEP_LOCK) {
            status = fast_core->send_bytes(end->handle, message, (uint64_t)length);
        } else {
            Py_BEGIN_ALLOW_THREADS /* the caller holds the object, and bytes don't change */
            status = fast_core->send_bytes(end->handle, message, (uint64_t)length);
            Py_END_ALLOW_THREADS
        }
        if (status == IPCR_OK)
            Py_RETURN_NONE;
    }
    return leave_it(SEND, self, args, nargs, names);
}

/* Adds a batch of items[0..count), of which short exact bytes are ours; *done says how many.  Whether the next one, if
 * there is one, may be ours as well; otherwise it isn't, or there is no room, or the end can't be used. */
static int add_batch(const struct fast_end *end, PyObject *const *items, Py_ssize_t count, Py_ssize_t *done)
{
    Py_ssize_t at = 0, bytes = 0;
    int ours = PyBytes_CheckExact(items[0]) && fast_core->batch_begin(end->handle) == IPCR_OK;
    *done = 0;
    if (!ours)
        return 0;
    while (ours && at < count && at < MOST_AT_ONCE && bytes < BATCH_BYTES) {
        PyObject *item = items[at];
        ours = PyBytes_CheckExact(item) && PyBytes_GET_SIZE(item) <= KEEP_LOCK &&
               fast_core->batch_add(end->handle, PyBytes_AS_STRING(item), (uint64_t)PyBytes_GET_SIZE(item), 0) == IPCR_OK;
        if (ours) {
            bytes += PyBytes_GET_SIZE(item);
            at++;
        }
    }
    fast_core->batch_end(end->handle);
    *done = at;
    return ours;
}

/* A list or a tuple is sent from where it stands, with a look after signals and other threads between batches; the
 * rest, from the first message that is not one of ours, is the Python method's.  A list may change in between. */
static PyObject *send_many(PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *names)
{
    const struct fast_end *end = (const struct fast_end *)self;
    if (nargs != 1 || names != NULL || end->handle == NULL || !(PyList_CheckExact(args[0]) || PyTuple_CheckExact(args[0])))
        return leave_it(SEND_MANY, self, args, nargs, names);
    Py_ssize_t done = 0;
    int64_t turn = fast_first_turn();
    for (;;) {
        const Py_ssize_t left = PySequence_Fast_GET_SIZE(args[0]) - done;
        if (left <= 0)
            return PyLong_FromSsize_t(done);
        Py_ssize_t added;
        const int ours = add_batch(end, PySequence_Fast_ITEMS(args[0]) + done, left, &added);
        done += added;
        if (!ours) /* not bytes, no room, not taken yet, closed: the Python method sees which */
            break;
        if (added == left)
            continue;
        if (fast_take_turns(&turn) != 0) {
            fast_say_how_many("sent", done);
            return NULL;
        }
    }
    if (done == 0)
        return leave_it(SEND_MANY, self, args, nargs, names);
    PyObject *start = PyLong_FromSsize_t(done);
    if (start == NULL)
        return NULL;
    PyObject *more[] = { args[0], start };
    PyObject *result = leave_it(SEND_MANY_FROM, self, more, 2, NULL);
    Py_DECREF(start);
    return result;
}

/* --- recv ----------------------------------------------------------------------------------------------------- */

/* A result of the core that is a whole message of raw bytes, which this receiver takes. */
static int is_ours(const struct fast_end *end, int64_t result)
{
    return result >= 0 && result <= end->most && result >> IPCR_RESULT_ENCODING_SHIFT == 0;
}

/* The next message, if it is one of ours; NULL without an error if it isn't.  With a timeout, the Python method spins. */
static PyObject *take(const struct fast_end *end, int may_spin)
{
    const char *payload;
    int64_t length = fast_core->reading_begin(end->handle, &payload);
    if (length == IPCR_EMPTY && may_spin) {
        Py_BEGIN_ALLOW_THREADS
        fast_core->spin_for_data(end->handle);
        Py_END_ALLOW_THREADS
        length = fast_core->reading_begin(end->handle, &payload);
    }
    if (length < 0)
        return NULL;
    PyObject *message = NULL;
    if (is_ours(end, length)) {
        if (length <= KEEP_LOCK) {
            message = PyBytes_FromStringAndSize(payload, (Py_ssize_t)length);
        } else if ((message = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)length)) != NULL) {
            Py_BEGIN_ALLOW_THREADS
            memcpy(PyBytes_AS_STRING(message), payload, (size_t)length);
            Py_END_ALLOW_THREADS
        }
    }
    fast_core->reading_end(end->handle, message != NULL);
    return message;
}

static PyObject *recv(PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *names)
{
    const struct fast_end *end = (const struct fast_end *)self;
    if (end->handle != NULL && end->most >= 0 && fast_only_a_timeout(args, nargs, names, 0, 1)) {
        PyObject *message = take(end, nargs == 0 && names == NULL);
        if (message != NULL || PyErr_Occurred())
            return message;
    }
    return leave_it(RECV, self, args, nargs, names);
}

static PyObject *next(PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *names)
{
    const struct fast_end *end = (const struct fast_end *)self;
    if (nargs == 0 && names == NULL && end->handle != NULL && end->most >= 0) {
        PyObject *message = take(end, 1);
        if (message != NULL || PyErr_Occurred())
            return message;
    }
    return leave_it(NEXT, self, args, nargs, names);
}

/* What is there now, as long as it is ours, at most `most` messages and KEEP_LOCK bytes or one message. */
static PyObject *take_all(const struct fast_end *end, Py_ssize_t most)
{
    const char *payload;
    PyObject *messages = PyList_New(0); /* now, because it may start a collection */
    if (messages == NULL)
        return NULL;
    int64_t length = fast_core->reading_begin(end->handle, &payload);
    if (length < 0) {
        Py_DECREF(messages);
        return NULL;
    }
    int taken = 0;
    if (is_ours(end, length) && length <= KEEP_LOCK) {
        for (Py_ssize_t bytes = 0;;) {
            PyObject *message = PyBytes_FromStringAndSize(payload, (Py_ssize_t)length);
            if (message == NULL || PyList_Append(messages, message) != 0) {
                Py_XDECREF(message);
                break;
            }
            Py_DECREF(message);
            taken = 1; /* the message at hand is in the list */
            bytes += (Py_ssize_t)length;
            if (PyList_GET_SIZE(messages) >= most || bytes >= BATCH_BYTES)
                break;
            taken = 0;
            length = fast_core->reading_next(end->handle, &payload);
            if (!is_ours(end, length) || length > KEEP_LOCK)
                break;
        }
    }
    fast_core->reading_end(end->handle, taken);
    if (PyList_GET_SIZE(messages) > 0)
        PyErr_Clear(); /* no memory for the next one, say, which is still in the ring: hand out what we have */
    else
        Py_CLEAR(messages);
    return messages;
}

static PyObject *recv_many(PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *names)
{
    const struct fast_end *end = (const struct fast_end *)self;
    if (end->handle != NULL && end->most >= 0 && fast_only_a_timeout(args, nargs, names, nargs == 0 ? 0 : 1, 1)) {
        const Py_ssize_t most = nargs == 0 ? MOST_AT_ONCE : PyLong_CheckExact(args[0]) ? PyLong_AsSsize_t(args[0]) : -1;
        if (most == -1)
            PyErr_Clear(); /* the Python method says what is wrong with it */
        if (most > 0) {
            PyObject *messages = take_all(end, most);
            if (messages != NULL || PyErr_Occurred())
                return messages;
        }
    }
    return leave_it(RECV_MANY, self, args, nargs, names);
}

/* --- the type ------------------------------------------------------------------------------------------------- */

static PyObject *bind(PyObject *self, PyObject *args)
{
    struct fast_end *end = (struct fast_end *)self;
    unsigned long long address;
    Py_ssize_t most;
    int lends;
    if (!PyArg_ParseTuple(args, "Knp:_bind", &address, &most, &lends))
        return NULL;
    end->handle = fast_core != NULL ? (struct ipcr_end *)(uintptr_t)address : NULL; /* NOLINT: an address of the cffi module */
    end->most = most;
    end->lender.lends = lends;
    Py_RETURN_NONE;
}

static PyMethodDef end_methods[] = {
    { "_bind", bind, METH_VARARGS,
      "_bind($self, address, most, lends, /)\n--\n\nUse the core's handle at `address` (0: none) for messages of up to `most` "
      "bytes." },
    { NULL, NULL, 0, NULL },
};

static void end_dealloc(PyObject *self)
{
    PyTypeObject *type = Py_TYPE(self);
    fast_forget(&((struct fast_end *)self)->lender);
    type->tp_free(self);
    Py_DECREF(type);
}

static PyType_Slot end_slots[] = {
    { Py_tp_doc, "What the accelerated methods need of an end." },
    { Py_tp_methods, end_methods },
    { Py_tp_dealloc, end_dealloc },
    { 0, NULL },
};

static PyType_Spec end_spec = {
    .name = "ipc._core._fast.End",
    .basicsize = sizeof(struct fast_end),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE,
    .slots = end_slots,
};

PyTypeObject *fast_end_type;

const struct fast_method fast_end_methods[] = {
    { { "send", FAST(send), METH_FASTCALL | METH_KEYWORDS, NULL }, "MessageSender",
      "($self, obj, *, type=0, timeout=None)" },
    { { "send_many", FAST(send_many), METH_FASTCALL | METH_KEYWORDS, NULL }, "MessageSender",
      "($self, objs, *, type=0, timeout=None)" },
    { { "recv", FAST(recv), METH_FASTCALL | METH_KEYWORDS, NULL }, "MessageReceiver", "($self, timeout=None)" },
    { { "recv_many", FAST(recv_many), METH_FASTCALL | METH_KEYWORDS, NULL }, "MessageReceiver",
      "($self, max=1024, timeout=None)" },
    { { "__next__", FAST(next), METH_FASTCALL | METH_KEYWORDS, NULL }, "MessageReceiver", "($self)" },
    { .of = NULL },
};

int fast_ends_begin(PyObject *module)
{
    if (fast_intern(fallbacks, fallback_names, FALLBACKS) != 0)
        return -1;
    fast_end_type = (PyTypeObject *)PyType_FromSpec(&end_spec);
    return fast_end_type == NULL ? -1 : PyModule_AddObjectRef(module, "End", (PyObject *)fast_end_type);
}

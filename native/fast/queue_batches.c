/* queue_batches.c - the fast cases of putting many messages into a queue, and of taking many; see queues.h. */
#include "queues.h"

enum { MOST_AT_ONCE = 1024, ROOM = 4 * KEEP_LOCK, PUTS_PER_LOOK = 256, BYTES_PER_LOOK = 4 * KEEP_LOCK };

/* Messages on their way in: leased, copied here, decoded, and only then taken. */
struct fast_scratch {
    int64_t results[MOST_AT_ONCE];
    struct ipcr_lease leases[MOST_AT_ONCE];
    char bytes[ROOM];
};

/* --- putting -------------------------------------------------------------------------------------------------- */

/* What isn't ours, and what has no room now, the Python methods put: one message, waiting as long as it takes.  *bytes: of
 * what we did ourselves, without a look after signals and other threads. */
static int put_one(PyObject *self, PyObject *obj, Py_ssize_t *bytes)
{
    uint64_t info;
    PyObject *data = fast_encoded(obj, &info), *done;
    if (data == NULL) {
        if (PyErr_Occurred())
            return -1;
        done = fast_leave(fast_queue_names[PUT], self, &obj, 1, NULL);
    } else if (fast_put_now((const struct fast_queue *)self, data, info) >= 0) {
        *bytes += PyBytes_GET_SIZE(data);
        Py_DECREF(data);
        return 0;
    } else {
        done = fast_encoded_to(fast_queue_names[PUT_READY], self, info, data, NULL, 0, NULL);
    }
    Py_XDECREF(done);
    return done == NULL ? -1 : 0;
}

/* A list or a tuple without options.  Pickling runs other code, which may change the list. */
static PyObject *put_many(PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *names)
{
    const struct fast_queue *q = (const struct fast_queue *)self;
    if (nargs != 1 || names != NULL || !q->puts || !(PyList_CheckExact(args[0]) || PyTuple_CheckExact(args[0])))
        return fast_leave(fast_queue_names[PUT_MANY], self, args, nargs, names);
    int64_t turn = fast_first_turn();
    Py_ssize_t done = 0, bytes = 0;
    while (done < PySequence_Fast_GET_SIZE(args[0])) {
        PyObject *obj = Py_NewRef(PySequence_Fast_GET_ITEM(args[0], done));
        int rc = put_one(self, obj, &bytes);
        Py_DECREF(obj);
        if (rc == 0 && (++done % PUTS_PER_LOOK == 0 || bytes >= BYTES_PER_LOOK)) {
            bytes = 0;
            rc = fast_take_turns(&turn);
        }
        if (rc != 0) {
            fast_say_how_many("put", done);
            return NULL;
        }
    }
    return PyLong_FromSsize_t(done);
}

/* --- taking --------------------------------------------------------------------------------------------------- */

static PyObject *decoded(PyObject *self, const char *bytes, int64_t result)
{
    result &= ~IPCR_RESULT_LENT;
    if (fast_is_simple(result))
        return fast_decoded(bytes, result);
    return PyObject_CallMethod(self, "_decode_at", "KL", (unsigned long long)(uintptr_t)bytes, (long long)result);
}

/* How many of them could be decoded; with an error set if not all. */
static Py_ssize_t decode_all(PyObject *self, const struct fast_scratch *from, int64_t count, PyObject *messages)
{
    const char *at = from->bytes;
    Py_ssize_t done = 0;
    while (done < count) {
        const int lent = (from->results[done] & IPCR_RESULT_LENT) != 0; /* no room for it: the last */
        PyObject *message = decoded(self, lent ? from->leases[done].payload : at, from->results[done]);
        const int rc = message == NULL ? -1 : PyList_Append(messages, message);
        Py_XDECREF(message);
        if (rc != 0)
            break;
        at += fast_length(from->results[done++]);
    }
    return done;
}

/* Does the error that is set end the call (ipc/_core/handlers.py), or is it the message's?  It stays set, or one that came
 * while we asked has taken its place. */
static int was_interrupted(void)
{
    PyObject *type, *value, *trace;
    PyErr_Fetch(&type, &value, &trace);
    PyErr_NormalizeException(&type, &value, &trace);
    if (trace != NULL)
        PyException_SetTraceback(value, trace);
    PyObject *handlers = PyImport_ImportModule("ipc._core.handlers");
    PyObject *answer = handlers == NULL ? NULL : PyObject_CallMethod(handlers, "interrupts", "O", value);
    const int yes = answer != Py_False;
    Py_XDECREF(handlers);
    Py_XDECREF(answer);
    if (answer != NULL) {
        PyErr_Restore(type, value, trace);
    } else {
        Py_XDECREF(type);
        Py_XDECREF(value);
        Py_XDECREF(trace);
    }
    return yes;
}

/* What is leased, decoded, and only then taken: whatever happens meanwhile, none is lost.  Before one that can't be decoded
 * the others end; when it comes first, it is taken, and the error says why. */
static PyObject *hand_out(PyObject *self, struct ipcr_queue *handle, const struct fast_scratch *scratch, int64_t count)
{
    PyObject *messages = PyList_New(0);
    Py_ssize_t done = messages == NULL ? 0 : decode_all(self, scratch, count, messages);
    Py_ssize_t taken = done;
    const int rang = !PyErr_Occurred() && PyErr_CheckSignals() != 0; /* the last moment at which all can go back */
    if (PyErr_Occurred()) {
        if (rang || was_interrupted()) /* they all do */
            taken = done = 0;
        else if (done == 0)
            taken = messages == NULL ? 0 : 1;
        else
            PyErr_Clear();
    }
    taken = (Py_ssize_t)fast_core->lease_end_many(handle, scratch->leases, (uint64_t)count, (uint64_t)taken);
    if (!PyErr_Occurred() && taken < done) { /* the queue was closed meanwhile, which has given back the others */
        if (PyList_SetSlice(messages, taken, done, NULL) == 0 && taken == 0)
            Py_XDECREF(PyObject_CallMethod(self, "_raise", "i", (int)IPCR_CLOSED));
    }
    if (PyErr_Occurred())
        Py_CLEAR(messages);
    return messages;
}

static struct fast_scratch *borrow(struct fast_queue *q)
{
    struct fast_scratch *scratch = q->scratch;
    q->scratch = NULL;
    return scratch != NULL ? scratch : PyMem_RawMalloc(sizeof *scratch);
}

static void give_back(struct fast_queue *q, struct fast_scratch *scratch)
{
    if (q->scratch == NULL)
        q->scratch = scratch;
    else
        PyMem_RawFree(scratch);
}

/* How many there are now, at most `most`, or why none. */
static int64_t lease_many(struct ipcr_queue *handle, struct fast_scratch *to, Py_ssize_t most)
{
    const Py_ssize_t fit = most < MOST_AT_ONCE ? most : MOST_AT_ONCE;
    return fast_core->queue_lease_many(handle, to->bytes, ROOM, to->leases, to->results, (uint64_t)fit);
}

static PyObject *get_many(PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *names)
{
    struct fast_queue *q = (struct fast_queue *)self;
    const Py_ssize_t most = nargs == 0 ? MOST_AT_ONCE : PyLong_CheckExact(args[0]) ? PyLong_AsSsize_t(args[0]) : -1;
    if (most == -1)
        PyErr_Clear(); /* the Python method says what is wrong with it */
    struct fast_scratch *scratch = NULL;
    if (most <= 0 || !q->gets || !fast_only_a_timeout(args, nargs, names, nargs == 0 ? 0 : 1, 1) ||
        (scratch = borrow(q)) == NULL)
        return fast_leave(fast_queue_names[GET_MANY], self, args, nargs, names);
    struct ipcr_queue *handle = q->handle;
    PyObject *owner = Py_NewRef(q->owner), *messages = NULL; /* decoding runs other code, which may close the queue */
    int64_t count = lease_many(handle, scratch, most);
    if (count == IPCR_EMPTY && nargs == 0 && names == NULL && fast_spin(q, handle))
        count = lease_many(handle, scratch, most);
    if (count > 0)
        messages = hand_out(self, handle, scratch, count);
    give_back(q, scratch);
    Py_DECREF(owner);
    return count > 0 ? messages : fast_leave(fast_queue_names[GET_MANY], self, args, nargs, names);
}

const struct fast_method fast_queue_batch_methods[] = {
    { { "put_many", FAST(put_many), METH_FASTCALL | METH_KEYWORDS, NULL }, "Queue",
      "($self, objs, block=True, timeout=None)" },
    { { "get_many", FAST(get_many), METH_FASTCALL | METH_KEYWORDS, NULL }, "Queue", "($self, max=1024, timeout=None)" },
    { .of = NULL },
};

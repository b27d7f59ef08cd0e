/* queues.c - the fast cases of putting into queues and taking from them; see fast.h.
 *
 * Exact bytes, and objects of the built-in classes that go as plain pickles, which can go or come now, without options.
 *
 * The interpreter lock is kept but for long copies and for spinning.  The core's private locks are held for one message
 * at a time by threads that don't need the interpreter meanwhile, so nobody waits here for one who waits for us.
 */
#include "queues.h"

static const char *const name_texts[NAMES_OF_QUEUES] = {
    "_put_over_cffi", "_put_ready", "_put_many_over_cffi", "_get_over_cffi", "_get_waiting", "_get_many_over_cffi",
    "_finish_at",
};
PyObject *fast_queue_names[NAMES_OF_QUEUES];

static PyObject *dumps, *loads, *protocol, *dumps_names, *note_buffer; /* of pickle */

/* --- pickles -------------------------------------------------------------------------------------------------- */

static unsigned long buffers_seen; /* under the interpreter lock */

/* pickle.dumps calls this for what wants to go out of band, and the Python method then does that. */
static PyObject *note(PyObject *self, PyObject *buffer)
{
    (void)self;
    (void)buffer;
    buffers_seen++;
    Py_RETURN_NONE;
}

static PyMethodDef note_method = { "note_buffer", note, METH_O, NULL };

/* Classes whose objects go as pickles, unless they hold something with buffers: PICKLED of queues.py. */
static int is_plain(PyObject *obj)
{
    return PyTuple_CheckExact(obj) || PyList_CheckExact(obj) || PyDict_CheckExact(obj) || PyUnicode_CheckExact(obj) ||
           PyLong_CheckExact(obj) || PyFloat_CheckExact(obj) || PyBool_Check(obj) || PyAnySet_CheckExact(obj) ||
           obj == Py_None;
}

PyObject *fast_encoded(PyObject *obj, uint64_t *info)
{
    if (PyBytes_CheckExact(obj)) {
        *info = IPCR_INFO(0, IPCR_BYTES);
        return Py_NewRef(obj);
    }
    if (!is_plain(obj))
        return NULL;
    const unsigned long before = buffers_seen;
    PyObject *args[] = { obj, protocol, note_buffer };
    PyObject *data = PyObject_Vectorcall(dumps, args, 2, dumps_names);
    if (data != NULL && (buffers_seen != before || !PyBytes_CheckExact(data)))
        Py_CLEAR(data);
    *info = IPCR_INFO(0, IPCR_PICKLE);
    return data;
}

/* --- putting -------------------------------------------------------------------------------------------------- */

int64_t fast_put_now(const struct fast_queue *q, PyObject *data, uint64_t info)
{
    struct ipcr_queue *handle = q->handle;
    const char *message = PyBytes_AS_STRING(data);
    const Py_ssize_t length = PyBytes_GET_SIZE(data);
    int64_t id = IPCR_FULL;
    if (!q->puts) /* any more: pickling may run other code */
        return id;
    if (length <= KEEP_LOCK)
        return fast_core->queue_put(handle, message, (uint64_t)length, info, 0);
    PyObject *owner = Py_NewRef(q->owner);
    Py_BEGIN_ALLOW_THREADS
    id = fast_core->queue_put(handle, message, (uint64_t)length, info, 0);
    Py_END_ALLOW_THREADS
    Py_DECREF(owner);
    return id;
}

PyObject *fast_encoded_to(PyObject *name, PyObject *self, uint64_t info, PyObject *data, PyObject *const *rest,
                          Py_ssize_t count, PyObject *names)
{
    PyObject *stack[8] = { self, PyLong_FromUnsignedLongLong(IPCR_INFO_ENCODING(info)), data };
    PyObject *done = NULL;
    for (Py_ssize_t i = 0; i < count; i++)
        stack[i + 3] = rest[i];
    if (stack[1] != NULL) {
        const Py_ssize_t positional = count - (names == NULL ? 0 : PyTuple_GET_SIZE(names));
        done = PyObject_VectorcallMethod(name, stack, (size_t)positional + 3, names);
    }
    Py_XDECREF(stack[1]);
    Py_DECREF(data);
    return done;
}

/* block and timeout of the standard library, which count only when there is no room now. */
static int is_block_and_timeout(PyObject *const *args, Py_ssize_t nargs, PyObject *names)
{
    if (nargs > 0 && !PyBool_Check(args[0]))
        return 0;
    return fast_only_a_timeout(args, nargs, names, nargs < 1 ? nargs : 1, 1);
}

static PyObject *put(PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *names)
{
    const struct fast_queue *q = (const struct fast_queue *)self;
    if (q->puts && nargs >= 1 && is_block_and_timeout(args + 1, nargs - 1, names)) {
        uint64_t info;
        PyObject *data = fast_encoded(args[0], &info);
        if (data != NULL) {
            if (fast_put_now(q, data, info) < 0)
                return fast_encoded_to(fast_queue_names[PUT_READY], self, info, data, args + 1,
                                       nargs - 1 + (names == NULL ? 0 : 1), names);
            Py_DECREF(data);
            Py_RETURN_NONE;
        }
        if (PyErr_Occurred())
            return NULL;
    }
    return fast_leave(fast_queue_names[PUT], self, args, nargs, names);
}

/* --- getting -------------------------------------------------------------------------------------------------- */

int fast_spin(const struct fast_queue *q, struct ipcr_queue *handle)
{
    PyObject *owner = Py_NewRef(q->owner);
    bool came;
    Py_BEGIN_ALLOW_THREADS
    came = fast_core->queue_spin(handle);
    Py_END_ALLOW_THREADS
    const int open = q->handle == handle;
    Py_DECREF(owner); /* perhaps the last one */
    return came && open;
}

int fast_is_simple(int64_t result)
{
    const int64_t above = result >> IPCR_RESULT_ENCODING_SHIFT;
    return result >= 0 && (above == IPCR_BYTES || above == IPCR_PICKLE);
}

PyObject *fast_loads(PyObject *data) { return PyObject_Vectorcall(loads, &data, 1, NULL); }

PyObject *fast_decoded(const char *bytes, int64_t result)
{
    PyObject *data = PyBytes_FromStringAndSize(bytes, (Py_ssize_t)fast_length(result));
    if (data == NULL || result >> IPCR_RESULT_ENCODING_SHIFT == IPCR_BYTES)
        return data;
    PyObject *message = fast_loads(data);
    Py_DECREF(data);
    return message;
}

/* What we don't decode, Python does.  A signal's handler may raise before it begins: what was leased goes back then. */
static PyObject *finish(PyObject *self, struct ipcr_queue_inbox *inbox, int64_t result)
{
    PyObject *owner = Py_NewRef(((const struct fast_queue *)self)->owner); /* the queue may be closed meanwhile */
    PyObject *message = PyObject_CallMethod(self, name_texts[FINISH_AT], "KL", (unsigned long long)(uintptr_t)inbox,
                                            (long long)result);
    if (message == NULL && (result & IPCR_RESULT_LENT) != 0)
        fast_core->lease_nack(inbox->queue, &inbox->lease, 0); /* nothing, if it was ended already */
    Py_DECREF(owner);
    return message;
}

static PyObject *get(PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *names)
{
    const struct fast_queue *q = (const struct fast_queue *)self;
    struct ipcr_queue_inbox inbox;
    if (!q->gets || !is_block_and_timeout(args, nargs, names))
        return fast_leave(fast_queue_names[GET], self, args, nargs, names);
    inbox.queue = q->handle;
    int64_t result = fast_core->queue_get(&inbox);
    if (result == IPCR_EMPTY && nargs == 0 && names == NULL && fast_spin(q, inbox.queue))
        result = fast_core->queue_get(&inbox);
    if (fast_is_simple(result))
        return fast_decoded(inbox.bytes, result);
    if (result >= 0)
        return finish(self, &inbox, result);
    return fast_leave(fast_queue_names[result == IPCR_EMPTY ? GET_WAITING : GET], self, args, nargs, names);
}

/* --- a queue -------------------------------------------------------------------------------------------------- */

static PyObject *bind(PyObject *self, PyObject *args)
{
    struct fast_queue *q = (struct fast_queue *)self;
    PyObject *owner;
    unsigned long long address, lease_ns;
    int puts, gets, acks;
    if (!PyArg_ParseTuple(args, "OKppKp:_bind", &owner, &address, &puts, &gets, &lease_ns, &acks))
        return NULL;
    const int usable = fast_core != NULL && address != 0;
    q->handle = usable ? (struct ipcr_queue *)(uintptr_t)address : NULL; /* NOLINT: an address of the cffi module */
    q->puts = usable && puts;
    q->gets = usable && gets;
    q->acks = usable && acks;
    q->lease_ns = lease_ns;
    Py_XSETREF(q->owner, usable ? Py_NewRef(owner) : NULL); /* last: it may free what we had, which runs other code */
    Py_RETURN_NONE;
}

static void queue_dealloc(PyObject *self)
{
    PyTypeObject *type = Py_TYPE(self);
    Py_CLEAR(((struct fast_queue *)self)->owner);
    PyMem_RawFree(((struct fast_queue *)self)->scratch);
    type->tp_free(self);
    Py_DECREF(type);
}

static PyMethodDef queue_own_methods[] = {
    { "_bind", bind, METH_VARARGS,
      "_bind($self, owner, address, puts, gets, lease_ns, acks, /)\n--\n\nUse the core's handle at `address` (0: none), "
      "which `owner` keeps alive." },
    { NULL, NULL, 0, NULL },
};
static PyType_Slot queue_slots[] = {
    { Py_tp_doc, "What the accelerated methods need of a queue." },
    { Py_tp_methods, queue_own_methods },
    { Py_tp_dealloc, queue_dealloc },
    { 0, NULL },
};
static PyType_Spec queue_spec = {
    .name = "ipc._core._fast.Queue",
    .basicsize = sizeof(struct fast_queue),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE,
    .slots = queue_slots,
};
PyTypeObject *fast_queue_type;

/* --- what the module gets ------------------------------------------------------------------------------------- */

const struct fast_method fast_queue_methods[] = {
    { { "put", FAST(put), METH_FASTCALL | METH_KEYWORDS, NULL }, "Queue", "($self, obj, block=True, timeout=None)" },
    { { "get", FAST(get), METH_FASTCALL | METH_KEYWORDS, NULL }, "Queue", "($self, block=True, timeout=None)" },
    { .of = NULL },
};

int fast_queues_begin(PyObject *module)
{
    PyObject *pickle = PyImport_ImportModule("pickle");
    if (pickle == NULL || fast_intern(fast_queue_names, name_texts, NAMES_OF_QUEUES) != 0)
        return -1;
    dumps = PyObject_GetAttrString(pickle, "dumps");
    loads = PyObject_GetAttrString(pickle, "loads");
    Py_DECREF(pickle);
    protocol = PyLong_FromLong(5);
    dumps_names = Py_BuildValue("(s)", "buffer_callback");
    note_buffer = PyCFunction_New(&note_method, NULL);
    fast_queue_type = (PyTypeObject *)PyType_FromSpec(&queue_spec);
    if (dumps == NULL || loads == NULL || protocol == NULL || dumps_names == NULL || note_buffer == NULL ||
        fast_queue_type == NULL)
        return -1;
    return PyModule_AddObjectRef(module, "Queue", (PyObject *)fast_queue_type);
}

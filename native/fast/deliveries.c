/* deliveries.c - the fast cases of reliable queues: putting for a receipt, taking a delivery, acknowledging it. */
#include "queues.h"

#include <stddef.h>
#include <structmember.h>

enum delivery_state { HELD, VIEWED, ENDED }; /* as in ipc/_core/delivery.py */

struct delivery {
    PyObject_HEAD
    PyObject *queue, *owner, *message;
    struct ipcr_queue *handle; /* as long as `owner` lives */
    struct ipcr_lease lease;
    long long result;
    int state, lent;
};

enum name { DELIVER_AT, ACK, NAMES };
static const char *const name_texts[NAMES] = { "_deliver_at", "_ack_over_cffi" };
static PyObject *names_of[NAMES]; /* interned */

/* Ours, set by classes(). */
static PyObject *unread, *lease_at;
static PyTypeObject *delivery_class, *receipt_class;

/* --- a delivery ----------------------------------------------------------------------------------------------- */

static PyObject *delivery_ack(PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *names)
{
    struct delivery *d = (struct delivery *)self;
    if (nargs == 0 && names == NULL && d->state == HELD && d->handle != NULL && d->message != unread &&
        ((const struct fast_queue *)d->queue)->acks && fast_core->lease_ack(d->handle, &d->lease) == IPCR_OK) {
        d->state = ENDED;
        Py_RETURN_NONE;
    }
    return fast_leave(names_of[ACK], self, args, nargs, names);
}

/* As Python makes one: _begin(queue, address of the lease, result, message). */
static PyObject *delivery_begin(PyObject *self, PyObject *args)
{
    struct delivery *d = (struct delivery *)self;
    PyObject *queue, *message;
    unsigned long long address;
    long long result;
    if (!PyArg_ParseTuple(args, "O!KLO:_begin", fast_queue_type, &queue, &address, &result, &message))
        return NULL;
    const struct fast_queue *q = (const struct fast_queue *)queue;
    if (q->handle == NULL) /* closed by another thread, or by the message as it was decoded: ClosedError */
        return PyObject_CallMethod(queue, "_raise", "i", IPCR_CLOSED);
    Py_XSETREF(d->queue, Py_NewRef(queue));
    Py_XSETREF(d->owner, Py_NewRef(q->owner));
    Py_XSETREF(d->message, Py_NewRef(message));
    d->handle = q->handle;
    d->lease = *(const struct ipcr_lease *)(uintptr_t)address; /* NOLINT: memory of the cffi module */
    d->result = result;
    Py_RETURN_NONE;
}

static PyObject *delivery_lease(PyObject *self, void *closure)
{
    (void)closure;
    struct delivery *d = (struct delivery *)self;
    return PyObject_CallFunction(lease_at, "K", (unsigned long long)(uintptr_t)&d->lease);
}

static int delivery_traverse(PyObject *self, visitproc visit, void *arg)
{
    struct delivery *d = (struct delivery *)self;
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(d->queue);
    Py_VISIT(d->owner);
    Py_VISIT(d->message);
    return 0;
}

static int delivery_clear(PyObject *self)
{
    struct delivery *d = (struct delivery *)self;
    d->handle = NULL;
    Py_CLEAR(d->queue);
    Py_CLEAR(d->owner);
    Py_CLEAR(d->message);
    return 0;
}

static void delivery_dealloc(PyObject *self)
{
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    delivery_clear(self);
    type->tp_free(self);
    Py_DECREF(type);
}

static PyMemberDef delivery_members[] = {
    { "_queue", T_OBJECT_EX, offsetof(struct delivery, queue), READONLY, NULL },
    { "_handle", T_OBJECT_EX, offsetof(struct delivery, owner), READONLY, NULL },
    { "_message", T_OBJECT_EX, offsetof(struct delivery, message), 0, NULL },
    { "_result", T_LONGLONG, offsetof(struct delivery, result), READONLY, NULL },
    { "_state", T_INT, offsetof(struct delivery, state), 0, NULL },
    { "_lent", T_INT, offsetof(struct delivery, lent), 0, NULL },
    { NULL, 0, 0, 0, NULL },
};
static PyGetSetDef delivery_getters[] = {
    { "_lease", delivery_lease, NULL, "The core's struct, as long as the delivery lives.", NULL },
    { NULL, NULL, NULL, NULL, NULL },
};
static PyMethodDef delivery_own_methods[] = {
    { "_begin", delivery_begin, METH_VARARGS,
      "_begin($self, queue, address, result, message, /)\n--\n\nHold the lease that stands at `address`." },
    { NULL, NULL, 0, NULL },
};
static PyType_Slot delivery_slots[] = {
    { Py_tp_doc, "What the accelerated methods need of a delivery." },
    { Py_tp_members, delivery_members },
    { Py_tp_getset, delivery_getters },
    { Py_tp_methods, delivery_own_methods },
    { Py_tp_traverse, delivery_traverse },
    { Py_tp_clear, delivery_clear },
    { Py_tp_dealloc, delivery_dealloc },
    { 0, NULL },
};
static PyType_Spec delivery_spec = {
    .name = "ipc._core._fast.Delivery",
    .basicsize = sizeof(struct delivery),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC,
    .slots = delivery_slots,
};
PyTypeObject *fast_delivery_type;

/* --- getting and putting -------------------------------------------------------------------------------------- */

static PyObject *deliver(PyObject *self, const struct ipcr_lease *lease, int64_t result, PyObject *message)
{
    const struct fast_queue *q = (const struct fast_queue *)self;
    struct delivery *d = (struct delivery *)delivery_class->tp_alloc(delivery_class, 0);
    if (d == NULL)
        return NULL;
    d->queue = Py_NewRef(self);
    d->owner = Py_NewRef(q->owner);
    d->handle = q->handle;
    d->message = Py_NewRef(message);
    d->lease = *lease;
    d->result = result;
    return (PyObject *)d;
}

static PyObject *get(PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *names)
{
    const struct fast_queue *q = (const struct fast_queue *)self;
    struct ipcr_queue_inbox inbox;
    struct ipcr_lease lease;
    if (!q->gets || delivery_class == NULL || !fast_only_a_timeout(args, nargs, names, 0, 1))
        return fast_leave(fast_queue_names[GET], self, args, nargs, names);
    inbox.queue = q->handle;
    const int64_t result = fast_core->queue_lease(&inbox, &lease, q->lease_ns);
    if (result < 0)
        return fast_leave(fast_queue_names[GET], self, args, nargs, names);
    PyObject *owner = Py_NewRef(q->owner); /* decoding may close the queue */
    PyObject *message = NULL, *delivery = NULL;
    if (!fast_is_simple(result))
        delivery = PyObject_CallMethod(self, name_texts[DELIVER_AT], "KKL", (unsigned long long)(uintptr_t)&inbox,
                                       (unsigned long long)(uintptr_t)&lease, (long long)result);
    else if ((message = fast_decoded(inbox.bytes, result)) != NULL)
        delivery = q->handle != NULL ? deliver(self, &lease, result, message)
                                     : fast_leave(fast_queue_names[GET], self, args, nargs, names); /* it is closed */
    if (delivery == NULL)
        fast_core->lease_nack(inbox.queue, &lease, 0); /* nobody knows of it; nothing, if it was ended already */
    Py_XDECREF(message);
    Py_DECREF(owner);
    return delivery;
}

static PyObject *put(PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *names)
{
    const struct fast_queue *q = (const struct fast_queue *)self;
    if (q->puts && nargs >= 1 && receipt_class != NULL && fast_only_a_timeout(args, nargs, names, 1, 1)) {
        uint64_t info;
        PyObject *data = fast_encoded(args[0], &info);
        if (data != NULL) {
            const int64_t id = fast_put_now(q, data, info);
            if (id < 0)
                return fast_encoded_to(fast_queue_names[PUT_READY], self, info, data, args + 1,
                                       nargs - 1 + (names == NULL ? 0 : 1), names);
            Py_DECREF(data);
            PyObject *number = PyLong_FromLongLong(id), *receipt = NULL;
            if (number != NULL) {
                PyObject *both[] = { self, number };
                receipt = PyObject_Vectorcall((PyObject *)receipt_class, both, 2, NULL);
                Py_DECREF(number);
            }
            return receipt;
        }
        if (PyErr_Occurred())
            return NULL;
    }
    return fast_leave(fast_queue_names[PUT], self, args, nargs, names);
}

/* --- what the module gets ------------------------------------------------------------------------------------- */

const struct fast_method fast_delivery_methods[] = {
    { { "ack", FAST(delivery_ack), METH_FASTCALL | METH_KEYWORDS, NULL }, "Delivery", "($self)" },
    { .of = NULL },
};
const struct fast_method fast_reliable_methods[] = {
    { { "put", FAST(put), METH_FASTCALL | METH_KEYWORDS, NULL }, "ReliableQueue",
      "($self, obj, timeout=None, ttl=None)" },
    { { "get", FAST(get), METH_FASTCALL | METH_KEYWORDS, NULL }, "ReliableQueue", "($self, timeout=None)" },
    { .of = NULL },
};

/* What a fast get and a fast put return is made from. */
static PyObject *classes(PyObject *module, PyObject *args)
{
    PyObject *delivery, *receipt, *mark, *cast;
    (void)module;
    if (!PyArg_ParseTuple(args, "O!O!OO:classes", &PyType_Type, &delivery, &PyType_Type, &receipt, &mark, &cast))
        return NULL;
    if (!PyType_IsSubtype((PyTypeObject *)delivery, fast_delivery_type))
        return PyErr_Format(PyExc_TypeError, "%R has another root", delivery);
    Py_XSETREF(delivery_class, (PyTypeObject *)Py_NewRef(delivery));
    Py_XSETREF(receipt_class, (PyTypeObject *)Py_NewRef(receipt));
    Py_XSETREF(unread, Py_NewRef(mark));
    Py_XSETREF(lease_at, Py_NewRef(cast));
    Py_RETURN_NONE;
}

static PyMethodDef module_additions[] = {
    { "classes", classes, METH_VARARGS,
      "classes($module, delivery, receipt, unread, lease_at, /)\n--\n\nWhat a reliable queue's methods return; the mark "
      "of a message that was not read; and how an address becomes a lease." },
    { NULL, NULL, 0, NULL },
};

int fast_deliveries_begin(PyObject *module)
{
    if (fast_intern(names_of, name_texts, NAMES) != 0)
        return -1;
    fast_delivery_type = (PyTypeObject *)PyType_FromSpec(&delivery_spec);
    if (fast_delivery_type == NULL ||
        PyModule_AddObjectRef(module, "Delivery", (PyObject *)fast_delivery_type) != 0)
        return -1;
    return PyModule_AddFunctions(module, module_additions);
}

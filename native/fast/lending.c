/* lending.c - what writers claim and readers view, of channels and multicasts; see fast.h and ipc/_core/lending.py.
 *
 * Memory, and arrays, that can be lent now, without a type, a topic or a timeout.  A loan that can't be made at once is Python's: it asks the method over
 * cffi for one, and hands its `with` on to that.
 *
 * Two objects, as in Python: the loan, by which the end knows (by a weak reference) whether anybody has what it lent, and
 * the exporter, which keeps the memory mapped, and to which everything refers that is made from it: whoever still does
 * when the `with` ends is counted.
 */
#include "queues.h"

#include <structmember.h>

enum { ALIGNMENT = 64, LONGEST = 1 << 30 }; /* more than LONGEST is left to Python, which knows what is too much */

enum name { CLAIM, VIEW, NAMES };
static const char *const name_texts[NAMES] = { "_claim_over_cffi", "_view_over_cffi" };
static PyObject *names_of[NAMES], *use_name, *nbytes_name, *segment_name; /* interned */
static PyTypeObject *exporter_type, *loan_type;

/* --- the exporter ----------------------------------------------------------------------------------------------- */

struct exporter {
    PyObject_HEAD
    PyObject *owner; /* it keeps the segment mapped */
    char *memory;
    Py_ssize_t size;
    int read_only;
};

/* Takes the reference to its owner. */
static PyObject *new_exporter(PyObject *owner, char *memory, Py_ssize_t size, int read_only)
{
    struct exporter *made = owner == NULL ? NULL : PyObject_New(struct exporter, exporter_type);
    if (made == NULL) {
        Py_XDECREF(owner);
        return NULL;
    }
    made->owner = owner;
    made->memory = memory;
    made->size = size;
    made->read_only = read_only;
    return (PyObject *)made;
}

static int get_buffer(PyObject *self, Py_buffer *view, int flags)
{
    const struct exporter *e = (const struct exporter *)self;
    return PyBuffer_FillInfo(view, self, e->memory, e->size, e->read_only, flags);
}

static void exporter_dealloc(PyObject *self)
{
    PyTypeObject *type = Py_TYPE(self);
    Py_DECREF(((struct exporter *)self)->owner);
    type->tp_free(self);
    Py_DECREF(type);
}

static PyType_Slot exporter_slots[] = {
    { Py_tp_doc, "Memory of a ring, while it is lent." },
    { Py_tp_dealloc, exporter_dealloc },
    { Py_bf_getbuffer, get_buffer },
    { 0, NULL },
};
static PyType_Spec exporter_spec = {
    .name = "ipc._core._fast.Exporter",
    .basicsize = sizeof(struct exporter),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = exporter_slots,
};

/* --- arrays ------------------------------------------------------------------------------------------------------- */

/* What encodings.parts_to_claim and array_parts say of an array. */
enum part { HEAD, DTYPE, SHAPE, ORDER, BYTES };

static PyObject *part(PyObject *parts, enum part which) { return PyTuple_GET_ITEM(parts, which); }

static PyObject *from_encoding(const char *function, const char *format, ...)
{
    va_list arguments;
    PyObject *module = PyImport_ImportModule("ipc._core.encoding"), *made = NULL;
    PyObject *callable = module == NULL ? NULL : PyObject_GetAttrString(module, function);
    va_start(arguments, format);
    PyObject *args = callable == NULL ? NULL : Py_VaBuildValue(format, arguments);
    va_end(arguments);
    if (args != NULL)
        made = PyObject_CallObject(callable, args);
    Py_XDECREF(args);
    Py_XDECREF(callable);
    Py_XDECREF(module);
    return made;
}

static Py_ssize_t head_bytes(PyObject *parts) { return PyBytes_GET_SIZE(part(parts, HEAD)); }

static uint64_t data_bytes(PyObject *parts) { return PyLong_AsUnsignedLongLong(part(parts, BYTES)); }

/* Where the data begin, in a message that stands `skew` behind a multiple of ALIGNMENT. */
static Py_ssize_t data_at(PyObject *parts, int skew)
{
    return (skew + head_bytes(parts) + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT - skew;
}

static PyObject *array_over(PyObject *parts, PyObject *exporter, Py_ssize_t at)
{
    static PyObject *ndarray; /* numpy is imported by whoever needs the first array */
    if (ndarray == NULL) {
        PyObject *numpy = PyImport_ImportModule("numpy");
        ndarray = numpy == NULL ? NULL : PyObject_GetAttrString(numpy, "ndarray");
        Py_XDECREF(numpy);
        if (ndarray == NULL)
            return NULL;
    }
    PyObject *offset = PyLong_FromSsize_t(at), *made = NULL;
    PyObject *args[] = { part(parts, SHAPE), part(parts, DTYPE), exporter, offset, Py_None, part(parts, ORDER) };
    if (offset != NULL)
        made = PyObject_Vectorcall(ndarray, args, 6, NULL);
    Py_XDECREF(offset);
    return made;
}

/* Whoever renames the fields of an array that came with a dtype changes it: such a one is asked for each time. */
static int may_be_kept(PyObject *parts)
{
    PyObject *fields = PyObject_GetAttrString(part(parts, DTYPE), "names");
    const int plain = fields == Py_None;
    PyErr_Clear();
    Py_XDECREF(fields);
    return plain;
}

static int is_plain_shape(PyObject *shape)
{
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(shape); i++) {
        PyObject *extent = PyTuple_GET_ITEM(shape, i);
        int overflow;
        if (!PyLong_CheckExact(extent) || PyLong_AsLongAndOverflow(extent, &overflow) < 0 || overflow != 0)
            return 0;
    }
    return 1;
}

/* What an array of that shape and dtype is; NULL without an error if Python must see to it.  The one before is kept. */
static PyObject *parts_to_claim(struct fast_lender *of, PyObject *shape, PyObject *dtype)
{
    if (dtype == Py_None || !PyTuple_CheckExact(shape) || !is_plain_shape(shape))
        return NULL;
    if (of->parts != NULL && of->asked_dtype == dtype && PyUnicode_CheckExact(dtype)) {
        const int same = PyObject_RichCompareBool(part(of->parts, SHAPE), shape, Py_EQ);
        if (same != 0)
            return same < 0 ? NULL : Py_NewRef(of->parts);
    }
    PyObject *parts = from_encoding("parts_to_claim", "(OO)", dtype, shape);
    if (parts != NULL && PyUnicode_CheckExact(dtype) && may_be_kept(parts)) {
        Py_XSETREF(of->parts, Py_NewRef(parts));
        Py_XSETREF(of->asked_dtype, Py_NewRef(dtype));
    }
    return parts;
}

/* What the message of this result is, that stands there: its head may be the last one's, byte for byte. */
static PyObject *parts_of_message(struct fast_lender *of, const char *memory, int64_t result, PyObject *exporter)
{
    const uint64_t size = (uint64_t)fast_length(result);
    if (of->parts != NULL) {
        const uint64_t at = (uint64_t)data_at(of->parts, fast_skew(result));
        if (at <= size && size - at == data_bytes(of->parts) &&
            memcmp(memory, PyBytes_AS_STRING(part(of->parts, HEAD)), (size_t)head_bytes(of->parts)) == 0)
            return Py_NewRef(of->parts);
    }
    PyObject *view = PyMemoryView_FromObject(exporter);
    PyObject *parts = view == NULL ? NULL : from_encoding("array_parts", "(OKi)", view, (unsigned long long)size, fast_skew(result));
    Py_XDECREF(view);
    if (parts != NULL && may_be_kept(parts))
        Py_XSETREF(of->parts, Py_NewRef(parts));
    return parts;
}

/* --- a loan ------------------------------------------------------------------------------------------------------- */

struct loan {
    PyObject_HEAD
    PyObject *weak;
    PyObject *end;    /* a sender, a receiver, a publisher or a subscriber */
    void *handle;
    PyObject *args;   /* for Python's method */
    PyObject *python; /* the loan that has taken over */
    PyObject *parts;  /* of an array that was claimed */
    PyObject *exporter, *lent;
    uint64_t size, sent, info;
    int claims;       /* or views */
    int of_multicast; /* or of a channel */
    int out;
    char by_caller; /* see Use of ends.py */
};

static struct fast_lender *lender_of(PyObject *end, int of_multicast)
{
    return of_multicast ? &((struct fast_seat *)end)->lender : &((struct fast_end *)end)->lender;
}

static void *handle_of(PyObject *end, int of_multicast)
{
    return of_multicast ? ((const struct fast_seat *)end)->handle : (void *)((const struct fast_end *)end)->handle;
}

/* The handle goes when its end is closed, whoever has a loan: no call of the core after that. */
static int is_open(const struct loan *loan) { return handle_of(loan->end, loan->of_multicast) == loan->handle; }


static PyObject *new_loan(PyObject *end, int of_multicast, int claims, PyObject *const *args, Py_ssize_t nargs, uint64_t size,
                          PyObject *parts)
{
    struct loan *made = (struct loan *)loan_type->tp_alloc(loan_type, 0); /* all zero */
    if (made == NULL)
        return NULL;
    made->end = Py_NewRef(end);
    made->handle = handle_of(end, of_multicast);
    made->parts = Py_XNewRef(parts);
    made->size = size;
    made->claims = claims;
    made->of_multicast = of_multicast;
    made->by_caller = 1;
    made->args = PyTuple_New(nargs);
    for (Py_ssize_t i = 0; made->args != NULL && i < nargs; i++)
        PyTuple_SET_ITEM(made->args, i, Py_NewRef(args[i]));
    if (made->args == NULL)
        Py_CLEAR(made);
    return (PyObject *)made;
}

static PyObject *claim(int of_multicast, PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *names)
{
    const int by_name =
        names != NULL && nargs == 0 && PyTuple_GET_SIZE(names) == 1 && PyTuple_GET_ITEM(names, 0) == nbytes_name;
    const int usable = handle_of(self, of_multicast) != NULL;
    if (usable && names == NULL && nargs == 2) {
        PyObject *parts = parts_to_claim(lender_of(self, of_multicast), args[0], args[1]), *made = NULL;
        const uint64_t size = parts == NULL ? 0 : (uint64_t)head_bytes(parts) + ALIGNMENT + data_bytes(parts);
        if (parts != NULL && size <= LONGEST)
            made = new_loan(self, of_multicast, 1, args, nargs, size, parts);
        Py_XDECREF(parts);
        if (made != NULL || PyErr_Occurred())
            return made;
    } else if (usable && ((names == NULL && nargs == 1) || by_name) && PyLong_CheckExact(args[0])) {
        int overflow;
        const long size = PyLong_AsLongAndOverflow(args[0], &overflow);
        if (overflow == 0 && size >= 0 && size <= LONGEST)
            return new_loan(self, of_multicast, 1, args, 1, (uint64_t)size, NULL);
    }
    return fast_leave(names_of[CLAIM], self, args, nargs, names);
}

static PyObject *view(int of_multicast, PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *names)
{
    if (nargs == 0 && names == NULL && handle_of(self, of_multicast) != NULL && lender_of(self, of_multicast)->lends)
        return new_loan(self, of_multicast, 0, args, 0, 0, NULL);
    return fast_leave(names_of[VIEW], self, args, nargs, names);
}

static PyObject *claim_of_sender(PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *names)
{
    return claim(0, self, args, nargs, names);
}
static PyObject *claim_of_publisher(PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *names)
{
    return claim(1, self, args, nargs, names);
}
static PyObject *view_of_receiver(PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *names)
{
    return view(0, self, args, nargs, names);
}
static PyObject *view_of_subscriber(PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *names)
{
    return view(1, self, args, nargs, names);
}

/* --- the core, of channels and of multicasts ---------------------------------------------------------------------- */

static int64_t begin_claim(struct loan *loan)
{
    return loan->of_multicast ? fast_core->publisher_claim(loan->handle, NULL, loan->size)
                              : fast_core->claim(loan->handle, loan->size);
}

/* The next message, or why there is none; spins for it. */
static int64_t begin_view(struct loan *loan)
{
    const int multicast = loan->of_multicast;
    PyObject *owner = NULL;
    int64_t result = multicast ? fast_core->subscriber_peek(loan->handle) : fast_core->peek(loan->handle);
    if (result != IPCR_EMPTY)
        return result;
    if (multicast) /* another thread may close it, and then the handle goes with its owner; a channel's stays with its end */
        owner = Py_NewRef(((const struct fast_seat *)loan->end)->owner);
    Py_BEGIN_ALLOW_THREADS
    if (multicast)
        result = fast_core->subscriber_spin_and_peek(loan->handle);
    else
        fast_core->spin_for_data(loan->handle);
    Py_END_ALLOW_THREADS
    const int open = is_open(loan);
    Py_XDECREF(owner); /* perhaps the last one */
    return !open ? IPCR_CLOSED : multicast ? result : fast_core->peek(loan->handle);
}

static char *memory_of(const struct loan *loan)
{
    return !loan->of_multicast ? fast_core->lent(loan->handle)
           : loan->claims      ? fast_core->publisher_lent(loan->handle)
                               : (char *)(uintptr_t)fast_core->subscriber_lent(loan->handle); /* never written to */
}

static int64_t commit(const struct loan *loan)
{
    return loan->of_multicast ? fast_core->publisher_commit(loan->handle, loan->sent, loan->info)
                              : fast_core->commit(loan->handle, loan->sent, loan->info);
}

/* Of a claim nothing is sent; a viewed message is taken or stays. */
static int give_up(const struct loan *loan, int taken)
{
    if (!loan->of_multicast)
        return taken && !loan->claims ? fast_core->release(loan->handle) : fast_core->abort(loan->handle);
    if (loan->claims)
        return fast_core->publisher_abort(loan->handle);
    return taken ? fast_core->subscriber_release(loan->handle) : fast_core->subscriber_put_back(loan->handle);
}

/* --- its beginning ------------------------------------------------------------------------------------------------ */

static PyObject *hand_over(struct loan *loan)
{
    PyObject *python = PyObject_GetAttr(loan->end, names_of[loan->claims ? CLAIM : VIEW]), *lent = NULL;
    if (python != NULL)
        Py_SETREF(python, PyObject_CallObject(python, loan->args));
    if (python != NULL)
        lent = PyObject_CallMethod(python, "__enter__", NULL);
    if (lent != NULL)
        Py_XSETREF(loan->python, Py_NewRef(python));
    Py_XDECREF(python);
    return lent;
}

/* The end forgets who has what it lent; an error on its way stays. */
static void forget(struct loan *loan)
{
    PyObject *type, *value, *trace;
    PyErr_Fetch(&type, &value, &trace);
    if (PyObject_SetAttr(loan->end, use_name, Py_None) != 0)
        PyErr_Clear(); /* no memory, say: its weak reference dies with the loan */
    PyErr_Restore(type, value, trace);
}

/* What is made from the memory refers to the exporter, and that keeps the segment mapped, but not the end open.  The end
 * knows who has it before anything else runs: others would take the memory for abandoned. */
static int export(struct loan *loan, char *memory, Py_ssize_t size)
{
    loan->exporter = new_exporter(PyObject_GetAttr(loan->end, segment_name), memory, size, !loan->claims);
    PyObject *reference = loan->exporter == NULL ? NULL : PyWeakref_NewRef((PyObject *)loan, NULL);
    const int rc = reference == NULL ? -1 : PyObject_SetAttr(loan->end, use_name, reference);
    Py_XDECREF(reference);
    return rc;
}

static PyObject *lend_claimed(struct loan *loan)
{
    char *memory = memory_of(loan);
    loan->sent = loan->size;
    loan->info = IPCR_INFO(0, IPCR_BYTES);
    if (export(loan, memory, (Py_ssize_t)loan->size) != 0)
        return NULL;
    if (loan->parts == NULL)
        return PyMemoryView_FromObject(loan->exporter);
    const Py_ssize_t at = data_at(loan->parts, loan->of_multicast ? 0 : (int)fast_core->lent_skew(loan->handle));
    memcpy(memory, PyBytes_AS_STRING(part(loan->parts, HEAD)), (size_t)head_bytes(loan->parts));
    loan->sent = (uint64_t)at + data_bytes(loan->parts);
    loan->info = IPCR_INFO(0, IPCR_ARRAY);
    return array_over(loan->parts, loan->exporter, at);
}

static PyObject *lend_message(struct loan *loan, int64_t result)
{
    char *memory = memory_of(loan);
    if (export(loan, memory, (Py_ssize_t)fast_length(result)) != 0)
        return NULL;
    if (fast_encoding(result) == IPCR_BYTES)
        return PyMemoryView_FromObject(loan->exporter);
    PyObject *parts = parts_of_message(lender_of(loan->end, loan->of_multicast), memory, result, loan->exporter);
    PyObject *array = parts == NULL ? NULL : array_over(parts, loan->exporter, data_at(parts, fast_skew(result)));
    Py_XDECREF(parts);
    return array;
}

/* Memory or an array, no longer than the reader wants? */
static int is_ours(const struct loan *loan, int64_t result)
{
    return (fast_encoding(result) == IPCR_BYTES || fast_encoding(result) == IPCR_ARRAY) &&
           (loan->of_multicast || fast_length(result) <= ((const struct fast_end *)loan->end)->most);
}

static PyObject *enter(PyObject *self, PyObject *unused)
{
    struct loan *loan = (struct loan *)self;
    (void)unused;
    if (loan->end == NULL)
        return PyErr_Format(PyExc_RuntimeError, "this loan was collected");
    if (loan->python != NULL || loan->out || !is_open(loan))
        return hand_over(loan);
    const int64_t result = loan->claims ? begin_claim(loan) : begin_view(loan);
    if (result < 0)
        return hand_over(loan);
    if (!loan->claims && !is_ours(loan, result)) {
        give_up(loan, 0);
        return hand_over(loan);
    }
    loan->lent = loan->claims ? lend_claimed(loan) : lend_message(loan, result);
    if (loan->lent == NULL) {
        forget(loan);
        Py_CLEAR(loan->exporter);
        if (is_open(loan)) /* making the array ran other code */
            give_up(loan, 1); /* a message that can't be decoded is taken, as by recv */
        return NULL;
    }
    loan->out = 1;
    return Py_NewRef(loan->lent);
}

/* --- its end ------------------------------------------------------------------------------------------------------ */

/* The name in `as` outlives its `with`: from now on it is an empty array, which lets go of the memory. */
static int empty(PyObject *array)
{
    PyObject *dtype = PyObject_GetAttrString(array, "dtype");
    PyObject *done = dtype == NULL ? NULL : PyObject_CallMethod(array, "__setstate__", "((i(i)OOy))", 1, 0, dtype, Py_False, "");
    Py_XDECREF(dtype);
    Py_XDECREF(done);
    return done == NULL ? -1 : 0;
}

/* Take the memory back: is anything still alive that was made from it?  -1 and an error otherwise. */
static int take_back(struct loan *loan)
{
    PyObject *lent = loan->lent, *exporter = loan->exporter;
    int rc = 0;
    loan->lent = loan->exporter = NULL;
    loan->out = 0;
    if (PyMemoryView_Check(lent)) {
        PyObject *done = PyObject_CallMethod(lent, "release", NULL);
        if (done == NULL && PyErr_ExceptionMatches(PyExc_BufferError)) /* a slice or a view of it lives */
            PyErr_Clear();
        else if (done == NULL)
            rc = -1;
        Py_XDECREF(done);
    } else if (Py_REFCNT(lent) <= 2) { /* ours, and the name in `as` */
        rc = empty(lent);
    }
    Py_DECREF(lent);
    if (rc == 0)
        rc = Py_REFCNT(exporter) > 1;
    Py_DECREF(exporter);
    return rc;
}

static PyObject *raise_busy(void)
{
    PyObject *module = PyImport_ImportModule("ipc._core.lending");
    PyObject *never = module == NULL ? NULL : PyObject_CallMethod(module, "raise_busy", NULL);
    Py_XDECREF(module);
    Py_XDECREF(never);
    return NULL;
}

/* What Python raises for it: closed, say. */
static PyObject *raise_status(const struct loan *loan, int64_t status)
{
    return PyObject_CallMethod(loan->end, "_raise", "L", (long long)status);
}

static PyObject *end_claim(struct loan *loan, int failed)
{
    const int busy = take_back(loan);
    forget(loan);
    if (failed || busy || !is_open(loan)) {
        if (is_open(loan))
            give_up(loan, 0);
        if (PyErr_Occurred())
            return NULL;
        if (failed) /* the error on its way may be what holds the memory */
            Py_RETURN_NONE;
        return busy ? raise_busy() : raise_status(loan, IPCR_CLOSED);
    }
    const int64_t status = commit(loan);
    if (status >= 0)
        Py_RETURN_NONE;
    give_up(loan, 0);
    return PyObject_CallMethod(loan->end, loan->of_multicast ? "_check" : "_refuse", "LK", (long long)status,
                               (unsigned long long)loan->sent);
}

static PyObject *end_view(struct loan *loan, int failed)
{
    forget(loan);
    const int status = is_open(loan) ? give_up(loan, 1) : IPCR_CLOSED;
    const int busy = take_back(loan);
    if (busy < 0)
        return NULL;
    if (failed && (status == IPCR_BUSY || status == IPCR_NOTHING_LENT))
        Py_RETURN_NONE; /* nor does that hide an error on its way */
    if (status != IPCR_OK)
        return raise_status(loan, status);
    return busy && !failed ? raise_busy() : Py_NewRef(Py_None);
}

static PyObject *leave(PyObject *self, PyObject *const *args, Py_ssize_t nargs)
{
    struct loan *loan = (struct loan *)self;
    if (nargs != 3)
        return PyErr_Format(PyExc_TypeError, "__exit__() takes 3 arguments");
    PyObject *python = loan->python;
    if (python != NULL) {
        loan->python = NULL;
        PyObject *done = PyObject_CallMethod(python, "__exit__", "OOO", args[0], args[1], args[2]);
        Py_DECREF(python);
        return done;
    }
    if (!loan->out)
        return PyErr_Format(PyExc_RuntimeError, "nothing is lent: __exit__() without __enter__()");
    return (loan->claims ? end_claim : end_view)(loan, args[0] != Py_None);
}

/* --- the types ---------------------------------------------------------------------------------------------------- */

static int traverse(PyObject *self, visitproc visit, void *arg)
{
    struct loan *loan = (struct loan *)self;
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(loan->end);
    Py_VISIT(loan->args);
    Py_VISIT(loan->python);
    Py_VISIT(loan->parts);
    Py_VISIT(loan->lent);
    return 0;
}

static int clear(PyObject *self)
{
    struct loan *loan = (struct loan *)self;
    loan->out = 0; /* whoever ends it after this finds nothing lent */
    Py_CLEAR(loan->end);
    Py_CLEAR(loan->args);
    Py_CLEAR(loan->python);
    Py_CLEAR(loan->parts);
    Py_CLEAR(loan->lent);
    Py_CLEAR(loan->exporter);
    return 0;
}

static void loan_dealloc(PyObject *self)
{
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    if (((struct loan *)self)->weak != NULL)
        PyObject_ClearWeakRefs(self);
    clear(self);
    type->tp_free(self);
    Py_DECREF(type);
}

static PyMethodDef loan_methods[] = {
    { "__enter__", enter, METH_NOARGS, "__enter__($self, /)\n--\n\nLend it." },
    { "__exit__", FAST(leave), METH_FASTCALL, "__exit__($self, kind, error, trace, /)\n--\n\nTake it back." },
    { NULL, NULL, 0, NULL },
};
static PyMemberDef loan_members[] = {
    { "__weaklistoffset__", T_PYSSIZET, offsetof(struct loan, weak), READONLY, NULL },
    { "by_caller", T_BOOL, offsetof(struct loan, by_caller), READONLY, "It ends before its end can be closed." },
    { NULL, 0, 0, 0, NULL },
};
static PyType_Slot loan_slots[] = {
    { Py_tp_doc, "Memory of a ring, lent for the length of a `with`." },
    { Py_tp_methods, loan_methods },
    { Py_tp_members, loan_members },
    { Py_tp_traverse, traverse },
    { Py_tp_clear, clear },
    { Py_tp_dealloc, loan_dealloc },
    { 0, NULL },
};
static PyType_Spec loan_spec = {
    .name = "ipc._core._fast.Loan",
    .basicsize = sizeof(struct loan),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = loan_slots,
};

const struct fast_method fast_seat_lending_methods[] = {
    { { "claim", FAST(claim_of_publisher), METH_FASTCALL | METH_KEYWORDS, NULL }, "Publisher",
      "($self, shape=None, dtype=None, *, nbytes=None, topic=None, timeout=None)" },
    { { "view", FAST(view_of_subscriber), METH_FASTCALL | METH_KEYWORDS, NULL }, "Subscriber", "($self, timeout=None)" },
    { .of = NULL },
};
const struct fast_method fast_end_lending_methods[] = {
    { { "claim", FAST(claim_of_sender), METH_FASTCALL | METH_KEYWORDS, NULL }, "MessageSender",
      "($self, shape=None, dtype=None, *, nbytes=None, type=0, timeout=None)" },
    { { "view", FAST(view_of_receiver), METH_FASTCALL | METH_KEYWORDS, NULL }, "MessageReceiver",
      "($self, timeout=None)" },
    { .of = NULL },
};

int fast_lending_begin(PyObject *module)
{
    (void)module;
    exporter_type = (PyTypeObject *)PyType_FromSpec(&exporter_spec);
    loan_type = (PyTypeObject *)PyType_FromSpec(&loan_spec);
    use_name = PyUnicode_InternFromString("_use");
    nbytes_name = PyUnicode_InternFromString("nbytes");
    segment_name = PyUnicode_InternFromString("_segment");
    return exporter_type == NULL || loan_type == NULL || use_name == NULL || nbytes_name == NULL || segment_name == NULL
               ? -1
               : fast_intern(names_of, name_texts, NAMES);
}

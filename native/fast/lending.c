/* lending.c - what writers claim and readers view, of channels and multicasts; see lending.h and ipc/_core/lending.py.
 *
 * Memory, and arrays, that can be lent now, without a type, a topic or a timeout.  A loan that can't be made at once is
 * Python's: it asks the method over cffi for one, and hands its `with` on to that.
 *
 * Two objects, as in Python: the loan, by which the end knows (by a weak reference) whether anybody has what it lent, and
 * the exporter (lent.c), to which everything refers that is made from the memory: whoever still does when the `with` ends
 * is counted.
 */
#include "lending.h"

#include <structmember.h>

enum { LONGEST = 1 << 30 }; /* more is left to Python, which knows what is too much */

enum name { CLAIM, VIEW, NAMES };
static const char *const name_texts[NAMES] = { "_claim_over_cffi", "_view_over_cffi" };
static PyObject *names_of[NAMES], *use_name, *nbytes_name, *segment_name; /* interned */
static PyTypeObject *loan_type;

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

static int is_of_multicast(PyObject *end) { return PyObject_TypeCheck(end, fast_seat_type); }

static struct fast_lender *lender_of(PyObject *end)
{
    return is_of_multicast(end) ? &((struct fast_seat *)end)->lender : &((struct fast_end *)end)->lender;
}

static void *handle_of(PyObject *end)
{
    return is_of_multicast(end) ? ((const struct fast_seat *)end)->handle : (void *)((const struct fast_end *)end)->handle;
}

/* The handle goes when its end is closed, whoever has a loan: no call of the core after that. */
static int is_open(const struct loan *loan) { return handle_of(loan->end) == loan->handle; }

static PyObject *new_loan(PyObject *end, int claims, PyObject *const *args, Py_ssize_t nargs, uint64_t size, PyObject *parts)
{
    struct loan *made = (struct loan *)loan_type->tp_alloc(loan_type, 0); /* all zero */
    if (made == NULL)
        return NULL;
    made->end = Py_NewRef(end);
    made->handle = handle_of(end);
    made->parts = Py_XNewRef(parts);
    made->size = size;
    made->claims = claims;
    made->of_multicast = is_of_multicast(end);
    made->by_caller = 1;
    made->args = PyTuple_New(nargs);
    for (Py_ssize_t i = 0; made->args != NULL && i < nargs; i++)
        PyTuple_SET_ITEM(made->args, i, Py_NewRef(args[i]));
    if (made->args == NULL)
        Py_CLEAR(made);
    return (PyObject *)made;
}

static PyObject *claim(PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *names)
{
    const int by_name =
        names != NULL && nargs == 0 && PyTuple_GET_SIZE(names) == 1 && PyTuple_GET_ITEM(names, 0) == nbytes_name;
    const int usable = handle_of(self) != NULL;
    if (usable && names == NULL && nargs == 2) {
        PyObject *parts = fast_parts_to_claim(lender_of(self), args[0], args[1]), *made = NULL;
        const uint64_t size =
            parts == NULL ? 0 : (uint64_t)fast_head_bytes(parts) + IPCR_DATA_ALIGNMENT + fast_data_bytes(parts);
        if (parts != NULL && size <= LONGEST)
            made = new_loan(self, 1, args, nargs, size, parts);
        Py_XDECREF(parts);
        if (made != NULL || PyErr_Occurred())
            return made;
    } else if (usable && ((names == NULL && nargs == 1) || by_name) && PyLong_CheckExact(args[0])) {
        int overflow;
        const long size = PyLong_AsLongAndOverflow(args[0], &overflow);
        if (overflow == 0 && size >= 0 && size <= LONGEST)
            return new_loan(self, 1, args, 1, (uint64_t)size, NULL);
    }
    return fast_leave(names_of[CLAIM], self, args, nargs, names);
}

static PyObject *view(PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *names)
{
    if (nargs == 0 && names == NULL && handle_of(self) != NULL && lender_of(self)->lends)
        return new_loan(self, 0, args, 0, 0, NULL);
    return fast_leave(names_of[VIEW], self, args, nargs, names);
}

/* --- the core, of channels and of multicasts ---------------------------------------------------------------------- */

/* Waits for room, if it is a multicast's; an error that was raised meanwhile is none of the results. */
static int64_t begin_claim(struct loan *loan)
{
    if (!loan->of_multicast)
        return fast_core->claim(loan->handle, loan->size);
    int64_t result;
    while ((result = fast_core->publisher_claim(loan->handle, NULL, loan->size)) == IPCR_FULL)
        if (fast_sleep(loan->end, FAST_PUBLISHER) != 0)
            break;
    return result;
}

/* The next message, or why there is none; spins for it, and waits, if it is a multicast's. */
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
    if (!open)
        return IPCR_CLOSED;
    if (!multicast)
        return fast_core->peek(loan->handle);
    while (result == IPCR_EMPTY && fast_sleep(loan->end, FAST_SUBSCRIBER) == 0)
        result = fast_core->subscriber_peek(loan->handle);
    return result;
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
    loan->exporter = fast_new_exporter(PyObject_GetAttr(loan->end, segment_name), memory, size, !loan->claims);
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
    const Py_ssize_t at = fast_data_at(loan->parts, loan->of_multicast ? 0 : (int)fast_core->lent_skew(loan->handle));
    memcpy(memory, fast_head(loan->parts), (size_t)fast_head_bytes(loan->parts));
    loan->sent = (uint64_t)at + fast_data_bytes(loan->parts);
    loan->info = IPCR_INFO(0, IPCR_ARRAY);
    return fast_array_over(loan->parts, loan->exporter, at);
}

static PyObject *lend_message(struct loan *loan, int64_t result)
{
    char *memory = memory_of(loan);
    if (export(loan, memory, (Py_ssize_t)fast_length(result)) != 0)
        return NULL;
    if (fast_encoding(result) == IPCR_BYTES)
        return PyMemoryView_FromObject(loan->exporter);
    PyObject *parts = fast_parts_of_message(lender_of(loan->end), memory, result, loan->exporter), *array = NULL;
    if (parts != NULL)
        array = fast_array_over(parts, loan->exporter, fast_data_at(parts, fast_skew(result)));
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
        return PyErr_Occurred() ? NULL : hand_over(loan);
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
    PyObject *done = NULL;
    if (dtype != NULL)
        done = PyObject_CallMethod(array, "__setstate__", "((i(i)OOy))", 1, 0, dtype, Py_False, "");
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
    { { "claim", FAST(claim), METH_FASTCALL | METH_KEYWORDS, NULL }, "Publisher",
      "($self, shape=None, dtype=None, *, nbytes=None, topic=None, timeout=None)" },
    { { "view", FAST(view), METH_FASTCALL | METH_KEYWORDS, NULL }, "Subscriber", "($self, timeout=None)" },
    { .of = NULL },
};
const struct fast_method fast_end_lending_methods[] = {
    { { "claim", FAST(claim), METH_FASTCALL | METH_KEYWORDS, NULL }, "MessageSender",
      "($self, shape=None, dtype=None, *, nbytes=None, type=0, timeout=None)" },
    { { "view", FAST(view), METH_FASTCALL | METH_KEYWORDS, NULL }, "MessageReceiver",
      "($self, timeout=None)" },
    { .of = NULL },
};

int fast_lending_begin(void)
{
    loan_type = (PyTypeObject *)PyType_FromSpec(&loan_spec);
    use_name = PyUnicode_InternFromString("_use");
    nbytes_name = PyUnicode_InternFromString("nbytes");
    segment_name = PyUnicode_InternFromString("_segment");
    if (loan_type == NULL || use_name == NULL || nbytes_name == NULL || segment_name == NULL)
        return -1;
    return fast_intern(names_of, name_texts, NAMES);
}

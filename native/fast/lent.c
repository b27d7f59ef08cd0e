/* lent.c - memory that is lent, and arrays over it; see lending.h. */
#include "lending.h"

static PyTypeObject *exporter_type;

/* --- the exporter ----------------------------------------------------------------------------------------------- */

struct exporter {
    PyObject_HEAD
    PyObject *owner; /* it keeps the segment mapped */
    char *memory;
    Py_ssize_t size;
    int read_only;
};

PyObject *fast_new_exporter(PyObject *owner, char *memory, Py_ssize_t size, int read_only)
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

static PyObject *encoding; /* ipc._core.encoding, which is complete by the time that anything is lent */

static int find_encoding(void)
{
    if (encoding == NULL)
        encoding = PyImport_ImportModule("ipc._core.encoding");
    return encoding == NULL ? -1 : 0;
}

PyObject *fast_array_over(PyObject *parts, PyObject *exporter, Py_ssize_t at)
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
    PyObject *args[] = { fast_part(parts, SHAPE), fast_part(parts, DTYPE), exporter, offset, Py_None, fast_part(parts, ORDER) };
    if (offset != NULL)
        made = PyObject_Vectorcall(ndarray, args, 6, NULL);
    Py_XDECREF(offset);
    return made;
}

/* Whoever renames the fields of an array that came with a dtype changes it: such a one is asked for each time. */
static int may_be_kept(PyObject *parts)
{
    PyObject *fields = PyObject_GetAttrString(fast_part(parts, DTYPE), "names");
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

PyObject *fast_parts_to_claim(struct fast_lender *of, PyObject *shape, PyObject *dtype)
{
    if (dtype == Py_None || !PyTuple_CheckExact(shape) || !is_plain_shape(shape))
        return NULL;
    if (of->parts != NULL && of->asked_dtype == dtype && PyUnicode_CheckExact(dtype)) {
        const int same = PyObject_RichCompareBool(fast_part(of->parts, SHAPE), shape, Py_EQ);
        if (same != 0)
            return same < 0 ? NULL : Py_NewRef(of->parts);
    }
    if (find_encoding() != 0)
        return NULL;
    PyObject *parts = PyObject_CallMethod(encoding, "parts_to_claim", "OO", dtype, shape);
    if (parts != NULL && PyUnicode_CheckExact(dtype) && may_be_kept(parts)) {
        Py_XSETREF(of->parts, Py_NewRef(parts));
        Py_XSETREF(of->asked_dtype, Py_NewRef(dtype));
    }
    return parts;
}

PyObject *fast_parts_of_message(struct fast_lender *of, const char *memory, int64_t result, PyObject *exporter)
{
    const uint64_t size = (uint64_t)fast_length(result);
    if (of->parts != NULL) {
        const uint64_t at = (uint64_t)fast_data_at(of->parts, fast_skew(result));
        if (at <= size && size - at == fast_data_bytes(of->parts) &&
            memcmp(memory, fast_head(of->parts), (size_t)fast_head_bytes(of->parts)) == 0)
            return Py_NewRef(of->parts);
    }
    PyObject *view = find_encoding() != 0 ? NULL : PyMemoryView_FromObject(exporter), *parts = NULL;
    if (view != NULL)
        parts = PyObject_CallMethod(encoding, "array_parts", "OKi", view, (unsigned long long)size, fast_skew(result));
    Py_XDECREF(view);
    if (parts != NULL && may_be_kept(parts))
        Py_XSETREF(of->parts, Py_NewRef(parts));
    return parts;
}

int fast_lent_begin(void)
{
    exporter_type = (PyTypeObject *)PyType_FromSpec(&exporter_spec);
    return exporter_type == NULL ? -1 : 0;
}

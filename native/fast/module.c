/* module.c - the accelerator as a module, and what its rooms share; see fast.h. */
#include "fast.h"

#include <time.h>

const struct ipcr_fast_calls *fast_core;

static PyObject *timeout_name; /* interned */

int fast_intern(PyObject **strings, const char *const *texts, int count)
{
    for (int i = 0; i < count; i++)
        if ((strings[i] = PyUnicode_InternFromString(texts[i])) == NULL)
            return -1;
    return 0;
}

PyObject *fast_leave(PyObject *name, PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *names)
{
    PyObject *stack[8];
    const Py_ssize_t count = nargs + (names == NULL ? 0 : PyTuple_GET_SIZE(names));
    if (count + 1 > (Py_ssize_t)(sizeof stack / sizeof stack[0]))
        return PyErr_Format(PyExc_TypeError, "%U: too many arguments", name);
    stack[0] = self;
    for (Py_ssize_t i = 0; i < count; i++)
        stack[i + 1] = args[i];
    return PyObject_VectorcallMethod(name, stack, (size_t)nargs + 1, names);
}

static int is_timeout(PyObject *value)
{
    if (value == Py_None)
        return 1;
    if (PyFloat_CheckExact(value))
        return PyFloat_AS_DOUBLE(value) >= 0; /* false for a NaN */
    if (!PyLong_CheckExact(value))
        return 0;
    int overflow;
    return PyLong_AsLongAndOverflow(value, &overflow) >= 0 || overflow > 0;
}

int fast_only_a_timeout(PyObject *const *args, Py_ssize_t nargs, PyObject *names, Py_ssize_t count, int positional)
{
    if (names == NULL)
        return nargs == count || (positional && nargs == count + 1 && is_timeout(args[count]));
    return nargs == count && PyTuple_GET_SIZE(names) == 1 && PyTuple_GET_ITEM(names, 0) == timeout_name &&
           is_timeout(args[count]);
}

/* --- many objects --------------------------------------------------------------------------------------------- */

/* A thread that waits for the interpreter lock asks for it after 5 ms of waiting without a release, and only then does
 * a release hand it over: releasing more often than that would starve it. */
enum { TURN_NS = 10000000 };

static int64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

int64_t fast_first_turn(void) { return now_ns(); }

int fast_take_turns(int64_t *turn_ns)
{
    if (now_ns() - *turn_ns >= TURN_NS) {
        Py_BEGIN_ALLOW_THREADS
        Py_END_ALLOW_THREADS
        *turn_ns = now_ns();
    }
    return PyErr_CheckSignals();
}

void fast_say_how_many(const char *attribute, Py_ssize_t count)
{
    PyObject *type, *value, *trace, *number = NULL;
    PyErr_Fetch(&type, &value, &trace);
    PyErr_NormalizeException(&type, &value, &trace);
    if (value != NULL && (number = PyLong_FromSsize_t(count)) != NULL)
        PyObject_SetAttrString(value, attribute, number);
    Py_XDECREF(number);
    PyErr_Restore(type, value, trace); /* in place of what the two calls may have raised */
}

/* --- the module ----------------------------------------------------------------------------------------------- */

static PyObject *make_method(PyTypeObject *type, const struct fast_method *from, const char *doc)
{
    const size_t room = strlen(from->method.ml_name) + strlen(from->signature) + strlen(doc) + 8;
    PyMethodDef *definition = PyMem_Malloc(sizeof *definition + room);
    if (definition == NULL)
        return PyErr_NoMemory();
    char *text = (char *)(definition + 1);
    PyOS_snprintf(text, room, "%s%s\n--\n\n%s", from->method.ml_name, from->signature, doc);
    *definition = from->method;
    definition->ml_doc = text;
    return PyDescr_NewMethod(type, definition);
}

/* A method for a class, with the documentation of its Python counterpart.  Lives as long as the process. */
static PyObject *method(PyObject *module, PyObject *args)
{
    const char *of, *name, *doc;
    (void)module;
    if (!PyArg_ParseTuple(args, "sss:method", &of, &name, &doc))
        return NULL;
    const struct {
        PyTypeObject *type;
        const struct fast_method *methods;
    } all[] = {
        { fast_end_type, fast_end_methods },
        { fast_queue_type, fast_queue_methods },
        { fast_queue_type, fast_queue_batch_methods },
        { fast_queue_type, fast_reliable_methods },
        { fast_delivery_type, fast_delivery_methods },
        { fast_seat_type, fast_seat_methods },
        { fast_seat_type, fast_seat_lending_methods },
        { fast_end_type, fast_end_lending_methods },
    };
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        for (const struct fast_method *one = all[i].methods; one->of != NULL; one++)
            if (strcmp(one->of, of) == 0 && strcmp(one->method.ml_name, name) == 0)
                return make_method(all[i].type, one, doc);
    return PyErr_Format(PyExc_ValueError, "there is no fast %s.%s", of, name);
}

static PyObject *connect(PyObject *module, PyObject *address)
{
    (void)module;
    const struct ipcr_fast_calls *calls = PyLong_AsVoidPtr(address);
    if (calls == NULL && PyErr_Occurred())
        return NULL;
    if (calls == NULL || calls->version != IPCR_FAST_CALLS_VERSION || calls->bytes != sizeof *calls)
        return PyErr_Format(PyExc_ImportError, "the accelerator and the core are of different builds");
    fast_core = calls;
    Py_RETURN_NONE;
}

static PyMethodDef module_methods[] = {
    { "connect", connect, METH_O, "connect($module, address, /)\n--\n\nTake the core's table of functions." },
    { "method", method, METH_VARARGS,
      "method($module, of, name, doc, /)\n--\n\nA fast method for the class `of`, whose root is one of ours." },
    { NULL, NULL, 0, NULL },
};

static struct PyModuleDef module_definition = {
    PyModuleDef_HEAD_INIT,
    .m_name = "ipc._core._fast",
    .m_doc = "The fast cases of the hottest methods; everything else is Python over cffi.",
    .m_size = -1, /* one core per process: no second copy for another interpreter */
    .m_methods = module_methods,
};

PyMODINIT_FUNC PyInit__fast(void)
{
    timeout_name = PyUnicode_InternFromString("timeout");
    PyObject *module = timeout_name == NULL ? NULL : PyModule_Create(&module_definition);
    if (module != NULL && fast_ends_begin(module) == 0 && fast_queues_begin(module) == 0 &&
        fast_deliveries_begin(module) == 0 && fast_seats_begin(module) == 0 &&
        fast_lent_begin() == 0 && fast_lending_begin() == 0)
        return module;
    Py_XDECREF(module);
    return NULL;
}

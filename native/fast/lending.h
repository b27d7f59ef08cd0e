/* lending.h - what lent.c (memory, and arrays over it) has for lending.c (the loans of it). */
#ifndef IPCR_FAST_LENDING_H
#define IPCR_FAST_LENDING_H

#include "queues.h"

/* Exports memory of a ring, which `owner` keeps mapped; takes the reference to that, NULL for an error. */
PyObject *fast_new_exporter(PyObject *owner, char *memory, Py_ssize_t size, int read_only);

/* What parts_to_claim and array_parts of ipc/_core/encoding.py say of an array: a tuple of these. */
enum fast_part { HEAD, DTYPE, SHAPE, ORDER, BYTES };
static inline PyObject *fast_part(PyObject *parts, enum fast_part which) { return PyTuple_GET_ITEM(parts, which); }
static inline const char *fast_head(PyObject *parts) { return PyBytes_AS_STRING(fast_part(parts, HEAD)); }
static inline Py_ssize_t fast_head_bytes(PyObject *parts) { return PyBytes_GET_SIZE(fast_part(parts, HEAD)); }
static inline uint64_t fast_data_bytes(PyObject *parts) { return PyLong_AsUnsignedLongLong(fast_part(parts, BYTES)); }
/* Where the data begin, in a message that stands `skew` behind a multiple of the alignment. */
static inline Py_ssize_t fast_data_at(PyObject *parts, int skew)
{
    const Py_ssize_t alignment = IPCR_DATA_ALIGNMENT;
    return (skew + fast_head_bytes(parts) + alignment - 1) / alignment * alignment - skew;
}

/* What an array of that shape and dtype is; NULL without an error if Python must see to it.  The one before is kept. */
PyObject *fast_parts_to_claim(struct fast_lender *of, PyObject *shape, PyObject *dtype);
/* What the message of this result is, that stands there: its head may be the last one's, byte for byte. */
PyObject *fast_parts_of_message(struct fast_lender *of, const char *memory, int64_t result, PyObject *exporter);
PyObject *fast_array_over(PyObject *parts, PyObject *exporter, Py_ssize_t at);

#endif

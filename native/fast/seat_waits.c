/* seat_waits.c - publishers that sleep until there is room, and subscribers until there is a message.
 *
 * Without a Python frame: whoever is woken for a few messages, many times a second and among many processes, finds nothing
 * of what it needs in its caches.  As _wait of ipc/_core/multicast_ends.py, with no end to the wait.
 */
#include "queues.h"

static int sleep_a_slice(void *handle, enum fast_side side, int resume)
{
    return side == FAST_PUBLISHER ? fast_core->publisher_wait(handle, IPCR_FOREVER, resume)
                                  : fast_core->subscriber_wait(handle, IPCR_FOREVER, resume);
}

static void stop_waiting(void *handle, enum fast_side side)
{
    if (side == FAST_PUBLISHER)
        fast_core->publisher_stop_waiting(handle);
    else
        fast_core->subscriber_stop_waiting(handle);
}

/* What was handed over to processes that never came for it, after each slice. */
static int sweep(void)
{
    PyObject *parcels = PyImport_ImportModule("ipc._core.parcels");
    PyObject *done = parcels == NULL ? NULL : PyObject_CallMethod(parcels, "sweep", NULL);
    Py_XDECREF(parcels);
    Py_XDECREF(done);
    return done == NULL ? -1 : 0;
}

int fast_sleep(PyObject *self, enum fast_side side)
{
    const struct fast_seat *seat = (const struct fast_seat *)self;
    void *handle = seat->handle;
    PyObject *owner = Py_NewRef(seat->owner); /* it may be closed meanwhile, by another thread or a signal's handler */
    int status, resume = 0, failed;
    do {
        Py_BEGIN_ALLOW_THREADS
        status = sleep_a_slice(handle, side, resume);
        Py_END_ALLOW_THREADS
        failed = PyErr_CheckSignals() != 0 || (status == IPCR_AGAIN && sweep() != 0);
        resume = 1;
    } while (status == IPCR_AGAIN && !failed);
    if (status == IPCR_AGAIN)
        stop_waiting(handle, side);
    if (status == IPCR_OK && seat->handle != handle) /* closed after it had come back */
        status = IPCR_CLOSED;
    if (!failed && status != IPCR_OK) {
        PyObject *never = PyObject_CallMethod(self, "_raise", "i", status);
        Py_XDECREF(never);
        failed = 1;
    }
    Py_DECREF(owner); /* perhaps the last one */
    return failed ? -1 : 0;
}

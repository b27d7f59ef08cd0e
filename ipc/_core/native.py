"""The binding, and the one translation from native results to exceptions."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING, Any, NoReturn

from ipc import errors
from ipc._core import interpreter

interpreter.refuse_unsupported()  # before the extensions, which may refuse without a reason

try:
    from ipc._core._native import ffi, lib
except ModuleNotFoundError as error:
    if error.name != "ipc._core._native":  # of cffi, say
        raise
    raise ImportError(
        f"the extension beside {__file__} is not built.  In a checkout, `make build` does it; to use an installed "
        "ipc-rings, start Python in another directory"
    ) from error

__all__ = ["EndRoot", "QueueRoot", "SeatRoot", "accelerate", "check", "fast", "ffi", "lib", "raise_status"]


# --- the accelerator --------------------------------------------------------------------------------------------


def _find_accelerator() -> Any:
    """The extension that makes the hottest calls faster; everything works without it."""
    if os.environ.get("IPC_PURE_CFFI", "0") not in {"", "0"}:
        return None
    try:
        from ipc._core import _fast

        _fast.connect(int(ffi.cast("uintptr_t", lib.ipcr_fast_calls())))
    except ImportError:  # not built, or left over from another build
        return None
    return _fast


fast = _find_accelerator()

# What the classes of all ends, queues, publishers and subscribers are made from.
if TYPE_CHECKING:
    from ipc._core._fast import End as EndRoot
    from ipc._core._fast import Queue as QueueRoot
    from ipc._core._fast import Seat as SeatRoot
else:
    EndRoot = object if fast is None else fast.End
    QueueRoot = object if fast is None else fast.Queue
    SeatRoot = object if fast is None else fast.Seat


def accelerate(cls: type, *names: str) -> None:
    """Put the accelerator's methods in place of ours, which become what they fall back to."""
    if fast is None:
        return
    for name in names:
        ours = getattr(cls, name)
        if f"_{name}_over_cffi" not in cls.__dict__:
            setattr(cls, f"_{name}_over_cffi", ours)
        setattr(cls, name, fast.method(cls.__name__, name, ours.__doc__ or ""))


# --- results ----------------------------------------------------------------------------------------------------

# result -> (exception, what it means and what to do)
_MEANINGS: dict[int, tuple[type[Exception], str]] = {
    lib.IPCR_CORRUPT: (
        errors.CorruptSegmentError,
        "holds words that no correct peer writes; the segment is lost: close it and create a new one",
    ),
    lib.IPCR_BUSY: (
        errors.BusyError,
        "is in use by another thread of this process; give each thread an end of its own, or use a queue",
    ),
    lib.IPCR_CLOSED: (errors.ClosedError, "is closed"),
    lib.IPCR_END_OF_CHANNEL: (errors.EndOfChannel, "has no other side any more: it was closed cleanly"),
    lib.IPCR_PEER_DIED: (errors.PeerDiedError, "lost its other side: the process there died without closing"),
    lib.IPCR_FORKED: (
        errors.ForkedHandleError,
        "was in use when this process was forked, and stays with the parent; make a new channel for the child",
    ),
    lib.IPCR_EXISTS: (
        errors.SegmentExistsError,
        "exists, and somebody is attached to it; attach to it, choose another name, or remove it with ipc.rm()",
    ),
    lib.IPCR_NOT_FOUND: (errors.SegmentNotFoundError, "does not exist; ipc.ls() shows what does"),
    lib.IPCR_UNTRUSTED: (
        errors.UntrustedSegmentError,
        "belongs to another user, or its mode lets others in (0600 is wanted); it is neither read nor removed",
    ),
    lib.IPCR_NOT_OURS: (
        errors.CorruptSegmentError,
        "is not an ipc-rings segment (no magic number, or too short); choose another name",
    ),
    lib.IPCR_VERSION: (
        errors.IncompatibleFormatError,
        f"has another format than this library's version {lib.IPCR_FORMAT_VERSION}; use the same release on both sides",
    ),
    lib.IPCR_KIND: (errors.IncompatibleFormatError, "is a segment of another kind; `ipc ls` says which"),
    lib.IPCR_TIME_NAMESPACE: (
        errors.IncompatibleFormatError,
        "was made in another time namespace, whose clock differs; attach from the same one",
    ),
    lib.IPCR_IN_PARTS: (errors.CorruptSegmentError, "holds a part of a message where there can be none"),
    lib.IPCR_NOTHING_LENT: (errors.BusyError, "has nothing lent out any more: another thread used it in between"),
    lib.IPCR_GIVEN_UP: (errors.BusyError, "is used by another thread, which met the end of the message first"),
    lib.IPCR_TOO_LARGE: (errors.CorruptSegmentError, "holds a message whose lengths contradict each other"),
    lib.IPCR_WRONG_SIDE: (TypeError, "is at the other side: senders send, receivers receive"),
    lib.IPCR_LEASE_LOST: (
        errors.LeaseLostError,
        "has given this message to somebody else, or it is done with: the lease ran out, or was ended before",
    ),
    lib.IPCR_LAGGED_OUT: (errors.LaggedOutError, "was too far behind, and was evicted"),
    lib.IPCR_SHUT_DOWN: (errors.ShutDown, "was shut down"),
    lib.IPCR_LENT: (errors.BusyError, "has lent out a claim or a view; end its `with` block first"),
    lib.IPCR_NAME_BUSY: (errors.BusyError, "is being removed by a process that does not go on; try again"),
    lib.IPCR_IN_USE: (
        errors.HandOverError,
        "is in use by this process and can't be handed over; hand it over before its first use",
    ),
}


def raise_status(status: int, what: str) -> NoReturn:
    """Raise what a native result means; `what` names the handle or the file."""
    if status <= lib.IPCR_ERRNO_BASE:
        number = lib.IPCR_ERRNO_BASE - status
        reason = os.strerror(number)
        if number in {errno.ENOSPC, errno.ENOMEM}:
            raise errors.OutOfSharedMemoryError(number, f"{what}: {reason}")
        if number == errno.EMFILE:
            raise errors.SharedMemoryError(number, f"{what}: {reason}; raise the limit with `ulimit -n`")
        if number == errno.EBADF:
            reason = "the program closed the segment's descriptor, so nobody's death can be told any more"
        raise errors.SharedMemoryError(number, f"{what}: {reason}")
    kind, meaning = _MEANINGS[status]
    raise kind(f"{what} {meaning}")


def check(status: int, what: str) -> None:
    """Raise unless the native call succeeded."""
    if status < 0:
        raise_status(status, what)

"""Descriptors on their way to a child process.

A handle that is pickled for a child takes the child's claim (or its end) on a new description and sends that along, so
that at no moment is the child unknown.  The parent's copies must go as soon as the child has its own, or a dead child
would look alive.  multiprocessing tells nobody when a start is over, so parcels are swept: by `ipc.spawn` at once,
otherwise whenever a handle is made, closed or has waited for a slice.
"""

from __future__ import annotations

import contextlib
import os
import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import context, reduction
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from ipc._core.native import lib, raise_status
from ipc.errors import HandOverError

if TYPE_CHECKING:
    from ipc._core.ends import End

__all__ = [
    "FdForChild",
    "Handover",
    "close",
    "forget",
    "handing_roles_over",
    "roles_go_along",
    "send",
    "send_copy",
    "starting_process",
    "sweep",
]

# multiprocessing's forkserver passes at most 256 descriptors, a few of them its own
MOST_DESCRIPTORS = 250


class FdForChild(Protocol):
    """What multiprocessing makes of a descriptor; `detach()` gives it back in the child."""

    def detach(self) -> int: ...


class _Parcel(NamedTuple):
    popen: weakref.ref[Any]
    fd: int


_pending: list[_Parcel] = []


class Handover(NamedTuple):
    """An end that `ipc.spawn` has taken in a child's name."""

    end: End
    held: int


class _Mode(threading.local):
    bag: list[Handover] | None = None


_mode = _Mode()


def roles_go_along() -> list[Handover] | None:
    """Where `ipc.spawn` collects the ends that it takes in the child's name; None outside of it."""
    return _mode.bag


@contextmanager
def handing_roles_over() -> Iterator[list[Handover]]:
    """While a worker is started in this thread, its ends are taken in its name."""
    bag: list[Handover] = []
    _mode.bag = bag
    try:
        yield bag
    finally:
        _mode.bag = None


def starting_process(what: str) -> Any:
    """The process that is being started in this thread; HandOverError if there is none."""
    popen = context.get_spawning_popen()
    if popen is None:
        raise HandOverError(
            f"{what} can only be pickled as an argument of a process that is being started; "
            "for a process that runs already, give it a name= and attach"
        )
    return popen


def send(popen: Any, fd: int, what: str) -> FdForChild:
    """Pass `fd` to the child, and close our copy once it has started."""
    _pending.append(_Parcel(weakref.ref(popen), fd))  # also if it can't go: then it is swept with the failed start
    if "forkserver" in type(popen).__module__ and len(popen._fds) >= MOST_DESCRIPTORS:
        raise HandOverError(
            f"{what} can't go along: forkserver passes at most about {MOST_DESCRIPTORS} descriptors to a child, "
            "two per handle; use the spawn method, fewer handles, or named ones"
        )
    for_child: FdForChild = reduction.DupFd(fd)
    return for_child


def send_copy(popen: Any, fd: int, what: str) -> FdForChild:
    """Pass a copy of `fd` to the child; a failure leaves none."""
    copy = os.dup(fd)
    status = lib.ipcr_parcel_add(copy, False)
    if status != lib.IPCR_OK:
        with contextlib.suppress(OSError):  # Linux has closed it, whatever it says
            os.close(copy)
        raise_status(status, what)
    return send(popen, copy, what)


def close(fd: int) -> None:
    """Close our copy of a descriptor that a forked child has."""
    lib.ipcr_parcel_close(fd)


def forget(fd: int) -> None:
    """Somebody else closes this one; its number may soon belong to another parcel."""
    _pending[:] = [parcel for parcel in _pending if parcel.fd != fd]


def sweep() -> None:
    """Close our copies of what children have by now, or will never get."""
    if _pending:
        for parcel in tuple(_pending):
            popen = parcel.popen()
            if popen is None or getattr(popen, "pid", None) is not None:
                with contextlib.suppress(ValueError):  # another thread was faster
                    _pending.remove(parcel)
                    lib.ipcr_parcel_close(parcel.fd)

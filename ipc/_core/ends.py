"""What every exclusive end shares: its life, its way to other processes, and how a blocking call waits.

A handle is a claim on an end.  The process that first uses it takes the end; the other side can then tell silence from
death.  See docs/architecture.md.
"""

from __future__ import annotations

import atexit
import os
import sys
import time
import warnings
import weakref
from collections.abc import Callable
from multiprocessing import util
from types import TracebackType
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn, TypeVar

from ipc import errors
from ipc._core import observe, parcels
from ipc._core.native import EndRoot, check, fast, ffi, lib, raise_status
from ipc._core.segment import Segment, close_file

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["NOT_READY", "End", "Use", "open_ends"]

_AGAIN = lib.IPCR_AGAIN
NOT_READY = frozenset((lib.IPCR_NOT_TAKEN, lib.IPCR_LENT))  # results that may be helped: see End._get_ready

_E = TypeVar("_E", bound="End")

# Every end of this process that has not been closed.
open_ends: weakref.WeakSet[End] = weakref.WeakSet()


class Use:
    """Lives as long as somebody holds memory that an end has lent: the native side can't tell whether they still do."""

    __slots__ = ("__weakref__", "by_caller")

    def __init__(self, *, by_caller: bool) -> None:
        self.by_caller = by_caller  # in a `with` of theirs, which must end before the end can be closed


class End(EndRoot):
    """One end of a ring.  One process and one thread at a time, else BusyError; close() may come from any thread."""

    __slots__ = ("__weakref__", "_closed_because", "_handle", "_label", "_segment", "_spin", "_use")

    _side: ClassVar[int]
    _role: ClassVar[str]

    _segment: Segment | None
    _label: str
    _handle: Any
    _spin: int
    _closed_because: str
    _use: weakref.ref[Use] | None

    def __init__(self) -> None:
        raise TypeError(f"{type(self).__name__} is not made directly; use ipc.channel(), ipc.Ring or attach()")

    # --- making -------------------------------------------------------------------------------------------------

    @classmethod
    def _make(cls, segment: Segment, handle: Any, spin_ns: int) -> Self:
        self = cls.__new__(cls)
        self._segment = segment
        self._label = f"{cls._role} of {segment}"
        self._handle = handle
        self._spin = spin_ns
        self._closed_because = ""
        self._use = None
        self._set_up()
        open_ends.add(self)
        return self

    def _set_up(self) -> None:
        """For subclasses: state that is not handed over."""

    def _go_fast(self, most: int, *, lends: bool = False) -> None:
        """Let the accelerator do messages of up to `most` bytes (-1: none), and lend memory and arrays to readers."""
        if fast is not None:
            self._bind(int(ffi.cast("uintptr_t", self._handle)), most, lends)

    @classmethod
    def _open(cls, segment: Segment, spin_ns: int) -> Self:
        out = ffi.new("struct ipcr_end **")
        check(lib.ipcr_end_open(segment.pointer, cls._side, spin_ns, out), f"{cls._role} of {segment}")
        return cls._make(segment, out[0], spin_ns)

    def __str__(self) -> str:
        return self._label

    def __repr__(self) -> str:
        used = lib.ipcr_end_in_use(self._handle)
        return f"<{self._label}, {'closed' if self.closed else 'in use' if used else 'not used yet'}>"

    # --- ending -------------------------------------------------------------------------------------------------

    @property
    def closed(self) -> bool:
        """Whether close() was called, or the end was given to a worker."""
        return bool(self._closed_because)

    def close(self) -> None:
        """Close this end; the other side sees EndOfChannel once it has what was sent.

        May come from any thread: a call that is blocked in another one ends with ClosedError.  Closing twice is fine.

        Raises:
          BusyError: a claim or view of this end is still lent out.
        """
        if not self._closed_because:
            use = self._user()
            if use is not None and use.by_caller and lib.ipcr_end_is_lent(self._handle):
                self._raise(lib.IPCR_LENT)
            self._close("it was closed here", clean=True)

    def _close(self, because: str, *, clean: bool) -> None:
        self._closed_because = because
        open_ends.discard(self)
        lib.ipcr_end_close(self._handle, clean)
        self._segment = None  # the process leaves it with its last handle
        parcels.sweep()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        elif not self._closed_because:  # BusyError would hide the error on its way; what is lent stays mapped
            self._close("it was closed here", clean=True)

    def __del__(self) -> None:
        handle = getattr(self, "_handle", None)
        if handle is None:
            return
        if not self._closed_because:
            if lib.ipcr_end_is_ours(handle) and not sys.is_finalizing():
                text = f"{self} was never closed; use `with`, or close()"
                warnings.warn(text, ResourceWarning, stacklevel=2, source=self)
            self._closed_because = "it was collected"
            lib.ipcr_end_close(handle, True)
        if fast is not None:
            self._bind(0, -1, False)
        self._handle = None
        lib.ipcr_end_free(handle)

    def unlink(self) -> None:
        """Remove the segment's name at once; those attached go on.

        Raises:
          SegmentNotFoundError: the name was removed already.
          ValueError: the segment is anonymous.
          ClosedError: this handle is closed; `ipc.rm(name)` needs none.
        """
        self._attached().unlink()

    def stats(self) -> observe.Stats:
        """Counters of both ends, as they are now; see `ipc.stats`."""
        return observe.stats_of(self._attached())

    def _attached(self) -> Segment:
        segment = self._segment
        if segment is None:
            self._raise(lib.IPCR_CLOSED)
        return segment

    # --- errors and waiting -------------------------------------------------------------------------------------

    def _raise(self, status: int) -> NoReturn:
        if status == lib.IPCR_CLOSED and self._closed_because:
            raise errors.ClosedError(f"{self} is closed: {self._closed_because}")
        if status == lib.IPCR_PEER_DIED:
            pid = lib.ipcr_end_peer_pid(self._handle)
            who = f"process {pid} at the other end died" if pid else "the process that got the other end died, unused,"
            raise errors.PeerDiedError(f"{self}: {who} without closing it")
        raise_status(status, str(self))

    def _user(self) -> Use | None:
        """Who holds the memory that is lent; None also when they are gone without giving it back."""
        return None if self._use is None else self._use()

    def _get_ready(self, status: int) -> None:
        """After one of NOT_READY: what must come before the call is tried again."""
        if status == lib.IPCR_NOT_TAKEN:
            self._take()
        elif self._user() is not None or lib.ipcr_take_back(self._handle) == lib.IPCR_LENT:
            self._raise(status)
        # else this thread was interrupted before it gave it back: the message stays, the claim is void

    def _take(self) -> None:
        by = ffi.new("uint32_t *")
        status = lib.ipcr_end_take(self._handle, by)
        if status == lib.IPCR_TAKEN:
            raise errors.BusyError(
                f"{self} is in use by process {by[0]}; an end has one user at a time: close it there first"
            )
        if status != lib.IPCR_OK:
            self._raise(status)
        _close_at_exit()

    def _wait(self, wait: Callable[..., int], *args: Any) -> int:
        """Drive a native *_wait function: its last argument but one is the deadline.

        Native code comes back at least every 150 ms, so that Python's signal handlers run.  The end stays busy in
        between, for everybody else.
        """
        handle = self._handle
        resume = 0
        try:
            while True:
                status = wait(handle, *args, resume)
                if status == _AGAIN:
                    resume = 1
                    parcels.sweep()
                elif status in NOT_READY:
                    resume = 0
                    self._get_ready(status)
                else:
                    return status
        finally:
            lib.ipcr_stop_waiting(handle)

    def _peer_must_live(self) -> None:
        """For calls that find nothing and don't wait: a loop over them must not poll a dead process for ever."""
        status = lib.ipcr_peer_sometimes(self._handle)
        if status != lib.IPCR_OK:
            self._raise(status)

    def _timed_out(self, what: str, deadline_ns: int, start_ns: int) -> NoReturn:
        waited = max(0, min(time.monotonic_ns(), deadline_ns) - start_ns) / 1e9
        raise errors.TimeoutError(f"{self}: {what} within {waited:.3g} s")

    # --- to other processes -------------------------------------------------------------------------------------

    def __reduce__(self) -> tuple[Any, ...]:
        popen = parcels.starting_process(str(self))
        bag = parcels.roles_go_along()
        held = self._hand_over(with_role=bag is not None, for_fork=False)
        if bag is not None:
            bag.append(parcels.Handover(self, held))
        segment = self._attached()
        # a description that nobody locks through may be shared
        held_for_child = parcels.send(popen, held, str(self))
        segment_for_child = parcels.send_copy(popen, segment.fd, str(self))
        where = (segment.kind, segment.directory, segment.name)
        return _adopt, (
            type(self),
            segment_for_child,
            held_for_child,
            where,
            bag is not None,
            self._spin,
            self._state(),
        )

    def _state(self) -> Any:
        """For subclasses: what a handed-over copy needs besides."""
        return None

    def _set_state(self, state: Any) -> None:
        """For subclasses: the counterpart of `_state`."""

    def _hand_over(self, *, with_role: bool, for_fork: bool) -> int:
        parcels.sweep()
        out = ffi.new("int *")
        status = lib.ipcr_end_hand_over(self._handle, with_role, for_fork, out)
        if status == lib.IPCR_TAKEN:
            raise errors.BusyError(f"{self} is in use by another process, so it can't be handed over")
        if status != lib.IPCR_OK:
            self._raise(status)
        return int(out[0])

    def _take_back(self, held: int) -> None:
        parcels.forget(held)
        lib.ipcr_end_take_back(self._handle, held, True)

    def _adopt_role(self, held: int) -> None:
        """In a forked child: this inherited handle's end was taken in our name."""
        lib.ipcr_parcel_keep(held)
        check(lib.ipcr_end_adopt_role(self._handle, held), str(self))
        _close_at_exit()


def _adopt(
    cls: type[_E],
    segment_for_child: parcels.FdForChild,
    held_for_child: parcels.FdForChild,
    where: tuple[str, str | None, str | None],
    taken: bool,
    spin_ns: int,
    state: Any,
) -> _E:
    """Unpickle an end in the child that it was sent to."""
    fds = (segment_for_child.detach(), held_for_child.detach())
    for fd in fds:
        os.set_inheritable(fd, False)
    try:
        segment = Segment.adopt(fds[0], *where)
    except BaseException:
        close_file(fds[1])
        raise
    out = ffi.new("struct ipcr_end **")
    status = lib.ipcr_end_adopt(segment.pointer, cls._side, spin_ns, fds[1], taken, out)
    check(status, f"{cls._role} of {segment} from the parent process")
    end = cls._make(segment, out[0], spin_ns)
    end._set_state(state)
    _close_at_exit()
    return end


# --- at exit ----------------------------------------------------------------------------------------------------
# A process that ends normally closes its ends cleanly.  atexit covers the main process; children of multiprocessing
# run multiprocessing's finalizers instead (and atexit only since Python 3.13).


def close_all(*, clean: bool = True) -> None:
    """Close every end of this process, lent or not."""
    for end in tuple(open_ends):
        if not end._closed_because:
            end._close("the process is ending", clean=clean)


def inherited() -> list[End]:
    """In a forked child: the ends that came along with the fork, and were not taken since."""
    return [end for end in tuple(open_ends) if not lib.ipcr_end_is_ours(end._handle)]


_registered_in = 0


def _close_at_exit() -> None:
    global _registered_in  # noqa: PLW0603
    pid = os.getpid()
    if _registered_in == pid:
        return
    _registered_in = pid
    util.Finalize(None, close_all, exitpriority=10)


def _in_new_child(_: object) -> None:
    """multiprocessing forgets all finalizers when a child begins, also what unpickling its arguments registered."""
    global _registered_in  # noqa: PLW0603
    _registered_in = 0
    _close_at_exit()


util.register_after_fork(open_ends, _in_new_child)
atexit.register(close_all)

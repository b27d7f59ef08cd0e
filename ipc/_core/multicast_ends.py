"""What publishers and subscribers share: taken when made, one thread at a time, closed from any."""

from __future__ import annotations

import contextlib
import time
import weakref
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn

from ipc import errors
from ipc._core import multicast_stats, parcels
from ipc._core.native import SeatRoot, fast, ffi, lib, raise_status

if TYPE_CHECKING:
    from typing_extensions import Self

    from ipc._core.ends import Use
    from ipc._core.multicast_stats import MulticastStats
    from ipc._core.segment import Segment

__all__ = ["MulticastEnd", "abandon", "name_of", "open_ends"]

_OK = lib.IPCR_OK
_AGAIN = lib.IPCR_AGAIN
_CLOSED = lib.IPCR_CLOSED

# Every publisher and subscriber of this process that has not been closed.
open_ends: weakref.WeakSet[MulticastEnd] = weakref.WeakSet()


def abandon() -> None:
    """Leave them open until the process is gone, so that others see a death and no end: of a worker that failed."""
    for end in tuple(open_ends):
        open_ends.discard(end)
        with contextlib.suppress(errors.ClosedError):  # another thread was faster
            ffi.gc(end._handle, None)  # else it would be closed with the last reference to it, at the interpreter's end


class MulticastEnd(SeatRoot):
    """A publisher or a subscriber.

    With the accelerator, `publish`, `recv` and `__next__` begin in native/fast/multicasts.c, `claim` and `view` in
    lending.c, which do the plain cases.
    """

    __slots__ = ("__weakref__", "_closed_because", "_handle", "_label", "_segment", "_use")

    _close_in_core: ClassVar[Callable[[Any], None]]
    _wait_in_core: ClassVar[Callable[[Any, int, int], int]]
    _stop_waiting: ClassVar[Callable[[Any], None]]
    _look_around: ClassVar[Callable[[Any], int]]

    _handle: Any
    _segment: Segment
    _label: str
    _closed_because: str
    _use: weakref.ref[Use] | None

    def __init__(self) -> None:
        raise TypeError(f"{type(self).__name__} is not made directly; use ipc.Multicast")

    def _begin(self, segment: Segment, handle: Any, label: str) -> None:
        self._segment = segment
        # the core's handle goes with the last reference to it: close() drops ours, and whoever is inside has one
        self._handle = handle
        self._label = label
        self._closed_because = ""
        self._use = None
        open_ends.add(self)

    def _go_fast(self, *, pickles: bool = False, lends: bool = False) -> None:
        """Let the accelerator do the plain cases; of a subscriber, decode pickles, and lend memory and arrays."""
        if fast is not None:
            self._bind(self._handle, int(ffi.cast("uintptr_t", self._handle)), pickles, lends)

    def __str__(self) -> str:
        return self._label

    def __repr__(self) -> str:
        return f"<{self._label}, {'closed' if self.closed else 'in use'}>"

    # --- ending -------------------------------------------------------------------------------------------------

    @property
    def closed(self) -> bool:
        """Whether close() was called, here or on the Multicast that made this."""
        return bool(self._closed_because)

    def close(self) -> None:
        """Give it up; closing twice is fine.

        May come from any thread: a call that is blocked in another one ends with ClosedError.

        Raises:
          BusyError: a claim or a view of it is still lent out.
        """
        use = None if self._use is None else self._use()
        if use is not None and use.by_caller and not self._closed_because:
            self._raise(lib.IPCR_LENT)
        self._close("it was closed here")

    def _close(self, because: str) -> None:
        if self._closed_because:
            return
        self._closed_because = because
        open_ends.discard(self)
        if fast is not None:
            self._bind(None, 0, False, False)
        with contextlib.suppress(AttributeError, errors.ClosedError):  # another thread was faster
            type(self)._close_in_core(self._handle)
            del self._handle, self._segment
        parcels.sweep()

    def __getattr__(self, attribute: str) -> NoReturn:
        """What close() has taken away is missed by whoever is about to use it."""
        if attribute in {"_handle", "_segment"} and self._closed_because:
            self._raise(_CLOSED)
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {attribute!r}")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        else:  # BusyError would hide the error on its way; what is lent stays mapped
            self._close("it was closed here")

    def __reduce__(self) -> NoReturn:
        raise errors.HandOverError(
            f"{self} stays in the process that made it; hand over the Multicast, and call publisher() or"
            " subscribe() there"
        )

    def stats(self) -> MulticastStats:
        """Counters of the whole multicast, as they are now; see `ipc.stats`."""
        return multicast_stats.stats_of(self._segment)

    # --- errors and waiting -------------------------------------------------------------------------------------

    def _attached(self) -> Segment:
        return self._segment

    def _raise(self, status: int) -> NoReturn:
        if status == _CLOSED and self._closed_because:
            raise errors.ClosedError(f"{self} is closed: {self._closed_because}")
        raise_status(status, str(self))

    def _until(self, attempt: Callable[[], int], nothing: int, deadline: int) -> tuple[int, int]:
        """Try until something else than `nothing` comes of it, or the time is up; and since when we have waited."""
        start, late = 0, False
        while (result := attempt()) == nothing and not late:
            start = start or time.monotonic_ns()
            late = time.monotonic_ns() >= deadline
            # a loop that never waits must not wait for the dead for ever
            waited = type(self)._look_around(self._handle) if late else self._wait(deadline)
            if waited not in {_OK, nothing}:
                self._raise(waited)
        return result, start

    def _wait(self, deadline: int) -> int:
        """Drive the native wait, which comes back at least every 150 ms, so that signals are handled.  Nobody else can
        use this end in between."""
        handle = self._handle
        resume = 0
        try:
            while True:
                status = type(self)._wait_in_core(handle, deadline, resume)
                if status != _AGAIN:
                    return status
                resume = 1
                parcels.sweep()
        finally:
            type(self)._stop_waiting(handle)

    def _waited(self, deadline: int, start: int) -> str:
        return f"{max(0, min(time.monotonic_ns(), deadline) - start) / 1e9:.3g} s"


def name_of(topic: object) -> bytes:
    """A topic's name as it goes with a message."""
    if not isinstance(topic, str):
        raise TypeError(f"topic must be a str, not {type(topic).__name__}")
    name = topic.encode()
    if len(name) > lib.IPCR_MOST_TOPIC:
        raise ValueError(
            f"topic={topic[:40]!r}... is {len(name)} bytes long; at most {lib.IPCR_MOST_TOPIC} are allowed"
        )
    return name

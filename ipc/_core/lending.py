"""Memory of the ring, lent for the length of a `with`.

The memory can't go away under a view: while one lives, the view keeps the segment mapped.  A view that outlives its
`with` would show other messages, so that is detected and said.
"""

from __future__ import annotations

import contextlib
import sys
import weakref
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from ipc._core.native import ffi, lib
from ipc._core.transfer import LENGTH
from ipc.errors import BusyError

if TYPE_CHECKING:
    from ipc._core.segment import Segment
    from ipc._core.transfer import ReceivingEnd, SendingEnd

__all__ = ["Claim", "Loan", "Peek"]

_L = TypeVar("_L")

# Who may know a lent array when its `with` ends: the name in `as`, the loan itself, and the call that counts them.
_KNOWN_ARRAYS = 3


class _Keep:
    """Keeps a segment mapped for as long as a view of it lives."""

    __slots__ = ("segment",)

    def __init__(self, segment: Segment) -> None:
        self.segment = segment


class Loan:
    """Some memory of the ring, and the means to tell whether any of it is still held."""

    __slots__ = ("_array", "_exporter", "_view", "skew", "used")

    def __init__(self, segment: Segment, pointer: Any, size: int, *, read_only: bool) -> None:
        self.used = size  # of a claim: what is sent
        self.skew = int(ffi.cast("uintptr_t", pointer)) % lib.IPCR_DATA_ALIGNMENT
        keep = _Keep(segment)
        # the destructor's only purpose is to hold `keep` for as long as the pointer lives
        exporter = ffi.buffer(ffi.gc(pointer, lambda _, keep=keep: None), size)
        self._exporter = weakref.ref(exporter)
        self._array: Any = None
        self._view: memoryview | None = memoryview(exporter).toreadonly() if read_only else memoryview(exporter)

    @property
    def memory(self) -> memoryview:
        """The memory, while it is lent."""
        assert self._view is not None
        return self._view

    def as_array(self, make: Callable[[memoryview], Any]) -> Any:
        """Lend an array over the memory, in place of the memory itself."""
        self._array = make(self.memory)
        self.memory.release()
        self._view = None
        return self._array

    def end(self) -> None:
        """Take the memory back; BusyError when something made from it is still alive."""
        if self._view is not None:
            with contextlib.suppress(BufferError):  # an array or a view exports it; reported below
                self._view.release()
        elif sys.getrefcount(self._array) <= _KNOWN_ARRAYS:
            # the name in `as` outlives its `with`: from now on it is an empty array
            self._array.__setstate__((1, (0,), self._array.dtype, False, b""))
        self._array = None
        if self._exporter() is not None:
            raise BusyError(
                "something made from this memory (an array, a slice) is still alive after its `with`, and would show "
                "other messages from now on; copy what you want to keep"
            )


# From a loan, and the result that describes its message, to what the user gets.
Lend = Callable[[Loan], _L]
Show = Callable[[Loan, int], _L]


class Claim(Generic[_L]):
    """Writable memory of the ring, sent at the end of its `with`.

    Nothing is sent if the body raised, or if something made from the memory is still alive (BusyError).
    """

    __slots__ = ("_info", "_lend", "_loan", "_size", "_timeout", "_writer")

    def __init__(self, writer: SendingEnd, size: int, timeout: float | None, info: int, lend: Lend[_L]) -> None:
        self._writer = writer
        self._size = size
        self._timeout = timeout
        self._info = info
        self._lend = lend

    def __enter__(self) -> _L:
        pointer, segment = self._writer._claim(self._size, self._timeout)
        self._loan = Loan(segment, pointer, self._size, read_only=False)
        try:
            return self._lend(self._loan)
        except BaseException:
            self._writer._abort()
            raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._loan.end()
        except BusyError:
            self._writer._abort()
            if kind is None:
                raise
            return  # the error on its way may hold the memory
        if kind is None:
            self._writer._commit(self._loan.used, self._info)
        else:
            self._writer._abort()


class Peek(Generic[_L]):
    """Read-only memory of the ring; its message is taken, and the space given back, at the end of its `with`."""

    __slots__ = ("_loan", "_reader", "_show", "_timeout")

    def __init__(self, reader: ReceivingEnd, timeout: float | None, show: Show[_L]) -> None:
        self._reader = reader
        self._timeout = timeout
        self._show = show

    def __enter__(self) -> _L:
        pointer, result, segment = self._reader._peek(self._timeout)
        self._loan = Loan(segment, pointer, result & LENGTH, read_only=True)
        try:
            return self._show(self._loan, result)
        except BaseException:  # refused or not decodable: taken, as by recv
            self._end(quiet=True)
            raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end(quiet=kind is not None)

    def _end(self, *, quiet: bool) -> None:
        self._reader._release()
        try:
            self._loan.end()
        except BusyError:  # when an error is on its way, that may be what holds the memory
            if not quiet:
                raise

"""Memory of the ring, lent for the length of a `with`.

The memory can't go away under a view: while anything refers to it, the segment stays mapped.  What outlives its `with`
would show other messages, so it is detected and said: every array, slice or memoryview holds the loan's exporter, and
whoever still does when the `with` ends can be counted.

The end knows its loan by a weak reference.  A loan that is gone without having ended, because a signal's handler cut
its `with` short, doesn't keep the end from going on.
"""

from __future__ import annotations

import sys
import weakref
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import TYPE_CHECKING, Any, Generic, NoReturn, TypeVar

from ipc._core import arguments
from ipc._core.ends import Use
from ipc._core.native import ffi
from ipc.errors import BusyError, IpcError

if TYPE_CHECKING:
    from typing import Protocol

    import numpy as np

    from ipc._core.segment import Segment

    class LendingEnd(Protocol):
        """What lends memory knows who has it."""

        _use: weakref.ref[Use] | None

        @property
        def _handle(self) -> Any: ...
        def _attached(self) -> Segment: ...

    class ClaimingEnd(LendingEnd, Protocol):
        """What memory can be claimed of."""

        def _claim(self, size: int, timeout: float | None) -> Any: ...
        def _commit(self, size: int, info: int) -> None: ...
        def _abort(self) -> None: ...

    class PeekingEnd(LendingEnd, Protocol):
        """What a message can be lent by."""

        def _peek(self, timeout: float | None) -> tuple[int, Any, int]: ...
        def _put_back(self) -> None: ...
        def _release(self) -> None: ...


__all__ = ["Claim", "Loan", "Peek", "raise_busy"]

_L = TypeVar("_L")

_refcount = sys.getrefcount


class _Probe:
    """How many references are counted, in the places of `Loan` that count, to what nobody else knows."""

    exporter: Any
    lent: Any

    def __init__(self) -> None:
        self.exporter, self.lent = [], []

    def attribute(self) -> int:
        return _refcount(self.exporter)

    def local(self) -> int:
        lent, self.lent = self.lent, None
        return _refcount(lent)


_UNKNOWN_EXPORTER = _Probe().attribute()
_ONLY_IN_AS = _Probe().local() + 1  # an array known only by the name that the `with` gave it


def raise_busy() -> NoReturn:
    """Something is still alive that must not be."""
    raise BusyError(
        "something made from this memory (an array, a slice) is still alive after its `with`, and would show other "
        "messages from now on; copy what you want to keep"
    )


class Loan(Use):
    """Some memory of the ring, and the means to tell whether any of it is still held."""

    __slots__ = ("_lent", "exporter")

    def __init__(self, end: LendingEnd, pointer: Any, size: int, *, by_caller: bool = True) -> None:
        super().__init__(by_caller=by_caller)
        # through the pointer the collector sees that whoever holds the memory holds the mapping
        self.exporter: Any = ffi.buffer(ffi.gc(pointer, end._attached().keep), size)
        self._lent: Any = None
        end._use = weakref.ref(self)

    def memory(self, *, read_only: bool) -> memoryview:
        """Lend the memory as it is."""
        view = memoryview(self.exporter)
        self._lent = view.toreadonly() if read_only else view
        return self._lent  # type: ignore[no-any-return]

    def array(self, array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """Lend an array that was made over the exporter."""
        self._lent = array
        return array

    def end(self) -> None:
        """Take the memory back; BusyError when something made from it is still alive."""
        lent, self._lent = self._lent, None
        if lent.__class__ is memoryview:
            with suppress(BufferError):  # a slice or a view of it lives, and with it the exporter
                lent.release()
        elif lent is not None and _refcount(lent) <= _ONLY_IN_AS:
            # the name in `as` outlives its `with`: from now on it is an empty array, which lets go of the memory
            lent.__setstate__((1, (0,), lent.dtype, False, b""))
        lent = None
        if _refcount(self.exporter) > _UNKNOWN_EXPORTER:
            raise_busy()
        self.exporter = None  # or whoever keeps the Claim or Peek would keep the segment


class Claim(Generic[_L]):
    """Writable memory of the ring, sent at the end of its `with`.

    Nothing is sent if the body raised, or if something made from the memory is still alive (BusyError).
    """

    __slots__ = ("_by_caller", "_info", "_lend", "_loan", "_sent", "_size", "_timeout", "_writer")

    def __init__(
        self,
        writer: ClaimingEnd,
        size: int,
        timeout: float | None,
        info: int,
        lend: Callable[[Loan, Any], tuple[_L, int]],
        *,
        by_caller: bool = True,
    ) -> None:
        if timeout is not None:
            arguments.deadline_ns(timeout)  # a wrong one is said before anything is lent
        self._writer = writer
        self._size = size  # of which `lend` may leave some
        self._timeout = timeout
        self._info = info
        self._lend = lend
        self._by_caller = by_caller

    def __enter__(self) -> _L:
        writer = self._writer
        try:
            pointer = writer._claim(self._size, self._timeout)
            loan = self._loan = Loan(writer, pointer, self._size, by_caller=self._by_caller)
            lent, self._sent = self._lend(loan, writer._handle)
        except IpcError:  # it said why nothing was lent
            raise
        except BaseException:  # KeyboardInterrupt, say, at any moment
            writer._abort()
            raise
        return lent

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._loan.end()
            if kind is None:
                self._writer._commit(self._sent, self._info)
            else:
                self._writer._abort()
        except BusyError:
            self._writer._abort()
            if kind is None:  # otherwise the error on its way may be what holds the memory
                raise
        except BaseException:  # again: a signal's handler
            self._writer._abort()
            raise


class Peek(Generic[_L]):
    """Read-only memory of the ring; its message is taken, and the space given back, at the end of its `with`."""

    __slots__ = ("_loan", "_reader", "_show", "_timeout")

    def __init__(self, reader: PeekingEnd, timeout: float | None, show: Callable[[Loan, int], _L]) -> None:
        if timeout is not None:
            arguments.deadline_ns(timeout)
        self._reader = reader
        self._timeout = timeout
        self._show = show

    def __enter__(self) -> _L:
        reader = self._reader
        try:
            result, pointer, size = reader._peek(self._timeout)
            loan = self._loan = Loan(reader, pointer, size)
        except IpcError:  # it said why nothing was lent
            raise
        except BaseException:  # KeyboardInterrupt, say, at any moment: the message stays
            reader._put_back()
            raise
        try:
            return self._show(loan, result)
        except BaseException as error:  # refused or not decodable: taken, as by recv
            self.__exit__(type(error), error, None)
            raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._reader._release()
            self._loan.end()
        except BusyError:
            if kind is None:  # otherwise the error on its way may be what holds the memory
                raise
        except BaseException:  # a signal's handler: the message stays, unless it was released just now
            self._reader._put_back()
            raise

"""Memory of the ring, lent for the length of a `with`.

The memory can't go away under a view: while one lives, the view keeps the segment mapped.  A view that outlives its
`with` would show other messages, so that is detected and said.
"""

from __future__ import annotations

import contextlib
import weakref
from types import TracebackType
from typing import TYPE_CHECKING, Any

from ipc._core.native import ffi, lib
from ipc.errors import BusyError

if TYPE_CHECKING:
    from ipc._core.ring import RingReader, RingWriter
    from ipc._core.segment import Segment

__all__ = ["Claim", "Peek"]


class _Keep:
    """Keeps a segment mapped for as long as a view of it lives."""

    __slots__ = ("segment",)

    def __init__(self, segment: Segment) -> None:
        self.segment = segment


class _Loan:
    """A memoryview into the ring, and the means to tell whether any of it is still held."""

    __slots__ = ("_exporter", "view")

    def __init__(self, segment: Segment, pointer: Any, size: int, *, read_only: bool) -> None:
        keep = _Keep(segment)
        # the destructor's only purpose is to hold `keep` for as long as the pointer lives
        exporter = ffi.buffer(ffi.gc(pointer, lambda _, keep=keep: None), size)
        self._exporter = weakref.ref(exporter)
        self.view = memoryview(exporter).toreadonly() if read_only else memoryview(exporter)

    def end(self) -> None:
        """Take the memory back; BusyError when something made from the view is still alive."""
        with contextlib.suppress(BufferError):  # an array or a view exports it; reported below
            self.view.release()
        if self._exporter() is not None:
            raise BusyError(
                "something made from this memory (an array, a slice) is still alive after its `with`, and would show "
                "other messages from now on; copy what you want to keep"
            )


class Claim:
    """Writable memory of the ring, sent at the end of its `with`; nothing is sent if the body raised."""

    __slots__ = ("_loan", "_size", "_timeout", "_writer")

    def __init__(self, writer: RingWriter, size: int, timeout: float | None) -> None:
        self._writer = writer
        self._size = size
        self._timeout = timeout

    def __enter__(self) -> memoryview:
        pointer, segment = self._writer._claim(self._size, self._timeout)
        self._loan = _Loan(segment, pointer, self._size, read_only=False)
        return self._loan.view

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            lib.ipcr_abort(self._writer._handle)
            with contextlib.suppress(BusyError):  # the error on its way may hold the view; nothing was sent
                self._loan.end()
            return
        self._writer._commit(self._size)
        self._loan.end()


class Peek:
    """Read-only memory of the ring; its message is taken, and the space given back, at the end of its `with`."""

    __slots__ = ("_loan", "_reader", "_timeout")

    def __init__(self, reader: RingReader, timeout: float | None) -> None:
        self._reader = reader
        self._timeout = timeout

    def __enter__(self) -> memoryview:
        pointer, size, segment = self._reader._peek(self._timeout)
        self._loan = _Loan(segment, pointer, size, read_only=True)
        return self._loan.view

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._reader._release()
        try:
            self._loan.end()
        except BusyError:
            if kind is None:
                raise

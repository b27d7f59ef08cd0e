"""Moving bytes through an end: what rings and channels share."""

from __future__ import annotations

import time
from typing import Any, Final

from ipc import errors
from ipc._core import arguments
from ipc._core.ends import End
from ipc._core.native import ffi, lib

__all__ = ["ENCODING_SHIFT", "LENGTH", "LENT", "SMALL", "Inbox", "ReceivingEnd", "SendingEnd", "as_bytes"]

# What a native receive returns: the length, the encoding above it, and whether the message is lent, not copied.
SMALL: Final[int] = lib.IPCR_SMALL
ENCODING_SHIFT: Final[int] = lib.IPCR_RESULT_ENCODING_SHIFT
LENGTH: Final[int] = (1 << ENCODING_SHIFT) - 1
LENT: Final = 1 << 62

_OK = lib.IPCR_OK
_FULL = lib.IPCR_FULL
_EMPTY = lib.IPCR_EMPTY

_send = lib.ipcr_send
_try_recv = lib.ipcr_try_recv_into

# Where a native receive puts one small message: the struct that it takes, and a buffer over its bytes.
Inbox = tuple[Any, Any]


def as_bytes(data: object) -> Any:
    """Something that native code reads `len(...)` bytes from, without a copy where there is a way."""
    if isinstance(data, bytes):
        return data
    try:
        view = memoryview(data)  # type: ignore[arg-type]
    except TypeError:
        raise TypeError(
            f"a ring carries bytes-like objects, not {type(data).__name__}; ipc.channel takes any"
        ) from None
    if not view.c_contiguous:
        return view.tobytes()
    return ffi.from_buffer(view) if view.nbytes else b""


class SendingEnd(End):
    """What writers of rings and channels share: moving bytes, with their encoding."""

    __slots__ = ()

    _side = lib.IPCR_SENDER
    _role = "sender"

    def _put(self, data: Any, size: int, info: int, timeout: float | None, status: int) -> None:
        """Finish a send that the fast path could not: `status` says why."""
        deadline = arguments.deadline_ns(timeout)
        if status == lib.IPCR_NOT_TAKEN:
            self._take()
            status = _send(self._handle, data, size, info)
        if status == _FULL:
            start = time.monotonic_ns()
            status = self._wait(lib.ipcr_send_wait, data, size, info, deadline)
            if status == _FULL:
                self._timed_out(f"no room for {size} bytes", deadline, start)
        if status != _OK:
            self._refuse(status, size)

    def _try_put(self, data: Any, size: int, info: int) -> bool:
        status = _send(self._handle, data, size, info)
        if status == lib.IPCR_NOT_TAKEN:
            self._take()
            status = _send(self._handle, data, size, info)
        if status == _OK:
            return True
        if status != _FULL:
            self._refuse(status, size)
        self._peer_must_live()
        return False

    def _refuse(self, status: int, size: int) -> None:
        if status == lib.IPCR_TOO_LARGE:
            capacity = self._attached().capacity
            limit = capacity - lib.IPCR_RECORD_HEADER
            raise errors.MessageTooLargeError(
                f"{self}: a message of {size} bytes can't fit; capacity={capacity} carries at most {limit}. "
                f"Make it with capacity={arguments.capacity_bytes(size + lib.IPCR_RECORD_HEADER)} or more"
            )
        self._raise(status)

    def flush(self, timeout: float | None = None) -> None:
        """Wait until the receiver has taken everything that was sent.

        Args:
          timeout: seconds; None waits without limit, 0 never waits.

        Raises:
          TimeoutError: something is still unread; nothing is lost.
          PeerDiedError, EndOfChannel: the receiver went before it took everything.
        """
        deadline = arguments.deadline_ns(timeout)
        start = time.monotonic_ns()
        status = self._wait(lib.ipcr_flush_wait, deadline)
        if status == _FULL:
            self._timed_out("not everything was taken", deadline, start)
        if status != _OK:
            self._raise(status)


class ReceivingEnd(End):
    """What readers of rings and channels share."""

    __slots__ = ("_inbox",)

    _inbox: Inbox | None
    _side = lib.IPCR_RECEIVER
    _role = "receiver"

    def _set_up(self) -> None:
        self._inbox = self._new_inbox()

    def _new_inbox(self) -> Inbox:
        inbox = ffi.new("struct ipcr_inbox *")
        inbox.end = self._handle
        return inbox, ffi.buffer(inbox.bytes)

    def _borrow(self) -> Inbox:
        """An inbox.  While one is borrowed another call gets one of its own, so that a second thread (which BusyError
        can't always catch between two native calls) never writes into this one."""
        inbox, self._inbox = self._inbox, None
        return self._new_inbox() if inbox is None else inbox

    def _return(self, inbox: Inbox) -> None:
        self._inbox = inbox

    def _get(self, inbox: Inbox, timeout: float | None) -> int:
        """A result that is not negative, waiting for it; an error gives the inbox back."""
        deadline = arguments.deadline_ns(timeout)
        try:
            start = time.monotonic_ns()
            result = self._wait(lib.ipcr_recv_wait, inbox[0].bytes, deadline)
            if result == _EMPTY:
                self._timed_out("no message", deadline, start)
            if result < 0:
                self._raise(result)
        except BaseException:
            self._return(inbox)
            raise
        return result

    def _try_get(self, inbox: Inbox) -> int | None:
        """A result that is not negative, or None when nothing is there."""
        result = int(_try_recv(inbox[0]))
        if result == lib.IPCR_NOT_TAKEN:
            self._take()
            result = int(_try_recv(inbox[0]))
        if result >= 0:
            return result
        if result != _EMPTY:
            self._raise(result)
        self._peer_must_live()
        return None

    def _drain(self) -> bool:
        """Hand out what is in the ring now, then EndOfChannel; whether this process uses the end."""
        lib.ipcr_end_drain(self._handle)
        return bool(lib.ipcr_end_is_ours(self._handle))

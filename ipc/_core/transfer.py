"""Moving bytes through an end: what rings and channels share."""

from __future__ import annotations

import time
from typing import Any, ClassVar, Final

from ipc import errors
from ipc._core import arguments
from ipc._core.ends import NOT_READY, End
from ipc._core.native import ffi, lib

__all__ = ["ENCODING_SHIFT", "LENGTH", "LENT", "SKEW_SHIFT", "SMALL", "Inbox", "ReceivingEnd", "SendingEnd"]

# What a native receive returns: the length, above it the encoding and an eighth of how far the payload's address is
# behind a multiple of 64, and whether the message is lent, not copied.
SMALL: Final[int] = lib.IPCR_SMALL
ENCODING_SHIFT: Final[int] = lib.IPCR_RESULT_ENCODING_SHIFT
SKEW_SHIFT: Final[int] = lib.IPCR_RESULT_SKEW_SHIFT
LENGTH: Final[int] = (1 << ENCODING_SHIFT) - 1
LENT: Final = 1 << 62

_OK = lib.IPCR_OK
_FULL = lib.IPCR_FULL
_EMPTY = lib.IPCR_EMPTY

_send = lib.ipcr_send
_try_recv = lib.ipcr_try_recv_into
_claim = lib.ipcr_claim
_peek = lib.ipcr_peek
_lent = lib.ipcr_lent

# Where a native receive puts one small message: the struct that it takes, and a buffer over its bytes.
Inbox = tuple[Any, Any]


class SendingEnd(End):
    """What writers of rings and channels share: moving bytes, with their encoding."""

    __slots__ = ()

    _side = lib.IPCR_SENDER
    _role = "sender"
    _or_else: ClassVar[str] = ""  # another way for a message that is too large

    def _put(self, data: Any, size: int, info: int, timeout: float | None, status: int) -> None:
        """Finish a send that the fast path could not: `status` says why."""
        deadline = arguments.deadline_ns(timeout)
        if status in NOT_READY:
            self._get_ready(status)
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
        if status in NOT_READY:
            self._get_ready(status)
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
            wanted = arguments.capacity_bytes(size + lib.IPCR_RECORD_HEADER)
            raise errors.MessageTooLargeError(
                f"{self}: a message of {size} bytes can't fit; capacity={capacity} carries at most {limit}. "
                f"Make it with capacity={wanted} or more{self._or_else}"
            )
        self._raise(status)

    def _claim(self, size: int, timeout: float | None) -> Any:
        """The address of `size` bytes of the ring."""
        status = _claim(self._handle, size)
        if status != _OK:
            deadline = arguments.deadline_ns(timeout)
            start = time.monotonic_ns()
        while status != _OK:
            if status in NOT_READY:
                self._get_ready(status)
            elif status == _FULL:
                status = self._wait(lib.ipcr_room_wait, size, deadline)
                if status == _FULL:
                    self._timed_out(f"no room for {size} bytes", deadline, start)
                if status != _OK:
                    self._refuse(status, size)
            else:
                self._refuse(status, size)
            status = _claim(self._handle, size)
        return _lent(self._handle)

    def _commit(self, size: int, info: int) -> None:
        if self._handle is None:  # collected together with whoever holds the claim
            self._raise(lib.IPCR_CLOSED)
        self._use = None
        status = lib.ipcr_commit(self._handle, size, info)
        if status != _OK:
            self._refuse(status, size)

    def _abort(self) -> None:
        self._use = None
        if self._handle is not None:
            lib.ipcr_abort(self._handle)

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

    def _try(self, inbox: Inbox) -> int:
        """What native code says to a receive that doesn't wait, on an end that was taken."""
        result = int(_try_recv(inbox[0]))
        if result in NOT_READY:
            self._get_ready(result)
            result = int(_try_recv(inbox[0]))
        return result

    def _peek(self, timeout: float | None) -> tuple[int, Any, int]:
        """The result that describes the next message, its address, and its length."""
        result = _peek(self._handle)
        if result < 0:
            deadline = arguments.deadline_ns(timeout)
            start = time.monotonic_ns()
        while result < 0:
            if result in NOT_READY:
                self._get_ready(result)
            elif result == _EMPTY:
                status = self._wait(lib.ipcr_data_wait, deadline)
                if status == _EMPTY:
                    self._timed_out("no message", deadline, start)
                if status < 0:
                    self._raise(status)
            else:
                self._raise(int(result))
            result = _peek(self._handle)
        return result, _lent(self._handle), result & LENGTH

    def _put_back(self) -> None:
        """Nothing is lent any more; the message stays the next one."""
        self._use = None
        if self._handle is not None:
            lib.ipcr_abort(self._handle)

    def _release(self) -> None:
        if self._handle is None:  # collected together with whoever holds the view
            self._raise(lib.IPCR_CLOSED)
        self._use = None
        status = lib.ipcr_release(self._handle)
        if status != _OK:
            self._raise(status)

    def _drain(self) -> bool:
        """Hand out what is in the ring now, then EndOfChannel; whether this process uses the end."""
        lib.ipcr_end_drain(self._handle)
        return bool(lib.ipcr_end_is_ours(self._handle))

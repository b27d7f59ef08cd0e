"""Messages: any object in, the same object out.  How each is encoded is decided per message.

bytes, bytearray and memoryview travel as they are, and arrive as bytes; anything else travels as pickle protocol 5.
The hot cases (exact bytes, nothing in the way) are one Python frame and one or two native calls; everything else falls
through to the methods below them.
"""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from ipc import errors
from ipc._core import arguments
from ipc._core.native import ffi, lib
from ipc._core.transfer import ENCODING_SHIFT, LENGTH, LENT, SMALL, Inbox, ReceivingEnd, SendingEnd, as_bytes

__all__ = ["MessageReceiver", "MessageSender"]

_T = TypeVar("_T")
_D = TypeVar("_D")

_send = lib.ipcr_send
_send_bytes = lib.ipcr_send_bytes
_recv = lib.ipcr_recv_into

_RAW = (bytes, bytearray, memoryview)
_ENCODING_NAMES = {lib.IPCR_BYTES: "bytes", lib.IPCR_PICKLE: "pickle", lib.IPCR_ARRAY: "array"}
_PICKLED = lib.IPCR_PICKLE << 32
_KNOWN = 1 << lib.IPCR_BYTES | 1 << lib.IPCR_PICKLE


class MessageSender(SendingEnd, Generic[_T]):
    """The methods of `ipc.Sender`."""

    __slots__ = ()

    if TYPE_CHECKING:

        def send(self, obj: _T, *, type: int = 0, timeout: float | None = None) -> None: ...

    else:
        # The options are keyword-only for type checkers, and should be here: but CPython 3.11 and 3.12 call functions
        # without keyword-only parameters by a shorter way, which is a third of this call (2.84 M/s against 3.86 M/s).
        def send(self, obj: _T, type: int = 0, timeout: float | None = None) -> None:
            """Send one message, waiting for room.

            Either the whole message is sent or the channel is unchanged; once this returns, the message survives the
            death of this process.  Mutating `obj` afterwards changes nothing.

            Args:
              obj: bytes, bytearray and memoryview go as they are; anything else is pickled.
              type: 32 bits that the application may use.
              timeout: seconds; None waits without limit, 0 never waits.

            Raises:
              TimeoutError: no room within `timeout`.
              MessageTooLargeError: the message can never fit; the text names the limit and the capacity to ask for.
              PeerDiedError: the receiver died, and there is no room to leave the message for a successor.
              EndOfChannel: the receiver closed.
              BusyError: another thread, or another process that is alive, is using this end.
            """
            if obj.__class__ is bytes and timeout is None and type == 0:
                status = _send_bytes(self._handle, obj, len(obj))
                if status:
                    self._put(obj, len(obj), 0, None, status)
                return
            arguments.deadline_ns(timeout)  # a wrong one is said before anything is sent
            data, info = _encode(obj, type)
            status = _send(self._handle, data, len(data), info)
            if status:
                self._put(data, len(data), info, timeout, status)

    def try_send(self, obj: _T, *, type: int = 0) -> bool:
        """Send one message if there is room now; whether it was sent.  Raises as `send`, but never waits."""
        data, info = _encode(obj, type)
        return self._try_put(data, len(data), info)


def _encode(obj: Any, type: int) -> tuple[Any, int]:
    """The bytes of a message, and its type and encoding in one word."""
    info = arguments.message_type(type) if type != 0 or type.__class__ is not int else 0
    if obj.__class__ in _RAW:
        return as_bytes(obj), info
    return pickle.dumps(obj, protocol=5), info | _PICKLED


class MessageReceiver(ReceivingEnd, Generic[_T]):
    """The methods of `ipc.Receiver`."""

    __slots__ = ("_accept",)

    _accept: int

    def _set_up(self) -> None:
        super()._set_up()
        self._accept = arguments.ALL_ENCODINGS

    def _state(self) -> int:
        return self._accept

    def _set_state(self, state: int) -> None:
        self._accept = state
        if not state & 1:
            self._inbox = None  # and so no fast case, which would not ask

    def _return(self, inbox: Inbox) -> None:
        if self._accept & 1:
            self._inbox = inbox

    def recv(self, timeout: float | None = None) -> _T:
        """Take the next message, waiting for one.

        Args:
          timeout: seconds; None waits without limit, 0 never waits.

        Raises:
          TimeoutError: nothing came within `timeout`.
          EndOfChannel: the sender closed, and everything was taken.
          PeerDiedError: the sender died, and everything it had sent was taken.
          RefusedEncodingError: a message that `accept=` leaves out; it was taken, and not decoded.
          BusyError: another thread, or another process that is alive, is using this end.
        """
        inbox = self._inbox
        if inbox is None or timeout is not None:
            arguments.deadline_ns(timeout)  # a wrong one is said before anything is taken
            inbox = self._borrow()
        else:
            self._inbox = None
            result = _recv(inbox[0])
            if 0 <= result <= SMALL:
                message = inbox[1][:result]
                self._inbox = inbox
                return message  # type: ignore[no-any-return]
            if result >= 0:
                return self._decode(inbox, result)
        return self._decode(inbox, self._get(inbox, timeout))

    def try_recv(self, default: _D | None = None) -> _T | _D | None:
        """Take the next message if there is one now, else `default`.  Raises as `recv`, but never waits."""
        inbox = self._borrow()
        result = self._try_get(inbox)
        if result is None:
            self._return(inbox)
            return default
        return self._decode(inbox, result)

    def _decode(self, inbox: Inbox, result: int) -> _T:
        size, encoding = result & LENGTH, (result >> ENCODING_SHIFT) & 0xFF
        lent = result & LENT
        try:
            self._admit(encoding, size)
            data = ffi.buffer(lib.ipcr_lent(self._handle) if lent else inbox[0].bytes, size)
            if encoding == lib.IPCR_BYTES:
                return data[:]  # type: ignore[no-any-return]
            return pickle.loads(data)  # type: ignore[no-any-return]
        finally:
            if lent:
                self._give_back()
            self._return(inbox)

    def _admit(self, encoding: int, size: int) -> None:
        name = _ENCODING_NAMES.get(encoding, f"number {encoding}")
        if not _KNOWN >> encoding & 1:
            raise errors.RefusedEncodingError(
                f"{self}: a message of {size} bytes has encoding {name}, which this release can't decode; it was "
                "dropped.  Use the same release on both sides"
            )
        if not self._accept >> encoding & 1:
            accepted = ", ".join(repr(kind) for bit, kind in _ENCODING_NAMES.items() if self._accept >> bit & 1)
            raise errors.RefusedEncodingError(
                f"{self}: a message of {size} bytes has encoding {name!r}, and accept= allows {accepted}; "
                "it was dropped"
            )

    def _give_back(self) -> None:
        status = lib.ipcr_release(self._handle)
        if status not in {lib.IPCR_OK, lib.IPCR_CLOSED}:  # closed by what was unpickled, or by another thread
            self._raise(status)

    def __iter__(self) -> MessageReceiver[_T]:
        return self

    def __next__(self) -> _T:
        try:
            return self.recv()
        except errors.EndOfChannel:
            raise StopIteration from None

"""The receiving side of channels: the same objects as were sent (see encoding.py).

With the accelerator, `recv`, `recv_many` and `__next__` begin in native/fast/ends.c, which does exact bytes that can
come at once; everything else comes here, where cffi does it all.
"""

from __future__ import annotations

import time
import weakref
from collections.abc import Iterator
from typing import Any, Generic, NamedTuple, NoReturn, TypeVar

from ipc import errors
from ipc._core import arguments
from ipc._core import encoding as encodings
from ipc._core.assembly import Assembly
from ipc._core.batches import Scratch
from ipc._core.ends import NOT_READY, Use
from ipc._core.handlers import interrupts
from ipc._core.lending import Loan, Peek
from ipc._core.native import accelerate, ffi, lib
from ipc._core.transfer import ENCODING_SHIFT, LENGTH, LENT, SKEW_SHIFT, SMALL, Inbox, ReceivingEnd

__all__ = ["Envelope", "MessageReceiver"]

_T = TypeVar("_T")
_D = TypeVar("_D")

_OK = lib.IPCR_OK
_EMPTY = lib.IPCR_EMPTY
_IN_PARTS = lib.IPCR_IN_PARTS
_GIVEN_UP = lib.IPCR_GIVEN_UP

_recv = lib.ipcr_recv_into

_NO_WAIT = 1  # a deadline that has passed


class Envelope(NamedTuple):
    """A message, and what came with it."""

    message: Any
    type: int
    """The 32 bits that the sender gave."""
    sequence: int
    """The message's number in its channel: from 0, also across successors of either side.  A number that is missing was
    taken by a receiver that died, or was a message in parts of which it had taken some."""


class MessageReceiver(ReceivingEnd, Generic[_T]):
    """The methods of `ipc.Receiver`."""

    __slots__ = ("_accept", "_assembly", "_most", "_scratch")

    _accept: int
    _most: int
    _assembly: Assembly | None
    _scratch: Scratch | None

    def _set_up(self) -> None:
        super()._set_up()
        self._assembly = None
        self._scratch = None
        self._set_state((arguments.ALL_ENCODINGS, arguments.most_bytes(None)))

    def _state(self) -> tuple[int, int]:
        return self._accept, self._most

    def _set_state(self, state: tuple[int, int]) -> None:
        self._accept, self._most = state
        self._set_pace()

    def _set_pace(self) -> None:
        """Choose between the fast cases, which ask nothing, and the ones that look at everything."""
        plain = self._is_plain()
        self._inbox = self._new_inbox() if plain else None
        self._go_fast(self._most if plain else -1, lends=plain and bool(self._accept >> encodings.ARRAY & 1))

    def _is_plain(self) -> bool:
        return bool(self._accept & 1) and self._most >= SMALL and self._assembly is None

    def _return(self, inbox: Inbox) -> None:
        if self._is_plain():
            self._inbox = inbox

    def recv(self, timeout: float | None = None) -> _T:
        """Take the next message, waiting for one.

        Bytes-like objects arrive as bytes; arrays own their memory.  A message in parts whose rest does not come within
        `timeout` is gone on with by the next call.

        Args:
          timeout: seconds; None waits without limit, 0 never waits.

        Raises:
          TimeoutError: nothing came within `timeout`.
          EndOfChannel: the sender closed, and everything was taken.
          PeerDiedError: the sender died, and everything it had sent was taken.
          RefusedEncodingError: a message that `accept=` leaves out; it was taken, and not decoded.
          MessageTooLargeError: a message longer than `max_message`; it was taken, and not decoded.
          BusyError: another thread, or another process that is alive, is using this end.
        """
        inbox = self._inbox
        if inbox is None or timeout is not None:
            deadline = arguments.deadline_ns(timeout)
            inbox = self._borrow()
        else:
            self._inbox = None
            deadline = arguments.FOREVER_NS
            result = _recv(inbox[0])
            if 0 <= result <= SMALL:
                message = inbox[1][:result]
                self._inbox = inbox
                return message  # type: ignore[no-any-return]
            if result >= 0:
                return self._decode(inbox, result)
        return self._receive(inbox, deadline)

    def try_recv(self, default: _D | None = None) -> _T | _D | None:
        """Take the next message if there is one now, else `default`.  Raises as `recv`, but never waits."""
        inbox = self._borrow()
        decoding = False
        try:
            while True:
                result = self._try(inbox)
                if result == _IN_PARTS:
                    try:
                        return self._assemble(_NO_WAIT)  # type: ignore[no-any-return]
                    except _NotYet:
                        result = _EMPTY
                    except _GivenUp:
                        continue
                if result == _EMPTY:
                    self._peer_must_live()
                    return default
                if result < 0:
                    self._raise(result)
                decoding = True  # and giving the inbox back
                return self._decode(inbox, result)
        finally:
            if not decoding:
                self._return(inbox)

    def recv_envelope(self, timeout: float | None = None) -> Envelope:
        """Take the next message as `recv` does, with its type and its number."""
        message = self.recv(timeout)
        return Envelope(message, lib.ipcr_last_info(self._handle) & 0xFFFFFFFF, lib.ipcr_last_sequence(self._handle))

    def _receive(self, inbox: Inbox, deadline: int) -> _T:
        """The next message, however long it takes to come; gives the inbox back."""
        start = time.monotonic_ns()
        decoding = False
        try:
            while True:
                result = self._wait(lib.ipcr_recv_wait, inbox[0].bytes, deadline)
                if result == _IN_PARTS:
                    try:
                        return self._assemble(deadline)  # type: ignore[no-any-return]
                    except _NotYet:
                        result = _EMPTY
                    except _GivenUp:
                        continue
                if result == _EMPTY:
                    self._timed_out("no message", deadline, start)
                if result < 0:
                    self._raise(result)
                decoding = True  # and giving the inbox back
                return self._decode(inbox, result)
        finally:
            if not decoding:
                self._return(inbox)

    def _raise(self, status: int) -> NoReturn:
        if status == _IN_PARTS:
            raise errors.MessageTooLargeError(
                f"{self}: the next message came in parts, which can't be lent; it stays: recv() takes it"
            )
        super()._raise(status)

    # --- decoding -----------------------------------------------------------------------------------------------

    def _decode(self, inbox: Inbox, result: int) -> _T:
        """What stands in the inbox, or is lent; gives both back."""
        lent = result & LENT
        try:
            if lent:
                use = Use(by_caller=False)  # by us; gone with this frame
                self._use = weakref.ref(use)
                if not lib.ipcr_end_is_lent(self._handle):  # a signal's handler has received it in the meantime
                    self._raise(lib.IPCR_NOTHING_LENT)
            memory = lib.ipcr_lent(self._handle) if lent else inbox[0].bytes
            return self._decoded(ffi.buffer(memory, result & LENGTH), result)
        finally:
            if lent:
                self._give_back()
            self._return(inbox)

    def _decoded(self, memory: Any, result: int) -> _T:
        size, encoding = result & LENGTH, (result >> ENCODING_SHIFT) & 0xFF
        refusal = self._refusal(encoding, size)
        if refusal is not None:
            raise refusal
        return encodings.decode(encoding, memory, size, 8 * (result >> SKEW_SHIFT & 7))  # type: ignore[no-any-return]

    def _refusal(self, encoding: int, size: int) -> errors.IpcError | None:
        """Why a message is not decoded; None if it is."""
        if encoding not in encodings.NAMES:
            return errors.RefusedEncodingError(
                f"{self}: a message of {size} bytes has encoding number {encoding}, which this release can't decode; "
                "it was dropped.  Use the same release on both sides"
            )
        name = encodings.NAMES[encoding]
        if not self._accept >> encoding & 1:
            accepted = ", ".join(repr(kind) for kind in arguments.accepted(self._accept))
            return errors.RefusedEncodingError(
                f"{self}: a message of {size} bytes has encoding {name!r}, and accept= allows {accepted}; "
                "it was dropped"
            )
        if size > self._most:
            return errors.MessageTooLargeError(
                f"{self}: a message of {size} bytes is longer than max_message={self._most}; it was dropped"
            )
        return None

    def _give_back(self) -> None:
        self._use = None
        status = lib.ipcr_release(self._handle)
        if status not in {_OK, lib.IPCR_CLOSED}:  # closed by what was unpickled, or by another thread
            self._raise(status)

    def _assemble(self, deadline: int) -> Any:
        """Go on with a message in parts.  _NotYet when more of it must come, _GivenUp when no more will."""
        result = int(lib.ipcr_parts_begin(self._handle))
        if result in {_GIVEN_UP, _EMPTY}:
            raise _GivenUp
        if result < 0:
            self._raise(result)
        assembly = self._assembly
        if assembly is not None and assembly.at_work:
            self._raise(lib.IPCR_BUSY)
        if assembly is None or lib.ipcr_parts_done(self._handle) == 0:
            size, encoding = result & LENGTH, result >> ENCODING_SHIFT & 0xFF
            assembly = self._assembly = Assembly(encoding, size, self._refusal(encoding, size))
            self._set_pace()
        try:
            assembly.at_work = True
            status = assembly.read(self._wait, self._handle, deadline)
        finally:  # also when a signal's handler raised: the next call goes on where this one was
            assembly.at_work = False
            if lib.ipcr_parts_done(self._handle) == 0:  # all of it was taken, or there will be no more
                self._assembly = None
                self._set_pace()
        if status == _EMPTY:
            raise _NotYet
        if status == _GIVEN_UP or assembly.lost:
            raise _GivenUp
        if status != _OK:
            self._raise(status)
        if assembly.refusal is not None:
            raise assembly.refusal
        return assembly.message

    # --- batches and iteration ----------------------------------------------------------------------------------

    def recv_many(self, max: int = 1024, timeout: float | None = None) -> list[_T]:
        """Take what is there, at least one message and at most `max`, waiting only for the first.

        A batch ends before a message that can't be decoded, or comes in parts; the next call meets it first.

        Args:
          max: how many messages at most, 1 or more.
          timeout: seconds to wait for the first; None waits without limit, 0 never waits.

        Raises:
          What `recv` raises, of the first message.
        """
        most = arguments.most_messages(max)
        deadline = arguments.deadline_ns(timeout)
        scratch, self._scratch = self._scratch, None
        if scratch is None:
            scratch = Scratch(self._attached().capacity)
        take_raw = bool(self._accept & 1) and self._most >= scratch.room
        try:
            count = scratch.fill(self._handle, most, take_raw=take_raw)
            if count in NOT_READY:
                self._get_ready(count)
                count = scratch.fill(self._handle, most, take_raw=take_raw)
            if count == _EMPTY and self._wait(lib.ipcr_data_wait, deadline) == _OK:
                count = scratch.fill(self._handle, most, take_raw=take_raw)
            if count > 0:
                return scratch.split(count) if take_raw and scratch.is_raw() else self._unpack(scratch, count)
        finally:
            self._scratch = scratch
        return [self._receive(self._borrow(), deadline)]  # large, in parts, or to say why there is none

    def _unpack(self, scratch: Scratch, count: int) -> list[_T]:
        """Decode what was copied, and take from the ring what was decoded, or refused."""
        messages: list[_T] = []
        taken = 0
        try:
            for memory, result in scratch.messages(count):
                messages.append(self._decoded(memory, result))
                taken += 1
        except BaseException as error:
            if interrupts(error):
                taken = 0  # all of them stay
                raise
            if not messages:
                taken = 1  # as recv: it is dropped
                raise
        finally:
            status = scratch.take(self._handle, taken)
            if status not in {_OK, lib.IPCR_CLOSED}:  # closed by what was unpickled, or by another thread
                self._raise(status)
        return messages

    def __iter__(self) -> Iterator[_T]:
        return self

    def __next__(self) -> _T:
        try:
            return self.recv()
        except errors.EndOfChannel:
            raise StopIteration from None

    # --- zero copy ----------------------------------------------------------------------------------------------

    def view(self, timeout: float | None = None) -> Peek[Any]:
        """Lend the next message, read-only, straight from the ring: `with rx.view() as frame: ...`.

        An array comes as an array, raw bytes as a memoryview, and anything else as `recv` would give it.  The message
        is taken, and its space given back, at the end of the `with`; then the array is empty, and what else was made
        from it (a slice, say) must be gone.  While a message is lent, other calls raise BusyError.  Waits as `recv`
        does.

        Raises:
          MessageTooLargeError: the message came in parts; it stays, and `recv` takes it.
          BusyError: at the end of the `with`, something made from the memory is still alive; the message was taken.
          Otherwise what `recv` raises.
        """
        return Peek(self, timeout, self._show)

    def _show(self, loan: Loan, result: int) -> Any:
        size, encoding = result & LENGTH, (result >> ENCODING_SHIFT) & 0xFF
        if encoding in {encodings.BYTES, encodings.ARRAY}:
            refusal = self._refusal(encoding, size)
            if refusal is not None:
                raise refusal
        if encoding == encodings.BYTES:
            return loan.memory(read_only=True)
        if encoding == encodings.ARRAY:
            read_only = encodings.read_only(loan.exporter)
            return loan.array(encodings.array_at(loan.exporter, size, 8 * (result >> SKEW_SHIFT & 7), read_only))
        return self._decoded(memoryview(loan.exporter), result)


class _NotYet(Exception):
    """More of the message must come."""


class _GivenUp(Exception):
    """No more of the message will come; something else stands in the ring."""


accelerate(MessageReceiver, "recv", "recv_many", "__next__", "view")

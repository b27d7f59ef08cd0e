"""Taking messages from a queue at most once, one by one and in batches: what `ipc.Queue` is to those who get."""

from __future__ import annotations

import functools
import pickle
from typing import Any, Final, Generic, TypeVar

from ipc._core import arguments
from ipc._core.handlers import interrupts
from ipc._core.native import ffi, lib
from ipc._core.plain_batches import Scratch
from ipc._core.queues import Empty, QueueHandle
from ipc._core.transfer import ENCODING_SHIFT, LENGTH, LENT, SMALL

__all__ = ["PlainTaking", "deadline_of"]

_T = TypeVar("_T")

_OK = lib.IPCR_OK
_PICKLED_RESULT: Final[int] = lib.IPCR_PICKLE  # what stands above the length of a plain pickle

_loads = pickle.loads
_get = lib.ipcr_queue_get_into


class PlainTaking(QueueHandle, Generic[_T]):
    """The half of a queue that takes.

    With the accelerator, `get` and `get_many` begin in native/fast/queues.c and queue_batches.c, which do the plain
    cases.
    """

    __slots__ = ("_scratch",)

    _scratch: Scratch | None

    def get(self, block: bool = True, timeout: float | None = None) -> _T:
        """Take the oldest message, waiting for one.

        Args:
          block: whether to wait.
          timeout: seconds; None waits without limit, 0 and less never wait.  It counts only with block=True.

        Raises:
          queue.Empty: none within `timeout` seconds, or none now with block=False.
          ipc.ShutDown: the queue was shut down, and is empty.
          RefusedEncodingError: a message that `accept=` leaves out; it was taken, and not decoded.
          TooManyParticipantsError: 1,023 processes that take messages are alive.
        """
        inbox = self._inbox
        fast = inbox is not None
        if inbox is None:
            inbox = self._borrow()
        self._inbox = None
        ours = True
        try:
            result = _get(inbox[0]) if fast else -1
            if 0 <= result <= SMALL:
                message = inbox[1][:result]
                ours, self._inbox = False, inbox
                return message  # type: ignore[no-any-return]
            if result >> ENCODING_SHIFT == _PICKLED_RESULT:
                message = inbox[1][: result & LENGTH]
                ours, self._inbox = False, inbox
                return _loads(message)  # type: ignore[no-any-return]
            if result < 0:
                result = self._get_slowly(inbox, block, timeout)
            return self._finish(inbox, result)  # type: ignore[no-any-return]
        except BaseException:
            if ours:
                self._forget(inbox)
            raise
        finally:
            if ours:
                self._return(inbox)

    def _get_waiting(self, block: bool = True, timeout: float | None = None) -> Any:
        """The accelerator found nothing."""
        inbox = self._borrow()
        try:
            return self._finish(inbox, self._get_slowly(inbox, block, timeout))
        except BaseException:
            self._forget(inbox)
            raise
        finally:
            self._return(inbox)

    def _forget(self, inbox: Any) -> None:
        """A signal's handler: a large message may be leased without our knowing."""
        if inbox[0].lease.held:
            lib.ipcr_lease_nack(inbox[2], ffi.addressof(inbox[0].lease), 0)

    def _finish_at(self, address: int, result: int) -> Any:
        """The accelerator has taken something that it doesn't decode, into an inbox of its own."""
        return self._finish((ffi.cast("struct ipcr_queue_inbox *", address), None, self._handle), result)

    def _decode_at(self, address: int, result: int) -> Any:
        """The accelerator has leased something that it doesn't decode, and copied it."""
        return self._decode(ffi.buffer(ffi.cast("char *", address), result & LENGTH), result)

    def get_nowait(self) -> _T:
        """`get(block=False)`."""
        return self.get(False)

    def _get_slowly(self, inbox: Any, block: bool, timeout: float | None) -> int:
        result = self._take(lambda: int(lib.ipcr_queue_try_get_into(inbox[0])), deadline_of(block, timeout))
        if result < 0:
            raise Empty(f"{self} is empty")
        return result

    def _finish(self, inbox: Any, result: int) -> Any:
        """Decode what is in the inbox, or what is still leased because it is large."""
        if not result & LENT:
            return self._decode(ffi.buffer(inbox[0].bytes, result & LENGTH), result)
        lease = inbox[0].lease
        try:
            return self._decode(ffi.buffer(lease.payload, result & LENGTH), result)
        finally:
            status = lib.ipcr_lease_ack(inbox[2], ffi.addressof(lease))
            if status != _OK:  # the handle was closed meanwhile, and the message given back
                self._raise(status)

    def get_many(self, max: int = 1024, timeout: float | None = None) -> list[_T]:
        """Take what is there now, at most `max` messages, waiting for the first.

        Args:
          max: at least 1; one call takes at most 1,024 messages, and ends with the one that passes 256 KiB.
          timeout: seconds; None waits without limit, 0 never waits.

        Raises:
          queue.Empty: none within `timeout` seconds.
          ipc.ShutDown: the queue was shut down, and is empty.
        """
        most = arguments.most_messages(max)
        deadline = deadline_of(True, timeout)
        handle = self._handle  # for as long as this is there, so is what is decoded where it stands
        scratch, self._scratch = self._scratch or Scratch(), None
        try:
            count = scratch.fill(handle, most)
            if count < 0:
                count = self._take(functools.partial(scratch.fill, handle, most), deadline)
            if count < 0:
                raise Empty(f"{self} is empty")
            return self._messages(handle, scratch, count)
        except BaseException:  # a signal's handler: they may be leased without our knowing
            scratch.give_back(handle)
            raise
        finally:
            self._scratch = scratch

    def _messages(self, handle: Any, scratch: Scratch, count: int) -> list[Any]:
        """Decode them, and only then take them: whatever happens meanwhile, none is lost.  Before one that can't be
        decoded the others end; when it comes first, it is taken, and the error says why."""
        messages: list[Any] = []
        taken = 0
        try:
            self._decode_all(scratch, count, messages)
            taken = count
        except Exception as error:
            if interrupts(error):
                raise
            taken = len(messages) or 1
            if not messages:
                raise
        finally:
            taken = scratch.end(handle, count, taken)
        if taken < len(messages):  # the handle is being closed, which has given back the others
            del messages[taken:]
            if not messages:
                self._raise(lib.IPCR_CLOSED)
        return messages

    def _decode_all(self, scratch: Scratch, count: int, messages: list[Any]) -> None:
        memory, at = scratch.buffer, 0
        plain = self._accept == arguments.ALL_ENCODINGS
        for number, result in enumerate(scratch.results(count)):
            behind = at + (result & LENGTH)
            if result & LENT:
                messages.append(self._decode(scratch.lent(number), result))
            elif result == behind - at and plain:  # bytes: nothing stands above the length
                messages.append(memory[at:behind])
            elif result >> ENCODING_SHIFT == _PICKLED_RESULT and plain:
                messages.append(_loads(memory[at:behind]))
            else:
                messages.append(self._decode(scratch.part(at, behind), result))
            at = behind


def deadline_of(block: bool, timeout: float | None) -> int:
    """As the standard library understands the two: a timeout counts only for calls that block, a negative one is 0."""
    if not block:
        return 1
    try:
        negative = timeout is not None and timeout < 0
    except TypeError:
        negative = False  # no number: deadline_ns says so
    return arguments.deadline_ns(0 if negative else timeout)

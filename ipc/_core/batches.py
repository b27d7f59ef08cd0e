"""Many messages in one native call."""

from __future__ import annotations

import time
from array import array
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from ipc import errors
from ipc._core.encoding import Encoded, encode
from ipc._core.handlers import interrupts
from ipc._core.native import ffi, lib
from ipc._core.transfer import LENGTH

if TYPE_CHECKING:
    from ipc._core.sender import MessageSender

__all__ = ["Batch", "Scratch"]

_MOST_BYTES = 65536  # in one call; a longer message goes by itself
_MOST_MESSAGES = 1024
_NO_WAIT = 1  # a deadline that has passed
_PATIENCE_NS = 1_000_000  # how long messages of a slow iterable wait for more

_new_memory = ffi.new_allocator(should_clear_after_alloc=False)


class Batch:
    """Messages on their way out; `sent` of them have gone."""

    __slots__ = ("_bytes", "_deadline", "_info", "_messages", "_sender", "sent")

    def __init__(self, sender: MessageSender[Any], info: int, deadline: int) -> None:
        self._sender = sender
        self._info = info
        self._deadline = deadline
        self._messages: list[Encoded] = []
        self._bytes = 0
        self.sent = 0

    def add_all(self, objs: Sequence[Any]) -> None:
        """Send what is there already."""
        with self._flushed():
            for obj in objs:
                self._add(obj)

    def add_slowly(self, objs: Iterable[Any]) -> None:
        """Send what comes, without letting it wait long for what comes later."""
        with self._flushed():
            since = 0
            for obj in objs:
                if not self._messages:
                    since = time.monotonic_ns()
                self._add(obj, lasting=False)
                if time.monotonic_ns() - since > _PATIENCE_NS:
                    self._flush()

    @contextmanager
    def _flushed(self) -> Iterator[None]:
        """What was added goes, also when the iterable raises; but an interrupted call doesn't wait for room."""
        try:
            yield
        except BaseException as error:
            if not interrupts(error):
                self._flush()
                raise
            self._deadline = _NO_WAIT
            with suppress(errors.IpcError):
                self._flush()
            raise
        self._flush()

    def _add(self, obj: Any, *, lasting: bool = True) -> None:
        message = encode(obj)
        _, first, rest = message
        size = len(first) + sum(map(len, rest))
        if size > _MOST_BYTES or len(rest) >= lib.IPCR_MOST_PIECES:
            self._flush()
            self._post(message)
            return
        if self._bytes + size > _MOST_BYTES or len(self._messages) == _MOST_MESSAGES:
            self._flush()
        if not lasting:  # an iterable may fill the same memory again for its next item
            message = message[0], _own(first), [_own(piece) for piece in rest]
        self._messages.append(message)
        self._bytes += size

    def _post(self, message: Encoded) -> None:
        self._sender._post_encoded(message, self._info, self._deadline, wait=True)
        self.sent += 1

    def _flush(self) -> None:
        messages, self._messages, self._bytes = self._messages, [], 0
        if not messages:
            return
        pieces = [piece for _, first, rest in messages for piece in (first, *rest)]
        lengths = array("Q", map(len, pieces))
        counts = array("Q", [1 + len(rest) for _, _, rest in messages])
        infos = array("Q", [self._info | encoding << 32 for encoding, _, _ in messages])
        joined = b"".join([piece if isinstance(piece, bytes) else ffi.buffer(piece) for piece in pieces])
        memory = ffi.from_buffer("char[]", joined)
        length_of, count_of, info_of = (ffi.from_buffer("uint64_t[]", words) for words in (lengths, counts, infos))
        at_message = at_piece = at_byte = 0
        while at_message < len(messages):
            done = lib.ipcr_send_many(
                self._sender._handle,
                memory + at_byte,
                length_of + at_piece,
                count_of + at_message,
                info_of + at_message,
                len(messages) - at_message,
            )
            if done <= 0:  # no room, too large, not taken yet, closed: one by itself waits, or says what is wrong
                self._post(messages[at_message])
                done = 1
            else:
                self.sent += done
            behind = at_piece + sum(counts[at_message : at_message + done])
            at_byte += sum(lengths[at_piece:behind])
            at_piece = behind
            at_message += done


def _own(piece: Any) -> bytes:
    return piece if isinstance(piece, bytes) else ffi.buffer(piece)[:]


class Scratch:
    """Room for a batch on its way in."""

    __slots__ = ("_from", "_memory", "_results", "room")

    def __init__(self, capacity: int) -> None:
        self.room = min(capacity, 4 * _MOST_BYTES)
        self._memory = _new_memory("char[]", self.room)
        self._results = ffi.new("int64_t[]", _MOST_MESSAGES)
        self._from = ffi.new("uint64_t *")

    def fill(self, handle: Any, most: int, *, take_raw: bool) -> int:
        """How many messages are here now; 0 when the first is too long for this; or a status."""
        most = min(most, _MOST_MESSAGES)
        return int(lib.ipcr_recv_many(handle, self._memory, self.room, self._results, most, take_raw, self._from))

    def messages(self, count: int) -> Iterator[tuple[Any, int]]:
        """Each message's memory and result."""
        at = 0
        for result in ffi.unpack(self._results, count):
            size = result & LENGTH
            yield ffi.buffer(self._memory + at, size), result
            at += size

    def take(self, handle: Any, count: int) -> int:
        """Take the first `count` of those messages from the ring, unless somebody else has taken some."""
        return int(lib.ipcr_skip(handle, self._from[0], count))

    def is_raw(self) -> bool:
        """Whether the messages are raw bytes: all are, or none is."""
        return bool(self._results[0] <= LENGTH)

    def split(self, count: int) -> list[Any]:
        """The messages, when they are raw bytes."""
        joined = ffi.buffer(self._memory, self.room)
        messages, at = [], 0
        for length in ffi.unpack(self._results, count):
            messages.append(joined[at : at + length])
            at += length
        return messages

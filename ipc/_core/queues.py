"""What every queue shares: a handle that any number of processes and threads use, and how it puts, takes and waits.

A process registers itself by what it does: at its first put it takes a lane, at its first get a consumer's number.  A
forked child has neither, and registers anew.  See native/queue.h.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import queue as standard
import time
import weakref
from collections.abc import Callable, Iterable, Iterator
from multiprocessing import util
from types import TracebackType
from typing import TYPE_CHECKING, Any, ClassVar, Final, NoReturn, TypeVar

from ipc import errors
from ipc._core import arguments, parcels
from ipc._core import encoding as encodings
from ipc._core.encoding import Encoded, encode
from ipc._core.handlers import interrupts
from ipc._core.native import QueueRoot, check, fast, ffi, lib, raise_status
from ipc._core.segment import Segment
from ipc._core.sharing import Shared, hand_over, take_over
from ipc._core.transfer import ENCODING_SHIFT, LENGTH, SKEW_SHIFT

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = [
    "BATCH_BYTES",
    "BATCH_MESSAGES",
    "DEFAULT_LANE",
    "PICKLED",
    "Empty",
    "Full",
    "Inbox",
    "QueueHandle",
    "batches",
    "bytes_of",
    "longest",
    "open_queues",
    "options",
    "owned",
    "size_of",
]

DEFAULT_LANE: Final = "256KiB"
_SLOT_BYTES = 64
_END = object()
_PATIENCE_NS = 1_000_000  # how long messages of a slow iterable wait for more
_LEAST_BYTES = 8  # that a message takes, other than an empty one
BATCH_BYTES, BATCH_MESSAGES = 65536, 1024  # at most, in one native call

# Classes whose objects go as pickles, unless they hold something with buffers.
PICKLED: Final = frozenset((tuple, list, dict, str, int, float, bool, set, frozenset, type(None)))

_OK = lib.IPCR_OK
_FULL: Final[int] = lib.IPCR_FULL
_AGAIN = lib.IPCR_AGAIN
_NOT_TAKEN = lib.IPCR_NOT_TAKEN

# Where native code puts a small message: the struct that it takes, a buffer over its bytes, and the handle that the
# struct points to, so that it lives as long as somebody is inside.
Inbox = tuple[Any, Any, Any]

_Q = TypeVar("_Q", bound="QueueHandle")

# Every handle of this process that has not been closed.
open_queues: weakref.WeakSet[QueueHandle] = weakref.WeakSet()


def options(capacity: int, *, maxsize: int = 0, lease_ns: int = 0, max_deliveries: int = 0, lanes_each: int = 1) -> Any:
    """What stays with the queue, for whoever attaches."""
    made = ffi.new("struct ipcr_queue_options *")
    # as many slots as messages of 64 bytes fit in; more where maxsize promises room for more, if small ones would fit
    promised = min(1 << (maxsize - 1).bit_length(), capacity // _LEAST_BYTES) if maxsize else 0
    made.slots = max(capacity // (2 * _SLOT_BYTES), promised, 2)
    made.maxsize = maxsize
    made.lease_ns = lease_ns
    made.max_deliveries = max_deliveries
    made.lanes_each = lanes_each
    return made


class Full(errors.TimeoutError, standard.Full):
    """No room within `timeout`; nothing was put."""


class Empty(errors.TimeoutError, standard.Empty):
    """No message within `timeout`; nothing was taken."""


class QueueHandle(QueueRoot):
    """One process's handle on a queue."""

    __slots__ = (
        "__weakref__", "_accept", "_closed_because", "_handle", "_inbox", "_label", "_name", "_segment", "_spin",
    )  # fmt: skip

    _kind: ClassVar[str]
    _what_became: ClassVar[str] = "it was dropped"  # of a message that can't be decoded

    _segment: Segment
    _handle: Any
    _inbox: Inbox | None
    _spin: int
    _accept: int
    _label: str
    _name: str | None
    _closed_because: str

    # --- making -------------------------------------------------------------------------------------------------

    def _open(self, segment: Segment, spin_ns: int, accept: int) -> None:
        out = ffi.new("struct ipcr_queue **")
        check(lib.ipcr_queue_open(segment.pointer, spin_ns, out), str(segment))
        self._segment = segment
        self._label, self._name = str(segment), segment.name
        # the core's handle goes with the last reference to it: close() drops ours, and whoever is inside has one
        self._handle = ffi.gc(out[0], lib.ipcr_queue_free)
        self._spin = spin_ns
        self._accept = accept
        self._closed_because = ""
        self._inbox = None
        self._return(self._new_inbox())
        open_queues.add(self)
        _close_at_exit()

    def _go_fast(self, *, puts: bool, gets: bool, lease_ns: int = 0, acks: bool = False) -> None:
        """Let the accelerator do the fast cases of these."""
        if fast is not None:
            self._bind(self._handle, int(ffi.cast("uintptr_t", self._handle)), puts, gets, lease_ns, acks)

    def _go_slow(self) -> None:
        """The accelerator does nothing any more, and lets go of the core's handle."""
        if fast is not None:
            self._bind(None, 0, False, False, 0, False)

    def _new_inbox(self) -> Inbox:
        inbox = ffi.new("struct ipcr_queue_inbox *")
        inbox.queue = self._handle
        return inbox, ffi.buffer(inbox.bytes), self._handle

    def __str__(self) -> str:
        return self._label

    def __repr__(self) -> str:
        return f"<{self._label}, {'closed' if self.closed else f'{self.qsize()} messages'}>"

    @property
    def name(self) -> str | None:
        """The name by which other processes attach; None for an anonymous queue."""
        return self._name

    # --- ending -------------------------------------------------------------------------------------------------

    @property
    def closed(self) -> bool:
        """Whether close() was called."""
        return bool(self._closed_because)

    def _close(self, because: str) -> None:
        if not self._closed_because:
            self._closed_because = because
            self._go_slow()
            self._leave()

    def _leave(self) -> None:
        open_queues.discard(self)
        parcels.sweep()  # first: what children have got by now would hold the name
        with contextlib.suppress(AttributeError, errors.ClosedError):  # another thread was faster
            lib.ipcr_queue_close(self._handle)
            self._go_slow()
            del self._segment, self._handle  # the process leaves the queue with its last handle
        self._inbox = None

    def __getattr__(self, attribute: str) -> NoReturn:
        """What close() has taken away is missed by whoever is about to use it."""
        if attribute in {"_handle", "_segment"} and self._closed_because:
            self._raise(lib.IPCR_CLOSED)
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {attribute!r}")

    def close(self) -> None:
        """Give up this handle: what it holds of messages goes back to the queue.  Closing twice is fine.

        May come from any thread: a call that is blocked in another one ends with ClosedError.
        """
        self._close("it was closed here")

    def _after_fork(self) -> None:
        """In a forked child: another thread of the parent may have been inside."""
        if not self._closed_because:
            self._return(self._new_inbox())

    def _before_exit(self) -> None:
        """For subclasses: wait for what has to be done before the process may end."""

    def unlink(self) -> None:
        """Remove the name, so that nobody new can attach; those attached go on."""
        self._segment.unlink()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.close()
        except errors.BusyError:
            if kind is None:
                raise
            self._close("it was closed here")  # else it would hide the error on its way; what is lent stays mapped

    def _raise(self, status: int) -> NoReturn:
        if status == lib.IPCR_CLOSED and self._closed_because:
            raise errors.ClosedError(f"{self} is closed: {self._closed_because}")
        if status == lib.IPCR_TAKEN:  # of a consumer's number
            raise errors.TooManyParticipantsError(
                f"{self}: {lib.IPCR_MOST_HOLDERS} processes that take messages are alive; that is the most"
            )
        raise_status(status, str(self))

    # --- to other processes -------------------------------------------------------------------------------------

    def __reduce__(self) -> tuple[Any, ...]:
        popen = parcels.starting_process(str(self))
        if self._closed_because:
            self._raise(lib.IPCR_CLOSED)
        shared = hand_over(popen, self._segment, str(self))
        return _adopt, (type(self), shared, self._spin, self._accept, self._state())

    def _state(self) -> Any:
        """For subclasses: what a handed-over copy needs besides."""
        return None

    def _set_state(self, state: Any) -> None:
        """For subclasses: the counterpart of `_state`."""

    # --- putting ------------------------------------------------------------------------------------------------

    def _try_put(self, message: Encoded, put: Any) -> int:
        """One message, if there is room now; the status says whether.  `put` has its options, and gets its id."""
        encoding, first, rest = message
        pieces = ffi.new("struct ipcr_piece[]", 1 + len(rest))
        kept = []
        for i, piece in enumerate((first, *rest)):
            memory = ffi.from_buffer(piece) if isinstance(piece, bytes) else piece
            kept.append(memory)  # alive until this returns
            pieces[i].data = memory
            pieces[i].length = len(piece)
        put.info = encoding << 32
        while True:
            status = int(lib.ipcr_queue_put_pieces(self._handle, pieces, 1 + len(rest), put))
            if status != _NOT_TAKEN:
                return status
            if not self._take_lane():
                return int(_FULL)

    def _take_lane(self) -> bool:
        """A lane for this process; False when it has some, and there are no more."""
        try:
            status = lib.ipcr_queue_take_lane(self._handle, False)
            if status == lib.IPCR_NOT_FOUND:  # a new one, if there is memory for it
                from ipc._core import footprint

                capacity = self._segment.capacity
                needed = int(lib.ipcr_lane_footprint(self._options().slots, capacity))
                footprint.require(needed, self._segment.directory, f"a lane of capacity {capacity} of {self}")
                status = lib.ipcr_queue_take_lane(self._handle, True)
            if status != lib.IPCR_TAKEN:
                check(status, str(self))
                return True
        except errors.OutOfSharedMemoryError:
            if lib.ipcr_queue_has_lane(self._handle):
                return False
            raise
        if lib.ipcr_queue_has_lane(self._handle):
            return False
        raise errors.TooManyParticipantsError(
            f"{self}: all {self._lanes()} lanes are in use by processes that put and are alive; "
            f"make it with a larger lanes= (at most {lib.IPCR_MOST_LANES})"
        )

    def _options(self) -> Any:
        out = ffi.new("struct ipcr_queue_options *")
        lib.ipcr_queue_get_options(self._handle, out)
        return out

    def _lanes(self) -> int:
        return int(lib.ipcr_segment_lanes(self._segment.pointer))

    def _put_waiting(self, message: Encoded, put: Any, deadline: int) -> bool:
        """Wait for room until the deadline; whether the message was put."""
        size = size_of(message)
        while (status := self._try_put(message, put)) == _FULL:
            if time.monotonic_ns() >= deadline:
                return False
            self._wait(lib.ipcr_queue_wait_for_room(self._handle, size + 64, deadline))
        if status != _OK:
            self._refuse(status, size)
        return True

    def _refuse(self, status: int, size: int) -> NoReturn:
        if status == lib.IPCR_TOO_LARGE:
            capacity = self._segment.capacity
            wanted = arguments.capacity_bytes(size + 64)
            raise errors.MessageTooLargeError(
                f"{self}: a message of {size} bytes can't fit; capacity={capacity} is what a lane carries. "
                f"Make it with capacity={wanted} or more"
            )
        self._raise(status)

    def _wait(self, status: int) -> None:
        """What a slice of waiting came to: only what is wrong is said."""
        parcels.sweep()
        if status not in {_OK, _AGAIN}:
            self._raise(status)

    # --- taking -------------------------------------------------------------------------------------------------

    def _borrow(self) -> Inbox:
        """An inbox.  While one is borrowed another thread gets one of its own."""
        if self._closed_because:
            self._raise(lib.IPCR_CLOSED)
        inbox, self._inbox = self._inbox, None
        return self._new_inbox() if inbox is None else inbox

    def _return(self, inbox: Inbox) -> None:
        """Keep it for the next call.  The fast cases begin with it, so there is one only where they may decode all."""
        if self._accept == arguments.ALL_ENCODINGS and not self._closed_because:
            self._inbox = inbox

    def _take(self, attempt: Callable[[], int], deadline: int) -> int:
        """A result that is not negative, or IPCR_EMPTY at the deadline."""
        while True:
            result = attempt()
            if result >= 0:
                return result
            if result == lib.IPCR_EMPTY:
                if time.monotonic_ns() >= deadline:
                    return result
                self._wait(lib.ipcr_queue_wait_for_message(self._handle, deadline))
            elif result != _AGAIN:
                self._raise(result)

    def _decode(self, memory: Any, result: int) -> Any:
        size, encoding = result & LENGTH, (result >> ENCODING_SHIFT) & 0xFF
        if encoding not in encodings.NAMES:
            raise errors.RefusedEncodingError(
                f"{self}: a message of {size} bytes has encoding number {encoding}, which this release can't decode; "
                f"{self._what_became}.  Use the same release on both sides"
            )
        if not self._accept >> encoding & 1:
            accepted = ", ".join(repr(kind) for kind in arguments.accepted(self._accept))
            raise errors.RefusedEncodingError(
                f"{self}: a message of {size} bytes has encoding {encodings.NAMES[encoding]!r}, and accept= allows "
                f"{accepted}; {self._what_became}"
            )
        return encodings.decode(encoding, memory, size, 8 * (result >> SKEW_SHIFT & 7))

    # --- looking ------------------------------------------------------------------------------------------------

    def qsize(self) -> int:
        """Messages that are not done with: waiting, and taken but not acknowledged."""
        while (depth := int(lib.ipcr_queue_depth(self._handle))) < 0:
            if depth != _AGAIN:
                self._raise(depth)
        return depth

    def purge(self) -> int:
        """Throw away all messages that wait; returns how many."""
        thrown_away = int(lib.ipcr_queue_purge(self._handle, False))
        if thrown_away < 0:
            self._raise(thrown_away)
        return thrown_away


def size_of(message: Encoded) -> int:
    _, first, rest = message
    return len(first) + sum(len(piece) + 63 for piece in rest)


def longest(message: Encoded) -> int:
    """Bytes that the message may take, wherever it comes to lie."""
    _, first, rest = message
    behind = 0
    for piece in rest:
        behind = -(-behind // 64) * 64 + len(piece)
    return len(first) + (63 + behind if rest else 0)


def batches(objs: Iterable[Any]) -> Iterator[list[Encoded]]:
    """Encoded messages, as many at a time as make a native call worth while; those of a slow iterable don't wait long
    for the next.  What comes before an error is handed out before it is raised."""
    lasting = isinstance(objs, (list, tuple))
    batch: list[Encoded] = []
    size, since = 0, 0
    iterator = iter(objs)
    failed: Exception | None = None
    while failed is None:
        try:
            obj = next(iterator, _END)
            if obj is _END:
                break
            message = encode(obj)
        except Exception as error:
            if interrupts(error):
                raise
            failed = error
            break
        if not lasting:  # an iterable may fill the same memory again for its next item
            message = owned(message)
            since = since or time.monotonic_ns()
        batch.append(message)
        size += size_of(message)
        full = size >= BATCH_BYTES or len(batch) >= BATCH_MESSAGES
        if full or (not lasting and time.monotonic_ns() - since > _PATIENCE_NS):
            yield batch
            batch, size, since = [], 0, 0
    if batch:
        yield batch
    if failed is not None:
        try:
            raise failed
        finally:
            failed = None  # it refers to us


def owned(message: Encoded) -> Encoded:
    """With memory of its own: the caller may change what it has put as soon as put returns."""
    encoding, first, rest = message
    return encoding, bytes_of(first), [bytes_of(piece) for piece in rest]


def bytes_of(piece: Any) -> bytes:
    """A piece of a message as bytes."""
    return piece if isinstance(piece, bytes) else ffi.buffer(piece)[:]


def _adopt(cls: type[_Q], shared: Shared, spin_ns: int, accept: int, state: Any) -> _Q:
    """Unpickle a queue in the child that it was sent to."""
    queue = cls.__new__(cls)
    queue._open(take_over(shared), spin_ns, accept)
    queue._set_state(state)
    return queue


# --- at exit, and after a fork -----------------------------------------------------------------------------------


def _close_all() -> None:
    for queue in tuple(open_queues):
        queue._before_exit()
        if queue in open_queues:
            queue._close("the process is ending")


_registered_in = 0


def _close_at_exit() -> None:
    global _registered_in  # noqa: PLW0603
    pid = os.getpid()
    if _registered_in != pid:
        _registered_in = pid
        util.Finalize(None, _close_all, exitpriority=-20)  # behind whatever still puts


def _in_forked_child() -> None:
    for queue in tuple(open_queues):
        queue._after_fork()


def _in_new_child(_: object) -> None:
    global _registered_in  # noqa: PLW0603
    _registered_in = 0
    _close_at_exit()


os.register_at_fork(after_in_child=_in_forked_child)
util.register_after_fork(open_queues, _in_new_child)
atexit.register(_close_all)

"""A receiving end of a multicast."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Final, Generic, NamedTuple, NoReturn, TypeVar, final

from ipc import errors
from ipc._core import arguments, refusals
from ipc._core import encoding as encodings
from ipc._core.handlers import interrupts
from ipc._core.lending import Loan, Peek
from ipc._core.multicast_ends import MulticastEnd, name_of
from ipc._core.native import accelerate, check, ffi, lib
from ipc._core.transfer import ENCODING_SHIFT, LENGTH, LENT, SKEW_SHIFT, SMALL

if TYPE_CHECKING:
    from ipc._core.segment import Segment

__all__ = ["MulticastEnvelope", "Subscriber", "Wanted"]

_T = TypeVar("_T")
_D = TypeVar("_D")

_EMPTY = lib.IPCR_EMPTY
_AGAIN = lib.IPCR_AGAIN
_OK = lib.IPCR_OK
_BATCH_BYTES: Final = 262144  # at most, in one native call
_BATCH_MESSAGES: Final = 1024

_recv = lib.ipcr_subscriber_recv_into
_try_recv = lib.ipcr_subscriber_try_recv_into
_new_memory = ffi.new_allocator(should_clear_after_alloc=False)

# Where native code puts a small message: the struct that it takes, a buffer over its bytes, and the handle that the
# struct points to, so that it lives as long as somebody is inside.
Inbox = tuple[Any, Any, Any]


class MulticastEnvelope(NamedTuple):
    """A message, and what came with it."""

    message: Any
    sequence: int
    """Its number: from 0, without gaps, also across publishers."""
    lost: int
    """Messages that were overwritten between the one before and this one; always 0 where the multicast is lossless."""
    topic: str | None


class Wanted(NamedTuple):
    """What `Multicast.subscribe` was asked for, checked."""

    start: int
    sequence: int
    topics: tuple[str, ...] | None
    on_lap: int
    observe: bool
    interval_ns: int


@final
class Subscriber(MulticastEnd, Generic[_T]):
    """One who gets every message, or every one of some topics.  One thread at a time; a second caller gets BusyError.

    Made by `Multicast.subscribe()`; stays in its process, and a forked child that uses it gets ForkedHandleError.
    Iterating gives messages until the publisher has closed.
    """

    __slots__ = ("_accept", "_copies", "_inbox", "_scratch")

    _close_in_core = lib.ipcr_subscriber_close
    _wait_in_core = lib.ipcr_subscriber_wait
    _stop_waiting = lib.ipcr_subscriber_stop_waiting
    _look_around = lib.ipcr_subscriber_look_around

    _accept: int
    _copies: bool
    _inbox: Inbox | None
    _scratch: _Scratch | None

    @classmethod
    def _open(cls, segment: Segment, wanted: Wanted, spin_ns: int, accept: int) -> Subscriber[_T]:
        label = f"{'observer' if wanted.observe else 'subscriber'} of {segment}"
        asked = ffi.new("struct ipcr_subscription *")
        asked.start, asked.sequence, asked.on_lap = wanted.start, wanted.sequence, wanted.on_lap
        asked.observe, asked.interval_ns, asked.spin_ns = wanted.observe, wanted.interval_ns, spin_ns
        names = [ffi.from_buffer(name_of(topic)) for topic in wanted.topics or ()]
        topics = ffi.new("struct ipcr_topic[]", max(1, len(names)))
        for topic, name in zip(topics, names, strict=False):
            topic.name, topic.length = name, len(name)
            topic.number = lib.ipcr_topic_number(name, len(name))
        asked.topics = len(names)
        oldest, after, out = ffi.new("uint64_t *"), ffi.new("uint64_t *"), ffi.new("struct ipcr_subscriber **")
        status = lib.ipcr_subscriber_open(segment.pointer, asked, topics, oldest, after, out)
        if status == lib.IPCR_NOT_FOUND and wanted.start == lib.IPCR_START_SEQUENCE:
            kept = f"messages {oldest[0]} to {after[0] - 1}" if oldest[0] != after[0] else "no messages"
            raise ValueError(
                f"start={wanted.sequence}: {segment} keeps {kept}, and {after[0]} comes next; "
                'start="oldest" takes what is there'
            )
        if status == lib.IPCR_TAKEN:
            raise errors.TooManyParticipantsError(
                f"{segment} has {lib.IPCR_MOST_SUBSCRIBERS} subscribers that are alive; that is the most.  "
                "observe=True takes no place"
            )
        check(status, label)
        options = ffi.new("struct ipcr_multicast_options *")
        lib.ipcr_segment_multicast_options(segment.pointer, options)
        evicted = options.on_laggard == lib.IPCR_EVICT_LAGGARDS
        self = cls.__new__(cls)
        self._accept = accept
        self._copies = wanted.observe or options.policy == lib.IPCR_LOSSY or evicted
        self._scratch = None
        # native code refers to the topics' names for as long as there is a subscriber
        self._begin(segment, ffi.gc(out[0], _freeing(names)), label)
        self._inbox = None
        self._return(self._new_inbox())
        if accept & 1:
            lends = not self._copies and bool(accept >> encodings.ARRAY & 1)
            self._go_fast(pickles=bool(accept >> encodings.PICKLE & 1), lends=lends)
        return self

    def _new_inbox(self) -> Inbox:
        inbox = ffi.new("struct ipcr_subscriber_inbox *")
        inbox.subscriber = self._handle
        return inbox, ffi.buffer(inbox.bytes), self._handle

    def _borrow(self) -> Inbox:
        """An inbox.  While one is borrowed another call gets one of its own."""
        inbox, self._inbox = self._inbox, None
        if self._closed_because:
            self._raise(lib.IPCR_CLOSED)
        return self._new_inbox() if inbox is None else inbox

    def _return(self, inbox: Inbox) -> None:
        """Keep it for the next call.  The fast case begins with it, so there is one only where it may decode bytes."""
        if self._accept & 1 and not self._closed_because:
            self._inbox = inbox

    def _close(self, because: str) -> None:
        super()._close(because)
        self._inbox = None

    @property
    def lost(self) -> int:
        """Messages that were overwritten before this subscriber came to read them, in all; exact.

        Counted when it comes to the gap, of all topics: which one a message had is lost with it.
        """
        return int(lib.ipcr_subscriber_lost(self._handle))

    # --- receiving ----------------------------------------------------------------------------------------------

    def recv(self, timeout: float | None = None) -> _T:
        """The next message, waiting for one.

        Bytes-like objects arrive as bytes; arrays own their memory.

        Args:
          timeout: seconds; None waits without limit, 0 never waits.

        Raises:
          TimeoutError: nothing came within `timeout`.
          EndOfChannel: the publisher closed, and everything was read.  (A later publisher goes on, and so can this.)
          PeerDiedError: the publisher died, and everything it had published was read.  (The same.)
          LaggedOutError: with on_laggard="evict", this subscriber was too far behind; close it, and subscribe again.
          RefusedEncodingError: a message that `accept=` leaves out; the next call goes on behind it.
          BusyError: another thread is using this subscriber, or a view is lent out.
        """
        inbox = self._inbox
        if inbox is not None and timeout is None:
            self._inbox = None
            result = _recv(inbox[0])
            if 0 <= result <= SMALL:
                message = inbox[1][:result]
                self._inbox = None if self._closed_because else inbox
                return message  # type: ignore[no-any-return]
            if result >= 0 and not (result & LENT and self._copies):
                return self._decode(inbox, inbox[0].bytes, result)
            self._return(inbox)
            if result < 0 and result not in {_EMPTY, _AGAIN}:
                self._raise(result)
        return self._receive(arguments.deadline_ns(timeout))

    def try_recv(self, default: _D | None = None) -> _T | _D | None:
        """The next message if there is one now, else `default`.  Raises as `recv`, but never waits."""
        inbox = self._borrow()
        result, memory = self._try(inbox)
        while result == _AGAIN:  # lapped many times; between two calls signals are handled
            result, memory = self._try(inbox)
        if result >= 0:
            return self._decode(inbox, memory, result)
        self._return(inbox)
        if result == _EMPTY:  # a loop over this call must not poll a dead publisher for ever
            result = lib.ipcr_subscriber_look_around(self._handle)
            if result == _OK:
                return default
        self._raise(result)

    def recv_envelope(self, timeout: float | None = None) -> MulticastEnvelope:
        """The next message as `recv` gives it, with its number, how many were lost before it, and its topic."""
        message = self.recv(timeout)
        handle, name = self._handle, ffi.new("char const **")
        length = lib.ipcr_subscriber_last_topic(handle, name)
        return MulticastEnvelope(
            message,
            lib.ipcr_subscriber_last_sequence(handle),
            lib.ipcr_subscriber_last_lost(handle),
            None if length < 0 else ffi.buffer(name[0], length)[:].decode(errors="replace"),
        )

    def recv_many(self, max: int = 1024, timeout: float | None = None) -> list[_T]:
        """What is there, at least one message and at most `max`, waiting only for the first.

        Args:
          max: how many messages at most, 1 or more.
          timeout: seconds to wait for the first; None waits without limit, 0 never waits.

        Raises:
          What `recv` raises, of the first message.  A batch ends before a later one that can't be decoded.
        """
        most = min(arguments.most_messages(max), _BATCH_MESSAGES)
        deadline = arguments.deadline_ns(timeout)
        scratch, self._scratch = self._scratch, None
        if scratch is None:
            scratch = _Scratch(min(self._segment.capacity, _BATCH_BYTES))
        try:
            count = self._waiting(lambda: scratch.fill(self._handle, most), deadline)
            messages = self._unpack(scratch, count)
        finally:
            self._scratch = scratch
        return messages or [self._receive(deadline)]  # longer than a batch

    def _unpack(self, scratch: _Scratch, count: int) -> list[_T]:
        """Decode what was copied; what was not stays."""
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
                taken = 1  # as recv: it is passed over
                raise
        finally:
            if not self._closed_because:
                status = lib.ipcr_subscriber_settle(self._handle, taken, *scratch.behind(taken))
                if status not in {_OK, lib.IPCR_CLOSED}:  # closed by what was unpickled, or by another thread
                    self._raise(status)
        return messages

    def _waiting(self, attempt: Callable[[], int], deadline: int) -> int:
        """A result that is not negative."""
        while True:
            result, start = self._until(attempt, _EMPTY, deadline)
            if result >= 0:
                return result
            if result == _EMPTY:
                raise errors.TimeoutError(f"{self}: no message within {self._waited(deadline, start)}")
            if result != _AGAIN:  # lapped many times; between two tries signals are handled
                self._raise(result)

    def _try(self, inbox: Inbox) -> tuple[int, Any]:
        """A result, and where the message stands: the inbox, memory of its own, or (IPCR_RESULT_LENT) in the ring."""
        result, memory = int(_try_recv(inbox[0])), inbox[0].bytes
        while self._copies and result >= 0 and result & LENT:
            size = result & LENGTH
            memory = _new_memory("char[]", size)  # by the time of the copy another message may be the next
            result = int(lib.ipcr_subscriber_copy(self._handle, memory, size))
        return result, memory

    def _receive(self, deadline: int) -> _T:
        inbox = self._borrow()
        memory: Any = None
        decoding = False

        def attempt() -> int:
            nonlocal memory
            result, memory = self._try(inbox)
            return result

        try:
            result = self._waiting(attempt, deadline)
            decoding = True  # and giving the inbox back
            return self._decode(inbox, memory, result)
        finally:
            if not decoding:
                self._return(inbox)

    def _raise(self, status: int) -> NoReturn:
        if status == lib.IPCR_LAGGED_OUT:
            raise errors.LaggedOutError(
                f"{self} was too far behind, and was evicted so that the publisher could go on; close it and subscribe "
                "again, or make the Multicast with more capacity, or a larger max_lag"
            )
        if status == lib.IPCR_PEER_DIED:
            pid = lib.ipcr_multicast_publisher_pid(self._segment.pointer)
            raise errors.PeerDiedError(f"{self}: the publisher, process {pid}, died without closing")
        super()._raise(status)

    # --- decoding -----------------------------------------------------------------------------------------------

    def _decode(self, inbox: Inbox, memory: Any, result: int) -> _T:
        """A message; gives the inbox back."""
        try:
            if result & LENT:
                return self._decode_in_place()
            return self._decoded(ffi.buffer(memory, result & LENGTH), result)
        finally:
            self._return(inbox)

    def _decode_in_place(self) -> _T:
        """The next message is ours until we release it."""
        result = int(lib.ipcr_subscriber_peek(self._handle))
        if result < 0:
            self._raise(result)
        try:
            memory = lib.ipcr_subscriber_lent(self._handle)
            return self._decoded(ffi.buffer(memory, result & LENGTH), result)
        finally:
            self._release_if_open()

    def _finish(self, data: bytes, result: int) -> _T:
        """What the accelerator has taken, and doesn't decode."""
        return self._decoded(data, result)  # slices of it are bytes, as an array's head must be; a view's are not

    def _release_if_open(self) -> None:
        if not self._closed_because:  # by what was unpickled, or by another thread
            lib.ipcr_subscriber_release(self._handle)

    def _decoded(self, memory: Any, result: int) -> _T:
        size, encoding = result & LENGTH, (result >> ENCODING_SHIFT) & 0xFF
        refusal = refusals.refusal(self, self._accept, encoding, size, "it was passed over")
        if refusal is not None:
            raise refusal
        return encodings.decode(encoding, memory, size, 8 * (result >> SKEW_SHIFT & 7))  # type: ignore[no-any-return]

    # --- iteration and zero copy ----------------------------------------------------------------------------------

    def __iter__(self) -> Iterator[_T]:
        return self

    def __next__(self) -> _T:
        try:
            return self.recv()
        except errors.EndOfChannel:
            raise StopIteration from None

    def view(self, timeout: float | None = None) -> Peek[Any]:
        """Lend the next message, read-only, straight from the ring: `with subscriber.view() as frame: ...`.

        As `Receiver.view`: an array comes as an array, raw bytes as a memoryview, anything else as `recv` would give
        it; the message counts as read at the end of the `with`, and until then the publisher can't overwrite it.

        Raises:
          TypeError: of a lossy multicast, one that evicts laggards, or an observer, whose messages may be overwritten.
          BusyError: at the end of the `with`, something made from the memory is still alive; the message was read.
          Otherwise what `recv` raises.
        """
        if self._copies:
            raise TypeError(
                f"{self} can't lend messages, because they may be overwritten meanwhile; recv() copies them. "
                'view() needs policy="lossless" with on_laggard="wait", and no observe=True'
            )
        return Peek(self, timeout, self._show)

    def _peek(self, timeout: float | None) -> tuple[int, Any, int]:
        deadline = arguments.deadline_ns(timeout)

        def attempt() -> int:
            result = int(lib.ipcr_subscriber_peek(self._handle))
            if result == lib.IPCR_LENT and (self._use is None or self._use() is None):
                lib.ipcr_subscriber_put_back(self._handle)  # whoever had it is gone: it stays the next message
                result = int(lib.ipcr_subscriber_peek(self._handle))
            return result

        result = self._waiting(attempt, deadline)
        return result, lib.ipcr_subscriber_lent(self._handle), result & LENGTH

    def _put_back(self) -> None:
        self._use = None
        if not self._closed_because:
            lib.ipcr_subscriber_put_back(self._handle)

    def _release(self) -> None:
        self._use = None
        status = lib.ipcr_subscriber_release(self._handle)
        if status != _OK:
            self._raise(status)

    def _show(self, loan: Loan, result: int) -> Any:
        size, encoding = result & LENGTH, (result >> ENCODING_SHIFT) & 0xFF
        if self._accept >> encoding & 1:
            if encoding == encodings.BYTES:
                return loan.memory(read_only=True)
            if encoding == encodings.ARRAY:
                exporter = encodings.read_only(loan.exporter)
                return loan.array(encodings.array_at(loan.exporter, size, 8 * (result >> SKEW_SHIFT & 7), exporter))
        return self._decoded(memoryview(loan.exporter), result)


class _Scratch:
    """Room for a batch."""

    __slots__ = ("_lost", "_memory", "_results", "_room", "_sequences")

    def __init__(self, room: int) -> None:
        self._room = room
        self._memory = _new_memory("char[]", room)
        self._results = ffi.new("int64_t[]", _BATCH_MESSAGES)
        self._sequences = ffi.new("uint64_t[]", _BATCH_MESSAGES)
        self._lost = ffi.new("uint64_t[]", _BATCH_MESSAGES)

    def fill(self, handle: Any, most: int) -> int:
        """How many messages are here now; 0 when the first is too long for this; or a status."""
        return int(
            lib.ipcr_subscriber_recv_many(
                handle, self._memory, self._room, self._results, self._sequences, self._lost, most
            )
        )

    def messages(self, count: int) -> Iterator[tuple[Any, int]]:
        """Each message's memory and result."""
        at = 0
        for result in ffi.unpack(self._results, count):
            size = result & LENGTH
            yield ffi.buffer(self._memory + at, size), result
            at += size

    def behind(self, taken: int) -> tuple[int, int]:
        """Which message comes behind the first so many, and how many were lost until then."""
        return (self._sequences[taken - 1] + 1, self._lost[taken - 1]) if taken else (0, 0)


def _freeing(names: list[Any]) -> Callable[[Any], None]:
    def free(handle: Any) -> None:
        lib.ipcr_subscriber_free(handle)
        names.clear()

    return free


accelerate(Subscriber, "recv", "__next__", "view")

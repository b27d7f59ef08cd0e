"""Rings for experts: bytes in, bytes out, between one writer and one reader."""

from __future__ import annotations

import time
import weakref
from array import array
from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, TypeVar, final

from ipc import errors
from ipc._core import arguments, observe, parcels
from ipc._core.encoding import as_bytes
from ipc._core.ends import NOT_READY, Use
from ipc._core.lending import Claim, Loan, Peek
from ipc._core.native import ffi, lib
from ipc._core.segment import Segment
from ipc._core.transfer import LENGTH, LENT, Inbox, ReceivingEnd, SendingEnd

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["ONE_END_OF_A_RING", "Ring", "RingReader", "RingWriter"]

_OK = lib.IPCR_OK
_FULL = lib.IPCR_FULL
_EMPTY = lib.IPCR_EMPTY

_send = lib.ipcr_send
_recv = lib.ipcr_recv_into

_T = TypeVar("_T")

ONE_END_OF_A_RING: Final = "give ipc.spawn one end of a ring, ring.writer() or ring.reader(), not the ring"


@final
class RingWriter(SendingEnd):
    """Writing end of a ring.  One process and one thread at a time; a second caller gets BusyError.

    Every call raises ClosedError once this end was closed or handed over, ForkedHandleError in a child that was forked
    while it was in use, and CorruptSegmentError where shared memory holds garbage.
    """

    __slots__ = ()

    _role = "writer"

    def write(self, data: Any, timeout: float | None = None) -> None:
        """Copy one message into the ring, waiting for room.

        Either the whole message is written or the ring is unchanged.

        Args:
          data: bytes-like; at most the capacity less 16 bytes.
          timeout: seconds; None waits without limit, 0 never waits.

        Raises:
          TimeoutError: no room within `timeout`.
          MessageTooLargeError: it can never fit.
          PeerDiedError, EndOfChannel: no reader is there to make room.
        """
        data = as_bytes(data)
        if timeout is not None:
            arguments.deadline_ns(timeout)  # a wrong one is said before anything is sent
        status = _send(self._handle, data, len(data), 0)
        if status != _OK:
            self._put(data, len(data), 0, timeout, status)

    def try_write(self, data: Any) -> bool:
        """Write one message, bytes-like, if there is room now; whether it was written.  Raises as `write` does."""
        data = as_bytes(data)
        return self._try_put(data, len(data), 0)

    def write_many(self, messages: Iterable[Any], timeout: float | None = None) -> int:
        """Write messages in one native call per ring-full, waking the reader once for each; returns how many.

        Args:
          messages: bytes-like, each.
          timeout: seconds for all of them; None waits without limit, 0 never waits.

        Raises:
          What `write` raises; the messages before the one that failed have been written, and the error's `written`
            says how many.
        """
        deadline = arguments.deadline_ns(timeout)
        parts = [data if isinstance(data, bytes) else ffi.buffer(data)[:] for data in map(as_bytes, messages)]
        lengths = array("Q", map(len, parts))
        ones, infos = array("Q", [1]) * len(parts), bytes(8 * len(parts))
        joined = b"".join(parts)
        at_message, at_byte = 0, 0
        start = time.monotonic_ns()
        try:
            while at_message < len(parts):
                done = lib.ipcr_send_many(
                    self._handle,
                    ffi.from_buffer("char[]", joined) + at_byte,
                    ffi.from_buffer("uint64_t[]", lengths) + at_message,
                    ffi.from_buffer("uint64_t[]", ones) + at_message,
                    ffi.from_buffer("uint64_t[]", infos) + at_message,
                    len(parts) - at_message,
                )
                if done > 0:
                    at_byte += sum(lengths[at_message : at_message + done])
                    at_message += done
                    continue
                size = lengths[at_message]
                if done in NOT_READY:
                    self._get_ready(done)
                elif done == _FULL:
                    done = self._wait(lib.ipcr_room_wait, size, deadline)
                    if done == _FULL:
                        self._timed_out(f"no room for {size} bytes", deadline, start)
                    if done != _OK:
                        self._refuse(done, size)
                else:
                    self._refuse(int(done), size)
        except errors.IpcError as error:
            error.written = at_message  # type: ignore[attr-defined]
            raise
        return at_message

    def claim(self, nbytes: int, timeout: float | None = None) -> Claim[memoryview]:
        """Lend `nbytes` of writable memory straight in the ring: `with writer.claim(64) as memory: ...`.

        The message is written at the end of the `with`, without a copy, or not at all if its body raised.  Waits for
        room as `write` does (timeout in seconds), and raises the same, at the beginning of the `with`.
        """
        return Claim(self, arguments.claim_bytes(nbytes), timeout, 0, _writable)


@final
class RingReader(ReceivingEnd):
    """Reading end of a ring.  One process and one thread at a time; a second caller gets BusyError.

    Every call raises ClosedError once this end was closed or handed over, ForkedHandleError in a child that was forked
    while it was in use, and CorruptSegmentError where shared memory holds garbage.
    """

    __slots__ = ()

    _role = "reader"

    def read(self, timeout: float | None = None) -> bytes:
        """Take the next message, waiting for one.

        Args:
          timeout: seconds; None waits without limit, 0 never waits.

        Raises:
          TimeoutError: nothing came within `timeout`.
          EndOfChannel: the writer closed, and everything was read.
          PeerDiedError: the writer died, and everything it had published was read.
        """
        if timeout is not None:
            arguments.deadline_ns(timeout)  # a wrong one is said before anything is taken
        inbox = self._borrow()
        result = _recv(inbox[0]) if timeout is None else -1
        return self._bytes(inbox, self._get(inbox, timeout) if result < 0 else result)

    def try_read(self, default: _T | None = None) -> bytes | _T | None:
        """Take the next message if there is one now, else `default`; EndOfChannel and PeerDiedError as of `read`."""
        inbox = self._borrow()
        try:
            result = self._try(inbox)
            if result == _EMPTY:
                self._peer_must_live()
            elif result < 0:
                self._raise(result)
        except BaseException:
            self._return(inbox)
            raise
        if result == _EMPTY:
            self._return(inbox)
            return default
        return self._bytes(inbox, result)

    def _bytes(self, inbox: Inbox, result: int) -> bytes:
        size = result & LENGTH
        if result & LENT:
            use = Use(by_caller=False)
            self._use = weakref.ref(use)
            try:
                message: bytes = ffi.buffer(lib.ipcr_lent(self._handle), size)[:]
            finally:
                self._release()
        else:
            message = inbox[1][:size]
        self._return(inbox)
        return message

    def read_many(self, max: int = 1024, timeout: float | None = None) -> list[bytes]:
        """Take what is there, at most `max` messages, in one native call; waits only for the first.

        Raises as `read` does.
        """
        most = arguments.most_messages(max)
        deadline = arguments.deadline_ns(timeout)
        start = time.monotonic_ns()
        room = min(self._attached().capacity, 2**20)
        out = ffi.new("char[]", room)
        most = min(most, room // lib.IPCR_RECORD_HEADER)
        lengths = ffi.new("int64_t[]", most)  # of raw bytes, a result is the length
        where = ffi.new("uint64_t *")
        while True:
            count = lib.ipcr_recv_many(self._handle, out, room, lengths, most, True, where)
            if count > 0:
                return _split(ffi.buffer(out), ffi.unpack(lengths, count))
            if count == 0:  # the first is longer than `room`
                return [self.read(timeout)]
            if count in NOT_READY:
                self._get_ready(count)
                continue
            if count == _EMPTY:
                count = self._wait(lib.ipcr_data_wait, deadline)
                if count == _EMPTY:
                    self._timed_out("no message", deadline, start)
            if count < 0:
                self._raise(int(count))

    def __iter__(self) -> Iterator[bytes]:
        """Messages until the writer has closed."""
        while True:
            try:
                yield self.read()
            except errors.EndOfChannel:
                return

    def peek(self, timeout: float | None = None) -> Peek[memoryview]:
        """Lend the next message, read-only, straight from the ring: `with reader.peek() as memory: ...`.

        The message is taken, and its space given back, at the end of the `with`.  Waits as `read` does (timeout in
        seconds), and raises the same, at the beginning of the `with`.
        """
        return Peek(self, timeout, _read_only)


def _writable(loan: Loan, handle: Any) -> tuple[memoryview, int]:
    return loan.memory(read_only=False), len(loan.exporter)


def _read_only(loan: Loan, result: int) -> memoryview:
    return loan.memory(read_only=True)


def _split(joined: Any, lengths: list[int]) -> list[bytes]:
    """Messages that stand end to end."""
    messages, at = [], 0
    for length in lengths:
        messages.append(joined[at : at + length])
        at += length
    return messages


@final
class Ring:
    """A ring of bytes messages: one writer, one reader, each in the process that first uses it.

    Goes to child processes as a `Process` argument.  While the handle is open, the other side awaits this process.
    Each end has one thread at a time; the ring itself may be used, and closed, by any.
    """

    __slots__ = ("__weakref__", "_reader", "_segment", "_spin", "_writer")

    _segment: Segment | None
    _spin: int
    _writer: RingWriter
    _reader: RingReader

    def __init__(self) -> None:
        raise TypeError("Ring is not made directly; use Ring.create() or Ring.attach()")

    @classmethod
    def _around(cls, segment: Segment, spin_ns: int, writer: RingWriter | None, reader: RingReader | None) -> Self:
        self = cls.__new__(cls)
        self._segment = segment
        self._spin = spin_ns
        self._writer = writer if writer is not None else RingWriter._open(segment, spin_ns)
        self._reader = reader if reader is not None else RingReader._open(segment, spin_ns)
        return self

    @classmethod
    def create(
        cls,
        name: str | None = None,
        *,
        capacity: int | str = arguments.DEFAULT_CAPACITY,
        spin: arguments.Spin = "auto",
    ) -> Self:
        """Make a ring.

        Args:
          name: a file name in IPC_DIR, so that unrelated processes can attach; None for one that only children get.
          capacity: bytes, or text such as "4MiB"; rounded up to a power of two, at least a page.
          spin: "auto", or seconds to spin before sleeping, of which at most 0.05 count; 0 sleeps at once.

        Raises:
          SegmentExistsError: somebody is attached under that name.  (An orphan is replaced.)
          OutOfSharedMemoryError: there is no room for it.
        """
        spin_ns = arguments.spin_ns(spin)
        size = arguments.capacity_bytes(capacity)
        segment = Segment.create("ring", size, None if name is None else arguments.segment_name(name))
        return cls._around(segment, spin_ns, None, None)

    @classmethod
    def attach(cls, name: str, *, spin: arguments.Spin = "auto") -> Self:
        """Attach the ring called `name`; messages that nobody read are still there.

        Args:
          spin: as for `create`.

        Raises:
          SegmentNotFoundError, UntrustedSegmentError, IncompatibleFormatError, CorruptSegmentError.
        """
        spin_ns = arguments.spin_ns(spin)
        return cls._around(Segment.attach("ring", arguments.segment_name(name)), spin_ns, None, None)

    def writer(self) -> RingWriter:
        """The writing end; taken by the process that first writes."""
        return self._writer

    def reader(self) -> RingReader:
        """The reading end; taken by the process that first reads."""
        return self._reader

    @property
    def capacity(self) -> int:
        """Bytes of the ring; a message takes 16 more than its length, rounded up to 8."""
        return self._attached().capacity

    @property
    def name(self) -> str | None:
        """The name, if it has one."""
        return self._attached().name

    def _attached(self) -> Segment:
        if self._segment is None:
            raise errors.ClosedError("ring is closed: it was closed here")
        return self._segment

    def stats(self) -> observe.Stats:
        """Counters of both ends, as they are now; see `ipc.stats`."""
        return observe.stats_of(self._attached())

    def unlink(self) -> None:
        """Remove the ring's name at once; those attached go on."""
        self._attached().unlink()

    def close(self) -> None:
        """Close both ends of this process, and leave the segment.

        Raises:
          BusyError: a claim or a peek is still lent out.
        """
        self._writer.close()
        self._reader.close()
        self._segment = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        else:  # as the ends do: BusyError would hide the error on its way
            self._writer.__exit__(kind, error, trace)
            self._reader.__exit__(kind, error, trace)
            self._segment = None

    def __repr__(self) -> str:
        return "<ring, closed>" if self._segment is None else f"<{self._segment}, capacity {self.capacity}>"

    def __reduce__(self) -> tuple[Any, ...]:
        self._attached()
        parcels.starting_process("a ring")
        bag = parcels.roles_go_along()
        if bag is not None:
            raise errors.HandOverError(ONE_END_OF_A_RING)
        ends = [None if lib.ipcr_end_in_use(end._handle) else end for end in (self._writer, self._reader)]
        if ends == [None, None]:
            raise errors.HandOverError("both ends of this ring are in use by this process; a child could use neither")
        return _adopt_ring, (self._spin, *ends)


def _adopt_ring(spin_ns: int, writer: RingWriter | None, reader: RingReader | None) -> Ring:
    """Unpickle a ring in the child that it was sent to; an end that the parent uses is only claimed."""
    end = writer or reader
    assert end is not None
    return Ring._around(end._attached(), spin_ns, writer, reader)

"""What a reliable queue hands out: receipts to those who put, deliveries to those who get, letters of the given up."""

from __future__ import annotations

import functools
import threading
import time
from collections import OrderedDict
from collections.abc import Hashable, Iterator
from contextlib import contextmanager, suppress
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Generic, NamedTuple, TypeVar, final

from ipc import errors
from ipc._core import arguments
from ipc._core import encoding as encodings
from ipc._core.native import accelerate, fast, ffi, lib
from ipc._core.segment import Segment
from ipc._core.transfer import ENCODING_SHIFT, LENGTH, SKEW_SHIFT

if TYPE_CHECKING:
    from typing_extensions import Self

    from ipc._core.reliable_queue import ReliableQueue

__all__ = ["LEASE", "UNREAD", "VIEWABLE", "DeadLetter", "Deduplicator", "Delivery", "Receipt"]

_T = TypeVar("_T")

_HELD, _VIEWED, _ENDED = range(3)  # as in native/fast/deliveries.c
UNREAD: Final = object()  # a message that is decoded where it lies, when somebody asks for it
LEASE: Final = ffi.typeof("struct ipcr_lease *")
VIEWABLE: Final = frozenset((encodings.BYTES, encodings.ARRAY))

_ack = lib.ipcr_lease_ack
_OK = lib.IPCR_OK
_REMEMBERED: Final[int] = lib.IPCR_REMEMBERED_DEAD
_WAITING = frozenset((lib.IPCR_READY, lib.IPCR_LEASED))


class DeadLetter(NamedTuple):
    """A message that was given up, as `dead_letters()` lists it and a dead-letter queue carries it."""

    message: Any
    """What was put; the bytes of its pickle where it can't be decoded."""
    id: int
    """Its id in the queue where it died; two letters of one id are the same message, moved twice."""
    reason: str
    """"delivered too often" or "expired"; and why the message can't be decoded, if it can't."""
    deliveries: int
    """How often it was delivered."""
    queue: str | None
    """Name of the queue where it died."""


@final
class Receipt:
    """What `put` returns: what became of the message.

    For the process that put it, and as long as its handle is open; any of its threads may ask.  Asking costs no system
    call.  What became of a message is known for as long as its space was not used again; of those that were given up
    the last 256 are remembered after that.  About messages that are older than the oldest of these, `wait` raises
    OutcomeUnknownError.
    """

    __slots__ = ("_queue", "id")

    def __init__(self, queue: ReliableQueue[Any], number: int) -> None:
        self._queue = queue
        self.id = number
        """Unique in the life of the queue; the consumer's `Delivery` has the same."""

    def _outcome(self) -> int:
        outcome = int(lib.ipcr_queue_outcome(self._queue._handle, self.id))
        if outcome == lib.IPCR_NOT_FOUND:
            raise errors.ForkedHandleError(f"the receipt of message {self.id} belongs to the process that put it")
        if outcome < 0:
            self._queue._raise(outcome)
        return outcome

    def done(self) -> bool:
        """Whether it is decided: acknowledged, or given up.  (A message that was given up may still be requeued.)

        Raises:
          ClosedError: the queue was closed here.
          ForkedHandleError: another process put the message.
        """
        return self._outcome() not in _WAITING

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until the message was acknowledged; returns True.

        Args:
          timeout: seconds; None waits without limit, 0 never waits.

        Raises:
          TimeoutError: not within `timeout`.
          DeadLetteredError: it was given up: delivered too often, expired, or thrown away.
          OutcomeUnknownError: it is done with, so long ago that nobody knows any more which of the two it was.
          ClosedError: the queue was closed here, perhaps by another thread meanwhile.
          ForkedHandleError: another process put the message.
        """
        deadline = arguments.deadline_ns(timeout)
        queue = self._queue
        while (outcome := self._outcome()) in _WAITING:
            if time.monotonic_ns() >= deadline:
                raise errors.TimeoutError(f"{queue}: message {self.id} was not acknowledged within {timeout} s")
            queue._wait(lib.ipcr_queue_wait_for_outcome(queue._handle, self.id, deadline))
        if outcome == lib.IPCR_ACKED:
            return True
        if outcome == lib.IPCR_FREE:
            raise errors.OutcomeUnknownError(
                f"{queue}: message {self.id} is done with, but whether it was acknowledged or given up can't be told "
                f"any more: {_REMEMBERED} later ones were given up since.  Ask for a receipt's outcome earlier"
            )
        raise errors.DeadLetteredError(
            f"{queue}: message {self.id} was given up: dead_letters() of this queue, or its dead_letter=, may have it"
        )

    def __repr__(self) -> str:
        return f"<Receipt of message {self.id}>"


class _Held:
    """What a delivery knows, where there is no accelerator to know it."""

    __slots__ = ("_handle", "_lease", "_lent", "_message", "_queue", "_result", "_state")

    def _begin(self, queue: Any, lease: Any, result: int, message: Any) -> None:
        self._queue = queue
        self._handle = queue._handle  # so that the message stays mapped
        self._lease = lease
        self._result = result
        self._message = message
        self._state = _HELD
        self._lent = 0  # views


if TYPE_CHECKING:
    from ipc._core._fast import Delivery as _DeliveryRoot
else:
    _DeliveryRoot = _Held if fast is None else fast.Delivery


@final
class Delivery(_DeliveryRoot, Generic[_T]):
    """One message, leased to this process.  As a context manager it acks on success and nacks on an exception.

    Any thread of the process may end it, once.  One that is never ended goes to others at the end of its lease; with
    lease=None when this handle is closed, or the process ends.
    """

    __slots__ = ()

    def __init__(self, queue: ReliableQueue[_T], lease: Any, result: int, message: Any) -> None:
        self._begin(queue, lease if fast is None else int(ffi.cast("uintptr_t", lease)), result, message)

    @property
    def message(self) -> _T:
        """What was put."""
        if self._message is UNREAD:
            self._decode()
        return self._message  # type: ignore[no-any-return]

    @property
    def id(self) -> int:
        """The same for every delivery of this message; no other message of this queue ever has it."""
        return int(self._lease.id)

    @property
    def deliveries(self) -> int:
        """How often it was delivered, with this time."""
        return int(self._lease.deliveries)

    @property
    def source(self) -> int:
        """Process that put it."""
        return int(self._lease.source)

    def _decode(self) -> None:
        """From where it lies: only a lease that can't end by itself leaves it there."""
        if self._state == _ENDED:
            raise errors.LeaseLostError(f"{self._queue}: message {self.id} was viewed only, and is done with")
        size = self._result & LENGTH
        message = self._queue._decode(ffi.buffer(self._lease.payload, size), self._result)
        self._must_be_ours()  # still: nobody has written there meanwhile
        self._message = message

    def _must_be_ours(self) -> None:
        """Closing has given back what the handle held, and a forked child has nothing of its parent's."""
        status = lib.ipcr_lease_extend(self._handle, self._lease, 0)
        if status != _OK:
            self._end(status)

    def _end(self, status: int) -> None:
        if status == lib.IPCR_LEASE_LOST:
            self._queue._hands.empty(self._lease)
            self._state = _ENDED
            raise errors.LeaseLostError(
                f"{self._queue}: the lease on message {self.id} is over, and others may have the message; "
                "a longer lease=, or extend(), keeps it"
            )
        if status != _OK:
            self._queue._raise(status)
        self._queue._hands.empty(self._lease)  # first: whoever is interrupted here can end it once more
        self._state = _ENDED

    def _must_be_held(self) -> None:
        if self._state == _ENDED:
            raise errors.LeaseLostError(f"{self._queue}: message {self.id} was acknowledged or returned already")

    def _must_not_be_lent(self) -> None:
        if self._lent:
            raise errors.BusyError(f"{self._queue}: message {self.id} is looked at; end the `with` of its view() first")

    def ack(self) -> None:
        """Done with it: it is delivered to nobody any more.

        Raises:
          LeaseLostError: the message is another's by now, as the lease was over, or this delivery was ended before;
            nothing has changed.  (A lease that is over, and that nobody has noticed yet, still counts.)
        """
        if self._state != _HELD or self._message is UNREAD:
            self._must_be_held()
            self._must_not_be_lent()
            if self._state != _VIEWED:
                self._decode()  # `message` stays readable
        queue = self._queue
        status = _ack(self._handle, self._lease)
        if status != _OK or queue._prefetch:
            self._end(status)
        else:
            self._state = _ENDED

    def nack(self, delay: float = 0) -> None:
        """Give it back; it is delivered again, before newer ones of its producer, after `delay` seconds (in steps of
        0.1), unless it was delivered as often as max_deliveries allows.

        Raises:
          LeaseLostError: as `ack`.
        """
        self._must_be_held()
        self._must_not_be_lent()
        delay_ns = arguments.delay_ns(delay)
        self._end(lib.ipcr_lease_nack(self._handle, self._lease, delay_ns))

    def extend(self, seconds: float) -> None:
        """Let the lease end `seconds` from now.  With lease=None it has no end, and gets none.

        Raises:
          LeaseLostError: as `ack`.
        """
        self._must_be_held()
        lease_ns = arguments.lease_ns(seconds, "seconds") if self._queue._lease_ns else 0
        status = lib.ipcr_lease_extend(self._handle, self._lease, lease_ns)
        if status != _OK:
            self._end(status)
        if self._queue._prefetch:  # where it had run out
            self._queue._hands.fill(self._lease)

    @contextmanager
    def view(self) -> Iterator[Any]:
        """Lend the message where it lies, without a copy: an array or a memoryview, read-only, until the `with` ends.

        Raises:
          TypeError: the lease can end by itself (only lease=None may be viewed), or the message is a pickle.
          BusyError: at the end, something made from the memory is still alive.
        """
        if self._queue._lease_ns:
            raise TypeError(
                f"{self._queue} has lease={self._queue._lease_ns / 1e9:g}: only with lease=None can it view"
            )
        self._must_be_held()
        encoding = (self._result >> ENCODING_SHIFT) & 0xFF
        if encoding not in VIEWABLE:
            raise TypeError(f"{self._queue}: message {self.id} is a pickle; only bytes and arrays can be viewed")
        self._must_be_ours()
        self._state = _VIEWED
        self._lent += 1
        self._queue._lent += 1
        try:
            yield from self._lend(encoding)
        finally:
            self._lent -= 1
            self._queue._lent -= 1

    def _lend(self, encoding: int) -> Iterator[Any]:
        from ipc._core.lending import Loan

        size = self._result & LENGTH
        loan = Loan(_Lender(self._queue._segment), ffi.cast("char *", self._lease.payload), size)  # type: ignore[arg-type]
        if encoding == encodings.BYTES:
            lent: Any = loan.memory(read_only=True)
        else:
            read_only = encodings.read_only(loan.exporter)
            skew = 8 * (self._result >> SKEW_SHIFT & 7)
            lent = loan.array(encodings.array_at(ffi.buffer(self._lease.payload, size), size, skew, read_only))
            del read_only
        try:
            yield lent
        finally:
            del lent
            loan.end()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._state == _ENDED:  # ended within the block
            return
        try:
            if kind is None:
                self.ack()
            else:
                self._give_back()
        except errors.IpcError:
            raise
        except BaseException:  # a signal's handler: nobody else would end it
            self._give_back()
            raise

    def _give_back(self) -> None:
        with suppress(errors.IpcError):  # the error on its way says more
            self.nack()

    def __repr__(self) -> str:
        return f"<Delivery {self.deliveries} of message {self.id}, {'ended' if self._state == _ENDED else 'held'}>"


class _Lender:
    """What a loan wants of its end."""

    __slots__ = ("_segment", "_use")

    def __init__(self, segment: Segment) -> None:
        self._segment = segment
        self._use: Any = None

    def _attached(self) -> Segment:
        return self._segment


class Deduplicator:
    """Remembers the last `size` ids: what was delivered again is told from what is new.  For threads as well.

    if not seen(delivery.id): work(delivery.message)
    """

    __slots__ = ("_ids", "_lock", "_size")

    def __init__(self, size: int = 65536) -> None:
        """Keep the last `size` ids."""
        self._size = arguments.positive(size, "size")
        self._ids: OrderedDict[Hashable, None] = OrderedDict()
        self._lock = threading.RLock()  # a signal's handler may come in between

    def __call__(self, id: Hashable) -> bool:
        """`seen(id)`."""
        return self.seen(id)

    def seen(self, id: Hashable) -> bool:
        """Whether this id came before; from now on it has."""
        with self._lock:
            if id in self._ids:
                self._ids.move_to_end(id)
                return True
            self._ids[id] = None
            if len(self._ids) > self._size:
                self._ids.popitem(last=False)
            return False

    def forget(self, id: Hashable) -> None:
        """As if it had not come: for work that failed."""
        with self._lock:
            self._ids.pop(id, None)

    def __contains__(self, id: Hashable) -> bool:
        return id in self._ids

    def __len__(self) -> int:
        return len(self._ids)


accelerate(Delivery, "ack")
if fast is not None:
    fast.classes(Delivery, Receipt, UNREAD, functools.partial(ffi.cast, LEASE))

"""A queue that loses nothing: acknowledgements, leases, redelivery, dead letters, and receipts for those who put.

    put  ->  READY  --get-->  LEASED  --ack-->  done             Receipt.wait() returns
               ^                 |
               +--- nack, death, end of the lease ---+--> too often: kept, or moved to the dead-letter queue

At least once: a message is delivered again when its holder died, gave it back, or let its lease run out; `deliveries`
says how often it was.  The algorithm stands in native/leases.h.
"""

from __future__ import annotations

import pickle
import time
from collections.abc import Iterable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar, final

from ipc import errors
from ipc._core import arguments, queue_stats
from ipc._core import encoding as encodings
from ipc._core.dead_letters import DeadLetters
from ipc._core.delivery import LEASE, UNREAD, VIEWABLE, Delivery, Receipt
from ipc._core.encoding import encode
from ipc._core.handlers import interrupts
from ipc._core.hands import Hands
from ipc._core.native import accelerate, check, ffi, lib
from ipc._core.queues import DEFAULT_LANE, PICKLED, Empty, Full, batches, options, size_of
from ipc._core.segment import Segment
from ipc._core.transfer import ENCODING_SHIFT, LENGTH, LENT, SMALL

if TYPE_CHECKING:
    from ipc._core.queue_stats import QueueStats

__all__ = ["ReliableQueue"]

_T = TypeVar("_T")

_LOST: Final = object()  # instead of a message: we were stopped for longer than its lease, while it was copied

_PICKLED_RESULT: Final[int] = lib.IPCR_PICKLE  # what stands above the length of a plain pickle
_PICKLE: Final[int] = lib.IPCR_PICKLE << 32

_dumps, _loads = pickle.dumps, pickle.loads
_put = lib.ipcr_queue_put_one
_lease_into = lib.ipcr_queue_lease_into
_new_lease = ffi.new_allocator()  # cleared: `held` says whether something is leased

_OK = lib.IPCR_OK


@final
class ReliableQueue(DeadLetters, Generic[_T]):
    """Many producers, many consumers; each message is delivered until somebody acknowledges it.

    Shared by processes and threads alike; goes to children as a `Process` argument, or by fork.  A process takes part
    by what it does: its first put takes one of `lanes` (up to four with ordered=False), its first get a consumer's
    number (1,023 at a time).  A forked child takes its own, and holds nothing of what its parent holds.

    A signal's handler may raise in any call: a put has put or not; what a get had leased goes back, and this delivery
    counts.

    Every call raises ClosedError once this handle was closed, CorruptSegmentError where shared memory holds garbage.
    """

    __slots__ = ("_hands", "_lease_ns", "_lent", "_prefetch")

    _kind = "reliable queue"
    _what_became = "it was given back"
    _dead_letter: ReliableQueue[Any] | None
    _lease_ns: int

    def __init__(
        self,
        name: str | None = None,
        *,
        lease: float | None = 30.0,
        max_deliveries: int = 5,
        dead_letter: ReliableQueue[Any] | None = None,
        prefetch: int | None = None,
        lanes: int = 64,
        ordered: bool = True,
        capacity: int | str = DEFAULT_LANE,
        spin: arguments.Spin = "auto",
        accept: arguments.Accept = None,
    ) -> None:
        """Make a queue.

        Args:
          name: a file name in IPC_DIR, so that unrelated processes can attach; None for one that only children get.
          lease: seconds after which a message that was not acknowledged is delivered to somebody else; None: only when
            its holder dies or gives it back, which is what a pool of workers wants.
          max_deliveries: a message that was delivered so often without an ack is given up.
          dead_letter: where those go, as `DeadLetter`s, moved by consumers and producers that have this handle; None:
            they are kept here, in the way of newer ones of their lane, until they are requeued or purged.
          prefetch: most messages that this handle holds at a time; get() waits beyond it.  None: any number.
          lanes: processes that may put at the same time.  A lane takes memory when it is first used.
          ordered: a producer's messages are delivered in order.  False: it uses up to four lanes in turn, so that one
            message that is held for long doesn't block the space behind it.
          capacity: bytes of messages in a lane, or text such as "4MiB"; also the longest message.
          spin: "auto", or seconds to spin before sleeping, of which at most 0.05 count; 0 sleeps at once.
          accept: which kinds of message `get` decodes: any of "bytes", "array", "pickle"; None for all.

        Raises:
          SegmentExistsError: somebody is attached under that name.  (An orphan is replaced.)
          OutOfSharedMemoryError: there is no room for it; nothing was made.
        """
        spin_ns, mask = arguments.spin_ns(spin), arguments.accept_mask(accept)
        size, count = arguments.capacity_bytes(capacity), arguments.lane_count(lanes)
        made = options(
            size,
            lease_ns=arguments.lease_ns(lease),
            max_deliveries=arguments.deliveries(max_deliveries),
            lanes_each=1 if ordered else min(4, count),
        )
        state = _checked(dead_letter, prefetch)
        label = None if name is None else arguments.segment_name(name)
        self._open(Segment.create_queue(self._kind, size, label, count, made), spin_ns, mask)
        self._set_state(state)

    @classmethod
    def attach(
        cls,
        name: str,
        *,
        dead_letter: ReliableQueue[Any] | None = None,
        prefetch: int | None = None,
        spin: arguments.Spin = "auto",
        accept: arguments.Accept = None,
    ) -> ReliableQueue[Any]:
        """The queue called `name`, from a process that has nothing to do with its creator.

        lease, max_deliveries and ordered are those of its creator; dead_letter, prefetch, spin and accept are this
        handle's.

        Raises:
          SegmentNotFoundError, UntrustedSegmentError, IncompatibleFormatError, CorruptSegmentError.
        """
        self = cls.__new__(cls)
        spin_ns, mask, state = arguments.spin_ns(spin), arguments.accept_mask(accept), _checked(dead_letter, prefetch)
        self._open(Segment.attach(cls._kind, arguments.segment_name(name)), spin_ns, mask)
        self._set_state(state)
        return self

    @classmethod
    def open(cls, name: str, **made: Any) -> ReliableQueue[Any]:
        """Attach to the queue called `name`, or make it if nobody has.

        Options are those of `ReliableQueue`; dead_letter, prefetch, spin and accept are this handle's, the others count
        only when it is made.  Raises what `attach` and `ReliableQueue` raise, but for SegmentNotFoundError and
        SegmentExistsError.
        """
        own = {key: made[key] for key in ("dead_letter", "prefetch", "spin", "accept") if key in made}
        while True:
            try:
                return cls.attach(name, **own)
            except errors.SegmentNotFoundError:
                try:
                    return cls(name, **made)
                except errors.SegmentExistsError:
                    continue

    def _set_state(self, state: tuple[ReliableQueue[Any] | None, int]) -> None:
        self._dead_letter, self._prefetch = state
        self._lease_ns = int(self._options().lease_ns)
        self._hands = Hands(self._prefetch)
        self._lent = 0  # views
        self._seen_returns = self._next_look = 0
        plain = self._accept == arguments.ALL_ENCODINGS and not self._prefetch and self._dead_letter is None
        self._go_fast(puts=True, gets=plain, lease_ns=self._lease_ns, acks=not self._prefetch)

    def _after_fork(self) -> None:
        """A child holds none of what its parent holds."""
        super()._after_fork()
        self._hands, self._lent = Hands(self._prefetch), 0

    def _state(self) -> tuple[ReliableQueue[Any] | None, int]:
        return self._dead_letter, self._prefetch

    # --- putting ------------------------------------------------------------------------------------------------

    def put(self, obj: _T, timeout: float | None = None, ttl: float | None = None) -> Receipt:
        """Put one message, waiting for room; what becomes of it is told by the receipt.

        Args:
          obj: what `ipc.Sender.send` takes.
          timeout: seconds; None waits without limit, 0 never waits.
          ttl: seconds after which the message is given up if nobody has taken it; None for ever.

        Raises:
          TimeoutError (which is queue.Full as well): no room within `timeout`.
          TooManyParticipantsError: as many processes as there are lanes have put already, and are alive.
          MessageTooLargeError: longer than a lane's capacity; says which capacity= it takes.
          OutOfSharedMemoryError: no room for this process's lane, at its first put.
          Whatever pickling the object raises; nothing was put then.
        """
        ttl_ns = 0 if ttl is None else _ttl_ns(ttl)
        kind = obj.__class__
        if kind is bytes:
            number = _put(self._handle, obj, len(obj), 0, ttl_ns)  # type: ignore[arg-type]
            if number >= 0:
                return Receipt(self, number)
        elif kind in PICKLED:
            buffers: list[Any] = []
            data = _dumps(obj, 5, buffer_callback=buffers.append)
            if not buffers:
                number = _put(self._handle, data, len(data), _PICKLE, ttl_ns)
                if number >= 0:
                    return Receipt(self, number)
                return self._put_encoded((encodings.PICKLE, data, ()), timeout, ttl_ns)
        return self._put_encoded(encode(obj), timeout, ttl_ns)

    def _put_ready(self, encoding: int, data: bytes, timeout: float | None = None) -> Receipt:
        """What the accelerator has encoded, and found no room for."""
        return self._put_encoded((encoding, data, ()), timeout, 0)

    def _put_encoded(self, message: encodings.Encoded, timeout: float | None, ttl_ns: int) -> Receipt:
        put = ffi.new("struct ipcr_put *")
        put.ttl_ns = ttl_ns
        status = self._try_put(message, put)
        if status != _OK:
            self._put_slowly(message, put, timeout, status)
        return Receipt(self, put.id)

    def _put_slowly(self, message: encodings.Encoded, put: Any, timeout: float | None, status: int) -> None:
        if status != lib.IPCR_FULL:
            self._refuse(status, size_of(message))
        deadline = arguments.deadline_ns(timeout)
        while True:
            self._move_dead_letters()
            until = min(deadline, time.monotonic_ns() + 100_000_000)
            if self._put_waiting(message, put, until):
                return
            if time.monotonic_ns() >= deadline:
                raise Full(f"{self}: no room for {size_of(message)} bytes within {timeout} s{self._what_blocks()}")

    def _what_blocks(self) -> str:
        """The message at the head of a lane that is held, which keeps the space behind it from being freed."""
        for lane in self.stats().lanes:
            if lane.blocking_id and lane.blocking_pid:
                return (
                    f"; message {lane.blocking_id}, put {lane.blocking_seconds:.1f} s ago, is held by process "
                    f"{lane.blocking_pid}"
                )
            if lane.blocking_id:
                return f"; message {lane.blocking_id} was given up, and waits to be requeued or purged"
        return "; consumers don't keep up"

    def put_many(self, objs: Iterable[_T], timeout: float | None = None, ttl: float | None = None) -> list[Receipt]:
        """Put messages, waiting for room; returns their receipts.

        Args:
          timeout: seconds for all of them; None waits without limit, 0 never waits.
          ttl: seconds after which each expires; None: never.

        Raises:
          What `put` raises; the error's `receipts` are those of the messages before the one that failed.
        """
        deadline = arguments.deadline_ns(timeout)
        put = ffi.new("struct ipcr_put *")
        put.ttl_ns = _ttl_ns(ttl)
        receipts: list[Receipt] = []
        try:
            for batch in batches(objs):
                for message in batch:
                    status = self._try_put(message, put)
                    if status != _OK:
                        left = None if timeout is None else max(0, deadline - time.monotonic_ns()) / 1e9
                        self._put_slowly(message, put, left, status)
                    receipts.append(Receipt(self, put.id))
        except BaseException as error:
            error.receipts = receipts  # type: ignore[attr-defined]
            raise
        return receipts

    # --- getting ------------------------------------------------------------------------------------------------

    def get(self, timeout: float | None = None) -> Delivery[_T]:
        """Lease the oldest message, waiting for one.

        Args:
          timeout: seconds; None waits without limit, 0 never waits.

        Raises:
          TimeoutError (which is queue.Empty as well): none within `timeout`, or this handle holds `prefetch` of them.
          RefusedEncodingError: a message that `accept=` leaves out; it was given back.
          TooManyParticipantsError: 1,023 processes that take messages are alive.
        """
        deadline = arguments.FOREVER_NS if timeout is None else arguments.deadline_ns(timeout)
        if self._dead_letter is not None:
            self._move_dead_letters()
        lease = _new_lease(LEASE)
        inbox = None
        try:
            if self._prefetch:
                self._hands.wait_for(lease, self, deadline, timeout)
            inbox = self._borrow()
            message = _LOST
            while message is _LOST:  # the next one, as native code does with what it copies itself
                result = _lease_into(inbox[0], lease, self._lease_ns)
                if result < 0:
                    result = self._get_slowly(inbox, lease, deadline, timeout)
                message = self._message(inbox, lease, result)
            self._return(inbox)
            inbox = None
            if self._prefetch:
                self._hands.fill(lease)
            return Delivery(self, lease, result, message)
        except BaseException:
            self._give_back(lease)
            raise
        finally:
            if inbox is not None:
                self._return(inbox)

    _get = get  # no signal's handler runs between the end of a Python function and what is done with its result

    def _deliver_at(self, inbox: int, lease: int, result: int) -> Delivery[_T]:
        """The accelerator has leased something that it doesn't decode; the two are addresses of what it has."""
        there, held = ffi.cast("struct ipcr_queue_inbox *", inbox), ffi.cast(LEASE, lease)
        try:
            message = self._message((there, ffi.buffer(there.bytes), self._handle), held, result)
            if message is _LOST:
                return self._next_one(held)
            return Delivery(self, held, result, message)
        except BaseException:
            self._give_back(held)
            raise

    def _next_one(self, lost: Any) -> Delivery[_T]:
        """How long the accelerator's get() may wait is not known here: the next one, if there is one now."""
        try:
            return self._get(0)
        except Empty:
            raise errors.LeaseLostError(
                f"{self}: the lease on message {lost.id} was over before it was copied, and others may have it; "
                "a longer lease= keeps it"
            ) from None

    def _message(self, inbox: Any, lease: Any, result: int) -> Any:
        if 0 <= result <= SMALL and self._accept & 1:
            return inbox[1][:result]
        return self._read(inbox, lease, result)

    def _read(self, inbox: Any, lease: Any, result: int) -> Any:
        """The message, if it must be decoded now."""
        if result >> ENCODING_SHIFT == _PICKLED_RESULT and self._accept == arguments.ALL_ENCODINGS:
            return _loads(inbox[1][: result & LENGTH])
        if not result & LENT:
            return self._decode(ffi.buffer(inbox[0].bytes, result & LENGTH), result)
        if self._lease_ns == 0:
            encoding = (result >> ENCODING_SHIFT) & 0xFF
            if encoding in VIEWABLE and self._accept >> encoding & 1:
                return UNREAD
            return self._decode(ffi.buffer(lease.payload, result & LENGTH), result)
        memory = ffi.new("char[]", result & LENGTH)  # copied, looked at once more, and only then decoded
        status = lib.ipcr_lease_copy(self._handle, lease, memory)
        if status == lib.IPCR_LEASE_LOST:
            lease.held = 0
            return _LOST
        check(status, str(self))
        return self._decode(ffi.buffer(memory, result & LENGTH), result)

    def _give_back(self, lease: Any) -> None:
        """What was leased when something went wrong, a signal's handler perhaps: nobody else knows of it."""
        if lease.held:
            with suppress(errors.ClosedError):  # which gives back everything
                lib.ipcr_lease_nack(self._handle, lease, 0)
        self._hands.empty(lease)

    def _get_slowly(self, inbox: Any, lease: Any, deadline: int, timeout: float | None) -> int:
        def attempt() -> int:
            self._move_dead_letters()
            return int(_lease_into(inbox[0], lease, self._lease_ns))

        result = self._take(attempt, deadline)
        if result < 0:
            raise Empty(f"{self}: no message within {timeout} s")
        return result

    def get_many(self, max: int = 1024, timeout: float | None = None) -> list[Delivery[_T]]:
        """Lease what is there now, at most `max` messages, waiting for the first.  Raises as `get`."""
        most = arguments.most_messages(max)
        deliveries: list[Delivery[_T]] = []
        try:
            deliveries.append(self._get(timeout))
            while len(deliveries) < most:
                try:
                    deliveries.append(self._get(0))
                except Empty:
                    break
                except Exception as error:  # one that can't be decoded, which was given back: the next call says why
                    if interrupts(error):
                        raise
                    break
        except BaseException:  # of the first, or of a signal's handler: nobody would know of them
            for delivery in deliveries:
                delivery._give_back()
            raise
        return deliveries

    def ack_many(self, deliveries: Iterable[Delivery[_T]]) -> None:
        """Acknowledge all of them.

        Raises:
          LeaseLostError: some were lost; the others are acknowledged.
        """
        lost: list[int] = []
        for delivery in deliveries:
            try:
                delivery.ack()
            except errors.LeaseLostError:
                lost.append(delivery.id)
        if lost:
            raise errors.LeaseLostError(f"{self}: the leases on messages {lost} were over; all others are acknowledged")

    def close(self) -> None:
        """Give up this handle: what it holds goes back to the queue, for others.  Closing twice is fine.

        May come from any thread: a call that is blocked in another one ends with ClosedError.

        Raises:
          BusyError: a message is being looked at.
        """
        if self._lent:
            raise errors.BusyError(f"{self} has a message that is looked at; end the `with` of its view() first")
        super().close()

    def purge(self, *, dead_letters: bool = True) -> int:
        """Throw away all messages that wait, and those that were given up; returns how many."""
        thrown_away = int(lib.ipcr_queue_purge(self._handle, dead_letters))
        if thrown_away < 0:
            self._raise(thrown_away)
        return thrown_away

    def stats(self) -> QueueStats:
        """Counters of this queue, per lane and in all."""
        return queue_stats.stats_of(self._segment)


def _checked(dead_letter: object, prefetch: object) -> tuple[ReliableQueue[Any] | None, int]:
    if dead_letter is not None and not isinstance(dead_letter, ReliableQueue):
        raise TypeError(f"dead_letter must be an ipc.ReliableQueue, not {type(dead_letter).__name__}")
    return dead_letter, 0 if prefetch is None else arguments.positive(prefetch, "prefetch")


def _ttl_ns(ttl: float | None) -> int:
    if ttl is None:
        return 0
    return max(arguments.duration_ns(ttl, "ttl"), 1)


accelerate(ReliableQueue, "put", "get")

"""A queue between processes: a drop-in for those of multiprocessing, over one ring per producer.

    parent and children          ipc.Queue                         any of them
    put(obj)  -- lane of this process: visible when put returns -->  get(): the oldest of all lanes

A bounded queue (maxsize > 0) has no thread: put waits.  With maxsize=0, put never blocks: when the lane of this process
is full, and only then, what doesn't fit goes in order through a feeder thread, as it always does in multiprocessing.
"""

from __future__ import annotations

import pickle
import threading
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final, TypeVar, final

from ipc import errors
from ipc._core import arguments, queue_stats
from ipc._core.encoding import PICKLE, Encoded, encode
from ipc._core.feeder import Feeder
from ipc._core.native import accelerate, ffi, lib
from ipc._core.plain_batches import Plain, put_plain
from ipc._core.plain_taking import PlainTaking, deadline_of
from ipc._core.queues import (
    BATCH_MESSAGES,
    DEFAULT_LANE,
    PICKLED,
    Full,
    batches,
    bytes_of,
    longest,
    options,
    size_of,
)
from ipc._core.segment import Segment

if TYPE_CHECKING:
    from ipc._core.queue_stats import QueueStats

__all__ = ["Queue"]

_T = TypeVar("_T")

_OK = lib.IPCR_OK
_FULL = lib.IPCR_FULL
_PATIENCE_NS = 1_000_000  # how long a put may look for room before a thread takes over

_PICKLED_RESULT: Final[int] = lib.IPCR_PICKLE  # what stands above the length of a plain pickle
_PICKLE: Final[int] = lib.IPCR_PICKLE << 32

_dumps, _loads = pickle.dumps, pickle.loads
_put = lib.ipcr_queue_put_one
_get = lib.ipcr_queue_get_into


@final
class Queue(PlainTaking[_T]):
    """Many producers, many consumers, each message to one of them, at most once.

    Shared by processes and threads alike; goes to children as a `Process` argument, or by fork.  What `put` returned
    from is visible to every consumer (beyond the capacity of an unbounded queue: once its feeder has found room).
    Messages of one process arrive in order; between processes, what was put before is taken before.  A consumer that
    dies with a message that `get` had not returned yet leaves it to the others.

    A process takes part by what it does: its first put takes one of `lanes`, its first get a consumer's number (1,023
    at a time).  Both are given back by close() and at its end, also by SIGKILL.  A forked child takes its own.

    A signal's handler may raise in any call: a put has put or not, a get loses one message at most, while it returns.
    It may use the queue as well: what would wait for the call that it has come into raises BusyError instead.

    Every call raises ClosedError once this handle was closed, CorruptSegmentError where shared memory holds garbage.
    """

    __slots__ = ("_feeder", "_feeding", "_joins_at_exit", "_maxsize")

    _kind = "queue"
    _feeder: Feeder | None
    _feeding: threading.RLock
    _maxsize: int
    _joins_at_exit: bool

    def __init__(
        self,
        maxsize: int = 0,
        *,
        name: str | None = None,
        lanes: int = 64,
        capacity: int | str = DEFAULT_LANE,
        spin: arguments.Spin = "auto",
        accept: arguments.Accept = None,
    ) -> None:
        """Make a queue.

        Args:
          maxsize: most messages in the queue; 0 or less: any number.  Exact with one producer; n that put at the same
            moment may overshoot it by n - 1.
          name: a file name in IPC_DIR, so that unrelated processes can attach; None for one that only children get.
          lanes: processes that may put at the same time.  A lane takes memory when it is first used.
          capacity: bytes of messages that one producer may have waiting, or text such as "4MiB"; also the longest
            message.  Whichever of maxsize and capacity is reached first makes put wait.
          spin: "auto", or seconds to spin before sleeping, of which at most 0.05 count; 0 sleeps at once.
          accept: which kinds of message `get` decodes: any of "bytes", "array", "pickle"; None for all.

        Raises:
          SegmentExistsError: somebody is attached under that name.  (An orphan is replaced.)
          OutOfSharedMemoryError: there is no room for it; nothing was made.
        """
        spin_ns = arguments.spin_ns(spin)
        mask = arguments.accept_mask(accept)
        size = arguments.capacity_bytes(capacity)
        count = arguments.lane_count(lanes)
        made = options(size, maxsize=max(arguments.integer(maxsize, "maxsize"), 0))
        label = None if name is None else arguments.segment_name(name)
        self._open(Segment.create_queue(self._kind, size, label, count, made), spin_ns, mask)
        self._set_state(True)

    @classmethod
    def attach(cls, name: str, *, spin: arguments.Spin = "auto", accept: arguments.Accept = None) -> Queue[Any]:
        """The queue called `name`, from a process that has nothing to do with its creator.

        `spin` and `accept` are this handle's, and mean what they do when it is made.

        Raises:
          SegmentNotFoundError, UntrustedSegmentError, IncompatibleFormatError, CorruptSegmentError.
        """
        self = cls.__new__(cls)
        spin_ns, mask = arguments.spin_ns(spin), arguments.accept_mask(accept)
        self._open(Segment.attach(cls._kind, arguments.segment_name(name)), spin_ns, mask)
        self._set_state(True)
        return self

    @classmethod
    def open(cls, name: str, maxsize: int = 0, **made: Any) -> Queue[Any]:
        """Attach to the queue called `name`, or make it if nobody has.

        Options are those of `Queue`; `spin` and `accept` are this handle's, the others count only when it is made.
        Raises what `attach` and `Queue` raise, but for SegmentNotFoundError and SegmentExistsError.
        """
        while True:
            try:
                return cls.attach(name, **{key: made[key] for key in ("spin", "accept") if key in made})
            except errors.SegmentNotFoundError:
                try:
                    return cls(maxsize, name=name, **made)
                except errors.SegmentExistsError:
                    continue

    def _set_state(self, state: Any) -> None:
        self._feeder = None
        self._scratch = None
        self._feeding = threading.RLock()
        self._joins_at_exit = state
        self._maxsize = int(self._options().maxsize)
        self._choose()

    def _choose(self) -> None:
        """Choose between the fast cases, which ask nothing, and the ones that look at everything."""
        if self._closed_because:
            self._go_slow()
        else:
            self._go_fast(puts=self._feeder is None, gets=self._accept == arguments.ALL_ENCODINGS)

    def _state(self) -> bool:
        return True

    def _after_fork(self) -> None:
        """What the parent's feeder still has to send is the parent's."""
        super()._after_fork()
        feeder, self._feeder, self._feeding = self._feeder, None, threading.RLock()
        self._choose()
        if feeder is not None and feeder.closing:
            self._leave()

    def _before_exit(self) -> None:
        if self._joins_at_exit:
            self._join_feeder()

    def _feeder_lock(self) -> threading.RLock:
        """The lock that guards the feeder, for `with`; who has it already is a signal's handler."""
        if self._feeding._is_owned():  # type: ignore[attr-defined]  # which threading.Condition uses as well
            raise errors.BusyError(
                f"{self}: a signal's handler has come in the middle of a call of this thread; let it raise, or set a "
                f"flag, and use the queue when that call has ended"
            )
        return self._feeding

    def _join_feeder(self) -> None:
        feeder = self._feeder
        if feeder is not None:
            feeder.join()

    # --- putting ------------------------------------------------------------------------------------------------

    def put(self, obj: _T, block: bool = True, timeout: float | None = None) -> None:
        """Put one message, waiting while the queue is full.  With maxsize=0 it never waits.

        Args:
          obj: bytes-like objects and arrays go as they are, anything else as a pickle.  It may be changed afterwards.
          block: whether to wait.
          timeout: seconds; None waits without limit, 0 and less never wait.  It counts only with block=True.

        Raises:
          queue.Full: no room within `timeout` seconds, or at once with block=False.
          ipc.ShutDown: the queue was shut down.
          TooManyParticipantsError: as many processes as there are lanes have put already, and are alive.
          MessageTooLargeError: longer than a lane's capacity; says which capacity= it takes.
          OutOfSharedMemoryError: no room for this process's lane, at its first put.
          Whatever pickling the object raises; nothing was put then.
        """
        kind = obj.__class__
        if self._feeder is None:
            if kind is bytes:
                if _put(self._handle, obj, len(obj), 0, 0) >= 0:  # type: ignore[arg-type]
                    return
            elif kind in PICKLED:
                buffers: list[Any] = []
                data = _dumps(obj, 5, buffer_callback=buffers.append)
                if not buffers:
                    if _put(self._handle, data, len(data), _PICKLE, 0) < 0:
                        self._put_slowly((PICKLE, data, ()), block, timeout)
                    return
        self._put_slowly(encode(obj), block, timeout)

    def _put_ready(self, encoding: int, data: bytes, block: bool = True, timeout: float | None = None) -> None:
        """What the accelerator has encoded, and found no room for."""
        self._put_slowly((encoding, data, ()), block, timeout)

    def put_nowait(self, obj: _T) -> None:
        """`put(obj, block=False)`."""
        self.put(obj, False)

    def _put_slowly(self, message: Encoded, block: bool, timeout: float | None) -> None:
        if self._closed_because:
            self._raise(lib.IPCR_CLOSED)
        options = ffi.new("struct ipcr_put *")
        if not self._maxsize:
            self._put_unbounded(message, options)
            return
        deadline = deadline_of(block, timeout)
        if not self._put_waiting(message, options, deadline):
            raise Full(f"{self} has {self._maxsize} messages, or no room for {size_of(message)} bytes")

    def _put_unbounded(self, message: Encoded, options: Any) -> None:
        if self._feeder is None and self._put_waiting(message, options, time.monotonic_ns() + _PATIENCE_NS):
            return
        with self._feeder_lock():
            if self._closed_because:  # meanwhile: no feeder may start behind close()
                self._raise(lib.IPCR_CLOSED)
            if self._feeder is None:
                status = self._try_put(message, options)
                if status == _OK:
                    return
                if status != _FULL:
                    self._refuse(status, size_of(message))
                feeder = Feeder(self)
                feeder.add(message)
                feeder.start()
                self._feeder = feeder
                self._choose()
                return
            if longest(message) > self._segment.capacity:
                self._refuse(lib.IPCR_TOO_LARGE, size_of(message))
            if self._feeder.shutting or lib.ipcr_queue_shutdown_state(self._handle) != lib.IPCR_OPEN:
                self._raise(lib.IPCR_SHUT_DOWN)
            self._feeder.add(message)

    def put_many(self, objs: Iterable[_T], block: bool = True, timeout: float | None = None) -> int:
        """Put messages; returns how many.  Consumers may begin with the first before the last is there.

        Args:
          objs: any iterable; messages of a slow one don't wait for those that follow.
          block: whether to wait for room.
          timeout: seconds, for all of them together.

        Raises:
          What `put` raises.  The messages before the one that failed were put; the error's `put` says how many.
        """
        deadline = deadline_of(block, timeout)
        done = 0
        try:
            if isinstance(objs, (list, tuple)):
                for start in range(0, len(objs), BATCH_MESSAGES):
                    some = objs[start : start + BATCH_MESSAGES]
                    plain = Plain.of(some)
                    if plain is not None:
                        done += self._put_plain(plain, deadline)
                        continue
                    for batch in batches(some):
                        done += self._put_batch(batch, deadline)
            else:
                for batch in batches(objs):
                    done += self._put_batch(batch, deadline)
        except BaseException as error:
            error.put = done + getattr(error, "put", 0)  # type: ignore[attr-defined]
            raise
        return done

    def _put_plain(self, plain: Plain, deadline: int) -> int:
        messages, encoding, failed = plain
        done = 0 if self._feeder is not None else put_plain(self._handle, messages, (encoding << 32,) * len(messages))
        done = self._put_each([(encoding, message, ()) for message in messages[done:]], done, deadline)
        if failed is not None:
            failed.put = done  # type: ignore[attr-defined]
            raise failed
        return done

    def _put_batch(self, batch: list[Encoded], deadline: int) -> int:
        done = 0
        if self._feeder is None and not any(rest for _, _, rest in batch):
            done = put_plain(self._handle, [bytes_of(first) for _, first, _ in batch], [e << 32 for e, _, _ in batch])
        return self._put_each(batch[done:], done, deadline)

    def _put_each(self, messages: list[Encoded], done: int, deadline: int) -> int:
        """One by one, behind those that went together; how many are put then."""
        try:
            for message in messages:
                self._put_slowly(message, True, _left(deadline))
                done += 1
        except BaseException as error:
            error.put = done  # type: ignore[attr-defined]
            raise
        return done

    # --- as in the standard library -----------------------------------------------------------------------------

    def qsize(self) -> int:
        """Messages in the queue, those that a feeder of this process has yet to send included."""
        feeder = self._feeder
        if feeder is None:
            return super().qsize()
        with self._feeder_lock():
            return super().qsize() + feeder.backlog()

    def empty(self) -> bool:
        """Whether there is no message now."""
        return self.qsize() == 0

    def full(self) -> bool:
        """Whether there are maxsize messages now."""
        status = lib.ipcr_queue_is_full(self._handle)
        if status < 0:
            self._raise(status)
        return bool(status)

    def task_done(self) -> None:
        """A message that was taken is done with.

        Raises:
          ValueError: called more often than there were messages.
        """
        status = lib.ipcr_queue_task_done(self._handle)
        if status == lib.IPCR_EMPTY:
            raise ValueError("task_done() called too many times")
        if status != _OK:
            self._raise(status)

    def join(self) -> None:
        """Wait until task_done() was called, by any process, for every message that was put.

        Those who end without having called it are not noticed: as in multiprocessing, this waits for ever then.
        """
        feeder = self._feeder
        if feeder is not None:
            feeder.let_go.wait()
        if self._closed_because:
            self._raise(lib.IPCR_CLOSED)
        while not lib.ipcr_queue_all_finished(self._handle):
            self._wait(lib.ipcr_queue_wait_for_finish(self._handle, arguments.FOREVER_NS))

    def purge(self) -> int:
        """Throw away all messages that wait; returns how many.  They count as done with, as by task_done()."""
        with self._feeder_lock():
            dropped = 0 if self._feeder is None else self._feeder.drop()
        thrown_away = super().purge()
        if thrown_away:
            lib.ipcr_queue_finish_many(self._handle, thrown_away)
        return dropped + thrown_away

    def shutdown(self, immediate: bool = False) -> None:
        """No more messages: put raises ipc.ShutDown, and get does once the queue is empty (at once with immediate=True,
        which throws away what waits), in all processes.

        A put that returned comes before the end; one that runs at the same moment either does, or raises, and then
        nobody got its message.  The end is said while another consumer takes the last message: should that one be
        killed in the middle of its get, the message waits for the next get.  Threads in join() go on waiting for
        task_done() of what was taken.  What put() of this process has left to the feeder comes before the end; other
        processes' feeders give up theirs.
        """
        with self._feeder_lock():
            if self._feeder is not None and not immediate:
                self._feeder.shutting = True
                return
            lib.ipcr_queue_shut(self._handle, lib.IPCR_SHUT if immediate else lib.IPCR_DRAINING)
        if immediate:
            self.purge()

    def close(self) -> None:
        """No more messages from this handle: what put() left to the feeder still goes, then it ends."""
        with self._feeder_lock():
            if self._closed_because:
                return
            self._closed_because = "it was closed here"  # under the lock: whoever wants a feeder after this is refused
            self._inbox = None
            self._choose()
            if self._feeder is not None:
                self._feeder.closing = True
                self._feeder.let_go.open()
                return
        self._leave()

    def join_thread(self) -> None:
        """Wait until the feeder has sent everything.  Only after close()."""
        if not self._closed_because:
            raise ValueError(f"{self} is not closed; call close() first")
        self._join_feeder()

    def cancel_join_thread(self) -> None:
        """Let this process end without waiting for the feeder: what it has not sent is lost then."""
        self._joins_at_exit = False

    def stats(self) -> QueueStats:
        """Counters of this queue, per lane and in all."""
        return queue_stats.stats_of(self._segment)


def _left(deadline: int) -> float | None:
    return None if deadline == arguments.FOREVER_NS else max(0, deadline - time.monotonic_ns()) / 1e9


accelerate(Queue, "put", "get", "put_many", "get_many")

"""The publishing end of a multicast."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final, Generic, NoReturn, TypeVar, final, overload

from ipc import errors
from ipc._core import arguments
from ipc._core.claims import claim_of
from ipc._core.encoding import Encoded, encode
from ipc._core.lending import Claim
from ipc._core.multicast_ends import MulticastEnd, name_of
from ipc._core.multicast_stats import stats_of
from ipc._core.native import accelerate, check, ffi, lib
from ipc._core.queues import batches, bytes_of, size_of

if TYPE_CHECKING:
    import weakref

    import numpy as np
    from numpy.typing import DTypeLike

    from ipc._core.ends import Use
    from ipc._core.segment import Segment

__all__ = ["Publisher"]

_T = TypeVar("_T")

_FULL = lib.IPCR_FULL
_MOST_TOPICS: Final = 1024  # whose native form is remembered
_MOST_NAMED: Final = 5  # laggards in one error

_publish_bytes = lib.ipcr_publish_bytes


@final
class Publisher(MulticastEnd, Generic[_T]):
    """The one who publishes.  One thread at a time; a second caller gets BusyError.

    Made by `Multicast.publisher()`; stays in its process, and a forked child that uses it gets ForkedHandleError.  When
    it closes, subscribers read what is there and then see EndOfChannel; when it dies, PeerDiedError; and another one
    may go on where it stopped.
    """

    __slots__ = ("_topics",)

    _close_in_core = lib.ipcr_publisher_close
    _wait_in_core = lib.ipcr_publisher_wait
    _stop_waiting = lib.ipcr_publisher_stop_waiting
    _look_around = lib.ipcr_publisher_look_around

    _topics: dict[str, Any]

    @classmethod
    def _open(cls, segment: Segment, spin_ns: int) -> Publisher[_T]:
        by, out = ffi.new("uint32_t *"), ffi.new("struct ipcr_publisher **")
        label = f"publisher of {segment}"
        status = lib.ipcr_publisher_open(segment.pointer, spin_ns, by, out)
        if status == lib.IPCR_TAKEN:
            raise errors.BusyError(
                f"{segment} has a publisher, in process {by[0]}; there is one at a time: close that one first"
            )
        check(status, label)
        self = cls.__new__(cls)
        self._topics = {}
        self._begin(segment, ffi.gc(out[0], lib.ipcr_publisher_free), label)
        self._go_fast()
        return self

    # --- publishing ---------------------------------------------------------------------------------------------

    def publish(self, obj: _T, *, topic: str | None = None, timeout: float | None = None) -> int:
        """Publish one message to all subscribers; returns its sequence number.

        Lossless: waits for the slowest subscriber that is alive, if the ring is full.  (Evicts it, with
        on_laggard="evict".)  Lossy: never waits.  Once this returns, the message survives the death of this process.

        Args:
          obj: bytes, bytearray and memoryview go as they are; numpy arrays without Python objects as their memory;
            anything else as pickle protocol 5, with its buffers out of band.
          topic: a name, of at most 1,024 bytes in UTF-8, by which subscribers choose messages.
          timeout: seconds; None waits without limit, 0 never waits.

        Raises:
          TimeoutError: no room within `timeout`; nothing was published.  It names the laggards: the slowest with the
            time since it last moved, others with how far they are behind.
          MessageTooLargeError: it can never fit; the error says which capacity can carry it.
          BusyError: another thread is using this publisher, or a claim is lent out.
        """
        if topic is None and obj.__class__ is bytes:
            sequence = _publish_bytes(self._handle, obj, len(obj))  # type: ignore[arg-type]
            if sequence >= 0:
                return int(sequence)
        return self._post(encode(obj), self._topic(topic), arguments.deadline_ns(timeout))

    def _publish_ready(self, encoding: int, data: bytes, timeout: float | None = None) -> int:
        """What the accelerator has encoded, and could not publish at once."""
        return self._post((encoding, data, ()), ffi.NULL, arguments.deadline_ns(timeout))

    def try_publish(self, obj: _T, *, topic: str | None = None) -> bool:
        """Publish one message if there is room now; whether it was published.  Raises as `publish`, but never waits."""
        message, native = encode(obj), self._topic(topic)
        status = self._try(message, native)
        if status == _FULL:  # a loop over this call must not wait for the dead for ever
            self._check(lib.ipcr_publisher_look_around(self._handle), 0)
            status = self._try(message, native)
        if status == _FULL:
            return False
        self._check(status, size_of(message))
        return True

    def publish_many(self, objs: Iterable[_T], *, topic: str | None = None, timeout: float | None = None) -> int:
        """Publish messages, many in one native call, and wake subscribers once for each 64; returns how many.

        A list or a tuple is fastest.  Other iterables are read ahead by at most 64 KiB of messages, or as far as they
        get in a millisecond.

        Args:
          objs: what to publish.
          topic: the same for all.
          timeout: seconds for all of them; None waits without limit, 0 never waits.

        Raises:
          What `publish` raises.  The messages before the one that failed were published; the error's `published` says
          how many.
        """
        deadline, native = arguments.deadline_ns(timeout), self._topic(topic)
        published = 0
        try:
            for batch in batches(objs):
                for done in self._post_batch(batch, native, deadline):
                    published += done
        except BaseException as error:
            error.published = published  # type: ignore[attr-defined]
            raise
        return published

    def _topic(self, topic: str | None) -> Any:
        """A topic as native code takes it."""
        if topic is None:
            return ffi.NULL
        known = self._topics.get(topic)
        if known is None:
            name = name_of(topic)
            memory = ffi.from_buffer(name)
            # a claim may need it when it is no longer remembered here: the name lives as long as what leads to it
            native = ffi.gc(ffi.new("struct ipcr_topic *"), lambda _, memory=memory: None)
            native.name, native.length = memory, len(name)
            native.number = lib.ipcr_topic_number(memory, len(name))
            if len(self._topics) >= _MOST_TOPICS:
                self._topics.clear()
            known = self._topics[topic] = native
        return known

    def _try(self, message: Encoded, topic: Any) -> int:
        encoding, first, rest = message
        pieces = ffi.new("struct ipcr_piece[]", 1 + len(rest))
        kept = []
        for i, piece in enumerate((first, *rest)):
            memory = ffi.from_buffer(piece) if isinstance(piece, bytes) else piece
            kept.append(memory)  # alive until this returns
            pieces[i].data = memory
            pieces[i].length = len(piece)
        return int(lib.ipcr_publish(self._handle, topic, pieces, 1 + len(rest), encoding << 32))

    def _post(self, message: Encoded, topic: Any, deadline: int) -> int:
        return self._until_room(lambda: self._try(message, topic), size_of(message), deadline)

    def _post_batch(self, messages: list[Encoded], topic: Any, deadline: int) -> Iterable[int]:
        """How many have gone, step by step."""
        at = 0
        while at < len(messages):
            plain = at
            while plain < len(messages) and not messages[plain][2]:
                plain += 1
            if plain == at:  # with buffers
                self._post(messages[at], topic, deadline)
                at += 1
                yield 1
                continue
            run = [bytes_of(first) for _, first, _ in messages[at:plain]]
            infos = array("Q", [encoding << 32 for encoding, _, _ in messages[at:plain]])
            lengths = array("Q", map(len, run))
            joined = ffi.from_buffer(b"".join(run))
            length_of, info_of = (ffi.from_buffer("uint64_t[]", words) for words in (lengths, infos))
            done = int(lib.ipcr_publish_many(self._handle, topic, joined, length_of, info_of, len(run)))
            if done <= 0:  # one by itself waits, or says what is wrong
                self._post(messages[at], topic, deadline)
                done = 1
            at += done
            yield done

    def _until_room(self, attempt: Callable[[], int], size: int, deadline: int) -> int:
        status, start = self._until(attempt, _FULL, deadline)
        if status == _FULL:
            self._too_late(size, deadline, start)
        self._check(status, size)
        return status

    def _check(self, status: int, size: int) -> None:
        if status == lib.IPCR_TOO_LARGE:
            capacity = self._segment.capacity
            wanted = arguments.capacity_bytes(size + lib.IPCR_MOST_TOPIC + lib.IPCR_DATA_ALIGNMENT)
            raise errors.MessageTooLargeError(
                f"{self}: a message of {size} bytes, with its topic, can't fit into capacity={capacity}. "
                f"Make it with capacity={wanted} or more"
            )
        if status < 0:
            self._raise(status)

    def _too_late(self, size: int, deadline: int, start: int) -> NoReturn:
        raw = ffi.new("struct ipcr_laggard *")
        lib.ipcr_publisher_laggard(self._handle, raw)
        slowest = (
            f"subscriber {raw.subscriber} of process {raw.pid} is {raw.behind} messages behind, and has not moved for "
            f"{raw.since_ns / 1e9:.3g} s"
        )
        others = [
            f"subscriber {one.number} of process {one.pid} is {one.behind} behind"
            for one in stats_of(self._segment).subscribers
            if one.number != raw.subscriber and one.state == "active" and one.sequence < raw.must_reach
        ]
        named = [slowest, *others[:_MOST_NAMED]]
        more = f", and {len(others) - _MOST_NAMED} more" if len(others) > _MOST_NAMED else ""
        raise errors.TimeoutError(
            f"{self}: no room for {size} bytes within {self._waited(deadline, start)}: {'; '.join(named)}{more}"
        )

    # --- zero copy ----------------------------------------------------------------------------------------------

    @overload
    def claim(self, shape: int, *, topic: str | None = None, timeout: float | None = None) -> Claim[memoryview]: ...
    @overload
    def claim(self, *, nbytes: int, topic: str | None = None, timeout: float | None = None) -> Claim[memoryview]: ...
    @overload
    def claim(
        self, shape: int | Sequence[int], dtype: DTypeLike, *, topic: str | None = None, timeout: float | None = None
    ) -> Claim[np.ndarray[Any, Any]]: ...
    def claim(
        self,
        shape: Any = None,
        dtype: Any = None,
        *,
        nbytes: int | None = None,
        topic: str | None = None,
        timeout: float | None = None,
    ) -> Claim[Any]:
        """Lend memory straight in the ring, to be published without a copy at the end of its `with`.

            with camera.claim((480, 640, 3), "uint8") as frame:
                grab(frame)

        As `Sender.claim`: nothing is published if the body of the `with` raises; waits for room as `publish` does;
        other calls raise BusyError meanwhile.

        Args:
          shape: an int or a sequence of ints; without a dtype, a number of bytes.
          dtype: of numpy, without Python objects.
          nbytes: a number of bytes, in place of shape and dtype.
          topic: as of `publish`.
          timeout: seconds to wait for room.

        Raises:
          MessageTooLargeError: it can never fit.
          BusyError: at the end of the `with`, something made from the memory is still alive; nothing was published.
          TimeoutError: as `publish`.
        """
        return claim_of(_Claiming(self, self._topic(topic)), _no_skew, shape, dtype, nbytes, 0, timeout)


def _no_skew(handle: object) -> int:
    """What is claimed of a publisher begins at a multiple of 64."""
    return 0


class _Claiming:
    """A publisher, and the topic of one claim."""

    __slots__ = ("_publisher", "_topic")

    def __init__(self, publisher: Publisher[Any], topic: Any) -> None:
        self._publisher = publisher
        self._topic = topic

    @property
    def _handle(self) -> Any:
        return self._publisher._handle

    @property
    def _use(self) -> weakref.ref[Use] | None:
        return self._publisher._use

    @_use.setter
    def _use(self, use: weakref.ref[Use] | None) -> None:
        self._publisher._use = use

    def _attached(self) -> Segment:
        return self._publisher._segment

    def _claim(self, size: int, timeout: float | None) -> Any:
        publisher = self._publisher

        def attempt() -> int:
            status = int(lib.ipcr_publisher_claim(publisher._handle, self._topic, size))
            if status == lib.IPCR_LENT and (publisher._use is None or publisher._use() is None):
                lib.ipcr_publisher_abort(publisher._handle)  # whoever had it is gone, and can't commit it any more
                status = int(lib.ipcr_publisher_claim(publisher._handle, self._topic, size))
            return status

        publisher._until_room(attempt, size, arguments.deadline_ns(timeout))
        return lib.ipcr_publisher_lent(publisher._handle)

    def _commit(self, size: int, info: int) -> None:
        self._use = None
        publisher = self._publisher
        publisher._check(int(lib.ipcr_publisher_commit(publisher._handle, size, info)), size)

    def _abort(self) -> None:
        self._use = None
        if not self._publisher._closed_because:
            lib.ipcr_publisher_abort(self._publisher._handle)


accelerate(Publisher, "publish", "claim")

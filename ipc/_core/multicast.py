"""One publisher, many subscribers, one copy of each message in memory.

    frames = ipc.Multicast()                        # give it to children as a Process argument, or fork
    camera = frames.publisher()                     # in one process
    for frame in frames.subscribe(): ...            # in any number of them

Lossless, which is the default: every subscriber gets every message, and the publisher waits for the slowest that is
alive.  Lossy: the publisher never waits, and each subscriber is told exactly how many messages it has missed.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterable
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Generic, Literal, NoReturn, TypeVar, final

from ipc import errors
from ipc._core import arguments, multicast_ends, multicast_stats, parcels
from ipc._core.exits import AtExit
from ipc._core.multicast_ends import MulticastEnd, name_of
from ipc._core.native import ffi, lib
from ipc._core.publisher import Publisher
from ipc._core.segment import Segment
from ipc._core.sharing import Shared, hand_over, take_over
from ipc._core.subscriber import Subscriber, Wanted

if TYPE_CHECKING:
    from typing_extensions import Self

    from ipc._core.multicast_stats import MulticastStats

__all__ = ["Multicast"]

_T = TypeVar("_T")

_ENTRY_BYTES: Final = 64
_MOST_MESSAGES: Final = 2**62  # that are ever published
_POLICIES: Final = {"lossless": lib.IPCR_LOSSLESS, "lossy": lib.IPCR_LOSSY}
_ON_LAGGARD: Final = {"wait": lib.IPCR_WAIT_FOR_LAGGARDS, "evict": lib.IPCR_EVICT_LAGGARDS}
_STARTS: Final = {"latest": lib.IPCR_START_LATEST, "oldest": lib.IPCR_START_OLDEST}
_ON_LAP: Final = {"oldest": lib.IPCR_LAP_TO_OLDEST, "latest": lib.IPCR_LAP_TO_LATEST}


@final
class Multicast(Generic[_T]):
    """A handle on a multicast, to publish and to subscribe.

    Shared by processes and threads alike; goes to children as a `Process` argument, or by fork.  A publisher or a
    subscriber that is made from it stays in its process, and has one thread at a time.  Closing the handle closes those
    that were made from it here; a process that ends normally closes all.

    Every call raises ClosedError once this handle was closed, CorruptSegmentError where shared memory holds garbage.
    """

    __slots__ = ("__weakref__", "_accept", "_closed_because", "_ends", "_label", "_name", "_segment", "_spin")

    _segment: Segment
    _ends: weakref.WeakSet[MulticastEnd]

    def __init__(
        self,
        name: str | None = None,
        *,
        policy: Literal["lossless", "lossy"] = "lossless",
        on_laggard: Literal["wait", "evict"] = "wait",
        max_lag: int | None = None,
        capacity: int | str = arguments.DEFAULT_CAPACITY,
        spin: arguments.Spin = "auto",
        accept: arguments.Accept = None,
    ) -> None:
        """Make a multicast.

        Args:
          name: a file name in IPC_DIR, so that unrelated processes can attach; None for one that only children get.
          policy: "lossless": every subscriber gets every message.  "lossy": what is not read in time is overwritten.
          on_laggard: of a lossless one, whether the publisher waits for the slowest subscriber that is alive, or evicts
            it: it gets LaggedOutError, and may subscribe again.  (Dead ones are evicted in any case.)
          max_lag: messages that a subscriber of a lossless one may be behind, at most; None for as many as fit.
          capacity: bytes of messages that are kept, or text such as "4MiB"; rounded up to a power of two, at least a
            page; also the longest message.  Half as much is added for an index: one entry for each 128 bytes.
          spin: "auto", or seconds to spin before sleeping, of which at most 0.05 count; 0 sleeps at once.
          accept: which kinds of message subscribers decode: any of "bytes", "array", "pickle"; None for all.

        Raises:
          SegmentExistsError: somebody is attached under that name.  (An orphan is replaced.)
          OutOfSharedMemoryError: there is no room for it; nothing was made.
        """
        spin_ns, mask = arguments.spin_ns(spin), arguments.accept_mask(accept)
        size = arguments.capacity_bytes(capacity)
        options = _options(policy, on_laggard, max_lag)
        label = None if name is None else arguments.segment_name(name)
        entries = max(2, min(size // (2 * _ENTRY_BYTES), 1 << 30))
        self._begin(Segment.create_multicast(size, label, entries, options), spin_ns, mask)

    @classmethod
    def attach(cls, name: str, *, spin: arguments.Spin = "auto", accept: arguments.Accept = None) -> Multicast[Any]:
        """The multicast called `name`, from a process that has nothing to do with its creator.

        `spin` and `accept` are this handle's, and mean what they do when it is made.

        Raises:
          SegmentNotFoundError, UntrustedSegmentError, IncompatibleFormatError, CorruptSegmentError.
        """
        self = cls.__new__(cls)
        spin_ns, mask = arguments.spin_ns(spin), arguments.accept_mask(accept)
        self._begin(Segment.attach("multicast", arguments.segment_name(name)), spin_ns, mask)
        return self

    @classmethod
    def open(cls, name: str, **options: Any) -> Multicast[Any]:
        """Attach to the multicast called `name`, or make it with these options if there is none.

        The options of one that exists are its own; only `spin` and `accept` are this handle's.
        """
        here = {key: options[key] for key in ("spin", "accept") if key in options}
        while True:
            try:
                return cls.attach(name, **here)
            except errors.SegmentNotFoundError:
                pass
            try:
                return cls(name, **options)
            except errors.SegmentExistsError:  # another process was faster
                continue

    def _begin(self, segment: Segment, spin_ns: int, accept: int) -> None:
        self._segment = segment
        self._label, self._name = str(segment), segment.name
        self._spin, self._accept = spin_ns, accept
        self._closed_because = ""
        self._ends = weakref.WeakSet()
        _at_exit.ask()

    # --- taking part --------------------------------------------------------------------------------------------

    def publisher(self) -> Publisher[_T]:
        """Become the publisher, at once.

        After a publisher that closed or died, the sequence numbers go on without a gap.

        Raises:
          BusyError: there is one that is alive.
        """
        publisher = Publisher[_T]._open(self._segment, self._spin)
        self._ends.add(publisher)
        return publisher

    def subscribe(
        self,
        start: Literal["latest", "oldest"] | int = "latest",
        topics: Iterable[str] | str | None = None,
        *,
        on_lap: Literal["oldest", "latest"] = "oldest",
        observe: bool = False,
        interval: float = 0.005,
    ) -> Subscriber[_T]:
        """Become a subscriber, at once: every message from `start` on will be there for it.

        Args:
          start: "latest", the next message to be published; "oldest", what is still kept; or a sequence number.  Who
            was evicted may have read some of what is kept.  With on_laggard="evict" the oldest message may already be
            further behind than max_lag allows.
          topics: only messages of these; None for all messages, with a topic or without.
          on_lap: where a lossy subscriber goes on when it was overtaken: at the oldest message that is whole, or at
            the newest.  For the newest frame only, make the ring as small as two or three of them: what is kept is not
            skipped.  (Overtaken while it copies, "oldest" goes on in the middle of what is kept, because the oldest
            would be overwritten under its hands again.)
          observe: take no part in a lossless multicast: the publisher neither waits for it nor knows of it; it is
            told what it has lost, as if the multicast were lossy.  It reads through a mapping that it can't write to,
            and polls.
          interval: seconds between two looks of an observer that waits.

        Raises:
          ValueError: a sequence number that is not kept any more (lossy: it may be), or not published yet.
          TooManyParticipantsError: 1,024 subscribers are alive.
        """
        wanted = Wanted(
            *_start(start),
            topics=_topics(topics),
            on_lap=_choice("on_lap", on_lap, _ON_LAP),
            observe=bool(observe),
            interval_ns=max(arguments.duration_ns(interval, "interval"), 1),
        )
        subscriber = Subscriber[_T]._open(self._segment, wanted, self._spin, self._accept)
        self._ends.add(subscriber)
        return subscriber

    # --- the handle ---------------------------------------------------------------------------------------------

    def __str__(self) -> str:
        return self._label

    def __repr__(self) -> str:
        return f"<{self._label}{', closed' if self.closed else ''}>"

    @property
    def name(self) -> str | None:
        """The name by which other processes attach; None for an anonymous one."""
        return self._name

    @property
    def closed(self) -> bool:
        """Whether close() was called."""
        return bool(self._closed_because)

    def stats(self) -> MulticastStats:
        """Counters, as they are now; see `ipc.stats`."""
        return multicast_stats.stats_of(self._segment)

    def unlink(self) -> None:
        """Remove the name, so that nobody new can attach; those attached go on."""
        self._segment.unlink()

    def close(self) -> None:
        """Close this handle, and the publisher and subscribers that were made from it here; twice is fine.

        May come from any thread.  The name of a named one goes with the last process that is attached.

        Raises:
          BusyError: a claim or a view is still lent out; what was closed by then stays closed.
        """
        for end in _subscribers_first(self._ends):
            end.close()
        self._close("it was closed here")

    def _close(self, because: str) -> None:
        if self._closed_because:
            return
        self._closed_because = because
        for end in _subscribers_first(self._ends):
            end._close(because)
        parcels.sweep()
        del self._segment

    def __getattr__(self, attribute: str) -> NoReturn:
        """What close() has taken away is missed by whoever is about to use it."""
        if attribute == "_segment" and self._closed_because:
            raise errors.ClosedError(f"{self} is closed: {self._closed_because}")
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {attribute!r}")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        else:
            self._close("it was closed here")

    def __reduce__(self) -> tuple[Any, ...]:
        popen = parcels.starting_process(str(self))
        return _adopt, (hand_over(popen, self._segment, str(self)), self._spin, self._accept)


def _adopt(shared: Shared, spin_ns: int, accept: int) -> Multicast[Any]:
    """Unpickle a handle in the child that it was sent to."""
    multicast = Multicast.__new__(Multicast)
    multicast._begin(take_over(shared), spin_ns, accept)
    return multicast


# --- checking what users pass -----------------------------------------------------------------------------------


def _choice(what: str, value: object, choices: dict[str, int]) -> int:
    if not isinstance(value, str) or value not in choices:
        raise ValueError(f"{what}={value!r} must be one of {', '.join(map(repr, choices))}")
    return choices[value]


def _options(policy: object, on_laggard: object, max_lag: object) -> Any:
    made = ffi.new("struct ipcr_multicast_options *")
    made.policy = _choice("policy", policy, _POLICIES)
    made.on_laggard = _choice("on_laggard", on_laggard, _ON_LAGGARD)
    lag = 0 if max_lag is None else arguments.positive(max_lag, "max_lag")
    made.max_lag = min(lag, _MOST_MESSAGES)  # more never fit, nor are ever published
    if made.policy == lib.IPCR_LOSSY and (made.on_laggard or made.max_lag):
        raise ValueError(
            f'on_laggard={on_laggard!r} and max_lag={max_lag!r} are for policy="lossless": the publisher of a lossy '
            "multicast waits for nobody"
        )
    return made


def _start(start: object) -> tuple[int, int]:
    if isinstance(start, str):
        if start not in _STARTS:
            raise ValueError(f"start={start!r} must be 'latest', 'oldest' or a sequence number")
        return _STARTS[start], 0
    number = arguments.integer(start, "start")
    if not 0 <= number <= _MOST_MESSAGES:
        raise ValueError(
            f"start={number} must be from 0 to {_MOST_MESSAGES}: sequence numbers count from the first message"
        )
    return lib.IPCR_START_SEQUENCE, number


def _topics(topics: Iterable[str] | str | None) -> tuple[str, ...] | None:
    if topics is None:
        return None
    chosen = (topics,) if isinstance(topics, str) else tuple(topics)
    if not chosen:
        raise ValueError("topics=[] would get no message; None gets all of them")
    for topic in chosen:
        name_of(topic)
    return chosen


def _subscribers_first(ends: Iterable[MulticastEnd]) -> list[MulticastEnd]:
    """Whoever waits in one is told that it was closed, and not that its publisher was."""
    return sorted(ends, key=lambda end: isinstance(end, Publisher))


def _close_all() -> None:
    """Before the process ends: subscribers see EndOfChannel, not a death."""
    for end in _subscribers_first(multicast_ends.open_ends):
        end._close("the process is ending")


_at_exit = AtExit(_close_all, 10)

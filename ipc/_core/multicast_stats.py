"""A multicast's numbers, which no death can make wrong.  See native/multicast_stats.h."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from ipc._core.native import check, ffi, lib
from ipc._core.participants import Participant
from ipc._core.segment import Segment

__all__ = ["MulticastStats", "SubscriberStats", "stats_of", "stats_of_file"]

_PUBLISHER: Final = {lib.IPCR_END_UNTAKEN: "untaken", lib.IPCR_END_TAKEN: "taken", lib.IPCR_END_CLOSED: "closed"}
_SUBSCRIBER: Final = {
    lib.IPCR_CURSOR_JOINING: "joining",
    lib.IPCR_CURSOR_ACTIVE: "active",
    lib.IPCR_CURSOR_EVICTED: "evicted",
}


class SubscriberStats(NamedTuple):
    """One subscriber that has not closed.  Observers write nothing, and so are not seen."""

    number: int
    pid: int
    state: str
    """"active", "evicted", or "joining" for a moment."""
    alive: bool
    sequence: int
    """The message that it reads next."""
    behind: int
    """Messages that were published, and that it has not read (or, lossy, been told the loss of)."""
    received: int
    """Messages that it was given; those of other topics are not."""
    lost: int
    """Messages that were overwritten before it came to read them."""


class MulticastStats(NamedTuple):
    """Counters of a multicast since it was made.  sent = received + depth, always."""

    name: str | None
    kind: str
    capacity: int
    """Bytes of messages that are kept."""
    policy: str
    sent: int
    """Messages published."""
    received: int
    """Of them, those that every subscriber is done with that is alive."""
    depth: int
    """Messages that the slowest subscriber that is alive is behind; 0 without any."""
    oldest: int
    """Sequence number of the oldest message that is kept."""
    bytes: int
    """Payload bytes published."""
    blocked_seconds: float
    """Time that publishers have slept, waiting for the slowest subscriber."""
    high_water: int
    """Most messages that any subscriber was behind, as it noticed when it looked.  (Observers write nothing.)"""
    evicted: int
    """Subscribers that were evicted because they were too far behind, by a publisher that waits for nobody."""
    participants: tuple[Participant, ...]
    """The publisher, then the subscribers."""
    subscribers: tuple[SubscriberStats, ...]
    attached: bool
    """Whether any process is attached."""
    creator_pid: int
    """Process that made the segment."""


def _record(raw: Any, subscribers: Any, name: str | None) -> MulticastStats:
    sent = int(raw.published)
    readers = tuple(
        SubscriberStats(
            number=one.number,
            pid=one.pid,
            state=_SUBSCRIBER.get(one.state, "corrupt"),
            alive=bool(one.alive),
            sequence=one.next,
            behind=max(0, sent - one.next),
            received=one.received,
            lost=one.lost,
        )
        for one in subscribers[0 : raw.subscribers]
    )
    depth = max((one.behind for one in readers if one.alive and one.state == "active"), default=0)
    taken = raw.publisher_state == lib.IPCR_END_TAKEN
    publisher = Participant(
        "publisher",
        raw.publisher_pid,
        _PUBLISHER.get(raw.publisher_state, "corrupt"),
        bool(raw.publisher_alive),
        taken and bool(raw.publisher_alive),
    )
    return MulticastStats(
        name=name,
        kind="multicast",
        capacity=raw.capacity,
        policy="lossy" if raw.options.policy == lib.IPCR_LOSSY else "lossless",
        sent=sent,
        received=sent - depth,
        depth=depth,
        oldest=raw.oldest,
        bytes=raw.bytes,
        blocked_seconds=raw.parked_ns / 1e9,
        high_water=raw.high_water,
        evicted=raw.evicted,
        participants=(
            publisher,
            *(Participant("subscriber", one.pid, one.state, one.alive, one.alive) for one in readers),
        ),
        subscribers=readers,
        attached=bool(raw.present),
        creator_pid=raw.creator_pid,
    )


def stats_of(segment: Segment) -> MulticastStats:
    """Counters of an attached multicast."""
    raw, subscribers = _room()
    status = lib.ipcr_multicast_stats(segment.pointer, raw, subscribers, len(subscribers))
    check(status, str(segment))
    return _record(raw, subscribers, segment.name)


def stats_of_file(fd: int, name: str, what: str) -> MulticastStats:
    """The same of a file that nobody here is attached to."""
    raw, subscribers = _room()
    check(lib.ipcr_multicast_stats_of_file(fd, raw, subscribers, len(subscribers)), what)
    return _record(raw, subscribers, name)


def _room() -> tuple[Any, Any]:
    return ffi.new("struct ipcr_multicast_stats *"), ffi.new(
        "struct ipcr_subscriber_stats[]", lib.IPCR_MOST_SUBSCRIBERS
    )

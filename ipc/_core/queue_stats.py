"""A queue's numbers, derived from its messages: no death can make them wrong.  See native/queue_stats.h."""

from __future__ import annotations

from typing import Any, NamedTuple

from ipc._core.native import check, ffi, lib
from ipc._core.participants import Participant
from ipc._core.segment import KINDS, Segment

__all__ = ["LaneStats", "QueueStats", "stats_of", "stats_of_file"]

_KIND_NAMES = {number: name for name, number in KINDS.items()}
_SHUTDOWN = {lib.IPCR_OPEN: "open", lib.IPCR_DRAINING: "draining", lib.IPCR_SHUT: "shut down"}


class LaneStats(NamedTuple):
    """One producer's lane.  sent = acknowledged + dead_lettered + depth, at every quiet point."""

    lane: int
    sent: int
    """Messages put."""
    delivered: int
    """Leases granted: deliveries, and deliveries again."""
    redelivered: int
    """Of them, those that were not the message's first."""
    acknowledged: int
    """Messages that consumers are done with."""
    dead_lettered: int
    """Messages thrown away, or moved to a dead-letter queue."""
    depth: int
    """Messages that are not done with: ready + leased + kept."""
    ready: int
    """Messages that wait."""
    leased: int
    """Messages that consumers hold."""
    kept: int
    """Messages that are not delivered any more, and wait to be requeued, moved or purged."""
    bytes: int
    """Payload bytes put."""
    bytes_received: int
    """Payload bytes of messages that are done with."""
    producer_pid: int
    """Process that had the lane last."""
    alive: bool
    """Whether it has it now."""
    blocking_id: int
    """The message at the head of the lane that is held, so that no space behind it is freed; 0 for none."""
    blocking_pid: int
    """Its holder; 0 when it is kept."""
    blocking_seconds: float
    """How long ago it was put."""
    blocked_seconds: float
    """Time that its producers have slept, waiting for room."""
    high_water: int
    """Most messages from the first that waited to the newest, as its producers noticed when they put."""


class QueueStats(NamedTuple):
    """Counters of a queue since it was made; what they mean is said at LaneStats."""

    name: str | None
    kind: str
    capacity: int
    """Bytes of each lane."""
    sent: int
    received: int
    """acknowledged + dead_lettered: sent = received + depth."""
    depth: int
    delivered: int
    redelivered: int
    acknowledged: int
    dead_lettered: int
    ready: int
    leased: int
    kept: int
    bytes: int
    """Payload bytes put."""
    bytes_received: int
    """Payload bytes of messages that are done with."""
    blocked_seconds: float
    """Time that producers have slept, waiting for room; of threads, and processes, together."""
    high_water: int
    """Of the lane where it is highest."""
    participants: tuple[Participant, ...]
    """The producers, one for each lane that was ever used, then the consumers that have registered (the first 64)."""
    lanes: tuple[LaneStats, ...]
    """Those that were ever used."""
    maxsize: int
    """0 for any number of messages."""
    state: str
    """"open", "draining" or "shut down"."""
    attached: bool
    """Whether any process is attached."""
    creator_pid: int


def _participant(role: str, pid: int, alive: bool) -> Participant:
    return Participant(role, pid, "taken" if alive else "untaken", alive, alive)


def _record(raw: Any, each: Any, name: str | None) -> QueueStats:
    lanes = tuple(
        LaneStats(
            lane=i,
            sent=lane.put,
            delivered=lane.delivered,
            redelivered=lane.redelivered,
            acknowledged=lane.acknowledged,
            dead_lettered=lane.dead,
            depth=lane.ready + lane.leased + lane.kept,
            ready=lane.ready,
            leased=lane.leased,
            kept=lane.kept,
            bytes=lane.bytes,
            bytes_received=lane.bytes - lane.bytes_left,
            producer_pid=lane.producer_pid,
            alive=bool(lane.alive),
            blocking_id=lane.blocking_id,
            blocking_pid=lane.blocking_pid,
            blocking_seconds=lane.blocking_ns / 1e9,
            blocked_seconds=lane.parked_ns / 1e9,
            high_water=lane.high_water,
        )
        for i, lane in enumerate(each[0 : raw.lanes])
        if lane.used
    )

    def total(field: str) -> int:
        return sum(getattr(lane, field) for lane in lanes)

    return QueueStats(
        name=name,
        kind=_KIND_NAMES[raw.kind],
        capacity=raw.capacity,
        sent=total("sent"),
        received=total("acknowledged") + total("dead_lettered"),
        depth=total("depth"),
        delivered=total("delivered"),
        redelivered=total("redelivered"),
        acknowledged=total("acknowledged"),
        dead_lettered=total("dead_lettered"),
        ready=total("ready"),
        leased=total("leased"),
        kept=total("kept"),
        bytes=total("bytes"),
        bytes_received=total("bytes_received"),
        blocked_seconds=sum(lane.blocked_seconds for lane in lanes),
        high_water=max((lane.high_water for lane in lanes), default=0),
        participants=(
            *(_participant("producer", lane.producer_pid, lane.alive) for lane in lanes),
            *(_participant("consumer", one.pid, bool(one.alive)) for one in raw.holders[0 : raw.holders_count]),
        ),
        lanes=lanes,
        maxsize=raw.options.maxsize,
        state=_SHUTDOWN.get(raw.shutdown, "corrupt"),
        attached=bool(raw.present),
        creator_pid=raw.creator_pid,
    )


def stats_of(segment: Segment) -> QueueStats:
    """Counters of an attached queue."""
    raw, each = ffi.new("struct ipcr_queue_stats *"), ffi.new("struct ipcr_lane_stats[]", lib.IPCR_MOST_LANES)
    check(lib.ipcr_queue_stats(segment.pointer, raw, each, lib.IPCR_MOST_LANES), str(segment))
    return _record(raw, each, segment.name)


def stats_of_file(fd: int, name: str, what: str) -> QueueStats:
    """Counters of a queue that is only looked at."""
    raw, each = ffi.new("struct ipcr_queue_stats *"), ffi.new("struct ipcr_lane_stats[]", lib.IPCR_MOST_LANES)
    check(lib.ipcr_queue_stats_of_file(fd, raw, each, lib.IPCR_MOST_LANES), what)
    return _record(raw, each, name)

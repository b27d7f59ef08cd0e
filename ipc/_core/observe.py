"""Looking at segments from outside: counters, listing, and removing what nobody uses.

Observers map a segment read-only and take no presence, so that looking keeps nothing alive.

Records are named tuples, and pathlib is imported where it is used, because both would weigh on `import ipc`.
"""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING, Any, NamedTuple

from ipc._core import multicast_stats, queue_stats
from ipc._core.arguments import segment_name
from ipc._core.multicast_stats import MulticastStats
from ipc._core.native import check, ffi, lib, raise_status
from ipc._core.participants import Participant
from ipc._core.queue_stats import QueueStats
from ipc._core.segment import KINDS, Segment, close_file, directory, open_file
from ipc.errors import IncompatibleFormatError, IpcError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["Entry", "Participant", "Stats", "gc", "ls", "rm", "stats", "stats_of"]

_STATES = {lib.IPCR_END_UNTAKEN: "untaken", lib.IPCR_END_TAKEN: "taken", lib.IPCR_END_CLOSED: "closed"}
_KIND_NAMES = {number: name for name, number in KINDS.items()}
_UNFINISHED = ".ipc-unfinished-"


class Stats(NamedTuple):
    """Counters of a segment since it was made.  depth = sent - received, always."""

    name: str | None
    kind: str
    capacity: int
    """Bytes of the ring."""
    sent: int
    """Messages published."""
    received: int
    """Messages taken, their space given back."""
    depth: int
    """Messages in the ring."""
    bytes: int
    """Payload bytes published."""
    bytes_received: int
    """Payload bytes taken."""
    blocked_seconds: float
    """Time that both sides together have slept, waiting for each other."""
    sender_blocked_seconds: float
    """Time that senders have slept, waiting for room."""
    receiver_blocked_seconds: float
    """Time that receivers have slept, waiting for messages."""
    high_water: int
    """Most bytes of the ring in use (headers included) that either side met when it looked."""
    participants: tuple[Participant, ...]
    """The sender, then the receiver."""
    attached: bool
    """Whether any process is attached."""
    creator_pid: int
    """Process that made the segment."""


class Entry(NamedTuple):
    """One named segment in IPC_DIR."""

    name: str
    path: str
    size: int
    """Bytes that the file takes."""
    modified: float
    """Seconds since the epoch at which it was made."""
    stats: Stats | QueueStats | MulticastStats | None
    """None when it is damaged or of another format version."""
    problem: str
    """Why there are no stats."""

    @property
    def kind(self) -> str:
        """ "ring", "channel", ... or "unknown"."""
        return self.stats.kind if self.stats is not None else "unknown"

    @property
    def attached(self) -> bool:
        """Whether any process is attached; an unattached one is what gc() removes."""
        return self.stats is not None and self.stats.attached


def _record(raw: Any, name: str | None) -> Stats:
    sender, receiver = raw.side[lib.IPCR_SENDER], raw.side[lib.IPCR_RECEIVER]
    parked = [side.parked_ns / 1e9 for side in (sender, receiver)]
    return Stats(
        name=name,
        kind=_KIND_NAMES.get(raw.kind, f"kind {raw.kind}"),
        capacity=raw.capacity,
        sent=sender.messages,
        received=receiver.messages,
        depth=sender.messages - receiver.messages,
        bytes=sender.bytes,
        bytes_received=receiver.bytes,
        blocked_seconds=sum(parked),
        sender_blocked_seconds=parked[0],
        receiver_blocked_seconds=parked[1],
        high_water=max(sender.high_water, receiver.high_water),
        participants=tuple(
            Participant(role, side.pid, _STATES.get(side.state, "corrupt"), bool(side.alive), bool(side.claimed))
            for role, side in (("sender", sender), ("receiver", receiver))
        ),
        attached=bool(raw.present),
        creator_pid=raw.creator_pid,
    )


def stats_of(segment: Segment) -> Stats:
    """Counters of an attached segment."""
    raw = ffi.new("struct ipcr_stats *")
    check(lib.ipcr_stats_of_segment(segment.pointer, raw), str(segment))
    return _record(raw, segment.name)


def _look(where: str, name: str) -> Stats | QueueStats | MulticastStats:
    fd = open_file(where, name)
    what = f"segment {name!r} in {where}"
    try:
        raw = ffi.new("struct ipcr_stats *")
        status = lib.ipcr_stats_of_file(fd, raw)
        if status == lib.IPCR_KIND:
            try:
                return queue_stats.stats_of_file(fd, name, what)
            except IncompatibleFormatError:
                return multicast_stats.stats_of_file(fd, name, what)
        check(status, what)
        return _record(raw, name)
    finally:
        close_file(fd)


def stats(name: str) -> Stats | QueueStats | MulticastStats:
    """Counters of the segment called `name`, without attaching to it; also while its users hang.

    Raises:
      SegmentNotFoundError: there is none.
      CorruptSegmentError, IncompatibleFormatError, UntrustedSegmentError: it is none that can be read.
    """
    return _look(directory(), segment_name(name))


def _is_segment(path: Path) -> bool:
    """By its magic number; other programs keep files there too, and what can't be read is theirs."""
    try:
        with path.open("rb") as file:
            return file.read(8) == b"\nIPCRGS1"
    except OSError as error:
        if error.errno in {errno.EMFILE, errno.ENFILE, errno.ENOMEM}:  # that says nothing about the file
            raise_status(lib.IPCR_ERRNO_BASE - error.errno, f"files in {path.parent}")
        return False


def _segments(where: str) -> Iterator[tuple[Path, os.stat_result]]:
    from pathlib import Path

    for path in sorted(Path(where).iterdir()):
        try:
            facts = path.lstat()
        except FileNotFoundError:
            continue
        if path.is_file() and not path.is_symlink() and facts.st_uid == os.geteuid() and _is_segment(path):
            yield path, facts


def ls() -> list[Entry]:
    """The named segments of this user in IPC_DIR, by name."""
    where = directory()
    entries = []
    for path, facts in _segments(where):
        counters, problem = None, ""
        try:
            counters = _look(where, path.name)
        except FileNotFoundError:
            continue  # gone since
        except IpcError as error:
            problem = str(error)
        entries.append(Entry(path.name, str(path), facts.st_blocks * 512, facts.st_mtime, counters, problem))
    return entries


def rm(name: str) -> None:
    """Remove a name, whoever is attached: they go on, and nobody new can come.

    Raises:
      SegmentNotFoundError: there is none.
      CorruptSegmentError, UntrustedSegmentError: the file is not ours to remove.
    """
    where = directory()
    status = lib.ipcr_name_remove(os.fsencode(where), segment_name(name).encode(), lib.IPCR_REMOVE_ALWAYS)
    check(status, f"segment {name!r} in {where}")


def gc() -> list[str]:
    """Remove every segment of this user that no process is attached to, read or unread; returns their names."""
    from pathlib import Path

    where = directory()
    candidates = [path.name for path, _ in _segments(where)]
    candidates += sorted(path.name for path in Path(where).glob(f"{_UNFINISHED}*"))
    return [
        name
        for name in candidates
        if lib.ipcr_name_remove(os.fsencode(where), name.encode(), lib.IPCR_REMOVE_ORPHAN) == lib.IPCR_OK
    ]

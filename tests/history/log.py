"""Logs that survive their writers: one append-only file per process, and one write(2) per step of an operation.

A record has 64 bytes and begins at a multiple of 64.  The kernel cuts a write short for SIGKILL only between pages:
what is left of a killed process is whole records, and at most one operation that was begun and not ended.  The moment
of the beginning is read before its record is written, that of the end after the call: the interval in the log contains
the call.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator, Sequence
from pathlib import Path
from time import monotonic_ns
from typing import Final

from tests.history.operations import History, Item, Op, Operation, Result

__all__ = ["Log", "last_answers", "read", "read_log"]

# phase, op, result, whether more records of the same step follow; process, handle, most or done; value, time, size;
# crc, deliveries, gap, sequence
_RECORD: Final = struct.Struct("<BBBB III QQQ IIQq")
_BEGIN, _SEEN, _END = 1, 2, 3
_NOTHING: Final = (Item(0),)

assert _RECORD.size == 64


class Log:
    """Where one process (or one thread) tells its operations, one at a time."""

    def __init__(self, path: Path, process: int) -> None:
        self.process = process
        self._handle = 0
        self._fd = os.open(path, os.O_CREAT | os.O_APPEND | os.O_WRONLY | os.O_CLOEXEC, 0o600)
        self._op = Op.SEND

    def new_handle(self) -> None:
        """What follows goes through another handle."""
        self._handle += 1

    def begin(self, op: Op, items: Sequence[Item] = (), *, most: int = 1) -> None:
        """Say what is about to be called: with what is to be sent, or how many messages may come."""
        self._op = op
        self._write(_BEGIN, Result.OPEN, items or _NOTHING, most)

    def seen(self, item: Item) -> None:
        """Tell a message that is lent, before it is taken."""
        self._write(_SEEN, Result.OPEN, (item,), 0)

    def end(self, result: Result, items: Sequence[Item] = (), *, done: int = 0) -> None:
        """Say what came of it: the messages that came, or how many were sent."""
        self._write(_END, result, items or _NOTHING, done)

    def _write(self, phase: int, result: Result, items: Sequence[Item], count: int) -> None:
        now, op, process, handle = monotonic_ns(), self._op, self.process, self._handle
        last = len(items) - 1
        os.write(
            self._fd,
            b"".join(
                [
                    _RECORD.pack(
                        phase,
                        op,
                        result,
                        i != last,
                        process,
                        handle,
                        count,
                        item.value,
                        now,
                        item.size,
                        item.crc,
                        item.deliveries,
                        item.gap,
                        item.sequence,
                    )
                    for i, item in enumerate(items)
                ]
            ),
        )

    def close(self) -> None:
        """Give the descriptor back."""
        os.close(self._fd)


def read_log(path: Path) -> Iterator[Operation]:
    """The operations of one log, in their order; a killed writer's last one stays open."""
    current: Operation | None = None
    begun = True
    for record in _RECORD.iter_unpack(path.read_bytes()):
        phase, op, result, more, process, handle, count, value, now, size, crc, deliveries, gap, sequence = record
        item = Item(value, size, crc, deliveries, gap, sequence)
        if phase == _BEGIN:
            if current is None or begun:
                assert current is None, f"{path}: an operation begins before the one before it has ended"
                current = Operation(process, Op(op), now, most=count, handle=handle)
            if value:
                current.items.append(item)
            begun = not more
            continue
        assert current is not None, f"{path}: an operation ends that did not begin"
        if phase == _SEEN:
            current.seen = now
            current.items.append(item)
            continue
        if op != Op.SEND and value and current.seen > now:
            current.items.append(item)
        if not more:
            current.returned, current.result, current.done = now, Result(result), count
            yield current
            current = None
    if current is not None and begun:  # else it was killed before the call
        yield current


def last_answers(path: Path, most: int = 16) -> list[tuple[int, Result]]:
    """What the newest calls gave, and when; while the log is being written."""
    if not path.exists():
        return []
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END) // _RECORD.size
        file.seek(max(0, size - most) * _RECORD.size)
        records = list(_RECORD.iter_unpack(file.read(min(size, most) * _RECORD.size)))
    return [(record[8], Result(record[2])) for record in records if record[0] == _END]


def read(directory: Path) -> History:
    """The history that the logs in a directory tell together."""
    history = History()
    for path in sorted(directory.glob("*.log")):
        history.add(read_log(path))
    return history

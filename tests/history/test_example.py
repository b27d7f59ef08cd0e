"""How a new structure is put under the checker: a queue of multiprocessing, whose users are killed, in under 50 lines.

For one of our own, change `Rules`, and the two calls between `begin` and `end`.  See docs/testing/history.md.
"""

from __future__ import annotations

import multiprocessing
import zlib
from pathlib import Path
from typing import Any

from tests.history.checker import check
from tests.history.log import Log, read
from tests.history.operations import Item, Op, Result
from tests.history.rules import QUEUE
from tests.process.support import Forked, until


def put_many(queue: Any, log: Log, count: int) -> None:
    for number in range(1, count + 1):
        value = log.process << 32 | number
        data = value.to_bytes(8, "little") + bytes(number % 100)
        log.begin(Op.SEND, [Item(value, len(data), zlib.crc32(data))])
        queue.put(data)
        log.end(Result.OK, done=1)


def get_many(queue: Any, log: Log) -> None:
    while True:
        log.begin(Op.RECV)
        data = queue.get()
        log.end(Result.OK, [Item(int.from_bytes(data[:8], "little"), len(data), zlib.crc32(data))])


def test_a_queue_of_multiprocessing_under_the_checker(tmp_path: Path) -> None:
    queue: Any = multiprocessing.SimpleQueue()
    director = Log(tmp_path / "director.log", 1)
    senders = [Forked(lambda n=n: put_many(queue, Log(tmp_path / f"{n}.log", n), 300)) for n in (2, 3)]  # type: ignore[misc]
    readers = {n: Forked(lambda n=n: get_many(queue, Log(tmp_path / f"{n}.log", n))) for n in (4, 5)}  # type: ignore[misc]
    assert [sender.join() for sender in senders] == [0, 0]
    until(queue.empty, "everything was taken")
    for number, reader in readers.items():
        director.begin(Op.KILL, [Item(number)])
        reader.kill()
        director.end(Result.OK)
    director.close()
    queue.close()
    report = check(read(tmp_path), QUEUE)
    assert report.accepted, report
    assert report.received + report.untold == 600

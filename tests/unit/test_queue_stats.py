"""Numbers of queues, from inside and outside, and what the command line shows of them."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import ipc
from ipc._core.queues import Empty, Full

LONG = 30.0
PAGE = 4096

Reliable = ipc.ReliableQueue[Any]


def command(*words: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "ipc", *words],
        check=True,
        capture_output=True,
        text=True,
        env={**os.environ, "COLUMNS": "200"},
    )
    return done.stdout


def test_the_stats_of_a_queue_count_what_happens(name: str) -> None:
    with ipc.Queue[Any](10, name=name, capacity="64KiB") as q:
        empty = q.stats()
        assert (empty.sent, empty.received, empty.depth, empty.bytes, empty.lanes) == (0, 0, 0, 0, ())
        assert (empty.name, empty.kind, empty.capacity, empty.maxsize) == (name, "queue", 65536, 10)
        assert (empty.state, empty.attached, empty.creator_pid) == ("open", True, os.getpid())
        for _ in range(5):
            q.put(b"x" * 100)
        for _ in range(3):
            q.get()
        stats = q.stats()
        assert (stats.sent, stats.received, stats.depth) == (5, 3, 2)
        assert (stats.acknowledged, stats.ready, stats.leased, stats.redelivered) == (3, 2, 0, 0)
        assert (stats.bytes, stats.bytes_received) == (500, 300)
        q.shutdown()
        assert q.stats().state == "draining"
        q.shutdown(immediate=True)
        assert (q.stats().state, q.stats().dead_lettered) == ("shut down", 2)


def test_the_stats_of_a_queue_tell_the_most_that_waited_in_a_lane(name: str) -> None:
    with ipc.Queue[Any](name=name) as q, ipc.Queue.attach(name) as other:
        assert q.stats().high_water == 0
        for _ in range(3):  # what waited before is not counted twice
            q.put_many([1, 2])
            q.put(3)
            q.get_many()
        assert q.stats().high_water == 3
        other.put_many(range(7))
        q.put(4)
        stats = q.stats()
        assert [lane.high_water for lane in stats.lanes] == [3, 7]
        assert stats.high_water == 7
        while not q.empty():
            q.get()
        assert q.stats().high_water == 7


def test_no_more_than_a_lane_has_room_for_has_waited_in_it() -> None:
    """Where what the consumers have taken last stands in slots that are used again."""
    with ipc.Queue[Any](10_000, capacity=PAGE) as q:
        slots = 0
        with contextlib.suppress(Full):
            while True:
                q.put(b"", False)
                slots += 1
        assert slots > 10
        for taken in range(1, slots):
            for _ in range(taken):
                q.get()
            q.put_many([b""] * taken)
            assert q.stats().high_water <= slots


def test_the_most_that_waited_in_a_lane_is_remembered_by_its_next_producer(name: str) -> None:
    with ipc.Queue[Any](name=name, lanes=1) as q:
        with ipc.Queue.attach(name) as first:
            first.put_many(range(5))
        for _ in range(5):
            q.get()
        q.put("of another")
        assert q.stats().high_water == 5
        q.get()


@pytest.mark.parametrize("limit", ["maxsize", "capacity"])
def test_the_stats_of_a_queue_tell_how_long_producers_have_slept(limit: str) -> None:
    with ipc.Queue[Any](*([2] if limit == "maxsize" else [10_000]), capacity=PAGE, spin=0) as q:
        fills = [b"x", b"x"] if limit == "maxsize" else [bytes(PAGE)]
        for message in fills:
            q.put(message)
        with pytest.raises(Full):
            q.put(b"one more", False)
        assert q.stats().blocked_seconds == 0
        with pytest.raises(Full):
            q.put(b"one more", timeout=0.2)
        first = q.stats().blocked_seconds
        assert first > 0
        with pytest.raises(Full):
            q.put_many([b"one more"], timeout=0.2)
        stats = q.stats()
        assert stats.blocked_seconds > first
        assert stats.lanes[0].blocked_seconds == stats.blocked_seconds


def test_who_slept_before_its_first_message_is_counted_with_it(name: str) -> None:
    with ipc.Queue[Any](1, name=name, spin=0) as q, ipc.Queue.attach(name, spin=0) as late:
        q.put("in the way")
        with pytest.raises(Full):
            late.put("waits", timeout=0.2)
        assert q.stats().blocked_seconds == 0
        q.get()
        late.put("has a lane")
        assert q.stats().blocked_seconds > 0
        q.get()


def test_waiting_for_messages_and_receipts_is_not_being_blocked() -> None:
    with Reliable(spin=0) as q:
        receipt = q.put(1)
        with pytest.raises(ipc.TimeoutError):
            receipt.wait(0.02)
        q.get().ack()
        with pytest.raises(Empty):
            q.get(0.02)
        assert q.stats().blocked_seconds == 0


def test_the_stats_of_a_reliable_queue_tell_every_state(name: str) -> None:
    with Reliable(name, max_deliveries=2) as q:
        q.put_many(range(6))
        for _ in range(2):
            q.get().nack()  # 0, which is kept then
        q.get().ack()  # 1
        q.get().nack()  # 2
        held = q.get()  # 2 again
        stats = q.stats()
        assert (stats.sent, stats.delivered, stats.redelivered) == (6, 5, 2)
        assert (stats.acknowledged, stats.dead_lettered, stats.received) == (1, 0, 1)
        assert (stats.ready, stats.leased, stats.kept, stats.depth) == (3, 1, 1, 5)
        (lane,) = stats.lanes
        assert (lane.producer_pid, lane.alive, lane.blocking_pid) == (os.getpid(), True, 0)
        held.ack()
        assert q.purge() == 4
        stats = q.stats()
        assert (stats.acknowledged, stats.dead_lettered, stats.received, stats.depth) == (2, 4, 6, 0)


def test_every_lane_has_its_numbers_and_the_sums_are_the_queue_s(name: str) -> None:
    with Reliable(name) as first, Reliable.attach(name) as second:
        first.put_many(range(5))
        second.put_many(range(3))
        first.ack_many(second.get_many(4))
        stats = first.stats()
        assert [lane.sent for lane in stats.lanes] == [5, 3]
        for field in ("sent", "delivered", "redelivered", "acknowledged", "dead_lettered", "depth", "ready", "leased",
                      "kept", "bytes", "bytes_received"):  # fmt: skip
            assert sum(getattr(lane, field) for lane in stats.lanes) == getattr(stats, field)
        assert stats.sent == stats.acknowledged + stats.dead_lettered + stats.depth
        first.purge()


def test_whoever_takes_part_is_listed(name: str) -> None:
    with ipc.Queue[Any](name=name) as q:
        assert q.stats().participants == ()
        with ipc.Queue.attach(name) as producer:
            producer.put(1)
            q.get()
            participants = q.stats().participants
            assert [(one.role, one.pid, one.alive) for one in participants] == [
                ("producer", os.getpid(), True),
                ("consumer", os.getpid(), True),
            ]
        assert [(one.role, one.alive) for one in q.stats().participants] == [("producer", False), ("consumer", True)]


def test_stats_from_outside_are_those_from_inside(name: str) -> None:
    with Reliable(name) as q:
        q.put_many([b"x" * 50] * 7)
        q.get_many(3)[0].ack()
        inside, outside = q.stats(), ipc.stats(name)
        assert isinstance(outside, ipc.QueueStats)
        ages = [lane._replace(blocking_seconds=0.0) for lane in inside.lanes]
        assert [lane._replace(blocking_seconds=0.0) for lane in outside.lanes] == ages
        assert outside._replace(lanes=()) == inside._replace(lanes=())
        q.purge()
    assert ipc.stats(name).depth == 2  # what was held went back
    assert not ipc.stats(name).attached
    ipc.rm(name)


def test_looking_keeps_nothing_alive_and_changes_nothing(name: str) -> None:
    with ipc.Queue[Any](name=name) as q:
        q.put(1)
        before = q.stats()
        for _ in range(3):
            ipc.stats(name)
            ipc.ls()
        assert q.stats() == before
        q.get()
    with pytest.raises(ipc.SegmentNotFoundError):
        ipc.stats(name)


@pytest.mark.parametrize("damage", ["short", "garbage"])
def test_a_damaged_queue_is_an_entry_with_a_problem(ipc_dir: Path, name: str, damage: str) -> None:
    with ipc.Queue[Any](name=name) as q:
        q.put(1)
    path = ipc_dir / name
    content = bytearray(path.read_bytes())
    if damage == "short":
        path.write_bytes(content[:5000])
    else:
        content[16:24] = b"\xff" * 8
        path.write_bytes(content)
    (entry,) = ipc.ls()
    assert (entry.name, entry.stats, entry.kind) == (name, None, "unknown")
    assert entry.problem
    assert entry.problem in " ".join(command("ls").split())


def test_ls_lists_queues_beside_everything_else(ipc_dir: Path) -> None:
    with (
        ipc.Queue[Any](name="a-queue") as q,
        Reliable("b-reliable"),
        ipc.Ring.create("c-ring"),
    ):
        q.put(1)
        assert [(entry.name, entry.kind, entry.attached) for entry in ipc.ls()] == [
            ("a-queue", "queue", True),
            ("b-reliable", "reliable queue", True),
            ("c-ring", "ring", True),
        ]
        assert ipc.ls()[0].stats == q.stats()
        q.get()


def test_the_command_lists_queues_with_their_users(ipc_dir: Path) -> None:
    with Reliable("work") as q:
        q.put_many(range(3))
        q.get().ack()
        heading, line = [line for line in command("ls").splitlines() if line.startswith(("name", "work"))]
        assert heading.split()[:2] == ["name", "kind"]
        assert "reliable queue" in line
        assert str(os.getpid()) in line
        numbers = line.replace("reliable queue", "").split()
        assert "3" in numbers
        q.purge()


def test_the_command_prints_queues_as_json(ipc_dir: Path) -> None:
    with Reliable("work") as q:
        q.put("x")
        q.get()
        (entry,) = json.loads(command("ls", "--json"))
        assert (entry["name"], entry["kind"], entry["attached"]) == ("work", "reliable queue", True)
        stats = entry["stats"]
        assert (stats["sent"], stats["leased"], stats["depth"], stats["state"]) == (1, 1, 1, "open")
        assert stats["participants"][0]["role"] == "producer"
        (lane,) = stats["lanes"]
        assert (lane["blocking_pid"], lane["depth"]) == (os.getpid(), 1)
        q.purge()
    assert command("gc").split() == ["work"]

"""How much a queue takes, and what is said when there is too little: memory, lanes.  Never a signal, never later."""

from __future__ import annotations

import fcntl
import os
import re
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import ipc

Wrap = Callable[..., list[str]]

LONG = 30.0
PAGE = 4096


@pytest.fixture
def in_small_tmpfs(small_tmpfs: Wrap) -> Callable[[str], Wrap]:
    return lambda size: lambda *command: small_tmpfs(size, *command)


HEAD = """
import os, resource, sys, ipc
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
def said(what):
    try:
        return what()
    except Exception as error:
        return f"{type(error).__name__}: {error}"
"""

BOTH = pytest.mark.parametrize("kind", ["Queue", "ReliableQueue"])


# --- memory -------------------------------------------------------------------------------------------------------


@BOTH
def test_an_idle_queue_takes_a_few_pages_and_each_producer_one_lane(name: str, kind: str) -> None:
    def taken() -> int:
        return next(entry.size for entry in ipc.ls() if entry.name == name)

    with getattr(ipc, kind)(name=name) as q:
        idle = taken()
        assert idle <= 128 * 1024
        q.put(b"x")
        one = taken()
        assert 256 * 1024 <= one - idle <= 512 * 1024
        with getattr(ipc, kind).attach(name) as other:
            assert taken() == one
            other.put(b"x")
            assert taken() - one == one - idle
            q.purge()


@BOTH
def test_no_room_for_the_queue_is_an_error_when_it_is_made(
    python: Callable[..., Any], in_small_tmpfs: Callable[[str], Wrap], kind: str
) -> None:
    code = HEAD + f"print(said(lambda: ipc.{kind}(name='q')))\nprint(os.listdir(os.environ['IPC_DIR']))"
    refused, left = python(code, wrap=in_small_tmpfs("16k")).stdout.splitlines()
    assert re.match(r"OutOfSharedMemoryError: .* needs \d+ bytes, and 16384 bytes is free in /", refused)
    assert left == "[]"


@BOTH
def test_no_room_for_a_lane_is_an_error_at_the_first_put_and_the_queue_works_on(
    python: Callable[..., Any], in_small_tmpfs: Callable[[str], Wrap], kind: str
) -> None:
    code = (
        HEAD
        + f"""
q = ipc.{kind}(name="q")
filler = open(os.path.join(os.environ["IPC_DIR"], "filler"), "wb", buffering=0)
os.posix_fallocate(filler.fileno(), 0, 700_000)
for put in (lambda: q.put(b"x"), lambda: q.put("x", timeout=0), lambda: q.put_many([b"x"])):
    print(said(put))
print(q.qsize(), said(lambda: q.get(timeout=0)))
os.ftruncate(filler.fileno(), 0)
q.put(b"there is room now")
got = q.get(timeout=30)
print(got if isinstance(got, bytes) else got.message)
"""
    )
    *refused, empty, got = python(code, wrap=in_small_tmpfs("1m")).stdout.splitlines()
    for line in refused:
        assert re.match(
            r"OutOfSharedMemoryError: .* a lane of capacity 262144 of .*'q' needs \d+ bytes, and \d+ bytes", line
        )
        assert "smaller capacity=, or remount it with a larger size=" in line
    assert len(refused) == 3
    assert empty.startswith("0 Empty: ")
    assert got == "b'there is room now'"


@BOTH
def test_room_that_goes_after_it_was_measured_is_still_an_error_and_no_signal(
    python: Callable[..., Any], in_small_tmpfs: Callable[[str], Wrap], kind: str
) -> None:
    code = (
        HEAD
        + f"""
from ipc._core import footprint
q = ipc.{kind}(name="q")
footprint.require = lambda *_: None
filler = open(os.path.join(os.environ["IPC_DIR"], "filler"), "wb", buffering=0)
os.posix_fallocate(filler.fileno(), 0, 700_000)
print(said(lambda: q.put(b"x")))
os.ftruncate(filler.fileno(), 0)
q.put(b"x")
print(q.qsize())
"""
    )
    refused, depth = python(code, wrap=in_small_tmpfs("1m")).stdout.splitlines()
    assert refused.startswith("OutOfSharedMemoryError: ")
    assert "No space left on device" in refused
    assert depth == "1"


def test_a_producer_that_gets_no_second_lane_makes_do_with_its_first(
    python: Callable[..., Any], in_small_tmpfs: Callable[[str], Wrap]
) -> None:
    code = (
        HEAD
        + """
q = ipc.ReliableQueue("q", ordered=False)
q.put(b"x" * 200_000)
filler = open(os.path.join(os.environ["IPC_DIR"], "filler"), "wb", buffering=0)
free = os.statvfs(os.environ["IPC_DIR"])
os.posix_fallocate(filler.fileno(), 0, free.f_bavail * free.f_frsize - 4096)
print(said(lambda: q.put(b"y" * 200_000, timeout=0)))
q.get().ack()
q.put(b"y" * 200_000, timeout=30)
print(q.get().message[:1], len(q.stats().lanes))
"""
    )
    refused, got = python(code, wrap=in_small_tmpfs("1m")).stdout.splitlines()
    assert refused.startswith("Full: ")
    assert got == "b'y' 1"


def test_in_a_small_container_no_lane_is_taken_that_would_get_it_killed(
    python: Callable[..., Any], memory_group: Any, ipc_dir: Any
) -> None:
    memory_group.limit(96 * 2**20)
    code = (
        HEAD
        + """
for name in (None, "q"):
    with ipc.Queue(name=name, capacity="128MiB") as q:
        print(said(lambda: q.put(b"x")))
    with ipc.Queue(name=name, capacity="8MiB") as q:
        q.put(bytes(8 * 2**20))
        print(len(q.get()))
print(os.listdir(os.environ["IPC_DIR"]))
"""
    )
    lines = python(code, wrap=memory_group.wrapped).stdout.splitlines()
    for refused, fits in (lines[0:2], lines[2:4]):
        assert re.match(r"OutOfSharedMemoryError: .*a lane of capacity 134217728 .*memory limit", refused)
        assert fits == str(8 * 2**20)
    assert lines[4] == "[]"


# --- consumers ----------------------------------------------------------------------------------------------------

HOLDER_BYTES = (1 << 40) + 8192  # IPCR_LOCK_HOLDER(0), native/queue_format.h
MOST_HOLDERS = 1023


@contextmanager
def all_numbers_taken(name: str) -> Iterator[None]:
    """As by so many processes that take messages: what says so is a lock of each number's byte."""
    with Path("/dev/shm", name).open("r+b") as file:
        lock = struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, HOLDER_BYTES, MOST_HOLDERS, 0)
        fcntl.fcntl(file, fcntl.F_OFD_SETLK, lock)
        yield


@BOTH
def test_one_consumer_too_many_is_told_so_by_every_call_that_needs_a_number(name: str, kind: str) -> None:
    with getattr(ipc, kind)(name=name) as queue:
        queue.put(b"message")
        calls: list[Callable[[], object]] = [lambda: queue.get(timeout=0), lambda: queue.get_many(timeout=0)]
        calls.append(queue.task_done if kind == "Queue" else queue.dead_letters)
        with all_numbers_taken(name):
            for call in calls:
                with pytest.raises(ipc.TooManyParticipantsError, match=f"{MOST_HOLDERS} processes"):
                    call()
        got = queue.get(timeout=0)
        if kind == "Queue":
            assert got == b"message"
        else:
            got.ack()


# --- lanes --------------------------------------------------------------------------------------------------------


@BOTH
@pytest.mark.parametrize("lanes", [1, 3])
def test_more_producers_than_lanes_is_an_error_that_names_the_option(name: str, kind: str, lanes: int) -> None:
    cls = getattr(ipc, kind)
    handles = [cls(name=name, lanes=lanes), *(cls.attach(name) for _ in range(lanes))]
    try:
        for number, handle in enumerate(handles[:lanes]):
            handle.put(number)
        for put in (
            lambda: handles[lanes].put("one too many"),
            lambda: handles[lanes].put(b"one too many", timeout=0),
            lambda: handles[lanes].put_many(["one too many"]),
        ):
            with pytest.raises(ipc.TooManyParticipantsError, match=rf"all {lanes} lanes are in use.*larger lanes="):
                put()
        assert handles[lanes].stats().depth == lanes  # and it may take
        handles[0].close()
        handles[lanes].put("instead of the one that left")
        assert handles[lanes].stats().depth == lanes + 1
        handles[lanes].purge()
    finally:
        for handle in handles:
            handle.close()


@BOTH
def test_lanes_are_used_again_and_what_is_left_in_them_stays_in_order(name: str, kind: str) -> None:
    cls = getattr(ipc, kind)
    with cls(name=name, lanes=2) as q:
        for number in range(100):
            with cls.attach(name) as producer:
                producer.put(number)
        assert len(q.stats().lanes) <= 2
        got = []
        for _ in range(100):
            one = q.get(timeout=LONG)
            if kind == "ReliableQueue":
                one.ack()
                one = one.message
            got.append(one)
        assert got == list(range(100))


@BOTH
def test_consumers_come_and_go_freely(name: str, kind: str) -> None:
    cls = getattr(ipc, kind)
    with cls(name=name, lanes=1) as q:
        for number in range(300):
            q.put(number)
            with cls.attach(name) as consumer:
                one = consumer.get(timeout=LONG)
                if kind == "ReliableQueue":
                    one.ack()
        assert q.stats().acknowledged == 300

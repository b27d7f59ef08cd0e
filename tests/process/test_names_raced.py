"""Many processes create, attach, close and clean up one name at once, and agree on what it leads to."""

from __future__ import annotations

import fcntl
import os
import random
import signal
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any

import pytest

import ipc
from tests.process.support import context, pipe, receive, running, until

PROCESSES = 8
NAME = "raced"
LOCK_PRESENCE_BYTE, LOCK_NAME_BYTE = 2**40, 2**40 + 1  # native/format.h

rounds = pytest.mark.parametrize(
    "rounds",
    [200, pytest.param(1000, marks=pytest.mark.slow), pytest.param(5000, marks=pytest.mark.stress)],
)


def inode_of(end: Any) -> int:
    return os.fstat(end._attached().fd).st_ino


def create_or_attach(first: str) -> list[Any]:
    """Both ends, or one of them, whoever makes the channel."""
    while True:
        try:
            if first == "create":
                return list(ipc.channel(NAME, capacity=4096))
            return [ipc.Receiver.attach(NAME)]
        except ipc.SegmentExistsError:
            first = "attach"
        except ipc.SegmentNotFoundError:
            first = "create"


def contend(told: Any, seed: int) -> None:
    """In each round: get hold of the name, say which file it is, and let go (and unlink it first) when told."""
    random_ = random.Random(seed)
    while told.recv() == "go":
        ends = create_or_attach(random_.choice(["create", "attach"]))
        told.send({inode_of(end) for end in ends})
        if told.recv() == "unlink":
            with suppress(ipc.SegmentNotFoundError):  # another one was faster
                ends[0].unlink()
        random_.shuffle(ends)
        for end in ends:
            end.close()
        told.send("closed")


@contextmanager
def contenders(role: Callable[..., None], count: int = PROCESSES, *, throttled: bool = False) -> Iterator[list[Any]]:
    """Processes with a pipe to each; `throttled`: one after the other is stopped for a moment, wherever it is."""
    started: list[Any] = []
    ours: list[Any] = []
    with ExitStack() as stack:
        for seed in range(count):
            here, there = stack.enter_context(pipe())
            process = context("fork").Process(target=role, args=(there, seed))  # type: ignore[attr-defined]
            process.start()
            stack.enter_context(running(process))
            ours.append(here)
            started.append(process)
        with throttle([process.pid for process in started]) if throttled else nullcontext():
            yield ours
        for here in ours:
            here.send("stop")
        for process in started:
            process.join()
            assert process.exitcode == 0


@contextmanager
def throttle(pids: list[int]) -> Iterator[None]:
    """A scheduler that takes the processor away from somebody all the time."""
    over = threading.Event()

    def stop_one_after_the_other() -> None:
        random_ = random.Random(1)
        while not over.is_set():
            pid = random_.choice(pids)
            os.kill(pid, signal.SIGSTOP)
            over.wait(random_.uniform(0, 0.005))
            os.kill(pid, signal.SIGCONT)
            over.wait(random_.uniform(0, 0.002))

    thread = threading.Thread(target=stop_one_after_the_other)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


@rounds
@pytest.mark.parametrize("throttled", [False, True])
def test_all_who_create_or_attach_at_once_agree_and_the_last_close_takes_the_name(
    throttled: bool, rounds: int, ipc_dir: Path
) -> None:
    path = ipc_dir / NAME
    made: set[int] = set()
    with contenders(contend, throttled=throttled) as processes:
        for round_ in range(rounds):
            if round_ % 3 == 0:
                leave_orphan()
            for process in processes:
                process.send("go")
            held = set().union(*(receive(process) for process in processes))
            assert held == {path.stat().st_ino}, f"round {round_}: split"
            made |= held
            unread = ipc.stats(NAME).depth
            unlinkers = round_ // 3 % 4  # none in a quarter of the rounds, else one to three of them at once
            for number, process in enumerate(processes):
                process.send("unlink" if number < unlinkers else "close")
            assert {receive(process) for process in processes} == {"closed"}
            assert path.exists() == bool(unread and not unlinkers)
            if path.exists():  # the orphan was adopted
                ipc.rm(NAME)
        assert list(ipc_dir.iterdir()) == []
    print(f"{rounds} rounds of {PROCESSES} processes, {len(made)} inodes: 0 splits, 0 stale unlinks")


def leave_orphan() -> None:
    tx, rx = ipc.channel(NAME, capacity=4096)
    tx.send(b"unread")
    tx.close()
    rx.close()


def create_once(told: Any, _: int) -> None:
    while told.recv() == "go":
        try:
            ends = ipc.channel(NAME, capacity=4096)
        except ipc.SegmentExistsError:
            told.send(None)
            told.recv()
            continue
        told.send(inode_of(ends[0]))
        told.recv()
        for end in ends:
            end.close()


@contextmanager
def name_byte_held(path: Path) -> Iterator[None]:
    """Be an unlinker that has the lock and does not go on."""
    fd = os.open(path, os.O_RDWR)
    try:
        lock = struct.pack("hhqqi", fcntl.F_WRLCK, os.SEEK_SET, LOCK_NAME_BYTE, 1, 0)
        fcntl.fcntl(fd, fcntl.F_OFD_SETLK, lock)
        yield
    finally:
        os.close(fd)


@contextmanager
def being_removed(path: Path) -> Iterator[Callable[[], None]]:
    """Be whoever removes an orphan, and does not go on until the function is called."""
    fd = os.open(path, os.O_RDWR)
    try:
        for byte in (LOCK_NAME_BYTE, LOCK_PRESENCE_BYTE):
            fcntl.fcntl(fd, fcntl.F_OFD_SETLK, struct.pack("hhqqi", fcntl.F_WRLCK, os.SEEK_SET, byte, 1, 0))

        def let_go() -> None:
            for byte in (LOCK_NAME_BYTE, LOCK_PRESENCE_BYTE):
                fcntl.fcntl(fd, fcntl.F_OFD_SETLK, struct.pack("hhqqi", fcntl.F_UNLCK, os.SEEK_SET, byte, 1, 0))

        yield let_go
    finally:
        os.close(fd)


def test_attach_waits_for_a_remover_that_was_stopped_half_way(ipc_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    leave_orphan()
    with being_removed(ipc_dir / NAME) as let_go:
        naps: list[float] = []

        def nap(seconds: float) -> None:
            naps.append(seconds)
            if len(naps) == 1500:  # tries: many more than fit into a scheduler's time slice
                let_go()

        monkeypatch.setattr(time, "sleep", nap)
        with ipc.Receiver.attach(NAME) as rx:
            assert rx.recv() == b"unread"
        assert len(naps) == 1500
        assert all(seconds > 0 for seconds in naps)


def test_attach_and_create_say_that_somebody_else_does_not_go_on(ipc_dir: Path) -> None:
    leave_orphan()
    with being_removed(ipc_dir / NAME):
        for attempt in (lambda: ipc.Receiver.attach(NAME), lambda: ipc.channel(NAME), lambda: ipc.rm(NAME)):
            with pytest.raises(ipc.BusyError, match="does not go on"):
                attempt()
    ipc.rm(NAME)


def has_open(pid: int, path: Path) -> bool:
    for fd in Path(f"/proc/{pid}/fd").iterdir():
        try:
            if fd.readlink() == path:
                return True
        except OSError:
            pass
    return False


@pytest.mark.parametrize("creators", [2, 4])
def test_two_creators_that_both_found_an_orphan_do_not_remove_each_others_segment(creators: int, ipc_dir: Path) -> None:
    path = ipc_dir / NAME
    with contenders(report_pid_then_create, creators) as processes:
        pids = [receive(process) for process in processes]
        for _ in range(20):
            leave_orphan()
            orphan = path.stat().st_ino
            with name_byte_held(path):
                for process in processes:
                    process.send("go")
                # each has the orphan open, and waits for the lock: what it does next, it does on old knowledge
                until(lambda: all(has_open(pid, path) for pid in pids), "all of them have found the orphan")
                assert path.stat().st_ino == orphan
            made = [inode for inode in (receive(process) for process in processes) if inode is not None]
            assert made == [path.stat().st_ino]
            for process in processes:
                process.send("close")
            until(lambda: not path.exists(), "the winner has closed")


def report_pid_then_create(told: Any, seed: int) -> None:
    told.send(os.getpid())
    create_once(told, seed)


def make_orphans(told: Any, seed: int) -> None:
    random_ = random.Random(seed)
    while told.recv() == "go":
        try:
            tx, rx = ipc.channel(NAME, capacity=4096)
        except ipc.SegmentExistsError:
            told.send("exists")
            continue
        tx.send(b"unread")
        here = inode_of(tx) == Path(os.environ["IPC_DIR"], NAME).stat().st_ino
        if random_.random() < 0.5:
            rx.recv()
        tx.close()
        rx.close()
        told.send("made" if here else "removed while in use")


def attach_and_check(told: Any, _: int) -> None:
    path = Path(os.environ["IPC_DIR"], NAME)
    while told.recv() == "go":
        try:
            rx = ipc.Receiver.attach(NAME)
        except ipc.SegmentNotFoundError:
            told.send("nothing there")
            continue
        try:
            same = path.stat().st_ino == inode_of(rx)
        except FileNotFoundError:
            same = False
        rx.close()
        told.send("attached" if same else "removed while in use")


def collect_garbage(told: Any, _: int) -> None:
    while told.recv() == "go":
        told.send("collected" if ipc.gc() else "nothing to collect")


def by_turns(told: Any, seed: int) -> None:
    (make_orphans, attach_and_check, collect_garbage)[seed % 3](told, seed)


@rounds
def test_gc_removes_no_segment_that_somebody_is_attached_to_and_all_that_are_left(rounds: int, ipc_dir: Path) -> None:
    seen: Counter[str] = Counter()
    with contenders(by_turns, 6) as processes:
        for _ in range(rounds):
            for process in processes:
                process.send("go")
            answers = [receive(process) for process in processes]
            assert "removed while in use" not in answers
            seen.update(answers)
        assert seen.keys() >= {"made", "attached", "collected"}
    assert set(ipc.gc()) <= {NAME}
    assert list(ipc_dir.iterdir()) == []
    print(f"{rounds} rounds: {dict(seen)}, 0 live ones removed, all dead ones removed")


@rounds
def test_gc_removes_every_orphan_and_spares_every_segment_in_use(rounds: int, ipc_dir: Path) -> None:
    kept = ipc.channel("kept", capacity=4096)
    for round_ in range(rounds // 10):
        names = [f"dead-{round_}-{number}" for number in range(10)]
        process = context("fork").Process(target=die_with, args=(names,))  # type: ignore[attr-defined]
        process.start()
        process.join()
        process.close()
        assert sorted(ipc.gc()) == sorted(names)
        assert [path.name for path in ipc_dir.iterdir()] == ["kept"]
    for end in kept:
        end.close()
    print(f"{rounds // 10 * 10} orphans, all removed; {rounds // 10} times spared what is in use")


def die_with(names: list[str]) -> None:
    ends = [ipc.channel(name, capacity=4096) for name in names]
    os._exit(len(ends) and 9)

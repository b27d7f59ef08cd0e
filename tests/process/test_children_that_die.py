"""A child that dies, also before it has used what it was given: the other side is told, and nobody waits for ever."""

from __future__ import annotations

import importlib
import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest

import ipc
from tests.process import roles
from tests.process.support import (
    DEATH_NOTICED_SECONDS,
    METHODS,
    Forked,
    context,
    is_gone,
    is_waiting,
    pipe,
    receive,
    running,
    until,
)

method = pytest.mark.parametrize("method", METHODS)

DEADLY = """
import multiprocessing, os
if multiprocessing.parent_process() is not None:
    os._exit(9)
def work(*ends):
    os._exit(9)
"""


@pytest.mark.parametrize("way", ["first line", "import", "killed"])
@method
def test_recv_from_a_worker_that_never_got_to_work_is_peer_died(
    method: str, way: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    outbox, rx = ipc.channel()
    with rx, running(start_to_die(method, way, outbox, tmp_path, monkeypatch)) as worker:
        with pytest.raises(ipc.PeerDiedError, match=r"process (\d+ at|that got) the other end died") as told:
            rx.recv()
        assert "process 0" not in str(told.value)
        worker.join()
        assert worker.exitcode == (-9 if way == "killed" else 9)


@pytest.mark.parametrize("way", ["first line", "import", "killed"])
@method
def test_send_to_a_worker_that_never_got_to_work_is_peer_died(
    method: str, way: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tx, inbox = ipc.channel(capacity=4096)
    with tx, running(start_to_die(method, way, inbox, tmp_path, monkeypatch)):
        with pytest.raises(ipc.PeerDiedError):
            roles.send_until_it_fails(tx)
        with pytest.raises(ipc.PeerDiedError):
            tx.flush()


def start_to_die(method: str, way: str, end: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ipc.Worker:
    if way == "first line":
        return ipc.spawn(roles.leave, 9, end, context=context(method))
    if way == "import":
        module = f"deadly_{tmp_path.name}"
        (tmp_path / f"{module}.py").write_text(DEADLY, encoding="utf-8")
        monkeypatch.syspath_prepend(tmp_path)
        return ipc.spawn(importlib.import_module(module).work, end, context=context(method))
    worker = ipc.spawn(roles.pause, end, context=context(method))
    worker.kill()
    return worker


@method
def test_the_worker_of_a_blocked_parent_dies_before_its_first_use_and_the_parent_is_told_in_time(method: str) -> None:
    outbox, rx = ipc.channel()
    with (
        pipe() as (ours, theirs),
        rx,
        running(ipc.spawn(roles.wait_for, theirs, outbox, context=context(method))) as worker,
    ):
        pid = receive(ours)

        def execution() -> None:
            until(lambda: is_waiting(os.getppid()), "the parent waits")
            os.kill(pid, signal.SIGKILL)
            # the worker is no child of ours: its files are closed at the latest when it is a zombie
            until(lambda: is_gone(pid), "the worker is gone")
            os.write(writing, str(time.monotonic()).encode())

        reading, writing = os.pipe()
        with Forked(execution):
            with pytest.raises(ipc.PeerDiedError, match=f"process {pid} "):
                rx.recv()
            noticed = time.monotonic()
            died = float(os.read(reading, 64))
        os.close(reading)
        os.close(writing)
        assert noticed - died < DEATH_NOTICED_SECONDS
        worker.join()


@pytest.mark.parametrize("way", ["first line", "killed"])
@method
def test_a_plain_process_that_dies_before_its_first_use_leaves_an_end_that_nobody_can_take(
    method: str, way: str
) -> None:
    outbox, rx = ipc.channel()
    tx, inbox = ipc.channel(capacity=4096)
    with pipe() as (ours, theirs):
        target = roles.leave if way == "first line" else roles.wait_for
        args = (9 if way == "first line" else theirs, outbox, inbox)
        process = context(method).Process(target=target, args=args)  # type: ignore[attr-defined]
        process.start()
        with rx, tx, running(process):
            outbox.close()
            inbox.close()
            if way == "killed":
                process.kill()
            with pytest.raises(ipc.EndOfChannel):
                rx.recv()
            with pytest.raises(ipc.EndOfChannel):
                roles.send_until_it_fails(tx)
        ours.close()


@method
def test_a_plain_process_that_dies_in_use_of_an_end_is_peer_died(method: str) -> None:
    outbox, rx = ipc.channel()
    tx, inbox = ipc.channel(capacity=4096)
    with pipe() as (ours, theirs):
        process = context(method).Process(target=use_both_then_wait, args=(outbox, inbox, theirs))  # type: ignore[attr-defined]
        process.start()
        with rx, tx, running(process):
            outbox.close()
            inbox.close()
            tx.send(b"for its first recv")
            receive(ours)
            process.kill()
            assert rx.recv() == b"sent"
            with pytest.raises(ipc.PeerDiedError, match=f"process {process.pid} "):
                rx.recv()
            with pytest.raises(ipc.PeerDiedError):
                roles.send_until_it_fails(tx)


def use_both_then_wait(outbox: Any, inbox: Any, told: Any) -> None:
    outbox.send(b"sent")
    roles.take_then_wait(inbox, told)


def test_the_named_end_of_a_plain_process_that_died_before_its_first_use_is_awaited(name: str) -> None:
    outbox, rx = ipc.channel(name)
    process = context("fork").Process(target=roles.leave, args=(9, outbox))  # type: ignore[attr-defined]
    process.start()
    with rx, running(process):
        outbox.close()
        process.join()
        with pytest.raises(ipc.TimeoutError):
            rx.recv(timeout=0.3)
        with ipc.Sender.attach(name) as successor:
            successor.send(b"came later")
            assert rx.recv() == b"came later"


@method
def test_everything_that_a_worker_sent_before_it_was_killed_arrives(method: str) -> None:
    outbox, rx = ipc.channel()
    with (
        pipe() as (ours, theirs),
        rx,
        running(ipc.spawn(send_then_wait, outbox, theirs, context=context(method))) as worker,
    ):
        receive(ours)
        worker.kill()
        worker.join()
        assert worker.exitcode == -9
        assert worker.exception is None
        assert [rx.recv() for _ in range(1000)] == list(range(1000))
        with pytest.raises(ipc.PeerDiedError):
            rx.recv()
        with pytest.raises(ipc.PeerDiedError):  # again, however often it is asked
            rx.recv()
        with pytest.raises(ipc.PeerDiedError):
            polled_for_ever(rx)


def send_then_wait(outbox: Any, told: Any) -> None:
    roles.send_and_return(outbox, 1000)
    roles.wait_for(told)


def polled_for_ever(rx: Any) -> None:
    while rx.try_recv() is None:
        pass


def test_killing_one_of_two_workers_does_not_disturb_the_other() -> None:
    ways = [(ipc.channel(), ipc.channel()) for _ in range(2)]
    workers = [ipc.spawn(roles.echo, there[1], back[0], context="fork") for there, back in ways]
    (first_tx, first_rx), (second_tx, second_rx) = ((there[0], back[1]) for there, back in ways)
    with first_tx, first_rx, second_tx, second_rx, running(workers[0]), running(workers[1]):
        first_tx.send(1)
        second_tx.send(2)
        assert (first_rx.recv(), second_rx.recv()) == (1, 2)
        workers[0].kill()
        with pytest.raises(ipc.PeerDiedError):
            first_rx.recv()
        for number in range(100):
            second_tx.send(number)
            assert second_rx.recv() == number
        second_tx.close()
        workers[1].join()
        assert workers[1].exitcode == 0

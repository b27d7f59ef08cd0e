"""terminate() and kill(): a worker that is asked to finish hands on what it had been sent."""

from __future__ import annotations

import os
import signal
from typing import Any

import pytest

import ipc
from tests.process import roles
from tests.process.support import METHODS, context, is_waiting, pipe, receive, running, until

pytestmark = pytest.mark.timeout(30)  # a worker that does not end is waited for

method = pytest.mark.parametrize("method", METHODS)


@method
def test_a_terminated_worker_works_off_what_is_in_the_ring_and_ends_cleanly(method: str) -> None:
    tx, inbox = ipc.channel()
    with (
        pipe() as (ours, theirs),
        tx,
        running(ipc.spawn(roles.collect_slowly, inbox, theirs, context=context(method))) as worker,
    ):
        for number in range(5):
            tx.send(number)
        assert receive(ours) == 0
        worker.terminate()
        ours.send("go on")
        assert receive(ours) == 1  # it runs, so it has had the signal
        tx.send("after the signal")
        for expected in (2, 3, 4, "end"):
            ours.send("go on")
            assert receive(ours) == expected
        worker.join()
        assert (worker.exitcode, worker.exception) == (0, None)
        with pytest.raises(ipc.EndOfChannel):
            tx.send("to nobody")


@method
def test_a_worker_that_waits_for_messages_ends_at_once_when_terminated(method: str) -> None:
    tx, inbox = ipc.channel()
    outbox, rx = ipc.channel()
    with tx, rx, running(ipc.spawn(roles.echo, inbox, outbox, context=context(method))) as worker:
        tx.send("taken")
        assert rx.recv() == "taken"
        until(lambda: is_waiting(worker.pid), "the worker waits")
        worker.terminate()
        with pytest.raises(ipc.EndOfChannel):
            rx.recv()
        worker.join()
        assert (worker.exitcode, worker.exception) == (0, None)


def test_the_end_of_a_terminated_worker_may_leave_its_function_as_an_exception() -> None:
    tx, inbox = ipc.channel()
    with pipe() as (ours, theirs), tx, running(ipc.spawn(recv_for_ever, inbox, theirs)) as worker:
        receive(ours)
        worker.terminate()
        worker.join()
        assert (worker.exitcode, worker.exception) == (0, None)


def recv_for_ever(inbox: Any, told: Any) -> None:
    told.send("ready")
    while True:
        inbox.recv()


def test_the_end_of_a_channel_that_nobody_asked_for_is_an_exception_of_the_worker() -> None:
    tx, inbox = ipc.channel()
    with pipe() as (ours, theirs), running(ipc.spawn(recv_for_ever, inbox, theirs)) as worker:
        receive(ours)
        tx.send("one")
        tx.close()
        worker.join()
        assert worker.exitcode == 1
        assert isinstance(worker.exception, ipc.EndOfChannel)


def test_a_terminated_worker_gives_its_answers_before_it_ends() -> None:
    tx, inbox = ipc.channel()
    outbox, rx = ipc.channel()
    with (
        pipe() as (ours, theirs),
        tx,
        rx,
        running(ipc.spawn(roles.collect_until_the_end, inbox, outbox, theirs)) as worker,
    ):
        for number in range(1000):
            tx.send(number)
        receive(ours)
        worker.terminate()
        ours.send("go")
        assert rx.recv() == list(range(1000))
        with pytest.raises(ipc.EndOfChannel):
            rx.recv()
        worker.join()
        assert worker.exitcode == 0


def test_all_receivers_of_a_terminated_worker_work_off_what_they_have() -> None:
    ways = [ipc.channel() for _ in range(3)]
    outbox, rx = ipc.channel()
    with pipe() as (ours, theirs), rx:
        with running(ipc.spawn(collect_all, theirs, outbox, *(receiver for _, receiver in ways))) as worker:
            for sender, _ in ways:
                sender.send("first")
                sender.send("second")
            receive(ours)
            worker.terminate()
            ours.send("go")
            assert rx.recv() == [["first", "second"]] * 3
            worker.join()
            assert worker.exitcode == 0
        for sender, _ in ways:
            sender.close()


def collect_all(told: Any, outbox: Any, *inboxes: Any) -> None:
    told.send("ready")
    told.recv()
    outbox.send([list(inbox) for inbox in inboxes])


@method
def test_a_terminated_worker_without_receivers_ends_by_the_signal(method: str) -> None:
    outbox, rx = ipc.channel()
    with (
        pipe() as (ours, theirs),
        rx,
        running(ipc.spawn(roles.take_then_wait, outbox, theirs, context=context(method))) as worker,
    ):
        receive(ours)
        worker.terminate()
        worker.join()
        assert worker.exitcode == -signal.SIGTERM
        assert rx.recv() == b"first"
        with pytest.raises(ipc.PeerDiedError):
            rx.recv()


def test_the_second_terminate_ends_a_worker_that_does_not_finish() -> None:
    tx, inbox = ipc.channel()
    with pipe() as (ours, theirs), tx, running(ipc.spawn(roles.wait_for, theirs, inbox)) as worker:
        receive(ours)
        worker.terminate()
        until(lambda: not pending(worker.pid, signal.SIGTERM), "the first signal has arrived")
        assert worker.is_alive()
        worker.terminate()
        worker.join()
        assert worker.exitcode == -signal.SIGTERM


def pending(pid: int, number: int) -> bool:
    with open(f"/proc/{pid}/status", encoding="utf-8") as lines:  # noqa: PTH123
        masks = [int(line.split()[1], 16) for line in lines if line.startswith(("SigPnd", "ShdPnd"))]
    return any(mask >> (number - 1) & 1 for mask in masks)


@method
def test_kill_is_sigkill(method: str) -> None:
    tx, inbox = ipc.channel(capacity=4096)
    with (
        pipe() as (ours, theirs),
        tx,
        running(ipc.spawn(roles.wait_for, theirs, inbox, context=context(method))) as worker,
    ):
        receive(ours)
        worker.kill()
        worker.join()
        assert (worker.exitcode, worker.exception) == (-signal.SIGKILL, None)
        with pytest.raises(ipc.PeerDiedError):
            roles.send_until_it_fails(tx)


def test_a_stopped_worker_can_be_killed() -> None:
    outbox, rx = ipc.channel()
    with pipe() as (ours, theirs), rx, running(ipc.spawn(roles.take_then_wait, outbox, theirs)) as worker:
        receive(ours)
        os.kill(worker.pid, signal.SIGSTOP)
        worker.kill()
        worker.join()
        assert worker.exitcode == -signal.SIGKILL
        assert rx.recv() == b"first"
        with pytest.raises(ipc.PeerDiedError):
            rx.recv()

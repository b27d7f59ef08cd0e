"""Calls that block, in a process of their own: the other side's death, its close, and Ctrl-C end each of them."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest

import ipc
from tests.process import roles
from tests.process.support import (
    CTRL_C_SECONDS,
    DEATH_NOTICED_SECONDS,
    is_waiting,
    pipe,
    receive,
    running,
    until,
)

BLOCKING = [*roles.SENDING, *roles.RECEIVING]


def now_and_then(calls: list[str]) -> list[Any]:
    """All of them; those that are much like others only in the slow tests."""
    return [pytest.param(call, marks=pytest.mark.slow) if call in roles.MORE else call for call in calls]


every_call = pytest.mark.parametrize("call", now_and_then(BLOCKING))
every_call_always = pytest.mark.parametrize("call", BLOCKING)
polling_as_well = pytest.mark.parametrize("call", now_and_then([*BLOCKING, *roles.POLLING]))


class Blocked:
    """Two workers with an end each: one blocked in a call, the other its peer."""

    def __init__(self, worker: ipc.Worker, told: Any, peer: ipc.Worker, peer_told: Any) -> None:
        self.worker = worker
        self.told = told
        self.peer = peer
        self.peer_told = peer_told

    def outcome(self) -> tuple[str, float]:
        """What the call ended with, and when."""
        kind, moment = receive(self.told)
        return kind, moment

    def is_still_blocked(self) -> bool:
        """Nothing came of it so far."""
        return self.worker.is_alive() and not self.told.poll(0)


@contextmanager
def blocked_in(call: str, peer_role: Any = roles.wait_for, prepare: Any = None) -> Iterator[Blocked]:
    """Both workers run, and the one is asleep in `call`."""
    if call in roles.ON_CHANNELS:
        ends: tuple[Any, Any] = ipc.channel(capacity=4096)
    else:
        ring = ipc.Ring.create(capacity=4096)
        ends = ring.writer(), ring.reader()
        del ring
    mine, theirs = ends if call in roles.SENDING or call == "try_send" else reversed(ends)
    with ExitStack() as stack:
        told, told_there = stack.enter_context(pipe())
        peer_told, peer_told_there = stack.enter_context(pipe())
        peer = stack.enter_context(running(ipc.spawn(peer_role, peer_told_there, theirs, context="fork")))
        worker = stack.enter_context(running(ipc.spawn(roles.block, call, mine, told_there, prepare, context="fork")))
        receive(peer_told)
        receive(told)
        if call not in roles.POLLING:
            until(lambda: is_waiting(worker.pid), f"{call} is blocked")
        yield Blocked(worker, told, peer, peer_told)


@polling_as_well
def test_the_death_of_the_other_side_ends_the_call_in_time(call: str) -> None:
    with blocked_in(call) as blocked:
        blocked.peer.kill()
        blocked.peer.join()
        closed_by_the_kernel = time.monotonic()
        kind, moment = blocked.outcome()
        assert kind == "PeerDiedError"
        assert moment - closed_by_the_kernel < DEATH_NOTICED_SECONDS


@polling_as_well
def test_a_clean_close_of_the_other_side_ends_the_call(call: str) -> None:
    with blocked_in(call, close_when_told) as blocked:
        blocked.peer_told.send("close")
        assert blocked.outcome()[0] == ("StopIteration" if call == "iteration" else "EndOfChannel")


def close_when_told(told: Any, end: Any) -> None:
    told.send(os.getpid())
    told.recv()
    end.close()
    told.recv()


@every_call
def test_the_normal_end_of_the_other_process_is_a_clean_close(call: str) -> None:
    with blocked_in(call) as blocked:
        blocked.peer_told.send("return")
        assert blocked.outcome()[0] == ("StopIteration" if call == "iteration" else "EndOfChannel")


@every_call
def test_an_exception_in_the_other_worker_is_a_death(call: str) -> None:
    with blocked_in(call, fail_when_told) as blocked:
        blocked.peer_told.send("fail")
        assert blocked.outcome()[0] == "PeerDiedError"


def fail_when_told(told: Any, _: Any) -> None:
    told.send(os.getpid())
    told.recv()
    raise ZeroDivisionError


OTHERWISE: dict[str, Any] = {"main thread": None, "another thread": roles.deliver_signals_to_another_thread}


@every_call_always
@pytest.mark.parametrize("receives", OTHERWISE)
def test_ctrl_c_ends_the_call_whichever_thread_receives_it_and_the_end_works_on(call: str, receives: str) -> None:
    with blocked_in(call, roles.serve, OTHERWISE[receives]) as blocked:
        pressed = time.monotonic()
        os.kill(blocked.worker.pid, signal.SIGINT)
        kind, moment = blocked.outcome()
        assert kind == "KeyboardInterrupt"
        assert moment - pressed < CTRL_C_SECONDS
        blocked.told.send("again")
        until(lambda: is_waiting(blocked.worker.pid), f"{call} is blocked again")
        assert blocked.is_still_blocked()
        blocked.peer_told.send("serve")
        assert blocked.outcome()[0] == "returned"


@every_call
def test_neither_a_slow_nor_a_stopped_peer_ends_the_call(call: str) -> None:
    with blocked_in(call) as blocked:
        os.kill(blocked.peer.pid, signal.SIGSTOP)
        assert not blocked.told.poll(0.7)  # several looks at the peer
        assert blocked.is_still_blocked()
        os.kill(blocked.peer.pid, signal.SIGCONT)
        assert not blocked.told.poll(0.3)
        assert blocked.is_still_blocked()


def test_after_ctrl_c_the_end_goes_on_working() -> None:
    tx, inbox = ipc.channel()
    with pipe() as (ours, theirs), tx, running(ipc.spawn(recv_twice, inbox, theirs, context="fork")) as worker:
        pid = receive(ours)
        until(lambda: is_waiting(pid), "recv is blocked")
        os.kill(pid, signal.SIGINT)
        assert receive(ours) == "interrupted"
        until(lambda: is_waiting(pid), "recv is blocked again")
        for number in range(10):
            tx.send(number)
        assert receive(ours) == list(range(10))
        worker.join()
        assert worker.exitcode == 0


def recv_twice(inbox: Any, told: Any) -> None:
    told.send(os.getpid())
    try:
        inbox.recv()
    except KeyboardInterrupt:
        told.send("interrupted")
    told.send([inbox.recv() for _ in range(10)])


def test_after_ctrl_c_in_send_nothing_of_the_message_was_sent() -> None:
    outbox, rx = ipc.channel(capacity=4096)
    with pipe() as (ours, theirs), rx, running(ipc.spawn(send_twice, outbox, theirs, context="fork")) as worker:
        pid = receive(ours)
        until(lambda: is_waiting(pid), "send is blocked")
        os.kill(pid, signal.SIGINT)
        assert receive(ours) == "interrupted"
        got = list(rx)
        assert got == [bytes(64)] * (len(got) - 1) + [b"after"]
        worker.join()
        assert worker.exitcode == 0


def send_twice(outbox: Any, told: Any) -> None:
    roles.fill(outbox)
    told.send(os.getpid())
    try:
        outbox.send(b"interrupted" * 100)
    except KeyboardInterrupt:
        told.send("interrupted")
    outbox.send(b"after")


def test_a_blocked_call_takes_up_its_work_when_the_other_side_does() -> None:
    for call, role in (("send", receive_when_told), ("recv", send_when_told)):
        with blocked_in(call, role) as blocked:
            blocked.peer_told.send("go")
            assert blocked.outcome()[0] == "returned"


def receive_when_told(told: Any, end: Any) -> None:
    told.send(os.getpid())
    told.recv()
    for _ in range(40):
        end.recv()
    told.recv()


def send_when_told(told: Any, end: Any) -> None:
    told.send(os.getpid())
    told.recv()
    end.send(b"woken")
    told.recv()


def test_both_sides_may_be_killed_while_they_wait_for_each_other() -> None:
    for call in ("send", "recv", "flush"):
        with blocked_in(call) as blocked:
            blocked.peer.kill()
            blocked.worker.kill()
            blocked.peer.join()
            blocked.worker.join()


def test_a_new_receiver_of_a_named_channel_frees_the_sender_that_waits_for_the_dead_one(name: str) -> None:
    tx, inbox = ipc.channel(name, capacity=4096)
    with pipe() as (ours, theirs):
        with running(ipc.spawn(roles.block, "send", tx, theirs, context="fork")) as worker:
            receive(ours)
            until(lambda: is_waiting(worker.pid), "send is blocked")
            with inbox:  # untaken so far: that nobody reads yet is no death
                assert not ours.poll(0.3)
                assert inbox.recv() == bytes(64)
                while not ours.poll(0):
                    inbox.try_recv()
                assert receive(ours)[0] == "returned"
        ipc.rm(name)

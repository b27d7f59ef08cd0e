"""Timeouts are never early, and signals that arrive all the time end no wait."""

from __future__ import annotations

import signal
import time
from typing import Any

import pytest

import ipc
from tests.process import roles
from tests.process.support import CTRL_C_SECONDS, pipe, receive, running

TIMED = {
    "send": lambda end, timeout: end.send(bytes(64), timeout=timeout),
    "flush": lambda end, timeout: end.flush(timeout),
    "write": lambda end, timeout: end.write(bytes(64), timeout),
    "write_many": lambda end, timeout: end.write_many([bytes(64)], timeout),
    "claim": lambda end, timeout: end.claim(64, timeout).__enter__(),
    "recv": lambda end, timeout: end.recv(timeout),
    "read": lambda end, timeout: end.read(timeout),
    "read_many": lambda end, timeout: end.read_many(timeout=timeout),
    "peek": lambda end, timeout: end.peek(timeout).__enter__(),
    "send_many": lambda end, timeout: end.send_many([bytes(64)] * 3, timeout=timeout),
    "send in parts": lambda end, timeout: end.send(bytes(20_000), timeout=timeout),
    "claim on a channel": lambda end, timeout: end.claim(64, timeout=timeout).__enter__(),
    "recv_many": lambda end, timeout: end.recv_many(timeout=timeout),
    "recv_envelope": lambda end, timeout: end.recv_envelope(timeout),
    "view": lambda end, timeout: end.view(timeout).__enter__(),
}
STORM_PER_SECOND = 1000
LATE_SECONDS = CTRL_C_SECONDS  # in all: what is promised about signals, times five


def pair_for(call: str) -> tuple[Any, Any]:
    """The end that makes the call, and the other one."""
    if call in roles.ON_CHANNELS:
        ends: tuple[Any, Any] = ipc.channel(capacity=4096)
    else:
        ring = ipc.Ring.create(capacity=4096)
        ends = ring.writer(), ring.reader()
    return ends if call in roles.SENDING else (ends[1], ends[0])


def measure(call: str, end: Any, told: Any, timeouts: list[float], storm: bool) -> None:
    """Report how long each timeout took, and how many signals came meanwhile."""
    if call in roles.SENDING:
        roles.fill(end)
    signals = 0

    def count(*_: object) -> None:
        nonlocal signals
        signals += 1

    if storm:
        signal.signal(signal.SIGALRM, count)
        signal.setitimer(signal.ITIMER_REAL, 1 / STORM_PER_SECOND, 1 / STORM_PER_SECOND)
    taken = []
    for timeout in timeouts:
        before = time.monotonic()
        with pytest.raises(ipc.TimeoutError):
            TIMED[call](end, timeout)
        taken.append(time.monotonic() - before)
    told.send((taken, signals))


@pytest.mark.parametrize("storm", [False, True], ids=["quiet", "signal storm"])
@pytest.mark.parametrize("call", TIMED)
def test_a_timeout_is_never_early(call: str, storm: bool) -> None:
    timeouts = [0.0, 0.01, 0.1, 0.25, 0.5]
    mine, theirs = pair_for(call)
    with (
        pipe() as (ours, told),
        pipe() as (peer, peer_told),
        running(ipc.spawn(roles.wait_for, peer_told, theirs, context="fork")),
        running(ipc.spawn(measure, call, mine, told, timeouts, storm, context="fork")) as worker,
    ):
        receive(peer)
        taken, signals = receive(ours)
        worker.join()
        assert worker.exitcode == 0
    for timeout, seconds in zip(timeouts, taken, strict=True):
        assert seconds >= timeout
    late = sum(taken) - sum(timeouts)
    print(f"{call}: {late * 1e3:.1f} ms late in {sum(timeouts):.2f} s, {signals} signals")
    assert late <= LATE_SECONDS
    if storm:
        assert signals >= 10


@pytest.mark.parametrize("call", ["send", "recv", "flush", "read_many", "write_many", "claim", "peek"])
def test_a_storm_of_signals_does_not_end_a_wait_that_has_no_timeout(call: str) -> None:
    mine, theirs = pair_for(call)
    with (
        pipe() as (ours, told),
        pipe() as (peer, peer_told),
        running(ipc.spawn(roles.serve, peer_told, theirs, context="fork")),
        running(ipc.spawn(wait_in_a_storm, call, mine, told, context="fork")) as worker,
    ):
        receive(peer)
        assert receive(ours) == "100 signals"
        assert worker.is_alive()
        assert not ours.poll(0)
        peer.send("serve")
        assert receive(ours) == "returned"
        worker.join()
        assert worker.exitcode == 0


def wait_in_a_storm(call: str, end: Any, told: Any) -> None:
    if call in roles.SENDING:
        roles.fill(end)
    signals = 0

    def count(*_: object) -> None:
        nonlocal signals
        signals += 1
        if signals == 100:
            told.send("100 signals")

    signal.signal(signal.SIGALRM, count)
    signal.setitimer(signal.ITIMER_REAL, 1 / STORM_PER_SECOND, 1 / STORM_PER_SECOND)
    roles.CALLS[call](end)
    signal.setitimer(signal.ITIMER_REAL, 0)
    told.send("returned")


def test_a_signal_handler_that_raises_ends_the_wait_with_its_exception() -> None:
    tx, inbox = ipc.channel()
    with pipe() as (ours, told), tx, running(ipc.spawn(recv_with_an_alarm, inbox, told, context="fork")) as worker:
        assert receive(ours) == "ZeroDivisionError"
        tx.send("still here")
        assert receive(ours) == "still here"
        worker.join()
        assert worker.exitcode == 0


def recv_with_an_alarm(inbox: Any, told: Any) -> None:
    def handler(*_: object) -> None:
        raise ZeroDivisionError

    signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, 0.05)
    try:
        inbox.recv()
    except ZeroDivisionError as error:
        told.send(type(error).__name__)
    told.send(inbox.recv())


def test_a_signal_handler_may_use_another_channel_while_this_one_waits() -> None:
    tx, inbox = ipc.channel()
    outbox, rx = ipc.channel()
    with tx, rx, running(ipc.spawn(answer_from_the_handler, inbox, outbox, context="fork")) as worker:
        assert rx.recv() == "from the handler"
        tx.send("go on")
        assert rx.recv() == "go on"
        worker.join()
        assert worker.exitcode == 0


def answer_from_the_handler(inbox: Any, outbox: Any) -> None:
    signal.signal(signal.SIGALRM, lambda *_: outbox.send("from the handler"))
    signal.setitimer(signal.ITIMER_REAL, 0.05)
    outbox.send(inbox.recv())

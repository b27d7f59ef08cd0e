"""Signals in calls of queues that sleep: Ctrl-C ends each of them at once, nothing is lost by it, and the same call
made again does what it should.  What a handler may interrupt between two sleeps: tests/unit/test_interrupted_queues.py.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

import ipc
from tests.process.support import CTRL_C_SECONDS, Forked, is_waiting, pipe, receive, until

LONG = 30.0
BIG = b"x" * 3000


@dataclass(frozen=True)
class Sleep:
    """A call that sleeps, and how it is brought to its end later; `make` gives what both have, before the fork."""

    make: Callable[[], Any]
    prepare: Callable[[Any], Any]
    """In the child, before the call."""
    call: Callable[[Any, Any], Any]
    release: Callable[[Any], Any]
    """In the parent."""
    result: Any
    left: list[Any]
    """What is in the queue at the end."""


def reliable() -> ipc.ReliableQueue[Any]:
    return ipc.ReliableQueue(capacity=4096, lease=None)


def end_all(q: Any) -> None:
    """Acknowledge whatever is there."""
    with q.get(LONG):
        pass


SLEEPS = {
    "put": Sleep(
        lambda: ipc.Queue(1), lambda q: q.put(1), lambda q, _: q.put(2), lambda q: q.get(timeout=LONG), None, [2]
    ),
    "put in time": Sleep(
        lambda: ipc.Queue(1),
        lambda q: q.put(1),
        lambda q, _: q.put(2, timeout=LONG),
        lambda q: q.get(timeout=LONG),
        None,
        [2],
    ),
    "put of bytes": Sleep(
        lambda: ipc.Queue(9, capacity=4096),
        lambda q: q.put(BIG),
        lambda q, _: q.put(BIG),
        lambda q: q.get(timeout=LONG),
        None,
        [BIG],
    ),
    "put_many": Sleep(
        lambda: ipc.Queue(1), lambda q: q.put(1), lambda q, _: q.put_many([2]), lambda q: q.get(timeout=LONG), 1, [2]
    ),
    "get": Sleep(ipc.Queue, lambda _: None, lambda q, _: q.get(), lambda q: q.put(1), 1, []),
    "get in time": Sleep(
        ipc.Queue, lambda _: None, lambda q, _: q.get(timeout=LONG), lambda q: q.put(1), 1, []
    ),
    "get_many": Sleep(ipc.Queue, lambda _: None, lambda q, _: q.get_many(), lambda q: q.put(1), [1], []),
    "join": Sleep(
        ipc.Queue,
        lambda q: (q.put(1), q.get()),
        lambda q, _: q.join(),
        lambda q: q.task_done(),
        None,
        [],
    ),
    "put of a reliable queue": Sleep(
        reliable, lambda q: q.put(BIG), lambda q, _: q.put(BIG) and None, end_all, None, [BIG]
    ),
    "get of a reliable queue": Sleep(
        reliable, lambda _: None, lambda q, _: end_all(q), lambda q: q.put(1), None, []
    ),
    "wait for a receipt": Sleep(reliable, lambda q: q.put(1), lambda _, receipt: receipt.wait(), end_all, True, []),
}  # fmt: skip


def rest(q: Any) -> list[Any]:
    """What is there now."""
    left = []
    while q.stats().ready:
        got = q.get(timeout=0)
        left.append(getattr(got, "message", got))
    return left


@pytest.mark.parametrize("sleep", SLEEPS.values(), ids=SLEEPS)
def test_ctrl_c_ends_a_call_that_sleeps_and_the_same_call_works_afterwards(sleep: Sleep) -> None:
    with sleep.make() as q, pipe() as (ours, told):

        def child() -> None:
            signal.signal(signal.SIGINT, signal.default_int_handler)
            prepared = sleep.prepare(q)
            for _ in range(2):
                told.send("calling")
                with pytest.raises(KeyboardInterrupt):
                    sleep.call(q, prepared)
                told.send("interrupted")
            told.send("calling")
            told.send(sleep.call(q, prepared))

        with Forked(child) as process:
            for _ in range(2):
                assert receive(ours) == "calling"
                until(lambda: is_waiting(process.pid), "the call sleeps")
                before = time.monotonic()
                os.kill(process.pid, signal.SIGINT)
                assert receive(ours) == "interrupted"
                assert time.monotonic() - before <= CTRL_C_SECONDS
            assert receive(ours) == "calling"
            sleep.release(q)
            assert receive(ours) == sleep.result
            assert process.join() == 0
        assert rest(q) == sleep.left


@pytest.mark.parametrize("sleep", ["get", "get_many", "put", "join", "wait for a receipt", "get of a reliable queue"])
def test_a_storm_of_signals_ends_no_call(sleep: str) -> None:
    chosen = SLEEPS[sleep]
    with chosen.make() as q, pipe() as (ours, told):

        def child() -> None:
            prepared, signals = chosen.prepare(q), 0

            def count(*_: object) -> None:
                nonlocal signals
                signals += 1
                if signals == 100:
                    told.send("100 signals")

            signal.signal(signal.SIGALRM, count)
            signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
            result = chosen.call(q, prepared)
            signal.setitimer(signal.ITIMER_REAL, 0)
            told.send(result)

        with Forked(child) as process:
            assert receive(ours) == "100 signals"
            assert not ours.poll(0)
            chosen.release(q)
            assert receive(ours) == chosen.result
            assert process.join() == 0
        assert rest(q) == chosen.left

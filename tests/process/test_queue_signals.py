"""Signals in calls of queues that sleep: Ctrl-C ends each of them, whichever thread receives it, nothing is lost by it,
and the same call made again does what it should.  What a handler may interrupt between two sleeps:
tests/unit/test_interrupted_queues.py.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

import ipc
from tests.process.roles import deliver_signals_to_another_thread
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


def keep_a_feeder_busy(q: Any) -> None:
    """The second one doesn't fit, and goes by a thread."""
    q.put(BIG)
    q.put(BIG)


def close_with_a_busy_feeder(q: Any) -> None:
    keep_a_feeder_busy(q)
    q.close()


def finish_two(q: Any) -> None:
    for _ in range(2):
        assert q.get(timeout=LONG) == BIG
        q.task_done()


def hold_all_that_may_be_held(q: Any) -> None:
    """Until a third message is there."""
    q.put(1)
    q.put(2)
    held = q.get()

    def let_go() -> None:
        until(lambda: q.stats().ready == 2, "the third is there")
        held.ack()

    threading.Thread(target=let_go, daemon=True).start()


def get_and_end(q: Any) -> Any:
    with q.get() as delivery:
        return delivery.message


def get_many_and_end(q: Any) -> list[Any]:
    deliveries = q.get_many()
    q.ack_many(deliveries)
    return [delivery.message for delivery in deliveries]


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
    "put_many of bytes": Sleep(
        lambda: ipc.Queue(9, capacity=4096),
        lambda q: q.put(BIG),
        lambda q, _: q.put_many([BIG], timeout=LONG),
        lambda q: q.get(timeout=LONG),
        1,
        [BIG],
    ),
    "get": Sleep(ipc.Queue, lambda _: None, lambda q, _: q.get(), lambda q: q.put(1), 1, []),
    "get in time": Sleep(
        ipc.Queue, lambda _: None, lambda q, _: q.get(timeout=LONG), lambda q: q.put(1), 1, []
    ),
    "get_many": Sleep(ipc.Queue, lambda _: None, lambda q, _: q.get_many(), lambda q: q.put(1), [1], []),
    "get_many in time": Sleep(
        ipc.Queue, lambda _: None, lambda q, _: q.get_many(timeout=LONG), lambda q: q.put(1), [1], []
    ),
    "join": Sleep(
        ipc.Queue,
        lambda q: (q.put(1), q.get()),
        lambda q, _: q.join(),
        lambda q: q.task_done(),
        None,
        [],
    ),
    "join behind a feeder": Sleep(
        lambda: ipc.Queue(capacity=4096), keep_a_feeder_busy, lambda q, _: q.join(), finish_two, None, []
    ),
    "join_thread": Sleep(
        lambda: ipc.Queue(capacity=4096), close_with_a_busy_feeder, lambda q, _: q.join_thread(), finish_two, None, []
    ),
    "put of a reliable queue": Sleep(
        reliable, lambda q: q.put(BIG), lambda q, _: q.put(BIG) and None, end_all, None, [BIG]
    ),
    "put in time of a reliable queue": Sleep(
        reliable, lambda q: q.put(BIG), lambda q, _: q.put(BIG, timeout=LONG) and None, end_all, None, [BIG]
    ),
    "put_many of a reliable queue": Sleep(
        reliable, lambda q: q.put(BIG), lambda q, _: len(q.put_many([BIG])), end_all, 1, [BIG]
    ),
    "get of a reliable queue": Sleep(
        reliable, lambda _: None, lambda q, _: end_all(q), lambda q: q.put(1), None, []
    ),
    "get of a reliable queue without end": Sleep(
        reliable, lambda _: None, lambda q, _: get_and_end(q), lambda q: q.put(1), 1, []
    ),
    "get_many of a reliable queue": Sleep(
        reliable, lambda _: None, lambda q, _: get_many_and_end(q), lambda q: q.put(1), [1], []
    ),
    "get of a reliable queue whose handle holds enough": Sleep(
        lambda: ipc.ReliableQueue(lease=None, prefetch=1),
        hold_all_that_may_be_held,
        lambda q, _: get_and_end(q),
        lambda q: q.put(3),
        2,
        [3],
    ),
    "wait for a receipt": Sleep(reliable, lambda q: q.put(1), lambda _, receipt: receipt.wait(), end_all, True, []),
    "wait in time for a receipt": Sleep(
        reliable, lambda q: q.put(1), lambda _, receipt: receipt.wait(LONG), end_all, True, []
    ),
}  # fmt: skip


def rest(q: Any) -> list[Any]:
    """What is there now."""
    left = []
    while q.stats().ready:
        got = q.get(timeout=0)
        left.append(getattr(got, "message", got))
    return left


OTHERWISE: dict[str, Any] = {"main thread": None, "another thread": deliver_signals_to_another_thread}


@pytest.mark.parametrize("receives", OTHERWISE)
@pytest.mark.parametrize("call", SLEEPS)
def test_ctrl_c_ends_a_call_that_sleeps_whichever_thread_receives_it_and_the_same_call_works_afterwards(
    call: str, receives: str
) -> None:
    sleep, arrange = SLEEPS[call], OTHERWISE[receives]
    took = []
    with sleep.make() as q, pipe() as (ours, told):

        def child() -> None:
            signal.signal(signal.SIGINT, signal.default_int_handler)
            if arrange is not None:
                arrange()
            prepared = sleep.prepare(q)
            for _ in range(2):
                try:
                    told.send("calling")
                    told.send(sleep.call(q, prepared))
                except KeyboardInterrupt:
                    told.send(time.monotonic())
            told.send("calling")
            told.send(sleep.call(q, prepared))

        with Forked(child) as process:
            for _ in range(2):
                assert receive(ours) == "calling"
                until(lambda: is_waiting(process.pid), "the call sleeps")
                pressed = time.monotonic()
                os.kill(process.pid, signal.SIGINT)
                interrupted = receive(ours)
                assert isinstance(interrupted, float), f"returned {interrupted!r}"
                took.append(interrupted - pressed)
            print(f"{call}: {' and '.join(f'{seconds * 1e3:.1f} ms' for seconds in took)} after Ctrl-C, by {receives}")
            assert max(took) <= CTRL_C_SECONDS
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

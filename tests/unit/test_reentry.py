"""A signal's handler that uses the queue which it interrupted, in the same thread, never hangs: its call works, or says
that it can't and has done nothing."""

from __future__ import annotations

import contextlib
import queue as standard
import threading
from collections.abc import Callable
from typing import Any

import pytest

import ipc
from ipc._core import delivery, feeder, hands, latch, plain_queue
from tests.unit import test_interrupted_loans as moments

PAGE = 4096


@pytest.fixture(autouse=True)
def everywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """The moments are those of our modules, and of what they may wait with: in Python, with a lock of its own."""
    modules = (delivery, feeder, hands, latch, plain_queue, threading)
    monkeypatch.setattr(moments, "FILES", {module.__file__ for module in modules})


def at_each_moment(
    prepare: Callable[[], object],
    call: Callable[[], object],
    handler: Callable[[], object],
    after: Callable[[], object],
) -> None:
    """The handler at the first moment of `call`, at its second, and so on, until `call` has no more of them."""
    moment, reached = 0, True
    while reached:
        moment += 1
        prepare()
        with moments.interrupted_at(moment, handler) as seen:
            call()
        reached = seen[0] >= moment
        after()
    assert moment > 2, "the test looks at the wrong files"


# --- what is waited for -----------------------------------------------------------------------------------------------


def test_a_latch_that_is_open_lets_everybody_through_and_stays_so() -> None:
    one = latch.Latch()
    through = threading.Semaphore(0)

    def go_through() -> None:
        one.wait()
        through.release()

    waiting = [threading.Thread(target=go_through) for _ in range(8)]
    for thread in waiting:
        thread.start()
    assert not through.acquire(timeout=0.02)
    one.open()
    for thread in waiting:
        thread.join()
    one.open()
    one.wait()


class _Latches:
    """One after the other; each is opened by somebody else, for a wait that no handler comes into."""

    newest: latch.Latch

    def prepare(self) -> None:
        self.newest = latch.Latch()
        self.opener = threading.Timer(0.001, self.newest.open)
        self.opener.start()

    def wait(self) -> None:
        with contextlib.suppress(KeyboardInterrupt):
            self.newest.wait()

    def after(self) -> None:
        self.newest.wait()
        self.opener.join()


@pytest.mark.parametrize("then", ["goes on", "waits", "raises"])
def test_a_handler_may_open_the_latch_that_it_came_into(then: str) -> None:
    latches = _Latches()

    def handler() -> None:
        latches.newest.open()
        if then == "waits":
            latches.newest.wait()
        if then == "raises":
            raise KeyboardInterrupt

    at_each_moment(latches.prepare, latches.wait, handler, latches.after)


# --- queues -----------------------------------------------------------------------------------------------------------

MESSAGES = 60  # of which the lane holds less than half
CALLS: dict[str, Callable[[Any], object]] = {
    "put": lambda q: q.put(b"m" * 100),
    "put_many": lambda q: q.put_many([b"m" * 100]),
    "qsize": lambda q: q.qsize(),
    "purge": lambda q: q.purge(),
    "shutdown": lambda q: q.shutdown(),
    "shutdown immediate": lambda q: q.shutdown(immediate=True),
    "close": lambda q: q.close(),
    "get": lambda q: q.get_nowait(),
    "join": lambda q: q.join(),
}


class _Overflowing:
    """A queue with a feeder that has to wait, and another handle of it, which ends that."""

    def __init__(self, name: str) -> None:
        self.queue: ipc.Queue[Any] = ipc.Queue(name=name, capacity=PAGE)
        self.other: ipc.Queue[Any] = ipc.Queue.attach(name)
        for _ in range(MESSAGES):
            self.queue.put(b"m" * 100)

    def end(self) -> None:
        self.other.shutdown(immediate=True)
        self.other.close()
        self.queue.close()
        self.queue.join_thread()


@pytest.mark.parametrize("inner", [name for name in CALLS if name != "join"])  # which nothing would end
@pytest.mark.parametrize("outer", [name for name in CALLS if name not in {"get", "join"}])
def test_a_handler_that_uses_the_queue_in_the_middle_of_a_call_never_hangs(name: str, outer: str, inner: str) -> None:
    made: list[_Overflowing] = []
    told: list[str] = []

    def handler() -> None:
        try:
            CALLS[inner](made[-1].queue)
        except ipc.BusyError as error:
            told.append(str(error))
        except (ipc.ShutDown, ipc.ClosedError, standard.Empty):  # what the call in the middle of which we are has done
            pass

    def call() -> None:
        with contextlib.suppress(ipc.ShutDown, ipc.ClosedError):  # what the handler has done
            CALLS[outer](made[-1].queue)

    def prepare() -> None:
        made.append(_Overflowing(f"{name}-{len(made)}"))

    def after() -> None:
        made[-1].end()

    at_each_moment(prepare, call, handler, after)
    assert all("signal's handler" in text for text in told)
    if outer in {"put", "put_many", "qsize", "purge"} and inner != "get":
        assert told, "no moment had the lock: the test looks at the wrong files"


def test_a_handler_may_acknowledge_while_a_get_looks_whose_leases_have_ended() -> None:
    made: list[tuple[ipc.ReliableQueue[Any], list[Any]]] = []

    def prepare() -> None:
        q: ipc.ReliableQueue[Any] = ipc.ReliableQueue(prefetch=2)
        q.put_many([b"1", b"2", b"3"])
        made.append((q, [q.get(timeout=5), q.get(timeout=5)]))

    def call() -> None:
        q, held = made[-1]
        with contextlib.suppress(standard.Empty):  # the handler did not come, or too late
            held.append(q.get(timeout=0))

    def handler() -> None:
        made[-1][1].pop(0).ack()

    def after() -> None:
        q, held = made[-1]
        for one in held:
            one.ack()
        assert q.stats().acknowledged == 2 + (len(held) == 2 and held[-1].message == b"3")
        q.close()

    at_each_moment(prepare, call, handler, after)


@pytest.mark.parametrize("then", ["sees it", "sees another", "forgets it"])
def test_a_handler_may_use_the_deduplicator_that_it_came_into(then: str) -> None:
    seen: ipc.Deduplicator
    uses: dict[str, Callable[[], object]] = {
        "sees it": lambda: seen.seen(1),
        "sees another": lambda: seen.seen(5),
        "forgets it": lambda: seen.forget(1),
    }

    def prepare() -> None:
        nonlocal seen
        seen = ipc.Deduplicator(2)
        for one in (1, 2, 3):
            seen.seen(one)

    for one in (1, 2):  # new, and remembered
        at_each_moment(prepare, lambda one=one: seen.seen(one), uses[then], lambda: seen.seen(4))  # type: ignore[misc]
        assert len(seen) == 2

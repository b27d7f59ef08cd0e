"""How queues end: close, join_thread, task_done and join, shutdown as in Python 3.13, and calls that are cut short."""

from __future__ import annotations

import queue as standard
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest

import ipc
from tests.process.support import until

LONG = 30.0
PAGE = 4096


@pytest.fixture
def q() -> Iterator[ipc.Queue[Any]]:
    with ipc.Queue[Any]() as made:
        yield made


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(8) as pool:
        yield pool


def asleep(q: Any, future: Future[Any]) -> bool:
    """Whether the call hasn't returned; a moment for it to fall asleep is no condition of any test."""
    threading.Event().wait(0.05)
    return not future.done()


# --- close --------------------------------------------------------------------------------------------------------

USES: dict[str, Callable[[Any], Any]] = {
    "put": lambda q: q.put(1),
    "put bytes": lambda q: q.put(b"1"),
    "put_nowait": lambda q: q.put_nowait(1),
    "put_many": lambda q: q.put_many([1]),
    "get": lambda q: q.get(),
    "get in time": lambda q: q.get(timeout=LONG),
    "get_nowait": lambda q: q.get_nowait(),
    "get_many": lambda q: q.get_many(),
    "task_done": lambda q: q.task_done(),
    "join": lambda q: q.join(),
    "qsize": lambda q: q.qsize(),
    "empty": lambda q: q.empty(),
    "full": lambda q: q.full(),
    "purge": lambda q: q.purge(),
    "shutdown": lambda q: q.shutdown(),
    "stats": lambda q: q.stats(),
    "unlink": lambda q: q.unlink(),
}


@pytest.mark.parametrize("maxsize", [0, 2])
@pytest.mark.parametrize("use", USES.values(), ids=USES)
def test_a_closed_queue_says_that_it_is_closed(use: Callable[[Any], Any], maxsize: int) -> None:
    q: ipc.Queue[Any] = ipc.Queue(maxsize)
    q.put("unread")
    q.close()
    for error in (ValueError, OSError, ipc.ClosedError):
        with pytest.raises(error, match="is closed"):
            use(q)
    assert q.closed


def test_closing_twice_is_fine(q: ipc.Queue[Any]) -> None:
    q.close()
    q.close()
    with q:
        pass


def test_close_of_one_handle_leaves_the_others_alone(name: str) -> None:
    with ipc.Queue[Any](name=name) as first:
        second = ipc.Queue.attach(name)
        second.put("from the one that is closed")
        second.close()
        first.put("next")
        assert [first.get(timeout=LONG), first.get(timeout=LONG)] == ["from the one that is closed", "next"]


BLOCKED: dict[str, Callable[[Any], Any]] = {
    "get": lambda q: q.get(),
    "get in time": lambda q: q.get(timeout=LONG),
    "get_many": lambda q: q.get_many(10, LONG),
    "put": lambda q: q.put(b"x" * 3000),
    "put in time": lambda q: q.put(b"x" * 3000, timeout=LONG),
    "put_many": lambda q: q.put_many([b"x" * 3000] * 3),
    "join": lambda q: q.join(),
}


@pytest.mark.parametrize("call", BLOCKED)
def test_close_wakes_a_call_that_is_blocked_in_another_thread(call: str, threads: ThreadPoolExecutor) -> None:
    with ipc.Queue[Any](2, capacity=PAGE) as q:
        if not call.startswith("get"):
            q.put(b"y" * 3000)
        futures = [threads.submit(BLOCKED[call], q) for _ in range(3)]
        assert all(asleep(q, future) for future in futures)
        q.close()
        for future in futures:
            with pytest.raises(ipc.ClosedError, match="is closed"):
                future.result(LONG)


# --- join_thread --------------------------------------------------------------------------------------------------


def test_join_thread_wants_close_first(q: ipc.Queue[Any]) -> None:
    with pytest.raises(ValueError, match="close"):
        q.join_thread()
    q.close()
    q.join_thread()
    q.join_thread()


@pytest.mark.parametrize("when", ["before", "after close", "twice"])
def test_cancel_join_thread_may_come_at_any_time(q: ipc.Queue[Any], when: str) -> None:
    if when == "after close":
        q.close()
    q.cancel_join_thread()
    if when == "twice":
        q.cancel_join_thread()
    q.close()
    q.join_thread()


# --- task_done and join -------------------------------------------------------------------------------------------


def test_task_done_more_often_than_there_were_messages_is_a_value_error(q: ipc.Queue[Any]) -> None:
    with pytest.raises(ValueError, match="called too many times"):
        q.task_done()
    for number in range(3):
        q.put(number)
        q.get()
        q.task_done()
    with pytest.raises(ValueError, match="called too many times"):
        q.task_done()
    q.join()


def test_join_of_a_queue_that_nobody_used_returns(q: ipc.Queue[Any]) -> None:
    q.join()


@pytest.mark.parametrize("workers", [1, 4])
def test_join_waits_until_every_message_is_done_with(
    q: ipc.Queue[Any], threads: ThreadPoolExecutor, workers: int
) -> None:
    done: list[int] = []

    def work() -> None:
        while (number := q.get(timeout=LONG)) is not None:
            done.append(number)
            q.task_done()
        q.task_done()

    for _ in range(3):
        running = [threads.submit(work) for _ in range(workers)]
        for number in range(100):
            q.put(number)
        q.join()
        assert sorted(done) == list(range(100))
        done.clear()
        for _ in running:
            q.put(None)
        q.join()
        for future in running:
            future.result(LONG)


def test_join_waits_also_for_messages_that_were_taken(q: ipc.Queue[Any], threads: ThreadPoolExecutor) -> None:
    q.put(1)
    joining = threads.submit(q.join)
    assert q.get() == 1
    assert asleep(q, joining)
    q.task_done()
    joining.result(LONG)


def test_tasks_are_counted_over_all_handles(name: str, threads: ThreadPoolExecutor) -> None:
    with ipc.Queue[Any](name=name) as first, ipc.Queue.attach(name) as second:
        first.put(1)
        second.put(2)
        joining = [threads.submit(q.join) for q in (first, second)]
        assert [second.get(timeout=LONG), second.get(timeout=LONG)] == [1, 2]
        second.task_done()
        assert asleep(first, joining[0])
        first.task_done()
        for future in joining:
            future.result(LONG)
        with pytest.raises(ValueError, match="too many"):
            second.task_done()


def test_what_purge_throws_away_is_done_with(q: ipc.Queue[Any]) -> None:
    for number in range(10):
        q.put(number)
    assert q.get() == 0
    assert q.purge() == 9
    q.task_done()
    q.join()
    with pytest.raises(ValueError, match="too many"):
        q.task_done()


# --- shutdown -----------------------------------------------------------------------------------------------------


@pytest.mark.skipif(sys.version_info < (3, 13), reason="queue.ShutDown came with Python 3.13")
def test_shutdown_raises_the_standard_library_s_error() -> None:
    assert ipc.ShutDown is standard.ShutDown  # type: ignore[attr-defined,unused-ignore]


def test_shut_down_is_an_exception_of_its_own() -> None:
    assert issubclass(ipc.ShutDown, Exception)
    assert not issubclass(ipc.ShutDown, (standard.Empty, standard.Full, ValueError))


PUTS = {name: use for name, use in USES.items() if name.startswith("put")}
GETS = {name: use for name, use in USES.items() if name.startswith("get")}


@pytest.mark.parametrize("immediate", [False, True])
@pytest.mark.parametrize("maxsize", [0, 3])
def test_after_shutdown_nothing_can_be_put(maxsize: int, immediate: bool) -> None:
    for use in PUTS.values():
        with ipc.Queue[Any](maxsize) as q:
            q.put("before")
            q.shutdown(immediate)
            with pytest.raises(ipc.ShutDown):
                use(q)
            q.purge()


@pytest.mark.parametrize("get", GETS.values(), ids=GETS)
def test_after_shutdown_what_is_there_can_be_taken_and_then_get_says_so(get: Callable[[Any], Any]) -> None:
    with ipc.Queue[Any]() as q:
        q.put("first")
        q.put("second")
        q.shutdown()
        taken: list[Any] = []
        while len(taken) < 2:
            got = get(q)
            taken += got if isinstance(got, list) else [got]
        assert taken == ["first", "second"]
        with pytest.raises(ipc.ShutDown):
            get(q)
        with pytest.raises(ipc.ShutDown):
            get(q)


@pytest.mark.parametrize("get", GETS.values(), ids=GETS)
def test_an_immediate_shutdown_throws_away_what_waits(get: Callable[[Any], Any]) -> None:
    with ipc.Queue[Any]() as q:
        q.put("first")
        q.put("second")
        q.shutdown(immediate=True)
        assert q.empty()
        with pytest.raises(ipc.ShutDown):
            get(q)
        q.join()
        with pytest.raises(ValueError, match="too many"):
            q.task_done()


def test_an_immediate_shutdown_may_follow_a_gentle_one(q: ipc.Queue[Any]) -> None:
    q.put(1)
    q.shutdown()
    q.shutdown(immediate=True)
    with pytest.raises(ipc.ShutDown):
        q.get()
    q.shutdown()
    with pytest.raises(ipc.ShutDown):
        q.get_nowait()


def test_join_after_an_immediate_shutdown_waits_for_those_that_were_taken(
    q: ipc.Queue[Any], threads: ThreadPoolExecutor
) -> None:
    for number in range(3):
        q.put(number)
    assert q.get() == 0
    joining = threads.submit(q.join)
    q.shutdown(immediate=True)
    assert asleep(q, joining)
    q.task_done()
    joining.result(LONG)


def test_join_after_a_gentle_shutdown_waits_for_all(q: ipc.Queue[Any], threads: ThreadPoolExecutor) -> None:
    q.put(1)
    q.shutdown()
    joining = threads.submit(q.join)
    assert asleep(q, joining)
    assert q.get() == 1
    q.task_done()
    joining.result(LONG)


@pytest.mark.parametrize("immediate", [False, True])
@pytest.mark.parametrize("call", ["get", "get in time", "get_many", "put", "put in time", "put_many"])
def test_shutdown_wakes_whoever_is_blocked(call: str, immediate: bool, threads: ThreadPoolExecutor) -> None:
    with ipc.Queue[Any](2, capacity=PAGE) as q:
        if call.startswith("put"):
            q.put(b"y" * 3000)
        futures = [threads.submit(BLOCKED[call], q) for _ in range(3)]
        assert all(asleep(q, future) for future in futures)
        q.shutdown(immediate)
        for future in futures:
            with pytest.raises(ipc.ShutDown):
                future.result(LONG)
        q.purge()


def test_shutdown_holds_for_every_handle(name: str, threads: ThreadPoolExecutor) -> None:
    with ipc.Queue[Any](name=name) as first, ipc.Queue.attach(name) as second:
        waiting = threads.submit(second.get)
        assert asleep(second, waiting)
        first.shutdown()
        with pytest.raises(ipc.ShutDown):
            waiting.result(LONG)
        with pytest.raises(ipc.ShutDown):
            second.put(1)
        with ipc.Queue.attach(name) as third, pytest.raises(ipc.ShutDown):
            third.put(1)
        assert first.stats().state == "draining"


@pytest.mark.parametrize("many", [False, True])
def test_what_put_has_returned_from_comes_before_the_end_and_nothing_else(
    many: bool, threads: ThreadPoolExecutor
) -> None:
    """The order of memory is the explorer's business (scenario_shutdown_join.c)."""

    def put_until_shutdown(q: ipc.Queue[Any], which: int) -> int:
        put = 0
        try:
            while True:
                if many:
                    put += q.put_many([(which, put), (which, put + 1), (which, put + 2)])
                else:
                    q.put((which, put))
                    put += 1
        except ipc.ShutDown as error:
            return put + getattr(error, "put", 0)

    def get_until_shutdown(q: ipc.Queue[Any]) -> list[Any]:
        got = []
        try:
            while True:
                got.append(q.get())
                q.task_done()
        except ipc.ShutDown:
            return got

    for _ in range(50):
        with ipc.Queue[Any](100) as q:
            getting = [threads.submit(get_until_shutdown, q) for _ in range(2)]
            putting = [threads.submit(put_until_shutdown, q, which) for which in range(2)]
            until(lambda q=q: q.stats().sent > 20, "somebody has put something")  # type: ignore[misc]
            q.shutdown()
            counts = [future.result(LONG) for future in putting]
            got = [message for future in getting for message in future.result(LONG)]
            assert sorted(got) == [(which, number) for which in range(2) for number in range(counts[which])]
            q.join()
            assert q.empty()


# --- purge --------------------------------------------------------------------------------------------------------


def test_purge_throws_away_what_waits_and_says_how_many(q: ipc.Queue[Any]) -> None:
    assert q.purge() == 0
    for number in range(100):
        q.put(number)
    assert q.purge() == 100
    assert q.empty()
    with pytest.raises(standard.Empty):
        q.get_nowait()
    q.put("next")
    assert q.get() == "next"
    stats = q.stats()
    assert (stats.sent, stats.acknowledged, stats.dead_lettered, stats.depth) == (101, 1, 100, 0)


def test_purge_makes_room_for_those_who_wait(threads: ThreadPoolExecutor) -> None:
    with ipc.Queue[Any](2) as q:
        q.put_many([1, 2])
        waiting = threads.submit(q.put, 3, True, LONG)
        assert asleep(q, waiting)
        assert q.purge() >= 2
        waiting.result(LONG)
        q.purge()

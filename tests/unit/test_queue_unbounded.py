"""An unbounded queue: put never blocks; beyond the lane's capacity a feeder thread sends, in order, what put has left.

What the feeder does when its process ends or forks is in tests/process/test_queue_exit.py and test_queue_fork.py.
"""

from __future__ import annotations

import contextlib
import queue as standard
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

import ipc

LONG = 30.0
PAGE = 4096


def feeders() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("feeder of")]


def no_feeder() -> bool:
    return not feeders()


@pytest.fixture
def small() -> Iterator[ipc.Queue[Any]]:
    """An unbounded queue whose lane holds few messages; whatever is left in it in the end is thrown away."""
    q: ipc.Queue[Any] = ipc.Queue(capacity=PAGE)
    yield q
    if not q.closed:
        q.shutdown(immediate=True)
        q.close()
    q.join_thread()


def test_put_never_blocks_and_what_it_put_comes_in_order(small: ipc.Queue[Any]) -> None:
    for number in range(20_000):
        small.put(number)
    assert [small.get(timeout=LONG) for _ in range(20_000)] == list(range(20_000))
    with pytest.raises(standard.Empty):
        small.get_nowait()


PUTS: dict[str, Callable[[Any, Any], Any]] = {
    "put": lambda q, obj: q.put(obj),
    "put without waiting": lambda q, obj: q.put(obj, False),
    "put with a timeout": lambda q, obj: q.put(obj, timeout=0),
    "put_nowait": lambda q, obj: q.put_nowait(obj),
    "put_many": lambda q, obj: q.put_many([obj]),
    "put_many without waiting": lambda q, obj: q.put_many([obj], False),
}


@pytest.mark.parametrize("put", PUTS.values(), ids=PUTS)
def test_no_way_of_putting_blocks_or_raises_full(small: ipc.Queue[Any], put: Callable[[Any, Any], Any]) -> None:
    for number in range(1000):
        put(small, number)
    assert not small.full()
    assert [small.get(timeout=LONG) for _ in range(1000)] == list(range(1000))


def test_the_feeder_starts_when_the_lane_is_full_and_ends_when_it_has_sent_all(
    small: ipc.Queue[Any], eventually: Callable[[Callable[[], object]], None]
) -> None:
    small.put(b"x" * 3000)
    assert no_feeder()
    for _ in range(3):
        small.put(b"y" * 3000)
    assert len(feeders()) == 1
    assert feeders()[0].daemon
    for _ in range(4):
        small.get(timeout=LONG)
    eventually(no_feeder)
    small.put(b"direct")
    assert no_feeder()
    assert small.get(timeout=LONG) == b"direct"


def test_order_holds_while_the_feeder_comes_and_goes(small: ipc.Queue[Any]) -> None:
    """Messages that go directly must not overtake what a feeder that is about to end still has."""
    got: list[int] = []

    def take() -> None:
        while (number := small.get(timeout=LONG)) is not None:
            got.append(number)

    taker = threading.Thread(target=take)
    taker.start()
    for number in range(20_000):
        small.put(number)
    small.put(None)
    taker.join()
    assert got == list(range(20_000))


def test_order_holds_for_each_of_several_threads_that_overflow_the_same_lane(small: ipc.Queue[Any]) -> None:
    putters, count = 4, 3000
    start = threading.Barrier(putters)

    def put(which: int) -> None:
        start.wait()
        for number in range(count):
            small.put((which, number))

    with ThreadPoolExecutor(putters) as pool:
        futures = [pool.submit(put, which) for which in range(putters)]
        got = [small.get(timeout=LONG) for _ in range(putters * count)]
        for future in futures:
            future.result()
    for which in range(putters):
        assert [number for putter, number in got if putter == which] == list(range(count))


MESSAGES: dict[str, Any] = {
    "bytes": b"b" * 3000,
    "pickle": ("p" * 3000, 1),
    "array": np.arange(400, dtype="i8"),
    "table": {"a": np.arange(200, dtype="f8"), "b": np.ones(100, "f4")},
    "empty": b"",
}


def plain(message: Any) -> Any:
    if isinstance(message, dict):
        return {key: plain(value) for key, value in message.items()}
    return message.tolist() if isinstance(message, np.ndarray) else message


def test_every_kind_of_message_survives_the_feeder(small: ipc.Queue[Any]) -> None:
    for _ in range(3):
        for message in MESSAGES.values():
            small.put(message)
    for _ in range(3):
        for message in MESSAGES.values():
            assert plain(small.get(timeout=LONG)) == plain(message)


def test_what_is_changed_after_put_arrives_as_it_was_also_when_the_feeder_has_it(small: ipc.Queue[Any]) -> None:
    raw, array, table = bytearray(3000), np.zeros(300, "i8"), {"column": np.zeros(300)}
    for number in range(5):
        raw[0], array[0], table["column"][0] = number, number, number
        small.put(raw)
        small.put(array)
        small.put(table)
        small.put_many([raw])
    for number in range(5):
        assert small.get(timeout=LONG)[0] == number
        assert small.get(timeout=LONG)[0] == number
        assert small.get(timeout=LONG)["column"][0] == number
        assert small.get(timeout=LONG)[0] == number


@pytest.mark.parametrize("message", [b"x" * (PAGE + 1), "x" * PAGE, np.zeros(PAGE, "u1")])
def test_a_message_that_can_never_fit_raises_in_put_also_behind_the_feeder(
    small: ipc.Queue[Any], message: object
) -> None:
    for number in range(1000):
        small.put(number)
    with pytest.raises(ipc.MessageTooLargeError, match=rf"capacity={PAGE}.*capacity=8192"):
        small.put(message)
    small.put("behind")
    assert [small.get(timeout=LONG) for _ in range(1000)] == list(range(1000))
    assert small.get(timeout=LONG) == "behind"


def test_the_longest_message_goes_through_the_feeder(small: ipc.Queue[Any]) -> None:
    for _ in range(3):
        small.put(b"x" * PAGE)
    assert [len(small.get(timeout=LONG)) for _ in range(3)] == [PAGE] * 3


# --- counting what the feeder has ---------------------------------------------------------------------------------


def test_qsize_counts_what_the_feeder_has(small: ipc.Queue[Any]) -> None:
    for number in range(1000):
        small.put(number)
    assert small.qsize() == 1000
    assert not small.empty()
    for number in range(1000):
        assert small.get(timeout=LONG) == number
    assert small.qsize() == 0
    assert small.empty()


def test_join_waits_for_what_the_feeder_has(small: ipc.Queue[Any]) -> None:
    """At any moment every message in the lane may be done with, while the feeder has more."""
    done: list[int] = []

    def work() -> None:
        for _ in range(10_000):
            number = small.get(timeout=LONG)
            done.append(number)
            small.task_done()

    worker = threading.Thread(target=work)
    for number in range(10_000):
        small.put(number)
    worker.start()
    small.join()
    assert done == list(range(10_000))
    worker.join()


def test_purge_throws_away_what_the_feeder_has_as_well(
    small: ipc.Queue[Any], eventually: Callable[[Callable[[], object]], None]
) -> None:
    for number in range(1000):
        small.put(number)
    assert small.get(timeout=LONG) == 0
    small.task_done()
    assert small.purge() == 999
    assert small.empty()
    small.join()
    eventually(no_feeder)
    with pytest.raises(standard.Empty):
        small.get_nowait()


# --- endings ------------------------------------------------------------------------------------------------------


def test_join_thread_after_close_waits_until_all_was_sent(name: str) -> None:
    with ipc.Queue[Any](name=name, capacity=PAGE) as reader:
        writer = ipc.Queue.attach(name)
        for number in range(2000):
            writer.put(number)
        writer.close()
        joining = threading.Thread(target=writer.join_thread)
        joining.start()
        assert reader.get(timeout=LONG) == 0
        assert joining.is_alive()
        assert [reader.get(timeout=LONG) for _ in range(1999)] == list(range(1, 2000))
        joining.join(LONG)
        assert not joining.is_alive()


@pytest.mark.parametrize(
    "use", [lambda q: q.put(1), lambda q: q.put_many([1]), lambda q: q.get(), lambda q: q.get_nowait()]
)
def test_a_closed_queue_says_so_also_while_its_feeder_still_sends(name: str, use: Callable[[Any], Any]) -> None:
    with ipc.Queue[Any](name=name, capacity=PAGE) as reader:
        writer = ipc.Queue.attach(name)
        for number in range(1000):
            writer.put(number)
        writer.close()
        with pytest.raises(ValueError, match="is closed"):
            use(writer)
        assert [reader.get(timeout=LONG) for _ in range(1000)] == list(range(1000))
        writer.join_thread()


class _Door:
    """The lock of a queue's feeder; what somebody else does as soon as it is free is done in `then`."""

    def __init__(self, then: Callable[[], object]) -> None:
        self._lock, self._then = threading.Lock(), [then]

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._lock.release()
        while self._then:
            self._then.pop()()

    def _is_owned(self) -> bool:
        return False


def test_what_put_returned_from_is_sent_although_close_comes_at_the_same_moment(name: str) -> None:
    with ipc.Queue[Any](name=name, capacity=PAGE) as reader:
        writer = ipc.Queue.attach(name)
        done = 0
        while writer.qsize() < PAGE // 128:  # slots of the lane: the next one needs a feeder
            writer.put(done)
            done += 1
        assert no_feeder()

        def put_one_more() -> None:
            nonlocal done
            with contextlib.suppress(ipc.ClosedError):
                writer.put(done)
                done += 1

        writer._feeding = _Door(put_one_more)  # type: ignore[assignment]
        writer.close()
        assert [reader.get(timeout=LONG) for _ in range(done)] == list(range(done))
        writer.join_thread()


def test_a_queue_that_is_forgotten_sends_what_put_has_left(
    name: str, eventually: Callable[[Callable[[], object]], None]
) -> None:
    with ipc.Queue[Any](name=name, capacity=PAGE) as reader:
        writer = ipc.Queue.attach(name)
        for number in range(1000):
            writer.put(number)
        del writer
        assert [reader.get(timeout=LONG) for _ in range(1000)] == list(range(1000))
        eventually(no_feeder)


def test_what_was_put_before_a_shutdown_is_taken_although_the_feeder_has_it(small: ipc.Queue[Any]) -> None:
    for number in range(1000):
        small.put(number)
    small.shutdown()
    for put in PUTS.values():
        with pytest.raises(ipc.ShutDown):
            put(small, "too late")
    assert [small.get(timeout=LONG) for _ in range(1000)] == list(range(1000))
    with pytest.raises(ipc.ShutDown):
        small.get(timeout=LONG)


def test_an_immediate_shutdown_throws_away_what_the_feeder_has(
    small: ipc.Queue[Any], eventually: Callable[[Callable[[], object]], None]
) -> None:
    for number in range(1000):
        small.put(number)
    small.shutdown(immediate=True)
    eventually(no_feeder)
    with pytest.raises(ipc.ShutDown):
        small.get(timeout=LONG)
    with pytest.raises(ipc.ShutDown):
        small.put("too late")
    small.join()


def test_a_shutdown_by_another_handle_ends_the_feeder(
    name: str, eventually: Callable[[Callable[[], object]], None]
) -> None:
    with ipc.Queue[Any](name=name, capacity=PAGE) as reader, ipc.Queue.attach(name) as writer:
        for number in range(1000):
            writer.put(number)
        reader.shutdown(immediate=True)
        eventually(no_feeder)
        with pytest.raises(ipc.ShutDown):
            writer.put("too late")


def test_a_join_is_woken_by_a_close_although_the_feeder_still_has_messages(name: str) -> None:
    writer: ipc.Queue[Any] = ipc.Queue(name=name, capacity=PAGE)
    with ipc.Queue[Any].attach(name) as reader, ThreadPoolExecutor(1) as pool:
        for number in range(1000):
            writer.put(number)
        joining = pool.submit(writer.join)
        writer.close()
        with pytest.raises(ipc.ClosedError):
            joining.result(LONG)
        assert [reader.get(timeout=LONG) for _ in range(1000)] == list(range(1000))
        writer.join_thread()

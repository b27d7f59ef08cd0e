"""put_many and get_many of queues in the accelerator: what they do themselves, and what other code does meanwhile."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

import ipc
from ipc._core.native import fast
from tests.unit import left_to_python
from tests.unit.test_accelerated_queues import METHODS, PLAIN

accelerated = pytest.mark.skipif(fast is None, reason="the accelerator is not in use")

LONG = 30.0


@pytest.fixture
def queue() -> Iterator[ipc.Queue[Any]]:
    with ipc.Queue[Any](spin=0, capacity="4MiB") as made:
        made.put("takes a lane")
        made.get()
        yield made


@pytest.fixture
def fallbacks(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often each method was left to Python."""
    return left_to_python.counted(monkeypatch, METHODS)


# --- what they do themselves --------------------------------------------------------------------------------------


@accelerated
@pytest.mark.parametrize("kind", [list, tuple])
def test_plain_objects_go_and_come_together_without_python(
    queue: ipc.Queue[Any], fallbacks: Counter[str], kind: Callable[[list[Any]], Any]
) -> None:
    assert queue.put_many(kind(PLAIN)) == len(PLAIN)
    assert queue.get_many() == PLAIN
    assert queue.put_many(kind(PLAIN)) == len(PLAIN)
    assert queue.get_many(5) + queue.get_many(1000, 0) == PLAIN
    assert fallbacks == {}


@accelerated
def test_only_what_is_not_plain_is_left_to_python_and_in_its_place(
    queue: ipc.Queue[Any], fallbacks: Counter[str]
) -> None:
    mixed = [b"first", np.arange(3), "text", bytearray(b"bytes"), (7,)]
    assert queue.put_many(mixed) == 5
    assert fallbacks == {"put": 2}
    first, array, *others = queue.get_many()
    assert (first, array.tolist(), others) == (b"first", [0, 1, 2], ["text", b"bytes", (7,)])
    assert fallbacks == {"put": 2}


@accelerated
def test_a_batch_beyond_the_capacity_of_an_unbounded_queue_goes_through_its_feeder(fallbacks: Counter[str]) -> None:
    with ipc.Queue[Any](capacity=4096) as queue:
        many = [(i, "x" * 100) for i in range(2000)]
        assert queue.put_many(many) == 2000
        assert fallbacks == {}
        got: list[Any] = []
        while len(got) < 2000:
            got += queue.get_many(timeout=LONG)
        assert got == many


@accelerated
def test_a_batch_waits_for_room_one_message_after_the_other(fallbacks: Counter[str]) -> None:
    with ipc.Queue[Any](maxsize=3) as queue, ThreadPoolExecutor(1) as pool:
        putting = pool.submit(queue.put_many, list(range(500)))
        assert [queue.get(timeout=LONG) for _ in range(500)] == list(range(500))
        assert putting.result(LONG) == 500
        assert fallbacks["put_many"] == 0


# --- other code meanwhile -----------------------------------------------------------------------------------------


@accelerated  # the Python method takes a copy of each part of the list
def test_a_list_may_shrink_and_grow_while_it_is_put(queue: ipc.Queue[Any]) -> None:
    class Changes:
        def __init__(self, change: Callable[[], object]) -> None:
            self.change = change

        def __reduce__(self) -> tuple[Any, ...]:
            self.change()
            return (int, ())

    shrinks: list[Any] = [1, [], 3, 4]
    shrinks[1].append(Changes(shrinks.clear))
    assert queue.put_many(shrinks) == 2
    assert queue.get_many() == [1, [0]]
    grows: list[Any] = [[], 2]
    grows[0].append(Changes(lambda: grows.append("more") if len(grows) < 5 else None))
    assert queue.put_many(grows) == 3
    assert queue.get_many() == [[0], 2, "more"]


_during: list[Callable[[], object]] = []


def unpickled() -> int:
    """What unpickling calls, here."""
    for act in _during:
        act()
    return 7


class Acts:
    def __reduce__(self) -> tuple[Any, ...]:
        return (unpickled, ())


@pytest.fixture
def during() -> Iterator[list[Callable[[], object]]]:
    yield _during
    _during.clear()


def test_a_batch_whose_unpickling_closes_the_queue_goes_back_and_crashes_nothing(
    during: list[Callable[[], object]],
) -> None:
    with ipc.Queue[Any](name="closed-in-a-batch") as theirs, ipc.Queue.attach("closed-in-a-batch") as ours:
        theirs.put_many(["first", [Acts()], "last"])
        during.append(ours.close)
        with pytest.raises(ipc.ClosedError):
            ours.get_many()
        during.clear()
        assert theirs.get_many() == ["first", [7], "last"]


def test_a_batch_that_is_interrupted_while_it_is_decoded_goes_back(
    queue: ipc.Queue[Any], during: list[Callable[[], object]]
) -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    queue.put_many(["first", [Acts()], "last"])
    during.append(interrupt)
    with pytest.raises(KeyboardInterrupt):
        queue.get_many()
    during.clear()
    assert queue.stats().leased == 0
    assert queue.get_many() == ["first", [7], "last"]


def test_a_batch_whose_unpickling_takes_a_batch_of_its_own_is_whole(
    queue: ipc.Queue[Any], during: list[Callable[[], object]]
) -> None:
    inner: list[Any] = []
    queue.put_many(["first", [Acts()], "last"])

    def take() -> None:
        during.clear()
        queue.put_many(["more", b"of it"])
        inner.extend(queue.get_many())

    during.append(take)
    assert queue.get_many() == ["first", [7], "last"]
    assert inner == ["more", b"of it"]


def test_other_threads_run_while_a_long_list_is_put() -> None:
    """In the middle of it: around the call, the interpreter hands its lock over by itself."""
    many = [b""] * 500_000
    with ipc.Queue[Any](capacity="64MiB") as queue:
        queue.put("takes a lane")
        ran: list[float] = []
        ended = threading.Event()

        def run() -> None:
            while not ended.is_set():
                ran.append(time.monotonic())
                time.sleep(0)

        with ThreadPoolExecutor(1) as pool:
            running = pool.submit(run)
            try:
                for _ in range(20):
                    begin = time.monotonic()
                    queue.put_many(many)
                    quarter = (time.monotonic() - begin) / 4
                    if any(begin + quarter < at < begin + 3 * quarter for at in ran):
                        break
                    queue.purge()
                else:
                    pytest.fail("no other thread ran in the middle of any of 20 long batches")
            finally:
                ended.set()
            running.result(LONG)

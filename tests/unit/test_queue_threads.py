"""Threads that share a handle, and handles that share a queue: each message to one of them, none lost, order kept."""

from __future__ import annotations

import contextlib
import queue as standard
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

import ipc

LONG = 30.0
PAGE = 4096
COUNT = 3000

Reliable = ipc.ReliableQueue[Any]

MAKE: dict[str, Callable[[str], Any]] = {
    "unbounded": lambda name: ipc.Queue[Any](name=name),
    "unbounded, a small lane": lambda name: ipc.Queue[Any](name=name, capacity=PAGE),
    "bounded": lambda name: ipc.Queue[Any](3, name=name),
    "bounded, a small lane": lambda name: ipc.Queue[Any](1000, name=name, capacity=PAGE),
    "reliable": Reliable,
    "reliable, a small lane": lambda name: Reliable(name, capacity=PAGE, lease=None),
    "reliable, out of order": lambda name: Reliable(name, capacity=PAGE, ordered=False),
}


def take(q: Any) -> Any:
    got = q.get(timeout=LONG)
    if isinstance(got, ipc.Delivery):
        with got:
            return got.message
    return got


def attach(q: Any) -> Any:
    return type(q).attach(q.name)


@pytest.mark.parametrize("shared", [True, False], ids=["one handle", "a handle each"])
@pytest.mark.parametrize("kind", MAKE)
def test_many_put_and_many_get_and_each_message_comes_once(name: str, kind: str, shared: bool) -> None:
    putters, getters = 3, 3
    with MAKE[kind](name) as q, ThreadPoolExecutor(putters + getters) as pool:

        def put(which: int) -> None:
            own = q if shared else attach(q)
            for number in range(COUNT):
                own.put((which, number))
            if not shared:
                own.close()
                if isinstance(own, ipc.Queue):
                    own.join_thread()  # or what it still has to send comes behind the last word

        def get(_: int) -> list[Any]:
            own = q if shared else attach(q)
            got = []
            while (message := take(own)) is not None:
                got.append(message)
            if not shared:
                own.close()
            return got

        getting = [pool.submit(get, which) for which in range(getters)]
        for future in [pool.submit(put, which) for which in range(putters)]:
            future.result()
        for _ in getting:
            q.put(None)
        taken = [future.result() for future in getting]
    everything = sorted(message for each in taken for message in each)
    assert everything == [(which, number) for which in range(putters) for number in range(COUNT)]
    if "out of order" not in kind:
        for each in taken:  # what one getter has of one putter is in order
            for which in range(putters):
                numbers = [number for putter, number in each if putter == which]
                assert numbers == sorted(numbers)


@pytest.mark.parametrize("kind", ["unbounded", "reliable"])
def test_between_handles_the_oldest_goes_first(name: str, kind: str) -> None:
    with MAKE[kind](name) as first, attach(first) as second, attach(first) as third:
        handles = [first, second, third]
        for number in range(60):
            handles[number * 7 % 3].put(number)
        assert [take(handles[number % 2]) for number in range(60)] == list(range(60))


def test_maxsize_is_overshot_by_the_other_producers_at_most(name: str) -> None:
    producers, maxsize = 4, 5
    with ipc.Queue[Any](maxsize, name=name) as q, ThreadPoolExecutor(producers) as pool:
        start = threading.Barrier(producers)

        def fill(_: int) -> int:
            with ipc.Queue.attach(name) as own:
                own.put("its lane")
                start.wait()
                done = 0
                try:
                    while True:
                        own.put_nowait(done)
                        done += 1
                except standard.Full:
                    start.wait()
                    return done

        for _ in range(5):
            filling = [pool.submit(fill, which) for which in range(producers)]
            total = producers + sum(future.result(LONG) for future in filling)
            assert maxsize <= total <= maxsize + producers - 1
            assert q.full()
            assert q.qsize() == total
            q.purge()


def test_empty_is_never_said_of_a_queue_that_was_never_empty(name: str) -> None:
    """A message is put before another is taken, over two lanes in turn: one is there at every moment."""
    with ipc.Queue[Any](name=name) as first, ipc.Queue.attach(name) as second, ThreadPoolExecutor(1) as pool:
        enough = threading.Event()

        def keep_one_there() -> int:
            number = 0
            while number < 3000 or not enough.is_set():
                (first, second)[number % 2].put(number)
                second.get(timeout=LONG)
                number += 1
            return number

        first.put("the one")
        with ipc.Queue.attach(name) as looking:
            busy = pool.submit(keep_one_there)
            try:
                for _ in range(1000):
                    assert not looking.empty()
                    assert looking.qsize() >= 1
            finally:
                enough.set()
            assert busy.result() >= 3000
        assert first.qsize() == 1
        first.purge()


def test_a_get_without_waiting_finds_the_message_that_is_always_there(name: str) -> None:
    with ipc.Queue[Any](name=name) as first, ipc.Queue.attach(name) as second, ThreadPoolExecutor(1) as pool:
        first.put("the one")
        turns = 3000

        def move() -> None:
            for number in range(turns):
                (first, second)[number % 2].put(number)
                second.get(timeout=LONG)

        def look() -> None:  # takes one and puts one back, so that there are always two, or one
            with ipc.Queue.attach(name) as own:
                while not moving.done():
                    own.put("another")
                    own.get_nowait()

        moving = pool.submit(move)
        look()
        moving.result()
        first.purge()


def test_whoever_waits_is_woken_by_each_message(name: str) -> None:
    """As many messages as waiters, put at once and one by one: none of them goes on sleeping."""
    with ipc.Queue[Any](name=name) as q, ThreadPoolExecutor(8) as pool:
        for turn in range(20):
            waiting = [pool.submit(q.get, True, LONG) for _ in range(8)]
            if turn % 2:
                q.put_many(range(8))
            else:
                for number in range(8):
                    q.put(number)
            assert sorted(future.result(LONG) for future in waiting) == list(range(8))


def test_whoever_waits_for_room_is_woken_by_each_message_taken(name: str) -> None:
    with ipc.Queue[Any](1, name=name) as q, ThreadPoolExecutor(8) as pool:
        for _ in range(20):
            q.put("full")
            waiting = [pool.submit(q.put, number, True, LONG) for number in range(8)]
            got = [q.get(timeout=LONG) for _ in range(9)]
            assert sorted(got[1:]) == list(range(8))
            for future in waiting:
                future.result(LONG)


def test_closing_handles_while_others_work_harms_nobody(name: str) -> None:
    with Reliable(name, max_deliveries=254) as q, ThreadPoolExecutor(3) as pool:
        stop = threading.Event()

        def come_and_go() -> None:
            while not stop.is_set():
                own = Reliable.attach(name)
                with contextlib.suppress(standard.Empty):
                    own.get(0)  # and leave with it: it goes back
                own.close()

        leaving = [pool.submit(come_and_go) for _ in range(2)]
        got = []
        for number in range(300):
            q.put(number)
            with q.get(LONG) as delivery:
                got.append(delivery.message)
        stop.set()
        for future in leaving:
            future.result(LONG)
        while q.qsize():
            with q.get(LONG) as delivery:
                got.append(delivery.message)
        assert sorted(got) == list(range(300))

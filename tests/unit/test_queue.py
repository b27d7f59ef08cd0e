"""What the standard library promises of its queues, in one process: put, get, Full, Empty, maxsize, timeouts.

Whatever holds for multiprocessing.Queue, SimpleQueue and JoinableQueue holds here under the same names.  What other
processes see is in tests/process/test_queue*.py.
"""

from __future__ import annotations

import builtins
import inspect
import multiprocessing
import pickle
import queue as standard
import threading
import time
from collections.abc import Callable, Iterator
from multiprocessing.queues import JoinableQueue
from typing import Any

import pytest

import ipc

LONG = 30.0  # seconds that a call may wait for what is certain to come
PAGE = 4096


@pytest.fixture
def q() -> Iterator[ipc.Queue[Any]]:
    with ipc.Queue[Any]() as made:
        yield made


@pytest.fixture
def two() -> Iterator[ipc.Queue[Any]]:
    """A queue with room for two messages, full."""
    with ipc.Queue[Any](2) as made:
        made.put(1)
        made.put(2)
        yield made


# --- one class for the three of multiprocessing -------------------------------------------------------------------


def test_one_class_is_the_three_of_multiprocessing() -> None:
    assert ipc.JoinableQueue is ipc.Queue
    assert ipc.SimpleQueue is ipc.Queue


@pytest.mark.parametrize("peer", ["Queue", "JoinableQueue", "SimpleQueue"])
def test_every_public_method_of_multiprocessing_s_queues_is_there(peer: str) -> None:
    theirs = getattr(multiprocessing, peer)()
    public = {name for name in dir(theirs) if not name.startswith("_") and callable(getattr(theirs, name))}
    assert public <= set(dir(ipc.Queue))
    theirs.close()


@pytest.mark.parametrize(
    "method", ["put", "get", "put_nowait", "get_nowait", "qsize", "empty", "full", "close", "join"]
)
def test_parameters_stand_in_the_places_of_the_standard_library(method: str) -> None:
    theirs = inspect.signature(getattr(JoinableQueue, method)).parameters
    ours = inspect.signature(getattr(ipc.Queue, method)).parameters
    assert list(ours)[: len(theirs)] == list(theirs)
    assert [ours[name].default for name in theirs] == [theirs[name].default for name in theirs]


def test_maxsize_may_be_given_by_position_and_by_name() -> None:
    with ipc.Queue[Any](3) as first, ipc.Queue[Any](maxsize=3) as second:
        assert first.stats().maxsize == second.stats().maxsize == 3


@pytest.mark.parametrize("maxsize", [0, -1, -100])
def test_a_maxsize_of_0_or_less_means_any_number(maxsize: int) -> None:
    with ipc.Queue[Any](maxsize) as q:
        for number in range(3000):
            q.put(number)
        assert not q.full()
        assert [q.get(timeout=LONG) for _ in range(3000)] == list(range(3000))


@pytest.mark.parametrize("maxsize", [1.5, "3", None, True])
def test_a_maxsize_that_is_no_int_is_refused(maxsize: Any) -> None:
    with pytest.raises(TypeError, match="maxsize must be an int"):
        ipc.Queue(maxsize)


def test_a_type_may_be_named_at_run_time() -> None:
    q: ipc.Queue[int] = ipc.Queue[int](5)
    with q:
        q.put(1)
        assert q.get() == 1


# --- put and get --------------------------------------------------------------------------------------------------


def test_messages_come_in_the_order_in_which_they_were_put(q: ipc.Queue[Any]) -> None:
    for number in range(500):
        q.put(number)
    assert [q.get() for _ in range(500)] == list(range(500))


def test_what_put_has_returned_from_is_there_at_once(q: ipc.Queue[Any]) -> None:
    for number in range(1000):
        q.put(number)
        assert q.qsize() == 1
        assert q.get_nowait() == number
        assert q.empty()


PUTS: dict[str, Callable[[Any, Any], None]] = {
    "put": lambda q, obj: q.put(obj),
    "put with block and timeout": lambda q, obj: q.put(obj, True, None),
    "put for no longer than": lambda q, obj: q.put(obj, True, LONG),
    "put with a keyword": lambda q, obj: q.put(obj, timeout=LONG),
    "put without waiting": lambda q, obj: q.put(obj, False),
    "put_nowait": lambda q, obj: q.put_nowait(obj),
    "put a keyword": lambda q, obj: q.put(obj=obj),
}
GETS: dict[str, Callable[[Any], Any]] = {
    "get": lambda q: q.get(),
    "get with block and timeout": lambda q: q.get(True, None),
    "get for no longer than": lambda q: q.get(True, LONG),
    "get with a keyword": lambda q: q.get(timeout=LONG),
    "get without waiting": lambda q: q.get(False),
    "get_nowait": lambda q: q.get_nowait(),
}


@pytest.mark.parametrize("maxsize", [0, 5])
@pytest.mark.parametrize("put", PUTS.values(), ids=PUTS)
@pytest.mark.parametrize("get", GETS.values(), ids=GETS)
def test_every_way_of_putting_goes_with_every_way_of_getting(
    put: Callable[[Any, Any], None], get: Callable[[Any], Any], maxsize: int
) -> None:
    with ipc.Queue[Any](maxsize) as q:
        for message in (b"bytes", ("small", 1), b"x" * 10_000, None, "y" * 10_000):
            put(q, message)
            assert get(q) == message
        assert q.empty()


def test_what_is_changed_after_put_arrives_as_it_was(q: ipc.Queue[Any]) -> None:
    listed, raw = [1, 2], bytearray(b"before")
    q.put(listed)
    q.put(raw)
    listed.append(3)
    raw[:] = b"behind"
    assert q.get() == [1, 2]
    assert q.get() == b"before"


class Unpicklable:
    def __reduce__(self) -> Any:
        raise pickle.PicklingError("not this one")


@pytest.mark.parametrize("maxsize", [0, 5])
def test_an_object_that_cannot_be_pickled_raises_in_put_and_does_no_harm(maxsize: int) -> None:
    with ipc.Queue[Any](maxsize) as q:
        q.put("before")
        for put in (q.put, q.put_nowait):
            with pytest.raises(pickle.PicklingError, match="not this one"):
                put(Unpicklable())
            with pytest.raises((TypeError, AttributeError, pickle.PicklingError)):
                put(threading.Lock())
        q.put("behind")
        assert q.qsize() == 2
        assert [q.get(), q.get()] == ["before", "behind"]


class Poison:
    def __reduce__(self) -> Any:
        return exec, ("raise LookupError('no such luck')",)


@pytest.mark.parametrize("size", [0, 20_000])
def test_a_message_that_cannot_be_unpickled_is_taken_and_the_next_one_comes(q: ipc.Queue[Any], size: int) -> None:
    q.put((bytes(size), Poison()))
    q.put("next")
    with pytest.raises(LookupError, match="no such luck"):
        q.get()
    assert q.get() == "next"
    assert q.empty()


# --- full ---------------------------------------------------------------------------------------------------------

REFUSED_PUTS: dict[str, Callable[[Any], None]] = {
    "put_nowait": lambda q: q.put_nowait(3),
    "block=False": lambda q: q.put(3, block=False),
    "block=False and a timeout that does not count": lambda q: q.put(3, False, LONG),
    "timeout 0": lambda q: q.put(3, timeout=0),
    "a timeout": lambda q: q.put(3, True, 0.02),
    "a negative timeout": lambda q: q.put(3, True, -1),
    "an int of a timeout, long past": lambda q: q.put(3, True, -(10**30)),
    "put_many": lambda q: q.put_many([3], timeout=0),
    "put_many without waiting": lambda q: q.put_many([3], False),
}


@pytest.mark.parametrize("put", REFUSED_PUTS.values(), ids=REFUSED_PUTS)
def test_a_full_queue_raises_the_standard_library_s_full(two: ipc.Queue[Any], put: Callable[[Any], None]) -> None:
    assert two.full()
    with pytest.raises(standard.Full) as caught:
        put(two)
    assert isinstance(caught.value, builtins.TimeoutError)
    assert isinstance(caught.value, ipc.IpcError)
    assert [two.get(), two.get()] == [1, 2]
    assert two.empty()


@pytest.mark.parametrize("timeout", ["1", [1], object(), 1j])
def test_a_timeout_that_is_no_number_is_said_to_be_none(timeout: Any) -> None:
    with ipc.Queue[Any](1) as q:
        for get in (q.get, lambda timeout: q.get_many(timeout=timeout)):
            with pytest.raises(TypeError, match="timeout must be a number of seconds or None"):
                get(timeout=timeout)
        q.put(1)
        for put in (q.put, lambda obj, timeout: q.put_many([obj], timeout=timeout)):
            with pytest.raises(TypeError, match="timeout must be a number of seconds or None"):
                put(2, timeout=timeout)
        assert q.get() == 1
        assert q.empty()


def test_a_timeout_is_waited_for(two: ipc.Queue[Any]) -> None:
    begin = time.monotonic()
    with pytest.raises(standard.Full):
        two.put(3, timeout=0.25)
    assert time.monotonic() - begin >= 0.25
    assert [two.get(), two.get()] == [1, 2]
    begin = time.monotonic()
    with pytest.raises(standard.Empty):
        two.get(timeout=0.25)
    assert time.monotonic() - begin >= 0.25


@pytest.mark.parametrize("timeout", ["1", float("nan"), object(), [1]])
def test_a_timeout_that_is_no_number_is_refused(two: ipc.Queue[Any], timeout: Any) -> None:
    for call in (lambda: two.put(3, timeout=timeout), lambda: (two.get(), two.get(), two.get(timeout=timeout))):
        with pytest.raises((TypeError, ValueError)):
            call()


@pytest.mark.parametrize("maxsize", [1, 2, 7, 100])
def test_maxsize_is_exact_with_one_producer(maxsize: int) -> None:
    with ipc.Queue[Any](maxsize) as q:
        for turn in range(3):
            for number in range(maxsize):
                assert not q.full()
                assert q.qsize() == number
                q.put_nowait((turn, number))
            assert q.full()
            with pytest.raises(standard.Full):
                q.put_nowait("one too many")
            assert q.get() == (turn, 0)
            assert not q.full()
            q.put_nowait("the last")
            assert [q.get() for _ in range(maxsize)] == [*((turn, n) for n in range(1, maxsize)), "the last"]


def test_a_bounded_queue_holds_as_many_small_messages_as_it_says() -> None:
    """Fill first, start the workers later: that is what maxsize is for, also beyond a few thousand."""
    with ipc.Queue[Any](6000) as q:
        for number in range(6000):
            q.put_nowait(number)
        assert q.full()
        with pytest.raises(standard.Full):
            q.put_nowait("one too many")
        assert [q.get_nowait() for _ in range(6000)] == list(range(6000))


def test_a_put_that_waits_goes_on_as_soon_as_there_is_room(two: ipc.Queue[Any]) -> None:
    putter = threading.Thread(target=two.put, args=(3, True, LONG))
    putter.start()
    assert two.get(timeout=LONG) == 1
    putter.join()
    assert [two.get(timeout=LONG), two.get(timeout=LONG)] == [2, 3]


def test_a_bounded_queue_whose_lane_is_full_raises_full_as_well() -> None:
    with ipc.Queue[Any](1000, capacity=PAGE) as q:
        q.put(b"a" * 3000)
        with pytest.raises(standard.Full, match="no room for 3000 bytes"):
            q.put(b"b" * 3000, timeout=0)
        assert not q.full()
        assert q.get() == b"a" * 3000
        q.put(b"b" * 3000, timeout=0)
        assert q.get() == b"b" * 3000


# --- empty --------------------------------------------------------------------------------------------------------

REFUSED_GETS: dict[str, Callable[[Any], Any]] = {
    "get_nowait": lambda q: q.get_nowait(),
    "block=False": lambda q: q.get(block=False),
    "block=False and a timeout that does not count": lambda q: q.get(False, LONG),
    "timeout 0": lambda q: q.get(timeout=0),
    "a timeout": lambda q: q.get(True, 0.02),
    "a negative timeout": lambda q: q.get(True, -1),
    "an int of a timeout, long past": lambda q: q.get(True, -(10**30)),
    "get_many": lambda q: q.get_many(10, 0),
    "get_many with a keyword": lambda q: q.get_many(timeout=0.02),
}


@pytest.mark.parametrize("used", [False, True])
@pytest.mark.parametrize("get", REFUSED_GETS.values(), ids=REFUSED_GETS)
def test_an_empty_queue_raises_the_standard_library_s_empty(get: Callable[[Any], Any], used: bool) -> None:
    with ipc.Queue[Any]() as q:
        if used:
            q.put("gone")
            assert q.get() == "gone"
        with pytest.raises(standard.Empty) as caught:
            get(q)
        assert isinstance(caught.value, builtins.TimeoutError)
        assert isinstance(caught.value, ipc.IpcError)
        q.put("still works")
        assert q.get() == "still works"


def test_a_get_that_waits_goes_on_as_soon_as_there_is_a_message(q: ipc.Queue[Any]) -> None:
    putter = threading.Timer(0.05, q.put, ("late",))
    putter.start()
    assert q.get(timeout=LONG) == "late"
    putter.join()


def test_qsize_empty_and_full_tell_what_is_there() -> None:
    with ipc.Queue[Any](3) as q:
        seen = []
        for step in (None, "a", "b", "c"):
            if step is not None:
                q.put(step)
            seen.append((q.qsize(), q.empty(), q.full()))
        assert seen == [(0, True, False), (1, False, False), (2, False, False), (3, False, True)]
        q.get()
        assert (q.qsize(), q.empty(), q.full()) == (2, False, False)


# --- what it looks like -------------------------------------------------------------------------------------------


def test_a_queue_says_what_it_is(name: str) -> None:
    with ipc.Queue[Any]() as anonymous, ipc.Queue[Any](name=name) as named:
        assert (str(anonymous), str(named)) == ("queue", f"queue {name!r}")
        assert (anonymous.name, named.name) == (None, name)
        named.put(1)
        assert repr(named) == f"<queue {name!r}, 1 messages>"
        named.get()
    assert repr(named) == f"<queue {name!r}, closed>"


def test_a_queue_is_not_pickled_by_hand(q: ipc.Queue[Any]) -> None:
    with pytest.raises(ipc.HandOverError, match="name="):
        pickle.dumps(q)
    with pytest.raises(ipc.HandOverError):
        q.put(q)
    assert q.empty()

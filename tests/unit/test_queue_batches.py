"""put_many and get_many: all of them, in order, and when something fails it is said which have gone.  None is lost."""

from __future__ import annotations

import queue as standard
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

import ipc

LONG = 30.0
PAGE = 4096

MIXED = [b"raw", "text", 3, bytearray(b"array"), None, b"", [1, 2], memoryview(b"view"), b"x" * 10_000] * 50
PLAIN = [bytes(m) if isinstance(m, (bytearray, memoryview)) else m for m in MIXED]

ITERABLES: dict[str, Callable[[list[Any]], Iterable[Any]]] = {
    "list": list,
    "tuple": tuple,
    "deque": deque,
    "generator": lambda messages: (message for message in messages),
    "iterator": iter,
}


@pytest.fixture
def q() -> Iterator[ipc.Queue[Any]]:
    with ipc.Queue[Any](capacity="4MiB") as made:
        yield made


# --- Queue.put_many -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("maxsize", [0, 5000])
@pytest.mark.parametrize("iterable", ITERABLES.values(), ids=ITERABLES)
def test_put_many_puts_all_of_any_iterable(iterable: Callable[[list[Any]], Iterable[Any]], maxsize: int) -> None:
    with ipc.Queue[Any](maxsize, capacity="4MiB") as q:
        assert q.put_many(iterable(MIXED)) == len(MIXED)
        assert q.qsize() == len(MIXED)
        assert [q.get(timeout=LONG) for _ in MIXED] == PLAIN


def test_put_many_of_nothing_puts_nothing(q: ipc.Queue[Any]) -> None:
    assert q.put_many([]) == 0
    assert q.empty()


def test_put_many_takes_text_and_bytes_as_the_iterables_that_they_are(q: ipc.Queue[Any]) -> None:
    assert q.put_many("abc") == 3
    assert q.put_many(b"ab") == 2
    assert q.get_many() == ["a", "b", "c", 97, 98]


@pytest.mark.parametrize("what", [None, 5, object()])
def test_put_many_of_what_is_no_iterable_is_a_type_error(q: ipc.Queue[Any], what: Any) -> None:
    with pytest.raises(TypeError):
        q.put_many(what)
    assert q.empty()


def test_put_many_beyond_the_capacity_of_an_unbounded_queue_does_not_block() -> None:
    with ipc.Queue[Any](capacity=PAGE) as q:
        assert q.put_many(range(10_000)) == 10_000
        q.put(10_000)
        assert q.qsize() == 10_001
        assert [q.get(timeout=LONG) for _ in range(10_001)] == list(range(10_001))


def test_put_many_beyond_maxsize_waits_for_room() -> None:
    with ipc.Queue[Any](3) as q, ThreadPoolExecutor(1) as pool:
        putting = pool.submit(q.put_many, range(100), True, LONG)
        assert [q.get(timeout=LONG) for _ in range(100)] == list(range(100))
        assert putting.result(LONG) == 100


def test_a_put_many_that_finds_no_room_says_how_many_went() -> None:
    with ipc.Queue[Any](5) as q:
        for call in (lambda: q.put_many(range(8), False), lambda: q.put_many(range(8), timeout=0.02)):
            with pytest.raises(standard.Full) as caught:
                call()
            assert caught.value.put == 5  # type: ignore[attr-defined]
            assert q.get_many() == [0, 1, 2, 3, 4]


class Unpicklable:
    def __reduce__(self) -> Any:
        raise LookupError("not this one")


def failing(messages: Iterable[Any]) -> Iterator[Any]:
    yield from messages
    raise LookupError("not this one")


@pytest.mark.parametrize("before", [0, 1, 1500])
@pytest.mark.parametrize("how", ["unpicklable", "iterable"])
def test_what_came_before_the_one_that_failed_was_put(before: int, how: str) -> None:
    good: list[Any] = list(range(before))
    for many in ([*good, Unpicklable(), "never"], failing(good)):
        with ipc.Queue[Any]() as q:
            with pytest.raises(LookupError, match="not this one") as caught:
                q.put_many(many)
            assert caught.value.put == before  # type: ignore[attr-defined]
            assert [q.get(timeout=LONG) for _ in good] == good
            assert q.empty()


def test_an_iterable_may_fill_the_same_memory_again(q: ipc.Queue[Any]) -> None:
    def filled() -> Iterator[Any]:
        raw, array = bytearray(8), np.zeros(4, "i8")
        for number in range(100):
            raw[0] = number
            array[:] = number
            yield raw
            yield array
            yield {"column": array}

    assert q.put_many(filled()) == 300
    for number in range(100):
        assert q.get(timeout=LONG)[0] == number
        assert q.get(timeout=LONG).tolist() == [number] * 4
        assert q.get(timeout=LONG)["column"].tolist() == [number] * 4


def test_messages_of_a_slow_iterable_do_not_wait_for_those_that_follow(q: ipc.Queue[Any]) -> None:
    got: list[Any] = []

    def slow() -> Iterator[Any]:
        yield "first"
        yield "second"
        while not got:  # until somebody has what was put so far
            got.extend(q.get_many(timeout=0.05) if not q.empty() else ())
            yield "more"

    q.put_many(slow())
    assert got[0] == "first"


# --- Queue.get_many -----------------------------------------------------------------------------------------------


def test_get_many_takes_what_is_there_up_to_max(q: ipc.Queue[Any]) -> None:
    q.put_many(range(10))
    assert q.get_many(3) == [0, 1, 2]
    assert q.get_many(max=4, timeout=LONG) == [3, 4, 5, 6]
    assert q.get_many() == [7, 8, 9]
    with pytest.raises(standard.Empty):
        q.get_many(3, 0)


@pytest.mark.parametrize("most", [0, -1, 1.5, None, True])
def test_a_max_that_means_nothing_is_refused(q: ipc.Queue[Any], most: Any) -> None:
    q.put("stays")
    with pytest.raises((ValueError, TypeError), match="max"):
        q.get_many(most)
    assert q.get() == "stays"


def test_get_many_waits_for_the_first_only(q: ipc.Queue[Any]) -> None:
    with ThreadPoolExecutor(1) as pool:
        getting = pool.submit(q.get_many, 10, LONG)
        q.put("first")
        assert getting.result(LONG) == ["first"]


def test_get_many_takes_every_kind_of_message(q: ipc.Queue[Any]) -> None:
    q.put_many(MIXED)
    got: list[Any] = []
    while len(got) < len(MIXED):
        got += q.get_many(timeout=LONG)
    assert got == PLAIN


@pytest.mark.parametrize("kind", ["bytes", "pickle", "array"])
def test_a_batch_ends_with_the_message_that_has_no_room_in_it(q: ipc.Queue[Any], kind: str) -> None:
    def message(number: int, size: int) -> Any:
        made = bytes([number]) * size
        return {"bytes": made, "pickle": [number, made], "array": np.frombuffer(made, np.uint8)}[kind]

    sizes = [100_000, 200_000, 10, 300_000, 20]  # the second passes 256 KiB, the fourth does so alone
    q.put_many([message(number, size) for number, size in enumerate(sizes)])
    got = [q.get_many(timeout=LONG) for _ in range(3)]
    assert [len(batch) for batch in got] == [2, 2, 1]
    for number, (size, found) in enumerate(zip(sizes, [one for batch in got for one in batch], strict=True)):
        np.testing.assert_equal(found, message(number, size))
    assert q.stats().depth == 0


class Poison:
    def __reduce__(self) -> Any:
        return exec, ("raise LookupError('no such luck')",)


@pytest.mark.parametrize("size", [0, 20_000])
@pytest.mark.parametrize("before", [0, 1, 3])
def test_what_get_many_has_taken_is_not_lost_when_the_next_one_can_not_be_decoded(
    q: ipc.Queue[Any], before: int, size: int
) -> None:
    q.put_many([*range(before), (bytes(size), Poison()), "behind"])
    got: list[Any] = []
    if before:
        got += q.get_many(timeout=LONG)
    with pytest.raises(LookupError, match="no such luck"):
        q.get_many(timeout=LONG)
    assert got == list(range(before))
    assert q.get_many(timeout=LONG) == ["behind"]


# --- ReliableQueue ------------------------------------------------------------------------------------------------


@pytest.fixture
def reliable() -> Iterator[ipc.ReliableQueue[Any]]:
    with ipc.ReliableQueue[Any](capacity="4MiB") as made:
        yield made


@pytest.mark.parametrize("iterable", ITERABLES.values(), ids=ITERABLES)
def test_a_reliable_put_many_gives_a_receipt_for_each(
    reliable: ipc.ReliableQueue[Any], iterable: Callable[[list[Any]], Iterable[Any]]
) -> None:
    receipts = reliable.put_many(iterable(MIXED))
    assert len(receipts) == len({receipt.id for receipt in receipts}) == len(MIXED)
    deliveries = reliable.get_many(len(MIXED), LONG)
    assert [delivery.message for delivery in deliveries] == PLAIN
    assert [delivery.id for delivery in deliveries] == [receipt.id for receipt in receipts]
    reliable.ack_many(deliveries)
    assert all(receipt.done() for receipt in receipts)


def test_a_reliable_put_many_that_fails_gives_the_receipts_of_those_before() -> None:
    with ipc.ReliableQueue[Any](capacity=PAGE) as q:
        with pytest.raises(standard.Full) as caught:
            q.put_many([b"x" * 1500] * 5, timeout=0.02)
        assert [receipt.id for receipt in caught.value.receipts] == [d.id for d in q.get_many()]  # type: ignore[attr-defined]
        with pytest.raises(LookupError) as failed:
            q.put_many(failing([]))
        assert failed.value.receipts == []  # type: ignore[attr-defined]


def test_an_iterable_may_fill_the_same_memory_again_also_for_a_reliable_queue(
    reliable: ipc.ReliableQueue[Any],
) -> None:
    raw = bytearray(8)

    def filled() -> Iterator[Any]:
        for number in range(100):
            raw[0] = number
            yield raw

    reliable.put_many(filled())
    assert [delivery.message[0] for delivery in reliable.get_many(100)] == list(range(100))


def test_a_reliable_get_many_takes_what_is_there_up_to_max(reliable: ipc.ReliableQueue[Any]) -> None:
    reliable.put_many(range(5))
    assert [delivery.message for delivery in reliable.get_many(3)] == [0, 1, 2]
    assert [delivery.message for delivery in reliable.get_many(max=3, timeout=LONG)] == [3, 4]
    with pytest.raises(standard.Empty):
        reliable.get_many(3, 0)
    for most in (0, -1):
        with pytest.raises(ValueError, match="max"):
            reliable.get_many(most)


def test_deliveries_are_not_lost_when_the_next_one_can_not_be_decoded(reliable: ipc.ReliableQueue[Any]) -> None:
    reliable.put_many([1, 2, Poison(), 3])
    held = reliable.get_many(10, LONG)
    assert [delivery.message for delivery in held] == [1, 2]
    with pytest.raises(LookupError, match="no such luck"):
        reliable.get_many(10, LONG)
    reliable.ack_many(held)
    assert reliable.stats().acknowledged == 2


def test_ack_many_acks_the_others_when_some_are_lost(reliable: ipc.ReliableQueue[Any]) -> None:
    reliable.put_many(range(6))
    deliveries = reliable.get_many(6)
    deliveries[1].ack()
    deliveries[4].nack()
    with pytest.raises(ipc.LeaseLostError, match=rf"{deliveries[1].id}, {deliveries[4].id}\]"):
        reliable.ack_many(deliveries)
    stats = reliable.stats()
    assert (stats.acknowledged, stats.ready, stats.leased) == (5, 1, 0)
    reliable.ack_many([])


class Counts:
    """Says how often it was pickled, and may refuse."""

    def __init__(self, refuses: bool = False) -> None:
        self.times = 0
        self.refuses = refuses

    def __reduce__(self) -> tuple[Any, ...]:
        self.times += 1
        if self.refuses:
            raise ValueError("not me")
        return (int, (self.times,))


def test_what_pickling_raises_in_a_batch_is_raised_once_what_came_before_it_was_put() -> None:
    """So is what a signal's handler raises while something is pickled: nothing is tried again."""
    with ipc.Queue[Any]() as q:
        good, bad = Counts(), Counts(refuses=True)
        with pytest.raises(ValueError, match="not me") as raised:
            q.put_many([[good], [bad], [good]])
        assert raised.value.put == 1  # type: ignore[attr-defined]
        assert (good.times, bad.times) == (1, 1)
        assert q.get_many(timeout=0) == [[1]]


def test_a_batch_that_finds_no_room_pickles_nothing_twice() -> None:
    with ipc.Queue[Any](maxsize=2) as q:
        several = [Counts() for _ in range(4)]
        with pytest.raises(standard.Full) as raised:
            q.put_many([[one] for one in several], timeout=0)
        assert raised.value.put == 2  # type: ignore[attr-defined]
        assert [one.times for one in several] == [1, 1, 1, 1]
        q.purge()

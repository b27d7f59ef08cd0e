"""A signal's handler may raise at any moment of a queue's call: the call can be made again, and what is lost or
repeated is what the documentation says.

    ipc.Queue          a put has put or not; a get takes one message, or loses that one, or leaves it
    ipc.ReliableQueue  a put has put or not; nothing that waits is lost, whatever is interrupted

In this file handlers raise at each place of our Python code where one can run (see test_interrupted_loans.py); there
are none in the middle of a native call.  Sleeping calls: tests/process/test_queue_signals.py.
"""

from __future__ import annotations

import contextlib
import functools
import queue as standard
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import ipc
from ipc._core import (
    arguments,
    dead_letters,
    delivery,
    encoding,
    hands,
    lending,
    plain_batches,
    plain_queue,
    plain_taking,
    queues,
    reliable_queue,
)
from tests.unit import test_interrupted_loans as moments

PAGE = 4096
LARGE = 20_000

MESSAGES: dict[str, Any] = {
    "bytes": b"raw",
    "pickle": ("a", 1),
    "array": np.arange(5),
    "large bytes": b"r" * LARGE,
    "large pickle": "z" * LARGE,
    "large array": np.arange(LARGE // 8),
}
each_moment = functools.partial(moments.each_moment, least=2)  # some calls are a few lines long

messages = pytest.mark.parametrize("message", MESSAGES.values(), ids=MESSAGES)


@pytest.fixture(autouse=True)
def in_python(monkeypatch: pytest.MonkeyPatch) -> None:
    """No handler runs in the accelerator."""
    go = queues.QueueHandle._go_fast

    def nothing_is_fast(queue: Any, **which: Any) -> None:
        go(queue, puts=False, gets=False, lease_ns=which.get("lease_ns", 0))

    monkeypatch.setattr(queues.QueueHandle, "_go_fast", nothing_is_fast)


@pytest.fixture(autouse=True)
def everywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """The moments are those of all modules that a queue's call runs through."""
    modules = (arguments, delivery, encoding, hands, lending, plain_batches, plain_queue, plain_taking, queues)
    files = {module.__file__ for module in (*modules, dead_letters, reliable_queue)}
    monkeypatch.setattr(moments, "FILES", files)
    monkeypatch.setattr(moments, "Interrupt", KeyboardInterrupt)
    # what a call has returned is its caller's, though the caller may be interrupted before it looks
    returned = {(name, "return") for name in ("get", "get_many", "_get_waiting")}
    monkeypatch.setattr(moments, "LEFT_OUT", moments.LEFT_OUT | returned)


def plain(message: Any) -> Any:
    return message.tolist() if isinstance(message, np.ndarray) else message


def rest(q: ipc.Queue[Any]) -> list[Any]:
    """What is there now."""
    got: list[Any] = []
    while True:
        try:
            got.append(plain(q.get_nowait()))
        except standard.Empty:
            return got


def nothing_is_held(q: Any) -> None:
    """No message is leased by us without our knowing."""
    stats = q.stats()
    assert (stats.leased, stats.kept) == (0, 0)
    assert stats.sent == stats.received + stats.depth


# --- Queue: putting ---------------------------------------------------------------------------------------------------

PUTS: dict[str, Callable[[Any, Any], Any]] = {
    "put": lambda q, message: q.put(message),
    "put in time": lambda q, message: q.put(message, timeout=5),
    "put_nowait": lambda q, message: q.put_nowait(message),
    "put_many of one": lambda q, message: q.put_many([message]),
}


@messages
@pytest.mark.parametrize("maxsize", [0, 5])
@pytest.mark.parametrize("put", PUTS.values(), ids=PUTS)
def test_an_interrupted_put_puts_all_or_nothing(put: Callable[[Any, Any], Any], maxsize: int, message: Any) -> None:
    with ipc.Queue[Any](maxsize) as q:

        def after(interrupted: bool) -> None:
            q.put("next")
            *arrived, last = rest(q)
            assert last == "next"
            assert len(arrived) in ({0, 1} if interrupted else {1})
            assert all(one == plain(message) for one in arrived)
            nothing_is_held(q)

        each_moment(lambda: put(q, message), after)


@pytest.mark.parametrize("kind", [list, iter])
def test_an_interrupted_put_many_puts_the_first_ones(kind: Callable[[Any], Any]) -> None:
    several = [b"raw", 1, np.arange(3), "z" * LARGE, b"end"]
    with ipc.Queue[Any](20) as q:

        def after(interrupted: bool) -> None:
            arrived = rest(q)
            assert arrived == list(map(plain, several))[: len(arrived)]
            assert interrupted or len(arrived) == len(several)
            nothing_is_held(q)

        each_moment(lambda: q.put_many(kind(several)), after)


def test_an_interrupted_put_to_the_feeder_puts_all_or_nothing() -> None:
    """The feeder's messages keep their order, and the lock of the feeder is free."""
    numbers = iter(range(1_000_000))
    begun: list[int] = []
    with ipc.Queue[Any](capacity=PAGE) as q:

        def put() -> None:
            begun.append(next(numbers))
            q.put((begun[-1], b"x" * 3000))

        def take_all() -> list[int]:
            got = []
            while q.qsize():
                got.append(q.get(timeout=30)[0])
            return got

        def after(interrupted: bool) -> None:
            got = take_all()
            assert got == sorted(set(got))
            assert set(got) <= set(begun)
            assert interrupted or got == begun
            begun.clear()
            for _ in range(2):  # the lane is full, and there is a feeder
                put()

        put()
        put()
        each_moment(put, after)
        take_all()


# --- Queue: getting ---------------------------------------------------------------------------------------------------

GETS: dict[str, Callable[[Any], Any]] = {
    "get": lambda q: q.get(),
    "get in time": lambda q: q.get(timeout=5),
    "get_nowait": lambda q: q.get_nowait(),
    "get behind the accelerator": lambda q: q._get_waiting(True, 5),
    "get_many": lambda q: q.get_many(1)[0],
}


@messages
@pytest.mark.parametrize("get", GETS.values(), ids=GETS)
def test_an_interrupted_get_takes_its_message_or_leaves_it(get: Callable[[Any], Any], message: Any) -> None:
    with ipc.Queue[Any]() as q:
        got: list[Any] = []

        def after(interrupted: bool) -> None:
            left = rest(q)
            assert len(got) + len(left) in ({0, 1} if interrupted else {1})
            assert all(plain(one) == plain(message) for one in (*got, *left))
            nothing_is_held(q)
            got.clear()
            q.put(message)

        q.put(message)
        each_moment(lambda: got.append(get(q)), after)


def test_an_interrupted_get_many_loses_nothing_unless_it_has_taken_all() -> None:
    several = [b"raw", 1, np.arange(3), b"end"]
    with ipc.Queue[Any]() as q:
        got: list[Any] = []

        def after(interrupted: bool) -> None:
            everything = list(map(plain, got)) + rest(q)
            assert everything == list(map(plain, several)) or (interrupted and everything == [])
            nothing_is_held(q)
            got.clear()
            q.put_many(several)

        q.put_many(several)
        each_moment(lambda: got.extend(q.get_many()), after)


@pytest.mark.parametrize("call", ["get", "get_many"])
def test_an_interrupted_look_at_an_empty_queue_leaves_it_usable(call: str) -> None:
    with ipc.Queue[Any]() as q:

        def look() -> None:
            with pytest.raises(standard.Empty):
                getattr(q, call)(timeout=0.001)

        def after(_: bool) -> None:
            q.put("next")
            assert rest(q) == ["next"]

        each_moment(look, after)


def finish(q: ipc.Queue[Any]) -> None:
    while True:
        q.task_done()


def test_interrupted_tasks_are_counted_once_or_not_at_all() -> None:
    with ipc.Queue[Any]() as q:

        def done() -> None:
            q.put(1)
            q.get()
            q.task_done()
            q.join()
            q.purge()

        def after(_: bool) -> None:
            rest(q)
            with pytest.raises(ValueError, match="too many"):  # never twice: the rest can be finished
                finish(q)
            q.join()

        each_moment(done, after)


# --- ReliableQueue ---------------------------------------------------------------------------------------------------

LEASES = pytest.mark.parametrize("lease", [None, 30.0])


def ready(q: ipc.ReliableQueue[Any]) -> list[Any]:
    """What is there now, acknowledged."""
    got: list[Any] = []
    while True:
        try:
            delivery = q.get(0)
        except ipc.TimeoutError:
            return got
        got.append(plain(delivery.message))
        delivery.ack()


@messages
def test_an_interrupted_reliable_put_puts_all_or_nothing(message: Any) -> None:
    with ipc.ReliableQueue[Any]() as q:

        def after(interrupted: bool) -> None:
            q.put("next")
            *arrived, last = ready(q)
            assert last == "next"
            assert len(arrived) in ({0, 1} if interrupted else {1})
            assert all(one == plain(message) for one in arrived)

        each_moment(lambda: q.put(message, timeout=5, ttl=100), after)


def test_an_interrupted_reliable_put_many_has_receipts_of_all_but_the_last() -> None:
    several = [b"raw", 1, np.arange(3), "z" * LARGE, b"end"]
    with ipc.ReliableQueue[Any]() as q:

        def put() -> None:
            try:
                receipts.extend(q.put_many(several))
            except KeyboardInterrupt as error:
                receipts.extend(getattr(error, "receipts", ()))
                raise

        def after(interrupted: bool) -> None:
            ids = []
            arrived = []
            while q.stats().ready:
                with q.get(0) as delivery:
                    arrived.append(plain(delivery.message))
                    ids.append(delivery.id)
            assert arrived == list(map(plain, several))[: len(arrived)]
            assert interrupted or len(arrived) == len(several)
            assert [receipt.id for receipt in receipts] == ids[: len(receipts)]
            receipts.clear()

        receipts: list[ipc.Receipt] = []
        each_moment(put, after)


@messages
@LEASES
@pytest.mark.parametrize("prefetch", [None, 1])
def test_an_interrupted_reliable_get_loses_nothing_and_holds_nothing(
    lease: float | None, prefetch: int | None, message: Any
) -> None:
    with ipc.ReliableQueue[Any](lease=lease, prefetch=prefetch, max_deliveries=250) as q:
        got: list[Any] = []

        def after(_: bool) -> None:
            for delivery in got:
                delivery.nack()
            got.clear()
            nothing_is_held(q)
            assert ready(q) == [plain(message)]
            q.put(message)

        q.put(message)
        each_moment(lambda: got.append(q.get(5)), after)


@LEASES
@pytest.mark.parametrize("prefetch", [None, 4])
def test_an_interrupted_reliable_get_many_loses_nothing_and_holds_nothing(
    lease: float | None, prefetch: int | None
) -> None:
    several = [b"raw", 1, np.arange(3), b"end"]
    with ipc.ReliableQueue[Any](lease=lease, prefetch=prefetch, max_deliveries=250) as q:
        got: list[Any] = []

        def after(_: bool) -> None:
            for delivery in got:
                delivery.nack()
            got.clear()
            nothing_is_held(q)
            assert ready(q) == list(map(plain, several))
            q.put_many(several)

        q.put_many(several)
        each_moment(lambda: got.extend(q.get_many(4, 5)), after)


@messages
@LEASES
def test_an_interrupted_ack_acknowledges_or_can_be_made_again(lease: float | None, message: Any) -> None:
    with ipc.ReliableQueue[Any](lease=lease, prefetch=1) as q:
        held: list[ipc.Delivery[Any]] = []

        def after(interrupted: bool) -> None:
            delivery = held.pop()
            try:
                delivery.ack()
            except ipc.LeaseLostError:  # it was: the message is acknowledged
                pass
            else:
                assert interrupted
            nothing_is_held(q)
            assert ready(q) == []
            q.put(message)
            held.append(q.get(5))

        q.put(message)
        held.append(q.get(5))
        each_moment(lambda: held[0].ack(), after)  # noqa: PLW0108 (another one each time)


@LEASES
@pytest.mark.parametrize("delay", [0, 0.1])
def test_an_interrupted_nack_gives_back_or_can_be_made_again(lease: float | None, delay: float) -> None:
    with ipc.ReliableQueue[Any](lease=lease, prefetch=1, max_deliveries=250) as q:
        held: list[ipc.Delivery[Any]] = []

        def after(_: bool) -> None:
            delivery = held.pop()
            with contextlib.suppress(ipc.LeaseLostError):
                delivery.nack()
            nothing_is_held(q)
            held.append(q.get(30))
            assert held[0].message == "work"

        q.put("work")
        held.append(q.get(5))
        each_moment(lambda: held[0].nack(delay), after)


def test_an_interrupted_extend_leaves_the_delivery_as_it_was() -> None:
    with ipc.ReliableQueue[Any]() as q:
        q.put("work")
        delivery = q.get()
        each_moment(lambda: delivery.extend(30), lambda _: delivery.extend(10))
        delivery.ack()


@pytest.mark.parametrize("message", [b"bytes" * 1000, np.arange(1000)], ids=["bytes", "array"])
def test_an_interrupted_view_leaves_the_delivery_usable(message: Any) -> None:
    with ipc.ReliableQueue[Any](lease=None) as q:
        q.put(message)
        delivery = q.get()

        def view() -> None:
            with delivery.view() as seen:
                assert len(seen) == len(message)

        each_moment(view, lambda _: view())
        delivery.ack()
        assert ready(q) == []


@LEASES
def test_an_interrupted_with_acknowledges_or_gives_back(lease: float | None) -> None:
    with ipc.ReliableQueue[Any](lease=lease, prefetch=1, max_deliveries=250) as q:
        held: list[ipc.Delivery[Any]] = []

        def work() -> None:
            held.append(q.get(5))
            with held[0] as delivery:
                assert delivery.message == "work"

        def after(interrupted: bool) -> None:
            if held and q.stats().leased:  # interrupted between get() and the body of the `with`
                held[0].nack()
            held.clear()
            nothing_is_held(q)
            assert ready(q) in ([["work"], []] if interrupted else [[]])
            q.put("work")

        q.put("work")
        each_moment(work, after)


def test_an_interrupted_wait_for_a_receipt_can_be_made_again() -> None:
    with ipc.ReliableQueue[Any]() as q:
        receipt = q.put("work")

        def look() -> None:
            assert not receipt.done()
            with pytest.raises(ipc.TimeoutError):
                receipt.wait(0.001)

        each_moment(look, lambda _: None)
        q.get().ack()
        assert receipt.wait(5)


@pytest.mark.parametrize("mover", ["get", "dead_letters", "requeue"])
def test_interrupted_moves_of_dead_letters_lose_none(mover: str) -> None:
    """A letter may be moved twice: at least once, by its id."""
    with ipc.ReliableQueue[Any]() as dead, ipc.ReliableQueue[Any](max_deliveries=1, dead_letter=dead) as q:

        def give_one_up() -> int:
            receipt = q.put("work")
            with q.get(5) as delivery:
                delivery.nack()
            return receipt.id

        def move() -> None:
            if mover == "get":
                with pytest.raises(ipc.TimeoutError):
                    q.get(0)
            elif mover == "dead_letters":
                assert [letter.id for letter in q.dead_letters()] == [ids[-1]]
            else:
                q.requeue(ids[-1])

        def after(_: bool) -> None:
            assert q.stats().leased == 0
            for _ in ready(q):  # requeued, and acknowledged
                ids.pop()
            found = {letter.id for letter in ready(dead)}
            assert found == set(ids)
            ids[:] = [give_one_up()]

        ids = [give_one_up()]
        each_moment(move, after)

"""A reliable queue in one process: deliveries, leases and their ends, the order of what comes again, and prefetch.

Receipts, dead letters and views have files of their own; deaths and forks are in tests/process/test_reliable*.py.
Leases that run out are the shortest there are, and a test waits for their end by get() itself.
"""

from __future__ import annotations

import builtins
import queue as standard
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

import ipc

LONG = 30.0
SHORT = 0.1  # a lease, or a delay: the unit in which they are counted
PAGE = 4096

Reliable = ipc.ReliableQueue[Any]


@pytest.fixture
def q() -> Iterator[Reliable]:
    with Reliable() as made:
        yield made


@pytest.fixture
def short() -> Iterator[Reliable]:
    with Reliable(lease=SHORT, max_deliveries=100) as made:
        yield made


def messages_of(q: Reliable) -> list[Any]:
    """Everything that is there, taken and acknowledged."""
    got = []
    while True:
        try:
            with q.get(0) as delivery:
                got.append(delivery.message)
        except standard.Empty:
            return got


def a_lease_later() -> None:
    """Returns when the shortest lease that had begun before has run out."""
    with Reliable(lease=SHORT) as clock:
        clock.put("tick")
        clock.get()
        clock.get(LONG).ack()


# --- put and get --------------------------------------------------------------------------------------------------


def test_messages_come_in_order_and_each_once_when_they_are_acknowledged(q: Reliable) -> None:
    for number in range(500):
        q.put(number)
    for number in range(500):
        delivery = q.get(LONG)
        assert (delivery.message, delivery.deliveries) == (number, 1)
        delivery.ack()
    with pytest.raises(standard.Empty):
        q.get(0)


def test_a_delivery_tells_what_there_is_to_know(q: Reliable) -> None:
    import os

    receipt = q.put("work")
    delivery = q.get(LONG)
    assert (delivery.id, delivery.deliveries, delivery.source) == (receipt.id, 1, os.getpid())
    assert repr(delivery) == f"<Delivery 1 of message {receipt.id}, held>"
    delivery.ack()
    assert repr(delivery) == f"<Delivery 1 of message {receipt.id}, ended>"
    assert delivery.message == "work"


def test_ids_are_never_used_again(q: Reliable) -> None:
    ids: list[int] = []
    for _ in range(3):
        receipts = q.put_many(range(1500))
        ids += [receipt.id for receipt in receipts]
        assert len(messages_of(q)) == 1500
    assert len(set(ids)) == 4500
    assert ids == sorted(ids)


@pytest.mark.parametrize("timeout", [0, 0.02])
def test_nothing_within_the_timeout_is_both_libraries_error(q: Reliable, timeout: float) -> None:
    with pytest.raises(standard.Empty) as empty:
        q.get(timeout)
    with Reliable(capacity=PAGE) as full:
        full.put(b"x" * 4000)
        with pytest.raises(standard.Full) as caught:
            full.put(b"x" * 4000, timeout)
    for error in (empty.value, caught.value):
        assert {builtins.TimeoutError, ipc.TimeoutError} <= set(type(error).__mro__)


@pytest.mark.parametrize("timeout", [-1, float("nan")])
def test_a_timeout_that_means_nothing_is_refused(q: Reliable, timeout: float) -> None:
    with pytest.raises(ValueError, match="timeout"):
        q.get(timeout)


@pytest.mark.parametrize("option", [{"lease": 0}, {"lease": -1}, {"lease": 10**7}, {"lease": float("nan")},
                                    {"max_deliveries": 0}, {"max_deliveries": 255}, {"prefetch": 0}])  # fmt: skip
def test_options_that_mean_nothing_are_refused(option: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(option))):
        Reliable(**option)


@pytest.mark.parametrize(
    "option", [{"lease": "long"}, {"max_deliveries": 1.5}, {"dead_letter": "name"}, {"prefetch": "1"}]
)
def test_options_of_another_type_are_refused(option: dict[str, Any]) -> None:
    with pytest.raises(TypeError, match=next(iter(option))):
        Reliable(**option)


class _Closing:
    """Closes a queue when it is loaded."""

    queue: Any = None

    def __reduce__(self) -> Any:
        return self.load, ()

    @staticmethod
    def load() -> str:
        _Closing.queue.close()
        return "loaded"


def test_a_get_whose_queue_is_closed_before_it_returns_says_so_and_the_message_goes_to_others(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    q = ipc.ReliableQueue[Any](name=name)
    with ipc.ReliableQueue.attach(name) as other:
        q.put(_Closing())
        monkeypatch.setattr(_Closing, "queue", q)
        with pytest.raises(ipc.ClosedError, match=name):
            q.get(timeout=30)
        assert (other.stats().leased, other.stats().depth) == (0, 1)
        with other.get(timeout=30) as delivery:
            assert (delivery.message, delivery.deliveries) == ("loaded", 2)


def test_a_blocked_get_or_put_ends_when_another_thread_closes() -> None:
    with Reliable(capacity=PAGE) as q, Reliable(prefetch=1) as holding, ThreadPoolExecutor(3) as pool:
        putting = pool.submit(lambda: [q.put(b"x" * 3000) for _ in range(3)])
        holding.put_many([1, 2])
        held = holding.get()
        waiting_for_hands = pool.submit(holding.get)
        with Reliable() as empty:
            getting = pool.submit(empty.get)
            threading.Event().wait(0.05)
            for queue in (q, holding, empty):
                queue.close()
        for future in (putting, waiting_for_hands, getting):
            with pytest.raises(ipc.ClosedError, match="is closed"):
                future.result(LONG)
        assert held.message == 1


def test_shutdown_is_no_part_of_a_reliable_queue(q: Reliable) -> None:
    assert not hasattr(q, "shutdown")
    assert not hasattr(q, "task_done")


# --- ack, nack, extend --------------------------------------------------------------------------------------------


def test_a_nacked_message_comes_again_before_newer_ones(q: Reliable) -> None:
    q.put_many(range(5))
    first, second = q.get_many(2)
    second.nack()
    first.nack()
    again = q.get_many(5)
    assert [(delivery.message, delivery.deliveries) for delivery in again] == [(0, 2), (1, 2), (2, 1), (3, 1), (4, 1)]


def test_a_message_that_comes_again_has_its_id(q: Reliable) -> None:
    receipt = q.put("again")
    for count in range(1, 5):
        delivery = q.get(LONG)
        assert (delivery.id, delivery.deliveries) == (receipt.id, count)
        delivery.nack()


def test_a_delay_keeps_a_nacked_message_back_and_lets_others_pass(q: Reliable) -> None:
    q.put_many(["delayed", "next"])
    q.get(LONG).nack(delay=SHORT)
    with q.get(LONG) as delivery:
        assert delivery.message == "next"
    with pytest.raises(standard.Empty):
        q.get(0)
    with q.get(LONG) as delivery:  # nobody puts meanwhile
        assert (delivery.message, delivery.deliveries) == ("delayed", 2)


@pytest.mark.parametrize("delay", [-1, float("nan"), 10**9, float("inf")])
def test_a_delay_that_means_nothing_or_is_too_long_is_refused_and_the_message_is_still_held(
    q: Reliable, delay: float
) -> None:
    q.put("held")
    delivery = q.get()
    with pytest.raises(ValueError, match="delay"):
        delivery.nack(delay)
    delivery.ack()
    assert q.stats().acknowledged == 1


ENDS: dict[str, Callable[[ipc.Delivery[Any]], None]] = {
    "ack": lambda delivery: delivery.ack(),
    "nack": lambda delivery: delivery.nack(),
    "nack with a delay": lambda delivery: delivery.nack(SHORT),
}
USES = ENDS | {"extend": lambda delivery: delivery.extend(1)}


@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS)
@pytest.mark.parametrize("use", USES.values(), ids=USES)
def test_a_delivery_that_was_ended_can_not_be_used_again_and_nothing_changes(
    q: Reliable, end: Callable[[Any], None], use: Callable[[Any], None]
) -> None:
    q.put("once")
    delivery = q.get()
    end(delivery)
    before = q.stats()
    with pytest.raises(ipc.LeaseLostError, match=f"message {delivery.id} was acknowledged or returned already"):
        use(delivery)
    assert q.stats()._replace(lanes=()) == before._replace(lanes=())


def test_a_context_manager_acks_on_success_and_nacks_on_an_exception(q: Reliable) -> None:
    q.put("work")
    with pytest.raises(LookupError, match="no such luck"), q.get() as delivery:
        raise LookupError("no such luck")
    with q.get(LONG) as delivery:
        assert (delivery.message, delivery.deliveries) == ("work", 2)
    stats = q.stats()
    assert (stats.acknowledged, stats.delivered, stats.redelivered, stats.depth) == (1, 2, 1, 0)


@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS)
def test_a_delivery_may_be_ended_within_its_block(q: Reliable, end: Callable[[Any], None]) -> None:
    q.put("work")
    with q.get() as delivery:
        end(delivery)
    q.put("more")

    def fail() -> None:
        with q.get(LONG) as delivery:
            end(delivery)
            raise KeyError("on its way")

    with pytest.raises(KeyError, match="on its way"):
        fail()


def test_a_block_whose_lease_was_lost_says_so_unless_an_error_is_on_its_way(short: Reliable) -> None:
    def lose(error: BaseException | None) -> None:
        short.put("work")
        with short.get(LONG) as first:
            second = short.get(LONG)
            assert second.id == first.id
            second.ack()
            if error is not None:
                raise error

    with pytest.raises(ipc.LeaseLostError):
        lose(None)
    with pytest.raises(KeyError, match="on its way"):
        lose(KeyError("on its way"))


# --- leases that run out ------------------------------------------------------------------------------------------


def test_a_lease_that_runs_out_gives_the_message_to_the_next_before_newer_ones(short: Reliable) -> None:
    short.put_many(["late", "next"])
    first = short.get()
    a_lease_later()
    again = short.get(0)
    assert (again.message, again.deliveries, again.id) == ("late", 2, first.id)
    assert short.get(0).message == "next"


@pytest.mark.parametrize("use", USES.values(), ids=USES)
def test_a_lease_that_somebody_else_has_is_lost_and_nothing_changes(
    short: Reliable, use: Callable[[Any], None]
) -> None:
    short.put("work")
    first = short.get()
    second = short.get(LONG)
    second.extend(100)
    with pytest.raises(ipc.LeaseLostError, match="is over, and others may have the message"):
        use(first)
    stats = short.stats()
    assert (stats.leased, stats.ready, stats.acknowledged) == (1, 0, 0)
    second.ack()
    assert short.stats().acknowledged == 1
    with pytest.raises(ipc.LeaseLostError):
        use(first)


def test_a_lease_that_ran_out_still_counts_while_nobody_else_has_the_message() -> None:
    """Late is not lost: the message is done with, and delivering it again would help nobody."""
    with Reliable(lease=SHORT) as q:
        q.put("work")
        held = q.get()
        a_lease_later()
        held.ack()
        assert (q.stats().acknowledged, q.stats().delivered) == (1, 1)


def test_extend_keeps_a_message_beyond_its_lease() -> None:
    with Reliable(lease=SHORT) as q:
        q.put("kept")
        delivery = q.get()
        delivery.extend(1000)
        a_lease_later()
        with pytest.raises(standard.Empty):
            q.get(0.2)
        delivery.ack()
        assert q.stats().delivered == 1


def test_extend_may_shorten_as_well(q: Reliable) -> None:
    q.put("given back soon")
    q.get().extend(SHORT)
    assert q.get(LONG).deliveries == 2


@pytest.mark.parametrize("seconds", [0, -1, 10**7, float("nan")])
def test_an_extension_that_means_nothing_is_refused(q: Reliable, seconds: float) -> None:
    q.put("held")
    delivery = q.get()
    with pytest.raises(ValueError, match="seconds"):
        delivery.extend(seconds)
    delivery.ack()


def test_without_an_end_a_lease_lasts_until_it_is_given_back() -> None:
    with Reliable(lease=None) as q:
        q.put("held")
        delivery = q.get()
        delivery.extend(SHORT)  # needs none, and gets no end by it
        a_lease_later()
        with pytest.raises(standard.Empty):
            q.get(0.2)
        delivery.nack()
        with q.get(LONG) as again:
            assert again.deliveries == 2


# --- how many one handle holds ------------------------------------------------------------------------------------


@pytest.mark.parametrize("end", ["ack", "nack"])
def test_prefetch_bounds_what_a_handle_holds(end: str) -> None:
    with Reliable(prefetch=2) as q:
        q.put_many(range(5))
        held = q.get_many(5)
        assert [delivery.message for delivery in held] == [0, 1]
        with pytest.raises(standard.Empty, match="holds 2 messages, which is prefetch=2"):
            q.get(0)
        getattr(held[0], end)()
        assert q.get(0).message == (2 if end == "ack" else 0)


def test_a_get_beyond_prefetch_waits_for_an_ack_of_another_thread() -> None:
    with Reliable(prefetch=1) as q, ThreadPoolExecutor(1) as pool:
        q.put_many([1, 2])
        held = q.get()
        waiting = pool.submit(q.get, LONG)
        held.ack()
        assert waiting.result(LONG).message == 2


def test_whatever_fails_gives_the_hand_back() -> None:
    class Poison:
        def __reduce__(self) -> Any:
            return exec, ("raise LookupError('no such luck')",)

    with Reliable(prefetch=1, max_deliveries=2) as q:
        for _ in range(3):
            with pytest.raises(standard.Empty):
                q.get(0)
        q.put(Poison())
        for _ in range(2):
            with pytest.raises(LookupError):
                q.get(LONG)
        q.put("fine")
        assert q.get(LONG).message == "fine"


@pytest.mark.parametrize("size", [10, 20_000])
def test_a_lost_lease_gives_the_hand_back(size: int) -> None:
    with Reliable(lease=SHORT, prefetch=1) as q, Reliable(lease=SHORT, prefetch=3, max_deliveries=99) as other:
        other.put(b"x" * size)
        held = [other.get(LONG) for _ in range(3)]
        for delivery in held[:2]:
            with pytest.raises(ipc.LeaseLostError):
                delivery.ack()
        assert len(other._hands) == 1
        held[2].ack()
        assert not other._hands
        assert not q._hands

"""Receipts: what became of a message, told to whoever put it, also after its place was used again."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

import ipc

LONG = 30.0
SHORT = 0.1
PAGE = 4096

Reliable = ipc.ReliableQueue[Any]


@pytest.fixture
def q() -> Iterator[Reliable]:
    with Reliable(max_deliveries=2) as made:
        yield made


def give_up(q: Reliable, id: int) -> None:
    """Deliver a message as often as it may be."""
    for _ in range(2):
        delivery = q.get(LONG)
        assert delivery.id == id
        delivery.nack()


def use_the_place_again(q: Reliable) -> None:
    """So many messages that every place of the lane is used again."""
    for _ in range(3):
        q.put_many(range(1500))
        q.ack_many(q.get_many(1500))


def test_a_receipt_is_done_when_the_message_was_acknowledged(q: Reliable) -> None:
    receipt = q.put("work")
    assert not receipt.done()
    delivery = q.get()
    assert not receipt.done()
    delivery.nack()
    assert not receipt.done()
    q.get(LONG).ack()
    assert receipt.done()
    assert receipt.wait() is True
    assert receipt.wait(0) is True
    assert repr(receipt) == f"<Receipt of message {receipt.id}>"


@pytest.mark.parametrize("timeout", [0, 0.02])
@pytest.mark.parametrize("taken", [False, True])
def test_a_receipt_that_is_not_decided_in_time_is_a_timeout(q: Reliable, timeout: float, taken: bool) -> None:
    receipt = q.put("work")
    held = q.get() if taken else None
    with pytest.raises(ipc.TimeoutError, match=f"message {receipt.id} was not acknowledged within"):
        receipt.wait(timeout)
    assert not receipt.done()
    (held or q.get()).ack()
    assert receipt.wait(LONG)


def test_a_receipt_s_timeout_that_means_nothing_is_refused(q: Reliable) -> None:
    with pytest.raises(ValueError, match="timeout"):
        q.put("work").wait(-1)


def test_waiting_for_a_receipt_ends_with_the_ack(q: Reliable) -> None:
    with ThreadPoolExecutor(8) as pool:
        receipts = [q.put(number) for number in range(8)]
        waiting = [pool.submit(receipt.wait, LONG) for receipt in receipts]
        for _ in receipts:
            q.get(LONG).ack()
        assert [future.result(LONG) for future in waiting] == [True] * 8


def test_receipts_are_decided_in_the_order_of_the_acks(q: Reliable) -> None:
    receipts = q.put_many(range(4))
    deliveries = q.get_many(4)
    for which in (2, 0, 3, 1):
        deliveries[which].ack()
        assert receipts[which].wait(LONG)
        assert receipts[which].done()
    assert all(receipt.done() for receipt in receipts)


GIVEN_UP: dict[str, Callable[[Reliable], ipc.Receipt]] = {}


def given_up(how: Callable[[Reliable], ipc.Receipt]) -> Callable[[Reliable], ipc.Receipt]:
    GIVEN_UP[how.__name__] = how
    return how


@given_up
def delivered_too_often(q: Reliable) -> ipc.Receipt:
    receipt = q.put("work")
    give_up(q, receipt.id)
    return receipt


@given_up
def expired(q: Reliable) -> ipc.Receipt:
    receipt = q.put("work", ttl=0)
    with pytest.raises(ipc.TimeoutError):
        q.get(0)
    return receipt


@given_up
def purged(q: Reliable) -> ipc.Receipt:
    receipt = q.put("work")
    assert q.purge() == 1
    return receipt


@given_up
def purged_as_a_dead_letter(q: Reliable) -> ipc.Receipt:
    receipt = delivered_too_often(q)
    assert q.purge() == 1
    return receipt


@pytest.mark.parametrize("how", GIVEN_UP.values(), ids=GIVEN_UP)
@pytest.mark.parametrize("later", [False, True])
def test_a_message_that_was_given_up_is_an_error_of_its_receipt(
    q: Reliable, how: Callable[[Reliable], ipc.Receipt], later: bool
) -> None:
    receipt = how(q)
    if later:
        q.purge()
        use_the_place_again(q)
    assert receipt.done()
    for timeout in (None, 0, LONG):
        with pytest.raises(ipc.DeadLetteredError, match=f"message {receipt.id} was given up"):
            receipt.wait(timeout)


def test_a_message_that_was_moved_to_the_dead_letters_is_an_error_of_its_receipt() -> None:
    with Reliable() as dead, Reliable(max_deliveries=2, dead_letter=dead) as q:
        receipt = q.put("work")
        give_up(q, receipt.id)
        with pytest.raises(ipc.TimeoutError):
            q.get(0)
        assert dead.get(LONG).message.id == receipt.id
        use_the_place_again(q)
        with pytest.raises(ipc.DeadLetteredError):
            receipt.wait()


def test_a_requeued_message_may_still_be_acknowledged(q: Reliable) -> None:
    receipt = delivered_too_often(q)
    assert receipt.done()
    q.requeue(receipt.id)
    assert not receipt.done()
    q.get(LONG).ack()
    assert receipt.wait(LONG)


def test_an_acknowledged_message_stays_so_after_its_place_was_used_again(q: Reliable) -> None:
    receipts = q.put_many(range(1000))
    q.ack_many(q.get_many(1000))
    use_the_place_again(q)
    assert all(receipt.done() and receipt.wait(0) for receipt in receipts)


def test_what_can_not_be_told_any_more_is_said_to_be_unknown(q: Reliable) -> None:
    """Of those that were given up, the last 256 are remembered."""
    acknowledged, old = q.put("acknowledged"), q.put("given up")
    q.get(LONG).ack()
    assert q.purge() == 1
    later = q.put_many(range(256))
    assert q.purge() == 256
    use_the_place_again(q)
    acknowledged_later = q.put("acknowledged later")
    q.get(LONG).ack()
    use_the_place_again(q)
    for receipt in (acknowledged, old):
        assert receipt.done()
        for timeout in (None, 0, LONG):
            with pytest.raises(ipc.OutcomeUnknownError, match=f"message {receipt.id} is done with, but .* 256 later"):
                receipt.wait(timeout)
    for receipt in later:
        with pytest.raises(ipc.DeadLetteredError):
            receipt.wait(0)
    assert acknowledged_later.wait(0)


@pytest.mark.parametrize("how", ["nack", "lease", "ttl"])
def test_waiting_for_a_receipt_ends_when_the_message_is_given_up(how: str) -> None:
    with Reliable(max_deliveries=1, lease=SHORT) as q, ThreadPoolExecutor(1) as pool:
        receipt = q.put("work", ttl=SHORT if how == "ttl" else None)
        waiting = pool.submit(receipt.wait, LONG)
        if how == "nack":
            q.get(LONG).nack()
        elif how == "lease":
            q.get(LONG)
        with pytest.raises(ipc.DeadLetteredError):
            waiting.result(LONG)


def test_waiting_for_a_receipt_ends_when_another_thread_closes(q: Reliable) -> None:
    with ThreadPoolExecutor(1) as pool:
        receipt = q.put("work")
        waiting = pool.submit(receipt.wait, LONG)
        threading.Event().wait(0.05)
        q.close()
        with pytest.raises(ipc.ClosedError):
            waiting.result(LONG)
        with pytest.raises(ipc.ClosedError):
            receipt.done()


def test_receipts_of_messages_out_of_order_are_told_apart() -> None:
    with Reliable(ordered=False, capacity=PAGE) as q:
        receipts = [q.put(b"%d" % number + b"x" * 900) for number in range(12)]
        deliveries = {delivery.id: delivery for delivery in q.get_many(12)}
        assert len({receipt.id for receipt in receipts}) == 12
        for number, receipt in enumerate(receipts):
            assert deliveries[receipt.id].message.startswith(b"%d" % number)
            assert not receipt.done()
            deliveries[receipt.id].ack()
            assert receipt.done()

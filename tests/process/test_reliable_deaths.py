"""Consumers of a reliable queue that die, stop or come late: what they held comes again, once, and nothing else does.

Times are bounded only where the promise has one: a death is noticed within 200 ms, asserted at five times that.
"""

from __future__ import annotations

import os
import queue as standard
import signal
import time
from collections.abc import Iterator
from typing import Any

import pytest

import ipc
from tests.process.support import DEATH_NOTICED_SECONDS, Forked, is_waiting, state_of, until

LONG = 30.0
SHORT = 0.1
PAGE = 4096

Reliable = ipc.ReliableQueue[Any]


@pytest.fixture(params=[30, None], ids=["lease=30", "lease=None"])
def q(request: pytest.FixtureRequest) -> Iterator[Reliable]:
    with Reliable(lease=request.param) as made:
        yield made


@pytest.fixture
def told() -> Iterator[ipc.Queue[Any]]:
    with ipc.Queue[Any]() as made:
        yield made


def hold(q: Reliable, told: ipc.Queue[Any], count: int = 1) -> None:
    """In a child: take so many, say so, and keep them until somebody ends us."""
    held = [q.get(LONG) for _ in range(count)]
    told.put([delivery.id for delivery in held])
    signal.pause()


def notice(q: Reliable, receipt: ipc.Receipt) -> None:
    """Wait until the dead hold nothing any more, by waiting for something that nobody does: that looks after deaths."""

    def looked() -> bool:
        with pytest.raises(ipc.TimeoutError):
            receipt.wait(0.1)
        return q.stats().leased == 0

    until(looked, "the death is noticed")


# --- death --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGSEGV])
def test_what_a_killed_consumer_held_comes_again_in_order_before_newer_ones(
    q: Reliable, told: ipc.Queue[Any], number: int
) -> None:
    receipts = q.put_many(range(10))
    with Forked(lambda: hold(q, told, 4)) as child:
        assert told.get(timeout=LONG) == [receipt.id for receipt in receipts[:4]]
        child.kill(number)
    notice(q, receipts[-1])
    got = [q.get(LONG) for _ in range(10)]
    assert [(delivery.message, delivery.deliveries) for delivery in got[:4]] == [(0, 2), (1, 2), (2, 2), (3, 2)]
    assert [(delivery.message, delivery.deliveries) for delivery in got[4:]] == [(n, 1) for n in range(4, 10)]
    q.ack_many(got)
    assert all(receipt.done() for receipt in receipts)


def test_a_parked_consumer_notices_a_death_although_nobody_puts(q: Reliable, told: ipc.Queue[Any]) -> None:
    q.put("work")
    with Forked(lambda: hold(q, told)) as holder:
        told.get(timeout=LONG)

        def wait() -> None:
            with q.get(LONG) as delivery:
                told.put((delivery.message, delivery.deliveries, time.monotonic()))

        with Forked(wait) as waiter:
            until(lambda: is_waiting(waiter.pid), "the other consumer sleeps")
            holder.kill()
            died = time.monotonic()
            message, deliveries, at = told.get(timeout=LONG)
            assert (message, deliveries) == ("work", 2)
            assert at - died <= DEATH_NOTICED_SECONDS
            assert waiter.join() == 0


def test_a_full_queue_whose_only_consumer_died_takes_messages_again(told: ipc.Queue[Any]) -> None:
    """The producer itself ends the dead one's leases; the messages stay, and so does the queue's limit."""
    with Reliable(capacity=PAGE, lease=None) as q:
        for _ in range(4):
            q.put(b"x" * 900)
        with Forked(lambda: hold(q, told, 4)) as child:
            told.get(timeout=LONG)
            with pytest.raises(standard.Full, match=f"is held by process {child.pid}"):
                q.put(b"y" * 900, timeout=0)
            child.kill()
            with pytest.raises(standard.Full):
                q.put(b"y" * 900, timeout=1)
            assert (q.stats().leased, q.stats().ready) == (0, q.stats().depth)

        def work() -> None:
            for _ in range(4):
                q.get(LONG).ack()

        with Forked(work) as worker:
            q.put(b"y" * 900, timeout=LONG)
            assert worker.join() == 0
        q.purge()


def test_a_producer_that_waits_for_its_receipt_notices_the_death_that_gives_the_message_up(
    told: ipc.Queue[Any],
) -> None:
    with Reliable(lease=None, max_deliveries=1) as q:
        receipt = q.put("work")
        with Forked(lambda: hold(q, told)) as child:
            told.get(timeout=LONG)
            child.kill()
        died = time.monotonic()
        with pytest.raises(ipc.DeadLetteredError):
            receipt.wait(LONG)
        assert time.monotonic() - died <= DEATH_NOTICED_SECONDS
        assert [letter.deliveries for letter in q.dead_letters()] == [1]


def test_a_message_that_kills_its_consumers_becomes_a_dead_letter(told: ipc.Queue[Any]) -> None:
    with Reliable() as dead, Reliable(lease=None, max_deliveries=3, dead_letter=dead) as q:
        receipt = q.put("poison")
        q.put("fine")

        def work() -> None:
            while True:
                with q.get(LONG) as delivery:
                    if delivery.message == "poison":
                        signal.raise_signal(signal.SIGKILL)

        for _ in range(3):
            with Forked(work) as child:
                assert child.join() == -signal.SIGKILL
        with q.get(LONG) as delivery:
            assert delivery.message == "fine"
        with pytest.raises(standard.Empty):
            q.get(1.0)
        letter = dead.get(LONG).message
        assert (letter.message, letter.id, letter.deliveries) == ("poison", receipt.id, 3)
        assert (q.stats().acknowledged, q.stats().dead_lettered, q.stats().depth) == (1, 1, 0)


def test_killed_consumers_one_after_the_other_lose_nothing(told: ipc.Queue[Any]) -> None:
    count = 200
    q = Reliable(lease=None, max_deliveries=254)
    receipts = q.put_many(range(count))

    def work() -> None:
        while True:
            delivery = q.get(LONG)
            told.put((delivery.message, delivery.deliveries))
            delivery.ack()

    seen: dict[int, list[int]] = {}
    with q:
        while not all(receipt.done() for receipt in receipts):
            with Forked(work) as worker:
                for _ in range(17):
                    if all(receipt.done() for receipt in receipts):
                        break
                    message, deliveries = told.get(timeout=LONG)
                    seen.setdefault(message, []).append(deliveries)
                worker.kill()
        while not told.empty():
            message, deliveries = told.get(timeout=LONG)
            seen.setdefault(message, []).append(deliveries)
        stats = q.stats()
    assert set(seen) == set(range(count))
    for deliveries_of in seen.values():  # again only as a later delivery
        assert deliveries_of == sorted(set(deliveries_of))
    assert (stats.acknowledged, stats.depth, stats.dead_lettered) == (count, 0, 0)


def test_a_consumer_that_leaves_cleanly_gives_back_at_once(q: Reliable) -> None:
    q.put("work")

    def leave() -> None:
        q.get(LONG)
        q.close()

    with Forked(leave) as child:
        assert child.join() == 0
        with q.get(0) as delivery:
            assert delivery.deliveries == 2


def test_the_number_of_a_dead_consumer_is_taken_by_the_next_without_its_messages(
    q: Reliable, told: ipc.Queue[Any]
) -> None:
    """Or the new holder of the number would keep a dead man's leases alive for ever."""
    q.put_many(["held by the dead", "next"])
    with Forked(lambda: hold(q, told)) as child:
        told.get(timeout=LONG)
        child.kill()

    def take_both() -> None:
        got = sorted((delivery.message, delivery.deliveries) for delivery in (q.get(LONG), q.get(LONG)))
        assert got == [("held by the dead", 2), ("next", 1)]

    with Forked(take_both) as successor:
        assert successor.join() == 0


# --- what is no death ---------------------------------------------------------------------------------------------


def test_a_stopped_consumer_is_not_dead(told: ipc.Queue[Any]) -> None:
    with Reliable(lease=300) as q:
        receipt = q.put("work")

        def hold_then_ack() -> None:
            delivery = q.get(LONG)
            told.put("held")
            os.kill(os.getpid(), signal.SIGSTOP)
            delivery.ack()

        with Forked(hold_then_ack) as child:
            assert told.get(timeout=LONG) == "held"
            until(lambda: state_of(child.pid) == "T", "the consumer is stopped")
            with pytest.raises(standard.Empty):
                q.get(1.5)
            assert (q.stats().leased, q.stats().delivered) == (1, 1)
            os.kill(child.pid, signal.SIGCONT)
            assert receipt.wait(LONG)
            assert child.join() == 0


def test_a_stopped_consumer_whose_lease_ran_out_finds_it_lost_and_changes_nothing(told: ipc.Queue[Any]) -> None:
    with Reliable(lease=SHORT, max_deliveries=100) as q:
        q.put(b"x" * 20_000)

        def hold_too_long() -> None:
            delivery = q.get(LONG)
            told.put("held")
            os.kill(os.getpid(), signal.SIGSTOP)
            assert delivery.message == b"x" * 20_000
            for use in (delivery.ack, delivery.nack):
                with pytest.raises(ipc.LeaseLostError):
                    use()

        with Forked(hold_too_long) as child:
            assert told.get(timeout=LONG) == "held"
            until(lambda: state_of(child.pid) == "T", "the consumer is stopped")
            again = q.get(LONG)
            assert again.deliveries == 2
            again.extend(100)
            again.ack()
            for number in range(50):  # its place is used again
                q.put(bytes([number]) * 20_000)
                q.get(LONG).ack()
            os.kill(child.pid, signal.SIGCONT)
            assert child.join() == 0
        assert q.stats().acknowledged == 51


def test_leases_hold_while_their_holder_sleeps_in_the_kernel_for_as_long_as_they_last(
    q: Reliable, told: ipc.Queue[Any]
) -> None:
    q.put("work")
    with Forked(lambda: hold(q, told)) as child:
        told.get(timeout=LONG)
        with pytest.raises(standard.Empty):
            q.get(1.0)
        assert q.stats().leased == 1
        child.kill()
    assert q.get(LONG).deliveries == 2


# --- death of producers -------------------------------------------------------------------------------------------


def test_what_a_killed_producer_put_is_delivered_and_its_lane_goes_on(q: Reliable) -> None:
    def put() -> None:
        q.put_many(range(100))
        signal.raise_signal(signal.SIGKILL)

    with Forked(put) as producer:
        assert producer.join() == -signal.SIGKILL
    got = q.get_many(100, LONG)
    assert [delivery.message for delivery in got] == list(range(100))
    assert len({delivery.source for delivery in got} | {producer.pid}) == 1
    q.ack_many(got)
    q.put("the next one's")
    with q.get(LONG) as delivery:
        assert (delivery.message, delivery.source) == ("the next one's", os.getpid())
        assert delivery.id not in {each.id for each in got}
    assert len(q.stats().lanes) == 1  # adopted

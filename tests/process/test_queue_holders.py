"""Consumers that are stopped, killed together, or killed within `get`: what they hold, and the numbers they hold it by.

Beside test_reliable_deaths.py, which kills one consumer at a time.  Stops that must hit the inside of a call are tried
until they did; a death is only waited for, because how soon it must be noticed is asserted there.
"""

from __future__ import annotations

import os
import queue as standard
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest

import ipc
from tests.process.support import PATIENCE_SECONDS, Forked, is_waiting, state_of, until

LONG = 30.0
MOST_NUMBERS = 1023  # consumers that may be alive at a time

Reliable = ipc.ReliableQueue[Any]


@pytest.fixture
def told() -> Iterator[ipc.Queue[Any]]:
    with ipc.Queue[Any]() as made:
        yield made


@contextmanager
def stopped(pid: int) -> Iterator[None]:
    """It does not run meanwhile."""
    os.kill(pid, signal.SIGSTOP)
    until(lambda: state_of(pid) == "T", "it is stopped")
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def hold(q: Reliable, told: ipc.Queue[Any], count: int = 1) -> None:
    """In a child: take so many, say so, and keep them until somebody ends us."""
    held = [q.get(LONG) for _ in range(count)]
    told.put(len(held))
    signal.pause()


# --- stopped ------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_thirty_seconds_of_a_stop_end_no_lease(told: ipc.Queue[Any]) -> None:
    """Though somebody looks for work all the time, and another holder has died, whose messages come again."""
    with Reliable(lease=300) as q, Reliable(lease=None) as endless:
        queues = (q, endless)
        receipts = [each.put_many(["the stopped one's", "the dead one's"]) for each in queues]

        def hold_then_ack() -> None:
            held = [each.get(LONG) for each in queues]
            told.put([delivery.message for delivery in held])
            signal.pause()
            for delivery in held:
                delivery.ack()

        def hold_the_others() -> None:
            held = [each.get(LONG) for each in queues]
            told.put([delivery.message for delivery in held])
            signal.pause()

        with Forked(hold_then_ack) as holder:
            assert told.get(timeout=LONG) == ["the stopped one's"] * 2
            with Forked(hold_the_others) as other:
                assert told.get(timeout=LONG) == ["the dead one's"] * 2
                other.kill()
            with stopped(holder.pid):
                for each in queues:
                    with each.get(LONG) as delivery:
                        assert (delivery.message, delivery.deliveries) == ("the dead one's", 2)
                for each, seconds in ((q, 30.0), (endless, 0.5)):
                    with pytest.raises(standard.Empty):
                        each.get(seconds)
                    stats = each.stats()
                    assert (stats.leased, stats.delivered, stats.redelivered) == (1, 3, 1)
                os.kill(holder.pid, signal.SIGUSR1)  # ends its pause when it runs again
            assert all(receipt.wait(LONG) for pair in receipts for receipt in pair)
            assert holder.join() == 0


def _wake(_number: int, _frame: object) -> None:
    """For signal.pause() to return."""


@pytest.fixture(autouse=True)
def a_signal_ends_a_pause() -> Iterator[None]:
    before = signal.signal(signal.SIGUSR1, _wake)
    yield
    signal.signal(signal.SIGUSR1, before)


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_who_is_stopped_in_get_while_its_lease_runs_out_reads_nothing_recycled(told: ipc.Queue[Any]) -> None:
    """Its slot and its bytes are another's when it wakes: it gets a whole message, the next one if it lost this one.

    A stop that met it behind its get is told by the ack, too late; all others met it inside.
    """
    size, number, stops = 1 << 20, 0, 0
    with Reliable(lease=0.1, max_deliveries=254, capacity="4MiB") as q:

        def take_for_ever() -> None:
            while True:
                try:
                    delivery = q.get(LONG)
                except ipc.LeaseLostError:
                    told.put("lost")
                    continue
                message = delivery.message
                if message.count(message[:1]) != size:
                    told.put("torn")
                try:
                    delivery.ack()
                except ipc.LeaseLostError:
                    told.put("late")

        def put_and_look() -> Counter[str]:
            nonlocal number
            for _ in range(8):
                number += 1
                try:
                    q.put(bytes([number % 251]) * size, timeout=0)
                except standard.Full:
                    break
            answers: Counter[str] = Counter()
            while not told.empty():
                answers[told.get()] += 1
            return answers

        answers: Counter[str] = Counter()
        deadline = time.monotonic() + 3 * PATIENCE_SECONDS
        with Forked(take_for_ever) as consumer:
            while stops - answers["late"] < 4:  # the last stop's word may still be on its way
                assert not answers["torn"], answers
                assert time.monotonic() < deadline, f"no stop has hit the inside of a get: {answers}"
                answers += put_and_look()
                if not q.stats().leased:
                    continue
                with stopped(consumer.pid):
                    if not q.stats().leased:
                        continue
                    until(lambda: _take_over(q), "its lease has run out, and is somebody else's")
                    stops += 1
                    for _ in range(2):  # its bytes are written again
                        answers += put_and_look()
                        while _take_over(q):
                            pass
                    answers += put_and_look()
        assert not answers["torn"], answers


def _take_over(q: Reliable) -> bool:
    """Take whatever is there; whether one of them was somebody else's before."""
    again = False
    while True:
        try:
            with q.get(0) as delivery:
                again = again or delivery.deliveries > 1
        except standard.Empty:
            return again


# --- killed together ----------------------------------------------------------------------------------------------


def test_two_who_notice_one_death_at_once_give_back_each_message_once(told: ipc.Queue[Any]) -> None:
    """Both sleep when it dies, and both repair."""
    count = 60
    with Reliable(lease=None) as q, ipc.Queue[Any]() as got:

        def work() -> None:
            while True:
                with q.get(LONG) as delivery:
                    got.put((delivery.message, delivery.deliveries, os.getpid()))

        by: Counter[int] = Counter()
        with Forked(work) as one, Forked(work) as two:
            for turn in range(5):
                with ExitStack() as stack:
                    for worker in (one, two):
                        stack.enter_context(stopped(worker.pid))
                    q.put_many((turn, number) for number in range(count))
                    with Forked(lambda: hold(q, told, count)) as holder:
                        assert told.get(timeout=LONG) == count
                        stack.close()
                        until(lambda: is_waiting(one.pid) and is_waiting(two.pid), "both wait")
                        holder.kill()
                arrived = [got.get(timeout=LONG) for _ in range(count)]
                assert sorted(message for message, _, _ in arrived) == [(turn, number) for number in range(count)]
                assert {deliveries for _, deliveries, _ in arrived} == {2}
                by.update(pid for _, _, pid in arrived)
            stats = q.stats()
        assert got.empty()
        assert (stats.delivered, stats.redelivered) == (2 * 5 * count, 5 * count)
        assert set(by) <= {one.pid, two.pid}


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_more_consumers_than_there_are_numbers_die_and_none_of_the_numbers_is_lost(told: ipc.Queue[Any]) -> None:
    """Each of them dies with a message, in crowds, so that many numbers are in use at once."""
    crowd = 60
    with Reliable(lease=None, max_deliveries=254) as q:
        receipts = q.put_many(range(crowd))
        dead = 0
        while dead <= MOST_NUMBERS + crowd:
            with ExitStack() as stack:
                consumers = [stack.enter_context(Forked(lambda: hold(q, told))) for _ in range(crowd)]
                for _ in range(crowd):
                    assert told.get(timeout=LONG) == 1
                assert q.stats().leased == crowd  # nobody has another one's
                for consumer in consumers:
                    os.kill(consumer.pid, signal.SIGKILL)
            dead += crowd
        deliveries = [q.get(LONG) for _ in range(crowd)]
        assert [delivery.message for delivery in deliveries] == list(range(crowd))
        assert {delivery.deliveries for delivery in deliveries} == {dead // crowd + 1}
        q.ack_many(deliveries)
        assert all(receipt.done() for receipt in receipts)
        assert (q.stats().leased, q.stats().depth, q.stats().acknowledged) == (0, 0, crowd)


def test_more_producers_than_there_are_lanes_die_and_none_of_the_lanes_is_lost() -> None:
    with ipc.Queue[Any](1000, lanes=3) as q, ipc.Queue[Any]() as told:

        def put(turn: int) -> None:
            q.put((turn, "before"))
            told.put("put")
            signal.pause()

        for turn in range(10):
            with ExitStack() as stack:
                producers = [stack.enter_context(Forked(lambda turn=turn: put(turn))) for _ in range(3)]  # type: ignore[misc]
                assert [told.get(timeout=LONG) for _ in producers] == ["put"] * 3
                with pytest.raises(ipc.TooManyParticipantsError, match="lanes="):
                    q.put("one more")
        assert [q.get(timeout=LONG) for _ in range(30)] == [(turn, "before") for turn in range(10) for _ in range(3)]
        assert len(q.stats().lanes) == 3


# --- killed in get ------------------------------------------------------------------------------------------------


class Hurdle:
    """A message whose first decoding stops where it is."""

    def __init__(self, path: str, weight: int) -> None:
        self.path, self.weight = path, bytes(weight)

    def __reduce__(self) -> tuple[Callable[..., str], tuple[Any, ...]]:
        return _decode, (self.path, self.weight)


def _decode(path: str, _weight: bytes) -> str:
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return "decoded"
    signal.pause()
    return "never"


def test_a_full_queue_whose_only_consumer_was_killed_in_get_goes_on_with_the_next(tmp_path: Any) -> None:
    """The message that the dead one had in its hands still counts: there is room when somebody has taken it."""
    path = tmp_path / "met"
    with ipc.Queue[Any](1) as q:
        q.put(Hurdle(str(path), 20_000))  # so large that it is decoded where it lies
        with Forked(q.get) as consumer:
            until(path.exists, "the consumer has it in its hands")
            with pytest.raises(standard.Full):
                q.put("next", timeout=0.3)
            consumer.kill()
        with pytest.raises(standard.Full):
            q.put("next", timeout=0.3)
        with Forked(lambda: q.put("next", timeout=LONG)) as producer:
            until(lambda: is_waiting(producer.pid), "the producer waits")
            assert q.get(timeout=LONG) == "decoded"
            assert q.get(timeout=LONG) == "next"
            assert producer.join() == 0
        assert q.empty()

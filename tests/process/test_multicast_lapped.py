"""R30: readers that are overtaken all the time by a publisher that waits for nobody, in a ring of two to four messages.
None of them may get a torn message, or one out of order, and each must know exactly how many it has lost."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

import ipc
from tests.process.multicast_roles import LONG, forked_with_pipe
from tests.process.support import receive

CAPACITY = 4096
QUICKLY, PROPERLY = 30_000, 1_000_000  # messages

counts = pytest.mark.parametrize("count", [QUICKLY, pytest.param(PROPERLY, marks=pytest.mark.slow)])
fitting = pytest.mark.parametrize("fitting", [2, 3, 4])


def message(number: int, fitting: int) -> bytes:
    """Of which so many fit into the ring; every word of it is the number."""
    return number.to_bytes(8, "little") * (CAPACITY // fitting // 8 - number % 3)


def number_in(found: bytes, fitting: int) -> int:
    number = int.from_bytes(found[:8], "little")
    assert found == message(number, fitting), "torn"
    return number


def publish_flat_out(multicast: Any, told: Any, count: int, fitting: int) -> None:
    """Publish so many, the readers being told to go once they have been overtaken."""
    with multicast.publisher() as publisher:
        for number in range(count):
            assert publisher.publish(message(number, fitting)) == number
            if number == 100:
                told.send("they are behind")


def follow(multicast: Any, told: Any, fitting: int, **how: Any) -> None:
    """Say how many came, how many were lost, how often there was a gap, and the first and the last number."""
    with multicast.subscribe("oldest", interval=0.0001, **how) as subscriber:
        told.send("ready")
        told.recv()
        received = gaps = expected = 0
        first = -1
        while True:
            try:
                envelope = subscriber.recv_envelope(timeout=LONG)
            except ipc.EndOfChannel:
                break
            assert number_in(envelope.message, fitting) == envelope.sequence
            assert envelope.sequence == expected + envelope.lost
            first = envelope.sequence if first < 0 else first
            expected = envelope.sequence + 1
            received += 1
            gaps += envelope.lost > 0
        told.send((received, subscriber.lost, gaps, first, expected))


def follow_in_batches(multicast: Any, told: Any, fitting: int, **how: Any) -> None:
    """The same with recv_many, which has no envelopes: what was lost must fill the gaps in all."""
    with multicast.subscribe("oldest", interval=0.0001, **how) as subscriber:
        told.send("ready")
        told.recv()
        received, gaps, expected, first = 0, 0, 0, -1
        while True:
            try:
                batch = subscriber.recv_many(3, timeout=LONG)
            except ipc.EndOfChannel:
                break
            for found in batch:
                number = number_in(found, fitting)
                assert number >= expected
                first = number if first < 0 else first
                gaps += number > expected
                expected = number + 1
                received += 1
            assert received + subscriber.lost == expected
        told.send((received, subscriber.lost, gaps, first, expected))


READERS: list[tuple[Any, dict[str, Any]]] = [
    (follow, {}),
    (follow, {"on_lap": "latest"}),
    (follow_in_batches, {}),
]


@counts
@fitting
@pytest.mark.parametrize("observe", [False, True], ids=["lossy", "observers"])
def test_lapped_readers_get_whole_messages_and_the_exact_number_lost(fitting: int, count: int, observe: bool) -> None:
    policy: Any = "lossless" if observe else "lossy"
    with ipc.Multicast[Any](policy=policy, capacity=CAPACITY) as multicast, ExitStack() as stack:
        readers = [
            stack.enter_context(forked_with_pipe(role, multicast, fitting, observe=observe, **how))[1]
            for role, how in READERS
        ]
        publisher, _ = stack.enter_context(forked_with_pipe(publish_flat_out, multicast, count, fitting))
        for ours in readers:
            ours.send("go")
        for ours in readers:
            received, lost, gaps, first, expected = receive_in(ours, count)
            print(f"{fitting} fit: {received} received, {lost} lost in {gaps} gaps")
            assert received + lost == expected == count
            assert first >= 96
            assert gaps > 0
        assert publisher.join() == 0
        assert multicast.stats().sent == count


def receive_in(ours: Any, count: int) -> Any:
    """What a reader says at its end, which takes the longer the more there is to read."""
    for _ in range(1 + count // QUICKLY):
        if ours.poll(LONG):
            break
    return receive(ours)


def come_again(multicast: Any, told: Any, fitting: int) -> None:
    """Subscribe again whenever we were too slow; say how many came, and how often that was."""
    received, evicted, expected = 0, 0, 0
    waiting = iter([told])
    while True:
        with multicast.subscribe() as subscriber:
            for each in waiting:  # the first time only
                each.send("ready")
                each.recv()
            try:
                for number in numbers(subscriber, fitting):
                    assert number >= expected
                    expected = number + 1
                    received += 1
                break
            except ipc.LaggedOutError:
                evicted += 1
    told.send((received, evicted, expected))


def numbers(subscriber: Any, fitting: int) -> Iterator[int]:
    """Of messages that follow each other without a gap."""
    before = None
    for found in subscriber:
        number = number_in(found, fitting)
        assert before is None or number == before + 1
        before = number
        yield number


@counts
@fitting
def test_those_who_are_evicted_all_the_time_get_whole_messages_without_a_gap_in_between(
    fitting: int, count: int
) -> None:
    with ipc.Multicast[Any](on_laggard="evict", capacity=CAPACITY) as multicast, ExitStack() as stack:
        readers = [stack.enter_context(forked_with_pipe(come_again, multicast, fitting))[1] for _ in range(2)]
        publisher, _ = stack.enter_context(forked_with_pipe(publish_flat_out, multicast, count, fitting))
        for ours in readers:
            ours.send("go")
        for ours in readers:
            received, evicted, expected = receive_in(ours, count)
            print(f"{fitting} fit: {received} received, {evicted} times too slow")
            assert evicted > 0
            assert received <= expected <= count
        assert publisher.join() == 0
        assert multicast.stats().evicted >= 2

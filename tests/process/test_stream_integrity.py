"""Long streams between two processes: every message whole, once and in order, whatever its size."""

from __future__ import annotations

import math
import random
import zlib
from typing import Any

import pytest

import ipc
from tests.process.support import METHODS, context, running

CAPACITY = 2**20
LARGEST = CAPACITY - 16
SEED = 4711
POOL = 8191  # prime: a message lost or repeated shifts all that follow
LARGE_POOL = 61
LARGE_EVERY = 1000  # one in so many is up to the limit, the others are up to 4 KiB


def payload(random_: random.Random, least: int, most: int) -> tuple[bytes, int]:
    """Seeded bytes of a length that is log-uniform, and their CRC."""
    size = int(math.exp(random_.uniform(math.log(least + 1), math.log(most + 1)))) - 1
    body = random_.randbytes(size)
    return body, zlib.crc32(body)


def pools() -> tuple[list[tuple[bytes, int]], list[tuple[bytes, int]]]:
    """The same in both processes."""
    random_ = random.Random(SEED)
    small = [payload(random_, 0, 4096) for _ in range(POOL)]
    large = [payload(random_, 4096, LARGEST) for _ in range(LARGE_POOL - 1)]
    exact = random_.randbytes(LARGEST)
    return small, [*large, (exact, zlib.crc32(exact))]


def send_stream(outbox: Any, count: int) -> None:
    """Send `count` messages of the pools in turn."""
    small, large = pools()
    bodies = [body for body, _ in small]
    send = outbox.send
    for number in range(count):
        if number % LARGE_EVERY:
            send(bodies[number % POOL])
        else:
            send(large[number // LARGE_EVERY % LARGE_POOL][0])


def write_stream(writer: Any, count: int) -> None:
    """The same by write_many, some hundred at a time."""
    small, large = pools()
    bodies = [body for body, _ in small]
    for start in range(0, count, LARGE_EVERY):
        batch = [bodies[number % POOL] for number in range(start, min(start + LARGE_EVERY, count))]
        batch[0] = large[start // LARGE_EVERY % LARGE_POOL][0]
        writer.write_many(batch)


def verify(received: Any, count: int) -> None:
    """Every message that comes is the next one."""
    small, large = pools()
    crcs = [crc for _, crc in small]
    sizes = [len(body) for body, _ in small]
    crc32 = zlib.crc32
    number = 0
    for message in received:
        if number % LARGE_EVERY:
            place = number % POOL
            good = crc32(message) == crcs[place] and len(message) == sizes[place]
        else:
            body, crc = large[number // LARGE_EVERY % LARGE_POOL]
            good = crc32(message) == crc and len(message) == len(body)
        assert good, f"message {number} of {len(message)} bytes is not the one that was sent"
        number += 1
    assert number == count


FAST = pytest.param(100_000, id="1e5")
LONG = pytest.param(2_000_000, id="2e6", marks=pytest.mark.slow)
LONGEST = pytest.param(10_000_000, id="1e7", marks=pytest.mark.stress)


@pytest.mark.parametrize("count", [FAST, LONG, LONGEST])
def test_a_channel_carries_every_message_whole_once_and_in_order(count: int) -> None:
    outbox, rx = ipc.channel(capacity=CAPACITY)
    with rx, running(ipc.spawn(send_stream, outbox, count)) as worker:
        verify(rx, count)
        worker.join()
        assert (worker.exitcode, worker.exception) == (0, None)


@pytest.mark.parametrize("count", [FAST, LONG, LONGEST])
def test_a_ring_carries_batches_whole_once_and_in_order(count: int) -> None:
    ring = ipc.Ring.create(capacity=CAPACITY)
    with ring, running(ipc.spawn(write_stream, ring.writer(), count)) as worker:
        verify(batches(ring.reader()), count)
        worker.join()
        assert (worker.exitcode, worker.exception) == (0, None)


def batches(reader: ipc.RingReader) -> Any:
    while True:
        try:
            yield from reader.read_many(256)
        except ipc.EndOfChannel:
            return


@pytest.mark.parametrize("method", METHODS)
def test_a_small_ring_that_is_always_full_or_empty_keeps_the_order(method: str) -> None:
    outbox, rx = ipc.channel(capacity=4096)
    with rx, running(ipc.spawn(count_up, outbox, 20_000, context=context(method))) as worker:
        for number, message in enumerate(rx):
            assert message == bytes(number % 3000) + b"%d" % number
        assert number == 19_999
        worker.join()
        assert worker.exitcode == 0


def count_up(outbox: Any, count: int) -> None:
    for number in range(count):
        outbox.send(bytes(number % 3000) + b"%d" % number)

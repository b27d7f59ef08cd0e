"""A ring does what a queue of bytes does, wherever it stands: random operations beside a `collections.deque`."""

from __future__ import annotations

import random
from collections import deque
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

import ipc
from ipc._core import arguments
from ipc._core.segment import Segment

CAPACITY = 4096
LIMIT = CAPACITY - 16

STARTS = [
    0,
    8,
    CAPACITY - 8,
    2**31 - 8,
    2**32 - CAPACITY,
    2**32 - 8,
    2**32,
    2**63 - 8,
    2**63,
    2**64 - 3 * CAPACITY,
    2**64 - CAPACITY,
    2**64 - 8,
]

# Mostly small, often at the edges, sometimes the whole ring.
SIZES = st.one_of(
    st.integers(0, 64),
    st.integers(0, LIMIT),
    st.sampled_from([LIMIT, LIMIT - 1, LIMIT - 8, LIMIT // 2, LIMIT // 2 - 8]),
)


def taken_up(size: int) -> int:
    """Bytes of the ring that a message takes."""
    return 16 + (size + 7) // 8 * 8


def ring_at(start: int) -> ipc.Ring:
    segment = Segment.create("ring", CAPACITY, None, start_position=start)
    return ipc.Ring._around(segment, arguments.spin_ns(0), None, None)


def content(size: int, seed: int) -> bytes:
    return bytes((seed + index * 7) % 256 for index in range(min(size, 64))).ljust(size, bytes([seed % 256]))


class RingModel(RuleBasedStateMachine):
    """One ring, and the queue that it ought to be."""

    ring: ipc.Ring

    def __init__(self) -> None:
        super().__init__()
        self.model: deque[bytes] = deque()
        self.sent = self.received = self.sent_bytes = self.received_bytes = 0
        self.seed = 0

    @initialize(start=st.one_of(st.sampled_from(STARTS), st.integers(0, 2**61 - 1).map(lambda words: words * 8)))
    def create(self, start: int) -> None:
        self.ring = ring_at(start)

    def teardown(self) -> None:
        if hasattr(self, "ring"):
            self.ring.close()

    # --- what the model says --------------------------------------------------------------------------------

    def used(self) -> int:
        return sum(taken_up(len(message)) for message in self.model)

    def fits(self, size: int) -> bool:
        return taken_up(size) <= CAPACITY - self.used()

    def next_message(self, size: int) -> bytes:
        self.seed += 1
        return content(size, self.seed)

    def was_sent(self, message: bytes) -> None:
        self.model.append(message)
        self.sent += 1
        self.sent_bytes += len(message)

    def was_taken(self, message: bytes) -> None:
        assert message == self.model.popleft()
        self.received += 1
        self.received_bytes += len(message)

    # --- writing --------------------------------------------------------------------------------------------

    @rule(size=SIZES)
    def write(self, size: int) -> None:
        message = self.next_message(size)
        if self.fits(size):
            self.ring.writer().write(message)
            self.was_sent(message)
        else:
            with pytest.raises(ipc.TimeoutError):
                self.ring.writer().write(message, 0)

    @rule(size=SIZES, kind=st.sampled_from([bytes, bytearray, memoryview]))
    def try_write(self, size: int, kind: Any) -> None:
        message = self.next_message(size)
        written = self.ring.writer().try_write(kind(message))
        assert written == self.fits(size)
        if written:
            self.was_sent(message)

    @rule(excess=st.integers(1, 3 * CAPACITY))
    def write_too_large(self, excess: int) -> None:
        with pytest.raises(ipc.MessageTooLargeError):
            self.ring.writer().write(bytes(LIMIT + excess))

    @rule(sizes=st.lists(SIZES, max_size=12))
    def write_many(self, sizes: list[int]) -> None:
        messages = [self.next_message(size) for size in sizes]
        try:
            written = self.ring.writer().write_many(messages, 0)
            assert written == len(messages)
        except ipc.TimeoutError as error:
            written = error.written  # type: ignore[attr-defined]
        for message in messages[:written]:
            assert self.fits(len(message))
            self.was_sent(message)
        if written < len(messages):
            assert not self.fits(len(messages[written]))

    @rule(size=SIZES)
    def claim_and_commit(self, size: int) -> None:
        message = self.next_message(size)
        if self.fits(size):
            with self.ring.writer().claim(size, 0) as memory:
                memory[:] = message
            self.was_sent(message)
        else:
            with pytest.raises(ipc.TimeoutError), self.ring.writer().claim(size, 0):
                pass

    @rule(size=SIZES)
    def claim_and_abort(self, size: int) -> None:
        if self.fits(size):
            with pytest.raises(KeyError), self.ring.writer().claim(size, 0) as memory:  # noqa: PT012
                memory[:] = b"\xee" * size
                raise KeyError

    # --- reading --------------------------------------------------------------------------------------------

    @rule()
    def read(self) -> None:
        if self.model:
            self.was_taken(self.ring.reader().read())
        else:
            with pytest.raises(ipc.TimeoutError):
                self.ring.reader().read(0)

    @rule()
    def try_read(self) -> None:
        nothing = object()
        message = self.ring.reader().try_read(nothing)
        if self.model:
            assert isinstance(message, bytes)
            self.was_taken(message)
        else:
            assert message is nothing

    @rule(most=st.integers(1, 300))
    def read_many(self, most: int) -> None:
        if not self.model:
            with pytest.raises(ipc.TimeoutError):
                self.ring.reader().read_many(most, 0)
            return
        messages = self.ring.reader().read_many(most, 0)
        assert len(messages) == min(most, len(self.model))
        for message in messages:
            self.was_taken(message)

    @rule()
    def peek(self) -> None:
        if not self.model:
            with pytest.raises(ipc.TimeoutError), self.ring.reader().peek(0):
                pass
            return
        with self.ring.reader().peek(0) as memory:
            message = bytes(memory)
        self.was_taken(message)

    @precondition(lambda self: self.model)
    @rule(size=SIZES)
    def write_while_peeking(self, size: int) -> None:
        message = self.next_message(size)
        with self.ring.reader().peek(0) as memory:
            written = self.ring.writer().try_write(message)
            assert written == self.fits(size)
            seen = bytes(memory)
        if written:
            self.was_sent(message)
        self.was_taken(seen)

    @precondition(lambda self: self.model)
    @rule(size=SIZES)
    def read_while_claiming(self, size: int) -> None:
        if self.fits(size):
            message = self.next_message(size)
            with self.ring.writer().claim(size, 0) as memory:
                seen = self.ring.reader().read(0)
                memory[:] = message
            self.was_taken(seen)
            self.was_sent(message)

    @rule()
    def drain(self) -> None:
        while self.model:
            self.was_taken(self.ring.reader().read(0))
        assert self.ring.reader().try_read() is None

    # --- always ---------------------------------------------------------------------------------------------

    @invariant()
    def the_counters_are_exact(self) -> None:
        if not hasattr(self, "ring"):
            return
        stats = self.ring.stats()
        assert (stats.sent, stats.received, stats.depth) == (self.sent, self.received, len(self.model))
        assert (stats.bytes, stats.bytes_received) == (self.sent_bytes, self.received_bytes)
        assert self.used() <= CAPACITY
        assert stats.high_water <= CAPACITY


RingModel.TestCase.settings = settings(
    max_examples=150, stateful_step_count=60, deadline=None, suppress_health_check=list(HealthCheck)
)
TestRingModel = RingModel.TestCase


@pytest.mark.parametrize("start", STARTS)
def test_a_stream_passes_every_offset_from_any_start(start: int) -> None:
    with ring_at(start) as ring:
        position = 0
        offsets = set()
        sizes = random.Random(start)
        for index in range(8000):
            size = sizes.randrange(200)
            message = content(size, index)
            ring.writer().write(message, 0)
            offsets.add((start + position) % CAPACITY)
            position += taken_up(size)
            if index % 3 == 0:
                with ring.reader().peek(0) as memory:
                    assert bytes(memory) == message
            else:
                assert ring.reader().read(0) == message
        stats = ring.stats()
        assert (stats.sent, stats.received) == (8000, 8000)
        assert offsets == set(range(0, CAPACITY, 8))


@pytest.mark.parametrize("start", STARTS)
def test_a_full_ring_is_full_from_any_start(start: int) -> None:
    with ring_at(start) as ring:
        for _ in range(5):
            for index in range(CAPACITY // 32):
                assert ring.writer().try_write(content(16, index))
            assert not ring.writer().try_write(b"")
            assert ring.stats().depth == CAPACITY // 32
            assert ring.reader().read_many(1000) == [content(16, index) for index in range(CAPACITY // 32)]
            assert ring.reader().try_read() is None
            message = content(LIMIT, 3)
            ring.writer().write(message, 0)
            assert not ring.writer().try_write(b"")
            assert ring.reader().read(0) == message


@given(size=st.integers(0, LIMIT), offset=st.integers(0, CAPACITY // 8 - 1).map(lambda words: words * 8))
@settings(max_examples=300, deadline=None)
def test_every_size_fits_at_every_offset(size: int, offset: int) -> None:
    with ring_at(2**64 - CAPACITY + offset) as ring:
        message = content(size, offset)
        assert ring.writer().try_write(message)
        rest = CAPACITY - taken_up(size)
        assert ring.writer().try_write(b"") == (rest >= 16)
        assert ring.reader().read(0) == message
        for again in range(3):
            assert ring.writer().try_write(content(LIMIT, again)) == (rest < 16 or again > 0)
            while ring.reader().try_read() is not None:
                pass


@given(start=st.integers(0, 2**64 - 1).filter(lambda start: start % 8 != 0))
@settings(max_examples=20, deadline=None)
def test_a_start_off_the_grid_is_refused(start: int) -> None:
    with pytest.raises(ipc.SharedMemoryError, match="Invalid argument"):
        ring_at(start)

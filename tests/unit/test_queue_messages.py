"""What a message may be: every encoding at every length, up to the lane's capacity, and what is said beyond it.

Both kinds of queue carry the same messages, so both are asked.  That a message goes to another process unharmed is in
tests/process/test_queue_start_methods.py; random ones are in tests/properties.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any

import numpy as np
import pytest

import ipc

LONG = 30.0
PAGE = 4096
SMALL = 8192  # up to which a message is copied in native code; see native/transfer.h


@dataclass
class Row:
    number: int
    column: np.ndarray = field(default_factory=lambda: np.arange(500.0))  # type: ignore[type-arg]


def take(q: Any, timeout: float | None = LONG) -> Any:
    got = q.get(timeout=timeout)
    if isinstance(got, ipc.Delivery):
        with got:
            return got.message
    return got


MAKE: dict[str, Callable[..., Any]] = {
    "Queue": ipc.Queue,
    "bounded Queue": lambda **made: ipc.Queue(100, **made),
    "ReliableQueue": ipc.ReliableQueue,
    "ReliableQueue without an end of leases": lambda **made: ipc.ReliableQueue(lease=None, **made),
    "ReliableQueue out of order": lambda **made: ipc.ReliableQueue(ordered=False, **made),
}


@pytest.fixture(params=MAKE.values(), ids=list(MAKE))
def make(request: pytest.FixtureRequest) -> Callable[..., Any]:
    return request.param  # type: ignore[no-any-return]


@pytest.fixture
def q(make: Callable[..., Any]) -> Iterator[Any]:
    with make() as made:
        yield made


def same(one: Any, other: Any) -> bool:
    if isinstance(one, np.ndarray):
        return (
            type(one) is type(other)
            and one.dtype == other.dtype
            and one.shape == other.shape
            and one.tobytes() == other.tobytes()
        )
    if isinstance(one, Row):
        return one.number == other.number and same(one.column, other.column)
    if isinstance(one, (list, tuple)):
        return type(one) is type(other) and len(one) == len(other) and all(map(same, one, other))
    return type(one) is type(other) and bool(one == other)


OBJECTS: dict[str, Any] = {
    "None": None,
    "int": 2**200,
    "text": "Grüße \U0001f600 \0",
    "tuple": (1, 2.5, "three", b"four", None),
    "nested": {"a": [1, {2, 3}], "b": ({"c": (4,)},)},
    "datetime": datetime(2026, 1, 2, 3, tzinfo=timezone.utc),
    "class": ValueError,
    "exception": LookupError,
    "dataclass": Row(7),
    "large pickle": ["x" * 100_000, 1],
    "buffers": [np.arange(n, dtype="f4") for n in (0, 1, 7, 1000, 5000)],
    "many buffers": [np.full(10, n, "i2") for n in range(100)],
}
ARRAYS: dict[str, Any] = {
    "0-d": np.array(3.5),
    "empty": np.zeros((0, 3), "i4"),
    "bool": np.array([True, False, True]),
    "big-endian": np.arange(10, dtype=">i8"),
    "half": np.arange(10, dtype="f2"),
    "complex": np.arange(5) * (1 + 2j),
    "text": np.array(["a", "bcd"]),
    "bytes": np.array([b"a", b"bcd"]),
    "dates": np.array(["2026-01-02", "NaT"], "M8[D]"),
    "durations": np.array([1, 2], "m8[us]"),
    "records": np.array([(1, 2.5, b"x")], [("a", "<i2"), ("b", "<f8"), ("ü", "S3")]),
    "objects": np.array([None, "a", 3], object),
    "Fortran": np.asfortranarray(np.arange(12).reshape(3, 4)),
    "strided": np.arange(100)[::7],
    "five dimensions": np.arange(2 * 3 * 4 * 5 * 6, dtype="u1").reshape(2, 3, 4, 5, 6),
    "large": np.arange(20_000, dtype="i8"),
}


@pytest.mark.parametrize("message", OBJECTS.values(), ids=OBJECTS)
def test_every_object_arrives_as_it_was(q: Any, message: Any) -> None:
    for _ in range(3):
        q.put(message)
        q.put(None)
        assert same(take(q), message)
        assert take(q) is None


@pytest.mark.parametrize("message", ARRAYS.values(), ids=ARRAYS)
def test_every_array_arrives_as_it_was_and_owns_its_memory(q: Any, message: Any) -> None:
    q.put(b"something odd before it")
    q.put(message)
    assert take(q) == b"something odd before it"
    got = take(q)
    assert type(got) is np.ndarray
    assert (got.dtype, got.shape) == (message.dtype, message.shape)
    assert got.tolist() == message.tolist() or "NaT" in str(message)
    if got.size:
        got[...] = got[...]  # may be written
    q.put(b"z" * max(message.nbytes, 1))  # whatever it may have been left in
    take(q)
    assert got.tobytes() == np.ascontiguousarray(message).tobytes() or message.dtype.hasobject


@pytest.mark.parametrize("length", [0, 1, 7, 8, 9, 63, 64, 65, SMALL - 1, SMALL, SMALL + 1, 65_536, 100_003])
@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_bytes_of_every_length_arrive_as_bytes(q: Any, kind: Any, length: int) -> None:
    data = bytes(i * 7 % 251 for i in range(length))
    for _ in range(3):
        q.put(kind(data))
        got = take(q)
        assert type(got) is bytes
        assert got == data


def test_messages_around_the_end_of_the_lane_s_memory_are_whole(make: Callable[..., Any]) -> None:
    with make(capacity=PAGE) as q:
        for number in range(600):
            message = bytes([number % 256]) * (number * 13 % 1500)
            array = np.full(number * 5 % 300, number, "i4")
            q.put(message)
            q.put(array)
            assert take(q) == message
            assert same(take(q), array)


# --- as long as the lane, and longer ------------------------------------------------------------------------------


@pytest.mark.parametrize("capacity", [PAGE, 65536])
def test_a_message_as_long_as_the_lane_arrives(make: Callable[..., Any], capacity: int) -> None:
    with make(capacity=capacity) as q:
        for number in range(5):
            q.put(bytes([number]) * capacity)
            assert take(q) == bytes([number]) * capacity


TOO_LONG: dict[str, Callable[[int], Any]] = {
    "bytes": bytes,
    "pickle": lambda n: "x" * n,
    "array": lambda n: np.zeros(n, "u1"),
    "buffers": lambda n: [np.zeros(n, "u1")],
}


@pytest.mark.parametrize("by", [1, 1000, 100_000])
@pytest.mark.parametrize("kind", TOO_LONG)
def test_a_longer_message_is_refused_with_the_limit_and_a_capacity_that_works(
    make: Callable[..., Any], kind: str, by: int
) -> None:
    message = TOO_LONG[kind](PAGE + by)
    with make(capacity=PAGE) as q:
        for put in (q.put, lambda obj: q.put(obj, timeout=0), lambda obj: q.put_many([obj])):
            with pytest.raises(
                ipc.MessageTooLargeError, match=rf"a message of \d+ bytes can.t fit; capacity={PAGE} is what"
            ) as caught:
                put(message)
            assert isinstance(caught.value, ValueError)
        assert q.stats().depth == 0
        q.put("fine")
        assert take(q) == "fine"
        match = re.search(r"Make it with capacity=(\d+) or more", str(caught.value))
        assert match is not None
    with make(capacity=int(match[1])) as q:
        q.put(message, timeout=LONG)
        assert same(take(q), message)


@pytest.mark.parametrize("skew", range(0, 64, 8))
def test_an_array_is_never_written_over_messages_that_wait(make: Callable[..., Any], skew: int) -> None:
    """Its length depends on where it comes to lie, so room is asked for at its worst."""
    for short in range(0, 200, 8):
        with make(capacity=PAGE) as q:
            first, array = b"a" * (64 + skew), np.full(PAGE - 64 - skew - short, 255, "u1")
            q.put(first)
            try:
                q.put(array, timeout=0)
            except (ipc.TimeoutError, ipc.MessageTooLargeError):
                continue
            finally:
                assert take(q) == first
            assert same(take(q), array)


# --- accept= ------------------------------------------------------------------------------------------------------

KINDS: dict[str, Any] = {"bytes": b"raw", "array": np.arange(3), "pickle": ("an", "object")}


@pytest.mark.parametrize("size", [0, 20_000])
@pytest.mark.parametrize("kind", KINDS)
def test_what_accept_leaves_out_is_not_decoded(name: str, kind: str, size: int) -> None:
    messages = {"bytes": b"raw" + bytes(size), "array": np.zeros(3 + size, "u1"), "pickle": ("an object", "x" * size)}
    with ipc.Queue[Any](name=name) as tx, ipc.Queue.attach(name, accept=[kind]) as rx:
        for message in messages.values():
            tx.put(message)
        refused = 0
        for each, message in messages.items():
            if each == kind:
                assert same(take(rx), message)
                continue
            with pytest.raises(ipc.RefusedEncodingError, match=rf"encoding '{each}.*accept= allows '{kind}'"):
                rx.get(timeout=LONG)
            refused += 1
        assert refused == 2
        assert rx.empty()


@pytest.mark.parametrize("accept", [[], ["text"], "pickles", [1]])
def test_an_accept_that_means_nothing_is_refused(make: Callable[..., Any], accept: Any) -> None:
    with pytest.raises(ValueError, match="accept"):
        make(accept=accept)


@pytest.mark.parametrize("option", [{"capacity": 0}, {"capacity": "much"}, {"lanes": 0}, {"lanes": 5000}, {"spin": -1}])
def test_options_that_mean_nothing_are_refused(make: Callable[..., Any], option: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(option))):
        make(**option)


@pytest.mark.parametrize("option", [{"capacity": 1.5}, {"lanes": "3"}, {"spin": "fast"}, {"lanes": True}])
def test_options_of_another_type_are_refused(make: Callable[..., Any], option: dict[str, Any]) -> None:
    with pytest.raises(TypeError, match=next(iter(option))):
        make(**option)

"""Any array, and any nest of objects with arrays in it, comes out as it went in, whatever the ring and the way."""

from __future__ import annotations

import itertools
import pickle
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import ipc

Array = np.ndarray[Any, Any]
Ends = tuple[ipc.Sender[Any], ipc.Receiver[Any]]

CAPACITIES = [4096, 8192, 65_536]

SCALARS = st.one_of(hnp.scalar_dtypes(), hnp.unicode_string_dtypes(min_len=1), hnp.byte_string_dtypes(min_len=1))
DTYPES = st.one_of(SCALARS, hnp.array_dtypes(subtype_strategy=SCALARS, max_size=4), hnp.nested_dtypes(SCALARS))
SHAPES = hnp.array_shapes(min_dims=0, max_dims=5, min_side=0, max_side=6)


@contextmanager
def channel(capacity: int) -> Iterator[Ends]:
    """One for each example, so that one that fails leaves nothing to the next."""
    tx, rx = ipc.channel(capacity=capacity, spin=0)
    with tx, rx:
        yield tx, rx


@pytest.fixture(scope="module")
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(1) as executor:
        executor.submit(int).result()
        yield executor


@st.composite
def arrays(draw: st.DrawFn) -> Array:
    """Raw memory seen through any dtype and shape, and then through a basic index, an axis order or a broadcast."""
    dtype: Any = np.dtype(draw(DTYPES)).newbyteorder(draw(st.sampled_from("<>")))
    assume(dtype.itemsize > 0)
    shape = draw(SHAPES)
    seed = draw(st.integers(0, 2**32 - 1))
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    raw = np.random.default_rng(seed).integers(0, 256, size, np.uint8)
    if has_text(dtype):
        raw &= 0  # not every 4 bytes are a character
    array: Any = np.ndarray(shape, dtype, raw.tobytes() or b"\0" * dtype.itemsize)
    turn = draw(st.sampled_from(["C", "F", "index", "axes", "broadcast"]))
    if turn == "F":
        array = np.asfortranarray(array)
    elif turn == "index" and array.ndim:
        array = array[draw(hnp.basic_indices(array.shape, allow_ellipsis=True, allow_newaxis=True))]
    elif turn == "axes":
        array = array.transpose(draw(st.permutations(range(array.ndim))))
    elif turn == "broadcast" and array.size < 1000:
        array = np.broadcast_to(array, (draw(st.integers(1, 3)), *array.shape))
    return np.asarray(array)


def has_text(dtype: np.dtype[Any]) -> bool:
    if dtype.subdtype is not None:
        return has_text(dtype.subdtype[0])
    if dtype.names is not None:
        return any(has_text(dtype[name]) for name in dtype.names)
    return dtype.kind == "U"


def is_the_same(got: Any, sent: Array) -> bool:
    """To the bit, and in order; what lies between the fields of a structure is nobody's."""
    return (
        type(got) is np.ndarray
        and (got.dtype, got.dtype.str, got.shape) == (sent.dtype, sent.dtype.str, sent.shape)
        and bits(got) == bits(sent)
    )


def bits(array: Array) -> list[bytes]:
    if array.dtype.names is None:
        return [array.tobytes()]
    return [part for name in array.dtype.names for part in bits(array[name])]


def order(array: Array) -> str:
    return "F" if array.flags.f_contiguous and not array.flags.c_contiguous else "C"


@given(array=arrays(), capacity=st.sampled_from(CAPACITIES))
@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
def test_any_array_comes_out_as_it_went_in(pool: ThreadPoolExecutor, array: Array, capacity: int) -> None:
    with channel(capacity) as (tx, rx):
        sending = pool.submit(tx.send, array, timeout=60)
        got = rx.recv(60)
        sending.result()
    assert is_the_same(got, array)
    assert order(got) == order(array)
    assert got.flags.writeable


@given(array=arrays(), offset=st.integers(0, 40))
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
def test_any_array_can_be_claimed_and_viewed(array: Array, offset: int) -> None:
    assume(array.nbytes < 60_000)
    with channel(65_536) as (tx, rx):
        tx.send(bytes(offset))
        rx.recv(0)
        try:
            claim = tx.claim(array.shape, array.dtype, timeout=0)
        except TypeError:  # no description tells this dtype
            tx.send(array, timeout=0)
        else:
            with claim as there:
                there[...] = array
                assert there.ctypes.data % 64 == 0
        with rx.view(0) as seen:
            assert is_the_same(seen, array)
        assert rx.stats().depth == 0


@given(messages=st.lists(st.one_of(arrays(), st.binary(max_size=100), st.integers(), st.none()), max_size=12))
@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
def test_arrays_in_batches_keep_their_place(pool: ThreadPoolExecutor, messages: list[Any]) -> None:
    kinds: list[Any] = [list, iter]
    for capacity, kind in itertools.product((4096, 65_536), kinds):
        got: list[Any] = []
        with channel(capacity) as (tx, rx):
            sending = pool.submit(tx.send_many, kind(messages), timeout=60)
            while len(got) < len(messages):
                got += rx.recv_many(5, 60)
            assert sending.result() == len(messages)
        for mine, theirs in zip(got, messages, strict=True):
            assert is_the_same(mine, theirs) if isinstance(theirs, np.ndarray) else mine == theirs


NESTS = st.recursive(
    st.one_of(arrays(), st.binary(max_size=3000), st.text(max_size=20), st.integers(), st.none(), st.floats()),
    lambda inner: st.one_of(
        st.lists(inner, max_size=5),
        st.lists(inner, max_size=3).map(tuple),
        st.dictionaries(st.text(max_size=5), inner, max_size=4),
    ),
    max_leaves=8,
)


def plain(obj: Any) -> Any:
    """Something that two equal nests have in common."""
    if isinstance(obj, np.ndarray):
        return obj.dtype.str, obj.shape, bits(obj)
    if isinstance(obj, dict):
        return {key: plain(value) for key, value in obj.items()}
    if isinstance(obj, (list, tuple)):
        return type(obj), [plain(item) for item in obj]
    return repr(obj)


@given(obj=NESTS, capacity=st.sampled_from(CAPACITIES))
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
def test_nests_with_arrays_in_them_come_out_as_pickle_gives_them(
    pool: ThreadPoolExecutor, obj: Any, capacity: int
) -> None:
    with channel(capacity) as (tx, rx):
        sending = pool.submit(tx.send_many, [[obj], (obj,)], timeout=60)
        got = [rx.recv(60), rx.recv_envelope(60).message]
        sending.result()
    again = pickle.loads(pickle.dumps(obj, protocol=5))  # numpy's own pickling may give text another byte order
    assert [plain(message) for message in got] == [plain([again]), plain((again,))]


@given(
    sizes=st.lists(st.integers(0, 30_000), max_size=6),
    kind=st.sampled_from(["bytes", "array", "Fortran", "pickle", "buffers"]),
    capacity=st.sampled_from(CAPACITIES),
)
@settings(max_examples=100, deadline=None)
def test_messages_of_any_size_through_a_ring_of_any_size(
    pool: ThreadPoolExecutor, sizes: list[int], kind: str, capacity: int
) -> None:
    made: dict[str, Any] = {
        "bytes": lambda size: bytes(index % 251 for index in range(size)),
        "array": lambda size: np.arange(size, dtype="<u2"),
        "Fortran": lambda size: np.arange(size // 3 * 3).reshape(-1, 3).T,
        "pickle": lambda size: ["x" * size],
        "buffers": lambda size: (np.arange(size, dtype="u1"), size, np.arange(size // 2, dtype="u1")),
    }
    messages = [made[kind](size) for size in sizes]

    with channel(capacity) as (tx, rx):
        sending = pool.submit(lambda: [tx.send(message, timeout=60) for message in messages])  # type: ignore[func-returns-value]
        got = [rx.recv(60) for _ in messages]
        sending.result()
        assert rx.stats().depth == 0
    assert [plain(message) for message in got] == [plain(message) for message in messages]

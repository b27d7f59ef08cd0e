"""Whatever goes into a channel comes out: values of any shape, in order, however they are mixed."""

from __future__ import annotations

import math
import pickle
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

import ipc

Ends = tuple[ipc.Sender[Any], ipc.Receiver[Any]]

HASHABLE = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False),
    st.complex_numbers(allow_nan=False),
    st.text(),
    st.binary(),
    st.dates(),
    st.fractions(),
    st.uuids(),
)
OBJECTS = st.recursive(
    st.one_of(HASHABLE, st.binary().map(bytearray), st.integers(0, 2**20).map(range)),
    lambda inner: st.one_of(
        st.lists(inner),
        st.lists(inner).map(tuple),
        st.dictionaries(HASHABLE, inner),
        st.sets(HASHABLE),
        st.frozensets(HASHABLE),
    ),
    max_leaves=30,
)


@pytest.fixture(scope="module")
def channel_for_all() -> Iterator[Ends]:
    tx, rx = ipc.channel(capacity="1MiB")
    with tx, rx:
        tx.send("both ends are in use before any test begins")
        rx.recv()
        yield tx, rx


def same(got: Any, sent: Any) -> bool:
    if type(sent) is bytearray:  # raw bytes have no class of their own
        return type(got) is bytes and got == bytes(sent)
    return type(got) is type(sent) and bool(got == sent)


@given(obj=OBJECTS)
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@example(obj=None)
@example(obj=b"")
@example(obj=bytearray())
@example(obj=())
@example(obj=-0.0)
@example(obj=math.inf)
@example(obj="\udc80".encode("utf-8", "surrogatepass"))
def test_objects_come_out_as_they_went_in(channel_for_all: Ends, obj: Any) -> None:
    tx, rx = channel_for_all
    tx.send(obj, timeout=0)
    assert same(rx.recv(0), obj)
    assert tx.try_send(obj)
    assert same(rx.try_recv("nothing"), obj)


@given(objects=st.lists(OBJECTS, max_size=20))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
def test_mixed_messages_keep_their_order(channel_for_all: Ends, objects: list[Any]) -> None:
    tx, rx = channel_for_all
    for obj in objects:
        tx.send(obj, timeout=0)
    for obj in objects:
        assert same(rx.recv(0), obj)
    assert rx.try_recv("nothing") == "nothing"


@given(size=st.integers(0, 2**20 - 16), kind=st.sampled_from([bytes, bytearray, memoryview]))
@settings(max_examples=60, deadline=None)
def test_bytes_of_any_size_come_out_as_they_went_in(channel_for_all: Ends, size: int, kind: Any) -> None:
    tx, rx = channel_for_all
    message = (size.to_bytes(4, "big") * (size // 4 + 1))[:size]
    tx.send(kind(message), timeout=0)
    assert rx.recv(0) == message


@given(
    data=st.binary(min_size=1, max_size=400),
    start=st.integers(-10, 10),
    step=st.integers(-5, 5).filter(bool),
)
def test_any_view_of_bytes_arrives_as_what_it_shows(channel_for_all: Ends, data: bytes, start: int, step: int) -> None:
    tx, rx = channel_for_all
    view = memoryview(data)[start::step]
    tx.send(view, timeout=0)
    assert rx.recv(0) == data[start::step]


@given(objects=st.lists(st.one_of(st.binary(max_size=50), st.integers()), max_size=30))
@settings(max_examples=60, deadline=None)
def test_a_receiver_of_bytes_takes_all_and_decodes_no_pickle(objects: list[Any]) -> None:
    tx, rx = ipc.channel(capacity=8192, accept="bytes")
    got = []
    with tx, rx:
        for obj in objects:
            tx.send(obj, timeout=0)
        for obj in objects:
            if isinstance(obj, bytes):
                got.append(rx.recv(0))
            else:
                with pytest.raises(ipc.RefusedEncodingError):
                    rx.recv(0)
        assert rx.stats().depth == 0
    assert got == [obj for obj in objects if isinstance(obj, bytes)]


@given(obj=OBJECTS)
@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_stats_count_the_bytes_of_the_encoding(obj: Any) -> None:
    tx, rx = ipc.channel(capacity="64KiB")
    with tx, rx:
        encoded = obj if isinstance(obj, (bytes, bytearray)) else pickle.dumps(obj, protocol=5)
        if len(encoded) > 65536 - 16:
            return
        tx.send(obj, timeout=0)
        assert tx.stats().bytes == len(encoded)
        rx.recv(0)
        assert rx.stats().bytes_received == len(encoded)

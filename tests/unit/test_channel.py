"""Channels in one process: objects through, waiting or not."""

from __future__ import annotations

import pickle
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

import ipc

PAGE = 4096
LIMIT = PAGE - 16
LARGE = 100_000  # read in place, not copied through a small buffer

Ends = tuple[ipc.Sender[Any], ipc.Receiver[Any]]


# --- objects ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 1, 8, 8191, 8192, 8193, LARGE, 2**20 - 16])
@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_bytes_like_objects_arrive_as_bytes(roomy: Ends, kind: type, size: int) -> None:
    tx, rx = roomy
    raw = bytes(index % 251 for index in range(size))
    for take in (rx.recv, lambda: rx.recv(5), rx.try_recv):
        tx.send(kind(raw))
        message = take()
        assert type(message) is bytes
        assert message == raw


@pytest.mark.parametrize(
    ("view", "same"),
    [(memoryview(b"a-b-c-")[::2], b"abc"), (memoryview(np.arange(4, dtype=np.uint16).data)[1:3], b"\1\0\2\0")],
)
def test_a_view_is_sent_as_what_it_shows(ends: Ends, view: memoryview, same: bytes) -> None:
    tx, rx = ends
    tx.send(view)
    assert tx.try_send(view)
    assert (rx.recv(), rx.recv()) == (same, same)


class Text(str):
    __slots__ = ()


class Raw(bytes):
    pass


@pytest.mark.parametrize(
    "obj",
    [
        None,
        True,
        0,
        -(10**50),
        1.5,
        "text \N{SNOWMAN}",
        "",
        [],
        (1, "two", b"three"),
        {"key": [1, {2, 3}]},
        frozenset({"one"}),
        Text("subclass"),
        Raw(b"subclass"),
        ValueError("an exception"),
        range(7),
        b"x" * 8192,
        ["x" * LARGE],
    ],
    ids=lambda obj: type(obj).__name__,
)
def test_any_other_object_arrives_as_an_equal_one_of_its_class(roomy: Ends, obj: Any) -> None:
    tx, rx = roomy
    tx.send(obj)
    assert tx.try_send(obj)
    tx.send(obj, timeout=5)
    for message in (rx.recv(), rx.try_recv("nothing"), rx.recv(5)):
        assert type(message) is type(obj)
        assert message is obj or repr(message) == repr(obj)


def test_arrays_arrive_with_their_shape_and_type(roomy: Ends) -> None:
    tx, rx = roomy
    sent = np.arange(30_000, dtype=np.float32).reshape(3, -1)
    tx.send(sent)
    got = rx.recv()
    assert (got.dtype, got.shape, got.tolist()) == (sent.dtype, sent.shape, sent.tolist())
    got[0, 0] = 7  # its own memory


def test_what_arrives_stays_when_the_ring_moves_on(ends: Ends) -> None:
    tx, rx = ends
    kept = []
    for index in range(50):
        tx.send(bytes([index]) * 1000)
        kept.append(rx.recv())
    assert kept == [bytes([index]) * 1000 for index in range(50)]


def test_changing_the_object_after_sending_changes_nothing(ends: Ends) -> None:
    tx, rx = ends
    raw, items = bytearray(b"before"), ["before"]
    tx.send(raw)
    tx.send(items)
    raw[:] = b"after!"
    items[0] = "after"
    assert rx.recv() == b"before"
    assert rx.recv() == ["before"]


def test_an_object_that_cannot_be_pickled_sends_nothing(ends: Ends) -> None:
    tx, rx = ends
    for send in (tx.send, tx.try_send):
        with pytest.raises((TypeError, AttributeError, pickle.PicklingError)):
            send(lambda: None)
    assert tx.stats().sent == 0
    tx.send("fine")
    assert rx.recv() == "fine"


def refuse_to_be_loaded() -> None:
    raise KeyError("not on this side")


class LoadsBadly:
    def __init__(self, size: int) -> None:
        self.padding = bytes(size)

    def __reduce__(self) -> Any:
        return refuse_to_be_loaded, (), self.padding


@pytest.mark.parametrize("size", [0, LARGE])
def test_a_message_that_fails_to_load_was_taken(roomy: Ends, size: int) -> None:
    tx, rx = roomy
    for take in (rx.recv, rx.try_recv):
        tx.send(LoadsBadly(size))
        tx.send("next")
        with pytest.raises(KeyError, match="not on this side"):
            take()
        assert take() == "next"
    assert rx.stats().depth == 0


def close_all(ends: list[Any]) -> None:
    for end in ends:
        end.close()


class Closes:
    """Closes the receiver while it is being unpickled."""

    ends: list[Any] = []  # noqa: RUF012

    def __init__(self, size: int) -> None:
        self.padding = bytes(size)

    def __reduce__(self) -> Any:
        return self.close, (self.padding,)

    @classmethod
    def close(cls, padding: bytes) -> int:
        close_all(cls.ends)
        return len(padding)


@pytest.mark.parametrize("size", [0, LARGE])
def test_a_receiver_closed_by_what_it_unpickles_still_hands_it_out(roomy: Ends, size: int) -> None:
    tx, rx = roomy
    tx.send(Closes(size))
    Closes.ends[:] = [rx]
    try:
        try:
            assert rx.recv() == size
        except ipc.BusyError:  # its message is lent out while it is being read
            assert size == LARGE
            assert not rx.closed
        else:
            assert rx.closed
    finally:
        Closes.ends.clear()


# --- accept -------------------------------------------------------------------------------------------------------

executed: list[int] = []


def execute(padding: bytes) -> None:
    executed.append(len(padding))


class Marker:
    """Leaves a mark when it is unpickled."""

    def __init__(self, size: int) -> None:
        self.padding = bytes(size)

    def __reduce__(self) -> Any:
        return execute, (self.padding,)


@pytest.mark.parametrize("size", [0, LARGE])
@pytest.mark.parametrize("accept", [("bytes", "array"), "bytes", ["array"]])
def test_a_receiver_that_refuses_pickle_never_executes_it(accept: Any, size: int, name: str) -> None:
    executed.clear()
    tx, rx = ipc.channel(name, accept=accept)
    with tx, rx:
        for take in (rx.recv, lambda: rx.recv(5), rx.try_recv, lambda: next(rx)):
            tx.send(Marker(size))
            with pytest.raises(ipc.RefusedEncodingError, match=r"encoding 'pickle', and accept= allows .*dropped"):
                take()
            assert rx.stats().depth == 0  # the message was taken
        if "bytes" in accept:
            tx.send(b"raw")
            assert rx.recv() == b"raw"
    assert executed == []


def test_the_marker_does_leave_a_mark_where_pickle_is_accepted(ends: Ends) -> None:
    executed.clear()
    tx, rx = ends
    tx.send(Marker(10))
    rx.recv()
    assert executed == [10]


def test_an_attached_receiver_refuses_what_it_does_not_accept(name: str) -> None:
    executed.clear()
    tx, rx = ipc.channel(name, capacity=PAGE)
    with tx, rx, ipc.Receiver.attach(name, accept=["bytes"]) as other:
        tx.send(Marker(1))
        tx.send(b"raw")
        with pytest.raises(ipc.RefusedEncodingError, match="allows 'bytes'"):
            other.recv()
        assert other.recv() == b"raw"
    assert executed == []


@pytest.mark.parametrize("size", [3, 9000])
def test_a_receiver_may_refuse_bytes(size: int) -> None:
    tx, rx = ipc.channel(accept="pickle")
    with tx, rx:
        tx.send(bytes(size))
        tx.send("pickled")
        with pytest.raises(ipc.RefusedEncodingError, match=rf"a message of {size} bytes has encoding 'bytes'"):
            rx.recv()
        assert rx.recv() == "pickled"


# --- without waiting ----------------------------------------------------------------------------------------------


def test_none_is_a_message_like_any_other(ends: Ends) -> None:
    tx, rx = ends
    nothing = object()
    assert rx.try_recv() is None
    assert rx.try_recv(nothing) is nothing
    assert tx.try_send(None)
    assert rx.try_recv(nothing) is None
    assert rx.try_recv(nothing) is nothing


def test_trying_to_send_into_a_full_channel_is_false_and_sends_nothing(ends: Ends) -> None:
    tx, rx = ends
    assert tx.try_send(bytes(LIMIT - 24))
    assert tx.try_send(b"")
    assert not tx.try_send(b"x")
    assert not tx.try_send(["x"])
    assert tx.try_send(b"") is False
    assert len(rx.recv()) == LIMIT - 24
    assert tx.try_send(b"x")
    assert [rx.recv(), rx.recv()] == [b"", b"x"]


@pytest.mark.parametrize("timeout", [0, 0.001, 0.03])
def test_a_timeout_is_waited_for_and_changes_nothing(ends: Ends, timeout: float) -> None:
    tx, rx = ends
    clock = time.monotonic
    start = clock()
    with pytest.raises(ipc.TimeoutError, match=r"receiver of channel: no message within"):
        rx.recv(timeout)
    assert clock() - start >= timeout
    tx.send(bytes(LIMIT))
    start = clock()
    with pytest.raises(ipc.TimeoutError, match=r"sender of channel: no room for 1 bytes within"):
        tx.send(b"x", timeout=timeout)
    assert clock() - start >= timeout
    start = clock()
    with pytest.raises(ipc.TimeoutError, match=r"sender of channel: not everything was taken within"):
        tx.flush(timeout)
    assert clock() - start >= timeout
    assert rx.recv(timeout) == bytes(LIMIT)
    tx.flush(timeout)
    counters = tx.stats()
    assert (counters.sent, counters.received) == (1, 1)


def test_a_timeout_is_the_builtin_one_too(ends: Ends) -> None:
    with pytest.raises(TimeoutError):
        ends[1].recv(0)


# --- waiting ------------------------------------------------------------------------------------------------------


def test_a_blocked_receiver_gets_what_comes(
    ends: Ends, parked: Callable[[Any], bool], eventually: Callable[[Callable[[], object]], None]
) -> None:
    tx, rx = ends
    with ThreadPoolExecutor(1) as pool:
        for message in (b"raw", {"pickled": 1}):
            blocked = pool.submit(rx.recv, 60)
            eventually(lambda: parked(rx))
            tx.send(message)
            assert blocked.result() == message


def test_a_blocked_sender_gets_the_room_that_comes(
    ends: Ends, parked: Callable[[Any], bool], eventually: Callable[[Callable[[], object]], None]
) -> None:
    tx, rx = ends
    tx.send(bytes(LIMIT))
    with ThreadPoolExecutor(1) as pool:
        blocked = pool.submit(tx.send, b"next", timeout=60)
        eventually(lambda: parked(tx))
        assert len(rx.recv()) == LIMIT
        blocked.result()
    assert rx.recv() == b"next"


def test_flush_returns_when_the_receiver_has_taken_everything(
    ends: Ends, parked: Callable[[Any], bool], eventually: Callable[[Callable[[], object]], None]
) -> None:
    tx, rx = ends
    tx.flush(0)  # nothing was sent
    for index in range(10):
        tx.send(index)
    with ThreadPoolExecutor(1) as pool:
        flushed = pool.submit(tx.flush, 60)
        eventually(lambda: parked(tx))
        for index in range(10):
            assert not flushed.done()
            assert rx.recv() == index
        flushed.result()


def test_flush_says_when_the_receiver_closed_before_it_took_everything(ends: Ends) -> None:
    tx, rx = ends
    tx.send(b"taken")
    tx.send(b"not taken")
    assert rx.recv() == b"taken"
    rx.close()
    with pytest.raises(ipc.EndOfChannel):
        tx.flush(60)


def test_flush_is_fine_when_the_receiver_closed_after_it_took_everything(ends: Ends) -> None:
    tx, rx = ends
    tx.send(b"taken")
    assert rx.recv() == b"taken"
    rx.close()
    tx.flush(60)

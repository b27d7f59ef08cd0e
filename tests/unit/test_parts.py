"""Messages larger than the ring: they go in parts, arrive whole, and one that is given up leaves no trace."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

import ipc
from ipc._core import encoding as encodings
from ipc._core.encoding import encode
from ipc._core.native import ffi, lib

PAGE = 4096
LIMIT = PAGE - 16
LARGE = bytes(range(256)) * 80
FIRST, MIDDLE, LAST = 1, 2, 3

Ends = tuple[ipc.Sender[Any], ipc.Receiver[Any]]


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(1) as executor:
        yield executor


def put_part(tx: ipc.Sender[Any], part: int, payload: bytes, encoding: int = 0, type: int = 0) -> None:
    """One part as a sender writes it, so that a test can stand between two of them."""
    info = type | encoding << 32 | part << 40
    if not lib.ipcr_end_in_use(tx._handle):
        tx._take()
    assert lib.ipcr_send(tx._handle, payload, len(payload), info) == lib.IPCR_OK


def put_first(tx: ipc.Sender[Any], total: int, payload: bytes, encoding: int = 0, type: int = 0) -> None:
    put_part(tx, FIRST, total.to_bytes(8, "little") + payload, encoding, type)


def encoded(obj: Any) -> tuple[int, bytes]:
    """The encoding of a message, and the message as it is put together from its parts."""
    encoding, *pieces, rest = encode(obj)
    whole = b""
    for piece in (*pieces, *rest):
        whole += bytes(-len(whole) % 64) + (piece if isinstance(piece, bytes) else ffi.buffer(piece)[:])
    return encoding, whole


def send_all(tx: ipc.Sender[Any], messages: Iterable[Any]) -> None:
    for message in messages:
        tx.send(message, timeout=60)


class Counted:
    """Has buffers of its own, and raises when it is loaded if it was told to."""

    def __init__(self, size: int, *, fails: bool = False) -> None:
        self.size, self.fails = size, fails

    def __reduce__(self) -> Any:
        return load, (np.zeros(self.size, "u1"), self.fails)


loaded: list[int] = []


def load(array: Any, fails: bool) -> int:
    loaded.append(array.size)
    if fails:
        raise KeyError("not on this side")
    return int(array.size)


KINDS: dict[str, Any] = {
    "bytes": LARGE,
    "bytearray": bytearray(LARGE),
    "view": memoryview(LARGE * 2)[::2],
    "array": np.arange(5000.0).reshape(50, 100),
    "Fortran array": np.asfortranarray(np.arange(5000.0).reshape(50, 100)),
    "strided array": np.arange(20_000).reshape(100, 200)[::2, ::2],
    "pickle": ["text " * 5000, {"key": LARGE}],
    "pickle with a buffer": {"large": np.arange(4000), "small": np.arange(3)},
    "pickle with many buffers": [np.arange(size) for size in range(60)],
    "pickle with an empty buffer": [np.empty(0), np.empty((0, 3)), np.arange(3000)],
}


def poll(rx: ipc.Receiver[Any]) -> Any:
    nothing = object()
    while (message := rx.try_recv(nothing)) is nothing:
        pass
    return message


TAKES: dict[str, Callable[[ipc.Receiver[Any]], Any]] = {
    "recv": lambda rx: rx.recv(),
    "recv in time": lambda rx: rx.recv(60),
    "next": next,
    "recv_many": lambda rx: rx.recv_many(10, 60)[0],
    "recv_envelope": lambda rx: rx.recv_envelope(60).message,
    "try_recv": poll,
}


def plain(message: Any) -> str:
    """What two equal messages have in common."""
    if isinstance(message, (bytearray, memoryview)):
        message = bytes(message)
    if isinstance(message, np.ndarray):
        return f"{message.dtype} {message.shape} {message.flags.f_contiguous} {message.tolist()}"
    return repr(message)


@pytest.mark.parametrize("take", TAKES.values(), ids=TAKES)
@pytest.mark.parametrize("message", KINDS.values(), ids=KINDS)
def test_a_message_of_any_kind_arrives_whole_however_it_is_taken(
    ends: Ends, pool: ThreadPoolExecutor, message: Any, take: Callable[[Any], Any]
) -> None:
    tx, rx = ends
    for send in (tx.send, lambda it: tx.send_many([it]), lambda it: tx.send_many(iter([it]))):
        sending = pool.submit(send, message)
        assert plain(take(rx)) == plain(message)
        sending.result()
    assert rx.stats().depth == 0


def test_an_array_twenty_times_the_ring_streams_through(pool: ThreadPoolExecutor) -> None:
    tx, rx = ipc.channel(capacity="1MiB", spin=0)
    with tx, rx:
        sent = np.random.default_rng(1).integers(0, 2**32, 5_000_000, "<u4")
        sending = pool.submit(tx.send, sent, timeout=60)
        assert np.array_equal(rx.recv(60), sent)
        sending.result()


@pytest.mark.parametrize("capacity", [PAGE, 4 * PAGE])
def test_messages_of_every_size_near_a_border_arrive_whole(pool: ThreadPoolExecutor, capacity: int) -> None:
    tx, rx = ipc.channel(capacity=capacity, spin=0)
    borders = [capacity - 16, capacity, 3 * (capacity // 4 - 16) - 8, 4 * (capacity // 4 - 16) - 8, 2 * capacity]
    messages = [bytes(size % 251 for size in range(border + more)) for border in borders for more in range(-9, 10)]
    with tx, rx:
        sending = pool.submit(send_all, tx, messages)
        assert [rx.recv(60) for _ in messages] == messages
        sending.result()


def test_sequence_numbers_and_statistics_count_messages_and_not_parts(ends: Ends, pool: ThreadPoolExecutor) -> None:
    tx, rx = ends
    messages = [b"small", LARGE, b"", LARGE + b"x", "pickled"]

    def send() -> None:
        for index, message in enumerate(messages):
            tx.send(message, type=index, timeout=60)

    sending = pool.submit(send)
    envelopes = [rx.recv_envelope(60) for _ in messages]
    sending.result()
    assert envelopes == [(message, index, index) for index, message in enumerate(messages)]
    stats = tx.stats()
    assert (stats.sent, stats.received, stats.depth) == (5, 5, 0)
    assert stats.bytes == stats.bytes_received == sum(len(encoded(message)[1]) for message in messages)


def test_flush_after_a_large_message_finds_everything_taken(ends: Ends, pool: ThreadPoolExecutor) -> None:
    tx, rx = ends

    def send() -> None:
        tx.send(LARGE)
        tx.flush(0)

    sending = pool.submit(send)
    assert rx.recv(60) == LARGE
    sending.result()


def test_a_message_that_would_go_in_parts_is_not_tried(ends: Ends) -> None:
    tx, rx = ends
    for message in KINDS.values():
        with pytest.raises(ipc.MessageTooLargeError, match=r"capacity=4096 .* or more; send\(\) takes it in parts"):
            tx.try_send(message)
    assert tx.try_send(bytes(LIMIT))
    assert rx.recv(0) == bytes(LIMIT)
    assert rx.try_recv("nothing") == "nothing"


# --- given up -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("timeout", [0, 0.01])
@pytest.mark.parametrize("message", KINDS.values(), ids=KINDS)
def test_a_send_that_runs_into_its_timeout_sends_nothing(ends: Ends, message: Any, timeout: float) -> None:
    tx, rx = ends
    for index in range(3):
        with pytest.raises(ipc.TimeoutError, match="larger than the ring"):
            tx.send(message, timeout=timeout)
        if index:  # it may have come, in part, or not been looked at
            with pytest.raises(ipc.TimeoutError):
                rx.recv(0)
        with pytest.raises(ipc.TimeoutError, match=r"larger than the ring|no room"):
            tx.send(message, timeout=timeout)
        assert rx.try_recv("nothing") == "nothing"
        tx.send([index])
        assert rx.recv_envelope(0) == ([index], 0, index)
    assert tx.stats().sent == 3


def test_a_message_given_up_is_forgotten_when_another_large_one_comes(ends: Ends, pool: ThreadPoolExecutor) -> None:
    tx, rx = ends
    for start in (b"first", b"second"):
        put_first(tx, 10_000, start, type=5)
        with pytest.raises(ipc.TimeoutError):
            rx.recv(0)
    sending = pool.submit(tx.send, LARGE, type=6, timeout=60)
    assert rx.recv_envelope(60) == (LARGE, 6, 0)
    sending.result()


def test_a_channel_that_ends_in_the_middle_of_a_message_ends(ends: Ends) -> None:
    tx, rx = ends
    tx.send(b"whole")
    put_first(tx, 10_000, b"the first of it")
    tx.close()
    assert list(rx) == [b"whole"]
    with pytest.raises(ipc.EndOfChannel):
        rx.recv()


def test_a_sender_is_told_when_the_receiver_closes_in_the_middle_of_a_message(
    ends: Ends,
    pool: ThreadPoolExecutor,
    parked: Callable[[Any], bool],
    eventually: Callable[[Callable[[], object]], None],
) -> None:
    tx, rx = ends
    rx.try_recv()
    sending = pool.submit(tx.send, LARGE, timeout=60)
    eventually(lambda: parked(tx))
    rx.close()
    with pytest.raises(ipc.EndOfChannel):
        sending.result()


# --- step by step -------------------------------------------------------------------------------------------------


def step_by_step(tx: ipc.Sender[Any], obj: Any) -> Iterator[bool]:
    """Put one part with each step, the first in the middle of any head; whether that was the last."""
    encoding, whole = encoded(obj)
    put_first(tx, len(whole), whole[:5], encoding)
    for start in range(5, len(whole), 1500):
        yield False
        put_part(tx, MIDDLE if start + 1500 < len(whole) else LAST, whole[start : start + 1500], encoding)
    yield True


WAITS: dict[str, Callable[[ipc.Receiver[Any]], Any]] = {
    "recv": lambda rx: rx.recv(0),
    "recv with time": lambda rx: rx.recv(0.0005),
    "recv_many": lambda rx: rx.recv_many(10, 0)[0],
    "recv_envelope": lambda rx: rx.recv_envelope(0).message,
}


@pytest.mark.parametrize("wait", WAITS.values(), ids=WAITS)
@pytest.mark.parametrize("message", KINDS.values(), ids=KINDS)
def test_a_receive_that_runs_into_its_timeout_goes_on_at_the_next_call(
    ends: Ends, message: Any, wait: Callable[[Any], Any]
) -> None:
    tx, rx = ends
    for is_last in step_by_step(tx, message):
        if not is_last:
            with pytest.raises(ipc.TimeoutError, match="no message within"):
                wait(rx)
            assert rx.try_recv("nothing") == "nothing"
    assert plain(wait(rx)) == plain(message)
    tx.send("next")
    assert rx.recv(0) == "next"


def test_each_step_may_be_taken_by_another_call(ends: Ends) -> None:
    tx, rx = ends
    takes = list(WAITS.values())
    for index, is_last in enumerate(step_by_step(tx, KINDS["array"])):
        if not is_last:
            with pytest.raises(ipc.TimeoutError):
                takes[index % len(takes)](rx)
    assert plain(rx.try_recv()) == plain(KINDS["array"])


class Interrupt(Exception):
    """What a signal's handler raises."""


@pytest.mark.parametrize("message", KINDS.values(), ids=KINDS)
def test_a_receive_that_a_signal_ends_goes_on_at_the_next_call(
    ends: Ends,
    message: Any,
    pool: ThreadPoolExecutor,
    parked: Callable[[Any], bool],
    eventually: Callable[[Callable[[], object]], None],
) -> None:
    def interrupt(*_: object) -> None:
        raise Interrupt

    def ring() -> None:
        eventually(lambda: parked(rx))
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGALRM)

    tx, rx = ends
    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        for is_last in step_by_step(tx, message):
            if not is_last:
                ringing = pool.submit(ring)
                with pytest.raises(Interrupt):
                    rx.recv()
                ringing.result()
    finally:
        signal.signal(signal.SIGALRM, before)
    assert plain(rx.recv(0)) == plain(message)


def test_what_a_handler_raises_between_two_pieces_is_raised_at_once_and_the_rest_is_passed_over(
    ends: Ends, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As by an alarm that shall end the wait for a sender who has stopped in the middle."""

    def alarm(_: bytes) -> Any:
        raise Interrupt

    tx, rx = ends
    encoding, whole = encoded(np.arange(1000.0))
    put_first(tx, len(whole), whole[:1000], encoding)
    with monkeypatch.context() as patched:
        patched.setattr(encodings, "_head", alarm)  # called once the array's head is there
        with pytest.raises(Interrupt):
            rx.recv(0.05)
    for at in range(1000, 7000, 1000):
        put_part(tx, MIDDLE, whole[at : at + 1000], encoding)
        assert rx.try_recv("nothing") == "nothing"
    put_part(tx, LAST, whole[7000:], encoding)
    tx.send("next")
    assert rx.recv(0) == "next"


def test_looking_at_a_message_in_parts_with_view_loses_nothing_of_it(ends: Ends) -> None:
    tx, rx = ends
    for is_last in step_by_step(tx, LARGE):
        with pytest.raises(ipc.MessageTooLargeError), rx.view(0):
            pass
        if not is_last:
            with pytest.raises(ipc.TimeoutError):
                rx.recv(0)
    assert rx.recv(0) == LARGE


# --- refused, or not to be loaded ---------------------------------------------------------------------------------


@pytest.mark.parametrize("take", TAKES.values(), ids=TAKES)
@pytest.mark.parametrize("message", KINDS.values(), ids=KINDS)
def test_a_message_longer_than_the_receiver_wants_is_dropped(
    pool: ThreadPoolExecutor, message: Any, take: Callable[[Any], Any]
) -> None:
    tx, rx = ipc.channel(capacity=PAGE, spin=0, max_message="4KiB")
    with tx, rx:
        sending = pool.submit(send_all, tx, [message, "next"])
        with pytest.raises(ipc.MessageTooLargeError, match=r"is longer than max_message=4096; it was dropped"):
            take(rx)
        assert take(rx) == "next"
        sending.result()


@pytest.mark.parametrize("most", [0, 1, 4000, 5000, 8192, 20_480])
def test_the_longest_message_that_a_receiver_wants_arrives(name: str, pool: ThreadPoolExecutor, most: int) -> None:
    tx, rx = ipc.channel(name, capacity=PAGE, spin=0)
    rx.close()
    with tx, ipc.Receiver.attach(name, max_message=most, spin=0) as rx:
        messages = [bytes(most), bytes(most + 1), bytes(most)]
        sending = pool.submit(send_all, tx, messages)
        assert rx.recv(60) == bytes(most)
        with pytest.raises(ipc.MessageTooLargeError, match=f"a message of {most + 1} bytes is longer than"):
            rx.recv(60)
        assert rx.recv(60) == bytes(most)
        sending.result()


def test_no_memory_is_taken_for_a_length_that_is_not_wanted() -> None:
    tx, rx = ipc.channel(capacity=PAGE, spin=0, max_message="1MiB")
    with tx, rx:
        for encoding in range(4):
            put_first(tx, 2**46, bytes(100), encoding)
            with pytest.raises(ipc.TimeoutError):
                rx.recv(0)
        tx.send("next")
        assert rx.recv(0) == "next"


@pytest.mark.parametrize("take", TAKES.values(), ids=TAKES)
def test_what_is_not_accepted_in_parts_is_taken_and_not_decoded(
    pool: ThreadPoolExecutor, take: Callable[[Any], Any]
) -> None:
    loaded.clear()
    tx, rx = ipc.channel(capacity=PAGE, spin=0, accept="bytes")
    refused = [Counted(10_000), KINDS["array"], KINDS["pickle"]]
    with tx, rx:
        sending = pool.submit(send_all, tx, [message for it in refused for message in (it, LARGE, b"next")])
        for _ in refused:
            with pytest.raises(ipc.RefusedEncodingError, match="and accept= allows 'bytes'; it was dropped"):
                take(rx)
            assert take(rx) == LARGE
            assert take(rx) == b"next"
        sending.result()
    assert loaded == []


@pytest.mark.parametrize("take", TAKES.values(), ids=TAKES)
def test_a_message_in_parts_that_fails_to_load_was_taken(
    ends: Ends, pool: ThreadPoolExecutor, take: Callable[[Any], Any]
) -> None:
    loaded.clear()
    tx, rx = ends
    sending = pool.submit(send_all, tx, [Counted(9000, fails=True), Counted(9000), "next"])
    with pytest.raises(KeyError, match="not on this side"):
        take(rx)
    assert take(rx) == 9000
    assert take(rx) == "next"
    sending.result()
    assert loaded == [9000, 9000]


# --- among others -------------------------------------------------------------------------------------------------


def test_a_batch_ends_before_a_message_in_parts(ends: Ends) -> None:
    tx, rx = ends
    large = LARGE[:1000]
    for before, behind in (([b"1", b"2"], [b"3"]), (["1"], [b"2", b"3"]), ([], [2, 3])):
        tx.send_many(before)
        for _ in step_by_step(tx, large):
            pass
        tx.send_many(behind)
        if before:
            assert rx.recv_many() == before
        assert rx.recv_many() == [large]
        assert rx.recv_many() == behind


def test_iteration_meets_large_messages_in_their_place(ends: Ends, pool: ThreadPoolExecutor) -> None:
    tx, rx = ends
    messages = [b"small", LARGE, 1, LARGE * 3, np.arange(2000), "pickled" * 1000, b"", LARGE]

    def produce() -> None:
        assert tx.send_many(messages) == len(messages)
        tx.close()

    producing = pool.submit(produce)
    assert [plain(message) for message in rx] == [plain(message) for message in messages]
    producing.result()


@pytest.mark.parametrize("kind", [list, tuple, iter])
def test_a_batch_that_runs_into_its_timeout_in_a_large_message_says_what_went(ends: Ends, kind: Any) -> None:
    tx, rx = ends
    for first in ([b"1", b"2"], ["1", "2"]):
        for large in (LARGE, KINDS["array"], KINDS["pickle"]):
            with pytest.raises(ipc.TimeoutError) as caught:
                tx.send_many(kind([*first, large, b"3"]), timeout=0)
            assert caught.value.sent == 2  # type: ignore[attr-defined]
            assert rx.recv_many() == first
            assert rx.try_recv("nothing") == "nothing"

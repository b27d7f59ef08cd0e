"""What went wrong once with messages of any kind and size, alone and in batches, and must not again."""

from __future__ import annotations

import pickle
import struct
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

import ipc
from ipc._core import encoding as encodings
from ipc._core.native import fast, lib

PAGE = 4096
FIRST, LAST = 1 << 40, 3 << 40  # of a record's info; see native/format.h

Ends = tuple[ipc.Sender[Any], ipc.Receiver[Any]]


@pytest.fixture
def ends() -> Iterator[Ends]:
    tx, rx = ipc.channel(capacity="1MiB", spin=0)
    with tx, rx:
        yield tx, rx


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(1) as executor:
        yield executor


class Buffers:
    """Has several buffers, all out of band."""

    def __init__(self, *buffers: Any) -> None:
        self.buffers = buffers

    def __reduce_ex__(self, protocol: Any) -> Any:
        return Buffers, tuple(map(pickle.PickleBuffer, self.buffers))


class Loading:
    """Does as it is told when it is loaded, and remembers how often it was."""

    does: Callable[[int], object] = int
    loads = 0

    def __init__(self, number: int, size: int = 0) -> None:
        self.number, self.padding = number, bytes(size)

    def __reduce__(self) -> Any:
        return self.load, (self.number, self.padding)

    @staticmethod
    def load(number: int, _: bytes) -> int:
        Loading.loads += 1
        Loading.does(number)
        return number


@pytest.fixture
def loading() -> Iterator[type[Loading]]:
    Loading.loads = 0
    yield Loading
    Loading.does = int


def put(tx: ipc.Sender[Any], *records: tuple[bytes, int]) -> None:
    """Records as they are, which no correct sender writes."""
    if not lib.ipcr_end_in_use(tx._handle):
        tx._take()
    for payload, info in records:
        assert lib.ipcr_send(tx._handle, payload, len(payload), info) == lib.IPCR_OK


def put_in_parts(tx: ipc.Sender[Any], encoding: int, message: bytes, first: int) -> None:
    """One message in two parts, of which the first has `first` bytes of it."""
    info = encoding << 32
    put(tx, (struct.pack("<Q", len(message)) + message[:first], info | FIRST), (message[first:], info | LAST))


# --- in parts -----------------------------------------------------------------------------------------------------

ENDING_EMPTY: dict[str, Any] = {
    "behind a multiple of 64": Buffers(bytearray(640_000), bytearray()),
    "behind another number": Buffers(bytearray(640_001), bytearray()),
    "two of them": Buffers(bytearray(640_000), bytearray(), bytearray()),
    "the first one": Buffers(bytearray(), bytearray(640_000)),
    "an array in a list": [np.zeros(80_000), np.zeros(0)],
}


@pytest.mark.parametrize("message", ENDING_EMPTY.values(), ids=ENDING_EMPTY)
def test_a_message_in_parts_arrives_with_its_empty_buffers(pool: ThreadPoolExecutor, message: Any) -> None:
    tx, rx = ipc.channel(capacity="64KiB", spin=0)
    with tx, rx:
        sending = pool.submit(tx.send, message, timeout=60)
        got = rx.recv(30)
        assert sending.result() is None
        sizes = [len(part) for part in (message if isinstance(message, list) else message.buffers)]
        assert [len(part) for part in (got if isinstance(got, list) else got.buffers)] == sizes
        tx.send(b"next")
        assert rx.recv(0) == b"next"


def test_an_empty_table_arrives_also_where_its_dtype_alone_is_larger_than_the_ring(pool: ThreadPoolExecutor) -> None:
    table = np.zeros(0, [(f"a_rather_long_name_{column}", "f8") for column in range(250)])
    tx, rx = ipc.channel(capacity=PAGE, spin=0)
    with tx, rx:
        sending = pool.submit(tx.send, table, timeout=60)
        got = rx.recv(30)
        assert sending.result() is None
        assert (got.dtype, got.shape) == (table.dtype, (0,))


GARBAGE: dict[str, tuple[int, bytes, int]] = {
    "an array of 5 bytes": (encodings.ARRAY, b"abcde", 2),
    "an array whose head has a garbage dtype": (encodings.ARRAY, struct.pack("<BBHI", 0, 0, 8, 0) + b"garbage!" * 7, 9),
    "a pickle's table of 10 bytes": (encodings.PICKLE_BUFFERS, b"abcdefghij", 4),
    "more buffers than there are bytes": (encodings.PICKLE_BUFFERS, struct.pack("<QQ", 1 << 60, 0) + bytes(8), 16),
    "a table that ends behind the end": (encodings.PICKLE_BUFFERS, struct.pack("<QQQ", 3, 0, 0), 16),
    "a pickle that ends behind the end": (encodings.PICKLE_BUFFERS, struct.pack("<QQ", 0, 1 << 60) + bytes(8), 16),
    "an empty buffer behind the end": (encodings.PICKLE_BUFFERS, struct.pack("<QQQ", 1, 3, 0) + b"N.x", 16),
    "a buffer behind the end": (encodings.PICKLE_BUFFERS, struct.pack("<QQQ", 1, 3, 99) + b"N..", 16),
    "bytes that nothing tells of": (encodings.PICKLE_BUFFERS, struct.pack("<QQ", 0, 2) + b"N." + bytes(50), 16),
}
TAKES: dict[str, Callable[[ipc.Receiver[Any]], Any]] = {
    "recv": lambda rx: rx.recv(10),
    "try_recv": lambda rx: rx.try_recv("nothing"),
    "recv_many": lambda rx: rx.recv_many(1, 10)[0],
    "next": next,
}


@pytest.mark.parametrize("take", TAKES.values(), ids=TAKES)
@pytest.mark.parametrize("garbage", GARBAGE.values(), ids=GARBAGE)
def test_garbage_in_the_head_of_a_message_in_parts_is_said_once(
    ends: Ends, garbage: tuple[int, bytes, int], take: Callable[[Any], Any]
) -> None:
    tx, rx = ends
    encoding, message, first = garbage
    put_in_parts(tx, encoding, message, first)
    tx.send(b"sound")
    with pytest.raises(ipc.CorruptSegmentError, match="no correct peer writes; it was dropped"):
        take(rx)
    assert take(rx) == b"sound"
    assert rx.try_recv("nothing") == "nothing"


@pytest.mark.parametrize("timeout", [None, 10, 0])
def test_a_view_in_the_middle_of_a_message_leaves_it_to_recv(ends: Ends, timeout: float | None) -> None:
    tx, rx = ends
    message = bytes(range(256))
    put(tx, (struct.pack("<Q", 256) + message[:100], FIRST))
    for _ in range(2):
        with pytest.raises(ipc.MessageTooLargeError, match=r"it stays: recv\(\) takes it"), rx.view(timeout):
            pass
        with pytest.raises(ipc.TimeoutError):
            rx.recv(0)  # has the first part
        put(tx, (message[100:], LAST))
        with pytest.raises(ipc.MessageTooLargeError, match=r"it stays: recv\(\) takes it"), rx.view(timeout):
            pass
        assert rx.recv(0) == message
        put(tx, (struct.pack("<Q", 256) + message[:100], FIRST))
    tx.send(b"next")  # so the last one was given up
    assert rx.recv(0) == b"next"


# --- heads that lie -----------------------------------------------------------------------------------------------


def head(dtype: str, shape: tuple[int, ...] = (), length: int | None = None) -> bytes:
    """An array's head, and no data."""
    text = dtype.encode()
    start = struct.pack("<BBHI", 0, len(shape), len(text) if length is None else length, 0)
    whole = start + struct.pack(f"<{len(shape)}Q", *shape) + text
    return whole + bytes(-len(whole) % 64)


LYING: dict[str, bytes] = {
    "no head": b"\0" * 7,
    "a length behind the end": head("u1", (0,), 60_000),
    "a length that is too small": head("u1", (0,), 1),
    "a length that is too large": head("u1", (0,), 3),
    "a shape whose product wraps to none": head("u1", (0, 2**62, 2**62)),
    "a shape that needs a whole address space": head("f8", (0, 2**62)),
    "a shape beyond the data": head("u1", (2**63 - 1,)),
    "65 dimensions": head("u1", (1,) * 65),
    "255 dimensions": head("u1", (1,) * 255),
    "a dtype of 60000 characters": head("[" + "('a','u1')," * 5454 + "]", (0,)),
    "a dtype of brackets": head("[" * 9000, (0,)),
    "a dtype that holds objects": head("O", (0,)),
    "a dtype that takes no memory": head("V0", (0,)),
}


@pytest.mark.parametrize("how", ["whole", "in parts", "viewed"])
@pytest.mark.parametrize("lie", LYING.values(), ids=LYING)
def test_a_head_that_lies_is_said_once(ends: Ends, lie: bytes, how: str) -> None:
    tx, rx = ends
    if how == "in parts":
        put_in_parts(tx, encodings.ARRAY, lie, 5)
    else:
        put(tx, (lie, encodings.ARRAY << 32))
    tx.send(b"sound")
    with pytest.raises(ipc.CorruptSegmentError, match="no correct peer writes; it was dropped"):  # noqa: PT012
        if how == "viewed":
            with rx.view(0):
                pass
        else:
            rx.recv(0)
    assert rx.recv(0) == b"sound"
    assert rx.try_recv("nothing") == "nothing"


def test_a_head_that_changes_while_it_is_read_is_said() -> None:
    told = head("u1", (4,)) + bytes(4)
    other = bytes([0, 200]) + told[2:]

    class Changing:
        """A peer's memory, which holds something else at the second look."""

        looks = 0

        def __getitem__(self, where: slice) -> bytes:
            self.looks += 1
            return (told if self.looks == 1 else other)[where]

    with pytest.raises(ipc.CorruptSegmentError):
        encodings.array_at(Changing(), len(told), 0, told)


# --- batches ------------------------------------------------------------------------------------------------------


def refilled(memory: Any) -> Iterator[tuple[Any, Any]]:
    """What a generator may yield that fills the same memory for each item, and what should arrive."""
    for number in range(50):
        memory[:] = bytes([number]) * len(memory) if not isinstance(memory, np.ndarray) else number
        yield memory, memory.tobytes() if isinstance(memory, np.ndarray) else bytes(memory)


MEMORY: dict[str, Callable[[], Any]] = {
    "bytearray": lambda: bytearray(4),
    "memoryview": lambda: memoryview(bytearray(4)),
    "array": lambda: np.zeros(2, "i4"),
    "Fortran array": lambda: np.zeros((20, 30), order="F"),
    "large bytearray": lambda: bytearray(70_000),
}
WRAPS: dict[str, tuple[Callable[[Any], Any], Callable[[Any], Any]]] = {
    "as it is": (lambda item: item, lambda got: got),
    "pickled out of band": (Buffers, lambda got: got.buffers[0]),
}


@pytest.mark.parametrize("wrap", WRAPS.values(), ids=WRAPS)
@pytest.mark.parametrize("make", MEMORY.values(), ids=MEMORY)
def test_a_generator_may_fill_the_same_memory_again_for_its_next_item(
    make: Callable[[], Any], wrap: tuple[Callable[[Any], Any], Callable[[Any], Any]]
) -> None:
    expected = []

    def generate() -> Iterator[Any]:
        for item, content in refilled(make()):
            expected.append(content)
            yield wrap[0](item)

    tx, rx = ipc.channel(capacity="64MiB", spin=0)
    with tx, rx:
        assert tx.send_many(generate()) == 50
        got = [wrap[1](rx.recv(0)) for _ in range(50)]
    assert [item.tobytes() if isinstance(item, np.ndarray) else bytes(item) for item in got] == expected


def test_a_generator_may_resize_the_bytearray_that_it_has_given(ends: Ends) -> None:
    tx, rx = ends

    def generate() -> Iterator[bytearray]:
        memory = bytearray()
        for _ in range(5):
            memory.extend(b"x")
            yield memory

    assert tx.send_many(generate()) == 5
    assert rx.recv_many() == [b"x" * length for length in range(1, 6)]


@pytest.mark.parametrize("first", ["the one inside", "the one outside"])
def test_of_two_threads_that_take_one_batch_one_is_told_and_nothing_is_lost(
    ends: Ends, pool: ThreadPoolExecutor, loading: type[Loading], first: str
) -> None:
    tx, rx = ends
    tx.send_many([Loading(number) for number in range(6)])
    got: list[Any] = []
    busy: list[str] = []
    decoding, done = threading.Event(), threading.Event()

    def take(who: str, most: int) -> None:
        try:
            got.extend(rx.recv_many(most))
        except ipc.BusyError:
            busy.append(who)

    def does(number: int) -> None:
        """The first to decode lets the other one run: to its end, or to where it decodes as well."""
        if number:
            return
        if Loading.loads == 1:
            other = pool.submit(take, "inside", 2)
            if first == "the one inside":
                other.result()
            else:
                assert decoding.wait(60)
        elif first == "the one outside":
            decoding.set()
            assert done.wait(60)

    loading.does = does
    take("outside", 3)
    done.set()
    pool.submit(int).result()  # so that the other one is through
    assert (got, busy) == (([0, 1], ["outside"]) if first == "the one inside" else ([0, 1, 2], ["inside"]))
    loading.does = int
    assert got + rx.recv_many() == [0, 1, 2, 3, 4, 5]
    assert rx.try_recv("nothing") == "nothing"


def test_another_thread_runs_while_a_long_list_is_sent() -> None:
    tx, rx = ipc.channel(capacity="64MiB", spin=0)
    messages = [b""] * (4_000_000 if fast else 100_000)
    base, looks = 1, 0
    stop = threading.Event()

    def look() -> None:
        nonlocal looks
        while not stop.wait(0.001):
            looks += base < tx.stats().sent < base + len(messages)

    with tx, rx, ThreadPoolExecutor(1) as pool:
        tx.send(b"")
        looking = pool.submit(look)
        try:
            for _ in range(10):  # should a machine be so fast that one is sent before the other thread's turn
                tx.send_many(messages)
                if looks:
                    break
                while rx.stats().depth:
                    rx.recv_many(1_000_000)
                base += len(messages)
        finally:
            stop.set()
        looking.result()
    assert looks


# --- closing ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 20_000, 100_000], ids=["small", "lent", "in parts"])
@pytest.mark.parametrize("take", [*TAKES.values(), lambda rx: rx.recv()], ids=[*TAKES, "recv for ever"])
def test_another_thread_may_close_while_a_message_is_decoded(
    pool: ThreadPoolExecutor, loading: type[Loading], take: Callable[[Any], Any], size: int
) -> None:
    tx, rx = ipc.channel(capacity="64KiB", spin=0)

    def does(_: int) -> None:
        pool.submit(rx.close).result()

    loading.does = does
    with tx, rx, ThreadPoolExecutor(1) as sender:
        sending = sender.submit(tx.send, Loading(7, size), timeout=60)
        if take is TAKES["try_recv"]:
            while (got := take(rx)) == "nothing":
                time.sleep(0.001)
        else:
            got = take(rx)
        assert got == 7
        assert rx.closed
        assert sending.result() is None
        with pytest.raises(ipc.ClosedError):
            take(rx)

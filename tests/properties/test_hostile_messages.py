"""Messages that no correct peer writes: each ends in CorruptSegmentError or in a valid message, and the next arrives.

They are written as raw records, as a peer could that has another library, or ill will.
"""

from __future__ import annotations

import ast
import pickle
import struct
import tracemalloc
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

import ipc
from ipc._core.encoding import array_head
from ipc._core.native import lib

CAPACITY = 1 << 19
MOST_MEMORY = 32 << 20  # of any of these messages: parsing the longest text takes most

WHOLE, FIRST, MIDDLE, LAST = range(4)
ARRAY, PICKLE_BUFFERS = lib.IPCR_ARRAY, lib.IPCR_PICKLE_BUFFERS

Take = Callable[[ipc.Receiver[Any]], Any]


def put(tx: ipc.Sender[Any], payload: bytes, encoding: int, part: int = WHOLE) -> None:
    assert lib.ipcr_send(tx._handle, payload, len(payload), encoding << 32 | part << 40) == lib.IPCR_OK


def put_in_parts(tx: ipc.Sender[Any], payload: bytes, encoding: int, cuts: list[int]) -> None:
    borders = sorted(({cut % len(payload) for cut in cuts} | {len(payload) // 2 or 1}) - {0})
    pieces = [payload[start:end] for start, end in zip([0, *borders], [*borders, len(payload)], strict=True)]
    put(tx, struct.pack("<Q", len(payload)) + pieces[0], encoding, FIRST)
    for piece in pieces[1:-1]:
        put(tx, piece, encoding, MIDDLE)
    put(tx, pieces[-1], encoding, LAST)


def look(rx: ipc.Receiver[Any]) -> Any:
    with rx.view(0) as seen:
        return seen.copy() if isinstance(seen, np.ndarray) else seen


TAKES: dict[str, Take] = {
    "recv": lambda rx: rx.recv(0),
    "try_recv": lambda rx: rx.try_recv("nothing"),
    "recv_many": lambda rx: rx.recv_many(1, 0)[0],
    "view": look,
}
WAYS = st.sampled_from([*TAKES, "parts"])


def deliver(pieces: list[bytes], encoding: int, way: str, cuts: list[int]) -> Any:
    """What becomes of a message, whose pieces begin where they should; the errors that come of it are the caller's."""
    tx, rx = ipc.channel(capacity=CAPACITY, spin=0)
    with tx, rx:
        tx.send(bytes(8 * (sum(cuts) % 8)))  # the message stands elsewhere
        rx.recv()
        skew = 0 if way == "parts" else (16 + tx.stats().bytes + 16) % 64
        message = b""
        for piece in pieces:
            message += (bytes(-(skew + len(message)) % 64) if message else b"") + piece
        if way == "parts" and len(message) > 1:
            put_in_parts(tx, message, encoding, cuts)
        else:
            put(tx, message, encoding)
        tx.send(b"next")
        tracemalloc.start()
        try:
            return TAKES.get(way, TAKES["recv"])(rx)
        finally:
            most = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
            assert most < MOST_MEMORY
            assert rx.recv(0) == b"next"
            assert rx.try_recv("nothing") == "nothing"


# --- heads of arrays ----------------------------------------------------------------------------------------------


def head_of(
    text: bytes, shape: list[int], order: int = 0, zero: int = 0, dimensions: int = 0, length: int = 0
) -> bytes:
    """A head; what is said of the shape and the text is off by `dimensions` and `length`."""
    said = struct.pack("<BBHI", order, (len(shape) + dimensions) % 256, (len(text) + length) % 65536, zero)
    return said + struct.pack(f"<{len(shape)}Q", *shape) + text


PLAIN = ["<f8", "|u1", ">i4", "|b1", "<U3", "|S5", "<M8[ns]", "<m8[25s]", "|V7", "<c16", "<f2", "[('a', '<i4')]"]
ODD = [
    "", "O", "|O", "[('a', '|O')]", "[]", "[1]", "[[]]", "()", "(2,)u1", "(0,)u1", "(2,3)<f8", "i4,f8", "<i4\0",
    " <i4", "T", "V0", "S0", "U0", "V2147483647", "S2147483647", "<U536870911", "V99999999999", "(2147483647,)f8",
    "(1000,1000,1000)u1", "[('a', '<i4'), ('a', '<i4')]", "[('', '<i4')]", "[('a', '<i4', (0,))]",
    "[('a', '<i4', (-1,))]", "[('a', '<i4', 3)]", "[('a', '|V3'), ('', '|V5'), ('b', '<f8')]",
    "[(('t', 'a'), '<i4')]", "[('\u00e9', '<i4')]", "[('\\d', '<i4')]", "[('a', '<i4')", "[__import__('os')]",
    "[('a', [('b', [('c', '<i2')])])]", "{'names': ['a'], 'formats': ['<i4']}", "<M8[99999999999D]", "<M8[0s]",
    "<M8[]", "M8[s/7]", "object", "float", "int", "str", "void", "datetime64", "a5", "p", "P",
]  # fmt: skip
LONG = [
    "[" * 300, "[" + "[" * 9000, "[" + "-" * 60_000 + "1]", "[" + "1+" * 30_000 + "1j]", "[" + "a.a" * 20_000 + "]",
    "[" + "9" * 60_000 + "]", "[" + "('a', '<i4')," * 5000 + "]", "[('a'," * 90 + "'<i4'" + ")]" * 90,
    "i4," * 20_000, "[" + "'\\N{DIGIT ONE}'" * 4000 + "]", "x" * 65_535, "(" * 9000 + "2" + ")" * 9000 + "u1",
    "(" + "1," * 90 + ")u1",
]  # fmt: skip

EXTENTS = st.one_of(
    st.integers(0, 5),
    st.sampled_from([2**31, 2**32, 2**61, 2**62, 2**63 - 1, 2**63, 2**64 - 1]),
    st.integers(0, 2**64 - 1),
)
SHAPES = st.one_of(
    st.lists(st.integers(0, 4), max_size=3),
    st.lists(EXTENTS, max_size=6),
    st.lists(st.just(1), min_size=30, max_size=260),
)
TEXTS = st.one_of(
    st.sampled_from(PLAIN + ODD).map(str.encode),
    st.builds(lambda text, at, more: text[:at] + more + text[at + 1 :], st.sampled_from(PLAIN + ODD).map(str.encode),
              st.integers(0, 20), st.binary(max_size=2)),
    st.binary(max_size=20),
)  # fmt: skip


def array_or_corrupt(head: bytes, data: bytes, way: str, cuts: list[int], *, longer_head: bool = False) -> bool:
    """Whether an array arrived, of all the data; a head that claims to be longer may take the first 64 bytes of it."""
    try:
        got = deliver([head, data], ARRAY, way, cuts)
    except ipc.CorruptSegmentError:
        return False
    assert type(got) is np.ndarray
    assert not got.dtype.hasobject
    assert got.nbytes == len(got.tobytes())
    assert got.nbytes in {len(data), len(data) - 64 if longer_head else len(data)}
    return True


def matching(text: bytes, shape: list[int]) -> int:
    """How many bytes of data would suit; something at least, where nothing does."""
    try:
        structured = text.startswith(b"[")
        dtype: Any = (
            np.lib.format.descr_to_dtype(ast.literal_eval(text.decode())) if structured else np.dtype(text.decode())
        )
        size = int(np.prod([int(n) for n in shape], dtype=object)) * dtype.itemsize
    except Exception:
        return 8
    return size if size < 100_000 else 8


@given(
    text=TEXTS,
    shape=SHAPES,
    order=st.sampled_from([0, 0, 0, 1, 1, 2, 255]),
    zero=st.sampled_from([0, 0, 0, 0, 1, 2**32 - 1]),
    off=st.sampled_from([(0, 0), (0, 0), (0, 0), (1, 0), (-1, 0), (200, 0), (0, 1), (0, -1), (0, 60_000)]),
    excess=st.sampled_from([0, 0, 0, 1, 64]),
    way=WAYS,
    cuts=st.lists(st.integers(0, 2**16), max_size=3),
)
@settings(max_examples=700, deadline=None, suppress_health_check=list(HealthCheck))
@example(text=b"<f8", shape=[3], order=0, zero=0, off=(0, 0), excess=0, way="recv", cuts=[])
@example(text=b"|u1", shape=[2**62, 2**62, 0], order=0, zero=0, off=(0, 0), excess=0, way="recv", cuts=[])
@example(text=b"|u1", shape=[2**62, 0], order=0, zero=0, off=(0, 0), excess=0, way="parts", cuts=[])
@example(text=b"(2,)u1", shape=[1] * 64, order=0, zero=0, off=(0, 0), excess=0, way="recv", cuts=[])
@example(text=b"(2,3)u1", shape=[2, 3], order=1, zero=0, off=(0, 0), excess=0, way="parts", cuts=[])
@example(text=b"V2147483647", shape=[0], order=0, zero=0, off=(0, 0), excess=0, way="recv", cuts=[])
@example(text=b"p", shape=[0, 0], order=0, zero=0, off=(1, 0), excess=64, way="recv", cuts=[])
@example(text=b"|O", shape=[1], order=0, zero=0, off=(0, 0), excess=0, way="parts", cuts=[])
def test_any_head_of_an_array_is_valid_or_corrupt(
    text: bytes,
    shape: list[int],
    order: int,
    zero: int,
    off: tuple[int, int],
    excess: int,
    way: str,
    cuts: Any,
) -> None:
    data = bytes(matching(text, shape) + excess)
    is_right = text.decode("latin-1") in PLAIN and len(shape) <= 64 and all(extent <= 5 for extent in shape)
    is_right = is_right and order < 2 and zero == excess == 0 and off == (0, 0)
    head = head_of(text, shape, order, zero, *off)
    assert array_or_corrupt(head, data, way, cuts, longer_head=off[0] > 0) or not is_right


@pytest.mark.parametrize("way", [*TAKES, "parts"])
@pytest.mark.parametrize("text", [*ODD, *LONG], ids=range(len(ODD) + len(LONG)))
def test_odd_and_endless_texts_of_dtypes_are_valid_or_corrupt(text: str, way: str) -> None:
    for shape in ([], [1], [0], [2, 3]):
        raw = text.encode()
        array_or_corrupt(head_of(raw, shape), bytes(matching(raw, shape)), way, [])


@given(
    original=st.sampled_from([np.arange(6.0), np.ones((2, 3), ">i2", order="F"), np.zeros(4, "i4, f8"), np.array(5)]),
    changes=st.lists(st.tuples(st.integers(0, 200), st.integers(0, 255)), min_size=1, max_size=4),
    cut=st.integers(0, 300),
    way=WAYS,
)
@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
def test_a_damaged_array_is_valid_or_corrupt(original: Any, changes: list[tuple[int, int]], cut: int, way: str) -> None:
    head = array_head(original.dtype, original.shape, not original.flags.c_contiguous)
    assert head is not None
    gap = bytes(-((0 if way == "parts" else 32) + len(head)) % 64)
    message = bytearray(head + gap + original.tobytes("A"))
    for place, byte in changes:
        message[place % len(message)] = byte
    message = message[: len(message) - cut % len(message)] if cut > 200 else message
    try:
        got = deliver([bytes(message)], ARRAY, way, [])
    except ipc.CorruptSegmentError:
        return
    assert type(got) is np.ndarray
    assert got.nbytes <= len(message)


# --- tables of pickles with buffers -------------------------------------------------------------------------------

# what a pickle may raise that is cut short, begins elsewhere, or finds other buffers than it was made with
OF_PICKLE = (ipc.CorruptSegmentError, pickle.UnpicklingError, EOFError, ValueError, TypeError, BufferError)
LENGTHS = st.one_of(st.integers(0, 80), st.sampled_from([2**16, 2**31, 2**32, 2**47, 2**63, 2**64 - 1, 2**64 - 16]))


def pickled(*buffers: bytes) -> bytes:
    """A pickle of a list of buffers, without the buffers."""
    return pickle.dumps([pickle.PickleBuffer(bytearray(it)) for it in buffers], 5, buffer_callback=lambda _: None)


@given(
    count=st.one_of(st.none(), LENGTHS),
    length=st.one_of(st.none(), LENGTHS),
    sizes=st.lists(st.one_of(st.integers(0, 100), LENGTHS), max_size=4),
    excess=st.sampled_from([0, 0, 0, 1, 64, 5000]),
    way=WAYS,
    cuts=st.lists(st.integers(0, 2**16), max_size=3),
)
@settings(max_examples=500, deadline=None, suppress_health_check=list(HealthCheck))
@example(count=None, length=None, sizes=[3, 0, 64], excess=0, way="recv", cuts=[])
@example(count=2**61, length=None, sizes=[], excess=0, way="parts", cuts=[])
@example(count=None, length=0, sizes=[], excess=0, way="parts", cuts=[])
def test_any_table_of_a_pickle_with_buffers_is_valid_or_an_error(
    count: int | None, length: int | None, sizes: list[int], excess: int, way: str, cuts: list[int]
) -> None:
    buffers = [bytes([index + 1]) * (size if size <= 100 else 8) for index, size in enumerate(sizes)]
    data = pickled(*buffers)
    table = struct.pack("<QQ", len(buffers) if count is None else count, len(data) if length is None else length)
    message = table + struct.pack(f"<{len(sizes)}Q", *sizes) + data
    is_right = count is None and length is None and excess == 0 and all(size <= 100 for size in sizes)
    try:
        got = deliver([message, *buffers, *([bytes(excess)] if excess else [])], PICKLE_BUFFERS, way, cuts)
    except OF_PICKLE:
        assert not is_right
    else:
        assert isinstance(got, list)
        assert not is_right or got == buffers


@pytest.mark.parametrize("size", range(20))
@pytest.mark.parametrize("encoding", range(8))
def test_a_message_of_few_zeros_is_valid_or_an_error(encoding: int, size: int) -> None:
    for way in (*TAKES, "parts"):
        try:
            got = deliver([bytes(size)], encoding, way, [])
        except ipc.RefusedEncodingError:
            assert encoding > 3
        except OF_PICKLE:
            assert 0 < encoding < 4
        else:
            assert encoding == 0
            assert way == "view" or got == bytes(size)


# --- parts --------------------------------------------------------------------------------------------------------


@given(
    parts=st.lists(
        st.tuples(st.sampled_from([FIRST, FIRST, MIDDLE, LAST, WHOLE]), st.integers(0, 3), st.integers(0, 40)),
        max_size=8,
    ),
    total=st.one_of(st.integers(0, 100), st.sampled_from([2**20, 2**46, 2**47, 2**64 - 1])),
)
@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
def test_parts_in_any_order_are_messages_or_errors_or_nothing(parts: list[tuple[int, int, int]], total: int) -> None:
    tx, rx = ipc.channel(capacity=8192, spin=0, max_message=2**20)
    with tx, rx:
        tx.send(b"")
        assert rx.recv() == b""
        for part, encoding, size in parts:
            prefix = struct.pack("<Q", total) if part == FIRST else b""
            put(tx, prefix + bytes(size), encoding, part)
        for _ in range(3 * len(parts) + 3):
            try:
                rx.try_recv()
            except (*OF_PICKLE, ipc.MessageTooLargeError):
                pass
        assert rx.stats().depth <= len(parts)

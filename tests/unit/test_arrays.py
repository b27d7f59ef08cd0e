"""Arrays through a channel: any dtype, any shape, any way to lie in memory; what arrives is the same, in its own."""

from __future__ import annotations

import subprocess
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

import ipc

PAGE = 4096

Array = np.ndarray[Any, Any]
Ends = tuple[ipc.Sender[Any], ipc.Receiver[Any]]


@pytest.fixture
def ends() -> Iterator[Ends]:
    tx, rx = ipc.channel(capacity="1MiB", spin=0)
    with tx, rx:
        yield tx, rx


def through(array: Any, capacity: int | str) -> Any:
    """What arrives; a second thread sends, as what is larger than the ring has to be taken meanwhile."""
    tx, rx = ipc.channel(capacity=capacity, spin=0)
    with tx, rx, ThreadPoolExecutor(1) as pool:
        sending = pool.submit(tx.send, array, timeout=60)
        got = rx.recv(60)
        sending.result()
    return got


def is_the_same(got: Any, sent: Array) -> bool:
    """Also where a NaN or NaT is: that stands for itself here."""
    return (
        type(got) is np.ndarray
        and (got.dtype, got.dtype.str, got.shape) == (sent.dtype, sent.dtype.str, sent.shape)
        and repr(got.tolist()) == repr(sent.tolist())
    )


def is_of_its_own(got: Array) -> bool:
    return bool(got.flags.owndata and got.flags.writeable and got.flags.aligned)


# --- dtypes -------------------------------------------------------------------------------------------------------

POINT = [("x", "<i2"), ("y", "<f8")]

STRUCTURES: dict[str, Any] = {
    "packed": POINT,
    "aligned": np.dtype([("flag", "i1"), ("value", "f8"), ("tail", "i2")], align=True),
    "padded": {"names": ["a", "b"], "formats": ["<u2", "<f4"], "offsets": [3, 8], "itemsize": 20},
    "nested": [("id", "<u4"), ("at", POINT), ("when", "<M8[ms]")],
    "sub-arrays": [("matrix", "<f4", (2, 3)), ("points", POINT, (2,)), ("text", "<U3")],
    "titled": [(("what it means", "x"), "<i4"), ("y", ">i4")],
    "one unnamed": "i4, f8",
    "all of bytes": [("raw", "V3"), ("short", "S2")],
    "names with quotes": [("it's", "<i4"), ('"both"', "<i4"), ("a\\b", "<i4")],
}


def filled(dtype: Any, shape: Any = (7,)) -> Array:
    """An array of any dtype with something else in every element."""
    known = np.dtype(dtype)
    array = np.zeros(shape, known)
    if known.names is not None:
        for name in known.names:
            array[name] = filled(array[name].dtype, array[name].shape)
    elif known.kind in "US":
        array[...] = (np.arange(array.size).reshape(array.shape) + 8).astype(known)
    elif known.kind == "V":
        array[...] = np.frombuffer(bytes(i % 256 for i in range(array.nbytes)), known).reshape(array.shape)
    else:
        array[...] = np.arange(array.size).reshape(array.shape).astype(known)
    return array


CODES = [*np.typecodes["AllInteger"], *np.typecodes["AllFloat"], "?"]
SIZED = ["S1", "S9", "U1", "U5", "V1", "V16"]
DATES = ["M8[ns]", "M8[D]", "M8[25s]", "M8[Y]", "m8[us]", "m8[7h]", "M8", "m8"]
SWAPPED = [">i2", ">u8", ">f2", ">f8", ">f16", ">c16", ">U4", ">M8[s]", ">m8[ps]"]


@pytest.mark.parametrize("capacity", [PAGE, "1MiB"])
@pytest.mark.parametrize("dtype", CODES + SIZED + DATES + SWAPPED)
def test_an_array_of_any_dtype_arrives_as_it_was(dtype: str, capacity: int | str) -> None:
    sent = filled(dtype, 5000)
    got = through(sent, capacity)
    assert is_the_same(got, sent)
    assert is_of_its_own(got)


@pytest.mark.parametrize("capacity", [PAGE, "1MiB"])
@pytest.mark.parametrize("dtype", STRUCTURES.values(), ids=STRUCTURES)
def test_an_array_of_structures_arrives_as_it_was(dtype: Any, capacity: int | str) -> None:
    for shape in (600, (2, 300), ()):
        sent = filled(dtype, shape)
        got = through(sent, capacity)
        assert is_the_same(got, sent)
        assert got.dtype.fields == sent.dtype.fields  # offsets and titles as well
        assert is_of_its_own(got)


def test_fields_may_have_names_in_any_script(ends: Ends) -> None:
    tx, rx = ends
    sent = filled([("größe", "<i4"), ("高さ", "<f8")])
    tx.send(sent)
    assert is_the_same(rx.recv(), sent)


@pytest.mark.parametrize("dtype", ["M8[ns]", "m8[s]", "f2", "f8", "g", "c16"])
def test_what_is_not_a_number_or_a_time_arrives_too(ends: Ends, dtype: str) -> None:
    tx, rx = ends
    nothing = "NaT" if dtype[0] in "Mm" else "nan"
    sent = np.array([nothing, "0" if dtype[0] == "m" else "2020" if dtype[0] == "M" else "0"]).astype(dtype)
    tx.send(sent)
    assert is_the_same(rx.recv(), sent)


def test_truth_values_and_floats_keep_every_bit(ends: Ends) -> None:
    tx, rx = ends
    odd = np.frombuffer(bytes(range(256)) * 8, np.uint8)
    for dtype in ("?", "f2", "f4", "f8", "g", "U1", "V7"):
        sent = odd[: len(odd) // np.dtype(dtype).itemsize * np.dtype(dtype).itemsize].view(dtype)
        tx.send(sent)
        assert rx.recv().tobytes() == sent.tobytes()


# --- shapes and strides -------------------------------------------------------------------------------------------


def _cube(order: Any = "C", dtype: str = "<i8") -> Array:
    return np.asarray(np.arange(8 * 30 * 6, dtype=dtype).reshape(8, 30, 6), order=order)


LAYOUTS: dict[str, Callable[[], Array]] = {
    "C order": _cube,
    "Fortran order": lambda: _cube("F"),
    "transposed": lambda: _cube().T,
    "axes rolled": lambda: _cube().transpose(1, 2, 0),
    "every second": lambda: _cube()[::2, :, ::2],
    "every second of Fortran": lambda: _cube("F")[:, ::2],
    "backwards": lambda: _cube()[::-1, :, ::-1],
    "part of the rows": lambda: _cube()[2:7],
    "part of the columns": lambda: _cube()[:, 3:29],
    "a new axis": lambda: _cube()[:, None, ::2],
    "broadcast": lambda: np.broadcast_to(np.arange(6.0), (8, 30, 6)),
    "a constant": lambda: np.broadcast_to(np.float32(7), (1000, 5)),
    "windows that overlap": lambda: np.lib.stride_tricks.sliding_window_view(np.arange(600), 4),
    "a field": lambda: filled("i4, f8, i2", 900)["f1"],
    "fields": lambda: filled("i4, f8, i2", 900)[["f0", "f2"]],
    "the real part": lambda: _cube(dtype="<c16").real,
    "a diagonal": lambda: np.arange(700.0 * 700).reshape(700, 700).diagonal(),
    "swapped and strided": lambda: _cube(dtype=">i4")[:, ::2],
    "unaligned": lambda: np.frombuffer(bytes(range(251)) * 40, "<f8", 1000, 3),
    "read-only": lambda: np.frombuffer(bytes(5000), np.uint8),
    "strided and read-only": lambda: np.frombuffer(bytes(10_000), np.uint8)[::2],
    "many axes": lambda: np.arange(4096).reshape((2,) * 12),
    "no axes": lambda: np.array(2.5),
    "one element": lambda: np.ones((1, 1, 1), order="F"),
    "nothing": lambda: np.empty(0, np.float32),
    "nothing in the middle": lambda: np.empty((3, 0, 5), "<M8[s]"),
    "nothing in Fortran order": lambda: np.empty((0, 4), order="F"),
    "nothing of a long row": lambda: np.empty((0, 2**40), np.uint8),
    "nothing of structures": lambda: np.empty((2, 0), POINT),
}


@pytest.mark.parametrize("capacity", [PAGE, "1MiB"])
@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
def test_an_array_of_any_layout_arrives_with_its_shape_and_order(
    layout: Callable[[], Array], capacity: int | str
) -> None:
    sent = layout()
    got = through(sent, capacity)
    assert is_the_same(got, sent)
    assert is_of_its_own(got)
    if sent.flags.f_contiguous and not sent.flags.c_contiguous:
        assert got.flags.f_contiguous
        assert not got.flags.c_contiguous or got.size <= 1
    else:
        assert got.flags.c_contiguous


@pytest.mark.parametrize("sent", [_cube(), _cube("F"), _cube()[::2], np.array(3)], ids=["C", "F", "strided", "0-d"])
def test_every_way_to_send_and_to_receive_gives_the_same(ends: Ends, sent: Array) -> None:
    tx, rx = ends
    sends: list[Callable[[], object]] = [
        lambda: tx.send(sent),
        lambda: tx.send(sent, type=3, timeout=5),
        lambda: tx.try_send(sent),
        lambda: tx.send_many([sent]),
        lambda: tx.send_many(iter([sent])),
    ]
    takes: list[Callable[[], Any]] = [
        rx.recv,
        lambda: rx.recv(5),
        rx.try_recv,
        lambda: next(rx),
        lambda: rx.recv_many()[0],
        lambda: rx.recv_envelope().message,
    ]
    for send in sends:
        for take in takes:
            send()
            got = take()
            assert is_the_same(got, sent)
            assert got.strides == sent.copy("K").strides
            assert is_of_its_own(got)


# --- what goes as a pickle ----------------------------------------------------------------------------------------


class Tagged(np.ndarray):
    """A subclass, with an attribute that numpy's own pickling leaves out."""


PICKLED: dict[str, Any] = {
    "a subclass": np.arange(2000).view(Tagged),
    "masked": np.ma.masked_array(np.arange(2000), mask=np.arange(2000) % 3 == 0),
    "records": np.rec.array([(1, 2.5), (3, 4.5)], dtype=POINT),
    "objects": np.array([1, "two", None, [4]], dtype=object),
    "structures with objects": np.array([(1, [2]), (3, {4: 5})], dtype=[("x", "i4"), ("what", "O")]),
    "text of numpy": np.array(["short", "a longer one that stands on the heap"], np.dtypes.StringDType()),
    "no bytes each": np.zeros(3, [("empty", "S0"), ("x", "i4")])["empty"],
    "fields out of order": filled({"names": ["b", "a"], "formats": ["<i4", "<i4"], "offsets": [8, 0]}, 600),
    "overlapping fields": np.zeros(4, {"names": ["a", "b"], "formats": ["<i4", "<i2"], "offsets": [0, 2]}),
    "a scalar": np.float32(1.5),
    "a time": np.datetime64("2020-02-03T04:05:06", "ms"),
    "a dtype": np.dtype(POINT),
    "a list of arrays": [np.arange(3), np.ones((2, 2), order="F")],
    "arrays in a dict": {"big": np.arange(30_000), "strided": np.arange(100)[::3]},
}


@pytest.mark.parametrize("capacity", [PAGE, "1MiB"])
@pytest.mark.parametrize("sent", PICKLED.values(), ids=PICKLED)
def test_what_is_not_a_plain_array_arrives_as_itself(sent: Any, capacity: int | str) -> None:
    got = through(sent, capacity)
    assert type(got) is type(sent)
    assert repr(got) == repr(sent)
    if isinstance(sent, np.ndarray):
        assert (got.dtype, got.shape) == (sent.dtype, sent.shape)
        assert got.flags.writeable
    if isinstance(sent, dict):
        assert all(got[key].tolist() == sent[key].tolist() for key in sent)
        got["big"][:] = 0  # its own, too


def test_a_receiver_of_arrays_only_refuses_what_went_as_a_pickle() -> None:
    tx, rx = ipc.channel(accept="array")
    with tx, rx:
        for sent in PICKLED.values():
            tx.send(sent, timeout=60)
            with pytest.raises(ipc.RefusedEncodingError, match="encoding 'pickle', and accept= allows 'array'"):
                rx.recv(0)
        tx.send(np.arange(3))
        assert rx.recv(0).tolist() == [0, 1, 2]


# --- whose memory it is -------------------------------------------------------------------------------------------


def test_what_arrived_stays_when_the_ring_moves_on() -> None:
    tx, rx = ipc.channel(capacity=PAGE, spin=0)
    with tx, rx:
        kept = []
        for index in range(60):
            tx.send(np.full(100, index))
            kept.append(rx.recv())
    assert [set(array.tolist()) for array in kept] == [{index} for index in range(60)]
    for array in kept:
        array[:] = -1  # with the channel closed


def test_changing_an_array_after_sending_changes_nothing(ends: Ends) -> None:
    tx, rx = ends
    array = np.zeros((50, 50))
    for view in (array, array.T, array[::2], array[:, ::-1]):
        array[:] = 1
        tx.send(view)
        tx.send_many([view, view])
        array[:] = 2
        assert all((got == 1).all() for got in (rx.recv(), *rx.recv_many()))


# --- alignment ----------------------------------------------------------------------------------------------------


def test_the_data_begins_at_a_multiple_of_64_wherever_the_message_stands(ends: Ends) -> None:
    tx, rx = ends
    arrays: list[Array] = [
        np.arange(5, dtype=np.int8),
        np.ones((3, 3), order="F"),
        filled(POINT),
        _cube()[::2, ::3, ::2],
    ]
    for offset in range(0, 80, 8):
        for array in arrays:
            tx.send(bytes(offset))
            rx.recv()
            for send in (tx.send, lambda it: tx.send_many([it])):
                send(array)
                with rx.view() as there:
                    assert there.ctypes.data % 64 == 0
                    assert is_the_same(there, array)


# --- accept -------------------------------------------------------------------------------------------------------

went_off: list[str] = []


def go_off(*_: Any) -> None:
    went_off.append("loaded")


class Bomb:
    """Leaves a mark when it is unpickled; with a buffer, it goes as a pickle with buffers."""

    def __init__(self, *arrays: Array) -> None:
        self.arrays = arrays

    def __reduce__(self) -> Any:
        return go_off, self.arrays


KINDS: dict[str, list[Any]] = {
    "bytes": [b"raw", bytes(20_000)],
    "array": [np.arange(4), np.zeros(3000, POINT), np.ones((30, 30), order="F")],
    "pickle": [Bomb(), Bomb(np.arange(4)), Bomb(np.arange(30_000))],
}


@pytest.mark.parametrize("accept", [["bytes"], ["array"], ["pickle"], ["bytes", "array"], ["array", "pickle"]])
def test_what_is_not_accepted_is_taken_and_not_decoded(accept: list[str]) -> None:
    went_off.clear()
    tx, rx = ipc.channel(accept=accept)

    def view() -> None:
        with rx.view(0):
            pass

    takes: list[Callable[[], Any]] = [
        rx.recv,
        lambda: rx.recv(5),
        rx.try_recv,
        lambda: next(rx),
        rx.recv_many,
        rx.recv_envelope,
        view,
    ]
    welcome = {"bytes": b"next", "array": np.arange(3), "pickle": ["next"]}[accept[-1]]
    with tx, rx:
        for kind in KINDS.keys() - set(accept):
            for message in KINDS[kind]:
                for take in takes:
                    tx.send(message)
                    tx.send(welcome)
                    with pytest.raises(ipc.RefusedEncodingError, match=f"has encoding '{kind}', and accept= allows"):
                        take()
                    assert repr(rx.recv(0)) == repr(welcome)
        assert rx.stats().depth == 0
    assert went_off == []


def test_the_bombs_do_go_off_where_pickles_are_accepted(ends: Ends) -> None:
    went_off.clear()
    tx, rx = ends
    for bomb in KINDS["pickle"]:
        tx.send(bomb)
        rx.recv()
    assert len(went_off) == len(KINDS["pickle"])


# --- what is remembered from one array to the next ----------------------------------------------------------------

ALIKE: list[list[Any]] = [
    ["<i4", ">i4", "<u4", "<f4", "S4", "V4", "<U1", ">U1", "4?", ("<i2", (2,))],
    ["<M8[s]", "<M8[ms]", "<M8[25s]", ">M8[s]", "<m8[s]", "<i8", "<M8"],
    [
        [("x", "<i4"), ("y", "<i4")],
        [("y", "<i4"), ("x", "<i4")],
        [("x", ">i4"), ("y", "<i4")],
        [(("title", "x"), "<i4"), ("y", "<i4")],
        [(("other", "x"), "<i4"), ("y", "<i4")],
        {"names": ["x", "y"], "formats": ["<i4", "<i4"], "offsets": [4, 0]},
        {"names": ["x", "y"], "formats": ["<i2", "<i2"], "offsets": [0, 4], "itemsize": 8},
    ],
]


@pytest.mark.parametrize("dtypes", ALIKE, ids=["of 4 bytes", "of time", "of structures"])
def test_dtypes_that_look_alike_are_kept_apart(ends: Ends, dtypes: list[Any]) -> None:
    tx, rx = ends
    raw = np.frombuffer(bytes(range(96)), np.uint8)
    for _ in range(2):
        arrays = [raw.view(np.dtype(dtype).base) if dtype != "4?" else raw.view("?") for dtype in dtypes]
        tx.send_many(arrays)
        for sent in arrays:
            got = rx.recv()
            assert (got.dtype, got.dtype.str, got.dtype.fields) == (sent.dtype, sent.dtype.str, sent.dtype.fields)
            assert got.tobytes() == sent.tobytes()
            assert got.shape == sent.shape


def test_shapes_and_orders_that_look_alike_are_kept_apart(ends: Ends) -> None:
    tx, rx = ends
    row: Any = np.arange(12)
    for _ in range(2):
        arrays = [row, *(row.reshape(shape, order=order) for order in "CF" for shape in [(3, 4), (4, 3), (12, 1)])]
        tx.send_many(arrays)
        assert all(is_the_same(rx.recv(), sent) for sent in arrays)


def test_renaming_the_fields_of_one_array_renames_no_other(ends: Ends) -> None:
    tx, rx = ends
    sent = filled(POINT)
    tx.send_many([sent, sent])
    first = rx.recv()
    first.dtype.names = ("u", "v")
    assert rx.recv().dtype.names == ("x", "y")


def test_metadata_of_a_dtype_is_no_reason_to_warn(ends: Ends) -> None:
    tx, rx = ends
    for plain in (np.dtype("<i4"), np.dtype([("only here", "<i4")])):
        sent = np.zeros(3, np.dtype(plain, metadata={"unit": "mm"}))
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            tx.send(sent)
        assert is_the_same(rx.recv(), sent)


def test_metadata_of_one_dtype_does_not_go_over_to_an_equal_one(ends: Ends) -> None:
    tx, rx = ends
    plain = np.dtype("<u2")
    tx.send_many([np.zeros(3, np.dtype(plain, metadata={"unit": "mm"})), np.zeros(3, plain)])
    assert rx.recv().dtype == plain
    assert rx.recv().dtype.metadata is None


def test_elements_that_are_records_arrive_as_records(ends: Ends) -> None:
    tx, rx = ends
    sent = np.zeros(3, np.dtype((np.record, POINT)))
    plain = np.zeros(3, POINT)
    tx.send_many([sent, plain])
    assert (type(rx.recv()[0]), type(rx.recv()[0])) == (np.record, np.void)


# --- numpy, only when there are arrays ----------------------------------------------------------------------------

WITHOUT_NUMPY = """
import sys, ipc
tx, rx = ipc.channel()
with tx, rx:
    for message in (b"raw", bytes(100_000), "text", {"a": [1, 2.5, None]}, bytearray(3), memoryview(b"abcdef")[::2]):
        tx.send(message); tx.try_send(message); tx.send_many([message] * 3)
        rx.recv(), rx.try_recv(), rx.recv_many()
        while rx.try_recv(rx) is not rx:
            pass
    with tx.claim(5) as memory:
        memory[:] = b"12345"
    with rx.view() as memory:
        assert memory == b"12345"
    tx.send_many(x for x in range(5)); tx.send(b"last"); tx.close()
    assert list(rx) == [0, 1, 2, 3, 4, b"last"]
assert "numpy" not in sys.modules
"""

RECEIVES_ARRAYS = """
import sys, ipc
with ipc.Receiver.attach(sys.argv[1], accept="pickle") as rx:
    try:
        rx.recv()
    except ipc.RefusedEncodingError:
        pass
    assert rx.recv() == "between"
    assert "numpy" not in sys.modules, "a refused array is not decoded"
with ipc.Receiver.attach(sys.argv[2]) as rx:
    array = rx.recv()
    assert "numpy" in sys.modules
    assert (array.dtype.str, array.tolist()) == ("<i4", [0, 1, 2])
"""


def test_numpy_is_not_imported_for_bytes_and_pickles(python: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    python(WITHOUT_NUMPY)


def test_numpy_is_imported_when_an_array_arrives(
    python: Callable[..., subprocess.CompletedProcess[str]], name: str
) -> None:
    other = f"{name}-other"
    (tx, rx), (other_tx, other_rx) = ipc.channel(name), ipc.channel(other)
    with tx, rx, other_tx, other_rx:
        tx.send(np.arange(5.0))
        tx.send("between")
        other_tx.send(np.arange(3, dtype="<i4"))
        python(RECEIVES_ARRAYS, name, other)


class Pretender:
    """Has what arrays have, but isn't one."""

    dtype = np.dtype("i4")
    shape = (3,)
    flags = None
    __array_interface__ = np.arange(3).__array_interface__


def test_an_object_that_only_says_it_is_an_array_goes_as_a_pickle(ends: Ends) -> None:
    tx, rx = ends
    tx.send(Pretender())
    assert type(rx.recv()) is Pretender

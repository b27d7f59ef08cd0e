"""Memory of the ring, lent: claims are sent at the end of their `with`, views are taken; what is kept is told."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

import ipc

PAGE = 4096

Ends = tuple[ipc.Sender[Any], ipc.Receiver[Any]]


@pytest.fixture
def ends() -> Iterator[Ends]:
    tx, rx = ipc.channel(capacity="64KiB", spin=0)
    with tx, rx:
        yield tx, rx


# --- claims -------------------------------------------------------------------------------------------------------

POINT = [("x", "<i2"), ("at", "<f8", (2,))]

CLAIMS: dict[str, tuple[tuple[Any, ...], tuple[int, ...]]] = {
    "a tuple": (((3, 4), "f4"), (3, 4)),
    "a list": (([3, 4], np.float32), (3, 4)),
    "an int": ((5, np.dtype(">i2")), (5,)),
    "an int of numpy": ((np.int64(5), "u1"), (5,)),
    "ints of numpy": (((np.int8(2), np.uint64(3)), "u1"), (2, 3)),
    "the shape of an array": ((np.ones((2, 3)).shape, bool), (2, 3)),
    "an array as a shape": ((np.array([2, 3]), int), (2, 3)),
    "no axes": (((), "M8[ms]"), ()),
    "nothing": ((0, "f8"), (0,)),
    "nothing in two axes": (((0, 7), "f8"), (0, 7)),
    "a list of fields": ((3, POINT), (3,)),
    "fields as text": ((3, "i4, f8"), (3,)),
    "a dict of fields": ((3, {"names": ["a", "b"], "formats": ["<i4", "u1"]}), (3,)),
    "text": ((3, "U7"), (3,)),
    "raw memory": (((2, 2), "V3"), (2, 2)),
    "a class": ((4, complex), (4,)),
    "many axes": (([1] * 64, "u1"), (1,) * 64),
}


@pytest.mark.parametrize(("arguments", "shape"), CLAIMS.values(), ids=CLAIMS)
def test_a_claimed_array_is_sent_at_the_end_of_its_with(
    ends: Ends, arguments: tuple[Any, ...], shape: tuple[int, ...]
) -> None:
    tx, rx = ends
    for round_ in range(3):  # what is remembered from the first serves the others
        tx.send(bytes(8 * round_))  # the next one stands elsewhere
        rx.recv()
        with tx.claim(*arguments) as there:
            assert type(there) is np.ndarray
            assert (there.shape, there.dtype) == (shape, np.dtype(arguments[1]))
            assert there.flags.c_contiguous
            assert there.flags.writeable
            assert there.ctypes.data % 64 == 0
            there[...] = np.zeros((), there.dtype)
            there.reshape(-1).view("u1")[:] = np.arange(there.nbytes) % 7
            sent = there.copy()
            assert rx.stats().depth == 0
        got = rx.recv(0)
        assert (type(got), got.dtype, got.shape) == (np.ndarray, sent.dtype, shape)
        assert got.tobytes() == sent.tobytes()


@pytest.mark.parametrize("claim", [lambda tx: tx.claim(5), lambda tx: tx.claim(nbytes=5)], ids=["shape", "nbytes"])
def test_claimed_bytes_are_sent_at_the_end_of_their_with(ends: Ends, claim: Callable[[Any], Any]) -> None:
    tx, rx = ends
    with claim(tx) as memory:
        assert type(memory) is memoryview
        assert (memory.nbytes, memory.readonly) == (5, False)
        memory[:] = b"12345"
    assert rx.recv() == b"12345"
    with tx.claim(0) as memory:
        assert len(memory) == 0
    assert rx.recv() == b""


def test_a_claim_has_a_type_like_any_message(ends: Ends) -> None:
    tx, rx = ends
    with tx.claim(3, "u1", type=7) as there:
        there[:] = 1
    with tx.claim(3, type=2**32 - 1) as memory:
        memory[:] = b"abc"
    tx.send(b"plain")
    first, second, third = (rx.recv_envelope() for _ in range(3))
    assert (first.message.tolist(), first.type, first.sequence) == ([1, 1, 1], 7, 0)
    assert second == (b"abc", 2**32 - 1, 1)
    assert third == (b"plain", 0, 2)


@pytest.mark.parametrize("options", [{}, {"dtype": None}])
def test_a_shape_without_a_dtype_is_said_to_need_one(ends: Ends, options: Any) -> None:
    tx, _ = ends
    with pytest.raises(TypeError, match=r"a shape, \(2, 3\), needs a dtype: claim\(\(2, 3\), dtype\)"):
        tx.claim((2, 3), **options)


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda tx: tx.claim(), TypeError),
        (lambda tx: tx.claim((2, 3)), TypeError),
        (lambda tx: tx.claim((2, 3), None), TypeError),
        (lambda tx: tx.claim(-1), ValueError),
        (lambda tx: tx.claim(nbytes=-1), ValueError),
        (lambda tx: tx.claim(1.5), TypeError),
        (lambda tx: tx.claim(True), TypeError),
        (lambda tx: tx.claim(nbytes="5"), TypeError),
        (lambda tx: tx.claim(3, "u1", nbytes=3), TypeError),
        (lambda tx: tx.claim((2, -1), "u1"), ValueError),
        (lambda tx: tx.claim((2, 1.0), "u1"), TypeError),
        (lambda tx: tx.claim("23", "u1"), TypeError),
        (lambda tx: tx.claim(True, "u1"), TypeError),
        (lambda tx: tx.claim(3, "no such dtype"), TypeError),
        (lambda tx: tx.claim(3, object), TypeError),
        (lambda tx: tx.claim(3, "i4, O"), TypeError),
        (lambda tx: tx.claim(3, "S0"), TypeError),
        (lambda tx: tx.claim(3, str), TypeError),
        (lambda tx: tx.claim(3, ("f8", (2,))), TypeError),
        (lambda tx: tx.claim(3, {"names": ["a", "b"], "formats": ["i4", "i4"], "offsets": [0, 2]}), TypeError),
        (lambda tx: tx.claim(3, type=-1), ValueError),
        (lambda tx: tx.claim(3, type=2**32), ValueError),
        (lambda tx: tx.claim(3, type="1"), TypeError),
        (lambda tx: tx.claim(3, timeout=-1), ValueError),
        (lambda tx: tx.claim(3, "u1", timeout="soon"), TypeError),
        (lambda tx: tx.claim(2**50), ipc.MessageTooLargeError),
        (lambda tx: tx.claim((2**30, 2**30), "u1"), ipc.MessageTooLargeError),
    ],
)
def test_a_wrong_claim_is_said_at_once_and_lends_nothing(ends: Ends, call: Callable[[Any], Any], error: type) -> None:
    tx, rx = ends
    with pytest.raises(error):
        call(tx)
    tx.send("as before")
    assert rx.recv(0) == "as before"


def test_bytes_are_claimed_by_shape_or_by_nbytes_and_not_by_both(ends: Ends) -> None:
    tx, _ = ends
    with pytest.raises(TypeError):
        tx.claim(5, nbytes=3)  # type: ignore[call-overload]


@pytest.mark.parametrize("shape", [(2**70,), (2**62, 2**62, 0), [1] * 65, [1] * 300], ids=["huge", "0", "65", "300"])
def test_a_shape_that_no_array_can_have_is_a_value_error(ends: Ends, shape: Any) -> None:
    tx, rx = ends
    with pytest.raises(ValueError), tx.claim(shape, "u1"):  # noqa: PT011
        pass
    tx.send("as before")
    assert rx.recv(0) == "as before"


def test_a_claim_that_can_never_fit_says_so_and_one_that_just_fits_does(ends: Ends) -> None:
    tx, rx = ends
    limit = 65536 - 16
    with tx.claim(limit) as memory:
        memory[:] = bytes(limit)
    assert len(rx.recv()) == limit
    for claim in (tx.claim(limit + 1), tx.claim(limit, "u1"), tx.claim((10_000, 10), "f8")):
        with pytest.raises(ipc.MessageTooLargeError, match="capacity=65536 carries at most 65520"), claim:
            pass
    with tx.claim(60_000, "u1") as there:
        there[:] = 3
    assert rx.recv().sum() == 180_000


def test_a_claim_waits_for_room_as_long_as_it_is_told(
    ends: Ends, parked: Callable[[Any], bool], eventually: Callable[[Callable[[], object]], None]
) -> None:
    tx, rx = ends
    tx.send(bytes(40_000))

    def fill() -> None:
        with tx.claim(40_000, "u1", timeout=60) as there:
            there[:] = 5

    for timeout in (0, 0.01):
        for arguments in ((40_000,), (40_000, "u1")):
            with pytest.raises(ipc.TimeoutError, match="no room for"), tx.claim(*arguments, timeout=timeout):
                pass
    with ThreadPoolExecutor(1) as pool:
        filling = pool.submit(fill)
        eventually(lambda: parked(tx))
        assert rx.recv(0) == bytes(40_000)
        filling.result()
    assert rx.recv(0).sum() == 200_000


def test_nothing_is_sent_when_the_body_raises(ends: Ends) -> None:
    tx, rx = ends
    claims: list[Callable[[], Any]] = [lambda: tx.claim(100), lambda: tx.claim(100, "u1")]
    for claim in claims:
        with pytest.raises(KeyError), claim() as there:  # noqa: PT012
            there[0] = 1
            raise KeyError
        kept = []
        with pytest.raises(KeyError), claim() as there:  # noqa: PT012
            kept.append(there[1:])  # the error on its way is the one that counts
            raise KeyError
    assert rx.try_recv("nothing") == "nothing"
    tx.send("next")
    assert rx.recv() == "next"
    assert tx.stats().sent == 1


def test_while_memory_is_claimed_the_end_is_busy(ends: Ends) -> None:
    tx, rx = ends
    tx.send("before")
    calls: list[Callable[[], object]] = [
        lambda: tx.send(b"x"),
        lambda: tx.send("x", timeout=0),
        lambda: tx.send(np.arange(100)[::2]),
        lambda: tx.try_send(b"x"),
        lambda: tx.send_many([b"x", b"y"]),
        lambda: tx.send_many(iter(["x"])),
        lambda: tx.claim(5).__enter__(),
        lambda: tx.claim(5, "u1", timeout=0).__enter__(),
        tx.close,
    ]
    with tx.claim(4) as memory:
        for call in calls:
            with pytest.raises(ipc.BusyError, match="has lent out a claim or a view; end its `with` block first"):
                call()
        memory[:] = b"last"
        assert rx.recv() == "before"  # the other end is not
        assert tx.stats().sent == 1
    assert rx.recv() == b"last"
    assert not tx.closed


def test_a_claim_may_be_entered_again(ends: Ends) -> None:
    # the next place may need more room before the data than the one before
    tx, rx = ends
    claim = tx.claim(5, "f8")
    for index in range(8):
        with claim as there:
            there[:] = index
        assert rx.recv().tolist() == [index] * 5
        tx.send(bytes(8 * index))
        rx.recv()


# --- views --------------------------------------------------------------------------------------------------------


def test_a_view_shows_an_array_as_an_array(ends: Ends) -> None:
    tx, rx = ends
    cube: Any = np.arange(2 * 3 * 4).reshape(2, 3, 4)
    for sent in (cube, np.asfortranarray(cube), cube[:, ::2], np.array(5), np.empty((0, 3)), np.zeros(3, POINT)):
        tx.send(sent)
        with rx.view() as there:
            assert type(there) is np.ndarray
            assert (there.dtype, there.shape) == (sent.dtype, sent.shape)
            assert repr(there.tolist()) == repr(sent.tolist())
            assert there.flags.f_contiguous == sent.copy("K").flags.f_contiguous
            assert not there.flags.writeable
            assert there.ctypes.data % 64 == 0
            with pytest.raises(ValueError, match="read-only"):
                there[...] = sent
    assert rx.stats().depth == 0


def test_a_view_shows_bytes_as_read_only_memory(ends: Ends) -> None:
    tx, rx = ends
    for raw in (b"", b"raw", bytes(range(256)) * 100):
        tx.send(raw)
        with rx.view() as memory:
            assert type(memory) is memoryview
            assert memory.readonly
            assert memory == raw
            assert rx.stats().depth == 1  # taken at the end
    assert rx.stats().depth == 0


def test_a_view_of_anything_else_is_what_recv_would_give(ends: Ends) -> None:
    tx, rx = ends
    for sent in ({"key": [1, 2]}, None, "text" * 5000, [np.arange(3000)], bytearray(5) and ["x"]):
        tx.send(sent)
        with rx.view() as there:
            pass
        assert repr(there) == repr(sent)
    assert there == ["x"]


def test_while_a_message_is_lent_the_end_is_busy(ends: Ends) -> None:
    tx, rx = ends
    tx.send(b"lent")
    tx.send("next")
    calls: list[Callable[[], object]] = [
        rx.recv,
        lambda: rx.recv(0),
        rx.try_recv,
        rx.recv_many,
        rx.recv_envelope,
        lambda: next(rx),
        lambda: rx.view().__enter__(),
        rx.close,
    ]
    with rx.view() as memory:
        for call in calls:
            with pytest.raises(ipc.BusyError, match="has lent out a claim or a view"):
                call()
        assert memory == b"lent"
        tx.send("the other end is not")
    assert rx.recv_many() == ["next", "the other end is not"]


def test_a_view_takes_its_message_also_when_the_body_raises(ends: Ends) -> None:
    tx, rx = ends
    for message in (b"raw", np.arange(3), "pickled"):
        tx.send(message)
        with pytest.raises(KeyError), rx.view():
            raise KeyError
    assert rx.stats().depth == 0


def test_a_view_waits_as_long_as_it_is_told(
    ends: Ends, parked: Callable[[Any], bool], eventually: Callable[[Callable[[], object]], None]
) -> None:
    tx, rx = ends
    for timeout in (0, 0.01):
        with pytest.raises(ipc.TimeoutError, match="no message within"), rx.view(timeout):
            pass
    for wrong, error in ((-1, ValueError), ("soon", TypeError)):
        with pytest.raises(error):
            rx.view(wrong)  # type: ignore[arg-type]

    def look() -> bytes:
        with rx.view(60) as memory:
            return bytes(memory)

    with ThreadPoolExecutor(1) as pool:
        looking = pool.submit(look)
        eventually(lambda: parked(rx))
        tx.send(b"come")
        assert looking.result() == b"come"
    tx.send(b"last")
    tx.close()
    assert look() == b"last"
    with pytest.raises(ipc.EndOfChannel):
        look()


def test_a_message_in_parts_is_not_viewed_and_stays() -> None:
    tx, rx = ipc.channel(capacity=PAGE, spin=0)
    with tx, rx, ThreadPoolExecutor(1) as pool:
        large = bytes(range(256)) * 100
        sending = pool.submit(tx.send, large, timeout=60)
        try:
            for _ in range(2):
                with pytest.raises(ipc.MessageTooLargeError), rx.view(60):
                    pass
        finally:
            assert rx.recv(60) == large
            sending.result()


# --- what outlives its with ---------------------------------------------------------------------------------------

KEPT_OF_ARRAYS: dict[str, Callable[[Any], Any]] = {
    "the array": lambda there: there,
    "a slice": lambda there: there[1:3],
    "an element's view": lambda there: there[2:3].reshape(()),
    "transposed": lambda there: there.T,
    "reshaped": lambda there: there.reshape(2, -1),
    "another dtype": lambda there: there.view("u1"),
    "flat": lambda there: there.flat,
    "its memory": lambda there: there.data,
    "a memoryview": memoryview,
    "of a memoryview": lambda there: np.asarray(memoryview(there)),
    "its base": lambda there: there.base,
    "a buffer": lambda there: np.frombuffer(there, "u1"),
    "broadcast": lambda there: np.broadcast_to(there, (3, *there.shape)),
    "an iterator": np.nditer,
    "in a closure": lambda there: lambda: there,
}

KEPT_OF_BYTES: dict[str, Callable[[Any], Any]] = {
    "a slice": lambda there: there[1:3],
    "a cast": lambda there: there.cast("H"),
    "read-only": lambda there: there.toreadonly(),
    "a memoryview": memoryview,
    "an array": lambda there: np.frombuffer(there, "u1"),
    "its object": lambda there: there.obj,
}


def read(kept: Any) -> int:
    """Look at all of what was kept, whatever it is; the sum of its bytes."""
    if callable(kept):
        kept = kept()
    if isinstance(kept, np.nditer):
        kept = kept.operands[0]
    if isinstance(kept, np.flatiter):
        kept = kept.copy()
    return sum(bytes(kept) if isinstance(kept, memoryview) else np.asarray(kept).tobytes())


@pytest.mark.parametrize("keep", KEPT_OF_ARRAYS.values(), ids=KEPT_OF_ARRAYS)
@pytest.mark.parametrize("side", ["claim", "view"])
def test_what_is_kept_of_an_array_is_told_and_never_a_crash(side: str, keep: Callable[[Any], Any]) -> None:
    tx, rx = ipc.channel(capacity=PAGE)
    with tx, rx:
        kept: Any = None
        if side == "view":
            tx.send(np.ones(100))
        lending: Any = tx.claim(100, "f8") if side == "claim" else rx.view()
        with pytest.raises(ipc.BusyError, match=r"still alive after its `with`.*copy what you want to keep"):  # noqa: PT012, SIM117
            with lending as there:
                if side == "claim":
                    there[:] = 1
                kept = keep(there)
        del there, lending
        assert rx.stats().depth == 0  # a claim was not sent, a view was taken
        tx.send("as before")
        assert rx.recv(0) == "as before"
        read(kept)
    gc.collect()
    read(kept)
    del tx, rx
    gc.collect()
    read(kept)
    del kept


@pytest.mark.parametrize("keep", KEPT_OF_BYTES.values(), ids=KEPT_OF_BYTES)
@pytest.mark.parametrize("side", ["claim", "view"])
def test_what_is_kept_of_bytes_is_told_and_never_a_crash(side: str, keep: Callable[[Any], Any]) -> None:
    tx, rx = ipc.channel(capacity=PAGE)
    with tx, rx:
        kept: Any = None
        if side == "view":
            tx.send(bytes(100))
        lending: Any = tx.claim(100) if side == "claim" else rx.view()
        with pytest.raises(ipc.BusyError, match="still alive after its `with`"), lending as there:
            kept = keep(there)
        del there, lending
        assert rx.stats().depth == 0
        tx.send("as before")
        assert rx.recv(0) == "as before"
        read(kept)
    del tx, rx
    gc.collect()
    read(kept)
    del kept


@pytest.mark.parametrize("dtype", ["f8", ">i4", "M8[s]", "U3", POINT, "V5", "?", "c16"])
def test_the_name_in_as_is_an_empty_array_afterwards(ends: Ends, dtype: Any) -> None:
    tx, rx = ends
    with tx.claim((3, 4), dtype) as there:
        there[...] = np.zeros((), dtype)
    assert (there.shape, there.tolist()) == ((0,), [])
    with rx.view() as seen:
        assert seen.shape == (3, 4)
    assert (seen.shape, seen.tolist()) == ((0,), [])
    there = np.append(there, there)  # an array like any other
    tx.send(b"raw")
    with rx.view() as memory:
        pass
    with pytest.raises(ValueError, match="released"):
        memory[0]


def test_what_was_copied_or_is_gone_by_the_end_is_fine(ends: Ends) -> None:
    tx, rx = ends
    for _ in range(3):
        with tx.claim((4, 5), "i8") as there:
            rows = list(there)
            for index, row in enumerate(rows):
                row[:] = index
            total, copied = there.sum(), there.copy()
            del rows, row
        with rx.view() as there:
            assert there.T.sum() == total
            view = there[1:]
            assert view.tolist() == copied[1:].tolist()
            del view
            doubled = there * 2
        assert doubled.sum() == 2 * total == 2 * copied.sum()


def test_two_channels_may_lend_and_take_back_in_any_order() -> None:
    channels = [ipc.channel(capacity=PAGE) for _ in range(3)]
    with contextlib.ExitStack() as stack:
        for tx, rx in channels:
            stack.enter_context(tx)
            stack.enter_context(rx)
        claims = [tx.claim(4, "u1") for tx, _ in channels]
        for index, claim in enumerate(claims):
            claim.__enter__()[:] = index
        for claim in (claims[1], claims[2], claims[0]):
            claim.__exit__(None, None, None)
        views = [rx.view() for _, rx in channels]
        assert [view.__enter__().tolist() for view in views] == [[index] * 4 for index in range(3)]
        for view in (views[2], views[0], views[1]):
            view.__exit__(None, None, None)
        assert all(rx.stats().depth == 0 for _, rx in channels)


@pytest.mark.parametrize("keep", [False, True], ids=["gone", "kept"])
@pytest.mark.parametrize("side", ["claim", "view"])
def test_a_loan_that_is_abandoned_sends_and_takes_nothing_and_is_never_a_crash(side: str, keep: bool) -> None:
    tx, rx = ipc.channel(capacity=PAGE)
    with tx, rx:
        if side == "view":
            tx.send(np.ones(50))
        lending: Any = tx.claim(50, "f8") if side == "claim" else rx.view()
        kept = lending.__enter__()
        if side == "claim":
            kept[:] = 1
        if not keep:
            del kept
        with pytest.raises(ipc.BusyError):
            (tx if side == "claim" else rx).close()
        del lending  # and never its __exit__
        gc.collect()
        tx.send(b"next")
        if side == "view":
            assert rx.recv(0).sum() == 50
        assert rx.recv(0) == b"next"
        assert rx.try_recv("nothing") == "nothing"
    del tx, rx
    gc.collect()
    if keep:
        read(kept)
        del kept


@pytest.mark.parametrize("side", ["claim", "view"])
def test_an_end_that_is_forgotten_while_it_lends_is_collected_with_its_loan(side: str) -> None:
    tx, rx = ipc.channel(capacity=PAGE)
    ends: dict[str, Any] = {"claim": tx, "view": rx}
    tx.send(np.ones(50))
    lending: Any = tx.claim(50, "f8") if side == "claim" else rx.view()
    kept = lending.__enter__()
    ends.pop("view" if side == "claim" else "claim").close()
    with pytest.warns(ResourceWarning, match="was never closed"):  # noqa: PT031
        del ends, tx, rx, lending
        gc.collect()
    read(kept)
    del kept


def test_a_claim_or_a_view_that_has_ended_does_not_keep_the_name(name: str) -> None:
    tx, rx = ipc.channel(name)
    claim, view = tx.claim(8), rx.view()
    with tx, rx:
        with claim as memory:
            memory[:] = b"12345678"
        with view as seen:
            assert bytes(seen) == b"12345678"
    assert not any(entry.name == name for entry in ipc.ls())


def test_an_error_on_its_way_out_of_a_ring_is_not_hidden_by_what_is_lent() -> None:
    def fail(ring: ipc.Ring) -> None:
        claim = ring.writer().claim(8)
        claim.__enter__()
        raise KeyError

    ring = ipc.Ring.create()
    with pytest.raises(KeyError), ring:
        fail(ring)
    assert "closed" in repr(ring)

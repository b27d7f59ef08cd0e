"""A signal's handler may raise at any moment of a call: one message is lost at most, and both ends work on."""

from __future__ import annotations

import contextlib
import signal
import struct
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import ipc
from ipc._core import assembly, batches, encoding, ends, lending, receiver, sender, transfer
from ipc._core.native import ffi, lib
from tests.unit import test_interrupted_loans as moments

FIRST, LAST = 1 << 40, 3 << 40  # of a record's info; see native/format.h

Ends = tuple[ipc.Sender[Any], ipc.Receiver[Any]]


@pytest.fixture
def channel() -> Iterator[Ends]:
    tx, rx = ipc.channel(capacity="1MiB", spin=0)
    with tx, rx:
        yield tx, rx


@pytest.fixture
def interrupted_in(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Give a function that says in which modules the moments are that `each_moment` goes through."""

    def choose(*modules: ModuleType) -> None:
        monkeypatch.setattr(moments, "FILES", {module.__file__ for module in modules})
        monkeypatch.setattr(moments, "Interrupt", KeyboardInterrupt)

    return choose


@pytest.fixture
def everywhere(interrupted_in: Callable[..., None]) -> None:
    interrupted_in(assembly, batches, ends, encoding, lending, receiver, sender, transfer)


@pytest.fixture(autouse=True)
def raising() -> Iterator[None]:
    """SIGUSR1 raises, as a handler of Ctrl-C does."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGUSR1, interrupt)
    yield
    signal.signal(signal.SIGUSR1, before)


class Raising:
    """Raises a signal when it is loaded or pickled, if it was told to."""

    armed: tuple[str, int] | None = None

    def __init__(self, number: int, size: int = 0) -> None:
        self.number, self.buffer = number, np.zeros(size, "u1")

    def __reduce__(self) -> Any:
        self.reach("dump", self.number)
        return self.load, (self.number, self.buffer)

    @staticmethod
    def load(number: int, _: bytes) -> int:
        Raising.reach("load", number)
        return number

    @staticmethod
    @contextlib.contextmanager
    def once(what: str, number: int) -> Iterator[None]:
        Raising.armed = (what, number)
        try:
            yield
            assert Raising.armed is None
        finally:
            Raising.armed = None

    @staticmethod
    def reach(what: str, number: int) -> None:
        if Raising.armed == (what, number):
            Raising.armed = None
            signal.raise_signal(signal.SIGUSR1)


def plain(message: Any) -> Any:
    """Something that can be compared."""
    if isinstance(message, list):
        return [part.tolist() for part in message]
    return message.tolist() if isinstance(message, np.ndarray) else message


def rest(rx: ipc.Receiver[Any]) -> list[Any]:
    """What is there now."""
    got: list[Any] = []
    while (message := rx.try_recv(rest)) is not rest:
        got.append(message)
    return got


# --- one message --------------------------------------------------------------------------------------------------

LONG: dict[str, Any] = {
    "array": np.arange(3000),
    "pickle": "z" * 20_000,
    "table": [np.arange(3000), np.arange(3000.0)],
    "raw": b"r" * 20_000,
}
TAKES: dict[str, Callable[[ipc.Receiver[Any]], Any]] = {
    "recv": lambda rx: rx.recv(),
    "recv in time": lambda rx: rx.recv(10),
    "try_recv": lambda rx: rx.try_recv(),
    "recv_many": lambda rx: rx.recv_many(1)[0],
}


@pytest.mark.usefixtures("everywhere")
@pytest.mark.parametrize("take", TAKES.values(), ids=TAKES)
@pytest.mark.parametrize("message", LONG.values(), ids=LONG)
def test_an_interrupted_receive_of_a_long_message_takes_it_or_leaves_it(
    message: Any, take: Callable[[Any], Any]
) -> None:
    tx, rx = ipc.channel(capacity="1MiB", spin=0)
    with tx, rx:
        rx._go_fast(-1)  # handlers don't run in the accelerator
        tx.send(message)
        got: list[Any] = []

        def after(interrupted: bool) -> None:
            left = rest(rx)
            assert len(got) + len(left) in ({0, 1} if interrupted else {1})
            assert all(plain(one) == plain(message) for one in (*got, *left))
            tx.send(b"next")
            assert rx.recv(0) == b"next"
            got.clear()
            rx._go_fast(-1)
            tx.send(message)

        moments.each_moment(lambda: got.append(take(rx)), after)
        assert plain(take(rx)) == plain(message)
        tx.flush(0)


@pytest.mark.usefixtures("everywhere")
@pytest.mark.parametrize("message", [np.zeros((64, 64))[:, ::2], np.ones((3, 2, 5)).T[1:, ::2]], ids=["long", "small"])
def test_an_interrupted_send_of_a_strided_array_sends_all_or_nothing(channel: Ends, message: Any) -> None:
    tx, rx = channel

    def after(interrupted: bool) -> None:
        tx.send(b"next")
        *arrived, last = rest(rx)
        assert last == b"next"
        assert len(arrived) in ({0, 1} if interrupted else {1})
        assert all(plain(one) == plain(message) for one in arrived)

    moments.each_moment(lambda: tx.send(message), after)
    tx.close()


# --- in parts -----------------------------------------------------------------------------------------------------


def put_first(tx: ipc.Sender[Any], message: Any) -> Callable[[], None]:
    """Send half of a message in parts; the result sends the rest."""
    kind, first, others = encoding.encode(message)
    whole = b""
    for piece in (first, *others):
        whole += bytes(-len(whole) % 64) + (piece if isinstance(piece, bytes) else ffi.buffer(piece)[:])
    half = len(whole) // 2
    records = (struct.pack("<Q", len(whole)) + whole[:half], FIRST), (whole[half:], LAST)

    def put(payload: bytes, part: int) -> None:
        assert lib.ipcr_send(tx._handle, payload, len(payload), kind << 32 | part) == lib.IPCR_OK

    put(*records[0])
    return lambda: put(*records[1])


IN_PARTS = LONG | {"many buffers": [np.arange(number) for number in range(10)], "empty": [np.zeros(8), np.zeros(0)]}


@pytest.mark.usefixtures("everywhere")
@pytest.mark.parametrize("message", IN_PARTS.values(), ids=IN_PARTS)
def test_an_interrupted_receive_of_a_message_in_parts_loses_that_one_at_most(channel: Ends, message: Any) -> None:
    tx, rx = channel
    tx.send(b"")
    rx.recv()
    got: list[Any] = []

    def put_all() -> None:
        put_first(tx, message)()
        tx.send(b"next")

    def after(interrupted: bool) -> None:
        got.extend(rest(rx))
        *arrived, last = got
        assert last == b"next"
        assert len(arrived) in ({0, 1} if interrupted else {1})
        assert all(plain(one) == plain(message) for one in arrived)
        got.clear()
        put_all()

    put_all()
    moments.each_moment(lambda: got.append(rx.recv(0)), after)
    assert plain(rx.recv(0)) == plain(message)
    assert rest(rx) == [b"next"]


@pytest.mark.parametrize("begun", [False, True], ids=["at the beginning", "in the middle"])
@pytest.mark.parametrize("message", IN_PARTS.values(), ids=IN_PARTS)
def test_an_interrupted_wait_for_the_rest_of_a_message_loses_nothing(
    channel: Ends, interrupted_in: Callable[..., None], message: Any, begun: bool
) -> None:
    tx, rx = channel
    tx.send(b"")
    rx.recv()
    interrupted_in(receiver, sender, ends)  # between the steps; in the middle of one, the message may be lost
    put_rest = put_first(tx, message)

    def wait() -> None:
        with contextlib.suppress(ipc.TimeoutError):
            rx.recv(0)

    def after(_: bool) -> None:
        nonlocal put_rest
        put_rest()
        assert plain(rx.recv(0)) == plain(message)
        assert rest(rx) == []
        put_rest = put_first(tx, message)
        if begun:
            wait()

    if begun:
        wait()
    moments.each_moment(wait, after)
    put_rest()
    assert plain(rx.recv(0)) == plain(message)


@pytest.mark.parametrize("take", [*TAKES.values(), next], ids=[*TAKES, "next"])
def test_a_signal_while_a_message_in_parts_is_loaded_loses_that_one_at_most(
    channel: Ends, take: Callable[[Any], Any]
) -> None:
    tx, rx = channel
    tx.send(b"")
    rx.recv()
    put_first(tx, Raising(1, 3000))()
    tx.send("next")
    with Raising.once("load", 1), pytest.raises(KeyboardInterrupt):
        take(rx)
    assert rest(rx) in ([1, "next"], ["next"])
    put_first(tx, Raising(1, 3000))()
    assert take(rx) == 1


# --- batches ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [0, 7, 19])
def test_an_interrupted_batch_of_pickles_stays_whole(channel: Ends, number: int) -> None:
    tx, rx = channel
    tx.send_many([Raising(index) for index in range(20)])
    with Raising.once("load", number), pytest.raises(KeyboardInterrupt):
        rx.recv_many()
    assert rx.stats().depth == 20
    assert rx.recv_many() == list(range(20))


@pytest.mark.parametrize("kind", [list, tuple, iter])
@pytest.mark.parametrize("raw", [0, 1, 3000])
def test_an_interrupted_send_of_many_says_how_many_were_sent(
    channel: Ends, raw: int, kind: Callable[[Any], Any]
) -> None:
    tx, rx = channel
    tx.send(b"before")
    with Raising.once("dump", 2), pytest.raises(KeyboardInterrupt) as caught:
        tx.send_many(kind([*[b"raw"] * raw, *map(Raising, range(5))]))
    assert caught.value.sent == raw + 2  # type: ignore[attr-defined]
    assert rest(rx) == [b"before", *[b"raw"] * raw, 0, 1]


@pytest.mark.parametrize("timeout", [None, 5])
def test_an_interrupted_send_of_a_generator_does_not_wait_for_room(timeout: float | None) -> None:
    tx, rx = ipc.channel(capacity=4096, spin=0)
    with tx, rx:
        tx.send(b"a" * 3000)

        def generate() -> Iterator[bytes]:
            yield b"b" * 3000
            signal.raise_signal(signal.SIGUSR1)

        with pytest.raises(KeyboardInterrupt) as caught:
            tx.send_many(generate(), timeout=timeout)
        assert caught.value.sent == 0  # type: ignore[attr-defined]
        assert rest(rx) == [b"a" * 3000]
        with pytest.raises(KeyboardInterrupt) as caught:
            tx.send_many(generate(), timeout=timeout)
        assert caught.value.sent == 1  # type: ignore[attr-defined]
        assert rest(rx) == [b"b" * 3000]

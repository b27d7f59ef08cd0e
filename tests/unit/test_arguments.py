"""What callers pass is checked first, with an error that names the value, the limit and the way out."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

import ipc
from ipc._core import arguments

PAGE = os.sysconf("SC_PAGESIZE")
MOST = 2**46


# --- capacity -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "made"),
    [
        (1, PAGE),
        (PAGE, PAGE),
        (PAGE + 1, 2 * PAGE),
        (3 * PAGE, 4 * PAGE),
        ("1", PAGE),
        ("64KiB", 64 * 1024),
        ("65 KiB", 128 * 1024),
        (" 1MiB ", 2**20),
        ("40000B", 64 * 1024),
    ],
)
def test_a_capacity_is_rounded_up_to_a_power_of_two_of_at_least_a_page(asked: int | str, made: int) -> None:
    with ipc.Ring.create(capacity=asked) as ring:
        assert ring.capacity == made
    tx, rx = ipc.channel(capacity=asked)
    with tx, rx:
        assert tx.stats().capacity == made


def test_the_default_capacity_is_a_mebibyte() -> None:
    with ipc.Ring.create() as ring:
        assert ring.capacity == 2**20


@pytest.mark.parametrize("make", [ipc.channel, ipc.Ring.create])
@pytest.mark.parametrize("capacity", [0, -1, -(2**70), MOST + 1, 2**64, "0", "65TiB", "9" * 40])
def test_a_capacity_out_of_range_is_refused_with_the_range(make: Callable[..., Any], capacity: int | str) -> None:
    with pytest.raises(ValueError, match=f"{capacity}.*from 1 to {MOST} bytes"):
        make(capacity=capacity)


@pytest.mark.parametrize("make", [ipc.channel, ipc.Ring.create])
@pytest.mark.parametrize("capacity", ["", "four", "4MB", "4mib", "-4MiB", "1.5MiB", "4MiB4", "MiB", "0x1000"])
def test_a_text_that_is_no_size_is_refused_with_an_example(make: Callable[..., Any], capacity: str) -> None:
    with pytest.raises(ValueError, match="4MiB") as caught:
        make(capacity=capacity)
    assert repr(capacity) in str(caught.value)


@pytest.mark.parametrize("make", [ipc.channel, ipc.Ring.create])
@pytest.mark.parametrize("capacity", [True, False, 4096.0, math.nan, None, b"4MiB", [4096], Decimal(4096)])
def test_a_capacity_of_another_type_is_a_type_error(make: Callable[..., Any], capacity: object) -> None:
    with pytest.raises(TypeError, match=f"capacity.*not {type(capacity).__name__}"):
        make(capacity=capacity)


def test_capacity_and_the_other_options_are_keyword_only(name: str) -> None:
    with pytest.raises(TypeError):
        ipc.channel(name, 4096)  # type: ignore[misc]
    with pytest.raises(TypeError):
        ipc.Ring.create(name, 4096)  # type: ignore[misc]


# --- names --------------------------------------------------------------------------------------------------------

NAMERS: list[Callable[..., Any]] = [
    ipc.channel,
    ipc.Sender.attach,
    ipc.Receiver.attach,
    ipc.Ring.create,
    ipc.Ring.attach,
    ipc.stats,
    ipc.rm,
]
BAD_NAMES = [
    "", ".", "..", ".hidden", "a/b", "/a", "a/", "../a", "a b", "a\n", "a\0", "a\\b", "naïve", "ipc:x", "x" * 201,
]  # fmt: skip


@pytest.mark.parametrize("use", NAMERS)
@pytest.mark.parametrize("bad", BAD_NAMES, ids=ascii)
def test_a_name_that_is_no_plain_file_name_is_refused(use: Callable[..., Any], bad: str) -> None:
    with pytest.raises(ValueError, match="1 to 200 letters") as caught:
        use(bad)
    assert repr(bad) in str(caught.value)


@pytest.mark.parametrize("use", NAMERS)
@pytest.mark.parametrize("bad", [b"name", 7, True, ["name"]])
def test_a_name_of_another_type_is_a_type_error(use: Callable[..., Any], bad: object) -> None:
    with pytest.raises(TypeError, match=f"name must be a str, not {type(bad).__name__}"):
        use(bad)


@pytest.mark.parametrize("use", [ipc.Sender.attach, ipc.Receiver.attach, ipc.Ring.attach, ipc.stats, ipc.rm])
def test_only_what_is_created_may_go_without_a_name(use: Callable[..., Any]) -> None:
    with pytest.raises(TypeError, match="name must be a str, not NoneType"):
        use(None)


def test_the_longest_and_the_shortest_name_work(name: str, ipc_dir: object) -> None:
    for good in ("a", "-", "_", "9", "A.b_c-d..e", name + "x" * (200 - len(name))):
        with ipc.Ring.create(good, capacity=PAGE) as ring:
            assert ring.name == good
            assert [entry.name for entry in ipc.ls()] == [good]


def test_the_longest_name_works_in_the_default_directory(name: str) -> None:
    longest = name + "x" * (200 - len(name))
    with ipc.Ring.create(longest, capacity=PAGE), ipc.Ring.attach(longest) as other:
        assert other.name == longest


# --- timeouts -----------------------------------------------------------------------------------------------------


def claimed(ring: ipc.Ring, timeout: Any) -> None:
    with ring.writer().claim(4, timeout):
        pass


def peeked(ring: ipc.Ring, timeout: Any) -> None:
    with ring.reader().peek(timeout):
        pass


RING_CALLS: dict[str, Callable[[ipc.Ring, Any], Any]] = {
    "write": lambda ring, timeout: ring.writer().write(b"more", timeout),
    "write_many": lambda ring, timeout: ring.writer().write_many([b"more"], timeout),
    "claim": claimed,
    "flush": lambda ring, timeout: ring.writer().flush(timeout),
    "read": lambda ring, timeout: ring.reader().read(timeout),
    "read_many": lambda ring, timeout: ring.reader().read_many(10, timeout),
    "peek": peeked,
}
BAD_TIMEOUT_TYPES = ["1", b"1", True, False, [1.0], object(), 1j, np.array([1.0, 2.0])]
BAD_TIMEOUTS = [-1, -0.001, -(10**400), math.nan, -math.inf, np.float32("nan"), np.int64(-1), Decimal("-0.5")]


@pytest.mark.parametrize("call", RING_CALLS.values(), ids=RING_CALLS)
def test_a_wrong_timeout_is_said_before_a_ring_changes(call: Callable[[ipc.Ring, Any], Any]) -> None:
    with ipc.Ring.create(capacity=PAGE) as ring:
        ring.writer().write(b"first")
        for timeout in BAD_TIMEOUT_TYPES:
            with pytest.raises(TypeError, match="timeout must be a number of seconds or None"):
                call(ring, timeout)
        for timeout in BAD_TIMEOUTS:
            with pytest.raises(ValueError, match=r"timeout=.*0 or more, or None"):
                call(ring, timeout)
        counters = ring.stats()
        assert (counters.sent, counters.received) == (1, 0)


@pytest.mark.parametrize("payload", [b"raw", "pickled"])
def test_a_wrong_timeout_is_said_before_a_channel_changes(payload: object) -> None:
    tx, rx = ipc.channel(capacity=PAGE)
    with tx, rx:
        tx.send(payload)
        calls: list[Callable[[Any], Any]] = [lambda timeout: tx.send(payload, timeout=timeout), tx.flush, rx.recv]
        for call in calls:
            for timeout in BAD_TIMEOUT_TYPES:
                with pytest.raises(TypeError, match="timeout must be a number of seconds or None"):
                    call(timeout)
            for timeout in BAD_TIMEOUTS:
                with pytest.raises(ValueError, match=r"timeout=.*0 or more, or None"):
                    call(timeout)
        counters = tx.stats()
        assert (counters.sent, counters.received) == (1, 0)


NO_TIME: list[Any] = [0, 0.0, -0.0, 1e-12, np.float64(0), np.float32(0.001), np.int64(0), Decimal("0.001"), Fraction(0)]


@pytest.mark.parametrize("timeout", NO_TIME, ids=repr)
def test_any_number_is_a_timeout(timeout: Any) -> None:
    tx, rx = ipc.channel(capacity=PAGE)
    with tx, rx:
        with pytest.raises(ipc.TimeoutError):
            rx.recv(timeout)
        tx.send(b"x" * (PAGE - 16), timeout=timeout)
        with pytest.raises(ipc.TimeoutError):
            tx.send(b"y", timeout=timeout)
        with pytest.raises(ipc.TimeoutError):
            tx.flush(timeout)
        assert len(rx.recv(timeout)) == PAGE - 16


@pytest.mark.parametrize(
    "timeout", [None, math.inf, 1e300, 10**400, 2**64], ids=["None", "inf", "1e300", "10**400", "2**64"]
)
def test_however_long_a_timeout_is_it_can_be_asked_for(timeout: Any) -> None:
    tx, rx = ipc.channel(capacity=PAGE)
    with tx, rx:
        tx.send(b"there", timeout=timeout)
        assert rx.recv(timeout) == b"there"
        tx.flush(timeout)


# --- spin ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("spin", ["auto", 0, 0.0, 1e-5, 3, np.float32(1e-5), Decimal("0.00001")])
def test_spin_is_automatic_or_seconds(spin: Any, name: str) -> None:
    tx, rx = ipc.channel(name, capacity=PAGE, spin=spin)
    with tx, rx:
        tx.send(b"hot")
        assert rx.recv() == b"hot"
    with ipc.Ring.create(name, capacity=PAGE, spin=spin), ipc.Ring.attach(name, spin=spin) as ring:
        ring.writer().write(b"hot")
        assert ring.reader().read() == b"hot"


@pytest.mark.parametrize("spin", [math.inf, 1e300, 10**400], ids=["inf", "1e300", "10**400"])
def test_spin_may_be_without_end(spin: Any) -> None:
    tx, rx = ipc.channel(capacity=PAGE, spin=spin)
    with tx, rx:
        tx.send(b"hot")
        assert rx.recv() == b"hot"


@pytest.mark.parametrize("spin", ["never", "", True, False, None, [0], b"auto"])
def test_spin_of_another_type_is_a_type_error(spin: Any) -> None:
    for make in (ipc.channel, ipc.Ring.create):
        with pytest.raises(TypeError, match="spin must be"):
            make(spin=spin)  # type: ignore[operator]


@pytest.mark.parametrize("spin", [-1, -1e-9, math.nan, -math.inf])
def test_spin_below_zero_is_refused(spin: float) -> None:
    for make in (ipc.channel, ipc.Ring.create):
        with pytest.raises(ValueError, match=r"spin=.*0 or more, or 'auto'"):
            make(spin=spin)  # type: ignore[operator]


def test_spin_and_accept_are_checked_before_a_segment_is_attached(name: str) -> None:
    for attach in (ipc.Sender.attach, ipc.Receiver.attach, ipc.Ring.attach):
        with pytest.raises(ValueError, match="spin"):
            attach(name, spin=-1)  # type: ignore[operator]
    with pytest.raises(ValueError, match="accept"):
        ipc.Receiver.attach(name, accept=["nothing"])


# --- accept -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("accept", [[], (), "", "text", ["bytes", "text"], ["bytes", 3], {"": 1}])
def test_accept_names_kinds_of_messages(accept: Any) -> None:
    with pytest.raises(ValueError, match="'bytes', 'pickle', 'array'") as caught:
        ipc.channel(accept=accept)
    assert repr(accept) in str(caught.value)


@pytest.mark.parametrize("accept", [3, True, object()])
def test_accept_of_another_type_is_a_type_error(accept: Any) -> None:
    with pytest.raises(TypeError):
        ipc.channel(accept=accept)


@pytest.mark.parametrize("accept", [None, "bytes", ["bytes"], {"bytes", "array"}, ("pickle", "bytes"), iter(["bytes"])])
def test_accept_may_be_any_collection(accept: Any) -> None:
    tx, rx = ipc.channel(capacity=PAGE, accept=accept)
    with tx, rx:
        tx.send(b"raw")
        assert rx.recv() == b"raw"


# --- message types, and numbers of messages and bytes -------------------------------------------------------------


@pytest.mark.parametrize("type", [0, 1, 2**31, 2**32 - 1])
def test_a_message_type_has_32_bits(type: int) -> None:
    tx, rx = ipc.channel(capacity=PAGE)
    with tx, rx:
        tx.send(b"raw", type=type)
        assert tx.try_send({"pickled": True}, type=type)
        assert rx.recv() == b"raw"
        assert rx.recv() == {"pickled": True}


@pytest.mark.parametrize("type", [-1, 2**32, 2**64, -(2**64)])
def test_a_message_type_out_of_range_is_refused(type: int) -> None:
    tx, rx = ipc.channel(capacity=PAGE)
    with tx, rx:
        for message in (b"raw", "pickled"):
            for send in (tx.send, tx.try_send):
                with pytest.raises(ValueError, match=rf"type={type} must be from 0 to 2\*\*32 - 1"):
                    send(message, type=type)
        assert tx.stats().sent == 0


@pytest.mark.parametrize("type", [True, 1.0, "1", None, np.float64(1)])
def test_a_message_type_that_is_no_int_is_a_type_error(type: Any) -> None:
    tx, rx = ipc.channel(capacity=PAGE)
    with tx, rx:
        for message in (b"raw", "pickled"):
            for send in (tx.send, tx.try_send):
                with pytest.raises(TypeError, match="type must be an int"):
                    send(message, type=type)
        assert tx.stats().sent == 0


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda ring: ring.reader().read_many(0), ValueError),
        (lambda ring: ring.reader().read_many(-1), ValueError),
        (lambda ring: ring.reader().read_many(True), TypeError),
        (lambda ring: ring.reader().read_many(2.0), TypeError),
        (lambda ring: ring.reader().read_many(None), TypeError),
        (lambda ring: ring.writer().claim(-1), ValueError),
        (lambda ring: ring.writer().claim(True), TypeError),
        (lambda ring: ring.writer().claim(8.0), TypeError),
        (lambda ring: ring.writer().claim(b"12345678"), TypeError),
    ],
)
def test_counts_are_checked(call: Callable[[ipc.Ring], Any], error: type[Exception]) -> None:
    with ipc.Ring.create(capacity=PAGE) as ring:
        ring.writer().write(b"first")
        with pytest.raises(error, match=r"max|nbytes"):
            call(ring)
        assert ring.reader().read(0) == b"first"


def test_more_messages_than_there_can_be_may_be_asked_for() -> None:
    with ipc.Ring.create(capacity=PAGE) as ring:
        ring.writer().write_many([b"a", b"b"])
        assert ring.reader().read_many(10**30) == [b"a", b"b"]


@pytest.mark.parametrize("directory", ["/no/such/directory", "/dev/null"])
def test_an_ipc_dir_that_is_no_directory_is_named(monkeypatch: pytest.MonkeyPatch, directory: str) -> None:
    monkeypatch.setenv("IPC_DIR", directory)
    for use in (ipc.channel, ipc.Ring.create, ipc.Receiver.attach, ipc.stats, ipc.rm):
        with pytest.raises(ipc.SharedMemoryError, match=f"IPC_DIR='{directory}' is no directory.*unset IPC_DIR"):
            use("name")  # type: ignore[operator]
    for look in (ipc.ls, ipc.gc):
        with pytest.raises(ipc.SharedMemoryError):
            look()  # type: ignore[operator]
    tx, rx = ipc.channel()  # anonymous: needs none
    tx.close()
    rx.close()


def test_an_empty_ipc_dir_means_the_default(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv("IPC_DIR", "")
    with ipc.Ring.create(name, capacity=PAGE):
        monkeypatch.delenv("IPC_DIR")
        assert ipc.stats(name).attached


@pytest.mark.parametrize("end", [ipc.Sender, ipc.Receiver, ipc.Ring, ipc.RingWriter, ipc.RingReader])
def test_handles_are_not_made_directly(end: type) -> None:
    with pytest.raises(TypeError, match=r"is not made directly"):
        end()


@pytest.mark.parametrize("spin", [0.05, 0.2, 1, 3600, math.inf])
def test_however_long_a_spin_is_asked_for_death_and_signals_are_looked_after_in_time(spin: float) -> None:
    # a call that spins, and the slice of at most 150 ms that it sleeps after it, stay within the 200 ms promised
    assert arguments.spin_ns(spin) == 50_000_000

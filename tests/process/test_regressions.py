"""Ways in which other libraries of this kind have failed, and their numbers in the design's list."""

from __future__ import annotations

import os
import signal
from array import array
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ipc
from ipc._core import arguments
from ipc._core.segment import Segment
from tests.process import numbered
from tests.process.numbered import CAPACITY, persist
from tests.process.support import Forked, pipe, receive, running

# --- R12: the caller changes its buffer once send has returned ------------------------------------------------------

BUFFERS: dict[str, Callable[[int], Any]] = {
    "bytearray": lambda size: bytearray(b"\x01" * size),
    "memoryview": lambda size: memoryview(bytearray(b"\x02" * size)),
    "array of the standard library": lambda size: memoryview(array("d", [3.0] * (size // 8))),
    "numpy array": lambda size: np.full(size // 8, 4.0),
    "Fortran array": lambda size: np.asfortranarray(np.full((size // 80, 10), 5.0)),
    "strided array": lambda size: np.full((size // 80, 20), 6.0)[:, ::2],
}
SENDS: dict[str, Callable[[Any, Any], Any]] = {
    "send": lambda tx, buffer: tx.send(buffer),
    "send with a type": lambda tx, buffer: tx.send(buffer, type=3, timeout=10),
    "send in a pickle": lambda tx, buffer: tx.send({"buffer": np.asarray(buffer)}),
    "send_many": lambda tx, buffer: tx.send_many([buffer]),
    "send_many of an iterator": lambda tx, buffer: tx.send_many(iter([buffer])),
    "try_send": lambda tx, buffer: tx.try_send(buffer),
}
SMALL, FITTING, IN_PARTS = 800, CAPACITY - 416, 20 * CAPACITY


@pytest.mark.parametrize("size", [SMALL, FITTING, IN_PARTS])
@pytest.mark.parametrize("kind", BUFFERS)
def test_what_is_changed_after_send_returned_arrives_as_it_was(kind: str, size: int) -> None:
    tx, inbox = ipc.channel(capacity=CAPACITY)
    with pipe() as (ours, told), tx, running(ipc.spawn(take_when_told, inbox, told, context="fork")) as worker:
        for how, send in SENDS.items():
            if (how, size) == ("try_send", IN_PARTS):
                continue
            buffer = BUFFERS[kind](size)
            if size == IN_PARTS:  # send returns when all parts were taken
                ours.send("take")
            send(tx, buffer)
            wipe(buffer)
            assert not any(data_of(buffer))
            if size != IN_PARTS:  # nobody has looked yet
                ours.send("take")
            assert receive(ours) == data_of(BUFFERS[kind](size)), how
        ours.send("end")
        worker.join()
        assert (worker.exitcode, worker.exception) == (0, None)


def wipe(buffer: Any) -> None:
    """Every byte of it."""
    memory = buffer if isinstance(buffer, np.ndarray) else np.frombuffer(buffer, np.uint8)
    memory[...] = 0


def data_of(buffer: Any) -> bytes:
    """The bytes of whatever has come."""
    if isinstance(buffer, dict):
        buffer = buffer["buffer"]
    return buffer.tobytes() if isinstance(buffer, np.ndarray) else bytes(buffer)


def take_when_told(inbox: Any, told: Any) -> None:
    while told.recv() == "take":
        told.send(data_of(inbox.recv()))


# --- R18: positions beyond what 32 bits hold ------------------------------------------------------------------------

WRITE_POSITION_OFFSET = 256  # in the segment; see native/format.h


def channel_at(start: int, name: str | None = None) -> tuple[ipc.Sender[Any], ipc.Receiver[Any]]:
    """A channel on which that many bytes have gone already."""
    segment = Segment.create("channel", CAPACITY, name, start_position=start % 2**64)
    spin = arguments.spin_ns("auto")
    return ipc.Sender._open(segment, spin), ipc.Receiver._open(segment, spin)


def gone(end: Any, start: int) -> int:
    """Bytes that went since the channel was made."""
    position = int.from_bytes(os.pread(end._attached().fd, 8, WRITE_POSITION_OFFSET), "little")
    return (position - start) % 2**64


@pytest.mark.parametrize("before", [8, 1000, CAPACITY, 100_000])
@pytest.mark.parametrize("boundary", [2**31, 2**32, 2**63, 2**64])
def test_messages_batches_parts_and_loans_stay_right_when_positions_cross_a_power_of_two(
    boundary: int, before: int
) -> None:
    start = boundary - before
    tx, rx = channel_at(start)
    with rx, running(ipc.spawn(send_in_turn, tx, 300, context="fork")) as worker:
        number = 0
        for take in turns(take_one, take_batch, take_view, 300):
            for got in take(rx):
                assert numbered.same(got, numbered.message(number, largest_of(number)))
                number += 1
            if number == 300:
                break
        worker.join()
        assert (worker.exitcode, worker.exception) == (0, None)
        assert gone(rx, start) > max(before, 10 * CAPACITY)
        stats = rx.stats()
        assert (stats.sent, stats.received, stats.depth, stats.bytes) == (300, 300, 0, stats.bytes_received)


def largest_of(number: int) -> int:
    """One message in four goes in parts."""
    return 5 * CAPACITY if number % 4 == 1 else numbered.LARGEST_LENT


def turns(*what: Any) -> Any:
    """The functions in turn, `what[-1]` times."""
    *functions, times = what
    return functions * times


def send_in_turn(tx: Any, count: int) -> None:
    """By send, by claim and in batches."""
    messages = [numbered.message(number, largest_of(number)) for number in range(count)]
    for number in range(0, count, 4):
        tx.send(messages[number])
        tx.send(messages[number + 1], type=number)
        numbered.send_by_claim(tx, messages[number + 2])
        tx.send_many(messages[number + 3 : number + 4])


def take_one(rx: Any) -> list[Any]:
    return [rx.recv()]


def take_batch(rx: Any) -> list[Any]:
    return rx.recv_many(max=3)  # type: ignore[no-any-return]


def take_view(rx: Any) -> list[Any]:
    try:
        with rx.view() as lent:
            return [bytes(lent) if isinstance(lent, memoryview) else lent.copy() if hasattr(lent, "copy") else lent]
    except ipc.IpcError:  # it comes in parts
        return [rx.recv()]


@pytest.mark.parametrize("boundary", [2**32, 2**64])
def test_kills_while_positions_cross_a_power_of_two_leave_whole_messages(boundary: int, name: str) -> None:
    start = boundary - 300_000
    with numbered.board() as known, numbered.orphaned(name, channel_at(start, name)) as (tx, _):
        killed = numbered.storm(name, known, 15, "both", numbered.keep_sending, numbered.keep_receiving)
        numbered.check(known, *killed, ipc.stats(name), told_before_taken=False)
        assert gone(tx, start) > 300_000


# --- R37: what is kept of peers that died ---------------------------------------------------------------------------

# Much less than a page for each of a thousand; AddressSanitizer keeps what was freed for a while.
RSS_KIB = 2048 if "libasan" not in os.environ.get("LD_PRELOAD", "") else 65536


def holdings() -> tuple[int, int, int]:
    """Descriptors, mappings, and KiB of memory of this process."""
    status = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    resident = next(int(line.split()[1]) for line in status if line.startswith("VmRSS:"))
    maps = Path("/proc/self/maps").read_text(encoding="utf-8", errors="replace").count("\n")
    return len(os.listdir("/proc/self/fd")), maps, resident  # noqa: PTH208


def stay(attach: Callable[[], Any], use: Callable[[Any], None], told: Any) -> None:
    """Use an end, whoever is at the other one, and tell from time to time what that takes."""
    with attach() as end:
        told.send("ready")
        while True:
            if told.poll(0):
                if told.recv() == "end":
                    return
                told.send(holdings())
            with suppress(ipc.TimeoutError, ipc.PeerDiedError):
                use(end)


def come_and_die(attach: Callable[[], Any], use: Callable[[Any], None]) -> None:
    """One successor, killed while it has the end."""
    use(attach())
    os.kill(os.getpid(), signal.SIGKILL)


def come_and_go(attach: Callable[[], Any], use: Callable[[Any], None], times: int) -> None:
    """Many successors in one process, each of which leaves as a crash would."""
    for _ in range(times):
        end = attach()
        use(end)
        end._close("it went as a crash would", clean=False)


@pytest.mark.parametrize("restarted", ["the sender", "the receiver"])
@pytest.mark.parametrize("killed", [40, pytest.param(1000, marks=pytest.mark.slow)])
def test_a_thousand_successors_leave_nothing_in_the_process_at_the_other_end(
    name: str, restarted: str, killed: int
) -> None:
    sender: tuple[Any, Any] = (partial(ipc.Sender.attach, name), lambda tx: tx.send(bytes(100), timeout=0.01))
    receiver: tuple[Any, Any] = (partial(ipc.Receiver.attach, name), lambda rx: rx.recv(timeout=0.01))
    patient: tuple[Any, Any] = (sender[0], lambda tx: persist(partial(tx.send, bytes(5000))))
    if restarted == "the receiver":
        patient = (receiver[0], lambda rx: persist(rx.recv))
    stays = receiver if restarted == "the sender" else sender
    ends = ipc.channel(name, capacity=CAPACITY)
    with numbered.orphaned(name, ends), pipe() as (ours, told), Forked(partial(stay, *stays, told)) as staying:
        assert receive(ours) == "ready"

        def restart(by_kill: int, in_one_process: int) -> tuple[int, int, int]:
            for _ in range(by_kill):
                with Forked(partial(come_and_die, *patient)) as forked:
                    assert forked.join() == -signal.SIGKILL
            with Forked(partial(come_and_go, *patient, in_one_process)) as forked:
                assert forked.join() == 0
            ours.send("tell")
            return receive(ours)  # type: ignore[no-any-return]

        before = restart(10, 100)
        after = restart(killed, 1000 - min(killed, 1000))
        assert after[0] == before[0]
        assert after[1] <= before[1] + 2  # what the allocators need
        assert after[2] <= before[2] + RSS_KIB
        ours.send("end")
        assert staying.join() == 0

"""Every kind of message, to a worker and back, under every start method; and workers told to stop in mid-message."""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

import ipc
from tests.process import numbered, roles
from tests.process.numbered import CAPACITY, same
from tests.process.support import METHODS, context, is_waiting, pipe, receive, running, until

method = pytest.mark.parametrize("method", METHODS)

GRID = np.arange(24, dtype="<f8").reshape(2, 3, 4)
PIXELS = np.dtype([("x", "<i2"), ("y", "<i2"), ("name", "S3"), ("colour", "u1", (3,))])
MESSAGES: dict[str, list[Any]] = {
    "bytes": [b"", b"x", bytes(range(256)), bytes(CAPACITY - 16)],
    "pickles": [None, "text", 2**100, {"a": [1, 2.5, (None, "b")]}, {1, 2}, ValueError("wrong", 3).args, "x" * 3000],
    "C arrays": [GRID, np.arange(10, dtype=">u2"), np.array([True, False]), np.zeros((0, 5), "f4"), np.zeros(3, "c16")],
    "Fortran arrays": [np.asfortranarray(GRID), np.asfortranarray(GRID[0])],
    "0-d arrays": [np.array(7), np.array(2.5, "<f4"), np.array(b"abc"), np.array("2001-02-03", "M8[D]")],
    "structured arrays": [np.zeros(5, PIXELS), np.array([(1, 2, b"ab", (3, 4, 5))], PIXELS), np.zeros((2, 2), PIXELS)],
    "strided arrays": [GRID[:, ::2], GRID[::-1, 1:, ::-1], GRID.transpose(1, 0, 2), np.zeros(20, PIXELS)[::3]],
    "buffers out of band": [
        {"a": GRID, "b": np.asfortranarray(GRID[0])},
        [np.arange(n) for n in range(30)],
        (np.zeros((0, 3)), "text", np.zeros(0), np.arange(3)),
    ],
    "in parts": [
        bytes(range(256)) * 300,
        np.arange(20_000.0).reshape(100, 200),
        np.asfortranarray(np.arange(20_000.0).reshape(100, 200)),
        np.arange(40_000.0).reshape(200, 200)[::2, ::3],
        np.zeros(3000, PIXELS),
        "x" * 50_000,
        {"first": np.arange(10_000), "empty": np.zeros(0), "last": np.arange(3)},
        [np.full(500, n) for n in range(40)],
    ],
}
MESSAGES["everything in turn"] = [message for some in MESSAGES.values() for message in some]


def as_received(message: Any) -> Any:
    """What a message is at the other end: a scattered array comes in C order."""
    if isinstance(message, np.ndarray) and not (message.flags.c_contiguous or message.flags.f_contiguous):
        return np.ascontiguousarray(message)
    return message


def alike(got: Any, message: Any) -> bool:
    """Whether this is what was sent, also deep in a list or a dict."""
    if isinstance(message, dict):
        return got.keys() == message.keys() and all(alike(got[key], message[key]) for key in message)
    if isinstance(message, (list, tuple)):
        return type(got) is type(message) and len(got) == len(message) and all(map(alike, got, message))
    return same(got, as_received(message))


@contextmanager
def echoing(role: Any, method: str, capacity: int = CAPACITY) -> Iterator[tuple[Any, Any]]:
    """Two channels to and from a worker, which must have ended well in the end."""
    tx, inbox = ipc.channel(capacity=capacity)
    outbox, rx = ipc.channel(capacity=capacity)
    with tx, rx, running(ipc.spawn(role, inbox, outbox, context=context(method))) as worker:
        yield tx, rx
        tx.close()
        with pytest.raises(ipc.EndOfChannel):
            rx.recv()
        worker.join()
        assert (worker.exitcode, worker.exception) == (0, None)


@method
@pytest.mark.parametrize("kind", MESSAGES)
def test_a_message_of_any_kind_comes_back_as_it_went(kind: str, method: str) -> None:
    with echoing(roles.echo, method) as (tx, rx):
        for number, message in enumerate(MESSAGES[kind]):
            tx.send(message)
            got = rx.recv_envelope()
            assert (got.type, got.sequence) == (0, number)
            assert alike(got.message, message)
            if isinstance(got.message, np.ndarray):
                assert got.message.flags.owndata
                assert got.message.flags.writeable


@method
def test_bytes_like_objects_come_back_as_bytes(method: str) -> None:
    likes: list[Any] = [bytearray(b"abc"), memoryview(b"abcdef")[::2], memoryview(array("d", [1.0])), bytearray(50_000)]
    with echoing(roles.echo, method) as (tx, rx):
        for like in likes:
            tx.send(like)
            got = rx.recv()
            assert type(got) is bytes
            assert got == bytes(like)


@method
def test_batches_come_back_whole_and_in_order(method: str) -> None:
    mixed = MESSAGES["everything in turn"]
    with echoing(echo_batches, method, capacity=4 * 2**20) as (tx, rx):
        for batch in ([b"%d" % number for number in range(1000)], mixed, [bytes(10), *mixed, b""]):
            assert tx.send_many(batch, type=5) == len(batch)
            came: list[Any] = []
            while len(came) < len(batch):
                came += rx.recv_many(max=7)
            assert alike(came, batch)


@method
def test_messages_in_parts_come_back_whole_from_batches(method: str) -> None:
    with echoing(echo_batches, method) as (tx, rx):
        for message in MESSAGES["in parts"]:
            assert tx.send_many([b"before", message]) == 2
            tx.send_many(b"%d" % number for number in range(3))
            came: list[Any] = []
            while len(came) < 5:
                came += rx.recv_many()
            assert alike(came, [b"before", message, b"0", b"1", b"2"])


def echo_batches(inbox: Any, outbox: Any) -> None:
    while True:
        try:
            batch = inbox.recv_many()
        except ipc.EndOfChannel:
            return
        outbox.send_many(batch)


@method
def test_claims_and_views_carry_arrays_and_bytes_there_and_back(method: str) -> None:
    arrays = [message for kind in ("C arrays", "0-d arrays", "structured arrays") for message in MESSAGES[kind]]
    with echoing(echo_without_copies, method) as (tx, rx):
        for message in [*arrays, *MESSAGES["bytes"][1:3]]:
            if isinstance(message, bytes):
                with tx.claim(nbytes=len(message)) as memory:
                    memory[:] = message
            else:
                with tx.claim(message.shape, message.dtype) as lent:
                    lent[...] = message
            with rx.view() as came:
                copied = bytes(came) if isinstance(message, bytes) else came.copy()
                del came
            assert same(copied, message)


def echo_without_copies(inbox: Any, outbox: Any) -> None:
    while True:
        try:
            with inbox.view() as came:
                if isinstance(came, memoryview):
                    with outbox.claim(len(came)) as memory:
                        memory[:] = came
                else:
                    with outbox.claim(came.shape, came.dtype) as lent:
                        lent[...] = came
        except ipc.EndOfChannel:
            return


@method
def test_types_and_numbers_go_along_with_every_kind(method: str) -> None:
    outbox, rx = ipc.channel(capacity=CAPACITY)
    with rx, running(ipc.spawn(send_with_types, outbox, context=context(method))) as worker:
        for number in range(200):
            message, type_, sequence = rx.recv_envelope()
            assert same(message, numbered.message(number))
            assert (type_, sequence) == (2**32 - 1 - number, number)
        worker.join()
        assert (worker.exitcode, worker.exception) == (0, None)


def send_with_types(outbox: Any) -> None:
    for number in range(200):
        outbox.send(numbered.message(number), type=2**32 - 1 - number)


# --- told to stop -----------------------------------------------------------------------------------------------------


@method
@pytest.mark.parametrize("patience", [None, 0.001], ids=["recv", "short timeouts"])
def test_a_worker_told_to_stop_takes_a_large_message_whole_or_not_at_all_and_the_sender_knows(
    method: str, patience: float | None
) -> None:
    tx, inbox = ipc.channel(capacity=CAPACITY)
    outbox, rx = ipc.channel()
    with tx, rx, running(ipc.spawn(collect, inbox, outbox, patience, context=context(method))) as worker:
        assert rx.recv() == "ready"
        for number in range(20):
            tx.send(large(number))
        worker.terminate()
        sent = 20 + send_until_it_ends(tx, 20)
        worker.join()
        assert (worker.exitcode, worker.exception) == (0, None)
        assert list(rx) == [large(number) for number in range(sent)]


def large(number: int) -> bytes:
    return numbered.body(number, numbered.LARGEST) + bytes(2 * CAPACITY)


def send_until_it_ends(tx: Any, first: int) -> int:
    """How many sends returned before the one that said that it was in vain."""
    number = first
    while True:
        try:
            tx.send(large(number))
        except ipc.EndOfChannel:
            return number - first
        number += 1


def collect(inbox: Any, outbox: Any, patience: float | None) -> None:
    """Everything until the end, however often it takes; then tell it."""
    outbox.send("ready")
    got = []
    while True:
        try:
            got.append(inbox.recv(patience))
        except ipc.TimeoutError:
            pass
        except ipc.EndOfChannel:
            break
    for message in got:
        outbox.send(message)


@method
def test_a_worker_told_to_stop_in_mid_message_does_not_wait_for_a_sender_that_is_stopped(method: str) -> None:
    tx, inbox = ipc.channel(capacity=CAPACITY)
    outbox, rx = ipc.channel()
    with pipe() as (ours, told), rx, running(ipc.spawn(send_large, tx, told, context="fork")) as sender:
        until(lambda: is_waiting(sender.pid), "the sender is in mid-message")
        numbered.stop(sender)
        with running(ipc.spawn(collect, inbox, outbox, None, context=context(method))) as worker:
            assert rx.recv() == "ready"
            until(lambda: is_waiting(worker.pid), "the worker has what there is")
            worker.terminate()
            worker.join()
            assert (worker.exitcode, worker.exception) == (0, None)
        assert list(rx) == []
        numbered.go_on(sender)
        assert receive(ours) == "EndOfChannel"


def send_large(outbox: Any, told: Any) -> None:
    try:
        outbox.send(bytes(20 * CAPACITY))
    except ipc.EndOfChannel:
        told.send("EndOfChannel")

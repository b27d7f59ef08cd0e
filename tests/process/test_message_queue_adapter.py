"""The adapter of examples/message_queue.py: vLLM's MessageQueue over a multicast."""

from __future__ import annotations

import multiprocessing
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ipc
from tests.process import message_queue_roles as roles
from tests.process.support import PATIENCE_SECONDS, until

CHUNK = 4096
RING = 4 * CHUNK  # bytes
LARGE = bytes(range(256)) * 1024  # sixteen times the ring

Readers = list[tuple[ipc.Worker, "ipc.Receiver[Any]"]]
Start = Callable[..., Readers]


@pytest.fixture(autouse=True)
def no_segment_is_left(ipc_dir: Path) -> Iterator[None]:
    yield
    assert list(ipc_dir.iterdir()) == []


@pytest.fixture
def writer() -> Iterator[Any]:
    made = roles.adapter().MessageQueue(3, 3, max_chunk_bytes=CHUNK, max_chunks=4)
    yield made
    made.close()


@pytest.fixture
def started(writer: Any) -> Iterator[Start]:
    """Give a function that starts a reader for each role, and returns when all of them are ready."""
    readers: Readers = []

    def start(*work: Callable[..., None]) -> Readers:
        for rank, role in enumerate(work):
            tx, rx = ipc.channel()
            spawn = multiprocessing.get_context("spawn")
            readers.append((ipc.spawn(role, writer.export_handle(), rank, tx, context=spawn), rx))
        writer.wait_until_ready()
        return readers[:]

    yield start
    for worker, rx in readers:
        rx.close()
        worker.kill()
        worker.join(PATIENCE_SECONDS)
    readers.clear()  # the function may live on


def answers(readers: Readers) -> list[Any]:
    return [rx.recv(timeout=PATIENCE_SECONDS) for _, rx in readers]


def test_every_reader_gets_every_object_as_it_was_in_order(writer: Any, started: Start) -> None:
    sent: list[Any] = [
        None,
        17,
        "text",
        b"",
        b"bytes",
        bytearray(b"array"),
        {"a": [1, (2, 3.5)]},
        LARGE,
        [LARGE] * 2,
        0,
    ]
    readers = started(*[roles.collect] * 3)
    for obj in sent:
        writer.enqueue(obj)
    writer.close()
    for got in answers(readers):
        assert got == sent
        assert [type(obj) for obj in got] == [type(obj) for obj in sent]


def test_arrays_of_any_size_arrive(writer: Any, started: Start) -> None:
    sent = [np.arange(count, dtype="f8").reshape(-1, 2) for count in (0, 2, 100, 510, 512, 2048, 100_000)]
    readers = started(*[roles.collect] * 3)
    for array in sent:
        writer.enqueue(array)
    writer.close()
    for got in answers(readers):
        assert [array.shape for array in got] == [array.shape for array in sent]
        assert all(np.array_equal(one, other) for one, other in zip(got, sent, strict=True))


def test_sizes_around_those_of_a_message_and_a_piece_arrive(writer: Any, started: Start) -> None:
    sent = [bytes(size) for edge in (CHUNK, RING // 2, RING) for size in range(edge - 200, edge + 40, 8)]
    readers = started(*[roles.collect] * 3)
    for obj in sent:
        writer.enqueue(obj)
    writer.close()
    assert [list(map(len, got)) for got in answers(readers)] == [list(map(len, sent))] * 3


def test_a_killed_reader_never_blocks_the_writer(writer: Any, started: Start) -> None:
    readers = started(roles.count, roles.take_one_and_stay, roles.count)
    writer.enqueue(0)
    pid, first = readers[1][1].recv(timeout=PATIENCE_SECONDS)
    assert (pid, first) == (readers[1][0].pid, 0)
    readers[1][0].kill()
    for number in range(1, 3000):  # many times what the ring holds; large ones as well
        writer.enqueue(number if number % 100 else bytes(number), timeout=PATIENCE_SECONDS)
    writer.enqueue(bytes(3000))
    writer.close()
    del readers[1]
    assert answers(readers) == [3001, 3001]


def test_a_slow_reader_is_named_and_the_object_reaches_nobody(writer: Any, started: Start) -> None:
    readers = started(roles.collect, roles.take_one_and_stay, roles.collect)
    writer.enqueue("first")
    pid, _ = readers[1][1].recv(timeout=PATIENCE_SECONDS)
    sent = ["first"]

    def fill() -> None:
        while True:
            writer.enqueue(f"small {len(sent)}", timeout=2)  # by then the others have read all
            sent.append(f"small {len(sent)}")

    with pytest.raises(TimeoutError, match=f"of process {pid} is .* behind"):
        fill()
    readers[1][0].kill()
    readers[1][0].join(PATIENCE_SECONDS)
    writer.enqueue("after", timeout=PATIENCE_SECONDS)
    writer.close()
    del readers[1]
    assert answers(readers) == [[*sent, "after"]] * 2


def test_readers_forget_a_large_object_that_was_given_up_half_way(writer: Any, started: Start) -> None:
    readers = started(roles.collect, roles.take_one_and_stay, roles.collect)
    writer.enqueue("first")
    readers[1][1].recv(timeout=PATIENCE_SECONDS)
    for _ in range(2):
        with pytest.raises(TimeoutError):
            writer.enqueue(LARGE, timeout=0.05)  # its first pieces are on their way
    readers[1][0].kill()
    readers[1][0].join(PATIENCE_SECONDS)
    writer.enqueue(LARGE[1:], timeout=PATIENCE_SECONDS)
    writer.enqueue("last", timeout=PATIENCE_SECONDS)
    writer.close()
    del readers[1]
    assert answers(readers) == [["first", LARGE[1:], "last"]] * 2


# --- within one process ---------------------------------------------------------------------------------------------


@pytest.fixture
def pair() -> Iterator[tuple[Any, Any]]:
    """A writer and its only reader."""
    queue = roles.adapter().MessageQueue
    writer = queue(1, max_chunk_bytes=CHUNK, max_chunks=4)
    reader = queue.create_from_handle(writer.export_handle(), 0)
    writer.wait_until_ready()
    reader.wait_until_ready()
    yield writer, reader
    reader.close()
    writer.close()


def test_a_dequeue_in_vain_times_out(pair: tuple[Any, Any]) -> None:
    _, reader = pair
    for timeout in (0, 0.01):
        with pytest.raises(TimeoutError):
            reader.dequeue(timeout=timeout)
        with pytest.raises(TimeoutError):
            reader.dequeue(timeout=timeout, cancel=threading.Event())


def test_a_dequeue_is_cancelled_before_and_while_it_waits(pair: tuple[Any, Any]) -> None:
    writer, reader = pair
    cancel = threading.Event()
    cancel.set()
    writer.enqueue("kept")
    with pytest.raises(RuntimeError, match="cancelled"):
        reader.dequeue(cancel=cancel)
    assert reader.dequeue(cancel=threading.Event()) == "kept"

    later, said = threading.Event(), []

    def wait() -> None:
        try:
            reader.dequeue(cancel=later)
        except RuntimeError as error:
            said.append(str(error))

    waiting = threading.Thread(target=wait)
    waiting.start()
    later.set()
    waiting.join(PATIENCE_SECONDS)
    until(lambda: said, "cancelled")
    assert said == ["cancelled"]


def test_a_large_object_may_come_over_several_dequeues(pair: tuple[Any, Any]) -> None:
    writer, reader = pair
    got: list[Any] = []
    sending = threading.Thread(target=writer.enqueue, args=(LARGE,))
    sending.start()

    def taken() -> bool:
        try:
            got.append(reader.dequeue(timeout=0))
        except TimeoutError:
            return False
        return True

    until(taken, "the whole of it")
    sending.join(PATIENCE_SECONDS)
    assert got == [LARGE]


def test_each_side_has_its_own_calls(pair: tuple[Any, Any]) -> None:
    writer, reader = pair
    with pytest.raises(RuntimeError, match="only readers"):
        writer.dequeue()
    with pytest.raises(RuntimeError, match="only the writer"):
        reader.enqueue(1)


def test_readers_elsewhere_are_refused() -> None:
    with pytest.raises(ValueError, match="2 of 3 readers are local"):
        roles.adapter().MessageQueue(3, 2)

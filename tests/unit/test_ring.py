"""Rings in one process: writing, reading, batches, and memory lent in place."""

from __future__ import annotations

import gc
import warnings
from array import array
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

import ipc

PAGE = 4096
LIMIT = PAGE - 16
MEBIBYTE = 2**20


@pytest.fixture
def ring() -> Iterator[ipc.Ring]:
    with ipc.Ring.create(capacity=PAGE, spin=0) as made:
        yield made


# --- messages -----------------------------------------------------------------------------------------------------


def test_messages_come_out_whole_once_and_in_order(ring: ipc.Ring) -> None:
    for round_ in range(200):
        messages = [bytes([round_ % 256]) * size for size in (0, 1, 7, 8, 9, round_)]
        for message in messages:
            ring.writer().write(message)
        assert [ring.reader().read() for _ in messages] == messages
    assert ring.reader().try_read() is None


@pytest.mark.parametrize(
    ("data", "same"),
    [
        (b"", b""),
        (b"bytes", b"bytes"),
        (bytearray(b"bytearray"), b"bytearray"),
        (bytearray(), b""),
        (memoryview(b"memoryview"), b"memoryview"),
        (memoryview(b""), b""),
        (memoryview(b"a-b-c-")[::2], b"abc"),
        (memoryview(b"backwards")[::-1], b"sdrawkcab"),
        (array("i", [1, -1]), array("i", [1, -1]).tobytes()),
        (array("d"), b""),
        (np.arange(6, dtype=np.int16).reshape(2, 3), np.arange(6, dtype=np.int16).tobytes()),
        (np.arange(6, dtype=np.int16).reshape(2, 3).T, np.array([[0, 3], [1, 4], [2, 5]], np.int16).tobytes()),
        (np.arange(10, dtype=np.int64)[::3], np.array([0, 3, 6, 9], np.int64).tobytes()),
        (np.zeros((3, 0)), b""),
        (np.float64(1.5), np.float64(1.5).tobytes()),
    ],
)
def test_anything_bytes_like_can_be_written(ring: ipc.Ring, data: Any, same: bytes) -> None:
    ring.writer().write(data)
    assert ring.writer().try_write(data)
    assert ring.writer().write_many([data, data]) == 2
    taken = [ring.reader().read(), ring.reader().try_read(), *ring.reader().read_many()]
    assert taken == [same] * 4
    assert {type(message) for message in taken} == {bytes}


@pytest.mark.parametrize("data", ["text", None, 7, 1.5, [1, 2], {"a": 1}, object()])
def test_what_is_not_bytes_like_is_a_type_error_that_leads_to_channels(ring: ipc.Ring, data: Any) -> None:
    for put in (ring.writer().write, ring.writer().try_write, lambda data: ring.writer().write_many([data])):
        with pytest.raises(TypeError, match=rf"not {type(data).__name__}; ipc\.channel takes any"):
            put(data)
    assert ring.stats().sent == 0


def test_changing_the_data_after_writing_changes_nothing(ring: ipc.Ring) -> None:
    data = bytearray(b"before")
    ring.writer().write(data)
    data[:] = b"after!"
    assert ring.reader().read() == b"before"
    data += b", and it can be resized"  # nothing holds it


def test_read_only_data_can_be_written(ring: ipc.Ring) -> None:
    frozen = np.arange(4, dtype=np.uint8)
    frozen.flags.writeable = False
    ring.writer().write(frozen)
    assert ring.reader().read() == bytes([0, 1, 2, 3])


@pytest.mark.parametrize("size", [LIMIT, LIMIT - 1, LIMIT - 7, LIMIT - 8])
@pytest.mark.parametrize("offset", [0, 1, 8, 500, LIMIT - 1, LIMIT])
def test_the_largest_message_fits_wherever_the_ring_stands(ring: ipc.Ring, size: int, offset: int) -> None:
    ring.writer().write(bytes(offset))
    ring.reader().read()
    message = bytes(index % 251 for index in range(size))
    assert ring.writer().try_write(message)
    assert ring.reader().read() == message


@pytest.mark.parametrize("capacity", [PAGE, 8 * PAGE, MEBIBYTE, 4 * MEBIBYTE])
def test_the_limit_is_the_capacity_less_16_and_one_byte_more_fails(capacity: int) -> None:
    with ipc.Ring.create(capacity=capacity) as ring:
        message = bytes(capacity - 16)
        assert ring.writer().try_write(message)
        assert ring.reader().read() == message
        with pytest.raises(ipc.MessageTooLargeError):
            ring.writer().write(bytes(capacity - 15))


def test_a_message_too_large_costs_nothing_that_is_there(ring: ipc.Ring) -> None:
    ring.writer().write(b"first")
    for put in (ring.writer().write, ring.writer().try_write):
        with pytest.raises(ipc.MessageTooLargeError):
            put(bytes(LIMIT + 1))
    ring.writer().write(b"second")
    assert ring.reader().read_many() == [b"first", b"second"]
    assert ring.stats().sent == 2


@pytest.mark.parametrize("size", [0, 1, 8, 100, 1000])
def test_a_full_ring_refuses_and_keeps_everything(ring: ipc.Ring, size: int) -> None:
    count = 0
    while ring.writer().try_write(count.to_bytes(2, "big")[:size].ljust(size, b".")):
        count += 1
    assert count == PAGE // (16 + (size + 7) // 8 * 8)
    with pytest.raises(ipc.TimeoutError, match=rf"no room for {size} bytes"):
        ring.writer().write(bytes(size), 0)
    with pytest.raises(ipc.TimeoutError, match=rf"no room for {size} bytes within 0\.0"):
        ring.writer().write(bytes(size), 0.01)
    taken = [ring.reader().read(0) for _ in range(count)]
    assert taken == [index.to_bytes(2, "big")[:size].ljust(size, b".") for index in range(count)]
    assert ring.writer().try_write(bytes(size))


def test_an_empty_ring_says_so(ring: ipc.Ring) -> None:
    nothing = object()
    assert ring.reader().try_read() is None
    assert ring.reader().try_read(nothing) is nothing
    with pytest.raises(ipc.TimeoutError, match="no message within"):
        ring.reader().read(0)
    with pytest.raises(ipc.TimeoutError, match="no message within"):
        ring.reader().read_many(10, 0.01)
    with pytest.raises(ipc.TimeoutError, match="no message within"), ring.reader().peek(0.01):
        pass


# --- batches ------------------------------------------------------------------------------------------------------


def test_a_batch_arrives_as_it_was_written(ring: ipc.Ring) -> None:
    messages = [bytes([size % 256]) * size for size in range(60)]
    assert ring.writer().write_many(iter(messages)) == 60
    assert ring.reader().read_many(7) == messages[:7]
    assert ring.reader().read() == messages[7]
    assert ring.reader().read_many() == messages[8:]


def test_no_messages_are_a_batch_too(ring: ipc.Ring) -> None:
    assert ring.writer().write_many([]) == 0
    assert ring.stats().sent == 0


def test_a_batch_of_empty_messages_is_counted_right(ring: ipc.Ring) -> None:
    assert ring.writer().write_many([b""] * (PAGE // 16), 0) == PAGE // 16
    assert ring.reader().read_many(10**6) == [b""] * (PAGE // 16)


def test_a_batch_that_finds_no_room_says_how_far_it_came(ring: ipc.Ring) -> None:
    messages = [index.to_bytes(2, "big") + bytes(98) for index in range(100)]
    with pytest.raises(ipc.TimeoutError) as caught:
        ring.writer().write_many(messages, 0)
    written = caught.value.written  # type: ignore[attr-defined]
    assert written == PAGE // 120
    assert ring.reader().read_many() == messages[:written]


def test_a_batch_stops_at_a_message_that_can_never_fit(ring: ipc.Ring) -> None:
    with pytest.raises(ipc.MessageTooLargeError, match=f"{LIMIT + 1} bytes") as caught:
        ring.writer().write_many([b"one", b"two", bytes(LIMIT + 1), b"never"], 5)
    assert caught.value.written == 2  # type: ignore[attr-defined]
    assert ring.reader().read_many() == [b"one", b"two"]


def test_a_batch_with_something_that_is_not_bytes_writes_nothing(ring: ipc.Ring) -> None:
    with pytest.raises(TypeError, match="not str"):
        ring.writer().write_many([b"one", "two"])
    assert ring.stats().sent == 0


def test_a_batch_larger_than_the_ring_waits_for_the_reader(ring: ipc.Ring) -> None:
    messages = [index.to_bytes(3, "big") * 30 for index in range(2000)]
    with ThreadPoolExecutor(1) as pool:
        writing = pool.submit(ring.writer().write_many, messages, 60)
        taken: list[bytes] = []
        while len(taken) < len(messages):
            taken += ring.reader().read_many(64, 60)
        assert writing.result() == 2000
    assert taken == messages


def test_a_batch_read_meets_messages_larger_than_its_buffer() -> None:
    with ipc.Ring.create(capacity=4 * MEBIBYTE) as ring:
        large = bytes(range(256)) * (2 * MEBIBYTE // 256)
        ring.writer().write_many([b"small", large, b"last"])
        assert ring.reader().read_many() == [b"small"]
        assert ring.reader().read_many() == [large]
        assert ring.reader().read_many() == [b"last"]


# --- claims -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 1, 8, 100, LIMIT])
def test_a_claim_is_written_at_the_end_of_its_block(ring: ipc.Ring, size: int) -> None:
    message = bytes(index % 251 for index in range(size))
    with ring.writer().claim(size) as memory:
        assert isinstance(memory, memoryview)
        assert (memory.nbytes, memory.readonly, memory.format) == (size, False, "B")
        memory[:] = message
        assert ring.reader().try_read() is None
    assert ring.reader().read() == message


def test_a_claim_whose_block_raises_sends_nothing(ring: ipc.Ring) -> None:
    with pytest.raises(KeyError, match="mine"), ring.writer().claim(100) as memory:  # noqa: PT012
        memory[:] = b"x" * 100
        raise KeyError("mine")
    assert ring.reader().try_read() is None
    assert ring.stats().sent == 0
    ring.writer().write(b"next")
    assert ring.reader().read() == b"next"


def test_a_claim_whose_block_raises_sends_nothing_even_when_an_array_is_kept(ring: ipc.Ring) -> None:
    kept = []
    with pytest.raises(KeyError, match="mine"), ring.writer().claim(100) as memory:  # noqa: PT012
        kept.append(np.frombuffer(memory, np.uint8))
        raise KeyError("mine")
    assert ring.stats().sent == 0


def test_a_claim_waits_for_room(ring: ipc.Ring) -> None:
    ring.writer().write(bytes(LIMIT))
    with pytest.raises(ipc.TimeoutError, match="no room for 1 bytes"), ring.writer().claim(1, 0.01):
        pytest.fail("nothing can be lent")
    ring.reader().read()
    with ring.writer().claim(1, 0) as memory:
        memory[0] = 7
    assert ring.reader().read() == b"\x07"


def test_numpy_can_fill_a_claim(ring: ipc.Ring) -> None:
    def fill(memory: memoryview) -> None:
        np.frombuffer(memory, np.float64)[:] = [1.5, 2.5]

    with ring.writer().claim(16) as memory:
        fill(memory)
    assert np.frombuffer(ring.reader().read(), np.float64).tolist() == [1.5, 2.5]


def test_while_a_claim_is_out_the_writer_does_nothing_else(ring: ipc.Ring) -> None:
    writer = ring.writer()
    with writer.claim(8) as memory:
        memory[:] = b"claimed."
        for use in (
            lambda: writer.write(b"x"),
            lambda: writer.try_write(b"x"),
            lambda: writer.write_many([b"x"]),
            lambda: writer.claim(8).__enter__(),
            writer.close,
            ring.close,
        ):
            with pytest.raises(ipc.BusyError, match="has lent out a claim or a view; end its `with` block first"):
                use()
        assert not writer.closed
    assert ring.reader().read() == b"claimed."


# --- peeks --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 1, 100, LIMIT])
def test_a_peek_shows_the_next_message_and_takes_it_at_the_end(ring: ipc.Ring, size: int) -> None:
    message = bytes(index % 251 for index in range(size))
    ring.writer().write(message)
    with ring.reader().peek() as memory:
        assert isinstance(memory, memoryview)
        assert (memory.nbytes, memory.readonly) == (size, True)
        assert bytes(memory) == message
        assert ring.stats().received == 0
    assert ring.stats().received == 1
    assert ring.reader().try_read() is None


def test_a_peek_whose_block_raises_has_taken_its_message(ring: ipc.Ring) -> None:
    ring.writer().write_many([b"one", b"two"])
    with pytest.raises(KeyError, match="mine"), ring.reader().peek() as memory:  # noqa: PT012
        assert bytes(memory) == b"one"
        raise KeyError("mine")
    assert ring.reader().read() == b"two"


def test_while_a_peek_is_out_the_reader_does_nothing_else(ring: ipc.Ring) -> None:
    ring.writer().write_many([b"one", b"two"])
    reader = ring.reader()
    with reader.peek() as memory:
        for use in (
            reader.read,
            reader.try_read,
            reader.read_many,
            lambda: reader.peek().__enter__(),
            reader.close,
        ):
            with pytest.raises(ipc.BusyError, match="has lent out a claim or a view; end its `with` block first"):
                use()
        assert bytes(memory) == b"one"
    assert reader.read() == b"two"


def test_the_space_of_a_peeked_message_is_the_readers_until_the_end(ring: ipc.Ring) -> None:
    ring.writer().write(b"p" * LIMIT)
    with ring.reader().peek() as memory:
        assert not ring.writer().try_write(b"")
        assert bytes(memory) == b"p" * LIMIT
    assert ring.writer().try_write(b"")


@pytest.mark.parametrize("lend", [lambda ring: ring.writer().claim(8), lambda ring: ring.reader().peek()])
def test_a_view_is_dead_after_its_block(ring: ipc.Ring, lend: Callable[[ipc.Ring], Any]) -> None:
    ring.writer().write(b"message.")
    with lend(ring) as memory:
        pass
    with pytest.raises(ValueError, match="released"):
        bytes(memory)
    with pytest.raises(ValueError, match="released"):
        memory[0]


@pytest.mark.parametrize(
    "keep", [lambda view: np.frombuffer(view, np.uint8), lambda view: view[1:]], ids=["array", "slice"]
)
@pytest.mark.parametrize("lend", [lambda ring: ring.writer().claim(8), lambda ring: ring.reader().peek()])
def test_something_kept_beyond_the_block_is_detected_and_never_a_crash(
    lend: Callable[[ipc.Ring], Any], keep: Callable[[memoryview], Any]
) -> None:
    ring = ipc.Ring.create(capacity=PAGE)
    ring.writer().write(b"message.")
    with (
        pytest.raises(ipc.BusyError, match=r"still alive after its `with`.*copy what you want to keep"),
        lend(ring) as memory,
    ):
        kept = keep(memory)
    sent, received = ring.stats().sent, ring.stats().received
    assert (sent, received) in {(1, 0), (1, 1)}  # the claim was not written, the peeked message was taken
    ring.close()
    del ring, memory
    gc.collect()
    assert len(bytes(kept)) in {7, 8}  # the memory is still there
    kept = None


def test_an_array_made_from_an_array_counts_as_kept(ring: ipc.Ring) -> None:
    ring.writer().write(b"message.")
    with pytest.raises(ipc.BusyError, match="still alive"), ring.reader().peek() as memory:
        kept = np.frombuffer(memory, np.uint8).reshape(2, 4)[1]
    assert kept.shape == (4,)
    copies = []
    ring.writer().write(b"message.")
    with ring.reader().peek() as memory:
        copies.append(np.frombuffer(memory, np.uint8).copy())
        copies.append(np.array(bytes(memory)))
    assert bytes(copies[0]) == b"message."


def test_what_is_lent_is_the_memory_of_the_ring_itself(ring: ipc.Ring) -> None:
    with ring.writer().claim(8) as memory:
        written_at = np.frombuffer(memory, np.uint8).ctypes.data
    with ring.reader().peek() as memory:
        read_at = np.frombuffer(memory, np.uint8).ctypes.data
    assert read_at == written_at
    assert written_at % 8 == 0


def test_a_handle_that_is_forgotten_while_lent_keeps_the_memory_of_its_views() -> None:
    ring = ipc.Ring.create(capacity=PAGE)
    ring.writer().write(b"message.")
    view = ring.reader().peek().__enter__()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        del ring
        gc.collect()
    assert bytes(view) == b"message."
    del view


# --- the handle ---------------------------------------------------------------------------------------------------


def test_a_ring_can_be_attached_by_name_and_shares_its_messages(name: str) -> None:
    with ipc.Ring.create(name, capacity=PAGE) as here, ipc.Ring.attach(name) as there:
        assert here.name == there.name == name
        here.writer().write(b"to there")
        assert there.reader().read() == b"to there"


def test_a_ring_gives_the_same_ends_every_time(ring: ipc.Ring) -> None:
    assert ring.writer() is ring.writer()
    assert ring.reader() is ring.reader()
    assert ring.name is None


def test_reading_goes_on_after_the_writer_closed_and_then_ends(ring: ipc.Ring) -> None:
    ring.writer().write_many([b"one", b"two", b"three"])
    ring.writer().close()
    assert ring.reader().read() == b"one"
    assert list(ring.reader()) == [b"two", b"three"]
    for use in (ring.reader().read, ring.reader().read_many, lambda: ring.reader().peek().__enter__()):
        with pytest.raises(ipc.EndOfChannel, match="closed cleanly"):
            use()


def test_polling_ends_as_well_once_the_writer_closed(ring: ipc.Ring) -> None:
    ring.writer().write(b"last")
    ring.writer().close()
    assert ring.reader().try_read() == b"last"
    with pytest.raises(ipc.EndOfChannel):  # noqa: PT012
        while ring.reader().try_read() is None:
            pass


def test_a_writer_without_reader_says_so_once_it_must_wait(ring: ipc.Ring) -> None:
    ring.reader().try_read()
    ring.reader().close()
    with pytest.raises(ipc.EndOfChannel):  # noqa: PT012
        for _ in range(PAGE):
            ring.writer().write(b"", 60)
    with pytest.raises(ipc.EndOfChannel):  # noqa: PT012
        while True:
            ring.writer().try_write(b"")


RING_CALLS: dict[str, Callable[[ipc.RingWriter, ipc.RingReader], Any]] = {
    "write": lambda writer, reader: writer.write(b"x"),
    "try_write": lambda writer, reader: writer.try_write(b"x"),
    "write_many": lambda writer, reader: writer.write_many([b"x"]),
    "claim": lambda writer, reader: writer.claim(1).__enter__(),
    "flush": lambda writer, reader: writer.flush(),
    "writer stats": lambda writer, reader: writer.stats(),
    "writer unlink": lambda writer, reader: writer.unlink(),
    "read": lambda writer, reader: reader.read(),
    "try_read": lambda writer, reader: reader.try_read(),
    "read_many": lambda writer, reader: reader.read_many(),
    "peek": lambda writer, reader: reader.peek().__enter__(),
    "iteration": lambda writer, reader: list(reader),
    "reader stats": lambda writer, reader: reader.stats(),
}


@pytest.mark.parametrize("used", [False, True], ids=["unused", "used"])
@pytest.mark.parametrize("call", RING_CALLS.values(), ids=RING_CALLS)
def test_a_closed_ring_says_who_closed_it(call: Callable[[ipc.RingWriter, ipc.RingReader], Any], used: bool) -> None:
    ring = ipc.Ring.create(capacity=PAGE)
    writer, reader = ring.writer(), ring.reader()
    if used:
        writer.write(b"unread")
        reader.try_read()
    ring.close()
    ring.close()
    with pytest.raises(ipc.ClosedError, match="is closed: it was closed here"):
        call(writer, reader)
    assert (writer.closed, reader.closed) == (True, True)


def test_a_closed_ring_has_neither_stats_nor_name(ring: ipc.Ring) -> None:
    ring.close()
    for use in (ring.stats, ring.unlink, lambda: ring.name, lambda: ring.capacity):
        with pytest.raises(ipc.ClosedError, match="is closed"):
            use()
    assert repr(ring) == "<ring, closed>"


def test_the_reprs_tell_what_a_handle_is_and_whether_it_is_used(name: str) -> None:
    with ipc.Ring.create(name, capacity=PAGE) as ring:
        assert repr(ring) == f"<ring {name!r}, capacity {PAGE}>"
        assert repr(ring.writer()) == f"<writer of ring {name!r}, not used yet>"
        ring.writer().write(b"x")
        assert ring.reader().read() == b"x"
        assert repr(ring.reader()) == f"<reader of ring {name!r}, in use>"
    assert repr(ring.reader()) == f"<reader of ring {name!r}, closed>"


BLOCKING: dict[str, Callable[[ipc.Ring], Any]] = {
    "read": lambda ring: ring.reader().read(60),
    "read_many": lambda ring: ring.reader().read_many(10, 60),
    "peek": lambda ring: ring.reader().peek(60).__enter__(),
    "iteration": lambda ring: list(ring.reader()),
    "write": lambda ring: ring.writer().write(b"x", 60),
    "write_many": lambda ring: ring.writer().write_many([b"x"], 60),
    "claim": lambda ring: ring.writer().claim(1, 60).__enter__(),
    "flush": lambda ring: ring.writer().flush(60),
}


@pytest.mark.parametrize("call", BLOCKING)
def test_closing_wakes_a_blocked_call_with_closed_error(
    ring: ipc.Ring, call: str, parked: Callable[[Any], bool], eventually: Callable[[Callable[[], object]], None]
) -> None:
    reading = call in {"read", "read_many", "peek", "iteration"}
    end: ipc.RingReader | ipc.RingWriter = ring.reader() if reading else ring.writer()
    if not reading:
        ring.writer().write(bytes(LIMIT))
    with ThreadPoolExecutor(1) as pool:
        blocked = pool.submit(BLOCKING[call], ring)
        eventually(lambda: blocked.done() or parked(end))
        end.close()
        with pytest.raises(ipc.ClosedError, match="is closed: it was closed here"):
            blocked.result()


@pytest.mark.parametrize("call", BLOCKING)
def test_a_second_thread_gets_busy_error_while_the_first_is_blocked(
    ring: ipc.Ring, call: str, parked: Callable[[Any], bool], eventually: Callable[[Callable[[], object]], None]
) -> None:
    reading = call in {"read", "read_many", "peek", "iteration"}
    end: ipc.RingReader | ipc.RingWriter = ring.reader() if reading else ring.writer()
    if not reading:
        ring.writer().write(bytes(LIMIT))
    with ThreadPoolExecutor(1) as pool:
        blocked = pool.submit(BLOCKING[call], ring)
        try:
            eventually(lambda: blocked.done() or parked(end))
            for name, other in BLOCKING.items():
                if (name in {"read", "read_many", "peek", "iteration"}) == reading:
                    with pytest.raises(ipc.BusyError, match="in use by another thread"):
                        other(ring)
        finally:
            end.close()
        assert isinstance(blocked.exception(), ipc.ClosedError)

"""Where leases have no end: messages are looked at where they lie, and space is given back out of order.

Without an end a lease lasts until its holder acknowledges, gives back or dies, so nobody writes over what it looks at.
"""

from __future__ import annotations

import queue as standard
import re
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import ipc

LONG = 30.0
PAGE = 4096

Reliable = ipc.ReliableQueue[Any]


@pytest.fixture
def q() -> Iterator[Reliable]:
    with Reliable(lease=None) as made:
        yield made


LENDABLE: dict[str, Any] = {
    "bytes": b"some bytes",
    "no bytes": b"",
    "many bytes": bytes(range(256)) * 100,
    "array": np.arange(12.0).reshape(3, 4),
    "Fortran": np.asfortranarray(np.arange(12).reshape(3, 4)),
    "large array": np.arange(20_000, dtype="i4"),
    "records": np.array([(1, 2.5), (3, 4.5)], [("a", "i4"), ("b", "f8")]),
    "0-d": np.array(7),
}


def plain(message: Any) -> Any:
    return message.tolist() if isinstance(message, np.ndarray) else bytes(message)


# --- views --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("message", LENDABLE.values(), ids=LENDABLE)
def test_a_view_shows_the_message_where_it_lies(q: Reliable, message: Any) -> None:
    q.put("something before it")
    q.get().ack()
    q.put(message)
    delivery = q.get(LONG)
    with delivery.view() as lent:
        assert plain(lent) == plain(message)
        assert isinstance(lent, np.ndarray if isinstance(message, np.ndarray) else memoryview)
        if isinstance(lent, np.ndarray):
            assert (lent.dtype, lent.shape) == (message.dtype, message.shape)
            assert not lent.flags.owndata
    delivery.ack()
    assert q.stats().acknowledged == 2


@pytest.mark.parametrize("message", [b"bytes", np.arange(3)])
def test_a_view_can_not_be_written(q: Reliable, message: Any) -> None:
    q.put(message)
    with q.get() as delivery, delivery.view() as lent:
        with pytest.raises((TypeError, ValueError)):
            lent[0] = 1
        if isinstance(lent, np.ndarray):
            with pytest.raises(ValueError, match="WRITEABLE"):
                lent.flags.writeable = True


def test_a_message_may_be_viewed_and_read(q: Reliable) -> None:
    q.put(np.arange(5000))
    with q.get() as delivery:
        with delivery.view() as lent:
            total = int(lent.sum())
        with delivery.view() as again:
            assert int(again.sum()) == total
        assert int(delivery.message.sum()) == total
    assert int(delivery.message.sum()) == total


@pytest.mark.parametrize("size", [10, 5000])
def test_a_message_that_was_only_viewed_is_gone_after_the_ack(q: Reliable, size: int) -> None:
    q.put(np.arange(size))
    with q.get() as delivery, delivery.view():
        pass
    if size > 1000:  # a small one was copied in any case
        with pytest.raises(ipc.LeaseLostError, match="viewed only"):
            _ = delivery.message
    with pytest.raises(ipc.LeaseLostError), delivery.view():
        pass


def test_a_message_that_was_not_looked_at_before_the_ack_can_still_be_read(q: Reliable) -> None:
    q.put(np.arange(5000))
    delivery = q.get()
    delivery.ack()
    q.put(np.zeros(5000, "i8"))
    assert delivery.message.tolist() == list(range(5000))


def test_a_nacked_message_that_was_not_looked_at_is_gone(q: Reliable) -> None:
    q.put(np.arange(5000))
    delivery = q.get()
    delivery.nack()
    with pytest.raises(ipc.LeaseLostError):
        _ = delivery.message


def test_a_message_of_a_closed_queue_that_was_not_looked_at_is_gone() -> None:
    """Closing gave it back, and somebody else may have it."""
    with Reliable(lease=None) as q:
        q.put(b"x" * 50_000)
        delivery = q.get()
    for use in (lambda: delivery.message, delivery.ack, delivery.nack, delivery.view().__enter__):
        with pytest.raises((ipc.ClosedError, ipc.LeaseLostError)):
            use()


ENDS: dict[str, Callable[[Any], None]] = {
    "ack": lambda delivery: delivery.ack(),
    "nack": lambda delivery: delivery.nack(),
}


@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS)
def test_a_message_can_not_be_ended_under_its_view(q: Reliable, end: Callable[[Any], None]) -> None:
    """Its memory would be written anew under the reader's eyes."""
    q.put(np.arange(5000))
    with q.get() as delivery:
        with delivery.view() as lent:
            with pytest.raises(ipc.BusyError, match="view"):
                end(delivery)
            assert lent.tolist() == list(range(5000))
        end(delivery)


def test_a_queue_can_not_be_closed_under_a_view(q: Reliable) -> None:
    q.put(b"x" * 20_000)
    with q.get() as delivery:
        with delivery.view() as lent:
            with pytest.raises(ipc.BusyError, match="view"):
                q.close()
            assert lent == b"x" * 20_000
        assert not q.closed


def test_what_outlives_its_view_is_told(q: Reliable) -> None:
    q.put(np.arange(10))
    kept = []
    with q.get() as delivery:
        with pytest.raises(ipc.BusyError, match="still alive"), delivery.view() as lent:
            kept.append(lent[2:5])
        assert kept[0].tolist() == [2, 3, 4]
        kept.clear()


def test_an_error_in_a_view_ends_the_view(q: Reliable) -> None:
    q.put(b"x" * 100)
    with q.get() as delivery:
        with pytest.raises(LookupError), delivery.view():
            raise LookupError
        assert delivery.message == b"x" * 100


def test_a_pickle_can_not_be_viewed(q: Reliable) -> None:
    q.put({"a": 1})
    with q.get() as delivery, pytest.raises(TypeError, match="is a pickle"), delivery.view():
        pass


def test_a_lease_that_can_run_out_can_not_be_viewed() -> None:
    with Reliable(lease=2.5) as q:
        q.put(b"bytes")
        with (
            q.get() as delivery,
            pytest.raises(TypeError, match=re.escape("lease=2.5: only with lease=None")),
            delivery.view(),
        ):
            pass


@pytest.mark.parametrize("size", [10, 20_000])
def test_what_accept_leaves_out_can_not_be_viewed_either(name: str, size: int) -> None:
    with Reliable(name, lease=None, max_deliveries=1) as tx, Reliable.attach(name, accept=["bytes"]) as rx:
        tx.put(np.zeros(size))
        tx.put(b"y" * size)
        with pytest.raises(ipc.RefusedEncodingError, match="it was given back"):
            rx.get(LONG)
        with rx.get(LONG) as delivery, delivery.view() as lent:
            assert lent == b"y" * size
        tx.purge()


# --- one message that is held for long ----------------------------------------------------------------------------


def test_a_message_held_for_long_blocks_the_space_behind_it_and_the_error_names_it() -> None:
    import os

    with Reliable(capacity=PAGE) as q:
        held_receipt = q.put(b"0" * 900)
        held = q.get()

        def go_on() -> None:
            for _ in range(100):
                q.put(b"x" * 900, timeout=0)
                q.get().ack()

        with pytest.raises(standard.Full) as caught:
            go_on()
        text = str(caught.value)
        assert f"message {held_receipt.id}, put " in text
        assert f"is held by process {os.getpid()}" in text
        assert re.search(r"put \d+\.\d s ago", text)
        (lane,) = q.stats().lanes
        assert (lane.blocking_id, lane.blocking_pid) == (held_receipt.id, os.getpid())
        assert lane.blocking_seconds > 0
        held.ack()
        q.put(b"x" * 900, timeout=LONG)
        assert q.stats().lanes[0].blocking_id == 0


def test_a_kept_message_is_named_as_what_blocks() -> None:
    with Reliable(capacity=PAGE, max_deliveries=1) as q:
        receipt = q.put(b"0" * 2500)
        q.get().nack()
        with pytest.raises(
            standard.Full, match=f"message {receipt.id} was given up, and waits to be requeued or purged"
        ):
            q.put(b"x" * 2500, timeout=0)
        q.purge()
        q.put(b"x" * 2500, timeout=0)


def test_a_full_queue_that_nobody_reads_says_so() -> None:
    with Reliable(capacity=PAGE) as q:
        q.put(b"0" * 2500)
        with pytest.raises(standard.Full, match="consumers don't keep up"):
            q.put(b"x" * 2500, timeout=0)


def test_out_of_order_a_message_held_for_long_blocks_nobody() -> None:
    with Reliable(ordered=False, capacity=PAGE) as q:
        held_receipt = q.put(b"0" * 900)
        held = q.get()
        for number in range(200):
            q.put(b"%d" % number + b"x" * 900, timeout=0)
            with q.get(LONG) as delivery:
                assert delivery.message.startswith(b"%d" % number)
        assert 1 < len(q.stats().lanes) <= 4
        held.ack()
        assert held_receipt.done()


def test_out_of_order_needs_no_more_lanes_than_there_are() -> None:
    with Reliable(ordered=False, capacity=PAGE, lanes=2) as q:
        held = []
        for number in range(2):
            q.put(b"%d" % number * 3000, timeout=0)
            held.append(q.get())
        with pytest.raises(standard.Full):
            q.put(b"x" * 3000, timeout=0)
        held[1].ack()
        q.put(b"x" * 3000, timeout=0)
        assert len(q.stats().lanes) == 2

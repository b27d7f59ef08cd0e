"""The ends of a channel as things: closed by either side, used by threads, copied, counted."""

from __future__ import annotations

import copy
import gc
import os
import pickle
import threading
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

import ipc

PAGE = 4096
LIMIT = PAGE - 16

Ends = tuple[ipc.Sender[Any], ipc.Receiver[Any]]


# --- the end of a channel -----------------------------------------------------------------------------------------


def test_iterating_gives_every_message_and_ends_when_the_sender_closed(ends: Ends) -> None:
    tx, rx = ends
    for index in range(20):
        tx.send(index)
    tx.close()
    assert list(rx) == list(range(20))
    assert list(rx) == []
    with pytest.raises(ipc.EndOfChannel):
        rx.recv()
    with pytest.raises(EOFError):
        rx.recv(0)


def test_a_blocked_receiver_ends_when_the_sender_closes(
    ends: Ends, parked: Callable[[Any], bool], eventually: Callable[[Callable[[], object]], None]
) -> None:
    tx, rx = ends
    tx.send(b"only")
    with ThreadPoolExecutor(1) as pool:
        everything = pool.submit(list, rx)
        eventually(lambda: parked(rx))
        tx.close()
        assert everything.result() == [b"only"]


def test_a_blocked_sender_ends_when_the_receiver_closes(
    ends: Ends, parked: Callable[[Any], bool], eventually: Callable[[Callable[[], object]], None]
) -> None:
    tx, rx = ends
    rx.try_recv()
    tx.send(bytes(LIMIT))
    with ThreadPoolExecutor(1) as pool:
        blocked = pool.submit(tx.send, b"x", timeout=60)
        eventually(lambda: parked(tx))
        rx.close()
        with pytest.raises(ipc.EndOfChannel, match="closed cleanly"):
            blocked.result()


def test_a_receiver_whose_sender_was_never_used_and_is_gone_ends() -> None:
    tx, rx = ipc.channel(capacity=PAGE)
    with rx:
        tx.close()
        assert list(rx) == []


def test_a_named_channel_awaits_a_sender_that_is_not_there_yet(name: str) -> None:
    tx, rx = ipc.channel(name, capacity=PAGE)
    with rx:
        tx.close()
        with pytest.raises(ipc.TimeoutError):
            rx.recv(0.01)
        with ipc.Sender.attach(name) as late:
            late.send("late")
            assert rx.recv() == "late"


def test_a_closed_end_cannot_be_taken_again(name: str) -> None:
    tx, rx = ipc.channel(name, capacity=PAGE)
    with tx, rx, ipc.Sender.attach(name) as second:
        tx.send(b"last")
        tx.close()
        for send in (second.send, second.try_send):
            with pytest.raises(ipc.EndOfChannel):
                send(b"more")
        assert list(rx) == [b"last"]


def test_an_end_has_one_user_at_a_time(name: str) -> None:
    tx, rx = ipc.channel(name, capacity=PAGE)
    with tx, rx, ipc.Sender.attach(name) as other_tx, ipc.Receiver.attach(name) as other_rx:
        tx.send("first")
        with pytest.raises(ipc.BusyError, match=f"in use by process {os.getpid()}.*close it there first"):
            other_tx.send("second")
        assert other_rx.recv() == "first"
        for take in (rx.recv, rx.try_recv, lambda: next(rx)):
            with pytest.raises(ipc.BusyError, match="one user at a time"):
                take()


# --- closing ------------------------------------------------------------------------------------------------------

CALLS: dict[str, Callable[[ipc.Sender[Any], ipc.Receiver[Any]], Any]] = {
    "send": lambda tx, rx: tx.send(b"x"),
    "send pickled": lambda tx, rx: tx.send("x"),
    "send with timeout": lambda tx, rx: tx.send(b"x", timeout=0),
    "try_send": lambda tx, rx: tx.try_send(b"x"),
    "flush": lambda tx, rx: tx.flush(),
    "sender stats": lambda tx, rx: tx.stats(),
    "sender unlink": lambda tx, rx: tx.unlink(),
    "recv": lambda tx, rx: rx.recv(),
    "recv with timeout": lambda tx, rx: rx.recv(0),
    "try_recv": lambda tx, rx: rx.try_recv(),
    "next": lambda tx, rx: next(rx),
    "iteration": lambda tx, rx: list(rx),
    "receiver stats": lambda tx, rx: rx.stats(),
    "receiver unlink": lambda tx, rx: rx.unlink(),
}


@pytest.mark.parametrize("used", [False, True], ids=["unused", "used"])
@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_after_close_every_call_says_that_it_is_closed(call: Callable[..., Any], used: bool) -> None:
    tx, rx = ipc.channel(capacity=PAGE)
    if used:
        tx.send(b"unread")
        tx.send(b"unread")
        rx.recv()
    for _ in range(3):
        tx.close()
        rx.close()
    assert (tx.closed, rx.closed) == (True, True)
    with pytest.raises(ipc.ClosedError, match="is closed: it was closed here"):
        call(tx, rx)


def test_with_closes_at_the_end_also_after_an_error() -> None:
    tx, rx = ipc.channel(capacity=PAGE)
    with rx:
        with pytest.raises(KeyError), tx as same:  # noqa: PT012
            assert same is tx
            tx.send("sent before")
            raise KeyError
        assert tx.closed
        assert list(rx) == ["sent before"]
    assert rx.closed


@pytest.mark.parametrize("end", ["receiver", "sender", "flush"])
def test_closing_from_another_thread_wakes_with_closed_error(
    ends: Ends, end: str, parked: Callable[[Any], bool], eventually: Callable[[Callable[[], object]], None]
) -> None:
    tx, rx = ends
    handle: Any = rx if end == "receiver" else tx
    if end != "receiver":
        tx.send(bytes(LIMIT))
    calls = {"receiver": rx.recv, "sender": lambda: tx.send(b"x"), "flush": tx.flush}
    with ThreadPoolExecutor(1) as pool:
        blocked = pool.submit(calls[end])
        eventually(lambda: parked(handle))
        handle.close()
        with pytest.raises(ipc.ClosedError, match="is closed: it was closed here"):
            blocked.result()


def test_both_ends_can_be_closed_at_once_from_two_threads() -> None:
    for _ in range(300):
        tx, rx = ipc.channel(capacity=PAGE, spin=0)
        tx.send(b"x")
        rx.recv()
        start = threading.Barrier(3)
        with ThreadPoolExecutor(3) as pool:
            done = [pool.submit(lambda end: (start.wait(), end.close()), end) for end in (tx, rx, tx)]  # noqa: B023
            for future in done:
                future.result()


def test_closing_while_another_thread_streams_is_never_a_crash() -> None:
    def stream(tx: ipc.Sender[Any]) -> type[BaseException]:
        try:
            while True:
                tx.try_send(b"x" * 100)
                tx.try_send(["x"])
        except (ipc.ClosedError, ipc.BusyError) as error:
            return type(error)

    for _ in range(50):
        tx, rx = ipc.channel(capacity=PAGE, spin=0)
        with rx, ThreadPoolExecutor(1) as pool:
            streaming = pool.submit(stream, tx)
            for _ in range(20):
                rx.recv(60)
            tx.close()
            assert issubclass(streaming.result(), ipc.ClosedError)


# --- threads ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("side", ["receiver", "sender"])
def test_a_second_thread_gets_busy_error_while_one_is_blocked(
    ends: Ends, side: str, parked: Callable[[Any], bool], eventually: Callable[[Callable[[], object]], None]
) -> None:
    tx, rx = ends
    with ThreadPoolExecutor(1) as pool:
        if side == "receiver":
            blocked: Any = pool.submit(rx.recv, 60)
            eventually(lambda: parked(rx))
            calls: list[Callable[[], Any]] = [rx.recv, lambda: rx.recv(0), rx.try_recv, lambda: next(rx)]
        else:
            tx.send(bytes(LIMIT))
            blocked = pool.submit(tx.send, b"last", timeout=60)
            eventually(lambda: parked(tx))
            calls = [
                lambda: tx.send(b"x"),
                lambda: tx.send("x", timeout=0),
                lambda: tx.try_send(b""),
                lambda: tx.flush(0),
            ]
        for call in calls:
            with pytest.raises(ipc.BusyError, match="in use by another thread of this process"):
                call()
        assert tx.stats().kind == "channel"  # looking is always allowed
        if side == "receiver":
            tx.send(b"woken")
            assert blocked.result() == b"woken"
        else:
            rx.recv()
            blocked.result()
            assert rx.recv() == b"last"


def test_an_end_may_go_from_thread_to_thread(ends: Ends) -> None:
    tx, rx = ends
    rounds, each = 100, 5

    def produce(my_turn: threading.Semaphore, their_turn: threading.Semaphore, first: int) -> None:
        for start in range(first, rounds, 2):
            my_turn.acquire()
            for index in range(start * each, (start + 1) * each):
                tx.send(index, timeout=60)
            their_turn.release()

    a, b = threading.Semaphore(1), threading.Semaphore(0)
    with ThreadPoolExecutor(2) as pool:
        producing = [pool.submit(produce, a, b, 0), pool.submit(produce, b, a, 1)]
        assert [rx.recv(60) for _ in range(rounds * each)] == list(range(rounds * each))
        for future in producing:
            future.result()


def test_the_receiving_end_may_go_from_thread_to_thread(ends: Ends) -> None:
    tx, rx = ends
    lock = threading.Lock()
    taken: list[int] = []

    def consume() -> None:
        while True:
            with lock:
                message = rx.recv(60)
                taken.append(message)
            if message >= 499:
                return

    with ThreadPoolExecutor(2) as pool:
        consuming = [pool.submit(consume), pool.submit(consume)]
        for index in range(501):
            tx.send(index, timeout=60)
        for future in consuming:
            future.result()
    assert taken == list(range(501))


def test_two_threads_that_fight_over_an_end_lose_nothing(ends: Ends) -> None:
    tx, rx = ends

    def produce(first: int) -> int:
        busy = 0
        for index in range(first, 1000, 2):
            while True:
                try:
                    tx.send(index, timeout=60)
                except ipc.BusyError:
                    busy += 1
                else:
                    break
        return busy

    with ThreadPoolExecutor(2) as pool:
        producing = [pool.submit(produce, first) for first in (0, 1)]
        taken = [rx.recv(60) for _ in range(1000)]
        for future in producing:
            future.result()
    assert sorted(taken) == list(range(1000))
    assert [index for index in taken if index % 2 == 0] == list(range(0, 1000, 2))
    assert [index for index in taken if index % 2 == 1] == list(range(1, 1000, 2))


# --- handles as objects -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("duplicate", [pickle.dumps, copy.copy, copy.deepcopy], ids=["pickle", "copy", "deepcopy"])
def test_a_handle_cannot_be_copied_except_into_a_new_process(ends: Ends, duplicate: Callable[[Any], Any]) -> None:
    for handle in ends:
        with pytest.raises(ipc.HandOverError, match=r"argument of a process.*give it a name= and attach"):
            duplicate(handle)
    with ipc.Ring.create(capacity=PAGE) as ring:
        for made in (ring, ring.writer(), ring.reader()):
            with pytest.raises(ipc.HandOverError, match=r"argument of a process"):
                duplicate(made)


def test_sending_a_handle_through_a_channel_is_refused_and_sends_nothing(ends: Ends) -> None:
    tx, rx = ends
    with pytest.raises(ipc.HandOverError):
        tx.send({"the other end": rx})
    assert tx.stats().sent == 0


def test_a_used_end_that_is_forgotten_warns_and_closes() -> None:
    tx, rx = ipc.channel(capacity=PAGE)
    with rx:
        tx.send(b"last words")
        with pytest.warns(ResourceWarning, match=r"sender of channel was never closed; use `with`, or close\(\)"):  # noqa: PT031
            del tx
            gc.collect()
        assert list(rx) == [b"last words"]


def test_an_unused_end_may_be_forgotten() -> None:
    tx, rx = ipc.channel(capacity=PAGE)
    ring = ipc.Ring.create(capacity=PAGE)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        del tx, rx, ring
        gc.collect()


def test_the_reprs_tell_what_a_handle_is_and_whether_it_is_used(ends: Ends, name: str) -> None:
    tx, rx = ends
    assert repr(tx) == "<sender of channel, not used yet>"
    tx.send(b"x")
    assert repr(tx) == "<sender of channel, in use>"
    assert repr(rx) == "<receiver of channel, not used yet>"
    rx.close()
    assert repr(rx) == "<receiver of channel, closed>"
    named_tx, named_rx = ipc.channel(name, capacity=PAGE)
    with named_tx, named_rx:
        assert repr(named_rx) == f"<receiver of channel {name!r}, not used yet>"
        assert str(named_rx) == f"receiver of channel {name!r}"


def test_handles_have_no_attributes_of_the_users(ends: Ends) -> None:
    for handle in ends:
        with pytest.raises(AttributeError):
            handle.anything = 1  # type: ignore[union-attr]


def test_classes_of_ends_can_be_subscripted_for_type_checkers() -> None:
    assert ipc.Sender[int] is not None
    assert ipc.Receiver[str] is not None


def test_many_channels_can_be_open_at_once() -> None:
    channels = [ipc.channel(capacity=PAGE) for _ in range(100)]
    for index, (tx, _) in enumerate(channels):
        tx.send(index)
    assert [rx.recv() for _, rx in channels] == list(range(100))
    for tx, rx in channels:
        tx.close()
        rx.close()


# --- stats --------------------------------------------------------------------------------------------------------


def test_stats_count_messages_and_payload_bytes_exactly(ends: Ends) -> None:
    tx, rx = ends
    sent = received = sent_bytes = received_bytes = 0
    sizes = [0, 1, 8, 100, 255]
    for round_ in range(100):
        for size in sizes[: round_ % 5 + 1]:
            tx.send(bytes(size))
            sent, sent_bytes = sent + 1, sent_bytes + size
        while rx.stats().depth > round_ % 7:
            received, received_bytes = received + 1, received_bytes + len(rx.recv())
        for stats in (tx.stats(), rx.stats()):
            assert (stats.sent, stats.received, stats.depth) == (sent, received, sent - received)
            assert (stats.bytes, stats.bytes_received) == (sent_bytes, received_bytes)


def test_stats_of_pickled_messages_count_the_pickles(ends: Ends) -> None:
    tx, rx = ends
    obj = {"some": ["object"]}
    tx.send(obj)
    rx.recv()
    assert tx.stats().bytes == rx.stats().bytes_received == len(pickle.dumps(obj, protocol=5))


def test_stats_tell_who_uses_an_end(name: str) -> None:
    tx, rx = ipc.channel(name, capacity=PAGE)
    with tx, rx:
        for participant in tx.stats().participants:
            assert (participant.pid, participant.state) == (0, "untaken")
            assert (participant.alive, participant.claimed) == (False, True)
        tx.send(b"x")
        sender, receiver = rx.stats().participants
        assert (sender.role, receiver.role) == ("sender", "receiver")
        assert (sender.pid, sender.state, sender.alive) == (os.getpid(), "taken", True)
        assert (receiver.state, receiver.alive) == ("untaken", False)
        tx.close()
        sender, receiver = rx.stats().participants
        assert (sender.pid, sender.state, sender.alive, sender.claimed) == (os.getpid(), "closed", False, False)
        stats = rx.stats()
        assert (stats.name, stats.kind, stats.capacity) == (name, "channel", PAGE)
        assert (stats.attached, stats.creator_pid) == (True, os.getpid())
        assert rx.recv() == b"x"


def test_stats_tell_the_most_that_was_in_the_ring(ends: Ends) -> None:
    tx, rx = ends
    tx.send(bytes(1000))
    tx.send(bytes(1000))
    rx.recv()
    rx.recv()
    tx.send(bytes(8))
    rx.recv()
    assert tx.stats().high_water == 2 * 1016


def test_stats_tell_how_long_each_side_has_slept(
    ends: Ends, parked: Callable[[Any], bool], eventually: Callable[[Callable[[], object]], None]
) -> None:
    tx, rx = ends
    assert tx.stats().blocked_seconds == 0
    with pytest.raises(ipc.TimeoutError):
        rx.recv(0.03)
    stats = tx.stats()
    assert stats.receiver_blocked_seconds > 0
    assert stats.sender_blocked_seconds == 0
    tx.send(bytes(LIMIT))
    with pytest.raises(ipc.TimeoutError):
        tx.send(b"", timeout=0.03)
    stats = tx.stats()
    assert stats.sender_blocked_seconds > 0
    assert stats.blocked_seconds == stats.sender_blocked_seconds + stats.receiver_blocked_seconds


def test_a_record_of_stats_cannot_be_changed(ends: Ends) -> None:
    stats = ends[0].stats()
    with pytest.raises(AttributeError):
        stats.sent = 5  # type: ignore[misc]

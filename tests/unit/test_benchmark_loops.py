"""The timed loops of batches and arrays: which calls of a peer they use, how often, and what they notice."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

from benchmarks import arrays, batches
from benchmarks.messages import payload
from benchmarks.peers import Link, ReceiveEnd, SendEnd, ipc_channel
from benchmarks.plan import Case, Ends

COUNT = 600  # two batches of 256, and a rest
MESSAGE = payload(64)
ARRAY = np.ones(8)


def case(way: str) -> Case:
    return Case("case", 64, 1 << 20, way=way)


def sending(end: SendEnd) -> Ends:
    return Ends([end], [])


def receiving(end: ReceiveEnd) -> Ends:
    return Ends([], [end])


def never(*_: object) -> Any:
    raise NotImplementedError("this way does not call it")


# --- batches --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["many", "iterate"])
@pytest.mark.parametrize(("count", "sizes"), [(600, [256, 256, 88]), (512, [256, 256]), (3, [3])])
def test_batches_leave_in_full_ones_and_a_rest(way: str, count: int, sizes: list[int]) -> None:
    sent: list[Sequence[bytes]] = []
    result = batches.send_all(case(way), sending(SendEnd(never, send_many=sent.append)), count, False)
    assert [len(batch) for batch in sent if batch] == sizes
    assert {message for batch in sent for message in batch} == {MESSAGE}
    assert result["start_ns"] <= result["end_ns"]


@pytest.mark.parametrize(("way", "send_many"), [("single", never), ("many", None), ("iterate", None)])
def test_messages_leave_one_by_one_where_that_is_asked_or_there_is_nothing_else(
    way: str, send_many: Callable[[Sequence[bytes]], object] | None
) -> None:
    sent: list[bytes] = []
    batches.send_all(case(way), sending(SendEnd(sent.append, send_many=send_many)), COUNT, False)
    assert sent == [MESSAGE] * COUNT


def test_no_batch_is_asked_to_hold_more_than_is_left() -> None:
    asked: list[int] = []

    def recv_many(most: int) -> list[bytes]:
        asked.append(most)
        return [MESSAGE] * min(most, 250)  # a receiver may give less than it was asked for

    batches.receive_all(case("many"), receiving(ReceiveEnd(never, recv_many=recv_many)), COUNT, True)
    assert asked == [256, 256, 100]


def test_iteration_takes_as_many_as_there_are_and_leaves_the_rest() -> None:
    messages = iter([MESSAGE] * COUNT + [b"the next round's"])
    end = ReceiveEnd(never, recv_many=never, messages=messages)
    batches.receive_all(case("iterate"), receiving(end), COUNT, True)
    assert list(messages) == [b"the next round's"]


@pytest.mark.parametrize(
    ("way", "recv_many", "messages"),
    [("single", never, iter([b"never taken"])), ("many", None, None), ("iterate", None, None)],
)
def test_messages_are_taken_one_by_one_where_that_is_asked_or_there_is_nothing_else(
    way: str, recv_many: Callable[[int], Sequence[object]] | None, messages: Iterator[object] | None
) -> None:
    there = [MESSAGE] * COUNT
    end = ReceiveEnd(there.pop, recv_many=recv_many, messages=messages)
    batches.receive_all(case(way), receiving(end), COUNT, True)
    assert there == []


@pytest.mark.parametrize("way", batches.WAYS)
def test_a_checked_round_of_every_way_notices_a_broken_message(way: str) -> None:
    got: list[object] = [MESSAGE, MESSAGE, b"broken"]

    def end() -> ReceiveEnd:
        left = iter(got)
        return ReceiveEnd(lambda: next(left), recv_many=lambda most: [next(left)], messages=left)

    with pytest.raises(AssertionError, match="did not arrive as it was sent"):
        batches.receive_all(case(way), receiving(end()), 3, True)
    batches.receive_all(case(way), receiving(end()), 3, False)  # the timed round compares nothing


# --- arrays ---------------------------------------------------------------------------------------------------------


def test_an_array_is_copied_into_what_a_peer_lends() -> None:
    lent: list[tuple[tuple[int, ...], str, np.ndarray]] = []
    sent: list[float] = []

    @contextmanager
    def claim(shape: tuple[int, ...], dtype: str) -> Iterator[np.ndarray]:
        lent.append((shape, dtype, np.zeros(shape, dtype)))
        yield lent[-1][2]
        sent.append(lent[-1][2].sum())

    arrays.send_all(case("claim"), sending(SendEnd(never, send_object=never, claim=claim)), 3, False)
    assert [(shape, dtype) for shape, dtype, _ in lent] == [((8,), "float64")] * 3
    assert sent == [8.0] * 3


@pytest.mark.parametrize("way", ["claim", "send"])
@pytest.mark.parametrize("takes_bytes_only", [False, True])
def test_an_array_is_sent_by_the_call_that_takes_objects(way: str, takes_bytes_only: bool) -> None:
    sent: list[Any] = []
    end = SendEnd(never, send_object=sent.append) if takes_bytes_only else SendEnd(sent.append)
    arrays.send_all(case(way), sending(end), 3, False)
    assert [array.tolist() for array in sent] == [ARRAY.tolist()] * 3


def test_the_way_of_sending_leaves_lending_alone() -> None:
    sent: list[Any] = []
    arrays.send_all(case("send"), sending(SendEnd(sent.append, claim=never)), 3, False)
    arrays.receive_all(case("send"), receiving(ReceiveEnd(sent.pop, view=never)), 3, False)
    assert sent == []


def receive_end(way: str, array: np.ndarray) -> ReceiveEnd:
    @contextmanager
    def view() -> Iterator[np.ndarray]:
        yield array

    ends = {
        "view": ReceiveEnd(never, recv_object=never, view=view),
        "recv_object": ReceiveEnd(never, recv_object=lambda: array),
        "recv": ReceiveEnd(lambda: array),
    }
    return ends[way]


@pytest.mark.parametrize("way", ["view", "recv_object", "recv"])
def test_every_way_of_receiving_sums_what_it_gets(way: str) -> None:
    result = arrays.receive_all(case("claim"), receiving(receive_end(way, ARRAY)), 3, False)
    assert result["start_ns"] <= result["end_ns"]
    assert result["sum_ns"] > 0
    with pytest.raises(AssertionError, match="did not arrive as they were sent"):
        arrays.receive_all(case("claim"), receiving(receive_end(way, np.zeros(8))), 3, False)


def test_the_net_figure_leaves_the_sums_out() -> None:
    roles: list[dict[str, float]] = [{"start_ns": 500}, {"end_ns": 10_500, "sum_ns": 600}]
    assert arrays.combine(case("claim"), 10, roles) == {
        "gigabytes_per_second": 640 / 10_000,
        "net_gigabytes_per_second": 640 / (10_000 - 10 * 600),
        "sum_us": 0.6,
    }


def test_sums_that_took_longer_than_everything_give_no_negative_figure() -> None:
    figures = arrays.combine(case("claim"), 10, [{"start_ns": 0}, {"end_ns": 100, "sum_ns": 10}])
    assert 0 < figures["net_gigabytes_per_second"] < math.inf


# --- ours -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("wait", ipc_channel.WAITS)
def test_our_ends_offer_every_way(wait: Any, tmp_path: Any) -> None:
    link = Link("link0", str(tmp_path), 64, 1 << 16, wait)
    tx, rx = ipc_channel.make(link)
    sender, receiver = ipc_channel.sender(tx, link), ipc_channel.receiver(rx, link)
    assert None not in (sender.send_many, sender.claim, receiver.recv_many, receiver.messages, receiver.view)
    ends = Ends([sender], [receiver])
    for way in batches.WAYS:
        batches.send_all(case(way), ends, COUNT, False)
        batches.receive_all(case(way), ends, COUNT, True)
    for way in ("claim", "send"):
        arrays.send_all(case(way), ends, 3, False)
        arrays.receive_all(case(way), ends, 3, False)
    sender.send(MESSAGE)
    assert receiver.recv() == MESSAGE
    sender.close()
    receiver.close()

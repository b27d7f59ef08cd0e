"""The timed loops of multicast: what they count, what they notice, and how a lossy round comes to its end."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

import ipc
from benchmarks import contest, multicast
from benchmarks.messages import payload
from benchmarks.options import Settings
from benchmarks.peers import Link, ReceiveEnd, SendEnd, ipc_multicast
from benchmarks.plan import Case, Ends, links

SIZE = 64
MESSAGE = payload(SIZE)
COUNT = 20


def case(policy: str, use: str = "take", readers: int = 1) -> Case:
    return Case("case", SIZE, 1 << 20, way=f"{readers} {policy} {use}")


def end_of_round() -> bytes:
    return multicast._end_of_round(SIZE)


def receiving(messages: Sequence[bytes], directory: Path, *, lent: bool = False) -> Ends:
    """An end that gives these, and then the end of the round for ever."""

    def given() -> Iterator[bytes]:
        yield from messages
        while True:
            yield end_of_round()

    there = given()

    def recv() -> bytes:
        return next(there)

    def view() -> AbstractContextManager[memoryview]:
        return nullcontext(memoryview(next(there)))

    return Ends([], [ReceiveEnd(recv, view=view if lent else None)], str(directory))


def read(asked: Case, ends: Ends, count: int = COUNT, *, checked: bool = False) -> dict[str, float]:
    return multicast.read_all(asked, ends, count, checked)


# --- reading --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("lent", [False, True])
@pytest.mark.parametrize("use", ["take", "sum"])
def test_a_lossless_reader_takes_all_and_no_more(tmp_path: Path, use: str, lent: bool) -> None:
    ends = receiving([MESSAGE] * COUNT + [b"the next round's"], tmp_path, lent=lent)
    for checked in (True, False):
        result = read(case("lossless", use), ends, COUNT // 2, checked=checked)
        assert result["arrived"] == COUNT // 2
        assert result["start_ns"] <= result["end_ns"]
    assert ends.receivers[0].recv() == b"the next round's"


@pytest.mark.parametrize("lent", [False, True])
@pytest.mark.parametrize("policy", multicast.POLICIES)
def test_a_checked_round_notices_a_broken_message(tmp_path: Path, policy: str, lent: bool) -> None:
    broken = [MESSAGE, MESSAGE[:-1] + b"!", MESSAGE]
    with pytest.raises(AssertionError, match="did not arrive as it was published"):
        read(case(policy), receiving(broken, tmp_path, lent=lent), 3, checked=True)


def test_a_sum_is_of_all_words() -> None:
    total = multicast._Total(MESSAGE)
    total.add(MESSAGE)
    assert total._sum == int(np.frombuffer(MESSAGE, np.uint64).sum())
    total.check(1)
    with pytest.raises(AssertionError, match="their sum is another one"):
        total.check(2)


def test_a_sum_notices_a_broken_message_in_the_timed_round_too(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="their sum is another one"):
        read(case("lossless", "sum"), receiving([MESSAGE, MESSAGE[:-1] + b"!"], tmp_path), 2)


@pytest.mark.parametrize("lent", [False, True])
@pytest.mark.parametrize("use", ["take", "sum"])
def test_a_lossy_reader_counts_what_arrives_and_says_when_it_is_through(tmp_path: Path, use: str, lent: bool) -> None:
    stale = end_of_round()  # of the round before
    with multicast._Ended(str(tmp_path)) as ended:
        result = read(case("lossy", use), receiving([stale, *[MESSAGE] * 7, stale], tmp_path, lent=lent))
        assert result["arrived"] == 7
        ended.hear(10)
        assert ended.heard == 1


# --- publishing -----------------------------------------------------------------------------------------------------


def test_a_lossless_publisher_publishes_the_messages_only(tmp_path: Path) -> None:
    sent: list[Any] = []
    multicast.publish_all(case("lossless"), Ends([SendEnd(sent.append)], [], str(tmp_path)), COUNT, False)
    assert sent == [MESSAGE] * COUNT


def test_what_a_peer_takes_is_prepared_before_the_clock_starts(tmp_path: Path) -> None:
    sent: list[Any] = []
    prepared: list[bytes] = []

    def prepare(message: bytes) -> int:
        prepared.append(message)
        return len(prepared)

    end = SendEnd(sent.append, prepare=prepare)
    multicast.publish_all(case("lossless"), Ends([end], [], str(tmp_path)), COUNT, False)
    assert (prepared, sent) == ([MESSAGE], [1] * COUNT)


def test_a_lossy_publisher_says_the_end_until_every_reader_has_heard_it(tmp_path: Path) -> None:
    sent: list[bytes] = []

    def publish(message: bytes) -> None:
        sent.append(message)
        if len(sent) in {COUNT + 3, COUNT + 5}:  # two readers, each of which was overtaken a few times
            multicast._tell_ended(str(tmp_path))

    result = multicast.publish_all(case("lossy", readers=2), Ends([SendEnd(publish)], [], str(tmp_path)), COUNT, False)
    ends = sent[COUNT:]
    assert sent[:COUNT] == [MESSAGE] * COUNT
    assert len(ends) == 5
    stamps = [int.from_bytes(message[multicast.STAMP], "little") for message in ends]
    assert stamps == sorted(set(stamps)), "each of them is newer"
    assert {message[0] for message in ends} == {multicast.END}
    assert {len(message) for message in ends} == {SIZE}
    assert result["end_ns"] <= stamps[0], "they are no part of the figure"
    assert list(tmp_path.iterdir()) == []


# --- in place -----------------------------------------------------------------------------------------------------


def test_a_message_in_place_is_written_where_it_was_claimed_and_says_its_number(tmp_path: Path) -> None:
    claimed: list[np.ndarray] = []

    @contextmanager
    def claim(shape: tuple[int, ...], dtype: str) -> Iterator[np.ndarray]:
        yield (array := np.zeros(shape, dtype))
        claimed.append(array)

    def never(message: bytes) -> None:
        raise AssertionError("a copy was sent")

    multicast.publish_all(case("lossless", "in-place"), Ends([SendEnd(never, claim=claim)], [], str(tmp_path)), 3, True)
    assert [(array.nbytes, array[0]) for array in claimed] == [(SIZE, 0), (SIZE, 1), (SIZE, 2)]


def test_a_reader_in_place_notices_what_comes_out_of_order(tmp_path: Path) -> None:
    messages = [bytes([number]) + bytes(SIZE - 1) for number in (0, 1, 3)]
    asked = case("lossless", "in-place")
    assert read(asked, receiving(messages, tmp_path, lent=True), 2)["arrived"] == 2
    with pytest.raises(AssertionError, match="number 2 says 3"):
        read(asked, receiving(messages, tmp_path, lent=True), 3)


def test_who_lends_nothing_to_a_publisher_takes_no_part_in_place() -> None:
    settings = Settings(peers=("zmq_pub_sub", "ipc_multicast"))
    field = contest.peers("multicast", case("lossless", "in-place"), settings)
    assert [one.key for one in field.contestants] == ["ipc_multicast"]
    assert [entry["peer"] for entry in field.skipped] == ["zmq_pub_sub"]


# --- figures --------------------------------------------------------------------------------------------------------


def test_a_rate_is_what_arrived_on_average_by_the_time_of_the_last_reader() -> None:
    publisher = {"start_ns": 1_000, "end_ns": 3_000, "cpu_seconds": 1.0, "sleeps": 2}
    readers = [
        {"start_ns": 0, "end_ns": 11_000, "arrived": 10, "cpu_seconds": 2.0, "sleeps": 3},
        {"start_ns": 0, "end_ns": 9_000, "arrived": 4, "cpu_seconds": 4.0, "sleeps": 6},
    ]
    found = multicast.combine(case("lossy", readers=2), 10, [publisher, *readers])
    assert found["messages_per_second"] == pytest.approx(7 / 10e-6)
    assert found["gigabytes_per_second"] == pytest.approx(7 * SIZE / 10_000)
    assert found["published_per_second"] == pytest.approx(10 / 2e-6)
    assert found["lost_share"] == pytest.approx(0.3)
    assert (found["publisher_cpu_seconds"], found["reader_cpu_seconds"]) == (1.0, 3.0)
    assert (found["publisher_sleeps"], found["reader_sleeps"]) == (2, 4.5)


@pytest.mark.parametrize("readers", multicast.READERS)
def test_all_readers_are_on_one_link_and_it_knows_how_many(readers: int) -> None:
    asked = case("lossy", readers=readers)
    roles = multicast.roles(asked)
    assert [role.name for role in roles] == ["publisher", *(f"reader {n}" for n in range(readers))]
    (link,) = links(roles, asked, "/somewhere")
    assert (link.receivers, link.way) == (readers, asked.way)


# --- ours -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [SIZE, 64 << 10])
@pytest.mark.parametrize(
    ("policy", "use"),
    [*(("lossless", use) for use in ("take", "sum", "in-place")), *(("lossy", use) for use in ("take", "copy", "sum"))],
)
def test_our_ends_go_through_every_loop(policy: str, use: str, size: int, tmp_path: Path) -> None:
    asked = Case("case", size, 1 << 22, way=f"1 {policy} {use}")
    link = Link("link0", str(tmp_path), size, asked.capacity_bytes, "default", 1, asked.way)
    handle, other = ipc_multicast.make(link)
    receiver, sender = ipc_multicast.receiver(other, link), ipc_multicast.sender(handle, link)
    assert (receiver.view is not None) == (policy == "lossless" and size >= 64 << 10)
    results: list[dict[str, float]] = []

    def publish() -> None:
        multicast.publish_all(asked, Ends([sender], [], str(tmp_path)), COUNT, False)

    for checked in (True, False, False):
        publishing = threading.Thread(target=publish)
        publishing.start()
        results.append(read(asked, Ends([], [receiver], str(tmp_path)), checked=checked))
        publishing.join()
    assert [result["arrived"] for result in results] == [COUNT] * 3
    receiver.close()
    sender.close()
    cast("ipc.Multicast[bytes]", handle).close()

"""The golden segments of queues open with their messages, and what had become of each."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import ipc
from tests.golden import queues
from tests.golden.common import CAPACITY, MESSAGES, NAME
from tests.golden.placing import pages, placed, same

BEHIND = queues.FIRST + queues.FILLING  # the sequence of a lane's first message behind the fillings
UNTOUCHED = len(MESSAGES) - 5  # of the reliable queue's messages, those that nobody had looked at
FIVE = queues.ACKED, queues.LEASED, queues.KEPT, queues.RETURNED, queues.REQUEUED


def stats_of_the_golden() -> ipc.QueueStats:
    stats = ipc.stats(NAME)
    assert isinstance(stats, ipc.QueueStats)
    return stats


# --- a queue ------------------------------------------------------------------------------------------------------


@pages
def test_the_golden_queue_says_what_was_put_and_taken(ipc_dir: Path) -> None:
    placed(ipc_dir, "queue")
    stats, fillings = stats_of_the_golden(), 2 * queues.FILLING
    assert (stats.kind, stats.capacity, stats.maxsize, stats.state) == ("queue", CAPACITY, queues.MAXSIZE, "draining")
    assert (stats.sent, stats.received, stats.depth) == (fillings + len(MESSAGES), fillings, len(MESSAGES))
    assert [(lane.lane, lane.sent, lane.ready) for lane in stats.lanes] == [
        (0, queues.FILLING + 4, 4),
        (1, queues.FILLING + 3, 3),
    ]
    assert stats.bytes_received == fillings * len(queues.FILLER)
    assert [(user.role, user.alive) for user in stats.participants] == [
        ("producer", False),
        ("producer", False),
        ("consumer", False),
        ("consumer", False),
    ]


@pages
@pytest.mark.parametrize("at_once", [False, True], ids=["one by one", "in batches"])
def test_the_golden_queue_opens_and_has_its_messages_in_their_order(at_once: bool, ipc_dir: Path) -> None:
    golden = placed(ipc_dir, "queue")
    with ipc.Queue[Any].attach(NAME) as queue:
        assert queue.qsize() == len(MESSAGES)
        with pytest.raises(ipc.ShutDown):
            queue.put(b"now")
        got: list[Any] = []
        while len(got) < len(MESSAGES):  # from two lanes in turn, by their stamps
            got += queue.get_many(timeout=0) if at_once else [queue.get_nowait()]
        assert all(same(one, message) for one, (message, _) in zip(got, MESSAGES, strict=True))
        with pytest.raises(ipc.ShutDown):
            queue.get()
        for _ in range(1 + len(MESSAGES)):  # all fillings but the last were finished
            queue.task_done()
        queue.join()
        with pytest.raises(ValueError, match="too many times"):
            queue.task_done()
    assert not golden.exists()  # as any other, once all was taken


# --- a reliable queue ---------------------------------------------------------------------------------------------


def id_of(n: int) -> int:
    """The id of a message, by its place in MESSAGES."""
    return (BEHIND + n) * queues.LANES


@pages
def test_the_golden_reliable_queue_says_what_became_of_its_messages(ipc_dir: Path) -> None:
    placed(ipc_dir, "reliable_queue")
    stats = stats_of_the_golden()
    assert (stats.kind, stats.state, len(stats.lanes)) == ("reliable queue", "open", 1)
    assert (stats.sent, stats.dead_lettered) == (queues.FILLING + len(MESSAGES), 2)
    assert (stats.acknowledged, stats.leased, stats.kept) == (queues.FILLING - 2 + 1, 1, 1)
    assert stats.ready == 2 + UNTOUCHED
    again = 1 + 1 + 2 * (queues.MOST_DELIVERIES - 1)  # a filling, the leased one, those that were given up
    assert (stats.redelivered, stats.delivered) == (again, queues.FILLING - 2 + len(FIVE) + again)


@pages
def test_the_golden_reliable_queue_opens_and_has_its_messages_and_their_deliveries(ipc_dir: Path) -> None:
    golden = placed(ipc_dir, "reliable_queue")
    before = {queues.LEASED: 2, queues.RETURNED: 1, queues.REQUEUED: queues.MOST_DELIVERIES}
    with ipc.ReliableQueue[Any].attach(NAME) as queue:
        for n, (message, _) in enumerate(MESSAGES):
            if n in {queues.ACKED, queues.KEPT}:
                continue
            with queue.get(0) as delivery:  # also the one whose holder is gone
                assert same(delivery.message, message)
                assert (delivery.id, delivery.deliveries) == (id_of(n), before.get(n, 0) + 1)
        with pytest.raises(ipc.TimeoutError):
            queue.get(0)
        (letter,) = queue.dead_letters()
        assert same(letter.message, MESSAGES[queues.KEPT][0])
        assert (letter.id, letter.reason) == (id_of(queues.KEPT), "delivered too often")
        assert letter.deliveries == queues.MOST_DELIVERIES
        queue.requeue(letter.id)
        with queue.get(0) as delivery:
            assert (delivery.id, delivery.deliveries) == (letter.id, queues.MOST_DELIVERIES + 1)
        receipt = queue.put(b"now")  # goes on where the producer of then ended
        assert receipt.id == id_of(len(MESSAGES))
        with queue.get(0) as delivery:
            assert (delivery.message, delivery.id) == (b"now", receipt.id)
        assert receipt.wait(0)
    assert not golden.exists()


@pages
def test_a_message_of_the_golden_reliable_queue_is_given_up_as_often_as_its_options_say(ipc_dir: Path) -> None:
    golden = placed(ipc_dir, "reliable_queue")
    with ipc.ReliableQueue[Any].attach(NAME) as queue:
        leased = queue.get(0)
        assert (leased.id, leased.deliveries) == (id_of(queues.LEASED), queues.MOST_DELIVERIES)
        leased.nack()
        assert [letter.id for letter in queue.dead_letters()] == [id_of(queues.LEASED), id_of(queues.KEPT)]
    assert golden.exists()  # somebody may want the rest

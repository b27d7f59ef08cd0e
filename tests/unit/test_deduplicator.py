"""The helper that tells what was delivered again from what is new."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

import ipc

LONG = 30.0


def test_a_deduplicator_knows_the_ids_that_came_before() -> None:
    seen = ipc.Deduplicator(3)
    assert [seen(id) for id in (1, 2, 1, 3, 2)] == [False, False, True, False, True]
    assert 1 in seen
    assert len(seen) == 3
    assert not seen.seen(4)  # 1 was asked for longest ago
    assert 1 not in seen
    assert (2 in seen, 3 in seen, 4 in seen) == (True, True, True)
    seen.forget(4)
    assert not seen.seen(4)
    seen.forget("never seen")


@pytest.mark.parametrize("size", [0, -1])
def test_a_deduplicator_remembers_something(size: int) -> None:
    with pytest.raises(ValueError, match="size"):
        ipc.Deduplicator(size)


def test_a_deduplicator_says_new_to_one_thread_only() -> None:
    seen = ipc.Deduplicator()
    with ThreadPoolExecutor(4) as pool:
        for id in range(500):
            assert sorted(pool.map(seen.seen, [id] * 4)) == [False, True, True, True]


def test_work_is_done_once_with_a_deduplicator() -> None:
    done: list[int] = []
    seen = ipc.Deduplicator()
    with ipc.ReliableQueue[int]() as q:
        q.put_many(range(10))
        for delivery in q.get_many(10):
            if not seen(delivery.id):
                done.append(delivery.message)
            delivery.nack()  # as if the process had died before the ack
        for delivery in q.get_many(10, LONG):
            if not seen(delivery.id):
                done.append(delivery.message)
            delivery.ack()
    assert done == list(range(10))

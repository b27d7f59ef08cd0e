"""What was given up: kept where it is, or moved to another queue; listed, requeued, purged.  Never dropped."""

from __future__ import annotations

import queue as standard
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

import ipc

LONG = 30.0
SHORT = 0.1
PAGE = 4096

Reliable = ipc.ReliableQueue[Any]


@pytest.fixture
def q() -> Iterator[Reliable]:
    with Reliable(max_deliveries=2) as made:
        yield made


@pytest.fixture
def dead() -> Iterator[Reliable]:
    with Reliable() as made:
        yield made


def give_up(q: Reliable, times: int = 2) -> int:
    """Deliver the next message as often as it may be; returns its id."""
    for _ in range(times):
        delivery = q.get(LONG)
        delivery.nack()
    return delivery.id


def nothing_comes(q: Reliable) -> None:
    with pytest.raises(standard.Empty):
        q.get(0)


class Poison:
    """Pickled here, and nowhere unpickled."""

    def __init__(self, size: int = 0) -> None:
        self.size = size

    def __reduce__(self) -> Any:
        return exec, (f"raise LookupError('no such luck')  # {'x' * self.size}",)


# --- kept ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("most", [1, 2, 5, 254])
def test_a_message_is_delivered_max_deliveries_times_and_then_kept(most: int) -> None:
    with Reliable(max_deliveries=most) as q:
        receipt = q.put("poison")
        q.put("next")
        for count in range(1, most + 1):
            delivery = q.get(LONG)
            assert (delivery.message, delivery.deliveries) == ("poison", count)
            delivery.nack()
        with q.get(LONG) as delivery:
            assert delivery.message == "next"
        assert q.dead_letters() == [("poison", receipt.id, "delivered too often", most, None)]
        assert q.stats().kept == 1


def test_a_lease_that_runs_out_counts_as_a_delivery() -> None:
    with Reliable(max_deliveries=2, lease=SHORT) as q:
        q.put("slow")
        q.get()
        assert q.get(LONG).deliveries == 2
        with pytest.raises(standard.Empty):
            q.get(0.5)
        assert [letter.deliveries for letter in q.dead_letters()] == [2]


def test_an_ack_of_the_last_delivery_is_still_an_ack(q: Reliable) -> None:
    q.put("work")
    q.get().nack()
    q.get(LONG).ack()
    assert q.dead_letters() == []
    assert q.stats().acknowledged == 1


def test_letters_are_listed_oldest_first_again_and_again(q: Reliable, name: str) -> None:
    q.put_many(range(5))
    ids = [give_up(q) for _ in range(5)]
    for _ in range(2):
        assert [(letter.message, letter.id) for letter in q.dead_letters()] == list(enumerate(ids))
    assert q.stats().kept == 5


def test_letters_name_their_queue(name: str) -> None:
    with Reliable(name, max_deliveries=1) as q:
        q.put("poison")
        give_up(q, 1)
        (letter,) = q.dead_letters()
        assert isinstance(letter, ipc.DeadLetter)
        assert (letter.queue, letter.reason) == (name, "delivered too often")
        q.purge()


# --- ttl ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ttl", [0, 1e-9])
def test_an_expired_message_is_not_delivered(q: Reliable, ttl: float) -> None:
    receipt = q.put("old", ttl=ttl)
    q.put("next", ttl=1000)
    with q.get(LONG) as delivery:
        assert delivery.message == "next"
    assert q.dead_letters() == [("old", receipt.id, "expired", 0, None)]


def test_a_message_that_was_taken_in_time_does_not_expire(q: Reliable) -> None:
    receipt = q.put("in time", ttl=0.3)
    delivery = q.get()
    other = q.put("tick", ttl=0.3)
    with pytest.raises(ipc.DeadLetteredError):
        other.wait(LONG)
    delivery.ack()
    assert receipt.wait(LONG)


def test_put_many_gives_all_of_them_their_time(q: Reliable) -> None:
    q.put_many(range(3), ttl=0)
    nothing_comes(q)
    assert [letter.reason for letter in q.dead_letters()] == ["expired"] * 3


@pytest.mark.parametrize("ttl", [10**9, 1e300, float("inf"), None])
def test_a_long_ttl_is_for_ever(q: Reliable, ttl: float | None) -> None:
    q.put("kept", ttl=ttl)
    assert q.get(0).message == "kept"


@pytest.mark.parametrize("ttl", [-1, float("nan")])
def test_a_ttl_that_means_nothing_is_refused(q: Reliable, ttl: float) -> None:
    for put in (q.put, lambda obj, ttl: q.put_many([obj], ttl=ttl)):
        with pytest.raises(ValueError, match="ttl"):
            put("x", ttl=ttl)
    assert q.stats().sent == 0


# --- requeue and purge --------------------------------------------------------------------------------------------


def test_a_requeued_message_is_delivered_as_often_again(q: Reliable) -> None:
    receipt = q.put("poison")
    give_up(q)
    nothing_comes(q)
    q.requeue(receipt.id)
    assert q.dead_letters() == []
    give_up(q)
    nothing_comes(q)
    q.requeue(receipt.id)
    q.get(LONG).ack()
    assert receipt.wait(LONG)


def test_a_requeued_message_has_no_ttl_any_more(q: Reliable) -> None:
    receipt = q.put("old", ttl=0)
    nothing_comes(q)
    q.requeue(receipt.id)
    with q.get(LONG) as delivery:
        assert (delivery.message, delivery.id) == ("old", receipt.id)


def test_requeue_wakes_a_consumer(q: Reliable) -> None:
    receipt = q.put("poison")
    give_up(q)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(q.get, LONG)
        q.requeue(receipt.id)
        assert waiting.result(LONG).id == receipt.id


def test_only_what_is_kept_can_be_requeued(q: Reliable) -> None:
    receipts = q.put_many(range(3))
    dead_id = give_up(q)
    assert dead_id == receipts[0].id
    for id in (0, 1, -1, receipts[1].id, receipts[0].id + 1, receipts[2].id + 1000, 2**62):
        with pytest.raises(LookupError, match=f"no dead letter has the id {id}"):
            q.requeue(id)
    with pytest.raises(TypeError, match="id"):
        q.requeue("0")  # type: ignore[arg-type]
    assert [letter.id for letter in q.dead_letters()] == [dead_id]


def test_purge_throws_away_what_waits_and_what_was_given_up(q: Reliable) -> None:
    q.put_many(range(5))
    give_up(q)
    held = q.get(LONG)
    assert q.purge(dead_letters=False) == 3
    assert len(q.dead_letters()) == 1
    assert q.purge() == 1
    assert q.purge() == 0
    assert q.dead_letters() == []
    held.ack()
    stats = q.stats()
    assert (stats.sent, stats.acknowledged, stats.dead_lettered, stats.depth) == (5, 1, 4, 0)


# --- moved --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["often", "expired"])
def test_a_message_that_was_given_up_is_moved_with_the_reason(dead: Reliable, name: str, how: str) -> None:
    with Reliable(name, max_deliveries=2, dead_letter=dead) as q:
        receipt = q.put(("poison", 1), ttl=0 if how == "expired" else None)
        if how == "often":
            give_up(q)
        nothing_comes(q)
        with dead.get(LONG) as delivery:
            reason, count = ("expired", 0) if how == "expired" else ("delivered too often", 2)
            assert delivery.message == ipc.DeadLetter(("poison", 1), receipt.id, reason, count, name)
        assert q.dead_letters() == []
        assert (q.stats().dead_lettered, q.stats().depth) == (1, 0)


@pytest.mark.parametrize("message", [b"bytes", b"x" * 20_000, "y" * 20_000, {"a": [1]}])
def test_a_letter_has_the_message_as_it_was(dead: Reliable, message: Any) -> None:
    with Reliable(max_deliveries=1, dead_letter=dead) as q:
        q.put(message)
        give_up(q, 1)
        nothing_comes(q)
        assert dead.get(LONG).message.message == message
        q.put(np.arange(5000))
        give_up(q, 1)
        nothing_comes(q)
        assert dead.get(LONG).message.message.tolist() == list(range(5000))


@pytest.mark.parametrize("mover", ["get", "get in another thread", "put", "get_many"])
def test_whoever_uses_a_handle_with_a_dead_letter_queue_moves_them(dead: Reliable, name: str, mover: str) -> None:
    with (
        Reliable(name, max_deliveries=1, capacity=PAGE, dead_letter=dead) as q,
        Reliable.attach(name) as plain,
        ThreadPoolExecutor(1) as pool,
    ):
        q.put(b"x" * 3000)
        waiting = pool.submit(q.get, LONG) if mover == "get in another thread" else None
        if waiting is not None:
            waiting.result(LONG).nack()
            waiting = pool.submit(q.get, LONG)
            plain.put(b"z", timeout=LONG)
            waiting.result(LONG).ack()
        else:
            give_up(plain, 1)
        if mover == "put":  # for which there is no room otherwise
            q.put(b"y" * 3000, timeout=LONG)
            with plain.get(LONG) as delivery:
                assert delivery.message == b"y" * 3000
        elif mover == "get":
            nothing_comes(q)
        elif mover == "get_many":
            with pytest.raises(standard.Empty):
                q.get_many(5, 0)
        assert dead.get(LONG).message.message == b"x" * 3000
        assert q.dead_letters() == []


def test_a_full_dead_letter_queue_leaves_the_message_where_it_is() -> None:
    with Reliable(capacity=PAGE) as dead, Reliable(max_deliveries=1, dead_letter=dead) as q:
        q.put_many([b"%d" % number + b"x" * 1500 for number in range(5)])
        for _ in range(5):
            give_up(q, 1)
        nothing_comes(q)
        moved, left = dead.stats().depth, q.stats().kept
        assert moved + left == 5
        assert 0 < moved < 5
        q.put("still works")
        q.get(LONG).ack()
        letters: list[bytes] = []
        while len(letters) < 5:
            with dead.get(LONG) as delivery:
                letters.append(delivery.message.message[:1])
            nothing_comes(q)
        assert letters == [b"0", b"1", b"2", b"3", b"4"]
        assert (q.stats().kept, dead.stats().depth) == (0, 0)


def test_a_letter_too_large_for_the_dead_letter_queue_is_kept_and_does_not_stop_the_others() -> None:
    with Reliable(capacity=PAGE) as dead, Reliable(max_deliveries=1, dead_letter=dead) as q:
        q.put(b"x" * 10_000)
        q.put("small")
        give_up(q, 1)
        give_up(q, 1)
        for _ in range(2):
            nothing_comes(q)
        assert dead.get(LONG).message.message == "small"
        assert [letter.message for letter in q.dead_letters()] == [b"x" * 10_000]
        q.put("still works")
        assert q.get(LONG).message == "still works"


def test_a_closed_dead_letter_queue_keeps_nobody_from_working() -> None:
    dead = Reliable()
    with Reliable(max_deliveries=1, dead_letter=dead) as q:
        q.put("poison")
        give_up(q, 1)
        dead.close()
        nothing_comes(q)
        assert [letter.message for letter in q.dead_letters()] == ["poison"]


@pytest.mark.parametrize("size", [0, 20_000])
@pytest.mark.parametrize("lease", [None, 30])
def test_a_message_that_can_not_be_decoded_becomes_a_dead_letter_like_any_other(
    dead: Reliable, size: int, lease: float | None
) -> None:
    """It is what dead letters are for; it must neither be lost nor make every later get() raise."""
    with Reliable(max_deliveries=2, lease=lease, dead_letter=dead) as q:
        receipt = q.put(Poison(size))
        q.put("next")
        for _ in range(2):
            with pytest.raises(LookupError, match="no such luck"):
                q.get(LONG)
        with q.get(LONG) as delivery:
            assert delivery.message == "next"
        letter = dead.get(LONG).message
        assert (letter.id, letter.deliveries) == (receipt.id, 2)
        assert "delivered too often" in letter.reason
        assert "can't be decoded" in letter.reason
        assert isinstance(letter.message, bytes)
        assert b"no such luck" in letter.message
        assert q.dead_letters() == []


def test_a_message_that_can_not_be_decoded_is_listed_and_can_be_purged(q: Reliable) -> None:
    q.put(Poison())
    for _ in range(2):
        with pytest.raises(LookupError):
            q.get(LONG)
    (letter,) = q.dead_letters()
    assert isinstance(letter.message, bytes)
    assert "LookupError" in letter.reason
    assert q.purge() == 1


def test_a_message_that_accept_leaves_out_becomes_a_dead_letter_undecoded(dead: Reliable, name: str) -> None:
    with (
        Reliable(name, max_deliveries=1) as tx,
        Reliable.attach(name, accept=["bytes"], dead_letter=dead) as rx,
    ):
        tx.put({"a": "pickle"})
        tx.put(b"raw")
        with pytest.raises(ipc.RefusedEncodingError):
            rx.get(LONG)
        with rx.get(LONG) as delivery:
            assert delivery.message == b"raw"
        assert b"pickle" in dead.get(LONG).message.message


def test_a_queue_may_be_its_dead_letters_dead_letters_but_no_message_is_lost(dead: Reliable) -> None:
    with (
        Reliable(max_deliveries=1) as last,
        Reliable(max_deliveries=1, dead_letter=last) as second,
        Reliable(max_deliveries=1, dead_letter=second) as first,
    ):
        receipt = first.put("poison")
        give_up(first, 1)
        nothing_comes(first)
        give_up(second, 1)
        nothing_comes(second)
        letter = last.get(LONG).message
        assert letter.message.message == "poison"
        assert letter.message.id == receipt.id


class Nosy:
    """Whoever looks at it lets somebody else look for letters meanwhile."""

    look: Any = None

    def __reduce__(self) -> Any:
        return Nosy.unpickled, ()

    @staticmethod
    def unpickled() -> str:
        if Nosy.look is not None:
            Nosy.look()
        return "nosy"


def test_a_letter_that_somebody_lists_is_moved_when_it_was_listed(dead: Reliable, name: str) -> None:
    with (
        Reliable(name, max_deliveries=1) as q,
        Reliable.attach(name, dead_letter=dead) as mover,
    ):
        q.put(Nosy())
        give_up(q, 1)
        looks = []

        def look() -> None:
            nothing_comes(mover)
            looks.append(dead.qsize())

        Nosy.look = look
        try:
            assert [letter.message for letter in q.dead_letters()] == ["nosy"]
        finally:
            Nosy.look = None
        assert looks == [0]  # it was in somebody's hands
        with ThreadPoolExecutor(1) as pool:
            letter = pool.submit(dead.get, LONG)
            while not letter.done():
                with pytest.raises(standard.Empty):
                    mover.get(SHORT)
        assert letter.result().message.message == "nosy"

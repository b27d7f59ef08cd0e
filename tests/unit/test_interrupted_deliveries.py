"""A signal's handler may raise at any moment of a get: no message stays held by a process that doesn't know of it.

Without an end of the lease it would be held until that process dies, and with prefetch= no other one would come.
What a handler does between the end of get() and the next statement is the caller's matter.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import ipc
from ipc._core import dead_letters, delivery, encoding, hands, queues, reliable_queue
from tests.unit import test_interrupted_loans as moments

Reliable = ipc.ReliableQueue[Any]

MESSAGES: dict[str, Any] = {
    "bytes": b"small",
    "pickle": {"a": 1},
    "array": np.arange(12.0),
    "long bytes": b"x" * 20_000,
    "long pickle": ["y" * 20_000],
}


@pytest.fixture(autouse=True)
def in_python(monkeypatch: pytest.MonkeyPatch) -> None:
    """No handler runs in the accelerator."""
    go = queues.QueueHandle._go_fast

    def nothing_is_fast(queue: Any, **which: Any) -> None:
        go(queue, puts=False, gets=False, lease_ns=which.get("lease_ns", 0))

    monkeypatch.setattr(queues.QueueHandle, "_go_fast", nothing_is_fast)


@pytest.fixture(autouse=True)
def in_queues(monkeypatch: pytest.MonkeyPatch) -> None:
    modules = (dead_letters, delivery, encoding, hands, queues, reliable_queue)
    monkeypatch.setattr(moments, "FILES", {module.__file__ for module in modules})
    monkeypatch.setattr(moments, "Interrupt", KeyboardInterrupt)
    # no handler runs where a generator yields, or between the end of a call and what is done with its result
    monkeypatch.setattr(moments, "LEFT_OUT", moments.LEFT_OUT | {("get", "return"), ("_kept", "return")})


@pytest.mark.parametrize("lease", [None, 30.0], ids=["until death", "30 s"])
@pytest.mark.parametrize("message", MESSAGES.values(), ids=MESSAGES)
def test_an_interrupted_get_gives_the_message_back(message: Any, lease: float | None) -> None:
    with Reliable(lease=lease, prefetch=1) as q:
        q.put(message)
        got: list[Any] = []

        def after(interrupted: bool) -> None:
            assert len(got) == (not interrupted)
            for delivery in got or [q.get(0)]:
                assert np.all(delivery.message == message)
                delivery.ack()
            got.clear()
            q.put(message)

        moments.each_moment(lambda: got.append(q.get(0)), after)


@pytest.mark.parametrize("how", ["ack", "nack", "block", "failing block"])
def test_an_interrupted_end_of_a_delivery_leaves_no_hand_full(how: str) -> None:
    with Reliable(lease=None, prefetch=1, max_deliveries=254) as q:
        held: list[Any] = []

        def end() -> None:
            if how in {"ack", "nack"}:
                getattr(held[0], how)()
                return
            try:
                with held[0]:
                    if how == "failing block":
                        raise LookupError
            except LookupError:
                pass

        def begin() -> None:
            q.put("message")
            held[:] = [q.get(0)]

        def after(interrupted: bool) -> None:
            try:
                held[0].nack()
            except ipc.LeaseLostError:
                pass
            else:
                assert interrupted
            for _ in range(q.qsize()):
                q.get(0).ack()
            begin()

        begin()
        moments.each_moment(end, after, least=8)


def test_a_lease_that_ran_out_gives_the_hand_back_when_nobody_ends_it() -> None:
    with Reliable(lease=0.1, prefetch=1, max_deliveries=254) as q:
        q.put("message")
        q.get()  # and is forgotten
        assert q.get(30).deliveries == 2


@pytest.mark.parametrize("look", ["move", "list", "requeue"])
def test_an_interrupted_look_at_dead_letters_leaves_none_in_anybodys_hands(look: str) -> None:
    with Reliable() as dead, Reliable(max_deliveries=1, dead_letter=dead) as q:
        ids: list[int] = []

        def begin() -> None:
            ids[:] = [q.put("letter").id]
            dead_letter, q._dead_letter = q._dead_letter, None
            q.get(0).nack()
            q._dead_letter = dead_letter

        def act() -> None:
            if look == "move":
                q._move_dead_letters()
            elif look == "list":
                assert [letter.id for letter in q.dead_letters()] == ids
            else:
                q.requeue(ids[0])

        def after(interrupted: bool) -> None:
            kept, moved, again = q.stats().kept, dead.qsize(), q.stats().ready
            assert kept + again in {0, 1}
            assert kept + moved + again >= 1
            assert q.stats().leased == 0
            if not interrupted:
                assert (kept, moved, again) == {"move": (0, 1, 0), "list": (1, 0, 0), "requeue": (0, 0, 1)}[look]
            dead.purge()
            q.purge()
            begin()

        begin()
        moments.each_moment(act, after)

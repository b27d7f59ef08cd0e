"""Queues against simple models: hypothesis chooses what two handles do; every answer and number must be the model's.

At every step the law holds: what was put is acknowledged, given up, or still there; and each message is in one state.
The models know nothing of time: leases have no end here, and nothing expires.
"""

from __future__ import annotations

import queue as standard
from collections import deque
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

import ipc

LONG = 30.0
PAGE = 4096
MOST = 3  # deliveries

whose = st.integers(0, 1)
sizes = st.one_of(st.integers(0, 100), st.integers(0, 2 * PAGE))
which = st.integers(0, 10**6)


@dataclass
class Message:
    id: int
    content: bytes
    by: Any
    receipt: ipc.Receipt
    state: str = "ready"
    deliveries: int = 0
    forgiven: int = 0
    held_by: Any = None
    delivery: Any = None
    over: list[Any] = field(default_factory=list)

    def give_back(self) -> None:
        self.over.append(self.delivery)
        self.delivery = self.held_by = None
        self.state = "kept" if self.deliveries >= MOST + self.forgiven else "ready"


class ReliableMachine(RuleBasedStateMachine):
    """Messages in the order in which they were put; the first that is ready is the next."""

    def __init__(self, lease: float | None, ordered: bool) -> None:
        super().__init__()
        first = ipc.ReliableQueue[Any](f"ipc-test-model-{id(self)}", lease=lease, ordered=ordered, max_deliveries=MOST,
                                       capacity=PAGE, spin=0)  # fmt: skip
        self.handles = [first, ipc.ReliableQueue.attach(str(first.name), spin=0)]
        self.messages: list[Message] = []
        self.number = 0

    def teardown(self) -> None:
        self.handles[0].unlink()
        for handle in self.handles:
            handle.close()

    def those(self, state: str) -> list[Message]:
        return [message for message in self.messages if message.state == state]

    def chosen(self, state: str, number: int) -> Message | None:
        some = self.those(state)
        return some[number % len(some)] if some else None

    # --- rules

    @rule(whose=whose, size=sizes)
    def put(self, whose: int, size: int) -> None:
        handle = self.handles[whose]
        self.number += 1
        content = b"%d:" % self.number + bytes(size)
        try:
            receipt = handle.put(content, timeout=0)
        except ipc.MessageTooLargeError:
            assert len(content) > PAGE
        except standard.Full:
            assert self.messages
            assert any(message.state not in {"acknowledged", "dead"} for message in self.messages)
        else:
            assert len(content) <= PAGE
            assert receipt.id not in {message.id for message in self.messages}
            self.messages.append(Message(receipt.id, content, handle, receipt))

    @rule(whose=whose, count=st.integers(0, 20))
    def put_many(self, whose: int, count: int) -> None:
        handle = self.handles[whose]
        contents = [b"%d:" % (self.number + n) for n in range(1, count + 1)]
        self.number += count
        try:
            receipts = handle.put_many(iter(contents), timeout=0)
            assert len(receipts) == count
        except standard.Full as full:
            receipts = full.receipts  # type: ignore[attr-defined]
        for content, receipt in zip(contents, receipts, strict=False):
            self.messages.append(Message(receipt.id, content, handle, receipt))

    def take(self, handle: Any, delivery: Any) -> None:
        expected = self.those("ready")[0]
        expected.deliveries += 1
        assert (delivery.id, delivery.message, delivery.deliveries) == (
            expected.id,
            expected.content,
            expected.deliveries,
        )
        expected.state, expected.held_by, expected.delivery = "leased", handle, delivery

    @rule(whose=whose)
    def get(self, whose: int) -> None:
        handle = self.handles[whose]
        if self.those("ready"):
            self.take(handle, handle.get(LONG))
        else:
            with pytest.raises(standard.Empty):
                handle.get(0)

    @precondition(lambda self: self.those("ready"))
    @rule(whose=whose, most=st.integers(1, 30))
    def get_many(self, whose: int, most: int) -> None:
        handle = self.handles[whose]
        ready = len(self.those("ready"))
        deliveries = handle.get_many(most, LONG)
        assert len(deliveries) == min(most, ready)
        for delivery in deliveries:
            self.take(handle, delivery)

    @rule(number=which, how=st.sampled_from(["ack", "nack", "block", "failing block", "ack_many"]))
    def end(self, number: int, how: str) -> None:
        message = self.chosen("leased", number)
        if message is None:
            return
        delivery = message.delivery
        if how in {"ack", "block", "ack_many"}:
            if how == "ack":
                delivery.ack()
            elif how == "ack_many":
                message.held_by.ack_many([delivery])
            else:
                with delivery:
                    pass
            message.state = "acknowledged"
            message.over.append(delivery)
            return
        if how == "nack":
            delivery.nack()
        else:
            with pytest.raises(LookupError), delivery:
                raise LookupError
        message.give_back()

    @rule(number=which, use=st.sampled_from(["ack", "nack", "extend"]))
    def use_what_is_over(self, number: int, use: str) -> None:
        over = [delivery for message in self.messages for delivery in message.over]
        if over:
            delivery = over[number % len(over)]
            delivery._state = 0  # as if it didn't know
            with pytest.raises((ipc.LeaseLostError, ipc.ClosedError)):
                delivery.extend(1) if use == "extend" else getattr(delivery, use)()

    @rule(number=which)
    def extend(self, number: int) -> None:
        message = self.chosen("leased", number)
        if message is not None:
            message.delivery.extend(1000)

    @rule(whose=whose, number=which)
    def requeue(self, whose: int, number: int) -> None:
        message = self.chosen("kept", number)
        if message is not None:
            self.handles[whose].requeue(message.id)
            message.state, message.forgiven = "ready", message.deliveries

    @rule(whose=whose, number=which)
    def requeue_what_is_not_kept(self, whose: int, number: int) -> None:
        others = [message for message in self.messages if message.state != "kept"]
        if others:
            with pytest.raises(LookupError):
                self.handles[whose].requeue(others[number % len(others)].id)

    @rule(whose=whose, dead_letters=st.booleans())
    def purge(self, whose: int, dead_letters: bool) -> None:
        gone = self.those("ready") + (self.those("kept") if dead_letters else [])
        assert self.handles[whose].purge(dead_letters=dead_letters) == len(gone)
        for message in gone:
            message.state = "dead"

    @rule(whose=whose)
    def leave_and_come_back(self, whose: int) -> None:
        handle = self.handles[whose]
        name = str(handle.name)
        self.handles[whose] = ipc.ReliableQueue.attach(name, spin=0)
        handle.close()
        for message in self.messages:
            if message.state == "leased" and message.held_by is handle:
                message.give_back()

    # --- what always holds

    @invariant()
    def the_numbers_are_the_model_s(self) -> None:
        stats = self.handles[0].stats()
        assert stats.sent == stats.acknowledged + stats.dead_lettered + stats.depth == len(self.messages)
        assert stats.depth == stats.ready + stats.leased + stats.kept
        for state in ("ready", "leased", "kept", "acknowledged"):
            assert getattr(stats, state) == len(self.those(state)), state
        assert stats.dead_lettered == len(self.those("dead"))
        assert stats.delivered == sum(message.deliveries for message in self.messages)
        assert stats.redelivered == sum(max(message.deliveries - 1, 0) for message in self.messages)
        for lane in stats.lanes:
            assert lane.sent == lane.acknowledged + lane.dead_lettered + lane.depth

    @invariant()
    def the_dead_letters_are_the_kept_ones(self) -> None:
        letters = self.handles[1].dead_letters()
        kept = [(message.id, message.content, message.deliveries) for message in self.those("kept")]
        assert [(letter.id, letter.message, letter.deliveries) for letter in letters] == sorted(kept)

    @invariant()
    def receipts_tell_the_state(self) -> None:
        for message in self.messages[-20:]:
            if message.by in self.handles:
                assert message.receipt.done() == (message.state not in {"ready", "leased"})
                if message.state == "acknowledged":
                    assert message.receipt.wait(0)
                elif message.state in {"dead", "kept"}:
                    with pytest.raises(ipc.DeadLetteredError):
                        message.receipt.wait(0)


class QueueMachine(RuleBasedStateMachine):
    """An unbounded queue with a small lane, so that its feeder comes and goes, against a deque."""

    def __init__(self, maxsize: int) -> None:
        super().__init__()
        self.maxsize = maxsize
        self.q = ipc.Queue[Any](maxsize, capacity=PAGE, spin=0)
        self.model: deque[Any] = deque()
        self.unfinished = 0
        self.number = 0

    def teardown(self) -> None:
        self.q.shutdown(immediate=True)
        self.q.close()
        self.q.join_thread()

    def next(self, size: int) -> Any:
        self.number += 1
        return (self.number, bytes(size)) if self.number % 2 else b"%d:" % self.number + bytes(size)

    @rule(size=st.integers(0, 1500))
    def put(self, size: int) -> None:
        message = self.next(size)
        if self.maxsize and len(self.model) >= self.maxsize:
            with pytest.raises(standard.Full):
                self.q.put_nowait(message)
            return
        try:
            self.q.put_nowait(message)
        except standard.Full:  # the lane is: bounded queues have no feeder
            assert self.maxsize
            assert sum(len(m) + 200 for m in map(str, self.model)) > PAGE // 8
        else:
            self.model.append(message)
            self.unfinished += 1

    @rule(count=st.integers(0, 60))
    def put_many(self, count: int) -> None:
        messages = [self.next(0) for _ in range(count)]
        try:
            done = self.q.put_many(messages, False)
            assert done == count
        except standard.Full as full:
            assert self.maxsize
            done = full.put  # type: ignore[attr-defined]
        self.model.extend(messages[:done])
        self.unfinished += done

    @rule()
    def get(self) -> None:
        if self.model:
            assert self.q.get(timeout=LONG) == self.model.popleft()
        else:
            with pytest.raises(standard.Empty):
                self.q.get_nowait()

    @precondition(lambda self: self.model)
    @rule(most=st.integers(1, 50))
    def get_many(self, most: int) -> None:
        wanted = min(most, len(self.model))
        got: list[Any] = []
        while len(got) < wanted:  # the feeder may have the rest
            got += self.q.get_many(wanted - len(got), LONG)
        assert got == [self.model.popleft() for _ in range(wanted)]

    @rule()
    def task_done(self) -> None:
        if self.unfinished > len(self.model):
            self.q.task_done()
            self.unfinished -= 1
        elif self.unfinished == 0:
            with pytest.raises(ValueError, match="too many"):
                self.q.task_done()

    @precondition(lambda self: self.unfinished == 0)
    @rule()
    def join(self) -> None:
        self.q.join()

    @rule()
    def purge(self) -> None:
        assert self.q.purge() == len(self.model)
        self.unfinished -= len(self.model)
        self.model.clear()

    @invariant()
    def it_has_what_the_model_has(self) -> None:
        assert self.q.qsize() == len(self.model)
        assert self.q.empty() == (not self.model)
        assert self.q.full() == (bool(self.maxsize) and len(self.model) >= self.maxsize)


def run(machine: Any, *arguments: Any, examples: int) -> None:
    from hypothesis.stateful import run_state_machine_as_test

    chosen = settings(max_examples=examples, stateful_step_count=40, deadline=None,
                      suppress_health_check=list(HealthCheck))  # fmt: skip
    run_state_machine_as_test(lambda: machine(*arguments), settings=chosen)  # type: ignore[arg-type]


@pytest.mark.parametrize("ordered", [True, False])
@pytest.mark.parametrize("lease", [None, 1000.0])
def test_a_reliable_queue_does_what_the_model_does(lease: float | None, ordered: bool) -> None:
    run(ReliableMachine, lease, ordered, examples=40)


@pytest.mark.parametrize("maxsize", [0, 1, 7])
def test_a_queue_does_what_the_model_does(maxsize: int) -> None:
    run(QueueMachine, maxsize, examples=40)

"""What a history says about each message: when it was sent, and when it was taken by whom.

Everything that is uncertain is an interval here, and stays one: what follows is drawn only from what must have been.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection
from dataclasses import dataclass, field

from tests.history.operations import FOREVER, History, Item, Op, Operation, Result
from tests.history.rules import Fault, Report, Rules

__all__ = ["Facts", "Sent", "Take"]

TAKING = frozenset({Op.RECV, Op.VIEW, Op.LEASE})
NEVER_SENT = frozenset({Result.FULL, Result.NOT_SENT, Result.PEER_DIED, Result.ENDED, Result.HELD_BACK})


@dataclass(slots=True)
class Sent:
    """A message on its way in."""

    item: Item
    call: Operation
    index: int
    begun: int
    until: int
    """If it was sent at all, it was sent by then."""
    certain: bool
    possible: bool
    place: int = -1
    """Among all messages, in the order in which their sending began."""


@dataclass(slots=True)
class Take:
    """A message on its way out."""

    item: Item
    call: Operation
    begun: int
    until: int
    """Told by then."""
    gone_by: int
    """If it was taken at all, it was taken by then."""
    final: bool
    """Whether it is certain that it was taken."""

    @property
    def may_have_taken(self) -> bool:
        """Not where a view was given up, and its message stayed."""
        return self.final or self.call.result == Result.OPEN


@dataclass
class Facts:
    """Everything that the checks need to know."""

    history: History
    rules: Rules
    report: Report
    left: set[int] = field(default_factory=set)
    sent: dict[int, Sent] = field(default_factory=dict)
    in_order: list[Sent] = field(default_factory=list)
    takes: dict[int, list[Take]] = field(default_factory=lambda: defaultdict(list))
    by_reader: dict[int, list[Take]] = field(default_factory=lambda: defaultdict(list))
    hidden: list[tuple[Operation, int, int]] = field(default_factory=list)
    """Calls in which a reader died, by when it was dead, and how many messages it may have taken untold."""
    by_process: dict[int, list[Operation]] = field(default_factory=lambda: defaultdict(list))

    @classmethod
    def of(cls, history: History, rules: Rules, left: Collection[int], report: Report) -> Facts:
        """Sort the operations of a history; says what is malformed."""
        facts = cls(history, rules, report, set(left))
        for operation in history.operations:
            facts.by_process[operation.process].append(operation)
        for process, calls in facts.by_process.items():
            facts._check_form(process, calls)
            for call in calls:
                facts._add(call)
        for taken in facts.takes.values():
            taken.sort(key=lambda take: (take.begun, take.until))
        facts._promote_batches()
        facts.in_order = sorted(facts.sent.values(), key=lambda sent: (sent.begun, sent.call.process, sent.index))
        for place, sent in enumerate(facts.in_order):
            sent.place = place
        return facts

    def may_have_held(self, sent: Sent, by: int, until: int) -> bool:
        """Whether a reader that was killed in its call can have had this message in its hands at the one moment, and no
        longer at the other."""
        return any(
            call.invoked <= by and dead_by >= sent.begun and self.history.deaths[call.process].killed <= until
            for call, dead_by, _ in self.hidden
            if call.process in self.history.deaths
        )

    def dead_by(self, process: int) -> int:
        """When the process was dead for certain."""
        death = self.history.deaths.get(process)
        return FOREVER if death is None else death.reaped

    def _check_form(self, process: int, calls: list[Operation]) -> None:
        before = 0
        for number, call in enumerate(calls):
            if call.invoked < before or call.returned < call.invoked:
                self.report.refuse(Fault.MALFORMED, f"process {process}: call {number} overlaps the one before it")
            if call.result == Result.OPEN:
                if number != len(calls) - 1:
                    self.report.refuse(
                        Fault.MALFORMED, f"process {process}: call {number} never ended, yet more follow"
                    )
                if process not in self.history.deaths:
                    self.report.refuse(
                        Fault.MALFORMED, f"process {process}: {call.op.name} never ended, and nobody killed it"
                    )
            before = max(before, call.returned)

    def _add(self, call: Operation) -> None:
        if call.op == Op.SEND:
            self._add_sends(call)
        elif call.op in TAKING:
            self._add_takes(call)
        if call.result not in {Result.OK, Result.OPEN}:
            self.report.answers[call.result.name] += 1

    def _add_sends(self, call: Operation) -> None:
        dead_by = self.dead_by(call.process)
        for index, item in enumerate(call.items):
            if item.value in self.sent:
                self.report.refuse(Fault.MALFORMED, f"value {item.value} was sent twice")
            certain = index < call.done
            possible = certain or call.result not in NEVER_SENT
            until = call.returned if call.result != Result.OPEN else dead_by
            self.sent[item.value] = Sent(item, call, index, call.invoked, until, certain, possible)
            self.report.sent += certain

    def _add_takes(self, call: Operation) -> None:
        dead_by = self.dead_by(call.process)
        view, is_open = call.op == Op.VIEW, call.result == Result.OPEN
        until = call.seen if view else call.returned if not is_open else dead_by
        for item in call.items:
            gone_by = dead_by if is_open else call.returned
            final = not view or call.result == Result.OK
            take = Take(item, call, call.invoked, until, gone_by, final)
            self.takes[item.value].append(take)
            self.by_reader[call.process].append(take)
            self.report.gaps += item.gap
        if is_open and not view and call.most > len(call.items):
            self.hidden.append((call, dead_by, call.most - len(call.items)))

    def _promote_batches(self) -> None:
        """A batch is sent in order: what stands before a message that came, or is there, was sent as well."""
        arrived: dict[int, int] = {}
        for value, sent in self.sent.items():
            if value in self.takes or value in self.left:
                last = arrived.get(id(sent.call), -1)
                arrived[id(sent.call)] = max(last, sent.index)
        for sent in self.sent.values():
            if not sent.certain and sent.possible and sent.index <= arrived.get(id(sent.call), -1):
                sent.certain = True
                self.report.recovered += 1

"""P3: messages that are leased, acknowledged, given back, delivered again, and at last put aside as dead letters.

The number that comes with a delivery counts the leases that were granted on its message: no number comes twice, and
one that is missing was granted to a reader that was killed in the call.  A message is delivered again only when its
lease has ended: by its holder's death or departure, by being given back, or by time.  Once acknowledged, never.  What
was given back comes before what its sender sent later.  Whoever was held up in a call for longer than a lease lasts may
have lost one there, and told nobody.

Sound, not complete: each missing number is led back to some killed reader, and all of them together to as many calls as
readers were killed in, but not each to a call of its own.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import pairwise

from tests.history.answers import SAYS_EMPTY, Cover
from tests.history.facts import Facts, Sent, Take
from tests.history.operations import FOREVER, Op, Operation, Result
from tests.history.rules import Fault

__all__ = ["check_leases"]


@dataclass
class Letter:
    """What became of one message, besides its deliveries."""

    settled: list[Operation] = field(default_factory=list)  # acknowledgements that were granted
    perhaps: list[Operation] = field(default_factory=list)  # acknowledgements whose caller died
    refused: list[Operation] = field(default_factory=list)
    back: list[Operation] = field(default_factory=list)
    dead: list[Operation] = field(default_factory=list)


def check_leases(facts: Facts) -> None:
    """Everything that leases promise."""
    letters: defaultdict[int, Letter] = defaultdict(Letter)
    for calls in facts.by_process.values():
        for call in calls:
            if call.op in {Op.ACK, Op.NACK, Op.DEAD_LETTER}:
                _file(letters[call.items[0].value], call)
    leaving = {calls[0].process: calls[-1].invoked for calls in facts.by_process.values() if calls[-1].op == Op.LEAVE}
    ends = _Ends(facts, leaving)
    there: list[tuple[int, int]] = []
    passing = _Passing(facts)
    lapses = _lapses(facts)
    missing_numbers = 0
    for sent in facts.in_order:
        value = sent.item.value
        letter = letters.get(value, Letter())
        takes = sorted(facts.takes.get(value, ()), key=lambda take: take.item.deliveries)
        missing_numbers += _check_numbers(facts, value, takes, lapses)
        _check_endings(facts, value, takes, letter, ends)
        _check_settlement(facts, value, takes, letter)
        if sent.certain and not (letter.settled or letter.perhaps or letter.dead or value in facts.left):
            facts.report.refuse(Fault.LOST, f"value {value} was neither acknowledged nor put aside, and is not there")
        if takes and takes[0].item.deliveries == 1:
            there.append((sent.until, takes[0].begun))
        waited = [
            (back.returned + facts.rules.delay_ns, after.begun)
            for before, after in pairwise(takes)
            for back in letter.back
            if back.result == Result.OK
            and back.items[0].deliveries == before.item.deliveries == after.item.deliveries - 1
        ]
        there += waited
        passing.check(sent, waited)
    facts.report.left = len(facts.left)
    facts.report.untold = missing_numbers
    if missing_numbers > sum(most for _, _, most in (*facts.hidden, *lapses)):
        facts.report.refuse(Fault.WRONG_COUNT, f"{missing_numbers} deliveries that nobody told, and fewer deaths")
    _check_empty(facts, Cover(there))


def _file(letter: Letter, call: Operation) -> None:
    if call.op == Op.DEAD_LETTER:
        letter.dead.append(call)
    elif call.op == Op.NACK:
        letter.back.append(call)
    elif call.result == Result.OK:
        letter.settled.append(call)
    elif call.result == Result.REFUSED:
        letter.refused.append(call)
    else:
        letter.perhaps.append(call)


class _Ends:
    """When the lease of a delivery can have ended at the earliest."""

    def __init__(self, facts: Facts, leaving: dict[int, int]) -> None:
        self._facts = facts
        self._leaving = leaving

    def of(self, take: Take, letter: Letter) -> int:
        facts, call = self._facts, take.call
        moments = [self._leaving.get(call.process, FOREVER)]
        if call.process in facts.history.deaths:
            moments.append(facts.history.deaths[call.process].killed)
        if facts.rules.lease_ns is not None:
            moments.append(call.invoked + facts.rules.lease_ns)
        moments += [back.invoked for back in letter.back if back.items[0].deliveries == take.item.deliveries]
        return min(moments)


def _lapses(facts: Facts) -> list[tuple[Operation, int, int]]:
    """Calls of the living that lasted so long that a lease may have run out in them, untold; as `hidden` is."""
    lease_ns = facts.rules.lease_ns
    if lease_ns is None:
        return []
    return [
        (call, call.returned, (call.returned - call.invoked) // lease_ns)
        for calls in facts.by_process.values()
        for call in calls
        if call.op == Op.LEASE and call.result != Result.OPEN and call.returned - call.invoked >= lease_ns
    ]


class _Passing:
    """Whether newer messages were taken while an older one of their sender, which had come back, waited."""

    def __init__(self, facts: Facts) -> None:
        self._facts = facts
        self._streams: defaultdict[int, list[Take]] = defaultdict(list)
        for takes in facts.takes.values():
            for take in takes:
                if take.item.deliveries == 1 and take.item.value in facts.sent:
                    self._streams[facts.sent[take.item.value].call.process].append(take)
        for stream in self._streams.values():
            stream.sort(key=lambda take: take.begun)
        self._begun = {process: [take.begun for take in stream] for process, stream in self._streams.items()}

    def check(self, sent: Sent, waited: Iterable[tuple[int, int]]) -> None:
        if self._facts.rules.order == "none":
            return
        process = sent.call.process
        for since, until in waited:
            for take in self._streams[process][bisect_right(self._begun.get(process, []), since) :]:
                if take.begun >= until:
                    break
                if take.until < until and self._facts.sent[take.item.value].place > sent.place:
                    self._facts.report.refuse(
                        Fault.REORDERED,
                        f"value {take.item.value} was taken while {sent.item.value}, sent earlier, was back",
                    )


def _check_numbers(facts: Facts, value: int, takes: list[Take], lapses: list[tuple[Operation, int, int]]) -> int:
    """Returns how many deliveries nobody has told."""
    missing, before = 0, 0
    most = facts.rules.most_deliveries
    for take in takes:
        number = take.item.deliveries
        if number == before:
            facts.report.refuse(Fault.DUPLICATED, f"value {value} was delivered twice as number {number}")
        elif number < 1 or (most is not None and number > most):
            facts.report.refuse(Fault.WRONG_COUNT, f"value {value} was delivered as number {number}")
        for _ in range(before + 1, number):
            missing += 1
            sent = facts.sent.get(value)
            since = 0 if sent is None else sent.begun
            hidden = (*facts.hidden, *lapses)
            if not any(call.invoked <= take.until and gone_by >= since for call, gone_by, _ in hidden):
                facts.report.refuse(
                    Fault.WRONG_COUNT, f"value {value}: nobody died or came late who can have had number {before + 1}"
                )
        before = max(before, number)
    facts.report.again += max(0, len(takes) - 1)
    return missing


def _check_endings(facts: Facts, value: int, takes: list[Take], letter: Letter, ends: _Ends) -> None:
    """Each lease ended before the next one began, and an acknowledgement was refused only after that."""
    for before, after in pairwise(takes):
        if after.until < before.begun:
            facts.report.refuse(
                Fault.REORDERED, f"value {value}: number {after.item.deliveries} came before {before.item.deliveries}"
            )
        elif after.until < ends.of(before, letter):
            facts.report.refuse(
                Fault.EARLY,
                f"value {value}: number {after.item.deliveries} was delivered by {after.until}, while process "
                f"{before.call.process} held number {before.item.deliveries}",
            )
    for call in letter.refused:
        for take in takes:
            if take.item.deliveries == call.items[0].deliveries and call.returned < ends.of(take, letter):
                facts.report.refuse(
                    Fault.FALSE_REFUSAL, f"value {value}: process {call.process} lost a lease that had not ended"
                )


def _check_settlement(facts: Facts, value: int, takes: list[Take], letter: Letter) -> None:
    """A message is acknowledged once, or put aside once, and not delivered after either."""
    report = facts.report
    numbers = {take.item.deliveries for take in takes}
    for call in letter.settled:
        number = call.items[0].deliveries
        if number not in numbers:
            report.refuse(Fault.MALFORMED, f"value {value}: number {number} was acknowledged and not delivered")
        if any(other > number for other in numbers):
            report.refuse(Fault.DUPLICATED, f"value {value} was delivered after its acknowledgement as number {number}")
    if len(letter.settled) + len(letter.dead) > 1:
        report.refuse(Fault.DUPLICATED, f"value {value} was settled more than once")
    for call in letter.dead:
        number = call.items[0].deliveries
        if number != facts.rules.most_deliveries:
            report.refuse(Fault.WRONG_COUNT, f"value {value} was put aside after {number} deliveries")
        if any(take.begun > call.returned for take in takes):
            report.refuse(Fault.DUPLICATED, f"value {value} was delivered after it was put aside")


def _check_empty(facts: Facts, cover: Cover) -> None:
    for calls in facts.by_process.values():
        for call in calls:
            if call.op == Op.LEASE and call.result in SAYS_EMPTY and cover.contains(call.invoked, call.returned):
                facts.report.refuse(Fault.FALSE_EMPTY, f"process {call.process} found nothing at {call.returned}")

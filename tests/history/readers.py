"""V2, V5 and V6 where each reader gets every message: what is missing was told, and the number told is exact.

Between two messages that a reader got one after the other, as many are missing as were published between them.  Those
whose publisher was killed in the call may count or not, unless another reader has got them.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from itertools import accumulate, pairwise

from tests.history.answers import SAYS_EMPTY, Cover
from tests.history.facts import TAKING, Facts, Sent, Take
from tests.history.operations import FOREVER, Op, Operation
from tests.history.rules import Fault

__all__ = ["check_numbers", "check_readers"]


def check_readers(facts: Facts) -> None:
    """Each reader by itself."""
    published = _Published(facts)
    for process, calls in facts.by_process.items():
        if calls[0].op != Op.JOIN:
            continue
        takes = [take for take in facts.by_reader.get(process, ()) if take.item.value in facts.sent]
        _check_once(facts, process, takes)
        _check_first(facts, published, calls[0], takes)
        for before, after in pairwise(takes):
            _check_between(facts, published, process, before, after)
        _check_answers(facts, calls, takes)


class _Published:
    """How many messages were published between two others: for certain, and at most."""

    def __init__(self, facts: Facts) -> None:
        self.certain = [0, *accumulate(int(sent.certain) for sent in facts.in_order)]
        self.possible = [
            0,
            *accumulate(int(sent.possible or _may_use_a_number(facts, sent)) for sent in facts.in_order),
        ]
        self._begun = [sent.begun for sent in facts.in_order]
        self._until = list(accumulate((sent.until for sent in facts.in_order), max))

    def begun_after(self, moment: int) -> int:
        """The place of the first one that was begun after a moment."""
        return bisect_right(self._begun, moment)

    def ended_after(self, moment: int) -> int:
        """The place of the first one that may have been published after a moment."""
        return bisect_right(self._until, moment)

    def between(self, first: int, behind: int) -> tuple[int, int]:
        """Of the places from `first` up to `behind`."""
        if behind <= first:
            return 0, 0
        return self.certain[behind] - self.certain[first], self.possible[behind] - self.possible[first]


def _may_use_a_number(facts: Facts, sent: Sent) -> bool:
    """A message in parts of which a dead receiver had taken some was not sent, and its number is missing."""
    capacity = facts.rules.capacity
    return capacity is not None and facts.rules.room(sent.item.size) > capacity


def _check_once(facts: Facts, process: int, takes: list[Take]) -> None:
    seen: set[int] = set()
    for take in takes:
        if take.item.value in seen:
            facts.report.refuse(Fault.DUPLICATED, f"value {take.item.value} came twice to process {process}")
        seen.add(take.item.value)


def _check_first(facts: Facts, published: _Published, join: Operation, takes: list[Take]) -> None:
    """Where a reader begins: behind all that was published before it joined, and with all that was after."""
    if not takes:
        return
    oldest, first = join.most == 1, takes[0]
    sent = facts.sent[first.item.value]
    if not oldest and sent.until < join.invoked:
        facts.report.refuse(Fault.INVENTED, f"process {join.process} got value {first.item.value} of before it joined")
    behind = sent.place
    certain, _ = published.between(published.begun_after(join.returned), behind)
    _, possible = published.between(0 if oldest else published.ended_after(join.invoked), behind)
    _compare(facts, join.process, certain, possible, first)


def _check_between(facts: Facts, published: _Published, process: int, before: Take, after: Take) -> None:
    first, behind = facts.sent[before.item.value].place + 1, facts.sent[after.item.value].place
    if behind < first:
        return  # out of order: said elsewhere
    _compare(facts, process, *published.between(first, behind), after)
    if min(before.item.sequence, after.item.sequence) >= 0 and (
        after.item.sequence - before.item.sequence - 1 != after.item.gap
    ):
        facts.report.refuse(
            Fault.WRONG_GAP,
            f"process {process} was told of {after.item.gap} lost between numbers {before.item.sequence} and "
            f"{after.item.sequence}",
        )


def _compare(facts: Facts, process: int, certain: int, possible: int, take: Take) -> None:
    told = take.item.gap
    if not facts.rules.gaps and told == 0 and certain > 0:
        facts.report.refuse(Fault.LOST, f"{certain} before value {take.item.value} never came to process {process}")
    elif not certain <= told <= possible or (told and not facts.rules.gaps):
        facts.report.refuse(
            Fault.WRONG_GAP,
            f"process {process} was told of {told} lost before value {take.item.value}: {certain} to {possible}",
        )


def _check_answers(facts: Facts, calls: list[Operation], takes: list[Take]) -> None:
    """A reader that was told "empty" or "the end" had got what was there."""
    cover = Cover(_presence(facts, calls[0], {take.item.value: take for take in takes}))
    for call in calls:
        if call.op in TAKING and call.result in SAYS_EMPTY and cover.contains(call.invoked, call.returned):
            facts.report.refuse(
                Fault.FALSE_EMPTY,
                f"process {call.process} was told {call.result.name} between {call.invoked} and {call.returned}",
            )


def _presence(facts: Facts, join: Operation, takes: dict[int, Take]) -> Iterable[tuple[int, int]]:
    """A message that the reader gets is there until then.  One that it never gets is, in a lossy structure, there
    until the next one begins to be published: the newest is never overwritten."""
    following = FOREVER
    for sent in reversed(facts.in_order):
        take = takes.get(sent.item.value)
        if take is not None:
            yield max(sent.until, join.returned), take.begun
        elif sent.begun > join.returned and sent.certain:
            yield sent.until, following if facts.rules.gaps else FOREVER
        if sent.possible:
            following = min(following, sent.begun)


def check_numbers(facts: Facts) -> None:
    """Numbers that come with messages: one for each, in the order of sending, and none left out."""
    numbers: dict[int, int] = {}
    values: dict[int, int] = {}
    for value, takes in facts.takes.items():
        for take in takes:
            number = take.item.sequence
            if number < 0 or value not in facts.sent:
                continue
            if numbers.setdefault(value, number) != number or values.setdefault(number, value) != value:
                facts.report.refuse(Fault.REORDERED, f"number {number} and value {value} belong to several")
    published = _Published(facts)
    ordered = sorted((facts.sent[value].place, number) for value, number in numbers.items())
    for (place, number), (next_place, next_number) in pairwise(ordered):
        certain, possible = published.between(place + 1, next_place)
        if not certain <= next_number - number - 1 <= possible:
            facts.report.refuse(
                Fault.REORDERED,
                f"messages at places {place} and {next_place} have numbers {number} and {next_number}",
            )

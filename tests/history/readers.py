"""V2, V5 and V6 where each reader gets every message: what is missing was told, and the number told is exact.

Between two messages that a reader got one after the other, as many are missing as were published between them.  Those
whose publisher was killed in the call may count or not, unless another reader has got them.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from itertools import accumulate, groupby, pairwise

from tests.history.answers import SAYS_EMPTY, Cover
from tests.history.facts import TAKING, Facts, Sent, Take
from tests.history.operations import FOREVER, Op, Operation, Result
from tests.history.rules import Fault

__all__ = ["check_numbers", "check_readers"]


def check_readers(facts: Facts) -> None:
    """Each reader by itself."""
    published = _Published(facts)
    for process, calls in facts.by_process.items():
        if calls[0].op != Op.JOIN:
            continue
        takes = [
            take
            for take in facts.by_reader.get(process, ())
            if take.item.value in facts.sent and take.call.result != Result.KEPT
        ]
        _check_once(facts, process, takes)
        batches = [list(batch) for _, batch in groupby(takes, lambda take: id(take.call))]
        _check_first(facts, published, calls[0], batches)
        for before, batch in pairwise(batches):
            _check_gap(facts, published, process, [before[-1], *batch])
        _check_told_numbers(facts, calls[0], takes)
        _check_answers(facts, calls, takes)
        _check_eviction(facts, published, calls, batches)


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


def _check_first(facts: Facts, published: _Published, join: Operation, batches: list[list[Take]]) -> None:
    """Where a reader begins: behind all that was published before it joined, and with all that was after."""
    if not batches:
        return
    latest, first = join.most == 0, batches[0][0]
    sent = facts.sent[first.item.value]
    if latest and sent.until < join.invoked:
        facts.report.refuse(Fault.INVENTED, f"process {join.process} got value {first.item.value} of before it joined")
    behind = sent.place
    certain, _ = published.between(published.begun_after(join.returned), behind)
    _, possible = published.between(published.ended_after(join.invoked) if latest else 0, behind)
    inner_certain, inner_possible = _missing(facts, published, batches[0])
    _compare(facts, join.process, certain + inner_certain, possible + inner_possible, batches[0])


def _check_gap(facts: Facts, published: _Published, process: int, takes: list[Take]) -> None:
    """Of a batch only the sum may be known: it is compared with what is missing since the one before it."""
    certain, possible = _missing(facts, published, takes)
    _compare(facts, process, certain, possible, takes[1:])


def _missing(facts: Facts, published: _Published, takes: list[Take]) -> tuple[int, int]:
    """How many are missing between these, for certain and at most; what is out of order is said elsewhere."""
    certain = possible = 0
    for before, after in pairwise(takes):
        least, most = published.between(facts.sent[before.item.value].place + 1, facts.sent[after.item.value].place)
        certain, possible = certain + least, possible + most
    return certain, possible


def _compare(facts: Facts, process: int, certain: int, possible: int, takes: list[Take]) -> None:
    told, value = sum(take.item.gap for take in takes), takes[-1].item.value
    if not facts.rules.gaps and told == 0 and certain > 0:
        facts.report.refuse(Fault.LOST, f"{certain} before value {value} never came to process {process}")
    elif not certain <= told <= possible or (told and not facts.rules.gaps):
        facts.report.refuse(
            Fault.WRONG_GAP,
            f"process {process} was told of {told} lost before value {value}: {certain} to {possible}",
        )


def _check_told_numbers(facts: Facts, join: Operation, takes: list[Take]) -> None:
    """Between two numbers that a reader was told are those that came, and as many as it was told that it has lost."""
    number, missing = join.most - 3 if join.most >= 2 else None, 0  # the one before the first
    for take in takes:
        missing += take.item.gap
        if take.item.sequence >= 0:
            if number is not None and take.item.sequence != number + missing + 1:
                facts.report.refuse(
                    Fault.WRONG_GAP,
                    f"process {join.process} was told of number {take.item.sequence} behind {number}, and that "
                    f"{missing} others came or were lost between them",
                )
            number, missing = take.item.sequence, 0
        else:
            missing += 1


def _check_eviction(facts: Facts, published: _Published, calls: list[Operation], batches: list[list[Take]]) -> None:
    """Who is evicted was far behind; what its last call gave it may have been counted, if it was not done with it."""
    least = facts.rules.least_lag
    told = next((call for call in calls if call.op in TAKING and call.result == Result.HELD_BACK), None)
    if least is None or told is None:
        return
    first = facts.sent[batches[-1][0].item.value].place if batches else 0
    _, behind = published.between(first, published.begun_after(told.returned))
    if behind < least:
        facts.report.refuse(
            Fault.FALSE_EVICTION,
            f"process {told.process} was evicted at {told.returned}, at most {behind} behind: {least} is too far",
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

"""V5 and P5: whether "empty", "full" and "the other side died" can have been true at any moment of the call.

A message is there for certain between the end of its sending and the beginning of the call that has taken it; it may be
there between the beginning of its sending and the end of the last such call.  EMPTY is wrong if at every moment of the
call something was there for certain, FULL if at no moment there can have been too little room.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Sequence

from tests.history.facts import TAKING, Facts, Sent
from tests.history.operations import FOREVER, Op, Operation, Result
from tests.history.rules import Fault

__all__ = ["Cover", "Most", "check_deaths", "check_empty", "check_ends", "check_full", "presence"]

SAYS_EMPTY = frozenset({Result.EMPTY, Result.PEER_DIED, Result.ENDED})
SAYS_FULL = frozenset({Result.FULL, Result.PEER_DIED})


class Cover:
    """The union of intervals."""

    def __init__(self, intervals: Iterable[tuple[int, int]]) -> None:
        self._starts: list[int] = []
        self._ends: list[int] = []
        for start, end in sorted(intervals):
            if self._ends and start < self._ends[-1]:
                self._ends[-1] = max(self._ends[-1], end)
            elif start < end:
                self._starts.append(start)
                self._ends.append(end)

    def contains(self, start: int, end: int) -> bool:
        """Whether one interval without a hole contains this one."""
        at = bisect_left(self._starts, start) - 1
        return at >= 0 and self._ends[at] > end

    def meets(self, start: int, end: int) -> bool:
        """Whether any of it is in this one."""
        at = bisect_right(self._starts, end) - 1
        return at >= 0 and self._ends[at] >= start


def check_empty(facts: Facts) -> None:
    """For messages that readers share."""
    cover = Cover(presence(facts))
    for calls in facts.by_process.values():
        for call in calls:
            if call.op in TAKING and call.result in SAYS_EMPTY and cover.contains(call.invoked, call.returned):
                facts.report.refuse(
                    Fault.FALSE_EMPTY,
                    f"process {call.process} was told {call.result.name} between {call.invoked} and {call.returned}",
                )


def presence(facts: Facts) -> Iterable[tuple[int, int]]:
    """When each message was there for certain."""
    hidden = _Hidden(facts)
    for sent in facts.in_order:
        takes = facts.takes.get(sent.item.value, ())
        if takes:
            until = max(take.begun for take in takes)  # one that came again had stayed
            yield sent.until, min(until, hidden.first_after(sent)) if facts.rules.returns else until
        elif sent.certain:
            yield sent.until, FOREVER if sent.item.value in facts.left else hidden.first_after(sent)


class _Hidden:
    """When a message that nobody has told may have been taken by a reader that died."""

    def __init__(self, facts: Facts) -> None:
        calls = sorted((dead_by, call.invoked) for call, dead_by, _ in facts.hidden)
        self._dead_by = [dead_by for dead_by, _ in calls]
        self._first = [FOREVER] * (len(calls) + 1)
        for at in range(len(calls) - 1, -1, -1):
            self._first[at] = min(self._first[at + 1], calls[at][1])

    def first_after(self, sent: Sent) -> int:
        return self._first[bisect_left(self._dead_by, sent.begun)]


def check_full(facts: Facts) -> None:
    """Where the capacity is known."""
    rules = facts.rules
    if rules.capacity is None:
        return
    changes: list[tuple[int, int]] = []
    for sent, end in zip(facts.in_order, _gone_by(facts), strict=True):
        room = rules.room(sent.item.size)
        in_parts = room > rules.capacity
        room = min(room, rules.capacity)
        if sent.possible or in_parts:  # of one that was given up some parts may lie there until they are dropped
            changes += [(sent.begun, room), (end + 1, -room)]
    most = Most(changes)
    for calls in facts.by_process.values():
        for call in calls:
            if call.op != Op.SEND or call.result not in SAYS_FULL or call.done == len(call.items):
                continue
            room = rules.room(call.items[call.done].size)
            if room > rules.capacity:
                continue
            used = most.between(call.invoked, call.returned)
            if used + room <= rules.capacity:
                facts.report.refuse(
                    Fault.FALSE_FULL,
                    f"process {call.process} was told {call.result.name} between {call.invoked} and {call.returned}, "
                    f"for {room} with at most {used} of {rules.capacity} in use",
                )


def _gone_by(facts: Facts) -> list[int]:
    """By when each message, in order, has left for certain; what never came, when one behind it did."""
    ends: list[int] = [FOREVER] * len(facts.in_order)
    behind = FOREVER
    for at in range(len(ends) - 1, -1, -1):
        value = facts.in_order[at].item.value
        takes = facts.takes.get(value, ())
        if value in facts.left:
            continue
        if takes:
            ends[at] = max(take.gone_by for take in takes)
            behind = ends[at] if facts.rules.order == "total" else FOREVER
        else:
            ends[at] = behind
    return ends


class Most:
    """The largest sum in force in an interval."""

    def __init__(self, changes: Sequence[tuple[int, int]]) -> None:
        self._moments: list[int] = []
        sums: list[int] = []
        total = 0
        for moment, change in sorted(changes, key=lambda change: change[0]):
            total += change
            if self._moments and self._moments[-1] == moment:
                sums[-1] = total
            else:
                self._moments.append(moment)
                sums.append(total)
        self._levels = [sums]
        width = 1
        while 2 * width <= len(sums):
            before = self._levels[-1]
            self._levels.append([max(before[i], before[i + width]) for i in range(len(before) - width)])
            width *= 2

    def between(self, start: int, end: int) -> int:
        """The largest of an interval."""
        first = bisect_right(self._moments, start) - 1
        last = bisect_right(self._moments, end) - 1
        least = max(first, 0)
        if last < least:
            return 0
        level = (last - least + 1).bit_length() - 1
        values = self._levels[level]
        return max(values[least], values[last + 1 - (1 << level)])


def check_deaths(facts: Facts) -> None:
    """PEER_DIED is true from a kill until somebody else has the dead one's end for certain."""
    if not facts.rules.false_deaths:
        return
    senders = [calls for calls in facts.by_process.values() if calls[0].op == Op.SEND]
    readers = [calls for calls in facts.by_process.values() if calls[0].op in TAKING or calls[0].op == Op.JOIN]
    for mine, others in ((senders, readers), (readers, senders)):
        cover = Cover(_vacancies(facts, others))
        for calls in mine:
            for call in calls:
                if call.result == Result.PEER_DIED and not cover.meets(call.invoked, call.returned):
                    facts.report.refuse(
                        Fault.FALSE_DEATH,
                        f"process {call.process} was told at {call.returned} of a death, and nobody had died",
                    )


def check_ends(facts: Facts) -> None:
    """ENDED is true from a sender's leaving until somebody else sends for certain.

    A sender that may be killed before its first message tells a SEND of nothing when it has the end.
    """
    if not facts.rules.false_ends:
        return
    senders = [calls for calls in facts.by_process.values() if calls[0].op == Op.SEND]
    first_return = _first_returns(senders)
    cover = Cover((calls[-1].invoked, first_return(calls[-1].invoked)) for calls in senders if calls[-1].op == Op.LEAVE)
    for calls in facts.by_process.values():
        for call in calls:
            if call.op in TAKING and call.result == Result.ENDED and not cover.meets(call.invoked, call.returned):
                facts.report.refuse(
                    Fault.FALSE_END, f"process {call.process} was told at {call.returned} that it is over"
                )


def _vacancies(facts: Facts, chain: list[list[Operation]]) -> Iterable[tuple[int, int]]:
    first_return = _first_returns(chain)
    for calls in chain:
        death = facts.history.deaths.get(calls[0].process)
        if death is not None:
            # it may have made its first call between our decision and the kill: it is no successor of its own
            yield death.killed, first_return(max(death.killed, calls[0].invoked))


def _first_returns(chain: list[list[Operation]]) -> Callable[[int], int]:
    """By when somebody who began after a moment had the end for certain."""
    starts = sorted((calls[0].invoked, calls[0].returned) for calls in chain)
    moments = [begun for begun, _ in starts]
    earliest = [FOREVER] * (len(starts) + 1)
    for at in range(len(starts) - 1, -1, -1):
        earliest[at] = min(earliest[at + 1], starts[at][1])
    return lambda moment: earliest[bisect_right(moments, moment)]

"""What the logs of a round over a queue say, compared with what is promised and with the queue's own counters."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from pathlib import Path

import ipc
from tests.history.answers import Most
from tests.history.checker import check
from tests.history.facts import Facts
from tests.history.log import read
from tests.history.operations import FOREVER, History, Op, Result
from tests.history.rules import Fault, Report
from tests.storm.figures import Outcome, count_operations, recoveries
from tests.storm.queue_kinds import Kind

__all__ = ["judge"]


def judge(
    directory: Path,
    kind: Kind,
    stats: ipc.QueueStats,
    copies: Counter[int],
    starts: dict[int, int],
    sides: dict[int, str],
) -> Outcome:
    """All was over when `stats` were taken: nothing waited, and nothing was held."""
    history = read(directory)
    report = check(history, kind.rules)
    facts = Facts.of(history, kind.rules, (), Report())
    if report.accepted:
        _compare(facts, report, kind, stats, copies)
    if kind.maxsize:
        _check_maxsize(facts, kind.maxsize + max(0, _most_at_work(history, starts, sides, "sender") - 1), report)
        _check_full(facts, kind.maxsize, report)
    _check_ids(facts, report)
    recovery = recoveries(history, starts, sides)
    if kind.reliable:
        recovery["message in a dead consumer's hands"] = list(_redeliveries(facts, starts, sides))
    counts = Counter({"dead letters": len(copies), "moved twice": sum(copies.values()) - len(copies)})
    counts["acks refused"] = sum(call.op == Op.ACK and call.result == Result.REFUSED for call in history.operations)
    return Outcome(report, recovery, count_operations(history), +counts)


def _compare(facts: Facts, report: Report, kind: Kind, stats: ipc.QueueStats, copies: Counter[int]) -> None:
    """The counters of the segment are exact, the logs are so but for what nobody lived to tell."""
    history = facts.history
    unsure = sum(
        len(call.items) - call.done for call in history.operations if call.op == Op.SEND and call.result == Result.OPEN
    )
    assert stats.depth == stats.ready == stats.leased == stats.kept == 0, stats
    assert report.sent + report.recovered <= stats.sent <= report.sent + unsure, (report, stats)
    assert stats.dead_lettered == len(copies), (len(copies), stats)
    assert stats.acknowledged == stats.sent - len(copies), stats
    assert sum(copies.values()) - len(copies) <= len(history.deaths), copies
    told = sum(len(takes) for takes in facts.takes.values())
    if kind.reliable:
        # each message once, and each of them so many times more as came again, told or not
        assert stats.delivered - stats.redelivered == stats.sent, stats
        most = {value: max(take.item.deliveries for take in takes) for value, takes in facts.takes.items()}
        most |= {
            call.items[0].value: call.items[0].deliveries for call in history.operations if call.op == Op.DEAD_LETTER
        }
        possible = sum(most_ for _, _, most_ in facts.hidden)
        assert sum(most.values()) <= stats.delivered <= sum(most.values()) + possible, (sum(most.values()), stats)
    else:
        assert told <= stats.sent <= told + report.untold + unsure, (told, report, stats)
        assert stats.redelivered <= sum(most_ for _, _, most_ in facts.hidden), stats


def _most_at_work(history: History, starts: dict[int, int], sides: dict[int, str], role: str) -> int:
    """How many of a role there were at one time, at most."""
    changes: list[tuple[int, int]] = []
    for process, started in starts.items():
        if sides[process] == role:
            changes.append((started, 1))
            if process in history.deaths:
                changes.append((history.deaths[process].reaped, -1))
    return _highest(changes)


def _highest(changes: Iterable[tuple[int, int]]) -> int:
    highest = total = 0
    for _, change in sorted(changes):
        total += change
        highest = max(highest, total)
    return highest


def _check_maxsize(facts: Facts, most: int, report: Report) -> None:
    """At no moment were more messages there for certain than maxsize allows with so many producers."""
    changes: list[tuple[int, int]] = []
    for sent in facts.in_order:
        takes = facts.takes.get(sent.item.value, ())
        if sent.certain and takes and sent.until < takes[0].begun:
            changes += [(sent.until, 1), (takes[0].begun, -1)]
    highest = _highest(changes)
    if highest > most:
        report.refuse(Fault.FALSE_FULL, f"{highest} messages were there at one time: at most {most} may be")


def _check_full(facts: Facts, maxsize: int, report: Report) -> None:
    """Whoever was told "full" may have counted each producer's messages at another moment of the call, but at one."""
    changes: defaultdict[int, list[tuple[int, int]]] = defaultdict(list)
    for sent in facts.in_order:
        if sent.possible:
            gone_by = max((take.gone_by for take in facts.takes.get(sent.item.value, ())), default=FOREVER)
            changes[sent.call.process] += [(sent.begun, 1), (gone_by + 1, -1)]
    most = [Most(each) for each in changes.values()]
    for call in facts.history.operations:
        if call.op == Op.SEND and call.result == Result.FULL:
            found = sum(each.between(call.invoked, call.returned) for each in most)
            if found < maxsize:
                report.refuse(
                    Fault.FALSE_FULL, f"process {call.process} was told FULL of {found} of {maxsize} messages"
                )


def _check_ids(facts: Facts, report: Report) -> None:
    """One id for each message, whenever and wherever it comes, and no two messages with one."""
    values: dict[int, int] = {}
    ids: dict[int, int] = {}
    calls = [call for call in facts.history.operations if call.op in {Op.LEASE, Op.DEAD_LETTER}]
    for item in (item for call in calls for item in call.items):
        if values.setdefault(item.sequence, item.value) != item.value:
            report.refuse(Fault.MALFORMED, f"id {item.sequence} is that of two messages")
        if ids.setdefault(item.value, item.sequence) != item.sequence:
            report.refuse(Fault.MALFORMED, f"value {item.value} came with two ids")


def _redeliveries(facts: Facts, starts: dict[int, int], sides: dict[int, str]) -> Iterable[float]:
    """Milliseconds from the end of a consumer until somebody else had told a message that it had held.

    The time in which nobody was there to take it doesn't count.
    """
    ended: set[tuple[int, int]] = {
        (call.items[0].value, call.items[0].deliveries)
        for call in facts.history.operations
        if call.op in {Op.ACK, Op.NACK}
    }
    for takes in facts.takes.values():
        by_number = {take.item.deliveries: take for take in takes}
        for number, take in by_number.items():
            death = facts.history.deaths.get(take.call.process)
            again = by_number.get(number + 1)
            if death is None or again is None or (take.item.value, number) in ended or again.until <= death.reaped:
                continue
            since = _somebody_was_there(facts.history, starts, sides, death.reaped)
            yield max(0, again.until - since) / 1e6


def _somebody_was_there(history: History, starts: dict[int, int], sides: dict[int, str], since: int) -> int:
    """From when on there was a consumer that ran."""
    consumers = [process for process, side in sides.items() if side == "receiver"]
    moments = [since, *(starts[process] for process in consumers), *(resumed for _, _, resumed in history.stops)]
    for moment in sorted(moment for moment in moments if since <= moment < FOREVER):
        for process in consumers:
            death = history.deaths.get(process)
            if starts[process] > moment or (death is not None and death.killed <= moment):
                continue
            if not any(who == process and begun <= moment < end for who, begun, end in history.stops):
                return moment
    return since

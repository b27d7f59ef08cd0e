"""What the logs of a round over a multicast say, compared with what is promised and with its own counters."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import ipc
from tests.history.checker import check
from tests.history.facts import TAKING
from tests.history.log import read
from tests.history.operations import History, Op, Result
from tests.history.rules import LOSSY, Fault, Report, Rules
from tests.storm.figures import Outcome, count_operations, recoveries
from tests.storm.multicast_kinds import MulticastKind
from tests.storm.multicast_roles import Reads, has_topic, process_of, reads

__all__ = ["judge_multicast"]


def judge_multicast(
    directory: Path, kind: MulticastKind, stats: ipc.MulticastStats, starts: dict[int, int], sides: dict[int, str]
) -> Outcome:
    """All was over when `stats` were taken.

    Each subscription is judged as a reader of its own; it dies, or is stopped, with its process.
    """
    history = read(directory)
    recovery = recoveries(_by_process(history), starts, sides)
    _give_deaths_to_subscriptions(history)
    report = check(_read_by(history, Reads.ALL), kind.rules)
    if kind.observed:
        _merge(report, check(_read_by(history, Reads.OBSERVING), LOSSY))
    if kind.topics:
        _merge(report, check(_of_one_topic(history), _less_known(kind.rules)))
    _check_numbers(history, report)
    if report.accepted:
        _compare(history, report, kind, stats)
    joined = [call.process for call in history.operations if call.op == Op.JOIN and call.result == Result.OK]
    counts = Counter({"told lost": report.gaps, "subscriptions": len(joined)})
    counts["observers"] = sum(reads(number) == Reads.OBSERVING for number in joined)
    counts["of one topic"] = sum(reads(number) == Reads.A_TOPIC for number in joined)
    counts["evicted"] = sum(call.op in TAKING and call.result == Result.HELD_BACK for call in history.operations)
    counts["started too late"] = sum(
        call.op == Op.JOIN and call.result == Result.REFUSED for call in history.operations
    )
    return Outcome(report, recovery, count_operations(history), +counts)


def _publishers(history: History) -> set[int]:
    return {call.process for call in history.operations if call.op == Op.SEND}


def _by_process(history: History) -> History:
    """With the numbers of processes instead of subscriptions."""
    publishers = _publishers(history)
    calls = [
        call if call.process in publishers else replace(call, process=process_of(call.process))
        for call in history.operations
    ]
    return History(sorted(calls, key=lambda call: call.invoked), dict(history.deaths), list(history.stops))


def _give_deaths_to_subscriptions(history: History) -> None:
    for call in history.operations:
        if call.op == Op.JOIN and process_of(call.process) in history.deaths:
            history.deaths[call.process] = history.deaths[process_of(call.process)]


def _read_by(history: History, what: Reads) -> History:
    """What was published, and what some readers tell."""
    publishers = _publishers(history)
    calls = [call for call in history.operations if call.process in publishers or reads(call.process) == what]
    return History(calls, history.deaths, history.stops)


def _of_one_topic(history: History) -> History:
    """As if nothing else had been published; its numbers have gaps."""
    calls = []
    for call in _read_by(history, Reads.A_TOPIC).operations:
        if call.op == Op.SEND:
            items = [item for item in call.items if has_topic(item.value)]
            done = sum(has_topic(item.value) for item in call.items[: call.done])
            calls.append(replace(call, items=items, done=done))
        else:
            most = min(call.most, 1) if call.op == Op.JOIN else call.most
            calls.append(replace(call, items=[item._replace(sequence=-1) for item in call.items], most=most))
    return History(calls, history.deaths, history.stops)


def _less_known(rules: Rules) -> Rules:
    """How far behind such a reader was is not known from what it read."""
    return replace(rules, least_lag=None)


def _merge(report: Report, other: Report) -> None:
    """What was sent was sent once."""
    report.recovered = max(report.recovered, other.recovered)
    report.gaps += other.gaps
    report.answers += Counter({answer: other.answers[answer] for answer in other.answers if answer != "FULL"})
    report.findings += other.findings


def _check_numbers(history: History, report: Report) -> None:
    """One number for each message, whoever reads it: also who reads one topic."""
    numbers: dict[int, int] = {}
    values: dict[int, int] = {}
    for item in (item for call in history.operations if call.op in TAKING for item in call.items):
        if item.sequence < 0:
            continue
        if (
            numbers.setdefault(item.value, item.sequence) != item.sequence
            or values.setdefault(item.sequence, item.value) != item.value
        ):
            report.refuse(Fault.REORDERED, f"number {item.sequence} and value {item.value} belong to several")


def _compare(history: History, report: Report, kind: MulticastKind, stats: ipc.MulticastStats) -> None:
    """The segment's counter is exact, the logs are so but for what nobody lived to tell."""
    unsure = sum(
        len(call.items) - call.done for call in history.operations if call.op == Op.SEND and call.result == Result.OPEN
    )
    assert report.sent + report.recovered <= stats.sent <= report.sent + unsure, (report, stats)
    highest = max((item.sequence for call in history.operations for item in call.items), default=-1)
    assert highest < stats.sent, (highest, stats)
    assert stats.evicted == 0 or kind.rules.least_lag is not None, stats
    assert not any(one.alive for one in stats.subscribers), stats

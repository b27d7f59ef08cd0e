"""One round over a multicast: one publishes and three read, kills and successors; then its history is judged."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Final

import ipc
from tests.history.checker import check
from tests.history.facts import TAKING
from tests.history.log import read
from tests.history.operations import History, Op, Result
from tests.history.rules import LOSSY, Fault, Report
from tests.storm.figures import Outcome, count_operations, recoveries
from tests.storm.multicast_kinds import MULTICASTS, MulticastKind
from tests.storm.multicast_roles import OBSERVING, play_at_a_multicast, process_of
from tests.storm.roles import Part
from tests.storm.rounds import Round, in_a_process_of_its_own

__all__ = ["READERS", "MulticastRound", "fight_over_a_multicast", "judge_multicast"]

READERS: Final = 3


class MulticastRound(Round):
    """One publisher at a time, and several readers."""

    seats = ("sender", *(f"receiver-{number}" for number in range(READERS)))

    def play(self, part: Part) -> None:
        play_at_a_multicast(part)

    def choose(self, victims: list[str]) -> list[str]:
        """The publisher often, as there is only one; sometimes several."""
        chance = self.random.random()
        if chance < 0.3 and "sender" in victims:
            return ["sender"]
        return self.random.sample(victims, 1 if chance < 0.8 else self.random.randint(1, len(victims)))

    def meanwhile(self, seats: list[str]) -> None:
        """That others go on is measured by what they do."""


def judge_multicast(
    directory: Path, kind: MulticastKind, stats: ipc.MulticastStats, starts: dict[int, int], sides: dict[int, str]
) -> Outcome:
    """What the logs say, compared with what is promised and with the multicast's own counters.

    Each subscription is judged as a reader of its own; it dies, or is stopped, with its process.
    """
    history = read(directory)
    recovery = recoveries(_by_process(history), starts, sides)
    _give_deaths_to_subscriptions(history)
    readers = {call.process for call in history.operations if call.op == Op.JOIN}
    observers = {number for number in readers if number % 2 == OBSERVING}
    report = check(_without(history, observers), kind.rules)
    if observers:
        _merge(report, check(_without(history, readers - observers), LOSSY))
    _check_deaths(history, report)
    if report.accepted:
        _compare(history, report, stats)
    counts = Counter({"subscriptions": len(readers), "observers": len(observers), "told lost": report.gaps})
    counts["evicted"] = sum(call.op in TAKING and call.result == Result.HELD_BACK for call in history.operations)
    return Outcome(report, recovery, count_operations(history), +counts)


def _by_process(history: History) -> History:
    """With the numbers of processes instead of subscriptions."""
    calls = [
        call if call.op == Op.SEND else replace(call, process=process_of(call.process)) for call in history.operations
    ]
    return History(sorted(calls, key=lambda call: call.invoked), dict(history.deaths), list(history.stops))


def _give_deaths_to_subscriptions(history: History) -> None:
    for call in history.operations:
        if call.op == Op.JOIN and process_of(call.process) in history.deaths:
            history.deaths[call.process] = history.deaths[process_of(call.process)]


def _without(history: History, readers: set[int]) -> History:
    calls = [call for call in history.operations if call.process not in readers]
    return History(calls, history.deaths, history.stops)


def _merge(report: Report, other: Report) -> None:
    """What was sent was sent once."""
    report.gaps += other.gaps
    report.answers += other.answers
    report.findings += other.findings


def _check_deaths(history: History, report: Report) -> None:
    """Nobody was told of a death before a publisher was killed."""
    publishers = {call.process for call in history.operations if call.op == Op.SEND}
    first = min((death.killed for who, death in history.deaths.items() if who in publishers), default=None)
    for call in history.operations:
        if call.result == Result.PEER_DIED and (first is None or call.returned < first):
            report.refuse(Fault.FALSE_DEATH, f"reader {call.process} was told of a death, and nobody had died")


def _compare(history: History, report: Report, stats: ipc.MulticastStats) -> None:
    """The segment's counter is exact, the logs are so but for what nobody lived to tell."""
    unsure = sum(
        len(call.items) - call.done for call in history.operations if call.op == Op.SEND and call.result == Result.OPEN
    )
    assert report.sent <= stats.sent <= report.sent + unsure, (report, stats)
    assert all(not one.alive for one in stats.subscribers), stats


def fight_over_a_multicast(round_: MulticastRound, kills: int, pause: float) -> int:
    """A whole round; returns the number of the last process."""
    first = round_.processes
    round_.over[0] = 0
    kind = MULTICASTS[round_.kind]
    with kind.made(round_.name) as multicast:
        try:
            for seat in round_.seats:
                round_.start(seat)
            before = round_.figures.killed
            while round_.figures.killed - before < kills:
                round_.strike(pause)
            round_.wait(round_.random.uniform(0, pause))
            round_.finish()
            stats = multicast.stats()
        finally:
            round_.abandon()
    outcome = in_a_process_of_its_own(
        lambda: judge_multicast(round_.directory, kind, stats, round_.starts, round_.sides)
    )
    assert outcome.report.accepted, f"{round_.kind}, processes from number {first}: {outcome.report}"
    round_.figures.add(outcome)
    return round_.processes

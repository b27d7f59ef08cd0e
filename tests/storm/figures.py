"""What the storm has done and found, in figures."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import Final

from tests.history.operations import FOREVER, History, Op
from tests.history.rules import Report
from tests.process.support import DEATH_NOTICED_SECONDS
from tests.storm.holdings import Holdings, check_flat, check_resident

__all__ = ["OF_CHANNELS", "OF_MULTICASTS", "OF_QUEUES", "Figures", "Outcome", "recoveries"]

OF_CHANNELS: Final = ("survivor", "successor", "survivor that was left alone")
OF_QUEUES: Final = ("survivor", "successor", "message in a dead consumer's hands")
OF_MULTICASTS: Final = OF_CHANNELS

PROMISED_MS: Final = 200  # asserted at five times: see DEATH_NOTICED_SECONDS


def recoveries(history: History, starts: dict[int, int], sides: dict[int, str]) -> dict[str, list[float]]:
    """Milliseconds from a death to the first call that completes: the survivor's, since the dead one was reaped, and
    the successor's, since it was started.  A time in which somebody was stopped doesn't count."""
    ends: dict[int, list[int]] = {}
    for call in history.operations:
        if call.returned != FOREVER:
            ends.setdefault(call.process, []).append(call.returned)
    found: dict[str, list[float]] = {"survivor": [], "successor": []}

    def first(process: int, since: int) -> float | None:
        calls = ends.get(process, [])
        at = bisect_right(calls, since)
        if at == len(calls):
            return None  # it was killed as well
        end = calls[at]
        for _, stopped, resumed in history.stops:
            if stopped < end and resumed > since:
                since = max(since, min(resumed, end))
        return (end - since) / 1e6

    for victim, death in history.deaths.items():
        for process, side in sides.items():
            if side != sides[victim] and starts[process] < death.killed and process in ends:
                other = history.deaths.get(process)
                if (other is None or other.killed > death.reaped) and ends[process][-1] > death.reaped:
                    took = first(process, death.reaped)
                    if took is not None:
                        found["survivor"].append(took)
    for process, started in starts.items():
        took = first(process, started)
        if took is not None:
            found["successor"].append(took)
    return found


@dataclass
class Outcome:
    """What the judge of one round hands back."""

    report: Report
    recovery: dict[str, list[float]]
    operations: Counter[str]
    counts: Counter[str] = field(default_factory=Counter)
    """Of messages, besides those that the report has."""


@dataclass
class Figures:
    """Of all rounds."""

    rounds: int = 0
    kills: Counter[str] = field(default_factory=Counter)
    stops: int = 0
    operations: Counter[str] = field(default_factory=Counter)
    answers: Counter[str] = field(default_factory=Counter)
    counts: Counter[str] = field(default_factory=Counter)
    measured: tuple[str, ...] = OF_CHANNELS
    """What must have been measured."""
    recovery: defaultdict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    """Milliseconds; "left alone": until a survivor was told by PeerDiedError, where no successor came before."""
    holdings: dict[str, list[Holdings]] = field(default_factory=dict)
    """Of those who survive, after each round."""
    resident: dict[str, list[int]] = field(default_factory=dict)
    """Bytes of theirs, about once in a second."""
    seconds: float = 0.0

    @property
    def killed(self) -> int:
        return sum(self.kills.values())

    def add(self, outcome: Outcome) -> None:
        """One round more."""
        report = outcome.report
        self.rounds += 1
        self.operations += outcome.operations
        self.answers += report.answers
        for word in ("sent", "received", "recovered", "again", "untold"):
            self.counts[word] += getattr(report, word)
        self.counts += outcome.counts
        for who, times in outcome.recovery.items():
            self.recovery[who] += times

    def check(self, *, all_measured: bool = True) -> list[str]:
        """Assert what is promised about all rounds together; returns lines to print.

        all_measured: there were so many kills that every kind of recovery must have been met.
        """
        lines = [
            f"{self.killed} kills ({_said(self.kills)}), {self.stops} stops; 0 hangs",
            f"{self.rounds} rounds in {self.seconds:.0f} s",
            f"calls: {_said(self.operations)}",
            f"messages: {_said(self.counts)}; lost 0, unexpected 0, duplicated 0, reordered 0, torn 0",
            f"answers: {_said(self.answers)}",
        ]
        for who in self.measured:
            ordered = sorted(self.recovery[who])
            assert ordered or not all_measured, f"no {who} was ever measured"
            if not ordered:
                continue
            p50, p99 = (ordered[min(len(ordered) - 1, int(len(ordered) * q))] for q in (0.5, 0.99))
            lines.append(
                f"recovery of the {who}: {len(ordered)} measured, p50 {p50:.1f} ms, p99 {p99:.1f} ms, "
                f"max {ordered[-1]:.1f} ms (promised: {PROMISED_MS} ms)"
            )
            assert p99 <= 1000 * DEATH_NOTICED_SECONDS, lines[-1]
        lines += [check_resident(who, samples) for who, samples in self.resident.items() if len(samples) >= 20]
        lines += [check_flat(who, samples) for who, samples in self.holdings.items()]
        return lines


def _said(counts: Counter[str]) -> str:
    return ", ".join(f"{word} {count}" for word, count in sorted(counts.items()))


def count_operations(history: History) -> Counter[str]:
    """By kind."""
    return Counter(Op(call.op).name for call in history.operations)

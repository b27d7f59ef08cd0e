"""What came out: rows and ratios of each question, as JSON, as a Markdown table, and on the terminal."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from . import machine
from .contest import Field, Row, interleave
from .figures import Column, Summary, summary, times
from .options import Settings

__all__ = ["Ratio", "Report", "Row", "bundle", "markdown", "show", "where"]

SCHEMA = 1
QUICK = "A quick run: it shows that everything works and measures nothing."


@dataclass(frozen=True)
class Ratio:
    """Two contestants of one case, divided repetition by repetition."""

    label: str
    case: str
    metric: str
    value: Summary
    goal: str | None = None


@dataclass
class Report:
    """One question's answers."""

    question: str
    title: str
    columns: Sequence[Column]
    metric: str
    """The one that decides who is best, and that ratios and the plot are made of."""
    more_is_better: bool = True
    rows: list[Row] = field(default_factory=list)
    skipped: list[dict[str, str]] = field(default_factory=list)
    ratios: list[Ratio] = field(default_factory=list)
    begun: str = field(default_factory=machine.now)
    load_average_before: float = field(default_factory=machine.load_average)

    def hold(self, entered: Field, settings: Settings) -> list[Row]:
        """Measure those who take part; returns their rows."""
        rows = interleave(self.question, entered.contestants, settings.reps)
        self.rows += rows
        self.skipped += entered.skipped
        return rows

    def compare(
        self,
        rows: Sequence[Row],
        over: str,
        under: str,
        *,
        metric: str | None = None,
        over_metric: str | None = None,
        goal: str | None = None,
    ) -> None:
        """Add the ratio of two rows, if both were measured.

        Args:
          over, under: keys of contestants; "ours"; or "best", the best peer that is not ours.
          over_metric: what is compared of `over`, where that is another metric.
        """
        metric = metric or self.metric
        over_metric = over_metric or metric
        pair = [self._find(rows, over, over_metric), self._find(rows, under, metric)]
        above, below = pair
        if above is None or below is None:
            return
        name = below.contestant.name
        label = f"{above.contestant.name} / {f'best peer ({name})' if under == 'best' else name}"
        values = [a / b for a, b in zip(above.values(over_metric), below.values(metric), strict=False)]
        self.ratios.append(Ratio(label, above.contestant.case, metric, summary(values), goal))

    def failed(self) -> list[str]:
        return [
            f"{row.contestant.name}, {row.contestant.case}: {_last_line(row.error)}" for row in self.rows if row.error
        ]

    def _find(self, rows: Sequence[Row], who: str, metric: str) -> Row | None:
        rows = [row for row in rows if row.samples and metric in row.samples[0].metrics]
        if who == "best":
            rivals = [row for row in rows if row.contestant.kind == "peer"]
            choose = max if self.more_is_better else min
            return choose(rivals, key=lambda row: summary(row.values(metric))["median"], default=None)
        kind = "ours" if who == "ours" else None
        return next((row for row in rows if who == row.contestant.key or kind == row.contestant.kind), None)

    def to_json(self) -> dict[str, Any]:
        return {
            "question": self.question,
            "title": self.title,
            "begun": self.begun,
            "load_average_before": self.load_average_before,
            "metric": self.metric,
            "more_is_better": self.more_is_better,
            "results": [row.to_json() for row in self.rows],
            "ratios": [asdict(ratio) for ratio in self.ratios],
            "skipped": self.skipped,
        }


def bundle(reports: Sequence[Report], settings: Settings) -> dict[str, Any]:
    """Everything of one run, as written to results.json."""
    cpus = [cpu for cpu in settings.cpus if cpu is not None]
    pins = {
        "cpus": list(settings.cpus),
        "pinned": bool(cpus),
        "one_cpu_for_all": len(set(cpus)) == 1,
        "threads_of_one_core": len(set(cpus)) > 1 and set(cpus) <= machine.siblings(cpus[0]),
    }
    return {
        "schema": SCHEMA,
        "quick": settings.quick,
        "settings": asdict(settings),
        "pins": pins,
        "machine": machine.describe(),
        "questions": [report.to_json() for report in reports],
    }


# --- tables -------------------------------------------------------------------


def table(report: Report) -> tuple[list[str], list[list[str]]]:
    """Head and lines, as text."""
    lines = []
    for row in report.rows:
        summaries = row.summaries()
        who = row.contestant
        name = f"{who.name} {who.version}" if who.version else who.name
        shown = [
            column.show(summaries[column.metric]) if column.metric in summaries else "" for column in report.columns
        ]
        lines.append([who.case, name, *(shown if row.error is None else ["failed", *[""] * (len(shown) - 1)])])
    return ["case", "peer", *(column.title for column in report.columns)], lines


def ratio_table(reports: Sequence[Report]) -> tuple[list[str], list[list[str]]]:
    lines = [
        [report.question, ratio.case, ratio.label, times(ratio.value), ratio.goal or ""]
        for report in reports
        for ratio in report.ratios
    ]
    return ["question", "case", "ratio", "median (min..max)", "goal"], lines


def markdown(reports: Sequence[Report], run: dict[str, Any]) -> str:
    """The tables for the README."""
    parts = [f"**{QUICK}**"] if run["quick"] else []
    parts.append(where(run))
    for report in reports:
        parts.append(f"### {report.title}\n\n{_markdown_table(*table(report))}")
        parts += [f"Not measured: {line}" for line in _not_measured(report)]
    head, lines = ratio_table(reports)
    if lines:
        parts.append(f"### Ratios, repetition by repetition\n\n{_markdown_table(head, lines)}")
    return "\n\n".join(parts) + "\n"


def show(*reports: Report) -> None:
    """On the terminal: by rich where it is installed, else as plain text."""
    for report in reports:
        _show_table(report.title, *table(report))
        for line in _not_measured(report):
            print(f"not measured: {line}")
    head, lines = ratio_table(reports)
    if lines:
        _show_table("Ratios, repetition by repetition", head, lines)
    for failure in (failure for report in reports for failure in report.failed()):
        print(f"FAILED: {failure}", file=sys.stderr)


def where(run: dict[str, Any]) -> str:
    """One line: machine, system, pins, repetitions."""
    host = run["machine"]
    virtual = ", virtual machine" if host["virtual_machine"] else ""
    pins = ", ".join(map(str, run["pins"]["cpus"])) if run["pins"]["pinned"] else "none"
    load = run["questions"][0]["load_average_before"]
    return (
        f"{host['cpu_model']}{virtual}; {host['system']}; {host['python']}; pinned to CPUs {pins}; "
        f"median of {run['settings']['reps']} interleaved repetitions; load average before {load}; "
        f"{run['questions'][0]['begun']}."
    )


def _last_line(error: str) -> str:
    """Where a traceback says what went wrong; the whole of it is in the JSON."""
    return error.strip().rpartition("\n")[2]


def _not_measured(report: Report) -> list[str]:
    """One line per peer and reason, however many cases it concerns."""
    reasons: dict[tuple[str, str], list[str]] = {}
    for entry in report.skipped:
        reasons.setdefault((entry["peer"], entry["reason"]), []).append(entry["case"])
    return [f"{peer} ({', '.join(cases)}): {reason}" for (peer, reason), cases in reasons.items()]


def _markdown_table(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    rule = ["---" if number < 2 else "---:" for number in range(len(head))]
    return "\n".join(f"| {' | '.join(line)} |" for line in [head, rule, *lines])


def _show_table(title: str, head: Sequence[str], lines: Sequence[Sequence[str]]) -> None:
    try:
        if not sys.stdout.isatty():
            raise ImportError("a file has no width to fit a table into")
        tables, consoles = importlib.import_module("rich.table"), importlib.import_module("rich.console")
    except ImportError:
        widths = [max(map(len, column)) for column in zip(head, *lines, strict=True)]
        print(f"\n{title}")
        for line in [head, ["-" * width for width in widths], *lines]:
            print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())
        return
    shown = tables.Table(title=title, title_justify="left")
    for number, name in enumerate(head):
        shown.add_column(name, justify="left" if number < 2 else "right")
    for line in lines:
        shown.add_row(*line)
    consoles.Console().print(shown)

"""All results as bars from zero, one panel per case, with the spread over the repetitions.  Needs matplotlib."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from pathlib import Path

from .contest import Row
from .report import Report

__all__ = ["draw"]

COLOURS = {"ours": "#0b6e4f", "peer": "#9aa5b1", "floor": "#d9822b"}


def draw(reports: Sequence[Report], path: Path, note: str) -> bool:
    """Write results.png.  False when matplotlib is not installed or there is nothing to draw."""
    panels = [(report, case, rows) for report in reports for case, rows in _cases(report).items()]
    if not panels:
        return False
    try:
        figures = importlib.import_module("matplotlib.figure")
    except ImportError:
        return False
    figure = figures.Figure(figsize=(9, sum(0.8 + 0.35 * len(rows) for _, _, rows in panels) + 0.5))
    heights = [len(rows) + 1 for _, _, rows in panels]
    grid = figure.subplots(len(panels), 1, squeeze=False, gridspec_kw={"height_ratios": heights})
    for axes, (report, case, rows) in zip(grid[:, 0], panels, strict=True):
        summaries = [row.summaries()[report.metric] for row in rows]
        medians = [values["median"] for values in summaries]
        below = [values["median"] - values["min"] for values in summaries]
        above = [values["max"] - values["median"] for values in summaries]
        bars = axes.barh(
            [row.contestant.name for row in rows], medians, xerr=[below, above], capsize=2,
            color=[COLOURS[row.contestant.kind] for row in rows],
        )  # fmt: skip
        shown = next(column.show for column in report.columns if column.metric == report.metric)
        axes.bar_label(bars, [shown(values) for values in summaries], padding=6, fontsize=8)
        axes.margins(x=0.12)
        axes.invert_yaxis()
        axes.xaxis.set_visible(False)
        better = "more is better" if report.more_is_better else "less is better"
        axes.set_title(f"{report.question}, {case}: {report.metric}, {better}", fontsize=9, loc="left")
        axes.tick_params(labelsize=8)
    figure.text(0.01, 0.003, note, fontsize=6)
    figure.tight_layout()
    figure.savefig(path, dpi=120)
    return True


def _cases(report: Report) -> dict[str, list[Row]]:
    found: dict[str, list[Row]] = {}
    for row in report.rows:
        if row.samples and report.metric in row.samples[0].metrics:
            found.setdefault(row.contestant.case, []).append(row)
    return found

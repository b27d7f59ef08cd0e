"""Figures: percentiles of one repetition, median and spread of several, and how people read them."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypedDict

__all__ = [
    "Column", "Summary", "gigabytes", "microseconds", "nanoseconds", "parse_bytes", "percentile", "plain", "rate",
    "size_label", "spread", "summary", "times",
]  # fmt: skip

UNITS = {"": 1, "B": 1, "K": 1 << 10, "KIB": 1 << 10, "M": 1 << 20, "MIB": 1 << 20, "G": 1 << 30, "GIB": 1 << 30}


class Summary(TypedDict):
    """One metric over all repetitions."""

    median: float
    min: float
    max: float
    q1: float
    q3: float
    reps: list[float]


def summary(values: Sequence[float]) -> Summary:
    q1, _, q3 = statistics.quantiles(values, n=4, method="inclusive") if len(values) > 1 else [values[0]] * 3
    return Summary(median=statistics.median(values), min=min(values), max=max(values), q1=q1, q3=q3, reps=list(values))


def percentile(ordered: Sequence[float], percent: float) -> float:
    """The smallest value that at least `percent` of the values do not exceed (nearest rank)."""
    rank = -(-len(ordered) * percent // 100)
    return ordered[max(0, int(rank) - 1)]


# --- for people ---------------------------------------------------------------


@dataclass(frozen=True)
class Column:
    """One column of a question's table."""

    title: str
    metric: str
    show: Callable[[Summary], str]


def _short(value: float) -> str:
    """Three digits that mean something."""
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}"


def _rate(value: float) -> str:
    for scale, unit in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
        if value >= scale:
            return f"{_short(value / scale)}{unit}"
    return _short(value)


def _microseconds(value: float) -> str:
    return f"{_short(value / 1000)} us"


def rate(values: Summary) -> str:
    return _rate(values["median"])


def microseconds(values: Summary) -> str:
    """Of a metric in nanoseconds."""
    return _microseconds(values["median"])


def nanoseconds(values: Summary) -> str:
    return f"{_short(values['median'])} ns"


def gigabytes(values: Summary) -> str:
    return _short(values["median"])


def plain(values: Summary) -> str:
    return _short(values["median"])


def times(values: Summary) -> str:
    """A ratio with its spread."""
    return f"{values['median']:.2f} x  ({values['min']:.2f}..{values['max']:.2f})"


def spread(show: Callable[[Summary], str]) -> Callable[[Summary], str]:
    """Show min..max in the way that `show` shows the median; a unit that both have is written once."""

    def shown(values: Summary) -> str:
        low, high = show(summary([values["min"]])), show(summary([values["max"]]))
        number, _, unit = low.partition(" ")
        return f"{number if high.endswith(f' {unit}') else low}..{high}"

    return shown


def parse_bytes(text: str) -> int:
    """64, 64KiB, 1MiB."""
    digits = text.rstrip("BbIiKkMmGg")
    unit = text[len(digits) :].upper()
    if not digits.isdecimal() or unit not in UNITS:
        raise ValueError(f"not a size in bytes: {text!r} (64, 64KiB, 1MiB)")
    return int(digits) * UNITS[unit]


def size_label(size: int) -> str:
    for scale, unit in ((1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")):
        if size >= scale and size % scale == 0:
            return f"{size // scale} {unit}"
    return f"{size} B"

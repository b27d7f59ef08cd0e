"""What every question can be asked on the command line."""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from . import machine, peers
from .figures import parse_bytes

if TYPE_CHECKING:
    from .report import Report

__all__ = ["Settings", "duration", "finish", "natural", "parser", "positive", "settings", "size"]

QUICK_COUNT = 200


@dataclass(frozen=True)
class Settings:
    """How to measure, whatever the question."""

    reps: int = 5
    count: int | None = None
    seconds: float = 0.5
    peers: tuple[str, ...] = ()
    cpus: tuple[int | None, ...] = ()
    timeout: float = 60.0
    quick: bool = False


def parser(description: str | None, program: str) -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(
        prog=f"python -m {__package__}{'.' + program if program else ''}",
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("--reps", type=positive, default=None, metavar="N", help="repetitions of everybody (5)")
    made.add_argument("--count", type=positive, metavar="N", help="operations per repetition (what fits --seconds)")
    made.add_argument("--seconds", type=duration, default=0.5, metavar="S", help="length of one repetition (0.5)")
    made.add_argument(
        "--peers", nargs="+", default=(), metavar="PEER",
        help=f"some of: {' '.join(peers.names())}, or modules of yours by their dotted names",
    )  # fmt: skip
    made.add_argument("--cpus", type=_cpus, metavar="A,B", help="pin the processes to these, in turn")
    made.add_argument("--timeout", type=duration, default=60.0, metavar="S", help="give one repetition up after (60)")
    made.add_argument("--json", metavar="FILE", help="write the results there; - for standard output")
    made.add_argument(
        "--quick", action="store_true", help="one short repetition each: shows that it works, measures nothing"
    )
    return made


def settings(args: argparse.Namespace) -> Settings:
    for name in args.peers:
        if "." not in name and name not in peers.names():
            raise SystemExit(f"no such peer: {name} (there are {' '.join(peers.names())})")
        if "." in name:
            try:
                peers.load(name)
            except ImportError as error:
                raise SystemExit(f"no such peer: {name}: {error}") from None
    return Settings(
        reps=args.reps or (1 if args.quick else 5),
        count=args.count or (QUICK_COUNT if args.quick else None),
        seconds=args.seconds,
        peers=tuple(args.peers),
        cpus=args.cpus or machine.pick_cpus(),
        timeout=args.timeout,
        quick=args.quick,
    )


def finish(args: argparse.Namespace, report: Report) -> int:
    """Hand out one question's report.  Failure means that something did not run, never that it was slow."""
    from .report import bundle, show

    if args.json != "-":
        show(report)
    if args.json:
        text = json.dumps(bundle([report], settings(args)), indent=1) + "\n"
        if args.json == "-":
            print(text, end="")
        else:
            Path(args.json).write_text(text, encoding="utf-8")
    return 1 if report.failed() else 0


def size(text: str) -> int:
    """64, 64KiB, 1MiB."""
    try:
        return parse_bytes(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def duration(text: str) -> float:
    """Zero or more, of whatever unit the option has."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value < math.inf:
        raise argparse.ArgumentTypeError(f"must be a number of at least 0, not {text}")
    return value


def positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be a number of at least 1, not {text}")
    return int(text)


def natural(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"must be a number of at least 0, not {text}")
    return int(text)


def _cpus(text: str) -> Sequence[int]:
    numbers = text.split(",")
    if not all(number.isdecimal() for number in numbers):
        raise argparse.ArgumentTypeError(f"must be numbers with commas, such as 0,1, not {text}")
    cpus = tuple(map(int, numbers))
    allowed = machine.allowed_cpus()
    if not set(cpus) <= set(allowed):
        raise argparse.ArgumentTypeError(f"we may run on {allowed} only")
    return cpus

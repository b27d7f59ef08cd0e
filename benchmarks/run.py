"""Run every question, and write results.json, results.md and results.png."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

from . import (
    arrays,
    batches,
    floor,
    imports,
    latency,
    multicast,
    options,
    plot,
    publishing,
    queues,
    report,
    taking,
    throughput,
)

__all__ = ["main"]

QUESTIONS = (throughput, batches, latency, arrays, queues, taking, multicast, publishing, imports, floor)
OUTPUT = Path("build") / "bench"


def main(argv: Sequence[str] | None = None) -> int:
    parser = options.parser(__doc__, "")
    parser.add_argument("--output", type=Path, default=OUTPUT, metavar="DIR", help=f"where to write them ({OUTPUT})")
    parser.add_argument(
        "--only", nargs="+", choices=[question.NAME for question in QUESTIONS], help="these questions only"
    )
    args = parser.parse_args(argv)
    settings = options.settings(args)
    reports = [question.run(settings) for question in QUESTIONS if not args.only or question.NAME in args.only]

    results = report.bundle(reports, settings)
    args.output.mkdir(parents=True, exist_ok=True)
    text = json.dumps(results, indent=1) + "\n"
    (args.output / "results.json").write_text(text, encoding="utf-8")
    (args.output / "results.md").write_text(report.markdown(reports, results), encoding="utf-8")
    drawn = plot.draw(reports, args.output / "results.png", report.where(results))
    if args.json == "-":
        print(text, end="")
    else:
        report.show(*reports)
        print(f"\nresults.json, results.md{' and results.png' if drawn else ''} are in {args.output}")
        if args.json:
            Path(args.json).write_text(text, encoding="utf-8")
    return 1 if any(found.failed() for found in reports) else 0


if __name__ == "__main__":
    sys.exit(main())

"""How long does `import ipc` take, beside the import of multiprocessing's queues?

Each repetition starts several interpreters, with warm files, and takes the median of what the import statement takes.
They start without the `site` module: the .pth files of an editable installation import much of the standard library
beforehand, which would then be free for whoever needs it.
"""

from __future__ import annotations

import os
import statistics
import sys
import sysconfig
import time
from collections.abc import Callable, Sequence

from . import options, report
from .contest import Contestant, Field, Kind, Sample, run_command
from .figures import Column, Summary, spread
from .processes import import_path

NAME = "imports"
METRIC = "import_ms"
MODULES = {"ours": "ipc", "mp_queues": "multiprocessing.queues"}
STARTS = 11
PROGRAM = "import time; t = time.perf_counter(); import {}; print(time.perf_counter() - t)"


def _milliseconds(values: Summary) -> str:
    return f"{values['median']:.3g} ms"


COLUMNS = (Column("import", METRIC, _milliseconds), Column("min..max", METRIC, spread(_milliseconds)))


def _measurer(module: str, starts: int, timeout: float) -> Callable[[], Sample]:
    def once() -> float:
        command = [sys.executable, "-S", "-c", PROGRAM.format(module)]
        path = os.pathsep.join((import_path(), sysconfig.get_path("purelib"), sysconfig.get_path("platlib")))
        environment = {**os.environ, "PYTHONPATH": path}
        environment.pop("PYTHONDONTWRITEBYTECODE", None)  # the first start compiles what has changed, for all others
        return float(run_command(command, timeout, env=environment)) * 1000

    def measured() -> Sample:
        start = time.monotonic()
        once()
        metrics = {METRIC: statistics.median(once() for _ in range(starts))}
        return Sample(starts, time.monotonic() - start, metrics, {})

    return measured


def run(settings: options.Settings) -> report.Report:
    found = report.Report(NAME, "Importing", COLUMNS, METRIC, more_is_better=False)
    entered = Field()
    for key, module in MODULES.items():
        kind: Kind = "ours" if key == "ours" else "floor"
        measured = _measurer(module, 1 if settings.quick else STARTS, settings.timeout)
        entered.contestants.append(Contestant(key, f"import {module}", kind, "import", None, measured))
    rows = found.hold(entered, settings)
    found.compare(rows, "ours", "mp_queues", goal="at most 1.5 x")
    return found


def main(argv: Sequence[str] | None = None) -> int:
    args = options.parser(__doc__, NAME).parse_args(argv)
    return options.finish(args, run(options.settings(args)))


if __name__ == "__main__":
    sys.exit(main())

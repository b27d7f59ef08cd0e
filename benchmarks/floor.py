"""What does C do here without Python?  The floor under our figures, and our ring's core beside a plain queue.

A hot round trip is the median over stretches of 100 trips, so that the clock is not part of it; a parked one is the
median of single trips.  The programs are floor/*.c, compiled into a temporary directory for each run.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, final

from . import options, report
from .contest import Contestant, Field, Kind, Sample, run_command
from .figures import Column, gigabytes, nanoseconds, rate, spread

__all__ = ["FUTEX_PING_PONG", "LEND", "MEMCPY", "PAUSE_NS", "Program", "Programs", "run"]

NAME = "floor"
METRIC = "records_per_second"
ROUND_TRIP = "round_trip_ns"
COLUMNS = (
    Column("records/s", METRIC, rate),
    Column("min..max", METRIC, spread(rate)),
    Column("round trip", ROUND_TRIP, nanoseconds),
    Column("min..max of it", ROUND_TRIP, spread(nanoseconds)),
    Column("GB/s", "gigabytes_per_second", gigabytes),
)
FLAGS = ("-std=c11", "-D_GNU_SOURCE", "-O3", "-Wall", "-Wextra", "-pthread")  # the extension's own optimisation
SOURCES = Path(__file__).parent / "floor"
CAPACITY: Final = 1 << 20
PAUSE_NS: Final = 50_000  # several times what any peer takes to fall asleep


@dataclass(frozen=True)
class Program:
    """One way of running one of the programs."""

    key: str
    name: str
    source: str
    count: int
    mode: str = "-"
    kind: Kind = "floor"


FUTEX_PING_PONG = Program("c_futex", "C futex ping-pong", "futex_ping_pong.c", 5_000)
MEMCPY = Program("c_memcpy", "C memcpy", "memcpy.c", 20_000)
PLAIN_STREAM = Program("c_plain_stream", "C plain queue", "plain_queue.c", 50_000_000, "stream")
RING_STREAM = Program("c_ring_stream", "C core of the ring", "ring_core.c", 50_000_000, "stream", "ours")
PLAIN_TRIP = Program("c_plain_trip", "C plain queue", "plain_queue.c", 1_000_000, "round_trip")
RING_TRIP = Program("c_ring_trip", "C core of the ring", "ring_core.c", 1_000_000, "round_trip", "ours")
LEND = Program("c_lend", "C claim, copy, sum in place", "lend.c", 10_000)


@final
class Programs:
    """Compiles each program once, when it is first asked for.  A context manager."""

    def __init__(self) -> None:
        self._directory = tempfile.TemporaryDirectory(prefix="ipc-bench-")
        self._built: dict[str, Path] = {}

    def __enter__(self) -> Programs:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._directory.cleanup()

    def enter(self, field: Field, program: Program, case: str, settings: options.Settings, parameter: int) -> None:
        """Add a program to those who take part, or the reason why it can't.

        Args:
          parameter: what the program's head says: bytes, or nanoseconds.
        """
        try:
            executable = self._build(program.source)
        except (OSError, subprocess.CalledProcessError) as error:
            details = error.stderr if isinstance(error, subprocess.CalledProcessError) else error
            field.skip(program.key, case, str(details).strip())
            return
        count = settings.count or program.count
        cpus = [-1 if cpu is None else cpu for cpu in (settings.cpus * 2)[:2]]
        command = [str(executable), program.mode, *map(str, (*cpus, count, parameter))]
        measured = _measurer(command, count, {"cpus": cpus, "parameter": parameter}, settings.timeout)
        field.contestants.append(Contestant(program.key, program.name, program.kind, case, None, measured))

    def _build(self, source: str) -> Path:
        if source in self._built:
            return self._built[source]
        compiler = shlex.split(os.environ.get("CC", "cc"))
        if shutil.which(compiler[0]) is None:
            raise FileNotFoundError(f"no C compiler: {compiler[0]}")
        executable = Path(self._directory.name) / Path(source).stem
        needed = [str(SOURCES / source)]
        if source in {"lend.c", "ring_core.c"}:
            native = SOURCES.parents[1] / "native"
            if not (native / "ring.h").exists():
                raise FileNotFoundError("needs the sources in native/ of a checkout")
            needed += [str(native / "ring.c"), f"-I{native}"]
        command = [*compiler, *FLAGS, *needed, "-o", str(executable)]
        subprocess.run(command, check=True, capture_output=True, text=True)
        self._built[source] = executable
        return executable


def _measurer(command: Sequence[str], count: int, facts: dict[str, object], timeout: float) -> Callable[[], Sample]:
    def measured() -> Sample:
        printed = json.loads(run_command(command, timeout))
        return Sample(count, printed["seconds"], printed["metrics"], facts)

    return measured


def run(settings: options.Settings, capacity: int = CAPACITY) -> report.Report:
    found = report.Report(NAME, "Floor: C without Python, both sides pinned", COLUMNS, METRIC)
    with Programs() as programs:

        def hold(case: str, *contestants: Program, parameter: int = capacity) -> list[report.Row]:
            entered = Field()
            for program in contestants:
                programs.enter(entered, program, case, settings, parameter)
            return found.hold(entered, settings)

        rows = hold("8 B records, stream", RING_STREAM, PLAIN_STREAM)
        found.compare(rows, RING_STREAM.key, PLAIN_STREAM.key, goal="at least 1.0 x the plain queue")
        rows = hold("8 B records, hot round trip", RING_TRIP, PLAIN_TRIP)
        goal = "at most 1.1 x the plain queue"
        found.compare(rows, RING_TRIP.key, PLAIN_TRIP.key, metric=ROUND_TRIP, goal=goal)
        hold("parked round trip", FUTEX_PING_PONG, parameter=PAUSE_NS)
        hold("1 MiB copies in cache", MEMCPY, parameter=1 << 20)
    return found


def main(argv: Sequence[str] | None = None) -> int:
    parser = options.parser(__doc__, NAME)
    parser.add_argument(
        "--capacity", type=options.size, default=CAPACITY, metavar="BYTES", help="memory of each queue (1MiB)"
    )
    args = parser.parse_args(argv)
    return options.finish(args, run(options.settings(args), args.capacity))


if __name__ == "__main__":
    sys.exit(main())

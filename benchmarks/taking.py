"""What does it cost to take a message from a queue: at most once, and with a lease and its acknowledgement?

In one process, a queue is filled and emptied in turns, and only the emptying is timed: get() of ipc.Queue beside get()
and ack() of ipc.ReliableQueue, of a small tuple and of 64 bytes.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Sequence

from . import options, report
from .contest import Contestant, Field, Kind, Sample, run_command
from .figures import Column, Summary, spread
from .processes import import_path

NAME = "taking"
METRIC = "ns_per_message"
MESSAGES = {"tuple": '(17, "state", 0.5)', "64 B": "bytes(64)"}
TURN = 1000  # messages
PROGRAM = """
import ipc, time
queue, message, turns, spent = ipc.{queue}(capacity="1MiB"), {message}, {turns}, 0
for turn in range(-2, turns):
    for _ in range({turn}):
        queue.put(message)
    start = time.perf_counter_ns()
    for _ in range({turn}):
        {take}
    if turn >= 0:  # not the first ones
        spent += time.perf_counter_ns() - start
print(spent / (turns * {turn}))
"""
WAYS = {"ours": ("ReliableQueue", "queue.get().ack()"), "plain": ("Queue", "queue.get()")}


def _nanoseconds(values: Summary) -> str:
    return f"{values['median']:.3g} ns"


COLUMNS = (Column("taking", METRIC, _nanoseconds), Column("min..max", METRIC, spread(_nanoseconds)))


def _measurer(queue: str, take: str, message: str, turns: int, timeout: float) -> Callable[[], Sample]:
    program = PROGRAM.format(queue=queue, take=take, message=message, turns=turns, turn=TURN)

    def measured() -> Sample:
        start = time.monotonic()
        environment = {**os.environ, "PYTHONPATH": import_path()}
        metrics = {METRIC: float(run_command([sys.executable, "-c", program], timeout, env=environment))}
        return Sample(turns * TURN, time.monotonic() - start, metrics, {})

    return measured


def run(settings: options.Settings) -> report.Report:
    found = report.Report(NAME, "Taking a message", COLUMNS, METRIC, more_is_better=False)
    turns = 1 if settings.quick else 300
    for label, message in MESSAGES.items():
        entered = Field()
        for key, (queue, take) in WAYS.items():
            kind: Kind = "ours" if key == "ours" else "floor"
            measured = _measurer(queue, take, message, turns, settings.timeout)
            shown = f"ipc.{queue}: {take.replace('queue.', '')}"
            entered.contestants.append(Contestant(key, shown, kind, label, None, measured))
        rows = found.hold(entered, settings)
        found.compare(rows, "ours", "plain", goal="at most 2.5 x")
    return found


def main(argv: Sequence[str] | None = None) -> int:
    args = options.parser(__doc__, NAME).parse_args(argv)
    return options.finish(args, run(options.settings(args)))


if __name__ == "__main__":
    sys.exit(main())

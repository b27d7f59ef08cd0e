"""How long does a message take there and an answer back?

hot: neither side ever sleeps: each polls, as the peer allows.  Each round trip is stamped once, so the clock's own cost
is part of it; the JSON has it as clock_ns.

parked: each message finds its receiver asleep in the kernel, because each side keeps busy for a pause (--pause) before
it sends.  The pauses are not part of the figure.  The column "sleeps" counts how often the side that slept less went to
sleep, per round trip, and should be 1.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from itertools import pairwise, repeat
from time import monotonic_ns

from . import contest, floor, options, report
from .figures import Column, microseconds, percentile, plain, size_label, spread
from .messages import expect, payload
from .peers import Wait
from .plan import Case, Ends, Role, Wire

NAME = "latency"
LIMIT = 300_000  # each round trip leaves a stamp
METRIC = "p50_ns"
COLUMNS = (
    Column("p50", METRIC, microseconds),
    Column("min..max of p50", METRIC, spread(microseconds)),
    Column("p99", "p99_ns", microseconds),
    Column("p99.9", "p99_9_ns", microseconds),
    Column("sleeps", "sleeps_per_round_trip", plain),
)
WAITS: tuple[Wait, ...] = ("hot", "parked")
SIZE = 64


def ping(case: Case, ends: Ends, count: int, checked: bool) -> dict[str, float]:
    send, recv = ends.senders[0].send, ends.receivers[0].recv
    message = payload(case.message_bytes)
    start = monotonic_ns()
    if checked:
        for _ in repeat(None, count):
            send(message)
            expect(recv, message, 1)
        return {"start_ns": start, "end_ns": monotonic_ns()}
    took = ping_parked(case, ends, count) if case.pause_ns else ping_hot(case, ends, count)
    end = monotonic_ns()
    took.sort()
    return {
        "start_ns": start,
        "end_ns": end,
        "p50_ns": percentile(took, 50),
        "p99_ns": percentile(took, 99),
        "p99_9_ns": percentile(took, 99.9),
        "min_ns": took[0],
        "max_ns": took[-1],
        "mean_ns": sum(took) / count,
        "clock_ns": clock_ns(),
    }


def ping_hot(case: Case, ends: Ends, count: int) -> list[int]:
    send, recv = ends.senders[0].send, ends.receivers[0].recv
    message = payload(case.message_bytes)
    stamps = [monotonic_ns()]
    stamp = stamps.append
    for _ in repeat(None, count):
        send(message)
        recv()
        stamp(monotonic_ns())
    return [after - before for before, after in pairwise(stamps)]


def ping_parked(case: Case, ends: Ends, count: int) -> list[int]:
    send, recv = ends.senders[0].send, ends.receivers[0].recv
    message = payload(case.message_bytes)
    pause = case.pause_ns
    took: list[int] = []
    for _ in repeat(None, count):
        until = monotonic_ns() + pause
        while (before := monotonic_ns()) < until:
            pass
        send(message)
        recv()
        took.append(monotonic_ns() - before - pause)  # the other side's pause
    return took


def pong(case: Case, ends: Ends, count: int, checked: bool) -> dict[str, float]:
    send, recv = ends.senders[0].send, ends.receivers[0].recv
    message = payload(case.message_bytes)
    pause = case.pause_ns
    start = monotonic_ns()
    if checked:
        for _ in repeat(None, count):
            expect(recv, message, 1)
            send(message)
    elif pause:
        for _ in repeat(None, count):
            recv()
            until = monotonic_ns() + pause
            while monotonic_ns() < until:
                pass
            send(message)
    else:
        for _ in repeat(None, count):
            recv()
            send(message)
    return {"start_ns": start, "end_ns": monotonic_ns()}


def clock_ns() -> float:
    """What one turn of the loop costs without the round trip."""
    stamps = [monotonic_ns()]
    stamp = stamps.append
    for _ in repeat(None, 10_000):
        stamp(monotonic_ns())
    return percentile(sorted(after - before for before, after in pairwise(stamps)), 50)


def roles(case: Case) -> Sequence[Role]:
    there, back = 0, 1
    return (
        Role("pinger", ping, (Wire(there, "send"), Wire(back, "receive"))),
        Role("ponger", pong, (Wire(there, "receive"), Wire(back, "send"))),
    )


def combine(case: Case, count: int, results: Sequence[dict[str, float]]) -> dict[str, float]:
    pinged, ponged = results
    figures = {name: value for name, value in pinged.items() if name.endswith("_ns")}
    del figures["start_ns"], figures["end_ns"]
    return {
        **figures,
        "sleeps_per_round_trip": min(pinged["sleeps"], ponged["sleeps"]) / count,
        "ponger_cpu_seconds": ponged["cpu_seconds"],
    }


def run(
    settings: options.Settings,
    waits: Sequence[Wait] = WAITS,
    sizes: Sequence[int] = (SIZE,),
    pause_ns: int = floor.PAUSE_NS,
) -> report.Report:
    title = "Latency, round trip from one process to another and back"
    found = report.Report(NAME, title, COLUMNS, METRIC, more_is_better=False)
    with floor.Programs() as programs:
        for size in sizes:
            for wait in waits:
                pause = pause_ns if wait == "parked" else 0
                case = Case(f"{size_label(size)} {wait}", size, max(1 << 20, 4 * size), wait, pause)
                entered = contest.peers(NAME, case, settings)
                if wait == "parked":
                    programs.enter(entered, floor.FUTEX_PING_PONG, case.label, settings, pause)
                rows = found.hold(entered, settings)
                found.compare(rows, "ours", "mp_pipe")
                best = "at most 0.65 x the best peer" if wait == "hot" else None
                found.compare(rows, "ours", "best", goal=best)
                found.compare(rows, "ours", floor.FUTEX_PING_PONG.key, goal="at most 1.5 x the futex ping-pong")
    return found


def main(argv: Sequence[str] | None = None) -> int:
    parser = options.parser(__doc__, NAME)
    parser.add_argument("--wait", nargs="+", choices=WAITS, default=WAITS, help="ways of waiting (both)")
    parser.add_argument(
        "--size", type=options.size, nargs="+", default=(SIZE,), metavar="BYTES",
        help="message sizes, such as 64 4KiB (64)",
    )  # fmt: skip
    pause_us = floor.PAUSE_NS // 1000
    parser.add_argument(
        "--pause", type=options.duration, default=pause_us, metavar="US",
        help=f"microseconds for the other side to fall asleep, when parked ({pause_us}; 0: none)",
    )  # fmt: skip
    args = parser.parse_args(argv)
    pause_ns = int(args.pause * 1000)
    return options.finish(args, run(options.settings(args), args.wait, args.size, pause_ns))


if __name__ == "__main__":
    sys.exit(main())

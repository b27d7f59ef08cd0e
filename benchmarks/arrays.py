"""How many bytes of numpy arrays per second get through, from an array here to its sum there?

The sender copies an array of doubles into what it sends; the receiver sums what it gets.  Where a peer lends memory,
`claim` and `view` save the other copies.  What a sum costs in cache is measured in the receiver's process, and taken
out in the column "net".  Beside it, in turns: one memcpy in cache, and the same loop in C over the same ring.
"""

from __future__ import annotations

import argparse
import dataclasses
import statistics
import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager
from itertools import repeat
from time import monotonic_ns
from typing import Any

from . import contest, options, peers, report
from .figures import Column, gigabytes, size_label, spread
from .floor import LEND, MEMCPY, Programs
from .plan import Case, Ends, Role, Wire

NAME = "arrays"
LIMIT = 1_000_000
METRIC = "net_gigabytes_per_second"
RAW = "gigabytes_per_second"
COLUMNS = (
    Column("GB/s", RAW, gigabytes),
    Column("net of the sum", METRIC, gigabytes),
    Column("min..max of it", METRIC, spread(gigabytes)),
)
SIZES = (1 << 20,)
DTYPE, ITEM = "float64", 8
STRETCHES, SUMS = 10, 10


def send_all(case: Case, ends: Ends, count: int, checked: bool) -> dict[str, float]:
    import numpy as np

    end = ends.senders[0]
    source = np.ones(case.message_bytes // ITEM, DTYPE)
    start = monotonic_ns()
    if end.claim is not None and case.way != "send":
        claim, shape, copyto = end.claim, source.shape, np.copyto
        for _ in repeat(None, count):
            with claim(shape, DTYPE) as there:
                copyto(there, source)
    else:
        send: Any = end.send_object or end.send
        for _ in repeat(None, count):
            send(source)
    return {"start_ns": start, "end_ns": monotonic_ns()}


def receive_all(case: Case, ends: Ends, count: int, checked: bool) -> dict[str, float]:
    end = ends.receivers[0]
    total = 0.0
    start = monotonic_ns()
    if end.view is not None and case.way != "send":
        view: Any = end.view
        for _ in repeat(None, count):
            with view() as array:
                total += array.sum()
    else:
        recv: Any = end.recv_object or end.recv
        for _ in repeat(None, count):
            total += recv().sum()
    stop = monotonic_ns()
    if total != count * (case.message_bytes // ITEM):
        raise AssertionError(f"the arrays did not arrive as they were sent: {total} for {count}")
    return {"start_ns": start, "end_ns": stop, "sum_ns": _sum_ns(case.message_bytes)}


def _sum_ns(size: int) -> float:
    """What a sum costs when the array is in cache: the median of several stretches, because it will be multiplied, and
    one interruption in a mean could make it more than everything took."""
    import numpy as np

    array = np.ones(size // ITEM, DTYPE)
    array.sum()
    took = []
    for _ in range(STRETCHES):
        start = monotonic_ns()
        for _ in repeat(None, SUMS):
            array.sum()
        took.append((monotonic_ns() - start) / SUMS)
    return statistics.median(took)


def roles(case: Case) -> Sequence[Role]:
    return (
        Role("sender", send_all, (Wire(0, "send"),)),
        Role("receiver", receive_all, (Wire(0, "receive"),)),
    )


def combine(case: Case, count: int, results: Sequence[dict[str, float]]) -> dict[str, float]:
    sent, received = results
    nanoseconds = received["end_ns"] - sent["start_ns"]
    size = count * case.message_bytes
    return {
        RAW: size / nanoseconds,
        METRIC: size / max(1.0, nanoseconds - count * received["sum_ns"]),
        "sum_us": received["sum_ns"] / 1000,
    }


def entered(case: Case, settings: options.Settings, programs: Programs) -> contest.Field:
    """Every peer in its best way, ours by `send` and `recv` as well, and the floors."""
    found = contest.peers(NAME, case, settings)
    if any(who.kind == "ours" for who in found.contestants):
        copying = dataclasses.replace(case, way="send")
        (who,) = contest.peers(NAME, copying, dataclasses.replace(settings, peers=(peers.OURS,))).contestants
        found.contestants.append(
            dataclasses.replace(who, key=f"{who.key}_send", name=f"{who.name}, send and recv", kind="floor")
        )
    programs.enter(found, MEMCPY, case.label, settings, case.message_bytes)
    if case.message_bytes == 1 << 20:
        programs.enter(found, LEND, case.label, settings, case.capacity_bytes)
    return found


def run(settings: options.Settings, sizes: Sequence[int] = SIZES) -> report.Report:
    found = report.Report(NAME, "Arrays of doubles, copied in and summed there", COLUMNS, METRIC)
    programs: AbstractContextManager[Programs] = Programs()
    with programs as built:
        for size in sizes:
            case = Case(f"{size_label(size)} arrays", size, 8 * size, way="claim")
            rows = found.hold(entered(case, settings, built), settings)
            found.compare(rows, "ours", LEND.key, goal="at least 0.9 x the same loop in C")
            found.compare(rows, "ours", "best", metric=RAW, goal="at least 1.3 x the best peer")
            found.compare(rows, LEND.key, MEMCPY.key, over_metric=METRIC, metric=RAW)
            found.compare(
                rows, "ours", MEMCPY.key, over_metric=METRIC, metric=RAW, goal="at least 0.7 x memcpy in cache"
            )
    return found


def _size(text: str) -> int:
    size = options.size(text)
    if size == 0 or size % ITEM != 0:
        raise argparse.ArgumentTypeError(f"arrays of doubles have a multiple of {ITEM} bytes, not {text}")
    return size


def main(argv: Sequence[str] | None = None) -> int:
    parser = options.parser(__doc__, NAME)
    parser.add_argument(
        "--size", type=_size, nargs="+", default=SIZES, metavar="BYTES",
        help="array sizes, such as 64KiB 1MiB (1MiB; the floor in C is of that size only)",
    )  # fmt: skip
    args = parser.parse_args(argv)
    return options.finish(args, run(options.settings(args), args.size))


if __name__ == "__main__":
    sys.exit(main())

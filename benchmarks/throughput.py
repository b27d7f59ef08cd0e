"""How many messages per second does one sender get through to one receiver, one call per message?

The clock starts when the sender starts and stops when the receiver has the last message.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from itertools import repeat
from time import monotonic_ns

from . import contest, options, report
from .figures import Column, gigabytes, rate, size_label, spread
from .messages import expect, payload
from .plan import Case, Ends, Role, Wire

NAME = "throughput"
LIMIT = 50_000_000
METRIC = "messages_per_second"
COLUMNS = (
    Column("messages/s", METRIC, rate),
    Column("min..max", METRIC, spread(rate)),
    Column("GB/s", "gigabytes_per_second", gigabytes),
)
SIZES = (64, 64 << 10, 1 << 20)
GOALS = {64: "at least 1.8", 64 << 10: "at least 1.3"}


def send_all(case: Case, ends: Ends, count: int, checked: bool) -> dict[str, float]:
    send = ends.senders[0].send
    message = payload(case.message_bytes)
    start = monotonic_ns()
    for _ in repeat(None, count):
        send(message)
    return {"start_ns": start, "end_ns": monotonic_ns()}


def receive_all(case: Case, ends: Ends, count: int, checked: bool) -> dict[str, float]:
    recv = ends.receivers[0].recv
    start = monotonic_ns()
    if checked:
        expect(recv, payload(case.message_bytes), count)
    else:
        for _ in repeat(None, count):
            recv()
    return {"start_ns": start, "end_ns": monotonic_ns()}


def roles(case: Case) -> Sequence[Role]:
    return (
        Role("sender", send_all, (Wire(0, "send"),)),
        Role("receiver", receive_all, (Wire(0, "receive"),)),
    )


def combine(case: Case, count: int, results: Sequence[dict[str, float]]) -> dict[str, float]:
    sent, received = results
    seconds = (received["end_ns"] - sent["start_ns"]) / 1e9
    return {
        METRIC: count / seconds,
        "gigabytes_per_second": count * case.message_bytes / seconds / 1e9,
        "sender_cpu_seconds": sent["cpu_seconds"],
        "receiver_cpu_seconds": received["cpu_seconds"],
    }


def run(settings: options.Settings, sizes: Sequence[int] = SIZES, capacity: int | None = None) -> report.Report:
    found = report.Report(NAME, "Throughput, one sender, one receiver, one call per message", COLUMNS, METRIC)
    for size in sizes:
        case = Case(size_label(size), size, max(1 << 20, 4 * size) if capacity is None else capacity)
        rows = found.hold(contest.peers(NAME, case, settings), settings)
        goal = GOALS.get(size)
        found.compare(rows, "ours", "mp_queue")
        found.compare(rows, "ours", "best", goal=f"{goal} x the best peer" if goal else None)
    return found


def main(argv: Sequence[str] | None = None) -> int:
    parser = options.parser(__doc__, NAME)
    parser.add_argument(
        "--size", type=options.size, nargs="+", default=SIZES[:1], metavar="BYTES",
        help="message sizes, such as 64 64KiB (64)",
    )  # fmt: skip
    parser.add_argument(
        "--capacity", type=options.size, metavar="BYTES", help="room in the transport (1MiB, or four messages)"
    )
    args = parser.parse_args(argv)
    return options.finish(args, run(options.settings(args), args.size, args.capacity))


if __name__ == "__main__":
    sys.exit(main())

"""How many messages per second get through in batches, one sender, one receiver?

The peers that have batches use them (`send_many`, `recv_many`); the others send one by one, which is their best.  Ours
is measured both ways, and as an iteration over the receiver.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Sequence
from itertools import islice, repeat
from time import monotonic_ns

from . import contest, options, peers, report, throughput
from .figures import Column, rate, size_label, spread
from .messages import payload
from .plan import Case, Ends, Role, Wire

NAME = "batches"
LIMIT = throughput.LIMIT
METRIC = throughput.METRIC
COLUMNS = (Column("messages/s", METRIC, rate), Column("min..max", METRIC, spread(rate)))
SIZES = (64,)
BATCH = 256
WAYS = {"many": "batches of 256", "iterate": "batches out, iteration in", "single": "one by one"}


def send_all(case: Case, ends: Ends, count: int, checked: bool) -> dict[str, float]:
    send, send_many = ends.senders[0].send, ends.senders[0].send_many
    message = payload(case.message_bytes)
    start = monotonic_ns()
    if send_many is None or case.way == "single":
        for _ in repeat(None, count):
            send(message)
    else:
        batch = [message] * BATCH
        for _ in repeat(None, count // BATCH):
            send_many(batch)
        send_many(batch[: count % BATCH])
    return {"start_ns": start, "end_ns": monotonic_ns()}


def receive_all(case: Case, ends: Ends, count: int, checked: bool) -> dict[str, float]:
    end = ends.receivers[0]
    message = payload(case.message_bytes)
    start = monotonic_ns()
    if case.way == "iterate" and end.messages is not None:
        for got in islice(end.messages, count):
            if checked and got != message:
                raise AssertionError(f"a message did not arrive as it was sent: {got!r:.80}")
    elif end.recv_many is None or case.way == "single":
        recv = end.recv
        for _ in repeat(None, count):
            got = recv()
            if checked and got != message:
                raise AssertionError(f"a message did not arrive as it was sent: {got!r:.80}")
    else:
        recv_many, left = end.recv_many, count
        while left:
            batch = recv_many(min(left, BATCH))
            left -= len(batch)
            if checked and any(got != message for got in batch):
                raise AssertionError(f"a message did not arrive as it was sent: {batch!r:.80}")
    return {"start_ns": start, "end_ns": monotonic_ns()}


def roles(case: Case) -> Sequence[Role]:
    return (
        Role("sender", send_all, (Wire(0, "send"),)),
        Role("receiver", receive_all, (Wire(0, "receive"),)),
    )


combine = throughput.combine


def entered(case: Case, settings: options.Settings) -> contest.Field:
    """Every peer in its best way, and ours in all."""
    found = contest.peers(NAME, case, settings)
    if any(who.kind == "ours" for who in found.contestants):
        ours = dataclasses.replace(settings, peers=(peers.OURS,))
        for way in ("iterate", "single"):
            (who,) = contest.peers(NAME, dataclasses.replace(case, way=way), ours).contestants
            name = f"{who.name}, {WAYS[way]}"
            found.contestants.append(dataclasses.replace(who, key=f"{who.key}_{way}", name=name, kind="floor"))
    return found


def run(settings: options.Settings, sizes: Sequence[int] = SIZES) -> report.Report:
    found = report.Report(NAME, "Throughput in batches, one sender, one receiver", COLUMNS, METRIC)
    for size in sizes:
        case = Case(f"{size_label(size)}, {WAYS['many']}", size, max(1 << 20, 4 * size), way="many")
        rows = found.hold(entered(case, settings), settings)
        goal = "at least 1.5 x one call per message"
        found.compare(rows, "ours", f"{peers.OURS}_single", goal=goal)
        found.compare(rows, f"{peers.OURS}_iterate", f"{peers.OURS}_single")
        found.compare(rows, "ours", "best", goal="at least 3 x the best peer")
    return found


def main(argv: Sequence[str] | None = None) -> int:
    parser = options.parser(__doc__, NAME)
    parser.add_argument(
        "--size", type=options.size, nargs="+", default=SIZES, metavar="BYTES",
        help="message sizes, such as 64 1KiB (64)",
    )  # fmt: skip
    args = parser.parse_args(argv)
    return options.finish(args, run(options.settings(args), args.size))


if __name__ == "__main__":
    sys.exit(main())

"""How many messages per second go through one queue, from several producers to several consumers?

Small pickled tuples and 64 bytes, one call per message and in batches; one producer or four, one consumer or four: with
more processes than cores, what counts is also how they wait.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from itertools import repeat
from time import monotonic_ns
from typing import Any

from . import contest, options, report
from .figures import Column, rate, spread
from .messages import payload
from .plan import Case, Ends, Role, Wire

NAME = "queues"
OURS = "ipc_queue"
SHARED_ONLY = True  # in every topology: who has one user at each end is no queue
LIMIT = 5_000_000
METRIC = "messages_per_second"
COLUMNS = (Column("messages/s", METRIC, rate), Column("min..max", METRIC, spread(rate)))
TOPOLOGIES: tuple[tuple[int, int], ...] = ((1, 1), (4, 1), (1, 4), (4, 4))
BATCH = 256
TUPLE = (17, "state", 0.5)


def _ways(case: Case) -> tuple[int, int, str, bool]:
    """Producers, consumers, what goes, and whether in batches."""
    producers, consumers, what, how = case.way.split()
    return int(producers), int(consumers), what, how == "batches"


def _message(case: Case) -> Any:
    return TUPLE if _ways(case)[2] == "tuple" else payload(case.message_bytes)


def _share(count: int, case: Case, producing: bool) -> int:
    """Of `count` messages, cut to what all have the same number of."""
    producers, consumers, _, _ = _ways(case)
    return count // (producers * consumers) * (consumers if producing else producers)


def put_all(case: Case, ends: Ends, count: int, checked: bool) -> dict[str, float]:
    end, message = ends.senders[0], _message(case)
    mine = max(_share(count, case, True), _ways(case)[1])
    put_many = end.send_many if _ways(case)[3] else None
    start = monotonic_ns()
    if put_many is None:
        put = end.send
        for _ in repeat(None, mine):
            put(message)
    else:
        batch = [message] * BATCH
        for _ in repeat(None, mine // BATCH):
            put_many(batch)
        put_many(batch[: mine % BATCH])
    return {"start_ns": start, "end_ns": monotonic_ns()}


def get_all(case: Case, ends: Ends, count: int, checked: bool) -> dict[str, float]:
    end, message = ends.receivers[0], _message(case)
    left = max(_share(count, case, False), _ways(case)[0])
    get_many = end.recv_many if _ways(case)[3] else None
    start = monotonic_ns()
    if get_many is None:
        get = end.recv
        if checked:
            for _ in repeat(None, left):
                _expect(get(), message)
        else:
            for _ in repeat(None, left):
                get()
    else:
        while left:
            got = get_many(min(left, BATCH))
            left -= len(got)
            for one in got if checked else ():
                _expect(one, message)
    return {"start_ns": start, "end_ns": monotonic_ns()}


def _expect(got: object, message: object) -> None:
    if got != message:
        raise AssertionError(f"a message did not arrive as it was put: {got!r:.80}")


def roles(case: Case) -> Sequence[Role]:
    producers, consumers, _, _ = _ways(case)
    return (
        *(Role(f"producer {n}", put_all, (Wire(0, "send"),)) for n in range(producers)),
        *(Role(f"consumer {n}", get_all, (Wire(0, "receive"),)) for n in range(consumers)),
    )


def combine(case: Case, count: int, results: Sequence[dict[str, float]]) -> dict[str, float]:
    producers, _, _, _ = _ways(case)
    messages = max(_share(count, case, True), _ways(case)[1]) * producers
    seconds = (max(one["end_ns"] for one in results) - min(one["start_ns"] for one in results)) / 1e9
    return {METRIC: messages / seconds, "cpu_seconds": sum(one["cpu_seconds"] for one in results)}


def run(settings: options.Settings, topologies: Sequence[tuple[int, int]] = TOPOLOGIES) -> report.Report:
    found = report.Report(NAME, "Queues, several producers and consumers", COLUMNS, METRIC)
    for producers, consumers in topologies:
        for what in ("tuple", "bytes"):
            for how in ("calls", "batches"):
                label = f"{producers}:{consumers}, {'tuples' if what == 'tuple' else '64 B'}"
                case = Case(
                    f"{label}, batches of {BATCH}" if how == "batches" else label,
                    64,
                    1 << 20,
                    way=f"{producers} {consumers} {what} {how}",
                )
                field = contest.peers(NAME, case, settings)
                rows = found.hold(field, settings)
                goal = "at least 5 x the best peer" if (producers, consumers) == (1, 1) else "more than the best peer"
                found.compare(rows, "ours", "best", goal=goal)
    return found


def main(argv: Sequence[str] | None = None) -> int:
    parser = options.parser(__doc__, NAME)
    parser.add_argument(
        "--topology", nargs="+", default=None, metavar="P:C", help="producers and consumers (1:1 4:1 1:4 4:4)"
    )
    args = parser.parse_args(argv)
    wanted = TOPOLOGIES
    if args.topology:
        wanted = tuple((int(p), int(c)) for p, _, c in (text.partition(":") for text in args.topology))
    return options.finish(args, run(options.settings(args), wanted))


if __name__ == "__main__":
    sys.exit(main())

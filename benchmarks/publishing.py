"""What does a publish cost, with how many subscribers?

*Attached*: subscribers of the publisher's own process, who read only when the timed stretch of 64 messages is over.
*Parked*: each subscriber is a process that sleeps in its receiving call before every publish, so that all of them have
to be woken; what the call costs is timed, not how long it takes until they run.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from . import contest, options, report
from .figures import Column, nanoseconds, spread
from .plan import Case, Ends, Plan, Role, Wire
from .processes import import_path

NAME = "publishing"
OURS = "ipc_multicast"
MULTICAST = True
LIMIT = 1_000_000
METRIC = "ns_per_publish"
COLUMNS = (Column("a publish", METRIC, nanoseconds), Column("min..max", METRIC, spread(nanoseconds)))
READERS = (0, 1, 3, 15, 63, 255, 1023)
MOST_PARKED = 63  # processes
QUICK_READERS = (0, 1, 15)
POLICIES = ("lossless", "lossy")
MESSAGE_BYTES = 64


def roles(case: Case) -> Sequence[Role]:
    return (Role("publisher", _nothing, (Wire(0, "send"), Wire(0, "receive"))),)


def _nothing(case: Case, ends: Ends, count: int, checked: bool) -> dict[str, float]:
    raise NotImplementedError("attached.py measures this question")


def _measurer(plan: Plan) -> Callable[[], contest.Sample]:
    def measured() -> contest.Sample:
        start = time.monotonic()
        with tempfile.TemporaryDirectory(prefix="ipc-bench-") as directory:
            asked = Path(directory) / "plan.json"
            asked.write_text(json.dumps(plan.to_json()), encoding="utf-8")
            command = [sys.executable, "-m", f"{__package__}.attached", str(asked)]
            environment = {**os.environ, "PYTHONPATH": import_path()}
            spent, count = json.loads(contest.run_command(command, plan.timeout, env=environment))
        facts: dict[str, Any] = {"case": plan.to_json()["case"]}
        return contest.Sample(count, time.monotonic() - start, {METRIC: spent}, facts)

    return measured


def _case(policy: str, readers: int, how: str) -> Case:
    wait = "parked" if how == "parked" else "default"
    return Case(f"{policy}, {readers} {how}", MESSAGE_BYTES, 1 << 20, wait=wait, way=f"{readers} {policy} {how}")  # type: ignore[arg-type]


def run(settings: options.Settings, readers: Sequence[int] = (), policies: Sequence[str] = POLICIES) -> report.Report:
    readers = readers or (QUICK_READERS if settings.quick else READERS)
    found = report.Report(NAME, "A publish, by the number of subscribers", COLUMNS, METRIC, more_is_better=False)
    for policy in policies:
        for how in ("attached", "parked"):
            if how == "parked" and policy == "lossy" and len(policies) > 1:
                continue  # waking is the same
            for number in readers:
                if how == "parked" and not 0 < number <= MOST_PARKED:
                    continue
                case = _case(policy, number, how)
                field = contest.peers(NAME, case, settings)
                plan = Plan(NAME, "", case, settings.count, settings.seconds, tuple(settings.cpus), settings.timeout)
                field.contestants = [
                    replace(who, measure=_measurer(replace(plan, peer=who.key))) for who in field.contestants
                ]
                rows = found.hold(field, settings)
                if how == "attached":  # who is asleep is woken later by some
                    found.compare(rows, "ours", "best")
    return found


def main(argv: Sequence[str] | None = None) -> int:
    parser = options.parser(__doc__, NAME)
    parser.add_argument(
        "--readers", type=options.natural, nargs="+", metavar="N",
        help=f"how many subscribers ({' '.join(map(str, READERS))})",
    )  # fmt: skip
    parser.add_argument("--policy", nargs="+", choices=POLICIES, default=POLICIES, help="one of them only")
    args = parser.parse_args(argv)
    return options.finish(args, run(options.settings(args), args.readers or (), args.policy))


if __name__ == "__main__":
    sys.exit(main())

"""One repetition of one peer, in a process of its own: `python -m benchmarks.measure PLAN.json RESULT.json`.

Starts one process per role, warms them up, times one round, and writes what came out.
"""

from __future__ import annotations

import dataclasses
import json
import signal
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from time import monotonic_ns
from typing import Any

from . import peers
from .control import Hub, MeasurementFailedError, Message
from .plan import Plan, Role, links, question
from .processes import Launched, Processes, Spawned

__all__ = ["main", "measure"]

FIRST_ROUND = 100
SECONDS_WARM_UP = 0.1
NS_BEFORE_START = 5_000_000  # for everybody to wake up and spin


def measure(plan: Plan) -> dict[str, Any]:
    asked = question(plan.question)
    roles = asked.roles(plan.case)
    with tempfile.TemporaryDirectory(prefix="ipc-bench-") as directory, Hub(directory, plan.timeout) as hub:
        processes = _start(plan, roles, directory, hub.address)
        hub.problem = processes.problem
        try:
            hub.admit(len(roles))
            placed = _set_up(hub, plan, directory)
            processes.handed_over()
            count, results, rounds = _rounds(hub, plan, asked.LIMIT)
            hub.tell({"do": "stop"})
            if problem := processes.finish(plan.timeout):
                raise MeasurementFailedError(problem)
        finally:
            processes.kill()
            peers.tidy(peers.load(plan.peer), directory)
    return {
        "count": count,
        "seconds": _seconds(results),
        "metrics": asked.combine(plan.case, count, results),
        "facts": {
            "case": dataclasses.asdict(plan.case),
            "cpus": {answer["role"]: answer["cpus"] for answer in placed},
            "warm_up_rounds": rounds,
        },
    }


def _start(plan: Plan, roles: Sequence[Role], directory: str, address: str) -> Processes:
    peer = peers.load(plan.peer)
    launch = getattr(peer, "launch", None)
    if launch is not None:
        return Launched(launch, len(roles), address)
    made = [peer.make(link) for link in links(roles, plan.case, directory)]
    sides = {"send": 0, "receive": 1}
    handles = [[made[wire.link][sides[wire.side]] for wire in role.wires] for role in roles]
    return Spawned([role.name for role in roles], address, handles)


def _set_up(hub: Hub, plan: Plan, directory: str) -> list[Message]:
    for index, line in enumerate(hub.lines):
        cpu = plan.cpus[index % len(plan.cpus)]
        line.tell({"index": index, "cpu": cpu, "directory": directory, "plan": plan.to_json()})
    return hub.gather()


def _rounds(hub: Hub, plan: Plan, limit: int) -> tuple[int, list[Message], int]:
    """Warm up, then the round that counts.  The first round also checks that messages arrive as they were sent."""
    if plan.count is not None:
        _round(hub, min(FIRST_ROUND, plan.count), checked=True)
        _round(hub, max(1, plan.count // 10))
        return plan.count, _round(hub, plan.count), 2
    warm_up, rounds, count = 0.0, 1, FIRST_ROUND
    _round(hub, count, checked=True)
    while True:
        seconds = _seconds(_round(hub, count))
        rounds += 1
        warm_up += seconds
        enough = max(1, min(limit, int(count * plan.seconds / seconds)))
        if warm_up >= SECONDS_WARM_UP:
            return enough, _round(hub, enough), rounds
        count = min(enough, count * 8)


def _round(hub: Hub, count: int, checked: bool = False) -> list[Message]:
    hub.tell({"do": "run", "count": count, "checked": checked, "start_at_ns": monotonic_ns() + NS_BEFORE_START})
    return hub.gather()


def _seconds(results: Sequence[Message]) -> float:
    """From the first start to the last end."""
    return float(max(answer["end_ns"] for answer in results) - min(answer["start_ns"] for answer in results)) / 1e9


def main(argv: Sequence[str] | None = None) -> int:
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))  # so that nobody is left behind
    plan, result = map(Path, sys.argv[1:] if argv is None else argv)
    measured = measure(Plan.from_json(json.loads(plan.read_text(encoding="utf-8"))))
    result.write_text(json.dumps(measured), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""One process under measurement: pin, open the ends, then run the question's timed loop each time it is told to."""

from __future__ import annotations

import resource
import sys
import time
import traceback
from collections.abc import Sequence

from . import machine, peers
from .control import Line, Message
from .plan import Case, Ends, Plan, Work, links, question

__all__ = ["main"]


def main(address: str, index: int | None = None, handles: Sequence[object] | None = None) -> None:
    """Serve the measuring process at `address`.

    Args:
      index: the role, where the measuring process started us itself; else it gives us one.
      handles: what the peer's make() returned for this role's wires, in that order.
    """
    line = Line.to(address)
    line.tell({"index": index})
    setup = line.hear()
    if setup is None:
        return
    try:
        _serve(line, setup, handles)
    except BaseException:
        line.tell({"error": traceback.format_exc()})
        raise
    finally:
        line.close()


def _serve(line: Line, setup: Message, handles: Sequence[object] | None) -> None:
    plan = Plan.from_json(setup["plan"])
    cpus = machine.pin(setup["cpu"])  # first, so that threads and memory of the peer are placed by it too
    roles = question(plan.question).roles(plan.case)
    role = roles[setup["index"]]
    peer = peers.load(plan.peer)
    wired = links(roles, plan.case, setup["directory"])
    ends = Ends([], [], setup["directory"])
    for wire, handle in zip(role.wires, handles or [None] * len(role.wires), strict=True):
        if wire.side == "send":
            ends.senders.append(peer.sender(handle, wired[wire.link]))
        else:
            ends.receivers.append(peer.receiver(handle, wired[wire.link]))
    line.tell({"role": role.name, "cpus": cpus})
    while (order := line.hear()) is not None and order["do"] == "run":
        line.tell(_timed(role.work, plan.case, ends, order))
    for close in [end.close for end in ends.senders] + [end.close for end in ends.receivers]:
        close()


def _timed(work: Work, case: Case, ends: Ends, order: Message) -> dict[str, float]:
    """One round of the loop, with what it cost this process."""
    start_at = order["start_at_ns"]
    while time.monotonic_ns() < start_at:
        pass
    before = resource.getrusage(resource.RUSAGE_SELF)
    result = work(case, ends, order["count"], order["checked"])
    after = resource.getrusage(resource.RUSAGE_SELF)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {**result, "cpu_seconds": cpu, "sleeps": after.ru_nvcsw - before.ru_nvcsw}


if __name__ == "__main__":
    main(sys.argv[1])

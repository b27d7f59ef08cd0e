"""One repetition of one peer for publishing.py, in a process of its own: `python -m benchmarks.attached PLAN.json`.

Prints what a publish cost, in nanoseconds, and how many were timed.  Readers are either attached in this same process
and read only when the queues would fill up, outside of the timed stretch; or each is a forked process that sleeps in
its receiving call before every publish.
"""

from __future__ import annotations

import contextlib
import json
import mmap
import os
import resource
import signal
import struct
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator, Sequence
from itertools import repeat
from pathlib import Path
from typing import Any, NoReturn

from . import machine, peers
from .messages import payload
from .peers import Link, SendEnd
from .plan import Plan

__all__ = ["main"]

TURN = 64
"""Messages between two readings; they fit into every peer's queues."""
SECONDS_BETWEEN_LOOKS = 50e-6


def main(argv: Sequence[str] | None = None) -> int:
    (path,) = map(Path, sys.argv[1:] if argv is None else argv)
    plan = Plan.from_json(json.loads(path.read_text(encoding="utf-8")))
    readers, _, parked = plan.case.way.split()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):  # ZeroMQ has three files for each reader
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, hard), hard))
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))  # so that nobody is left behind
    machine.pin(plan.cpus[0])
    with tempfile.TemporaryDirectory(prefix="ipc-bench-") as directory:
        case = plan.case
        link = Link("link0", directory, case.message_bytes, case.capacity_bytes, case.wait, int(readers), case.way)
        try:
            measured = _parked(plan, link) if parked == "parked" else _attached(plan, link)
        finally:
            peers.tidy(peers.load(plan.peer), directory)
    print(json.dumps(measured))
    return 0


def _prepared(end: SendEnd, link: Link) -> Any:
    return (end.prepare or bytes)(payload(link.message_bytes))


# --- attached -------------------------------------------------------------------------------------------------------


def _attached(plan: Plan, link: Link) -> tuple[float, int]:
    peer = peers.load(plan.peer)
    handle, other = peer.make(link)
    receivers = [peer.receiver(other, link) for _ in range(link.receivers)]
    sender = peer.sender(handle, link)
    publish, message, clock = sender.send, _prepared(sender, link), time.perf_counter_ns
    spent = turns = 0
    for turn in _turns(plan):
        start = clock()
        for _ in repeat(None, TURN):
            publish(message)
        if turn >= 0:  # not the first ones
            spent, turns = spent + clock() - start, turns + 1
        for end in receivers:
            recv = end.recv
            for _ in repeat(None, TURN):
                recv()
    for one in receivers:
        one.close()
    sender.close()
    return spent / (turns * TURN), turns * TURN


def _turns(plan: Plan) -> Iterator[int]:
    """From -2 on, as many as were asked for, or as fit into the time."""
    turn, ends_at = -2, time.monotonic() + plan.seconds
    most = None if plan.count is None else max(1, plan.count // TURN)
    while turn < 1 or (time.monotonic() < ends_at if most is None else turn < most):
        yield turn
        turn += 1


# --- parked ---------------------------------------------------------------------------------------------------------


def _parked(plan: Plan, link: Link) -> tuple[float, int]:
    """Every publish finds everybody asleep: each has taken the message before, and sleeps again."""
    peer = peers.load(plan.peer)
    handle, other = peer.make(link)
    taken = mmap.mmap(-1, 8 * max(1, link.receivers))  # how many messages each has taken, from 1 on: attached
    children: list[int] = []
    try:
        for number in range(link.receivers):
            if (pid := os.fork()) == 0:
                machine.pin(plan.cpus[(number + 1) % len(plan.cpus)])
                _read_for_ever(peer, other, link, taken, 8 * number)
            children.append(pid)
        sender = peer.sender(handle, link)
        publish, message, clock = sender.send, _prepared(sender, link), time.perf_counter_ns
        spent = published = 0
        for turn in _publishes(plan):
            _until_asleep(children, taken, 1 + 3 + turn)
            start = clock()
            publish(message)
            if turn >= 0:
                spent, published = spent + clock() - start, published + 1
        _until_asleep(children, taken, 1 + 3 + turn + 1)  # nobody was left out
        sender.close()
    finally:
        for pid in children:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
    return spent / published, published


def _publishes(plan: Plan) -> Iterator[int]:
    turn, ends_at = -3, time.monotonic() + plan.seconds
    most = None if plan.count is None else max(1, plan.count // 10)
    while turn < 10 or (time.monotonic() < ends_at if most is None else turn < most):
        yield turn
        turn += 1


def _read_for_ever(peer: peers.Peer, handle: object, link: Link, taken: mmap.mmap, at: int) -> NoReturn:
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    try:
        recv, count = peer.receiver(handle, link).recv, 1
        while True:
            struct.pack_into("Q", taken, at, count)
            recv()
            count += 1
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(1)


def _until_asleep(children: Sequence[int], taken: mmap.mmap, count: int) -> None:
    awake = list(enumerate(children))
    while awake:
        awake = [(n, pid) for n, pid in awake if not _sleeps(pid) or struct.unpack_from("Q", taken, 8 * n)[0] != count]
        if awake:
            time.sleep(SECONDS_BETWEEN_LOOKS)


def _sleeps(pid: int) -> bool:
    state = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0]
    if state not in "RSD":
        raise RuntimeError(f"a reader, process {pid}, has ended")
    return state == "S"


if __name__ == "__main__":
    sys.exit(main())

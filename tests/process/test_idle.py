"""A process that waits costs next to nothing."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pytest

import ipc
from tests.process import roles
from tests.process.support import is_waiting, pipe, receive, running, until

MEASURED_SECONDS = 3.0
MORE = ("flush", "read_many")
MOST_CPU = 5 * 0.001  # promised: 0.1 % of a CPU, and
MOST_WAKE_UPS_PER_SECOND = 5 * 25


def cost_of(pid: int) -> tuple[float, int]:
    """Seconds of CPU and voluntary context switches so far, of all threads."""
    seconds, switches = 0.0, 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        try:
            seconds += int((task / "schedstat").read_text(encoding="ascii").split()[0]) / 1e9
        except OSError:
            fields = (task / "stat").read_text(encoding="utf-8").rpartition(")")[2].split()
            seconds += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
        for line in (task / "status").read_text(encoding="utf-8").splitlines():
            if line.startswith("voluntary_ctxt_switches"):
                switches += int(line.split()[1])
    return seconds, switches


def ends_for(call: str) -> tuple[Any, Any]:
    """The end that waits, and the other one."""
    if call == "read_many":
        ring = ipc.Ring.create(capacity=4096)
        return ring.reader(), ring.writer()
    tx, rx = ipc.channel(capacity=4096)
    return (rx, tx) if call == "recv" else (tx, rx)


@pytest.mark.parametrize("call", ["recv", "send", *(pytest.param(call, marks=pytest.mark.slow) for call in MORE)])
def test_a_blocked_call_hardly_uses_the_cpu(call: str) -> None:
    mine, theirs = ends_for(call)
    with (
        pipe() as (ours, told),
        pipe() as (peer, peer_told),
        running(ipc.spawn(roles.wait_for, peer_told, theirs, context="fork")),
        running(ipc.spawn(roles.block, call, mine, told, context="fork")) as worker,
    ):
        receive(peer)
        receive(ours)
        until(lambda: is_waiting(worker.pid), f"{call} is blocked")
        begin, (cpu_before, switches_before) = time.monotonic(), cost_of(worker.pid)
        assert not ours.poll(MEASURED_SECONDS)
        cpu, switches = cost_of(worker.pid)
        seconds = time.monotonic() - begin
        assert (cpu - cpu_before) / seconds <= MOST_CPU
        assert (switches - switches_before) / seconds <= MOST_WAKE_UPS_PER_SECOND

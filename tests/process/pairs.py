"""Pairs of processes that ask and answer as fast as they can, and what each of them got of the CPU.

    python -m tests.process.pairs PAIRS SECONDS SPIN PIN

SPIN is auto or 0; PIN is `before` (the processes are born on one CPU, and their ends know it), `after` (they are bound
to it when their ends have been taken, and don't) or `none`.  Prints one line of JSON.  A program of its own, so that it
can be started in a control group.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import sys
import time
from typing import Any

import ipc
from tests.process import roles


def bind() -> None:
    """From now on this process has one CPU."""
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})


def ask(tx: Any, rx: Any, number: int, shared: Any, pin: str) -> None:
    """Count answers, and keep the longest time that one took, until we are told to stop."""
    if pin == "after":
        bind()
    rounds, worst, last, go_on = shared
    while go_on.value:
        tx.send(b"question")
        rx.recv()
        now = time.monotonic_ns()
        if last[number]:
            worst[number] = max(worst[number], now - last[number])
        last[number] = now
        rounds[number] += 1
    tx.close()


def answer(inbox: Any, outbox: Any, pin: str) -> None:
    """Send everything back."""
    if pin == "after":
        bind()
    roles.echo(inbox, outbox)


def run(pairs: int, seconds: float, spin: Any, pin: str) -> dict[str, Any]:
    """Start the pairs, let them run, and tell what each has done."""
    if pin == "before":
        bind()
    kinds = ("Q", pairs), ("Q", pairs), ("Q", pairs)
    rounds, worst, last = (multiprocessing.RawArray(*kind) for kind in kinds)
    go_on = multiprocessing.RawValue("b", 1)
    workers = []
    spins = set()
    for number in range(pairs):
        tx, inbox = ipc.channel(capacity=4096, spin=spin)
        outbox, rx = ipc.channel(capacity=4096, spin=spin)
        spins.add(tx._spin != 0)
        workers.append(ipc.spawn(answer, inbox, outbox, pin, context="fork"))
        workers.append(ipc.spawn(ask, tx, rx, number, (rounds, worst, last, go_on), pin, context="fork"))
    while not all(last):
        time.sleep(0.001)
    begun, before = time.monotonic_ns(), list(rounds)
    time.sleep(seconds)
    took, after = (time.monotonic_ns() - begun) / 1e9, list(rounds)
    now = time.monotonic_ns()
    longest = [max(worst[number], now - last[number]) / 1e9 for number in range(pairs)]
    go_on.value = 0
    for worker in workers:
        worker.join()
    return {
        "rounds per second": [(b - a) / took for a, b in zip(before, after, strict=True)],
        "longest": longest,
        "may spin": sorted(spins),
        "exit codes": sorted({worker.exitcode for worker in workers}),
    }


if __name__ == "__main__":
    wanted_pairs, wanted_seconds, wanted_spin, wanted_pin = sys.argv[1:]
    spin_option = "auto" if wanted_spin == "auto" else float(wanted_spin)
    print(json.dumps(run(int(wanted_pairs), float(wanted_seconds), spin_option, wanted_pin)))

"""Pairs of processes that ask and answer as fast as they can, and what each of them got of the CPU.

    python -m tests.process.pairs PAIRS SECONDS SPIN PIN [WHO FROM FOR]

SPIN is auto or 0; PIN is `before` (the processes are born on one CPU, and their ends know it), `after` (they are bound
to it when their ends have been taken, and don't) or `none`.  WHO `answers` or `asks` in the first pair is stopped FROM
so many seconds on FOR so many: it starves, and that must be seen.  Prints one line of JSON.  A program of its own, so
that it can be started in a control group.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

import ipc
from tests.process import roles
from tests.process.numbered import stop
from tests.process.support import PATIENCE_SECONDS

if TYPE_CHECKING:
    from typing_extensions import Self


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
        worst[number] = max(worst[number], now - last[number])
        last[number] = now  # behind `worst`: whoever reads this one first misses no gap
        rounds[number] += 1
    tx.close()


def answer(inbox: Any, outbox: Any, pin: str) -> None:
    """Send everything back."""
    if pin == "after":
        bind()
    roles.echo(inbox, outbox)


class Pairs:
    """Pairs at work, until the end of the `with`."""

    def __init__(self, pairs: int, spin: Any, pin: str) -> None:
        if pin == "before":
            bind()
        kinds = ("Q", pairs), ("Q", pairs), ("Q", pairs)
        self._rounds, self._worst, self._last = shared = tuple(multiprocessing.RawArray(*kind) for kind in kinds)
        self._go_on = multiprocessing.RawValue("b", 1)
        self.workers: list[dict[str, ipc.Worker]] = []  # who answers, who asks
        self.spins: set[bool] = set()
        self.exit_codes: set[int | None] = set()
        for number in range(pairs):
            tx, inbox = ipc.channel(capacity=4096, spin=spin)
            outbox, rx = ipc.channel(capacity=4096, spin=spin)
            self.spins.add(tx._spin != 0)
            answers = ipc.spawn(answer, inbox, outbox, pin, context="fork")
            self._last[number] = time.monotonic_ns()  # also a pair that never begins has made no progress since
            asks = ipc.spawn(ask, tx, rx, number, (*shared, self._go_on), pin, context="fork")
            self.workers.append({"answers": answers, "asks": asks})

    def watch(self, seconds: float) -> tuple[list[float], list[float]]:
        """Rounds per second, and the longest that each pair ever went without one, in seconds.

        Who is in the middle of a round at the end has as many seconds more for it: what began to starve late is seen.
        """
        begun, before = time.monotonic_ns(), list(self._rounds)
        time.sleep(seconds)
        end, after = time.monotonic_ns(), list(self._rounds)
        while not all(last > end for last in self._last) and time.monotonic_ns() < end + seconds * 1e9:
            time.sleep(0.001)
        rates = [(b - a) * 1e9 / (end - begun) for a, b in zip(before, after, strict=True)]
        return rates, [self._longest(number) for number in range(len(self.workers))]

    def _longest(self, number: int) -> float:
        last = self._last[number]  # first: see ask()
        longest: int = max(time.monotonic_ns() - last, self._worst[number])
        return longest / 1e9

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._go_on.value = 0
        patient_until = time.monotonic() + PATIENCE_SECONDS
        for pair in self.workers:
            for worker in pair.values():
                worker.join(max(0.0, patient_until - time.monotonic()))
                if worker.is_alive():
                    worker.kill()
                    worker.join()
                self.exit_codes.add(worker.exitcode)


def starve(worker: ipc.Worker, begin: float, seconds: float) -> None:
    """Stop it for so long."""
    time.sleep(begin)
    stop(worker)
    time.sleep(seconds)
    os.kill(worker.pid, signal.SIGCONT)


def run(pairs: int, seconds: float, spin: Any, pin: str, starving: tuple[str, float, float] | None) -> dict[str, Any]:
    """Start the pairs, let them run, and tell what each has done."""
    with Pairs(pairs, spin, pin) as running:
        if starving is not None:
            who, *when = starving
            threading.Thread(target=starve, args=(running.workers[0][who], *when)).start()
        rates, longest = running.watch(seconds)
    return {
        "rounds per second": rates,
        "longest": longest,
        "may spin": sorted(running.spins),
        "exit codes": sorted(running.exit_codes, key=str),
    }


if __name__ == "__main__":
    wanted_pairs, wanted_seconds, wanted_spin, wanted_pin, *who_starves = sys.argv[1:]
    starving_one = (who_starves[0], float(who_starves[1]), float(who_starves[2])) if who_starves else None
    spin_option = "auto" if wanted_spin == "auto" else float(wanted_spin)
    print(json.dumps(run(int(wanted_pairs), float(wanted_seconds), spin_option, wanted_pin, starving_one)))

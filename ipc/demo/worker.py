"""What a worker process of the demo does, whatever carries its messages.

    parent -> worker   Task (number, content), one per file; then the end
    worker -> parent   READY; one FILE_TALLY per Task, in order; TIMING after the end

What a worker sends is always one record of numpy, a structured array without dimensions; its dtype says which.

The parent keeps at most `FILES_IN_HAND` files with a worker.  Their results fit into the way back all together, so a
worker never waits to send a result; hence the parent may always wait to send a file.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ipc.demo.tally import FileTally, tally_file

__all__ = ["FILES_IN_HAND", "READY", "TIMING", "Outcome", "Reply", "Task", "WorkerFailedError", "work"]

FILES_IN_HAND = 4

READY = np.dtype([("pid", "u4")])
"""A worker is there and has imported what it needs."""

TIMING = np.dtype(
    [
        ("tokenising_seconds", "f8"),
        ("span_seconds", "f8"),  # from the first file received to the last result sent
    ]
)
"""Where one worker's time went, on its own clock."""

Task = tuple[int, bytes]
Reply = NDArray[np.void]
"""One record of `READY`, `FILE_TALLY` or `TIMING`."""


class Outcome(NamedTuple):
    """What a run by several workers gives."""

    results: list[FileTally]
    seconds: float
    """From the moment when all workers were ready until the last one's `TIMING` was here."""
    messages: int
    """In both directions, from the workers' `READY` to their `TIMING`."""
    timings: list[Reply]
    """Of each worker that lived to the end."""
    killed: int = 0
    """Workers that were killed on the way."""
    redelivered: int = 0
    """Files that were delivered again."""

    @property
    def transport_share(self) -> float:
        """See `compare.TRANSPORT_MEANS`."""
        timings = np.array(self.timings, TIMING)
        span = float(timings["span_seconds"].sum())
        return 1 - float(timings["tokenising_seconds"].sum()) / span if span else 0.0


class WorkerFailedError(Exception):
    """A worker process couldn't be started, or ended before its work was done."""

    @classmethod
    def ended(cls, number: int, pid: int | None, why: str) -> WorkerFailedError:
        return cls(f"worker {number} (pid {pid}) ended before its work was done: {why}")


def work(receive: Callable[[], Task | None], send: Callable[[Reply], object]) -> None:
    """Serve one worker's side of the conversation; `receive` returns None at the end."""
    # Ctrl-C reaches the whole process group.  The parent takes it and ends its workers.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    send(np.array((os.getpid(),), READY))
    task = receive()
    started = finished = time.perf_counter()
    tokenising = 0.0
    while task is not None:
        begun = time.perf_counter()
        result = tally_file(*task)
        tokenising += time.perf_counter() - begun
        send(result)
        finished = time.perf_counter()
        task = receive()
    send(np.array((tokenising, finished - started), TIMING))

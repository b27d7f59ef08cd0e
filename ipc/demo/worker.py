"""What a worker process of the demo does, whatever carries its messages.

    parent -> worker   Task (number, content), one per file; then the end
    worker -> parent   READY; one FileTally per Task, in order; Timing after the end

The parent keeps at most `FILES_IN_HAND` files with a worker.  Their results have a bounded size and fit into the way
back all together, so a worker never waits to send a result; hence the parent may always wait to send a file.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from typing import NamedTuple, TypeVar

from ipc.demo.tally import FileTally, tally_file

__all__ = ["FILES_IN_HAND", "READY", "Outcome", "Reply", "ReplyT", "Task", "Timing", "WorkerFailedError", "work"]

READY = "ready"
FILES_IN_HAND = 4

Task = tuple[int, bytes]


class Timing(NamedTuple):
    """Where one worker's time went, on its own clock."""

    tokenising_seconds: float
    span_seconds: float
    """From the first file received to the last result sent."""


Reply = FileTally | Timing | str
"""What a worker may send; the text is `READY`."""
ReplyT = TypeVar("ReplyT", FileTally, Timing, str)
"""The one of them that is expected."""


class Outcome(NamedTuple):
    """What a run by several workers gives."""

    results: list[FileTally]
    seconds: float
    """From the moment when all workers were ready until the last one's `Timing` was here."""
    messages: int
    """In both directions, from the workers' `READY` to their `Timing`."""
    timings: list[Timing]

    @property
    def transport_share(self) -> float:
        """See `compare.TRANSPORT_MEANS`."""
        span = sum(timing.span_seconds for timing in self.timings)
        return 1 - sum(timing.tokenising_seconds for timing in self.timings) / span if span else 0.0


class WorkerFailedError(Exception):
    """A worker process couldn't be started, or ended before its work was done."""

    @classmethod
    def ended(cls, number: int, pid: int | None, why: str) -> WorkerFailedError:
        return cls(f"worker {number} (pid {pid}) ended before its work was done: {why}")


def work(receive: Callable[[], Task | None], send: Callable[[Reply], object]) -> None:
    """Serve one worker's side of the conversation; `receive` returns None at the end."""
    # Ctrl-C reaches the whole process group.  The parent takes it and ends its workers.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    send(READY)
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
    send(Timing(tokenising, finished - started))

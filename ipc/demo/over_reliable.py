"""The demo's pipeline over this package: a reliable queue out, a queue back, and workers that may be killed.

    parent  --put-->  ipc.ReliableQueue  --get-->  worker 1..N
            <--get--  ipc.Queue          <--put--  its result, then the ack

On the way, the parent kills workers in the middle of their work (SIGKILL) and starts others.  What the dead ones held
is delivered again; a result that came twice, from a worker that died between its put and its ack, counts once.
"""

from __future__ import annotations

import queue
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

import ipc
from ipc.demo.tally import FILE_TALLY, FileTally
from ipc.demo.worker import FILES_IN_HAND, READY, TIMING, Outcome, Reply, Task, WorkerFailedError, work

__all__ = ["run"]

_SMALLEST_LANE_BYTES = 1024 * 1024
_ENVELOPE_BYTES = 4096  # more than the pickle of a task adds to the file in it
_LOOK_AROUND_SECONDS = 0.5  # how often a parent that waits for a reply looks whether its workers live
_SECONDS_TO_DIE = 10.0


def run(contents: Sequence[bytes], workers: int, on_result: Callable[[], object], kills: int = 0) -> Outcome:
    """Let `workers` processes tokenise `contents`; `on_result` is called for each file done.

    Args:
      kills: workers to kill on the way, each while it holds a file; others take their places.

    Raises:
      WorkerFailedError: a worker couldn't be started, or ended by an exception.
    """
    capacity = max(_SMALLEST_LANE_BYTES, 2 * (max(map(len, contents), default=0) + _ENVELOPE_BYTES))
    with (
        ipc.ReliableQueue[Task | None](lease=None, capacity=capacity, lanes=1) as tasks,
        ipc.Queue[Reply](capacity=_SMALLEST_LANE_BYTES) as replies,
    ):
        crew = _Crew(tasks, replies)
        try:
            for _ in range(workers):
                crew.hire()
            for _ in range(workers):
                crew.take(READY)
            began = time.perf_counter()
            results = _converse(contents, crew, on_result, kills)
            timings = _dismiss(crew)
            seconds = time.perf_counter() - began
            stats = tasks.stats()
            messages = stats.sent + replies.stats().sent - workers  # without the ends of the work
            return Outcome(results, seconds, messages, timings, crew.killed, stats.redelivered)
        finally:
            crew.end()


def _converse(contents: Sequence[bytes], crew: _Crew, on_result: Callable[[], object], kills: int) -> list[FileTally]:
    """Hand out the files, at most so many at a time as keep everybody busy, and collect one result of each."""
    waiting = enumerate(contents)
    seen = ipc.Deduplicator(max(1, len(contents)))
    results: list[FileTally] = []
    # spread over the work, none before the first result and none after the last
    moments = [len(contents) * (n + 1) // (kills + 1) for n in range(kills)]
    for task in (task for _, task in zip(range(FILES_IN_HAND * len(crew.members)), waiting, strict=False)):
        crew.tasks.put(task)
    while len(results) < len(contents):
        while moments and len(results) >= min(moments[0], len(contents) - 1):
            if not crew.kill_one():
                break
            del moments[0]
        result = crew.take(FILE_TALLY)
        if seen(int(result["number"])):
            continue
        results.append(result)
        on_result()
        if (following := next(waiting, None)) is not None:
            crew.tasks.put(following)
    return results


def _dismiss(crew: _Crew) -> list[Reply]:
    """Everybody gets the end of the work, and says where the time went."""
    count = len(crew.members)  # whoever takes a dead one's place gets the end that this one didn't acknowledge
    for _ in range(count):
        crew.tasks.put(None)
    return [crew.take(TIMING) for _ in range(count)]


@dataclass(slots=True)
class _Crew:
    """The workers, and what connects them with the parent."""

    tasks: ipc.ReliableQueue[Task | None]
    replies: ipc.Queue[Reply]
    members: dict[int, ipc.Worker] = field(default_factory=dict)
    """By their numbers."""
    killed: int = 0
    hired: int = 0

    def hire(self) -> None:
        self.hired += 1
        try:
            self.members[self.hired] = ipc.spawn(_serve, self.tasks, self.replies)
        except OSError as error:
            raise WorkerFailedError(f"worker {self.hired} can't be started: {error}") from error

    def kill_one(self) -> bool:
        """SIGKILL for the worker that holds the oldest file, and another in its place; False when nobody holds one."""
        holder = max((lane.blocking_pid for lane in self.tasks.stats().lanes), default=0)
        for number, worker in self.members.items():
            if worker.pid == holder and worker.is_alive():
                worker.kill()
                worker.join()
                del self.members[number]
                self.killed += 1
                self.hire()
                return True
        return False

    def take(self, kind: np.dtype[np.void]) -> Reply:
        """The next reply of a kind.  A worker that took a killed one's place says that it is ready in between."""
        while True:
            try:
                reply = self.replies.get(timeout=_LOOK_AROUND_SECONDS)
            except queue.Empty:
                self.look_around()
                continue
            if reply.dtype == kind:
                return reply
            # also a result that was delivered twice may still be under way when the timings come
            assert reply.dtype in {READY, FILE_TALLY}, f"{reply!r} came instead of {kind}"

    def look_around(self) -> None:
        """A worker that died of a signal is replaced: its work is not lost.  One that failed would fail again."""
        for number, worker in list(self.members.items()):
            code = worker.exitcode
            if code is None or code == 0:
                continue
            error = worker.exception
            if error is not None or code > 0 or not self.tasks.stats().delivered:
                why = f"exit code {code}" if error is None else f"{type(error).__name__}: {error}"
                raise WorkerFailedError.ended(number, worker.pid, why)
            del self.members[number]
            self.killed += 1
            self.hire()

    def end(self) -> None:
        """See everybody off; who hasn't finished by itself is killed."""
        for worker in self.members.values():
            worker.join(_SECONDS_TO_DIE if worker.exitcode is None and self.tasks.qsize() == 0 else 0)
            if worker.is_alive():
                worker.kill()
                worker.join()


def _serve(tasks: ipc.ReliableQueue[Task | None], replies: ipc.Queue[Reply]) -> None:
    """Run in the worker process."""
    held: list[ipc.Delivery[Task | None]] = []

    def receive() -> Task | None:
        held.append(tasks.get())
        return held[0].message

    def send(reply: Reply) -> None:
        replies.put(reply)
        while held:  # only now: a worker that dies before leaves the file to the others
            held.pop().ack()

    work(receive, send)
    replies.close()
    replies.join_thread()

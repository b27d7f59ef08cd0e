"""The demo's pipeline over this package: per worker one channel out, one channel back, and one thread in the parent.

    thread k:  files ---send---> [ring] ---recv--->  worker k
                     <--recv---- [ring] <---send---

Thread k alone uses the two ends of worker k.  Whoever is done sooner takes the next file, so the load balances itself.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass

import numpy as np

import ipc
from ipc.demo.tally import FILE_TALLY, FileTally
from ipc.demo.worker import FILES_IN_HAND, READY, TIMING, Outcome, Reply, Task, WorkerFailedError, work

__all__ = ["run"]

_SMALLEST_RING_BYTES = 1024 * 1024
_ENVELOPE_BYTES = 4096  # more than the pickle of a task adds to the file in it
_REPLIES_RING_BYTES = 2 * FILES_IN_HAND * FILE_TALLY.itemsize  # as many results as can be under way, with room to spare
_SECONDS_TO_DIE = 10.0  # how long to wait for an exit code once the channel said that the worker is gone


def run(contents: Sequence[bytes], workers: int, on_result: Callable[[], object]) -> Outcome:
    """Let `workers` processes tokenise `contents`; `on_result` is called, from several threads, for each file done.

    Raises:
      WorkerFailedError: a worker couldn't be started, or ended too early.
    """
    capacity = max(_SMALLEST_RING_BYTES, max(map(len, contents), default=0) + _ENVELOPE_BYTES)
    tasks: deque[Task] = deque(enumerate(contents))
    crew: list[_Member] = []
    try:
        crew.extend(_hire(number, capacity) for number in range(1, workers + 1))
        for member in crew:
            member.take(READY)
        began = time.perf_counter()
        shares = _in_threads(crew, tasks, on_result)
        seconds = time.perf_counter() - began
    except BaseException:
        _kill(crew)
        raise
    finally:
        for member in crew:
            member.dismiss()
    results = [result for share, _ in shares for result in share]
    return Outcome(results, seconds, 2 * (len(results) + workers), [timing for _, timing in shares])


def _in_threads(
    crew: list[_Member], tasks: deque[Task], on_result: Callable[[], object]
) -> list[tuple[list[FileTally], Reply]]:
    with ThreadPoolExecutor(len(crew)) as threads:
        conversations = [threads.submit(member.converse, tasks, on_result) for member in crew]
        try:
            return [conversation.result() for conversation in as_completed(conversations)]
        except BaseException:
            _kill(crew)  # ends the other conversations, which the executor waits for
            raise


def _kill(crew: list[_Member]) -> None:
    for member in crew:
        member.process.kill()


@dataclass(slots=True)
class _Member:
    """A worker and the parent's ends of its two channels."""

    number: int
    process: ipc.Worker
    files: ipc.Sender[Task]
    replies: ipc.Receiver[Reply]

    def converse(self, tasks: deque[Task], on_result: Callable[[], object]) -> tuple[list[FileTally], Reply]:
        """Hand out files from `tasks`, at most FILES_IN_HAND at a time, until none is left."""
        results: list[FileTally] = []
        in_hand = 0
        while True:
            while in_hand < FILES_IN_HAND and (task := _next(tasks)) is not None:
                self.give(task)
                in_hand += 1
            if not in_hand:
                break
            results.append(self.take(FILE_TALLY))
            in_hand -= 1
            on_result()
        self.files.close()
        return results, self.take(TIMING)

    def give(self, task: Task) -> None:
        try:
            self.files.send(task)
        except (ipc.PeerDiedError, ipc.EndOfChannel) as gone:
            raise self.failure() from gone

    def take(self, kind: np.dtype[np.void]) -> Reply:
        try:
            reply = self.replies.recv()
        except (ipc.PeerDiedError, ipc.EndOfChannel) as gone:
            raise self.failure() from gone
        assert reply.dtype == kind, f"worker {self.number} sent {reply!r} instead of {kind}"
        return reply

    def failure(self) -> WorkerFailedError:
        self.process.join(_SECONDS_TO_DIE)
        why = f"exit code {self.process.exitcode}"
        if (error := self.process.exception) is not None:
            why = f"{type(error).__name__}: {error}"
        return WorkerFailedError.ended(self.number, self.process.pid, why)

    def dismiss(self) -> None:
        """Close the channels and see the process off; one that hasn't finished by itself is killed."""
        self.files.close()
        self.replies.close()
        self.process.join(_SECONDS_TO_DIE)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()


def _hire(number: int, capacity: int) -> _Member:
    try:
        files_tx, files_rx = ipc.channel(capacity=capacity)
        replies_tx, replies_rx = ipc.channel(capacity=_REPLIES_RING_BYTES)
        process = ipc.spawn(_serve, files_rx, replies_tx)
    except OSError as error:
        raise WorkerFailedError(f"worker {number} can't be started: {error}") from error
    return _Member(number, process, files_tx, replies_rx)


def _serve(files: ipc.Receiver[Task], replies: ipc.Sender[Reply]) -> None:
    """Run in the worker process."""

    def receive() -> Task | None:
        try:
            return files.recv()
        except ipc.EndOfChannel:
            return None

    with files, replies:
        work(receive, replies.send)


def _next(tasks: deque[Task]) -> Task | None:
    try:
        return tasks.popleft()
    except IndexError:
        return None

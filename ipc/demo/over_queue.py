"""The demo's pipeline over `multiprocessing.Queue`, as its documentation has it: one queue out, one queue back.

The same worker, the same messages, the same start method and the same number of files in hand as over channels.
"""

from __future__ import annotations

import itertools
import multiprocessing
import queue
import time
from collections.abc import Callable, Sequence
from multiprocessing.context import SpawnProcess
from typing import TYPE_CHECKING

import numpy as np

from ipc.demo.tally import FILE_TALLY, FileTally
from ipc.demo.worker import FILES_IN_HAND, READY, TIMING, Outcome, Reply, Task, WorkerFailedError, work

if TYPE_CHECKING:
    from multiprocessing.queues import Queue

__all__ = ["run"]

_LOOK_AROUND_SECONDS = 0.5  # how often a parent that waits for a reply looks whether its workers live


def run(contents: Sequence[bytes], workers: int, on_result: Callable[[], object]) -> Outcome:
    """Let `workers` processes tokenise `contents`; `on_result` is called for each file done.

    Raises:
      WorkerFailedError: a worker couldn't be started, or ended too early.
    """
    context = multiprocessing.get_context("spawn")
    tasks: Queue[Task | None] = context.Queue()
    replies: Queue[Reply] = context.Queue()
    crew: list[SpawnProcess] = []
    try:
        crew.extend(_hire(context.Process(target=_serve, args=(tasks, replies), daemon=True)) for _ in range(workers))
        for _ in crew:
            _take(READY, replies, crew)
        began = time.perf_counter()
        results = _converse(contents, tasks, replies, crew, on_result)
        for _ in crew:
            tasks.put(None)
        timings = [_take(TIMING, replies, crew) for _ in crew]
        seconds = time.perf_counter() - began
        for process in crew:
            process.join()
    except BaseException:
        for process in crew:
            process.kill()
            process.join()
        tasks.cancel_join_thread()  # nobody is left to read what its feeder thread may still hold
        raise
    finally:
        tasks.close()
        replies.close()
    tasks.join_thread()  # before the process ends, lest it be caught halfway through releasing its semaphores
    return Outcome(results, seconds, 2 * (len(results) + workers), timings)


def _converse(
    contents: Sequence[bytes],
    tasks: Queue[Task | None],
    replies: Queue[Reply],
    crew: list[SpawnProcess],
    on_result: Callable[[], object],
) -> list[FileTally]:
    results: list[FileTally] = []
    waiting = enumerate(contents)
    for task in itertools.islice(waiting, FILES_IN_HAND * len(crew)):
        tasks.put(task)
    while len(results) < len(contents):
        results.append(_take(FILE_TALLY, replies, crew))
        on_result()
        if (following := next(waiting, None)) is not None:
            tasks.put(following)
    return results


def _take(kind: np.dtype[np.void], replies: Queue[Reply], crew: list[SpawnProcess]) -> Reply:
    while True:
        try:
            reply = replies.get(timeout=_LOOK_AROUND_SECONDS)
        except queue.Empty:
            for number, process in enumerate(crew, 1):
                if process.exitcode:
                    raise WorkerFailedError.ended(number, process.pid, f"exit code {process.exitcode}") from None
            continue
        assert reply.dtype == kind, f"{reply!r} came instead of {kind}"
        return reply


def _hire(process: SpawnProcess) -> SpawnProcess:
    try:
        process.start()
    except OSError as error:
        raise WorkerFailedError(f"a worker can't be started: {error}") from error
    return process


def _serve(tasks: Queue[Task | None], replies: Queue[Reply]) -> None:
    """Run in the worker process."""
    work(tasks.get, replies.put)

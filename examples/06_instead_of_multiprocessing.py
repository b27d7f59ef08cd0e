"""The queue example of the standard library's documentation, with its import changed.

    python examples/06_instead_of_multiprocessing.py [fork|spawn|forkserver]

`ipc.Queue` is a drop-in for multiprocessing's Queue, JoinableQueue and SimpleQueue: the code below runs unchanged over
either (swap the two lines marked *).  What is new: put_many, get_many, and shutdown() as in Python 3.13, which ends the
workers without a sentinel for each.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import sys
from typing import Any

import ipc

WORKERS = 4
TASKS = 1000


def work(tasks: Any, results: Any) -> None:
    """Run in each worker process."""
    for function, argument in iter(tasks.get, "STOP"):
        results.put((argument, function(argument)))
        tasks.task_done()
    tasks.task_done()


def square(number: int) -> int:
    return number * number


def drop_in(method: str) -> None:
    context = multiprocessing.get_context(method)
    tasks: Any = ipc.JoinableQueue()  # * context.JoinableQueue()
    results: Any = ipc.Queue()  # * context.Queue()
    for number in range(TASKS):
        tasks.put((square, number))  # never blocks: the workers may come later
    workers = [context.Process(target=work, args=(tasks, results)) for _ in range(WORKERS)]  # type: ignore[attr-defined]
    for worker in workers:
        worker.start()
    found = dict(results.get() for _ in range(TASKS))
    tasks.join()
    for _ in workers:
        tasks.put("STOP")
    for worker in workers:
        worker.join()
    assert found == {number: number * number for number in range(TASKS)}
    print(f"drop-in: {len(found)} results from {WORKERS} processes by {method}")


def work_in_batches(tasks: ipc.Queue[int], sums: ipc.Queue[int]) -> None:
    total = 0
    with contextlib.suppress(ipc.ShutDown):  # the queue was shut down, and is empty
        while True:
            total += sum(tasks.get_many(100))
    sums.put(total)


def in_batches(method: str) -> None:
    context = multiprocessing.get_context(method)
    with ipc.Queue[int](maxsize=500) as tasks, ipc.Queue[int]() as sums:
        arguments = (tasks, sums)
        workers = [context.Process(target=work_in_batches, args=arguments) for _ in range(WORKERS)]  # type: ignore[attr-defined]
        for worker in workers:
            worker.start()
        tasks.put_many(range(TASKS))  # waits whenever 500 are there
        tasks.shutdown()
        total = sum(sums.get() for _ in workers)
        for worker in workers:
            worker.join()
    assert total == sum(range(TASKS))
    print(f"in batches: the sum of {TASKS} numbers is {total:,}")


if __name__ == "__main__":  # children that are spawned import this file: only the parent runs this
    chosen = sys.argv[1] if len(sys.argv) > 1 else "spawn"
    drop_in(chosen)
    in_batches(chosen)

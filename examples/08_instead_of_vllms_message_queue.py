"""An engine tells its workers what to do, as vLLM does: one writer, n readers, objects of unknown size, large ones too.

    python examples/08_instead_of_vllms_message_queue.py
    python examples/08_instead_of_vllms_message_queue.py 7

`message_queue.py` beside this file has the adapter, with the interface of vLLM's MessageQueue.  Every worker gets every
step, in order.  In the middle of it one worker is killed: the engine doesn't notice, and the others don't either.
"""

from __future__ import annotations

import multiprocessing
import sys
from typing import Any

import numpy as np
from message_queue import MessageQueue

STEPS = 1000
CHUNK = 64 << 10  # bytes: the ring has four of them, and the weights below are larger than all of it
WEIGHTS = 1 << 20


def step(number: int) -> dict[str, Any]:
    """What a scheduler might say; its size depends."""
    return {"step": number, "tokens": list(range(number % 500)), "block_table": np.arange(number % 2000)}


def work(handle: Any, rank: int, results: Any) -> None:
    """Run in each worker process."""
    steps = MessageQueue.create_from_handle(handle, rank)
    steps.wait_until_ready()
    weights, done = steps.dequeue(timeout=30), 0
    while (order := steps.dequeue(timeout=30)) is not None:
        assert order["step"] == done, "a step is missing"
        assert len(order["tokens"]) == done % 500
        assert len(order["block_table"]) == done % 2000
        done += 1
    results.put((rank, done, float(weights.sum())))


def main(workers: int) -> None:
    context = multiprocessing.get_context("spawn")
    results = context.SimpleQueue()
    steps = MessageQueue(workers, workers, max_chunk_bytes=CHUNK, max_chunks=4)
    handle = steps.export_handle()
    processes = [context.Process(target=work, args=(handle, rank, results)) for rank in range(workers)]
    for process in processes:
        process.start()
    steps.wait_until_ready()
    steps.enqueue(np.ones(WEIGHTS))  # 8 MiB
    for number in range(STEPS):
        if number == STEPS // 2:
            processes[0].kill()  # an accident
        steps.enqueue(step(number), timeout=30)  # an error would name a worker that is slow
    steps.enqueue(None)
    for _ in processes[1:]:
        rank, done, weights = results.get()
        print(f"worker {rank}: {done} steps in order, weights {weights:,.0f}")
    for process in processes:
        process.join()
    steps.close()
    print(f"worker 0 was killed after step {STEPS // 2}; {len(processes) - 1} of {len(processes)} went on")


if __name__ == "__main__":  # children that are spawned import this file: only the parent runs this
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 3)

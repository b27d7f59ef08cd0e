"""A scheduler and its workers: requests survive the worker that had them, and one that kills its workers is set aside.

    python examples/05_tasks_that_survive_their_worker.py [number of workers]

As where language models are served: the scheduler puts requests, workers take one each, and no request may be lost with
a worker that runs out of memory.  One worker is killed in the middle of its work here, and another one takes over; one
request ("poison") kills whoever takes it, and goes to the dead-letter queue after three deliveries.
"""

from __future__ import annotations

import os
import signal
import sys
from typing import TypedDict

import ipc


class Request(TypedDict):
    number: int
    prompt: str


Answer = tuple[int, str]  # number of the request, text

REQUESTS = 30
POISON = 13


def serve(requests: ipc.ReliableQueue[Request], answers: ipc.Queue[Answer]) -> None:
    """Run in each worker: acknowledged at the end of the `with`, given back if something raises in it."""
    while True:
        with requests.get() as delivery:
            request = delivery.message
            if request["prompt"] == "poison":
                os.kill(os.getpid(), signal.SIGKILL)  # what no `except` could catch
            answers.put((request["number"], request["prompt"].upper()))


def main(pool_size: int) -> None:
    with (
        ipc.ReliableQueue[ipc.DeadLetter]() as dead,
        # lease=None: a request is its worker's until it is done or dead, however long it takes
        ipc.ReliableQueue[Request](lease=None, max_deliveries=3, dead_letter=dead, prefetch=1) as requests,
        ipc.Queue[Answer]() as answers,
    ):
        workers = [ipc.spawn(serve, requests, answers) for _ in range(pool_size)]
        try:
            receipts = [
                requests.put({"number": n, "prompt": "poison" if n == POISON else f"prompt {n}"})
                for n in range(REQUESTS)
            ]
            texts: dict[int, str] = {}  # by number: at least once means that an answer may come twice
            replaced = 0
            while len(texts) < REQUESTS - 1 or not receipts[POISON].done():
                try:
                    number, text = answers.get(timeout=0.1)
                except ipc.TimeoutError:
                    pass  # which is queue.Empty as well
                else:
                    texts[number] = text
                    if len(texts) == 5:
                        workers[0].kill()  # an accident, in the middle of the work
                for i, worker in enumerate(workers):
                    if not worker.is_alive():
                        worker.join()
                        workers[i] = ipc.spawn(serve, requests, answers)
                        replaced += 1
            for receipt in receipts[:POISON]:
                receipt.wait(30)  # True: somebody has acknowledged it
            try:
                receipts[POISON].wait(30)
            except ipc.DeadLetteredError as error:
                print(f"scheduler: {error}")
            with dead.get(timeout=30) as delivery:  # moved there by a worker that waits for work
                letter = delivery.message
            print(f"dead letter: {letter.message} was {letter.reason}, {letter.deliveries} times")
        finally:
            for worker in workers:
                worker.kill()
                worker.join()
        stats = requests.stats()
    assert texts == {n: f"PROMPT {n}" for n in range(REQUESTS) if n != POISON}
    print(
        f"{len(texts)} of {REQUESTS} requests answered; workers replaced: {replaced}; {stats.redelivered} redeliveries"
    )


if __name__ == "__main__":  # children that are spawned import this file: only the parent runs main()
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 2)

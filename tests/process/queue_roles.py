"""What the other processes of the queues' tests do.  Importable by name, and cheap to import: spawned children do."""

from __future__ import annotations

from typing import Any

import ipc

LONG = 30.0
END = "--- the end ---"


def take(q: Any) -> Any:
    """One message of either kind of queue, done with."""
    got = q.get(timeout=LONG)
    if isinstance(got, ipc.Delivery):
        with got:
            return got.message
    return got


def is_end(message: Any) -> bool:
    """Arrays compare element by element, so not simply by `==`."""
    return isinstance(message, str) and message == END


def echo(there: Any, back: Any) -> None:
    """Send every message back, until the end."""
    while not is_end(message := take(there)):
        back.put(message)


def square(tasks: Any, results: Any) -> None:
    """A worker as in the standard library's documentation."""
    while (number := tasks.get()) is not None:
        results.put(number * number)
        tasks.task_done()
    tasks.task_done()


def put_numbers(q: Any, which: int, count: int) -> None:
    """Put pairs, and end without a word."""
    for number in range(count):
        q.put((which, number))


def report_all(q: Any, results: Any) -> None:
    """Take everything until the end, then say in parts what it was."""
    got = []
    while not is_end(message := take(q)):
        got.append(message)
    for start in range(0, max(len(got), 1), 5000):
        results.put(got[start : start + 5000])


def hand_on(method: str, q: Any, depth: int) -> None:
    """Start a child with the same queue, and so on."""
    from tests.process.support import context

    if depth > 1:
        child = context(method).Process(target=hand_on, args=(method, q, depth - 1))  # type: ignore[attr-defined]
        child.start()
        child.join()
        assert child.exitcode == 0
    q.put(depth)


def do_tasks(q: Any, count: int) -> None:
    """Take and be done with so many."""
    for _ in range(count):
        q.get(timeout=LONG)
        q.task_done()


def get_until_shutdown(q: Any, told: Any) -> None:
    """Pass on what comes until the queue is shut down."""
    try:
        while True:
            told.put(q.get(timeout=LONG))
    except ipc.ShutDown:
        told.put("shut down")


def give_back_all(q: Any) -> None:
    """Acknowledge nothing but the end."""
    while True:
        delivery = q.get(LONG)
        if is_end(delivery.message):
            delivery.ack()
            return
        delivery.nack()


def ack_all(q: Any) -> None:
    """Acknowledge everything up to the end."""
    while not is_end(take(q)):
        pass


def tell_name(q: Any, told: Any) -> None:
    """What it is called here."""
    told.send(q.name)


def put_and_leave(q: Any, count: int) -> None:
    """Put more than fits, and don't wait for the feeder."""
    q.cancel_join_thread()
    for number in range(count):
        q.put(number)

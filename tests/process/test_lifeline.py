"""The lifeline: workers end when their parent does, however that happens, and only then."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

import ipc
from ipc import workers
from tests.process import roles
from tests.process.support import METHODS, Python, context, is_gone, pipe, receive, running, state_of, until

method = pytest.mark.parametrize("method", METHODS)

PARENT = """
import os, signal, sys
import ipc
from ipc import workers
from tests.process import roles
if __name__ == "__main__":
    method, task, count = sys.argv[1], getattr(roles, sys.argv[2]), int(sys.argv[3])
    ways = [ipc.channel() for _ in range(count)]
    workers = [ipc.spawn(task, receiver, context=method) for _, receiver in ways]
    for sender, _ in ways:
        sender.send(b"first")
        sender.flush()
    print(*(worker.pid for worker in workers), flush=True)
    if sys.stdin.readline() == "leave\\n":
        os._exit(0)
"""

NESTED = """
import sys
import ipc
from ipc import workers
from tests.process import roles
if __name__ == "__main__":
    outbox, rx = ipc.channel()
    worker = ipc.spawn(roles.nest, outbox, sys.argv[1], 2, context=sys.argv[1])
    print(*(rx.recv() for _ in range(3)), flush=True)
    sys.stdin.readline()
"""


@contextmanager
def family(source: str, *arguments: str) -> Iterator[tuple[Python, list[int]]]:
    """A parent in a process of its own, and the pids of its workers."""
    with Python(source, *arguments) as parent:
        pids = [int(word) for word in parent.hear().split()]
        assert pids
        assert not any(is_gone(pid) for pid in pids)
        try:
            yield parent, pids
        except BaseException:
            for pid in pids:
                if not is_gone(pid):
                    os.kill(pid, signal.SIGKILL)
            raise


def all_end(pids: list[int]) -> None:
    until(lambda: all(is_gone(pid) for pid in pids), f"the end of the workers {pids}")


@pytest.mark.parametrize("task", ["recv_for_ever", "recv_then_pause", "recv_then_compute"])
@method
def test_workers_end_when_their_parent_is_killed(method: str, task: str) -> None:
    with family(PARENT, method, task, "3") as (parent, pids):
        parent.kill()
        all_end(pids)


@method
def test_workers_end_when_their_parent_leaves_without_goodbye(method: str) -> None:
    with family(PARENT, method, "recv_then_pause", "2") as (parent, pids):
        parent.say("leave")
        all_end(pids)


@method
def test_a_parent_that_ends_normally_closes_its_channels_and_waits_for_its_workers(method: str) -> None:
    with family(PARENT, method, "recv_for_ever", "2") as (parent, pids):
        parent.say("end")
        assert parent.process.wait() == 0
        all_end(pids)


@method
def test_workers_of_workers_end_as_well(method: str) -> None:
    with family(NESTED, method) as (parent, pids):
        assert len(set(pids)) == 3
        parent.kill()
        all_end(pids)


def test_a_stopped_worker_ends_when_it_goes_on() -> None:
    with family(PARENT, "spawn", "recv_then_pause", "1") as (parent, (pid,)):
        os.kill(pid, signal.SIGSTOP)
        until(lambda: state_of(pid) == "T", "the worker is stopped")
        parent.kill()
        assert not is_gone(pid)
        os.kill(pid, signal.SIGCONT)
        all_end([pid])


@method
def test_the_end_of_the_thread_that_started_a_worker_is_not_the_end_of_the_worker(method: str) -> None:
    tx, inbox = ipc.channel()
    outbox, rx = ipc.channel()
    started: list[Any] = []
    thread = threading.Thread(
        target=lambda: started.append(ipc.spawn(roles.echo, inbox, outbox, context=context(method)))
    )
    thread.start()
    thread.join()
    with tx, rx, running(started[0]) as worker:
        for number in range(100):
            tx.send(number)
            assert rx.recv() == number
        tx.close()
        worker.join()
        assert worker.exitcode == 0


@method
def test_a_worker_goes_on_when_its_worker_object_is_forgotten(method: str) -> None:
    tx, inbox = ipc.channel()
    outbox, rx = ipc.channel()
    with pipe() as (ours, theirs), tx, rx:
        waiting = ipc.spawn(roles.wait_for, theirs, context="fork")
        worker = ipc.spawn(roles.echo, inbox, outbox, context=context(method))
        process, lifeline = worker._process, worker._lifeline
        del worker
        assert receive(ours) == waiting.pid
        for number in range(100):
            tx.send(number)
            assert rx.recv() == number
        tx.close()
        process.join()
        assert process.exitcode == 0
        ours.send("go")
        waiting.join()
    workers._ours.discard(lifeline)  # kept as long as this process lives
    os.close(lifeline)

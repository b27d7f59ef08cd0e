"""Ctrl-C while a process waits for its worker: in time, whichever thread gets the signal, and the worker runs on."""

from __future__ import annotations

import os
import signal
import time
from multiprocessing import forkserver
from typing import Any

import pytest

import ipc
from tests.process import roles
from tests.process.support import CTRL_C_SECONDS, METHODS, is_gone, pipe, receive, running, state_of, until

WAITS = {
    "join": lambda worker: worker.join(),
    "join in time": lambda worker: worker.join(3600),
    "with": lambda worker: worker.__exit__(None, None, None),
}


def wait_for_a_worker(wait: str, method: str, receives: str, told: Any) -> None:
    """Start a worker that takes one message, and wait for it; after Ctrl-C, let it go."""
    tx, inbox = ipc.channel()
    forkserver._forkserver.__init__()  # type: ignore[misc]  # the one that the tests may have started is no child of ours
    worker = ipc.spawn(roles.recv_then_say, inbox, context=method)
    if receives == "another thread":
        roles.deliver_signals_to_another_thread()
    told.send((os.getpid(), worker.pid))
    try:
        WAITS[wait](worker)
        outcome = "returned"
    except KeyboardInterrupt:
        outcome = "KeyboardInterrupt"
    told.send((outcome, time.monotonic(), worker.is_alive()))
    tx.send("go")
    worker.join()
    told.send(worker.exitcode)
    tx.close()


@pytest.mark.parametrize("receives", ["main thread", "another thread"])
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("wait", WAITS)
def test_ctrl_c_ends_the_wait_for_a_worker(wait: str, method: str, receives: str) -> None:
    with (
        pipe() as (ours, told),
        running(ipc.spawn(wait_for_a_worker, wait, method, receives, told, context="fork")),
    ):
        pid, inner = receive(ours)
        until(lambda: all(state_of(each) == "S" for each in (pid, inner) * 5), "both wait")
        pressed = time.monotonic()
        os.kill(pid, signal.SIGINT)
        outcome, moment, alive = receive(ours)
        assert outcome == "KeyboardInterrupt"
        assert moment - pressed < CTRL_C_SECONDS
        assert alive
        assert receive(ours) == 0


def test_a_join_in_time_is_never_early_and_one_without_limit_ends_with_the_worker() -> None:
    tx, inbox = ipc.channel()
    with tx, running(ipc.spawn(roles.recv_then_say, inbox, context="fork")) as worker:
        for timeout in (0.0, 0.05, 0.25):
            begun = time.monotonic()
            worker.join(timeout)
            assert time.monotonic() - begun >= timeout
            assert worker.is_alive()
        tx.send("go")
        worker.join()
        assert worker.exitcode == 0


@pytest.mark.parametrize("method", METHODS)
def test_a_join_ends_with_the_worker_and_not_with_the_processes_that_it_leaves_behind(method: str) -> None:
    outbox, rx = ipc.channel()
    with rx, running(ipc.spawn(leave_a_child_behind, outbox, context=method)) as worker:
        left_behind = rx.recv(timeout=30)
        worker.join()
        assert worker.exitcode == 0
        assert not is_gone(left_behind)
        os.kill(left_behind, signal.SIGKILL)
        until(lambda: is_gone(left_behind), "it is gone")


def leave_a_child_behind(outbox: Any) -> None:
    pid = os.fork()
    if pid == 0:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.alarm(60)
        signal.pause()
        os._exit(0)
    outbox.send(pid)

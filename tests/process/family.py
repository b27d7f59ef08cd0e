"""A parent and its child, each with an end of its own, for every way in which a process can start another.

`parent(name, child's name, way)` runs as a program.  The child attaches by name, whatever it came by, and finishes when
SIGUSR1 comes.  What it inherited of its parent it leaves alone.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import ipc

__all__ = ["ROOT", "WAYS", "parent"]

ROOT = Path(__file__).parents[2]
PROGRAM = [sys.executable, "-c", "import sys; from tests.process.family import child; child(sys.argv[1])"]


def child(name: str) -> None:
    """Take an end, say so through it, and close it when asked."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
    with ipc.Sender.attach(name) as tx:
        tx.send(os.getpid())
        signal.sigwait({signal.SIGUSR1})


def _by_multiprocessing(method: str) -> Callable[[str], object]:
    def start(name: str) -> object:
        process = multiprocessing.get_context(method).Process(target=child, args=(name,))  # type: ignore[attr-defined]
        process.start()
        return process

    return start


def _by_fork(name: str) -> None:
    if os.fork() == 0:
        code = 1
        try:
            child(name)
            code = 0
        finally:
            os._exit(code)


def _by_fork_in_a_thread(name: str) -> None:
    thread = threading.Thread(target=_by_fork, args=(name,))
    thread.start()
    thread.join()


def _by_fork_and_exec(name: str) -> None:
    if os.fork() == 0:
        os.execv(sys.executable, [*PROGRAM, name])


def _by_posix_spawn(name: str) -> object:
    return os.posix_spawn(sys.executable, [*PROGRAM, name], os.environ)


def _by_subprocess(name: str, *, close_fds: bool = True) -> object:
    return subprocess.Popen([*PROGRAM, name], close_fds=close_fds)  # by vfork, where it can


def _by_subprocess_with_descriptors(name: str) -> object:
    return _by_subprocess(name, close_fds=False)


WAYS: dict[str, Callable[[str], object]] = {
    "os.fork": _by_fork,
    "os.fork in a thread": _by_fork_in_a_thread,
    "fork and exec": _by_fork_and_exec,
    "posix_spawn (vfork and exec)": _by_posix_spawn,
    "subprocess": _by_subprocess,
    "subprocess, descriptors left open": _by_subprocess_with_descriptors,
    "multiprocessing, fork": _by_multiprocessing("fork"),
    "multiprocessing, spawn": _by_multiprocessing("spawn"),
    "multiprocessing, forkserver": _by_multiprocessing("forkserver"),
}


def parent(name: str, childs_name: str, way: str) -> None:
    """Take an end, start the child, and close the end when standard input says so or ends."""
    tx = ipc.Sender.attach(name)
    tx.send(os.getpid())
    started = WAYS[way](childs_name)
    print("started", flush=True)
    sys.stdin.readline()
    tx.send("still here")
    tx.close()
    print("closed", flush=True)
    sys.stdin.readline()
    del started

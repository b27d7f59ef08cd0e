"""What the process tests share: other processes to talk to, and waiting for facts instead of sleeping."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from multiprocessing.context import BaseContext
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from typing_extensions import Self

METHODS = ("fork", "spawn", "forkserver")

# What is promised, times five: the machine that runs the tests has other things to do.
DEATH_NOTICED_SECONDS = 1.0
CTRL_C_SECONDS = 1.0

PATIENCE_SECONDS = 30.0  # no promise: beyond it a test says what it waited for


def context(method: str) -> BaseContext:
    """A multiprocessing context; forkserver's children start with ipc imported."""
    chosen = multiprocessing.get_context(method)
    if method == "forkserver":
        chosen.set_forkserver_preload(["ipc", "tests.process.roles"])
    return chosen


def until(condition: Callable[[], object], what: str) -> None:
    """Poll until `condition()` holds."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, f"still not: {what}"
        time.sleep(0.002)


def state_of(pid: int) -> str:
    """The kernel's letter: R running, S sleeping, T stopped, Z zombie; "" for none."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return ""
    return stat.rpartition(")")[2].split()[0]


def is_gone(pid: int) -> bool:
    """Whether a process that may not be our child has ended."""
    return state_of(pid) in {"", "Z"}


def is_asleep(pid: int) -> bool:
    """Whether the main thread is blocked in the kernel, on a futex where that can be told."""
    try:
        where = Path(f"/proc/{pid}/task/{pid}/wchan").read_text(encoding="ascii")
    except OSError:
        where = "0"
    return "futex" in where if where not in {"", "0"} else state_of(pid) == "S"


def is_waiting(pid: int) -> bool:
    """Whether the main thread is asleep whenever we look: between two looks it may check on its peer."""
    return all(is_asleep(pid) for _ in range(3))


def receive(connection: Any) -> Any:
    """The next object from a pipe of multiprocessing, or a failure that says so."""
    assert connection.poll(PATIENCE_SECONDS), "the other process said nothing"
    return connection.recv()


class Python:
    """Source text run by an interpreter of its own, unrelated to us; one line per message both ways."""

    def __init__(self, source: str, *arguments: str, wrap: tuple[str, ...] = ()) -> None:
        self.process = subprocess.Popen(
            [*wrap, sys.executable, "-c", source, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.pid = self.process.pid

    def hear(self) -> str:
        """The next line that it prints; "" once it has ended."""
        assert self.process.stdout is not None
        return self.process.stdout.readline().rstrip("\n")

    def say(self, line: str) -> None:
        """One line to its standard input."""
        assert self.process.stdin is not None
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def end(self) -> int:
        """Close its standard input and wait for it; returns the exit code."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        return self.process.wait(PATIENCE_SECONDS)

    def kill(self) -> None:
        """SIGKILL; returns when the kernel has closed everything it had."""
        self.process.kill()
        self.process.wait(PATIENCE_SECONDS)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout):
            if stream is not None:
                with suppress(BrokenPipeError):
                    stream.close()


class Forked:
    """A function run in a child made by os.fork itself, without multiprocessing; ends with os._exit."""

    def __init__(self, function: Callable[[], object]) -> None:
        self.pid = os.fork()
        if self.pid == 0:
            code = 1
            try:
                signal.alarm(0)
                function()
                code = 0
            except BaseException:
                os.write(2, f"in a forked child: {traceback.format_exc()}".encode())
            finally:
                os._exit(code)
        self._code: int | None = None

    def kill(self, number: int = signal.SIGKILL) -> int:
        """Send a signal and wait until it is gone."""
        os.kill(self.pid, number)
        return self.join()

    def join(self) -> int:
        """Its exit code, or minus the signal that ended it."""
        if self._code is None:
            self._code = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        return self._code

    def has_ended(self) -> bool:
        """Whether it has ended by now."""
        if self._code is None and (found := os.waitpid(self.pid, os.WNOHANG)) != (0, 0):
            self._code = os.waitstatus_to_exitcode(found[1])
        return self._code is not None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._code is None:
            self.kill()


@contextmanager
def running(process: Any) -> Iterator[Any]:
    """A started multiprocessing process or worker, killed at the end if it still runs, and reaped in any case."""
    try:
        yield process
    finally:
        process.kill()
        process.join()
        if hasattr(process, "close"):
            process.close()


@contextmanager
def pipe() -> Iterator[tuple[Any, Any]]:
    """A duplex pipe of multiprocessing, closed at the end."""
    ours, theirs = multiprocessing.Pipe()
    with ours, theirs:
        yield ours, theirs

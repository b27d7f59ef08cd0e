"""The processes under measurement: started by multiprocessing, or by a launcher that the peer brings along."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from multiprocessing import get_context
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Protocol

from . import worker

__all__ = ["Launched", "Processes", "Spawned", "import_path"]


class Processes(Protocol):
    """All workers of one measurement."""

    def handed_over(self) -> None:
        """Everybody has what was made for it: our own copies can go."""
        ...

    def problem(self) -> str | None:
        """Who ended in failure so far, if anybody did."""
        ...

    def finish(self, timeout: float) -> str | None:
        """Wait for all of them to end, then answer as problem() does."""
        ...

    def kill(self) -> None: ...


class Spawned:
    """One process per role, by the spawn start method: nothing is inherited but what it is handed."""

    def __init__(self, names: Sequence[str], address: str, handles: Sequence[Sequence[object]]) -> None:
        context = get_context("spawn")
        self._handles: Sequence[Sequence[object]] = handles  # a semaphore lives no longer than who made it
        self._processes: list[BaseProcess] = [
            context.Process(target=worker.main, args=(address, index, handles[index]), name=name, daemon=True)
            for index, name in enumerate(names)
        ]
        try:
            for process in self._processes:
                process.start()
        except BaseException:
            self.kill()
            raise

    def handed_over(self) -> None:
        self._handles = ()

    def problem(self) -> str | None:
        for process in self._processes:
            if process.exitcode:
                return f"the {process.name} ended with exit code {process.exitcode}"
        return None

    def finish(self, timeout: float) -> str | None:
        for process in self._processes:
            process.join(timeout)
            if process.exitcode is None:
                return f"the {process.name} did not end"
        return self.problem()

    def kill(self) -> None:
        for process in self._processes:
            if process.pid is not None and process.exitcode is None:
                process.kill()
                process.join()


class Launched:
    """Processes that a peer's own launcher starts, all alike: who does what is settled when they arrive."""

    def __init__(self, launch: Callable[[int, Sequence[str]], Sequence[str]], count: int, address: str) -> None:
        command = launch(count, [sys.executable, "-m", worker.__name__, address])
        environment = {**os.environ, "PYTHONPATH": import_path()}
        self._launcher = subprocess.Popen(command, env=environment, start_new_session=True)

    def handed_over(self) -> None:
        pass

    def problem(self) -> str | None:
        code = self._launcher.poll()
        return f"the launcher ended with exit code {code}" if code else None

    def finish(self, timeout: float) -> str | None:
        try:
            self._launcher.wait(timeout)
        except subprocess.TimeoutExpired:
            return "the launcher did not end"
        return self.problem()

    def kill(self) -> None:
        if self._launcher.poll() is None:
            os.killpg(self._launcher.pid, signal.SIGKILL)
            self._launcher.wait()


def import_path() -> str:
    """A PYTHONPATH under which a fresh interpreter finds this package under the same name."""
    root = Path(__file__).resolve().parents[__name__.count(".")]
    return os.pathsep.join(filter(None, [str(root), os.environ.get("PYTHONPATH")]))

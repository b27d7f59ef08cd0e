"""The line between the process that measures and those that are measured: JSON, one object per line.

A Unix socket, so that it is never the transport under test, and so that processes started by somebody else's launcher
can join too.  It carries no figure that is timed; starts are synchronised by a moment on the monotonic clock.
"""

from __future__ import annotations

import json
import selectors
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, final

__all__ = ["Hub", "Line", "MeasurementFailedError"]

Message = dict[str, Any]


class MeasurementFailedError(Exception):
    """A process under measurement failed, left, or took too long."""


class Line:
    """One process's end of the control line."""

    def __init__(self, connected: socket.socket) -> None:
        self.socket = connected
        self._file = connected.makefile("rw", encoding="utf-8")

    @classmethod
    def to(cls, address: str) -> Line:
        connected = socket.socket(socket.AF_UNIX)
        connected.connect(address)
        return cls(connected)

    def tell(self, message: Message) -> None:
        self._file.write(json.dumps(message) + "\n")
        self._file.flush()

    def hear(self) -> Message | None:
        """The next message; None when the other side has left."""
        try:
            text = self._file.readline()
        except ConnectionError:
            return None
        message: Message | None = json.loads(text) if text else None
        return message

    def close(self) -> None:
        self._file.close()
        self.socket.close()


@final
class Hub:
    """The measuring process's end: one line to each worker, in the order of the roles."""

    def __init__(self, directory: str, timeout: float) -> None:
        self.address = str(Path(directory) / "control")
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(self.address)
        self._listener.listen()
        self._deadline = time.monotonic() + timeout
        self.problem: Callable[[], str | None] = lambda: None
        """Asked while we wait: who of the workers ended in failure, if anybody did."""
        self.lines: list[Line] = []

    def __enter__(self) -> Hub:
        return self

    def __exit__(self, *exc_info: object) -> None:
        for line in self.lines:
            line.close()
        self._listener.close()

    def admit(self, count: int) -> None:
        """Wait for `count` workers.  Each says which role is its own, or takes the next in order of arrival."""
        arrived: list[tuple[int, Line]] = []
        self._listener.settimeout(0.1)
        while len(arrived) < count:
            try:
                connected, _ = self._listener.accept()
            except TimeoutError:
                self._check("a worker did not start")
                continue
            connected.settimeout(None)
            line = Line(connected)
            hello = line.hear() or {}
            index = hello.get("index")
            arrived.append((len(arrived) if index is None else index, line))
        self.lines = [line for _, line in sorted(arrived, key=lambda pair: pair[0])]

    def tell(self, message: Message) -> None:
        for line in self.lines:
            line.tell(message)

    def gather(self) -> list[Message]:
        """One answer from each worker, whoever answers first."""
        answers: dict[int, Message] = {}
        with selectors.DefaultSelector() as selector:
            for index, line in enumerate(self.lines):
                selector.register(line.socket, selectors.EVENT_READ, index)
            while len(answers) < len(self.lines):
                for key, _ in selector.select(timeout=0.1):
                    answer = self.lines[key.data].hear()
                    if answer is None:
                        raise MeasurementFailedError(self.problem() or f"worker {key.data} left")
                    if "error" in answer:
                        raise MeasurementFailedError(answer["error"])
                    answers[key.data] = answer
                    selector.unregister(key.fileobj)
                self._check("no answer")
        return [answers[index] for index in range(len(self.lines))]

    def _check(self, otherwise: str) -> None:
        if problem := self.problem():
            raise MeasurementFailedError(problem)
        if time.monotonic() > self._deadline:
            raise MeasurementFailedError(f"timed out: {otherwise}")

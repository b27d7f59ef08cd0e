"""The readers of the message queue's tests, and the adapter, which is an example's file and no module of a package."""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import ipc


def adapter() -> ModuleType:
    """examples/message_queue.py."""
    name = "examples_message_queue"
    if name not in sys.modules:
        path = Path(__file__).parents[2] / "examples" / "message_queue.py"
        spec = importlib.util.spec_from_file_location(name, path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        sys.modules[name] = module
    return sys.modules[name]


def attach(handle: Any, rank: int) -> Any:
    reader = adapter().MessageQueue.create_from_handle(handle, rank)
    reader.wait_until_ready()
    return reader


def collect(handle: Any, rank: int, answers: ipc.Sender[Any]) -> None:
    """Take all objects until the end, and send them back."""
    reader, got = attach(handle, rank), []
    try:
        while True:
            got.append(reader.dequeue(timeout=60))
    except EOFError:
        answers.send(got)


def count(handle: Any, rank: int, answers: ipc.Sender[Any]) -> None:
    """Take numbers until the end, which have to be in order."""
    reader, expected = attach(handle, rank), 0
    try:
        while True:
            number = reader.dequeue(timeout=60)
            number = number if isinstance(number, int) else len(number)
            assert number == expected, f"{number} in place of {expected}"
            expected += 1
    except EOFError:
        answers.send(expected)


def take_one_and_stay(handle: Any, rank: int, answers: ipc.Sender[Any]) -> None:
    """Take one object, say so, and never take another."""
    reader = attach(handle, rank)
    answers.send((os.getpid(), reader.dequeue(timeout=60)))
    ipc.Queue[None]().get()  # for ever

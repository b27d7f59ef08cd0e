"""faster-fifo: one circular buffer in shared memory, with a lock and condition variables of POSIX."""

from __future__ import annotations

import importlib
from typing import Any

from . import Link, ReceiveEnd, SendEnd, Wait

NAME = "faster-fifo"
DISTRIBUTION: str | None = "faster-fifo"
WAITS: tuple[Wait, ...] = ("default",)
SHARED = True

SECONDS_FOR_EVER = 1e6


def available() -> str | None:
    try:
        importlib.import_module("faster_fifo")
        importlib.import_module("faster_fifo_reduction")  # so that queues can be pickled for a spawned process
    except ImportError as error:
        return f"{error}; pip install faster-fifo"
    return None


def make(link: Link) -> tuple[object, object]:
    queue = importlib.import_module("faster_fifo").Queue(max_size_bytes=link.capacity_bytes)
    return queue, queue


def sender(handle: object, link: Link) -> SendEnd:
    importlib.import_module("faster_fifo_reduction")
    queue: Any = handle

    def put(message: object) -> None:  # the default timeout of 10 s is for programs that look after deadlocks
        queue.put(message, timeout=SECONDS_FOR_EVER)

    def put_many(messages: object) -> None:
        queue.put_many(messages, timeout=SECONDS_FOR_EVER)

    return SendEnd(send=put, send_many=put_many)


def receiver(handle: object, link: Link) -> ReceiveEnd:
    queue: Any = handle

    def get() -> object:
        return queue.get(timeout=SECONDS_FOR_EVER)

    def get_many(most: int) -> Any:
        return queue.get_many(max_messages_to_get=most, timeout=SECONDS_FOR_EVER)

    return ReceiveEnd(recv=get, recv_many=get_many)

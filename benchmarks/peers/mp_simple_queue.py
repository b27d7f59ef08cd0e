"""multiprocessing.SimpleQueue: pickles into a pipe, in the caller's own thread, under a lock."""

from __future__ import annotations

from multiprocessing import get_context
from multiprocessing.queues import SimpleQueue
from typing import TYPE_CHECKING, cast

from . import Link, ReceiveEnd, SendEnd, Wait

if TYPE_CHECKING:
    BytesQueue = SimpleQueue[bytes]

NAME = "mp.SimpleQueue"
DISTRIBUTION: str | None = None
WAITS: tuple[Wait, ...] = ("default", "hot", "parked")
SHARED = True


def available() -> str | None:
    return None


def make(link: Link) -> tuple[object, object]:
    queue: BytesQueue = get_context("spawn").SimpleQueue()
    return queue, queue


def sender(handle: object, link: Link) -> SendEnd:
    queue = cast("BytesQueue", handle)
    return SendEnd(send=queue.put, close=queue.close)


def receiver(handle: object, link: Link) -> ReceiveEnd:
    queue = cast("BytesQueue", handle)
    if link.wait != "hot":
        return ReceiveEnd(recv=queue.get, close=queue.close)
    empty, get = queue.empty, queue.get

    def ask_then_get() -> bytes:
        while empty():
            pass
        return get()

    return ReceiveEnd(recv=ask_then_get, close=queue.close)

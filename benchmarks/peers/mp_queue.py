"""multiprocessing.Queue: pickles in a feeder thread, a pipe, and a lock at each end."""

from __future__ import annotations

from multiprocessing import get_context
from multiprocessing.queues import Queue
from queue import Empty
from typing import TYPE_CHECKING, cast

from . import Link, ReceiveEnd, SendEnd, Wait

if TYPE_CHECKING:
    BytesQueue = Queue[bytes]

NAME = "mp.Queue"
DISTRIBUTION: str | None = None
WAITS: tuple[Wait, ...] = ("default", "hot", "parked")
SHARED = True


def available() -> str | None:
    return None


def make(link: Link) -> tuple[object, object]:
    queue: BytesQueue = get_context("spawn").Queue()
    return queue, queue


def sender(handle: object, link: Link) -> SendEnd:
    queue = cast("BytesQueue", handle)
    return SendEnd(send=queue.put, close=queue.close)


def receiver(handle: object, link: Link) -> ReceiveEnd:
    queue = cast("BytesQueue", handle)
    if link.wait != "hot":
        return ReceiveEnd(recv=queue.get, close=queue.close)
    get_nowait = queue.get_nowait

    def try_until_there() -> bytes:
        while True:
            try:
                return get_nowait()
            except Empty:
                pass

    return ReceiveEnd(recv=try_until_there, close=queue.close)

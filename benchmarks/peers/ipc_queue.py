"""Ours: a queue, one lane for each producer."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, cast

from . import Link, ReceiveEnd, SendEnd, Wait

if TYPE_CHECKING:
    from ipc import Queue

    BytesQueue = Queue[bytes]

NAME = "ipc.Queue"
DISTRIBUTION: str | None = "ipc-rings"
WAITS: tuple[Wait, ...] = ("default",)
SHARED = True


def available() -> str | None:
    try:
        importlib.import_module("ipc").Queue  # noqa: B018  (an attribute may import the extension)
    except (ImportError, AttributeError) as error:
        return f"import ipc: {error}"
    return None


def make(link: Link) -> tuple[object, object]:
    import ipc

    queue: BytesQueue = ipc.Queue()
    return queue, queue


def sender(handle: object, link: Link) -> SendEnd:
    queue = cast("BytesQueue", handle)

    def close() -> None:
        queue.close()
        queue.join_thread()

    return SendEnd(send=queue.put, send_many=queue.put_many, close=close)


def receiver(handle: object, link: Link) -> ReceiveEnd:
    queue = cast("BytesQueue", handle)
    return ReceiveEnd(recv=queue.get, recv_many=queue.get_many, close=queue.close)

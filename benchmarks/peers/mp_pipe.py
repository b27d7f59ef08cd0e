"""multiprocessing.Pipe: bytes through a kernel pipe, the fastest way the standard library has."""

from __future__ import annotations

from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING, Any, cast

from . import Link, ReceiveEnd, SendEnd, Wait

if TYPE_CHECKING:
    AnyConnection = Connection[Any, Any]

NAME = "mp.Pipe"
DISTRIBUTION: str | None = None
WAITS: tuple[Wait, ...] = ("default", "hot", "parked")
SHARED = False


def available() -> str | None:
    return None


def make(link: Link) -> tuple[object, object]:
    reading, writing = get_context("spawn").Pipe(duplex=False)
    return writing, reading


def sender(handle: object, link: Link) -> SendEnd:
    connection = cast("AnyConnection", handle)
    return SendEnd(send=connection.send_bytes, send_object=connection.send, close=connection.close)


def receiver(handle: object, link: Link) -> ReceiveEnd:
    connection = cast("AnyConnection", handle)
    if link.wait != "hot":
        return ReceiveEnd(recv=connection.recv_bytes, recv_object=connection.recv, close=connection.close)
    poll, recv_bytes = connection.poll, connection.recv_bytes

    def poll_then_recv() -> bytes:
        while not poll(0):
            pass
        return recv_bytes()

    return ReceiveEnd(recv=poll_then_recv, close=connection.close)

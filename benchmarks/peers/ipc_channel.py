"""Ours: a channel, one sender and one receiver over one ring."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, cast

from . import Link, ReceiveEnd, SendEnd, Wait

if TYPE_CHECKING:
    from ipc import Receiver, Sender

    BytesSender = Sender[bytes]
    BytesReceiver = Receiver[bytes]

NAME = "ipc.channel"
DISTRIBUTION: str | None = "ipc-rings"
WAITS: tuple[Wait, ...] = ("default", "hot", "parked")
SHARED = False

SECONDS_HOT = 1.0  # longer than any round trip, so that a hot end never parks


def available() -> str | None:
    try:
        importlib.import_module("ipc").channel  # noqa: B018  (an attribute may import the extension)
    except (ImportError, AttributeError) as error:
        return f"import ipc: {error}"
    return None


def make(link: Link) -> tuple[object, object]:
    import ipc

    if link.wait == "hot":
        return ipc.channel(capacity=link.capacity_bytes, spin=SECONDS_HOT)
    if link.wait == "parked":
        return ipc.channel(capacity=link.capacity_bytes, spin=0)
    return ipc.channel(capacity=link.capacity_bytes)


def sender(handle: object, link: Link) -> SendEnd:
    tx = cast("BytesSender", handle)
    return SendEnd(send=tx.send, send_many=tx.send_many, claim=tx.claim, close=tx.close)


def receiver(handle: object, link: Link) -> ReceiveEnd:
    rx = cast("BytesReceiver", handle)
    return ReceiveEnd(recv=rx.recv, recv_many=rx.recv_many, messages=iter(rx), view=rx.view, close=rx.close)

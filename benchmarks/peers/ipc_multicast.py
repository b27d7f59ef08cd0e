"""Ours: one copy of each message, for all subscribers."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, cast

from . import Link, ReceiveEnd, SendEnd, Wait

if TYPE_CHECKING:
    from ipc import Multicast

    BytesMulticast = Multicast[bytes]

NAME = "ipc.Multicast"
DISTRIBUTION: str | None = "ipc-rings"
WAITS: tuple[Wait, ...] = ("default", "parked")
SHARED = True
MULTICAST = True
LENDS = True

LENT_FROM = 64 << 10  # bytes; less is faster copied


def available() -> str | None:
    try:
        importlib.import_module("ipc").Multicast  # noqa: B018  (an attribute may import the extension)
    except (ImportError, AttributeError) as error:
        return f"import ipc: {error}"
    return None


def _lossy(link: Link) -> bool:
    return "lossy" in link.way.split()


def make(link: Link) -> tuple[object, object]:
    import ipc

    multicast: BytesMulticast = ipc.Multicast(
        capacity=link.capacity_bytes,
        policy="lossy" if _lossy(link) else "lossless",
        spin=0 if link.wait == "parked" else "auto",
    )
    return multicast, multicast


def sender(handle: object, link: Link) -> SendEnd:
    publisher = cast("BytesMulticast", handle).publisher()
    return SendEnd(send=publisher.publish, claim=publisher.claim, close=publisher.close)


def receiver(handle: object, link: Link) -> ReceiveEnd:
    subscriber = cast("BytesMulticast", handle).subscribe()
    lends = link.message_bytes >= LENT_FROM and not _lossy(link)  # what may be overwritten meanwhile is not lent
    return ReceiveEnd(recv=subscriber.recv, view=subscriber.view if lends else None, close=subscriber.close)

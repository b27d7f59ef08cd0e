"""ZeroMQ: XPUB and SUB over a Unix socket, by pyzmq.

XPUB is PUB that can be told not to drop (ZMQ_XPUB_NODROP): then send() waits while a subscriber's queue is full, which
is what lossless means.  Otherwise a full queue loses what comes next.  Queues are bounded by messages; they get as many
as fit into the capacity, and twice that, as each subscriber has one at either end.

From 64 KiB on, messages go without a copy on either side (`copy=False`), which is pyzmq's own threshold.
"""

from __future__ import annotations

import importlib
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from . import Link, ReceiveEnd, SendEnd, Wait

NAME = "pyzmq XPUB/SUB"
DISTRIBUTION: str | None = "pyzmq"
WAITS: tuple[Wait, ...] = ("default", "parked")  # its receivers always sleep
SHARED = True
MULTICAST = True

ZERO_COPY_FROM = 64 << 10
MOST_SOCKETS = 4096  # in one process; the default is 1023


def available() -> str | None:
    try:
        importlib.import_module("zmq")
    except ImportError as error:
        return f"{error}; pip install pyzmq"
    return None


def make(link: Link) -> tuple[object, object]:
    return None, None


def _socket(link: Link, kind: str) -> Any:
    zmq: Any = importlib.import_module("zmq")
    context = zmq.Context.instance()
    context.set(zmq.MAX_SOCKETS, MOST_SOCKETS)  # heeded before the first socket, harmless later
    socket = context.socket(getattr(zmq, kind))
    socket.linger = 0
    socket.set_hwm(max(4, link.capacity_bytes // link.message_bytes))
    return socket


def _address(link: Link) -> str:
    return f"ipc://{Path(link.directory, link.name)}"


def sender(handle: object, link: Link) -> SendEnd:
    zmq: Any = importlib.import_module("zmq")
    socket = _socket(link, "XPUB")
    socket.setsockopt(zmq.XPUB_NODROP, "lossy" not in link.way.split())
    socket.setsockopt(zmq.XPUB_VERBOSE, True)  # say so of every subscriber, not only of the first
    socket.setsockopt(zmq.BACKLOG, link.receivers + 1)
    socket.bind(_address(link))
    for _ in range(link.receivers):
        socket.recv()  # who subscribes later misses what came before
    if link.message_bytes < ZERO_COPY_FROM:
        return SendEnd(send=socket.send, close=socket.close)

    def send(message: bytes) -> None:
        socket.send(message, copy=False)

    return SendEnd(send=send, close=socket.close)


def receiver(handle: object, link: Link) -> ReceiveEnd:
    socket = _socket(link, "SUB")
    socket.subscribe(b"")
    socket.connect(_address(link))  # in the background, also before the other side is there

    def view() -> Any:
        return nullcontext(socket.recv(copy=False).buffer)

    large = link.message_bytes >= ZERO_COPY_FROM
    return ReceiveEnd(recv=socket.recv, view=view if large else None, close=socket.close)

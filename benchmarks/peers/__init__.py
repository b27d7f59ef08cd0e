"""What a peer is.  One file per peer in this directory; every file here is found by its name.

A peer is a module with

    NAME           how tables call it
    DISTRIBUTION   what to ask for its version; None for the standard library
    WAITS          which ways of waiting it offers, of "default", "hot", "parked"
    SHARED         whether one link may have several senders and several receivers
    MULTICAST      optional, True: each message of a link goes to all of its receivers.  Such a peer takes part in the
                   questions about that (those that say so as well), and in no others
    LENDS          optional, True: its senders can claim memory, and write there
    available()    None, or why it can't be measured here
    make(link)     called in a third process: what the sender gets and what the receiver gets, both picklable
                   as arguments of a spawned Process
    sender(handle, link), receiver(handle, link)
                   called in the end's own process, after it was pinned: the callables that will be timed
    launch(count, argv)   optional: the command that starts `count` processes of argv, for a peer whose processes
                   must have a launcher of its own (mpiexec).  Handles are None then.
    tidy(directory)       optional: removes what its processes have left outside of their links' directory

The timed loops call `SendEnd.send(message)` and `ReceiveEnd.recv()` with nothing in between, so these should be the
peer's own bound methods, the ones its documentation recommends.  A function of ours is right only where the
documented way takes more than one call (ask, then take), and then its frame is part of the peer's cost.

A round trip takes two links, one for each direction.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import pkgutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Literal, Protocol, cast

__all__ = ["Link", "Peer", "ReceiveEnd", "SendEnd", "Wait", "load", "names", "nothing", "tidy", "version"]

OURS = "ipc_channel"
ALL_OURS = frozenset((OURS, "ipc_queue", "ipc_multicast"))

Wait = Literal["default", "hot", "parked"]
"""How a receiver waits: as the peer does by itself; never asleep; or asleep in the kernel, at once."""


def nothing() -> None:
    """The close() of an end that needs none."""


@dataclass(frozen=True)
class Link:
    """One direction from one process to another, as the question wants it."""

    name: str
    """Unique to this link; for transports that need a name or an address."""
    directory: str
    """Private to this measurement and removed after it: for sockets and files."""
    message_bytes: int
    """Length of every message."""
    capacity_bytes: int
    """Room for messages under way, for transports that let us choose."""
    wait: Wait
    receivers: int = 1
    """How many ends take messages from it."""
    way: str = ""
    """The case's, for what else a question asks of a transport."""


@dataclass(frozen=True)
class SendEnd:
    """What the sending process calls."""

    send: Callable[[Any], object]
    prepare: Callable[[bytes], Any] | None = None
    """Where `send` takes no bytes: makes of bytes what it takes, before the clock starts."""
    send_many: Callable[[Sequence[bytes]], object] | None = None
    send_object: Callable[[Any], object] | None = None
    """Where `send` takes bytes only: what takes any object."""
    claim: Callable[[tuple[int, ...], str], AbstractContextManager[Any]] | None = None
    """Lends an array of the transport's own memory, to be sent when its `with` ends."""
    close: Callable[[], object] = nothing


@dataclass(frozen=True)
class ReceiveEnd:
    """What the receiving process calls."""

    recv: Callable[[], object]
    recv_many: Callable[[int], Sequence[object]] | None = None
    """At most so many messages, at least one."""
    messages: Iterator[object] | None = None
    """Iterating gives messages."""
    recv_object: Callable[[], Any] | None = None
    """The other side of `send_object`."""
    view: Callable[[], AbstractContextManager[Any]] | None = None
    """Lends the next array where it lies."""
    close: Callable[[], object] = nothing


class Peer(Protocol):
    """The shape of a peer's module."""

    NAME: str
    DISTRIBUTION: str | None
    WAITS: tuple[Wait, ...]
    SHARED: bool

    def available(self) -> str | None: ...
    def make(self, link: Link) -> tuple[object, object]: ...
    def sender(self, handle: object, link: Link) -> SendEnd: ...
    def receiver(self, handle: object, link: Link) -> ReceiveEnd: ...


def names() -> list[str]:
    """Every peer in this directory, ours first."""
    found = sorted(module.name for module in pkgutil.iter_modules(__path__))
    return sorted(found, key=lambda name: name not in ALL_OURS)


def load(name: str) -> Peer:
    """A peer of this directory, or any importable module (a name with a dot)."""
    return cast("Peer", importlib.import_module(name if "." in name else f"{__name__}.{name}"))


def tidy(peer: Peer, directory: str) -> None:
    """After the last process of a measurement has ended."""
    remove: Callable[[str], object] | None = getattr(peer, "tidy", None)
    if remove is not None:
        remove(directory)


def version(peer: Peer) -> str | None:
    """The installed version of what a peer measures, or None when it has none of its own."""
    if peer.DISTRIBUTION is None:
        return None
    try:
        return importlib.metadata.version(peer.DISTRIBUTION)
    except importlib.metadata.PackageNotFoundError:
        return None

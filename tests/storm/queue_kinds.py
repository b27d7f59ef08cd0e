"""The queues that the storm fights over: each with another limit, another way to lose a lease, and what it promises."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import Any, Final

import ipc
from tests.history.rules import QUEUE, RELIABLE, Rules

__all__ = ["KINDS", "LETTERS", "Kind"]

LETTERS: Final = "-letters"  # behind a queue's name: where its dead letters go
LEASE: Final = 0.2
DELAY: Final = 0.1
ENDLESS: Final = 254  # the most deliveries that are counted

_PLAIN: Final = replace(QUEUE, returns=True)
_RELIABLE: Final = replace(RELIABLE, across=True, most_deliveries=ENDLESS)


@dataclass(frozen=True)
class Kind:
    """One of them."""

    make: Callable[[str, Any], Any]
    """From a name and where dead letters go."""
    rules: Rules
    maxsize: int = 0
    """Messages; 0: other things limit it."""
    largest: int = 1500
    """Bytes of a message."""
    reliable: bool = False
    too_long: float = 0.0
    """How long some messages are held, which is beyond their lease; 0: none."""
    nacks: float = 0.1
    """How many of the deliveries are given back."""
    delay: float = 0.0
    """For so long, half of them."""
    letters: bool = False
    """Whether dead letters are moved to another queue."""

    @contextmanager
    def made(self, name: str) -> Iterator[tuple[Any, Any]]:
        """The queue, and where its dead letters go (None: nowhere); their names go as well."""
        with ExitStack() as stack:
            letters = None
            if self.letters:
                letters = ipc.ReliableQueue[Any](name + LETTERS, lease=None, max_deliveries=ENDLESS, capacity="64KiB")
                stack.enter_context(_removed(letters))
            yield stack.enter_context(_removed(self.make(name, letters))), letters

    @contextmanager
    def attached(self, name: str) -> Iterator[Any]:
        """A handle of this process's own."""
        with ExitStack() as stack:
            if not self.reliable:
                yield stack.enter_context(ipc.Queue.attach(name))
                return
            letters = stack.enter_context(ipc.ReliableQueue.attach(name + LETTERS)) if self.letters else None
            yield stack.enter_context(ipc.ReliableQueue.attach(name, dead_letter=letters))


@contextmanager
def _removed(queue: Any) -> Iterator[Any]:
    with queue:
        try:
            yield queue
        finally:
            queue.unlink()


MAXSIZE: Final = 40

KINDS: Final[dict[str, Kind]] = {
    # so much room that nothing but the number of messages makes anybody wait
    "queue of so many messages": Kind(
        lambda name, _: ipc.Queue[Any](MAXSIZE, name=name, lanes=8, capacity="4MiB"),
        _PLAIN,
        maxsize=MAXSIZE,
        largest=200,
    ),
    # as many lanes as there are producers: a successor must have a dead one's; some messages are decoded where they lie
    "queue of so many bytes": Kind(
        lambda name, _: ipc.Queue[Any](1 << 20, name=name, lanes=3, capacity="32KiB"), _PLAIN, largest=12_000
    ),
    # with feeder threads
    "queue without a limit": Kind(lambda name, _: ipc.Queue[Any](name=name, lanes=8, capacity="8KiB"), _PLAIN),
    "reliable queue": Kind(
        lambda name, _: ipc.ReliableQueue[Any](name, lease=None, max_deliveries=ENDLESS, lanes=3, capacity="64KiB"),
        _RELIABLE,
        reliable=True,
        largest=12_000,
    ),
    "reliable queue with dead letters": Kind(
        lambda name, letters: ipc.ReliableQueue[Any](
            name, lease=None, max_deliveries=3, dead_letter=letters, capacity="64KiB", lanes=8
        ),
        replace(_RELIABLE, most_deliveries=3),
        reliable=True,
        nacks=0.3,
        letters=True,
    ),
    # four lanes for each producer, if there are as many; in no order
    "reliable queue without order": Kind(
        lambda name, _: ipc.ReliableQueue[Any](
            name, lease=None, max_deliveries=ENDLESS, lanes=10, ordered=False, capacity="8KiB"
        ),
        replace(_RELIABLE, order="none"),
        reliable=True,
    ),
    # a lease lasts up to 100 ms longer than asked for, and so does a delay
    "reliable queue with leases that end": Kind(
        lambda name, _: ipc.ReliableQueue[Any](name, lease=LEASE, max_deliveries=ENDLESS, lanes=8, capacity="256KiB"),
        replace(_RELIABLE, lease_ns=int(LEASE * 1e9), delay_ns=int((DELAY + 0.2) * 1e9)),
        reliable=True,
        largest=12_000,
        too_long=LEASE + 0.12,
        delay=DELAY,
    ),
}

"""What a history is made of: operations of several processes on one structure, each with its interval of real time.

Values are unique, so that every message that comes can be led back to the one operation that sent it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Final, NamedTuple

__all__ = ["FOREVER", "Death", "History", "Item", "Op", "Operation", "Result"]

FOREVER: Final = 1 << 62  # of a moment that did not come


class Op(IntEnum):
    """What was called."""

    SEND = 1  # one message, or a batch
    RECV = 2  # taken, then told: what a killed receiver had taken may be told by nobody
    VIEW = 3  # seen and told, then taken: what a killed viewer had seen may be seen again
    JOIN = 4  # a reader of its own begins; most=0: behind the latest message, 1: at the oldest, 2 + n: at number n
    LEASE = 5  # taken until it is acknowledged, given back, or its holder is gone
    ACK = 6
    NACK = 7
    DEAD_LETTER = 8  # found among those that were delivered too often
    LEAVE = 9  # the handle was closed; what it had leased goes back, and who reads hears that it is over
    KILL = 10  # of the process that the item's value names; returns when the kernel has reaped it
    STOP = 11  # the same for SIGSTOP; returns at SIGCONT


class Result(IntEnum):
    """What came of it."""

    OPEN = 0  # its process died in it: it may have happened or not
    OK = 1
    FULL = 2  # nothing was sent for want of room, at once or in time
    EMPTY = 3  # nothing was there, at once or in time
    NOT_SENT = 4  # another error that promises that nothing was sent
    UNKNOWN = 5  # an error that doesn't
    PEER_DIED = 6
    ENDED = 7
    KEPT = 8  # of a view: its message stays
    REFUSED = 9  # of an acknowledgement: the lease was lost
    HELD_BACK = 10  # any other answer that says nothing about what is in the structure


class Item(NamedTuple):
    """A message, as one side knows it."""

    value: int
    size: int = 0
    crc: int = 0
    deliveries: int = 0
    """With this lease, so many leases of the message were granted."""
    gap: int = 0
    """Messages that the reader was told it has lost before this one."""
    sequence: int = -1
    """The number that came with it; -1 for none."""


@dataclass(slots=True)
class Operation:
    """One call.  A batch has several items, in their order."""

    process: int
    op: Op
    invoked: int
    returned: int = FOREVER
    result: Result = Result.OPEN
    items: list[Item] = field(default_factory=list)
    """Of a SEND: what it was to send.  Of others: what came."""
    most: int = 1
    """So many messages may it take."""
    done: int = 0
    """Of a SEND: so many of its items were sent, in their order."""
    seen: int = FOREVER
    """Of a VIEW: when its message was told."""
    handle: int = 0
    """Counts the handles that a process had, one after the other."""


class Death(NamedTuple):
    """Between these two moments a process died."""

    killed: int
    reaped: int


@dataclass
class History:
    """All operations, in any order between processes, and in their order within each; and who was killed."""

    operations: list[Operation] = field(default_factory=list)
    deaths: dict[int, Death] = field(default_factory=dict)
    stops: list[tuple[int, int, int]] = field(default_factory=list)
    """A process, from when and until when it was stopped."""

    def add(self, operations: Iterable[Operation]) -> None:
        """Operations of one process; those upon other processes are facts about them."""
        for operation in operations:
            if operation.op == Op.KILL:
                self.deaths[operation.items[0].value] = Death(operation.invoked, operation.returned)
            elif operation.op == Op.STOP:
                self.stops.append((operation.items[0].value, operation.invoked, operation.returned))
            else:
                self.operations.append(operation)

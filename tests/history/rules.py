"""What a structure promises, and what the checker says about a history that it judged by that."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from typing import Final, Literal, NamedTuple

__all__ = ["CHANNEL", "LOSSLESS", "LOSSY", "QUEUE", "RELIABLE", "Fault", "Finding", "Report", "Rules", "ring_room"]


class Fault(Enum):
    """Why a history is refused."""

    INVENTED = "unexpected"  # V1: never sent, said to be not sent, or there before it was sent
    LOST = "lost"  # V2: sent, and neither received nor excused by a death, a told gap, or by being there still
    DUPLICATED = "duplicated"  # V3
    REORDERED = "reordered"  # V4
    FALSE_EMPTY = "false empty"  # V5: at every moment of the call something was there
    FALSE_FULL = "false full"  # V5: at no moment of the call was there too little room
    WRONG_GAP = "wrong gap"  # V6
    TORN = "torn"  # V7
    WRONG_SIZE = "wrong size"  # V8
    FALSE_DEATH = "false death"  # P5: PeerDiedError, and nobody had died
    FALSE_END = "false end"  # P5: the end, and the publisher had not closed
    FALSE_EVICTION = "false eviction"  # a reader that was not far enough behind
    WRONG_COUNT = "wrong delivery count"  # P3
    EARLY = "redelivered too early"  # P3: its holder lived, and had it
    FALSE_REFUSAL = "false refusal"  # P3: an acknowledgement refused while the lease was held
    MALFORMED = "malformed"  # no history of this structure at all


class Finding(NamedTuple):
    """One reason to refuse a history."""

    fault: Fault
    text: str


@dataclass(frozen=True)
class Rules:
    """Which of all possible promises a structure makes."""

    readers: Literal["one", "shared", "each"]
    """One at a time, successors continuing; several that share the messages; or each gets all of them."""
    order: Literal["total", "producer", "none"]
    """Of all messages (one sender at a time, successors continuing); of each sender's; or none."""
    across: bool = True
    """Whether the order holds between readers as well, by real time."""
    returns: bool = False
    """Whether a message that a reader had in its hands when it was killed in the call comes late, to others: until then
    it is nobody's, newer ones pass it, and "empty" is true."""
    leases: bool = False
    """Whether messages are leased, and may be delivered again."""
    lease_ns: int | None = None
    """How long a lease lasts at least; None: until its holder dies or gives it back."""
    delay_ns: int = 0
    """How long a message that was given back may stay away."""
    most_deliveries: int | None = None
    gaps: bool = False
    """Whether a reader may lose messages, if it is told exactly how many."""
    capacity: int | None = None
    """None: FULL is not looked at."""
    room: Callable[[int], int] = lambda size: 1
    """What a message of this size takes of the capacity, at most."""
    false_deaths: bool = False
    """Whether PEER_DIED must name a death."""
    false_ends: bool = False
    """Whether ENDED must name a sender that has told that it leaves."""
    least_lag: int | None = None
    """How many messages a reader is behind, at least, that hears HELD_BACK: it was evicted."""


def ring_room(size: int) -> int:
    """What a message of raw bytes takes in a ring."""
    return 16 + (size + 7) // 8 * 8


CHANNEL: Final = Rules("one", "total", false_deaths=True)
QUEUE: Final = Rules("shared", "producer")
RELIABLE: Final = Rules("shared", "producer", across=False, leases=True, most_deliveries=5)
LOSSLESS: Final = Rules("each", "total", false_deaths=True, false_ends=True)
LOSSY: Final = Rules("each", "total", gaps=True, false_deaths=True, false_ends=True)


@dataclass
class Report:
    """What was found, in the words of Jepsen's total-queue, and what a death excused."""

    sent: int = 0
    """Messages whose sender was told so."""
    received: int = 0
    """Different messages that were told by a reader."""
    recovered: int = 0
    """Messages that came although their sender did not live to be told that they were sent."""
    untold: int = 0
    """Messages that must have been taken by readers that did not live to tell."""
    again: int = 0
    """Messages that came once more, as promised."""
    gaps: int = 0
    """Messages that readers were told they have lost."""
    left: int = 0
    answers: Counter[str] = field(default_factory=Counter)
    """How often each other answer was given."""
    findings: list[Finding] = field(default_factory=list)

    def refuse(self, fault: Fault, text: str) -> None:
        """Add a reason."""
        self.findings.append(Finding(fault, text))

    @property
    def accepted(self) -> bool:
        """Whether nothing was found."""
        return not self.findings

    @property
    def faults(self) -> set[Fault]:
        """The kinds of reasons."""
        return {finding.fault for finding in self.findings}

    def __str__(self) -> str:
        counts = Counter(finding.fault.value for finding in self.findings)
        said = "".join(f", {fault} {count}" for fault, count in sorted(counts.items()))
        lines = [
            f"sent {self.sent}, received {self.received}, recovered {self.recovered}, again {self.again}, "
            f"untold {self.untold}, told lost {self.gaps}, left {self.left}; "
            + ", ".join(f"{answer} {count}" for answer, count in sorted(self.answers.items()))
            + (f"; REFUSED{said}" if self.findings else "; accepted")
        ]
        lines += [f"  {finding.fault.value}: {finding.text}" for finding in self.findings[:20]]
        return "\n".join(lines)

"""The words that questions, repetitions and processes share: what to measure, and who does which part of it."""

from __future__ import annotations

import dataclasses
import importlib
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, cast

from .peers import Link, ReceiveEnd, SendEnd, Wait

__all__ = ["Case", "Ends", "Plan", "Question", "Role", "Wire", "Work", "links", "question"]


@dataclass(frozen=True)
class Case:
    """One line of a question: a message size and a way of waiting."""

    label: str
    message_bytes: int
    capacity_bytes: int
    wait: Wait = "default"
    pause_ns: int = 0
    """How long a process keeps busy before it sends, for the other to fall asleep; never part of a figure."""
    way: str = ""
    """Which of a peer's calls the question uses, where there is a choice."""


@dataclass(frozen=True)
class Ends:
    """The ends that one process works with, in the order of its role's wires."""

    senders: list[SendEnd]
    receivers: list[ReceiveEnd]
    directory: str = ""
    """The links' one, for what the roles have to tell each other beside them."""


Work = Callable[[Case, Ends, int, bool], dict[str, float]]
"""(case, ends, count, checked) -> at least start_ns and end_ns of the monotonic clock, all processes alike.
When checked, nothing is timed and every message is compared with what was sent."""


@dataclass(frozen=True)
class Wire:
    """One end of one link."""

    link: int
    side: Literal["send", "receive"]


@dataclass(frozen=True)
class Role:
    """What one process does."""

    name: str
    work: Work
    wires: tuple[Wire, ...]


class Question(Protocol):
    """The shape of a question's module."""

    NAME: str
    LIMIT: int
    """The most operations that one repetition may take."""

    def roles(self, case: Case) -> Sequence[Role]: ...

    def combine(self, case: Case, count: int, results: Sequence[dict[str, float]]) -> dict[str, float]:
        """One repetition's metrics from what each role returned, in the order of the roles."""
        ...


@dataclass(frozen=True)
class Plan:
    """One repetition of one peer, as handed to the subprocess that measures it."""

    question: str
    peer: str
    case: Case
    count: int | None
    """Operations to time; None for as many as fill `seconds`."""
    seconds: float
    cpus: tuple[int | None, ...]
    """Where each role is pinned, in turn; None where pinning is not possible."""
    timeout: float

    def to_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, fields: dict[str, Any]) -> Plan:
        return cls(**{**fields, "case": Case(**fields["case"]), "cpus": tuple(fields["cpus"])})


def question(name: str) -> Question:
    """The module of a question."""
    return cast("Question", importlib.import_module(f"{__package__}.{name}"))


def links(roles: Sequence[Role], case: Case, directory: str) -> list[Link]:
    """Every link that the roles' wires lead to."""
    wires = [wire for role in roles for wire in role.wires]
    receivers = Counter(wire.link for wire in wires if wire.side == "receive")
    return [
        Link(
            f"link{number}", directory, case.message_bytes, case.capacity_bytes, case.wait, receivers[number], case.way
        )
        for number in range(max(wire.link for wire in wires) + 1)
    ]

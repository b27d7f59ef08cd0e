"""A known bug, what must find it, and how it is put into a copy of the sources; the tables are in planted.py,
planted_queues.py, planted_multicast.py and planted_messages.py.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Change:
    """Text of a file that stands there once, and what is put in its place."""

    path: str
    old: str
    new: str

    def apply(self, tree: Path) -> None:
        path = tree / self.path
        text = path.read_text()
        if text.count(self.old) != 1:
            raise ValueError(f"{self.path} has this {text.count(self.old)} times, not once: {self.old}")
        path.write_text(text.replace(self.old, self.new))


@dataclass(frozen=True)
class Planted:
    """A bug, and who must find it."""

    name: str
    says: str
    changes: tuple[Change, ...]
    tool: str
    command: str
    pattern: str = field(default=".")

    @staticmethod
    def explored(name: str, says: str, scenario: str, *changes: Change) -> Planted:
        """One that a scenario of the explorer finds."""
        command = (
            "make -s --no-print-directory build/model/core.so && "
            f"{{checkout}}/build/model/explorer build/model/core.so --scenario {scenario} --schedules 20000"
        )
        return Planted(name, says, changes, f"explorer: {scenario}", command, rf"again: --scenario {scenario} --replay")

"""Who takes part in a segment, as observers see it."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["Participant"]


class Participant(NamedTuple):
    """One end and whoever took it last."""

    role: str
    """"sender" or "receiver"; of queues, "producer" or "consumer"; of multicasts, "publisher" or "subscriber"."""
    pid: int
    """Process that took the end last, 0 for nobody; the number may belong to another process by now."""
    state: str
    """"untaken", "taken" or "closed"; of subscribers "active", "evicted" or "joining"."""
    alive: bool
    """Whether its taker holds the end now."""
    claimed: bool
    """Whether any process has a handle on the end."""

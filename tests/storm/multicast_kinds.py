"""The multicasts that the storm fights over, and what each promises to those who read."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Final

import ipc
from tests.history.rules import LOSSLESS, LOSSY, Rules

__all__ = ["MULTICASTS", "MulticastKind"]


@dataclass(frozen=True)
class MulticastKind:
    """One of them."""

    options: dict[str, Any] = field(default_factory=dict)
    capacity: str = "16KiB"
    rules: Rules = LOSSLESS
    """For subscribers; observers are judged as those of a lossy one are."""
    largest: int = 1500
    """Bytes of a message."""
    views: bool = False
    topics: bool = False
    """Whether some of the readers want one topic only."""
    observed: bool = False
    """Whether some of the readers are observers."""

    @contextmanager
    def made(self, name: str) -> Iterator[Any]:
        """The multicast; its name goes as well."""
        with ipc.Multicast[Any](name, capacity=self.capacity, **self.options) as multicast:
            try:
                yield multicast
            finally:
                multicast.unlink()


MULTICASTS: Final[dict[str, MulticastKind]] = {
    # small: the publisher waits for the slowest again and again, and for the dead
    "lossless multicast": MulticastKind(capacity="8KiB", largest=6000, views=True, topics=True),
    "observed multicast": MulticastKind(largest=12_000, views=True, observed=True),
    # who is stopped for a moment is too far behind; of the largest messages there is room for nine
    "multicast that evicts": MulticastKind(
        {"on_laggard": "evict", "max_lag": 12}, rules=replace(LOSSLESS, least_lag=8), topics=True
    ),
    # everybody is overtaken all the time
    "lossy multicast": MulticastKind({"policy": "lossy"}, capacity="8KiB", largest=5000, rules=LOSSY),
}

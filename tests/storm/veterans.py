"""Processes that survive every round, attach again and again, and must not grow."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from typing import Any

from tests.process.support import Forked, receive
from tests.storm.holdings import Holdings, holdings_of
from tests.storm.roles import Part

__all__ = ["Veteran"]


class Veteran:
    """One of them, seen from the process that directs the storm."""

    def __init__(self, over: memoryview, play: Callable[[Part], None]) -> None:
        self._over = over
        self._ours, theirs = multiprocessing.Pipe()
        self.forked = Forked(lambda: _serve(theirs, over, play))
        theirs.close()
        self.pid = self.forked.pid
        self.holdings = Holdings(0, 0, 0)

    def begin(self, part: Part) -> None:
        """Let it play a part in a round."""
        self._ours.send((part.kind, part.role, part.name, part.log, part.process, part.paces))

    def rests(self) -> bool:
        """Whether the part is over; if so, `holdings` are those after it."""
        if not self._ours.poll(0.1):
            return False
        self.holdings = receive(self._ours)
        return True

    def end(self) -> None:
        """It goes home."""
        self._ours.send(None)
        assert self.forked.join() == 0

    def close(self) -> None:
        """Nothing of it stays."""
        self._ours.close()
        self.forked.__exit__()


def _serve(orders: Any, over: memoryview, play: Callable[[Part], None]) -> None:
    while (order := orders.recv()) is not None:
        kind, role, name, log, process, paces = order
        play(Part(kind, role, name, log, process, paces, over))
        orders.send(holdings_of())

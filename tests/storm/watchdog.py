"""Who waits for what: a process that tells no progress for long is a hang, and the error says everything about it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Final

import ipc
from tests.history.log import read_log
from tests.history.operations import Op, Result
from tests.process.support import Forked, state_of
from tests.storm.roles import Part

__all__ = ["Hang", "Player", "Watchdog"]

PATIENCE_SECONDS: Final = 30.0  # no promise: recovery has its own figures


class Hang(AssertionError):
    """Nobody goes on, and what each of them is doing."""


class Player:
    """A process and the part that it plays."""

    def __init__(self, part: Part, pid: int, forked: Forked | None) -> None:
        self.part = part
        self.pid = pid
        self.forked = forked  # None: it lives on when the part is over
        self.stopped = False
        self.ended = False

    def size(self) -> int:
        """How much it has told."""
        try:
            return self.part.log.stat().st_size
        except FileNotFoundError:
            return 0

    def __str__(self) -> str:
        doing = "has begun nothing"
        with suppress(OSError):
            calls = list(read_log(self.part.log))
            if calls and calls[-1].result == Result.OPEN:
                since = (time.monotonic_ns() - calls[-1].invoked) / 1e9
                sizes = [item.size for item in calls[-1].items]
                doing = f"in {Op(calls[-1].op).name} {sizes} for {since:.1f} s"
            elif calls:
                doing = f"its last call, {Op(calls[-1].op).name}, gave {calls[-1].result.name}"
        return f"{self.part.role} {self.part.process} (pid {self.pid}, {_where(self.pid)}): {doing}"


def _where(pid: int) -> str:
    """The kernel's letter for it, and the function that it sleeps in."""
    with suppress(OSError):
        return f"{state_of(pid)} in {Path(f'/proc/{pid}/task/{pid}/wchan').read_text(encoding='ascii') or '?'}"
    return "gone"


class Watchdog:
    """Looks at the logs from time to time."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._seen: dict[int, tuple[int, float]] = {}

    def look(self, players: Iterable[Player], *, busy_since: float | None = None) -> None:
        """Raise Hang if one of them has told nothing for too long, though nobody stopped it; or if one of them has not
        ended for too long, whatever it tells."""
        now = time.monotonic()
        players = list(players)
        for player in players:
            size, since = self._seen.get(player.part.process, (-1, now))
            if player.ended or player.stopped or player.size() != size:
                self._seen[player.part.process] = player.size(), now
            elif now - since > PATIENCE_SECONDS:
                self._bark(player, players)
            if busy_since is not None and not player.ended and now - busy_since > PATIENCE_SECONDS:
                self._bark(player, players)

    def _bark(self, player: Player, players: Iterable[Player]) -> None:
        others = "\n".join(f"  {each}" for each in players)
        raise Hang(f"{player} hangs\n{others}\n  {self._structure()}")

    def _structure(self) -> str:
        try:
            return str(ipc.stats(self._name))
        except ipc.IpcError as error:
            return repr(error)

    def await_end(self, players: Iterable[Player], meanwhile: Callable[[], None] = lambda: None) -> None:
        """Until all of those that we forked have ended by themselves; `meanwhile` is called again and again."""
        players = list(players)
        since = time.monotonic()
        while True:
            for player in players:
                if player.forked is not None and not player.ended and player.forked.has_ended():
                    player.ended = True
                    assert player.forked.join() == 0, f"{player} has failed"
            if all(player.ended or player.forked is None for player in players):
                return
            self.look(players, busy_since=since)
            meanwhile()
            time.sleep(0.002)

"""The kill storm: round after round, until so many were killed or so much time has passed.

Every round is another channel, ring, queue or multicast.  In one round of three all may be killed, in the others all
but one, who sends or receives, and has survived all rounds before.
"""

from __future__ import annotations

import mmap
import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from itertools import count
from pathlib import Path
from typing import Final

import ipc
from tests.storm.figures import OF_CHANNELS, OF_MULTICASTS, OF_QUEUES, Figures
from tests.storm.holdings import holdings_of
from tests.storm.multicast_kinds import MULTICASTS
from tests.storm.multicast_roles import play_at_a_multicast
from tests.storm.multicast_rounds import MulticastRound, fight_over_a_multicast
from tests.storm.queue_kinds import KINDS
from tests.storm.queue_roles import play_at_a_queue
from tests.storm.queue_rounds import QueueRound, fight_over_a_queue
from tests.storm.roles import Paces, Part, play
from tests.storm.rounds import CHANNELS, ROLES, Round, fight
from tests.storm.veterans import Veteran

__all__ = ["CHANNELS", "HASTE", "LEISURE", "OF_A_MULTICAST", "QUEUES", "storm"]

QUEUES: Final = tuple(KINDS)
OF_A_MULTICAST: Final = tuple(MULTICASTS)

HASTE: Final = (0.0, 0.0, 0.0, 0.0005)
LEISURE: Final = (0.0002, 0.0005, 0.001)  # so that the logs of a long round can still be judged


def storm(
    name: str,
    *,
    kinds: Sequence[str] = CHANNELS,
    kills: int,
    seconds: float = 0.0,
    per_round: int = 25,
    pause: float = 0.04,
    paces: Paces = HASTE,
) -> Figures:
    """Until at least so many were killed and so many seconds have passed.

    Args:
      name: what the names of all segments begin with.
      kinds: of which structures: some of CHANNELS, QUEUES and OF_A_MULTICAST, in turn.
      kills: how many at least.
      seconds: how long at least.
      per_round: kills in a round.
      pause: the longest time between two kills.
      paces: of which each process takes one, seconds between two of its calls.
    """
    measured = [
        each
        for structures, figures_of in ((CHANNELS, OF_CHANNELS), (QUEUES, OF_QUEUES), (OF_A_MULTICAST, OF_MULTICASTS))
        if not set(kinds).isdisjoint(structures)
        for each in figures_of
    ]
    figures = Figures(measured=tuple(dict.fromkeys(measured)))
    begun = time.monotonic()
    with ExitStack() as stack:
        over = stack.enter_context(_shared_byte())
        veterans = {role: stack.enter_context(_veteran(over)) for role in ROLES}
        processes = 0
        for number, (kind, surviving) in enumerate(_rounds(kinds)):
            if figures.killed >= kills and time.monotonic() - begun >= seconds:
                break
            with tempfile.TemporaryDirectory() as directory:
                processes += 1
                round_ = _round_of(kind)(
                    kind,
                    f"{name}-{number}",
                    Path(directory),
                    over,
                    processes,
                    {role: veterans[role] for role in surviving},
                    figures,
                    paces,
                )
                if isinstance(round_, QueueRound):
                    processes = fight_over_a_queue(round_, per_round, pause)
                elif isinstance(round_, MulticastRound):
                    processes = fight_over_a_multicast(round_, per_round, pause)
                else:
                    processes = fight(round_, per_round, pause)
            figures.holdings.setdefault("director", []).append(holdings_of())
        for veteran in veterans.values():
            veteran.end()
    left = [entry.name for entry in ipc.ls() if entry.name.startswith(name)]
    left += [path.name for path in Path(os.environ.get("IPC_DIR", "/dev/shm")).glob(f"*{name}*")]
    assert not left, f"left in shared memory: {left}"
    figures.seconds = time.monotonic() - begun
    return figures


def _round_of(kind: str) -> type[Round]:
    return QueueRound if kind in QUEUES else MulticastRound if kind in MULTICASTS else Round


def _rounds(kinds: Sequence[str]) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Structures and who survives, both in turn, so that each meets each soon."""
    survivors: tuple[tuple[str, ...], ...] = (("receiver",), ("sender",), ())
    for number in count():
        laps = number // len(kinds) if len(kinds) % len(survivors) == 0 else 0  # else they shift by themselves
        yield kinds[number % len(kinds)], survivors[(number + laps) % len(survivors)]


@contextmanager
def _veteran(over: memoryview) -> Iterator[Veteran]:
    """It goes, whatever happens."""
    veteran = Veteran(over, _play)
    try:
        yield veteran
    finally:
        veteran.close()


def _play(part: Part) -> None:
    (play_at_a_queue if part.kind in QUEUES else play_at_a_multicast if part.kind in MULTICASTS else play)(part)


@contextmanager
def _shared_byte() -> Iterator[memoryview]:
    """Memory that this process shares with all that it forks."""
    with mmap.mmap(-1, mmap.PAGESIZE) as memory, memoryview(memory) as view:
        yield view

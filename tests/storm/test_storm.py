"""Random SIGKILL and SIGSTOP of Python processes in all roles of channels and rings, judged by their histories.

What it proves: at these moments, nothing was lost, invented, repeated, reordered or torn beyond what is promised,
nobody hung, and survivors and successors went on in time.  What it can't: that no other moment is a bad one.
"""

from __future__ import annotations

import os

import pytest

from tests.storm.figures import Figures
from tests.storm.storm import CHANNELS, LEISURE, OF_A_MULTICAST, QUEUES, storm

STRESS_MINUTES = float(os.environ.get("IPC_STRESS_MINUTES", "30"))  # the rest is for queues and multicasts
SOAK_MINUTES = float(os.environ.get("IPC_SOAK_MINUTES", "3"))


def told(figures: Figures) -> str:
    """The figures, printed, if all of them are good."""
    text = "\n".join(figures.check())
    print(text)
    assert set(figures.kills) == {f"{kind} {role}" for kind in ("channel", "ring") for role in ("sender", "receiver")}
    return text


def test_sixty_kills_lose_invent_and_reorder_nothing(name: str) -> None:
    told(storm(name, kills=60, per_round=10))


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_five_hundred_kills_lose_nothing_hang_nobody_and_leave_nothing(name: str) -> None:
    text = told(storm(name, kills=500))
    assert text.count("growing by") >= 3  # the surviving sender and receiver, and the one who directed it all


@pytest.mark.stress
@pytest.mark.timeout(0)
def test_a_storm_of_kills_for_as_long_as_it_is_told_to(name: str) -> None:
    told(storm(name, kills=500, seconds=60 * STRESS_MINUTES * 3 / 8))


@pytest.mark.stress
@pytest.mark.timeout(0)
def test_a_soak_with_a_kill_every_five_seconds_leaves_the_survivors_as_they_were(name: str) -> None:
    """Channels, rings, queues and multicasts in turn; the same two processes survive all of them."""
    kinds = CHANNELS + QUEUES + OF_A_MULTICAST
    figures = storm(name, kinds=kinds, kills=36, seconds=60 * SOAK_MINUTES, per_round=1, pause=10.0, paces=LEISURE)
    text = "\n".join(figures.check(all_measured=False))
    print(text)
    for family in (CHANNELS, QUEUES, OF_A_MULTICAST):
        assert any(who.startswith(family) for who in figures.kills)
    assert text.count("at work") == 2
    assert text.count("growing by") == 2 + 3  # while they worked, and between the rounds: theirs, and the director's

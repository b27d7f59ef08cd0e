"""Random SIGKILL and SIGSTOP of the publishers and subscribers of multicasts, judged by their histories.

What it proves: at these moments every subscriber got every message from where it began, once and in order, or was told
exactly how many it had lost; numbers had no gaps, whoever published; nobody who was dead was waited for, and nobody who
lived was taken for dead.  What it can't: that no other moment is a bad one.
"""

from __future__ import annotations

import os

import pytest

from tests.storm.figures import Figures
from tests.storm.multicast_rounds import READERS
from tests.storm.storm import OF_A_MULTICAST, storm

STRESS_MINUTES = float(os.environ.get("IPC_STRESS_MINUTES", "30"))  # a quarter of them


def told(figures: Figures, *, all_measured: bool = True) -> str:
    """The figures, printed, if all of them are good."""
    text = "\n".join(figures.check(all_measured=all_measured))
    print(text)
    assert {who.rpartition(" ")[0] for who in figures.kills} == set(OF_A_MULTICAST)
    return text


def test_some_kills_at_every_kind_of_multicast_lose_nothing_that_was_published(name: str) -> None:
    per_round = 4
    most_in_a_round = per_round - 1 + READERS + 1
    told(
        storm(name, kinds=OF_A_MULTICAST, kills=1 + most_in_a_round * (len(OF_A_MULTICAST) - 1), per_round=per_round),
        all_measured=False,  # too few for that
    )


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_three_hundred_kills_of_publishers_and_subscribers_lose_nothing_hang_nobody_and_leave_nothing(
    name: str,
) -> None:
    figures = storm(name, kinds=OF_A_MULTICAST, kills=300, per_round=14)
    text = told(figures)
    assert set(figures.kills) == {f"{kind} {role}" for kind in OF_A_MULTICAST for role in ("sender", "receiver")}
    assert text.count("growing by") >= 3  # the surviving publisher and subscriber, and the one who directed it all
    # and it was no calm: each of these has happened
    assert figures.stops > 0
    assert all(figures.counts[word] > 0 for word in ("recovered", "told lost", "evicted", "observers", "of one topic"))
    assert all(figures.answers[word] > 0 for word in ("EMPTY", "FULL", "NOT_SENT", "PEER_DIED", "ENDED"))


@pytest.mark.stress
@pytest.mark.timeout(0)
def test_a_storm_of_kills_over_multicasts_for_as_long_as_it_is_told_to(name: str) -> None:
    told(storm(name, kinds=OF_A_MULTICAST, kills=300, seconds=60 * STRESS_MINUTES / 4))

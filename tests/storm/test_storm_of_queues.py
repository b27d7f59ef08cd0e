"""Random SIGKILL and SIGSTOP of producers and consumers of queues, judged by their histories.

What it proves: at these moments no put that returned was lost, nothing was invented, delivered twice without saying so,
reordered or torn, no lease was taken from somebody who lived and had it, what the dead held came again in time, and
nobody hung.  What it can't: that no other moment is a bad one.
"""

from __future__ import annotations

import os

import pytest

from tests.storm.figures import Figures
from tests.storm.queue_rounds import EACH
from tests.storm.storm import QUEUES, storm

STRESS_MINUTES = float(os.environ.get("IPC_STRESS_MINUTES", "30"))  # the rest is for channels and multicasts


def told(figures: Figures, *, all_measured: bool = True) -> str:
    """The figures, printed, if all of them are good."""
    text = "\n".join(figures.check(all_measured=all_measured))
    print(text)
    kinds = {kind for kind in QUEUES if any(who.startswith(f"{kind} ") for who in figures.kills)}
    assert kinds == set(QUEUES)
    return text


def test_some_kills_at_every_kind_of_queue_lose_no_put_that_returned(name: str) -> None:
    per_round = 4
    most_in_a_round = per_round - 1 + EACH
    told(
        storm(name, kinds=QUEUES, kills=1 + most_in_a_round * (len(QUEUES) - 1), per_round=per_round),
        all_measured=False,  # too few for that
    )


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_five_hundred_kills_of_producers_and_consumers_lose_nothing_hang_nobody_and_leave_nothing(name: str) -> None:
    figures = storm(name, kinds=QUEUES, kills=500)
    text = told(figures)
    assert set(figures.kills) == {f"{kind} {role}" for kind in QUEUES for role in ("sender", "receiver")}
    assert text.count("growing by") >= 3  # the surviving producer and consumer, and the one who directed it all
    # and it was no calm: each of these has happened
    assert figures.stops > 0
    assert all(figures.counts[word] > 0 for word in ("again", "untold", "dead letters", "acks refused"))
    assert all(figures.answers[word] > 0 for word in ("EMPTY", "FULL"))


@pytest.mark.stress
@pytest.mark.timeout(0)
def test_a_storm_of_kills_over_queues_for_as_long_as_it_is_told_to(name: str) -> None:
    told(storm(name, kinds=QUEUES, kills=500, seconds=60 * STRESS_MINUTES * 3 / 8))

"""One round over a multicast: one publishes and three read, kills and successors; then its history is judged."""

from __future__ import annotations

from typing import Final

from tests.storm.multicast_kinds import MULTICASTS
from tests.storm.multicast_roles import play_at_a_multicast
from tests.storm.multicast_verdict import judge_multicast
from tests.storm.roles import Part
from tests.storm.rounds import Round, in_a_process_of_its_own

__all__ = ["READERS", "MulticastRound", "fight_over_a_multicast"]

READERS: Final = 3
PUBLISHER: Final = "sender"


class MulticastRound(Round):
    """One publisher at a time, and several readers."""

    seats = (PUBLISHER, *(f"receiver-{number}" for number in range(READERS)))

    def play(self, part: Part) -> None:
        play_at_a_multicast(part)

    def choose(self, victims: list[str]) -> list[str]:
        """The publisher often, as there is only one; sometimes several."""
        chance = self.random.random()
        if chance < 0.3 and PUBLISHER in victims:
            return [PUBLISHER]
        return self.random.sample(victims, 1 if chance < 0.8 else self.random.randint(1, len(victims)))

    def meanwhile(self, seats: list[str]) -> None:
        """Only of the publisher anybody is told."""
        if PUBLISHER in seats:
            self.leave_alone(PUBLISHER, seats)


def fight_over_a_multicast(round_: MulticastRound, kills: int, pause: float) -> int:
    """A whole round; returns the number of the last process."""
    first = round_.processes
    round_.over[0] = 0
    kind = MULTICASTS[round_.kind]
    with kind.made(round_.name) as multicast:
        try:
            for seat in round_.seats:
                round_.start(seat)
            before = round_.figures.killed
            while round_.figures.killed - before < kills:
                round_.strike(pause)
            round_.wait(round_.random.uniform(0, pause))
            round_.finish()
            stats = multicast.stats()
        finally:
            round_.abandon()
    outcome = in_a_process_of_its_own(
        lambda: judge_multicast(round_.directory, kind, stats, round_.starts, round_.sides)
    )
    assert outcome.report.accepted, f"{round_.kind}, processes from number {first}: {outcome.report}"
    round_.figures.add(outcome)
    return round_.processes

"""One round over a queue: three that put and three that get, kills and successors; then its history is judged."""

from __future__ import annotations

import time
from collections import Counter
from typing import Any, Final

import ipc
from tests.history.log import Log
from tests.history.operations import Op, Result
from tests.storm.queue_kinds import KINDS, Kind
from tests.storm.queue_roles import play_at_a_queue
from tests.storm.queue_verdict import judge
from tests.storm.roles import Part, item_of
from tests.storm.rounds import Round, in_a_process_of_its_own
from tests.storm.watchdog import PATIENCE_SECONDS, Hang

__all__ = ["EACH", "QueueRound", "fight_over_a_queue"]

EACH: Final = 3
ABSENT_SECONDS: Final = 0.05  # what the one who drains waits for what the dead still seem to hold


class QueueRound(Round):
    """Several of each role, and one who collects dead letters and takes what is left."""

    seats = tuple(f"{role}-{number}" for role in ("sender", "receiver") for number in range(EACH))
    queue: Any = None
    letters: Any = None

    def enter(self, queue: Any, letters: Any) -> None:
        """Begin with these handles."""
        self.queue, self.letters = queue, letters
        self.copies: Counter[int] = Counter()  # of each dead letter, by its message's id
        self.processes += 1
        self.letter_log = Log(self.directory / "letters.log", self.processes)
        self.processes += 1
        self.drain_log = Log(self.directory / "drain.log", self.processes)
        self.over[0] = 0
        for seat in self.seats:
            self.start(seat)

    def play(self, part: Part) -> None:
        play_at_a_queue(part)

    def choose(self, victims: list[str]) -> list[str]:
        """Mostly one; sometimes everybody who gets, or several of either role."""
        chance = self.random.random()
        if chance < 0.1:
            return [seat for seat in victims if seat.startswith("receiver")]
        return self.random.sample(victims, 1 if chance < 0.7 else self.random.randint(2, 3))

    def meanwhile(self, seats: list[str]) -> None:
        """Nobody is told of a death here: that others go on is measured by what they do."""
        self.tend()

    def tend(self) -> None:
        """Take the dead letters: a full queue of them would leave the others where they are, in everybody's way.

        A letter that was moved twice has the same id.
        """
        while self.letters is not None:
            try:
                delivery = self.letters.get(0)
            except ipc.TimeoutError:
                return
            letter = delivery.message
            self.copies[letter.id] += 1
            if self.copies[letter.id] == 1:
                item = item_of(letter.message, letter.id)._replace(deliveries=letter.deliveries)
                self.letter_log.begin(Op.DEAD_LETTER, [item])
                self.letter_log.end(Result.OK, [item])
            delivery.ack()

    def finish(self) -> None:
        """Those who put come to an end, then those who get; what is left is taken here, and then nothing is."""
        self.over[0] = 1
        self.await_end([seat for seat in self.seats if seat.startswith("sender")])
        self.tend()
        self.over[0] = 2
        self.await_end([seat for seat in self.seats if seat.startswith("receiver")])
        since = time.monotonic()
        while self.queue.qsize():
            self.take_one(KINDS[self.kind])
            self.tend()
            if time.monotonic() - since > PATIENCE_SECONDS:
                raise Hang(f"{self.kind} can't be drained: {ipc.stats(self.name)}")
        self.tend()
        assert self.letters is None or self.letters.qsize() == 0

    def take_one(self, kind: Kind) -> None:
        """One of those that are left, if it can be taken now."""
        log = self.drain_log
        log.begin(Op.LEASE if kind.reliable else Op.RECV)
        try:
            got = self.queue.get(timeout=ABSENT_SECONDS)
        except ipc.TimeoutError:
            log.end(Result.EMPTY)
            return
        item = item_of(got.message, got.id)._replace(deliveries=got.deliveries) if kind.reliable else item_of(got)
        log.end(Result.OK, [item])
        if kind.reliable:
            log.begin(Op.ACK, [item])
            got.ack()
            log.end(Result.OK, [item])

    def abandon(self) -> None:
        super().abandon()
        self.letter_log.close()
        self.drain_log.close()


def fight_over_a_queue(round_: QueueRound, kills: int, pause: float) -> int:
    """A whole round; returns the number of the last process."""
    first = round_.processes
    figures = round_.figures
    with KINDS[round_.kind].made(round_.name) as (queue, letters):
        round_.enter(queue, letters)
        try:
            before = figures.killed
            while figures.killed - before < kills:
                round_.strike(pause)
            round_.wait(round_.random.uniform(0, pause))
            round_.finish()
            stats = queue.stats()
        finally:
            round_.abandon()
            round_.queue = round_.letters = None
    copies = round_.copies
    outcome = in_a_process_of_its_own(
        lambda: judge(round_.directory, KINDS[round_.kind], stats, copies, round_.starts, round_.sides)
    )
    assert outcome.report.accepted, f"{round_.kind}, processes from number {first}: {outcome.report}"
    figures.add(outcome)
    return round_.processes

"""One round: a structure, its sides at work, kills, stops and successors; then its history is judged.

`Round` is any structure's, with so many seats for each role; `fight` is a round of a channel or a ring.
"""

from __future__ import annotations

import os
import pickle
import random
import signal
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import ipc
from tests.history.checker import check
from tests.history.log import Log, last_answers, read
from tests.history.operations import Item, Op, Result
from tests.history.rules import CHANNEL, Rules, ring_room
from tests.process.support import Forked
from tests.storm.figures import Figures, Outcome, count_operations, recoveries
from tests.storm.holdings import resident
from tests.storm.roles import CAPACITY, Paces, Part, channel_room, play
from tests.storm.veterans import Veteran
from tests.storm.watchdog import Player, Watchdog

__all__ = ["CHANNELS", "ROLES", "RULES", "Round", "fight", "in_a_process_of_its_own"]

ROLES: Final = ("sender", "receiver")
RULES: Final[dict[str, Rules]] = {
    "channel": replace(CHANNEL, capacity=CAPACITY, room=channel_room),
    "ring": replace(CHANNEL, capacity=CAPACITY, room=ring_room),
}
CHANNELS: Final = ("channel", "ring")
LONGEST_STOP: Final = 0.05
ABSENCE: Final = (0.0, 0.0, 0.0, 0.02, 0.15)  # at most, between a death and its successor: longer than a slice


class Round:
    """One structure, and whoever has a seat at it at the moment; a seat is a role, or a role and "-" and a number."""

    seats: Sequence[str] = ROLES

    def __init__(
        self,
        kind: str,
        name: str,
        directory: Path,
        over: memoryview,
        first_process: int,
        veterans: dict[str, Veteran],
        figures: Figures,
        paces: Paces,
    ) -> None:
        self.kind, self.name, self.directory, self.over = kind, name, directory, over
        self.processes = first_process
        self.paces = paces
        self.veterans = {  # by seat, the first of its role: those who are never killed
            next(seat for seat in self.seats if _role(seat) == role): veteran for role, veteran in veterans.items()
        }
        self.figures = figures
        self.random = random.Random(first_process)
        self.log = Log(directory / "kills.log", first_process)
        self.stop_log = Log(directory / "stops.log", first_process)
        self.watchdog = Watchdog(name)
        self.players: dict[str, Player] = {}
        self.starts: dict[int, int] = {}
        self.sampled = 0.0
        self.sides: dict[int, str] = {}

    @property
    def victims(self) -> list[str]:
        """The seats of those who may be killed."""
        return [seat for seat in self.seats if seat not in self.veterans]

    def start(self, seat: str) -> None:
        """A successor, or the first in this seat."""
        role = _role(seat)
        self.processes += 1
        path = self.directory / f"{role}-{self.processes}.log"
        part = Part(self.kind, role, self.name, path, self.processes, self.paces, self.over)
        self.sides[self.processes] = role
        self.starts[self.processes] = time.monotonic_ns()
        veteran = self.veterans.get(seat)
        if veteran is not None:
            veteran.begin(part)
            self.players[seat] = Player(part, veteran.pid, None)
        else:
            forked = Forked(lambda: self.play(part))
            self.players[seat] = Player(part, forked.pid, forked)

    def play(self, part: Part) -> None:
        """What a process does."""
        play(part)

    def kill(self, seats: list[str]) -> None:
        """Kill who has them, wait until the kernel has reaped them, and start successors."""
        for seat in seats:
            player = self.players[seat]
            assert player.forked is not None
            self.log.begin(Op.KILL, [Item(player.part.process)])
            code = player.forked.kill()
            self.log.end(Result.OK)
            assert code == -signal.SIGKILL, f"{player} has failed by itself: exit code {code}"
            player.ended = True
            self.figures.kills[f"{self.kind} {_role(seat)}"] += 1
        self.meanwhile(seats)
        for seat in seats:
            time.sleep(self.random.uniform(0, self.random.choice(ABSENCE)))
            self.start(seat)

    def meanwhile(self, seats: list[str]) -> None:
        """Between those deaths and the first successor."""
        self.leave_alone(seats[0], seats)

    def leave_alone(self, dead: str, seats: list[str]) -> None:
        """Now and then nobody follows before a survivor was told that this one is dead.  Who was killed before it had
        its end is no dead peer: nobody can be told, the end is still to be taken."""
        survivors = [seat for seat in self.seats if seat not in seats and not self.players[seat].stopped]
        if survivors and last_answers(self.players[dead].part.log) and self.random.random() < 0.2:
            self.await_notice(survivors[-1])

    def await_notice(self, role: str) -> None:
        """No successor comes before the survivor was told that the one who had the other end is dead."""
        since = time.monotonic_ns()
        log = self.players[role].part.log
        while not any(told >= since and result == Result.PEER_DIED for told, result in last_answers(log)):
            self.watchdog.look(self.players.values())
            time.sleep(0.001)
        self.figures.recovery["survivor that was left alone"].append((time.monotonic_ns() - since) / 1e6)

    @contextmanager
    def stopped(self, seat: str) -> Iterator[None]:
        """For a while, the one who has this seat does not run."""
        player = self.players[seat]
        player.stopped = True
        self.stop_log.begin(Op.STOP, [Item(player.part.process)])
        os.kill(player.pid, signal.SIGSTOP)
        try:
            yield
        finally:
            if not player.ended:
                os.kill(player.pid, signal.SIGCONT)
            self.stop_log.end(Result.OK)
            player.stopped = False
            self.figures.stops += 1

    def strike(self, pause: float) -> None:
        """After a while kill some, or stop one first; some of the stopped are killed."""
        random_, victims = self.random, self.victims
        self.wait(random_.uniform(0, pause))
        chosen = self.choose(victims)
        if random_.random() < 0.25:
            with self.stopped(random_.choice(self.seats)):
                self.wait(random_.uniform(0, LONGEST_STOP))
                if random_.random() < 0.5:
                    self.kill(chosen)
                    return
        self.kill(chosen)

    def choose(self, victims: list[str]) -> list[str]:
        """Whom to kill: one side, or both."""
        return self.random.sample(victims, self.random.randint(1, len(victims)))

    def wait(self, seconds: float) -> None:
        """Let them work, and look whether they do."""
        until = time.monotonic() + seconds
        while True:
            self.watchdog.look(self.players.values())
            self.sample()
            self.tend()
            left = until - time.monotonic()
            if left <= 0:
                return
            time.sleep(min(left, 0.1))

    def tend(self) -> None:
        """What the structure needs from time to time."""

    def sample(self) -> None:
        """About once in a second: what the survivors have of memory."""
        now = time.monotonic()
        if now - self.sampled >= 1:
            self.sampled = now
            for seat, veteran in self.veterans.items():
                self.figures.resident.setdefault(f"surviving {_role(seat)}", []).append(resident(veteran.pid))

    def finish(self) -> None:
        """The sender closes, the receiver takes the rest; nobody may hang."""
        self.over[0] = 1
        self.await_end(self.seats)

    def await_end(self, seats: Sequence[str]) -> None:
        """Until all of those have played their parts."""
        players = [self.players[seat] for seat in seats]
        self.watchdog.await_end(players, self.tend)
        for seat, veteran in self.veterans.items():
            if seat in seats:
                since = time.monotonic()
                while not veteran.rests():
                    self.watchdog.look(players, busy_since=since)
                    self.tend()
                self.players[seat].ended = True
                self.figures.holdings.setdefault(f"surviving {_role(seat)}", []).append(veteran.holdings)

    def abandon(self) -> None:
        """After a failure: nothing may stay."""
        for player in self.players.values():
            if player.forked is not None:
                player.forked.__exit__()
        self.log.close()
        self.stop_log.close()


def _role(seat: str) -> str:
    return seat.partition("-")[0]


def fight(round_: Round, kills: int, pause: float) -> int:
    """A whole round; returns the number of the last process."""
    first = round_.processes
    made: Any = (
        ipc.Ring.create(round_.name, capacity=CAPACITY)
        if round_.kind == "ring"
        else ipc.channel(round_.name, capacity=CAPACITY)
    )
    ends = [made] if round_.kind == "ring" else list(made)
    round_.over[0] = 0
    try:
        for seat in round_.seats:
            round_.start(seat)
        before = round_.figures.killed
        while round_.figures.killed - before < kills:
            round_.strike(pause)
        round_.wait(round_.random.uniform(0, pause))
        round_.finish()
        counters = ipc.stats(round_.name)
        assert counters.depth == 0, counters
    finally:
        round_.abandon()
        for end in ends:
            end.close()
        with suppress(ipc.SegmentNotFoundError):
            ipc.rm(round_.name)
    outcome = in_a_process_of_its_own(lambda: judge(round_, counters))
    assert outcome.report.accepted, f"{round_.kind}, processes from number {first}: {outcome.report}"
    round_.figures.add(outcome)
    return round_.processes


def judge(round_: Round, counters: ipc.Stats | ipc.QueueStats | ipc.MulticastStats) -> Outcome:
    """What the logs say."""
    history = read(round_.directory)
    report = check(history, RULES[round_.kind])
    told = report.received
    unsure = sum(
        len(call.items) - call.done
        for call in history.operations
        if call.op == Op.SEND and call.result in {Result.OPEN, Result.UNKNOWN}
    )
    assert report.sent + report.recovered <= counters.sent <= report.sent + unsure, (report.sent, counters)
    assert report.untold <= counters.received - told <= report.untold + unsure, (report.untold, told, counters)
    return Outcome(report, recoveries(history, round_.starts, round_.sides), count_operations(history))


def in_a_process_of_its_own(work: Callable[[], Outcome]) -> Outcome:
    """So that what it needs is given back, and the one that forks the others stays small."""
    with tempfile.TemporaryFile() as file:

        def do() -> None:
            pickle.dump(work(), file)
            file.flush()

        with Forked(do) as forked:
            assert forked.join() == 0, "the judge has failed"
        file.seek(0)
        outcome = pickle.load(file)
        assert isinstance(outcome, Outcome)
        return outcome

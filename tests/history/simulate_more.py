"""Good histories of leases with redelivery."""

from __future__ import annotations

import random
from typing import Final

from tests.history.operations import History, Op, Result
from tests.history.simulate import SLACK, Message, Process, World

__all__ = ["DELAY", "LEASE", "MOST_DELIVERIES", "reliable_queue"]

LEASE: Final = 40 * SLACK
DELAY: Final = 5 * SLACK
MOST_DELIVERIES: Final = 5


class _Letters:
    """Messages that wait, are held, or were put aside."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.messages: list[Message] = []
        self.dead: list[Message] = []

    def repair(self) -> None:
        """Whoever looks gives back what the dead and the late hold."""
        for message in self.messages:
            if message.holder and (not self.world.alive(message.holder) or message.deadline <= self.world.now):
                message.holder = 0
        for message in [m for m in self.messages if not m.holder and m.deliveries == MOST_DELIVERIES]:
            self.messages.remove(message)
            self.dead.append(message)

    def grant(self, holder: int) -> Message | None:
        """One compare-and-swap."""
        self.repair()
        for message in self.messages:
            if not message.holder and message.away_until <= self.world.now:
                message.holder, message.deadline = holder, self.world.now + LEASE
                message.deliveries += 1
                return message
        return None

    def held(self, holder: int, message: Message, number: int) -> bool:
        """Whether this lease is still in force."""
        self.repair()
        return message in self.messages and message.holder == holder and message.deliveries == number


def reliable_queue(seed: int, *, steps: int = 60) -> tuple[History, set[int]]:
    """Messages that are acknowledged, given back, kept too long, and held by the dead; and what is left."""
    world = World(random.Random(seed))
    letters = _Letters(world)

    def start(place: int) -> int:
        role = _posting if place % 2 == 0 else _working
        return world.start(lambda number: role(world, letters, number))

    at_work = [start(place) for place in range(2 * world.random.randint(1, 3))]
    for _ in range(world.random.randint(0, 6)):
        world.rest(1, steps * SLACK)
        victim = world.random.randrange(len(at_work))
        if world.alive(at_work[victim]):
            world.kill(at_work[victim])
            at_work[victim] = start(victim)
    world.stopped = True
    world.rest(1, steps * SLACK)
    looking = world.start(lambda number: _looking(world, letters, number))
    world.run(lambda: not world.alive(looking))
    left = {message.item.value for message in letters.messages}
    for number in at_work:  # those who are in a call die in it; what they had done is done
        if world.alive(number):
            world.kill(number)
    return world.finish(), left


def _posting(world: World, letters: _Letters, number: int) -> Process:
    while not world.stopped:
        yield 3 * world.pause()
        item = world.new_item(100)
        call = world.call(number, Op.SEND, [item])
        yield world.pause()
        letters.messages.append(Message(item, number))
        yield world.pause()
        world.answer(call, Result.OK, done=1)


def _working(world: World, letters: _Letters, number: int) -> Process:
    random_ = world.random
    while True:
        yield world.pause()
        call = world.call(number, Op.LEASE)
        patience = random_.choice((1, 3, 10))
        message = None
        while patience > 0 and message is None:
            yield world.pause()
            patience -= 1
            message = letters.grant(number)
        if message is None:
            yield world.pause()
            world.answer(call, Result.EMPTY)
            if world.stopped:
                world.answer(world.call(number, Op.LEAVE), Result.OK)
                return
            continue
        item = message.item._replace(deliveries=message.deliveries)
        yield world.pause()
        world.answer(call, Result.OK, [item])
        yield 2 * LEASE if random_.random() < 0.1 else world.pause()
        op = Op.NACK if random_.random() < 0.3 else Op.ACK
        call = world.call(number, op, [item])
        yield world.pause()
        held = letters.held(number, message, item.deliveries)
        if held:
            message.holder = 0
            message.away_until = world.now + random_.choice((0, DELAY))
            if op == Op.ACK:
                letters.messages.remove(message)
        yield world.pause()
        world.answer(call, Result.OK if held else Result.REFUSED)


def _looking(world: World, letters: _Letters, number: int) -> Process:
    yield world.pause()
    for message in letters.dead:
        call = world.call(number, Op.DEAD_LETTER, [message.item._replace(deliveries=message.deliveries)])
        yield world.pause()
        world.answer(call, Result.OK)
    letters.dead.clear()

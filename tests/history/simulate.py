"""Good histories: correct structures, simulated in virtual time, with slow calls, kills, successors and full rings.

A process is a coroutine that yields how long it is until its next step.  A step is atomic, as the one store or the one
compare-and-swap of the real structure; a call begins before its step and returns after it.  A kill is a coroutine that
is never gone on with: what its last step did stays done.
"""

from __future__ import annotations

import heapq
import random
import zlib
from collections import deque
from collections.abc import Callable, Generator
from dataclasses import dataclass, field

from tests.history.operations import Death, History, Item, Op, Operation, Result

__all__ = ["SLACK", "Message", "World", "one_channel", "one_queue"]

Process = Generator[int, None, None]

SLACK = 100  # a call takes about so much virtual time


@dataclass
class Message:
    """One that is in a structure."""

    item: Item
    sender: int
    deliveries: int = 0
    holder: int = 0
    deadline: int = 0
    away_until: int = 0


@dataclass
class World:
    """Virtual time, what happens when, and the history that comes of it."""

    random: random.Random
    now: int = 1000
    history: History = field(default_factory=History)
    operations: dict[int, list[Operation]] = field(default_factory=dict)
    stopped: bool = False
    """Whether senders end after their present message."""
    _due: list[tuple[int, int]] = field(default_factory=list)
    _running: dict[int, Process] = field(default_factory=dict)
    _started: int = 0
    _values: int = 0

    # --- processes ----------------------------------------------------------------------------------------------

    def start(self, make: Callable[[int], Process]) -> int:
        """A new process; returns its number."""
        self._started += 1
        number = self._started
        self.operations[number] = []
        self._running[number] = make(number)
        self._push(self.pause(), number)
        return number

    def _push(self, delay: int, number: int) -> None:
        heapq.heappush(self._due, (self.now + max(1, delay), number))

    def alive(self, number: int) -> bool:
        """Whether it has neither ended nor been killed."""
        return number in self._running

    def run(self, until: Callable[[], bool]) -> None:
        """Let time pass until a condition holds, or everything has ended."""
        while self._due and not until():
            self.now, number = heapq.heappop(self._due)
            process = self._running.get(number)
            if process is None:
                continue
            try:
                self._push(next(process), number)
            except StopIteration:
                del self._running[number]

    def rest(self, least: int, most: int) -> None:
        """Let about so much time pass."""
        target = self.now + self.random.randint(least, most)
        self.run(lambda: self.now >= target)

    def end(self) -> None:
        """Senders end, readers when they have found everything."""
        self.stopped = True
        self.run(lambda: False)

    def kill(self, number: int) -> None:
        """Kill a process in whatever it does; it is reaped a little later."""
        process = self._running.pop(number)
        process.close()
        killed = self.now
        self.now += self.random.randint(1, SLACK)
        self.history.deaths[number] = Death(killed, self.now)

    def finish(self) -> History:
        """The history of all processes."""
        for operations in self.operations.values():
            self.history.add(operations)
        return self.history

    # --- their calls --------------------------------------------------------------------------------------------

    def call(self, number: int, op: Op, items: list[Item] | None = None, most: int = 1) -> Operation:
        """A call begins."""
        operation = Operation(number, op, self.now, items=items or [], most=most)
        self.operations[number].append(operation)
        return operation

    def answer(self, operation: Operation, result: Result, items: list[Item] | None = None, done: int = 0) -> None:
        """It returns."""
        operation.result, operation.returned, operation.done = result, self.now, done
        operation.items += items or []

    def pause(self) -> int:
        """Some virtual time; now and then a long one, as if the process were stopped."""
        how_long = self.random.random()
        return 1 + int(how_long * SLACK if how_long < 0.95 else (how_long - 0.95) * 20 * 20 * SLACK)

    def new_item(self, largest: int) -> Item:
        """A message that was never sent before."""
        self._values += 1
        size = self.random.randint(8, largest)
        return Item(self._values, size, zlib.crc32(b"%d of %d" % (self._values, size)))


# --- one sender, one receiver, successors -----------------------------------------------------------------------------


class _Channel:
    """A ring with room for so many bytes; the numbers of the processes that have its ends."""

    def __init__(self, world: World, capacity: int, room: Callable[[int], int]) -> None:
        self.world, self.capacity, self.room = world, capacity, room
        self.ring: deque[Message] = deque()
        self.used = 0
        self.taker = {"sender": 0, "receiver": 0}
        self.count = 0

    def put(self, item: Item, sender: int) -> bool:
        """One store."""
        if self.used + self.room(item.size) > self.capacity:
            return False
        self.used += self.room(item.size)
        self.ring.append(Message(item._replace(sequence=self.count), sender))
        self.count += 1
        return True

    def take(self) -> Item:
        """One store."""
        item = self.ring.popleft().item
        self.used -= self.room(item.size)
        return item

    def dead(self, side: str) -> bool:
        """Whether its taker has died, and nobody has taken it since."""
        taker = self.taker[side]
        return taker != 0 and taker in self.world.history.deaths


def one_channel(seed: int, *, capacity: int, room: Callable[[int], int], steps: int = 80) -> History:
    """A channel, or a ring, whose ends are killed and succeeded now and then."""
    world = World(random.Random(seed))
    channel = _Channel(world, capacity, room)
    largest = min(capacity // 4, 200)
    at_work = {
        "sender": world.start(lambda number: _sending(world, channel, number, largest)),
        "receiver": world.start(lambda number: _receiving(world, channel, number)),
    }
    for _ in range(world.random.randint(0, 6)):
        world.rest(1, steps * SLACK)
        for side in world.random.choice((["sender"], ["receiver"], ["sender", "receiver"])):
            world.kill(at_work[side])
        for side in ("sender", "receiver"):
            if not world.alive(at_work[side]):
                make = _sending_from(world, channel, largest) if side == "sender" else _receiving_from(world, channel)
                at_work[side] = world.start(make)
    world.rest(steps * SLACK, steps * SLACK)
    world.end()
    return world.finish()


def _sending_from(world: World, channel: _Channel, largest: int) -> Callable[[int], Process]:
    return lambda number: _sending(world, channel, number, largest)


def _receiving_from(world: World, channel: _Channel) -> Callable[[int], Process]:
    return lambda number: _receiving(world, channel, number)


def _sending(world: World, channel: _Channel, number: int, largest: int) -> Process:
    random_ = world.random
    while not world.stopped:
        yield world.pause()
        items = [world.new_item(largest) for _ in range(random_.choice((1, 1, 1, 2, 5)))]
        call = world.call(number, Op.SEND, items)
        patience = random_.choice((1, 3, 1000))
        done = 0
        result = Result.OK
        while done < len(items):
            yield world.pause()
            channel.taker["sender"] = number
            if channel.put(items[done], number):
                done += 1
            elif channel.dead("receiver"):
                result = Result.PEER_DIED
                break
            elif (patience := patience - 1) <= 0:
                result = Result.FULL
                break
        yield world.pause()
        world.answer(call, result, done=done)


def _receiving(world: World, channel: _Channel, number: int) -> Process:
    random_ = world.random
    while True:
        yield world.pause()
        if random_.random() < 0.3:
            ended = yield from _view(world, channel, number)
        else:
            ended = yield from _recv(world, channel, number)
        if ended:
            return


def _recv(world: World, channel: _Channel, number: int) -> Generator[int, None, bool]:
    call = world.call(number, Op.RECV, most=world.random.choice((1, 1, 1, 4)))
    result = yield from _await(world, channel, number)
    items = [channel.take() for _ in range(min(call.most, len(channel.ring)))] if result == Result.OK else []
    yield world.pause()
    world.answer(call, result, items)
    return result == Result.ENDED


def _view(world: World, channel: _Channel, number: int) -> Generator[int, None, bool]:
    call = world.call(number, Op.VIEW)
    result = yield from _await(world, channel, number)
    if result == Result.OK:
        call.seen = world.now + 1
        call.items.append(channel.ring[0].item)
        yield world.pause()
        if world.random.random() < 0.1:
            result = Result.KEPT
        else:
            channel.take()
        yield world.pause()
    world.answer(call, result)
    return result == Result.ENDED


def _await(world: World, channel: _Channel, number: int) -> Generator[int, None, Result]:
    """Wait for a message, for as long as this call may."""
    patience = world.random.choice((1, 3, 1000))
    while True:
        yield world.pause()
        channel.taker["receiver"] = number
        if channel.ring:
            return Result.OK
        if channel.dead("sender"):
            return Result.PEER_DIED
        if world.stopped and not world.alive(channel.taker["sender"]):
            return Result.ENDED
        if (patience := patience - 1) <= 0:
            return Result.EMPTY


# --- many senders, many receivers, at most once -----------------------------------------------------------------------


def one_queue(seed: int, *, maxsize: int, steps: int = 60) -> tuple[History, set[int]]:
    """A queue of lanes, one for each sender, whose users are killed now and then; and what is left in it."""
    world = World(random.Random(seed))
    lanes: dict[int, deque[Item]] = {}

    def start(place: int) -> int:
        role = _putting if place % 2 == 0 else _getting
        return world.start(lambda number: role(world, lanes, maxsize, number))

    at_work = [start(place) for place in range(2 * world.random.randint(1, 3))]
    for _ in range(world.random.randint(0, 5)):
        world.rest(1, steps * SLACK)
        victim = world.random.randrange(len(at_work))
        if world.alive(at_work[victim]):
            world.kill(at_work[victim])
            at_work[victim] = start(victim)
    world.rest(steps * SLACK, steps * SLACK)
    world.end()
    return world.finish(), {item.value for lane in lanes.values() for item in lane}


def _putting(world: World, lanes: dict[int, deque[Item]], maxsize: int, number: int) -> Process:
    while not world.stopped:
        yield world.pause()
        item = world.new_item(100)
        call = world.call(number, Op.SEND, [item])
        patience = world.random.choice((1, 3, 30))
        result = Result.FULL
        while patience > 0:
            yield world.pause()
            patience -= 1
            if sum(map(len, lanes.values())) < maxsize:
                lanes.setdefault(number, deque()).append(item)
                result = Result.OK
                break
        yield world.pause()
        world.answer(call, result, done=int(result == Result.OK))


def _getting(world: World, lanes: dict[int, deque[Item]], maxsize: int, number: int) -> Process:
    while True:
        yield world.pause()
        call = world.call(number, Op.RECV, most=world.random.choice((1, 1, 3)))
        patience = world.random.choice((1, 3, 30))
        items: list[Item] = []
        while patience > 0 and not items:
            yield world.pause()
            patience -= 1
            while len(items) < call.most and any(lanes.values()):
                lane = world.random.choice([lane for lane in lanes.values() if lane])
                items.append(lane.popleft())
        yield world.pause()
        world.answer(call, Result.OK if items else Result.EMPTY, items)
        if world.stopped and not items:
            return

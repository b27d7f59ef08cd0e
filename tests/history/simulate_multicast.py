"""Good histories of multicasts: lossless, lossy, and of those that evict who is too far behind."""

from __future__ import annotations

import random
from collections.abc import Generator

from tests.history.operations import History, Item, Op, Operation, Result
from tests.history.simulate import SLACK, Process, World

__all__ = ["multicast"]


class _Stream:
    """The newest messages, each with its number, and how far each reader is."""

    def __init__(self, world: World, slots: int, *, lossy: bool, lag: int | None) -> None:
        self.world, self.slots, self.lossy, self.lag = world, slots, lossy, lag
        self.published: list[Item] = []
        self.next: dict[int, int] = {}  # of each reader that has joined, and has neither left nor been evicted
        self.publisher = 0
        self.closed = False

    def publish(self, item: Item) -> bool:
        """One store; a lossless structure waits for the slowest living reader, or evicts it."""
        behind = len(self.published)
        if self.lag is not None:
            self.next = {reader: at for reader, at in self.next.items() if behind - at < self.lag}
        slowest = min((at for reader, at in self.next.items() if self.world.alive(reader)), default=behind)
        if not self.lossy and behind - slowest >= self.slots:
            return False
        self.published.append(item._replace(sequence=behind))
        return True

    @property
    def oldest(self) -> int:
        return max(0, len(self.published) - self.slots)

    def get(self, reader: int, *, on_lap: str) -> Item | None:
        """The reader's next message, and how many it has lost before."""
        at = self.next[reader]
        if at == len(self.published):
            return None
        lands = at
        if self.lossy and at < self.oldest:
            lands = self.oldest if on_lap == "oldest" else len(self.published) - 1
        self.next[reader] = lands + 1
        return self.published[lands]._replace(gap=lands - at)

    def answer(self) -> Result:
        """What a reader hears that has everything."""
        if self.closed:
            return Result.ENDED
        return Result.PEER_DIED if self.publisher in self.world.history.deaths else Result.EMPTY


def multicast(seed: int, *, lossy: bool = False, lag: int | None = None, steps: int = 60) -> History:
    """A publisher with successors, and readers that come, lag, leave and die."""
    world = World(random.Random(seed))
    slots = world.random.randint(2, 12) if lag is None else lag + 4
    stream = _Stream(world, slots, lossy=lossy, lag=lag)
    publisher = world.start(lambda number: _publishing(world, stream, number))
    readers = [world.start(lambda number: _reading(world, stream, number)) for _ in range(world.random.randint(1, 3))]
    for _ in range(world.random.randint(0, 5)):
        world.rest(1, steps * SLACK)
        if world.random.random() < 0.5:
            world.kill(publisher)
            world.rest(1, world.random.choice((1, 4 * SLACK)))
            publisher = world.start(lambda number: _publishing(world, stream, number))
        else:
            victim = world.random.randrange(len(readers))
            if world.alive(readers[victim]):  # it may have left
                world.kill(readers[victim])
            readers[victim] = world.start(lambda number: _reading(world, stream, number))
    world.rest(steps * SLACK, steps * SLACK)
    world.end()
    return world.finish()


def _publishing(world: World, stream: _Stream, number: int) -> Process:
    random_ = world.random
    call = world.call(number, Op.SEND)  # of nothing: it becomes the publisher
    yield world.pause()
    stream.publisher, stream.closed = number, False
    yield world.pause()
    world.answer(call, Result.OK)
    while not world.stopped:
        yield world.pause()
        items = [world.new_item(100) for _ in range(random_.choice((1, 1, 1, 3)))]
        call = world.call(number, Op.SEND, items)
        patience = random_.choice((1, 1000))
        done = 0
        while done < len(items) and patience > 0:
            yield world.pause() if done == 0 or random_.random() < 0.5 else 1
            if stream.publish(items[done]):
                done += 1
            else:
                patience -= 1
        yield world.pause()
        world.answer(call, Result.OK if done == len(items) else Result.FULL, done=done)
    call = world.call(number, Op.LEAVE)
    yield world.pause()
    stream.closed = True
    yield world.pause()
    world.answer(call, Result.OK)


def _reading(world: World, stream: _Stream, number: int) -> Process:
    random_ = world.random
    start = random_.choice((0, 1, 2 + random_.randint(stream.oldest, len(stream.published))))
    call = world.call(number, Op.JOIN, most=start)
    yield world.pause()
    if start >= 2 and start - 2 < stream.oldest and not stream.lossy:  # gone meanwhile
        yield world.pause()
        world.answer(call, Result.REFUSED)
        return
    stream.next[number] = (len(stream.published), stream.oldest, start - 2)[min(start, 2)]
    yield world.pause()
    world.answer(call, Result.OK)
    slow = random_.choice((1, 4)) if stream.lossy or stream.lag else 1
    while True:
        yield slow * world.pause()
        if random_.random() < 0.02:
            yield from _leave(world, stream, number)
            return
        kind = random_.random()
        if kind < 0.3 and not stream.lossy and stream.lag is None:
            call = yield from _view(world, stream, number)
        else:
            call = yield from _receive(world, stream, number, most=1 if kind < 0.8 else 4)
        if call.result in {Result.ENDED, Result.HELD_BACK}:
            return


def _leave(world: World, stream: _Stream, number: int) -> Process:
    call = world.call(number, Op.LEAVE)
    yield world.pause()
    stream.next.pop(number, None)
    yield world.pause()
    world.answer(call, Result.OK)


def _receive(world: World, stream: _Stream, number: int, most: int) -> Generator[int, None, Operation]:
    """One with its number or without, or some, of which only the sum of what was lost is told."""
    call = world.call(number, Op.RECV, most=most)
    yield world.pause()
    if number not in stream.next:
        world.answer(call, Result.HELD_BACK)
        return call
    items: list[Item] = []
    while len(items) < most:
        item = stream.get(number, on_lap=world.random.choice(("oldest", "latest")))
        if item is None:
            break
        items.append(item)
        if most > 1 or world.random.random() < 0.3:
            items[-1] = item._replace(sequence=-1)
    result = Result.OK if items else stream.answer()
    if most > 1 and items:
        lost = sum(item.gap for item in items)
        items = [item._replace(gap=lost if place == 0 else 0) for place, item in enumerate(items)]
    yield world.pause()
    world.answer(call, result, items)
    return call


def _view(world: World, stream: _Stream, number: int) -> Generator[int, None, Operation]:
    """Told while it is lent, and passed only then; now and then it is given up, and stays."""
    call = world.call(number, Op.VIEW)
    yield world.pause()
    at = stream.next[number]
    if at == len(stream.published):
        result = stream.answer()
    else:
        call.seen = world.now + 1
        call.items.append(stream.published[at])
        yield world.pause()
        result = Result.KEPT if world.random.random() < 0.1 else Result.OK
        if result == Result.OK:
            stream.next[number] = at + 1
    yield world.pause()
    world.answer(call, result)
    return call

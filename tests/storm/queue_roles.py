"""Who puts and who gets in the storm of queues: every way that they have, mixed, and every call told to a log.

As in roles.py: these may be killed or stopped at any instruction, and check nothing themselves but that no error comes
which is not promised.  The first shared byte says what is over: 1: putting, 2: getting as well.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

import ipc
from tests.history.log import Log
from tests.history.operations import Item, Op, Result
from tests.storm.queue_kinds import KINDS, Kind
from tests.storm.roles import IMPATIENT, MOST, Part, encoded, item_of, new_message

__all__ = ["Consumer", "play_at_a_queue"]

PATIENT: Final = (0.05, 0.1, 0.25)  # seconds: nobody waits for ever, or it would not hear that all is over
HOLDS: Final = (0.0, 0.0, 0.0, 0.001, 0.02)  # seconds until a message that was leased is ended
MOST_HELD: Final = 6
MOST_HELD_TOO_LONG: Final = 2  # besides
USUAL: Final = 1500


def play_at_a_queue(part: Part) -> None:
    """Do it, from attaching to closing."""
    kind = KINDS[part.kind]
    log = Log(part.log, part.process)
    try:
        with kind.attached(part.name) as queue:
            if part.role == "sender":
                _put_on(part, log, kind, queue)
            else:
                consumer = Consumer(part, log, kind, queue)
                consumer.go_on()
                consumer.leave()
    finally:
        log.close()


# --- putting --------------------------------------------------------------------------------------------------------


def _put_on(part: Part, log: Log, kind: Kind, queue: Any) -> None:
    ways = PUTTING_RELIABLY if kind.reliable else PUTTING
    while not part.over[0]:
        part.random.choice(ways)(part, log, queue)
        if part.pause:
            time.sleep(part.pause)


def _new(part: Part) -> tuple[Item, Any]:
    largest = KINDS[part.kind].largest
    most = largest if part.random.random() < 0.05 else min(largest, USUAL)
    item, data = new_message(part, most=most)
    return item, encoded(part, data)


def _tell_putting(log: Log, items: list[Item], queue: Any, put: Callable[[], Any]) -> None:
    log.begin(Op.SEND, items)
    try:
        put()
    except ipc.TimeoutError as error:  # which is queue.Full
        log.end(Result.FULL, done=getattr(error, "put", len(getattr(error, "receipts", ()))))
        return
    while (
        getattr(queue, "_feeder", None) is not None
    ):  # not sent before it is: that is what an unbounded queue promises
        time.sleep(0.0002)
    log.end(Result.OK, done=len(items))


def _put(part: Part, log: Log, queue: Any) -> None:
    item, message = _new(part)
    _tell_putting(log, [item], queue, lambda: queue.put(message))


def _put_impatiently(part: Part, log: Log, queue: Any) -> None:
    item, message = _new(part)
    _tell_putting(log, [item], queue, lambda: queue.put(message, timeout=IMPATIENT))


def _put_now(part: Part, log: Log, queue: Any) -> None:
    item, message = _new(part)
    _tell_putting(log, [item], queue, lambda: queue.put_nowait(message))


def _put_many(part: Part, log: Log, queue: Any) -> None:
    options = part.random.choice(({}, {}, {"timeout": IMPATIENT}))  # none at all: by the accelerator
    pairs = [_new(part) for _ in range(part.random.randint(2, MOST))]
    _tell_putting(
        log,
        [item for item, _ in pairs],
        queue,
        lambda: queue.put_many([message for _, message in pairs], **options),
    )


def _put_and_ask(part: Part, log: Log, queue: Any) -> None:
    """Ask its receipt a moment later: it must have an answer."""
    item, message = _new(part)
    receipts: list[Any] = []
    _tell_putting(log, [item], queue, lambda: receipts.append(queue.put(message)))
    with suppress(ipc.TimeoutError, ipc.DeadLetteredError):
        receipts[0].wait(IMPATIENT)


PUTTING: Final = (_put, _put, _put_impatiently, _put_now, _put_many)
PUTTING_RELIABLY: Final = (_put, _put, _put_impatiently, _put_many, _put_and_ask)


# --- getting --------------------------------------------------------------------------------------------------------


class Consumer:
    """Whoever gets; of a reliable queue it holds some messages at a time, and ends their leases in any order."""

    def __init__(self, part: Part, log: Log, kind: Kind, queue: Any) -> None:
        self.part, self.log, self.kind, self.queue = part, log, kind, queue
        self.random = part.random
        self.held: list[tuple[float, Item, Any]] = []  # when to end it, what it is, and the delivery
        self.too_long = 0  # of them, how many beyond their leases

    def go_on(self) -> None:
        """Until all is over, and nothing is there."""
        ways = (
            (self._lease, self._lease, self._lease_many, self._in_a_block, self._look)
            if self.kind.reliable
            else (self._get, self._get_many)
        )
        while True:
            for held in [held for held in self.held if held[0] <= time.monotonic()]:
                self._end(held)
            over = self.part.over[0] == 2
            if len(self.held) < MOST_HELD + self.too_long:
                found = self.random.choice(ways)()
                if over and not found:
                    return
            else:
                time.sleep(0.001)
            if self.part.pause:
                time.sleep(self.part.pause)

    def leave(self) -> None:
        """What is held goes back."""
        if self.kind.reliable:
            self.log.begin(Op.LEAVE)
            self.queue.close()
            self.log.end(Result.OK)

    def _timeout(self) -> float:
        return self.random.choice((0, IMPATIENT, *PATIENT))

    def _tell(self, op: Op, take: Callable[[], list[Item]], most: int = 1) -> bool:
        """Whether there was something."""
        self.log.begin(op, most=most)
        try:
            items = take()
        except ipc.LeaseLostError:  # stopped for longer than the lease, in the call
            self.log.end(Result.HELD_BACK)
            return True
        except ipc.TimeoutError:  # which is queue.Empty
            self.log.end(Result.EMPTY)
            return False
        self.log.end(Result.OK, items)
        return True

    # at most once

    def _get(self) -> bool:
        if self.random.random() < 0.2:
            return self._tell(Op.RECV, lambda: [item_of(self.queue.get_nowait())])
        timeout = self._timeout()
        return self._tell(Op.RECV, lambda: [item_of(self.queue.get(timeout=timeout))])

    def _get_many(self) -> bool:
        most, timeout = self.random.randint(2, MOST), self._timeout()
        return self._tell(Op.RECV, lambda: [item_of(got) for got in self.queue.get_many(most, timeout)], most)

    # at least once

    def _hold(self, delivery: Any) -> Item:
        item = item_of(delivery.message, delivery.id)._replace(deliveries=delivery.deliveries)
        seconds = self.random.choice(HOLDS)
        if self.kind.too_long and self.too_long < MOST_HELD_TOO_LONG and self.random.random() < 0.15:
            seconds = self.kind.too_long
        self._keep(item, delivery, seconds)
        return item

    def _keep(self, item: Item, delivery: Any, seconds: float) -> None:
        self.held.append((time.monotonic() + seconds, item, delivery))
        self.too_long = sum(until - time.monotonic() > max(HOLDS) for until, _, _ in self.held)

    def _lease(self) -> bool:
        timeout = self._timeout()
        return self._tell(Op.LEASE, lambda: [self._hold(self.queue.get(timeout))])

    def _lease_many(self) -> bool:
        most, timeout = self.random.randint(2, MOST), self._timeout()
        return self._tell(Op.LEASE, lambda: [self._hold(each) for each in self.queue.get_many(most, timeout)], most)

    def _in_a_block(self) -> bool:
        """`with` acknowledges, and gives back what raised."""
        found = self._lease()
        if found and self.held:
            _, item, delivery = self.held.pop()
            gives_back = self.random.random() < self.kind.nacks
            self.log.begin(Op.NACK if gives_back else Op.ACK, [item])
            try:
                with suppress(ZeroDivisionError), delivery:
                    if gives_back:
                        raise ZeroDivisionError
            except ipc.LeaseLostError:
                self.log.end(Result.REFUSED, [item])
            else:  # a nack in vain is not told by a block: the error on its way says more
                self.log.end(Result.HELD_BACK if gives_back else Result.OK, [item])
        return found

    def _look(self) -> bool:
        """Where it lies, without a copy, if it can be looked at there."""

        def take() -> list[Item]:
            delivery = self.queue.get(timeout)
            try:
                with delivery.view() as lent:
                    item = item_of(lent, delivery.id)._replace(deliveries=delivery.deliveries)
            except TypeError:  # a pickle, or a lease that ends
                return [self._hold(delivery)]
            self._keep(item, delivery, 0.0)
            return [item]

        timeout = self._timeout()
        return self._tell(Op.LEASE, take)

    def _end(self, held: tuple[float, Item, Any]) -> None:
        """Acknowledge it, give it back, or keep it for longer."""
        self.held.remove(held)
        self.too_long = sum(until - time.monotonic() > max(HOLDS) for until, _, _ in self.held)
        _, item, delivery = held
        chance = self.random.random()
        op = Op.NACK if chance < self.kind.nacks else Op.ACK
        if chance > 0.95:
            try:
                delivery.extend(1.0)
            except ipc.LeaseLostError:
                return
        self.log.begin(op, [item])
        try:
            if op == Op.ACK:
                delivery.ack()
            else:
                delivery.nack(self.random.choice((0.0, self.kind.delay)))
        except ipc.LeaseLostError:
            self.log.end(Result.REFUSED, [item])
        else:
            self.log.end(Result.OK, [item])

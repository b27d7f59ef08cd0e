"""Who publishes and who subscribes in the storm of multicasts: every way there is, mixed, and every call told to a log.

As in roles.py: these may be killed or stopped at any instruction, and check nothing themselves but that no error comes
which is not promised.  A reader comes and goes: each subscription is a reader of its own to the checker, with a log and
a number of its own.  The first shared byte says that publishing is over.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Final

import ipc
from tests.history.log import Log
from tests.history.operations import Item, Op, Result
from tests.storm.multicast_kinds import MULTICASTS
from tests.storm.roles import IMPATIENT, LINGER, MOST, Part, encoded, item_of, new_message

__all__ = ["play_at_a_multicast", "process_of", "reader_number"]

PATIENT: Final = (0.02, 0.1)
TOPICS: Final = (None, None, "a topic", "another")
LARGEST: Final = 1500
SUBSCRIPTIONS: Final = 1000  # of one process, at most
CALLS: Final = 400  # with one subscription, at most
OBSERVING: Final = 1  # added to the number of an observer: the others' are even


def reader_number(process: int, subscription: int, observes: bool) -> int:
    """What the log calls one subscription of a process."""
    assert subscription < SUBSCRIPTIONS
    return (process * SUBSCRIPTIONS + subscription) * 2 + (OBSERVING if observes else 0)


def process_of(number: int) -> int:
    """The process that a subscription was in."""
    return number // (2 * SUBSCRIPTIONS)


def play_at_a_multicast(part: Part) -> None:
    """Do it, from attaching to closing."""
    with ipc.Multicast.attach(part.name, spin=part.random.choice(("auto", 0))) as multicast:
        if part.role == "sender":
            _publish_on(part, multicast)
        else:
            _read_on(part, multicast)


# --- publishing -----------------------------------------------------------------------------------------------------


def _publish_on(part: Part, multicast: Any) -> None:
    log = Log(part.log, part.process)
    try:
        with multicast.publisher() as publisher:
            while not part.over[0]:
                part.random.choice(PUBLISHING)(part, log, publisher)
                if part.pause:
                    time.sleep(part.pause)
    finally:
        log.close()


def _new(part: Part) -> tuple[Item, Any]:
    item, data = new_message(part, most=LARGEST if part.random.random() < 0.1 else 300)
    return item, encoded(part, data)


def _tell(log: Log, items: list[Item], publish: Callable[[], Any]) -> None:
    log.begin(Op.SEND, items)
    try:
        done = publish()
    except ipc.TimeoutError as error:
        log.end(Result.FULL, done=getattr(error, "published", 0))
    else:
        log.end(Result.FULL if done is False else Result.OK, done=0 if done is False else len(items))


def _publish(part: Part, log: Log, publisher: Any) -> None:
    item, message = _new(part)
    _tell(log, [item], lambda: publisher.publish(message, topic=part.random.choice(TOPICS)))


def _publish_impatiently(part: Part, log: Log, publisher: Any) -> None:
    item, message = _new(part)
    _tell(log, [item], lambda: publisher.publish(message, timeout=IMPATIENT))


def _try_to_publish(part: Part, log: Log, publisher: Any) -> None:
    item, message = _new(part)
    _tell(log, [item], lambda: publisher.try_publish(message, topic=part.random.choice(TOPICS)))


def _publish_many(part: Part, log: Log, publisher: Any) -> None:
    timeout = part.random.choice((None, IMPATIENT))
    pairs = [_new(part) for _ in range(part.random.randint(2, MOST))]
    _tell(
        log,
        [item for item, _ in pairs],
        lambda: publisher.publish_many([message for _, message in pairs], timeout=timeout),
    )


def _claim(part: Part, log: Log, publisher: Any) -> None:
    item, data = new_message(part, most=300)

    def publish() -> None:
        with publisher.claim(nbytes=len(data), timeout=None) as memory:
            memory[:] = data
            if part.random.random() < 0.1:
                time.sleep(LINGER)

    _tell(log, [item], publish)


PUBLISHING: Final = (_publish, _publish, _publish_impatiently, _try_to_publish, _publish_many, _claim)


# --- reading --------------------------------------------------------------------------------------------------------


def _read_on(part: Part, multicast: Any) -> None:
    """One subscription after the other, until the publisher has closed."""
    kind = MULTICASTS[part.kind]
    for subscription in range(SUBSCRIPTIONS):
        observes = kind.observed and part.random.random() < 0.5
        path = part.log if subscription == 0 else part.log.with_name(f"{part.log.stem}-{subscription}.log")
        log = Log(path, reader_number(part.process, subscription, observes))
        try:
            if not _Reader(part, log, observes).go_on(multicast):
                return
        finally:
            log.close()
    raise AssertionError("too many subscriptions for one round")


class _Reader:
    """One subscription."""

    def __init__(self, part: Part, log: Log, observes: bool) -> None:
        self.part, self.log, self.observes = part, log, observes
        self.random = part.random
        self.subscriber: Any = None
        self.lost = 0  # when the message before came

    def go_on(self, multicast: Any) -> bool:
        """Until it is enough, or over; whether the process should subscribe again."""
        oldest = self.random.random() < 0.5
        self.log.begin(Op.JOIN, most=int(oldest))
        with multicast.subscribe(
            start="oldest" if oldest else "latest",
            on_lap=self.random.choice(("oldest", "latest")),
            observe=self.observes,
            interval=0.0005,
        ) as self.subscriber:
            self.log.end(Result.OK)
            ways = (self._receive, self._receive, self._receive_now, self._receive_many)
            if MULTICASTS[self.part.kind].views and not self.observes:
                ways = (*ways, self._view)
            for _ in range(self.random.randint(CALLS // 4, CALLS)):
                result = self.random.choice(ways)()
                if result == Result.ENDED:
                    return False
                if result == Result.HELD_BACK:  # evicted
                    return True
                if self.part.pause or result == Result.PEER_DIED:  # until there is a successor
                    time.sleep(self.part.pause or 0.0005)
        return True

    def _tell(self, op: Op, receive: Callable[[], list[Item] | None], most: int = 1) -> Result:
        self.log.begin(op, most=most)
        items: list[Item] | None = None
        try:
            items = receive()
        except ipc.TimeoutError:
            result = Result.EMPTY
        except ipc.PeerDiedError:
            result = Result.PEER_DIED
        except ipc.EndOfChannel:
            result = Result.ENDED
        except ipc.LaggedOutError:
            result = Result.HELD_BACK
        else:
            result = Result.EMPTY if items is None else Result.OK
        self.log.end(result, items or ())
        return result

    def _item(self, got: Any, sequence: int = -1) -> Item:
        """What came, and how many were lost since the message before."""
        before, self.lost = self.lost, self.subscriber.lost
        return item_of(got, sequence)._replace(gap=self.lost - before)

    def _receive(self) -> Result:
        timeout = self.random.choice((IMPATIENT, *PATIENT))

        def receive() -> list[Item]:
            envelope = self.subscriber.recv_envelope(timeout=timeout)
            item = self._item(envelope.message, envelope.sequence)
            assert item.gap == envelope.lost, (item, envelope.lost)
            return [item]

        return self._tell(Op.RECV, receive)

    def _receive_now(self) -> Result:
        """Without its number."""

        def receive() -> list[Item] | None:
            got = self.subscriber.try_recv(None)
            return None if got is None else [self._item(got)]

        return self._tell(Op.RECV, receive)

    def _receive_many(self) -> Result:
        """How many were lost before each of them is not told: where some may be, one at a time."""
        lossy = MULTICASTS[self.part.kind].rules.gaps or self.observes
        most, timeout = 1 if lossy else self.random.randint(2, MOST), self.random.choice((0, *PATIENT))
        return self._tell(
            Op.RECV, lambda: [self._item(got) for got in self.subscriber.recv_many(most, timeout=timeout)], most
        )

    def _view(self) -> Result:
        """It is told while it is lent, and taken only then."""
        self.log.begin(Op.VIEW)
        try:
            with self.subscriber.view(timeout=self.random.choice(PATIENT)) as lent:
                self.log.seen(self._item(lent))
                if self.random.random() < 0.1:
                    time.sleep(LINGER)
        except ipc.TimeoutError:
            result = Result.EMPTY
        except ipc.PeerDiedError:
            result = Result.PEER_DIED
        except ipc.EndOfChannel:
            result = Result.ENDED
        else:
            result = Result.OK
        self.log.end(result)
        return result

"""Who publishes and who subscribes in the storm of multicasts: every way there is, mixed, and every call told to a log.

As in roles.py: these may be killed or stopped at any instruction, and check nothing themselves but that no error comes
which is not promised.  A reader comes and goes: each subscription is a reader of its own to the checker, with a number
of its own in its process's log.  The first shared byte says that publishing is over.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from enum import IntEnum
from typing import Any, Final

import numpy as np

import ipc
from tests.history.log import Log
from tests.history.operations import Item, Op, Result
from tests.storm.multicast_kinds import MULTICASTS
from tests.storm.roles import IMPATIENT, LINGER, MOST, Part, encoded, item_of, new_message

__all__ = ["Reads", "has_topic", "play_at_a_multicast", "process_of", "reads"]

PATIENT: Final = (0.02, 0.1)
TOPICS: Final = (None, "a topic", "another", "")  # a message's value says which it has
WANTED: Final = 1  # by who wants one only
HELD: Final = (0, 0, 0, 0, 0, 0, 0, 0, LINGER, 5 * LINGER)  # seconds for which a view is lent before it is looked at
SUBSCRIPTIONS: Final = 1000  # of one process, at most
CALLS: Final = 400  # with one subscription, at most


class Reads(IntEnum):
    """What a subscription gets."""

    ALL = 0
    OBSERVING = 1  # all, and may lose some
    A_TOPIC = 2


def reader_number(process: int, subscription: int, what: Reads) -> int:
    """What the log calls one subscription of a process."""
    assert subscription < SUBSCRIPTIONS
    return (process * SUBSCRIPTIONS + subscription) * len(Reads) + what


def process_of(number: int) -> int:
    """The process that a subscription was in."""
    return number // (len(Reads) * SUBSCRIPTIONS)


def reads(number: int) -> Reads:
    """What a subscription gets."""
    return Reads(number % len(Reads))


def has_topic(value: int) -> bool:
    """Whether a message has the topic that some want."""
    return value % len(TOPICS) == WANTED


def play_at_a_multicast(part: Part) -> None:
    """Do it, from attaching to closing."""
    log = Log(part.log, part.process)
    try:
        with ipc.Multicast.attach(part.name, spin=part.random.choice(("auto", 0))) as multicast:
            if part.role == "sender":
                _publish_on(part, log, multicast)
            else:
                _read_on(part, log, multicast)
    finally:
        log.close()


# --- publishing -----------------------------------------------------------------------------------------------------


def _publish_on(part: Part, log: Log, multicast: Any) -> None:
    log.begin(Op.SEND)  # of nothing: that it has the end
    publisher = multicast.publisher()
    log.end(Result.OK)
    while not part.over[0]:
        part.random.choice(PUBLISHING)(part, log, publisher)
        if part.pause:
            time.sleep(part.pause)
    log.begin(Op.LEAVE)
    publisher.close()
    log.end(Result.OK)


def _new(part: Part, topic: int, *, small: bool = False) -> tuple[Item, bytes]:
    part.serial += (topic - part.serial - 1) % len(TOPICS)  # so that the next one's value says it
    return new_message(part, most=300 if small or part.random.random() < 0.9 else MULTICASTS[part.kind].largest)


def _some_topic(part: Part) -> int:
    return part.random.randrange(len(TOPICS))


def _tell(log: Log, items: list[Item], publish: Callable[[], Any]) -> None:
    log.begin(Op.SEND, items)
    try:
        done = publish()
    except ipc.TimeoutError as error:
        log.end(Result.FULL, done=getattr(error, "published", 0))
    else:
        log.end(Result.FULL if done is False else Result.OK, done=0 if done is False else len(items))


def _publish(part: Part, log: Log, publisher: Any) -> None:
    topic = _some_topic(part)
    item, data = _new(part, topic)
    message = encoded(part, data)
    _tell(log, [item], lambda: publisher.publish(message, topic=TOPICS[topic]))


def _publish_impatiently(part: Part, log: Log, publisher: Any) -> None:
    topic = _some_topic(part)
    item, data = _new(part, topic)
    message = encoded(part, data)
    _tell(log, [item], lambda: publisher.publish(message, topic=TOPICS[topic], timeout=IMPATIENT))


def _try_to_publish(part: Part, log: Log, publisher: Any) -> None:
    topic = _some_topic(part)
    item, data = _new(part, topic)
    message = encoded(part, data)
    _tell(log, [item], lambda: publisher.try_publish(message, topic=TOPICS[topic]))


def _publish_many(part: Part, log: Log, publisher: Any) -> None:
    timeout, topic = part.random.choice((None, IMPATIENT)), _some_topic(part)
    pairs = [_new(part, topic) for _ in range(part.random.randint(2, MOST))]
    messages = [encoded(part, data) for _, data in pairs]
    _tell(
        log,
        [item for item, _ in pairs],
        lambda: publisher.publish_many(messages, topic=TOPICS[topic], timeout=timeout),
    )


def _claim(part: Part, log: Log, publisher: Any) -> None:
    """Filled step by step, so that a kill leaves half of it; now and then it is given up, and nothing is published."""
    topic = _some_topic(part)
    item, data = _new(part, topic, small=True)
    what = (len(data),) if part.random.random() < 0.5 else ((len(data),), "uint8")
    gives_up = part.random.random() < 0.1
    log.begin(Op.SEND, [item])
    with suppress(ZeroDivisionError), publisher.claim(*what, topic=TOPICS[topic]) as lent:
        step = max(1, len(data) // 4)
        for start in range(0, len(data), step):
            piece = data[start : start + step]
            lent[start : start + step] = np.frombuffer(piece, np.uint8) if isinstance(lent, np.ndarray) else piece
            if start == step and data[8] < 32:
                time.sleep(LINGER)
        del lent
        if gives_up:
            raise ZeroDivisionError
    log.end(Result.NOT_SENT if gives_up else Result.OK, done=0 if gives_up else 1)


PUBLISHING: Final = (_publish, _publish, _publish_impatiently, _try_to_publish, _publish_many, _claim)


# --- reading --------------------------------------------------------------------------------------------------------


def _read_on(part: Part, log: Log, multicast: Any) -> None:
    """One subscription after the other, until the publisher has closed."""
    kind = MULTICASTS[part.kind]
    for subscription in range(SUBSCRIPTIONS):
        what = Reads.ALL
        if kind.observed and part.random.random() < 0.5:
            what = Reads.OBSERVING
        elif kind.topics and part.random.random() < 0.2:
            what = Reads.A_TOPIC
        log.process = reader_number(part.process, subscription, what)
        if not _Reader(part, log, what).go_on(multicast):
            return
    raise AssertionError("too many subscriptions for one round")


class _Reader:
    """One subscription."""

    def __init__(self, part: Part, log: Log, what: Reads) -> None:
        self.part, self.log, self.what = part, log, what
        self.random = part.random
        self.subscriber: Any = None
        self.lost = 0  # when the message before came

    def go_on(self, multicast: Any) -> bool:
        """Until it is enough, or over; whether the process should subscribe again."""
        if not self._subscribe(multicast):
            return True
        with self.subscriber:
            ways = [self._receive, self._receive, self._receive_now, self._receive_many, self._iterate]
            if MULTICASTS[self.part.kind].views and self.what != Reads.OBSERVING:
                ways.append(self._view)
            for _ in range(self.random.randint(CALLS // 4, CALLS)):
                result = self.random.choice(ways)()
                if result == Result.ENDED:
                    return False
                if result == Result.HELD_BACK:  # evicted
                    return True
                if self.part.pause or result == Result.PEER_DIED:  # until there is a successor
                    time.sleep(self.part.pause or 0.0005)
        return True

    def _subscribe(self, multicast: Any) -> bool:
        start: str | int = self.random.choice(("oldest", "latest", "number"))
        if start == "number":
            stats = multicast.stats()
            start = self.random.randint(stats.oldest, max(stats.oldest, stats.sent))
        self.log.begin(Op.JOIN, most={"latest": 0, "oldest": 1}[start] if isinstance(start, str) else 2 + start)
        try:
            self.subscriber = multicast.subscribe(
                start=start,
                topics=[TOPICS[WANTED]] if self.what == Reads.A_TOPIC else None,
                on_lap=self.random.choice(("oldest", "latest")),
                observe=self.what == Reads.OBSERVING,
                interval=0.0005,
            )
        except ValueError:  # that number is gone meanwhile
            assert isinstance(start, int)
            self.log.end(Result.REFUSED)
            return False
        self.log.end(Result.OK)
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
        timeout = self.random.choice((IMPATIENT, None, *PATIENT))

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
        """Of what was lost between them only the sum is known, which is told with the first one."""
        most, timeout = self.random.randint(2, MOST), self.random.choice((0, None, *PATIENT))
        return self._tell(
            Op.RECV, lambda: [self._item(got) for got in self.subscriber.recv_many(most, timeout=timeout)], most
        )

    def _iterate(self) -> Result:
        def receive() -> list[Item]:
            for got in self.subscriber:
                return [self._item(got)]
            raise ipc.EndOfChannel

        return self._tell(Op.RECV, receive)

    def _view(self) -> Result:
        """It is told while it is lent, and taken only then."""
        self.log.begin(Op.VIEW)
        try:
            with self.subscriber.view(timeout=self.random.choice(PATIENT)) as lent:
                time.sleep(self.random.choice(HELD))
                self.log.seen(self._item(lent))
                del lent
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

"""What the other processes of the multicast's tests do.  Importable by name, and cheap to import: spawned children do.

`told` is an end of a pipe of multiprocessing: facts go through something that is not being tested.
"""

from __future__ import annotations

import os
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any

import ipc

LONG = 30.0
END = "--- the end ---"


def start(method: str, target: Any, *args: Any) -> Any:
    """A started process of multiprocessing."""
    from tests.process.support import context

    process = context(method).Process(target=target, args=args)  # type: ignore[attr-defined]
    process.start()
    return process


@contextmanager
def child_of(method: str, target: Any, *args: Any) -> Iterator[Any]:
    """The same, killed at the end if it still runs."""
    from tests.process.support import running

    with running(start(method, target, *args)) as process:
        yield process


# --- publishers -----------------------------------------------------------------------------------------------------


def sealed(number: int) -> bytes:
    """A message of a length of its own, that says whether it is whole."""
    body = b"%d:" % number + bytes([number % 251]) * (number * 7 % 300)
    return zlib.crc32(body).to_bytes(4, "little") + body


def number_of(message: bytes) -> int:
    """Which one it is; a failure if it is torn."""
    assert zlib.crc32(message[4:]) == int.from_bytes(message[:4], "little"), "torn"
    return int(message[4:].split(b":", 1)[0])


def publish_numbers(multicast: Any, count: int) -> None:
    """Publish so many, and end without a word."""
    publisher = multicast.publisher()
    for number in range(count):
        assert publisher.publish(sealed(number)) == number


def publish_from_every_call(multicast: Any, rounds: int) -> None:
    """Messages 0, 1, ... by each way there is of publishing."""
    with multicast.publisher() as publisher:
        for number in range(0, rounds * 5, 5):
            assert publisher.publish(sealed(number)) == number
            while not publisher.try_publish(sealed(number + 1)):
                pass
            assert publisher.publish_many([sealed(number + 2), sealed(number + 3)]) == 2
            message = sealed(number + 4)
            with publisher.claim(nbytes=len(message)) as memory:
                memory[:] = message


def publish_and_fail(multicast: Any) -> None:
    publisher = multicast.publisher()
    publisher.publish(b"before")
    raise ZeroDivisionError("as planned")


def publish_then_wait(multicast: Any, told: Any, count: int) -> None:
    """Be the publisher until the pipe says so."""
    with multicast.publisher() as publisher:
        publisher.publish_many(range(count))
        told.send(os.getpid())
        told.recv()


# --- subscribers ----------------------------------------------------------------------------------------------------


def report_all(multicast: Any, told: Any, how: str = "iteration", start: Any = "latest") -> None:
    """Subscribe, say so, take everything until the publisher has closed, and say which ones it were."""
    with multicast.subscribe(start) as subscriber:
        told.send(os.getpid())
        told.send([number_of(message) for message in taken_by(subscriber, how)])


def taken_by(subscriber: Any, how: str) -> Iterator[bytes]:
    """Everything until the publisher has closed."""
    if how == "iteration":
        yield from subscriber
        return
    while True:
        try:
            if how == "recv_many":
                got = subscriber.recv_many(7, timeout=LONG)
            elif how == "view":
                with subscriber.view(timeout=LONG) as memory:
                    got = [bytes(memory)]
            elif how == "recv_envelope":
                envelope = subscriber.recv_envelope(timeout=LONG)
                assert envelope.sequence == number_of(envelope.message)
                assert envelope.lost == 0
                got = [envelope.message]
            elif how == "try_recv":
                message = subscriber.try_recv()
                got = [] if message is None else [message]
            else:
                got = [subscriber.recv(timeout=LONG)]
        except ipc.EndOfChannel:
            return
        yield from got


def come_and_go(multicast: Any, told: Any, times: int, each: int) -> None:
    """Subscribe again and again, and say the numbers of each run."""
    told.send(os.getpid())
    runs = []
    for turn in range(times):
        with multicast.subscribe("oldest" if turn % 2 else "latest") as subscriber:
            try:
                envelopes = [subscriber.recv_envelope(timeout=LONG) for _ in range(each)]
            except ipc.EndOfChannel:
                break
        assert all(envelope.sequence == number_of(envelope.message) for envelope in envelopes)
        runs.append([envelope.sequence for envelope in envelopes])
    told.send(runs)


def report_gaps(multicast: Any, told: Any, on_lap: str, observe: bool) -> None:
    """Once told to, take what a lossy subscriber gets until the publisher has closed; say (sequence, lost) of each, and
    all that was lost."""
    with multicast.subscribe(on_lap=on_lap, observe=observe, interval=0.001) as subscriber:
        told.send(os.getpid())
        told.recv()
        got = []
        while True:
            try:
                envelope = subscriber.recv_envelope(timeout=LONG)
            except ipc.EndOfChannel:
                break
            assert number_of(envelope.message) == envelope.sequence
            got.append((envelope.sequence, envelope.lost))
        told.send((got, subscriber.lost))


def echo(there: Any, back: Any, told: Any) -> None:
    """Publish on one what comes from the other, until the end."""
    with there.subscribe() as subscriber, back.publisher() as publisher:
        told.send(os.getpid())
        while not is_end(message := subscriber.recv(timeout=LONG)):
            publisher.publish(message)


def is_end(message: Any) -> bool:
    """Arrays compare element by element, so not simply by `==`."""
    return isinstance(message, str) and message == END


def hand_on(method: str, multicast: Any, told: Any, depth: int) -> None:
    """Start a child with the same multicast, and so on; the last one publishes, all of them listen."""
    with multicast.subscribe() as subscriber:
        if depth == 0:
            publish_numbers(multicast, 5)
        else:
            with child_of(method, hand_on, method, multicast, told, depth - 1) as child:
                child.join()
                assert child.exitcode == 0
        told.send([number_of(subscriber.recv(timeout=LONG)) for _ in range(5)])


def open_what_comes(inbox: Any, outbox: Any) -> None:
    """The name of a multicast comes through a channel; say what was published there."""
    with ipc.Multicast.attach(inbox.recv()) as multicast, multicast.subscribe("oldest") as subscriber:
        for message in subscriber:
            outbox.send(message)


def from_containers(handles: dict[str, Any], *, told: Any) -> None:
    """Multicasts in containers: take from one, publish to the other."""
    subscriber, publisher = handles["in"][0].subscribe("oldest"), handles["out"].publisher()
    publisher.publish(subscriber.recv(timeout=LONG))
    told.send(handles["out"].name)


def try_the_ends(told: Any, publisher: Any, subscriber: Any, observer: Any) -> None:
    """What comes of using those of another process."""
    calls = {
        "publish": lambda: publisher.publish(b"x"),
        "publish an object": lambda: publisher.publish(1, topic="t"),
        "try_publish": lambda: publisher.try_publish(b"x"),
        "publish_many": lambda: publisher.publish_many([b"x"]),
        "claim": lambda: publisher.claim(nbytes=3).__enter__(),
        "recv": subscriber.recv,
        "recv in time": lambda: subscriber.recv(timeout=0.1),
        "try_recv": subscriber.try_recv,
        "recv_many": subscriber.recv_many,
        "recv_envelope": subscriber.recv_envelope,
        "view": lambda: subscriber.view().__enter__(),
        "iteration": lambda: next(subscriber),
        "observer": observer.recv,
        "observer tries": observer.try_recv,
    }
    outcomes = {}
    for name, call in calls.items():
        try:
            call()
            outcomes[name] = "returned"
        except Exception as error:
            outcomes[name] = type(error).__name__
    for end in (publisher, subscriber, observer):
        end.close()
    told.send(outcomes)


# --- of those that die or stop --------------------------------------------------------------------------------------


def publish_until_killed(multicast: Any, board: Any) -> None:
    """Go on behind whoever published before; what publish() has returned from stands on the board."""
    publisher = multicast.publisher()
    number = publisher.stats().sent
    while True:
        assert publisher.publish(sealed(number)) == number
        number += 1
        board[0] = number


def follow(multicast: Any, told: Any, **how: Any) -> None:
    """Take everything, whoever publishes, until one of them closes; say (sequence, lost) of each, how often a death was
    told, and all that was lost."""
    got, deaths = [], 0
    with multicast.subscribe(**how) as subscriber:
        told.send(os.getpid())
        while True:
            try:
                envelope = subscriber.recv_envelope(timeout=LONG)
            except ipc.PeerDiedError:
                deaths += 1
                continue
            except ipc.EndOfChannel:
                break
            assert number_of(envelope.message) == envelope.sequence
            got.append((envelope.sequence, envelope.lost))
        told.send((got, deaths, subscriber.lost))


def poll(attempt: Any) -> None:
    """Until it gives something."""
    while not attempt():
        time.sleep(0.001)


def poll_in_no_time(attempt: Any) -> None:
    """Until it doesn't say that it had no time."""
    while True:
        with suppress(ipc.TimeoutError):
            attempt()
            return
        time.sleep(0.001)


def claim(publisher: Any, timeout: float | None = None) -> None:
    """Publish by a claim."""
    with publisher.claim(nbytes=500, timeout=timeout) as memory:
        memory[:] = bytes(500)


CALLS = {
    "recv": lambda subscriber: subscriber.recv(),
    "recv in time": lambda subscriber: subscriber.recv(timeout=3600),
    "recv_many": lambda subscriber: subscriber.recv_many(),
    "recv_envelope": lambda subscriber: subscriber.recv_envelope(),
    "view": lambda subscriber: subscriber.view().__enter__(),
    "iteration": next,
}
POLLING = {
    "try_recv": lambda subscriber: poll(lambda: subscriber.try_recv() is not None),
    "recv at once": lambda subscriber: poll_in_no_time(lambda: subscriber.recv(timeout=0)),
    "recv_many at once": lambda subscriber: poll_in_no_time(lambda: subscriber.recv_many(timeout=0)),
}
PUBLISHING = {
    "publish": lambda publisher: publisher.publish(bytes(500)),
    "publish an object": lambda publisher: publisher.publish([1] * 200, topic="t"),
    "publish in time": lambda publisher: publisher.publish(bytes(500), timeout=3600),
    "publish_many": lambda publisher: publisher.publish_many([bytes(500)] * 3),
    "claim": claim,
}
PUBLISHING_BY_POLLS = {
    "try_publish": lambda publisher: poll(lambda: publisher.try_publish(bytes(500))),
    "publish at once": lambda publisher: poll_in_no_time(lambda: publisher.publish(bytes(500), timeout=0)),
    "publish_many at once": lambda publisher: poll_in_no_time(lambda: publisher.publish_many([bytes(500)], timeout=0)),
    "claim at once": lambda publisher: poll_in_no_time(lambda: claim(publisher, 0)),
}


def fill(publisher: Any) -> int:
    """Leave no room for another 500 bytes; how many went."""
    count = 0
    while publisher.try_publish(bytes(500)):
        count += 1
    return count


def tell_what_comes_of(call: Any, end: Any, told: Any) -> None:
    """Make the call, and tell what comes of it, and when; again for as long as the pipe says so."""
    told.send(os.getpid())
    again = True
    while again:
        got = None
        try:
            got = call(end)
            outcome = "returned"
        except KeyboardInterrupt:
            outcome = "KeyboardInterrupt"
        except Exception as error:
            outcome = f"{type(error).__name__}: {error}"
        told.send((outcome, time.monotonic()))
        again = told.recv() == "again"
        del got  # a view is put back


def receive_in(multicast: Any, told: Any, call: str, prepare: Any = None, **how: Any) -> None:
    """Subscribe, and make a call that waits for a message."""
    with multicast.subscribe(**how) as subscriber:
        if prepare is not None:
            prepare()
        tell_what_comes_of({**CALLS, **POLLING}[call], subscriber, told)


def publish_in(multicast: Any, told: Any, call: str, prepare: Any = None) -> None:
    """Publish until there is no room, and make a call that waits for it."""
    with multicast.publisher() as publisher:
        if prepare is not None:
            prepare()
        fill(publisher)
        tell_what_comes_of(PUBLISHING[call], publisher, told)


def subscribe_then_wait(multicast: Any, told: Any, *take: Any) -> None:
    """Subscribe, make calls, say so, and do nothing until the pipe says so."""
    with multicast.subscribe() as subscriber:
        told.send(os.getpid())
        kept = [each(subscriber) for each in take]
        told.send("here")
        told.recv()
        del kept


@contextmanager
def forked_with_pipe(role: Any, multicast: Any, *more: Any, **named: Any) -> Iterator[tuple[Any, Any]]:
    """A forked child in that role, which has said that it is there; and our end of its pipe."""
    from tests.process.support import Forked, pipe, receive

    with pipe() as (ours, told), Forked(partial(role, multicast, told, *more, **named)) as child:
        receive(ours)
        yield child, ours

"""A signal's handler may raise any error while messages are decoded, an alarm's TimeoutError say: it is the call's."""

from __future__ import annotations

import _thread
import functools
import queue as standard
import signal
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import ipc
from ipc._core.handlers import interrupts

MESSAGES = 20


class Alarm(Exception):
    """What the handler raises: no KeyboardInterrupt, but an Exception."""


def _raises(*_: object) -> None:
    raise Alarm


class _Handler:
    def method(self, *_: object) -> None:
        raise Alarm

    def __call__(self, *_: object) -> None:
        raise Alarm


HANDLERS: dict[str, Callable[..., Any]] = {
    "function": _raises,
    "method": _Handler().method,
    "partial": functools.partial(functools.partial(_raises, 1), 2),
    "object": _Handler(),
}


@pytest.fixture(params=list(HANDLERS))
def alarm(request: pytest.FixtureRequest) -> Iterator[None]:
    before = signal.signal(signal.SIGUSR1, HANDLERS[request.param])
    yield
    signal.signal(signal.SIGUSR1, before)


class Ringing:
    """Raises the signal when it is loaded, or dumped, for the first time after it was set."""

    when: str | None = None

    def __init__(self, number: int) -> None:
        self.number = number

    def __reduce__(self) -> Any:
        self.ring("dump")
        return self.load, (self.number,)

    @staticmethod
    def load(number: int) -> int:
        if number == MESSAGES // 2:
            Ringing.ring("load")
        return number

    @staticmethod
    def ring(when: str) -> None:
        if Ringing.when == when:
            Ringing.when = None
            signal.raise_signal(signal.SIGUSR1)


@pytest.fixture
def ringing() -> Iterator[Callable[[str], None]]:
    def choose(when: str) -> None:
        Ringing.when = when

    yield choose
    Ringing.when = None


# --- telling them apart -------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("alarm")
def test_what_a_handler_raises_is_told_from_what_others_raise() -> None:
    with pytest.raises(Alarm) as by_handler:
        signal.raise_signal(signal.SIGUSR1)
    assert interrupts(by_handler.value)
    with pytest.raises(ZeroDivisionError) as by_itself:
        _ = 1 / 0
    assert not interrupts(by_itself.value)
    assert not interrupts(Alarm())


# --- batches ------------------------------------------------------------------------------------------------------

NUMBERS = list(range(MESSAGES))


def of_channel() -> tuple[Any, Callable[[list[Any]], object], Callable[[], list[Any]]]:
    tx, rx = ipc.channel(spin=0)
    return (tx, rx), tx.send_many, rx.recv_many


def of_queue(wrap: Callable[[Any], Any]) -> tuple[Any, Callable[[list[Any]], object], Callable[[], list[Any]]]:
    queue: ipc.Queue[Any] = ipc.Queue(spin=0)
    return (queue,), lambda many: queue.put_many(list(map(wrap, many))), queue.get_many


def of_reliable() -> tuple[Any, Callable[[list[Any]], object], Callable[[], list[Any]]]:
    queue: ipc.ReliableQueue[Any] = ipc.ReliableQueue(spin=0)

    def get_many() -> list[Any]:
        deliveries = queue.get_many()
        queue.ack_many(deliveries)
        return [delivery.message for delivery in deliveries]

    return (queue,), queue.put_many, get_many


def of_multicast() -> tuple[Any, Callable[[list[Any]], object], Callable[[], list[Any]]]:
    multicast: ipc.Multicast[Any] = ipc.Multicast(spin=0)
    publisher, subscriber = multicast.publisher(), multicast.subscribe()
    return (subscriber, publisher, multicast), publisher.publish_many, subscriber.recv_many


BATCHES: dict[str, Callable[[], Any]] = {
    "channel": of_channel,
    "queue": lambda: of_queue(lambda message: message),
    "queue, lists": lambda: of_queue(lambda message: [message]),  # which the accelerator pickles itself
    "reliable queue": of_reliable,
    "multicast": of_multicast,
}


@pytest.mark.usefixtures("alarm")
@pytest.mark.parametrize("made", BATCHES.values(), ids=BATCHES)
def test_an_alarm_while_a_batch_is_decoded_is_raised_and_the_batch_stays(
    made: Callable[[], Any], ringing: Callable[[str], None]
) -> None:
    handles, put_many, get_many = made()
    put_many([Ringing(number) for number in NUMBERS])
    ringing("load")
    with pytest.raises(Alarm):
        get_many()
    assert np.ravel(get_many()).tolist() == NUMBERS
    for handle in handles:
        handle.close()


class Trips:
    """Loading it trips the signal, but runs no Python code in which its handler could run."""

    def __reduce__(self) -> Any:
        return _thread.interrupt_main, (signal.SIGUSR1,)


@pytest.mark.usefixtures("alarm")
@pytest.mark.parametrize("made", BATCHES.values(), ids=BATCHES)
def test_an_alarm_that_comes_while_native_code_decodes_a_batch_is_heard_before_it_is_taken(
    made: Callable[[], Any],
) -> None:
    handles, put_many, get_many = made()
    put_many([1, Trips(), 3])
    with pytest.raises(Alarm):
        get_many()
    signal.signal(signal.SIGUSR1, lambda *_: None)  # the fixture puts back what was before
    assert np.ravel(get_many()).tolist() == [1, None, 3]
    for handle in handles:
        handle.close()


@pytest.mark.usefixtures("alarm")
@pytest.mark.parametrize("kind", [list, iter], ids=["list", "iterator"])
def test_an_alarm_while_a_batch_is_put_into_a_full_queue_does_not_wait_for_room(
    kind: Callable[[Any], Any], ringing: Callable[[str], None]
) -> None:
    with ipc.Queue[Any](maxsize=1) as queue:
        queue.put("in the way")
        ringing("dump")
        with pytest.raises(Alarm) as raised:
            queue.put_many(kind([[Ringing(1)], [Ringing(2)]]), timeout=None)
        assert raised.value.put == 0  # type: ignore[attr-defined]
        assert queue.get() == "in the way"


@pytest.mark.usefixtures("alarm")
def test_an_alarm_while_a_batch_is_sent_to_a_full_channel_does_not_wait_for_room(
    ringing: Callable[[str], None],
) -> None:
    tx, rx = ipc.channel(capacity=4096, spin=0)
    with tx, rx:
        tx.send(bytes(3000))
        ringing("dump")
        with pytest.raises(Alarm) as raised:
            tx.send_many([bytes(3000), Ringing(1)])
        assert raised.value.sent == 0  # type: ignore[attr-defined]
        assert rx.recv() == bytes(3000)
        with pytest.raises(ipc.TimeoutError):
            rx.recv(0)


# --- one message --------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("alarm")
def test_an_alarm_while_dead_letters_are_moved_or_listed_is_raised_and_they_stay(
    ringing: Callable[[str], None],
) -> None:
    with ipc.ReliableQueue[Any]() as letters, ipc.ReliableQueue[Any](max_deliveries=1, dead_letter=letters) as queue:
        queue.put(Ringing(MESSAGES // 2))
        queue.get().nack()
        ringing("load")
        with pytest.raises(Alarm):
            queue.dead_letters()
        ringing("load")
        with pytest.raises(Alarm):
            queue.get(0)
        assert queue.stats().kept == 1
        with pytest.raises(standard.Empty):
            queue.get(0)
        assert letters.get(0).message.message == MESSAGES // 2

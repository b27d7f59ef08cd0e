"""The same as scribbled.py with multicasts: a process that publishes, one that subscribes in every way, and one that
writes into their memory all the time.

    python -m tests.process.scribbled_multicasts ROLE DIRECTORY SECONDS SEED
"""

from __future__ import annotations

import contextlib
import faulthandler
import mmap
import random
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ipc
from tests.process import scribbled

NAME = "scribbled"
CAPACITY = 1 << 15
ENTRIES = CAPACITY // 128
CURSORS = 4 * 128
ENTRIES_BEGIN = CURSORS + 1024 * 128
PUBLISHED, OLDEST = 256, 256 + 8
SIGNALS = (384, 384 + 80)  # gates, the publisher's state, who is to blame, how many cursors were ever used
TOPICS = (None, None, "a", "prices.eur")


def entry_at(memory: mmap.mmap, sequence: int) -> int:
    return ENTRIES_BEGIN + sequence % ENTRIES * 64


def scribble(memory: mmap.mmap, dice: random.Random) -> None:
    """A few bytes or words: mostly payload, or no message would ever arrive."""
    where = dice.random()
    near = (-64, -8, -1, 1, 2, 8, 64, 2**32, 2**63)
    for _ in range(dice.randrange(1, 4)):
        if where < 0.90:
            memory[dice.randrange(len(memory) - CAPACITY, len(memory))] = dice.getrandbits(8)
        elif where < 0.94:  # a word of an entry: number, position, length, topic and encoding, bytes, topic's length
            at = entry_at(memory, scribbled.word(memory, PUBLISHED) + dice.randrange(-8, 2)) + dice.randrange(6) * 8
            scribbled.put_word(memory, at, scribbled.word(memory, at) + dice.choice(near))
        elif where < 0.96:
            at = dice.choice((PUBLISHED, OLDEST))
            scribbled.put_word(memory, at, scribbled.word(memory, at) + dice.choice(near))
        elif where < 0.98:  # cursors: a state, or where it is
            memory[CURSORS + dice.randrange(4) * 128 + dice.randrange(16)] = dice.getrandbits(8)
        elif where < 0.99:
            memory[dice.randrange(*SIGNALS)] = dice.getrandbits(8)
        else:
            memory[dice.randrange(0, 256)] = dice.getrandbits(8)


def be_scribbler(directory: Path, until: float, dice: random.Random) -> dict[str, int]:
    return scribbled.scribble_over(directory / NAME, scribble, until, dice)


# --- those who talk -----------------------------------------------------------------------------------------------


def claim(publisher: ipc.Publisher[Any], topic: str | None) -> None:
    with publisher.claim((30, 4), "f4", topic=topic, timeout=0.02) as array:
        array[:] = 1.0


def publishing(publisher: ipc.Publisher[Any], dice: random.Random) -> Callable[[], object]:
    topic = dice.choice(TOPICS)
    return dice.choice(
        (
            lambda: publisher.publish(scribbled.objects(dice), topic=topic, timeout=0.02),
            lambda: publisher.publish(bytes(100), timeout=0.02),
            lambda: publisher.try_publish(scribbled.objects(dice), topic=topic),
            lambda: publisher.publish_many([scribbled.objects(dice) for _ in range(5)], topic=topic, timeout=0.02),
            lambda: claim(publisher, topic),
            lambda: ipc.stats(NAME),
        )
    )


def view(subscriber: ipc.Subscriber[Any]) -> None:
    import numpy as np

    with subscriber.view(0.02) as seen:
        if isinstance(seen, memoryview | np.ndarray):  # pickles come as objects
            bytes(seen)


def receiving(subscriber: ipc.Subscriber[Any], dice: random.Random) -> Callable[[], object]:
    return dice.choice(
        (
            lambda: subscriber.recv(0.02),
            subscriber.try_recv,
            lambda: subscriber.recv_many(20, 0.02),
            lambda: subscriber.recv_envelope(0.02),
            lambda: view(subscriber),
            lambda: subscriber.lost,
            lambda: ipc.stats(NAME),
        )
    )


def subscribe(multicast: ipc.Multicast[Any], dice: random.Random) -> ipc.Subscriber[Any]:
    return multicast.subscribe(
        dice.choice(("latest", "oldest", dice.randrange(50))),  # type: ignore[arg-type]
        topics=dice.choice((None, None, "a", ["prices.eur", "a"])),
        on_lap=dice.choice(("oldest", "latest")),  # type: ignore[arg-type]
        observe=dice.random() < 0.3,
    )


def use(end: Any, calls: Callable[[Any, random.Random], Callable[[], object]], dice: random.Random,
        met: Counter[str]) -> None:  # fmt: skip
    """A round of calls; errors after which the end is no use any more end it."""
    over = (ipc.CorruptSegmentError, ipc.EndOfChannel, ipc.PeerDiedError, ipc.ClosedError, ipc.LaggedOutError)
    for _ in range(scribbled.CALLS):
        try:
            calls(end, dice)()
            met["calls that worked"] += 1
        except Exception as error:
            lends_nothing = isinstance(error, TypeError) and "can't lend messages" in str(error)
            if not scribbled.is_allowed(error) and not lends_nothing:
                raise
            met[type(error).__name__] += 1
            if isinstance(error, over):
                return


def options(dice: random.Random) -> dict[str, Any]:
    return dice.choice(
        (
            {"policy": "lossless"},
            {"policy": "lossless", "max_lag": 20},
            {"policy": "lossless", "on_laggard": "evict"},
            {"policy": "lossy"},
        )
    )


def be_publisher(directory: Path, until: float, dice: random.Random, met: Counter[str]) -> None:
    while time.monotonic() < until:
        faulthandler.dump_traceback_later(scribbled.PATIENCE_SECONDS, exit=True)
        with contextlib.suppress(FileNotFoundError):  # ipc.rm doesn't know it any more
            (directory / NAME).unlink()
        try:
            multicast: ipc.Multicast[Any] = ipc.Multicast(NAME, capacity=CAPACITY, **options(dice))
        except ipc.IpcError as error:
            met[f"creating: {type(error).__name__}"] += 1
            continue
        with multicast:
            for _ in range(3):  # a successor goes on where the one before stopped, if what it finds can be believed
                try:
                    publisher = multicast.publisher()
                except ipc.CorruptSegmentError:
                    met["no successor: CorruptSegmentError"] += 1
                    break
                with publisher:
                    use(publisher, publishing, dice, met)
        met["rounds"] += 1


def be_subscriber(directory: Path, until: float, dice: random.Random, met: Counter[str]) -> None:
    while time.monotonic() < until:
        faulthandler.dump_traceback_later(scribbled.PATIENCE_SECONDS, exit=True)
        try:
            multicast: ipc.Multicast[Any] = ipc.Multicast.attach(NAME)
        except ipc.IpcError as error:
            met[f"attaching: {type(error).__name__}"] += 1
            time.sleep(0.0005)
            continue
        with multicast:  # whoever finds the segment too damaged to attach waits for the next one
            for _ in range(3):
                try:
                    subscriber = subscribe(multicast, dice)
                except (ipc.IpcError, ValueError) as error:  # ValueError: that number is not kept
                    met[f"subscribing: {type(error).__name__}"] += 1
                    continue
                with subscriber:
                    use(subscriber, receiving, dice, met)
        met["rounds"] += 1


if __name__ == "__main__":
    scribbled.play(be_scribbler, {"publisher": be_publisher, "subscriber": be_subscriber}, *sys.argv[1:])

"""The same as scribbled.py with a multicast: a process that publishes, one that subscribes and observes, and one that
writes into its memory all the time.  Run as `python -m tests.process.scribbled_multicast ROLE DIRECTORY SECONDS SEED`.
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
CAPACITY = 1 << 16
LINE = 128
PUBLISHED = 2 * LINE  # and `oldest` behind it; see native/multicast_format.h
GATES = (3 * LINE, 4 * LINE)
CURSORS = 4 * LINE
HEADER = CURSORS + 1024 * LINE
ENTRY = 64
TOPICS = (None, None, "a", "b" * 100)
KINDS: tuple[dict[str, Any], ...] = (
    {},
    {"policy": "lossy"},
    {"on_laggard": "evict", "max_lag": 20},
    {"max_lag": 5},
)


def scribble(memory: mmap.mmap, dice: random.Random) -> None:
    """A few bytes or words: mostly payload, or no message would ever arrive."""
    where = dice.random()
    data = len(memory) - CAPACITY
    for _ in range(dice.randrange(1, 6)):
        if where < 0.88:
            memory[dice.randrange(data, len(memory))] = dice.getrandbits(8)
        elif where < 0.93:  # a word of an entry near the newest, or one byte of it
            entries = (data - HEADER) // ENTRY
            number = scribbled.word(memory, PUBLISHED) - dice.randrange(-1, 5)
            at = HEADER + number % entries * ENTRY + dice.randrange(6) * 8
            if dice.random() < 0.5:
                memory[at] = dice.getrandbits(8)
            else:
                near = scribbled.word(memory, at) + dice.choice((-64, -8, -1, 1, 8, CAPACITY, 2**32))
                scribbled.put_word(memory, at, near)
        elif where < 0.96:  # `published`, `oldest`, near to what they are
            at = PUBLISHED + dice.choice((0, 8))
            scribbled.put_word(memory, at, scribbled.word(memory, at) + dice.choice((-1000, -2, -1, 1, 2, 1000, 2**63)))
        elif where < 0.98:  # the first cursors: states, next
            memory[CURSORS + dice.randrange(4) * LINE + dice.randrange(24)] = dice.getrandbits(8) & 7
        elif where < 0.99:
            memory[dice.randrange(*GATES)] = dice.getrandbits(8) & 3
        else:
            memory[dice.randrange(0, PUBLISHED)] = dice.getrandbits(8)


def be_scribbler(directory: Path, until: float, dice: random.Random) -> dict[str, int]:
    return scribbled.scribble_over(directory / NAME, scribble, until, dice)


# --- those who talk -----------------------------------------------------------------------------------------------


def claim(publisher: ipc.Publisher[Any]) -> None:
    with publisher.claim((30, 4), "f4", topic="a", timeout=0.02) as array:
        array[:] = 1.0


def publishing(publisher: ipc.Publisher[Any], dice: random.Random) -> Callable[[], object]:
    topic = dice.choice(TOPICS)
    return dice.choice(
        (
            lambda: publisher.publish(scribbled.objects(dice), topic=topic, timeout=0.02),
            lambda: publisher.try_publish(scribbled.objects(dice), topic=topic),
            lambda: publisher.publish_many([scribbled.objects(dice) for _ in range(5)], topic=topic, timeout=0.02),
            lambda: publisher.publish(bytes(100), timeout=0.02),
            lambda: claim(publisher),
            publisher.stats,
        )
    )


def view(subscriber: ipc.Subscriber[Any]) -> None:
    import numpy as np

    with contextlib.suppress(TypeError):  # what may be overwritten is not lent
        lending = subscriber.view(0.02)
        with lending as seen:
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
            lambda: ipc.stats(NAME),
            subscriber.stats,
            lambda: subscriber.lost,
        )
    )


def be_publisher(directory: Path, until: float, dice: random.Random, met: Counter[str]) -> None:
    while time.monotonic() < until:
        faulthandler.dump_traceback_later(scribbled.PATIENCE_SECONDS, exit=True)
        with contextlib.suppress(FileNotFoundError):  # ipc.rm doesn't know it any more
            (directory / NAME).unlink()
        try:
            multicast = ipc.Multicast[Any](NAME, capacity=CAPACITY, **dice.choice(KINDS))
            publisher = multicast.publisher()
        except ipc.IpcError as error:
            met[f"creating: {type(error).__name__}"] += 1
            continue
        with multicast:
            scribbled.use(publisher, publishing, dice, met)
        met["rounds"] += 1


def be_subscriber(directory: Path, until: float, dice: random.Random, met: Counter[str]) -> None:
    while time.monotonic() < until:
        faulthandler.dump_traceback_later(scribbled.PATIENCE_SECONDS, exit=True)
        try:
            multicast = ipc.Multicast.attach(NAME)
        except ipc.IpcError as error:
            met[f"attaching: {type(error).__name__}"] += 1
            time.sleep(0.0005)
            continue
        with multicast:  # whoever finds the segment too damaged to attach waits for the next one
            start: Any = dice.choice(("latest", "oldest", "oldest", dice.randrange(1000)))
            topics = dice.choice((None, None, "a", ["a", "b" * 100]))
            try:
                subscriber = multicast.subscribe(
                    start,
                    topics,
                    on_lap=dice.choice(("oldest", "latest")),
                    observe=dice.random() < 0.3,
                    interval=0.001,
                )
            except (ipc.IpcError, ValueError) as error:  # ValueError: no such number
                met[f"subscribing: {type(error).__name__}"] += 1
                time.sleep(0.0005)
                continue
            scribbled.use(subscriber, receiving, dice, met)
        met["rounds"] += 1


if __name__ == "__main__":
    scribbled.play(be_scribbler, {"publisher": be_publisher, "subscriber": be_subscriber}, *sys.argv[1:])

"""The same as scribbled.py with queues: two processes that put and take through a named reliable queue, and one that
writes into its memory all the time.  Run as `python -m tests.process.scribbled_queues ROLE DIRECTORY SECONDS SEED`.
"""

from __future__ import annotations

import contextlib
import faulthandler
import mmap
import queue
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
LANE = 1 << 14
HEADER = 1 << 15  # and more: holders, and the words of the first lanes
SLOT = 64
FIRST_WORDS = 4 * 128 + 16384  # of lane 0
GATES = (256, 384 + 8)


def slots_begin(memory: mmap.mmap) -> int:
    """Where the first lane's slots are, by the geometry (header_bytes)."""
    return min(scribbled.word(memory, 40), len(memory) - SLOT)


def scribble(memory: mmap.mmap, dice: random.Random) -> None:
    """A few bytes or words: mostly payload, or no message would ever arrive."""
    where = dice.random()
    begin = slots_begin(memory)
    for _ in range(dice.randrange(1, 6)):
        if where < 0.90:
            memory[dice.randrange(begin + LANE, len(memory))] = dice.getrandbits(8)
        elif where < 0.93:  # a word of a slot, or one byte of it
            memory[begin + dice.randrange(min(16 * SLOT, len(memory) - begin))] = dice.getrandbits(8)
        elif where < 0.95:  # a word of a lane, near to what it was: hints, what is freed, marks
            at = FIRST_WORDS + dice.randrange(48) * 8
            scribbled.put_word(memory, at, scribbled.word(memory, at) + dice.choice((-64, -1, 1, 2, 8, 2**32)))
        elif where < 0.98:  # gates, shutdown, high-water marks of lanes and holders
            memory[dice.randrange(*GATES)] = dice.getrandbits(8) & 3
        elif where < 0.99:
            memory[512 + dice.randrange(256)] = dice.getrandbits(8)  # holders
        else:
            memory[dice.randrange(0, 256)] = dice.getrandbits(8)


def be_scribbler(directory: Path, until: float, dice: random.Random) -> dict[str, int]:
    return scribbled.scribble_over(directory / NAME, scribble, until, dice)


def message(dice: random.Random) -> bytes:
    """Bytes only: what a garbage pickle does, it does (scribbled.py has them)."""
    return bytes(dice.choice((0, 1, 100, 3000, LANE // 2)))


def finish(delivery: ipc.Delivery[Any], dice: random.Random) -> None:
    dice.choice(
        (
            delivery.ack,
            delivery.ack,
            delivery.ack,
            delivery.nack,
            lambda: delivery.nack(delay=0.1),
            lambda: delivery.extend(0.5),
        )
    )()


def get(q: ipc.ReliableQueue[Any], dice: random.Random) -> None:
    finish(q.get(timeout=0.02), dice)


def get_many(q: ipc.ReliableQueue[Any], dice: random.Random) -> None:
    for delivery in q.get_many(8, timeout=0.02):
        finish(delivery, dice)


def look_at_kept(q: ipc.ReliableQueue[Any]) -> None:
    for letter in q.dead_letters():
        q.requeue(letter.id)
        return


def putting(q: ipc.ReliableQueue[Any], dice: random.Random) -> Callable[[], object]:
    return dice.choice(
        (
            lambda: q.put(message(dice), timeout=0.02),
            lambda: q.put(message(dice), timeout=0.02, ttl=0.2),
            lambda: q.put_many([message(dice) for _ in range(5)], timeout=0.02),
            lambda: q.put(message(dice), timeout=0.02).wait(0.02),
            q.qsize,
            q.stats,
        )
    )


def taking(q: ipc.ReliableQueue[Any], dice: random.Random) -> Callable[[], object]:
    return dice.choice(
        (
            lambda: get(q, dice),
            lambda: get(q, dice),
            lambda: get_many(q, dice),
            lambda: look_at_kept(q),
            q.purge if dice.random() < 0.05 else q.qsize,
            lambda: ipc.stats(NAME),
            q.stats,
        )
    )


def use(q: Any, calls: Callable[[Any, random.Random], Callable[[], object]], dice: random.Random,
        met: Counter[str]) -> None:  # fmt: skip
    """A round of calls; errors after which the handle is no use any more end it."""
    for _ in range(scribbled.CALLS):
        try:
            calls(q, dice)()
            met["calls that worked"] += 1
        except (queue.Empty, queue.Full) as error:
            met[type(error).__name__] += 1
        except ipc.ShutDown as error:  # of the standard library's kind; the scribbler may shut the queue
            met[type(error).__name__] += 1
            return
        except Exception as error:
            if (
                not scribbled.is_allowed(error) and type(error) is not LookupError
            ):  # of requeue: somebody else was faster
                raise
            met[type(error).__name__] += 1
            if isinstance(error, ipc.CorruptSegmentError | ipc.ClosedError):
                return


def be_producer(directory: Path, until: float, dice: random.Random, met: Counter[str]) -> None:
    while time.monotonic() < until:
        faulthandler.dump_traceback_later(scribbled.PATIENCE_SECONDS, exit=True)
        with contextlib.suppress(FileNotFoundError):  # ipc.rm doesn't know it any more
            (directory / NAME).unlink()
        try:
            q: ipc.ReliableQueue[Any] = ipc.ReliableQueue(
                name=NAME, capacity=LANE, lease=0.3, max_deliveries=3, lanes=4
            )
        except ipc.IpcError as error:
            met[f"creating: {type(error).__name__}"] += 1
            continue
        with contextlib.closing(q):
            use(q, putting, dice, met)
        met["rounds"] += 1


def be_consumer(directory: Path, until: float, dice: random.Random, met: Counter[str]) -> None:
    while time.monotonic() < until:
        faulthandler.dump_traceback_later(scribbled.PATIENCE_SECONDS, exit=True)
        try:
            q: ipc.ReliableQueue[Any] = ipc.ReliableQueue.attach(NAME)
        except ipc.IpcError as error:
            met[f"attaching: {type(error).__name__}"] += 1
            time.sleep(0.0005)
            continue
        with contextlib.closing(q):  # whoever finds the segment too damaged to attach waits for the next one
            use(q, taking, dice, met)
        met["rounds"] += 1


if __name__ == "__main__":
    scribbled.play(be_scribbler, {"producer": be_producer, "consumer": be_consumer}, *sys.argv[1:])

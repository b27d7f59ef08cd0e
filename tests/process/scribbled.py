"""Processes for test_scribbler.py: two that talk through a named channel, and one that writes into its memory all the
time.  Run as `python -m tests.process.scribbled ROLE DIRECTORY SECONDS SEED`; the talkers print what they met as JSON.
"""

from __future__ import annotations

import contextlib
import faulthandler
import json
import mmap
import pickle
import random
import resource
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ipc
from ipc._core.native import fast

NAME = "scribbled"
CAPACITY = 1 << 16
PATIENCE_SECONDS = 60  # for one round of calls, each of which may wait for 20 ms
MEMORY = 3 << 30  # garbage may ask an unpickler for any amount
CALLS = 300  # of a round
HEADER = 1024
POSITIONS = (256, 384)  # the sender's, the receiver's
OVER = (ipc.CorruptSegmentError, ipc.EndOfChannel, ipc.PeerDiedError, ipc.ClosedError, ipc.LaggedOutError)
UNPICKLING = {"_decode_pickle", "_decode_pickle_with_buffers", "_read_pickle", "_read_pickle_with_buffers"}


# --- the scribbler ------------------------------------------------------------------------------------------------


def word(memory: mmap.mmap, at: int) -> int:
    return int.from_bytes(memory[at : at + 8], "little")


def put_word(memory: mmap.mmap, at: int, value: int) -> None:
    memory[at : at + 8] = (value % 2**64).to_bytes(8, "little")


def scribble(memory: mmap.mmap, dice: random.Random) -> None:
    """A few bytes or words: mostly payload, or no message would ever arrive."""
    where = dice.random()
    for _ in range(dice.randrange(1, 6)):
        if where < 0.88:
            memory[dice.randrange(HEADER, len(memory))] = dice.getrandbits(8)
        elif where < 0.94:  # statistics, marks, signals
            memory[dice.randrange(512, HEADER)] = dice.getrandbits(8)
        elif where < 0.96:  # a position, near to where it is
            at = dice.choice(POSITIONS)
            put_word(memory, at, word(memory, at) + dice.choice((-4096, -8, -1, 1, 8, 64, CAPACITY)))
        elif where < 0.99:  # the length of the record that the receiver is at
            at = len(memory) - CAPACITY + word(memory, POSITIONS[1]) % (CAPACITY - 7)
            put_word(memory, at, dice.choice((0, 8, CAPACITY - 16, CAPACITY, 2 * CAPACITY - 16, 2**63, 2**64 - 1)))
        else:
            memory[dice.randrange(0, 512)] = dice.getrandbits(8)


def scribble_over(
    path: Path, scribble: Callable[[mmap.mmap, random.Random], None], until: float, dice: random.Random
) -> dict[str, int]:
    """Flip bytes of whatever segment has that name, until then."""
    done: Counter[str] = Counter()
    while time.monotonic() < until:
        try:
            with path.open("r+b") as file, mmap.mmap(file.fileno(), 0) as memory:
                done["segments"] += 1
                for _ in range(100):
                    scribble(memory, dice)
                    done["scribbles"] += 1
                    if dice.random() < 0.3:
                        time.sleep(dice.random() * 0.002)
        except (FileNotFoundError, ValueError):  # between two segments, or one that has no size yet
            time.sleep(0.0005)
    return done


def be_scribbler(directory: Path, until: float, dice: random.Random) -> dict[str, int]:
    return scribble_over(directory / NAME, scribble, until, dice)


# --- those who talk -----------------------------------------------------------------------------------------------


def objects(dice: random.Random) -> Any:
    """Arrays, bytes, and pickles of plain objects only: one wrong byte in a pickle that names a type of numpy can crash
    numpy's __setstate__, which no transport can help."""
    import numpy as np

    size = dice.choice((0, 1, 100, 3000, 20_000))
    return dice.choice(
        (
            bytes(size),
            {"text": "x" * size, "numbers": list(range(size // 50)), "nothing": None},
            np.arange(size // 8, dtype="f8"),
            np.zeros((size // 100, 3), "i4, f8"),
            ["a", pickle.PickleBuffer(bytearray(size))],  # a pickle with a buffer of its own
            bytearray(size),
        )
    )


def claim(tx: ipc.Sender[Any]) -> None:
    with tx.claim((30, 4), "f4", timeout=0.02) as array:
        array[:] = 1.0


def view(rx: ipc.Receiver[Any]) -> None:
    import numpy as np

    with rx.view(0.02) as seen:
        if isinstance(seen, memoryview | np.ndarray):  # pickles come as objects
            bytes(seen)


def sending(tx: ipc.Sender[Any], dice: random.Random) -> Callable[[], object]:
    return dice.choice(
        (
            lambda: tx.send(objects(dice), timeout=0.02),
            lambda: tx.try_send(objects(dice)),
            lambda: tx.send_many([objects(dice) for _ in range(5)], timeout=0.02),
            lambda: tx.send(bytes(3 * CAPACITY), timeout=0.02),  # in parts
            lambda: claim(tx),
            lambda: tx.flush(0.02),
            tx.stats,
        )
    )


def receiving(rx: ipc.Receiver[Any], dice: random.Random) -> Callable[[], object]:
    return dice.choice(
        (
            lambda: rx.recv(0.02),
            rx.try_recv,
            lambda: rx.recv_many(20, 0.02),
            lambda: rx.recv_envelope(0.02),
            lambda: view(rx),
            lambda: ipc.stats(NAME),
            rx.stats,
        )
    )


def is_allowed(error: BaseException) -> bool:
    """Of the tree, or whatever a garbage pickle makes the unpickler raise, or the types that it names.

    The accelerator unpickles without a frame of its own: then the last one is that of the call itself.
    """
    trace, in_the_call = error.__traceback__, False
    while trace is not None:
        code = trace.tb_frame.f_code
        if code.co_name in UNPICKLING and code.co_filename.endswith("encoding.py"):
            return True
        in_the_call = code.co_name in {"<lambda>", "recv_envelope"} and fast is not None
        trace = trace.tb_next
    return in_the_call or isinstance(error, ipc.IpcError)


def use(end: Any, calls: Callable[[Any, random.Random], Callable[[], object]], dice: random.Random,
        met: Counter[str]) -> None:  # fmt: skip
    """A round of calls; errors after which the end is no use any more end it."""
    for _ in range(CALLS):
        try:
            calls(end, dice)()
            met["calls that worked"] += 1
        except Exception as error:
            if not is_allowed(error):
                raise
            met[type(error).__name__] += 1
            if isinstance(error, OVER):
                return


def be_sender(directory: Path, until: float, dice: random.Random, met: Counter[str]) -> None:
    while time.monotonic() < until:
        faulthandler.dump_traceback_later(PATIENCE_SECONDS, exit=True)
        with contextlib.suppress(FileNotFoundError):  # ipc.rm doesn't know it any more
            (directory / NAME).unlink()
        try:
            tx, rx = ipc.channel(NAME, capacity=CAPACITY)
        except ipc.IpcError as error:
            met[f"creating: {type(error).__name__}"] += 1
            continue
        with tx:
            rx.close()
            use(tx, sending, dice, met)
        met["rounds"] += 1


def be_receiver(directory: Path, until: float, dice: random.Random, met: Counter[str]) -> None:
    while time.monotonic() < until:
        faulthandler.dump_traceback_later(PATIENCE_SECONDS, exit=True)
        try:
            rx = ipc.Receiver.attach(NAME)
        except ipc.IpcError as error:
            met[f"attaching: {type(error).__name__}"] += 1
            time.sleep(0.0005)
            continue
        with rx:  # whoever finds the segment too damaged to attach waits for the next one
            use(rx, receiving, dice, met)
        met["rounds"] += 1


def play(
    scribbler: Callable[[Path, float, random.Random], dict[str, int]],
    talkers: dict[str, Callable[[Path, float, random.Random, Counter[str]], None]],
    role: str,
    directory: str,
    seconds: str,
    seed: str,
) -> None:
    faulthandler.enable()
    until, dice, met = time.monotonic() + float(seconds), random.Random(f"{role} {seed}"), Counter[str]()
    if role == "scribbler":
        met.update(scribbler(Path(directory), until, dice))
    else:
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
        talkers[role](Path(directory), until, dice, met)
        faulthandler.cancel_dump_traceback_later()
    print(json.dumps(met))


if __name__ == "__main__":
    play(be_scribbler, {"sender": be_sender, "receiver": be_receiver}, *sys.argv[1:])

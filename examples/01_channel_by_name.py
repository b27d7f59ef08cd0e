"""A channel between two processes that know nothing of each other but a name.

    python examples/01_channel_by_name.py                    both sides, as two plain subprocesses

or by hand, in two terminals and in either order:

    python examples/01_channel_by_name.py produce weather
    python examples/01_channel_by_name.py consume weather
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time

import ipc

READINGS = 10_000


def produce(name: str) -> None:
    """Create the channel, send readings and one picture, and wait until they are taken."""
    sender, receiver = ipc.channel(name)
    receiver.close()  # the other process has this end; here it isn't used
    with sender:
        for number in range(READINGS):
            sender.send({"station": number % 7, "celsius": 15 + number % 10})  # any object: it is pickled
        sender.send(b"\x89PNG..." * 1000)  # bytes go as they are
        sender.flush()
    print(f"produce: {READINGS} readings and a picture sent by process {os.getpid()}")


def consume(name: str) -> None:
    """Take whatever comes until the producer closes its end."""
    with attach(name) as receiver:
        readings = warmth = picture_bytes = 0
        for message in receiver:
            if isinstance(message, bytes):
                picture_bytes = len(message)
            else:
                readings += 1
                warmth += message["celsius"]
    assert readings == READINGS, readings
    print(f"consume: {readings} readings, {warmth / readings:.1f} degrees on average, in process {os.getpid()}")
    print(f"consume: a picture of {picture_bytes} bytes")


def attach(name: str) -> ipc.Receiver[dict[str, int] | bytes]:
    """Attach to the channel as soon as the producer has created it."""
    while True:
        with contextlib.suppress(ipc.SegmentNotFoundError):
            return ipc.Receiver.attach(name)
        time.sleep(0.05)


def both() -> None:
    """Run both sides as subprocesses; if one fails, end the other and leave nothing behind."""
    name = f"example-{os.getpid()}"
    sides = [subprocess.Popen([sys.executable, __file__, side, name]) for side in ("consume", "produce")]
    while any(side.poll() is None for side in sides):
        if any(side.poll() for side in sides):
            for side in sides:
                side.kill()
        time.sleep(0.01)
    if any(side.returncode for side in sides):
        with contextlib.suppress(ipc.SegmentNotFoundError):
            ipc.rm(name)
        sys.exit("one side failed")


if __name__ == "__main__":
    match sys.argv[1:]:
        case []:
            both()
        case ["produce", name]:
            produce(name)
        case ["consume", name]:
            consume(name)
        case _:
            sys.exit(__doc__)

"""Writes the golden segments, once per version of the format:

    python -m tests.golden.make > tests/golden/format_1.hex
    python -m tests.golden.make multicast > tests/golden/multicast_1.hex

A channel whose positions began 200 bytes before 2^64, so that they wrap, as the ring does, in an array; all messages
unread; its sender has closed.  A multicast whose numbers pass 2^32, and whose index and data have come round; its
publisher has closed, and a subscriber is in the middle of it.  What is different each time (uuid, pids, clocks) is
zeroed, so that two runs agree.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

import ipc
from ipc._core import arguments
from ipc._core.native import ffi, lib
from ipc._core.segment import Segment

CAPACITY = 4096
START = 2**64 - 200
NAME = "golden"

ARRAY = np.arange(12, dtype="<i2").reshape(3, 4)

# (message, type), with the encodings: bytes, pickle, array, pickle with buffers
MESSAGES: list[tuple[Any, int]] = [
    (b"", 0),
    (b"bytes", 7),
    ({"a": [1, 2.5, None]}, 2**32 - 1),
    (ARRAY, 1),
    (np.asfortranarray(ARRAY.astype(">f8")), 2),
    ((pickle.PickleBuffer(b"first buffer"), pickle.PickleBuffer(b"second")), 3),
    (b"\xa5" * 300, 0),
]

# What is zeroed: offset and size.  See docs/shm-format.md.
UUID, TIME_NAMESPACE, CREATOR = (64, 16), (80, 8), (88, 4)
TAKER, PINNED, SLEPT = (512 + 8, 4), (512 + 12, 4), (512 + 64, 8)
DIFFERENT = (UUID, TIME_NAMESPACE, CREATOR, TAKER, PINNED, SLEPT)


# A multicast's messages and their topics; those before them fill index and data, and are overwritten.
ENTRIES = 8
FIRST = 2**32 - 9
FILLING = 10
TOPICS: list[tuple[Any, str | None]] = [
    (b"", None),
    (b"bytes", "declinate"),
    ({"a": [1, 2.5, None]}, "macallums"),  # the same number as the one before
    (ARRAY, ""),
    ((pickle.PickleBuffer(b"first buffer"), pickle.PickleBuffer(b"second")), "arrays/of bytes"),
    (b"\xa5" * 1500, None),
]
READ = 3  # by the subscriber, of the last 8

PUBLISHER, PARKED, SUBSCRIBER = (384 + 8, 4), (448, 8), (512 + 4, 4)
HIGH_WATER = (512 + 32, 8)  # a statistic that came later: what had no meaning before is 0 in the golden segment
DIFFERENT_IN_MULTICAST = (UUID, TIME_NAMESPACE, CREATOR, PUBLISHER, PARKED, SUBSCRIBER, HIGH_WATER)


@contextlib.contextmanager
def _directory() -> Iterator[Path]:
    """IPC_DIR, for a while."""
    with tempfile.TemporaryDirectory(dir="/dev/shm") as directory:
        before = os.environ.get("IPC_DIR")
        os.environ["IPC_DIR"] = directory
        try:
            yield Path(directory)
        finally:
            del os.environ["IPC_DIR"]
            if before is not None:
                os.environ["IPC_DIR"] = before


def _same_each_time(written: bytes, different: tuple[tuple[int, int], ...]) -> bytes:
    data = bytearray(written)
    for offset, size in different:
        data[offset : offset + size] = bytes(size)
    return bytes(data)


def content() -> bytes:
    """A channel's segment as this library writes it."""
    with _directory() as directory:
        segment = Segment.create("channel", CAPACITY, NAME, start_position=START)
        tx: ipc.Sender[Any] = ipc.Sender._open(segment, arguments.spin_ns("auto"))
        del segment
        with tx:
            for message, kind in MESSAGES:
                tx.send(message, type=kind)
        written = Path(directory, NAME).read_bytes()
    return _same_each_time(written, DIFFERENT)


def content_of_multicast() -> bytes:
    """The same of a multicast."""
    with _directory() as directory:
        options = ffi.new("struct ipcr_multicast_options *", {"on_laggard": lib.IPCR_EVICT_LAGGARDS, "max_lag": 7})
        segment = Segment.create_multicast(CAPACITY, NAME, ENTRIES, options, start_sequence=FIRST)
        with ipc.Multicast[Any].attach(NAME) as multicast:
            del segment
            with multicast.publisher() as publisher:
                for n in range(FILLING):
                    publisher.publish(b"\x5a" * 300 + bytes([n]))
                subscriber = multicast.subscribe(start=FIRST + FILLING - 2)
                for message, topic in TOPICS[:-1]:
                    publisher.publish(message, topic=topic)
                for _ in range(READ):
                    subscriber.recv()
                publisher.publish(TOPICS[-1][0])
            written = Path(directory, NAME).read_bytes()
            subscriber.close()
    return _same_each_time(written, DIFFERENT_IN_MULTICAST)


def to_hex(data: bytes) -> str:
    """Lines of 32 bytes; what is all zero is left out."""
    lines = [f"{len(data):06x}"]
    for offset in range(0, len(data), 32):
        row = data[offset : offset + 32]
        if any(row):
            lines.append(f"{offset:06x} {row.hex()}")
    return "\n".join(lines) + "\n"


def from_hex(text: str) -> bytes:
    """The bytes again."""
    size, *lines = text.splitlines()
    data = bytearray(int(size, 16))
    for line in lines:
        offset, row = line.split()
        data[int(offset, 16) : int(offset, 16) + 32] = bytes.fromhex(row)
    return bytes(data)


if __name__ == "__main__":
    print(to_hex(content_of_multicast() if sys.argv[1:] == ["multicast"] else content()), end="")

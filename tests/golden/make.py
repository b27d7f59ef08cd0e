"""Writes the golden segment: `python -m tests.golden.make > tests/golden/format_1.hex`, once per version of the format.

A channel whose positions began 200 bytes before 2^64, so that they wrap, as the ring does, in an array; all messages
unread; its sender has closed.  What is different each time (uuid, pids, clocks) is zeroed, so that two runs agree.
"""

from __future__ import annotations

import os
import pickle
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

import ipc
from ipc._core import arguments
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


def content() -> bytes:
    """A segment as this library writes it."""
    with tempfile.TemporaryDirectory(dir="/dev/shm") as directory:
        before = os.environ.get("IPC_DIR")
        os.environ["IPC_DIR"] = directory
        try:
            segment = Segment.create("channel", CAPACITY, NAME, start_position=START)
            tx: ipc.Sender[Any] = ipc.Sender._open(segment, arguments.spin_ns("auto"))
            del segment
            with tx:
                for message, kind in MESSAGES:
                    tx.send(message, type=kind)
            written = bytearray(Path(directory, NAME).read_bytes())
        finally:
            del os.environ["IPC_DIR"]
            if before is not None:
                os.environ["IPC_DIR"] = before
    for offset, size in DIFFERENT:
        written[offset : offset + size] = bytes(size)
    return bytes(written)


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
    print(to_hex(content()), end="")

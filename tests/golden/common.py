"""What all golden segments share: their messages, what is zeroed in them, and how they are kept as text."""

from __future__ import annotations

import contextlib
import os
import pickle
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

CAPACITY = 4096
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

# What is zeroed in segments of any kind: offset and size.  See docs/shm-format.md.
UUID, TIME_NAMESPACE, CREATOR = (64, 16), (80, 8), (88, 4)
ANYWHERE = (UUID, TIME_NAMESPACE, CREATOR)


@contextlib.contextmanager
def directory() -> Iterator[Path]:
    """IPC_DIR, for a while."""
    with tempfile.TemporaryDirectory(dir="/dev/shm") as path:
        before = os.environ.get("IPC_DIR")
        os.environ["IPC_DIR"] = path
        try:
            yield Path(path)
        finally:
            del os.environ["IPC_DIR"]
            if before is not None:
                os.environ["IPC_DIR"] = before


def same_each_time(written: bytes, different: Iterable[tuple[int, int]]) -> bytes:
    """The segment with all that zeroed."""
    data = bytearray(written)
    for offset, size in different:
        data[offset : offset + size] = bytes(size)
    return bytes(data)


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

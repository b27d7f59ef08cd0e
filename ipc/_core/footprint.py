"""Is there room for a new segment?  Asked before it is made.

`posix_fallocate` reports a full tmpfs, but beyond a memory cgroup's limit it gets the process killed instead, so
everything that could run out is compared first.
"""

from __future__ import annotations

import errno
import os
from pathlib import Path

from ipc._core import cgroup
from ipc.errors import OutOfSharedMemoryError

__all__ = ["require", "ways_out"]


def _memory_available() -> float:
    try:
        with Path("/proc/meminfo").open(encoding="ascii") as lines:
            for line in lines:
                if line.startswith("MemAvailable:"):
                    return int(line.split()[1]) * 1024
    except OSError:
        pass
    return float("inf")


def _size(count: float) -> str:
    return f"{count:.0f} bytes" if count < 2**20 else f"{count / 2**20:.1f} MiB"


def ways_out(directory: str | None) -> str:
    """What a user can do about lack of room."""
    if directory is None:
        return "ask for a smaller capacity=, or free some memory"
    return f"ask for a smaller capacity=, remount {directory} larger (docker run --shm-size=...), or set IPC_DIR"


def require(asked: int, directory: str | None, what: str) -> None:
    """Raise OutOfSharedMemoryError unless `asked` bytes are free for `what`; `directory` None means a memfd."""
    limits = [
        (_memory_available(), "of memory is available", "free some memory"),
        (
            cgroup.memory_free(),
            "is left under the container's memory limit",
            "raise the limit (docker run --memory=...)",
        ),
    ]
    if directory is not None:
        space = os.statvfs(directory)
        limits.append(
            (
                space.f_bavail * space.f_frsize,
                f"is free in {directory}",
                "remount it with a larger size= (docker run --shm-size=...), or set IPC_DIR",
            )
        )
    free, lacking, way_out = min(limits)
    if asked > free:
        raise OutOfSharedMemoryError(
            errno.ENOSPC,
            f"{what} needs {_size(asked)}, and {_size(max(free, 0))} {lacking}; "
            f"ask for a smaller capacity=, or {way_out}",
        )

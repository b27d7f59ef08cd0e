"""A child's tie to its parent."""

from __future__ import annotations

from ipc._core.native import check, lib

__all__ = ["end_with"]


def end_with(fd: int, exit_code: int) -> None:
    """End this process as soon as the other side of `fd` is gone, also while it is stuck in native code."""
    check(lib.ipcr_os_end_with(fd, exit_code), "the worker's lifeline")

"""Handles that any number of processes use: how one goes to a child process, as its argument."""

from __future__ import annotations

import os
from typing import Any

from ipc._core import parcels
from ipc._core.native import check, ffi, lib
from ipc._core.segment import Segment, close_file

__all__ = ["Shared", "hand_over", "take_over"]

# What a child needs: the segment's descriptor, one that keeps the child present until it is so itself, and where.
Shared = tuple[parcels.FdForChild, parcels.FdForChild, tuple[str, str | None, str | None]]


def hand_over(popen: Any, segment: Segment, what: str) -> Shared:
    """Send a segment to the process that `popen` is starting."""
    parcels.sweep()
    out = ffi.new("int *")
    status = lib.ipcr_segment_hand_over(segment.pointer, out)
    check(lib.IPCR_NAME_BUSY if status == lib.IPCR_TAKEN else status, what)
    held_for_child = parcels.send(popen, int(out[0]), what)
    segment_for_child = parcels.send_copy(popen, segment.fd, what)
    return segment_for_child, held_for_child, (segment.kind, segment.directory, segment.name)


def take_over(shared: Shared) -> Segment:
    """In the child: the segment that was sent."""
    segment_for_child, held_for_child, where = shared
    fds = (segment_for_child.detach(), held_for_child.detach())
    for fd in fds:
        os.set_inheritable(fd, False)
    try:
        return Segment.adopt(fds[0], *where)
    finally:
        close_file(fds[1])  # now we are present ourselves

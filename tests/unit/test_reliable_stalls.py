"""A process that is stopped for longer than its lease while get() copies a message: get() goes on with the next one.

The stall is played by what the copy is replaced with: it loses the lease first, as its end would.  That somebody else
may have written there meanwhile is for the explorer (lease-recycled).
"""

from __future__ import annotations

from typing import Any

import pytest

import ipc
from ipc._core import reliable_queue
from ipc._core.native import lib

LONG = 30.0


class _Stalled:
    """The core, whose first copy of a leased message comes too late."""

    def __init__(self) -> None:
        self.stalls = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(lib, name)

    def ipcr_lease_copy(self, handle: Any, lease: Any, memory: Any) -> int:
        if self.stalls == 0:
            self.stalls += 1
            assert lib.ipcr_lease_nack(handle, lease, 0) == lib.IPCR_OK
        return int(lib.ipcr_lease_copy(handle, lease, memory))


@pytest.mark.parametrize("arguments", [{}, {"timeout": LONG}, {"timeout": 0}], ids=str)
@pytest.mark.parametrize("prefetch", [None, 1])
def test_a_lease_that_is_lost_while_a_large_message_is_copied_is_not_the_caller_s_matter(
    monkeypatch: pytest.MonkeyPatch, arguments: dict[str, float], prefetch: int | None
) -> None:
    large = b"x" * 20_000
    core = _Stalled()
    with ipc.ReliableQueue[Any](lease=LONG, prefetch=prefetch) as q:
        q.put(large)
        monkeypatch.setattr(reliable_queue, "lib", core)
        with q.get(**arguments) as delivery:
            assert (delivery.message, delivery.deliveries) == (large, 2)
        assert core.stalls == 1
        assert q.qsize() == 0

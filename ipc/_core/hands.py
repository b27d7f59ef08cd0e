"""How many messages one handle of a reliable queue holds, where prefetch= bounds that.

What is counted are the leases themselves: one that ran out, or whose end was cut short by a signal's handler, is found
by looking at it, and fills no hand.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

from ipc._core.native import ffi, lib
from ipc._core.queues import Empty

if TYPE_CHECKING:
    from ipc._core.queues import QueueHandle

__all__ = ["Hands"]


class Hands:
    """For all threads of a handle; without a bound (most=0) it counts nothing."""

    __slots__ = ("_freed", "_held", "_most")

    def __init__(self, most: int) -> None:
        self._most = most
        self._held: dict[object, Any] = {}  # leases by _key(); by id(), None, while one is being taken
        self._freed = threading.Condition()  # guards both

    def __len__(self) -> int:
        return len(self._held)

    def wait_for(self, lease: Any, queue: QueueHandle, deadline: int, timeout: float | None) -> None:
        """Until one is free, and keep it for what will stand in `lease`.

        Raises:
          Empty: none is free at the deadline.
        """
        with self._freed:
            while len(self._held) >= self._most:
                if queue.closed:
                    queue._raise(lib.IPCR_CLOSED)
                if self._look(queue):
                    continue
                left = (deadline - time.monotonic_ns()) / 1e9
                if left <= 0:
                    raise Empty(
                        f"{queue}: this handle holds {len(self._held)} messages, which is prefetch={self._most}, "
                        f"and none was acknowledged within {timeout} s"
                    )
                self._freed.wait(min(left, 0.1))
            self._held[id(lease)] = None

    def fill(self, lease: Any) -> None:
        """With a copy of the lease: a delivery that is forgotten takes its own along."""
        held = ffi.new("struct ipcr_lease *")
        held[0] = lease[0]
        with self._freed:
            self._held[_key(lease)] = held
            self._held.pop(id(lease), None)

    def empty(self, lease: Any) -> None:
        """Of a lease that has ended, or was none; a second time it changes nothing."""
        if self._most:
            with self._freed:
                self._held.pop(id(lease), None)
                self._held.pop(_key(lease), None)
                self._freed.notify()

    def _look(self, queue: QueueHandle) -> bool:
        """Whether some were free all the while."""
        over = [
            key
            for key, lease in list(self._held.items())  # a signal's handler may acknowledge one in between
            if lease is not None and not lib.ipcr_lease_is_held(queue._handle, lease)
        ]
        for key in over:
            self._held.pop(key, None)
        return bool(over)


def _key(lease: Any) -> tuple[int, int]:
    """What tells a lease from all others of the queue."""
    return lease.id, lease.deliveries

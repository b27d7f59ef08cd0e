"""Batches of queues: what goes, and what has come, by one native call."""

from __future__ import annotations

import pickle
from array import array
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from ipc._core.encoding import BYTES, PICKLE
from ipc._core.handlers import interrupts
from ipc._core.native import ffi, lib
from ipc._core.queues import BATCH_BYTES, BATCH_MESSAGES, PICKLED

__all__ = ["Plain", "Scratch", "put_plain"]

_new_memory = ffi.new_allocator(should_clear_after_alloc=False)
_dumps: Final = pickle.dumps


class Plain(NamedTuple):
    """Messages as they go."""

    messages: Sequence[bytes]
    encoding: int
    failed: Exception | None
    """What encoding the one behind them raised: to be raised when it is that one's turn."""

    @classmethod
    def of(cls, objs: Sequence[Any]) -> Plain | None:
        """None: one of them needs a closer look."""
        kinds = set(map(type, objs))
        if kinds == {bytes}:
            return cls(objs, BYTES, None)
        if not kinds <= PICKLED:
            return None
        data: list[bytes] = []
        buffers: list[Any] = []
        failed = None
        try:
            for obj in objs:
                data.append(_dumps(obj, 5, buffer_callback=buffers.append))  # noqa: PERF401  (what came before counts)
        except Exception as error:
            if interrupts(error):
                raise
            failed = error
        return None if buffers else cls(data, PICKLE, failed)


def put_plain(handle: Any, messages: Sequence[bytes], infos: Sequence[int]) -> int:
    """Put them in one native call, as far as there is room; how many went."""
    sent: int = lib.ipcr_queue_put_many(
        handle,
        b"".join(messages),
        ffi.from_buffer("uint64_t[]", array("Q", map(len, messages))),
        ffi.from_buffer("uint64_t[]", array("Q", infos)),
        len(messages),
        0,
        ffi.NULL,
    )
    return max(sent, 0)


class Scratch:
    """Room for a batch on its way in."""

    __slots__ = ("_leases", "_memory", "_results", "buffer")

    def __init__(self) -> None:
        self._memory = _new_memory("char[]", 4 * BATCH_BYTES)
        self._leases = ffi.new("struct ipcr_lease[]", BATCH_MESSAGES)  # cleared: see give_back
        self._results = _new_memory("int64_t[]", BATCH_MESSAGES)
        self.buffer = ffi.buffer(self._memory)

    def fill(self, handle: Any, most: int) -> int:
        """How many messages are here now, and leased; or a status."""
        most, room = min(most, BATCH_MESSAGES), 4 * BATCH_BYTES
        return int(lib.ipcr_queue_lease_many(handle, self._memory, room, self._leases, self._results, most))

    def end(self, handle: Any, count: int, taken: int) -> int:
        """Take the first of the messages that are here, and give back the others; how many were taken."""
        acknowledged = int(lib.ipcr_lease_end_many(handle, self._leases, count, taken))
        self._leases[0].held = 0  # nothing is leased: see give_back
        return acknowledged

    def give_back(self, handle: Any) -> None:
        """Give back whatever is leased, if anything is; words of former batches match no lease any more."""
        for i in range(BATCH_MESSAGES):
            if not self._leases[i].held:
                break
            lib.ipcr_lease_nack(handle, self._leases + i, 0)

    def results(self, count: int) -> list[int]:
        """What each of them is."""
        return ffi.unpack(self._results, count)  # type: ignore[no-any-return]

    def part(self, at: int, behind: int) -> Any:
        """The memory of one."""
        return ffi.buffer(self._memory + at, behind - at)

    def lent(self, number: int) -> Any:
        """The memory of one that had no room here, in the lane."""
        lease = self._leases[number]
        return ffi.buffer(lease.payload, lease.length)

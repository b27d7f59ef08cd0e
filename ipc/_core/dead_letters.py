"""Messages of a queue that were given up: kept in their lane, listed, requeued, or moved to another queue."""

from __future__ import annotations

import time
from collections.abc import Generator
from contextlib import closing, suppress
from typing import Any, Protocol

from ipc import errors
from ipc._core import arguments
from ipc._core.delivery import LEASE, DeadLetter
from ipc._core.handlers import interrupts
from ipc._core.native import check, ffi, lib
from ipc._core.queues import Full, QueueHandle
from ipc._core.transfer import ENCODING_SHIFT, SKEW_SHIFT

__all__ = ["DeadLetters"]

_new_lease = ffi.new_allocator()  # cleared: `held` says whether something is leased

_OK = lib.IPCR_OK
_LOOK_NS = 1_000_000_000  # how long a dead letter may stay that nobody told of
_REASONS = {lib.IPCR_KEPT_DELIVERIES: "delivered too often", lib.IPCR_KEPT_EXPIRED: "expired"}


class _Target(Protocol):
    """Where they shall go."""

    def put(self, obj: DeadLetter, timeout: float | None) -> object: ...


class DeadLetters(QueueHandle):
    """The part of a reliable queue that has given up."""

    __slots__ = ("_dead_letter", "_next_look", "_seen_returns")

    _dead_letter: _Target | None
    _next_look: int
    _seen_returns: int

    def _move_dead_letters(self) -> None:
        """Given-up messages to where they shall go; a full dead-letter queue leaves them here.

        The number of returns tells when there are new ones; but somebody may have had one in hand when we looked, or
        died before it told, so that now and then we look without having been told.
        """
        if self._dead_letter is None:
            return
        returns, now = lib.ipcr_queue_returns(self._handle), time.monotonic_ns()
        if returns == self._seen_returns and now < self._next_look:
            return
        with closing(self._kept()) as kept:
            for lease, why in kept:
                try:
                    self._dead_letter.put(self._letter(lease, why), timeout=0)
                except (Full, errors.ClosedError, errors.OutOfSharedMemoryError):
                    return  # tried again at the next call
                except Exception as error:
                    if interrupts(error):
                        raise
                    continue  # too large, say: it stays here, and is listed
                lib.ipcr_lease_bury(self._handle, lease)
                lease.held = 0
        self._seen_returns, self._next_look = returns, now + _LOOK_NS

    def _kept(self, after: int = 0) -> Generator[tuple[Any, int], None, None]:
        """The messages that are kept, with an id above `after`; each is leased to us until the next is asked for, or
        we are left, and is then kept as before.  Whoever has ended that lease says so by held = 0."""
        lease, why = _new_lease(LEASE), ffi.new("uint32_t *")
        try:
            while (status := lib.ipcr_queue_next_kept(self._handle, after, lease, why)) != lib.IPCR_EMPTY:
                if status != _OK:
                    self._raise(status)
                after = lease.id
                yield lease, why[0]
                self._keep(lease, why)
        finally:
            with suppress(errors.ClosedError):  # which gives back everything
                self._keep(lease, why)

    def _keep(self, lease: Any, why: Any) -> None:
        if lease.held:
            lib.ipcr_lease_keep(self._handle, lease, why[0])
            lease.held = 0

    def _letter(self, lease: Any, why: int) -> DeadLetter:
        result = lease.length | (lease.info >> 32 & 0xFF) << ENCODING_SHIFT | (lease.skew // 8) << SKEW_SHIFT
        reason, memory = _REASONS.get(why, "unknown"), ffi.buffer(lease.payload, lease.length)
        try:
            message = self._decode(memory, result)
        except Exception as error:  # perhaps that is why it was given up
            if interrupts(error):
                raise
            message = bytes(memory)
            reason = f"{reason}; can't be decoded here: {type(error).__name__}: {str(error)[:200]}"
        return DeadLetter(message, lease.id, reason, lease.deliveries, self.name)

    def dead_letters(self) -> list[DeadLetter]:
        """The messages that were given up and are kept here, oldest first."""
        with closing(self._kept()) as kept:
            return [self._letter(lease, why) for lease, why in kept]

    def requeue(self, id: int) -> None:
        """Deliver a message again that was given up, as often as max_deliveries allows, and without its ttl.

        Raises:
          LookupError: no message of that id is kept here, or somebody else lists it or moves it just now.
        """
        after = max(arguments.integer(id, "id") - 1, 0)
        with closing(self._kept(after)) as kept:
            lease, _ = next(kept, (None, 0))
            if lease is None or lease.id != id:
                raise LookupError(f"{self}: no dead letter has the id {id}, or another process has it in hand just now")
            check(lib.ipcr_lease_requeue(self._handle, lease), str(self))
            lease.held = 0

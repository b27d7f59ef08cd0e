"""Putting together a message that comes in parts.

What has come stays here between calls, so that a `recv` that runs into its timeout loses nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any

from ipc._core import encoding as encodings
from ipc._core.native import ffi, lib

__all__ = ["Assembly"]


def _skip(size: int) -> Generator[tuple[Any, int], None, Any]:
    yield None, size


class Assembly:
    """One message of `size` bytes on its way in.  `refusal` is raised in its place once all of it has been taken."""

    __slots__ = ("_at", "_reading", "_target", "_upto", "message", "refusal", "size")

    def __init__(self, encoding: int, size: int, refusal: Exception | None) -> None:
        self.size = size
        self.message: Any = None
        self.refusal = refusal
        self._at = 0
        self._upto = 0
        self._target: Any = None
        self._reading = encodings.reading(encoding, size) if refusal is None else _skip(size)
        self._step()

    def _step(self) -> bool:
        """To the next piece of memory to fill; False when there is none."""
        self._at = self._upto
        try:
            self._target, self._upto = next(self._reading)
        except StopIteration as end:
            self.message = end.value
            return False
        except Exception as error:  # garbage, no memory, or what unpickling raised: the message must still be taken
            self.refusal = error
            self._target, self._upto = None, self.size
            self._reading = _skip(self.size)
            return self._at < self.size
        return True

    def read(self, wait: Callable[..., int], handle: Any, deadline: int) -> int:
        """Go on; IPCR_OK when the message is whole."""
        while True:
            target = ffi.NULL if self._target is None else self._target
            status = wait(lib.ipcr_parts_read, target, self._at, self._upto, deadline)
            if status != lib.IPCR_OK or not self._step():
                return status

"""Putting together a message that comes in parts.

What has come stays here between calls, so that a `recv` that runs into its timeout loses nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any

from ipc._core import encoding as encodings
from ipc._core.handlers import interrupts
from ipc._core.native import ffi, lib

__all__ = ["Assembly"]


def _skip(size: int) -> Generator[tuple[Any, int], None, Any]:
    yield None, size


def _nothing() -> Generator[tuple[Any, int], None, Any]:
    yield from ()


class Assembly:
    """One message of `size` bytes on its way in.  `refusal` is raised in its place once all of it has been taken."""

    __slots__ = ("_at", "_reading", "_target", "_upto", "at_work", "lost", "message", "refusal", "size")

    def __init__(self, encoding: int, size: int, refusal: BaseException | None) -> None:
        self.size = size
        self.message: Any = None
        self.refusal = refusal
        self.lost = False  # it is taken, and never handed out: a signal's handler raised while it was being decoded
        self.at_work = False  # a second thread must not go on with it at the same time
        self._at = 0
        self._upto = 0
        self._target: Any = None
        self._reading = encodings.reading(encoding, size) if refusal is None else _skip(size)
        self._step(first=True)

    def _step(self, *, first: bool = False) -> bool:
        """To the next piece of memory to fill; False when there is none.

        An error between two pieces is raised at once, as is what a signal's handler raised (to end a wait for a sender
        who has stopped, say), and who receives next passes over the rest of the message.  Only before the first piece,
        when nothing shows yet that the message was begun, does it wait until the rest was passed over.
        """
        self._at = self._upto
        try:
            self._target, self._upto = next(self._reading)
            if self._upto > self.size:
                raise encodings.corrupt(f"lengths that go beyond its {self.size} bytes")
        except StopIteration as end:
            self.message = end.value
            return False
        except BaseException as error:  # garbage, no memory, what unpickling raised, or a signal's handler
            self._skip_the_rest()
            at_an_end = first or self._at == self.size
            if not at_an_end or interrupts(error):
                self.lost = True
                raise
            self.refusal = error
            return self._at < self.size
        return True

    def _skip_the_rest(self) -> None:
        self._target, self._upto = None, self.size
        self._reading = _nothing()

    def read(self, wait: Callable[..., int], handle: Any, deadline: int) -> int:
        """Go on; IPCR_OK when the message is whole."""
        while True:
            status: int = lib.IPCR_OK
            if self._at < self._upto:  # otherwise an empty piece, perhaps behind the last byte
                target = ffi.NULL if self._target is None else self._target
                status = wait(lib.ipcr_parts_read, target, self._at, self._upto, deadline)
            if status != lib.IPCR_OK or not self._step():
                return status

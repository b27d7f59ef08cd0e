"""An event that happens once, to wait for; a signal's handler may wait for it or open it, whatever it came into."""

from __future__ import annotations

import contextlib
import threading

__all__ = ["Latch"]

_SLICE_SECONDS = 0.1  # a signal that another thread receives does not end what the main thread waits for in the kernel


class Latch:
    """Closed until somebody opens it, and open for ever.

    threading.Event does not serve: its wait() and set() hold a lock, and a handler that came in between, in the same
    thread, would wait for that lock for ever.
    """

    def __init__(self) -> None:
        self._is_open = False
        self._gate = threading.Lock()  # held by nobody in particular; who gets it opens it for the next one
        self._gate.acquire()

    def open(self) -> None:
        """Let everybody through, from now on."""
        self._is_open = True
        self._let_one_through()

    def wait(self) -> None:
        """Until it is open.  A handler's error ends that, and the next wait() is as good as the first."""
        while not self._is_open:
            if self._gate.acquire(timeout=_SLICE_SECONDS):
                self._let_one_through()

    def _let_one_through(self) -> None:
        with contextlib.suppress(RuntimeError):  # open already: a handler was faster
            self._gate.release()

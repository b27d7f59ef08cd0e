"""Closing what is open when a process ends normally.

atexit covers the main process; children of multiprocessing run multiprocessing's finalizers instead (and atexit only
since Python 3.13), and forget all of them when they begin, also what unpickling their arguments registered.
"""

from __future__ import annotations

import atexit
import os
from collections.abc import Callable
from multiprocessing import util

__all__ = ["AtExit"]


class AtExit:
    """Calls `close_all` once this process ends, from the moment it was asked to."""

    def __init__(self, close_all: Callable[[], None], priority: int) -> None:
        self._close_all = close_all
        self._priority = priority
        self._registered_in = 0
        util.register_after_fork(self, AtExit._begin_anew)
        atexit.register(close_all)

    def ask(self) -> None:
        """To be called whenever something was opened; cheap."""
        pid = os.getpid()
        if self._registered_in != pid:
            self._registered_in = pid
            util.Finalize(None, self._close_all, exitpriority=self._priority)

    def _begin_anew(self) -> None:
        self._registered_in = 0
        self.ask()

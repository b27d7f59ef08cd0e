"""The thread that an unbounded queue starts when its lane is full, and only then."""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from typing import TYPE_CHECKING, Any

from ipc import errors
from ipc._core import arguments
from ipc._core.encoding import Encoded
from ipc._core.latch import Latch
from ipc._core.native import ffi, lib
from ipc._core.queues import owned, size_of

if TYPE_CHECKING:
    from ipc._core.plain_queue import Queue

__all__ = ["Feeder"]


class Feeder:
    """The thread of an unbounded queue whose lane is full: sends what waits here, in order, then ends.

    The queue's lock `_feeding` guards all of this: who sees no feeder may put by itself, behind all that it had.
    """

    def __init__(self, queue: Queue[Any]) -> None:
        self._queue = queue
        self._waiting: deque[Encoded] = deque()
        self._thread = threading.Thread(target=self._run, name=f"feeder of {queue}", daemon=True)
        self.let_go = Latch()  # it has ended, or close() was called: Queue.join() waits no longer
        self._ended = Latch()
        self.shutting = False  # shutdown() was called: behind the last message
        self.closing = False  # the same of close()

    def add(self, message: Encoded) -> None:
        """Send it after what waits already."""
        self._waiting.append(owned(message))

    def start(self) -> None:
        self._thread.start()

    def join(self) -> None:
        """Wait until it has ended."""
        # the thread's own join(), left by a signal's handler, takes the thread for ended (python/cpython#90882)
        self._ended.wait()
        self._thread.join()  # which is about to end

    def backlog(self) -> int:
        """Messages that wait here."""
        return len(self._waiting)

    def drop(self) -> int:
        """Forget what waits; returns how many."""
        dropped = len(self._waiting)
        self._waiting.clear()
        return dropped

    def _run(self) -> None:
        queue = self._queue
        try:
            options = ffi.new("struct ipcr_put *")
            while (size := self._send_what_fits(options)) is not None:
                queue._wait(lib.ipcr_queue_wait_for_room(queue._handle, size + 64, arguments.FOREVER_NS))
        except (errors.ShutDown, errors.ClosedError):  # by somebody else; or the process ends, and doesn't wait for us
            self._give_up()
        except BaseException:  # what the next put() will raise as well
            self._give_up()
            raise
        finally:
            self._ended.open()

    def _send_what_fits(self, options: Any) -> int | None:
        """None: it was everything, and we are at our end; otherwise the size of what needs room."""
        queue = self._queue
        with queue._feeding:
            while self._waiting:
                status = queue._try_put(self._waiting[0], options)
                if status == lib.IPCR_FULL:
                    return size_of(self._waiting[0])
                if status != lib.IPCR_OK:
                    queue._refuse(status, size_of(self._waiting[0]))
                self._waiting.popleft()
            self._end_locked()
            return None

    def _give_up(self) -> None:
        with self._queue._feeding:
            self._waiting.clear()
            self._end_locked()

    def _end_locked(self) -> None:
        queue = self._queue
        if self.shutting:
            with contextlib.suppress(errors.ClosedError):
                lib.ipcr_queue_shut(queue._handle, lib.IPCR_DRAINING)
        if self.closing:
            queue._leave()
        queue._feeder = None  # last, or a put might slip in before the end
        queue._choose()
        self.let_go.open()

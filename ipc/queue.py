"""A queue between processes, a drop-in for those of multiprocessing: many producers, many consumers.

    tasks = ipc.Queue(maxsize=100)                  # give it to children as a Process argument, or fork
    tasks.put(obj)                                  # waits while 100 messages are there
    obj = tasks.get(timeout=5)                      # seconds; queue.Empty when there is nothing by then

Each message goes to one consumer, at most once: what a consumer had taken is lost with it.  Where that may not happen,
take `ipc.ReliableQueue`.  `ipc.JoinableQueue` and `ipc.SimpleQueue` are other names of the same class.
"""

from __future__ import annotations

from ipc._core.plain_queue import Queue

__all__ = ["Queue"]

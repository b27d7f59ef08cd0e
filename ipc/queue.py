"""A queue between processes, a drop-in for those of multiprocessing: many producers, many consumers."""

from __future__ import annotations

from ipc._core.plain_queue import Queue

__all__ = ["Queue"]

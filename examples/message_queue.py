"""What vLLM's MessageQueue does within one machine: one writer, n readers, objects of any size; over ipc.Multicast.

08_instead_of_vllms_message_queue.py shows it at work.  What is new: who waits sleeps instead of spinning; a reader that
was killed blocks nobody; a TimeoutError of the writer names the reader that is slow; an object that is larger than the
ring goes through it in pieces, and not through a socket beside it.  The handle is plain data, and may go to the readers
on any way; all of them are on this machine.  What belongs to more than one (connect_ip) and to torch's process groups
(create_from_process_group, broadcast_object) is not here.
"""

from __future__ import annotations

import os
import pickle
import secrets
import threading
import time
from typing import Any

import ipc

__all__ = ["MessageQueue"]

READY, LARGE, PIECE = "ready", "large", "piece"  # topics; an object that goes as one message has none
SECONDS_BETWEEN_LOOKS = 0.01  # at the readers that have come, and at `cancel`

Handle = tuple[str, int]


class MessageQueue:
    """As vllm.distributed.device_communicators.shm_broadcast.MessageQueue, within one machine."""

    def __init__(
        self,
        n_reader: int,
        n_local_reader: int | None = None,
        local_reader_ranks: list[int] | None = None,  # readers have no places of their own here
        max_chunk_bytes: int = 10 << 20,
        max_chunks: int = 10,
    ) -> None:
        """Make the writer's end."""
        if n_local_reader not in {None, n_reader}:
            raise ValueError(f"{n_local_reader} of {n_reader} readers are local; the others are out of reach")
        name = f"message-queue-{os.getpid()}-{secrets.token_hex(8)}"
        self._multicast: ipc.Multicast[Any] = ipc.Multicast(name, capacity=max_chunk_bytes * max_chunks)
        self._publisher: Any = self._multicast.publisher()
        self._subscriber: Any = None
        self._pieces: list[Any] = []  # a reader's: of a large object, of which some have come
        self._handle: Handle = name, n_reader
        self._piece_bytes = max(1, min(max_chunk_bytes, self._multicast.stats().capacity // 4))

    def export_handle(self) -> Handle:
        """What a reader's end is made from, in any process of this user."""
        return self._handle

    @staticmethod
    def create_from_handle(handle: Handle, rank: int) -> MessageQueue:
        """Make a reader's end, before the writer's wait_until_ready() returns."""
        self = MessageQueue.__new__(MessageQueue)
        self._handle = handle
        self._multicast = ipc.Multicast.attach(handle[0])
        self._publisher, self._subscriber = None, self._multicast.subscribe()
        self._pieces, self._missing = [], 0
        return self

    def wait_until_ready(self) -> None:
        """To be called by all of them: returns when every reader is there."""
        if self._publisher is None:
            while self._subscriber.recv_envelope().topic != READY:
                pass
            return
        while sum(one.alive and one.state == "active" for one in self._multicast.stats().subscribers) < self._handle[1]:
            time.sleep(SECONDS_BETWEEN_LOOKS)
        self._multicast.unlink()  # so that nothing is left, whoever is killed
        self._publisher.publish(None, topic=READY)

    def enqueue(self, obj: Any, timeout: float | None = None) -> None:
        """Give an object to every reader; after a TimeoutError, to none."""
        if self._publisher is None:
            raise RuntimeError("only the writer can enqueue")
        deadline = _deadline(timeout)
        try:
            self._publisher.publish((obj,), timeout=timeout)  # a bytearray by itself would arrive as bytes
        except ipc.MessageTooLargeError:
            self._enqueue_pieces(memoryview(pickle.dumps(obj, protocol=5)), deadline)

    def _enqueue_pieces(self, data: memoryview, deadline: float | None) -> None:
        """If this ends half-way, readers forget what they have as soon as something else comes."""
        pieces = range(0, len(data), self._piece_bytes)
        self._publisher.publish(len(pieces), topic=LARGE, timeout=_left(deadline))
        for at in pieces:
            self._publisher.publish(data[at : at + self._piece_bytes], topic=PIECE, timeout=_left(deadline))

    def dequeue(self, timeout: float | None = None, cancel: threading.Event | None = None) -> Any:
        """The next object.

        Raises:
          TimeoutError: none within `timeout`; the pieces of a large one that have come are kept.
          RuntimeError: `cancel` was set, or this is the writer.
          EOFError, BrokenPipeError: the writer has closed, or died, and everything was taken.
        """
        if self._subscriber is None:
            raise RuntimeError("only readers can dequeue")
        deadline = _deadline(timeout)
        while True:
            if cancel is not None and cancel.is_set():
                raise RuntimeError("cancelled")
            left = _left(deadline)
            try:
                envelope = self._subscriber.recv_envelope(left if cancel is None else _shorter(left))
            except ipc.TimeoutError:
                if _left(deadline) == 0:
                    raise
                continue
            if envelope.topic is None:
                self._pieces, self._missing = [], 0
                return envelope.message[0]
            if envelope.topic == LARGE:
                self._pieces, self._missing = [], envelope.message
            elif envelope.topic == PIECE and self._missing:
                self._pieces.append(envelope.message)
                self._missing -= 1
                if not self._missing:
                    pieces, self._pieces = self._pieces, []
                    return pickle.loads(b"".join(pieces))

    def close(self) -> None:
        """Readers take what is there, and then get EOFError."""
        self._multicast.close()


def _deadline(timeout: float | None) -> float | None:
    return None if timeout is None else time.monotonic() + timeout


def _left(deadline: float | None) -> float | None:
    return None if deadline is None else max(0.0, deadline - time.monotonic())


def _shorter(left: float | None) -> float:
    return SECONDS_BETWEEN_LOOKS if left is None else min(left, SECONDS_BETWEEN_LOOKS)

"""Shared-memory IPC for processes that share no heap: lock-free rings, channels, queues, multicasts, mortal workers.

    import ipc

    def work(inbox, outbox):
        for message in inbox:
            outbox.send(message.upper())

    if __name__ == "__main__":
        tx, inbox = ipc.channel()
        outbox, rx = ipc.channel()
        with ipc.spawn(work, inbox, outbox):
            tx.send(b"hello")
            print(rx.recv())
            tx.close()

This package only re-exports; each name has one home.
"""

from ipc._core.multicast_stats import MulticastStats, SubscriberStats
from ipc._core.observe import Entry, Participant, Stats, gc, ls, rm, stats
from ipc._core.queue_stats import LaneStats, QueueStats
from ipc._core.ring import Ring, RingReader, RingWriter
from ipc._version import __version__
from ipc.channel import Receiver, Sender, channel
from ipc.errors import (
    BusyError,
    ClosedError,
    CorruptSegmentError,
    DeadLetteredError,
    EndOfChannel,
    ForkedHandleError,
    HandOverError,
    IncompatibleFormatError,
    IpcError,
    LaggedOutError,
    LeaseLostError,
    MessageTooLargeError,
    OutcomeUnknownError,
    OutOfSharedMemoryError,
    PeerDiedError,
    RefusedEncodingError,
    SegmentExistsError,
    SegmentNotFoundError,
    SharedMemoryError,
    ShutDown,
    TimeoutError,
    TooManyParticipantsError,
    UntrustedSegmentError,
)
from ipc.multicast import Multicast, MulticastEnvelope, Publisher, Subscriber
from ipc.queue import Queue
from ipc.reliable import DeadLetter, Deduplicator, Delivery, Receipt, ReliableQueue
from ipc.workers import Worker, spawn

# The names under which multiprocessing has them: one class is all three.
JoinableQueue = Queue
SimpleQueue = Queue

__all__ = [
    "BusyError",
    "ClosedError",
    "CorruptSegmentError",
    "DeadLetter",
    "DeadLetteredError",
    "Deduplicator",
    "Delivery",
    "EndOfChannel",
    "Entry",
    "ForkedHandleError",
    "HandOverError",
    "IncompatibleFormatError",
    "IpcError",
    "JoinableQueue",
    "LaggedOutError",
    "LaneStats",
    "LeaseLostError",
    "MessageTooLargeError",
    "Multicast",
    "MulticastEnvelope",
    "MulticastStats",
    "OutOfSharedMemoryError",
    "OutcomeUnknownError",
    "Participant",
    "PeerDiedError",
    "Publisher",
    "Queue",
    "QueueStats",
    "Receipt",
    "Receiver",
    "RefusedEncodingError",
    "ReliableQueue",
    "Ring",
    "RingReader",
    "RingWriter",
    "SegmentExistsError",
    "SegmentNotFoundError",
    "Sender",
    "SharedMemoryError",
    "ShutDown",
    "SimpleQueue",
    "Stats",
    "Subscriber",
    "SubscriberStats",
    "TimeoutError",
    "TooManyParticipantsError",
    "UntrustedSegmentError",
    "Worker",
    "__version__",
    "channel",
    "gc",
    "ls",
    "rm",
    "spawn",
    "stats",
]

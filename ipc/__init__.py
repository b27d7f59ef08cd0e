"""Shared-memory IPC for processes that share no heap: lock-free rings, channels, and workers that can die safely.

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

from ipc._core.observe import Entry, Participant, Stats, gc, ls, rm, stats
from ipc._core.ring import Ring, RingReader, RingWriter
from ipc._version import __version__
from ipc.channel import Receiver, Sender, channel
from ipc.errors import (
    BusyError,
    ClosedError,
    CorruptSegmentError,
    EndOfChannel,
    ForkedHandleError,
    HandOverError,
    IncompatibleFormatError,
    IpcError,
    MessageTooLargeError,
    OutOfSharedMemoryError,
    PeerDiedError,
    RefusedEncodingError,
    SegmentExistsError,
    SegmentNotFoundError,
    SharedMemoryError,
    TimeoutError,
    UntrustedSegmentError,
)
from ipc.workers import Worker, spawn

__all__ = [
    "BusyError",
    "ClosedError",
    "CorruptSegmentError",
    "EndOfChannel",
    "Entry",
    "ForkedHandleError",
    "HandOverError",
    "IncompatibleFormatError",
    "IpcError",
    "MessageTooLargeError",
    "OutOfSharedMemoryError",
    "Participant",
    "PeerDiedError",
    "Receiver",
    "RefusedEncodingError",
    "Ring",
    "RingReader",
    "RingWriter",
    "SegmentExistsError",
    "SegmentNotFoundError",
    "Sender",
    "SharedMemoryError",
    "Stats",
    "TimeoutError",
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

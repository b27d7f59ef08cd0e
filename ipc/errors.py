"""The error tree: one base, and a builtin beside it wherever one fits.

Whose fault it is decides the class: `ClosedError` (you closed it), `EndOfChannel` (the other side closed cleanly),
`PeerDiedError` (the other side died), `BusyError` (two users at once), `ForkedHandleError` (a copy that fork made).
Every message names the value, the limit and the way out.
"""

from __future__ import annotations

import builtins
import sys

__all__ = [
    "BusyError",
    "ClosedError",
    "CorruptSegmentError",
    "DeadLetteredError",
    "EndOfChannel",
    "ForkedHandleError",
    "HandOverError",
    "IncompatibleFormatError",
    "IpcError",
    "LaggedOutError",
    "LeaseLostError",
    "MessageTooLargeError",
    "OutOfSharedMemoryError",
    "OutcomeUnknownError",
    "PeerDiedError",
    "RefusedEncodingError",
    "SegmentExistsError",
    "SegmentNotFoundError",
    "SharedMemoryError",
    "ShutDown",
    "TimeoutError",
    "TooManyParticipantsError",
    "UntrustedSegmentError",
]


class IpcError(Exception):
    """What this library raises on purpose.

    Not derived from it: `ShutDown` (queue.ShutDown from Python 3.13 on), what the standard library raises in the same
    place (ValueError of `task_done` and `join_thread`, LookupError of `requeue`), TypeError and ValueError for bad
    arguments.
    """


class ClosedError(IpcError, ValueError, OSError):
    """You closed this handle, or gave it to a worker.  The other side leaving raises another error."""


class PeerDiedError(IpcError, BrokenPipeError):
    """The process at the other end died without closing.  What it had published was handed out before."""


class EndOfChannel(IpcError, EOFError):
    """The other side closed cleanly, or nobody can take it any more.  A receiver has handed out everything."""


class TimeoutError(IpcError, builtins.TimeoutError):
    """Not within `timeout`.  Nothing was sent or taken; of a batch, a beginning may have gone, and the error's `sent`,
    `put`, `published`, `written` or `receipts` says how much."""


class BusyError(IpcError):
    """Somebody else is using this end: another thread of this process, another process that is alive, or the call that
    a signal's handler came into."""


class ForkedHandleError(IpcError):
    """This handle was in use when the process forked; only the parent may go on using it."""


class MessageTooLargeError(IpcError, ValueError):
    """A message that can never fit, and was not sent; or one that a receiver does not take: longer than its
    `max_message` (it was dropped), or in parts, which can't be viewed (it stays: `recv` takes it)."""


class CorruptSegmentError(IpcError):
    """Shared memory holds words that no correct peer writes.  The handle refuses further use."""


class IncompatibleFormatError(IpcError):
    """A segment of another kind, format version, byte order or time namespace."""


class UntrustedSegmentError(IpcError, PermissionError):
    """The file belongs to another user, or others may write it."""


class SegmentExistsError(IpcError, FileExistsError):
    """The name is in use by a process that is alive, or by a file that is no segment."""


class SegmentNotFoundError(IpcError, FileNotFoundError):
    """There is no segment of this name."""


class OutOfSharedMemoryError(IpcError, OSError):
    """Not enough shared memory; said when a segment is made (of a queue's lane: at a process's first put), never later
    as a SIGBUS."""


class SharedMemoryError(IpcError, OSError):
    """A system call failed for a reason that has no class of its own; `errno` tells which."""


class RefusedEncodingError(IpcError, ValueError):
    """The receiver does not accept this kind of message.  It was taken, and not decoded."""


class HandOverError(IpcError, TypeError):
    """A handle can't go to another process this way: in use, outside of process start, or too many descriptors."""


class TooManyParticipantsError(IpcError):
    """All lanes, or all numbers of consumers or subscribers, are in use by processes that are alive."""


class LaggedOutError(IpcError):
    """This subscriber was too far behind, and was evicted.  Close it, and subscribe again."""


class LeaseLostError(IpcError):
    """The message is not yours any more: its lease ran out, or you have acknowledged or returned it."""


class DeadLetteredError(IpcError):
    """The message was given up: delivered too often, expired, or thrown away.  It will not be acknowledged."""


class OutcomeUnknownError(IpcError, LookupError):
    """The message is done with, but whether it was acknowledged or given up can't be told any more: this process put it
    long ago, and more of its messages than are remembered were given up since.  Ask a receipt earlier."""


if sys.version_info >= (3, 13):
    from queue import ShutDown
else:

    class ShutDown(Exception):
        """The queue was shut down.  From Python 3.13 on this is `queue.ShutDown`."""

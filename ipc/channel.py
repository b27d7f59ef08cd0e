"""Point-to-point channels: one sender, one receiver, over a single ring."""

from __future__ import annotations

from typing import Any, TypeVar, final

from ipc._core import arguments
from ipc._core.receiver import MessageReceiver
from ipc._core.segment import Segment
from ipc._core.sender import MessageSender

__all__ = ["Receiver", "Sender", "channel"]

_T = TypeVar("_T")


@final
class Sender(MessageSender[_T]):
    """Sending end of a channel.  One process and one thread at a time; a second caller gets BusyError.

    Taken by the process that first uses it; goes to a child as a `Process` argument before that.

    Every call raises ClosedError once this end was closed or handed over, ForkedHandleError in a child that was forked
    while it was in use, and CorruptSegmentError where shared memory holds garbage.
    """

    __slots__ = ()

    @classmethod
    def attach(cls, name: str, *, spin: arguments.Spin = "auto") -> Sender[Any]:
        """The sending end of the channel called `name`, from a process that has nothing to do with its creator.

        Args:
          spin: as for `ipc.channel`.

        Raises:
          SegmentNotFoundError, UntrustedSegmentError, IncompatibleFormatError, CorruptSegmentError.
        """
        spin_ns = arguments.spin_ns(spin)
        return cls._open(Segment.attach("channel", arguments.segment_name(name)), spin_ns)


@final
class Receiver(MessageReceiver[_T]):
    """Receiving end of a channel.  One process and one thread at a time; a second caller gets BusyError.

    Iterating gives messages until the sender has closed.

    Every call raises ClosedError once this end was closed or handed over, ForkedHandleError in a child that was forked
    while it was in use, and CorruptSegmentError where shared memory holds garbage.
    """

    __slots__ = ()

    @classmethod
    def attach(
        cls,
        name: str,
        *,
        accept: arguments.Accept = None,
        max_message: int | str | None = None,
        spin: arguments.Spin = "auto",
    ) -> Receiver[Any]:
        """The receiving end of the channel called `name`; what nobody has read is still there.

        Args:
          accept: which kinds of message to decode: any of "bytes", "array", "pickle"; None for all.
          max_message: bytes, or text such as "64MiB", of the longest message to take memory for; None for any.

        Raises:
          SegmentNotFoundError, UntrustedSegmentError, IncompatibleFormatError, CorruptSegmentError.
        """
        spin_ns = arguments.spin_ns(spin)
        state = arguments.accept_mask(accept), arguments.most_bytes(max_message)
        receiver = cls._open(Segment.attach("channel", arguments.segment_name(name)), spin_ns)
        receiver._set_state(state)
        return receiver


def channel(
    name: str | None = None,
    *,
    capacity: int | str = arguments.DEFAULT_CAPACITY,
    spin: arguments.Spin = "auto",
    accept: arguments.Accept = None,
    max_message: int | str | None = None,
) -> tuple[Sender[Any], Receiver[Any]]:
    """Make a channel; returns its two ends.

    Messages arrive whole, once, and in order.  What a sender has sent survives its death; what a receiver had not taken
    when it died is there for its successor.

    Args:
      name: a file name in IPC_DIR, so that unrelated processes can attach; None for one that only children get, which
        leaves nothing behind whatever happens.
      capacity: bytes of the ring, or text such as "4MiB"; rounded up to a power of two, at least a page.  Larger
        messages stream through it in parts.
      spin: "auto", or seconds to spin before sleeping, of which at most 0.05 count; 0 sleeps at once.
      accept: which kinds of message the receiver decodes: any of "bytes", "array", "pickle"; None for all.
      max_message: bytes, or text such as "64MiB", of the longest message that the receiver takes memory for; None for
        any.  A longer one is dropped with MessageTooLargeError.

    Raises:
      SegmentExistsError: somebody is attached under that name.  (An orphan is replaced.)
      OutOfSharedMemoryError: there is no room for it; nothing was made.
    """
    spin_ns = arguments.spin_ns(spin)
    state = arguments.accept_mask(accept), arguments.most_bytes(max_message)
    size = arguments.capacity_bytes(capacity)
    segment = Segment.create("channel", size, None if name is None else arguments.segment_name(name))
    sender = Sender[Any]._open(segment, spin_ns)
    receiver = Receiver[Any]._open(segment, spin_ns)
    receiver._set_state(state)
    return sender, receiver

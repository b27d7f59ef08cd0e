"""The messages that are sent, and the check that they arrive."""

from __future__ import annotations

from collections.abc import Callable

__all__ = ["expect", "payload"]


def payload(size: int) -> bytes:
    """A message of `size` bytes, the same in every process."""
    return (b"0123456789abcdef" * (size // 16 + 1))[:size]


def expect(recv: Callable[[], object], message: bytes, count: int) -> None:
    """Receive `count` messages and hold each against what was sent."""
    for number in range(1, count + 1):
        got = recv()
        if got != message:
            raise AssertionError(f"message {number} of {count} did not arrive as it was sent: {got!r:.80}")

"""Why a message is not decoded."""

from __future__ import annotations

from ipc import errors
from ipc._core import arguments
from ipc._core import encoding as encodings

__all__ = ["refusal"]


def refusal(what: object, accept: int, encoding: int, size: int, became: str) -> errors.RefusedEncodingError | None:
    """None if `accept`, a mask, allows it.  `became` says what happened to the message."""
    if encoding not in encodings.NAMES:
        return errors.RefusedEncodingError(
            f"{what}: a message of {size} bytes has encoding number {encoding}, which this release can't decode; "
            f"{became}.  Use the same release on both sides"
        )
    if not accept >> encoding & 1:
        accepted = ", ".join(repr(kind) for kind in arguments.accepted(accept))
        return errors.RefusedEncodingError(
            f"{what}: a message of {size} bytes has encoding {encodings.NAMES[encoding]!r}, and accept= allows "
            f"{accepted}; {became}"
        )
    return None

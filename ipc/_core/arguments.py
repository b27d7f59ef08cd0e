"""Checking what users pass: a clear TypeError or ValueError that names the value, the limit and the way out."""

from __future__ import annotations

import functools
import math
import operator
import os
import re
import time
from collections.abc import Iterable
from typing import Final, Literal

from ipc import errors
from ipc._core.native import lib

__all__ = [
    "ALL_ENCODINGS",
    "DEFAULT_CAPACITY",
    "FOREVER_NS",
    "Accept",
    "Spin",
    "Timeout",
    "accept_mask",
    "accepted",
    "capacity_bytes",
    "claim_bytes",
    "deadline_ns",
    "delay_ns",
    "deliveries",
    "duration_ns",
    "extent",
    "integer",
    "lane_count",
    "lease_ns",
    "message_type",
    "most_bytes",
    "most_messages",
    "positive",
    "segment_name",
    "spin_ns",
]

Timeout = float | None
Spin = Literal["auto"] | float
Accept = Iterable[str] | None

DEFAULT_CAPACITY: Final = "1MiB"
FOREVER_NS: Final = 2**64 - 1
_SPIN_AUTO: Final = 2**64 - 1
_LONGEST_SPIN_NS: Final = 50_000_000  # with the slice that follows, still within the 200 ms for signals and death
_LONGEST_MESSAGE: Final = 2**62
_LONGEST_NS: Final = 2**62  # 146 years, and no overflow when a slice is added

_SIZE = re.compile(r"(\d+)\s*(B|KiB|MiB|GiB|TiB)?")
_UNITS = {None: 1, "B": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40}
_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,199}")

_ENCODINGS: dict[str, int] = {
    "bytes": 1 << lib.IPCR_BYTES,
    "pickle": 1 << lib.IPCR_PICKLE | 1 << lib.IPCR_PICKLE_BUFFERS,
    "array": 1 << lib.IPCR_ARRAY,
}
ALL_ENCODINGS: Final[int] = sum(_ENCODINGS.values())


def _size(text: str, what: str) -> int:
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"{what}={text!r} is no size; write a number of bytes or, say, '64KiB' or '4MiB'")
    return int(match[1]) * _UNITS[match[2]]


def capacity_bytes(capacity: object) -> int:
    """Bytes for an int or a text like "4MiB", rounded up to a power of two of at least a page."""
    if isinstance(capacity, str):
        wanted = _size(capacity, "capacity")
    elif isinstance(capacity, int) and not isinstance(capacity, bool):
        wanted = capacity
    else:
        raise TypeError(f"capacity must be an int (bytes) or text such as '4MiB', not {type(capacity).__name__}")
    if not 0 < wanted <= lib.IPCR_MAX_CAPACITY:
        raise ValueError(f"capacity={capacity!r} must be from 1 to {lib.IPCR_MAX_CAPACITY} bytes")
    return int(lib.ipcr_round_capacity(wanted))


def segment_name(name: object) -> str:
    """A name that is a plain file name, so that it can't lead out of IPC_DIR."""
    if not isinstance(name, str):
        raise TypeError(f"name must be a str, not {type(name).__name__}")
    if _NAME.fullmatch(name) is None:
        raise ValueError(
            f"name={name!r} must be 1 to 200 letters, digits, '.', '_' or '-', not starting with '.': it is a file's "
            "name, without slashes"
        )
    return name


def _seconds(value: object, what: str, otherwise: str) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        try:
            value = float(value.__float__())  # type: ignore[attr-defined]  # numpy scalars, Decimal
        except (AttributeError, TypeError):
            raise TypeError(f"{what} must be a number of seconds or {otherwise}, not {value!r}") from None
    value = min(value, _LONGEST_NS)  # an int may be larger than any float
    if value < 0 or math.isnan(value):
        raise ValueError(f"{what}={value!r} must be a number of seconds, 0 or more, or {otherwise}")
    return float(value)


def deadline_ns(timeout: object) -> int:
    """The CLOCK_MONOTONIC time at which a wait that starts now must end."""
    if timeout is None:
        return FOREVER_NS
    if isinstance(timeout, bool):
        raise TypeError(f"timeout must be a number of seconds or None, not {timeout!r}")
    seconds = _seconds(timeout, "timeout", "None")
    return FOREVER_NS if seconds * 1e9 > _LONGEST_NS else time.monotonic_ns() + int(seconds * 1e9)


def spin_ns(spin: object) -> int:
    """How long a wait spins before it parks: "auto" adapts, and never spins where it has one CPU to share."""
    if spin == "auto":
        return _SPIN_AUTO if _cpus_to_spend() >= 2 else 0
    if isinstance(spin, (str, bool)):
        raise TypeError(f"spin must be 'auto' or a number of seconds, not {spin!r}")
    return int(min(_seconds(spin, "spin", "'auto'") * 1e9, _LONGEST_SPIN_NS))


@functools.cache
def _cpus_to_spend() -> float:
    """CPUs that this container may keep busy at once; affinity is looked at in C, where it may change."""
    from ipc._core.cgroup import cpu_quota

    return min(float(os.cpu_count() or 1), cpu_quota())


def accept_mask(accept: Accept) -> int:
    """Which encodings a receiver decodes, as bits; None means all."""
    if accept is None:
        return ALL_ENCODINGS
    kinds = {accept} if isinstance(accept, str) else set(accept)
    unknown = kinds - _ENCODINGS.keys()
    if unknown or not kinds:
        raise ValueError(f"accept={accept!r} must be some of {', '.join(map(repr, _ENCODINGS))}")
    return sum(_ENCODINGS[kind] for kind in kinds)


def _count(value: object, what: str, least: int) -> int:
    if isinstance(value, bool):
        raise TypeError(f"{what} must be an int, not {value!r}")
    try:
        number = operator.index(value)  # type: ignore[arg-type]  # numpy's integers as well
    except TypeError:
        raise TypeError(f"{what} must be an int, not {type(value).__name__}") from None
    if number < least:
        raise ValueError(f"{what}={number} must be {least} or more")
    return number


def positive(value: object, what: str) -> int:
    """An int of 1 or more."""
    return _count(value, what, 1)


def integer(value: object, what: str) -> int:
    """An int, also one of numpy's."""
    return _count(value, what, -(2**62))


def lane_count(value: object) -> int:
    """How many processes may put into a queue at the same time."""
    lanes = _count(value, "lanes", 1)
    if lanes > lib.IPCR_MOST_LANES:
        raise ValueError(f"lanes={lanes} must be from 1 to {lib.IPCR_MOST_LANES}")
    return lanes


def lease_ns(value: object, what: str = "lease") -> int:
    """How long a lease lasts; 0 stands for None, until its holder dies."""
    if value is None:
        return 0
    nanoseconds = int(_seconds(value, what, "None") * 1e9)
    if not 0 < nanoseconds <= lib.IPCR_LONGEST_LEASE_NS:
        raise ValueError(
            f"{what}={value!r} must be more than 0 and at most {lib.IPCR_LONGEST_LEASE_NS // 10**9} seconds"
        )
    return nanoseconds


def duration_ns(value: object, what: str) -> int:
    """A number of seconds from now, 0 or more; 0 also for None."""
    return 0 if value is None else int(min(_seconds(value, what, "None") * 1e9, _LONGEST_NS))


def delay_ns(value: object) -> int:
    """How long a message is kept back; 0 for not at all."""
    nanoseconds = duration_ns(value, "delay")
    if nanoseconds > lib.IPCR_LONGEST_LEASE_NS:
        raise ValueError(f"delay={value!r} must be at most {lib.IPCR_LONGEST_LEASE_NS // 10**9} seconds")
    return nanoseconds


def deliveries(value: object) -> int:
    """How often a message may be delivered."""
    most = _count(value, "max_deliveries", 1)
    if most > lib.IPCR_MOST_DELIVERIES:
        raise ValueError(f"max_deliveries={most} must be from 1 to {lib.IPCR_MOST_DELIVERIES}")
    return most


def most_messages(value: object) -> int:
    """How many messages a batch may have."""
    return _count(value, "max", 1)


def most_bytes(value: object) -> int:
    """How long a message may be that a receiver takes; None for any length, and text such as "4MiB" is fine."""
    if value is None:
        return _LONGEST_MESSAGE
    if isinstance(value, str):
        return _size(value, "max_message")
    return min(_count(value, "max_message", 0), _LONGEST_MESSAGE)


def claim_bytes(value: object) -> int:
    """How many bytes of a ring to lend."""
    if isinstance(value, Iterable) and not isinstance(value, (str, bytes)):
        raise TypeError(
            f"a shape, {value!r}, needs a dtype: claim({value!r}, dtype); without one, claim a number of bytes"
        )
    nbytes = _count(value, "nbytes", 0)
    if nbytes > (most := lib.IPCR_MAX_CAPACITY - lib.IPCR_RECORD_HEADER):
        raise errors.MessageTooLargeError(f"nbytes={nbytes} is more than any ring can carry: {most}")
    return nbytes


def extent(value: object) -> int:
    """One number of an array's shape."""
    return _count(value, "shape", 0)


def accepted(mask: int) -> list[str]:
    """What an accept mask stands for."""
    return [kind for kind, bits in _ENCODINGS.items() if mask & bits]


def message_type(value: object) -> int:
    """A message type: 32 bits that mean whatever the application wants."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"type must be an int, not {type(value).__name__}")
    if not 0 <= value < 2**32:
        raise ValueError(f"type={value} must be from 0 to 2**32 - 1")
    return value

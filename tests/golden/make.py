"""Writes the golden segments, once per version of the format:

    python -m tests.golden.make > tests/golden/format_1.hex
    python -m tests.golden.make multicast > tests/golden/multicast_1.hex
    python -m tests.golden.make queue > tests/golden/queue_1.hex
    python -m tests.golden.make reliable_queue > tests/golden/reliable_queue_1.hex

A channel whose positions began 200 bytes before 2^64, so that they wrap, as the ring does, in an array; all messages
unread; its sender has closed.  A multicast whose numbers pass 2^32, and whose index and data have come round; its
publisher has closed, and a subscriber is in the middle of it.  The queues are those of queues.py.  What is different
each time (uuid, pids, clocks) is zeroed, so that two runs agree.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import ipc
from ipc._core import arguments
from ipc._core.native import ffi, lib
from ipc._core.segment import Segment
from tests.golden import queues
from tests.golden.common import ANYWHERE, CAPACITY, MESSAGES, NAME, directory, same_each_time, to_hex

START = 2**64 - 200

TAKER, PINNED, SLEPT = (512 + 8, 4), (512 + 12, 4), (512 + 64, 8)
DIFFERENT = (*ANYWHERE, TAKER, PINNED, SLEPT)


# A multicast's messages and their topics; those before them fill index and data, and are overwritten.
ENTRIES = 8
FIRST = 2**32 - 9
FILLING = 10
TOPICS: list[tuple[Any, str | None]] = [
    (b"", None),
    (b"bytes", "declinate"),
    ({"a": [1, 2.5, None]}, "macallums"),  # the same number as the one before
    (MESSAGES[3][0], ""),
    (MESSAGES[5][0], "arrays/of bytes"),
    (b"\xa5" * 1500, None),
]
READ = 3  # by the subscriber, of the last 8

PUBLISHER, PARKED, SUBSCRIBER = (384 + 8, 4), (448, 8), (512 + 4, 4)
HIGH_WATER = (512 + 32, 8)  # a statistic that came later: what had no meaning before is 0 in the golden segment
DIFFERENT_IN_MULTICAST = (*ANYWHERE, PUBLISHER, PARKED, SUBSCRIBER, HIGH_WATER)


def content() -> bytes:
    """A channel's segment as this library writes it."""
    with directory() as where:
        segment = Segment.create("channel", CAPACITY, NAME, start_position=START)
        tx: ipc.Sender[Any] = ipc.Sender._open(segment, arguments.spin_ns("auto"))
        del segment
        with tx:
            for message, kind in MESSAGES:
                tx.send(message, type=kind)
        written = Path(where, NAME).read_bytes()
    return same_each_time(written, DIFFERENT)


def content_of_multicast() -> bytes:
    """The same of a multicast."""
    with directory() as where:
        options = ffi.new("struct ipcr_multicast_options *", {"on_laggard": lib.IPCR_EVICT_LAGGARDS, "max_lag": 7})
        segment = Segment.create_multicast(CAPACITY, NAME, ENTRIES, options, start_sequence=FIRST)
        with ipc.Multicast[Any].attach(NAME) as multicast:
            del segment
            with multicast.publisher() as publisher:
                for n in range(FILLING):
                    publisher.publish(b"\x5a" * 300 + bytes([n]))
                subscriber = multicast.subscribe(start=FIRST + FILLING - 2)
                for message, topic in TOPICS[:-1]:
                    publisher.publish(message, topic=topic)
                for _ in range(READ):
                    subscriber.recv()
                publisher.publish(TOPICS[-1][0])
            written = Path(where, NAME).read_bytes()
            subscriber.close()
    return same_each_time(written, DIFFERENT_IN_MULTICAST)


CONTENTS = {
    "channel": content,
    "multicast": content_of_multicast,
    "queue": queues.content,
    "reliable_queue": queues.content_of_reliable_queue,
}

if __name__ == "__main__":
    print(to_hex(CONTENTS[sys.argv[1] if sys.argv[1:] else "channel"]()), end="")

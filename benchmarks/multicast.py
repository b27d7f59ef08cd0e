"""How many messages per second does one publisher get to each of many readers?

One, three and fifteen readers, each a process (with more processes than cores, what counts is also how they wait);
64 bytes and 1 MiB; lossless, where the publisher waits for the slowest, and lossy, where it waits for nobody.

The clock starts when the publisher starts and stops when the last reader is through.  A lossless rate is all messages
by that time.  A lossy one is what arrived, averaged over the readers; beside it stand how many were published per
second, and the part of them that did not arrive.  1 MiB is measured in several ways: taken, as everybody does it
best, which may be lent; lossy, as bytes that the reader owns; and read where it lies (or as the copy that was got) by
numpy's sum, because whoever needs 1 MiB looks at it.

All of these are a memcpy for each message.  What the transport itself costs shows where it lends its memory to
publisher and readers, and nobody copies: 1 MiB *in place*, of which 8 bytes are written and read, as if the rest came
from a camera.  How everybody waits by default is not the same: some poll.  So this is asked again with readers that go
to sleep at once, of those who can.
"""

from __future__ import annotations

import contextlib
import itertools
import socket
import sys
from collections.abc import Callable, Sequence
from itertools import repeat
from pathlib import Path
from time import monotonic_ns
from typing import TYPE_CHECKING, Any

from . import contest, options, report
from .figures import Column, Summary, gigabytes, rate, size_label, spread
from .messages import payload
from .peers import ReceiveEnd, SendEnd, Wait
from .plan import Case, Ends, Role, Wire

if TYPE_CHECKING:
    from typing_extensions import Self

NAME = "multicast"
OURS = "ipc_multicast"
MULTICAST = True
LIMIT = 20_000_000
METRIC = "messages_per_second"
READERS = (1, 3, 15)
SIZES = (64, 1 << 20)
POLICIES = ("lossless", "lossy")
LARGE = 64 << 10  # bytes: worth a closer look
GOAL = "at least 2 x the best peer"

END = ord("E")  # no message of payload() begins with it
STAMP = slice(1, 9)
SECONDS_BETWEEN_ENDS = 0.001


def _percent(values: Summary) -> str:
    return f"{100 * values['median']:.3g} %"


COLUMNS = (
    Column("messages/s to each", METRIC, rate),
    Column("min..max", METRIC, spread(rate)),
    Column("GB/s to each", "gigabytes_per_second", gigabytes),
    Column("published/s", "published_per_second", rate),
    Column("lost", "lost_share", _percent),
)


def _way(case: Case) -> tuple[int, bool, str]:
    """Readers, whether messages may be lost, and what is done with each: one of USES."""
    readers, policy, use = case.way.split()
    return int(readers), policy == "lossy", use


# --- publishing -----------------------------------------------------------------------------------------------------


def publish_all(case: Case, ends: Ends, count: int, checked: bool) -> dict[str, float]:
    end = ends.senders[0]
    publish, prepare = end.send, end.prepare or bytes
    message = prepare(payload(case.message_bytes))
    readers, lossy, use = _way(case)
    if use == "in-place":
        return _publish_in_place(end, case.message_bytes, count)
    with _Ended(ends.directory) if lossy else contextlib.nullcontext() as ended:
        start = monotonic_ns()
        for _ in repeat(None, count):
            publish(message)
        times: dict[str, float] = {"start_ns": start, "end_ns": monotonic_ns()}
        while ended is not None and ended.heard < readers:  # whoever is overtaken loses this one too
            publish(prepare(_end_of_round(case.message_bytes)))
            ended.hear(SECONDS_BETWEEN_ENDS)
    return times


def _publish_in_place(end: SendEnd, size: int, count: int) -> dict[str, float]:
    claim, shape = end.claim, (size // 8,)
    assert claim is not None, "peers without LENDS take no part"
    start = monotonic_ns()
    for number in range(count):
        with claim(shape, "<u8") as message:
            message[0] = number
    return {"start_ns": start, "end_ns": monotonic_ns()}


def _end_of_round(size: int) -> bytes:
    """What says that a round is over.  The time tells it from those of the round before, which may come late."""
    return (bytes([END]) + monotonic_ns().to_bytes(8, "little")).ljust(size)


class _Ended:
    """Who has come to the end of a lossy round; told beside the transport, which may lose anything."""

    def __init__(self, directory: str) -> None:
        self._path = _address(directory)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.heard = 0

    def __enter__(self) -> Self:
        self._socket.bind(str(self._path))
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._socket.close()
        self._path.unlink()

    def hear(self, seconds: float) -> None:
        self._socket.settimeout(seconds)
        with contextlib.suppress(TimeoutError):
            self._socket.recv(1)
            self.heard += 1


def _tell_ended(directory: str) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as told:
        told.sendto(b"E", str(_address(directory)))


def _address(directory: str) -> Path:
    return Path(directory) / "ended"


# --- reading --------------------------------------------------------------------------------------------------------


def read_all(case: Case, ends: Ends, count: int, checked: bool) -> dict[str, float]:
    end, message = ends.receivers[0], payload(case.message_bytes)
    _, lossy, how = _way(case)
    start = monotonic_ns()
    total = _Total(message) if how == "sum" and not checked else None
    use: Use | None = None if total is None else total.add
    if how == "in-place":
        use = _in_order()
    elif checked:
        use = _comparing(message)
    if lossy:
        arrived = _take_until_the_end(end, use, start, lent=how != "copy")
        times = {"start_ns": start, "end_ns": monotonic_ns()}
        _tell_ended(ends.directory)
    else:
        _take(end, use, count)
        arrived, times = count, {"start_ns": start, "end_ns": monotonic_ns()}
    if total is not None:
        total.check(arrived)
    return {**times, "arrived": arrived}


Use = Callable[[Any], object]


def _take(end: ReceiveEnd, use: Use | None, count: int) -> None:
    recv, view = end.recv, end.view
    if view is None:
        for _ in repeat(None, count):
            message = recv()
            if use is not None:
                use(message)
        return
    for _ in repeat(None, count):
        with view() as message:
            if use is not None:
                use(message)


def _take_until_the_end(end: ReceiveEnd, use: Use | None, start: int, lent: bool) -> int:
    """How many arrived.  The publisher says the end again and again, so that nobody misses it."""
    recv, view, arrived = end.recv, end.view if lent else None, 0
    while True:
        if view is None:
            message: Any = recv()
            if message[0] != END:
                arrived += 1
                if use is not None:
                    use(message)
                continue
            stamp = message[STAMP]
        else:
            with view() as message:
                if message[0] != END:
                    arrived += 1
                    if use is not None:
                        use(message)
                    continue
                stamp = bytes(message[STAMP])
        if int.from_bytes(stamp, "little") > start:
            return arrived


def _comparing(expected: bytes) -> Use:
    def compare(message: Any) -> None:
        if message != expected:
            raise AssertionError(f"a message did not arrive as it was published: {bytes(message)[:80]!r}")

    return compare


def _in_order() -> Use:
    expected = itertools.count()

    def look(message: Any) -> None:
        number, found = next(expected), int.from_bytes(memoryview(message).cast("B")[:8], "little")
        if found != number:
            raise AssertionError(f"a message did not arrive as it was published: number {number} says {found}")

    return look


class _Total:
    """The sum of all words of all messages, modulo 2**64."""

    def __init__(self, message: bytes) -> None:
        import numpy as np  # here, so that processes that don't sum start sooner

        self._array, self._word, self._sum = np.frombuffer, np.uint64, 0
        self.add(message)
        self._each, self._sum = self._sum, 0

    def add(self, message: Any) -> None:
        self._sum += int(self._array(message, self._word).sum())

    def check(self, messages: int) -> None:
        if self._sum != messages * self._each:
            raise AssertionError("messages did not arrive as they were published: their sum is another one")


# --- the question ---------------------------------------------------------------------------------------------------


def roles(case: Case) -> Sequence[Role]:
    readers, _, _ = _way(case)
    return (
        Role("publisher", publish_all, (Wire(0, "send"),)),
        *(Role(f"reader {n}", read_all, (Wire(0, "receive"),)) for n in range(readers)),
    )


def combine(case: Case, count: int, results: Sequence[dict[str, float]]) -> dict[str, float]:
    publisher, *readers = results
    seconds = (max(one["end_ns"] for one in readers) - publisher["start_ns"]) / 1e9
    arrived = sum(one["arrived"] for one in readers) / len(readers)
    return {
        METRIC: arrived / seconds,
        "gigabytes_per_second": arrived * case.message_bytes / seconds / 1e9,
        "published_per_second": count / ((publisher["end_ns"] - publisher["start_ns"]) / 1e9),
        "lost_share": 1 - arrived / count,
        "publisher_cpu_seconds": publisher["cpu_seconds"],
        "reader_cpu_seconds": sum(one["cpu_seconds"] for one in readers) / len(readers),
        "publisher_sleeps": publisher["sleeps"],
        "reader_sleeps": sum(one["sleeps"] for one in readers) / len(readers),
    }


USES = {"take": "", "copy": ", as bytes", "sum": ", summed", "in-place": ", in place"}
WAITS: dict[Wait, str] = {"default": "", "parked": ", asleep"}


def _uses(policy: str, size: int) -> Sequence[tuple[str, Wait]]:
    """What may be overwritten is lent to readers by iceoryx2 alone."""
    if size < LARGE:
        return (("take", "default"),)
    if policy == "lossy":
        return (("take", "default"), ("copy", "default"), ("sum", "default"))
    return (("take", "default"), ("sum", "default"), ("in-place", "default"), ("in-place", "parked"))


def _case(policy: str, readers: int, size: int, use: str, wait: Wait = "default") -> Case:
    people = f"{readers} reader{'s' if readers > 1 else ''}"
    label = f"{policy}, {size_label(size)}{USES[use]}{WAITS[wait]}, {people}"
    return Case(label, size, max(1 << 20, 8 * size), wait, way=f"{readers} {policy} {use}")


def run(
    settings: options.Settings,
    readers: Sequence[int] = READERS,
    sizes: Sequence[int] = SIZES,
    policies: Sequence[str] = POLICIES,
) -> report.Report:
    found = report.Report(NAME, "Multicast, one publisher, every message to every reader", COLUMNS, METRIC)
    for policy in policies:
        for size in sizes:
            for use, wait in _uses(policy, size):
                for number in readers:
                    case = _case(policy, number, size, use, wait)
                    rows = found.hold(contest.peers(NAME, case, settings), settings)
                    found.compare(rows, "ours", "best", goal=GOAL)
    return found


def main(argv: Sequence[str] | None = None) -> int:
    parser = options.parser(__doc__, NAME)
    parser.add_argument(
        "--readers", type=options.positive, nargs="+", default=READERS, metavar="N", help="how many readers (1 3 15)"
    )
    parser.add_argument(
        "--size", type=options.size, nargs="+", default=SIZES, metavar="BYTES", help="message sizes (64 1MiB)"
    )
    parser.add_argument("--policy", nargs="+", choices=POLICIES, default=POLICIES, help="one of them only")
    args = parser.parse_args(argv)
    if any(size < 16 or size % 8 for size in args.size):
        parser.error("argument --size: messages have a multiple of 8 bytes, and at least 16")
    return options.finish(args, run(options.settings(args), args.readers, args.size, args.policy))


if __name__ == "__main__":
    sys.exit(main())

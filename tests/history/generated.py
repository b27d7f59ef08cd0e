"""Seeded histories, good and bad, of every structure, for testing the checker: `python -m tests.history.generated`."""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache
from itertools import count
from typing import Final

from tests.history.checker import check
from tests.history.rules import CHANNEL, LOSSLESS, LOSSY, QUEUE, RELIABLE, Report, ring_room
from tests.history.simulate import one_channel, one_queue
from tests.history.simulate_more import DELAY, LEASE, MOST_DELIVERIES, reliable_queue
from tests.history.simulate_multicast import multicast
from tests.history.spoil import SPOILERS, Case
from tests.history.spoil_more import MORE_SPOILERS
from tests.history.spoil_multicast import MULTICAST_SPOILERS

__all__ = ["KINDS", "MULTICASTS", "STRUCTURES", "bad", "good", "judge_bad", "judge_good"]


def _channel(seed: int) -> Case:
    capacity = (512, 1024, 4096)[seed % 3]
    history = one_channel(seed, capacity=capacity, room=ring_room)
    return Case(history, replace(CHANNEL, capacity=capacity, room=ring_room), set())


def _queue(seed: int) -> Case:
    maxsize = 1 + seed % 7
    history, left = one_queue(seed, maxsize=maxsize)
    return Case(history, replace(QUEUE, capacity=maxsize), left)


def _reliable(seed: int) -> Case:
    history, left = reliable_queue(seed)
    return Case(history, replace(RELIABLE, lease_ns=LEASE, delay_ns=DELAY, most_deliveries=MOST_DELIVERIES), left)


def _evicting(seed: int) -> Case:
    lag = 2 + seed % 5
    history = multicast(seed, lag=lag)
    return Case(history, replace(LOSSLESS, least_lag=lag), set())


STRUCTURES: Final[dict[str, Callable[[int], Case]]] = {
    "channel": _channel,
    "queue": _queue,
    "reliable queue": _reliable,
    "lossless multicast": lambda seed: Case(multicast(seed), LOSSLESS, set()),
    "lossy multicast": lambda seed: Case(multicast(seed, lossy=True), LOSSY, set()),
    "multicast that evicts": _evicting,
}
MULTICASTS: Final = ("lossless multicast", "lossy multicast", "multicast that evicts")

KINDS: Final = SPOILERS | MORE_SPOILERS | MULTICAST_SPOILERS


def good(number: int, structures: tuple[str, ...] = ()) -> tuple[str, Case]:
    """The structures (all, if none are named) take turns."""
    names = structures or tuple(STRUCTURES)
    name = names[number % len(names)]
    return name, STRUCTURES[name](number)


@cache
def _pairs(structures: tuple[str, ...]) -> list[tuple[str, str]]:
    """Each structure with each fault that its promises exclude."""
    return [
        (name, kind)
        for name in structures or STRUCTURES
        for kind, spoiler in KINDS.items()
        if spoiler.fits(STRUCTURES[name](0).rules)
    ]


def bad(number: int, structures: tuple[str, ...] = ()) -> tuple[str, str, Case]:
    """Structure and kind of fault take turns; the first history of its seeds that has a place for the fault."""
    pairs = _pairs(structures)
    name, kind = pairs[number % len(pairs)]
    for seed in count(1000 * number):
        case = STRUCTURES[name](seed)
        if KINDS[kind].spoil(case, random.Random(seed)):
            return name, kind, case
    raise AssertionError


def judge_good(numbers: range, structures: tuple[str, ...] = ()) -> Iterator[tuple[int, str, Report]]:
    """What the checker says about good histories."""
    for number in numbers:
        name, case = good(number, structures)
        yield number, name, check(case.history, case.rules, left=case.left)


def judge_bad(numbers: range, structures: tuple[str, ...] = ()) -> Iterator[tuple[int, str, str, Report]]:
    """What the checker says about bad ones."""
    for number in numbers:
        name, kind, case = bad(number, structures)
        yield number, name, kind, check(case.history, case.rules, left=case.left)


def main() -> int:
    """Print how many of each were judged rightly; the exit code says whether all were."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--histories", type=int, default=1000, help="good ones, and as many bad ones")
    parser.add_argument("--of", choices=("all", "multicasts"), default="all", help="which structures")
    options = parser.parse_args()
    wanted, structures = options.histories, MULTICASTS if options.of == "multicasts" else ()
    start = time.monotonic()
    accepted: Counter[str] = Counter()
    operations = wrong = 0
    for number, name, report in judge_good(range(wanted), structures):
        accepted[name] += report.accepted
        operations += report.sent + report.received
        wrong += not report.accepted
        if not report.accepted:
            print(f"good history {number} of a {name}: {report}")
    refused: Counter[str] = Counter()
    kinds: dict[str, set[str]] = {}
    for number, name, kind, report in judge_bad(range(wanted), structures):
        fault = KINDS[kind].fault
        right = fault in report.faults
        refused[fault.value] += right
        kinds.setdefault(fault.value, set()).add(f"{kind} ({name})")
        wrong += not right
        if not right:
            print(f"bad history {number} of a {name}, {kind!r}: {report}")
    print(f"accepted {sum(accepted.values())} of {wanted} good histories, {operations} sends and receipts:")
    for name, times in accepted.items():
        print(f"  {times:5} {name}")
    print(f"refused {sum(refused.values())} of {wanted} bad histories for the right reason:")
    for fault_name, times in sorted(refused.items()):
        print(f"  {times:5} {fault_name}, in {len(kinds[fault_name])} ways")
    print(f"in {time.monotonic() - start:.1f} s")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())

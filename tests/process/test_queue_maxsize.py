"""maxsize with several producers: n that put at the same moment overshoot it by n - 1 at most, as documented.

The parent alone takes, so what it counts was there all together at the end of its count.  How far they really overshoot
depends on luck; that they can is shown by the explorer's scenario queue-maxsize.
"""

from __future__ import annotations

import queue as standard
from contextlib import ExitStack
from typing import Any

import pytest

import ipc
from tests.process.support import Forked, until

LONG = 30.0
EACH = 2000


@pytest.mark.parametrize("maxsize", [1, 5])
@pytest.mark.parametrize("producers", [1, 2, 4])
def test_n_producers_overshoot_maxsize_by_n_minus_1_at_most(producers: int, maxsize: int) -> None:
    with ipc.Queue[Any](maxsize) as q, ExitStack() as running:

        def put_all(which: int) -> None:
            number = 0
            while number < EACH:
                try:
                    if number % 2:
                        q.put_nowait((which, number))
                    else:
                        q.put((which, number), timeout=LONG)
                except standard.Full:
                    continue
                number += 1

        children = [running.enter_context(Forked(lambda which=which: put_all(which))) for which in range(producers)]  # type: ignore[misc]
        until(q.full, "the queue is full")
        got: list[Any] = []
        most = q.qsize()
        while len(got) < producers * EACH:
            most = max(most, q.qsize())
            got.append(q.get(timeout=LONG))
        assert maxsize <= most <= maxsize + producers - 1
        assert [child.join() for child in children] == [0] * producers
        for which in range(producers):
            assert [number for putter, number in got if putter == which] == list(range(EACH))

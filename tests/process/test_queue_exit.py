"""How a process ends that has put more than its lane holds: it joins its feeder, unless it was told not to."""

from __future__ import annotations

import queue as standard
import signal
from typing import Any

import pytest

import ipc
from tests.process import queue_roles as roles
from tests.process.support import METHODS, Forked, Python, context, running

LONG = 30.0
PAGE = 4096
COUNT = 2000

PUT = """
import sys, ipc
q = ipc.Queue.attach(sys.argv[1])
for number in range(2000):
    q.put(number)
{more}
print("put", flush=True)
{end}
"""

JOINS = {
    "returns": ("", ""),
    "closes": ("q.close()", ""),
    "closes and joins": ("q.close(); q.join_thread()", ""),
    "forgets it": ("del q", ""),
    "sys.exit": ("", "sys.exit(0)"),
    "an exception": ("", "sys.excepthook = lambda *_: None; raise LookupError"),
}


@pytest.mark.parametrize("how", JOINS)
def test_a_process_that_ends_sends_all_that_it_has_put(name: str, how: str) -> None:
    more, end = JOINS[how]
    with ipc.Queue[Any](name=name, capacity=PAGE) as q, Python(PUT.format(more=more, end=end), name) as other:
        if how != "closes and joins":
            assert other.hear() == "put"
        assert q.get(timeout=LONG) == 0
        assert other.process.poll() is None
        assert [q.get(timeout=LONG) for _ in range(COUNT - 1)] == list(range(1, COUNT))
        assert other.end() == (1 if how == "an exception" else 0)
        with pytest.raises(standard.Empty):
            q.get(timeout=0)


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_process_that_need_not_join_ends_at_once_and_loses_only_what_its_feeder_had(name: str, when: str) -> None:
    code = PUT.format(more="q.cancel_join_thread()", end="")
    if when == "before":
        code = code.replace("for number", "q.cancel_join_thread()\nfor number")
    with ipc.Queue[Any](name=name, capacity=PAGE) as q, Python(code, name) as other:
        assert other.hear() == "put"
        assert other.end() == 0
        got = q.get_many(timeout=LONG)
        assert got == list(range(len(got)))
        assert 0 < len(got) < COUNT
        with pytest.raises(standard.Empty):
            q.get(timeout=0)


@pytest.mark.parametrize("method", METHODS)
def test_a_child_that_returns_sends_all_that_it_has_put(method: str) -> None:
    with ipc.Queue[Any](capacity=PAGE) as q:
        child = context(method).Process(target=roles.put_numbers, args=(q, 7, COUNT))  # type: ignore[attr-defined]
        child.start()
        with running(child):
            assert [q.get(timeout=LONG) for _ in range(COUNT)] == [(7, number) for number in range(COUNT)]
            child.join(LONG)
            assert child.exitcode == 0


@pytest.mark.parametrize("method", METHODS)
def test_a_child_that_need_not_join_ends_at_once(method: str) -> None:
    with ipc.Queue[Any](capacity=PAGE) as q:
        child = context(method).Process(target=roles.put_and_leave, args=(q, COUNT))  # type: ignore[attr-defined]
        child.start()
        with running(child):
            child.join(LONG)
            assert child.exitcode == 0
            got = q.get_many(timeout=LONG)
            assert got == list(range(len(got)))


def test_a_main_process_gives_its_children_all_that_it_has_put_before_it_ends() -> None:
    """Workers that aren't waited for by name: the parent's end joins them, and they are fed until then."""
    code = """
import multiprocessing, ipc
def work(q):
    print(sum(q.get(timeout=30) for _ in range(3000)), flush=True)
if __name__ == "__main__":
    q = ipc.Queue(capacity=4096)
    for number in range(3000):
        q.put(number)
    multiprocessing.get_context("fork").Process(target=work, args=(q,)).start()
"""
    with Python(code) as other:
        assert other.hear() == str(sum(range(3000)))
        assert other.end() == 0


def test_a_bounded_queue_has_no_thread() -> None:
    code = """
import threading, ipc
q = ipc.Queue(3)
for number in range(3):
    q.put(number)
try:
    q.put(4, timeout=0.1)
except Exception as error:
    print(type(error).__name__, threading.active_count())
"""
    with Python(code) as other:
        assert other.hear() == "Full 1"
        assert other.end() == 0


def test_a_killed_producer_s_messages_that_put_returned_from_are_there(name: str) -> None:
    with ipc.Queue[Any](5000, name=name) as q:

        def child() -> None:
            for number in range(1000):
                q.put(number)
            signal.raise_signal(signal.SIGKILL)

        with Forked(child) as forked:
            assert forked.join() == -signal.SIGKILL
        assert [q.get(timeout=LONG) for _ in range(1000)] == list(range(1000))
        with pytest.raises(standard.Empty):
            q.get(timeout=0)


def test_a_lane_of_a_killed_producer_is_used_again() -> None:
    with ipc.Queue[Any](lanes=2) as q:
        q.put("the parent's lane")
        for number in range(20):

            def child(number: int = number) -> None:
                q.put(number)
                signal.raise_signal(signal.SIGKILL)

            with Forked(child) as forked:
                assert forked.join() == -signal.SIGKILL
        assert [q.get(timeout=LONG) for _ in range(21)] == ["the parent's lane", *range(20)]


def test_a_killed_consumer_takes_one_message_along_at_most(name: str) -> None:
    with ipc.Queue[Any](name=name) as q, ipc.Queue[Any]() as told:

        def child() -> None:
            while True:
                told.put(q.get(timeout=LONG))

        for turn in range(5):
            with Forked(child) as forked:
                for number in range(50):
                    q.put((turn, number))
                first = told.get(timeout=LONG)
                forked.kill()
            got = [first]
            while True:
                try:
                    got.append(told.get(timeout=0))
                except standard.Empty:
                    break
            left = []
            while q.qsize():
                left.append(q.get(timeout=LONG))
            numbers = [number for _, number in (*got, *left)]
            # what it had taken and not passed on is lost, as with any queue of this kind: one message at most
            assert len(numbers) in {49, 50}
            assert sorted(numbers) == sorted(set(numbers))

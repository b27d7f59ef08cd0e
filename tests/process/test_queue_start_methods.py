"""Queues as arguments of processes, under every start method; and unrelated processes that attach by name."""

from __future__ import annotations

import pickle
import queue as standard
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

import ipc
from tests.process import queue_roles as roles
from tests.process.support import METHODS, Python, context, pipe, receive, running

LONG = 30.0

method = pytest.mark.parametrize("method", METHODS)
KINDS: dict[str, Any] = {
    "unbounded": ipc.Queue,
    "bounded": lambda **made: ipc.Queue(5, **made),
    "reliable": ipc.ReliableQueue,
}
kind = pytest.mark.parametrize("make", KINDS.values(), ids=KINDS)


def start(method: str, target: Any, *args: Any) -> Any:
    process = context(method).Process(target=target, args=args)  # type: ignore[attr-defined]
    process.start()
    return process


def ended(process: Any) -> bool:
    process.join(LONG)
    return bool(process.exitcode == 0)


MESSAGES: list[Any] = [b"", b"bytes", "text", None, {"a": [1, 2.5]}, bytes(100_000), "x" * 100_000]


@method
@kind
def test_messages_go_there_and_back(method: str, make: Any) -> None:
    with make() as there, make() as back, running(start(method, roles.echo, there, back)) as child:
        for message in MESSAGES:
            there.put(message)
            assert roles.take(back) == message
        there.put(np.arange(5000.0))
        assert roles.take(back).tolist() == list(range(5000))
        there.put(roles.END)
        assert ended(child)


@method
@kind
def test_a_queue_that_was_used_before_goes_to_a_child_with_what_is_in_it(method: str, make: Any) -> None:
    with make() as there, make() as back:
        there.put("taken by the parent")
        assert roles.take(there) == "taken by the parent"
        there.put("put by the parent")
        with running(start(method, roles.echo, there, back)) as child:
            assert roles.take(back) == "put by the parent"
            there.put(roles.END)
            assert ended(child)


@method
def test_code_written_for_multiprocessing_works_by_changing_the_import(method: str) -> None:
    """The example of the standard library's documentation: workers, a JoinableQueue of tasks, sentinels, results."""
    with ipc.JoinableQueue[Any]() as tasks, ipc.SimpleQueue[Any]() as results:
        workers = [start(method, roles.square, tasks, results) for _ in range(3)]
        try:
            for number in range(60):
                tasks.put(number)
            tasks.join()
            assert sorted(results.get() for _ in range(60)) == [number * number for number in range(60)]
            for _ in workers:
                tasks.put(None)
            assert all(map(ended, workers))
        finally:
            for worker in workers:
                worker.kill()
                worker.join()


@method
def test_many_processes_put_and_many_get_and_each_message_comes_once(method: str) -> None:
    putters, getters, count = 2, 2, 500
    with ipc.Queue[Any](20) as q, ipc.Queue[Any]() as results:
        children = [start(method, roles.put_numbers, q, which, count) for which in range(putters)]
        takers = [start(method, roles.report_all, q, results) for _ in range(getters)]
        try:
            assert all(map(ended, children))
            for _ in takers:
                q.put(roles.END)
            taken = [results.get(timeout=LONG) for _ in takers]
            assert all(map(ended, takers))
        finally:
            for child in (*children, *takers):
                child.kill()
                child.join()
    everything = sorted(message for each in taken for message in each)
    assert everything == [(which, number) for which in range(putters) for number in range(count)]
    for each in taken:
        for which in range(putters):
            numbers = [number for putter, number in each if putter == which]
            assert numbers == sorted(numbers)


@method
def test_fill_first_and_start_the_workers_later(method: str) -> None:
    with ipc.Queue[Any]() as q, ipc.Queue[Any]() as results:
        for number in range(20_000):
            q.put(number)
        q.put(roles.END)
        with running(start(method, roles.report_all, q, results)) as worker:
            got: list[int] = []
            while len(got) < 20_000:
                got += results.get(timeout=LONG)
            assert got == list(range(20_000))
            assert ended(worker)


@method
def test_a_child_may_start_grandchildren_with_the_same_queue(method: str) -> None:
    with ipc.Queue[Any]() as q, running(start(method, roles.hand_on, method, q, 3)) as child:
        assert sorted(q.get(timeout=LONG) for _ in range(3)) == [1, 2, 3]
        assert ended(child)


@method
def test_what_a_child_put_is_there_after_its_end(method: str) -> None:
    with ipc.Queue[Any]() as q, running(start(method, roles.put_numbers, q, 0, 100)) as child:
        assert ended(child)
        assert [q.get_nowait() for _ in range(100)] == [(0, number) for number in range(100)]


@method
def test_tasks_done_in_children_count(method: str) -> None:
    with ipc.JoinableQueue[Any]() as q:
        for number in range(10):
            q.put(number)
        with running(start(method, roles.do_tasks, q, 10)) as child:
            q.join()
            assert ended(child)
        with pytest.raises(ValueError, match="too many"):
            q.task_done()


@method
def test_shutdown_ends_children(method: str) -> None:
    with (
        ipc.Queue[Any]() as q,
        ipc.Queue[Any]() as told,
        running(start(method, roles.get_until_shutdown, q, told)) as child,
    ):
        q.put("one")
        assert told.get(timeout=LONG) == "one"
        q.shutdown()
        assert told.get(timeout=LONG) == "shut down"
        assert ended(child)


@method
def test_a_reliable_queue_goes_with_its_dead_letters_and_what_bounds_it(method: str) -> None:
    with (
        ipc.ReliableQueue[Any]() as dead,
        ipc.ReliableQueue[Any](max_deliveries=1, dead_letter=dead, prefetch=2) as q,
        running(start(method, roles.give_back_all, q)) as child,
    ):
        receipts = q.put_many(range(4))
        letters = [dead.get(LONG).message for _ in range(4)]
        assert [letter.message for letter in letters] == [0, 1, 2, 3]
        assert [letter.id for letter in letters] == [receipt.id for receipt in receipts]
        q.put(roles.END)
        assert ended(child)


@method
def test_acks_of_children_decide_the_parent_s_receipts(method: str) -> None:
    with ipc.ReliableQueue[Any](lease=None) as q, running(start(method, roles.ack_all, q)) as child:
        receipts = [q.put(number) for number in range(20)]
        assert all(receipt.wait(LONG) for receipt in receipts)
        q.put(roles.END).wait(LONG)
        assert ended(child)


@pytest.mark.parametrize("how", ["spawn", "worker"])
def test_a_worker_takes_queues_as_it_takes_channels(how: str) -> None:
    with ipc.Queue[Any]() as there, ipc.Queue[Any]() as back:
        with ipc.spawn(roles.echo, there, back, context=context("spawn" if how == "spawn" else "fork")) as worker:
            there.put([1, 2])
            assert back.get(timeout=LONG) == [1, 2]
            there.put(roles.END)
            worker.join()
        assert worker.exitcode == 0


def test_a_named_queue_goes_along_with_its_name(name: str) -> None:
    with (
        ipc.Queue[Any](name=name) as q,
        pipe() as (ours, theirs),
        running(start("spawn", roles.tell_name, q, theirs)) as child,
    ):
        assert receive(ours) == name
        assert ended(child)


# --- not this way -------------------------------------------------------------------------------------------------


@kind
def test_a_queue_is_handed_over_at_process_start_only(make: Any) -> None:
    with make() as q:
        with pytest.raises(ipc.HandOverError, match="only be pickled as an argument of a process"):
            pickle.dumps(q)
        with pipe() as (ours, _), pytest.raises(ipc.HandOverError):
            ours.send(q)
        q.close()
        with pytest.raises(ipc.ClosedError):
            start("spawn", roles.echo, q, q)


# --- unrelated processes ------------------------------------------------------------------------------------------

ECHO = """
import sys, ipc
kind, name = sys.argv[1:]
q = getattr(ipc, kind).attach(name)
print("attached", flush=True)
for line in sys.stdin:
    got = q.get(timeout=30)
    if kind == "ReliableQueue":
        got.ack()
        got = got.message
    print(got, flush=True)
    q.put(("back", got))
q.close()
"""


@pytest.mark.parametrize("which", ["Queue", "ReliableQueue"])
def test_unrelated_processes_meet_by_name(name: str, which: str) -> None:
    with getattr(ipc, which)(name=name) as q, Python(ECHO, which, name) as other:
        assert other.hear() == "attached"
        for number in range(5):
            q.put(number)
            other.say("go on")
            assert other.hear() == str(number)
            assert roles.take(q) == ("back", number)
        assert {one.pid for one in q.stats().participants if one.alive} >= {other.pid}
        assert other.end() == 0
    assert not any(entry.name == name for entry in ipc.ls())


@pytest.mark.parametrize("which", ["Queue", "ReliableQueue"])
def test_unread_messages_outlive_every_process(name: str, which: str) -> None:
    code = f"import sys, ipc\nq = ipc.{which}(name=sys.argv[1])\nfor n in range(10): q.put(n)\n"
    subprocess.run([sys.executable, "-c", code, name], check=True)
    assert ipc.stats(name).depth == 10
    with getattr(ipc, which).attach(name) as q:
        assert [roles.take(q) for _ in range(10)] == list(range(10))
        with pytest.raises(standard.Empty):
            q.get(timeout=0)

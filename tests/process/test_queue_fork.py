"""Queues over fork: the child is a participant of its own, and nothing that it does harms the parent."""

from __future__ import annotations

import os
import queue as standard
import signal
import threading
from typing import Any

import pytest

import ipc
from tests.process import queue_roles as roles
from tests.process.support import Forked, context, running, until

LONG = 30.0
PAGE = 4096

Reliable = ipc.ReliableQueue[Any]

KINDS: dict[str, Any] = {
    "unbounded": ipc.Queue,
    "bounded": lambda **made: ipc.Queue(100, **made),
    "reliable": ipc.ReliableQueue,
}
kind = pytest.mark.parametrize("make", KINDS.values(), ids=KINDS)


@kind
def test_order_holds_across_a_fork(make: Any) -> None:
    """Parent puts 0 to 9, the forked child 10 to 19: they come as 0 to 19."""
    with make() as q:
        for number in range(10):
            q.put(number)

        def child() -> None:
            for number in range(10, 20):
                q.put(number)

        with Forked(child) as forked:
            assert forked.join() == 0
        assert [roles.take(q) for _ in range(20)] == list(range(20))


def test_order_holds_across_a_fork_by_multiprocessing() -> None:
    with ipc.Queue[Any]() as q:
        for number in range(10):
            q.put(number)
        child = context("fork").Process(target=q.put_many, args=(range(10, 20),))  # type: ignore[attr-defined]
        child.start()
        with running(child):
            child.join()
            assert [q.get(timeout=LONG) for _ in range(20)] == list(range(20))


@kind
def test_parent_and_child_put_and_take_at_the_same_time(make: Any) -> None:
    with make() as q, ipc.Queue[Any]() as back:
        q.put("used before the fork")
        assert roles.take(q) == "used before the fork"

        def child() -> None:
            for number in range(300):
                q.put(("child", number))
                back.put(roles.take(q))

        with Forked(child) as forked:
            got = []
            for number in range(300):
                q.put(("parent", number))
                got.append(roles.take(q))
            assert forked.join() == 0
        got += [roles.take(back) for _ in range(300)]
        assert sorted(got) == [(who, number) for who in ("child", "parent") for number in range(300)]


@kind
@pytest.mark.parametrize("ending", ["close", "os._exit", "SIGKILL", "collect"])
def test_whatever_a_forked_child_does_with_its_copy_the_parent_goes_on(make: Any, ending: str, name: str) -> None:
    with make(name=name) as q:
        q.put("before")

        def child() -> None:
            q.put("from the child")
            if ending == "close":
                q.close()
            elif ending == "SIGKILL":
                os.kill(os.getpid(), signal.SIGKILL)
            elif ending == "collect":
                from ipc._core.queues import _close_all

                _close_all()

        with Forked(child) as forked:
            assert forked.join() == (-signal.SIGKILL if ending == "SIGKILL" else 0)
        q.put("after")
        assert [roles.take(q) for _ in range(3)] == ["before", "from the child", "after"]
        assert ipc.stats(name).attached
    assert not any(entry.name == name for entry in ipc.ls())


def test_a_child_of_a_child_is_a_participant_as_well() -> None:
    with ipc.Queue[Any]() as q:
        q.put(0)

        def grandchild() -> None:
            q.put(2)
            assert q.get(timeout=LONG) == 0

        def child() -> None:
            q.put(1)
            with Forked(grandchild) as forked:
                assert forked.join() == 0
            assert q.get(timeout=LONG) == 1

        with Forked(child) as forked:
            assert forked.join() == 0
        assert q.get(timeout=LONG) == 2
        assert len(q.stats().lanes) == 3


def test_a_fork_while_other_threads_are_inside_leaves_the_child_free() -> None:
    """Locks that another thread of the parent holds at the fork would be locked in the child for ever."""
    with ipc.Queue[Any](50) as busy, Reliable(prefetch=2) as reliable, ipc.Queue[Any](capacity=PAGE) as overflowing:
        stop = threading.Event()

        def work() -> None:
            while not stop.is_set():
                busy.put(1)
                busy.get(timeout=LONG)
                overflowing.put(b"x" * 2000)
                overflowing.get(timeout=LONG)
                reliable.put(2)
                with reliable.get(LONG):
                    pass

        threads = [threading.Thread(target=work) for _ in range(3)]
        for thread in threads:
            thread.start()

        def child() -> None:
            for q in (busy, overflowing):
                q.put("from the child")
                q.get(timeout=LONG)
            reliable.put("from the child")
            reliable.get(LONG).ack()

        try:
            for _ in range(15):
                with Forked(child) as forked:
                    assert forked.join() == 0
        finally:
            stop.set()
            for thread in threads:
                thread.join()
        overflowing.purge()


# --- what stays with the parent -----------------------------------------------------------------------------------


def test_what_the_parent_s_feeder_has_is_sent_by_the_parent_only() -> None:
    with ipc.Queue[Any](capacity=PAGE) as q:
        for number in range(1000):
            q.put(number)

        def child() -> None:
            q.put("from the child")
            assert q._feeder is None
            q.close()
            q.join_thread()

        with Forked(child) as forked:
            assert forked.join() == 0
        got = [q.get(timeout=LONG) for _ in range(1001)]
        assert [number for number in got if number != "from the child"] == list(range(1000))
        assert got.count("from the child") == 1


def test_a_child_forked_while_the_parent_s_close_waits_for_its_feeder_has_a_closed_queue() -> None:
    with ipc.Queue[Any](name=None, capacity=PAGE) as q:
        for number in range(1000):
            q.put(number)
        taker = ipc.Queue[Any]()

        def drain() -> None:
            assert [q.get(timeout=LONG) for _ in range(1000)] == list(range(1000))
            taker.put("drained")

        def closed() -> None:
            for use in (q.get_nowait, lambda: q.put(1)):
                with pytest.raises(ipc.ClosedError):
                    use()

        with Forked(drain) as draining:
            q.close()
            with Forked(closed) as forked:
                assert forked.join() == 0
            q.join_thread()
            assert taker.get(timeout=LONG) == "drained"
            assert draining.join() == 0
        taker.close()


@pytest.mark.parametrize("size", [10, 50_000])
@pytest.mark.parametrize("lease", [30, None])
@pytest.mark.parametrize("uses", ["nothing before", "the queue before"])
def test_a_forked_child_can_not_end_its_parent_s_delivery(lease: float | None, size: int, uses: str) -> None:
    with Reliable(lease=lease) as q:
        q.put(b"x" * size)
        q.put("other")
        delivery = q.get(LONG)

        def child() -> None:
            if uses == "the queue before":
                q.put("mine")
                assert q.get(LONG).message == "other"
            for use in (delivery.ack, delivery.nack, lambda: delivery.extend(1)):
                with pytest.raises(ipc.LeaseLostError):
                    use()
                delivery._state = 0  # as another copy of it would be

        with Forked(child) as forked:
            assert forked.join() == 0
        assert q.stats().lanes[0].acknowledged == 0
        delivery.ack()
        assert q.stats().acknowledged == 1
        q.purge()


def test_a_forked_child_can_not_look_at_its_parent_s_delivery_where_it_lies() -> None:
    with Reliable(lease=None) as q:
        q.put(b"x" * 50_000)
        delivery = q.get(LONG)

        def child() -> None:
            with pytest.raises(ipc.LeaseLostError):
                _ = delivery.message

        def viewing_child() -> None:
            with pytest.raises(ipc.LeaseLostError), delivery.view():
                pass

        for each in (child, viewing_child):
            with Forked(each) as forked:
                assert forked.join() == 0
        assert delivery.message == b"x" * 50_000
        delivery.ack()


@pytest.mark.parametrize("uses", ["nothing before", "a put before"])
def test_a_receipt_belongs_to_the_process_that_put(uses: str) -> None:
    with Reliable() as q:
        receipt = q.put("work")

        def child() -> None:
            if uses == "a put before":
                assert not q.put("mine").done()
            for use in (receipt.done, receipt.wait, lambda: receipt.wait(0)):
                with pytest.raises(ipc.ForkedHandleError, match=f"message {receipt.id} belongs to the process"):
                    use()

        with Forked(child) as forked:
            assert forked.join() == 0
        assert not receipt.done()
        q.purge()


def test_a_forked_child_holds_nothing_of_what_its_parent_holds() -> None:
    with Reliable(prefetch=1) as q:
        q.put_many(["parent's", "child's"])
        held = q.get(LONG)

        def child() -> None:
            assert q.get(LONG).message == "child's"
            with pytest.raises(standard.Empty, match="prefetch=1"):
                q.get(0)

        with Forked(child) as forked:
            assert forked.join() == 0
        with pytest.raises(standard.Empty):
            q.get(0)
        held.ack()
        with q.get(LONG) as delivery:  # the child left with it
            assert (delivery.message, delivery.deliveries) == ("child's", 2)


def test_a_child_that_is_blocked_does_not_keep_the_parent_from_closing(name: str) -> None:
    q = ipc.Queue[Any](name=name)
    with Forked(lambda: q.get(timeout=LONG)) as forked:
        until(lambda: len([one for one in ipc.stats(name).participants if one.alive]) == 1, "the child takes messages")
        q.close()
        assert any(entry.name == name for entry in ipc.ls())  # the child is present
        forked.kill()
    ipc.rm(name)

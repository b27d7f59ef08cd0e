"""Fork: copies of handles in a child neither disturb the parent nor keep it alive."""

from __future__ import annotations

import os
import threading
import warnings
from typing import Any

import pytest

import ipc
from tests.process import roles
from tests.process.support import Forked, pipe, receive, running, until

USES = {
    "send": lambda tx, rx: tx.send(b"from the copy"),
    "try_send": lambda tx, rx: tx.try_send(b"from the copy"),
    "flush": lambda tx, rx: tx.flush(0),
    "recv": lambda tx, rx: rx.recv(),
    "recv with a timeout": lambda tx, rx: rx.recv(timeout=0.1),
    "try_recv": lambda tx, rx: rx.try_recv(),
    "iteration": lambda tx, rx: next(rx),
}
RING_USES = {
    "write": lambda ring: ring.writer().write(b"from the copy"),
    "write_many": lambda ring: ring.writer().write_many([b"from the copy"]),
    "claim": lambda ring: ring.writer().claim(8).__enter__(),
    "read": lambda ring: ring.reader().read(),
    "read_many": lambda ring: ring.reader().read_many(),
    "peek": lambda ring: ring.reader().peek().__enter__(),
}


@pytest.mark.parametrize("use", USES)
def test_an_end_in_use_by_the_parent_refuses_every_use_in_a_forked_child(use: str) -> None:
    tx, rx = ipc.channel()
    with tx, rx:
        tx.send(b"one")
        tx.send(b"two")
        assert rx.recv() == b"one"

        def child() -> None:
            with pytest.raises(ipc.ForkedHandleError, match="stays with the parent"):
                USES[use](tx, rx)

        with Forked(child) as forked:
            assert forked.join() == 0
        tx.send(b"three")
        assert [rx.recv(), rx.recv()] == [b"two", b"three"]


@pytest.mark.parametrize("use", RING_USES)
def test_a_ring_in_use_by_the_parent_refuses_every_use_in_a_forked_child(use: str) -> None:
    with ipc.Ring.create() as ring:
        ring.writer().write(b"one")
        ring.writer().write(b"two")
        assert ring.reader().read() == b"one"

        def child() -> None:
            with pytest.raises(ipc.ForkedHandleError):
                RING_USES[use](ring)

        with Forked(child) as forked:
            assert forked.join() == 0
        assert ring.reader().read() == b"two"


@pytest.mark.parametrize("ending", ["close", "os._exit", "collect", "normal"])
def test_whatever_a_forked_child_does_with_its_copies_the_parent_goes_on(ending: str, name: str) -> None:
    tx, rx = ipc.channel(name)
    with tx, rx:
        tx.send(b"before")

        def child() -> None:
            if ending == "close":
                tx.close()
                rx.close()
                assert tx.closed
            elif ending == "collect":
                tx.__del__()
                rx.__del__()
            elif ending == "normal":
                from ipc._core.ends import close_all

                close_all()

        with Forked(child) as forked:
            assert forked.join() == 0
        sender, receiver = ipc.stats(name).participants
        assert sender.alive
        assert receiver.claimed
        tx.send(b"after")
        assert [rx.recv(), rx.recv()] == [b"before", b"after"]
        with Forked(child) as forked:
            assert forked.join() == 0
        tx.send(b"in use")
        assert rx.recv() == b"in use"
        assert all(user.alive for user in ipc.stats(name).participants)


def test_a_copy_that_a_forked_child_drops_is_nothing_to_warn_about() -> None:
    tx, rx = ipc.channel()
    with tx, rx:
        tx.send(b"in use")

        def child() -> None:
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                tx.__del__()

        with Forked(child) as forked:
            assert forked.join() == 0


@pytest.mark.parametrize("ending", ["close", "os._exit", "SIGKILL"])
def test_a_multiprocessing_child_that_inherits_handles_in_use_does_not_close_them(ending: str) -> None:
    tx, rx = ipc.channel()
    with pipe() as (ours, told), tx, rx:
        tx.send(b"in use")
        assert rx.recv() == b"in use"
        from tests.process.support import context

        process = context("fork").Process(target=end_by, args=(ending, told))  # type: ignore[attr-defined]
        process.start()
        with running(process):
            assert receive(ours) == process.pid
            ours.send("go")
            if ending == "SIGKILL":
                process.kill()
            process.join()
        tx.send(b"goes on")
        assert rx.recv() == b"goes on"


def end_by(ending: str, told: Any) -> None:
    roles.wait_for(told)
    if ending == "os._exit":
        os._exit(0)


def test_a_child_may_use_an_end_that_the_parent_has_not_used() -> None:
    tx, rx = ipc.channel()
    with tx, rx:
        with Forked(lambda: tx.send(b"from the child")) as forked:
            assert rx.recv() == b"from the child"
            assert forked.join() == 0
        with pytest.raises(ipc.PeerDiedError):  # it went without closing
            rx.recv()


def test_an_end_that_a_child_uses_is_busy_in_the_parent_until_the_child_is_gone() -> None:
    tx, rx = ipc.channel()
    with pipe() as (ours, told), tx, rx:

        def child() -> None:
            rx.recv()
            roles.wait_for(told)

        with Forked(child) as forked:
            tx.send(b"for the child")
            assert receive(ours) == forked.pid
            with pytest.raises(ipc.BusyError, match=f"process {forked.pid}"):
                rx.recv()
            tx.send(b"for its successor")
            forked.kill()
            assert rx.recv() == b"for its successor"


@pytest.mark.parametrize("where", ["main thread", "another thread"])
def test_fork_while_another_thread_is_blocked_in_recv(where: str) -> None:
    tx, rx = ipc.channel()
    got: list[Any] = []
    with tx, rx:
        waiting = threading.Thread(target=lambda: got.append(rx.recv()))
        waiting.start()
        until(lambda: "in use" in repr(rx), "the thread has taken the end")
        codes: list[int] = []

        def fork() -> None:
            def child() -> None:
                with pytest.raises(ipc.ForkedHandleError):
                    rx.recv()
                with pytest.raises(ipc.ForkedHandleError):
                    rx.try_recv()
                rx.close()
                tx.close()

            with Forked(child) as forked:
                codes.append(forked.join())

        if where == "main thread":
            fork()
        else:
            thread = threading.Thread(target=fork)
            thread.start()
            thread.join()
        assert codes == [0]
        tx.send(b"woken")
        waiting.join()
        assert got == [b"woken"]


def test_grandchildren_are_refused_as_children_are() -> None:
    tx, rx = ipc.channel()
    with tx, rx:
        tx.send(b"in use")

        def grandchild() -> None:
            with pytest.raises(ipc.ForkedHandleError):
                tx.send(b"from a grandchild")
            assert rx.recv() == b"in use"

        def child() -> None:
            with Forked(grandchild) as forked:
                assert forked.join() == 0

        with Forked(child) as forked:
            assert forked.join() == 0


def test_many_forks_leave_nothing_behind_in_the_parent() -> None:
    tx, rx = ipc.channel()
    with tx, rx:
        tx.send(0)
        for number in range(1, 50):
            with Forked(lambda: None) as forked:
                tx.send(number)
                assert forked.join() == 0
        assert [rx.recv() for _ in range(50)] == list(range(50))

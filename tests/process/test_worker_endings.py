"""How a worker ends, and who hears of it: by returning, by closing, by an exception, by an exit code."""

from __future__ import annotations

from typing import Any

import pytest

import ipc
from tests.process import roles
from tests.process.support import METHODS, context, pipe, receive, running, until

method = pytest.mark.parametrize("method", METHODS)


def remainder(rx: Any) -> list[Any]:
    """What is still there, and the error that ends it."""
    got: list[Any] = []
    while True:
        try:
            got.append(rx.recv())
        except ipc.IpcError as error:
            return [*got, type(error)]


@pytest.mark.parametrize("role", [roles.send_and_return, roles.send_and_close])
@pytest.mark.parametrize("starter", ["Process", "ipc.spawn"])
@method
def test_all_messages_of_a_child_that_ends_at_once_arrive_and_then_the_end(
    method: str, starter: str, role: Any
) -> None:
    outbox, rx = ipc.channel()
    if starter == "ipc.spawn":
        child: Any = ipc.spawn(role, outbox, 1000, context=context(method))
    else:
        child = context(method).Process(target=role, args=(outbox, 1000))  # type: ignore[attr-defined]
        child.start()
    with rx, running(child):
        outbox.close()
        child.join()  # nothing was received before it had gone
        assert child.exitcode == 0
        assert remainder(rx) == [*range(1000), ipc.EndOfChannel]


@method
def test_a_receiver_that_closes_ends_the_sends_of_its_parent(method: str) -> None:
    tx, inbox = ipc.channel(capacity=4096)
    with tx, running(ipc.spawn(roles.receive_and_close, inbox, context=context(method))) as worker:
        with pytest.raises(ipc.EndOfChannel):
            roles.send_until_it_fails(tx)
        worker.join()
        assert worker.exitcode == 0


@method
def test_an_exception_comes_back_with_its_traceback_and_the_other_side_sees_a_death(method: str) -> None:
    outbox, rx = ipc.channel()
    with rx, running(ipc.spawn(roles.send_and_raise, outbox, 10, context=context(method))) as worker:
        assert remainder(rx) == [*range(10), ipc.PeerDiedError]
        worker.join()
        assert worker.exitcode == 1
        assert isinstance(worker.exception, LookupError)
        assert worker.exception.args == ("no such luck",)
        cause = str(worker.exception.__cause__)
        assert "Traceback (most recent call last)" in cause
        assert "in send_and_raise" in cause
        assert worker.exception is worker.exception


def test_the_receiver_of_a_worker_that_fails_is_a_death_for_the_sender() -> None:
    tx, inbox = ipc.channel(capacity=4096)
    with tx, running(ipc.spawn(fail_after_one, inbox)) as worker:
        with pytest.raises(ipc.PeerDiedError):
            roles.send_until_it_fails(tx)
        worker.join()
        assert isinstance(worker.exception, ZeroDivisionError)


def fail_after_one(inbox: Any) -> None:
    inbox.recv()
    raise ZeroDivisionError


def test_an_exception_inside_the_with_of_an_end_is_a_clean_close_as_the_with_says() -> None:
    outbox, rx = ipc.channel()
    with rx, running(ipc.spawn(fail_in_a_with, outbox)) as worker:
        assert remainder(rx) == [1, ipc.EndOfChannel]
        worker.join()
        assert isinstance(worker.exception, ZeroDivisionError)


def fail_in_a_with(outbox: Any) -> None:
    with outbox:
        outbox.send(1)
        raise ZeroDivisionError


def test_an_exception_keeps_its_state() -> None:
    with running(ipc.spawn(roles.fail, "state", context="fork")) as worker:
        worker.join()
        assert isinstance(worker.exception, roles.LocalProblem)
        assert worker.exception.number == 7


@pytest.mark.parametrize(
    ("kind", "said"),
    [("unpicklable", "Unpicklable: can't travel"), ("no way back", "PicklesButDoesNotUnpickle: broken")],
)
def test_an_exception_that_cannot_travel_is_told_by_a_stand_in(kind: str, said: str) -> None:
    with running(ipc.spawn(roles.fail, kind, context="fork")) as worker:
        worker.join()
        assert isinstance(worker.exception, RuntimeError)
        assert said in str(worker.exception)
        assert "in fail" in str(worker.exception.__cause__)


def test_an_exception_larger_than_any_pipe_does_not_keep_the_worker_from_ending() -> None:
    with running(ipc.spawn(roles.fail, "large", context="fork")) as worker:
        until(lambda: not worker.is_alive(), "the worker ends though nobody reads")
        assert len(str(worker.exception)) == 3_000_000


def test_there_is_no_exception_while_it_runs_nor_after_a_clean_end() -> None:
    with pipe() as (ours, theirs), running(ipc.spawn(roles.wait_for, theirs, context="fork")) as worker:
        assert receive(ours) == worker.pid
        assert (worker.is_alive(), worker.exitcode, worker.exception) == (True, None, None)
        worker.join(timeout=0)
        assert worker.is_alive()
        assert "running" in repr(worker)
        ours.send("go")
        worker.join()
        assert (worker.is_alive(), worker.exitcode, worker.exception) == (False, 0, None)
        assert "exit code 0" in repr(worker)


@pytest.mark.parametrize(("code", "expected"), [(0, 0), (None, 0), (3, 3), ("a reason", 1)])
@method
def test_sys_exit_is_no_exception_but_an_exit_code_and_closes_cleanly(method: str, code: object, expected: int) -> None:
    outbox, rx = ipc.channel()
    with rx, running(ipc.spawn(send_then_exit, outbox, code, context=context(method))) as worker:
        assert remainder(rx) == ["sent", ipc.EndOfChannel]
        worker.join()
        assert (worker.exitcode, worker.exception) == (expected, None)


def send_then_exit(outbox: Any, code: object) -> None:
    outbox.send("sent")
    roles.exit_with(code)


def test_a_worker_that_os_exits_in_use_of_an_end_is_a_death() -> None:
    outbox, rx = ipc.channel()
    with rx, running(ipc.spawn(send_then_leave, outbox, context="fork")) as worker:
        assert remainder(rx) == ["sent", ipc.PeerDiedError]
        worker.join()
        assert (worker.exitcode, worker.exception) == (0, None)


def send_then_leave(outbox: Any) -> None:
    outbox.send("sent")
    roles.leave(0)


def test_the_block_of_a_worker_waits_for_it() -> None:
    outbox, rx = ipc.channel()
    with rx:
        with ipc.spawn(roles.send_and_return, outbox, 3, context="fork") as worker:
            pass
        assert worker.exitcode == 0
        assert remainder(rx) == [0, 1, 2, ipc.EndOfChannel]


def test_an_exception_in_the_block_of_a_worker_asks_it_to_finish_first() -> None:
    tx, inbox = ipc.channel()
    outbox, rx = ipc.channel()
    with tx, rx:
        worker = ipc.spawn(roles.echo, inbox, outbox)
        with pytest.raises(ZeroDivisionError):
            fail_in_the_block_of(worker, tx, rx)
        assert worker.exitcode == 0


def fail_in_the_block_of(worker: ipc.Worker, tx: Any, rx: Any) -> None:
    with worker:
        tx.send("taken")
        assert rx.recv() == "taken"
        raise ZeroDivisionError


def test_forgotten_workers_leave_no_descriptor_behind() -> None:
    for _ in range(3):
        worker = ipc.spawn(roles.exit_with, 0, context="fork")
        worker.join()
        del worker


@pytest.mark.parametrize("wrong", [None, "work", 3])
def test_what_is_not_callable_is_refused(wrong: Any) -> None:
    with pytest.raises(TypeError, match="callable"):
        ipc.spawn(wrong)


@pytest.mark.parametrize("wrong", ["thread", 3, ""])
def test_an_unknown_start_method_is_refused(wrong: Any) -> None:
    with pytest.raises((TypeError, ValueError)):
        ipc.spawn(roles.exit_with, 0, context=wrong)


def test_a_function_that_cannot_be_imported_by_the_child_is_refused_and_the_ends_stay() -> None:
    tx, rx = ipc.channel()
    with tx, rx:
        with pytest.raises((AttributeError, TypeError)):
            ipc.spawn(lambda _: None, rx, context="spawn")
        tx.send(b"still here")
        assert rx.recv() == b"still here"

"""A process that could not be started leaves everything as it was: ends, claims and descriptors."""

from __future__ import annotations

import os
from typing import Any

import pytest

import ipc
from tests.process import roles
from tests.process.support import METHODS, context


class Unpicklable:
    """Comes after the ends in the arguments, so that they are on their way when the start fails."""

    def __reduce__(self) -> Any:
        raise RuntimeError("can't be sent")


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))  # noqa: PTH208  (a listing, not paths)


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_a_start_that_fails_gives_the_ends_back_and_keeps_no_descriptor(method: str) -> None:
    tx, inbox = ipc.channel()
    with pytest.raises(RuntimeError, match="can't be sent"):  # the forkserver itself starts now, if it must
        ipc.spawn(roles.say_each, inbox, Unpicklable(), context=context(method))
    before = descriptors()
    for _ in range(20):
        with pytest.raises(RuntimeError, match="can't be sent"):
            ipc.spawn(roles.say_each, inbox, Unpicklable(), context=context(method))
    assert descriptors() == before
    tx.send(b"still ours")
    assert inbox.recv(0) == b"still ours"
    tx.close()
    inbox.close()


@pytest.mark.parametrize("method", METHODS)
def test_a_descriptor_number_that_is_used_again_is_not_closed_with_the_failed_start(method: str) -> None:
    tx, inbox = ipc.channel()
    failure: BaseException | None = None
    try:
        ipc.spawn(roles.say_each, inbox, Unpicklable(), context=context("spawn"))
    except RuntimeError as error:
        failure = error  # its traceback keeps the process that was not started alive
    outbox, rx = ipc.channel()
    with ipc.spawn(roles.echo, inbox, outbox, context=context(method)) as worker:
        del failure
        for end in ipc.channel():
            end.close()  # sweeps what the failed start has left
        tx.send(b"round")
        assert rx.recv(30) == b"round"
        tx.close()
    assert worker.exitcode == 0
    rx.close()

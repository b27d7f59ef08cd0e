"""Workers by fork are given what is among their arguments, and nothing else of what their parent had open."""

from __future__ import annotations

import os
from functools import partial
from typing import Any

import pytest

import ipc
from tests.process import roles
from tests.process.support import METHODS, context, pipe, receive, running, until

pytestmark = pytest.mark.timeout(15)  # a worker that keeps too much waits for ever

method = pytest.mark.parametrize("method", METHODS)


@method
def test_a_worker_sees_the_end_of_a_channel_that_its_parent_closes_unused(method: str) -> None:
    tx, inbox = ipc.channel()
    with running(ipc.spawn(roles.recv_for_ever, inbox, context=context(method))) as worker:
        tx.close()
        worker.join()
        assert worker.exitcode == 0


@method
def test_a_worker_is_not_kept_waiting_by_a_sibling_that_was_started_later(method: str) -> None:
    first_tx, first_inbox = ipc.channel()
    second_tx, second_inbox = ipc.channel()
    with (
        second_tx,
        pipe() as (ours, told),
        running(ipc.spawn(roles.recv_for_ever, first_inbox, context=context(method))) as first,
        running(ipc.spawn(roles.wait_for, told, second_inbox, context=context(method))),
    ):
        receive(ours)
        first_tx.close()
        first.join()
        assert first.exitcode == 0


@method
def test_a_worker_without_receivers_ends_at_once_though_its_parent_has_some(method: str) -> None:
    outbox, rx = ipc.channel()
    with (
        rx,
        pipe() as (ours, told),
        running(ipc.spawn(roles.wait_for, told, outbox, context=context(method))) as worker,
    ):
        receive(ours)
        worker.terminate()
        worker.join()
        assert worker.exitcode == -15


class Job:
    """A callable, and an object with a method, that bring an end along."""

    def __init__(self, told: Any, end: Any) -> None:
        self.told = told
        self.end = end

    def run(self) -> None:
        roles.wait_for(self.told, self.end)


@pytest.mark.parametrize("way", ["partial", "method"])
@method
def test_an_end_that_the_function_itself_brings_along_is_the_workers(method: str, way: str) -> None:
    tx, inbox = ipc.channel(capacity=4096)
    with pipe() as (ours, told), tx:
        fn = partial(roles.wait_for, told, inbox) if way == "partial" else Job(told, inbox).run
        with running(ipc.spawn(fn, context=context(method))) as worker:
            receive(ours)
            assert inbox.closed
            worker.kill()
            with pytest.raises(ipc.PeerDiedError):
                roles.send_until_it_fails(tx)


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_the_death_of_a_parent_is_seen_by_an_unrelated_peer_though_its_workers_live(method: str, name: str) -> None:
    tx, rx = ipc.channel(name)
    with tx, pipe() as (ours, told), pipe() as (_, told_inner):
        middle = context("fork").Process(target=receive_with_a_worker, args=(rx, told, told_inner, method))  # type: ignore[attr-defined]
        middle.start()
        rx.close()
        with running(middle):
            tx.send("taken")
            receive(ours)
            middle.kill()
            middle.join()
            with pytest.raises(ipc.PeerDiedError):
                flush_more(tx)
    ipc.rm(name)


def flush_more(tx: Any) -> None:
    tx.send("one more")
    tx.flush()


def receive_with_a_worker(rx: Any, told: Any, told_inner: Any, method: str) -> None:
    rx.recv()
    worker = ipc.spawn(roles.wait_for, told_inner, context=context(method))
    until(worker.is_alive, "the worker runs")
    roles.wait_for(told)
    os._exit(0)

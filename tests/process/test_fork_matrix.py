"""Every way to start a process, and every order in which parent and child may go: each is seen by its own end only."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

import ipc
from tests.process.family import ROOT, WAYS
from tests.process.support import PATIENCE_SECONDS, Python, is_gone, until

SILENT_SECONDS = 0.25  # more than two looks at whether the other side lives

way = pytest.mark.parametrize("way", WAYS)


def lives(rx: ipc.Receiver) -> None:
    """Nothing has come from the other side, and it hasn't gone."""
    with pytest.raises(ipc.TimeoutError):
        rx.recv(timeout=SILENT_SECONDS)


def died(rx: ipc.Receiver) -> None:
    with pytest.raises(ipc.PeerDiedError):
        rx.recv(timeout=PATIENCE_SECONDS)


def closed(rx: ipc.Receiver) -> None:
    with pytest.raises(ipc.EndOfChannel):
        rx.recv(timeout=PATIENCE_SECONDS)


@contextmanager
def family(name: str, way: str) -> Iterator[tuple[Python, ipc.Receiver, int, ipc.Receiver]]:
    """A parent that has taken an end, our receiver of it; its child's pid, our receiver of what the child has taken."""
    source = "import sys; from tests.process.family import parent; parent(*sys.argv[1:])"
    unused, rx = ipc.channel(name, capacity=4096)
    childs_unused, childs_rx = ipc.channel(f"{name}-child", capacity=4096)
    with rx, childs_rx, Python(source, name, f"{name}-child", way, wrap=("env", f"PYTHONPATH={ROOT}")) as parent:
        assert parent.hear() == "started"
        assert rx.recv(timeout=PATIENCE_SECONDS) == parent.pid
        pid = childs_rx.recv(timeout=PATIENCE_SECONDS)
        for end in (unused, childs_unused):
            end.close()
        try:
            yield parent, rx, pid, childs_rx
        finally:
            if not is_gone(pid):
                os.kill(pid, signal.SIGKILL)
                until(lambda: is_gone(pid), "the child is gone")


@way
def test_the_parent_dies_and_its_child_lives_on(way: str, name: str) -> None:
    with family(name, way) as (parent, rx, pid, childs_rx):
        lives(rx)
        parent.kill()
        died(rx)
        lives(childs_rx)
        assert not is_gone(pid)
        os.kill(pid, signal.SIGUSR1)
        closed(childs_rx)


@way
def test_the_child_dies_and_its_parent_lives_on(way: str, name: str) -> None:
    with family(name, way) as (parent, rx, pid, childs_rx):
        lives(childs_rx)
        os.kill(pid, signal.SIGKILL)
        died(childs_rx)
        lives(rx)
        parent.say("close")
        assert parent.hear() == "closed"
        assert rx.recv(timeout=PATIENCE_SECONDS) == "still here"
        closed(rx)


@way
@pytest.mark.parametrize("first", ["parent", "child"])
def test_both_close(first: str, way: str, name: str) -> None:
    with family(name, way) as (parent, rx, pid, childs_rx):

        def parent_closes() -> None:
            parent.say("close")
            assert parent.hear() == "closed"
            assert rx.recv(timeout=PATIENCE_SECONDS) == "still here"
            closed(rx)

        def child_closes() -> None:
            os.kill(pid, signal.SIGUSR1)
            closed(childs_rx)

        if first == "parent":
            parent_closes()
            lives(childs_rx)
            child_closes()
        else:
            child_closes()
            lives(rx)
            parent_closes()
        assert parent.end() == 0

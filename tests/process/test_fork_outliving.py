"""Children, forked or started as programs, that are there when their parent is not."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

import ipc
from tests.process import roles
from tests.process.support import Forked, Python, is_gone, pipe, receive, until

OWNER_WITH_CHILD = """
import os, sys, time
import ipc
name, taken, how = sys.argv[1:]
tx = ipc.Sender.attach(name)
if taken == "in use":
    tx.send(b"first")
pid = os.fork()
if pid == 0:
    if how == "closes descriptors":
        os.closerange(3, 1000)
    time.sleep(3600)
print(pid, flush=True)
sys.stdin.readline()
if how == "closes cleanly":
    tx.close()
    print("closed", flush=True)
    sys.stdin.readline()
"""


@pytest.mark.parametrize("how", ["keeps everything", "closes descriptors"])
def test_a_forked_child_that_outlives_its_parent_does_not_keep_it_alive(how: str, name: str) -> None:
    creator, rx = ipc.channel(name)
    with rx, Python(OWNER_WITH_CHILD, name, "in use", how) as owner:
        child = int(owner.hear())
        try:
            creator.close()
            assert rx.recv() == b"first"
            owner.kill()
            with pytest.raises(ipc.PeerDiedError):
                rx.recv()
            assert not is_gone(child)
            with ipc.Sender.attach(name) as successor:
                successor.send(b"next")
                assert rx.recv() == b"next"
        finally:
            os.kill(child, signal.SIGKILL)
            until(lambda: is_gone(child), "the child is gone")


def test_a_forked_child_does_not_keep_a_cleanly_closed_end_open(name: str) -> None:
    creator, rx = ipc.channel(name)
    with rx, Python(OWNER_WITH_CHILD, name, "in use", "closes cleanly") as owner:
        child = int(owner.hear())
        try:
            creator.close()
            assert rx.recv() == b"first"
            owner.say("close")
            assert owner.hear() == "closed"
            with pytest.raises(ipc.EndOfChannel):
                rx.recv()
        finally:
            os.kill(child, signal.SIGKILL)
            until(lambda: is_gone(child), "the child is gone")


def test_a_forked_child_counts_as_present(name: str) -> None:
    tx, rx = ipc.channel(name)
    with pipe() as (ours, told):
        with Forked(lambda: roles.wait_for(told)) as forked:
            receive(ours)
            tx.close()
            rx.close()
            assert ipc.stats(name).attached
            with pytest.raises(ipc.SegmentExistsError):
                ipc.channel(name)
            assert name not in ipc.gc()
            forked.kill()
        assert not ipc.stats(name).attached
        ipc.rm(name)


@pytest.mark.parametrize("close_fds", [True, False])
def test_a_subprocess_neither_inherits_nor_disturbs_open_handles(close_fds: bool, name: str) -> None:
    tx, rx = ipc.channel(name)
    other, unused = ipc.channel()
    with tx, rx, other, unused:
        tx.send(b"before")
        code = "import glob, os; print(sum('ipc' in os.path.realpath(fd) for fd in glob.glob('/proc/self/fd/*')))"
        done = subprocess.run(
            [sys.executable, "-c", code], check=True, capture_output=True, text=True, close_fds=close_fds
        )
        assert done.stdout == "0\n"
        os.waitpid(os.posix_spawn("/bin/true", ["true"], {}), 0)
        assert os.system("true") == 0
        assert [user.state for user in ipc.stats(name).participants] == ["taken", "untaken"]
        assert rx.recv() == b"before"
        assert all(user.alive for user in ipc.stats(name).participants)
        other.send(b"here")
        assert unused.recv() == b"here"


def test_a_subprocess_that_outlives_its_parent_does_not_keep_it_alive(name: str) -> None:
    source = """
import subprocess, sys
import ipc
tx = ipc.Sender.attach(sys.argv[1])
tx.send(b"first")
print(subprocess.Popen(["sleep", "3600"], close_fds=False, stdout=subprocess.DEVNULL).pid, flush=True)
sys.stdin.readline()
"""
    creator, rx = ipc.channel(name)
    with rx, Python(source, name) as owner:
        sleeper = int(owner.hear())
        try:
            creator.close()
            assert rx.recv() == b"first"
            owner.kill()
            with pytest.raises(ipc.PeerDiedError):
                rx.recv()
            assert not is_gone(sleeper)
        finally:
            os.kill(sleeper, signal.SIGKILL)
        ipc.rm(name)

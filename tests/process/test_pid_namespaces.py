"""Peers in pid namespaces of their own, both with pid 1: the living are not declared dead, the dead are noticed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import ipc
from tests.process.family import ROOT
from tests.process.support import DEATH_NOTICED_SECONDS, Python, is_gone, until

IN_A_NAMESPACE = ("unshare", "--pid", "--fork", "--kill-child")

SENDER = """
import os, sys
import ipc
tx = ipc.Sender.attach(sys.argv[1])
tx.send(os.getpid())
print("sent", flush=True)
for line in sys.stdin:
    tx.send(line.strip())
tx.close()
"""

RECEIVER = """
import os, sys, time
import ipc
rx = ipc.Receiver.attach(sys.argv[1])
print(os.getpid(), rx.recv(), flush=True)
while True:
    try:
        print(rx.recv(timeout=0.5), flush=True)
    except ipc.TimeoutError:
        print("nothing yet", flush=True)
    except ipc.IpcError as error:
        print(type(error).__name__, time.monotonic(), flush=True)
        break
rx.close()
"""


@pytest.fixture(autouse=True)
def namespaces() -> None:
    """Skip where an unprivileged user may not make them."""
    try:
        done = subprocess.run([*IN_A_NAMESPACE, "true"], check=False, capture_output=True, text=True)
    except OSError as error:
        pytest.skip(f"no pid namespace can be made: {error}")
    if done.returncode != 0:
        pytest.skip(f"no pid namespace can be made: {done.stderr.strip()}")


def inner(process: Python) -> int:
    """The pid that we know the process in the namespace by."""
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    until(lambda: children.read_text(encoding="ascii").split(), "unshare has forked")
    return int(children.read_text(encoding="ascii").split()[0])


def test_both_peers_have_pid_1_and_a_living_one_is_not_dead_while_a_killed_one_is(name: str) -> None:
    ends = ipc.channel(name)
    with (
        Python(SENDER, name, wrap=IN_A_NAMESPACE) as sender,
        Python(RECEIVER, name, wrap=IN_A_NAMESPACE) as receiver,
    ):
        assert sender.hear() == "sent"
        for end in ends:
            end.close()
        assert receiver.hear() == "1 1"
        assert receiver.hear() == "nothing yet"
        assert receiver.hear() == "nothing yet"
        sender.say("alive")
        while (said := receiver.hear()) == "nothing yet":
            pass
        assert said == "alive"
        victim = inner(sender)
        os.kill(victim, signal.SIGKILL)
        sender.process.wait()
        assert is_gone(victim)
        closed_by_the_kernel = time.monotonic()
        while (said := receiver.hear()) == "nothing yet":
            pass
        kind, moment = said.split()
        assert kind == "PeerDiedError"
        assert float(moment) - closed_by_the_kernel < DEATH_NOTICED_SECONDS
        assert receiver.end() == 0
    assert name not in [entry.name for entry in ipc.ls()]


@pytest.mark.parametrize("rounds", [10, pytest.param(200, marks=pytest.mark.slow)])
def test_a_process_that_got_a_dead_ones_pid_is_neither_taken_for_it_nor_dead(rounds: int, ipc_dir: Path) -> None:
    """Among themselves in a namespace, where pids can be chosen without a race; see pid_reuse.py."""
    module = [sys.executable, "-m", "tests.process.pid_reuse", str(rounds)]
    done = subprocess.run(
        [*IN_A_NAMESPACE, "--mount-proc", *module], check=False, capture_output=True, text=True, cwd=ROOT
    )
    if "ns_last_pid" in done.stderr and done.returncode != 0:
        pytest.skip(f"pids can't be chosen: {done.stderr.strip().splitlines()[-1]}")
    assert done.returncode == 0, done.stdout + done.stderr
    print(done.stdout)
    assert done.stdout.startswith(f"{rounds} rounds, {2 * rounds} pids used again, {8 * rounds - rounds // 2} verdicts")
    assert list(ipc_dir.iterdir()) == []


def test_a_process_in_another_namespace_is_present(name: str) -> None:
    tx, rx = ipc.channel(name)
    with Python(SENDER, name, wrap=IN_A_NAMESPACE) as sender:
        assert sender.hear() == "sent"
        tx.close()
        rx.close()
        assert name not in ipc.gc()
        assert ipc.stats(name).participants[0].alive
        with pytest.raises(ipc.SegmentExistsError):
            ipc.channel(name)
        with ipc.Receiver.attach(name) as successor, ipc.Sender.attach(name) as second:
            assert successor.recv() == 1
            with pytest.raises(ipc.BusyError):
                second.send("not mine")
            assert sender.end() == 0
            with pytest.raises(ipc.EndOfChannel):
                successor.recv()

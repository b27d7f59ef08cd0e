"""What only looks like death: stopped and idle processes, closed descriptors, other opens of the segment's file."""

from __future__ import annotations

import os
import signal
import time
from typing import Any

import pytest

import ipc
from tests.process import roles
from tests.process.support import Python, is_waiting, pipe, receive, running, state_of, until

# Half a minute: longer than any time-out or heartbeat that somebody may have hidden somewhere.
stopped_for = pytest.mark.parametrize("seconds", [2.0, pytest.param(30.0, marks=pytest.mark.slow)])

OWNER = """
import os, resource, sys
import ipc
name, method = sys.argv[1:]
tx = ipc.Sender.attach(name)
tx.send(b"first")
print("taken", flush=True)
sys.stdin.readline()
path = os.path.join(os.environ.get("IPC_DIR", "/dev/shm"), name)
if method == "open and close":
    for _ in range(1000):
        os.close(os.open(path, os.O_RDWR))
elif method == "attach and close":
    for _ in range(1000):
        ipc.Receiver.attach(name).close()
elif method == "look":
    for _ in range(1000):
        ipc.stats(name)
elif method == "try to remove":
    for _ in range(1000):
        assert ipc.gc() == []
elif method == "subprocess":
    import subprocess
    for _ in range(5):
        subprocess.run(["true"], check=True)
        subprocess.run(["true"], check=True, close_fds=False)
        os.waitpid(os.posix_spawn("/bin/true", ["true"], {}), 0)
        os.system("true")
print("done", flush=True)
sys.stdin.readline()
tx.send(b"alive")
tx.close()
"""


@pytest.mark.parametrize(
    "what", ["nothing", "open and close", "attach and close", "look", "try to remove", "subprocess"]
)
def test_what_a_living_owner_does_besides_is_not_its_death(what: str, name: str, ipc_dir: object) -> None:
    creator, rx = ipc.channel(name)
    with rx, Python(OWNER, name, what) as owner:
        assert owner.hear() == "taken"
        creator.close()
        assert rx.recv() == b"first"
        owner.say("now")
        assert owner.hear() == "done"
        with pytest.raises(ipc.TimeoutError):
            rx.recv(timeout=0.3)
        assert ipc.stats(name).participants[0].alive
        owner.say("go on")
        assert rx.recv() == b"alive"
        with pytest.raises(ipc.EndOfChannel):
            rx.recv()
        assert owner.end() == 0


@stopped_for
@pytest.mark.parametrize("side", ["sender", "receiver"])
def test_a_stopped_process_is_never_declared_dead(side: str, seconds: float) -> None:
    tx, rx = ipc.channel(capacity=4096)
    mine, theirs = (rx, tx) if side == "sender" else (tx, rx)
    with (
        pipe() as (ours, told),
        pipe() as (peer, peer_told),
        running(ipc.spawn(roles.wait_for, peer_told, theirs, context="fork")) as stopped,
        running(ipc.spawn(roles.block, "recv" if side == "sender" else "send", mine, told, context="fork")) as waiting,
    ):
        receive(peer)
        receive(ours)
        until(lambda: is_waiting(waiting.pid), "the other one waits")
        os.kill(stopped.pid, signal.SIGSTOP)
        until(lambda: state_of(stopped.pid) == "T", "it is stopped")
        assert not ours.poll(seconds)
        os.kill(stopped.pid, signal.SIGCONT)
        assert not ours.poll(0.3)
        stopped.kill()
        assert receive(ours)[0] == "PeerDiedError"


@stopped_for
@pytest.mark.parametrize("lent", ["claim", "view"])
def test_who_is_stopped_in_a_claim_or_a_view_keeps_it_and_nobody_takes_its_end(
    lent: str, seconds: float, name: str
) -> None:
    tx, rx = ipc.channel(name, capacity=4096)
    ends: Any = (rx, tx) if lent == "claim" else (tx, rx)
    mine, theirs = ends
    cls = type(theirs)
    with (
        mine,
        pipe() as (ours, told),
        running(ipc.spawn(STOPPED_IN[lent], theirs, told, context="fork")) as worker,
    ):
        if lent == "view":
            mine.send(bytes(3000))
        receive(ours)
        os.kill(worker.pid, signal.SIGSTOP)
        until(lambda: state_of(worker.pid) == "T", "it is stopped")
        with pytest.raises(ipc.TimeoutError):
            mine.recv(timeout=seconds) if lent == "claim" else mine.flush(timeout=seconds)
        if lent == "view":  # what it reads is not written over
            while mine.try_send(b"\xff" * 100):
                pass
        with cls.attach(name) as thief, pytest.raises(ipc.BusyError, match=f"process {worker.pid}"):
            thief.send(b"mine") if lent == "claim" else thief.recv()
        os.kill(worker.pid, signal.SIGCONT)
        ours.send("go on")
        if lent == "claim":
            assert mine.recv() == bytes(3000)
        else:
            assert receive(ours) == bytes(3000)
        worker.join()
        assert worker.exitcode == 0
    if lent == "view":  # the rest was never read
        ipc.rm(name)


def stopped_in_a_claim(tx: Any, told: Any) -> None:
    with tx.claim(3000) as memory:
        memory[:] = bytes(3000)
        roles.wait_for(told)


def stopped_in_a_view(rx: Any, told: Any) -> None:
    with rx.view() as memory:
        roles.wait_for(told)
        told.send(bytes(memory))


STOPPED_IN = {"claim": stopped_in_a_claim, "view": stopped_in_a_view}


def test_a_stopped_stream_loses_nothing() -> None:
    tx, inbox = ipc.channel(capacity=4096)
    outbox, rx = ipc.channel(capacity=4096)
    with tx, rx, running(ipc.spawn(roles.echo, inbox, outbox, context="fork")) as worker:
        for round_ in range(4):
            os.kill(worker.pid, signal.SIGSTOP)
            until(lambda: state_of(worker.pid) == "T", "it is stopped")
            while tx.try_send(round_):
                pass
            with pytest.raises(ipc.TimeoutError):
                tx.send(round_, timeout=0.3)
            os.kill(worker.pid, signal.SIGCONT)
            tx.send("mark")
            while (got := rx.recv()) != "mark":
                assert got == round_
        tx.close()
        worker.join()
        assert worker.exitcode == 0


CLOSES_ALL = """
import os, sys
import ipc
name, role = sys.argv[1:]
end = (ipc.Sender if role == "sender" else ipc.Receiver).attach(name)
if role == "sender":
    end.send(b"first")
else:
    assert end.recv() == b"first"
os.closerange(3, 1000)
print("closed", flush=True)
sys.stdin.readline()
if role == "sender":
    for number in range(1000):
        end.send(number)
else:
    print([end.recv() for _ in range(1000)] == list(range(1000)), flush=True)
# a wait must look at the other side: it works, or says what is wrong
other = sys.stdin.readline()
try:
    end.flush(0.3) if role == "sender" else end.recv(0.3)
    print("fine", flush=True)
except ipc.IpcError as error:
    print(type(error).__name__, error, flush=True)
sys.stdin.readline()
end.close()
"""


@pytest.mark.parametrize("role", ["sender", "receiver"])
def test_a_process_that_closes_all_descriptors_lives_on_and_clearly_says_what_it_lacks(role: str, name: str) -> None:
    tx, rx = ipc.channel(name)
    with Python(CLOSES_ALL, name, role) as owner, tx, rx:
        if role == "receiver":
            tx.send(b"first")
        assert owner.hear() == "closed"
        if role == "sender":
            assert rx.recv() == b"first"
            with pytest.raises(ipc.TimeoutError):
                rx.recv(timeout=0.3)
            owner.say("go")
            assert [rx.recv() for _ in range(1000)] == list(range(1000))
        else:
            with pytest.raises(ipc.TimeoutError):
                flush_something(tx)
            owner.say("go")
            for number in range(1, 1000):
                tx.send(number)
            assert owner.hear() == "True"
            tx.flush()
        assert ipc.stats(name).participants[0 if role == "sender" else 1].alive
        owner.say("wait")
        if role == "sender":
            assert owner.hear() == "fine"
        else:
            said = owner.hear()
            assert said.startswith("TimeoutError") or "closed the segment's descriptor" in said
        owner.say("close")
        assert owner.end() == 0
        with pytest.raises(ipc.EndOfChannel):
            rx.recv() if role == "sender" else tx.send(b"too late")


def flush_something(tx: Any) -> None:
    tx.send(0)
    tx.flush(timeout=0.3)


def test_a_worker_that_works_slowly_is_not_dead() -> None:
    outbox, rx = ipc.channel()
    with rx, running(ipc.spawn(compute_then_send, outbox, context="fork")):
        assert rx.recv() == "computed"


def compute_then_send(outbox: Any) -> None:
    until_then = time.monotonic() + 1.0
    while time.monotonic() < until_then:
        sum(range(1_000_000))
    outbox.send("computed")

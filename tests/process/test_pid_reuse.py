"""A pid that comes back: it makes no dead process live, and no live one dead.

Pids decide nothing here, lock bytes do; so this forces the very pid of a dead taker on a bystander, and then on a
successor, as often as told.  The kernel gives out the pid after the one in ns_last_pid, which root of a pid namespace
may write; where no namespace can be made, the tests are skipped and say so.
"""

from __future__ import annotations

import subprocess

import pytest

from tests.process.support import DEATH_NOTICED_SECONDS, Python

IN_A_NAMESPACE = ("unshare", "--pid", "--fork", "--kill-child", "--mount-proc")
LAST_PID = "/proc/sys/kernel/ns_last_pid"

REUSE = """
import os, signal, sys, time
import ipc

name, rounds, in_time = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
PID = 4711

def start(body):
    for _ in range(100):                       # somebody else in the namespace may have been faster: try again
        with open("/proc/sys/kernel/ns_last_pid", "w") as file:
            file.write(str(PID - 1))
        pid = os.fork()
        if pid == 0:
            if os.getpid() == PID:
                body()
                signal.pause()
            os._exit(1)
        if pid == PID:
            return
        os.waitpid(pid, 0)
    raise SystemExit("the pid can't be had again")

def end():
    os.kill(PID, signal.SIGKILL)
    os.waitpid(PID, 0)

def send(text):
    global sender
    sender = ipc.Sender.attach(name)
    sender.send(text)
    os.write(told[1], b"!")

told = os.pipe()

slowest = 0.0
for number in range(rounds):
    tx, rx = ipc.channel(name)
    tx.close()
    start(lambda: send("first"))
    os.read(told[0], 1)
    assert rx.recv(timeout=30) == "first"
    end()
    start(lambda: None)                        # alive, with the pid of the dead one
    begun = time.monotonic()
    try:
        rx.recv(timeout=30)
        raise SystemExit("a message from nowhere")
    except ipc.PeerDiedError:
        slowest = max(slowest, time.monotonic() - begun)
    end()
    start(lambda: send("second"))              # a successor with the pid of its predecessor
    os.read(told[0], 1)                        # until then, the end is a dead process's
    assert rx.recv(timeout=30) == "second"
    try:
        rx.recv(timeout=0.12)                  # longer than a slice: it has looked
        raise SystemExit("a message from nowhere")
    except ipc.TimeoutError:
        pass
    end()
    rx.close()
    ipc.gc()
    assert slowest < in_time, slowest
print(f"{rounds} pids used again, 0 wrong verdicts; the slowest death was told after {slowest:.3f} s", flush=True)
"""


@pytest.fixture(autouse=True)
def namespaces() -> None:
    """Skip where an unprivileged user may not make them, or not choose pids in them."""
    command = [*IN_A_NAMESPACE, "sh", "-c", f"echo 100 > {LAST_PID}"]
    try:
        done = subprocess.run(command, check=False, capture_output=True, text=True)
    except OSError as error:
        pytest.skip(f"no pid namespace can be made: {error}")
    if done.returncode != 0:
        pytest.skip(f"pids can't be chosen in a namespace: {done.stderr.strip()}")


@pytest.mark.parametrize("rounds", [10, pytest.param(60, marks=pytest.mark.slow)])
def test_a_process_with_the_pid_of_a_dead_one_is_not_taken_for_it(rounds: int, name: str, ipc_dir: object) -> None:
    with Python(REUSE, name, str(rounds), str(DEATH_NOTICED_SECONDS), wrap=IN_A_NAMESPACE) as process:
        said = process.hear()
        print(said)
        assert said.startswith(f"{rounds} pids used again, 0 wrong verdicts")
        assert process.end() == 0

"""Pid reuse, forced: the first process of a pid namespace of its own makes processes with the pids that it wants.

    unshare --pid --fork --kill-child --mount-proc python -m tests.process.pid_reuse ROUNDS

In each round an end's taker is killed, and another process gets its pid: first one that has nothing to do with the
channel, then one that succeeds the dead one.  Prints "N rounds, N pids used again, N verdicts right".
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from multiprocessing import Pipe
from pathlib import Path
from typing import Any

import ipc

LAST_PID = Path("/proc/sys/kernel/ns_last_pid")
NAME = "reused"
SOON = 0.01  # each wait looks at the other side at its end
TRIES = 100


class Nursery:
    """Forks processes with chosen pids.  Itself forked before any channel was made, so that they inherit none."""

    def __init__(self) -> None:
        self._orders, theirs = Pipe()
        if os.fork() == 0:
            try:
                self._serve(theirs)
            finally:
                os._exit(1)
        theirs.close()

    def make(self, role: str, pid: int = 0) -> int:
        """A process that plays the role, once it is ready; its pid, which is the wanted one unless that is 0."""
        self._orders.send((role, pid))
        return int(self._orders.recv())

    def kill(self, pid: int) -> None:
        """Killed, and reaped: its pid is free."""
        self._orders.send(("kill", pid))
        self._orders.recv()

    def _serve(self, orders: Any) -> None:
        while True:
            role, pid = orders.recv()
            if role == "kill":
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
                orders.send(pid)
            else:
                orders.send(self._born(role, pid))

    def _born(self, role: str, wanted: int) -> int:
        for _ in range(TRIES):
            if wanted:
                LAST_PID.write_text(str(wanted - 1), encoding="ascii")
            ready, told = os.pipe()
            pid = os.fork()
            if pid == 0:
                os.close(ready)
                ROLES[role](lambda: os.write(told, b"!"))  # noqa: B023
                os._exit(1)
            os.close(told)
            heard = os.read(ready, 1)
            os.close(ready)
            if heard and wanted in {0, pid}:
                return pid
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        raise AssertionError(f"no process got pid {wanted}")


def _sender(ready: Callable[[], object]) -> None:
    tx: ipc.Sender[Any] = ipc.Sender.attach(NAME)
    tx.send(os.getpid())
    ready()
    signal.pause()


def _receiver(ready: Callable[[], object]) -> None:
    rx: ipc.Receiver[Any] = ipc.Receiver.attach(NAME)
    rx.recv()
    ready()
    signal.pause()


def _stranger(ready: Callable[[], object]) -> None:
    ready()
    signal.pause()


ROLES = {"sender": _sender, "receiver": _receiver, "stranger": _stranger}


def outcome(call: Callable[[], object]) -> str:
    """What a call that looks at the other side says of it."""
    try:
        return repr(call())
    except ipc.TimeoutError:
        return "lives"
    except ipc.PeerDiedError:
        return "died"


def one_round(nursery: Nursery, role: str, check: Callable[[str, str], None]) -> None:
    """The taker of one end dies three times; its pid lives on."""
    tx, rx = ipc.channel(NAME, capacity=4096)
    mine, theirs = (rx, tx) if role == "sender" else (tx, rx)
    if role == "receiver":
        tx.send("taken")
    pid = nursery.make(role)
    theirs.close()  # never used here
    if role == "sender":
        check(outcome(lambda: rx.recv(timeout=SOON)), str(pid))
        look = lambda: rx.recv(timeout=SOON)  # noqa: E731
    else:
        tx.send("unread")
        look = lambda: tx.flush(timeout=SOON)  # noqa: E731
    check(outcome(look), "lives")
    nursery.kill(pid)
    check(outcome(look), "died")
    nursery.make("stranger", pid)
    check(outcome(look), "died")
    check(str([user.alive for user in ipc.stats(NAME).participants if user.pid == pid]), "[False]")
    nursery.kill(pid)
    nursery.make(role, pid)
    if role == "sender":
        check(outcome(look), str(pid))  # the successor's message
    else:
        check(outcome(look), "None")  # it has taken what was unread
        tx.send("unread again")
    check(outcome(look), "lives")
    nursery.kill(pid)
    check(outcome(look), "died")
    mine.close()


def main(rounds: int) -> int:
    nursery = Nursery()
    right = wrong = 0

    def check(said: str, wanted: str) -> None:
        nonlocal right, wrong
        right += said == wanted
        wrong += said != wanted

    for number in range(rounds):
        one_round(nursery, ("sender", "receiver")[number % 2], check)
        if NAME in [entry.name for entry in ipc.ls()]:
            ipc.rm(NAME)
    print(f"{rounds} rounds, {2 * rounds} pids used again, {right} verdicts right, {wrong} wrong", flush=True)
    return int(wrong != 0)


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1])))

"""A process that waits costs next to nothing."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest

import ipc
from tests.process import roles
from tests.process.support import is_waiting, pipe, receive, running, state_of, until

QUICKLY, PROPERLY = 3.0, 10.0  # seconds that are measured
MANY = 100_000
MOST_CPU = 5 * 0.001  # promised: 0.1 % of a CPU, and
MOST_WAKE_UPS_PER_SECOND = 5 * 25


def cost_of(pid: int) -> tuple[float, int]:
    """Seconds of CPU and voluntary context switches so far, of all threads."""
    seconds, switches = 0.0, 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        try:
            seconds += int((task / "schedstat").read_text(encoding="ascii").split()[0]) / 1e9
        except OSError:
            fields = (task / "stat").read_text(encoding="utf-8").rpartition(")")[2].split()
            seconds += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
        for line in (task / "status").read_text(encoding="utf-8").splitlines():
            if line.startswith("voluntary_ctxt_switches"):
                switches += int(line.split()[1])
    return seconds, switches


def ends_for(call: str) -> tuple[Any, Any]:
    """The end that waits, and the other one."""
    if call == "read_many":
        ring = ipc.Ring.create(capacity=4096)
        return ring.reader(), ring.writer()
    tx, rx = ipc.channel(capacity=4096)
    return (rx, tx) if call in roles.RECEIVING else (tx, rx)


def measure_idle(pid: int, told: Any, what: str, wanted_seconds: float) -> None:
    """Nothing happens for so long, and the process costs next to nothing meanwhile."""
    begin, (cpu_before, switches_before) = time.monotonic(), cost_of(pid)
    assert not told.poll(wanted_seconds)
    cpu, switches = cost_of(pid)
    seconds = time.monotonic() - begin
    share, wake_ups = (cpu - cpu_before) / seconds, (switches - switches_before) / seconds
    print(f"{what}: {share:.3%} CPU and {wake_ups:.1f} wake-ups a second over {seconds:.1f} s")
    assert share <= MOST_CPU
    assert wake_ups <= MOST_WAKE_UPS_PER_SECOND


@pytest.mark.parametrize(
    ("call", "seconds"),
    [
        ("recv", QUICKLY),
        ("send", QUICKLY),
        *(pytest.param(call, PROPERLY, marks=pytest.mark.slow) for call in ("recv", "iteration", "flush", "read_many")),
    ],
)
def test_a_blocked_call_hardly_uses_the_cpu(call: str, seconds: float) -> None:
    mine, theirs = ends_for(call)
    with (
        pipe() as (ours, told),
        pipe() as (peer, peer_told),
        running(ipc.spawn(roles.wait_for, peer_told, theirs, context="fork")),
        running(ipc.spawn(roles.block, call, mine, told, context="fork")) as worker,
    ):
        receive(peer)
        receive(ours)
        until(lambda: is_waiting(worker.pid), f"{call} is blocked")
        measure_idle(worker.pid, ours, call, seconds)


def consume(queue: Any, told: Any) -> None:
    """Take what comes, and say so."""
    told.send("ready")
    while True:
        told.send(queue.get())


@pytest.mark.parametrize("kind", [ipc.Queue, ipc.ReliableQueue], ids=lambda kind: kind.__name__)
@pytest.mark.parametrize(
    ("consumers", "seconds"),
    [
        (1, QUICKLY),
        *(pytest.param(n, seconds, marks=pytest.mark.slow) for n, seconds in ((4, PROPERLY), (16, PROPERLY))),
    ],
)
def test_idle_consumers_of_a_queue_hardly_use_the_cpu(kind: Any, consumers: int, seconds: float) -> None:
    with kind() as queue, contextlib.ExitStack() as stack:
        ours, told = stack.enter_context(pipe())
        workers = [
            stack.enter_context(running(ipc.spawn(consume, queue, told, context="fork"))) for _ in range(consumers)
        ]
        for _ in workers:
            receive(ours)
        for worker in workers:
            until(lambda pid=worker.pid: is_waiting(pid), "a consumer waits")  # type: ignore[misc]
        begin, before = time.monotonic(), [cost_of(worker.pid) for worker in workers]
        assert not ours.poll(seconds)
        after, took = [cost_of(worker.pid) for worker in workers], time.monotonic() - begin
        shares = sorted((then[0] - now[0]) / took for now, then in zip(before, after, strict=True))
        print(f"{kind.__name__}, {consumers} consumers: {shares[-1]:.3%} CPU at most, {sum(shares):.3%} in all")
        assert shares[-1] <= MOST_CPU
        wake_ups = max((then[1] - now[1]) / took for now, then in zip(before, after, strict=True))
        assert wake_ups <= MOST_WAKE_UPS_PER_SECOND


def subscribe_and_consume(multicast: Any, told: Any, observe: bool, interval: float) -> None:
    """Take what comes, and say so."""
    with multicast.subscribe(observe=observe, interval=interval) as subscriber:
        told.send("ready")
        while True:
            told.send(subscriber.recv())


def be_publisher(multicast: Any, told: Any, fills: bool) -> None:
    """Publish nothing, or wait for room."""
    with multicast.publisher() as publisher:
        told.send("ready")
        while fills:
            publisher.publish(bytes(1000))
        told.recv()


@pytest.mark.parametrize("policy", ["lossless", "lossy"])
@pytest.mark.parametrize(
    ("subscribers", "seconds"),
    [
        (1, QUICKLY),
        *(pytest.param(n, seconds, marks=pytest.mark.slow) for n, seconds in ((4, PROPERLY), (16, PROPERLY))),
    ],
)
def test_idle_subscribers_of_a_multicast_hardly_use_the_cpu(policy: Any, subscribers: int, seconds: float) -> None:
    with ipc.Multicast[Any](policy=policy) as multicast, contextlib.ExitStack() as stack:
        ours, told = stack.enter_context(pipe())
        peer, peer_told = stack.enter_context(pipe())
        stack.enter_context(running(ipc.spawn(be_publisher, multicast, peer_told, False, context="fork")))
        receive(peer)
        workers = [
            stack.enter_context(
                running(ipc.spawn(subscribe_and_consume, multicast, told, False, 0.005, context="fork"))
            )
            for _ in range(subscribers)
        ]
        for _ in workers:
            receive(ours)
        for worker in workers:
            until(lambda pid=worker.pid: is_waiting(pid), "a subscriber waits")  # type: ignore[misc]
        begin, before = time.monotonic(), [cost_of(worker.pid) for worker in workers]
        assert not ours.poll(seconds)
        after, took = [cost_of(worker.pid) for worker in workers], time.monotonic() - begin
        shares = sorted((then[0] - now[0]) / took for now, then in zip(before, after, strict=True))
        wake_ups = max((then[1] - now[1]) / took for now, then in zip(before, after, strict=True))
        print(f"{policy}, {subscribers} subscribers: {shares[-1]:.3%} CPU and {wake_ups:.1f} wake-ups a second at most")
        assert shares[-1] <= MOST_CPU
        assert wake_ups <= MOST_WAKE_UPS_PER_SECOND


def test_a_publisher_that_waits_for_room_hardly_uses_the_cpu() -> None:
    with (
        ipc.Multicast[Any](capacity=4096) as multicast,
        multicast.subscribe(),
        pipe() as (ours, told),
        running(ipc.spawn(be_publisher, multicast, told, True, context="fork")) as worker,
    ):
        receive(ours)
        until(lambda: is_waiting(worker.pid), "it waits for room")
        measure_idle(worker.pid, ours, "publish", QUICKLY)


@pytest.mark.parametrize("interval", [0.05, pytest.param(0.005, marks=pytest.mark.slow)])
def test_an_observer_that_waits_looks_no_more_often_than_its_interval_says(interval: float) -> None:
    """Nobody wakes an observer, so it polls: its figure is its own, and goes with the interval that was asked for."""
    with (
        ipc.Multicast[Any]() as multicast,
        pipe() as (peer, peer_told),
        pipe() as (ours, told),
        running(ipc.spawn(be_publisher, multicast, peer_told, False, context="fork")),
        running(ipc.spawn(subscribe_and_consume, multicast, told, True, interval, context="fork")) as worker,
    ):
        receive(peer)
        receive(ours)
        begin, before = time.monotonic(), cost_of(worker.pid)
        assert not ours.poll(QUICKLY)
        after, took = cost_of(worker.pid), time.monotonic() - begin
        wake_ups = (after[1] - before[1]) / took
        print(
            f"an observer, {interval} s: {(after[0] - before[0]) / took:.3%} CPU and {wake_ups:.1f} wake-ups a second"
        )
        assert wake_ups <= 1.5 / interval  # locks of the interpreter are some more
        assert wake_ups >= 1  # or it isn't looking


@pytest.mark.parametrize("stopped", [False, True], ids=["busy", "stopped while it waits"])
def test_a_hundred_thousand_wake_ups_that_nobody_heeds_block_nobody_and_leave_no_spin(stopped: bool) -> None:
    tx, inbox = ipc.channel(capacity="4MiB", spin=0)
    with (
        pipe() as (ours, told),
        tx,
        running(ipc.spawn(take_when_told, inbox, told, not stopped, context="fork")) as worker,
    ):
        receive(ours)
        if stopped:
            until(lambda: is_waiting(worker.pid), "it waits")
            os.kill(worker.pid, signal.SIGSTOP)
            until(lambda: state_of(worker.pid) == "T", "it is stopped")
        switches = cost_of(os.getpid())[1]
        for _ in range(MANY):
            tx.send(b"", timeout=0)  # there is room: none of them waits for anything
        assert cost_of(os.getpid())[1] - switches < MANY / 100  # what sleeps in a call would count
        if stopped:
            os.kill(worker.pid, signal.SIGCONT)
        else:
            ours.send("now")
        assert receive(ours) == MANY
        until(lambda: is_waiting(worker.pid), "it waits again")
        measure_idle(worker.pid, ours, "afterwards", QUICKLY)


def take_when_told(inbox: Any, told: Any, when_told: bool) -> None:
    told.send(os.getpid())
    if when_told:
        told.recv()
    for _ in range(MANY):
        inbox.recv()
    told.send(MANY)
    inbox.recv()

"""Who is stalled is not dead: nobody takes its place, nothing of its is given to others or written over (R36, R38).

And who is dead is: wherever a reader was killed, its writer is free in time (R11).
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

import ipc
from tests.process.numbered import CAPACITY, calling, go_on, orphaned, stop
from tests.process.support import DEATH_NOTICED_SECONDS, Forked, is_waiting, pipe, receive, until

LOOKS = 5  # at an end that is taken, spread over several slices
APART_SECONDS = 0.15

FIRST, SECOND = b"1" * 1000, b"2" * 1000


def try_for_some_time(attach: Callable[[], Any], use: Callable[[Any], Any], taker: int) -> None:
    """To take an end that a stalled process has: refused each time, in its name."""
    for _ in range(LOOKS):
        with attach() as mine, pytest.raises(ipc.BusyError, match=f"process {taker};"):
            use(mine)
        time.sleep(APART_SECONDS)


def claim_slowly(end: Any, told: Any) -> None:
    """Half of the message is written when the process is stopped."""
    with end.claim(len(FIRST)) as memory:
        memory[: len(FIRST) // 2] = FIRST[: len(FIRST) // 2]
        told.send("half")
        told.recv()
        memory[len(FIRST) // 2 :] = FIRST[len(FIRST) // 2 :]


def test_nobody_writes_over_the_claim_of_a_stalled_sender(name: str) -> None:
    creator, rx = ipc.channel(name, capacity=CAPACITY)
    attach: Callable[[], Any] = partial(ipc.Sender.attach, name)
    with pipe() as (ours, told), creator, rx, calling(attach, partial(claim_slowly, told=told)) as (stalled, outcomes):
        assert receive(ours) == "half"
        stop(stalled)
        try_for_some_time(attach, lambda tx: tx.send(SECOND), stalled.pid)
        assert name not in ipc.gc()
        with pytest.raises(ipc.TimeoutError):
            rx.recv(timeout=0)
        go_on(stalled)
        ours.send("go on")
        assert receive(outcomes) is None
        assert rx.recv_envelope() == (FIRST, 0, 0)
        assert ipc.stats(name).sent == 1


def test_nobody_writes_over_the_claim_of_a_stalled_ring_writer(name: str) -> None:
    ring = ipc.Ring.create(name, capacity=CAPACITY)

    def hold(told: Any) -> None:
        with ipc.Ring.attach(name) as mine:
            claim_slowly(mine.writer(), told)
            told.send("written")
            told.recv()

    with pipe() as (ours, told), ring, Forked(partial(hold, told)) as stalled:
        assert receive(ours) == "half"
        stop(stalled)
        try_for_some_time(partial(ipc.Ring.attach, name), lambda mine: mine.writer().write(SECOND), stalled.pid)
        with pytest.raises(ipc.TimeoutError):
            ring.reader().read(timeout=0)
        go_on(stalled)
        ours.send("go on")
        assert receive(ours) == "written"
        assert ring.reader().read_many() == [FIRST]


def test_nothing_is_taken_in_place_of_a_stalled_receiver_and_nothing_is_dropped(name: str) -> None:
    tx, unused = ipc.channel(name, capacity=CAPACITY)
    attach: Callable[[], Any] = partial(ipc.Receiver.attach, name)

    def take(rx: Any) -> list[int]:
        return [rx.recv() for _ in range(sent)]

    sent = 1
    tx.send(0)
    while tx.try_send(sent):
        sent += 1
    with tx, unused, pipe() as (ours, told):

        def work() -> None:
            with attach() as rx:
                told.send([rx.recv()])
                told.recv()
                told.send(take(rx))

        with Forked(work) as stalled:
            assert receive(ours) == [0]
            stop(stalled)
            try_for_some_time(attach, lambda rx: rx.recv(timeout=0), stalled.pid)
            tx.send(sent)
            with pytest.raises(ipc.TimeoutError):
                tx.send(bytes(CAPACITY // 2), timeout=APART_SECONDS)
            assert ipc.stats(name).depth == sent
            go_on(stalled)
            ours.send("take the rest")
            assert receive(ours) == list(range(1, sent + 1))


# --- R11 ------------------------------------------------------------------------------------------------------------


def take_one_and_wait(rx: Any, told: Any) -> None:
    rx.recv()
    told.send("there")
    told.recv()


def wait_in_a_view(rx: Any, told: Any) -> None:
    with rx.view():
        told.send("there")
        told.recv()


def take_half_of_one_in_parts(rx: Any, told: Any) -> None:
    rx.recv()
    with pytest.raises(ipc.TimeoutError):
        rx.recv(timeout=0)
    told.send("there")
    told.recv()


def work_without_a_pause(rx: Any, told: Any) -> None:
    told.send("there")
    while True:
        rx.recv()


def wait_stopped(rx: Any, told: Any) -> None:
    rx.recv()
    told.send("stop me")
    told.recv()


POINTS = {
    "between two calls": (take_one_and_wait, FIRST),
    "in a view": (wait_in_a_view, FIRST),
    "in the middle of a message in parts": (take_half_of_one_in_parts, bytes(20 * CAPACITY)),
    "at work": (work_without_a_pause, FIRST),
    "stopped": (wait_stopped, FIRST),
}


@pytest.mark.parametrize("point", POINTS)
def test_wherever_a_reader_is_killed_its_writer_is_free_in_time(point: str, name: str) -> None:
    read, message = POINTS[point]
    tx, unused = ipc.channel(name, capacity=CAPACITY)
    with orphaned(name, (tx, unused)), pipe() as (ours, told), pipe() as (news, tell):

        def reader() -> None:
            with ipc.Receiver.attach(name) as rx:
                read(rx, told)

        def writer() -> None:
            with ipc.Sender.attach(name) as mine:
                mine.send(FIRST)
                try:
                    while True:
                        mine.send(message)
                except ipc.PeerDiedError:
                    tell.send(time.monotonic())

        with Forked(reader) as dying, Forked(writer) as waiting:
            said = receive(ours)
            if said == "stop me":
                stop(dying)
            if point != "at work":
                until(lambda: is_waiting(waiting.pid), "the writer waits for room")
            assert dying.kill() == -signal.SIGKILL
            reaped = time.monotonic()
            assert receive(news) - reaped < DEATH_NOTICED_SECONDS
            assert waiting.join() == 0

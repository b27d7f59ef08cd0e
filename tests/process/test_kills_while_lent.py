"""Claims and views whose holder is killed, stopped or interrupted: their `with` must end for anything to change."""

from __future__ import annotations

import os
import random
import signal
import time
from contextlib import suppress
from functools import partial
from typing import Any

import numpy as np
import pytest

import ipc
from tests.process import numbered
from tests.process.numbered import CAPACITY, calling, go_on, press_ctrl_c, stop
from tests.process.support import Forked, is_waiting, pipe, receive, until

ARRAY = np.arange(300, dtype=np.float64).reshape(20, 15)
LARGE = 3 * CAPACITY  # of one message that fits
TOO_SOON = 0.7  # seconds: several looks at the other side


def fill_by_claim(tx: Any, kind: str, then: Any = None) -> None:
    """Send ARRAY or its bytes, and do something else before the end of the `with`."""
    data: Any = ARRAY if kind == "array" else ARRAY.tobytes()
    with tx.claim(ARRAY.shape, ARRAY.dtype) if kind == "array" else tx.claim(len(data)) as lent:
        lent[:] = data
        if then is not None:
            then()


def is_the_array(got: Any) -> bool:
    """Whether ARRAY or its bytes has come."""
    return numbered.same(got, ARRAY) or numbered.same(got, ARRAY.tobytes())


def pause_in_the_block(told: Any) -> None:
    """Say so, and wait."""
    told.send("in the block")
    told.recv()


kinds = pytest.mark.parametrize("kind", ["bytes", "array"])


@pytest.mark.parametrize("victims", numbered.SIDES)
@pytest.mark.parametrize("kills", [30, pytest.param(300, marks=pytest.mark.slow)])
def test_random_kills_of_holders_lose_nothing_and_tear_nothing(kills: int, victims: str, name: str) -> None:
    with numbered.board() as known, numbered.orphaned(name, ipc.channel(name, capacity=CAPACITY)):
        killed = numbered.storm(name, known, kills, victims, numbered.keep_claiming, numbered.keep_viewing)
        numbered.check(known, *killed, ipc.stats(name), told_before_taken=True)


# --- claims ---------------------------------------------------------------------------------------------------------


@kinds
def test_a_claim_whose_holder_was_killed_is_not_sent(name: str, kind: str) -> None:
    tx, rx = ipc.channel(name, capacity=CAPACITY)
    with tx, rx, pipe() as (ours, told):

        def hold() -> None:
            with ipc.Sender.attach(name) as mine:
                mine.send("sent")
                fill_by_claim(mine, kind, partial(pause_in_the_block, told))

        with Forked(hold) as holder:
            assert receive(ours) == "in the block"
            holder.kill()
        assert rx.recv() == "sent"
        with pytest.raises(ipc.PeerDiedError):
            rx.recv()
        tx.send("by the successor")
        fill_by_claim(tx, kind)
        envelope = rx.recv_envelope()
        assert (envelope.message, envelope.sequence) == ("by the successor", 1)
        assert is_the_array(rx.recv())


@kinds
def test_a_sender_that_is_stopped_in_a_claim_is_waited_for(name: str, kind: str) -> None:
    unused, rx = ipc.channel(name, capacity=CAPACITY)
    with unused, rx, pipe() as (ours, told):
        hold = partial(fill_by_claim, kind=kind, then=partial(pause_in_the_block, told))
        with calling(lambda: ipc.Sender.attach(name), hold) as (sender, outcomes):
            assert receive(ours) == "in the block"
            stop(sender)
            for timeout in (0, 0.01, TOO_SOON):
                with pytest.raises(ipc.TimeoutError):
                    rx.recv(timeout=timeout)
                with pytest.raises(ipc.TimeoutError), rx.view(timeout=timeout):
                    pass
            go_on(sender)
            ours.send("end the block")
            assert is_the_array(rx.recv())
            assert receive(outcomes) is None


def test_ctrl_c_ends_a_claim_that_waits_for_room_and_the_sender_goes_on(name: str) -> None:
    unused, rx = ipc.channel(name, capacity=CAPACITY)
    claim = partial(fill_by_claim, kind="bytes")
    with unused, rx, calling(lambda: ipc.Sender.attach(name), claim, claim, send_behind) as (sender, outcomes):
        assert receive(outcomes) is None
        until(lambda: is_waiting(sender.pid), "the second claim waits for room")
        press_ctrl_c(sender, outcomes)
        assert is_the_array(rx.recv())
        assert rx.recv() == "behind"
        assert receive(outcomes) is None


def send_behind(tx: Any) -> None:
    tx.send("behind")


def test_ctrl_c_in_the_block_of_a_claim_sends_nothing(name: str) -> None:
    unused, rx = ipc.channel(name, capacity=CAPACITY)
    with unused, rx, pipe() as (ours, told):
        hold = partial(fill_by_claim, kind="array", then=partial(pause_in_the_block, told))
        with calling(lambda: ipc.Sender.attach(name), hold, send_behind) as (sender, outcomes):
            assert receive(ours) == "in the block"
            press_ctrl_c(sender, outcomes)
            assert rx.recv_envelope() == ("behind", 0, 0)


# --- views ----------------------------------------------------------------------------------------------------------


def look_at(rx: Any, then: Any = None) -> Any:
    """A copy of the next message, made in a view."""
    with rx.view() as lent:
        if then is not None:
            then()
        return bytes(lent) if isinstance(lent, memoryview) else lent.copy()


@kinds
def test_a_message_whose_viewer_was_killed_is_there_for_the_successor(name: str, kind: str) -> None:
    tx, rx = ipc.channel(name, capacity=CAPACITY)
    with tx, rx, pipe() as (ours, told):
        fill_by_claim(tx, kind)
        tx.send("behind")
        with calling(lambda: ipc.Receiver.attach(name), partial(look_at, then=partial(pause_in_the_block, told))) as (
            viewer,
            _,
        ):
            assert receive(ours) == "in the block"
            viewer.kill()
        assert rx.stats().received == 0
        assert is_the_array(look_at(rx))
        assert rx.recv_envelope() == ("behind", 0, 1)


@kinds
def test_a_receiver_that_is_stopped_in_a_view_is_waited_for(name: str, kind: str) -> None:
    tx, unused = ipc.channel(name, capacity=CAPACITY)
    with tx, unused, pipe() as (ours, told):
        look = partial(look_at, then=partial(pause_in_the_block, told))
        fill_by_claim(tx, kind)
        with calling(lambda: ipc.Receiver.attach(name), look, look_at) as (viewer, outcomes):
            assert receive(ours) == "in the block"
            stop(viewer)
            for timeout in (0, 0.01, TOO_SOON):
                with pytest.raises(ipc.TimeoutError):
                    tx.send(bytes(2000), timeout=timeout)
                with pytest.raises(ipc.TimeoutError), tx.claim(2000, timeout=timeout):
                    pass
            go_on(viewer)
            ours.send("end the block")
            tx.send(bytes(2000))
            assert is_the_array(receive(outcomes))
            assert receive(outcomes) == bytes(2000)


@kinds
def test_ctrl_c_ends_a_view_that_waits_for_data_and_the_receiver_goes_on(name: str, kind: str) -> None:
    tx, unused = ipc.channel(name, capacity=CAPACITY)
    with tx, unused, calling(lambda: ipc.Receiver.attach(name), look_at, look_at) as (viewer, outcomes):
        until(lambda: is_waiting(viewer.pid), "the view waits for data")
        press_ctrl_c(viewer, outcomes)
        fill_by_claim(tx, kind)
        assert is_the_array(receive(outcomes))


# --- Ctrl-C at any moment -------------------------------------------------------------------------------------------


HOT = {
    "claim of bytes": partial(fill_by_claim, kind="bytes"),
    "claim of an array": partial(fill_by_claim, kind="array"),
    "send of a strided array": lambda tx: tx.send(ARRAY[::2, ::3]),
    "send": lambda tx: tx.send(bytes(2000)),
    "send in parts": lambda tx: tx.send(bytes(5 * CAPACITY)),
    "view": look_at,
    "recv": lambda rx: rx.recv(),
}


@pytest.mark.parametrize("call", HOT)
def test_ctrl_c_at_any_moment_leaves_the_end_usable(call: str) -> None:
    tx, rx = ipc.channel(capacity=4 * CAPACITY)
    mine, theirs = (rx, tx) if call in {"view", "recv"} else (tx, rx)
    random_ = random.Random(4711)
    with (
        pipe() as (ours, told),
        tx,
        rx,
        Forked(partial(keep_up, theirs)),
        Forked(partial(repeat, HOT[call], mine, told)) as hot,
    ):
        for _ in range(200):
            assert receive(ours) == "calling"
            time.sleep(random_.uniform(0.0, 0.001))
            os.kill(hot.pid, signal.SIGINT)
            while not ours.poll(1):  # an exception out of a finalizer goes nowhere: once more
                os.kill(hot.pid, signal.SIGINT)
            assert receive(ours) == "KeyboardInterrupt"


def repeat(call: Any, end: Any, told: Any) -> None:
    """Calls without a pause, until Ctrl-C; once more, to see whether that works; and so on."""
    listening = False

    def handler(*_: object) -> None:
        if listening:
            raise KeyboardInterrupt

    signal.signal(signal.SIGINT, handler)
    while True:
        try:
            listening = True
            told.send("calling")
            while True:
                call(end)
        except KeyboardInterrupt:
            listening = False
            outcome = "KeyboardInterrupt"
        except ipc.IpcError as error:
            listening = False
            outcome = repr(error)
        told.send(outcome)


def keep_up(end: Any) -> None:
    """The other side of any call."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with suppress(ipc.EndOfChannel, ipc.PeerDiedError):
        while True:
            if isinstance(end, ipc.Sender):
                end.send(bytes(LARGE))
            else:
                end.recv()

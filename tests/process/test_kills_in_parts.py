"""Messages larger than the ring while a side is killed, stopped or interrupted: they come whole, or not at all."""

from __future__ import annotations

import functools
import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import pytest

import ipc
from tests.process import numbered
from tests.process.numbered import CAPACITY, calling, go_on, press_ctrl_c, stop
from tests.process.support import Forked, is_waiting, receive, until

LARGE = bytes(range(256)) * 16 * 20  # 20 times the ring
OTHER = LARGE[::-1]


# --- killed at random -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("victims", numbered.SIDES)
@pytest.mark.parametrize("kills", [30, pytest.param(300, marks=pytest.mark.slow)])
def test_random_kills_leave_whole_messages_in_order(kills: int, victims: str, name: str) -> None:
    with numbered.board() as known, numbered.orphaned(name, ipc.channel(name, capacity=CAPACITY)):
        killed = numbered.storm(name, known, kills, victims, numbered.keep_sending, numbered.keep_receiving)
        numbered.check(known, *killed, ipc.stats(name), told_before_taken=False)


# --- killed, stopped or interrupted in mid-message ------------------------------------------------------------------


@contextmanager
def sending(name: str, *messages: Any) -> Iterator[tuple[Forked, Any]]:
    """A process that sends messages, stopped in mid-message in the first; what came of each comes out of the pipe."""
    sends = [functools.partial(send, message) for message in messages]
    with calling(lambda: ipc.Sender.attach(name), *sends) as (sender, outcomes):
        until(lambda: is_waiting(sender.pid), "the sender waits for room")
        stop(sender)
        yield sender, outcomes


def send(message: Any, tx: Any) -> Any:
    return tx.send(message)


def receiving(name: str, count: int) -> AbstractContextManager[tuple[Forked, Any]]:
    """A process that receives messages; each one, or the error, comes out of the pipe."""
    return calling(lambda: ipc.Receiver.attach(name), *[lambda rx: rx.recv()] * count)


def take_some(rx: Any) -> None:
    """All that there is of a message whose sender is stopped."""
    with pytest.raises(ipc.TimeoutError):
        rx.recv(timeout=0)


@pytest.mark.parametrize("begun", [False, True], ids=["unread", "half read"])
@pytest.mark.parametrize("successor", [b"small", OTHER], ids=["small", "in parts"])
def test_what_a_killed_sender_left_of_a_message_is_dropped(name: str, begun: bool, successor: bytes) -> None:
    creator, rx = ipc.channel(name, capacity=CAPACITY)
    with creator, rx:
        with sending(name, LARGE) as (sender, _):
            if begun:
                take_some(rx)
            sender.kill()
        with pytest.raises(ipc.PeerDiedError, match=f"process {sender.pid} "):
            rx.recv()
        assert (rx.stats().sent, rx.stats().received) == (0, 0)
        with Forked(lambda: succeed(name, successor)) as forked:
            assert rx.recv_envelope() == (successor, 7, 0)  # the number is used again
            assert rx.recv_envelope() == (b"and on", 0, 1)
            assert forked.join() == 0


def succeed(name: str, message: bytes) -> None:
    with ipc.Sender.attach(name) as tx:
        tx.send(message, type=7)
        tx.send(b"and on")


def test_a_receiver_in_mid_message_hears_of_the_senders_death_and_goes_on_with_its_successor(name: str) -> None:
    creator, unused = ipc.channel(name, capacity=CAPACITY)
    with creator, unused, sending(name, LARGE) as (sender, _), receiving(name, 2) as (receiver, got):
        until(lambda: is_waiting(receiver.pid), "the receiver has all that there is")
        sender.kill()
        assert receive(got) == "PeerDiedError"
        creator.send(OTHER)
        assert receive(got) == OTHER


@pytest.mark.parametrize("faster", ["the sender", "the successor"])
def test_a_sender_in_mid_message_hears_of_the_receivers_death_and_the_successor_sees_nothing_of_it(
    name: str, faster: str
) -> None:
    unused, rx = ipc.channel(name, capacity=CAPACITY)
    with unused, rx, sending(name, LARGE, OTHER, b"small") as (sender, outcomes):
        with receiving(name, 1) as (receiver, _):
            until(lambda: is_waiting(receiver.pid), "the receiver has all that there is")
            receiver.kill()
        if faster == "the successor":
            take_some(rx)
            assert rx.stats().participants[1].pid == os.getpid()  # whom the sender finds alive
            go_on(sender)
        else:
            go_on(sender)
            assert receive(outcomes) == "PeerDiedError"
        assert rx.recv() == OTHER
        if faster == "the successor":
            assert receive(outcomes) == "PeerDiedError"
        assert rx.recv() == b"small"
        assert (receive(outcomes), receive(outcomes)) == (None, None)


def test_a_sender_that_is_stopped_in_mid_message_is_waited_for(name: str) -> None:
    creator, unused = ipc.channel(name, capacity=CAPACITY)
    with creator, unused, sending(name, LARGE) as (sender, _), receiving(name, 1) as (receiver, got):
        until(lambda: is_waiting(receiver.pid), "the receiver has all that there is")
        assert not got.poll(0.7)  # several looks at the sender
        go_on(sender)
        assert receive(got) == LARGE


@pytest.mark.parametrize("timeout", [0, 0.01, 0.25])
def test_a_timeout_of_recv_in_mid_message_loses_nothing(name: str, timeout: float) -> None:
    creator, rx = ipc.channel(name, capacity=CAPACITY)
    with creator, rx, sending(name, LARGE, OTHER) as (sender, outcomes):
        for _ in range(3):
            with pytest.raises(ipc.TimeoutError):
                rx.recv(timeout=timeout)
        with pytest.raises(ipc.TimeoutError):
            rx.recv_many(timeout=timeout)
        assert rx.try_recv() is None
        assert (rx.stats().received, rx.stats().depth) == (0, 0)
        go_on(sender)
        assert rx.recv() == LARGE
        assert rx.recv_many() == [OTHER]
        assert (receive(outcomes), receive(outcomes)) == (None, None)


def test_a_view_says_that_a_message_comes_in_parts_and_leaves_it_to_recv(name: str) -> None:
    creator, rx = ipc.channel(name, capacity=CAPACITY)
    with creator, rx, sending(name, LARGE) as (sender, outcomes):
        with pytest.raises(ipc.MessageTooLargeError), rx.view():
            pass
        go_on(sender)
        assert rx.recv() == LARGE
        assert receive(outcomes) is None


def test_a_view_in_mid_message_loses_nothing_of_it(name: str) -> None:
    creator, rx = ipc.channel(name, capacity=CAPACITY)
    with creator, rx, sending(name, LARGE) as (sender, outcomes):
        take_some(rx)
        go_on(sender)
        until(lambda: is_waiting(sender.pid), "the sender has filled the ring again")
        with pytest.raises(ipc.IpcError), rx.view():
            pass
        assert rx.recv() == LARGE
        assert receive(outcomes) is None


def test_ctrl_c_ends_a_send_in_mid_message_and_nothing_of_it_is_received(name: str) -> None:
    creator, rx = ipc.channel(name, capacity=CAPACITY)
    with creator, rx, sending(name, LARGE, OTHER, b"small") as (sender, outcomes):
        take_some(rx)
        go_on(sender)
        until(lambda: is_waiting(sender.pid), "the sender waits for room again")
        press_ctrl_c(sender, outcomes)
        assert rx.recv() == OTHER
        assert rx.recv() == b"small"
        assert (receive(outcomes), receive(outcomes)) == (None, None)


def test_ctrl_c_ends_a_recv_in_mid_message_and_the_next_one_has_all_of_it(name: str) -> None:
    creator, unused = ipc.channel(name, capacity=CAPACITY)
    with creator, unused, sending(name, LARGE, OTHER) as (sender, _), receiving(name, 4) as (receiver, got):
        for _ in range(2):
            until(lambda: is_waiting(receiver.pid), "the receiver has all that there is")
            press_ctrl_c(receiver, got)
        go_on(sender)
        assert receive(got) == LARGE
        assert receive(got) == OTHER

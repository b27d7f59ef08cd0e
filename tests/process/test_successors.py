"""After a death on a named channel, a successor goes on where the dead one stopped: nothing lost, invented or moved."""

from __future__ import annotations

import os

import pytest

import ipc
from tests.process import roles
from tests.process.support import Forked, pipe, receive


def test_a_successor_receives_everything_that_the_dead_one_had_not_taken(name: str) -> None:
    tx, rx = ipc.channel(name)
    with pipe() as (ours, told), tx, rx:

        def first() -> None:
            with ipc.Receiver.attach(name) as mine:
                told.send([mine.recv() for _ in range(10)])
                roles.wait_for(told)

        for number in range(100):
            tx.send(number)
        with Forked(first) as receiver:
            assert receive(ours) == list(range(10))
            with pytest.raises(ipc.BusyError, match=f"process {receiver.pid}"):
                rx.recv()
            receiver.kill()
        assert rx.stats().depth == 90
        assert [rx.recv() for _ in range(90)] == list(range(10, 100))
        tx.send("and on")
        assert rx.recv() == "and on"


def test_a_record_that_was_only_peeked_at_is_there_for_the_successor(name: str) -> None:
    ring = ipc.Ring.create(name)
    with pipe() as (ours, told), ring:

        def first() -> None:
            with ipc.Ring.attach(name) as mine, mine.reader().peek() as memory:
                told.send(bytes(memory))
                roles.wait_for(told)

        ring.writer().write(b"one")
        ring.writer().write(b"two")
        with Forked(first) as reader:
            assert receive(ours) == b"one"
            reader.kill()
        assert [ring.reader().read(), ring.reader().read()] == [b"one", b"two"]


def test_a_claim_that_was_not_finished_is_not_there_for_the_successor(name: str) -> None:
    ring = ipc.Ring.create(name)
    with pipe() as (ours, told), ring:

        def first() -> None:
            with ipc.Ring.attach(name) as mine:
                mine.writer().write(b"written")
                with mine.writer().claim(7) as memory:
                    memory[:] = b"claimed"
                    roles.wait_for(told)

        with Forked(first) as writer:
            assert receive(ours) == writer.pid
            writer.kill()
        ring.writer().write(b"by the successor")
        assert [ring.reader().read(), ring.reader().read()] == [b"written", b"by the successor"]


def test_a_successor_of_the_sender_goes_on_behind_what_was_published(name: str) -> None:
    tx, rx = ipc.channel(name)
    with pipe() as (ours, told), tx, rx:

        def first() -> None:
            with ipc.Sender.attach(name) as mine:
                roles.send_and_return(mine, 10)
                roles.wait_for(told)

        with Forked(first) as sender:
            assert receive(ours) == sender.pid
            with pytest.raises(ipc.BusyError):
                tx.send("too early")
            sender.kill()
        for number in range(10, 20):
            tx.send(number)
        assert [rx.recv() for _ in range(20)] == list(range(20))
        assert tx.stats().sent == 20


def test_a_receiver_that_was_told_of_a_death_receives_from_the_successor(name: str) -> None:
    creator, rx = ipc.channel(name)
    with pipe() as (ours, told), creator, rx:
        for number in range(3):

            def sender(number: int = number) -> None:
                mine = ipc.Sender.attach(name)
                mine.send(number)
                roles.wait_for(told)

            with Forked(sender) as forked:
                assert receive(ours) == forked.pid
                forked.kill()
            assert rx.recv() == number
            with pytest.raises(ipc.PeerDiedError, match=f"process {forked.pid} "):
                rx.recv()


def test_an_orphan_with_unread_messages_is_adopted_by_whoever_attaches(name: str) -> None:
    def creator() -> None:
        tx, _ = ipc.channel(name)
        roles.send_and_return(tx, 10)
        os._exit(0)

    with Forked(creator) as forked:
        forked.join()
    assert not ipc.stats(name).attached
    with ipc.Receiver.attach(name) as rx, ipc.Sender.attach(name) as tx:
        assert [rx.recv() for _ in range(10)] == list(range(10))
        tx.send("more")
        assert rx.recv() == "more"

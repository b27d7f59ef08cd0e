"""Publishers, subscribers and observers that die or are stopped: nothing published is lost, the numbers have no gap,
the living are told, and nobody waits for the dead.

Times are bounded only where the promise has one: a death is noticed within 200 ms, asserted at five times that.
"""

from __future__ import annotations

import mmap
import os
import re
import signal
import struct
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

import ipc
from tests.process import multicast_roles as roles
from tests.process.multicast_roles import LONG, forked_with_pipe, number_of, sealed
from tests.process.support import (
    DEATH_NOTICED_SECONDS,
    METHODS,
    Forked,
    Python,
    is_waiting,
    receive,
    state_of,
    until,
)

PAGE = 4096

# Half a minute: longer than any time-out or heartbeat that somebody may have hidden somewhere.
stopped_for = pytest.mark.parametrize("seconds", [2.0, pytest.param(30.0, marks=pytest.mark.slow)])


class Board:
    """One number that forked children and we share."""

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, 8)

    def __getitem__(self, _: int) -> int:
        return int(struct.unpack("Q", self._memory[:8])[0])

    def __setitem__(self, _: int, value: int) -> None:
        self._memory[:8] = struct.pack("Q", value)

    def close(self) -> None:
        self._memory.close()


@pytest.fixture
def board() -> Iterator[Board]:
    made = Board()
    yield made
    made.close()


@pytest.fixture
def lossless() -> Iterator[ipc.Multicast[Any]]:
    with ipc.Multicast[Any](capacity=PAGE) as multicast:
        yield multicast


def stop(pid: int) -> None:
    os.kill(pid, signal.SIGSTOP)
    until(lambda: state_of(pid) == "T", "it is stopped")


# --- death of the publisher ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("policy", ["lossless", "lossy"])
def test_publishers_that_are_killed_one_after_the_other_lose_nothing_and_their_numbers_have_no_gap(
    policy: Any, board: Board
) -> None:
    with ipc.Multicast[Any](policy=policy, capacity=PAGE) as multicast, ExitStack() as stack:
        followers = [stack.enter_context(forked_with_pipe(roles.follow, multicast)) for _ in range(2)]
        for turn in range(12):
            begin = board[0]
            with Forked(lambda: roles.publish_until_killed(multicast, board)) as publisher:
                until(lambda: board[0] >= begin + 40 * turn + 1, "it publishes")  # noqa: B023
                publisher.kill()
            sent = multicast.stats().sent
            assert sent in {board[0], board[0] + 1}  # of the last one nobody heard whether it went
            board[0] = sent
        with multicast.publisher() as last:
            assert last.publish(sealed(board[0])) == board[0]
        for child, ours in followers:
            got, _, lost = receive(ours)
            expected = 0
            for sequence, before in got:
                assert sequence == expected + before
                expected = sequence + 1
            assert expected == board[0] + 1
            assert len(got) + lost == expected
            assert policy == "lossy" or lost == 0
            assert child.join() == 0


# A view is lent only where nothing may be overwritten.
KINDS_AND_CALLS = [
    (kind, call)
    for kind in ("lossless", "lossy", "evicting", "observer")
    for call in (*roles.CALLS, *roles.POLLING)
    if kind == "lossless" or call != "view"
]


@pytest.mark.parametrize(("kind", "call"), KINDS_AND_CALLS)
def test_subscribers_are_told_of_the_publisher_s_death_in_time_and_go_on_with_its_successor(
    kind: str, call: str
) -> None:
    how: Any = {"lossy": {"policy": "lossy"}, "evicting": {"on_laggard": "evict"}}.get(kind, {})
    with (
        ipc.Multicast[Any](**how) as multicast,
        forked_with_pipe(roles.publish_then_wait, multicast, 0) as (publisher, _),
        forked_with_pipe(roles.receive_in, multicast, call, observe=kind == "observer") as (child, ours),
    ):
        if call not in roles.POLLING:
            until(lambda: state_of(child.pid) == "S", "it waits")
        publisher.kill()
        died = time.monotonic()
        outcome, moment = receive(ours)
        assert re.fullmatch(rf"PeerDiedError: .*the publisher, process {publisher.pid}, died without closing", outcome)
        assert moment - died <= DEATH_NOTICED_SECONDS
        ours.send("again")
        assert receive(ours)[0].startswith("PeerDiedError")  # and so it stays
        with multicast.publisher() as successor:
            ours.send("again")
            successor.publish(b"next")
            while (outcome := receive(ours)[0]).startswith("PeerDiedError"):  # said before the successor came
                ours.send("again")
            assert outcome == "returned"
        ours.send("enough")
        assert child.join() == 0


def test_what_a_killed_publisher_had_published_comes_before_the_news_of_its_death(lossless: ipc.Multicast[Any]) -> None:
    with lossless.subscribe() as subscriber, lossless.subscribe(observe=True) as observer:
        with forked_with_pipe(roles.publish_then_wait, lossless, 10) as (publisher, _):
            publisher.kill()
        for end in (subscriber, observer):
            assert [end.recv(timeout=LONG) for _ in range(10)] == list(range(10))
            for call in (end.recv, end.recv_many, lambda: next(end), lambda: end.recv(timeout=LONG)):  # noqa: B023
                with pytest.raises(ipc.PeerDiedError):
                    call()
        with lossless.subscribe("oldest") as late:
            assert late.recv_many(timeout=LONG) == list(range(10))
            with pytest.raises(ipc.PeerDiedError):
                late.recv()


def test_a_successor_that_takes_over_while_a_subscriber_sleeps_is_heard_and_no_death_is_told(
    lossless: ipc.Multicast[Any],
) -> None:
    """The old one's death and the new one's coming may fall into one slice of the wait."""
    with (
        forked_with_pipe(roles.publish_then_wait, lossless, 0) as (publisher, _),
        forked_with_pipe(roles.follow, lossless) as (child, ours),
    ):
        until(lambda: is_waiting(child.pid), "the subscriber sleeps")
        publisher.kill()
        with lossless.publisher() as successor:
            assert successor.publish(sealed(0)) == 0
        got, deaths, _ = receive(ours)
        assert got == [(0, 0)]
        assert deaths <= 1


def test_nothing_of_a_claim_is_seen_whose_publisher_was_killed_and_its_number_is_used_again(
    lossless: ipc.Multicast[Any],
) -> None:
    def claim(multicast: ipc.Multicast[Any], told: Any) -> None:
        publisher = multicast.publisher()
        publisher.publish(b"before")
        with publisher.claim(nbytes=3000) as memory:
            memory[:] = b"\xff" * 3000
            told.send("claimed")
            told.recv()

    with lossless.subscribe() as subscriber:
        with forked_with_pipe(claim, lossless) as (publisher, _):
            publisher.kill()
        assert subscriber.recv(timeout=LONG) == b"before"
        with pytest.raises(ipc.PeerDiedError):
            subscriber.recv()
        with lossless.publisher() as successor:
            assert successor.publish(b"after") == 1
            assert subscriber.recv_envelope(timeout=LONG)[:3] == (b"after", 1, 0)


def test_a_publisher_killed_while_it_waits_for_room_leaves_the_ring_to_its_successor(
    lossless: ipc.Multicast[Any],
) -> None:
    with lossless.subscribe() as subscriber:
        with forked_with_pipe(roles.publish_in, lossless, "publish") as (child, _):
            until(lambda: is_waiting(child.pid), "it waits for room")
            child.kill()
        sent = lossless.stats().sent
        with lossless.publisher() as successor:
            assert not successor.try_publish(bytes(500))
            assert subscriber.recv(timeout=LONG) == bytes(500)
            assert successor.publish(b"mine", timeout=LONG) == sent
        assert list(subscriber) == [bytes(500)] * (sent - 1) + [b"mine"]


# --- death of a subscriber ----------------------------------------------------------------------------------------

DYING: dict[str, list[Any]] = {
    "has read nothing": [],
    "has read something": [lambda subscriber: subscriber.recv(timeout=LONG)],
    "views a message": [lambda subscriber: subscriber.view(timeout=LONG).__enter__()],
}


@pytest.mark.parametrize("call", [*roles.PUBLISHING, *roles.PUBLISHING_BY_POLLS])
@pytest.mark.parametrize("dying", DYING)
def test_a_dead_subscriber_blocks_no_publisher_and_the_living_lose_nothing(
    lossless: ipc.Multicast[Any], dying: str, call: str
) -> None:
    calls = {**roles.PUBLISHING, **roles.PUBLISHING_BY_POLLS}
    with lossless.publisher() as publisher, lossless.subscribe() as living:
        with forked_with_pipe(roles.subscribe_then_wait, lossless, *DYING[dying]) as (child, ours):
            publisher.publish(bytes(500))
            assert receive(ours) == "here"
            assert living.recv(timeout=LONG) == bytes(500)
            while publisher.try_publish(bytes(500)):
                assert living.recv(timeout=LONG) == bytes(500)
            child.kill()
        died = time.monotonic()
        calls[call](publisher)
        assert time.monotonic() - died <= DEATH_NOTICED_SECONDS
        living.recv(timeout=LONG)
        assert [one.pid for one in lossless.stats().subscribers if one.alive] == [os.getpid()]
        assert lossless.stats().evicted == 0  # the count is of the living


@pytest.mark.parametrize("call", roles.PUBLISHING)
def test_a_publisher_that_sleeps_is_freed_in_time_by_the_death_of_the_one_it_waits_for(
    lossless: ipc.Multicast[Any], call: str
) -> None:
    with (
        forked_with_pipe(roles.subscribe_then_wait, lossless) as (laggard, _),
        forked_with_pipe(roles.publish_in, lossless, call) as (publisher, ours),
    ):
        until(lambda: is_waiting(publisher.pid), "it waits for room")
        laggard.kill()
        died = time.monotonic()
        outcome, moment = receive(ours)
        assert outcome == "returned"
        assert moment - died <= DEATH_NOTICED_SECONDS
        ours.send("enough")
        assert publisher.join() == 0


@pytest.mark.parametrize("on_laggard", ["wait", "evict"])
def test_many_that_die_at_once_cost_no_more_than_one(on_laggard: Any) -> None:
    with (
        ipc.Multicast[Any](capacity=PAGE, on_laggard=on_laggard, max_lag=4) as multicast,
        multicast.publisher() as publisher,
        ExitStack() as stack,
    ):
        children = [stack.enter_context(forked_with_pipe(roles.subscribe_then_wait, multicast))[0] for _ in range(12)]
        assert len(multicast.stats().subscribers) == 12
        for child in children:
            child.kill()
        died = time.monotonic()
        for _ in range(100):
            publisher.publish(b"x")
        assert time.monotonic() - died <= DEATH_NOTICED_SECONDS
        assert not any(one.alive for one in multicast.stats().subscribers)


def test_the_numbers_of_dead_subscribers_are_used_again(lossless: ipc.Multicast[Any]) -> None:
    def subscribe_all(multicast: ipc.Multicast[Any], told: Any) -> None:
        kept = [multicast.subscribe() for _ in range(1024)]
        told.send(len(kept))
        told.recv()

    with lossless.publisher() as publisher:
        with forked_with_pipe(subscribe_all, lossless) as (child, _):
            with pytest.raises(ipc.TooManyParticipantsError):
                lossless.subscribe()
            roles.fill(publisher)
            child.kill()
        subscribers = [lossless.subscribe() for _ in range(50)]
        assert publisher.publish(b"to all", timeout=LONG) > 0
        assert {subscriber.recv(timeout=LONG) for subscriber in subscribers} == {b"to all"}


def test_subscribers_killed_at_any_moment_cost_those_that_stay_nothing(lossless: ipc.Multicast[Any]) -> None:
    with ExitStack() as stack:
        _, stays = stack.enter_context(forked_with_pipe(roles.follow, lossless))
        publisher = stack.enter_context(lossless.publisher())
        number = 0
        for turn in range(20):
            with forked_with_pipe(roles.follow, lossless, start="oldest" if turn % 2 else "latest") as (victim, _):
                for _ in range(17 * turn % 100 + 1):
                    publisher.publish(sealed(number), timeout=LONG)
                    number += 1
                victim.kill()
        for _ in range(200):
            publisher.publish(sealed(number), timeout=LONG)
            number += 1
        publisher.close()
        assert receive(stays)[0] == [(sequence, 0) for sequence in range(number)]


def test_the_death_of_an_observer_costs_nobody_anything(lossless: ipc.Multicast[Any]) -> None:
    with (
        lossless.publisher() as publisher,
        lossless.subscribe() as subscriber,
        forked_with_pipe(roles.follow, lossless, observe=True) as (observer, _),
        forked_with_pipe(roles.follow, lossless, observe=True) as (stopped, _),
    ):
        stop(stopped.pid)
        for number in range(500):
            publisher.publish(sealed(number), timeout=0)  # never waits: who takes part has read all
            assert number_of(subscriber.recv(timeout=LONG)) == number
            if number == 250:
                observer.kill()
        assert [one.pid for one in lossless.stats().subscribers] == [os.getpid()]
        stopped.kill()


# --- what is no death ---------------------------------------------------------------------------------------------


def test_a_stopped_subscriber_is_waited_for_and_named_and_loses_nothing(lossless: ipc.Multicast[Any]) -> None:
    with (
        lossless.subscribe() as quick,
        lossless.publisher() as publisher,
        forked_with_pipe(roles.follow, lossless) as (child, ours),
    ):
        until(lambda: is_waiting(child.pid), "it waits for the first message")
        stop(child.pid)
        count = 0
        while publisher.try_publish(sealed(count)):
            count += 1
        assert len(quick.recv_many(timeout=LONG)) == count
        begun = time.monotonic()
        with pytest.raises(ipc.TimeoutError) as late:
            publisher.publish(sealed(count), timeout=3)
        assert time.monotonic() - begun >= 3
        said = re.search(
            rf"within 3 s: subscriber 1 of process {child.pid} is (\d+) messages behind, and has not moved for "
            r"([\d.]+) s$",
            str(late.value),
        )
        assert said is not None, str(late.value)
        assert int(said[1]) == count
        assert float(said[2]) >= 2.9  # three digits of it
        (laggard,) = (one for one in lossless.stats().subscribers if one.pid == child.pid)
        assert (laggard.alive, laggard.state, laggard.behind) == (True, "active", count)
        os.kill(child.pid, signal.SIGCONT)
        assert publisher.publish(sealed(count), timeout=LONG) == count
        publisher.close()
        assert receive(ours)[0] == [(sequence, 0) for sequence in range(count + 1)]
        assert child.join() == 0


def test_a_timeout_names_all_who_are_in_the_way(lossless: ipc.Multicast[Any]) -> None:
    with lossless.publisher() as publisher, ExitStack() as stack:
        children = [stack.enter_context(forked_with_pipe(roles.subscribe_then_wait, lossless))[0] for _ in range(3)]
        roles.fill(publisher)
        with pytest.raises(ipc.TimeoutError) as late:
            publisher.publish(bytes(500), timeout=0.3)
        for child in children:
            assert f"of process {child.pid} is" in str(late.value)


@pytest.mark.parametrize("call", ["recv", "recv_many", "recv_envelope", "iteration", "try_recv"])
def test_a_stopped_laggard_is_evicted_where_that_was_asked_for_is_told_so_and_may_subscribe_again(call: str) -> None:
    def lag(multicast: ipc.Multicast[Any], told: Any) -> None:
        calls = {**roles.CALLS, **roles.POLLING}
        subscriber = multicast.subscribe()
        told.send("subscribed")
        with pytest.raises(ipc.LaggedOutError, match="too far behind"):
            calls[call](subscriber)
        told.send("lagged out")
        with pytest.raises(ipc.LaggedOutError):  # for good
            subscriber.recv()
        subscriber.close()
        with multicast.subscribe() as again:
            told.send([number_of(message) for message in again])

    with (
        ipc.Multicast[Any](capacity="64KiB", on_laggard="evict", max_lag=10) as multicast,
        multicast.publisher() as publisher,
        forked_with_pipe(lag, multicast) as (child, ours),
    ):
        until(lambda: state_of(child.pid) == "S", "it waits")
        stop(child.pid)
        for number in range(1000):
            publisher.publish(sealed(number), timeout=0)  # waits for nobody
        assert multicast.stats().evicted == 1
        os.kill(child.pid, signal.SIGCONT)
        assert receive(ours) == "lagged out"
        until(lambda: any(one.state == "active" for one in multicast.stats().subscribers), "it has come back")
        publisher.publish(sealed(1000))
        publisher.close()
        assert receive(ours) == [1000]
        assert child.join() == 0


def test_who_keeps_up_is_not_evicted_with_the_laggard() -> None:
    with (
        ipc.Multicast[Any](capacity=PAGE, on_laggard="evict", max_lag=10) as multicast,
        multicast.publisher() as publisher,
        multicast.subscribe() as quick,
        forked_with_pipe(roles.subscribe_then_wait, multicast) as (child, _),
    ):
        stop(child.pid)
        for number in range(1000):
            publisher.publish(sealed(number), timeout=0)
            assert number_of(quick.recv(timeout=LONG)) == number
        states = {one.pid: one.state for one in multicast.stats().subscribers}
        assert states == {os.getpid(): "active", child.pid: "evicted"}
        child.kill()


@stopped_for
@pytest.mark.parametrize("observe", [False, True], ids=["subscriber", "observer"])
def test_a_stopped_publisher_is_not_dead_and_nobody_takes_its_place(
    lossless: ipc.Multicast[Any], seconds: float, observe: bool
) -> None:
    with lossless.subscribe(observe=observe) as subscriber:
        with forked_with_pipe(roles.publish_then_wait, lossless, 3) as (publisher, ours):
            stop(publisher.pid)
            assert [subscriber.recv(timeout=LONG) for _ in range(3)] == [0, 1, 2]
            with pytest.raises(ipc.TimeoutError):
                subscriber.recv(timeout=seconds)
            assert subscriber.try_recv("none") == "none"
            with pytest.raises(ipc.BusyError, match=f"in process {publisher.pid}"):
                lossless.publisher()
            assert lossless.stats().participants[0].alive
            os.kill(publisher.pid, signal.SIGCONT)
            ours.send("close")
            assert publisher.join() == 0
        with pytest.raises(ipc.EndOfChannel):
            subscriber.recv(timeout=LONG)


@stopped_for
def test_who_is_stopped_in_a_view_keeps_it(lossless: ipc.Multicast[Any], seconds: float) -> None:
    def view(multicast: ipc.Multicast[Any], told: Any) -> None:
        with multicast.subscribe() as subscriber:
            told.send("subscribed")
            with subscriber.view(timeout=LONG) as memory:
                told.send("viewing")
                told.recv()
                assert number_of(bytes(memory)) == 0

    with lossless.publisher() as publisher, forked_with_pipe(view, lossless) as (child, ours):
        publisher.publish(sealed(0))
        assert receive(ours) == "viewing"
        stop(child.pid)
        number = 1
        while publisher.try_publish(sealed(number)):
            number += 1
        with pytest.raises(ipc.TimeoutError, match=f"process {child.pid}"):
            publisher.publish(sealed(number), timeout=seconds)
        os.kill(child.pid, signal.SIGCONT)
        ours.send("look")
        assert child.join() == 0
        publisher.publish(sealed(number), timeout=LONG)


@pytest.mark.parametrize("policy", ["lossless", "lossy"])
def test_a_stream_whose_processes_are_stopped_again_and_again_loses_nothing_untold(policy: Any, board: Board) -> None:
    with (
        ipc.Multicast[Any](policy=policy, capacity=PAGE) as multicast,
        forked_with_pipe(roles.follow, multicast) as (follower, ours),
        forked_with_pipe(roles.follow, multicast) as (_, others),
    ):
        with Forked(lambda: roles.publish_until_killed(multicast, board)) as publisher:
            for turn in range(6):
                victim = (publisher, follower)[turn % 2]
                begin = board[0]
                until(lambda: board[0] >= begin + 50, "it publishes")  # noqa: B023
                stop(victim.pid)
                assert not ours.poll(0.3)  # several slices
                os.kill(victim.pid, signal.SIGCONT)
            publisher.kill()
        sent = multicast.stats().sent
        with multicast.publisher() as last:
            last.publish(sealed(sent))
        for connection in (ours, others):
            got, deaths, lost = receive(connection)
            assert len(got) + lost == sent + 1
            assert deaths <= 2
            assert policy == "lossy" or got == [(sequence, 0) for sequence in range(sent + 1)]


# --- what the dead leave behind -----------------------------------------------------------------------------------

ALL = """
import sys, ipc
name = sys.argv[1]
multicast = ipc.Multicast.open(name)
publisher, subscriber, observer = multicast.publisher(), multicast.subscribe(), multicast.subscribe(observe=True)
publisher.publish_many(["a", "b", "c"])
assert subscriber.recv() == "a"
print("there", flush=True)
sys.stdin.readline()
"""


def test_when_all_were_killed_the_messages_stay_for_who_attaches_and_the_numbers_go_on(name: str) -> None:
    with Python(ALL, name) as other:
        assert other.hear() == "there"
        other.kill()
    assert not ipc.stats(name).attached
    with ipc.Multicast.attach(name) as multicast, multicast.subscribe("oldest") as subscriber:
        assert subscriber.recv_many(timeout=LONG) == ["a", "b", "c"]
        with pytest.raises(ipc.PeerDiedError, match=f"process {other.pid}"):
            subscriber.recv(timeout=LONG)
        with multicast.publisher() as publisher:
            assert publisher.publish("d") == 3
        assert list(subscriber) == ["d"]
    assert not any(entry.name == name for entry in ipc.ls())


def test_what_nobody_is_attached_to_is_replaced_or_collected(ipc_dir: Path) -> None:
    for end in ("replaced", "collected"):
        with Python(ALL, "frames") as other:
            assert other.hear() == "there"
            with pytest.raises(ipc.SegmentExistsError):
                ipc.Multicast("frames")
            assert ipc.gc() == []
            other.kill()
        if end == "replaced":
            with ipc.Multicast[Any]("frames") as multicast, multicast.publisher() as publisher:
                assert publisher.publish("new") == 0
        else:
            assert ipc.gc() == ["frames"]
        assert list(ipc_dir.iterdir()) == []


@pytest.mark.parametrize("method", METHODS)
def test_a_worker_that_fails_leaves_its_publisher_as_a_crash_would(method: Any) -> None:
    with ipc.Multicast[Any]() as multicast, multicast.subscribe() as subscriber:
        worker = ipc.spawn(roles.publish_and_fail, multicast, context=method)
        assert subscriber.recv(timeout=LONG) == b"before"
        with pytest.raises(ipc.PeerDiedError):
            subscriber.recv(timeout=LONG)
        worker.join(LONG)
        assert isinstance(worker.exception, ZeroDivisionError)
        with multicast.publisher() as publisher:
            assert publisher.publish(b"after") == 1
        assert subscriber.recv(timeout=LONG) == b"after"

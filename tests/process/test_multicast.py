"""Multicasts between processes: as arguments under every start method, by name from strangers, and what arrives."""

from __future__ import annotations

import subprocess
import sys
from contextlib import ExitStack
from functools import partial
from typing import Any

import numpy as np
import pytest

import ipc
from tests.process import multicast_roles as roles
from tests.process.multicast_roles import LONG, child_of, number_of, sealed
from tests.process.support import METHODS, Forked, Python, context, pipe, receive, running

PAGE = 4096

method = pytest.mark.parametrize("method", METHODS)


def ended(process: Any) -> bool:
    process.join(LONG)
    return bool(process.exitcode == 0)


# --- what arrives -------------------------------------------------------------------------------------------------


@method
def test_every_subscriber_gets_every_message_once_and_in_order_however_it_takes_them(method: str) -> None:
    rounds = 100
    with ipc.Multicast[Any](capacity=PAGE) as multicast, ExitStack() as stack:
        connections = []
        for how in ("iteration", "recv_many", "view", "recv_envelope"):
            ours, told = stack.enter_context(pipe())
            stack.enter_context(child_of(method, roles.report_all, multicast, told, how))
            connections.append(ours)
        pids = [receive(ours) for ours in connections]
        assert {one.pid for one in multicast.stats().subscribers} == set(pids)
        publisher = stack.enter_context(child_of(method, roles.publish_from_every_call, multicast, rounds))
        for ours in connections:
            assert receive(ours) == list(range(rounds * 5))
        assert ended(publisher)
        assert multicast.stats().sent == rounds * 5


@pytest.mark.parametrize("how", ["recv", "try_recv"])
def test_the_parent_may_publish_and_subscribe_itself(how: str) -> None:
    count = 300
    with (
        ipc.Multicast[Any](capacity=PAGE) as multicast,
        multicast.subscribe() as subscriber,
        pipe() as (ours, told),
        child_of("fork", roles.report_all, multicast, told, how),
    ):
        receive(ours)
        with multicast.publisher() as publisher:
            for number in range(count):
                publisher.publish(sealed(number))
                assert number_of(subscriber.recv(timeout=LONG)) == number
        assert receive(ours) == list(range(count))


MESSAGES: list[Any] = [b"", b"bytes", "text", None, {"a": [1, 2.5]}, bytes(100_000), "x" * 100_000]


@method
@pytest.mark.parametrize("policy", ["lossless", "lossy"])
def test_messages_go_there_and_back_as_they_were(method: str, policy: Any) -> None:
    with (
        ipc.Multicast[Any](policy=policy) as there,
        ipc.Multicast[Any](policy=policy) as back,
        pipe() as (ours, told),
        child_of(method, roles.echo, there, back, told) as child,
        back.subscribe() as subscriber,
        there.publisher() as publisher,
    ):
        receive(ours)
        for message in MESSAGES:
            publisher.publish(message)
            assert subscriber.recv(timeout=LONG) == message
        array = np.asfortranarray(np.arange(6000, dtype="f4").reshape(60, 100))
        publisher.publish(array)
        found: Any = subscriber.recv(timeout=LONG)
        assert found.dtype == array.dtype
        assert np.array_equal(found, array)
        publisher.publish({"frame": array, "number": 7})
        found = subscriber.recv(timeout=LONG)
        assert np.array_equal(found["frame"], array)
        publisher.publish(roles.END)
        assert ended(child)


@method
def test_frames_that_were_claimed_are_viewed_in_other_processes(method: str) -> None:
    count = 50
    with ipc.Multicast[Any](capacity="64KiB") as multicast, ExitStack() as stack:
        connections = []
        for _ in range(2):
            ours, told = stack.enter_context(pipe())
            stack.enter_context(child_of(method, sum_of_frames, multicast, told, count))
            connections.append(ours)
        for ours in connections:
            receive(ours)
        with multicast.publisher() as publisher:
            for number in range(count):
                with publisher.claim((60, 80), "u2", topic="frames") as frame:
                    frame[...] = number
                publisher.publish(b"noise", topic="sound")
        for ours in connections:
            assert receive(ours) == [4800 * number for number in range(count)]


def sum_of_frames(multicast: Any, told: Any, count: int) -> None:
    with multicast.subscribe(topics="frames") as subscriber:
        told.send("ready")
        sums = []
        for _ in range(count):
            with subscriber.view(timeout=LONG) as frame:
                sums.append(int(frame.sum(dtype="u8")))
        told.send(sums)


def test_subscribers_that_come_and_go_get_runs_without_a_gap_and_cost_the_others_nothing() -> None:
    count = 3000
    with ipc.Multicast[Any](capacity=PAGE) as multicast, ExitStack() as stack:
        stays, told = stack.enter_context(pipe())
        stack.enter_context(child_of("fork", roles.report_all, multicast, told))
        receive(stays)
        guests = []
        for _ in range(2):
            ours, told = stack.enter_context(pipe())
            stack.enter_context(child_of("fork", roles.come_and_go, multicast, told, 20, 25))
            receive(ours)
            guests.append(ours)
        with multicast.publisher() as publisher:
            for number in range(count):
                publisher.publish(sealed(number))
        assert receive(stays) == list(range(count))
        for ours in guests:
            runs = receive(ours)
            assert runs
            for run in runs:
                assert run == list(range(run[0], run[0] + 25))


@pytest.mark.parametrize("on_lap", ["oldest", "latest"])
@pytest.mark.parametrize("observe", [False, True], ids=["lossy", "observer"])
def test_what_is_lost_between_processes_is_counted_exactly_and_nothing_is_torn(on_lap: str, observe: bool) -> None:
    count = 20_000
    policy: Any = "lossless" if observe else "lossy"
    with ipc.Multicast[Any](policy=policy, capacity=PAGE) as multicast, ExitStack() as stack:
        connections = []
        for _ in range(2):
            ours, told = stack.enter_context(pipe())
            stack.enter_context(child_of("fork", roles.report_gaps, multicast, told, on_lap, observe))
            receive(ours)
            connections.append(ours)
        with multicast.publisher() as publisher:
            for number in range(count):
                publisher.publish(sealed(number))
                if number == 200:  # more than are kept
                    for ours in connections:
                        ours.send("go")
        for ours in connections:
            got, lost = receive(ours)
            expected = 0
            for sequence, before in got:
                assert sequence == expected + before
                expected = sequence + 1
            assert expected == count
            assert len(got) + lost == count
            assert got[0][1] > 0


# --- where handles go ---------------------------------------------------------------------------------------------


@method
def test_a_multicast_that_was_used_before_goes_to_a_child_with_what_it_keeps(method: str) -> None:
    with (
        ipc.Multicast[Any]() as multicast,
        multicast.subscribe() as subscriber,
        pipe() as (ours, told),
    ):
        publisher = multicast.publisher()
        publisher.publish_many(map(sealed, range(10)))
        assert len(subscriber.recv_many(4, timeout=LONG)) == 4
        with child_of(method, roles.report_all, multicast, told, "recv", "oldest") as child:
            receive(ours)
            publisher.publish(sealed(10))
            publisher.close()
            assert receive(ours) == list(range(11))
            assert ended(child)
        assert [number_of(message) for message in subscriber] == list(range(4, 11))


@method
def test_a_child_may_start_grandchildren_with_the_same_multicast(method: str) -> None:
    with (
        ipc.Multicast[Any]() as multicast,
        multicast.subscribe() as subscriber,
        pipe() as (ours, told),
        child_of(method, roles.hand_on, method, multicast, told, 2) as child,
    ):
        assert [number_of(subscriber.recv(timeout=LONG)) for _ in range(5)] == list(range(5))
        assert [receive(ours) for _ in range(3)] == [list(range(5))] * 3
        assert ended(child)


@method
def test_what_a_child_published_is_there_after_its_end_and_its_end_is_a_clean_one(method: str) -> None:
    with (
        ipc.Multicast[Any]() as multicast,
        multicast.subscribe() as subscriber,
        child_of(method, roles.publish_numbers, multicast, 100) as child,
    ):
        assert ended(child)
        assert [number_of(message) for message in subscriber] == list(range(100))


@method
def test_a_subscriber_whose_process_returns_has_left(method: str) -> None:
    with (
        ipc.Multicast[Any](capacity=PAGE) as multicast,
        multicast.publisher() as publisher,
        pipe() as (ours, told),
        child_of(method, subscribe_and_return, multicast, told) as child,
    ):
        assert receive(ours) == "subscribed"
        assert ended(child)
        assert multicast.stats().subscribers == ()
        for _ in range(100):
            publisher.publish(bytes(100), timeout=0)


def subscribe_and_return(multicast: Any, told: Any) -> None:
    subscribe_and_return.kept = multicast.subscribe()  # type: ignore[attr-defined]  # nothing collects it
    told.send("subscribed")


@method
def test_a_worker_takes_multicasts_in_containers_and_by_keyword(method: str, name: str) -> None:
    with (
        ipc.Multicast[Any](name=name) as there,
        ipc.Multicast[Any](name=f"{name}-back", policy="lossy") as back,
        back.subscribe() as subscriber,
        there.publisher() as publisher,
        pipe() as (ours, told),
    ):
        publisher.publish([1, 2])
        handles = {"in": [there], "out": back}
        with running(ipc.spawn(roles.from_containers, handles, told=told, context=context(method))) as worker:
            assert subscriber.recv(timeout=LONG) == [1, 2]
            assert receive(ours) == f"{name}-back"
            worker.join()
            assert (worker.exitcode, worker.exception) == (0, None)


@method
def test_the_name_of_a_multicast_goes_through_a_channel(method: str, name: str) -> None:
    tx, inbox = ipc.channel()
    outbox, rx = ipc.channel()
    with tx, rx, ipc.Multicast[Any](name) as multicast, multicast.publisher() as publisher:
        publisher.publish_many(["a", "b", "c"])
        with running(ipc.spawn(roles.open_what_comes, inbox, outbox, context=context(method))) as worker:
            tx.send(multicast.name)
            assert [rx.recv(timeout=LONG) for _ in range(3)] == ["a", "b", "c"]
            publisher.publish("d")
            publisher.close()
            assert list(rx) == ["d"]
            worker.join()
            assert worker.exitcode == 0


# --- where they don't ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["channel", "queue", "pipe"])
def test_a_multicast_is_handed_over_at_process_start_only(how: str) -> None:
    tx, rx = ipc.channel()
    with tx, rx, ipc.Queue[Any](3) as q, pipe() as (ours, _), ipc.Multicast[Any]() as multicast:
        send: Any = {"channel": tx.send, "queue": q.put, "pipe": ours.send}[how]
        with pytest.raises(ipc.HandOverError, match="only be pickled as an argument of a process"):
            send(multicast)
        with multicast.publisher() as publisher, multicast.subscribe() as subscriber:
            for end in (publisher, subscriber):
                with pytest.raises(ipc.HandOverError, match="hand over the Multicast"):
                    send(end)
            with pytest.raises(ipc.HandOverError):
                publisher.publish(multicast)
            publisher.publish("fine")
            assert subscriber.recv(timeout=LONG) == "fine"


@pytest.mark.parametrize("how", ["Process", "spawn"])
@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_publishers_and_subscribers_are_refused_as_arguments(method: str, how: str) -> None:
    with ipc.Multicast[Any]() as multicast, multicast.publisher() as publisher, multicast.subscribe() as subscriber:
        spawn = partial(ipc.spawn, context=context(method))
        start: Any = partial(roles.start, method) if how == "Process" else spawn
        for end in (publisher, subscriber):
            with pytest.raises(ipc.HandOverError, match="hand over the Multicast"):
                start(roles.is_end, end)
        publisher.publish("fine")
        assert subscriber.recv(timeout=LONG) == "fine"


@pytest.mark.parametrize("how", ["Process", "spawn", "os.fork"])
def test_a_forked_child_is_refused_every_use_of_its_parent_s_ends_and_harms_none(how: str) -> None:
    with (
        ipc.Multicast[Any]() as multicast,
        multicast.publisher() as publisher,
        multicast.subscribe() as subscriber,
        multicast.subscribe(observe=True) as observer,
        pipe() as (ours, told),
    ):
        publisher.publish("before")
        if how == "Process":
            with child_of("fork", roles.try_the_ends, told, publisher, subscriber, observer) as child:
                assert ended(child)
        elif how == "spawn":
            fork = context("fork")
            with running(ipc.spawn(roles.try_the_ends, told, publisher, subscriber, observer, context=fork)) as worker:
                assert ended(worker)
        else:
            with Forked(lambda: roles.try_the_ends(told, publisher, subscriber, observer)) as forked:
                assert forked.join() == 0
        assert set(receive(ours).values()) == {"ForkedHandleError"}
        publisher.publish("after")
        for end in (subscriber, observer):
            assert [end.recv(timeout=LONG), end.recv(timeout=LONG)] == ["before", "after"]
        stats = multicast.stats()
        assert (stats.participants[0].alive, len(stats.subscribers)) == (True, 1)


def test_a_closed_multicast_is_not_handed_over() -> None:
    multicast = ipc.Multicast[Any]()
    multicast.close()
    with pytest.raises(ipc.ClosedError):
        roles.start("spawn", roles.publish_numbers, multicast, 1)


# --- strangers ----------------------------------------------------------------------------------------------------

SUBSCRIBE = """
import sys, ipc
with ipc.Multicast.attach(sys.argv[1]) as multicast, multicast.subscribe(sys.argv[2]) as subscriber:
    print("attached", flush=True)
    for message in subscriber:
        print(message, flush=True)
"""

PUBLISH = """
import sys, ipc
multicast = ipc.Multicast.open(sys.argv[1], capacity=4096)
publisher = multicast.publisher()
for line in sys.stdin:
    print(publisher.publish(line.strip()), flush=True)
"""


def test_strangers_subscribe_by_name(name: str) -> None:
    with (
        ipc.Multicast[Any](name) as multicast,
        multicast.publisher() as publisher,
        Python(SUBSCRIBE, name, "latest") as first,
    ):
        assert first.hear() == "attached"
        publisher.publish("one")
        with Python(SUBSCRIBE, name, "oldest") as second:
            assert second.hear() == "attached"
            publisher.publish("two")
            assert {one.pid for one in multicast.stats().subscribers} == {first.pid, second.pid}
            publisher.close()
            for stranger in (first, second):
                assert [stranger.hear(), stranger.hear()] == ["one", "two"]
                assert stranger.end() == 0
    assert not any(entry.name == name for entry in ipc.ls())


def test_a_stranger_publishes_by_name_and_another_takes_over_from_it(name: str) -> None:
    with Python(PUBLISH, name) as first:
        first.say("a")
        assert first.hear() == "0"
        with ipc.Multicast.attach(name) as multicast, multicast.subscribe("oldest") as subscriber:
            assert subscriber.recv(timeout=LONG) == "a"
            with pytest.raises(ipc.BusyError, match=f"process {first.pid}"):
                multicast.publisher()
            assert first.end() == 0
            with pytest.raises(ipc.EndOfChannel):
                subscriber.recv(timeout=LONG)
            with Python(PUBLISH, name) as second:
                second.say("b")
                assert second.hear() == "1"
                assert subscriber.recv(timeout=LONG) == "b"
                assert second.end() == 0
    assert not any(entry.name == name for entry in ipc.ls())


def test_strangers_that_open_a_name_at_once_all_meet_in_one_multicast(name: str) -> None:
    code = """
import sys, ipc
with ipc.Multicast.open(sys.argv[1]) as multicast, multicast.subscribe() as subscriber:
    print("open", flush=True)
    print(subscriber.recv(timeout=30), flush=True)
"""
    with ExitStack() as stack:
        strangers = [stack.enter_context(Python(code, name)) for _ in range(4)]
        assert [stranger.hear() for stranger in strangers] == ["open"] * 4
        with ipc.Multicast.attach(name) as multicast, multicast.publisher() as publisher:
            publisher.publish("hello")
            assert [stranger.hear() for stranger in strangers] == ["hello"] * 4
            assert [stranger.end() for stranger in strangers] == [0] * 4


def test_what_a_stranger_published_before_it_ended_is_there_for_who_starts_with_the_oldest(name: str) -> None:
    code = "import sys, ipc\nipc.Multicast.open(sys.argv[1]).publisher().publish_many(range(10))\n"
    with ipc.Multicast[Any](name) as multicast:
        subprocess.run([sys.executable, "-c", code, name], check=True)
        with multicast.subscribe("oldest") as subscriber:
            assert list(subscriber) == list(range(10))

"""Signals, forks, ends of processes and closes from other threads, while multicasts are in use: each call that waits is
ended at once by what should end it, nothing is lost by it, and the same call made again does what it should."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import ipc
from tests.process import multicast_roles as roles
from tests.process.multicast_roles import LONG, forked_with_pipe, number_of, sealed
from tests.process.roles import deliver_signals_to_another_thread
from tests.process.support import (
    CTRL_C_SECONDS,
    DEATH_NOTICED_SECONDS,
    METHODS,
    Forked,
    Python,
    is_gone,
    is_waiting,
    pipe,
    receive,
    state_of,
    until,
)

PAGE = 4096


@pytest.fixture
def lossless() -> Iterator[ipc.Multicast[Any]]:
    with ipc.Multicast[Any](capacity=PAGE) as multicast:
        yield multicast


# --- Ctrl-C -------------------------------------------------------------------------------------------------------

OTHERWISE: dict[str, Any] = {"main thread": None, "another thread": deliver_signals_to_another_thread}
receives = pytest.mark.parametrize("receives", OTHERWISE)


def interrupt(pid: int, ours: Any) -> None:
    """Ctrl-C, and in time the call is over."""
    pressed = time.monotonic()
    os.kill(pid, signal.SIGINT)
    outcome, moment = receive(ours)
    assert outcome == "KeyboardInterrupt"
    assert moment - pressed < CTRL_C_SECONDS


@receives
@pytest.mark.parametrize("call", roles.PUBLISHING)
def test_ctrl_c_ends_a_call_that_waits_for_room_nothing_is_published_by_it_and_it_works_again(
    lossless: ipc.Multicast[Any], call: str, receives: str
) -> None:
    with (
        lossless.subscribe() as subscriber,
        forked_with_pipe(roles.publish_in, lossless, call, OTHERWISE[receives]) as (child, ours),
    ):
        sent = lossless.stats().sent
        for _ in range(2):
            until(lambda: is_waiting(child.pid), f"{call} waits")
            interrupt(child.pid, ours)
            assert lossless.stats().sent == sent
            ours.send("again")
        until(lambda: is_waiting(child.pid), f"{call} waits again")
        assert len([subscriber.recv(timeout=LONG) for _ in range(sent)]) == sent
        assert receive(ours)[0] == "returned"
        ours.send("enough")
        assert child.join() == 0
        assert len(list(subscriber)) == (3 if call == "publish_many" else 1)


KINDS: dict[str, dict[str, Any]] = {"lossless": {}, "lossy": {"policy": "lossy"}, "observer": {}}


@receives
@pytest.mark.parametrize("call", roles.CALLS)
@pytest.mark.parametrize("kind", KINDS)
def test_ctrl_c_ends_a_call_that_waits_for_a_message_and_loses_none(kind: str, call: str, receives: str) -> None:
    if call == "view" and kind != "lossless":
        kind = "lossless"  # messages that may be overwritten are not lent
    with (
        ipc.Multicast[Any](**KINDS[kind]) as multicast,
        multicast.publisher() as publisher,
        forked_with_pipe(
            roles.receive_in, multicast, call, OTHERWISE[receives], observe=kind == "observer"
        ) as (child, ours),
    ):  # fmt: skip
        for _ in range(2):
            until(lambda: state_of(child.pid) == "S", f"{call} waits")
            interrupt(child.pid, ours)
            ours.send("again")
        publisher.publish(b"message")
        assert receive(ours)[0] == "returned"
        ours.send("enough")
        assert child.join() == 0


def test_a_stream_that_is_interrupted_again_and_again_arrives_once_and_in_order(lossless: ipc.Multicast[Any]) -> None:
    def take(multicast: ipc.Multicast[Any], told: Any) -> None:
        interrupts, numbers = 0, []
        with multicast.subscribe() as subscriber:
            told.send("ready")
            while True:
                try:
                    numbers.append(number_of(subscriber.recv()))
                except KeyboardInterrupt:
                    interrupts += 1
                except ipc.EndOfChannel:
                    break
            told.send((numbers, interrupts))

    def has_read_all(pid: int) -> bool:
        return all(one.behind == 0 for one in lossless.stats().subscribers) and is_waiting(pid)

    with lossless.publisher() as publisher, forked_with_pipe(take, lossless) as (child, ours):
        for number in range(500):
            if number % 10 == 0:
                until(lambda: has_read_all(child.pid), "it waits")
                os.kill(child.pid, signal.SIGINT)
            publisher.publish(sealed(number), timeout=LONG)
        publisher.close()
        assert receive(ours) == (list(range(500)), 50)
        assert child.join() == 0


# --- other signals ------------------------------------------------------------------------------------------------

STORM_SECONDS = 0.001
TIMED: dict[str, Callable[[Any, float], object]] = {
    "publish": lambda end, timeout: end.publish(bytes(500), timeout=timeout),
    "publish_many": lambda end, timeout: end.publish_many([bytes(500)], timeout=timeout),
    "claim": lambda end, timeout: end.claim(nbytes=500, timeout=timeout).__enter__(),
    "recv": lambda end, timeout: end.recv(timeout=timeout),
    "recv_many": lambda end, timeout: end.recv_many(timeout=timeout),
    "recv_envelope": lambda end, timeout: end.recv_envelope(timeout=timeout),
    "view": lambda end, timeout: end.view(timeout=timeout).__enter__(),
    "observer": lambda end, timeout: end.recv(timeout=timeout),
}


@pytest.mark.parametrize("call", TIMED)
def test_no_timeout_is_early_in_a_storm_of_signals(lossless: ipc.Multicast[Any], call: str) -> None:
    def time_it(multicast: ipc.Multicast[Any], told: Any) -> None:
        signals = 0

        def count(*_: object) -> None:
            nonlocal signals
            signals += 1

        with (
            multicast.publisher() as publisher,
            multicast.subscribe() as subscriber,
            multicast.subscribe(observe=True) as observer,
        ):
            end: Any = {"recv": subscriber, "observer": observer}.get(call, subscriber)
            if call in roles.PUBLISHING:
                roles.fill(publisher)
                end = publisher
            told.send("ready")
            signal.signal(signal.SIGALRM, count)
            signal.setitimer(signal.ITIMER_REAL, STORM_SECONDS, STORM_SECONDS)
            for timeout in (0.0, 0.01, 0.1, 0.4):
                begun = time.monotonic()
                with pytest.raises(ipc.TimeoutError):
                    TIMED[call](end, timeout)
                assert time.monotonic() - begun >= timeout
            signal.setitimer(signal.ITIMER_REAL, 0)
        told.send(signals)

    with forked_with_pipe(time_it, lossless) as (child, ours):
        assert receive(ours) >= 10
        assert child.join() == 0


@pytest.mark.parametrize("call", ["publish", "claim", "recv", "recv_many", "view", "observer"])
def test_a_storm_of_signals_ends_no_call_that_has_no_timeout(lossless: ipc.Multicast[Any], call: str) -> None:
    def wait(multicast: ipc.Multicast[Any], told: Any) -> None:
        signals = 0

        def count(*_: object) -> None:
            nonlocal signals
            signals += 1
            if signals == 100:
                told.send("100 signals")

        end = multicast.publisher() if call in roles.PUBLISHING else multicast.subscribe(observe=call == "observer")
        if call in roles.PUBLISHING:
            roles.fill(end)
        told.send("ready")
        signal.signal(signal.SIGALRM, count)
        signal.setitimer(signal.ITIMER_REAL, STORM_SECONDS, STORM_SECONDS)
        kept = {**roles.PUBLISHING, **roles.CALLS, "observer": roles.CALLS["recv"]}[call](end)
        signal.setitimer(signal.ITIMER_REAL, 0)
        told.send("returned")
        del kept
        end.close()

    with (
        lossless.subscribe() as subscriber,
        forked_with_pipe(wait, lossless) as (child, ours),
    ):
        assert receive(ours) == "100 signals"
        assert not ours.poll(0)
        if call in roles.PUBLISHING:
            subscriber.recv_many(timeout=LONG)
        else:
            with lossless.publisher() as publisher:
                publisher.publish(b"x")
        assert receive(ours) == "returned"
        assert child.join() == 0


HANDLERS = {
    "publishes": lambda _, publisher: publisher.publish(b"from the handler"),
    "closes": lambda subscriber, _: subscriber.close(),
    "raises": lambda *_: 1 // 0,
    "receives": lambda subscriber, _: subscriber.try_recv(),
}
OUTCOMES = {"publishes": "returned", "closes": "ClosedError", "raises": "ZeroDivisionError", "receives": "BusyError"}


@pytest.mark.parametrize("observe", [False, True], ids=["subscriber", "observer"])
@pytest.mark.parametrize("handler", HANDLERS)
def test_a_handler_may_use_the_multicast_whose_call_it_interrupts(
    lossless: ipc.Multicast[Any], handler: str, observe: bool
) -> None:
    def wait(multicast: ipc.Multicast[Any], told: Any) -> None:
        subscriber, publisher = multicast.subscribe(observe=observe), multicast.publisher()
        signal.signal(signal.SIGALRM, lambda *_: HANDLERS[handler](subscriber, publisher))
        told.send("ready")
        signal.setitimer(signal.ITIMER_REAL, 0.05)
        outcome = "returned"
        try:
            assert subscriber.recv() == b"from the handler"
        except Exception as error:
            outcome = type(error).__name__
        told.send(outcome)
        if handler != "closes":  # it works on
            publisher.publish(b"afterwards")
            assert subscriber.recv(timeout=LONG) == b"afterwards"

    with forked_with_pipe(wait, lossless) as (child, ours):
        assert receive(ours) == OUTCOMES[handler]
        assert child.join() == 0


# --- forks --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ending", ["close", "close all", "os._exit", "SIGKILL", "collect", "normal end"])
def test_whatever_a_forked_child_does_with_its_copies_the_parent_goes_on(ending: str, name: str) -> None:
    with ipc.Multicast[Any](name) as multicast:
        publisher, subscriber, observer = (
            multicast.publisher(),
            multicast.subscribe(),
            multicast.subscribe(observe=True),
        )
        publisher.publish("before")

        def child() -> None:
            with pytest.raises(ipc.ForkedHandleError):
                subscriber.recv()
            if ending == "close":
                for end in (publisher, subscriber, observer):
                    end.close()
            elif ending == "close all":
                multicast.close()
            elif ending == "SIGKILL":
                os.kill(os.getpid(), signal.SIGKILL)
            elif ending == "collect":
                publisher.__class__._close_in_core(publisher._handle)
            elif ending == "normal end":
                from ipc._core.multicast import _close_all

                _close_all()

        with Forked(child) as forked:
            assert forked.join() == (-signal.SIGKILL if ending == "SIGKILL" else 0)
        publisher.publish("after")
        for end in (subscriber, observer):
            assert [end.recv(timeout=LONG), end.recv(timeout=LONG)] == ["before", "after"]
        stats = multicast.stats()
        assert stats.participants[0].alive
        assert [one.alive for one in stats.subscribers] == [True]
    assert not any(entry.name == name for entry in ipc.ls())


def test_a_forked_child_takes_part_with_the_multicast_that_it_has_inherited(lossless: ipc.Multicast[Any]) -> None:
    publisher, subscriber = lossless.publisher(), lossless.subscribe()
    publisher.publish("before")

    def child() -> None:
        with lossless.subscribe("oldest") as mine:
            assert mine.recv(timeout=LONG) == "before"
            with pytest.raises(ipc.BusyError):
                lossless.publisher()
        assert lossless.stats().sent == 1

    with Forked(child) as forked:
        assert forked.join() == 0
    assert subscriber.recv(timeout=LONG) == "before"


def test_a_fork_while_another_thread_waits_leaves_both_processes_free(lossless: ipc.Multicast[Any]) -> None:
    with lossless.subscribe() as subscriber, lossless.publisher() as publisher:
        got: list[Any] = []
        thread = threading.Thread(target=lambda: got.extend(subscriber))
        thread.start()

        def child() -> None:
            with pytest.raises(ipc.ForkedHandleError):
                subscriber.try_recv()
            with lossless.subscribe("oldest") as mine:
                mine.try_recv()

        for number in range(15):
            with Forked(child) as forked:
                assert forked.join() == 0
            publisher.publish(number)
        publisher.close()
        thread.join()
        assert got == list(range(15))


OUTLIVED = """
import os, signal, sys, ipc
multicast = ipc.Multicast.attach(sys.argv[1])
end = multicast.publisher() if sys.argv[2] == "publisher" else multicast.subscribe()
child = os.fork()
if child == 0:
    signal.pause()
    os._exit(0)
print(child, flush=True)
sys.stdin.readline()
"""


@pytest.mark.parametrize("whose", ["publisher", "subscriber"])
def test_a_forked_child_that_outlives_its_parent_does_not_keep_it_alive(name: str, whose: str) -> None:
    with ipc.Multicast[Any](name, capacity=PAGE) as multicast, Python(OUTLIVED, name, whose) as parent:
        child = int(parent.hear())
        try:
            parent.kill()
            died = time.monotonic()
            if whose == "publisher":
                with multicast.subscribe() as subscriber, pytest.raises(ipc.PeerDiedError):
                    subscriber.recv(timeout=LONG)
            else:
                with multicast.publisher() as publisher:
                    publisher.publish_many([bytes(500)] * 100, timeout=LONG)
            assert time.monotonic() - died <= DEATH_NOTICED_SECONDS
            assert state_of(child) == "S"
        finally:
            os.kill(child, signal.SIGKILL)
            until(lambda: is_gone(child), "it is gone")


# --- the end of a process -----------------------------------------------------------------------------------------

ENDING = """
import os, sys, threading, time, ipc
multicast = ipc.Multicast.open(sys.argv[1], capacity=4096)
publisher, subscriber, observer = multicast.publisher(), multicast.subscribe(), multicast.subscribe(observe=True)
publisher.publish("last words")
{end}
"""
ENDINGS = {
    "returns": "",
    "sys.exit": "sys.exit(0)",
    "forgets": "del multicast, publisher, subscriber, observer",
    "forgets all but the publisher": "del multicast, subscriber, observer",
    "views": "view = subscriber.view(); view.__enter__()",
    "claims": "claim = publisher.claim(nbytes=100); memory = claim.__enter__()",
    "keeps an array": "claim = publisher.claim((10,), 'u1'); array = claim.__enter__()[2:]",
    "threads wait": """
def wait(end):
    try:
        while True:
            end.recv()
    except ipc.ClosedError:
        pass
    except BaseException as error:  # at once: a daemon's traceback is cut off by the end of the interpreter
        os.write(2, repr(error).encode())
for end in (subscriber, observer):
    threading.Thread(target=wait, args=(end,), daemon=True).start()
while multicast.stats().subscribers[-1].behind:
    time.sleep(0.01)
""",
    "closes late": "import atexit; atexit.register(multicast.close)",
    "a cycle": "publisher_of = {}; publisher_of['it'] = publisher_of, publisher, subscriber",
}


@pytest.mark.parametrize("how", ENDINGS)
def test_an_interpreter_that_ends_with_open_handles_closes_them_cleanly_and_says_nothing(name: str, how: str) -> None:
    with ipc.Multicast[Any](name, capacity=PAGE) as multicast, multicast.subscribe() as subscriber:
        code = ENDING.format(end=ENDINGS[how])
        done = subprocess.run(
            [sys.executable, "-X", "dev", "-c", code, name], capture_output=True, text=True, check=False
        )
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
        assert subscriber.recv(timeout=LONG) == "last words"
        with pytest.raises(ipc.EndOfChannel):
            subscriber.recv(timeout=LONG)
        assert [one.pid for one in multicast.stats().subscribers] == [os.getpid()]
    assert not any(entry.name == name for entry in ipc.ls())


@pytest.mark.parametrize(
    ("end", "code", "sees"),
    [
        ("os._exit(3)", 3, ipc.PeerDiedError),
        ("sys.excepthook = lambda *_: None; raise LookupError", 1, ipc.EndOfChannel),
        ("os.abort()", -signal.SIGABRT, ipc.PeerDiedError),
    ],
)
def test_what_subscribers_see_of_other_ends_of_a_process(name: str, end: str, code: int, sees: type[Exception]) -> None:
    with ipc.Multicast[Any](name, capacity=PAGE) as multicast, multicast.subscribe() as subscriber:
        source = "import resource; resource.setrlimit(resource.RLIMIT_CORE, (0, 0))\n" + ENDING.format(end=end)
        done = subprocess.run([sys.executable, "-c", source, name], capture_output=True, check=False)
        assert done.returncode == code
        assert subscriber.recv(timeout=LONG) == "last words"
        with pytest.raises(sees):
            subscriber.recv(timeout=LONG)


@pytest.mark.parametrize("method", METHODS)
def test_a_child_that_returns_with_open_ends_has_closed_them(method: str, lossless: ipc.Multicast[Any]) -> None:
    with pipe() as (ours, told), lossless.subscribe() as subscriber:
        with roles.child_of(method, take_ends_and_return, lossless, told) as child:
            assert receive(ours) == "taken"
            child.join(LONG)
            assert child.exitcode == 0
        with pytest.raises(ipc.EndOfChannel):
            subscriber.recv(timeout=LONG)
        assert len(lossless.stats().subscribers) == 1


kept: list[Any] = []


def take_ends_and_return(multicast: Any, told: Any) -> None:
    kept.extend((multicast.publisher(), multicast.subscribe(), multicast.subscribe(observe=True)))
    told.send("taken")


# --- closes from other threads ------------------------------------------------------------------------------------


@pytest.mark.parametrize("closes", ["the end", "the multicast"])
@pytest.mark.parametrize("call", [*roles.CALLS, *roles.PUBLISHING, "observer"])
def test_a_close_from_another_thread_ends_each_call_that_waits(
    lossless: ipc.Multicast[Any], call: str, closes: str
) -> None:
    calls: dict[str, Any] = {**roles.CALLS, **roles.PUBLISHING, "observer": roles.CALLS["recv"]}

    def child(multicast: ipc.Multicast[Any], told: Any) -> None:
        if call in roles.PUBLISHING:
            end: Any = multicast.publisher()
            roles.fill(end)
        else:
            end = multicast.subscribe(observe=call == "observer")
        main = os.getpid()

        def close_when_it_waits() -> None:
            until(lambda: state_of(main) == "S" and is_inside(end), "the call waits")
            (end if closes == "the end" else multicast).close()

        thread = threading.Thread(target=close_when_it_waits)
        told.send("ready")
        thread.start()
        with pytest.raises(ipc.ClosedError, match="is closed: it was closed here"):
            calls[call](end)
        thread.join()
        with pytest.raises(ipc.ClosedError):
            calls[call](end)

    with lossless.subscribe(), forked_with_pipe(child, lossless) as (forked, _):
        assert forked.join() == 0


def is_inside(end: Any) -> bool:
    """Whether another thread is in a call of it."""
    try:
        _ = end.try_publish(bytes(500)) if isinstance(end, ipc.Publisher) else end.try_recv()
    except ipc.BusyError:
        return True
    return False


def test_closes_from_many_threads_in_the_middle_of_traffic_end_everybody_and_harm_nobody() -> None:
    for turn in range(30):
        with ipc.Multicast[Any](capacity=PAGE, policy="lossy" if turn % 3 == 0 else "lossless") as multicast:
            publisher = multicast.publisher()
            subscribers = [multicast.subscribe(observe=number == 2) for number in range(3)]
            problems: list[BaseException] = []
            moved = threading.Event()

            def expect_close(work: Callable[[], object]) -> None:
                try:
                    while True:
                        work()
                        moved.set()  # noqa: B023
                except (ipc.ClosedError, ipc.EndOfChannel):
                    pass
                except BaseException as error:
                    problems.append(error)  # noqa: B023

            work: list[Callable[[], object]] = [lambda: publisher.publish(bytes(100))]  # noqa: B023
            work += [subscriber.recv for subscriber in subscribers]
            threads = [threading.Thread(target=expect_close, args=(each,)) for each in work]
            for thread in threads:
                thread.start()
            assert moved.wait(LONG)
            ends: list[Any] = [publisher, *subscribers, multicast, publisher]
            closers = [threading.Thread(target=end.close) for end in ends]
            for thread in closers:
                thread.start()
            for thread in (*threads, *closers):
                thread.join(LONG)
                assert not thread.is_alive()
            assert problems == []

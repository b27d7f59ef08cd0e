"""Channels as arguments of a child process: under every start method, by multiprocessing and by ipc.spawn."""

from __future__ import annotations

import multiprocessing
import pickle
import subprocess
import sys
from multiprocessing import reduction
from typing import Any

import pytest

import ipc
from tests.process import roles
from tests.process.support import METHODS, context, pipe, receive, running

STARTERS = ("Process", "ipc.spawn")

method = pytest.mark.parametrize("method", METHODS)
starter = pytest.mark.parametrize("starter", STARTERS)


def start(starter: str, method: str, fn: Any, *args: Any, **kwargs: Any) -> Any:
    if starter == "ipc.spawn":
        return ipc.spawn(fn, *args, context=context(method), **kwargs)
    process = context(method).Process(target=fn, args=args, kwargs=kwargs)  # type: ignore[attr-defined]
    process.start()
    return process


@method
@starter
def test_messages_go_both_ways_between_parent_and_child(starter: str, method: str) -> None:
    tx, inbox = ipc.channel()
    outbox, rx = ipc.channel()
    with tx, rx, running(start(starter, method, roles.echo, inbox, outbox)) as child:
        inbox.close()
        outbox.close()
        for message in (b"", b"bytes", "text", None, {"a": [1, 2.5]}, bytes(100_000)):
            tx.send(message)
            assert rx.recv() == message
        tx.close()
        with pytest.raises(ipc.EndOfChannel):
            rx.recv()
        child.join()
        assert child.exitcode == 0


@method
@starter
def test_two_children_talk_to_each_other_and_the_parent_only_made_the_channel(starter: str, method: str) -> None:
    tx, inbox = ipc.channel()
    outbox, rx = ipc.channel()
    with (
        rx,
        running(start(starter, method, roles.echo, inbox, outbox)) as second,
        running(start(starter, method, roles.send_and_return, tx, 1000)) as first,
    ):
        for end in (tx, inbox, outbox):
            end.close()
        assert [rx.recv() for _ in range(1000)] == list(range(1000))
        first.join()
        with pytest.raises(ipc.EndOfChannel):
            rx.recv()
        second.join()
        assert (first.exitcode, second.exitcode) == (0, 0)


@method
@starter
def test_ends_are_found_in_nested_containers_and_keyword_arguments(starter: str, method: str) -> None:
    ways = [ipc.channel() for _ in range(3)]
    outbox, rx = ipc.channel()
    numbers = {"all": tuple(receiver for _, receiver in ways)}
    with rx, running(start(starter, method, roles.add_up, numbers, answers=[outbox, None])) as child:
        outbox.close()
        for number, (sender, receiver) in enumerate(ways):
            receiver.close()
            sender.send(10**number)
        assert rx.recv() == 111
        child.join()
        assert child.exitcode == 0
        for sender, _ in ways:
            sender.close()


@method
def test_a_worker_may_get_many_channels(method: str) -> None:
    ways = [ipc.channel(capacity=4096) for _ in range(100)]
    with running(ipc.spawn(roles.say_each, *(sender for sender, _ in ways), context=context(method))) as worker:
        assert [receiver.recv() for _, receiver in ways] == list(range(100))
        worker.join()
        assert worker.exitcode == 0
    for _, receiver in ways:
        receiver.close()


def test_more_descriptors_than_forkserver_passes_are_refused_and_the_error_says_so() -> None:
    ways = [ipc.channel(capacity=4096) for _ in range(130)]
    senders = [sender for sender, _ in ways]
    with pytest.raises(ipc.HandOverError, match=r"forkserver passes at most .* descriptors.*spawn"):
        ipc.spawn(roles.say_each, *senders, context=context("forkserver"))
    # nothing has changed hands: the same ends go to a worker that can take them
    with running(ipc.spawn(roles.say_each, *senders, context="spawn")) as worker:
        assert [receiver.recv() for _, receiver in ways] == list(range(130))
        worker.join()
        assert worker.exitcode == 0
    for _, receiver in ways:
        receiver.close()


@starter
@method
def test_a_ring_goes_to_a_child_whole_or_by_its_ends(starter: str, method: str) -> None:
    ring = ipc.Ring.create()
    argument = ring if starter == "Process" else ring.writer()
    with ring, running(start(starter, method, write_to, argument)) as child:
        assert ring.reader().read() == b"from the child"
        child.join()
        assert child.exitcode == 0


def write_to(ring: Any) -> None:
    (ring.writer() if isinstance(ring, ipc.Ring) else ring).write(b"from the child")


@method
def test_an_end_given_to_a_worker_is_closed_for_the_parent(method: str) -> None:
    tx, inbox = ipc.channel()
    with tx, pipe() as (ours, theirs), running(ipc.spawn(roles.wait_for, theirs, inbox, context=context(method))):
        receive(ours)
        assert inbox.closed
        with pytest.raises(ipc.ClosedError, match="given to a worker"):
            inbox.recv()
        with pytest.raises(ipc.ClosedError):
            inbox.try_recv()
        with pytest.raises(ipc.ClosedError):
            ipc.spawn(roles.wait_for, theirs, inbox, context=context(method))
        inbox.close()  # as often as one likes


@method
@starter
def test_an_end_in_use_is_not_handed_over_and_goes_on_working(starter: str, method: str) -> None:
    tx, rx = ipc.channel()
    with tx, rx:
        tx.send(b"used")
        if starter == "Process" and method == "fork":
            with running(start(starter, method, use_of_a_forked_copy, tx)) as child:
                child.join()
                assert child.exitcode == 0
        else:
            with pytest.raises(ipc.HandOverError, match="in use"):
                start(starter, method, roles.send_and_return, tx, 1)
        assert rx.recv() == b"used"
        tx.send(b"again")
        assert rx.recv() == b"again"


def use_of_a_forked_copy(tx: Any) -> None:
    with pytest.raises(ipc.ForkedHandleError):
        tx.send(b"from the copy")


def test_a_worker_that_is_refused_leaves_the_other_ends_usable() -> None:
    tx, inbox = ipc.channel()
    outbox, rx = ipc.channel()
    outbox.send(b"used here")
    for chosen in METHODS:
        with pytest.raises(ipc.HandOverError):
            ipc.spawn(roles.echo, inbox, outbox, context=context(chosen))
    with tx, inbox, outbox, rx:
        tx.send(b"still mine")
        assert inbox.recv() == b"still mine"


def test_handles_are_not_pickled_outside_of_process_start() -> None:
    tx, rx = ipc.channel()
    queue: Any = multiprocessing.SimpleQueue()
    with tx, rx, pipe() as (ours, _):
        for pickled in (
            lambda: pickle.dumps(tx),
            lambda: reduction.ForkingPickler.dumps(rx),
            lambda: ours.send(tx),
            lambda: queue.put(rx),
        ):
            with pytest.raises(ipc.HandOverError, match="name="):
                pickled()
    queue.close()


def test_a_channel_sent_through_a_channel_is_refused() -> None:
    tx, rx = ipc.channel()
    other, unused = ipc.channel()
    with tx, rx, other, unused:
        with pytest.raises(ipc.HandOverError):
            tx.send(other)
        tx.send(b"next")
        assert rx.recv() == b"next"


def test_a_handle_for_a_spawned_child_carries_its_options() -> None:
    tx, inbox = ipc.channel(accept=["bytes"])
    outbox, rx = ipc.channel()
    with tx, rx, running(ipc.spawn(refuse_or_not, inbox, outbox)) as worker:
        tx.send({"pickled": 1})
        tx.send(b"bytes")
        assert [rx.recv(), rx.recv()] == ["RefusedEncodingError", b"bytes"]
        worker.join()


def refuse_or_not(inbox: Any, outbox: Any) -> None:
    try:
        outbox.send(inbox.recv())
    except ipc.IpcError as error:
        outbox.send(type(error).__name__)
    outbox.send(inbox.recv())


def test_a_named_end_goes_to_a_child_too(name: str) -> None:
    tx, inbox = ipc.channel(name)
    with tx, running(ipc.spawn(roles.receive_and_close, inbox)) as worker:
        tx.send(b"by name")
        tx.flush()
        worker.join()
        assert worker.exitcode == 0
        with pytest.raises(ipc.EndOfChannel):
            tx.send(b"nobody there")


def test_a_script_run_as_main_can_spawn_its_own_functions(tmp_path: Any) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "import ipc\n"
        "def work(inbox, outbox):\n"
        "    for message in inbox: outbox.send(message.upper())\n"
        "if __name__ == '__main__':\n"
        "    tx, inbox = ipc.channel()\n"
        "    outbox, rx = ipc.channel()\n"
        "    with ipc.spawn(work, inbox, outbox):\n"
        "        tx.send(b'hello')\n"
        "        print(rx.recv())\n"
        "        tx.close()\n"
        "    rx.close()\n",
        encoding="utf-8",
    )
    done = subprocess.run([sys.executable, str(script)], check=False, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "b'HELLO'\n", "")

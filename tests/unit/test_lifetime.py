"""How long a named segment lasts: until its last user leaves it empty, or somebody removes the name."""

from __future__ import annotations

import gc
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import ipc

PAGE = 4096
SHM = Path("/dev/shm")


def exists(name: str) -> bool:
    return (SHM / name).exists()


def leave_unread(name: str, *messages: object) -> None:
    """Make an orphan: a channel with messages that nobody is attached to."""
    tx, rx = ipc.channel(name, capacity=PAGE)
    with tx, rx:
        for message in messages:
            tx.send(message)
    assert exists(name)


def drain(name: str) -> list[Any]:
    with ipc.Receiver.attach(name) as rx:
        return list(rx)


# --- the last one out ---------------------------------------------------------------------------------------------


def test_an_anonymous_segment_has_no_file() -> None:
    before = {path.name for path in SHM.iterdir()}
    tx, rx = ipc.channel(capacity=PAGE)
    with tx, rx, ipc.Ring.create(capacity=PAGE):
        tx.send("x")
        assert not {path for path in {path.name for path in SHM.iterdir()} - before if "ipc:" in path}
        assert not any(entry.stats and entry.stats.name is None for entry in ipc.ls())


def test_the_name_goes_when_the_last_user_closes_and_nothing_is_unread(name: str) -> None:
    tx, rx = ipc.channel(name, capacity=PAGE)
    tx.send("read")
    assert rx.recv() == "read"
    tx.close()
    assert exists(name)
    rx.close()
    assert not exists(name)


def test_a_segment_that_was_never_used_goes_with_its_last_handle(name: str) -> None:
    tx, rx = ipc.channel(name, capacity=PAGE)
    tx.close()
    assert exists(name)
    rx.close()
    assert not exists(name)
    ring = ipc.Ring.create(name, capacity=PAGE)
    assert exists(name)
    ring.close()
    assert not exists(name)


def test_forgotten_handles_leave_as_closed_ones_do(name: str) -> None:
    ends = ipc.channel(name, capacity=PAGE)
    del ends
    gc.collect()
    assert not exists(name)


def test_any_attached_handle_keeps_the_name(name: str) -> None:
    tx, rx = ipc.channel(name, capacity=PAGE)
    other = ipc.Sender.attach(name)
    tx.close()
    rx.close()
    assert exists(name)
    other.close()
    assert not exists(name)


def test_what_is_unread_outlives_its_sender_and_is_there_for_a_receiver_later(name: str) -> None:
    leave_unread(name, "one", {"two": 2}, b"three" * 500)
    stats = ipc.stats(name)
    assert (stats.depth, stats.attached) == (3, False)
    with ipc.Receiver.attach(name) as rx:
        assert rx.recv() == "one"
        assert exists(name)
    assert ipc.stats(name).depth == 2
    assert drain(name) == []  # its receiver closed for good, and left a message that nobody will read
    ipc.rm(name)


def test_an_orphan_whose_receiver_never_came_gives_everything_and_then_ends(name: str) -> None:
    leave_unread(name, *range(10))
    assert drain(name) == list(range(10))
    assert not exists(name)


def test_a_ring_is_an_orphan_with_its_messages_too(name: str) -> None:
    with ipc.Ring.create(name, capacity=PAGE) as ring:
        ring.writer().write_many([b"a", b"b"])
    with ipc.Ring.attach(name) as ring:
        assert ring.reader().read_many() == [b"a", b"b"]
        with pytest.raises(ipc.EndOfChannel):
            ring.writer().write(b"c")
    assert not exists(name)


# --- creating -----------------------------------------------------------------------------------------------------

CREATORS = {
    "channel": lambda name: ipc.channel(name, capacity=PAGE),
    "ring": lambda name: ipc.Ring.create(name, capacity=PAGE),
    "queue": lambda name: ipc.Queue(name=name, capacity=PAGE),
    "reliable queue": lambda name: ipc.ReliableQueue(name, capacity=PAGE),
    "multicast": lambda name: ipc.Multicast(name, capacity=PAGE),
}


@pytest.mark.parametrize("create", CREATORS.values(), ids=CREATORS)
def test_a_name_that_somebody_is_attached_to_cannot_be_created_again(name: str, create: Callable[[str], Any]) -> None:
    tx, rx = ipc.channel(name, capacity=PAGE)
    with tx, rx:
        tx.send("kept")
        with pytest.raises(ipc.SegmentExistsError, match=r"somebody is attached to it; .*ipc\.rm\(\)") as caught:
            create(name)
        assert name in str(caught.value)
        assert rx.recv() == "kept"
    with pytest.raises(FileExistsError), ipc.Ring.create(name, capacity=PAGE):
        create(name)


def test_a_handle_that_nobody_has_used_yet_counts_as_attached(name: str) -> None:
    with ipc.Ring.create(name, capacity=PAGE), pytest.raises(ipc.SegmentExistsError):
        ipc.channel(name)


def test_creating_replaces_an_orphan(name: str) -> None:
    leave_unread(name, "old")
    old = (SHM / name).stat().st_ino
    tx, rx = ipc.channel(name, capacity=4 * PAGE)
    with tx, rx:
        assert (SHM / name).stat().st_ino != old
        assert rx.try_recv("nothing") == "nothing"
        assert tx.stats().capacity == 4 * PAGE


def test_creating_replaces_an_orphan_of_another_kind(name: str) -> None:
    leave_unread(name, "old")
    with ipc.Ring.create(name, capacity=PAGE) as ring:
        assert ring.reader().try_read() is None
        assert ipc.stats(name).kind == "ring"


# --- unlink and rm ------------------------------------------------------------------------------------------------

REMOVERS: dict[str, Callable[[str, Any], None]] = {
    "unlink": lambda _, handle: handle.unlink(),
    "rm": lambda name, _: ipc.rm(name),
}


@pytest.mark.parametrize("remove", REMOVERS.values(), ids=REMOVERS)
def test_after_the_name_is_removed_those_attached_go_on(name: str, remove: Callable[[str, Any], None]) -> None:
    tx, rx = ipc.channel(name, capacity=PAGE)
    with tx, rx:
        tx.send("before")
        remove(name, tx)
        assert not exists(name)
        with pytest.raises(ipc.SegmentNotFoundError):
            ipc.Receiver.attach(name)
        tx.send("after")
        assert [rx.recv(), rx.recv()] == ["before", "after"]
        assert tx.stats().name == name


@pytest.mark.parametrize("first", REMOVERS.values(), ids=REMOVERS)
@pytest.mark.parametrize("second", REMOVERS.values(), ids=REMOVERS)
def test_a_name_can_be_removed_once(name: str, first: Callable[..., None], second: Callable[..., None]) -> None:
    with ipc.Ring.create(name, capacity=PAGE) as ring:
        first(name, ring)
        for _ in range(2):
            with pytest.raises(ipc.SegmentNotFoundError):
                second(name, ring)


def test_an_anonymous_segment_has_no_name_to_unlink() -> None:
    tx, rx = ipc.channel(capacity=PAGE)
    with tx, rx, ipc.Ring.create(capacity=PAGE) as ring:
        for handle in (tx, rx, ring, ring.writer(), ring.reader()):
            with pytest.raises(ValueError, match=r"anonymous.*has no name to unlink; it goes with its last handle"):
                handle.unlink()


def test_the_old_generation_never_removes_the_new_ones_name(name: str) -> None:
    old = ipc.Ring.create(name, capacity=PAGE)
    old.unlink()
    with ipc.Ring.create(name, capacity=PAGE) as new:
        with pytest.raises(ipc.SegmentNotFoundError):
            old.unlink()
        old.close()
        assert exists(name)
        new.writer().write(b"new")
        with ipc.Ring.attach(name) as other:
            assert other.reader().read() == b"new"


def test_renaming_the_file_away_is_no_reason_to_remove_another(name: str) -> None:
    ring = ipc.Ring.create(name, capacity=PAGE)
    moved = SHM / f"{name}-moved"
    (SHM / name).rename(moved)
    (SHM / name).write_bytes(b"somebody else's")
    ring.close()
    assert (SHM / name).read_bytes() == b"somebody else's"
    assert moved.exists()
    moved.unlink()
    (SHM / name).unlink()


# --- presence -----------------------------------------------------------------------------------------------------


def test_opening_and_closing_the_file_does_not_end_our_presence(name: str) -> None:
    tx, rx = ipc.channel(name, capacity=PAGE)
    with tx, rx:
        tx.send("x")
        for _ in range(1000):
            with (SHM / name).open("r+b"):
                pass
        for _ in range(20):
            ipc.stats(name)
        assert ipc.stats(name).attached
        assert [end.alive for end in ipc.stats(name).participants] == [True, False]
        with pytest.raises(ipc.SegmentExistsError):
            ipc.channel(name)
        assert rx.recv() == "x"


def test_short_lived_processes_that_attach_remove_nothing(name: str, python: Callable[..., Any]) -> None:
    tx, rx = ipc.channel(name, capacity=PAGE)
    with tx, rx:
        for code in (
            "import sys, ipc; ipc.Sender.attach(sys.argv[1])",
            "import sys, ipc; rx = ipc.Receiver.attach(sys.argv[1]); rx.close()",
            "import os, sys, ipc; rx = ipc.Receiver.attach(sys.argv[1]); os._exit(0)",
        ):
            python(code, name)
            assert exists(name)
        tx.send("still here")
        assert rx.recv() == "still here"


def test_a_process_that_was_killed_leaves_an_orphan_that_can_be_adopted_or_replaced(name: str) -> None:
    code = (
        "import sys, ipc; tx, rx = ipc.channel(sys.argv[1]); tx.send('left')\n"
        "print('sent', flush=True); sys.stdin.read()\n"
    )
    for adopt in (True, False):
        with subprocess.Popen(
            [sys.executable, "-c", code, name], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "sent\n"
            with pytest.raises(ipc.SegmentExistsError):
                ipc.channel(name)
            process.send_signal(signal.SIGKILL)
            process.wait()
        assert not ipc.stats(name).attached
        if adopt:
            with ipc.Receiver.attach(name) as rx:
                assert rx.recv() == "left"
                with pytest.raises(ipc.PeerDiedError, match=f"process {process.pid} at the other end died"):
                    rx.recv(60)
                with ipc.Sender.attach(name) as tx:
                    tx.send("from a successor")
                    assert rx.recv() == "from a successor"
            assert not exists(name)
        else:
            with ipc.Ring.create(name, capacity=PAGE) as ring:
                assert ring.reader().try_read() is None


def test_a_process_that_exits_at_once_loses_nothing(name: str, python: Callable[..., Any]) -> None:
    code = "import sys, ipc\ntx = ipc.Sender.attach(sys.argv[1])\nfor index in range(100): tx.send(index)\n"
    tx, rx = ipc.channel(name)
    tx.close()
    with rx:
        python(code, name)
        assert list(rx) == list(range(100))

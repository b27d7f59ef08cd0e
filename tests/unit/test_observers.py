"""Looking from outside: `ls`, `stats`, `rm` and `gc` see what is there, remove what they may, keep nothing alive."""

from __future__ import annotations

import fcntl
import json
import os
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import ipc
from ipc._core.native import ffi, lib

PAGE = 4096
NOBODY = 65534
PRESENCE = 1 << 40  # of the lock byte; native/format.h

LOOK = """
import json, sys, ipc
record = lambda s: {**s._asdict(), "participants": [end._asdict() for end in s.participants]}
entries = [(e.name, e.kind, e.attached, e.size, e.stats and record(e.stats)) for e in ipc.ls()]
print(json.dumps(entries))
"""


def orphan(name: str, *messages: object) -> None:
    tx, rx = ipc.channel(name, capacity=PAGE)
    with tx, rx:
        for message in messages or ("unread",):
            tx.send(message)


@pytest.fixture
def observer() -> Iterator[subprocess.Popen[str]]:
    """Give a process that looks at everything, twice, says so, and lives on until its input ends."""
    code = (
        "import sys, ipc\n"
        "for line in sys.stdin:\n"
        "    kept = [(ipc.ls(), ipc.stats(line.strip())) for _ in range(2)]\n"
        "    print(kept[-1][1].depth, flush=True)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
    ) as process:
        yield process


def look(process: subprocess.Popen[str], name: str) -> int:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(f"{name}\n")
    return int(process.stdout.readline())


# --- ls and stats -------------------------------------------------------------------------------------------------


def test_another_process_sees_what_is_here(ipc_dir: Path, python: Callable[..., Any]) -> None:
    tx, rx = ipc.channel("channel", capacity=PAGE)
    with tx, rx, ipc.Ring.create("another-ring", capacity=4 * PAGE):
        tx.send("one")
        tx.send("two")
        rx.recv()
        orphan("left", b"12345")
        entries = {entry[0]: entry[1:] for entry in json.loads(python(LOOK).stdout)}
        assert list(entries) == ["another-ring", "channel", "left"]
        assert entries["another-ring"][:3] == ["ring", True, 5 * PAGE]
        kind, attached, size, stats = entries["channel"]
        assert (kind, attached, size) == ("channel", True, 2 * PAGE)
        assert (stats["sent"], stats["received"], stats["depth"]) == (2, 1, 1)
        assert stats["creator_pid"] == os.getpid()
        assert [end["pid"] for end in stats["participants"]] == [os.getpid()] * 2
        assert [end["alive"] for end in stats["participants"]] == [True, True]
        kind, attached, _, stats = entries["left"]
        assert (kind, attached, stats["bytes"], stats["depth"]) == ("channel", False, 5, 1)
        assert [end["state"] for end in stats["participants"]] == ["closed", "untaken"]


def test_here_is_seen_what_another_process_has(name: str) -> None:
    code = (
        "import sys, ipc\n"
        "tx, rx = ipc.channel(sys.argv[1]); tx.send(b'123'); rx.recv(); tx.send(b'4567')\n"
        "print('ready', flush=True); sys.stdin.read()\n"
        "assert rx.recv() == b'4567'\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, name], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        stats = ipc.stats(name)
        assert isinstance(stats, ipc.Stats)
        assert (stats.sent, stats.received, stats.depth, stats.bytes, stats.bytes_received) == (2, 1, 1, 7, 3)
        assert {end.pid for end in stats.participants} == {process.pid}
        (entry,) = [entry for entry in ipc.ls() if entry.name == name]
        assert entry.stats == stats
        assert (entry.attached, entry.path, entry.problem) == (True, f"/dev/shm/{name}", "")
    assert process.returncode == 0
    with pytest.raises(ipc.SegmentNotFoundError):
        ipc.stats(name)


def test_looking_does_not_disturb_those_who_work(ipc_dir: Path) -> None:
    tx, rx = ipc.channel("busy", capacity=PAGE)
    with tx, rx:
        for index in range(200):
            tx.send(index)
            before = ipc.stats("busy")
            assert (before.sent, before.received) == (index + 1, index)
            assert rx.recv() == index
        assert [entry.name for entry in ipc.ls()] == ["busy"]


def test_each_directory_is_a_world_of_its_own(name: str, ipc_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    orphan(name, "inside")
    monkeypatch.delenv("IPC_DIR")
    assert name not in [entry.name for entry in ipc.ls()]
    for look_for in (ipc.stats, ipc.rm, ipc.Receiver.attach, ipc.Ring.attach):
        with pytest.raises(ipc.SegmentNotFoundError, match="/dev/shm"):
            look_for(name)  # type: ignore[operator]
    with ipc.Ring.create(name, capacity=PAGE):
        assert name not in ipc.gc()
        monkeypatch.setenv("IPC_DIR", str(ipc_dir))
        assert [entry.kind for entry in ipc.ls()] == ["channel"]
        assert ipc.gc() == [name]
        assert ipc.ls() == []
        monkeypatch.delenv("IPC_DIR")
        assert ipc.stats(name).kind == "ring"


def test_a_handle_stays_in_its_directory_when_ipc_dir_changes(ipc_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ring = ipc.Ring.create("here", capacity=PAGE)
    monkeypatch.delenv("IPC_DIR")
    ring.writer().write(b"x")
    assert ring.reader().read() == b"x"
    ring.close()
    assert list(ipc_dir.iterdir()) == []


def test_an_empty_directory_has_nothing(ipc_dir: Path) -> None:
    assert ipc.ls() == []
    assert ipc.gc() == []


# --- foreign files ------------------------------------------------------------------------------------------------


@pytest.fixture
def foreign(ipc_dir: Path) -> list[Path]:
    """Fill a directory with everything that other programs may keep there."""
    (ipc_dir / "text").write_text("hello")
    (ipc_dir / "empty").touch()
    (ipc_dir / "psm_1234").write_bytes(bytes(PAGE))
    (ipc_dir / "magic-only").write_bytes(b"\nIPCRGS1")
    (ipc_dir / "sem.mp-abc").write_bytes(bytes(32))
    (ipc_dir / "directory").mkdir()
    (ipc_dir / "directory" / "inside").touch()
    (ipc_dir / "link").symlink_to("text")
    (ipc_dir / "dangling").symlink_to("nowhere")
    (ipc_dir / ".ipc-unfinished-directory").mkdir()
    (ipc_dir / "unreadable").touch(mode=0o000)
    os.mkfifo(ipc_dir / "fifo")
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(ipc_dir / "socket"))
    (ipc_dir / "name with spaces and\nnewline").touch()
    os.close(os.open(os.fsencode(ipc_dir) + b"/not-utf8-\xff", os.O_CREAT, 0o600))
    return sorted(ipc_dir.rglob("*"))


def test_foreign_files_are_neither_listed_nor_removed(ipc_dir: Path, foreign: list[Path]) -> None:
    orphan("a-segment")
    with ipc.Ring.create("in-use", capacity=PAGE):
        assert [entry.name for entry in ipc.ls() if entry.stats] == ["a-segment", "in-use"]
        damaged = [entry for entry in ipc.ls() if not entry.stats]
        assert [(entry.name, entry.kind) for entry in damaged] == [("magic-only", "unknown")]
        assert ipc.gc() == ["a-segment"]
        assert [entry.name for entry in ipc.ls() if entry.stats] == ["in-use"]
    assert sorted(ipc_dir.rglob("*")) == foreign


@pytest.mark.parametrize("name", ["text", "empty", "psm_1234", "magic-only", "directory", "fifo", "link", "socket"])
def test_foreign_files_are_not_ours_to_look_into_or_remove(ipc_dir: Path, foreign: list[Path], name: str) -> None:
    for use in (ipc.stats, ipc.rm):
        with pytest.raises((ipc.CorruptSegmentError, ipc.UntrustedSegmentError)):
            use(name)  # type: ignore[operator]
    assert sorted(ipc_dir.rglob("*")) == foreign


def test_segments_of_other_users_are_neither_listed_nor_removed(ipc_dir: Path, root: None) -> None:
    orphan("theirs")
    os.chown(ipc_dir / "theirs", NOBODY, NOBODY)
    (ipc_dir / ".ipc-unfinished-theirs").touch()
    os.chown(ipc_dir / ".ipc-unfinished-theirs", NOBODY, NOBODY)
    assert ipc.ls() == []
    assert ipc.gc() == []
    assert sorted(path.name for path in ipc_dir.iterdir()) == [".ipc-unfinished-theirs", "theirs"]


# --- gc -----------------------------------------------------------------------------------------------------------


def test_gc_removes_orphans_read_or_unread_and_nothing_that_is_in_use(
    ipc_dir: Path, python: Callable[..., Any]
) -> None:
    orphan("unread", "a message")
    python("import os, ipc; ends = ipc.channel('crashed', capacity=4096); ends[0].try_send(1); os._exit(0)")
    python("import os, ipc; ring = ipc.Ring.create('crashed-unused', capacity=4096); os._exit(0)")
    with ipc.Ring.create("in-use", capacity=PAGE), ipc.Ring.create("in-use-too", capacity=PAGE):
        assert ipc.gc() == ["crashed", "crashed-unused", "unread"]
        assert ipc.gc() == []
        assert [entry.name for entry in ipc.ls()] == ["in-use", "in-use-too"]


def test_gc_leaves_what_another_process_uses(ipc_dir: Path) -> None:
    code = "import sys, ipc; ring = ipc.Ring.create('theirs'); print('ready', flush=True); sys.stdin.read()"
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        assert ipc.gc() == []
        assert ipc.stats("theirs").attached
        process.kill()
        process.wait()
        assert ipc.gc() == ["theirs"]


def test_gc_removes_orphans_of_other_formats(ipc_dir: Path) -> None:
    orphan("future")
    with (ipc_dir / "future").open("r+b") as file:
        file.seek(8)
        file.write(struct.pack("=I", 99))
    (entry,) = ipc.ls()
    assert (entry.stats, entry.attached) == (None, False)
    assert "use the same release on both sides" in entry.problem
    assert ipc.gc() == ["future"]


def test_gc_reaps_unfinished_segments_unless_their_maker_lives(ipc_dir: Path) -> None:
    dead, alive = (ipc_dir / f".ipc-unfinished-{word}" for word in ("dead", "alive"))
    dead.write_bytes(bytes(PAGE))
    alive.write_bytes(bytes(PAGE))
    code = (
        "import fcntl, struct, sys\n"
        "file = open(sys.argv[1], 'r+b')\n"
        f"lock = struct.pack('hhqqi4x', fcntl.F_RDLCK, 0, {PRESENCE}, 1, 0)\n"
        "fcntl.fcntl(file, 37, lock)\n"  # F_OFD_SETLK, which Python 3.10 doesn't name
        "print('locked', flush=True); sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(alive)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"locked\n"
        assert ipc.gc() == [dead.name]
        assert alive.exists()
    assert ipc.gc() == [alive.name]
    assert list(ipc_dir.iterdir()) == []


def test_unfinished_segments_are_not_listed_and_have_no_legal_name(ipc_dir: Path) -> None:
    path = ipc_dir / ".ipc-unfinished-0123456789abcdef"
    path.write_bytes(bytes(PAGE))
    assert ipc.ls() == []
    for use in (ipc.stats, ipc.rm, ipc.Ring.attach, ipc.Ring.create):
        with pytest.raises(ValueError, match="not starting with"):
            use(path.name)  # type: ignore[operator]


# --- rm -----------------------------------------------------------------------------------------------------------


def test_another_process_can_remove_a_name_and_those_attached_go_on(name: str, python: Callable[..., Any]) -> None:
    tx, rx = ipc.channel(name, capacity=PAGE)
    with tx, rx:
        python("import sys, ipc; ipc.rm(sys.argv[1])", name)
        with pytest.raises(ipc.SegmentNotFoundError):
            ipc.stats(name)
        tx.send("still")
        assert rx.recv() == "still"
        done = python("import sys, ipc; ipc.rm(sys.argv[1])", name, check=False)
        assert done.returncode != 0
        assert "SegmentNotFoundError" in done.stderr


def test_rm_of_a_damaged_segment_works_because_its_magic_number_is_ours(ipc_dir: Path) -> None:
    orphan("damaged")
    with (ipc_dir / "damaged").open("r+b") as file:
        file.seek(8)
        file.write(b"\xff" * 80)
    with pytest.raises(ipc.IncompatibleFormatError):
        ipc.stats("damaged")
    ipc.rm("damaged")
    assert ipc.ls() == []


# --- observers keep nothing alive ---------------------------------------------------------------------------------


def test_an_observer_does_not_keep_a_name(name: str, observer: subprocess.Popen[str]) -> None:
    tx, rx = ipc.channel(name, capacity=PAGE)
    with tx, rx:
        tx.send("x")
        assert look(observer, name) == 1
        assert rx.recv() == "x"
    assert observer.poll() is None
    with pytest.raises(ipc.SegmentNotFoundError):
        ipc.stats(name)


def test_an_observer_does_not_keep_an_orphan_from_gc_or_from_being_replaced(
    ipc_dir: Path, observer: subprocess.Popen[str]
) -> None:
    orphan("left")
    assert look(observer, "left") == 1
    assert not ipc.stats("left").attached
    with ipc.Ring.create("left", capacity=PAGE):
        assert look(observer, "left") == 0
    orphan("left")
    assert look(observer, "left") == 1
    assert ipc.gc() == ["left"]
    assert observer.poll() is None


def test_looking_does_not_hide_a_death(name: str, observer: subprocess.Popen[str]) -> None:
    tx, rx = ipc.channel(name, capacity=PAGE)
    code = "import os, sys, ipc; tx = ipc.Sender.attach(sys.argv[1]); tx.send('x'); sys.stdin.readline(); os._exit(1)"
    with tx, rx, subprocess.Popen([sys.executable, "-c", code, name], stdin=subprocess.PIPE, text=True) as sender:
        assert rx.recv(60) == "x"
        look(observer, name)
        sender.communicate("die\n")
        look(observer, name)
        ipc.stats(name)
        with pytest.raises(ipc.PeerDiedError, match=str(sender.pid)):
            rx.recv(60)


def test_observers_never_write(ipc_dir: Path) -> None:
    orphan("left")
    path = ipc_dir / "left"
    before = path.read_bytes()
    ipc.ls()
    ipc.stats("left")
    assert path.read_bytes() == before


def test_the_presence_byte_is_where_this_test_thinks_it_is(ipc_dir: Path) -> None:
    lock = struct.pack("hhqqi4x", fcntl.F_WRLCK, 0, PRESENCE, 1, 0)
    with ipc.Ring.create("probe", capacity=PAGE), (ipc_dir / "probe").open("r+b") as file:
        (kind,) = struct.unpack_from("h", fcntl.fcntl(file, 36, lock))  # F_OFD_GETLK
        assert kind == fcntl.F_RDLCK
        assert lib.ipcr_name_remove(os.fsencode(ipc_dir), b"probe", lib.IPCR_REMOVE_ORPHAN) == lib.IPCR_EXISTS
    assert ffi is not None


def test_stats_of_a_stream_in_another_process_always_add_up(name: str) -> None:
    code = "import sys, ipc\ntx = ipc.Sender.attach(sys.argv[1])\nfor index in range(20000): tx.send(b'12345678')\n"
    tx, rx = ipc.channel(name, capacity=PAGE)
    tx.close()
    with rx, subprocess.Popen([sys.executable, "-c", code, name]) as sender:
        taken = 0
        for message in rx:
            taken += 1
            if taken % 50 == 0:
                for stats in (ipc.stats(name), rx.stats()):
                    assert stats.received == taken
                    assert 0 <= stats.depth == stats.sent - stats.received <= PAGE // 24
                    assert stats.bytes == 8 * stats.sent
            assert len(message) == 8
        assert taken == 20000
    assert sender.returncode == 0


def test_an_entry_tells_when_its_segment_was_made(name: str) -> None:
    with ipc.Ring.create(name, capacity=PAGE):
        (entry,) = [entry for entry in ipc.ls() if entry.name == name]
        assert abs(time.time() - entry.modified) < 3600
        assert entry.size == 2 * PAGE

"""What stands under a name is checked before it is believed: who owns it, what it is, whether it is whole."""

from __future__ import annotations

import os
import socket
import struct
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import ipc

PAGE = 4096
MAGIC = b"\nIPCRGS1"
NOBODY = 65534

# Offsets in a segment's header; docs/shm-format.md.
VERSION, BYTE_ORDER, LAYOUT, KIND, FLAGS, HEADER_BYTES, CAPACITY, TOTAL, START, TIME_NAMESPACE = (
    8, 12, 16, 24, 28, 32, 40, 48, 56, 80,
)  # fmt: skip
SENDER_POSITION, RECEIVER_POSITION, SENDER_STATE = 256, 384, 516

ATTACHERS: dict[str, Callable[[str], Any]] = {
    "Sender": ipc.Sender.attach,
    "Receiver": ipc.Receiver.attach,
    "Ring": ipc.Ring.attach,
    "stats": ipc.stats,
}


@pytest.fixture(params=["default directory", "IPC_DIR"])
def where(request: pytest.FixtureRequest) -> Path:
    """The default directory is opened by posix_ipc, any other by path: both must hold."""
    if request.param == "IPC_DIR":
        return Path(request.getfixturevalue("ipc_dir"))
    return Path("/dev/shm")


@pytest.fixture
def path(where: Path, name: str) -> Iterator[Path]:
    """Give the path of a name; whatever the test puts there is removed."""
    yield where / name
    if (where / name).is_dir():
        (where / name).rmdir()
    else:
        (where / name).unlink(missing_ok=True)


@pytest.fixture
def orphan(path: Path) -> Path:
    """A channel with one unread message that nobody is attached to, as a file."""
    tx, rx = ipc.channel(path.name, capacity=PAGE)
    tx.send("unread")
    tx.close()
    rx.close()
    assert path.stat().st_size == 2 * PAGE
    return path


def patch(path: Path, offset: int, value: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(value)


def u32(number: int) -> bytes:
    return struct.pack("=I", number)


def u64(number: int) -> bytes:
    return struct.pack("=Q", number % 2**64)


def collected(path: Path) -> list[str]:
    """What gc() removes; not tried where others keep segments."""
    return [] if path.parent == Path("/dev/shm") else ipc.gc()


def names_what_failed(error: BaseException, path: Path) -> bool:
    return path.name in str(error) and str(path.parent) in str(error)


# --- nothing there ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("attach", ATTACHERS.values(), ids=ATTACHERS)
def test_a_missing_name_is_said_with_a_way_to_find_others(path: Path, attach: Callable[[str], Any]) -> None:
    with pytest.raises(ipc.SegmentNotFoundError, match=r"does not exist; ipc\.ls\(\) shows what does") as caught:
        attach(path.name)
    assert names_what_failed(caught.value, path)
    with pytest.raises(FileNotFoundError):
        ipc.rm(path.name)


# --- no segment ---------------------------------------------------------------------------------------------------


def write_file(content: bytes) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        path.touch(mode=0o600)
        path.write_bytes(content)

    return write


def make_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(path))


NO_SEGMENTS: dict[str, Callable[[Path], Any]] = {
    "empty file": write_file(b""),
    "one byte": write_file(b"\n"),
    "magic number only": write_file(MAGIC),
    "short file": write_file(MAGIC + bytes(500)),
    "text": write_file(b"hello, world\n" * 1000),
    "zeroes": write_file(bytes(2 * PAGE)),
    "garbage": write_file(bytes(index * 7919 % 256 for index in range(2 * PAGE))),
    "directory": Path.mkdir,
    "FIFO": lambda path: os.mkfifo(path, 0o600),
    "socket": make_socket,
    "dangling link": lambda path: path.symlink_to("/nowhere/at/all"),
    "link to a file": lambda path: path.symlink_to(__file__),
}


@pytest.mark.parametrize("attach", ATTACHERS.values(), ids=ATTACHERS)
@pytest.mark.parametrize("make", NO_SEGMENTS.values(), ids=NO_SEGMENTS)
def test_what_is_no_segment_is_not_attached_and_left_alone(
    path: Path, make: Callable[[Path], Any], attach: Callable[[str], Any]
) -> None:
    make(path)
    before = path.lstat()
    with pytest.raises((ipc.CorruptSegmentError, ipc.UntrustedSegmentError)) as caught:
        attach(path.name)
    assert path.name in str(caught.value)
    after = path.lstat()
    assert (before.st_ino, before.st_size, before.st_mtime_ns) == (after.st_ino, after.st_size, after.st_mtime_ns)


@pytest.mark.parametrize("make", NO_SEGMENTS.values(), ids=NO_SEGMENTS)
def test_creating_and_removing_leave_alone_what_is_no_segment(path: Path, make: Callable[[Path], Any]) -> None:
    make(path)
    before = path.lstat()
    for create in (ipc.channel, ipc.Ring.create):
        with pytest.raises(ipc.SegmentExistsError, match="is no segment; choose another name"):
            create(path.name)  # type: ignore[operator]
    with pytest.raises(ipc.CorruptSegmentError, match="is not an ipc-rings segment"):
        ipc.rm(path.name)
    assert path.name not in [entry.name for entry in ipc.ls() if entry.stats is not None]
    assert path.name not in collected(path)
    after = path.lstat()
    assert (before.st_ino, before.st_size, before.st_mtime_ns) == (after.st_ino, after.st_size, after.st_mtime_ns)


@pytest.mark.parametrize("attach", ATTACHERS.values(), ids=ATTACHERS)
def test_a_link_to_a_segment_is_not_followed(orphan: Path, attach: Callable[[str], Any]) -> None:
    link = orphan.with_name(f"{orphan.name}-link")
    link.symlink_to(orphan)
    try:
        with pytest.raises(ipc.CorruptSegmentError, match="is not an ipc-rings segment"):
            attach(link.name)
        with pytest.raises(ipc.CorruptSegmentError, match="is not an ipc-rings segment"):
            ipc.rm(link.name)
        assert link.is_symlink()
    finally:
        link.unlink()


# --- not for us ---------------------------------------------------------------------------------------------------

FROM_OUTSIDE: list[Callable[[str], Any]] = [
    *(ipc.Sender.attach, ipc.Receiver.attach, ipc.Ring.attach, ipc.stats),
    *(ipc.Queue.attach, ipc.ReliableQueue.attach, ipc.Multicast.attach),
]


@pytest.mark.parametrize("mode", [0o644, 0o660, 0o604, 0o602, 0o610, 0o601, 0o777])
@pytest.mark.parametrize("attach", FROM_OUTSIDE)
def test_a_segment_whose_mode_lets_others_in_is_not_trusted(
    orphan: Path, attach: Callable[[str], Any], mode: int
) -> None:
    orphan.chmod(mode)
    with pytest.raises(
        ipc.UntrustedSegmentError, match=r"\(0600 is wanted\); it is neither read nor removed"
    ) as caught:
        attach(orphan.name)
    assert names_what_failed(caught.value, orphan)
    orphan.chmod(0o600)
    with ipc.Receiver.attach(orphan.name) as rx:
        assert rx.recv() == "unread"


@pytest.mark.parametrize("attach", FROM_OUTSIDE)
def test_a_segment_of_another_user_is_not_trusted(orphan: Path, attach: Callable[[str], Any], root: None) -> None:
    os.chown(orphan, NOBODY, NOBODY)
    with pytest.raises(PermissionError, match="belongs to another user") as caught:
        attach(orphan.name)
    assert isinstance(caught.value, ipc.UntrustedSegmentError)


def test_a_segment_of_another_user_is_neither_replaced_nor_removed(orphan: Path, root: None) -> None:
    os.chown(orphan, NOBODY, NOBODY)
    with pytest.raises(ipc.UntrustedSegmentError, match="belongs to another user"):
        ipc.channel(orphan.name, capacity=PAGE)
    with pytest.raises(ipc.UntrustedSegmentError, match="neither read nor removed"):
        ipc.rm(orphan.name)
    assert orphan.name not in [entry.name for entry in ipc.ls()]
    assert orphan.name not in collected(orphan)
    assert orphan.exists()


def test_a_new_segment_lets_nobody_else_in_whatever_the_umask(path: Path) -> None:
    for umask in (0o000, 0o022, 0o777):
        before = os.umask(umask)
        try:
            ring = ipc.Ring.create(path.name, capacity=PAGE)
        finally:
            os.umask(before)
        with ring:
            assert path.stat().st_mode & 0o777 == 0o600
            assert path.stat().st_uid == os.geteuid()


# --- another format -----------------------------------------------------------------------------------------------

OTHER_FORMATS = {
    "an older version": (VERSION, u32(0)),
    "a newer version": (VERSION, u32(2)),
    "another byte order": (BYTE_ORDER, u32(0x04030201)),
    "another layout": (LAYOUT, u64(1)),
}


@pytest.mark.parametrize("attach", ATTACHERS.values(), ids=ATTACHERS)
@pytest.mark.parametrize(("offset", "value"), OTHER_FORMATS.values(), ids=OTHER_FORMATS)
def test_another_format_is_refused_and_says_what_to_do(
    orphan: Path, attach: Callable[[str], Any], offset: int, value: bytes
) -> None:
    patch(orphan, offset, value)
    content = orphan.read_bytes()
    with pytest.raises(ipc.IncompatibleFormatError, match=r"version 1; use the same release on both sides") as caught:
        attach(orphan.name)
    assert names_what_failed(caught.value, orphan)
    assert orphan.read_bytes() == content


@pytest.mark.parametrize(("offset", "value"), OTHER_FORMATS.values(), ids=OTHER_FORMATS)
def test_an_orphan_of_another_format_can_be_replaced(orphan: Path, offset: int, value: bytes) -> None:
    patch(orphan, offset, value)
    with ipc.Ring.create(orphan.name, capacity=PAGE) as ring:
        ring.writer().write(b"new")
        with ipc.Ring.attach(orphan.name) as other:
            assert other.reader().read() == b"new"


def test_another_time_namespace_is_refused(orphan: Path) -> None:
    patch(orphan, TIME_NAMESPACE, u64(1))
    for attach in (ipc.Sender.attach, ipc.Receiver.attach):
        with pytest.raises(ipc.IncompatibleFormatError, match="another time namespace, whose clock differs"):
            attach(orphan.name)


def test_a_wrong_kind_is_refused(orphan: Path) -> None:
    with pytest.raises(ipc.IncompatibleFormatError, match="is a segment of another kind"):
        ipc.Ring.attach(orphan.name)
    patch(orphan, KIND, u32(1))
    for attach in (ipc.Sender.attach, ipc.Receiver.attach):
        with pytest.raises(ipc.IncompatibleFormatError, match="is a segment of another kind"):
            attach(orphan.name)
    patch(orphan, KIND, u32(77))
    with pytest.raises(ipc.IncompatibleFormatError, match="is a segment of another kind"):
        ipc.Sender.attach(orphan.name)
    with pytest.raises(ipc.IncompatibleFormatError, match="is a segment of another kind"):
        ipc.stats(orphan.name)


# --- damaged ------------------------------------------------------------------------------------------------------

DAMAGE = {
    "no capacity": (CAPACITY, u64(0)),
    "a capacity that is no power of two": (CAPACITY, u64(PAGE + 8)),
    "a larger capacity": (CAPACITY, u64(2 * PAGE)),
    "an enormous capacity": (CAPACITY, u64(2**46)),
    "a negative capacity": (CAPACITY, u64(-PAGE)),
    "a smaller header": (HEADER_BYTES, u64(0)),
    "a larger header": (HEADER_BYTES, u64(2 * PAGE)),
    "an enormous header": (HEADER_BYTES, u64(2**64 - PAGE)),
    "another total": (TOTAL, u64(PAGE)),
    "a total and a capacity beyond the file": (CAPACITY, u64(2 * PAGE) + u64(3 * PAGE)),
    "an unaligned start": (START, u64(1)),
}


@pytest.mark.parametrize("attach", [ipc.Sender.attach, ipc.Receiver.attach, ipc.stats])
@pytest.mark.parametrize(("offset", "value"), DAMAGE.values(), ids=DAMAGE)
def test_a_geometry_that_makes_no_sense_is_refused(
    orphan: Path, attach: Callable[[str], Any], offset: int, value: bytes
) -> None:
    patch(orphan, offset, value)
    with pytest.raises(ipc.CorruptSegmentError, match="close it and create a new one") as caught:
        attach(orphan.name)
    assert names_what_failed(caught.value, orphan)
    (entry,) = [entry for entry in ipc.ls() if entry.name == orphan.name]
    assert (entry.stats, entry.kind, entry.attached) == (None, "unknown", False)
    assert "no correct peer writes" in entry.problem


@pytest.mark.parametrize("size", [1024, PAGE, 2 * PAGE - 1])
@pytest.mark.parametrize("attach", [ipc.Sender.attach, ipc.Receiver.attach, ipc.stats])
def test_a_file_cut_short_is_refused(orphan: Path, attach: Callable[[str], Any], size: int) -> None:
    os.truncate(orphan, size)
    with pytest.raises(ipc.CorruptSegmentError):
        attach(orphan.name)


@pytest.mark.parametrize("distance", [-8, -PAGE, 1, PAGE + 8, 2**63, 2**40])
def test_positions_that_make_no_sense_end_in_an_error_at_the_first_use(orphan: Path, distance: int) -> None:
    content = orphan.read_bytes()
    (received,) = struct.unpack_from("=Q", content, RECEIVER_POSITION)
    patch(orphan, SENDER_POSITION, u64(received + distance))
    with ipc.Receiver.attach(orphan.name) as rx:
        for _ in range(3):
            with pytest.raises(ipc.CorruptSegmentError, match="the segment is lost: close it and create a new one"):
                rx.recv(0)


@pytest.mark.parametrize("length", [2**64 - 1, 2**63, PAGE, PAGE - 15, 2**48])
def test_a_length_that_makes_no_sense_ends_in_an_error_and_stays_one(orphan: Path, length: int) -> None:
    patch(orphan, PAGE, u64(length))
    with ipc.Receiver.attach(orphan.name) as rx:
        for take in (lambda: rx.recv(0), rx.try_recv, rx.recv):
            with pytest.raises(ipc.CorruptSegmentError):
                take()


def test_an_encoding_from_the_future_is_refused_and_dropped(orphan: Path) -> None:
    patch(orphan, PAGE + 12, b"\x63")
    with ipc.Receiver.attach(orphan.name) as rx:
        with pytest.raises(ipc.RefusedEncodingError, match=r"number 99.*Use the same release on both sides"):
            rx.recv(0)
        assert rx.stats().depth == 0


def test_an_end_state_that_makes_no_sense_ends_in_an_error(path: Path) -> None:
    tx, rx = ipc.channel(path.name, capacity=PAGE)
    with tx, rx:
        tx.send(b"there")
        patch(path, SENDER_STATE, u32(3))
        assert rx.recv() == b"there"
        with pytest.raises(ipc.CorruptSegmentError):
            rx.recv(60)


# --- complete or not there ----------------------------------------------------------------------------------------


def test_whoever_attaches_meanwhile_gets_a_whole_segment_or_none(path: Path, python: Callable[..., Any]) -> None:
    code = (
        "import sys, ipc\n"
        "for _ in range(400):\n"
        "    with ipc.Ring.create(sys.argv[1], capacity=4096) as ring: pass\n"
        "with ipc.Ring.create(sys.argv[1] + '-done', capacity=4096) as ring: ring.writer().write(b'done')\n"
    )
    from concurrent.futures import ThreadPoolExecutor

    met = 0
    done = path.with_name(f"{path.name}-done")
    with ThreadPoolExecutor(1) as pool:
        creating = pool.submit(python, code, path.name)
        while not creating.done():
            try:
                with ipc.Ring.attach(path.name) as ring:
                    assert ring.capacity == PAGE
                    met += 1
            except ipc.SegmentNotFoundError:
                pass
            time.sleep(0)
        error = creating.exception()
    if error is not None:
        assert "SegmentExistsError" in str(error)  # we were attached when it wanted to create
        assert met > 0
    done.unlink(missing_ok=True)

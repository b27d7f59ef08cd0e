"""The format of shared memory: what a release wrote all later ones read or refuse; all compilers lay it out alike.

The golden segments of a version are written once, by make.py, and never again.  A change of the format is a new version
with a new file; a change that breaks these tests and raises no version is a mistake.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ipc
from ipc._core.native import lib
from tests.golden import make

HERE = Path(__file__).parent
NATIVE = HERE.parents[1] / "native"
GOLDEN_MULTICAST = HERE / f"multicast_{lib.IPCR_FORMAT_VERSION}.hex"
GOLDEN = HERE / f"format_{lib.IPCR_FORMAT_VERSION}.hex"
LAYOUT = HERE / f"layout_{lib.IPCR_FORMAT_VERSION}.txt"

pages = pytest.mark.skipif(os.sysconf("SC_PAGESIZE") != 4096, reason="the golden segment's header is a page of 4096")

VERSION, BYTE_ORDER, LAYOUT_HASH, FLAGS, MAGIC = (8, 4), (12, 4), (16, 8), (28, 4), (0, 8)


@pytest.fixture
def golden(ipc_dir: Path) -> Path:
    """The channel's segment as a file under its name."""
    return placed(ipc_dir, GOLDEN)


@pytest.fixture
def golden_multicast(ipc_dir: Path) -> Path:
    """The same of the multicast's."""
    return placed(ipc_dir, GOLDEN_MULTICAST)


def placed(directory: Path, golden: Path) -> Path:
    path = directory / make.NAME
    path.write_bytes(make.from_hex(golden.read_text(encoding="ascii")))
    path.chmod(0o600)
    return path


def same(got: Any, sent: Any) -> bool:
    if isinstance(sent, np.ndarray):
        alike = (got.dtype, got.shape, got.flags.f_contiguous) == (sent.dtype, sent.shape, sent.flags.f_contiguous)
        return alike and bool((got == sent).all())
    if isinstance(sent, tuple):  # of pickled buffers, which arrive as what they are: memory
        return [bytes(one) for one in got] == [bytes(one) for one in sent]
    return type(got) is type(sent) and got == sent


# --- the golden segment -------------------------------------------------------------------------------------------


@pages
def test_the_golden_segment_opens_and_has_its_messages_types_and_numbers(golden: Path) -> None:
    stats = ipc.stats(make.NAME)
    assert (stats.sent, stats.received, stats.depth) == (len(make.MESSAGES), 0, len(make.MESSAGES))
    assert [user.state for user in stats.participants] == ["closed", "untaken"]
    with ipc.Receiver.attach(make.NAME) as rx:
        numbers = []
        for message, kind in make.MESSAGES:
            envelope = rx.recv_envelope()
            assert same(envelope.message, message)
            assert envelope.type == kind
            numbers.append(envelope.sequence)
        assert numbers == list(range(numbers[0], numbers[0] + len(make.MESSAGES)))
        with pytest.raises(ipc.EndOfChannel):
            rx.recv()
    assert not golden.exists()  # as any other, once all was read


@pages
def test_the_golden_segment_can_be_viewed_and_taken_in_a_batch(golden: Path) -> None:
    with ipc.Receiver.attach(make.NAME) as rx:
        for message, _ in make.MESSAGES[:4]:
            with rx.view() as got:
                seen = bytes(got) if isinstance(message, bytes) else got.copy() if message is make.ARRAY else got
                assert same(seen, message)
        rest: list[Any] = []
        while len(rest) < len(make.MESSAGES) - 4:
            rest += rx.recv_many()
        assert all(same(got, message) for got, (message, _) in zip(rest, make.MESSAGES[4:], strict=True))
    assert not golden.exists()


KEPT = make.ENTRIES  # all of the index
FIRST_KEPT = make.FIRST + make.FILLING + len(make.TOPICS) - KEPT


@pages
def test_the_golden_multicast_opens_and_has_its_messages_topics_and_numbers(golden_multicast: Path) -> None:
    stats = ipc.stats(make.NAME)
    assert isinstance(stats, ipc.MulticastStats)
    assert (stats.sent, stats.oldest, stats.policy) == (
        make.FILLING + len(make.TOPICS),
        FIRST_KEPT - make.FIRST,
        "lossless",
    )
    assert [(user.state, user.alive) for user in stats.participants][:1] == [("closed", False)]
    assert [(one.alive, one.sequence + make.FIRST, one.received) for one in stats.subscribers] == [
        (False, make.FIRST + make.FILLING - 2 + make.READ, make.READ)
    ]
    with ipc.Multicast[Any].attach(make.NAME) as multicast:
        with multicast.subscribe(start="oldest") as subscriber, multicast.subscribe(make.FIRST + make.FILLING) as late:
            fillings = [subscriber.recv_envelope() for _ in range(KEPT - len(make.TOPICS))]
            assert [one.sequence for one in fillings] == list(range(FIRST_KEPT, make.FIRST + make.FILLING))
            for reader in (subscriber, late):
                for n, (message, topic) in enumerate(make.TOPICS):
                    envelope = reader.recv_envelope()
                    assert same(envelope.message, message)
                    assert (envelope.topic, envelope.sequence, envelope.lost) == (
                        topic,
                        make.FIRST + make.FILLING + n,
                        0,
                    )
                with pytest.raises(ipc.EndOfChannel):
                    reader.recv()
        wanted = multicast.subscribe(start="oldest", topics=["macallums"])  # which has a namesake by number
        assert same(wanted.recv(), make.TOPICS[2][0])
        with multicast.publisher() as publisher:  # goes on where the one of then ended
            assert publisher.publish(b"now", topic="macallums") == make.FIRST + make.FILLING + len(make.TOPICS)
            assert wanted.recv() == b"now"


@pages
@pytest.mark.parametrize("which", ["channel", "multicast"])
def test_this_library_writes_the_golden_segments_byte_for_byte(which: str) -> None:
    file, content = (GOLDEN, make.content) if which == "channel" else (GOLDEN_MULTICAST, make.content_of_multicast)
    written, golden = bytearray(content()), bytearray(make.from_hex(file.read_text(encoding="ascii")))
    for data in (written, golden):  # whether membarrier works is the machine's matter
        data[FLAGS[0]] &= ~1
    assert written == golden


SWAPPED = slice(None, None, -1)

REFUSED: dict[str, tuple[tuple[int, int], Callable[[bytes], bytes], type[ipc.IpcError]]] = {
    "version 0": (VERSION, lambda _: bytes(4), ipc.IncompatibleFormatError),
    "the next version": (VERSION, lambda old: bytes([old[0] + 1, *old[1:]]), ipc.IncompatibleFormatError),
    "the last version": (VERSION, lambda _: b"\xff" * 4, ipc.IncompatibleFormatError),
    "a version of the other byte order": (VERSION, lambda old: old[SWAPPED], ipc.IncompatibleFormatError),
    "the other byte order": (BYTE_ORDER, lambda old: old[SWAPPED], ipc.IncompatibleFormatError),
    "a middle-endian byte order": (BYTE_ORDER, lambda old: old[2:] + old[:2], ipc.IncompatibleFormatError),
    "another layout": (LAYOUT_HASH, lambda old: bytes([old[0] ^ 1, *old[1:]]), ipc.IncompatibleFormatError),
    # nothing says that these are segments of any version
    "a later magic": (MAGIC, lambda old: old[:-1] + b"2", ipc.CorruptSegmentError),
    "a magic of the other byte order": (MAGIC, lambda old: old[SWAPPED], ipc.CorruptSegmentError),
    "a magic that was copied as text": (MAGIC, lambda old: b"\r" + old[:-1], ipc.CorruptSegmentError),
}


@pytest.mark.parametrize("file", [GOLDEN, GOLDEN_MULTICAST], ids=["channel", "multicast"])
@pytest.mark.parametrize("what", REFUSED)
def test_another_format_is_refused_by_whoever_looks_and_left_as_it_is(what: str, file: Path, ipc_dir: Path) -> None:
    golden = placed(ipc_dir, file)
    (offset, size), change, expected = REFUSED[what]
    data = bytearray(golden.read_bytes())
    data[offset : offset + size] = change(bytes(data[offset : offset + size]))
    golden.write_bytes(data)
    for look in (ipc.Receiver.attach, ipc.Sender.attach, ipc.Ring.attach, ipc.Multicast.attach, ipc.stats):
        with pytest.raises(expected):
            look(make.NAME)
    for entry in ipc.ls():  # without its magic it isn't ours to show
        assert entry.stats is None
        assert entry.problem
    assert len(ipc.ls()) == (expected is ipc.IncompatibleFormatError)
    assert golden.read_bytes() == data


@pytest.mark.parametrize("version", [0, 2, 2**32 - 1])
def test_an_orphan_of_another_version_is_collected_all_the_same(version: int, golden: Path) -> None:
    """Presence is the same byte in every version, so its users, if any, would be seen."""
    data = bytearray(golden.read_bytes())
    data[8:12] = version.to_bytes(4, "little")
    golden.write_bytes(data)
    assert ipc.gc() == [make.NAME]
    assert not golden.exists()


# --- the layout, by other compilers and for other machines --------------------------------------------------------

COMPILERS = {
    "this machine": (["gcc"], []),
    "32 bits": (["gcc", "-m32"], []),
    "clang": (["clang"], []),
    "aarch64": (["aarch64-linux-gnu-gcc", "-static"], ["qemu-aarch64"]),
}


def tried(command: list[Any], need: str) -> str:
    """The output, or a skip that says what is missing."""
    if shutil.which(command[0]) is None:
        pytest.skip(f"no {command[0]} here; {need}")
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode != 0 and ("bits/" in done.stderr or "cannot find" in done.stderr or "gnu/stubs" in done.stderr):
        pytest.skip(f"{' '.join(command[:2])} has no C library to compile for; {need}")
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("machine", COMPILERS)
def test_every_compiler_and_machine_puts_every_word_in_the_same_place(machine: str, tmp_path: Path) -> None:
    compiler, runner = COMPILERS[machine]
    need = "Debian: apt-get install gcc-multilib clang gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user"
    program = tmp_path / "layout"
    flags = ["-std=c11", "-D_GNU_SOURCE", "-Wall", "-Wextra", "-Werror", f"-I{NATIVE}"]
    tried([*compiler, *flags, HERE / "layout.c", "-o", program], need)
    assert tried([*runner, str(program)], need) == LAYOUT.read_text(encoding="ascii")

"""Garbage in shared memory is an error in bounded time: never a crash, never an endless loop."""

from __future__ import annotations

import contextlib
import os
import struct
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import ipc

CAPACITY = 4096
SIZE = 2 * CAPACITY
HEADER = 1024

WORDS = st.one_of(
    st.integers(0, 2**64 - 1),
    st.integers(0, SIZE),
    st.sampled_from([0, 1, 2, 3, 2**31, 2**32 - 1, 2**32, 2**46, 2**48, 2**63, 2**64 - 1, 2**64 - 8, CAPACITY, SIZE]),
    st.integers(-SIZE, -1).map(lambda value: value % 2**64),
)
PLACES = st.one_of(
    st.integers(0, HEADER // 8 - 1).map(lambda words: words * 8),
    st.integers(0, SIZE - 8),
    st.sampled_from([256, 384, 512, 640, 768, 776, 784, 792, CAPACITY, CAPACITY + 8, CAPACITY + 24]),
)
DAMAGE = st.lists(st.tuples(PLACES, WORDS), min_size=1, max_size=6)


@pytest.fixture
def whole(ipc_dir: Path) -> bytes:
    """The content of a ring with messages in it, some of them read, that nobody is attached to."""
    with ipc.Ring.create("segment", capacity=CAPACITY) as ring:
        ring.writer().write_many([b"read", b"first", b"second" * 50, b"", b"last"])
        ring.reader().read()
    path = ipc_dir / "segment"
    content = bytearray(path.read_bytes())
    for state in (516, 644):  # as if both sides had died, so that both ends can be taken
        struct.pack_into("=I", content, state, 1 << 2 | 1)
    path.unlink()
    return bytes(content)


def use(ring: ipc.Ring) -> None:
    """Some of everything, without waiting."""
    calls = (
        ring.stats,
        lambda: ring.reader().read(0),
        ring.reader().try_read,
        lambda: ring.writer().write(b"more", 0),
        lambda: ring.writer().try_write(bytes(CAPACITY - 16)),
        lambda: ring.writer().write_many([b"more"] * 3, 0),
        lambda: ring.reader().read_many(100, 0),
        lambda: claim(ring),
        lambda: peek(ring),
        lambda: ring.writer().flush(0),
        lambda: repr(ring),
    )
    for _ in range(3):
        for call in calls:
            with contextlib.suppress(ipc.IpcError):
                call()


def claim(ring: ipc.Ring) -> None:
    with ring.writer().claim(100, 0) as memory:
        memory[:] = bytes(100)


def peek(ring: ipc.Ring) -> None:
    with ring.reader().peek(0) as memory:
        assert len(bytes(memory)) <= CAPACITY - 16


@given(damage=DAMAGE)
@settings(max_examples=500, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_damage_before_attaching_is_an_error_or_harmless(whole: bytes, damage: list[tuple[int, int]]) -> None:
    content = bytearray(whole)
    for place, word in damage:
        struct.pack_into("=Q", content, place, word)
    path = Path(os.environ["IPC_DIR"], "segment")
    path.touch(mode=0o600)
    path.write_bytes(content)
    try:
        ipc.ls()
        with contextlib.suppress(ipc.IpcError):
            ipc.stats("segment")
        with contextlib.suppress(ipc.IpcError), ipc.Ring.attach("segment") as ring:
            use(ring)
    finally:
        path.unlink(missing_ok=True)


@given(damage=DAMAGE)
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_damage_while_attached_is_an_error_or_harmless(ipc_dir: Path, damage: list[tuple[int, int]]) -> None:
    path = ipc_dir / "segment"
    with ipc.Ring.create("segment", capacity=CAPACITY) as ring:
        ring.writer().write_many([b"first", b"second" * 50, b"last"])
        assert ring.reader().read() == b"first"
        with path.open("r+b") as file:
            for place, word in damage:
                file.seek(place)
                file.write(struct.pack("=Q", word))
        use(ring)
    path.unlink(missing_ok=True)


@given(content=st.binary(max_size=3000))
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_file_is_refused(ipc_dir: Path, content: bytes) -> None:
    path = ipc_dir / "segment"
    path.touch(mode=0o600)
    for start in (b"", b"\nIPCRGS1"):
        path.write_bytes(start + content)
        for attach in (ipc.Ring.attach, ipc.Sender.attach, ipc.stats):
            with pytest.raises((ipc.CorruptSegmentError, ipc.IncompatibleFormatError)):
                attach("segment")  # type: ignore[operator]
    path.unlink()

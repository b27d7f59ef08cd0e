"""Too little shared memory is an error when a segment is made: with how much was asked, how much is free and what to
do about it.  Never a signal, never later, and nothing is left behind."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import ipc

Wrap = Callable[..., list[str]]

MEBIBYTE = 2**20

# What every child prints in the end, if no signal came.
CREATE = """
import os, resource, sys, ipc
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))

def report(make):
    try:
        make().close()
    except ipc.OutOfSharedMemoryError as error:
        print("refused", error)
    else:
        print("made")

for capacity in sys.argv[1:]:
    report(lambda: ipc.Ring.create("segment", capacity=capacity))
print("left", os.listdir(os.environ["IPC_DIR"]))
"""


@pytest.fixture
def in_small_tmpfs(small_tmpfs: Wrap) -> Callable[[str], Wrap]:
    """Give a function from a size to a wrapper, as the `python` fixture takes it."""
    return lambda size: lambda *command: small_tmpfs(size, *command)


@pytest.mark.parametrize(
    ("size", "too_large", "fits"), [("1m", "1MiB", "512KiB"), ("1m", "1GiB", "4KiB"), ("16k", "16KiB", "8KiB")]
)
def test_a_full_tmpfs_is_an_error_at_create_and_leaves_nothing(
    python: Callable[..., Any], in_small_tmpfs: Callable[[str], Wrap], size: str, too_large: str, fits: str
) -> None:
    refused, made, left = python(CREATE, too_large, fits, wrap=in_small_tmpfs(size)).stdout.splitlines()
    assert refused.startswith("refused ")
    assert re.search(
        r"a segment of capacity \d+ needs [\d.]+ (bytes|MiB), and [\d.]+ (bytes|MiB) is free in /", refused
    )
    assert "ask for a smaller capacity=, or remount it with a larger size= (docker run --shm-size=...)" in refused
    assert "set IPC_DIR" in refused
    assert (made, left) == ("made", "left []")


def test_not_even_the_smallest_segment_fits_a_tmpfs_of_one_page(
    python: Callable[..., Any], in_small_tmpfs: Callable[[str], Wrap]
) -> None:
    refused, left = python(CREATE, "1", wrap=in_small_tmpfs("4k")).stdout.splitlines()
    assert "needs 8192 bytes, and 4096 bytes is free in" in refused
    assert left == "left []"


def test_room_that_goes_after_it_was_measured_is_still_an_error_at_create(
    python: Callable[..., Any], in_small_tmpfs: Callable[[str], Wrap]
) -> None:
    code = "from ipc._core import footprint; footprint.require = lambda *_: None\n" + CREATE
    refused, made, left = python(code, "1MiB", "64KiB", wrap=in_small_tmpfs("1m")).stdout.splitlines()
    assert refused.startswith("refused ")
    assert "No space left on device" in refused
    assert (made, left) == ("made", "left []")


@pytest.mark.parametrize("kind", ["fallocate", "write"])
def test_a_tmpfs_that_fills_up_later_does_no_harm(
    python: Callable[..., Any], in_small_tmpfs: Callable[[str], Wrap], kind: str
) -> None:
    code = f"""
import os, ipc
tx, rx = ipc.channel("segment", capacity="256KiB")
tx.send(b"first")
with open(os.path.join(os.environ["IPC_DIR"], "filler"), "wb", buffering=0) as filler:
    try:
        while True:
            if {kind!r} == "write":
                filler.write(bytes(4096))
            else:
                os.posix_fallocate(filler.fileno(), os.fstat(filler.fileno()).st_size, 4096)
    except OSError as error:
        print(os.strerror(error.errno))
free = os.statvfs(os.environ["IPC_DIR"])
print(free.f_bavail * free.f_frsize)
assert rx.recv() == b"first"
for index in range(100):
    message = bytes([index]) * 100_000
    tx.send(message)
    assert rx.recv() == message
other = ipc.Receiver.attach("segment")
try:
    ipc.channel("another", capacity=4096)
except ipc.OutOfSharedMemoryError:
    print("refused")
tx.close(); rx.close(); other.close()
print(os.listdir(os.environ["IPC_DIR"]))
"""
    done = python(code, wrap=in_small_tmpfs("1m"))
    assert done.stdout.splitlines() == ["No space left on device", "0", "refused", "['filler']"]


def test_an_anonymous_segment_needs_no_room_in_ipc_dir(
    python: Callable[..., Any], in_small_tmpfs: Callable[[str], Wrap]
) -> None:
    code = "import ipc; tx, rx = ipc.channel(capacity='4MiB'); tx.send(bytes(3_000_000)); print(len(rx.recv()))"
    assert python(code, wrap=in_small_tmpfs("64k")).stdout == "3000000\n"


# --- a memory cgroup: beyond its limit the kernel kills instead of saying no --------------------------------------

IN_GROUP = """
import os, resource, sys, ipc
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
for capacity in sys.argv[1:]:
    for name in (None, "segment"):
        try:
            tx, rx = ipc.channel(name, capacity=capacity)
        except ipc.OutOfSharedMemoryError as error:
            print("refused", error)
        else:
            tx.send(bytes(tx.stats().capacity - 16))
            rx.recv()
            tx.close()
            rx.close()
            print("made")
print("left", os.listdir(os.environ["IPC_DIR"]))
"""


def test_a_container_s_memory_limit_is_an_error_at_create_and_nobody_is_killed(
    python: Callable[..., Any], memory_group: Any, ipc_dir: Path
) -> None:
    memory_group.limit(96 * MEBIBYTE)
    done = python(IN_GROUP, "128MiB", "1GiB", "8MiB", wrap=memory_group.wrapped)
    *refused, first, second, left = done.stdout.splitlines()
    assert len(refused) == 4
    for line in refused:
        match = re.search(r"needs ([\d.]+) MiB, and ([\d.]+) MiB is left under the container's memory limit", line)
        assert match is not None, line
        assert float(match[1]) >= 128
        assert 0 < float(match[2]) <= 96
        assert "ask for a smaller capacity=, or raise the limit (docker run --memory=...)" in line
    assert (first, second, left) == ("made", "made", "left []")


def test_the_limit_of_an_outer_group_counts_as_well(
    python: Callable[..., Any], memory_group: Any, ipc_dir: Path
) -> None:
    memory_group.limit(96 * MEBIBYTE)
    inner = memory_group.path / "inner"
    try:
        inner.mkdir()
        if not (inner / memory_group.limit_file).exists():
            (memory_group.path / "cgroup.subtree_control").write_text("+memory")
        if not (inner / memory_group.limit_file).exists():
            pytest.skip(f"{inner} has no memory controller")
        in_inner = type(memory_group)(inner, memory_group.limit_file)
        done = python(IN_GROUP, "128MiB", wrap=in_inner.wrapped)
        first, second, left = done.stdout.splitlines()
        for line in (first, second):
            assert "is left under the container's memory limit" in line
        assert left == "left []"
    finally:
        if inner.exists():
            inner.rmdir()


def test_segments_that_are_there_count_against_the_limit(
    python: Callable[..., Any], memory_group: Any, ipc_dir: Path
) -> None:
    code = """
import ipc
made = []
try:
    while len(made) < 100:
        made.append(ipc.Ring.create(capacity="16MiB"))
except ipc.OutOfSharedMemoryError as error:
    print(len(made), error)
"""
    memory_group.limit(128 * MEBIBYTE)
    count, text = python(code, wrap=memory_group.wrapped).stdout.split(maxsplit=1)
    assert 1 <= int(count) <= 7
    assert "container's memory limit" in text


# --- this machine's memory ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("capacity", ["16TiB", "64TiB"])
def test_more_than_the_machine_s_memory_is_an_error(capacity: str, name: str) -> None:
    for make in (ipc.channel, ipc.Ring.create):
        with pytest.raises(ipc.OutOfSharedMemoryError, match=r"needs \d+\.\d MiB, and [\d.]+ MiB ") as caught:
            make(capacity=capacity)  # type: ignore[operator]
        assert "ask for a smaller capacity=, or " in str(caught.value)
        assert isinstance(caught.value, OSError)
        assert caught.value.errno is not None
        with pytest.raises(ipc.OutOfSharedMemoryError, match="needs"):
            make(name, capacity=capacity)  # type: ignore[operator]
        with pytest.raises(ipc.SegmentNotFoundError):
            ipc.stats(name)


def test_beyond_mem_available_the_text_says_so(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    from ipc._core import footprint

    monkeypatch.setattr(footprint, "_memory_available", lambda: 3 * MEBIBYTE)
    for named in (None, name):
        with pytest.raises(
            ipc.OutOfSharedMemoryError,
            match=r"capacity 4194304 needs 4\.0 MiB, and 3\.0 MiB of memory is available; .* free some memory",
        ):
            ipc.channel(named, capacity="4MiB")
        with ipc.Ring.create(named, capacity="2MiB"):
            pass


def test_what_an_orphan_holds_is_free_for_its_replacement_or_the_text_names_what_is_free(
    python: Callable[..., Any], in_small_tmpfs: Callable[[str], Wrap]
) -> None:
    code = """
import os, ipc
tx, rx = ipc.channel("same", capacity="512KiB")
tx.send("unread"); tx.close(); rx.close()
try:
    ipc.channel("same", capacity="512KiB")
except ipc.OutOfSharedMemoryError as error:
    assert "is free in" in str(error), error
    assert ipc.gc() == ["same"]
tx, rx = ipc.channel("same", capacity="512KiB")
tx.close(); rx.close()
print(os.listdir(os.environ["IPC_DIR"]))
"""
    assert python(code, wrap=in_small_tmpfs("1m")).stdout == "[]\n"


# --- other limits -------------------------------------------------------------------------------------------------


def test_too_few_descriptors_are_an_error_with_advice_and_leak_nothing(
    python: Callable[..., Any], ipc_dir: Path
) -> None:
    code = """
import os, resource, ipc
first = ipc.channel("first", capacity=4096)
first[0].send("x")
open_now = len(os.listdir("/proc/self/fd"))
errors = 0
for limit in range(3, open_now + 8):
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, 4096))
    for make in (
        lambda: ipc.channel(capacity=4096),
        lambda: ipc.channel("second", capacity=4096),
        lambda: (ipc.Sender.attach("first"), ipc.Receiver.attach("first")),
        lambda: [ipc.Ring.create(capacity=4096)],
    ):
        try:
            for end in make():
                end.close()
        except ipc.SharedMemoryError as error:
            assert "ulimit -n" in str(error), error
            errors += 1
        except OSError as error:
            assert error.errno == 24, error  # before ipc's own call
            errors += 1
resource.setrlimit(resource.RLIMIT_NOFILE, (1024, 4096))
import gc
gc.collect()
assert len(os.listdir("/proc/self/fd")) == open_now, os.listdir("/proc/self/fd")
assert errors > 0
assert first[1].recv() == "x"
first[0].close(); first[1].close()
ipc.gc()  # closing without a descriptor to spare may leave an orphan
print(os.listdir(os.environ["IPC_DIR"]))
"""
    assert python(code).stdout == "[]\n"


def test_too_little_address_space_is_an_error_and_leaks_nothing(python: Callable[..., Any], ipc_dir: Path) -> None:
    code = """
import os, resource, ipc
first = ipc.Ring.create("first", capacity=4096)
open_now = len(os.listdir("/proc/self/fd"))
used = int(open("/proc/self/statm").read().split()[0]) * 4096
resource.setrlimit(resource.RLIMIT_AS, (used + (64 << 20), -1))
for make in (lambda: ipc.Ring.create(capacity="64MiB"), lambda: ipc.Ring.create("second", capacity="64MiB")):
    try:
        make()
    except ipc.OutOfSharedMemoryError as error:
        print(os.strerror(error.errno))
assert len(os.listdir("/proc/self/fd")) == open_now
first.close()
print(os.listdir(os.environ["IPC_DIR"]))
"""
    assert python(code).stdout.splitlines() == ["Cannot allocate memory"] * 2 + ["[]"]


def test_a_failed_attach_leaves_the_name(python: Callable[..., Any], ipc_dir: Path) -> None:
    with ipc.Ring.create("shared", capacity="64MiB") as ring:
        code = """
import resource, ipc
used = int(open("/proc/self/statm").read().split()[0]) * 4096
resource.setrlimit(resource.RLIMIT_AS, (used + (64 << 20), -1))
try:
    ipc.Ring.attach("shared")
except ipc.OutOfSharedMemoryError as error:
    print("refused")
"""
        assert python(code).stdout == "refused\n"
        ring.writer().write(b"still")
        with ipc.Ring.attach("shared") as other:
            assert other.reader().read() == b"still"


def test_a_directory_that_cannot_be_written_is_an_error(python: Callable[..., Any], ipc_dir: Path, root: None) -> None:
    code = (
        "import os, ipc\n"
        "ipc.Ring.create('warm', capacity=4096).close()\n"  # whatever is imported late
        "os.setegid(65534); os.seteuid(65534)\n"
        "try: ipc.channel('x', capacity=4096)\n"
        "except ipc.SharedMemoryError as error: print(error.errno, error)\n"
    )
    ipc_dir.chmod(0o755)
    done = python(code)
    assert done.stdout.startswith("13 ")
    assert "Permission denied" in done.stdout
    assert list(ipc_dir.iterdir()) == []

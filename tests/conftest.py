"""What every test may use, and the accounting that holds for all of them: a test leaves nothing behind.

After each test that passed, this process has the descriptors, shared mappings, threads and children that it had
before, and the files of shared memory that the test made are gone.
"""

from __future__ import annotations

import gc
import itertools
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from multiprocessing import active_children, forkserver, resource_tracker
from pathlib import Path
from typing import Any

import pytest

from ipc._core import cgroup, parcels
from ipc._core.ends import End

SHM = Path("/dev/shm")
PREFIX = f"ipc-test-{os.getpid()}-"  # of every name that this run of the tests makes in shared memory
SETTLING_SECONDS = 10.0  # a thread that was joined still has to leave the kernel; a failure is said after this long

SIGNALS_OFFSET, LINE = 512, 128  # of the word in a segment that says "parked"; see native/format.h

FREEZE_EVERY = 20  # tests

_numbers = itertools.count(1)
_tests = itertools.count(1)
_failed = pytest.StashKey[bool]()


def pytest_configure() -> None:
    """A shell starts what runs in its background with Ctrl-C ignored; the tests, and their children, need it."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_finish() -> None:
    """What is imported by now stays: the collections after every test need not look at it."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def the_default_directory() -> None:
    """Segments live where they do by default, whatever the developer's environment says."""
    os.environ.pop("IPC_DIR", None)


# --- nothing is left behind ---------------------------------------------------------------------------------------


def _link(path: Path) -> str:
    try:
        return str(path.readlink())
    except OSError:
        return ""


def _descriptors() -> dict[str, str]:
    """Open descriptors and where they lead; multiprocessing's own helpers keep theirs until we exit."""
    helpers = {
        getattr(resource_tracker._resource_tracker, "_fd", None),  # type: ignore[attr-defined]
        getattr(forkserver._forkserver, "_forkserver_alive_fd", None),  # type: ignore[attr-defined]
    }
    found = {path.name: _link(path) for path in Path("/proc/self/fd").iterdir()}
    return {
        number: target
        for number, target in found.items()
        if int(number) not in helpers and target and not target.startswith(f"/proc/{os.getpid()}/")
    }


def _mappings() -> Counter[str]:
    """Shared mappings by the file that they show; glibc keeps its character set cache."""
    found: Counter[str] = Counter()
    for line in Path("/proc/self/maps").read_text(encoding="utf-8", errors="replace").splitlines():
        fields = line.split(maxsplit=5)
        if fields[1].endswith("s") and not (len(fields) == 6 and fields[5].startswith("/usr/")):
            found[fields[5] if len(fields) == 6 else "anonymous"] += 1
    return found


def _threads() -> dict[str, str]:
    """Threads, of Python or not, and what the kernel calls them."""
    names = {str(thread.native_id): thread.name for thread in threading.enumerate()}
    return {path.name: names.get(path.name, "not of Python") for path in Path("/proc/self/task").iterdir()}


def _children() -> dict[str, str]:
    """Child processes, zombies included; multiprocessing's own helpers live until we exit."""
    active_children()  # reaps
    helpers = {
        getattr(resource_tracker._resource_tracker, "_pid", None),  # type: ignore[attr-defined]
        getattr(forkserver._forkserver, "_forkserver_pid", None),  # type: ignore[attr-defined]
    }
    found = {}
    for task in Path("/proc/self/task").iterdir():
        try:
            pids = (task / "children").read_text(encoding="ascii").split()
        except OSError:
            continue
        for pid in pids:
            if int(pid) not in helpers:
                found[pid] = _command(pid)
    return found


def _command(pid: str) -> str:
    try:
        words = Path("/proc", pid, "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return "gone"
    return words or "zombie"


def _files() -> set[str]:
    """Files in shared memory that are ours, by their names or by the creator that a segment's header tells."""
    found = set()
    for path in SHM.iterdir():
        if path.name.startswith(PREFIX):
            found.add(path.name)
        elif path.is_file() and not path.is_symlink():
            try:
                with path.open("rb") as file:
                    header = file.read(96)
            except OSError:
                continue
            if header[:8] == b"\nIPCRGS1" and int.from_bytes(header[88:92], sys.byteorder) == os.getpid():
                found.add(path.name)
    return found


def _remove(names: Iterable[str]) -> None:
    for name in names:
        path = SHM / name
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


@dataclass
class Holdings:
    """What this process has, at one moment."""

    descriptors: dict[str, str] = field(default_factory=_descriptors)
    mappings: Counter[str] = field(default_factory=_mappings)
    threads: dict[str, str] = field(default_factory=_threads)
    children: dict[str, str] = field(default_factory=_children)
    files: set[str] = field(default_factory=_files)

    def beyond(self, before: Holdings) -> dict[str, Any]:
        """What is here and was not there, by kind; empty when nothing is."""
        new = {
            "descriptors": dict(self.descriptors.items() - before.descriptors.items()),
            "shared mappings": self.mappings - before.mappings,
            "threads": dict(self.threads.items() - before.threads.items()),
            "children": {pid: what for pid, what in self.children.items() if pid not in before.children},
            "files in shared memory": self.files - before.files,
        }
        return {kind: what for kind, what in new.items() if what}


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    report = yield
    if report.failed:  # type: ignore[attr-defined]
        item.stash[_failed] = True
    return report  # type: ignore[return-value]


@pytest.fixture(autouse=True)
def nothing_is_left_behind(request: pytest.FixtureRequest) -> Iterator[None]:
    """Compare what the process has before and after the test (and all its other fixtures)."""
    gc.collect()
    if next(_tests) % FREEZE_EVERY == 0:
        gc.freeze()  # pytest's own records of thousands of tests: collections need not look at them each time
    parcels.sweep()
    before = Holdings()
    yield
    if request.node.stash.get(_failed, False):  # its traceback keeps what it had
        _remove(_files() - before.files)
        return
    deadline = time.monotonic() + SETTLING_SECONDS
    while True:
        gc.collect()
        parcels.sweep()
        left = Holdings().beyond(before)
        if not left:
            return
        if time.monotonic() > deadline:
            break
        time.sleep(0.005)
    _remove(left.get("files in shared memory", ()))  # or every later test fails as well
    pytest.fail(f"the test left something behind: {left}")


# --- names and directories ----------------------------------------------------------------------------------------


@pytest.fixture
def name() -> str:
    """Give a segment name that nobody else uses; derived names may be made from it by appending."""
    return f"{PREFIX}{next(_numbers)}"


@pytest.fixture
def ipc_dir(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Give the test, and the processes that it starts, a directory of segments of their own."""
    path = SHM / f"{PREFIX}dir-{next(_numbers)}"
    path.mkdir(mode=0o700)
    monkeypatch.setenv("IPC_DIR", str(path))
    yield path
    shutil.rmtree(path, ignore_errors=True)


# --- what a machine may lack: each skips the test, and says why ---------------------------------------------------


@pytest.fixture
def root() -> None:
    """Only root may give files away and change users."""
    if os.geteuid() != 0:
        pytest.skip("needs root, to act for two users")


def _why_not(command: Sequence[str]) -> str | None:
    """Why a command can't be run here, or None if it can."""
    try:
        done = subprocess.run(command, check=False, capture_output=True, text=True)
    except OSError as error:
        return str(error)
    if done.returncode == 0:
        return None
    lines = done.stderr.strip().splitlines()
    return lines[-1] if lines else f"exit code {done.returncode}"


@pytest.fixture
def small_tmpfs(tmp_path: Path) -> Callable[..., list[str]]:
    """Give a function (size, *command) that wraps a command: it runs in a mount namespace of its own, in which the
    directory `tmp_path / "small"`, named by IPC_DIR, is a tmpfs of that size."""
    where = tmp_path / "small"
    where.mkdir()

    def wrapped(size: str, *command: str) -> list[str]:
        script = (
            'mount -t tmpfs -o size="$1",mode=0700 tmpfs "$2" && shift && export IPC_DIR="$1" && shift && exec "$@"'
        )
        return ["unshare", "--mount", "--propagation", "private", "sh", "-c", script, "sh", size, str(where), *command]

    reason = _why_not(wrapped("64k", "true"))
    if reason is not None:
        pytest.skip(f"no tmpfs can be mounted in a private mount namespace: {reason}")
    return wrapped


@dataclass
class MemoryGroup:
    """A memory cgroup; `wrapped` makes a command run in it."""

    path: Path
    limit_file: str

    def limit(self, size: int) -> None:
        (self.path / self.limit_file).write_text(str(size), encoding="ascii")

    def wrapped(self, *command: str) -> list[str]:
        script = 'echo $$ > "$1/cgroup.procs" && shift && exec "$@"'
        return ["sh", "-c", script, "sh", str(self.path), *command]


@pytest.fixture
def memory_group() -> Iterator[MemoryGroup]:
    """Give a memory cgroup below this process's own, without a limit yet."""
    tried = []
    for controller, limit_file in (("memory", "memory.limit_in_bytes"), ("", "memory.max")):
        for parent in cgroup._groups(controller):
            group = MemoryGroup(parent / f"{PREFIX}{next(_numbers)}", limit_file)
            try:
                group.path.mkdir()
            except OSError as error:
                tried.append(str(error))
                continue
            reason = (
                _why_not(group.wrapped("true"))
                if os.access(group.path / limit_file, os.W_OK)
                else f"{group.path} has no {limit_file}"
            )
            if reason is None:
                try:
                    yield group
                finally:
                    _remove_group(group.path)
                return
            _remove_group(group.path)
            tried.append(reason)
    pytest.skip(f"no memory cgroup can be made: {'; '.join(tried) or 'the controller is not mounted'}")


def _remove_group(path: Path) -> None:
    deadline = time.monotonic() + SETTLING_SECONDS
    while True:  # the last process of the group is a zombie for a moment
        try:
            path.rmdir()
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.005)
        else:
            return


# --- other processes ----------------------------------------------------------------------------------------------


@pytest.fixture
def python() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Give a function that runs Python code in a process of its own, with arguments, and returns what it did.

    `wrap` puts the command into another one; `check=False` allows any exit code.
    """

    def run(
        code: str, *arguments: str, check: bool = True, wrap: Callable[..., list[str]] | None = None, **options: Any
    ) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", code, *arguments]
        if wrap is not None:
            command = wrap(*command)
        done = subprocess.run(command, check=False, capture_output=True, text=True, **options)
        if check:
            assert done.returncode == 0, f"exit code {done.returncode}\n{done.stdout}{done.stderr}"
        return done

    return run


# --- other threads ------------------------------------------------------------------------------------------------


@pytest.fixture
def eventually() -> Callable[[Callable[[], object]], None]:
    """Give a function that returns once a condition holds; if it never does, the test's time limit says so."""

    def until(condition: Callable[[], object]) -> None:
        while not condition():
            time.sleep(0.001)

    return until


@pytest.fixture
def parked() -> Callable[[End], bool]:
    """Give a function that tells whether the user of an end (made with `spin=0`) sleeps, waiting for the other side."""

    def is_parked(end: End) -> bool:
        segment = end._segment
        assert segment is not None
        return os.pread(segment.fd, 4, SIGNALS_OFFSET + LINE * end._side) != bytes(4)

    return is_parked

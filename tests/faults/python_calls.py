"""Each system call behind the public API fails, with each plausible errno, at its first three uses.

Run with inject.so preloaded; test_system_calls.py does.  As in test_core.c, an operation runs once and its calls are
counted; then each of them fails in a process of its own, forked from this one, in which everything is imported:

  - an exception comes that tells the errno, or one of ipc's that stands for it, or none because it worked;
  - nothing is left: no descriptor, mapping, file or child;
  - whatever came of it, the same operation works right afterwards.

Arguments: "few" for one errno per call at its first use only, then names of operations.  Prints one line per operation;
the exit code is 1 if anything was wrong.
"""

from __future__ import annotations

import ctypes
import errno
import gc
import os
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from multiprocessing import active_children
from pathlib import Path
from typing import NamedTuple

import ipc
from ipc._core import parcels
from tests.faults.python_operations import OPERATIONS, Operation, Scene
from tests.faults.python_queues import QUEUE_OPERATIONS

MOST_USES = 3
UNUSED = 77  # exit code: the call was not made often enough this time

inject = ctypes.CDLL(None)
inject.inject_name.restype = ctypes.c_char_p

NAMES: list[str] = [inject.inject_name(call).decode() for call in range(inject.inject_calls())]


def errnos(call: int) -> Iterator[int]:
    """The plausible ones."""
    i = 0
    while number := inject.inject_errno(call, i):
        yield number
        i += 1


class Combination(NamedTuple):
    """What fails, when and how."""

    call: int
    nth: int
    number: int

    def __str__(self) -> str:
        return f"{NAMES[self.call]} failed at use {self.nth}: {errno.errorcode[self.number]}"


# --- what is a true answer ----------------------------------------------------------------------------------------

# Exceptions that stand for the errno of a call.
STAND_FOR: dict[tuple[str, int], tuple[type[BaseException], ...]] = {
    ("open", errno.ENOENT): (ipc.SegmentNotFoundError,),
    ("open", errno.EACCES): (ipc.UntrustedSegmentError,),
    ("open", errno.EPERM): (ipc.UntrustedSegmentError,),
    ("open", errno.EINVAL): (ipc.CorruptSegmentError,),  # by which shm_open means a directory
    ("lstat", errno.ENOENT): (ipc.SegmentNotFoundError,),
    ("unlink", errno.ENOENT): (ipc.SegmentNotFoundError,),
    # somebody else has the lock
    ("lock", errno.EAGAIN): (ipc.BusyError, ipc.SegmentExistsError, ipc.SegmentNotFoundError),
}


def says_so(error: BaseException, failed: Combination, operation: Operation) -> bool:
    """Whether an exception is a true answer to this failure."""
    call = NAMES[failed.call]
    if call == "close":  # only multiprocessing tells of that
        return isinstance(error, OSError) and operation.name.startswith("spawn")
    if isinstance(error, STAND_FOR.get((call, failed.number), ())):
        return True
    if isinstance(error, MemoryError):  # CPython's own
        return call == "mmap"
    if not isinstance(error, OSError):
        return False
    if call == "stat" and error.errno == errno.ENOTDIR:  # "IPC_DIR is no directory"
        return failed.number in {errno.ENOENT, errno.EACCES}
    return error.errno == failed.number != errno.EINTR


def _leads_to(link: Path) -> str:
    try:
        return str(link.readlink())
    except FileNotFoundError:
        return ""


# Descriptors that multiprocessing itself leaves open, at most: its pipes, when a later one of them, the fork, or the
# close of another one fails.
NOT_OURS = {
    ("spawn by fork", "pipe", 3): 2,
    ("spawn by fork", "fork", 1): 4,
    ("spawn by spawn", "close", 1): 1,
    ("spawn by spawn", "close", 3): 1,
    ("spawn with a queue", "close", 1): 1,
    ("spawn with a queue", "close", 3): 1,
}


class Stock(NamedTuple):
    """What this process has, and the files in the directory of segments."""

    descriptors: int
    mappings: int
    children: int
    files: dict[str, int]

    @classmethod
    def taken(cls, scene: Scene) -> Stock:
        gc.collect()
        parcels.sweep()
        maps = Path("/proc/self/maps").read_text(encoding="utf-8", errors="replace").splitlines()
        return cls(
            sum(_leads_to(fd) != "/dev/urandom" for fd in Path("/proc/self/fd").iterdir()),  # os.urandom keeps that one
            sum(line.split()[1].endswith("s") for line in maps),
            len(active_children()),
            {path.name: path.stat().st_ino for path in scene.files()},
        )


def compare(before: Stock, now: Stock, *, files: str) -> None:
    """Files: "same", "fewer" (some may be gone), or "names" (made anew)."""
    assert now[:3] == before[:3], f"(descriptors, mappings, children) are {now[:3]}, and were {before[:3]}"
    if files == "names":
        assert now.files.keys() == before.files.keys()
    elif files == "same":
        assert now.files == before.files
    else:
        assert now.files.items() <= before.files.items()


# --- one combination ----------------------------------------------------------------------------------------------


def provoked(operation: Operation, scene: Scene, failed: Combination) -> str:
    """What came of it: "worked", "raised" (a true answer, which is forgotten when this returns), or "not met"."""
    inject.inject_begin(*failed)
    try:
        operation.act(scene)
    except BaseException as error:
        if not inject.inject_end() or not says_so(error, failed, operation):
            raise
        outcome = "raised"
    else:
        outcome = "worked" if inject.inject_end() else "not met"
    assert inject.inject_bad_closes() == 0, "a descriptor was closed twice"
    return outcome


def attempt(operation: Operation, failed: Combination) -> int:
    """In a process of its own; the exit code."""
    unraisable: list[object] = []
    sys.unraisablehook = unraisable.append
    with Scene(operation.private) as scene:
        at_first = Stock.taken(scene)
        operation.prepare(scene)
        before = Stock.taken(scene)
        scene.failing = failed.number
        outcome = provoked(operation, scene, failed)
        if outcome == "not met":
            return UNUSED
        if outcome == "raised":
            if operation.recover is not None:
                operation.recover(scene)
            files = "fewer" if operation.may_remove else "same"
        else:
            operation.prove(scene)
            operation.undo(scene)
            files = "names"
        now = Stock.taken(scene)
        foreign = NOT_OURS.get((operation.name, NAMES[failed.call], failed.nth), 0) if outcome == "raised" else 0
        if now.descriptors == before.descriptors + foreign:  # a later CPython may have closed them
            now = now._replace(descriptors=before.descriptors)
            at_first = at_first._replace(descriptors=at_first.descriptors + foreign)
        compare(at_first if operation.ends else before, now, files=files)
        scene.failing = 0
        if operation.ends:
            operation.prepare(scene)
        operation.act(scene)
        operation.prove(scene)
        operation.undo(scene)
        operation.tidy(scene)
        compare(at_first, Stock.taken(scene), files="same")
    assert unraisable == []
    return 0


def forked(function: Callable[[], int]) -> int:
    """Run in a child; its exit code, or minus its signal."""
    sys.stdout.flush()
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            code = function()
        except BaseException:
            inject.inject_end()
            traceback.print_exc(file=sys.stdout)
        finally:
            sys.stdout.flush()
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def counted(operation: Operation) -> list[int]:
    """How often the operation makes each call; done here, so that all that it imports is here."""
    with Scene(operation.private) as scene:
        operation.prepare(scene)
        inject.inject_begin(-1, 0, 0)
        operation.act(scene)
        inject.inject_end()
        counts = [inject.inject_count(call) for call in range(len(NAMES))]
        operation.prove(scene)
        operation.undo(scene)
        operation.tidy(scene)
    return counts


def combinations(counts: Sequence[int], *, few: bool) -> Iterator[Combination]:
    for call, count in enumerate(counts):
        for nth in range(1, min(count, 1 if few else MOST_USES) + 1):
            for number in errnos(call):
                yield Combination(call, nth, number)
                if few:
                    break


def main(arguments: list[str]) -> int:
    few = arguments[:1] == ["few"]
    wanted = arguments[few:]
    total = wrong = 0
    gc.freeze()  # what is imported by now need not be looked at by every collection
    for operation in (*OPERATIONS, *QUEUE_OPERATIONS):
        if wanted and operation.name not in wanted:
            continue
        counted(operation)  # imports; the second time is as all later ones
        here = 0
        for failed in combinations(counted(operation), few=few):
            code = forked(lambda failed=failed: attempt(operation, failed))  # type: ignore[misc]  # noqa: B023
            if code == UNUSED:
                continue
            here += 1
            if code != 0:
                wrong += 1
                print(f"WRONG: {operation.name}, where {failed} (exit code {code})", flush=True)
        total += here
        print(f"{operation.name:32} {here:5} combinations", flush=True)
    print(f"{total} (call, errno, n) combinations, {wrong} wrong or leaking", flush=True)
    return int(wrong != 0 or total == 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

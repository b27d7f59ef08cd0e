"""A creator that is stopped, or killed, at each of its system calls: the name leads to nothing, or to all of it."""

from __future__ import annotations

import ctypes
import errno
import os
import signal
from collections.abc import Callable, Generator
from pathlib import Path

import pytest

import ipc

TRACEME, CONT, SYSCALL, SETOPTIONS = 0, 7, 24, 0x4200
TRACESYSGOOD, EXITKILL = 1, 0x100000
AT_SYSCALL = signal.SIGTRAP | 0x80

libc = ctypes.CDLL(None, use_errno=True)
libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
libc.ptrace.restype = ctypes.c_long


def ptrace(request: int, pid: int, data: int = 0) -> None:
    if libc.ptrace(request, pid, None, data) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def stepped(function: Callable[[], object]) -> Generator[tuple[int, int], None, None]:
    """Run a function in a child that stops before and after each of its system calls; yields its pid and the step."""
    pid = os.fork()
    if pid == 0:
        try:
            ptrace(TRACEME, 0)
            os.kill(os.getpid(), signal.SIGSTOP)
            function()
        finally:
            os._exit(0)
    _, status = os.waitpid(pid, 0)
    if not os.WIFSTOPPED(status):
        pytest.skip("this process may not trace its children")
    step = 0
    try:
        ptrace(SETOPTIONS, pid, TRACESYSGOOD | EXITKILL)
        while True:
            ptrace(SYSCALL, pid)
            _, status = os.waitpid(pid, 0)
            if not os.WIFSTOPPED(status):
                return
            if os.WSTOPSIG(status) == AT_SYSCALL:
                step += 1
                yield pid, step
    except OSError as error:
        if error.errno in {errno.EPERM, errno.EIO}:
            pytest.skip(f"this process may not trace its children: {error}")
        raise
    finally:
        try:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        except (ProcessLookupError, ChildProcessError):
            pass


def create(name: str) -> Callable[[], object]:
    def creating() -> None:
        assert ipc.channel(name, capacity=4096)

    return creating


def attach_works(name: str) -> bool:
    """Whether there is something to attach; what there is, is complete."""
    try:
        rx = ipc.Receiver.attach(name)
    except ipc.SegmentNotFoundError:
        return False
    with rx, ipc.Sender.attach(name) as tx:
        assert tx.stats().capacity == 4096
        tx.send(b"x" * 4000)
        assert rx.recv() == b"x" * 4000
    return True


def count_steps(name: str) -> int:
    return max(step for _, step in stepped(create(name)))


def test_attach_finds_nothing_or_a_complete_segment_while_its_creator_is_stopped(name: str) -> None:
    found: list[bool] = []
    for _, step in stepped(create(name)):
        if not found or not found[-1]:
            found.append(attach_works(name))
            if found[-1]:
                assert ipc.stats(name).attached, f"nobody is present at step {step}"
    assert found.count(True) == 1
    assert found.count(False) > 10
    forget(name)


def forget(name: str) -> None:
    if Path("/dev/shm", name).exists():
        ipc.rm(name)


def test_a_creator_killed_at_any_step_leaves_nothing_or_an_orphan_that_is_replaced(name: str) -> None:
    steps = count_steps(name)
    forget(name)
    orphans = 0
    for last in range(1, steps + 1, 2):
        creator = stepped(create(name))
        for _, step in creator:
            if step == last:
                break
        creator.close()
        left = Path("/dev/shm", name).exists()
        orphans += left
        if left and last % 4 == 1:
            assert name in ipc.gc()
        tx, rx = ipc.channel(name, capacity=4096)
        with tx, rx:
            tx.send(last)
            assert rx.recv() == last
        assert not Path("/dev/shm", name).exists()
    assert orphans > 0


def test_a_process_killed_at_any_step_of_its_attach_disturbs_nobody(name: str) -> None:
    tx, rx = ipc.channel(name, capacity=4096)
    with tx, rx:
        steps = max(step for _, step in stepped(lambda: ipc.Receiver.attach(name)))
        for last in range(1, steps + 1, 2):
            attacher = stepped(lambda: ipc.Receiver.attach(name))
            for _, step in attacher:
                if step == last:
                    break
            attacher.close()
            tx.send(last)
            assert rx.recv() == last
        with pytest.raises(ipc.SegmentExistsError):
            ipc.channel(name)


@pytest.mark.parametrize("unread", [False, True])
def test_a_process_killed_at_any_step_of_the_last_close_leaves_what_the_next_one_can_use(
    unread: bool, name: str
) -> None:
    def close_it() -> None:
        tx, rx = ipc.channel(name, capacity=4096)
        tx.send(b"one")
        if not unread:
            rx.recv()
        os.sched_yield()  # the mark: closing begins
        tx.close()
        rx.close()

    steps = max(step for _, step in stepped(close_it))
    forget(name)
    for last in range(max(1, steps - 60), steps + 1, 2):
        closer = stepped(close_it)
        for _, step in closer:
            if step == last:
                break
        closer.close()
        tx, rx = ipc.channel(name, capacity=4096)  # replaces an orphan
        with tx, rx:
            tx.send(last)
            assert rx.recv() == last
